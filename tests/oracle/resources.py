"""Which resource a call was authorised on, as far as its record tells.

In order: ARNs the record lists (`resources[]`), ARNs in the request, the action's ARN template filled from the request,
ARNs in the response (for things just created), the template filled in part, the template with wildcards. An ARN counts
only when it is of a resource type of the action: the bucket's ARN never stands under `s3:GetObject`. What comes out
is checked once more: a resource that fits no type of its action is widened to all of its types.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from urllib.parse import unquote

from msgspec import structs

from leastpriv.models import Call
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import escape_observed, resource_covers, resource_matches
from leastpriv.permissions.resource_types import (
    action_of,
    end_of,
    ends_in_a_word,
    fits,
    is_of,
    is_of_other_form,
    is_of_type,
    own_variables,
    shape_overlaps,
    types_of_arn,
    variables_of_arn,
    with_open_parts,
)
from tests.fakes.tables import table
from tests.oracle.arn_templates import (
    MOST_RESOURCES,
    Resource,
    fill,
    fill_with,
    from_uri,
    is_chosen,
    is_meant_otherwise,
    keys_of_type,
    may_be_whole,
    more_than_told,
    only_one,
    partition,
    wildcard,
)
from tests.oracle.request import RequestTexts, creates, owner, owner_keys, request_values, texts_of, without

_MOST_TYPES = 10
"""An action may take one of many types (`ec2:CreateTags`: 90); more than this are written as one pattern."""


def resources_of(
    call: Call,
    action: str,
    *,
    on: str = "",
    template: str = "",
    of_types: Collection[str] = (),
    texts: RequestTexts | None = None,
) -> tuple[Resource, ...]:
    """The resources that `action` was authorised on in `call`; at least one.

    `on` is `source` or `target` where the event copies one thing to another; `template` is an ARN template of the
    events table; `of_types` are the resource types meant (lower case), where not all of the action's are; `texts` are
    those of the request, where the caller has them.
    """
    known = action_of(action)
    if template:
        return (from_uri(call, template),)
    if known is None or not known.resource_types:
        why = "the action has no resource type" if known else "the catalogue does not know the action"
        return (Resource("*", why, exact=known is not None),)
    if _is_on_all(known.name, call):
        return (Resource("*", "AWS authorizes it on all resources alone", exact=True),)
    prefix = action.partition(":")[0]
    known = structs.replace(known, resource_types=_of_types(known, prefix, of_types)) if of_types else known
    texts = without(texts or texts_of(call.name, call.parameters), _told_only(known.name))
    chosen = tuple([kind for kind in known.resource_types if is_chosen(known.name, kind.name, texts)])
    if chosen and chosen != known.resource_types:
        known = structs.replace(known, resource_types=chosen)
    account = owner(prefix, texts.values)
    if account:
        call = structs.replace(call, account=account)
    if on == "source" and prefix == "s3":
        found = _copy_source(call, texts)
    else:
        found = _of_one_side(call, on, prefix, known, texts) if on else ()
    return _fitting(action, found or _of_call(call, prefix, known, texts), known, call)


def _is_on_all(action: str, call: Call) -> bool:
    """Whether AWS authorizes an action on `*` though it has resource types (`on_all.tsv`)."""
    when = _on_all().get(action, "")
    return when == "always" or (when.startswith("has ") and when[4:] in call.parameters)


@cache
def _on_all() -> Mapping[str, str]:
    return {row["action"]: row["when"] for row in table("on_all")}


def keys_of_action(action: str, noun: str) -> frozenset[str]:
    """Keys of a request about `noun` that `resources_of` looks at for an action; each also means its plural.

    ARNs it looks at whatever their key; and at all of a request where `on`, `template` or `of_types` is given.
    """
    known = action_of(action)
    if known is None:
        return frozenset()
    ids = (row["parameter"].lower() for row in _id_rows(known.name))
    own = {*ids, *_told_only(known.name), *owner_keys(action.partition(":")[0])}
    return frozenset(own.union(*(keys_of_type(known.name, kind, noun) for kind in known.resource_types)))


@lru_cache(maxsize=4_096)
def _told_only(action: str) -> frozenset[str]:
    """Keys of a request that its action is not authorised on: the resources that a simulation is about."""
    return frozenset(row["parameter"].lower() for row in table("other_arns") if row["action"] == action)


def _of_types(action: catalog.Action, prefix: str, names: Collection[str]) -> tuple[catalog.ResourceType, ...]:
    kinds = tuple(kind for kind in action.resource_types if kind.name.lower() in names)
    return kinds or tuple(kind for kind in catalog.resource_types(prefix) if kind.name.lower() in names)


def _fitting(action: str, found: Sequence[Resource], known: catalog.Action, call: Call) -> tuple[Resource, ...]:
    """The resources that fit the action's types; all of its types where none does (promise 2)."""
    fitting = tuple(dict.fromkeys(resource for resource in found if fits(action, resource.pattern)))
    return fitting or tuple(_any(known.resource_types, call))


def _of_call(call: Call, prefix: str, action: catalog.Action, texts: RequestTexts) -> Sequence[Resource]:
    is_told = action.name in _LISTED_IN_PART and any(key in _LISTED_IN_PART[action.name] for key, _ in texts.values)
    listed = () if is_told else _of_arns(call, call.resources, action, "listed by CloudTrail")
    found = listed or _in_request(call, prefix, action, texts)
    if found:
        found = (*found, *_named_besides(call, prefix, action, texts, found))
    else:
        found = tuple(_filled(call, prefix, action, texts))
    return found if listed else _with_other_ids(call, action, texts, found)


_LISTED_IN_PART: Mapping[str, Collection[str]] = {"lambda:InvokeFunction": ("functionname",)}
"""Action -> keys of a request that tells more than the record's list: that has a function's ARN without its alias, on
which the call was authorised (a record of 2023-03-21 in a blog's post, "Lambda CloudTrail data events").
"""


def _with_other_ids(
    call: Call, action: catalog.Action, texts: RequestTexts, found: Sequence[Resource]
) -> Sequence[Resource]:
    """The resources found, and those whose ids no type's variable took; type wildcards give way to an id."""
    ends = tuple(resource.pattern for resource in found)
    others: dict[str, Resource] = {}
    for row in _id_rows(action.name):
        for key, value in texts.values:
            is_new = key == row["parameter"].lower() and value not in others
            if is_new and re.fullmatch(row["text"], value) and not any(end.endswith(f"/{value}") for end in ends):
                pattern = wildcard(row["arn"].replace("${Id}", value), call)
                others[value] = Resource(pattern, "named by the request, by its id", exact="*" not in pattern)
    if not others:
        return found
    return (*(resource for resource in found if not resource.derivation.startswith("any ")), *others.values())


@lru_cache(maxsize=4_096)
def _id_rows(action: str) -> tuple[Mapping[str, str], ...]:
    return tuple(row for row in table("ids_of_any_type") if row["action"] == action)


def _of_one_side(call: Call, on: str, prefix: str, action: catalog.Action, texts: RequestTexts) -> tuple[Resource, ...]:
    """Resources of one end of a copy: CloudTrail lists both, the request's keys (`sourceKeyId`) tell them apart."""
    values = [pair for pair in texts.values if pair[0].startswith(("source", "x-amz-copy-source")) == (on == "source")]
    own = replace(texts, values=tuple(values))
    alone = structs.replace(call, resources=())
    named = tuple(resource for resource in _filled(alone, prefix, action, own) if resource.exact)
    found = named or _in_request(alone, prefix, action, own)
    if found or not call.resources:
        return found
    others = replace(texts, values=tuple(pair for pair in texts.values if pair not in values))
    other = {resource.pattern for resource in _filled(alone, prefix, action, others) if resource.exact}
    left = [arn for arn in call.resources if escape_observed(arn) not in other]
    return _of_arns(call, left, action, "listed by CloudTrail") if len(left) < len(call.resources) else ()


def _in_request(call: Call, prefix: str, action: catalog.Action, texts: RequestTexts) -> tuple[Resource, ...]:
    """ARNs in the request, unless the request names the resource: then only those that the name covers.

    A request may hold other ARNs of the same type (the destination of a bucket's replication, a stack as a parameter).
    """
    arns = [value for _, value in texts.values if is_of(action, prefix, value)] if texts.holds_arns else []
    if not arns:
        return ()
    named: dict[str, list[Resource]] = {}
    for kind in action.resource_types:
        named.setdefault(kind.name.lower(), []).extend(fill(call, action.name, kind, texts))
    arns = [value for value in arns if _is_meant(prefix, value, named)]
    found = _of_arns(call, arns, action, "ARN in the request", in_part=True)
    if not found:
        return ()
    return (*found, *(resource for filled in named.values() for resource in filled if _is_whole(resource)))


def _is_meant(prefix: str, arn: str, named: Mapping[str, Sequence[Resource]]) -> bool:
    """Whether the request names no resource of the ARN's type, or this one."""
    patterns = [resource.pattern for kind in types_of_arn(prefix, arn) for resource in named.get(kind.lower(), ())]
    return not patterns or is_of_other_form(prefix, arn) or any(resource_matches(pattern, arn) for pattern in patterns)


def _is_whole(resource: Resource) -> bool:
    """Whether every part is named, be it only under a like name; of a secret's ARN AWS adds the end."""
    return resource.exact or "*" not in resource.pattern.replace("${*}", "")


def _of_arns(
    call: Call, arns: Sequence[str], action: catalog.Action, derivation: str, *, in_part: bool = False
) -> tuple[Resource, ...]:
    """Those of some ARNs that are of the action's types; `in_part`: a caller may have left out a secret's end."""
    prefix = action.name.partition(":")[0]
    found = [arn for arn in dict.fromkeys(arns) if is_of(action, prefix, arn)]
    if len(found) > MOST_RESOURCES:
        names = {name for arn in found for name in types_of_arn(prefix, arn)}
        return tuple(more_than_told(kind, call) for kind in action.resource_types if kind.name.lower() in names)
    # Only a secret's ARN may be given in part.
    in_part = in_part and prefix == "secretsmanager" and bool(found)
    whole = {arn for _, arn in request_values(call.response)} if in_part else ()
    usable = [pattern for arn in found for pattern in _usable(action.name, arn, in_part=in_part and arn not in whole)]
    return tuple(Resource(arn, derivation, exact="??????" not in arn) for arn in dict.fromkeys(usable))


def _named_besides(
    call: Call, prefix: str, action: catalog.Action, texts: RequestTexts, found: Sequence[Resource]
) -> Iterator[Resource]:
    """Resources of other types that the request means beside the ARNs found: the alias, not only its key."""
    for kind in action.resource_types:
        if any(_may_be(prefix, resource.pattern, kind) for resource in found):
            continue
        looked_at = kind.required or may_be_whole(action.name, kind, texts)
        filled = fill(call, action.name, kind, texts) if looked_at else []
        filled = [resource for resource in filled if kind.required or _is_whole(resource)]
        yield from filled
        if not filled and is_meant_otherwise(prefix, kind.name, texts):
            yield from _any([kind], call)


def _may_be(prefix: str, resource: str, kind: catalog.ResourceType) -> bool:
    return shape_overlaps(kind.arn, resource) or is_of_type(prefix, resource, kind.name)


def _usable(action: str, arn: str, *, in_part: bool = False) -> tuple[str, ...]:
    """An observed ARN as policies name it: a log group's with `:*`, a secret's with its six random characters.

    A partial ARN of a secret whose name ends like `-secret` looks whole: both forms are told.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
    """
    prefix = action.partition(":")[0]
    escaped = escape_observed(arn)
    if prefix == "logs" and re.fullmatch(r"arn:[^:]*:logs:[^:]*:[^:]*:log-group:[^:]+(:\*|:log-stream:)?", arn):
        return (escape_observed(re.sub(r"(:\*|:log-stream:)$", "", arn)) + end_of(action, "log-group"),)
    if prefix == "secretsmanager" and not re.search(r"-[A-Za-z0-9]{6}$", arn):
        return (escaped + "-??????",)
    if prefix == "secretsmanager" and in_part and ends_in_a_word(arn):
        return (escaped, escaped + "-??????")
    return (escaped,)


def _filled(call: Call, prefix: str, action: catalog.Action, texts: RequestTexts) -> Iterator[Resource]:
    """Templates filled from the request; required types that nothing names stay as type wildcards."""
    full: list[Resource] = []
    partial: list[Resource] = []
    open_types: list[catalog.ResourceType] = []
    for kind in action.resource_types:
        filled = fill(call, action.name, kind, texts)
        if not filled:
            open_types.append(kind)
        for resource in filled:
            (full if _is_whole(resource) else partial).append(resource)
    meant = [kind for kind in open_types if is_meant_otherwise(prefix, kind.name, texts)]
    if len(action.resource_types) > 1:
        partial = _without_shared_parts(action, prefix, partial)
    answered = None if full else _in_response(call, prefix, action, texts, partial)
    if answered:
        partial = [resource for resource in partial if not resource_covers(resource.pattern, answered.pattern)]
        partial.insert(0, answered)
    chosen = dict(_chosen_by_aws(call, action, open_types))
    yield from (*chosen.values(), *(full or partial))
    named = {kind for kind in open_types if kind in chosen or (answered and _may_be(prefix, answered.pattern, kind))}
    left = [kind for kind in open_types if kind not in named]
    if not (full or partial or meant or chosen) and _on_all().get(action.name) == "unnamed":
        yield Resource("*", "the request names none of its optional resources", exact=True)
        return
    required = [kind for kind in left if kind.required or kind in meant]
    yield from _any(required if full or partial else required or left, call)


def _without_shared_parts(action: catalog.Action, prefix: str, partial: Sequence[Resource]) -> list[Resource]:
    """Resources named in part, without optional types named only by what the required one has too: WAF's scope."""
    required = [each for each in partial if _is_required(action, prefix, each)]
    shared = {text for each in required for _, text in variables_of_arn(prefix, each.pattern)}
    return [
        each
        for each in partial
        if each in required or not shared.issuperset(text for _, text in variables_of_arn(prefix, each.pattern))
    ]


def _is_required(action: catalog.Action, prefix: str, resource: Resource) -> bool:
    names = types_of_arn(prefix, resource.pattern)
    return any(kind.required and kind.name.lower() in names for kind in action.resource_types)


def _chosen_by_aws(
    call: Call, action: catalog.Action, open_types: Sequence[catalog.ResourceType]
) -> Iterator[tuple[catalog.ResourceType, Resource]]:
    """Resources that the request leaves to AWS, by the answer: the default parameter group (`answered_types.tsv`)."""
    rows = _answered_rows(action.name)
    for key, value in request_values(call.response) if rows else ():
        for kind in open_types:
            row = rows.get((kind.name.lower(), key))
            if row and not value.startswith("arn:"):
                pattern = fill_with(call, kind, {row["variable"]: escape_observed(value)})
                yield kind, Resource(pattern, "AWS's choice, as the answer says", exact="*" not in pattern)


@lru_cache(maxsize=4_096)
def _answered_rows(action: str) -> Mapping[tuple[str, str], Mapping[str, str]]:
    prefix, _, name = action.partition(":")
    rows = (row for row in table("answered_types") if row["prefix"] == prefix and name in row["actions"].split(","))
    return {(row["type"], row["parameter"].lower()): row for row in rows}


def _in_response(
    call: Call, prefix: str, action: catalog.Action, texts: RequestTexts, partial: Sequence[Resource]
) -> Resource | None:
    """The resource that the response names, within what the request says of it.

    What a creating call made had no id yet when IAM was asked: parts that the request does not name stay open.
    """
    arns = [arn for _, arn in request_values(call.response) if is_of(action, prefix, arn)]
    for arn in arns:
        kinds = types_of_arn(prefix, arn)
        own = [resource for resource in partial if types_of_arn(prefix, resource.pattern) & kinds]
        if partial and not own and not any(_is_required(action, prefix, each) for each in partial):
            continue  # The request names the parent of what the call made.
        if not own or any(resource_matches(resource.pattern, arn) for resource in own):
            usable = _usable(action.name, arn)[0]
            if creates(call.name) and prefix != "iam":  # IAM's ARNs hold names, which no service chooses anew.
                known = {text for _, text in texts.values}.union(*(re.split("[:/]", each.pattern) for each in own))
                usable = with_open_parts(prefix, arn, known)
            return Resource(usable, "ARN in the response", exact=False)
    return None


def _any(kinds: Sequence[catalog.ResourceType], call: Call) -> Iterator[Resource]:
    if len(kinds) == 1 and not own_variables(kinds[0].arn):
        yield only_one(kinds[0], call)
        return
    patterns = {(kind.name, wildcard(kind.arn, call)): kind.name for kind in kinds}
    if len(patterns) <= _MOST_TYPES:
        for (_, pattern), name in patterns.items():
            yield Resource(pattern, f"any {name}: the request names none", exact=False)
        return
    heads = dict.fromkeys(":".join(pattern.split(":")[:5]) for _, pattern in patterns)
    for head in heads:
        yield Resource(f"{head}:*", f"any of {len(patterns)} types: the request names none", exact=False)


def _copy_source(call: Call, texts: RequestTexts) -> tuple[Resource, ...]:
    for key, value in texts.values:
        if key == "x-amz-copy-source":
            path = escape_observed(unquote(value.partition("?versionId=")[0]).lstrip("/"))
            arn = path if path.startswith("arn:") else f"arn:{partition(call)}:s3:::{path}"
            return (Resource(arn, "copy source", True),)
    return (Resource(f"arn:{partition(call)}:s3:::*/*", "copy source not in the record", False),)
