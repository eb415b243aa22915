"""The promises of the comparison: what is granted, what is used through which entry, what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.diff.compare import Difference, compare
from leastpriv.evidence.models import Evidence
from leastpriv.permissions import catalog
from leastpriv.policy.document import Document, parse
from tests.fakes.deploys import POLICY, proposal

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Uses of one function and one queue, and one refused alarm."""
    return proposal(tmp_path_factory.mktemp("evidence")).subject.evidence


def document(*statements: dict[str, Any]) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "p.json")


def allow(action: str | list[str], resource: str = "*", **more: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def actions(difference: Difference, part: str) -> list[str]:
    return [usage.need.permission.action for usage in getattr(difference, part)]


def test_without_a_policy_everything_needed_is_missing(evidence: Evidence) -> None:
    found = compare(None, [], evidence)
    assert found.entries == ()
    assert actions(found, "missing") == ["cloudwatch:PutMetricAlarm", "lambda:UpdateFunctionCode", "sqs:CreateQueue"]


def test_what_any_attached_policy_allows_is_not_missing(evidence: Evidence) -> None:
    attached = [document(allow("sqs:*")), document(allow("cloudwatch:Put*"))]
    assert actions(compare(document(allow("s3:*")), attached, evidence), "missing") == ["lambda:UpdateFunctionCode"]


def test_entries_are_those_of_the_policy_itself_in_its_order_and_each_once(evidence: Evidence) -> None:
    policy = document(allow(["sqs:*", "s3:GetObject", "sqs:*"]), allow("sqs:*"), {**allow("ec2:*"), "Effect": "Deny"})
    found = compare(policy, [document(allow("sns:*"))], evidence)
    assert [(entry.statement.index, entry.pattern) for entry in found.entries] == [
        (0, "sqs:*"),
        (0, "s3:GetObject"),
        (1, "sqs:*"),
    ]


def test_a_wildcard_grants_the_actions_that_its_resources_let_through(evidence: Evidence) -> None:
    entry = compare(document(allow("lambda:*", FUNCTION)), [], evidence).entries[0]
    assert "lambda:UpdateFunctionCode" in entry.granted
    assert "lambda:ListFunctions" not in entry.granted
    assert set(entry.granted) < set(catalog.actions("lambda"))


def test_a_use_is_told_of_the_entries_it_can_have_come_through(evidence: Evidence) -> None:
    policy = document(allow("lambda:*", FUNCTION), allow("lambda:*", f"{FUNCTION}-2"), allow("lambda:Update*"))
    used = [list(entry.uses) for entry in compare(policy, [], evidence).entries]
    assert used == [["lambda:UpdateFunctionCode"], [], ["lambda:UpdateFunctionCode"]]


def test_an_allow_under_a_condition_that_the_record_does_not_show_is_neither_missing_nor_allowed(
    evidence: Evidence,
) -> None:
    tagged = allow("lambda:*", Condition={"StringEquals": {"aws:ResourceTag/team": "shop"}})
    found = compare(document(tagged, allow(["sqs:*", "cloudwatch:*"])), [], evidence)
    assert actions(found, "missing") == []
    assert actions(found, "conditional") == ["lambda:UpdateFunctionCode"]


def test_a_use_that_the_policy_now_denies_is_overruled_and_not_missing(evidence: Evidence) -> None:
    deny = {**allow("lambda:*"), "Effect": "Deny"}
    found = compare(document(allow("*"), deny), [], evidence)
    assert actions(found, "overruled") == ["lambda:UpdateFunctionCode"]
    assert actions(found, "missing") == []


def test_an_explicit_deny_is_told_in_the_proposal_and_never_mended(tmp_path: Path) -> None:
    deny = {**allow("lambda:*"), "Sid": "Frozen", "Effect": "Deny"}
    draft = proposal(tmp_path, {**POLICY, "Statement": [*POLICY["Statement"], deny]}).subject.proposal
    held = {held.action: held.guard_result.guard for held in draft.held_back_additions}
    assert held == {"lambda:UpdateFunctionCode": "explicit-deny"}
    assert json.loads(draft.content)["Statement"][2] == deny
