"""Looks for roles of some names in the folders of other accounts, which a scan does not read.

A trail of an organization has a folder for each account. The newest files of each show whether a
role of the same name works there.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from leastpriv.cloudtrail.file_store import is_log_file_name

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}", re.ASCII)
_MOST_FILES = 400
_FILES_OF_A_REGION = 2
_MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a file that are searched."""


def namesakes(folder: Path, names: Collection[str], accounts: Collection[str]) -> Counter[str]:
    """Returns the roles of these names in the folders of other accounts -> number of records in the
    newest files. Never raises for a file that cannot be read.
    """
    alternatives = "|".join(map(re.escape, sorted(names)))
    # The issuer of a session's keys: "arn:aws:iam::123456789012:role/path/NAME".
    role = re.compile(rf'"(arn:aws[a-z-]*:iam::\d{{12}}:role/(?:[!-.0-~]+/)*(?:{alternatives}))"')
    found: Counter[str] = Counter()
    left = _MOST_FILES
    for account in _account_folders(folder):
        if account.name in accounts:
            continue
        for file in _newest_files(account / "CloudTrail"):
            if not left:
                return found
            left -= 1
            found.update(role.findall(_text(file)))
    for arn in list(found):
        if arn.split(":")[4] in accounts:
            del found[arn]
    return found


def _account_folders(folder: Path) -> Iterator[Path]:
    """Yields the folders of accounts in CloudTrail's layout, from the folder of the trail on."""
    for top in (folder / "AWSLogs", folder):
        for below in _folders(top):
            if _ORGANIZATION.fullmatch(below.name):
                yield from (each for each in _folders(below) if _is_account(each))
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
        files = sorted(each for each in _listed(day) if is_log_file_name(each.name))
        yield from reversed(files[-_FILES_OF_A_REGION:])


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in _listed(folder) if each.is_dir() and not each.is_symlink())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            is_compressed = file.name.endswith(".gz")
            stream = gzip.GzipFile(fileobj=opened) if is_compressed else opened
            return stream.read(_MOST_BYTES).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""
