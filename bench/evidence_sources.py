"""Measures requests and memory of every source of evidence.

    .venv/bin/python bench/evidence_sources.py FOLDER [OBJECTS]

The records of a folder of generated logs (AWSLogs/… as CloudTrail delivers it) are split into the
given number of objects (5,000 by default). A server on this machine has them as a trail's bucket,
as a table in Athena (DuckDB, in the lab's environment) and as event history, and one role in its
account. Each source is read for that role in a separate process.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.s3_trail import peak, records
from leastpriv.aws.arns import EvidenceSource, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.athena import AthenaTable
from leastpriv.cloudtrail.event_history import EventHistory, EventHistoryOptions
from leastpriv.cloudtrail.trail import S3Trail, S3TrailOptions
from leastpriv.evidence.live_role import read_live_role
from leastpriv.pipeline.sources import read_evidence

if TYPE_CHECKING:
    from tests.fakes.aws.s3_server import FakeS3

SOURCES = ("trail in S3", "Athena", "event history", "live role")


def main(arguments: list[str]) -> int:
    """Print a row per source; 2 without a folder or DuckDB."""
    if arguments[:1] == ["--one"]:
        return one(*arguments[1:])
    from tests.fakes.aws.athena import is_there

    if not arguments or not is_there():
        print("Name a folder of generated logs, and run `make lab` once.", file=sys.stderr)
        return 2
    ready: multiprocessing.Queue[tuple[dict[str, str], str, str]] = multiprocessing.Queue()
    most = int(arguments[1]) if arguments[1:] else 5_000
    with tempfile.TemporaryDirectory() as folder:
        server = multiprocessing.Process(
            target=serve, args=(Path(arguments[0]), Path(folder), most, ready)
        )
        server.start()
        environment, role, last = ready.get()
        print("source          seconds  peak MiB    records   calls  requests", flush=True)
        for source in SOURCES:
            command = [sys.executable, __file__, "--one", source, role, last]
            subprocess.run(command, check=True, env=environment)
        server.terminate()
        server.join()
    return 0


def serve(
    logs: Path,
    folder: Path,
    most: int,
    ready: multiprocessing.Queue[tuple[dict[str, str], str, str]],
) -> None:
    """All servers over the same records, inside the context; their memory is not measured."""
    from bench.event_history import Quick
    from tests.fakes.aws.athena import DuckDb, FakeAthena
    from tests.fakes.aws.s3_server import FakeS3
    from tests.fakes.aws.server import FakeAws
    from tests.fakes.aws.stage import account, trail_settings

    s3, roles, newest = FakeS3(), Counter[str](), ""
    for key, found in cut(logs, most):
        body = gzip.compress(json.dumps({"Records": found}).encode())
        s3.objects[key] = body  # type: ignore[assignment]
        place = folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
        roles.update(filter(None, map(role_of, found)))
        newest = max(newest, *(str(record.get("eventTime") or "") for record in found))
    role, last = (
        roles.most_common()[len(roles) // 4][0],
        datetime.fromisoformat(newest).astimezone(UTC),
    )
    Quick.index = indexed(s3, role, last)
    with DuckDb(folder) as duckdb, s3, Quick() as history:
        athena = FakeAthena(duckdb, page=1000)
        with FakeAws({**athena.operations(), **account(), **trail_settings()}) as aws:
            environment = s3.environment(others=aws.endpoint)
            environment["LOOKUPS"] = history.environment()["AWS_ENDPOINT_URL"]
            ready.put((environment, role, last.isoformat()))
            time.sleep(3_600)


def cut(logs: Path, most: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Keys and records of about the given number of objects."""
    files = sorted(logs.rglob("*.json.gz"))
    each = -(-sum(len(records(file)) for file in files) // most)
    for file in files:
        found, key = records(file), file.relative_to(logs).as_posix().removesuffix(".json.gz")
        for at in range(0, len(found), each):
            yield f"{key}{at:06}.json.gz", found[at : at + each]


def role_of(record: Mapping[str, Any]) -> str:
    """ARN of the role that called, or nothing."""
    context = (record.get("userIdentity") or {}).get("sessionContext") or {}
    return str((context.get("sessionIssuer") or {}).get("arn") or "")


def indexed(
    s3: FakeS3, role: str, last: datetime
) -> Mapping[tuple[str, str], list[Mapping[str, Any]]]:
    """The role's management events as event history answers them, all in one region, and a login of
    each session.
    """
    from tests.fakes.aws.event_history import login, user_of

    index: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for body in s3.objects.values():
        for record in json.loads(gzip.decompress(body))["Records"]:
            if role_of(record) == role and record.get("managementEvent", True):
                index["Username", user_of(record)].append(record)
    for _, session in list(index):
        begun = last - timedelta(days=1)
        index["EventName", "AssumeRoleWithWebIdentity"].append(
            login(role, session, begun, "eu-west-1")
        )
    return index


def one(what: str, role: str, last: str) -> int:
    """Read one source and print its row."""
    environment = dict(os.environ)
    if what == "event history":
        environment["AWS_ENDPOINT_URL_CLOUDTRAIL"] = environment["LOOKUPS"]
    now = datetime.fromisoformat(last) + timedelta(days=1)
    door, asked, started = Aws.open(environment), Counter[str](), time.perf_counter()

    def count(event_name: str, **_: Any) -> None:
        asked[event_name.rpartition(".")[2]] += 1

    door._session.events.register("before-send", count)
    figures = "                 "
    if what == "live role":
        read_live_role(door, parse_principal(role))
    else:
        source: EvidenceSource = {
            "trail in S3": lambda: S3Trail(door, "s3://logs", S3TrailOptions(now=now)),
            "Athena": lambda: AthenaTable(door, "security.logs", now),
            "event history": lambda: EventHistory(
                door, ("eu-west-1", "us-east-1"), now, EventHistoryOptions(pace=0)
            ),
        }[what]()
        evidence = read_evidence([source], Window(), parse_principal(role))[role]
        read = source.statistics  # type: ignore[attr-defined]
        figures = f"{read.records:9,}  {evidence.counts.calls:6,}"
    seconds = time.perf_counter() - started
    told = ", ".join(f"{name} {number:,}" for name, number in sorted(asked.items()))
    print(
        f"{what:14}  {seconds:7.1f}  {peak():8.0f}  {figures}  {sum(asked.values()):,}: {told}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
