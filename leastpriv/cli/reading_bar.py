"""The bar at a terminal while records are read: files, records, rate and time left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from msgspec import Struct

from leastpriv.github_actions.workflow_commands import PROGRESS_PREFIX, Console

if TYPE_CHECKING:
    from leastpriv.pipeline.sources import CountedSource

_WIDTH = 24
"""Characters of the bar."""
_PAUSE = 0.5
"""Seconds between two drawings."""
_MOST_LISTED = 200_000
"""Files that are counted before they are read; more take too long."""


class Progress(Struct, frozen=True):
    """How far reading is."""

    files: int
    records: int
    seconds: float
    total: int = 0
    """Number of all files; 0 where it is not known."""

    @property
    def text(self) -> str:
        """The line at the terminal."""
        read = f"{self.records:,} records"
        if not self.total:
            return f"{PROGRESS_PREFIX}{self.files:,} files, {read}, {self._rate}"
        part = min(self.files / self.total, 1.0)
        bar = "█" * int(part * _WIDTH)
        time_left = f", {self._left:,.0f} s left" if self.files else ""
        files = f"{self.files:,} of {self.total:,} files"
        return (
            f"{PROGRESS_PREFIX}{bar:░<{_WIDTH}} {part:4.0%} {files}, {read},"
            f" {self._rate}{time_left}"
        )

    @property
    def _rate(self) -> str:
        return f"{self.records / max(self.seconds, 0.1):,.0f} records a second"

    @property
    def _left(self) -> float:
        return self.seconds / self.files * max(self.total - self.files, 0)


@contextmanager
def reading_bar(
    console: Console,
    sources: Sequence[CountedSource],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Shows a bar while the block reads the sources; nothing where there is no terminal.

    Args:
        console: Where the bar is drawn.
        sources: The sources of the records.
        clock: Returns the seconds since any time.
    """
    if not console.shows_progress:
        yield
        return
    start = clock()
    total = _files_of(sources)
    ended = Event()

    def draw() -> None:
        while not ended.wait(_PAUSE):
            statistics = [source.statistics for source in sources]
            progress = Progress(
                files=sum(source_statistics.files for source_statistics in statistics),
                records=sum(source_statistics.records for source_statistics in statistics),
                seconds=clock() - start,
                total=total,
            )
            console.log(progress.text)

    thread = Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        console.clear_progress()


def _files_of(sources: Sequence[CountedSource]) -> int:
    """Returns the number of files of all sources; 0 where one is no folder, or has very many."""
    total = 0
    for source in sources:
        path = getattr(source, "path", None)
        if not isinstance(path, Path):
            return 0
        for _, _, files in os.walk(path):
            total += len(files)
            if total > _MOST_LISTED:
                return 0
        total += path.is_file()
    return total
