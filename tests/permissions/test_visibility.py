"""What a trail shows of an action: promises of the compiled tables and of the look-up."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import (
    Visibility,
    carriers_of,
    data_event_types,
    own_operations,
    visibility,
)
from tests.fakes.tables import table

ACTIONS = [action for prefix in sorted(catalog.services()) for action in catalog.actions(prefix)]
_CATALOGUE_OF_THE_TABLE = 22_000
"""Fewer actions than the catalogue had when the table was compiled."""


@pytest.mark.parametrize(
    ("action", "resource_type"),
    [
        ("s3:GetObject", "AWS::S3::Object"),
        ("s3:PutObject", "AWS::S3::Object"),
        ("s3:ListBucket", "AWS::S3::Object"),
        ("s3:GetObjectVersion", "AWS::S3::Object"),
        ("s3:PutObjectAcl", "AWS::S3::Object"),
        ("s3:DeleteObjectVersion", "AWS::S3::Object"),
        ("lambda:InvokeFunction", "AWS::Lambda::Function"),
        ("lambda:InvokeFunctionUrl", "AWS::Lambda::Function"),
        ("lambda:RunMicrovm", "AWS::Lambda::MicrovmImage"),
        ("dynamodb:GetItem", "AWS::DynamoDB::Table"),
        ("dynamodb:ConditionCheckItem", "AWS::DynamoDB::Table"),
        ("dynamodb:PartiQLSelect", "AWS::DynamoDB::Table"),
        ("sqs:SendMessage", "AWS::SQS::Queue"),
        ("sns:Publish", "AWS::SNS::Topic"),
        ("cloudwatch:PutMetricData", "AWS::CloudWatch::Metric"),
        ("events:PutEvents", "AWS::Events::EventBus"),
        ("states:StartSyncExecution", "AWS::StepFunctions::StateMachine"),
        ("kinesis:PutRecord", "AWS::Kinesis::Stream"),
        ("firehose:PutRecordBatch", "AWS::KinesisFirehose::DeliveryStream"),
        ("ses:SendEmail", "AWS::SES::EmailIdentity"),
        ("ecs:Poll", "AWS::ECS::ContainerInstance"),
    ],
)
def test_data_plane_actions_are_visible_only_with_their_resource_type(
    action: str, resource_type: str
) -> None:
    answer = visibility(action)
    assert (answer.visibility, answer.resource_type) == (Visibility.DATA, resource_type)
    assert resource_type in data_event_types()


@pytest.mark.parametrize(
    ("action", "read_only"),
    [
        ("s3:CreateBucket", False),
        ("s3:GetBucketPolicy", True),
        ("s3:GetBucketPublicAccessBlock", True),
        ("lambda:UpdateFunctionCode", False),
        ("iam:CreateRole", False),
        ("sts:AssumeRole", None),
        ("kms:Decrypt", None),
        ("sqs:CreateQueue", False),
        ("dynamodb:DescribeTable", True),
        ("cloudformation:DescribeStacks", True),
        ("ec2:DescribeInstances", True),
        ("ecr:GetAuthorizationToken", True),
        ("states:StartExecution", None),
    ],
)
def test_control_plane_actions_are_visible_in_every_trail(
    action: str, read_only: bool | None
) -> None:
    answer = visibility(action)
    assert (answer.visibility, answer.read_only) == (Visibility.MANAGEMENT, read_only)
    assert answer.source


@pytest.mark.parametrize(
    ("action", "source"),
    [
        (
            "chime:CreateVoiceProfile",
            "https://docs.aws.amazon.com/chime-sdk/latest/ag/cloudtrail.html",
        ),
        (
            "kafka-cluster:CreateTopic",
            "https://docs.aws.amazon.com/msk/latest/developerguide/logging-API-using-cloudtrail.html",
        ),
        (
            "codecommit:GitPush",
            "https://docs.aws.amazon.com/codecommit/latest/userguide/integ-cloudtrail.html",
        ),
        ("amplifyuibuilder:ExportComponents", "service reference"),
        ("ec2:RunInstances", "public CloudTrail records"),
    ],
)
def test_each_source_of_visibility_is_named(action: str, source: str) -> None:
    """A page of the service, AWS's own flag, or a public record."""
    answer = visibility(action)
    assert answer.visibility is Visibility.MANAGEMENT
    assert source in answer.source


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("apigateway:POST", "the service's page on CloudTrail"),
        ("logs:PutLogEvents", "the service's page on CloudTrail"),
        ("snowball:CreateAddress", "the service's page on CloudTrail"),
        ("kafka-cluster:WriteData", "clients use it"),
        ("rds-db:connect", "clients use it"),
        ("execute-api:Invoke", "clients use it"),
        ("execute-api:ManageConnections", "clients use it"),
    ],
)
def test_what_cloudtrail_never_records_says_why(action: str, reason: str) -> None:
    answer = visibility(action)
    assert answer.visibility is Visibility.NEVER
    assert reason in answer.source


@pytest.mark.parametrize(
    "action",
    ["swf:RecordMarker", "s3:ReplicateObject", "ses:SendRawEmail", "sts:GetCallerIdentity"],
)
def test_an_action_without_an_event_and_without_a_carrier_is_permission_only(action: str) -> None:
    assert visibility(action).visibility is Visibility.PERMISSION_ONLY


@pytest.mark.parametrize(
    "action", ["qldb:SendCommand", "opsworks:CreateStack", "proton:CreateService"]
)
def test_a_service_that_aws_shut_down_is_known_to_be_unused(action: str) -> None:
    answer = visibility(action)
    assert answer.visibility is Visibility.ENDED
    assert answer.source.startswith(
        "AWS ended the service or the feature; https://docs.aws.amazon.com/general/latest/gr/"
    )


@pytest.mark.parametrize(
    ("action", "carrier", "triggered"),
    [
        ("iam:PassRole", "lambda:CreateFunction", True),
        ("iam:PassRole", "cloudformation:CreateStack", True),
        ("sts:TagSession", "sts:AssumeRole", True),
        ("kms:PutKeyPolicy", "kms:CreateKey", True),
        ("ec2:RunInstances", "autoscaling:CreateAutoScalingGroup", True),
        ("ec2:DescribeSubnets", "lambda:CreateFunction", True),
        ("logs:CreateLogDelivery", "lambda:UpdateFunctionConfiguration", True),
        ("dynamodb:DeleteTableReplica", "dynamodb:UpdateTable", True),
        ("rds:CreateDBClusterSnapshot", "rds:DeleteDBCluster", True),
        ("scheduler:DeleteSchedule", "scheduler:DeleteScheduleGroup", False),
        ("s3:AllowVendedLogDeliveryForResource", "logs:PutDeliverySource", True),
    ],
)
def test_carriers_are_named_with_whether_the_mapping_knows_their_trigger(
    action: str, carrier: str, triggered: bool
) -> None:
    carriers = {
        carrier_of_action.operation: carrier_of_action
        for carrier_of_action in carriers_of(action.upper())
    }
    assert carriers[carrier].triggered is triggered
    assert carriers[carrier].visibility is Visibility.MANAGEMENT


def test_a_carrier_that_is_a_data_event_has_its_resource_type() -> None:
    carriers = {
        carrier.operation: carrier for carrier in carriers_of("s3:BypassGovernanceRetention")
    }
    assert {carrier.resource_type for carrier in carriers.values()} == {"AWS::S3::Object"}
    assert visibility("s3:BypassGovernanceRetention").visibility is Visibility.CARRIERS


def test_no_carrier_of_an_action_is_an_operation_that_always_needs_it() -> None:
    """Such a call is a use by itself: the mapping names the action."""
    wrong = [
        action
        for action in ACTIONS
        if action in {carrier_of_action.operation for carrier_of_action in carriers_of(action)}
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("personalize:CreateSolution", "no source says"),
        ("dynamodb:PutResourcePolicy", "does not name the operation"),
        ("ec2:NewerThanTheTable", "has no such action"),
        ("nosuch:DoIt", "has no service nosuch"),
        ("nonsense", "has no service nonsense"),
        ("", "has no service"),
    ],
)
def test_unknown_visibility_says_why(action: str, reason: str) -> None:
    answer = visibility(action)
    assert answer.visibility is Visibility.UNKNOWN
    assert reason in answer.source


def test_an_unknown_action_names_the_operations_whose_records_would_settle_it() -> None:
    assert own_operations("personalize:createsolution") == {"personalize:CreateSolution"}
    several = [action for action in ACTIONS if len(own_operations(action)) > 1]
    assert several
    assert all(visibility(action).visibility is Visibility.UNKNOWN for action in several)


@given(st.sampled_from(ACTIONS), st.randoms(use_true_random=False))
def test_an_action_is_found_in_any_case(action: str, random: Random) -> None:
    scrambled = "".join(random.choice((char.lower(), char.upper())) for char in action)
    assert visibility(scrambled) == visibility(action)
    assert carriers_of(scrambled) == carriers_of(action)


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(text: str) -> None:
    assert visibility(text).visibility in Visibility
    assert carriers_of(text) == () or catalog.spelling(text)


def test_every_action_of_the_catalogue_is_classed_and_says_why() -> None:
    counts = Counter(visibility(action).visibility for action in ACTIONS)
    assert all(visibility(action).source for action in ACTIONS)
    assert sum(counts.values()) > _CATALOGUE_OF_THE_TABLE
    assert counts[Visibility.MANAGEMENT] > 14_000
    assert counts[Visibility.UNKNOWN] <= 3_500
    assert counts[Visibility.DATA] > 240


def test_only_data_events_have_a_resource_type_and_all_of_them_do() -> None:
    for row in (*table("visibility"), *table("carriers")):
        assert (row["visibility"] == "data") == row["type"].startswith("AWS::"), row


def test_every_reason_code_is_explained_and_used() -> None:
    codes = {row["code"] for row in table("visibility_reasons")}
    assert {row["reason"] for row in table("visibility")} == codes
