"""Holds what the expressions of a Terraform module can refer to: definitions, variables, a plan's
values.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.budget import Budget, dependencies_first
from leastpriv.errors import CycleError, PolicyFileError, TooLargeError
from leastpriv.policy.hcl_functions import known_value, plain_text
from leastpriv.policy.hcl_syntax import (
    Attribute,
    Block,
    Expression,
    expressions_in,
    parts_in,
    read_blocks,
)
from leastpriv.policy.source import TerraformFolder, is_hcl
from leastpriv.policy.syntax_tree import Member, Node, minified, read_json
from leastpriv.policy.template_functions import is_one_expression, placeholder_for

_LABELS = MappingProxyType({"resource": 3, "data": 3, "variable": 2, "module": 2})
"""Keywords of blocks -> how many labels a block has, with its keyword."""
VALUES = frozenset({"local", "var"})
"""Beginnings of the addresses of values."""
_MOST_CHARACTERS = 1_000_000
"""Of all HCL files of a folder, which take some seconds to read. The edited file counts first, then
the smaller ones."""
Names = Mapping[str, Node]
"""Variables of `for`, `dynamic` and `templatefile`."""

NO_NAMES: Names = MappingProxyType({})


def relocated(node: Node, start: int, end: int, reason: str) -> Node:
    """Returns a value as one that an expression at this place makes, so that no edit writes into
    it.
    """
    return replace(
        node,
        start=start,
        end=end,
        fixed=node.fixed or reason,
        items=tuple(relocated(entry, start, end, reason) for entry in node.items),
        members=tuple(
            Member(member.key, start, start, relocated(member.value, start, end, reason))
            for member in node.members
        ),
    )


def unknown(text: str, start: int, end: int) -> Node:
    """Returns a value of which only the expression is known."""
    source = " ".join(text.split())
    interpolation = f"${{{source}}}"
    if not is_one_expression(interpolation):
        interpolation = f"${{{placeholder_for(source).name}}}"
    return Node("string", start, end, interpolation)


Address = tuple[str, ...]
"""Of a definition in parts: `("local", "queues")`, `("aws_sqs_queue", "orders")`."""


class Definition(Struct, frozen=True):
    """A block or attribute, its address, and the file that has it."""

    address: Address
    file: str
    block: Block
    attribute: Attribute | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether `count` or `for_each` makes instances of the block."""
        return bool({"count", "for_each"} & {*self.block.attributes})


class Nesting:
    """How many evaluations are inside one another."""

    def __init__(self) -> None:
        self.depth = 0


class FileEvaluator(Protocol):
    """Evaluates the expressions of one file of a module."""

    scope: ModuleScope
    file: str

    def value(self, expression: Expression) -> Node:
        """Evaluates an expression; one beyond the budget is an unknown."""

    def evaluate(self, expression: Expression) -> Node:
        """Evaluates an expression; raises TooLargeError beyond the budget."""

    def relocated(self, node: Node, expression: Expression, reason: str) -> Node:
        """Returns a value at the place of an expression that only refers to it."""


def _definitions(file: str, block: Block) -> Iterator[Definition]:
    """Yields what a block defines."""
    match block.labels[0]:
        case "locals":
            for name, attribute in block.attributes.items():
                yield Definition(("local", name), file, block, attribute)
        case "variable":
            default = block.attributes.get("default")
            yield Definition(("var", *block.labels[1:]), file, block, default)
        case "provider":
            alias = block.attributes.get("alias")
            parts = alias.value.parts if alias else ()
            name = "".join(part.text for part in parts)
            yield Definition(("provider", *block.labels[1:2], name), file, block)
        case "resource":
            yield Definition(block.labels[1:], file, block)
        case _:
            yield Definition(block.labels, file, block)


@dataclass
class ModuleScope:
    """What the expressions of one folder can refer to."""

    evaluator: Callable[[ModuleScope, str, Names], FileEvaluator]
    """Makes the evaluator of a file, with variables."""
    document: Callable[[ModuleScope, str, Block], Node]
    """Reads the data source `aws_iam_policy_document` of a file."""
    folder: TerraformFolder
    parameters: Mapping[str, str]
    """Values of `AWS::Partition` and `AWS::AccountId`."""
    inputs: Mapping[str, Node] = field(default_factory=dict)
    """Arguments of the call of this module."""
    edited: str = ""
    """The file that has the policy; empty in other modules."""
    depth: int = 0
    """How many modules it is inside of."""
    budget: Budget = field(default_factory=lambda: Budget.of("policy"))
    """Of the folder, with the modules that it calls."""
    nesting: Nesting = field(default_factory=lambda: Nesting())
    known_definitions: dict[Address, Node] = field(default_factory=dict)
    """Values of definitions that have been evaluated."""
    visited: set[Address] = field(default_factory=set)
    """Definitions whose references have been evaluated."""
    children: dict[Address, ModuleScope | None] = field(default_factory=dict)
    """Scopes of the modules that are called."""
    cycles: list[CycleError] = field(default_factory=list)
    """Definitions that refer to each other, which are unknown."""

    @cached_property
    def files(self) -> Mapping[str, Block]:
        """The parsed files of the folder itself."""
        names = [name for name in self.folder.files if "/" not in name and is_hcl(name)]
        blocks: dict[str, Block] = {}
        remaining_characters = _MOST_CHARACTERS
        for name in sorted(names, key=self._size_rank):
            remaining_characters -= len(self.folder.files[name])
            if remaining_characters >= 0:
                blocks[name] = read_blocks(self.folder.files[name])
        return {name: blocks[name] for name in names if name in blocks}

    def _size_rank(self, name: str) -> tuple[bool, int]:
        return name != self.edited, len(self.folder.files[name])

    @cached_property
    def definitions(self) -> Mapping[Address, Definition]:
        """Address in parts -> definition."""
        return {definition.address: definition for definition in self._declared()}

    @cached_property
    def declared_twice(self) -> Mapping[Address, frozenset[str]]:
        """Address in parts -> the files that declare it, which Terraform refuses; an override file
        may repeat an address ("Override Files" of the Terraform language).
        """
        files: dict[Address, str] = {}
        duplicates: dict[Address, frozenset[str]] = {}
        for definition in self._declared():
            if posixpath.splitext(definition.file)[0].endswith("override"):
                continue
            first = files.setdefault(definition.address, definition.file)
            if first != definition.file:
                duplicates[definition.address] = frozenset({first, definition.file})
        return duplicates

    def _declared(self) -> Iterator[Definition]:
        for file, body in self.files.items():
            for block in body.blocks:
                # Terraform refuses a wrong number of labels; no address leads to such a block.
                if len(block.labels) == _LABELS.get(block.labels[0], len(block.labels)):
                    yield from _definitions(file, block)

    @cached_property
    def uses(self) -> Counter[Address]:
        """How many expressions refer to each local value or data source."""
        return Counter(
            name
            for body in self.files.values()
            for expression in expressions_in(body)
            for name in _reference(expression)
        )

    @cached_property
    def variables(self) -> Mapping[str, Node]:
        """Values of variables in `*.tfvars`; files that Terraform loads only by name count if they
        agree.
        """
        loaded: dict[str, Node] = {}
        values_by_name: dict[str, list[Node]] = {}
        for name in sorted(self.folder.files):
            if "/" in name or not name.endswith((".tfvars", ".tfvars.json")):
                continue
            automatic = name.startswith("terraform.tfvars") or ".auto.tfvars" in name
            for member in _tfvars(name, self.folder.files[name], self):
                if automatic:
                    loaded[member.key] = member.value
                else:
                    values_by_name.setdefault(member.key, []).append(member.value)
        for key, values in values_by_name.items():
            is_same = len({minified(value) for value in values}) == 1
            loaded.setdefault(key, values[0] if is_same else unknown(f"var.{key}", 0, 0))
        return loaded

    def value(self, expression: Expression, file: str) -> Node:
        """Evaluates an expression of a file; one beyond the budget is an unknown."""
        return self.evaluator(self, file, NO_NAMES).value(expression)

    def evaluate(self, expression: Expression, file: str) -> Node:
        """Evaluates an expression of a file; raises TooLargeError beyond the budget."""
        return self.evaluator(self, file, NO_NAMES).evaluate(expression)

    @cached_property
    def planned(self) -> Node | None:
        """The output of `terraform show -json`."""
        try:
            return (
                read_json(self.folder.plan, "terraform-plan")
                if self.folder.plan and not self.inputs
                else None
            )
        except PolicyFileError:
            return None

    @cached_property
    def planned_variables(self) -> Mapping[str, Node]:
        """Values of the plan's variables."""
        variables = self.planned.get("variables") if self.planned else None
        variable_values = (
            (member.key, member.value.get("value"))
            for member in (variables.members if variables else ())
        )
        return {name: known_value(value) for name, value in variable_values if value}

    @cached_property
    def planned_values(self) -> Mapping[str, Mapping[str, Node]]:
        """Address of a resource or data source -> its attributes that the plan knows."""
        attributes_by_address: dict[str, dict[str, Node]] = {}
        for path in (("prior_state", "values"), ("planned_values",)):
            node: Node | None = self.planned
            for key in (*path, "root_module", "resources"):
                node = node.get(key) if node else None
            for resource in node.items if node else ():
                address, values = resource.get("address"), resource.get("values")
                if address and values:
                    known_values = (
                        (member.key, known_value(member.value)) for member in values.members
                    )
                    attributes = attributes_by_address.setdefault(address.text, {})
                    attributes.update(
                        (key, value) for key, value in known_values if value.text != "null"
                    )
        return attributes_by_address

    def definition_value(self, address: Address) -> Node:
        """Returns the value of a local, a default of a variable or a policy document.

        What it refers to is evaluated before it, so that a chain of references may have any
        length. What refers to itself is an unknown.
        """
        self.visit(address)
        if address not in self.known_definitions:
            return unknown(".".join(address), 0, 0)
        return self.known_definitions[address]

    def visit(self, address: Address) -> None:
        """Evaluates what a definition refers to, and then itself; notes a cycle."""
        if address in self.visited or address not in self.definitions:
            return
        try:
            for dependency in dependencies_first(
                address, self._references, self.visited, self.budget
            ):
                self.visited.add(dependency)
                self._evaluate_definition(dependency)
        except CycleError as error:
            # What refers to the cycle remains unknown.
            self.visited.add(address)
            self.cycles.append(error)
        except TooLargeError:
            # What comes later in the walk remains unknown.
            self.visited.add(address)

    def _references(self, address: Address) -> Iterator[Address]:
        definition = self.definitions.get(address)
        if definition is None or address[0] == "module":
            return
        expressions = [definition.attribute.value] if definition.attribute else []
        if address[0] not in VALUES:
            expressions += expressions_in(definition.block)
        for expression in expressions:
            for path in paths_in(expression):
                for length in (2, 3):
                    if path[:length] in self.definitions:
                        yield path[:length]

    def _evaluate_definition(self, address: Address) -> None:
        definition = self.definitions[address]
        self.known_definitions[address] = unknown(".".join(address), 0, 0)
        if address[0] in VALUES:
            if definition.attribute is None:
                del self.known_definitions[address]
            else:
                value = self.evaluate(definition.attribute.value, definition.file)
                self.known_definitions[address] = value
        elif address[:2] == ("data", "aws_iam_policy_document"):
            self.known_definitions[address] = self.document(self, definition.file, definition.block)

    def attribute_value(self, address: Address, name: str) -> Node | None:
        """Returns an attribute that a block sets; None if it sets none."""
        definition = self.definitions.get(address)
        attribute = definition.block.attributes.get(name) if definition else None
        if definition is None or attribute is None:
            return None
        key = (*address, name)
        if key not in self.known_definitions:
            self.known_definitions[key] = unknown(".".join(key), 0, 0)
            self.known_definitions[key] = self.evaluate(attribute.value, definition.file)
        return self.known_definitions[key]

    def child(self, definition: Definition) -> ModuleScope | None:
        """Returns the scope of a module in a folder below, with the arguments of its call; None
        where these refer to the module.
        """
        labels = definition.block.labels
        if labels not in self.children:
            self.children[labels] = None
            self.children[labels] = self._child(definition)
        return self.children[labels]

    def _child(self, definition: Definition) -> ModuleScope | None:
        attributes = definition.block.attributes
        source = (
            plain_text(self.value(attributes["source"].value, definition.file))
            if "source" in attributes
            else None
        )
        if source is None or not source.startswith("./"):
            return None
        prefix = posixpath.normpath(source) + "/"
        names = [name for name in self.folder.files if name.startswith(prefix)]
        files = {name.removeprefix(prefix): self.folder.files[name] for name in names}
        arguments = {
            name: self.value(attribute.value, definition.file)
            for name, attribute in attributes.items()
        }
        if not files:
            return None
        inner = TerraformFolder(files)
        return ModuleScope(
            evaluator=self.evaluator,
            document=self.document,
            folder=inner,
            parameters=self.parameters,
            inputs=arguments,
            depth=self.depth + 1,
            budget=self.budget,
            nesting=self.nesting,
        )


_LITERALS = "values"
"""Name of a file that no reference can mean."""


def _tfvars(name: str, text: str, scope: ModuleScope) -> Iterator[Member]:
    """Yields the variables that a file sets."""
    if name.endswith(".json"):
        try:
            root = read_json(text, name)
        except PolicyFileError:
            return
        for member in root.members:
            yield Member(member.key, 0, 0, known_value(member.value))
        return
    # Such a file has literal values, and cannot refer to others.
    alone = ModuleScope(
        evaluator=scope.evaluator,
        document=scope.document,
        folder=TerraformFolder({_LITERALS: text}),
        parameters=scope.parameters,
        budget=scope.budget,
        nesting=scope.nesting,
    )
    for key, attribute in read_blocks(text).attributes.items():
        value = relocated(alone.value(attribute.value, _LITERALS), 0, 0, f"it is in {name}")
        yield Member(key, 0, 0, value)


def paths_in(expression: Expression) -> Iterator[Address]:
    """Yields the references in an expression."""
    for subexpression in parts_in(expression):
        if subexpression.kind == "access" and subexpression.parts[0].kind == "name":
            yield tuple(
                part.text for part in subexpression.parts if part.kind in {"name", "attribute"}
            )


def _reference(expression: Expression) -> Iterator[Address]:
    if expression.kind == "access" and expression.parts[0].kind == "name":
        path = [part.text for part in expression.parts]
        if path[0] == "local" and len(path) > 1:
            yield "local", path[1]
        if path[0] == "data" and len(path) > 2:
            yield path[1], path[2]
