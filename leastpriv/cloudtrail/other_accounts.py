"""Looks for roles of some names in the folders of other accounts, which a scan does not read.

A trail of an organization has a folder for each account, on disk or in its bucket. Some recent
files of each show whether a role of the same name works there.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

from leastpriv.cloudtrail.file_store import LogPrefix, is_log_file_name
from leastpriv.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.errors import AwsError

if TYPE_CHECKING:
    from leastpriv.cloudtrail.s3_bucket import Bucket

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}", re.ASCII)
_MOST_FILES = 400
_FILES_OF_A_REGION = 2
_MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a file that are searched."""
_RECENT = timedelta(days=7)
"""The objects of a bucket that are searched are of these days."""
_AT_ONCE = 16


@runtime_checkable
class ManyAccounts(Protocol):
    """A source of evidence that may have the records of further accounts."""

    def namesakes(self, names: Collection[str], accounts: Collection[str]) -> Counter[str]:
        """Returns the roles of these names in other accounts -> number of records in some files."""


def namesakes_on_disk(
    folder: Path, names: Collection[str], accounts: Collection[str]
) -> Counter[str]:
    """Returns the roles of these names in the folders of other accounts -> number of records in the
    newest files. Never raises for a file that cannot be read.
    """
    role = _role_pattern(names)
    calls_by_arn: Counter[str] = Counter()
    files = (
        file
        for account_folder in _account_folders(folder)
        if account_folder.name not in accounts
        for file in _newest_files(account_folder / "CloudTrail")
    )
    for file in islice(files, _MOST_FILES):
        calls_by_arn.update(role.findall(_text_of_file(file)))
    return _without(calls_by_arn, accounts)


def namesakes_in_bucket(
    bucket: Bucket, prefix: str, names: Collection[str], accounts: Collection[str], now: datetime
) -> Counter[str]:
    """Returns the roles of these names in the folders of other accounts below a prefix of a bucket
    -> number of records in some files of the last days.

    Raises AwsError where the accounts cannot be listed; a folder or file that cannot be read has
    none.
    """
    role = _role_pattern(names)
    calls_by_arn: Counter[str] = Counter()
    other_prefixes = [
        prefix_found
        for prefix_found in bucket.find_prefixes(prefix, None)
        if prefix_found.dated and prefix_found.account not in (*accounts, "")
    ]
    sampled = other_prefixes[: _MOST_FILES // _FILES_OF_A_REGION]
    if not sampled:
        return calls_by_arn
    with closing(DaemonThreadPool(min(len(sampled), _AT_ONCE))) as fetchers:
        text_tasks = [
            fetchers.submit(partial(_recent_texts, bucket, sample, now)) for sample in sampled
        ]
        for answer in text_tasks:
            for text in answer.result():
                calls_by_arn.update(role.findall(text))
    return _without(calls_by_arn, accounts)


def _recent_texts(bucket: Bucket, branch: LogPrefix, now: datetime) -> list[str]:
    """Returns the contents of some recent files of an account and region."""
    start = f"{branch.prefix}{now - _RECENT:%Y/%m/%d}/"
    try:
        page = next(bucket.objects(branch.prefix, start), ())
    except AwsError:
        return []
    logs = [
        stored_file
        for stored_file in page
        if is_log_file_name(stored_file.key) and stored_file.size <= _MOST_BYTES
    ]
    texts: list[str] = []
    for stored in logs[-_FILES_OF_A_REGION:]:
        try:
            content = bucket.fetch(stored)
        except AwsError:
            continue
        texts.append(_text(BytesIO(content), stored.key))
    return texts


def _role_pattern(names: Collection[str]) -> re.Pattern[str]:
    """Returns the pattern of a role as the issuer of a session's keys,
    "arn:aws:iam::123456789012:role/path/NAME".
    """
    alternatives = "|".join(map(re.escape, sorted(names)))
    folders = r"(?:[!#-.0-\[\]-~]+/)*"  # without quotes and backslashes: within one JSON string
    return re.compile(rf'"(arn:aws[a-z-]*:iam::\d{{12}}:role/{folders}(?:{alternatives}))"')


def _without(found: Counter[str], accounts: Collection[str]) -> Counter[str]:
    of_other_accounts = {
        arn: count for arn, count in found.items() if arn.split(":")[4] not in accounts
    }
    return Counter(of_other_accounts)


def _account_folders(folder: Path) -> Iterator[Path]:
    """Yields the folders of accounts in CloudTrail's layout, from the folder of the trail on."""
    for top in (folder / "AWSLogs", folder):
        for below in _folders(top):
            if _ORGANIZATION.fullmatch(below.name):
                yield from (
                    account_folder
                    for account_folder in _folders(below)
                    if _is_account(account_folder)
                )
            elif _is_account(below):
                yield below


def _is_account(folder: Path) -> bool:
    return bool(_ACCOUNT.fullmatch(folder.name)) and (folder / "CloudTrail").is_dir()


def _newest_files(folder: Path) -> Iterator[Path]:
    """Yields the newest files of each region below a folder `CloudTrail`."""
    for region in _folders(folder):
        day = region
        while below := _folders(day):
            day = below[-1]
        files = sorted(entry for entry in _listed(day) if is_log_file_name(entry.name))
        yield from reversed(files[-_FILES_OF_A_REGION:])


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in _listed(folder) if entry.is_dir() and not entry.is_symlink())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text_of_file(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return _text(stream, file.name)
    except OSError:
        return ""


def _text(opened: BinaryIO, name: str) -> str:
    """Returns the first bytes of a file as text; empty where it is damaged."""
    try:
        stream = gzip.GzipFile(fileobj=opened) if name.endswith(".gz") else opened
        return stream.read(_MOST_BYTES).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""
