"""Looks for roles of some names in the folders of other accounts, which a scan does not read.

A trail of an organization has a folder for each account, on disk or in its bucket. Some recent
files of each show whether a role of the same name works there.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

from leastpriv.cloudtrail.file_store import LogPrefix, find_log_prefixes, is_log_file_name
from leastpriv.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.errors import AwsError

if TYPE_CHECKING:
    from leastpriv.cloudtrail.s3_bucket import Bucket

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

    def folders(paths: Sequence[str]) -> Sequence[tuple[str, ...]]:
        return [
            tuple(f"{path}{below.name}/" for below in _folders(folder / path)) for path in paths
        ]

    files = (
        file
        for branch in _other_branches(find_log_prefixes(folders, "", None), accounts)
        for file in _newest_files(folder / branch.prefix)
    )
    texts = map(_text_of_file, islice(files, _MOST_FILES))
    return _namesakes(texts, names, accounts)


def namesakes_in_bucket(
    bucket: Bucket, prefix: str, names: Collection[str], accounts: Collection[str], now: datetime
) -> Counter[str]:
    """Returns the roles of these names in the folders of other accounts below a prefix of a bucket
    -> number of records in some files of the last days.

    Raises AwsError where the accounts cannot be listed; a folder or file that cannot be read has
    none.
    """
    branches = _other_branches(bucket.find_prefixes(prefix, None), accounts)
    sampled = branches[: _MOST_FILES // _FILES_OF_A_REGION]
    if not sampled:
        return Counter()
    with closing(DaemonThreadPool(min(len(sampled), _AT_ONCE))) as fetchers:
        tasks = [fetchers.submit(_recent_texts, bucket, branch, now) for branch in sampled]
        texts = chain.from_iterable(task.result() for task in tasks)
        return _namesakes(texts, names, accounts)


def _other_branches(
    branches: Iterable[LogPrefix], accounts: Collection[str]
) -> Sequence[LogPrefix]:
    """Returns the regions of other accounts in CloudTrail's layout."""
    return [
        branch
        for branch in branches
        if branch.dated and branch.account and branch.account not in accounts
    ]


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


def _namesakes(
    texts: Iterable[str], names: Collection[str], accounts: Collection[str]
) -> Counter[str]:
    """Counts the roles of these names in other accounts as issuers of a session's keys,
    "arn:aws:iam::123456789012:role/path/NAME".
    """
    alternatives = "|".join(map(re.escape, sorted(names)))
    folders = r"(?:[!#-.0-\[\]-~]+/)*"  # without quotes and backslashes: within one JSON string
    role = re.compile(rf'"(arn:aws[a-z-]*:iam::\d{{12}}:role/{folders}(?:{alternatives}))"')
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(arn for arn in role.findall(text) if arn.split(":")[4] not in accounts)
    return counts


def _newest_files(folder: Path) -> Iterator[Path]:
    """Yields the newest files of a region, whose folders are years, months and days."""
    while below := _folders(folder):
        folder = below[-1]
    files = sorted(entry for entry in _entries(folder) if is_log_file_name(entry.name))
    yield from reversed(files[-_FILES_OF_A_REGION:])


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in _entries(folder) if entry.is_dir() and not entry.is_symlink())


def _entries(folder: Path) -> list[Path]:
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
