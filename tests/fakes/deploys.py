"""Creates the records of a deploying role, a trail of files, and a proposal from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from leastpriv.config.settings import from_options
from leastpriv.pipeline.context import Target
from tests.fakes.runs import Proposed, run_one

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
FIRST = datetime(2026, 10, 1, 9, tzinfo=UTC)

Record = Mapping[str, Any]

UPDATE = {"event": "lambda:UpdateFunctionCode20150331v2", "parameters": {"functionName": "orders"}}
CREATE_QUEUE = {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}}
ALARM = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:orders"
REFUSED = {
    "event": "monitoring:PutMetricAlarm",
    "parameters": {"alarmName": "orders"},
    "error": "AccessDenied",
    "message": (
        "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform:"
        f" cloudwatch:PutMetricAlarm on resource: {ALARM} because no identity-based policy allows"
        " the cloudwatch:PutMetricAlarm action"
    ),
}
POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "Functions",
            "Effect": "Allow",
            "Action": "lambda:*",
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:orders",
        },
        {
            "Sid": "Queues",
            "Effect": "Allow",
            "Action": ["sqs:CreateQueue", "sqs:PurgeQueue"],
            "Resource": "arn:aws:sqs:eu-west-1:111122223333:orders",
        },
        {
            "Sid": "Topics",
            "Effect": "Allow",
            "Action": "sns:CreateTopic",
            "Resource": "arn:aws:sns:eu-west-1:111122223333:orders",
        },
    ],
}
"""The usual deploys use one function and one queue: `lambda:*` is narrowed, `sqs:PurgeQueue` and
`sns:CreateTopic` are removed."""


def usual_deploys() -> list[Record]:
    """Six runs in five weeks; in the third one an alarm is denied, which `POLICY` lacks."""
    third = FIRST + timedelta(days=14, minutes=1)
    return [*deploys([UPDATE, CREATE_QUEUE]), *deploys([REFUSED], first=third, times=1, number=2)]


def as_committed() -> dict[str, Any]:
    """A policy that grants what the usual deploys without the alarm use, and nothing removable."""
    actions = {"Functions": "lambda:UpdateFunctionCode", "Queues": "sqs:CreateQueue"}
    kept = [statement for statement in POLICY["Statement"] if statement["Sid"] in actions]
    return {
        **POLICY,
        "Statement": [{**statement, "Action": actions[statement["Sid"]]} for statement in kept],
    }


def deploys(
    calls: Sequence[Record],
    *,
    first: datetime = FIRST,
    times: int = 6,
    days: int = 7,
    number: int = 0,
) -> list[Record]:
    """The calls, repeated every `days` days in separate runs; run ids count from `number`."""
    return [
        record(
            call,
            first + timedelta(days=turn * days, seconds=second),
            str(17650000000 + number + turn),
        )
        for turn in range(times)
        for second, call in enumerate(calls)
    ]


def record(call: Record, time: datetime, session: str, principal: str = ROLE) -> Record:
    """One CloudTrail record; `call` has `event` and may have parameters, resources, error, message,
    data, region.
    """
    service, _, name = call["event"].partition(":")
    made: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": _identity(principal, session),
        "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": call.get("region", "eu-west-1"),
        "requestParameters": call.get("parameters"),
        "responseElements": call.get("response"),
        "eventID": _event_id(f"{principal} {session} {time} {call}"),
        "readOnly": name.startswith(("Get", "List", "Describe")),
        "eventType": "AwsApiCall",
        "managementEvent": not call.get("data"),
        "eventCategory": "Data" if call.get("data") else "Management",
        "recipientAccountId": "111122223333",
        "resources": [
            {"ARN": arn, "accountId": "111122223333"} for arn in call.get("resources", ())
        ],
    }
    if "error" in call:
        made |= {"errorCode": call["error"], "errorMessage": call.get("message", "")}
    return made


def _event_id(text: str) -> str:
    """An id derived from the record; a name may hold half a surrogate pair, as JSON can."""
    return str(uuid5(NAMESPACE_URL, text.encode("utf-8", "backslashreplace").decode()))


def _identity(principal: str, session: str) -> dict[str, Any]:
    name = principal.rpartition("/")[2]
    issuer = {"type": "Role", "arn": principal, "accountId": "111122223333", "userName": name}
    return {
        "type": "AssumedRole",
        "arn": f"arn:aws:sts::111122223333:assumed-role/{name}/{session}",
        "accountId": "111122223333",
        "accessKeyId": "ASIAEXAMPLE0000001",
        "sessionContext": {"sessionIssuer": issuer},
    }


def write_trail(folder: Path, records: Iterable[Record]) -> Path:
    """The records under CloudTrail's keys; us-east-1 and eu-west-1 are covered even without
    records.
    """
    files: dict[tuple[str, str], list[Record]] = {
        ("us-east-1", "2026-10-01"): [],
        ("eu-west-1", "2026-10-01"): [],
    }
    for made in records:
        files.setdefault((made["awsRegion"], made["eventTime"][:10]), []).append(made)
    for (region, day), inside in files.items():
        name = f"111122223333_CloudTrail_{region}_{day.replace('-', '')}T2355Z_AbCdEfGhIjKlMnOp.json.gz"
        path = folder / "AWSLogs/111122223333/CloudTrail" / region / day.replace("-", "/") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps({"Records": inside}).encode()))
    return folder


def proposal(
    folder: Path,
    policy: Mapping[str, Any] | None = None,
    records: Iterable[Record] | None = None,
    *,
    path: str = "iam/ci-deploy.json",
    run_url: str = "",
    **options: str | tuple[str, ...],
) -> Proposed:
    """The proposal for a policy (None: no file) and records; `path` is the policy file's name."""
    trail = write_trail(folder / "trail", usual_deploys() if records is None else records)
    file = folder / path
    if policy is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(policy, indent=2), encoding="utf-8")
    named = {name.replace("_", "-"): value for name, value in options.items()}
    usual = {"mode": "pull-request", "minimum-days": "30", "aws-regions": ("eu-west-1",)}
    settings = from_options(
        {"role-arn": ROLE, "policy-file": str(file), "trails": (str(trail),), **usual, **named}
    )
    return run_one(Target(settings, path, folder), (trail,), NOW, run_url=run_url)
