"""Finds the paths on which the holder of a policy gains more permissions than the policy grants
(escalation.tsv).

A path is open if the documents allow each of its actions to an attacker who knows them: the
attacker chooses the parameters of a request, but neither the network nor the tags of resources
(escalation_keys.tsv).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import principal_of
from leastpriv.models import Condition
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import has_wildcard, matches
from leastpriv.permissions.resource_types import action_of, fill_variables, fits, kinds_of
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import (
    Request,
    allow_statements,
    evaluate,
    statements_allowing,
    statements_naming,
)
from leastpriv.proposal.models import Change, Proposal

_ANY_NAME = "leastpriv-any"
"""Represents every name that a policy does not mention."""
_REGION = "us-east-1"
_ARN_PARTS = 6
_PASSED_TO, _POLICY, _BOUNDARY = "iam:passedtoservice", "iam:policyarn", "iam:permissionsboundary"
_MOST_NAMED = 50
"""Most named targets of one path that are examined."""


class _Question(Struct, frozen=True):
    """A request that an attacker makes."""

    action: str
    resource: str
    service: str
    """The service to which a role is passed; empty where none is."""


class Strength(StrEnum):
    """How much an attacker gains, the most first."""

    ADMINISTRATOR = "administrator"
    """Every permission, whatever else the account has."""
    STRONGEST = "strongest"
    """The permissions of the strongest role, user or function of the account that fits the path."""
    SECRETS = "secrets"
    """Data of the whole account, among which credentials may be."""
    NAMED = "named"
    """The permissions of the roles or other resources that the policy names."""


_ORDER = tuple(Strength)


class EscalationPath(Struct, frozen=True):
    """One path that a policy leaves open."""

    id: str
    """Of its row in `escalation.tsv`."""
    strength: Strength
    actions: tuple[str, ...]
    """The action of each step that the policy allows."""
    how: str
    """Completes "by": `passing {any role} to a new Lambda function`; the braces hold the target
    where it is any.
    """
    targets: tuple[str, ...] = ()
    """The targets that the policy names; empty: any."""
    conditions: tuple[Condition, ...] = ()
    """Conditions that an attacker does not choose; empty: none."""
    known: str = ""
    """The facts about a named target, after its name: `has AdministratorAccess`."""
    source: str = ""

    @property
    def rank(self) -> tuple[bool, int]:
        """The most dangerous path has the lowest rank."""
        return bool(self.conditions), _ORDER.index(self.strength)

    @property
    def leads_to_administrator(self) -> bool:
        """Whether an attacker becomes administrator, or as strong as the strongest role, without a
        condition.
        """
        return not self.conditions and self.strength in (Strength.ADMINISTRATOR, Strength.STRONGEST)


def escalation_paths(documents: Sequence[Document], principal: str) -> tuple[EscalationPath, ...]:
    """Returns the open paths, the most dangerous first.

    What only the rendered template knows opens no path: `undecided_by` names it.

    Args:
        documents: All known policies of the principal.
        principal: Its ARN.
    """
    certain = tuple(_certain(document) for document in documents)
    return _open_paths(_Policies(tuple(documents), certain, principal))


def undecided_by(documents: Sequence[Document], principal: str) -> tuple[str, ...]:
    """Returns the expressions because of which a further path cannot be ruled out; empty for none.

    Only the rendered template knows what they are: they may allow more than the policy says.
    """
    all_documents = tuple(documents)
    certain = tuple(_certain(document) for document in documents)
    if all(
        certain_document is document
        for certain_document, document in zip(certain, all_documents, strict=True)
    ):
        return ()
    rank_by_path = {
        path.id: path.rank for path in _open_paths(_Policies(all_documents, certain, principal))
    }
    further = [
        path
        for path in _open_paths(_Policies(all_documents, all_documents, principal))
        if path.id not in rank_by_path or path.rank < rank_by_path[path.id]
    ]
    if not further:
        return ()
    actions = dict.fromkeys(action for path in further for action in path.actions)
    allows = dict.fromkeys(
        statement for action in actions for statement in statements_allowing(documents, action)
    )
    return tuple(dict.fromkeys(name for allow in allows for name in allow.unknown_parts()))


def _certain(document: Document) -> Document:
    """Returns what a policy allows whatever the unknown parts of its file are; what they may deny
    remains unknown.
    """
    statements = tuple(
        statement.certain_part(keeps_variables=True) if statement.effect == "Allow" else statement
        for statement in document.statements
    )
    return document.with_statements(statements)


def _open_paths(policies: _Policies) -> tuple[EscalationPath, ...]:
    rows = table("escalation")
    services = _allowed_services(policies.documents)
    if services is not None:
        rows = tuple(row for row in rows if any(map(row["actions"].__contains__, services)))
    most_dangerous = (
        min(_forms(row, policies), key=lambda path: path.rank, default=None) for row in rows
    )
    return tuple(sorted(filter(None, most_dangerous), key=lambda path: path.rank))


def _allowed_services(documents: Sequence[Document]) -> frozenset[str] | None:
    """Returns the services that Allow statements name, as `sqs:`; None if a statement may name any
    service.
    """
    allows = allow_statements(documents)
    services = frozenset(
        entry.lower().partition(":")[0] + ":" for allow in allows for entry in allow.actions
    )
    is_any = any(allow.not_actions or allow.unknown_actions for allow in allows) or has_wildcard(
        "".join(services)
    )
    return None if is_any else services


def is_administrator(paths: Sequence[EscalationPath]) -> bool:
    """Whether the holder of the policy is administrator in effect."""
    return any(path.strength is Strength.ADMINISTRATOR and not path.conditions for path in paths)


class Escalation(Struct, frozen=True):
    """The open paths of the committed policies and of the proposed ones."""

    before: tuple[EscalationPath, ...] = ()
    after: tuple[EscalationPath, ...] = ()
    undecided_by: tuple[str, ...] = ()
    """Expressions of the proposed policies because of which a further path cannot be ruled out."""

    @property
    def leading(self) -> tuple[EscalationPath, ...]:
        """The open paths to administrator, or to a role whose permissions a tool documents."""
        return tuple(path for path in self.after if path.leads_to_administrator or path.known)

    @property
    def closed(self) -> tuple[EscalationPath, ...]:
        """The paths that the proposal closes or weakens."""
        rank_after = {path.id: path.rank for path in self.after}
        return tuple(
            path
            for path in self.before
            if path.id not in rank_after or rank_after[path.id] > path.rank
        )


def paths_through(
    actions: Collection[str], paths: Sequence[EscalationPath]
) -> tuple[EscalationPath, ...]:
    """Returns the paths that need one of some actions, the most dangerous first."""
    names = frozenset(actions)
    return tuple(path for path in paths if not names.isdisjoint(path.actions))


def with_closed_paths(proposal: Proposal, escalation: Escalation) -> Proposal:
    """Adds to each removal and narrowing the paths to administrator that it helps to close."""
    closed = [path for path in escalation.closed if path.leads_to_administrator]

    def closing(change: Change) -> Change:
        actions = change.removed_actions or (change.used if change.restricted_to else ())
        return replace(change, closes=tuple(path.id for path in paths_through(actions, closed)))

    return replace(proposal, changes=tuple(map(closing, proposal.changes))) if closed else proposal


class PassedRoleUse(Struct, frozen=True):
    """What lets a run use a passed role, or what the policy lacks for that."""

    how: str
    """Completes "by": `passing it to a new Lambda function`."""
    lacks: tuple[str, ...]
    """Actions of which the use needs one, and the policy allows none on what it may make."""


def passed_role_use(
    change: Change, documents: Sequence[Document], principal: str
) -> PassedRoleUse | None:
    """Returns how a run can use the role that an addition lets it pass, a use that lacks nothing
    first; None where no path is known.
    """
    policies = _Policies(tuple(documents), tuple(documents), principal)
    services = {
        value
        for condition in change.conditions
        if condition.key.lower() == _PASSED_TO
        for value in condition.values
    }
    uses = []
    for row in table("escalation"):
        first, *following = _steps(row["actions"])
        is_of_service = row["passed_to"] in services and change.action in first.alternatives
        if not is_of_service or not following:
            continue
        if any(map(policies.entries, following[0].alternatives)):
            how = re.sub(r"\{[^}]*\}", "it", row["how"])
            uses.append(PassedRoleUse(how, _lacking(following, policies, row["passed_to"])))
    return min(uses, key=lambda use: len(use.lacks) > 0, default=None)


def _lacking(steps: Sequence[_Step], policies: _Policies, service: str) -> tuple[str, ...]:
    """Returns the alternatives of the first step that the policies do not allow on what the first
    one makes; empty where they allow each.
    """
    entries_made = {entry for action in steps[0].alternatives for entry in policies.entries(action)}
    for step in steps:
        if not any(
            _is_allowed_on(entries_made, action, policies, service) for action in step.alternatives
        ):
            return step.alternatives
    return ()


def _is_allowed_on(made: Collection[str], action: str, policies: _Policies, service: str) -> bool:
    """Whether an action is allowed on a resource that may be made, or on any where it takes another
    type of resource.
    """
    fitting = [resource for resource in made if resource != "*" and fits(action, resource)]
    if "*" in made or not fitting:
        return policies.allows_somewhere(_Step((action,), on_target=False), service) is not None
    step = _Step((action,), on_target=True)
    return any(policies.allows(step, resource, service) for resource in fitting)


class _Step(Struct, frozen=True):
    alternatives: tuple[str, ...]
    on_target: bool
    """Whether the action is needed on the path's target."""


class _Grant(Struct, frozen=True):
    """An allowed action, and the conditions that the attacker does not choose."""

    action: str
    conditions: tuple[Condition, ...]


class _Policies(Struct):
    documents: tuple[Document, ...]
    certain: tuple[Document, ...]
    """The documents with what they allow whatever the unknown parts of their files are."""
    principal: str
    answers: dict[_Question, _Grant | None] = {}

    def allows(self, step: _Step, resource: str, service: str) -> _Grant | None:
        """Returns the grant of a step with the fewest conditions."""
        return _freest(self._grant(action, resource, service) for action in step.alternatives)

    def allows_somewhere(self, step: _Step, service: str) -> _Grant | None:
        """Returns the grant of a step on any resources that it can concern."""
        return _freest(self._grant_somewhere(action, service) for action in step.alternatives)

    def entries(self, action: str) -> tuple[str, ...]:
        """Returns the resources of the Allow statements that name an action."""
        allows = statements_allowing(self.documents, action)
        return tuple(dict.fromkeys(entry for statement in allows for entry in statement.resources))

    def own(self, kind: str) -> tuple[str, ...]:
        """Returns the principal, or its customer managed policies as far as known, if they are of a
        type.
        """
        principal = principal_of(self.principal)
        if kind == "policy":
            names = (document.where for document in self.documents)
            return tuple(name for name in names if name.startswith("arn:") and "::aws:" not in name)
        return (self.principal,) if principal and principal.kind == kind else ()

    def named_targets(self, actions: Sequence[str], kind: str) -> Iterator[str]:
        """Yields the resources of a type that the Allow statements of some actions name."""
        for action in actions:
            for entry in self.entries(action)[:_MOST_NAMED]:
                if entry != "*" and kind in kinds_of(action, entry):
                    yield entry

    def any_of_type(self, action: str, kind: str) -> tuple[str, ...]:
        """Returns resources of a type that no policy mentions, in the regions and accounts that
        entries name.
        """
        catalogue_action = action_of(action)
        if catalogue_action is None:
            return ()
        types = catalogue_action.resource_types
        templates = [resource_type.arn for resource_type in types if resource_type.name == kind]
        _, partition, _, _, account, _ = self.principal.split(":", 5)
        places = [{"Partition": partition, "Region": _REGION, "Account": account}]
        for entry in self.entries(action):
            parts = entry.split(":", 5)
            if len(parts) == _ARN_PARTS:
                region, owner = ("" if has_wildcard(part) else part for part in parts[3:5])
                place = {
                    "Partition": partition,
                    "Region": region or _REGION,
                    "Account": owner or account,
                }
                if place not in places:
                    places.append(place)
        return tuple(
            fill_variables(template, place, _ANY_NAME) for template in templates for place in places
        )

    def _grant_somewhere(self, action: str, service: str) -> _Grant | None:
        """Returns the grant of an action on some resource of each type that it requires, else of
        any type: the one with the most conditions of the required ones.
        """
        catalogue_action = action_of(action)
        if catalogue_action is None or not catalogue_action.resource_types:
            return self._grant(action, "*", service)
        types = catalogue_action.resource_types
        required = [kind.name for kind in types if kind.required]
        entries = [entry for entry in self.entries(action) if entry != "*" and fits(action, entry)]
        grants: list[_Grant | None] = []
        for kind in dict.fromkeys(required or [kind.name for kind in types]):
            resources = [
                *self.any_of_type(action, kind),
                *(entry for entry in entries[:_MOST_NAMED] if kind in kinds_of(action, entry)),
            ]
            grants.append(_freest(self._grant(action, resource, service) for resource in resources))
        if not required:
            return _freest(grants)
        granted = _grants(grants)
        return max(granted, key=lambda grant: len(grant.conditions)) if granted else None

    def _grant(self, action: str, resource: str, service: str) -> _Grant | None:
        question = _Question(action, resource, service)
        if question not in self.answers:
            self.answers[question] = self._find_grant(question)
        return self.answers[question]

    def _find_grant(self, request: _Question) -> _Grant | None:
        """Returns the grant of a request without a condition, else the first with conditions.

        An attacker chooses keys of the request, as `aws:RequestedRegion`, and not those of the
        network or of a resource's tags, as `aws:SourceIp` (escalation_keys.tsv).
        """
        statements = [
            statement
            for document in self.documents
            for statement in statements_naming(document, request.action)
        ]
        denies = [statement for statement in statements if statement.effect == "Deny"]
        allows = [statement for statement in statements if statement.effect == "Allow"]
        conditional = None
        for allow in allows:
            if self._is_granted_by_choice(request, allow, denies):
                return _Grant(request.action, ())
            if conditional is None and self._is_granted_if_conditions_hold(request, allow, denies):
                conditional = _Grant(request.action, _not_chosen([allow, *denies]))
        return conditional

    def _is_granted_by_choice(
        self, request: _Question, allow: Statement, denies: Sequence[Statement]
    ) -> bool:
        """Whether the keys that the attacker chooses are enough for an Allow."""
        context = self._context(request, allow, denies, ("chosen",))
        asked = Request(request.action, request.resource, context, context_complete=True)
        return evaluate(asked, self.documents).effect == "allowed"

    def _is_granted_if_conditions_hold(
        self, request: _Question, allow: Statement, denies: Sequence[Statement]
    ) -> bool:
        """Whether an Allow grants, or may grant, a request that meets its other conditions too."""
        context = self._context(request, allow, denies, ("chosen", "not-chosen"))
        asked = Request(request.action, request.resource, context, context_complete=True)
        effect = evaluate(asked, self.documents).effect
        if effect == "unknown":
            # What only the rendered template knows opens no path.
            effect = evaluate(asked, self.certain).effect
        return effect in ("allowed", "unknown")

    def _context(
        self,
        request: _Question,
        allow: Statement,
        denies: Sequence[Statement],
        kinds: Sequence[str],
    ) -> dict[str, tuple[str, ...]]:
        """Returns a request's context that meets the conditions of an Allow, and of no Deny, on
        keys of some kinds.
        """
        from leastpriv.policy.witness import satisfying, violating

        passed_values: dict[str, tuple[str, ...]] = {}
        for condition in allow.conditions:
            for key, values in satisfying(condition).items():
                passed_values[key.lower()] = values
        values_by_key: dict[str, tuple[str, ...]] = {}
        for deny in denies:
            for condition in deny.conditions:
                for key, values in violating(condition).items():
                    values_by_key[key.lower()] = values
        values_by_key |= passed_values
        _, partition, _, _, account, _ = self.principal.split(":", 5)
        policy = passed_values.get(_POLICY, ())
        if not policy or not self._grant("iam:CreatePolicy", policy[0], ""):
            policy = (f"arn:{partition}:iam::aws:policy/AdministratorAccess",)
        boundary = values_by_key.get(_BOUNDARY, ())
        if boundary and not self._passes_boundary(request, boundary[0]):
            boundary = ()
        chosen_values = {
            key: values for key, values in values_by_key.items() if _kind_of_key(key) in kinds
        }
        return chosen_values | {
            "aws:principalarn": (self.principal,),
            "aws:principalaccount": (account,),
            _PASSED_TO: (request.service,)
            if request.service
            else passed_values.get(_PASSED_TO, ()),
            _POLICY: policy,
            _BOUNDARY: boundary,
        }

    def _passes_boundary(self, request: _Question, boundary: str) -> bool:
        """Whether a boundary that a condition demands limits nothing, since the principal can lift
        or rewrite it.
        """
        lifts = ("iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary")
        if request.action in lifts:
            return True
        changes = ("iam:PutRolePermissionsBoundary", "iam:PutUserPermissionsBoundary")
        if request.action in (*changes, "iam:CreatePolicyVersion"):
            return False
        if self._grant("iam:CreatePolicyVersion", boundary, ""):
            return True
        return any(self._grant(action, request.resource, "") for action in (*lifts, *changes))


def _not_chosen(statements: Iterable[Statement]) -> tuple[Condition, ...]:
    """Returns the conditions on keys that the attacker does not choose."""
    conditions: dict[Condition, None] = {}
    for statement in statements:
        for condition in statement.conditions:
            if _kind_of_key(condition.key) == "not-chosen":
                conditions[condition] = None
    return tuple(conditions)


@cache
def _kind_of_key(key: str) -> str:
    rows = table("escalation_keys")
    return next(row["kind"] for row in rows if matches(row["pattern"], key, ignore_case=True))


def _steps(actions: str) -> tuple[_Step, ...]:
    steps = [step.split("|") for step in actions.split(",")]
    return tuple(
        _Step(
            tuple(action.removeprefix("@") for action in step),
            not number or step[0].startswith("@"),
        )
        for number, step in enumerate(steps)
    )


def _forms(row: Mapping[str, str], policies: _Policies) -> Iterator[EscalationPath]:
    """Yields the path on the principal itself, on any target, and on the targets that the policies
    name.
    """
    steps = _steps(row["actions"])
    kind = row["target"]
    service = row["passed_to"]
    elsewhere = _grants(
        policies.allows_somewhere(step, service) for step in steps if not step.on_target
    )
    if elsewhere is None:
        return
    on_target = [step for step in steps if step.on_target]

    def granted(resources: Iterable[str]) -> dict[str, tuple[_Grant, ...]]:
        grants_by_resource = (
            (resource, _grants(policies.allows(step, resource, service) for step in on_target))
            for resource in resources
        )
        return {
            resource: (*grants, *elsewhere) for resource, grants in grants_by_resource if grants
        }

    own_grants = granted(policies.own(kind))
    anywhere = granted(policies.any_of_type(on_target[0].alternatives[0], kind))
    if anywhere:
        yield _path(row, _strength(row["gives"], own=bool(own_grants), anywhere=True), anywhere)
    if own_grants and row["gives"] == "self":
        yield _path(row, Strength.ADMINISTRATOR, own_grants, tuple(own_grants))
    named_grants = granted(
        policies.named_targets([action for step in on_target for action in step.alternatives], kind)
    )
    if named_grants and row["gives"] != "secrets":
        yield _path(
            row,
            _strength(row["gives"], own=bool(own_grants), anywhere=False),
            named_grants,
            tuple(named_grants),
        )


def _grants(found: Iterable[_Grant | None]) -> tuple[_Grant, ...] | None:
    """Returns all grants; None if one is missing."""
    grants = tuple(found)
    return None if None in grants else tuple(filter(None, grants))


def _freest(found: Iterable[_Grant | None]) -> _Grant | None:
    """Returns the grant with the fewest conditions."""
    return min(filter(None, found), key=lambda grant: len(grant.conditions), default=None)


def _strength(gives: str, *, own: bool, anywhere: bool) -> Strength:
    """Returns how strong an attacker becomes by what a path gives, on the principal itself or on
    any target.
    """
    if gives == "secrets":
        return Strength.SECRETS
    if gives == "made":
        return Strength.ADMINISTRATOR
    if own and gives in ("self", "any"):
        return Strength.ADMINISTRATOR
    if anywhere and gives == "any":
        return Strength.ADMINISTRATOR
    return Strength.STRONGEST if anywhere else Strength.NAMED


def _path(
    row: Mapping[str, str],
    strength: Strength,
    found: Mapping[str, tuple[_Grant, ...]],
    targets: tuple[str, ...] = (),
) -> EscalationPath:
    """Makes a path from the grants on each of its targets; those with the fewest conditions
    count.
    """
    grants = min(found.values(), key=lambda each: sum(len(grant.conditions) for grant in each))
    known = ""
    if row["target"] == "role":
        known = next(filter(None, map(known_role, targets)), "")
    return EscalationPath(
        id=row["id"],
        strength=strength,
        actions=tuple(grant.action for grant in grants),
        how=row["how"],
        targets=targets,
        conditions=tuple(
            dict.fromkeys(condition for grant in grants for condition in grant.conditions)
        ),
        known=known,
        source=row["source"],
    )


def known_role(resource: str) -> str:
    """Returns what a tool documents about a role of this name; empty where no tool does."""
    name = re.split(r"[/:]", resource)[-1]
    rows = table("known_roles")
    return next((row["permissions"] for row in rows if matches(row["pattern"], name)), "")
