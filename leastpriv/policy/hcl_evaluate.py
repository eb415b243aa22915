"""Evaluates HCL expressions to the nodes of `syntax_tree`; what cannot be known is a typed unknown.

A text keeps Terraform's spelling: an unknown part is `${…}`, a plain `${` is `$${`. A value that
the edited file does not write itself, or writes for several readers, carries the reason in
`Node.fixed`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from leastpriv.policy.hcl_functions import (
    FUNCTIONS,
    has_places,
    is_known,
    plain_text,
    text_node,
    truth_node,
)
from leastpriv.policy.hcl_module import NO_NAMES, ModuleScope, Names, relocated, unknown
from leastpriv.policy.hcl_references import resolve
from leastpriv.policy.hcl_syntax import Expression, read_expression
from leastpriv.policy.syntax_tree import Member, Node, NodeKind, minified

_MOST_EVALUATED = 200_000
"""Expressions in one folder; a large policy has some thousands."""
_CONSTANTS: Mapping[str, NodeKind] = {"text": "string", "number": "number", "literal": "literal"}
_MOST_NODES = 20_000
"""Entries of one value."""


class Evaluator:
    """Evaluates the expressions of one file; no failure raises: it is an unknown."""

    def __init__(
        self, scope: ModuleScope, file: str, names: Names = NO_NAMES, text: str | None = None
    ) -> None:
        self.scope = scope
        self.file = file
        self.names = names
        self.text = scope.folder.files.get(file, "") if text is None else text

    def with_names(self, names: Names) -> Evaluator:
        """Returns the evaluator of the same file with more variables."""
        return Evaluator(self.scope, self.file, {**self.names, **names}, self.text)

    def value(self, expression: Expression) -> Node:
        """Evaluates an expression; after too many, each is an unknown."""
        self.scope.evaluated += 1
        if self.scope.evaluated > _MOST_EVALUATED:
            return self.unknown(expression)
        if kind := _CONSTANTS.get(expression.kind):
            return Node(kind, expression.start, expression.end, expression.text)
        made: Callable[[Expression], Node | None] | None = getattr(
            self, f"_{expression.kind}", None
        )
        found = made(expression) if made else None
        return self.unknown(expression) if found is None else found

    def unknown(self, expression: Expression) -> Node:
        """Returns the unknown that an expression is."""
        text = self.text[expression.start : expression.end]
        for name, value in self.names.items():
            # Two unknowns are equal only if they are spelled alike.
            text += f" {name}={minified(value)}" if re.search(rf"\b{name}\b", text) else ""
        return unknown(text, expression.start, expression.end)

    def made(self, expression: Expression, node: Node) -> Node:
        """Returns a value that an expression computes."""
        return self.relocated(node, expression, "an expression makes it")

    def relocated(self, node: Node, expression: Expression, reason: str) -> Node:
        """Returns a value at the place of an expression that only refers to it; a huge one is an
        unknown.
        """
        rest, count = [node], 0
        while rest and count <= _MOST_NODES:
            each = rest.pop()
            rest += [*each.items, *(member.value for member in each.members)]
            count += 1
        if count > _MOST_NODES:
            return self.unknown(expression)
        return relocated(node, expression.start, expression.end, reason)

    def _template(self, expression: Expression) -> Node:
        parts = expression.parts
        if len(parts) == 1 and parts[0].kind == "interpolation":
            # An interpolation alone keeps the type of its value.
            return replace(
                self.value(parts[0].parts[0]), start=expression.start, end=expression.end
            )
        return Node(
            "string", expression.start, expression.end, "".join(map(self.template_text, parts))
        )

    _heredoc = _template

    def template_text(self, part: Expression) -> str:
        """Returns the text of a part of a template."""
        if part.kind == "text":
            return part.text
        node = self.value(part.parts[0])
        if node.kind in {"object", "array"}:
            # jsonencode is the value itself here.
            return (
                minified(node) if part.parts[0].kind == "call" else self.unknown(part.parts[0]).text
            )
        return node.text

    def _tuple(self, expression: Expression) -> Node:
        items = tuple(map(self.value, expression.parts))
        return Node("array", expression.start, expression.end, items=items)

    def _object(self, expression: Expression) -> Node | None:
        members: dict[str, Member] = {}
        for key, value in zip(expression.parts[::2], expression.parts[1::2], strict=True):
            name = plain_text(self.value(key))
            if name is None:
                return None
            members[name] = Member(name, key.start, key.end, self.value(value))
        return Node("object", expression.start, expression.end, members=tuple(members.values()))

    def _call(self, expression: Expression) -> Node | None:
        arguments = list(map(self.value, expression.parts))
        if expression.spread and arguments:
            last = arguments.pop()
            if last.kind != "array":
                return None
            arguments += last.items
        if expression.text == "templatefile":
            found = self._file(arguments)
            if found is None or len(arguments) != 2 or arguments[1].kind != "object":
                return None
            names = {member.key: member.value for member in arguments[1].members}
            text = f"<<END_OF_TEMPLATE\n{found[1]}\nEND_OF_TEMPLATE"
            inner = Evaluator(self.scope, found[0], names, f"x = {text}\n")
            whole = "".join(map(inner.template_text, read_expression(text).parts)).removesuffix(
                "\n"
            )
            reason = f"it is in the template {found[0]}"
            return relocated(Node("string", 0, 0, whole), expression.start, expression.end, reason)
        if expression.text == "file":
            found = self._file(arguments)
            return found and self.relocated(text_node(found[1]), expression, f"it is in {found[0]}")
        function = FUNCTIONS.get(expression.text)
        try:
            node = function(*arguments) if function else None
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            return None
        if node and node.kind == "array":
            # Functions on lists pass on entries, which remain where they are written, or make new
            # ones.
            items = tuple(item if item.end else self.made(expression, item) for item in node.items)
            return replace(node, start=expression.start, end=expression.end, items=items)
        if node is None or any(node is argument for argument in arguments):
            return node
        return self.made(expression, node)

    def _file(self, arguments: Sequence[Node]) -> tuple[str, str] | None:
        name = plain_text(arguments[0]) if arguments else None
        path = posixpath.normpath(name) if name else ""
        return (path, self.scope.folder.files[path]) if path in self.scope.folder.files else None

    def _conditional(self, expression: Expression) -> Node | None:
        test, yes, no = map(self.value, expression.parts)
        if test.text in {"true", "false"} and test.kind != "string":
            return self.made(expression, yes if test.text == "true" else no)
        return self.made(expression, yes) if minified(yes) == minified(no) else None

    def _operation(self, expression: Expression) -> Node | None:
        values = [self.value(part) for part in expression.parts]
        if not all(map(is_known, values)):
            return None
        if expression.text in {"==", "!="} and len(values) == 2:
            same = minified(values[0]) == minified(values[1])
            return self.made(expression, truth_node(same == (expression.text == "==")))
        truths = [value.text == "true" for value in values]
        if any(value.text not in {"true", "false"} for value in values):
            return None
        results = {"!": not truths[0], "&&": all(truths), "||": any(truths)}
        return (
            self.made(expression, truth_node(results[expression.text]))
            if expression.text in results
            else None
        )

    def _for(self, expression: Expression) -> Node | None:
        collection = self.value(expression.parts[0])
        if collection.kind not in {"array", "object"} or (
            collection.kind == "object" and not is_known(collection)
        ):
            return None
        made: list[tuple[str, Node]] = []
        for key, value in _elements(collection):
            bound = {expression.names[-1]: value} | (
                {expression.names[0]: key} if len(expression.names) > 1 else {}
            )
            inner = self.with_names(bound)
            tests = [inner.value(part) for part in expression.parts[3:]]
            if any(test.text == "false" and test.kind == "literal" for test in tests):
                continue
            result = inner.value(expression.parts[2])
            if any(test.kind != "literal" for test in tests):
                result = inner.unknown(expression.parts[2])
            name = plain_text(inner.value(expression.parts[1])) if expression.text == "{" else ""
            if name is None:
                return None
            made.append((name, result))
        if expression.text == "[":
            return self.made(
                expression, Node("array", 0, 0, items=tuple(result for _, result in made))
            )
        members: dict[str, Node] = {}
        for name, result in made:
            before = members[name].items if name in members else ()
            members[name] = (
                Node("array", 0, 0, items=(*before, result)) if expression.spread else result
            )
        found = tuple(Member(name, 0, 0, value) for name, value in members.items())
        return self.made(expression, Node("object", 0, 0, members=found))

    def _name(self, expression: Expression) -> Node | None:
        return self.names.get(expression.text)

    def _access(self, expression: Expression) -> Node | None:
        base, steps = expression.parts[0], expression.parts[1:]
        if base.kind == "name" and base.text not in self.names:
            found = resolve(self, expression)
            if found is None:
                return None
            node, steps = found[0], tuple(found[1])
        else:
            node = self.value(base)
        splat = next(
            (place for place, step in enumerate(steps) if step.kind == "splat"), len(steps)
        )
        inner = self._steps(node, steps[:splat])
        if inner is None or splat == len(steps):
            return self.made(expression, inner) if inner and steps else inner
        items = [self._steps(item, steps[splat + 1 :]) for item in inner.items]
        if inner.kind != "array" or None in items:
            return None
        return self.made(
            expression, Node("array", 0, 0, items=tuple(item for item in items if item))
        )

    def _steps(self, node: Node, steps: Sequence[Expression]) -> Node | None:
        for step in steps:
            found: Node | None = None
            if step.kind == "attribute":
                found = node.get(step.text) if node.kind == "object" else None
            elif step.kind == "index":
                index = self.value(step.parts[0])
                if node.kind == "object":
                    found = node.get(plain_text(index) or "")
                elif has_places(node) and index.text.isdecimal():
                    found = (
                        node.items[int(index.text)] if int(index.text) < len(node.items) else None
                    )
            if found is None:
                return None
            node = found
        return node


def _elements(node: Node) -> list[tuple[Node, Node]]:
    if node.kind == "array":
        return [(Node("number", 0, 0, str(place)), item) for place, item in enumerate(node.items)]
    return [
        (text_node(member.key), member.value)
        for member in sorted(node.members, key=lambda member: member.key)
    ]
