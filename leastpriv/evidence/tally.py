"""Running figures of the calls that need the same permissions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from sys import intern

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
    # Tuples of distinct texts: nearly all hold one, and an empty set is larger than all of these.
    regions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    forwarded: tuple[str, ...] = ()
    denial: Denial | None = None
    direct: bool = False
    """Some call came from the principal itself, and not through a service."""
    made: frozenset[str] = frozenset()
    """Ids of what the calls made."""

    def note(self, call: Call, run: int) -> None:
        """Count one call of a run."""
        self.count += 1
        self._reach(call.time, call.time)
        self.runs.add(run)
        event = f"{call.source}:{call.name}"
        if event not in self.events:
            self.events += (intern(event),)
        if call.region not in self.regions:
            self.regions += (call.region,)
        if not call.invoked_by:
            self.direct = True
        elif call.invoked_by not in self.forwarded:
            self.forwarded += (call.invoked_by,)
        if not call.error_code:
            self.succeeded = True
            ids = new_ids(call.name, call.response) if call.response and len(self.made) < _MOST_IDS else ()
            if ids:
                self.made = self.made.union(ids)

    def absorb(self, other: Tally) -> None:
        """Take the figures of another key in."""
        self.count += other.count
        self._reach(other.first, other.last)
        self.runs |= other.runs
        self.regions = _joined(self.regions, other.regions)
        self.events = _joined(self.events, other.events)
        self.forwarded = _joined(self.forwarded, other.forwarded)
        self.direct = self.direct or other.direct
        self.succeeded = self.succeeded or other.succeeded
        self.denial = self.denial or other.denial
        self.made |= other.made

    def _reach(self, first: datetime, last: datetime) -> None:
        if first < self.first:
            self.first = first
        if last > self.last:
            self.last = last


def _joined(known: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    new = [each for each in others if each not in known]
    return (*known, *new) if new else known
