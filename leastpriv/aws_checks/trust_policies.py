"""Finds trust policies in the policy's template, and reads the one that an input names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leastpriv.aws_checks.rendered_policy import RenderedPolicy, render_source
from leastpriv.errors import InputError
from leastpriv.policy.document import Document
from leastpriv.policy.locate import locate
from leastpriv.policy.source import Location, PolicySource
from leastpriv.policy.syntax_tree import Node, read_json
from leastpriv.policy.yaml_reader import read_yaml

_KEY = "AssumeRolePolicyDocument"
"""Property of `AWS::IAM::Role`."""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A trust policy: who may assume a role."""

    file: str
    rendered: RenderedPolicy | None
    """None if it has parts that only the rendered template knows, which AWS would reject."""
    lines: tuple[int, ...]
    """Lines of its statements."""


def trust_policies(document: Document, file: str) -> tuple[TrustPolicy, ...]:
    """Returns the trust policy of the role that contains the policy; for a separate policy those of all roles.

    A trust policy with parts that only the rendered template knows is omitted: most templates have one.
    """
    tokens = document.pointer.split("/")
    if document.source.format == "hcl" or tokens[1:2] != ["Resources"]:
        return ()
    text = document.source.outer
    root = read_yaml(text, file) if document.source.format == "yaml" else read_json(text, file)
    resources = root.get("Resources")
    members = resources.members if resources else ()
    own = [found for member in members if member.key == tokens[2] for found in _found(member.value)]
    nodes = own or [found for member in members for found in _found(member.value)]
    form = document.source.format
    sources = (PolicySource(form, _KEY, text, node, "cloudformation", text) for node in nodes)
    return tuple(trust for source in sources if (trust := _trust(source, file, document.pseudo_parameters)).rendered)


def read_trust_policy(raw: bytes, name: str, pseudo_parameters: Mapping[str, str]) -> TrustPolicy:
    """Reads the trust policy that an input names as `file` or `file#pointer`.

    Raises InputError if the file cannot be read or has a statement without Principal.
    """
    location = Location.of(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    source = locate(text, location.path, location.pointer)
    nodes = _statements(source.policy)
    if not all(node.get_any_case("Principal") or node.get_any_case("NotPrincipal") for node in nodes):
        raise InputError(
            f"The input trust-policy names {name!r}, where a statement has no Principal: name the policy that says who "
            "may assume the role."
        )
    return _trust(source, name, pseudo_parameters)


def _found(resource: Node) -> Iterator[Node]:
    properties = resource.get("Properties")
    node = properties.get(_KEY) if properties else None
    if node and node.kind == "object":
        yield node


def _trust(source: PolicySource, file: str, pseudo_parameters: Mapping[str, str]) -> TrustPolicy:
    lines = (source.line(index, node) for index, node in enumerate(_statements(source.policy)))
    return TrustPolicy(file, render_source(source, pseudo_parameters), tuple(lines))


def _statements(policy: Node) -> tuple[Node, ...]:
    statements = policy.get_any_case("Statement")
    return () if statements is None else statements.items if statements.kind == "array" else (statements,)
