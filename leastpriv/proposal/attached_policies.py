"""Bounds the policies that a principal may attach to those that its runs attached."""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.evidence.created_resources import find_created_resources
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.used_names import names_of
from leastpriv.models import Condition, Usage
from leastpriv.permissions.generalize import ObservedResource
from leastpriv.permissions.mapping import POLICY_ARN
from leastpriv.permissions.names.writer import write_resources
from leastpriv.permissions.patterns import without_covered

_MAKES_POLICY = "iam:CreatePolicy"


def attached_policies(usages: Sequence[Usage], evidence: Evidence) -> tuple[Condition, ...]:
    """The condition that all uses of `iam:AttachRolePolicy` met; none where one shows no policy.

    A policy that each copy or run creates is open as its own name is.
    """
    policies = [_policies_of(usage) for usage in usages]
    if not policies or not all(policies):
        return ()
    created = find_created_resources(evidence.usages)
    observed: list[ObservedResource] = []
    for usage, attached in zip(usages, policies, strict=True):
        observed += [created.observe(usage, policy) for policy in attached]
    names = names_of(evidence.usages, evidence.runs)
    written_patterns = write_resources(_MAKES_POLICY, observed, names, opens_look=False)
    values = without_covered(pattern.pattern for pattern in written_patterns)
    return (Condition("ArnLike", POLICY_ARN, values),)


def _policies_of(usage: Usage) -> list[str]:
    """The policies that the calls of a usage attached."""
    return [
        policy_arn
        for condition in usage.need.context
        if condition.key == POLICY_ARN
        for policy_arn in condition.values
    ]
