"""Reads the policies of the roles that a template or plan makes: what these roles may do, as far as
the declaration says it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.declared.models import UNKNOWN, Declaration, DeclaredResource, Place, Reference
from leastpriv.declared.resource_arns import Arns
from leastpriv.errors import PolicyFileError
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy

_ROLES = ("AWS::IAM::Role", "aws_iam_role")
_MANAGED = ("AWS::IAM::ManagedPolicy", "aws_iam_policy")
_OF_ROLES = (
    *("AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy"),
    *("aws_iam_role_policy", "aws_iam_role_policy_attachment", "aws_iam_policy_attachment"),
)
"""Types that give a policy to roles which they name."""
_ROLE_NAMES = ("Roles", "RoleName", "role", "roles")
_DOCUMENT = "aws_iam_policy_document"
_ESCAPE = re.compile(r"\$\{([*?$])\}")
"""A character that a name escapes."""
_OF_AWS = "::aws:policy/"
_VERSION = "2012-10-17"


class CreatedRole(Struct, frozen=True):
    """A role that a declaration makes."""

    address: str
    arn: str
    """With `*` for what only the deployment knows."""
    policies: tuple[Document, ...] = ()
    boundary: str = ""
    """ARN of its permissions boundary; empty without one."""
    runs: tuple[str, ...] = ()
    """ARNs of the declaration's other resources, which run as roles of the declaration."""
    unknown: tuple[str, ...] = ()
    """Why policies of the role are not known."""


def created_roles(declaration: Declaration, place: Place) -> tuple[CreatedRole, ...]:
    """Returns the roles that a declaration makes, with the policies that it gives them.

    What only the deployment knows in a policy is `*`, so that a policy has at least the permissions
    of the real one.
    """
    reading = _Reading(declaration, Arns(declaration, place))
    roles: dict[str, CreatedRole] = {}
    for resource in declaration.resources:
        if resource.kind.name in _ROLES:
            role = reading.role(resource)
            roles[role.address] = _joined(roles.get(role.address), role)
    return tuple(roles.values())


def _joined(one: CreatedRole | None, other: CreatedRole) -> CreatedRole:
    """A role that unknown conditions declare in several ways, with the policies of all."""
    if one is None:
        return other
    return replace(
        one,
        policies=tuple(dict.fromkeys((*one.policies, *other.policies))),
        unknown=tuple(dict.fromkeys((*one.unknown, *other.unknown))),
    )


class _Policies(Struct):
    """The policies of one role, as they are found."""

    documents: dict[Document, None] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)


class _Reading:
    """Reads the roles of one declaration."""

    def __init__(self, declaration: Declaration, arns: Arns) -> None:
        self.declaration = declaration
        self.arns = arns

    def role(self, role: DeclaredResource) -> CreatedRole:
        """Returns a role with its policies."""
        policies = _Policies()
        properties = role.properties
        for policy in _blocks(properties, "Policies", "inline_policy"):
            document = policy.get("PolicyDocument") or policy.get("policy")
            if document or any(policy.values()):
                self._read(document, role.address, policies)
        for value in _listed(properties, "ManagedPolicyArns", "managed_policy_arns"):
            self._read_managed(value, role.address, policies)
        for resource in self.declaration.resources:
            if resource.kind.name in _OF_ROLES and self._names(resource, role):
                self._read_of_roles(resource, policies)
        runs = (resource for resource in self.declaration.resources if resource.has_name)
        boundary = properties.get("PermissionsBoundary") or properties.get("permissions_boundary")
        return CreatedRole(
            address=role.address,
            arn=self.arns.own_arn(role),
            policies=tuple(policies.documents),
            boundary=self.arns.text(boundary) if boundary else "",
            runs=tuple(filter(None, dict.fromkeys(map(self.arns.own_arn, runs)))),
            unknown=tuple(policies.unknown),
        )

    def _names(self, resource: DeclaredResource, role: DeclaredResource) -> bool:
        """Whether a resource gives its policy to a role."""
        for value in _listed(resource.properties, *_ROLE_NAMES):
            target = self.declaration.target(value)
            if target and target.address == role.address:
                return True
            if isinstance(value, str) and value == role.name != UNKNOWN:
                return True
        return False

    def _read_of_roles(self, resource: DeclaredResource, found: _Policies) -> None:
        properties = resource.properties
        if "policy_arn" in properties:
            self._read_managed(properties["policy_arn"], resource.address, found)
            return
        document = properties.get("PolicyDocument") or properties.get("policy")
        self._read(document, resource.address, found)

    def _read_managed(self, value: object, address: str, found: _Policies) -> None:
        """Reads a managed policy by its ARN, or by a reference to one of the declaration."""
        target = self.declaration.target(value) or self._managed(value)
        if target and target.kind.name in _MANAGED:
            properties = target.properties
            document = properties.get("PolicyDocument") or properties.get("policy")
            self._read(document, target.address, found)
            return
        arn = self.arns.text(value)
        text = _policy_of_aws(arn)
        if text:
            self._parse(text, arn, found)
        else:
            found.unknown[f"the policy {arn or UNKNOWN} of {address} is not in the files"] = None

    def _managed(self, value: object) -> DeclaredResource | None:
        """The managed policy of the declaration that has an ARN."""
        for resource in self.declaration.resources:
            if resource.kind.name in _MANAGED and value in (resource.arn, resource.name):
                return resource
        return None

    def _read(self, value: object, address: str, found: _Policies) -> None:
        """Reads a policy that a property holds as an object, as text, or by a data source."""
        target = self.declaration.target(value)
        if target and target.kind.name.endswith(_DOCUMENT):
            text = self._statements(target)
        elif isinstance(value, Mapping):
            text = json.dumps(self._filled(value))
        else:
            text = value if isinstance(value, str) else ""
        if text and text != UNKNOWN:
            self._parse(text, address, found)
        else:
            found.unknown[f"only the deployment knows the policy of {address}"] = None

    def _parse(self, text: str, where: str, found: _Policies) -> None:
        try:
            found.documents[parse(text.encode(), where)] = None
        except PolicyFileError as error:
            found.unknown[f"the policy of {where} cannot be read: {error}"] = None

    def _statements(self, source: DeclaredResource) -> str:
        """The policy that a data source of Terraform makes of its blocks."""
        statements = []
        for block in _blocks(source.properties, "statement"):
            effect = block.get("effect") or "Allow"
            statement: dict[str, object] = {"Effect": self.arns.text(effect)}
            for element, name in _ELEMENTS:
                entries = [self._text(each) or UNKNOWN for each in _listed(block, name)]
                if entries:
                    statement[element] = entries
            statements.append(statement)
        return create_policy(statements).decode() if statements else ""

    def _text(self, value: object) -> str:
        """The text of a value in a policy, where a `*` of the declaration is a wildcard."""
        return _ESCAPE.sub(r"\1", self.arns.text(value))

    def _filled(self, value: object, key: str = "") -> object:
        """A policy with ARNs for references, and `*` for resources of which nothing is known."""
        if isinstance(value, Mapping):
            return {name: self._filled(member, name) for name, member in value.items()}
        if isinstance(value, list | tuple):
            return [self._filled(element, key) for element in value]
        if not isinstance(value, str | Reference):
            return value
        text = self._text(value)
        if key in ("Resource", "NotResource") and not text.startswith("arn:"):
            return UNKNOWN
        return text or UNKNOWN


_ELEMENTS = (
    ("Action", "actions"),
    ("NotAction", "not_actions"),
    ("Resource", "resources"),
    ("NotResource", "not_resources"),
)


def _policy_of_aws(arn: str) -> str:
    """The document of a policy of AWS; empty for one that the table does not have."""
    if _OF_AWS not in arn:
        return ""
    name = arn.partition(_OF_AWS)[2]
    rows = (row["document"] for row in table("aws_managed") if row["policy"] == name)
    return next(rows, "")


def _listed(properties: Mapping[str, object], *names: str) -> Iterator[object]:
    """The values of some properties, each of which may be a list."""
    for name in names:
        value = properties.get(name)
        if isinstance(value, list | tuple):
            yield from value
        elif value is not None:
            yield value


def _blocks(properties: Mapping[str, object], *names: str) -> Iterator[Mapping[str, object]]:
    """The blocks of some properties."""
    for value in _listed(properties, *names):
        if isinstance(value, Mapping):
            yield value
