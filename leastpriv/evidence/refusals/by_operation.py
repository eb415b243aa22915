"""Bare refusals of an operation that the error names: AWS CLI and boto3, SDKs for Go and PHP, CloudFormation (pure)."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from leastpriv.evidence.refusals.found import NEAR, Found, bare, inferred, is_refusal
from leastpriv.evidence.refusals.layout import Layout, one_line, spaced, unbroken
from leastpriv.evidence.refusals.operations import actions_anywhere, actions_of, queue_of, s3_resource
from leastpriv.evidence.refusals.sentence import PHRASE, Sentence
from leastpriv.evidence.refusals.wordings import other_cause
from leastpriv.permissions import catalog

_CLI = re.compile(
    spaced("error occurred")
    + r"[ \n\v]*\((?P<code>[\w.:-]{1,80}(?:[\n\v][\w.:-]{1,60})?)\)[ \n\v]*(?:occurred[ \n\v]*)?"
    + spaced("when calling the")
    + r"[ \n\v]*(?P<operation>\w{2,100}(?:[\n\v]\w{1,60})?)[ \n\v]*"
    + spaced("operation")
    + r"(?: \([^()\n]{0,80}\))?[\n\v]?:[ \n\v]*"
)
_CLI_OLD = re.compile(
    r"client error \((?P<code>[\w.:-]{1,80})\) occurred[ \n\v]+when calling the (?P<operation>\w{2,100})"
    r" operation:[ \n\v]*"
)
_GO = re.compile(
    rf"{spaced('operation error ')}(?P<service>[A-Za-z][A-Za-z0-9 \n\v]{{1,60}}):[ \n\v]*"
    r"(?P<operation>[A-Z]\w{1,100}(?:[\n\v]\w{1,60})?),[ \n\v]*"
)
_GO_STATUS = re.compile(rf"{spaced('StatusCode:')}[ \n\v]*(?P<status>\d{{3}})")
_GO_CODE = re.compile(
    rf"{spaced('RequestID:')}[^,]{{0,100}},[ \n\v]*(?:{spaced('HostID:')}[^,]{{0,200}},[ \n\v]*)?"
    rf"(?:{spaced('api error')}[ \n\v]+)?(?P<code>[A-Z]\w{{2,80}}(?:[\n\v]\w{{1,40}})?):[ \n\v]*"
)
_PHP = re.compile(
    r"Error executing \"(?P<operation>[A-Z]\w{1,100})\" on \"https://(?:[^/\"\n]{1,200}?\.)??(?P<service>[a-z0-9-]{2,40})"
    r"(?:[.-][a-z]{2}(?:-[a-z]{1,10}){1,3}-\d)?\.amazonaws\.com(?:\.cn)?[/\"]"
    r"[^\x00]{0,1500}?[ \n\v](?P<code>[A-Z]\w{2,80}) \((?:client|server)\): "
)
_STACK = re.compile(r"\bAPI: (?P<service>[a-z0-9-]{2,40}):(?P<operation>[A-Za-z]\w{1,100})[ \n\v]+")
_QUEUE_DENIED = re.compile(r"Access to the resource[ \n\v]+https://\S+[ \n\v]+is denied", re.IGNORECASE)
_MARKS = " .,;:`'\"*){}\\"
_CUT = re.compile(r"User:[ \n\v]*arn:\S*\Z")


@dataclass(frozen=True, slots=True)
class _Operation:
    """An error that names an operation, up to its text."""

    start: int
    body: int
    service: str
    operation: str
    refused: bool
    """Its code is one of refusals."""
    empty_is_bare: bool = False
    """A refusal without any text is one, since the status says so."""


def _operations(text: str) -> list[_Operation]:
    found = [
        _Operation(
            match.start(), match.end(), "", unbroken(match["operation"]), is_refusal(unbroken(match["code"])), True
        )
        for pattern in (_CLI, _CLI_OLD)
        for match in pattern.finditer(text)
    ]
    found += [_go_operation(text, match) for match in _GO.finditer(text)]
    found += [
        _Operation(match.start(), match.end(), match["service"], match["operation"], True)
        for match in _STACK.finditer(text)
        if match["service"] in catalog.services()
    ]
    found += [
        _Operation(match.start(), match.end(), match["service"], match["operation"], is_refusal(match["code"]))
        for match in _PHP.finditer(text)
        if match["service"] in catalog.services()
    ]
    return sorted(found, key=lambda each: each.start)


def _go_operation(text: str, match: re.Match[str]) -> _Operation:
    """`operation error S3: HeadBucket, https response error StatusCode: 403, …, api error Forbidden: Forbidden`."""
    limit = min(len(text), match.end() + 700)
    status = _GO_STATUS.search(text, match.end(), min(limit, match.end() + 80))
    code = _GO_CODE.search(text, match.end(), limit)
    forbidden = status is not None and status["status"] == "403"
    refused = forbidden if not code else is_refusal(unbroken(code["code"]))
    body = code.end() if code else status.end() if status else match.end()
    service, operation = one_line(match["service"]), unbroken(match["operation"])
    return _Operation(match.start(), body, service, operation, refused, forbidden)


def by_operation(layout: Layout, named: Sequence[Sentence], stop: int | None = None) -> list[Found]:
    """Bare refusals of an operation; one that AWS's sentence follows is told by it, one behind `stop` is not told."""
    text, found = layout.text, []
    operations = _operations(text)
    for index, each in enumerate(operations):
        limit = operations[index + 1].start if index + 1 < len(operations) else len(text)
        limit = min(limit, each.body + 1_200)
        empty = text.find("\n\n", each.body, limit)
        limit = limit if empty < 0 else empty
        is_asked = each.refused and (stop is None or each.start <= stop)
        denial = _of_operation(layout, each, limit) if is_asked else None
        if denial and not any(_explains(sentence, each, denial, text) for sentence in _within(named, each, limit)):
            found.append(denial)
    return found


def _within(named: Sequence[Sentence], each: _Operation, limit: int) -> Sequence[Sentence]:
    first = bisect_left(named, each.start, key=lambda sentence: sentence.phrase)
    return named[first : bisect_left(named, limit, key=lambda sentence: sentence.phrase)]


def _explains(sentence: Sentence, each: _Operation, found: Found, text: str) -> bool:
    """Whether a sentence behind an error is the error's own; what a bare refusal's next line says can be another's."""
    if bare(text[each.body : each.body + NEAR]) is None or "\n" not in text[each.body : sentence.start]:
        return True
    own = {action.lower() for action in found.denial.actions}
    return not own or sentence.action.lower() in own


def _of_operation(layout: Layout, each: _Operation, limit: int) -> Found | None:
    text = layout.text
    body = text[each.body : limit]
    service = bare(body)
    queue = _QUEUE_DENIED.match(body)
    other = other_cause(body[:200])
    null = PHRASE.search(body[:NEAR])
    told = service is not None or bool(queue) or bool(other) or _CUT.match(body) or null
    if not (told or (each.empty_is_bare and not body.split("\n")[0].strip(_MARKS))):
        return None
    near = text[max(0, each.start - NEAR) : each.body + 100]
    actions = _actions(each, "sqs" if queue else service or "", near)
    end = each.body + (queue.end() if queue else min(len(body), 120))
    why = other or ("the service gives no action" if null and service is None else "")
    is_s3 = any(action.startswith("s3:") for action in actions)
    resource = queue_of(body[:400]) if queue else s3_resource(actions, near) if is_s3 else ""
    return inferred(layout, each.start, end, actions, resource, why)


def _actions(each: _Operation, service: str, near: str) -> tuple[str, ...]:
    """Actions of the operation, of the service that the error names, of the one that words it so, or of any."""
    if each.service:
        return actions_of(each.service, each.operation)
    return (actions_of(service, each.operation) if service else ()) or actions_anywhere(each.operation, near)
