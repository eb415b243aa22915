"""Which actions AWS may refuse in the course of a call that is about another action.

For the self-check of the mapping: AWS names the action that it refused, and where the event neither maps to it nor is
known to need it besides, the mapping is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from leastpriv.permissions.event_map import facts_of
from leastpriv.permissions.event_table import Verdict, map_event, triggers_of
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.implied import tags_of
from leastpriv.permissions.mapping import CallNeeds

_OF_ANY_CALL = frozenset({"iam:PassRole", "iam:CreateServiceLinkedRole"})
"""Checked by any service that is handed a role or makes its own: data/roles.tsv and data/dependents.tsv."""


def unknown_refusals(source: str, name: str, mapped: CallNeeds, refused: tuple[str, ...]) -> tuple[str, ...]:
    """Actions that a refusal of the event names though the event is not known to need them, as it spells them.

    Empty where nobody can map the event (that is told already) and for a login, which no identity policy governs.
    """
    if mapped.verdict in (Verdict.UNMAPPED, Verdict.NO_PERMISSION):
        return ()
    event = map_event(source, name)
    needed = {need.permission.action.lower() for need in mapped.needs}
    needed.update(action.action.lower() for action in event.actions)
    known = {action.lower() for action in _partners(event.operation, tuple(sorted(needed)))}
    return tuple(
        action for action in refused if action.lower() not in needed | known and not action.lower().startswith("kms:")
    )


def _partners(operation: str, needed: tuple[str, ...]) -> Iterator[str]:
    """All that may be checked besides; of AWS KMS anything, since any service may use a key in the caller's name."""
    yield from _OF_ANY_CALL
    yield from facts_of(operation).inner
    yield from (row["action"] for row in triggers_of(operation))
    yield from (row["action"] for row in tags_of(operation))
    for action in (operation, *needed):
        yield from _dependents().get(action.lower(), ())


def next_actions(action: str) -> tuple[str, ...]:
    """Actions that AWS may check besides, once it allows this one (data/dependents.tsv)."""
    return tuple(name for name in _dependents().get(action.lower(), ()) if name.lower() != action.lower())


@cache
def _dependents() -> Mapping[str, tuple[str, ...]]:
    return {row["action"].lower(): tuple(row["dependents"].split(",")) for row in table("dependents")}
