"""Finds the origin of a workflow run's code; asks GitHub once for each run, commit and branch, and
for many of them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Origin, Run, RunOrigin
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import (
    PAGE,
    Connection,
    pages_of,
    translate_github_errors,
    utc,
)
from leastpriv.pull_request.github.logins import (
    BY_LOGIN,
    GitHubLogin,
    names_ref,
    reviewed_by_name,
)

if TYPE_CHECKING:
    from github import GithubException
    from github.WorkflowRun import WorkflowRun

_Entry = TypeVar("_Entry")
_UNTRUSTED_EVENTS = frozenset(
    {
        *(
            "pull_request",
            "pull_request_target",
            "pull_request_review",
            "pull_request_review_comment",
        ),
        *("issue_comment", "issues", "discussion", "discussion_comment", "fork", "watch"),
    }
)
"""Events that run unmerged code, or whose runs everyone can start (docs.github.com, "Events that
trigger workflows", read 2026-11)."""
_INDIRECT_EVENTS = frozenset(
    {"workflow_run", "deployment_status", "check_run", "check_suite", "status"}
)
"""Events whose run names a commit of the default branch, whichever code it deploys."""
_SESSION_LIFETIME = timedelta(hours=1)
"""A session from the end of a run lasts one hour longer, unless the role says otherwise (AWS STS,
"AssumeRole").
"""
_CLOCK_ERROR = timedelta(minutes=5)
"""Difference between the clocks of GitHub and AWS that is tolerated."""
_MOST_BRANCHES = 30
"""Branches of logins that GitHub is asked about, a request each."""
_MOST_LISTED = 1_000
"""GitHub lists no more workflow runs of one search (docs.github.com, "List workflow runs for a
repository", read 2026-12)."""
_ASKED_APART = 3
"""Workflow runs, or commits, that are requested one by one before more of their list is read."""
_MOST_ATTEMPTS = 10
"""Latest attempts of a workflow run that are read, a request each."""
BY_SESSION_NAME = "branch by session name"
"""Mark of an origin that no login in the evidence proves."""
OTHER_BRANCH = "run of another protected branch than the base"
"""Mark of an origin whose commit is not on the base branch: who creates a branch that a rule for
names protects, pushes its first commits without a review."""
_OTHER_PROVIDER = "a login through another identity provider than GitHub"
_OTHER_RUN = "sessions whose names are no workflow runs of this repository"
_MAX_RUN = timedelta(days=35)
"""GitHub ends a workflow run after 35 days (docs.github.com, "Usage limits for GitHub Actions",
read 2026-11).
"""


class _Listing(Generic[_Entry]):
    """A list of GitHub's, of which more is read each time it lacks some entries.

    It never takes more requests than the entries that it lacked.
    """

    def __init__(self, entries: Iterator[_Entry]) -> None:
        self._entries = entries
        self._lacking = 0
        self._pages = 0
        """Those that were read."""
        self.is_whole = False
        """Whether it is read to its end."""

    def read_on(self) -> list[_Entry]:
        """Returns further entries, of the list that lacks an entry; none at most times."""
        self._lacking += 1
        if self.is_whole or self._lacking % _ASKED_APART:
            return []
        pages = min(self._pages + 1, self._lacking - self._pages)
        entries = list(islice(self._entries, pages * PAGE))
        self._pages += pages
        self.is_whole = len(entries) < pages * PAGE
        return entries


class _LoginPeriod(Struct, frozen=True):
    """The time in which jobs of an attempt can log in."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, attempt: WorkflowRun) -> _LoginPeriod:
        """Returns the period of an attempt."""
        started = utc(attempt.run_started_at or attempt.created_at)
        is_completed = attempt.status == "completed"
        ended = utc(attempt.updated_at) if is_completed else started + _MAX_RUN
        return cls(started - _CLOCK_ERROR, ended + _CLOCK_ERROR)

    def has_login_at(self, time: datetime) -> bool:
        """Whether a session can begin at a time."""
        return self.start <= time <= self.end

    def covers(self, first: datetime, last: datetime) -> bool:
        """Whether one session can make the first and the last of some calls."""
        return self.start <= first and last <= self.end + _SESSION_LIFETIME


class _WorkflowRun(Struct, frozen=True):
    """What decides the origin of a workflow run: GitHub's answer has a hundred times as much."""

    id: int
    branch: str
    """The head branch; empty where GitHub knows none."""
    commit: str
    event: str
    repository: str
    """Owner and name of the head's repository; empty for a deleted fork."""
    created_at: datetime
    attempt: _LoginPeriod
    """Of the latest attempt."""
    answer: WorkflowRun | None
    """Where there are earlier attempts."""

    @classmethod
    def of(cls, answer: WorkflowRun) -> _WorkflowRun:
        """Returns the run of an answer."""
        head = answer.head_repository
        return cls(
            id=answer.id,
            branch=answer.head_branch or "",
            commit=answer.head_sha,
            event=answer.event,
            repository=head.full_name if head else "",
            created_at=utc(answer.created_at),
            attempt=_LoginPeriod.of(answer),
            answer=answer if (answer.run_attempt or 1) > 1 else None,
        )


class WorkflowRuns:
    """The workflow runs of one repository, compared with one base branch."""

    def __init__(
        self,
        connection: Connection,
        branches: Branches,
        base: str,
        reviewed_refs: tuple[str, ...] = (),
    ) -> None:
        """`reviewed_refs`: further refs and environments whose runs are reviewed."""
        self._connection = connection
        self._base = base
        self._reviewed_refs = reviewed_refs
        # Each is requested once.
        self._commit_at = cache(branches.commit_at)
        self._contains = cache(branches.contains)
        self._is_protected = cache(branches.is_protected)
        self._runs: dict[int, _WorkflowRun | RunOrigin] = {}
        self._listing = _Listing(self._runs_of_base())
        self._listed_from = datetime.max.replace(tzinfo=UTC)
        """The time of the oldest run that the list has so far."""
        self._forbidden: RunOrigin | None = None
        """The origin of all runs where the token may not read any."""
        self._commits_of_base: set[str] = set()
        self._commit_listing = _Listing(self._read_commits_of_base(branches))
        self._asked_branches: set[str] = set()
        """Branches of logins, of which each preview may have its own."""
        self._pull_request_target_runs = cache(self._read_pull_request_target_runs)

    def origin_by_login(self, run: Run) -> RunOrigin | None:
        """Returns the origin that the login of a run shows without its workflow run, else None."""
        login = self._login_of(run)
        if login:
            return self._origin_of_foreign(login) or self._origin_of_ref(login, run)
        if run.identity:
            return RunOrigin(Origin.UNKNOWN, _OTHER_PROVIDER)
        return None

    def _origin_of_foreign(self, login: GitHubLogin) -> RunOrigin | None:
        """Returns the origin of a login of another repository or of a pull request; None for any
        other login.
        """
        if not login.repository:
            return RunOrigin(Origin.UNKNOWN, "a login of a repository that its subject hides")
        if not self._is_of_repository(login):
            return RunOrigin(Origin.UNREVIEWED, f"a login of the repository {login.repository}")
        if login.is_pull_request:
            return RunOrigin(Origin.UNREVIEWED, "a login of a pull request")
        return None

    def _origin_of_ref(self, login: GitHubLogin, run: Run) -> RunOrigin | None:
        """Returns the origin that a login of the repository shows by its branch, tag or
        environment; None where only the workflow run shows it.
        """
        named_origin = reviewed_by_name(login, self._reviewed_refs)
        if not login.branch:
            return named_origin
        mark = BY_LOGIN
        if not named_origin and login.branch != self._base:
            unreviewed = self._origin_of_other_branch(login.branch)
            if unreviewed:
                return unreviewed
            mark = OTHER_BRANCH
        if self._runs_beside_pull_request_target(run):
            return None
        return RunOrigin(Origin.REVIEWED, login.branch, mark)

    def _origin_of_other_branch(self, branch: str) -> RunOrigin | None:
        """Returns the origin of a login of another branch than the base; None if it is
        protected.
        """
        if branch not in self._asked_branches and len(self._asked_branches) >= _MOST_BRANCHES:
            return RunOrigin(Origin.UNKNOWN, "branches that GitHub was not asked about")
        self._asked_branches.add(branch)
        if self._is_protected(branch):
            return None
        return RunOrigin(Origin.UNREVIEWED, f"the branch {branch}, which is not protected")

    def origin(self, run: Run) -> RunOrigin:
        """Returns the ref whose code a run executed.

        The identity for which STS issued the run's keys names the ref; the session name, which the
        caller chooses, names the workflow run and so the commit. Where one of the two is missing,
        the origin has a mark.
        """
        by_login = self.origin_by_login(run)
        login = self._login_of(run)
        if by_login and by_login.origin is not Origin.REVIEWED:
            return by_login
        if not (run.session.isascii() and run.session.isdecimal()):
            return by_login or self._without_workflow_run(login)
        workflow_run = self._workflow_run(int(run.session), run.first)
        if isinstance(workflow_run, RunOrigin):
            return by_login or workflow_run
        return self._time_mismatch(workflow_run, run) or self._origin_of_session(
            run.session, workflow_run, login=login, by_login=by_login
        )

    def _origin_of_session(
        self,
        session: str,
        workflow_run: _WorkflowRun,
        *,
        login: GitHubLogin | None,
        by_login: RunOrigin | None,
    ) -> RunOrigin:
        """Returns the origin of a session that is named by a workflow run of its time.

        Args:
            session: The name of the session.
            workflow_run: The workflow run.
            login: The login of the session; None where the evidence has none of GitHub.
            by_login: The origin that the login alone shows, a reviewed one.
        """
        origin = self._origin_of(workflow_run)
        if by_login and login and not login.ref:
            # `reviewed-refs` names its environment.
            return origin if workflow_run.event in _UNTRUSTED_EVENTS else by_login
        if origin.origin is not Origin.REVIEWED:
            return origin
        if login and login.ref and login.ref_name != workflow_run.branch:
            name = f"a session named {session}, a workflow run of {workflow_run.branch}"
            return RunOrigin(Origin.UNREVIEWED, f"{name}, with a login of {login.ref_name}")
        if login and login.branch:
            return origin if by_login else self._without_workflow_run(login)
        # No login names the branch, or it names a tag, which moves.
        return replace(origin, mark=BY_SESSION_NAME)

    def _without_workflow_run(self, login: GitHubLogin | None) -> RunOrigin:
        """Returns the origin of a run of which neither login nor workflow run proves a branch."""
        if not login:
            return RunOrigin(Origin.UNKNOWN, "a session that is not named by a workflow run")
        if not login.branch:
            return RunOrigin(Origin.UNKNOWN, "a login whose subject names no branch")
        return RunOrigin(
            Origin.UNKNOWN,
            f"a login of {login.branch} while a run of `pull_request_target` ran, whose login has"
            " the same subject",
        )

    def _runs_beside_pull_request_target(self, run: Run) -> bool:
        """Whether a run of `pull_request_target`, whose logins name the base branch, was there at
        the same time.
        """
        periods = self._pull_request_target_runs()
        if len(periods) >= _MOST_LISTED and run.first < min(period.start for period in periods):
            return True
        return any(period.start <= run.last and run.first <= period.end for period in periods)

    def _read_pull_request_target_runs(self) -> tuple[_LoginPeriod, ...]:
        """Returns the periods of the newest runs of `pull_request_target`.

        Without permission to read them there are none: what GitHub does not say lowers no origin.
        """
        from github import GithubException

        with translate_github_errors("listing the runs of pull_request_target"):
            try:
                target_runs = self._connection.repository.get_workflow_runs(
                    event="pull_request_target"
                )
                return tuple(map(_LoginPeriod.of, islice(target_runs, _MOST_LISTED)))
            except GithubException as error:
                if not _is_denial(error, 403, 404):
                    raise
                return ()

    def _login_of(self, run: Run) -> GitHubLogin | None:
        return GitHubLogin.of(run.identity, self._connection.web_url) if run.identity else None

    def _is_of_repository(self, login: GitHubLogin) -> bool:
        repository = self._connection.repository
        is_named = login.repository.lower() == repository.full_name.lower()
        return is_named and (
            not login.ids or login.ids == (f"@{repository.owner.id}", f"@{repository.id}")
        )

    def _workflow_run(self, number: int, time: datetime) -> _WorkflowRun | RunOrigin:
        """Returns a workflow run that was there at a time, or the origin of one that is not
        known.
        """
        if number not in self._runs and time < self._listed_from and not self._forbidden:
            for run in self._listing.read_on():
                self._runs.setdefault(run.id, run)
                self._listed_from = min(self._listed_from, run.created_at)
            if self._listing.is_whole:
                self._listed_from = datetime.min.replace(tzinfo=UTC)
        if number not in self._runs:
            self._runs[number] = self._forbidden or self._read_workflow_run(number)
        return self._runs[number]

    def _runs_of_base(self) -> Iterator[_WorkflowRun]:
        """Yields the runs of the base branch, the newest first."""
        from github import GithubException

        search: dict[str, Any] = {"branch": self._base}
        while True:
            number = 0
            oldest = datetime.max.replace(tzinfo=UTC)
            with translate_github_errors("listing workflow runs"):
                base_runs = self._connection.repository.get_workflow_runs(**search)
                try:
                    for page in islice(pages_of(base_runs), _MOST_LISTED // PAGE):
                        page_runs = list(map(_WorkflowRun.of, page))
                        number += len(page_runs)
                        oldest = min((oldest, *(run.created_at for run in page_runs)))
                        yield from page_runs
                except GithubException as error:
                    if not _is_denial(error, 403, 404):
                        raise
                    return
            created = f"<={oldest:%Y-%m-%dT%H:%M:%SZ}"
            if number < _MOST_LISTED or search.get("created") == created:
                return
            search["created"] = created

    def _read_workflow_run(self, number: int) -> _WorkflowRun | RunOrigin:
        """Requests a workflow run; returns an unknown origin where it does not exist or the token
        may not read it.
        """
        from github import GithubException

        with translate_github_errors(f"reading the workflow run {number}"):
            try:
                return _WorkflowRun.of(self._connection.repository.get_workflow_run(number))
            except GithubException as error:
                if error.status == 404:
                    return RunOrigin(Origin.UNKNOWN, _OTHER_RUN)
                if not _is_denial(error, 403):
                    raise
                self._forbidden = RunOrigin(
                    Origin.UNKNOWN, "a workflow run that the token may not read (`actions: read`)"
                )
                return self._forbidden

    def _time_mismatch(self, workflow_run: _WorkflowRun, run: Run) -> RunOrigin | None:
        """Returns the origin of a run with a call outside all attempts of the workflow run; None if
        there is none.
        """
        attempts = [workflow_run.attempt]
        answer = workflow_run.answer
        if answer:
            # GitHub keeps the id of a workflow run that runs again.
            latest = answer.run_attempt
            earlier = range(latest - 1, max(latest - _MOST_ATTEMPTS, 0), -1)
            with translate_github_errors(f"reading the attempts of the workflow run {answer.id}"):
                attempts.extend(map(_LoginPeriod.of, map(answer.get_attempt, earlier)))
        periods = run.periods or ((run.first, run.last),)
        is_begun = any(attempt.has_login_at(run.first) for attempt in attempts)
        is_inside = all(
            any(attempt.covers(first, last) for attempt in attempts) for first, last in periods
        )
        if is_begun and is_inside:
            return None
        return RunOrigin(
            Origin.UNREVIEWED,
            f"a session named {run.session}, at another time than that workflow run",
        )

    def _origin_of(self, workflow_run: _WorkflowRun) -> RunOrigin:
        """Returns the origin of a workflow run: reviewed where the deployed commit is on the base,
        or on a branch that is protected or listed.
        """
        branch = workflow_run.branch
        if workflow_run.repository != self._connection.repository.full_name:
            return RunOrigin(Origin.UNREVIEWED, "a fork")
        if workflow_run.event in _UNTRUSTED_EVENTS:
            return RunOrigin(
                Origin.UNREVIEWED, f"the event {workflow_run.event} on the branch {branch}"
            )
        if workflow_run.event in _INDIRECT_EVENTS:
            return RunOrigin(
                Origin.UNKNOWN,
                f"the event {workflow_run.event}, which does not show the deployed commit",
            )
        if self._is_on_base(branch, workflow_run.commit):
            return RunOrigin(Origin.REVIEWED, self._base)
        if branch and names_ref(self._reviewed_refs, f"refs/heads/{branch}"):
            return RunOrigin(Origin.REVIEWED, branch)
        if (
            branch
            and self._is_protected(branch)
            and self._branch_contains(branch, workflow_run.commit)
        ):
            return RunOrigin(Origin.REVIEWED, branch, OTHER_BRANCH)
        return RunOrigin(Origin.UNREVIEWED, f"the branch {branch}, which is not protected")

    def _is_on_base(self, branch: str, commit: str) -> bool:
        """Whether a commit of a workflow run of some branch is on the base branch."""
        if commit not in self._commits_of_base and branch == self._base:
            self._commits_of_base.update(self._commit_listing.read_on())
        return commit in self._commits_of_base or self._branch_contains(self._base, commit)

    def _read_commits_of_base(self, branches: Branches) -> Iterator[str]:
        head = self._commit_at(self._base)
        if head:
            yield from branches.commits(head)

    def _branch_contains(self, branch: str, commit: str) -> bool:
        # By the branch's commit: a tag could have its name too.
        head = self._commit_at(branch)
        return head is not None and self._contains(head, commit)


def _is_denial(error: GithubException, *statuses: int) -> bool:
    """Whether GitHub denied a request with one of some statuses; a rate limit may have the same."""
    return error.status in statuses and "rate limit" not in str(error.data)
