"""The lab enforces IAM as AWS does: principal, policy type and message of each denial."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.end_to_end.lab.lab import Lab

ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
CODE = {"ZipFile": b"PK\x05\x06" + bytes(18)}
"""An empty archive."""


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(*actions: str, resource: str = "*", **condition: Any) -> dict[str, Any]:
    more = {"Condition": {"StringEquals": condition}} if condition else {}
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    """The code and the message of a denied call."""
    with pytest.raises(ClientError) as refused:
        call()
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_call_outside_the_policy_is_denied_with_its_resource_and_recorded(lab: Lab) -> None:
    arn = lab.role(
        "reader",
        policy(allow("sqs:CreateQueue", resource="arn:aws:sqs:*:*:mine-*")),
        path="/deploy/",
    )
    queues = lab.client("sqs", lab.assume(arn, "run-1"))
    queues.create_queue(QueueName="mine-1")
    code, message = refusal(lambda: queues.create_queue(QueueName="other"))
    assert code == "AccessDenied"
    assert (
        message
        == f"User: arn:aws:sts::{lab.account}:assumed-role/reader/run-1 is not authorized to"
        f" perform: sqs:createqueue on resource: arn:aws:sqs:us-east-1:{lab.account}:other"
        " because no identity-based policy allows the sqs:createqueue action"
    )
    made, refused = [each for each in lab.all_records() if each["eventName"] == "CreateQueue"][-2:]
    assert made["requestParameters"] == {"queueName": "mine-1"}
    assert (
        made["responseElements"]["queueUrl"]
        == f"https://sqs.us-east-1.amazonaws.com/{lab.account}/mine-1"
    )
    assert (refused["errorCode"], refused["errorMessage"]) == (code, message)
    assert refused["requestParameters"] is None
    assert refused["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == arn


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("identity", "because no identity-based policy allows the sns:CreateTopic action"),
        ("identity deny", "with an explicit deny in an identity-based policy"),
        ("boundary", "because no permissions boundary allows the sns:CreateTopic action"),
        ("session", "because no session policy allows the sns:CreateTopic action"),
        ("session deny", "with an explicit deny in a session policy"),
    ],
)
def test_a_denial_names_the_policy_type_that_denies(lab: Lab, layer: str, reason: str) -> None:
    deny = {"Effect": "Deny", "Action": "sns:*", "Resource": "*"}
    own = {"identity": policy(allow("s3:*")), "identity deny": policy(ALL, deny)}.get(
        layer, policy(ALL)
    )
    boundary = policy(allow("s3:*")) if layer == "boundary" else None
    session = {"session": policy(allow("s3:*")), "session deny": policy(ALL, deny)}.get(layer)
    arn = lab.role(f"layer-{layer.replace(' ', '-')}", own, boundary=boundary)
    topics = lab.client("sns", lab.assume(arn, "run-1", session))
    code, message = refusal(lambda: topics.create_topic(Name="news"))
    assert code == "AuthorizationError"
    assert message.endswith(reason.replace("sns:", "SNS:"))
    assert f"on resource: arn:aws:sns:us-east-1:{lab.account}:news " in message


def test_a_role_is_passed_only_to_the_service_that_the_policy_names(lab: Lab) -> None:
    given = lab.role("function", None)
    arn = lab.role("deployer", policy(allow("lambda:CreateFunction", "states:CreateStateMachine")))
    session = lab.assume(arn, "run-1")
    function = {
        "FunctionName": "f",
        "Runtime": "python3.13",
        "Role": given,
        "Handler": "a.b",
        "Code": CODE,
    }
    machine = {
        "name": "m",
        "definition": '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        "roleArn": given,
    }
    functions, machines = lab.client("lambda", session), lab.client("stepfunctions", session)
    sentence = (
        f"User: arn:aws:sts::{lab.account}:assumed-role/deployer/run-1 is not authorized to"
        f" perform: iam:PassRole on resource: {given} because no identity-based policy allows the"
        " iam:PassRole action"
    )
    assert refusal(lambda: functions.create_function(**function)) == (
        "AccessDeniedException",
        sentence,
    )
    passing = allow(
        "iam:PassRole", resource=given, **{"iam:PassedToService": "lambda.amazonaws.com"}
    )
    lab.set_policy(
        arn, policy(allow("lambda:CreateFunction", "states:CreateStateMachine"), passing)
    )
    assert functions.create_function(**function)["Role"] == given
    assert refusal(lambda: machines.create_state_machine(**machine)) == (
        "AccessDeniedException",
        sentence,
    )
    record = next(
        each for each in lab.all_records() if each["eventName"] == "CreateFunction20150331"
    )
    assert record["errorMessage"] == sentence
    assert not [each for each in lab.all_records() if each["eventName"] == "PassRole"]


def test_tags_on_a_new_resource_need_the_tagging_action(lab: Lab) -> None:
    arn = lab.role("tagger", policy(allow("sqs:CreateQueue")))
    queues = lab.client("sqs", lab.assume(arn, "run-1"))
    queues.create_queue(QueueName="untagged")
    _, message = refusal(lambda: queues.create_queue(QueueName="tagged", tags={"team": "shop"}))
    assert (
        f"sqs:tagqueue on resource: arn:aws:sqs:us-east-1:{lab.account}:tagged because" in message
    )
    lab.set_policy(
        arn,
        policy(allow("sqs:CreateQueue"), allow("sqs:TagQueue", **{"aws:RequestTag/team": "shop"})),
    )
    queues.create_queue(QueueName="tagged", tags={"team": "shop"})
    assert (
        "sqs:tagqueue"
        in refusal(lambda: queues.create_queue(QueueName="other", tags={"team": "bar"}))[1]
    )


def test_the_tags_of_a_vpc_decide_about_its_deletion(lab: Lab) -> None:
    free = allow("ec2:CreateVpc", "ec2:CreateTags")
    arn = lab.role(
        "network", policy(free, allow("ec2:DeleteVpc", **{"aws:ResourceTag/app": "shop"}))
    )
    ec2 = lab.client("ec2", lab.assume(arn, "run-1"))
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "app", "Value": "shop"}]}]
    own = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]
    other = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    ec2.delete_vpc(VpcId=own)
    assert refusal(lambda: ec2.delete_vpc(VpcId=other))[0] == "UnauthorizedOperation"


def test_a_secret_can_be_created_only_under_a_pattern_for_its_suffix(lab: Lab) -> None:
    secret = f"arn:aws:secretsmanager:us-east-1:{lab.account}:secret:app"
    arn = lab.role("secretive", policy(allow("secretsmanager:CreateSecret", resource=secret)))
    secrets = lab.client("secretsmanager", lab.assume(arn, "run-1"))
    _, message = refusal(lambda: secrets.create_secret(Name="app", SecretString="1"))
    assert " secretsmanager:CreateSecret on resource: app because " in message
    lab.set_policy(arn, policy(allow("secretsmanager:CreateSecret", resource=f"{secret}-??????")))
    secrets.create_secret(Name="app", SecretString="1")


def test_a_pattern_for_the_suffix_of_a_secret_holds_for_one_that_is_not_there(lab: Lab) -> None:
    secret = f"arn:aws:secretsmanager:us-east-1:{lab.account}:secret:later"
    describe = "secretsmanager:DescribeSecret"
    arn = lab.role("reads-later", policy(allow(describe, resource=f"{secret}-??????")))
    secrets = lab.client("secretsmanager", lab.assume(arn, "run-1"))
    code, _ = refusal(lambda: secrets.describe_secret(SecretId="later"))
    assert code == "ResourceNotFoundException"
    _, message = refusal(lambda: secrets.describe_secret(SecretId="another"))
    assert f" {describe} on resource: another because " in message


def test_the_encoded_message_of_ec2_can_be_decoded(lab: Lab) -> None:
    arn = lab.role("no-ec2", policy(allow("sts:*")))
    code, message = refusal(
        lambda: lab.client("ec2", lab.assume(arn, "run-1")).create_security_group(
            GroupName="g", Description="d"
        )
    )
    assert code == "UnauthorizedOperation"
    assert message.startswith("You are not authorized to perform this operation. User: ")
    blob = message.partition("Encoded authorization failure message: ")[2]
    decoded = json.loads(
        lab.client("sts").decode_authorization_message(EncodedMessage=blob)["DecodedMessage"]
    )
    assert decoded["context"]["action"] == "ec2:CreateSecurityGroup"
    assert lab.all_records()[-2]["errorCode"] == "Client.UnauthorizedOperation"


def test_an_unknown_access_key_is_denied_without_a_record(lab: Lab) -> None:
    before = len(lab.all_records())
    stranger = lab.environment("AKIASTRANGERSTRANGER", "secret")
    assert refusal(lab.client("sts", stranger).get_caller_identity)[0] == "InvalidClientTokenId"
    assert len(lab.all_records()) == before


def test_a_denied_head_request_has_no_more_detail_than_in_s3(lab: Lab) -> None:
    lab.client("s3").create_bucket(Bucket="closed")
    arn = lab.role("no-s3", policy(allow("sts:*")))
    objects = lab.client("s3", lab.assume(arn, "run-1"))
    assert refusal(lambda: objects.head_bucket(Bucket="closed")) == ("403", "Forbidden")
    record = lab.all_records()[-1]
    assert (record["eventName"], record["errorCode"], record["errorMessage"]) == (
        "HeadBucket",
        "AccessDenied",
        "Access Denied",
    )
    code, message = refusal(lambda: objects.list_objects_v2(Bucket="closed"))
    assert code == "AccessDenied"
    assert 's3:ListBucket on resource: "arn:aws:s3:::closed" because' in message


def test_the_lab_s_own_operations_need_permissions_too(lab: Lab) -> None:
    arn = lab.role("blind", policy(allow("sts:*")))
    session = lab.assume(arn, "run-1")
    for call, action in (
        (lab.client("cloudtrail", session).lookup_events, "cloudtrail:LookupEvents"),
        (
            lab.client("accessanalyzer", session).list_policy_generations,
            "access-analyzer:ListPolicyGenerations",
        ),
    ):
        code, message = refusal(call)
        assert code == "AccessDeniedException"
        assert f"is not authorized to perform: {action} on resource: *" in message
