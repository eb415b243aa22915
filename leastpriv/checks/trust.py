"""Trust policies that stand in the repository beside the policy: those of the same template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from leastpriv.checks.sent import rendered
from leastpriv.policy.document import Document
from leastpriv.policy.spans import Node, line_of, read
from leastpriv.policy.yaml_spans import read_yaml

_KEY = "AssumeRolePolicyDocument"
"""Property of `AWS::IAM::Role`."""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Who may assume a role."""

    file: str
    text: str
    """JSON, without any part that only the rendered template knows."""
    lines: tuple[int, ...]
    """Lines of its statements."""


def trust_policies(document: Document, file: str) -> tuple[TrustPolicy, ...]:
    """Return the trust policy of the resource whose policy this is; of a policy of its own those of all roles.

    A trust policy with parts that only the rendered template knows is left out: AWS would not take it.
    """
    tokens = document.pointer.split("/")
    if document.source.format == "hcl" or tokens[1:2] != ["Resources"]:
        return ()
    text = document.source.outer
    root = read_yaml(text, file) if document.source.format == "yaml" else read(text, file)
    resources = root.get("Resources")
    members = resources.members if resources else ()
    own = [node for member in members if member.key == tokens[2] for node in _found(member.value)]
    nodes = own or [node for member in members for node in _found(member.value)]
    return tuple(trust for node in nodes if (trust := _read(node, text, file, document)))


def _found(resource: Node) -> Iterator[Node]:
    properties = resource.get("Properties")
    node = properties.get(_KEY) if properties else None
    if node:
        yield node


def _read(node: Node, text: str, file: str, document: Document) -> TrustPolicy | None:
    value = rendered(node, "cloudformation", document.known)
    if not isinstance(value, dict):
        return None
    statements = node.get_any_case("Statement")
    nodes = () if statements is None else statements.items if statements.kind == "array" else (statements,)
    return TrustPolicy(file, json.dumps(value, ensure_ascii=False), tuple(line_of(text, each.start) for each in nodes))
