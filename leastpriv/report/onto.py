"""Used actions that were granted on `*`: those that are granted on what the runs have shown, and those that stay."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.model import ChangeKind
from leastpriv.proposal.situation import Change
from leastpriv.report.escape import code, prose
from leastpriv.report.subject import Subject
from leastpriv.report.words import by_objection, codes, day, last_of, plural, runs_of


def resources_narrowed(subject: Subject) -> Iterator[str]:
    """The section about resources; it says what the reader risks."""
    changes = [change for change in subject.changes(ChangeKind.NARROW) if change.onto]
    if changes:
        rows = "\n".join(_row(change) for change in changes)
        head = "| Action | Was on | Is on | Runs | Last seen |\n| --- | --- | --- | ---: | --- |"
        risk = (
            "Every use names its resource, and what the earlier half of the runs used covers the later half. A run "
            "that needs another resource will be refused: keep `*` where you plan one (`keep`, or `resources: keep`)."
        )
        yield f"### Narrows resources\n\n{risk}\n\n{head}\n{rows}"
    yield from _held_open(subject)


def _row(change: Change) -> str:
    covered = sum(len(pattern.covers) for pattern in change.patterns)
    opened = any(pattern.openings for pattern in change.patterns)
    stands_for = f" for {plural(covered, 'resource')} seen" if opened else ""
    return (
        f"| {codes(change.used)} | {codes(change.resources, 2)} | {codes(change.onto, 6)}{stands_for} | "
        f"{len(runs_of(change.usages))} | {day(last_of(change.usages))} |"
    )


def _held_open(subject: Subject) -> Iterator[str]:
    groups = by_objection(subject.draft.held_open)
    if groups:
        table = "\n".join(
            f"| {codes((held.action for held in group), 12)} | {code(objection.guard)}: {prose(objection.reason)} |"
            for objection, group in groups.items()
        )
        count = plural(len(subject.draft.held_open), "used action stays", "used actions stay")
        head = "| Action | Because |\n| --- | --- |"
        yield f"<details><summary>{count} on `*`</summary>\n\n{head}\n{table}\n\n</details>"
