"""Draws the ends of CloudFormation's names for each stack, as AWS does.

ministack makes them from the names of stack and resource alone, so that a stack created again has
the old names.
"""

from __future__ import annotations

import hashlib
import string
import uuid
from typing import Any

from ministack.services import cloudformation
from ministack.services.cloudformation import provisioners

_DRAWN: dict[str, str] = {}
_ALPHABET = string.ascii_letters + string.digits


def fresh(stack: str) -> None:
    """Forgets the ends of an earlier stack of this name, before another one is created."""
    found = next(
        (each for each in cloudformation._stacks.values() if each.get("StackName") == stack), None
    )
    if found is None or found.get("StackStatus") in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS"):
        _DRAWN.pop(stack, None)


def install() -> None:
    """Replaces ministack's function, which every module looks up at each call."""

    def named(
        stack_name: str,
        logical_id: str,
        *,
        lowercase: bool = False,
        max_len: int = 128,
        seeded: bool = True,
    ) -> str:
        seed: Any = provisioners._NAME_SEED.get() if seeded else ""
        drawn = _DRAWN.setdefault(stack_name, uuid.uuid4().hex)
        digest = hashlib.sha256(f"{stack_name}:{logical_id}:{drawn}:{seed}".encode()).digest()
        end = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:12])
        base = f"{stack_name}-{logical_id}-"[: max(max_len - 12, 0)] + end
        return base.lower() if lowercase else base

    provisioners._physical_name = named
