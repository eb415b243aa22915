"""The tools of `leastpriv mcp`, and what a call of one may pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from leastpriv.errors import InputError, did_you_mean
from leastpriv.permissions.fact_tables import table

_LISTS = frozenset({"words", "files", "trails", "declared"})
_JSON_TYPES: Mapping[str, Mapping[str, Any]] = {
    "record": {"type": ["object", "array"]},
    "requests": {"type": "array", "items": {"type": "object"}, "minItems": 1},
    "integer": {"type": "integer", "minimum": 0},
}
_EXPECTED = {
    "record": "an object or a list of objects",
    "requests": "a list of objects",
    "integer": "an integer from 0",
}
_MOST_OF_ONE = 100_000
"""Characters of one value; Linux takes 131,072 bytes as one argument of a program."""
_MOST_IN_LIST = 1_000
"""Texts of a list: each takes milliseconds."""
_MOST_OF_ALL = 1_000_000
"""Characters of all values that become arguments; Linux takes 2 MiB with the environment."""


class Parameter(Struct, frozen=True):
    """One parameter of a tool."""

    name: str
    option: str
    """Of the shell's command; empty where the value is passed another way."""
    kind: str
    required: bool
    narrows: bool
    """Whether another value of it makes a long answer shorter."""
    help: str

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the value."""
        json_type = _JSON_TYPES.get(self.kind)
        if json_type is not None:
            return {**json_type, "description": self.help}
        if self.kind in _LISTS:
            return {"type": "array", "items": {"type": "string"}, "description": self.help}
        return {"type": "string", "description": self.help}


class AgentTool(Struct, frozen=True):
    """One tool: a command of the shell whose answer is data."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {parameter.name: parameter.schema for parameter in self.parameters},
            "required": [parameter.name for parameter in self.parameters if parameter.required],
            "additionalProperties": False,
        }


@cache
def tools() -> Mapping[str, AgentTool]:
    """Returns every tool by name, in the order of the table."""
    descriptions: dict[str, str] = {}
    parameters: dict[str, list[Parameter]] = {}
    for row in table("tools", __package__ or ""):
        if not row["parameter"]:
            descriptions[row["tool"]] = row["help"]
            continue
        parameter = Parameter(
            name=row["parameter"],
            option=row["option"],
            kind=row["kind"],
            required=bool(row["required"]),
            narrows=bool(row["narrows"]),
            help=row["help"],
        )
        parameters.setdefault(row["tool"], []).append(parameter)
    return {
        name: AgentTool(name, description, tuple(parameters[name]))
        for name, description in descriptions.items()
    }


def check_arguments(tool: AgentTool, arguments: Mapping[str, Any]) -> None:
    """Compares the arguments of a call with the parameters of a tool.

    Raises:
        InputError: a parameter is missing or not known, or has a value of another type or size.
    """
    parameters = {declared.name: declared for declared in tool.parameters}
    for name, value in arguments.items():
        if name not in parameters:
            raise InputError(
                f"The tool {tool.name} has no parameter {name!r}{did_you_mean(name, parameters)}."
            )
        _check_type(parameters[name], value)
        _check_size(parameters[name], value)
    size = sum(len(text) for value in arguments.values() for text in _texts(value))
    if size - len(arguments.get("text") or "") > _MOST_OF_ALL:
        raise InputError(
            f"The values of the call have {size:,} characters; {_MOST_OF_ALL:,} are the most:"
            " name fewer."
        )
    for name, parameter in parameters.items():
        if parameter.required and not arguments.get(name):
            raise InputError(f"The tool {tool.name} needs {name}: {parameter.help}.")


def _check_type(parameter: Parameter, value: object) -> None:
    """Compares a value with the type of its parameter; raises InputError."""
    expected = _EXPECTED.get(parameter.kind)
    if parameter.kind == "integer":
        is_right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif parameter.kind == "record":
        is_right = isinstance(value, dict) or _is_list_of(value, dict)
    elif parameter.kind == "requests":
        is_right = _is_list_of(value, dict)
    elif parameter.kind in _LISTS:
        expected = "a list of texts"
        is_right = _is_list_of(value, str)
    else:
        expected = "a text"
        is_right = isinstance(value, str)
    if not is_right:
        raise InputError(f"The parameter {parameter.name} is {expected}: {parameter.help}.")


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(element, kind) for element in value)


def _check_size(parameter: Parameter, value: object) -> None:
    """Raises InputError for too many texts, or one that no argument of a program can be."""
    if parameter.kind == "input":
        return
    if parameter.kind in _LISTS and isinstance(value, list) and len(value) > _MOST_IN_LIST:
        raise InputError(
            f"The parameter {parameter.name} has {len(value):,} values; {_MOST_IN_LIST:,} are the"
            " most: name fewer."
        )
    for text in _texts(value):
        if "\0" in text:
            raise InputError(f"The parameter {parameter.name} has a NUL character: remove it.")
        if len(text) > _MOST_OF_ONE or len(text.encode(errors="replace")) > _MOST_OF_ONE:
            raise InputError(
                f"The parameter {parameter.name} has a text of {len(text):,} characters;"
                f" {_MOST_OF_ONE:,} bytes are the most: write a shorter one."
            )
        if not _is_unicode(text):
            raise InputError(
                f"The parameter {parameter.name} has half a character of Unicode: remove it."
            )


def _texts(value: object) -> Iterator[str]:
    """Yields the texts that a value passes to a program as arguments."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (element for element in value if isinstance(element, str))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
