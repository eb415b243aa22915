"""Readings of files by themselves: kept from run to run, and told again as parts of one reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
from leastpriv.evidence.cloudtrail.object_cache import ObjectCache, Reading
from leastpriv.evidence.cloudtrail.s3_objects import Stored
from leastpriv.evidence.source import Window
from leastpriv.model import Call, Gap


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

    def keep(self, stored: Stored, reading: Reading) -> None:
        """Keep what was read whole: the next run's window may be another one."""
        if self._cache and not reading.figures.damaged_files and not reading.figures.outside_window:
            self._cache.put(stored, reading)

    def again(self, reading: Reading) -> Iterator[Call | Gap]:
        """Give what a file gave, but for the calls that other files gave before."""
        self._figures.absorb(replace(reading.figures, calls=0))
        for item in reading.items:
            if isinstance(item, Call):
                self._figures.note_call(item.time)
            if isinstance(item, Call) and self._seen.is_copy(item.event_id):
                self._figures.duplicates += 1
                continue
            self._figures.calls += isinstance(item, Call)
            yield item

    def close(self) -> None:
        """Write what is not written yet."""
        if self._cache:
            self._cache.close()
