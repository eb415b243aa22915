"""Writes a policy as HCL that a person can copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leastpriv.policy.document import Document
from leastpriv.policy.syntax_tree import json_value

_BLOCK_NAMES = {
    "Sid": "sid",
    "Effect": "effect",
    "Action": "actions",
    "NotAction": "not_actions",
    "Resource": "resources",
    "NotResource": "not_resources",
}
_WRITTEN_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_WIDE = 0x10000
"""The first code point that needs more than four hexadecimal digits."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EXPRESSION = re.compile(r"\$\{((?:[^{}]|\{[^{}]*\})+)\}")
_UNSAFE = re.compile(r'["\\@`|<]|[^ -~]')
"""Characters that the report's Markdown would change; HCL can write them as escapes."""


def policy_hcl(document: Document) -> str:
    """Writes the policy in the form of its file: statements of a data source, else the argument of `jsonencode`."""
    value: Any = json_value(document.policy)
    if document.pointer.startswith(("data.", "/data/")):
        found: Any = next((each for key, each in value.items() if key.casefold() == "statement"), [])
        statements = found if isinstance(found, list) else [found]
        return "\n".join("\n".join(_block(statement)) for statement in statements) + "\n"
    return "\n".join(_value(value, "")) + "\n"


def _block(statement: Mapping[str, Any]) -> Iterator[str]:
    yield "statement {"
    for key, value in statement.items():
        name = _BLOCK_NAMES.get(key)
        if name:
            is_text = isinstance(value, str) and not _EXPRESSION.fullmatch(value) and name not in {"sid", "effect"}
            listed = [value] if is_text else value
            first, *rest = _value(listed, "  ")
            yield from (f"  {name} = {first}", *rest)
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            first, *rest = _value(values if isinstance(values, list) else [values], "    ")
            yield from ("  condition {", f"    test = {_string(operator)}", f"    variable = {_string(key)}")
            yield from (f"    values = {first}", *rest, "  }")
    yield "}"


def _value(value: Any, indent: str) -> list[str]:
    """Returns the lines of a value; the first is not indented."""
    inner = f"{indent}  "
    if isinstance(value, str):
        return [_string(value)]
    if isinstance(value, Mapping):
        lines = [
            f"{inner}{_key(key)} = {first}" if not number else first
            for key, each in value.items()
            for number, first in enumerate(_value(each, inner))
        ]
        return ["{", *lines, f"{indent}}}"]
    if isinstance(value, Sequence):
        lines = []
        for each in value:
            first, *rest = _value(each, inner)
            lines += [f"{inner}{first}", *rest]
            lines[-1] += ","
        return ["[", *lines, f"{indent}]"] if lines else ["[]"]
    return [json.dumps(value)]


def _key(key: str) -> str:
    return key if _IDENTIFIER.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """Writes a string that is a single expression as that expression, any other string as a template."""
    whole = _EXPRESSION.fullmatch(text)
    if whole:
        return whole[1]
    parts = _EXPRESSION.split(text)
    return '"' + "".join(f"${{{part}}}" if place % 2 else _escaped(part) for place, part in enumerate(parts)) + '"'


def _escaped(text: str) -> str:
    """Escapes a literal part (https://developer.hashicorp.com/terraform/language/expressions/strings)."""
    return _UNSAFE.sub(lambda found: _WRITTEN_ESCAPES.get(found[0], _unicode_escape(ord(found[0]))), text)


def _unicode_escape(point: int) -> str:
    return f"\\u{point:04x}" if point < _WIDE else f"\\U{point:08x}"
