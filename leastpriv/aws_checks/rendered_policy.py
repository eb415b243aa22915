"""Renders a policy for AWS, and maps positions in the rendered text to lines of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.policy.document import Document
from leastpriv.policy.source import PolicySource
from leastpriv.policy.syntax_tree import Node, json_value, line_of
from leastpriv.policy.template_functions import Language, parts_of


@dataclass(frozen=True, slots=True)
class RenderedPolicy:
    """The text of one policy for AWS."""

    source: PolicySource
    text: str
    is_source_text: bool
    """Whether the text is part of the file, so that positions correspond; else it is JSON made from the file."""

    def line(self, location: Mapping[str, Any]) -> int:
        """Returns the 1-based line of the file for a location of Access Analyzer, by its span or else by its path."""
        span = location.get("span") or {}
        if self.is_source_text and span:
            return self._line_at(int(span["start"]["line"]))
        return self._line_of(location.get("path") or ())

    def statement(self, path: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Returns the statement at a path of Access Analyzer; None if the path names none."""
        if not path or str(path[0].get("value") or path[0].get("key")).lower() != "statement":
            return None
        found = next((value for key, value in json.loads(self.text).items() if key.lower() == "statement"), None)
        index = int(path[1].get("index", 0)) if len(path) > 1 else 0
        every = found if isinstance(found, list) else [found]
        return every[index] if index < len(every) and isinstance(every[index], dict) else None

    def _line_at(self, line: int) -> int:
        """Counts lines only: AWS does not document whether columns are characters or UTF-16 units."""
        source = self.source
        before = sum(map(len, self.text.split("\n")[: line - 1])) + line - 1
        return line_of(source.outer, source.offset(source.policy.start + min(before, len(self.text))))

    def _line_of(self, path: Sequence[Mapping[str, Any]]) -> int:
        source, found = self.source, self.source.policy
        for step in path:
            found = _child_at(found, step)
        if source.lines:
            # Rendered from HCL: only the lines of statements are known.
            index = next((int(step["index"]) for step in path if "index" in step), 0)
            return source.lines[min(index, len(source.lines) - 1)]
        return line_of(source.outer, source.offset(found.start))


def render_policy(document: Document) -> RenderedPolicy | None:
    """Renders a document; None if it has parts that only the rendered template knows."""
    return render_source(document.source, document.pseudo_parameters)


def render_source(source: PolicySource, pseudo_parameters: Mapping[str, str]) -> RenderedPolicy | None:
    """Renders the policy of a source; arguments and result as in `render_policy`."""
    value = render_value(source.policy, source.language, pseudo_parameters)
    if value is None:
        return None
    if (source.format == "json" or source.embedded) and value == json_value(source.policy):
        return RenderedPolicy(source, source.text[source.policy.start : source.policy.end], is_source_text=True)
    return RenderedPolicy(source, json.dumps(value, ensure_ascii=False), is_source_text=False)


def render_value(node: Node, language: Language, pseudo_parameters: Mapping[str, str]) -> object | None:
    """Renders the value of a template's node; None if it is unknown before the template is rendered."""
    try:
        return _rendered(node, language, pseudo_parameters)
    except _UnknownPartError:
        return None


class _UnknownPartError(Exception):
    pass


def _rendered(node: Node, language: Language, pseudo_parameters: Mapping[str, str]) -> object:
    if node.kind == "array":
        return [_rendered(item, language, pseudo_parameters) for item in node.items]
    parts = parts_of(node, language, pseudo_parameters)
    if parts is not None:
        if not all(isinstance(part, str) for part in parts):
            raise _UnknownPartError
        return "".join(part for part in parts if isinstance(part, str))
    if node.kind == "object":
        return {member.key: _rendered(member.value, language, pseudo_parameters) for member in node.members}
    if node.kind == "alias":
        raise _UnknownPartError
    return json_value(node)


def _child_at(node: Node, step: Mapping[str, Any]) -> Node:
    """Follows one step of a path of Access Analyzer; returns the node itself if the step names no child."""
    if "index" in step:
        items = node.items
        # A single statement or string counts as a list of one.
        return items[int(step["index"])] if int(step["index"]) < len(items) else node
    key = step.get("value") or step.get("key")
    found = node.get_any_case(str(key)) if key else None
    return found or node
