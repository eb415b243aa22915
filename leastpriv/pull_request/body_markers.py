"""Writes and reads the controls and the hidden markers in the body of a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from leastpriv.pull_request.lifecycle import PAUSED_LABEL, REBASE_BOX, RECONSIDER_LABEL

_MAX_IDS = 1_500
"""An id has 13 characters. Without its ids, only an equal proposal is recognized as declined."""
_CHANGES_MARKER = re.compile(r"<!-- leastpriv:changes v=1 ([0-9a-z -]*)-->")
_FINGERPRINT_MARKER = re.compile(r"<!-- leastpriv v=1 [^>]*?fingerprint=([0-9a-f]+)")


def controls_section(changes: Sequence[str]) -> str:
    """Returns the last section of a body; `changes` are the ids of the changes that closing it declines."""
    lines = [
        "### Controls",
        "",
        "- **Closing** this without merging declines its changes: none of them is proposed again, until the closed "
        f"pull request gets the label `{RECONSIDER_LABEL}`.",
        "- A comment `/leastpriv keep ACTION` by somebody with write permission keeps an action.",
        f"- The label `{PAUSED_LABEL}` leaves it as it is.",
        f"{REBASE_BOX} Make the branch anew with the next run; commits of others on it are lost.",
        "",
        f"<!-- leastpriv:changes v=1 {' '.join(changes[:_MAX_IDS])} -->",
    ]
    return "\n".join(lines) + "\n"


def declined_changes(body: str) -> tuple[str, ...]:
    """Returns the ids of the changes in the body of a closed pull request."""
    match = _CHANGES_MARKER.search(body)
    return tuple(match[1].split()) if match else ()


def body_fingerprint(body: str) -> str:
    """Returns the fingerprint in a body; empty without one."""
    match = _FINGERPRINT_MARKER.search(body)
    return match[1] if match else ""
