"""Decides on which resources a narrowed policy keeps a deletion that no run used.

A first draft decides the same: it writes a deletion for short-lived copies, `pr-58`, which runs
take down, and offers it for all other resources. In: `dynamodb:*`, of which runs used
`CreateTable` on `shop-prod-users` and `shop-pr-58-users`. Out: `DeleteTable` on `shop-pr-*-users`,
and an offer of it on `shop-prod-users`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.compare import Difference, Entry
from leastpriv.models import ChangeKind, grouped
from leastpriv.permissions.names.app_names import AppNames
from leastpriv.permissions.patterns import has_variable, without_covered
from leastpriv.proposal.additions import additions, without_unnamed_state
from leastpriv.proposal.grants_on_all import (
    can_be_copied,
    resource_expression,
    unless_on_same_key,
)
from leastpriv.proposal.lifecycle_additions import lifecycle_additions
from leastpriv.proposal.models import Change, GuardContext, GuardResult, History, UnusedDeletions
from leastpriv.proposal.removals import change_of
from leastpriv.proposal.wildcards import LIFECYCLE, leaves_to_offers, part_granted


class DraftedDeletions:
    """The unused deletions as a first draft of the evidence would write and offer them."""

    def __init__(self, context: GuardContext, names: AppNames) -> None:
        """Computes nothing yet: most policies have no such deletion."""
        self._context = context
        self._names = names

    def __call__(self, action: str) -> UnusedDeletions:
        """Returns what becomes of a deletion; nothing for one that belongs to no used action."""
        written = self._written.get(action, ())
        patterns = [resource for change in written for resource in change.resources]
        return UnusedDeletions(
            written=tuple(written),
            offered=tuple(self._offered.get(action, ())),
            spared=self._names.denied(action, patterns),
        )

    @cached_property
    def _drafted(self) -> tuple[Sequence[Change], Sequence[Change]]:
        """The written and the offered changes."""
        evidence = self._context.evidence
        allowed = evidence.allowed_usages
        options = self._context.options
        added, _ = additions(allowed, evidence, options, History(), names=self._names)
        life_cycle = lifecycle_additions(added, self._context, self._names, has_sensitive=True)
        written, of_ids = without_unnamed_state(life_cycle.written)
        return written, [*of_ids, *life_cycle.offered]

    @cached_property
    def _written(self) -> Mapping[str, Sequence[Change]]:
        return grouped([(change.action, change) for change in self._drafted[0]])

    @cached_property
    def _offered(self) -> Mapping[str, Sequence[Change]]:
        return grouped([(change.action, change) for change in self._drafted[1]])


def offered_deletions(
    difference: Difference, changes: Sequence[Change], context: GuardContext
) -> Iterator[Change]:
    """Yields the deletions that narrowed wildcards lose and that a first draft would offer, on
    resources on which the wildcards granted them.
    """
    if not context.options.lifecycle.writes:
        return
    entries_by_action: dict[str, list[Entry]] = {}
    for narrowed in _narrowed(difference, changes):
        change = narrowed.change
        for action in (*change.removed_actions, *change.kept_by(LIFECYCLE)):
            if leaves_to_offers(action, narrowed.entry, context):
                entries_by_action.setdefault(action, []).append(narrowed.entry)
    for action, entries in entries_by_action.items():
        for offer in context.unused_deletions(action).offered:
            resources = tuple(
                granted
                for resource in offer.resources
                for entry in entries
                for granted in part_granted(entry.statement, resource)
            )
            if resources:
                yield replace(offer, resources=without_covered(resources))


def restrict_deletions(
    difference: Difference,
    changes: Sequence[Change],
    context: GuardContext,
    left: Collection[int] = (),
) -> Iterator[Change]:
    """Restricts each unused deletion that a narrowed wildcard keeps to short-lived copies.

    Args:
        difference: what the policy grants and the role used.
        changes: the removals.
        context: the inputs of the guards.
        left: the statements whose resources are left as they are.
    """
    for narrowed in _narrowed(difference, changes):
        if narrowed.change.statement in left or not _may_restrict(narrowed.entry):
            continue
        for action in narrowed.change.kept_by(LIFECYCLE):
            if leaves_to_offers(action, narrowed.entry, context):
                yield from _in_short_lived_copies(action, narrowed, context)


def _in_short_lived_copies(
    action: str, narrowed: _NarrowedWildcard, context: GuardContext
) -> Iterator[Change]:
    """Yields the restriction of a kept deletion to the resources of short-lived copies that its
    statement grants.
    """
    statement = narrowed.entry.statement
    deletions = context.unused_deletions(action)
    for deletion in deletions.written:
        resources = tuple(
            granted
            for resource in deletion.resources
            for granted in part_granted(statement, resource, deletions.spared)
        )
        if resources:
            yield replace(
                change_of(narrowed.entry, ChangeKind.NARROW),
                action=action,
                kept={action: narrowed.kept[action]},
                restricted_to=resources,
                patterns=tuple(
                    pattern for pattern in deletion.patterns if pattern.pattern in resources
                ),
                conditions=unless_on_same_key(deletion.conditions, statement),
            )


class _NarrowedWildcard(Struct, frozen=True):
    """A change of a wildcard with its entry."""

    change: Change
    entry: Entry

    @property
    def kept(self) -> Mapping[str, GuardResult]:
        return self.change.kept or {}


def _narrowed(difference: Difference, changes: Sequence[Change]) -> Iterator[_NarrowedWildcard]:
    """Yields the changes of wildcards."""
    entries = {
        (entry.statement.index, entry.pattern): entry
        for entry in difference.entries
        if entry.is_wildcard
    }
    for change in changes:
        entry = entries.get((change.statement, change.action))
        if entry is not None:
            yield _NarrowedWildcard(change, entry)


def _may_restrict(entry: Entry) -> bool:
    """Whether a second statement can grant a part of what the statement of an entry grants."""
    statement = entry.statement
    if not can_be_copied(statement) or resource_expression(statement):
        return False
    return not any(map(has_variable, (*statement.resources, *statement.not_resources)))
