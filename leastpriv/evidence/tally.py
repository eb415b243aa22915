"""Running figures of the calls that need the same permissions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from leastpriv.model import Call, Denial, Need, Outcome
from leastpriv.permissions.request import new_ids

_MOST_IDS = 1_000
"""Of the things that calls made."""

GroupKey = tuple[tuple[Need, ...], Outcome, str, str]
"""Needs, outcome, who refused (an SCP's refusal is not the identity policy's) and region (conditions may name one)."""


@dataclass(slots=True)
class Tally:
    """Running figures of one key."""

    first: datetime
    last: datetime
    count: int = 0
    succeeded: bool = False
    runs: set[int] = field(default_factory=set)
    regions: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    forwarded: set[str] = field(default_factory=set)
    denial: Denial | None = None
    direct: bool = False
    """Some call came from the principal itself, and not through a service."""
    made: set[str] = field(default_factory=set)
    """Ids of what the calls made."""

    def note(self, call: Call, run: int) -> None:
        """Count one call of a run."""
        self.count += 1
        self.first = min(self.first, call.time)
        self.last = max(self.last, call.time)
        self.runs.add(run)
        self.regions.add(call.region)
        self.events.add(f"{call.source}:{call.name}")
        self.forwarded.update((call.invoked_by,) if call.invoked_by else ())
        self.direct = self.direct or not call.invoked_by
        self.succeeded = self.succeeded or not call.error_code
        if call.response and not call.error_code and len(self.made) < _MOST_IDS:
            self.made.update(new_ids(call.name, call.response))

    def absorb(self, other: Tally) -> None:
        """Take the figures of another key in."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.runs |= other.runs
        self.regions |= other.regions
        self.events |= other.events
        self.forwarded |= other.forwarded
        self.direct = self.direct or other.direct
        self.succeeded = self.succeeded or other.succeeded
        self.denial = self.denial or other.denial
        self.made |= other.made
