"""Expands `Fn::ForEach` of templates with the transform AWS::LanguageExtensions.

The syntax is AWS's (https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-foreach.html,
not read: inferred from templates).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

_LOOP = "Fn::ForEach::"
_PARTS = 3
_MOST_LEVELS = 40


def without_loops(value: object, items: Callable[[object], Sequence[str]], level: int = 0) -> object:
    """Returns a JSON value with what its loops make in their place.

    Args:
        value: a part of a template.
        items: the texts of a collection.
        level: how deep the value is in the template.
    """
    if level > _MOST_LEVELS:
        return value
    if isinstance(value, list):
        return [without_loops(each, items, level + 1) for each in value]
    if not isinstance(value, Mapping):
        return value
    found: dict[str, object] = {}
    for key, each in value.items():
        if key.startswith(_LOOP) and isinstance(each, list) and len(each) == _PARTS:
            for item in items(each[1]):
                made = without_loops(_replaced(each[2], str(each[0]), item), items, level + 1)
                found.update(made if isinstance(made, dict) else {})
        else:
            found[key] = without_loops(each, items, level + 1)
    return found


def _replaced(value: object, name: str, item: str) -> object:
    """A value with an item in place of the variable of its loop; `&{…}` takes letters and digits alone."""
    if isinstance(value, str):
        return value.replace(f"${{{name}}}", item).replace(f"&{{{name}}}", re.sub("[^A-Za-z0-9*]", "", item))
    if isinstance(value, list):
        return [_replaced(each, name, item) for each in value]
    if isinstance(value, Mapping):
        if value == {"Ref": name}:
            return item
        return {str(_replaced(key, name, item)): _replaced(each, name, item) for key, each in value.items()}
    return value
