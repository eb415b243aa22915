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


class _Separator(Struct, frozen=True):
    """The text behind an entry."""

    has_comma: bool
    comment: str
    """The comment on the line of the entry, with the white space before it."""
    gap: str
    """White space and comments up to the next entry."""


def rewrite_tuple(text: str, node: Node, entry_texts: Sequence[str], changes: ListChanges) -> str:
    """Returns the text of a list after changes; `entry_texts` are those of its entries."""
    style = ListStyle.of(text)
    indent = indentation(text, node.start)
    if not node.items:
        new = [entry for position in sorted(changes.after) for entry in changes.after[position]]
        return list_text(new, indent, style, one_line=_fits_line(text, node, new))
    entry_nodes = node.items
    lead = text[node.start + 1 : entry_nodes[0].start]
    line = style.newline + indentation(text, entry_nodes[0].start) if "\n" in lead else " "
    ends = [*(next_node.start for next_node in entry_nodes[1:]), node.end - 1]
    has_last_comma = False
    entries: list[_Entry] = []
    for index, entry_node in enumerate(entry_nodes):
        separator = _separator(text[entry_node.end : ends[index]])
        has_last_comma = separator.has_comma
        entries_here = _entries_at(index, entry_texts[index], changes, separator, line)
        if entries_here:
            entries += entries_here
            continue
        is_last = index + 1 == len(entry_nodes)
        if entries:
            gap = _joined(entries[-1].gap, separator.gap, last=is_last)
            entries[-1] = replace(entries[-1], gap=gap)
        else:
            lead = _joined(lead, separator.gap, last=is_last)
    new_text = _tuple_text(lead, entries, has_last_comma)
    is_longer = "\n" not in new_text and any(changes.after.values())
    if is_longer and not _fits_line(text, node, [new_text]):
        return list_text([entry.text for entry in entries], indent, style, one_line=False)
    return new_text


def _entries_at(
    index: int, entry_text: str, changes: ListChanges, separator: _Separator, line: str
) -> list[_Entry]:
    """Returns what an entry becomes; its comment follows it, if it is not removed.

    Args:
        index: The place of the entry.
        entry_text: Its text.
        changes: The changes of the list.
        separator: The text behind it.
        line: The white space before a new entry.
    """
    texts = changes.entries(index, entry_text)
    comments = [""] * len(texts)
    if index not in changes.drop:
        entries_before = changes.after.get(-1, []) if index == 0 else []
        comments[len(entries_before)] = separator.comment
    gaps = [line] * (len(texts) - 1) + [separator.gap]
    return [_Entry(*parts) for parts in zip(texts, comments, gaps, strict=False)]


def _tuple_text(lead: str, entries: Sequence[_Entry], has_last_comma: bool) -> str:
    tuple_text = f"[{lead}"
    for number, entry in enumerate(entries, start=1):
        comma = "," if number < len(entries) or has_last_comma else ""
        tuple_text += entry.text + comma + entry.comment + entry.gap
    return f"{tuple_text}]"


def list_text(entries: Sequence[str], indent: str, style: ListStyle, one_line: bool) -> str:
    """Writes a list on one line, or with one entry a line."""
    if one_line or not entries:
        return f"[{', '.join(entries)}]"
    between = f"{style.newline}{indent}{style.unit}"
    return f"[{between}{f',{between}'.join(entries)}{style.comma}{style.newline}{indent}]"


def _fits_line(text: str, node: Node, entries: Sequence[str]) -> bool:
    before = node.start - text.rfind("\n", 0, node.start)
    return before + sum(len(entry) + 2 for entry in entries) <= _LONGEST_LINE


def _separator(text: str) -> _Separator:
    """Splits the text between two entries."""
    masked = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", "\0", comment[0]), text)
    comma = masked.find(",")
    if comma >= 0:
        text = text[:comma] + text[comma + 1 :]
        masked = masked[:comma] + masked[comma + 1 :]
    line_end = masked.find("\n")
    if line_end < 0:
        return _Separator(has_comma=comma >= 0, comment="", gap=text)
    if line_end and text[line_end - 1] == "\r":
        line_end -= 1
    return _Separator(has_comma=comma >= 0, comment=text[:line_end], gap=text[line_end:])


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
        [map_strings(template_escape("terraform"), statement) for statement in statements],
        as_blocks,
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
    statement_lines = (
        block_lines(statement, "", style, string_text) if as_blocks else value_lines(statement, "")
        for statement in values
    )
    return "\n".join(aligned("\n".join(lines)) for lines in statement_lines) + "\n"


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
    inner = indent + style.unit
    yield f"{indent}statement {{"
    for key, name in BLOCK_NAMES.items():
        value = statement.get(key)
        is_default = key == "Effect" and value == "Allow" and not effect
        if value is not None and not is_default:
            yield f"{inner}{name} = {_argument_text(key, value, inner, style, spell)}"
    conditions = statement.get("Condition", {})
    if isinstance(conditions, Mapping):
        for operator, values_by_key in conditions.items():
            for key, values in values_by_key.items():
                yield from _condition_lines(operator, key, values, inner, style)
    yield f"{indent}}}"


def _argument_text(
    key: str, value: Any, indent: str, style: ListStyle, spell: Callable[[str], str]
) -> str:
    """Writes the value of an argument of a block: a text, an expression, or a list."""
    is_text = key in {"Sid", "Effect"}
    if isinstance(value, str) and (is_text or _EXPRESSION.fullmatch(value)):
        return string_text(value)
    entries = [value] if isinstance(value, str) else value
    texts = [spell(entry) for entry in entries]
    return list_text(texts, indent, style, one_line=len(texts) == 1)


def _condition_lines(
    operator: str, key: str, values: Any, indent: str, style: ListStyle
) -> Iterator[str]:
    """Writes a block with one condition."""
    inner = indent + style.unit
    values = values if isinstance(values, list) else [values]
    texts = [value_lines(value, "")[0] for value in values]
    yield ""
    yield f"{indent}condition {{"
    yield f"{inner}test = {string_text(operator)}"
    yield f"{inner}variable = {string_text(key)}"
    yield f"{inner}values = [{', '.join(texts)}]"
    yield f"{indent}}}"


def value_lines(value: Any, indent: str) -> list[str]:
    """Returns the lines of a value; the first is not indented."""
    inner = f"{indent}  "
    if isinstance(value, str):
        return [string_text(value)]
    if isinstance(value, Mapping):
        lines = []
        for key, member in value.items():
            name = key if _IDENTIFIER.fullmatch(key) else string_text(key)
            first, *following_lines = value_lines(member, inner)
            lines += [f"{inner}{name} = {first}", *following_lines]
        return ["{", *lines, f"{indent}}}"]
    if isinstance(value, Sequence):
        lines = []
        for element in value:
            first, *following_lines = value_lines(element, inner)
            lines += [f"{inner}{first}", *following_lines]
            lines[-1] += ","
        return ["[", *lines, f"{indent}]"] if lines else ["[]"]
    return [json.dumps(value)]


def string_text(text: str) -> str:
    """Writes a string that is a single expression as that expression, any other string as a
    template.
    """
    expression = _EXPRESSION.fullmatch(text)
    if expression:
        return expression[1]
    parts = _EXPRESSION.split(text)
    parts[::2] = [escaped_text(part) for part in parts[::2]]
    parts[1::2] = [f"${{{part}}}" for part in parts[1::2]]
    return f'"{"".join(parts)}"'


def escaped_text(text: str) -> str:
    """Escapes a literal part
    (https://developer.hashicorp.com/terraform/language/expressions/strings).
    """

    def escape(match: re.Match[str]) -> str:
        if match[0] in _WRITTEN_ESCAPES:
            return _WRITTEN_ESCAPES[match[0]]
        point = ord(match[0])
        return f"\\u{point:04x}" if point < _WIDE else f"\\U{point:08x}"

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
    open_brackets: list[int] = []
    for line in lines:
        if line.verbatim:
            continue
        closed = -line.brackets
        while closed > 0 and open_brackets:
            taken = min(closed, open_brackets[-1])
            open_brackets[-1] -= taken
            closed -= taken
            if not open_brackets[-1]:
                open_brackets.pop()
        line.lead = (
            "  " * len(open_brackets) + line.lead.lstrip(" \t") if line.lead.strip() else line.lead
        )
        if line.brackets > 0:
            open_brackets.append(line.brackets)
    return text[: text.startswith("\ufeff")] + newline.join(_aligned(lines))


def _aligned(lines: Sequence[_Line]) -> list[str]:
    for part in ("assign", "comment"):
        chain: list[_Line] = []
        for line in [*lines, _Line("")]:
            if getattr(line, part):
                chain.append(line)
                continue
            widths = [
                len(aligned_line.lead + (aligned_line.assign if part == "comment" else ""))
                for aligned_line in chain
            ]
            for chained_line, width in zip(chain, widths, strict=True):
                missing = " " * (max(widths) + 1 - width)
                if part == "comment" and chained_line.assign:
                    chained_line.assign += missing
                else:
                    chained_line.lead += missing
            chain = []
    return [line.lead + line.assign + line.comment for line in lines]


def _lines(texts: Sequence[str]) -> list[_Line]:
    lines: list[_Line] = []
    heredoc_end = ""
    in_comment = False
    for text in texts:
        if heredoc_end:
            lines.append(_Line(text, verbatim=True))
            if text.strip() == heredoc_end:
                heredoc_end = ""
        elif in_comment:
            lines.append(_Line(text, verbatim=True))
            in_comment = "*/" not in text
        else:
            masked = _masked(text)
            code = text[: len(masked)]
            in_comment = _opens_comment(text[len(code) :])
            lines.append(_Line(text) if in_comment else _line_of_code(text, masked))
            heredoc = None if in_comment else _HEREDOC.search(code)
            heredoc_end = heredoc[1] if heredoc else ""
    return lines


def _opens_comment(comment: str) -> bool:
    """Returns whether a block comment does not end on its line."""
    return comment.startswith("/*") and "*/" not in comment


def _line_of_code(text: str, masked: str) -> _Line:
    """Splits a line at its `=` and before its comment, which are aligned with those of the lines
    around it.

    A line whose value goes on in the next one is not aligned. `masked` is the line as `_masked`
    returns it.
    """
    code = text[: len(masked)]
    comment = text[len(masked) :]
    if not code.strip():
        return _Line(text)
    if comment:
        code = code.rstrip()
    brackets = _balance(masked)
    equal = _equal_sign(masked)
    if equal < 0:
        return _Line(code, "", comment, brackets)
    name = code[:equal].rstrip()
    value = code[equal:]
    is_value_complete = _balance(masked[equal:]) == 0
    if is_value_complete:
        return _Line(name, value, comment, brackets)
    return _Line(f"{name} {value}", "", comment, brackets)


def _equal_sign(masked: str) -> int:
    """Returns the offset of the first `=` with text before it; -1 without one."""
    for equal in _EQUAL.finditer(masked):
        if masked[: equal.start()].strip():
            return equal.start()
    return -1


def _balance(code: str) -> int:
    """Returns the number of opening brackets without the number of closing ones."""
    return sum((char in _OPENING) - (char in _CLOSING) for char in code)


def _masked(text: str) -> str:
    """Returns a line up to its comment, with the characters of its strings replaced."""
    masked_text, position = "", 0
    quotes: list[int] = []
    """Of each open string the number of braces that its open interpolation has; 0 between
    interpolations.
    """
    while position < len(text):
        if not quotes and text.startswith(("#", "//", "/*"), position):
            break
        match = _PIECE.match(text, position)
        piece = match[0] if match else text[position]
        in_string = bool(quotes) and quotes[-1] == 0
        if piece == '"':
            quotes = quotes[:-1] if in_string else [*quotes, 0]
        elif in_string:
            quotes[-1] += piece in {"${", "%{"}
        elif quotes:
            quotes[-1] += (piece[-1] == "{") - (piece == "}")
        masked_text += piece if not quotes and piece != '"' else "\0" * len(piece)
        position += len(piece)
    return masked_text
