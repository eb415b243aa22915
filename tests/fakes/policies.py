"""Rewrites a policy in an equivalent form: order, case, strings for lists, split statements, white
space.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any


def rewritten(policy: Mapping[str, Any], chance: random.Random) -> str:
    """JSON text of a policy that allows and denies exactly the same."""
    found = policy["Statement"]
    whole = [_listed(statement) for statement in (found if isinstance(found, list) else [found])]
    statements = [
        _statement(part, chance) for statement in whole for part in _split(statement, chance)
    ]
    chance.shuffle(statements)
    single = len(statements) == 1 and chance.random() < 0.5
    others = {key: value for key, value in policy.items() if key != "Statement"}
    return _text({"Statement": statements[0] if single else statements, **others}, chance)


_LISTS = ("Action", "NotAction", "Resource", "NotResource")


def _listed(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: [value] if key in _LISTS and isinstance(value, str) else value
        for key, value in statement.items()
    }


def _split(statement: Mapping[str, Any], chance: random.Random) -> list[dict[str, Any]]:
    """A statement for each action and resource, or unchanged; excluded actions and resources are
    not split.
    """
    parts = [dict(statement)]
    for key in ("Action", "Resource"):
        if key in statement and chance.random() < 0.5:
            parts = [{**part, key: [entry]} for part in parts for entry in part[key]]
    return parts


def _statement(statement: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    made = dict(statement)
    for key in _LISTS:
        if key in made:
            entries = [_cased(entry, chance) if "Action" in key else entry for entry in made[key]]
            chance.shuffle(entries)
            made[key] = entries[0] if len(entries) == 1 and chance.random() < 0.5 else entries
    if chance.random() < 0.5:
        made["Sid"] = f"Part{chance.randrange(10**9)}"
    items = list(made.items())
    chance.shuffle(items)
    return dict(items)


def _cased(action: str, chance: random.Random) -> str:
    return chance.choice([action, action.lower(), action.upper()])


def _text(policy: Mapping[str, Any], chance: random.Random) -> str:
    return json.dumps(policy, indent=chance.choice([None, 2, 4, "\t"]))
