"""Values that condition operators compare: numbers, dates, addresses, binary data, each read from its text.

Formats: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html, read
2026-11-24. What is not of a format reads as None: AWS does not say what becomes of it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2}))?)?",
    re.ASCII,
)
"""https://www.w3.org/TR/NOTE-datetime, without the bare year, which could as well be seconds since 1970."""
_EPOCH = re.compile(r"[0-9]{5,16}(?:\.[0-9]+)?", re.ASCII)
_START = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def number(text: str) -> Decimal | None:
    """Read an integer or decimal."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=4096)
def moment(text: str) -> Decimal | None:
    """Read a date, with or without time, or seconds since 1970; returns seconds since 1970."""
    if _EPOCH.fullmatch(text):
        return Decimal(text)
    found = _DATE.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        time = datetime(
            int(year), int(month), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    whole = (time - _START) // timedelta(seconds=1) - _offset(zone or "Z")
    return Decimal(whole) + Decimal(f"0.{fraction}" if fraction else 0)


def _offset(zone: str) -> int:
    """Seconds that a zone (`+01:00`) is ahead of UTC."""
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return seconds if zone[0] == "+" else -seconds


@lru_cache(maxsize=4096)
def network(text: str) -> IPv4Network | IPv6Network | None:
    """Read an address or a range in CIDR notation; an address is a range of one."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def binary(text: str) -> bytes | None:
    """Read base64."""
    from base64 import b64decode

    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None
