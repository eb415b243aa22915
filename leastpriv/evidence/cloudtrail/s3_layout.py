"""Where a trail's files lie in a bucket: by account and region below `AWSLogs/`, or in folders of a person's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from leastpriv.evidence.cloudtrail.trail_paths import SLACK, looks_like_trail_file, sort_key
from leastpriv.evidence.source import Window

# Keys: as in trail_paths.py; an organization trail has its id below AWSLogs/ ("Creating a trail for an organization" of
# the CloudTrail User Guide, read 2026-11-24).
_REGION = r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}"
_ACCOUNT_FOLDER = re.compile(r"\d{12}/", re.ASCII)
_ORGANIZATION_FOLDER = re.compile(r"o-[a-z0-9]{10,32}/", re.ASCII)
_REGION_FOLDER = re.compile(rf"{_REGION}/", re.ASCII)
_ACCOUNT = re.compile(r"(?:^|/)(?P<account>\d{12})/(?:CloudTrail/|$)", re.ASCII)
_OWN_ACCOUNT = re.compile(r"/AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/$", re.ASCII)
_BELOW_REGION = re.compile(rf"/CloudTrail/(?P<region>{_REGION})/(?P<days>.*)", re.ASCII)
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
    if _ACCOUNT.search(prefix):
        return name == "CloudTrail/"
    return bool(_ACCOUNT_FOLDER.fullmatch(name) or _ORGANIZATION_FOLDER.fullmatch(name))


def _is_own(prefix: str) -> bool:
    """Whether CloudTrail's layout goes on below: then other folders there are other services' logs."""
    return prefix.endswith(("AWSLogs/", "/CloudTrail/")) or _OWN_ACCOUNT.search(f"/{prefix}") is not None


def _account(prefix: str) -> str:
    found = _ACCOUNT.search(prefix)
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
        first = _day(window.start, -SLACK) if window.start and window.start.year > 1 else ""
        last = _day(window.end, SLACK) if window.end and window.end.year < 9999 else "9999/99/99"
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


def _day(time: datetime, shift: timedelta) -> str:
    return f"{time + shift:%Y/%m/%d}"
