"""Decides a request under all policies that AWS asks: those of the principal, of the resource and
of the organization, within an account and across accounts.

The order of decision is that of "How AWS enforcement code logic evaluates requests to allow or deny
access" and "Cross-account policy evaluation logic" of the IAM User Guide
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, read
2026-12-01): an explicit deny of any policy wins. Else each service control policy level must allow,
and then the policy of the resource, or those of the principal, or across accounts both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.models import Condition
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches, matches, resource_covers
from leastpriv.permissions.resource_types import bucket_of
from leastpriv.policy.conditions import Truth, all_of, any_of
from leastpriv.policy.document import Document, NamedPrincipal, Statement, parse
from leastpriv.policy.evaluate import Effect, Request, applies, evaluate

Layer = Literal["rcp", "scp", "resource", "identity", "boundary", "session"]
"""The policy types in AWS's order."""

_NameKind = Literal["direct", "role", "account"]
"""As what a Principal element names a principal."""
_COLONS_OF_ARN = 5
_ACCOUNT = re.compile(r"[0-9]{12}")
_MUST_ALLOW = ("kms", "sts")
"""Services whose resources need an Allow of their own policy within the account too: keys, and
roles that are assumed ("Resource-based policies", same page)."""
_SERVICE_LINKED = ":role/aws-service-role/"
_PROVIDERS = frozenset({"oidc-provider", "saml-provider"})
_ACCOUNT_KEYS = frozenset({"aws:resourceaccount", "s3:resourceaccount"})


class NamedPolicy(Struct, frozen=True):
    """A policy outside the principal's own ones."""

    name: str
    document: Document


class PolicyLevel(Struct, frozen=True):
    """The policies attached to the root, an organizational unit or an account."""

    name: str
    scps: tuple[NamedPolicy, ...] = ()
    rcps: tuple[NamedPolicy, ...] = ()


class Organization(Struct, frozen=True):
    """The policies of an organization, by account."""

    levels: tuple[PolicyLevel, ...] = ()
    """From the root to the account, where the organization is known for one account only."""
    accounts: Mapping[str, tuple[PolicyLevel, ...]] = field(default_factory=dict)
    """Account -> its levels, where the tree names accounts; others are outside of it."""
    management_account: str = ""
    """The account that owns the policies, which limit only the other accounts."""

    def levels_of(self, account: str) -> tuple[PolicyLevel, ...]:
        """Returns the levels above an account, from the root to the account."""
        if account and account == self.management_account:
            return ()
        return self.accounts.get(account, ()) if self.accounts else self.levels


class ResourcePolicy(Struct, frozen=True):
    """The policy attached to a resource."""

    policy: NamedPolicy
    resource: str = ""
    """ARN of the resource; empty where its file does not say it."""


class Policies(Struct, frozen=True):
    """All policies that decide about the requests of one principal. A type without a policy sets no
    limit.
    """

    identity: tuple[Document, ...]
    boundary: tuple[Document, ...] | None = None
    session: tuple[Document, ...] | None = None
    organization: Organization = Organization()
    resources: tuple[ResourcePolicy, ...] = ()


class AccessDecision(Struct, frozen=True):
    """The effect, and the policy and statement that decide it or leave it unknown."""

    effect: Effect
    layer: Layer = "identity"
    document: Document | None = None
    statement: Statement | None = None
    policy: str = ""
    """Name of the policy, of an organization's policy or a resource's."""
    level: str = ""
    """Root, organizational unit or account to which an organization's policy is attached."""
    files: tuple[str, ...] = ()
    """Of the policies none of which allows the request."""
    not_given: str = ""
    """A policy that AWS asks too and that is not given."""


class _Principal(Struct, frozen=True):
    """Who makes a request."""

    arn: str
    kind: str
    """`user`, `role`, `assumed-role`, `federated-user`, `root`, another kind, or empty."""
    account: str
    name: str
    """Name of the user or of the role, without a path."""

    @property
    def is_outside(self) -> bool:
        """Whether it is an AWS service or an identity provider, which has no identity-based policy,
        and which no SCP limits ("SCPs affect only IAM users and roles that are managed by
        accounts").
        """
        return self.arn.endswith((".amazonaws.com", ".amazonaws.com.cn")) or self.kind in _PROVIDERS


class _Grants(Struct, frozen=True):
    """What the policy of a resource allows the principal, by what its Principal names."""

    direct: AccessDecision
    """The session, the user or everyone: no other policy type but the organization's limits it."""
    role: AccessDecision
    """The role: a boundary and a session policy limit it."""
    account: AccessDecision
    """The account: its administrators must allow it too."""


def evaluate_access(request: Request, policies: Policies) -> AccessDecision:
    """Evaluates a request under all given policies.

    Returns the first explicit deny in AWS's order of policy types, else the first type that does
    not allow, else the first that leaves it unknown, else the statement that allows.
    """
    principal = _principal(request.principal)
    account = _account_of_resource(request)
    is_cross_account = bool(account and principal.account and account != principal.account)
    outer = list(_organization_decisions(request, policies, principal, account))
    own_decisions = _own_decisions(request, policies, principal)
    belonging = [
        resource_policy
        for resource_policy in policies.resources
        if _belongs(resource_policy, request)
    ]
    denied = [
        _deny_of_resource(resource_policy, request, principal) for resource_policy in belonging
    ]
    limits = [*outer, *filter(None, denied)]
    for decision in (*limits, *own_decisions):
        if decision.effect == "explicitDeny":
            return decision
    grants = _grants(belonging, request, principal)
    if principal.is_outside:
        missing = "" if belonging else "the resource-based policy, which must allow it"
        combined = replace(grants.direct, not_given=missing)
    else:
        combined = _combined(
            own_decisions=own_decisions,
            grants=grants if belonging else None,
            must_allow=bool(belonging) and _must_allow(request),
            is_cross_account=is_cross_account,
        )
    for effect in ("implicitDeny", "unknown"):
        for decision in (*limits, combined):
            if decision.effect == effect:
                return decision
    missing = "" if belonging else _missing_policy(request, is_cross_account=is_cross_account)
    return replace(combined, not_given=missing)


def _combined(
    *,
    own_decisions: Sequence[AccessDecision],
    grants: _Grants | None,
    must_allow: bool,
    is_cross_account: bool,
) -> AccessDecision:
    """Combines the principal's own policies, none of which denies, with those of the resource."""
    identity, *restricting = own_decisions
    if grants is None:
        return _first_missing(own_decisions)
    by_resource = _best((grants.direct, grants.role, grants.account))
    if is_cross_account:
        return _first_missing((by_resource, *own_decisions))
    required_decisions = (by_resource, identity) if must_allow else (identity,)
    by_own = _best((_first_missing(required_decisions), grants.role), last=0)
    return _best((grants.direct, _first_missing((by_own, *restricting))), last=1)


def _first_missing(decisions: Sequence[AccessDecision]) -> AccessDecision:
    """Returns the first of some decisions, all of which must allow, that does not."""
    for effect in ("implicitDeny", "unknown"):
        for decision in decisions:
            if decision.effect == effect:
                return decision
    return next(
        (candidate for candidate in decisions if candidate.layer == "identity"), decisions[0]
    )


def _best(decisions: Sequence[AccessDecision], last: int = -1) -> AccessDecision:
    """Returns the first of some decisions, one of which must allow, that allows or may allow; else
    the decision at `last`.
    """
    for effect in ("allowed", "unknown"):
        for decision in decisions:
            if decision.effect == effect:
                return decision
    return decisions[last]


def _own_decisions(
    request: Request, policies: Policies, principal: _Principal
) -> list[AccessDecision]:
    """Returns the decisions of the principal's own policies: identity-based, boundary, session."""
    if principal.kind == "root":
        return [AccessDecision("allowed")]
    if principal.is_outside:
        return []
    session = policies.session
    if session is None and principal.kind == "federated-user":
        # "The resulting federated user session has no permissions" without a session policy.
        session = ()
    layers: Mapping[Layer, Sequence[Document] | None] = {
        "identity": policies.identity,
        "boundary": policies.boundary,
        "session": session,
    }
    return [
        _decision(request, layer, [NamedPolicy("", document) for document in documents])
        for layer, documents in layers.items()
        if documents is not None
    ]


def _organization_decisions(
    request: Request, policies: Policies, principal: _Principal, account: str
) -> Iterator[AccessDecision]:
    """Yields the decision of each level of the organization, those about the resource first."""
    if _is_service_linked(request):
        return
    if _rcps_apply(request.action):
        for level in policies.organization.levels_of(account or principal.account):
            if level.rcps:
                yield _decision(request, "rcp", (*level.rcps, _rcp_full_access()), level.name)
    if principal.is_outside:
        return
    for level in policies.organization.levels_of(principal.account):
        if level.scps:
            yield _decision(request, "scp", level.scps, level.name)


def _is_service_linked(request: Request) -> bool:
    """Whether a service-linked role asks; the ARN of its session lacks the path, which
    `aws:PrincipalArn` in the context has.
    """
    arns = [request.principal]
    for key, values in request.context.items():
        if key.lower() == "aws:principalarn":
            arns.extend(values)
    return any(_SERVICE_LINKED in arn for arn in arns)


def _decision(
    request: Request, layer: Layer, policies: Sequence[NamedPolicy], level: str = ""
) -> AccessDecision:
    """Evaluates a request against policies that add up."""
    decision = evaluate(request, [named_policy.document for named_policy in policies])
    if decision.document is None or decision.statement is None:
        files = tuple(dict.fromkeys(named_policy.document.where for named_policy in policies))
        return AccessDecision(decision.effect, layer, level=level, files=files)
    policy = policies[decision.document]
    return AccessDecision(
        effect=decision.effect,
        layer=layer,
        document=policy.document,
        statement=policy.document.statements[decision.statement],
        policy=policy.name,
        level=level,
    )


def _rcp_full_access() -> NamedPolicy:
    """Returns the RCP that AWS attaches to each level and that cannot be detached."""
    return NamedPolicy("RCPFullAWSAccess", full_access())


@cache
def full_access() -> Document:
    """Returns a policy that allows everything."""
    text = (
        b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*",'
        b'"Resource":"*"}]}'
    )
    return parse(text, "full access", resource_based=True)


@cache
def _rcp_services() -> Mapping[str, str]:
    """Returns the services to which RCPs apply, with the action that they do not limit."""
    return {row["service"]: row["except"] for row in table("rcp_services", "leastpriv.policy")}


def _rcps_apply(action: str) -> bool:
    name = action.lower()
    exception = _rcp_services().get(name.partition(":")[0])
    return exception is not None and exception.lower() != name


def _deny_of_resource(
    resource_policy: ResourcePolicy, request: Request, principal: _Principal
) -> AccessDecision | None:
    """Returns the decision of the Deny statements of a resource's policy; None where none may
    apply.
    """
    doubtful = None
    for statement in resource_policy.policy.document.statements:
        if statement.effect != "Deny":
            continue
        truth = all_of((_is_denied(statement, principal), applies(statement, request)))
        if truth:
            return _of_resource("explicitDeny", resource_policy, statement)
        if truth is None:
            doubtful = doubtful or _of_resource("unknown", resource_policy, statement)
    return doubtful


def _grants(policies: Sequence[ResourcePolicy], request: Request, principal: _Principal) -> _Grants:
    certain: dict[str, AccessDecision] = {}
    doubtful: dict[str, AccessDecision] = {}
    for resource_policy in policies:
        for statement in resource_policy.policy.document.statements:
            if statement.effect != "Allow":
                continue
            holds = applies(statement, request)
            for kind, is_named in _named_as(statement, principal).items():
                truth = all_of((is_named, holds))
                if truth:
                    certain.setdefault(kind, _of_resource("allowed", resource_policy, statement))
                elif truth is None:
                    doubtful.setdefault(kind, _of_resource("unknown", resource_policy, statement))
    nothing = AccessDecision("implicitDeny", "resource")
    if policies:
        files = tuple(resource_policy.policy.document.where for resource_policy in policies)
        nothing = replace(nothing, policy=policies[0].policy.name, files=files)

    def of_kind(kind: str) -> AccessDecision:
        return certain.get(kind) or doubtful.get(kind) or nothing

    return _Grants(of_kind("direct"), of_kind("role"), of_kind("account"))


def _of_resource(
    effect: Effect, resource_policy: ResourcePolicy, statement: Statement
) -> AccessDecision:
    return AccessDecision(
        effect=effect,
        layer="resource",
        document=resource_policy.policy.document,
        statement=statement,
        policy=resource_policy.policy.name,
    )


def _is_denied(statement: Statement, principal: _Principal) -> Truth:
    """Whether a Deny statement names the principal, its role, its account or everyone."""
    if statement.not_principals:
        return _is_left_out(statement, principal)
    return any_of(_named_as(statement, principal).values())


def _is_left_out(statement: Statement, principal: _Principal) -> Truth:
    """Whether a NotPrincipal with Deny denies the principal.

    It must name the account, and of a session the role and the session, or it denies ("AWS JSON
    policy elements: NotPrincipal"); where it names a part of these, the page says that it may deny.
    """
    if any(not_principal.name == "*" for not_principal in statement.not_principals):
        return False
    names = [_named_by(not_principal, principal) for not_principal in statement.not_principals]
    kinds = {named_as.kind for named_as in names if named_as.truth}
    required_kinds: set[_NameKind] = {"direct", "account"}
    if principal.kind in ("role", "assumed-role"):
        required_kinds = {"direct", "role", "account"}
    if principal.kind == "role":
        required_kinds = {"role", "account"}
    if required_kinds <= kinds:
        return False
    if kinds or any(named_as.truth is None for named_as in names):
        return None
    return True


def _named_as(statement: Statement, principal: _Principal) -> dict[str, Truth]:
    """Returns how a statement names the principal: directly, by its role, by its account."""
    if statement.not_principals:
        return {"direct": None}
    truths: dict[str, Truth] = {}
    for named_principal in statement.principals:
        named_as = _named_by(named_principal, principal)
        if named_as.truth is not False:
            earlier_truth = truths.get(named_as.kind, False)
            truths[named_as.kind] = any_of((earlier_truth, named_as.truth))
    return truths


class _NamedAs(Struct, frozen=True):
    """As what an entry of Principal names a principal, and whether it does."""

    kind: _NameKind
    truth: Truth


def _named_by(named_principal: NamedPrincipal, principal: _Principal) -> _NamedAs:
    """Returns as what an entry of Principal names the principal, and whether it does."""
    kind = named_principal.kind.lower()
    name = named_principal.name
    if kind == "canonicaluser":
        return _NamedAs("direct", None)
    if kind == "aws" and name == "*":
        return _NamedAs("direct", True)
    if not principal.arn:
        return _NamedAs("direct", None)
    if kind != "aws":
        return _NamedAs("direct", name == principal.arn)
    if _ACCOUNT.fullmatch(name):
        return _as_account(name, principal)
    if name.count(":") < _COLONS_OF_ARN:
        # A unique ID of a user or role, which no ARN shows.
        return _NamedAs("direct", None)
    return _named_by_arn(name, principal)


def _named_by_arn(arn: str, principal: _Principal) -> _NamedAs:
    """Returns as what an ARN names the principal, and whether it does."""
    _, _, _, _, account, resource = arn.split(":", _COLONS_OF_ARN)
    kind, _, path = resource.partition("/")
    if account != principal.account:
        return _NamedAs("direct", False)
    if kind == "root":
        return _as_account(account, principal)
    if arn == principal.arn:
        return _NamedAs("role" if kind == "role" else "direct", True)
    if kind == "role" and principal.kind == "assumed-role":
        role = path.rpartition("/")[2]
        return _NamedAs("role", role == principal.name)
    if kind == "assumed-role" and principal.kind == "role":
        # The request does not say which session of the role makes it.
        role = path.partition("/")[0]
        return _NamedAs("direct", None if role == principal.name else False)
    if kind == "user" and principal.kind == "federated-user":
        # The ARN of the session does not show which user federated.
        return _NamedAs("role", None)
    return _NamedAs("direct", False)


def _as_account(account: str, principal: _Principal) -> _NamedAs:
    kind: _NameKind = "direct" if principal.kind == "root" else "account"
    return _NamedAs(kind, account == principal.account)


def _belongs(resource_policy: ResourcePolicy, request: Request) -> bool:
    """Whether a resource policy is that of the resource of a request."""
    resource = request.resource
    if resource_policy.resource:
        return resource == resource_policy.resource or any(
            resource_covers(f"{resource_policy.resource}{end}", resource)
            for end in ("", "/*", ":*")
        )
    service = request.action.partition(":")[0].lower()
    statements = resource_policy.policy.document.statements
    entries = [
        entry for statement in statements for entry in (*statement.actions, *statement.not_actions)
    ]
    services = {entry.partition(":")[0].lower() for entry in entries}
    if services and service not in services and "*" not in services:
        return False
    resources = [
        entry
        for statement in statements
        for entry in (*statement.resources, *statement.not_resources)
    ]
    return not resources or any(
        entry == "*" or bucket_of(entry) == bucket_of(resource) or resource_covers(entry, resource)
        for entry in resources
    )


def _must_allow(request: Request) -> bool:
    return request.action.partition(":")[0].lower() in _MUST_ALLOW


def _missing_policy(request: Request, *, is_cross_account: bool) -> str:
    """Returns which policy of the resource AWS asks too, where none is given."""
    if is_cross_account:
        return "the resource-based policy, which must allow it across accounts"
    action = request.action.lower()
    if action.startswith("kms:") and ":key/" in request.resource:
        return "the key policy, which must allow it"
    if action.startswith("sts:assumerole") and ":role/" in request.resource:
        return "the role's trust policy, which must allow it"
    return ""


def _principal(arn: str) -> _Principal:
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return _Principal(arn, "", "", "")
    kind, _, path = parts[5].partition("/")
    if kind in _PROVIDERS:
        return _Principal(arn, kind, "", "")
    name = path.partition("/")[0] if kind == "assumed-role" else path.rpartition("/")[2]
    return _Principal(arn, kind, parts[4], name)


def _account_of_resource(request: Request) -> str:
    """Returns the account of the resource, from its ARN, `aws:ResourceAccount` or
    `s3:ResourceAccount`; empty if none names it.
    """
    account = account_in_arn(request.resource)
    if account:
        return account
    for key, values in request.context.items():
        if key.lower() in _ACCOUNT_KEYS and len(values) == 1:
            return values[0]
    return ""


def account_in_arn(arn: str) -> str:
    """Returns the account that an ARN names; empty if it names none."""
    parts = arn.split(":", 5)
    if len(parts) == 6 and _ACCOUNT.fullmatch(parts[4]):
        return parts[4]
    return ""


def with_every_resource(document: Document) -> Document:
    """Returns a resource-based policy whose statements without Resource are about its resource, as
    those of a trust policy are.
    """
    return document.with_statements(
        tuple(
            statement
            if statement.resources or statement.not_resources
            else replace(statement, resources=("*",))
            for statement in document.statements
        )
    )


class OuterLimits(Struct, frozen=True):
    """What other policies mean for a comparison of two sets of identity-based policies."""

    layers: tuple[tuple[Document, ...], ...]
    """Each must allow too."""
    allowed: tuple[Document, ...]
    """What the policies of resources allow the principal, whatever its own policies say."""


def limits_of(policies: Policies, arn: str) -> OuterLimits:
    """Returns the limits of a principal's identity-based policies.

    An RCP limits the resources whose ARN names its account, and those whose ARN names none where
    `aws:ResourceAccount` is its account.
    """
    principal = _principal(arn)
    layers: list[tuple[Document, ...]] = []
    if _SERVICE_LINKED not in arn:
        layers += _limits_of_organization(policies.organization, principal)
    layers += [
        documents for documents in (policies.boundary, policies.session) if documents is not None
    ]
    allowed: list[Document] = []
    for resource_policy in policies.resources:
        layers.append(tuple(_limits_of_resource(resource_policy, principal)))
        is_same_account = resource_policy.resource.split(":")[4:5] in ([principal.account], [""])
        if is_same_account and _must_not_allow(resource_policy):
            allowed.append(_allowing(resource_policy, principal, ("direct",)))
    return OuterLimits(tuple(layers), tuple(allowed))


def _limits_of_organization(
    organization: Organization, principal: _Principal
) -> Iterator[tuple[Document, ...]]:
    """Yields the SCPs of each level above the principal, and the RCPs of each account."""
    for level in organization.levels_of(principal.account):
        if level.scps:
            yield tuple(scp.document for scp in level.scps)
    for account in organization.accounts or filter(None, (principal.account,)):
        for level in organization.levels_of(account):
            if level.rcps:
                limited = (_within(rcp.document, account) for rcp in level.rcps)
                yield (full_access(), *limited)


def _within(rcp: Document, account: str) -> Document:
    """Returns the Deny statements of an RCP as statements about the resources of one account.

    A statement with NotResource sets no limit: no list of patterns names what it denies.
    """
    denies: list[Statement] = []
    for statement in rcp.statements:
        if statement.effect != "Deny" or statement.not_resources:
            continue
        limited = replace(statement, actions=tuple(_limited_by_rcps(statement.actions)))
        resources = filter(None, (_of_account(entry, account) for entry in statement.resources))
        denies.append(replace(limited, resources=tuple(resources)))
        condition = Condition("StringEquals", "aws:ResourceAccount", (account,))
        denies.append(replace(limited, conditions=(*statement.conditions, condition)))
    return rcp.with_statements(tuple(deny for deny in denies if deny.actions and deny.resources))


def _limited_by_rcps(entries: Sequence[str]) -> Iterator[str]:
    """Yields the entries of an Action as entries of the services to which RCPs apply, without the
    actions that no RCP limits.
    """
    for entry, (service, exception) in product(entries, _rcp_services().items()):
        prefix, _, name = entry.partition(":")
        if not action_matches(prefix, service):
            continue
        of_service = f"{service}:{name or '*'}"
        if not exception or not action_matches(of_service, exception):
            yield of_service
            continue
        for action in catalog.actions(service):
            if action_matches(of_service, action) and action.lower() != exception.lower():
                yield action


def _of_account(entry: str, account: str) -> str:
    """Returns the part of an entry of Resource whose ARNs name an account; empty if there is
    none.
    """
    parts = entry.split(":", 5)
    if entry == "*":
        parts = ["arn", "*"]
    if parts[-1].endswith("*"):
        parts += ["*"] * (6 - len(parts))
    if len(parts) < 6 or not matches(parts[4], account):
        return ""
    parts[4] = account
    return ":".join(parts)


def _must_not_allow(resource_policy: ResourcePolicy) -> bool:
    return not any(f":{service}:" in resource_policy.resource for service in ("kms", "iam"))


def _limits_of_resource(
    resource_policy: ResourcePolicy, principal: _Principal
) -> Iterator[Document]:
    """Yields the Deny statements of a resource's policy that name the principal, and what lets all
    else pass.
    """
    document = resource_policy.policy.document
    denies = [
        statement
        for statement in document.statements
        if statement.effect == "Deny" and _is_denied(statement, principal) is True
    ]
    yield document.with_statements(
        tuple(_on_resource(deny, resource_policy.resource) for deny in denies)
    )
    needs_allow = bool(resource_policy.resource) and (
        not _must_not_allow(resource_policy)
        or resource_policy.resource.split(":")[4] not in ("", principal.account)
    )
    if not needs_allow:
        yield full_access()
        return
    allows = [
        _on_resource(statement, resource_policy.resource)
        for statement in document.statements
        if statement.effect == "Allow" and _named_as(statement, principal)
    ]
    allow_all = full_access().statements[0]
    elsewhere = replace(allow_all, resources=(), not_resources=_patterns(resource_policy.resource))
    yield document.with_statements(tuple(allows))
    yield full_access().with_statements((elsewhere,))


def _allowing(
    resource_policy: ResourcePolicy, principal: _Principal, kinds: Sequence[str]
) -> Document:
    """Returns the Allow statements that certainly name the principal in one of the ways."""
    document = resource_policy.policy.document
    allows = [
        _on_resource(statement, resource_policy.resource)
        for statement in document.statements
        if statement.effect == "Allow"
        and any(_named_as(statement, principal).get(kind) for kind in kinds)
    ]
    return document.with_statements(tuple(allows))


def _on_resource(statement: Statement, resource: str) -> Statement:
    """Returns a statement of a resource's policy as one about this resource alone."""
    if resource and statement.resources == ("*",):
        return replace(statement, resources=_patterns(resource))
    return statement


def _patterns(resource: str) -> tuple[str, ...]:
    return (resource, f"{resource}/*", f"{resource}:*")
