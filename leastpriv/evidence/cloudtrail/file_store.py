"""Finds CloudTrail files in folders and buckets by their paths and keys (pure)."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from leastpriv.aws.arns import Window

# File names: "CloudTrail log file examples" of the CloudTrail User Guide (read 2026-11-24). Whole keys:
# AWSLogs/[o-xxx/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_RANDOM.json.gz
_SUFFIXES = (".json.gz", ".json", ".jsonl", ".jsonl.gz")
_OTHER_LOGS = ("CloudTrail-Digest", "CloudTrail-Insight")
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)(?:_|\.)")
_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}", re.ASCII)
_REGION_IN_NAME = re.compile(rf"_CloudTrail_({_REGION.pattern})_", re.ASCII)
_REGION_IN_FOLDER = re.compile(rf"/CloudTrail/({_REGION.pattern})/", re.ASCII)
_ACCOUNTS = re.compile(r"/AWSLogs(?:/o-[a-z0-9]{10,32})?\Z", re.ASCII)
"""Parents of the account folders."""
_ACCOUNT = re.compile(r"\d{12}", re.ASCII)
_PART_OF_DATE = (
    re.compile(r"\d{4}"),
    re.compile(r"(?:0[1-9]|1[0-2])"),
    re.compile(r"(?:0[1-9]|[12]\d|3[01])"),
)
DELIVERY_DELAY = timedelta(days=1)
"""A folder is named by the day of delivery, and a file "can contain records written at any point before that time"
(same page). One day is our limit: records delivered later are missed where a window ends early."""
_NAMES_AT_ONCE = 20_000
"""Names of one folder in memory at a time."""


@dataclass(frozen=True, slots=True, order=True)
class TrailFile:
    """One log file, ordered by the time in its path or name."""

    stamp: str
    path: Path

    @property
    def region(self) -> str:
        """The region in its name or folder, else empty."""
        return region_of_path(self.path.as_posix())


def region_of_path(path: str) -> str:
    """Returns the region in the path or key of a log file, else empty."""
    found = _REGION_IN_NAME.search(path.rpartition("/")[2]) or _REGION_IN_FOLDER.search(path)
    return found[1] if found else ""


OnError = Callable[[Path, OSError], None]


def find_log_files(
    top: Path, window: Window, on_error: OnError, accounts: Container[str] | None = None
) -> Iterator[TrailFile]:
    """Finds the log files below `top`, oldest first over all regions of these accounts (`None`: all accounts).

    Folders of other accounts below `AWSLogs`, and day folders outside the window, are not opened. Memory holds the
    first names of each open folder, one per account and region. Files without a time in their name come first in their
    folder. A folder that cannot be listed is passed to `on_error`.
    """
    if top.is_file():
        return iter((TrailFile("", top),))
    return _FolderWalk(window, on_error, accounts).folder(top, (), ())


def has_log_file(top: Path, on_error: OnError, accounts: Container[str] | None = None) -> bool:
    """Whether there is any log file, in any window."""
    return next(find_log_files(top, Window(), on_error, accounts), None) is not None


def is_log_file_name(name: str) -> bool:
    """Whether a name is a log file's: digests and insights are other logs of CloudTrail."""
    return (
        name.endswith(_SUFFIXES) and not name.startswith(".") and not any(f"_{other}_" in name for other in _OTHER_LOGS)
    )


class _FolderWalk:
    def __init__(self, window: Window, on_error: OnError, accounts: Container[str] | None) -> None:
        self._first = _day(window.start - DELIVERY_DELAY) if window.start and window.start.year > 1 else ""
        self._last = _day(window.end + DELIVERY_DELAY) if window.end and window.end.year < 9999 else "99999999"
        self._on_error = on_error
        self._accounts = accounts

    def folder(self, path: Path, date: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[TrailFile]:
        """Yields all files below; `date`: date parts at the end of the path, `above`: the parent folders."""
        try:
            status = path.stat()
            with os.scandir(path) as entries:
                folders = sorted(entry.name for entry in entries if entry.is_dir() and entry.name not in _OTHER_LOGS)
        except OSError as error:
            self._on_error(path, error)
            return
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link back to a parent folder
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
        # Only below a region, as CloudTrail writes it: elsewhere the date may be the day of an export.
        below_region = len(date) == 3 and _REGION.fullmatch(path.parent.parent.name)
        return bool(below_region) and not self._first <= "".join(date) <= self._last

    def _files(self, path: Path, date: tuple[str, ...]) -> Iterator[TrailFile]:
        """Yields the folder's own files in order, some thousands at a time: a flat folder may contain millions."""
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
                self._on_error(path, error)
                return
            yield from (TrailFile(stamp, path / name) for stamp, name in batch)
            if len(batch) < _NAMES_AT_ONCE:
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


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Key, ETag and size of a stored log file."""

    key: str
    etag: str
    """As listed, with quotes; for a local file its size and time. It changes when the file changes."""
    size: int
    """Bytes as stored, compressed."""


# Keys: as above; an organization trail has its id below AWSLogs/ ("Creating a trail for an organization" of the
# CloudTrail User Guide, read 2026-11-24).
_REGION_NAME = r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}"
_ACCOUNT_FOLDER = re.compile(r"\d{12}/", re.ASCII)
_ORGANIZATION_FOLDER = re.compile(r"o-[a-z0-9]{10,32}/", re.ASCII)
_REGION_FOLDER = re.compile(rf"{_REGION_NAME}/", re.ASCII)
_ACCOUNT_IN_KEY = re.compile(r"(?:^|/)(?P<account>\d{12})/(?:CloudTrail/|$)", re.ASCII)
_OWN_ACCOUNT = re.compile(r"/AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/$", re.ASCII)
_BELOW_REGION = re.compile(rf"/CloudTrail/(?P<region>{_REGION_NAME})/(?P<days>.*)", re.ASCII)
_DAY = re.compile(r"(?:^|/)(\d{4}/\d{2}/\d{2})/", re.ASCII)
# A table's template has `${account}` in place of the account.
_DELIVERED = re.compile(r"^(?:(?P<top>.*?)/)?AWSLogs/(?P<organization>o-[a-z0-9]{10,32}/)?(?:\d{12}|\$\{)", re.ASCII)
_PART_OF_A_DAY = re.compile(r"\d{4}(?:/\d{2}(?:/\d{2})?)?")


@dataclass(frozen=True, slots=True)
class LogPrefix:
    """A prefix that is listed as one: an account and region, or a folder of another layout."""

    prefix: str
    account: str = ""
    region: str = ""
    dated: bool = False
    """Folders of year, month and day follow the prefix."""


@dataclass(frozen=True, slots=True)
class DeliveryLocation:
    """The delivery location of a trail, which distinguishes the trails of one bucket."""

    prefix: str
    """`S3KeyPrefix`: the key before `AWSLogs/`, without a trailing slash."""
    organization: bool
    """Below an organization's id."""


def delivery_location(key: str) -> DeliveryLocation | None:
    """Returns the delivery location of a key or of an account folder; None for another layout."""
    found = _DELIVERED.match(key)
    return DeliveryLocation((found["top"] or "").strip("/"), bool(found["organization"])) if found else None


def location_parts(place: str) -> tuple[str, str, str]:
    """The account, region and days (`2026/11`) of a prefix; each empty where the prefix includes all."""
    below = _BELOW_REGION.search(f"/{place.strip('/')}/")
    days = _PART_OF_A_DAY.match(below["days"]) if below else None
    return _account(f"{place.strip('/')}/"), below["region"] if below else "", days[0] if days else ""


def find_log_prefixes(
    folders: Callable[[Sequence[str]], Sequence[tuple[str, ...]]], prefix: str, accounts: frozenset[str] | None
) -> tuple[LogPrefix, ...]:
    """Finds the log prefixes below a prefix, sorted, of these accounts (None: all).

    `folders` returns the folders directly below each of some prefixes, with trailing slashes; its errors are raised. It
    is called once per level of CloudTrail's layout.
    """
    found: list[LogPrefix] = []
    level = [prefix]
    while level:
        known = {path: region for path in level if (region := _BELOW_REGION.search(f"/{path}"))}
        found.extend(
            LogPrefix(path, _account(path), region["region"], dated=not region["days"])
            for path, region in known.items()
        )
        unknown = [path for path in level if path not in known]
        level = []
        for path, below in zip(unknown, folders(unknown) if unknown else (), strict=True):
            following = _following(path, below, accounts)
            if following is None:
                found.append(LogPrefix(path))
            level.extend(following or ())
    return tuple(sorted(found, key=lambda branch: branch.prefix))


def _following(prefix: str, below: tuple[str, ...], accounts: frozenset[str] | None) -> list[str] | None:
    """The folders that lead to log prefixes; `None`: the prefix is one."""
    if not prefix.endswith(("AWSLogs/", "/CloudTrail/")) and f"{prefix}AWSLogs/" in below:
        return [f"{prefix}AWSLogs/"]
    names = {path: path.removeprefix(prefix) for path in below}
    chosen = [path for path, name in names.items() if _leads_on(prefix, name)]
    if not chosen and not _is_own(prefix):
        return None
    return [
        # The next level has a known name, so the folder need not be listed.
        f"{path}CloudTrail/" if _OWN_ACCOUNT.search(f"/{path}") else path
        for path in chosen
        if accounts is None or not _ACCOUNT_FOLDER.fullmatch(names[path]) or names[path].rstrip("/") in accounts
    ]


def _leads_on(prefix: str, name: str) -> bool:
    """Whether a folder is the next level of CloudTrail's layout."""
    if prefix.endswith("/CloudTrail/"):
        return _REGION_FOLDER.fullmatch(name) is not None
    if _ACCOUNT_IN_KEY.search(prefix):
        return name == "CloudTrail/"
    return bool(_ACCOUNT_FOLDER.fullmatch(name) or _ORGANIZATION_FOLDER.fullmatch(name))


def _is_own(prefix: str) -> bool:
    """Whether CloudTrail's layout continues below: other folders there are logs of other services."""
    return prefix.endswith(("AWSLogs/", "/CloudTrail/")) or _OWN_ACCOUNT.search(f"/{prefix}") is not None


def _account(prefix: str) -> str:
    found = _ACCOUNT_IN_KEY.search(prefix)
    return found["account"] if found else ""


@dataclass(frozen=True, slots=True)
class DayRange:
    """The days whose folders may contain records of a window."""

    first: str
    """`2026/11/03`; empty: no limit."""
    last: str

    @classmethod
    def of(cls, window: Window) -> DayRange:
        """Returns the days of a window plus one on either side, since files may be delivered late."""
        first = _day_in_place(window.start, -DELIVERY_DELAY) if window.start and window.start.year > 1 else ""
        last = _day_in_place(window.end, DELIVERY_DELAY) if window.end and window.end.year < 9999 else "9999/99/99"
        return cls(first, last)

    def start_after(self, branch: LogPrefix) -> str:
        """The key after which the listing of a prefix begins; empty: at its beginning."""
        return f"{branch.prefix}{self.first}" if branch.dated and self.first else ""

    def ends_before(self, branch: LogPrefix, key: str) -> bool:
        """Whether a key of the prefix, and so every following key, is after the last day."""
        return branch.dated and key.removeprefix(branch.prefix)[:10] > self.last

    def excludes(self, key: str) -> bool:
        """Whether a key of CloudTrail's layout is of another day."""
        found = _BELOW_REGION.search(key)
        day = found["days"][:10] if found else ""
        return re.fullmatch(r"\d{4}/\d\d/\d\d", day) is not None and not self.first <= day <= self.last


def key_order(key: str) -> tuple[str, str] | None:
    """Orders keys of all prefixes by time; None for a digest, an insight or another file."""
    name = key.rpartition("/")[2]
    if not is_log_file_name(name) or "/CloudTrail-" in key:
        return None
    day = _DAY.search(key)
    return sort_key(name, day[1].replace("/", "") if day else "")[0], key


def _day_in_place(time: datetime, shift: timedelta) -> str:
    return f"{time + shift:%Y/%m/%d}"
