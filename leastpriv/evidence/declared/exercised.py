"""Finds the declared actions that runs had the occasion to use: every phase that lists them was exercised.

A declared permission that no run used goes with the usual guards, once the phases of its resource types were seen. A
phase is seen by an action that this phase alone has: `sqs:CreateQueue`, `sqs:SetQueueAttributes`, `sqs:DeleteQueue`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

from leastpriv.evidence.declared.models import Declaration
from leastpriv.permissions import catalog
from leastpriv.permissions.tool_lifecycle import Phase, ResourceKind, actions_of_phase, making_actions

_PHASES = (Phase.CREATE, Phase.READ, Phase.UPDATE, Phase.DELETE)


def exercised_actions(declarations: Iterable[Declaration], used: Collection[str]) -> frozenset[str]:
    """Returns the actions of declared types, all of whose phases the used actions show for each type."""
    kinds = {resource.kind for declaration in declarations for resource in declaration.resources}
    listed: set[str] = set()
    open_ones: set[str] = set()
    for kind in kinds:
        for phase in _PHASES:
            actions = actions_of_phase(kind, phase)
            listed.update(actions)
            if not any(mark in used for mark in marks_of(kind, phase)):
                open_ones.update(actions)
    return frozenset(listed - open_ones)


@lru_cache(maxsize=4_096)
def marks_of(kind: ResourceKind, phase: Phase) -> tuple[str, ...]:
    """Returns the actions that show that a phase of a type was exercised; a resource is read whenever it is made."""
    if phase in (Phase.CREATE, Phase.READ):
        return making_actions(kind)
    others = {action for other in _PHASES if other is not phase for action in actions_of_phase(kind, other)}
    own = (action for action in actions_of_phase(kind, phase) if action not in others)
    return tuple(action for action in own if catalog.access_level(action) not in ("Read", "List"))
