"""What a call needs that CloudTrail never names: `iam:PassRole` on each role the request hands to a service.

AWS: "iam:PassRole … is not tracked by CloudTrail" (IAM user guide, access-analyzer-policy-generation). The role
stands in the request: botocore 1.43.121 (2026-10-28) has 1,570 such parameters in 958 operations, all under a key
that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from leastpriv.model import Basis, Call, Need, Outcome, Permission
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.request import FREE_MAPS, request_values
from leastpriv.permissions.resources import NAMED

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_ROLE_KEY = re.compile(r"role|deliverlogspermissionarn|feedbackrolearn")
_NOT_PASSED = frozenset({("sts.amazonaws.com", ""), ("eks.amazonaws.com", "principalarn")})
"""Roles that are assumed or named, not passed; "" stands for every key (checked on real records, 2026-11-24)."""


def implied_needs(call: Call) -> Iterator[Need]:
    """`iam:PassRole` needs of one call; none for reads and for refused or inconclusive calls."""
    if call.read_only or call.outcome is not Outcome.ALLOWED or call.error_code:
        return
    for role, derivation in dict(_passed(call)).items():
        yield Need(
            permission=Permission("iam:PassRole", escape_observed(role)),
            basis=Basis.INFERRED,
            derivation=derivation,
            because=f"{call.source.partition('.')[0]}:{call.name} passes this role",
        )


def _passed(call: Call) -> Iterator[tuple[str, str]]:
    source = call.source.removesuffix(".cn")
    for key, value in request_values(call.parameters, skip=FREE_MAPS):
        if not _ROLE_KEY.search(key) or not _ROLE_ARN.fullmatch(value):
            continue
        if not ({(source, ""), (source, key)} & _NOT_PASSED or "/aws-service-role/" in value):
            yield value, "role ARN in the request"
    # The one call that passes a role by its bare name (IAM User Guide, "Grant a user permissions to pass a role").
    name = call.parameters.get("roleName")
    if (source, call.name) == ("iam.amazonaws.com", "AddRoleToInstanceProfile") and isinstance(name, str):
        yield f"arn:{call.principal.split(':')[1]}:iam::{call.account}:role/{name}", NAMED
