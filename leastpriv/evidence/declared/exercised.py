"""Finds the declared actions that runs had the occasion to use: every phase that lists or needs them was exercised.

A declared permission that no run used goes with the usual guards, once the phases of its resource types were seen. A
phase is seen by an action that this phase alone has: `sqs:CreateQueue`, `sqs:SetQueueAttributes`, `sqs:DeleteQueue`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import product

from leastpriv.evidence.declared.models import UNKNOWN, Declaration, Place
from leastpriv.evidence.declared.resource_arns import Arns
from leastpriv.evidence.declared.resource_needs import needed_actions
from leastpriv.permissions import catalog
from leastpriv.permissions.tool_lifecycle import Phase, ResourceKind, actions_of_phase, making_actions

_PHASES = (Phase.CREATE, Phase.READ, Phase.UPDATE, Phase.DELETE)


def exercised_actions(declarations: Iterable[Declaration], used: Collection[str]) -> frozenset[str]:
    """Returns the actions of declared types whose phases the used actions show: all that list them, or that need them.

    The update of a queue lists `sqs:TagQueue`, and needs it only for a queue with tags.
    """
    listed: set[str] = set()
    unseen: set[str] = set()
    needed: set[str] = set()
    needed_unseen: set[str] = set()
    for declaration in declarations:
        arns = Arns(declaration, Place(UNKNOWN, UNKNOWN))
        for resource, phase in product(declaration.resources, _PHASES):
            is_seen = any(mark in used for mark in marks_of(resource.kind, phase))
            (listed if is_seen else unseen).update(actions_of_phase(resource.kind, phase))
            (needed if is_seen else needed_unseen).update(needed_actions(replace(resource, changed=None), phase, arns))
    return frozenset(listed - unseen | needed - needed_unseen)


@lru_cache(maxsize=4_096)
def marks_of(kind: ResourceKind, phase: Phase) -> tuple[str, ...]:
    """Returns the actions that show that a phase of a type was exercised; a resource is read whenever it is made."""
    if phase in (Phase.CREATE, Phase.READ):
        return making_actions(kind)
    others = {action for other in _PHASES if other is not phase for action in actions_of_phase(kind, other)}
    own = (action for action in actions_of_phase(kind, phase) if action not in others)
    return tuple(action for action in own if catalog.access_level(action) not in ("Read", "List"))
