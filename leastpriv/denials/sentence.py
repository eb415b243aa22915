"""Finds AWS's own sentence of denial in a text, wherever its lines break (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.errors import denying_policy
from leastpriv.denials.log_text import (
    BREAKS,
    LogText,
    any_beginning,
    breakable,
    end_of_message,
    one_line,
    without_blanks,
    without_breaks,
)
from leastpriv.denials.resource import NamedResource, is_full, read_resource
from leastpriv.permissions import catalog

PHRASE = re.compile(breakable("not authorized to perform"), re.IGNORECASE)
_LONGEST = 3_000
"""Characters after the phrase: an object's key has up to 1,024, and a table column wraps it often.
"""
_LONGEST_PRINCIPAL = 700
_LONGEST_REASON = 600
_BOLD = r"(?:\*{1,2}(?!\*))?"
"""Markdown around an action, a resource or a label."""
_ACTION = re.compile(
    rf"[ \n\v]*:?{_BOLD}[ \n\v]*(?:the[ \n\v]+)?(?:actions?:?["
    rf" \n\v]+)?{_BOLD}[`'\"\u2018\u201c\[]?{_BOLD}"
    r"(?P<action>[A-Za-z][A-Za-z0-9-]*"
    r"(?:[\n\v][A-Za-z0-9-]+){0,3}[\n\v]?:[\n\v]?[A-Za-z][A-Za-z0-9]*(?:[\n\v][A-Za-z0-9]+){0,4})"
)
_AFTER_ACTION = re.compile(r"[\w:/?-]|\*(?!\*(?!\*))")
_AFTER_BOLD_ACTION = re.compile(r"[\w:/?-]|\*{3}")
_RESOURCE = re.compile(
    rf"{_BOLD}(?:[\n\v]?[`'\"’”\]])?{_BOLD}(?: (?:action|operation))?[ \n\v]*{_BOLD}(?:"
    + breakable("on the specified resource")
    + "|"
    + breakable("on resource")
    + rf"(?P<named>(?:\(?s\)?)?[ \n\v]*:?{_BOLD}[ \n\v]*)|"
    + breakable("on the resource")
    + rf"(?:[ \n\v]+{breakable('associated with this ciphertext')})?"
    + r"(?P<the>[ \n\v]*:?[ \n\v]*))",
    re.IGNORECASE,
)
_CUT = re.compile(r"(?P<mark> ?(?:\(truncated|\.\.\.|\u2026))|\s*\Z")
_BOLD_RESOURCE = re.compile(r"\*\*(?=arn:|[\"'`])|\*(?=arn:)")
TAIL = re.compile(
    rf"(?<![\w-])(?:{breakable('because')}|{breakable('with an explicit deny')}"
    rf"|{breakable('transitively through')})\b",
    re.IGNORECASE,
)
_REASON = re.compile(
    rf"{breakable('because no')}[^.]{{4,80}}?"
    rf"(?:{breakable('policy')}|{breakable('boundary')}){breakable(' allows')}"
    rf"(?:{breakable(' the ')}\S+[ \n\v]+{breakable('action')})?"
    rf"|{breakable('with an explicit deny')}"
    rf"(?:(?:{breakable(' in a')}|{breakable(' transitively through a')})n?[ \n\v][^.:]{{4,60}}?"
    rf"(?:{breakable('policy')}|{breakable('boundary')})"
    r"(?::[ \n\v]*[^ \n\v,\"']+)?)?"
    rf"|{breakable('transitively through a')}n?[ \n\v][^.:]{{4,60}}?{breakable('policy')}",
    re.IGNORECASE,
)
_BEHIND_QUOTE = re.compile(
    rf"[\"'][ \n\v]*(?:{breakable('because no')}|{breakable('with an explicit deny')})\b",
    re.IGNORECASE,
)
_END_OF_ANOTHER = re.compile(r"\.(?=[ \n\v]|\Z)")
_FIELDS = re.compile(rf"{breakable('(Service:')}")
"""Java's SDK appends this directly to a message."""
_GAP_BEFORE_TAIL = re.compile(r"[^A-Za-z0-9]*(?:[\n\v][A-Za-z]{2,20}:[ ]*)?")
"""Punctuation, or the first word of the next line."""
_CUT_TAIL = re.compile(
    rf"[^A-Za-z0-9]*(?P<tail>{any_beginning('with an explicit deny')}"
    rf"|{breakable('because')}(?![\n\v] *[a-z])|{any_beginning('becaus')})"
    r"(?= *(?:\Z|[\n\v\"'`<)\]}\u2026]|\.\.|[^\x00-\x7f]))",
    re.IGNORECASE,
)
"""A reason truncated within its first words: some policy type denied explicitly."""
# A rule of the account or organisation that AWS adds in brackets: "(The management account can only
# …)". SDKs add brackets too, with fields instead of a sentence: "(Service: Lambda, Status Code:
# 403)".
_REMARK = re.compile(r"\((?:Your|The|This) [^()]{0,400}\)")
_IS = re.compile(r"[ \n\v`'\"]*i[\n\v]?s$", re.IGNORECASE)
_USER = re.compile(r"User:|(?<![\w:/])User(?=[ \n\v]|\Z)")
_QUOTES = "`'\"\u2018\u2019\u201c\u201d "
_THIS_OPERATION = re.compile(rf"[ \n\v]*{breakable('this operation')}", re.IGNORECASE)
_ENCODED_MESSAGE = re.compile(
    breakable("Encoded authorization failure message") + r"(?P<text>[\n\v]?:[ \n\v]*)?",
    re.IGNORECASE,
)
_PIECE_OF_ENCODED = re.compile(r"[A-Za-z0-9_-]+")
_SHORTEST_ENCODED, _LONGEST_ENCODED = 60, 10_240
"""In characters: AWS accepts up to 10,240 (AWS STS API Reference, "DecodeAuthorizationMessage",
read 2026-11-24); a shorter text than any real one is a mask, or truncated."""


class DenialSentence(Struct, frozen=True):
    """One sentence of denial in a text."""

    start: int
    """Offset of its first word: the principal, if there is one."""
    phrase: int
    """Offset of `not authorized to perform`."""
    end: int
    action: str
    """As written; empty where the sentence has none."""
    resource: NamedResource
    principal: str
    reason: str
    """Text from `because` or `with an explicit deny` on; empty where there is no reason."""
    explicit: bool
    remark: str
    """A rule of the account, in brackets."""
    this_operation: bool
    """The sentence has `this operation`: EC2's form without an action."""
    encoded: bool
    """An encoded message follows, which contains the rest."""


def find_sentences(layout: LogText, stop: int | None = None) -> Iterator[DenialSentence]:
    """Yields all sentences of denial that begin before `stop`, in order, including those without an
    action.
    """
    phrases = [*PHRASE.finditer(layout.text)]
    before = 0
    for index, phrase in enumerate(phrases):
        if stop is not None and phrase.start() > stop + _LONGEST_PRINCIPAL:
            return
        limit = phrases[index + 1].start() if index + 1 < len(phrases) else len(layout.text)
        sentence = _read_sentence(layout, phrase, before, limit)
        before = sentence.end
        yield sentence


def _read_sentence(
    layout: LogText, phrase: re.Match[str], before: int, limit: int
) -> DenialSentence:
    """Returns the sentence of denial around a phrase, read from its principal to its reason.

    The offsets of an example, each below its place (U: the principal, R: the resource):

        User: U is not authorized to perform: s3:GetObject on resource: R because no policy …
        start      phrase                                 behind         after, tail

    `after` is the end of the resource, `tail` the beginning of the reason, `end` its end.

    Args:
        layout: The text.
        phrase: The match of `not authorized to perform`.
        before: The end of the sentence before, where the principal begins at the earliest.
        limit: The next phrase, where the sentence ends at the latest.
    """
    text = layout.text
    # The sentence ends at the latest at the next sentence, at a line that begins another message,
    # or at an empty line.
    limit = end_of_message(text, phrase.end(), min(limit, phrase.end() + _LONGEST))
    empty = text.find("\n\n", phrase.end() + 1, limit)
    scope = limit if empty < 0 else empty
    start, principal = _principal(
        text, max(before, phrase.start() - _LONGEST_PRINCIPAL), phrase.start()
    )
    action, behind = _action(text, phrase.end(), scope)
    if action:
        resource, after = _named(layout, behind, scope)
        tail = _tail(text, after, scope, action)
    else:
        # A mask may replace the action: `perform: <redacted> because …`.
        resource, after = NamedResource(), behind
        masked = TAIL.search(text, after, min(scope, after + 40))
        tail = masked.start() if masked else None
    end = after if tail is None else _end_of_reason(text, tail, scope)
    reason = text[tail:end] if tail is not None else ""
    remark = _REMARK.search(one_line(text[behind : scope if tail is None else tail]))
    same_line = text[behind:scope].partition("\n")[0]
    return DenialSentence(
        start=start,
        phrase=phrase.start(),
        end=end,
        action=action,
        resource=resource,
        principal=principal,
        reason=one_line(reason),
        explicit="explicitdeny" in without_blanks(reason or same_line),
        remark=remark[0] if remark else "",
        this_operation=_THIS_OPERATION.match(text, phrase.end()) is not None,
        encoded=_ENCODED_MESSAGE.search(text, phrase.end(), scope) is not None,
    )


def _principal(text: str, first: int, phrase: int) -> tuple[int, str]:
    """Returns the start of the sentence and its principal (an ARN, a session, a word); empty where
    there is none.
    """
    before = text[first:phrase].rstrip(" " + BREAKS)
    verb = _IS.search(before)
    if not verb:
        return phrase, ""
    before = before[: verb.start()].rstrip(_QUOTES + BREAKS)
    marker = next(reversed([*_USER.finditer(before)]), None)
    principal_words = before[marker.end() :] if marker else before
    name = without_breaks(principal_words).strip(_QUOTES)
    # `AccessDeniedException:` and a wrapped line may come directly before an ARN.
    name = name[name.rfind(":arn:") + 1 :]
    if not marker or " " in name:
        name = (name.split() or [""])[-1].strip(_QUOTES + "(:,")
        start = first + before.rfind(name)
    else:
        start = first + marker.start()
    return start, name if re.search(r"[A-Za-z0-9]|^\*$", name) and name.lower() != "user" else ""


def _action(text: str, start: int, limit: int) -> tuple[str, int]:
    """Returns the action and its end: `("s3:GetObject", 118)`.

    Where its line was wrapped, it is the longest action that exists. Empty where the text goes on
    as no action does, `s3:GetObject/x`, or where a tool cut the name off: a part of a name may be
    another action.
    """
    match = _ACTION.match(text, start, limit)
    if not match:
        return "", start
    beginnings = [*accumulate(re.split(rf"(?=[{BREAKS}])", match["action"]))]
    best = next(
        (
            beginning
            for beginning in reversed(beginnings)
            if catalog.action(without_breaks(beginning))
        ),
        beginnings[0],
    )
    if not without_breaks(best).partition(":")[2]:
        best = match["action"].rstrip(BREAKS)
    name, end = without_breaks(best), match.start("action") + len(best)
    # Behind an action in Markdown bold, `**s3:GetObject**`, one or two asterisks close the bold
    # text; elsewhere a single one is the wildcard of a pattern, `s3:Get*`.
    is_bold = text[match.start("action") - 1] == "*"
    continuation = _AFTER_BOLD_ACTION if is_bold else _AFTER_ACTION
    if continuation.match(text, end) or _is_cut(name, _CUT.match(text, end)):
        return "", start
    return name, end


def _is_cut(action: str, cut: re.Match[str] | None) -> bool:
    """Returns whether a tool shortened the message within an action: a longer one exists, and this
    one may not.
    """
    if not cut or (not cut["mark"] and catalog.action(action)):
        return False
    prefix = action.lower().partition(":")[0]
    return any(
        known.lower().startswith(action.lower()) and len(known) > len(action)
        for known in catalog.actions(prefix)
    )


def _named(layout: LogText, start: int, limit: int) -> tuple[NamedResource, int]:
    text = layout.text
    match = _RESOURCE.match(text, start, limit)
    if not match:
        return NamedResource(), start
    if match["named"] is None and match["the"] is None:
        return NamedResource(), match.end()
    tail = TAIL.search(text, match.end(), limit) or _FIELDS.search(text, match.end(), limit)
    bold = _BOLD_RESOURCE.match(text, match.end())
    start = bold.end() if bold else match.end()
    resource_read = read_resource(layout, start, tail.start() if tail else None, limit)
    if bold:
        resource_read = replace(resource_read, text=resource_read.text.removesuffix(bold[0]))
    is_name = resource_read.text.startswith("arn:") or resource_read.quoted
    if match["named"] is None and not is_name:
        # "on the resource associated with this ciphertext": words instead of a name.
        return NamedResource(), match.end()
    return resource_read, resource_read.end


def _tail(text: str, after: int, limit: int, action: str) -> int | None:
    """Returns the start of the reason: directly after the resource, or where it repeats the
    action.
    """
    match = TAIL.search(text, after, limit)
    if not match or not _GAP_BEFORE_TAIL.fullmatch(text, after, match.start()):
        cut = _CUT_TAIL.match(text, after, limit)
        if cut:
            return cut.start("tail")
    if not match:
        return None
    gap = text[after : match.start()]
    reason = without_blanks(text[match.start() : min(limit, match.start() + _LONGEST_REASON)])
    if _GAP_BEFORE_TAIL.fullmatch(gap) or f"allowsthe{action.lower()}action" in reason:
        return match.start()
    # Other words may come between, as in "on the resource associated with this ciphertext because":
    # on the same line this is the denial's reason if AWS writes such a reason, or if no other
    # sentence has begun.
    is_same_line = "\n" not in gap and (
        re.search(r"[.,;:(] ", gap) is None or denying_policy(text[match.start() : limit][:200])
    )
    return match.start() if is_same_line else None


def _end_of_reason(text: str, tail: int, limit: int) -> int:
    """Returns the end of AWS's reason; another reason ends at its full stop."""
    near = min(limit, tail + _LONGEST_REASON)
    reason_match = _REASON.match(text, tail, near) or _CUT_TAIL.match(text, tail, near)
    if not reason_match:
        other_end = _END_OF_ANOTHER.search(text, tail, near)
        return other_end.start() if other_end else near
    # A caller who chose the name may have put a reason into it: the true one follows after a quote.
    line = text.find("\n", reason_match.end(), limit)
    same_line = TAIL.search(text, reason_match.end(), line if line >= 0 else limit)
    return (
        limit
        if same_line or _BEHIND_QUOTE.search(text, reason_match.end(), limit)
        else reason_match.end()
    )


def encoded_texts(layout: LogText, stop: int | None = None) -> Iterator[tuple[int, str]]:
    """Yields offset and text of each complete encoded message; none for a truncated or masked one.

    A message that a tool wrapped at a fixed column continues in the next line. Those of the
    sentences that `find_sentences` leaves out after `stop` are left out too: they would be added to
    the denial before.
    """
    text = layout.text
    left_out = None if stop is None else PHRASE.search(text, stop + _LONGEST_PRINCIPAL + 1)
    for phrase in _ENCODED_MESSAGE.finditer(text, 0, left_out.start() if left_out else len(text)):
        encoded = ""
        end = phrase.end()
        piece = _PIECE_OF_ENCODED.match(text, end) if phrase["text"] else None
        while piece:
            encoded += piece[0]
            end = piece.end()
            is_broken = text[end : end + 1] in ("\n", "\v") and is_full(layout, end)
            piece = _PIECE_OF_ENCODED.match(text, end + 1) if is_broken else None
        is_masked = text.startswith(("...", "…", "*", "<"), end)
        if _SHORTEST_ENCODED <= len(encoded) <= _LONGEST_ENCODED and not is_masked:
            yield phrase.start(), encoded
