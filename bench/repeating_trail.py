"""Rewrites a generated trail so that its calls repeat, as those of a real account do.

`python -m bench.repeating_trail TRAIL FOLDER [CONTENTS]`

The generator draws names, ids and access keys for nearly each call. In the copy a role's calls of
one event, region and error have at most CONTENTS different requests, answers and resources (default
3), drawn with a fixed seed, and a role has one access key an hour. Ids, times, callers and the size
of the trail are unchanged.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_CONTENT = ("requestParameters", "responseElements", "resources", "errorMessage")
_HOUR = len("2026-11-01T08")

Contents = dict[tuple[str, ...], list[Mapping[str, Any]]]
"""Role, event, region and error -> the contents that its calls have."""


def rewritten(trail: Path, folder: Path, most: int = 3) -> Iterator[dict[str, Any]]:
    """Writes the copy, oldest file first, and yields the records in it."""
    draw = random.Random(42)  # noqa: S311 - the copy is the same each time
    contents: Contents = {}
    for path in sorted(trail.rglob("*.json.gz"), key=_time_of):
        records = json.loads(gzip.decompress(path.read_bytes()))["Records"]
        for record in records:
            _repeat(record, contents, most, draw)
        copy = folder / path.relative_to(trail)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"Records": records}, separators=(",", ":"))
        copy.write_bytes(gzip.compress(text.encode(), 6))
        yield from records


def _time_of(path: Path) -> tuple[str, str]:
    return path.name.split("_")[3], path.name


def _repeat(record: dict[str, Any], contents: Contents, most: int, draw: random.Random) -> None:
    """Gives a record of a role the content of an earlier one, once there are enough."""
    identity = record.get("userIdentity") or {}
    issuer = (identity.get("sessionContext") or {}).get("sessionIssuer") or {}
    role = issuer.get("arn")
    if not role:
        return
    if identity.get("accessKeyId"):
        period = f"{role}{record['eventTime'][:_HOUR]}"
        digest = hashlib.sha256(period.encode()).hexdigest()
        identity["accessKeyId"] = f"ASIA{digest[:16].upper()}"
    own = contents.setdefault(
        (
            role,
            record["eventSource"],
            record["eventName"],
            record["awsRegion"],
            record.get("errorCode") or "",
        ),
        [],
    )
    if len(own) < most:
        own.append({name: record[name] for name in _CONTENT if name in record})
    else:
        record.update(draw.choice(own))


def main(arguments: list[str]) -> int:
    """Writes the copy and prints its number of records."""
    trail, folder, *most = arguments
    count = sum(1 for _ in rewritten(Path(trail), Path(folder), int(most[0]) if most else 3))
    print(f"{count:,} records in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
