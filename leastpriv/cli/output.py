"""Prints the result of a command: text, Markdown, JSON lines and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from leastpriv.errors import LeastprivError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from leastpriv.report.tables import Row, TextTable

Clock = Callable[[], datetime]
"""Returns the time that is now, aware and in UTC."""


def print_text(stdout: TextIO, text: str) -> None:
    """Writes a command's result, which is escaped already; characters that the encoding lacks become escapes.

    Raises BrokenPipeError where the reader has gone, and LeastprivError where it cannot be written, as on a full disk.
    """
    encoding = stdout.encoding or "utf-8"
    shown = text if text.endswith("\n") or not text else text + "\n"
    try:
        stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LeastprivError(f"The result cannot be written to standard output: {error.strerror}.") from error


def print_markdown(stdout: TextIO, text: str) -> None:
    """Writes Markdown, rendered at a terminal; raises as `print_text`."""
    if not stdout.isatty():
        print_text(stdout, text)
        return
    # Imported here, since JSON does not need it.
    from rich.markdown import Markdown

    _print_rich(stdout, Markdown(text))


def print_rows(stdout: TextIO, rows: Sequence[Row], table: Callable[[Sequence[Row]], TextTable], form: str) -> None:
    """Writes rows as JSON lines, or as a table where `form` says so; raises as `print_text`."""
    from leastpriv.report.tables import json_lines

    if form != "table":
        print_text(stdout, json_lines(rows))
    elif stdout.isatty():
        print_table(stdout, table(rows))
    else:
        print_text(stdout, str(table(rows)))


def print_table(stdout: TextIO, table: TextTable) -> None:
    """Writes a table to a terminal, in colours; raises as `print_text`."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(*table.columns, box=box.SIMPLE_HEAD)
    for line in table.cells:
        drawn.add_row(*(Text(cell, style=_COLOURS.get(cell, ""), overflow="fold") for cell in line))
    _print_rich(stdout, drawn, *map(Text, table.notes))


_COLOURS = {"allowed": "green", "implicitDeny": "red", "explicitDeny": "bold red", "unknown": "yellow", "no": "yellow"}


def _print_rich(stdout: TextIO, *shown: RenderableType) -> None:
    from rich.console import Console

    whole = Console(file=stdout)
    with whole.capture() as captured:
        whole.print(*shown, sep="\n")
    print_text(stdout, captured.get())
