"""The promises of proposal.json: everything in it, for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.pipeline.propose import Result
from leastpriv.report.proposal_json import proposal_json
from tests.fakes.deploys import ALARM, POLICY, ROLE, deploys, proposal


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return proposal(tmp_path_factory.mktemp("usual"), POLICY, keep="lambda:ListTags")


@pytest.fixture(scope="module")
def told(usual: Result) -> dict[str, Any]:
    text = proposal_json(usual.subject, usual.title, usual.body)
    assert text.isascii()
    return dict(json.loads(text))


def test_it_names_its_form_its_makers_and_its_scope(told: dict[str, Any], usual: Result) -> None:
    assert told["schema"] == 1
    assert (told["principal"], told["policy_file"]) == (ROLE, "iam/ci-deploy.json")
    assert told["fingerprint"] == usual.subject.fingerprint
    assert (told["title"], told["body"]) == (usual.title, usual.body)
    assert told["catalogue"]


def test_every_change_is_told_with_its_place_and_its_evidence(told: dict[str, Any]) -> None:
    changes = {change["action"]: change for change in told["changes"]}
    assert set(changes) == {"cloudwatch:PutMetricAlarm", "lambda:*", "sqs:PurgeQueue", "sns:CreateTopic"}
    added = changes["cloudwatch:PutMetricAlarm"]
    assert (added["kind"], added["basis"], added["statement"], added["line"]) == ("add", "denied", None, None)
    assert added["resources"] == [ALARM]
    assert added["usages"][0]["count"] == 1
    narrowed = changes["lambda:*"]
    assert (narrowed["kind"], narrowed["statement"], narrowed["sid"]) == ("narrow", 0, "Functions")
    assert narrowed["used"] == ["lambda:UpdateFunctionCode"]
    assert narrowed["stays"]["lambda:ListTags"]["guard"] == "keep"
    assert "lambda:UpdateFunctionCode" in narrowed["becomes"]
    assert changes["sns:CreateTopic"]["statement"] == 2


def test_the_proof_says_what_it_does_not_model(told: dict[str, Any]) -> None:
    proof = told["proof"]
    assert (proof["recorded"], proof["allowed"], proof["unmapped"], proof["refused"]) == (12, 12, 0, [])
    assert proof["not_modelled"] == ["service control policies", "permissions boundaries", "resource policies"]
    assert proof["new_access"] == []


def test_the_proof_names_the_statement_that_allows_each_replayed_need(told: dict[str, Any]) -> None:
    rows = {row["action"]: row for row in told["proof"]["replayed"]}
    assert rows["sqs:CreateQueue"]["decision"] == "allowed"
    place = rows["sqs:CreateQueue"]["statement"]
    assert (place["file"], place["sid"], place["index"]) == ("iam/ci-deploy.json", "Queues", 1)
    assert told["proof"]["left_out"] == {"runs": 6, "not_judged": 0, "refused": {}, "untried": 0}
    assert (told["proof"]["attached_as"], told["proof"]["quota"], told["proof"]["fits"]) == ("managed", 6_144, True)


def test_the_committed_policy_is_told_entry_by_entry_a_wildcard_as_one(told: dict[str, Any]) -> None:
    entries = {entry["entry"]: entry for entry in told["difference"]["entries"]}
    assert entries["lambda:*"]["used"] == ["lambda:UpdateFunctionCode"]
    assert entries["lambda:*"]["granted"] > 30
    assert (entries["sqs:PurgeQueue"]["granted"], entries["sqs:PurgeQueue"]["used"]) == (1, [])
    assert [missing["action"] for missing in told["difference"]["missing"]] == ["cloudwatch:PutMetricAlarm"]


def test_the_evidence_is_told_in_figures_and_runs(told: dict[str, Any]) -> None:
    evidence = told["evidence"]
    assert (evidence["calls"], evidence["allowed"], evidence["denied"]) == (13, 12, 1)
    assert (evidence["first"], evidence["last"]) == ("2026-10-01T09:00:00Z", "2026-11-05T09:00:01Z")
    assert [run["denied"] for run in evidence["runs"]] == [0, 0, 1, 0, 0, 0]


def test_without_a_committed_policy_every_change_is_an_addition(tmp_path: Path) -> None:
    made = proposal(tmp_path)
    changes = json.loads(proposal_json(made.subject, made.title, made.body))["changes"]
    assert {change["kind"] for change in changes} == {"add"}


def test_an_open_resource_says_what_it_covers_and_why_it_is_open(tmp_path: Path) -> None:
    stack = "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders"
    call = {"event": "cloudformation:DescribeStacks", "parameters": {"stackName": f"{stack}/7b2f3c10-9a1e-11ef"}}
    result = proposal(tmp_path, None, deploys([call]))
    told = json.loads(proposal_json(result.subject, result.title, result.body))
    assert told["changes"][0]["patterns"] == [
        {
            "pattern": f"{stack}/*",
            "covers": [f"{stack}/7b2f3c10-9a1e-11ef"],
            "openings": [{"part": "Id", "reason": "a stack made again has another id"}],
        }
    ]
