"""A CloudWatch log group as a trail, over HTTP, from a fake that botocore's models validate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.trail import LogGroup, S3TrailOptions
from leastpriv.config.inputs import trails
from leastpriv.errors import InputError
from leastpriv.models import Call, Gap, GapKind
from tests.fakes.aws.log_groups import LogGroups
from tests.fakes.aws.server import FakeAws
from tests.fakes.command import leastpriv
from tests.fakes.deploys import NOW, ROLE, UPDATE, record, usual_deploys, write_trail

GROUP = "cloudtrail/logs"
ARN = f"arn:aws:logs:eu-west-1:111122223333:log-group:{GROUP}"
ONE = Principals(frozenset({parse_principal(ROLE)}))
TRAIL = {
    "Name": "main", "TrailARN": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main",
    "S3BucketName": "logs",
    "HomeRegion": "eu-west-1", "IsMultiRegionTrail": True, "IncludeGlobalServiceEvents": True,
    "CloudWatchLogsLogGroupArn": f"{ARN}:*",
}  # fmt: skip
ALL = {
    "EventSelectors": [
        {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}
    ]
}


@pytest.fixture
def groups() -> LogGroups:
    return LogGroups({GROUP: usual_deploys()}, [TRAIL], ALL)


@pytest.fixture
def aws(groups: LogGroups) -> Iterator[FakeAws]:
    with FakeAws(groups.operations()) as running:
        yield running


def read(
    aws: FakeAws,
    named: str = f"log-group:{GROUP}",
    window: Window = Window(),  # noqa: B008
) -> list[Call | Gap]:
    return list(LogGroup(Aws.open(aws.environment()), named, S3TrailOptions()).read(window, ONE))


def gaps(found: list[Call | Gap], kind: GapKind) -> list[str]:
    return [
        observation.detail
        for observation in found
        if isinstance(observation, Gap) and observation.kind is kind
    ]


@pytest.mark.parametrize("named", [f"log-group:{GROUP}", ARN, f"{ARN}:*"])
def test_a_log_group_has_the_calls_of_the_trail_s_files(
    aws: FakeAws, tmp_path: Path, named: str
) -> None:
    source = LogGroup(Aws.open(aws.environment()), named, S3TrailOptions())
    observations = list(source.read(Window(), ONE))
    expected = TrailFolder(write_trail(tmp_path, usual_deploys())).read(Window(), ONE)
    calls = {
        observation.event_id: observation
        for observation in observations
        if isinstance(observation, Call)
    }
    assert calls == {
        observation.event_id: observation
        for observation in expected
        if isinstance(observation, Call)
    }
    assert (source.statistics.files, source.statistics.every_region) == (0, True)
    assert source.statistics.requests == len(aws.asked("FilterLogEvents")) > 4


def test_only_the_window_is_asked_for_and_read(aws: FakeAws) -> None:
    start = NOW - timedelta(days=20)
    end = start + timedelta(days=10)
    calls = [
        observation
        for observation in read(aws, window=Window(start, end))
        if isinstance(observation, Call)
    ]
    assert calls
    assert all(start <= call.time < end for call in calls)
    first, *_ = aws.asked("FilterLogEvents")
    assert first["startTime"] == start.timestamp() * 1000
    assert first["endTime"] == (end + timedelta(days=1)).timestamp() * 1000


def test_a_damaged_event_is_a_gap_and_hides_no_other(aws: FakeAws, groups: LogGroups) -> None:
    groups.records[GROUP] = [
        record(UPDATE, NOW, "1"),
        '{"eventVersion":"1.11","eventName":',
        record(UPDATE, NOW, "2"),
    ]
    observations = read(aws)
    assert len([observation for observation in observations if isinstance(observation, Call)]) == 2
    assert gaps(observations, GapKind.UNREADABLE_RECORD) or gaps(
        observations, GapKind.UNREADABLE_FILE
    )


def test_a_log_group_of_another_program_or_none_is_bad_input(
    aws: FakeAws, groups: LogGroups
) -> None:
    groups.records["app"] = ["START RequestId", '{"level":"info"}']
    with pytest.raises(InputError, match="holds no CloudTrail record"):
        read(aws, "log-group:app")
    with pytest.raises(InputError, match="there is no log group 'other'"):
        read(aws, "log-group:other")


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("AccessDeniedException", 400, "AWS denied logs:FilterLogEvents"),
        ("ThrottlingException", 400, "AWS throttled the requests"),
    ],
)
def test_a_refused_request_is_a_gap_of_everything(
    aws: FakeAws, code: str, status: int, detail: str
) -> None:
    aws.refuse("FilterLogEvents", code, "no", status)
    (failed,) = gaps(read(aws), GapKind.SOURCE_FAILED)
    assert failed.startswith(f"log-group:{GROUP}: {detail}")


def test_a_group_whose_key_the_reader_may_not_use_names_the_permission(aws: FakeAws) -> None:
    message = (
        "User: arn:aws:sts::111122223333:assumed-role/reader/x is not authorized to perform:"
        " kms:Decrypt on x"
    )
    aws.refuse("FilterLogEvents", "AccessDeniedException", message)
    (failed,) = gaps(read(aws), GapKind.SOURCE_FAILED)
    assert "kms:Decrypt" in failed


def test_events_that_did_not_reach_the_log_group_are_a_gap(aws: FakeAws) -> None:
    status = {
        "IsLogging": True,
        "LatestDeliveryError": "NoSuchBucket",
        "LatestCloudWatchLogsDeliveryError": "Denied",
    }
    aws.operations["cloudtrail:GetTrailStatus"] = lambda _: status
    [detail] = gaps(read(aws), GapKind.LOGGING_STOPPED)
    assert detail.endswith("could not deliver its events: Denied")


def test_throttling_that_ends_loses_nothing(aws: FakeAws) -> None:
    unthrottled = read(aws)
    aws.refuse("FilterLogEvents", "ThrottlingException", "slow down", times=1)
    assert read(aws) == unthrottled


def test_a_broken_off_page_is_a_gap(aws: FakeAws) -> None:
    aws.break_off("FilterLogEvents")
    assert gaps(read(aws), GapKind.SOURCE_FAILED)


def test_the_settings_of_the_trail_that_delivers_there_count(
    aws: FakeAws, groups: LogGroups
) -> None:
    assert gaps(read(aws), GapKind.SETTINGS_UNKNOWN) == []
    groups.trails = ()
    assert gaps(read(aws), GapKind.SETTINGS_UNKNOWN)
    groups.trails = [{**TRAIL, "IsMultiRegionTrail": False}]
    assert any("records eu-west-1 only" in gap for gap in gaps(read(aws), GapKind.NOT_LOGGED))


def test_a_command_lists_what_a_log_group_shows(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.operations["sts:GetCallerIdentity"] = lambda _: {
        "UserId": "A", "Account": "111122223333", "Arn": "arn:aws:iam::111122223333:user/reader",
    }  # fmt: skip
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    run = leastpriv("permissions", "--role-arn", ROLE, "--trails", f"log-group:{GROUP}")
    assert (run.code, "sqs:CreateQueue" in run.out) == (0, True), run.err


@pytest.mark.parametrize(
    "name", ["log-group:", "log-group:a b", "arn:aws:logs:eu-west-1:1:log-group:x"]
)
def test_a_malformed_name_is_bad_input(name: str) -> None:
    with pytest.raises(InputError, match="log-group:NAME"):
        trails((name,), "--trails")
