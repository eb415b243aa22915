"""Closes pull requests whose target has another name or branch now, or left the config."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec import Struct

from leastpriv.config.settings import Mode
from leastpriv.errors import PullRequestError
from leastpriv.models import TargetName
from leastpriv.pipeline.context import RunContext, TargetHistory, TargetResult
from leastpriv.policy.source import Location
from leastpriv.pull_request.lifecycle import MarkedPullRequest, TargetMark
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
    for result in results:
        target = result.target
        host = target.repository.github if target.repository else None
        if host and target.settings.mode is Mode.PULL_REQUEST:
            repositories[id(host)] = host
            members.setdefault(id(host), []).append(result)
    for place, host in repositories.items():
        try:
            _Orphans(run, host, members[place]).close()
        except PullRequestError as error:
            _log.info(f"Pull requests of former targets are left open: {error}")


_GROUP = "group "
"""Begins what a marker has in place of a role for a group of targets."""


def group_mark(group: str, config: str, scope_id: str) -> TargetMark:
    """Returns the marker of the pull request of a group of targets."""
    return TargetMark(TargetName(id=scope_id, role=f"{_GROUP}{group}", file=config), config=config)


def _group_of(name: TargetName) -> str:
    """Returns the group that a marker names; empty for that of one target."""
    return name.role.removeprefix(_GROUP) if name.role.startswith(_GROUP) else ""


class _Moved(Struct, frozen=True):
    """The present target of an orphaned pull request."""

    result: TargetResult

    def reason(self, pull: MarkedPullRequest) -> str:
        """Returns in Markdown why it is closed, and where its changes go on."""
        target = self.result.target
        before = pull.mark.name
        renames: list[str] = []
        if before.role != target.role:
            renames.append(f"the role {code(before.role)} is {code(target.role)} now")
        if before.file != target.policy_name:
            renames.append(f"the policy file {code(before.file)} is {code(target.policy_name)} now")
        if not renames:
            renames.append(f"the branch of its pull request is {code(target.settings.branch)} now")
        published = self.result.published
        number = published.number if published else 0
        goes_on = (
            f"Its changes go on in #{number}."
            if number
            else "A later run opens a new pull request where changes are left."
        )
        return f"Closed, since {' and '.join(renames)}. {goes_on} This declines nothing."


class _Orphans:
    """The orphaned pull requests of one repository."""

    def __init__(
        self, run: RunContext, host: GitHubRepository, results: Sequence[TargetResult]
    ) -> None:
        self._run = run
        self._host = host
        self._results = results

    def close(self) -> None:
        """Closes each one that a person did not edit or pause."""
        branches = {result.target.settings.branch for result in self._results}
        for pull in self._host.pull_requests.opened_elsewhere():
            if pull.branch in branches:
                continue
            reason = self._reason(pull)
            if reason and self._host.close_orphan(pull, reason):
                _log.info(f"#{pull.number} is closed: its target has another name, or is gone.")

    def _reason(self, pull: MarkedPullRequest) -> str:
        """Returns why a pull request is an orphan; empty for that of a target of another run."""
        moved = next(self._present_targets(pull), None)
        if moved:
            return moved.reason(pull)
        file = self._run.file
        if file is None or pull.mark.config != file.configuration.path or self._is_listed(pull):
            return ""
        name = pull.mark.name
        group = _group_of(name)
        what = f"the role {code(name.role)} or the policy file {code(name.file)}"
        if group:
            what = f"the group {code(group)}"
        return (
            f"Closed, since no target of {code(file.configuration.path)} has {what} any more."
            " This declines nothing."
        )

    def _present_targets(self, pull: MarkedPullRequest) -> Iterator[_Moved]:
        name = pull.mark.name
        known: list[TargetResult] = []
        for result in self._results:
            content = result.content
            if content is None or not self._may_be_renamed(result, content.history, pull):
                continue
            if content.history.identity.is_named(name):
                yield _Moved(result)
            known.append(result)
        path = Location.of(name.file).path
        for result in known:
            target = result.target
            if name.file == target.policy_name:
                yield _Moved(result)
        for result in known:
            target = result.target
            if target.settings.base not in ("", pull.base):
                continue
            commit = self._host.branch_head(target.settings.base)[1]
            if self._host.read(commit, path) is not None:
                continue
            if name.role == target.role or path in self._host.earlier_names(
                commit, target.policy_path
            ):
                yield _Moved(result)

    def _may_be_renamed(
        self, result: TargetResult, history: TargetHistory, pull: MarkedPullRequest
    ) -> bool:
        """Whether the role of a pull request can be an earlier name of a target's.

        In a run of one target another run may have that role: then its pull requests go on after
        the first one of this target.
        """
        role = pull.mark.name.role
        target = result.target
        if role in (target.role, *target.formerly.roles):
            return True
        others = [each.target.users for each in self._results if each is not result]
        if any(role in users for users in others):
            return False
        is_older = not history.first_pull or pull.number < history.first_pull
        return self._run.file is not None or is_older

    def _is_listed(self, pull: MarkedPullRequest) -> bool:
        """Whether the config still has the role or the policy file, perhaps by a pattern, or the
        group.
        """
        file = self._run.file
        entries = file.configuration.entries if file else ()
        name = pull.mark.name
        group = _group_of(name)
        if group:
            return any(entry.group == group for entry in entries)
        for entry in entries:
            if any(fnmatchcase(name.role, pattern) for pattern in entry.users.arns):
                return True
            if not entry.is_pattern and entry.values["policy-file"] == name.file:
                return True
        return False
