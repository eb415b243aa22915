"""Reads the deployed role or user: attached policies, permissions boundary and trusted callers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from leastpriv.aws.arns import principal_of, same_principal
from leastpriv.aws.errors import error_code, required_member, translate_errors
from leastpriv.aws.session import Aws, method_name, pages
from leastpriv.errors import AwsError, PolicyFileError
from leastpriv.models import Gap, GapKind, Principal, Scope
from leastpriv.permissions.event_table import home_region
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import matches
from leastpriv.policy.document import Document, parse

GITHUB = "token.actions.githubusercontent.com"
"""GitHub's OIDC provider (docs.github.com, "Configuring OpenID Connect in Amazon Web Services",
read 2026-11-24).
"""


class TrustKind(StrEnum):
    """The kinds of principals in a trust policy."""

    GITHUB = "github"
    CODEBUILD = "codebuild"
    SERVICE = "service"
    FEDERATED = "federated"
    PRINCIPAL = "principal"
    """A user, a role, an account."""
    ANY = "any principal"


class TrustedCaller(Struct, frozen=True):
    """One principal that a trust policy allows."""

    kind: TrustKind
    identifier: str
    """The provider, service or ARN as written."""
    subjects: tuple[str, ...] = ()
    """For a web identity: the values that its `sub` may have
    (`repo:acme/shop:ref:refs/heads/main`); empty: any.
    """


def trusted_callers(document: object) -> tuple[TrustedCaller, ...]:
    """Principals of the Allow statements, in order, each once; empty for an invalid trust policy.
    Never raises.
    """
    if not isinstance(document, Mapping):
        return ()
    statements = (
        statement
        for statement in _listed(document.get("Statement"))
        if isinstance(statement, Mapping)
    )
    allowing = (statement for statement in statements if statement.get("Effect") == "Allow")
    return tuple(
        dict.fromkeys(trusted for statement in allowing for trusted in _callers(statement))
    )


def services_without_sts_events(trusted: Iterable[TrustedCaller]) -> tuple[str, ...]:
    """Names of the services that assume the role without an AWS STS event."""
    names = {row["service"]: row["name"] for row in table("other_logins", __package__ or "")}
    services = (caller.identifier for caller in trusted if caller.kind is TrustKind.SERVICE)
    return tuple(dict.fromkeys(names[service] for service in services if service in names))


def _callers(statement: Mapping[str, object]) -> Iterator[TrustedCaller]:
    """Yields who may assume a role by one statement of its trust policy: `repo:org/app:*` of
    GitHub, an account, a service.
    """
    principal = statement.get("Principal")
    if principal == "*" or "NotPrincipal" in statement:
        yield TrustedCaller(TrustKind.ANY, "*")
    if not isinstance(principal, Mapping):
        return
    for who in _texts(principal.get("AWS")):
        yield TrustedCaller(TrustKind.ANY if who == "*" else TrustKind.PRINCIPAL, who)
    for who in _texts(principal.get("Service")):
        # codebuild.amazonaws.com, in China with the suffix .cn
        yield TrustedCaller(
            TrustKind.CODEBUILD if who.startswith("codebuild.") else TrustKind.SERVICE, who
        )
    for who in _texts(principal.get("Federated")):
        issuer = who.rpartition("oidc-provider/")[2]
        kind = TrustKind.GITHUB if issuer == GITHUB else TrustKind.FEDERATED
        yield TrustedCaller(
            kind, who, tuple(_subjects(statement.get("Condition"), f"{issuer}:sub".lower()))
        )


def _subjects(conditions: object, wanted: str) -> Iterator[str]:
    """Yields the subjects of the identities that a condition block accepts, by their key."""
    if not isinstance(conditions, Mapping):
        return
    for operator, keys in conditions.items():
        if not isinstance(keys, Mapping) or "Not" in str(operator):
            continue
        for key, values in keys.items():
            if str(key).lower() == wanted:
                yield from _texts(values)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _texts(value: object) -> list[str]:
    return [text for text in _listed(value) if isinstance(text, str)]


_GROUPS = "ListGroupsForUser"


class LivePolicy(Struct, frozen=True):
    """One identity-based policy that applies to the principal."""

    name: str
    """Its ARN; of an inline one, `inline policy NAME`, or `inline policy NAME of the group GROUP`.
    """
    document: Document
    group: str = ""
    """Name of the user's group that has the policy."""


class LiveRole(Struct, frozen=True):
    """What IAM returns about a principal; what could not be read is a gap."""

    principal: str
    """With its path."""
    policies: tuple[LivePolicy, ...] = ()
    boundary: str = ""
    """ARN of the permissions boundary, or empty."""
    tags: Mapping[str, str] = {}
    trust: tuple[TrustedCaller, ...] = ()
    """The principals that may assume the role; empty for a user."""
    gaps: tuple[Gap, ...] = ()
    missing: str = ""
    """A sentence where the principal does not exist; empty where it does, or where that is not
    known.
    """

    @property
    def is_known(self) -> bool:
        """Whether all attached policies could be read."""
        return not self.gaps


def read_live_role(aws: Aws, principal: Principal) -> LiveRole:
    """Reads all that is attached to a role or user. Never raises: what cannot be read is a gap."""
    return _Reader(aws, principal).live()


def read_managed_policy(aws: Aws, arn: str, region: str) -> Document:
    """Reads the default version of a managed policy.

    Raises:
        AwsError: it cannot be read; `missing_action` names the action that is needed.
        PolicyFileError: the policy cannot be parsed.
    """
    client = aws.client("iam", region)
    activity = f"reading the policy {arn}"
    with translate_errors(activity, "iam:GetPolicy"):
        answer = client.get_policy(PolicyArn=arn)
    version = required_member(answer, activity, "Policy", "DefaultVersionId")
    with translate_errors(activity, "iam:GetPolicyVersion"):
        answer = client.get_policy_version(PolicyArn=arn, VersionId=version)
    return parse(_bytes(required_member(answer, activity, "PolicyVersion", "Document")), arn)


class _Reader:
    """Queries IAM, and turns each failed request into a gap."""

    def __init__(self, aws: Aws, principal: Principal) -> None:
        self._aws = aws
        self._principal = principal
        self._region = home_region("iam", principal.partition)
        self._gaps: list[Gap] = []
        self._missing = ""

    def live(self) -> LiveRole:
        """Reads the role or user with its policies, boundary, tags and trust; what cannot be read
        is a gap.
        """
        name = self._principal.name
        kind = self._principal.kind.title()
        entity = self._asked(f"Get{kind}", **{f"{kind}Name": name}).get(kind) or {}
        policies = [*self._policies(kind, name)]
        if kind == "User":
            for group in self._named(
                self._pages(_GROUPS, "Groups", {"UserName": name}), "GroupName"
            ):
                policies += self._policies("Group", group)
        trust = trusted_callers(_value(entity.get("AssumeRolePolicyDocument")))
        arn = str(entity.get("Arn") or self._principal.arn)
        principal = principal_of(arn)
        if principal and not same_principal(principal, self._principal):
            self._note(
                f"The {principal.kind} {principal.name} in the account is {arn}: check the"
                " input role-arn."
            )
        return LiveRole(
            principal=arn,
            policies=tuple(policies),
            boundary=str(
                (entity.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn") or ""
            ),
            tags={str(tag.get("Key")): str(tag.get("Value")) for tag in entity.get("Tags") or ()},
            trust=trust,
            gaps=tuple(self._gaps),
            missing=self._missing,
        )

    def _policies(self, kind: str, owner: str) -> Iterator[LivePolicy]:
        """Yields the managed and the inline policies of a role, a user or one of its groups."""
        parameters = {f"{kind}Name": owner}
        group = owner if kind == "Group" else ""
        for arn in self._named(
            self._pages(f"ListAttached{kind}Policies", "AttachedPolicies", parameters), "PolicyArn"
        ):
            document = self._parsed(arn, partial(read_managed_policy, self._aws, arn, self._region))
            if document:
                yield LivePolicy(arn, document, group)
        for policy in self._pages(f"List{kind}Policies", "PolicyNames", parameters):
            name = f"inline policy {policy}" + (f" of the group {group}" if group else "")
            answer = self._asked(f"Get{kind}Policy", **parameters, PolicyName=policy)
            if answer and "PolicyDocument" not in answer:
                self._note(f"{name}: AWS's answer lacks its document.")
            elif answer:
                raw = _bytes(answer["PolicyDocument"])
                # The wrapping key marks an inline policy of the principal; policies of a group have
                # a separate quota.
                raw = raw if group else b'{"PolicyDocument":%b}' % raw
                document = self._parsed(name, partial(parse, raw, name))
                if document:
                    yield LivePolicy(name, document, group)

    def _parsed(self, name: str, read: Callable[[], Document]) -> Document | None:
        try:
            return read()
        except (AwsError, PolicyFileError) as error:
            is_gone = isinstance(error, AwsError) and error_code(error) == "NoSuchEntity"
            self._note(
                f"{name} was deleted while it was read: run again."
                if is_gone
                else f"{name}: {error}"
            )
            return None

    def _asked(self, operation: str, **arguments: str) -> Mapping[str, Any]:
        answer: dict[str, Any] = {}
        with self._noted(operation):
            client = self._aws.client("iam", self._region)
            answer.update(getattr(client, method_name(operation))(**arguments))
        return answer

    def _pages(self, operation: str, key: str, arguments: Mapping[str, str]) -> list[Any]:
        rows: list[Any] = []
        with self._noted(operation):
            client = self._aws.client("iam", self._region)
            for page in client.get_paginator(method_name(operation)).paginate(**arguments):
                rows.extend(page.get(key) or ())
                if key not in page or (page.get("IsTruncated") and not page.get("Marker")):
                    self._note(f"AWS's answer to {operation} is incomplete.")
        return rows

    @contextmanager
    def _noted(self, operation: str) -> Iterator[None]:
        """Notes a gap where AWS denies an operation or fails."""
        principal = self._principal
        try:
            with translate_errors(f"reading the policies of {principal.arn}", f"iam:{operation}"):
                yield
        except AwsError as error:
            detail = str(error)
            if error_code(error) == "NoSuchEntity":
                detail = "A policy or group was deleted while it was read: run again."
                part = ("GetRolePolicy", "GetUserPolicy")
                if operation not in part and ("Group" not in operation or operation == _GROUPS):
                    account_words = f"in the account {principal.account}: check the input role-arn."
                    self._missing = detail = (
                        f"There is no {principal.kind} {principal.name} {account_words}"
                    )
            self._note(detail)

    def _named(self, listed: list[Any], key: str) -> Iterator[str]:
        """Yields the names in a list, and notes a gap for an entry without one."""
        for row in listed:
            if row.get(key):
                yield str(row[key])
            else:
                self._note(f"AWS's answer lacks a {key}.")

    def _note(self, detail: str) -> None:
        gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), f"{detail} The other policies are not known.")
        if gap not in self._gaps:
            self._gaps.append(gap)


def _value(document: object) -> object:
    """Decodes a document: botocore returns it decoded, or as text with `%`-escapes where the
    response was truncated.
    """
    if not isinstance(document, str):
        return document
    try:
        return json.loads(unquote(document))
    except ValueError:
        return None


def _bytes(document: object) -> bytes:
    return json.dumps(_value(document), indent=2).encode()


def list_matching_roles(aws: Aws, patterns: Iterable[str], partition: str) -> tuple[Principal, ...]:
    """Lists the roles whose ARN matches one of the patterns, sorted by ARN; raises AwsError."""
    role_patterns = tuple(patterns)
    client = aws.client("iam", home_region("iam", partition))
    role_pages = pages(client, "list_roles", "listing the roles of the account", "iam:ListRoles")
    arns = sorted(str(role.get("Arn")) for page in role_pages for role in page.get("Roles") or ())
    roles = (
        principal_of(arn) for arn in arns if any(matches(pattern, arn) for pattern in role_patterns)
    )
    return tuple(principal for principal in roles if principal)


def entities_of_policy(aws: Aws, policy: str) -> tuple[str, ...]:
    """Lists the roles, users and groups that a managed policy is attached to, by ARNs without
    paths; raises AwsError.
    """
    _, partition, _, _, account, _ = policy.split(":", 5)
    client = aws.client("iam", home_region("iam", partition))
    activity = f"listing who has the policy {policy}"
    entity_pages = pages(
        client,
        "list_entities_for_policy",
        activity,
        "iam:ListEntitiesForPolicy",
        PolicyArn=policy,
        PolicyUsageFilter="PermissionsPolicy",
    )
    entities: list[str] = []
    for page in entity_pages:
        for kind in ("Role", "User", "Group"):
            for entity in page.get(f"Policy{kind}s") or ():
                name = entity.get(f"{kind}Name")
                entities.append(f"arn:{partition}:iam::{account}:{kind.lower()}/{name}")
    return tuple(entities)
