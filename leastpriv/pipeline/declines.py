"""Finds what people declined: in closed pull requests, on branches of merged ones, and in the usage
history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.usage_history import (
    DeclinedAddition,
    DeclinedPullRequest,
    UsageHistory,
    is_action,
    is_resource,
)
from leastpriv.models import Permission, grouped
from leastpriv.permissions.patterns import resource_covers
from leastpriv.pipeline.context import RunContext, Target, scope_id
from leastpriv.pipeline.merged_proposals import BranchEdits
from leastpriv.pipeline.target_names import TargetNames
from leastpriv.proposal.models import DRAFT_ID, Decline, DeclinedNames, addition_id, ids_of_scope
from leastpriv.pull_request.lifecycle import ClosedPullRequest, OpenPullRequest, fingerprint_scope


class TargetScopes(Struct, frozen=True):
    """The scope ids of the proposals of a target."""

    single: frozenset[str]
    """Those of pull requests for it alone, and the prefixes of its changes in shared ones."""
    group: str
    """That of the pull request that it shares; empty without a group."""

    @classmethod
    def of(cls, run: RunContext, target: Target, names: TargetNames) -> Self:
        """Returns the scope ids under all names that are known by now."""
        group = ""
        if target.group and run.file:
            group = scope_id(run.file.group_scope(target.group))
        return cls(frozenset(names.identity.scopes), group)

    def has(self, fingerprint: str) -> bool:
        """Whether a proposal with this fingerprint may be one of the target."""
        scope = fingerprint_scope(fingerprint)
        return scope in self.single or bool(self.group and scope == self.group)

    def has_proposed(self, pull: ClosedPullRequest) -> bool:
        """Whether a pull request had a proposal for the target, alone or in its group of then."""
        return self.has(pull.fingerprint) or bool(self.changes_in_group(pull.changes))

    def changes_of(self, pull: ClosedPullRequest | OpenPullRequest) -> tuple[str, ...]:
        """Returns the ids of the target's changes in a pull request."""
        scope = fingerprint_scope(pull.fingerprint)
        if scope in self.single:
            return pull.changes
        in_group = self.changes_in_group(pull.changes)
        if not in_group and scope != self.group:
            return pull.changes
        return in_group

    def additions_of(
        self, pull: ClosedPullRequest | OpenPullRequest | None
    ) -> tuple[Permission, ...]:
        """Returns the target's additions that the body of a pull request names."""
        if pull is None:
            return ()
        changes = frozenset(self.changes_of(pull))
        if DRAFT_ID in changes:
            # All that a first draft adds is one change.
            is_of_target = fingerprint_scope(pull.fingerprint) in self.single
            return pull.additions if is_of_target else ()
        return tuple(
            addition
            for addition in pull.additions
            if addition_id(addition.action, addition.resource) in changes
        )

    def changes_in_group(self, changes: Iterable[str]) -> tuple[str, ...]:
        """Returns the ids of the target's changes among those of the pull request of a group."""
        group_changes = tuple(changes)
        changes_of_target: list[str] = []
        for scope in sorted(self.single):
            changes_of_target.extend(ids_of_scope(group_changes, scope))
        return tuple(changes_of_target)


def declines_by_action(names: Iterable[DeclinedNames]) -> Mapping[str, Sequence[DeclinedNames]]:
    """Groups declined additions by their action in lower case."""
    return grouped([(declined.action.lower(), declined) for declined in names])


class _AcceptedAdditions(Struct, frozen=True):
    """The additions that people merged, which end earlier declines of them."""

    by_pull: Mapping[int, tuple[Permission, ...]]

    @classmethod
    def of(
        cls, memory: UsageHistory, closed: Sequence[ClosedPullRequest], scopes: TargetScopes
    ) -> Self:
        """Returns the additions of merged pull requests, but those that a commit took away."""
        by_pull: dict[int, tuple[Permission, ...]] = {}
        for pull in closed:
            if not pull.merge_commit or pull.declined:
                continue
            declined = memory.declined.get(pull.number)
            taken_away: tuple[str, ...] = ()
            if declined and declined.by_commit:
                taken_away = declined.changes
            by_pull[pull.number] = tuple(
                addition
                for addition in scopes.additions_of(pull)
                if addition_id(addition.action, addition.resource) not in taken_away
            )
        return cls(by_pull)

    def end(self, declined: DeclinedNames) -> bool:
        """Whether a person merged a declined addition later, alone or by a pattern."""
        for number, additions in self.by_pull.items():
            if number <= declined.decline.pull:
                continue
            for addition in additions:
                is_same_action = addition.action.lower() == declined.action.lower()
                if is_same_action and resource_covers(addition.resource, declined.resource):
                    return True
        return False


class Declines(Struct, frozen=True):
    """What people declined."""

    by_id: Mapping[str, Decline]
    names: tuple[DeclinedNames, ...]

    @classmethod
    def of(
        cls, memory: UsageHistory, closed: Sequence[ClosedPullRequest], scopes: TargetScopes
    ) -> Self:
        """Returns the declines that count; GitHub's state overrides the store's.

        A first draft is one of a policy file; other changes are of a permission and a resource.
        """
        pulls = {pull.number: pull for pull in closed}
        by_id: dict[str, Decline] = {}
        declined_names: list[DeclinedNames] = []
        for number, declined in sorted(memory.declined.items()):
            pull = pulls.get(number)
            if declined.taken_back or (pull and _is_undone(pull, declined)):
                continue
            decline = Decline(number, by_commit=declined.by_commit)
            is_of_file = scopes.has(declined.fingerprint)
            for change in declined.changes:
                if change != DRAFT_ID or is_of_file:
                    by_id[change] = decline
            declined_names.extend(
                DeclinedNames(addition.action, addition.resource, decline)
                for addition in declined.additions
            )
        accepted = _AcceptedAdditions.of(memory, closed, scopes)
        lasting: list[DeclinedNames] = []
        for names in declined_names:
            if accepted.end(names):
                by_id.pop(addition_id(names.action, names.resource), None)
            else:
                lasting.append(names)
        return cls(by_id, tuple(lasting))

    @property
    def names_by_action(self) -> Mapping[str, Sequence[DeclinedNames]]:
        """The named additions by their action in lower case."""
        return declines_by_action(self.names)

    def with_open(self, opened: OpenPullRequest | None, edits: BranchEdits) -> Self:
        """Returns the declines with what a person took away from the open pull request."""
        if opened is None or not edits.in_open:
            return self
        decline = Decline(opened.number, by_commit=True)
        by_id = dict(self.by_id)
        names = list(self.names)
        for addition in edits.in_open:
            by_id[addition_id(addition.action, addition.resource)] = decline
            names.append(DeclinedNames(addition.action, addition.resource, decline))
        return type(self)(by_id, tuple(names))


def new_declines(
    memory: UsageHistory,
    closed: Sequence[ClosedPullRequest],
    scopes: TargetScopes,
    edits: BranchEdits,
) -> Mapping[int, DeclinedPullRequest]:
    """Returns the declines that the store lacks; a description that was rewritten later removes
    none.
    """
    declines: dict[int, DeclinedPullRequest] = {}
    for pull in closed:
        stored = memory.declined.get(pull.number)
        is_declined_by_commit = pull.number in edits.merged and not pull.declined
        is_taken_back = pull.reconsidered and stored is not None
        if not (pull.declined or is_declined_by_commit or is_taken_back):
            continue
        if is_declined_by_commit:
            decline = _declined_by_commit(pull, edits.merged[pull.number])
        else:
            decline = _declined_by_closing(pull, scopes, stored)
        if stored is None:
            declines[pull.number] = decline
            continue
        # The description may have been rewritten without its additions.
        decline = replace(
            decline,
            # A revert changes no pull request, so that the news would have the time of the store.
            seen=max(decline.seen, stored.seen + timedelta(seconds=1)),
            additions=decline.additions or stored.additions,
        )
        if replace(stored, seen=decline.seen) != decline:
            declines[pull.number] = decline
    return declines


def _declined_by_commit(
    pull: ClosedPullRequest, additions: Iterable[Permission]
) -> DeclinedPullRequest:
    """Returns the decline of additions that a commit on the branch of a merged pull request took
    away.
    """
    additions = tuple(additions)
    return DeclinedPullRequest(
        seen=pull.changed_at,
        taken_back=pull.reconsidered,
        fingerprint=pull.fingerprint,
        changes=tuple(addition_id(addition.action, addition.resource) for addition in additions),
        additions=_storable(additions),
        by_commit=True,
    )


def _declined_by_closing(
    pull: ClosedPullRequest, scopes: TargetScopes, stored: DeclinedPullRequest | None
) -> DeclinedPullRequest:
    """Returns the decline of all changes of a pull request; `stored`: what the usage history has of
    it.
    """
    changes = scopes.changes_of(pull)
    if not changes and stored:
        changes = stored.changes
    additions: tuple[Permission, ...] = ()
    # A person who declines a first draft may want parts of it in another policy.
    if DRAFT_ID not in changes:
        additions = scopes.additions_of(pull)
    return DeclinedPullRequest(
        seen=pull.changed_at,
        taken_back=pull.reconsidered,
        fingerprint=pull.fingerprint,
        changes=changes,
        additions=_storable(additions),
    )


def _is_undone(pull: ClosedPullRequest, declined: DeclinedPullRequest) -> bool:
    """Whether a decline no longer counts, as the state of its pull request shows."""
    if pull.reconsidered:
        return True
    return pull.undone and not declined.by_commit


def _storable(additions: Iterable[Permission]) -> tuple[DeclinedAddition, ...]:
    """Returns the additions that a usage history can hold."""
    return tuple(
        DeclinedAddition(addition.action, addition.resource)
        for addition in additions
        if is_action(addition.action) and is_resource(addition.resource)
    )


def without_reconsidered(memory: UsageHistory, closed: Sequence[ClosedPullRequest]) -> UsageHistory:
    """Returns a history without the grants that came back after pull requests whose label allows
    their changes again.
    """
    numbers = {pull.number for pull in closed if pull.reconsidered}
    returned = {
        grant: removal
        for grant, removal in memory.returned.items()
        if not (removal.granted and removal.pull in numbers)
    }
    return replace(memory, returned=returned)
