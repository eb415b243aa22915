"""YAML in blocks: lists with a dash a line rewritten so that what stays keeps its lines; new text in the same hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import Document
from leastpriv.policy.json_writer import Slots, Splice
from leastpriv.policy.syntax_tree import Member, Node, needs_escapes, place, quoted

_LISTS = ("Action", "NotAction", "Resource", "NotResource")
_KEY_ORDER = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*:[A-Za-z0-9_:./*+=@-]*[A-Za-z0-9_/*]|[A-Za-z][A-Za-z0-9]*")
"""A narrow choice of what YAML takes without quotes: actions, ARNs, words."""
_NOT_STRINGS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""Words that some version of YAML reads as something else."""
_FLOW = re.compile(r"[][{},]")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Hand:
    """The habits of one YAML file."""

    where: str
    """How messages call the file."""
    newline: str
    unit: str
    """White space that one level of mappings adds."""
    dash: str
    """White space before the dashes of a list, beyond that of its key."""
    quote: str
    """Around a new string that needs no quotes: `'`, `"` or none."""
    flow: bool
    """Lists of actions are mostly written in brackets."""
    bare: frozenset[str]
    """Those elements of a statement whose lists of one are mostly written as a string."""


def hand_of(document: Document) -> Hand:
    """Read the habits off a document; where it shows none, those of AWS's own examples."""
    text, nodes = document.text, document.statement_nodes
    members = [member for node in nodes for key in _LISTS if (member := node.member_any_case(key))]
    lists = [member for member in members if member.value.kind == "array" and member.value.items]
    blocks = [member for member in lists if member.value.block]
    top = document.policy.member_any_case("Statement")
    sample = blocks or ([top] if top and top.value.block and top.value.kind == "array" else [])
    strings = [node for member in members for node in (member.value.items or (member.value,)) if node.kind == "string"]
    return Hand(
        where=document.where,
        newline="\r\n" if "\r\n" in text else "\n",
        unit=_unit(text, document),
        dash=" " * (column(text, sample[0].value.start) - column(text, sample[0].start)) if sample else "  ",
        quote=_usual_quote(strings),
        flow=len(lists) > 2 * len(blocks),
        bare=frozenset(key for key in _LISTS if _mostly_bare(nodes, key)),
    )


def like(hand: Hand, value: Node) -> Hand:
    """Return the hand with the quotes of one list's own strings."""
    strings = [node for node in value.items or (value,) if node.kind == "string"]
    return replace(hand, quote=_usual_quote(strings)) if strings else hand


def column(text: str, offset: int) -> int:
    """Return how many characters stand before an offset on its line."""
    return offset - (text.rfind("\n", 0, offset) + 1)


def scalar(text: str, hand: Hand) -> str:
    """Write a string in the file's own quotes, without any where it can do without and mostly does."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_STRINGS
    if plain and not hand.quote:
        return text
    if hand.quote == '"' or "'" in text or needs_escapes(text):
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted(text))
    return f"'{text}'"


def in_brackets(text: str, value: Node, hand: Hand) -> str:
    """Return the text of a string, or of a function in its place, as it can stand in a list in brackets.

    There `{`, `,` and their like end a string without quotes.
    """
    inner = value.members[0].value if value.kind == "object" else value
    written = text[value.start : value.end]
    if inner.kind == "string" and not inner.quote and _FLOW.search(inner.text):
        written = text[value.start : inner.start] + scalar(inner.text, hand) + text[inner.end : value.end]
    return f"{{{written}}}" if value.kind == "object" and not written.startswith(("!", "{")) else written


def list_text(entries: Sequence[str], member: Member, text: str, hand: Hand) -> str:
    """Write strings, each as it will stand in the file, as the value of a key; begins with the key's colon."""
    if hand.flow:
        return f": [{', '.join(entries)}]"
    indent = " " * column(text, member.start) + hand.dash
    return ":" + "".join(f"{hand.newline}{indent}- {entry}" for entry in entries)


def statement_text(statement: Mapping[str, object], indent: str, hand: Hand) -> str:
    """Write a statement as an entry of a list whose dashes are indented by `indent`."""
    keys = [key for key in _KEY_ORDER if key in statement] + [key for key in statement if key not in _KEY_ORDER]
    members = {key: _in_hand(key, statement[key], hand) for key in keys}
    lines = list(_mapping(members, indent + "  ", hand))
    return hand.newline.join([f"{indent}- {lines[0][len(indent) + 2 :]}", *lines[1:]])


def list_splice(text: str, value: Node, written: Mapping[int, str], slots: Slots, hand: Hand) -> Splice:
    """Rewrite a list with a dash a line.

    `written` holds the lines of an entry whose own text changes too; `slots.after` holds whole lines.
    Raises PolicyFileError where the list is laid out as no block list that people write.
    """
    spans = [entry_lines(text, value, number, hand) for number in range(len(value.items))]
    result, gaps = "", list[str]()
    between = [text[one[1] : other[0]] for one, other in pairwise(spans)]
    usual, start, lead = _usual_gap(between, hand), spans[0][0], ""
    if slots.after.get(-1) and 0 not in slots.drop and _comments(between):
        # Where entries have comments above them, that above the first is its own, not that of another one before it.
        start = _above_comments(text, start)
        lead = usual.join(slots.after[-1]) + hand.newline + text[start : spans[0][0]]
        slots = Slots(slots.drop, {place: new for place, new in slots.after.items() if place >= 0})
    for number, (begin, end) in enumerate(spans):
        if entries := slots.entries(number, written.get(number, text[begin:end])):
            result += (_gap(gaps, hand) if result else _leading(gaps, hand)) + usual.join(entries)
            gaps = []
        gaps += [text[end : spans[number + 1][0]]] if number + 1 < len(spans) else []
    if result and _comments(gaps):
        result += _gap(gaps, hand).removesuffix(hand.newline)
    return start, spans[-1][1], lead + result


def _above_comments(text: str, offset: int) -> int:
    """Where the comments begin whose lines end right before an offset, the beginning of a line."""
    while (line := text.rfind("\n", 0, offset - 1) + 1) < offset and text[line:offset].lstrip().startswith("#"):
        offset = line
    return offset


def entry_lines(text: str, value: Node, number: int, hand: Hand) -> tuple[int, int]:
    """Return where the lines of an entry begin and end, the last line end left out; a comment behind it is its own."""
    indent = column(text, value.start)
    begin = text.rfind("\n", 0, value.items[number].start) + 1
    floor = value.items[number - 1].end if number else value.start - indent
    while text[begin : begin + indent + 1] != " " * indent + "-" and begin > floor:
        # The dash may stand on a line of its own.
        begin = text.rfind("\n", 0, begin - 1) + 1
    if text[begin : begin + indent + 1] != " " * indent + "-":
        raise PolicyFileError(
            f"{hand.where}: {place(text, value.start)}: this list is laid out so that it cannot be edited; begin a "
            "line with each dash."
        )
    end = text.find("\n", value.items[number].end)
    end = len(text) if end < 0 else end
    return begin, end - 1 if text[end - 1 : end] == "\r" else end


def _comments(gaps: Sequence[str]) -> bool:
    return any(gap.strip() for gap in gaps)


def _gap(gaps: Sequence[str], hand: Hand) -> str:
    """Make one gap of those around dropped entries: all of their comments, else the largest."""
    if not _comments(gaps):
        return max(gaps, key=lambda gap: gap.count("\n"))
    return gaps[0] + "".join(gap.removeprefix(hand.newline) for gap in gaps[1:])


def _leading(gaps: Sequence[str], hand: Hand) -> str:
    return "".join(gap.removeprefix(hand.newline) for gap in gaps) if _comments(gaps) else ""


def _usual_gap(gaps: Sequence[str], hand: Hand) -> str:
    """The blank lines with which all gaps begin, whatever comments follow."""
    heads = (gap[: len(gap) - len(gap.lstrip())].count("\n") for gap in gaps)
    return hand.newline * max(1, min(heads, default=1))


def _mapping(members: Mapping[str, object], indent: str, hand: Hand) -> Iterator[str]:
    for key, value in members.items():
        yield from _member(indent + (scalar(key, hand) if not _PLAIN.fullmatch(key) else key), value, indent, hand)


def _member(key: str, value: object, indent: str, hand: Hand) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield f"{key}:"
        yield from _mapping(value, indent + hand.unit, hand)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        entries = [_text(entry, hand) for entry in value]
        if hand.flow or not entries:
            yield f"{key}: [{', '.join(entries)}]"
        else:
            yield f"{key}:"
            yield from (f"{indent}{hand.dash}- {entry}" for entry in entries)
    else:
        yield f"{key}: {_text(value, hand)}"


def _text(value: object, hand: Hand) -> str:
    if isinstance(value, str):
        return scalar(value, hand)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key, hand)}: {_text(each, hand)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_text(each, hand) for each in value) + "]"
    raise TypeError(f"a policy holds no {type(value).__name__}")


def _in_hand(key: str, value: object, hand: Hand) -> object:
    if key not in _LISTS:
        return value
    entries = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [value]
    return entries[0] if len(entries) == 1 and key in hand.bare else entries


def _unit(text: str, document: Document) -> str:
    for node in document.statement_nodes:
        condition = node.member_any_case("Condition")
        if condition and condition.value.block and condition.value.members:
            return " " * (column(text, condition.value.start) - column(text, condition.start))
    return "  "


def _usual_quote(strings: Sequence[Node]) -> str:
    """The quotes of strings that could do without."""
    free = [node.quote for node in strings if _PLAIN.fullmatch(node.text) and node.quote in {"", "'", '"'}]
    quote = max(("", "'", '"'), key=free.count)
    if free:
        return quote
    return '"' if any(node.quote == '"' for node in strings) else ""


def _mostly_bare(statements: Sequence[Node], key: str) -> bool:
    values = [value for node in statements if (value := node.get_any_case(key))]
    strings = sum(value.kind != "array" for value in values)
    return strings > sum(len(value.items) == 1 for value in values)
