"""Resolves what the attributes of a Terraform plan refer to: through outputs and variables of
modules, `for_each`, and blocks.

A plan has the references of each expression, and no values of locals: what a local holds is not
known. The format is HashiCorp's (https://developer.hashicorp.com/terraform/internals/json-format,
read 2026-11-27).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from leastpriv.budget import Budget
from leastpriv.declared.models import UNKNOWN, Reference

_NAMED = re.compile(
    r"((?:data\.aws_iam_policy_document|(?:aws|awscc)_\w+)\.[\w-]+(?:\[[^\]]*\])?)(?:\.(\w+))?"
)
"""A resource, or the policy that a data source writes, and its attribute."""
_OUTPUT = re.compile(r"module\.([\w-]+)(?:\[[^\]]*\])?\.([\w-]+)(?:\.(?:.*\.)?(\w+))?")
_VARIABLE = re.compile(r"var\.([\w-]+)(?:\.(?:.*\.)?(\w+))?")
_EACH = re.compile(r"each\.(?:value|key)(?:\.(?:.*\.)?(\w+))?")
_INDEX = re.compile(r"\[[^\]]*\]")
_HOLDS_ROLE = re.compile("role|profile")
_LISTS_ROLES = 8
"""The most roles of which an expression may choose one."""


class ConfiguredResource(Struct, frozen=True):
    """The configuration of a resource."""

    attributes: Mapping[str, object]
    """What each refers to, else UNKNOWN; mappings and lists for blocks."""
    provider: str
    """Key of the configuration of its provider."""
    runs_command: bool = False
    """It runs a program on the machine of the deployment."""


class _Module(Struct, frozen=True):
    """A module of the configuration."""

    path: str
    """`module.vpc.`; empty for the root."""
    body: Mapping[str, Any]
    call: Mapping[str, Any]
    """The block that calls it; empty for the root."""
    outer: _Module | None

    def child(self, name: str) -> _Module | None:
        """Returns the module that a block of this one calls."""
        call = self.body.get("module_calls", {}).get(name)
        if not isinstance(call, Mapping):
            return None
        return _Module(f"{self.path}module.{name}.", call.get("module", {}), call, self)


class _Scope(Struct, frozen=True):
    """Where an expression is."""

    module: _Module
    for_each: object = None
    """The expression of the `for_each` around it."""


class _NamedInScope(Struct, frozen=True):
    """A name in an expression: `aws_sqs_queue.q.arn`, `var.queue`, `module.vpc.id`."""

    name: str
    scope: _Scope
    attribute: str = ""
    """The attribute that the expression which leads here asks of it; empty: none."""


def configured_resources(plan: Mapping[str, Any], budget: Budget) -> dict[str, ConfiguredResource]:
    """Returns the configuration of each resource, by its address without an index."""
    root = _Module("", plan.get("configuration", {}).get("root_module", {}), {}, None)
    configured: dict[str, ConfiguredResource] = {}
    pending = [root]
    while pending:
        module = pending.pop()
        for resource in module.body.get("resources", ()):
            budget.spend()
            scope = _Scope(module, resource.get("for_each_expression"))
            attributes = {
                name: _configured(name, expression, scope, budget)
                for name, expression in resource.get("expressions", {}).items()
            }
            address = f"{module.path}{resource.get('address', '')}"
            provider = str(resource.get("provider_config_key"))
            configured[address] = ConfiguredResource(
                attributes, provider, runs_command=_runs_command(resource)
            )
        children = map(module.child, module.body.get("module_calls", {}))
        pending.extend(child for child in children if child)
    return configured


def _runs_command(resource: Mapping[str, Any]) -> bool:
    """Whether a resource runs a program of a person: `local-exec`, the data source `external`."""
    if resource.get("type") == "external":
        return True
    provisioners = resource.get("provisioners") or ()
    return any(provisioner.get("type") == "local-exec" for provisioner in provisioners)


def _configured(name: str, expression: object, scope: _Scope, budget: Budget) -> object:
    """What an attribute refers to; a list where it may be one of several roles."""
    budget.spend()
    if isinstance(expression, list):
        return [_configured(name, element, scope, budget) for element in expression]
    if isinstance(expression, Mapping):
        if "references" not in expression and "constant_value" not in expression:
            return {
                inner: _configured(inner, member, scope, budget)
                for inner, member in expression.items()
            }
        if not expression.get("references"):
            return expression.get("constant_value", UNKNOWN)
    # In Terraform's JSON syntax an expression is also a constant: the text `${aws_iam_role.a.arn}`.
    references = _references(expression, scope, budget)
    if len(references) == 1:
        return references[0]
    if _HOLDS_ROLE.search(name) and 1 < len(references) <= _LISTS_ROLES:
        return references
    return UNKNOWN


def _references(expression: object, scope: _Scope, budget: Budget) -> list[Reference]:
    """The resources that an expression refers to, each once, with the longest address: through
    variables, outputs and `for_each`.
    """
    references: dict[str, Reference] = {}
    pending = deque(_NamedInScope(name, scope) for name in _longest_names(expression))
    followed: set[_NameOfModule] = set()
    while pending:
        budget.spend()
        named = pending.popleft()
        name_of_module = _NameOfModule(named.scope.module.path, named.name)
        if name_of_module in followed:
            continue
        followed.add(name_of_module)
        resource = _NAMED.match(named.name)
        if resource is None:
            pending.extend(_following(named))
            continue
        address = named.scope.module.path + resource[1]
        reference = Reference(address, resource[2] or named.attribute)
        without_index = _INDEX.sub("", address)
        earlier = references.get(without_index)
        if earlier is None or len(address) > len(earlier.address):
            references[without_index] = reference
    return list(references.values())


class _NameOfModule(Struct, frozen=True):
    """A name in the expressions of a module."""

    path: str
    """Of the module."""
    name: str


def _following(named: _NamedInScope) -> Iterator[_NamedInScope]:
    """The names in the expression of an output, a variable or a `for_each`, with its scope."""
    module = named.scope.module
    expression: object = None
    scope: _Scope | None = None
    attribute: str | None = None
    if output := _OUTPUT.match(named.name):
        called = module.child(output[1])
        if called:
            expression = called.body.get("outputs", {}).get(output[2], {})
            scope = _Scope(called)
            attribute = output[3]
    elif module.outer and (variable := _VARIABLE.match(named.name)):
        expression = module.call.get("expressions", {}).get(variable[1])
        scope = _Scope(module.outer, module.call.get("for_each_expression"))
        attribute = variable[2]
    elif each := _EACH.match(named.name):
        expression = named.scope.for_each
        scope = _Scope(module)
        attribute = each[1]
    if scope is None:
        return
    for name in _longest_names(expression):
        yield _NamedInScope(name, scope, attribute or named.attribute)


def _longest_names(expression: object) -> tuple[str, ...]:
    """The references of an expression without their beginnings: `aws_sqs_queue.q.arn` comes with
    `aws_sqs_queue.q`.
    """
    names: dict[str, None] = {}
    pending = [expression]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            for name in part.get("references", ()):
                if isinstance(name, str):
                    names[name] = None
            pending.extend(value for key, value in part.items() if key != "references")
        elif isinstance(part, list):
            pending.extend(part)
    longest: list[str] = []
    for name in names:
        beginnings = (f"{name}.", f"{name}[")
        if not any(longer.startswith(beginnings) for longer in names):
            longest.append(name)
    return tuple(longest)
