"""Values that condition operators compare."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.policy.conditions import parse_date, parse_network, parse_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", Decimal(10)),
        ("-2.50", Decimal("-2.5")),
        ("+1", Decimal(1)),
        ("1.", Decimal(1)),
        ("1e0", Decimal(1)),
        ("-2.5E+3", Decimal(-2500)),
        ("1e", None),
        ("1e9999999", None),
        (".5", None),
        ("NaN", None),
        ("Infinity", None),
        ("", None),
        ("1 ", None),
        ("٣", None),
    ],
)
def test_numbers_are_integers_and_decimals_also_with_an_exponent(
    text: str, expected: Decimal | None
) -> None:
    assert parse_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24T13:30Z", datetime(2026, 11, 24, 13, 30, tzinfo=UTC)),
        ("2026-11-24T13:30:05Z", datetime(2026, 11, 24, 13, 30, 5, tzinfo=UTC)),
        ("2026-11-24T13:30:05.25Z", datetime(2026, 11, 24, 13, 30, 5, 250_000, tzinfo=UTC)),
        ("2026-11-24T13:30:05+01:30", datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)),
        ("2026-11-24T13:30:05-02:15", datetime(2026, 11, 24, 15, 45, 5, tzinfo=UTC)),
        ("2026-11-24T13:30", datetime(2026, 11, 24, 13, 30, tzinfo=UTC)),
        ("2026-11-24T13:30:05", datetime(2026, 11, 24, 13, 30, 5, tzinfo=UTC)),
        ("2026-11-24T13:30:05.2509999", datetime(2026, 11, 24, 13, 30, 5, 250_000, tzinfo=UTC)),
        ("1965-01-01", datetime(1965, 1, 1, tzinfo=UTC)),
    ],
)
def test_dates_are_those_of_w3c(text: str, expected: datetime) -> None:
    assert parse_date(text) == Decimal(str(expected.timestamp()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1795478400", 1795478400),
        ("+1795478400", 1795478400),
        ("-1795478400", -1795478400),
        ("1795478400.5009", Decimal("1795478400.5")),
        ("10000", 10000),
    ],
)
def test_dates_may_be_seconds_since_1970(text: str, expected: Decimal) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    "text",
    ["2026", "9999", "2026-13", "2026-11-31", "2026-11-24T13Z", "2026-11-24 13:30Z", "soon", ""],
)
def test_invalid_and_ambiguous_dates_are_none(text: str) -> None:
    assert parse_date(text) is None


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_dates_in_different_zones_compare_by_time(time: datetime, minutes: int) -> None:
    from datetime import timedelta, timezone

    local_time = time.replace(tzinfo=UTC, microsecond=0).astimezone(
        timezone(timedelta(minutes=minutes))
    )
    assert parse_date(local_time.isoformat()) == Decimal(int(local_time.timestamp()))


def test_addresses_and_ranges_are_networks() -> None:
    assert str(parse_network("203.0.113.7")) == "203.0.113.7/32"
    assert str(parse_network("203.0.113.7/24")) == "203.0.113.0/24"
    assert str(parse_network("2001:DB8::/32")) == "2001:db8::/32"
    assert str(parse_network("192.000.02.1")) == "192.0.2.1/32"
    assert parse_network("192.0000.2.1") is None
    assert parse_network("203.0.113") is None
    assert parse_network("") is None
