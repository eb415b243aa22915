"""Event history and the live role, read from the lab by the command with a user's credentials."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import parse_principal
from leastpriv.aws.session import Aws
from leastpriv.cli.main import main
from leastpriv.evidence.live_role import TrustKind, read_live_role
from tests.end_to_end.lab.lab import Environment, Lab

READER = ("cloudtrail:LookupEvents", "account:ListRegions", "iam:Get*", "iam:List*")


def allow(*actions: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
    }


def reader(lab: Lab, name: str, *actions: str) -> Environment:
    return lab.assume(lab.role(name, allow(*actions)), "leastpriv")


def propose(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str
) -> tuple[int, dict[str, Any], str]:
    """Runs the command with these credentials; returns exit code, proposal.json, and messages."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = io.StringIO()
    code = main(
        ["propose", *arguments, "--output-dir", str(out)],
        io.StringIO(),
        said,
        lambda: datetime.now(UTC),
    )
    found = (
        json.loads((out / "proposal.json").read_text()) if (out / "proposal.json").exists() else {}
    )
    return code, found, said.getvalue()


@pytest.fixture(scope="module")
def deployed(lab: Lab) -> str:
    """A role whose one run created a queue, was denied a purge, and read itself."""
    arn = lab.role(
        "deploy",
        allow("sqs:CreateQueue", "sqs:GetQueueUrl", "ssm:PutParameter", "iam:GetRole"),
        path="/ci/",
    )
    session = lab.assume(arn, "19000000001")
    queues = lab.client("sqs", session)
    url = queues.create_queue(QueueName="orders")["QueueUrl"]
    with pytest.raises(queues.exceptions.ClientError):
        queues.purge_queue(QueueUrl=url)
    lab.client("iam", session).get_role(RoleName="deploy")
    return arn


def policy_file(folder: Path, document: Mapping[str, Any]) -> Path:
    file = folder / "deploy.json"
    file.write_text(json.dumps(document, indent=2))
    return file


def test_event_history_alone_gives_a_proposal_and_the_account_equals_the_file(
    lab: Lab, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_file(
        tmp_path, allow("sqs:CreateQueue", "sqs:GetQueueUrl", "ssm:PutParameter", "iam:GetRole")
    )
    code, found, said = propose(
        reader(lab, "reader-1", *READER), monkeypatch, tmp_path / "out",
        "--role-arn", deployed, "--policy-file", str(file), "--trails", "event-history",
        "--minimum-days", "0", "--minimum-runs", "1",
    )  # fmt: skip
    assert code == 0, said
    assert ("add", "sqs:PurgeQueue") in [
        (change["kind"], change["action"]) for change in found["changes"]
    ]
    assert [run["id"] for run in found["evidence"]["runs"]] == ["19000000001"]
    assert found["live"]["principal"] == deployed
    assert found["live"]["drift"]["differs"] is False
    assert "All regions are read" not in said
    # The role was used a moment ago, without waiting for delivery.
    scopes = {gap["gap"]: gap["scope"] for gap in found["gaps"]}
    assert set(scopes) == {"no-data-events", "events-late"}
    assert scopes["no-data-events"]["data_events"] is True


def test_a_differing_account_fails_the_check_and_holds_back_every_narrowing(
    lab: Lab, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_file(tmp_path, allow("sqs:*", "ssm:PutParameter", "iam:GetRole"))
    code, found, said = propose(
        reader(lab, "reader-2", *READER), monkeypatch, tmp_path / "out",
        "--role-arn", deployed, "--policy-file", str(file), "--trails", "event-history",
        "--aws-regions", lab.region, "--mode", "check",
        "--minimum-days", "0", "--minimum-runs", "0",
    )  # fmt: skip
    assert code == 3
    assert "does not match" in said
    assert {change["kind"] for change in found["changes"]} <= {"add"}
    assert {held["guard"] for held in found["held_back"]} == {"live-differs"}
    assert found["live"]["drift"]["file_allows"]["action"].startswith("sqs:")


def test_without_permission_to_read_iam_the_attached_policies_are_reported_as_unknown(
    lab: Lab, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_file(tmp_path, allow("sqs:CreateQueue", "sqs:PurgeQueue"))
    code, found, said = propose(
        reader(lab, "reader-3", "cloudtrail:LookupEvents"), monkeypatch, tmp_path / "out",
        "--role-arn", deployed, "--policy-file", str(file), "--trails", "event-history",
        "--aws-regions", lab.region,
    )  # fmt: skip
    assert code == 0, said
    details = [gap["detail"] for gap in found["gaps"] if gap["gap"] == "live-role-unread"]
    assert any("iam:GetRole" in detail for detail in details)
    assert any("iam:ListAttachedRolePolicies" in detail for detail in details)
    assert found["live"]["drift"]["differs"] is False


def test_without_permission_to_look_up_events_nothing_is_removed_and_the_permission_is_named(
    lab: Lab, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_file(tmp_path, allow("sqs:CreateQueue", "ssm:PutParameter"))
    code, found, said = propose(
        reader(lab, "reader-4", "iam:Get*", "iam:List*"), monkeypatch, tmp_path / "out",
        "--role-arn", deployed, "--policy-file", str(file), "--trails", "event-history",
        "--minimum-days", "0", "--minimum-runs", "0", "--unseen-services", "drop",
    )  # fmt: skip
    # A run that read no call fails, and still writes what it found.
    assert code == 1, said
    assert "AWS denied cloudtrail:LookupEvents" in said.splitlines()[-1]
    assert found["changes"] == []
    assert any(
        "cloudtrail:LookupEvents" in gap["detail"]
        for gap in found["gaps"]
        if gap["gap"] == "source-failed"
    )


def test_the_history_of_another_account_is_an_error_that_names_the_account(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_file(tmp_path, allow("sqs:CreateQueue"))
    code, _, said = propose(
        reader(lab, "reader-5", *READER), monkeypatch, tmp_path / "out",
        "--role-arn", "arn:aws:iam::999999999999:role/deploy",
        "--policy-file", str(file), "--trails", "event-history",
        "--aws-regions", lab.region,
    )  # fmt: skip
    assert code == 2
    assert "use credentials of the account 999999999999" in said


def test_waiting_ends_once_the_newest_events_have_been_delivered(
    lab: Lab, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = policy_file(tmp_path, allow("sqs:CreateQueue"))
    code, found, said = propose(
        reader(lab, "reader-6", *READER), monkeypatch, tmp_path / "out",
        "--role-arn", deployed, "--policy-file", str(file), "--trails", "event-history",
        "--aws-regions", lab.region, "--wait-for-events", "1",
    )  # fmt: skip
    assert code == 0, said
    assert "events-late" not in [gap["gap"] for gap in found["gaps"]]


def test_the_permissions_of_a_role_are_listed_from_event_history(
    lab: Lab, deployed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in reader(lab, "reader-8", "cloudtrail:LookupEvents").items():
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    arguments = [
        "permissions",
        "--role-arn",
        deployed,
        "--trails",
        "event-history",
        "--aws-regions",
        lab.region,
    ]
    assert (
        main(arguments, out, io.StringIO(), lambda: datetime.now(UTC) + timedelta(minutes=30)) == 0
    )
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {"sqs:CreateQueue", "iam:GetRole", "sqs:PurgeQueue"} <= {
        row.get("action") for row in rows
    }
    assert [row["scope"] for row in rows if "gap" in row] == [{"data_events": True}]


class TestLiveRole:
    def test_a_role_is_read_with_all_that_is_attached_its_boundary_and_its_trust(
        self, lab: Lab
    ) -> None:
        trust = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"},
            "Action": "sts:AssumeRole"},
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{lab.account}:root"},
            "Action": "sts:AssumeRole"},
        ]}  # fmt: skip
        arn = lab.role(
            "whole", allow("sqs:CreateQueue"), trust=trust, boundary=allow("*"), path="/ci/"
        )
        iam = lab.client("iam")
        managed = iam.create_policy(
            PolicyName="more", PolicyDocument=json.dumps(allow("sns:Publish"))
        )["Policy"]["Arn"]
        iam.attach_role_policy(RoleName="whole", PolicyArn=managed)
        iam.tag_role(RoleName="whole", Tags=[{"Key": "team", "Value": "shop"}])
        found = read_live_role(Aws.open(lab.root), parse_principal(arn))
        assert found.is_known
        assert (found.principal, dict(found.tags)) == (arn, {"team": "shop"})
        assert [policy.name for policy in found.policies] == [managed, "inline policy whole"]
        assert [policy.document.statements[0].actions for policy in found.policies] == [
            ("sns:Publish",), ("sqs:CreateQueue",)
        ]  # fmt: skip
        assert found.boundary == f"arn:aws:iam::{lab.account}:policy/whole-boundary"
        assert [each.kind for each in found.trust] == [TrustKind.CODEBUILD, TrustKind.PRINCIPAL]

    def test_a_user_is_read_with_the_policies_of_its_groups(self, lab: Lab) -> None:
        arn, _, _ = lab.user("kim", allow("sqs:CreateQueue"))
        iam = lab.client("iam")
        iam.create_group(GroupName="ops")
        iam.put_group_policy(
            GroupName="ops",
            PolicyName="logs",
            PolicyDocument=json.dumps(allow("logs:PutLogEvents")),
        )
        iam.attach_group_policy(GroupName="ops", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
        iam.add_user_to_group(GroupName="ops", UserName="kim")
        found = read_live_role(Aws.open(lab.root), parse_principal(arn))
        assert found.is_known
        assert [(policy.name, policy.group) for policy in found.policies] == [
            ("inline policy kim", ""),
            ("arn:aws:iam::aws:policy/ReadOnlyAccess", "ops"),
            ("inline policy logs of the group ops", "ops"),
        ]

    def test_a_missing_role_is_a_gap(self, lab: Lab) -> None:
        found = read_live_role(
            Aws.open(lab.root), parse_principal(f"arn:aws:iam::{lab.account}:role/nobody")
        )
        assert not found.is_known
        assert ["check the input role-arn" in gap.detail for gap in found.gaps] == [True]

    def test_a_managed_policy_by_its_arn_counts_as_attached(
        self, lab: Lab, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        iam = lab.client("iam")
        arn = iam.create_policy(
            PolicyName="purge", PolicyDocument=json.dumps(allow("sqs:PurgeQueue"))
        )["Policy"]["Arn"]
        file = policy_file(
            tmp_path, allow("sqs:CreateQueue", "sqs:GetQueueUrl", "ssm:PutParameter", "iam:GetRole")
        )
        code, found, said = propose(
            reader(lab, "reader-7", *READER), monkeypatch, tmp_path / "out", "--role-arn", deployed,
            "--policy-file", str(file), "--trails", "event-history", "--also-attached", arn,
        )  # fmt: skip
        assert code == 0, said
        assert "sqs:PurgeQueue" not in [change["action"] for change in found["changes"]]
