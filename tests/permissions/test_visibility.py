"""What a trail shows of an action: promises of the table and of the look-up."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.mapping import actions_of_operation
from leastpriv.permissions.visibility import Visibility, visibility
from tests.fakes.scripts import load

ROWS = table("visibility")
COVERED = {row["prefix"] for row in table("trail_services") if row["coverage"] in ("all", "listed")}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load("tools/make_visibility.py")


@pytest.mark.parametrize(
    ("action", "resource_type"),
    [
        ("s3:GetObject", "AWS::S3::Object"),
        ("s3:PutObject", "AWS::S3::Object"),
        ("s3:DeleteObject", "AWS::S3::Object"),
        ("s3:ListBucket", "AWS::S3::Object"),
        ("s3:GetObjectVersion", "AWS::S3::Object"),
        ("lambda:InvokeFunction", "AWS::Lambda::Function"),
        ("dynamodb:GetItem", "AWS::DynamoDB::Table"),
        ("dynamodb:ConditionCheckItem", "AWS::DynamoDB::Table"),
        ("dynamodb:PartiQLSelect", "AWS::DynamoDB::Table"),
        ("sqs:SendMessage", "AWS::SQS::Queue"),
        ("sqs:GetQueueAttributes", "AWS::SQS::Queue"),
        ("sqs:ListQueueTags", "AWS::SQS::Queue"),
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
def test_data_plane_actions_are_visible_only_with_their_resource_type(action: str, resource_type: str) -> None:
    seen = visibility(action)
    assert (seen.visibility, seen.resource_type) == (Visibility.DATA, resource_type)


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
        ("sns:GetTopicAttributes", True),
        ("dynamodb:DescribeTable", True),
        ("cloudformation:DescribeStacks", True),
        ("logs:CreateLogGroup", False),
        ("ec2:DescribeInstances", True),
        ("ecr:GetAuthorizationToken", True),
        ("ecs:UpdateService", False),
        ("states:StartExecution", None),
        ("ssm:GetParameter", True),
    ],
)
def test_control_plane_actions_are_visible_in_every_trail(action: str, read_only: bool | None) -> None:
    seen = visibility(action)
    assert (seen.visibility, seen.read_only) == (Visibility.MANAGEMENT, read_only)
    assert "https://docs.aws.amazon.com/" in seen.source


@pytest.mark.parametrize(
    "action",
    [
        "iam:PassRole",
        "iam:CreateServiceLinkedRole",
        "s3:BypassGovernanceRetention",
        "s3:PutObjectAcl",
        "s3:DeleteObjectVersion",
        "lambda:InvokeFunctionUrl",
        "lambda:TagResource",
        "ec2:CreateTags",
        "ec2:RunInstances",
        "iam:TagRole",
        "kms:CreateGrant",
        "sts:TagSession",
        "sts:GetCallerIdentity",
        "ssm:GetParameters",
    ],
)
def test_silence_means_nothing_for_an_action_checked_inside_other_calls(action: str) -> None:
    seen = visibility(action)
    assert seen.visibility is Visibility.PERMISSION_ONLY
    assert seen.source


@pytest.mark.parametrize(
    "action",
    ["bedrock:InvokeModel", "ec2:NewerThanTheTable", "nonsense", "", "dynamodb:UpdateContinuousBackups"],
)
def test_what_nobody_checked_is_unknown_and_says_why(action: str) -> None:
    seen = visibility(action)
    assert seen.visibility is Visibility.UNKNOWN
    assert seen.source


def test_log_events_are_known_never_to_be_recorded() -> None:
    assert visibility("logs:PutLogEvents").visibility is Visibility.NEVER


@given(st.sampled_from(ROWS), st.randoms())
def test_an_action_is_found_in_any_case(row: dict[str, str], random: object) -> None:
    scrambled = "".join(random.choice((char.lower(), char.upper())) for char in row["action"])  # type: ignore[attr-defined]
    assert visibility(scrambled) == visibility(row["action"])


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(text: str) -> None:
    assert visibility(text).visibility in Visibility


def test_only_data_events_have_a_resource_type_and_all_of_them_do() -> None:
    for row in ROWS:
        assert (row["visibility"] == "data") == row["type"].startswith("AWS::"), row


def test_no_action_that_puts_tags_on_things_counts_as_visible() -> None:
    for row in ROWS:
        if "Tagging" in catalog.access_level(row["action"]) and row["action"].partition(":")[2].startswith("Tag"):
            assert row["visibility"] == "permission-only", row


def test_no_operation_that_has_data_events_makes_its_action_a_management_action() -> None:
    sources = {row["prefix"]: row["models"].partition("/")[0] for row in table("trail_services")}
    checked = 0
    for row in table("data_events"):
        actions = [action for action in row["actions"].split(",") if action]
        for action in actions or actions_of_operation(f"{sources[row['prefix']]}.amazonaws.com", row["operation"]):
            checked += 1
            assert visibility(action).visibility is not Visibility.MANAGEMENT, (row["operation"], action)
    assert checked > 90


def test_every_action_of_the_hand_made_tables_is_in_the_catalogue() -> None:
    named = [row["action"] for row in table("permission_only")]
    named += [action for row in table("data_events") for action in row["actions"].split(",") if action]
    assert [action for action in named if catalog.spelling(action) != action] == []


def test_every_row_of_the_hand_made_tables_names_its_source() -> None:
    for name in ("data_events", "permission_only", "trail_services"):
        assert [row for row in table(name) if not row["source"]] == []


def test_the_table_is_what_the_generator_makes_of_its_inputs(generator: ModuleType) -> None:
    """Five services: a newer catalogue may have more actions, never another answer for the old ones."""
    kept = {row["action"]: tuple(row.values()) for row in ROWS}
    for prefix in ("s3", "lambda", "sqs", "dynamodb", "iam"):
        for row in generator.service_rows(prefix):
            assert kept.get(row[0], row) == row


def test_every_action_of_the_catalogue_is_classed_and_says_why() -> None:
    """All 22,000; of a service whose page was read only what the page leaves open is unknown."""
    counts = Counter(
        visibility(action).visibility for prefix in catalog.services() for action in catalog.actions(prefix)
    )
    assert all(visibility(f"{prefix}:Anything").source for prefix in catalog.services())
    assert sum(counts.values()) > 22_000
    assert counts[Visibility.MANAGEMENT] > 5_000
    assert counts[Visibility.PERMISSION_ONLY] > 4_000
    assert counts[Visibility.NEVER] >= 20


def test_an_action_of_an_unread_service_is_permission_only_or_data_and_never_visible() -> None:
    """Nobody read its page, so no row may call it recorded in every trail."""
    unread = [row for row in ROWS if row["action"].partition(":")[0] not in COVERED]
    assert len(unread) > 1_000
    assert {row["visibility"] for row in unread} <= {"permission-only", "data"}


def test_the_services_that_ci_roles_use_most_are_covered() -> None:
    must = {
        "s3",
        "lambda",
        "iam",
        "sts",
        "sqs",
        "sns",
        "dynamodb",
        "cloudformation",
        "logs",
        "ec2",
        "ecr",
        "ecs",
        "kms",
        "ssm",
        "secretsmanager",
        "events",
        "states",
        "apigateway",
    }
    assert must <= COVERED


@pytest.mark.parametrize("action", ["codecommit:GitPull", "codecommit:GitPush", "codecommit:UploadArchive"])
def test_calls_of_a_git_client_are_events_though_no_api_model_has_them(action: str) -> None:
    """The page of AWS CodeCommit names them; before, their use counted as invisible."""
    assert visibility(action).visibility is Visibility.MANAGEMENT


@pytest.mark.parametrize(
    ("action", "also_event"),
    [
        ("ec2:RunInstances", True),
        ("ecs:TagResource", True),
        ("kms:CreateGrant", True),
        ("iam:PassRole", False),
        ("lambda:InvokeFunctionUrl", False),
        ("s3:PutObject", False),
    ],
)
def test_an_action_that_is_also_checked_inside_other_calls_keeps_the_word_of_its_own_events(
    action: str, also_event: bool
) -> None:
    assert visibility(action).also_event is also_event


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("s3:FrobnicateBucket", "has no such action"),
        ("nosuch:DoIt", "has no service nosuch"),
    ],
)
def test_what_the_catalogue_lacks_is_told_so(action: str, told: str) -> None:
    seen = visibility(action)
    assert seen.visibility is Visibility.UNKNOWN
    assert told in seen.source
