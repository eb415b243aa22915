"""Finds whether CloudTrail shows the use of an action: if not, the absence of events proves nothing (promise 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache

from msgspec import Struct

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import rows_of, table


class Visibility(StrEnum):
    """How a trail shows the use of an action, or an operation."""

    MANAGEMENT = "management"
    """As a management event: every trail and the event history have it."""
    DATA = "data"
    """As a data event: only where a trail selects the resource type."""
    CARRIERS = "carriers"
    """By the events of its carriers only: AWS authorizes it inside calls that need another action."""
    PERMISSION_ONLY = "permission-only"
    """Not as an event, or not always, and AWS names no carrier."""
    ENDED = "ended"
    """AWS ended the service or the feature: no call can use the action."""
    NEVER = "never"
    """CloudTrail does not record it."""
    UNKNOWN = "unknown"
    """No source says whether CloudTrail records it."""


DOCUMENTATION = "https://docs.aws.amazon.com/"
_READS = re.compile(r"(BatchGet|BatchDescribe|Get|List|Describe|Head)[A-Z]")
_WRITES = re.compile(
    r"(Add|Allocate|Associate|Attach|Authorize|Cancel|Create|Delete|Deregister|Detach|Disable|Disassociate|Enable|Modify|Publish|Put"
    r"|Register|Release|Remove|Reset|Restore|Revoke|Run|Set|Stop|Subscribe|Tag|Terminate|Unsubscribe|Untag|Update)[A-Z]"
)
_UNCLEAR = frozenset({"GetFederationToken", "GetSessionToken"})
"""Recorded with `readOnly` false (a real record of 2023, Stratus Red Team)."""
_FLAGS = {"yes": True, "no": False, "unclear": None}


class ActionVisibility(Struct, frozen=True):
    """How a trail shows one action, and which source says so."""

    visibility: Visibility
    resource_type: str = ""
    """Data events only: the `resources.type` that a trail has to select, `AWS::S3::Object`."""
    read_only: bool | None = None
    """CloudTrail's `readOnly` flag of the events; None where it is unknown or differs between them."""
    source: str = ""
    """A sentence for the reader, with the address of the page where there is one."""


class Carrier(Struct, frozen=True):
    """An operation that authorizes an action besides the one it needs, and how a trail shows the operation."""

    operation: str
    """IAM prefix and operation, as `event_table.MappedEvent.operation` has them: `s3:CopyObject`."""
    visibility: Visibility
    resource_type: str = ""
    triggered: bool = False
    """The mapping knows which parameter makes the operation authorize the action, so a call without it is no use."""


def visibility(action: str) -> ActionVisibility:
    """Look up how a trail shows `action` (`s3:GetObject`, any case) by the events that always need it.

    `carriers_of` has the operations that may need it besides. An action that is newer than the table is `UNKNOWN`.
    """
    prefix, _, name = action.lower().partition(":")
    spelling, row = _service(prefix).get(name, ("", None))
    if row is None:
        return ActionVisibility(Visibility.UNKNOWN, source=_why_unknown(action))
    reason = _reasons()[row["reason"]]
    return ActionVisibility(
        visibility=Visibility(row["visibility"]),
        resource_type=row["type"],
        read_only=_FLAGS[row["read_only"]] if row["read_only"] else read_only_by_name(spelling),
        source=f"{reason['text']}; {DOCUMENTATION}{row['page']}" if row["page"] else reason["text"],
    )


def read_only_by_name(operation: str) -> bool | None:
    """CloudTrail's `readOnly` flag of an operation as far as its name shows it, else None."""
    if operation in _UNCLEAR:
        return None
    if _READS.match(operation):
        return True
    return False if _WRITES.match(operation) else None


def carriers_of(action: str) -> tuple[Carrier, ...]:
    """List the operations that authorize an action (any case) besides the one they need."""
    return tuple(carrier for kind, carrier in _operations_of(action.lower()) if kind != "own")


def own_operations(action: str) -> frozenset[str]:
    """Names the operations whose events show an action of unknown visibility; a record of each one settles it."""
    own = frozenset(carrier.operation for kind, carrier in _operations_of(action.lower()) if kind == "own")
    return own or frozenset({catalog.spelling(action) or action})


def data_event_types() -> tuple[str, ...]:
    """Resource types (`AWS::S3::Object`) whose data events show some action, sorted."""
    return tuple(sorted({row["type"] for row in table("visibility") if row["visibility"] == Visibility.DATA}))


@cache
def global_services(partition: str) -> tuple[str, ...]:
    """IAM prefixes of the global services of a partition, sorted."""
    return tuple(sorted(row["prefix"] for row in table("global_services") if row.get(partition)))


@cache
def home_region(prefix: str, partition: str) -> str:
    """The one region that records all events of a global service; empty for a service that each region records."""
    return next((row.get(partition, "") for row in table("global_services") if row["prefix"] == prefix), "")


def _why_unknown(action: str) -> str:
    prefix = action.partition(":")[0].lower()
    if prefix not in catalog.services():
        return f"the catalogue {catalog.version()} has no service {prefix}"
    if catalog.action(action) is None:
        return f"the catalogue {catalog.version()} has no such action"
    return "the action is newer than the table"


@cache
def _reasons() -> Mapping[str, Mapping[str, str]]:
    return {row["code"]: row for row in table("visibility_reasons")}


@cache
def _service(prefix: str) -> Mapping[str, tuple[str, Mapping[str, str] | None]]:
    """Name of an action in lower case -> its spelling and row."""
    rows = rows_of("visibility", prefix)
    return {name.lower(): (name, row) for row in rows for name in row["actions"].split(",")}


@cache
def _operations_of(action: str) -> tuple[tuple[str, Carrier], ...]:
    """Kind and carrier of each operation that the table has for an action in lower case."""
    prefix, _, name = action.partition(":")
    return tuple(
        (row["kind"], _carrier(prefix, operation, row))
        for row in _carrier_rows().get(prefix, {}).get(name, ())
        for operation in row["operations"].split(",")
    )


def _carrier(prefix: str, operation: str, row: Mapping[str, str]) -> Carrier:
    name = operation if ":" in operation else f"{prefix}:{operation}"
    return Carrier(name, Visibility(row["visibility"]), row["type"], row["kind"] == "triggered")


@cache
def _carrier_rows() -> Mapping[str, Mapping[str, tuple[Mapping[str, str], ...]]]:
    """Service -> name of an action, both in lower case -> its rows."""
    found: dict[str, dict[str, tuple[Mapping[str, str], ...]]] = {}
    for row in table("carriers"):
        service = found.setdefault(row["service"].lower(), {})
        for name in row["actions"].lower().split(","):
            service[name] = (*service.get(name, ()), row)
    return found
