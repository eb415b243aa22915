"""Silences of a region, and the time that its records span."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import pytest

from leastpriv.aws.arns import Window
from leastpriv.cloudtrail.coverage import Coverage, days_of, mask_of, silence_gaps

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
def test_a_silence_is_a_pause_that_a_busy_region_does_not_have_otherwise(
    present: set[int], count: int
) -> None:
    gaps = list(silence_gaps(Coverage(days={"eu-west-1": days(present), "us-east-1": days(ALL)})))
    assert len(gaps) == count
    assert all(gap.scope.regions == ("eu-west-1",) for gap in gaps)


@pytest.mark.parametrize(
    ("present", "length"),
    [(ALL, 48), ({0, 48}, 0), ({0, 14, 28, 42}, 42), (set(range(0, DAYS, 7)), 42), (set(), None)],
)
def test_a_long_pause_does_not_count_as_read(present: set[int], length: int | None) -> None:
    covered = Coverage(days={"eu-west-1": days(present)}).length("eu-west-1")
    assert covered == (None if length is None else timedelta(days=length))


WHOLE = Window(
    datetime.combine(FIRST, time(), UTC),
    datetime.combine(FIRST + timedelta(days=DAYS), time(), UTC),
)


@pytest.mark.parametrize(
    ("present", "window", "count"),
    [
        (ALL, WHOLE, 0),
        (ALL - {0}, WHOLE, 1),
        (ALL - {48}, WHOLE, 1),
        (ALL - set(range(40, 49)), WHOLE, 1),
        (ALL - set(range(40, 49)), Window(WHOLE.start), 0),
        (ALL - set(range(9)), WHOLE, 1),
        (ALL - set(range(9)), Window(None, WHOLE.end), 0),
        (ALL - {0}, Window(WHOLE.start + timedelta(hours=9), WHOLE.end), 0),
        (ALL - {48}, Window(WHOLE.start, WHOLE.end - timedelta(hours=9)), 0),
        (WORKDAYS, WHOLE, 0),
        (WORKDAYS - set(range(42, 49)), WHOLE, 1),
        ({0, 24, 48}, WHOLE, 0),
    ],
)
def test_a_busy_region_has_records_at_both_ends_of_the_window(
    present: set[int], window: Window, count: int
) -> None:
    """Of a day that the window includes in part, records may be missing."""
    assert (
        len(list(silence_gaps(Coverage(days={"eu-west-1": days(present)}, window=window)))) == count
    )


@pytest.mark.parametrize(
    ("present", "count"),
    [
        (ALL - {20}, 1),
        (ALL - {2, 5, 9, 13, 20, 33}, 0),
        (ALL - {2, 5, 9, 13, 38} - set(range(20, 32)), 0),
        (ALL - {2, 5, 9, 13, 38} - set(range(20, 36)), 1),
        (set(), 0),
    ],
)
def test_a_few_days_without_writes_are_no_silence_unless_all_others_have_some(
    present: set[int], count: int
) -> None:
    coverage = Coverage(
        days={"eu-west-1": days(ALL)}, logged={("eu-west-1", "management-write"): days(present)}
    )
    gaps = [gap for gap in silence_gaps(coverage) if gap.scope.events == ("management-write",)]
    assert len(gaps) == count


def test_a_mask_holds_the_days_since_cloudtrail_began() -> None:
    covered_days = {date(2013, 11, 1), FIRST, date(2041, 3, 17)}
    outside = {date(2013, 10, 31), date(2041, 3, 20), date(9999, 12, 31), date(1, 1, 1)}
    assert days_of(mask_of(day.toordinal() for day in covered_days | outside)) == covered_days
