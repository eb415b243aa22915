"""Every type with handlers in the lab can be created, changed and deleted, with a record of each
call's resource.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.test_lab import allow, policy
from tests.end_to_end.test_lab_stacks import (
    CODE_OF_FUNCTION,
    TRUST,
    made_by_cloudformation,
    reasons,
    settled,
    template,
)

pytestmark = pytest.mark.slow


def arn(name: str, attribute: str = "Arn") -> dict[str, Any]:
    return {"Fn::GetAtt": [name, attribute]}


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
RESOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "Queue": ("AWS::SQS::Queue", {"Tags": [{"Key": "team", "Value": "a"}]}),
    "QueuePolicy": ("AWS::SQS::QueuePolicy", {"Queues": [ref("Queue")],
    "PolicyDocument": policy(STATEMENT)}),
    "Topic": ("AWS::SNS::Topic", {}),
    "Subscription": (
        "AWS::SNS::Subscription", {"TopicArn": ref("Topic"), "Protocol": "sqs",
        "Endpoint": arn("Queue")},
    ),
    "Bucket": ("AWS::S3::Bucket", {"VersioningConfiguration": {"Status": "Enabled"}}),
    "Table": (
        "AWS::DynamoDB::Table",
        {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    ),
    "Role": ("AWS::IAM::Role", {"AssumeRolePolicyDocument": TRUST, "Path": "/made/"}),
    "Policy": (
        "AWS::IAM::Policy",
        {"PolicyName": "p", "Roles": [ref("Role")],
        "PolicyDocument": policy(allow("sqs:SendMessage"))},
    ),
    "Function": (
        "AWS::Lambda::Function",
        {"Runtime": "python3.13", "Handler": "index.handler", "Role": arn("Role"),
        "Code": CODE_OF_FUNCTION},
    ),
    "Permission": (
        "AWS::Lambda::Permission",
        {"FunctionName": ref("Function"), "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com"},
    ),
    "Mapping": ("AWS::Lambda::EventSourceMapping", {"FunctionName": ref("Function"),
    "EventSourceArn": arn("Queue")}),
    "Logs": ("AWS::Logs::LogGroup", {"RetentionInDays": 7}),
    "Parameter": ("AWS::SSM::Parameter", {"Type": "String", "Value": "1"}),
    "Machine": (
        "AWS::StepFunctions::StateMachine",
        {
            "RoleArn": arn("Role"),
            "DefinitionString": '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        },
    ),
    "Secret": ("AWS::SecretsManager::Secret", {"GenerateSecretString": {}}),
    "Key": ("AWS::KMS::Key", {"KeyPolicy": policy({**STATEMENT, "Action": "kms:*"})}),
    "Alias": ("AWS::KMS::Alias", {"AliasName": "alias/made", "TargetKeyId": ref("Key")}),
    "Repository": ("AWS::ECR::Repository", {}),
    "Rule": ("AWS::Events::Rule", {"ScheduleExpression": "rate(1 day)"}),
    "Alarm": (
        "AWS::CloudWatch::Alarm",
        {"EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold", "MetricName": "m",
        "Namespace": "n",
         "Period": 60, "Threshold": 1, "Statistic": "Sum"},
    ),
    "Cluster": ("AWS::ECS::Cluster", {}),
    "Task": (
        "AWS::ECS::TaskDefinition",
        {"Family": "made", "TaskRoleArn": arn("Role"), "ContainerDefinitions": [{"Name": "a",
        "Image": "b"}]},
    ),
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
    "Subnet": ("AWS::EC2::Subnet", {"VpcId": ref("Vpc"), "CidrBlock": "10.0.1.0/24"}),
    "Group": ("AWS::EC2::SecurityGroup", {"VpcId": ref("Vpc"), "GroupDescription": "made"}),
    "Api": ("AWS::ApiGateway::RestApi", {"Name": "made"}),
    "Stream": ("AWS::Kinesis::Stream", {"ShardCount": 1}),
}  # fmt: skip


@pytest.mark.parametrize("acting", ["caller", "role"])
def test_every_type_is_created_and_deleted_with_records_of_its_calls(
    fresh_lab: Lab, acting: str
) -> None:
    lab = fresh_lab
    body: dict[str, dict[str, Any]] = {
        name: {"Type": kind, "Properties": properties}
        for name, (kind, properties) in RESOURCES.items()
    }
    given = {"RoleARN": lab.admin_role("acting")} if acting == "role" else {}
    stacks = lab.client("cloudformation", lab.assume(lab.admin_role("deployer"), "run-1"))
    stacks.create_stack(
        StackName="wide", TemplateBody=template(body), Capabilities=["CAPABILITY_IAM"], **given
    )
    assert settled(lab, "wide") == "CREATE_COMPLETE", reasons(lab, "wide")
    created = made_by_cloudformation(lab, 0)
    body["Queue"]["Properties"] = {**body["Queue"]["Properties"], "DelaySeconds": 3}
    body["Function"]["Properties"] = {**body["Function"]["Properties"], "Timeout": 9}
    stacks.update_stack(
        StackName="wide", TemplateBody=template(body), Capabilities=["CAPABILITY_IAM"]
    )
    assert settled(lab, "wide") == "UPDATE_COMPLETE", reasons(lab, "wide")
    updated = made_by_cloudformation(lab, 0)[len(created) :]
    names = {each["eventName"] for each in updated} - {"AssumeRole"}
    assert names == {
        "SetQueueAttributes", "GetQueueAttributes", "UpdateFunctionConfiguration20150331v2",
        "GetFunction20150331v2",
        "GetFunctionCodeSigningConfig", "GetFunctionRecursionConfig", "GetRuntimeManagementConfig",
    }  # fmt: skip
    stacks.delete_stack(StackName="wide")
    assert "does not exist" in _gone(lab, "wide")
    deleted = made_by_cloudformation(lab, 0)[len(created) + len(updated) :]
    services = {each["eventSource"] for each in created}
    assert services - {each["eventSource"] for each in deleted} <= {"sts.amazonaws.com"}
    for each in [*created, *deleted]:
        assert "{" not in json.dumps(each["requestParameters"]).replace('{"', ""), each
        assert "errorCode" not in each


def _gone(lab: Lab, stack: str) -> str:
    try:
        return settled(lab, stack)
    except Exception as error:  # the service's message for a deleted stack
        return str(error)
