"""Infers S3 denials without a message from the operation or the HTTP request near them (pure).

S3 answers `Access Denied`, `Forbidden` or the status 403 without an action ("Error responses", Amazon S3 API Reference,
read 2026-11-27). Tools and SDKs write the operation, the request or the transfer near it. The action is known then; the
resource is not part of the answer and remains unknown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from leastpriv.evidence.denials.log_text import LogText, without_blanks
from leastpriv.evidence.denials.operation_errors import actions_of
from leastpriv.evidence.denials.wordings import (
    FoundDenial,
    bare_denial_service,
    foreign_store,
    inferred_denial,
    is_covered,
    other_cause_reason,
)

_ANSWER = re.compile(
    r"(?P<code>AccessDenied\b)|(?P<text>Access[ \n\v]*Denied\b|Forbidden\b)|(?P<status>403)(?![\w/-]|[.,]\d)"
)
"""Without a look behind it, which would halve the speed of the search."""
_LABEL_OF_STATUS = re.compile(
    r"(?:\b(?:HTTP(?:/[\d.]+)?|status(?:[ _-]?code)?|error|code|returned|with)\b[\"']? ?[:=(]?[ \"']?|(?:[:>]|->) )\Z",
    re.IGNORECASE,
)
_AFTER_CODE = re.compile(r"[ \n\v]*(?:[\"'`)\]}<,;.|]|\Z|\n)|[ \n\v]*[(\[:-][ \n\v]*")
_OTHER_REASON = re.compile(r"[A-Za-z][\w']*(?: [A-Za-z][\w']*){2,4}")
_OTHER_EXCEPTION = re.compile(r"\b(?!(?:Amazon)?S3|AmazonService|AwsService|AccessDenied)\w+Exception: *\Z")
_REACH = 300
"""Characters between an answer and the operation or request that it belongs to."""
_OPERATION = re.compile(
    r"\b(?:[a-z]{2,12}[._])?(?P<operation>(?:Put|Get|Delete|Head|List|Create|Copy|Upload|Complete|Abort|Restore|Select)"
    r"[_A-Za-z]*?_?(?:Object|Bucket|Part|Multipart)[A-Za-z0-9_]{0,40})\b",
    re.IGNORECASE,
)
_SUFFIX_OF_SDK = re.compile(r"(?:Command|Async|Request)\Z")
_REQUEST = re.compile(
    r"\b(?P<method>GET|PUT|HEAD|DELETE|POST)\b[ \"'`:]{1,3}https?://(?P<host>[a-z0-9.-]{2,100}\.amazonaws\.com(?:\.cn)?)"
    r"(?::443)?(?P<path>/[^ \n\v?\"'`<>|]*)?(?P<query>\?[^ \n\v\"'`<>|]*)?"
)
_S3_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3[.-](?:[a-z0-9.-]+\.)?amazonaws\.com(?:\.cn)?")
_OF_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_OF_BUCKET = {"GET": "ListObjectsV2", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
_LIST_QUERY = re.compile(
    r"\?(?:(?:list-type|prefix|delimiter|max-keys|encoding-type|marker|continuation-token)=[^&]*&?)*"
)
_TRANSFER = re.compile(r"\b(?P<verb>upload|download|delet|remov)[a-z]*\b[^\n\v]{0,200}?\bs3://", re.IGNORECASE)
_OF_TRANSFER = {"upload": "PutObject", "download": "GetObject", "delet": "DeleteObject", "remov": "DeleteObject"}
_S3 = re.compile(r"(?<![a-z])S3(?![a-z0-9])|x-amz-|(?<![a-z])S3[A-Z]", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"\b(?:curl|wget|npm|kubectl)\b|\bis forbidden\b"
    r"|\b(?:[a-z0-9-]{1,63}\.){1,6}(?<!amazonaws\.)(?<!\.aws\.)(?<!amazon\.)(?:com|org|io|net|dev|local)\b(?!\.)",
    re.IGNORECASE,
)
"""Signs of an answer by another server, or to a request without a signature."""


_OWN_REASON = re.compile(r"\b(?:access[ \n\v]*denied|forbidden)[ \n\v]+because\b", re.IGNORECASE)
"""`Access Denied because object protected by object lock`: S3 names another cause than a missing permission."""


def find_by_request(layout: LogText, named: Collection[FoundDenial]) -> Iterator[FoundDenial]:
    """Finds answers of S3 without an action, each with the nearest operation or request in its paragraph.

    Args:
        layout: the text.
        named: denials that other rules found; an answer near one of them belongs to it.
    """
    text = layout.text
    own: list[FoundDenial] = []
    for answer in _ANSWER.finditer(text):
        if any(answer.start() < one.end + _REACH and one.start < answer.end() + _REACH for one in named):
            continue
        if not _is_bare(text, answer):
            continue
        first, last = _paragraph(text, answer)
        if _OWN_REASON.search(text, answer.start(), last):
            continue
        if _ELSEWHERE.search(text, first, last) or foreign_store(text[first:last]):
            continue
        candidates = _candidates(text, first, last, answer)
        span, actions = min(candidates, key=lambda each: _distance(text, answer.span(), each[0]), default=((0, 0), ()))
        start, end = min(answer.start(), span[0]), max(answer.end(), span[1])
        found = inferred_denial(layout, (start, end), actions, why=other_cause_reason(text[first:last]))
        if actions and not is_covered(found, named, _REACH) and not is_covered(found, own):
            own.append(found)
    yield from own


def _is_bare(text: str, answer: re.Match[str]) -> bool:
    """Returns whether no other reason follows the answer."""
    if text[max(0, answer.start() - 1) : answer.start()].isalnum():
        return False
    following = text[answer.end() : answer.end() + _REACH]
    if answer["text"]:
        if _OTHER_EXCEPTION.search(text, max(0, answer.start() - 80), answer.start()):
            return False
        return bare_denial_service(text[answer.start() : answer.end() + _REACH]) is not None
    if answer["status"] and not _LABEL_OF_STATUS.search(text, max(0, answer.start() - 24), answer.start()):
        return False
    after = _AFTER_CODE.match(following)
    rest = following[after.end() if after else 0 :].lstrip(" \n\v\"'`<>/")
    other = _OTHER_REASON.match(rest)
    return other is None or _OPERATION.search(other[0]) is not None or bare_denial_service(rest) is not None


def _paragraph(text: str, answer: re.Match[str]) -> tuple[int, int]:
    """Returns the part of an answer's paragraph that is in reach."""
    first, last = max(0, answer.start() - _REACH), min(len(text), answer.end() + _REACH)
    above, below = text.rfind("\n\n", first, answer.start()), text.find("\n\n", answer.end(), last)
    return (above if above >= 0 else first), (below if below >= 0 else last)


def _distance(text: str, answer: tuple[int, int], span: tuple[int, int]) -> tuple[int, bool, int]:
    """Returns a sort key: the same line first, then what is before the answer, then the nearest."""
    (_, begin), (end, _) = sorted((answer, span))
    return text.count("\n", begin, max(begin, end)), span > answer, max(0, end - begin)


def _candidates(
    text: str, first: int, last: int, answer: re.Match[str]
) -> Iterator[tuple[tuple[int, int], tuple[str, ...]]]:
    """Yields the place and the actions of each operation, request and transfer of S3 that may have got the answer."""
    says_denied = answer["code"] or without_blanks(answer[0]) == "accessdenied"
    for match in _OPERATION.finditer(text, first, last):
        words = _SUFFIX_OF_SDK.sub("", match["operation"]).split("_")
        actions = actions_of("s3", "".join(word[:1].upper() + word[1:] for word in words))
        if actions and (says_denied or _S3.search(text, first, last)):
            yield match.span(), actions
    for match in _REQUEST.finditer(text, first, last):
        if actions := _actions_of_request(match):
            yield match.span(), actions
    for match in _TRANSFER.finditer(text, first, last):
        # `upload: ./a to s3://b/a` in a line before reports a success.
        if not _distance(text, answer.span(), match.span())[0]:
            yield match.span(), actions_of("s3", _OF_TRANSFER[match["verb"].lower()])


def _actions_of_request(match: re.Match[str]) -> tuple[str, ...]:
    """Returns the actions of an HTTP request to S3; none for one with a subresource, or signed by its URL."""
    host, query = _S3_HOST.fullmatch(match["host"]), match["query"] or ""
    if not host or not _LIST_QUERY.fullmatch(query or "?"):
        return ()
    path = (match["path"] or "").lstrip("/").rstrip(".,:;")
    key = path if host["bucket"] else path.partition("/")[2]
    if not (host["bucket"] or path):
        return ()
    operation = (_OF_OBJECT if key else _OF_BUCKET).get(match["method"], "")
    return actions_of("s3", operation) if operation else ()
