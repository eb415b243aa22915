"""The bundled example resembles a real trail, and its policy is wrong only where its README says
so.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from leastpriv.cloudtrail.record import parse_record
from leastpriv.models import Call, Outcome
from leastpriv.permissions.mapping import needs_of

Record: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cdk-app"
TRAIL = EXAMPLE / "trail"
ROLE = "arn:aws:iam::111122223333:role/ci/orders-deploy"
KEY = re.compile(
    r"AWSLogs/111122223333/CloudTrail/(?P<region>eu-west-1|us-east-1)/(?P<day>2026/1[01]/\d\d)/"
    r"111122223333_CloudTrail_(?P=region)_(?P<time>\d{8}T\d{4}Z)_\w{16}\.json\.gz"
)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_example.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def files() -> dict[str, list[Record]]:
    return {
        path.relative_to(TRAIL).as_posix(): json.loads(gzip.decompress(path.read_bytes()))[
            "Records"
        ]
        for path in TRAIL.rglob("*.gz")
    }


@pytest.fixture(scope="module")
def records(files: dict[str, list[Record]]) -> list[Record]:
    return list({record["eventID"]: record for file in files.values() for record in file}.values())


@pytest.fixture(scope="module")
def deploys(records: list[Record]) -> list[Record]:
    return [record for record in records if issuer(record) == ROLE]


@pytest.fixture(scope="module")
def needs() -> list[Record]:
    return [json.loads(line) for line in make("--needs").stdout.splitlines()]


@pytest.fixture(scope="module")
def statements() -> list[Record]:
    return json.loads((EXAMPLE / "iam" / "orders-deploy.json").read_text())["Statement"]


def issuer(made: Record) -> str:
    return made["userIdentity"].get("sessionContext", {}).get("sessionIssuer", {}).get("arn", "")


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(statements: list[Record], action: str, resource: str) -> bool:
    """Evaluate a policy without conditions, as an independent oracle."""
    hits = {
        statement["Effect"]
        for statement in statements
        if any(
            fnmatchcase(action.lower(), pattern.lower()) for pattern in as_list(statement["Action"])
        )
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
    }
    return hits == {"Allow"}


def test_the_committed_trail_is_the_output_of_its_generator() -> None:
    checked = make("--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_check_detects_changed_missing_and_extra_files_and_writing_corrects_them(
    tmp_path: Path,
) -> None:
    shutil.copytree(TRAIL, tmp_path, dirs_exist_ok=True)
    changed, missing, *_ = sorted(tmp_path.rglob("*.gz"))
    foreign = changed.with_name("foreign.json.gz")
    foreign.write_bytes(changed.read_bytes())
    changed.write_bytes(gzip.compress(b'{"Records":[]}'))
    missing.unlink()
    checked = make("--check", "--folder", str(tmp_path))
    assert checked.returncode == 1
    assert all(path.name in checked.stderr for path in (changed, missing, foreign))
    assert make("--folder", str(tmp_path)).returncode == 0
    assert make("--check", "--folder", str(tmp_path)).returncode == 0


def test_compressed_bytes_hold_no_time_and_no_file_name() -> None:
    for path in TRAIL.rglob("*.gz"):
        assert path.read_bytes()[3:8] == bytes(5)


def test_files_have_cloudtrail_s_paths_and_records_of_their_region_and_time(
    files: dict[str, list[Record]],
) -> None:
    regions = set()
    for name, records_of_file in files.items():
        key_match = KEY.fullmatch(name)
        assert key_match, name
        regions.add(key_match["region"])
        delivered = datetime.strptime(key_match["time"], "%Y%m%dT%H%M%z")
        assert f"{delivered:%Y/%m/%d}" == key_match["day"]
        assert records_of_file
        for record in records_of_file:
            assert record["awsRegion"] == key_match["region"]
            age = delivered - datetime.fromisoformat(record["eventTime"])
            assert timedelta() <= age <= timedelta(minutes=15)
    assert regions == {"eu-west-1", "us-east-1"}


def test_the_example_is_small(files: dict[str, list[Record]]) -> None:
    assert sum(path.stat().st_size for path in TRAIL.rglob("*.gz")) < 400_000
    assert 500 < sum(map(len, files.values())) < 1500


def test_the_trail_spans_five_weeks(records: list[Record]) -> None:
    times = sorted(record["eventTime"] for record in records)
    assert times[0].startswith("2026-10-05")
    assert times[-1].startswith("2026-11-08")


def test_every_record_has_the_fields_of_version_1_11(records: list[Record]) -> None:
    always = {
        "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion",
        "sourceIPAddress",
        "userAgent", "requestParameters", "responseElements", "requestID", "eventID", "readOnly",
        "eventType",
        "managementEvent", "recipientAccountId", "eventCategory",
    }  # fmt: skip
    for record in records:
        assert always <= record.keys()
        assert record["eventVersion"] == "1.11"
        assert record["managementEvent"] == (record["eventCategory"] == "Management")
        assert ("errorCode" in record) == ("errorMessage" in record)


def test_the_role_deploys_in_thirteen_runs_over_more_than_thirty_days(
    deploys: list[Record],
) -> None:
    runs = Counter(deploy["userIdentity"]["arn"].rpartition("/")[2] for deploy in deploys)
    assert len(runs) == 13
    assert all(re.fullmatch(r"1\d{10}", run) for run in runs)
    times = sorted(datetime.fromisoformat(deploy["eventTime"]) for deploy in deploys)
    assert times[-1] - times[0] > timedelta(days=30)


def test_cloudformation_acts_as_the_deploy_role(deploys: list[Record]) -> None:
    forwarded = [deploy for deploy in deploys if "invokedBy" in deploy["userIdentity"]]
    assert {record["userIdentity"]["invokedBy"] for record in forwarded} == {
        "cloudformation.amazonaws.com"
    }
    assert {record["sourceIPAddress"] for record in forwarded} == {"cloudformation.amazonaws.com"}
    assert not any("tlsDetails" in record for record in forwarded)
    sources = {record["eventSource"].partition(".")[0] for record in forwarded}
    assert sources == {"sqs", "iam", "lambda", "logs", "s3", "monitoring", "ec2"}


def test_global_calls_are_recorded_in_us_east_1_and_other_calls_in_the_home_region(
    deploys: list[Record],
) -> None:
    assert {
        deploy["awsRegion"] for deploy in deploys if deploy["eventSource"] == "iam.amazonaws.com"
    } == {"us-east-1"}
    regional = {deploy["eventSource"] for deploy in deploys if deploy["awsRegion"] == "us-east-1"}
    assert regional == {"iam.amazonaws.com", "sts.amazonaws.com"}


def test_only_s3_has_data_events(records: list[Record]) -> None:
    assert {record["eventSource"] for record in records if not record["managementEvent"]} == {
        "s3.amazonaws.com"
    }


def test_some_records_are_delivered_twice_in_two_files_and_never_in_one(
    files: dict[str, list[Record]],
) -> None:
    copies = Counter()
    for records_of_file in files.values():
        names = [record["eventID"] for record in records_of_file]
        assert len(names) == len(set(names))
        copies.update(names)
    assert sum(count == 2 for count in copies.values()) >= 10
    assert max(copies.values()) == 2


def test_every_call_of_the_deploys_that_was_not_denied_is_allowed_by_the_committed_policy(
    needs: list[Record], statements: list[Record]
) -> None:
    assert len(needs) > 90
    refused = [need for need in needs if not allowed(statements, need["action"], need["resource"])]
    assert refused == []


def test_denied_calls_are_not_allowed_by_the_committed_policy(
    deploys: list[Record], statements: list[Record]
) -> None:
    refusal = r"is not authorized to perform: (\S+) on resource: (\S+) "
    refused = Counter()
    for deploy in deploys:
        if match := re.search(refusal, deploy.get("errorMessage", "")):
            assert not allowed(statements, match[1], match[2])
            refused[(deploy["eventName"], deploy["errorCode"], match[1])] += 1
    assert refused == {
        ("PutMetricAlarm", "AccessDenied", "cloudwatch:PutMetricAlarm"): 2,
        ("CreateVpc", "Client.UnauthorizedOperation", "ec2:CreateVpc"): 1,
    }


def test_one_denial_is_resolved_by_a_grant_and_one_is_of_a_service_control_policy(
    deploys: list[Record],
) -> None:
    messages = {deploy["eventName"]: deploy.get("errorMessage", "") for deploy in deploys}
    assert messages["PutMetricAlarm"].endswith(
        "because no identity-based policy allows the cloudwatch:PutMetricAlarm action"
    )
    assert "with an explicit deny in a service control policy" in messages["CreateVpc"]


def test_there_are_errors_that_are_no_denials(deploys: list[Record]) -> None:
    codes = {deploy["errorCode"] for deploy in deploys if "errorCode" in deploy}
    assert codes > {
        "NoSuchEntityException",
        "NoSuchLifecycleConfiguration",
        "ResourceNotFoundException",
        "ThrottlingException",
    }


def test_the_deploys_need_a_call_that_the_trail_cannot_show(
    needs: list[Record], records: list[Record]
) -> None:
    hidden = {need["action"] for need in needs if not need["in_trail"]}
    assert hidden == {"sqs:GetQueueAttributes"}
    assert "GetQueueAttributes" not in {record["eventName"] for record in records}


def test_only_other_principals_use_topics_and_tables(
    deploys: list[Record], records: list[Record]
) -> None:
    unused = {"sns.amazonaws.com", "dynamodb.amazonaws.com"}
    assert not unused & {deploy["eventSource"] for deploy in deploys}
    assert unused <= {record["eventSource"] for record in records}


def test_other_principals_in_the_account_have_similar_names(records: list[Record]) -> None:
    actors = {issuer(record) for record in records}
    assert f"{ROLE}-docs" in actors
    assert (
        "arn:aws:iam::111122223333:role/cdk-hnb659fds-lookup-role-111122223333-eu-west-1" in actors
    )
    types = {record["userIdentity"]["type"] for record in records}
    assert types == {"AssumedRole", "IAMUser", "AWSService", "WebIdentityUser"}
    assert any(record.get("sessionCredentialFromConsole") == "true" for record in records)


def test_the_records_show_exactly_the_actions_that_the_trail_can_show(
    records: list[Record], needs: list[Record]
) -> None:
    calls = [
        call
        for call in map(parse_record, records)
        if isinstance(call, Call) and call.principal == ROLE
    ]
    actions = {
        need.permission.action
        for call in calls
        if call.outcome is Outcome.ALLOWED
        for need in needs_of(call).needs
    }
    assert actions == {need["action"] for need in needs if need["in_trail"]}
