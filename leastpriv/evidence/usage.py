"""Calls folded into usage: permission -> count, first and last seen, runs. Memory grows with what differs only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from leastpriv.evidence.hints.found import NO_HINTS, Hints
from leastpriv.evidence.iam_paths import with_known_paths
from leastpriv.evidence.refusals.encoded import NO_DECODER, Decoder
from leastpriv.evidence.refusals.needs import contradicted, partner_needs, refused_needs
from leastpriv.evidence.refusals.recorded import recorded_denial
from leastpriv.evidence.runs import RunTracker
from leastpriv.evidence.tally import GroupKey, Tally
from leastpriv.model import (
    Call,
    Denial,
    Gap,
    GapKind,
    Need,
    Outcome,
    Permission,
    Run,
    Scope,
    Usage,
)
from leastpriv.permissions.events import Verdict
from leastpriv.permissions.mapping import CallNeeds, needs_of
from leastpriv.permissions.partners import unknown_refusals
from leastpriv.permissions.unmapped import scope_of_unmapped

_MOST_RESOURCES_PER_ACTION = 500
"""Beyond it, further resources are folded into their parent: object keys never end (measured: 216 MB at 5 GB)."""
_MOST_GAPS = 1_000


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


_RunIds = Mapping[int, Run]


class UsageBook:
    """Folds the calls of one principal as they stream by; `close` gives the evidence."""

    def __init__(self, principal: str, decoder: Decoder = NO_DECODER) -> None:
        self._principal = principal
        self._decoder = decoder
        self._runs = RunTracker()
        self._groups: dict[GroupKey, Tally] = {}
        self._gaps: dict[tuple[GapKind, Scope, str], int] = {}
        self._resources: dict[str, set[str]] = {}
        self._data: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._checked_inside: dict[str, str] = {}
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._unmapped = self._no_permission = 0
        self._first: datetime | None = None
        self._last: datetime | None = None

    def note_gap(self, gap: Gap) -> None:
        """Keeps a gap; equal ones are counted, and past a bound the details are dropped, never the scope."""
        key = (gap.kind, gap.scope, gap.detail if len(self._gaps) < _MOST_GAPS else "and more of the kind")
        self._gaps[key] = self._gaps.get(key, 0) + gap.count

    def note(self, call: Call) -> None:
        """Counts one call of the principal."""
        self._outcomes[call.outcome] += 1
        time = call.time
        if self._first is None or time < self._first:
            self._first = time
        if self._last is None or time > self._last:
            self._last = time
        run = self._runs.note(call)
        if call.data_event:
            self._note_data_event(call)
        mapped = needs_of(call)
        if mapped.verdict is not Verdict.MAPPED or mapped.gaps or call.parameters_omitted:
            self._note_verdict(call, mapped)
        for action in mapped.kept:
            event = f"{call.source.partition('.')[0]}:{call.name}"
            self._checked_inside[action] = min(event, self._checked_inside.get(action, event))
        if call.outcome is Outcome.DENIED:
            self._note_denial(call, run, mapped)
        else:
            self._tally(call, run, mapped.needs, call.outcome)

    def _note_denial(self, call: Call, run: int, mapped: CallNeeds) -> None:
        denial = self._denial(call)
        self._check_mapping(call, mapped, denial)
        needs = refused_needs(mapped, denial)
        self._tally(call, run, needs, call.outcome, denial)
        if denial.actions:
            # Refused for want of another action (`iam:PassRole`): its own was attempted, with an unknown answer.
            named = {need.permission.action for need in needs}
            own = tuple(need for need in mapped.needs if need.permission.action not in named)
            self._tally(call, run, own, Outcome.UNKNOWN)
        if denial.mendable:
            self._tally(call, run, partner_needs(call, needs), call.outcome, denial)

    def _denial(self, call: Call) -> Denial:
        denial = recorded_denial(call, self._principal, self._decoder)
        if denial.encoded and not denial.actions:
            event = f"{call.source}:{call.name}"
            self.note_gap(Gap(GapKind.ENCODED_REFUSAL, Scope(), f"{event}{self._decoder.trouble}"))
        return denial

    def _tally(
        self, call: Call, run: int, needs: tuple[Need, ...], outcome: Outcome, denial: Denial | None = None
    ) -> None:
        if not needs:
            return
        refused_by = f"{denial.denied_by} {denial.mendable}" if denial else ""
        key = (tuple([self._folded(need) for need in needs]), outcome, refused_by, call.region)
        tally = self._groups.get(key)
        if tally is None:
            tally = self._groups[key] = Tally(call.time, call.time)
        tally.note(call, run)
        tally.denial = denial or tally.denial

    def close(self) -> Evidence:
        """The evidence so far; usages sorted by action, resource and outcome."""
        runs = self._runs.resolve()
        groups = with_known_paths(self._groups)
        return Evidence(
            principal=self._principal,
            usages=tuple(_usages(groups, runs)),
            groups=tuple(
                CallGroup(
                    needs,
                    outcome,
                    tally.count,
                    _ids(tally, runs),
                    tuple(sorted(tally.regions)),
                    min(tally.events),
                    tuple(sorted(tally.forwarded)),
                )
                for (needs, outcome, *_), tally in groups.items()
            ),
            gaps=tuple(Gap(*key, count=count) for key, count in self._gaps.items()),
            runs=tuple(sorted(set(runs.values()), key=lambda run: (run.first, run.id))),
            first=self._first,
            last=self._last,
            counts=Counts(
                calls=sum(self._outcomes.values()),
                allowed=self._outcomes[Outcome.ALLOWED],
                denied=self._outcomes[Outcome.DENIED],
                unknown=self._outcomes[Outcome.UNKNOWN],
                unmapped=self._unmapped,
                no_permission=self._no_permission,
            ),
            regions=tuple(sorted({region for tally in groups.values() for region in tally.regions})),
            data_recorded={each: last - first for each, (first, last) in self._data.items()},
            checked_inside=dict(sorted(self._checked_inside.items())),
        )

    def _note_verdict(self, call: Call, mapped: CallNeeds) -> None:
        event = f"{call.source}:{call.name}"
        allowed = call.outcome is Outcome.ALLOWED
        if mapped.verdict is Verdict.NO_PERMISSION:
            self._no_permission += allowed
        elif mapped.verdict is Verdict.UNMAPPED:
            self._unmapped += allowed
            self.note_gap(Gap(GapKind.UNMAPPED_EVENT, scope_of_unmapped(call.source, call.name, mapped.prefix), event))
        elif mapped.verdict is Verdict.UNVERIFIED:
            self._unmapped += allowed
            self.note_gap(Gap(GapKind.UNVERIFIED_ACTION, Scope(services=(mapped.prefix,)), event))
        for gap in mapped.gaps:
            self.note_gap(gap)
        if call.parameters_omitted:
            self.note_gap(Gap(GapKind.PARAMETERS_OMITTED, Scope(actions=("iam:PassRole",)), event))

    def _check_mapping(self, call: Call, mapped: CallNeeds, denial: Denial) -> None:
        """AWS names what it refused: an action that the event is not known to need shows that the mapping is wrong."""
        strange = unknown_refusals(call.source, call.name, mapped, denial.actions)
        if strange:
            actions = dict.fromkeys((*strange, *(need.permission.action for need in mapped.needs)))
            detail = f"{call.source}:{call.name} was refused {', '.join(strange)}"
            self.note_gap(Gap(GapKind.MAPPING_DISAGREES, Scope(actions=tuple(actions)), detail))
        for action in contradicted(mapped, denial):
            detail = f"{call.source}:{call.name} was refused {action} on another resource than its request names"
            self.note_gap(Gap(GapKind.MAPPING_DISAGREES, Scope(actions=(action,)), detail))

    def _note_data_event(self, call: Call) -> None:
        kind, time = "read" if call.read_only else "write", call.time
        for arn in call.resources:
            key = (data_event_root(arn), kind)
            first, last = self._data.get(key, (time, time))
            if not first < time < last:
                self._data[key] = (min(first, time), max(last, time))

    def _folded(self, need: Need) -> Need:
        permission = need.permission
        if permission.resource == "*":
            return need
        seen = self._resources.setdefault(permission.action, set())
        if permission.resource in seen or len(seen) < _MOST_RESOURCES_PER_ACTION:
            seen.add(permission.resource)
            return need
        for parent in _parents(permission.resource):
            if parent in seen or len(seen) < 2 * _MOST_RESOURCES_PER_ACTION:
                seen.add(parent)
                break
        folded = Permission(permission.action, parent, permission.conditions)
        return replace(need, permission=folded, derivation="folded: too many resources", exact=False)


def data_event_root(arn: str) -> str:
    """What a data-event selector names: the bucket of an object, otherwise the ARN itself."""
    return arn.partition("/")[0] if ":s3:::" in arn else arn


def _parents(resource: str) -> Iterable[str]:
    """Ever wider patterns over a resource: `b/x/*`, then `b/*`; at the end the region and account."""
    head, slash, path = resource.partition("/")
    if slash:
        folder = path.rpartition("/")[0]
        yield f"{head}/{folder}/*" if folder else f"{head}/*"
        yield f"{head}/*"
    yield ":".join(resource.split(":", 5)[:5]) + ":*"


def _ids(tally: Tally, runs: _RunIds) -> tuple[str, ...]:
    found = {runs[token] for token in tally.runs}
    return tuple(run.id for run in sorted(found, key=lambda run: (run.first, run.id)))


def _usages(groups: Mapping[GroupKey, Tally], runs: _RunIds) -> list[Usage]:
    merged: dict[tuple[Need, Outcome, str], Tally] = {}
    for (needs, outcome, refused_by, _), tally in groups.items():
        for need in dict.fromkeys(needs):
            merged.setdefault((need, outcome, refused_by), Tally(tally.first, tally.last)).absorb(tally)
    usages = [_usage(need, outcome, tally, runs) for (need, outcome, _), tally in merged.items()]
    return sorted(usages, key=lambda usage: (usage.need.permission, usage.outcome, usage.need.derivation))


def _usage(need: Need, outcome: Outcome, tally: Tally, runs: _RunIds) -> Usage:
    return Usage(
        need=need,
        outcome=outcome,
        count=tally.count,
        first_seen=tally.first,
        last_seen=tally.last,
        runs=_ids(tally, runs),
        events=tuple(sorted(tally.events)),
        regions=tuple(sorted(tally.regions)),
        denial=tally.denial,
        succeeded=tally.succeeded,
        forwarded_by=tuple(sorted(tally.forwarded)),
        direct=tally.direct,
        made=tuple(sorted(tally.made)),
    )
