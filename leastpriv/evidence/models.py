"""What the evidence shows of one principal: groups of equal calls, counts, coverage and gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from sys import intern

from leastpriv.evidence.aws_findings.models import NO_HINTS, Hints
from leastpriv.models import Call, Denial, Gap, Need, Outcome, Run, Usage
from leastpriv.permissions.request import new_ids

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


@dataclass(frozen=True, slots=True)
class CallGroup:
    """Calls of one outcome that need the same permissions: the unit of the replay."""

    needs: tuple[Need, ...]
    outcome: Outcome
    count: int
    runs: tuple[str, ...]
    regions: tuple[str, ...]
    event: str
    forwarded_by: tuple[str, ...] = ()
    """Services that forwarded the calls in the principal's name (`cloudformation.amazonaws.com`), sorted."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many calls of the principal were read, and what became of them."""

    calls: int = 0
    allowed: int = 0
    denied: int = 0
    unknown: int = 0
    unmapped: int = 0
    """Allowed calls of which nobody knows for sure what they need."""
    no_permission: int = 0
    """Allowed calls that no policy has to allow."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the trail shows of anybody: silence proves something only where others were heard."""

    regions: Mapping[str, timedelta] = field(default_factory=dict)
    """Region -> time from its first to its last record."""
    reads: bool = False
    """Some management event of a reading call was seen: the trail does not log writes only."""
    sources: frozenset[str] = frozenset()
    """Event sources seen: a trail may leave out AWS KMS and the RDS Data API."""
    whole: timedelta = timedelta()
    """Time whose every management event was looked through, as in event history, which leaves none out."""
    logged: Mapping[str, timedelta] = field(default_factory=dict)
    """`management-read`, `management-write` or event source -> time from its first to its last record in a trail."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was read about one principal."""

    principal: str
    usages: tuple[Usage, ...] = ()
    groups: tuple[CallGroup, ...] = ()
    gaps: tuple[Gap, ...] = ()
    runs: tuple[Run, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    counts: Counts = Counts()
    regions: tuple[str, ...] = ()
    """Of the principal's calls."""
    coverage: Coverage = Coverage()
    live_differs: str = ""
    """How the role in the account differs from the policy file, in words; empty where it does not, or nobody asked."""
    data_recorded: Mapping[tuple[str, str], timedelta] = field(default_factory=dict)
    """(`arn:aws:s3:::bucket`, `read` or `write`) of which data events were seen -> time from first to last."""
    logged_runs: tuple[Run, ...] = ()
    """Workflow runs whose own job logs were read; CloudTrail need not show them (yet)."""
    hints: Hints = NO_HINTS
    """What AWS itself says of the principal's use."""
    checked_inside: Mapping[str, str] = field(default_factory=dict)
    """Action that AWS may authorize inside calls of the principal -> one of their events (`ssm:CreateAssociation`)."""
    signed: Mapping[str, int] = field(default_factory=dict)
    """Who had handed out the keys (empty: nobody whose calls were read) -> calls that they signed."""

    @property
    def span(self) -> timedelta:
        """From the first to the last call."""
        return self.last - self.first if self.first and self.last else timedelta()


_MOST_IDS = 1_000
"""Of the things that calls made."""


def _joined(known: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    new = [each for each in others if each not in known]
    return (*known, *new) if new else known
