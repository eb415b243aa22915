"""Finds how a trail shows an API operation, from the first source that knows it.

The sources are, in this order: the table of data events, a page that says that it is never
recorded, public records, and the service's page on CloudTrail (tools/visibility/). The flag of the
service reference is one of an action and not of an operation: tools/make_visibility.py reads it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from raw_tables import table
from service_reference import Operation

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event, read_only_by_name
from leastpriv.permissions.fact_tables import read_rows

SOURCES = Path(__file__).parent / "visibility"
Row = Mapping[str, str]
Answer = tuple[str, str, str, str, str]
"""Visibility, type, reason, read_only, page."""
_FLAGS = {True: "yes", False: "no", None: ""}
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Event:
    """How a trail shows one operation."""

    operation: str
    """IAM prefix and operation, as `map_event` names it."""
    visibility: str
    resource_type: str = ""
    read_only: str = ""
    reason: str = ""
    page: str = ""

    @property
    def answer(self) -> Answer:
        """The visibility of an action with this event."""
        return self.visibility, self.resource_type, self.reason, self.read_only, self.page


@dataclass(frozen=True, slots=True)
class Named:
    """One operation as an API model, a table or the service reference names it."""

    prefix: str
    source: str
    """First label of the event source; empty where no API model has the operation."""
    name: str
    page: str = ""
    """Address of the page that includes the operation's API; empty where none was read."""

    @property
    def key(self) -> str:
        """IAM prefix and operation, as `map_event` names them."""
        if not self.source:
            return f"{self.prefix}:{self.name}"
        return map_event(f"{self.source}.amazonaws.com", self.name).operation


def facts(name: str) -> tuple[Row, ...]:
    """All rows of a table of tools/visibility/."""
    return _facts(name)


@cache
def _facts(name: str) -> tuple[Row, ...]:
    return tuple(read_rows((SOURCES / f"{name}.tsv").read_text(encoding="utf-8")))


@cache
def permissionless(prefix: str) -> frozenset[str]:
    """Actions whose operations no policy has to allow: their events count for no action."""
    found = set()
    for named in operations_of(prefix):
        action = catalog.spelling(f"{prefix}:{named.name}")
        if (
            action
            and map_event(f"{named.source}.amazonaws.com", named.name).verdict
            is Verdict.NO_PERMISSION
        ):
            found.add(action)
    return frozenset(found)


@cache
def operations_of(prefix: str) -> tuple[Named, ...]:
    """The operations and event names of a service from API models, pages and renamed events,
    sorted.
    """
    found: dict[tuple[str, str], str] = {}
    for source, model in dict.fromkeys((*page_models(prefix), *models().get(prefix, ()))):
        page = page_models(prefix).get((source, model), "")
        names = set(model_operations(model))
        names.update(
            name
            for row in pages_of(prefix)
            if page
            for name in row["operations"].split(",")
            if name
        )
        names.update(
            row["event_name"]
            for row in table("events")
            if (row["kind"], row["match"], row["event_source"])
            == ("rename", "exact", f"{source}.amazonaws.com")
        )
        for name in names:
            found[source, name] = found.get((source, name)) or page
    return tuple(
        Named(prefix, source, name, page) for (source, name), page in sorted(found.items())
    )


@cache
def is_free(operation: str) -> bool:
    """Whether no policy has to allow an operation."""
    prefix, _, name = operation.partition(":")
    return map_event(f"{prefix}.amazonaws.com", name).verdict is Verdict.NO_PERMISSION


@cache
def page_models(prefix: str) -> Mapping[tuple[str, str], str]:
    """Event source (first label) and API model -> address of the page that includes its
    operations.
    """
    return {
        entry.partition("/")[::2]: address(row["source"])
        for row in reversed(pages_of(prefix))
        for entry in row["models"].split(",")
        if entry
    }


@cache
def named_by_reference(operation: Operation) -> tuple[Named, ...]:
    """An operation of the service reference under the event sources of its clients."""
    prefix, _, name = operation.name.partition(":")
    known = {(source, client) for client, _ in operation.clients if (source := source_of(client))}
    return tuple(
        Named(prefix, source, name, page_models(prefix).get((source, client), ""))
        for source, client in sorted(known)
    ) or (Named(prefix, "", name),)


@cache
def _loader() -> Any:
    """One loader for all models: it keeps what it has read."""
    return botocore.session.get_session().get_component("data_loader")


@cache
def source_of(model: str) -> str:
    """The signing name of an API model, which is the first label of its event source; empty for an
    unknown model.
    """
    if model not in _loader().list_available_services("service-2"):
        return ""
    metadata = _loader().load_service_model(model, "service-2")["metadata"]
    return str(metadata.get("signingName") or metadata["endpointPrefix"])


@cache
def models() -> Mapping[str, Sequence[tuple[str, str]]]:
    """IAM prefix -> signing name and name of its API models; reads each of botocore's models
    once.
    """
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for model in _loader().list_available_services("service-2"):
        source = source_of(model)
        found[map_event(f"{source}.amazonaws.com", "").prefix].append((source, model))
    return found


@cache
def model_operations(model: str) -> frozenset[str]:
    """Names of the operations of an API model."""
    return frozenset(_loader().load_service_model(model, "service-2")["operations"])


@cache
def operations_with_member(source: str, pattern: str) -> frozenset[str]:
    """Operations, of all models with a signing name, whose request has such a member, compared
    without case.
    """
    wanted = re.compile(pattern, re.IGNORECASE)
    found = set()
    for model in (
        model for each in models().values() for signing, model in each if signing == source
    ):
        document = _loader().load_service_model(model, "service-2")
        for name, operation in document["operations"].items():
            if _has_member(
                document["shapes"], operation.get("input", {}).get("shape", ""), wanted, _DEPTH
            ):
                found.add(name)
    return frozenset(found)


def _has_member(shapes: Mapping[str, Any], name: str, wanted: re.Pattern[str], depth: int) -> bool:
    shape = shapes.get(name, {})
    if depth == 0:
        return False
    members = shape.get("members", {})
    if any(wanted.search(member) for member in members):
        return True
    below = [each["shape"] for each in members.values()]
    below += [shape[key]["shape"] for key in ("member", "value") if key in shape]
    return any(_has_member(shapes, each, wanted, depth - 1) for each in below)


def event_of(key: str, page: str) -> Event:
    """How a trail shows one operation.

    Args:
        key: IAM prefix and operation.
        page: address of the page that includes the operation's API; empty where none was read.
    """
    prefix, _, name = key.partition(":")
    data = _data_events().get(key)
    if data:
        return data_event(data)
    if is_named(prefix, name, "never"):
        return Event(key, "never", reason="page", page=page_of(prefix, name, "never"))
    if key in _recorded():
        return Event(key, "management", read_only=read_only(name), reason="record")
    if not page:
        return Event(key, "unknown", reason="not-read")
    if is_named(prefix, name, "except"):
        return Event(key, "unknown", reason="excepted", page=page_of(prefix, name, "except"))
    if is_named(prefix, name, "listed"):
        named_on = page_of(prefix, name, "listed")
        return Event(key, "management", read_only=read_only(name), reason="listed", page=named_on)
    if any(row["coverage"] == "all" and address(row["source"]) == page for row in pages_of(prefix)):
        return Event(key, "management", read_only=read_only(name), reason="page", page=page)
    return Event(key, "unknown", reason="not-listed", page=page)


@cache
def pages_of(prefix: str) -> tuple[Row, ...]:
    """Rows of a service's pages."""
    return tuple(row for row in facts("pages") if row["prefix"] == prefix)


def is_named(prefix: str, name: str, coverage: str) -> bool:
    """Whether a page of the service names an operation or event in a row of such a coverage."""
    return any(
        row["coverage"] == coverage and name in row["operations"].split(",")
        for row in pages_of(prefix)
    )


@cache
def page_of(prefix: str, name: str = "", coverage: str = "") -> str:
    """Address of the service's page on CloudTrail that names an operation; empty if none was
    read.
    """
    rows = [row for row in pages_of(prefix) if not name or name in row["operations"].split(",")]
    return next(
        (address(row["source"]) for row in rows if row["coverage"] == coverage or not coverage), ""
    )


def address(source: str) -> str:
    """The first address of a source, which may name the year of the copy too."""
    return next((word for word in re.split(r"[ ;,]", source) if word.startswith("https://")), "")


def is_api(named: Named) -> bool:
    """Whether an API model or the service reference has the operation: others are names of
    events.
    """
    known = (
        model for each in models().values() for signing, model in each if signing == named.source
    )
    return not named.source or any(named.name in model_operations(model) for model in known)


@cache
def _data_events() -> Mapping[str, Row]:
    return {f"{row['prefix']}:{row['operation']}": row for row in facts("data_events")}


@cache
def _recorded() -> frozenset[str]:
    """Operations that public records show as management events."""
    return frozenset(
        map_event(row["event_source"], row["event_name"]).operation for row in facts("records")
    )


def data_event(row: Row) -> Event:
    """Read a row of the table of data events."""
    flag = {"read": "yes", "write": "no"}.get(row["access"]) or read_only(row["operation"])
    key = f"{row['prefix']}:{row['operation']}"
    return Event(key, "data", row["resource_type"], flag, "data", address(row["source"]))


def read_only(operation: str) -> str:
    """CloudTrail's `readOnly` of an event as far as its name shows it: yes, no, or empty."""
    return _FLAGS[read_only_by_name(operation)]
