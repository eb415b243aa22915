"""Phrases that all reports share: counts, dates, lists, and sections truncated to the limit of a
page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import leastpriv.proposal
from leastpriv.aws.arns import short_arn as short_arn
from leastpriv.aws.session_names import workflow_run_id
from leastpriv.errors import listed as listed
from leastpriv.errors import plural as plural
from leastpriv.models import Basis, Condition, Run, Usage, grouped
from leastpriv.permissions.fact_tables import table
from leastpriv.report.escape import code

if TYPE_CHECKING:
    from leastpriv.evidence.models import Evidence
    from leastpriv.proposal.models import Change, GuardResult, HeldBackChange
_CUT = "\n\n*{rest:,} more lines are in {place}.*"
_LONGEST_CUT = len(_CUT) + 40 + 2 * len("\n\n</details>")
"""Includes the ends of collapsed sections; they nest at most once."""


def denied_by_text(change: Change) -> str:
    """Returns who says that an addition was denied: AWS by a record, or only the text of a job
    log.
    """
    denials = [usage.denial for usage in change.usages if usage.denial]
    if denials and all(denial.log for denial in denials):
        return "denied, by the text of a job log"
    return "denied by AWS"


def day(time: datetime | None) -> str:
    """`2026-11-03`, or a dash."""
    return f"{time:%Y-%m-%d}" if time else "–"


def codes(items: Iterable[str], most: int = 12) -> str:
    """Code spans with commas, truncated after `most`."""
    all_items = list(items)
    return listed([*map(code, all_items[:most]), *all_items[most:]], most)


def times(usages: Sequence[Usage], evidence: Evidence) -> str:
    """`14×`: the calls behind some usages, each counted once though it may need several
    resources.
    """
    counted_pairs = {(usage.need, usage.outcome) for usage in usages}
    groups = (
        group
        for group in evidence.groups
        if any((need, group.outcome) in counted_pairs for need in group.needs)
    )
    logged = sum(usage.count for usage in usages if usage.denial and usage.denial.log)
    return f"{sum(group.count for group in groups) + logged:,}×"


def basis_usages(change: Change) -> Sequence[Usage]:
    """The usages that are the basis of an addition: of a denied action its denials, else all."""
    denied = [usage for usage in change.usages if usage.denial]
    return denied if denied and change.basis is Basis.DENIED else change.usages


def runs_of(usages: Sequence[Usage]) -> tuple[str, ...]:
    """Ids of all runs of some usages, unique, unordered."""
    return tuple(dict.fromkeys(run for usage in usages for run in usage.runs))


def oldest_first(ids: Iterable[str], runs: Iterable[Run]) -> tuple[str, ...]:
    """Ids of runs, oldest first."""
    wanted_ids = set(ids)
    return tuple(dict.fromkeys(run.id for run in runs if run.id in wanted_ids))


def evidence_span(evidence: Evidence) -> str:
    """Length of the evidence: `35 days and 6 runs`."""
    days = plural(evidence.span.days, "day") if evidence.span.days else "less than a day"
    return f"{days} and {plural(len(evidence.runs), 'run')}"


def run_page(run: str, run_url: str) -> str:
    """URL of a workflow run's page, by the template `run_url`; empty if there is none."""
    number = workflow_run_id(run)
    return run_url.format(run=number) if run_url and number else ""


def file_page(run_url: str, branch: str, path: str, other_repository: str = "") -> str:
    """Returns the URL of a file of a branch; empty if the branch or the page of the runs is not
    known.

    Args:
        run_url: a page of the runs, in the repository of the file or of the same server.
        branch: the branch of the file.
        path: the file.
        other_repository: `OWNER/NAME` of its repository, where it is not that of the runs.
    """
    repository, separator, _ = run_url.partition("/actions/runs/")
    if not separator or not branch:
        return ""
    if other_repository:
        server = repository.rsplit("/", 2)[0]
        repository = f"{server}/{other_repository}"
    return f"{repository}/blob/{quote(branch)}/{quote(path)}"


def run_links(runs: Sequence[str], run_url: str) -> str:
    """The three latest run ids, oldest first, as links if `run_url` (with `{run}`) gives a URL."""
    shown_links = [
        f"[{run}]({page})" if (page := run_page(run, run_url)) else code(run) for run in runs[-3:]
    ]
    earlier_words = f" and {len(runs) - 3} earlier" if len(runs) > 3 else ""
    return ", ".join(shown_links) + earlier_words


def links_of_runs(usages: Sequence[Usage], evidence: Evidence, run_url: str, most: int = 0) -> str:
    """The runs of some usages, at most the latest `most` (0: all), as `run_links` gives them; empty
    without a run.
    """
    return run_links(oldest_first(runs_of(usages), evidence.runs)[-most:], run_url)


def last_run_page(usages: Sequence[Usage], evidence: Evidence, run_url: str) -> str:
    """Returns the URL of the latest run of some usages; empty where it has no page."""
    runs = oldest_first(runs_of(usages), evidence.runs)
    return run_page(runs[-1], run_url) if runs else ""


def last_seen(evidence: Evidence, run_url: str, usages: Sequence[Usage]) -> str:
    """Returns `14×, last in run [123](…) on 2026-11-03`."""
    last = max(usages, key=lambda usage: usage.last_seen)
    run = f" in run {run_links(last.runs[-1:], run_url)}" if last.runs else ""
    return f"{times(usages, evidence)}, last{run} on {last_day(usages)}"


def last_day(usages: Sequence[Usage]) -> str:
    """The day of the latest of some usages."""
    return day(max((usage.last_seen for usage in usages), default=None))


def by_guard_result(held: Iterable[HeldBackChange]) -> dict[GuardResult, list[HeldBackChange]]:
    """Changes held back by guard and reason, in order of first occurrence."""
    return grouped([(held_change.guard_result, held_change) for held_change in held])


def them(count: int) -> str:
    """`it` for one, else `them`."""
    return "it" if count == 1 else "them"


def joined(parts: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def only_if(conditions: Sequence[Condition]) -> str:
    """`, only if iam:PassedToService is lambda.amazonaws.com`: conditions after a resource; empty
    without one.
    """
    condition_words = [condition.sentence(code) for condition in conditions]
    return f", only if {joined(condition_words)}" if condition_words else ""


def section(title: str, lines: Iterable[str]) -> list[str]:
    """Lines under a heading; none without a line."""
    text = "\n".join(lines)
    return [f"#### {title}\n\n{text}"] if text else []


def table_lines(head: str, rows: Iterable[str]) -> list[str]:
    """The lines of a table with a head such as `Line: | Action`, a colon for numbers; none without
    a row.
    """
    rule = " | ".join("---:" if name.endswith(":") else "---" for name in head.split(" | "))
    lines = [f"| {head.replace(':', '')} |", f"| {rule} |", *rows]
    return lines if len(lines) > 2 else []


def at_most(lines: Sequence[str], most: int, more: str) -> list[str]:
    """The first `most` lines, and `more` (`- and {:,} more`) with the number of the others."""
    note_of_rest = [more.format(len(lines) - most)] if len(lines) > most else []
    return [*lines[:most], *note_of_rest]


def fold(title: str, sections: Iterable[str]) -> list[str]:
    """One collapsed section with its answer in the title; none if `sections` has no text."""
    text = "\n\n".join(filter(None, sections))
    return [f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"] if text else []


def fit_sections(
    sections: Sequence[str], longest: int, place: str = "`proposal.json`"
) -> list[str]:
    """Truncates `sections` to at most `longest` characters in total; only the longest lose lines,
    at their ends.

    `place`, at most 20 characters of Markdown, says where the full text is.
    """
    # The longest length of one section, with the space that short sections leave.
    characters_left, share = longest, 0
    for shorter, length in enumerate(sorted(map(len, sections))):
        share = characters_left // (len(sections) - shorter)
        if length > share:
            break
        characters_left -= length
    return [each if len(each) <= share else _truncated(each, share, place) for each in sections]


def _truncated(section: str, longest: int, place: str) -> str:
    """Returns the beginning of a section of Markdown, with a note on where the rest is; no code
    block is split.
    """
    lines = section.split("\n")
    kept_lines = 0
    size = _LONGEST_CUT
    while kept_lines < len(lines) and size + len(lines[kept_lines]) + 1 <= longest:
        size += len(lines[kept_lines]) + 1
        kept_lines += 1
    fence_start, fence, folds = 0, "", 0
    for number, line in enumerate(lines[:kept_lines]):
        marks = line[: len(line) - len(line.lstrip("`"))]
        if len(marks) >= 3 and (not fence or (marks.startswith(fence) and line == marks)):
            fence, fence_start = ("", 0) if fence else (marks, number)
        elif not fence:
            folds += line.startswith("<details>") - (line == "</details>")
    # No code block is split, and each section that is left open is closed.
    kept_lines = fence_start if fence else kept_lines
    shown_text = "\n".join(lines[:kept_lines]).rstrip("\n") + "\n\n</details>" * max(folds, 0)
    return (shown_text + _CUT.format(rest=len(lines) - kept_lines, place=place)).lstrip("\n")


def guard_row(guard: str, group: str = "removal") -> Mapping[str, str] | None:
    """Returns the texts of a guard (`guards.tsv`), or None; one name may be in several groups."""
    rows = [row for row in table("guards", leastpriv.proposal.__name__) if row["name"] == guard]
    return min(rows, key=lambda row: row["group"] != group, default=None)


def guard_words(guard: str) -> str:
    """Returns a few words on what a guard keeps, for a cell of a table."""
    words = {row["guard"]: row["words"] for row in table("guard_words", __package__ or "")}
    return words.get(guard, code(guard))


def kept_because(guard: str, group: str = "removal") -> str:
    """Returns the reason of a guard, or its name, as Markdown that completes "kept because …"."""
    row = guard_row(guard, group)
    return row["reason"] if row else code(guard)


def left_out_by_defaults(left_out: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yields a sentence for the resources that the defaults of parameters leave out."""
    for parameters, resources in left_out.items():
        names = codes(parameters.split(", "), 4)
        yield f"Left out by the defaults of {names}: {codes(resources, 8)}."
