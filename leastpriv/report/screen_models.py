"""The model of a first screen, which body, comment, issue, summary, terminal and page share."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.report.templates import render

NOTHING = "–"
"""The text of an empty cell."""


class Medium(StrEnum):
    """The program that renders the Markdown of a first screen."""

    GITHUB = "github"
    """It has alerts, and aligns columns."""
    PAGE = "page"
    """Its security policy forbids the style that aligns a column."""
    TERMINAL = "terminal"
    """It has no room for a table."""


class Alert(Struct, frozen=True):
    """A box at the top of a result."""

    kind: str
    """Of GitHub's alerts: `TIP`, `NOTE`, `IMPORTANT`, `WARNING` or `CAUTION`."""
    instruction: str
    reason: str
    links: str = ""
    """To the list that the reason counts, and to the page that says how."""


class Column(Struct, frozen=True):
    """A column of a table."""

    name: str
    is_number: bool = False


class TableRow(Struct, frozen=True):
    """A row of a table, its cells in Markdown."""

    cells: tuple[str, ...]
    is_new: bool = False
    """An addition: it has no state before."""

    def in_a_list(self, columns: Sequence[Column]) -> str:
        """Returns the row as an item of a list, which fits a terminal of any width."""
        first, *others = [cell.replace("<br>", " ") for cell in self.cells]
        if self.is_new:
            return f"{first} ({others[1]})"
        named = [
            f"{column.name.lower()} {cell}"
            for column, cell in zip(columns[1:], others, strict=True)
            if cell != NOTHING
        ]
        return f"{first}: {', '.join(named)}" if named else first


class Table(Struct, frozen=True):
    """A table."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    more: str = ""
    """What follows the table: of rows that are left out, and of signs."""


class FirstScreen(Struct, frozen=True):
    """The first screen of a result, in Markdown with all names escaped."""

    alerts: tuple[Alert, ...]
    """The instruction, and before it what a run tried against its own role."""
    by_hand: str = ""
    """Statements to copy in the language of the file; empty without one."""
    changes: Table | None = None
    security: Table | None = None
    lines: tuple[str, ...] = ()
    """The chance, the denials that are not added, and the path to administrator."""


def markdown(screen: FirstScreen, medium: Medium = Medium.GITHUB) -> str:
    """Returns a first screen as Markdown for the program that renders it."""
    return render("first_screen", screen=screen, medium=medium.value)
