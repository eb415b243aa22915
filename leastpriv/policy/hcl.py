"""Finds policies in Terraform's own language, by address or by the role that they are attached to.

An address such as `data.aws_iam_policy_document.deploy` or `aws_iam_role_policy.deploy.policy`
names a policy; several, separated by commas, are read as one policy that grants what they grant
together.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.policy.hcl_document import (
    document_node,
    normalized,
    policy_node,
    without_options,
)
from leastpriv.policy.hcl_evaluate import Evaluator
from leastpriv.policy.hcl_functions import is_known, known_value, plain_text
from leastpriv.policy.hcl_module import Definition, ModuleScope, paths_in, relocated
from leastpriv.policy.hcl_references import known_arns
from leastpriv.policy.hcl_syntax import Attribute, Block, Expression, expressions_in, json_block
from leastpriv.policy.source import PolicySource, TerraformFolder, format_names, rendered_source
from leastpriv.policy.syntax_tree import Member, Node, json_value, line_of, position, read_json

_DATA_SOURCE = "aws_iam_policy_document"
_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\[(\d{1,4})\])?")
_SEPARATOR = ","
_VALUES = {"local", "var"}
_USE_A_PLAN = "name the output of `terraform show -json PLAN` in terraform-plan"


def read_hcl(
    text: str, where: str, pointer: str, folder: TerraformFolder, parameters: Mapping[str, str]
) -> PolicySource:
    """Reads the policies at one or several addresses; the message of PolicyFileError lists the
    policies of the file.
    """
    reader = _Reader(text, where, pointer, module_scope(text, where, folder, parameters))
    policies = [reader.policy(address) for address in pointer.split(_SEPARATOR)]
    if cycles := reader.scope.cycles:
        raise PolicyFileError(f"{where}: {cycles[0]}.")
    policy = policies[0]
    if len(policies) > 1:
        # The joined policy has the version of the first.
        values = [node.get_any_case("Statement") for node in policies]
        statements = tuple(statement for value in values if value for statement in value.entries)
        statement_member = Member(
            "Statement",
            policy.start,
            policy.end,
            Node("array", policy.start, policy.end, items=statements),
        )
        other_members = tuple(
            member for member in policy.members if member.key.casefold() != "statement"
        )
        policy = replace(policy, members=(*other_members, statement_member))
    return PolicySource(
        format="hcl",
        pointer=pointer,
        text=text,
        policy=policy,
        language="terraform",
        outer=text,
        folder=folder,
    )


def render_data_source(
    source: PolicySource, where: str, parameters: Mapping[str, str]
) -> PolicySource:
    """Renders a data source in Terraform's JSON."""
    text = source.outer
    scope = module_scope(text, where, source.folder, parameters)
    block = json_block(text, source.policy, ("data", _DATA_SOURCE, ""))
    policy = without_options(normalized(document_node(scope, _file_name(where), block)))
    statements = policy.get("Statement")
    lines = tuple(line_of(text, node.start) for node in statements.items) if statements else ()
    rendered = json.dumps(json_value(policy), indent=2, ensure_ascii=False) + "\n"
    return rendered_source(rendered, where, source.pointer, lines or (1,))


def attached_policies(
    text: str, where: str, role: str, folder: TerraformFolder, parameters: Mapping[str, str]
) -> str:
    """Returns the addresses of the policies that a folder attaches to a role, as a pointer; empty
    for none.
    """
    return _SEPARATOR.join(
        dict.fromkeys(attached_addresses(module_scope(text, where, folder, parameters), role))
    )


def references_of(
    source: PolicySource, where: str, parameters: Mapping[str, str]
) -> Mapping[str, str]:
    """Returns the ARNs of resources that the module defines, and the references by which its policy
    can name them.

    A resource that depends on the policy, or on the role whose block has it, is left out: Terraform
    refuses cycles.
    """
    scope = module_scope(source.outer, where, source.folder, parameters)
    policy_addresses = {
        tuple(_PART.sub(r"\1", part) for part in address.split("."))
        for address in source.pointer.split(_SEPARATOR)
    }
    targets = {
        address
        for address in scope.definitions
        if any(policy_address[: len(address)] == address for policy_address in policy_addresses)
    }
    targets |= {
        address
        for address, definition in scope.definitions.items()
        if targets & _references(scope, definition.block)
    }
    return {
        arn: f"{'.'.join(address)}.arn"
        for arn, address in known_arns(scope).items()
        if not targets & _reached(scope, address)
    }


def _reached(scope: ModuleScope, address: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Returns an address and all that its definition depends on."""
    addresses, queue = {address}, [address]
    while queue:
        new = _references(scope, scope.definitions[queue.pop()].block) - addresses
        addresses |= new
        queue += new
    return addresses


def _references(scope: ModuleScope, block: Block) -> set[tuple[str, ...]]:
    """Returns the addresses that a block's expressions name."""
    paths = {path for expression in expressions_in(block) for path in paths_in(expression)}
    return {
        path[:length] for path in paths for length in (2, 3) if path[:length] in scope.definitions
    }


def module_scope(
    text: str, where: str, folder: TerraformFolder, parameters: Mapping[str, str]
) -> ModuleScope:
    """Returns the scope of a folder with a file that has this text."""
    name = _file_name(where)
    files = ChainMap({name: text}, cast("MutableMapping[str, str]", folder.files))
    return ModuleScope(
        evaluator=Evaluator,
        document=document_node,
        folder=TerraformFolder(files, folder.plan),
        parameters=parameters,
        edited=name,
    )


def _file_name(where: str) -> str:
    return posixpath.basename(where.replace("\\", "/"))


class _AddressStep(Struct, frozen=True):
    """A part of an address: `inline_policy[1]`."""

    name: str
    index: str | None
    """Digits; None where the part has no index."""


class _PolicyOfFile(Struct, frozen=True):
    """A policy, and the name of the file of the module that has it."""

    file: str
    node: Node


class _Reader(Struct, frozen=True):
    """Resolves addresses; `pointer` names the policy in messages."""

    text: str
    where: str
    pointer: str
    scope: ModuleScope

    @property
    def file(self) -> str:
        return _file_name(self.where)

    def error(self, problem: str, kind: type[PolicyFileError] = PolicyFileError) -> PolicyFileError:
        return kind(f"{self.where}: {self.pointer or 'the file'} {problem}.")

    def policy(self, address: str) -> Node:
        """Returns the policy at one address, with what a plan knows of it."""
        steps = [
            _AddressStep(match[1], match[2])
            for part in address.split(".")
            if (match := _PART.fullmatch(part))
        ]
        names = tuple(step.name for step in steps)
        if names[:2] == ("data", _DATA_SOURCE) and len(names) == 3:
            policy = self.data_source_policy(names)
        else:
            policy = self.attribute_policy(steps)
        node = policy.node
        if policy.file != self.file:
            node = relocated(node, 0, 0, f"it is in {policy.file}")
        return with_rendered(node, self.rendered(address))

    def data_source_policy(self, names: tuple[str, ...]) -> _PolicyOfFile:
        definition = self.container(names)
        self.check(definition.file, definition.block)
        self.scope.visit(names)
        node = document_node(self.scope, definition.file, definition.block)
        return _PolicyOfFile(definition.file, normalized(node))

    def attribute_policy(self, steps: Sequence[_AddressStep]) -> _PolicyOfFile:
        owner = self._owner(tuple(step.name for step in steps))
        definition = self.container(owner)
        file = definition.file
        body = definition.block
        path = list(steps[len(owner) :])
        if owner[:1] == ("local",):
            path = [_AddressStep(owner[1], None)]
        while len(path) > 1:
            step = path.pop(0)
            body = self._nested_block(body, step.name, int(step.index or 0))
        attribute = body.attributes.get(path[0].name if path else _attribute_of(body))
        if attribute is None:
            raise self.unknown_address()
        self.check(file, body)
        node = policy_node(self.scope, file, attribute.value)
        if node and not _is_unknown(node):
            return _PolicyOfFile(file, node)
        parts = (f"{step.name}[{step.index}]" if step.index else step.name for step in steps)
        rendered = self.rendered(".".join(parts))
        if rendered:
            node = relocated(rendered, attribute.start, attribute.end, "an expression makes it")
            return _PolicyOfFile(file, node)
        if attribute.value.kind in {"heredoc", "template"} and file == self.file:
            raise self.error(f"is text that is no JSON before Terraform renders it; {_USE_A_PLAN}")
        raise self.error(f"is an expression that only Terraform can work out; {_USE_A_PLAN}")

    def _owner(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the address of the block that has an attribute; empty if there is none."""
        for length in (3, 2):
            if names[:length] in self.scope.definitions:
                return names[:length]
        return ()

    def _nested_block(self, body: Block, name: str, index: int) -> Block:
        blocks = list(body.named(name))
        if index >= len(blocks):
            problem = f"leads nowhere: there are {len(blocks)} blocks {name}; correct the address"
            raise self.error(problem, NoPolicyError)
        return blocks[index]

    def container(self, address: tuple[str, ...]) -> Definition:
        definition = self.scope.definitions.get(address)
        if definition is None:
            raise self.unknown_address()
        if twice := self.scope.declared_twice.get(address):
            raise self.error(
                f"is declared in {' and in '.join(sorted(twice))}, which Terraform refuses: remove"
                " one of them"
            )
        return definition

    def check(self, file: str, block: Block) -> None:
        if block.error >= 0 and file == self.file:
            raise self.not_hcl(block.error)

    def not_hcl(self, offset: int) -> PolicyFileError:
        return PolicyFileError(
            f"{self.where}: {position(self.text, offset)}: this is not HCL; correct it."
        )

    def unknown_address(self) -> PolicyFileError:
        root = self.scope.files.get(self.file)
        if root is None:
            return self.error("is in a file that is too large; move it to a separate file")
        blocks = {
            address: definition.block
            for address, definition in self.scope.definitions.items()
            if definition.file == self.file
        }
        addresses = [address for address, block in blocks.items() if _has_policy(address, block)]
        if not addresses:
            if root.error >= 0:
                return self.not_hcl(root.error)
            begin = "leads nowhere, and the file " if self.pointer else ""
            return self.error(f"{begin}has no policy; name another file", NoPolicyError)
        problem = "leads nowhere" if self.pointer else "is HCL"
        names: list[str] = []
        for address in addresses:
            is_data_source = address[0] == "data"
            path = address if is_data_source else (*address, _attribute_of(blocks[address]))
            names.append(".".join(path))
        advice = f"{problem}: name one of its policies by its address ({format_names(names)})"
        return self.error(advice, NoPolicyError)

    def rendered(self, address: str) -> Node | None:
        """Returns the policy at an address as the plan renders it."""
        length = 2
        default = "policy"
        if address.startswith("data."):
            length = 3
            default = "json"
        elif address.startswith(_PERMISSION_SET):
            default = _INLINE_POLICY
        parts = address.split(".")
        path = parts[length:] or [default]
        values = self.scope.planned_values.get(".".join(parts[:length]), {})
        node = values.get(path[0]) if len(path) == 1 else _nested_value(values, path)
        text = plain_text(node) if node and node.kind == "string" else None
        if not text:
            return None
        try:
            return known_value(read_json(text, self.where))
        except PolicyFileError:
            return None


def _has_policy(address: tuple[str, ...], block: Block) -> bool:
    if address[:2] == ("data", _DATA_SOURCE):
        return True
    return address[0] not in _VALUES and _attribute_of(block) in block.attributes


def _nested_value(values: Mapping[str, Node], path: Sequence[str]) -> Node | None:
    """Returns the value of an attribute of a block in a resource: `inline_policy[0].policy`."""
    part = _PART.fullmatch(path[0])
    blocks = values.get(part[1]) if part else None
    if part is None or blocks is None:
        return None
    index = int(part[2] or 0)
    return blocks.items[index].get(path[-1]) if index < len(blocks.items) else None


_PERMISSION_SET = "aws_ssoadmin_permission_set_inline_policy."
_INLINE_POLICY = "inline_policy"
"""The policy of a permission set of IAM Identity Center."""


def _attribute_of(block: Block) -> str:
    """Returns the name of the attribute that holds the policy of a resource."""
    if "policy" not in block.attributes and _INLINE_POLICY in block.attributes:
        return _INLINE_POLICY
    return "policy"


def _is_unknown(policy: Node) -> bool:
    """Returns whether all that is known of a policy is an expression."""
    statement = policy.get_any_case("Statement")
    statements = statement.items if statement else ()
    return len(statements) == 1 and statements[0].get("Action") == statements[0].get("Resource")


def with_rendered(policy: Node, rendered: Node | None) -> Node:
    """Returns the policy of the file with what the plan knows in the place of unknown values."""
    value = policy.get_any_case("Statement")
    planned = rendered.get_any_case("Statement") if rendered else None
    if value is None or planned is None or is_known(policy):
        return policy
    statement_nodes = list(value.entries)
    planned_statements = _without_equal(planned.entries, filter(is_known, statement_nodes))
    open_places = [
        number for number, statement in enumerate(statement_nodes) if not is_known(statement)
    ]
    if len(open_places) == len(planned_statements):
        for index, planned_statement in zip(open_places, planned_statements, strict=True):
            statement_nodes[index] = _with_known(statement_nodes[index], planned_statement)
    else:
        anchor = statement_nodes[open_places[0]] if open_places else policy
        statement_nodes = [statement for statement in statement_nodes if is_known(statement)]
        statement_nodes += [
            relocated(statement, anchor.start, anchor.end, "an expression makes it")
            for statement in planned_statements
        ]
    statements = replace(value, kind="array", members=(), items=tuple(statement_nodes))
    members = [
        replace(member, value=statements) if member.value is value else member
        for member in policy.members
    ]
    return replace(policy, members=tuple(members))


def _without_equal(statements: Iterable[Node], others: Iterable[Node]) -> list[Node]:
    """Returns statements without one for each of the others that means the same."""
    unmatched = list(statements)
    for other_statement in others:
        meaning = _meaning(other_statement)
        for statement in unmatched:
            if _meaning(statement) == meaning:
                unmatched.remove(statement)
                break
    return unmatched


def _meaning(statement: Node) -> str:
    """Returns a statement's JSON with sorted lists."""

    def ordered(value: object) -> object:
        if isinstance(value, dict):
            return {key: ordered(member) for key, member in value.items()}
        if isinstance(value, list) and len(value) == 1:
            return ordered(value[0])
        if isinstance(value, list):
            return sorted(map(ordered, value), key=str)
        return str(value)

    value = ordered(json_value(statement))
    return json.dumps({"Sid": "", **value} if isinstance(value, dict) else {}, sort_keys=True)


def _with_known(statement: Node, planned_statement: Node) -> Node:
    """Returns a statement with the plan's values in the place of unknown ones."""
    members = []
    for member in statement.members:
        value = member.value
        planned = planned_statement.get_any_case(member.key)
        if planned is None or is_known(value):
            members.append(member)
            continue
        new = relocated(planned, value.start, value.end, "an expression makes it")
        if planned.kind != "object":
            known_entries = [entry for entry in value.items if is_known(entry)]
            texts = {entry.text for entry in known_entries}
            entries = [entry for entry in new.entries if entry.text not in texts]
            new = replace(value, kind="array", text="", items=(*known_entries, *entries))
        members.append(replace(member, value=new))
    return replace(statement, members=tuple(members))


def attached_addresses(scope: ModuleScope, role: str) -> Iterator[str]:
    """Yields the addresses of the policies that are attached to a role."""
    definitions = scope.definitions.values()
    roles = {definition.address for definition in definitions if _is_role(scope, definition, role)}
    for definition in definitions:
        block = definition.block
        attributes = block.attributes
        if definition.address in roles:
            yield from _policies_of_role(scope, definition)
            continue
        match definition.address[0]:
            case "aws_iam_role_policy":
                if _names_role(scope, definition.file, attributes.get("role"), role, roles):
                    yield _document(scope, block, f"{'.'.join(definition.address)}.policy")
            case "aws_iam_role_policy_attachment" | "aws_iam_policy_attachment":
                attribute = attributes.get("role") or attributes.get("roles")
                names_role = _names_role(scope, definition.file, attribute, role, roles)
                if names_role and "policy_arn" in attributes:
                    yield from _managed(scope, block, attributes["policy_arn"].value)
            case "module":
                arguments = attributes.values()
                if any(
                    _names_role(scope, definition.file, argument, role, roles)
                    for argument in arguments
                ):
                    yield from _policies_of_module(scope, definition)


def _is_role(scope: ModuleScope, definition: Definition, role: str) -> bool:
    """Returns whether a block declares the role with a name."""
    name = definition.block.attributes.get("name")
    if definition.address[0] != "aws_iam_role" or not name:
        return False
    return plain_text(scope.value(name.value, definition.file)) == role


def _policies_of_role(scope: ModuleScope, role: Definition) -> Iterator[str]:
    block = role.block
    for index, inline in enumerate(block.named("inline_policy")):
        yield _document(scope, inline, f"{'.'.join(role.address)}.inline_policy[{index}].policy")
    arns = block.attributes.get("managed_policy_arns")
    if arns:
        yield from _managed(scope, block, arns.value)


def _policies_of_module(scope: ModuleScope, call: Definition) -> Iterator[str]:
    """Yields the policies of a module that receives the role: it attaches its own, and those of
    other modules that it names.
    """
    yield from _arguments(scope, call)
    for attribute in call.block.attributes.values():
        yield from _managed(scope, call.block, attribute.value)


def _arguments(scope: ModuleScope, call: Definition) -> Iterator[str]:
    """Yields the arguments of a module that are policies."""
    for name, attribute in call.block.attributes.items():
        node = policy_node(scope, call.file, attribute.value)
        if node and not _is_unknown(node):
            yield f"{'.'.join(call.address)}.{name}"


def _names_role(
    scope: ModuleScope,
    file: str,
    attribute: Attribute | None,
    role: str,
    roles: set[tuple[str, ...]],
) -> bool:
    """Returns whether an attribute is the role's name, a list with it, or a reference to the role's
    block.
    """
    if attribute is None:
        return False
    node = scope.value(attribute.value, file)
    if any(plain_text(entry) == role for entry in (node, *node.items)):
        return True
    return any(path[:2] in roles for path in paths_in(attribute.value))


def _managed(
    scope: ModuleScope,
    block: Block,
    expression: Expression,
    followed: frozenset[tuple[str, ...]] = frozenset(),
) -> Iterator[str]:
    """Yields the policies whose ARNs an expression has, also by `each.value` of its block, a local
    or a module.
    """
    for path in paths_in(expression):
        address = path[:2]
        if address in followed:
            continue
        visited, definition = followed | {address}, scope.definitions.get(address)
        if address == ("each", "value") and "for_each" in block.attributes:
            yield from _managed(scope, block, block.attributes["for_each"].value, visited)
        elif definition is None:
            continue
        elif path[0] == "local" and definition.attribute:
            yield from _managed(scope, block, definition.attribute.value, visited)
        elif path[0] == "aws_iam_policy":
            yield _document(scope, definition.block, f"{'.'.join(address)}.policy")
        elif path[0] == "module" and path[2:] == ("arn",):
            yield from _arguments(scope, definition)


def _document(scope: ModuleScope, block: Block, address: str) -> str:
    """Returns the address of the data source that alone makes a block's policy, else the given
    one.
    """
    attribute = block.attributes.get("policy")
    if not attribute or attribute.value.kind != "access":
        return address
    path = next(paths_in(attribute.value), ())
    is_of_data_source = path[:2] == ("data", _DATA_SOURCE) and len(path) > 2
    if is_of_data_source and scope.uses[_DATA_SOURCE, path[2]] == 1:
        return ".".join(path[:3])
    return address
