"""The recorded authorization checks of the lab, decided again for a policy, have the results of the
deploy.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.lab import PYTHON, ROOT, Lab, is_there

pytestmark = pytest.mark.skipif(
    not is_there(), reason="the lab's environment is not there: make lab"
)

NARROW = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "sqs:CreateQueue", "Resource": "arn:aws:sqs:*:*:mine"},
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}},
        },
    ],
}


def answers(policy: dict[str, Any], checks: list[dict[str, Any]]) -> list[bool]:
    question = json.dumps({"policies": [policy], "checks": checks})
    command = [str(PYTHON), "-m", "tests.end_to_end.lab.checks"]
    done = subprocess.run(
        command, cwd=ROOT, input=f"{question}\n", capture_output=True, text=True, check=True
    )
    found: list[bool] = json.loads(done.stdout)
    return found


def test_every_request_is_recorded_once_and_answered_alike_without_the_lab(tmp_path: Path) -> None:
    with Lab.start(tmp_path, checks=True) as lab:
        role = lab.role("worker", None)
        keys = lab.assume(lab.admin_role("ci-deploy"), "1001")
        lab.client("sqs", keys).create_queue(QueueName="mine")
        lab.client("sqs", keys).create_queue(QueueName="other")
        code = {"ZipFile": b"PK\x05\x06" + bytes(18)}
        functions = lab.client("lambda", keys)
        functions.create_function(
            FunctionName="f", Role=role, Runtime="python3.12", Handler="f.f", Code=code
        )
        lab.client("sts", keys).get_caller_identity()
    checks = [json.loads(line) for line in (tmp_path / "checks.jsonl").read_text().splitlines()]
    asked = [(check["action"].lower(), check["resource"].rpartition(":")[2]) for check in checks]
    assert asked == [
        ("sqs:createqueue", "mine"),
        ("sqs:createqueue", "other"),
        ("lambda:createfunction", "f"),
        ("iam:passrole", "role/worker"),
    ]
    assert {check["principal"] for check in checks} == {
        f"arn:aws:sts::{lab.account}:assumed-role/ci-deploy/1001"
    }
    assert answers(NARROW, checks) == [True, False, False, False]
    assert (
        answers(
            {**NARROW, "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}, checks
        )
        == [True] * 4
    )
