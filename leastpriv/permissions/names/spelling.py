"""Writes the word of a copy as an app writes it in a name: `pr-58`, `pr_58`, `Pr58`, `PR/58`."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import repeat

from msgspec import Struct

from leastpriv.permissions.names.words import SEPARATORS, Words, is_separator, words_of


class Letters(Enum):
    """The letters of a word."""

    LOWER = "lower case"
    CAPITAL = "a capital first"
    UPPER = "capitals"


class Spelling(Struct, frozen=True):
    """How an app writes the words of copies in the names of one form."""

    letters: Letters = Letters.LOWER
    separators: Words | None = None
    """Between two words each, the last one between further words too; None where no name shows
    them.
    """

    def of(self, text: str) -> str:
        """Writes a word or a form of words, `pr-*`."""
        words = [_written(word, self.letters) for word in words_of(text)]
        if self.separators is None:
            return "".join(words)
        words = [word for word in words if not is_separator(word)]
        signs = ("", *self.separators, *repeat(self.separators[-1], len(words)))
        return "".join(sign + word for sign, word in zip(signs, words, strict=False))


def _written(word: str, letters: Letters) -> str:
    match letters:
        case Letters.UPPER:
            return word.upper()
        case Letters.CAPITAL:
            return word[:1].upper() + word[1:]
        case Letters.LOWER:
            return word


def spelling_of(examples: Iterable[Words]) -> Spelling | None:
    """Reads how an app writes the words of copies, from what it wrote; None without an example."""
    words_by_look = sorted({*examples})
    if not words_by_look:
        return None
    separators = [_separators_of(words) for words in words_by_look]
    known_separators = [signs for signs in separators if signs is not None]
    looks = {_letters_of(words) for words in words_by_look}
    return Spelling(
        letters=looks.pop() if len(looks) == 1 else Letters.LOWER,
        separators=known_separators[0] if known_separators else None,
    )


def spelling_around(template: Words, index: int, fixed: int) -> Spelling:
    """Guesses how an app writes the words of copies, from the words around the slot of a name.

    `index`: the place of the slot. `fixed`: how many words the type of the resource has before the
    name.
    """
    before = template[index - 1] if index else ""
    behind = template[index + 1] if index + 1 < len(template) else ""
    is_in_camel_case = before[:1].isalpha() or (bool(before) and behind[:1].isupper())
    if is_in_camel_case and before not in SEPARATORS and index > fixed:
        return Spelling(Letters.CAPITAL, ("",))
    is_in_snake_case = "_" in (before, behind) and "-" not in (before, behind)
    return Spelling(separators=("_",) if is_in_snake_case else None)


def _separators_of(words: Words) -> Words | None:
    """The signs between the words of a copy: `-` and `.` of `v-2.1`; an empty one for `pr58`, None
    for a word without a number.
    """
    signs = tuple(word for word in words if is_separator(word))
    if signs:
        return signs
    has_number = any(letter.isdigit() for word in words for letter in word)
    return ("",) if has_number or len(words) > 1 else None


def _letters_of(words: Words) -> Letters:
    texts = [word for word in words if word[0].isalpha()]
    if not texts or not all(word[0].isupper() for word in texts):
        return Letters.LOWER
    is_upper = all(word.isupper() for word in texts) and sum(map(len, texts)) > 1
    return Letters.UPPER if is_upper else Letters.CAPITAL
