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
        value = member.value
        style = with_quotes_of(self.style, value)
        changes = changes.spelled(lambda entries: [scalar(entry, style) for entry in entries])
        if value.kind == "array":
            return [self._edited_entries(value, changes)]
        entries = changes.entries_of_value(self._source(value))
        if len(entries) == 1:
            return [Splice.of_node(value, entries[0])]
        if not self.document.statement_nodes[index].block:
            return [Splice.of_node(value, f"[{', '.join(entries)}]")]
        if self.style.flow and not changes.drop:
            entries[0] = flow_text(self.text, value, style)
        new = list_text(entries, member, self.text, self.style)
        return [Splice(member.key_end, value.end, new)]

    def _edited_entries(self, value: Node, changes: ListChanges) -> Splice:
        """Edits a list in blocks or in brackets."""
        if value.block:
            dash = " " * column(self.text, value.start) + "- "
            lines = changes.spelled(lambda entries: [dash + entry for entry in entries])
            return list_splice(self.text, value, {}, lines, self.style)
        entry_texts = [self._source(entry) for entry in value.items]
        style = json_style_of(self.document)
        return Splice.of_node(value, rewrite_list(self.text, value, entry_texts, changes, style))

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a key and writes its list in the file's style."""
        texts = [scalar(entry, self.style) for entry in entries]
        value = member.value
        if len(texts) == 1 and value.kind != "array":
            return Splice(member.start, value.end, f"{key}: {texts[0]}")
        is_one_line = "\n" not in self.text[member.start : value.end]
        if value.kind == "array" and is_one_line:
            return Splice(member.start, value.end, f"{key}: [{', '.join(texts)}]")
        new = list_text(texts, member, self.text, self.style)
        return Splice(member.start, value.end, key + new)

    def rewrite_policy(
        self, splices: StatementSplices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""
        member = self.document.policy.required_member("Statement")
        is_list = member.value.kind == "array"
        count = len(self.document.statement_nodes)
        has_lines_to_replace = bool(appended and is_list and count)
        if len(dropped) == count and not has_lines_to_replace:
            splice = self._new_list(member, appended)
        elif is_list:
            splice = self._edited_list(member.value, splices, dropped, appended)
        elif appended:
            splice = self._list_with_single(member.value, splices.get(0, ()), appended)
        else:
            return apply_splices(self.text, 0, len(self.text), splices.get(0, ()))
        return apply_splices(self.text, 0, len(self.text), [splice])

    def _new_list(self, member: Member, appended: Sequence[Mapping[str, object]]) -> Splice:
        """Writes a list of only new statements, from the key's colon on."""
        value = member.value
        end = value.end
        count = len(self.document.statement_nodes)
        if value.kind == "array" and count:
            end = entry_lines(self.text, value, count - 1, self.style).end
        indent = " " * column(self.text, member.start) + self.style.dash
        texts = (
            self.style.newline + statement_text(statement, indent, self.style)
            for statement in appended
        )
        return Splice(member.key_end, end, ":" + ("".join(texts) or " []"))

    def _edited_list(
        self,
        value: Node,
        splices: StatementSplices,
        dropped: set[int],
        appended: Sequence[Mapping[str, object]],
    ) -> Splice:
        statement_texts: dict[int, str] = {}
        for index, statement_splices in splices.items():
            lines = entry_lines(self.text, value, index, self.style)
            statement_texts[index] = apply_splices(
                self.text, lines.start, lines.end, statement_splices
            )
        indent = " " * column(self.text, value.start)
        changes = ListChanges(dropped)
        changes.after[len(value.items) - 1] += [
            statement_text(statement, indent, self.style) for statement in appended
        ]
        return list_splice(self.text, value, statement_texts, changes, self.style)

    def _list_with_single(
        self, value: Node, splices: Sequence[Splice], appended: Sequence[Mapping[str, object]]
    ) -> Splice:
        """Makes a single statement the first entry of a list."""
        indent = " " * column(self.text, value.start)
        start = value.start - len(indent)
        first, *following_lines = apply_splices(self.text, start, value.end, splices).split("\n")
        lines = [f"{indent}- {first[len(indent) :]}"]
        lines.extend(f"  {line}" if line.strip() else line for line in following_lines)
        new = [statement_text(statement, indent, self.style) for statement in appended]
        return Splice(start, value.end, self.style.newline.join(["\n".join(lines), *new]))

    def _source(self, node: Node) -> str:
        return self.text[node.start : node.end]


def yaml_style_of(document: Document) -> YamlStyle:
    """Reads the style of a document; the default is that of AWS's examples."""
    text = document.text
    statements = document.statement_nodes
    members = [
        member for node in statements for key in LISTS if (member := node.member_any_case(key))
    ]
    lists = [member for member in members if member.value.kind == "array" and member.value.items]
    blocks = [member for member in lists if member.value.block]
    strings: list[Node] = []
    for member in members:
        nodes = member.value.items or (member.value,)
        strings.extend(node for node in nodes if node.kind == "string")
    return YamlStyle(
        where=document.where,
        newline="\r\n" if "\r\n" in text else "\n",
        unit=_unit(text, document),
        dash=_dash_indentation(document, blocks),
        quote=_usual_quote(strings),
        flow=len(lists) > 2 * len(blocks),
        string_for_one=strings_for_one(statements),
    )


def _dash_indentation(document: Document, blocks: Sequence[Member]) -> str:
    """Returns the white space before the dashes of the first list in blocks, relative to its
    key.
    """
    sample = blocks[0] if blocks else document.policy.member_any_case("Statement")
    if not sample or not sample.value.block or sample.value.kind != "array":
        return "  "
    text = document.text
    return " " * (column(text, sample.value.start) - column(text, sample.start))


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
    is_function = value.kind == "object"
    inner = value.members[0].value if is_function else value
    source_text = text[value.start : value.end]
    if inner.kind == "string" and not inner.quote and _FLOW.search(inner.text):
        quoted = scalar(inner.text, style)
        source_text = text[value.start : inner.start] + quoted + text[inner.end : value.end]
    if is_function and not source_text.startswith(("!", "{")):
        return f"{{{source_text}}}"
    return source_text


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


class _Lines(Struct, frozen=True):
    """Start and end of an entry's lines, without the last line end."""

    start: int
    end: int


def list_splice(
    text: str, value: Node, entry_texts: Mapping[int, str], changes: ListChanges, style: YamlStyle
) -> Splice:
    """Rewrites a list with one dash a line.

    `entry_texts` has the lines of entries whose text changes too; `changes.after` has whole lines.
    Raises PolicyFileError if the layout of the list cannot be edited.
    """
    spans = [entry_lines(text, value, number, style) for number in range(len(value.items))]
    between = [text[lines.end : following.start] for lines, following in pairwise(spans)]
    separator = style.newline * _usual_line_ends(between)
    start = spans[0].start
    lead = ""
    new_first = changes.after.get(-1)
    if new_first and 0 not in changes.drop and _have_comments(between):
        # In a list with comments above entries, the comment above the first entry belongs to that
        # entry.
        start = _start_with_comments(text, start)
        lead = separator.join(new_first) + style.newline + text[start : spans[0].start]
        after = {index: entries for index, entries in changes.after.items() if index >= 0}
        changes = ListChanges(changes.drop, after)

    new_text = ""
    separators: list[str] = []
    for number, lines in enumerate(spans):
        unchanged = text[lines.start : lines.end]
        entries = changes.entries(number, entry_texts.get(number, unchanged))
        if entries:
            if new_text:
                new_text += _joined_separator(separators, style)
            elif _have_comments(separators):
                new_text += "".join(gap.removeprefix(style.newline) for gap in separators)
            new_text += separator.join(entries)
            separators = []
        separators += between[number : number + 1]
    if new_text and _have_comments(separators):
        new_text += _joined_separator(separators, style).removesuffix(style.newline)
    return Splice(start, spans[-1].end, lead + new_text)


def _usual_line_ends(separators: Sequence[str]) -> int:
    """Returns the fewest line ends between two entries, before any comment; at least one."""
    counts: list[int] = []
    for separator in separators:
        white_space = separator[: len(separator) - len(separator.lstrip())]
        counts.append(white_space.count("\n"))
    return max(1, min(counts, default=1))


def _start_with_comments(text: str, start: int) -> int:
    """Returns the start of the comments right above a line, or the line's own start."""
    while start:
        line = text.rfind("\n", 0, start - 1) + 1
        if not text[line:start].lstrip().startswith("#"):
            break
        start = line
    return start


def entry_lines(text: str, value: Node, number: int, style: YamlStyle) -> _Lines:
    """Returns start and end of an entry's lines without the last line end; a comment after the
    entry is part of it.
    """
    indent = column(text, value.start)
    dash = " " * indent + "-"
    start = text.rfind("\n", 0, value.items[number].start) + 1
    floor = value.items[number - 1].end if number else value.start - indent
    while not text.startswith(dash, start) and start > floor:
        # The dash may be on the line above.
        start = text.rfind("\n", 0, start - 1) + 1
    if not text.startswith(dash, start):
        problem = "this list is laid out so that it cannot be edited; begin a line with each dash"
        raise PolicyFileError(f"{style.where}: {position(text, value.start)}: {problem}.")
    end = text.find("\n", value.items[number].end)
    if end < 0:
        end = len(text)
    if text[end - 1 : end] == "\r":
        end -= 1
    return _Lines(start, end)


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
        members = (
            f"{scalar(key, style)}: {_text(element, style)}" for key, element in value.items()
        )
        return f"{{{', '.join(members)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_text(element, style) for element in value)}]"
    raise TypeError(f"a policy holds no {type(value).__name__}")


def _unit(text: str, document: Document) -> str:
    for node in document.statement_nodes:
        condition = node.member_any_case("Condition")
        if condition and condition.value.block and condition.value.members:
            return " " * (column(text, condition.value.start) - column(text, condition.start))
    return "  "


def _usual_quote(strings: Sequence[Node]) -> str:
    """Returns the usual quotes of strings that need none."""
    plain = [node for node in strings if _PLAIN.fullmatch(node.text)]
    quotes = [node.quote for node in plain if node.quote in {"", "'", '"'}]
    if quotes:
        return max(("", "'", '"'), key=quotes.count)
    return '"' if any(node.quote == '"' for node in strings) else ""
