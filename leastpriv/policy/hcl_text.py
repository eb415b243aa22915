"""Writes values, lists and statements of a policy as HCL; edits a list in its layout; formats as
`terraform fmt`.

Lines are indented by their brackets; `=` and trailing comments of consecutive lines are aligned. An
assignment takes part only if its line leaves no bracket open
(https://github.com/hashicorp/hcl/blob/main/hclwrite/format.go, read 2026-11-27).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.policy.document import Document
from leastpriv.policy.json_writer import ListChanges, indentation, map_strings
from leastpriv.policy.syntax_tree import Node, json_value
from leastpriv.policy.template_functions import template_escape

_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LONGEST_LINE = 100
"""A list on one line that becomes longer gets one entry a line."""
_LIST_END = re.compile(r'"(,?)[ \t]*(?:(?:#|//)[^\n]*)?\r?\n[ \t]*\]')
_TABS = re.compile(r"^\t+\S", re.MULTILINE)
_BLANKS = re.compile(r"^ +\S", re.MULTILINE)


class ListStyle(Struct, frozen=True):
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


class _Entry(Struct, frozen=True):
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
        return list_text(
            entries, indentation(text, node.start), style, _fits_line(text, node, entries)
        )
    lead = text[node.start + 1 : items[0].start]
    own_lines = "\n" in lead
    between = style.newline + indentation(text, items[0].start) if own_lines else " "
    found: list[_Entry] = []
    has_comma = False
    for place, item in enumerate(items):
        last = place + 1 == len(items)
        has_comma, comment, rest = _separator(
            text[item.end : node.end - 1 if last else items[place + 1].start]
        )
        entries = changes.entries(place, written[place])
        if not entries and found:
            found[-1] = replace(found[-1], gap=_joined(found[-1].gap, rest, last=last))
        elif not entries:
            lead = _joined(lead, rest, last=last)
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
    if long:
        return list_text(
            [each.text for each in found], indentation(text, node.start), style, one_line=False
        )
    return new


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
    """Splits the text between two entries: whether it has a comma, the comment on the line, and the
    rest.
    """
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
    values: list[Any] = [json_value(document.statement_nodes[index]) for index in indexes]
    return _statements_text(values, as_blocks=document.pointer.startswith(("data.", "/data/")))


def new_statements_hcl(statements: Sequence[Mapping[str, object]], *, as_blocks: bool) -> str:
    """Writes statements that no file has yet: blocks of a data source, else objects; `${` in them
    is no expression.
    """
    return _statements_text(
        [map_strings(template_escape("terraform"), each) for each in statements], as_blocks
    )


def policy_hcl(document: Document) -> str:
    """Writes the policy in the form of its file: statements of a data source, else the argument of
    `jsonencode`.
    """
    if document.pointer.startswith(("data.", "/data/")):
        return statements_hcl(document, range(len(document.statements)))
    return _statements_text([json_value(document.policy)], as_blocks=False)


def _statements_text(values: Sequence[Any], as_blocks: bool) -> str:
    style = ListStyle("\n", "  ", ",")
    written = (
        block_lines(each, "", style, string_text) if as_blocks else value_lines(each, "")
        for each in values
    )
    return "\n".join(aligned("\n".join(lines)) for lines in written) + "\n"


def block_lines(
    statement: Mapping[str, Any],
    indent: str,
    style: ListStyle,
    spell: Callable[[str], str],
    *,
    effect: bool = True,
) -> Iterator[str]:
    """Writes a block of a data source; `spell` writes an entry; without `effect` the default,
    Allow, is left out.
    """
    inner, innermost = indent + style.unit, indent + 2 * style.unit
    yield f"{indent}statement {{"
    for key, name in BLOCK_NAMES.items():
        value = statement.get(key)
        if value is None or (key == "Effect" and value == "Allow" and not effect):
            continue
        if isinstance(value, str) and (key in {"Sid", "Effect"} or _EXPRESSION.fullmatch(value)):
            text = string_text(value)
        else:
            entries = [spell(each) for each in ([value] if isinstance(value, str) else value)]
            text = list_text(entries, inner, style, one_line=len(entries) == 1)
        yield f"{inner}{name} = {text}"
    conditions = statement.get("Condition", {})
    for operator, keys in conditions.items() if isinstance(conditions, Mapping) else ():
        for key, values in keys.items():
            listed = [
                value_lines(each, "")[0]
                for each in (values if isinstance(values, list) else [values])
            ]
            yield from ("", f"{inner}condition {{", f"{innermost}test = {string_text(operator)}")
            yield from (
                f"{innermost}variable = {string_text(key)}",
                f"{innermost}values = [{', '.join(listed)}]",
            )
            yield f"{inner}}}"
    yield f"{indent}}}"


def value_lines(value: Any, indent: str) -> list[str]:
    """Returns the lines of a value; the first is not indented."""
    inner = f"{indent}  "
    if isinstance(value, str):
        return [string_text(value)]
    if isinstance(value, Mapping):
        lines = []
        for key, each in value.items():
            name = key if _IDENTIFIER.fullmatch(key) else string_text(key)
            first, *others = value_lines(each, inner)
            lines += [f"{inner}{name} = {first}", *others]
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
    """Writes a string that is a single expression as that expression, any other string as a
    template.
    """
    whole = _EXPRESSION.fullmatch(text)
    if whole:
        return whole[1]
    parts = _EXPRESSION.split(text)
    return (
        '"'
        + "".join(
            f"${{{part}}}" if place % 2 else escaped_text(part) for place, part in enumerate(parts)
        )
        + '"'
    )


def escaped_text(text: str) -> str:
    """Escapes a literal part
    (https://developer.hashicorp.com/terraform/language/expressions/strings).
    """

    def escape(found: re.Match[str]) -> str:
        point = ord(found[0])
        return _WRITTEN_ESCAPES.get(
            found[0], f"\\u{point:04x}" if point < _WIDE else f"\\U{point:08x}"
        )

    return _UNSAFE.sub(escape, text)


_HEREDOC = re.compile(r"<<-?([A-Za-z_][\w-]*)[ \t]*$")
_EQUAL = re.compile(r"(?<![=!<>])=(?![=>])")
_PIECE = re.compile(r"\\.|\$\$\{|%%\{|\$\{|%\{|.", re.DOTALL)
_OPENING = frozenset("{[(")
_CLOSING = frozenset("}])")


class _Line(Struct):
    """One line: the part before `=`, from `=` on, and a comment at its end."""

    lead: str
    assign: str = ""
    comment: str = ""
    brackets: int = 0
    """Brackets that it opens, less those that it closes."""
    verbatim: bool = False
    """Whether it belongs to a heredoc or a block comment."""


def formatted_like(before: str, after: str) -> str:
    """Returns an edited file formatted as far as the file before the edit was."""
    for change in (_formatted, aligned):
        if change(before) == before:
            return change(after)
    return after


def aligned(text: str) -> str:
    """Returns a text of HCL with aligned cells; lines of heredocs and of block comments remain as
    they are.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    return newline.join(_aligned(_lines(text.split(newline))))


def _formatted(text: str) -> str:
    """Returns a whole file with indented lines and aligned cells."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _lines(text.removeprefix("\ufeff").split(newline))
    opened: list[int] = []
    for line in lines:
        if line.verbatim:
            continue
        closed = -line.brackets
        while closed > 0 and opened:
            taken = min(closed, opened[-1])
            opened[-1] -= taken
            closed -= taken
            if not opened[-1]:
                opened.pop()
        line.lead = "  " * len(opened) + line.lead.lstrip(" \t") if line.lead.strip() else line.lead
        if line.brackets > 0:
            opened.append(line.brackets)
    return text[: text.startswith("\ufeff")] + newline.join(_aligned(lines))


def _aligned(lines: Sequence[_Line]) -> list[str]:
    for part in ("assign", "comment"):
        chain: list[_Line] = []
        for line in [*lines, _Line("")]:
            if getattr(line, part):
                chain.append(line)
                continue
            widths = [len(each.lead + (each.assign if part == "comment" else "")) for each in chain]
            for each, width in zip(chain, widths, strict=True):
                missing = " " * (max(widths) + 1 - width)
                if part == "comment" and each.assign:
                    each.assign += missing
                else:
                    each.lead += missing
            chain = []
    return [line.lead + line.assign + line.comment for line in lines]


def _lines(texts: Sequence[str]) -> list[_Line]:
    found: list[_Line] = []
    until = ""
    in_comment = False
    for text in texts:
        if until or in_comment:
            until = "" if text.strip() == until else until
            in_comment = in_comment and "*/" not in text
            line = _Line(text, verbatim=True)
        else:
            line, until, in_comment = _cells(text)
        found.append(line)
    return found


def _cells(text: str) -> tuple[_Line, str, bool]:
    """Splits a line; returns the end of the heredoc that it begins, and whether it begins a block
    comment.
    """
    masked = _masked(text)
    code, end = text[: len(masked)], text[len(masked) :]
    opens = end.startswith("/*") and "*/" not in end
    if not code.strip() or opens:
        return _Line(text), "", opens
    found = _HEREDOC.search(code)
    until = found[1] if found else ""
    equal = next(
        (each.start() for each in _EQUAL.finditer(masked) if masked[: each.start()].strip()), -1
    )
    is_open, net = _balance(masked[equal:]) if equal >= 0 else 0, _balance(masked)
    if is_open:
        code = f"{code[:equal].rstrip()} {code[equal:]}"
    if equal < 0 or is_open:
        return _Line(code.rstrip() if end else code, "", end, net), until, False
    return (
        _Line(code[:equal].rstrip(), code[equal:].rstrip() if end else code[equal:], end, net),
        until,
        False,
    )


def _balance(code: str) -> int:
    return sum((char in _OPENING) - (char in _CLOSING) for char in code)


def _masked(text: str) -> str:
    """Returns a line up to its comment, with the characters of its strings replaced."""
    result, at = "", 0
    quotes: list[int] = []
    """Of each open string the number of braces that its open interpolation has; 0 between
    interpolations.
    """
    while at < len(text):
        if not quotes and text.startswith(("#", "//", "/*"), at):
            break
        found = _PIECE.match(text, at)
        piece = found[0] if found else text[at]
        in_string = bool(quotes) and quotes[-1] == 0
        if piece == '"':
            quotes = quotes[:-1] if in_string else [*quotes, 0]
        elif in_string:
            quotes[-1] += piece in {"${", "%{"}
        elif quotes:
            quotes[-1] += (piece[-1] == "{") - (piece == "}")
        result += piece if not quotes and piece != '"' else "\0" * len(piece)
        at += len(piece)
    return result
