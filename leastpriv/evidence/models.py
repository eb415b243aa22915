"""The evidence of one principal: groups of equal calls, counts, coverage and gaps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from sys import intern

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.evidence.aws_findings import NO_AWS_FINDINGS, AwsFindings
from leastpriv.evidence.coverage import Coverage, silence_gaps
from leastpriv.models import Call, Denial, Gap, GapKind, Need, Outcome, Run, Scope, Usage
from leastpriv.permissions.request import creates, new_ids

GroupKey = tuple[tuple[Need, ...], Outcome, str, str]
"""Needs, outcome, the policy type that denied, and region (a condition may name one)."""


class CallTotals(Struct, gc=False):
    """Running totals of the calls with one key."""

    first: datetime
    last: datetime
    count: int = 0
    succeeded: bool = False
    runs: set[int] = set()
    # Tuples of distinct strings: nearly all hold one, and even an empty set takes more memory.
    regions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    forwarded: tuple[str, ...] = ()
    denial: Denial | None = None
    programs: tuple[str, ...] = ()
    """Programs of the calls that no service forwarded (`Usage.programs`)."""
    made: frozenset[str] = frozenset()
    """Ids of the resources that the calls created."""

    def note(self, call: Call, run: int) -> None:
        """Counts one call of a run."""
        self.count_call(call, run)
        event = f"{call.source}:{call.name}"
        if event not in self.events:
            self.events += (intern(event),)
        if call.region not in self.regions:
            self.regions += (call.region,)
        if not call.invoked_by:
            if call.program not in self.programs:
                self.programs += (call.program,)
        elif call.invoked_by not in self.forwarded:
            self.forwarded += (call.invoked_by,)
        if not call.error_code:
            self.succeeded = True

    def count_call(self, call: Call, run: int) -> None:
        """Counts one call whose event, region, program and outcome are known."""
        self.count += 1
        if call.time < self.first:
            self.first = call.time
        elif call.time > self.last:
            self.last = call.time
        self.runs.add(run)
        if call.response and not call.error_code and creates(call.name) and len(self.made) < _MOST_IDS:
            self.made = self.made.union(new_ids(call.name, call.response))

    def absorb(self, other: CallTotals) -> None:
        """Adds the totals of another key."""
        self.count += other.count
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.runs |= other.runs
        self.regions = _union(self.regions, other.regions)
        self.events = _union(self.events, other.events)
        self.forwarded = _union(self.forwarded, other.forwarded)
        self.programs = _union(self.programs, other.programs)
        self.succeeded = self.succeeded or other.succeeded
        self.denial = self.denial or other.denial
        self.made |= other.made

    def usage(self, need: Need, outcome: Outcome, runs: tuple[str, ...], doubt: str) -> Usage:
        """Returns the totals as the usage of a need in some runs."""
        return Usage(
            need,
            outcome,
            count=self.count,
            first_seen=self.first,
            last_seen=self.last,
            runs=runs,
            events=tuple(sorted(self.events)),
            regions=tuple(sorted(self.regions)),
            denial=self.denial,
            succeeded=self.succeeded,
            forwarded_by=tuple(sorted(self.forwarded)),
            programs=tuple(sorted(self.programs)),
            made=tuple(sorted(self.made)),
            doubt=doubt,
        )


class CallGroup(Struct, frozen=True):
    """Calls with the same outcome and needs: the unit of the replay."""

    needs: tuple[Need, ...]
    outcome: Outcome
    count: int
    runs: tuple[str, ...]
    regions: tuple[str, ...]
    event: str
    forwarded_by: tuple[str, ...] = ()
    """Services that forwarded the calls on behalf of the principal (`cloudformation.amazonaws.com`), sorted."""


class Counts(Struct, frozen=True):
    """Number of calls of the principal, in total and by outcome."""

    calls: int = 0
    allowed: int = 0
    denied: int = 0
    unknown: int = 0
    unmapped: int = 0
    """Allowed calls whose needs are not certain."""
    no_permission: int = 0
    """Allowed calls that need no permission in a policy."""


_NO_COVERAGE = Coverage()


class Evidence(Struct, frozen=True):
    """All evidence about one principal."""

    principal: str
    usages: tuple[Usage, ...] = ()
    groups: tuple[CallGroup, ...] = ()
    gaps: tuple[Gap, ...] = ()
    runs: tuple[Run, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    counts: Counts = Counts()
    regions: tuple[str, ...] = ()
    """Regions of the principal's calls."""
    coverage: Coverage = _NO_COVERAGE
    own_policies: tuple[str, ...] = ()
    """ARNs of managed policies that the principal has, as far as they are known."""
    live_role_drift: str = ""
    """How the deployed role differs from the policy file, in words; empty where it is equal or was not read."""
    logged_runs: tuple[Run, ...] = ()
    """Workflow runs whose own job logs were read; CloudTrail may not show them yet."""
    aws_findings: AwsFindings = NO_AWS_FINDINGS
    """Access advisor, Access Analyzer and CloudFormation data about the principal."""
    checked_inside: Mapping[str, str] = {}
    """Action that AWS may authorize inside calls of the principal -> one of their events (`ssm:CreateAssociation`)."""
    signed: Mapping[str, int] = {}
    """Principal that issued the access keys (empty: unknown) -> number of calls signed with them."""

    @property
    def span(self) -> timedelta:
        """Time from the first to the last call."""
        return self.last - self.first if self.first and self.last else timedelta()


_MOST_IDS = 1_000
"""Most ids of created resources that are kept."""


def _union(known: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return known if known == others else tuple(dict.fromkeys((*known, *others)))


_LARGEST_SKEW = timedelta(hours=24)
"""Tolerance for clock errors and time zones; one day does not affect a limit of 30 days."""


def with_clock_gap(evidence: Evidence, now: datetime) -> Evidence:
    """Adds a gap that may hide any call where the last call is more than a day after `now`."""
    if evidence.last is None or evidence.last <= now + _LARGEST_SKEW:
        return evidence
    detail = (
        f"the last call is of {evidence.last:%Y-%m-%d %H:%M} and here it is {now:%Y-%m-%d %H:%M} (UTC): "
        "set this machine's clock, or remove the records of another time"
    )
    return replace(evidence, gaps=(*evidence.gaps, Gap(GapKind.FUTURE_RECORDS, Scope(), detail)))


def with_coverage(evidence: Evidence, coverage: Coverage) -> Evidence:
    """Adds the coverage of all sources, and a gap for each silence in it."""
    return replace(evidence, coverage=coverage, gaps=(*evidence.gaps, *silence_gaps(coverage)))
