"""What IAM's last accessed information covers: which actions, since when, in which regions (data/tracking.tsv)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from leastpriv.permissions.tables import table
from leastpriv.permissions.visibility import Visibility, visibility


def is_tracked(action: str, since: datetime) -> bool:
    """Whether IAM has noted every attempt on an action from `since` on; only management actions are noted."""
    if action.lower() in _kind("untracked") or visibility(action).visibility is not Visibility.MANAGEMENT:
        return False
    known = _kind("actions")
    return _day(known.get(action.partition(":")[0].lower(), known["*"])) <= since


def is_tracked_region(region: str, since: datetime) -> bool:
    """Whether IAM has noted the attempts in a region from `since` on."""
    day = _kind("region").get(region)
    return day is not None and _day(day) <= since


def is_tracked_partition(partition: str) -> bool:
    """Whether IAM notes attempts in any region of a partition; the table has none of China's."""
    prefixes = {"aws-us-gov": "us-gov-"}
    return partition == "aws" or any(name.startswith(prefixes.get(partition, "?")) for name in _kind("region"))


@cache
def _kind(kind: str) -> Mapping[str, str]:
    return {row["name"].lower(): row["since"] for row in table("tracking", __package__ or "") if row["kind"] == kind}


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
