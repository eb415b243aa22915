"""The HTML page of one or more proposals: plain values, the drawing of the role chain, and the
Jinja template.

Jinja escapes every value, and only this file knows which text is already markup. The template
decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from importlib import resources
from typing import Any

from msgspec import Struct

from leastpriv import __version__
from leastpriv.models import ChangeKind, Origin, Outcome, Run, Usage, grouped
from leastpriv.permissions.fact_tables import read_rows
from leastpriv.permissions.generalize import Pattern
from leastpriv.proposal.ledger import GrantState
from leastpriv.proposal.models import Change
from leastpriv.proposal.origins import is_unreviewed_use
from leastpriv.proposal.verdict import users_not_covered
from leastpriv.report.changes import UNNAMED_BECAUSE, kept_section
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import escalation_section, reach_section
from leastpriv.report.escape import code, plain, prose
from leastpriv.report.evidence_limits import (
    coverage_picture,
    gaps_lines,
    live_role_section,
    not_added_section,
)
from leastpriv.report.first_screen import first_screen
from leastpriv.report.phrases import (
    day,
    evidence_span,
    kept_because,
    last_day,
    links_of_runs,
    oldest_first,
    plural,
    run_links,
    run_page,
    runs_of,
)
from leastpriv.report.proof import fact_rows, proof_lines
from leastpriv.report.pull_request import basis_text, title
from leastpriv.report.role_chain import drawing
from leastpriv.report.screen_models import Medium, markdown
from leastpriv.report.targets import MOST_IN_FULL, TargetRow, target_figures, targets_title
from leastpriv.report.verdict import heading

_MOST_EVIDENCE = 2_000
"""Rows of evidence; with so many a page is below 2 MB and loads at once (bench/page.py)."""
_MOST_LINES = 3_000
"""Lines of the diff; the branch has all."""
_MOST_RUNS = 400
"""Runs that are drawn. Several targets share these limits, but each has at least these:"""
_LEAST = 20
_LARGEST_OF_A_FLEET = 490_000
"""Bytes of a page of more than `MOST_IN_FULL` targets, which has details of those that fit in."""
_WIDTH = 1000
_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_CONTEXT = 2
"""Unchanged lines around changed ones."""

_QUOTED = re.compile(r'"(arn:[^"]+)"')
_UNRECORDED = GrantState.REMOVED_UNRECORDED
_MOST_OFFERS = 200


class Note(Struct, frozen=True):
    """What the page says at an action or a resource of a line."""

    basis: str
    """`used`, `kept`, `added` or `removed`: the colour of the line."""
    text: str
    """In Markdown."""


Values = dict[str, Any]
"""Plain values by the names that the template has for them."""


def page(rows: Sequence[TargetRow]) -> str:
    """One HTML document about the targets of a run; it loads nothing and sends nothing."""
    # Imported here: only a run that writes a page waits for them.
    from jinja2 import Environment, StrictUndefined
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    rows = _widest_first(rows)
    contexts = [row.context for row in rows if row.context]
    style, script = _asset("page.css"), _asset("page.js")
    words = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True
    )
    # Our own Markdown.
    environment.filters["sentence"] = lambda text: Markup(words.renderInline(text))  # noqa: S704
    # Our own Markdown.
    environment.filters["section"] = lambda text: Markup(words.render(text))  # noqa: S704
    environment.globals.update(documentation=_documentation, day=day)
    page_template, part = (
        environment.from_string(_asset(name)) for name in ("page.html", "target.html")
    )

    def page_of(articles: Mapping[int, Markup]) -> str:
        return page_template.render(
            articles=articles.values(),
            left_out=len(contexts) - len(articles),
            fleet=_fleet_rows(rows, articles) if len(rows) > 1 or not contexts else (),
            several_accounts=len({row.role.split(":")[4] for row in rows}) > 1,
            title=title(contexts[0]) if len(rows) == 1 and contexts else targets_title(rows),
            style=Markup(style),  # noqa: S704 - this package's file
            script=Markup(script),  # noqa: S704 - this package's file
            style_hash=_hash(style),
            script_hash=_hash(script),
            version=__version__,
        )

    is_fleet = len(rows) > MOST_IN_FULL
    size = len(page_of({}).encode()) if is_fleet else 0
    articles: dict[int, Markup] = {}
    smallest = _LARGEST_OF_A_FLEET
    for number, context in enumerate(contexts, start=1):
        view = target_view(context, number, min(len(contexts), MOST_IN_FULL))
        article = Markup(part.render(target=view))  # noqa: S704 - escaped by the template
        own_size = len(article.encode())
        smallest = min(smallest, own_size)
        # The first one has its part of the page, however large it is.
        if not (is_fleet and articles and size + own_size > _LARGEST_OF_A_FLEET):
            size += own_size
            articles[number] = article
        elif size + smallest > _LARGEST_OF_A_FLEET:
            # Hundreds of further targets need not be drawn: none of those so far would fit in.
            break
    return page_of(articles)


def target_view(context: ReportContext, number: int, targets: int = 1) -> Values:
    """The values of one proposal on the page; `number` is its place among the `targets` of the
    page.
    """
    evidence = context.evidence
    ledger = context.ledger
    granted = ledger.count(*GrantState)
    count, kept_text = kept_section(context)
    sections = {
        "Escalation": [*escalation_section(context), *reach_section(context)],
        f"Kept without a recorded use: {plural(count, 'action')}": kept_text,
        **{
            part.partition("\n\n")[0].removeprefix("#### "): [part.partition("\n\n")[2]]
            for part in not_added_section(context)
        },
        "The role in the account": [
            part.partition("\n\n")[2] for part in live_role_section(context)
        ],
        "Could not be seen": ["\n".join(gaps_lines(context))],
        "Proof": list(proof_lines(context)),
    }
    changes, left_out = _changes(context, max(_MOST_EVIDENCE // targets, _LEAST))
    return {
        "anchor": f"target-{number}",
        "title": title(context),
        "first": markdown(first_screen(context), Medium.PAGE),
        "principal": context.principal,
        "policy_file": context.policy_file,
        "facts": (
            (f"{granted:,}", "actions granted"),
            (f"{ledger.removed:,}", "removed"),
            (f"{ledger.count(GrantState.REMOVED_UNRECORDED):,}", "of them without a record"),
            (f"{len(context.changes(ChangeKind.ADD)):,}", "added"),
            (f"{ledger.calls.total:,}", "calls read"),
            (f"{len(evidence.runs):,}", "runs"),
            (f"{evidence.span.days:,}", "days"),
            *_facts_of_users(context),
        ),
        "bars": _bars(context),
        "dots": _dots(evidence.runs[-max(_MOST_RUNS // targets, _LEAST) :], context.run_url),
        "span": (day(evidence.first), day(evidence.last)),
        "diff": _diff_lines(context)[: max(_MOST_LINES // targets, _LEAST)],
        "life_cycles": _life_cycles(context),
        "offers": [
            {
                "action": fact.action,
                "resource": fact.resource,
                "because": fact.change.because,
                "usual_as": fact.change.usual_as,
            }
            for fact in context.ledger.offered[:_MOST_OFFERS]
        ],
        "states": list(fact_rows(context.ledger)),
        "coverage": list(coverage_picture(evidence.coverage)),
        "drawing": drawing(context.chained),
        "changes": changes,
        "left_out": left_out,
        "sections": [
            (heading, "\n\n".join(parts)) for heading, parts in sections.items() if any(parts)
        ],
    }


def _bars(context: ReportContext) -> list[Values]:
    """Services by number of granted but unused actions, the most first; widths in percent of the
    widest bar.
    """
    ledger = context.ledger
    granted = {grant.action for grant in ledger.grants}
    used_actions = {grant.action for grant in ledger.grants_of(GrantState.KEPT_USED)}
    kept_actions = {grant.action for grant in ledger.grants_of(GrantState.KEPT_UNUSED)}
    new = {change.action for change in context.changes(ChangeKind.ADD)}
    kinds = (granted, used_actions, used_actions | kept_actions | new, new - granted)
    counted = [Counter(action.partition(":")[0] for action in actions) for actions in kinds]
    numbers = {
        name: [counts_of_service[name] for counts_of_service in counted]
        for name in sorted({*counted[0], *counted[2]})
    }
    scale = 100 / max((before + new for before, _, _, new in numbers.values()), default=1)
    bars = [
        {
            "service": name,
            "granted": before,
            "used": used_count,
            "after": after,
            "added": new,
            "width": before * scale,
            "kept_width": (after - new) * scale if before else 0,
            "used_width": used_count * scale if before else 0,
            "added_width": new * scale,
        }
        for name, (before, used_count, after, new) in numbers.items()
    ]
    return sorted(bars, key=lambda bar: (bar["used"] - bar["granted"], bar["service"]))


def _dots(runs: Sequence[Run], run_url: str) -> list[Values]:
    """Returns a dot for each run on the line of time."""
    if not runs:
        return []
    start = min(run.first for run in runs)
    length = max((max(run.first for run in runs) - start).total_seconds(), 1)
    return [
        {
            "x": round(10 + (_WIDTH - 20) * (run.first - start).total_seconds() / length, 1),
            "label": (
                f"Run {run.id}, {run.first:%Y-%m-%d %H:%M} UTC: "
                + (f"{plural(run.denied, 'call')} denied" if run.denied else "no denial")
            ),
            "refused": run.denied > 0,
            "url": run_page(run.id, run_url),
        }
        for run in runs
    ]


def _changes(context: ReportContext, remaining: int) -> tuple[list[Values], int]:
    """The changes, those for a security reviewer first, with so many rows of evidence; the number
    of omitted rows.
    """
    shown_changes, left_out = [], 0
    for change in context.gravest_first:
        rows = [
            (
                usage,
                run_links(
                    oldest_first(usage.runs, context.evidence.runs) or usage.runs, context.run_url
                ),
            )
            for usage in change.usages[:remaining]
        ]
        remaining -= len(rows)
        left_out += len(change.usages) - len(rows)
        sid = f"statement {change.sid}, line" if change.sid else "statement on line"
        place_words = f"{sid} {change.line}" if change.line else ""
        shown_changes.append(
            {
                "change": change,
                "place": place_words,
                "sentence": _sentence(change, context),
                "rows": rows,
            }
        )
    return shown_changes, left_out


def _sentence(change: Change, context: ReportContext) -> str:
    if change.kind is ChangeKind.ADD:
        run_words = plural(len(runs_of(change.usages)), "run")
        return f"{change.basis or 'observed'} in {run_words}, last {last_day(change.usages)}"
    if change.restricted_to:
        return "restricted to the resources that were used"
    if change.kind is ChangeKind.NARROW:
        removed = len(change.removed_actions)
        return (
            f"granted {plural(change.granted, 'action')}, {len(change.used):,} used, {removed:,}"
            " removed"
        )
    return f"no call in {evidence_span(context.evidence)}"


def _diff_lines(context: ReportContext) -> list[Values]:
    """The changed lines of the policy file with two lines around them, each with the evidence for
    its actions.

    A sign is `+`, `-`, a blank for an unchanged line, or `@` where lines are left out.
    """
    committed, document = context.proposal.committed, context.proposal.document
    if not context.proposal.changes or not document.editable:
        return []
    old = committed.source.outer.split("\n") if committed else []
    new = document.source.outer.split("\n")
    before = _notes_before(context)
    after = _notes_after(context)
    lines: list[Values] = []
    for group in SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if lines:
            lines.append(_line("@", 0, "", {}))
        for kind, a, b, c, d in group:
            if kind == "equal":
                lines += [
                    _line(" ", number, text, {}) for number, text in enumerate(new[c:d], c + 1)
                ]
                continue
            lines += [
                _line("-", number, text, before) for number, text in enumerate(old[a:b], a + 1)
            ]
            lines += [
                _line("+", number, text, after) for number, text in enumerate(new[c:d], c + 1)
            ]
    return lines


def _notes_before(context: ReportContext) -> Mapping[str, Note]:
    """Entry of the committed policy -> why it is removed or narrowed, with the ledger's states."""
    unrecorded = {grant.action for grant in context.ledger.grants_of(_UNRECORDED)}
    notes: dict[str, Note] = {}
    for change in context.proposal.changes:
        if change.kind is ChangeKind.ADD:
            continue
        doubt = _doubt(change, unrecorded)
        if change.restricted_to:
            text = "narrowed to the resources that were used"
        elif change.kind is ChangeKind.NARROW:
            actions_left = change.granted - len(change.removed_actions)
            text = (
                f"{change.granted:,} → {actions_left:,} actions, {len(change.used):,} used{doubt}"
            )
        else:
            text = f"no call in {evidence_span(context.evidence)}{doubt}"
        notes[change.action] = Note("removed", text)
    return notes


def _doubt(change: Change, unrecorded: Collection[str]) -> str:
    """Returns of how many removed actions no record would show a use; empty if of none."""
    doubtful = sum(action in unrecorded for action in {*change.removed_actions})
    if not doubtful:
        return ""
    if doubtful == len(change.removed_actions):
        return "; whose use leaves no record"
    return f"; of {doubtful:,} a use leaves no record"


def _line(sign: str, number: int, text: str, notes: Mapping[str, Note]) -> Values:
    """A line with the evidence for its actions, at most three; `action` is the one that it names
    alone.
    """
    names = [*_ACTION.findall(text), *_QUOTED.findall(text)]
    noted_names = [name for name in dict.fromkeys(names) if name in notes]
    evidence = "; ".join(f"{code(name)} {notes[name].text}" for name in noted_names[:3])
    is_one = len(noted_names) == 1
    return {
        "sign": sign,
        "number": number,
        "text": text,
        "basis": notes[noted_names[0]].basis if noted_names else "",
        "evidence": notes[noted_names[0]].text if is_one else evidence,
        "action": noted_names[0] if is_one and _ACTION.fullmatch(noted_names[0]) else "",
    }


def _notes_after(context: ReportContext) -> Mapping[str, Note]:
    """Action or resource of the proposed policy -> its use, why it is kept, or the basis of its
    addition.
    """
    notes: dict[str, Note] = {}
    for change in context.proposal.changes:
        for action, guard_result in (change.kept or {}).items():
            notes[action] = Note("kept", f"kept: {kept_because(guard_result.guard)}")
        for pattern in change.patterns:
            if pattern.openings:
                notes[pattern.pattern] = Note("kept", _names_of(pattern))
            elif pattern.certainty in UNNAMED_BECAUSE:
                notes[pattern.pattern] = Note("kept", UNNAMED_BECAUSE[pattern.certainty])
    allowed = [usage for usage in context.evidence.usages if usage.outcome is Outcome.ALLOWED]
    by_action = grouped([(usage.need.permission.action, usage) for usage in allowed])
    for action, usages in by_action.items():
        notes[action] = Note("used", _use_text(usages, context))
    for change in context.changes(ChangeKind.ADD):
        notes[change.action] = Note("added", basis_text(context, change))
    return notes


def _use_text(usages: Sequence[Usage], context: ReportContext) -> str:
    """Returns in how many runs an action was used, the last one, and whose runs they were."""
    runs = runs_of(usages)
    last = links_of_runs(usages, context.evidence, context.run_url, 1)
    text = "used"
    if runs:
        text += f" in {plural(len(runs), 'run')}"
    text += f", last {last_day(usages)}"
    if last:
        text += f": {last}"
    if all(is_unreviewed_use(usage, context.evidence) for usage in usages):
        text += "; only by unreviewed runs"
    return text


def _names_of(pattern: Pattern) -> str:
    """Returns how many names a pattern covers, and why it is open."""
    reasons = "; ".join(dict.fromkeys(opening.reason for opening in pattern.openings))
    return f"for {plural(len(pattern.covers), 'name')} seen: {prose(reasons)}"


def _facts_of_users(context: ReportContext) -> list[tuple[str, str]]:
    """Figures about whose calls count: other users of the policy, and runs by their origin."""
    evidence = context.evidence
    users = len(users_not_covered(evidence))
    unreviewed = len(evidence.runs_of_origin(Origin.UNREVIEWED)) if evidence.origins else 0
    facts = [(f"{users:,}", "users not covered")] if users else []
    if unreviewed:
        facts.append((f"{unreviewed:,}", "unreviewed runs"))
    if context.ledger.offered:
        facts.append((f"{len(context.ledger.offered):,}", "permissions offered"))
    return facts


def _life_cycles(context: ReportContext) -> list[Values]:
    """The actions that made resources, by name, with the actions that a later run needs for them.

    Those are granted, unused and not removed, or suggested, which no policy grants.
    """
    cycles: dict[str, dict[str, list[str]]] = {}
    for kind, counterparts in (
        ("kept", context.kept_counterparts),
        ("suggested", context.suggested_actions),
    ):
        for counterpart in counterparts:
            if (
                counterpart.because
                and ":" in counterpart.because
                and "::" not in counterpart.because
            ):
                cycles.setdefault(counterpart.because, {"kept": [], "suggested": []})[kind].append(
                    counterpart.action
                )
    return [{"action": action, **cycles[action]} for action in sorted(cycles)]


def _widest_first(rows: Sequence[TargetRow]) -> list[TargetRow]:
    """The targets: failed ones first, then those whose policy grants the most unused actions."""

    def weight(row: TargetRow) -> tuple[bool, int]:
        if row.context is None:
            return not row.failure, 0
        ledger = row.context.ledger
        return not row.failure, ledger.count(GrantState.KEPT_USED) - ledger.count(*GrantState)

    return sorted(rows, key=weight)


def _fleet_rows(rows: Sequence[TargetRow], detailed: Collection[int]) -> Iterator[Values]:
    """The table of all targets; of those with a proposal the `detailed` ones have their own part of
    the page.
    """
    number = 0
    for row in rows:
        number += row.context is not None
        figures = target_figures(row.context)
        last = figures["last-run"]
        row_values = {
            name: "–" if figures[name] is None else f"{figures[name]:,}"
            for name in ("granted", "used", "runs")
        }
        yield {
            **row_values,
            "after": "–" if figures["granted-after"] is None else f"{figures['granted-after']:,}",
            "anchor": f"target-{number}" if row.context and number in detailed else "",
            "account": row.role.split(":", 5)[4],
            "role": row.role.split(":", 5)[5],
            "policy_file": row.policy_file,
            "verdict": "Failed" if row.failure else _instruction(row),
            "chance": str(figures["chance-word"] or "–"),
            "last_run": str(last)[: len("2026-11-05")] if last else "–",
            "failure": row.failure,
            "pull_request": row.pull_request,
        }


def _instruction(row: TargetRow) -> str:
    return heading(row.context) if row.context else "–"


def _documentation(action: str) -> str:
    """The address of an action, or of its service for a wildcard, in AWS's documentation; empty if
    not known.
    """
    service, _, name = action.partition(":")
    page = _documentation_pages().get(service.lower(), "")
    if not page:
        return ""
    anchor = f"#{page}-{name}" if name.isalnum() and name.isascii() else ""
    reference = "https://docs.aws.amazon.com/service-authorization/latest/reference"
    return f"{reference}/list_{page}.html{anchor}"


@cache
def _documentation_pages() -> Mapping[str, str]:
    return {row["service"]: row["page"] for row in read_rows(_asset("service_pages.tsv"))}


def _shown(value: object) -> object:
    """Escapes a template value: invisible characters and those that change direction are written
    out.
    """
    return plain(value) if type(value) is str else value


def _asset(name: str) -> str:
    return resources.files("leastpriv.report").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    # As Content-Security-Policy names an inline block.
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
