"""Learns which parts of names are new in each run: ids, hashes, numbers, dates, versions.

Several runs prove a slot by as many values; a date and a number of the run itself need no second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date

from msgspec import Struct

from leastpriv.permissions.names.calendar_words import calendar_places, letters_before_date
from leastpriv.permissions.names.copies import Copies
from leastpriv.permissions.names.name_table import NameTable
from leastpriv.permissions.names.observed import RunFacts
from leastpriv.permissions.names.words import (
    COPY,
    OWN_RUN,
    RUN,
    SEPARATORS,
    Between,
    Name,
    SharedEnds,
    Words,
    is_date,
    is_drawn,
    masked,
    unglued,
)

_LEAST_DRAWN_VALUES = 2
"""Values that look drawn, each first seen in another run."""
_LEAST_NUMBERS = 3
"""Numbers, each first seen in another run."""
_LEAST_PLAIN_VALUES = 4
"""Plain words, each first seen in another run: copies are fewer, and stay."""
_MOST = 0.6
"""Part of the values that look drawn, since some random words have no digit; and part of the runs
that brought a new value, since the items of an app are used again.
"""
_MOST_VALUES_A_RUN = 2
"""Values of one run; more are items of the app."""
_LEAST_LONG_SEGMENT = 12
"""Letters of a segment of a path that was drawn with signs in it."""
_NUMBER = re.compile(r"[A-Za-z]*\d+")
_BEFORE_NUMBER = re.compile(r"([A-Za-z]+)(?=\d+$)")
_YEAR = 4
"""Digits of a year."""
_DATE_SLOT = f"20{OWN_RUN}"
"""Dates of this century begin alike."""

Template = Words
"""The words of a name with slots."""
TemplateKey = tuple[str, Words]
"""Kind, and the words of a name with the slot of its copy alone."""


def template_of(name: Name, copies: Copies) -> Words:
    """The words of a name, with a slot in each place of its copy's word."""
    copy = copies.copy_of(name)
    return unglued(name, copies.glued).words if copy is None else copy.template


def learn_run_slots(
    table: NameTable, copies: Copies, runs: Mapping[str, RunFacts]
) -> Mapping[TemplateKey, Template]:
    """Finds the slots of all names: kind and words -> the words with slots."""
    runs_by_key: dict[TemplateKey, set[str]] = {}
    slotted: dict[TemplateKey, Template] = {}
    for name, using in table.runs.items():
        key = (name.kind, template_of(name, copies))
        runs_by_key.setdefault(key, set()).update(using)
        template = _with_own_parts(key[1], using, table, runs)
        slotted[key] = _joined(slotted.get(key, template), template)
    learning = _Learning(runs_by_key, table)
    before: dict[TemplateKey, Template] = {}
    while slotted != before:
        # A slot that is found may show that a second one is in the same names.
        before = dict(slotted)
        for span_kind in (_single_words, _pairs_of_words, _segments):
            learning.open_parts_by(span_kind, slotted)
    return slotted


def _joined(one: Template, other: Template) -> Template:
    """The template with the slots of both."""
    return tuple(
        first if RUN in first else second for first, second in zip(one, other, strict=True)
    )


def _with_own_parts(
    words: Words, using: Collection[str], table: NameTable, runs: Mapping[str, RunFacts]
) -> Words:
    """The words with a slot for a day, an id or a number of the first run that used the name."""
    first = min(using, key=lambda run: table.order.get(run, 0), default="")
    facts = runs.get(first)
    if facts is None:
        return words
    day = date.fromisoformat(facts.day) if facts.day else None
    of_calendar = set(calendar_places(words, day)) if day else set[int]()
    slotted_words: list[str] = []
    for index, word in enumerate(words):
        if word.lower() in facts.numbers:
            slotted_words.append(OWN_RUN)
        elif day and _is_date_of(word, day):
            slotted_words.append(_DATE_SLOT)
        elif index in of_calendar:
            slotted_words.append(_DATE_SLOT if len(word) == _YEAR and word.isdigit() else OWN_RUN)
        else:
            before = letters_before_date(word, day) if day else ""
            slotted_words.append(f"{before}{_DATE_SLOT}" if before else word)
    return tuple(slotted_words)


def _is_date_of(word: str, day: date) -> bool:
    """Whether a word is a day, or its month; with or without a time."""
    if not is_date(word):
        return False
    digits = re.sub(r"\D", "", word)
    date_digits = f"{day:%Y%m%d}"
    return date_digits.startswith(digits[: len(date_digits)])


_Parts = Mapping[Words, Collection[TemplateKey]]
"""Part of a name -> the names that have it."""
_Span = tuple[int, int]
_Spans = Callable[[Words], Iterator[_Span]]


def _single_words(words: Words) -> Iterator[_Span]:
    for index, word in enumerate(words):
        if word not in SEPARATORS and word != COPY:
            yield index, index + 1


def _pairs_of_words(words: Words) -> Iterator[_Span]:
    """Two words with a separator between them: two parts of a name may change together."""
    for index in range(len(words) - 2):
        first, sign, last = words[index : index + 3]
        are_words = SEPARATORS.isdisjoint((first, last)) and COPY not in (first, last)
        if sign in SEPARATORS and are_words:
            yield index, index + 3


def _segments(words: Words) -> Iterator[_Span]:
    """Whole segments of a path: a random text may have signs in it."""
    begin = 0
    for end in range(len(words) + 1):
        if end == len(words) or words[end] == "/":
            segment = words[begin:end]
            if segment and COPY not in segment:
                yield begin, end
            begin = end + 1


class _LikeParts(Struct):
    """The parts of names at one place, between the same words."""

    begin: int
    """The place of the first word of each part."""
    names: dict[Words, set[TemplateKey]]
    """Part -> the names that have it."""


class _Learning:
    def __init__(self, runs_by_key: Mapping[TemplateKey, set[str]], table: NameTable) -> None:
        self._seen = runs_by_key
        self._order = table.order
        self._region_words = table.region_words

    def open_parts_by(self, spans: _Spans, slotted: dict[TemplateKey, Template]) -> None:
        """Puts slots where parts of one length are new in each run."""
        groups: dict[Between, _LikeParts] = {}
        shared = SharedEnds((kind, masked(words)) for (kind, _), words in slotted.items())
        for key, words in slotted.items():
            masked_words = masked(words)
            beginnings = shared.beginnings(key[0], masked_words)
            ends = shared.ends(key[0], masked_words)
            for begin, end in spans(words):
                between = Between(beginnings[begin], ends[end])
                if 0 in between:
                    continue
                part = words[begin:end]
                if all(RUN in word or word in SEPARATORS for word in part):
                    continue
                if not self._region_words.keys().isdisjoint(part):
                    continue
                like_parts = groups.setdefault(between, _LikeParts(begin, {}))
                like_parts.names.setdefault(part, set()).add(key)
        for like_parts in groups.values():
            if len(like_parts.names) < _LEAST_DRAWN_VALUES:
                continue
            begin = like_parts.begin
            new = self._new_parts(like_parts.names)
            slot = _slot(new)
            for part, keys in new.items():
                for key in keys:
                    words = slotted[key]
                    if words[begin : begin + len(part)] == part:
                        slotted[key] = (*words[:begin], slot, *words[begin + len(part) :])

    def _new_parts(self, parts: _Parts) -> _Parts:
        """The parts that are new in each run: of one look, or all; none where they come again."""
        if _share_a_word(parts):
            return {}
        drawn = {part: keys for part, keys in parts.items() if _looks_drawn(part)}
        numbers = {part: keys for part, keys in parts.items() if _NUMBER.fullmatch(part[0])}
        for candidates in (parts, numbers, drawn):
            if len(candidates) >= _LEAST_DRAWN_VALUES and self._is_new_each_run(candidates):
                return candidates
        return {}

    def _is_new_each_run(self, parts: _Parts) -> bool:
        """Whether nearly each run has new parts: enough runs were the first to use one, and
        few used several.
        """
        firsts: set[str] = set()
        touching: set[str] = set()
        for keys in parts.values():
            using = {run for key in keys for run in self._seen[key]}
            firsts.add(min(using, key=lambda run: self._order.get(run, 0), default=""))
            touching |= using
        drawn = [part for part in parts if _looks_drawn(part)]
        if len(drawn) >= max(_LEAST_DRAWN_VALUES, _MOST * len(parts)):
            return len(firsts) >= _LEAST_DRAWN_VALUES
        are_numbers = all(_NUMBER.fullmatch(part[0]) for part in parts)
        least_values = _LEAST_NUMBERS if are_numbers else _LEAST_PLAIN_VALUES
        is_new = len(firsts) >= _MOST * len(touching)
        return (
            len(firsts) >= least_values
            and is_new
            and len(parts) <= _MOST_VALUES_A_RUN * len(firsts)
        )


def _share_a_word(parts: Iterable[Words]) -> bool:
    """Whether a word is the same at one place of all parts: it is the app's own text."""
    columns = zip(*parts, strict=False)
    return any(len(set(column)) == 1 and column[0] not in SEPARATORS for column in columns)


def _looks_drawn(part: Words) -> bool:
    if all(is_drawn(word) or word in SEPARATORS for word in part):
        return True
    text = "".join(part)
    kinds = (str.isdigit, str.islower, str.isupper)
    is_mixed = all(any(map(kind, text)) for kind in kinds)
    return is_mixed and len(part) > 1 and len(text) >= _LEAST_LONG_SEGMENT and "." not in part


def _slot(parts: Iterable[Words]) -> str:
    """The slot, with the letters that all values have before a number (`pr100`, `pr101`)."""
    if all(len(part) == 1 and is_date(part[0]) for part in parts):
        return _DATE_SLOT
    begins: set[str] = set()
    for part in parts:
        match = _BEFORE_NUMBER.match(part[0]) if len(part) == 1 else None
        begins.add(match[1] if match else "")
    return (begins.pop() if len(begins) == 1 else "") + RUN
