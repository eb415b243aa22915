"""Roles of the same name in the folders of other accounts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail import other_accounts
from leastpriv.cloudtrail.file_reader import S3TrailOptions
from leastpriv.cloudtrail.other_accounts import namesakes_on_disk
from leastpriv.cloudtrail.trail import S3Trail
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.counted import read_parts
from tests.test_cases import record, write_trail

PROD = "arn:aws:iam::333344445555:role/ci/deploy"
DEV = "arn:aws:iam::111122223333:role/deploy"
OWN = frozenset({"111122223333"})
TIME = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as server:
        yield server


@pytest.fixture
def s3(server: FakeS3, tmp_path: Path) -> FakeS3:
    """A bucket with a file of two accounts, whose roles `deploy` made a call each."""
    server.forget()
    call = {"event": "sqs:CreateQueue"}
    records = [record(arn, "x", TIME, call, arn.split(":")[4]) for arn in (PROD, DEV)]
    write_trail(tmp_path, records, ["111122223333", "333344445555"])
    for path in tmp_path.rglob("*.json*"):
        server.objects[path.relative_to(tmp_path).as_posix()] = path.read_bytes()
    return server


def read_trail(s3: FakeS3, named: str = "s3://logs", days: int = 1) -> S3Trail:
    """The trail after the calls of the role in the one account were read."""
    source = S3Trail(s3.aws(), named, S3TrailOptions(now=TIME + timedelta(days=days)))
    list(read_parts(source, Window(), Principals(frozenset({parse_principal(DEV)}))))
    s3.requests.clear()
    return source


def test_the_bucket_of_an_organization_shows_a_role_of_the_name_in_another_account(
    s3: FakeS3,
) -> None:
    assert read_trail(s3).namesakes({"deploy"}, OWN) == {PROD: 1}
    assert s3.gets() == 1
    assert len(s3.requests) < 8
    assert not read_trail(s3).namesakes({"other"}, OWN)


def test_files_of_earlier_weeks_show_no_role(s3: FakeS3) -> None:
    assert not read_trail(s3, days=30).namesakes({"deploy"}, OWN)
    assert not s3.gets()


def test_a_bucket_that_the_role_may_not_list_further_names_no_role(s3: FakeS3) -> None:
    source = read_trail(s3)
    s3.refuse("LIST", "AccessDenied")
    assert not source.namesakes({"deploy"}, OWN)
    source = read_trail(s3)
    s3.refuse("333344445555", "AccessDenied")
    assert not source.namesakes({"deploy"}, OWN)


def test_the_folder_of_one_account_is_not_listed_again(s3: FakeS3) -> None:
    source = read_trail(s3, "s3://logs/AWSLogs/111122223333")
    assert not source.namesakes({"deploy"}, OWN)
    assert not s3.requests


@pytest.mark.parametrize("start", ["", "AWSLogs"], ids=["the trail", "its account folders"])
def test_a_role_of_the_name_in_another_account_is_found(tmp_path: Path, start: str) -> None:
    time = datetime(2026, 11, 1, tzinfo=UTC)
    call = {"event": "sqs:CreateQueue"}
    records = [record(arn, "x", time, call, arn.split(":")[4]) for arn in (PROD, DEV)]
    further_records = [record(PROD + "-not", "x", time, call, "333344445555")]
    write_trail(tmp_path, [*records, *further_records], ["111122223333", "333344445555"])
    assert namesakes_on_disk(tmp_path / start, {"deploy"}, {"111122223333"}) == {PROD: 1}
    assert not namesakes_on_disk(tmp_path, {"other"}, {"111122223333"})


def test_damaged_files_are_passed_over(tmp_path: Path) -> None:
    day = tmp_path / "AWSLogs/333344445555/CloudTrail/eu-west-1/2026/11/01"
    day.mkdir(parents=True)
    (day / "a.json.gz").write_bytes(b"no gzip")
    (day / "b.json").write_text(f'{{"arn": "{PROD}"}}', encoding="utf-8")
    assert namesakes_on_disk(tmp_path, {"deploy"}, set()) == {PROD: 1}
    assert not namesakes_on_disk(tmp_path / "absent", {"deploy"}, set())


def test_a_role_of_an_own_account_is_never_found_however_many_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role of the target's account may have calls in the folders of others."""
    monkeypatch.setattr(other_accounts, "_MOST_FILES", 1)
    day = tmp_path / "AWSLogs/333344445555/CloudTrail/eu-west-1/2026/11/01"
    day.mkdir(parents=True)
    for name in ("a.json", "b.json"):
        (day / name).write_text(f'{{"arn": "{DEV}", "other": "{PROD}"}}', encoding="utf-8")
    assert namesakes_on_disk(tmp_path, {"deploy"}, OWN) == {PROD: 1}


def write_text(folder: Path, text: str) -> None:
    """Writes a log file of another account."""
    day = folder / "AWSLogs/333344445555/CloudTrail/eu-west-1/2026/11/01"
    day.mkdir(parents=True)
    (day / "a.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        '{"arn":"arn:aws:iam::333344445555:role/app","userName":"app"},"userAgent":"tool/deploy"}',
        r'"{\"arn:aws:iam::333344445555:role/app\",\"tool/deploy\"}"',
        r'"arn:aws:iam::333344445555:role/app\",\"tool/deploy"',
    ],
    ids=["two fields", "escaped quotes", "an escaped quote within"],
)
def test_a_name_in_another_text_behind_a_role_is_not_its_name(tmp_path: Path, text: str) -> None:
    write_text(tmp_path, text)
    assert not namesakes_on_disk(tmp_path, {"deploy"}, set())


def test_roles_are_found_soon_in_a_long_text_without_blanks(tmp_path: Path) -> None:
    other_record = '{"arn":"arn:aws:iam::333344445555:role/ci/app","userAgent":"aws-cli/2/x"},'
    write_text(tmp_path, other_record * 14_000 + f'"{PROD}"')
    start = process_time()
    assert namesakes_on_disk(tmp_path, {"deploy"}, set()) == {PROD: 1}
    assert process_time() - start < 0.2
