"""The promises of usual chains: what a tool calls in the same step, known actions, never the denied
one.
"""

from __future__ import annotations

import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.tool_chains import UNKNOWN, usual_chain
from leastpriv.permissions.tool_lifecycle import SCRIPT, Tool, making_actions, type_names
from leastpriv.permissions.tool_lifecycle import ResourceKind as Kind
from tests.hypothesis_profiles import sampled

PUSH = {
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
}


@pytest.mark.parametrize(
    ("action", "program", "needed"),
    [
        ("sqs:CreateQueue", Tool.TERRAFORM, {"sqs:GetQueueAttributes", "sqs:ListQueueTags"}),
        ("sqs:CreateQueue", Tool.CLOUDFORMATION, {"sqs:GetQueueAttributes", "sqs:TagQueue"}),
        ("lambda:CreateFunction", Tool.TERRAFORM, {"iam:PassRole", "lambda:GetFunction"}),
        ("lambda:CreateFunction", SCRIPT, {"lambda:GetFunction", "lambda:UpdateFunctionCode"}),
        ("ecr:CreateRepository", SCRIPT, PUSH),
        ("ecr:GetAuthorizationToken", SCRIPT, PUSH - {"ecr:GetAuthorizationToken"}),
        (
            "cloudformation:DescribeStacks",
            "sam",
            {"cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"},
        ),
        ("ecs:RegisterTaskDefinition", SCRIPT, {"ecs:UpdateService", "ecs:DescribeServices"}),
        ("sqs:CreateQueue", UNKNOWN, {"sqs:GetQueueAttributes", "sqs:TagQueue"}),
    ],
)
def test_the_chain_of_an_action_holds_what_the_step_needs_next(
    action: str, program: str, needed: set[str]
) -> None:
    assert needed <= usual_chain(action, {program}, ()).keys()


def test_a_denied_read_of_a_tool_has_the_other_reads_of_what_the_runs_made() -> None:
    chain = usual_chain("s3:GetBucketAcl", {Tool.TERRAFORM}, {"s3:CreateBucket"})
    assert {"s3:GetBucketCORS", "s3:GetBucketVersioning", "s3:GetBucketWebsite"} <= chain.keys()
    assert "s3:GetBucketCORS" not in usual_chain("s3:GetBucketAcl", {Tool.TERRAFORM}, ())


def test_a_property_that_no_run_has_set_is_no_part_of_the_chain() -> None:
    chain = usual_chain("lambda:CreateFunction", {Tool.TERRAFORM}, ())
    assert not {"ec2:DescribeVpcs", "kms:Decrypt", "lambda:PublishVersion"} & chain.keys()
    set_before = {"lambda:PutFunctionConcurrency"}
    assert set_before <= usual_chain("lambda:CreateFunction", {Tool.TERRAFORM}, set_before).keys()


def test_a_script_that_changes_what_it_finds_is_offered_reads_only() -> None:
    chain = usual_chain("iam:UpdateRoleDescription", {SCRIPT}, ())
    assert chain
    assert all(catalog.is_read(action) for action in chain)


MAKERS = sorted(
    {
        (action, tool)
        for tool in Tool
        for name in type_names(tool)
        for action in making_actions(Kind(tool, name))
    }
)


def test_each_chain_has_known_actions_and_not_the_denied_one() -> None:
    for action, tool in sampled(MAKERS[::20], 1):
        chain = usual_chain(action, {tool}, ())
        assert action not in chain
        assert all(catalog.spelling(chain_action) == chain_action for chain_action in chain), action


def test_the_steps_name_known_actions_and_programs() -> None:
    programs = {row["program"] for row in table("deploy_tools")} | {SCRIPT}
    for row in table("steps"):
        for entry in (*row["actions"].split(","), *filter(None, row["begins"].split(","))):
            action = entry.removesuffix("@*")
            assert catalog.spelling(action) == action, action
        assert programs.issuperset(row["programs"].split(",")), row["step"]
        assert row["source"], row["step"]
