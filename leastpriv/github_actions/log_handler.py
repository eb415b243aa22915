"""Prints the log records of this package on the console; those of other packages are not shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from leastpriv.github_actions.workflow_commands import Console

_PACKAGE = __name__.partition(".")[0]


class ConsoleHandler(logging.Handler):
    """Writes each record as a message of the console, which escapes untrusted text in it."""

    def __init__(self, console: Console, *, ignore_closed: bool = False) -> None:
        """`ignore_closed`: a closed terminal or pipe raises nothing, so that the work continues."""
        super().__init__()
        self._console = console
        self._ignored: tuple[type[Exception], ...] = (OSError, ValueError) if ignore_closed else ()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record."""
        with suppress(*self._ignored):
            self._console.log(record.getMessage())


@contextmanager
def logging_to(console: Console, *, ignore_closed: bool = False) -> Iterator[None]:
    """Shows this package's progress on the console while the context is open, but no records of other packages."""
    package_logger, root_logger = logging.getLogger(_PACKAGE), logging.getLogger()
    handler, null_handler = ConsoleHandler(console, ignore_closed=ignore_closed), logging.NullHandler()
    level = package_logger.level
    package_logger.setLevel(logging.INFO)
    package_logger.addHandler(handler)
    root_logger.addHandler(null_handler)
    try:
        yield
    finally:
        package_logger.removeHandler(handler)
        root_logger.removeHandler(null_handler)
        package_logger.setLevel(level)
