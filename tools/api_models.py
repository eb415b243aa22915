"""Answers questions about the request members of botocore's API models, for the tools that compile
facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session

_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a request, at any depth."""

    name: str
    """As the model spells it; the header's name for a member that a header carries."""
    always: bool
    """It is required, as is every member around it."""
    depth: int


@cache
def _loader() -> Any:
    return botocore.session.get_session().get_component("data_loader")


@cache
def _clients() -> frozenset[str]:
    return frozenset(_loader().list_available_services("service-2"))


@cache
def model_of(client: str) -> Mapping[str, Any] | None:
    """Returns the API model of a client of Boto3; None where the installed botocore lacks it."""
    return _loader().load_service_model(client, "service-2") if client in _clients() else None


def source_of(client: str, prefix: str) -> str:
    """Returns the event source of a client's calls, by its signing name."""
    model = model_of(client)
    metadata = model["metadata"] if model else {}
    return (
        f"{metadata.get('signingName') or metadata.get('endpointPrefix') or prefix}.amazonaws.com"
    )


@cache
def operations_of_source(source: str) -> frozenset[str]:
    """Returns the operations of all clients whose calls have an event source."""
    return frozenset(name for client in _clients() for name in _operations(client, source))


def _operations(client: str, source: str) -> Iterator[str]:
    model = model_of(client)
    if model and source in (
        source_of(client, ""),
        f"{model['metadata']['endpointPrefix']}.amazonaws.com",
    ):
        yield from model["operations"]


@cache
def members_of(client: str, operation: str) -> tuple[Member, ...]:
    """Returns the members of an operation's request; empty where no model has the operation."""
    model = model_of(client)
    found = model["operations"].get(operation) if model else None
    if not model or not found or "input" not in found:
        return ()
    return tuple(_members(model["shapes"], found["input"]["shape"], True, ()))


def _members(
    shapes: Mapping[str, Any], name: str, always: bool, above: tuple[str, ...]
) -> Iterator[Member]:
    shape = shapes[name]
    if name in above or len(above) >= _DEEPEST:
        return
    above = (*above, name)
    match shape["type"]:
        case "structure":
            required = set(shape.get("required", ()))
            for key, spec in shape.get("members", {}).items():
                header = spec.get("location") == "header"
                own = always and key in required
                yield Member(spec.get("locationName", key) if header else key, own, len(above))
                yield from _members(shapes, spec["shape"], own, above)
        case "list":
            yield from _members(shapes, shape["member"]["shape"], always, above)
        case "map":
            yield from _members(shapes, shape["value"]["shape"], False, above)
