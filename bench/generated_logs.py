"""The records of a folder of generated logs, in objects of another size."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

Record = Mapping[str, Any]


class LogObject(Struct, frozen=True):
    """An object of a trail's bucket."""

    key: str
    records: tuple[Record, ...]

    def body(self) -> bytes:
        """Return the object as CloudTrail writes it."""
        return gzip.compress(json.dumps({"Records": self.records}).encode())


def cut(folder: Path, count: int) -> Iterator[LogObject]:
    """Yield the records of a folder in about the given number of objects.

    Args:
        folder: Has `AWSLogs/…` as CloudTrail delivers it.
        count: The number of objects.
    """
    files = sorted(folder.rglob("*.json.gz"))
    total = sum(len(_records(file)) for file in files)
    size = -(-total // count)
    for file in files:
        records = _records(file)
        name = file.relative_to(folder).as_posix().removesuffix(".json.gz")
        for start in range(0, len(records), size):
            yield LogObject(f"{name}{start:06}.json.gz", tuple(records[start : start + size]))


def _records(file: Path) -> list[Record]:
    records: list[Record] = json.loads(gzip.decompress(file.read_bytes()))["Records"]
    return records


def role_of(record: Record) -> str:
    """Return the ARN of the role that called; empty where no role did."""
    context = (record.get("userIdentity") or {}).get("sessionContext") or {}
    return str((context.get("sessionIssuer") or {}).get("arn") or "")


def usual_role(calls_by_role: Counter[str]) -> str:
    """Return the role that a quarter of the roles call more often than."""
    return calls_by_role.most_common()[len(calls_by_role) // 4][0]
