"""Tags set while a thing is made: AWS checks the tagging action too, and CloudTrail has no event for it.

Only where a page of AWS says so: `data/tags_on_create.tsv`. What the call makes: `data/made_types.tsv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from msgspec import structs

from leastpriv.model import Basis, Call, Condition, Need, Permission
from leastpriv.permissions.event_map import facts_of
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.presence import Presence
from leastpriv.permissions.request import noun_of, request_values
from leastpriv.permissions.resource_types import action_of, fits
from leastpriv.permissions.resources import resources_of
from leastpriv.permissions.tables import table
from leastpriv.permissions.templates import Resource, from_uri, wildcard

_EC2_TYPE = re.compile(r"[a-z][a-z0-9-]+")
_SHORTEST = 3
"""Letters of a type's name that may stand in the name of what makes it."""
_TYPE_AND_ID = 2
"""Parts of `agent/*`, which names nothing."""
_TAGS_ITSELF = re.compile(r"(Tag|Untag|AddTags|RemoveTags|CreateTags|DeleteTags|ListTags|Describe|Get|List)")


def tagging_needs(call: Call, operation: str, presence: Presence) -> Iterator[Need]:
    """The tagging actions of a creating call that carries tags, on what it makes and nothing else."""
    for row in tags_of(operation):
        if not _carries_tags(call, row, presence):
            continue
        name = operation.partition(":")[2]
        conditions = (Condition("StringEquals", row["condition"], (name,)),) if row["condition"] else ()
        for resource in _tagged(call, operation, row):
            yield Need(
                permission=Permission(row["action"], resource.pattern, conditions),
                basis=Basis.INFERRED,
                derivation=resource.derivation,
                because=f"{call.source.partition('.')[0]}:{call.name} sets tags on what it makes",
                exact=resource.exact,
            )


def _carries_tags(call: Call, row: Mapping[str, str], presence: Presence) -> bool:
    key = row["parameter"].lower()
    is_there = key in presence.texts if row["empty"] == "yes" else key in presence.filled
    return is_there or bool(_specifications(call, row["parameter"]))


@lru_cache(maxsize=16_384)
def tags_of(operation: str) -> tuple[Mapping[str, str], ...]:
    """Rows of the table for one operation (`ecs:RunTask`); empty for an operation that tags or reads."""
    prefix, _, name = operation.partition(":")
    if _TAGS_ITSELF.match(name):
        return ()
    rows = (*_rows().get(operation, ()), *_rows().get(f"{prefix}:*", ()))
    known = {row["action"] for row in rows}
    return (*rows, *(_compiled(parameter, action) for action, held in facts_of(operation).tags.items() for parameter in held if action not in known))


def _compiled(parameter: str, action: str) -> Mapping[str, str]:
    """A row of the event map in the form of the table."""
    return {"parameter": parameter, "action": action, "condition": "", "resource": "", "empty": ""}


@cache
def _rows() -> Mapping[str, tuple[Mapping[str, str], ...]]:
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    for row in table("tags_on_create"):
        found[row["operation"]] = (*found.get(row["operation"], ()), row)
    return found


def _tagged(call: Call, operation: str, row: Mapping[str, str]) -> Iterator[Resource]:
    if row["action"] == "ec2:CreateTags":
        templates = _ec2_templates()
        for kind in _specifications(call, row["parameter"]):
            if kind in templates:
                # Exact: a new thing has no id yet, and EC2 checks the request on `instance/*` itself (its refusals
                # name that, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html).
                yield Resource(wildcard(templates[kind], call), f"a new {kind}, as the request's tags say", exact=True)
        return
    if row["resource"]:
        asked = from_uri(call, row["resource"].replace("{account}", call.account))
        yield replace(asked, derivation="as AWS asks for it")
        return
    made = made_by(operation, row["action"])
    under = _under(call, row["action"], made)
    if under:
        yield under
        return
    # Which of several types is made the tables tell of the creating action.
    by_creating = len(made.types) > 1 and {*made.types} <= {*_types(operation)}
    action = operation if by_creating else row["action"]
    for resource in resources_of(_about_the_new(call, made), action, of_types=made.types):
        yield replace(resource, exact=resource.exact or (made.asked and _is_named_in_part(resource)))


def _about_the_new(call: Call, made: Made) -> Call:
    """The call without what it copies or restores from, which it does not tag, in the region of what it makes."""
    named = {str(key).lower(): value for key, value in call.parameters.items()}
    own = {re.sub("^target", "", key): value for key, value in named.items() if not key.startswith("source")}
    region = named.get(made.region.lower())
    return structs.replace(call, parameters=own, region=region if isinstance(region, str) and region else call.region)


@cache
def _ec2_templates() -> Mapping[str, str]:
    """Type as a tag specification names it -> template of its ARNs; those of images and snapshots have no account."""
    known = action_of("ec2:CreateTags")
    arns = [kind.arn for kind in known.resource_types] if known else []
    return {arn.split(":", 5)[5].partition("/")[0]: arn for arn in arns}


def _under(call: Call, action: str, made: Made) -> Resource | None:
    """A thing whose ARN goes on from that of its parent: `listener/app/web/5…` gives `listener-rule/app/web/5…/*`."""
    for key, value in request_values(call.parameters) if made.under else ():
        head, slash, path = escape_observed(value).partition("/")
        if key == made.under.lower() and slash and value.startswith("arn:"):
            pattern = f"{head.rpartition(':')[0]}:{made.types[0].partition('/')[0]}/{path}/*"
            if fits(action, pattern):
                return Resource(pattern, f"named in part by {key} of the request", made.asked)
    return None


def _is_named_in_part(resource: Resource) -> bool:
    """Whether the request names all but the id that AWS gives: `targetgroup/web/*`, not `targetgroup/*/*`."""
    path = resource.pattern.split(":", 5)[5].split("/")
    return len(path) > _TYPE_AND_ID and path[-1] == "*" and "*" not in path[:-1]


@dataclass(frozen=True, slots=True)
class Made:
    """What a creating operation makes."""

    types: tuple[str, ...]
    """Resource types in lower case; empty where nothing tells them apart."""
    asked: bool = False
    """AWS asks for `*` in place of the new thing's id (its refusals show it)."""
    region: str = ""
    """Key of the request that holds the new thing's region; empty where that is the call's."""
    under: str = ""
    """Key of the request that holds the ARN of the thing's parent, whose path its own goes on from."""


@lru_cache(maxsize=4_096)
def made_by(operation: str, tagging: str) -> Made:
    """What an `operation` (`rds:CreateDBInstance`) makes of the types that its `tagging` action takes.

    By `data/made_types.tsv`, the type with the operation's noun, or the only type that both actions take.
    """
    row = next((row for row in table("made_types") if row["operation"] == operation), None)
    if row:
        return Made(tuple(row["types"].split(",")), row["asked"] == "yes", row["region"], row["under"])
    types = _types(tagging)
    noun = noun_of(operation.partition(":")[2])
    flat = {name: re.sub("resource$|[^a-z0-9]", "", name).removesuffix("s") for name in types}
    named = [name for name in types if flat[name] == noun.removesuffix("s")]
    common = [name for name in types if name in _types(operation)]
    if named or len(common) == 1:
        return Made(tuple(named or common))
    # `CreateCustomRoutingAccelerator` makes an accelerator, `CreateFileSystemFromBackup` a file system.
    within = [name for name in types if len(flat[name]) >= _SHORTEST and flat[name] in noun.partition("from")[0]]
    longest = max((len(flat[name]) for name in within), default=0)
    within = [name for name in within if len(flat[name]) == longest]
    return Made(tuple(within if len(within) == 1 else types))


def _types(action: str) -> tuple[str, ...]:
    known = action_of(action)
    return tuple(dict.fromkeys(kind.name.lower() for kind in known.resource_types)) if known else ()


def _specifications(call: Call, parameter: str) -> tuple[str, ...]:
    """Resource types of EC2's `tagSpecificationSet`, `TagSpecification` …; a launch template's tag nothing yet."""
    found: dict[str, None] = {}
    level: list[tuple[str, object]] = [("", call.parameters)]
    while level:
        deeper: list[tuple[str, object]] = []
        for key, value in level[:1_000]:
            if isinstance(value, Mapping):
                lower = {str(name).lower(): item for name, item in value.items()}
                kind = lower.get("resourcetype")
                if key.startswith(parameter.lower()) and isinstance(kind, str) and _EC2_TYPE.fullmatch(kind):
                    found.update({kind: None} if _has_tags(lower) else {})
                deeper.extend((key if name == "items" else name, item) for name, item in lower.items())
            elif isinstance(value, list):
                deeper.extend((key, item) for item in value)
        level = [(key, value) for key, value in deeper if key != "launchtemplatedata"]
    return tuple(found)


def _has_tags(specification: Mapping[str, object]) -> bool:
    return any(name.startswith("tag") and value not in (None, [], {}) for name, value in specification.items())
