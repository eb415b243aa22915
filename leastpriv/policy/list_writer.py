"""Rewrite a list in brackets: entries that remain keep their text, separators and comments."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from leastpriv.policy.syntax_tree import Node, quoted

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
