"""Finds the origin of a workflow run's code; asks GitHub once for each run, commit and branch."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Origin, Run, Trust, WebIdentity
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, translate_github_errors, utc

if TYPE_CHECKING:
    from github.WorkflowRun import WorkflowRun


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
_MOST_ATTEMPTS = 10
"""Latest attempts of a workflow run that are read, a request each."""
BY_SESSION_NAME = "branch by session name"
"""Mark of an origin that no login in the evidence proves."""
BY_LOGIN = "branch by login, workflow run unknown"
"""Mark of an origin whose commit is not known."""
OTHER_BRANCH = "run of another protected branch than the base"
"""Mark of an origin whose commit is not on the base branch: who creates a branch that a rule for
names protects, pushes its first commits without a review."""
_OIDC_PROVIDER = re.compile(r"\Aarn:[a-z-]+:iam::[0-9]{12}:oidc-provider/")
_NUMBER = re.compile(r"@[0-9]+(?=/|\Z)")
_GITHUB_PROVIDER = "token.actions.githubusercontent.com"
_SERVER_PROVIDER = "/_services/token"
"""Identity providers of github.com and its enterprises, and of GitHub Enterprise Server
(docs.github.com, "OpenID Connect reference", read 2026-11-27)."""
_MAX_RUN = timedelta(days=35)
"""GitHub ends a workflow run after 35 days (docs.github.com, "Usage limits for GitHub Actions",
read 2026-11).
"""


class GitHubLogin(Struct, frozen=True):
    """The subject of a token that GitHub issued to a workflow's job."""

    repository: str
    """`octo/shop`; empty where the repository's own form of subjects hides it."""
    ref: str = ""
    """`refs/heads/main`; empty where the subject has no ref, as with an environment."""
    is_pull_request: bool = False
    ids: tuple[str, ...] = ()
    """`@ID` of the owner and of the repository, where the subject has them: a later owner of the
    names has others.
    """

    @classmethod
    def of(cls, identity: WebIdentity, web_url: str) -> GitHubLogin | None:
        """Parses the identity of a token; None where another provider issued it.

        `repo:OWNER/NAME:ref:REF` or `repo:OWNER@ID/NAME@ID:ref:REF`, `…:environment:NAME`,
        `…:pull_request`; GitHub encodes a colon in a value ("OpenID Connect reference", read
        2026-11-27).
        """
        provider = _OIDC_PROVIDER.sub("", identity.provider)
        server = web_url.partition("://")[2].rstrip("/") + _SERVER_PROVIDER
        if provider.partition("/")[0] != _GITHUB_PROVIDER and provider != server:
            return None
        parts = identity.subject.split(":")
        values = dict(zip(parts[::2], parts[1::2], strict=False))
        repository = values.get("repo", "")
        ids = tuple(_NUMBER.findall(repository))
        return cls(
            _NUMBER.sub("", repository), values.get("ref", ""), "pull_request" in parts[::2], ids
        )

    @property
    def branch(self) -> str:
        """Name of the branch; empty for a tag."""
        return self.ref.removeprefix("refs/heads/") if self.ref.startswith("refs/heads/") else ""

    @property
    def ref_name(self) -> str:
        """Name of the branch or tag, as a workflow run has it."""
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


class WorkflowRuns:
    """The workflow runs of one repository, compared with one base branch."""

    def __init__(self, connection: Connection, branches: Branches, base: str) -> None:
        self._connection = connection
        self._base = base
        # Each is requested once.
        self._commit_at, self._contains = cache(branches.commit_at), cache(branches.contains)
        self._is_protected = cache(branches.is_protected)

    def origin(self, run: Run) -> Origin:
        """Returns the ref whose code a run executed.

        The identity for which STS issued the run's keys names the ref; the session name, which the
        caller chooses, names the workflow run and so the commit. Where one of the two is missing,
        the origin has a mark.
        """
        login = GitHubLogin.of(run.identity, self._connection.web_url) if run.identity else None
        if run.identity and not login:
            return Origin(Trust.UNKNOWN, "a login through another identity provider than GitHub")
        if login and not self._is_of_repository(login):
            return Origin(
                Trust.UNKNOWN,
                f"a login of the repository {login.repository or 'that its subject hides'}",
            )
        if login and login.is_pull_request:
            return Origin(Trust.UNTRUSTED, "a login of a pull request")
        if not (run.session.isascii() and run.session.isdecimal()):
            return self._by_login(login)
        workflow_run = self._workflow_run(int(run.session))
        if isinstance(workflow_run, Origin):
            return self._by_login(login) if login and login.ref else workflow_run
        origin = self._time_mismatch(workflow_run, run) or self._origin_of(workflow_run)
        if origin.trust is not Trust.TRUSTED:
            return origin
        if not login or not login.ref:
            return replace(origin, mark=BY_SESSION_NAME)
        if login.ref_name != workflow_run.head_branch:
            name = f"a session named {run.session}, a workflow run of {workflow_run.head_branch}"
            return Origin(Trust.UNTRUSTED, f"{name}, with a login of {login.ref_name}")
        # A tag moves, and an unprotected branch has other commits than that of the workflow run.
        is_proved = login.branch and (
            login.branch == self._base or self._is_protected(login.branch)
        )
        return origin if is_proved else replace(origin, mark=BY_SESSION_NAME)

    def _is_of_repository(self, login: GitHubLogin) -> bool:
        own = self._connection.repository
        is_named = login.repository.lower() == own.full_name.lower()
        return is_named and (not login.ids or login.ids == (f"@{own.owner.id}", f"@{own.id}"))

    def _by_login(self, login: GitHubLogin | None) -> Origin:
        """Judges a session that names no workflow run by the branch of its login."""
        if not login:
            return Origin(Trust.UNKNOWN, "a session that is not named by a workflow run")
        if not login.branch:
            return Origin(Trust.UNKNOWN, "a login whose subject names no branch")
        if login.branch == self._base or self._is_protected(login.branch):
            return Origin(
                Trust.TRUSTED,
                login.branch,
                BY_LOGIN if login.branch == self._base else OTHER_BRANCH,
            )
        return Origin(Trust.UNTRUSTED, f"the branch {login.branch}, which is not protected")

    def _workflow_run(self, number: int) -> WorkflowRun | Origin:
        from github import GithubException

        with translate_github_errors(f"reading the workflow run {number}"):
            try:
                return self._connection.repository.get_workflow_run(number)
            except GithubException as error:
                if error.status == 404:
                    return Origin(Trust.UNKNOWN, f"no workflow run {number} of this repository")
                if error.status != 403 or "rate limit" in str(error.data):
                    raise
                return Origin(
                    Trust.UNKNOWN, "a workflow run that the token may not read (`actions: read`)"
                )

    def _time_mismatch(self, workflow_run: WorkflowRun, run: Run) -> Origin | None:
        """Returns the origin of a run with a call outside all attempts of the workflow run; None if
        there is none.
        """
        latest = workflow_run.run_attempt or 1
        earlier = range(latest - 1, max(latest - _MOST_ATTEMPTS, 0), -1)
        with translate_github_errors(f"reading the attempts of the workflow run {workflow_run.id}"):
            # GitHub keeps the id of a workflow run that runs again.
            attempts = list(map(_time_of, (workflow_run, *map(workflow_run.get_attempt, earlier))))
        periods = run.periods or ((run.first, run.last),)
        if all(
            any(start <= first and last <= end for start, end in attempts)
            for first, last in periods
        ):
            return None
        return Origin(
            Trust.UNTRUSTED,
            f"a session named {run.session}, at another time than that workflow run",
        )

    def _origin_of(self, workflow_run: WorkflowRun) -> Origin:
        branch = workflow_run.head_branch or ""
        if (
            workflow_run.head_repository is None
            or workflow_run.head_repository.full_name != self._connection.repository.full_name
        ):
            return Origin(Trust.UNTRUSTED, "a fork")
        if workflow_run.event in _UNTRUSTED_EVENTS:
            return Origin(Trust.UNTRUSTED, f"the event {workflow_run.event} on the branch {branch}")
        if workflow_run.event in _INDIRECT_EVENTS:
            return Origin(
                Trust.UNKNOWN,
                f"the event {workflow_run.event}, which does not show the deployed commit",
            )
        if self._branch_contains(self._base, workflow_run.head_sha):
            return Origin(Trust.TRUSTED, self._base)
        if (
            branch
            and self._is_protected(branch)
            and self._branch_contains(branch, workflow_run.head_sha)
        ):
            return Origin(Trust.TRUSTED, branch, OTHER_BRANCH)
        return Origin(Trust.UNTRUSTED, f"the branch {branch}, which is not protected")

    def _branch_contains(self, branch: str, commit: str) -> bool:
        # By the branch's commit: a tag could have its name too.
        head = self._commit_at(branch)
        return head is not None and self._contains(head, commit)


def _time_of(attempt: WorkflowRun) -> tuple[datetime, datetime]:
    """Returns the time in which sessions of an attempt can make calls."""
    started = utc(attempt.run_started_at or attempt.created_at)
    ended = utc(attempt.updated_at) if attempt.status == "completed" else started + _MAX_RUN
    return started - _SESSION_LIFETIME, ended + _SESSION_LIFETIME
