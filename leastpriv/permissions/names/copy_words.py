"""The words of copies that every app has: stages, production and pull requests."""

from __future__ import annotations

import re

LONG_LIVED = frozenset({
    "default", "dev", "develop", "development", "live", "main", "master", "prd", "prod",
    "production", "release", "stage", "staging", "trunk",
})  # fmt: skip
"""Branches and workspaces that every run has: they are no short-lived copies."""
STAGES = LONG_LIVED | {"acc", "int", "preprod", "qa", "test", "uat"}
"""The letters of numbered stages, `dev2`."""
PRODUCTION = frozenset({"prd", "prod", "production"})
"""Words of a copy: a name with one of them has that of no other copy."""
PULL = re.compile(r"(?:pr|pull|pullrequest|mr)\d{1,6}")
"""The key of a pull request's copy."""
NO_COPY = ""
"""The key of the copy whose names have no word."""
LEAST_NAMES = 3
"""Names that two words share at one place; two queues of one app differ in a word as well."""


def letters_of(key: str) -> str:
    """The letters of a copy: `dev` of `dev2`."""
    return "".join(filter(str.isalpha, key))
