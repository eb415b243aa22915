"""Drafts the permissions boundary of the roles that a role creates.

It is an allow-list of what their own policies grant, under which no path of the escalation table is
open, and which allows none of the ways to lift it.

A boundary grants nothing, so that one which allows what the policies of the roles allow denies
nothing that they do. Source of the conditions that demand it: "Delegating responsibility to others
using permissions boundaries" (IAM User Guide,
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html, read 2026-11-27).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.declared.role_policies import CreatedRole
from leastpriv.models import Basis, Condition, Need, Permission, condition_block, grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import expand, forbidden
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import (
    action_covers,
    action_matches,
    has_variable,
    has_wildcard,
    resource_covers,
    resource_overlaps,
    without_covered,
)
from leastpriv.permissions.resource_types import VARIABLE, ends_in_a_name, fits
from leastpriv.policy.compact import fewest_entries
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.evaluate import allow_statements, names_action, policy_size
from leastpriv.policy.replay import replay_need
from leastpriv.policy.size import PolicyKind, quota
from leastpriv.proposal.escalation_paths import EscalationPath, Strength, escalation_paths

_KEY = "iam:PermissionsBoundary"
_MAKES = ("new-role", "new-user")
"""Paths that a boundary closes."""
_ANY = "*"
_ROLE_USES = ("iam:PassRole", "sts:AssumeRole")
_BOUNDED = (
    *("iam:CreateRole", "iam:AttachRolePolicy", "iam:PutRolePolicy"),
    *("iam:DetachRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary"),
    *("iam:CreateUser", "iam:AttachUserPolicy", "iam:PutUserPolicy"),
    *("iam:DetachUserPolicy", "iam:DeleteUserPolicy", "iam:PutUserPermissionsBoundary"),
)
"""Actions that take the condition key `iam:PermissionsBoundary`, without those that lift a
boundary.
"""
_LIFTS = ("iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary")
_REWRITES = (
    *("iam:CreatePolicyVersion", "iam:DeletePolicy"),
    *("iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"),
)
"""Actions on the boundary itself."""
_ON_THE_DECLARED = "the boundary allows it on what the declaration makes"
_ON_THE_BOUNDED = "the boundary allows it on the roles that have it"
_MOST_ROUNDS = 200
"""Paths that are closed one after another; the table has fewer."""


class LostNeed(Struct, frozen=True):
    """What the policy of a created role grants and its boundary does not allow."""

    role: str
    """Address in the declaration."""
    action: str
    """The entry of the policy; an action of it where the boundary denies only that."""
    resources: tuple[str, ...]
    reason: str


class BoundaryDraft(Struct, frozen=True):
    """A drafted boundary, and what it does not allow."""

    content: bytes
    """Empty where no role's policies are known, or where no boundary is short enough."""
    lost: tuple[LostNeed, ...] = ()
    left_open: tuple[LostNeed, ...] = ()
    """What it allows because the policies of the roles do: reads of any secret or parameter, and
    actions that no proposal adds, such as one that blinds an audit trail.
    """
    unknown: tuple[str, ...] = ()
    """Policies of the roles that the boundary does not know."""


class Boundary(Struct, frozen=True):
    """A permissions boundary for created roles, offered with what demands it."""

    arn: str
    guards: tuple[Mapping[str, object], ...]
    """The statements for the policy of the role that creates them, which demand and protect it."""
    path: str = ""
    """The file of the draft; empty where no input names one."""
    draft: BoundaryDraft = BoundaryDraft(b"")
    """The draft; empty where the file exists already, or no input names one."""
    is_proved: bool = False
    """With the guards no path makes a role or user without the boundary, and none lifts it."""
    unbounded: tuple[str, ...] = ()
    """Declared roles that do not have the boundary yet, by address."""
    bounded: tuple[str, ...] = ()
    """Declared roles that have it."""

    @property
    def content(self) -> bytes:
        """The draft as a file; empty without one."""
        return self.draft.content


def boundary_for(
    documents: Sequence[Document],
    paths: Sequence[EscalationPath],
    principal: str,
    path: str,
    roles: Sequence[CreatedRole] = (),
    *,
    exists: bool,
) -> Boundary | None:
    """Returns the boundary of the roles that the principal creates; None if it creates none without
    a boundary, and none is asked for.

    Args:
        documents: the proposed policies.
        paths: the open paths of all policies.
        principal: ARN of the role that creates roles.
        path: the file that the input `boundary-file` names, or empty.
        roles: those that templates and plans make.
        exists: the file exists, or no draft may be written.
    """
    makes_roles = any(path.id in _MAKES for path in paths)
    if not (makes_roles or (path and roles)):
        return None
    arn = boundary_arn(path, principal)
    # Statements that ask for the boundary themselves need no Deny.
    asks = is_demanded(documents, (), arn, principal)
    guards = () if asks else guarding_statements(documents, arn)
    has_boundary = {role.address: role.boundary == arn for role in roles}
    return Boundary(
        arn=arn,
        guards=guards,
        is_proved=asks or is_demanded(documents, guards, arn, principal),
        path=path,
        draft=BoundaryDraft(b"") if exists or not path else draft_boundary(roles),
        unbounded=tuple(address for address, is_bounded in has_boundary.items() if not is_bounded),
        bounded=tuple(address for address, is_bounded in has_boundary.items() if is_bounded),
    )


def boundary_arn(path: str, principal: str) -> str:
    """Returns the ARN of the policy that a file has, named like the file."""
    _, partition, _, _, account, _ = principal.split(":", 5)
    name = PurePosixPath(path).stem or "BOUNDARY"
    return f"arn:{partition}:iam::{account}:policy/{name}"


def demanding(needs: Iterable[Need], arn: str) -> list[Need]:
    """Returns needs in which each action on roles or users that takes the boundary as a condition
    asks for one, unless the declaration has one.
    """
    condition = Condition("StringEquals", _KEY, (arn,))
    return [replace(need, permission=_demanding(need.permission, condition)) for need in needs]


def _demanding(permission: Permission, asks: Condition) -> Permission:
    """Returns a permission that asks for the boundary, where it can and does not yet."""
    of_other_keys = [condition for condition in permission.conditions if condition.key != _KEY]
    # A declaration without a boundary says that the key is absent.
    has_one = any(
        condition.key == _KEY and condition.operator != "Null"
        for condition in permission.conditions
    )
    if has_one or permission.action not in _BOUNDED:
        return permission
    return replace(permission, conditions=(*of_other_keys, asks))


def guarding_statements(
    documents: Sequence[Document], arn: str
) -> tuple[Mapping[str, object], ...]:
    """Returns the Deny statements with which the policy of a role demands a boundary of what it
    creates, and with which nothing of it can lift the boundary.

    A request without a boundary has no such key, which `StringNotEquals` denies.
    """
    allows = allow_statements(documents)

    def named(actions: Sequence[str]) -> list[str]:
        return [
            action for action in actions if any(names_action(allow, action) for allow in allows)
        ]

    statements: list[Mapping[str, object]] = []
    demanded, lifts, rewrites = named(_BOUNDED), named(_LIFTS), named(_REWRITES)
    if demanded:
        statements.append(
            {
                "Sid": "OnlyWithTheBoundary",
                "Effect": "Deny",
                "Action": demanded,
                "Resource": "*",
                "Condition": {"StringNotEquals": {_KEY: arn}},
            }
        )
    if lifts:
        statements.append(
            {"Sid": "KeepTheBoundary", "Effect": "Deny", "Action": lifts, "Resource": "*"}
        )
    if rewrites:
        statements.append(
            {"Sid": "KeepItsContents", "Effect": "Deny", "Action": rewrites, "Resource": arn}
        )
    return tuple(statements)


# The draft


class _Grant(Struct, frozen=True):
    """An entry of an Allow statement of a created role."""

    action: str
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


_Granted = dict[_Grant, tuple[str, ...]]
"""Grants -> the roles that have them."""


def draft_boundary(roles: Sequence[CreatedRole]) -> BoundaryDraft:
    """Drafts the boundary of some roles, as exact as the characters of a managed policy allow.

    The first that fits is taken: with resources and conditions of the policies, without conditions,
    with any resource, with wildcards. No path to more permissions is open under any of them.
    """
    unknown = _distinct(*(role.unknown for role in roles))
    granted = _grants_of(roles)
    if not granted:
        return BoundaryDraft(b"", unknown=unknown)
    arns = _distinct(*((role.arn, *role.runs) for role in roles))
    inside = tuple(filter(ends_in_a_name, arns))
    for shorten in (_exact, _without_conditions, _on_any_resource, _with_wildcards):
        drafting = _Drafting(shorten(granted), inside)
        drafting.close()
        document = drafting.document()
        if document.statements and policy_size(document) <= quota(PolicyKind.MANAGED):
            lost = _lost_needs(roles, document, drafting.reasons)
            left_open = tuple(_left_open(roles, document, drafting))
            return BoundaryDraft(document.to_bytes(), lost, left_open, unknown)
    limit = f"{quota(PolicyKind.MANAGED):,}"
    too_long = f"no boundary for all of them has at most {limit} characters: split the roles"
    return BoundaryDraft(b"", unknown=(*unknown, too_long))


def _grants_of(roles: Iterable[CreatedRole]) -> _Granted:
    grants: dict[_Grant, dict[str, None]] = {}
    for role in roles:
        for document in role.policies:
            for statement in document.statements:
                for grant in _grants_in(statement):
                    grants.setdefault(grant, {})[role.address] = None
    return {grant: tuple(users) for grant, users in grants.items()}


def _grants_in(statement: Statement) -> Iterator[_Grant]:
    if statement.effect != "Allow":
        return
    resources = statement.resources or (_ANY,)
    # A grant of all but some actions or resources is one of any.
    for action in statement.actions or (_ANY,):
        yield _Grant(action, tuple(sorted(resources)), statement.conditions)


def _exact(granted: _Granted) -> _Granted:
    return granted


def _without_conditions(granted: _Granted) -> _Granted:
    """The grants without conditions, but those of a role that is passed."""
    return _in_form(
        granted,
        lambda grant: grant if grant.action in _ROLE_USES else replace(grant, conditions=()),
    )


def _on_any_resource(granted: _Granted) -> _Granted:
    """The grants on any resource, but those that are a step of a path."""
    steps = _steps_of_paths()
    return _in_form(
        _without_conditions(granted),
        lambda grant: grant if _is_step(grant.action, steps) else _Grant(grant.action, (_ANY,)),
    )


def _with_wildcards(granted: _Granted) -> _Granted:
    """The grants with the fewest entries for each service, of which none is a step of a path."""
    widened = _on_any_resource(granted)
    actions = [
        grant.action
        for grant in widened
        if grant == _Grant(grant.action, (_ANY,)) and not has_wildcard(grant.action)
    ]
    foreign: list[str] = []
    for prefix in {action.partition(":")[0] for action in actions}:
        # A wildcard allows no action that a role must ask a person for, unless a policy names it.
        names = [name for name in expand(f"{prefix}:*") if name not in actions]
        foreign.extend(name for name in names if _asks_for_a_person(name))
    entries = fewest_entries(actions, foreign, lambda _: True)
    all_roles = _distinct(*widened.values())
    other_grants = {grant: roles for grant, roles in widened.items() if grant.action not in actions}
    return other_grants | {_Grant(entry, (_ANY,)): all_roles for entry in entries}


def _in_form(granted: _Granted, form_of: Callable[[_Grant], _Grant]) -> _Granted:
    """The grants in another form, each with the roles of all that have this form."""
    changed: _Granted = {}
    for grant, roles in granted.items():
        form = form_of(grant)
        changed[form] = _distinct(changed.get(form, ()), roles)
    return changed


def _distinct(*texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*texts)))


@cache
def _steps_of_paths() -> frozenset[str]:
    """The actions of all paths."""
    steps = (step for row in table("escalation") for step in row["actions"].split(","))
    return frozenset(action.removeprefix("@") for step in steps for action in step.split("|"))


def _asks_for_a_person(action: str) -> bool:
    return action in _steps_of_paths() or bool(never_allowed(action) or forbidden(action))


def _is_step(entry: str, steps: Collection[str]) -> bool:
    return any(action_matches(entry, step) for step in steps)


def never_allowed(action: str) -> str:
    """Why a boundary never allows an action, as `it lifts a boundary`; empty where it may."""
    for row in table("boundary_lifts", __package__):
        if action_matches(row["pattern"], action):
            return f"it {row['does']}"
    return ""


class _Drafting:
    """Makes one draft: allows the grants, and takes away what opens a path."""

    def __init__(self, granted: _Granted, inside: Sequence[str]) -> None:
        self.granted = dict(granted)
        self.inside = inside
        """ARNs of the roles and of what runs as one of them: the boundary limits these, too."""
        self.denied: dict[str, tuple[str, ...]] = {}
        """Action that a wildcard grants -> on what the draft allows it even so."""
        self.reasons: dict[str, str] = {}
        """Action -> why the draft does not allow it."""
        self.secrets: dict[str, str] = {}
        """Action that reads any secret or parameter -> the path."""

    def close(self) -> None:
        """Takes away what lifts the boundary, and then what opens a path."""
        for grant in [*self.granted]:
            self._take_forbidden(grant)
        self._keep_roles_inside()
        for _ in range(_MOST_ROUNDS):
            path = next(self._open_paths(), None)
            if path is None:
                return
            self._close_path(path)

    def document(self) -> Document:
        """Returns the draft."""
        return parse(create_policy([*self._allows(), *self._denies()]), "the boundary")

    def _take_forbidden(self, grant: _Grant) -> None:
        if grant.action == _ANY:
            self.reasons[_ANY] = "it grants every action, and a boundary of all is no limit"
            del self.granted[grant]
        elif not has_wildcard(grant.action):
            if reason := never_allowed(grant.action):
                self._take(grant, grant.action, reason)
        else:
            for name in expand(grant.action):
                if reason := never_allowed(name):
                    self._deny(name, reason)

    def _keep_roles_inside(self) -> None:
        """Lets the roles pass and assume no role but those that have the boundary."""
        roles_inside = [arn for arn in self.inside if ":role/" in arn]
        for grant in [*self.granted]:
            outside = [resource for resource in grant.resources if not self._is_inside(resource)]
            if not any(map(has_wildcard, outside)):
                continue
            if has_wildcard(grant.action):
                self._deny_role_uses(grant.action, without_covered(sorted(roles_inside)))
            elif grant.action in _ROLE_USES:
                self._limit_role_use(grant, outside, roles_inside)

    def _limit_role_use(
        self, grant: _Grant, outside: Sequence[str], roles_inside: Sequence[str]
    ) -> None:
        """Limits a grant of passing or assuming roles to those inside that it covers."""
        names = {resource for resource in grant.resources if resource not in outside}
        for role in roles_inside:
            if any(resource_covers(pattern, role) for pattern in outside):
                names.add(role)
        users = self.granted.pop(grant)
        if names:
            limited = replace(grant, resources=without_covered(sorted(names)))
            self.granted[limited] = users
        self.reasons[grant.action] = _ON_THE_BOUNDED

    def _deny_role_uses(self, entry: str, own: tuple[str, ...]) -> None:
        """Denies what a wildcard grants of passing and assuming roles, but on those inside."""
        for use in _ROLE_USES:
            if action_matches(entry, use) and use not in self.denied:
                self._deny(use, _ON_THE_BOUNDED, allowed_on=own)
                self.reasons[use] = _ON_THE_BOUNDED

    def _is_inside(self, resource: str) -> bool:
        """Whether a resource is one of the declaration's or a version of one, `function:a:live`."""
        return any(
            resource_covers(inside_name, resource) or resource.startswith(f"{inside_name}:")
            for inside_name in self.inside
        )

    def _open_paths(self) -> Iterator[EscalationPath]:
        """The paths to what the boundary does not limit."""
        role = next((name for name in self.inside if ":role/" in name), "")
        principal = role.replace(_ANY, "any") or "arn:aws:iam::111122223333:role/any"
        document = self.document()
        if not document.statements:
            return
        for path in escalation_paths([document], principal):
            is_limited = path.strength is Strength.NAMED and all(map(self._is_inside, path.targets))
            # To deny what the roles read breaks them, and a read gives no permission.
            if path.strength is Strength.SECRETS:
                self.secrets.update(dict.fromkeys(path.actions, _reason_of(path)))
            elif not is_limited:
                yield path

    def _close_path(self, path: EscalationPath) -> None:
        reason = _reason_of(path)
        names = {name: self._grants_naming(name) for name in path.actions}
        for name, grants in names.items():
            if all(has_wildcard(grant.action) for grant in grants):
                resources = [resource for grant in grants for resource in grant.resources]
                self._deny(name, reason, allowed_on=self._inside_of(name, resources))
                return
        first = path.actions[0]
        for grant in names[first]:
            if has_wildcard(grant.action):
                self._deny(first, reason)
            elif not self._keep_inside(grant):
                self._take(grant, first, reason)

    def _inside_of(self, action: str, resources: Sequence[str]) -> tuple[str, ...]:
        """What runs as one of the roles, of the resources of a grant that an action takes."""
        kept: list[str] = []
        for arn in self.inside:
            if fits(action, arn) and any(resource_covers(one, arn) for one in resources):
                kept += (arn, *_parts_of(arn, action))
        return without_covered(sorted(kept))

    def _keep_inside(self, grant: _Grant) -> bool:
        """Limits a grant to what runs as one of the roles, which the boundary limits, too; whether
        that is less.
        """
        resources = self._inside_of(grant.action, grant.resources)
        if not resources or resources == grant.resources:
            return False
        users = self.granted.pop(grant)
        limited = replace(grant, resources=resources)
        self.granted[limited] = _distinct(self.granted.get(limited, ()), users)
        self.reasons[grant.action] = _ON_THE_DECLARED
        return True

    def _grants_naming(self, action: str) -> list[_Grant]:
        return [grant for grant in self.granted if action_matches(grant.action, action)]

    def _take(self, grant: _Grant, action: str, reason: str) -> None:
        self.reasons.setdefault(action, reason)
        self.granted.pop(grant, None)

    def _deny(self, action: str, reason: str, *, allowed_on: tuple[str, ...] = ()) -> None:
        if action in self.denied or not allowed_on:
            self.reasons[action] = reason
            self.denied[action] = ()
        else:
            self.reasons.setdefault(action, _ON_THE_DECLARED)
            self.denied[action] = allowed_on

    def _allows(self) -> Iterator[dict[str, object]]:
        by_place = grouped(
            ((grant.resources, grant.conditions), grant.action) for grant in self.granted
        )
        for (resources, conditions), actions in by_place.items():
            statement: dict[str, object] = {
                "Effect": "Allow",
                "Action": _without_covered_actions(actions),
                "Resource": list(resources),
            }
            if conditions:
                statement["Condition"] = condition_block(conditions)
            yield statement

    def _denies(self) -> Iterator[dict[str, object]]:
        """Yields the Deny of a boundary on actions that give a role more permissions, in the fewest
        entries that deny no needed action.
        """
        if not self.denied:
            return
        wild = [grant.action for grant in self.granted if has_wildcard(grant.action)]
        named_actions = {grant.action for grant in self.granted if not has_wildcard(grant.action)}
        for entry in wild:
            named_actions.update(expand(entry))
        by_exception = grouped((allowed_on, action) for action, allowed_on in self.denied.items())
        for allowed_on, actions in by_exception.items():
            entries = fewest_entries(tuple(actions), named_actions - {*actions}, lambda _: True)
            deny: dict[str, object] = {"Effect": "Deny", "Action": list(entries)}
            if allowed_on:
                deny["NotResource"] = list(allowed_on)
            else:
                deny["Resource"] = _ANY
            yield deny


def _parts_of(arn: str, action: str) -> Iterator[str]:
    """Yields the versions of what an ARN names, where an action takes them: `job-definition/a:*`
    of `job-definition/a`.
    """
    facts = catalog.action(action)
    forms = [resource_type.arn for resource_type in facts.resource_types] if facts else []
    for form in forms:
        pattern = VARIABLE.sub(_ANY, form)
        is_whole = resource_covers(pattern, arn) and pattern.count(":") == arn.count(":")
        if is_whole and any(other.startswith(f"{form}:") for other in forms):
            yield f"{arn.rstrip(_ANY)}{_ANY}" if arn.endswith(_ANY) else f"{arn}:{_ANY}"


def _reason_of(path: EscalationPath) -> str:
    how = path.how.replace("{", "").replace("}", "")
    return f"it opens a path: {how}"


def _left_open(
    roles: Sequence[CreatedRole], document: Document, drafting: _Drafting
) -> Iterator[LostNeed]:
    """Yields what a draft allows that a person should look at, by role."""
    found: dict[LostNeed, None] = {}
    for role in roles:
        for grant in _grants_of([role]):
            for action, reason in drafting.secrets.items():
                if action_matches(grant.action, action):
                    found[LostNeed(role.address, action, grant.resources, reason)] = None
            for action in _actions_of(grant):
                reason = forbidden(action)
                if reason and any(
                    _allows(document, action, on, role.arn) for on in grant.resources
                ):
                    found[LostNeed(role.address, action, grant.resources, f"it {reason}")] = None
    yield from found


def _actions_of(grant: _Grant) -> tuple[str, ...]:
    """The actions that a grant names; itself where no table lists them."""
    if has_wildcard(grant.action) and grant.action != _ANY:
        return expand(grant.action) or (grant.action,)
    return (grant.action,)


def _without_covered_actions(actions: Sequence[str]) -> list[str]:
    wild = [action for action in actions if has_wildcard(action)]
    return sorted(
        {
            action
            for action in actions
            if not any(wildcard != action and action_covers(wildcard, action) for wildcard in wild)
        }
    )


# What a boundary does not allow


def lost_needs(roles: Sequence[CreatedRole], boundary: Document) -> tuple[LostNeed, ...]:
    """Returns what the policies of roles grant and a boundary does not allow."""
    return _lost_needs(roles, boundary, {})


def _lost_needs(
    roles: Sequence[CreatedRole], boundary: Document, reasons: Mapping[str, str]
) -> tuple[LostNeed, ...]:
    lost: dict[LostNeed, None] = {}
    for role in roles:
        for grant in _grants_of([role]):
            for denied in _denied_parts(grant, boundary, role.arn):
                reason = _reason(denied.action, grant.action, reasons)
                need = LostNeed(role.address, denied.action, denied.resources, reason)
                lost[need] = None
    return tuple(lost)


def _reason(action: str, entry: str, reasons: Mapping[str, str]) -> str:
    return reasons.get(action) or reasons.get(entry) or never_allowed(action) or _NOT_ALLOWED


_NOT_ALLOWED = "the boundary does not allow it"


def _denied_parts(grant: _Grant, boundary: Document, role: str) -> Iterator[_Grant]:
    """The actions of a grant that a boundary does not allow on each of its resources."""
    for action in _actions_of(grant):
        denied = tuple(
            resource
            for resource in grant.resources
            if (resource == _ANY or fits(action, resource))
            and not _allows(boundary, action, resource, role)
        )
        if denied:
            yield _Grant(action, denied)


def _allows(boundary: Document, action: str, resource: str, role: str) -> bool:
    """Whether a boundary allows an action on a whole pattern of resources, whatever its conditions
    ask for.
    """
    if has_variable(resource):
        # A variable has the same value in both documents.
        return _is_allowed_as_written(boundary, action, resource)
    need = Need(Permission(action, resource), Basis.DECLARED, "")
    effect = replay_need(need, role, "", [boundary])
    return effect in ("allowed", "unknown")


def _is_allowed_as_written(boundary: Document, action: str, resource: str) -> bool:
    """Whether a boundary allows an action on a resource with variables, whatever its conditions ask
    for: one Allow covers the resource, and no Deny without conditions may name a part of it.
    """
    naming = [statement for statement in boundary.statements if names_action(statement, action)]
    allows = [statement for statement in naming if statement.effect == "Allow"]
    denies = [
        statement
        for statement in naming
        if statement.effect == "Deny" and statement.conditions_readable and not statement.conditions
    ]
    is_allowed = any(_names_whole(allow, resource) for allow in allows)
    return is_allowed and not any(_may_name(deny, resource) for deny in denies)


def _names_whole(statement: Statement, resource: str) -> bool:
    """Whether a statement names all that a pattern of resources names."""
    if statement.not_resources:
        return not _overlaps_any(statement.not_resources, resource, statement)
    return _is_covered(statement.resources, resource, statement)


def _may_name(statement: Statement, resource: str) -> bool:
    """Whether a statement may name a part of what a pattern of resources names."""
    if statement.not_resources:
        return not _is_covered(statement.not_resources, resource, statement)
    return _overlaps_any(statement.resources, resource, statement)


def _is_covered(entries: Iterable[str], resource: str, statement: Statement) -> bool:
    variables = statement.variables
    return any(resource_covers(entry, resource, variables=variables) for entry in entries)


def _overlaps_any(entries: Iterable[str], resource: str, statement: Statement) -> bool:
    variables = statement.variables
    return any(resource_overlaps(entry, resource, variables=variables) for entry in entries)


def is_demanded(
    documents: Sequence[Document],
    guards: Sequence[Mapping[str, object]],
    arn: str,
    principal: str,
) -> bool:
    """Whether policies with the guarding statements create no role without the boundary, and cannot
    lift it, by the evaluator.
    """
    guarded = [*documents]
    if guards:
        guarded.append(parse(create_policy(guards), "guards"))
    if any(path.id in _MAKES for path in escalation_paths(guarded, principal)):
        return False
    lifting = [Need(Permission(action, _ANY), Basis.DECLARED, "") for action in _LIFTS]
    lifting += [Need(Permission(action, arn), Basis.DECLARED, "") for action in _REWRITES]
    effects = (replay_need(need, principal, "", guarded) for need in lifting)
    return not any(effect.startswith("allowed") for effect in effects)
