"""Which resource a call was authorised on, as far as its record tells.

In order: ARNs the record lists (`resources[]`), ARNs in the request, the action's ARN template filled from the request,
ARNs in the response (for things just created), the template with wildcards. An ARN counts only when it is of a resource
type of the action: the bucket's ARN never stands under `s3:GetObject`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from urllib.parse import unquote

from leastpriv.model import Call
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import escape_observed, resource_matches, resource_overlaps
from leastpriv.permissions.request import FREE_MAPS, owner, request_values, values_for
from leastpriv.permissions.tables import table

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[^:]*:[^:]*:.+", re.DOTALL)
_PLACES = ("Partition", "Region", "Account")
_MOST_RESOURCES = 50
NAMED = "named by the request"
"""Derivation of a resource whose ARN was made from its name."""
_IAM_NAME = re.compile(r"(arn:[^:]*:iam::[^:]*:(?:role|user|group|policy|instance-profile)/)([^/*]+)")
_MOST_TYPES = 10
"""An action may take one of many types (`ec2:CreateTags`: 90); more than this are written as one pattern."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of one call: an ARN (observed names escaped) or pattern, how it was found, whether it is all known."""

    pattern: str
    derivation: str
    exact: bool


def resources_of(call: Call, action: str, *, on: str = "", template: str = "") -> tuple[Resource, ...]:
    """The resources that `action` was authorised on in `call`; at least one.

    `on` is `source` or `target` where the event copies one thing to another; `template` is an ARN template of the
    events table.
    """
    known = _action(action)
    if template:
        return (_from_template(call, template),)
    if known is None or not known.resource_types:
        return (Resource("*", "the action has no resource type", exact=known is not None),)
    prefix = action.partition(":")[0]
    values = request_values(call.parameters, skip=FREE_MAPS)
    call = replace(call, account=owner(values) or call.account)
    if on == "source" and prefix == "s3":
        return _copy_source(call, values)
    side = _of_one_side(call, on, prefix, known, values) if on else ()
    if side:
        return side
    found = _listed(call, prefix, known) or _in_request(call, prefix, known, values)
    return (*found, *_named_besides(call, prefix, known, values, found)) or tuple(_filled(call, prefix, known, values))


def _of_one_side(
    call: Call, on: str, prefix: str, action: catalog.Action, values: Sequence[tuple[str, str]]
) -> tuple[Resource, ...]:
    """Resources of one end of a copy: CloudTrail lists both, the request's keys (`sourceKeyId`) tell them apart."""
    own = [pair for pair in values if pair[0].startswith(("source", "x-amz-copy-source")) == (on == "source")]
    alone = replace(call, resources=())
    named = tuple(resource for resource in _filled(alone, prefix, action, own) if resource.exact)
    return named or _in_request(alone, prefix, action, own)


def widest(action: str, principal: str, regions: Sequence[str]) -> tuple[str, ...]:
    """The widest resources of an action in the principal's partition and account and the regions seen.

    `*` where the action has no resource type; required types alone where it has some.
    """
    known = _action(action)
    if known is None or not known.resource_types:
        return ("*",)
    required = [kind for kind in known.resource_types if kind.required]
    partition, account = principal.split(":")[1], principal.split(":")[4]
    found = [
        _placed(kind.arn, {"Partition": partition, "Region": region, "Account": account})
        for kind in required or known.resource_types
        for region in regions or ("*",)
    ]
    return tuple(dict.fromkeys(found))


def _placed(template: str, places: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: places.get(match[1], "*"), template)


def fits(action: str, resource: str) -> bool:
    """Whether a resource ARN or pattern can be one of the action's resource types (promise 2)."""
    known = _action(action)
    if known is None or resource == "*":
        return True
    if not known.resource_types:
        return False
    templates = (*(kind.arn for kind in known.resource_types), *_uris(known.name))
    return any(_shape_overlaps(template, resource) for template in templates)


def kinds_of(action: str, resource: str) -> tuple[str, ...]:
    """Names of the action's resource types that a resource pattern can be of."""
    known = _action(action)
    kinds = known.resource_types if known else ()
    return tuple(dict.fromkeys(kind.name for kind in kinds if resource == "*" or _shape_overlaps(kind.arn, resource)))


@lru_cache(maxsize=16_384)
def _action(name: str) -> catalog.Action | None:
    """The catalogue's action; a cell of AWS's page that holds two ARNs of one type gives two (13 types, 2026-10)."""
    known = catalog.action(name)
    if known is None:
        return None
    kinds = [replace(kind, arn=arn) for kind in known.resource_types for arn in kind.arn.split(", ")]
    return replace(known, resource_types=tuple(kinds))


@cache
def _uris(action: str) -> tuple[str, ...]:
    """Templates of the events table; the catalogue lacks some resources of API Gateway (`/apis`, 2026-10)."""
    rows = (row for row in table("events") if row["resource"] and row["actions"] == action)
    return tuple(re.sub(r"\{([\w-]+)\}", r"${x}", row["resource"].replace("::/v2/", "::/")) for row in rows)


def with_any_path(arn: str) -> str:
    """An IAM resource made from its name, under any path: requests name a role without it; empty for other ARNs."""
    match = _IAM_NAME.fullmatch(arn)
    return f"{match[1]}*/{match[2]}" if match else ""


@lru_cache(maxsize=65_536)
def _shape_overlaps(template: str, resource: str) -> bool:
    """Whether some ARN of the template's shape matches the pattern; field by field where the fields are literal."""
    # AWS's own resources have no account (`arn:aws:ssm:eu-west-1::document/AWS-RunShellScript`).
    shape = _VARIABLE.sub("?*", template.replace(":${Account}:", ":*:")).split(":", 5)
    fields = resource.split(":", 5)
    if len(fields) < 6 or any("*" in field or "?" in field for field in fields[:5]):
        return resource_overlaps(_VARIABLE.sub("*", template), resource)
    return all(resource_overlaps(one, other) for one, other in zip(shape, fields, strict=True))


def _listed(call: Call, prefix: str, action: catalog.Action) -> tuple[Resource, ...]:
    return _of_arns(call.resources, prefix, action, "listed by CloudTrail")


def _in_request(
    call: Call, prefix: str, action: catalog.Action, values: Sequence[tuple[str, str]]
) -> tuple[Resource, ...]:
    """ARNs in the request, unless the request names the resource: then only those that the name covers.

    A request may hold other ARNs of the same type (the destination of a bucket's replication, a stack as a parameter).
    """
    named = {kind.name.lower(): _fill(call, prefix, kind, values) for kind in action.resource_types}
    arns = [value for _, value in values if value.startswith("arn:") and _is_meant(prefix, value, named)]
    found = _of_arns(arns, prefix, action, "ARN in the request")
    if not found:
        return ()
    return (*found, *(resource for filled in named.values() for resource in filled if resource.exact))


def _is_meant(prefix: str, arn: str, named: Mapping[str, Sequence[Resource]]) -> bool:
    """Whether the request names no resource of the ARN's type, or this one."""
    patterns = [resource.pattern for kind in _types_of_arn(prefix, arn) for resource in named.get(kind.lower(), ())]
    return not patterns or any(resource_matches(pattern, arn) for pattern in patterns)


def _of_arns(arns: Sequence[str], prefix: str, action: catalog.Action, derivation: str) -> tuple[Resource, ...]:
    found = [arn for arn in dict.fromkeys(arns) if _is_of(action, prefix, arn)]
    usable = [_usable(prefix, arn) for arn in found[:_MOST_RESOURCES]]
    return tuple(Resource(arn, derivation, exact="??????" not in arn) for arn in usable)


def _named_besides(
    call: Call,
    prefix: str,
    action: catalog.Action,
    values: Sequence[tuple[str, str]],
    found: Sequence[Resource],
) -> Iterator[Resource]:
    """Resources of required types that the request names beside the ARNs found: the alias, not only its key."""
    for kind in action.resource_types if found else ():
        if kind.required and not any(_shape_overlaps(kind.arn, resource.pattern) for resource in found):
            yield from (resource for resource in _fill(call, prefix, kind, values) if resource.exact)


def _usable(prefix: str, arn: str) -> str:
    """An observed ARN as policies name it: a log group's with `:*`, a secret's with its six random characters.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
    """
    escaped = escape_observed(arn)
    if prefix == "logs" and re.fullmatch(r"arn:[^:]*:logs:[^:]*:[^:]*:log-group:[^:]+(:\*|:log-stream:)?", arn):
        return escape_observed(re.sub(r"(:\*|:log-stream:)$", "", arn)) + ":*"
    if prefix == "secretsmanager" and not re.search(r"-[A-Za-z0-9]{6}$", arn):
        return escaped + "-??????"
    return escaped


@lru_cache(maxsize=65_536)
def _types_of_arn(prefix: str, arn: str) -> frozenset[str]:
    """Names of the service's resource types whose template fits the ARN most closely."""
    fitting = [
        (len(_VARIABLE.sub("", kind.arn)), kind.name)
        for kind in catalog.resource_types(prefix)
        if any(_template_regex(template).fullmatch(arn) for template in kind.arn.split(", "))
    ]
    best = max((length for length, _ in fitting), default=0)
    return frozenset(name for length, name in fitting if length == best)


def _is_of(action: catalog.Action, prefix: str, arn: str) -> bool:
    if not _ARN.fullmatch(arn):
        return False
    own = {kind.name.lower() for kind in action.resource_types}
    return bool(own & _types_of_arn(prefix, arn))


@cache
def _template_regex(template: str) -> re.Pattern[str]:
    """Matches ARNs of a template: only its last variable may hold separators."""
    parts = _VARIABLE.split(template)
    last = len(parts) - 2
    pieces = [
        re.escape(part) if index % 2 == 0 else (".+" if index == last else "[^:/]*") for index, part in enumerate(parts)
    ]
    return re.compile("".join(pieces), re.DOTALL)


def _filled(call: Call, prefix: str, action: catalog.Action, values: Sequence[tuple[str, str]]) -> Iterator[Resource]:
    """Templates filled from the request; required types that nothing names stay as type wildcards."""
    full: list[Resource] = []
    partial: list[Resource] = []
    open_types: list[catalog.ResourceType] = []
    for kind in action.resource_types:
        filled = _fill(call, prefix, kind, values)
        if not filled:
            open_types.append(kind)
        for resource in filled:
            (full if resource.exact else partial).append(resource)
    if full or partial:
        yield from (full or partial)[:_MOST_RESOURCES]
        open_types = [kind for kind in open_types if kind.required]
    else:
        created = [arn for _, arn in request_values(call.response) if _is_of(action, prefix, arn)]
        if created:
            yield Resource(_usable(prefix, created[0]), "ARN in the response", exact=False)
            return
    yield from _any([kind for kind in open_types if kind.required] or open_types, call)


def _any(kinds: Sequence[catalog.ResourceType], call: Call) -> Iterator[Resource]:
    patterns = {kind.name: _wildcard(kind.arn, call) for kind in kinds}
    if len(patterns) <= _MOST_TYPES:
        for name, pattern in patterns.items():
            yield Resource(pattern, f"any {name}: the request names none", exact=False)
        return
    heads = dict.fromkeys(":".join(pattern.split(":")[:5]) for pattern in patterns.values())
    for head in heads:
        yield Resource(f"{head}:*", f"any of {len(patterns)} types: the request names none", exact=False)


def _fill(call: Call, prefix: str, kind: catalog.ResourceType, values: Sequence[tuple[str, str]]) -> list[Resource]:
    variables = [name for name in _VARIABLE.findall(kind.arn) if name not in _PLACES]
    found = {name: values_for(prefix, name, values) for name in variables}
    if not any(found.values()):
        return [] if variables else [Resource(_wildcard(kind.arn, call), "the only one of its type", True)]
    widest = max((len(texts) for texts in found.values()), default=1)
    exact = all(found.values()) and "??????" not in str(found)
    resources = []
    for index in range(min(widest, _MOST_RESOURCES)):
        chosen = {name: texts[min(index, len(texts) - 1)] if texts else "*" for name, texts in found.items()}
        arn = _substitute(kind.arn, call, chosen)
        if prefix == "logs" and kind.name == "log-group":
            arn += ":*"
        resources.append(Resource(arn, NAMED if exact else "named in part by the request", exact))
    return resources


def _substitute(template: str, call: Call, values: Mapping[str, str]) -> str:
    places = {"Partition": _partition(call), "Region": call.region, "Account": call.account}
    return _VARIABLE.sub(lambda match: places.get(match[1]) or values.get(match[1]) or "*", template)


def _wildcard(template: str, call: Call) -> str:
    return _substitute(template, call, {})


def _partition(call: Call) -> str:
    return call.principal.split(":")[1] if call.principal.startswith("arn:") else "aws"


def _from_template(call: Call, template: str) -> Resource:
    """A template of the events table, `arn:{partition}:apigateway:{region}::/apis/{apiId}`, filled by member names."""
    named = {re.sub(r"[^a-z0-9]", "", key): value for key, value in reversed(request_values(call.parameters))}
    open_names = []

    def value(match: re.Match[str]) -> str:
        name = re.sub(r"[^a-z0-9]", "", match[1].lower())
        fixed = {"partition": _partition(call), "region": call.region}.get(name)
        if fixed or name in named:
            return fixed or escape_observed(named[name].replace(":", "%3A") if "arn" in name else named[name])
        open_names.append(name)
        return "*"

    # The URI of version 2 begins with /v2, the resource does not
    # (https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html, read 2026-11-24).
    filled = re.sub(r"\{([\w-]+)\}", value, template.replace("::/v2/", "::/"))
    return Resource(filled, "URI of the operation, filled from the request", exact=not open_names)


def _copy_source(call: Call, values: Sequence[tuple[str, str]]) -> tuple[Resource, ...]:
    for key, value in values:
        if key == "x-amz-copy-source":
            path = escape_observed(unquote(value.partition("?versionId=")[0]).lstrip("/"))
            arn = path if path.startswith("arn:") else f"arn:{_partition(call)}:s3:::{path}"
            return (Resource(arn, "copy source", True),)
    return (Resource(f"arn:{_partition(call)}:s3:::*/*", "copy source not in the record", False),)
