"""Readings of files by themselves: kept from run to run, and told again as parts of one reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
from leastpriv.evidence.cloudtrail.stored import Stored
from leastpriv.evidence.source import Window
from leastpriv.model import Call, Gap

if TYPE_CHECKING:
    from leastpriv.evidence.cloudtrail.object_cache import ObjectCache


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file gave: its calls and gaps in order, copies within it dropped, and its figures."""

    items: tuple[Call | Gap, ...]
    figures: ReadStatistics = field(default_factory=ReadStatistics)
    sha256: str = ""
    """Of the content that gave it, in hexadecimal; empty where nobody asked for it."""


class Readings:
    """The readings that one pass puts together."""

    def __init__(self, cache: ObjectCache | None, window: Window, figures: ReadStatistics, seen: SeenEvents) -> None:
        """`figures` grow with each reading that is told; without a cache nothing is known or kept."""
        self._cache, self._window, self._figures, self._seen = cache, window, figures, seen

    def known(self, stored: Stored) -> Reading | None:
        """What an earlier run read of a file whose records lie in the window."""
        kept = self._cache.get(stored) if self._cache else None
        if kept is None:
            return None
        times = (kept.figures.first, kept.figures.last, *(each.time for each in kept.items if isinstance(each, Call)))
        return kept if all(time is None or self._window.contains(time) for time in times) else None

    @property
    def are_kept(self) -> bool:
        """Whether there is a cache."""
        return self._cache is not None

    def keep(self, stored: Stored, reading: Reading) -> None:
        """Keeps what was read whole, since the next run's window may be another one."""
        figures = reading.figures
        # Where only calls count, nobody has noted when a record was written that cannot be read.
        has_time = figures.first is not None or all(isinstance(item, Call) for item in reading.items)
        if self._cache and has_time and not figures.damaged_files and not figures.outside_window:
            self._cache.put(stored, reading)

    def again(self, reading: Reading) -> Iterator[Call | Gap]:
        """Give what a file gave, but for the calls that other files gave before."""
        self._figures.absorb(replace(reading.figures, calls=0))
        for item in reading.items:
            if isinstance(item, Call):
                self._figures.note_call(item.time)
                if self._seen.is_copy(item.event_id):
                    self._figures.duplicates += 1
                    continue
                self._figures.calls += 1
            yield item

    def close(self) -> None:
        """Write what is not written yet."""
        if self._cache:
            self._cache.close()
