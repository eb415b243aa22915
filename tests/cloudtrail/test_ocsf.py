"""A table of Security Lake, in the form of OCSF 1.1.0, and one of CloudTrail records give the same
evidence as the files.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bench.repeating_trail import rewritten
from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.athena import AthenaOptions, AthenaTable
from leastpriv.cloudtrail.athena_sql import CloudTrailTable, usage_query
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.models import Evidence
from leastpriv.models import Gap, GapKind
from leastpriv.pipeline.sources import CountedSource, ReadHooks, read_evidence
from tests.cloudtrail.test_athena import MINE, ODD, outlines
from tests.fakes.aws.athena import DuckDb, FakeAthena, is_there
from tests.fakes.aws.security_lake import COLUMNS, LAKE, create_lake
from tests.fakes.aws.server import FakeAws
from tests.fakes.deploys import NOW, ROLE, deploys, write_trail

needs_duckdb = pytest.mark.skipif(not is_there(), reason="NOT COMPARED: `make lab` installs DuckDB")
EVERYBODY = Principals()
UPDATE = {
    "event": "lambda:UpdateFunctionCode20150331v2",
    "parameters": {"functionName": "orders"},
    "response": {"functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:orders"},
}
PUT = {
    "event": "s3:PutObject",
    "parameters": {"bucketName": "orders", "key": "a/b"},
    "resources": ["arn:aws:s3:::orders/a/b", "arn:aws:s3:::orders"],
    "data": True,
}
REFUSED = {"event": "sqs:CreateQueue", "error": "AccessDenied", "message": "no"}


class Tables:
    """Both tables of the records of a folder, in Athena."""

    def __init__(self, logs: Path) -> None:
        self._duckdb = DuckDb(logs)
        self._aws = FakeAws({})

    def __enter__(self) -> Tables:
        self._duckdb.__enter__()
        create_lake(self._duckdb)
        self._aws.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._aws.__exit__(None, None, None)
        self._duckdb.__exit__(None, None, None)

    def open(self, name: str) -> AthenaTable:
        """Opens one of them as a source."""
        athena = FakeAthena(self._duckdb, page=1_000)
        if name == LAKE:
            athena = FakeAthena(self._duckdb, columns=COLUMNS, partitions=(), page=1_000)
            athena.parameters = {}
        trails = {"cloudtrail:DescribeTrails": lambda _: {"trailList": []}}
        self._aws.forget({**athena.operations(), **trails})
        clients = Aws.open(self._aws.environment())
        return AthenaTable(clients, name, NOW, AthenaOptions(poll=0.01))


def evidence_of(source: CountedSource, principals: Principals) -> Mapping[str, bytes]:
    """Principal -> its evidence as bytes; what the settings of a trail would add is left out."""
    gaps: list[Gap] = []
    evidence_by_role = read_evidence([source], Window(), principals, ReadHooks(shared_gaps=gaps))
    assert {gap.kind for gap in gaps} <= {GapKind.SETTINGS_UNKNOWN}
    return {
        arn: msgspec.json.encode(without_source(evidence), order="deterministic")
        for arn, evidence in evidence_by_role.items()
    }


def without_source(evidence: Evidence) -> Evidence:
    gaps = [gap for gap in evidence.gaps if gap.kind is not GapKind.SETTINGS_UNKNOWN]
    return msgspec.structs.replace(evidence, gaps=tuple(gaps))


def compare(logs: Path, principals: Principals) -> int:
    """Insists on equal evidence of the folder and of both tables; returns the number of records."""
    folder = TrailFolder(logs)
    expected = evidence_of(folder, principals)
    assert expected
    with Tables(logs) as tables:
        for name in ("security.logs", LAKE):
            source = tables.open(name)
            evidence_by_role = evidence_of(source, principals)
            assert evidence_by_role.keys() == expected.keys()
            assert [arn for arn in expected if evidence_by_role[arn] != expected[arn]] == []
            assert source.statistics.records == folder.statistics.records
    return folder.statistics.records


@pytest.fixture(scope="module")
def generator(shared_folder: Path) -> Path:
    """The program that writes logs of 200 roles in four accounts."""
    program = shared_folder / "tools" / "gen_trail.py"
    if not program.is_file():
        pytest.skip(f"NOT COMPARED: the generator of logs is outside the repository, {program}")
    return program


def generated(generator: Path, folder: Path, megabytes: int) -> Path:
    """Writes logs, about 640 records a megabyte."""
    size = ["--mb", str(megabytes), "--seed", "7"]
    command = [sys.executable, str(generator), "--out", str(folder), *size]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def with_repeated_calls(logs: Path) -> Path:
    """Writes a copy whose calls repeat."""
    copy = logs.with_name("repeating")
    for _ in rewritten(logs, copy):
        pass
    return copy


@needs_duckdb
def test_both_tables_give_the_evidence_of_the_folder(tmp_path: Path, generator: Path) -> None:
    logs = generated(generator, tmp_path / "logs", 4)
    assert compare(logs, EVERYBODY) >= 2_000


@needs_duckdb
@pytest.mark.slow
@pytest.mark.parametrize("repeats", [False, True], ids=["generated", "repeating"])
def test_both_tables_give_the_evidence_of_the_folder_on_100_000_records(
    tmp_path: Path, generator: Path, *, repeats: bool
) -> None:
    logs = generated(generator, tmp_path / "logs", 160)
    if repeats:
        logs = with_repeated_calls(logs)
    assert compare(logs, EVERYBODY) >= 100_000


@needs_duckdb
def test_both_tables_give_the_evidence_of_data_events_and_denials(tmp_path: Path) -> None:
    logs = write_trail(tmp_path / "logs", deploys([UPDATE, PUT, REFUSED]))
    assert compare(logs, Principals(frozenset({parse_principal(ROLE)}))) == 18


TIMES = {
    "no time",
    "one bad time among good ones",
    "a blank in the time",
    "a fraction of a second",
    "a zone",
}
"""Odd times, which a column of timestamps cannot have."""


@needs_duckdb
def test_odd_records_of_a_lake_give_what_the_reader_of_files_makes_of_them(tmp_path: Path) -> None:
    records = [
        {**record, "eventID": record["eventID"] and f"{record['eventID']} of {name}"}
        for name, group in ODD.items()
        for record in group
        if name not in TIMES
    ]
    logs = write_trail(tmp_path / "logs", records)
    calls, lost = outlines(TrailFolder(logs).read(Window(), MINE))
    with Tables(logs) as tables:
        assert outlines(tables.open(LAKE).read(Window(), MINE)) == (calls, lost)
    assert (len(calls), lost) == (13, 2)


def described(*partitions: str) -> CloudTrailTable:
    columns = [{"Name": name, "Type": kind} for name, kind in COLUMNS.items()]
    keys = [{"Name": name, "Type": "string"} for name in partitions]
    table = CloudTrailTable.of("lake", "events", {"Columns": columns, "PartitionKeys": keys})
    assert table.is_ocsf
    return table


@pytest.mark.parametrize("partitions", [(), ("accountid", "region")])
def test_a_query_of_security_lake_names_what_skips_files(partitions: tuple[str, ...]) -> None:
    principals = Principals(frozenset({parse_principal(ROLE)}))
    query = usage_query(described(*partitions), Window(start=NOW), principals, ["eu-west-1"])
    assert f"time_dt >= TIMESTAMP '{NOW:%Y-%m-%d %H:%M:%S}'" in query
    assert "\"accountid\" IN ('111122223333')" in query
    assert "\"region\" IN ('eu-west-1')" in query
