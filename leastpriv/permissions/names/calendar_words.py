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
_OF_KIND = {
    "m": "month", "month": "month", "d": "day", "day": "day", "w": "week", "kw": "week",
    "week": "week", "q": "quarter", "h": "half",
}  # fmt: skip
"""Letters before a number -> what it counts."""
_OF_FISCAL_YEAR = {*_OF_KIND, "p"}
"""Letters before the number of a part of a fiscal year; `p` is a period."""
_WITHIN_WORD = re.compile(r"(?P<letters>.*[A-Za-z])20\d{4,6}")


def calendar_places(words: Sequence[str], day: date) -> Iterator[int]:
    """Yields the places of the words that spell a day, with its year.

    A year alone is part of a date only in a partition, `year=2026`; a month alone only as a whole
    segment of a path, `exports/October/` or `exports/oct`.
    """
    with_year = _words_with_year(day)
    month = _MONTHS[day.month - 1]
    month_names = (month, month[:_LETTERS_OF_MONTH])
    for index, word in enumerate(words):
        is_month = word.lower() in month_names and _is_segment(words, index)
        if is_month or word.lower() in with_year:
            yield index
    years = _years(day)
    for index, word in enumerate(words):
        if word.lower() not in years:
            continue
        parts = [*_parts_from(words, index, day, -1), *_parts_from(words, index, day, 1)]
        key = [word.lower() for word in words[max(index - _BEFORE_VALUE, 0) : index]]
        if parts or key == ["year", "="]:
            yield index
            yield from parts


def _is_segment(words: Sequence[str], index: int) -> bool:
    """Whether a word is a segment of a path behind another one."""
    following = words[index + 1 : index + 2]
    return index > 0 and words[index - 1] == "/" and following in ((), ("/",), (":",))


@lru_cache(maxsize=1_024)
def _years(day: date) -> frozenset[str]:
    """The words that are the year of a day, of its week, or its fiscal year: `2026`, `fy26`."""
    fiscal_years = (f"{day.year}", f"{day.year + 1}")
    of_fiscal_year = [f"fy{text}" for year in fiscal_years for text in (year, year[2:])]
    return frozenset((f"{day.year}", f"{day.isocalendar().year}", *of_fiscal_year))


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
    is_fiscal = words[index].lower().startswith("fy")
    index += step
    while 0 <= index < len(words):
        word = words[index]
        is_key = index + 1 < len(words) and words[index + 1] == "=" and word.isalpha()
        if _is_part(word, day) or (is_fiscal and _is_fiscal_part(word)):
            yield index
        elif word not in SEPARATORS and not is_key:
            return
        index += step


def _is_part(word: str, day: date) -> bool:
    """Whether a word is the month, week, quarter, half-year, or the day of the month or year."""
    lower = word.lower()
    month = _MONTHS[day.month - 1]
    if lower in (month, month[:_LETTERS_OF_MONTH], f"{day:%j}"):
        return True
    match = _PART.fullmatch(lower)
    if match is None:
        return False
    numbers = {
        "month": day.month,
        "day": day.day,
        "week": day.isocalendar().week,
        "quarter": _quarter(day),
        "half": _half(day),
    }
    number = int(match["number"])
    if not match["kind"]:
        return number in (numbers["month"], numbers["day"], numbers["week"])
    return number == numbers.get(_OF_KIND.get(match["kind"], ""))


def _is_fiscal_part(word: str) -> bool:
    """Whether a word counts a part of a fiscal year, `P02` or `w09`: each company begins it in
    another month, so that the number may be any.
    """
    match = _PART.fullmatch(word.lower())
    return match is not None and match["kind"] in _OF_FISCAL_YEAR


def _quarter(day: date) -> int:
    return (day.month + 2) // 3


def _half(day: date) -> int:
    return 1 if _quarter(day) < 3 else 2


@lru_cache(maxsize=1_024)
def _words_with_year(day: date) -> frozenset[str]:
    """The words that are a part of a day with its year: `nov26`, `november2026`, `2026q4`,
    `w462026`.
    """
    month = _MONTHS[day.month - 1]
    month_names = (month, month[:_LETTERS_OF_MONTH])
    week = day.isocalendar()
    parts_of_year = [*month_names, f"q{_quarter(day)}", f"h{_half(day)}"]
    parts_of_week_year = [f"w{week.week}", f"w{week.week:02}"]
    words = {f"{name}{day:%y}" for name in month_names}
    for year, parts in ((day.year, parts_of_year), (week.year, parts_of_week_year)):
        for part in parts:
            words |= {f"{year}{part}", f"{part}{year}"}
    return frozenset(words)
