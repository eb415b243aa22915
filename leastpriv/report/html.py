"""The HTML page of one or more proposals: plain values, the drawing of the role chain, and the Jinja template.

Jinja escapes every value, and only this file knows which text is already markup. The template decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources

from leastpriv import __version__
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Run, Usage
from leastpriv.permissions.fact_tables import read_rows
from leastpriv.proposal.models import Change
from leastpriv.report.changes import kept_section
from leastpriv.report.context import ReportContext
from leastpriv.report.coverage_picture import CoveredRegion, coverage_picture
from leastpriv.report.escalation import escalation_section, reach_section
from leastpriv.report.escape import plain
from leastpriv.report.evidence_limits import gaps_section, live_role_section, not_added_section
from leastpriv.report.first_screen import first_screen, markdown
from leastpriv.report.fleet import action_counts, fleet_rows, widest_first
from leastpriv.report.page_diff import DiffLine, LifeCycle, diff_lines, life_cycles
from leastpriv.report.phrases import day, evidence_span, latest_use, oldest_first, plural, run_links, run_page, runs_of
from leastpriv.report.proof import proof_lines
from leastpriv.report.pull_request import title
from leastpriv.report.role_chain import Drawing, drawing
from leastpriv.report.targets import TargetRow, targets_title

_MOST_EVIDENCE = 2_000
"""Rows of evidence; with so many a page is below 2 MB and loads at once (bench/page.py)."""
_MOST_LINES = 1_500
"""Lines of the diff; the branch has all."""
_MOST_RUNS = 400
"""Runs that are drawn. Several targets share these limits, but each has at least these:"""
_LEAST = 20
_MOST_DETAILED = 40
"""Targets with more than a row in the table of all."""
_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Bar:
    """One service: number of actions that the policy grants, that were used, and that the proposal grants."""

    service: str
    granted: int
    used: int
    after: int
    width: float
    """Granted actions in percent of the widest bar."""
    added: int
    """Actions that the proposal adds."""
    added_width: float
    """In percent of the widest bar."""

    @property
    def used_share(self) -> float:
        """In percent of the granted actions."""
        return 100 * self.used / max(self.granted, 1)

    @property
    def after_share(self) -> float:
        """Kept actions in percent of the granted ones."""
        return 100 * (self.after - self.added) / max(self.granted, 1)


@dataclass(frozen=True, slots=True)
class Dot:
    """One run on the time line."""

    x: float
    label: str
    refused: bool
    url: str


@dataclass(frozen=True, slots=True)
class Item:
    """One change with its evidence."""

    change: Change
    place: str
    sentence: str
    rows: tuple[tuple[Usage, str], ...]
    """The usages behind it, each with its latest runs in Markdown."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """One role and policy file."""

    anchor: str
    title: str
    first: str
    """The first screen in Markdown."""
    principal: str
    policy_file: str
    facts: tuple[tuple[str, str], ...]
    """(figure, what it counts)."""
    bars: tuple[Bar, ...]
    dots: tuple[Dot, ...]
    span: tuple[str, str]
    diff: tuple[DiffLine, ...]
    """The policy file's, with the evidence per line."""
    life_cycles: tuple[LifeCycle, ...]
    coverage: tuple[CoveredRegion, ...]
    """Regions and the days on which they have records of any principal."""
    drawing: Drawing | None
    """The roles that it leads to."""
    items: tuple[Item, ...]
    left_out: int
    """Number of evidence rows beyond the page's limit."""
    sections: tuple[tuple[str, str], ...]
    """(heading, Markdown)."""


def target_view(context: ReportContext, number: int, targets: int = 1) -> TargetView:
    """The values of one proposal on the page; `number` is its place among the `targets` of the page."""
    evidence = context.evidence
    items, left_out = _items(context, max(_MOST_EVIDENCE // targets, _LEAST))
    found = action_counts(context)
    added = {change.action for change in context.changes(ChangeKind.ADD)} - found.granted
    kinds = (found.granted, found.used, found.after, added)
    counted = [Counter(action.partition(":")[0] for action in actions) for actions in kinds]
    numbers = {name: [each[name] for each in counted] for name in sorted({*counted[0], *counted[2]})}
    widest = max((before + new for before, _, _, new in numbers.values()), default=1)
    bars = [
        Bar(name, before, used, after, width=100 * before / widest, added=new, added_width=100 * new / widest)
        for name, (before, used, after, new) in numbers.items()
    ]
    return TargetView(
        anchor=f"target-{number}",
        title=title(context),
        first=markdown(first_screen(context)),
        principal=context.principal,
        policy_file=context.policy_file,
        facts=_facts(context),
        bars=tuple(sorted(bars, key=lambda bar: (bar.used - bar.granted, bar.service))),
        dots=_dots(evidence.runs[-max(_MOST_RUNS // targets, _LEAST) :], context.run_url),
        span=(day(evidence.first), day(evidence.last)),
        diff=diff_lines(context, max(_MOST_LINES // targets, _LEAST)),
        life_cycles=tuple(life_cycles(context)),
        coverage=coverage_picture(evidence.coverage),
        drawing=drawing(context.chained),
        items=items,
        left_out=left_out,
        sections=tuple((heading, "\n\n".join(parts)) for heading, parts in _sections(context) if any(parts)),
    )


def _sections(context: ReportContext) -> tuple[tuple[str, list[str]], ...]:
    count, kept = kept_section(context)
    return (
        ("Escalation", [*escalation_section(context), *reach_section(context)]),
        (f"Kept without a recorded use: {plural(count, 'action')}", kept),
        ("Denied, not added", [part.partition("\n\n")[2] for part in not_added_section(context)]),
        ("The role in the account", [part.partition("\n\n")[2] for part in live_role_section(context)]),
        ("Could not be seen", list(gaps_section(context))),
        ("Proof", list(proof_lines(context))),
    )


def _facts(context: ReportContext) -> tuple[tuple[str, str], ...]:
    evidence = context.evidence
    counts = {kind: len(context.changes(kind)) for kind in ChangeKind}
    return (
        (f"{counts[ChangeKind.ADD]:,}", "added"),
        (f"{counts[ChangeKind.NARROW]:,}", "narrowed"),
        (f"{counts[ChangeKind.REMOVE]:,}", "removed"),
        (f"{evidence.counts.calls:,}", "calls read"),
        (f"{len(evidence.runs):,}", "runs"),
        (f"{evidence.span.days:,}", "days"),
    )


def _dots(runs: Sequence[Run], run_url: str) -> tuple[Dot, ...]:
    if not runs:
        return ()
    start = min(run.first for run in runs)
    length = max((max(run.first for run in runs) - start).total_seconds(), 1)
    return tuple(_dot(run, start, length, run_url) for run in runs)


def _dot(run: Run, start: datetime, length: float, run_url: str) -> Dot:
    x = 10 + (_WIDTH - 20) * (run.first - start).total_seconds() / length
    outcome = f"{plural(run.denied, 'call')} denied" if run.denied else "no denial"
    return Dot(
        round(x, 1),
        f"Run {run.id}, {run.first:%Y-%m-%d %H:%M} UTC: {outcome}",
        run.denied > 0,
        run_page(run.id, run_url),
    )


def _items(context: ReportContext, remaining: int) -> tuple[tuple[Item, ...], int]:
    """The changes, those for a security reviewer first, with so many rows of evidence; the number of omitted rows."""
    items, left_out = [], 0
    for change in context.gravest_first:
        rows = tuple(
            (usage, run_links(oldest_first(usage.runs, context.evidence.runs) or usage.runs, context.run_url))
            for usage in change.usages[:remaining]
        )
        remaining -= len(rows)
        left_out += len(change.usages) - len(rows)
        sid = f"statement {change.sid}, line" if change.sid else "statement on line"
        place = f"{sid} {change.line}" if change.line else ""
        items.append(Item(change, place, _sentence(change, context.evidence), rows))
    return tuple(items), left_out


def _sentence(change: Change, evidence: Evidence) -> str:
    if change.kind is ChangeKind.ADD:
        seen = plural(len(runs_of(change.usages)), "run")
        return f"{change.basis or 'observed'} in {seen}, last {day(latest_use(change.usages))}"
    if change.restricted_to:
        return "restricted to the resources that were used"
    if change.kind is ChangeKind.NARROW:
        removed = len(change.removed_actions)
        return f"granted {plural(change.granted, 'action')}, {len(change.used):,} used, {removed:,} removed"
    return f"no call in {evidence_span(evidence)}"


def page(rows: Sequence[TargetRow]) -> str:
    """One HTML document about the targets of a run; it loads nothing and sends nothing."""
    # Imported here: only a run that writes a page waits for them.
    from jinja2 import Environment, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    rows = widest_first(rows)
    contexts = [row.context for row in rows if row.context]
    detailed = contexts[:_MOST_DETAILED]
    style, script = _asset("page.css"), _asset("page.js")
    words = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    environment.filters["sentence"] = lambda text: Markup(words.renderInline(text))  # noqa: S704 - our own Markdown
    environment.filters["section"] = lambda text: Markup(words.render(text))  # noqa: S704 - our own Markdown
    environment.globals.update(documentation=_documentation, day=day)
    return environment.from_string(_asset("page.html")).render(
        targets=[target_view(context, number, len(detailed)) for number, context in enumerate(detailed, start=1)],
        left_out=len(contexts) - len(detailed),
        fleet=fleet_rows(rows, len(detailed)) if len(rows) > 1 or not contexts else (),
        several_accounts=len({row.role.split(":")[4] for row in rows}) > 1,
        title=title(contexts[0]) if len(rows) == 1 and contexts else targets_title(rows),
        style=Markup(style),  # noqa: S704 - this package's file
        script=Markup(script),  # noqa: S704 - this package's file
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=__version__,
    )


def _documentation(action: str) -> str:
    """The address of an action, or of its service for a wildcard, in AWS's documentation; empty if not known."""
    service, _, name = action.partition(":")
    page = _documentation_pages().get(service.lower(), "")
    if not page:
        return ""
    anchor = f"#{page}-{name}" if name.isalnum() and name.isascii() else ""
    return f"https://docs.aws.amazon.com/service-authorization/latest/reference/list_{page}.html{anchor}"


@cache
def _documentation_pages() -> Mapping[str, str]:
    """Service prefix -> its page of the Service Authorization Reference."""
    return {row["service"]: row["page"] for row in read_rows(_asset("service_pages.tsv"))}


def _shown(value: object) -> object:
    """Escapes a template value: invisible characters and those that change direction are written out."""
    return plain(value) if type(value) is str else value


def _asset(name: str) -> str:
    return resources.files("leastpriv.report").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The Content-Security-Policy hash of an inline block."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
