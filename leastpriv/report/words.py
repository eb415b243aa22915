"""Small phrases that every report shares: counts, dates, lists, names of changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from leastpriv.evidence.runs import workflow_run_of
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Run, Usage
from leastpriv.proposal.situation import HeldBack, Objection
from leastpriv.report.escape import code


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 action`, `2 actions`, `1,204 calls`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def day(time: datetime | None) -> str:
    """`2026-11-03`, or a dash."""
    return f"{time:%Y-%m-%d}" if time else "–"


def codes(items: Iterable[str], most: int = 12) -> str:
    """Code spans with commas, cut after `most`."""
    every = list(items)
    shown = ", ".join(code(item) for item in every[:most])
    return shown if len(every) <= most else f"{shown} and {len(every) - most:,} more"


def times(usages: Sequence[Usage], evidence: Evidence) -> str:
    """`14×`: the calls behind some usages, each once though it may need several resources."""
    wanted = {(usage.need, usage.outcome) for usage in usages}
    groups = (group for group in evidence.groups if any((need, group.outcome) in wanted for need in group.needs))
    logged = sum(usage.count for usage in usages if usage.denial and usage.denial.log)
    return f"{sum(group.count for group in groups) + logged:,}×"


def runs_of(usages: Sequence[Usage]) -> tuple[str, ...]:
    """Ids of all runs of some usages, each once, in no order."""
    return tuple(dict.fromkeys(run for usage in usages for run in usage.runs))


def in_time(ids: Iterable[str], runs: Iterable[Run]) -> tuple[str, ...]:
    """Ids of runs, oldest first."""
    wanted = set(ids)
    return tuple(dict.fromkeys(run.id for run in runs if run.id in wanted))


def watched(evidence: Evidence) -> str:
    """How long and how often somebody was watched: `35 days and 6 runs`."""
    return f"{plural(evidence.span.days, 'day')} and {plural(len(evidence.runs), 'run')}"


def run_page(run: str, run_url: str) -> str:
    """Address of the page of a workflow run, by the template `run_url`; empty where it can lead to none."""
    number = workflow_run_of(run)
    return run_url.format(run=number) if run_url and number else ""


def run_links(runs: Sequence[str], run_url: str) -> str:
    """The three latest of some run ids, oldest first, as links where `run_url` (with `{run}`) can lead to them."""
    shown = [f"[{run}]({page})" if (page := run_page(run, run_url)) else code(run) for run in runs[-3:]]
    more = f" and {len(runs) - 3} earlier" if len(runs) > 3 else ""
    return ", ".join(shown) + more


def last_of(usages: Sequence[Usage]) -> datetime | None:
    """When the latest of some usages was seen."""
    return max((usage.last_seen for usage in usages), default=None)


def by_objection(held: Iterable[HeldBack]) -> dict[Objection, list[HeldBack]]:
    """What was held back, by guard and reason, in the order in which these first come up."""
    groups: dict[Objection, list[HeldBack]] = {}
    for each in held:
        groups.setdefault(each.objection, []).append(each)
    return groups


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
