"""Collects the names of one target, with the runs that used, made and destroyed them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain

from msgspec import Struct

from leastpriv.permissions.names.copy_words import LEAST_NAMES, LONG_LIVED, PULL
from leastpriv.permissions.names.observed import NameUse
from leastpriv.permissions.names.words import (
    Name,
    Words,
    glued_words,
    is_short_for_region,
    key_of,
    name_of,
    unglued,
)

_STAGE = "|".join(sorted(LONG_LIVED, key=len, reverse=True))
_WITHIN_TEXT = re.compile(
    rf"(?P<before>[a-z]+?)(?P<word>{PULL.pattern}|{_STAGE})(?P<behind>(?:[a-z][a-z\d]*)?)",
    re.IGNORECASE,
)
"""A text without a sign that has the word of a copy: `shoppr41orders`, `shopprodorders`."""
_BEGINS_TEXT = re.compile(
    rf"(?P<word>{PULL.pattern}|{_STAGE})(?P<behind>[a-z][a-z\d]{{2,}})", re.IGNORECASE
)
"""A text without a sign that begins with the word of a copy: `pr41shop`, `prodshop`."""


class NameTable(Struct, frozen=True, dict=True):
    """The names of one target, with the runs that used, made and destroyed them."""

    runs: Mapping[Name, set[str]]
    made: Mapping[str, set[Name]]
    """Run -> names that it made."""
    destroyed: Mapping[Name, set[str]]
    """Name -> runs that destroyed it, or a part of it."""
    order: Mapping[str, int]
    """Run -> its place in time."""
    region_words: Mapping[str, str] = {}
    """Word of a name -> the region that it is short for."""
    glued: Mapping[str, Words] = {}
    """Text in lower case -> the words of it that other names of the app show."""

    @cached_property
    def made_names(self) -> frozenset[Name]:
        """The names that runs made."""
        return frozenset(chain.from_iterable(self.made.values()))

    def runs_of(self, names: Iterable[Name]) -> set[str]:
        """The runs that used any of some names."""
        return {run for name in names for run in self.runs[name]}

    def first_of(self, runs: Iterable[str]) -> int:
        """The place in time of the first of some runs."""
        return min((self.order.get(run, 0) for run in runs), default=0)

    def share(self, names: Collection[Name]) -> float:
        """The greatest part of what one run made that some names are."""
        name_set = set(names)
        return max(
            (len(name_set & made_names) / len(made_names) for made_names in self.made.values()),
            default=0,
        )

    def holding(self, key: str) -> set[Name]:
        """The names with the word of a copy."""
        return {name for name in self.runs if any(name.places_of(key))}

    def texts_before(self, key: str) -> Iterator[tuple[Name, Words]]:
        """Yields the names with the word of a copy, and the app's text before it."""
        for name in self.runs:
            for begin, _ in name.places_of(key):
                yield name, name.words[len(name.fixed) : begin]


def table_of(
    uses: Iterable[NameUse],
    order: Sequence[str],
    read_name: Callable[[str], Name | None] = name_of,
) -> NameTable:
    """Collects the names of all uses; a use without a readable name is left out."""
    named_uses = [(use, name) for use in uses if (name := read_name(use.resource)) is not None]
    names = [name for _, name in named_uses]
    glued = {**_divided_at_copies(names), **glued_words(names)}
    runs: dict[Name, set[str]] = {}
    names_by_run: dict[str, set[Name]] = {}
    destroyed: dict[Name, set[str]] = {}
    for use, glued_name in named_uses:
        name = unglued(glued_name, glued)
        runs.setdefault(name, set()).update(use.runs)
        # Nothing is known of the name of what AWS gave an id.
        if use.creates and key_of(name.text):
            for run in use.runs:
                names_by_run.setdefault(run, set()).add(name)
        if use.destroys:
            destroyed.setdefault(name, set()).update(use.runs)
    positions = {run: position for position, run in enumerate(order)}
    return NameTable(
        runs=runs,
        made=names_by_run,
        destroyed=destroyed,
        order=positions,
        region_words=_region_words(runs),
        glued=glued,
    )


class _Around(Struct, frozen=True, order=True):
    """What a text without a sign has around the word of a copy: `shop` and `orders` of
    `shoppr41orders`.
    """

    before: str
    behind: str

    def words_between(self, texts: Sequence[str]) -> Iterator[str]:
        """Yields what texts in order have in the place of that word; empty if they have none."""
        for index in range(bisect_left(texts, self.before), len(texts)):
            text = texts[index]
            if not text.startswith(self.before):
                return
            end = len(text) - len(self.behind)
            if text.endswith(self.behind) and end >= len(self.before):
                yield text[len(self.before) : end]


def _divided_at_copies(names: Sequence[Name]) -> Mapping[str, Words]:
    """Texts without a sign -> their words, where the text around the word of a pull request or
    stage is in names of other copies as well: `shoppr41orders` next to `shopprodorders` or
    `shoporders`.
    """
    texts = sorted({word for name in names for word in name.text})
    places: set[_Around] = set()
    for text in texts:
        match = _WITHIN_TEXT.fullmatch(text)
        if match is not None and (text.islower() or text.isupper()):
            places.add(_Around(match["before"], match["behind"]))
    words_in_place = {place: {*place.words_between(texts)} for place in places}
    counts = Counter(map(str.lower, chain.from_iterable(words_in_place.values())))
    if places:
        # A word that other names have apart from their text: `shop-login-jobs`.
        counts.update(word.lower() for name in names for word in {*name.text})
    glued: dict[str, Words] = {}
    for place, words in words_in_place.items():
        of_pulls = {word for word in words if PULL.fullmatch(word.lower())}
        of_copies = {
            word
            for word in words
            if word.lower() in LONG_LIVED or counts[word.lower()] >= LEAST_NAMES
        }
        of_copies = (of_copies - {""}) | of_pulls
        if of_pulls and "" in words:
            of_copies.add("")
        if len(of_copies) > 1:
            for word in of_copies:
                divided = (place.before, word, place.behind)
                parts = tuple(filter(None, divided))
                if len(parts) > 1:
                    glued["".join(parts)] = parts
    return {**_divided_behind_copies(texts), **glued}


def _divided_behind_copies(texts: Collection[str]) -> Mapping[str, Words]:
    """Texts that begin with the word of a copy -> their words, where those of another copy end in
    the same way: `pr41shop` next to `prodshop` or `shop`.
    """
    words_before: dict[str, set[str]] = {}
    for text in texts:
        match = _BEGINS_TEXT.fullmatch(text)
        if match is not None and (text.islower() or text.isupper()):
            words_before.setdefault(match["behind"], set()).add(match["word"])
    glued: dict[str, Words] = {}
    for behind, words in words_before.items():
        is_without_word = behind in texts and any(PULL.fullmatch(word.lower()) for word in words)
        if len(words) > 1 or is_without_word:
            for word in words:
                glued[f"{word}{behind}"] = (word, behind)
    return glued


def _region_words(names: Iterable[Name]) -> Mapping[str, str]:
    """The words that are short for regions; none where the names of one region alone have such a
    word.
    """
    regions_of: dict[str, set[str]] = {}
    for name in names:
        if name.region:
            for word in name.text:
                regions_of.setdefault(word, set()).add(name.region)
    words: dict[str, str] = {}
    for word, regions in regions_of.items():
        if len(regions) == 1 and is_short_for_region(word, *regions):
            words[word] = next(iter(regions))
    return words if len(set(words.values())) > 1 else {}
