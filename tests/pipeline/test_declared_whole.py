"""The promises of one answer for each declared need: a review judges what a draft judges, and says
whether a policy suffices for all that is declared.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from leastpriv.declared.declarations import read_stack
from leastpriv.declared.models import Place
from leastpriv.declared.resource_needs import needs_of
from leastpriv.evidence.models import Evidence
from leastpriv.models import Need
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import DeclaredState, Options
from leastpriv.proposal.preflight import (
    DeclaredChange,
    additions_of,
    held_back_of,
    judged_needs,
    preflight,
)
from tests.fakes.command import leastpriv

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
PLACE = Place("aws", "111122223333", "eu-west-1")
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}
LAYER = "arn:aws:lambda:eu-west-1:999988887777:layer:insights:38"
WORKER = {
    "Type": "AWS::Lambda::Function",
    "Properties": {
        "FunctionName": "worker",
        "Code": {"ZipFile": "x"},
        "Role": f"arn:aws:iam::{ROLE.split(':')[4]}:role/worker",
        "Layers": [LAYER],
    },
}
OWN_ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"RoleName": "ci-deploy", "Policies": [{"PolicyName": "p"}]},
}
CLUSTER = {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "shop"}}
RESOURCES = {"Orders": QUEUE, "Worker": WORKER, "Own": OWN_ROLE, "Cluster": CLUSTER}
ALL_OF_LAMBDA = {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}
DENY = {"Effect": "Deny", "Action": "sqs:DeleteQueue", "Resource": "*"}
ONE_LINKED_ROLE = {
    "Effect": "Allow",
    "Action": "iam:CreateServiceLinkedRole",
    "Resource": "*",
    "Condition": {"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def needs(resources: dict[str, Any]) -> tuple[Need, ...]:
    text = json.dumps({"Resources": resources}).encode()
    return needs_of(read_stack("shop=t.json", {"t.json": text}.get, PLACE), PLACE)


def policy(*statements: dict[str, Any]) -> Document:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "p.json")


@pytest.mark.parametrize("statements", [(), (ALL_OF_LAMBDA,), (DENY,), (ONE_LINKED_ROLE,)])
def test_each_need_has_one_of_three_states_and_a_reason_unless_it_is_written(
    statements: tuple[dict[str, Any], ...],
) -> None:
    judged = judged_needs(needs(RESOURCES), [policy(*statements)], ROLE, Options())
    assert [judged_need.need for judged_need in judged] == [*needs(RESOURCES)]
    assert {judged_need.state for judged_need in judged} <= {*DeclaredState}
    for judged_need in judged:
        assert bool(judged_need.reason) is (judged_need.state is not DeclaredState.WRITTEN)
    # What is written or told is what the draft has, and the report says.
    added_permissions = {
        (addition.action, resource)
        for addition in additions_of(judged)
        for resource in addition.resources
    }
    held_permissions = {
        (held_back.action, *held_back.resources) for held_back in held_back_of(judged)
    }
    for judged_need in judged:
        permission = (judged_need.need.permission.action, judged_need.need.permission.resource)
        if judged_need.state is DeclaredState.WRITTEN:
            assert permission in added_permissions or any(
                action == permission[0] for action, _ in added_permissions
            )
        if judged_need.state is DeclaredState.TOLD:
            assert permission in held_permissions


def test_there_is_no_fourth_state() -> None:
    assert [*DeclaredState] == ["written", "told", "not-needed"]


@pytest.mark.parametrize("statements", [(), (ALL_OF_LAMBDA,), (DENY,), (ONE_LINKED_ROLE,)])
def test_a_review_lacks_what_a_draft_writes_or_tells(
    statements: tuple[dict[str, Any], ...],
) -> None:
    documents = [policy(*statements)]
    draft = judged_needs(needs(RESOURCES), documents, ROLE, Options())
    change = DeclaredChange(sources=("t.json",), made=needs(RESOURCES), kept=())
    comparison = preflight(change, documents, documents, Evidence(ROLE), Options())
    assert comparison
    lacking = {
        judged_need.need
        for judged_need in draft
        if judged_need.state is not DeclaredState.NOT_NEEDED
    }
    assert {*comparison.lacking} == lacking
    assert {
        judged_need.need for judged_need in draft if judged_need.state is DeclaredState.TOLD
    } == {*comparison.never_written}


def test_a_resource_of_another_account_is_needed_too() -> None:
    judged = judged_needs(needs(RESOURCES), (), ROLE, Options())
    [layer] = [
        judged_need for judged_need in judged if judged_need.need.permission.resource == LAYER
    ]
    assert layer.need.permission.action == "lambda:GetLayerVersion"
    assert layer.state is DeclaredState.WRITTEN


def test_a_service_linked_role_is_written_with_its_service() -> None:
    judged = judged_needs(needs({"Cluster": CLUSTER}), (), ROLE, Options())
    [linked] = [
        change for change in additions_of(judged) if change.action == "iam:CreateServiceLinkedRole"
    ]
    assert linked.resources == (
        "arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
    )
    [condition] = linked.conditions
    assert (condition.key, condition.values) == ("iam:AWSServiceName", ("ecs.amazonaws.com",))


def write(files: dict[str, Any]) -> None:
    for name, content in files.items():
        Path(name).write_text(json.dumps(content))


def commit() -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True)

    git("init", "--initial-branch", "main", ".")
    git("add", ".")
    git("commit", "--message", "The base")


def run(mode: str, *more: str) -> Any:
    return leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "ci.json", "--aws-regions", "eu-west-1",
        "--mode", mode, "--templates", "shop=t.json", *more,
    )  # fmt: skip


def test_a_check_without_records_names_what_the_whole_template_lacks(place: Path) -> None:
    write({"t.json": {"Resources": {"Orders": QUEUE}}})
    granting = {"Effect": "Allow", "Action": ["sqs:CreateQueue"], "Resource": "*"}
    write({"ci.json": {"Version": "2012-10-17", "Statement": [granting]}})
    command = run("check")
    assert command.code == 3
    assert "sqs:GetQueueAttributes" in command.out
    assert "`sqs:CreateQueue`" not in command.out.partition("Granted already")[0]


def test_a_check_of_a_sufficient_policy_is_green(place: Path) -> None:
    write({"t.json": {"Resources": {"Orders": QUEUE}}})
    command = run("report", "--output-dir", "out")
    assert command.code == 0, command.err
    Path("ci.json").write_bytes(Path("out/policy.json").read_bytes())
    assert run("check").code == 0
    command = run("check", "--declared-phases", "all")
    assert command.code == 3
    assert "sqs:SetQueueAttributes" in command.out


def test_a_review_without_records_names_what_unchanged_resources_lack(place: Path) -> None:
    write({"t.json": {"Resources": {"Orders": QUEUE}}})
    write({"ci.json": {"Version": "2012-10-17", "Statement": [ALL_OF_LAMBDA]}})
    commit()
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}}
    write({"t.json": {"Resources": {"Orders": QUEUE, "Topic": topic}}})
    command = run("review", "--base", "main")
    assert command.code == 3
    section = command.out.partition("Resources that do not change lack")[2]
    assert "sqs:CreateQueue" in section.partition("</details>")[0]


def test_a_deleted_template_needs_the_deletion_of_its_stack(place: Path) -> None:
    write({"t.json": {"Resources": {"Orders": QUEUE}}})
    write({"ci.json": {"Version": "2012-10-17", "Statement": [ALL_OF_LAMBDA]}})
    commit()
    Path("t.json").unlink()
    command = run("review", "--base", "main")
    assert command.code == 3
    assert "sqs:DeleteQueue" in command.out
    assert "cloudformation:DeleteStack" in command.out
    assert "sqs:CreateQueue" not in command.out


def test_a_resource_that_a_default_leaves_out_is_named(place: Path) -> None:
    template = {
        "Parameters": {"WithTopic": {"Type": "String", "Default": "no"}},
        "Conditions": {"HasTopic": {"Fn::Equals": [{"Ref": "WithTopic"}, "yes"]}},
        "Resources": {
            "Orders": QUEUE,
            "News": {"Type": "AWS::SNS::Topic", "Condition": "HasTopic"},
        },
    }
    write({"t.json": template, "p.json": [{"ParameterKey": "WithTopic", "ParameterValue": "yes"}]})
    command = run("report", "--output-dir", "out")
    assert (
        "Left out by the defaults of `WithTopic`: `News`"
        in json.loads(Path("out/proposal.json").read_bytes())["body"]
    )
    assert "sns:CreateTopic" not in Path("out/policy.json").read_text()
    command = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "ci.json", "--aws-regions", "eu-west-1",
        "--templates", "shop=t.json?p.json", "--output-dir", "given",
    )  # fmt: skip
    assert command.code == 0, command.err
    assert "sns:CreateTopic" in Path("given/policy.json").read_text()


def test_a_rule_group_of_aws_keeps_the_word_that_its_arn_has_for_an_account(place: Path) -> None:
    group = "arn:aws:network-firewall:eu-west-1:aws-managed:stateful-rulegroup/MalwareDomains"
    rules = {"StatefulRuleGroupReferences": [{"ResourceArn": group}]}
    firewall = {
        "Type": "AWS::NetworkFirewall::FirewallPolicy",
        "Properties": {"FirewallPolicyName": "edge", "FirewallPolicy": rules},
    }
    write({"t.json": {"Resources": {"Edge": firewall}}})
    command = run("report", "--output-dir", "out")
    assert command.code == 0, command.err
    assert group in Path("out/policy.json").read_text()


def test_a_resource_of_which_nothing_is_known_is_written_as_text(place: Path) -> None:
    rule = {"type": "aws_cloudwatch_event_target", "address": "aws_cloudwatch_event_target.t"}
    change = {"actions": ["no-op"], "before": {"target_id": "t"}, "after": {"target_id": "t"}}
    write({"plan.json": {"resource_changes": [{**rule, "change": change}]}})
    write({"t.json": {"Resources": {"Orders": QUEUE}}})
    assert run("report", "--plans", "plan.json", "--output-dir", "out").code == 0


def test_what_is_too_large_is_a_state_and_the_run_continues(place: Path) -> None:
    queue = {"type": "aws_sqs_queue", "change": {"actions": ["create"], "after": {}}}
    changes = [{**queue, "address": f"aws_sqs_queue.q[{number}]"} for number in range(11_000)]
    write({"large.json": {"resource_changes": changes}})
    write({"t.json": {"Resources": {"Orders": QUEUE}}})
    command = run("report", "--plans", "large.json", "--output-dir", "out")
    assert command.code == 0, command.err
    body = json.loads(Path("out/proposal.json").read_bytes())["body"]
    assert "The needs of `large.json` are not known: too large" in body
    assert "sqs:CreateQueue" in Path("out/policy.json").read_text()


def test_a_template_outside_is_named_as_not_known(place: Path) -> None:
    inner = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "../secret.json"}}
    write({"../secret.json": {"Resources": {"Secret": QUEUE}}})
    write({"t.json": {"Resources": {"Inner": inner}}})
    command = run("report", "--output-dir", "out")
    assert command.code == 0, command.err
    body = json.loads(Path("out/proposal.json").read_bytes())["body"]
    assert "is outside the repository and is not read" in body
    assert "sqs:CreateQueue" not in Path("out/policy.json").read_text()


def test_a_plan_of_a_stack_that_was_not_carried_out_is_no_deletion_in_the_verdict(
    place: Path,
) -> None:
    (place / "t.json").write_text(json.dumps({"Resources": {"Orders": QUEUE}}))
    options = ("--role-arn", ROLE, "--policy-file", "p.json", "--aws-regions", "eu-west-1")
    run = leastpriv("propose", *options, "--templates", "shop=t.json", "--output-dir", "out")
    assert run.code == 0, run.err
    verdict = json.loads((place / "out/proposal.json").read_text())["verdict"]
    assert verdict["rule"] == "new-deletion"
    assert "DeleteStack" in verdict["reason"]
    assert "DeleteChangeSet" not in verdict["reason"]
