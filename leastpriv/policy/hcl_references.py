"""Resolves references such as `local.x`, `var.x`, `aws_s3_bucket.assets.arn` and
`data.aws_region.current.name`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from leastpriv.permissions.fact_tables import table
from leastpriv.policy.hcl_functions import is_known, plain_text, text_node
from leastpriv.policy.hcl_module import Definition, FileEvaluator, ModuleScope
from leastpriv.policy.hcl_syntax import Block, Expression, read_expression
from leastpriv.policy.syntax_tree import Node

Resolved = tuple[Node, Sequence[Expression]]
"""A value, and the steps behind it that are still to be taken."""

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


@cache
def _templates() -> Mapping[tuple[str, str], str]:
    rows = table("terraform_attributes", "leastpriv.policy")
    return {(row["type"], row["attribute"]): row["template"] for row in rows}


def known_arns(scope: ModuleScope) -> Mapping[str, tuple[str, ...]]:
    """Returns the ARNs of the module's own resources that are known, and their addresses."""
    found: dict[str, tuple[str, ...]] = {}
    for address, definition in scope.definitions.items():
        if (address[0], "arn") in _templates() and len(address) == 2 and not definition.is_repeated:
            expression = read_expression(f"{'.'.join(address)}.arn")
            if text := plain_text(scope.value(expression, definition.file)):
                found.setdefault(text, address)
    return found


def resolve(evaluator: FileEvaluator, expression: Expression) -> Resolved | None:
    """Resolves a reference, relocated unless the edited file writes it for this reference alone;
    None if not known.
    """
    return _Reference(evaluator, expression).resolve()


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
        made = {
            "local": self.local,
            "var": self.variable,
            "path": self.folder,
            "module": self.module,
        }
        return made.get(self.path[0], self.resource)()

    def rest(self, taken: int) -> Sequence[Expression]:
        return self.expression.parts[taken:]

    def fixed(self, node: Node, reason: str) -> Node:
        return self.evaluator.relocated(node, self.expression, reason)

    def local(self) -> Resolved | None:
        name = tuple(self.path[:2])
        found = self.scope.definitions.get(name)
        if found is None or found.attribute is None:
            return None
        value = found.attribute.value
        node = self.scope.once(name, lambda: self.scope.value(value, found.file))
        return self.shared(
            node, ".".join(name), found.file, self.scope.uses["local", name[1]]
        ), self.rest(2)

    def shared(self, node: Node, label: str, file: str, readers: int) -> Node:
        """Returns a value, fixed if the edited file does not write it for this reference alone."""
        if file != self.evaluator.file:
            return self.fixed(node, f"{label} is in {file}")
        return self.fixed(node, f"{readers} expressions use {label}") if readers > 1 else node

    def variable(self) -> Resolved | None:
        name = "".join(self.path[1:2])
        found = self.scope.definitions.get(("var", name))
        node = (
            self.scope.inputs.get(name)
            or self.scope.planned_variables.get(name)
            or self.scope.variables.get(name)
        )
        if node is None and found and found.attribute:
            value = found.attribute.value
            node = self.scope.once(("var", name), lambda: self.scope.value(value, found.file))
        return (
            None
            if node is None
            else (self.fixed(node, f"var.{name} is an input of the module"), self.rest(2))
        )

    def folder(self) -> Resolved | None:
        return (text_node("."), self.rest(2)) if self.path[1:] in (["module"], ["root"]) else None

    def document(self, address: tuple[str, ...]) -> Resolved | None:
        found = self.scope.definitions.get(address)
        steps = self.attribute_steps(3)
        if (
            found is None
            or steps is None
            or steps[0] not in {"json", "minified_json"}
            or found.is_repeated
        ):
            return None
        node = self.scope.once(
            address, lambda: self.scope.document(self.scope, found.file, found.block)
        )
        return self.shared(
            node, ".".join(address), found.file, self.scope.uses[address[1], address[2]]
        ), steps[1]

    def module(self) -> Resolved | None:
        found = self.scope.definitions.get(("module", *self.path[1:2]))
        steps = self.attribute_steps(2)
        inner = self.scope.child(found) if found and steps else None
        if found is None or steps is None or inner is None:
            return None
        output = inner.definitions.get(("output", steps[0]))
        value = output.block.attributes.get("value") if output else None
        if output is None or value is None:
            return None
        return self.fixed(
            inner.value(value.value, output.file), f"module.{self.path[1]} makes it"
        ), steps[1]

    def resource(self) -> Resolved | None:
        """Resolves an attribute of a resource or of a data source."""
        is_data = self.path[0] == "data"
        address = tuple(self.path[: 2 + is_data])
        if len(address) < 2 + is_data or not (is_data or "_" in address[0]):
            return None
        kind = address[-2]
        if is_data and kind == "aws_iam_policy_document":
            return self.document(address)
        steps = self.attribute_steps(2 + is_data)
        if steps is None:
            return None
        attribute, rest = steps
        found, label = self.scope.definitions.get(address), ".".join(address)
        values = self.scope.planned_values.get(label + self.index())
        node = values.get(attribute) if values else None
        if node is None and is_data and (kind, attribute) in _PROVIDER_VALUES:
            text = self.provider_value(
                _PROVIDER_VALUES[kind, attribute], found.block if found else None
            )
            node = text_node(text) if text else None
        elif node is None:
            node = self.attribute(kind, attribute, found)
        return None if node is None else (self.fixed(node, f"{label} gives it"), rest)

    def attribute_steps(self, taken: int) -> tuple[str, Sequence[Expression]] | None:
        """Returns the attribute behind the address, and the steps behind it; an index of the
        address is skipped.
        """
        steps = list(self.rest(taken))
        if steps and steps[0].kind == "index":
            del steps[0]
        if not steps or steps[0].kind != "attribute":
            return None
        return steps[0].text, steps[1:]

    def index(self) -> str:
        """Returns the index in the address as Terraform writes it, `[0]` or `["key"]`."""
        found = next((part for part in self.expression.parts if part.kind == "index"), None)
        node = self.evaluator.value(found.parts[0]) if found else None
        if node is None or (text := plain_text(node)) is None:
            return ""
        return f"[{text}]" if node.kind == "number" else f'["{text}"]'

    def attribute(self, kind: str, attribute: str, found: Definition | None) -> Node | None:
        """Returns an attribute of a resource by the table of attributes, or as its block sets
        it.
        """
        template = _templates().get((kind, attribute))
        if template is None:
            return self.set_attribute(attribute, found)
        block = found.block if found else None

        def fill(match: re.Match[str]) -> str:
            start, name, default = match.groups()
            if name[0].isupper():
                text = self.provider_value(name, block)
            elif node := self.set_attribute(name, found):
                text = node.text
            else:
                text = default if default and block and name not in block.attributes else ""
            return start + (text.removeprefix(start) if text else self.part(name, found))

        return Node("string", 0, 0, _VARIABLE.sub(fill, template))

    def part(self, name: str, found: Definition | None) -> str:
        """Returns an unknown part of an attribute; `name_prefix` is a known beginning."""
        if name[0].isupper():
            return _PROVIDER_PARTS[name]
        names = [part.text for part in self.expression.parts if part.kind in {"name", "attribute"}]
        owner = ".".join(names[: 3 if names[0] == "data" else 2]) + self.index().replace('"', "")
        prefix = self.set_attribute(f"{name}_prefix", found)
        start = prefix.text if prefix and is_known(prefix) else ""
        return f"{start}${{{re.sub(r'[^A-Za-z0-9_.-]', '-', owner)}.{name}}}"

    def set_attribute(self, name: str, found: Definition | None) -> Node | None:
        """Returns an attribute that a block sets; of a repeated block only one that does not depend
        on the instance.
        """
        given = found.block.attributes.get(name) if found else None
        if found is None or given is None:
            return None
        node = self.scope.once(
            (*found.block.labels, name), lambda: self.scope.value(given.value, found.file)
        )
        return None if node.text == "null" or (found.is_repeated and not is_known(node)) else node

    def provider_value(self, name: str, block: Block | None) -> str:
        """Returns the partition, account or region of a block's provider; empty if it cannot be
        known.
        """
        chosen = block.attributes.get("provider") if block else None
        alias = chosen.value.parts[1].text if chosen and len(chosen.value.parts) > 1 else ""
        provider = self.scope.definitions.get(("provider", "aws", alias))
        if name == "Region":
            region = provider.block.attributes.get("region") if provider else None
            node = self.scope.value(region.value, provider.file) if provider and region else None
            return (node and plain_text(node)) or ""
        other_account = (
            provider is not None and bool(alias) and any(provider.block.named("assume_role"))
        )
        if name == "Account" and other_account:
            return ""
        return self.scope.parameters.get(
            {"Account": "AWS::AccountId", "Partition": "AWS::Partition"}[name], ""
        )
