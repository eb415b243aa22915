"""proposal.json contains the whole proposal for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.report.bounded_json import bounded_json
from leastpriv.report.proposal_json import proposal_json
from tests.fakes.deploys import ALARM, POLICY, ROLE, deploys, proposal
from tests.fakes.runs import Proposed


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Proposed:
    return proposal(tmp_path_factory.mktemp("usual"), POLICY, keep="lambda:ListTags")


@pytest.fixture(scope="module")
def exported(usual: Proposed) -> dict[str, Any]:
    text = proposal_json(usual.context, usual.title, usual.body)
    assert text.isascii()
    return dict(json.loads(text))


def test_the_json_has_its_format_generator_and_scope(
    exported: dict[str, Any], usual: Proposed
) -> None:
    assert exported["schema"] == 1
    assert (exported["principal"], exported["policy_file"]) == (ROLE, "iam/ci-deploy.json")
    assert exported["fingerprint"] == usual.context.fingerprint
    assert (exported["title"], exported["body"]) == (usual.title, usual.body)
    assert exported["catalogue"]


def test_every_change_has_its_location_and_evidence(exported: dict[str, Any]) -> None:
    changes = {change["action"]: change for change in exported["changes"]}
    assert set(changes) == {
        "cloudwatch:PutMetricAlarm",
        "lambda:*",
        "sqs:PurgeQueue",
        "sns:CreateTopic",
    }
    added = changes["cloudwatch:PutMetricAlarm"]
    assert (added["kind"], added["basis"], added["statement"], added["line"]) == (
        "add",
        "denied",
        None,
        None,
    )
    assert added["resources"] == [ALARM]
    assert added["usages"][0]["count"] == 1
    narrowed = changes["lambda:*"]
    assert (narrowed["kind"], narrowed["statement"], narrowed["sid"]) == ("narrow", 0, "Functions")
    assert narrowed["used"] == ["lambda:UpdateFunctionCode"]
    assert narrowed["kept"]["lambda:ListTags"]["guard"] == "keep"
    assert "lambda:UpdateFunctionCode" in narrowed["replacement"]
    assert changes["sns:CreateTopic"]["statement"] == 2


def test_the_proof_lists_what_it_does_not_model(exported: dict[str, Any]) -> None:
    proof = exported["proof"]
    assert (proof["recorded"], proof["allowed"], proof["unmapped"], proof["denied"]) == (
        12,
        12,
        0,
        [],
    )
    assert proof["not_evaluated"] == [
        "service control policies",
        "permissions boundaries",
        "resource policies",
    ]
    assert proof["new_access"] == []


def test_the_proof_names_the_statement_that_allows_each_replayed_need(
    exported: dict[str, Any],
) -> None:
    rows = {row["action"]: row for row in exported["proof"]["replayed"]}
    assert rows["sqs:CreateQueue"]["decision"] == "allowed"
    statement = rows["sqs:CreateQueue"]["statement"]
    assert (statement["file"], statement["sid"], statement["index"]) == (
        "iam/ci-deploy.json",
        "Queues",
        1,
    )
    assert exported["proof"]["left_out"] == {
        "runs": 6,
        "denied": {},
        "not_checked": 0,
        "untried": 0,
        "lacking": 0,
    }
    assert (exported["proof"]["kind"], exported["proof"]["quota"], exported["proof"]["fits"]) == (
        "managed",
        6_144,
        True,
    )


def test_the_committed_policy_is_listed_entry_by_entry_a_wildcard_as_one(
    exported: dict[str, Any],
) -> None:
    entries = {entry["entry"]: entry for entry in exported["difference"]["entries"]}
    assert entries["lambda:*"]["used"] == ["lambda:UpdateFunctionCode"]
    assert entries["lambda:*"]["granted"] > 30
    assert (entries["sqs:PurgeQueue"]["granted"], entries["sqs:PurgeQueue"]["used"]) == (1, [])
    assert [missing["action"] for missing in exported["difference"]["missing"]] == [
        "cloudwatch:PutMetricAlarm"
    ]


def test_the_evidence_has_counts_and_runs(exported: dict[str, Any]) -> None:
    evidence = exported["evidence"]
    assert (evidence["calls"], evidence["allowed"], evidence["denied"]) == (13, 12, 1)
    assert (evidence["first"], evidence["last"]) == ("2026-10-01T09:00:00Z", "2026-11-05T09:00:01Z")
    assert [run["denied"] for run in evidence["runs"]] == [0, 0, 1, 0, 0, 0]


def test_without_a_committed_policy_every_change_is_an_addition(tmp_path: Path) -> None:
    draft = proposal(tmp_path)
    changes = json.loads(proposal_json(draft.context, draft.title, draft.body))["changes"]
    assert {change["kind"] for change in changes} == {"add"}


def test_a_wildcarded_resource_lists_what_it_covers_and_why(tmp_path: Path) -> None:
    stack = "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders"
    call = {
        "event": "cloudformation:DescribeStacks",
        "parameters": {"stackName": f"{stack}/7b2f3c10-9a1e-11ef"},
    }
    draft = proposal(tmp_path, None, deploys([call]))
    exported = json.loads(proposal_json(draft.context, draft.title, draft.body))
    assert exported["changes"][0]["patterns"] == [
        {
            "pattern": f"{stack}/*",
            "covers": [f"{stack}/7b2f3c10-9a1e-11ef"],
            "openings": [{"part": "Id", "reason": "a stack made again has another id"}],
            "certainty": "whole",
        }
    ]


def test_many_long_names_leave_a_file_that_a_program_can_read() -> None:
    names = [f"arn:aws:s3:::{number}-" + "é|`" * 1_000 for number in range(500)]
    value: dict[str, Any] = {
        "body": "x" * 5_000,
        "changes": [{"resources": names, "kept": None}] * 50,
    }
    text = bounded_json(value, most=600_000)
    content = json.loads(text)
    assert len(json.dumps(content)) <= 600_000
    assert content["body"] == value["body"]
    assert len(content["changes"]) == 30
    assert content["shortened_lists"] == len(content["changes"][0]["resources"]) == 3
    assert content["changes"][0]["resources"][0].startswith("arn:aws:s3:::0-é")
    short_value = {**value, "changes": value["changes"][:1]}
    assert json.loads(bounded_json(short_value, most=10**9)) == {
        **short_value,
        "shortened_lists": None,
    }
