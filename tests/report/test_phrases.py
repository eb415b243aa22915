"""Short phrases of the reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from leastpriv.models import Run
from leastpriv.report.phrases import codes, day, joined, oldest_first, plural


@pytest.mark.parametrize(
    ("count", "phrase"),
    [(0, "0 entries"), (1, "1 entry"), (2, "2 entries"), (1204, "1,204 entries")],
)
def test_a_count_agrees_with_its_noun(count: int, phrase: str) -> None:
    assert plural(count, "entry", "entries") == phrase


def test_a_noun_without_another_plural_gets_an_s() -> None:
    assert (plural(1, "run"), plural(2, "run")) == ("1 run", "2 runs")


def test_a_list_ends_with_and() -> None:
    assert [joined(list("abc"[:size])) for size in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_a_long_list_of_code_says_how_many_are_left_out() -> None:
    assert codes("abc", 3) == "`a`, `b`, `c`"
    assert codes(["a"] * 1_002, 1) == "`a` and 1,001 more"


def test_a_missing_day_is_a_dash() -> None:
    assert day(None) == "–"
    assert day(datetime(2026, 11, 3, 23, tzinfo=UTC)) == "2026-11-03"


def test_runs_are_listed_oldest_first() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [
        Run(name, name, first + timedelta(days=number), first) for number, name in enumerate("cab")
    ]
    assert oldest_first(["a", "b", "c", "a"], runs) == ("c", "a", "b")
    assert oldest_first(["b"], runs) == ("b",)
