"""ARN templates of resource types, `arn:${Partition}:sqs:${Region}:${Account}:${QueueName}`, filled from a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from urllib.parse import quote

from leastpriv.models import Call
from leastpriv.permissions.catalog import ResourceType
from leastpriv.permissions.patterns import escape_observed, has_wildcard
from leastpriv.permissions.resource_types import VARIABLE, end_of, is_of_type, own_variables, variables_of_arn
from tests.fakes.tables import table
from tests.oracle.arn_variables import Likeness, Named, is_vague, keys_for, values_for
from tests.oracle.request import RequestTexts, request_values

MOST_RESOURCES = 1_000
"""More than these of one call are told as all of their type: EC2's CreateTags takes a thousand ids."""
NAMED = "named by the request"
"""Derivation of a resource whose ARN was made from its name."""
_DERIVATIONS = {
    Likeness.SAME: NAMED,
    Likeness.STEM: "named by the request, under a like name",
    Likeness.TYPE: "named by the request, under the name of its type",
    Likeness.PLAIN: "named by the request, as its plain name or id",
    Likeness.PART: "named by the request, in part by another ARN",
}
IN_PART = "named in part by the request"
"""Derivation of a resource of which some parts were found, by their own names."""
_LIKE_IN_PART = "named in part by the request, under a like name"
_CALLER = "<caller>"
_NOT_EVEN_IN_PART = Named((), Likeness.PART)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of one call: an ARN (observed names escaped) or pattern, how it was found, whether it is all known."""

    pattern: str
    derivation: str
    exact: bool


def fill(call: Call, action: str, kind: ResourceType, texts: RequestTexts) -> list[Resource]:
    """Resources of one type of an action that the request names, whole or in part; empty where it names none."""
    prefix = action.partition(":")[0]
    variables = own_variables(kind.arn)
    if not variables:
        return [only_one(kind, call)] if kind.required else []
    if len(variables) > 1 and not any(_may_be_named(prefix, kind, name, texts) for name in variables):
        return []
    found = {name: _named(prefix, kind, name, texts) for name in variables}
    if len(variables) > 1:
        _each_key_once(found)
    named = [each for each in found.values() if each.texts and each.likeness is not Likeness.PART]
    if not (named or len(variables) == 1):
        return []
    for name in [name for name, each in found.items() if not each.texts]:
        found[name] = Named(_default(call, action, kind.name.lower(), name, texts))
    if not any(each.texts for each in found.values()) or all(each.likeness is Likeness.PART for each in found.values()):
        return []
    if _most(found) > MOST_RESOURCES:
        return [more_than_told(kind, call)]
    return [_filled(call, action, kind, found, index) for index in range(_most(found))]


def _each_key_once(found: dict[str, Named]) -> None:
    """Leaves a key of the request to the one variable that it surely names; another one would be a guess."""
    for name, named in list(found.items()):
        for other, rival in list(found.items()):
            is_clash = name != other and named.texts == rival.texts and bool(named.keys & rival.keys)
            # Of two that are as sure, the last variable is the resource's own.
            if is_clash and (named.likeness, -_index(found, name)) > (rival.likeness, -_index(found, other)):
                found[name] = Named()


def _index(found: Mapping[str, Named], name: str) -> int:
    return list(found).index(name)


def may_be_whole(action: str, kind: ResourceType, texts: RequestTexts) -> bool:
    """Whether the request may name a resource of a type whole; never False wrongly."""
    prefix = action.partition(":")[0]
    return all(
        _may_be_named(prefix, kind, name, texts)
        or (texts.holds_arns and not is_vague(name))
        or _defaults(action, kind.name.lower(), name)
        for name in own_variables(kind.arn)
    )


def _may_be_named(prefix: str, kind: ResourceType, variable: str, texts: RequestTexts) -> bool:
    """Whether the request has a key that may fill a variable; never False wrongly."""
    return not texts.keys.isdisjoint(keys_for(prefix, kind.name, kind.arn, variable, texts.noun))


def keys_of_type(action: str, kind: ResourceType, noun: str) -> frozenset[str]:
    """Keys of a request about `noun` that tell of resources of one type of an action; each also means its plural."""
    prefix = action.partition(":")[0]
    keys = {key for name in own_variables(kind.arn) for key in keys_for(prefix, kind.name, kind.arn, name, noun)}
    chosen = {row["parameter"].lower() for row in _choices(action, kind.name.lower())}
    return frozenset(keys | chosen | _other_keys(prefix, kind.name.lower()))


def only_one(kind: ResourceType, call: Call) -> Resource:
    """The resource of a type whose ARN has no variable; some templates have a `*` of their own (`endpoint:*`)."""
    arn = wildcard(kind.arn, call)
    return Resource(arn, "the only one of its type", "*" not in arn)


def more_than_told(kind: ResourceType, call: Call) -> Resource:
    """All of a type, of which a call names more than are told one by one."""
    told = f"any {kind.name}: the request names more than {MOST_RESOURCES}"
    return Resource(wildcard(kind.arn, call), told, exact=False)


def _most(found: Mapping[str, Named]) -> int:
    return max(len(named.texts) for named in found.values())


def _named(prefix: str, kind: ResourceType, variable: str, texts: RequestTexts) -> Named:
    """What fills a variable: the request's names, or parts of its ARNs of other types."""
    named = values_for(prefix, kind, variable, texts) if _may_be_named(prefix, kind, variable, texts) else Named()
    if named.texts or is_vague(variable):
        return named
    if not texts.holds_arns:
        return _NOT_EVEN_IN_PART
    parts = [
        escape_observed(text)
        for _, arn in texts.values
        if arn.startswith("arn:") and not is_of_type(prefix, arn, kind.name)
        for name, text in variables_of_arn(prefix, arn)
        if name == variable
    ]
    return Named(tuple(dict.fromkeys(parts)), Likeness.PART)


def _filled(call: Call, action: str, kind: ResourceType, found: Mapping[str, Named], index: int) -> Resource:
    prefix = action.partition(":")[0]
    chosen = {
        name: named.texts[min(index, len(named.texts) - 1)] if named.texts else "*" for name, named in found.items()
    }
    whole = not any(has_wildcard(text) for text in chosen.values())
    likeness = max(named.likeness for named in found.values())
    arn = _substitute(kind.arn, call, chosen, is_owned_by_aws(prefix, kind.name, chosen))
    arn += end_of(action, kind.name.lower())
    if not whole:
        return Resource(arn, IN_PART if likeness <= Likeness.PLAIN else _LIKE_IN_PART, exact=False)
    return Resource(arn, _DERIVATIONS[likeness], exact=likeness <= Likeness.PLAIN)


def fill_with(call: Call, kind: ResourceType, values: Mapping[str, str]) -> str:
    """A type's ARN with some of its variables filled, the others open."""
    return _substitute(kind.arn, call, values)


def wildcard(template: str, call: Call) -> str:
    """All resources of a template in the call's partition, region and account."""
    return _substitute(template, call, {})


def _substitute(template: str, call: Call, values: Mapping[str, str], aws_owned: bool = False) -> str:
    places = {"Partition": partition(call), "Region": call.region, "Account": call.account}
    pieces = _pieces(template.replace(":${Account}:", "::") if aws_owned else template)
    filled = [*pieces]
    for at in range(1, len(pieces), 2):
        filled[at] = places.get(pieces[at]) or _without_prefix(values.get(pieces[at], ""), pieces[at - 1]) or "*"
    return "".join(filled)


def _without_prefix(text: str, before: str) -> str:
    """A text without what the template has before it: `ou-a1b2-11111111` behind `ou-` (Organizations)."""
    return text.removeprefix(re.split("[/:]", before)[-1]) if before.endswith("-") else text


@cache
def _pieces(template: str) -> tuple[str, ...]:
    """A template's texts and, at each second place, names of variables."""
    return tuple(VARIABLE.split(template))


def partition(call: Call) -> str:
    """The partition of the caller, `aws-cn`."""
    return call.principal.split(":", 2)[1] if call.principal.startswith("arn:") else "aws"


def from_uri(call: Call, template: str) -> Resource:
    """A template of the events table, `arn:{partition}:apigateway:{region}::/apis/{apiId}`, filled by member names."""
    named = {re.sub(r"[^a-z0-9]", "", key): value for key, value in reversed(request_values(call.parameters))}
    open_names = []

    def value(match: re.Match[str]) -> str:
        name = re.sub(r"[^a-z0-9]", "", match[1].lower())
        fixed = {"partition": partition(call), "region": call.region}.get(name)
        if fixed or name in named:
            return fixed or escape_observed(quote(named[name], safe="") if "arn" in name else named[name])
        open_names.append(name)
        return "*"

    # The URI of version 2 begins with /v2, the resource does not
    # (https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html, read 2026-11-24).
    filled = re.sub(r"\{([\w-]+)\}", value, template.replace("::/v2/", "::/"))
    return Resource(filled, "URI of the operation, filled from the request", exact=not open_names)


def is_meant_otherwise(prefix: str, kind: str, texts: RequestTexts) -> bool:
    """Whether the request means resources of a type without naming them: `targets` by tag, a template by its name."""
    keys = _other_keys(prefix, kind.lower())
    return bool(keys) and not keys.isdisjoint(texts.members)


@lru_cache(maxsize=4_096)
def _other_keys(prefix: str, kind: str) -> frozenset[str]:
    return frozenset(
        row["parameter"].lower() for row in table("meant_otherwise") if (row["prefix"], row["type"]) == (prefix, kind)
    )


def is_chosen(action: str, kind: str, texts: RequestTexts) -> bool:
    """Whether a type may be the one meant, where a parameter decides: a rule on the default event bus."""
    rows = _choices(action, kind.lower())
    return not rows or all(_agrees(row, texts) for row in rows)


def _agrees(row: Mapping[str, str], texts: RequestTexts) -> bool:
    named = texts.outer if row["means"] == "only" else texts.values
    values = [re.split("[/:]", value)[-1] for key, value in named if key == row["parameter"].lower()]
    if row["means"] == "only":
        return bool(values) and row["value"] in ("*", *values)
    return all(value == row["value"] for value in values or [row["value"]]) == (row["means"] == "this")


@lru_cache(maxsize=4_096)
def _choices(action: str, kind: str) -> tuple[Mapping[str, str], ...]:
    prefix, _, name = action.partition(":")
    rows = (row for row in table("type_choices") if (row["prefix"], row["type"]) == (prefix, kind))
    return tuple(row for row in rows if row["action"] in ("", name))


def _default(call: Call, action: str, kind: str, variable: str, texts: RequestTexts) -> tuple[str, ...]:
    """What AWS takes where a request does not name a part of the resource; a request without a word may list all."""
    found = []
    for value in _defaults(action, kind, variable):
        if value != _CALLER:
            found += [escape_observed(value)] if texts.values else []
        elif ":user/" in call.principal:
            found.append(escape_observed(call.principal.partition(":user/")[2]))
    return tuple(found)


@lru_cache(maxsize=4_096)
def _defaults(action: str, kind: str, variable: str) -> tuple[str, ...]:
    prefix, _, name = action.partition(":")
    return tuple(
        row["value"]
        for row in table("absent_parameters")
        if (row["prefix"], row["variable"]) == (prefix, variable)
        and row["type"] in ("", kind)
        and (not row["actions"] or name in row["actions"].split(","))
    )


def is_owned_by_aws(prefix: str, kind: str, chosen: Mapping[str, str]) -> bool:
    """Whether names of AWS's own were chosen, whose ARNs have no account: the document `AWS-RunShellScript`."""
    return any(
        re.match(row["name"], text, re.IGNORECASE)
        for row in _own_names(prefix, kind.lower())
        for name, text in chosen.items()
        if name == row["variable"]
    )


@lru_cache(maxsize=4_096)
def _own_names(prefix: str, kind: str) -> tuple[Mapping[str, str], ...]:
    return tuple(row for row in table("names_of_aws") if (row["prefix"], row["type"]) == (prefix, kind))
