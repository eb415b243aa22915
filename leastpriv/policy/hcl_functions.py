"""Terraform's functions over nodes: each returns None if its result cannot be known.

https://developer.hashicorp.com/terraform/language/functions, read 2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.policy.syntax_tree import Member, Node, minified, read_json
from leastpriv.policy.template_functions import (
    is_one_expression,
    known_text,
    parts_of,
    template_escape,
)

Function = Callable[..., Node | None]
_escape = template_escape("terraform")


def text_node(text: str) -> Node:
    """Returns a known text."""
    return Node("string", 0, 0, _escape(text))


def plain_text(node: Node) -> str | None:
    """Returns the text of a known scalar; None for any other value."""
    if node.kind == "string":
        return known_text(parts_of(node, "terraform", None) or ())
    return node.text if node.kind == "number" or node.text in {"true", "false"} else None


def is_known(node: Node) -> bool:
    """Returns whether a value has no unknown part."""
    if node.kind == "string":
        return plain_text(node) is not None
    return all(map(is_known, node.items)) and all(is_known(member.value) for member in node.members)


def is_unknown(node: Node) -> bool:
    """Returns whether nothing of a value is known, also not whether it is a list."""
    return node.kind == "string" and is_one_expression(node.text)


def _array(items: Iterable[Node]) -> Node:
    return Node("array", 0, 0, items=tuple(items))


def _entries(node: Node) -> Sequence[Node]:
    """Returns the entries of a list; an unknown list is one unknown entry."""
    return (node,) if is_unknown(node) else node.items


def _lists(function: Callable[..., Node | None], *, known: int | None = None) -> Function:
    """Returns a function that needs lists; those from the index `known` on must be known in
    full.
    """

    def checked(*arguments: Node) -> Node | None:
        needed = arguments[len(arguments) if known is None else known :]
        if (
            not arguments
            or any(node.kind != "array" for node in arguments)
            or not all(map(is_known, needed))
        ):
            return None
        return function(*arguments)

    return checked


def _texts(function: Callable[..., Node | None], count: int) -> Function:
    """Returns a function that needs the texts of `count` known scalars."""

    def checked(*arguments: Node) -> Node | None:
        texts = [plain_text(node) for node in arguments]
        return None if len(texts) != count or None in texts else function(*texts)

    return checked


def _one_text(change: Callable[..., str], count: int = 1) -> Function:
    return _texts(lambda *texts: text_node(change(*texts)), count)


def truth_node(value: bool) -> Node:
    """Returns the literal of a truth value."""
    return Node("literal", 0, 0, "true" if value else "false")


def _concat(*arguments: Node) -> Node | None:
    if any(node.kind != "array" and not is_unknown(node) for node in arguments):
        return None
    return _array(entry for node in arguments for entry in _entries(node))


def _flat(node: Node) -> Iterable[Node]:
    if node.kind != "array":
        return (node,)
    return (each for item in node.items for each in _flat(item))


def _unique(node: Node) -> Node:
    found: dict[str, Node] = {}
    for item in node.items:
        found.setdefault(minified(item), item)
    return _array(found.values())


def _sorted(node: Node) -> Node:
    return _array(sorted(node.items, key=lambda item: plain_text(item) or ""))


_IN_ANY_ORDER = "set"
"""Text of an array whose entries may have other places."""


def _to_set(node: Node) -> Node:
    """Returns a set in the order in which Terraform iterates over it; marked where an unknown entry
    hides its place.
    """
    found = _sorted(_unique(node))
    hides = len(found.items) > 1 and any(plain_text(item) is None for item in found.items)
    return replace(found, text=_IN_ANY_ORDER) if hides else found


def has_places(node: Node) -> bool:
    """Returns whether a node is a list whose entries have known places; an unknown entry may be
    several.
    """
    return (
        node.kind == "array" and node.text != _IN_ANY_ORDER and not any(map(is_unknown, node.items))
    )


def _set_union(*arguments: Node) -> Node | None:
    joined = _concat(*arguments)
    return _to_set(joined) if joined else None


def _set_difference(first: Node, *others: Node) -> Node:
    """Returns the entries of the first list that no other has; an unknown may take any away."""
    gone = {minified(item) for node in others for item in node.items}
    return _to_set(_array(item for item in first.items if minified(item) not in gone))


def _set_intersection(first: Node, *others: Node) -> Node:
    common = [{minified(item) for item in node.items} for node in others]
    return _to_set(
        _array(item for item in first.items if all(minified(item) in each for each in common))
    )


def _join(delimiter: Node, *lists: Node) -> Node | None:
    items = [item for node in lists for item in _entries(node)]
    if any(node.text == _IN_ANY_ORDER for node in lists if node.kind == "array"):
        return None
    # An unknown entry may be several, with delimiters between them: the unknown has their place.
    if any(item.kind in {"array", "object"} for item in items) or plain_text(delimiter) is None:
        return None
    return Node("string", 0, 0, delimiter.text.join(item.text for item in items))


_VERB = re.compile(r"%(?:([sdv])|(%)|(.))", re.DOTALL)


def _format(form: Node, *values: Node) -> Node | None:
    pattern = plain_text(form)
    verbs = [found for found in _VERB.finditer(pattern or "") if not found[2]]
    if pattern is None or any(found[3] for found in verbs) or len(verbs) != len(values):
        return None
    if any(value.kind in {"array", "object"} or value.text == "null" for value in values):
        return None
    found = _VERB.split(pattern)
    result, rest = "", iter(values)
    for place in range(0, len(found), 4):
        result += _escape(found[place])
        if place + 1 < len(found):
            result += "%" if found[place + 2] else next(rest).text
    return Node("string", 0, 0, result)


def _format_list(*arguments: Node) -> Node | None:
    lengths = {len(node.items) for node in arguments if node.kind == "array"}
    if any(map(is_unknown, arguments)) or len(lengths) != 1:
        return None
    rows = [
        _format(*(node.items[place] if node.kind == "array" else node for node in arguments))
        for place in range(lengths.pop())
    ]
    return None if None in rows else _array(row for row in rows if row)


def _replace(text: str, old: str, new: str) -> Node | None:
    is_pattern = len(old) > 1 and old[0] == old[-1] == "/"
    return None if is_pattern else text_node(text.replace(old, new))


def _coalesce(*arguments: Node) -> Node | None:
    found = next(
        (node for node in arguments if is_unknown(node) or node.text not in {"", "null"}), None
    )
    return None if found is None or is_unknown(found) else found


def _coalesce_list(*arguments: Node) -> Node | None:
    found = next((node for node in arguments if is_unknown(node) or node.items), None)
    return None if found is None or any(map(is_unknown, (found, *found.items))) else found


def _lookup(collection: Node, key: Node, default: Node | None = None) -> Node | None:
    name = plain_text(key)
    return None if collection.kind != "object" or name is None else collection.get(name) or default


def _merge(*arguments: Node) -> Node | None:
    members = {member.key: member for node in arguments for member in node.members}
    is_made = all(node.kind == "object" for node in arguments)
    return Node("object", 0, 0, members=tuple(members.values())) if is_made else None


def _of_members(read: Callable[[Member], Node]) -> Function:
    """Returns a function that lists the members of an object in the order of their keys."""
    return lambda node: (
        _array(map(read, sorted(node.members, key=lambda member: member.key)))
        if node.kind == "object"
        else None
    )


def _zip_map(keys: Node, values: Node) -> Node | None:
    names = [plain_text(key) for key in keys.items]
    if len(names) != len(values.items) or any(map(is_unknown, values.items)) or None in names:
        return None
    members = {
        name: Member(name, 0, 0, value)
        for name, value in zip(names, values.items, strict=True)
        if name
    }
    return Node("object", 0, 0, members=tuple(members.values()))


def _element(node: Node, place: Node) -> Node | None:
    index = plain_text(place)
    if index is None or not node.items or not has_places(node):
        return None
    return node.items[int(index) % len(node.items)]


def _length(node: Node) -> Node | None:
    if node.kind == "string":
        text = plain_text(node)
        return None if text is None else Node("number", 0, 0, str(len(text)))
    if any(map(is_unknown, node.items)):
        return None
    return Node("number", 0, 0, str(len(node.items) + len(node.members)))


def _contains(node: Node, wanted: Node) -> Node | None:
    if node.kind != "array" or not is_known(wanted):
        return None
    if any(plain_text(item) == plain_text(wanted) for item in node.items):
        return truth_node(True)
    return truth_node(False) if is_known(node) else None


def _json_decode(node: Node) -> Node | None:
    text = plain_text(node)
    try:
        return (
            node
            if node.kind in {"object", "array"}
            else None
            if text is None
            else read_json(text, "")
        )
    except PolicyFileError:
        return None


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "chomp": _one_text(lambda text: text.rstrip("\r\n")),
        "coalesce": _coalesce,
        "coalescelist": _coalesce_list,
        "compact": _lists(
            lambda node: _array(item for item in node.items if item.text not in {"", "null"})
        ),
        "concat": _concat,
        "contains": _contains,
        "distinct": _lists(_unique),
        "element": _element,
        "endswith": _texts(lambda text, end: truth_node(text.endswith(end)), 2),
        "flatten": _lists(lambda node: _array(_flat(node))),
        "format": _format,
        "formatlist": _format_list,
        "join": _join,
        "jsondecode": _json_decode,
        # Where JSON text is read, the value itself counts.
        "jsonencode": lambda node: node if node.kind in {"object", "array"} else None,
        "keys": _of_members(lambda member: text_node(member.key)),
        "length": _length,
        "lookup": _lookup,
        "lower": _one_text(str.lower),
        "merge": _merge,
        "nonsensitive": lambda node: node,
        "one": lambda node: (
            node.items[0] if len(node.items) == 1 and not is_unknown(node.items[0]) else None
        ),
        "replace": _texts(_replace, 3),
        "reverse": _lists(lambda node: _array(reversed(node.items))),
        "sensitive": lambda node: node,
        "setintersection": _lists(_set_intersection, known=0),
        "setsubtract": _lists(_set_difference, known=1),
        "setunion": _set_union,
        "sort": _lists(_sorted, known=0),
        "split": _texts(
            lambda delimiter, text: (
                _array(map(text_node, text.split(delimiter))) if delimiter else None
            ),
            2,
        ),
        "startswith": _texts(lambda text, start: truth_node(text.startswith(start)), 2),
        "tolist": lambda node: node if node.kind in {"array", "object"} else None,
        "tomap": lambda node: node if node.kind in {"array", "object"} else None,
        "toset": _lists(_to_set),
        "tostring": _one_text(str),
        "trim": _one_text(lambda text, chars: text.strip(chars), 2),
        "trimprefix": _one_text(str.removeprefix, 2),
        "trimspace": _one_text(str.strip),
        "trimsuffix": _one_text(str.removesuffix, 2),
        # A failure of the first argument shows as an unknown.
        "try": lambda first, *_: first if is_known(first) else None,
        "upper": _one_text(str.upper),
        "values": _of_members(lambda member: member.value),
        "zipmap": _lists(_zip_map),
    }
)
