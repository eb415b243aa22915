"""Log lines of programs: a message is one whole record of CloudTrail, or it is no call."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.file_reader import S3TrailOptions
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record_formats import parse_values
from leastpriv.cloudtrail.trail import LogGroup
from leastpriv.models import Call, Gap
from tests.fakes.aws.log_groups import LogGroups
from tests.fakes.aws.server import FakeAws
from tests.fakes.deploys import NOW, ROLE, UPDATE, record

ONE = Principals(frozenset({parse_principal(ROLE)}))
RECORD = {"eventVersion": "1.11", **record(UPDATE, NOW, "1")}
TEXT = json.dumps(RECORD, separators=(",", ":"))
TRUE = json.dumps(
    {"eventVersion": "1.11", **record({**UPDATE, "parameters": {"x": TEXT}}, NOW, "2")}
)

OTHER = json.dumps({"eventVersion": "1.11", **record(UPDATE, NOW, "3")})


def without(field: str) -> str:
    return json.dumps({name: value for name, value in RECORD.items() if name != field})


NO_RECORD = {
    "a text before a record": f"2026-11-27T10:00:00Z INFO {TEXT}",
    "a number before a record": f"1764237600 {TEXT}",
    "a level in brackets before a record": f"[INFO] {TEXT}",
    "a text after a record": f"{TEXT} done",
    "a record on a second line": f"INFO\n{TEXT}",
    "two records": f"{TEXT},{TEXT}",
    "two records on two lines": f"{TEXT}\n{TEXT}",
    "a record as text": json.dumps(TEXT),
    "a message": json.dumps({"message": TEXT}),
    "a message of a logger": json.dumps({"level": "info", "message": TEXT}),
    "a member CloudTrailEvent": json.dumps({"CloudTrailEvent": TEXT}),
    "an event of EventBridge": json.dumps(
        {"detail-type": "AWS API Call via CloudTrail", "detail": RECORD}
    ),
    "a file of a trail": json.dumps({"Records": [RECORD]}),
    "a list": json.dumps([RECORD]),
    "the end of a list and a record": f"]}}\n{TEXT}",
    "another list": f'{{"events":[{{"message":{json.dumps(TEXT)}}}]}}',
    "an event of S3": json.dumps({**RECORD, "eventSource": "aws:s3"}),
    "a record without its id": without("eventID"),
    "a record without its version": without("eventVersion"),
    "a record without its caller": without("userIdentity"),
    "a record without its source": without("eventSource"),
    "a record without its time": without("eventTime"),
}
IN_A_FILE: Mapping[str, Any] = {
    "filter-log-events": lambda message: {
        "events": [{"logStreamName": "s", "message": message, "eventId": "1"}]
    },
    "filter-log-events --query": lambda message: [message],
    "get-log-events": lambda message: {
        "events": [{"timestamp": 1, "message": message}],
        "nextForwardToken": "f/1",
    },
    "a subscription": lambda message: {
        "owner": "1",
        "logEvents": [{"id": "1", "message": message}],
    },
    "Logs Insights": lambda message: {"results": [[{"field": "@message", "value": message}]]},
    "Logstash": lambda message: {"@version": "1", "message": message},
    "Splunk": lambda message: {"result": {}, "_raw": message},
}


def calls(folder: Path) -> list[str]:
    """Ids of the calls that are read next to a record of the trail."""
    (folder / "trail.json").write_text(TRUE)
    event_ids = [
        observation.event_id
        for observation in TrailFolder(folder).read(Window(), ONE)
        if isinstance(observation, Call)
    ]
    return [event_id for event_id in event_ids if event_id != json.loads(TRUE)["eventID"]]


@pytest.mark.parametrize("shape", IN_A_FILE)
def test_a_message_that_is_a_record_is_a_call(tmp_path: Path, shape: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(IN_A_FILE[shape](TEXT)))
    assert calls(tmp_path) == [RECORD["eventID"]]


@pytest.mark.parametrize("message", NO_RECORD)
def test_no_other_message_is_a_call(tmp_path: Path, message: str) -> None:
    for number, shape in enumerate(IN_A_FILE.values()):
        (tmp_path / f"{number}.json").write_text(json.dumps(shape(NO_RECORD[message])))
    assert calls(tmp_path) == []


@pytest.mark.parametrize("message", [name for name in NO_RECORD if " before a record" in name])
def test_a_record_in_a_line_of_text_is_no_call(tmp_path: Path, message: str) -> None:
    (tmp_path / "a.json").write_text(f"{NO_RECORD[message]}\n{OTHER}\n")
    assert calls(tmp_path) == [json.loads(OTHER)["eventID"]]


def exported(*messages: str) -> str:
    """The text of a file that CloudWatch Logs exports to S3."""
    return "".join(f"2026-11-27T10:00:00.123Z {message}\n" for message in messages)


def table(*messages: str) -> str:
    """A table that Logs Insights exports."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["@timestamp", "@message", "@logStream"])
    rows.writerows(["2026-11-27 10:00:00.123", message, "s"] for message in messages)
    return text.getvalue()


@pytest.mark.parametrize(("name", "write"), [("000000.gz", exported), ("a.csv", table)])
def test_a_log_group_s_export_has_calls_of_whole_records_only(
    tmp_path: Path, name: str, write: Callable[..., str]
) -> None:
    """Also with a message of several lines, and after it."""
    content = write(*NO_RECORD.values(), TEXT, "x\n" + TEXT, OTHER).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert calls(tmp_path) == [RECORD["eventID"], json.loads(OTHER)["eventID"]]


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
@pytest.mark.parametrize("write", [exported, table])
def test_an_export_is_read_alike_in_pieces_of_any_size(
    write: Callable[..., str], size: int
) -> None:
    content = ("\ufeff" + write(TEXT, "x\ny", OTHER)).encode()
    first = max(size, 64)
    pieces = [content[:first]]
    pieces += [content[start : start + size] for start in range(first, len(content), size)]
    texts = [str(value).strip() for value in parse_values(iter(pieces))]
    assert texts == [TEXT, "x\ny", OTHER]


def forwarded(source: str, kind: str = "AWS API Call via CloudTrail") -> str:
    """An event of EventBridge, as its rule writes it to a log group."""
    event = {"version": "0", "id": "1", "detail-type": kind, "source": source, "detail": RECORD}
    return json.dumps(event)


@pytest.mark.parametrize(
    ("message", "is_call"),
    [
        (forwarded("aws.sqs"), True),
        (forwarded("aws.signin", "AWS Console Sign In via CloudTrail"), True),
        (forwarded("acme.shop"), False),
        (forwarded("aws.sqs", "SQS Queue Changed"), False),
    ],
)
def test_an_event_of_eventbridge_in_a_log_group_is_a_call_if_aws_sent_it(
    message: str, is_call: bool
) -> None:
    groups = LogGroups({"trail": [TRUE, message]}, page=50)
    with FakeAws(groups.operations()) as aws:
        source = LogGroup(Aws.open(aws.environment()), "log-group:trail", S3TrailOptions())
        calls = [
            observation
            for observation in source.read(Window(), ONE)
            if isinstance(observation, Call)
        ]
    assert (RECORD["eventID"] in [call.event_id for call in calls]) is is_call


@pytest.mark.parametrize(
    "line", [{"message": TEXT}, {"detail": RECORD}, {"Records": [RECORD]}, {"events": [TEXT]}]
)
@pytest.mark.parametrize("field", ["level", "severity", "logger"])
def test_a_line_of_a_logger_is_no_call(tmp_path: Path, line: dict[str, Any], field: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({field: "INFO", **line}))
    assert calls(tmp_path) == []


def test_a_log_group_has_calls_of_whole_records_only() -> None:
    groups = LogGroups(
        {"trail": [TRUE, *NO_RECORD.values(), '{"eventVersion":"1.11","eventName":']}, page=50
    )
    with FakeAws(groups.operations()) as aws:
        observations = list(
            LogGroup(Aws.open(aws.environment()), "log-group:trail", S3TrailOptions()).read(
                Window(), ONE
            )
        )
    assert [
        observation.event_id for observation in observations if isinstance(observation, Call)
    ] == [json.loads(TRUE)["eventID"]]
    assert any(
        "it is not a JSON object" in observation.detail
        for observation in observations
        if isinstance(observation, Gap)
    )


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_a_record_of_another_age_is_a_gap_and_the_others_are_read(
    tmp_path: Path, year: str
) -> None:
    odd = {**RECORD, "eventID": "odd", "eventTime": f"{year}-01-01T00:00:00Z"}
    text = json.dumps({"Records": [RECORD, odd]}, separators=(",", ":"))
    (tmp_path / "odd.json").write_text(text)
    observations = list(TrailFolder(tmp_path).read(Window(), ONE))
    assert [
        observation.event_id for observation in observations if isinstance(observation, Call)
    ] == [RECORD["eventID"]]
    assert any(
        "eventTime" in observation.detail
        for observation in observations
        if isinstance(observation, Gap)
    )
