"""Opens the words in which two names differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.volatility import (
    common_ends,
    is_kept,
    literal_letters,
    parts_of,
    service_of,
)

_MOST_WORDS = 4
"""Words of a branch name: `feature-login-page-2`."""
_LEAST_TRUNCATED = 12
"""Letters of a branch's name that prove it although the rest is missing."""
_LEAST_LITERAL = 3
_LEAST_LITERAL_BEHIND = 6
"""Letters and digits that remain literal of a name that begins with the word of its copy."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_TOKEN = re.compile(r"[A-Za-z0-9]+")
"""Words without a sign between them: a random number has no others."""
_GAP = "\0"
_Span = tuple[int, int]


# Leaving each run out in turn asks for the same names again and again.
@lru_cache(maxsize=65_536)
def pattern_of_words(resource: str, words: frozenset[str], is_one_app: bool = True) -> str:
    """The resource with the words of the resource's run open; the resource itself where it has
    none, or little else.
    """
    opened = resource
    for word in sorted(words, key=lambda each: (-len(each), each)):
        spans = [span for span in _spans(opened) if opened[slice(*span)].lower() == word.lower()]
        spans = spans or [*_spans_of_long(opened, word.lower())]
        shape = _replaced(opened, spans, _GAP) if spans else opened
        opened = _pattern(shape, is_one_app) or opened
    return opened


def _spans_of_long(resource: str, word: str) -> Iterator[_Span]:
    """Yields the places of a word of many parts, or of its beginning where a tool truncated the
    name of a branch.
    """
    if len(word) < _LEAST_TRUNCATED:
        return
    for offset, text in _open_texts(resource):
        for found in re.finditer(
            rf"(?<![A-Za-z0-9]){re.escape(word[:_LEAST_TRUNCATED])}", text, re.IGNORECASE
        ):
            shared = common_ends([text[found.start() :].lower(), word])[0].rstrip("-_.")
            end = found.start() + len(shared)
            if not text[end : end + 1].isalnum():
                yield offset + found.start(), offset + end


def words_that_differ(one: str, other: str, *, numbered: bool = True) -> str:
    """The words of a resource or pattern in which another differs; `numbered`: only where both
    words have a digit.
    """
    for start, stop in sorted(_spans(one), key=lambda span: span[1] - span[0]):
        before, after = (_as_regex(text) for text in (one[:start], one[stop:]))
        match = re.fullmatch(f"{before}([^/:]+){after}", other, re.DOTALL)
        if match and not (
            numbered and not all(re.search("[0-9]", text) for text in (one[start:stop], match[1]))
        ):
            return one[start:stop]
    return ""


def _as_regex(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)


@lru_cache(maxsize=4_096)
def _spans(resource: str) -> tuple[_Span, ...]:
    """Places of runs of one to four words in the variable parts of an ARN, none across a `/` or a
    wildcard.
    """
    found: set[_Span] = set()
    for offset, text in _open_texts(resource):
        for piece in re.finditer(r"[^/*?${}:]+", text):
            for kind in (_WORD, _TOKEN):
                words = [word.span() for word in kind.finditer(text, *piece.span())]
                for first, (start, _) in enumerate(words):
                    found |= {
                        (offset + start, offset + end)
                        for _, end in words[first : first + _MOST_WORDS]
                    }
    return tuple(sorted(found))


def _open_texts(resource: str) -> Iterator[tuple[int, str]]:
    """Yields the variable parts of an ARN whose words may differ, each with its offset."""
    for part in parts_of(service_of(resource), resource):
        text = resource[part.start : part.end]
        is_bucket = part.variable == "BucketName" and part.end == len(resource)
        if is_bucket or not is_kept(resource, part.variable, text):
            yield part.start, text


def _replaced(resource: str, spans: Iterable[_Span], text: str) -> str:
    opened, last = "", 0
    for start, end in sorted(spans):
        if start >= last:
            opened += resource[last:start] + text
            last = end
    return opened + resource[last:]


@lru_cache(maxsize=16_384)
def _pattern(shape: str, is_one_app: bool, least: int = _LEAST_LITERAL) -> str:
    """The shape with wildcards; empty where too little of the name would remain literal.

    `is_one_app`: all names that the copies share have one word behind the gap.
    """
    wide = shape.replace(_GAP, "*")
    for part in parts_of(service_of(wide), wide):
        name = shape[part.start : part.end]
        if _GAP in name and not _is_literal_enough(name.lstrip("/"), is_one_app, least):
            return ""
    return re.sub(r"\*{2,}", "*", wide)


def _is_literal_enough(name: str, is_one_app: bool, least: int) -> bool:
    if not name.startswith(_GAP):
        return literal_letters(name) >= least
    return (
        is_one_app
        and not name.startswith(f"{_GAP}/")
        and literal_letters(name) >= _LEAST_LITERAL_BEHIND
    )


def covering(pattern: str, other: str) -> str:
    """Returns what covers two patterns, part by part; empty where neither part covers the other."""
    ours, theirs = parts_of(service_of(pattern), pattern), parts_of(service_of(other), other)
    if [part.variable for part in ours] != [part.variable for part in theirs]:
        return ""
    found, at = "", 0
    for one, two in zip(ours, theirs, strict=True):
        text, second = pattern[one.start : one.end], other[two.start : two.end]
        wide = text if resource_covers(text, second) else second
        if not resource_covers(wide, text):
            return ""
        found, at = f"{found}{pattern[at : one.start]}{wide}", one.end
    return found + pattern[at:]
