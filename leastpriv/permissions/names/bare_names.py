"""Reads the names of a copy that has no word in them: `shop-jobs` next to `shop-pr-58-jobs`.

The names of the other copies show where the word would be, and which separator goes with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.permissions.names.words import COPY, Name, Words, is_separator

_OF_PATH = "/"


class Insertion(Struct, frozen=True, order=True):
    """Where the names of a kind have the word of a copy."""

    kind: str
    before: Words
    """The app's text before the word, without the separator that goes with the word; with a slot in
    each earlier place of a word.
    """
    slot: Words
    """The slot with that separator: `("-", COPY)`, `(COPY, "-")`, or `(COPY,)` in CamelCase."""
    behind: str
    """The word that follows; empty where the separator before the word goes with it."""

    @property
    def slots(self) -> int:
        """How many places of a word are before this one."""
        return self.before.count(COPY)

    def fits(self, text: Words) -> bool:
        """Whether the text of a name may be that of a copy without a word."""
        if text[: len(self.before)] != self.before:
            return False
        following = text[len(self.before) :]
        if self.behind:
            return following[:1] == (self.behind,)
        return not following or is_separator(following[0])

    def slot_in(self, name: Name) -> Words:
        """The slot for a name that fits; one of another kind keeps the separator that it has."""
        following = name.text[len(self.before) :]
        if self.kind != name.kind and not self.behind and following:
            return (following[0], COPY)
        return self.slot


def insertion_of(name: Name, begin: int, end: int) -> Insertion | None:
    """Where a copy without a word would lack the word that a name has at a place; None if nothing
    of the app would be left.
    """
    before = name.words[len(name.fixed) : begin]
    following = name.words[end:]
    begins_segment = not before or before[-1] == _OF_PATH
    has_separator_behind = len(following) > 1 and is_separator(following[0])
    is_segment = len(before) > 1 and following[:1] == (_OF_PATH,)
    if begins_segment and has_separator_behind and not is_segment:
        return Insertion(name.kind, before, (COPY, following[0]), following[1])
    if begins_segment and following and not is_separator(following[0]):
        return Insertion(name.kind, before, (COPY,), following[0])
    if len(before) > 1 and is_separator(before[-1]):
        return Insertion(name.kind, before[:-1], (before[-1], COPY), "")
    if before and not is_separator(before[-1]):
        return Insertion(name.kind, before, (COPY,), following[0] if following else "")
    return None


def insertions_of(named: Name) -> Iterator[Insertion]:
    """Yields where a copy without a word would lack each slot of a name with slots."""
    for index, word in enumerate(named.words):
        if word == COPY:
            insertion = insertion_of(named, index, index + 1)
            if insertion is not None:
                yield insertion


def template_without_word(name: Name, insertions: Collection[Insertion]) -> Words | None:
    """The words of a name without the word of a copy, with a slot in each place that lacks it;
    None where names of copies lack none.
    """
    named = name
    insertion = insertion_in(named, [each for each in insertions if not each.slots])
    while insertion is not None:
        begin = len(name.fixed) + len(insertion.before)
        slot = insertion.slot_in(named)
        named = replace(named, words=(*named.words[:begin], *slot, *named.words[begin:]))
        # A further place has the slots before it in its text.
        further = [each for each in insertions if each.slots == named.words.count(COPY)]
        insertion = insertion_in(named, further)
    return named.words if COPY in named.words else None


def without_slots(named: Name) -> Words:
    """The words of a name with slots, as a copy without a word has it."""
    words = named.words
    for index in reversed([index for index, word in enumerate(words) if word == COPY]):
        insertion = insertion_of(replace(named, words=words), index, index + 1)
        slot = insertion.slot if insertion else (COPY,)
        begin = index - slot.index(COPY)
        words = (*words[:begin], *words[begin + len(slot) :])
    return words


def insertion_in(name: Name, insertions: Iterable[Insertion]) -> Insertion | None:
    """The insertion that a name without a word fits best: the longest text, of the same kind."""
    fitting = [insertion for insertion in insertions if insertion.fits(name.text)]
    return max(
        fitting,
        key=lambda insertion: (len(insertion.before), insertion.kind == name.kind, insertion),
        default=None,
    )
