#!/usr/bin/env python3
"""Write the bundled example's CloudTrail files, `examples/cdk-app/trail`, always the same.

    python tools/make_example.py            write changed files, delete stale ones
    python tools/make_example.py --check    exit 1 when the committed files differ from the output
    python tools/make_example.py --needs    print the permissions of the deploy role as JSON lines

Files are compared by their uncompressed bytes, since compressed ones depend on the zlib in use.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from example import others, runs
from example.record import ACCOUNT, digest, number, record, token
from example.runs import Event

TRAIL = Path(__file__).resolve().parents[1] / "examples" / "cdk-app" / "trail"
_DELIVERY = timedelta(minutes=5)
_EPOCH = datetime.fromisoformat("2026-10-01T00:00:00+00:00")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_TWICE = 31
"""One record in about this many is delivered twice, as CloudTrail does at times."""


def main(arguments: list[str]) -> int:
    """Run the command; the exit code is 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description="Write the bundled example's CloudTrail files.")
    parser.add_argument(
        "--folder", type=Path, default=TRAIL, help="folder of the trail (default: %(default)s)"
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare only")
    choice.add_argument(
        "--needs", action="store_true", help="print what the deploy role truly needs"
    )
    options = parser.parse_args(arguments)
    if options.needs:
        for need in needs():
            print(json.dumps(need))
        return 0
    wanted = trail_files()
    differing = sorted(_differing(options.folder, wanted))
    if options.check:
        for name in differing:
            print(f"differs: {name}", file=sys.stderr)
        if differing:
            print("Run `python tools/make_example.py` to write the example again.", file=sys.stderr)
        return 1 if differing else 0
    _write(options.folder, wanted, differing)
    print(f"{len(wanted)} files, {len(differing)} written or removed")
    return 0


def trail_files() -> dict[str, bytes]:
    """Return all log files: key below the trail's folder -> uncompressed content of the log
    file.
    """
    deliveries: dict[tuple[str, int], list[dict[str, object]]] = {}
    for event in _events():
        made = record(event.call, event.actor, event.when, event.key)
        slot = int((event.when - _EPOCH) / _DELIVERY)
        deliveries.setdefault((event.call.recorded_in, slot), []).append(made)
        if number("twice", event.key) % _TWICE == 0:
            deliveries.setdefault((event.call.recorded_in, slot + 2), []).append(made)
    return {_key(region, slot): _content(found) for (region, slot), found in deliveries.items()}


def needs() -> Iterator[Mapping[str, object]]:
    """List the distinct permissions that the deploy role required, visible in the trail or not."""
    found: dict[tuple[str, str], list[Event]] = {}
    for event in runs.events():
        for need in event.call.needs if event.run else ():
            found.setdefault(need, []).append(event)
    for (action, resource), events in sorted(found.items()):
        yield {
            "action": action,
            "resource": resource,
            "count": len(events),
            "runs": sorted({event.run for event in events}),
            "in_trail": any(event.call.logged for event in events),
        }


def _events() -> Iterator[Event]:
    yield from (event for event in runs.events() if event.call.logged)
    yield from others.events()


def _key(region: str, slot: int) -> str:
    when = _EPOCH + (slot + 1) * _DELIVERY
    unique = token(16, region, slot, alphabet=_LETTERS)
    name = f"{ACCOUNT}_CloudTrail_{region}_{when:%Y%m%dT%H%MZ}_{unique}.json.gz"
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{region}/{when:%Y/%m/%d}/{name}"


def _content(records: list[dict[str, object]]) -> bytes:
    """One log file; CloudTrail does not sort inside a file."""
    mixed = sorted(records, key=lambda made: digest("order", made["eventID"]))
    return json.dumps({"Records": mixed}, separators=(",", ":")).encode()


def _differing(folder: Path, wanted: Mapping[str, bytes]) -> Iterator[str]:
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.json.gz")}
    yield from there.keys() ^ wanted.keys()
    for name in there.keys() & wanted.keys():
        if gzip.decompress(there[name].read_bytes()) != wanted[name]:
            yield name


def _write(folder: Path, wanted: Mapping[str, bytes], names: list[str]) -> None:
    for name in names:
        path = folder / name
        if name not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_compressed(wanted[name]))


def _compressed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as compressed:
        compressed.write(content)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
