"""Finds the origin of a workflow run's code; asks GitHub once for each run, commit and branch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from leastpriv.models import Origin, Run, Trust
from leastpriv.pull_request.github.branches import Branches
from leastpriv.pull_request.github.client import Connection, translate_github_errors

if TYPE_CHECKING:
    from github.WorkflowRun import WorkflowRun


_UNTRUSTED_EVENTS = frozenset(
    {
        *("pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"),
        *("issue_comment", "issues", "discussion", "discussion_comment", "fork", "watch"),
    }
)
"""Events that run unmerged code, or whose runs everyone can start (docs.github.com, "Events that trigger workflows",
read 2026-11)."""
_INDIRECT_EVENTS = frozenset({"workflow_run", "deployment_status", "check_run", "check_suite", "status"})
"""Events whose run names a commit of the default branch, whichever code it deploys."""
_SESSION_LIFETIME = timedelta(hours=1)
"""A session from the end of a run lasts one hour longer, unless the role says otherwise (AWS STS, "AssumeRole")."""
_MAX_RUN = timedelta(days=35)
"""GitHub ends a workflow run after 35 days (docs.github.com, "Usage limits for GitHub Actions", read 2026-11)."""
_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class WorkflowRuns:
    """The workflow runs of one repository, compared with one base branch."""

    def __init__(self, connection: Connection, branches: Branches, base: str) -> None:
        self._connection = connection
        self._branches = branches
        self._base = base
        self._heads: dict[str, str | None] = {}
        self._contained: dict[tuple[str, str], bool] = {}
        self._protected: dict[str, bool] = {}

    def origin(self, run: Run) -> Origin:
        """Returns the origin of a deploy whose session name is the id of a workflow run of this repository.

        The caller chooses the session name, so the calls must be within the time of the run.
        """
        if not (run.session.isascii() and run.session.isdecimal()):
            return Origin(Trust.UNKNOWN, "a session that is not named by a workflow run")
        workflow_run = self._workflow_run(int(run.session))
        if isinstance(workflow_run, Origin):
            return workflow_run
        return self._time_mismatch(workflow_run, run) or self._origin_of(workflow_run)

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
                return Origin(Trust.UNKNOWN, "a workflow run that the token may not read (`actions: read`)")

    def _time_mismatch(self, workflow_run: WorkflowRun, run: Run) -> Origin | None:
        started = _utc(workflow_run.created_at)
        ended = _utc(workflow_run.updated_at) if workflow_run.status == "completed" else started + _MAX_RUN
        if started - _SESSION_LIFETIME <= run.first and run.last <= ended + _SESSION_LIFETIME:
            return None
        return Origin(Trust.UNTRUSTED, f"a session named {run.session}, at another time than that workflow run")

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
                Trust.UNKNOWN, f"the event {workflow_run.event}, which does not tell the commit that was deployed"
            )
        if self._branch_contains(self._base, workflow_run.head_sha):
            return Origin(Trust.TRUSTED, self._base)
        if branch and self._is_protected(branch) and self._branch_contains(branch, workflow_run.head_sha):
            return Origin(Trust.TRUSTED, branch)
        return Origin(Trust.UNTRUSTED, f"the branch {branch}, which is not protected")

    def _branch_contains(self, branch: str, commit: str) -> bool:
        # By the branch's commit: a tag could have its name too.
        head = _cached(self._heads, branch, lambda: self._branches.commit_at(branch))
        if head is None:
            return False
        return _cached(self._contained, (head, commit), lambda: self._branches.contains(head, commit))

    def _is_protected(self, branch: str) -> bool:
        return _cached(self._protected, branch, lambda: self._branches.is_protected(branch))


def _cached(cache: dict[_Key, _Answer], key: _Key, compute: Callable[[], _Answer]) -> _Answer:
    if key not in cache:
        cache[key] = compute()
    return cache[key]


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
