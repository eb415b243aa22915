"""The promises of the tables of resource types: known actions, phases told apart, and the type
behind an action.
"""

from __future__ import annotations

import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.tool_lifecycle import (
    SCRIPT,
    Phase,
    ResourceKind,
    Tool,
    actions_of_phase,
    is_known,
    making_actions,
    program_of,
    tag_actions,
    types_made_by,
)

QUEUE = ResourceKind(Tool.CLOUDFORMATION, "AWS::SQS::Queue")
FUNCTION = ResourceKind(Tool.TERRAFORM, "aws_lambda_function")


def test_a_queue_of_cloudformation_needs_its_actions_by_phase() -> None:
    assert "sqs:CreateQueue" in actions_of_phase(QUEUE, Phase.CREATE)
    assert "sqs:SetQueueAttributes" in actions_of_phase(QUEUE, "update")
    assert "sqs:CreateQueue" not in actions_of_phase(QUEUE, "delete")
    assert actions_of_phase(QUEUE, "delete") == ("sqs:DeleteQueue", "sqs:GetQueueAttributes")


def test_a_function_of_terraform_passes_a_role_and_reads_its_versions() -> None:
    created = actions_of_phase(FUNCTION, "create")
    assert {"lambda:CreateFunction", "iam:PassRole", "lambda:GetFunction"} <= set(created)
    assert "lambda:DeleteFunction" in actions_of_phase(FUNCTION, "delete")
    assert actions_of_phase(ResourceKind(Tool.TERRAFORM, "aws_sqs_queue"), "delete") == (
        "sqs:DeleteQueue",
        "sqs:GetQueueAttributes",
    )


def test_a_role_of_terraform_is_tagged_by_no_action_of_another_resource() -> None:
    kind = ResourceKind(Tool.TERRAFORM, "aws_iam_role")
    assert tag_actions(kind) == ("iam:TagRole", "iam:UntagRole")
    assert "iam:TagUser" not in actions_of_phase(kind, "update")


@pytest.mark.parametrize(
    ("action", "types"),
    [
        ("sqs:CreateQueue", {"AWS::SQS::Queue", "aws_sqs_queue"}),
        ("iam:CreateRole", {"AWS::IAM::Role", "aws_iam_role"}),
        ("s3:CreateBucket", {"AWS::S3::Bucket", "aws_s3_bucket"}),
        ("ec2:RunInstances", {"AWS::EC2::Instance", "aws_instance"}),
        ("sns:Subscribe", {"AWS::SNS::Subscription", "aws_sns_topic_subscription"}),
    ],
)
def test_an_action_that_makes_a_resource_names_its_types(action: str, types: set[str]) -> None:
    assert types <= {kind.name for kind in types_made_by(action)}


@pytest.mark.parametrize(
    "action", ["iam:PassRole", "sqs:GetQueueAttributes", "sqs:DeleteQueue", "sqs:TagQueue", ""]
)
def test_an_action_that_makes_nothing_names_no_type(action: str) -> None:
    assert types_made_by(action) == ()


def test_an_unknown_type_has_no_actions() -> None:
    assert not is_known(ResourceKind(Tool.CLOUDFORMATION, "Custom::Thing"))
    assert actions_of_phase(ResourceKind(Tool.CLOUDFORMATION, "Custom::Thing"), "create") == ()
    assert actions_of_phase(QUEUE, "makes-nothing") == ()
    assert making_actions(QUEUE) == ("sqs:CreateQueue",)


@pytest.mark.parametrize("tool", Tool)
def test_the_catalogue_has_every_action_of_the_tables(tool: Tool) -> None:
    columns = [*Phase, "tags", "makes"]
    rows = table(f"{tool}_types")
    actions = {
        action for row in rows for column in columns for action in row[column].split(",") if action
    }
    assert len(rows) > 1_500
    assert len(actions) > 5_000
    assert [action for action in actions if catalog.spelling(action) != action] == []


@pytest.mark.parametrize(
    ("user_agent", "program"),
    [
        (
            (
                "APN/1.0 HashiCorp/1.0 Terraform/1.9.5 (+https://www.terraform.io)"
                " terraform-provider-aws/5.70.0"
            ),
            "terraform",
        ),
        (
            "APN/1.0 Pulumi/1.0 Pulumi-Aws/4.17.0 (+https://www.pulumi.com) aws-sdk-go/1.40.20",
            "terraform",
        ),
        ("aws-cli/2.22.12 md/awscrt#0.23.4 ua/2.0 os/linux#6.8", SCRIPT),
        ("", ""),
    ],
)
def test_a_deploy_tool_is_known_by_its_user_agent(user_agent: str, program: str) -> None:
    assert program_of(user_agent) == program
