"""Which entries of a policy grant an action on `*`, and which statements can be written a second
time.

In: the entries of a `Difference` and the changes to them. Out: entries reduced to one used action.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.compare import Difference, Entry, is_used
from leastpriv.models import ChangeKind, Condition
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.resource_types import type_names
from leastpriv.policy.document import Statement
from leastpriv.proposal.models import Change


class EntryOnAll(Struct, frozen=True):
    """An entry of a statement on `*`, with the change of it where there is one."""

    entry: Entry
    change: Change | None


def entries_on_all(difference: Difference, changes: Sequence[Change]) -> list[EntryOnAll]:
    """The entries of statements on `*`, each with the removal or replacement of it."""
    change_by_entry = {
        (change.statement, change.action): change
        for change in changes
        if change.kind is not ChangeKind.ADD
    }
    entries_on_all: list[EntryOnAll] = []
    for entry in difference.entries:
        if "*" in entry.statement.resources:
            change = change_by_entry.get((entry.statement.index, entry.pattern))
            entries_on_all.append(EntryOnAll(entry, change))
    return entries_on_all


def used_grants(entries_on_all: Sequence[EntryOnAll]) -> list[Entry]:
    """Used actions on `*`, each as an entry; skips those that an unchanged wildcard on `*` grants
    too.
    """
    unchanged = unchanged_wildcards(entries_on_all)
    grants: dict[tuple[int, str], Entry] = {}
    for granting in entries_on_all:
        entry = granting.entry
        for action in _actions_on_all(granting):
            usages = entry.uses.get(action, ())
            if not is_used(usages) or not type_names(action):
                continue
            if grants_any(unchanged, action):
                continue
            pattern = action if entry.is_wildcard else entry.pattern
            grant = replace(entry, pattern=pattern, granted=(action,), uses={action: usages})
            grants.setdefault((entry.statement.index, action), grant)
    return list(grants.values())


def unchanged_wildcards(entries_on_all: Sequence[EntryOnAll]) -> list[Entry]:
    """The wildcards that no change replaces."""
    return [
        granting.entry
        for granting in entries_on_all
        if granting.entry.is_wildcard and granting.change is None
    ]


def _actions_on_all(granting: EntryOnAll) -> tuple[str, ...]:
    """The actions of an entry that the policy names on `*` after the change of the entry."""
    if granting.entry.is_wildcard:
        # The change of a wildcard writes out its used actions.
        return granting.change.used if granting.change else ()
    if granting.change:
        return ()
    return granting.entry.granted


def grants_any(entries: Iterable[Entry], action: str) -> bool:
    """Whether one of these entries grants an action."""
    return any(_grants(entry, action) for entry in entries)


def _grants(entry: Entry, action: str) -> bool:
    if entry.statement.not_actions:
        return action in entry.granted
    return action_matches(entry.pattern, action)


def can_be_copied(statement: Statement) -> bool:
    """Whether a statement's condition can be written into a second statement; templates may hide
    parts of it.
    """
    if not statement.conditions_readable:
        return False
    for condition in statement.conditions:
        if any("${" in value for value in condition.values):
            return False
    return True


def resource_expression(statement: Statement) -> str:
    """Returns the expression that decides whether a statement grants on `*`; empty without one."""
    for possible_entry in statement.possible:
        if (possible_entry.key, possible_entry.text) == ("Resource", "*"):
            return possible_entry.depends_on
    return ""


def unless_on_same_key(
    conditions: Sequence[Condition], statement: Statement
) -> tuple[Condition, ...]:
    """The conditions but those on a key on which the statement has one."""
    keys = {condition.key.lower() for condition in statement.conditions}
    return tuple([condition for condition in conditions if condition.key.lower() not in keys])


def without_folded(changes: Sequence[Change], restricted: Sequence[Change]) -> list[Change]:
    """Writes out each wildcard of a replacement that would grant a restricted action on `*`
    again.
    """
    return [_without_folded(change, restricted) for change in changes]


def _without_folded(change: Change, restricted: Sequence[Change]) -> Change:
    """Replaces `sqs:Get*` of a change by the used actions that it stood for, where another change
    of the statement restricts one of them to resources.
    """
    moved_actions = [
        restriction.restricted_action
        for restriction in restricted
        if restriction.statement == change.statement
    ]
    folded = {
        pattern
        for pattern in change.replacement
        if "*" in pattern and _matches_any(pattern, moved_actions)
    }
    if not folded:
        return change
    replacement = set(change.replacement) - folded
    for action in (*change.used, *(change.kept or ())):
        if any(action_matches(pattern, action) for pattern in folded):
            replacement.add(action)
    return replace(change, replacement=tuple(sorted(replacement)))


def _matches_any(pattern: str, actions: Iterable[str]) -> bool:
    return any(action_matches(pattern, action) for action in actions)
