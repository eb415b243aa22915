"""Calls through Athena: the query on DuckDB against the reader of files, and what a run hears of
what went wrong.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.athena import NEEDED, AthenaOptions, AthenaTable
from leastpriv.cloudtrail.athena_sql import (
    CloudTrailTable,
    data_uses_in_row,
    days_in_row,
    operations_in_row,
    table_gaps,
)
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record import is_login
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import InputError
from leastpriv.evidence.runs import IssuedKeys, RunTracker
from leastpriv.models import Call, Gap, GapKind, Run, Scope
from tests.fakes import progress
from tests.fakes.aws.athena import COLUMNS, DuckDb, FakeAthena, is_there
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import Asked, FakeAws

NOW = datetime(2026, 4, 1, tzinfo=UTC)
NAME = "security.logs"
EVERYBODY, ALWAYS = Principals(), Window()
ROLE = "arn:aws:iam::111122223333:role/deploy"
MANY = 1_000
needs_duckdb = pytest.mark.skipif(
    not is_there(), reason="DuckDB and sqlglot are in the lab's environment: make lab"
)


class Stand:
    """Athena over a folder, its bucket, and the trail's settings, which nobody tells.

    One for all tests of this file: making clients takes most of a test's time.
    """

    def __init__(self) -> None:
        self.aws, self.s3 = FakeAws({}), FakeS3()
        self.log_lines = progress.LINES

    def __enter__(self) -> Stand:
        self.aws.__enter__()
        self.s3.__enter__()
        self.door = Aws.open(self.s3.environment(others=self.aws.endpoint))
        return self

    def __exit__(self, *error: Any) -> None:
        self.s3.__exit__(*error)
        self.aws.__exit__(*error)

    def of(self, athena: FakeAthena, folder: Path | None = None) -> Stand:
        """Itself, with nothing of what was there before."""
        none = {"cloudtrail:DescribeTrails": lambda _: {"trailList": []}}
        self.log_lines.clear()
        self.aws.forget({**athena.operations(), **none})
        self.s3.forget()
        for path in sorted(folder.rglob("*.json.gz")) if folder else ():
            self.s3.objects[path.relative_to(folder).as_posix()] = path.read_bytes()  # type: ignore[arg-type]
        return self

    def source(self, named: str = NAME, **more: Any) -> AthenaTable:
        return AthenaTable(self.door, named, NOW, AthenaOptions(poll=0.01, **more))

    def read(
        self,
        principals: Principals = EVERYBODY,
        window: Window = ALWAYS,
        named: str = NAME,
        **more: Any,
    ) -> tuple[list[Call], list[Gap]]:
        """Calls and gaps, but for that of the settings."""
        observations = list(self.source(named, **more).read(window, principals))
        gaps = [
            observation
            for observation in observations
            if isinstance(observation, Gap) and observation.kind is not GapKind.SETTINGS_UNKNOWN
        ]
        return [observation for observation in observations if isinstance(observation, Call)], gaps


@pytest.fixture(scope="module")
def servers() -> Iterator[Stand]:
    with Stand() as servers:
        yield servers


@pytest.fixture
def place(servers: Stand) -> Iterator[Stand]:
    """Still to be told `of` which table."""
    yield servers
    servers.aws.insist()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, shared_folder: Path) -> Path:
    return generated(tmp_path_factory.mktemp("logs"), shared_folder, 3)


@pytest.fixture(scope="module")
def duckdb(logs: Path) -> Iterator[DuckDb]:
    """The logs as a table of all columns; loading them is half of a comparison."""
    with DuckDb(logs) as loaded:
        yield loaded


def generated(folder: Path, shared: Path, megabytes: int) -> Path:
    """Logs of 200 roles in four accounts, about 640 records a megabyte."""
    tool = shared / "tools" / "gen_trail.py"
    if not tool.is_file():
        pytest.skip(
            "NOT COMPARED: the generator of logs, which lies outside of this repository, is not at"
            f" {tool}"
        )
    subprocess.run(
        [sys.executable, str(tool), "--out", str(folder), "--mb", str(megabytes), "--seed", "7"],
        check=True,
        capture_output=True,
    )
    return folder


def told(
    source: TrailFolder | AthenaTable, window: Window, principals: Principals
) -> dict[str, str]:
    """Event id -> all that a call says, as a digest."""
    hashes: dict[str, str] = {}
    for observation in source.read(window, principals):
        if isinstance(observation, Call):
            assert observation.event_id not in hashes
            plain = replace(observation, response=dict(observation.response), repeats=None)
            fields = repr([getattr(plain, name) for name in Call.__struct_fields__])
            hashes[observation.event_id] = hashlib.sha256(fields.encode()).hexdigest()
        else:
            assert observation.kind is GapKind.SETTINGS_UNKNOWN, observation
    return hashes


def without_files(statistics: ReadStatistics) -> dict[str, Any]:
    """What is to be equal: not how it was read."""
    unequal = ("files", "requests")
    return {name: getattr(statistics, name) for name in statistics.__slots__ if name not in unequal}


def compare(
    place: Stand, logs: Path, duckdb: DuckDb, window: Window, principals: Principals
) -> int:
    """Read the same both ways, insist on equal calls and figures; how many records there were."""
    folder = TrailFolder(logs)
    expected = told(folder, window, principals)
    source = place.of(FakeAthena(duckdb, page=1000), logs).source()
    hashes = told(source, window, principals)
    assert hashes == expected
    of_query, of_folder = without_files(source.statistics), without_files(folder.statistics)
    for name in ("outside_window", "regions") if window != ALWAYS else ():
        # Athena counts nothing outside, nor files of a region that have no record of the window.
        of_query.pop(name)
        of_folder.pop(name)
    assert of_query == of_folder
    return source.statistics.records


def role(logs: Path) -> Principals:
    """The busiest role of the logs, of a path or none."""
    counts: dict[str, int] = {}
    for observation in TrailFolder(logs).read(ALWAYS, EVERYBODY):
        if isinstance(observation, Call):
            counts[observation.principal] = counts.get(observation.principal, 0) + 1
    return Principals(frozenset({parse_principal(max(counts, key=lambda arn: counts[arn]))}))


@needs_duckdb
def test_the_query_returns_the_calls_of_all_principals_like_the_files(
    place: Stand, logs: Path, duckdb: DuckDb
) -> None:
    assert compare(place, logs, duckdb, ALWAYS, EVERYBODY) > MANY


@needs_duckdb
def test_the_query_for_one_role_returns_its_calls_and_the_coverage_of_all(
    place: Stand, logs: Path, duckdb: DuckDb
) -> None:
    calls_of_role = role(logs)
    folder = TrailFolder(logs)
    expected = told(folder, ALWAYS, calls_of_role)
    source = place.of(FakeAthena(duckdb), logs).source()
    assert told(source, ALWAYS, calls_of_role) == expected
    assert len(expected) > 100
    for name in ("days", "logged", "events", "data"):
        assert getattr(source.statistics, name) == getattr(folder.statistics, name), name
    # Only the role's own account is read.
    assert (
        0
        < source.statistics.records
        == folder.statistics.records
        < len(told(TrailFolder(logs), ALWAYS, EVERYBODY))
    )


@needs_duckdb
@pytest.mark.parametrize("hours", [0, 30, 24 * 8])
def test_the_query_of_a_window_gives_the_windows_calls(
    place: Stand, logs: Path, duckdb: DuckDb, hours: int
) -> None:
    folder = TrailFolder(logs)
    list(folder.read(ALWAYS, EVERYBODY))
    assert folder.statistics.first
    start = folder.statistics.first + timedelta(hours=hours)
    assert (
        compare(
            place,
            logs,
            duckdb,
            Window(start, start + timedelta(hours=3 * hours, minutes=7)),
            EVERYBODY,
        )
        > 0
    )


@needs_duckdb
@pytest.mark.slow
def test_the_query_gives_what_the_files_give_on_two_hundred_thousand_records(
    place: Stand, tmp_path: Path, shared_folder: Path
) -> None:
    logs = generated(tmp_path, shared_folder, 330)
    with DuckDb(logs) as duckdb:
        assert compare(place, logs, duckdb, ALWAYS, EVERYBODY) >= 200_000


@needs_duckdb
def test_a_table_with_fewer_columns_gives_the_calls_all_the_same(place: Stand, logs: Path) -> None:
    columns = {name: COLUMNS[name] for name in (*NEEDED, "eventid", "readonly")}
    with DuckDb(logs, columns=columns) as duckdb:
        source = place.of(FakeAthena(duckdb, columns=columns), logs).source()
        observations = list(source.read(ALWAYS, EVERYBODY))
    calls = [observation for observation in observations if isinstance(observation, Call)]
    assert len(calls) > MANY
    # Without the kind of event a reading call may be a data event: it does not prove that
    # management reads are logged.
    assert not [kind for _, kind in source.statistics.logged if kind.startswith("management-")]


IDENTITY: dict[str, Any] = {
    "type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/deploy/s",
    "accountId": "111122223333",
    "principalId": "AROAEXAMPLE:s", "sessionContext": {"sessionIssuer": {"arn": ROLE}},
}  # fmt: skip


def one(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11", "eventTime": "2026-03-01T09:00:00Z",
        "eventSource": "sqs.amazonaws.com",
        "eventName": "CreateQueue", "awsRegion": "eu-west-1", "eventID": f"id-{number}",
        "eventType": "AwsApiCall",
        "readOnly": False, "managementEvent": True, "eventCategory": "Management",
        "userIdentity": IDENTITY,
        "recipientAccountId": "111122223333", "requestParameters": {"queueName": "orders"},
        **fields,
    }  # fmt: skip


FROM_CONSOLE = {
    "sessionContext": {**IDENTITY["sessionContext"], "sessionCredentialFromConsole": "true"}
}
ODD: dict[str, list[dict[str, Any]]] = {
    "no time": [one(1, eventTime=None)],
    "one bad time among good ones": [one(1, eventTime="2026-03-01T99:00:00Z"), one(2), one(3,
    eventTime="0")],
    "a blank in the time": [one(1, eventTime="2026-03-01 09:00:00")],
    "a fraction of a second": [one(1, eventTime="2026-03-01T09:00:00.25Z")],
    "a zone": [one(1, eventTime="2026-03-01T11:00:00+02:00")],
    "no id": [one(1, eventID=None), one(2, eventID=None)],
    "an id of several words": [one(1, eventID="a,b c")],
    "copies": [one(1), one(1)],
    "the console in the session": [one(1, userIdentity={**IDENTITY, **FROM_CONSOLE})],
    "the console beside it": [one(1, sessionCredentialFromConsole="true")],
    "no parameters": [one(1, requestParameters=None)],
    "parameters that are left out": [one(1, requestParameters={"omitted": True, "reason": "x"})],
    "letters of every kind": [one(1, requestParameters={"queueName": "ü\u2028\U0001f600'\"\\"})],
    "a refusal of two lines": [one(1, errorCode="AccessDenied", errorMessage="x\nb")],
    "nobody's": [one(1, userIdentity=None)],
    "no event": [one(1, eventName=None)],
    "a resource without a name": [one(1, resources=[None, {"ARN": "arn:aws:sqs:eu-west-1:1:a"}])],
    "another account's": [one(1), one(2, recipientAccountId="999999999999", userIdentity={"type": "AWSService"})],
    "an account that is not told": [one(1, recipientAccountId=None)],
}  # fmt: skip
MINE = Principals(frozenset({parse_principal(ROLE)}))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail's folder with one file of the odd records, each with an id of its own where it has
    one.
    """
    records = [
        {**record, "eventID": record["eventID"] and f"{record['eventID']} of {name}"}
        for name, group in ODD.items()
        for record in group
    ]
    folder = tmp_path_factory.mktemp("odd")
    day_folder = folder / "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01"
    day_folder.mkdir(parents=True)
    file = day_folder / "111122223333_CloudTrail_eu-west-1_20260301T0900Z_a.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    return folder


@pytest.fixture(scope="module")
def odd_duckdb(odd: Path) -> Iterator[DuckDb]:
    with DuckDb(odd) as loaded:
        yield loaded


@needs_duckdb
@pytest.mark.parametrize(
    "window",
    [ALWAYS, Window(datetime(2026, 3, 1, 9, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))],
    ids=["always", "from that second"],
)
def test_odd_records_give_what_the_reader_of_files_makes_of_them(
    place: Stand, odd: Path, odd_duckdb: DuckDb, window: Window
) -> None:
    files = TrailFolder(odd)
    calls, lost = outlines(files.read(window, MINE))
    source = place.of(FakeAthena(odd_duckdb), odd).source()
    assert outlines(source.read(window, MINE)) == (calls, lost)
    for name in ("calls", "duplicates", "days", "logged"):
        assert getattr(source.statistics, name) == getattr(files.statistics, name)
    assert (len(calls), lost) == (17, 5)


def outlines(items: Iterator[Call | Gap]) -> tuple[list[str], int]:
    """All that the calls say, and how many records could not be read."""
    observations = list(items)
    calls = [
        repr([getattr(observation, name) for name in Call.__struct_fields__])
        for observation in observations
        if isinstance(observation, Call)
    ]
    gaps = [
        observation
        for observation in observations
        if isinstance(observation, Gap) and observation.kind is not GapKind.SETTINGS_UNKNOWN
    ]
    assert {gap.kind for gap in gaps} == {GapKind.UNREADABLE_RECORD}
    return sorted(calls), sum(gap.count for gap in gaps)


GITHUB = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"


def logins(role: str) -> list[dict[str, Any]]:
    """A call with each of two keys under one session name, and the logins that issued the keys."""
    records = []
    for number, branch in enumerate(("main", "feature/x")):
        subject, key = f"repo:shop/orders:ref:refs/heads/{branch}", f"ASIAEXAMPLE000000000{number}"
        parts: dict[str, dict[str, Any]] = {
            "userIdentity": {"type": "WebIdentityUser", "userName": subject,
            "identityProvider": GITHUB},
            "requestParameters": {"roleArn": role, "roleSessionName": "s"},
            "responseElements": {
                "credentials": {"accessKeyId": key, "sessionToken": "hidden"}, "provider": GITHUB,
                "subjectFromWebIdentityToken": subject, "assumedRoleUser": {"arn": IDENTITY["arn"]},
            },
        }  # fmt: skip
        sts = {"eventSource": "sts.amazonaws.com", "eventName": "AssumeRoleWithWebIdentity"}
        records += [one(2 * number, **sts, **parts)]
        records += [one(2 * number + 1, userIdentity={**IDENTITY, "accessKeyId": key})]
    return records


@needs_duckdb
@pytest.mark.parametrize("role", [ROLE, "arn:aws:iam::111122223333:role/ci/deploy"])
def test_a_login_in_the_table_names_the_branch_of_the_calls_with_its_key(
    place: Stand, tmp_path: Path, role: str
) -> None:
    calls, runs = runs_by_key(place, tmp_path, logins(role))
    branches = {
        key: run.identity.subject.split("/heads/")[1] for key, run in runs.items() if run.identity
    }
    assert branches == {"ASIAEXAMPLE0000000000": "main", "ASIAEXAMPLE0000000001": "feature/x"}
    assert "hidden" not in repr(calls)


@needs_duckdb
def test_a_login_of_a_workload_in_the_table_makes_its_days_runs(
    place: Stand, tmp_path: Path
) -> None:
    records = logins(ROLE)
    for record in records[::2]:
        record |= {"eventName": "AssumeRole"}
        record["userIdentity"] = {"type": "AWSService", "invokedBy": "ecs-tasks.amazonaws.com"}
        del (
            record["responseElements"]["provider"],
            record["responseElements"]["subjectFromWebIdentityToken"],
        )
    _, runs = runs_by_key(place, tmp_path, records)
    assert {run.id for run in runs.values()} == {"deploy@2026-03-01"}


def runs_by_key(
    place: Stand, folder: Path, records: list[dict[str, Any]]
) -> tuple[list[Call], Mapping[str, Run]]:
    """The calls of a table with these records, and the run of each access key."""
    path = folder / "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01"
    path.mkdir(parents=True)
    (path / "111122223333_CloudTrail_eu-west-1_20260301T0900Z_a.json.gz").write_bytes(
        gzip.compress(json.dumps({"Records": records}).encode())
    )
    with DuckDb(folder) as duckdb:
        calls, gaps = place.of(FakeAthena(duckdb), folder).read(MINE)
    assert gaps == []
    keys, runs = IssuedKeys(), RunTracker()
    for call in filter(is_login, calls):
        keys.note_login(call)
    tokens = {call.access_key: runs.note(call) for call in calls if not is_login(call)}
    resolved = runs.resolve(keys.identity_of)
    return calls, {key: resolved[token] for key, token in tokens.items()}


# What may go wrong. Nothing of it needs DuckDB.


@pytest.fixture
def athena() -> FakeAthena:
    return FakeAthena(None)


@pytest.fixture
def stand(place: Stand, athena: FakeAthena) -> Stand:
    place.of(athena).s3.objects[
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/x.json.gz"
    ] = bytes(1000)
    return place


def test_bytes_and_cost_are_said_before_and_after(stand: Stand, athena: FakeAthena) -> None:
    athena.scanned = 2 * 1024**4
    stand.read(window=Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)))
    assert stand.log_lines == [
        "Athena: the query will read about 0.00 GB, about $0.0000, by a sample of 3 days",
        "Athena: the query read 2,199.02 GB, about $10.0000",
    ]


def test_a_query_that_would_read_more_than_the_limit_is_not_started(
    stand: Stand, athena: FakeAthena
) -> None:
    [gap] = stand.read(max_bytes=1)[1]
    assert gap.kind is GapKind.SOURCE_FAILED
    assert "would read about" in gap.detail
    assert "more than athena-max-bytes" in gap.detail
    assert athena.queries == []


def test_a_query_that_has_read_more_than_the_limit_is_stopped(
    stand: Stand, athena: FakeAthena
) -> None:
    athena.running, athena.scanned = 1, 10**12
    [gap] = stand.read(max_bytes=10**9)[1]
    assert "has read 1,000.00 GB" in gap.detail
    assert "was stopped, more than athena-max-bytes, 1.00 GB" in gap.detail
    assert len(athena.queries) == len(athena.stopped) == 1


def test_only_the_targets_accounts_days_and_known_regions_are_scanned(
    stand: Stand, athena: FakeAthena
) -> None:
    window = Window(datetime(2026, 2, 10, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC))
    stand.read(Principals(frozenset({parse_principal(ROLE)})), window)
    [query] = athena.queries
    assert "\"account\" IN ('111122223333') AND \"region\" IN ('eu-west-1')" in query
    assert "\"day\" >= '2026/02/09' AND \"day\" <= '2026/03/11'" in query


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (
            "FAILED",
            "HIVE_BAD_DATA: Error parsing field",
            "The query in Athena failed: HIVE_BAD_DATA",
        ),
        (
            "CANCELLED",
            "Bytes scanned limit was exceeded",
            "The query in Athena stopped: Bytes scanned limit",
        ),
        (
            "FAILED",
            "Permission denied on S3 path: s3://logs/AWSLogs/x.json.gz",
            "need s3:GetObject",
        ),
        (
            "FAILED",
            "HIVE_CURSOR_ERROR: Access Denied (Service: Amazon S3; Status Code: 403)",
            "need s3:GetObject",
        ),
        (
            "FAILED",
            "Access denied when writing output to url: s3://results/q.csv",
            "need s3:PutObject",
        ),
        (
            "FAILED",
            "No output location provided",
            "Set a location for query results in the workgroup",
        ),
    ],
)
def test_a_query_that_fails_or_is_stopped_may_hide_any_call(
    stand: Stand, athena: FakeAthena, state: str, reason: str, words: str
) -> None:
    athena.failure = (state, reason)
    calls, [gap] = stand.read()
    assert (calls, gap.kind, gap.scope) == ([], GapKind.SOURCE_FAILED, Scope())
    assert words in gap.detail


@pytest.mark.parametrize(
    ("operation", "code", "message", "words"),
    [
        (
            "StartQueryExecution",
            "TooManyRequestsException",
            "Rate exceeded",
            "AWS throttled the requests",
        ),
        ("StartQueryExecution", "InternalServerException", "oops", "AWS"),
        (
            "GetQueryResults",
            "ExpiredTokenException",
            "The security token is expired",
            "have expired",
        ),
        (
            "StartQueryExecution",
            "AccessDeniedException",
            (
                f"User: {ROLE} is not authorized to perform: athena:StartQueryExecution on"
                " resource: arn:aws:athena:eu-west-1:111122223333:workgroup/primary"
            ),
            "AWS denied athena:StartQueryExecution",
        ),
    ],
)
def test_a_denied_query_is_a_gap_and_names_the_permission(
    stand: Stand, operation: str, code: str, message: str, words: str
) -> None:
    stand.aws.refuse(operation, code, message, 500 if code.startswith("Internal") else 400)
    calls, [gap] = stand.read()
    assert (calls, gap.kind, gap.scope) == ([], GapKind.SOURCE_FAILED, Scope())
    assert words in gap.detail


def test_a_truncated_answer_may_hide_any_call(stand: Stand) -> None:
    stand.aws.break_off("GetQueryResults")
    calls, [gap] = stand.read()
    assert (calls, gap.kind, gap.scope) == ([], GapKind.SOURCE_FAILED, Scope())


def test_a_slow_query_is_waited_for(stand: Stand, athena: FakeAthena) -> None:
    athena.running = 8
    assert stand.read() == ([], [])


def test_a_query_that_runs_long_says_so_and_is_stopped_after_an_hour(
    stand: Stand, athena: FakeAthena
) -> None:
    athena.running = 10**6
    source = stand.source()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leastpriv.cloudtrail.athena.time.sleep", lambda _: None)
        patch.setattr(source, "_options", AthenaOptions(poll=10.0))
        observations = list(source.read(ALWAYS, EVERYBODY))
    gaps = [
        observation
        for observation in observations
        if isinstance(observation, Gap) and observation.kind is GapKind.SOURCE_FAILED
    ]
    assert [(gap.scope, "more than an hour" in gap.detail) for gap in gaps] == [(Scope(), True)]
    assert athena.stopped == ["query-1"]
    log_lines = [log_line for log_line in stand.log_lines if "has been running for" in log_line]
    assert 40 < len(log_lines) < 130


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["mine", "number"], [["true"]]),
        (["mine"], [["true"]]),
        (
            ["mine", "number", "first_time", "last_time", "events"],
            [["true", "many", None, None, None]],
        ),
    ],
    ids=["ragged", "short", "no number"],
)
def test_rows_of_another_shape_are_a_gap_and_do_not_raise(
    stand: Stand, athena: FakeAthena, names: list[str], rows: list[list[str]]
) -> None:
    athena.answer = {"names": names, "rows": rows}
    calls, [gap] = stand.read()
    assert (calls, gap.kind, gap.scope) == ([], GapKind.SOURCE_FAILED, Scope())


@pytest.mark.parametrize(
    ("operation", "answer", "words"),
    [
        (
            "athena:GetQueryExecution",
            {"QueryExecution": {"QueryExecutionId": "query-1"}},
            "lacks Status",
        ),
        ("athena:GetQueryExecution", {}, "lacks QueryExecution"),
        ("athena:GetQueryResults", {}, "lacks ResultSet"),
        ("athena:GetQueryResults", {"ResultSet": {"Rows": []}, "NextToken": "same"}, "cut off"),
    ],
    ids=["no status", "no execution", "no rows", "a page that leads to itself"],
)
def test_answers_without_required_members_are_a_gap_and_do_not_raise(
    stand: Stand, operation: str, answer: dict[str, Any], words: str
) -> None:
    stand.aws.operations = {**stand.aws.operations, operation: lambda _: answer}
    calls, [gap] = stand.read()
    assert (calls, gap.kind, gap.scope) == ([], GapKind.SOURCE_FAILED, Scope())
    assert words in gap.detail


def test_an_abandoned_query_is_stopped(stand: Stand, athena: FakeAthena) -> None:
    athena.running = 10**6
    source = stand.source()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leastpriv.cloudtrail.athena.time.sleep", sleep)
        with pytest.raises(KeyboardInterrupt):
            list(source.read(ALWAYS, EVERYBODY))
    assert athena.stopped == ["query-1"]


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_query_is_stopped_whichever_signal_ends_the_run(
    stand: Stand, athena: FakeAthena, number: signal.Signals
) -> None:
    athena.running = 10**6
    source = stand.source()

    def sleep(_: float) -> None:
        signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leastpriv.cloudtrail.athena.time.sleep", sleep)
        with pytest.raises(KeyboardInterrupt):
            list(source.read(ALWAYS, EVERYBODY))
    assert athena.stopped == ["query-1"]


def test_a_query_that_begins_as_the_run_is_interrupted_is_stopped_too(
    stand: Stand, athena: FakeAthena
) -> None:
    """Between the request and its answer nobody knows the query's id yet."""
    start = stand.aws.operations["athena:StartQueryExecution"]

    def interrupted(asked: Asked) -> Mapping[str, Any]:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return start(asked)

    stand.aws.operations["athena:StartQueryExecution"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(stand.source().read(ALWAYS, EVERYBODY))
    assert (len(athena.queries), athena.stopped) == (1, ["query-1"])


def test_a_denial_within_a_query_names_the_missing_permission(
    stand: Stand, athena: FakeAthena
) -> None:
    """Athena tells it as text, behind the place of the file, which may be long."""
    key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    refused = (
        f"User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {key} because no"
        " identity-based"
    )
    object_name = f"s3://logs/{'x' * 300}.json.gz"
    athena.failure = (
        "FAILED",
        f"HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split {object_name}: {refused} policy allows it",
    )
    _, [gap] = stand.read()
    assert (
        f"AWS denied kms:Decrypt on {key} while running the query in Athena: allow it to {ROLE}."
        in gap.detail
    )


@pytest.mark.parametrize(("minutes", "kinds"), [(3, [GapKind.EVENTS_LATE]), (20, [])])
def test_a_role_that_was_at_work_a_moment_ago_has_events_under_way_to_the_table(
    stand: Stand, athena: FakeAthena, minutes: int, kinds: list[GapKind]
) -> None:
    time = f"{NOW - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
    row = {
        "mine": "true", "number": "1", "first_time": time, "last_time": time,
        "events": f"{time}\x1fid",
        "eventsource": "sqs.amazonaws.com", "awsregion": "eu-west-1", "eventtype": "AwsApiCall",
        "eventname": "CreateQueue", "identity_type": "AssumedRole", "issuer_arn": ROLE,
        "identity_arn": IDENTITY["arn"], "identity_accountid": "111122223333",
    }  # fmt: skip
    athena.answer = {"names": list(row), "rows": [list(row.values())]}
    calls, gaps = stand.read()
    assert len(calls) == 1
    assert [(gap.kind, gap.scope) for gap in gaps] == [(kind, Scope()) for kind in kinds]


def test_a_missing_table_is_bad_input(stand: Stand, athena: FakeAthena) -> None:
    athena.exists = False
    with pytest.raises(InputError, match=re.escape("no table 'security.logs'")):
        stand.read()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            (
                "User: x is not authorized to perform: glue:GetTable on resource:"
                " arn:aws:glue:eu-west-1:1:catalog because no identity-based policy allows the"
                " glue:GetTable action (Error Code: AccessDeniedException)"
            ),
            "AWS denied glue:GetTable",
        ),
        (
            (
                "Insufficient Lake Formation permission(s): Required Describe on logs (Error Code:"
                " AccessDeniedException)"
            ),
            "Lake Formation must grant",
        ),
        ("Rate exceeded (Error Code: ThrottlingException)", "Rate exceeded"),
    ],
)
def test_metadata_that_cannot_be_read_are_a_gap_and_no_missing_table(
    stand: Stand, message: str, words: str
) -> None:
    stand.aws.refuse("GetTableMetadata", "MetadataException", message)
    [gap] = stand.read()[1]
    assert words in gap.detail


@pytest.mark.parametrize("column", NEEDED)
def test_a_table_without_required_columns_is_bad_input(
    stand: Stand, athena: FakeAthena, column: str
) -> None:
    athena.columns = {name: kind for name, kind in COLUMNS.items() if name != column}
    with pytest.raises(InputError, match=f"it has no column {column}"):
        stand.read()


def test_a_view_which_has_no_place_is_read_all_the_same(stand: Stand, athena: FakeAthena) -> None:
    athena.location, athena.partitions = "", ()
    assert stand.read() == ([], [])
    assert athena.queries


def test_records_without_a_principal_are_queried_too(stand: Stand, athena: FakeAthena) -> None:
    stand.read(Principals(frozenset({parse_principal(ROLE)})))
    assert "useridentity IS NULL" in athena.queries[0]


def test_a_table_of_other_data_is_bad_input(stand: Stand, athena: FakeAthena) -> None:
    athena.columns = {"id": "string"}
    with pytest.raises(InputError, match="no table of CloudTrail records"):
        stand.read()


@pytest.mark.parametrize("name", ["logs", "a.b.c.d", "x/y/db.logs", 'db."logs"', ""])
def test_a_name_that_is_no_tables_is_bad_input(stand: Stand, name: str) -> None:
    with pytest.raises(InputError, match="athena-table"):
        stand.source(name)


WINDOW = Window(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 20, tzinfo=UTC))


def limits(
    window: Window = WINDOW, location: str = "s3://logs/AWSLogs", **parameters: str
) -> list[Gap]:
    """What a table of the deploy role's account leaves out; parameters without `projection.`, `_`
    for the dots.
    """
    projections = {
        f"projection.{name.replace('_', '.')}": value for name, value in parameters.items()
    }
    days = {"projection.day.type": "date", "projection.day.format": "yyyy/MM/dd"}
    table = CloudTrailTable(
        "security",
        "logs",
        COLUMNS,
        ("account", "region", "day", "year"),
        {"location": location, **days, **projections},
    )
    return list(table_gaps(table, "x", window, Principals(frozenset({parse_principal(ROLE)})), NOW))


@pytest.mark.parametrize(
    ("told", "holds"),
    [
        ("2013/11/01,NOW", True),
        ("2026/02/01,NOW", True),
        ("2026/02/02,NOW", False),
        ("2013/11/01,2026/03/20", True),
        ("2013/11/01,2026/03/19", False),
        ("NOW-1YEARS,NOW", True),
        ("NOW-3MONTHS,NOW", False),
        ("NOW-30DAYS,NOW", False),
        ("NOW-1YEARS,NOW-1DAYS", False),
        ("long ago,NOW", False),
        ("NOW-999999YEARS,NOW", False),
        ("NOW,NOW", False),
        ("", True),
    ],
)
def test_days_of_the_window_that_the_tables_range_leaves_out_may_hide_any_call(
    told: str, holds: bool
) -> None:
    gaps = limits(day_range=told)
    assert [(gap.kind, gap.scope) for gap in gaps] == (
        [] if holds else [(GapKind.NOT_LOGGED, Scope())]
    )


@pytest.mark.parametrize(
    ("told", "holds"), [("2020,2026", True), ("2020,2025", False), ("2027,2030", False)]
)
def test_years_that_the_tables_range_leaves_out_may_hide_any_call(told: str, holds: bool) -> None:
    assert bool(limits(year_type="integer", year_range=told)) is not holds


@pytest.mark.parametrize(
    ("location", "values", "missing"),
    [
        ("s3://logs/AWSLogs", "", False),
        ("s3://logs/AWSLogs", "111122223333,999999999999", False),
        ("s3://logs/AWSLogs", "999999999999", True),
        ("s3://logs/AWSLogs/111122223333/CloudTrail", "", False),
        ("s3://logs/AWSLogs/999999999999/CloudTrail", "", True),
        ("s3://logs/AWSLogs/o-abc1234567/999999999999/CloudTrail", "", True),
    ],
)
def test_a_table_without_the_roles_account_may_hide_any_call(
    location: str, values: str, missing: bool
) -> None:
    gaps = limits(location=location, account_values=values)
    assert [(gap.kind, gap.scope) for gap in gaps] == (
        [(GapKind.SOURCE_FAILED, Scope())] if missing else []
    )


def test_a_place_without_a_folder_of_the_roles_account_may_hide_any_call(stand: Stand) -> None:
    stand.s3.objects = {
        key.replace("111122223333", "999999999999"): body for key, body in stand.s3.objects.items()
    }
    calls, [gap] = stand.read(Principals(frozenset({parse_principal(ROLE)})))
    assert (calls, gap.kind, gap.scope) == ([], GapKind.SOURCE_FAILED, Scope())
    assert "no folder of the account 111122223333" in gap.detail


@pytest.mark.parametrize(
    ("parameters", "location"),
    [
        (
            {"projection.region.type": "enum", "projection.region.values": "eu-west-1, us-east-1"},
            "s3://logs/AWSLogs",
        ),
        ({}, "s3://logs/AWSLogs/111122223333/CloudTrail/eu-west-1"),
    ],
)
def test_regions_that_the_table_leaves_out_are_a_gap(
    stand: Stand, athena: FakeAthena, parameters: dict[str, str], location: str
) -> None:
    athena.parameters |= parameters
    athena.location = location
    [gap] = stand.read()[1]
    assert gap.kind is GapKind.NOT_LOGGED
    assert "eu-west-1" not in gap.scope.regions
    assert "ap-southeast-2" in gap.scope.regions


def test_days_and_streams_of_a_row_are_read_and_what_is_none_of_them_is_left_out() -> None:
    row = {
        "days": "2026-09-01\x1d2026-09-03\x1dyesterday\x1d",
        "operations": "PutObject\x1dGetObject",
        "streams": (
            "2026-09-01\x1fPutObject\x1farn:aws:s3:::shop/a/\x1earn:aws:s3:::shop\x1d\x1dbroken\x1fX\x1farn"
        ),
    }
    first = datetime(2026, 9, 1, tzinfo=UTC)
    assert list(days_in_row(row)) == [first, first + timedelta(days=2)]
    assert operations_in_row(row) == ["PutObject", "GetObject"]
    assert list(data_uses_in_row(row)) == [
        (first, "PutObject", "arn:aws:s3:::shop/a/"), (first, "PutObject", "arn:aws:s3:::shop"),
    ]  # fmt: skip
    assert list(days_in_row({})) == list(data_uses_in_row({})) == []
