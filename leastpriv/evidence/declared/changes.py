"""Compares two versions of a declaration, and finds the declared actions that runs had the occasion to use.

A declared permission that no run used goes with the usual guards, once the phases of its resource types were seen. A
phase is seen by an action that this phase alone has: `sqs:CreateQueue`, `sqs:SetQueueAttributes`, `sqs:DeleteQueue`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.declared.models import LIFE, UNKNOWN, Declaration, DeclaredResource, Place
from leastpriv.evidence.declared.resource_arns import Arns
from leastpriv.evidence.declared.resource_needs import needed_actions
from leastpriv.evidence.declared.template import MADE
from leastpriv.permissions import catalog
from leastpriv.permissions.tool_lifecycle import Phase, ResourceKind, actions_of_phase, making_actions


def exercised_actions(declarations: Iterable[Declaration], used: Collection[str]) -> frozenset[str]:
    """Returns the actions of declared types whose phases the used actions show: all that list them, or that need them.

    The update of a queue lists `sqs:TagQueue`, and needs it only for a queue with tags. An update reads what the
    creation reads at its end, so that reads are seen by the one or the other.
    """
    listed: set[str] = set()
    unseen: set[str] = set()
    needed: set[str] = set()
    needed_unseen: set[str] = set()
    for declaration in declarations:
        arns = Arns(declaration, Place(UNKNOWN, UNKNOWN))
        for resource, phase in product(declaration.resources, LIFE):
            is_seen = any(mark in used for mark in marks_of(resource.kind, phase))
            reads = _reads_of(resource.kind) if phase is Phase.UPDATE else frozenset()
            every = needed_actions(replace(resource, changed=None), phase, arns)
            (listed if is_seen else unseen).update(set(actions_of_phase(resource.kind, phase)) - reads)
            (needed if is_seen else needed_unseen).update(set(every) - reads)
    return frozenset(listed - unseen | needed - needed_unseen)


@lru_cache(maxsize=4_096)
def _reads_of(kind: ResourceKind) -> frozenset[str]:
    actions = actions_of_phase(kind, Phase.READ)
    return frozenset(action for action in actions if catalog.access_level(action) in ("Read", "List"))


@lru_cache(maxsize=4_096)
def marks_of(kind: ResourceKind, phase: Phase) -> tuple[str, ...]:
    """Returns the actions that show that a phase of a type was exercised; a resource is read whenever it is made."""
    if phase in (Phase.CREATE, Phase.READ):
        return making_actions(kind)
    others = {action for other in LIFE if other is not phase for action in actions_of_phase(kind, other)}
    own = (action for action in actions_of_phase(kind, phase) if action not in others)
    return tuple(action for action in own if catalog.access_level(action) not in ("Read", "List"))


class ChangedResources(Struct, frozen=True):
    """The resources of a change, by whether they exist before it."""

    made: Declaration
    """New ones, and replaced ones; with the calls of the tool."""
    kept: Declaration
    """Those that it updates or deletes: the exact names of some may be granted already."""


def changed_resources(before: Declaration | None, after: Declaration) -> ChangedResources:
    """Returns what a change of a template does; without an earlier version all resources are new.

    A plan says itself what it does with each resource, so its phases decide.
    """
    if before is None:
        made = [each for each in after.resources if Phase.CREATE in each.phases]
        others = (each for each in after.resources if Phase.CREATE not in each.phases)
        # Who applies a plan reads its data sources; it changes nothing of a resource that is only read.
        kept = [each for each in others if each.is_data or set(each.phases) != {Phase.READ}]
        return ChangedResources(
            replace(after, resources=tuple(made), around=after.resources),
            replace(after, resources=tuple(kept), calls=(), reads=(), around=after.resources),
        )
    made, kept = list(_made(before, after)), list(_kept(before, after))
    is_empty = not (made or kept)
    calls, reads = ((), ()) if is_empty else (after.calls, after.reads)
    return ChangedResources(
        replace(after, resources=tuple(made), calls=calls, reads=reads, around=after.resources),
        replace(after, resources=tuple(kept), calls=(), reads=(), around=(*before.resources, *after.resources)),
    )


def _made(before: Declaration, after: Declaration) -> Iterator[DeclaredResource]:
    for each in after.resources:
        earlier = before.by_address.get(each.address)
        if earlier is None or earlier.kind != each.kind or earlier.name != each.name:
            yield replace(each, phases=MADE)


def _kept(before: Declaration, after: Declaration) -> Iterator[DeclaredResource]:
    for each in after.resources:
        earlier = before.by_address.get(each.address)
        if earlier is None or earlier.kind != each.kind or earlier.name != each.name:
            continue
        changed = frozenset(_changed({*earlier.properties, *each.properties}, earlier, each))
        if changed:
            yield replace(each, phases=(Phase.UPDATE, Phase.READ), changed=changed)
    for earlier in before.resources:
        now = after.by_address.get(earlier.address)
        if now is None or now.kind != earlier.kind or now.name != earlier.name:
            yield replace(earlier, phases=(Phase.DELETE, Phase.READ))


def _changed(names: Iterable[str], before: DeclaredResource, after: DeclaredResource) -> Iterator[str]:
    yield from (name for name in names if before.properties.get(name) != after.properties.get(name))
