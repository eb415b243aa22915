"""A refusal under the proposal itself: what promise 5 makes of it (pure)."""

from __future__ import annotations

from dataclasses import replace

from leastpriv.evidence.runs import is_rehearsal
from leastpriv.model import Denial, DeniedBy


def as_rehearsed(denial: Denial, session: str) -> Denial:
    """The denial as it counts for a session of this name.

    In a rehearsal the session policy *is* the proposal, so what it does not allow is what the proposal lacks: mendable,
    while `denied_by` stays `session`. An explicit deny stays one, since no grant outweighs it.
    """
    refused = denial.denied_by is DeniedBy.SESSION and not denial.explicit and bool(denial.actions)
    return replace(denial, mendable=True, why="") if refused and is_rehearsal(session) else denial
