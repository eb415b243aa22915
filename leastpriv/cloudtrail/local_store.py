"""Reads calls from a folder of CloudTrail files: a copy of a trail's bucket, or files that a user
saved.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

from leastpriv.atomic_file import open_regular
from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.file_reader import EventDeduplicator, ReadOptions
from leastpriv.cloudtrail.file_store import (
    OTHER_LOGS,
    DayRange,
    StoredFile,
    is_log_file_name,
    region_of_path,
    sort_key,
)
from leastpriv.cloudtrail.parts import Counting, Item
from leastpriv.cloudtrail.prefetch import Prefetcher, open_cache
from leastpriv.cloudtrail.record_blocks import MAX_DECOMPRESSED
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import InputError, did_you_mean
from leastpriv.models import Call, Gap, GapKind, Scope

_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}", re.ASCII)
_ACCOUNTS = re.compile(r"/AWSLogs(?:/o-[a-z0-9]{10,32})?\Z", re.ASCII)
"""Parents of the account folders."""
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_PART_OF_DATE = (
    re.compile(r"\d{4}"),
    re.compile(r"(?:0[1-9]|1[0-2])"),
    re.compile(r"(?:0[1-9]|[12]\d|3[01])"),
)
_NAMES_AT_ONCE = 20_000
"""Names of one folder in memory at a time."""
_FOLDERS = 1_000
"""Folders whose resolved paths are known: files in order of time change between accounts and
regions.
"""


def shown_path(top: Path, path: str) -> str:
    """Returns a path as a report shows it: a pull request has no folder of the machine.

    Args:
        top: The file or folder that the user named.
        path: This one, or a path below it.
    """
    if not top.is_absolute():
        return path
    return str(Path(path).relative_to(top.parent))


class LocalStore:
    """The log files of a folder of any depth, or one file."""

    at_once = 0

    def __init__(self, top: Path, accounts: Container[str] | None = None) -> None:
        """`accounts`: those whose folders below `AWSLogs` are read; None: all."""
        self._top, self._accounts = top, accounts
        self.unlisted: dict[str, OSError] = {}
        """Folders that could not be listed."""
        self._root = top.resolve()
        self._inside: dict[str, bool] = {}

    def list(self, window: Window) -> Iterator[StoredFile]:
        """Yields the log files, oldest first over all regions.

        Folders of other accounts, and day folders outside the window, are not opened. Memory holds
        the first names of each open folder, one per account and region. Files without a time in
        their name come first in their folder.
        """
        is_file = self._top.is_file()
        files = (
            [("", str(self._top))]
            if is_file
            else self._walk(DayRange.of(window), self._top, (), ())
        )
        for _, path in files:
            try:
                status = os.stat(path)  # noqa: PTH116 - a Path of each file takes as long again
                yield StoredFile(path, f"{status.st_size} {status.st_mtime_ns}", status.st_size)
            except (OSError, ValueError):
                yield StoredFile(path, "", 0)

    def is_empty(self) -> bool:
        """Whether there is no log file, in any window."""
        return next(self.list(Window()), None) is None

    def fetch(self, stored: StoredFile) -> bytes:
        """Returns the content of a file; raises `OSError`."""
        with self.open(stored) as file:
            return file.read()

    def open(self, stored: StoredFile) -> BinaryIO:
        """Opens a file of the folder; raises `OSError` for another one."""
        # Resolving each path costs as much as reading a small file.
        folder = stored.key.rpartition(os.sep)[0]
        if folder not in self._inside:
            if len(self._inside) >= _FOLDERS:
                self._inside.clear()
            self._inside[folder] = Path(folder).resolve().is_relative_to(self._root)
        path = Path(stored.key)
        is_plain = self._inside[folder] and not path.is_symlink()
        return open_regular(path, None if is_plain else self._root, 0)

    def name_of(self, stored: StoredFile) -> str:
        """The path as a report shows it."""
        return shown_path(self._top, stored.key)

    def _walk(
        self, days: DayRange, path: Path, date: tuple[str, ...], above: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[str, str]]:
        """Yields stamps and paths of all files below, in the order of the stamps:
        `("20261103T1010Z", "…/2026/11/03/….json.gz")`.

        Left out are links back to a parent folder, folders of other accounts, and days outside
        the window. The folder of a day is listed after the files of the days before it.

        Args:
            days: The days that are read.
            path: The folder.
            date: The parts of a date at the end of the path: `("2026", "11")`.
            above: Device and number of each parent folder, which identify it.
        """
        try:
            status = path.stat()
            names = self._folders_in(path)
        except OSError as error:
            self.unlisted[str(path)] = error
            return
        folder_id = (status.st_dev, status.st_ino)
        if folder_id in above:  # a link back to a parent folder
            return
        above = (*above, folder_id)
        subfolders = [
            self._walk(days, path / name, (), above) for name in names if not _is_date(name, date)
        ]
        # Only below a region, as CloudTrail writes it: elsewhere the date may be the day of an
        # export.
        has_days = len(date) == 2 and _REGION.fullmatch(path.parent.parent.name)
        parts = ((*date, name) for name in names if _is_date(name, date))
        in_turn = (
            file
            for part in parts
            if not has_days or days.first <= "/".join(part) <= days.last
            for file in self._walk(days, path / part[-1], part, above)
        )
        yield from heapq.merge(self._files(path, date), in_turn, *subfolders)

    def _folders_in(self, path: Path) -> Sequence[str]:
        """Returns the names of the folders in a folder that may have log files, without those of
        other accounts; raises `OSError`.
        """
        with os.scandir(path) as entries:
            names = sorted(
                entry.name for entry in entries if entry.is_dir() and entry.name not in OTHER_LOGS
            )
        if self._accounts is None or not _ACCOUNTS.search(f"/{path.absolute().as_posix()}"):
            return names
        return [name for name in names if not _ACCOUNT.fullmatch(name) or name in self._accounts]

    def _files(self, path: Path, date: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Yields the folder's own files in order, some thousands at a time: a flat folder may
        contain millions.
        """
        day = "".join(date) if len(date) == 3 else ""
        last = ("", "")
        while True:
            try:
                with os.scandir(path) as entries:
                    keys = (
                        sort_key(entry.name, day)
                        for entry in entries
                        if is_log_file_name(entry.name) and not entry.is_dir()
                    )
                    batch = heapq.nsmallest(_NAMES_AT_ONCE, (key for key in keys if key > last))
            except OSError as error:
                self.unlisted[str(path)] = error
                return
            yield from ((stamp, f"{path}{os.sep}{name}") for stamp, name in batch)
            if len(batch) < _NAMES_AT_ONCE:
                return
            last = batch[-1]


def _is_date(name: str, date: tuple[str, ...]) -> bool:
    return len(date) < 3 and _PART_OF_DATE[len(date)].fullmatch(name) is not None


class TrailFolder:
    """An evidence source: a folder of any depth, or one file, of CloudTrail records in any known
    format.
    """

    def __init__(
        self,
        path: Path,
        *,
        seen: EventDeduplicator | None = None,
        survey: bool = True,
        cache: Path | None = None,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`seen` is shared by folders that may contain copies of records; `cache` keeps what was
        counted (`read_parts`) between runs.

        `survey` False: only the targets' calls count. Coverage of all records, and damage in
        records without a target's name, are then not reported, and reading is several times as
        fast.
        """
        self.path = path
        self._shared = seen
        self.statistics = ReadStatistics()
        self._survey, self._cache = survey, cache
        self._max_decompressed = max_decompressed

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads calls in the window, roughly oldest first and deduplicated, and gaps; resets
        `statistics`.

        Raises:
            InputError: the folder does not exist, cannot be listed or has no log file (at once), or
                its files contain no CloudTrail record (while reading).
        """
        return cast("Iterator[Call | Gap]", self._begun(window, principals, None))

    def read_parts(
        self, window: Window, principals: Principals, counting: Counting
    ) -> Iterator[Item]:
        """Reads like `read`, with the cache and with processes where they are worth it."""
        return self._begun(window, principals, counting)

    def _begun(
        self, window: Window, principals: Principals, counting: Counting | None
    ) -> Iterator[Item]:
        self.check()
        self.statistics = ReadStatistics()
        return self._read(window, principals, counting)

    def namesakes(self, names: Collection[str], accounts: Collection[str]) -> Counter[str]:
        """Returns the roles of these names in other accounts -> number of records in some files."""
        # Few runs ask, and a small command mostly loads modules.
        from leastpriv.cloudtrail.other_accounts import namesakes_on_disk

        return namesakes_on_disk(self.path, names, accounts)

    def check(self) -> None:
        """Raises InputError where the path is no folder of CloudTrail files, and no such file."""
        named = repr(str(self.path))
        try:
            self.path.stat()
        except FileNotFoundError:
            home = (
                " (~ is not expanded: write the whole path)"
                if str(self.path).startswith("~")
                else ""
            )
            meant = home or _what_was_meant(self.path)
            raise InputError(
                f"trails: there is no file or folder {named}{meant}: name a folder of CloudTrail"
                " files."
            ) from None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                length = len(str(self.path))
                raise InputError(
                    f"trails: a path of {length:,} characters is too long for this system: it"
                    f" begins with {str(self.path)[:60]!r}; name a shorter one."
                ) from error
            raise InputError(f"trails: {named} cannot be read: {error}.") from error
        if self.path.is_file() and _is_zip(self.path):
            raise InputError(
                f"trails: {named} is a zip archive: unpack it, and name the folder of its files."
            )
        store = LocalStore(self.path)
        is_empty = store.is_empty()
        refused = store.unlisted.get(str(self.path))
        if refused:
            raise InputError(
                f"trails: the folder {named} cannot be read: {refused.strerror or refused}."
            ) from refused
        if is_empty:
            zips = next(self.path.rglob("*.zip"), None) if self.path.is_dir() else None
            if zips:
                raise InputError(
                    f"trails: {named} has zip archives ({zips.name}) and no CloudTrail file: unpack"
                    " them."
                )
            raise InputError(
                f"trails: {named} has no CloudTrail file (*.json.gz, *.json, *.jsonl, *.csv): name"
                " the folder that holds AWSLogs/, or any folder of such files."
            )

    def _read(
        self, window: Window, principals: Principals, counting: Counting | None
    ) -> Iterator[Item]:
        store, statistics = LocalStore(self.path, principals.accounts), self.statistics
        options = ReadOptions(window, principals, self._survey, self._max_decompressed)
        name = f"{self.path}{'' if self._survey else ', calls alone'}"
        cache = open_cache(self._cache, name, principals) if counting else None
        seen_events = self._shared or EventDeduplicator()
        reading = Prefetcher(store, options, statistics, seen_events, counting, cache)
        with closing(reading):
            for part in reading.queued(store.list(window)):
                yield from reading.items(part)
            reading.finish()
        for folder, error in store.unlisted.items():
            region = region_of_path(f"{folder}/_")
            shown_folder = shown_path(self.path, str(folder))
            detail = f"{shown_folder}: it cannot be listed: {error.strerror or error}"
            yield Gap(GapKind.UNREADABLE_FILE, Scope(regions=(region,) if region else ()), detail)
        if not statistics.files and store.is_empty():
            names = ", ".join(sorted(principals.accounts or ()))
            yield Gap(
                GapKind.SOURCE_FAILED,
                Scope(),
                f"{shown_path(self.path, str(self.path))}: it has no folder of the account {names}",
            )
        if statistics.files and statistics.foreign_files == statistics.files:
            raise InputError(
                f"trails: none of the {statistics.files} JSON files in {str(self.path)!r}"
                " holds a CloudTrail record: name a folder of CloudTrail files."
            )


_ZIP = b"PK\x03\x04"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
"""Names of buckets (Amazon S3 user guide, "General purpose bucket naming rules", 2026-11-24)."""


def _what_was_meant(path: Path) -> str:
    """Returns the other source that a missing path resembles, in brackets; empty without one."""
    meant = did_you_mean(str(path), ["event-history"])
    if re.match(r"https?:", str(path)):
        return " (a bucket is s3://BUCKET/PREFIX, without the host of S3)"
    if meant or not _BUCKET.fullmatch(str(path)):
        return meant
    return f" (a bucket is s3://{path})"
