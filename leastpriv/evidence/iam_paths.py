"""Paths of IAM's roles, users, groups, policies and instance profiles, for calls that give their names alone.

`AttachRolePolicy` names `deployer`, the policy has to say `role/ci/deployer`: the path is told by the call that made
the role, or by any that gives its ARN. Where none does, the resource stays without a path, as most have it. It opens
nothing else if that is wrong: names "must be unique within the account", whatever their path
(https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html, read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from leastpriv.evidence.created_resources import made_by
from leastpriv.evidence.denials.needs import NAMED_WITHOUT_PATH
from leastpriv.evidence.models import GroupKey, Tally
from leastpriv.models import Basis, Need, Outcome
from leastpriv.permissions.arn_templates import NAMED

_WITHOUT_PATH = (NAMED, NAMED_WITHOUT_PATH)
NAMED_ELSEWHERE = "named by the request, its path by another call"
"""Derivation of an IAM resource whose path the evidence shows elsewhere."""
_PATHS = re.compile(
    r"(?P<head>arn:[^:]*:iam::[^:]*:(?P<type>role|user|group|policy|instance-profile)/)(?:[^*?$]+/)?(?P<name>[^/*?$]+)"
)


def with_known_paths(groups: Mapping[GroupKey, Tally]) -> Mapping[GroupKey, Tally]:
    """The groups, their needs with the paths that other calls of the same evidence show."""
    paths = paths_known(
        need
        for (needs, outcome, *_), tally in groups.items()
        for need in needs
        if (outcome is Outcome.ALLOWED and tally.succeeded) or need.basis is Basis.DENIED
    )
    if not paths:
        return groups
    found: dict[GroupKey, Tally] = {}
    for (needs, outcome, refused_by, region), tally in groups.items():
        key = (tuple(with_path(need, paths) for need in needs), outcome, refused_by, region)
        found.setdefault(key, Tally(tally.first, tally.last)).absorb(tally)
    return found


def paths_known(needs: Iterable[Need]) -> Mapping[str, str]:
    """ARN without a path -> the one ARN with its path; `needs` are of calls that succeeded, or named by a refusal.

    None of a name that was seen under two paths, or made without one.
    """
    found = _arns_by_name(needs)
    return {bare: next(iter(arns)) for bare, arns in found.items() if len(arns) == 1 and bare not in arns}


def without_path(needs: Iterable[Need]) -> frozenset[str]:
    """ARNs of IAM that were made without a path, or named so as a whole; `needs` are of calls that succeeded."""
    return frozenset(bare for bare, arns in _arns_by_name(needs).items() if arns == {bare})


def _arns_by_name(needs: Iterable[Need]) -> Mapping[str, set[str]]:
    """ARN without a path -> ARNs that tell of the path."""
    found: dict[str, set[str]] = {}
    for need in needs:
        resource = need.permission.resource
        match = _PATHS.fullmatch(resource) if ":iam::" in resource else None
        if not match:
            continue
        bare = match["head"] + match["name"]
        is_made = match["type"] in made_by("iam", need.permission.action.partition(":")[2])
        if resource != bare or need.derivation not in _WITHOUT_PATH or is_made:
            found.setdefault(bare, set()).add(resource)
    return found


def with_path(need: Need, paths: Mapping[str, str]) -> Need:
    """The need with the path of its IAM resource, where the request gave the name alone and `paths` knows it."""
    arn = paths.get(need.permission.resource) if need.derivation in _WITHOUT_PATH else None
    if arn is None:
        return need
    return replace(need, permission=replace(need.permission, resource=arn), derivation=NAMED_ELSEWHERE)
