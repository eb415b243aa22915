"""Finds ends of names that a tool drew from letters alone: `gzuihsue` of
`shop-alice-OrdersTable-gzuihsue`.

Such an end looks like a word. All of them have one length, and like names have each another end
behind another text: `alice`, `bob`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.names.words import SIGNS_OF_SEGMENTS, Name, Words

_DRAWN = re.compile(r"[a-z]{6,}")
_LEAST_FORMS = 3
"""Forms of names, each in several copies, whose ends differ: two may be words of one length."""
_LEAST_SERVICES = 2
"""Services of these forms."""
_OPEN = "*"


class _Form(Struct, frozen=True):
    """What names of different copies have before their ends: `Table`, of the kind `table/`."""

    kind: str
    word: str


class _End(Struct, frozen=True):
    """The last word of a segment of a name."""

    word: str
    before: Words
    """The words of the segment before it."""


def drawn_ends(names: Iterable[Name]) -> frozenset[str]:
    """Returns the ends of some names that a tool drew."""
    ends_by_form: dict[_Form, set[_End]] = {}
    for name in names:
        for end in _ends(name):
            ends_by_form.setdefault(_Form(name.kind, end.before[-2]), set()).add(end)
    forms_by_length: dict[int, list[_Form]] = {}
    for form, ends in ends_by_form.items():
        words = {end.word for end in ends}
        texts = {end.before for end in ends}
        lengths = {len(word) for word in words}
        has_own_text_each = len(words) == len(texts) == len(ends)
        if len(ends) > 1 and len(lengths) == 1 and has_own_text_each:
            forms_by_length.setdefault(lengths.pop(), []).append(form)
    drawn: set[str] = set()
    for forms in forms_by_length.values():
        services = {form.kind.partition(":")[0] for form in forms}
        if len(forms) >= _LEAST_FORMS and len(services) >= _LEAST_SERVICES:
            drawn.update(end.word for form in forms for end in ends_by_form[form])
    return frozenset(drawn)


def with_open_ends(name: Name, drawn: frozenset[str]) -> Name:
    """The name with each of these ends open."""
    if drawn.isdisjoint(name.words):
        return name
    ends = {end.word for end in _ends(name)} & drawn
    words = [_OPEN if word in ends else word for word in name.words]
    return replace(name, words=tuple(words))


def _ends(name: Name) -> Iterator[_End]:
    """Yields the last words of the segments that may be drawn, each behind a sign and a word."""
    begin = len(name.fixed)
    for index in range(begin, len(name.words) + 1):
        if index < len(name.words) and name.words[index] not in SIGNS_OF_SEGMENTS:
            continue
        segment = name.words[begin:index]
        if len(segment) > 2 and segment[-2] == "-" and _DRAWN.fullmatch(segment[-1]):
            yield _End(segment[-1], segment[:-1])
        begin = index + 1
