"""Resolves references such as `local.x`, `var.x`, `aws_s3_bucket.assets.arn` and
`data.aws_region.current.name`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from leastpriv.permissions.tool_lifecycle import ResourceKind, Tool
from leastpriv.policy.hcl_functions import is_known, plain_text, text_node
from leastpriv.policy.hcl_module import Definition, FileEvaluator, ModuleScope
from leastpriv.policy.hcl_syntax import Block, Expression
from leastpriv.policy.syntax_tree import Node
from leastpriv.policy.template_values import arn_of_service, attribute_template


class Resolved(Struct, frozen=True):
    """What a reference leads to."""

    node: Node
    steps: Sequence[Expression]
    """The steps behind it that are still to be taken."""


_VARIABLE = re.compile(r"\$\{((?:\w*/)?)(\w+)(?:=([^}]*))?\}")
_PROVIDER_PARTS = {
    "Partition": "${data.aws_partition.current.partition}",
    "Region": "${data.aws_region.current.name}",
    "Account": "${data.aws_caller_identity.current.account_id}",
}
"""Unknown parts, as a module would write them."""
_PROVIDER_VALUES = {
    ("aws_caller_identity", "account_id"): "Account",
    ("aws_caller_identity", "id"): "Account",
    ("aws_partition", "partition"): "Partition",
    ("aws_region", "name"): "Region",
    ("aws_region", "region"): "Region",
    ("aws_region", "id"): "Region",
}
"""Data sources whose attribute is a value of the provider."""
_MOST_MODULES = 10
"""Modules inside modules."""


def known_arns(scope: ModuleScope) -> Mapping[str, tuple[str, ...]]:
    """Returns the ARNs of the module's own resources that are known, and their addresses."""
    addresses: dict[str, tuple[str, ...]] = {}
    for address, definition in scope.definitions.items():
        if len(address) != 2 or definition.is_repeated:
            continue
        kind = ResourceKind(Tool.TERRAFORM, address[0])
        if attribute_template(kind, "arn") is None:
            continue
        arn = plain_text(scope.value(_reference_to(*address, "arn"), definition.file))
        if arn:
            addresses.setdefault(arn, address)
    return addresses


def _reference_to(base: str, *attributes: str) -> Expression:
    """Returns the expression of a reference: `aws_sqs_queue.orders.arn`."""
    steps = (Expression("attribute", 0, 0, attribute) for attribute in attributes)
    return Expression("access", 0, 0, parts=(Expression("name", 0, 0, base), *steps))


def resolve(evaluator: FileEvaluator, expression: Expression) -> Resolved | None:
    """Resolves a reference, relocated unless the edited file writes it for this reference alone;
    None if not known.
    """
    return _Reference(evaluator, expression).resolve()


class _AttributeStep(Struct, frozen=True):
    """An attribute, and the steps behind it."""

    name: str
    rest: Sequence[Expression]


class _Reference:
    """One reference in an expression."""

    def __init__(self, evaluator: FileEvaluator, expression: Expression) -> None:
        self.evaluator = evaluator
        self.scope = evaluator.scope
        self.expression = expression
        self.path: list[str] = []
        for part in expression.parts:
            if part.kind not in {"name", "attribute"}:
                break
            self.path.append(part.text)

    def resolve(self) -> Resolved | None:
        if self.scope.depth > _MOST_MODULES:
            return None
        resolvers = {
            "local": self.local,
            "var": self.variable,
            "path": self.folder,
            "module": self.module,
        }
        return resolvers.get(self.path[0], self.resource)()

    def rest(self, taken: int) -> Sequence[Expression]:
        return self.expression.parts[taken:]

    def fixed(self, node: Node, reason: str) -> Node:
        return self.evaluator.relocated(node, self.expression, reason)

    def local(self) -> Resolved | None:
        name = tuple(self.path[:2])
        definition = self.scope.definitions.get(name)
        if definition is None or definition.attribute is None:
            return None
        readers = self.scope.uses["local", name[1]]
        node = self.scope.definition_value(name)
        return Resolved(self.shared(node, ".".join(name), definition.file, readers), self.rest(2))

    def shared(self, node: Node, label: str, file: str, readers: int) -> Node:
        """Returns a value, fixed if the edited file does not write it for this reference alone."""
        if file != self.evaluator.file:
            return self.fixed(node, f"{label} is in {file}")
        return self.fixed(node, f"{readers} expressions use {label}") if readers > 1 else node

    def variable(self) -> Resolved | None:
        name = "".join(self.path[1:2])
        node = (
            self.scope.inputs.get(name)
            or self.scope.planned_variables.get(name)
            or self.scope.variables.get(name)
        )
        definition = self.scope.definitions.get(("var", name))
        if node is None and definition and definition.attribute:
            node = self.scope.definition_value(("var", name))
        if node is None:
            return None
        return Resolved(self.fixed(node, f"var.{name} is an input of the module"), self.rest(2))

    def folder(self) -> Resolved | None:
        if self.path[1:] not in (["module"], ["root"]):
            return None
        return Resolved(text_node("."), self.rest(2))

    def document(self, address: tuple[str, ...]) -> Resolved | None:
        definition = self.scope.definitions.get(address)
        step = self.attribute_step(3)
        if definition is None or step is None or step.name not in {"json", "minified_json"}:
            return None
        node = self.scope.definition_value(address)
        label = ".".join(address)
        if definition.is_repeated:
            # All instances have the same statements; what differs by instance is unknown.
            return Resolved(self.fixed(node, f"count or for_each repeats {label}"), step.rest)
        readers = self.scope.uses[address[1], address[2]]
        return Resolved(self.shared(node, label, definition.file, readers), step.rest)

    def module(self) -> Resolved | None:
        definition = self.scope.definitions.get(("module", *self.path[1:2]))
        step = self.attribute_step(2)
        inner = self.scope.child(definition) if definition and step else None
        if definition is None or step is None or inner is None:
            return None
        output = inner.definitions.get(("output", step.name))
        value = output.block.attributes.get("value") if output else None
        if output is None or value is None:
            return None
        node = inner.evaluate(value.value, output.file)
        return Resolved(self.fixed(node, f"module.{self.path[1]} makes it"), step.rest)

    def resource(self) -> Resolved | None:
        """Resolves an attribute of a resource or of a data source."""
        is_data = self.path[0] == "data"
        address = tuple(self.path[: 2 + is_data])
        if len(address) < 2 + is_data or not (is_data or "_" in address[0]):
            return None
        kind = address[-2]
        if is_data and kind == "aws_iam_policy_document":
            return self.document(address)
        self.scope.visit(address)
        step = self.attribute_step(2 + is_data)
        if step is None:
            return self.whole(address)
        label = ".".join(address)
        node = self.attribute_of(address, step.name)
        return None if node is None else Resolved(self.fixed(node, f"{label} gives it"), step.rest)

    def whole(self, address: tuple[str, ...]) -> Resolved | None:
        """Resolves a resource as a whole to an unknown whose attributes can be asked for."""
        if address not in self.scope.definitions:
            return None
        text = f"${{{'.'.join(address)}}}"
        node = Node("string", self.expression.start, self.expression.end, text)
        steps = self.rest(len(address))
        return Resolved(node, steps[1:] if steps and steps[0].kind == "index" else steps)

    def attribute_of(self, address: tuple[str, ...], attribute: str) -> Node | None:
        """Returns what a plan knows of an attribute, or what its resource sets, or its form."""
        kind = address[-2]
        values = self.scope.planned_values.get(".".join(address) + self.index())
        node = values.get(attribute) if values else None
        if node is not None:
            return node
        definition = self.scope.definitions.get(address)
        if address[0] == "data" and (kind, attribute) in _PROVIDER_VALUES:
            block = definition.block if definition else None
            text = self.provider_value(_PROVIDER_VALUES[kind, attribute], block)
            return text_node(text) if text else None
        return self.attribute(address, attribute, definition)

    def attribute_step(self, taken: int) -> _AttributeStep | None:
        """Returns the attribute behind the address; an index of the address is skipped."""
        steps = list(self.rest(taken))
        if steps and steps[0].kind == "index":
            del steps[0]
        if not steps or steps[0].kind != "attribute":
            return None
        return _AttributeStep(steps[0].text, steps[1:])

    def index(self) -> str:
        """Returns the index in the address as Terraform writes it, `[0]` or `["key"]`."""
        index_part = next((part for part in self.expression.parts if part.kind == "index"), None)
        node = self.evaluator.value(index_part.parts[0]) if index_part else None
        if node is None or (text := plain_text(node)) is None:
            return ""
        return f"[{text}]" if node.kind == "number" else f'["{text}"]'

    def attribute(
        self, address: tuple[str, ...], attribute: str, definition: Definition | None
    ) -> Node | None:
        """Returns an attribute of a resource by the table of attributes, or as its block sets
        it; any other ARN has the form of its service.
        """
        kind = ResourceKind(Tool.TERRAFORM, address[-2])
        template = attribute_template(kind, attribute)
        if template is None:
            value = self.set_attribute(address, attribute, definition)
            if value is not None or attribute != "arn":
                return value
            template = arn_of_service(kind, attribute)
            if not template:
                return None
        block = definition.block if definition else None

        def fill(match: re.Match[str]) -> str:
            start, name, default = match.groups()
            if name[0].isupper():
                text = self.provider_value(name, block)
            elif node := self.set_attribute(address, name, definition):
                text = node.text
            else:
                text = default if default and block and name not in block.attributes else ""
            return start + (text.removeprefix(start) if text else self.part(name, definition))

        return Node("string", 0, 0, _VARIABLE.sub(fill, template))

    def part(self, name: str, definition: Definition | None) -> str:
        """Returns an unknown part of an attribute; `name_prefix` is a known beginning."""
        if name[0].isupper():
            return _PROVIDER_PARTS[name]
        names = [part.text for part in self.expression.parts if part.kind in {"name", "attribute"}]
        owner = ".".join(names[: 3 if names[0] == "data" else 2]) + self.index().replace('"', "")
        address = tuple(names[: 3 if names[0] == "data" else 2])
        prefix = self.set_attribute(address, f"{name}_prefix", definition)
        start = prefix.text if prefix and is_known(prefix) else ""
        return f"{start}${{{re.sub(r'[^A-Za-z0-9_.-]', '-', owner)}.{name}}}"

    def set_attribute(
        self, address: tuple[str, ...], name: str, definition: Definition | None
    ) -> Node | None:
        """Returns an attribute that a block sets; of a repeated block only one that does not depend
        on the instance.
        """
        node = self.scope.attribute_value(address, name)
        if definition is None or node is None or node.text == "null":
            return None
        if node.kind == "choice":
            return None
        return None if definition.is_repeated and not is_known(node) else node

    def provider_value(self, name: str, block: Block | None) -> str:
        """Returns the partition, account or region of a block's provider; empty if it cannot be
        known.
        """
        alias = _provider_alias(block)
        provider = self.scope.definitions.get(("provider", "aws", alias))
        if name == "Region":
            region = provider.block.attributes.get("region") if provider else None
            if provider is None or region is None:
                return ""
            return plain_text(self.scope.evaluate(region.value, provider.file)) or ""
        if name == "Partition":
            return self.scope.parameters.get("AWS::Partition", "")
        if provider and alias and any(provider.block.named("assume_role")):
            # Perhaps another account.
            return ""
        return self.scope.parameters.get("AWS::AccountId", "")


def _provider_alias(block: Block | None) -> str:
    """Returns the alias of the provider that a block names, `aws.ALIAS`; empty for the default."""
    provider = block.attributes.get("provider") if block else None
    if provider is None or len(provider.value.parts) < 2:
        return ""
    return provider.value.parts[1].text
