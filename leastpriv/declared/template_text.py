"""Reads the text of a template as JSON values: JSON, or YAML with the aliases and merge keys that
`aws cloudformation package`, AWS SAM and rain resolve before CloudFormation reads it.

Of a key that an object has twice with different values the last counts, and the key is named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from leastpriv.budget import Budget
from leastpriv.errors import PolicyFileError

if TYPE_CHECKING:
    from leastpriv.policy.syntax_tree import Node

_MERGE = "<<"


class TemplateText(Struct, frozen=True):
    """A template as it is written."""

    value: object
    """Its JSON value."""
    repeated: tuple[str, ...] = ()
    """Keys that an object has twice with different values."""


def read_template_text(text: str, where: str, budget: Budget) -> TemplateText:
    """Returns a template as JSON values.

    Args:
        text: the template.
        where: its path, for messages.
        budget: pays a step for each value that an alias repeats.

    Raises:
        PolicyFileError: it is neither JSON nor YAML.
        TooLargeError: its aliases make more than the budget has.
    """
    from leastpriv.policy.syntax_tree import read_json, read_yaml

    repeated: dict[str, None] = {}
    if not text.lstrip().startswith("{"):
        values = _Values(where, budget)
        value = values.value(read_yaml(text, where))
        return TemplateText(value, tuple(values.repeated))

    def as_object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.update((key, None) for key, value in pairs if found[key] != value)
        return found

    try:
        return TemplateText(json.loads(text, object_pairs_hook=as_object), tuple(repeated))
    except (ValueError, RecursionError):
        # It names the line, the column and what to correct.
        read_json(text, where)
        raise


class _Values(Struct):
    """Makes JSON values of the nodes of a YAML text."""

    where: str
    budget: Budget
    anchors: dict[str, Node] = field(default_factory=dict)
    """Name of an anchor -> the last node before that has it."""
    repeated: dict[str, None] = field(default_factory=dict)
    """Keys that an object has twice with different values."""
    repeating: list[str] = field(default_factory=list)
    """Aliases that are being resolved, from the outside in."""

    def value(self, node: Node) -> object:
        """Returns the value of a node."""
        from leastpriv.policy.syntax_tree import json_value

        if self.repeating:
            self.budget.spend()
        if node.anchor:
            self.anchors[node.anchor] = node
        if node.kind == "alias":
            return self._repeated(node.text)
        if node.kind == "object":
            return self._object(node)
        if node.kind == "array":
            return [self.value(item) for item in node.items]
        return json_value(node)

    def _repeated(self, name: str) -> object:
        """The value that an alias repeats."""
        node = self.anchors.get(name)
        if node is None or name in self.repeating:
            raise PolicyFileError(f"{self.where}: the alias *{name} repeats no value before it.")
        self.repeating.append(name)
        try:
            return self.value(node)
        finally:
            self.repeating.pop()

    def _object(self, node: Node) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for member in node.members:
            value = self.value(member.value)
            if member.key == _MERGE:
                merged = {**_merged(value), **merged}
                continue
            if own.get(member.key, value) != value:
                self.repeated[member.key] = None
            own[member.key] = value
        return {**merged, **own}


def _merged(value: object) -> dict[str, object]:
    """The members that a merge key adds; of several objects the first decides."""
    objects = value if isinstance(value, list) else [value]
    found: dict[str, object] = {}
    for each in objects:
        if isinstance(each, dict):
            found = {**each, **found}
    return found
