"""Reads the compiled event map: what AWS authorizes in an API operation besides the action of its name.

`tools/compile_event_map.py` makes it of AWS's service reference and our tables: one file a service, read on first use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import msgspec

_FOLDER = Path(__file__).parent / "data" / "event_map"
_PREFIX = re.compile(r"[a-z0-9-]+")


class OperationFacts(msgspec.Struct, frozen=True, gc=False):
    """What the map says of one operation."""

    actions: tuple[str, ...] = ()
    """Actions of the event, where they are not the one of its name."""
    inner: Mapping[str, tuple[str, ...]] = {}
    """Action that AWS authorizes inside -> `add` or `keep`, and the parameters (`Presence.has`) any of which causes it.

    `add` without parameters: always. `keep`: a committed grant of it is kept while such calls are made; without
    parameters the cause is unknown."""
    tags: Mapping[str, tuple[str, ...]] = {}
    """Tagging action -> parameters that hold the tags of what the operation makes."""
    passed_to: tuple[str, ...] = ()
    """Services that AWS names in `iam:PassedToService`."""
    roles: str = ""
    """Where AWS authorizes `iam:PassRole` inside: `key` where a member of the request says that it holds the role,
    `text` where none does, so that any text may."""


_NO_FACTS = OperationFacts()


@lru_cache(maxsize=16_384)
def facts_of(operation: str) -> OperationFacts:
    """Returns the facts of an operation (`lambda:CreateFunction`); empty ones where the map has none."""
    prefix, _, name = operation.partition(":")
    return _service(prefix).get(name, _NO_FACTS)


@cache
def _service(prefix: str) -> Mapping[str, OperationFacts]:
    path = _FOLDER / f"{prefix}.json"
    # The prefix may come from a record.
    if not _PREFIX.fullmatch(prefix) or not path.is_file():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, OperationFacts])
