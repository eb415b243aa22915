"""What a later run may need and no policy grants: offered to the reader, never written (promise 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.evidence.usage import Evidence
from leastpriv.model import Basis, Outcome
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import fits, kinds_of
from leastpriv.permissions.sensitive import forbidden
from leastpriv.permissions.siblings import siblings_among, siblings_of
from leastpriv.permissions.tables import table
from leastpriv.policy.document import Document
from leastpriv.policy.naming import names
from leastpriv.proposal.onto import makes_its_resource
from leastpriv.proposal.situation import Draft

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
        and names(statement, action)
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
    return any(statement.effect == "Allow" and names(statement, action) for statement in statements)
