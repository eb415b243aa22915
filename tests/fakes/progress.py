"""The progress that the product logs during one test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LINES: list[str] = []
"""Messages so far; a fixture clears them before each test."""


class _Recorder(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LINES.append(record.getMessage())


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Record what the product logs, from an empty list on."""
    logger, recorder, level = (
        logging.getLogger("leastpriv"),
        _Recorder(),
        logging.getLogger("leastpriv").level,
    )
    LINES.clear()
    logger.addHandler(recorder)
    logger.setLevel(logging.INFO)
    try:
        yield LINES
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(level)
