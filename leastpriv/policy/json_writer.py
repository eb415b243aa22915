"""Writes policy text in brackets, as JSON or YAML flow style, in the layout of the file.

Lists are rewritten so that remaining entries keep their text, separators and comments.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from msgspec import Struct, field

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import LISTS, Document
from leastpriv.policy.syntax_tree import Member, Node, json_string

_KEY_ORDER = ("Sid", "Effect", *LISTS, "Condition")
_DEFAULT_UNIT = "  "


def json_style_of(document: Document) -> JsonStyle:
    """Reads the layout of a document; the default is that of `aws iam get-policy-version`."""
    text = document.text
    statements = document.statement_nodes
    objects = statements or (document.policy,)
    single_line = not any(_is_multiline(text, node) for node in objects)
    lists = _nonempty_lists(statements)
    single = [node for node in lists if len(node.items) == 1]
    several = [node for node in lists if len(node.items) > 1]

    sample = _first_with_members(document)
    colons = [text[member.key_end : member.value.start] for member in sample.members]
    colons_of_line = [colon for colon in colons if "\n" not in colon]
    is_compact = {*colons} <= {":"} and not _is_multiline(text, sample)
    return JsonStyle(
        newline="\r\n" if "\r\n" in text else "\n",
        unit=_unit(document),
        colon=colons_of_line[0] if colons_of_line else ": ",
        comma="," if is_compact else ", ",
        padding=_padding(text, sample),
        single_line=single_line,
        multiline_single=_mostly_multiline(text, single or lists, single_line),
        multiline_several=_mostly_multiline(text, several or lists, single_line),
        string_for_one=strings_for_one(statements),
    )


def _nonempty_lists(statements: Sequence[Node]) -> list[Node]:
    """Returns the lists of actions and resources that have entries."""
    lists: list[Node] = []
    for statement in statements:
        values = [statement.get_any_case(key) for key in LISTS]
        lists.extend(value for value in values if value and value.kind == "array" and value.items)
    return lists


def _first_with_members(document: Document) -> Node:
    for statement in document.statement_nodes:
        if statement.members:
            return statement
    return document.policy


def _padding(text: str, sample: Node) -> str:
    """Returns the blanks between an object's brace and its first key."""
    if not sample.members:
        return ""
    before_key = text[sample.start + 1 : sample.members[0].start]
    return "" if before_key.strip(" ") else before_key


def indentation(text: str, offset: int) -> str:
    """Returns the white space at the beginning of the line of `offset`."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip(" \t"))]


def statement_text(statement: Mapping[str, object], indent: str, style: JsonStyle) -> str:
    """Writes a statement whose first line is already indented by `indent`.

    Keys are in the order Sid, Effect, Action, Resource, Condition. A list of one in Action or
    Resource becomes a string if the file mostly does so, and a string becomes a list otherwise.
    """
    return _object_text(ordered_members(statement, style.string_for_one), indent, style)


def entry_list_text(texts: Sequence[str], indent: str, style: JsonStyle) -> str:
    """Writes a list of entries that are already text; its opening bracket is on a line indented by
    `indent`.
    """
    multiline = style.multiline_single if len(texts) == 1 else style.multiline_several
    return _bracketed("[]", texts, indent, style, multiline and bool(texts))


def statement_list_text(statements: Sequence[str], indent: str, style: JsonStyle) -> str:
    """Writes the list of statements whose texts are indented one unit more than `indent`."""
    return _bracketed("[]", statements, indent, style, bool(statements) and not style.single_line)


def _value_text(value: object, indent: str, style: JsonStyle) -> str:
    if isinstance(value, str):
        return style.spell(value)
    if isinstance(value, Mapping):
        return _object_text(value, indent, style)
    if isinstance(value, Sequence):
        inner = indent + style.unit
        return entry_list_text([_value_text(entry, inner, style) for entry in value], indent, style)
    if isinstance(value, int):
        return json.dumps(value)
    raise TypeError(f"a policy holds no {type(value).__name__}")


def _object_text(members: Mapping[str, object], indent: str, style: JsonStyle) -> str:
    inner = indent + style.unit
    texts = [
        style.spell_key(key) + style.colon + _value_text(value, inner, style)
        for key, value in members.items()
    ]
    if style.single_line:
        return "{" + style.padding + style.comma.join(texts) + style.padding + "}"
    return _bracketed("{}", texts, indent, style, multiline=True)


def _bracketed(
    brackets: str, texts: Sequence[str], indent: str, style: JsonStyle, multiline: bool
) -> str:
    opening = brackets[0]
    closing = brackets[1]
    if not multiline:
        return opening + style.comma.join(texts) + closing
    line = style.newline + indent
    inner_line = line + style.unit
    lines = f",{inner_line}".join(texts)
    return f"{opening}{inner_line}{lines}{line}{closing}"


def ordered_members(
    statement: Mapping[str, object], string_for_one: Collection[str]
) -> dict[str, object]:
    """Returns a statement in the usual order; lists of one in an element of `string_for_one` are
    strings.
    """
    members = {key: statement[key] for key in _KEY_ORDER if key in statement}
    members.update(statement)
    for key in members.keys() & {*LISTS}:
        value = members[key]
        entries = [value]
        if isinstance(value, Sequence) and not isinstance(value, str):
            entries = list(value)
        is_string = len(entries) == 1 and key in string_for_one
        members[key] = entries[0] if is_string else entries
    return members


def map_strings(change: Callable[[str], str], value: object) -> object:
    """Applies a change to a string, or to each string of a list or of the values of an object."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_strings(change, element) for key, element in value.items()}
    if isinstance(value, Sequence):
        return [map_strings(change, element) for element in value]
    return value


def _is_multiline(text: str, node: Node) -> bool:
    return "\n" in text[node.start : node.end]


def _mostly_multiline(text: str, lists: Sequence[Node], single_line: bool) -> bool:
    if single_line or not lists:
        return not single_line
    return 2 * sum(_is_multiline(text, node) for node in lists) >= len(lists)


def strings_for_one(statements: Sequence[Node]) -> frozenset[str]:
    """Returns the elements of statements whose lists of one are mostly written as a string, or as a
    function.
    """
    usual: set[str] = set()
    for key in LISTS:
        values = [value for node in statements if (value := node.get_any_case(key))]
        strings = sum(value.kind != "array" for value in values)
        lists_of_one = sum(len(value.items) == 1 for value in values)
        if strings > lists_of_one:
            usual.add(key)
    return frozenset(usual)


def _unit(document: Document) -> str:
    """Returns how much deeper the first key of an object is than the line that opens the object."""
    text = document.text
    for node in (document.policy, *document.statement_nodes):
        if not node.members:
            continue
        first_key = node.members[0].start
        outer = indentation(text, node.start)
        inner = indentation(text, first_key)
        if "\n" in text[node.start : first_key] and len(inner) > len(outer):
            return inner[len(outer) :]
    return _DEFAULT_UNIT


class Splice(Struct, frozen=True, order=True):
    """A part of a text, and its replacement."""

    start: int
    end: int
    text: str

    @classmethod
    def of_node(cls, node: Node, text: str) -> Splice:
        """Replaces the text of a value."""
        return cls(node.start, node.end, text)


class ListChanges(Struct):
    """Removals and insertions in one list."""

    drop: set[int] = set()
    after: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Index -> new entries after that entry, -1 for before the first; plain strings or their text
    in the file.
    """

    def entries(self, index: int, entry_text: str) -> list[str]:
        """Returns the entries at an index after the changes."""
        before = self.after.get(-1, []) if index == 0 else []
        old_entries = [] if index in self.drop else [entry_text]
        return [*before, *old_entries, *self.after.get(index, [])]

    def entries_of_value(self, entry_text: str) -> list[str]:
        """Returns the entries of the list that replaces a single value, such as a string."""
        old_entries = [] if self.drop else [entry_text]
        return [*old_entries, *self.after.get(0, [])]

    def spelled(self, spell: Callable[[Sequence[str]], list[str]]) -> ListChanges:
        """Returns the changes with the new entries in the spelling of a file."""
        return ListChanges(
            self.drop, {index: spell(entries) for index, entries in self.after.items()}
        )


StatementSplices = Mapping[int, Sequence[Splice]]
"""Index of a statement -> splices in its text."""


class Writer(Protocol):
    """Writes edits as text."""

    def rewrite_list(self, index: int, key: str, changes: ListChanges) -> list[Splice]:
        """Edits an Action or a Resource of a statement; `changes` has plain strings."""

    def replace_key(self, member: Member, key: str, entries: Sequence[str]) -> Splice:
        """Replaces a member of a statement by another key with a list."""

    def rewrite_policy(
        self, splices: StatementSplices, dropped: set[int], appended: Sequence[Mapping[str, object]]
    ) -> str:
        """Returns the whole text with edited, without dropped, and with appended statements."""


def layout_error(document: Document) -> PolicyFileError:
    """Returns the error that no edited text has both the edit and all the rest of a policy.

    The file was readable before the edit, so its owner has no mistake to correct.
    """
    problem = (
        "the change finds no place in the way this file is laid out; write its lists with one"
        " entry a line"
    )
    return PolicyFileError(f"{document.where}: {problem}.")


def reread(document: Document, text: str) -> Document:
    """Reads a policy again from an edited text.

    Raises:
        PolicyFileError: The edited text has no policy.
    """
    try:
        return document.with_text(text)
    except PolicyFileError as error:
        raise layout_error(document) from error


def rewrite_list(
    text: str, value: Node, entry_texts: Sequence[str], changes: ListChanges, style: JsonStyle
) -> str:
    """Returns the text of a list of which at least one entry remains.

    `entry_texts` are those of its entries; an object in place of a list counts as a list of one.
    """
    if value.kind == "object":
        entries = changes.entries_of_value(entry_texts[0])
        return entries[0] if len(entries) == 1 else f"[{style.comma.join(entries)}]"
    nodes = value.items
    lead = text[value.start + 1 : nodes[0].start]
    tail = text[nodes[-1].end : value.end - 1]
    between = [text[node.end : following.start] for node, following in pairwise(nodes)]
    if any("#" in separator for separator in (lead, *between, tail)):
        return _rewrite_commented(text, value, entry_texts, changes, style)
    usual = _usual_separator(lead, between, style)
    new_text = ""
    last_written = -1
    for index, entry in enumerate(entry_texts):
        entries = changes.entries(index, entry)
        if not entries:
            continue
        new_text += lead if last_written < 0 else _joined(between[last_written:index])
        new_text += usual.join(entries)
        last_written = index
    return f"[{new_text}{tail}]"


def apply_splices(text: str, begin: int, end: int, splices: Sequence[Splice]) -> str:
    """Applies splices to `text[begin:end]`."""
    spliced_text = ""
    position = begin
    for splice in sorted(splices):
        spliced_text += text[position : splice.start] + splice.text
        position = splice.end
    return spliced_text + text[position:end]


def _usual_separator(lead: str, between: Sequence[str], style: JsonStyle) -> str:
    """Returns the text between new entries; the shortest one with a line end, if there is one."""
    multiline = [separator for separator in between if "\n" in separator]
    if multiline:
        return min(multiline, key=lambda separator: separator.count("\n"))
    if between:
        return between[0]
    if "\n" in lead:
        return "," + style.newline + lead[lead.rfind("\n") + 1 :]
    return style.comma


def _joined(separators: Sequence[str]) -> str:
    """Joins the separators around removed entries: end of line of the first, beginning of line of
    the last.
    """
    first = separators[0]
    last = separators[-1]
    if "\n" not in first:
        return last
    if "\n" not in last:
        return first
    if first.count("\n") >= last.count("\n"):
        joined = first[: first.rfind("\n") + 1] + last[last.rfind("\n") + 1 :]
    else:
        joined = first[: first.find("\n") + 1] + last[last.find("\n") + 1 :]
    return joined if joined.count(",") == 1 else first


_LINE_END = re.compile(r"\r?\n")
_UP_TO_COMMA = re.compile(r"(?:[^,#]|#[^\n]*+)*+,")
"""Up to the first comma outside comments."""
_REMOVED = "\0"
"""Marks removed text; neither JSON nor YAML allows this character in a file."""


class _Gap(Struct, frozen=True):
    """The text between an entry and the next one or the closing bracket."""

    before_comma: str
    has_comma: bool
    after_comma: str


def _gap(text: str, start: int, end: int) -> _Gap:
    up_to_comma = _UP_TO_COMMA.match(text, start, end)
    if up_to_comma is None:
        return _Gap(before_comma="", has_comma=False, after_comma=text[start:end])
    comma = up_to_comma.end() - 1
    return _Gap(before_comma=text[start:comma], has_comma=True, after_comma=text[comma + 1 : end])


def _rewrite_commented(
    text: str, value: Node, entry_texts: Sequence[str], changes: ListChanges, style: JsonStyle
) -> str:
    """Rewrites a YAML list with comments: removes entries and commas, keeps comments, then removes
    blank lines.

    If lines end with an entry and its comment, following entries get their own lines below.
    """
    entry_nodes = value.items
    lead = text[value.start + 1 : entry_nodes[0].start]
    line = style.newline + lead[lead.rfind("\n") + 1 :] if "\n" in lead else ""
    entries_by_place = [
        changes.entries(position, entry) for position, entry in enumerate(entry_texts)
    ]
    places_with_entries = [position for position, entries in enumerate(entries_by_place) if entries]
    last_place = max(places_with_entries, default=-1)
    ends = [*(next_node.start for next_node in entry_nodes[1:]), value.end]

    new_text = text[value.start : entry_nodes[0].start]
    for index, entry_node in enumerate(entry_nodes):
        gap = _gap(text, entry_node.end, ends[index])
        is_last_item = index + 1 == len(entry_nodes)
        place = _CommentedPlace(
            entries=entries_by_place[index],
            gap=gap,
            has_comma=index < last_place or (is_last_item and gap.has_comma),
        )
        line_end = _LINE_END.search(gap.after_comma) if line else None
        if line_end:
            place = place.with_lines_below(changes.after.get(index, []), line_end.start())
        new_text += place.text(line, style)
    return "".join(_without_removed(new_text.splitlines(keepends=True)))


class _CommentedPlace(Struct, frozen=True):
    """The new text of one entry of a list with comments, up to the next entry or the bracket."""

    entries: Sequence[str]
    """The entries in place of the old one; none if it is removed."""
    gap: _Gap
    has_comma: bool
    """Whether a comma follows the last of the new entries."""
    below: Sequence[str] = ()
    """Further entries, on lines below the comment of the old one."""
    comment_end: int = 0
    """Where the comment ends in the text after the comma."""

    def with_lines_below(self, below: Sequence[str], comment_end: int) -> _CommentedPlace:
        """Returns the place with its last entries, those of `below`, under the comment."""
        return _CommentedPlace(
            entries=self.entries[: len(self.entries) - len(below)],
            gap=self.gap,
            has_comma=self.has_comma,
            below=below,
            comment_end=comment_end,
        )

    def text(self, line: str, style: JsonStyle) -> str:
        """Returns the text, with marks where text was removed.

        Args:
            line: the line end and the indentation of an entry; empty in a list on one line.
            style: the layout of the file.
        """
        separator = f",{line}" if line else style.comma
        last_comma = "," if self.has_comma else ""
        comma = "," if self.below else last_comma
        if not self.entries:
            comma = ""
        new_text = separator.join(self.entries) or _REMOVED
        new_text += self.gap.before_comma
        new_text += comma or _REMOVED
        if not self.below:
            return new_text + self.gap.after_comma
        new_text += self.gap.after_comma[: self.comment_end]
        new_text += ",".join(line + entry for entry in self.below)
        return new_text + last_comma + self.gap.after_comma[self.comment_end :]


def _without_removed(lines: Iterable[str]) -> Iterator[str]:
    """Yields lines without the marks of removed text; a line that had nothing else is left out."""
    for line in lines:
        unmarked_line = line.replace(_REMOVED, "")
        if unmarked_line == line or unmarked_line.strip():
            yield unmarked_line


class JsonStyle(Struct, frozen=True):
    """The layout of one file."""

    newline: str
    unit: str
    """White space that one level of nesting adds."""
    colon: str
    """Text between a key and its value."""
    comma: str
    """Text between two entries on the same line."""
    padding: str
    """Text inside the braces of an object on one line."""
    single_line: bool
    """Whether a statement is one line."""
    multiline_single: bool
    """Whether a list of one entry takes three lines."""
    multiline_several: bool
    """Whether a list of several entries has one a line."""
    string_for_one: frozenset[str]
    """Elements of a statement whose lists of one are mostly written as a string."""
    spell: Callable[[str], str] = json_string
    """Writes a string."""
    spell_key: Callable[[str], str] = json_string


_ONE_STRING = frozenset({"Fn::Sub", "Fn::Join", "Fn::GetAtt"})
"""Functions that return one string, so that other strings can follow; `Ref` or `Fn::If` may return
a list.
"""


def editable_member(document: Document, index: int, key: str, changes: ListChanges) -> Member:
    """Returns the Action or Resource of a statement; raises PolicyFileError where entries cannot be
    added to it.
    """
    member = document.statement_nodes[index].required_member(key)
    value = member.value
    if changes.drop or accepts_entries(document, value):
        return member
    function = value.members[0].key if value.members else value.text
    position = document.source.position(value.start)
    raise PolicyFileError(
        f"{document.where}: {position}: no entry can be added next to this {function} in {key};"
        " write it as a list."
    )


def accepts_entries(document: Document, value: Node) -> bool:
    """Returns whether entries can be added to a value: it must be a string on one line, or a
    literal list.
    """
    if value.kind == "object":
        is_one_line = "\n" not in document.text[value.start : value.end]
        return value.members[0].key in _ONE_STRING and is_one_line
    if value.kind == "array":
        return True
    return document.source.language != "terraform" or not value.text.startswith("${")
