"""Reads calls from a folder of CloudTrail files: a copy of a trail's bucket, or files that a user saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from leastpriv.aws.arns import Principals, Window
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.cache import FileResults
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator
from leastpriv.evidence.cloudtrail.file_store import TrailFile, find_log_files, has_log_file
from leastpriv.evidence.cloudtrail.prefetch import FolderPrefetcher, ReadOptions
from leastpriv.evidence.cloudtrail.record_blocks import MAX_DECOMPRESSED
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope


class TrailFolder:
    """An evidence source: a folder of any depth, or one file, of CloudTrail records in any known format."""

    def __init__(
        self,
        path: Path,
        *,
        seen: EventDeduplicator | None = None,
        survey: bool = True,
        cache: Path | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`seen` is shared by folders that may contain copies of records; `cache` keeps results between runs.

        `survey` False: only the targets' calls count. Coverage of all records, and damage in records without a target's
        name, are then not reported, and reading is several times as fast.
        """
        self.path = path
        self._shared = seen
        self.statistics = ReadStatistics()
        self._survey, self._cache = survey, cache
        self._max_decompressed = max_decompressed

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads calls in the window, roughly oldest first and deduplicated, and gaps; resets `statistics`.

        Raises:
            InputError: the folder does not exist, cannot be listed or has no log file (at once), or its files contain
                no
                CloudTrail record (while reading).
        """
        self.check()
        self.statistics = ReadStatistics()
        return self._read(window, principals)

    def check(self) -> None:
        """Raises InputError where the path is no folder of CloudTrail files, and no such file."""

        def refuse(folder: Path, error: OSError) -> None:
            if folder == self.path:
                raise InputError(
                    f"trails: the folder {str(self.path)!r} cannot be read: {error.strerror or error}."
                ) from error

        try:
            self.path.stat()
        except FileNotFoundError:
            home = " (~ is not expanded: write the whole path)" if str(self.path).startswith("~") else ""
            raise InputError(
                f"trails: there is no file or folder {str(self.path)!r}{home}: name a folder of CloudTrail files."
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"trails: {str(self.path)!r} cannot be read: {error}.") from error
        if not has_log_file(self.path, refuse):
            raise InputError(
                f"trails: {str(self.path)!r} has no CloudTrail file (*.json.gz, *.json, *.jsonl): name the"
                " folder that holds AWSLogs/, or any folder of such files."
            )

    def _readings(self, window: Window, principals: Principals, seen: EventDeduplicator) -> FileResults:
        if self._cache is None:
            return FileResults(None, window, self.statistics, seen)
        from leastpriv.evidence.cloudtrail.cache import ObjectCache

        name = f"{self.path}{'' if self._survey else ', calls alone'}"
        return FileResults(ObjectCache(self._cache, name, principals), window, self.statistics, seen)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        seen = self._shared or EventDeduplicator()
        unlisted: list[Gap] = []

        def note(folder: Path, error: OSError) -> None:
            region = TrailFile("", folder / "_").region
            detail = f"{folder}: it cannot be listed: {error.strerror or error}"
            unlisted.append(Gap(GapKind.UNREADABLE_FILE, Scope(regions=(region,) if region else ()), detail))

        root = self.path.resolve()
        task = ReadOptions(window, principals, self._survey, self._max_decompressed, root)
        reading = FolderPrefetcher(task, self._readings(window, principals, seen), self.statistics, seen)
        with closing(reading):
            yield from reading.items(find_log_files(self.path, window, note, principals.accounts))
        yield from unlisted
        statistics = self.statistics
        if not statistics.files and not has_log_file(self.path, lambda *_: None, principals.accounts):
            whose = ", ".join(sorted(principals.accounts or ()))
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{self.path}: it has no folder of the account {whose}")
        if statistics.files and statistics.foreign_files == statistics.files:
            raise InputError(
                f"trails: none of the {statistics.files} JSON files in {str(self.path)!r}"
                " holds a CloudTrail record: name a folder of CloudTrail files."
            )
