"""Calls from a folder of CloudTrail files: a trail's bucket as it is, or what a person has saved of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import FileReader, SeenEvents
from leastpriv.evidence.cloudtrail.readings import Readings
from leastpriv.evidence.cloudtrail.rows import RowReader
from leastpriv.evidence.cloudtrail.stored import Stored
from leastpriv.evidence.cloudtrail.trail_paths import TrailFile, has_trail_file, trail_files
from leastpriv.evidence.cloudtrail.unfolding import MAX_DECOMPRESSED
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call, Gap, GapKind, Scope

__all__ = ["ReadStatistics", "SeenEvents", "TrailFolder"]


class TrailFolder:
    """A source: a folder of any depth, or one file, of CloudTrail records in any known wrapping."""

    def __init__(
        self,
        path: Path,
        *,
        seen: SeenEvents | None = None,
        survey: bool = True,
        cache: Path | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`seen` is shared by folders that may hold copies of each other's records.

        `survey` False: only the targets' calls count. Then the figures of records of anybody, and damage among records
        that do not name a target, are not looked for, and files are passed over several times as fast. `cache`: a
        folder that keeps what was read between runs.
        """
        self.path = path
        self._shared = seen
        self.statistics = ReadStatistics()
        self._survey, self._cache = survey, cache
        self._max_decompressed = max_decompressed

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read calls in the window, roughly oldest first, each once, and a gap for what cannot be read.

        Raises `InputError` at once where the folder is missing, cannot be listed, or holds no trail file at
        all; and while reading where none of its files holds a single record of CloudTrail. Starts
        `statistics` anew.
        """
        self._check()
        self.statistics = ReadStatistics()
        return self._read(window, principals)

    def _check(self) -> None:
        def refuse(folder: Path, error: OSError) -> None:
            if folder == self.path:
                raise InputError(
                    f"trails: the folder {str(self.path)!r} cannot be read: {error.strerror or error}."
                ) from error

        try:
            self.path.stat()
        except FileNotFoundError:
            raise InputError(
                f"trails: there is no file or folder {str(self.path)!r}: name a folder of CloudTrail files."
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"trails: {str(self.path)!r} cannot be read: {error}.") from error
        if not has_trail_file(self.path, refuse):
            raise InputError(
                f"trails: {str(self.path)!r} holds no CloudTrail file (*.json.gz, *.json, *.jsonl): name the"
                " folder that holds AWSLogs/, or any folder of such files."
            )

    def _readings(self, window: Window, principals: Principals, seen: SeenEvents) -> Readings | None:
        if self._cache is None:
            return None
        from leastpriv.evidence.cloudtrail.object_cache import ObjectCache

        name = f"{self.path}{'' if self._survey else ', calls alone'}"
        return Readings(ObjectCache(self._cache, name, principals), window, self.statistics, seen)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        seen = self._shared or SeenEvents()
        rows = RowReader(window, principals, survey=self._survey)
        readings = self._readings(window, principals, seen)
        unlisted: list[Gap] = []

        def note(folder: Path, error: OSError) -> None:
            region = TrailFile("", folder / "_").region
            detail = f"{folder}: it cannot be listed: {error.strerror or error}"
            unlisted.append(Gap(GapKind.UNREADABLE_FILE, Scope(regions=(region,) if region else ()), detail))

        def calls(file: TrailFile, figures: ReadStatistics, own: SeenEvents) -> Iterator[Call | Gap]:
            reader = FileReader(str(file.path), file.region, figures, own, rows, self._max_decompressed)
            return reader.read(partial(_opened, file.path), window, principals)

        with closing(readings) if readings else nullcontext():
            for file in trail_files(self.path, window, note):
                yield from unlisted
                unlisted.clear()
                stored = _stored(file.path) if readings else None
                if readings and stored:
                    known = readings.known(stored)
                    if known is None:
                        own = ReadStatistics()
                        items = tuple(calls(file, own, SeenEvents()))
                        rows.survey(own)
                        known = readings.keep(stored, items, own)
                    yield from readings.again(known)
                else:
                    yield from calls(file, self.statistics, seen)
        rows.survey(self.statistics)
        yield from unlisted
        figures = self.statistics
        if figures.files and figures.foreign_files == figures.files:
            raise InputError(
                f"trails: none of the {figures.files} JSON files in {str(self.path)!r}"
                " holds a CloudTrail record: name a folder of CloudTrail files."
            )


def _stored(path: Path) -> Stored | None:
    """A file as the cache knows it: it has not changed as long as its size and its time have not."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return Stored(str(path), f"{status.st_size} {status.st_mtime_ns}", status.st_size)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, path.open("rb", buffering=0))
