"""Infers denials from other messages than AWS's sentence: tool output and stack traces (pure).

Terraform's AWS provider, and Pulumi's, which is built on it, write a verb, the service and a
resource kind, as in `creating S3 Bucket (logs): AccessDenied: Access Denied` ("Error Handling",
Terraform AWS provider's contributor guide, read 2026-11-26). Verb and kind identify the operation
where exactly one operation has that name.

Stack frames have the SDKs' own names: JavaScript's deserializer of a command's error
(`de_PutObjectCommandError`, before 2023 `deserializeAws_restXmlPutObjectCommandError`), Java's
client method (`DefaultS3Client.putObject`, in version 1 `AmazonS3Client.putObject`), .NET's
(`Amazon.S3.AmazonS3Client.PutObjectAsync`), and Ruby's (`aws-sdk-s3/client.rb:9:in
'Aws::S3::Client#put_object'`); aws/aws-sdk-js-v3#2778, aws/aws-toolkit-jetbrains#3129 and
aws/aws-sdk-net#1443, read 2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, partial

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.errors import why_no_grant_helps
from leastpriv.denials.log_text import (
    BREAKS,
    NEAR,
    FoundDenial,
    LogText,
    bare_denial_service,
    breakable,
    end_of_message,
    inferred_denial,
    is_denial_code,
    other_cause_reason,
    tool_phrases,
    without_breaks,
)
from leastpriv.denials.operation_errors import (
    CLI,
    CLI_OLD,
    GO,
    PHP,
    SHORT,
    STACK,
    NamedOperation,
    actions_of,
    actions_of_type,
    only_actions_of,
    read_go_operation,
    read_operation,
    s3_arn,
    s3_resource,
)
from leastpriv.denials.sentence import PHRASE
from leastpriv.models import DeniedBy
from leastpriv.permissions import catalog

_ANSWERED = re.compile(r"\([Ss]ervice:[^()]{0,80}?[Ss]tatus[ \n\v]*[Cc]ode:[ \n\v]*403")
_TEXT = re.compile(r"(?P<text>Access[ \n\v]*Denied|null)[ \n\v]*\Z", re.IGNORECASE)
_LONGEST_TEXT = 40
_TYPE = re.compile(r"\bAWS::[A-Z][A-Za-z0-9]{1,60}::[A-Z][A-Za-z0-9]{1,60}\b")
_TYPE_DENIED = re.compile(
    rf"{breakable('Access denied for operation')}[ \n\v]*['\"](?P<type>{_TYPE.pattern})"
)
_FAILED = re.compile(r"\b(CREATE|UPDATE|DELETE)_FAILED\b")
_CODE_OBJECT = re.compile(
    breakable("request credentials have permission to")
    + r"[ \n\v]*(?P<operation>\w{2,60}(?:[\n\v]\w{1,60})?)[ \n\v]+for[ \n\v]*"
    + r"(?P<place>[^ ]{3,1200}?)\.?(?:[ \n\v]*S[\n\v]?3[ \n\v]*Error|\s*\Z|\n\n|[ \n\v]+\()",
    re.IGNORECASE,
)
_LACKS = re.compile(
    r"\b(?:do|does)(?: not|n['’]t)[ \n\v]+have[ \n\v]+(?:the[ \n\v]+)?permissions?[ \n\v]+"
    r"(?:required[ \n\v]+)?to[ \n\v]+(?:(?:perform|call|execute|invoke)[ \n\v:]+)?(?:the[ \n\v]+)?"
    r"[`'\"\u2018\u201c]?(?P<action>[a-z][a-z0-9-]+:[A-Za-z]\w+)(?P<rest>[\n\v]\w+)?",
    re.IGNORECASE,
)
_OTHER_ROLE = re.compile(
    r"\b(?:execution|service|task|instance)[ -](?:role|profile)\b|\brole\b[^.\n]{0,80}$",
    re.IGNORECASE,
)
_HEAD = re.compile(
    r"(?: \((?P<name>[^()\n]{0,100})\)| for [^ :\n]{1,100})?:[ \n\v]*(?:(?P<code>[A-Z]\w{1,80}):["
    r" \n\v]*)?"
)
_CIPHERTEXT = re.compile(
    breakable("The ciphertext refers to a customer master key that does not exist")
    + r"[^\"<]{0,80}"
    + breakable("not allowed to access")
)
_ENDPOINT = re.compile(breakable("request was denied due to a VPC endpoint policy"))
_NOT_ASSUMED = re.compile(
    breakable("could not be used to assume") + r"[ \n\v]*['\"](?P<role>arn:[^'\" ]{1,400})['\"]"
)
_DECODED = re.compile(r"\"allowed\"[ \n\v]*:[ \n\v]*false\b")
_DECODED_FIELD = re.compile(
    r"\"(?P<field>explicitDeny|action|resource)\"[ \n\v]*:["
    r" \n\v]*\"?(?P<value>[^\",\s}](?:[^\",}]{0,1024}[^\",\s}])?)"
)


def _lacking(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """`You do not have permission to perform the 'ec2:AssociateAddress' action`."""
    whole_action = match["action"] + (match["rest"] or "").strip(BREAKS)
    action = next(filter(catalog.action, (whole_action, match["action"])), "")
    before = layout.text[max(0, match.start() - 100) : match.start()]
    reason = "it names another role" if _OTHER_ROLE.search(before) else ""
    denial = inferred_denial(layout, match.span(), (action,), why=reason)
    return replace(denial, denial=replace(denial.denial, inferred=False)) if action else None


def _code_object(layout: LogText, match: re.Match[str]) -> FoundDenial:
    """Lambda reads its code from S3 with the caller's permissions: `… have permission to GetObject
    for BUCKET/KEY`.
    """
    code_place = without_breaks(match["place"])
    actions = actions_of("s3", without_breaks(match["operation"]))
    return inferred_denial(
        layout, match.span(), actions, f"arn:aws:s3:::{code_place}" if "/" in code_place else ""
    )


def _typed(layout: LogText, answered: re.Match[str]) -> FoundDenial | None:
    """A handler's bare denial: the action follows from the resource type and the stack
    operation.
    """
    text = layout.text
    match = _TEXT.search(text, max(0, answered.start() - _LONGEST_TEXT), answered.start())
    before = text[max(0, match.start() - NEAR) : match.start()] if match else ""
    failed = [*_FAILED.finditer(before)]
    row = before[max(0, failed[-1].start() - 120) :] if failed else ""
    kinds = [*_TYPE.finditer(row)]
    if not match or not kinds:
        return None
    after = [kind[0] for kind in kinds if kind.start() > row.rfind("_FAILED")]
    actions = actions_of_type(after[0] if after else kinds[-1][0], failed[-1][1])
    reason = (
        "the service gives neither action nor reason" if match["text"].lower() == "null" else ""
    )
    return inferred_denial(layout, (match.start(), answered.end()), actions, why=reason)


def _type_denied(layout: LogText, match: re.Match[str]) -> FoundDenial:
    """CloudFormation's own text: `Access denied for operation 'AWS::ApiGateway::RestApi'`."""
    failed = [*_FAILED.finditer(layout.text, max(0, match.start() - NEAR), match.start())]
    actions = actions_of_type(match["type"], failed[-1][1]) if failed else ()
    return inferred_denial(layout, match.span(), actions)


_OPERATION_DENIED = re.compile(
    rf"{breakable('Access denied for operation')}[ \n\v]*['\"](?P<operation>[A-Z]\w{{2,80}})['\"]",
    re.IGNORECASE,
)


def _operation_denied(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """`Access denied for operation 'CreateInvalidation'`, of the only service that has it."""
    actions = only_actions_of(match["operation"])
    return inferred_denial(layout, match.span(), actions) if actions else None


def _told_by_phrase(
    layout: LogText, match: re.Match[str], phrase: str, action: str
) -> FoundDenial | None:
    """`Error loading state: AccessDenied: Access Denied`."""
    text = layout.text
    body = text[match.end() : match.end() + 400]
    head = _HEAD.match(body)
    if not head or bare_denial_service(body[head.end() :]) is None:
        return None
    if head["code"] and not is_denial_code(head["code"]):
        return None
    before = text[max(0, match.start() - NEAR) : match.end()]
    resource = s3_arn(phrase, action, head["name"] or "") or s3_resource((action,), before)
    end = end_of_message(text, match.end(), match.end() + 60)
    return inferred_denial(layout, (match.start(), end), (action,), resource)


def _of_endpoint(layout: LogText, match: re.Match[str]) -> FoundDenial:
    """S3's message with the code VpceAccessDenied: no action, but the policy type."""
    denial = inferred_denial(layout, match.span(), (), why=why_no_grant_helps(DeniedBy.VPCE))
    return replace(denial, denial=replace(denial.denial, denied_by=DeniedBy.VPCE))


def _not_assumed(layout: LogText, match: re.Match[str]) -> FoundDenial:
    role, reason = without_breaks(match["role"]), other_cause_reason(match[0])
    return inferred_denial(layout, match.span(), ("sts:AssumeRole",), role, reason)


def _decoded(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """The output of `aws sts decode-authorization-message`."""
    fields: dict[str, str] = {}
    for field in _DECODED_FIELD.finditer(layout.text, match.end(), match.end() + 3_000):
        fields.setdefault(field["field"], without_breaks(field["value"]))
    action, explicit = fields.get("action", ""), fields.get("explicitDeny") == "true"
    reason = "an explicit deny applied, which no grant overrides" if explicit else ""
    denial = inferred_denial(layout, match.span(), (action,), fields.get("resource", ""), reason)
    stated = replace(denial, denial=replace(denial.denial, inferred=False, explicit=explicit))
    return stated if catalog.action(action) else None


_REGISTRY_REQUEST = re.compile(
    r"\b(?P<method>GET|HEAD|POST|PUT|PATCH)(?: request)?(?: to)?[ :\"']{1,3}https?://"
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?P<china>\.cn)?/v2/"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]{0,255}?)/(?P<part>blobs/uploads|blobs|manifests)/"
    r"[^ \n\v\"']{0,300}[ \"':]{1,4}(?:unexpected status(?: code)?:? )?403 Forbidden"
)
_OF_REGISTRY = {
    ("POST", "blobs/uploads"): "ecr:InitiateLayerUpload",
    ("PATCH", "blobs/uploads"): "ecr:UploadLayerPart",
    ("PUT", "blobs/uploads"): "ecr:CompleteLayerUpload",
    ("PUT", "manifests"): "ecr:PutImage",
    ("HEAD", "manifests"): "ecr:BatchGetImage",
    ("GET", "manifests"): "ecr:BatchGetImage",
    ("GET", "blobs"): "ecr:GetDownloadUrlForLayer",
}
"""Requests of the registry API and the actions that Amazon ECR checks ("IAM permissions for pushing
an image", Amazon ECR User Guide, read 2026-12-01, lists the actions; the pairs are inferred).
"""


def _registry(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """Docker's answer: `POST request to https://….dkr.ecr.…/v2/shop/blobs/uploads/: 403
    Forbidden`.
    """
    action = _OF_REGISTRY.get((match["method"], match["part"]))
    if not action:
        return None
    partition = "aws-us-gov" if match["region"].startswith("us-gov-") else "aws"
    if match["china"]:
        partition = "aws-cn"
    repository = f"{match['region']}:{match['account']}:repository/{match['repository']}"
    return inferred_denial(layout, match.span(), (action,), f"arn:{partition}:ecr:{repository}")


_NAMED_ACTION = re.compile(
    r"\b(?:by calling|calling|call|perform|performing|execute|invoke|invoking|running)["
    r" \n\v]+(?:the[ \n\v]+)?[`'\"]?(?P<action>[a-z][a-z0-9-]{1,40}:[A-Z][A-Za-z0-9]{1,80})[`'\"]?"
    r"(?:[ \n\v]+(?:API|action|operation))?[ \n\v]*[:,-][ \n\v]*"
    r"(?:(?P<code>[A-Z]\w{2,60}):[ \n\v]*)?"
)


def _named_action(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """`by calling ec2:DescribeVpcs: You are not authorized to perform this operation`."""
    body = layout.text[match.end() : match.end() + NEAR]
    is_refused = not match["code"] or is_denial_code(match["code"])
    if not is_refused or bare_denial_service(body) is None:
        return None
    if not catalog.action(match["action"]):
        return None
    return inferred_denial(layout, (match.start(), match.end() + 60), (match["action"],))


_SOURCE_VERSION = re.compile(
    r"\bAccess[ \n\v]?Denied\b[^\n]{0,300}?\bsource version[ \n\v]+"
    r"(?P<arn>arn:aws(?:-[a-z]+)*:s3:::[a-z0-9][a-z0-9.-]{1,62}/[^ \n\v\"'`]{1,1024})",
    re.IGNORECASE,
)


def _source_version(layout: LogText, match: re.Match[str]) -> FoundDenial:
    """CodeBuild downloads its source with the role of the project: `AccessDenied … for primary
    source and source version arn:aws:s3:::bucket/key`.
    """
    resource = match["arn"].rstrip(".,;)")
    return inferred_denial(layout, match.span(), ("s3:GetObject",), resource)


_RUST_ERROR = re.compile(r"\bunhandled error \((?P<code>AccessDenied(?:Exception)?)\)")
_RUST_OPERATION = re.compile(
    r"\baws_sdk_(?P<service>[a-z0-9]{2,40})::operation::(?P<operation>[a-z][a-z0-9_]{1,80})::"
)


_RUST_NAMED = re.compile(
    r"(?:\b(?:aws_sdk_)?(?P<service>[A-Za-z][A-Za-z0-9]{1,30})(?:::Error)?[: ]{1,2})?"
    r"\b(?P<operation>[A-Z][a-z]+(?:[A-Z][A-Za-z0-9]*)+)[: ]{1,2}(?:service error: )?\Z"
)
"""A program writes the operation, with or without its service, before the SDK's words."""


def _rust(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """The Rust SDK writes the code alone; the module of the operation may be near it."""
    text = layout.text
    if PHRASE.search(text, match.end(), min(len(text), match.end() + NEAR)):
        return None
    first = max(text.rfind("\n\n", 0, match.start()), match.start() - NEAR, 0)
    last = min(len(text), match.end() + NEAR)
    operation = _RUST_OPERATION.search(text, first, last)
    if operation:
        actions = actions_of(operation["service"], operation["operation"])
        return inferred_denial(layout, match.span(), actions)
    name_match = _RUST_NAMED.search(text, first, match.start())
    if not name_match:
        return inferred_denial(layout, match.span(), ())
    service = (name_match["service"] or "").removesuffix("Error")
    actions = actions_of(service, name_match["operation"]) if service else ()
    return inferred_denial(
        layout, match.span(), actions or only_actions_of(name_match["operation"])
    )


_BOTO2_ERROR = re.compile(
    r"\b(?P<service>[A-Z][A-Za-z0-9]{1,20})ResponseError: 403 Forbidden[ \n\v]+<\?xml[^>]{0,100}>"
)


def _boto2(layout: LogText, match: re.Match[str]) -> FoundDenial:
    """The first version of boto prints the answer, which names no action."""
    return inferred_denial(layout, match.span(), ())


_END_OF_DENIAL = 60
"""Characters after the code of an error that are part of the denial."""
_PULUMI = re.compile(
    r"\b(?P<verb>creating|updating|deleting|reading) urn:pulumi:[^ \n\v]{1,400}?::"
    r"aws:(?P<module>[A-Za-z0-9]{1,40})/\w{1,60}:(?P<noun>[A-Z][A-Za-z0-9]{1,60})::"
    r"(?P<name>[^ \n\v:]{1,200}):[ \n\v]+"
    r"(?:\d+ errors? occurred:[ \n\v*]+)?(?P<code>[A-Z]\w{2,60}):[ \n\v]*"
)


def _pulumi(layout: LogText, match: re.Match[str]) -> FoundDenial | None:
    """`creating urn:pulumi:prod::shop::aws:sqs/queue:Queue::jobs: AccessDenied: Access Denied`."""
    body = layout.text[match.end() : match.end() + NEAR]
    if not is_denial_code(match["code"]) or bare_denial_service(body) is None:
        return None
    # A second version of a resource type (`BucketV2`) is the same resource.
    noun = re.sub(r"V\d\Z", "", match["noun"])
    operations = [f"{verb}{noun}" for verb in _VERBS[match["verb"]]]
    actions_of_operations = _actions_of_existing(match["module"], operations)
    if len(actions_of_operations) != 1:
        return None
    span = (match.start(), match.end() + _END_OF_DENIAL)
    return inferred_denial(layout, span, actions_of_operations[0])


def _actions_of_existing(service: str, operations: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns the actions of each of some operations that a service has; those of `CreateQueue` and
    `CreateQueues` are one where they are equal.
    """
    distinct = dict.fromkeys(actions_of(service, operation) for operation in operations)
    return [actions for actions in distinct if actions]


_VERBS = {
    "creating": ("Create",),
    "deleting": ("Delete",),
    "updating": ("Update", "Modify", "Put"),
    "modifying": ("Modify", "Update"),
    "putting": ("Put",),
    "reading": ("Get", "Describe"),
    "getting": ("Get", "Describe"),
    "fetching": ("Describe", "Get"),
    "describing": ("Describe",),
    "listing": ("List", "Describe"),
    "attaching": ("Attach",),
    "detaching": ("Detach",),
}
_CODE = re.compile(
    r"\b(?P<code>AccessDenied(?:Exception)?|UnauthorizedOperation|Forbidden):[ \n\v]*"
)
_LONGEST = 400
_PHRASE = re.compile(
    rf"\b(?P<verb>(?i:{'|'.join(_VERBS)}))[ \n\v]+(?:AWS |Amazon )?"
    r"(?P<what>[A-Z][A-Za-z0-9]{0,40}(?:[ \n\v]+[A-Z][A-Za-z0-9]{0,40}){0,6})"
    r"(?:[ \n\v]+\((?P<name>[^()\n\v]{1,200})\))?(?P<part>(?:[ \n\v]+[A-Z][A-Za-z]{0,40}){0,4})"
    r":[ \n\v]*\Z"
)
_FULL_NAME = re.compile(r"[ \n\v]+\((?:Simple|Elastic|Key|Identity)[A-Za-z0-9 \n\v&]{2,60}\)")
"""Suffix of a service's short name in version 4 of the provider: `S3 (Simple Storage)`."""
_EMPTY = re.compile(r"[ \n\v]*status code: 403\b")
_MOST_WORDS_OF_SERVICE = 3


def _verb_and_kind(layout: LogText, code: re.Match[str]) -> FoundDenial | None:
    """`creating S3 Bucket (logs): AccessDenied: Access Denied`: the tool's own words before the
    code; none where these are ambiguous.
    """
    text = layout.text
    service = bare_denial_service(text[code.end() : code.end() + _LONGEST])
    if not is_denial_code(code["code"]):
        return None
    if service is None and not _EMPTY.match(text, code.end()):
        return None
    begin = max(0, code.start() - _LONGEST)
    # Replace by blanks, so that offsets stay the same.
    before = _FULL_NAME.sub(lambda found: " " * len(found[0]), text[begin : code.start()])
    phrase = _PHRASE.search(before)
    actions = _actions_of_phrase(phrase, service or "") if phrase else ()
    if not phrase or not actions:
        return None
    name = phrase["name"] or ""
    resource = s3_arn("", actions[0], name) if actions[0].startswith("s3:") else ""
    span = (begin + phrase.start(), min(code.end() + _END_OF_DENIAL, len(text)))
    return inferred_denial(layout, span, actions, resource)


def _actions_of_phrase(phrase: re.Match[str], service: str) -> tuple[str, ...]:
    """Returns the actions of the one operation that `creating S3 Bucket` may mean; none if it may
    mean several.

    Its first words may name the service (`S3`); without one there, it is the named `service`.
    """
    verb = phrase["verb"].lower()
    words = f"{phrase['what']} {phrase['part']}".split()
    most_words_of_service = min(_MOST_WORDS_OF_SERVICE, len(words) - 1)
    for number in range(most_words_of_service, -1, -1):
        named_service = " ".join(words[:number]) if number else service
        if not named_service:
            continue
        operations = _operation_names(verb, words[number:])
        actions_of_operations = _actions_of_existing(named_service, operations)
        if len(actions_of_operations) > 1:
            return ()
        if actions_of_operations:
            return actions_of_operations[0]
    return ()


def _operation_names(verb: str, words: Iterable[str]) -> list[str]:
    """Returns the operations that a verb and words of a resource may mean: `CreateBucket`,
    `CreateBuckets`.
    """
    noun = "".join(word[:1].upper() + word[1:] for word in words)
    plural_noun = f"{noun.removesuffix('s')}s"
    names: list[str] = []
    for start in _VERBS[verb]:
        names.extend(dict.fromkeys((f"{start}{noun}", f"{start}{plural_noun}")))
    return names


_REFUSAL = re.compile(
    r"\b(?:AccessDenied(?:Exception)?|UnauthorizedOperation|[A-Z]\w{1,40}Exception): ?"
)
_JAVAS_FIELDS = re.compile(r"[^()\n\v]{1,80}\(Service:[^()]{0,80}?Status[ \n\v]*Code:[ \n\v]*403")
_JAVASCRIPT = re.compile(
    r"\b(?:de_|deserializeAws_(?:restXml|restJson1|json1_[01]|query|ec2))"
    r"(?P<operation>[A-Z][A-Za-z0-9]{1,80})CommandError\b"
    r"(?:[^\n\v]{0,300}?/client-(?P<service>[a-z0-9-]{2,40})/)?"
)
_JAVA = re.compile(
    r"\b(?:com\.amazonaws|software\.amazon\.awssdk)\.services\.(?P<service>[a-z0-9]{2,40})\."
    r"(?:Default|Amazon|AWS)\w{1,60}Client\.(?P<operation>[a-z]\w{1,80})\("
)
_DOTNET = re.compile(
    r"\bat"
    r" Amazon\.(?P<service>[A-Z][A-Za-z0-9]{1,40})\.Amazon\w{1,60}Client"
    r"\.(?P<operation>[A-Z]\w{1,80}?)(?:Async)?\("
)
_RUBY = re.compile(
    r"/aws-sdk-(?P<service>[a-z0-9]{2,40})/client\.rb:\d+:in"
    r" [`'](?:Aws::\w+::Client#)?(?P<operation>[a-z][a-z0-9_]+)'"
)
_RUBYS_CODE = re.compile(
    r"(?P<text>[A-Z][^\n\v:()]{5,60})"
    r" \(Aws::\w+::Errors::(?:AccessDenied|UnauthorizedOperation)\w*\)"
)
_DOTNET_NAME = re.compile(r"\bAmazon\.[A-Z][A-Za-z0-9]{1,40}\.Amazon\w{1,60}Exception\b")
_DEEPEST = 4_000
"""Most characters between a denial and its frame: some thirty internal frames of an SDK."""


def _traced(layout: LogText, frame: re.Match[str]) -> FoundDenial | None:
    """A frame of an SDK: it has the operation of the denial without one above it."""
    refusal = _refusal_above(layout.text, frame.start())
    if not refusal:
        return None
    start, end = refusal.span()
    worded = bare_denial_service(layout.text[end : end + 100]) or ""
    # A program in one file (the AWS CDK) names no package in its frames.
    actions = actions_of(frame["service"] or worded, frame["operation"])
    span = (start, min(start + 100, len(layout.text)))
    return inferred_denial(layout, span, actions) if actions else None


def _refusal_above(text: str, place: int) -> re.Match[str] | None:
    """Returns the last denial without an operation before a place."""
    first = max(0, place - _DEEPEST)
    refusals = _REFUSAL.finditer(text, first, place)
    rubys = _RUBYS_CODE.finditer(text, first, place)
    bare = (
        *(match for match in refusals if _is_bare(text, match)),
        *(match for match in rubys if bare_denial_service(match["text"]) is not None),
    )
    return max(bare, key=re.Match.start, default=None)


def _is_bare(text: str, refusal: re.Match[str]) -> bool:
    """Whether only a service's fixed text follows, with the status that Java's SDK always
    appends.
    """
    if bare_denial_service(text[refusal.end() : refusal.end() + 100]) is None:
        return False
    is_code = refusal[0].startswith(("AccessDenied", "UnauthorizedOperation"))
    is_dotnet = _DOTNET_NAME.search(text, max(0, refusal.start() - 60), refusal.end())
    return is_code or is_dotnet is not None or _JAVAS_FIELDS.match(text, refusal.end()) is not None


class ErrorFrame(Struct, frozen=True):
    """How one SDK or tool writes an error."""

    tool: str
    signs: tuple[str, ...]
    """Texts one of which the log must contain, in small letters and without blanks: patterns that
    allow breaks anywhere are slow."""
    pattern: re.Pattern[str]
    read: Callable[[LogText, re.Match[str]], FoundDenial | NamedOperation | None]
    """A named operation is a denial by what follows it (`denials_of_operations`)."""


def _ciphertext(layout: LogText, match: re.Match[str]) -> FoundDenial:
    """AWS KMS hides whether the key exists."""
    return inferred_denial(layout, match.span(), ("kms:Decrypt",))


@cache
def error_frames() -> tuple[ErrorFrame, ...]:
    """Returns the frames of all tools. Of two that find the same denial the first one counts."""
    phrases = (
        ErrorFrame(
            f"Terraform and Packer: {tool_phrase.text}",
            (tool_phrase.sign,),
            tool_phrase.pattern,
            partial(_told_by_phrase, phrase=tool_phrase.sign, action=tool_phrase.action),
        )
        for tool_phrase in tool_phrases()
    )
    return (
        ErrorFrame("SDK for Go", ("operationerror",), GO, read_go_operation),
        ErrorFrame("AWS CLI and boto3", ("whencalling",), CLI, read_operation),
        ErrorFrame("AWS CLI before 1.10", ("whencalling",), CLI_OLD, read_operation),
        ErrorFrame("a program that shortens", ("whencalling",), SHORT, read_operation),
        ErrorFrame("CloudFormation, an API", ("api:",), STACK, read_operation),
        ErrorFrame("SDK for PHP", ("errorexecuting",), PHP, read_operation),
        *phrases,
        ErrorFrame(
            "Terraform and Pulumi",
            ("accessdenied", "forbidden:", "unauthorizedoperation:"),
            _CODE,
            _verb_and_kind,
        ),
        ErrorFrame("SDK for JavaScript", ("commanderror",), _JAVASCRIPT, _traced),
        ErrorFrame("SDK for Java", ("client.",), _JAVA, _traced),
        ErrorFrame("SDK for .NET", ("client.",), _DOTNET, _traced),
        ErrorFrame("SDK for Ruby", ("client.rb",), _RUBY, _traced),
        ErrorFrame("a service's own words", ("permission",), _LACKS, _lacking),
        ErrorFrame("AWS Lambda's code", ("requestcredentials",), _CODE_OBJECT, _code_object),
        ErrorFrame("CloudFormation, a handler", ("statuscode:403",), _ANSWERED, _typed),
        ErrorFrame("CloudFormation, a type", (_DENIED_SIGN,), _TYPE_DENIED, _type_denied),
        ErrorFrame(
            "CloudFormation, an operation", (_DENIED_SIGN,), _OPERATION_DENIED, _operation_denied
        ),
        ErrorFrame("AWS KMS", ("theciphertextrefers",), _CIPHERTEXT, _ciphertext),
        ErrorFrame("VPC endpoint", ("vpcendpointpolicy",), _ENDPOINT, _of_endpoint),
        ErrorFrame("AWS CDK", ("usedtoassume",), _NOT_ASSUMED, _not_assumed),
        ErrorFrame("decoded message", ('"allowed":false',), _DECODED, _decoded),
        ErrorFrame("Docker", (".dkr.ecr.",), _REGISTRY_REQUEST, _registry),
        ErrorFrame("AWS CodeBuild", ("denied",), _SOURCE_VERSION, _source_version),
        ErrorFrame("a program that names it", ("authorized",), _NAMED_ACTION, _named_action),
        ErrorFrame("SDK for Rust", ("unhandlederror",), _RUST_ERROR, _rust),
        ErrorFrame("boto 2", ("responseerror:403",), _BOTO2_ERROR, _boto2),
        ErrorFrame("Pulumi", ("urn:pulumi:",), _PULUMI, _pulumi),
    )


_DENIED_SIGN = "accessdeniedforoperation"
