"""One file of a trail read by itself, in whatever thread or process, and wherever the file lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import local
from typing import BinaryIO

from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import FileReader, SeenEvents
from leastpriv.evidence.cloudtrail.rows import RowReader
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call, Gap


@dataclass(frozen=True, slots=True)
class Task:
    """What is read of a trail's files."""

    window: Window
    principals: Principals
    survey: bool
    """Also what records of anybody tell of the evidence."""
    max_decompressed: int

    @property
    def few(self) -> bool:
        """Whether most files hold no call that counts."""
        return self.principals.targets is not None and not self.survey

    def rows(self) -> RowReader:
        """What reads records, for one thread."""
        return RowReader(self.window, self.principals, survey=self.survey)

    def read(
        self,
        name: str,
        region: str,
        open_file: Callable[[], BinaryIO],
        rows: RowReader,
        figures: ReadStatistics,
        seen: SeenEvents,
    ) -> Iterator[Call | Gap]:
        """Calls and gaps of a file, in order; `rows` goes from file to file."""
        reader = FileReader(name, region, figures, seen, rows, self.max_decompressed)
        return reader.read(open_file, self.window, self.principals)


class OwnRows(local):
    """What reads records, one for each thread that asks: what it remembers is for one at a time."""

    def __init__(self, task: Task) -> None:
        """Called in each thread anew."""
        self.rows = task.rows()
