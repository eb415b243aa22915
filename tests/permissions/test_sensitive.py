"""Sensitive and forbidden actions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import forbidden, never_add_pattern, sensitivity
from leastpriv.permissions.patterns import action_matches
from tests.fakes.tables import table

ACTIONS = [
    name
    for prefix in ("iam", "sts", "kms", "s3", "lambda", "organizations", "glue")
    for name in catalog.actions(prefix)
]


@pytest.mark.parametrize(
    "action",
    [
        "iam:PassRole",
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "iam:AttachRolePolicy",
        "iam:UpdateAssumeRolePolicy",
        "iam:CreatePolicyVersion",
        "sts:AssumeRole",
        "kms:PutKeyPolicy",
        "kms:CreateGrant",
        "lambda:AddPermission",
        "s3:PutBucketPolicy",
        "ecr:SetRepositoryPolicy",
        "sns:AddPermission",
        "sqs:SetQueueAttributes",
        "secretsmanager:GetSecretValue",
        "lambda:PassCapacityProvider",
        "eks:CreateAccessEntry",
        "lambda:UpdateFunctionCode",
        "lambda:UpdateFunctionConfiguration",
        "codebuild:UpdateProject",
        "codebuild:StartBuild",
        "codebuild:StartBuildBatch",
        "ssm:ResumeSession",
        "ssm:StartAutomationExecution",
        "ssm:CreateAssociation",
        "ec2:ModifyInstanceAttribute",
        "ec2:DeleteFlowLogs",
        "glue:UpdateJob",
        "glue:GetConnection",
        "sagemaker:CreatePresignedNotebookInstanceUrl",
        "redshift-serverless:GetCredentials",
        "lightsail:DownloadDefaultKeyPair",
        "cognito-idp:AdminSetUserPassword",
        "connect:GetFederationToken",
        "eks:AccessKubernetesApi",
        "s3:PutReplicationConfiguration",
        "route53domains:TransferDomainToAnotherAwsAccount",
        "acm:ExportCertificate",
        "elasticmapreduce:AddJobFlowSteps",
        "sagemaker:UpdateNotebookInstanceLifecycleConfig",
        "lightsail:GetInstanceAccessDetails",
        "transfer:ImportSshPublicKey",
        "ds:ResetUserPassword",
        "cognito-idp:AdminAddUserToGroup",
        "states:UpdateStateMachine",
        "rds:ModifyDBInstance",
        "ec2:CreateLaunchTemplateVersion",
        "kms:GenerateDataKeyPair",
    ],
)
def test_actions_that_open_a_door_are_sensitive_with_a_reason(action: str) -> None:
    assert catalog.spelling(action) == action
    assert sensitivity(action)


@pytest.mark.parametrize(
    "action",
    [
        "iam:GetRole",
        "iam:ListRoles",
        "s3:PutObject",
        "lambda:GetFunction",
        "ecr:GetAuthorizationToken",
        "kms:Decrypt",
        "ssm:GetParameter",
        "cloudformation:CreateStack",
        "cloudformation:UpdateStack",
        "cloudformation:ExecuteChangeSet",
        "codebuild:BatchGetBuilds",
        "events:PutTargets",
        "lambda:CreateFunction",
        "sts:GetCallerIdentity",
        "organizations:DescribeOrganization",
        "cloudtrail:LookupEvents",
    ],
)
def test_everyday_actions_of_a_deploy_are_neither_sensitive_nor_forbidden(action: str) -> None:
    assert (sensitivity(action), forbidden(action)) == ("", "")


@pytest.mark.parametrize(
    "action",
    [
        "iam:CreateAccessKey",
        "iam:CreateLoginProfile",
        "iam:UpdateLoginProfile",
        "iam:CreateSAMLProvider",
        "iam:DeleteOpenIDConnectProvider",
        "iam:AddClientIDToOpenIDConnectProvider",
        "iam:UpdateOpenIDConnectProviderThumbprint",
        "iam:DeactivateMFADevice",
        "organizations:AttachPolicy",
        "account:PutContactInformation",
        "kms:ScheduleKeyDeletion",
        "cloudtrail:StopLogging",
        "cloudtrail:DeleteTrail",
        "cloudtrail:PutEventSelectors",
        "guardduty:DeleteDetector",
        "config:StopConfigurationRecorder",
        "billing:UpdateBillingPreferences",
        "aws-portal:ModifyBilling",
        "sts:AssumeRoot",
    ],
)
def test_actions_on_the_short_list_are_never_written(action: str) -> None:
    assert catalog.spelling(action) == action
    assert forbidden(action)


@pytest.mark.parametrize(
    "action", ["iam:GetOpenIDConnectProvider", "iam:GetSAMLProvider", "organizations:ListAccounts"]
)
def test_reading_what_must_not_be_changed_is_not_forbidden(action: str) -> None:
    assert catalog.spelling(action) == action
    assert forbidden(action) == ""


def test_every_action_that_aws_calls_permissions_management_is_sensitive() -> None:
    levelled = [name for name in ACTIONS if "Permissions management" in catalog.access_level(name)]
    assert len(levelled) > 50
    assert [name for name in levelled if not sensitivity(name)] == []


def test_the_reason_is_that_of_the_most_specific_row() -> None:
    """The first row that matches counts: that of one action stands before `iam:*`."""
    assert sensitivity("iam:PassRole").startswith("lets a service act as the role")


def test_every_action_that_writes_the_policy_of_a_resource_is_sensitive() -> None:
    """AWS gives some of them the access level Write, as `vpc-lattice:PutResourcePolicy`."""
    actions = [name for service in catalog.services() for name in catalog.actions(service)]
    resource_policy_actions = [
        name for name in actions if re.search(r":(Put|Create|Update)\w*ResourcePolicy", name)
    ]
    assert len(resource_policy_actions) > 40
    assert [name for name in resource_policy_actions if not sensitivity(name)] == []


@pytest.mark.parametrize(
    "action",
    [
        "vpc-lattice:PutResourcePolicy",
        "cloudformation:UpdateStackSet",
        "batch:SubmitJob",
        "ecs:RunTask",
        "sns:Subscribe",
        "logs:PutSubscriptionFilter",
        "ebs:GetSnapshotBlock",
        "athena:StartQueryExecution",
        "athena:StartCalculationExecution",
        "bedrock-agentcore:InvokeCodeInterpreter",
        "codedeploy:CreateDeployment",
        "codepipeline:UpdatePipeline",
        "cognito-idp:CreateIdentityProvider",
        "ecs:CreateService",
        "ecs:UpdateService",
        "elasticbeanstalk:UpdateEnvironment",
        "events:PutRule",
        "glue:UpdateTrigger",
        "rds-data:ExecuteStatement",
        "redshift-data:BatchExecuteStatement",
        "servicecatalog:ProvisionProduct",
        "ssm:UpdateMaintenanceWindowTask",
    ],
)
def test_code_of_another_role_and_copies_of_data_are_sensitive(action: str) -> None:
    assert sensitivity(action)


@pytest.mark.parametrize("facts", ["sensitive", "forbidden"])
def test_every_pattern_matches_an_action_of_the_catalogue_and_every_row_has_a_reason_and_a_source(
    facts: str,
) -> None:
    for row in table(facts):
        assert catalog.expand(row["pattern"]), row["pattern"]
        if "*" not in row["pattern"]:
            assert catalog.spelling(row["pattern"]) == row["pattern"]
        assert row["levels"] in ("any", "write")
        assert row["reason"]
        assert row["source"]


@given(st.sampled_from(ACTIONS))
def test_case_makes_no_difference(action: str) -> None:
    assert sensitivity(action.upper()) == sensitivity(action)
    assert forbidden(action.lower()) == forbidden(action)


@given(
    st.sampled_from(ACTIONS), st.sampled_from(["iam:*", "s3:Put*", "*", "kms:?rypt", "LAMBDA:*"])
)
def test_the_users_patterns_forbid_exactly_what_they_match(action: str, pattern: str) -> None:
    if action_matches(pattern, action):
        assert never_add_pattern(forbidden(action, [pattern])) == f"`{pattern}`"
    else:
        assert forbidden(action, [pattern]) == forbidden(action)
        assert not never_add_pattern(forbidden(action))


def test_the_reason_names_the_users_pattern() -> None:
    assert (
        forbidden("s3:PutObject", ["ec2:*", "s3:Put*"])
        == "s3:PutObject matches `s3:Put*` of never-add"
    )


@pytest.mark.parametrize("pattern", ["iam:*", "iam:Create*", "*", "*:*"])
def test_a_wildcard_is_as_sensitive_and_forbidden_as_the_worst_it_grants(pattern: str) -> None:
    assert sensitivity(pattern)
    assert forbidden(pattern)


def test_an_action_newer_than_the_catalogue_counts_as_a_write_unless_its_name_reads() -> None:
    assert catalog.spelling("iam:InventNewPower") is None
    assert sensitivity("iam:InventNewPower")
    assert forbidden("organizations:InventNewPower")
    assert sensitivity("iam:GetInventedThing") == ""


def test_a_source_that_is_a_page_of_an_operation_names_an_operation_of_the_action() -> None:
    for row in table("sensitive"):
        for operation in re.findall(r"/API_(\w+)\.html", row["source"]):
            assert action_matches(row["pattern"].partition(":")[2], operation), row
            assert catalog.spelling(f"{row['pattern'].partition(':')[0]}:{operation}"), row
