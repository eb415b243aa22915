"""Resources derived from requests against those that the records name themselves: the measure of
`bench/`.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.models import Call
from tests.fakes.scripts import load

HERE = "eu-west-1:111122223333"
SCRIPT = Path(__file__).parents[2] / "bench" / "resource_accuracy.py"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return load("bench/resource_accuracy.py")


def write(folder: Path, *records: dict[str, object]) -> Path:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "one.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def record(
    service: str, event: str, parameters: dict[str, object], *resources: str
) -> dict[str, object]:
    return {
        "eventVersion": "1.08",
        "eventType": "AwsApiCall",
        "eventTime": "2026-11-01T10:00:00Z",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": event,
        "awsRegion": "eu-west-1",
        "userIdentity": {
            "type": "IAMUser",
            "arn": "arn:aws:iam::111122223333:user/ann",
            "accountId": "111122223333",
            "userName": "ann",
        },
        "requestParameters": parameters,
        "resources": [{"ARN": arn} for arn in resources],
    }


@pytest.mark.parametrize(
    ("service", "event", "parameters", "truth", "verdict"),
    [
        ("s3", "GetObject", {"bucketName": "b", "key": "k"}, "s3:::b/k", "exact"),
        ("s3", "GetObject", {"bucketName": "b", "key": "k"}, "s3:::c/k", "wrong"),
        (
            "kms",
            "Decrypt",
            {"keyId": "alias/app"},
            f"kms:{HERE}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "pattern",
        ),
        ("kms", "Decrypt", {"other": "1234"}, f"kms:{HERE}:key/1234", "too wide"),
        ("kms", "Decrypt", {"keyId": "1234"}, f"kms:{HERE}:vault/1234", "unknown"),
        ("logs", "PutRetentionPolicy", {"logGroupName": "g"}, f"logs:{HERE}:log-group:g", "wrong"),
    ],
)
def test_a_case_is_judged_by_what_the_record_names(
    service: str,
    event: str,
    parameters: dict[str, object],
    truth: str,
    verdict: str,
    measure: ModuleType,
    tmp_path: Path,
) -> None:
    folder = write(tmp_path, record(service, event, parameters, f"arn:aws:{truth}"))
    calls = [
        observation
        for observation in TrailFolder(folder).read(Window(), Principals())
        if isinstance(observation, Call)
    ]
    assert [case.verdict for call in calls for case in measure.cases(call)] == [verdict]


@pytest.mark.parametrize(
    ("truth", "verdict"), [("app-agquim", "pattern"), ("other-agquim", "wrong")]
)
def test_a_secret_told_whole_and_without_its_end_is_a_pattern(
    truth: str, verdict: str, measure: ModuleType, tmp_path: Path
) -> None:
    """`app-agquim` may be all of a secret's ARN or all but its end: one of both forms is the true
    one.
    """
    arn = f"arn:aws:secretsmanager:{HERE}:secret:app-agquim"
    hidden = f"arn:aws:secretsmanager:{HERE}:secret:{truth}"
    answer = {"responseElements": {"aRN": hidden}}
    folder = write(tmp_path, record("secretsmanager", "DeleteSecret", {"secretId": arn}) | answer)
    calls = [
        observation
        for observation in TrailFolder(folder).read(Window(), Principals())
        if isinstance(observation, Call)
    ]
    (case,) = [case for call in calls for case in measure.cases(call, answered=True)]
    assert len(case.derived) == 2
    assert case.verdict == verdict


def test_the_figures_are_printed_by_service(
    measure: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(
        tmp_path,
        record("s3", "GetObject", {"bucketName": "b", "key": "k"}, "arn:aws:s3:::b/k"),
        record("sqs", "CreateQueue", {"queueName": "q"}),
    )
    assert measure.main([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^s3 +1 +1 +0 ", printed, re.MULTILINE)
    assert "a whole account where the action takes an ARN: 0" in printed
    assert measure.main([]) == 2


def test_a_whole_account_counts_where_the_action_takes_an_arn(measure: ModuleType) -> None:
    assert measure.is_account_wide("ec2:CreateTags", f"arn:aws:ec2:{HERE}:*")
    assert measure.is_account_wide("s3:GetObject", "*")
    assert not measure.is_account_wide("sqs:SendMessage", f"arn:aws:sqs:{HERE}:*")
    assert not measure.is_account_wide("ec2:DescribeInstances", "*")


def test_on_real_records_less_than_one_in_a_hundred_is_wrong_and_none_is_bare(
    measure: ModuleType, shared_folder: Path
) -> None:
    """Two of 478 are wrong, both in fixtures whose request and `resources` contradict each other
    (2026-11-24).
    """
    files = sorted((shared_folder / "corpus" / "records").glob("*.jsonl.gz"))
    observations = [
        observation
        for file in files
        for observation in TrailFolder(file).read(Window(), Principals())
    ]
    distinct_cases = list(
        dict.fromkeys(
            case
            for observation in observations
            if isinstance(observation, Call)
            for case in measure.cases(observation)
        )
    )
    assert len(distinct_cases) > 400
    assert sum(case.verdict == "wrong" for case in distinct_cases) < len(distinct_cases) / 100
    assert [
        case for case in distinct_cases if case.verdict in ("too wide", "unknown") or case.bare
    ] == []
