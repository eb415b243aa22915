"""Rows of the commands as JSON lines, and as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.evidence.merge import by_pattern
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Basis, Outcome, Usage
from leastpriv.report.escape import json_text, plain
from leastpriv.report.usage_rows import denied_row, gap_row, permission_row

Row = Mapping[str, object]


def rows_of(found: Mapping[str, Evidence], patterns: bool, *, name_principals: bool) -> list[dict[str, object]]:
    """All rows: permissions, refusals that no identity policy can mend, gaps.

    With several principals each row says whose it is; a gap is anybody's and told once.
    """
    rows: list[dict[str, object]] = []
    for principal, evidence in found.items():
        whose: dict[str, object] = {"principal": principal} if name_principals else {}
        usages = by_pattern(evidence.usages) if patterns else evidence.usages
        rows.extend({**whose, **row} for row in _rows(usages))
        rows.extend({**whose, **gap_row(gap)} for gap in evidence.gaps)
    return rows


def _rows(usages: Sequence[Usage]) -> Iterator[dict[str, object]]:
    for usage in usages:
        if usage.outcome is Outcome.ALLOWED:
            yield permission_row(usage)
        elif usage.outcome is Outcome.DENIED and usage.need.basis is Basis.DENIED:
            mendable = usage.denial is not None and usage.denial.mendable
            yield permission_row(usage) if mendable else denied_row(usage)


def json_lines(rows: Iterable[Row]) -> str:
    """One JSON object a line, in ASCII; `##[`, a command to a workflow's runner wherever it stands, gets an escape."""
    return "".join(json_text(row) + "\n" for row in rows)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns for people; no cell holds a line break, or anything that a terminal or a runner would obey."""

    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences below it."""

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in (self.columns, *self.cells)
        ]
        return "\n".join([*lines, *self.notes]) + "\n"


def permission_table(rows: Sequence[Row]) -> Table:
    """Permission rows in columns; refusals and gaps as sentences."""
    notes = [
        f"refused by {row['denied_by']}: {_cell(row, 'denied')} on {_cell(row, 'resource')} ({row['count']}×)"
        for row in rows
        if "denied" in row
    ]
    notes += [f"gap {row['gap']}: {_cell(row, 'detail')} ({row['count']}×)" for row in rows if "gap" in row]
    named = ("principal",) if any("principal" in row for row in rows) else ()
    columns = (*named, "action", "resource", "basis", "count", "runs", "last_seen")
    cells = [tuple(_cell(row, column) + _mark(row, column) for column in columns) for row in rows if "action" in row]
    return Table(columns, tuple(cells), tuple(notes))


def denial_table(rows: Sequence[Row]) -> Table:
    """Rows of `leastpriv denials`."""
    columns = ("action", "resource", "denied_by", "mendable", "where")
    cells = ((*(_cell(row, column) for column in columns[:-1]), _place(row)) for row in rows)
    return Table(columns, tuple(cells))


def decision_table(rows: Sequence[Row]) -> Table:
    """Rows of `leastpriv evaluate`, numbered as the requests are."""
    cells = (
        (str(number), _cell(row, "decision"), _cell(row, "denied_by"), _statement(row))
        for number, row in enumerate(rows, start=1)
    )
    return Table(("request", "decision", "denied_by", "statement"), tuple(cells))


def excess_table(rows: Sequence[Row]) -> Table:
    """Rows of `leastpriv contains`."""
    cells = ((_cell(row, "action"), _cell(row, "resource"), _only_if(row), _statement(row)) for row in rows)
    return Table(("action", "resource", "where", "statement"), tuple(cells))


def _mark(row: Row, column: str) -> str:
    """The catalogue lacks the action: it may hold a removal back and is never written."""
    return " (unverified)" if column == "action" and row.get("verified") is False else ""


def _cell(row: Row, column: str) -> str:
    value = row.get(column)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column == "last_seen":
        value = str(value)[: len("2026-11-05")]  # the day: a terminal's width goes to actions and resources
    return str(len(value)) if isinstance(value, list) else "–" if value is None else plain(str(value), 120)


def _place(row: Row) -> str:
    return plain(f"{row['file']}:{row['line']}", 120)


def _statement(row: Row) -> str:
    found = row.get("statement")
    if not isinstance(found, Mapping):
        return "–"
    return plain(f"{found['file']}:{found['line']} {found['sid'] or ''}".rstrip(), 120)


def _only_if(row: Row) -> str:
    """Of a request its context, of what one cannot tell the reason."""
    context = row.get("context")
    if isinstance(context, Mapping):
        return plain(", ".join(f"{key} {' '.join(map(str, values))}" for key, values in context.items()), 120) or "–"
    return _cell(row, "cannot_tell")
