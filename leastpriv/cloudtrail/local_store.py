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
from typing import BinaryIO, NamedTuple, cast

from leastpriv.atomic_file import open_regular
from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.file_reader import EventDeduplicator
from leastpriv.cloudtrail.file_store import (
    ORGANIZATION,
    OTHER_LOGS,
    REGION,
    DayRange,
    FileOrder,
    StoredFile,
    is_log_file_name,
    region_of_path,
)
from leastpriv.cloudtrail.parts import Counting, Item
from leastpriv.cloudtrail.prefetch import Prefetcher, open_cache
from leastpriv.cloudtrail.record_reader import ReadOptions
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import InputError, did_you_mean
from leastpriv.models import Call, Gap, GapKind, Scope

_REGION = re.compile(REGION, re.ASCII)
_PARENT_OF_ACCOUNTS = re.compile(rf"/AWSLogs(?:/{ORGANIZATION})?\Z", re.ASCII)
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


class _FolderId(NamedTuple):
    """Identifies a folder, whatever its path."""

    device: int
    number: int


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
        if self._top.is_file():
            yield _stored_file(str(self._top))
            return
        for file in self._walk(DayRange.of(window), self._top, (), ()):
            yield _stored_file(file.name)

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
        self, days: DayRange, path: Path, date: tuple[str, ...], above: tuple[_FolderId, ...]
    ) -> Iterator[FileOrder]:
        """Yields the times and paths of all files below, in their order.

        Left out are links back to a parent folder, folders of other accounts, and days outside
        the window. The folder of a day is listed after the files of the days before it.

        Args:
            days: The days that are read.
            path: The folder.
            date: The parts of a date at the end of the path: `("2026", "11")`.
            above: The parent folders.
        """
        try:
            status = path.stat()
            names = self._folders_in(path)
        except OSError as error:
            self.unlisted[str(path)] = error
            return
        folder_id = _FolderId(status.st_dev, status.st_ino)
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
        if self._accounts is None or not _PARENT_OF_ACCOUNTS.search(
            f"/{path.absolute().as_posix()}"
        ):
            return names
        return [name for name in names if not _ACCOUNT.fullmatch(name) or name in self._accounts]

    def _files(self, path: Path, date: tuple[str, ...]) -> Iterator[FileOrder]:
        """Yields the folder's own files in order, some thousands at a time: a flat folder may
        contain millions.
        """
        day = "".join(date) if len(date) == 3 else ""
        last = FileOrder("", "")
        while True:
            try:
                with os.scandir(path) as entries:
                    files = (
                        FileOrder.of(entry.name, day)
                        for entry in entries
                        if is_log_file_name(entry.name) and not entry.is_dir()
                    )
                    batch = heapq.nsmallest(_NAMES_AT_ONCE, (file for file in files if file > last))
            except OSError as error:
                self.unlisted[str(path)] = error
                return
            yield from (FileOrder(file.time, f"{path}{os.sep}{file.name}") for file in batch)
            if len(batch) < _NAMES_AT_ONCE:
                return
            last = batch[-1]


def _stored_file(path: str) -> StoredFile:
    """Returns a file with its size and time; one that cannot be read has neither."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path of each file takes as long again
    except (OSError, ValueError):
        return StoredFile(path, "", 0)
    return StoredFile(path, f"{status.st_size} {status.st_mtime_ns}", status.st_size)


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
    ) -> None:
        """`seen` is shared by folders that may contain copies of records; `cache` keeps what was
        counted (`read_parts`) between runs.

        `survey` False: only the targets' calls count. Coverage of all records, and damage in
        records without a target's name, are then not reported, and reading is several times as
        fast.
        """
        self.path = path
        self.statistics = ReadStatistics()
        self._shared = seen
        self._survey = survey
        self._cache = cache

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads calls in the window, roughly oldest first and deduplicated, and gaps; resets
        `statistics`.

        Raises:
            InputError: the folder does not exist, cannot be listed or has no log file (at once), or
                its files contain no CloudTrail record (while reading).
        """
        return cast("Iterator[Call | Gap]", self.read_parts(window, principals, None))

    def read_parts(
        self, window: Window, principals: Principals, counting: Counting | None
    ) -> Iterator[Item]:
        """Reads like `read`, with the cache and with processes where they are worth it; None:
        without both.
        """
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
        _check_path(self.path)
        named = repr(str(self.path))
        if self.path.is_file() and _is_zip(self.path):
            raise InputError(
                f"trails: {named} is a zip archive: unpack it, and name the folder of its files."
            )
        store = LocalStore(self.path)
        is_empty = store.is_empty()
        error = store.unlisted.get(str(self.path))
        if error:
            raise InputError(
                f"trails: the folder {named} cannot be read: {error.strerror or error}."
            ) from error
        if not is_empty:
            return
        zip_file = next(self.path.rglob("*.zip"), None) if self.path.is_dir() else None
        if zip_file:
            raise InputError(
                f"trails: {named} has zip archives ({zip_file.name}) and no CloudTrail file: unpack"
                " them."
            )
        raise InputError(
            f"trails: {named} has no CloudTrail file (*.json.gz, *.json, *.jsonl, *.csv): name"
            " the folder that holds AWSLogs/, or any folder of such files."
        )

    def _read(
        self, window: Window, principals: Principals, counting: Counting | None
    ) -> Iterator[Item]:
        store = LocalStore(self.path, principals.accounts)
        statistics = self.statistics
        name = f"{self.path}{'' if self._survey else ', calls alone'}"
        files = Prefetcher(
            store=store,
            options=ReadOptions(window, principals, self._survey),
            statistics=statistics,
            seen=self._shared or EventDeduplicator(),
            counting=counting,
            cache=open_cache(self._cache, name, principals, counting) if counting else None,
        )
        with closing(files):
            for part in files.queued(store.list(window)):
                yield from files.items(part)
            files.finish()
        for folder, error in store.unlisted.items():
            yield self._unlisted_gap(folder, error)
        if not statistics.files and store.is_empty():
            account_names = ", ".join(sorted(principals.accounts or ()))
            top = shown_path(self.path, str(self.path))
            detail = f"{top}: it has no folder of the account {account_names}"
            yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
        if statistics.files and statistics.foreign_files == statistics.files:
            raise InputError(
                f"trails: none of the {statistics.files} JSON files in {str(self.path)!r}"
                " holds a CloudTrail record: name a folder of CloudTrail files."
            )

    def _unlisted_gap(self, folder: str, error: OSError) -> Gap:
        """The gap of a folder that could not be listed."""
        region = region_of_path(f"{folder}/_")
        scope = Scope(regions=(region,) if region else ())
        reason = f"it cannot be listed: {error.strerror or error}"
        return Gap(GapKind.UNREADABLE_FILE, scope, f"{shown_path(self.path, folder)}: {reason}")


def _check_path(path: Path) -> None:
    """Raises InputError where there is no such path, or it cannot be read."""
    named = repr(str(path))
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(
            f"trails: there is no file or folder {named}{_what_was_meant(path)}: name a folder of"
            " CloudTrail files."
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            length = len(str(path))
            raise InputError(
                f"trails: a path of {length:,} characters is too long for this system: it"
                f" begins with {str(path)[:60]!r}; name a shorter one."
            ) from error
        raise InputError(f"trails: {named} cannot be read: {error}.") from error


_ZIP = b"PK\x03\x04"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
"""Names of buckets (Amazon S3 user guide, "General purpose bucket naming rules", 2026-11-24)."""


def _what_was_meant(path: Path) -> str:
    """Returns what a missing path seems to mean, in brackets; empty where it is unknown."""
    text = str(path)
    if text.startswith("~"):
        return " (~ is not expanded: write the whole path)"
    if re.match(r"https?:", text):
        return " (a bucket is s3://BUCKET/PREFIX, without the host of S3)"
    similar_source = did_you_mean(text, ["event-history"])
    if similar_source or not _BUCKET.fullmatch(text):
        return similar_source
    return f" (a bucket is s3://{path})"
