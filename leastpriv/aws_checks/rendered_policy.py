"""Renders policies for AWS, trust policies of the template too, and maps positions in the text to
lines of the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from leastpriv.errors import InputError
from leastpriv.policy.document import Document
from leastpriv.policy.locate import locate
from leastpriv.policy.source import Location, PolicySource, TerraformFolder, has_principal
from leastpriv.policy.syntax_tree import Node, decoded, json_value, line_of, read_json, read_yaml
from leastpriv.policy.template_functions import FunctionValues, Language, known_text, parts_of


class RenderedPolicy(Struct, frozen=True):
    """The text of one policy for AWS."""

    source: PolicySource
    text: str
    is_source_text: bool
    """Whether the text is part of the file, so that positions correspond; else it is JSON made from
    the file.
    """

    def line(self, location: Mapping[str, Any]) -> int:
        """Returns the 1-based line of the file for a location of Access Analyzer, by its span or
        else by its path.
        """
        source, span, path = self.source, location.get("span") or {}, location.get("path") or ()
        if self.is_source_text and span:
            # Only lines count: AWS does not document whether columns are characters or UTF-16
            # units.
            line = int(span["start"]["line"])
            before = sum(map(len, self.text.split("\n")[: line - 1])) + line - 1
            return line_of(
                source.outer, source.offset(source.policy.start + min(before, len(self.text)))
            )
        if source.lines:
            # Rendered from HCL: only the lines of statements are known.
            index = next((int(step["index"]) for step in path if "index" in step), 0)
            return source.lines[min(index, len(source.lines) - 1)]
        policy_node = source.policy
        for step in path:
            policy_node = _child_at(policy_node, step)
        return line_of(source.outer, source.offset(policy_node.start))

    def statement(self, path: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Returns the statement at a path of Access Analyzer; None if the path names none."""
        if not path or str(path[0].get("value") or path[0].get("key")).lower() != "statement":
            return None
        member = next(
            (value for key, value in json.loads(self.text).items() if key.lower() == "statement"),
            None,
        )
        index = int(path[1].get("index", 0)) if len(path) > 1 else 0
        statements = member if isinstance(member, list) else [member]
        return (
            statements[index]
            if index < len(statements) and isinstance(statements[index], dict)
            else None
        )


def render_policy(document: Document) -> RenderedPolicy | None:
    """Renders a document; None if it has parts that only the rendered template knows."""
    return render_source(document.source, document.pseudo_parameters)


def render_source(
    source: PolicySource, pseudo_parameters: Mapping[str, str]
) -> RenderedPolicy | None:
    """Renders the policy of a source; arguments and result as in `render_policy`."""
    try:
        value = _rendered(source.policy, source.language, source.functions(pseudo_parameters))
    except _UnknownPartError:
        return None
    if (source.format == "json" or source.embedded) and value == json_value(source.policy):
        return RenderedPolicy(
            source, source.text[source.policy.start : source.policy.end], is_source_text=True
        )
    return RenderedPolicy(source, json.dumps(value, ensure_ascii=False), is_source_text=False)


class _UnknownPartError(Exception):
    pass


def _rendered(node: Node, language: Language, functions: FunctionValues) -> object:
    if node.kind == "array":
        return [_rendered(child, language, functions) for child in node.items]
    parts = parts_of(node, language, functions)
    if parts is not None:
        if (text := known_text(parts)) is None:
            raise _UnknownPartError
        return text
    if node.kind == "object":
        return {member.key: _rendered(member.value, language, functions) for member in node.members}
    if node.kind == "alias":
        raise _UnknownPartError
    return json_value(node)


def _child_at(node: Node, step: Mapping[str, Any]) -> Node:
    """Follows one step of a path of Access Analyzer; returns the node itself if the step names no
    child.
    """
    if "index" in step:
        child_nodes = node.items
        # A single statement or string counts as a list of one.
        return child_nodes[int(step["index"])] if int(step["index"]) < len(child_nodes) else node
    key = step.get("value") or step.get("key")
    child = node.get_any_case(str(key)) if key else None
    return child or node


_KEY = "AssumeRolePolicyDocument"
"""Property of `AWS::IAM::Role`."""


class TrustPolicy(Struct, frozen=True):
    """A trust policy: who may assume a role."""

    file: str
    rendered: RenderedPolicy | None
    """None if it has parts that only the rendered template knows, which AWS would reject."""
    lines: tuple[int, ...]
    """Lines of its statements."""


def trust_policies(
    documents: Mapping[str, Document], named: Sequence[TrustPolicy] = ()
) -> list[TrustPolicy]:
    """Returns the trust policies of the documents' templates, by file name, and the named ones,
    without duplicates.
    """
    policies = [
        trust for file, document in documents.items() for trust in _trust_policies(document, file)
    ]
    texts = {trust.rendered.text for trust in policies if trust.rendered}
    return [
        *policies,
        *(trust for trust in named if trust.rendered is None or trust.rendered.text not in texts),
    ]


def _trust_policies(document: Document, file: str) -> tuple[TrustPolicy, ...]:
    """Returns the trust policy of the role that contains the policy; for a separate policy those of
    all roles.

    A trust policy with parts that only the rendered template knows is omitted: most templates have
    one.
    """
    tokens = document.pointer.split("/")
    if document.source.format == "hcl" or tokens[1:2] != ["Resources"]:
        return ()
    text = document.source.outer
    root = read_yaml(text, file) if document.source.format == "yaml" else read_json(text, file)
    resources, nodes = root.get("Resources"), dict[str, Node]()
    for member in resources.members if resources else ():
        properties = member.value.get("Properties")
        node = properties.get(_KEY) if properties else None
        if node and node.kind == "object":
            nodes[member.key] = node
    candidates = [nodes[tokens[2]]] if tokens[2] in nodes else nodes.values()
    form = document.source.format
    sources = (
        PolicySource(
            format=form, pointer=_KEY, text=text, policy=node, language="cloudformation", outer=text
        )
        for node in candidates
    )
    return tuple(
        trust
        for source in sources
        if (trust := _trust(source, file, document.pseudo_parameters)).rendered
    )


def read_trust_policy(raw: bytes, name: str, pseudo_parameters: Mapping[str, str]) -> TrustPolicy:
    """Reads the trust policy that an input names as `file` or `file#pointer`; raises InputError."""
    location = Location.of(name)
    source = locate(decoded(raw, name), location.path, location.pointer, TerraformFolder(), {})
    if not all(map(has_principal, source.statement_nodes)):
        raise InputError(
            f"The input trust-policy names {name!r}, where a statement has no Principal: name the"
            " policy that says who may assume the role."
        )
    return _trust(source, name, pseudo_parameters)


def _trust(source: PolicySource, file: str, pseudo_parameters: Mapping[str, str]) -> TrustPolicy:
    lines = (source.line(index, node) for index, node in enumerate(source.statement_nodes))
    return TrustPolicy(file, render_source(source, pseudo_parameters), tuple(lines))
