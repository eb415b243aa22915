"""Control-C while AWS is asked: whatever it was asked for, the command ends with one sentence."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.aws.access_analyzer import AccessAnalyzer, Finding
from tests.fakes.aws.iam_last_accessed import LastAccessed
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.aws.server import Asked
from tests.fakes.command import leastpriv
from tests.fakes.deploys import CREATE_QUEUE, NOW, ROLE, UPDATE, deploys, write_trail

TRAIL = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"
UNUSED = {"unusedPermissionDetails": {"serviceNamespace": "sns"}}
STACK = {
    "event": "cloudformation:CreateStack", "parameters": {"stackName": "orders"},
    "response": {"stackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/1b0f6a30"},
}  # fmt: skip
USED = ("sqs:CreateQueue", "cloudformation:CreateStack")
WIDE = {"Effect": "Allow", "Action": [*USED, "lambda:*", "sns:Publish"], "Resource": "*"}
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "ec2.amazonaws.com"},
    "Action": "sts:AssumeRole",
}

QUICK = ("GetServiceLastAccessedDetails", "StartPolicyGeneration", "CheckNoPublicAccess")
SLOW = (
    "GenerateServiceLastAccessedDetails", "ListPoliciesGrantingServiceAccess", "ListAnalyzers",
    "ListFindingsV2",
    "GetFindingV2", "GenerateFindingRecommendation", "GetFindingRecommendation",
    "ListPolicyGenerations",
    "GetGeneratedPolicy", "ValidatePolicy", "SimulateCustomPolicy",
    "CheckNoNewAccess", "CheckAccessNotGranted",
)  # fmt: skip
"""Each takes a whole run of the command."""


@pytest.mark.parametrize(
    "operation", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_the_command_ends_with_one_sentence(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzer = _analyzer()
    with PolicyChecks() as aws:
        iam = LastAccessed(lambda: NOW, {ROLE: {"deploy": ("sqs",)}}, takes=timedelta())
        aws.operations |= {**iam.operations(), **analyzer.operations()}
        [name] = [key for key in aws.operations if key.partition(":")[2] == operation]
        answer = aws.operations[name]

        def interrupting(asked: Asked) -> Mapping[str, Any]:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return answer(asked)

        aws.operations[name] = interrupting
        monkeypatch.chdir(tmp_path)
        for variable, value in aws.environment().items():
            monkeypatch.setenv(variable, value)
        run = leastpriv(*_arguments(tmp_path))
    assert run.code == 130
    assert run.err.endswith("error: Interrupted: nothing was published.\n")
    assert run.out == ""
    assert "Traceback" not in run.err
    assert [analyzer.status(job) for job in analyzer.jobs if job.principal == ROLE] in (
        [],
        ["CANCELED"],
        ["SUCCEEDED"],
    )


def _arguments(folder: Path) -> tuple[str, ...]:
    """Everything of AWS is asked."""
    (folder / "p.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [WIDE]}))
    (folder / "trust.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [TRUST]}))
    records = deploys([CREATE_QUEUE, UPDATE, STACK], times=20, days=2)
    for record in records:
        if record["eventName"] == "CreateQueue":
            record["userIdentity"]["invokedBy"] = "cloudformation.amazonaws.com"
    write_trail(folder / "trail", records)
    return (
        "propose", "--role-arn", ROLE, "--policy-file", "p.json", "--trails", "trail",
        "--minimum-days", "0",
        "--aws-regions", "eu-west-1",
        "--minimum-runs", "1", "--last-accessed", "true", "--custom-policy-checks", "true",
        "--trust-policy",
        "trust.json", "--access-analyzer", f"arn:aws:iam::111122223333:role/analyzer {TRAIL}",
    )  # fmt: skip


def _analyzer() -> AccessAnalyzer:
    findings = {"ACCOUNT_UNUSED_ACCESS/unused": [Finding("1", ROLE, "UnusedPermission", [UNUSED])]}
    return AccessAnalyzer(
        lambda: NOW,
        takes=timedelta(),
        analyzers=findings | {"ACCOUNT/outside": []},
        recommending=timedelta(),
    )
