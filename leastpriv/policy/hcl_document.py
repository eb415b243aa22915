"""Builds the policy that HCL describes: `aws_iam_policy_document`, `jsonencode`, heredocs and JSON
text.

The nodes have IAM's keys and the offsets of the HCL that makes them. An unknown value may cover
anything: an unknown statement allows what its expression may allow, and a statement that may be
absent has an unknown condition.

The data source
(https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/iam_policy_document,
read 2026-11-27) defaults to `version` 2012-10-17 and `effect` Allow, and writes `&{` for the `${`
of a policy variable.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from msgspec.structs import replace

from leastpriv.errors import PolicyFileError
from leastpriv.policy.hcl_evaluate import Evaluator
from leastpriv.policy.hcl_functions import is_known, is_unknown, plain_text
from leastpriv.policy.hcl_module import ModuleScope, relocated, unknown
from leastpriv.policy.hcl_syntax import Block, Expression
from leastpriv.policy.syntax_tree import Member, Node, minified, read_json

_LISTS = {
    "actions": "Action",
    "not_actions": "NotAction",
    "resources": "Resource",
    "not_resources": "NotResource",
}
_SOURCES = ("source_policy_documents", "source_json")
_OVERRIDES = ("override_policy_documents", "override_json")


def document_node(scope: ModuleScope, file: str, block: Block) -> Node:
    """Returns the policy of a data source."""
    reader = _BlockReader(Evaluator(scope, file))
    statements = reader.statements_of(block, _SOURCES)
    statements = _overridden(statements, reader.statements(block))
    statements = _overridden(statements, reader.statements_of(block, _OVERRIDES))
    at = block.start
    members = [
        Member(
            "Version", at, at, reader.text(block, "version") or Node("string", at, at, "2012-10-17")
        )
    ]
    if identifier := reader.text(block, "policy_id"):
        members.append(Member("Id", at, at, identifier))
    listed = Node("array", at, block.end, items=tuple(statements))
    return Node(
        "object", at, block.end, members=(*members, Member("Statement", at, block.end, listed))
    )


def policy_node(scope: ModuleScope, file: str, expression: Expression) -> Node | None:
    """Returns the policy that an expression makes; None if it surely makes none."""
    evaluator = Evaluator(scope, file)
    node: Node | None
    if expression.kind == "heredoc":
        pieces: list[_Piece] = []
        inside = False
        for part in expression.parts:
            if part.kind == "text":
                pieces.append((part.text, part.start))
                inside = _is_inside(part.text, inside)
                continue
            made = evaluator.value(part.parts[0])
            text = minified(made) if made.kind in {"array", "object"} else made.text
            pieces.append(
                (f'"{text}"' if not inside and is_unknown(made) else text, -1 - part.start)
            )
        node = _json_node(pieces)
    else:
        node = evaluator.value(expression)
        node = _parsed_text(node, expression, "it is a text in quotes; write it with jsonencode")
    if node is None:
        return None
    if is_unknown(node):
        everything = Member(
            "Statement", node.start, node.end, Node("array", node.start, node.end, items=(node,))
        )
        return normalized(Node("object", node.start, node.end, members=(everything,)))
    return normalized(node) if node.kind == "object" and node.get_any_case("Statement") else None


def normalized(policy: Node) -> Node:
    """Returns a policy whose unknown statements, effects and NotActions are written as what they
    may allow.
    """
    members = []
    for member in policy.members:
        value = member.value
        if member.key.casefold() == "statement":
            items = value.entries
            found = [each for item in items for each in _statements(item)]
            single = value.kind == "object" and len(found) == 1
            value = (
                found[0]
                if single
                else replace(value, kind="array", text="", members=(), items=tuple(found))
            )
        members.append(replace(member, value=value))
    return replace(policy, members=tuple(members))


def _statements(node: Node) -> Iterator[Node]:
    if node.kind == "string":
        yield _unknown_statement(node)
        return
    effect = node.get_any_case("Effect")
    not_action = node.get_any_case("NotAction")
    if not_action and not is_known(not_action):
        hidden = unknown(minified(not_action), not_action.start, not_action.end)
        hidden = replace(hidden, fixed="what its NotAction excludes is unknown")
        node = _with_member(node, not_action, "Action", hidden)
    if effect and not is_known(effect):
        for known in ("Allow", "Deny"):
            made = _with_member(node, effect, "Effect", replace(effect, text=known))
            yield _maybe(made, effect, "its effect is an expression")
        return
    yield node


def _unknown_statement(node: Node) -> Node:
    values = {"Effect": replace(node, text="Allow"), "Action": node, "Resource": node}
    members = tuple(Member(key, node.start, node.start, value) for key, value in values.items())
    return Node(
        "object",
        node.start,
        node.end,
        members=members,
        fixed=node.fixed or "an expression makes it",
    )


def _with_member(node: Node, old: Node, key: str, value: Node) -> Node:
    members = (
        replace(each, key=key, value=value) if each.value is old else each for each in node.members
    )
    return replace(node, members=tuple(members))


def _maybe(node: Node, cause: Node, reason: str) -> Node:
    """Returns a statement that an expression may leave out."""
    condition = unknown(cause.text or minified(cause), node.start, node.end)
    kept = tuple(member for member in node.members if member.key.casefold() != "condition")
    members = (*kept, Member("Condition", node.start, node.start, condition))
    return replace(node, members=members, fixed=node.fixed or reason)


def _overridden(before: Sequence[Node], after: Iterable[Node]) -> list[Node]:
    """Merges statements as the provider does: one with the Sid of an earlier one takes its
    place.
    """
    found = list(before)
    for node in after:
        own, sids = _sid(node), [_sid(each) for each in found]
        if own and own in sids:
            found[sids.index(own)] = node
        else:
            found.append(node)
    return found


def _sid(statement: Node) -> str:
    sid = statement.get_any_case("Sid")
    return sid.text if sid else ""


class _BlockReader:
    """Converts the blocks of a data source."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def statements_of(self, block: Block, keys: Sequence[str]) -> list[Node]:
        """Returns the statements of other documents."""
        found: list[Node] = []
        for key in keys:
            attribute = block.attributes.get(key)
            if attribute is None:
                continue
            node = self.evaluator.value(attribute.value)
            for item in node.entries:
                item = _parsed_text(item, item, "it is a text")
                inner = item.get_any_case("Statement")
                if item.kind == "object" and inner:
                    found += inner.entries
                elif item.kind == "string" and item.text:
                    found.append(_unknown_statement(item))
        return found

    def statements(self, block: Block) -> Iterator[Node]:
        """Yields the statements of a block's own `statement` and `dynamic` blocks."""
        for reader, each, cause in self.each_block(block, "statement"):
            for node in _statements(reader.statement(each)):
                if reader is self:
                    yield node
                    continue
                made = relocated(node, each.start, each.end, "a dynamic block makes it")
                yield _maybe(made, cause, made.fixed) if cause else made

    def each_block(
        self, body: Block, name: str
    ) -> Iterator[tuple[_BlockReader, Block, Node | None]]:
        """Yields blocks of a type with their readers; a node for those of which it is unknown how
        many there are.
        """
        for block in body.blocks:
            if block.labels == (name,):
                yield self, block, None
            elif block.labels == ("dynamic", name):
                yield from self.dynamic(block, name)

    def dynamic(self, block: Block, name: str) -> Iterator[tuple[_BlockReader, Block, Node | None]]:
        content = next(block.named("content"), None)
        each = block.attributes.get("for_each")
        if content is None or each is None:
            return
        iterator = block.attributes.get("iterator")
        label = iterator.value.text if iterator else name
        node = self.evaluator.value(each.value)
        values = [(member.key, member.value) for member in node.members]
        values += [
            (str(place), item)
            for place, item in enumerate(node.items or ((node,) if is_unknown(node) else ()))
        ]
        for key, value in values:
            known_key = (
                Node("string", 0, 0, key)
                if not is_unknown(value)
                else unknown(f"{label}.key", 0, 0)
            )
            members = (Member("key", 0, 0, known_key), Member("value", 0, 0, value))
            names = {label: Node("object", 0, 0, members=members)}
            yield (
                _BlockReader(self.evaluator.with_names(names)),
                content,
                value if is_unknown(value) else None,
            )

    def statement(self, block: Block) -> Node:
        at = block.start
        sid = self.text(block, "sid")
        found = {
            ("Sid", "sid"): sid if sid and sid.text else None,
            ("Effect", "effect"): self.text(block, "effect") or Node("string", at, at, "Allow"),
            **{(name, key): self.listed(block, key) for key, name in _LISTS.items()},
            ("Principal", ""): self.principals(block, "principals"),
            ("NotPrincipal", ""): self.principals(block, "not_principals"),
            ("Condition", ""): self.conditions(block),
        }
        members: list[Member] = []
        for (name, key), value in found.items():
            written = block.attributes.get(key)
            if value and written:
                members.append(Member(name, written.start, written.start + len(key), value))
            elif value:
                members.append(Member(name, at, at, value))
        return Node("object", at, block.end, members=tuple(members))

    def text(self, block: Block, key: str) -> Node | None:
        attribute = block.attributes.get(key)
        node = self.evaluator.value(attribute.value) if attribute else None
        return None if node is None or node.text == "null" else node

    def listed(self, block: Block, key: str) -> Node | None:
        """Returns a list of texts; None for an empty one, which the provider omits."""
        attribute = block.attributes.get(key)
        if attribute is None:
            return None
        expression = attribute.value
        node = self.evaluator.value(expression)
        if node.kind == "literal" or (expression.kind == "tuple" and not expression.parts):
            return None
        if node.kind != "string" and not (
            node.items and all(item.kind == "string" for item in node.items)
        ):
            # An empty list from an input has entries where the module is used.
            node = self.evaluator.unknown(expression)
        return with_policy_variables(node)

    def principals(self, block: Block, key: str) -> Node | None:
        """Returns principals as the provider does: `*` for all principals, else identifiers grouped
        by type.
        """
        found: dict[str, list[Node]] = {}
        for reader, each, _ in self.each_block(block, key):
            kind, listed = reader.text(each, "type"), reader.listed(each, "identifiers")
            found.setdefault(kind.text if kind else "", []).extend(listed.entries if listed else ())
        if not found:
            return None
        if [*found] == ["*"] and [node.text for node in found["*"]] == ["*"]:
            return Node("string", block.start, block.start, "*")
        grouped = _object(
            (kind, nodes[0] if len(nodes) == 1 else _array(nodes)) for kind, nodes in found.items()
        )
        return replace(grouped, start=block.start, end=block.start)

    def conditions(self, block: Block) -> Node | None:
        """Returns the conditions; values of equal test and variable are joined in order, as in
        policy_model.go.
        """
        found: dict[str, dict[str, list[Node]]] = {}
        for reader, each, cause in self.each_block(block, "condition"):
            test, variable = reader.text(each, "test"), reader.text(each, "variable")
            operator, key = (
                plain_text(test) if test else None,
                plain_text(variable) if variable else None,
            )
            values = reader.listed(each, "values")
            if cause or operator is None or key is None or values is None:
                return self.evaluator.unknown(Expression("other", each.start, each.end))
            found.setdefault(operator, {}).setdefault(key, []).extend(values.entries)
        if not found:
            return None
        return _object(
            (operator, _object((key, _array(nodes)) for key, nodes in keys.items()))
            for operator, keys in found.items()
        )


def _object(members: Iterable[tuple[str, Node]]) -> Node:
    return Node("object", 0, 0, members=tuple(Member(key, 0, 0, value) for key, value in members))


def _array(items: Iterable[Node]) -> Node:
    return Node("array", 0, 0, items=tuple(items))


def with_policy_variables(node: Node) -> Node:
    """Returns texts with the data source's `&{` as a policy variable."""
    return replace(
        node,
        text=node.text.replace("&{", "$${"),
        items=tuple(map(with_policy_variables, node.items)),
    )


_Piece = tuple[str, int]
"""A part of JSON text, and its offset in the file; -1 if an expression makes it."""

_EXPRESSION = re.compile(r"(?<!\$)(\$\{[^{}]*\})")
_JSON_STRING = re.compile(r'\\.|"', re.DOTALL)


def _is_inside(text: str, inside: bool) -> bool:
    """Returns whether the end of a text is inside a JSON string."""
    quotes = sum(1 for found in _JSON_STRING.finditer(text) if found[0] == '"')
    return inside != bool(quotes % 2)


def _parsed_text(node: Node, at: Node | Expression, reason: str) -> Node:
    """Returns the JSON that a known text has; any other value itself."""
    if node.kind != "string" or is_unknown(node):
        return node
    found = _json_node([(node.text, -1)], node.fixed or reason)
    return relocated(found, at.start, at.end, node.fixed or reason) if found else node


def _json_node(pieces: Sequence[_Piece], reason: str = "an expression makes it") -> Node | None:
    """Parses JSON text of several pieces; None if it is not JSON."""
    text = "".join(text for text, _ in pieces)
    if not text.lstrip().startswith("{"):
        return None
    if len(pieces) == 1 and pieces[0][1] < 0:
        result, inside = "", False
        for place, part in enumerate(_EXPRESSION.split(text)):
            result += f'"{part}"' if place % 2 and not inside else part
            inside = inside if place % 2 else _is_inside(part, inside)
        text = result
    try:
        root = read_json(text, "")
    except PolicyFileError:
        return None
    starts = [0, *accumulate(len(piece) for piece, _ in pieces)]

    def in_file(at: int) -> tuple[int, bool]:
        """Returns the file offset of a place in JSON text, and whether an expression makes that
        place.
        """
        number = min(bisect_right(starts, at), len(pieces)) - 1
        offset = pieces[number][1]
        return (offset + at - starts[number], False) if offset >= 0 else (-1 - offset, True)

    def moved(node: Node) -> Node:
        begin, made = in_file(node.start)
        return replace(
            node,
            start=begin,
            end=begin if made else in_file(node.end - 1)[0] + 1,
            fixed=reason if made else "",
            items=tuple(map(moved, node.items)),
            members=tuple(
                Member(
                    each.key, in_file(each.start)[0], in_file(each.key_end)[0], moved(each.value)
                )
                for each in node.members
            ),
        )

    return moved(root)
