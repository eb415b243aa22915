"""Reads the policies that limit a principal from outside: its permissions boundary, and the account's SCPs.

SCPs can be read in the organization's management account and by delegated administrators (AWS Organizations API
reference, ListPoliciesForTarget, read 2026-11-27).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leastpriv.aws.errors import required_member, translate_errors
from leastpriv.aws.session import Aws
from leastpriv.errors import LeastprivError
from leastpriv.evidence.live_role import read_managed_policy
from leastpriv.models import Principal
from leastpriv.permissions.visibility import home_region

_SCP = "SERVICE_CONTROL_POLICY"
_DEEPEST = 8
"""Most levels above an account: AWS allows five levels of organizational units below the root."""


@dataclass(frozen=True, slots=True)
class OuterPolicies:
    """Texts of the policies that limit a principal; empty where there are none or they are not known."""

    boundary: str = ""
    scps: tuple[tuple[str, ...], ...] = ()
    """SCPs of each level, from the root to the account."""
    unread: tuple[str, ...] = ()
    """What could not be read, in sentences."""


NO_OUTER_POLICIES = OuterPolicies()


def read_outer_policies(aws: Aws, principal: Principal, boundary: str, *, scps: bool) -> OuterPolicies:
    """Reads the boundary with this ARN (empty: none), and the SCPs of the account where asked. Never raises.

    What cannot be read is a sentence of the result.
    """
    unread: list[str] = []
    text = ""
    levels: tuple[tuple[str, ...], ...] = ()
    if boundary:
        try:
            document = read_managed_policy(aws, boundary, home_region("iam", principal.partition))
            text = document.to_bytes().decode()
        except LeastprivError as error:
            unread.append(f"The permissions boundary is not known: {error}")
    try:
        if scps:
            levels = _scps(aws.client("organizations", home_region("iam", principal.partition)), principal.account)
    except LeastprivError as error:
        unread.append(f"The service control policies of the account are not known: {error}")
    return OuterPolicies(text, levels, tuple(unread))


def _scps(client: Any, account: str) -> tuple[tuple[str, ...], ...]:
    """Returns the SCPs of each level from the root to the account.

    Raises:
        AwsError: the credentials may not read them, or the account is in no organization.
    """
    levels = [account]
    while len(levels) <= _DEEPEST and not levels[0].startswith("r-"):
        (parent, *_) = _asked(client, "list_parents", "organizations:ListParents", "Parents", ChildId=levels[0])
        levels.insert(0, str(parent["Id"]))
    texts: dict[str, str] = {}
    return tuple(tuple(_text(client, policy, texts) for policy in _policies(client, level)) for level in levels)


def _policies(client: Any, level: str) -> list[str]:
    action = "organizations:ListPoliciesForTarget"
    found = _asked(client, "list_policies_for_target", action, "Policies", TargetId=level, Filter=_SCP)
    return [str(each["Id"]) for each in found]


def _text(client: Any, policy: str, known: dict[str, str]) -> str:
    if policy not in known:
        doing = f"reading the service control policy {policy}"
        with translate_errors(doing, "organizations:DescribePolicy"):
            answer = client.describe_policy(PolicyId=policy)
        known[policy] = str(required_member(answer, doing, "Policy", "Content"))
    return known[policy]


def _asked(client: Any, operation: str, action: str, key: str, **arguments: str) -> list[Mapping[str, Any]]:
    with translate_errors("reading the organization's service control policies", action):
        pages = client.get_paginator(operation).paginate(**arguments)
        return [each for page in pages for each in page.get(key) or ()]
