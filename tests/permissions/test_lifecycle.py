"""Lifecycle siblings: what is kept because a later run will need it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions import catalog
from leastpriv.permissions.lifecycle import lifecycle_partners, siblings_of
from leastpriv.permissions.tool_lifecycle import Tool
from tests.fakes.tables import table

ACTIONS = [
    name
    for prefix in ("sqs", "lambda", "iam", "s3", "ec2", "logs", "ecs")
    for name in catalog.actions(prefix)
]


@pytest.mark.parametrize(
    ("used", "siblings"),
    [
        (
            "sqs:CreateQueue",
            "DeleteQueue SetQueueAttributes TagQueue UntagQueue GetQueueAttributes GetQueueUrl",
        ),
        (
            "lambda:CreateFunction",
            (
                "DeleteFunction UpdateFunctionCode UpdateFunctionConfiguration TagResource"
                " UntagResource"
            ),
        ),
        (
            "iam:CreateRole",
            "DeleteRole UpdateRole UpdateAssumeRolePolicy TagRole UntagRole GetRole",
        ),
        ("iam:AttachRolePolicy", "DetachRolePolicy ListAttachedRolePolicies"),
        ("iam:PutRolePolicy", "DeleteRolePolicy GetRolePolicy"),
        ("s3:CreateBucket", "DeleteBucket"),
        ("lambda:AddPermission", "RemovePermission GetPolicy"),
        ("ec2:RunInstances", "TerminateInstances DescribeInstances ModifyInstanceAttribute"),
        ("ec2:AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"),
        (
            "logs:CreateLogGroup",
            "DeleteLogGroup PutRetentionPolicy DeleteRetentionPolicy TagResource DescribeLogGroups",
        ),
        (
            "cloudformation:CreateStack",
            "UpdateStack DeleteStack DescribeStacks DescribeStackEvents",
        ),
        ("cloudformation:ExecuteChangeSet", "DeleteChangeSet DeleteStack DescribeChangeSet"),
        ("sns:Subscribe", "Unsubscribe SetSubscriptionAttributes"),
        ("ecs:RegisterTaskDefinition", "DeregisterTaskDefinition DescribeTaskDefinition"),
        ("elasticloadbalancing:RegisterTargets", "DeregisterTargets"),
        ("kms:CreateKey", "ScheduleKeyDeletion PutKeyPolicy"),
        ("apigateway:POST", "DELETE GET PATCH"),
        (
            "elasticloadbalancing:CreateLoadBalancer",
            "SetSubnets SetSecurityGroups SetIpAddressType",
        ),
        (
            "iam:CreateRole",
            "DetachRolePolicy DeleteRolePolicy ListRolePolicies ListInstanceProfilesForRole",
        ),
        ("iam:CreateInstanceProfile", "AddRoleToInstanceProfile RemoveRoleFromInstanceProfile"),
        ("iam:CreateUser", "DetachUserPolicy DeleteUserPolicy RemoveUserFromGroup ListAccessKeys"),
        (
            "s3:CreateBucket",
            (
                "DeleteBucketPolicy PutEncryptionConfiguration PutBucketVersioning"
                " PutBucketPublicAccessBlock PutLifecycleConfiguration PutBucketTagging"
            ),
        ),
        (
            "ec2:CreateInternetGateway",
            "AttachInternetGateway DetachInternetGateway DeleteInternetGateway",
        ),
        ("ec2:CreateVolume", "AttachVolume DetachVolume DeleteVolume"),
        ("ec2:AllocateAddress", "AssociateAddress DisassociateAddress ReleaseAddress"),
        ("ec2:CreateLaunchTemplate", "CreateLaunchTemplateVersion ModifyLaunchTemplate"),
        ("cloudformation:CreateChangeSet", "UpdateStack"),
        ("cloudformation:CreateStackSet", "DeleteStackInstances StopStackSetOperation"),
        (
            "elasticache:CreateReplicationGroup",
            "IncreaseReplicaCount DecreaseReplicaCount ModifyReplicationGroupShardConfiguration",
        ),
        ("ecs:CreateCluster", "PutClusterCapacityProviders"),
        ("cognito-idp:CreateUserPool", "SetUserPoolMfaConfig"),
        ("secretsmanager:CreateSecret", "RestoreSecret RotateSecret"),
        ("logs:CreateLogGroup", "AssociateKmsKey DisassociateKmsKey"),
        ("elasticfilesystem:CreateFileSystem", "CreateMountTarget DeleteMountTarget"),
        (
            "elasticfilesystem:CreateMountTarget",
            "DeleteMountTarget ModifyMountTargetSecurityGroups",
        ),
        ("es:CreateDomain", "UpgradeDomain"),
        ("rds:CreateDBInstance", "StartDBInstance StopDBInstance CreateDBSnapshot"),
    ],
)
def test_making_a_thing_explains_its_later_update_tags_and_end(used: str, siblings: str) -> None:
    siblings_of_use = siblings_of([used])
    prefix = used.partition(":")[0]
    assert {f"{prefix}:{name}" for name in siblings.split()} <= set(siblings_of_use)
    assert set(siblings_of_use.values()) == {used}


def test_changing_a_thing_made_before_the_window_explains_its_end_and_replacement() -> None:
    assert {
        "ecs:CreateService",
        "ecs:DeleteService",
        "ecs:DescribeServices",
        "ecs:TagResource",
    } <= set(siblings_of(["ecs:UpdateService"]))


@pytest.mark.parametrize(
    "used", ["ec2:DescribeInstances", "iam:GetRole", "s3:ListBucket", "sts:AssumeRole"]
)
def test_reads_and_role_changes_explain_nothing(used: str) -> None:
    assert siblings_of([used]) == {}


def test_ending_a_thing_explains_only_the_reads_before_it() -> None:
    siblings_of_deletion = siblings_of(["iam:DeleteRole", "sqs:DeleteQueue"])
    assert "iam:GetRole" in siblings_of_deletion
    assert all(catalog.access_level(action) in ("Read", "List") for action in siblings_of_deletion)


@pytest.mark.parametrize(
    ("used", "other"),
    [
        ("iam:CreateRole", "iam:PutRolePolicy"),
        ("iam:CreateRole", "iam:AttachRolePolicy"),
        ("iam:CreateRole", "iam:AddRoleToInstanceProfile"),
        ("iam:CreateUser", "iam:AddUserToGroup"),
        ("iam:CreateUser", "iam:CreateAccessKey"),
        ("iam:PutRolePolicy", "iam:AttachRolePolicy"),
        ("iam:AttachRolePolicy", "iam:PutRolePolicy"),
        ("iam:TagRole", "iam:DeleteRole"),
        ("lambda:TagResource", "lambda:DeleteFunction"),
        ("s3:CreateBucket", "s3:PutBucketPolicy"),
        ("ec2:DescribeVpcs", "ec2:DeleteVpc"),
        ("sqs:CreateQueue", "sqs:SendMessage"),
    ],
)
def test_another_thing_or_another_power_is_no_sibling(used: str, other: str) -> None:
    assert catalog.spelling(other)
    assert other not in siblings_of([used])


@given(st.lists(st.sampled_from(ACTIONS), max_size=12), st.randoms())
def test_the_answer_is_a_function_of_the_set_of_used_actions(
    used: list[str], random: object
) -> None:
    siblings = siblings_of(used)
    shuffled = [*used, *used]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(siblings_of(shuffled)) == dict(siblings)
    assert list(siblings) == sorted(siblings)


@given(st.lists(st.sampled_from(ACTIONS), max_size=12))
def test_siblings_exist_are_unused_and_belong_to_the_service_of_what_explains_them(
    used: list[str],
) -> None:
    for sibling, because in siblings_of(used).items():
        assert catalog.spelling(sibling) == sibling
        assert sibling not in used
        assert because in used
        assert sibling.partition(":")[0] == because.partition(":")[0]


@given(st.lists(st.sampled_from(ACTIONS), max_size=6), st.sampled_from(ACTIONS))
def test_more_use_never_takes_a_sibling_away_except_by_using_it(
    used: list[str], another: str
) -> None:
    assert set(siblings_of(used)) <= {*siblings_of([*used, another]), another}


def test_names_in_any_case_and_unknown_names_are_taken() -> None:
    assert siblings_of(["SQS:createqueue", "nobody:KnowsThis", ""]) == siblings_of(
        ["sqs:CreateQueue"]
    )


def test_every_name_of_the_table_is_in_the_catalogue_and_every_row_has_a_source() -> None:
    for row in table("siblings"):
        names = [row["used"], *row["siblings"].split(",")]
        assert [name for name in names if catalog.spelling(name) != name] == []
        assert row["source"]


def test_every_pair_of_the_table_reaches_the_answer() -> None:
    for row in table("siblings"):
        assert set(row["siblings"].split(",")) <= set(siblings_of([row["used"]])), row["used"]


@pytest.mark.parametrize(
    ("used", "tool", "partners"),
    [
        ("sqs:CreateQueue", Tool.TERRAFORM, "DeleteQueue SetQueueAttributes"),
        ("sqs:CreateQueue", Tool.CLOUDFORMATION, "DeleteQueue SetQueueAttributes"),
        ("dynamodb:CreateTable", Tool.TERRAFORM, "DeleteTable UpdateTable"),
        ("cloudwatch:PutMetricAlarm", Tool.CLOUDFORMATION, "DeleteAlarms"),
    ],
)
def test_the_life_cycle_is_what_the_tool_does_to_the_type(
    used: str, tool: Tool, partners: str
) -> None:
    partner_actions = lifecycle_partners({used: [tool]})
    prefix = used.partition(":")[0]
    writes = {f"{prefix}:{name}" for name in partners.split()}
    assert writes <= set(partner_actions)
    assert {
        action
        for action in partner_actions
        if action.partition(":")[2].startswith(("Put", "Create", "Add"))
    } <= writes
    assert all(owners == (used,) for owners in partner_actions.values())


@pytest.mark.parametrize("tool", Tool)
def test_tags_are_of_the_life_cycle_where_the_runs_set_some(tool: Tool) -> None:
    creations = {"sqs:CreateQueue": [tool], "sns:CreateTopic": [tool]}
    assert not any("ag" in action for action in lifecycle_partners(creations))
    partners = lifecycle_partners({**creations, "sqs:TagQueue": [tool]})
    assert "sqs:UntagQueue" in partners
    assert "sns:TagResource" not in partners


@pytest.mark.parametrize(
    ("used", "absent"),
    [
        ("iam:CreateRole", ("iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary")),
        ("logs:CreateLogGroup", ("logs:AssociateKmsKey", "logs:DisassociateKmsKey")),
    ],
)
@pytest.mark.parametrize("tool", Tool)
def test_a_property_that_can_be_removed_and_that_no_call_has_set_has_no_partner(
    used: str, absent: tuple[str, ...], tool: Tool
) -> None:
    assert lifecycle_partners({used: [tool]}).keys().isdisjoint(absent)
    assert {*absent} - {absent[0]} <= lifecycle_partners({used: [tool], absent[0]: [tool]}).keys()


def test_a_stack_of_another_deploy_tool_has_its_end_as_a_partner_only() -> None:
    assert {*lifecycle_partners({"cloudformation:CreateStack": ["cdk"]})} == {
        "cloudformation:DeleteStack"
    }


def test_a_property_that_no_creation_set_has_no_partner() -> None:
    partners = lifecycle_partners({"dynamodb:CreateTable": [Tool.TERRAFORM]})
    assert "dynamodb:UpdateTimeToLive" not in partners
    assert "dynamodb:UpdateContinuousBackups" not in partners


def test_reads_of_a_phase_that_the_runs_have_shown_are_no_partners() -> None:
    partners = lifecycle_partners(
        {name: [Tool.TERRAFORM] for name in ("ec2:CreateVpc", "ec2:DeleteVpc")}
    )
    assert "ec2:DescribeVpcEndpoints" not in partners


def test_partners_take_a_resource_of_the_action_or_none() -> None:
    partners = lifecycle_partners({"s3:CreateBucket": [Tool.TERRAFORM]})
    assert "s3:DeleteBucket" in partners
    assert "s3:PutObjectLegalHold" not in partners


def test_an_action_without_a_type_has_its_counterparts_by_name() -> None:
    assert {"ecs:DeleteService", "ecs:CreateService"} <= set(
        lifecycle_partners({"ecs:UpdateService": [Tool.TERRAFORM]})
    )


def test_the_end_of_a_resource_belongs_to_its_creation_though_aws_authorizes_that_on_the_parent() -> (
    None
):
    assert "eks:DeleteNodegroup" in lifecycle_partners({"eks:CreateNodegroup": ()})
    assert "iot:DeprecateThingType" in lifecycle_partners({"iot:CreateThingType": ()})


def test_a_script_ends_what_it_makes_and_not_what_another_action_makes() -> None:
    partners = lifecycle_partners(
        {"codedeploy:CreateDeployment": (), "cloudwatch:PutDashboard": ()}
    )
    assert "codedeploy:StopDeployment" in partners
    assert "cloudwatch:DeleteDashboards" in partners
    assert "codedeploy:DeleteDeploymentConfig" not in partners
