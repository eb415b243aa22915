"""Tags set while a thing is made: AWS checks the tagging action too, and CloudTrail has no event for it.

Only where a page of AWS says so: `data/tags_on_create.tsv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

from leastpriv.model import Basis, Call, Condition, Need, Permission
from leastpriv.permissions.presence import Presence
from leastpriv.permissions.resource_types import fits
from leastpriv.permissions.resources import resources_of
from leastpriv.permissions.tables import table
from leastpriv.permissions.templates import Resource, partition

_EC2_TYPE = re.compile(r"[a-z][a-z0-9-]+")
_TAGS_ITSELF = re.compile(r"(Tag|Untag|AddTags|RemoveTags|CreateTags|DeleteTags|ListTags|Describe|Get|List)")


def tagging_needs(call: Call, operation: str, presence: Presence, observed: Sequence[Need]) -> Iterator[Need]:
    """The tagging actions of a creating call that carries tags, on what the call itself was authorised on."""
    for row in tags_of(operation):
        if row["parameter"].lower() not in presence.filled and not _specifications(call, row["parameter"]):
            continue
        name = operation.partition(":")[2]
        conditions = (Condition("StringEquals", row["condition"], (name,)),) if row["condition"] else ()
        for resource in _tagged(call, row, observed):
            yield Need(
                permission=Permission(row["action"], resource.pattern, conditions),
                basis=Basis.INFERRED,
                derivation=resource.derivation,
                because=f"{call.source.partition('.')[0]}:{call.name} sets tags on what it makes",
                exact=resource.exact,
            )


@lru_cache(maxsize=16_384)
def tags_of(operation: str) -> tuple[Mapping[str, str], ...]:
    """Rows of the table for one operation (`ecs:RunTask`); empty for an operation that tags or reads."""
    prefix, _, name = operation.partition(":")
    if _TAGS_ITSELF.match(name):
        return ()
    return (*_rows().get(operation, ()), *_rows().get(f"{prefix}:*", ()))


@cache
def _rows() -> Mapping[str, tuple[Mapping[str, str], ...]]:
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    for row in table("tags_on_create"):
        found[row["operation"]] = (*found.get(row["operation"], ()), row)
    return found


def _tagged(call: Call, row: Mapping[str, str], observed: Sequence[Need]) -> Iterator[Resource]:
    if row["action"] == "ec2:CreateTags":
        for kind in _specifications(call, row["parameter"]):
            pattern = f"arn:{partition(call)}:ec2:{call.region}:{call.account}:{kind}/*"
            if fits(row["action"], pattern):
                # Exact: a new thing has no id yet, and EC2 checks the request on `instance/*` itself (its refusals
                # name that, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html).
                yield Resource(pattern, f"a new {kind}, as the request's tags say", exact=True)
        return
    own = [need for need in observed if need.permission.resource != "*"]
    fitting = [need for need in own if fits(row["action"], need.permission.resource)]
    if fitting:
        yield from (Resource(need.permission.resource, need.derivation, need.exact) for need in fitting)
    else:
        yield from resources_of(call, row["action"])


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
