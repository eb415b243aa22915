"""What a person can do with a pull request besides merging it, and the hidden memory of what closing it declines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from leastpriv.pull_request.lifecycle import PAUSED_LABEL, REBASE_BOX, RECONSIDER_LABEL

_MOST_IDS = 1_500
"""At 13 characters each; beyond it only an equal proposal is known again as declined."""
_CHANGES = re.compile(r"<!-- leastpriv:changes v=1 ([0-9a-z -]*)-->")
_FINGERPRINT = re.compile(r"<!-- leastpriv v=1 [^>]*?fingerprint=([0-9a-f]+)")


def controls(changes: Sequence[str]) -> str:
    """The last section of a pull request's body; `changes` are the ids of what closing it declines."""
    lines = [
        "### Controls",
        "",
        "- **Closing** this without merging declines its changes: none of them is proposed again, until the closed "
        f"pull request gets the label `{RECONSIDER_LABEL}`.",
        "- A comment `/leastpriv keep ACTION` by somebody with write permission keeps an action.",
        f"- The label `{PAUSED_LABEL}` leaves it as it is.",
        f"{REBASE_BOX} Make the branch anew with the next run; commits of others on it are lost.",
        "",
        f"<!-- leastpriv:changes v=1 {' '.join(changes[:_MOST_IDS])} -->",
    ]
    return "\n".join(lines) + "\n"


def declined_changes(body: str) -> tuple[str, ...]:
    """Ids in the body of a closed pull request."""
    found = _CHANGES.search(body)
    return tuple(found[1].split()) if found else ()


def fingerprint_in(body: str) -> str:
    """Fingerprint of the proposal that a body is about; empty where it has none."""
    found = _FINGERPRINT.search(body)
    return found[1] if found else ""
