"""Damages a folder of trail files in many ways, and fills the disk."""

from __future__ import annotations

import gzip
import json
import resource
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DAY = "eu-west-1/2026/10/15"
"""The file that is damaged: the third of six deploys."""


def _file(trail: Path) -> Path:
    [found] = trail.rglob(f"{DAY}/*.json.gz")
    return found


def _records(trail: Path) -> list[dict[str, Any]]:
    return list(json.loads(gzip.decompress(_file(trail).read_bytes()))["Records"])


def _cut(trail: Path) -> None:
    _file(trail).write_bytes(_file(trail).read_bytes()[:-40])


def _corrupt(trail: Path) -> None:
    content = bytearray(_file(trail).read_bytes())
    content[len(content) // 2] ^= 0xFF
    _file(trail).write_bytes(content)


def _other_bytes(trail: Path) -> None:
    _file(trail).write_bytes(b"<Error><Code>AccessDenied</Code></Error>")


def _empty(trail: Path) -> None:
    _file(trail).write_bytes(b"")


def _bomb(trail: Path) -> None:
    """Four gigabytes of blanks in four megabytes, after the records."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blanks = b" " * 1_048_576
    with _file(trail).open("wb") as file:
        file.write(packer.compress(b'{"Records":['))
        for _ in range(4_096):
            file.write(packer.compress(blanks))
        file.write(packer.flush())


def _huge(trail: Path) -> None:
    """A record of sixty million characters between two usual ones."""
    records = _records(trail)
    attributes = {"Policy": "x" * 60_000_000}
    records[1] = {
        **records[1],
        "requestParameters": {"queueName": "orders", "attributes": attributes},
    }
    _file(trail).write_bytes(gzip.compress(json.dumps({"Records": records}).encode(), 1))


def _deep(trail: Path) -> None:
    """A value of a hundred thousand nested lists."""
    text = json.dumps({"Records": _records(trail)})
    deep = text.replace(
        '"queueName": "orders"', '"queueName": "orders", "x": ' + "[" * 100_000 + "]" * 100_000
    )
    _file(trail).write_bytes(gzip.compress(deep.encode()))


def _broken_json(trail: Path) -> None:
    text = json.dumps({"Records": _records(trail)})
    _file(trail).write_bytes(gzip.compress(text.replace('"eventName"', '"eventName', 1).encode()))


def _without_region(trail: Path) -> None:
    for path in trail.rglob("us-east-1/**/*.json.gz"):
        path.unlink()


def _from_the_future(trail: Path) -> None:
    """The clock of this machine is a month behind AWS's, or a person wrote the records."""
    later = [
        (record, record["eventTime"].replace("2026-10-15", "2026-12-24"))
        for record in _records(trail)
    ]
    records = [{**record, "eventTime": time} for record, time in later]
    _file(trail).write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))


def _without_time(trail: Path) -> None:
    records = [{**record, "eventTime": "yesterday"} for record in _records(trail)]
    _file(trail).write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "whole": lambda _: None,
    "cut gzip": _cut,
    "corrupt gzip": _corrupt,
    "gzip bomb": _bomb,
    "another file": _other_bytes,
    "empty file": _empty,
    "huge record": _huge,
    "deep JSON": _deep,
    "broken JSON": _broken_json,
    "missing region": _without_region,
    "records of the future": _from_the_future,
    "records without a time": _without_time,
}


def full_disk(size: int) -> Callable[[], None]:
    """Before a program starts: limits the size of its files, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
