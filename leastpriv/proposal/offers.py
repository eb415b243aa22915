"""What a later run may need and no policy grants: offered to the reader, never written (promise 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leastpriv.evidence.usage import Evidence
from leastpriv.model import Basis, Outcome
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.resource_types import fits
from leastpriv.permissions.sensitive import forbidden
from leastpriv.permissions.siblings import siblings_of
from leastpriv.policy.document import Document


@dataclass(frozen=True, slots=True)
class Offer:
    """One action that no policy grants."""

    action: str
    basis: Basis
    """`sibling` or `declared`."""
    because: str
    """The used action, or the resource types, that it goes with."""
    resources: tuple[str, ...] = ()
    """Resources in use that the action fits; empty where there is none."""


def offers(evidence: Evidence, documents: Sequence[Document], never_add: Sequence[str] = ()) -> tuple[Offer, ...]:
    """Lifecycle counterparts of what was used, and what the handlers of the role's resource types need.

    What some policy grants on any resource is left out, and so is what is never added.
    """
    used: dict[str, dict[str, None]] = {}
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED:
            used.setdefault(usage.need.permission.action, {})[usage.need.permission.resource] = None
    found: dict[str, Offer] = {}
    for action, partner in siblings_of(used.keys()).items():
        resources = tuple(each for each in used.get(partner, ()) if each != "*" and fits(action, each))
        found[action] = Offer(action, Basis.SIBLING, partner, resources)
    for action, types in evidence.hints.declared.actions.items():
        if action not in used:
            found.setdefault(action, Offer(action, Basis.DECLARED, ", ".join(types[:3])))
    return tuple(
        offer
        for action, offer in sorted(found.items())
        if not forbidden(action, never_add) and not _granted(action, documents)
    )


def _granted(action: str, documents: Sequence[Document]) -> bool:
    """Whether some statement allows the action on some resource."""
    for statement in (statement for document in documents for statement in document.statements):
        if statement.effect != "Allow":
            continue
        if statement.not_actions:
            if not any(action_matches(entry, action) for entry in statement.not_actions):
                return True
        elif any(action_matches(entry, action) for entry in statement.actions):
            return True
    return False
