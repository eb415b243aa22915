"""Sources fail alone: what cannot be opened is a gap beside the others, and an error where there
are no others.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import AwsSession
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.config.settings import Settings, from_options
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.models import Evidence
from leastpriv.models import GapKind, Scope
from leastpriv.pipeline.sources import CountedSource, open_all, open_sources, read_evidence
from tests.fakes import progress
from tests.fakes.aws.event_history import FakeHistory, Fault, call, login
from tests.fakes.command import leastpriv
from tests.fakes.replace import replace

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
        {
            "role-arn": ROLE,
            "policy-file": "p.json",
            "trails": trails,
            "aws-regions": ("eu-west-1", "us-east-1"),
        }
    )


def trail(folder: Path) -> Path:
    records = [call(ROLE, "19000000001", "sqs:CreateQueue", WHEN, "eu-west-1")]
    (folder / "trail.json").write_text(json.dumps({"Records": records}))
    return folder / "trail.json"


def test_a_source_that_cannot_be_opened_is_a_gap_in_all_services(tmp_path: Path) -> None:
    log_lines = progress.LINES
    settings = chosen("trail", "event-history")
    sources = open_sources(settings, [trail(tmp_path)], AwsSession({}, NOW))
    evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    assert evidence.counts.calls == 1
    assert [(gap.kind, gap.scope) for gap in evidence.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert "no AWS credentials" in evidence.gaps[0].detail
    assert any("no AWS credentials" in line for line in log_lines)


def test_a_source_with_an_unexpected_error_is_a_gap(tmp_path: Path) -> None:
    def broken() -> CountedSource:
        raise KeyError("Regions")

    folder = TrailFolder(trail(tmp_path))
    sources = open_all([broken, lambda: folder])
    evidence = read_evidence(sources, chosen("trail").window, parse_principal(ROLE))[ROLE]
    assert evidence.counts.calls == 1
    assert [(gap.kind, gap.scope) for gap in evidence.gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert "unexpected KeyError at test_sources.py" in evidence.gaps[0].detail


def test_waiting_without_event_history_is_reported(tmp_path: Path) -> None:
    log_lines = progress.LINES
    settings = replace(chosen("trail"), wait_for_events=5)
    open_sources(settings, [trail(tmp_path)], None)
    assert log_lines == [
        "wait-for-events has no effect: it waits for event history, which trails does not name."
    ]


def test_permissions_are_listed_from_the_sources_that_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    run = leastpriv(
        "permissions",
        "--role-arn",
        ROLE,
        "--trails",
        str(trail(tmp_path)),
        "--trails",
        "event-history",
    )
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert (run.code, [row["action"] for row in rows if "action" in row]) == (
        0,
        ["sqs:CreateQueue"],
    )
    assert [row["gap"] for row in rows if "gap" in row] == ["source-failed"]


def test_without_an_open_source_the_first_reason_is_the_error() -> None:
    with pytest.raises(AwsError, match=r"no AWS credentials.*input trails"):
        open_sources(chosen("event-history"), [], AwsSession({}, NOW))


def test_the_history_of_another_account_is_an_error_and_no_empty_answer() -> None:
    with FakeHistory(caller="arn:aws:sts::999999999999:assumed-role/reader/x") as fake:
        reach = AwsSession(fake.environment(), NOW)
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
        sources = open_sources(settings, [trail(tmp_path)], AwsSession(fake.environment(), NOW))
        evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    assert {usage.need.permission.action: usage.count for usage in evidence.usages} == {
        "sqs:CreateQueue": 1,
        "sqs:TagQueue": 1,
    }


def test_the_caller_is_read_once_and_its_error_repeats() -> None:
    reach = AwsSession({}, NOW)
    errors = []
    for _ in range(2):
        with pytest.raises(AwsError) as caught:
            reach.aws()
        errors.append(caught.value)
    assert errors[0] is errors[1]


def history_of(fake: FakeHistory, *regions: str) -> Evidence:
    options = {
        "role-arn": ROLE,
        "policy-file": "p.json",
        "trails": ("event-history",),
        "aws-regions": regions,
    }
    settings = from_options(options)
    sources = open_sources(settings, [], AwsSession(fake.environment(), NOW))
    evidence = read_evidence(sources, settings.window, settings.principal)[ROLE]
    return replace(evidence, regions=tuple(sorted(sources[0].statistics.days)))


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
        evidence = history_of(fake)
        assert {region for region, _ in fake.requests} == {"eu-west-1", "ap-south-1", "us-east-1"}
    assert {usage.need.permission.action for usage in evidence.usages} == {
        "sns:CreateTopic",
        "iam:CreateRole",
    }
    assert evidence.regions == ("ap-south-1", "eu-west-1", "us-east-1")
    assert [gap.kind for gap in evidence.gaps] == [GapKind.NO_DATA_EVENTS]


def test_denied_regions_name_both_remedies() -> None:
    with FakeHistory(faults=[Fault("invalid", "af-south-1")]) as fake:
        in_several_regions(fake)
        evidence = history_of(fake)
    assert {usage.need.permission.action for usage in evidence.usages} == {
        "sns:CreateTopic",
        "iam:CreateRole",
    }
    failed = [gap for gap in evidence.gaps if gap.kind is GapKind.SOURCE_FAILED]
    assert [gap.scope for gap in failed] == [Scope()]
    assert all(
        text in failed[0].detail for text in ("af-south-1", "account:ListRegions", "aws-regions")
    )


def test_with_aws_regions_only_these_and_the_region_of_global_services_are_read() -> None:
    with FakeHistory(enabled=["eu-west-1", "ap-south-1", "us-east-1"]) as fake:
        in_several_regions(fake)
        evidence = history_of(fake, "eu-west-1")
    assert {usage.need.permission.action for usage in evidence.usages} == {"iam:CreateRole"}
    assert evidence.regions == ("eu-west-1", "us-east-1")
    assert [gap.kind for gap in evidence.gaps] == [GapKind.NO_DATA_EVENTS]


def test_aws_regions_are_enough_where_the_environment_names_none() -> None:
    with FakeHistory() as fake:
        environment = {
            name: value for name, value in fake.environment().items() if name != "AWS_REGION"
        }
        options = {"role-arn": ROLE, "policy-file": "p.json", "trails": ("event-history",)}
        settings = from_options({**options, "aws-regions": ("eu-west-1",)})
        assert open_sources(settings, [], AwsSession(environment, NOW, settings.aws_regions))
        with pytest.raises(InputError, match="AWS_REGION"):
            open_sources(from_options(options), [], AwsSession(environment, NOW))


def test_the_region_of_global_services_is_that_of_the_roles_partition() -> None:
    role = "arn:aws-us-gov:iam::111122223333:role/ci/deploy"
    options = {"role-arn": role, "policy-file": "p.json", "trails": ("event-history",)}
    settings = from_options({**options, "aws-regions": ("us-gov-east-1",)})
    with FakeHistory() as fake:
        reach = AwsSession(fake.environment("us-gov-east-1"), NOW)
        read_evidence(open_sources(settings, [], reach), settings.window, settings.principal)
        assert {region for region, _ in fake.requests} == {"us-gov-east-1", "us-gov-west-1"}
