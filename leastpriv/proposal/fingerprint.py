"""Identifiers of proposals and changes: a proposal is made once, and a declined change is not proposed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from leastpriv.models import ChangeKind
from leastpriv.proposal.models import Proposal

DRAFT_ID = "first-draft"
"""A first draft is one change: a part of it would not be enough for a deploy."""


def fingerprint(scope: str, committed: bytes | None, *proposed: bytes) -> str:
    """32 hexadecimal digits: 8 of the scope (principal and file), 24 of the committed and the proposed files."""
    parts = [scope, *(hashlib.sha256(content).hexdigest() for content in (committed or b"", *proposed))]
    return _hash([scope])[:8] + _hash(parts)[:24]


def change_ids(proposal: Proposal) -> tuple[str, ...]:
    """Ids of a proposal's changes, unique: one per addition and resource, one per removed or narrowed entry."""
    if proposal.committed is None:
        return (DRAFT_ID,)
    found: list[str] = []
    for change in proposal.changes:
        if change.kind is ChangeKind.ADD:
            found.extend(addition_id(change.action, resource) for resource in change.resources)
        else:
            found.append(entry_id(change.action, change.sid, change.resources))
    return tuple(dict.fromkeys(found))


def ids_with_scope(scope: str, changes: Iterable[str]) -> tuple[str, ...]:
    """Ids of one target's changes within a grouped pull request; `scope`: the first eight digits of its fingerprint."""
    return tuple(f"{scope}-{change}" for change in changes)


def ids_of_scope(changes: Iterable[str], scope: str) -> tuple[str, ...]:
    """The ids of one target among those of a grouped pull request, without the scope."""
    return tuple(change.removeprefix(f"{scope}-") for change in changes if change.startswith(f"{scope}-"))


def addition_id(action: str, resource: str) -> str:
    """Twelve hexadecimal digits of an action added on one resource."""
    return _hash(["+", action, resource])[:12]


def entry_id(entry: str, sid: str, resources: Iterable[str]) -> str:
    """Twelve hexadecimal digits of a removed or narrowed entry, whatever its replacement."""
    return _hash(["-", entry, sid, sorted(resources)])[:12]


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
