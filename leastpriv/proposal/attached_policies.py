"""Bounds the policies that a principal may attach to those that its runs attached."""

from __future__ import annotations

from collections.abc import Iterable

from leastpriv.evidence.created_resources import CreatedResources
from leastpriv.models import Condition, Usage
from leastpriv.permissions.generalize import ObservedResource
from leastpriv.permissions.mapping import POLICY_ARN
from leastpriv.permissions.names.app_names import AppNames
from leastpriv.permissions.names.writer import write_resources
from leastpriv.permissions.patterns import without_covered

_MAKES_POLICY = "iam:CreatePolicy"


def is_on_policy(condition: Condition) -> bool:
    """Whether a condition is on the policy that a call attaches."""
    return condition.key == POLICY_ARN


def attached_policies(
    usages: Iterable[Usage], created: CreatedResources, names: AppNames
) -> tuple[Condition, ...]:
    """The condition that all uses of `iam:AttachRolePolicy` met; none where one shows no policy.

    A policy that each copy or run creates is open as its own name is.
    """
    observed: list[ObservedResource] = []
    for usage in usages:
        policies = [
            policy
            for condition in filter(is_on_policy, usage.need.permission.conditions)
            for policy in condition.values
        ]
        if not policies:
            return ()
        observed += [created.observe(usage, policy) for policy in policies]
    written = write_resources(_MAKES_POLICY, observed, names, opens_look=False)
    values = without_covered(each.pattern for each in written)
    return (Condition("ArnLike", POLICY_ARN, values),) if values else ()
