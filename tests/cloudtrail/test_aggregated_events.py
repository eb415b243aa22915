"""Summaries of data events, and the records that CloudWatch Logs returns."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record_formats import aggregated_calls
from leastpriv.models import Call, Outcome
from tests.fakes.command import leastpriv
from tests.fakes.deploys import FIRST, ROLE, UPDATE, record, usual_deploys, write_trail

ONE = Principals(frozenset({parse_principal(ROLE)}))
SESSION = "arn:aws:sts::111122223333:assumed-role/ci-deploy/17650000001"


def summary(dimension: str, name: str, **details: list[str]) -> dict[str, Any]:
    """A summary of five minutes; `details` by dimension."""

    def counted(dimension: str, names: list[str]) -> dict[str, Any]:
        statistics = [{"name": part_name, "value": 8} for part_name in names]
        return {"dimension": dimension, "statistics": statistics, "aggregationType": "Count"}

    return {
        "eventVersion": "1.0",
        "accountId": "111122223333",
        "eventId": f"id-{dimension}-{name}",
        "eventCategory": "Aggregated",
        "eventType": "AwsAggregatedEvent",
        "awsRegion": "eu-west-1",
        "eventSource": "dynamodb.amazonaws.com",
        "timeWindow": {
            "windowStart": "2026-10-01T10:00:00Z",
            "windowEnd": "2026-10-01T10:05:00Z",
            "windowSize": "PT5M",
        },
        "summary": {
            "primaryDimension": counted(dimension, [name]),
            "details": [counted(key, names) for key, names in details.items()],
        },
    }


def test_a_summary_with_many_parts_takes_time_in_proportion() -> None:
    """A part was once copied with each of the later ones: which took a minute."""
    parts = [
        {"dimension": "resourceARN", "statistics": [{"name": f"{TABLE}{n}"}]} for n in range(60_000)
    ]
    record = summary("eventName", "GetItem", userIdentity=[SESSION])
    record["summary"]["details"] += parts
    started = time.process_time()
    assert len(list(aggregated_calls(record, ONE))) == 1_000
    assert time.process_time() - started < 4


TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/carts"


def write(folder: Path, *records: dict[str, Any]) -> Path:
    below = folder / "AWSLogs/111122223333/CloudTrail-Aggregated/eu-west-1/2026/10/01"
    below.mkdir(parents=True)
    (below / "summary.json").write_text(
        json.dumps({"Records": list(records)}, separators=(",", ":"))
    )
    return folder


def uses(folder: Path) -> list[tuple[str, tuple[str, ...], Outcome]]:
    observations = TrailFolder(folder).read(Window(), ONE)
    return [
        (observation.name, observation.resources, observation.outcome)
        for observation in observations
        if isinstance(observation, Call)
    ]


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            summary("eventName", "PutItem", resourceARN=[TABLE]),
            [("PutItem", (TABLE,), Outcome.UNKNOWN)],
        ),
        (
            summary("resourceARN", TABLE, eventName=["PutItem"]),
            [("PutItem", (TABLE,), Outcome.UNKNOWN)],
        ),
        (
            summary("eventName", "PutItem", userIdentity=[SESSION]),
            [("PutItem", (), Outcome.UNKNOWN)],
        ),
        (summary("eventName", "PutItem", userIdentity=[SESSION.replace("ci-deploy", "app")]), []),
        (summary("userIdentity", SESSION, resourceARN=[TABLE]), []),
        ({**summary("eventName", "PutItem"), "accountId": "444455556666"}, []),
        ({**summary("eventName", "PutItem"), "timeWindow": {}}, []),
        ({**summary("eventName", "PutItem"), "summary": "damaged"}, []),
    ],
)
def test_a_summary_is_a_sign_of_use_by_its_callers_or_by_any_role_of_its_account(
    tmp_path: Path, record: dict[str, Any], found: list[object]
) -> None:
    assert uses(write(tmp_path, record)) == found


def test_a_copy_of_a_summary_counts_once_and_outside_the_window_it_does_not_count(
    tmp_path: Path,
) -> None:
    record = summary("eventName", "PutItem")
    folder = write(tmp_path, record, record)
    assert len(uses(folder)) == 1
    late = Window(start=FIRST + timedelta(days=300))
    assert [
        observation
        for observation in TrailFolder(folder).read(late, ONE)
        if isinstance(observation, Call)
    ] == []


def test_a_summary_keeps_and_never_adds(tmp_path: Path) -> None:
    write(
        write_trail(tmp_path / "trail", usual_deploys()),
        summary("eventName", "PutItem"),
        summary("eventName", "Query"),
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"}],
    }
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", str(tmp_path / "policy.json"), "--trails",
        str(tmp_path / "trail"), "--output-dir", str(tmp_path / "out"),
    )  # fmt: skip
    assert run.code == 0, run.err
    proposal = json.loads((tmp_path / "out" / "proposal.json").read_text())
    assert not {change["action"] for change in proposal["changes"]} & {
        "dynamodb:PutItem",
        "dynamodb:Query",
    }
    (held_back,) = [
        held_back_change
        for held_back_change in proposal["held_back"]
        if held_back_change["action"] == "dynamodb:PutItem"
    ]
    assert (held_back["guard"], "a summary of data events" in held_back["reason"]) == (
        "inconclusive",
        True,
    )


def test_summaries_alone_are_no_call_of_the_role(tmp_path: Path) -> None:
    run = leastpriv(
        "permissions",
        "--role-arn",
        ROLE,
        "--trails",
        str(write(tmp_path, summary("eventName", "PutItem"))),
    )
    assert run.code == 1


CALL = record(UPDATE, FIRST, "17650000001")
EVENT = {
    "logStreamName": "111122223333_CloudTrail_eu-west-1",
    "timestamp": 1,
    "message": json.dumps(CALL),
    "eventId": "1",
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"events": [EVENT, EVENT], "searchedLogStreams": []}),
        json.dumps(
            {"events": [EVENT], "nextForwardToken": "f/1", "nextBackwardToken": "b/1"}, indent=4
        ),
        json.dumps(
            {
                "searchedLogStreams": [{"logStreamName": "x", "searchedCompletely": True}],
                "events": [EVENT],
            }
        ),
        json.dumps([EVENT]),
        json.dumps(EVENT),
        json.dumps(
            {
                "results": [
                    [
                        {"field": "@message", "value": json.dumps(CALL)},
                        {"field": "@ptr", "value": "C"},
                    ]
                ]
            }
        ),
        json.dumps(
            {
                **{key: value for key, value in CALL.items() if key != "eventTime"},
                "@timestamp": CALL["eventTime"],
            }
        ),
    ],
)
def test_what_cloudwatch_logs_returns_are_records(tmp_path: Path, text: str) -> None:
    (tmp_path / "events.json").write_text(text)
    calls = [
        observation
        for observation in TrailFolder(tmp_path).read(Window(), ONE)
        if isinstance(observation, Call)
    ]
    assert [(call.name, call.time) for call in calls] == [(CALL["eventName"], FIRST)]
