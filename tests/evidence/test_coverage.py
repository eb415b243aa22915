"""Silences of a region, and the time that its records span."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import pytest

from leastpriv.evidence.coverage import Coverage, silence_gaps

FIRST = date(2026, 9, 7)
"""A Monday."""
DAYS = 49


def days(numbers: Iterable[int]) -> frozenset[date]:
    return frozenset(FIRST + timedelta(days=number) for number in numbers)


ALL = set(range(DAYS))
WORKDAYS = {number for number in ALL if number % 7 < 5}


@pytest.mark.parametrize(
    ("present", "count"),
    [
        (ALL, 0),
        (ALL - {20}, 1),
        (ALL - {20, 30}, 1),
        (ALL - set(range(10, 30)), 1),
        (ALL - set(range(30, DAYS)), 1),
        (ALL - {0}, 0),
        (WORKDAYS, 0),
        (WORKDAYS - {9}, 0),
        (WORKDAYS - {9, 10}, 1),
        (WORKDAYS - {7, 8, 9, 10, 11}, 1),
        (set(range(0, DAYS, 2)), 0),
        (set(range(0, DAYS, 2)) - {20}, 1),
        (set(range(0, DAYS, 3)), 0),
        ({0, 48}, 0),
    ],
)
def test_a_silence_is_a_pause_that_a_busy_region_does_not_have_otherwise(present: set[int], count: int) -> None:
    gaps = list(silence_gaps(Coverage(days={"eu-west-1": days(present), "us-east-1": days(ALL)})))
    assert len(gaps) == count
    assert all(gap.scope.regions == ("eu-west-1",) for gap in gaps)


@pytest.mark.parametrize(
    ("present", "length"), [(ALL, 48), ({0, 48}, 0), ({0, 14, 28, 42}, 42), (set(range(0, DAYS, 7)), 42), (set(), None)]
)
def test_a_long_pause_does_not_count_as_read(present: set[int], length: int | None) -> None:
    found = Coverage(days={"eu-west-1": days(present)}).length("eu-west-1")
    assert found == (None if length is None else timedelta(days=length))
