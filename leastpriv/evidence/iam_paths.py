"""Finds the paths of IAM roles, users, groups, policies and instance profiles that calls name without a path.

`AttachRolePolicy` names `deployer`, but the policy needs `role/ci/deployer`: the path comes from the call that created
the role, or from another call with its ARN. Without such a call the resource has no path, like most. A wrong path
grants
no other resource: names "must be unique within the account", whatever their path
(https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html, read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from leastpriv.evidence.created_resources import created_types
from leastpriv.evidence.denials.needs import NAMED_WITHOUT_PATH
from leastpriv.evidence.models import CallTotals, GroupKey
from leastpriv.models import Basis, Need, Outcome
from leastpriv.permissions.arn_templates import NAMED

_WITHOUT_PATH = (NAMED, NAMED_WITHOUT_PATH)
NAMED_ELSEWHERE = "named by the request, its path by another call"
"""Derivation of an IAM resource whose path comes from another call."""
_PATHS = re.compile(
    r"(?P<head>arn:[^:]*:iam::[^:]*:(?P<type>role|user|group|policy|instance-profile)/)(?:[^*?$]+/)?(?P<name>[^/*?$]+)"
)


def with_known_paths(groups: Mapping[GroupKey, CallTotals]) -> Mapping[GroupKey, CallTotals]:
    """Returns the groups with the paths that other calls of the same evidence show."""
    paths = known_paths(
        need
        for (needs, outcome, *_), tally in groups.items()
        for need in needs
        if (outcome is Outcome.ALLOWED and tally.succeeded) or need.basis is Basis.DENIED
    )
    if not paths:
        return groups
    found: dict[GroupKey, CallTotals] = {}
    for (needs, outcome, refused_by, region), tally in groups.items():
        key = (tuple(with_path(need, paths) for need in needs), outcome, refused_by, region)
        found.setdefault(key, CallTotals(tally.first, tally.last)).absorb(tally)
    return found


def known_paths(needs: Iterable[Need]) -> Mapping[str, str]:
    """ARN without a path -> the one ARN with its path.

    Names seen under two paths, or created without one, are left out.

    Args:
        needs: needs of calls that succeeded, or that a denial names.
    """
    found = _arns_by_name(needs)
    return {bare: next(iter(arns)) for bare, arns in found.items() if len(arns) == 1 and bare not in arns}


def arns_without_path(needs: Iterable[Need]) -> frozenset[str]:
    """ARNs of IAM resources that were created without a path, or that a successful call names by such an ARN."""
    return frozenset(bare for bare, arns in _arns_by_name(needs).items() if arns == {bare})


def _arns_by_name(needs: Iterable[Need]) -> Mapping[str, set[str]]:
    """ARN without a path -> ARNs that show its path."""
    found: dict[str, set[str]] = {}
    for need in needs:
        resource = need.permission.resource
        match = _PATHS.fullmatch(resource) if ":iam::" in resource else None
        if not match:
            continue
        bare = match["head"] + match["name"]
        is_made = match["type"] in created_types("iam", need.permission.action.partition(":")[2])
        if resource != bare or need.derivation not in _WITHOUT_PATH or is_made:
            found.setdefault(bare, set()).add(resource)
    return found


def with_path(need: Need, paths: Mapping[str, str]) -> Need:
    """Adds the path to the IAM resource of a need, where the request has only the name and `paths` has the path."""
    arn = paths.get(need.permission.resource) if need.derivation in _WITHOUT_PATH else None
    if arn is None:
        return need
    return replace(need, permission=replace(need.permission, resource=arn), derivation=NAMED_ELSEWHERE)
