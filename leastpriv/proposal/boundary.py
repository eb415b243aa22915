"""Drafts a permissions boundary for the roles that a role creates, and the condition that demands it.

Source: "Delegating responsibility to others using permissions boundaries" (IAM User Guide,
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html, read 2026-11-27).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from msgspec import Struct

from leastpriv.models import Condition
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.document import Document
from leastpriv.policy.edit import create_policy
from leastpriv.policy.evaluate import names_action
from leastpriv.proposal.escalation_paths import EscalationPath

_IDENTITIES = ("iam", "organizations", "rolesanywhere", "sso", "sts")
"""Services whose actions change or assume identities."""
_MAKES = ("new-role", "new-user")
"""Paths that a boundary closes."""
_BOUNDED = (
    *("iam:CreateRole", "iam:AttachRolePolicy", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"),
    *("iam:CreateUser", "iam:AttachUserPolicy", "iam:PutUserPolicy", "iam:PutUserPermissionsBoundary"),
)
"""Actions that take the condition key `iam:PermissionsBoundary`, without those that lift a boundary."""


class Boundary(Struct, frozen=True):
    """A permissions boundary for created roles, offered with the condition that demands it."""

    condition: Condition
    statements: tuple[tuple[str, tuple[str, ...]], ...]
    """Statements of the proposed policy (their Sid, or their number) and their actions that need the condition."""
    path: str = ""
    """The file of the draft; empty where no input names one."""
    content: bytes = b""
    """The draft; empty where the file exists already, or no input names one."""


def boundary_for(
    documents: Sequence[Document], paths: Sequence[EscalationPath], principal: str, path: str, *, exists: bool
) -> Boundary | None:
    """Returns the boundary of the roles that the principal creates; None if it creates none without a boundary.

    Args:
        documents: the proposed documents.
        paths: the open paths of all policies.
        principal: ARN of the role or user.
        path: the file that the input `boundary-file` names, or empty.
        exists: whether that file exists.
    """
    if not any(each.id in _MAKES for each in paths):
        return None
    _, partition, _, _, account, _ = principal.split(":", 5)
    name = PurePosixPath(path).stem or "BOUNDARY"
    arn = f"arn:{partition}:iam::{account}:policy/{name}"
    statements = []
    for document in documents:
        for statement in document.statements:
            actions = tuple(action for action in _BOUNDED if names_action(statement, action))
            if statement.effect == "Allow" and actions:
                statements.append((statement.sid or f"statement {statement.index + 1}", actions))
    condition = Condition("StringEquals", "iam:PermissionsBoundary", (arn,))
    return Boundary(condition, tuple(statements), path, b"" if exists or not path else draft_boundary())


def draft_boundary() -> bytes:
    """Drafts a boundary that allows all but the first action of each path to further permissions."""
    first = [
        action
        for row in table("escalation", catalog.__package__)
        if row["gives"] != "secrets"
        for action in row["actions"].split(",")[0].split("|")
    ]
    identities = {action for action in first if action.partition(":")[0] in _IDENTITIES}
    lifts = {"iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary", "organizations:*"}
    return create_policy(
        [
            {"Sid": "AllOfTheirPolicies", "Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Sid": "NoIdentities", "Effect": "Deny", "Action": sorted(identities | lifts), "Resource": "*"},
            {
                "Sid": "NoCodeOfOtherRoles",
                "Effect": "Deny",
                "Action": sorted({*first} - identities),
                "Resource": "*",
            },
        ]
    )
