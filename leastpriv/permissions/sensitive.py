"""Which actions open a door: *sensitive* ones need an exact resource, *forbidden* ones are never written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches

_READS = re.compile(r"(BatchGet|Get|List|Describe|Head)[A-Z]")


def sensitivity(action: str) -> str:
    """Say why an action is sensitive, in words for the reviewer; empty where it is not.

    `action` may have wildcards: then one sensitive action among those it grants is enough. An action that the
    catalogue lacks counts as a write unless its name says that it reads.
    """
    return next(filter(None, map(_sensitivity, _granted(action))), "")


def forbidden(action: str, never_add: Sequence[str] = ()) -> str:
    """Say why an action is never written; empty where it may be.

    `never_add` are the user's own patterns (`iam:*`, `ec2:Delete*`), compared as IAM compares actions.
    Wildcards in `action` count as in `sensitivity`.
    """
    for name in _granted(action):
        for pattern in never_add:
            if action_matches(pattern, name):
                return f"{name} matches `{pattern}` of never-add"
        reason = _forbidden(name)
        if reason:
            return reason
    return ""


def _granted(action: str) -> Sequence[str]:
    if re.search(r"[*?]", action):
        return catalog.expand(action) or (action,)
    return (action,)


@lru_cache(maxsize=16_384)
def _sensitivity(name: str) -> str:
    reason = _reason("sensitive", name)
    if not reason and "Permissions management" in catalog.access_level(name):
        return "AWS classes it as permissions management"
    return reason


@lru_cache(maxsize=16_384)
def _forbidden(name: str) -> str:
    return _reason("forbidden", name)


def _reason(facts: str, name: str) -> str:
    return next((row["reason"] for row in table(facts) if _applies(row, name)), "")


def _applies(row: Mapping[str, str], name: str) -> bool:
    return action_matches(row["pattern"], name) and (row["levels"] == "any" or _writes(name))


def _writes(name: str) -> bool:
    level = catalog.access_level(name)
    if not level:
        return not _READS.match(name.partition(":")[2])
    return not {part.strip() for part in level.split(",")} <= {"Read", "List"}
