"""ARN templates of resource types, `arn:${Partition}:sqs:${Region}:${Account}:${QueueName}`, filled from a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from leastpriv.model import Call
from leastpriv.permissions.catalog import ResourceType
from leastpriv.permissions.names import Likeness, Named, is_vague, values_for
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.request import RequestTexts, request_values
from leastpriv.permissions.resource_types import VARIABLE, is_of_type, own_variables, variables_of_arn
from leastpriv.permissions.tables import table

MOST_RESOURCES = 50
NAMED = "named by the request"
"""Derivation of a resource whose ARN was made from its name."""
_DERIVATIONS = {
    Likeness.SAME: NAMED,
    Likeness.STEM: "named by the request, under a like name",
    Likeness.TYPE: "named by the request, under the name of its type",
    Likeness.PLAIN: "named by the request, as its plain name or id",
    Likeness.PART: "named by the request, in part by another ARN",
}
_IN_PART = "named in part by the request"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of one call: an ARN (observed names escaped) or pattern, how it was found, whether it is all known."""

    pattern: str
    derivation: str
    exact: bool


def fill(call: Call, prefix: str, kind: ResourceType, texts: RequestTexts) -> list[Resource]:
    """Resources of one type that the request names, whole or in part; empty where it names none."""
    if not _is_chosen(prefix, kind.name, texts):
        return []
    variables = own_variables(kind.arn)
    if not variables:
        return [Resource(wildcard(kind.arn, call), "the only one of its type", True)]
    found = {name: _named(prefix, kind, name, texts) for name in variables}
    named = [each for each in found.values() if each.texts and each.likeness is not Likeness.PART]
    if not texts.values or not (named or len(variables) == 1):
        return []
    for name in [name for name, each in found.items() if not each.texts]:
        found[name] = Named(_default(prefix, kind.name.lower(), name))
    if not any(each.texts for each in found.values()) or all(each.likeness is Likeness.PART for each in found.values()):
        return []
    return [_filled(call, prefix, kind, found, index) for index in range(min(_most(found), MOST_RESOURCES))]


def _most(found: Mapping[str, Named]) -> int:
    return max(len(named.texts) for named in found.values())


def _named(prefix: str, kind: ResourceType, variable: str, texts: RequestTexts) -> Named:
    """What fills a variable: the request's names, or parts of its ARNs of other types."""
    named = values_for(prefix, kind, variable, texts)
    if named.texts or is_vague(variable):
        return named
    parts = [
        escape_observed(text)
        for _, arn in texts.values
        if arn.startswith("arn:") and not is_of_type(prefix, arn, kind.name)
        for name, text in variables_of_arn(prefix, arn)
        if name == variable
    ]
    return Named(tuple(dict.fromkeys(parts)), Likeness.PART)


def _filled(call: Call, prefix: str, kind: ResourceType, found: Mapping[str, Named], index: int) -> Resource:
    chosen = {
        name: named.texts[min(index, len(named.texts) - 1)] if named.texts else "*" for name, named in found.items()
    }
    whole = all(named.texts for named in found.values()) and "??????" not in "".join(chosen.values())
    likeness = max(named.likeness for named in found.values())
    arn = _substitute(kind.arn, call, chosen, is_owned_by_aws(prefix, kind.name, chosen))
    if prefix == "logs" and kind.name == "log-group":
        arn += ":*"
    return Resource(arn, _DERIVATIONS[likeness] if whole else _IN_PART, whole and likeness <= Likeness.PLAIN)


def wildcard(template: str, call: Call) -> str:
    """All resources of a template in the call's partition, region and account."""
    return _substitute(template, call, {})


def _substitute(template: str, call: Call, values: Mapping[str, str], aws_owned: bool = False) -> str:
    places = {"Partition": partition(call), "Region": call.region, "Account": call.account}
    if aws_owned:
        template = template.replace(":${Account}:", "::")
    return VARIABLE.sub(lambda match: places.get(match[1]) or values.get(match[1]) or "*", template)


def partition(call: Call) -> str:
    """The partition of the caller, `aws-cn`."""
    return call.principal.split(":")[1] if call.principal.startswith("arn:") else "aws"


def from_uri(call: Call, template: str) -> Resource:
    """A template of the events table, `arn:{partition}:apigateway:{region}::/apis/{apiId}`, filled by member names."""
    named = {re.sub(r"[^a-z0-9]", "", key): value for key, value in reversed(request_values(call.parameters))}
    open_names = []

    def value(match: re.Match[str]) -> str:
        name = re.sub(r"[^a-z0-9]", "", match[1].lower())
        fixed = {"partition": partition(call), "region": call.region}.get(name)
        if fixed or name in named:
            return fixed or escape_observed(named[name].replace(":", "%3A") if "arn" in name else named[name])
        open_names.append(name)
        return "*"

    # The URI of version 2 begins with /v2, the resource does not
    # (https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html, read 2026-11-24).
    filled = re.sub(r"\{([\w-]+)\}", value, template.replace("::/v2/", "::/"))
    return Resource(filled, "URI of the operation, filled from the request", exact=not open_names)


def is_meant_otherwise(prefix: str, kind: str, texts: RequestTexts) -> bool:
    """Whether the request means resources of a type without naming them: `targets` by tag, a template by its name."""
    keys = _other_keys(prefix, kind.lower())
    return bool(keys) and (not keys.isdisjoint(texts.members) or any(key in keys for key, _ in texts.values))


@lru_cache(maxsize=4_096)
def _other_keys(prefix: str, kind: str) -> frozenset[str]:
    return frozenset(
        row["parameter"].lower() for row in table("meant_otherwise") if (row["prefix"], row["type"]) == (prefix, kind)
    )


def _is_chosen(prefix: str, kind: str, texts: RequestTexts) -> bool:
    """Whether a type is the one meant, where a parameter decides between two: a rule on the default event bus."""
    for row in _choices(prefix, kind.lower()):
        values = [value for key, value in texts.values if key == row["parameter"].lower()] or [row["value"]]
        is_value = all(re.split("[/:]", value)[-1] == row["value"] for value in values)
        if is_value != (row["means"] == "this"):
            return False
    return True


@lru_cache(maxsize=4_096)
def _choices(prefix: str, kind: str) -> tuple[Mapping[str, str], ...]:
    return tuple(row for row in table("type_choices") if (row["prefix"], row["type"]) == (prefix, kind))


@lru_cache(maxsize=4_096)
def _default(prefix: str, kind: str, variable: str) -> tuple[str, ...]:
    return tuple(
        escape_observed(row["value"])
        for row in table("absent_parameters")
        if (row["prefix"], row["variable"]) == (prefix, variable) and row["type"] in ("", kind)
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
