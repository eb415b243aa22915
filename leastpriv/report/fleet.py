"""The figures of each target of a run, for the page and JSON: actions granted and used, verdict, chance, last run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leastpriv.models import ChangeKind
from leastpriv.report.context import ReportContext
from leastpriv.report.phrases import day, share
from leastpriv.report.targets import TargetRow
from leastpriv.report.verdict import short_verdict


@dataclass(frozen=True, slots=True)
class ActionCounts:
    """The actions of a policy."""

    granted: frozenset[str]
    """What the committed policy grants."""
    used: frozenset[str]
    """Which of these were used."""
    after: frozenset[str]
    """What the proposal grants."""


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One target in the table of all, in plain text."""

    anchor: str
    """Of the target's part of the page; empty where it has none."""
    account: str
    role: str
    policy_file: str
    granted: str
    used: str
    after: str
    verdict: str
    chance: str
    runs: str
    last_run: str
    failure: str
    pull_request: str
    """URL, or empty."""


def action_counts(context: ReportContext) -> ActionCounts:
    """Returns the actions that a policy grants before and after its proposal, and those that were used."""
    removed: dict[tuple[int, str], set[str]] = {}
    for change in context.proposal.changes:
        if change.kind is not ChangeKind.ADD:
            removed.setdefault((change.statement, change.action), set()).update(change.removed_actions)
    granted: set[str] = set()
    used: set[str] = set()
    after = {change.action for change in context.changes(ChangeKind.ADD)}
    for entry in context.difference.entries:
        granted.update(entry.granted)
        used.update(action for action, usages in entry.uses.items() if usages)
        after.update(set(entry.granted) - removed.get((entry.statement.index, entry.pattern), set()))
    return ActionCounts(frozenset(granted), frozenset(used), frozenset(after))


def target_figures(context: ReportContext | None) -> dict[str, object]:
    """Returns the figures of a target as the index of a run has them; those of a failed target are null."""
    names = ("granted", "used", "granted-after", "verdict", "chance", "runs", "calls", "last-run")
    if context is None:
        return dict.fromkeys(names)
    counts, evidence = action_counts(context), context.evidence
    chance = round(context.proof.chance, 4) if context.proof.chance_runs else None
    last = max((run.last for run in evidence.runs), default=None)
    figures = (
        len(counts.granted), len(counts.used), len(counts.after), short_verdict(context), chance,
        len(evidence.runs), evidence.counts.calls, f"{last:%Y-%m-%dT%H:%M:%SZ}" if last else None,
    )  # fmt: skip
    return dict(zip(names, figures, strict=True))


def widest_first(rows: Sequence[TargetRow]) -> list[TargetRow]:
    """Returns the targets: failed ones first, then those whose policy grants the most unused actions."""

    def weight(row: TargetRow) -> tuple[bool, int]:
        counts = action_counts(row.context) if row.context else None
        return not row.failure, len(counts.used) - len(counts.granted) if counts else 0

    return sorted(rows, key=weight)


def fleet_rows(rows: Sequence[TargetRow], detailed: int) -> tuple[FleetRow, ...]:
    """Returns the table of all targets; the first `detailed` ones with a proposal have their own part of the page."""
    numbers = {id(row): number for number, row in enumerate((each for each in rows if each.context), start=1)}
    return tuple(
        _row(row, target_figures(row.context), number if (number := numbers.get(id(row), 0)) <= detailed else 0)
        for row in rows
    )


def _row(row: TargetRow, figures: dict[str, object], number: int) -> FleetRow:
    context, chance = row.context, figures["chance"]
    last = max((run.last for run in context.evidence.runs), default=None) if context else None
    _, _, _, _, account, name = row.role.split(":", 5)

    def shown(key: str) -> str:
        return "–" if figures[key] is None else f"{figures[key]:,}"

    return FleetRow(
        anchor=f"target-{number}" if number else "",
        account=account,
        role=name,
        policy_file=row.policy_file,
        granted=shown("granted"),
        used=shown("used"),
        after=shown("granted-after"),
        verdict="Failed" if row.failure else str(figures["verdict"] or "–"),
        chance=share(chance) if isinstance(chance, float) else "–",
        runs=shown("runs"),
        last_run=day(last) if last else "–",
        failure=row.failure,
        pull_request=row.pull_request,
    )
