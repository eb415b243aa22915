"""From the inputs to the sources that read trails in S3 and Athena."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.session import AwsSession
from leastpriv.cloudtrail.athena import AthenaTable
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.config.settings import from_options
from leastpriv.evidence.parts import CountingFiles
from leastpriv.models import Gap, GapKind, Scope
from leastpriv.pipeline.sources import open_sources, read_evidence
from tests.fakes.aws.athena import FakeAthena
from tests.fakes.aws.event_history import call
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import FakeAws
from tests.fakes.counted import read_parts
from tests.fakes.deploys import ROLE

NOW = datetime(2026, 4, 1, tzinfo=UTC)
CALLER = {
    "Account": "111122223333",
    "UserId": "AROAEXAMPLE:s",
    "Arn": "arn:aws:sts::111122223333:assumed-role/r/s",
}
DAY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026"


@pytest.fixture
def athena() -> FakeAthena:
    return FakeAthena(None)


@pytest.fixture
def environment(athena: FakeAthena) -> Iterator[dict[str, str]]:
    further_operations = {
        "sts:GetCallerIdentity": lambda _: CALLER,
        "cloudtrail:DescribeTrails": lambda _: {"trailList": []},
    }
    with FakeAws({**athena.operations(), **further_operations}) as aws, FakeS3() as s3:
        s3.objects |= {
            f"{DAY}/01/02/x_20260102T0000Z_.json.gz": b"{}",
            f"{DAY}/03/30/x_20260330T0000Z_.json.gz": b"{}",
        }
        yield s3.environment(others=aws.endpoint)


def sources(environment: dict[str, str], start: str = "", **values: Any) -> list[Any]:
    options = {
        "role-arn": ROLE,
        "policy-file": "p.json",
        **{name.replace("_", "-"): value for name, value in values.items()},
    }
    settings = from_options({**options, "from": start})
    return list(open_sources(settings, [], AwsSession(environment, NOW)))


def test_a_trail_in_s3_is_read_as_far_back_as_lookback_days(
    environment: dict[str, str], tmp_path: Path
) -> None:
    trails, cache = ("s3://logs",), str(tmp_path / "cache")
    for days, files in (("10", 1), ("200", 2)):
        [source] = sources(environment, trails=trails, lookback_days=days, cache_dir=cache)
        assert isinstance(source, S3Trail)
        list(source.read_parts(Window(), Principals(), CountingFiles()))
        assert source.statistics.files == files
    assert list((tmp_path / "cache").glob("*.sqlite"))


def test_a_window_that_a_person_names_goes_before_lookback_days(
    environment: dict[str, str],
) -> None:
    [source] = sources(environment, "2026-01-01", trails=("s3://logs",), lookback_days="1")
    list(read_parts(source, Window(NOW - timedelta(days=90)), Principals()))
    assert source.statistics.files == 2


def test_with_a_table_the_trails_in_s3_are_read_through_it_and_not_twice(
    environment: dict[str, str], athena: FakeAthena
) -> None:
    [source] = sources(environment, trails=("s3://logs",), athena_table="security.logs")
    assert isinstance(source, AthenaTable)
    list(source.read(Window(), Principals()))
    assert [query.split()[0] for query in athena.queries] == ["WITH"]


@pytest.mark.parametrize(("chosen", "calls_on"), [("false", True), ("true", False)])
def test_digests_decide_what_counts_where_they_are_asked_for(
    environment: dict[str, str], chosen: str, calls_on: bool
) -> None:
    """The bucket has none, so that nothing counts."""
    [source] = sources(environment, trails=("s3://logs",), validate_digests=chosen)
    assert isinstance(source, S3Trail)
    parts = list(source.read_parts(Window(), Principals(), CountingFiles()))
    lost = [part for part in parts if isinstance(part, Gap) and part.kind is GapKind.NOT_VALIDATED]
    assert (not lost, source.statistics.damaged_files == 0) == (calls_on, calls_on)


def test_each_of_several_tables_is_one_query(
    environment: dict[str, str], athena: FakeAthena
) -> None:
    """As the three tables of CloudTrail in Security Lake, or those of two trails."""
    tables = "security.logs, other/security.more\nsecurity.logs"
    table_sources = sources(environment, trails=("s3://logs",), athena_table=tables)
    assert [str(source) for source in table_sources] == [
        "security.logs in Athena",
        "other/security.more in Athena",
    ]
    for source in table_sources:
        list(source.read(Window(), Principals()))
    assert [query.count('"more"') for query in athena.queries] == [0, 1]


def test_a_table_alone_is_evidence_enough(environment: dict[str, str]) -> None:
    assert [type(source) for source in sources(environment, athena_table="security.logs")] == [
        AthenaTable
    ]


def test_a_trail_in_s3_without_credentials_is_a_gap_next_to_another_source(tmp_path: Path) -> None:
    record = call(ROLE, "19000000001", "sqs:CreateQueue", NOW, "eu-west-1")
    (tmp_path / "x.json").write_text(json.dumps({"Records": [record]}))
    settings = from_options(
        {"role-arn": ROLE, "policy-file": "p.json", "trails": (str(tmp_path), "s3://logs")}
    )
    without = AwsSession({"AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "nobody"}, NOW)
    counted_sources = open_sources(settings, [tmp_path], without)
    read = read_evidence(counted_sources, Window(), settings.principal)[ROLE]
    assert read.counts.calls == 1
    assert [(gap.kind, gap.scope) for gap in read.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
