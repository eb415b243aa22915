"""The role or user as it is in the account: what is attached to it, its boundary, and who may take it.

The roles of an account that a pattern means, where AWS can be asked.

Who may take a role, by its trust policy (pure): GitHub Actions, CodeBuild, other services and accounts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import unquote

from leastpriv.aws.arns import principal_of, same_principal
from leastpriv.aws.errors import code_of, explained, member
from leastpriv.aws.session import Aws, method_name
from leastpriv.errors import AwsError, PolicyFileError
from leastpriv.models import Gap, GapKind, Principal, Scope
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import matches
from leastpriv.permissions.visibility import home_region
from leastpriv.policy.document import Document, parse

GITHUB = "token.actions.githubusercontent.com"
"""GitHub's OIDC provider (docs.github.com, "Configuring OpenID Connect in Amazon Web Services", read 2026-11-24)."""


class TrustKind(StrEnum):
    """What kind of caller a statement of a trust policy lets in."""

    GITHUB = "github"
    CODEBUILD = "codebuild"
    SERVICE = "service"
    FEDERATED = "federated"
    PRINCIPAL = "principal"
    """A user, a role, an account."""
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Trusted:
    """One caller that a trust policy lets in."""

    kind: TrustKind
    who: str
    """The provider, service or ARN as written."""
    subjects: tuple[str, ...] = ()
    """Of a web identity: the values that its `sub` may have (`repo:acme/shop:ref:refs/heads/main`); empty is any."""


def trusted_by(document: object) -> tuple[Trusted, ...]:
    """All callers of the Allow statements, in order, each once; what is no trust policy trusts nobody. Never raises."""
    if not isinstance(document, Mapping):
        return ()
    return tuple(
        dict.fromkeys(
            trusted
            for statement in _listed(document.get("Statement"))
            if isinstance(statement, Mapping) and statement.get("Effect") == "Allow"
            for trusted in _callers(statement)
        )
    )


def unseen_logins(trusted: Iterable[Trusted]) -> tuple[str, ...]:
    """Names of the services that take the role in a way of their own, by no event of AWS STS."""
    names = {row["service"]: row["name"] for row in table("other_logins", __package__ or "")}
    services = (each.who for each in trusted if each.kind is TrustKind.SERVICE)
    return tuple(dict.fromkeys(names[service] for service in services if service in names))


def _callers(statement: Mapping[str, object]) -> Iterator[Trusted]:
    principal = statement.get("Principal")
    if principal == "*":
        yield Trusted(TrustKind.ANYBODY, "*")
    if not isinstance(principal, Mapping):
        return
    for who in _texts(principal.get("AWS")):
        yield Trusted(TrustKind.ANYBODY if who == "*" else TrustKind.PRINCIPAL, who)
    for who in _texts(principal.get("Service")):
        # codebuild.amazonaws.com, in China with .cn behind it
        yield Trusted(TrustKind.CODEBUILD if who.startswith("codebuild.") else TrustKind.SERVICE, who)
    for who in _texts(principal.get("Federated")):
        kind = TrustKind.GITHUB if who.rpartition("oidc-provider/")[2] == GITHUB else TrustKind.FEDERATED
        yield Trusted(kind, who, tuple(_subjects(statement, who)))


def _subjects(statement: Mapping[str, object], provider: str) -> Iterator[str]:
    conditions = statement.get("Condition")
    name = provider.rpartition("oidc-provider/")[2]
    for operator, keys in conditions.items() if isinstance(conditions, Mapping) else ():
        if isinstance(keys, Mapping) and "Not" not in str(operator):
            for key, values in keys.items():
                if str(key).lower() == f"{name}:sub".lower():
                    yield from _texts(values)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _texts(value: object) -> list[str]:
    return [each for each in _listed(value) if isinstance(each, str)]


"""A managed policy, of the account or of AWS."""
_GROUPS = "ListGroupsForUser"


@dataclass(frozen=True, slots=True)
class LivePolicy:
    """One identity-based policy that is in force."""

    name: str
    """Its ARN; of an inline one, `inline policy NAME`, or `inline policy NAME of the group GROUP`."""
    document: Document
    group: str = ""
    """The user's group that it comes by."""


@dataclass(frozen=True, slots=True)
class LiveRole:
    """What IAM says of a principal; what could not be read is among the gaps."""

    principal: str
    """With its path."""
    policies: tuple[LivePolicy, ...] = ()
    boundary: str = ""
    """ARN of the permissions boundary, or empty."""
    tags: Mapping[str, str] = field(default_factory=dict)
    trust: tuple[Trusted, ...] = ()
    """Who may take the role; empty for a user."""
    gaps: tuple[Gap, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether all that is attached could be read."""
        return not self.gaps


def read_live(aws: Aws, principal: Principal) -> LiveRole:
    """Everything that is attached to a role or user. Never raises: what cannot be read is a gap."""
    reader = _Reader(aws, principal)
    return reader.user() if principal.kind == "user" else reader.role()


def read_managed(aws: Aws, arn: str, region: str) -> Document:
    """The default version of a managed policy.

    Raises:
        AwsError: it cannot be read; `missing` names the action that is needed.
        PolicyFileError: it is no policy that can be understood.
    """
    client = aws.client("iam", region)
    doing = f"reading the policy {arn}"
    with explained(doing, "iam:GetPolicy"):
        answer = client.get_policy(PolicyArn=arn)
    version = member(answer, doing, "Policy", "DefaultVersionId")
    with explained(doing, "iam:GetPolicyVersion"):
        answer = client.get_policy_version(PolicyArn=arn, VersionId=version)
    return parse(_bytes(member(answer, doing, "PolicyVersion", "Document")), arn)


class _Reader:
    """Asks IAM, and turns each refusal into a gap."""

    def __init__(self, aws: Aws, principal: Principal) -> None:
        self._aws = aws
        self._principal = principal
        self._region = home_region("iam", principal.partition)
        self._gaps: list[Gap] = []

    def role(self) -> LiveRole:
        name = {"RoleName": self._principal.name}
        found = self._asked("GetRole", **name).get("Role") or {}
        policies = [
            *self._attached("ListAttachedRolePolicies", name, ""),
            *self._inline("ListRolePolicies", "GetRolePolicy", name, "", ""),
        ]
        return self._live(found, policies, trusted_by(_value(found.get("AssumeRolePolicyDocument"))))

    def user(self) -> LiveRole:
        name = {"UserName": self._principal.name}
        found = self._asked("GetUser", **name).get("User", {})
        policies = [
            *self._attached("ListAttachedUserPolicies", name, ""),
            *self._inline("ListUserPolicies", "GetUserPolicy", name, "", ""),
        ]
        for group in self._named(self._pages(_GROUPS, "Groups", name), "GroupName"):
            whose = {"GroupName": group}
            policies += self._attached("ListAttachedGroupPolicies", whose, group)
            policies += self._inline("ListGroupPolicies", "GetGroupPolicy", whose, f" of the group {group}", group)
        return self._live(found, policies, ())

    def _live(self, found: Mapping[str, Any], policies: list[LivePolicy], trust: tuple[Trusted, ...]) -> LiveRole:
        arn = str(found.get("Arn") or self._principal.arn)
        own = principal_of(arn)
        if own and not same_principal(own, self._principal):
            self._note(f"The {own.kind} {own.name} in the account is {arn}: check the input role-arn.")
        return LiveRole(
            principal=arn,
            policies=tuple(policies),
            boundary=str((found.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn") or ""),
            tags={str(tag.get("Key")): str(tag.get("Value")) for tag in found.get("Tags") or ()},
            trust=trust,
            gaps=tuple(self._gaps),
        )

    def _attached(self, listing: str, whose: Mapping[str, str], group: str) -> Iterator[LivePolicy]:
        for arn in self._named(self._pages(listing, "AttachedPolicies", whose), "PolicyArn"):
            document = self._parsed(arn, partial(read_managed, self._aws, arn, self._region))
            if document:
                yield LivePolicy(arn, document, group)

    def _inline(
        self, listing: str, getting: str, whose: Mapping[str, str], suffix: str, group: str
    ) -> Iterator[LivePolicy]:
        for policy in self._pages(listing, "PolicyNames", whose):
            name = f"inline policy {policy}{suffix}"
            answer = self._asked(getting, **whose, PolicyName=policy)
            if answer and "PolicyDocument" not in answer:
                self._note(f"{name}: AWS's answer lacks its document.")
            elif answer:
                raw = _bytes(answer["PolicyDocument"])
                # In the wrapping of the answer a policy is known for an inline one; a group's has a quota of its own.
                raw = raw if group else b'{"PolicyDocument":%b}' % raw
                document = self._parsed(name, partial(parse, raw, name))
                if document:
                    yield LivePolicy(name, document, group)

    def _parsed(self, name: str, read: Callable[[], Document]) -> Document | None:
        try:
            return read()
        except (AwsError, PolicyFileError) as error:
            self._note(f"{name}: {error}")
            return None

    def _asked(self, operation: str, **arguments: str) -> Mapping[str, Any]:
        try:
            with self._explained(operation):
                answer: Mapping[str, Any] = self._method(operation)(**arguments)
                return answer
        except AwsError as error:
            self._note(self._no_such(operation) if code_of(error) == "NoSuchEntity" else str(error))
            return {}

    def _no_such(self, operation: str) -> str:
        if operation in ("GetRolePolicy", "GetUserPolicy") or ("Group" in operation and operation != _GROUPS):
            return "A policy or group went away while it was read: run again."
        return f"There is no {self._principal.kind} {self._principal.name} in the account: check the input role-arn."

    def _pages(self, operation: str, key: str, arguments: Mapping[str, str]) -> list[Any]:
        found: list[Any] = []
        try:
            with self._explained(operation):
                client = self._aws.client("iam", self._region)
                for page in client.get_paginator(method_name(operation)).paginate(**arguments):
                    found.extend(page.get(key) or ())
                    if key not in page or (page.get("IsTruncated") and not page.get("Marker")):
                        self._note(f"AWS's answer to {operation} is not whole.")
        except AwsError as error:
            self._note(self._no_such(operation) if code_of(error) == "NoSuchEntity" else str(error))
        return found

    def _named(self, listed: list[Any], key: str) -> Iterator[str]:
        """The names in a list; one that lacks its name is told."""
        for each in listed:
            if each.get(key):
                yield str(each[key])
            else:
                self._note(f"AWS's answer lacks a {key}.")

    def _explained(self, operation: str) -> Any:
        return explained(f"reading what is attached to {self._principal.arn}", f"iam:{operation}")

    def _method(self, operation: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._aws.client("iam", self._region), method_name(operation))
        return method

    def _note(self, detail: str) -> None:
        gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), f"{detail} What else is attached is not known.")
        if gap not in self._gaps:
            self._gaps.append(gap)


def _value(document: object) -> object:
    """A document as botocore gives it: decoded already, or text, with `%`-escapes where the answer was cut short."""
    if not isinstance(document, str):
        return document
    try:
        return json.loads(unquote(document))
    except ValueError:
        return None


def _bytes(document: object) -> bytes:
    return json.dumps(_value(document), indent=2).encode()


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
