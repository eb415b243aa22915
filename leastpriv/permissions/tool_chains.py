"""Returns the usual chain of an action: what a deploying tool calls in the same step.

A deployment that is denied one call stops there, so that each further permission of the step would
be denied in a later run. The chain has three sources: the compiled life cycles of resource types,
the steps of `data/steps.tsv`, and for a script the life-cycle counterparts by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache

from msgspec import Struct

from leastpriv.models import grouped
from leastpriv.permissions.catalog import access_level, actions, is_read
from leastpriv.permissions.event_table import facts_of
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import deletes
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
from leastpriv.permissions.volatility import ServiceType

ROLE_PASSING = "iam:PassRole"
UNKNOWN = ""
"""A program without a user agent: it may be a script or a tool."""
_MOST_KINDS = 3
"""Resource types that one action makes; of more, what half of them need is usual."""
_NAMES = {Tool.CLOUDFORMATION: "CloudFormation", Tool.TERRAFORM: "Terraform"}


class ChainLink(Struct, frozen=True):
    """A further action of a step."""

    action: str
    reason: str
    """Why the step usually needs it."""
    below: str = ""
    """The end of the ARN of the items on which the step needs it; empty: the resource itself."""
    on_any: bool = False
    """The calls of the step name no resource."""


def usual_chain(
    action: str,
    programs: Collection[str],
    used_actions: Collection[str],
    denied_types: Collection[ServiceType] = (),
) -> Mapping[str, ChainLink]:
    """Returns the further actions of the step of an action, the surest first.

    Args:
        action: The action that a run was denied.
        programs: Who called it: names of `deploy_tools.tsv`, `SCRIPT`, `Tool.CLOUDFORMATION` for
            a stack, empty for a program without a user agent.
        used_actions: All actions that the runs used.
        denied_types: Types of the resources on which it was denied.
    """
    links = [*_of_steps(action, programs)]
    kinds = _kinds(action, programs, used_actions)
    links += _of_kinds(kinds, used_actions)
    if facts_of(action).passes_role == "key":
        links.append(ChainLink(ROLE_PASSING, "the call may pass a role"))
    if SCRIPT in programs or not kinds:
        links += _counterparts(action)
    for denied_type in denied_types:
        links += _of_items(action, denied_type, programs, used_actions)
    links_by_action: dict[str, ChainLink] = {}
    unusual = _unusual(action).difference(used_actions)
    for link in links:
        if link.action != action and link.action not in unusual:
            links_by_action.setdefault(link.action, link)
    return links_by_action


def _counterparts(action: str) -> Iterator[ChainLink]:
    """Yields the life-cycle counterparts by name; of an action that begins no life, the reads."""
    begins = creates_or_adds(action)
    for sibling in siblings_of((action,)):
        if begins or is_read(sibling):
            yield ChainLink(sibling, f"it is of the life cycle of {action}")


def _of_items(
    action: str,
    denied_type: ServiceType,
    programs: Collection[str],
    used_actions: Collection[str],
) -> Iterator[ChainLink]:
    """Yields what these programs usually do with the items of a resource that was denied to be made
    or listed.
    """
    if creates_or_adds(action) or access_level(action) == "List":
        yield from _usual_items(denied_type.service, denied_type.name, programs, used_actions)


def _usual_items(
    service: str, kind: str, programs: Collection[str], used_actions: Collection[str]
) -> Iterator[ChainLink]:
    """Yields what these programs usually do with the items of a type: the objects of a bucket
    (`item_level.tsv`).
    """
    for row in table("item_level"):
        if (row["prefix"], row["type"]) != (service, kind):
            continue
        is_needed = not row["needs"] or row["needs"] in used_actions
        if is_needed and not set(programs).isdisjoint(row["programs"].split(",")):
            for item_action in row["actions"].split(","):
                yield ChainLink(item_action, "deploys usually use its items", below=row["below"])


def unrecorded_items(
    service: str, kinds: Collection[str], *, of_any_service: bool
) -> set[tuple[str, str]]:
    """Returns what deploys do with the items of made resources, each with the end of the ARN.

    Args:
        service: The service of the resources.
        kinds: Their types, in lower case.
        of_any_service: Of a service whose usual items no table lists, all actions are meant.
    """
    item_actions: set[tuple[str, str]] = set()
    for row in table("item_level"):
        if row["prefix"] == service and row["type"] in kinds:
            row_actions = row["actions"].split(",")
            further = siblings_of(row_actions) if row["below"] else ()
            row_actions += [action for action in further if deletes(action) or is_read(action)]
            item_actions |= {(action, row["below"]) for action in row_actions}
    if of_any_service and kinds and not item_actions:
        item_actions = {(action, "") for action in actions(service)}
    return item_actions


def _of_steps(action: str, programs: Collection[str]) -> Iterator[ChainLink]:
    """Yields the other actions of the steps of an action, by these programs."""
    for row in _steps().get(action, ()):
        if UNKNOWN in programs or not set(programs).isdisjoint(row["programs"].split(",")):
            for action_text in row["actions"].split(","):
                step_action, _, resource = action_text.partition("@")
                yield ChainLink(step_action, f"{row['step']} calls it", on_any=resource == "*")


def _unusual(action: str) -> frozenset[str]:
    """Returns what the names of actions suggest and the steps of an action do not call."""
    rows = _steps().get(action, ())
    return frozenset(
        unusual_action
        for row in rows
        for unusual_action in row["unusual"].split(",")
        if unusual_action
    )


@cache
def _steps() -> Mapping[str, Sequence[Mapping[str, str]]]:
    pairs: list[tuple[str, Mapping[str, str]]] = []
    for row in table("steps"):
        calling = [*row["actions"].split(","), *filter(None, row["begins"].split(","))]
        pairs += [(action_text.partition("@")[0], row) for action_text in calling]
    return grouped(pairs)


def _kinds(
    action: str, programs: Collection[str], used: Collection[str]
) -> tuple[ResourceKind, ...]:
    """Returns the resource types in whose life a tool calls an action: those that it makes, else
    those that the runs made and that need it.
    """
    tools = {Tool.TERRAFORM} if UNKNOWN in programs else set[str]()
    tools |= {*programs} & {*Tool}
    made_kinds = _of_tools(types_made_by(action), tools)
    if made_kinds:
        used_actions = {action, *used}
        complete_kinds = [
            kind for kind in made_kinds if used_actions.issuperset(making_actions(kind))
        ]
        return tuple(complete_kinds or made_kinds)
    service = action.partition(":")[0]
    makers = [used_action for used_action in used if used_action.startswith(f"{service}:")]
    kinds = [kind for maker in makers for kind in _of_tools(types_made_by(maker), tools)]
    needing = (kind for kind in kinds if any(action in actions for actions in _phases(kind)))
    return tuple(dict.fromkeys(needing))


def _of_tools(kinds: Iterable[ResourceKind], tools: Collection[str]) -> list[ResourceKind]:
    return [kind for kind in kinds if kind.tool in tools]


def _of_kinds(kinds: Sequence[ResourceKind], used_actions: Collection[str]) -> Iterator[ChainLink]:
    """Yields the actions in the life of these types, the deployment's own phases first.

    What only some properties need is usual where the runs have set such a property.
    """
    first: dict[str, ResourceKind] = {}
    counts: Counter[str] = Counter()
    for kind in kinds:
        kind_actions = _usual_actions(kind, used_actions)
        counts.update(kind_actions.keys())
        for action in kind_actions:
            first.setdefault(action, kind)
    least_count = 1 if len(kinds) <= _MOST_KINDS else len(kinds) / 2
    for action, kind in first.items():
        if counts[action] >= least_count:
            yield ChainLink(action, f"{_NAMES[kind.tool]} calls it for {kind.name}")


def _usual_actions(kind: ResourceKind, used_actions: Collection[str]) -> dict[str, None]:
    """Returns the actions in the life of a type, as the keys, without those of properties that no
    run has set: without `s3:PutBucketCORS` where no run set CORS rules.

    An action that changes the resource itself remains, as `iam:UpdateRole` that of
    `iam:CreateRole`: the next change of any property may call it.
    """
    makers = making_actions(kind)
    services = {maker.partition(":")[0] for maker in makers}
    shown_properties = {
        property_of(used_action)
        for used_action in used_actions
        if used_action.partition(":")[0] in services
    }
    optional = conditional_actions(kind)
    usual_actions = dict.fromkeys(action for actions in _phases(kind) for action in actions)
    for action in optional:
        is_set = property_of(action) in shown_properties
        if not is_set and not any(changes_made(maker, action) for maker in makers):
            usual_actions.pop(action, None)
    return usual_actions


def _phases(kind: ResourceKind) -> Iterator[Sequence[str]]:
    """Yields the actions of a type, in the order in which a deployment needs them."""
    yield making_actions(kind)
    yield actions_of_phase(kind, Phase.CREATE)
    yield actions_of_phase(kind, Phase.READ)
    yield tuple(filter(is_tagging, tag_actions(kind)))
    yield actions_of_phase(kind, Phase.UPDATE)
    yield actions_of_phase(kind, Phase.DELETE)
