"""Derives the needs of a declaration: the actions of each phase that the set properties ask for, on
named resources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from msgspec.structs import replace

from leastpriv.declared.models import (
    UNKNOWN,
    Declaration,
    DeclaredResource,
    Place,
    Reference,
    leaves,
    members,
)
from leastpriv.declared.resource_arns import Arns
from leastpriv.declared.resource_types import own_types
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


def needs_of(declaration: Declaration, place: Place) -> tuple[Need, ...]:
    """Returns the needs of a declaration, one for each action, resource and conditions, in order of
    first use.
    """
    arns = Arns(declaration, replace(place, region=declaration.region or place.region))
    found: dict[Permission, Need] = {}
    users: dict[Permission, set[str]] = {}
    for resource in declaration.resources:
        for phase in resource.phases:
            custom = is_custom(resource.kind)
            for need in (
                _of_custom(resource, phase, arns)
                if custom
                else _of_phase(resource, phase, declaration, arns)
            ):
                found.setdefault(need.permission, need)
                users.setdefault(need.permission, set()).add(resource.address)
    for permission, addresses in users.items():
        if others := len(addresses) - 1:
            found[permission] = replace(
                found[permission], because=f"{found[permission].because}, and {others} more"
            )
    for need in (*declaration.reads, *declaration.calls):
        found.setdefault(need.permission, need)
    return tuple(map(without_build_step_names, found.values()))


def _because(resource: DeclaredResource, phase: Phase) -> str:
    """The resource with its type, which an address of Terraform has already, and the phase."""
    kind = resource.kind.name
    return (
        f"{resource.address if kind in resource.address else f'{kind} {resource.address}'}"
        f" ({phase})"
    )


def _of_phase(
    resource: DeclaredResource, phase: Phase, declaration: Declaration, arns: Arns
) -> Iterator[Need]:
    because = _because(resource, phase)
    for action in needed_actions(resource, phase, arns):
        if action == _PASS_ROLE:
            yield from _passed(resource, declaration, arns, because)
            continue
        on, is_named = _on(action, resource, arns)
        for each in on:
            derivation = "the name in the declaration" if is_named else "the pattern of its type"
            permission = Permission(action, each, tuple(_conditions(action, each, resource, arns)))
            yield Need(permission, Basis.DECLARED, derivation, because, exact=is_named)


def _on(action: str, resource: DeclaredResource, arns: Arns) -> tuple[tuple[str, ...], bool]:
    """The ARNs of an action, in another service those that the properties name that ask for it: the
    bucket of logs.
    """
    paths = conditions_of(resource.kind).get(action, ())
    makes = {each.partition(":")[0] for each in making_actions(resource.kind)}
    whole = arns.of_action(action, resource)
    if (
        not paths
        or action.partition(":")[0] in makes
        or any(re.search("[*~-]", path) for path in paths)
    ):
        return whole
    asking = replace(resource, properties=dict(_parts(resource.properties, paths)))
    narrow = arns.of_action(action, asking)
    is_as_known = "".join(narrow[0]).count(UNKNOWN) <= "".join(whole[0]).count(UNKNOWN)
    return narrow if narrow[1] and len(narrow[0]) == len(whole[0]) and is_as_known else whole


def _parts(properties: Mapping[str, object], paths: Iterable[str]) -> Iterator[tuple[str, object]]:
    for path in paths:
        name, _, inner = path.partition(".")
        value = properties.get(name)
        yield name, {inner: value.get(inner)} if inner and isinstance(value, Mapping) else value


@lru_cache(maxsize=4_096)
def _keys_of(action: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The condition keys of an action that properties hold, with these."""
    rows = (
        row
        for row in table("condition_properties", __package__)
        if action in row["actions"].split(",")
    )
    return tuple((row["key"], frozenset(row["properties"].split(","))) for row in rows)


def _conditions(
    action: str, on: str, resource: DeclaredResource, arns: Arns
) -> Iterator[Condition]:
    """The condition keys of a request by the properties of what it is about, `Null` for a key that
    AWS leaves out.
    """
    for key, names in _keys_of(action):
        about = next((each for each in arns.related(resource) if arns.own_arn(each) == on), None)
        value = (
            next((about.properties[name] for name in names if name in about.properties), None)
            if about
            else UNKNOWN
        )
        text = arns.text(value) if value is not None else ""
        if not text:
            yield Condition("Null", key, ("true",))
        elif UNKNOWN not in text:
            yield Condition("StringEquals", key, (text,))


def _of_custom(resource: DeclaredResource, phase: Phase, arns: Arns) -> Iterator[Need]:
    """The call of the provider of a custom resource."""
    if phase is Phase.READ:
        return
    provider = arns.text(resource.properties.get("ServiceToken"))
    action = PROVIDER_CALLS[":sns:" in provider]
    because = _because(resource, phase)
    is_named = provider.startswith("arn:")
    on = provider if is_named else arns.pattern("lambda", "function")
    yield Need(
        Permission(action, on),
        Basis.DECLARED,
        "the provider that it names",
        because,
        exact=is_named,
    )


def needed_actions(resource: DeclaredResource, phase: Phase, arns: Arns) -> tuple[str, ...]:
    """Returns the actions of a phase that a resource needs with the properties it sets."""
    listed, tags = conditions_of(resource.kind), set(tag_actions(resource.kind))
    _, has_own_tags = tag_property(resource.kind)
    properties = _property_words(resource.properties)
    found = []
    # Terraform deletes no resource that it creates or reads.
    keeps = phase in (Phase.CREATE, Phase.READ) and resource.kind.tool is Tool.TERRAFORM
    undone = set(actions_of_phase(resource.kind, Phase.DELETE)) if keeps else ()
    for action in actions_of_phase(resource.kind, phase):
        if action in undone and _DELETES.match(action.partition(":")[2]):
            continue
        if action in tags and not catalog.is_read(action):
            is_removal = _UNTAGS.match(action.partition(":")[2]) is not None
            tagged = resource.tagged or (has_own_tags and phase is Phase.CREATE)
            # An update sends the tags that it changes.
            tagged = tagged and any("tag" in name.lower() for name in resource.changed or ("tags",))
            if phase is Phase.DELETE or not tagged or (is_removal and phase is not Phase.UPDATE):
                continue
        if action == _PASS_ROLE:
            found.append(action)
            continue
        paths = listed.get(action)
        if paths is None and action not in tags:
            named = deciding_properties(action, _kind(resource.kind), properties)
            if resource.kind.tool is Tool.TERRAFORM or (
                resource.changed is not None and named != (NEVER,)
            ):
                paths = named
        # `update@monitoring` decides in the phase of updates alone.
        split = [path.rpartition("@") for path in paths or ()]
        paths = tuple(path for only, _, path in split if only in ("", phase))
        if not paths or any(
            _is_set(resource, path, action, arns) for path in paths if path != NEVER
        ):
            found.append(action)
    return tuple(found)


@lru_cache(maxsize=4_096)
def _kind(kind: ResourceKind) -> Kind:
    deletes, reads = actions_of_phase(kind, Phase.DELETE), actions_of_phase(kind, Phase.READ)
    return kind_of(kind.name, making_actions(kind), deletes, reads)


def _property_words(properties: Mapping[str, object]) -> dict[str, frozenset[str]]:
    """The properties of two levels, with the words of their names; a block without a value counts
    too.
    """
    found: dict[str, frozenset[str]] = {}
    for name, value in properties.items():
        found[name] = words_of(name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping) and "tag" not in name:
                found.update({f"{name}.{inner}": words_of(inner) for inner in part})
    return found


def _is_set(resource: DeclaredResource, path: str, action: str, arns: Arns) -> bool:
    """Whether a property has a value, or one with a certain text; false counts for an action that
    switches off.
    """
    if "*" in path:
        # A member of this name at any depth.
        given = members(
            {
                name: resource.properties.get(name)
                for name in resource.changed or resource.properties
            }
        )
        return any(
            fnmatchcase(name, path) and _has_value(value, action, name) for name, value in given
        )
    path, _, text = path.partition("~")
    name, _, inner = path.removesuffix("!").partition(".")
    value = resource.properties.get(name)
    is_steady = path.endswith("!")
    if (
        resource.changed is not None
        and name not in resource.changed
        and not is_steady
        and not _KEY_USE.match(action)
    ):
        # A key is used for each change of what it encrypts.
        return False
    if (
        resource.changed is not None
        and isinstance(value, bool)
        and _TURNS.match(action.partition(":")[2])
    ):
        return True
    if (
        resource.changed is not None
        and not is_steady
        and _TAKES_AWAY.match(action.partition(":")[2])
    ):
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
        return any(
            _has_value(part.get(inner), action, inner)
            for part in parts
            if isinstance(part, Mapping)
        )
    if value == {} and resource.kind.tool is Tool.CLOUDFORMATION:
        # An empty block asks for the defaults, as `GenerateSecretString: {}` does.
        return True
    return _has_value(value, action, name)


def _has_value(value: object, action: str, name: str) -> bool:
    """Whether the value of a property asks for an action: one that is on asks for nothing that
    switches it off.
    """
    if isinstance(value, bool):
        return value if "Disable" not in action else value is ("isable" in name)
    # Terraform's providers write -1 for a number that is not set.
    return value is not None and value not in ("", -1, [], {})


def _passed(
    resource: DeclaredResource, declaration: Declaration, arns: Arns, because: str
) -> Iterator[Need]:
    """PassRole on each role that the properties name, with the service that receives it."""
    if resource.changed is not None and resource.kind.tool is Tool.TERRAFORM:
        # Terraform's provider sends what changes.
        kept = {
            name: value for name, value in resource.properties.items() if name in resource.changed
        }
        resource = replace(resource, properties=kept)
    for value, name in dict.fromkeys(_role_values(resource, declaration)):
        arn = _role_arn(value, declaration, arns)
        if not arn and name and "/aws-service-role/" not in arns.text(value):
            # A role that only the deployment knows, as the value of another stack or the role of a
            # profile, or a name.
            arn = arns.pattern("iam", "role").removesuffix(UNKNOWN) + name
        if not arn:
            continue
        services = _services(resource, value, declaration)
        conditions = (
            (Condition("StringEquals", "iam:PassedToService", services),) if services else ()
        )
        is_named = not re.search(r":role/\*?$", arn)
        permission = Permission(_PASS_ROLE, arn, conditions)
        yield Need(permission, Basis.DECLARED, "the role that it names", because, exact=is_named)


def _role_values(
    resource: DeclaredResource, declaration: Declaration
) -> Iterator[tuple[object, str]]:
    """The properties that may hold a role, by key or value, with those of a launch template that a
    resource refers to.

    Yields:
        The value, and the name of the role where the value holds one with certainty.
    """
    stack: list[tuple[str, object]] = list(resource.properties.items())
    while stack:
        key, value = stack.pop()
        if _FREE_TEXT.search(key):
            continue
        if isinstance(value, Mapping):
            # `Name` in the block `IamInstanceProfile` is that of a profile.
            is_block = _HOLDS_ROLE.search(key) is not None
            stack.extend((key if is_block else name, each) for name, each in value.items())
        elif isinstance(value, list):
            stack.extend((key, each) for each in value)
        elif isinstance(value, Reference):
            target = declaration.target(value)
            if target and _makes(target, "launch-template") and target is not resource:
                stack.extend(target.properties.items())
            elif _ROLE_KEY.search(key) or (target and _makes(target, *_HOLDERS)):
                yield value, UNKNOWN if _HOLDS_ROLE.search(key) else ""
        elif isinstance(value, str) and (_ROLE_KEY.search(key) or _ROLE_ARN.fullmatch(value)):
            is_name = value == UNKNOWN or _NAME.fullmatch(value)
            name = UNKNOWN if "profile" in key.lower() else value if is_name else ""
            yield value, name if _HOLDS_ROLE.search(key) else ""


def _role_arn(value: object, declaration: Declaration, arns: Arns) -> str:
    """The ARN of a role that a property holds as ARN, name or reference, through an instance
    profile too.
    """
    text = arns.text(value)
    if not isinstance(value, Reference) and _ROLE_ARN.fullmatch(text):
        return text if "/aws-service-role/" not in text else ""
    target = declaration.target(value)
    if target is None and _NAME.fullmatch(text):
        every = declaration.by_address.values()
        target = next(
            (each for each in every if each.name == text and _makes(each, *_HOLDERS)), None
        )
    if target and _makes(target, "instance-profile"):
        inside = list(leaves(target.properties))
        roles = map(declaration.target, inside)
        named = (each for each in declaration.by_address.values() if each.name in inside)
        target = next((role for role in (*roles, *named) if role and _makes(role, "role")), None)
    return arns.own_arn(target) if target and _makes(target, "role") else ""


def _makes(resource: DeclaredResource, *kinds: str) -> bool:
    return any(each.name in kinds for each in own_types(resource.kind))


def _services(
    resource: DeclaredResource, value: object, declaration: Declaration
) -> tuple[str, ...]:
    """The services that the role is passed to: those of AWS's tables that the role's trust policy
    names.
    """
    trusted = declaration.trusts.get(value.address, ()) if isinstance(value, Reference) else ()
    facts = [facts_of(action) for action in making_actions(resource.kind)]
    known = [services for each in facts for services in (*each.passed_to.values(), each.services)]
    listed = {service for services in known for service in services}
    # Of App Runner's roles, AWS compares another service than their trust policies name.
    is_unclear = any(len(services) > 1 for each in facts for services in each.passed_to.values())
    both = () if is_unclear else tuple(sorted(service for service in trusted if service in listed))
    # The principal of a region, `states.eu-west-1`, is the service without it.
    heads = {service.partition(".")[0] for service in listed}
    others = {
        each for each in trusted if UNKNOWN not in each and each.partition(".")[0] not in heads
    }
    return both or tuple(sorted({*listed, *others}))
