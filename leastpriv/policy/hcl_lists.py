"""Rewrites a list in HCL: entries, commas and comments that remain keep their text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from leastpriv.policy.json_writer import ListChanges, indentation
from leastpriv.policy.syntax_tree import Node

_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LONGEST_LINE = 100
"""A list on one line that becomes longer gets one entry a line."""
_UNIT = "  "


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry, the comment on its line, and the white space and comments up to the next entry."""

    text: str
    comment: str
    gap: str


def rewrite_tuple(text: str, node: Node, written: Sequence[str], changes: ListChanges) -> str:
    """Returns the text of a list after changes; `written` is the text of each entry."""
    newline = "\r\n" if "\r\n" in text else "\n"
    items = node.items
    if not items:
        entries = [entry for place in sorted(changes.after) for entry in changes.after[place]]
        return list_text(entries, indentation(text, node.start), newline, _fits_line(text, node, entries))
    lead = text[node.start + 1 : items[0].start]
    own_lines = "\n" in lead
    between = newline + indentation(text, items[0].start) if own_lines else " "
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
        list_text([each.text for each in found], indentation(text, node.start), newline, one_line=False)
        if long
        else new
    )


def list_text(entries: Sequence[str], indent: str, newline: str, one_line: bool) -> str:
    """Writes a list on one line, or with one entry a line."""
    if one_line or not entries:
        return f"[{', '.join(entries)}]"
    lines = "".join(f"{newline}{indent}{_UNIT}{entry}," for entry in entries)
    return f"[{lines}{newline}{indent}]"


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
