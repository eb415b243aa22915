"""The whole way: a denied call in a trail, AWS's account of it over HTTP, and the proposal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.aws.authorization_details import AuthorizationAccounts, Denied, check, evaluation
from tests.fakes.aws.server import Asked, FakeAws, Operation, RefusedError
from tests.fakes.command import leastpriv
from tests.fakes.deploys import NOW, POLICY, ROLE, record, usual_deploys, write_trail

ID = "z7k2" * 8
APP = "arn:aws:iam::111122223333:role/app"
MESSAGE = (
    "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/17650000009 is not authorized to"
    f" perform: iam:ListRoles on resource: {APP} because no identity-based policy allows the"
    " iam:ListRoles action. Go to"
    f" https://us-east-1.console.aws.amazon.com/iam/home?region=us-east-1#/authorization-details/{ID}"
    " for complete details"
)
LACKS = check("PRINCIPAL", "IMPLICIT_DENY", types=["IDENTITY_BASED_POLICY"])


def _operations(accounts: AuthorizationAccounts) -> dict[str, Operation]:
    caller = {
        "UserId": "AROAEXAMPLE:run",
        "Account": "111122223333",
        "Arn": "arn:aws:iam::111122223333:user/reader",
    }
    judges = dict.fromkeys(("accessanalyzer:ValidatePolicy", "iam:SimulateCustomPolicy"), _refuse)
    return {**accounts.operations(), **judges, "sts:GetCallerIdentity": lambda _: caller}


def _refuse(asked: Asked) -> Mapping[str, Any]:
    raise RefusedError("AccessDenied", f"{asked.operation} is denied.", 403)


@pytest.mark.parametrize(("asked", "added"), [("true", True), ("false", False)])
def test_a_denied_call_adds_all_that_aws_judged_it_by(
    asked: str, *, added: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = AuthorizationAccounts(lambda: NOW)
    denied_at = NOW - timedelta(hours=2)
    accounts.requests[ID] = Denied(
        denied_at,
        {"aws:PrincipalArn": ROLE, "aws:userid": "AROAEXAMPLE:17650000009"},
        [
            evaluation(action, "", "IMPLICIT_DENY", LACKS)
            for action in ("iam:ListRoles", "iam:ListUsers")
        ],
    )
    call = {
        "event": "iam:ListRoles",
        "error": "AccessDenied",
        "message": MESSAGE,
        "region": "us-east-1",
    }
    trail = write_trail(
        tmp_path / "trail", [*usual_deploys(), record(call, denied_at, "17650000009")]
    )
    (tmp_path / "policy.json").write_text(json.dumps(POLICY, indent=2))
    with FakeAws(_operations(accounts)) as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        run = leastpriv(
            "propose", "--role-arn", ROLE, "--policy-file", str(tmp_path / "policy.json"),
            "--trails", str(trail),
            "--denial-details", asked, "--output-dir", str(tmp_path / "out"),
        )  # fmt: skip
        requests = len(aws.asked("GetRequestAuthorizationDetails"))
    assert run.code == 0, run.err
    proposal = json.loads((tmp_path / "out" / "proposal.json").read_text())
    added_actions = {change["action"] for change in proposal["changes"] if change["kind"] == "add"}
    assert ("iam:ListUsers" in added_actions, requests) == (added, 2 if added else 0)
    judged = {
        key
        for change in proposal["changes"]
        for usage in change["usages"]
        for key in usage.get("judged_by", ())
    }
    assert judged == ({"aws:principalarn", "aws:userid"} if added else set())
