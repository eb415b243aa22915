"""Calls from a folder of CloudTrail files: a trail's bucket as it is, or what a person has saved of it.

Which files of a folder are CloudTrail's, in order of time, and what their paths say.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Container, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from leastpriv.aws.arns import Principals, Window
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.cache import Readings
from leastpriv.evidence.cloudtrail.decompress import MAX_DECOMPRESSED
from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
from leastpriv.evidence.cloudtrail.prefetch import FolderReading, Task
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope

# File names: "CloudTrail log file examples" of the CloudTrail User Guide (read 2026-11-24). Whole keys:
# AWSLogs/[o-xxx/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_RANDOM.json.gz
_SUFFIXES = (".json.gz", ".json", ".jsonl", ".jsonl.gz")
_OTHER_LOGS = ("CloudTrail-Digest", "CloudTrail-Insight")
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)(?:_|\.)")
_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}", re.ASCII)
_REGION_IN_NAME = re.compile(rf"_CloudTrail_({_REGION.pattern})_", re.ASCII)
_REGION_IN_FOLDER = re.compile(rf"/CloudTrail/({_REGION.pattern})/", re.ASCII)
_ACCOUNTS = re.compile(r"/AWSLogs(?:/o-[a-z0-9]{10,32})?\Z", re.ASCII)
"""Where folders of accounts lie."""
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_PART_OF_DATE = (
    re.compile(r"\d{4}"),
    re.compile(r"(?:0[1-9]|1[0-2])"),
    re.compile(r"(?:0[1-9]|[12]\d|3[01])"),
)
SLACK = timedelta(days=1)
"""A folder is named by the day of delivery, and a file "can contain records written at any point before that time"
(same page). A day is our bound: records delivered later than that are missed where a window ends early."""
_NAMES = 20_000
"""Names of one folder held at a time."""


@dataclass(frozen=True, slots=True, order=True)
class TrailFile:
    """One file, ordered by time where its place or name tells it."""

    stamp: str
    path: Path

    @property
    def region(self) -> str:
        """The region that its name or folder tells, else empty."""
        return region_in(self.path.as_posix())


def region_in(path: str) -> str:
    """The region that a path or key of a trail's file tells, else empty."""
    found = _REGION_IN_NAME.search(path.rpartition("/")[2]) or _REGION_IN_FOLDER.search(path)
    return found[1] if found else ""


OnError = Callable[[Path, OSError], None]


def trail_files(
    top: Path, window: Window, on_error: OnError, accounts: Container[str] | None = None
) -> Iterator[TrailFile]:
    """Files under `top`, oldest first over all regions of these accounts (`None`: of all).

    Folders of other accounts below `AWSLogs`, and day folders outside the window, are not opened. What is held at a
    time is the first names of each folder under way, of which there is one per account and region. Files without a
    time in their name come first within their folder. Folders that cannot be listed are told to `on_error`.
    """
    if top.is_file():
        return iter((TrailFile("", top),))
    return _Walk(window, on_error, accounts).folder(top, (), ())


def has_trail_file(top: Path, on_error: OnError, accounts: Container[str] | None = None) -> bool:
    """Whether there is any such file at all, in whatever window."""
    return next(trail_files(top, Window(), on_error, accounts), None) is not None


def looks_like_trail_file(name: str) -> bool:
    """By its name alone: digests and insights are other logs of the same service."""
    return (
        name.endswith(_SUFFIXES) and not name.startswith(".") and not any(f"_{other}_" in name for other in _OTHER_LOGS)
    )


class _Walk:
    def __init__(self, window: Window, on_error: OnError, accounts: Container[str] | None) -> None:
        self._first = _day(window.start - SLACK) if window.start and window.start.year > 1 else ""
        self._last = _day(window.end + SLACK) if window.end and window.end.year < 9999 else "99999999"
        self._on_error = on_error
        self._accounts = accounts

    def folder(self, path: Path, date: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[TrailFile]:
        """All files below; `date`: parts of a date that the path ends in, `above`: the folders it lies in."""
        try:
            status = path.stat()
            with os.scandir(path) as entries:
                folders = sorted(entry.name for entry in entries if entry.is_dir() and entry.name not in _OTHER_LOGS)
        except OSError as error:
            self._on_error(path, error)
            return
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link back to a folder that this one lies in
            return
        above = (*above, here)
        if self._accounts is not None and _ACCOUNTS.search(f"/{path.absolute().as_posix()}"):
            folders = [name for name in folders if not _ACCOUNT.fullmatch(name) or name in self._accounts]
        dated = [name for name in folders if _is_date(name, date)]
        others = [self.folder(path / name, (), above) for name in folders if not _is_date(name, date)]
        yield from heapq.merge(self._files(path, date), self._in_turn(path, dated, date, above), *others)

    def _in_turn(
        self, path: Path, names: list[str], date: tuple[str, ...], above: tuple[tuple[int, int], ...]
    ) -> Iterator[TrailFile]:
        for name in names:
            part = (*date, name)
            if not self._is_outside(path, part):
                yield from self.folder(path / name, part, above)

    def _is_outside(self, path: Path, date: tuple[str, ...]) -> bool:
        # Only where the date lies below a region, as CloudTrail writes it: elsewhere it may be the day of an
        # export.
        below_region = len(date) == 3 and _REGION.fullmatch(path.parent.parent.name)
        return bool(below_region) and not self._first <= "".join(date) <= self._last

    def _files(self, path: Path, date: tuple[str, ...]) -> Iterator[TrailFile]:
        """List the folder's own files in order, some thousands at a time: a flat folder may hold millions."""
        day = "".join(date) if len(date) == 3 else ""
        last = ("", "")
        while True:
            try:
                with os.scandir(path) as entries:
                    keys = (
                        sort_key(entry.name, day)
                        for entry in entries
                        if looks_like_trail_file(entry.name) and not entry.is_dir()
                    )
                    batch = heapq.nsmallest(_NAMES, (key for key in keys if key > last))
            except OSError as error:
                self._on_error(path, error)
                return
            yield from (TrailFile(stamp, path / name) for stamp, name in batch)
            if len(batch) < _NAMES:
                return
            last = batch[-1]


def _day(time: datetime) -> str:
    return time.date().isoformat().replace("-", "")


def _is_date(name: str, date: tuple[str, ...]) -> bool:
    return len(date) < 3 and _PART_OF_DATE[len(date)].fullmatch(name) is not None


def sort_key(name: str, day: str) -> tuple[str, str]:
    """Orders the files of a folder by the time in their name, else by the folder's day, `20261103` or empty."""
    stamp = _STAMP.search(name)
    return (stamp[1] if stamp else day, name)


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
