"""The diff of the policy file on the page: each changed line with the evidence for the actions that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from leastpriv.models import ChangeKind, Outcome, Usage
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code
from leastpriv.report.first_screen import kept_because
from leastpriv.report.phrases import day, evidence_span, latest_use, oldest_first, plural, run_links, runs_of
from leastpriv.report.pull_request import basis_text

_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_CONTEXT = 2


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of the diff."""

    sign: str
    """`+`, `-`, a blank for an unchanged line, or `@` where lines are left out."""
    number: int
    """Of the proposed file, and of the committed one for a removed line."""
    text: str
    basis: str = ""
    """`added`, `used`, `kept` or `removed`; empty for a line without an action."""
    evidence: str = ""
    """Markdown."""
    action: str = ""
    """The action that the line names, if it names one."""


def diff_lines(context: ReportContext, most: int) -> tuple[DiffLine, ...]:
    """Returns the changed lines of the policy file with two lines around them, at most `most`."""
    committed, document = context.proposal.committed, context.proposal.document
    if not context.proposal.changes or not document.editable:
        return ()
    old = committed.source.outer.split("\n") if committed else []
    new = document.source.outer.split("\n")
    before: dict[str, tuple[str, str]] = {}
    for change in context.proposal.changes:
        if change.restricted_to:
            before[change.action] = ("removed", "narrowed to the resources that were used")
        elif change.kind is ChangeKind.NARROW:
            left = change.granted - len(change.removed_actions)
            before[change.action] = ("removed", f"{change.granted:,} → {left:,} actions, {len(change.used):,} used")
        elif change.kind is ChangeKind.REMOVE:
            before[change.action] = ("removed", f"no call in {evidence_span(context.evidence)}")
    after = _after(context)
    lines: list[DiffLine] = []
    for group in SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if lines:
            lines.append(DiffLine("@", 0, ""))
        for kind, a, b, c, d in group:
            if kind == "equal":
                lines += [DiffLine(" ", number, text) for number, text in enumerate(new[c:d], c + 1)]
                continue
            lines += [_line("-", number, text, before) for number, text in enumerate(old[a:b], a + 1)]
            lines += [_line("+", number, text, after) for number, text in enumerate(new[c:d], c + 1)]
    return tuple(lines[:most])


def _line(sign: str, number: int, text: str, known: Mapping[str, tuple[str, str]]) -> DiffLine:
    """A changed line with the evidence for its actions, at most three."""
    found = [action for action in dict.fromkeys(_ACTION.findall(text)) if action in known]
    if not found:
        return DiffLine(sign, number, text)
    basis, note = known[found[0]]
    if len(found) == 1:
        return DiffLine(sign, number, text, basis, note, found[0])
    return DiffLine(sign, number, text, basis, "; ".join(f"{code(action)} {known[action][1]}" for action in found[:3]))


def _after(context: ReportContext) -> Mapping[str, tuple[str, str]]:
    """Action of the proposed policy -> its use, the reason that it is kept, or the basis of its addition."""
    notes: dict[str, tuple[str, str]] = {}
    for change in context.changes(ChangeKind.NARROW):
        for action, result in (change.kept or {}).items():
            notes[action] = ("kept", f"kept: {kept_because(result.guard)}")
    used: dict[str, list[Usage]] = {}
    for usage in context.evidence.usages:
        if usage.outcome is Outcome.ALLOWED:
            used.setdefault(usage.need.permission.action, []).append(usage)
    notes.update((action, ("used", _use(context, usages))) for action, usages in used.items())
    for change in context.changes(ChangeKind.ADD):
        notes[change.action] = ("added", basis_text(context, change))
    return notes


def _use(context: ReportContext, usages: list[Usage]) -> str:
    runs = runs_of(usages)
    last = run_links(oldest_first(runs, context.evidence.runs)[-1:], context.run_url)
    where = f" in {plural(len(runs), 'run')}" if runs else ""
    return f"used{where}, last {day(latest_use(usages))}{f': {last}' if last else ''}"


@dataclass(frozen=True, slots=True)
class LifeCycle:
    """A used action that creates a resource, and the actions that a later run needs for it."""

    action: str
    kept: tuple[str, ...]
    """Unused, granted, and not removed."""
    suggested: tuple[str, ...]
    """Not granted by any policy."""


def life_cycles(context: ReportContext) -> Iterator[LifeCycle]:
    """Yields the actions that made resources with the actions of their life cycle, by name."""
    kept: dict[str, list[str]] = {}
    suggested: dict[str, list[str]] = {}
    for found, into in ((context.kept_counterparts, kept), (context.suggested_actions, suggested)):
        for each in found:
            if each.because and ":" in each.because and "::" not in each.because:
                into.setdefault(each.because, []).append(each.action)
    for action in sorted({*kept, *suggested}):
        yield LifeCycle(action, tuple(kept.get(action, ())), tuple(suggested.get(action, ())))
