"""What a later run may need and no policy grants: offered to the reader, never written (promise 4).

Conditions that all that was seen would meet: offered to the reader, never written (DESIGN: optional conditions).

A condition narrows what a name cannot: a grant on `*` to the regions that the role works in, a role to the service
that it is passed to. It is offered where every allowed call of an action meets it, in as many runs as a removal takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Condition, Outcome, Usage
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.lifecycle import siblings_among, siblings_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import fits, kinds_of
from leastpriv.permissions.sensitive import forbidden
from leastpriv.permissions.visibility import home_region
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import entries_naming
from leastpriv.proposal.models import Draft
from leastpriv.proposal.resource_narrowing import makes_its_resource

SIBLING = "sibling"
"""The guard that keeps them."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One action that no policy grants."""

    action: str
    basis: Basis
    """`sibling` or `declared`."""
    because: str
    """The used action, the resource types or the policy template of AWS SAM that it goes with."""
    resources: tuple[str, ...] = ()
    """Resources in use that the action fits; empty where there is none."""


def offers(evidence: Evidence, documents: Sequence[Document], never_add: Sequence[str] = ()) -> tuple[Offer, ...]:
    """Lifecycle counterparts of what was used, what the handlers of the role's resource types need, and data events.

    The items of a resource whose data events the trail does not record (off by default) may be in use unseen. What some
    policy grants on any resource is left out, and so is what is never added.
    """
    used: dict[str, dict[str, None]] = {}
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED:
            used.setdefault(usage.need.permission.action, {})[usage.need.permission.resource] = None
    found: dict[str, Offer] = {}
    for action, partner in siblings_of(used.keys()).items():
        resources = tuple(each for each in used.get(partner, ()) if each != "*" and fits(action, each))
        found[action] = Offer(action, Basis.SIBLING, partner, resources)
    for offer in _on_others(used, documents):
        found.setdefault(offer.action, offer)
    for action, types in evidence.hints.declared.actions.items():
        if action not in used:
            found.setdefault(action, Offer(action, Basis.DECLARED, ", ".join(types[:3])))
    for offer in _unrecorded(evidence, used):
        found.setdefault(offer.action, offer)
    return tuple(
        offer
        for action, offer in sorted(found.items())
        if not forbidden(action, never_add) and (action in used or not _granted(action, documents))
    )


def _on_others(used: Mapping[str, Mapping[str, None]], documents: Sequence[Document]) -> Iterator[Offer]:
    """Used actions on things that the role made and has not used them on yet: the next update or deletion will.

    The queue `orders-3` was made in the last run, and `SetQueueAttributes` was used on `orders-1` and `orders-2`.
    """
    partners: dict[str, str] = {}
    left: dict[str, dict[str, None]] = {}
    for partner in filter(makes_its_resource, used):
        for action in siblings_among(partner, used):
            if not _granted(action, documents):
                continue  # it was refused, or declined: whoever did that knows better
            on = [each for each in used[partner] if each not in ("*", *used[action]) and fits(action, each)]
            missing = {each: None for each in on if not _covered(action, each, documents)}
            if missing:
                partners.setdefault(action, partner)
                left.setdefault(action, {}).update(missing)
    yield from (Offer(action, Basis.SIBLING, partners[action], tuple(found)) for action, found in left.items())


def _covered(action: str, resource: str, documents: Sequence[Document]) -> bool:
    """Whether some statement allows the action on all of the resource, under whatever condition."""
    statements = (statement for document in documents for statement in document.statements)
    return any(
        statement.effect == "Allow"
        and entries_naming(statement, action)
        and (not statement.resources or any(resource_covers(each, resource) for each in statement.resources))
        for statement in statements
    )


def kept_siblings(draft: Draft, evidence: Evidence) -> tuple[Offer, ...]:
    """Lifecycle counterparts of what was used that stay in the policy, though no run has used them."""
    used = {usage.need.permission.action for usage in evidence.usages if usage.outcome is Outcome.ALLOWED}
    partners = siblings_of(used)
    stays = {action for change in draft.changes for action, why in (change.stays or {}).items() if why.guard == SIBLING}
    stays |= {held.action for held in draft.held_back if held.objection.guard == SIBLING}
    known = {action.lower(): action for action in partners}
    found = sorted({known[action.lower()] for action in stays if action.lower() in known})
    return tuple(Offer(action, Basis.SIBLING, partners[action]) for action in found)


def _unrecorded(evidence: Evidence, used: Mapping[str, Mapping[str, None]]) -> Iterator[Offer]:
    """What is usually done with the items of resources in use of which no data event was recorded."""
    recorded = {root for root, _ in evidence.data_recorded}
    in_use = {resource: action for action, resources in used.items() for resource in resources}
    for row in table("item_level"):
        on = [
            resource
            for resource, action in in_use.items()
            if action.startswith(f"{row['prefix']}:")
            and not set(resource) & {*"*?$"}
            and resource not in recorded
            and row["type"] in kinds_of(action, resource)
        ]
        for action in row["actions"].split(",") if on else ():
            if action not in used:
                yield Offer(action, Basis.DECLARED, row["template"], tuple(f"{each}{row['below']}" for each in on))


def _granted(action: str, documents: Sequence[Document]) -> bool:
    """Whether some statement allows the action on some resource."""
    statements = (statement for document in documents for statement in document.statements)
    return any(statement.effect == "Allow" and entries_naming(statement, action) for statement in statements)


Unanimous = Callable[[str, Sequence[Usage], Statement, str], Condition | None]
"""From an action, its allowed usages, the statement that grants it and the partition: what all of them meet."""


@dataclass(frozen=True, slots=True)
class OfferedCondition:
    """One condition that a statement could have."""

    statement: int
    """Index in the proposed document."""
    sid: str
    actions: tuple[str, ...]
    """Those of the statement that were used and whose every call met it, sorted; the others it grants are not meant."""
    condition: Condition
    runs: int
    """How many runs used the action that the fewest used."""


def offered_conditions(document: Document, evidence: Evidence, minimum_runs: int) -> tuple[OfferedCondition, ...]:
    """What each Allow statement of the proposed document could ask for in addition."""
    used = _by_action(evidence)
    partition = evidence.principal.split(":")[1]
    found: dict[tuple[int, Condition], dict[str, int]] = {}
    for statement in document.statements:
        if statement.effect != "Allow" or not statement.conditions_readable:
            continue
        asked = {condition.key.lower() for condition in statement.conditions}
        for action, usages in used.items():
            runs = len({run for usage in usages for run in usage.runs})
            if runs < max(minimum_runs, 2) or not entries_naming(statement, action):
                continue
            for condition in _met(action, usages, statement, partition):
                if condition.key.lower() not in asked:
                    found.setdefault((statement.index, condition), {})[action] = runs
    return tuple(
        OfferedCondition(index, document.statements[index].sid, tuple(sorted(runs)), condition, min(runs.values()))
        for (index, condition), runs in sorted(found.items())
    )


def _by_action(evidence: Evidence) -> Mapping[str, list[Usage]]:
    found: dict[str, list[Usage]] = {}
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and usage.need.verified:
            found.setdefault(usage.need.permission.action, []).append(usage)
    return found


def _met(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Iterator[Condition]:
    yield from filter(None, (rule(action, usages, statement, partition) for rule in _RULES))


def _requested_region(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Condition | None:
    """Of a grant whose resource names no region; a global service answers in a region of its own choice."""
    open_to_all = not statement.resources or "*" in statement.resources
    if not open_to_all or home_region(action.partition(":")[0], partition) or not all(use.regions for use in usages):
        return None
    return Condition("StringEquals", "aws:RequestedRegion", tuple(sorted({r for use in usages for r in use.regions})))


def _shown(key: str, prefix: str) -> Unanimous:
    """A key that the record shows of every call, as `permissions/` derived it."""

    def rule(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Condition | None:  # noqa: ARG001
        if not action.startswith(prefix):
            return None
        shown = [
            [each for each in usage.need.permission.conditions if each.key.lower() == key.lower()] for usage in usages
        ]
        if not all(shown):
            return None
        values = {value for conditions in shown for each in conditions for value in each.values}
        return Condition("StringEquals", key, tuple(sorted(values)))

    return rule


def _called_via(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Condition | None:  # noqa: ARG001
    """No call came from the principal itself, and each service that forwarded one is known to say so."""
    services = {service for usage in usages for service in usage.forwarded_by}
    known = {row["service"] for row in table("called_via")}
    if not services or not services <= known or any(usage.direct for usage in usages):
        return None
    return Condition("ForAnyValue:StringEquals", "aws:CalledVia", tuple(sorted(services)))


_RULES: tuple[Unanimous, ...] = (
    _requested_region,
    _shown("iam:PassedToService", "iam:PassRole"),
    _shown("kms:ViaService", "kms:"),
    _called_via,
)
