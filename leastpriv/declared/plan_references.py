"""Resolves what the attributes of a Terraform plan refer to: through outputs and variables of
modules, `for_each`, and blocks.

A plan has the references of each expression, and no values of locals: what a local holds is not
known. The format is HashiCorp's (https://developer.hashicorp.com/terraform/internals/json-format,
read 2026-11-27).
"""

from __future__ import annotations

import re
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


def configured_resources(
    plan: Mapping[str, Any], budget: Budget
) -> Iterator[tuple[str, ConfiguredResource]]:
    """Yields the address of each resource, without an index, and its configuration."""
    root = _Module("", plan.get("configuration", {}).get("root_module", {}), {}, None)
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
            yield address, ConfiguredResource(attributes, provider, _runs_command(resource))
        children = (module.child(name) for name in module.body.get("module_calls", {}))
        pending.extend(child for child in children if child)


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
    is_block = isinstance(expression, Mapping) and not (
        {"references", "constant_value"} & set(expression)
    )
    if is_block and isinstance(expression, Mapping):
        return {
            inner: _configured(inner, member, scope, budget) for inner, member in expression.items()
        }
    if isinstance(expression, Mapping) and not expression.get("references"):
        return expression.get("constant_value", UNKNOWN)
    # In Terraform's JSON syntax an expression is also a constant: the text `${aws_iam_role.a.arn}`.
    reference = _resolved(expression, scope, budget)
    if len(reference) == 1:
        return reference[0]
    if _HOLDS_ROLE.search(name) and 1 < len(reference) <= _LISTS_ROLES:
        return list(reference)
    return UNKNOWN


def _resolved(expression: object, scope: _Scope, budget: Budget) -> tuple[Reference, ...]:
    """The resources that an expression refers to, each once, with the longest attribute."""
    references: dict[str, Reference] = {}
    pending = [(name, scope, "") for name in _longest(expression)]
    followed: set[tuple[str, str]] = set()
    while pending:
        budget.spend()
        name, around, attribute = pending.pop(0)
        if (around.module.path, name) in followed:
            continue
        followed.add((around.module.path, name))
        name_match = _NAMED.match(name)
        if name_match:
            reference = Reference(around.module.path + name_match[1], name_match[2] or attribute)
            key = _INDEX.sub("", reference.address)
            earlier = references.get(key)
            if earlier is None or len(reference.address) > len(earlier.address):
                references[key] = reference
            continue
        pending.extend(_behind(name, around, attribute))
    return tuple(references.values())


def _behind(name: str, scope: _Scope, attribute: str) -> Iterator[tuple[str, _Scope, str]]:
    """What an output, a variable or a `for_each` refers to, with the scope of its expression."""
    module = scope.module
    output, variable, each_match = _OUTPUT.match(name), _VARIABLE.match(name), _EACH.match(name)
    expression: object = None
    inner: _Scope | None = None
    last: str | None = None
    if output:
        child = module.child(output[1])
        expression = child.body.get("outputs", {}).get(output[2], {}) if child else None
        inner, last = _Scope(child) if child else None, output[3]
    elif variable and module.outer:
        expression = module.call.get("expressions", {}).get(variable[1])
        inner = _Scope(module.outer, module.call.get("for_each_expression"))
        last = variable[2]
    elif each_match:
        expression, inner, last = scope.for_each, _Scope(module), each_match[1]
    if inner:
        for following in _longest(expression):
            yield following, inner, last or attribute


def _longest(expression: object) -> tuple[str, ...]:
    """The references of an expression without their beginnings: `aws_sqs_queue.q.arn` comes with
    `aws_sqs_queue.q`.
    """
    names: list[str] = []
    pending = [expression]
    while pending:
        each = pending.pop()
        if isinstance(each, Mapping):
            names.extend(name for name in each.get("references", ()) if isinstance(name, str))
            pending.extend(value for key, value in each.items() if key != "references")
        elif isinstance(each, list):
            pending.extend(each)
    distinct = list(dict.fromkeys(names))
    return tuple(
        name
        for name in distinct
        if not any(longer.startswith((f"{name}.", f"{name}[")) for longer in distinct)
    )
