"""What AWS is sent of a policy, and the way back from a place in that text to a line of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.policy.document import Document
from leastpriv.policy.source import Source
from leastpriv.policy.syntax_tree import Node, line_of, value_of
from leastpriv.policy.template_functions import Language, parts_of


@dataclass(frozen=True, slots=True)
class Sent:
    """The text of one policy as AWS gets it."""

    source: Source
    text: str
    own: bool
    """It is the source's own text, so that places in it are places in the file; else JSON that was made from it."""

    def line(self, location: Mapping[str, Any]) -> int:
        """The 1-based line of the file that a location of Access Analyzer is on: by its span, else by its path."""
        span = location.get("span") or {}
        if self.own and span:
            return self._line_at(int(span["start"]["line"]))
        return self._line_of(location.get("path") or ())

    def statement(self, path: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The statement that a path of Access Analyzer leads into; None where it leads into none."""
        if not path or str(path[0].get("value") or path[0].get("key")).lower() != "statement":
            return None
        found = next((value for key, value in json.loads(self.text).items() if key.lower() == "statement"), None)
        index = int(path[1].get("index", 0)) if len(path) > 1 else 0
        every = found if isinstance(found, list) else [found]
        return every[index] if index < len(every) and isinstance(every[index], dict) else None

    def _line_at(self, line: int) -> int:
        """Only lines are counted: whether AWS counts characters or UTF-16 units within one is not documented."""
        source = self.source
        before = sum(map(len, self.text.split("\n")[: line - 1])) + line - 1
        return line_of(source.outer, source.offset(source.policy.start + min(before, len(self.text))))

    def _line_of(self, path: Sequence[Mapping[str, Any]]) -> int:
        source, found = self.source, self.source.policy
        for step in path:
            found = _stepped(found, step)
        if source.lines:
            # Rendered from HCL: only the statements' lines are known.
            index = next((int(step["index"]) for step in path if "index" in step), 0)
            return source.lines[min(index, len(source.lines) - 1)]
        return line_of(source.outer, source.offset(found.start))


def sent(document: Document) -> Sent | None:
    """Return what can be sent of a policy; None where it has parts that only the rendered template knows."""
    return sent_from(document.source, document.known)


def sent_from(source: Source, known: Mapping[str, str]) -> Sent | None:
    """Return what can be sent of the policy at a place; `known` and None are as in `sent`."""
    value = rendered(source.policy, source.language, known)
    if value is None:
        return None
    if (source.format == "json" or source.shell) and value == value_of(source.policy):
        return Sent(source, source.text[source.policy.start : source.policy.end], own=True)
    return Sent(source, json.dumps(value, ensure_ascii=False), own=False)


def rendered(node: Node, language: Language, known: Mapping[str, str]) -> object | None:
    """Return the value of a node of a template; None where it is not known before the template is rendered."""
    try:
        return _rendered(node, language, known)
    except _OpenError:
        return None


class _OpenError(Exception):
    pass


def _rendered(node: Node, language: Language, known: Mapping[str, str]) -> object:
    if node.kind == "array":
        return [_rendered(item, language, known) for item in node.items]
    parts = parts_of(node, language, known)
    if parts is not None:
        if not all(isinstance(part, str) for part in parts):
            raise _OpenError
        return "".join(part for part in parts if isinstance(part, str))
    if node.kind == "object":
        return {member.key: _rendered(member.value, language, known) for member in node.members}
    if node.kind == "alias":
        raise _OpenError
    return value_of(node)


def _stepped(node: Node, step: Mapping[str, Any]) -> Node:
    """One step down a path of Access Analyzer; a step that leads nowhere stays."""
    if "index" in step:
        items = node.items
        # A single statement or string counts as a list of one.
        return items[int(step["index"])] if int(step["index"]) < len(items) else node
    key = step.get("value") or step.get("key")
    found = node.get_any_case(str(key)) if key else None
    return found or node
