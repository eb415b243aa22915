"""Would CloudTrail have shown the use of an action? Without a yes, its absence proves nothing (promise 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table


class Visibility(StrEnum):
    """How a trail shows the use of an action."""

    MANAGEMENT = "management"
    """As a management event: every trail and the event history have it."""
    DATA = "data"
    """As a data event: only where a trail selects the resource type."""
    PERMISSION_ONLY = "permission-only"
    """Not as an event of its own, or not always: it is checked inside other calls."""
    NEVER = "never"
    """CloudTrail is known not to record it."""
    UNKNOWN = "unknown"
    """Nobody checked the service or the operation."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one action, and from where."""

    visibility: Visibility
    resource_type: str = ""
    """Data events only: the `resources.type` a trail has to select, `AWS::S3::Object`."""
    read_only: bool | None = None
    """CloudTrail's `readOnly` flag of the events; None where it is unknown or differs between them."""
    source: str = ""
    """In words for the reader, with the address of the page where there is one."""
    also_event: bool = False
    """A permission-only action that has events of its own as well: its use shows, its silence says nothing."""


def visibility(action: str) -> Seen:
    """Look up what a trail shows of `action` (`s3:GetObject`, any case).

    `UNKNOWN` for a service outside `data/trail_services.tsv` and for an action newer than the table. A
    recorded use of a `PERMISSION_ONLY` action counts as use; only its silence means nothing.
    """
    row = _rows().get(action.lower())
    if row is None:
        prefix = action.partition(":")[0]
        silent = next((each for each in table("silent_services") if each["prefix"] == prefix.lower()), None)
        if silent:
            return Seen(Visibility.NEVER, source=f"{silent['what']}; {silent['source']}")
        return Seen(Visibility.UNKNOWN, source=_why_unknown(action))
    return Seen(
        visibility=Visibility(row["visibility"]),
        resource_type=row["type"],
        read_only={"yes": True, "no": False}.get(row["read_only"]),
        source=_source(row),
        also_event=row["also_event"] == "yes",
    )


def _why_unknown(action: str) -> str:
    prefix = action.partition(":")[0].lower()
    if prefix not in catalog.services():
        return f"the catalogue {catalog.version()} has no service {prefix}"
    if catalog.action(action) is None:
        return f"the catalogue {catalog.version()} has no such action"
    return "the action is newer than the table" if prefix in _pages() else f"nobody checked the service {prefix}"


def _source(row: Mapping[str, str]) -> str:
    if row["visibility"] != Visibility.MANAGEMENT:
        return row["why"]
    return f"{row['why']}; {_pages()[row['action'].partition(':')[0]]}"


@cache
def _rows() -> Mapping[str, Mapping[str, str]]:
    return {row["action"].lower(): row for row in table("visibility")}


@cache
def _pages() -> Mapping[str, str]:
    return {row["prefix"]: row["source"] for row in table("trail_services") if row["coverage"] in ("all", "listed")}


@cache
def global_services(partition: str) -> tuple[str, ...]:
    """IAM prefixes of the global services of a partition, sorted."""
    return tuple(sorted(row["prefix"] for row in table("global_services") if row.get(partition)))


@cache
def data_event_types() -> tuple[str, ...]:
    """Resource types (`AWS::S3::Object`) whose data events show some action, sorted."""
    return tuple(sorted({row["type"] for row in table("visibility") if row["visibility"] == Visibility.DATA}))


@cache
def home_region(prefix: str, partition: str) -> str:
    """The one region that records all events of a global service; empty for a service that each region records."""
    return next((row.get(partition, "") for row in table("global_services") if row["prefix"] == prefix), "")
