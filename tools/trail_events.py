"""Finds how a trail shows an API operation, from the first source that knows it.

The sources are, in this order: the table of data events, a page that says that it is never
recorded, public records, and the service's page on CloudTrail (tools/visibility/). The flag of the
service reference is one of an action and not of an operation: tools/make_visibility.py reads it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace  # noqa: TID251 - of a dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from raw_tables import entries_of, table
from service_reference import Operation

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event, read_only_by_name
from leastpriv.permissions.fact_tables import read_rows

SOURCES = Path(__file__).parent / "visibility"
Row = Mapping[str, str]
_FLAGS = {True: "yes", False: "no", None: ""}
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """How a trail shows the use of an action."""

    visibility: str
    reason: str
    resource_type: str = ""
    read_only: str = ""
    page: str = ""


@dataclass(frozen=True, order=True, slots=True)
class ApiModel:
    """An API model of botocore."""

    source: str
    """The first label of its event source."""
    name: str


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
        """Return the answer for an action with this event."""
        return Answer(
            visibility=self.visibility,
            reason=self.reason,
            resource_type=self.resource_type,
            read_only=self.read_only,
            page=self.page,
        )


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
    actions = set()
    for named in operations_of(prefix):
        action = catalog.spelling(f"{prefix}:{named.name}")
        event = map_event(f"{named.source}.amazonaws.com", named.name)
        if action and event.verdict is Verdict.NO_PERMISSION:
            actions.add(action)
    return frozenset(actions)


@cache
def operations_of(prefix: str) -> tuple[Named, ...]:
    """Return the operations and event names of a service, sorted.

    They are from API models, pages and renamed events.
    """
    operations: dict[Named, str] = {}
    for model in dict.fromkeys((*page_models(prefix), *models().get(prefix, ()))):
        page = page_models(prefix).get(model, "")
        names = model_operations(model.name) | _renamed_events(model.source)
        if page:
            names |= {name for row in pages_of(prefix) for name in entries_of(row["operations"])}
        for name in names:
            operation = Named(prefix, model.source, name)
            operations[operation] = operations.get(operation) or page
    return tuple(
        replace(operation, page=page)
        for operation, page in sorted(
            operations.items(), key=lambda item: (item[0].source, item[0].name)
        )
    )


def _renamed_events(source: str) -> frozenset[str]:
    return frozenset(
        row["event_name"]
        for row in table("events")
        if row["kind"] == "rename"
        and row["match"] == "exact"
        and row["event_source"] == f"{source}.amazonaws.com"
    )


@cache
def is_free(operation: str) -> bool:
    """Whether no policy has to allow an operation."""
    prefix, _, name = operation.partition(":")
    return map_event(f"{prefix}.amazonaws.com", name).verdict is Verdict.NO_PERMISSION


@cache
def page_models(prefix: str) -> Mapping[ApiModel, str]:
    """Return the address of the page that includes the operations of an API model."""
    addresses: dict[ApiModel, str] = {}
    for row in reversed(pages_of(prefix)):
        for entry in entries_of(row["models"]):
            source, _, name = entry.partition("/")
            addresses[ApiModel(source, name)] = address(row["source"])
    return addresses


@cache
def named_by_reference(operation: Operation) -> tuple[Named, ...]:
    """An operation of the service reference under the event sources of its clients."""
    prefix, _, name = operation.name.partition(":")
    clients_models = {ApiModel(source_of(client), client) for client in operation.clients}
    pages = page_models(prefix)
    named = tuple(
        Named(prefix, model.source, name, pages.get(model, ""))
        for model in sorted(clients_models)
        if model.source
    )
    return named or (Named(prefix, "", name),)


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
def models() -> Mapping[str, Sequence[ApiModel]]:
    """Return the API models by IAM prefix; reads each of botocore's models once."""
    by_prefix: dict[str, list[ApiModel]] = defaultdict(list)
    for name in _loader().list_available_services("service-2"):
        source = source_of(name)
        prefix = map_event(f"{source}.amazonaws.com", "").prefix
        by_prefix[prefix].append(ApiModel(source, name))
    return by_prefix


def models_of_source(source: str) -> Iterator[ApiModel]:
    """Yield the API models of an event source."""
    for models_of_prefix in models().values():
        yield from (model for model in models_of_prefix if model.source == source)


@cache
def model_operations(model: str) -> frozenset[str]:
    """Names of the operations of an API model."""
    return frozenset(_loader().load_service_model(model, "service-2")["operations"])


@cache
def operations_with_member(source: str, pattern: str) -> frozenset[str]:
    """Return the operations of an event source whose request has such a member.

    Upper and lower case are the same.
    """
    member = re.compile(pattern, re.IGNORECASE)
    names = set()
    for model in models_of_source(source):
        document = _loader().load_service_model(model.name, "service-2")
        for name, operation in document["operations"].items():
            request = operation.get("input", {}).get("shape", "")
            if _has_member(document["shapes"], request, member, _DEPTH):
                names.add(name)
    return frozenset(names)


def _has_member(shapes: Mapping[str, Any], name: str, member: re.Pattern[str], depth: int) -> bool:
    """Return whether a shape, or one that it has at most so many levels below, has the member."""
    if depth == 0:
        return False
    shape = shapes.get(name, {})
    members = shape.get("members", {})
    if any(member.search(member_name) for member_name in members):
        return True
    inner_shapes = [inner["shape"] for inner in members.values()]
    inner_shapes += [shape[key]["shape"] for key in ("member", "value") if key in shape]
    return any(_has_member(shapes, inner, member, depth - 1) for inner in inner_shapes)


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
    if not named.source:
        return True
    models_of_named = models_of_source(named.source)
    return any(named.name in model_operations(model.name) for model in models_of_named)


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
    return Event(
        key,
        "data",
        resource_type=row["resource_type"],
        read_only=flag,
        reason="data",
        page=address(row["source"]),
    )


def read_only(operation: str) -> str:
    """CloudTrail's `readOnly` of an event as far as its name shows it: yes, no, or empty."""
    return _FLAGS[read_only_by_name(operation)]
