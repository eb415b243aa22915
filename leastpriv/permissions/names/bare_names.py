"""Reads the names of a copy that has no word in them: `shop-jobs` next to `shop-pr-58-jobs`.

The names of the other copies show where the word would be, and which separator goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from leastpriv.permissions.names.words import COPY, Name, Words, is_separator

_OF_PATH = "/"


class Insertion(Struct, frozen=True, order=True):
    """Where the names of a kind have the word of a copy."""

    kind: str
    before: Words
    """The app's text before the word, without the separator that goes with the word."""
    slot: Words
    """The slot with that separator: `("-", COPY)`, `(COPY, "-")`, or `(COPY,)` in CamelCase."""
    behind: str
    """The word that follows; empty where the separator before the word goes with it."""

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
    if len(before) > 1 and is_separator(before[-1]):
        return Insertion(name.kind, before[:-1], (before[-1], COPY), "")
    if before and not is_separator(before[-1]):
        return Insertion(name.kind, before, (COPY,), following[0] if following else "")
    return None


def insertion_in(name: Name, insertions: Iterable[Insertion]) -> Insertion | None:
    """The insertion that a name without a word fits best: the longest text, of the same kind."""
    fitting = [insertion for insertion in insertions if insertion.fits(name.text)]
    return max(
        fitting,
        key=lambda insertion: (len(insertion.before), insertion.kind == name.kind, insertion),
        default=None,
    )
