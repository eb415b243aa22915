"""Where CloudTrail files are, in folders and in buckets, and what their paths say (pure)."""

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


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of a listing, or one file of a folder."""

    key: str
    etag: str
    """As listed, quotes included; of a file its size and time: it is unchanged as long as this is the same."""
    size: int
    """Bytes as stored, compressed."""


# Keys: as in trail_paths.py; an organization trail has its id below AWSLogs/ ("Creating a trail for an organization" of
# the CloudTrail User Guide, read 2026-11-24).
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
class Branch:
    """Keys that are listed as one: those of an account and region, or all below a folder of another shape."""

    prefix: str
    account: str = ""
    region: str = ""
    dated: bool = False
    """Folders of year, month and day lie right below the prefix."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where a trail delivers in a bucket: what tells the trails of one bucket apart."""

    prefix: str
    """`S3KeyPrefix`: what stands before `AWSLogs/`; without a slash at its end."""
    organization: bool
    """Below an organization's id."""


def delivered(key: str) -> Delivered | None:
    """The place that a key, or a folder of an account, belongs to; None for a layout of somebody's own."""
    found = _DELIVERED.match(key)
    return Delivered((found["top"] or "").strip("/"), bool(found["organization"])) if found else None


def part_of(place: str) -> tuple[str, str, str]:
    """The account, region and days (`2026/11`) that a place lies in or below; each empty where it holds all."""
    below = _BELOW_REGION.search(f"/{place.strip('/')}/")
    days = _PART_OF_A_DAY.match(below["days"]) if below else None
    return _account(f"{place.strip('/')}/"), below["region"] if below else "", days[0] if days else ""


def branches(
    folders: Callable[[Sequence[str]], Sequence[tuple[str, ...]]], prefix: str, accounts: frozenset[str] | None
) -> tuple[Branch, ...]:
    """Branches below a place of the bucket, sorted; of these accounts only (None: of all).

    `folders` gives for each of some prefixes those right below it, each with a slash at its end; what it raises is
    raised. It is asked once for each level of CloudTrail's layout.
    """
    found: list[Branch] = []
    level = [prefix]
    while level:
        known = {path: region for path in level if (region := _BELOW_REGION.search(f"/{path}"))}
        found.extend(
            Branch(path, _account(path), region["region"], dated=not region["days"]) for path, region in known.items()
        )
        unknown = [path for path in level if path not in known]
        level = []
        for path, below in zip(unknown, folders(unknown) if unknown else (), strict=True):
            following = _following(path, below, accounts)
            if following is None:
                found.append(Branch(path))
            level.extend(following or ())
    return tuple(sorted(found, key=lambda branch: branch.prefix))


def _following(prefix: str, below: tuple[str, ...], accounts: frozenset[str] | None) -> list[str] | None:
    """The folders on the way to the branches; `None`: the prefix is one itself."""
    if not prefix.endswith(("AWSLogs/", "/CloudTrail/")) and f"{prefix}AWSLogs/" in below:
        return [f"{prefix}AWSLogs/"]
    names = {path: path.removeprefix(prefix) for path in below}
    chosen = [path for path, name in names.items() if _leads_on(prefix, name)]
    if not chosen and not _is_own(prefix):
        return None
    return [
        # Nothing else leads on from there, so it need not be listed.
        f"{path}CloudTrail/" if _OWN_ACCOUNT.search(f"/{path}") else path
        for path in chosen
        if accounts is None or not _ACCOUNT_FOLDER.fullmatch(names[path]) or names[path].rstrip("/") in accounts
    ]


def _leads_on(prefix: str, name: str) -> bool:
    """Whether a folder is the next one of CloudTrail's own layout."""
    if prefix.endswith("/CloudTrail/"):
        return _REGION_FOLDER.fullmatch(name) is not None
    if _ACCOUNT_IN_KEY.search(prefix):
        return name == "CloudTrail/"
    return bool(_ACCOUNT_FOLDER.fullmatch(name) or _ORGANIZATION_FOLDER.fullmatch(name))


def _is_own(prefix: str) -> bool:
    """Whether CloudTrail's layout goes on below: then other folders there are other services' logs."""
    return prefix.endswith(("AWSLogs/", "/CloudTrail/")) or _OWN_ACCOUNT.search(f"/{prefix}") is not None


def _account(prefix: str) -> str:
    found = _ACCOUNT_IN_KEY.search(prefix)
    return found["account"] if found else ""


@dataclass(frozen=True, slots=True)
class Days:
    """The days whose folders may hold records of a window."""

    first: str
    """`2026/11/03`; empty: from the beginning."""
    last: str

    @classmethod
    def of(cls, window: Window) -> Days:
        """With a day on either side, since a file may be delivered later than it was written."""
        first = _day_in_place(window.start, -SLACK) if window.start and window.start.year > 1 else ""
        last = _day_in_place(window.end, SLACK) if window.end and window.end.year < 9999 else "9999/99/99"
        return cls(first, last)

    def start_after(self, branch: Branch) -> str:
        """Key behind which the branch's listing begins; empty: at its beginning."""
        return f"{branch.prefix}{self.first}" if branch.dated and self.first else ""

    def ends_before(self, branch: Branch, key: str) -> bool:
        """Whether a key of the branch, and so all that follow it, lies behind the last day."""
        return branch.dated and key.removeprefix(branch.prefix)[:10] > self.last

    def leave_out(self, key: str) -> bool:
        """Whether a key of CloudTrail's own layout, wherever that begins, is of another day."""
        found = _BELOW_REGION.search(key)
        day = found["days"][:10] if found else ""
        return re.fullmatch(r"\d{4}/\d\d/\d\d", day) is not None and not self.first <= day <= self.last


def place_in_time(key: str) -> tuple[str, str] | None:
    """What orders a key among those of all branches; None for a digest, an insight or something else."""
    name = key.rpartition("/")[2]
    if not looks_like_trail_file(name) or "/CloudTrail-" in key:
        return None
    day = _DAY.search(key)
    return sort_key(name, day[1].replace("/", "") if day else "")[0], key


def _day_in_place(time: datetime, shift: timedelta) -> str:
    return f"{time + shift:%Y/%m/%d}"
