"""Finds the words in which names differ at one place: `prod` and `stage` of `shop-prod-jobs` and
`shop-stage-jobs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import chain, combinations

from msgspec import Struct

from leastpriv.permissions.names.calendar_words import calendar_places
from leastpriv.permissions.names.name_table import NameTable
from leastpriv.permissions.names.observed import RunFacts
from leastpriv.permissions.names.words import (
    RUN,
    SEPARATORS,
    Between,
    Name,
    SharedEnds,
    Words,
    is_drawn,
    is_word,
    key_of,
    masked,
    stripped,
)

MOST_WORDS = 8
"""Words and separators of the word of a copy that has several segments of a path, `feat/login`."""
_MOST_COPIES = 20
"""Copies that are compared at one place; more are items that each run makes."""
_NUMBER = re.compile(r"\d{1,3}")
"""A number of a version: longer ones are years and accounts."""


class _Differing(Struct):
    """The names that differ at one place."""

    begin: int
    """The place of the first word in which they differ."""
    names: dict[Words, list[Name]]
    """What a name has there -> the names with it."""


class _AtPlace(Struct, frozen=True):
    """The names that have one of two words at one place."""

    begin: int
    """The place of the word."""
    names: tuple[set[Name], set[Name]]
    """Those with the first and with the second word."""


class Pair(Struct):
    """The names that differ in two words, at one place each."""

    words: tuple[Words, Words]
    rests: dict[Between, _AtPlace]

    def services(self) -> set[str]:
        """The services of the names."""
        return {name.service for name in self.names(0)}

    def names(self, side: int) -> set[Name]:
        """The names with the first word, or with the second one."""
        return {name for at_place in self.rests.values() for name in at_place.names[side]}

    def names_with_text_before(self, side: int, table: NameTable) -> set[Name]:
        """The names with a word, and all others that have it behind the same text of the app."""
        texts = {
            name.words[len(name.fixed) : at_place.begin]
            for at_place in self.rests.values()
            for name in at_place.names[side]
        }
        name_texts = table.texts_before(key_of(self.words[side]))
        return self.names(side) | {name for name, text in name_texts if text in texts}


Aligned = Mapping[tuple[str, str], Pair]


def aligned_words(table: NameTable, runs: Mapping[str, RunFacts]) -> Aligned:
    """Pairs of words in which names differ, at one place."""
    compared = _compared_names(table, runs)
    pairs: dict[tuple[str, str], Pair] = {}
    for place, differing in _differing_names(compared).items():
        middles = differing.names
        if not 1 < len(middles) <= _MOST_COPIES * 2:
            continue
        for first_middle, second_middle in combinations(sorted(middles), 2):
            if not _is_smallest(first_middle, second_middle):
                continue
            second = second_middle if first_middle else stripped(second_middle)
            example = compared[middles[first_middle][0]]
            before = example.masked[: differing.begin]
            numbers = _numbers_before(before, (first_middle, second))
            first = (*numbers, *first_middle)
            second = (*numbers, *second)
            pair = pairs.setdefault((key_of(first), key_of(second)), Pair((first, second), {}))
            begin = differing.begin - len(numbers)
            names = ({*middles[first_middle]}, {*middles[second_middle]})
            rest = Between(example.beginnings[begin], place.behind)
            pair.rests[rest] = _AtPlace(begin, names)
    return pairs


class _ComparedName(Struct, frozen=True):
    """What of a name is compared with others."""

    is_plain: Sequence[bool]
    """For each word, whether it is neither drawn nor a separator."""
    masked: Words
    beginnings: Sequence[int]
    """As `SharedEnds` numbers them, as the ends."""
    ends: Sequence[int]


def _compared_names(table: NameTable, runs: Mapping[str, RunFacts]) -> Mapping[Name, _ComparedName]:
    words_without_day = {name: _with_masked_day(name, table, runs) for name in table.runs}
    masked_words = {name: masked(words) for name, words in words_without_day.items()}
    shared = SharedEnds((name.kind, words) for name, words in masked_words.items())
    return {
        name: _ComparedName(
            is_plain=[not is_drawn(word) and word not in SEPARATORS for word in words],
            masked=masked_words[name],
            beginnings=shared.beginnings(name.kind, masked_words[name]),
            ends=shared.ends(name.kind, masked_words[name]),
        )
        for name, words in words_without_day.items()
    }


def _differing_names(compared: Mapping[Name, _ComparedName]) -> Mapping[Between, _Differing]:
    """The names that have the same words before and behind a place."""
    differing_by_place: dict[Between, _Differing] = {}
    for name, shown in compared.items():
        places = range(len(name.fixed), len(name.words) + 1)
        nothing = ((place, place) for place in places)
        for begin, end in chain(nothing, name.parts(MOST_WORDS)):
            between = Between(shown.beginnings[begin], shown.ends[end])
            if 0 in between:
                continue
            if begin < end and True not in shown.is_plain[begin:end]:
                continue
            differing = differing_by_place.setdefault(between, _Differing(begin, {}))
            differing.names.setdefault(name.words[begin:end], []).append(name)
    return differing_by_place


def _with_masked_day(name: Name, table: NameTable, runs: Mapping[str, RunFacts]) -> Words:
    """The words of a name with a slot for the parts of the day of its first run: the week of
    `e2e-2026-w43` is new in each run, and no copy.
    """
    first = min(table.runs[name], key=lambda run: table.order.get(run, 0), default="")
    facts = runs.get(first)
    if facts is None or not facts.day:
        return name.words
    places = {*calendar_places(name.words, date.fromisoformat(facts.day))}
    return tuple(RUN if index in places else word for index, word in enumerate(name.words))


def _numbers_before(before: Words, differing: tuple[Words, Words]) -> Words:
    """The numbers that belong to two numbers in which names differ: `2-` of the releases `2-1` and
    `2-2`; none before other words.
    """
    if not all(len(words) == 1 and words[0].isdigit() for words in differing):
        return ()
    begin = len(before)
    while begin > 1 and before[begin - 1] in SEPARATORS and _NUMBER.fullmatch(before[begin - 2]):
        begin -= 2
    return before[begin:]


def _is_smallest(one: Words, two: Words) -> bool:
    """Whether two texts share neither end; or a word and one separator were put in."""
    if not one:
        # In CamelCase no separator goes with the word.
        has_one_separator = (two[0] in SEPARATORS) != (two[-1] in SEPARATORS)
        return has_one_separator if len(two) % 2 == 0 else SEPARATORS.isdisjoint(two)
    return is_word(one) and is_word(two) and one[0] != two[0] and one[-1] != two[-1]
