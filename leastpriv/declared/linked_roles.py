"""Finds the service-linked roles that AWS makes for a declared resource
(`data/service_linked_roles.tsv`).

AWS makes such a role once in an account, for the first resource that needs it, with the rights of
the principal that makes the resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from msgspec import Struct

from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.property_rules import NEVER
from leastpriv.permissions.tool_lifecycle import Phase, ResourceKind, actions_of_phase

CREATE_LINKED_ROLE = "iam:CreateServiceLinkedRole"
_OWN_TYPES = ("AWS::IAM::ServiceLinkedRole", "aws_iam_service_linked_role")


class LinkedRole(Struct, frozen=True):
    """A service-linked role, and the properties that ask for it."""

    service: str
    """Value of `iam:AWSServiceName`: `ecs.amazonaws.com`."""
    name: str
    when: tuple[str, ...]
    """Paths of properties of which one is set; empty: always."""
    unless: tuple[str, ...]
    """Names of properties of which none is set."""

    @property
    def resource(self) -> str:
        """The ARN after the account."""
        return f"role/aws-service-role/{self.service}/{self.name}"


@lru_cache(maxsize=4_096)
def linked_roles_of(kind: ResourceKind) -> tuple[LinkedRole, ...]:
    """Returns the service-linked roles that resources of a type can ask for."""
    return tuple(_linked_role(row) for row in _rows_of(kind) if row["when"] != NEVER)


def is_linked_role_unknown(kind: ResourceKind) -> bool:
    """Whether AWS lists the making of a service-linked role for a type, and no table has the
    role.
    """
    if kind.name in _OWN_TYPES or _rows_of(kind):
        return False
    return CREATE_LINKED_ROLE in actions_of_phase(kind, Phase.CREATE)


def is_of_linked_role(action: str, kind: ResourceKind) -> bool:
    """Whether the table of service-linked roles decides on an action of a type."""
    return action == CREATE_LINKED_ROLE and kind.name not in _OWN_TYPES


@lru_cache(maxsize=4_096)
def _rows_of(kind: ResourceKind) -> tuple[Mapping[str, str], ...]:
    return tuple(
        row
        for row in table("service_linked_roles", __package__)
        if any(fnmatchcase(kind.name, type_pattern) for type_pattern in row["types"].split(","))
    )


def _linked_role(row: Mapping[str, str]) -> LinkedRole:
    is_negated = row["when"].startswith("!")
    names = tuple(filter(None, row["when"].replace("!", ",").split(",")))
    return LinkedRole(
        service=f"{row['service']}.amazonaws.com",
        name=row["role"],
        when=() if is_negated else names,
        unless=names if is_negated else (),
    )
