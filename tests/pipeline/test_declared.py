"""The promises of a first draft from templates and plans: it needs no record, says so, and widens
nothing by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.permissions.patterns import resource_matches
from tests.fakes.command import leastpriv
from tests.fakes.deploys import CREATE_QUEUE, deploys, write_trail

ROLE = "arn:aws:iam::111122223333:role/ci-deploy"
QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}
KEY = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Statement": []}}}
OWN_ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"RoleName": "ci-deploy", "Policies": [{"PolicyName": "p"}]},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draft(resources: dict[str, Any], *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policy and `proposal.json` of a first draft."""
    Path("t.json").write_text(json.dumps({"Resources": resources}))
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "iam/ci.json", "--aws-regions", "eu-west-1",
        "--templates", "shop=t.json", "--output-dir", "out", *more,
    )  # fmt: skip
    assert run.code == 0, run.err
    return json.loads(Path("out/policy.json").read_bytes()), json.loads(
        Path("out/proposal.json").read_bytes()
    )


def actions(policy: dict[str, Any]) -> dict[str, Any]:
    """Action -> resource of a policy."""
    return {
        action: statement["Resource"]
        for statement in policy["Statement"]
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }


def test_a_template_alone_gives_a_first_draft(place: Path) -> None:
    policy, proposal = draft({"Orders": QUEUE})
    assert actions(policy)["sqs:CreateQueue"] == ["arn:aws:sqs:eu-west-1:111122223333:orders"]
    assert actions(policy)["cloudformation:CreateChangeSet"] == [
        "arn:aws:cloudformation:eu-west-1:111122223333:stack/shop/*"
    ]
    assert {change["basis"] for change in proposal["changes"]} == {"declared"}
    assert "| `sqs` | 4<br>(4\u00a0not used yet) | `orders` | 0 |" in proposal["body"]
    declared_by = {change["action"]: change["declared_by"] for change in proposal["changes"]}
    assert declared_by["sqs:CreateQueue"] == ["AWS::SQS::Queue Orders (create)"]


def test_later_phases_are_offered_and_written_on_request(place: Path) -> None:
    policy, proposal = draft({"Orders": QUEUE})
    assert "sqs:SetQueueAttributes" not in actions(policy)
    assert "sqs:SetQueueAttributes" in {offer["action"] for offer in proposal["suggested_actions"]}
    policy, _ = draft({"Orders": QUEUE}, "--declared-phases", "all")
    assert actions(policy)["sqs:SetQueueAttributes"] == [
        "arn:aws:sqs:eu-west-1:111122223333:orders"
    ]


@pytest.mark.parametrize("has_state", [False, True])
def test_a_draft_of_a_plan_says_that_what_its_state_needs_is_not_drafted(
    place: Path, *, has_state: bool
) -> None:
    change = {
        "address": "aws_sqs_queue.orders",
        "mode": "managed",
        "type": "aws_sqs_queue",
        "name": "orders",
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": ["create"], "before": None, "after": {"name": "orders"}},
    }
    Path("plan.json").write_text(json.dumps({"resource_changes": [change], "configuration": {}}))
    if has_state:
        backend = {
            "type": "s3",
            "config": {"bucket": "state", "key": "app.tfstate", "region": "eu-west-1"},
        }
        Path(".terraform").mkdir()
        Path(".terraform/terraform.tfstate").write_text(json.dumps({"backend": backend}))
    run = leastpriv(
        "propose",
        "--role-arn",
        ROLE,
        "--policy-file",
        "ci.json",
        "--plans",
        "plan.json",
        "--output-dir",
        "out",
    )
    assert run.code == 0, run.err
    body = json.loads(Path("out/proposal.json").read_bytes())["body"]
    assert (
        "what Terraform's state needs, because the folder of `plan.json` has no" in body
    ) is not has_state
    assert ("s3:GetObject" in Path("out/policy.json").read_text()) is has_state


def test_the_first_screen_says_why_needs_are_not_drafted(place: Path) -> None:
    part = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {"TemplateURL": "https://bucket.s3.amazonaws.com/part.yaml"},
    }
    _, proposal = draft({"Orders": QUEUE, "Box": {"Type": "AWS::Nonsense::Thing"}, "Part": part})
    sentence = (
        "**Not drafted:** what `AWS::CloudFormation::Stack Part` needs (its template is not in the"
        " repository); what `AWS::Nonsense::Thing` needs, which no table lists."
    )
    assert sentence in proposal["body"]


def test_a_sensitive_action_without_a_name_is_held_back(place: Path) -> None:
    policy, proposal = draft({"Key": KEY})
    assert "kms:CreateKey" in actions(policy)
    assert "kms:PutKeyPolicy" not in actions(policy)
    assert "the declaration does not name the resource" in json.dumps(
        proposal["held_back_additions"]
    )
    assert "**Needed by the declaration, not added:** `kms:PutKeyPolicy`" in proposal["body"]


def test_the_role_gets_no_right_over_itself(place: Path) -> None:
    policy, proposal = draft({"Own": OWN_ROLE})
    assert "iam:CreateRole" in actions(policy)
    assert "iam:PutRolePolicy" not in actions(policy)
    assert "extend its own permissions" in json.dumps(proposal["held_back_additions"])


@pytest.mark.parametrize("name", ["orders\u200b", "orders\n", "orders\u202e"])
def test_a_name_with_characters_that_a_reader_does_not_see_is_held_back(
    place: Path, name: str
) -> None:
    policy, proposal = draft(
        {"Orders": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}}
    )
    assert "sqs:CreateQueue" not in actions(policy)
    assert "characters that a reader may not see" in json.dumps(proposal["held_back_additions"])


@pytest.mark.parametrize("name", ["*", "orders*", "o?", "${aws:username}"])
def test_a_declared_name_becomes_no_wildcard_and_no_variable(place: Path, name: str) -> None:
    policy, _ = draft({"Orders": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}})
    [resource] = actions(policy).get("sqs:CreateQueue", ["none"])
    assert not resource_matches(resource, "arn:aws:sqs:eu-west-1:111122223333:orders-of-others")
    assert not resource_matches(resource, "arn:aws:sqs:eu-west-1:111122223333:ci")


def test_never_add_holds_for_declared_needs(place: Path) -> None:
    policy, _ = draft({"Orders": QUEUE}, "--never-add", "sqs:Delete*")
    assert "sqs:DeleteQueue" not in actions(policy)


def test_what_runs_used_is_observed_beside_what_is_declared(place: Path) -> None:
    trail = write_trail(place / "trail", deploys([CREATE_QUEUE], times=3, days=2))
    _, proposal = draft({"Orders": QUEUE}, "--trails", str(trail))
    bases = {change["action"]: change["basis"] for change in proposal["changes"]}
    assert bases["sqs:CreateQueue"] in ("observed", "declared")
    assert bases["sqs:GetQueueAttributes"] == "declared"
    assert "observed" in bases.values()


def test_an_existing_policy_changes_by_evidence_only(place: Path) -> None:
    committed = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}],
    }
    Path("iam").mkdir()
    Path("iam/ci.json").write_text(json.dumps(committed))
    trail = write_trail(place / "trail", deploys([CREATE_QUEUE], times=1, days=1))
    _, proposal = draft({"Topic": {"Type": "AWS::SNS::Topic"}}, "--trails", str(trail))
    assert "sns:CreateTopic" not in {change["action"] for change in proposal["changes"]}
    assert "sns:CreateTopic" in {offer["action"] for offer in proposal["suggested_actions"]}


def test_an_existing_policy_without_evidence_is_compared_with_nothing_and_that_is_bad_input(
    place: Path,
) -> None:
    Path("iam").mkdir()
    statement = {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}
    Path("iam/ci.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    Path("t.json").write_text(json.dumps({"Resources": {"Orders": QUEUE}}))
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "iam/ci.json", "--templates", "t.json"
    )
    assert (run.code, "name trails" in run.err) == (2, True), run.err


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--templates", "[", "cannot be read as a template"),
        ("--plans", "{}", "terraform show -json"),
    ],
)
def test_what_is_no_template_or_plan_is_bad_input(
    place: Path, option: str, text: str, said: str
) -> None:
    (place / "x.json").write_text(text)
    run = leastpriv("propose", "--role-arn", ROLE, "--policy-file", "ci.json", option, "x.json")
    assert (run.code, said in run.err) == (2, True), run.err


def test_a_folder_without_a_manifest_is_bad_input(place: Path) -> None:
    (place / "cdk.out").mkdir()
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "ci.json", "--templates", "cdk.out"
    )
    assert (run.code, "run `cdk synth`" in run.err) == (2, True), run.err
    assert "name the files of its templates" in run.err


def test_a_folder_in_place_of_a_policy_is_named_as_one(place: Path) -> None:
    (place / "policies").mkdir()
    (place / "t.yaml").write_text("Resources: {Q: {Type: AWS::SQS::Queue}}")
    run = leastpriv(
        "propose", "--role-arn", ROLE, "--policy-file", "policies", "--templates", "t.yaml"
    )
    assert (run.code, "it is a folder, and not a file" in run.err) == (2, True), run.err


def test_a_plan_role_reads_alone_and_its_writes_are_reported(place: Path) -> None:
    policy, _ = draft({"Orders": QUEUE}, "--declared-phases", "plan")
    assert "sqs:GetQueueAttributes" in actions(policy)
    assert {"sqs:CreateQueue", "sqs:DeleteQueue", "cloudformation:ExecuteChangeSet"}.isdisjoint(
        actions(policy)
    )
    writes = {
        "Effect": "Allow",
        "Action": ["sqs:DeleteQueue", "sqs:GetQueueAttributes"],
        "Resource": "*",
    }
    Path("iam").mkdir()
    Path("iam/ci.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [writes]}))
    _, proposal = draft({"Orders": QUEUE}, "--declared-phases", "plan")
    section = (
        proposal["body"].partition("### A plan role that can write")[2].partition("<details>")[0]
    )
    assert "`sqs:DeleteQueue`" in section
    assert "`sqs:GetQueueAttributes`" not in section


def test_two_targets_of_a_config_name_their_templates_without_a_trail(place: Path) -> None:
    Path("t.json").write_text(json.dumps({"Resources": {"Orders": QUEUE}}))
    targets = [
        {
            "role-arn": f"{ROLE}-{kind}",
            "policy-file": f"iam/{kind}.json",
            "templates": "shop=t.json",
            **entries,
        }
        for kind, entries in (("plan", {"declared-phases": "plan"}), ("apply", {}))
    ]
    Path("roles.yml").write_text(json.dumps({"targets": targets}))
    run = leastpriv(
        "propose", "--config", "roles.yml", "--aws-regions", "eu-west-1", "--output-dir", "out"
    )
    assert run.code == 0, run.err
    plan, apply = (
        actions(json.loads(Path(f"out/ci-deploy-{kind}/policy.json").read_bytes()))
        for kind in ("plan", "apply")
    )
    assert "sqs:CreateQueue" in apply
    assert "sqs:CreateQueue" not in plan
    assert "sqs:GetQueueAttributes" in plan


def test_a_declared_permission_without_use_goes_once_its_phases_were_seen(place: Path) -> None:
    """Runs made and updated the topic and listed no tags; they deleted none, so that this
    permission is kept.
    """
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "orders"}}
    arn = "arn:aws:sns:eu-west-1:111122223333:orders"
    used_actions = {"sns:CreateTopic", "sns:SetTopicAttributes", "sns:GetTopicAttributes"}
    granted = [*sorted(used_actions), "sns:ListTagsForResource", "sns:DeleteTopic"]
    statement = {"Effect": "Allow", "Action": granted, "Resource": arn}
    Path("iam").mkdir()
    Path("iam/ci.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    calls = [
        {"event": "sns:CreateTopic", "parameters": {"name": "orders"}},
        {"event": "sns:SetTopicAttributes", "parameters": {"topicArn": arn}},
        {"event": "sns:GetTopicAttributes", "parameters": {"topicArn": arn}},
    ]
    trail = write_trail(place / "trail", deploys(calls, times=8, days=2))
    limits = (
        "--minimum-days",
        "1",
        "--minimum-runs",
        "1",
        "--minimum-confidence",
        "0",
        "--grace-days",
        "0",
    )
    policy, _ = draft({"Orders": topic}, "--trails", str(trail), *limits)
    assert set(actions(policy)) == {*used_actions, "sns:DeleteTopic"}
    policy, _ = draft({"Other": QUEUE}, "--trails", str(trail), *limits)
    assert "sns:ListTagsForResource" in actions(policy)
