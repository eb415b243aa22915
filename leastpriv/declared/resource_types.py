"""Finds the resource types that a declared type makes, and how a name becomes an id of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from functools import lru_cache

from leastpriv.declared.models import UNKNOWN
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_parts import transformed
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.resource_types import own_variables
from leastpriv.permissions.service_facts import ResourceType, service_facts
from leastpriv.permissions.tool_lifecycle import (
    DATA,
    Phase,
    ResourceKind,
    actions_of_phase,
    making_actions,
)

VERB = re.compile(r"\A[A-Z][a-z]+")
PATHED = "WithPath"
"""End of a variable that holds a path before the name: `${RoleNameWithPath}`."""
_LONGEST = 50
"""Characters of stack and logical id in the shortest of the usual limits, 64, without the 14 that
are drawn.
"""
_CERTAIN = 24
"""Characters that are left of a stack's name where both have to be cut."""
SHORTEST = 3
"""Letters of the shortest name by which a type is known."""


@lru_cache(maxsize=4_096)
def own_types(kind: ResourceKind) -> tuple[ResourceType, ...]:
    """Returns the resource types of the catalogue that a declared type makes, by the noun of its
    making actions.

    Where these are authorized on `*` alone, the types are those of its other actions.
    """
    if kind.name.startswith(DATA):
        return own_types(ResourceKind(kind.tool, kind.name.removeprefix(DATA)))
    makes = making_actions(kind)
    for row in table("own_types", __package__):
        if row["kind"] == kind.name:
            listed_types = row["types"].split(",")
            return tuple(each for each in types_of(makes) if each.name in listed_types)
    # What associates two resources makes neither.
    names = (action.partition(":")[2] for action in makes if ":Associate" not in action)
    nouns = {plain(VERB.sub("", name)).removesuffix("s") for name in names} - {""}
    other_actions = [*actions_of_phase(kind, Phase.DELETE), *actions_of_phase(kind, Phase.READ)]
    return (
        _types_named(makes, nouns, exactly=True)
        or _types_named(other_actions, nouns, exactly=True)
        or _types_with_id_of(kind, makes)
        or _types_named(makes, nouns)
        or _types_named(other_actions, nouns)
        or tuple(_made_types(makes))
    )


def _made_types(actions: Sequence[str]) -> Iterator[ResourceType]:
    """The types that a table lists for what an action makes."""
    for row in table("made_types"):
        if row["operation"] in actions:
            names = row["types"].split(",")
            yield from (each for each in types_of([row["operation"]]) if each.name in names)


def types_of(actions: Iterable[str]) -> Iterator[ResourceType]:
    """Yields the resource types that actions are authorized on."""
    for action in actions:
        catalogue_action = catalog.action(action)
        yield from catalogue_action.resource_types if catalogue_action else ()


def _types_with_id_of(kind: ResourceKind, makes: Sequence[str]) -> tuple[ResourceType, ...]:
    """The types of the making actions whose variable has the name of the declared type:
    `subgrp/${SubnetGroupName}`.
    """
    name = plain(re.split("::|aws_", kind.name)[-1])
    type_by_name: dict[str, ResourceType] = {}
    for each in types_of(makes):
        variable = "".join(own_variables(each.arn)[-1:])
        stem = re.sub("(name|id)$", "", plain(variable))
        if len(stem) > SHORTEST and name.endswith(stem):
            type_by_name[each.name] = each
    return tuple(type_by_name.values())


def _types_named(
    actions: Sequence[str], nouns: Set[str], *, exactly: bool = False
) -> tuple[ResourceType, ...]:
    """The types of some actions that have one of the nouns for name, or that a noun is a part
    of.
    """
    type_by_name: dict[str, ResourceType] = {}
    for each in types_of(actions):
        if _has_noun(each, nouns, exactly=exactly):
            type_by_name.setdefault(each.name, each)
    return tuple(type_by_name.values())


def _has_noun(resource_type: ResourceType, nouns: Set[str], *, exactly: bool) -> bool:
    name = plain(resource_type.name).removesuffix("s")
    if name in nouns:
        return True
    if len(name) > SHORTEST and any(noun.endswith(name) for noun in nouns):
        return True
    if exactly:
        return False
    variables = plain("".join(own_variables(resource_type.arn)))
    return any(noun in f"{name} {variables}" for noun in nouns)


def name_variable(names: Sequence[str], kind: ResourceKind) -> str:
    """The variable that holds the name: the last that the type names and that is no id, else the
    last.
    """
    last = plain(re.split("::|_", kind.name)[-1])
    own_names = [name for name in names if last in plain(name)] or list(names)
    return next((name for name in own_names if name.endswith(("Name", PATHED))), own_names[-1])


def end_of_id(resource_type: ResourceType) -> str | None:
    """What AWS adds to a name that becomes the id of a type; None for the other types."""
    row = _row_of_ids(resource_type)
    return row["end"] if row and not row["given"] else None


@lru_cache(maxsize=4_096)
def _row_of_ids(resource_type: ResourceType) -> Mapping[str, str] | None:
    service = resource_type.arn.split(":")[2]
    for row in table("named_ids", __package__):
        if row["prefix"] == service and row["type"] in (resource_type.name, "*"):
            return row
    return None


def is_given_id(resource_type: ResourceType, declared: ResourceKind | None = None) -> bool:
    """Whether AWS gives the resources of a type, or what a declared one makes of it, an id: no name
    is in their ARN.
    """
    row = _row_of_ids(resource_type)
    if row:
        return bool(row["given"])
    names = own_variables(resource_type.arn)
    if names and declared:
        names = (name_variable(names, declared),)
    return bool(names) and all(name.endswith(("Id", "Identifier")) for name in names)


def as_id(text: str, resource_type: ResourceType) -> str:
    """Returns a text as the id of a type; UNKNOWN where it names one of another type, as the alias
    of a key.
    """
    start, separator, _ = text.partition("/")
    if not separator:
        return text
    if start and is_given_id(resource_type):
        # The `resource_id` of a scalable target is what it scales, and not its id.
        return UNKNOWN
    for other in service_facts(resource_type.arn.split(":")[2]).types:
        if other.name != resource_type.name and f":{start}/" in other.arn:
            return UNKNOWN
    return text


def made_name(kind: str, stack: str, logical: str) -> str:
    """Returns the pattern of the name that CloudFormation makes for a resource without one."""
    rows = table("generated_names", __package__)
    row = next(row for row in rows if fnmatchcase(kind, row["type"]))
    longest, certain = _LONGEST, _CERTAIN
    if row["longest"]:
        longest = certain = int(row["longest"])
    name = row["form"].format(stack=stack, logical=logical)
    if row["case"] == "lower":
        name = name.lower()
    if len(name) - len("-*") > longest:
        return name[:certain].rstrip("-") + UNKNOWN
    return name


def is_name_in_arn(kind: ResourceKind, naming: str) -> bool:
    """Whether the property that names a resource is in its ARN, which may have an id that AWS gives
    instead.
    """
    types = [each for each in own_types(kind) if own_variables(each.arn)]
    if not types or not all(is_given_id(each, kind) for each in types):
        return True
    name = plain(naming)
    if not name.endswith(("id", "identifier")):
        return False
    ids = {plain(name_variable(own_variables(each.arn), kind)) for each in types}
    return any(
        id_name == "resourceid" or id_name.endswith(name) or name.endswith(id_name)
        for id_name in ids
    )


@lru_cache(maxsize=4_096)
def transform_of(variable: str, resource_type: ResourceType, key: str) -> str:
    """How the text of a property becomes a part of an ARN, where it is another: the scope of a web
    ACL.
    """
    facts = service_facts(resource_type.arn.split(":")[2])
    for template in facts.templates.get(resource_type.name.lower(), ()):
        if template.arn != resource_type.arn:
            continue
        for filled in template.variables:
            if filled.name == variable:
                parameter = filled.same.get(key, "")
                return "" if parameter in ("whole", "text") else parameter
    return ""


def name_by_parameter(kind: ResourceKind, properties: Mapping[str, object]) -> str:
    """Returns the name that AWS makes of a parameter, as of the URL of an OIDC provider; UNKNOWN
    for another type.
    """
    for made in own_types(kind):
        variable = name_variable(own_variables(made.arn) or [""], kind)
        for key, text in properties.items():
            if not isinstance(text, str) or UNKNOWN in text:
                continue
            transform = transform_of(variable, made, plain(key))
            if transform and (name := transformed(transform, text)):
                return name
    return UNKNOWN


def plain(text: str) -> str:
    """Returns the letters and digits of a name in lower case, which all spellings of it share."""
    return re.sub("[^a-z0-9]", "", text.lower())
