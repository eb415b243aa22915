"""Identity of a proposal: the same scope, base and result give the same fingerprint, so that it is not made twice."""

from __future__ import annotations

import hashlib
import json


def fingerprint(scope: str, committed: bytes | None, proposed: bytes) -> str:
    """32 hexadecimal digits over the scope (principal and file), the committed and the proposed file."""
    parts = [scope, hashlib.sha256(committed or b"").hexdigest(), hashlib.sha256(proposed).hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
