"""Runs the program's work: shows its log on the console, turns every error into a message and an exit code."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from leastpriv.errors import LeastprivError
from leastpriv.github_actions.workflow_commands import Console

_INTERRUPTED = 130
_SHORT_SIGPIPE = 141
_RARELY = (100_000, 20, 100)
"""Thresholds of the garbage collector: values of a run form no cycles and remain to its end, and Python's defaults took
23 % of the time of reading all roles of 200 MB (2026-11-27), with the same peak of memory."""


def exit_code_of(work: Callable[[], int], console: Console, *, verbose: bool, ignore_closed: bool = False) -> int:
    """Returns the exit code of `work`, or of its error; with `ignore_closed` a closed terminal ends no work."""
    gc.set_threshold(*_RARELY)

    try:
        with logging_to(console, ignore_closed=ignore_closed):
            return work()
    except LeastprivError as error:
        console.error(str(error))
        _print_traceback(console, verbose)
        return error.exit_code
    except KeyboardInterrupt:
        console.error("Interrupted: nothing was published.")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the output closed it, as in `leastpriv permissions … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SHORT_SIGPIPE
    except Exception as error:
        # A defect: the user gets a sentence instead of a traceback.
        console.error(f"Unexpected {type(error).__name__}: {error}. This is a defect; run again with -v and report it.")
        _print_traceback(console, verbose)
        return 1


def _print_traceback(console: Console, verbose: bool) -> None:
    if verbose:
        import traceback

        console.untrusted(traceback.format_exc())


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
