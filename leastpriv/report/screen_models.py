"""The model of a first screen, which body, comment, issue, summary, terminal and page share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.report.templates import render

NOTHING = "–"
"""The text of an empty cell."""
_EMPTY = frozenset({NOTHING, ""})
_WORD = re.compile(
    r"(?:\[(?:(`++)(?:(?!\1).)*+\1|[^\]`\[]++){0,9}+\]\([^)]*+\)|(`++)(?:(?!\2).)*+\2|[^ ])+"
)
"""A word, a code span or a link with the punctuation around it."""
_MARKUP = re.compile(r"\]\([^)]*\)|[`*\[]")
"""What a reader does not see of a word."""


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
    longest: int = 0
    """Characters of a line of its cells, where a blank ends it; 0: no limit."""


class TableRow(Struct, frozen=True):
    """A row of a table, its cells in Markdown."""

    cells: tuple[str, ...]
    is_new: bool = False
    """An addition: its first cell says all of it."""

    def in_a_list(self, columns: Sequence[Column]) -> str:
        """Returns the row as an item of a list, which fits a terminal of any width."""
        first, *further_cells = [cell.replace("<br>", " ") for cell in self.cells]
        if self.is_new:
            return first
        named_cells = [
            f"{column.name.replace('<br>', ' ').lower()} {cell}"
            for column, cell in zip(columns[1:], further_cells, strict=True)
            if cell not in _EMPTY
        ]
        return f"{first}: {', '.join(named_cells)}" if named_cells else first


class Table(Struct, frozen=True):
    """A table."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    more: str = ""
    """What follows the table: of rows that are left out, and of signs."""

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Sequence[TableRow], more: str = "") -> Table:
        """Returns a table that fits a page: without empty columns, and with its cells in lines.

        Args:
            columns: The columns, with the longest lines of their cells.
            rows: The rows, with a cell for each column.
            more: What follows the table.
        """
        used_columns = [
            column
            for column, _ in enumerate(columns)
            if any(row.cells[column] not in _EMPTY for row in rows)
        ]
        fitting = []
        for row in rows:
            cells = (
                in_lines(row.cells[column], columns[column].longest) for column in used_columns
            )
            fitting.append(TableRow(cells=tuple(cells), is_new=row.is_new))
        return cls(
            columns=tuple(columns[column] for column in used_columns),
            rows=tuple(fitting),
            more=more,
        )


def in_lines(cell: str, longest: int) -> str:
    """Returns a cell in lines of at most so many characters; only a blank ends a line.

    Args:
        cell: The cell in Markdown.
        longest: Characters of a line as a reader sees it; 0: no limit.
    """
    if not longest:
        return cell
    lines: list[str] = []
    for part in cell.split("<br>"):
        line = ""
        for match in _WORD.finditer(part):
            longer = f"{line} {match[0]}" if line else match[0]
            if line and len(_MARKUP.sub("", longer)) > longest:
                lines.append(line)
                longer = match[0]
            line = longer
        lines.append(line)
    return "<br>".join(lines)


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
