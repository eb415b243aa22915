"""Comparison of a policy with the evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.diff.compare import Difference, compare
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Condition, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.policy.document import Document, parse
from leastpriv.policy.replay import replay_need
from tests.fakes.deploys import POLICY, proposal

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Records of one function, one queue, and one denied alarm."""
    return proposal(tmp_path_factory.mktemp("evidence")).context.evidence


def document(*statements: dict[str, Any]) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "p.json")


def allow(action: str | list[str], resource: str = "*", **more: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def actions(difference: Difference, part: str) -> list[str]:
    return [usage.need.permission.action for usage in getattr(difference, part)]


def test_without_a_policy_every_need_is_missing(evidence: Evidence) -> None:
    comparison = compare(None, [], evidence)
    assert comparison.entries == ()
    assert actions(comparison, "missing") == [
        "cloudwatch:PutMetricAlarm",
        "lambda:UpdateFunctionCode",
        "sqs:CreateQueue",
    ]


def test_permissions_of_attached_policies_are_not_missing(evidence: Evidence) -> None:
    attached = [document(allow("sqs:*")), document(allow("cloudwatch:Put*"))]
    assert actions(compare(document(allow("s3:*")), attached, evidence), "missing") == [
        "lambda:UpdateFunctionCode"
    ]


def test_entries_are_distinct_and_in_the_order_of_the_policy(evidence: Evidence) -> None:
    policy = document(
        allow(["sqs:*", "s3:GetObject", "sqs:*"]),
        allow("sqs:*"),
        {**allow("ec2:*"), "Effect": "Deny"},
    )
    comparison = compare(policy, [document(allow("sns:*"))], evidence)
    assert [(entry.statement.index, entry.pattern) for entry in comparison.entries] == [
        (0, "sqs:*"),
        (0, "s3:GetObject"),
        (1, "sqs:*"),
    ]


def test_a_wildcard_grants_the_actions_that_fit_its_resources(evidence: Evidence) -> None:
    entry = compare(document(allow("lambda:*", FUNCTION)), [], evidence).entries[0]
    assert "lambda:UpdateFunctionCode" in entry.granted
    assert "lambda:ListFunctions" not in entry.granted
    assert set(entry.granted) < set(catalog.actions("lambda"))


def test_a_usage_belongs_to_every_entry_that_may_have_allowed_it(evidence: Evidence) -> None:
    policy = document(
        allow("lambda:*", FUNCTION), allow("lambda:*", f"{FUNCTION}-2"), allow("lambda:Update*")
    )
    uses = [list(entry.uses) for entry in compare(policy, [], evidence).entries]
    assert uses == [["lambda:UpdateFunctionCode"], [], ["lambda:UpdateFunctionCode"]]


def test_a_usage_under_an_unrecorded_condition_is_conditional(
    evidence: Evidence,
) -> None:
    tagged = allow("lambda:*", Condition={"StringEquals": {"aws:ResourceTag/team": "shop"}})
    comparison = compare(document(tagged, allow(["sqs:*", "cloudwatch:*"])), [], evidence)
    assert actions(comparison, "missing") == []
    assert actions(comparison, "conditional") == ["lambda:UpdateFunctionCode"]


@pytest.mark.parametrize(
    ("granted", "effect"),
    [
        (["ec2.amazonaws.com", "eks.amazonaws.com"], "allowed"),
        (["eks.amazonaws.com"], "unknown"),
        (["x"], "implicitDeny"),
    ],
)
def test_a_need_with_several_values_of_a_condition_is_decided_for_each_value(
    granted: list[str], effect: str
) -> None:
    """EKS may pass the role of a cluster to EC2 and to EKS: a condition that names both allows the
    call.
    """
    services = Condition(
        "StringEquals", "iam:PassedToService", ("ec2.amazonaws.com", "eks.amazonaws.com")
    )
    need = Need(
        Permission("iam:PassRole", "arn:aws:iam::111122223333:role/x", (services,)),
        Basis.OBSERVED,
        "",
    )
    policy = document(
        allow("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": granted}})
    )
    assert replay_need(need, "arn:aws:iam::111122223333:role/ci", "", [policy]) == effect


def test_a_usage_that_the_policy_denies_explicitly_is_not_missing(evidence: Evidence) -> None:
    deny = {**allow("lambda:*"), "Effect": "Deny"}
    comparison = compare(document(allow("*"), deny), [], evidence)
    assert actions(comparison, "explicitly_denied") == ["lambda:UpdateFunctionCode"]
    assert actions(comparison, "missing") == []


def test_an_explicit_deny_is_reported_and_never_changed(tmp_path: Path) -> None:
    deny = {**allow("lambda:*"), "Sid": "Frozen", "Effect": "Deny"}
    draft = proposal(
        tmp_path, {**POLICY, "Statement": [*POLICY["Statement"], deny]}
    ).context.proposal
    guards = {
        held_back.action: held_back.guard_result.guard for held_back in draft.held_back_additions
    }
    assert guards == {"lambda:UpdateFunctionCode": "explicit-deny"}
    assert json.loads(draft.content)["Statement"][2] == deny
