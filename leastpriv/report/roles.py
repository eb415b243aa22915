"""The overview of roles: its rows, as JSON lines, as CSV, and as a table of at most 120 columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from leastpriv.aws.arns import account_of
from leastpriv.errors import plural
from leastpriv.report.escape import plain
from leastpriv.report.tables import Row, TextTable, time_value

ENOUGH_RUNS = 5
"""Runs that a proposal needs to remove a permission (`minimum-runs`)."""


class NextStep(StrEnum):
    """What to do about a role."""

    PROPOSE = "propose"
    """Its policy has unused actions, and enough runs show which."""
    WAIT = "wait for runs"
    """Its policy has unused actions, and too few runs show which."""
    REMOVE = "remove role"
    """It made no call."""
    ADD = "add denied"
    """It uses all that it has, and was denied more."""
    NAME_POLICY = "name policy"
    """It made calls, and its policy is not known."""
    NOTHING = "–"


class RoleOverview(Struct, frozen=True):
    """One role: what it may do, and what it did."""

    arn: str
    calls: int = 0
    runs: int = 0
    last: datetime | None = None
    denied: int = 0
    has_policy: bool = False
    granted: int = 0
    """Actions that its policies grant; 0 where they are not known."""
    used: int = 0
    """Actions that it used, of those that are granted where that is known."""
    administrator: bool = False
    riskiest: str = ""
    """The riskiest action that it may call and did not use."""

    @property
    def unused(self) -> int:
        """Number of actions that a proposal may remove at most."""
        return self.granted - self.used

    @property
    def next_step(self) -> NextStep:
        """What to do about it."""
        if not self.has_policy:
            return NextStep.NAME_POLICY
        if not self.calls:
            return NextStep.REMOVE
        if self.unused:
            return NextStep.PROPOSE if self.runs >= ENOUGH_RUNS else NextStep.WAIT
        return NextStep.ADD if self.denied else NextStep.NOTHING

    @property
    def rank(self) -> tuple[bool, bool, int, int, str]:
        """Orders roles by the gain of a proposal: administrators first, then those with a policy
        file, with the most unused actions, with the most calls.
        """
        return (
            not self.administrator,
            not self.has_policy,
            -self.unused,
            -self.calls,
            self.arn,
        )


_LONGEST_ROLE = 28
_LONGEST_ACTION = 24
_NO_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that a spreadsheet computes (OWASP, "CSV Injection", read 2026-12-01)."""


def role_row(role: RoleOverview) -> dict[str, object]:
    """Returns a row of `leastpriv roles`; a value that is not known is null."""
    return {
        "account": account_of(role.arn),
        "role": role.arn.rpartition("/")[2],
        "arn": role.arn,
        "last_run": time_value(role.last),
        "runs": role.runs,
        "calls": role.calls,
        "granted": role.granted if role.has_policy else None,
        "used": role.used,
        "unused": role.unused if role.has_policy else None,
        "administrator": role.administrator if role.has_policy else None,
        "riskiest_unused": role.riskiest or None,
        "denied_calls": role.denied,
        "next_step": role.next_step.value,
    }


def roles_csv(rows: Sequence[Row]) -> str:
    """Returns the rows as CSV; a text that a spreadsheet would compute gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0] if rows else role_row(RoleOverview("")))
    for row in rows:
        writer.writerow([_csv_cell(value) for value in row.values()])
    return text.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return f"'{text}" if text.startswith(_NO_FORMULA) and isinstance(value, str) else text


def roles_table(rows: Sequence[Row]) -> TextTable:
    """Returns the rows in columns for a terminal of 120."""
    columns = (
        "account",
        "role",
        "last run",
        "runs",
        "used of",
        "riskiest unused",
        "denied",
        "next step",
    )
    cells = tuple(_cells(row) for row in rows)
    return TextTable(columns, cells, tuple(_notes(rows)))


def _cells(row: Row) -> tuple[str, ...]:
    """Returns the texts of a row of the table, one for each column."""
    granted = "?" if row["granted"] is None else f"{row['granted']}"
    riskiest = "administrator" if row["administrator"] else str(row["riskiest_unused"] or "–")
    return (
        plain(str(row["account"]), 12),
        _shortened(str(row["role"]), _LONGEST_ROLE),
        str(row["last_run"] or "–")[: len("2026-11-03")],
        str(row["runs"]),
        f"{row['used']}/{granted}",
        _shortened(riskiest, _LONGEST_ACTION),
        str(row["denied_calls"]),
        str(row["next_step"]),
    )


def _shortened(text: str, longest: int) -> str:
    """Returns a text with its middle left out where it is longer."""
    plain_text = plain(text)
    if len(plain_text) <= longest:
        return plain_text
    end = longest // 3
    return f"{plain_text[: longest - end - 1]}…{plain_text[-end:]}"


def _notes(rows: Sequence[Row]) -> list[str]:
    steps: dict[str, int] = {}
    for row in rows:
        steps[str(row["next_step"])] = steps.get(str(row["next_step"]), 0) + 1
    counts = ", ".join(
        f"{count:,} {step}" for step, count in steps.items() if step != NextStep.NOTHING
    )
    return [f"{plural(len(rows), 'role')}: {counts or 'nothing to do'}."]
