"""Reads the text of a template as JSON values: JSON, or YAML with the aliases and merge keys that
`aws cloudformation package`, AWS SAM and rain resolve before CloudFormation reads it.

Of a key that an object has twice with different values the last counts, and the key is named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
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
    if not text.lstrip().startswith("{"):
        return _read_yaml(text, where, budget)
    repeated: dict[str, None] = {}

    def as_object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) < len(pairs):
            repeated.update((key, None) for key, value in pairs if members[key] != value)
        return members

    try:
        value = json.loads(text, object_pairs_hook=as_object)
    except (ValueError, RecursionError) as error:
        return _read_as_yaml(text, where, budget, error)
    return TemplateText(value, tuple(repeated))


def _read_as_yaml(text: str, where: str, budget: Budget, error: Exception) -> TemplateText:
    """Returns a text in braces that is YAML and no JSON, as with a comma before a bracket.

    Raises:
        PolicyFileError: it is none; the message has the line, the column and what to correct.
    """
    from leastpriv.policy.syntax_tree import read_json

    with suppress(PolicyFileError):
        template = _read_yaml(text, where, budget)
        if isinstance(template.value, dict) and "Resources" in template.value:
            return template
    read_json(text, where)
    raise error


def _read_yaml(text: str, where: str, budget: Budget) -> TemplateText:
    from leastpriv.policy.syntax_tree import read_yaml

    values = _Values(where, budget)
    value = values.value(read_yaml(text, where))
    return TemplateText(value, tuple(values.repeated))


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
        merged_members: dict[str, object] = {}
        own_members: dict[str, object] = {}
        for member in node.members:
            value = self.value(member.value)
            if member.key == _MERGE:
                _merge(value, merged_members)
                continue
            if own_members.get(member.key, value) != value:
                self.repeated[member.key] = None
            own_members[member.key] = value
        return {**merged_members, **own_members}


def _merge(value: object, merged: dict[str, object]) -> None:
    """Adds the members of a merge key to those of earlier ones; of several objects the first
    decides.
    """
    for members in value if isinstance(value, list) else [value]:
        if isinstance(members, dict):
            for key, member in members.items():
                merged.setdefault(key, member)
