"""Identities: a proposal has one, so that it is not made twice, and a change, so that a declined one stays declined."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from leastpriv.models import ChangeKind
from leastpriv.proposal.models import Draft

DRAFT_ID = "first-draft"
"""A first draft is one change: without some of its actions nothing could be deployed with it."""


def fingerprint(scope: str, committed: bytes | None, *proposed: bytes) -> str:
    """32 hexadecimal digits: 8 of the scope (principal and file), 24 of the committed and the proposed files."""
    parts = [scope, *(hashlib.sha256(content).hexdigest() for content in (committed or b"", *proposed))]
    return _hash([scope])[:8] + _hash(parts)[:24]


def change_ids(draft: Draft) -> tuple[str, ...]:
    """Ids of a draft's changes, each once: one per addition and resource, one per entry that goes or is narrowed."""
    if draft.committed is None:
        return (DRAFT_ID,)
    found: list[str] = []
    for change in draft.changes:
        if change.kind is ChangeKind.ADD:
            found.extend(addition_id(change.action, resource) for resource in change.resources)
        else:
            found.append(entry_id(change.action, change.sid, change.resources))
    return tuple(dict.fromkeys(found))


def shared_ids(scope: str, changes: Iterable[str]) -> tuple[str, ...]:
    """Ids of one target's changes for a pull request of several; `scope` as in its fingerprint, eight digits."""
    return tuple(f"{scope}-{change}" for change in changes)


def of_target(changes: Iterable[str], scope: str) -> tuple[str, ...]:
    """The ids among those of a shared pull request that are of one target, as they are alone."""
    return tuple(change.removeprefix(f"{scope}-") for change in changes if change.startswith(f"{scope}-"))


def addition_id(action: str, resource: str) -> str:
    """Twelve hexadecimal digits for an action added on one resource."""
    return _hash(["+", action, resource])[:12]


def entry_id(entry: str, sid: str, resources: Iterable[str]) -> str:
    """Twelve hexadecimal digits for an entry removed or narrowed, whatever it would have become."""
    return _hash(["-", entry, sid, sorted(resources)])[:12]


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
