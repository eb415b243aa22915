"""Finds the resource types that a declared type makes, and what fills the variables of their
ARNs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from functools import lru_cache

from leastpriv.declared.models import UNKNOWN, DeclaredResource
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_parts import transformed
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.resource_types import VARIABLE, own_variables
from leastpriv.permissions.service_facts import ResourceType, TypeRules, rules_of, service_facts
from leastpriv.permissions.tool_lifecycle import (
    DATA,
    Phase,
    ResourceKind,
    actions_of_phase,
    making_actions,
)

_VERB = re.compile(r"\A[A-Z][a-z]+")
PATHED = "WithPath"
"""End of a variable that holds a path before the name: `${RoleNameWithPath}`."""
TAGS = re.compile(
    "Tag(s|Resource|sForResource|sToResource|sFromResource)?$|Tags?(For|To|From|On|Of)[A-Z]"
)
"""Ends the names of actions about tags."""
_LONGEST = 50
"""Characters of stack and logical id in the shortest of the usual limits, 64, without the 14 that
are drawn.
"""
_CERTAIN = 24
"""Characters that are left of a stack's name where both have to be cut."""
_ID = re.compile("[a-z]+-[0-9a-z]+")
GENERAL = frozenset({"name", "id", "resourceid", "resourcename", "identifier", "type"})
"""Variables of ARNs that several types have."""
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
    listed = next(
        (
            row["types"].split(",")
            for row in table("own_types", __package__)
            if row["kind"] == kind.name
        ),
        (),
    )
    if listed:
        return tuple(each for each in types_of(makes) if each.name in listed)
    # What associates two resources makes neither.
    names = (action.partition(":")[2] for action in makes if ":Associate" not in action)
    nouns = {plain(_VERB.sub("", name)).removesuffix("s") for name in names} - {""}
    others = [
        each for phase in (Phase.DELETE, Phase.READ) for each in actions_of_phase(kind, phase)
    ]
    return (
        _types_named(makes, nouns, exactly=True)
        or _types_named(others, nouns, exactly=True)
        or _types_with_id_of(kind, makes)
        or _types_named(makes, nouns)
        or _types_named(others, nouns)
        or tuple(
            each
            for row in table("made_types")
            if row["operation"] in makes
            for each in types_of([row["operation"]])
            if each.name in row["types"].split(",")
        )
    )


def types_of(actions: Iterable[str]) -> Iterator[ResourceType]:
    """Yields the resource types that actions are authorized on."""
    for action in actions:
        known = catalog.action(action)
        yield from known.resource_types if known else ()


def _types_with_id_of(kind: ResourceKind, makes: Sequence[str]) -> tuple[ResourceType, ...]:
    """The types of the making actions whose variable has the name of the declared type:
    `subgrp/${SubnetGroupName}`.
    """
    name = plain(re.split("::|aws_", kind.name)[-1])
    found: dict[str, ResourceType] = {}
    for each in types_of(makes):
        stem = re.sub("(name|id)$", "", plain("".join(own_variables(each.arn)[-1:])))
        if len(stem) > SHORTEST and name.endswith(stem):
            found[each.name] = each
    return tuple(found.values())


def _types_named(
    actions: Sequence[str], nouns: Set[str], *, exactly: bool = False
) -> tuple[ResourceType, ...]:
    """The types of some actions that have one of the nouns for name, or that a noun is a part
    of.
    """
    found: dict[str, ResourceType] = {}
    for each in types_of(actions):
        name, variables = (
            plain(each.name).removesuffix("s"),
            plain("".join(own_variables(each.arn))),
        )
        is_end = len(name) > SHORTEST and any(noun.endswith(name) for noun in nouns)
        if (
            name in nouns
            or is_end
            or (not exactly and any(noun in f"{name} {variables}" for noun in nouns))
        ):
            found.setdefault(each.name, each)
    return tuple(found.values())


def name_variable(names: Sequence[str], kind: ResourceKind) -> str:
    """The variable that holds the name: the last that the type names and that is no id, else the
    last.
    """
    last = plain(re.split("::|_", kind.name)[-1])
    own = [name for name in names if last in plain(name)] or list(names)
    return next((name for name in own if name.endswith(("Name", PATHED))), own[-1])


def end_of_id(kind: ResourceType) -> str | None:
    """What AWS adds to a name that becomes the id of a type; None for the other types."""
    row = _row_of_ids(kind)
    return row["end"] if row and not row["given"] else None


@lru_cache(maxsize=4_096)
def _row_of_ids(kind: ResourceType) -> Mapping[str, str] | None:
    rows = (
        row for row in table("named_ids", __package__) if row["prefix"] == kind.arn.split(":")[2]
    )
    return next((row for row in rows if row["type"] in (kind.name, "*")), None)


def is_given_id(kind: ResourceType, declared: ResourceKind | None = None) -> bool:
    """Whether AWS gives the resources of a type, or what a declared one makes of it, an id: no name
    is in their ARN.
    """
    names, row = own_variables(kind.arn), _row_of_ids(kind)
    own = [name_variable(names, declared)] if names and declared else names
    return (
        bool(row["given"])
        if row
        else bool(own) and all(name.endswith(("Id", "Identifier")) for name in own)
    )


def as_id(text: str, kind: ResourceType) -> str:
    """Returns a text as the id of a type; UNKNOWN where it names one of another type, as the alias
    of a key.
    """
    start, separator, _ = text.partition("/")
    if start and separator and is_given_id(kind):
        # The `resource_id` of a scalable target is what it scales, and not its id.
        return UNKNOWN
    others = (
        each.arn for each in service_facts(kind.arn.split(":")[2]).types if each.name != kind.name
    )
    return UNKNOWN if separator and any(f":{start}/" in arn for arn in others) else text


def made_name(kind: str, stack: str, logical: str) -> str:
    """Returns the pattern of the name that CloudFormation makes for a resource without one."""
    row = next(
        each for each in table("generated_names", __package__) if fnmatchcase(kind, each["type"])
    )
    name = row["form"].format(stack=stack, logical=logical)
    if len(name) - 2 > int(row["longest"] or _LONGEST):
        name = name[: int(row["longest"] or _CERTAIN)].rstrip("-") + UNKNOWN
    return name.lower() if row["case"] == "lower" else name


def is_name_in_arn(kind: ResourceKind, naming: str) -> bool:
    """Whether the property that names a resource is in its ARN, which may have an id that AWS gives
    instead.
    """
    types = [each for each in own_types(kind) if own_variables(each.arn)]
    if not types or not all(is_given_id(each, kind) for each in types):
        return True
    ids = {plain(name_variable(own_variables(each.arn), kind)) for each in types}
    name = plain(naming)
    return name.endswith(("id", "identifier")) and any(
        each == "resourceid" or each.endswith(name) or name.endswith(each) for each in ids
    )


@lru_cache(maxsize=4_096)
def transform_of(variable: str, kind: ResourceType, key: str) -> str:
    """How the text of a property becomes a part of an ARN, where it is another: the scope of a web
    ACL.
    """
    templates = service_facts(kind.arn.split(":")[2]).templates.get(kind.name.lower(), ())
    filled = (
        each for template in templates if template.arn == kind.arn for each in template.variables
    )
    found = next((each.same.get(key, "") for each in filled if each.name == variable), "")
    return "" if found in ("whole", "text") else found


def name_by_parameter(kind: ResourceKind, properties: Mapping[str, object]) -> str:
    """Returns the name that AWS makes of a parameter, as of the URL of an OIDC provider; UNKNOWN
    for another type.
    """
    for made in own_types(kind):
        variable = name_variable(own_variables(made.arn) or [""], kind)
        texts = (
            (key, text)
            for key, text in properties.items()
            if isinstance(text, str) and UNKNOWN not in text
        )
        for key, text in texts:
            transform = transform_of(variable, made, plain(key))
            if transform and (found := transformed(transform, text)):
                return found
    return UNKNOWN


def choices_of(kind: ResourceType, actions: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yields what decides whether the request of an action means a type."""
    for rules in _rules(kind, actions):
        yield from rules.choices


def default_of(variable: str, kind: ResourceType, actions: Iterable[str]) -> str:
    """What AWS takes for a variable that no property names: the group `default` of a schedule."""
    found = {rules.defaults.get(variable, ()) for rules in _rules(kind, actions)}
    values = next(iter(found)) if len(found) == 1 else ()
    return values[0] if len(values) == 1 else UNKNOWN


def _rules(kind: ResourceType, actions: Iterable[str]) -> Iterator[TypeRules]:
    for action in actions:
        if rules := rules_of(action).types.get(kind.name.lower()):
            yield rules


def segment_of(kind: ResourceType) -> str:
    """The form in the name of a type that is one of several: `listener/app`."""
    return kind.name.strip("/").partition("/")[2]


@lru_cache(maxsize=4_096)
def types_of_others(action: str, declared: ResourceKind) -> frozenset[str]:
    """Returns the types that the other actions of a service require that make or change a declared
    type.
    """
    prefix = f"{action.partition(':')[0]}:"
    every = {
        each for phase in (Phase.CREATE, Phase.UPDATE) for each in actions_of_phase(declared, phase)
    }
    others = (each for each in every if each.startswith(prefix) and not TAGS.search(each))
    return frozenset(kind.name for kind in types_of(others) if kind.required)


@lru_cache(maxsize=4_096)
def paths_of(action: str, kind: ResourceKind, tagged: bool) -> tuple[str, ...]:
    """Returns the ARN templates of the operations on a type, where operations of other names share
    one action.
    """
    nouns = _paths_by_noun(action, "v2" in kind.name.lower())
    fitting = [noun for noun in nouns if noun and plain(kind.name).endswith(noun)]
    found = (
        {each for each in nouns[max(fitting, key=len)] if "/tags/" not in each}
        if fitting
        else set[str]()
    )
    tags = (
        {each for each in nouns.get("resource", ()) if "/tags/" in each} if tagged else set[str]()
    )
    return tuple(sorted(found | tags))


@lru_cache(maxsize=64)
def _paths_by_noun(action: str, is_second: bool) -> Mapping[str, Set[str]]:
    """Noun of an operation -> the ARN templates on which the action is authorized in it."""
    nouns: dict[str, set[str]] = {}
    for name, facts in service_facts(action.partition(":")[0]).events.items():
        for each in facts.actions:
            # `/v2/` marks the paths of the second version of API Gateway's API; IAM knows them
            # without it.
            if each.action == action and each.resource and ("::/v2/" in each.resource) == is_second:
                noun = plain(_VERB.sub("", name)).removesuffix("s")
                nouns.setdefault(noun, set()).add(each.resource.replace("::/v2/", "::/"))
    return nouns


@lru_cache(maxsize=4_096)
def is_of_other_paths(action: str, kind: ResourceKind) -> bool:
    """Whether an action is authorized on paths, and only others of a type have one: its handler
    lists it for tags.
    """
    every = (each for phase in Phase for each in actions_of_phase(kind, phase))
    return bool(_paths_by_noun(action, "v2" in kind.name.lower())) and any(
        paths_of(each, kind, False) for each in every
    )


def plain(text: str) -> str:
    """Returns the letters and digits of a name in lower case, which all spellings of it share."""
    return re.sub("[^a-z0-9]", "", text.lower())


def id_in(text: str, kind: ResourceType) -> str:
    """Returns a text that has the form of the ids of a type, as `sg-1` of a security group; empty
    for another.
    """
    # The ids of images, whose ARN has no account, change with each update.
    is_own = "${Account}" in kind.arn and _ID.fullmatch(text)
    return text if is_own and text.partition("-")[0] in _starts_of(kind) else ""


@lru_cache(maxsize=4_096)
def _starts_of(kind: ResourceType) -> frozenset[str]:
    templates = service_facts(kind.arn.split(":")[2]).templates.get(kind.name.lower(), ())
    filled = (
        each
        for template in templates
        if template.arn == kind.arn
        for each in template.variables[-1:]
    )
    forms = (form for each in filled for form in each.same.values())
    return frozenset(form.removeprefix("starts ") for form in forms if form.startswith("starts "))


def is_end_of(stem: str, key: str) -> bool:
    """Whether a property identifies by the last word of a name: `zone_id` a hosted zone."""
    core = re.sub("(id|name|arn)$", "", plain(key))
    return len(core) > SHORTEST and core != plain(key) and stem.endswith(core)


def is_named_like(kind: ResourceType, declared: ResourceKind) -> bool:
    """Whether a type has the name of a declared one: `RestApis`, `aws_api_gateway_rest_api`."""
    name = plain(kind.name).removesuffix("s")
    return len(name) > SHORTEST and plain(declared.name).endswith(name)


def path_form(arn: str) -> str:
    """A regular expression of the resource part of an ARN with a fixed word before its variables;
    else empty.
    """
    end = arn.split(":", 5)[-1]
    is_path = re.match(r"[a-z-]+[/:]\$", end) is not None
    return "[^/:]+".join(map(re.escape, VARIABLE.split(end)[::2])) if is_path else ""


def same_family(one: str, other: str) -> bool:
    """Returns whether two ARNs are of one service and begin with the same word: `rule/a` and
    `rule/*/a`.
    """
    first, second = (re.split("[:/]", arn.split(":", 5)[-1])[0] for arn in (one, other))
    return one.split(":")[2] == other.split(":")[2] and first == second


def without_alternatives(
    ends: Mapping[str, tuple[str, str]], resource: DeclaredResource
) -> list[str]:
    """Returns the ARNs, each with its end for an action, without the types of which another form is
    known whole.
    """
    tail = resource.name.count(UNKNOWN) if resource.has_name else 0
    whole = {
        arn: kind for arn, (_, kind) in ends.items() if arn.split(":", 5)[-1].count(UNKNOWN) <= tail
    }
    return [
        arn + end
        for arn, (end, kind) in ends.items()
        if kind in whole.values() or not any(same_family(arn, each) for each in whole)
    ]
