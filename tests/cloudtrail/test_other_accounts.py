"""Roles of the same name in the folders of other accounts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.cloudtrail.other_accounts import namesakes
from tests.test_cases import record, write_trail

PROD = "arn:aws:iam::333344445555:role/ci/deploy"
DEV = "arn:aws:iam::111122223333:role/deploy"


@pytest.mark.parametrize("start", ["", "AWSLogs"], ids=["the trail", "its account folders"])
def test_a_role_of_the_name_in_another_account_is_found(tmp_path: Path, start: str) -> None:
    time = datetime(2026, 11, 1, tzinfo=UTC)
    call = {"event": "sqs:CreateQueue"}
    found = [record(arn, "x", time, call, arn.split(":")[4]) for arn in (PROD, DEV)]
    others = [record(PROD + "-not", "x", time, call, "333344445555")]
    write_trail(tmp_path, [*found, *others], ["111122223333", "333344445555"])
    assert namesakes(tmp_path / start, {"deploy"}, {"111122223333"}) == {PROD: 1}
    assert not namesakes(tmp_path, {"other"}, {"111122223333"})


def test_damaged_files_are_passed_over(tmp_path: Path) -> None:
    day = tmp_path / "AWSLogs/333344445555/CloudTrail/eu-west-1/2026/11/01"
    day.mkdir(parents=True)
    (day / "a.json.gz").write_bytes(b"no gzip")
    (day / "b.json").write_text(f'{{"arn": "{PROD}"}}', encoding="utf-8")
    assert namesakes(tmp_path, {"deploy"}, set()) == {PROD: 1}
    assert not namesakes(tmp_path / "absent", {"deploy"}, set())
