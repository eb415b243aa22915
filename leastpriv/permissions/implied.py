"""What a call needs that CloudTrail never names, each with what in the call implies it; nothing
that is only likely.

Left out on purpose: `iam:CreateServiceLinkedRole`. A service makes its role once for an account, so
a call that may make it seldom does; where it does, CloudTrail shows a separate event under the
caller's name.

`iam:PassRole`, which CloudTrail never shows: the roles that a request hands to a service.

AWS: "iam:PassRole … is not tracked by CloudTrail" (IAM user guide,
access-analyzer-policy-generation). The request mostly names the role: botocore 1.43.121
(2026-10-28) has 1,570 such parameters in 958 operations, nearly all under a key that says so;
`tools/facts/roles.tsv` has the others.

Tags set while a resource is made: AWS checks the tagging action too, and CloudTrail has no event
for it.

Only where a page of AWS says so: `tools/facts/tags_on_create.tsv`. What the call makes:
`made_types.tsv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

from msgspec import Struct, structs

from leastpriv.models import Basis, Call, Condition, Need, Outcome, Permission
from leastpriv.permissions.arn_parts import object_of
from leastpriv.permissions.arn_templates import (
    IN_PART,
    NAMED,
    Resource,
    from_uri,
    partition,
    wildcard,
)
from leastpriv.permissions.event_table import facts_of
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.request import (
    CallRequest,
    KeyedValue,
    Presence,
    key_in,
    read_request,
    request_values,
)
from leastpriv.permissions.resource_types import action_of, fits
from leastpriv.permissions.resources import find_resources
from leastpriv.permissions.service_facts import EventFacts, TagRule, facts_of_action

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/[\w+=,.@/-]+")
_ROLE_IN_TEXT = re.compile(
    rf"(?:role|credentials)[\w-]*[\"']?\s*[:=]\s*\\?[\"']?({_ROLE_ARN.pattern})", re.IGNORECASE
)
"""A role's ARN in a document, under a key that says so: `"credentials": "arn:…"`, `assumeRole:
arn:…`.
"""
_ROLE_NAME = re.compile(r"/?[\w+=,.@/-]{1,128}")
READ_OBJECT = "object that the request names"
"""Derivation of an object that a service reads for the caller."""
_NOT_PASSED = "not-passed"
_LAUNCH = "ec2:RunInstances"
_READS_OF_OBJECTS = ("s3:GetObject", "s3:HeadObject")
_ALLOWED = Outcome.ALLOWED
_ROLE_KEY = re.compile(r"role|deliverlogspermissionarn|feedbackrolearn")


class ReadObject(Struct, frozen=True):
    """A row of `read_objects.tsv`: an object that a service reads in the caller's name."""

    action: str
    parameters: tuple[str, ...]
    """In lower case; they name the object."""


class ImpliedFacts(EventFacts, frozen=True, kw_only=True):
    """What calls of one operation need besides what their event names."""

    operation: str
    role_is_sure: bool
    """A row names the parameter, so that a map that people fill counts too."""
    unnamed: tuple[str, ...]
    """Parameters with which the call may pass a role that its request does not name."""
    role_anywhere: bool
    """AWS authorizes `iam:PassRole`, and no parameter says that it holds the role."""
    transforms: tuple[Mapping[str, str], ...]
    """Rows of `transforms.tsv`."""
    objects: tuple[ReadObject, ...]
    may_launch: bool
    """Calls may launch instances of EC2."""
    is_any: bool = True
    """False: a call whose request has no ARN needs nothing more."""

    def for_keys(self, keys: frozenset[str]) -> ImpliedFacts:
        """Returns the facts with what reads requests with these keys."""
        is_named = self.role_is_sure or "*" in self.roles or not keys.isdisjoint(self.roles)
        objects = tuple(
            object_read for object_read in self.objects if keys.issuperset(object_read.parameters)
        )
        # EC2 has the tags inside `tagSpecificationSet`, and not under a key of their own.
        has_tags = self.operation.startswith("ec2:") or any(
            key_in(rule.parameter) in keys for rule in self.tags
        )
        roles = self.roles if is_named else {}
        tags = self.tags if has_tags else ()
        is_any = bool(
            roles
            or tags
            or objects
            or self.transforms
            or self.may_launch
            or self.operation in _READS_OF_OBJECTS
        )
        return structs.replace(self, roles=roles, objects=objects, tags=tags, is_any=is_any)


@lru_cache(maxsize=16_384)
def implied_facts(operation: str) -> ImpliedFacts:
    """Returns what calls of an operation (`lambda:CreateFunction`) need besides what their event
    names.
    """
    facts = facts_of(operation)
    forms = facts.roles
    role_is_sure = any(form in ("arn", "text") for key, form in forms.items() if key != "*")
    unnamed = tuple(key for key, form in forms.items() if form in ("profile", "unnamed"))
    transforms = tuple(row for row in table("transforms") if row["operation"] == operation)
    objects = tuple(
        ReadObject(row["actions"], tuple(row["parameters"].lower().split(",")))
        for row in table("read_objects")
        if row["operation"] == operation
    )
    return ImpliedFacts(
        **structs.asdict(facts),
        operation=operation,
        role_is_sure=role_is_sure,
        unnamed=unnamed,
        role_anywhere=facts.passes_role == "text",
        transforms=transforms,
        objects=objects,
        may_launch=_LAUNCH in (operation, *[trigger.action for trigger in facts.triggers]),
    )


def implied_needs(
    call: Call,
    facts: ImpliedFacts,
    request: CallRequest,
    observed: Sequence[Need],
) -> list[Need]:
    """Returns the inferred needs of an allowed call; none for a denied or inconclusive one, which
    proves no need.

    - The objects that a service reads in the caller's name, as the code of a function.
    - `iam:PassRole` on the roles that the request hands to a service.
    - The tagging action, where the request sets tags on what it makes.
    - `cloudformation:CreateChangeSet` on a transform of the stack's template.
    - Of a launch in EC2, the parameter that names the image, and the volume of the image.
    - Of an allowed call that ended in an error, `s3:ListBucket` alone, where S3 says that there is
      no such object.
    """
    if call.outcome is not _ALLOWED:
        return []
    if call.error_code:
        return list(_listing_of_absent_object(call, facts.operation, observed))
    needs = list(_read_objects(call, facts, request)) if facts.objects else []
    if call.read_only:
        return needs
    if request.arns or facts.roles:
        needs += _passed_roles(call, facts, request)
    if facts.tags:
        needs += _tagging_needs(call, facts, request)
    if facts.transforms:
        needs += _transforms(call, facts.transforms)
    if facts.operation == _LAUNCH:
        needs += _image_alias(call)
    if facts.may_launch:
        needs += _root_volume(call, observed)
    return needs


def _passed_roles(call: Call, facts: ImpliedFacts, request: CallRequest) -> Iterator[Need]:
    """One need for each role that the request of a call names; none for a role of another account.

    "You can only use the PassRole permission to pass an IAM role to a service that shares the same
    AWS account" (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html, read
    2026-11-24).
    """
    passed_roles: dict[_PassedRole, str] = {}
    forms = facts.roles
    # A map that people fill may hold ARNs of roles by the way; where a row names the key, the
    # service reads it there.
    for key, value in request_values(call.parameters) if facts.role_is_sure else request.values:
        if ":role/" in value or key in forms or "*" in forms:
            form = forms.get(key) or forms.get("*", "")
            for arn, derivation in _roles(call, form, key, value).items():
                passed_roles.setdefault(_PassedRole(arn, _services(call, facts, key)), derivation)
    because = f"{call.source.partition('.')[0]}:{call.name} passes this role"
    for role, derivation in passed_roles.items():
        passed_to: tuple[Condition, ...] = ()
        if role.services:
            passed_to = (Condition("StringEquals", "iam:PassedToService", role.services),)
        permission = Permission("iam:PassRole", escape_observed(role.arn), passed_to)
        yield Need(permission, Basis.INFERRED, derivation, because)


class _PassedRole(Struct, frozen=True):
    """A role that a request passes, with the services that take it."""

    arn: str
    services: tuple[str, ...]


def _roles(call: Call, form: str, key: str, value: str) -> Mapping[str, str]:
    """The ARNs of the roles that a text names, each with its derivation."""
    # A service uses its own linked role unasked; one with a suffix is passed where a row says so.
    is_linked = "/aws-service-role/" in value and not (
        form == "arn" and "_" in value.rpartition("/")[2]
    )
    if form == _NOT_PASSED or is_linked:
        return {}
    match = _ROLE_ARN.fullmatch(value)
    if match and match["account"] == call.account and (form or _ROLE_KEY.search(key)):
        return {value: "role ARN in the request"}
    if form == "text":
        arns = [
            role[1] for role in _ROLE_IN_TEXT.finditer(value) if role["account"] == call.account
        ]
        return dict.fromkeys(arns, "role ARN in a document of the request")
    if form == "name" and _ROLE_NAME.fullmatch(value):
        return {f"arn:{partition(call)}:iam::{call.account}:role/{value.lstrip('/')}": NAMED}
    return {}


def _services(call: Call, facts: ImpliedFacts, key: str) -> tuple[str, ...]:
    """The services that the role of a key is passed to: of our table, else those of AWS's service
    reference.

    The reference is of the commercial regions; in China some services have another name.
    """
    services = facts.passed_to.get(key) or facts.passed_to.get("*", ())
    return services if services or partition(call) == "aws-cn" else facts.services


def _read_objects(call: Call, facts: ImpliedFacts, request: CallRequest) -> Iterator[Need]:
    """The objects that a service reads in the caller's name, as the request names them
    (`read_objects.tsv`).
    """
    because = f"{call.source.partition('.')[0]}:{call.name} reads this object"
    for read in facts.objects:
        texts = (request.by_key.get(key, ()) for key in read.parameters)
        for location in zip(*texts, strict=False):
            bucket, key = object_of("/".join(location[:2]))
            if bucket:
                arn = f"arn:{partition(call)}:s3:::{bucket}/{escape_observed(key)}"
                yield Need(Permission(read.action, arn), Basis.INFERRED, READ_OBJECT, because)


_EC2_TYPE = re.compile(r"[a-z][a-z0-9-]+")
_TYPE_AND_ID = 2
"""Parts of `agent/*`, which names nothing."""


def _tagging_needs(call: Call, facts: ImpliedFacts, request: CallRequest) -> Iterator[Need]:
    """The tagging actions of a creating call that carries tags, on what it makes and nothing
    else.
    """
    presence = Presence(call, request)
    for rule in facts.tags:
        if not _carries_tags(call, rule, presence):
            continue
        name = facts.operation.partition(":")[2]
        conditions = (Condition("StringEquals", rule.condition, (name,)),) if rule.condition else ()
        for resource in _tagged(call, facts.operation, rule, request):
            yield Need(
                permission=Permission(rule.action, resource.pattern, conditions),
                basis=Basis.INFERRED,
                derivation=resource.derivation,
                because=f"{call.source.partition('.')[0]}:{call.name} sets tags on what it makes",
                exact=resource.exact,
            )


def _carries_tags(call: Call, rule: TagRule, presence: Presence) -> bool:
    """Whether a request sets tags; of some operations AWS checks the action for an empty list
    too.
    """
    if rule.action == "ec2:CreateTags" and _specifications(call, rule.parameter):
        return True
    return presence.has(rule.parameter) if rule.empty else presence.is_filled(rule.parameter)


def _tagged(call: Call, operation: str, rule: TagRule, request: CallRequest) -> Iterator[Resource]:
    """Yields what a creating call tags: `arn:aws:ec2:eu-west-1:123456789012:instance/*` for a new
    instance, the named resource where its name is in the request.
    """
    if rule.action == "ec2:CreateTags" and operation.startswith("ec2:"):
        templates = _ec2_templates()
        for kind in _specifications(call, rule.parameter):
            if kind in templates:
                # Exact: a new resource has no id yet, and EC2 checks the request on `instance/*`
                # itself (its denials name that: supported-iam-actions-tagging.html in
                # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/).
                yield Resource(
                    wildcard(templates[kind], call),
                    f"a new {kind}, as the request's tags say",
                    True,
                )
        return
    if rule.resource:
        asked_resource = from_uri(call, rule.resource.replace("{account}", call.account))
        # The tags of a stage need another action for an HTTP API than for a REST API, which the
        # request names.
        if not asked_resource.exact:
            return
        yield structs.replace(asked_resource, derivation="as AWS asks for it")
        return
    under = _under(call, rule)
    if under:
        yield under
        return
    new, new_request = _about_the_new(call, rule, request)
    for resource in find_resources(new, facts_of_action(rule.of, rule.types), new_request):
        yield structs.replace(
            resource, exact=resource.exact or (rule.asked and _is_named_in_part(resource))
        )


def _about_the_new(call: Call, rule: TagRule, request: CallRequest) -> tuple[Call, CallRequest]:
    """The call without what it copies or restores from, which it does not tag, in the region of
    what it makes.
    """
    if not rule.region and not any(
        str(name).lower().startswith(_OTHERS) for name in call.parameters
    ):
        return call, request
    parameters = {str(key).lower(): value for key, value in call.parameters.items()}
    target_parameters = {
        key.removeprefix("target"): value
        for key, value in parameters.items()
        if not key.startswith("source")
    }
    region = dict(request_values(call.parameters)).get(rule.region.lower(), call.region)
    new = structs.replace(call, parameters=target_parameters, region=region)
    return new, read_request(request.noun, target_parameters)


_OTHERS = ("source", "target")
"""How the names of members begin that are about another resource than the new one, or say that they
are about it.
"""


@cache
def _ec2_templates() -> Mapping[str, str]:
    """Type as a tag specification names it -> template of its ARNs; those of images and snapshots
    have no account.
    """
    catalog_action = action_of("ec2:CreateTags")
    arns = [kind.arn for kind in catalog_action.resource_types] if catalog_action else []
    return {arn.split(":", 5)[5].partition("/")[0]: arn for arn in arns}


def _under(call: Call, rule: TagRule) -> Resource | None:
    """A resource whose ARN continues that of its parent: `listener/app/web/5…` gives
    `listener-rule/app/web/5…/*`.
    """
    for key, value in request_values(call.parameters) if rule.under else ():
        head, slash, path = escape_observed(value).partition("/")
        if key == rule.under.lower() and slash and value.startswith("arn:"):
            pattern = f"{head.rpartition(':')[0]}:{rule.types[0].partition('/')[0]}/{path}/*"
            if fits(rule.action, pattern):
                return Resource(pattern, IN_PART, rule.asked)
    return None


def _is_named_in_part(resource: Resource) -> bool:
    """Whether the request names all but the id that AWS gives: `targetgroup/web/*`, not
    `targetgroup/*/*`.
    """
    path = resource.pattern.split(":", 5)[5].split("/")
    return len(path) > _TYPE_AND_ID and path[-1] == "*" and "*" not in path[:-1]


def _specifications(call: Call, parameter: str) -> tuple[str, ...]:
    """Resource types of EC2's `tagSpecificationSet`, `TagSpecification` …; a launch template's tag
    nothing yet.
    """
    resource_types: dict[str, None] = {}
    level: list[KeyedValue] = [("", call.parameters)]
    while level:
        deeper: list[KeyedValue] = []
        for key, value in level[:1_000]:
            if isinstance(value, Mapping):
                lower = {str(name).lower(): member for name, member in value.items()}
                kind = lower.get("resourcetype")
                if (
                    key.startswith(parameter.lower())
                    and isinstance(kind, str)
                    and _EC2_TYPE.fullmatch(kind)
                ):
                    resource_types.update({kind: None} if _has_tags(lower) else {})
                deeper.extend(
                    (key if name == "items" else name, member) for name, member in lower.items()
                )
            elif isinstance(value, list):
                deeper.extend((key, element) for element in value)
        level = [(key, value) for key, value in deeper if key != "launchtemplatedata"]
    return tuple(resource_types)


def _has_tags(specification: Mapping[str, object]) -> bool:
    return any(
        name.startswith("tag") and value not in (None, [], {})
        for name, value in specification.items()
    )


_ABSENT = frozenset({"NoSuchKey", "NotFound"})
"""Codes of a record; `404` is what SDKs make of an answer without a body
(github.com/aws/aws-cli/issues/666).
"""
_ALIAS = "resolve:ssm:"


def _listing_of_absent_object(
    call: Call, operation: str, observed: Sequence[Need]
) -> Iterator[Need]:
    """Yields `s3:ListBucket` for a read of an object that is not there: only to a caller with that
    permission S3 says 404, to others 403.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Permissions" (read
    2026-11-24).
    """
    if operation not in _READS_OF_OBJECTS or call.error_code not in _ABSENT:
        return
    objects = [
        need.permission.resource
        for need in observed
        if need.exact and ":s3:::" in need.permission.resource
    ]
    for bucket in dict.fromkeys(resource.partition("/")[0] for resource in objects):
        because = f"s3:{call.name} found no such object"
        yield Need(
            Permission("s3:ListBucket", bucket), Basis.INFERRED, "bucket of the object", because
        )


def _root_volume(call: Call, observed: Sequence[Need]) -> Iterator[Need]:
    """EC2 makes the volume of an image on Amazon EBS, though no request names it; only an answer
    that names an instance store rules it out.

    "EC2-VPC-EBS: instance, image, security group, network interface, volume"
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html, read
    2026-11-24). A launch template that another service starts has the same resources.
    """
    launched = [need.permission.resource for need in observed if need.permission.action == _LAUNCH]
    if not launched or any(":volume/" in resource for resource in launched):
        return
    values = request_values(call.response)
    if ("rootdevicetype", "instance-store") in values:
        return
    is_answered = ("rootdevicetype", "ebs") in values
    permission = Permission(
        _LAUNCH, f"arn:{partition(call)}:ec2:{call.region}:{call.account}:volume/*"
    )
    because = f"{call.source.partition('.')[0]}:{call.name} launches an image on Amazon EBS"
    derivation = (
        "a new volume, as the answer says" if is_answered else "a new volume, as of most images"
    )
    yield Need(permission, Basis.INFERRED, derivation, because)


def _transforms(call: Call, signs: Sequence[Mapping[str, str]]) -> Iterator[Need]:
    """A transform of the stack's template, which the request shows (`transforms.tsv`); tags are a
    map or a list.
    """
    if (call.invoked_by or call.source) != "cloudformation.amazonaws.com":
        return
    values = request_values(call.parameters)
    for sign in signs:
        key = sign["parameter"]
        in_list = ("key", key) in values
        if any(
            value.startswith(sign["begins"])
            for value_key, value in values
            if value_key == ("value" if in_list else key.lower())
        ):
            name = f"aws:transform/{sign['transform']}"
            arn = f"arn:{partition(call)}:cloudformation:{call.region}:{name}"
            because = f"the {key} of {call.name} shows the transform"
            yield Need(
                Permission("cloudformation:CreateChangeSet", arn),
                Basis.INFERRED,
                "transform of a template",
                because,
            )


def _image_alias(call: Call) -> Iterator[Need]:
    """EC2 reads the parameter of `resolve:ssm:NAME` in the caller's name.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html
    (read 2026-11-24); parameters under `/aws/` are AWS's own, whose ARNs have no account.
    """
    for key, value in request_values(call.parameters):
        if key != "imageid" or not value.startswith(_ALIAS):
            continue
        alias = value.removeprefix(_ALIAS)
        name = alias.rpartition("parameter/")[2] if alias.startswith("arn:") else alias
        path = name.partition(":")[0].strip("/")
        account = "" if path.startswith("aws/") else call.account
        arn = f"arn:{partition(call)}:ssm:{call.region}:{account}:parameter/{escape_observed(path)}"
        because = f"ec2:{call.name} names its image by a parameter"
        yield Need(
            Permission("ssm:GetParameters", arn),
            Basis.INFERRED,
            "parameter that names the image",
            because,
        )
