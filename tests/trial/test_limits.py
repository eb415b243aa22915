"""The output of a tried command adds no power, whatever action of a class it names."""

from __future__ import annotations

import pytest

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import action_matches
from leastpriv.trial.limits import needed_proof

CLASSES = {
    "another role": (
        "sts:AssumeRoot eks-auth:AssumeRoleForPodIdentity deadline:AssumeQueueRoleForWorker"
        " workmail:AssumeImpersonationRole"
    ),
    "credentials": (
        "lakeformation:GetTemporaryGlueTableCredentials datazone:GetEnvironmentCredentials"
        " events:RetrieveConnectionCredentials lightsail:GetBucketAccessKeys s3:GetDataAccess"
        " emr-containers:GetManagedEndpointSessionCredentials"
    ),
    "tokens": (
        "codeconnections:GetConnectionToken bedrock-agentcore:GetWorkloadAccessToken"
        " bedrock-agentcore:GetResourceApiKey signin:CreateOAuth2Token sts:GetWebIdentityToken"
        " connect:AdminGetEmergencyAccessToken gamelift:GetComputeAuthToken ssm:GetAccessToken"
        " redshift:GetIdentityCenterAuthToken ssm:RequestManagedInstanceRoleToken"
    ),
    "sessions": (
        "gamelift:GetComputeAccess appstream:CreateStreamingURL"
        " elasticmapreduce:CreateStudioPresignedUrl sagemaker:CreatePartnerAppPresignedUrl"
    ),
    "passwords": "workmail:ResetPassword finspace:ResetUserPassword snowball:GetJobUnlockCode",
    "policies of resources": (
        "logs:PutDestinationPolicy logs:PutDeliveryDestinationPolicy kafka:PutClusterPolicy"
        " dsql:PutClusterPolicy oam:PutSinkPolicy serverlessrepo:PutApplicationPolicy"
        " verifiedpermissions:CreatePolicy ssm-contacts:PutContactPolicy"
    ),
    "uses of keys": (
        "kms:Decrypt kms:ReEncryptFrom kms:Sign kms:GenerateDataKey kms:GenerateMac"
        " kms:DeriveSharedSecret"
    ),
    "writes without records": (
        "execute-api:Invoke appsync:GraphQL iot:Publish mediastore:PutObject es:ESHttpPut"
        " s3-outposts:PutObject neptune-db:WriteDataViaQuery kafka-cluster:WriteData"
        " elasticfilesystem:ClientWrite sdb:PutAttributes kinesisvideo:PutMedia"
    ),
    "code": (
        "codecommit:GitPush ecr:PutImage codeartifact:PublishPackageVersion states:StartExecution"
    ),
    "data without records": (
        "dax:GetItem dax:Scan cassandra:Select neptune-db:ReadDataViaQuery es:ESHttpGet"
        " aoss:APIAccessAll kafka-cluster:ReadData healthlake:ReadResource mediastore:GetObject"
        " s3-object-lambda:GetObject s3express:CreateSession omics:GetReadSet iot:GetThingShadow"
        " workdocs:DownloadDocumentVersion elasticfilesystem:ClientMount redshift:FetchResults"
        " ses:GetArchiveMessageContent cloudtrail:GetQueryResults timestream:SelectValues"
    ),
}


@pytest.mark.parametrize("actions", CLASSES.values(), ids=CLASSES)
def test_an_action_of_each_class_of_power_needs_a_record_or_a_yes(actions: str) -> None:
    for action in actions.split():
        assert catalog.spelling(action) == action
        assert needed_proof(action), action


@pytest.mark.parametrize("action", ["nosuch:Action", "sqs:NewPower", "s3:P\u0443tBucketTagging"])
def test_an_action_that_the_catalogue_lacks_needs_a_record_or_a_yes(action: str) -> None:
    assert needed_proof(action) == "is not known"


def test_each_row_of_the_uses_of_data_is_an_action() -> None:
    for row in table("data_uses", "leastpriv.trial"):
        service = row["pattern"].partition(":")[0]
        actions = catalog.actions(service)
        assert any(action_matches(row["pattern"], action) for action in actions), row["pattern"]


def test_what_deployments_use_every_day_needs_no_yes() -> None:
    usual = (
        "ecr:GetAuthorizationToken sts:GetServiceBearerToken ecr:PutLifecyclePolicy"
        " logs:PutRetentionPolicy cloudformation:GetTemplate ec2:DescribeInstanceAttribute"
        " application-autoscaling:PutScalingPolicy cloudfront:CreateCachePolicy"
        " secretsmanager:GetRandomPassword waf:GetChangeToken sqs:CreateQueue s3:CreateBucket"
    )
    assert [action for action in usual.split() if needed_proof(action)] == []
