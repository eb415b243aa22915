"""Evaluates HCL expressions to the nodes of `syntax_tree`; what cannot be known is a typed unknown.

A text keeps Terraform's spelling: an unknown part is `${…}`, a plain `${` is `$${`. A value that
the edited file does not write itself, or writes for several readers, carries the reason in
`Node.fixed`. Where an unknown test chooses, a list has the entries of all its branches, and any
other value is a choice.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import TooLargeError
from leastpriv.policy.conditions import all_of, any_of
from leastpriv.policy.hcl_functions import (
    FUNCTIONS,
    array,
    entries_of,
    has_places,
    in_any_order,
    is_known,
    is_unknown,
    plain_text,
    size_of_result,
    text_node,
    truth_node,
)
from leastpriv.policy.hcl_module import NO_NAMES, ModuleScope, Names, relocated, unknown
from leastpriv.policy.hcl_references import resolve
from leastpriv.policy.hcl_syntax import Expression, read_expression
from leastpriv.policy.syntax_tree import Member, Node, NodeKind, minified

_CONSTANTS: Mapping[str, NodeKind] = {"text": "string", "number": "number", "literal": "literal"}
_MOST_ALTERNATIVES = 16
"""Values of one choice; beyond that it is an unknown."""
_DEEPEST = 80
"""Evaluations inside one another; real modules have some twenty."""
_MADE = "an expression makes it"
_RESOURCE = re.compile(r"\$\{((?:data\.)?[a-z0-9]+_\w+\.[\w-]+)\}")
"""An unknown that is a resource as a whole."""


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
        """Evaluates an expression; one beyond the budget is an unknown with that reason."""
        try:
            return self.evaluate(expression)
        except TooLargeError as error:
            return replace(self.unknown(expression), fixed=str(error))

    def evaluate(self, expression: Expression) -> Node:
        """Evaluates an expression.

        Raises:
            TooLargeError: The budget of the folder is spent.
        """
        self.scope.budget.spend()
        if kind := _CONSTANTS.get(expression.kind):
            return Node(kind, expression.start, expression.end, expression.text)
        read: Callable[[Expression], Node | None] | None
        read = getattr(self, f"_{expression.kind}", None)
        if read is None or self.scope.nesting.depth >= _DEEPEST:
            return self.unknown(expression)
        self.scope.nesting.depth += 1
        try:
            value = read(expression)
        finally:
            self.scope.nesting.depth -= 1
        return self.unknown(expression) if value is None else value

    def unknown(self, expression: Expression) -> Node:
        """Returns the unknown that an expression is."""
        text = self.source(expression)
        for name, value in self.names.items():
            # Two unknowns are equal only if they are spelled alike.
            if re.search(rf"\b{re.escape(name)}\b", text):
                text += f" {name}={minified(value)}"
        return unknown(text, expression.start, expression.end)

    def source(self, expression: Expression) -> str:
        """Returns an expression as the file has it."""
        return self.text[expression.start : expression.end]

    def made(self, expression: Expression, node: Node) -> Node:
        """Returns a value that an expression computes."""
        return self.relocated(node, expression, _MADE)

    def relocated(self, node: Node, expression: Expression, reason: str) -> Node:
        """Returns a value at the place of an expression that only refers to it."""
        self.scope.budget.spend(steps=_size(node))
        return relocated(node, expression.start, expression.end, reason)

    def either(
        self, expression: Expression, alternatives: Iterable[Node], depends_on: str = ""
    ) -> Node:
        """Returns a value that is one of several.

        Args:
            expression: The expression that makes it.
            alternatives: The values, choices among them.
            depends_on: What chooses; by default the expression itself.
        """
        unique: dict[str, Node] = {}
        for alternative in alternatives:
            for value in _values_of(alternative):
                unique.setdefault(minified(value), value)
        values = [*unique.values()]
        if len(values) == 1:
            return self.made(expression, values[0])
        cause = depends_on or " ".join(self.source(expression).split())
        if any(value.kind == "array" for value in values):
            lists = [_list_of(value) for value in values]
            if None not in lists:
                union = _union([entries for entries in lists if entries is not None], cause)
                return self.made(expression, in_any_order(array(union)))
        if len(values) > _MOST_ALTERNATIVES:
            return self.unknown(expression)
        return self.made(expression, Node("choice", 0, 0, cause, items=tuple(values)))

    def _template(self, expression: Expression) -> Node:
        parts = expression.parts
        if len(parts) == 1 and parts[0].kind == "interpolation":
            # An interpolation alone keeps the type of its value.
            node = self.evaluate(parts[0].parts[0])
            return replace(node, start=expression.start, end=expression.end)
        texts = self.template_texts(parts)
        nodes = [Node("string", expression.start, expression.end, text) for text in texts]
        return nodes[0] if len(nodes) == 1 else self.either(expression, nodes)

    _heredoc = _template

    def template_texts(self, parts: Sequence[Expression]) -> list[str]:
        """Returns the possible texts of the parts of a template together."""
        texts = [self.part_texts(part) for part in parts]
        count = prod(map(len, texts))
        if count > _MOST_ALTERNATIVES:
            for index, alternatives in enumerate(texts):
                if len(alternatives) > 1:
                    texts[index] = [self.unknown(parts[index].parts[0]).text]
            count = 1
        longest = sum(max(map(len, alternatives)) for alternatives in texts)
        self.scope.budget.spend(characters=count * longest)
        return ["".join(combination) for combination in product(*texts)]

    def part_texts(self, part: Expression) -> list[str]:
        """Returns the possible texts of a part of a template."""
        if part.kind == "text":
            return [part.text]
        inner = part.parts[0]
        return [self._text(value, inner) for value in _values_of(self.evaluate(inner))]

    def _text(self, node: Node, expression: Expression) -> str:
        if node.kind not in {"object", "array"}:
            return node.text
        # jsonencode is the value itself here.
        if expression.kind == "call" and not _is_open(node):
            self.scope.budget.spend(steps=_size(node))
            return minified(node)
        return self.unknown(expression).text

    def _tuple(self, expression: Expression) -> Node:
        elements = tuple(map(self.evaluate, expression.parts))
        return Node("array", expression.start, expression.end, items=elements)

    def _object(self, expression: Expression) -> Node | None:
        members: dict[str, Member] = {}
        for key, value in zip(expression.parts[::2], expression.parts[1::2], strict=True):
            name = plain_text(self.evaluate(key))
            if name is None:
                return None
            members[name] = Member(name, key.start, key.end, self.evaluate(value))
        return Node("object", expression.start, expression.end, members=tuple(members.values()))

    def _call(self, expression: Expression) -> Node | None:
        arguments = self._arguments(expression)
        if arguments is None:
            return None
        match expression.text:
            case "templatefile":
                return self._template_file(expression, arguments)
            case "file":
                return self._file_text(expression, arguments)
            case "try":
                return self._first_without_error(expression, arguments)
            case "lookup" if len(arguments) > 1:
                return self._looked_up(expression, arguments)
            case "element" if _is_open_place(arguments):
                values = [replace(element, depends_on="") for element in arguments[0].items]
                return self.either(expression, values) if values else None
            case "join":
                arguments = [_as_choice(argument) for argument in arguments]
        if not any(argument.kind == "choice" for argument in arguments):
            return self._applied(expression, arguments)
        alternatives = [
            self._applied(expression, combination) for combination in _combinations(arguments)
        ]
        return self._either_known(expression, alternatives)

    def _arguments(self, expression: Expression) -> list[Node] | None:
        """Returns the arguments of a call; None if a spread list is not known."""
        arguments = list(map(self.evaluate, expression.parts))
        if not expression.spread or not arguments:
            return arguments
        last = arguments.pop()
        if last.kind != "array" or any(element.depends_on for element in last.items):
            return None
        return [*arguments, *last.items]

    def _either_known(self, expression: Expression, nodes: Sequence[Node | None]) -> Node | None:
        """Returns one of several results; None if one is not known."""
        known_nodes = [node for node in nodes if node is not None]
        if not known_nodes or len(known_nodes) < len(nodes):
            return None
        return self.either(expression, known_nodes)

    def _applied(self, expression: Expression, arguments: Sequence[Node]) -> Node | None:
        """Returns the result of a function on arguments that are no choices."""
        function = FUNCTIONS.get(expression.text)
        if function is None:
            return None
        self.scope.budget.spend(characters=size_of_result(expression.text, arguments))
        self.scope.budget.spend(steps=sum(len(argument.items) for argument in arguments))
        try:
            node = function(*arguments)
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            return None
        if node is None or any(node is argument for argument in arguments):
            return node
        if node.kind != "array":
            return self.made(expression, node)
        lists = (argument for argument in arguments if argument.kind == "array")
        if not all(map(has_places, lists)):
            node = in_any_order(node)
        # Functions on lists pass on entries, which remain where they are written, or make new
        # ones.
        elements = tuple(
            element if element.end else self.made(expression, element) for element in node.items
        )
        return replace(node, start=expression.start, end=expression.end, items=elements)

    def _file_text(self, expression: Expression, arguments: Sequence[Node]) -> Node | None:
        file = self._file(arguments)
        if file is None:
            return None
        return self.relocated(text_node(file.text), expression, f"it is in {file.name}")

    def _template_file(self, expression: Expression, arguments: Sequence[Node]) -> Node | None:
        file = self._file(arguments)
        if file is None or len(arguments) != 2 or arguments[1].kind != "object":
            return None
        names = {member.key: member.value for member in arguments[1].members}
        end = "END"
        while end in file.text:
            end += "_"
        text = f"<<{end}\n{file.text}\n{end}"
        inner = Evaluator(self.scope, file.name, names, f"x = {text}\n")
        reason = f"it is in the template {file.name}"
        texts = inner.template_texts(read_expression(text).parts)
        nodes = [Node("string", 0, 0, text.removesuffix("\n"), fixed=reason) for text in texts]
        if len(nodes) > 1:
            return self.either(expression, nodes)
        return self.relocated(nodes[0], expression, reason)

    def _file(self, arguments: Sequence[Node]) -> _File | None:
        name = plain_text(arguments[0]) if arguments else None
        path = posixpath.normpath(name) if name else ""
        if path not in self.scope.folder.files:
            return None
        text = self.scope.folder.files[path]
        self.scope.budget.spend(characters=len(text), files=1)
        return _File(path, text)

    def _first_without_error(
        self, expression: Expression, arguments: Sequence[Node]
    ) -> Node | None:
        """Returns the value of `try`: a failure of an argument shows as an unknown."""
        possible: list[Node] = []
        for argument in arguments:
            possible.append(argument)
            if is_known(argument):
                break
        return self.either(expression, possible) if possible else None

    def _looked_up(self, expression: Expression, arguments: Sequence[Node]) -> Node | None:
        collection, key, *default = arguments
        if collection.kind != "object":
            return None
        name = plain_text(key)
        if name is None:
            values = [member.value for member in collection.members]
            return self.either(expression, [*values, *default]) if values or default else None
        value = collection.get(name)
        if value is None and default:
            value = default[0]
        return None if value is None else self.made(expression, value)

    def _conditional(self, expression: Expression) -> Node | None:
        test, yes, no = expression.parts
        truth = _truth(self.evaluate(test))
        if truth is not None:
            return self.made(expression, self.evaluate(yes if truth else no))
        branches = [self.evaluate(yes), self.evaluate(no)]
        return self.either(expression, branches, " ".join(self.source(test).split()))

    def _operation(self, expression: Expression) -> Node | None:
        values = [self.evaluate(part) for part in expression.parts]
        operator = expression.text
        truths = [_truth(value) for value in values]
        truth: bool | None = None
        if operator in {"&&", "||"}:
            truth = any_of(truths) if operator == "||" else all_of(truths)
        elif not all(map(is_known, values)):
            return None
        elif operator in {"==", "!="} and len(values) == 2:
            are_equal = minified(values[0]) == minified(values[1])
            truth = are_equal == (operator == "==")
        elif operator == "!" and truths[0] is not None:
            truth = not truths[0]
        return None if truth is None else self.made(expression, truth_node(truth))

    def _for(self, expression: Expression) -> Node | None:
        collection = self.evaluate(expression.parts[0])
        if collection.kind == "choice":
            alternatives = [
                self._made_for(expression, alternative) for alternative in collection.items
            ]
            return self._either_known(expression, alternatives)
        return self._made_for(expression, collection)

    def _made_for(self, expression: Expression, collection: Node) -> Node | None:
        """Returns the result of a `for` over one collection."""
        if resource := self._resource_of(collection):
            # Each instance of a repeated resource has attributes of the same form.
            collection = array([replace(resource, depends_on=resource.text)])
        if collection.kind not in {"array", "object"}:
            return None
        new_elements: list[_Result] = []
        for element in _elements(collection):
            value = element.value
            self.scope.budget.spend()
            names = {expression.names[-1]: replace(value, depends_on="")}
            if len(expression.names) > 1:
                names[expression.names[0]] = element.key
            inner = self.with_names(names)
            truths = [_truth(inner.evaluate(part)) for part in expression.parts[3:]]
            if False in truths:
                continue
            node = inner.evaluate(expression.parts[2])
            depends_on = value.depends_on or node.depends_on
            if None in truths:
                depends_on = " ".join(inner.source(expression.parts[3]).split())
            name = plain_text(inner.evaluate(expression.parts[1])) if expression.text == "{" else ""
            if name is None:
                return None
            new_elements.append(_Result(name, replace(node, depends_on=depends_on)))
        if expression.text != "[":
            return self._object_of(expression, new_elements)
        entries = array(new_element.value for new_element in new_elements)
        is_ordered = collection.kind == "object" or has_places(collection)
        return self.made(expression, entries if is_ordered else in_any_order(entries))

    def _object_of(self, expression: Expression, elements: Sequence[_Result]) -> Node | None:
        if any(entry.value.depends_on for entry in elements):
            return None
        values: dict[str, Node] = {}
        for element in elements:
            if expression.spread:
                before = values[element.name].items if element.name in values else ()
                values[element.name] = array((*before, element.value))
            else:
                values[element.name] = element.value
        members = tuple(Member(name, 0, 0, value) for name, value in values.items())
        return self.made(expression, Node("object", 0, 0, members=members))

    def _name(self, expression: Expression) -> Node | None:
        return self.names.get(expression.text)

    def _access(self, expression: Expression) -> Node | None:
        """Returns what `local.buckets[0].arn` names: a value, and the steps to a part of it."""
        base = expression.parts[0]
        steps = expression.parts[1:]
        if base.kind == "name" and base.text not in self.names:
            reference = resolve(self, expression)
            if reference is None:
                return None
            node = reference.node
            steps = tuple(reference.steps)
        else:
            node = self.evaluate(base)
        reached = self._reached(expression, node, steps)
        return self.made(expression, reached) if reached and steps else reached

    def _reached(
        self, expression: Expression, node: Node, steps: Sequence[Expression]
    ) -> Node | None:
        """Follows steps from a value; a splat follows the rest from each item."""
        for number, step in enumerate(steps):
            if node.kind == "choice":
                remaining_steps = steps[number:]
                values = [
                    self._reached(expression, alternative, remaining_steps)
                    for alternative in node.items
                ]
                return self._either_known(expression, values)
            if step.kind == "splat":
                return self._splat(expression, node, steps[number + 1 :])
            following = self._step(expression, node, step)
            if following is None:
                return None
            node = following
        return node

    def _splat(
        self, expression: Expression, node: Node, steps: Sequence[Expression]
    ) -> Node | None:
        if resource := self._resource_of(node):
            node = array([replace(resource, depends_on=resource.text)])
        if node.kind != "array":
            return None
        values: list[Node] = []
        for element in node.items:
            value = self._reached(expression, replace(element, depends_on=""), steps)
            if value is None:
                return None
            values.append(replace(value, depends_on=element.depends_on or value.depends_on))
        return array(values)

    def _step(self, expression: Expression, node: Node, step: Expression) -> Node | None:
        if step.kind == "attribute":
            return self._attribute(expression, node, step.text)
        if step.kind != "index":
            return None
        name = plain_text(self.evaluate(step.parts[0]))
        if node.kind == "object":
            if name is not None:
                return node.get(name)
            values = [member.value for member in node.members]
            return self.either(expression, values) if values else None
        if node.kind != "array" or not node.items:
            return self._resource_of(node)
        if has_places(node) and name is not None and _is_place(name):
            index = int(name)
            return node.items[index] if index < len(node.items) else None
        return self.either(expression, [replace(element, depends_on="") for element in node.items])

    def _attribute(self, expression: Expression, node: Node, name: str) -> Node | None:
        resource = self._resource_of(node)
        if resource:
            address = resource.text[2:-1]
            attribute = read_expression(f"{address}.{name}")
            return self.evaluate(replace(attribute, start=expression.start, end=expression.end))
        return node.get(name) if node.kind == "object" else None

    def _resource_of(self, node: Node) -> Node | None:
        """Returns a value that is a resource as a whole; None for any other."""
        if node.kind != "string":
            return None
        reference = _RESOURCE.fullmatch(node.text)
        if reference is None or tuple(reference[1].split(".")) not in self.scope.definitions:
            return None
        return node


class _File(Struct, frozen=True):
    name: str
    text: str


class _Result(Struct, frozen=True):
    """One result of a `for`."""

    name: str
    value: Node


def _as_choice(node: Node) -> Node:
    """Returns a list with choices among its entries as a choice of lists."""
    count = prod(len(_values_of(element)) for element in node.items)
    if node.kind != "array" or not 1 < count <= _MOST_ALTERNATIVES:
        return node
    lists = tuple(replace(node, items=combination) for combination in _combinations(node.items))
    cause = next(element.text for element in node.items if element.kind == "choice")
    return Node("choice", node.start, node.end, cause, items=lists)


def _values_of(node: Node) -> tuple[Node, ...]:
    """Returns the values of a choice, or any other value alone."""
    return node.items if node.kind == "choice" else (node,)


def _combinations(nodes: Sequence[Node]) -> list[tuple[Node, ...]]:
    """Returns values for each of the values that choices among them may have; none if they are too
    many.
    """
    values = [_values_of(node) for node in nodes]
    if prod(map(len, values)) > _MOST_ALTERNATIVES:
        return []
    return [*product(*values)]


def _is_open_place(arguments: Sequence[Node]) -> bool:
    """Returns whether arguments of `element` leave open which entry of the list it is."""
    match arguments:
        case [entries, place]:
            return not has_places(entries) or plain_text(place) is None
    return False


def _truth(node: Node) -> bool | None:
    if node.kind == "string" or node.text not in {"true", "false"}:
        return None
    return node.text == "true"


def _is_place(name: str) -> bool:
    return name.isdecimal() and len(name) < len("1000000")


def _size(node: Node) -> int:
    """Returns how many values a value has, itself included."""
    pending = [node]
    count = 0
    while pending:
        value = pending.pop()
        pending += value.items
        pending += [member.value for member in value.members]
        count += 1
    return count


def _is_open(node: Node) -> bool:
    """Returns whether an expression decides which entries or values a value has."""
    if node.kind == "choice" or node.depends_on:
        return True
    return any(map(_is_open, node.items)) or any(_is_open(member.value) for member in node.members)


def _list_of(node: Node) -> Sequence[Node] | None:
    """Returns the entries of a list that is one of several; an unknown may be any list."""
    if node.kind == "array" or is_unknown(node):
        return entries_of(node)
    return () if node.text == "null" else None


def _union(lists: Sequence[Sequence[Node]], depends_on: str) -> Iterator[Node]:
    """Yields the entries of all lists; those that not all have depend on what chooses."""
    certain = [{minified(entry) for entry in entries if not entry.depends_on} for entries in lists]
    common = set.intersection(*certain)
    texts: set[str] = set()
    for elements in lists:
        for element in elements:
            text = minified(element)
            if text in texts:
                continue
            texts.add(text)
            cause = "" if text in common else element.depends_on or depends_on
            yield replace(element, depends_on=cause)


class _Element(Struct, frozen=True):
    """An element of a collection with its key, or its index in a list."""

    key: Node
    value: Node


def _elements(node: Node) -> list[_Element]:
    """Returns the elements of a collection."""
    if node.kind == "array":
        keys: list[Node] = [Node("number", 0, 0, str(index)) for index in range(len(node.items))]
        if not has_places(node):
            keys = [unknown("the place of an entry", 0, 0)] * len(keys)
        return [_Element(key, value) for key, value in zip(keys, node.items, strict=True)]
    ordered = sorted(node.members, key=lambda member: member.key)
    return [_Element(text_node(member.key), member.value) for member in ordered]
