"""How a policy file is laid out, and new text in the same hand.

Writes edits into the text of a policy: one way for brackets, as in JSON, another for blocks of YAML.

Both hand back the whole new text; what an edit does not concern is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from leastpriv.policy.document import Document
from leastpriv.policy.list_writer import Layout
from leastpriv.policy.syntax_tree import Node

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
