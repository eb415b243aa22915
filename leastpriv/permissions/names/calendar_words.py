"""Finds the parts of a name that spell a day: its year, quarter, month, week and day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache

from leastpriv.permissions.names.words import SEPARATORS

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_LETTERS_OF_MONTH = 3
"""Letters of the short name of a month."""
_BEFORE_VALUE = 2
"""Words from the key of a partition to its value."""
_PART = re.compile(r"(?P<kind>[A-Za-z]*)(?P<number>\d{1,2})")
_OF_KIND = {"m": "month", "d": "day", "w": "week", "kw": "week", "q": "quarter"}
"""Letters before a number -> what it counts."""
_WITHIN_WORD = re.compile(r"(?P<letters>.*[A-Za-z])20\d{4,6}")


def calendar_places(words: Sequence[str], day: date) -> Iterator[int]:
    """Yields the places of the words that spell a day, with its year.

    A year alone is part of a date only in a partition, `year=2026`.
    """
    months = _months_of_year(day)
    for index, word in enumerate(words):
        if word.lower() in months:
            yield index
    years = {f"{day.year}", f"{day.isocalendar().year}"}
    for index, word in enumerate(words):
        if word not in years:
            continue
        parts = [*_parts_from(words, index, day, -1), *_parts_from(words, index, day, 1)]
        key = [word.lower() for word in words[max(index - _BEFORE_VALUE, 0) : index]]
        if parts or key == ["year", "="]:
            yield index
            yield from parts


def letters_before_date(word: str, day: date) -> str:
    """The letters before a date at the end of a word, `events` of `events202611`; empty without
    one.
    """
    match = _WITHIN_WORD.fullmatch(word)
    if match is None:
        return ""
    digits = word[match.end("letters") :]
    return match["letters"] if f"{day:%Y%m%d}".startswith(digits) else ""


def _parts_from(words: Sequence[str], index: int, day: date, step: int) -> Iterator[int]:
    """Yields the places of further parts of a date, in one direction from its year."""
    index += step
    while 0 <= index < len(words):
        word = words[index]
        is_key = index + 1 < len(words) and words[index + 1] == "=" and word.isalpha()
        if _is_part(word, day):
            yield index
        elif word not in SEPARATORS and not is_key:
            return
        index += step


def _is_part(word: str, day: date) -> bool:
    """Whether a word is the month, week, quarter or day of the month of a day."""
    lower = word.lower()
    month = _MONTHS[day.month - 1]
    if lower in (month, month[:_LETTERS_OF_MONTH]):
        return True
    match = _PART.fullmatch(lower)
    if match is None:
        return False
    numbers = {
        "month": day.month,
        "day": day.day,
        "week": day.isocalendar().week,
        "quarter": (day.month + 2) // 3,
    }
    number = int(match["number"])
    if not match["kind"]:
        return number in (numbers["month"], numbers["day"], numbers["week"])
    return number == numbers.get(_OF_KIND.get(match["kind"], ""))


@lru_cache(maxsize=1_024)
def _months_of_year(day: date) -> frozenset[str]:
    """The words that are the month of a day with its year: `nov26`, `november2026`."""
    month = _MONTHS[day.month - 1]
    names = (month, month[:_LETTERS_OF_MONTH])
    return frozenset(f"{name}{year}" for name in names for year in (f"{day:%y}", day.year))
