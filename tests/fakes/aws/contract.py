"""Validates values by the shapes of botocore's models, more strictly than botocore's own validator.

It also rejects unknown members, values outside an enumeration, and texts and lists of a wrong
length or pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.session import get_session

COMMON_ERRORS = frozenset({
    "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException",
    "InternalFailure",
    "InternalServerError", "InvalidClientTokenId", "ServiceUnavailable", "SignatureDoesNotMatch",
    "Throttling",
    "ThrottlingException", "UnauthorizedOperation", "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
})  # fmt: skip
""""Common Errors" of the AWS API references, which no operation's model lists (read 2026-11-24)."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "character": str, "integer": int, "long": int, "float": (int, float),
    "double": (int, float),
    "boolean": bool, "timestamp": (datetime, str, int, float), "blob": (bytes, str), "list": (list,
    tuple),
    "map": Mapping, "structure": Mapping,
}  # fmt: skip


@cache
def service(name: str) -> ServiceModel:
    """The model of a service by its client's name."""
    return get_session().get_service_model(name)


@cache
def operation(service_name: str, name: str) -> OperationModel:
    """The model of an operation."""
    return service(service_name).operation_model(name)


def error_names(found: OperationModel) -> frozenset[str]:
    """Codes of the errors that an operation may answer with."""
    own = {shape.name for shape in found.error_shapes} | {
        shape.error_code for shape in found.error_shapes
    }
    return COMMON_ERRORS | {name for name in own if name}


def breaches(value: Any, shape: Shape | None, where: str) -> Iterator[str]:
    """Yield a sentence for each violation of a value's shape."""
    if shape is None:
        if value:
            yield f"{where} takes nothing, not {value!r}"
        return
    if getattr(shape, "is_document_type", False):
        return
    wanted = _TYPES[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{where} is a {type(value).__name__}, not a {shape.type_name}"
        return
    yield from _limits(value, shape, where)
    if shape.type_name == "structure":
        yield from _structure(value, shape, where)
    elif shape.type_name == "list":
        for number, item in enumerate(value):
            yield from breaches(item, shape.member, f"{where}[{number}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from breaches(item, shape.value, f"{where}[{key!r}]")


def _structure(value: Mapping[str, Any], shape: Any, where: str) -> Iterator[str]:
    if shape.is_tagged_union and len(value) != 1:
        yield f"{where} is a union and has {len(value)} members"
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"{where} lacks {name}"
    for name, item in value.items():
        if name not in shape.members:
            yield f"{where} has {name}, which does not exist"
        elif item is not None:
            yield from breaches(item, shape.members[name], f"{where}.{name}")


def _limits(value: Any, shape: Any, where: str) -> Iterator[str]:
    facts = shape.metadata
    if facts.get("enum") and value not in facts["enum"]:
        yield f"{where} is {value!r}, not one of {', '.join(facts['enum'])}"
    size = len(value) if shape.type_name in ("string", "list", "map", "blob") else value
    if isinstance(size, (int, float)) and not isinstance(size, bool):
        if "min" in facts and size < facts["min"]:
            yield f"{where} is {size}, less than {facts['min']}"
        if "max" in facts and size > facts["max"]:
            yield f"{where} is {size}, more than {facts['max']}"
    pattern = facts.get("pattern", "")
    if pattern and isinstance(value, str) and not _fits(pattern, value):
        yield f"{where} is {value[:60]!r}, which does not fit {pattern}"


def _fits(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        # A pattern that Java accepts and Python does not, such as \p{L}.
        return True
