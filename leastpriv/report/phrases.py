"""Small phrases that every report shares: counts, dates, lists, names of changes.

Long sections cut to what a page takes: whole lines go, and the reader is told where the rest is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from leastpriv.evidence.models import Evidence
from leastpriv.evidence.runs import workflow_run_of
from leastpriv.models import Run, Usage
from leastpriv.proposal.models import HeldBack, Objection
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


_CUT = "\n\n*Cut here, {rest:,} more lines: {place} has all of them.*"
_LONGEST_CUT = len(_CUT) + 40 + 2 * len("\n\n</details>")
"""With the ends of folds: a section of ours has at most one in another."""


def fit(sections: Sequence[str], longest: int, place: str = "`proposal.json`") -> list[str]:
    """`sections` with at most `longest` characters together; only the longest ones lose lines, at their ends.

    `place`, at most 20 characters of Markdown, is where the reader finds all of them.
    """
    share = _share(sorted(map(len, sections)), longest)
    return [section if len(section) <= share else _cut(section, share, place) for section in sections]


def _share(lengths: Sequence[int], longest: int) -> int:
    """The most that one section may have, so that what short ones leave over goes to the long ones."""
    left, share = longest, 0
    for place, length in enumerate(lengths):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)


def _cut(section: str, longest: int, place: str) -> str:
    lines = section.split("\n")
    kept = 0
    size = _LONGEST_CUT
    while kept < len(lines) and size + len(lines[kept]) + 1 <= longest:
        size += len(lines[kept]) + 1
        kept += 1
    kept, folds = _closed(lines[:kept])
    shown = "\n".join(lines[:kept]).rstrip("\n") + "\n\n</details>" * folds
    return (shown + _CUT.format(rest=len(lines) - kept, place=place)).lstrip("\n")


def _closed(lines: Sequence[str]) -> tuple[int, int]:
    """How many of the lines can stay, since half a block of code would swallow what follows; and folds left open."""
    opened, fence, folds = 0, "", 0
    for number, line in enumerate(lines):
        marks = line[: len(line) - len(line.lstrip("`"))]
        if len(marks) >= 3 and (not fence or (marks.startswith(fence) and line == marks)):
            fence, opened = ("", 0) if fence else (marks, number)
        elif not fence:
            folds += line.startswith("<details>") - (line == "</details>")
    return (opened if fence else len(lines)), max(folds, 0)
