"""Creates records of deploys by AWS CDK (version 2): a role that only assumes others, and the calls
of those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from tests.fakes.deploys import FIRST, Record
from tests.test_cases import record

ACCOUNT = "111122223333"
CI = f"arn:aws:iam::{ACCOUNT}:role/ci/ci-deploy"
DEPLOY, FILES, IMAGES, LOOKUP, EXEC = (
    f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-{name}-role-{ACCOUNT}-eu-west-1"
    for name in ("deploy", "file-publishing", "image-publishing", "lookup", "cfn-exec")
)
ROLES = (CI, DEPLOY, FILES, IMAGES, LOOKUP, EXEC)
CALLS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    FILES: ({"event": "s3:GetBucketEncryption", "parameters": {"bucketName": "cdk-assets"}},),
    IMAGES: ({"event": "ecr:PutImage", "parameters": {"repositoryName": "cdk-images"}},),
    LOOKUP: (
        {"event": "ssm:GetParameter", "parameters": {"name": "/cdk-bootstrap/hnb659fds/version"}},
    ),
    DEPLOY: (
        {
            "event": "cloudformation:CreateChangeSet",
            "parameters": {"stackName": "orders", "roleARN": EXEC, "changeSetName": "cdk-deploy"},
        },
        {
            "event": "cloudformation:ExecuteChangeSet",
            "parameters": {"stackName": "orders", "changeSetName": "x"},
        },
    ),
    EXEC: (
        {"event": "lambda:UpdateFunctionCode20150331v2", "parameters": {"functionName": "orders"}},
        {"event": "sqs:CreateQueue", "parameters": {"queueName": "orders"}},
    ),
}
"""What each role does in a deploy."""


def chain_deploys(times: int = 8, days: int = 5) -> Iterator[Record]:
    """Runs of the CI role, `days` apart; each assumes four roles, and one passes a fifth to
    CloudFormation.
    """
    for turn in range(times):
        start, session = FIRST + timedelta(days=days * turn), str(17650000000 + turn)
        for number, role in enumerate((DEPLOY, FILES, IMAGES, LOOKUP)):
            key = f"ASIACDK{turn:06}{number:07}"
            yield record(CI, session, start + timedelta(seconds=number), login(role, key))
            for later, call in enumerate(CALLS[role]):
                yield record(
                    role,
                    "aws-cdk-runner",
                    start + timedelta(seconds=9 + later),
                    {**call, "key": key},
                )
        for later, call in enumerate(CALLS[EXEC]):
            yield record(EXEC, "AWSCloudFormation", start + timedelta(seconds=20 + later), call)


def login(role: str, key: str = "ASIAEXAMPLE0000009") -> dict[str, Any]:
    """A call of AssumeRole that returns a key."""
    return {
        "event": "sts:AssumeRole",
        "parameters": {"roleArn": role, "roleSessionName": "aws-cdk-runner"},
        "response": {"credentials": {"accessKeyId": key}},
        "resources": [role],
    }


def policy(*actions: str, resource: str = "*") -> str:
    """A policy file that grants some actions."""
    statement = {"Sid": "Deploy", "Effect": "Allow", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2) + "\n"


def config(entries: Iterable[Mapping[str, Any]], **more: Any) -> str:
    """A config file; JSON is YAML, except the list of targets, which is on separate lines."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in more.items()]
    targets = [
        "\n".join(
            f"{'  - ' if not number else '    '}{key}: {json.dumps(value)}"
            for number, (key, value) in pairs
        )
        for pairs in (list(enumerate(entry.items())) for entry in entries)
    ]
    return "\n".join([*lines, "targets:", *targets]) + "\n"


def entry(role: str, file: str, **more: Any) -> dict[str, Any]:
    """One target of a config."""
    return {
        "role-arn": role,
        "policy-file": file,
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
