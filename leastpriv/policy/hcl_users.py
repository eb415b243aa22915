"""Finds the roles to which a Terraform module attaches a policy, for each call of the module."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from leastpriv.budget import Budget
from leastpriv.errors import LeastprivError
from leastpriv.policy.document import Document
from leastpriv.policy.hcl import attached_addresses, module_scope
from leastpriv.policy.hcl_functions import plain_text
from leastpriv.policy.hcl_module import Definition, ModuleScope, paths_in
from leastpriv.policy.source import TerraformFolder
from leastpriv.policy.syntax_tree import Node

_DATA_SOURCE = ("data", "aws_iam_policy_document")
_ROLE_ATTRIBUTES = ("name", "role", "roles")
_HOLDERS = frozenset(
    (
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_iam_role_policy_attachment",
        "aws_iam_policy_attachment",
    )
)


def attached_roles(
    document: Document, path: str, parameters: Mapping[str, str], callers: Mapping[str, str]
) -> Iterator[str]:
    """Yields the names of the roles that have the policy, once each.

    Args:
        document: The policy, in a file of Terraform.
        path: The file in its repository.
        parameters: Values of `AWS::Partition` and `AWS::AccountId`.
        callers: Path in the repository -> text of files that may call its module.
    """
    source = document.source
    addresses = frozenset(source.pointer.split(","))
    scope = module_scope(source.outer, path, source.folder, parameters)
    roles = dict.fromkeys(_roles(scope, addresses))
    folder = posixpath.dirname(path)
    for caller_path, text in callers.items():
        if posixpath.dirname(caller_path) == folder:
            continue
        try:
            for inputs in _calls(caller_path, text, folder, callers, parameters):
                called = ModuleScope(
                    evaluator=scope.evaluator,
                    document=scope.document,
                    folder=scope.folder,
                    parameters=parameters,
                    inputs=inputs,
                    edited=scope.edited,
                    budget=Budget.of("policy"),
                )
                roles.update(dict.fromkeys(_roles(called, addresses)))
        except LeastprivError:
            # A file that cannot be read calls no module that Terraform could load.
            continue
    yield from roles


def _calls(
    caller_path: str,
    text: str,
    folder: str,
    files: Mapping[str, str],
    parameters: Mapping[str, str],
) -> Iterator[Mapping[str, Node]]:
    """Yields the arguments of each call of the module in `folder` by a file."""
    caller_folder = posixpath.dirname(caller_path)
    caller_files = {
        posixpath.relpath(path, caller_folder or "."): content
        for path, content in files.items()
        if posixpath.dirname(path) == caller_folder
    }
    scope = module_scope(text, caller_path, TerraformFolder(caller_files), parameters)
    for address, definition in scope.definitions.items():
        attributes = definition.block.attributes
        if address[0] != "module" or "source" not in attributes:
            continue
        if definition.file != posixpath.basename(caller_path):
            continue
        source = plain_text(scope.value(attributes["source"].value, definition.file))
        if source is None or not source.startswith((".", "/")):
            continue
        if posixpath.normpath(posixpath.join(caller_folder, source)) == posixpath.normpath(
            folder or "."
        ):
            yield {
                name: scope.value(attribute.value, definition.file)
                for name, attribute in attributes.items()
            }


def _roles(scope: ModuleScope, addresses: frozenset[str]) -> Iterator[str]:
    for name in dict.fromkeys(_names(scope)):
        if any(
            address in addresses or _data_source(scope, address) in addresses
            for address in attached_addresses(scope, name)
        ):
            yield name


def _names(scope: ModuleScope) -> Iterator[str]:
    """Yields the names of roles that the folder declares or names."""
    for address, definition in scope.definitions.items():
        if address[0] in _HOLDERS:
            yield from _names_of(scope, address, definition)


def _names_of(
    scope: ModuleScope, address: tuple[str, ...], definition: Definition
) -> Iterator[str]:
    for key in _ROLE_ATTRIBUTES:
        attribute = definition.block.attributes.get(key)
        is_own_name = key == "name" and address[0] != "aws_iam_role"
        if attribute is None or is_own_name:
            continue
        node = scope.value(attribute.value, definition.file)
        for entry in (node, *node.items):
            name = plain_text(entry)
            if name:
                yield name


def _data_source(scope: ModuleScope, address: str) -> str:
    """Returns the address of the data source that makes the policy of a resource; empty where
    another expression does.
    """
    parts = tuple(address.split("."))
    definition = scope.definitions.get(parts[:2])
    attribute = definition.block.attributes.get("policy") if definition else None
    if attribute is None:
        return ""
    path = next(paths_in(attribute.value), ())
    return ".".join(path[:3]) if path[:2] == _DATA_SOURCE else ""
