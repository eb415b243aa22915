"""Parses the resource that a denial names, and converts it to an ARN for a policy (pure).

S3 quotes the resource, IAM writes `role NAME`, Secrets Manager a bare name; GitHub and people mask
parts of it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection

from msgspec import Struct

from leastpriv.denials.log_text import (
    BREAKS,
    LogText,
    breakable,
    iam_kinds,
    without_blanks,
    without_breaks,
)


class NamedResource(Struct, frozen=True):
    """A resource as a message names it."""

    text: str = ""
    end: int = 0
    """Offset after it."""
    quoted: bool = False
    is_cut: bool = False
    """The text ends within the resource."""


_OPENED = re.compile(r"\\*(?P<open>[\"'`\u201c\u2018])")
_LINKED = re.compile(
    r"<(?P<address>arn:(?:[^<> \n\v]|<[^<>]{1,60}>)+)>|\[(?P<text>arn:[^\] \n\v]+)\]\(https?:[^)"
    r" \n\v]*\)"
)
"""What chat programs and Markdown make of an ARN: `<arn:…>`, `[arn:…](https://…)`."""
_CLOSERS = {'"': '"', "'": "'", "`": "'`", "\u201c": "\u201d", "\u2018": "\u2019"}
_LONGEST = 1_600
# `<account id>` is one part, even where the line is truncated in it; `</Message>` ends the text.
_TOKEN = re.compile(
    r"(?:<[^<>/]{1,60}>|<[^<>/ \n\v\"]{1,60}(?=\n[\"'`]?[A-Za-z]+[: ])"
    r"|<[^<>/ \n\v\"]{0,60}\Z|[^ \n\v\"`<>])+"
)
_FIRST_WORD = re.compile(r"[A-Za-z0-9_./:*@=+,$%{}#~<>-]+(?=[ \n\v\"'`(]|\Z)")
_CUT_ARN = re.compile(r"arn:[^:]*(?::[^:]*){0,2}")
_KINDS = re.compile(
    rf"(?:{'|'.join(map(breakable, sorted(iam_kinds(), key=len, reverse=True)))})[ \n\v]+",
    re.IGNORECASE,
)
_IN_NEXT_LINE = re.compile(r"a[\n\v]?r[\n\v]?n|arn?\Z|\\?\*")
_VERSION = re.compile(r" version v\d+")
_CUT_AT_BACKTICK = re.compile(r"`(?:[\w/:-]|\*(?!\*))")
_LABEL_OF_NEXT_LINE = re.compile(r"[\n\v][A-Za-z]{2,20}:\Z")
"""A word at the beginning of the next line: `retry: with an explicit deny`."""


def read_resource(layout: LogText, start: int, tail: int | None, limit: int) -> NamedResource:
    """Parses the resource that begins at `start`; `tail` is the start of the reason, where it
    certainly ends.
    """
    text = layout.text
    linked = _LINKED.match(text, start, limit)
    if linked:
        return NamedResource(_usable(linked["address"] or linked["text"]), linked.end())
    is_in_next_line = text[start - 1] in BREAKS
    opening = _OPENED.match(text, start)
    if opening and (not is_in_next_line or _IN_NEXT_LINE.match(text, opening.end())):
        inner = text[opening.end() : min(limit, start + _LONGEST)]
        return _quoted_resource(opening, inner)
    if tail is not None:
        region = text[start:tail]
        name = _whole(region)
        if name is not None:
            return NamedResource(_usable(name), start + len(region.rstrip(" " + BREAKS)))
    kind = _KINDS.match(text, start, limit)
    token = _TOKEN.match(text, kind.end() if kind else start, limit)
    if not token:
        return NamedResource(end=start)
    if kind:
        version = _VERSION.match(text, token.end())
        name = _trimmed(token[0]) + (version[0] if version else "")
        return NamedResource(f"{_kind_of(kind)} {name}", version.end() if version else token.end())
    if is_in_next_line and not _IN_NEXT_LINE.match(token[0]):
        # The line is truncated after `on resource:`, and another line follows.
        return NamedResource(end=start)
    name, end = _continued(layout, token, limit)
    # A name may contain a backtick; its end is then ambiguous.
    return NamedResource("" if _CUT_AT_BACKTICK.match(text, end) else _usable(_trimmed(name)), end)


def _quoted_resource(opened: re.Match[str], inner: str) -> NamedResource:
    """Returns the resource in quotes or brackets; `inner` is the text behind the opening one."""
    closings = [inner.find(closer) for closer in _CLOSERS[opened["open"]]]
    closed = min((position for position in closings if position >= 0), default=-1)
    if closed >= 0:
        name = _unescaped(without_breaks(inner[:closed])).strip()
        return NamedResource(_usable(name), opened.end() + closed + 1, quoted=True)
    token = _TOKEN.match(inner)
    name = token[0] if token else ""
    return NamedResource(
        text=_usable(_trimmed(name)),
        end=opened.end() + len(name),
        quoted=True,
        is_cut=not inner[len(name) :].strip(),
    )


def _kind_of(found: re.Match[str]) -> str:
    return next(kind for kind in iam_kinds() if without_blanks(kind) == without_blanks(found[0]))


def _whole(region: str) -> str | None:
    """Returns a region's text if it is only a resource: one word, however wrapped, or a kind and a
    name.
    """
    words = region.strip(" " + BREAKS)
    if len(words) > _LONGEST:
        return None
    if _LABEL_OF_NEXT_LINE.search(words) and not without_breaks(words).endswith(":log-stream:"):
        return None
    kind = _KINDS.match(words)
    name = without_breaks(words[kind.end() :] if kind else words).rstrip(",;")
    name = name if name.endswith("..") else name.removesuffix(".")
    bare = _VERSION.sub("", name) if kind else name
    if re.search(r"[ \"`]", re.sub(r"<[^<>/]{1,60}>", "", bare)):
        return None
    return (f"{_kind_of(kind)} " if kind else "") + _unescaped(name)


def _continued(layout: LogText, token: re.Match[str], limit: int) -> tuple[str, int]:
    """A word without a reason after it continues in the next line if its own line is full, or if it
    is no ARN yet.
    """
    word, end = token[0], token.end()
    if word.rfind("<") > word.rfind(">"):
        # A tool truncated the line within a placeholder.
        return word, end
    text = layout.text
    while end < limit and text[end] in BREAKS and len(word) < _LONGEST:
        following = _FIRST_WORD.match(text, end + 1, limit)
        if not following or not (is_full(layout, end) or _is_cut(word, following, text)):
            break
        # `…role/deploy</Message>`: an XML tag ends the name even without a blank.
        text_before, closing, _ = following[0].partition("</")
        word, end = word + text_before, following.start() + len(text_before)
        if closing:
            break
    return word, end


def is_full(layout: LogText, at: int) -> bool:
    """Whether the line that ends at `at` was wrapped at a column: another is as long, and none near
    it is longer.

    A copy of the line proves nothing: the same message printed again has the same length.
    """
    line = bisect_right(layout.starts, at) - 1
    first, last = (
        bisect_left(layout.starts, at - _LONGEST),
        bisect_right(layout.starts, at + _LONGEST),
    )
    width = layout.ends[line]
    if width < _NARROWEST or max(layout.ends[first:last]) > width:
        return False
    own_line = _line(layout, line)
    other_lines = (
        other_number
        for other_number in range(first, last)
        if other_number != line and layout.ends[other_number] == width
    )
    return any(not _is_copy(_line(layout, other), own_line) for other in other_lines)


def _line(layout: LogText, number: int) -> str:
    following = (
        layout.starts[number + 1] - 1 if number + 1 < len(layout.starts) else len(layout.text)
    )
    return layout.text[layout.starts[number] : following]


def _is_copy(one: str, other: str) -> bool:
    """Whether two lines are one message: half of their text is equal, whatever names or numbers
    differ in the rest.
    """
    one, other = one.strip(), other.strip()
    quarter = max(len(one), len(other)) // 4
    begins, ends = one[:quarter] == other[:quarter], one[-quarter:] == other[-quarter:]
    half = 2 * quarter
    return (
        one == other
        or (begins and (ends or one[:half] == other[:half]))
        or (ends and one[-half:] == other[-half:])
    )


_NARROWEST = 40
_COLONS = 5
"""Colons before the resource part of an ARN."""


def _is_cut(word: str, following: re.Match[str], text: str) -> bool:
    if not word.startswith("arn:"):
        return word in ("a", "ar", "arn")
    alone = following.end() >= len(text) or text[following.end()] != " "
    return word.count(":") < _COLONS or (
        alone and word[-1] in ":/-" and not word.endswith(":log-stream:")
    )


def _trimmed(word: str) -> str:
    """Removes the sentence's punctuation from a word."""
    if word.endswith(("...", ":log-stream:")):
        return _unescaped(word)
    before = ""
    while word != before:
        before = word
        word = _END_OF_BOLD.sub("", word).rstrip(".,;:'!…")
        if any(
            word.endswith(end) and word.count(end) > word.count(begin)
            for begin, end in ("()", "[]", "{}")
        ):
            word = word[:-1]
    return _unescaped(word)


_END_OF_BOLD = re.compile(r"(?<![*/:])\*\*\Z")
"""Markdown, no mask of the runner, which has three stars."""


def _unescaped(word: str) -> str:
    return re.sub(r"\\+(?=[*_])", "", without_breaks(word)).rstrip("\\")


def _usable(name: str) -> str:
    """Returns a name; empty for an ARN that is truncated before its resource."""
    if name.startswith("_arn:") and name.endswith("_"):
        # Italics of chat programs.
        name = name[1:-1]
    return "" if _CUT_ARN.fullmatch(name) or not re.search(r"[\w*]", name) else name


MASK = re.compile(
    r"\*{2,}|<[^<>]*>|\[[^\[\]]*\]|\$?\{[^{}]*\}|\.{3}|…|(?<![A-Za-z0-9])[Xx]{3,}(?![A-Za-z0-9])"
    r"|\$[A-Z_]{2,}"
)
"""Masks: the runner's `***`, and what people write in place of names. Never a wildcard."""
_HOLE = "\0"


def has_hidden_part(resource: str) -> bool:
    """Whether a part of the resource is masked."""
    return MASK.search(resource) is not None


def fill_hidden_parts(
    resource: str, known: Collection[str], *, masked_principal: str = "", principal: str = ""
) -> str:
    """Fills the masked parts of a resource from other evidence; empty where that is ambiguous.

    Exactly one of the ARNs in `known` must match, where a masked part replaces one or more
    characters except `:` and `/`. Without one, an account that is masked like `masked_principal` is
    the account of `principal`, if nothing else is masked.
    """
    if not has_hidden_part(resource):
        return resource
    pattern = re.escape(MASK.sub(_HOLE, resource)).replace(re.escape(_HOLE), "[^:/]+")
    matching_arns = {
        arn for arn in known if re.fullmatch(pattern, arn) and not has_hidden_part(arn)
    }
    if matching_arns:
        return matching_arns.pop() if len(matching_arns) == 1 else ""
    fields = resource.split(":", 5)
    masked_fields = masked_principal.split(":", 5)
    principal_fields = principal.split(":", 5)
    if not len(fields) == len(masked_fields) == len(principal_fields) == 6:
        return ""
    masked_account = fields[4]
    if not has_hidden_part(masked_account) or masked_account != masked_fields[4]:
        return ""
    fields[4] = principal_fields[4]
    filled = ":".join(fields)
    return "" if has_hidden_part(filled) else filled


def resource_arn(resource: str, principal: str) -> str:
    """Returns the ARN of a resource that IAM names by kind and name, in the principal's account;
    else the text.

    `role NAME` has no path: the ARN is that of a role without one. `policy ARN version v2` is the
    policy.
    """
    kind = _KINDS.match(resource)
    if not kind:
        return resource
    name = _VERSION.sub("", resource[kind.end() :])
    if name.startswith("arn:"):
        return name
    parts = principal.split(":")
    path = iam_kinds()[_kind_of(kind)]
    has_account = len(parts) > _COLONS and re.fullmatch(r"\d{12}", parts[4])
    return f"arn:{parts[1]}:iam::{parts[4]}:{path}/{name}" if has_account else resource
