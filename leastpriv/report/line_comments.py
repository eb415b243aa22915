"""Review comments at the changed lines of the policy file: few, the most severe first."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Change
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code
from leastpriv.report.phrases import (
    codes,
    day,
    evidence_span,
    latest_use,
    oldest_first,
    only_if,
    plural,
    run_links,
    runs_of,
    times,
)
from leastpriv.report.pull_request import basis_text

MOST_NOTES = 10
Side = Literal["LEFT", "RIGHT"]
"""Side of a diff: the committed file, or the proposed one."""


class LineNote(NamedTuple):
    """The note at one line of the policy file's diff; `text` is Markdown."""

    line: int
    side: Side
    text: str


def line_notes(context: ReportContext) -> tuple[LineNote, ...]:
    """At most ten notes, each at a line that the diff changes; changes at one line share a note.

    Additions come first, those for a security reviewer before the others, then removals.
    """
    committed, document = context.proposal.committed, context.proposal.document
    if committed is None or not document.editable:
        return ()
    old, new = committed.source.outer.split("\n"), document.source.outer.split("\n")
    left: set[int] = set()
    right: set[int] = set()
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            left.update(range(a + 1, b + 1))
            right.update(range(c + 1, d + 1))
    notes: dict[tuple[int, Side], list[str]] = {}
    for change in context.gravest_first:
        for line, side in _places(change, committed, document):
            if line in (left if side == "LEFT" else right):
                notes.setdefault((line, side), []).append(_note_text(change, context))
    return tuple(LineNote(*place, "\n\n".join(texts)) for place, texts in list(notes.items())[:MOST_NOTES])


def _places(change: Change, committed: Document, document: Document) -> Iterator[tuple[int, Side]]:
    """Location of a change: removals in the committed file, additions in the proposed one."""
    if change.kind is not ChangeKind.ADD:
        yield committed.line_of_entry(change.statement, change.action), "LEFT"
        return
    for statement in document.statements:
        grants = statement.effect == "Allow" and change.action in statement.actions
        if grants and set(change.resources) & set(statement.resources):
            yield document.line_of_entry(statement.index, change.action), "RIGHT"
            return


def _note_text(change: Change, context: ReportContext) -> str:
    evidence = context.evidence
    if change.kind is ChangeKind.ADD:
        runs = run_links(oldest_first(runs_of(change.usages), evidence.runs), context.run_url)
        seen = f"{times(change.usages, evidence)}, last {day(latest_use(change.usages))}"
        warning = f" **Security reviewer:** it {change.security}." if change.security else ""
        return (
            f"**Added:** {code(change.action)} on {codes(change.resources, 4)}{only_if(change.conditions)}: "
            f"{basis_text(context, change)}, {seen}{f'; runs {runs}' if runs else ''}.{warning}"
        )
    if change.restricted_to:
        resources = codes(change.restricted_to, 4)
        return f"**Narrowed:** {code(change.action)} to the resources that the runs used: {resources}."
    if change.kind is ChangeKind.NARROW:
        return (
            f"**Narrowed:** {code(change.action)} granted {plural(change.granted, 'action')}; used: "
            f"{codes(change.used, 8)}. {plural(len(change.removed_actions), 'action')} removed."
        )
    seen = evidence_span(evidence)
    return f"**Removed:** {code(change.action)}: no call in {seen}, and CloudTrail would have shown one."
