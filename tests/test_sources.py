"""Sources fail alone: what cannot be opened is a gap beside the others, and an error where there are no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.read import read_evidence
from leastpriv.model import GapKind, Scope
from leastpriv.settings import Settings, from_options
from leastpriv.sources import Reach, open_sources
from tests.fakes.aws.event_history import FakeHistory, call, login

ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WHEN = datetime(2026, 11, 20, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def chosen(*trails: str) -> Settings:
    return from_options(
        {"role-arn": ROLE, "policy-file": "p.json", "trails": trails, "aws-regions": ("eu-west-1", "us-east-1")}
    )


def trail(folder: Path) -> Path:
    records = [call(ROLE, "19000000001", "sqs:CreateQueue", WHEN, "eu-west-1")]
    (folder / "trail.json").write_text(json.dumps({"Records": records}))
    return folder / "trail.json"


def test_a_source_that_cannot_be_opened_is_a_gap_of_everything_beside_the_others(tmp_path: Path) -> None:
    said: list[str] = []
    settings = chosen("trail", "event-history")
    sources = open_sources(settings, [trail(tmp_path)], Reach({}, NOW), said.append)
    evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    assert evidence.counts.calls == 1
    assert [(gap.kind, gap.scope) for gap in evidence.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert "no AWS credentials" in evidence.gaps[0].detail
    assert any("no AWS credentials" in line for line in said)


def test_where_nothing_can_be_opened_the_reason_is_the_error() -> None:
    with pytest.raises(AwsError, match=r"no AWS credentials.*input trails"):
        open_sources(chosen("event-history"), [], Reach({}, NOW), print)


def test_the_history_of_another_account_is_an_error_and_no_empty_answer() -> None:
    with FakeHistory(caller="arn:aws:sts::999999999999:assumed-role/reader/x") as fake:
        reach = Reach(fake.environment(), NOW)
        with pytest.raises(InputError, match="account 111122223333"):
            open_sources(chosen("event-history"), [], reach, print)
        assert fake.requests == []


def test_a_call_that_a_trail_and_event_history_both_show_counts_once(tmp_path: Path) -> None:
    settings = chosen("trail", "event-history")
    with FakeHistory() as fake:
        fake.events["eu-west-1"] = [
            login(ROLE, "19000000001", WHEN, "eu-west-1"),
            call(ROLE, "19000000001", "sqs:CreateQueue", WHEN, "eu-west-1"),
            call(ROLE, "19000000001", "sqs:TagQueue", WHEN, "eu-west-1"),
        ]
        sources = open_sources(settings, [trail(tmp_path)], Reach(fake.environment(), NOW), print)
        evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    assert {usage.need.permission.action: usage.count for usage in evidence.usages} == {
        "sqs:CreateQueue": 1,
        "sqs:TagQueue": 1,
    }


def test_aws_is_asked_once_whose_credentials_these_are_and_an_error_stays_the_same() -> None:
    reach = Reach({}, NOW)
    errors = []
    for _ in range(2):
        with pytest.raises(AwsError) as caught:
            reach.aws()
        errors.append(caught.value)
    assert errors[0] is errors[1]
