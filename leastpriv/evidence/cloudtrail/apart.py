"""One file of a folder read by itself, in whatever thread or process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import FileReader, SeenEvents
from leastpriv.evidence.cloudtrail.readings import Reading
from leastpriv.evidence.cloudtrail.rows import RowReader
from leastpriv.evidence.cloudtrail.trail_paths import TrailFile
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call, Gap


@dataclass(frozen=True, slots=True)
class Task:
    """What is read of files."""

    window: Window
    principals: Principals
    survey: bool
    """Also what records of anybody tell of the evidence."""
    max_decompressed: int

    def rows(self) -> RowReader:
        """What reads records, for one thread."""
        return RowReader(self.window, self.principals, survey=self.survey)

    def read(self, file: TrailFile, rows: RowReader, figures: ReadStatistics, seen: SeenEvents) -> Iterator[Call | Gap]:
        """Calls and gaps of a file, in order; `rows` goes from file to file."""
        reader = FileReader(str(file.path), file.region, figures, seen, rows, self.max_decompressed)
        return reader.read(partial(_opened, file.path), self.window, self.principals)

    def read_apart(self, file: TrailFile, rows: RowReader) -> Reading:
        """What a file gives by itself."""
        figures = ReadStatistics()
        items = tuple(self.read(file, rows, figures, SeenEvents()))
        rows.survey(figures)
        return Reading(items, figures)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, path.open("rb", buffering=0))
