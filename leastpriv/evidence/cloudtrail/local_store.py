"""Calls from a folder of CloudTrail files: a trail's bucket as it is, or what a person has saved of it.

Which files of a folder are CloudTrail's, in order of time, and what their paths say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from leastpriv.aws.arns import Principals, Window
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.cache import Readings
from leastpriv.evidence.cloudtrail.decompress import MAX_DECOMPRESSED
from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
from leastpriv.evidence.cloudtrail.file_store import TrailFile, has_trail_file, trail_files
from leastpriv.evidence.cloudtrail.prefetch import FolderReading, Task
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope

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

    def _readings(self, window: Window, principals: Principals, seen: SeenEvents) -> Readings:
        if self._cache is None:
            return Readings(None, window, self.statistics, seen)
        from leastpriv.evidence.cloudtrail.cache import ObjectCache

        name = f"{self.path}{'' if self._survey else ', calls alone'}"
        return Readings(ObjectCache(self._cache, name, principals), window, self.statistics, seen)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        seen = self._shared or SeenEvents()
        unlisted: list[Gap] = []

        def note(folder: Path, error: OSError) -> None:
            region = TrailFile("", folder / "_").region
            detail = f"{folder}: it cannot be listed: {error.strerror or error}"
            unlisted.append(Gap(GapKind.UNREADABLE_FILE, Scope(regions=(region,) if region else ()), detail))

        task = Task(window, principals, self._survey, self._max_decompressed)
        reading = FolderReading(task, self._readings(window, principals, seen), self.statistics, seen)
        with closing(reading):
            yield from reading.items(trail_files(self.path, window, note, principals.accounts))
        yield from unlisted
        figures = self.statistics
        if not figures.files and not has_trail_file(self.path, lambda *_: None, principals.accounts):
            whose = ", ".join(sorted(principals.accounts or ()))
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{self.path}: it has no folder of the account {whose}")
        if figures.files and figures.foreign_files == figures.files:
            raise InputError(
                f"trails: none of the {figures.files} JSON files in {str(self.path)!r}"
                " holds a CloudTrail record: name a folder of CloudTrail files."
            )
