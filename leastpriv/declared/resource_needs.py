"""Derives the needs of a declaration: the actions of each phase that the set properties ask for, on
named resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

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
    own_place = replace(place, region=declaration.region or place.region)
    # By the time of the processor: a busy machine makes no honest plan too large.
    budget = Budget(LIMITS["needs"])
    deriving = _Deriving(declaration, own_place, budget)
    need_by_permission: dict[Permission, Need] = {}
    users: dict[Permission, set[str]] = {}
    for resource in declaration.resources:
        for phase in resource.phases:
            for need in deriving.needs(resource, phase):
                need_by_permission.setdefault(need.permission, need)
                users.setdefault(need.permission, set()).add(resource.address)
    for permission, addresses in users.items():
        further_addresses = len(addresses) - 1
        if further_addresses:
            because = f"{need_by_permission[permission].because}, and {further_addresses} more"
            need_by_permission[permission] = replace(
                need_by_permission[permission], because=because
            )
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
        found = self._arns_of("ec2:CreateTags", resource)
        arns = found.arns if found.is_named else ("*",)
        key = resource.properties.get("key")
        conditions: tuple[Condition, ...] = ()
        if isinstance(key, str):
            conditions = (Condition("ForAllValues:StringEquals", "aws:TagKeys", (key,)),)
        for arn in arns:
            permission = Permission("ec2:CreateTags", arn, conditions)
            derivation = "the key of the tag"
            yield Need(permission, Basis.DECLARED, derivation, because, exact=found.is_named)

    def _arns_of(self, action: str, resource: DeclaredResource) -> ActionArns:
        """The ARNs of an action, in another service those that the properties name that ask for it:
        the bucket of logs.
        """
        paths = conditions_of(resource.kind).get(action, ())
        makers = {
            making_action.partition(":")[0] for making_action in making_actions(resource.kind)
        }
        arns = self.arns.of_action(action, resource)
        is_own = action.partition(":")[0] in makers
        if not paths or is_own or any(re.search("[*~-]", path) for path in paths):
            return arns
        asking = replace(resource, properties=dict(_parts(resource.properties, paths)))
        narrow = self.arns.of_action(action, asking)
        is_as_known = "".join(narrow.arns).count(UNKNOWN) <= "".join(arns.arns).count(UNKNOWN)
        if narrow.is_named and len(narrow.arns) == len(arns.arns) and is_as_known:
            return narrow
        return arns

    def _conditions(self, action: str, on: str, resource: DeclaredResource) -> Iterator[Condition]:
        """The condition keys of a request by the properties of what it is about, `Null` for a key
        that AWS leaves out.
        """
        for key, names in _keys_of(action):
            text = self._key_text(on, names, resource)
            if not text:
                yield Condition("Null", key, ("true",))
            elif UNKNOWN not in text:
                yield Condition("StringEquals", key, (text,))

    def _key_text(self, on: str, names: frozenset[str], resource: DeclaredResource) -> str:
        for about in self.arns.related(resource):
            if self.arns.own_arn(about) != on:
                continue
            for name in names:
                value = about.properties.get(name)
                if value is not None:
                    return self.arns.text(value)
            return ""
        return UNKNOWN

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
        pending: list[tuple[str, object]] = list(resource.properties.items())
        followed = {resource.address}
        for _ in range(_MOST_VALUES):
            if not pending:
                return
            key, value = pending.pop()
            if _FREE_TEXT.search(key):
                continue
            if isinstance(value, Mapping):
                # `Name` in the block `IamInstanceProfile` is that of a profile.
                is_block = _HOLDS_ROLE.search(key) is not None
                pending.extend(
                    (key if is_block else name, member) for name, member in value.items()
                )
            elif isinstance(value, list):
                pending.extend((key, element) for element in value)
            elif isinstance(value, Reference):
                target = self.declaration.target(value)
                if target and _makes(target, "launch-template"):
                    if target.address not in followed:
                        followed.add(target.address)
                        pending.extend(target.properties.items())
                elif _ROLE_KEY.search(key) or (target and _makes(target, *_HOLDERS)):
                    yield _RoleValue(value, UNKNOWN if _HOLDS_ROLE.search(key) else "")
            elif isinstance(value, str) and (_ROLE_KEY.search(key) or _ROLE_ARN.fullmatch(value)):
                yield _RoleValue(value, _role_name(key, value))

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
        for value in leaves(profile.properties):
            target = self.declaration.target(value)
            roles = [target] if target else []
            if isinstance(value, str):
                roles.extend(self.declaration.by_name.get(open_text(value), ()))
            if role := self._first(roles, "role"):
                return role
        return None

    def _first(self, resources: Iterable[DeclaredResource], *kinds: str) -> DeclaredResource | None:
        return next((resource for resource in resources if _makes(resource, *kinds)), None)

    def _services(self, resource: DeclaredResource, value: object) -> tuple[str, ...]:
        """The services that the role is passed to: those of AWS's tables that the role's trust
        policy names.
        """
        trusted: tuple[str, ...] = ()
        if isinstance(value, Reference):
            trusted = self.declaration.trusts.get(value.address, ())
        facts = [facts_of(action) for action in making_actions(resource.kind)]
        listed_services = {service for fact in facts for service in fact.services}
        is_unclear = False
        for fact in facts:
            for services in fact.passed_to.values():
                listed_services.update(services)
                # Of App Runner's roles, AWS compares another service than their trust policies
                # name.
                is_unclear = is_unclear or len(services) > 1
        both = tuple(sorted(service for service in trusted if service in listed_services))
        if both and not is_unclear:
            return both
        # The principal of a region, `states.eu-west-1`, is the service without it.
        heads = {service.partition(".")[0] for service in listed_services}
        for service in trusted:
            if UNKNOWN not in service and service.partition(".")[0] not in heads:
                listed_services.add(service)
        return tuple(sorted(listed_services))


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


def _makes(resource: DeclaredResource, *kinds: str) -> bool:
    return any(each.name in kinds for each in own_types(resource.kind))


def _parts(properties: Mapping[str, object], paths: Iterable[str]) -> Iterator[tuple[str, object]]:
    for path in paths:
        name, _, inner = path.partition(".")
        value = properties.get(name)
        yield name, {inner: value.get(inner)} if inner and isinstance(value, Mapping) else value


@lru_cache(maxsize=4_096)
def _keys_of(action: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The condition keys of an action that properties hold, with these."""
    return tuple(
        (row["key"], frozenset(row["properties"].split(",")))
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
    if is_of_linked_role(action, kind):
        return False
    if action in _undone(kind, phase):
        return False
    is_of_tags = action in tag_actions(kind)
    if is_of_tags and not catalog.is_read(action) and not _needs_tags(action, resource, phase):
        return False
    if action == _PASS_ROLE:
        return True
    paths = conditions_of(kind).get(action)
    if paths is None and not is_of_tags:
        deciding = deciding_properties(action, _kind(kind), words)
        if not deciding and _is_of_absent_property(action, kind, words):
            return False
        is_update = resource.changed is not None and deciding != (NEVER,)
        if kind.tool is Tool.TERRAFORM or is_update:
            paths = deciding
    # `update@monitoring` decides in the phase of updates alone.
    split = [path.rpartition("@") for path in paths or ()]
    paths = tuple(path for only, _, path in split if only in ("", phase))
    if not paths:
        return True
    asking = [path for path in paths if path != NEVER]
    if resource.any_update and phase is Phase.UPDATE and _is_own_service(action, kind):
        return bool(asking)
    return any(_is_set(resource, path, action, arns) for path in asking)


def _is_own_service(action: str, kind: ResourceKind) -> bool:
    """Whether an action is of the service that makes a type: of other services, only set properties
    asks for one.
    """
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
    if not deciding:
        return False
    own_words = {plain(part) for path in words for part in path.split(".")}
    return deciding.isdisjoint(own_words)


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
def _undone(kind: ResourceKind, phase: Phase) -> frozenset[str]:
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
    _, has_own_tags = tag_property(resource.kind)
    if not (resource.tagged or (has_own_tags and phase is Phase.CREATE)):
        return False
    # An update sends the tags that it changes.
    if not any("tag" in name.lower() for name in resource.changed or ("tags",)):
        return False
    is_removal = _UNTAGS.match(action.partition(":")[2]) is not None
    return phase is Phase.UPDATE or not is_removal


@lru_cache(maxsize=4_096)
def _kind(kind: ResourceKind) -> Kind:
    deletes, reads = actions_of_phase(kind, Phase.DELETE), actions_of_phase(kind, Phase.READ)
    return kind_of(kind.name, making_actions(kind), deletes, reads)


def _property_words(properties: Mapping[str, object]) -> dict[str, frozenset[str]]:
    """The properties of two levels, with the words of their names; a block without a value counts
    too.
    """
    words_by_property: dict[str, frozenset[str]] = {}
    for name, value in properties.items():
        words_by_property[name] = words_of(name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping) and "tag" not in name:
                words_by_property.update({f"{name}.{inner}": words_of(inner) for inner in part})
    return words_by_property


def _is_set(resource: DeclaredResource, path: str, action: str, arns: Arns) -> bool:
    """Whether a property has a value, or one with a certain text; false counts for an action that
    switches off.
    """
    if "*" in path:
        return _has_member(resource, path, action)
    path, _, text = path.partition("~")
    name, _, inner = path.removesuffix("!").partition(".")
    value = resource.properties.get(name)
    is_steady = path.endswith("!")
    if resource.changed is not None:
        is_sent = name in resource.changed or is_steady
        if not is_sent and not _KEY_USE.match(action):
            # A key is used for each change of what it encrypts.
            return False
        verb = action.partition(":")[2]
        if isinstance(value, bool) and _TURNS.match(verb):
            return True
        if not is_steady and _TAKES_AWAY.match(verb):
            # A member of a list may be gone, and what has no value any more is.
            return isinstance(value, list | Mapping) or not _has_value(value, action, name)
    if text:
        return str(value) == text or arns.may_hold(value, text)
    if inner and isinstance(value, str):
        # The path of a local file, which `aws cloudformation package` uploads and replaces by its
        # bucket and key.
        return bool(value) and inner.endswith(("Bucket", "Key"))
    if inner:
        parts = value if isinstance(value, list) else [value]
        blocks = [part for part in parts if isinstance(part, Mapping)]
        return any(_has_value(block.get(inner), action, inner) for block in blocks)
    if value == {} and resource.kind.tool is Tool.CLOUDFORMATION:
        # An empty block asks for the defaults, as `GenerateSecretString: {}` does.
        return True
    return _has_value(value, action, name)


def _has_member(resource: DeclaredResource, pattern: str, action: str) -> bool:
    """Whether a member of a name has a value, at any depth of the sent values."""
    sent = resource.changed or resource.properties
    values = {name: resource.properties.get(name) for name in sent}
    return any(
        fnmatchcase(name, pattern) and _has_value(value, action, name)
        for name, value in members(values)
    )


def _has_value(value: object, action: str, name: str) -> bool:
    """Whether the value of a property asks for an action: one that is on asks for nothing that
    switches it off.
    """
    if isinstance(value, bool):
        return value if "Disable" not in action else value is ("isable" in name)
    # Terraform's providers write -1 for a number that is not set.
    return value is not None and value not in ("", -1, [], {})
