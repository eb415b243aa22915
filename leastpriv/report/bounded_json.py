"""Limits the size of `proposal.json`: names in templates and records may be many and long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leastpriv.report.escape import json_text

_MOST_CHARACTERS = 3_000_000
"""Without indentation, which adds a third."""
_LENGTHS = (1_000, 300, 100, 30, 10, 3)
"""The lengths of lists that are tried; the first with a text short enough counts."""
_MOST_OUTER = 10
"""A list that is no part of an entry keeps so many times more."""
_LONGEST_TEXT = 2_048
"""The longest ARN ("ResourceArn" of IAM's API, read 2026-12-01)."""
_OUTER_LEVELS = 2


def bounded_json(value: Mapping[str, Any], most: int = _MOST_CHARACTERS) -> str:
    """Returns a value as indented JSON, whose text without indentation has at most some characters,
    where that is possible by shorter lists and texts.

    `shortened_lists` is then the most entries that a list of an entry has; null where nothing is
    left out.
    """
    bounded: Mapping[str, Any] = {**value, "shortened_lists": None}
    for length in _LENGTHS:
        if len(json_text(bounded)) <= most:
            break
        shorter = {
            name: _shortened(member, length, _OUTER_LEVELS) for name, member in value.items()
        }
        bounded = {**shorter, "body": value.get("body"), "shortened_lists": length}
    return json_text(bounded, indent=2)


def _shortened(value: Any, length: int, outer_levels: int) -> Any:
    """Returns a value with the first entries of each list and the start of each text."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…"
    if isinstance(value, Mapping):
        return {
            _shortened(key, length, 0): _shortened(member, length, outer_levels - 1)
            for key, member in value.items()
        }
    if isinstance(value, list | tuple):
        longest = length * _MOST_OUTER if outer_levels > 0 else length
        return [_shortened(element, length, 0) for element in value[:longest]]
    return value
