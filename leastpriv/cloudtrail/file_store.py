"""The interface of stores of log files, and what paths and keys of CloudTrail say (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import BinaryIO, NamedTuple, Protocol

from msgspec import Struct

from leastpriv.aws.arns import Window

# File names: "CloudTrail log file examples" of the CloudTrail User Guide (read 2026-11-24). Whole
# keys, an organization trail with its id ("Creating a trail for an organization" of the same guide,
# read 2026-11-24):
# AWSLogs/[o-xxx/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/
#   ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHMMZ_RANDOM.json.gz
_SUFFIXES = (".json.gz", ".json", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")
_EXPORTED = re.compile(r"\d{6}\.gz", re.ASCII)
"""A file of an export of CloudWatch Logs."""
OTHER_LOGS = ("CloudTrail-Digest", "CloudTrail-Insight")
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)(?:_|\.)")
REGION = r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}"
"""The form of a region in names of folders and files."""
ORGANIZATION = r"o-[a-z0-9]{10,32}"
"""The form of an organization's id."""
_REGION_IN_NAME = re.compile(rf"_CloudTrail_({REGION})_", re.ASCII)
_BELOW_REGION = re.compile(rf"/CloudTrail/(?P<region>{REGION})/(?P<days>.*)", re.ASCII)
DELIVERY_DELAY = timedelta(days=1)
"""A folder is named by the day of delivery, and a file "can contain records written at any point
before that time" (same page). One day is our limit: records delivered later are missed where a
window ends early."""


class StoredFile(Struct, frozen=True):
    """Key, ETag and size of a stored log file."""

    key: str
    """Key in its bucket, or path."""
    etag: str
    """As listed, with quotes; for a local file its size and time. It changes when the file changes.
    """
    size: int
    """Bytes as stored, compressed."""


class FileStore(Protocol):
    """A place of log files: a folder or a bucket."""

    @property
    def at_once(self) -> int:
        """Best number of concurrent fetches; 0: a file is read where it is, and the store can be
        pickled.
        """
        ...  # pragma: no cover

    def list(self, window: Window) -> Iterator[StoredFile]:
        """Yields the log files of a window, oldest first over all regions."""
        ...  # pragma: no cover

    def fetch(self, stored: StoredFile) -> bytes:
        """Returns the content of a file; raises `AwsError`."""
        ...  # pragma: no cover

    def open(self, stored: StoredFile) -> BinaryIO:
        """Opens a file; raises `AwsError` or `OSError`."""
        ...  # pragma: no cover

    def name_of(self, stored: StoredFile) -> str:
        """The name of a file in messages."""
        ...  # pragma: no cover


def region_of_path(path: str) -> str:
    """Returns the region in the path or key of a log file, else empty."""
    region_match = _REGION_IN_NAME.search(path.rpartition("/")[2])
    if region_match:
        return region_match[1]
    below = _BELOW_REGION.search(path)
    return below["region"] if below else ""


def trail_of(key: str) -> str:
    """Returns the account and region in a log file's name, `111122223333_CloudTrail_eu-west-1`;
    empty where it has another form.
    """
    name = key.rpartition("/")[2]
    stamp = _STAMP.search(name)
    return name[: stamp.start()] if stamp else ""


def is_log_file_name(name: str) -> bool:
    """Whether a name is a log file's: digests and insights are other logs of CloudTrail."""
    return (
        (name.endswith(_SUFFIXES) or _EXPORTED.fullmatch(name) is not None)
        and not name.startswith(".")
        and not any(f"_{log_name}_" in name for log_name in OTHER_LOGS)
    )


class FileOrder(NamedTuple):
    """Orders log files by time, and files of one time by name."""

    time: str
    """`20261103T1010Z`, or the day of its folder, `20261103`; empty where neither is known."""
    name: str
    """Name, key or path."""

    @classmethod
    def of(cls, name: str, day: str) -> FileOrder:
        """Returns the order of a file by the time in its name, else by the day of its folder."""
        stamp = _STAMP.search(name)
        return cls(stamp[1] if stamp else day, name)


_ACCOUNT_FOLDER = re.compile(r"\d{12}/", re.ASCII)
_ORGANIZATION_FOLDER = re.compile(rf"{ORGANIZATION}/", re.ASCII)
_REGION_FOLDER = re.compile(rf"{REGION}/", re.ASCII)
_ACCOUNT_IN_KEY = re.compile(r"(?:^|/)(?P<account>\d{12})/(?:CloudTrail/|$)", re.ASCII)
_OWN_ACCOUNT = re.compile(r"/AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/$", re.ASCII)
_IN_AN_ACCOUNT = re.compile(r"/AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/", re.ASCII)
_DAY = re.compile(r"(?:^|/)(\d{4}/\d{2}/\d{2})/", re.ASCII)
# A table's template has `${account}` in place of the account.
_DELIVERED = re.compile(
    rf"^(?:(?P<top>.*?)/)?AWSLogs/(?P<organization>{ORGANIZATION}/)?(?:\d{{12}}|\$\{{)", re.ASCII
)
_PART_OF_A_DAY = re.compile(r"\d{4}(?:/\d{2}(?:/\d{2})?)?")


class LogPrefix(Struct, frozen=True):
    """A prefix that is listed as one: an account and region, or a folder of another layout."""

    prefix: str
    account: str = ""
    region: str = ""
    dated: bool = False
    """Folders of year, month and day follow the prefix."""


class DeliveryLocation(Struct, frozen=True):
    """The delivery location of a trail, which distinguishes the trails of one bucket."""

    prefix: str
    """`S3KeyPrefix`: the key before `AWSLogs/`, without a trailing slash."""
    organization: bool
    """Below an organization's id."""


def delivery_location(key: str) -> DeliveryLocation | None:
    """Returns the delivery location of a key or of an account folder; None for another layout."""
    location = _DELIVERED.match(key)
    if location is None:
        return None
    return DeliveryLocation((location["top"] or "").strip("/"), bool(location["organization"]))


class LocationParts(NamedTuple):
    """What a prefix of log files is limited to; each is empty where the prefix includes all."""

    account: str
    region: str
    days: str
    """`2026`, `2026/11` or `2026/11/03`."""


def location_parts(place: str) -> LocationParts:
    """Returns what a prefix is limited to."""
    folder = f"{place.strip('/')}/"
    account = _account(folder)
    below = _BELOW_REGION.search(f"/{folder}")
    if below is None:
        return LocationParts(account, "", "")
    days = _PART_OF_A_DAY.match(below["days"])
    return LocationParts(account, below["region"], days[0] if days else "")


def is_of_one_account(prefix: str) -> bool:
    """Whether a prefix in CloudTrail's layout is the folder of an account, or below it."""
    return _IN_AN_ACCOUNT.search(f"/{prefix}/") is not None


def find_log_prefixes(
    folders: Callable[[Sequence[str]], Sequence[tuple[str, ...]]],
    prefix: str,
    accounts: frozenset[str] | None,
) -> tuple[LogPrefix, ...]:
    """Finds the log prefixes below a prefix, sorted, of these accounts (None: all).

    `folders` returns the folders directly below each of some prefixes, with trailing slashes; its
    errors are raised. It is called once per level of CloudTrail's layout.
    """
    prefixes: list[LogPrefix] = []
    level = [prefix]
    while level:
        regions = {path: region for path in level if (region := _BELOW_REGION.search(f"/{path}"))}
        prefixes.extend(
            LogPrefix(path, _account(path), region["region"], dated=not region["days"])
            for path, region in regions.items()
        )
        unknown = [path for path in level if path not in regions]
        level = []
        for path, below in zip(unknown, folders(unknown) if unknown else (), strict=True):
            following = _following(path, below, accounts)
            if following is None:
                prefixes.append(LogPrefix(path))
            level.extend(following or ())
    return tuple(sorted(prefixes, key=lambda branch: branch.prefix))


def _following(
    prefix: str, below: tuple[str, ...], accounts: frozenset[str] | None
) -> list[str] | None:
    """The folders that lead to log prefixes; `None`: the prefix is one."""
    if not prefix.endswith(("AWSLogs/", "/CloudTrail/")) and f"{prefix}AWSLogs/" in below:
        return [f"{prefix}AWSLogs/"]
    names = {path: path.removeprefix(prefix) for path in below}
    followed = [path for path, name in names.items() if _leads_on(prefix, name)]
    # Where CloudTrail's layout continues below, other folders are logs of other services.
    if not followed and not (
        prefix.endswith(("AWSLogs/", "/CloudTrail/")) or _OWN_ACCOUNT.search(f"/{prefix}")
    ):
        return None
    return [
        # The next level has a known name, so the folder need not be listed.
        f"{path}CloudTrail/" if _OWN_ACCOUNT.search(f"/{path}") else path
        for path in followed
        if accounts is None
        or not _ACCOUNT_FOLDER.fullmatch(names[path])
        or names[path].rstrip("/") in accounts
    ]


def _leads_on(prefix: str, name: str) -> bool:
    """Whether a folder is the next level of CloudTrail's layout."""
    if prefix.endswith("/CloudTrail/"):
        return _REGION_FOLDER.fullmatch(name) is not None
    if _ACCOUNT_IN_KEY.search(prefix):
        return name == "CloudTrail/"
    return bool(_ACCOUNT_FOLDER.fullmatch(name) or _ORGANIZATION_FOLDER.fullmatch(name))


def _account(prefix: str) -> str:
    account_match = _ACCOUNT_IN_KEY.search(prefix)
    return account_match["account"] if account_match else ""


LAST_DAY = "9999/99/99"
"""After every day in a key."""


class DayRange(Struct, frozen=True):
    """The days whose folders may contain records of a window."""

    first: str
    """`2026/11/03`; empty: no limit."""
    last: str

    @classmethod
    def of(cls, window: Window) -> DayRange:
        """Returns the days of a window plus one on either side, since files may be delivered
        late.
        """
        first, last = "", LAST_DAY
        if window.start and window.start.year > datetime.min.year:
            first = f"{window.start - DELIVERY_DELAY:%Y/%m/%d}"
        if window.end and window.end.year < datetime.max.year:
            last = f"{window.end + DELIVERY_DELAY:%Y/%m/%d}"
        return cls(first, last)

    def start_after(self, branch: LogPrefix) -> str:
        """The key after which the listing of a prefix begins; empty: at its beginning."""
        return f"{branch.prefix}{self.first}" if branch.dated and self.first else ""

    def ends_before(self, branch: LogPrefix, key: str) -> bool:
        """Whether a key of the prefix, and so every following key, is after the last day."""
        return branch.dated and key.removeprefix(branch.prefix)[:10] > self.last

    def excludes(self, key: str) -> bool:
        """Whether a key of CloudTrail's layout is of another day."""
        region_match = _BELOW_REGION.search(key)
        if region_match is None:
            return False
        day = region_match["days"][:10]
        is_day = re.fullmatch(r"\d{4}/\d\d/\d\d", day) is not None
        return is_day and not self.first <= day <= self.last


def key_order(key: str) -> FileOrder | None:
    """Orders keys of all prefixes by time; None for a digest, an insight or another file."""
    name = key.rpartition("/")[2]
    if not is_log_file_name(name) or "/CloudTrail-" in key:
        return None
    day = _DAY.search(key)
    time = FileOrder.of(name, day[1].replace("/", "") if day else "").time
    return FileOrder(time, key)
