"""Which resource a call was authorised on, as far as its record tells.

In order: ARNs the record lists (`resources[]`), ARNs in the request, the action's ARN template filled from the request,
ARNs in the response (for things just created), the template with wildcards. An ARN counts only when it is of a resource
type of the action: the bucket's ARN never stands under `s3:GetObject`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from leastpriv.model import Call
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import escape_observed, resource_matches
from leastpriv.permissions.request import FREE_MAPS, owner, request_values, values_for
from leastpriv.permissions.resource_types import VARIABLE, action_of, is_of, shape_overlaps, types_of_arn

_PLACES = ("Partition", "Region", "Account")
_MOST_RESOURCES = 50
NAMED = "named by the request"
"""Derivation of a resource whose ARN was made from its name."""
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
    known = action_of(action)
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
    patterns = [resource.pattern for kind in types_of_arn(prefix, arn) for resource in named.get(kind.lower(), ())]
    return not patterns or any(resource_matches(pattern, arn) for pattern in patterns)


def _of_arns(arns: Sequence[str], prefix: str, action: catalog.Action, derivation: str) -> tuple[Resource, ...]:
    found = [arn for arn in dict.fromkeys(arns) if is_of(action, prefix, arn)]
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
        if kind.required and not any(shape_overlaps(kind.arn, resource.pattern) for resource in found):
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
        created = [arn for _, arn in request_values(call.response) if is_of(action, prefix, arn)]
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
    variables = [name for name in VARIABLE.findall(kind.arn) if name not in _PLACES]
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
    return VARIABLE.sub(lambda match: places.get(match[1]) or values.get(match[1]) or "*", template)


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
