"""Returns the usual chain of an action: what a deploying tool calls in the same step.

A deployment that is denied one call stops there, so that each further permission of the step would
be denied in a later run. The chain has three sources: the compiled life cycles of resource types,
the steps of `data/steps.tsv`, and for a script the life-cycle counterparts by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache

from leastpriv.models import grouped
from leastpriv.permissions.catalog import is_read
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.lifecycle import (
    changes_made,
    creates_or_adds,
    is_tagging,
    property_of,
    siblings_of,
)
from leastpriv.permissions.tool_lifecycle import (
    SCRIPT,
    Phase,
    ResourceKind,
    Tool,
    actions_of_phase,
    conditional_actions,
    making_actions,
    tag_actions,
    types_made_by,
)

UNKNOWN = ""
"""A program without a user agent: it may be a script or a tool."""
_MOST_KINDS = 3
"""Resource types that one action makes; of more, what half of them need is usual."""
_NAMES = {Tool.CLOUDFORMATION: "CloudFormation", Tool.TERRAFORM: "Terraform"}


def usual_chain(action: str, programs: Collection[str], used: Collection[str]) -> Mapping[str, str]:
    """Returns the further actions of the step of an action, each with the reason, the surest first.

    Args:
        action: The action that a run was denied.
        programs: Who called it: names of `deploy_tools.tsv`, `SCRIPT`, `Tool.CLOUDFORMATION` for
            a stack, empty for a program without a user agent.
        used: All actions that the runs used.
    """
    found: dict[str, str] = {}
    for other, reason in _links(action, programs, used):
        if other != action:
            found.setdefault(other, reason)
    return found


def _links(
    action: str, programs: Collection[str], used: Collection[str]
) -> Iterator[tuple[str, str]]:
    yield from _of_steps(action, programs)
    kinds = _kinds(action, programs, used)
    for other, kind in _of_kinds(kinds, used):
        yield other, f"{_NAMES[kind.tool]} calls it for {kind.name}"
    if SCRIPT in programs or not kinds:
        begins = creates_or_adds(action)
        for other in siblings_of((action,)):
            if begins or is_read(other):
                yield other, f"it is of the life cycle of {action}"


def _of_steps(action: str, programs: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yields the other actions of the steps of an action, by these programs."""
    for row in _steps().get(action, ()):
        if UNKNOWN in programs or not set(programs).isdisjoint(row["programs"].split(",")):
            for other in row["actions"].split(","):
                yield other, f"{row['step']} calls it"


@cache
def _steps() -> Mapping[str, Sequence[Mapping[str, str]]]:
    found: list[tuple[str, Mapping[str, str]]] = []
    for row in table("steps"):
        calling = [*row["actions"].split(","), *filter(None, row["begins"].split(","))]
        found += [(action, row) for action in calling]
    return grouped(found)


def _kinds(
    action: str, programs: Collection[str], used: Collection[str]
) -> tuple[ResourceKind, ...]:
    """Returns the resource types in whose life a tool calls an action: those that it makes, else
    those that the runs made and that need it.
    """
    tools = {Tool.TERRAFORM} if UNKNOWN in programs else set[str]()
    tools |= {*programs} & {*Tool}
    made = _of_tools(types_made_by(action), tools)
    if made:
        known = {action, *used}
        whole = [kind for kind in made if known.issuperset(making_actions(kind))]
        return tuple(whole or made)
    service = action.partition(":")[0]
    makers = [each for each in used if each.startswith(f"{service}:")]
    kinds = [kind for maker in makers for kind in _of_tools(types_made_by(maker), tools)]
    needing = (kind for kind in kinds if any(action in actions for actions in _phases(kind)))
    return tuple(dict.fromkeys(needing))


def _of_tools(kinds: Iterable[ResourceKind], tools: Collection[str]) -> list[ResourceKind]:
    return [kind for kind in kinds if kind.tool in tools]


def _of_kinds(
    kinds: Sequence[ResourceKind], used: Collection[str]
) -> Iterator[tuple[str, ResourceKind]]:
    """Yields the actions in the life of these types, the deployment's own phases first.

    What only some properties need is usual where the runs have set such a property.
    """
    first: dict[str, ResourceKind] = {}
    counts: Counter[str] = Counter()
    for kind in kinds:
        own = _usual_actions(kind, used)
        counts.update(own.keys())
        for action in own:
            first.setdefault(action, kind)
    least = 1 if len(kinds) <= _MOST_KINDS else len(kinds) / 2
    for action, kind in first.items():
        if counts[action] >= least:
            yield action, kind


def _usual_actions(kind: ResourceKind, used: Collection[str]) -> dict[str, None]:
    """Returns the actions in the life of a type, without those of properties that no run has
    set.
    """
    makers = making_actions(kind)
    services = {maker.partition(":")[0] for maker in makers}
    shown = {property_of(each) for each in used if each.partition(":")[0] in services}
    optional = conditional_actions(kind)
    every = dict.fromkeys(action for actions in _phases(kind) for action in actions)
    for action in optional:
        is_set = property_of(action) in shown
        if not is_set and not any(changes_made(maker, action) for maker in makers):
            every.pop(action, None)
    return every


def _phases(kind: ResourceKind) -> Iterator[Sequence[str]]:
    """Yields the actions of a type, in the order in which a deployment needs them."""
    yield making_actions(kind)
    yield actions_of_phase(kind, Phase.CREATE)
    yield actions_of_phase(kind, Phase.READ)
    yield tuple(filter(is_tagging, tag_actions(kind)))
    yield actions_of_phase(kind, Phase.UPDATE)
    yield actions_of_phase(kind, Phase.DELETE)
