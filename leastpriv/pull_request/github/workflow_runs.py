"""Where the code of a workflow run came from, as GitHub says: asked of it once for each run, commit and branch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from leastpriv.models import Origin, Run, Trust
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, explained

if TYPE_CHECKING:
    from github.WorkflowRun import WorkflowRun


_OF_OTHERS = frozenset(
    {
        *("pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"),
        *("issue_comment", "issues", "discussion", "discussion_comment", "fork", "watch"),
    }
)
"""Events whose code is not merged yet, or whose runs anybody can start (docs.github.com, "Events that trigger
workflows", read 2026-11)."""
_AFTER_OTHERS = frozenset({"workflow_run", "deployment_status", "check_run", "check_suite", "status"})
"""Events that name the default branch's commit whatever they are about: which code they deploy nobody can tell."""
_SLACK = timedelta(hours=1)
"""A session made at the end of a run lives on: one hour unless the role says otherwise (AWS STS, "AssumeRole")."""
_LONGEST_RUN = timedelta(days=35)
"""GitHub ends a workflow run after 35 days (docs.github.com, "Usage limits for GitHub Actions", read 2026-11)."""
_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class WorkflowRuns:
    """The workflow runs of one repository, judged against one base branch."""

    def __init__(self, connection: Connection, branches: Branches, base: str) -> None:
        self._connection = connection
        self._branches = branches
        self._base = base
        self._heads: dict[str, str | None] = {}
        self._contained: dict[tuple[str, str], bool] = {}
        self._protected: dict[str, bool] = {}

    def origin(self, run: Run) -> Origin:
        """Origin of a deploy whose session name is the id of a workflow run of this repository.

        The session name is the caller's word, so the calls must lie in the time of the run.
        """
        if not (run.session.isascii() and run.session.isdecimal()):
            return Origin(Trust.UNKNOWN, "a session that is not named by a workflow run")
        found = self._find(int(run.session))
        if isinstance(found, Origin):
            return found
        return self._out_of_time(found, run) or self._judge(found)

    def _find(self, number: int) -> WorkflowRun | Origin:
        from github import GithubException

        with explained(f"reading the workflow run {number}"):
            try:
                return self._connection.repository.get_workflow_run(number)
            except GithubException as error:
                if error.status == 404:
                    return Origin(Trust.UNKNOWN, f"no workflow run {number} of this repository")
                if error.status != 403 or "rate limit" in str(error.data):
                    raise
                return Origin(Trust.UNKNOWN, "a workflow run that the token may not read (`actions: read`)")

    def _out_of_time(self, found: WorkflowRun, run: Run) -> Origin | None:
        started = _utc(found.created_at)
        ended = _utc(found.updated_at) if found.status == "completed" else started + _LONGEST_RUN
        if started - _SLACK <= run.first and run.last <= ended + _SLACK:
            return None
        return Origin(Trust.UNTRUSTED, f"a session named {run.session}, at another time than that workflow run")

    def _judge(self, found: WorkflowRun) -> Origin:
        branch = found.head_branch or ""
        if found.head_repository is None or found.head_repository.full_name != self._connection.repository.full_name:
            return Origin(Trust.UNTRUSTED, "a fork")
        if found.event in _OF_OTHERS:
            return Origin(Trust.UNTRUSTED, f"the event {found.event} on the branch {branch}")
        if found.event in _AFTER_OTHERS:
            return Origin(Trust.UNKNOWN, f"the event {found.event}, which does not tell the commit that was deployed")
        if self._is_on(self._base, found.head_sha):
            return Origin(Trust.TRUSTED, self._base)
        if branch and self._is_protected(branch) and self._is_on(branch, found.head_sha):
            return Origin(Trust.TRUSTED, branch)
        return Origin(Trust.UNTRUSTED, f"the branch {branch}, which is not protected")

    def _is_on(self, branch: str, commit: str) -> bool:
        # By the branch's commit: its name could also be a tag's.
        head = _once(self._heads, branch, lambda: self._branches.commit_at(branch))
        if head is None:
            return False
        return _once(self._contained, (head, commit), lambda: self._branches.contains(head, commit))

    def _is_protected(self, branch: str) -> bool:
        return _once(self._protected, branch, lambda: self._branches.is_protected(branch))


def _once(known: dict[_Key, _Answer], key: _Key, ask: Callable[[], _Answer]) -> _Answer:
    if key not in known:
        known[key] = ask()
    return known[key]


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
