"""Prints the log records of this package on the console; those of other packages are not shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from leastpriv.github_actions.workflow_commands import Console

_PACKAGE = __name__.partition(".")[0]


class ConsoleHandler(logging.Handler):
    """Writes each record as a message of the console, which escapes what others wrote in it."""

    def __init__(self, console: Console, *, ignore_closed: bool = False) -> None:
        """`ignore_closed`: a terminal or pipe that was closed raises nothing, so that the work is completed."""
        super().__init__()
        self._console = console
        self._ignored: tuple[type[Exception], ...] = (OSError, ValueError) if ignore_closed else ()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record.

        Raises:
            OSError: the stream cannot be written.
        """
        with suppress(*self._ignored):
            self._console.log(record.getMessage())


@contextmanager
def logging_to(console: Console, *, ignore_closed: bool = False) -> Iterator[None]:
    """Show this package's progress on the console while the context is open, whatever other packages log."""
    own, others = logging.getLogger(_PACKAGE), logging.getLogger()
    shown, hidden = ConsoleHandler(console, ignore_closed=ignore_closed), logging.NullHandler()
    level = own.level
    own.setLevel(logging.INFO)
    own.addHandler(shown)
    others.addHandler(hidden)
    try:
        yield
    finally:
        own.removeHandler(shown)
        others.removeHandler(hidden)
        own.setLevel(level)
