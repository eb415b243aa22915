"""Measures requests and memory of every source of evidence.

    python -m bench.evidence_sources FOLDER [OBJECTS]

The records of a folder of generated logs (AWSLogs/… as CloudTrail delivers it) are split into the
given number of objects (5,000 by default). A server on this machine has them as a trail's bucket,
as a table in Athena (DuckDB, in the lab's environment) and as event history, and one role in its
account. Each source is read for that role in a separate process.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.generated_logs import LogObject, Record, cut, role_of, usual_role
from bench.measure import Stopwatch, peak_mebibytes
from leastpriv.aws.arns import Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.athena import AthenaTable
from leastpriv.cloudtrail.event_history import EventHistory, EventHistoryOptions
from leastpriv.cloudtrail.file_reader import S3TrailOptions
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.evidence.live_role import read_live_role
from leastpriv.pipeline.sources import read_evidence
from tests.fakes.aws.event_history import FakeHistory, Fault, event_of, login, user_of

EVENTS_ON_A_PAGE = 50
"""As LookupEvents answers."""
SOURCES = ("trail in S3", "Athena", "event history", "live role")


def main(arguments: list[str]) -> int:
    """Print a row per source; 2 without a folder or DuckDB."""
    if arguments[:1] == ["--one"]:
        return one(*arguments[1:])
    from tests.fakes.aws.athena import is_there

    if not arguments or not is_there():
        print("Name a folder of generated logs, and run `make lab` once.", file=sys.stderr)
        return 2
    ready: multiprocessing.Queue[Stage] = multiprocessing.Queue()
    object_count = int(arguments[1]) if arguments[1:] else 5_000
    with tempfile.TemporaryDirectory() as folder:
        server = multiprocessing.Process(
            target=serve, args=(Path(arguments[0]), Path(folder), object_count, ready)
        )
        server.start()
        stage = ready.get()
        print("source          seconds  peak MiB    records   calls  requests", flush=True)
        for source in SOURCES:
            command = [
                sys.executable,
                "-m",
                "bench.evidence_sources",
                "--one",
                source,
                stage.role,
                stage.last,
            ]
            subprocess.run(command, check=True, env=stage.environment)
        server.terminate()
        server.join()
    return 0


class Lookup(Struct, frozen=True):
    """An attribute that LookupEvents takes, with its value."""

    attribute: str
    value: str


class IndexedHistory(FakeHistory):
    """Answers from an index, so that the server is not measured."""

    records: Mapping[Lookup, Sequence[Record]] = {}

    def answer(
        self,
        region: str,
        asked: Mapping[str, Any],
        fault: Fault | None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """Return one page."""
        attribute = asked["LookupAttributes"][0]
        key = Lookup(attribute["AttributeKey"], attribute["AttributeValue"])
        records = self.records.get(key, ()) if region == "eu-west-1" else ()
        start = int(asked.get("NextToken") or 0)
        end = start + EVENTS_ON_A_PAGE
        page: dict[str, Any] = {"Events": [event_of(record) for record in records[start:end]]}
        if end < len(records):
            page["NextToken"] = str(end)
        return page


class Stage(Struct, frozen=True):
    """The servers, and what to read from them."""

    environment: dict[str, str]
    role: str
    last: str
    """The time of the newest record."""


def serve(logs: Path, folder: Path, object_count: int, ready: multiprocessing.Queue[Stage]) -> None:
    """Run all servers over the same records; their memory is not measured."""
    from tests.fakes.aws.athena import DuckDb, FakeAthena
    from tests.fakes.aws.s3_server import FakeS3
    from tests.fakes.aws.server import FakeAws
    from tests.fakes.aws.stage import account, trail_settings

    s3 = FakeS3()
    calls_by_role = Counter[str]()
    last = ""
    for log_object in cut(logs, object_count):
        body = log_object.body()
        s3.objects[log_object.key] = body
        path = folder / log_object.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        calls_by_role.update(filter(None, map(role_of, log_object.records)))
        last = max(last, *(str(record.get("eventTime") or "") for record in log_object.records))
    role = usual_role(calls_by_role)
    end = datetime.fromisoformat(last).astimezone(UTC)
    IndexedHistory.records = indexed(cut(logs, object_count), role, end)
    with DuckDb(folder) as duckdb, s3, IndexedHistory() as history:
        athena = FakeAthena(duckdb, page=1000)
        with FakeAws({**athena.operations(), **account(), **trail_settings()}) as aws:
            environment = s3.environment(others=aws.endpoint)
            environment["LOOKUPS"] = history.environment()["AWS_ENDPOINT_URL"]
            ready.put(Stage(environment, role, end.isoformat()))
            time.sleep(3_600)


def indexed(
    log_objects: Iterable[LogObject], role: str, end: datetime
) -> Mapping[Lookup, Sequence[Record]]:
    """Return the role's management events by the lookup that finds them, all in one region.

    Each session has a login on the day before the end.
    """
    index: dict[Lookup, list[Record]] = defaultdict(list)
    for log_object in log_objects:
        for record in log_object.records:
            if role_of(record) == role and record.get("managementEvent", True):
                index[Lookup("Username", user_of(record))].append(record)
    start = end - timedelta(days=1)
    sessions = [lookup.value for lookup in index]
    index[Lookup("EventName", "AssumeRoleWithWebIdentity")] = [
        login(role, session, start, "eu-west-1") for session in sessions
    ]
    return index


def _source(what: str, aws: Aws, now: datetime) -> S3Trail | AthenaTable | EventHistory:
    if what == "trail in S3":
        return S3Trail(aws, "s3://logs", S3TrailOptions(now=now))
    if what == "Athena":
        return AthenaTable(aws, "security.logs", now)
    regions = ("eu-west-1", "us-east-1")
    return EventHistory(aws, regions, now, EventHistoryOptions(pace=0))


def one(what: str, role: str, last: str) -> int:
    """Read one source and print its row."""
    environment = dict(os.environ)
    if what == "event history":
        environment["AWS_ENDPOINT_URL_CLOUDTRAIL"] = environment["LOOKUPS"]
    now = datetime.fromisoformat(last) + timedelta(days=1)
    aws = Aws.open(environment)
    requests = Counter[str]()
    stopwatch = Stopwatch()

    def count(event_name: str, **_: Any) -> None:
        requests[event_name.rpartition(".")[2]] += 1

    aws._session.events.register("before-send", count)
    figures = "                 "
    if what == "live role":
        read_live_role(aws, parse_principal(role))
    else:
        source = _source(what, aws, now)
        evidence = read_evidence([source], Window(), parse_principal(role))[role]
        figures = f"{source.statistics.records:9,}  {evidence.counts.calls:6,}"
    seconds = stopwatch.elapsed
    by_name = ", ".join(f"{name} {number:,}" for name, number in sorted(requests.items()))
    print(
        f"{what:14}  {seconds:7.1f}  {peak_mebibytes():8.0f}  {figures} "
        f" {requests.total():,}: {by_name}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
