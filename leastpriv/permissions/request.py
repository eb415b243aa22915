"""What the parameters of a request say: its texts by key, the names they give resources, the account they name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from leastpriv.permissions.patterns import escape_observed
from leastpriv.permissions.tables import table

_MOST_VALUES = 2_000
"""A request may hold any number of values; the first ones name its resources."""
FREE_MAPS = frozenset(
    {
        "tags", "tagset", "tagging", "variables", "environment", "parameters", "arguments", "defaultarguments",
        "hyperparameters", "input", "metadata", "options",
    }
)  # fmt: skip
"""Maps whose keys or values people choose: what stands there names no resource and hands no role to anybody."""


def request_values(parameters: object, skip: Collection[str] = ()) -> list[tuple[str, str]]:
    """All (key, text) pairs of request parameters, keys in lower case, outermost first; nothing under `skip` keys."""
    pairs: list[tuple[str, str]] = []
    level: list[tuple[str, object]] = [("", parameters)]
    while level and len(pairs) < _MOST_VALUES:
        deeper: list[tuple[str, object]] = []
        for key, value in level[:_MOST_VALUES]:
            if isinstance(value, Mapping):
                named = [(str(name).lower(), item) for name, item in value.items()]
                deeper.extend([pair for pair in named if pair[0] not in skip] if skip else named)
            elif isinstance(value, list | tuple):
                deeper.extend((key, item) for item in value)
            elif isinstance(value, str) and value:
                pairs.append((key, value))
        level = deeper
    return pairs


def owner(values: Sequence[tuple[str, str]]) -> str:
    """The account that the request names as the resource's owner; empty where it names none.

    `queueUrl` ends in account and name (SQS API reference); `registryId` and `catalogId` are accounts (ECR, Glue).
    """
    for key, value in values:
        match = re.search(r"/(\d{12})/[^/]+$", value) if key == "queueurl" else None
        if match or (key in ("registryid", "catalogid") and re.fullmatch(r"\d{12}", value)):
            return match[1] if match else value
    return ""


def values_for(prefix: str, variable: str, values: Sequence[tuple[str, str]]) -> list[str]:
    """Texts of the request that fill a template variable, escaped; empty when nothing does."""
    aliases = _aliases(prefix, variable)
    wanted = {variable.lower(): "whole", **aliases}
    found = [
        text
        for key, value in values
        for transform in [wanted.get(key) or (wanted.get(key[:-1]) if key.endswith("s") else None)]
        if transform and (transform == "last-path" or not value.startswith("arn:"))
        for text in [_transformed(transform, value)]
        if text
    ]
    if prefix == "iam" and variable.endswith("WithPath"):
        path = next((escape_observed(value.strip("/")) for key, value in values if key == "path"), "")
        found = [f"{path}/{name}" if path else name for name in found]
    return list(dict.fromkeys(found))


@cache
def _aliases(prefix: str, variable: str) -> Mapping[str, str]:
    return {
        row["parameter"].lower(): row["transform"]
        for row in table("parameters")
        if row["prefix"] == prefix and row["variable"] == variable
    }


def _transformed(transform: str, value: str) -> str:
    match transform:
        case "last-path":
            return escape_observed(value.rstrip("/").rpartition("/")[2])
        case "strip-slash":
            return escape_observed(value.lstrip("/"))
        case "before-colon":
            return escape_observed(value.partition(":")[0])
        case "after-function":
            return escape_observed(value.rpartition(":function:")[2])
        case "after-slash":
            return escape_observed(value.partition("/")[2])
        case starts if starts.startswith("starts "):
            return escape_observed(value) if re.match(rf"{starts[7:]}-[0-9a-z]", value) else ""
        case "id-only":
            return value if re.fullmatch(r"(mrk-)?[0-9a-f-]{32,36}", value) else ""
        case "secret-suffix":
            return escape_observed(value) + "-??????"
        case _:
            return escape_observed(value)
