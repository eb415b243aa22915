"""Derives the needs of a declaration: the actions of each phase that the set properties ask for, on
named resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.budget import LIMITS, Budget
from leastpriv.declared.linked_roles import (
    CREATE_LINKED_ROLE,
    LinkedRole,
    is_of_linked_role,
    linked_roles_of,
)
from leastpriv.declared.models import (
    UNKNOWN,
    Declaration,
    DeclaredResource,
    JsonMember,
    OpenText,
    Place,
    Reference,
    leaves,
    members,
    open_text,
)
from leastpriv.declared.resource_arns import ActionArns, Arns
from leastpriv.declared.resource_types import own_types, plain
from leastpriv.models import Basis, Condition, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import without_build_step_names
from leastpriv.permissions.event_table import facts_of
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.property_rules import NEVER, Kind, deciding_properties, kind_of, words_of
from leastpriv.permissions.tool_lifecycle import (
    PROVIDER_CALLS,
    Phase,
    ResourceKind,
    Tool,
    actions_of_phase,
    conditions_of,
    is_custom,
    making_actions,
    tag_actions,
    tag_property,
    types_made_by,
)

_PASS_ROLE = "iam:PassRole"  # noqa: S105 - the name of an action
_DELETES = re.compile("Delete|Remove")
_KEY_USE = re.compile("kms:(Encrypt|Decrypt|GenerateDataKey|ReEncrypt)")
_TAKES_AWAY = re.compile(
    "Delete|Remove|Detach|Disassociate|Unsubscribe|Revoke|Deregister|Promote|Unmonitor"
)
_TURNS = re.compile("Modify|Update|Put|Set")
_UNTAGS = re.compile(r"Untag|RemoveTags|DeleteTags|Delete\w*Tagging")
_ROLE_KEY = re.compile("role|profile|credential", re.IGNORECASE)
_HOLDS_ROLE = re.compile("(role|instance_?profile)s?(_?arns?)?$", re.IGNORECASE)
_FREE_TEXT = re.compile(
    "environment|variables|parameters|substitutions|policy|tags|metadata", re.IGNORECASE
)
"""Properties whose members a person names."""
_NAME = re.compile(r"[\w+=,.@-]+")
_HOLDERS = ("role", "instance-profile")
_ROLE_ARN = re.compile(r"arn:[^:]+:iam::[^:]*:role/.+")
_ANY_ROLE = re.compile(r":role/\*?$")
_OF_ROLE = ":role/"
_LINKED_PATH = "/aws-service-role/"
_MOST_VALUES = 2_000
"""Values of one resource that may hold a role."""


def needs_of(declaration: Declaration, place: Place) -> tuple[Need, ...]:
    """Returns the needs of a declaration, one for each action, resource and conditions, in order of
    first use.

    Raises:
        TooLargeError: the declaration asks for more work than its budget has.
    """
    declared_place = replace(place, region=declaration.region or place.region)
    # By the time of the processor: a busy machine makes no honest plan too large.
    budget = Budget(LIMITS["needs"])
    deriving = _Deriving(declaration, declared_place, budget)
    need_by_permission: dict[Permission, Need] = {}
    addresses_by_permission: dict[Permission, set[str]] = {}
    for resource in declaration.resources:
        for phase in resource.phases:
            for need in deriving.needs(resource, phase):
                need_by_permission.setdefault(need.permission, need)
                addresses = addresses_by_permission.setdefault(need.permission, set())
                addresses.add(resource.address)
    for permission, addresses in addresses_by_permission.items():
        if len(addresses) > 1:
            need = need_by_permission[permission]
            because = f"{need.because}, and {len(addresses) - 1} more"
            need_by_permission[permission] = replace(need, because=because)
    for need in (*declaration.reads, *declaration.calls):
        need_by_permission.setdefault(need.permission, need)
    return tuple(
        without_build_step_names(_in_plain_text(need)) for need in need_by_permission.values()
    )


def _in_plain_text(need: Need) -> Need:
    """Returns a need whose texts are those of a policy, and no longer open ones."""
    permission = need.permission
    conditions = tuple(
        replace(condition, values=tuple(map(str, condition.values)))
        for condition in permission.conditions
    )
    in_plain_text = Permission(str(permission.action), str(permission.resource), conditions)
    return replace(need, permission=in_plain_text, because=str(need.because))


def _because(resource: DeclaredResource, phase: Phase) -> str:
    """The resource with its type, which an address of Terraform has already, and the phase."""
    kind = resource.kind.name
    name = resource.address if kind in resource.address else f"{kind} {resource.address}"
    return f"{name} ({phase})"


class _RoleValue(Struct, frozen=True):
    """A value of a property that may hold a role."""

    value: object
    name: str
    """Name of the role where the value holds one with certainty; else empty."""


class _Deriving:
    """Derives the needs of the resources of one declaration."""

    def __init__(self, declaration: Declaration, place: Place, budget: Budget) -> None:
        self.declaration = declaration
        self.place = place
        self.budget = budget
        self.arns = Arns(declaration, place, budget)
        self.existing_roles = {
            role.resource
            for resource in declaration.existing
            for role in linked_roles_of(resource.kind)
            if self._asks_for(role, resource)
        }
        """The service-linked roles that the account has."""

    def needs(self, resource: DeclaredResource, phase: Phase) -> Iterator[Need]:
        """Yields the needs of one phase of a resource."""
        because = _because(resource, phase)
        if is_custom(resource.kind):
            if phase is not Phase.READ:
                yield self._of_custom(resource, because)
            return
        for action in needed_actions(resource, phase, self.arns):
            if action == _PASS_ROLE:
                yield from self._passed(resource, because)
            else:
                yield from self._on_resource(action, resource, because)
        if phase is Phase.CREATE:
            yield from self._linked_roles(resource, because)

    def _on_resource(self, action: str, resource: DeclaredResource, because: str) -> Iterator[Need]:
        """Yields the needs of an action on each ARN that it is about."""
        if action == "ec2:CreateTags" and resource.kind.name == "aws_ec2_tag":
            yield from self._one_tag(resource, because)
            return
        arns = self._arns_of(action, resource)
        derivation = "the name in the declaration" if arns.is_named else "the pattern of its type"
        for arn in arns.arns:
            conditions = tuple(self._conditions(action, arn, resource))
            permission = Permission(action, arn, conditions)
            yield Need(permission, Basis.DECLARED, derivation, because, exact=arns.is_named)

    def _one_tag(self, resource: DeclaredResource, because: str) -> Iterator[Need]:
        """The need of a tag on a resource of any type of Amazon EC2: its key names it where the
        declaration knows no resource.
        """
        tagged = self._arns_of("ec2:CreateTags", resource)
        arns = tagged.arns if tagged.is_named else ("*",)
        key = resource.properties.get("key")
        conditions: tuple[Condition, ...] = ()
        if isinstance(key, str):
            conditions = (Condition("ForAllValues:StringEquals", "aws:TagKeys", (key,)),)
        for arn in arns:
            permission = Permission("ec2:CreateTags", arn, conditions)
            derivation = "the key of the tag"
            yield Need(permission, Basis.DECLARED, derivation, because, exact=tagged.is_named)

    def _arns_of(self, action: str, resource: DeclaredResource) -> ActionArns:
        """The ARNs of an action, in another service those that the properties name that ask for it:
        the bucket of logs.
        """
        arns = self.arns.of_action(action, resource)
        paths = conditions_of(resource.kind).get(action, ())
        if not paths or _is_of_making_service(action, resource.kind):
            return arns
        if any(re.search("[*~-]", path) for path in paths):
            return arns
        asking = replace(resource, properties=_properties_of(resource.properties, paths))
        narrow = self.arns.of_action(action, asking)
        is_as_known = "".join(narrow.arns).count(UNKNOWN) <= "".join(arns.arns).count(UNKNOWN)
        if narrow.is_named and len(narrow.arns) == len(arns.arns) and is_as_known:
            return narrow
        return arns

    def _conditions(self, action: str, on: str, resource: DeclaredResource) -> Iterator[Condition]:
        """The condition keys of a request by the properties of what it is about, `Null` for a key
        that AWS leaves out.
        """
        for condition_key in _condition_keys(action):
            text = self._key_text(on, condition_key.properties, resource)
            if not text:
                yield Condition("Null", condition_key.name, ("true",))
            elif UNKNOWN not in text:
                yield Condition("StringEquals", condition_key.name, (text,))

    def _key_text(self, on: str, properties: frozenset[str], resource: DeclaredResource) -> str:
        """The value of the first set property of what a request is about; empty where none is set,
        UNKNOWN where the declaration does not have it.
        """
        about = (each for each in self.arns.related(resource) if self.arns.own_arn(each) == on)
        requested = next(about, None)
        if requested is None:
            return UNKNOWN
        for name in properties:
            value = requested.properties.get(name)
            if value is not None:
                return self.arns.text(value)
        return ""

    def _of_custom(self, resource: DeclaredResource, because: str) -> Need:
        """The call of the provider of a custom resource."""
        provider = self.arns.text(resource.properties.get("ServiceToken"))
        action = PROVIDER_CALLS[":sns:" in provider]
        is_named = provider.startswith("arn:")
        target_arn = provider if is_named else self.arns.pattern("lambda", "function")
        derivation = "the provider that it names"
        return Need(
            Permission(action, target_arn), Basis.DECLARED, derivation, because, exact=is_named
        )

    def _linked_roles(self, resource: DeclaredResource, because: str) -> Iterator[Need]:
        """The making of service-linked roles, which AWS does with the first resource in an
        account.
        """
        for role in linked_roles_of(resource.kind):
            if role.resource in self.existing_roles or not self._asks_for(role, resource):
                continue
            condition = Condition("StringEquals", "iam:AWSServiceName", (role.service,))
            arn = f"arn:{self.place.partition}:iam::{self.place.account}:{role.resource}"
            permission = Permission(CREATE_LINKED_ROLE, arn, (condition,))
            yield Need(
                permission,
                Basis.DECLARED,
                "the service-linked role of its type",
                f"{because} where the account has no such role yet",
            )

    def _asks_for(self, role: LinkedRole, resource: DeclaredResource) -> bool:
        """Whether the properties of a resource make AWS create a service-linked role."""
        for name in role.unless:
            if _has_value(resource.properties.get(name), CREATE_LINKED_ROLE, name):
                return False
        if not role.when:
            return True
        return any(_is_set(resource, path, CREATE_LINKED_ROLE, self.arns) for path in role.when)

    def _passed(self, resource: DeclaredResource, because: str) -> Iterator[Need]:
        """PassRole on each role that the properties name, with the service that receives it."""
        if resource.changed is not None and resource.kind.tool is Tool.TERRAFORM:
            # Terraform's provider sends what changes.
            properties = resource.properties.items()
            sent = {name: value for name, value in properties if name in resource.changed}
            resource = replace(resource, properties=sent)
        for role_value in dict.fromkeys(self._role_values(resource)):
            arn = self._role_arn(role_value.value)
            if not arn and role_value.name and _LINKED_PATH not in self.arns.text(role_value.value):
                # A role that only the deployment knows, as the value of another stack or the role
                # of a profile, or a name.
                arn = self.arns.pattern("iam", "role").removesuffix(UNKNOWN) + role_value.name
            if not arn:
                continue
            services = self._services(resource, role_value.value)
            arns = [arn]
            if resource.kind.tool is Tool.TERRAFORM and _ANY_ROLE.search(arn):
                arns = self._roles_that_trust(services) or arns
            conditions: tuple[Condition, ...] = ()
            if services:
                conditions = (Condition("StringEquals", "iam:PassedToService", services),)
            derivation = "the role that it names"
            for on in arns:
                permission = Permission(_PASS_ROLE, on, conditions)
                is_named = not _ANY_ROLE.search(on)
                yield Need(permission, Basis.DECLARED, derivation, because, exact=is_named)

    def _roles_that_trust(self, services: tuple[str, ...]) -> list[str]:
        """The roles of the plan that one of some services may assume: what a local or a value that
        only the deployment knows may hold.
        """
        roles = []
        for address, trusted in self.declaration.trusts.items():
            role = self.declaration.by_address.get(address)
            if role and not set(services).isdisjoint(trusted):
                roles.append(self.arns.own_arn(role))
        return list(dict.fromkeys(roles))

    def _role_values(self, resource: DeclaredResource) -> Iterator[_RoleValue]:
        """The properties that may hold a role, by key or value, with those of the launch templates
        that a resource refers to.
        """
        pending = [JsonMember(key, value) for key, value in resource.properties.items()]
        followed = {resource.address}
        for _ in range(_MOST_VALUES):
            if not pending:
                return
            member = pending.pop()
            if _FREE_TEXT.search(member.key):
                continue
            pending.extend(_inner_members(member))
            target = self.declaration.target(member.value)
            if target and _makes(target, "launch-template"):
                if target.address not in followed:
                    followed.add(target.address)
                    pending.extend(
                        JsonMember(key, value) for key, value in target.properties.items()
                    )
                continue
            role_value = _role_value(member, target)
            if role_value:
                yield role_value

    def _role_arn(self, value: object) -> str:
        """The ARN of a role that a property holds as ARN, name or reference, through an instance
        profile too; empty for another value.
        """
        text = self.arns.text(value)
        if not isinstance(value, Reference) and _ROLE_ARN.fullmatch(text):
            return "" if _LINKED_PATH in text else text
        target = self.declaration.target(value)
        if target is None and _NAME.fullmatch(text):
            target = self._first(self.declaration.by_name.get(text, ()), *_HOLDERS)
        if target and _makes(target, "instance-profile"):
            target = self._role_of_profile(target)
        return self.arns.own_arn(target) if target and _makes(target, "role") else ""

    def _role_of_profile(self, profile: DeclaredResource) -> DeclaredResource | None:
        """The role of an instance profile, by reference or name; None where none is declared."""
        for value in leaves(profile.properties):
            target = self.declaration.target(value)
            roles = [target] if target else []
            if isinstance(value, str):
                roles.extend(self.declaration.by_name.get(open_text(value), ()))
            if role := self._first(roles, "role"):
                return role
        return None

    def _first(self, resources: Iterable[DeclaredResource], *kinds: str) -> DeclaredResource | None:
        """The first resource of one of some types; None without one."""
        return next((resource for resource in resources if _makes(resource, *kinds)), None)

    def _services(self, resource: DeclaredResource, value: object) -> tuple[str, ...]:
        """The services that the role is passed to: those of AWS's tables that the role's trust
        policy names.
        """
        trusted: tuple[str, ...] = ()
        if isinstance(value, Reference):
            trusted = self.declaration.trusts.get(value.address, ())
        listed_services: set[str] = set()
        is_unclear = False
        for action in making_actions(resource.kind):
            facts = facts_of(action)
            listed_services.update(facts.services)
            for services in facts.passed_to.values():
                listed_services.update(services)
                # Of App Runner's roles, AWS compares another service than their trust policies
                # name.
                is_unclear = is_unclear or len(services) > 1
        listed_and_trusted = listed_services.intersection(trusted)
        if listed_and_trusted and not is_unclear:
            return tuple(sorted(listed_and_trusted))
        # The principal of a region, `states.eu-west-1`, is the service without it.
        prefixes = {service.partition(".")[0] for service in listed_services}
        for service in trusted:
            if UNKNOWN not in service and service.partition(".")[0] not in prefixes:
                listed_services.add(service)
        return tuple(sorted(listed_services))


def _inner_members(member: JsonMember) -> Iterator[JsonMember]:
    """The members of a block, or the elements of a list, which have its key."""
    if isinstance(member.value, Mapping):
        # `Name` in the block `IamInstanceProfile` is that of a profile.
        is_of_role = _HOLDS_ROLE.search(member.key) is not None
        for name, value in member.value.items():
            yield JsonMember(member.key if is_of_role else name, value)
    elif isinstance(member.value, list):
        for element in member.value:
            yield JsonMember(member.key, element)


def _role_value(member: JsonMember, target: DeclaredResource | None) -> _RoleValue | None:
    """The value of a property that may hold a role, by its key, its text, or the resource that it
    refers to (`target`); None for another value.
    """
    key = member.key
    value = member.value
    is_of_role = _ROLE_KEY.search(key) is not None
    if isinstance(value, Reference):
        if is_of_role or (target and _makes(target, *_HOLDERS)):
            return _RoleValue(value, UNKNOWN if _HOLDS_ROLE.search(key) else "")
    elif isinstance(value, str) and (is_of_role or _ROLE_ARN.fullmatch(value)):
        return _RoleValue(value, _role_name(key, value))
    return None


def _role_name(key: str, value: str) -> str:
    """The name of the role that a text holds with certainty; else empty."""
    if not _HOLDS_ROLE.search(key):
        return ""
    if "profile" in key.lower():
        return UNKNOWN
    if _OF_ROLE in value and not _ROLE_ARN.fullmatch(value):
        # The account is written as AWS does not read it, as `${AWS::AccountId}` without a function.
        return value.rpartition(_OF_ROLE)[2]
    return value if isinstance(value, OpenText) or _NAME.fullmatch(value) else ""


def _makes(resource: DeclaredResource, *types: str) -> bool:
    """Whether a resource is of one of some resource types of IAM: `role`, `launch-template`."""
    return any(resource_type.name in types for resource_type in own_types(resource.kind))


def _properties_of(properties: Mapping[str, object], paths: Iterable[str]) -> dict[str, object]:
    """The properties of some paths alone: of `Logs.Bucket` the block with this one member."""
    chosen: dict[str, object] = {}
    for path in paths:
        name, _, inner = path.partition(".")
        value = properties.get(name)
        if inner and isinstance(value, Mapping):
            value = {inner: value.get(inner)}
        chosen[name] = value
    return chosen


class _ConditionKey(Struct, frozen=True):
    """A condition key whose value a property holds."""

    name: str
    properties: frozenset[str]


@lru_cache(maxsize=4_096)
def _condition_keys(action: str) -> tuple[_ConditionKey, ...]:
    """The condition keys of an action whose values properties hold."""
    return tuple(
        _ConditionKey(row["key"], frozenset(row["properties"].split(",")))
        for row in table("condition_properties", __package__)
        if action in row["actions"].split(",")
    )


# Which actions the properties ask for


def needed_actions(resource: DeclaredResource, phase: Phase, arns: Arns) -> tuple[str, ...]:
    """Returns the actions of a phase that a resource needs with the properties it sets."""
    words = _property_words(resource.properties)
    actions = [
        action
        for action in actions_of_phase(resource.kind, phase)
        if _is_needed(action, resource, phase, words, arns)
    ]
    for more_need in _more_needs(resource.kind, phase):
        if not more_need.when or any(_is_set(resource, path, "", arns) for path in more_need.when):
            actions.extend(more_need.actions)
    return tuple(dict.fromkeys(actions))


class _MoreNeeds(Struct, frozen=True):
    """Actions of a phase that the tables of types do not have."""

    actions: tuple[str, ...]
    when: tuple[str, ...]
    """Properties of which one is set; empty: always."""


@lru_cache(maxsize=4_096)
def _more_needs(kind: ResourceKind, phase: Phase) -> tuple[_MoreNeeds, ...]:
    """The further actions of a phase of a type."""
    return tuple(
        _MoreNeeds(tuple(row["actions"].split(",")), tuple(filter(None, row["when"].split("|"))))
        for row in table("more_needs", __package__)
        if row["phase"] == phase and kind.name in row["types"].split(",")
    )


def _is_needed(
    action: str,
    resource: DeclaredResource,
    phase: Phase,
    words: Mapping[str, frozenset[str]],
    arns: Arns,
) -> bool:
    """Whether a resource needs an action of a phase; `words`: those of its properties."""
    kind = resource.kind
    if is_of_linked_role(action, kind) or action in _deletions_not_made(kind, phase):
        return False
    is_of_tags = action in tag_actions(kind)
    if is_of_tags and not catalog.is_read(action) and not _needs_tags(action, resource, phase):
        return False
    if action == _PASS_ROLE:
        return True
    paths = conditions_of(kind).get(action)
    if paths is None and not is_of_tags:
        paths = _deciding_paths(action, resource, words)
    paths_of_phase = _paths_of_phase(paths or (), phase)
    if not paths_of_phase:
        return True
    asking = [path for path in paths_of_phase if path != NEVER]
    may_set_any = resource.any_update and phase is Phase.UPDATE
    # For an action of another service, only a set property asks.
    if may_set_any and _is_of_making_service(action, kind):
        return bool(asking)
    return any(_is_set(resource, path, action, arns) for path in asking)


def _deciding_paths(
    action: str, resource: DeclaredResource, words: Mapping[str, frozenset[str]]
) -> tuple[str, ...]:
    """The properties that decide about an action by their names: none where the action is always
    needed, NEVER where no property can ask for it.
    """
    kind = resource.kind
    deciding = deciding_properties(action, _kind(kind), words)
    if not deciding and _is_of_absent_property(action, kind, words):
        return (NEVER,)
    is_update = resource.changed is not None and deciding != (NEVER,)
    if kind.tool is Tool.TERRAFORM or is_update:
        return deciding
    return ()


def _paths_of_phase(paths: Iterable[str], phase: Phase) -> list[str]:
    """The properties that decide in a phase: `update@monitoring` does in that of updates alone."""
    paths_of_phase: list[str] = []
    for path in paths:
        only_phase, _, property_path = path.rpartition("@")
        if only_phase in ("", phase):
            paths_of_phase.append(property_path)
    return paths_of_phase


def _is_of_making_service(action: str, kind: ResourceKind) -> bool:
    """Whether an action is of a service that makes a type."""
    service = action.partition(":")[0]
    return any(making_action.partition(":")[0] == service for making_action in making_actions(kind))


def _is_of_absent_property(
    action: str, kind: ResourceKind, words: Mapping[str, frozenset[str]]
) -> bool:
    """Whether only a property asks for an action that a plan of an older provider does not have:
    an absent property is not set.
    """
    if kind.tool is not Tool.TERRAFORM or catalog.is_read(action):
        return False
    deciding = _deciding_elsewhere(action, kind)
    present = {plain(part) for path in words for part in path.split(".")}
    return bool(deciding) and deciding.isdisjoint(present)


@lru_cache(maxsize=4_096)
def _deciding_elsewhere(action: str, kind: ResourceKind) -> frozenset[str]:
    """The properties that decide about an action in the CloudFormation types that the same actions
    make, by their letters.
    """
    makers = making_actions(kind)
    if action in makers:
        return frozenset()
    made_types = [made_type for maker in makers for made_type in types_made_by(maker)]
    deciding: set[str] = set()
    for made_type in made_types:
        if made_type.tool is kind.tool:
            continue
        for path in conditions_of(made_type).get(action, ()):
            if path != NEVER:
                properties = re.split(r"[.~]", path.rpartition("@")[2])
                deciding.update(map(plain, properties))
    return frozenset(deciding)


@lru_cache(maxsize=4_096)
def _deletions_not_made(kind: ResourceKind, phase: Phase) -> frozenset[str]:
    """The deletions that a phase lists and Terraform does not make: it deletes no resource that it
    creates or reads.
    """
    if kind.tool is not Tool.TERRAFORM or phase not in (Phase.CREATE, Phase.READ):
        return frozenset()
    deletions = actions_of_phase(kind, Phase.DELETE)
    return frozenset(action for action in deletions if _DELETES.match(action.partition(":")[2]))


def _needs_tags(action: str, resource: DeclaredResource, phase: Phase) -> bool:
    """Whether a phase sends tags by an action, or removes them."""
    if phase is Phase.DELETE:
        return False
    if resource.any_update and phase is Phase.UPDATE:
        return True
    has_system_tags = tag_property(resource.kind).has_system_tags and phase is Phase.CREATE
    if not (resource.tagged or has_system_tags):
        return False
    # An update sends the tags that it changes.
    if not any("tag" in name.lower() for name in resource.changed or ("tags",)):
        return False
    is_removal = _UNTAGS.match(action.partition(":")[2]) is not None
    return phase is Phase.UPDATE or not is_removal


@lru_cache(maxsize=4_096)
def _kind(kind: ResourceKind) -> Kind:
    """The type as the rule of names takes it."""
    deletes = actions_of_phase(kind, Phase.DELETE)
    reads = actions_of_phase(kind, Phase.READ)
    return kind_of(kind.name, making_actions(kind), deletes, reads)


def _property_words(properties: Mapping[str, object]) -> dict[str, frozenset[str]]:
    """The properties of two levels, with the words of their names; a block without a value counts
    too.
    """
    words_by_property: dict[str, frozenset[str]] = {}
    for name, value in properties.items():
        words_by_property[name] = words_of(name)
        if "tag" in name:
            continue
        for block in _blocks(value):
            for inner in block:
                words_by_property[f"{name}.{inner}"] = words_of(inner)
    return words_by_property


def _blocks(value: object) -> list[Mapping[str, object]]:
    """The blocks of a property, which has one or a list of them; none for another value."""
    elements = value if isinstance(value, list) else [value]
    return [element for element in elements if isinstance(element, Mapping)]


class _PropertyPath(Struct, frozen=True):
    """A property that asks for an action, as the tables write it: `Logs.Bucket!~arn:`."""

    name: str
    inner: str
    """The member of its block; empty without one."""
    is_always_sent: bool
    """Whether each update sends it (`!`), also one that does not change it."""
    text: str
    """The text that its value must have (`~`); empty: any value."""

    @classmethod
    @lru_cache(maxsize=4_096)
    def of(cls, path: str) -> Self:
        """Parses a path."""
        property_path, _, text = path.partition("~")
        name, _, inner = property_path.removesuffix("!").partition(".")
        return cls(name, inner, is_always_sent=property_path.endswith("!"), text=text)


def _is_set(resource: DeclaredResource, path: str, action: str, arns: Arns) -> bool:
    """Whether a property has a value, or one with a certain text; false counts for an action that
    switches off.
    """
    if "*" in path:
        return _has_member(resource, path, action)
    asking = _PropertyPath.of(path)
    value = resource.properties.get(asking.name)
    if resource.changed is not None:
        is_asked = _asks_by_change(asking, value, action, resource.changed)
        if is_asked is not None:
            return is_asked
    if asking.text:
        return str(value) == asking.text or arns.may_hold(value, asking.text)
    if asking.inner:
        return _has_inner_value(value, action, asking.inner)
    if value == {} and resource.kind.tool is Tool.CLOUDFORMATION:
        # An empty block asks for the defaults, as `GenerateSecretString: {}` does.
        return True
    return _has_value(value, action, asking.name)


def _asks_by_change(
    asking: _PropertyPath, value: object, action: str, changed: frozenset[str]
) -> bool | None:
    """Whether an update asks for an action by what it changes; None where the value decides.

    Args:
        asking: the property that asks.
        value: its value after the update.
        action: the action.
        changed: the properties that the update changes.
    """
    is_sent = asking.is_always_sent or asking.name in changed
    # A key is used for each change of what it encrypts.
    if not is_sent and not _KEY_USE.match(action):
        return False
    verb = action.partition(":")[2]
    if isinstance(value, bool) and _TURNS.match(verb):
        return True
    if asking.is_always_sent or not _TAKES_AWAY.match(verb):
        return None
    # A member of a list may be gone, and what has no value any more is.
    return isinstance(value, list | Mapping) or not _has_value(value, action, asking.name)


def _has_inner_value(value: object, action: str, inner: str) -> bool:
    """Whether a member of a block has a value, in one of the blocks of a property."""
    if isinstance(value, str):
        # The path of a local file, which `aws cloudformation package` uploads and replaces by its
        # bucket and key.
        return bool(value) and inner.endswith(("Bucket", "Key"))
    return any(_has_value(block.get(inner), action, inner) for block in _blocks(value))


def _has_member(resource: DeclaredResource, pattern: str, action: str) -> bool:
    """Whether a member of a name has a value, at any depth of the sent values."""
    sent = resource.changed or resource.properties
    values = {name: resource.properties.get(name) for name in sent}
    for member in members(values):
        if fnmatchcase(member.key, pattern) and _has_value(member.value, action, member.key):
            return True
    return False


def _has_value(value: object, action: str, name: str) -> bool:
    """Whether the value of a property asks for an action: one that is on asks for nothing that
    switches it off.
    """
    if isinstance(value, bool):
        if "Disable" not in action:
            return value
        # `DisableLogging: true` switches off, as `EnableLogging: false` does.
        return value is ("isable" in name)
    # Terraform's providers write -1 for a number that is not set.
    return value is not None and value not in ("", -1, [], {})
