"""Which resource a call was authorized on, as far as its record says.

In order: ARNs the record lists (`resources[]`), ARNs in the request, the action's ARN template
filled from the request, ARNs in the response (of what the call made), the template filled in part,
the template with wildcards: `sqs:CreateQueue` with `queueName: jobs` was authorized on
`arn:aws:sqs:eu-west-1:123456789012:jobs`. An ARN counts only when it is of a resource type of the
action: the bucket's ARN is never one of `s3:GetObject`. The result is checked once more: a resource
that fits no type of its action is widened to all of its types.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, structs

from leastpriv.models import Call
from leastpriv.permissions.arn_parts import (
    answered_arn,
    is_chosen,
    is_meant_otherwise,
    new_arn,
    of_log_group,
    of_secret,
    own_arns,
)
from leastpriv.permissions.arn_templates import (
    IN_RESPONSE,
    MOST_RESOURCES,
    PLAIN,
    Resource,
    all_of,
    chosen_by_aws,
    copy_source,
    fill,
    from_uri,
    names_another,
    only_one,
    too_many,
    wildcard,
    with_paths,
)
from leastpriv.permissions.patterns import escape_observed, resource_covers, resource_matches
from leastpriv.permissions.request import CallRequest, arns_in, creates, may_create, new_ids
from leastpriv.permissions.resource_types import (
    fits,
    is_about,
    is_of_other_form,
    is_of_type,
    is_whole_arn,
    may_be,
    types_of_arn,
    variables_of_arn,
)
from leastpriv.permissions.service_facts import ActionFacts, ActionType

_WITH_ENDS = ("logs", "secretsmanager")
"""Services whose ARNs policies write with another end than records."""
_OPEN_END = "??????"
"""The end of a secret's ARN that AWS drew."""
_MOST_TYPES = 10
"""An action may take one of many types (`ec2:CreateTags`: 90); more than this are written as one
pattern.
"""
_LISTED, _IN_REQUEST = "listed by CloudTrail", "ARN in the request"
_ON_ALL = (Resource("*", "AWS authorizes it on all resources alone", True),)
_NO_TYPE = (Resource("*", "the action has no resource type", True),)
_NOT_KNOWN = (Resource("*", "the catalogue does not know the action", False),)


def find_resources(
    call: Call, facts: ActionFacts, request: CallRequest, copy_end: str = "", template: str = ""
) -> Sequence[Resource]:
    """Returns the resources of one action of a call whose request was read."""
    if template:
        return (from_uri(call, template),)
    if not facts.is_plain:
        if fixed := resources_of_all_calls(facts):
            return fixed
        rules = facts.rules
        if rules.on_all.startswith("has ") and rules.on_all.removeprefix("has ") in call.parameters:
            return _ON_ALL
        if rules.told_only:
            request = request.without(rules.told_only)
        if facts.has_choices:
            facts = _chosen(facts, request)
        if facts.owners and (account := _owner(facts.owners, request)):
            call = structs.replace(call, account=account)
    resources: Sequence[Resource] = ()
    if copy_end == "source" and facts.prefix == "s3":
        resources = copy_source(call, request)
    elif copy_end:
        resources = _of_one_side(call, copy_end, facts, request)
    return _fitting(resources or _of_call(call, facts, request), facts, call)


def resources_of_all_calls(facts: ActionFacts) -> Sequence[Resource]:
    """Returns the resources of an action where all of its calls have the same; else none."""
    if not facts.types:
        return _NO_TYPE if facts.known else _NOT_KNOWN
    return _ON_ALL if facts.rules.on_all == "always" else ()


def _chosen(facts: ActionFacts, request: CallRequest) -> ActionFacts:
    """The action with the types that may be meant, where a parameter decides."""
    types = tuple([kind for kind in facts.types if is_chosen(facts.prefix, kind, request)])
    if not types or types == facts.types:
        return facts
    return structs.replace(
        facts, types=types, type_names=frozenset(kind.template.name.lower() for kind in types)
    )


def _owner(owners: Mapping[str, str], request: CallRequest) -> str:
    """The account that the request names as the resource's owner; empty where it names none
    (`owners.tsv`).
    """
    matches = (re.fullmatch(owners[key], text) for key, text in request.values if key in owners)
    return next((match[1] for match in matches if match), "")


def _fitting(resources: Sequence[Resource], facts: ActionFacts, call: Call) -> Sequence[Resource]:
    """The resources that fit the action's types; all of its types where none does."""
    if len(resources) == 1 and resources[0].fits:
        return resources
    fitting = [
        resource for resource in resources if resource.fits or fits(facts.name, resource.pattern)
    ]
    if len(fitting) > 1:
        fitting = list(dict.fromkeys(fitting))
    return fitting or _any(facts.types, call)


def is_listed_whole(facts: ActionFacts) -> bool:
    """Whether the resources that CloudTrail lists decide what an action is authorized on, whatever
    the request says.
    """
    return not (
        len(facts.types) != 1
        or facts.rules.on_all
        or facts.has_choices
        or facts.owners
        or facts.name in _LISTED_IN_PART
    )


def listed_resources(call: Call, facts: ActionFacts) -> Sequence[Resource]:
    """Returns the resources of one action that CloudTrail lists; none where it lists none of its
    types.
    """
    return _fitting(resources, facts, call) if (resources := _listed(call, facts)) else ()


def _listed(call: Call, facts: ActionFacts) -> Sequence[Resource]:
    """Returns the ARNs of `resources[]` that are of the action's types."""
    # Of what the call made, IAM did not know the id that AWS gave it later.
    new = new_ids(call)
    if new:
        arns = [arn for arn in call.resources if not arn.endswith(new)]
        return _of_arns(call, arns, facts, _LISTED)
    return _of_arns(call, call.resources, facts, _LISTED)


def _of_call(call: Call, facts: ActionFacts, request: CallRequest) -> Sequence[Resource]:
    """Returns what the record lists, else the ARNs in the request, else the filled templates; with
    ARNs also resources of further types that the request means.
    """
    listed: Sequence[Resource] = ()
    if call.resources and not _is_listed_in_part(facts, request):
        listed = _listed(call, facts)
        if listed and len(facts.types) == 1:
            return listed
    resources = listed
    if not listed and request.arns:
        resources = _in_request(call, facts, request)
    if not resources:
        resources = _filled(call, facts, request)
    elif len(facts.types) > 1:
        further = _types_besides(facts, request, resources)
        if further:
            resources = (*resources, *_named_besides(call, facts, request, resources, further))
        if not listed:
            resources = (*resources, *_not_named(call, facts, resources))
    if facts.rules.ids and not listed:
        return _with_other_ids(call, facts, request, resources)
    return resources


def _is_listed_in_part(facts: ActionFacts, request: CallRequest) -> bool:
    """Whether a request says more than the resources that CloudTrail lists."""
    keys = _LISTED_IN_PART.get(facts.name)
    return keys is not None and not request.by_key.keys().isdisjoint(keys)


_LISTED_IN_PART: Mapping[str, Collection[str]] = {"lambda:InvokeFunction": ("functionname",)}
"""Action -> keys of a request that says more than the record's list: a function's alias (record of
2023-03-21).
"""


def _with_other_ids(
    call: Call, facts: ActionFacts, request: CallRequest, resources: Sequence[Resource]
) -> Sequence[Resource]:
    """The resources found, and those whose ids no type's variable took; type wildcards give way to
    an id.
    """
    patterns = [resource.pattern for resource in resources]
    resources_by_id: dict[str, Resource] = {}
    for id_of_any_type in facts.rules.ids:
        for value in request.by_key.get(id_of_any_type.parameter, ()):
            if value in resources_by_id or not re.fullmatch(id_of_any_type.pattern, value):
                continue
            if not any(pattern.endswith(f"/{value}") for pattern in patterns):
                arn = wildcard(id_of_any_type.arn.replace("${Id}", value), call)
                resources_by_id[value] = Resource(
                    arn, "named by the request, by its id", "*" not in arn
                )
    if not resources_by_id:
        return resources
    named_resources = [
        resource for resource in resources if not resource.derivation.startswith("any ")
    ]
    return (*named_resources, *resources_by_id.values())


def _of_one_side(
    call: Call, copy_end: str, facts: ActionFacts, request: CallRequest
) -> Sequence[Resource]:
    """Resources of one end of a copy: CloudTrail lists both, the request's keys (`sourceKeyId`)
    separate them.
    """
    values = [
        pair
        for pair in request.values
        if pair[0].startswith(("source", "x-amz-copy-source")) == (copy_end == "source")
    ]
    side_request = request.only(values)
    exact_resources = [
        resource for resource in _filled(call, facts, side_request) if resource.exact
    ]
    resources = exact_resources or _in_request(call, facts, side_request)
    if resources or not call.resources:
        return resources
    other_side = _filled(
        call, facts, request.only([pair for pair in request.values if pair not in values])
    )
    other_patterns = {resource.pattern for resource in other_side if resource.exact}
    arns = [arn for arn in call.resources if escape_observed(arn) not in other_patterns]
    return _of_arns(call, arns, facts, _LISTED) if len(arns) < len(call.resources) else ()


def _in_request(call: Call, facts: ActionFacts, request: CallRequest) -> Sequence[Resource]:
    """ARNs in the request, unless the request names the resource: then only those that the name
    covers.

    A request may hold other ARNs of the same type (the destination of a bucket's replication, a
    stack as a parameter). One under a key that names the type counts with the names: the source of
    a copy.
    """
    prefix = facts.prefix
    arns = [arn for arn in request.arns if _is_of(facts, arn)]
    if not arns:
        return ()
    arns_under_keys: set[str] = set()
    resources_by_type: dict[str, list[Resource]] = {}
    for kind in facts.types:
        filled = fill(call, prefix, kind, request)
        arns_of_kind = own_arns(prefix, kind, request)
        if arns_of_kind:
            arns_under_keys.update(arns_of_kind)
            filled = [resource for resource in filled if resource.derivation != PLAIN]
        resources_by_type.setdefault(kind.template.name.lower(), []).extend(filled)
    arns = [
        arn for arn in arns if arn in arns_under_keys or _is_meant(prefix, arn, resources_by_type)
    ]
    meant_resources = _of_arns(call, arns, facts, _IN_REQUEST, in_part=True)
    if not meant_resources:
        return ()
    resources = list(meant_resources)
    for filled in resources_by_type.values():
        resources.extend(resource for resource in filled if _is_whole(resource))
    return resources


def _is_of(facts: ActionFacts, arn: str) -> bool:
    """Whether an ARN is of one of the action's resource types, and of none that fits it more
    closely.
    """
    if facts.type_names.isdisjoint(types_of_arn(facts.prefix, arn)):
        return False
    return arn[:8] == "arn:aws:" or is_whole_arn(arn)


def _is_meant(prefix: str, arn: str, resources_by_type: Mapping[str, Sequence[Resource]]) -> bool:
    """Whether the request names no resource of the ARN's type, or this one."""
    patterns = [
        resource.pattern
        for kind in types_of_arn(prefix, arn)
        for resource in resources_by_type.get(kind, ())
    ]
    if not patterns or is_of_other_form(prefix, arn):
        return True
    return any(resource_matches(pattern, arn) for pattern in patterns)


def _is_whole(resource: Resource) -> bool:
    """Whether every part is named, be it only under a like name; of a secret's ARN AWS adds the
    end.
    """
    return resource.exact or "*" not in resource.pattern.replace("${*}", "")


def _of_arns(
    call: Call, arns: Sequence[str], facts: ActionFacts, derivation: str, *, in_part: bool = False
) -> Sequence[Resource]:
    """Those of some ARNs that are of the action's types; `in_part`: a caller may have left out a
    secret's end.
    """
    fitting_arns = [arn for arn in arns if _is_of(facts, arn)]
    if len(fitting_arns) == 1 and facts.prefix not in _WITH_ENDS:
        arn = fitting_arns[0]
        return [Resource(escape_observed(arn), derivation, _OPEN_END not in arn, True)]
    fitting_arns = list(dict.fromkeys(fitting_arns))
    if len(fitting_arns) > MOST_RESOURCES:
        names = {name for arn in fitting_arns for name in types_of_arn(facts.prefix, arn)}
        return [too_many(kind, call) for kind in facts.types if kind.template.name.lower() in names]
    usable = dict.fromkeys(_with_ends(call, fitting_arns, facts, in_part=in_part))
    return [Resource(arn, derivation, _OPEN_END not in arn) for arn in usable]


def _with_ends(
    call: Call, arns: Sequence[str], facts: ActionFacts, *, in_part: bool
) -> Iterator[str]:
    """Yields ARNs as a policy names them: a secret with its end, a log group with `:*`."""
    if facts.prefix == "secretsmanager" and arns:
        # Only a secret's ARN may be given in part.
        full_arns = {*arns_in(call.response)} if in_part else set()
        for arn in arns:
            yield from of_secret(arn, in_part=in_part and arn not in full_arns)
    elif facts.prefix == "logs":
        for arn in arns:
            yield of_log_group(arn, facts)
    else:
        yield from map(escape_observed, arns)


def _types_besides(
    facts: ActionFacts, request: CallRequest, resources: Sequence[Resource]
) -> Sequence[ActionType]:
    """Returns the types of which a request may mean resources besides those found."""
    kinds: list[ActionType] = []
    for kind in facts.types:
        may_be_meant = kind.required or kind.may_be_whole or kind.other_keys or request.arns
        if may_be_meant and not _is_among(kind, facts.prefix, resources):
            kinds.append(kind)
    return kinds


def _named_besides(
    call: Call,
    facts: ActionFacts,
    request: CallRequest,
    resources: Sequence[Resource],
    kinds: Sequence[ActionType],
) -> Iterator[Resource]:
    """Resources of further types that the request means besides the ARNs found: the alias, not only
    its key.
    """
    for kind in kinds:
        looked_at = kind.required or kind.may_be_whole or request.arns
        filled = fill(call, facts.prefix, kind, request) if looked_at else []
        filled = [resource for resource in filled if kind.required or _is_whole(resource)]
        variables = len(kind.template.variables)
        if (
            not filled
            and kind.required
            and any(
                len(variables_of_arn(facts.prefix, resource.pattern)) > variables
                for resource in resources
            )
        ):
            # The ARN of a child names its parent: the service of a deployment.
            filled = [
                resource
                for resource in fill(call, facts.prefix, kind, request, below=True)
                if _is_whole(resource)
            ]
        yield from filled
        if (
            not filled
            and kind.required
            and is_about(request.noun.partition("from")[0], kind.template.name)
        ):
            # The resource that the call makes, below the one whose ARN the request names.
            kind_facts = structs.replace(
                facts, types=(kind,), type_names=frozenset({kind.template.name.lower()})
            )
            answered = _in_response(call, kind_facts, ()) if call.response else None
            yield from (
                [answered]
                if answered
                else fill(call, facts.prefix, kind, request, below=True) or _any([kind], call)
            )
        elif not filled and is_meant_otherwise(kind, request):
            yield from _any([kind], call)


def _not_named(call: Call, facts: ActionFacts, resources: Sequence[Resource]) -> Iterator[Resource]:
    """Resources of required types that ARNs do not name: AWS's choice, or any where they name
    optional types only.
    """
    open_types = [
        kind
        for kind in facts.types
        if kind.required and not _is_among(kind, facts.prefix, resources)
    ]
    chosen_resources = dict(chosen_by_aws(call, facts, open_types))
    yield from chosen_resources.values()
    if not any(
        _is_required(facts, resource)
        for resource in resources
        if resource.derivation == _IN_REQUEST
    ):
        yield from _any(
            [kind for kind in open_types if kind.template.name not in chosen_resources], call
        )


def _filled(call: Call, facts: ActionFacts, request: CallRequest) -> Sequence[Resource]:
    """Templates filled from the request; required types that nothing names remain type
    wildcards.
    """
    by_request = _by_types(call, facts, request)
    if not by_request.full:
        return _named_in_part(call, facts, request, by_request)
    full = by_request.full
    open_types = [
        kind
        for kind in by_request.open_types
        if not _is_named_by_another(kind, call, request, full)
    ]
    if open_types:
        return _with_open_types(call, facts, request, full, open_types)
    return (
        list(with_paths(full, call.response)) if facts.prefix == "iam" and call.response else full
    )


def _named_in_part(
    call: Call, facts: ActionFacts, request: CallRequest, by_request: _ResourcesOfRequest
) -> Sequence[Resource]:
    """What the request names in part, with the resource that the response names in place of what
    that is a part of.
    """
    partial = by_request.partial
    if len(facts.types) > 1 and partial:
        partial = _without_shared_parts(facts, partial)
    answered = _in_response(call, facts, partial) if call.response else None
    if not answered:
        return _with_open_types(call, facts, request, partial, by_request.open_types)
    partial = [
        resource for resource in partial if not resource_covers(resource.pattern, answered.pattern)
    ]
    return _with_open_types(
        call, facts, request, [answered, *partial], by_request.open_types, answered
    )


def _with_open_types(
    call: Call,
    facts: ActionFacts,
    request: CallRequest,
    named: Sequence[Resource],
    open_types: Sequence[ActionType],
    answered: Resource | None = None,
) -> Sequence[Resource]:
    """The resources named, and those of the types that nothing names: AWS's choice, those below an
    ARN of the request, or all of a type.
    """
    if not open_types:
        return named
    resources = [*named]
    kinds = [kind for kind in open_types if kind.required or is_meant_otherwise(kind, request)]
    if facts.rules.answered:
        chosen_resources = dict(chosen_by_aws(call, facts, open_types))
        resources = [*chosen_resources.values(), *named]
        kinds = [kind for kind in kinds if kind.template.name not in chosen_resources]
        open_types = [kind for kind in open_types if kind.template.name not in chosen_resources]
    if facts.rules.on_all == "unnamed" and not (resources or _are_meant(open_types, request)):
        return (Resource("*", "the request names none of its optional resources", True),)
    if answered:
        kinds = [
            kind for kind in kinds if not may_be(facts.prefix, answered.pattern, kind.template)
        ]
    if not (kinds or named):
        kinds = [*open_types]
    if request.arns:
        below = [
            resource for kind in kinds for resource in _below(call, facts.prefix, kind, request)
        ]
        resources += below
        kinds = [kind for kind in kinds if not _is_among(kind, facts.prefix, below)]
    return [*resources, *_any(kinds, call)]


def _are_meant(kinds: Iterable[ActionType], request: CallRequest) -> bool:
    return any(is_meant_otherwise(kind, request) for kind in kinds)


def _is_named_by_another(
    kind: ActionType, call: Call, request: CallRequest, resources: Sequence[Resource]
) -> bool:
    """Whether the ids under the keys of a type are those of resources of other types, which are
    named: `resourceId: mi-0a1b...` names a managed instance, and no `i-...`.

    A call that makes a resource of the type needs it nevertheless.
    """
    makes_one = creates(call.name) and is_about(request.noun.removesuffix("s"), kind.template.name)
    return not makes_one and names_another(kind, request, resources)


def _is_among(kind: ActionType, prefix: str, resources: Iterable[Resource]) -> bool:
    """Whether one of some resources may be of a type."""
    for resource in resources:
        if may_be(prefix, resource.pattern, kind.template):
            return True
    return False


def _below(call: Call, prefix: str, kind: ActionType, request: CallRequest) -> Iterator[Resource]:
    """Resources of a type below the one whose ARN the request has: a table of a bucket."""
    if len(kind.template.variables) < 2:
        return
    parents = tuple([f"{escape_observed(arn)}{end}" for arn in request.arns for end in "/:"])
    for resource in fill(call, prefix, kind, request, below=True):
        if resource.pattern.startswith(parents):
            yield resource


class _ResourcesOfRequest(Struct):
    """What a request says of the resources of an action."""

    full: list[Resource]
    """Named whole."""
    partial: list[Resource]
    """Named in part."""
    open_types: list[ActionType]
    """The types of which the request names no resource."""


def _by_types(call: Call, facts: ActionFacts, request: CallRequest) -> _ResourcesOfRequest:
    """Fills the template of each type of the action from the request, and sorts the resources by
    how much of them it names.
    """
    full: list[Resource] = []
    partial: list[Resource] = []
    open_types: list[ActionType] = []
    named_types = set()
    in_part: dict[str, list[Resource]] = {}
    for kind in facts.types:
        filled = (
            fill(call, facts.prefix, kind, request) if kind.may_be_named or request.arns else ()
        )
        if not filled:
            open_types.append(kind)
        for resource in filled:
            if _is_whole(resource):
                full.append(resource)
                named_types.add(kind.template.name)
                continue
            partial.append(resource)
            if kind.required:
                in_part.setdefault(kind.template.name, []).append(resource)
    if full:
        # Resources below a named one: the tables of a database.
        for name, resources in in_part.items():
            if name not in named_types:
                full += resources
    if len(facts.types) > len(facts.type_names):
        # A type whose ARN has two forms is named by either: Lex's bots by name and by id.
        named_types.update(in_part)
        open_types = [kind for kind in open_types if kind.template.name not in named_types]
    return _ResourcesOfRequest(full, partial, open_types)


def _without_shared_parts(facts: ActionFacts, partial: Sequence[Resource]) -> list[Resource]:
    """Resources named in part, without optional types named only by what the required one has too:
    WAF's scope.
    """
    required = [candidate for candidate in partial if _is_required(facts, candidate)]
    shared: set[str] = set()
    for resource in required:
        shared |= _texts(facts.prefix, resource)
    return [
        resource
        for resource in partial
        if resource in required or not _texts(facts.prefix, resource) <= shared
    ]


def _texts(prefix: str, resource: Resource) -> set[str]:
    """The texts of a resource's variables."""
    return {part.text for part in variables_of_arn(prefix, resource.pattern)}


def _is_required(facts: ActionFacts, resource: Resource) -> bool:
    return any(
        kind.required and is_of_type(facts.prefix, resource.pattern, kind.template.name)
        for kind in facts.types
    )


def _in_response(call: Call, facts: ActionFacts, partial: Sequence[Resource]) -> Resource | None:
    """The resource that the response names, within what the request says of it.

    What a creating call made had no id yet when IAM was asked: parts that the request does not name
    remain open.
    """
    for arn in arns_in(call.response):
        if not _is_of(facts, arn):
            continue
        kinds = types_of_arn(facts.prefix, arn)
        of_type = [
            resource.pattern
            for resource in partial
            if types_of_arn(facts.prefix, resource.pattern) & kinds
        ]
        if not of_type and _names_parent_alone(facts, partial):
            continue
        if of_type and not any(resource_matches(pattern, arn) for pattern in of_type):
            continue
        usable = _asked_before(call, facts, arn, of_type)
        if any(pattern != usable and resource_covers(usable, pattern) for pattern in of_type):
            return None
        return Resource(usable, IN_RESPONSE, False)
    return None


def _names_parent_alone(facts: ActionFacts, partial: Sequence[Resource]) -> bool:
    """Whether a request names resources, and none of a type that the action requires: they are the
    parents of what the call made.
    """
    return bool(partial) and not any(_is_required(facts, resource) for resource in partial)


def _asked_before(call: Call, facts: ActionFacts, arn: str, of_type: Sequence[str]) -> str:
    """The resource of a response as IAM was asked about it, before a call that creates gave it an
    id; `of_type`: what the request says of it.
    """
    # IAM's ARNs hold names, which no service chooses.
    if not may_create(call.name) or facts.prefix == "iam":
        return answered_arn(facts, arn)
    kinds = types_of_arn(facts.prefix, arn)
    own_type = next(kind for kind in facts.types if kind.template.name.lower() in kinds)
    if own_type.template.variables:
        return new_arn(facts.prefix, arn, call.parameters, of_type)
    return wildcard(own_type.template.arn, call)  # `rep:*`


def _any(kinds: Sequence[ActionType], call: Call) -> Sequence[Resource]:
    """Returns all resources of some types, `arn:aws:sqs:eu-west-1:123456789012:*`; of more than
    `_MOST_TYPES` all of the service.
    """
    if len(kinds) == 1 and not kinds[0].template.variables:
        return (only_one(kinds[0], call),)
    resources = dict.fromkeys([all_of(kind, call) for kind in kinds])
    if len(resources) <= _MOST_TYPES:
        return list(resources)
    derivation = f"any of {len(resources)} types: the request names none"
    heads = dict.fromkeys([":".join(resource.pattern.split(":")[:5]) for resource in resources])
    return [Resource(f"{head}:*", derivation, False) for head in heads]
