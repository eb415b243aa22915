"""From a refusal and what its call maps to, the permissions that were lacking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from leastpriv.model import Basis, Denial, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.mapping import CallNeeds
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.resource_types import fits

_TYPE_OF_EC2 = re.compile(r"arn:[^:*?]*:ec2:[^:*?]*:\d*:[a-z-]+/\*")
"""What AWS itself writes for something not made yet: `arn:aws:ec2:eu-west-1:111122223333:vpc/*`."""


def refused_needs(mapped: CallNeeds, denial: Denial) -> tuple[Need, ...]:
    """Needs of a refused call: what the message names comes before what the event maps to."""
    observed = [replace(need, basis=Basis.DENIED) for need in mapped.needs if need.basis is Basis.OBSERVED]
    if not denial.actions:
        return tuple(observed)
    return tuple(need for action in denial.actions for need in _named_needs(action, denial, observed))


def _named_needs(action: str, denial: Denial, observed: Sequence[Need]) -> Sequence[Need]:
    """Needs for one action that a refusal names.

    What the request says of the resource comes first: the message repeats names that the caller chose, and cuts them.
    """
    known = catalog.action(action)
    name = known.name if known else action
    own = [need for need in observed if need.permission.action == name]
    if own and all(need.exact for need in own):
        return own
    resource = denial.resource
    literal = resource.startswith("arn:") and not set(resource) & set("*?")
    if (literal or _TYPE_OF_EC2.fullmatch(resource)) and fits(name, resource):
        permission = Permission(name, escape_observed(resource) if literal else resource)
        return [Need(permission, Basis.DENIED, "named by the refusal", verified=known is not None)]
    if own:
        return own
    exact = known is not None and not known.resource_types
    return [
        Need(
            Permission(name, "*"),
            Basis.DENIED,
            "the refusal names no resource",
            verified=known is not None,
            exact=exact,
        )
    ]
