"""What the page shows, as plain values: the template decides nothing, and everything in it is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from leastpriv.evidence.usage import Evidence
from leastpriv.model import ChangeKind, Run, Usage
from leastpriv.proposal.situation import Change, Objection
from leastpriv.report.confidence import chance_line
from leastpriv.report.limits import held_back, refused, unseen
from leastpriv.report.live import live_role
from leastpriv.report.page.chain_view import Drawing, drawing
from leastpriv.report.proof import proof_lines
from leastpriv.report.pull_request_body import title, verdict
from leastpriv.report.subject import Subject
from leastpriv.report.words import day, in_time, last_of, plural, run_page, runs_of, watched

_MOST_EVIDENCE = 2_000
"""Rows of evidence: with them a page stays under 2 MB and opens at once (bench/page.py)."""
_MOST_RUNS = 400
_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Bar:
    """One service: how many actions the policy grants, how many were used, how many the proposal grants."""

    service: str
    granted: int
    used: int
    after: int
    width: float
    """Percent of the widest, of what is granted."""

    @property
    def used_share(self) -> float:
        """Percent of what is granted."""
        return 100 * self.used / max(self.granted, 1)

    @property
    def after_share(self) -> float:
        """Percent of what is granted, at most 100."""
        return min(100.0, 100 * self.after / max(self.granted, 1))


@dataclass(frozen=True, slots=True)
class Dot:
    """One run on the time line."""

    x: float
    label: str
    refused: bool
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    """One permission behind a change."""

    action: str
    resource: str
    basis: str
    times: int
    events: tuple[str, ...]
    first: str
    last: str
    runs: tuple[tuple[str, str], ...]
    """(id, address or empty), the three latest."""
    more_runs: int


@dataclass(frozen=True, slots=True)
class Item:
    """One change, with what stays of a wildcard and why."""

    kind: str
    action: str
    resources: tuple[str, ...]
    place: str
    sentence: str
    security: str
    gone: tuple[str, ...]
    stays: tuple[tuple[str, str, str], ...]
    """(action, guard, reason)."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One role and policy file."""

    anchor: str
    title: str
    verdict: str
    """Markdown, as all that follows of this type."""
    chance: str
    principal: str
    policy_file: str
    facts: tuple[tuple[str, str], ...]
    """(figure, what it counts)."""
    bars: tuple[Bar, ...]
    dots: tuple[Dot, ...]
    span: tuple[str, str]
    drawing: Drawing | None
    """The roles that it leads to."""
    items: tuple[Item, ...]
    left_out: int
    """Rows of evidence that the page has no room for."""
    sections: tuple[str, ...]


def target(subject: Subject, number: int) -> Target:
    """What the page shows of one proposal; `number` tells several on one page apart."""
    evidence = subject.evidence
    items, left_out = _items(subject)
    return Target(
        anchor=f"target-{number}",
        title=title(subject),
        verdict=verdict(subject),
        chance=" ".join(chance_line(subject)),
        principal=subject.principal,
        policy_file=subject.policy_file,
        facts=_facts(subject),
        bars=_bars(subject),
        dots=_dots(evidence.runs[-_MOST_RUNS:], subject.run_url),
        span=(day(evidence.first), day(evidence.last)),
        drawing=drawing(subject.chained),
        items=items,
        left_out=left_out,
        sections=tuple(
            section for part in (proof_lines, refused, live_role, unseen, held_back) for section in part(subject)
        ),
    )


def _facts(subject: Subject) -> tuple[tuple[str, str], ...]:
    evidence = subject.evidence
    counts = {kind: len(subject.changes(kind)) for kind in ChangeKind}
    return (
        (f"{counts[ChangeKind.ADD]:,}", "added"),
        (f"{counts[ChangeKind.NARROW]:,}", "narrowed"),
        (f"{counts[ChangeKind.REMOVE]:,}", "removed"),
        (f"{evidence.counts.calls:,}", "calls read"),
        (f"{len(evidence.runs):,}", "runs"),
        (f"{evidence.span.days:,}", "days"),
    )


def _bars(subject: Subject) -> tuple[Bar, ...]:
    """Services by how much of what is granted was not used, the most first."""
    gone: dict[tuple[int, str], set[str]] = {}
    for change in subject.draft.changes:
        if change.kind is not ChangeKind.ADD:
            gone.setdefault((change.statement, change.action), set()).update(change.gone)
    granted: set[str] = set()
    used: set[str] = set()
    after = {change.action for change in subject.changes(ChangeKind.ADD)}
    for entry in subject.difference.entries:
        granted.update(entry.granted)
        used.update(action for action, usages in entry.uses.items() if usages)
        after.update(set(entry.granted) - gone.get((entry.statement.index, entry.pattern), set()))
    counted = [Counter(action.partition(":")[0] for action in actions) for actions in (granted, used, after)]
    services = sorted({*counted[0], *counted[2]})
    numbers = {name: (counted[0][name], counted[1][name], counted[2][name]) for name in services}
    widest = max((max(number) for number in numbers.values()), default=1)
    bars = [Bar(name, *number, width=100 * max(number) / widest) for name, number in numbers.items()]
    return tuple(sorted(bars, key=lambda bar: (bar.used - bar.granted, bar.service)))


def _dots(runs: Sequence[Run], run_url: str) -> tuple[Dot, ...]:
    if not runs:
        return ()
    start = min(run.first for run in runs)
    length = max((max(run.first for run in runs) - start).total_seconds(), 1)
    return tuple(_dot(run, start, length, run_url) for run in runs)


def _dot(run: Run, start: datetime, length: float, run_url: str) -> Dot:
    x = 10 + (_WIDTH - 20) * (run.first - start).total_seconds() / length
    told = f"{plural(run.denied, 'call')} refused" if run.denied else "nothing refused"
    return Dot(
        round(x, 1), f"Run {run.id}, {run.first:%Y-%m-%d %H:%M} UTC: {told}", run.denied > 0, run_page(run.id, run_url)
    )


def _items(subject: Subject) -> tuple[tuple[Item, ...], int]:
    """The changes, those for a security reviewer first, and how many rows of evidence were left out."""
    room, items, left_out = _MOST_EVIDENCE, [], 0
    for change in subject.gravest_first:
        rows = tuple(_row(usage, subject) for usage in change.usages[:room])
        room -= len(rows)
        left_out += len(change.usages) - len(rows)
        items.append(_item(change, rows, subject.evidence))
    return tuple(items), left_out


def _item(change: Change, rows: tuple[Row, ...], evidence: Evidence) -> Item:
    return Item(
        kind=change.kind.value,
        action=change.action,
        resources=change.onto or change.resources,
        place=_place(change),
        sentence=_sentence(change, evidence),
        security=change.security,
        gone=change.gone if change.kind is ChangeKind.NARROW else (),
        stays=tuple(_stays(change.stays or {})),
        rows=rows,
    )


def _place(change: Change) -> str:
    if not change.line:
        return ""
    return f"statement {change.sid}, line {change.line}" if change.sid else f"statement on line {change.line}"


def _sentence(change: Change, evidence: Evidence) -> str:
    if change.kind is ChangeKind.ADD:
        seen = plural(len(runs_of(change.usages)), "run")
        return f"{change.basis or 'observed'}; seen in {seen}, last {day(last_of(change.usages))}"
    if change.onto:
        return "used on these resources alone, granted on every one so far"
    if change.kind is ChangeKind.NARROW:
        return f"granted {plural(change.granted, 'action')}, {len(change.used):,} used, {len(change.gone):,} go"
    return f"no call in {watched(evidence)}"


def _stays(stays: Mapping[str, Objection]) -> Iterator[tuple[str, str, str]]:
    for action, objection in sorted(stays.items()):
        yield action, objection.guard, objection.reason


def _row(usage: Usage, subject: Subject) -> Row:
    runs = in_time(usage.runs, subject.evidence.runs) or usage.runs
    return Row(
        action=usage.need.permission.action,
        resource=usage.need.permission.resource,
        basis=usage.need.basis.value,
        times=usage.count,
        events=usage.events[:4],
        first=day(usage.first_seen),
        last=day(usage.last_seen),
        runs=tuple((run, run_page(run, subject.run_url)) for run in runs[-3:]),
        more_runs=max(len(runs) - 3, 0),
    )
