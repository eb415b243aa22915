"""Parses denial messages: action, resource, principal, denying policy type, and whether a grant
helps (pure).

AWS's own sentence takes precedence: `User: PRINCIPAL is not authorized to perform: ACTION on
resource: RESOURCE`, then an optional reason: `because no identity-based policy allows the ACTION
action`, or `with an explicit deny in a service control policy: ARN` ("Troubleshoot access denied
error messages" of the IAM User Guide, read 2026-11-24, and 343 labelled public messages, about half
of which have no reason). Where a tool prints only that an operation was denied, the action is
inferred from the operation, and the denial says so.

S3 answers `Access Denied`, `Forbidden` or the status 403 without an action ("Error responses",
Amazon S3 API Reference, read 2026-11-27). Tools and SDKs write the operation, the request or the
transfer near it. The action is known then; the resource is not part of the answer and remains
unknown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.errors import DenyingPolicy, denying_policy, why_no_grant_helps
from leastpriv.denials.log_text import (
    NEAR,
    FoundDenial,
    LogText,
    bare_denial_service,
    breakable,
    clean_log_text,
    foreign_store,
    inferred_denial,
    is_covered,
    message_of,
    other_cause_reason,
    without_blanks,
    without_breaks,
)
from leastpriv.denials.operation_errors import (
    NamedOperation,
    actions_of,
    denials_of_operations,
    s3_resource,
)
from leastpriv.denials.sentence import DenialSentence, encoded_texts, find_sentences
from leastpriv.denials.tool_messages import error_frames
from leastpriv.models import Denial, DeniedBy
from leastpriv.permissions import catalog

_ANSWER = re.compile(
    r"(?P<code>AccessDenied\b)|(?P<text>Access["
    r" \n\v]*Denied\b|Forbidden\b)|(?P<status>403)(?![\w/-]|[.,]\d)"
)
"""Without a look behind it, which would halve the speed of the search."""
_LABEL_OF_STATUS = re.compile(
    r"(?:\b(?:HTTP(?:/[\d.]+)?|status(?:[ _-]?code)?|error|code|returned|with)\b[\"']? ?[:=(]?["
    r" \"']?|(?:[:>]|->) )\Z",
    re.IGNORECASE,
)
_JAVAS_MESSAGE = re.compile(r"[:\n\v] *(?P<text>[^:()\n\v]{1,200}) \(Service:[^()\n\v]{0,200}\Z")
_GOS_MESSAGE = re.compile(r"[^\n\v]{0,200}?\bapi error \w+: *")
_AFTER_CODE = re.compile(
    r"\) when calling the \w+ operation[^:\n\v]{0,60}: *|[ \n\v]*(?:[\"'`)\]}<,;.|]|\Z|\n)|["
    r" \n\v]*[(\[:-][ \n\v]*"
)
_OTHER_REASON = re.compile(
    r"(?!Process completed with exit code|Cleaning up project directory)"
    r"[A-Za-z][\w']*(?: [A-Za-z][\w']*){2,4}"
)
"""Not what the runner of GitHub or GitLab says after the last line of a failed command."""
_OTHER_EXCEPTION = re.compile(
    r"\b(?!(?:Amazon)?S3|AmazonService|AwsService|AccessDenied)\w+Exception: *\Z"
)
_REACH = 300
"""Characters between an answer and the operation or request that it belongs to."""
_OPERATION = re.compile(
    r"\b(?:[a-z]{2,12}[._])?(?P<operation>"
    r"(?:Put|Get|Delete|Head|List|Create|Copy|Upload|Complete|Abort|Restore|Select)"
    r"[_A-Za-z]*?_?(?:Object|Bucket|Part|Multipart)[A-Za-z0-9_]{0,40})\b",
    re.IGNORECASE,
)
_SUFFIX_OF_SDK = re.compile(r"(?:Command|Async|Request)\Z")
_REQUEST = re.compile(
    r"\b(?P<method>GET|PUT|HEAD|DELETE|POST)\b["
    r" \"'`:]{1,3}https?://(?P<host>[a-z0-9.-]{2,100}\.amazonaws\.com(?:\.cn)?)"
    r"(?::443)?(?P<path>/[^ \n\v?\"'`<>|]*)?(?P<query>\?[^ \n\v\"'`<>|]*)?"
)
_S3_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3[.-](?:[a-z0-9.-]+\.)?amazonaws\.com(?:\.cn)?"
)
_OF_OBJECT = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}
_OF_BUCKET = {
    "GET": "ListObjectsV2",
    "HEAD": "HeadBucket",
    "PUT": "CreateBucket",
    "DELETE": "DeleteBucket",
}
_LIST_QUERY = re.compile(
    r"\?(?:(?:list-type|prefix|delimiter|max-keys|encoding-type|marker"
    r"|continuation-token)=[^&]*&?)*"
)
_TRANSFER = re.compile(
    r"(?P<failed>\b(?:fail|could not|cannot|unable)[^\n\v]{0,40}?)?\b"
    r"(?:(?P<GetObject>(?:download[a-z]*|get|head)\b|cp(?= s3:))"
    r"|(?P<PutObject>upload[a-z]*|put|cp)\b|(?P<DeleteObject>(?:delet|remov)[a-z]*|rm)\b"
    r"|(?P<ListObjectsV2>ls)\b)"
    r"[^\n\v]{0,200}?\bs3://",
    re.IGNORECASE,
)
"""A group's name is the operation; `cp` by s5cmd, `Could not GET` by Gradle."""
_OF_S5CMD = re.compile(r"\bERROR \"(?:cp|mv|rm|cat|pipe) ")
_S3 = re.compile(r"(?<![a-z])S3(?![a-z0-9])|x-amz-|(?<![a-z])S3[A-Z]", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"\b(?:curl|wget|npm(?! (?:run|exec|test|start)\b)|kubectl)\b|\bis forbidden\b"
    r"|\b(?:[a-z0-9-]{1,63}\.){1,6}(?<!amazonaws\.)(?<!\.aws\.)(?<!amazon\.)"
    r"(?:com|org|io|net|dev|local)\b(?!\.)",
    re.IGNORECASE,
)
"""Signs of an answer by another server, or to a request without a signature."""
_OWN_REASON = re.compile(r"\b(?:access[ \n\v]*denied|forbidden)[ \n\v]+because\b", re.IGNORECASE)
"""`Access Denied because object protected by object lock`: S3 names another cause than a missing
permission.
"""


def find_by_request(layout: LogText, named: Collection[FoundDenial]) -> list[FoundDenial]:
    """Finds answers of S3 without an action, each with the nearest operation or request in its
    paragraph.

    An answer near a denial in `named` belongs to it.
    """
    text = layout.text
    denials_of_request: list[FoundDenial] = []
    for answer in _ANSWER.finditer(text):
        if is_covered(answer.span(), named, _REACH) or not _is_bare(text, answer):
            continue
        around = _paragraph_around(layout, answer)
        first = around.start
        last = around.stop
        if _is_by_another_cause(text, answer, around):
            continue
        nearest = min(
            _candidates(text, first, last, answer),
            key=lambda candidate: _distance(text, answer.span(), candidate.span),
            default=None,
        )
        if nearest is None or not nearest.actions:
            continue
        start = min(answer.start(), nearest.span[0])
        end = max(answer.end(), nearest.span[1])
        line = text[text.rfind("\n", 0, start) + 1 : end]
        denial = inferred_denial(
            layout=layout,
            span=(start, end),
            actions=nearest.actions,
            resource=s3_resource(nearest.actions, line) if _OF_S5CMD.search(line) else "",
            why=other_cause_reason(text[first:last]),
            answer=answer.start(),
        )
        if not is_covered(denial.span, named, _REACH) and not is_covered(
            denial.span, denials_of_request
        ):
            denials_of_request.append(denial)
    return denials_of_request


def _paragraph_around(layout: LogText, answer: re.Match[str]) -> range:
    """Returns the part of a text near an answer, up to the blank lines around it."""
    first = max(0, answer.start() - _REACH)
    last = min(len(layout.text), answer.end() + _REACH)
    below = layout.text.find("\n\n", answer.end(), last)
    return range(layout.paragraph_start(answer.start(), first), below if below >= 0 else last)


def _is_by_another_cause(text: str, answer: re.Match[str], around: range) -> bool:
    """Whether an answer is of another server, or names another cause than a missing permission."""
    if _ELSEWHERE.search(text, around.start, around.stop):
        return True
    if foreign_store(text[around.start : around.stop]):
        return True
    return _OWN_REASON.search(text, answer.start(), around.stop) is not None


class _Candidate(Struct, frozen=True):
    """An operation, a request or a transfer that may have got an answer."""

    span: tuple[int, int]
    actions: tuple[str, ...]


def _is_bare(text: str, answer: re.Match[str]) -> bool:
    """Returns whether no other reason follows the answer."""
    if text[max(0, answer.start() - 1) : answer.start()].isalnum():
        return False
    message = _JAVAS_MESSAGE.search(text, max(0, answer.start() - _REACH), answer.start())
    if message and bare_denial_service(message["text"]) is None:
        return False
    following = text[answer.end() : answer.end() + _REACH]
    if answer["text"]:
        is_other = _OTHER_EXCEPTION.search(text, max(0, answer.start() - 80), answer.start())
        text_from_answer = text[answer.start() : answer.end() + _REACH]
        return not is_other and bare_denial_service(text_from_answer) is not None
    label_start = max(0, answer.start() - 24)
    if answer["status"] and not _LABEL_OF_STATUS.search(text, label_start, answer.start()):
        return False
    after = _GOS_MESSAGE.match(following) or _AFTER_CODE.match(following)
    words_after = following[after.end() if after else 0 :].lstrip(" \n\v\"'`<>/")
    reason_match = _OTHER_REASON.match(words_after)
    if reason_match is None or _OPERATION.search(reason_match[0]):
        return True
    return bare_denial_service(words_after) is not None


def _distance(text: str, answer: tuple[int, int], span: tuple[int, int]) -> tuple[int, bool, int]:
    """Returns a sort key: the same line first, then the text before the answer, then the
    nearest.
    """
    (_, begin), (end, _) = sorted((answer, span))
    return text.count("\n", begin, max(begin, end)), span > answer, max(0, end - begin)


def _candidates(text: str, first: int, last: int, answer: re.Match[str]) -> Iterator[_Candidate]:
    """Yields each operation, request and transfer of S3 that may have got the answer."""
    says_denied = answer["code"] or without_blanks(answer[0]) == "accessdenied"
    if says_denied or _S3.search(text, first, last):
        for match in _OPERATION.finditer(text, first, last):
            actions = actions_of("s3", _SUFFIX_OF_SDK.sub("", match["operation"]))
            if actions:
                yield _Candidate(match.span(), actions)
    for match in _REQUEST.finditer(text, first, last):
        if actions := _actions_of_request(match):
            yield _Candidate(match.span(), actions)
    for match in _TRANSFER.finditer(text, first, last):
        # `upload: ./a to s3://b/a` in a line before reports a success.
        if match["failed"] or not _distance(text, answer.span(), match.span())[0]:
            yield _Candidate(match.span(), actions_of("s3", match.lastgroup or ""))


def _actions_of_request(match: re.Match[str]) -> tuple[str, ...]:
    """Returns the actions of an HTTP request to S3; none for one with a subresource, or signed by
    its URL.
    """
    host = _S3_HOST.fullmatch(match["host"])
    if not host or not _LIST_QUERY.fullmatch(match["query"] or "?"):
        return ()
    path = (match["path"] or "").lstrip("/").rstrip(".,:;")
    if not path and not host["bucket"]:
        return ()
    key = path if host["bucket"] else path.partition("/")[2]
    operation = (_OF_OBJECT if key else _OF_BUCKET).get(match["method"], "")
    return actions_of("s3", operation) if operation else ()


_BY_CODE = {"VpceAccessDenied": DeniedBy.VPCE}
# The role's trust policy decides: no permission of the caller helps.
_TRUST_ONLY = frozenset({"sts:assumerolewithwebidentity", "sts:assumerolewithsaml"})
_SERVICE = re.compile(r"[A-Z][A-Za-z]+|[a-z0-9.-]+\.amazonaws\.com")
"""The subject of a sentence about a service (`CodeBuild is not authorized …`)."""
_ENCODED = (
    "the message is encoded: decode it with `aws sts decode-authorization-message"
    " --encoded-message …`"
)
_AUTHORIZATION_ID = re.compile(
    rf"(?:region=(?P<region>[a-z0-9-]+)#/)?(?:{breakable('authorization-details/')}[\n\v]?"
    rf"|{breakable('authorization id:')}[ \n\v]*[`'\"*<]*)"
    # A wrapped id ends where the sentence continues; elsewhere a break is its end.
    r"(?P<id>[0-9A-Za-z](?:[\n\v]?[0-9A-Za-z-]){7,255}?(?=["
    rf" \n\v]+{breakable('for complete details')})"
    r"|[0-9A-Fa-f](?:[\n\v]?[0-9A-Fa-f-]){35}|[0-9A-Za-z-]{8,256})",
    re.IGNORECASE,
)
"""IAM's own link and sentence: `…?region=REGION#/authorization-details/ID for complete details, or
… authorization id: ID`."""
_LONGEST_ADVICE = 800
_REASON = re.compile(rf"{breakable('because no ')}|{breakable('explicit deny in')}", re.IGNORECASE)
"""The reason of a denial: it follows a name that quotes an id."""


def read_denial(message: str, *, error_code: str = "") -> Denial:
    """Parses one denial message. Never raises.

    A message from which no action follows gives empty `actions`, and is not `mendable`. `mendable`
    is true only with an action, without an explicit deny, and where the reason is an identity-based
    policy or missing. `resource` is as AWS writes it, for IAM perhaps `role NAME`; empty where the
    message has none.
    """
    denials = [find_denial.denial for find_denial in find_denials(clean_log_text(message))]
    by_code = _BY_CODE.get(error_code)
    if not denials:
        return Denial(
            actions=(),
            resource="",
            principal="",
            denied_by=by_code or DeniedBy.UNKNOWN,
            explicit=False,
            mendable=False,
            message=message,
        )
    # AWS's own sentence counts more than what follows from an operation or a warning before it.
    best = min(denials, key=_rank)
    encoded_texts = [denial.encoded for denial in denials if denial.encoded]
    with_id = next((denial for denial in denials if denial.authorization_id), best)
    if by_code:
        best = replace(best, denied_by=by_code, mendable=False, why=why_no_grant_helps(by_code))
    return replace(
        best,
        message=message,
        encoded=encoded_texts[0] if encoded_texts else "",
        authorization_id=with_id.authorization_id,
        authorization_region=with_id.authorization_region,
    )


def _rank(denial: Denial) -> int:
    if not denial.actions:
        return 2
    return 1 if denial.inferred else 0


def find_denials(layout: LogText, stop: int | None = None) -> list[FoundDenial]:
    """Finds all denials in a text, in order. Never raises.

    Denials that begin after `stop` may be left out, which saves time.
    """
    words = without_blanks(layout.text)
    has_sentences = "notauthorizedtoperform" in words
    sentences = [*find_sentences(layout, stop)] if has_sentences else []
    with_action = [sentence for sentence in sentences if sentence.action]
    found = [_stated(layout, sentence) for sentence in with_action]
    operations, other_frames = _read_frames(layout, words)
    found += denials_of_operations(layout, operations, with_action, stop)
    for denial in other_frames:
        if not is_covered(denial.span, found):
            found.append(denial)
    found = _reported(layout, found)
    if _has_any(words, "accessdenied", "forbidden", "403"):
        found += _reported(layout, find_by_request(layout, found))
    encoded = [*encoded_texts(layout, stop)] if "encodedauthorization" in words else []
    nameless = [sentence for sentence in sentences if not sentence.action]
    for sentence in nameless:
        stated = _stated(layout, sentence)
        has_own = _has_encoded_text(layout, sentence, with_action, encoded)
        is_new = not is_covered(stated.span, found, 0 if has_own else NEAR)
        if is_new and _is_awss(layout, sentence):
            found += _reported(layout, [stated])
    found.sort(key=lambda denial: denial.start)
    if "authorization" not in words:
        return found
    ends = [*(denial.start for denial in found[1:]), len(layout.text)]
    return [
        _with_ids(layout.text, denial, end, encoded)
        for denial, end in zip(found, ends, strict=False)
    ]


def _reported(layout: LogText, found: Iterable[FoundDenial]) -> list[FoundDenial]:
    """Returns the denials whose answer is in a line that does not only quote it."""
    return [denial for denial in found if not layout.is_quoted(denial.answer)]


def _has_any(words: str, *signs: str) -> bool:
    return any(sign in words for sign in signs)


def _read_frames(layout: LogText, words: str) -> tuple[list[NamedOperation], list[FoundDenial]]:
    """Returns the named operations and the denials that the frames of all tools find.

    Args:
        layout: The text.
        words: It without blanks, in which a frame that cannot occur is noticed quickly.
    """
    operations: list[NamedOperation] = []
    denials: list[FoundDenial] = []
    for frame in error_frames():
        if not _has_any(words, *frame.signs):
            continue
        for match in frame.pattern.finditer(layout.text):
            read = frame.read(layout, match)
            if isinstance(read, NamedOperation):
                operations.append(read)
            elif read:
                denials.append(read)
    return operations, denials


def _has_encoded_text(
    layout: LogText,
    sentence: DenialSentence,
    named: Iterable[DenialSentence],
    encoded: Iterable[tuple[int, str]],
) -> bool:
    """Returns whether an encoded text belongs to a sentence without an action.

    It belongs to a sentence with an action where one follows.
    """
    later = (
        other_sentence.phrase for other_sentence in named if other_sentence.phrase > sentence.phrase
    )
    limit = min(sentence.phrase + NEAR, min(later, default=len(layout.text)))
    return any(sentence.phrase <= start < limit for start, _ in encoded)


def _with_ids(
    text: str, found: FoundDenial, end: int, encoded: Collection[tuple[int, str]]
) -> FoundDenial:
    """Adds to a denial the encoded text and the authorization id before `end`; AWS writes the id
    behind the reason.
    """
    own_texts = [
        authorization_id for start, authorization_id in encoded if found.start <= start < end
    ]
    denial = replace(found.denial, encoded=own_texts[0] if own_texts else "")
    reasons = _REASON.finditer(text, found.start, end)
    reason = max([found.end, *(match.end() for match in reasons)])
    match = _AUTHORIZATION_ID.search(text, reason, min(end, found.end + _LONGEST_ADVICE))
    if match:
        denial = replace(
            denial,
            authorization_id=without_breaks(match["id"]),
            authorization_region=without_breaks(match["region"] or ""),
        )
    return replace(found, denial=denial)


def _stated(layout: LogText, sentence: DenialSentence) -> FoundDenial:
    """The denial of a sentence."""
    policy = _policy_of(sentence.reason)
    denied_by = DeniedBy.UNKNOWN
    if policy:
        denied_by = policy.denied_by
    # Only one truncated reason begins with `because no identity-ba`.
    elif without_blanks(sentence.reason).startswith("becausenoi"):
        denied_by = DeniedBy.IDENTITY
    if sentence.action:
        reason = _why_not(sentence, denied_by, policy.why if policy else "")
    else:
        reason = _ENCODED if sentence.encoded else "the message names no action"
    denial = Denial(
        actions=(sentence.action,) if sentence.action else (),
        resource=sentence.resource.text,
        principal=sentence.principal,
        denied_by=denied_by,
        explicit=sentence.explicit,
        mendable=not reason,
        message=message_of(layout, sentence.start, sentence.end),
        why=reason,
    )
    return FoundDenial(sentence.phrase, sentence.end, denial, sentence.phrase)


def _policy_of(reason: str) -> DenyingPolicy | None:
    """Returns the policy type of a reason; an identity-based policy only where AWS's own words name
    it.
    """
    policy = denying_policy(reason)
    is_of_aws = without_blanks(reason).startswith(("becauseno", "withanexplicitdeny"))
    if policy and policy.denied_by is DeniedBy.IDENTITY and not is_of_aws:
        return None
    return policy


def _why_not(sentence: DenialSentence, denied_by: DeniedBy, refused: str) -> str:
    """Why no grant helps; empty where one can. The first matching reason counts."""
    name = sentence.action.lower()
    prefix = name.partition(":")[0]
    reasons = (
        (sentence.explicit, "an explicit deny applied, which no grant overrides"),
        (sentence.resource.is_cut, "the message is cut within the resource"),
        (refused, refused),
        (sentence.remark, f"a rule of the account or the organization: {sentence.remark}"),
        # A prefix without a service is a placeholder from documentation.
        (prefix not in catalog.services(), f"no service has the prefix `{prefix}`"),
        (name in _TRUST_ONLY, "the trust policy of the role decides who may log in"),
        (
            _SERVICE.fullmatch(sentence.principal)
            and (name == "sts:assumerole" or "." in sentence.principal),
            "the trust policy of the role, or the policy of the resource, must name the service",
        ),
        (
            sentence.principal.lower() == "anonymous",
            "the request was not signed, so it has no principal",
        ),
        (
            sentence.reason and denied_by is DeniedBy.UNKNOWN,
            "no grant is known to fix the reason that AWS gives",
        ),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _is_awss(layout: LogText, sentence: DenialSentence) -> bool:
    """Whether a sentence without an action is AWS's: it contains an ARN, or EC2 wrote it."""
    around = layout.text[max(0, sentence.phrase - NEAR) : sentence.end + 100]
    return sentence.principal.startswith("arn:") or (
        sentence.this_operation
        and (sentence.encoded or "UnauthorizedOperation" in without_breaks(around))
    )
