"""The lab's event history and policy generation answer as documented for the real ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tests.end_to_end.lab.event_history import LookupRefusedError, lookup
from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.lab.trail import Trail
from tests.end_to_end.test_lab import allow, policy

START = datetime(2026, 11, 1, tzinfo=UTC)


def record(
    number: int, region: str = "eu-west-1", management: bool = True, name: str = "CreateQueue"
) -> dict[str, Any]:
    return {
        "eventID": f"id-{number}",
        "eventName": name,
        "eventSource": "sqs.amazonaws.com",
        "awsRegion": region,
        "eventTime": (START + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "readOnly": False,
        "managementEvent": management,
        "userIdentity": {
            "type": "AssumedRole",
            "arn": "arn:aws:sts::1:assumed-role/ci/run-1",
            "accessKeyId": "ASIA1",
        },
    }


def pages(records: list[dict[str, Any]], **asked: Any) -> Iterator[list[str]]:
    token = None
    while True:
        answer = lookup(records, "eu-west-1", asked | ({"NextToken": token} if token else {}))
        yield [each["EventId"] for each in answer["Events"]]
        token = answer.get("NextToken")
        if token is None:
            return


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=150), st.integers(1, 50))
def test_pages_hold_each_management_event_of_the_region_once_newest_first(
    kinds: list[tuple[bool, bool]], size: int
) -> None:
    records = [
        record(i, "eu-west-1" if here else "us-east-1", own) for i, (here, own) in enumerate(kinds)
    ]
    wanted = [f"id-{i}" for i, kind in enumerate(kinds) if kind == (True, True)]
    found = list(pages(records, MaxResults=size))
    assert [each for page in found for each in page] == wanted[::-1]
    assert all(len(page) == size for page in found[:-1])


def test_events_that_arrive_between_two_pages_do_not_shift_them() -> None:
    records = [record(i) for i in range(4)]
    first = lookup(records, "eu-west-1", {"MaxResults": 2})
    records.append(record(9))
    second = lookup(records, "eu-west-1", {"MaxResults": 2, "NextToken": first["NextToken"]})
    assert [each["EventId"] for each in second["Events"]] == ["id-1", "id-0"]


def test_a_token_of_another_request_is_an_error() -> None:
    records = [record(i) for i in range(4)]
    token = lookup(records, "eu-west-1", {"MaxResults": 2})["NextToken"]
    other = [{"AttributeKey": "EventName", "AttributeValue": "CreateQueue"}]
    with pytest.raises(LookupRefusedError) as refused:
        lookup(
            records, "eu-west-1", {"MaxResults": 2, "NextToken": token, "LookupAttributes": other}
        )
    assert refused.value.code == "InvalidNextTokenException"


def test_times_and_attributes_narrow_the_history() -> None:
    records = [record(i, name="CreateQueue" if i % 2 else "DeleteQueue") for i in range(10)]
    asked = {
        "StartTime": START + timedelta(minutes=2),
        "EndTime": START + timedelta(minutes=5),
        "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "CreateQueue"}],
    }
    assert list(pages(records, **asked)) == [["id-5", "id-3"]]
    by_session = [{"AttributeKey": "Username", "AttributeValue": "run-1"}]
    assert len(lookup(records, "eu-west-1", {"LookupAttributes": by_session})["Events"]) == 10


def test_a_record_is_invisible_until_its_delay_is_over(tmp_path: Path) -> None:
    now = [START]
    trail = Trail(tmp_path, "111122223333", 900.0, lambda: now[0])
    trail.add(record(0))
    assert trail.delivered() == []
    assert trail.flush() == 0
    now[0] += timedelta(seconds=900)
    assert len(trail.delivered()) == 1
    assert trail.flush() == 1
    assert trail.flush() == 0
    (path,) = tmp_path.rglob("*.json.gz")
    assert path.relative_to(tmp_path).parts[:-1] == (
        "AWSLogs", "111122223333", "CloudTrail", "eu-west-1", "2026", "11", "01",
    )  # fmt: skip


def test_the_delay_of_a_running_lab_holds_history_and_files_back(lab: Lab) -> None:
    def names_in_history() -> list[str]:
        events = lab.client("cloudtrail").lookup_events(MaxResults=5)["Events"]
        return [event["EventName"] for event in events]

    # Longer than the calls below take, however busy the machine is.
    started = time.monotonic()
    names_in_history()
    lab.flush()
    lab.set(delay=2.0 + 5 * (time.monotonic() - started))
    try:
        lab.client("sqs").create_queue(QueueName="late")
        assert "CreateQueue" not in names_in_history()
        assert lab.flush() == 0
        until = time.monotonic() + 60
        while not (written := lab.flush()) and time.monotonic() < until:
            time.sleep(0.2)
        assert written
        assert "CreateQueue" in names_in_history()
    finally:
        lab.set(delay=0.0)


def test_lookups_are_throttled_if_the_lab_is_configured_so(lab: Lab) -> None:
    trail = lab.client("cloudtrail", config=Config(retries={"total_max_attempts": 1}))
    lab.set(lookups_per_second=2)
    try:
        answers = [_code_of(trail) for _ in range(8)]
        assert set(answers) == {"", "ThrottlingException"}
    finally:
        lab.set(lookups_per_second=0)


def _code_of(trail: Any) -> str:
    try:
        trail.lookup_events(MaxResults=1)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_a_generated_policy_lacks_data_events_and_passed_roles(lab: Lab) -> None:
    given = lab.role("passed", None)
    arn = lab.role("observed", policy(allow("*")))
    session = lab.assume(arn, "run-1")
    objects = lab.client("s3", session)
    objects.create_bucket(Bucket="observed")
    objects.put_object(Bucket="observed", Key="a", Body=b"1")
    machine = {
        "name": "m",
        "definition": '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        "roleArn": given,
    }
    lab.client("stepfunctions", session).create_state_machine(**machine)
    analyzer = lab.client("accessanalyzer")
    job = analyzer.start_policy_generation(policyGenerationDetails={"principalArn": arn})["jobId"]
    answer = analyzer.get_generated_policy(jobId=job)
    assert answer["jobDetails"]["status"] == "IN_PROGRESS"
    until = time.monotonic() + 10
    while answer["jobDetails"]["status"] == "IN_PROGRESS" and time.monotonic() < until:
        time.sleep(0.1)
        answer = analyzer.get_generated_policy(jobId=job, includeResourcePlaceholders=True)
    (generated,) = answer["generatedPolicyResult"]["generatedPolicies"]
    statements = json.loads(generated["policy"])["Statement"]
    assert [(each["Resource"], each["Action"]) for each in statements] == [
        ("arn:aws:s3:::${BucketName}", ["s3:CreateBucket"]),
        (
            "arn:aws:states:${Region}:${Account}:stateMachine:${StateMachineName}",
            ["states:CreateStateMachine"],
        ),
    ]
    jobs = analyzer.list_policy_generations(principalArn=arn)["policyGenerations"]
    assert [(each["jobId"], each["status"]) for each in jobs] == [(job, "SUCCEEDED")]
    second = analyzer.start_policy_generation(policyGenerationDetails={"principalArn": arn})[
        "jobId"
    ]
    analyzer.cancel_policy_generation(jobId=second)
    assert analyzer.get_generated_policy(jobId=second)["jobDetails"]["status"] == "CANCELED"
