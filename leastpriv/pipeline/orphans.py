"""Closes pull requests whose target has another name or branch now, or left the config.

Such a pull request is an orphan. Its target has `moved` where a target of the run is the one of
its marker under another name, role or branch; else the target may be gone.

Closing takes certainty: in doubt, a pull request is left open. A run without a config knows one
target alone, so that there an equal role is needed, or a workflow that names another one now, and
what git knows of the policy file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from leastpriv.config.settings import Mode
from leastpriv.config.targets_file import ACCOUNT, NAME, normalized_file
from leastpriv.errors import PullRequestError
from leastpriv.models import TargetName
from leastpriv.pipeline.context import RunContext, Target, TargetResult
from leastpriv.pipeline.holds import holds_of
from leastpriv.pipeline.target_names import is_credible
from leastpriv.policy.source import Location
from leastpriv.pull_request.lifecycle import (
    Hold,
    MarkedPullRequest,
    TargetMark,
    fingerprint_scope,
)
from leastpriv.pull_request.models import PullRequestOperation
from leastpriv.report.escape import code

if TYPE_CHECKING:
    from leastpriv.pull_request.github.repository import GitHubRepository

_log = logging.getLogger(__name__)


def close_orphans(run: RunContext, results: Sequence[TargetResult]) -> None:
    """Closes the orphaned pull requests of the repositories of a run, each with its reason.

    A failure ends no run: the next one tries again.
    """
    repositories: dict[int, GitHubRepository] = {}
    members: dict[int, list[TargetResult]] = {}
    for target_result in results:
        target = target_result.target
        host = target.repository.github if target.repository else None
        if host and target.settings.mode is Mode.PULL_REQUEST:
            repositories[id(host)] = host
            members.setdefault(id(host), []).append(target_result)
    is_whole = all(result.content and not result.failure_text for result in results)
    for host_id, host in repositories.items():
        _Orphans(run, host, members[host_id], is_whole=is_whole).close()


_WORKFLOWS = ".github/workflows"
_GROUP = "group "
"""Begins what a marker has in place of a role for a group of targets."""


def group_mark(group: str, config: str, scope_id: str) -> TargetMark:
    """Returns the marker of the pull request of a group of targets."""
    return TargetMark(TargetName(id=scope_id, role=f"{_GROUP}{group}", file=config), config=config)


def _group_of(name: TargetName) -> str:
    """Returns the group that a marker names; empty for that of one target."""
    return name.role.removeprefix(_GROUP) if name.role.startswith(_GROUP) else ""


def _moved_reason(pull: MarkedPullRequest, result: TargetResult) -> str:
    """Returns in Markdown why a pull request of an earlier name is closed, and where its changes
    go on.
    """
    target = result.target
    before = pull.mark.name
    renames: list[str] = []
    if before.role not in _roles(target):
        renames.append(f"the role {code(before.role)} is {code(target.role)} now")
    if normalized_file(before.file) != normalized_file(target.policy_name):
        renames.append(f"the policy file {code(before.file)} is {code(target.policy_name)} now")
    if not renames:
        renames.append(f"the branch of its pull request is {code(target.settings.branch)} now")
    number = _successor(result)
    goes_on = f"Its changes go on in #{number}." if number else "No change is left."
    return f"{' and '.join(renames)}. {goes_on}"


def _roles(target: Target) -> tuple[str, ...]:
    """Returns the present roles of a target."""
    return (target.role, *target.users)


def _successor(result: TargetResult) -> int:
    """Returns the number of the open pull request of a target; 0 without one."""
    published = result.published
    if published is None or published.failure or not published.url:
        return 0
    return 0 if published.operation is PullRequestOperation.CLOSED else published.number


class _Orphans:
    """The orphaned pull requests of one repository."""

    def __init__(
        self,
        run: RunContext,
        host: GitHubRepository,
        results: Sequence[TargetResult],
        *,
        is_whole: bool,
    ) -> None:
        """`is_whole`: every target of the run was judged, none failed."""
        self._run = run
        self._host = host
        self._results = results
        self._is_whole = is_whole
        self._entries = run.file.configuration.entries if run.file else ()
        self._config = run.file.configuration.path if run.file else ""

    def close(self) -> None:
        """Closes each one that a person did not edit or pause."""
        branches = {target_result.target.settings.branch for target_result in self._results}
        for pull in self._host.pull_requests.opened_elsewhere():
            if pull.branch in branches or pull.mark.config != self._config:
                continue
            try:
                self._close(pull)
            except PullRequestError as error:
                _log.info(f"#{pull.number} of a former target is left open: {error}")

    def _close(self, pull: MarkedPullRequest) -> None:
        """Closes a pull request whose target has moved or is gone; one whose changes are only held
        back for now remains open, and says so.
        """
        if not self._is_of_marker(pull):
            return
        target_result = self._moved_to(pull)
        if target_result is None:
            self._close_with_reason(pull, self._gone_reason(pull))
            return
        hold = self._hold(target_result, pull.changes)
        if self._is_settled(target_result, hold):
            self._close_with_reason(pull, _moved_reason(pull, target_result))
        elif hold:
            self._host.hold_orphan(pull, hold)

    def _close_with_reason(self, pull: MarkedPullRequest, reason: str) -> None:
        """Closes a pull request; not without a reason, or where another branch has the config."""
        if reason and self._is_config_of_base() and self._host.close_orphan(pull, reason):
            _log.info(f"#{pull.number} is closed: its target has another name, or is gone.")

    def _is_of_marker(self, pull: MarkedPullRequest) -> bool:
        """Whether the commit of a pull request is of the target, or of the group, of its marker."""
        if not _group_of(pull.mark.name):
            return is_credible(pull)
        return pull.mark.name.id == fingerprint_scope(pull.fingerprint)

    def _is_config_of_base(self) -> bool:
        """Whether the config is that of the base branch: one of another branch may lack targets."""
        file = self._run.file
        if file is None:
            return True
        github = file.repository.github if file.repository else None
        if github is None:
            return False
        return (
            github.read(github.branch_head(self._run.settings.base).commit, self._config)
            == file.raw
        )

    def _hold(self, result: TargetResult, changes: Sequence[str] = ()) -> Hold | None:
        """Returns what holds some changes of a target without an open pull request back for now.

        `changes`: ids of those of an earlier pull request; empty: all.
        """
        if result.context is None or result.has_changes or _successor(result):
            return None
        return holds_of(result.context, result.target.settings.options, self._run.now).hold(changes)

    def _is_settled(self, result: TargetResult, hold: Hold | None) -> bool:
        """Whether a target has an open pull request, or needs none: policy and evidence agree, and
        nothing is held back for now (`hold`).
        """
        if _successor(result):
            return True
        published = result.published
        if published is None or published.failure or result.context is None:
            return False
        return not result.has_changes and hold is None

    def _moved_to(self, pull: MarkedPullRequest) -> TargetResult | None:
        """Returns the present target of a pull request, whose marker names an earlier role, file or
        branch; None without a certain one.

        The surest evidence comes first: an equal role, then what the config says of earlier
        names, then the policy file.
        """
        name = pull.mark.name
        into_base = [
            candidate for candidate in self._results if self._is_into_base(candidate.target, pull)
        ]
        of_role = [candidate for candidate in into_base if name.role in _roles(candidate.target)]
        if self._run.file is None:
            return self._moved_without_config(pull, into_base, of_role)
        if of_role:
            return of_role[0]
        # Another entry of the config has the role: the pull request is none of these targets.
        if any(_matches(name.role, entry.users.arns) for entry in self._entries):
            return None
        former = [candidate for candidate in into_base if self._is_former(candidate.target, pull)]
        if former:
            return former[0]
        return next(
            (candidate for candidate in into_base if self._is_file_of(candidate, name)), None
        )

    def _moved_without_config(
        self,
        pull: MarkedPullRequest,
        into_base: Sequence[TargetResult],
        of_role: Sequence[TargetResult],
    ) -> TargetResult | None:
        """Returns the present target of a pull request in a run without a config, which knows one
        target alone: one of an equal role, else of the role that the workflow names now, if it
        also has or had the policy file.

        Args:
            pull: The pull request.
            into_base: The targets whose pull requests go into its base branch.
            of_role: Those of them that have its role.
        """
        candidates = of_role or [
            result for result in into_base if self._is_renamed_by_workflow(result.target, pull)
        ]
        for candidate in candidates:
            if self._has_or_had_file(candidate, pull.mark.name):
                return candidate
        return None

    def _is_into_base(self, target: Target, pull: MarkedPullRequest) -> bool:
        return self._host.branch_head(target.settings.base).name == pull.base

    def _is_former(self, target: Target, pull: MarkedPullRequest) -> bool:
        """Whether the config names the role, the file or the branch as an earlier one."""
        name, formerly = pull.mark.name, target.formerly
        return (
            name.role in formerly.roles
            or normalized_file(name.file) in formerly.files
            or pull.branch in formerly.branches
        )

    def _is_file_of(self, result: TargetResult, name: TargetName) -> bool:
        """Whether the policy file of a pull request is that of a target, or became it."""
        if normalized_file(name.file) == normalized_file(result.target.policy_name):
            return True
        if result.content and result.content.history.identity.is_named(name):
            return True
        return self._is_renamed(result.target, name)

    def _has_or_had_file(self, result: TargetResult, name: TargetName) -> bool:
        """Whether a target with an equal role has the policy file of a pull request, or had it.

        A role may have two policy files, each with its job, and the second may be a first
        draft, which the base lacks: only a file that was there before has moved.
        """
        if self._is_file_of(result, name):
            return True
        path = Location.of(name.file).path
        commit = self._host.branch_head(result.target.settings.base).commit
        if self._host.read(commit, path) is not None:
            return False
        return self._host.last_changed(commit, path) is not None

    def _is_renamed_by_workflow(self, target: Target, pull: MarkedPullRequest) -> bool:
        """Whether the workflow that runs named the role of a pull request when that was opened, and
        names the role of a target in its place now, and no other workflow has the earlier one.

        Without it, another job may have the earlier role: no record shows that a job is gone.
        """
        repository, _, path = self._run.workflow.partition("/.github/")
        if not path or repository.lower() != self._host.full_name.lower():
            return False
        path = f".github/{path}"
        commit = self._host.branch_head(target.settings.base).commit
        now = self._host.read(commit, path) or b""
        before = self._host.read_at(commit, path, pull.created_at) or b""
        role = pull.mark.name.role
        was_earlier = _names_role(before, role) and not _names_role(before, target.role)
        if not was_earlier or not _names_role(now, target.role):
            return False
        workflows = self._host.paths(commit, _WORKFLOWS)
        return path in workflows and not any(
            self._may_name_role(commit, workflow, role) for workflow in workflows
        )

    def _may_name_role(self, commit: str, path: str, role: str) -> bool:
        """Whether a workflow names a role, or cannot be read."""
        workflow = self._host.read(commit, path)
        return workflow is None or _names_role(workflow, role)

    def _is_renamed(self, target: Target, name: TargetName) -> bool:
        """Whether git shows that a policy file became that of a target."""
        location = Location.of(name.file)
        if location.pointer != target.pointer:
            return False
        commit = self._host.branch_head(target.settings.base).commit
        if self._host.read(commit, location.path) is not None:
            return False
        return location.path in self._host.earlier_names(commit, target.policy_path)

    def _gone_reason(self, pull: MarkedPullRequest) -> str:
        """Returns why a pull request is one of no target any more; empty if it may be of one."""
        if self._run.file is None or not self._is_whole or self._is_listed(pull):
            return ""
        if not any(self._is_into_base(each.target, pull) for each in self._results):
            return ""
        name = pull.mark.name
        group = _group_of(name)
        if group and not all(self._is_settled(each, self._hold(each)) for each in self._results):
            return ""
        what = f"the role {code(name.role)} or the policy file {code(name.file)}"
        if group:
            what = f"the group {code(group)}"
        return f"no target of {code(self._config)} has {what} any more."

    def _is_listed(self, pull: MarkedPullRequest) -> bool:
        """Whether the config still has the role or the policy file, perhaps by a pattern or as an
        earlier name, or the group.
        """
        name = pull.mark.name
        group = _group_of(name)
        if group:
            return any(entry.group == group for entry in self._entries)
        file = normalized_file(name.file)
        for entry in self._entries:
            formerly = entry.formerly
            if _matches(name.role, (*entry.users.arns, *formerly.roles)):
                return True
            if _matches(file, formerly.files) or _matches(pull.branch, formerly.branches):
                return True
            if normalized_file(str(entry.values["policy-file"])) == file:
                return True
        return False


def _names_role(workflow: bytes, role: str) -> bool:
    """Whether the text of a workflow names a role, in an ARN of any account."""
    _, _, resource = role.rpartition(":")
    text = workflow.decode("utf-8", "replace")
    return re.search(rf":{re.escape(resource)}(?![\w+=,.@/-])", text) is not None


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is one of some names, which may have wildcards and placeholders."""
    return any(
        fnmatchcase(name, pattern.replace(NAME, "*").replace(ACCOUNT, "*")) for pattern in patterns
    )
