"""Writes values, lists and statements of a policy as HCL; edits a list in its layout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from leastpriv.policy.document import Document
from leastpriv.policy.hcl_format import aligned
from leastpriv.policy.json_writer import ListChanges, indentation
from leastpriv.policy.syntax_tree import Node, json_value
from leastpriv.policy.template_functions import template_escape

_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LONGEST_LINE = 100
"""A list on one line that becomes longer gets one entry a line."""
_LIST_END = re.compile(r'"(,?)[ \t]*(?:(?:#|//)[^\n]*)?\r?\n[ \t]*\]')
_TABS = re.compile(r"^\t+\S", re.MULTILINE)
_BLANKS = re.compile(r"^ +\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ListStyle:
    """How a file writes lists with one entry a line."""

    newline: str
    unit: str
    """A step of indentation."""
    comma: str
    """The text behind the last entry."""

    @classmethod
    def of(cls, text: str) -> ListStyle:
        """Returns the style of a file; `terraform fmt` leaves commas as they are."""
        commas = set(_LIST_END.findall(text))
        return cls(
            newline="\r\n" if "\r\n" in text else "\n",
            unit="\t" if len(_TABS.findall(text)) > len(_BLANKS.findall(text)) else "  ",
            comma="" if commas == {""} else ",",
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry, the comment on its line, and the white space and comments up to the next entry."""

    text: str
    comment: str
    gap: str


def rewrite_tuple(text: str, node: Node, written: Sequence[str], changes: ListChanges) -> str:
    """Returns the text of a list after changes; `written` is the text of each entry."""
    style = ListStyle.of(text)
    items = node.items
    if not items:
        entries = [entry for place in sorted(changes.after) for entry in changes.after[place]]
        return list_text(entries, indentation(text, node.start), style, _fits_line(text, node, entries))
    lead = text[node.start + 1 : items[0].start]
    own_lines = "\n" in lead
    between = style.newline + indentation(text, items[0].start) if own_lines else " "
    found: list[_Entry] = []
    has_comma = False
    for place, item in enumerate(items):
        last = place + 1 == len(items)
        has_comma, comment, rest = _separator(text[item.end : node.end - 1 if last else items[place + 1].start])
        entries = changes.entries(place, written[place])
        if not entries:
            before = found[-1].gap if found else lead
            joined = _joined(before, rest, last=last)
            if found:
                found[-1] = replace(found[-1], gap=joined)
            else:
                lead = joined
            continue
        own = changes.after.get(-1, []) if place == 0 else []
        at = len(own) if place not in changes.drop else -1
        for number, entry in enumerate(entries):
            gap = rest if number + 1 == len(entries) else between
            found.append(_Entry(entry, comment if number == at else "", gap))
    new = "[" + lead
    for number, each in enumerate(found):
        comma = "," if number + 1 < len(found) or has_comma else ""
        new += each.text + comma + each.comment + each.gap
    new += "]"
    long = "\n" not in new and any(changes.after.values()) and not _fits_line(text, node, [new])
    return (
        list_text([each.text for each in found], indentation(text, node.start), style, one_line=False) if long else new
    )


def list_text(entries: Sequence[str], indent: str, style: ListStyle, one_line: bool) -> str:
    """Writes a list on one line, or with one entry a line."""
    if one_line or not entries:
        return f"[{', '.join(entries)}]"
    between = f"{style.newline}{indent}{style.unit}"
    return f"[{between}{f',{between}'.join(entries)}{style.comma}{style.newline}{indent}]"


def _fits_line(text: str, node: Node, entries: Sequence[str]) -> bool:
    before = node.start - text.rfind("\n", 0, node.start)
    return before + sum(len(entry) + 2 for entry in entries) <= _LONGEST_LINE


def _separator(text: str) -> tuple[bool, str, str]:
    """Splits the text between two entries: whether it has a comma, the comment on the line, and the rest."""
    masked = _COMMENT.sub(lambda found: re.sub(r"[^\n]", "\0", found[0]), text)
    comma = masked.find(",")
    if comma >= 0:
        text, masked = text[:comma] + text[comma + 1 :], masked[:comma] + masked[comma + 1 :]
    end = masked.find("\n")
    end = end - 1 if end > 0 and text[end - 1] == "\r" else end
    return (comma >= 0, text[:end], text[end:]) if end >= 0 else (comma >= 0, "", text)


def _joined(before: str, after: str, *, last: bool) -> str:
    """Joins the gaps around a removed entry."""
    if "\n" in before and "\n" in after:
        return before.rstrip(" \t").removesuffix("\n").removesuffix("\r") + after
    return before if "\n" in before or ("\n" not in after and not last) else after


BLOCK_NAMES = {
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
_EXPRESSION = re.compile(r"(?<!\$)\$\{((?:[^{}]|\{[^{}]*\})+)\}")
_UNSAFE = re.compile(r'["\\@`|<]|[^ -~]')
"""Characters that the report's Markdown would change; HCL can write them as escapes."""


def statements_hcl(document: Document, indexes: Sequence[int]) -> str:
    """Writes some statements in the form of their file: blocks of a data source, else objects."""
    blocks = document.pointer.startswith(("data.", "/data/"))
    found: list[str] = []
    for index in indexes:
        value: Any = json_value(document.statement_nodes[index])
        found.append(aligned("\n".join(_block(value) if blocks else value_lines(value, ""))))
    return "\n".join(found) + "\n"


def new_statements_hcl(statements: Sequence[Mapping[str, object]], *, as_blocks: bool) -> str:
    """Writes statements that no file has yet: blocks of a data source, else objects; `${` in them is no expression."""
    texts = (_as_text(statement) for statement in statements)
    return "\n".join(aligned("\n".join(_block(each) if as_blocks else value_lines(each, ""))) for each in texts) + "\n"


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return template_escape("terraform")(value)
    if isinstance(value, Mapping):
        return {key: _as_text(each) for key, each in value.items()}
    return [_as_text(each) for each in value]


def policy_hcl(document: Document) -> str:
    """Writes the policy in the form of its file: statements of a data source, else the argument of `jsonencode`."""
    value: Any = json_value(document.policy)
    if document.pointer.startswith(("data.", "/data/")):
        found: Any = next((each for key, each in value.items() if key.casefold() == "statement"), [])
        statements = found if isinstance(found, list) else [found]
        return "\n".join(aligned("\n".join(_block(statement))) for statement in statements) + "\n"
    return aligned("\n".join(value_lines(value, ""))) + "\n"


def _block(statement: Mapping[str, Any]) -> Iterator[str]:
    yield "statement {"
    for key, value in statement.items():
        name = BLOCK_NAMES.get(key)
        if name:
            is_text = isinstance(value, str) and not _EXPRESSION.fullmatch(value) and name not in {"sid", "effect"}
            listed = [value] if is_text else value
            first, *rest = value_lines(listed, "  ")
            yield from (f"  {name} = {first}", *rest)
    for operator, keys in (
        statement.get("Condition", {}).items() if isinstance(statement.get("Condition"), dict) else ()
    ):
        for key, values in keys.items():
            first, *rest = value_lines(values if isinstance(values, list) else [values], "    ")
            yield from (
                "",
                "  condition {",
                f"    test = {string_text(operator)}",
                f"    variable = {string_text(key)}",
            )
            yield from (f"    values = {first}", *rest, "  }")
    yield "}"


def value_lines(value: Any, indent: str) -> list[str]:
    """Returns the lines of a value; the first is not indented."""
    inner = f"{indent}  "
    if isinstance(value, str):
        return [string_text(value)]
    if isinstance(value, Mapping):
        lines = [
            f"{inner}{(key if _IDENTIFIER.fullmatch(key) else string_text(key))} = {first}" if not number else first
            for key, each in value.items()
            for number, first in enumerate(value_lines(each, inner))
        ]
        return ["{", *lines, f"{indent}}}"]
    if isinstance(value, Sequence):
        lines = []
        for each in value:
            first, *rest = value_lines(each, inner)
            lines += [f"{inner}{first}", *rest]
            lines[-1] += ","
        return ["[", *lines, f"{indent}]"] if lines else ["[]"]
    return [json.dumps(value)]


def string_text(text: str) -> str:
    """Writes a string that is a single expression as that expression, any other string as a template."""
    whole = _EXPRESSION.fullmatch(text)
    if whole:
        return whole[1]
    parts = _EXPRESSION.split(text)
    return '"' + "".join(f"${{{part}}}" if place % 2 else escaped_text(part) for place, part in enumerate(parts)) + '"'


def escaped_text(text: str) -> str:
    """Escapes a literal part (https://developer.hashicorp.com/terraform/language/expressions/strings)."""
    return _UNSAFE.sub(lambda found: _WRITTEN_ESCAPES.get(found[0], _unicode_escape(ord(found[0]))), text)


def _unicode_escape(point: int) -> str:
    return f"\\u{point:04x}" if point < _WIDE else f"\\U{point:08x}"
