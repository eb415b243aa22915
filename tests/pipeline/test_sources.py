"""Sources fail alone: what cannot be opened is a gap beside the others, and an error where there are no others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.config.settings import Settings, from_options
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.read_sources import read_evidence
from leastpriv.models import GapKind, Scope
from leastpriv.pipeline.sources import CountedSource, Reach, open_sources, opened
from tests.fakes import progress
from tests.fakes.aws.event_history import FakeHistory, Fault, call, login
from tests.fakes.command import leastpriv

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
    said = progress.LINES
    settings = chosen("trail", "event-history")
    sources = open_sources(settings, [trail(tmp_path)], Reach({}, NOW))
    evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    assert evidence.counts.calls == 1
    assert [(gap.kind, gap.scope) for gap in evidence.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert "no AWS credentials" in evidence.gaps[0].detail
    assert any("no AWS credentials" in line for line in said)


def test_a_source_that_cannot_be_opened_for_a_reason_nobody_foresaw_is_a_gap_too(tmp_path: Path) -> None:
    def broken() -> CountedSource:
        raise KeyError("Regions")

    folder = TrailFolder(trail(tmp_path))
    sources = opened([broken, lambda: folder])
    evidence = read_evidence(sources, chosen("trail").window, parse_principal(ROLE))[ROLE]
    assert evidence.counts.calls == 1
    assert [(gap.kind, gap.scope) for gap in evidence.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert "unexpected KeyError at test_sources.py" in evidence.gaps[0].detail


def test_who_waits_without_event_history_is_told_that_nothing_is_waited_for(tmp_path: Path) -> None:
    said = progress.LINES
    settings = replace(chosen("trail"), wait_for_events=5)
    open_sources(settings, [trail(tmp_path)], None)
    assert said == ["Nothing is waited for: wait-for-events waits for event history, which trails does not name."]


def test_permissions_are_told_from_the_sources_that_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found = leastpriv("permissions", "--role-arn", ROLE, "--trail", str(trail(tmp_path)), "--trail", "event-history")
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert (found.code, [row["action"] for row in rows if "action" in row]) == (0, ["sqs:CreateQueue"])
    assert [row["gap"] for row in rows if "gap" in row] == ["source-failed"]


def test_where_nothing_can_be_opened_the_reason_is_the_error() -> None:
    with pytest.raises(AwsError, match=r"no AWS credentials.*input trails"):
        open_sources(chosen("event-history"), [], Reach({}, NOW))


def test_the_history_of_another_account_is_an_error_and_no_empty_answer() -> None:
    with FakeHistory(caller="arn:aws:sts::999999999999:assumed-role/reader/x") as fake:
        reach = Reach(fake.environment(), NOW)
        with pytest.raises(InputError, match="account 111122223333"):
            open_sources(chosen("event-history"), [], reach)
        assert fake.requests == []


def test_a_call_that_a_trail_and_event_history_both_show_counts_once(tmp_path: Path) -> None:
    settings = chosen("trail", "event-history")
    with FakeHistory() as fake:
        fake.events["eu-west-1"] = [
            login(ROLE, "19000000001", WHEN, "eu-west-1"),
            call(ROLE, "19000000001", "sqs:CreateQueue", WHEN, "eu-west-1"),
            call(ROLE, "19000000001", "sqs:TagQueue", WHEN, "eu-west-1"),
        ]
        sources = open_sources(settings, [trail(tmp_path)], Reach(fake.environment(), NOW))
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


def history_of(fake: FakeHistory, *regions: str) -> Evidence:
    options = {"role-arn": ROLE, "policy-file": "p.json", "trails": ("event-history",), "aws-regions": regions}
    settings = from_options(options)
    sources = open_sources(settings, [], Reach(fake.environment(), NOW))
    evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    return replace(evidence, regions=tuple(sorted(sources[0].statistics.spans)))


def in_several_regions(fake: FakeHistory) -> None:
    """A session that logs in at home and acts in another region, and with a global service."""
    fake.events = {
        "eu-west-1": [login(ROLE, "19000000001", WHEN, "eu-west-1")],
        "ap-south-1": [call(ROLE, "19000000001", "sns:CreateTopic", WHEN, "ap-south-1")],
        "us-east-1": [call(ROLE, "19000000001", "iam:CreateRole", WHEN, "us-east-1")],
    }


def test_without_aws_regions_the_history_of_every_enabled_region_is_read() -> None:
    with FakeHistory(enabled=["eu-west-1", "ap-south-1", "us-east-1"]) as fake:
        in_several_regions(fake)
        found = history_of(fake)
        assert {region for region, _ in fake.requests} == {"eu-west-1", "ap-south-1", "us-east-1"}
    assert {usage.need.permission.action for usage in found.usages} == {"sns:CreateTopic", "iam:CreateRole"}
    assert found.regions == ("ap-south-1", "eu-west-1", "us-east-1")
    assert [gap.kind for gap in found.gaps] == [GapKind.NO_DATA_EVENTS]


def test_who_may_not_ask_which_regions_are_enabled_is_told_both_ways_out() -> None:
    with FakeHistory(faults=[Fault("invalid", "af-south-1")]) as fake:
        in_several_regions(fake)
        found = history_of(fake)
    assert {usage.need.permission.action for usage in found.usages} == {"sns:CreateTopic", "iam:CreateRole"}
    failed = [gap for gap in found.gaps if gap.kind is GapKind.SOURCE_FAILED]
    assert [gap.scope for gap in failed] == [Scope()]
    assert all(text in failed[0].detail for text in ("af-south-1", "account:ListRegions", "aws-regions"))


def test_with_aws_regions_only_these_are_read_beside_that_of_global_services() -> None:
    with FakeHistory(enabled=["eu-west-1", "ap-south-1", "us-east-1"]) as fake:
        in_several_regions(fake)
        found = history_of(fake, "eu-west-1")
    assert {usage.need.permission.action for usage in found.usages} == {"iam:CreateRole"}
    assert found.regions == ("eu-west-1", "us-east-1")
    assert [gap.kind for gap in found.gaps] == [GapKind.NO_DATA_EVENTS]


def test_aws_regions_are_enough_where_the_environment_names_none() -> None:
    with FakeHistory() as fake:
        environment = {name: value for name, value in fake.environment().items() if name != "AWS_REGION"}
        options = {"role-arn": ROLE, "policy-file": "p.json", "trails": ("event-history",)}
        settings = from_options({**options, "aws-regions": ("eu-west-1",)})
        assert open_sources(settings, [], Reach(environment, NOW, settings.aws_regions))
        with pytest.raises(InputError, match="AWS_REGION"):
            open_sources(from_options(options), [], Reach(environment, NOW))


def test_the_region_of_global_services_is_that_of_the_roles_partition() -> None:
    role = "arn:aws-us-gov:iam::111122223333:role/ci/deploy"
    options = {"role-arn": role, "policy-file": "p.json", "trails": ("event-history",)}
    settings = from_options({**options, "aws-regions": ("us-gov-east-1",)})
    with FakeHistory() as fake:
        reach = Reach(fake.environment("us-gov-east-1"), NOW)
        read_evidence(open_sources(settings, [], reach), settings.window, settings.principal)
        assert {region for region, _ in fake.requests} == {"us-gov-east-1", "us-gov-west-1"}
