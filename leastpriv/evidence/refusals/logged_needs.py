"""From a refusal that a log tells to the permissions that were lacking: a log shows no request."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from leastpriv.evidence.refusals.needs import refused_needs
from leastpriv.evidence.refusals.resource import arn_of, filled
from leastpriv.model import Denial, Need
from leastpriv.permissions.events import Verdict
from leastpriv.permissions.mapping import CallNeeds

_NO_REQUEST = CallNeeds(Verdict.UNMAPPED, "")


def logged_needs(denial: Denial, principal: str, known: Collection[str] = ()) -> tuple[Need, ...]:
    """Needs of a refusal for the principal whose ARN is given; of one that names no action, none.

    What the log hides of the resource is filled from `known`, ARNs of other evidence. A resource that stays hidden, or
    that the log does not name, or that AWS writes as a wildcard, is not known: the need is then not exact.
    """
    resource = filled(arn_of(denial.resource, principal), known, masked_principal=denial.principal, principal=principal)
    return refused_needs(_NO_REQUEST, replace(denial, resource=resource))
