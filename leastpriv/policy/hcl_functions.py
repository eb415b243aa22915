"""Terraform's functions over nodes: each returns None if its result cannot be known.

https://developer.hashicorp.com/terraform/language/functions, read 2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from leastpriv.errors import PolicyFileError
from leastpriv.policy.syntax_tree import Member, Node, minified, read_json
from leastpriv.policy.template_functions import Placeholder, is_one_expression, parts_of, template_escape

Arguments = Sequence[Node]
_escape = template_escape("terraform")


def text_node(text: str) -> Node:
    """Returns a known text."""
    return Node("string", 0, 0, _escape(text))


def plain_text(node: Node) -> str | None:
    """Returns the text of a known scalar; None for any other value."""
    if node.kind == "string":
        parts = parts_of(node, "terraform", {}) or ()
        return None if any(isinstance(part, Placeholder) for part in parts) else "".join(map(str, parts))
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


def _concat(arguments: Arguments) -> Node | None:
    if any(node.kind != "array" and not is_unknown(node) for node in arguments):
        return None
    return _array(entry for node in arguments for entry in _entries(node))


def _flatten(arguments: Arguments) -> Node | None:
    def flat(node: Node) -> Iterable[Node]:
        if node.kind == "array":
            for item in node.items:
                yield from flat(item)
        else:
            yield node

    return _array(flat(arguments[0])) if arguments[0].kind == "array" else None


def _unique(items: Iterable[Node]) -> Node:
    found: dict[str, Node] = {}
    for item in items:
        found.setdefault(minified(item), item)
    return _array(found.values())


def _distinct(arguments: Arguments) -> Node | None:
    return _unique(arguments[0].items) if arguments[0].kind == "array" else None


def _to_set(arguments: Arguments) -> Node | None:
    """Returns a set in the order in which Terraform iterates over it."""
    if arguments[0].kind != "array":
        return None
    return _array(sorted(_unique(arguments[0].items).items, key=lambda node: plain_text(node) or ""))


def _to_list(arguments: Arguments) -> Node | None:
    return arguments[0] if arguments[0].kind in {"array", "object"} else None


def _compact(arguments: Arguments) -> Node | None:
    if arguments[0].kind != "array":
        return None
    return _array(item for item in arguments[0].items if item.text and item.text != "null")


def _sort(arguments: Arguments) -> Node | None:
    return _to_sorted(arguments[0].items) if arguments[0].kind == "array" and is_known(arguments[0]) else None


def _to_sorted(items: Iterable[Node]) -> Node:
    return _array(sorted(items, key=lambda node: plain_text(node) or ""))


def _reverse(arguments: Arguments) -> Node | None:
    return _array(reversed(arguments[0].items)) if arguments[0].kind == "array" else None


def _set_union(arguments: Arguments) -> Node | None:
    joined = _concat(arguments)
    return _to_set([joined]) if joined else None


def _set_difference(arguments: Arguments) -> Node | None:
    """Returns the entries of the first list that no other has; an unknown may take any away."""
    first, *others = arguments
    if first.kind != "array" or not all(node.kind == "array" and is_known(node) for node in others):
        return None
    gone = {minified(item) for node in others for item in node.items}
    return _to_set([_array(item for item in first.items if minified(item) not in gone)])


def _set_intersection(arguments: Arguments) -> Node | None:
    if not all(node.kind == "array" and is_known(node) for node in arguments):
        return None
    first, *others = arguments
    common = [{minified(item) for item in node.items} for node in others]
    return _to_set([_array(item for item in first.items if all(minified(item) in each for each in common))])


def _join(arguments: Arguments) -> Node | None:
    delimiter, *lists = arguments
    items = [item for node in lists for item in _entries(node)]
    # An unknown entry may be several, with delimiters between them: the unknown has their place.
    if any(item.kind in {"array", "object"} for item in items) or plain_text(delimiter) is None:
        return None
    return Node("string", 0, 0, delimiter.text.join(item.text for item in items))


_VERB = re.compile(r"%(?:([sdv])|(%)|(.))", re.DOTALL)


def _format(arguments: Arguments) -> Node | None:
    pattern = plain_text(arguments[0])
    verbs = [found for found in _VERB.finditer(pattern or "") if not found[2]]
    values = list(arguments[1:])
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


def _format_list(arguments: Arguments) -> Node | None:
    if any(is_unknown(node) for node in arguments):
        return None
    lengths = {len(node.items) for node in arguments if node.kind == "array"}
    if len(lengths) != 1:
        return None
    rows = [
        _format([node.items[place] if node.kind == "array" else node for node in arguments])
        for place in range(lengths.pop())
    ]
    return None if any(row is None for row in rows) else _array(row for row in rows if row)


def _split(arguments: Arguments) -> Node | None:
    delimiter, text = map(plain_text, arguments)
    return None if not delimiter or text is None else _array(map(text_node, text.split(delimiter)))


def _replace(arguments: Arguments) -> Node | None:
    text, old, new = map(plain_text, arguments)
    if text is None or old is None or new is None or (len(old) > 1 and old[0] == old[-1] == "/"):
        return None
    return text_node(text.replace(old, new))


def _of_text(change: Callable[[str], str]) -> Callable[[Arguments], Node | None]:
    def function(arguments: Arguments) -> Node | None:
        text = plain_text(arguments[0])
        return None if text is None or len(arguments) != 1 else text_node(change(text))

    return function


def _of_two_texts(change: Callable[[str, str], str]) -> Callable[[Arguments], Node | None]:
    def function(arguments: Arguments) -> Node | None:
        text, other = map(plain_text, arguments)
        return None if text is None or other is None else text_node(change(text, other))

    return function


def _test_of_texts(holds: Callable[[str, str], bool]) -> Callable[[Arguments], Node | None]:
    def function(arguments: Arguments) -> Node | None:
        text, other = map(plain_text, arguments)
        return None if text is None or other is None else _truth(holds(text, other))

    return function


def _truth(value: bool) -> Node:
    return Node("literal", 0, 0, "true" if value else "false")


def _coalesce(arguments: Arguments) -> Node | None:
    for node in arguments:
        if is_unknown(node):
            return None
        if node.text not in {"", "null"}:
            return node
    return None


def _coalesce_list(arguments: Arguments) -> Node | None:
    for node in arguments:
        if is_unknown(node) or any(map(is_unknown, node.items)):
            return None
        if node.items:
            return node
    return None


def _lookup(arguments: Arguments) -> Node | None:
    key = plain_text(arguments[1])
    if arguments[0].kind != "object" or key is None:
        return None
    return arguments[0].get(key) or (arguments[2] if len(arguments) > 2 else None)


def _merge(arguments: Arguments) -> Node | None:
    if any(node.kind != "object" for node in arguments):
        return None
    members = {member.key: member for node in arguments for member in node.members}
    return Node("object", 0, 0, members=tuple(members.values()))


def _keys(arguments: Arguments) -> Node | None:
    return _array(map(text_node, sorted(_object(arguments[0])))) if arguments[0].kind == "object" else None


def _values(arguments: Arguments) -> Node | None:
    found = _object(arguments[0])
    return _array(found[key] for key in sorted(found)) if arguments[0].kind == "object" else None


def _object(node: Node) -> Mapping[str, Node]:
    return {member.key: member.value for member in node.members}


def _zip_map(arguments: Arguments) -> Node | None:
    keys, values = arguments
    names = [plain_text(key) for key in keys.items]
    if keys.kind != "array" or values.kind != "array" or len(names) != len(values.items):
        return None
    if any(map(is_unknown, values.items)) or None in names:
        return None
    members = {name: Member(name, 0, 0, value) for name, value in zip(names, values.items, strict=True) if name}
    return Node("object", 0, 0, members=tuple(members.values()))


def _element(arguments: Arguments) -> Node | None:
    items, index = arguments[0].items, plain_text(arguments[1])
    if arguments[0].kind != "array" or index is None or not items or any(map(is_unknown, items)):
        return None
    return items[int(index) % len(items)]


def _length(arguments: Arguments) -> Node | None:
    node = arguments[0]
    if node.kind == "string":
        text = plain_text(node)
        return None if text is None else Node("number", 0, 0, str(len(text)))
    if any(map(is_unknown, node.items)):
        return None
    return Node("number", 0, 0, str(len(node.items) + len(node.members)))


def _contains(arguments: Arguments) -> Node | None:
    if arguments[0].kind != "array" or not is_known(arguments[1]):
        return None
    wanted = plain_text(arguments[1])
    if any(plain_text(item) == wanted for item in arguments[0].items):
        return _truth(True)
    return _truth(False) if is_known(arguments[0]) else None


def _to_string(arguments: Arguments) -> Node | None:
    text = plain_text(arguments[0])
    return None if text is None else text_node(text)


def _json_encode(arguments: Arguments) -> Node | None:
    """Returns an object or a list itself: where JSON text is read, the value counts."""
    node = arguments[0]
    return node if node.kind in {"object", "array"} else None


def _json_decode(arguments: Arguments) -> Node | None:
    if arguments[0].kind in {"object", "array"}:
        return arguments[0]
    text = plain_text(arguments[0])
    try:
        return None if text is None else read_json(text, "")
    except PolicyFileError:
        return None


def _first_known(arguments: Arguments) -> Node | None:
    """Returns the first argument of `try`, whose failure shows as an unknown."""
    return arguments[0] if is_known(arguments[0]) else None


def _one(arguments: Arguments) -> Node | None:
    items = arguments[0].items
    return items[0] if len(items) == 1 and not is_unknown(items[0]) else None


def _itself(arguments: Arguments) -> Node | None:
    return arguments[0]


FUNCTIONS: Mapping[str, Callable[[Arguments], Node | None]] = MappingProxyType(
    {
        "chomp": _of_text(lambda text: text.rstrip("\r\n")),
        "coalesce": _coalesce,
        "coalescelist": _coalesce_list,
        "compact": _compact,
        "concat": _concat,
        "contains": _contains,
        "distinct": _distinct,
        "element": _element,
        "endswith": _test_of_texts(str.endswith),
        "flatten": _flatten,
        "format": _format,
        "formatlist": _format_list,
        "join": _join,
        "jsondecode": _json_decode,
        "jsonencode": _json_encode,
        "keys": _keys,
        "length": _length,
        "lookup": _lookup,
        "lower": _of_text(str.lower),
        "merge": _merge,
        "nonsensitive": _itself,
        "one": _one,
        "replace": _replace,
        "reverse": _reverse,
        "sensitive": _itself,
        "setintersection": _set_intersection,
        "setsubtract": _set_difference,
        "setunion": _set_union,
        "sort": _sort,
        "split": _split,
        "startswith": _test_of_texts(str.startswith),
        "tolist": _to_list,
        "tomap": _to_list,
        "toset": _to_set,
        "tostring": _to_string,
        "trim": _of_two_texts(lambda text, chars: text.strip(chars)),
        "trimprefix": _of_two_texts(str.removeprefix),
        "trimspace": _of_text(str.strip),
        "trimsuffix": _of_two_texts(str.removesuffix),
        "try": _first_known,
        "upper": _of_text(str.upper),
        "values": _values,
        "zipmap": _zip_map,
    }
)
