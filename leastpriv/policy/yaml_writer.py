"""Writes policy text in YAML blocks in the style of the file; remaining list entries keep their
lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import LISTS, Document
from leastpriv.policy.json_writer import (
    ListChanges,
    Splice,
    StatementSplices,
    apply_splices,
    editable_member,
    json_style_of,
    ordered_members,
    rewrite_list,
    strings_for_one,
)
from leastpriv.policy.syntax_tree import Member, Node, json_string, needs_escapes, position

_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9_-]*:[A-Za-z0-9_:./*+=@-]*[A-Za-z0-9_/*]|[A-Za-z][A-Za-z0-9]*"
)
"""Some of the strings that YAML reads without quotes: actions, ARNs, single words."""
_NOT_STRINGS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Strings that some YAML version reads as another type."""
_FLOW = re.compile(r"[][{},]")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class YamlStyle(Struct, frozen=True):
    """The style of one YAML file."""

    where: str
    """Name of the file in messages."""
    newline: str
    unit: str
    """White space that one level of mappings adds."""
    dash: str
    """White space before the dashes of a list, relative to its key."""
    quote: str
    """Quotes around a new string that needs none: `'`, `"` or empty."""
    flow: bool
    """Whether lists of actions are mostly in brackets."""
    string_for_one: frozenset[str]
    """Elements of a statement whose lists of one are mostly written as a string."""


class BlockWriter:
    """Writes statements in YAML blocks; see `Writer`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.style = yaml_style_of(document)

    def rewrite_list(self, index: int, key: str, changes: ListChanges) -> list[Splice]:
        """Edits an Action or a Resource; a string becomes a list if necessary."""
        member = editable_member(self.document, index, key, changes)
        value, list_style = member.value, with_quotes_of(self.style, member.value)
        after = {
            place: [scalar(entry, list_style) for entry in found]
            for place, found in changes.after.items()
        }
        if value.kind == "array" and value.block:
            indent = " " * column(self.text, value.start)
            lines = {
                place: [f"{indent}- {entry}" for entry in found] for place, found in after.items()
            }
            return [list_splice(self.text, value, {}, ListChanges(changes.drop, lines), self.style)]
        written = [self.text[item.start : item.end] for item in value.items or (value,)]
        if value.kind == "array":
            style, own = json_style_of(self.document), ListChanges(changes.drop, after)
            return [(value.start, value.end, rewrite_list(self.text, value, written, own, style))]
        entries = ([] if changes.drop else written) + after.get(0, [])
        if len(entries) == 1:
            return [(value.start, value.end, entries[0])]
        if not self.document.statement_nodes[index].block:
            return [(value.start, value.end, f"[{', '.join(entries)}]")]
        if self.style.flow and not changes.drop:
            entries[0] = flow_text(self.text, value, list_style)
        return [(member.key_end, value.end, list_text(entries, member, self.text, self.style))]

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a key and writes its list in the file's style."""
        texts = [scalar(entry, self.style) for entry in entries]
        if len(texts) == 1 and member.value.kind != "array":
            return member.start, member.value.end, f"{key}: {texts[0]}"
        in_line = (
            member.value.kind == "array" and "\n" not in self.text[member.start : member.value.end]
        )
        new = (
            f": [{', '.join(texts)}]"
            if in_line
            else list_text(texts, member, self.text, self.style)
        )
        return member.start, member.value.end, key + new

    def rewrite_policy(
        self, splices: StatementSplices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""
        member, text, style = (
            self.document.policy.required_member("Statement"),
            self.text,
            self.style,
        )
        value, number = member.value, len(self.document.statement_nodes)
        is_list, indent = value.kind == "array", " " * column(text, value.start)
        if len(dropped) == number and not (appended and is_list and number):
            # A list of only new statements begins at the key's colon.
            end = (
                entry_lines(text, value, number - 1, style)[1] if is_list and number else value.end
            )
            indent = " " * column(text, member.start) + style.dash
            entries = (style.newline + statement_text(each, indent, style) for each in appended)
            new = (member.key_end, end, ":" + ("".join(entries) or " []"))
        elif is_list:
            written = {
                index: apply_splices(text, *entry_lines(text, value, index, style), found)
                for index, found in splices.items()
            }
            changes = ListChanges(dropped)
            changes.after[number - 1] += [statement_text(each, indent, style) for each in appended]
            new = list_splice(text, value, written, changes, style)
        elif appended:
            # A single statement becomes the first entry of a list.
            begin = value.start - len(indent)
            lines = apply_splices(text, begin, value.end, splices.get(0, ())).split("\n")
            rest = (f"  {line}" if line.strip() else line for line in lines[1:])
            own = "\n".join([f"{indent}- {lines[0][len(indent) :]}", *rest])
            added = (statement_text(each, indent, style) for each in appended)
            new = (begin, value.end, style.newline.join([own, *added]))
        else:
            return apply_splices(text, 0, len(text), splices.get(0, ()))
        return apply_splices(text, 0, len(text), [new])


def yaml_style_of(document: Document) -> YamlStyle:
    """Reads the style of a document; the default is that of AWS's examples."""
    text, nodes = document.text, document.statement_nodes
    members = [member for node in nodes for key in LISTS if (member := node.member_any_case(key))]
    lists = [member for member in members if member.value.kind == "array" and member.value.items]
    blocks = [member for member in lists if member.value.block]
    top = document.policy.member_any_case("Statement")
    sample = blocks or ([top] if top and top.value.block and top.value.kind == "array" else [])
    strings = [
        node
        for member in members
        for node in (member.value.items or (member.value,))
        if node.kind == "string"
    ]
    return YamlStyle(
        where=document.where,
        newline="\r\n" if "\r\n" in text else "\n",
        unit=_unit(text, document),
        dash=" " * (column(text, sample[0].value.start) - column(text, sample[0].start))
        if sample
        else "  ",
        quote=_usual_quote(strings),
        flow=len(lists) > 2 * len(blocks),
        string_for_one=strings_for_one(nodes),
    )


def with_quotes_of(style: YamlStyle, value: Node) -> YamlStyle:
    """Returns the style with the quotes of one list's strings."""
    strings = [node for node in value.items or (value,) if node.kind == "string"]
    return replace(style, quote=_usual_quote(strings)) if strings else style


def column(text: str, offset: int) -> int:
    """Returns the number of characters before an offset on its line."""
    return offset - (text.rfind("\n", 0, offset) + 1)


def scalar(text: str, style: YamlStyle) -> str:
    """Writes a string in the file's quotes, or without quotes if possible and usual in the file."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_STRINGS
    if plain and not style.quote:
        return text
    if style.quote == '"' or "'" in text or needs_escapes(text):
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json_string(text))
    return f"'{text}'"


def flow_text(text: str, value: Node, style: YamlStyle) -> str:
    """Returns the text of a string, or of a function in its place, for a list in brackets.

    There `{`, `,` and similar characters end a string without quotes.
    """
    inner = value.members[0].value if value.kind == "object" else value
    written = text[value.start : value.end]
    if inner.kind == "string" and not inner.quote and _FLOW.search(inner.text):
        written = (
            text[value.start : inner.start]
            + scalar(inner.text, style)
            + text[inner.end : value.end]
        )
    return (
        f"{{{written}}}"
        if value.kind == "object" and not written.startswith(("!", "{"))
        else written
    )


def list_text(entries: Sequence[str], member: Member, text: str, style: YamlStyle) -> str:
    """Writes entries, already in the file's spelling, as the value of a key, from the key's colon
    on.
    """
    if style.flow:
        return f": [{', '.join(entries)}]"
    indent = " " * column(text, member.start) + style.dash
    return ":" + "".join(f"{style.newline}{indent}- {entry}" for entry in entries)


def statement_text(statement: Mapping[str, object], indent: str, style: YamlStyle) -> str:
    """Writes a statement as an entry of a list whose dashes are indented by `indent`."""
    lines = list(_mapping(ordered_members(statement, style.string_for_one), indent + "  ", style))
    return style.newline.join([f"{indent}- {lines[0][len(indent) + 2 :]}", *lines[1:]])


def list_splice(
    text: str, value: Node, written: Mapping[int, str], changes: ListChanges, style: YamlStyle
) -> Splice:
    """Rewrites a list with one dash a line.

    `written` has the lines of entries whose text changes too; `changes.after` has whole lines.
    Raises PolicyFileError if the layout of the list cannot be edited.
    """
    spans = [entry_lines(text, value, number, style) for number in range(len(value.items))]
    result, separators = "", list[str]()
    between = [text[one[1] : other[0]] for one, other in pairwise(spans)]
    heads = (
        separator[: len(separator) - len(separator.lstrip())].count("\n") for separator in between
    )
    usual, start, lead = style.newline * max(1, min(heads, default=1)), spans[0][0], ""
    if changes.after.get(-1) and 0 not in changes.drop and _have_comments(between):
        # In a list with comments above entries, the comment above the first entry belongs to that
        # entry.
        while (line := text.rfind("\n", 0, start - 1) + 1) < start and text[
            line:start
        ].lstrip().startswith("#"):
            start = line
        lead = usual.join(changes.after[-1]) + style.newline + text[start : spans[0][0]]
        changes = ListChanges(
            changes.drop, {place: new for place, new in changes.after.items() if place >= 0}
        )
    for number, (begin, end) in enumerate(spans):
        if entries := changes.entries(number, written.get(number, text[begin:end])):
            if result:
                result += _joined_separator(separators, style)
            elif _have_comments(separators):
                result += "".join(separator.removeprefix(style.newline) for separator in separators)
            result += usual.join(entries)
            separators = []
        separators += [text[end : spans[number + 1][0]]] if number + 1 < len(spans) else []
    if result and _have_comments(separators):
        result += _joined_separator(separators, style).removesuffix(style.newline)
    return start, spans[-1][1], lead + result


def entry_lines(text: str, value: Node, number: int, style: YamlStyle) -> tuple[int, int]:
    """Returns start and end of an entry's lines without the last line end; a comment after the
    entry is part of it.
    """
    indent = column(text, value.start)
    begin = text.rfind("\n", 0, value.items[number].start) + 1
    floor = value.items[number - 1].end if number else value.start - indent
    while text[begin : begin + indent + 1] != " " * indent + "-" and begin > floor:
        # The dash may be on the line above.
        begin = text.rfind("\n", 0, begin - 1) + 1
    if text[begin : begin + indent + 1] != " " * indent + "-":
        problem = "this list is laid out so that it cannot be edited; begin a line with each dash"
        raise PolicyFileError(f"{style.where}: {position(text, value.start)}: {problem}.")
    end = text.find("\n", value.items[number].end)
    end = len(text) if end < 0 else end
    return begin, end - 1 if text[end - 1 : end] == "\r" else end


def _have_comments(separators: Sequence[str]) -> bool:
    return any(separator.strip() for separator in separators)


def _joined_separator(separators: Sequence[str], style: YamlStyle) -> str:
    """Joins the separators around removed entries: all their comments, else the largest
    separator.
    """
    if not _have_comments(separators):
        return max(separators, key=lambda separator: separator.count("\n"))
    return separators[0] + "".join(
        separator.removeprefix(style.newline) for separator in separators[1:]
    )


def _mapping(members: Mapping[str, object], indent: str, style: YamlStyle) -> Iterator[str]:
    for key, value in members.items():
        name = indent + (key if _PLAIN.fullmatch(key) else scalar(key, style))
        if isinstance(value, Mapping):
            yield f"{name}:"
            yield from _mapping(value, indent + style.unit, style)
        elif isinstance(value, str) or not isinstance(value, Sequence) or style.flow or not value:
            yield f"{name}: {_text(value, style)}"
        else:
            yield f"{name}:"
            yield from (f"{indent}{style.dash}- {_text(entry, style)}" for entry in value)


def _text(value: object, style: YamlStyle) -> str:
    if isinstance(value, str):
        return scalar(value, style)
    if isinstance(value, int):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(
                f"{scalar(key, style)}: {_text(each, style)}" for key, each in value.items()
            )
            + "}"
        )
    if isinstance(value, Sequence):
        return "[" + ", ".join(_text(each, style) for each in value) + "]"
    raise TypeError(f"a policy holds no {type(value).__name__}")


def _unit(text: str, document: Document) -> str:
    for node in document.statement_nodes:
        condition = node.member_any_case("Condition")
        if condition and condition.value.block and condition.value.members:
            return " " * (column(text, condition.value.start) - column(text, condition.start))
    return "  "


def _usual_quote(strings: Sequence[Node]) -> str:
    """Returns the usual quotes of strings that need none."""
    free = [
        node.quote
        for node in strings
        if _PLAIN.fullmatch(node.text) and node.quote in {"", "'", '"'}
    ]
    quote = max(("", "'", '"'), key=free.count)
    if free:
        return quote
    return '"' if any(node.quote == '"' for node in strings) else ""
