"""The roles of an account that a pattern means, where AWS can be asked."""

from __future__ import annotations

from collections.abc import Iterable

from leastpriv.evidence.aws import Aws
from leastpriv.evidence.aws_errors import explained
from leastpriv.evidence.source import principal_of
from leastpriv.model import Principal
from leastpriv.permissions.patterns import matches
from leastpriv.permissions.visibility import home_region


def roles_like(aws: Aws, patterns: Iterable[str], partition: str) -> tuple[Principal, ...]:
    """The roles whose ARN one of the patterns matches, sorted by ARN.

    Raises:
        AwsError: the credentials may not list roles (`iam:ListRoles`), or AWS does not tell.
    """
    wanted = tuple(patterns)
    client = aws.client("iam", home_region("iam", partition))
    with explained("listing the roles of the account", "iam:ListRoles"):
        pages = list(client.get_paginator("list_roles").paginate())
    arns = sorted(str(role.get("Arn")) for page in pages for role in page.get("Roles") or ())
    found = (principal_of(arn) for arn in arns if any(matches(pattern, arn) for pattern in wanted))
    return tuple(principal for principal in found if principal)
