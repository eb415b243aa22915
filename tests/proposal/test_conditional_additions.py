"""Additions keep the conditions of their calls, and the replay counts them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from leastpriv.evidence.models import Evidence
from leastpriv.models import Condition, Usage
from leastpriv.policy.document import parse
from leastpriv.proposal.additions import additions
from leastpriv.proposal.edit_plan import new_statements
from leastpriv.proposal.models import Change, History, Options
from leastpriv.proposal.proof import prove
from leastpriv.report.context import ReportContext
from leastpriv.report.proposal_json import proposal_json
from leastpriv.report.pull_request import body
from tests.fakes.deploys import ROLE, deploys, proposal
from tests.fakes.replace import replace
from tests.proposal.test_additions import usage

GROUP = "arn:aws:ec2:eu-west-1:111122223333:security-group/*"
VPC = "arn:aws:ec2:eu-west-1:111122223333:vpc/*"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TAGS = {"items": [{"resourceType": "security-group", "tags": [{"key": "stage", "value": "test"}]}]}
CALLS = [
    {
        "event": "ec2:CreateSecurityGroup",
        "parameters": {"groupName": "web", "tagSpecificationSet": TAGS},
    },
    {
        "event": "ecs:RegisterTaskDefinition",
        "parameters": {"family": "shop", "taskRoleArn": "arn:aws:iam::111122223333:role/shop-task"},
    },
]


def under(key: str, *values: str) -> tuple[Condition, ...]:
    return (Condition("StringEquals", key, values),)


def created_by(action: str, resource: str, *values: str, key: str = "ec2:CreateAction") -> Usage:
    plain_usage = usage(action, resource)
    permission = structs.replace(plain_usage.need.permission, conditions=under(key, *values))
    return replace(plain_usage, need=structs.replace(plain_usage.need, permission=permission))


def added(*usages: Usage) -> list[Change]:
    return additions(usages, Evidence(ROLE, regions=("eu-west-1",)), Options(), History())[0]


def shown(changes: list[Change]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    for change in changes:
        yield (
            change.resources,
            tuple(value for condition in change.conditions for value in condition.values),
        )


def test_equal_resources_with_values_of_one_condition_are_one_addition() -> None:
    changes = added(
        created_by("ec2:CreateTags", VPC, "CreateVpc"),
        created_by("ec2:CreateTags", VPC, "CreateDefaultVpc"),
    )
    assert list(shown(changes)) == [((VPC,), ("CreateDefaultVpc", "CreateVpc"))]
    assert len(changes[0].usages) == 2


def test_other_resources_with_another_condition_value_are_a_separate_addition() -> None:
    """One statement with both would let the creation of one resource tag the other."""
    changes = added(
        created_by("ec2:CreateTags", VPC, "CreateVpc"),
        created_by("ec2:CreateTags", GROUP, "CreateSecurityGroup"),
    )
    assert list(shown(changes)) == [((VPC,), ("CreateVpc",)), ((GROUP,), ("CreateSecurityGroup",))]


def test_an_unconditional_use_makes_the_conditional_addition_unnecessary() -> None:
    through = created_by("kms:Decrypt", KEY, "s3.eu-west-1.amazonaws.com", key="kms:ViaService")
    changes = added(through, usage("kms:Decrypt", KEY))
    assert list(shown(changes)) == [((KEY,), ())]
    assert len(changes[0].usages) == 2


def test_a_statement_is_written_for_each_condition() -> None:
    changes = added(
        created_by("ec2:CreateTags", VPC, "CreateVpc", "CreateDefaultVpc"),
        usage("ec2:CreateVpc", VPC),
    )
    first, second = sorted(new_statements(changes, ()), key=lambda one: str(one["Action"]))
    assert first["Condition"] == {
        "StringEquals": {"ec2:CreateAction": ["CreateVpc", "CreateDefaultVpc"]}
    }
    assert "Condition" not in second


@pytest.fixture
def context(tmp_path: Path) -> ReportContext:
    return proposal(tmp_path, None, deploys(CALLS, times=3)).context


def test_policy_file_pull_request_and_json_contain_the_condition(context: ReportContext) -> None:
    written_conditions = [
        statement["Condition"]["StringEquals"]
        for statement in json.loads(context.proposal.content)["Statement"]
        if "Condition" in statement
    ]
    assert {"ec2:CreateAction": "CreateSecurityGroup"} in written_conditions
    assert {"iam:PassedToService": "ecs-tasks.amazonaws.com"} in written_conditions
    text = body(context)
    assert f"`{GROUP}`, only if `ec2:CreateAction` is `CreateSecurityGroup`: " in text
    assert "role/shop-task`, only if `iam:PassedToService` is `ecs-tasks.amazonaws.com`: " in text
    changes = json.loads(proposal_json(context, "", ""))["changes"]
    conditions = {change["action"]: change["conditions"] for change in changes}
    assert conditions["ec2:CreateTags"] == {
        "StringEquals": {"ec2:CreateAction": ["CreateSecurityGroup"]}
    }
    assert conditions["ec2:CreateSecurityGroup"] == {}


def test_the_replay_allows_a_conditional_addition(context: ReportContext) -> None:
    replay = context.proof.replay
    assert (replay.allowed, replay.conditional, replay.denied) == (6, 0, ())
    assert context.proof.new_access == ()


def test_a_lost_condition_is_new_access(context: ReportContext) -> None:
    policy: dict[str, Any] = json.loads(context.proposal.content)
    for statement in policy["Statement"]:
        statement.pop("Condition", None)
    document = parse(json.dumps(policy).encode(), "lost")
    lost = replace(context.proposal, document=document, packed=None)
    new_access = prove(lost, (), context.evidence).new_access
    assert [entry for entry in new_access if entry.startswith("ec2:CreateTags on ")]
    assert [entry for entry in new_access if entry.startswith("iam:PassRole on ")]
