"""Compares two versions of a declaration: what a change makes, and what it changes or deletes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from leastpriv.evidence.declared.models import Declaration, DeclaredResource
from leastpriv.evidence.declared.template import MADE
from leastpriv.permissions.tool_lifecycle import Phase


@dataclass(frozen=True, slots=True)
class ChangedResources:
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
        kept = [each for each in after.resources if Phase.CREATE not in each.phases and _does_more_than_read(each)]
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


def _does_more_than_read(resource: DeclaredResource) -> bool:
    return any(phase is not Phase.READ for phase in resource.phases)


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
