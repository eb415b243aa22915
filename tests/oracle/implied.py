"""What a call needs that CloudTrail never names, each with what in the call implies it; nothing that is only likely.

Left out on purpose: `iam:CreateServiceLinkedRole`. A service makes its role once for an account, so a call that may
make it seldom does; where it does, CloudTrail shows an event of its own under the caller's name.

`iam:PassRole`, which CloudTrail never shows: the roles that a request hands to a service.

AWS: "iam:PassRole … is not tracked by CloudTrail" (IAM user guide, access-analyzer-policy-generation). The role
mostly stands in the request: botocore 1.43.121 (2026-10-28) has 1,570 such parameters in 958 operations, nearly all
under a key that says so; `data/roles.tsv` has the others.

Tags set while a thing is made: AWS checks the tagging action too, and CloudTrail has no event for it.

Only where a page of AWS says so: `data/tags_on_create.tsv`. What the call makes: `data/made_types.tsv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from msgspec import structs

from leastpriv.models import Basis, Call, Condition, Need, Outcome, Permission
from leastpriv.permissions.implied import serverless_transform
from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.resource_types import action_of, fits
from tests.fakes.tables import table
from tests.oracle.arn_templates import NAMED, Resource, from_uri, partition, wildcard
from tests.oracle.event_table import facts_of
from tests.oracle.request import Presence, RequestTexts, key_in, noun_of, request_values
from tests.oracle.resources import resources_of

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/[\w+=,.@/-]+")
_ROLE_IN_TEXT = re.compile(rf"(?:role|credentials)[\w-]*[\"']?\s*[:=]\s*\\?[\"']?({_ROLE_ARN.pattern})", re.IGNORECASE)
"""A role's ARN in a document, under a key that says so: `"credentials": "arn:…"`, `assumeRole: arn:…`."""
_ROLE_NAME = re.compile(r"/?[\w+=,.@/-]{1,128}")
_NOT_PASSED = "not-passed"
_ROLE_KEY = re.compile(r"role|deliverlogspermissionarn|feedbackrolearn")


def passed_roles(call: Call, operation: str, texts: Sequence[tuple[str, str]]) -> Iterator[Need]:
    """One need for each role that the request of a call names; none for a role of another account.

    `texts` are those of the request by key, without what people choose the keys of.

    "You can only use the PassRole permission to pass an IAM role to a service that shares the same AWS account"
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html, read 2026-11-24).
    """
    named: dict[tuple[str, tuple[str, ...]], str] = {}
    # A map that people fill may hold ARNs of roles by the way; where a row names the key, the service reads it there.
    forms = _forms(operation)
    sure = any(form in ("arn", "text") for key, form in forms.items() if key != "*")
    for key, value in request_values(call.parameters) if sure else texts:
        if not (value.startswith("arn:") or key in forms or "*" in forms):
            continue
        for role, derivation in _role(call, operation, key, value):
            named.setdefault((role, _services(call, operation, key)), derivation)
    for (role, services), derivation in named.items():
        passed_to = (Condition("StringEquals", "iam:PassedToService", services),) if services else ()
        yield Need(
            permission=Permission("iam:PassRole", escape_observed(role), passed_to),
            basis=Basis.INFERRED,
            derivation=derivation,
            because=f"{call.source.partition('.')[0]}:{call.name} passes this role",
        )


def passes_unnamed_role(operation: str, presence: Presence) -> bool:
    """Whether a call may pass a role that its request does not name: the one of an instance profile, of a stack …."""
    forms = _forms(operation)
    return any(form in ("profile", "unnamed") and presence.has(key) for key, form in forms.items())


def keys_of_roles(operation: str) -> frozenset[str] | None:
    """Keys of a request that may name a role passed, besides those that hold a role's ARN; None where all may."""
    forms = _forms(operation)
    if forms.get("*", _NOT_PASSED) != _NOT_PASSED or {"arn", "text"} & set(forms.values()):
        return None
    return frozenset(map(key_in, forms))


def _role(call: Call, operation: str, key: str, value: str) -> Iterator[tuple[str, str]]:
    forms = _forms(operation)
    form = forms.get(key) or forms.get("*", "")
    if form == _NOT_PASSED or "/aws-service-role/" in value:
        return
    match = _ROLE_ARN.fullmatch(value)
    if match and match["account"] == call.account and (form or _ROLE_KEY.search(key)):
        yield value, "role ARN in the request"
    elif form == "text":
        for role in _ROLE_IN_TEXT.finditer(value):
            if role["account"] == call.account:
                yield role[1], "role ARN in a document of the request"
    elif form == "name" and _ROLE_NAME.fullmatch(value):
        yield f"arn:{partition(call)}:iam::{call.account}:role/{value.lstrip('/')}", NAMED


def _services(call: Call, operation: str, key: str) -> tuple[str, ...]:
    """The services that the role of a key is passed to: of our table, else those of AWS's service reference.

    The reference is of the commercial regions; in China some services have another name.
    """
    rows = _passed_to().get(operation, {})
    service = rows.get(key) or rows.get("*", "")
    if service or partition(call) == "aws-cn":
        return (service,) if service else ()
    return facts_of(operation).passed_to


@lru_cache(maxsize=4_096)
def _forms(operation: str) -> Mapping[str, str]:
    """Parameter in lower case -> what it says of a role, for one operation."""
    compiled = {"*": "text"} if facts_of(operation).roles == "text" else {}
    return {**compiled, **_roles().get(f"{operation.partition(':')[0]}:*", {}), **_roles().get(operation, {})}


@cache
def _roles() -> Mapping[str, Mapping[str, str]]:
    return _by_operation("roles", "form")


@cache
def _passed_to() -> Mapping[str, Mapping[str, str]]:
    return _by_operation("passed_to", "service")


def _by_operation(name: str, column: str) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in table(name):
        found.setdefault(row["operation"], {})[row["parameter"].lower()] = row[column]
    return found


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
    return (
        *rows,
        *(
            _compiled(parameter, action)
            for action, held in facts_of(operation).tags.items()
            for parameter in held
            if action not in known
        ),
    )


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
    if row["action"] == "ec2:CreateTags" and operation.startswith("ec2:"):
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


_ABSENT = frozenset({"NoSuchKey", "NotFound"})
"""Codes of a record; `404` is what SDKs make of an answer without a body (github.com/aws/aws-cli/issues/666)."""
_ALIAS = "resolve:ssm:"


def implied_needs(
    call: Call, operation: str, presence: Presence, texts: RequestTexts, observed: Sequence[Need]
) -> Iterator[Need]:
    """Inferred needs of one call; none for refused and inconclusive calls, which prove no need.

    `operation` is the `operation` of its event (`lambda:CreateFunction`), `observed` are its observed needs.
    """
    if call.outcome is not Outcome.ALLOWED:
        return
    if call.error_code:
        yield from _told_absent(call, operation, observed)
    elif not call.read_only:
        yield from passed_roles(call, operation, texts.values)
        yield from tagging_needs(call, operation, presence)
        if operation == "cloudformation:CreateChangeSet":
            yield from serverless_transform(call)
        yield from _image_alias(call, operation)
        yield from _root_volume(call, operation, observed)


def _told_absent(call: Call, operation: str, observed: Sequence[Need]) -> Iterator[Need]:
    """Only to a caller with `s3:ListBucket` S3 says 404 of an object that is not there, to others 403.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Permissions" (read 2026-11-24).
    """
    if operation not in ("s3:GetObject", "s3:HeadObject") or call.error_code not in _ABSENT:
        return
    objects = [need.permission.resource for need in observed if need.exact and ":s3:::" in need.permission.resource]
    for bucket in dict.fromkeys(resource.partition("/")[0] for resource in objects):
        yield Need(
            permission=Permission("s3:ListBucket", bucket),
            basis=Basis.INFERRED,
            derivation="bucket of the object",
            because=f"s3:{call.name} found no such object",
        )


def _root_volume(call: Call, operation: str, observed: Sequence[Need]) -> Iterator[Need]:
    """EC2 makes the volume of an image on Amazon EBS, though no request names it: the answer tells the device's type.

    "EC2-VPC-EBS: instance, image, security group, network interface, volume"
    (https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html, read 2026-11-24).
    """
    is_on_ebs = operation == "ec2:RunInstances" and ("rootdevicetype", "ebs") in request_values(call.response)
    if is_on_ebs and not any(":volume/" in need.permission.resource for need in observed):
        yield Need(
            permission=Permission(
                "ec2:RunInstances", f"arn:{partition(call)}:ec2:{call.region}:{call.account}:volume/*"
            ),
            basis=Basis.INFERRED,
            derivation="a new volume, as the answer says",
            because=f"ec2:{call.name} makes the root volume of an image on Amazon EBS",
        )


def _image_alias(call: Call, operation: str) -> Iterator[Need]:
    """EC2 reads the parameter of `resolve:ssm:NAME` in the caller's name.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html (read 2026-11-24);
    parameters under `/aws/` are AWS's own, whose ARNs have no account.
    """
    if operation != "ec2:RunInstances":
        return
    for key, value in request_values(call.parameters):
        if key != "imageid" or not value.startswith(_ALIAS):
            continue
        alias = value.removeprefix(_ALIAS)
        name = alias.rpartition("parameter/")[2] if alias.startswith("arn:") else alias
        path = name.partition(":")[0].strip("/")
        account = "" if path.startswith("aws/") else call.account
        arn = f"arn:{partition(call)}:ssm:{call.region}:{account}:parameter/{escape_observed(path)}"
        yield Need(
            permission=Permission("ssm:GetParameters", arn),
            basis=Basis.INFERRED,
            derivation="parameter that names the image",
            because=f"ec2:{call.name} names its image by a parameter",
        )
