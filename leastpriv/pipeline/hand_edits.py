"""Reads what people changed on the base branch after the merge of a proposal: the additions that a
commit deleted, and in a clone what came back of its removals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

from msgspec import Struct

from leastpriv.errors import PolicyFileError
from leastpriv.evidence.usage_history import KEPT_DAYS, Returned, RevertedRemoval
from leastpriv.models import Permission
from leastpriv.permissions.patterns import action_matches
from leastpriv.pipeline.context import Target, TargetIdentity
from leastpriv.pipeline.load_policies import folder_of, read_attached
from leastpriv.pipeline.merged_proposals import (
    MAX_MERGED,
    ReturnedGrants,
    ids_of_grant,
    paths_of,
    policy_at,
)
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.models import Decline, DeclinedNames
from leastpriv.proposal.reverted_changes import (
    RestoredGrant,
    change_ids_between,
    is_deletion,
    missing_additions,
    removals_of_granted,
    restored_grants,
    takes_away,
    written_additions,
)
from leastpriv.pull_request.git_repository import FileChange, trailer_fingerprint
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import ClosedPullRequest

_CLOCKS = timedelta(days=1)
"""Tolerance between the clocks of two machines; a commit of a later date decides nothing."""
_ACTION_PATTERN = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+")

AddedLines = Callable[[str, Sequence[str]], Sequence[str] | None]
"""Commit, paths of files that are left out -> the lines that it adds to others; None: not known."""


class _PolicyEdit(Protocol):
    """A commit to the policy on the base branch."""

    @property
    def commit(self) -> str:
        """The commit."""
        ...

    @property
    def time(self) -> datetime:
        """When it came to the base branch (aware, UTC)."""
        ...

    @property
    def is_own(self) -> bool:
        """Whether it brought a proposal of this program."""
        ...

    @property
    def before(self) -> Document | None:
        """The policy without the commit; None where it was none."""
        ...

    @property
    def after(self) -> Document | None:
        """The policy with it; None where it is none."""
        ...


class _Addition(Struct, frozen=True):
    """An addition of a merged proposal."""

    permission: Permission
    pull: int
    """Number of its pull request; 0 where nothing names it."""


def _deletions(
    additions: Iterable[_Addition],
    edits: Iterable[_PolicyEdit],
    added_lines: Callable[[str], Sequence[str] | None],
    now: datetime,
) -> Iterator[DeclinedNames]:
    """Yields the additions that the last edit of them deletes, if a person made it.

    Args:
        additions: Additions of merged proposals that the policy lacks now.
        edits: The edits since, the newest first.
        added_lines: Commit -> the lines that it adds to other files; None: not known.
        now: Time of this run.
    """
    present = list(additions)
    for edit in edits:
        if not present:
            return
        before = edit.before
        after = edit.after
        if before is None or after is None:
            continue
        taken_away = [
            addition for addition in present if takes_away(before, after, addition.permission)
        ]
        present = [addition for addition in present if addition not in taken_away]
        if edit.is_own or edit.time > now + _CLOCKS:
            continue
        deleted = [
            addition for addition in taken_away if is_deletion(before, after, addition.permission)
        ]
        lines = added_lines(edit.commit) if deleted else None
        if lines is None:
            continue
        for addition in deleted:
            permission = addition.permission
            # An action that the commit writes into another file may have moved there.
            if not _names_action(lines, permission.action):
                decline = Decline(addition.pull, commit=edit.commit, at=edit.time)
                yield DeclinedNames(permission.action, permission.resource, decline)


def _names_action(lines: Iterable[str], action: str) -> bool:
    """Whether some lines of files have an action, or a pattern that matches it."""
    for line in lines:
        if any(action_matches(pattern, action) for pattern in _ACTION_PATTERN.findall(line)):
            return True
    return False


class _GitHubEdit(Struct, frozen=True, dict=True):
    """A commit to the policy on the base branch of a repository on GitHub."""

    commit: str
    time: datetime
    is_own: bool
    parent: str
    read: Callable[[str], Document | None]
    """Gives the policy in a commit."""

    @cached_property
    def before(self) -> Document | None:
        """The policy without the commit."""
        return self.read(self.parent)

    @cached_property
    def after(self) -> Document | None:
        """The policy with it."""
        return self.read(self.commit)


class GitHubEdits(Struct, frozen=True):
    """The commits of people to a policy on the base branch of a repository on GitHub."""

    host: GitHubRepository
    target: Target
    identity: TargetIdentity
    base: str
    """The commit of the policy; empty: the head of the base branch."""
    now: datetime
    """Time of this run."""

    def deletions(
        self,
        additions_by_pull: Mapping[ClosedPullRequest, Sequence[Permission]],
        merges: Iterable[ClosedPullRequest],
    ) -> tuple[DeclinedNames, ...]:
        """Returns the additions of merged pull requests that a person deleted later.

        Args:
            additions_by_pull: Merged pull requests with those of their additions that were merged
                and that the policy lacks now.
            merges: All merged pull requests of the target.
        """
        newest_first = sorted(additions_by_pull, key=lambda pull: pull.number, reverse=True)
        pulls = newest_first[:MAX_MERGED]
        merge_times = [pull.merged_at for pull in pulls if pull.merged_at]
        if not merge_times:
            return ()
        additions = {
            permission: _Addition(permission, pull.number)
            for pull in reversed(pulls)
            for permission in additions_by_pull[pull]
        }
        own_commits = {pull.merge_commit for pull in merges}
        for pull in pulls:
            commits = self.host.pull_requests.first_commits(pull.number)
            own_commits.update(commit.sha for commit in commits[:1])
        edits = self._edits(min(merge_times), own_commits)
        return tuple(_deletions(additions.values(), edits, self._added_lines, self.now))

    def _edits(self, since: datetime, own_commits: Iterable[str]) -> Iterator[_GitHubEdit]:
        """Yields the edits of the policy since a time, the newest first."""
        commits_of_program = frozenset(own_commits)
        branches = self.host.branches
        base = self.base or self.host.branch_head(self.target.settings.base).commit
        for path in paths_of(self.identity):
            for commit in branches.changes_since(base, path, since):
                has_trailer = bool(trailer_fingerprint(commit.message))
                is_own = has_trailer or commit.sha in commits_of_program
                yield _GitHubEdit(
                    commit=commit.sha,
                    time=commit.time,
                    is_own=is_own,
                    parent=commit.parent,
                    read=self._policy_at,
                )

    def _policy_at(self, commit: str) -> Document | None:
        """Returns the policy of the target in a commit; None where it is not there or cannot be
        read.
        """
        return policy_at(commit, self.target, self.identity)

    def _added_lines(self, commit: str) -> Sequence[str] | None:
        """Returns the lines that a commit adds to other files than the policy file; None: they are
        not known.
        """
        paths = _paths_of_policy_alone(self.target, paths_of(self.identity))
        return self.host.branches.added_lines(commit, paths)


def _paths_of_policy_alone(target: Target, paths: Sequence[str]) -> Sequence[str]:
    """Returns the paths of the policy file; none where it may hold other policies."""
    return () if target.pointer else paths


class _CloneEdit(Struct, frozen=True, dict=True):
    """A commit to the policy on the base branch of a clone."""

    change: FileChange
    is_of_target: bool
    """Whether it brought a proposal for the target."""
    parse: Callable[[bytes | None, str], Document | None]
    """Content and path of the policy file -> the policy."""

    @property
    def commit(self) -> str:
        """The commit."""
        return self.change.commit

    @property
    def time(self) -> datetime:
        """When it came to the base branch (aware, UTC)."""
        return self.change.time

    @property
    def is_own(self) -> bool:
        """Whether it brought a proposal of this program."""
        return bool(self.change.fingerprint)

    @cached_property
    def before(self) -> Document | None:
        """The policy without the commit."""
        return self.parse(self.change.before, self.change.path)

    @cached_property
    def after(self) -> Document | None:
        """The policy with it."""
        return self.parse(self.change.after, self.change.path)

    @property
    def additions(self) -> tuple[Permission, ...]:
        """The entries that it adds; none where the earlier file was no policy."""
        if self.after is None or (self.before is None and self.change.before is not None):
            return ()
        return written_additions(self.before, self.after)

    @cached_property
    def ids(self) -> frozenset[str]:
        """Ids of its changes."""
        if self.before is None or self.after is None:
            return frozenset()
        return frozenset(change_ids_between(self.before, self.after))

    @property
    def has_commits_of_others(self) -> bool:
        """Whether its branch had more than the proposal, as far as the merge shows it."""
        return self.change.proposed not in (None, self.change.after)

    def restored(self, committed: Document) -> Iterator[RestoredGrant]:
        """Yields what its proposal removed and a policy grants all the same."""
        change = self.change
        before = self.before
        proposed = self.after
        if change.proposed is not None:
            # A commit of others on its branch may have brought something back.
            before = self.parse(change.proposed_on, change.path)
            proposed = self.parse(change.proposed, change.path)
        if before is not None and proposed is not None:
            yield from restored_grants(before, proposed, committed)


def _returned(edit: _CloneEdit, *, by_person: bool) -> RevertedRemoval:
    """Returns the removal of what came back after a merged proposal."""
    return RevertedRemoval(
        refused=edit.time.date(),
        pull=edit.change.number,
        merged=edit.time,
        by_person=by_person,
        commit=edit.commit,
    )


class CloneEdits:
    """The commits to a policy on the base branch of a clone, of proposals and of people."""

    def __init__(
        self,
        changes: Iterable[FileChange],
        target: Target,
        base: str,
        is_of_target: Callable[[FileChange], bool],
        now: datetime,
    ) -> None:
        """Parses nothing yet.

        Args:
            changes: The changes of the policy file, the newest first.
            target: The target.
            base: The commit of the policy; empty where that was read on disk.
            is_of_target: Whether a proposal was one for the target.
            now: Time of this run.
        """
        self._changes = tuple(changes)
        self._target = target
        self._base = base
        self._now = now
        self._edits = [
            _CloneEdit(change, bool(change.fingerprint) and is_of_target(change), self._parsed)
            for change in self._changes
        ]

    def deletions(
        self,
        committed: Document | None,
        needed: Collection[str],
        added_lines: AddedLines,
    ) -> tuple[DeclinedNames, ...]:
        """Returns the additions of merged proposals that a person deleted later.

        Args:
            committed: The present policy.
            needed: The actions that a run needs now.
            added_lines: Gives the lines that a commit adds to other files.
        """
        if not needed:
            return ()
        pulls: dict[Permission, int] = {}
        for edit in reversed(self._edits):
            if not edit.is_of_target:
                continue
            for permission in edit.additions:
                # A shortened policy may have a pattern of actions.
                names = (name for name in needed if action_matches(permission.action, name))
                additions = (Permission(name, permission.resource) for name in names)
                pulls.update(dict.fromkeys(additions, edit.change.number))
        present = [committed] if committed else []
        lacking = [
            _Addition(permission, pulls[permission])
            for permission in missing_additions(pulls, present)
        ]
        paths = _paths_of_policy_alone(self._target, [change.path for change in self._changes])
        return tuple(
            _deletions(lacking, self._edits, lambda commit: added_lines(commit, paths), self._now)
        )

    def restored(self, committed: Document | None) -> Returned:
        """Returns the grants of the committed policy that a merged proposal removes, by pattern of
        actions and resource.

        A person left them on the branch of a merge, or granted them again by hand; or a later
        proposal added what was denied then.

        Args:
            committed: The present policy.
        """
        if committed is None:
            return {}
        restored = ReturnedGrants()
        oldest = self._now - timedelta(days=KEPT_DAYS)
        granted = removals_of_granted(committed)
        later_ids: set[str] = set()
        is_edited = False
        proposals = 0
        for edit in self._edits:
            if not edit.is_of_target:
                is_edited = True
                continue
            proposals += 1
            if proposals > MAX_MERGED or edit.time < oldest:
                break
            may_be_back = is_edited or edit.has_commits_of_others
            if may_be_back or not granted.isdisjoint(edit.ids):
                for grant in edit.restored(committed):
                    is_by_person = later_ids.isdisjoint(ids_of_grant(grant))
                    restored.add(grant, _returned(edit, by_person=is_by_person))
            later_ids |= edit.ids
        return restored.limited()

    def _parsed(self, content: bytes | None, path: str) -> Document | None:
        """Parses a version of the policy file; None where it was no policy."""
        if content is None:
            return None
        name = str(Location(path, self._target.pointer))
        try:
            folder = folder_of(self._target, self._base)
            return read_attached(content, name, self._target.settings.principal, folder)
        except PolicyFileError:
            return None
