"""Parses HCL into blocks, attributes and expressions with text offsets, so that a file can be
edited as text.

tree-sitter tolerates what it does not know: such a part is an expression of the kind `other`, and
its block is broken. Grammar: https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md, read
2026-11-27.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.policy.syntax_tree import Node

if TYPE_CHECKING:
    from tree_sitter import Node as TreeNode
    from tree_sitter import Parser

ExpressionKind = Literal[
    "text", "template", "heredoc", "number", "literal", "tuple", "object", "for", "call", "name",
    "attribute", "index",
    "splat", "access", "interpolation", "conditional", "operation", "other",
]  # fmt: skip


class Expression(Struct, frozen=True):
    """One expression; `start` and `end` are offsets in the file."""

    kind: ExpressionKind
    start: int
    end: int
    text: str = ""
    """A text decoded; a number, constant, name or operator as written; the bracket of a `for`."""
    parts: tuple[Expression, ...] = ()
    """Operands in order: of an object keys and values in turn, of an access its base and its steps,
    of a `for` the collection, the key (a name without text for none), the value and the condition,
    if any."""
    names: tuple[str, ...] = ()
    """The variables of a `for`."""
    spread: bool = False
    """Whether the last argument of a call, or the value of a `for`, has `...` behind it."""


class Attribute:
    """`name = value`; the value is converted when it is asked for."""

    def __init__(self, name: str, start: int, end: int, read: Callable[[], Expression]) -> None:
        self.name = name
        self.start = start
        self.end = end
        self._read = read

    @cached_property
    def value(self) -> Expression:
        """The expression."""
        return self._read()


@dataclass(frozen=True, slots=True)
class Block:
    """A block, or a whole file without labels."""

    labels: tuple[str, ...]
    """The type, and the labels behind it."""
    start: int
    end: int
    attributes: Mapping[str, Attribute] = field(hash=False)
    blocks: tuple[Block, ...]
    error: int = -1
    """Offset of the first part that is not HCL; -1 for none."""

    def named(self, *labels: str) -> Iterator[Block]:
        """Yields the direct blocks whose labels begin with `labels`."""
        for block in self.blocks:
            if block.labels[: len(labels)] == labels:
                yield block


@lru_cache(maxsize=128)
def read_blocks(text: str) -> Block:
    """Parses a file; a byte order mark and carriage returns keep their offsets."""
    source = (" " + text[1:] if text.startswith("\ufeff") else text).replace("\r\n", " \n").encode()
    return _Reader(source).body(_parser().parse(source).root_node, ())


def read_expression(text: str) -> Expression:
    """Parses one expression."""
    return read_blocks(f"x = {text}\n").attributes["x"].value


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_hcl

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_hcl.language()))


_ESCAPE = re.compile(r'\\(?:([nrt"\\])|u([0-9a-fA-F]{4})|U(00[01][0-9a-fA-F]{5}))')
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_STEPS = {"get_attr", "index", "splat"}
_CONSTANTS: Mapping[str, ExpressionKind] = {
    "variable_expr": "name",
    "numeric_lit": "number",
    "bool_lit": "literal",
    "null_lit": "literal",
}
_OPERATORS = frozenset(["+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "!"])


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return _ESCAPES.get(match[1], match[1])
    point = int(match[2] or match[3] or "0", 16)
    return chr(point) if point <= sys.maxunicode else match[0]


_DEEPEST = 40
"""Expressions or blocks inside one another; real files have some ten."""


class _Reader:
    """Converts the library's nodes, whose offsets count bytes."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.depth = 0
        self.ascii = source.isascii()
        self.offsets: dict[int, int] = {}
        if not self.ascii:
            byte_offset = 0
            for number, char in enumerate(source.decode()):
                self.offsets[byte_offset] = number
                byte_offset += len(char.encode())
            self.offsets[byte_offset] = len(self.offsets)

    def offset(self, byte: int) -> int:
        return byte if self.ascii else self.offsets[byte]

    def text(self, node: TreeNode) -> str:
        return self.source[node.start_byte : node.end_byte].decode()

    def body(self, node: TreeNode, labels: tuple[str, ...], depth: int = 0) -> Block:
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        children = [
            child
            for body_node in node.children
            if body_node.type == "body"
            for child in body_node.children
        ]
        for child in children:
            if child.type == "attribute":
                inner = child.children
                name = self.text(inner[0])
                attributes[name] = Attribute(
                    name,
                    self.offset(child.start_byte),
                    self.offset(child.end_byte),
                    partial(self.expression, inner[-1]),
                )
            elif child.type == "block":
                label_nodes = [
                    label_node
                    for label_node in child.children
                    if label_node.type in {"identifier", "string_lit"}
                ]
                inner_labels = tuple(self.text(label_node).strip('"') for label_node in label_nodes)
                if depth < _DEEPEST:
                    blocks.append(self.body(child, inner_labels, depth + 1))
        return Block(
            labels=labels,
            start=self.offset(node.start_byte),
            end=self.offset(node.end_byte),
            attributes=attributes,
            blocks=tuple(blocks),
            error=self.error(node) if node.has_error else -1,
        )

    def error(self, node: TreeNode) -> int:
        """Returns the offset of the first error in a node that has one."""
        while True:
            broken = [child for child in node.children if child.has_error or child.is_missing]
            if not broken or broken[0].is_error or broken[0].is_missing:
                return self.offset((broken or [node])[0].start_byte)
            node = broken[0]

    def expression(self, node: TreeNode) -> Expression:
        if node.has_error:
            return self.make("other", node)
        return self.operand([child for child in node.children if child.type != "comment"], node)

    def operand(self, nodes: Sequence[TreeNode], whole: TreeNode) -> Expression:
        """Converts a base and the steps behind it."""
        if self.depth >= _DEEPEST:
            return self.make("other", whole)
        self.depth += 1
        try:
            return self.base_and_steps(nodes, whole)
        finally:
            self.depth -= 1

    def base_and_steps(self, nodes: Sequence[TreeNode], whole: TreeNode) -> Expression:
        inner = [node for node in nodes if node.type not in {"(", ")"}]
        if not inner:
            return self.make("other", whole)
        base, *steps = inner
        base_expression = self.base(base)
        if not steps:
            return base_expression
        if any(step.type not in _STEPS for step in steps):
            return self.make("other", whole)
        parts = [base_expression]
        for step in steps:
            parts += self.step(step)
        return Expression(
            "access", base_expression.start, self.offset(steps[-1].end_byte), "", tuple(parts)
        )

    def base(self, node: TreeNode) -> Expression:
        kind = node.type
        if kind == "expression":
            return self.expression(node)
        if kind in _CONSTANTS:
            return self.make(_CONSTANTS[kind], node, self.text(node))
        if (
            kind in {"literal_value", "template_expr", "collection_value", "for_expr"}
            and node.children
        ):
            return self.base(node.children[0])
        if kind == "tuple":
            return self.make("tuple", node, "", self.inner(node))
        converter = getattr(self, f"make_{kind}", None)
        return converter(node) if converter else self.make("other", node)

    def make(
        self, kind: ExpressionKind, node: TreeNode, text: str = "", parts: Sequence[Expression] = ()
    ) -> Expression:
        return Expression(
            kind, self.offset(node.start_byte), self.offset(node.end_byte), text, tuple(parts)
        )

    def step(self, node: TreeNode) -> list[Expression]:
        if node.type == "get_attr":
            return [self.make("attribute", node, self.text(node.children[-1]))]
        inner = node.children[0]
        if node.type == "splat":
            return [
                self.make("splat", inner),
                *(expression for step in inner.children[1:] for expression in self.step(step)),
            ]
        number = (
            [] if self.inner(inner) else [self.make("number", node, self.text(node).lstrip("."))]
        )
        return [self.make("index", node, "", [*self.inner(inner)[:1], *number])]

    def make_quoted_template(self, node: TreeNode) -> Expression:
        return self.template(
            "template", node, node.children[0].end_byte, node.children[-1].start_byte
        )

    make_string_lit = make_quoted_template

    def make_heredoc_template(self, node: TreeNode) -> Expression:
        line = self.source.find(b"\n", node.start_byte) + 1
        last = node.children[-1].start_byte
        return self.template("heredoc", node, line, self.source.rfind(b"\n", line - 1, last) + 1)

    def template(self, kind: ExpressionKind, node: TreeNode, begin: int, end: int) -> Expression:
        """Converts the parts of a template; the library leaves out white space between them."""
        parts: list[Expression] = []
        position = begin
        for child in node.children:
            if child.type in {"template_interpolation", "template_directive"}:
                parts += self.plain(position, child.start_byte, kind)
                expression_nodes = [
                    inner_node for inner_node in child.children if inner_node.type == "expression"
                ]
                plain = child.type == "template_interpolation" and len(expression_nodes) == 1
                inner = self.expression(expression_nodes[0]) if plain else self.make("other", child)
                parts.append(self.make("interpolation", child, "", [inner]))
                position = child.end_byte
        parts += self.plain(position, end, kind)
        return self.make(kind, node, "", parts)

    def plain(self, start: int, end: int, kind: ExpressionKind) -> Iterator[Expression]:
        if start >= end:
            return
        text = self.source[start:end].decode()
        text = _ESCAPE.sub(_unescape, text) if kind == "template" else text
        yield Expression("text", self.offset(start), self.offset(end), text)

    def inner(self, node: TreeNode) -> list[Expression]:
        """Converts the expressions directly below a node."""
        return [self.expression(child) for child in node.children if child.type == "expression"]

    def make_object(self, node: TreeNode) -> Expression:
        parts: list[Expression] = []
        for element in node.children:
            if element.type == "object_elem":
                key = next(child for child in element.children if child.type == "expression")
                name, value = self.inner(element)
                # A bare name is a text; one in parentheses is a reference.
                bare = name.kind == "name" and name.start == self.offset(key.start_byte)
                if bare and self.text(key)[:1] != "(":
                    name = self.make("text", key, name.text)
                parts += [name, value]
        return self.make("object", node, "", parts)

    def make_for_tuple_expr(self, node: TreeNode) -> Expression:
        intro = next(child for child in node.children if child.type == "for_intro")
        condition = [child for child in node.children if child.type == "for_cond"]
        expressions = self.inner(node)
        key = expressions[0] if len(expressions) > 1 else self.make("name", intro)
        tests = [test for part in condition for test in self.inner(part)]
        names = tuple(self.text(child) for child in intro.children if child.type == "identifier")
        spread = any(child.type == "ellipsis" for child in node.children)
        parts = (self.inner(intro)[0], key, expressions[-1], *tests)
        return replace(
            self.make("for", node, self.text(node)[:1], parts), names=names, spread=spread
        )

    make_for_object_expr = make_for_tuple_expr

    def make_function_call(self, node: TreeNode) -> Expression:
        inside = [
            argument_node
            for child in node.children
            if child.type == "function_arguments"
            for argument_node in child.children
        ]
        arguments = [
            self.expression(argument_node)
            for argument_node in inside
            if argument_node.type == "expression"
        ]
        spread = any(argument_node.type == "ellipsis" for argument_node in inside)
        return replace(
            self.make("call", node, self.text(node.children[0]), arguments), spread=spread
        )

    def make_conditional(self, node: TreeNode) -> Expression:
        """Converts a conditional, whose last branch the library reads as a test of what follows."""
        chain = [node]
        while first := _inner_conditional(chain[-1]):
            chain.append(first)
        if len(chain) > _DEEPEST:
            return self.make("other", node)
        innermost = self.inner(chain[-1])
        tests = [innermost[0]]
        values = [innermost[1]]
        last = innermost[2]
        for conditional in reversed(chain[:-1]):
            _, value, following = self.inner(conditional)
            tests.append(last)
            values.append(value)
            last = following
        end = self.offset(node.end_byte)
        for test, value in zip(reversed(tests), reversed(values), strict=True):
            last = Expression("conditional", test.start, end, "", (test, value, last))
        return last

    def make_operation(self, node: TreeNode) -> Expression:
        inner = node.children[0]
        operator = next((child for child in inner.children if child.type in _OPERATORS), None)
        if operator is None:
            return self.make("other", node)
        index = inner.children.index(operator)
        sides = (inner.children[:index], inner.children[index + 1 :])
        return self.make(
            "operation", node, operator.type, [self.operand(side, inner) for side in sides if side]
        )


def _inner_conditional(node: TreeNode) -> TreeNode | None:
    """Returns the conditional that is the test of another one, without parentheses."""
    first = next(child for child in node.children if child.type == "expression")
    inner = [child for child in first.children if child.type != "comment"]
    return inner[0] if len(inner) == 1 and inner[0].type == "conditional" else None


def _same(value: Expression) -> Expression:
    return value


_BLOCK_TYPES = ("statement", "condition", "principals", "not_principals", "content")


def json_block(text: str, node: Node, labels: tuple[str, ...]) -> Block:
    """Returns an object of Terraform's JSON as a block."""
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    for member in node.members:
        entries = member.value.entries
        if member.key in _BLOCK_TYPES:
            blocks += [json_block(text, entry, (member.key,)) for entry in entries]
        elif member.key == "dynamic":
            inner = [inner_member for entry in entries for inner_member in entry.members]
            blocks += [
                json_block(text, inner_member.value, ("dynamic", inner_member.key))
                for inner_member in inner
            ]
        else:
            # JSON is HCL too; blanks keep the offsets.
            start, end = member.value.start, member.value.end
            padded = " " * (start - len("x = ")) + "x = " + text[start:end]
            value = read_blocks(padded).attributes["x"].value
            attributes[member.key] = Attribute(member.key, member.start, end, partial(_same, value))
    return Block(labels, node.start, node.end, attributes, tuple(blocks))


_PASSING = frozenset(
    {"compact", "concat", "distinct", "flatten", "reverse", "setunion", "sort", "tolist", "toset"}
)
"""Functions whose result has every entry of the lists that they receive."""


def passed_list(expression: Expression) -> Expression | None:
    """Returns the literal list that an expression is, or that a function passes on."""
    if expression.kind == "call" and expression.text in _PASSING:
        return next(filter(None, map(passed_list, expression.parts)), None)
    return expression if expression.kind == "tuple" else None


def expressions_in(block: Block) -> Iterator[Expression]:
    """Yields every expression of a block, and of the blocks in it."""
    for attribute in block.attributes.values():
        yield from parts_in(attribute.value)
    for inner_block in block.blocks:
        yield from expressions_in(inner_block)


def parts_in(expression: Expression) -> Iterator[Expression]:
    """Yields an expression and every expression in it, outer ones first."""
    yield expression
    for part in expression.parts:
        yield from parts_in(part)
