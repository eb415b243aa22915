"""How a policy file is laid out, and new text in the same hand.

Writes edits into the text of a policy: one way for brackets, as in JSON, another for blocks of YAML.

Both hand back the whole new text; what an edit does not concern is copied.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from leastpriv.policy.document import Document
from leastpriv.policy.syntax_tree import Node, quoted

_LISTS = ("Action", "NotAction", "Resource", "NotResource")
_KEY_ORDER = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
_DEFAULT_UNIT = "  "


def layout_of(document: Document) -> Layout:
    """Read the habits off a document; where it shows none, those of `aws iam get-policy-version`."""
    text, nodes = document.text, document.statement_nodes
    flat = not any(_tall(text, node) for node in nodes or (document.policy,))
    lists = [value for node in nodes for value in _lists(node)]
    sample = next((node for node in nodes if node.members), document.policy)
    return Layout(
        newline="\r\n" if "\r\n" in text else "\n",
        unit=_unit(document),
        colon=_colon(text, sample),
        comma="," if _compact(text, sample) else ", ",
        padding=_padding(text, sample),
        flat=flat,
        tall_one=_mostly_tall(text, [node for node in lists if len(node.items) == 1] or lists, flat),
        tall_several=_mostly_tall(text, [node for node in lists if len(node.items) > 1] or lists, flat),
        bare=frozenset(key for key in _LISTS if _mostly_bare(nodes, key)),
    )


def indentation(text: str, offset: int) -> str:
    """Return the white space at the beginning of the line of `offset`."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip(" \t"))]


def statement_text(statement: Mapping[str, object], indent: str, layout: Layout) -> str:
    """Write a statement whose first line is already indented by `indent`.

    Keys come in the order Sid, Effect, Action, Resource, Condition; lists of one in Action and Resource
    become a string where the file mostly does so, and a string a list where not.
    """
    keys = [key for key in _KEY_ORDER if key in statement] + [key for key in statement if key not in _KEY_ORDER]
    members = {key: _in_hand(key, statement[key], layout) for key in keys}
    return _object_text(members, indent, layout)


def list_text(entries: Sequence[object], indent: str, layout: Layout) -> str:
    """Write a list whose opening bracket stands on a line indented by `indent`."""
    inner = indent + layout.unit
    return entry_list_text([_value_text(entry, inner, layout) for entry in entries], indent, layout)


def entry_list_text(texts: Sequence[str], indent: str, layout: Layout) -> str:
    """Write a list of entries that are text already."""
    tall = layout.tall_one if len(texts) == 1 else layout.tall_several
    return _block("[]", texts, indent, layout, tall and bool(texts))


def statement_list_text(statements: Sequence[str], indent: str, layout: Layout) -> str:
    """Write the list of statements whose texts were written for `indent` and one unit more."""
    return _block("[]", statements, indent, layout, bool(statements) and not layout.flat)


def _value_text(value: object, indent: str, layout: Layout) -> str:
    if isinstance(value, str):
        return layout.spell(value)
    if isinstance(value, Mapping):
        return _object_text(value, indent, layout)
    if isinstance(value, Sequence):
        return list_text(value, indent, layout)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"a policy holds no {type(value).__name__}")


def _object_text(members: Mapping[str, object], indent: str, layout: Layout) -> str:
    inner = indent + layout.unit
    texts = [layout.spell_key(key) + layout.colon + _value_text(value, inner, layout) for key, value in members.items()]
    if layout.flat:
        return "{" + layout.padding + layout.comma.join(texts) + layout.padding + "}"
    return _block("{}", texts, indent, layout, tall=True)


def _block(brackets: str, texts: Sequence[str], indent: str, layout: Layout, tall: bool) -> str:
    if not tall:
        return brackets[0] + layout.comma.join(texts) + brackets[1]
    line = layout.newline + indent
    return brackets[0] + line + layout.unit + ("," + line + layout.unit).join(texts) + line + brackets[1]


def _in_hand(key: str, value: object, layout: Layout) -> object:
    if key not in _LISTS:
        return value
    entries = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [value]
    return entries[0] if len(entries) == 1 and key in layout.bare else entries


def _tall(text: str, node: Node) -> bool:
    return "\n" in text[node.start : node.end]


def _mostly_tall(text: str, lists: Sequence[Node], flat: bool) -> bool:
    if flat or not lists:
        return not flat
    return 2 * sum(_tall(text, node) for node in lists) >= len(lists)


def _lists(statement: Node) -> Iterator[Node]:
    for key in _LISTS:
        value = statement.get_any_case(key)
        if value and value.kind == "array" and value.items:
            yield value


def _mostly_bare(statements: Sequence[Node], key: str) -> bool:
    values = [value for node in statements if (value := node.get_any_case(key))]
    strings = sum(value.kind == "string" for value in values)
    return strings > sum(len(value.items) == 1 for value in values)


def _unit(document: Document) -> str:
    """Compare the first key of an object with the line on which the object opens."""
    text = document.text
    for node in (document.policy, *document.statement_nodes):
        outer = indentation(text, node.start)
        for member in node.members[:1]:
            inner = indentation(text, member.start)
            if _tall_between(text, node.start, member.start) and len(inner) > len(outer):
                return inner[len(outer) :]
    return _DEFAULT_UNIT


def _tall_between(text: str, start: int, end: int) -> bool:
    return "\n" in text[start:end]


def _colon(text: str, node: Node) -> str:
    for member in node.members:
        found = text[member.key_end : member.value.start]
        if "\n" not in found:
            return found
    return ": "


def _compact(text: str, node: Node) -> bool:
    """Tell whether entries on one line follow each other without a blank."""
    return all(text[member.key_end : member.value.start] == ":" for member in node.members) and not _tall(text, node)


def _padding(text: str, node: Node) -> str:
    found = text[node.start + 1 : node.members[0].start] if node.members else ""
    return "" if found.strip(" ") else found


Splice = tuple[int, int, str]
"""Where a part of a text begins and ends, and what stands there instead."""


@dataclass(slots=True)
class Slots:
    """What becomes of the entries of one list: each slot loses its entry, gains followers, or stays."""

    drop: set[int] = field(default_factory=set)
    after: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Slot -> new entries that follow it, those of -1 before the first; texts, or what stands in the file."""

    def entries(self, place: int, written: str) -> list[str]:
        """What stands at a slot afterwards."""
        before = self.after.get(-1, []) if place == 0 else []
        return [*before, *([] if place in self.drop else [written]), *self.after.get(place, [])]


def rewritten(text: str, value: Node, written: Sequence[str], slots: Slots, layout: Layout) -> str:
    """Return the text of a list of which at least one entry remains.

    `written` is the text of each entry; an object in place of a list counts as a list of one.
    """
    if value.kind == "object":
        entries = [*written, *slots.after.get(0, [])]
        return entries[0] if len(entries) == 1 else "[" + layout.comma.join(entries) + "]"
    items = value.items
    lead, tail = text[value.start + 1 : items[0].start], text[items[-1].end : value.end - 1]
    between = [text[one.end : other.start] for one, other in pairwise(items)]
    if any("#" in separator for separator in (lead, *between, tail)):
        return _commented(text, value, written, slots, layout)
    usual = _usual_separator(lead, between, layout)
    result, last = "", -1
    for place, entry in enumerate(written):
        if entries := slots.entries(place, entry):
            result += (lead if last < 0 else _joined(between[last:place])) + usual.join(entries)
            last = place
    return "[" + result + tail + "]"


def spliced(text: str, begin: int, end: int, splices: Sequence[Splice]) -> str:
    """Carry splices out on `text[begin:end]`."""
    result, at = "", begin
    for start, stop, new in sorted(splices):
        result += text[at:start] + new
        at = stop
    return result + text[at:end]


def _usual_separator(lead: str, between: Sequence[str], layout: Layout) -> str:
    if broken := [separator for separator in between if "\n" in separator]:
        return min(broken, key=lambda separator: separator.count("\n"))
    if between:
        return between[0]
    if "\n" in lead:
        return "," + layout.newline + lead[lead.rfind("\n") + 1 :]
    return layout.comma


def _joined(separators: Sequence[str]) -> str:
    """Make one separator of those around dropped entries: the first's end of line, the last's beginning."""
    first, last = separators[0], separators[-1]
    if "\n" not in first or "\n" not in last:
        return first if "\n" in first else last
    if first.count("\n") >= last.count("\n"):
        joined = first[: first.rfind("\n") + 1] + last[last.rfind("\n") + 1 :]
    else:
        joined = first[: first.find("\n") + 1] + last[last.find("\n") + 1 :]
    return joined if joined.count(",") == 1 else first


_LINE_END = re.compile(r"\r?\n")
_GONE = "\0"
"""Marks what was taken out; neither JSON nor YAML has this character in a file."""


def _commented(text: str, value: Node, written: Sequence[str], slots: Slots, layout: Layout) -> str:
    """A list of YAML in which comments stand: entries and commas go, comments never; then lines left blank go.

    Where lines end with an entry and its comment, those that follow it get lines of their own below.
    """
    items, line = value.items, _own_line(text, value, layout)
    standing = [bool(slots.entries(place, entry)) for place, entry in enumerate(written)]
    result = text[value.start : items[0].start]
    for place, item in enumerate(items):
        last = place + 1 == len(items)
        end = value.end if last else items[place + 1].start
        comma = _comma(text, item.end, end)
        head, tail = (text[item.end : comma], text[comma + 1 : end]) if comma >= 0 else ("", text[item.end : end])
        line_end = _LINE_END.search(tail) if line else None
        cut, below = (line_end.start(), slots.after.get(place, [])) if line_end else (0, [])
        here = slots.entries(place, written[place])[: -len(below) or None]
        closing = "," if any(standing[place + 1 :]) or (last and comma >= 0) else ""
        own_closing = "," if here and below else closing if here else ""
        result += (("," + line if line else layout.comma).join(here) or _GONE) + head + (own_closing or _GONE)
        result += tail[:cut] + ",".join(line + entry for entry in below) + (closing if below else "") + tail[cut:]
    lines = result.splitlines(keepends=True)
    return "".join(line.replace(_GONE, "") for line in lines if _GONE not in line or line.replace(_GONE, "").strip())


def _own_line(text: str, value: Node, layout: Layout) -> str:
    """What begins a line of a list that has its first entry on a line of its own; else nothing."""
    before = text[value.start + 1 : value.items[0].start]
    return layout.newline + before[before.rfind("\n") + 1 :] if "\n" in before else ""


def _comma(text: str, start: int, end: int) -> int:
    """Offset of the comma between two entries, not one in a comment."""
    comment = False
    for at in range(start, end):
        comment = text[at] == "#" or (comment and text[at] != "\n")
        if text[at] == "," and not comment:
            return at
    return -1


@dataclass(frozen=True, slots=True)
class Layout:
    """The habits of one file."""

    newline: str
    unit: str
    """White space that one level of nesting adds."""
    colon: str
    """What stands between a key and its value."""
    comma: str
    """What stands between two entries on the same line."""
    padding: str
    """What stands inside the braces of an object on one line."""
    flat: bool
    """A statement is one line."""
    tall_one: bool
    """A list of one entry takes three lines."""
    tall_several: bool
    """A list of several entries has one a line."""
    bare: frozenset[str]
    """Those elements of a statement whose lists of one are mostly written as a string."""
    spell: Callable[[str], str] = quoted
    """Writes a string."""
    spell_key: Callable[[str], str] = quoted
