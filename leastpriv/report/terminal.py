"""Rows of `leastpriv permissions` and their table for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from leastpriv.evidence.merge import by_pattern
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Basis, Outcome, Usage
from leastpriv.report.escape import plain
from leastpriv.report.proposal_json import denied_row, gap_row, permission_row

_COLUMNS = ("action", "resource", "basis", "count", "runs", "last_seen")


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


def json_lines(rows: Iterable[Mapping[str, object]]) -> str:
    """One JSON object a line, in ASCII; `##[`, a command to a workflow's runner wherever it stands, gets an escape."""
    return "".join(json.dumps(row).replace("##[", "#\\u0023[") + "\n" for row in rows)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Permission rows as aligned columns; refusals and gaps follow as sentences."""
    cells = [[_cell(row, column) + _mark(row, column) for column in _COLUMNS] for row in rows if "action" in row]
    widths = [max(len(line[index]) for line in [list(_COLUMNS), *cells]) for index in range(len(_COLUMNS))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [list(_COLUMNS), *cells]
    ]
    lines += [
        f"refused by {row['denied_by']}: {_cell(row, 'denied')} on {_cell(row, 'resource')} ({row['count']}×)"
        for row in rows
        if "denied" in row
    ]
    lines += [f"gap {row['gap']}: {_cell(row, 'detail')} ({row['count']}×)" for row in rows if "gap" in row]
    return "\n".join(lines) + "\n"


def _mark(row: Mapping[str, object], column: str) -> str:
    """The catalogue lacks the action: it may hold a removal back and is never written."""
    return " (unverified)" if column == "action" and row.get("verified") is False else ""


def _cell(row: Mapping[str, object], column: str) -> str:
    value = row[column]
    return str(len(value)) if isinstance(value, list) else plain(str(value), 120)
