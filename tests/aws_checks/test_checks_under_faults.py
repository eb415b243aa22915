"""Each row of `faults.json` is a fault of a check and its report; no fault ends a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws import session as door
from leastpriv.aws.session import Aws
from leastpriv.aws_checks.policy_checks import PaidCheck, paid_checks, run_checks, validate
from leastpriv.aws_checks.rendered_policy import read_trust_policy
from leastpriv.aws_checks.simulate import SimulatedPolicies, simulate
from leastpriv.models import ChangeKind, Permission
from leastpriv.policy.document import parse
from leastpriv.proposal.models import Change, CheckResult, Proposal
from leastpriv.proposal.proof import NeedDecision
from tests.fakes.aws.policy_checks import PolicyChecks
from tests.fakes.aws.raw_answers import Raw, answering

ROWS = json.loads((Path(__file__).parent / "faults.json").read_text(encoding="utf-8"))
ROLE = "arn:aws:iam::111122223333:role/ci/deploy"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
ACTIONS = ("sqs:SendMessage", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:CreateQueue")
STATEMENT = {"Effect": "Allow", "Action": list(ACTIONS), "Resource": "*"}
POLICY = parse(json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]}).encode(), "p.json")
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "ec2.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
DRAFT = Proposal(
    POLICY, POLICY, POLICY.to_bytes(), (Change(ChangeKind.REMOVE, "sqs:*", ("*",)),), (), ()
)
NEEDS = [
    NeedDecision(Permission(action, QUEUE), "eu-west-1", "allowed", None, None)
    for action in ACTIONS
]
DOUBTFUL = parse(
    json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{**STATEMENT, "Action": ["a b", "c d", "e f", "g h"]}],
        }
    ).encode(),
    "p.json",
)
"""More findings than one page holds."""


def _run_paid_check(aws: Aws, operation: str) -> CheckResult:
    trust = read_trust_policy(
        json.dumps({"Version": "2012-10-17", "Statement": [TRUST]}).encode(), "trust.json", {}
    )
    checks, _ = paid_checks(DRAFT, {"p.json": POLICY}, (), [trust])
    first_checks: list[PaidCheck] = [check for check in checks if check.operation == operation]
    return run_checks(aws, first_checks[:1])[0]


def _run_check(name: str, aws: Aws, *, many: bool) -> CheckResult:
    if name == "ValidatePolicy":
        return validate(aws, {"p.json": DOUBTFUL if many else POLICY}, None)
    return (
        simulate(aws, SimulatedPolicies([POLICY], "p.json"), NEEDS, ROLE)
        if name.startswith("Simulate")
        else _run_paid_check(aws, name)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}: {row['fault']}")
def test_each_check_reports_each_fault(
    row: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "delay" in row:
        monkeypatch.setattr(door, "_READ_SECONDS", row["delay"] / 5)
    name, pages = row["source"], row["fault"] == "paging"
    with PolicyChecks() as aws:
        aws.fail_as(row, name)
        result_of_check = _run_check(
            name, Aws.open(aws.environment(attempts=row.get("attempts", 1))), many=pages
        )
        assert result_of_check.failure.replace(aws.endpoint, "https://AWS") == row.get("says", "")
    assert (result_of_check.asked > 0) is ("says" not in row)
    assert not result_of_check.findings or pages
    assert not pages or len(aws.asked(name)) > 1


@pytest.mark.parametrize("name", list(dict.fromkeys(row["source"] for row in ROWS)))
def test_an_interruption_reaches_the_caller(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C during a check stops the run."""
    with PolicyChecks() as aws:
        session = Aws.open(aws.environment())
        monkeypatch.setattr(Aws, "client", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _run_check(name, session, many=False)


def test_every_check_is_tested_with_every_possible_fault() -> None:
    """No check has a quota or a limit of one run at a time, and most have only one page."""
    operations = (
        "ValidatePolicy",
        "SimulateCustomPolicy",
        "CheckNoNewAccess",
        "CheckAccessNotGranted",
        "CheckNoPublicAccess",
    )
    common = {
        "happy",
        "throttled once",
        "throttled",
        "access denied",
        "AWS fails",
        "credentials expired",
        "slow",
    }
    tried = {(operation, fault) for operation in operations for fault in common | {"broken off"}}
    tried |= {(operation, "paging") for operation in operations[:2]}
    tried |= {(operation, "too complex") for operation in operations[2:]} | {
        ("SimulateCustomPolicy", "policy not evaluated")
    }
    assert {(row["source"], row["fault"]) for row in ROWS} == tried


def interrupted(*_: object) -> None:
    """Control-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "answer", [{}, {"findings": [{"findingType": "ERROR", "issueCode": "X", "locations": []}]}]
)
def test_a_finding_without_a_member_is_the_failure_of_its_check(
    answer: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_result = validate(
        answering(monkeypatch, {"ValidatePolicy": [Raw.json(answer)]}), {"p.json": POLICY}, None
    )
    assert (check_result.findings, "lacks" in check_result.failure) == ((), True)
