"""Terraform's functions over nodes: each returns None if its result cannot be known.

https://developer.hashicorp.com/terraform/language/functions, read 2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
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
    """Returns whether a value has no unknown part, and no expression may leave a part out."""
    if node.kind == "choice" or node.depends_on:
        return False
    if node.kind == "string":
        return plain_text(node) is not None
    return all(map(is_known, node.items)) and all(is_known(member.value) for member in node.members)


def is_unknown(node: Node) -> bool:
    """Returns whether nothing of a value is known, also not whether it is a list."""
    return node.kind == "string" and is_one_expression(node.text)


def array(elements: Iterable[Node]) -> Node:
    """Returns a list that an expression makes."""
    return Node("array", 0, 0, items=tuple(elements))


def entries_of(node: Node) -> Sequence[Node]:
    """Returns the entries of a list; an unknown list is one unknown entry."""
    return (node,) if is_unknown(node) else node.items


def _lists(function: Callable[..., Node | None]) -> Function:
    """Returns a function that needs lists."""

    def checked(*arguments: Node) -> Node | None:
        if not arguments or any(node.kind != "array" for node in arguments):
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
    return array(entry for node in arguments for entry in entries_of(node))


def _flat(node: Node) -> Iterable[Node]:
    if node.kind != "array":
        return (node,)
    leaves = (leaf for element in node.items for leaf in _flat(element))
    if not node.depends_on:
        return leaves
    return (replace(leaf, depends_on=leaf.depends_on or node.depends_on) for leaf in leaves)


def _unique(node: Node) -> Node:
    elements_by_text: dict[str, Node] = {}
    for element in node.items:
        text = minified(element)
        if text not in elements_by_text or elements_by_text[text].depends_on:
            elements_by_text[text] = element
    return array(elements_by_text.values())


def _compact(node: Node) -> Node:
    """Returns a list without empty texts; of a choice the other texts remain."""
    elements: list[Node] = []
    for element in node.items:
        if element.kind != "choice":
            if element.text not in _EMPTY:
                elements.append(element)
            continue
        alternatives = tuple(
            alternative for alternative in element.items if alternative.text not in _EMPTY
        )
        cause = "" if len(alternatives) == len(element.items) else element.text
        choices = _one_of(alternatives, element.text)
        elements += (replace(choice, depends_on=choice.depends_on or cause) for choice in choices)
    return array(elements)


def _one_of(alternatives: tuple[Node, ...], cause: str) -> tuple[Node, ...]:
    """Returns a choice of some values, none for no value."""
    return (
        alternatives
        if len(alternatives) <= 1
        else (Node("choice", 0, 0, cause, items=alternatives),)
    )


_EMPTY = frozenset({"", "null"})


def _sorted(node: Node) -> Node:
    sorted_list = array(sorted(node.items, key=lambda item: plain_text(item) or ""))
    return sorted_list if all(map(is_known, sorted_list.items)) else in_any_order(sorted_list)


_IN_ANY_ORDER = "set"
"""Text of an array whose entries may have other places."""


def in_any_order(node: Node) -> Node:
    """Returns a list whose entries may have other places."""
    return replace(node, text=_IN_ANY_ORDER) if len(node.items) > 1 else node


def _to_set(node: Node) -> Node:
    """Returns a set in the order in which Terraform iterates over it; marked where an unknown entry
    hides its place.
    """
    return _sorted(_unique(node))


def has_places(node: Node) -> bool:
    """Returns whether a node is a list whose entries have known places; an unknown entry may be
    several.
    """
    if node.kind != "array" or node.text == _IN_ANY_ORDER:
        return False
    if any(is_unknown(element) or element.depends_on for element in node.items):
        return False
    return all(has_places(element) for element in node.items if element.kind == "array")


def _set_union(*arguments: Node) -> Node | None:
    joined = _concat(*arguments)
    return _to_set(joined) if joined else None


def _part_of(node: Node, cause: str) -> Node:
    """Returns a list of which only a part may remain."""
    return array(replace(element, depends_on=element.depends_on or cause) for element in node.items)


def _chosen(elements: Iterable[Node], function: str) -> Node:
    """Returns the entries that a function takes out of a list; an edit may change its choice."""
    reason = f"{function} takes a part of the list"
    return array(replace(element, fixed=element.fixed or reason) for element in elements)


def _set_difference(first: Node, *others: Node) -> Node:
    """Returns the entries of the first list that no other has; an unknown may take any away."""
    gone = {minified(element) for node in others for element in node.items if is_known(element)}
    difference = _chosen(
        (element for element in first.items if minified(element) not in gone), "setsubtract"
    )
    if not all(map(is_known, (*others, *first.items))):
        return _to_set(_part_of(difference, "setsubtract"))
    return _to_set(difference)


def _set_intersection(first: Node, *others: Node) -> Node:
    if not all(map(is_known, (first, *others))):
        return _to_set(_part_of(first, "setintersection"))
    common = [{minified(element) for element in node.items} for node in others]
    intersection = [
        element for element in first.items if all(minified(element) in texts for texts in common)
    ]
    return _to_set(_chosen(intersection, "setintersection"))


def _slice(node: Node, start: Node, end: Node) -> Node | None:
    if node.kind != "array":
        return None
    bounds = plain_text(start), plain_text(end)
    if not has_places(node) or bounds[0] is None or bounds[1] is None:
        return _part_of(node, "slice")
    return _chosen(node.items[int(bounds[0]) : int(bounds[1])], "slice")


def _join(delimiter: Node, *lists: Node) -> Node | None:
    entries = [entry for node in lists for entry in entries_of(node)]
    if any(node.text == _IN_ANY_ORDER for node in lists if node.kind == "array"):
        return None
    # An unknown entry may be several, with delimiters between them: the unknown has their place.
    if plain_text(delimiter) is None or any(map(_is_no_text, entries)):
        return None
    return Node("string", 0, 0, delimiter.text.join(entry.text for entry in entries))


def _is_no_text(node: Node) -> bool:
    return node.kind in {"array", "object", "choice"} or bool(node.depends_on)


_VERB = re.compile(r"%(?:([sdv])|(%)|(.))", re.DOTALL)


def _format(form: Node, *values: Node) -> Node | None:
    pattern = plain_text(form)
    if pattern is None or any(_is_no_text(value) or value.text == "null" for value in values):
        return None
    # Of each verb the letter, `%%`, or another form, between literal texts.
    first, *parts = _VERB.split(pattern)
    verbs = [letter for letter in parts[::4] if letter]
    if any(parts[2::4]) or len(verbs) != len(values):
        return None
    remaining_values = iter(values)
    text = _escape(first)
    for letter, literal in zip(parts[::4], parts[3::4], strict=True):
        text += next(remaining_values).text if letter else "%"
        text += _escape(literal)
    return Node("string", 0, 0, text)


def _format_list(*arguments: Node) -> Node | None:
    lists = [node for node in arguments if node.kind == "array"]
    lengths = {len(node.items) for node in lists}
    elements = chain.from_iterable(node.items for node in lists)
    if len(lengths) != 1 or any(map(is_unknown, (*arguments, *elements))):
        return None
    if len(lists) > 1 and not all(map(has_places, lists)):
        return None
    rows: list[Node] = []
    for index in range(lengths.pop()):
        entries = [node.items[index] if node.kind == "array" else node for node in arguments]
        row = _format(*(replace(entry, depends_on="") for entry in entries))
        if row is None:
            return None
        causes = [entry.depends_on for entry in entries if entry.depends_on]
        rows.append(replace(row, depends_on=causes[0] if causes else ""))
    return array(rows)


def _replace(text: str, old: str, new: str) -> Node | None:
    is_pattern = len(old) > 1 and old[0] == old[-1] == "/"
    return None if is_pattern else text_node(text.replace(old, new))


def _coalesce(*arguments: Node) -> Node | None:
    first_value = next(
        (node for node in arguments if is_unknown(node) or node.text not in _EMPTY), None
    )
    return None if first_value is None or is_unknown(first_value) else first_value


def _coalesce_list(*arguments: Node) -> Node | None:
    """Returns the first list with an entry; one that may be empty may be skipped."""
    possible: list[Node] = []
    for node in arguments:
        if node.kind != "array":
            return None
        possible += node.items
        if any(not element.depends_on for element in node.items):
            break
    certain = possible and not any(element.depends_on for element in possible)
    return array(possible) if certain else _part_of(array(possible), "coalescelist")


def _merge(*arguments: Node) -> Node | None:
    members = {member.key: member for node in arguments for member in node.members}
    is_made = all(node.kind == "object" for node in arguments)
    return Node("object", 0, 0, members=tuple(members.values())) if is_made else None


def _of_members(read: Callable[[Member], Node]) -> Function:
    """Returns a function that lists the members of an object in the order of their keys."""
    return lambda node: (
        array(map(read, sorted(node.members, key=lambda member: member.key)))
        if node.kind == "object"
        else None
    )


def _zip_map(keys: Node, values: Node) -> Node | None:
    names = [plain_text(key) for key in keys.items]
    if len(names) != len(values.items) or not (has_places(keys) and has_places(values)):
        return None
    if None in names:
        return None
    members = {
        name: Member(name, 0, 0, value)
        for name, value in zip(names, values.items, strict=True)
        if name
    }
    return Node("object", 0, 0, members=tuple(members.values()))


def _element(node: Node, index_node: Node) -> Node | None:
    index = plain_text(index_node)
    if index is None or not node.items or not has_places(node):
        return None
    return node.items[int(index) % len(node.items)]


def _length(node: Node) -> Node | None:
    if node.kind == "string":
        text = plain_text(node)
        return None if text is None else Node("number", 0, 0, str(len(text)))
    if any(is_unknown(element) or element.depends_on for element in node.items):
        return None
    return Node("number", 0, 0, str(len(node.items) + len(node.members)))


def _contains(node: Node, value: Node) -> Node | None:
    if node.kind != "array" or not is_known(value):
        return None
    certain = [element for element in node.items if not element.depends_on]
    if any(plain_text(element) == plain_text(value) for element in certain):
        return truth_node(True)
    return truth_node(False) if is_known(node) else None


def _json_decode(node: Node) -> Node | None:
    if node.kind in {"object", "array"}:
        return node
    text = plain_text(node)
    if text is None:
        return None
    try:
        return known_value(read_json(text, ""))
    except PolicyFileError:
        return None


def known_value(node: Node) -> Node:
    """Returns a value of a JSON file in Terraform's spelling."""
    text = text_node(node.text).text if node.kind == "string" else node.text
    return replace(
        node,
        text=text,
        items=tuple(map(known_value, node.items)),
        members=tuple(replace(member, value=known_value(member.value)) for member in node.members),
    )


def _one(node: Node) -> Node | None:
    """Returns the only entry of a list."""
    if len(node.items) != 1 or is_unknown(node.items[0]):
        return None
    return replace(node.items[0], depends_on="")


def _split_text(delimiter: str, text: str) -> Node | None:
    return array(map(text_node, text.split(delimiter))) if delimiter else None


def _same(node: Node) -> Node:
    return node


def _if_collection(node: Node) -> Node | None:
    return node if node.kind in {"array", "object"} else None


def size_of_result(name: str, arguments: Sequence[Node]) -> int:
    """Returns about how many characters the result of a function has."""
    sizes = [_size_of_texts(node) for node in arguments]
    size = sum(sizes)
    match name, arguments:
        case "replace", [text, old, new]:
            return sizes[0] + text.text.count(old.text) * len(new.text)
    if name == "join" and arguments:
        entries = sum(len(node.items) for node in arguments[1:])
        return size + entries * sizes[0]
    if name == "formatlist":
        rows = max((len(node.items) for node in arguments), default=0)
        return size + rows * sum(_size_of_texts(node) for node in arguments if not node.items)
    return size


def _size_of_texts(node: Node) -> int:
    return len(node.text) + sum(len(element.text) for element in node.items)


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "chomp": _one_text(lambda text: text.rstrip("\r\n")),
        "coalesce": _coalesce,
        "coalescelist": _coalesce_list,
        "compact": _lists(_compact),
        "concat": _concat,
        "contains": _contains,
        "distinct": _lists(_unique),
        "element": _element,
        "endswith": _texts(lambda text, end: truth_node(text.endswith(end)), 2),
        "flatten": _lists(lambda node: array(_flat(node))),
        "format": _format,
        "formatlist": _format_list,
        "join": _join,
        "jsondecode": _json_decode,
        # Where JSON text is read, the value itself counts.
        "jsonencode": _if_collection,
        "keys": _of_members(lambda member: text_node(member.key)),
        "length": _length,
        "lower": _one_text(str.lower),
        "merge": _merge,
        "nonsensitive": _same,
        "one": _one,
        "replace": _texts(_replace, 3),
        "reverse": _lists(lambda node: array(reversed(node.items))),
        "sensitive": _same,
        "setintersection": _lists(_set_intersection),
        "setsubtract": _lists(_set_difference),
        "setunion": _set_union,
        "slice": _slice,
        "sort": _lists(_sorted),
        "split": _texts(_split_text, 2),
        "startswith": _texts(lambda text, start: truth_node(text.startswith(start)), 2),
        "tolist": _if_collection,
        "tomap": _if_collection,
        "toset": _lists(_to_set),
        "tostring": _one_text(str),
        "trim": _one_text(lambda text, chars: text.strip(chars), 2),
        "trimprefix": _one_text(str.removeprefix, 2),
        "trimspace": _one_text(str.strip),
        "trimsuffix": _one_text(str.removesuffix, 2),
        "upper": _one_text(str.upper),
        "values": _of_members(lambda member: member.value),
        "zipmap": _lists(_zip_map),
    }
)
