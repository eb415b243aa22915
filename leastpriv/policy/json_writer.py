"""Writes policy text in brackets, as JSON or YAML flow style, in the layout of the file.

Lists are rewritten so that remaining entries keep their text, separators and comments.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
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
    text, nodes = document.text, document.statement_nodes
    single_line = not any(_is_multiline(text, node) for node in nodes or (document.policy,))
    values = [node.get_any_case(key) for node in nodes for key in LISTS]
    lists = [value for value in values if value and value.kind == "array" and value.items]
    sample = next((node for node in nodes if node.members), document.policy)
    found = text[sample.start + 1 : sample.members[0].start] if sample.members else ""
    colons = [text[member.key_end : member.value.start] for member in sample.members]
    compact = {*colons} <= {":"} and not _is_multiline(text, sample)
    single, several = (
        [node for node in lists if (len(node.items) > 1) is more] for more in (False, True)
    )
    return JsonStyle(
        newline="\r\n" if "\r\n" in text else "\n",
        unit=_unit(document),
        colon=next((colon for colon in colons if "\n" not in colon), ": "),
        comma="," if compact else ", ",
        padding="" if found.strip(" ") else found,
        single_line=single_line,
        multiline_single=_mostly_multiline(text, single or lists, single_line),
        multiline_several=_mostly_multiline(text, several or lists, single_line),
        string_for_one=strings_for_one(nodes),
    )


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
    if not multiline:
        return brackets[0] + style.comma.join(texts) + brackets[1]
    line = style.newline + indent
    return (
        brackets[0] + line + style.unit + ("," + line + style.unit).join(texts) + line + brackets[1]
    )


def ordered_members(
    statement: Mapping[str, object], string_for_one: Collection[str]
) -> dict[str, object]:
    """Returns a statement in the usual order; lists of one in an element of `string_for_one` are
    strings.
    """
    found = {key: statement[key] for key in _KEY_ORDER if key in statement} | dict(statement)
    for key in found.keys() & {*LISTS}:
        value = found[key]
        entries = (
            [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
        )
        found[key] = entries[0] if len(entries) == 1 and key in string_for_one else entries
    return found


def map_strings(change: Callable[[str], str], value: object) -> object:
    """Applies a change to a string, or to each string of a list or of the values of an object."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_strings(change, item) for key, item in value.items()}
    return [map_strings(change, item) for item in value] if isinstance(value, Sequence) else value


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
    values = {
        key: [value for node in statements if (value := node.get_any_case(key))] for key in LISTS
    }
    return frozenset(
        key
        for key, found in values.items()
        if sum(value.kind != "array" for value in found)
        > sum(len(value.items) == 1 for value in found)
    )


def _unit(document: Document) -> str:
    """Returns how much deeper the first key of an object is than the line that opens the object."""
    text = document.text
    for node in filter(lambda node: node.members, (document.policy, *document.statement_nodes)):
        outer, inner = indentation(text, node.start), indentation(text, node.members[0].start)
        if "\n" in text[node.start : node.members[0].start] and len(inner) > len(outer):
            return inner[len(outer) :]
    return _DEFAULT_UNIT


Splice = tuple[int, int, str]
"""Start and end of a part of a text, and its replacement."""


class ListChanges(Struct):
    """Removals and insertions in one list."""

    drop: set[int] = set()
    after: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Index -> new entries after that entry, -1 for before the first; plain strings or their text
    in the file.
    """

    def entries(self, place: int, written: str) -> list[str]:
        """Returns the entries at an index after the changes."""
        before = self.after.get(-1, []) if place == 0 else []
        return [*before, *([] if place in self.drop else [written]), *self.after.get(place, [])]


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
    text: str, value: Node, written: Sequence[str], changes: ListChanges, style: JsonStyle
) -> str:
    """Returns the text of a list of which at least one entry remains.

    `written` is the text of each entry; an object in place of a list counts as a list of one.
    """
    if value.kind == "object":
        entries = [*written, *changes.after.get(0, [])]
        return entries[0] if len(entries) == 1 else "[" + style.comma.join(entries) + "]"
    items = value.items
    lead, tail = text[value.start + 1 : items[0].start], text[items[-1].end : value.end - 1]
    between = [text[one.end : other.start] for one, other in pairwise(items)]
    if any("#" in separator for separator in (lead, *between, tail)):
        return _commented(text, value, written, changes, style)
    usual = _usual_separator(lead, between, style)
    result, last = "", -1
    for place, entry in enumerate(written):
        if entries := changes.entries(place, entry):
            result += (lead if last < 0 else _joined(between[last:place])) + usual.join(entries)
            last = place
    return "[" + result + tail + "]"


def apply_splices(text: str, begin: int, end: int, splices: Sequence[Splice]) -> str:
    """Applies splices to `text[begin:end]`."""
    result, at = "", begin
    for start, stop, new in sorted(splices):
        result += text[at:start] + new
        at = stop
    return result + text[at:end]


def _usual_separator(lead: str, between: Sequence[str], style: JsonStyle) -> str:
    if broken := [separator for separator in between if "\n" in separator]:
        return min(broken, key=lambda separator: separator.count("\n"))
    if between:
        return between[0]
    if "\n" in lead:
        return "," + style.newline + lead[lead.rfind("\n") + 1 :]
    return style.comma


def _joined(separators: Sequence[str]) -> str:
    """Joins the separators around removed entries: end of line of the first, beginning of line of
    the last.
    """
    first, last = separators[0], separators[-1]
    if "\n" not in first or "\n" not in last:
        return first if "\n" in first else last
    if first.count("\n") >= last.count("\n"):
        joined = first[: first.rfind("\n") + 1] + last[last.rfind("\n") + 1 :]
    else:
        joined = first[: first.find("\n") + 1] + last[last.find("\n") + 1 :]
    return joined if joined.count(",") == 1 else first


_LINE_END = re.compile(r"\r?\n")
_UP_TO_COMMA = re.compile(r"(?:[^,#]|#[^\n]*+)*+,")
"""Up to the first comma outside comments."""
_GONE = "\0"
"""Marks removed text; neither JSON nor YAML allows this character in a file."""


def _commented(
    text: str, value: Node, written: Sequence[str], changes: ListChanges, style: JsonStyle
) -> str:
    """Rewrites a YAML list with comments: removes entries and commas, keeps comments, then removes
    blank lines.

    If lines end with an entry and its comment, following entries get their own lines below.
    """
    before = text[value.start + 1 : value.items[0].start]
    items, line = (
        value.items,
        style.newline + before[before.rfind("\n") + 1 :] if "\n" in before else "",
    )
    standing = [bool(changes.entries(place, entry)) for place, entry in enumerate(written)]
    result = text[value.start : items[0].start]
    for place, item in enumerate(items):
        last = place + 1 == len(items)
        end = value.end if last else items[place + 1].start
        found = _UP_TO_COMMA.match(text, item.end, end)
        comma = found.end() - 1 if found else -1
        head, tail = (
            (text[item.end : comma], text[comma + 1 : end])
            if comma >= 0
            else ("", text[item.end : end])
        )
        line_end = _LINE_END.search(tail) if line else None
        cut, below = (line_end.start(), changes.after.get(place, [])) if line_end else (0, [])
        here = changes.entries(place, written[place])[: -len(below) or None]
        closing = "," if any(standing[place + 1 :]) or (last and comma >= 0) else ""
        own_closing = ""
        if here:
            own_closing = "," if below else closing
        result += (
            (("," + line if line else style.comma).join(here) or _GONE)
            + head
            + (own_closing or _GONE)
        )
        result += (
            tail[:cut]
            + ",".join(line + entry for entry in below)
            + (closing if below else "")
            + tail[cut:]
        )
    lines = result.splitlines(keepends=True)
    return "".join(
        line.replace(_GONE, "")
        for line in lines
        if _GONE not in line or line.replace(_GONE, "").strip()
    )


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
    if not changes.drop and not accepts_entries(document, value):
        function = value.members[0].key if value.members else value.text
        at = f"{document.where}: {document.source.position(value.start)}"
        raise PolicyFileError(
            f"{at}: no entry can be added next to this {function} in {key}; write it as a list."
        )
    return member


def accepts_entries(document: Document, value: Node) -> bool:
    """Returns whether entries can be added to a value: it must be a string on one line, or a
    literal list.
    """
    if value.kind != "object":
        return (
            value.kind == "array"
            or document.source.language != "terraform"
            or not value.text.startswith("${")
        )
    return (
        value.members[0].key in _ONE_STRING and "\n" not in document.text[value.start : value.end]
    )
