"""Find AWS's own sentence of denial in a text, wherever its lines break (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from leastpriv.aws.error_codes import denying_policy_type
from leastpriv.evidence.denials.log_text import BREAKS, Layout, beginning_of, one_line, spaced, squeezed, unbroken
from leastpriv.evidence.denials.resource import Named, read_resource
from leastpriv.permissions import catalog

PHRASE = re.compile(spaced("not authorized to perform"), re.IGNORECASE)
_LONGEST = 3_000
"""Characters of what follows the phrase: an object's key has up to 1,024, and a table's columns break it often."""
_LONGEST_PRINCIPAL = 700
_LONGEST_REASON = 600
_ACTION = re.compile(
    r"[ \n\v]*:?[ \n\v]*(?:the[ \n\v]+)?(?:actions?:?[ \n\v]+)?[`'\"\u2018\u201c\[]?"
    r"(?P<action>[A-Za-z][A-Za-z0-9-]*(?:[\n\v][A-Za-z0-9-]+){0,3}[\n\v]?:[\n\v]?[A-Za-z][A-Za-z0-9]*(?:[\n\v][A-Za-z0-9]+){0,4})"
)
_AFTER_ACTION = re.compile(r"[\w:/*?-]")
_RESOURCE = re.compile(
    r"[`'\"’”\]]?(?: (?:action|operation))?[ \n\v]*(?:"
    + spaced("on the specified resource")
    + "|"
    + spaced("on resource")
    + r"(?P<named>(?:\(?s\)?)?[ \n\v]*:?[ \n\v]*)|"
    + spaced("on the resource")
    + rf"(?:[ \n\v]+{spaced('associated with this ciphertext')})?"
    + r"(?P<the>[ \n\v]*:?[ \n\v]*))",
    re.IGNORECASE,
)
TAIL = re.compile(
    rf"(?<![\w-])(?:{spaced('because')}|{spaced('with an explicit deny')}|{spaced('transitively through')})\b",
    re.IGNORECASE,
)
_REASON = re.compile(
    rf"{spaced('because no')}[^.]{{4,80}}?{spaced('policy allows')}(?:{spaced(' the ')}\S+[ \n\v]+{spaced('action')})?"
    rf"|{spaced('with an explicit deny')}"
    rf"(?:(?:{spaced(' in a')}|{spaced(' transitively through a')})n?[ \n\v][^.:]{{4,60}}?"
    rf"(?:{spaced('policy')}|{spaced('boundary')})"
    r"(?::[ \n\v]*[^ \n\v,\"']+)?)?"
    rf"|{spaced('transitively through a')}n?[ \n\v][^.:]{{4,60}}?{spaced('policy')}",
    re.IGNORECASE,
)
_BEHIND_QUOTE = re.compile(
    rf"[\"'][ \n\v]*(?:{spaced('because no')}|{spaced('with an explicit deny')})\b", re.IGNORECASE
)
_END_OF_ANOTHER = re.compile(r"\.(?=[ \n\v]|\Z)")
_FIELDS = re.compile(rf"{spaced('(Service:')}")
"""What Java's SDK appends directly to a message."""
_GAP_BEFORE_TAIL = re.compile(r"[^A-Za-z0-9]*(?:[\n\v][A-Za-z]{2,20}:[ ]*)?")
"""Marks, or the word with which a next line begins."""
_CUT_TAIL = re.compile(
    rf"[^A-Za-z0-9]*(?P<tail>{beginning_of('with an explicit deny')}|{beginning_of('because')})"
    r"(?= *(?:\Z|[\n\v\"'`<)\]}\u2026]|\.\.|[^\x00-\x7f]))",
    re.IGNORECASE,
)
"""A reason that a program cut within its first words: whoever refused, it was not left open."""
# A rule of the account or organisation that AWS adds in brackets: "(The management account can only …)". SDKs
# add brackets too, which hold fields and no sentence: "(Service: Lambda, Status Code: 403)".
_REMARK = re.compile(r"\((?:Your|The|This) [^()]{0,400}\)")
_IS = re.compile(r"[ \n\v`'\"]*i[\n\v]?s$", re.IGNORECASE)
_USER = re.compile(r"User:|(?<![\w:/])User(?=[ \n\v]|\Z)")
_QUOTES = "`'\"\u2018\u2019\u201c\u201d "
_THIS_OPERATION = re.compile(rf"[ \n\v]*{spaced('this operation')}", re.IGNORECASE)
_ENCODED_MESSAGE = re.compile(spaced("Encoded authorization failure message"), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of refusal as it stands in a text."""

    start: int
    """Offset of its first word: the principal, if it names one."""
    phrase: int
    """Offset of `not authorized to perform`."""
    end: int
    action: str
    """As written; empty where it names none."""
    resource: Named
    principal: str
    reason: str
    """From `because` or `with an explicit deny` on; empty where none is given."""
    explicit: bool
    remark: str
    """A rule of the account, in brackets."""
    this_operation: bool
    """It says `this operation`: EC2's form without an action."""
    encoded: bool
    """An encoded message follows, which tells the rest to who may decode it."""


def sentences(layout: Layout, stop: int | None = None) -> Iterator[Sentence]:
    """All sentences of refusal in a text, in order, also those that name no action; none that begin behind `stop`."""
    found = [*PHRASE.finditer(layout.text)]
    before = 0
    for index, phrase in enumerate(found):
        if stop is not None and phrase.start() > stop + _LONGEST_PRINCIPAL:
            return
        limit = found[index + 1].start() if index + 1 < len(found) else len(layout.text)
        sentence = _read(layout, phrase, before, limit)
        before = sentence.end
        yield sentence


def _read(layout: Layout, phrase: re.Match[str], before: int, limit: int) -> Sentence:
    text = layout.text
    scope = _scope(text, phrase.end(), min(limit, phrase.end() + _LONGEST))
    start, principal = _principal(text, max(before, phrase.start() - _LONGEST_PRINCIPAL), phrase.start())
    action, behind = _action(text, phrase.end(), scope)
    resource, after = _named(layout, behind, scope) if action else (Named(), behind)
    tail = _tail(text, after, scope) if action else _tail_of_nothing(text, after, scope)
    end = after if tail is None else _end_of_reason(text, tail, scope)
    reason = text[tail:end] if tail is not None else ""
    rest = text[behind:scope]
    same_line = rest.partition("\n")[0]
    return Sentence(
        start=start,
        phrase=phrase.start(),
        end=end,
        action=action,
        resource=resource,
        principal=principal,
        reason=one_line(reason),
        explicit="explicitdeny" in squeezed(reason or same_line),
        remark=_remark(text[behind:scope] if tail is None else text[behind:tail]),
        this_operation=_THIS_OPERATION.match(text, phrase.end()) is not None,
        encoded=_ENCODED_MESSAGE.search(text, phrase.end(), scope) is not None,
    )


def _scope(text: str, start: int, limit: int) -> int:
    """The sentence ends at the latest where another begins, or at an empty line."""
    empty = text.find("\n\n", start + 1, limit)
    return limit if empty < 0 else empty


def _principal(text: str, first: int, phrase: int) -> tuple[int, str]:
    """Where the sentence begins, and whom it names: an ARN, a session, a bare word; empty where it names nobody."""
    before = text[first:phrase].rstrip(" " + BREAKS)
    verb = _IS.search(before)
    if not verb:
        return phrase, ""
    before = before[: verb.start()].rstrip(_QUOTES + BREAKS)
    marker = max((match for match in _USER.finditer(before)), key=lambda match: match.start(), default=None)
    named = before[marker.end() :] if marker else before
    name = unbroken(named).strip(_QUOTES)
    if not marker or " " in name:
        name = (name.split() or [""])[-1].strip(_QUOTES + "(:,")
        start = first + before.rfind(name)
    else:
        start = first + marker.start()
    return start, name if re.search(r"[A-Za-z0-9]|^\*$", name) and name.lower() != "user" else ""


def _action(text: str, start: int, limit: int) -> tuple[str, int]:
    """The action and where it ends: where its line broke, the longest that AWS has."""
    match = _ACTION.match(text, start, limit)
    if not match:
        return "", start
    first, *more = re.split(rf"(?=[{BREAKS}])", match["action"])
    pieces, best = first, first
    for piece in more:
        pieces += piece
        if catalog.action(unbroken(pieces)):
            best = pieces
    name = unbroken(best)
    end = match.start("action") + len(best)
    if ":" not in name or name.endswith(":"):
        best = match["action"].rstrip(BREAKS)
        name, end = unbroken(best), match.start("action") + len(best)
    return ("", start) if _AFTER_ACTION.match(text, end) else (name, end)


def _named(layout: Layout, start: int, limit: int) -> tuple[Named, int]:
    match = _RESOURCE.match(layout.text, start, limit)
    if not match or (match["named"] is None and match["the"] is None):
        return Named(), match.end() if match else start
    tail = TAIL.search(layout.text, match.end(), limit) or _FIELDS.search(layout.text, match.end(), limit)
    named = read_resource(layout, match.end(), tail.start() if tail else None, limit)
    if match["named"] is None and not (named.text.startswith("arn:") or named.quoted):
        # "on the resource associated with this ciphertext": words, not a name.
        return Named(), match.end()
    return named, named.end


def _tail_of_nothing(text: str, after: int, limit: int) -> int | None:
    """Where the reason begins of a sentence whose action is hidden: `perform: <redacted> because …`."""
    match = TAIL.search(text, after, min(limit, after + 40))
    return match.start() if match else None


def _tail(text: str, after: int, limit: int) -> int | None:
    """Where the reason begins: directly behind what was read; else it belongs to something else."""
    match = TAIL.search(text, after, limit)
    if not match or not _GAP_BEFORE_TAIL.fullmatch(text, after, match.start()):
        cut = _CUT_TAIL.match(text, after, limit)
        if cut:
            return cut.start("tail")
    if not match:
        return None
    gap = text[after : match.start()]
    if _GAP_BEFORE_TAIL.fullmatch(gap):
        return match.start()
    # Something stands between, as in "on the resource associated with this ciphertext because": on the same line it is
    # this refusal's reason if AWS gives such a one, or if no other sentence has begun.
    same = "\n" not in gap and (
        re.search(r"[.,;:(] ", gap) is None or denying_policy_type(text[match.start() : limit][:200])
    )
    return match.start() if same else None


def _end_of_reason(text: str, tail: int, limit: int) -> int:
    """Where AWS's reason ends; another one, at its full stop."""
    near = min(limit, tail + _LONGEST_REASON)
    known = _REASON.match(text, tail, near) or _CUT_TAIL.match(text, tail, near)
    if not known:
        other = _END_OF_ANOTHER.search(text, tail, near)
        return other.start() if other else near
    # A caller who chose the name can have put a reason into it: the true one stands behind it, behind a quote.
    line = text.find("\n", known.end(), limit)
    same_line = TAIL.search(text, known.end(), line if line >= 0 else limit)
    return limit if same_line or _BEHIND_QUOTE.search(text, known.end(), limit) else known.end()


def _remark(text: str) -> str:
    found = _REMARK.search(one_line(text))
    return found[0] if found else ""


_ENCODED = (
    "the message is encoded: `aws sts decode-authorization-message --encoded-message …` tells action and resource"
)
