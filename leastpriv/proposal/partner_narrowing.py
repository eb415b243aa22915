"""Restricts the unused actions that a narrowed wildcard keeps to the resources of the used actions
that they belong to: a deletion to those of its creation.

In: the changes of the wildcards and the restrictions of the used actions. Out: a change for each
such action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import ChangeKind, Usage
from leastpriv.permissions.generalize import Certainty, Pattern
from leastpriv.permissions.names.copies import Copies
from leastpriv.permissions.patterns import without_covered
from leastpriv.permissions.resource_types import type_names
from leastpriv.proposal.grants_on_all import (
    EntryOnAll,
    can_be_copied,
    grants_any,
    resource_expression,
    unless_on_same_key,
)
from leastpriv.proposal.id_conditions import id_conditions
from leastpriv.proposal.models import Change, GuardContext, GuardResult
from leastpriv.proposal.removals import change_of
from leastpriv.proposal.stability import where_applied
from leastpriv.proposal.visibility_guards import may_be_uncalled
from leastpriv.proposal.wildcards import LIFECYCLE, NO_SIGN, leaves_to_offers


def restrict_partners(
    entries_on_all: Sequence[EntryOnAll],
    changes: Sequence[Change],
    restricted: Sequence[Change],
    context: GuardContext,
    copies: Copies,
) -> Iterator[Change]:
    """Restricts each unused action that a narrowed wildcard on `*` keeps to the resources of what
    it belongs to.

    It remains on `*` if an unchanged entry grants it there.
    """
    entry_by_change = {
        (granting.entry.statement.index, granting.entry.pattern): granting.entry
        for granting in entries_on_all
    }
    unchanged = [granting.entry for granting in entries_on_all if granting.change is None]
    for change in changes:
        entry = entry_by_change.get((change.statement, change.action))
        if entry is None or not change.kept or not can_be_copied(entry.statement):
            continue
        if resource_expression(entry.statement):
            continue
        patterns_by_action = {
            restriction.restricted_action: restriction.patterns
            for restriction in restricted
            if restriction.statement == change.statement
        }
        for action, guard_result in change.kept.items():
            if guard_result.guard not in NO_SIGN or grants_any(unchanged, action):
                continue
            if guard_result.guard == LIFECYCLE and leaves_to_offers(action, entry, context):
                continue
            owners = _owners_of(action, guard_result, change, context)
            patterns = _patterns_of_owners(action, owners, patterns_by_action)
            if not patterns:
                continue
            resources = tuple(sorted(without_covered(patterns)))
            usages = owners.usages(context)
            conditions = id_conditions(action, resources, usages, context.evidence, copies)
            yield replace(
                change_of(entry, ChangeKind.NARROW),
                action=action,
                kept={action: guard_result},
                restricted_to=resources,
                patterns=tuple(patterns[resource] for resource in resources),
                conditions=unless_on_same_key(conditions, entry.statement),
            )


class _Owners(Struct, frozen=True):
    """The used actions that an unused action belongs to."""

    actions: tuple[str, ...]
    on_same_types: tuple[str, ...] = ()
    """Of a life-cycle action: the used actions on its resource types."""

    def usages(self, context: GuardContext) -> list[Usage]:
        usages: list[Usage] = []
        for action in self.actions:
            usages.extend(context.used.get(action, ()))
        return usages


def _owners_of(
    action: str, guard_result: GuardResult, change: Change, context: GuardContext
) -> _Owners:
    """The used actions that a life-cycle action follows; of another one, those on its resource
    types.
    """
    on_same_types = _used_on_types(action, change)
    if guard_result.guard == LIFECYCLE:
        return _Owners(context.partners.get(action, ()), on_same_types)
    return _Owners(on_same_types)


def _patterns_of_owners(
    action: str, owners: _Owners, patterns_by_action: Mapping[str, tuple[Pattern, ...]]
) -> dict[str, Pattern]:
    """Text -> pattern of the owners' resources that an action takes.

    Empty if the action takes no resource of these, or if one of the owners remains on `*`.
    """
    if not owners.actions:
        return {}
    # The owner of a life-cycle action may be authorized on no resource or on the parent.
    for actions in (owners.actions, owners.on_same_types):
        owner_patterns = [patterns_by_action.get(owner) for owner in actions]
        applied = where_applied(action, owner_patterns)
        if not applied:
            continue
        if any(patterns is None for patterns in owner_patterns):
            return {}
        return {
            pattern.pattern: replace(pattern, certainty=Certainty.BOUNDED) for pattern in applied
        }
    return {}


def _used_on_types(action: str, change: Change) -> tuple[str, ...]:
    """The used actions of a narrowed wildcard on the types of an action; none for items without a
    call on their own.
    """
    if may_be_uncalled(action):
        return ()
    service, _, _ = action.partition(":")
    types = type_names(action)
    actions: list[str] = []
    for used_action in change.used:
        is_of_service = used_action.startswith(f"{service}:")
        if is_of_service and not types.isdisjoint(type_names(used_action)):
            actions.append(used_action)
    return tuple(actions)
