"""What was counted has no text of a request, an answer or an error on which no need depends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.file_reader import CountedCalls
from leastpriv.denials.encoded_message import Decoder
from leastpriv.evidence.collected_calls import check_collected, decode_collected
from leastpriv.evidence.collector import PrincipalCollectors
from leastpriv.models import Call, Outcome
from tests.fakes.generated_calls import call

SECRET = "hunter2-AKIAsecret/Token=="  # noqa: S105 - planted
A = "arn:aws:iam::111122223333:"
PROJECT, OTHER = {"key": "Project", "value": "shop"}, {"key": "x", "value": SECRET}


def made(
    event: str, parameters: Mapping[str, Any], response: Mapping[str, Any] | None = None
) -> Call:
    service, _, name = event.partition(":")
    return structs.replace(
        call(f"{service}.amazonaws.com", name, parameters), response=response or {}
    )


CALLS = {
    "a password": made(
        "rds:CreateDBInstance", {"dBInstanceIdentifier": "shop", "masterUserPassword": SECRET}
    ),
    "parameters of a stack": made(
        "cloudformation:CreateStack",
        {
            "stackName": "shop",
            "parameters": [{"parameterKey": "Password", "parameterValue": SECRET}],
        },
    ),
    "variables of a function": made(
        "lambda:CreateFunction20150331",
        {
            "functionName": "shop",
            "role": f"{A}role/shop",
            "environment": {"variables": {"TOKEN": SECRET}},
        },
    ),
    "tags": made(
        "ec2:CreateVpc",
        {
            "tagSpecificationSet": {
                "items": [{"resourceType": "vpc", "tags": [{"key": "name", "value": SECRET}]}]
            }
        },
        {"vpc": {"vpcId": "vpc-1", "secretToken": SECRET}},
    ),
    "a document with a role": made(
        "ssm:CreateDocument",
        {"name": "run", "content": f'{{"assumeRole": "{A}role/run", "password": "{SECRET}"}}'},
    ),
    "a trust policy": made(
        "iam:CreateRole", {"roleName": "shop", "assumeRolePolicyDocument": f'{{"x": "{SECRET}"}}'}
    ),
    "a statement of PartiQL": made(
        "dynamodb:ExecuteStatement",
        {"statement": f"INSERT INTO \"Music\" VALUE {{'token': '{SECRET}'}}"},
    ),
    "items of a transaction": made(
        "dynamodb:TransactWriteItems",
        {
            "transactItems": [
                {"operation": "Put", "tableName": "Music", "item": {"token": {"s": SECRET}}}
            ]
        },
    ),
    "credentials in an answer": made(
        "sts:AssumeRole",
        {"roleArn": f"{A}role/shop", "roleSessionName": "1", "externalId": SECRET},
        {
            "credentials": {
                "accessKeyId": "ASIAEXAMPLE",
                "secretAccessKey": SECRET,
                "sessionToken": SECRET,
            }
        },
    ),
    "a new access key": made(
        "iam:CreateAccessKey",
        {"userName": "ci"},
        {"accessKey": {"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": SECRET}},
    ),
    "a context of encryption": made(
        "kms:Decrypt",
        {"encryptionContext": {"aws:lambda:FunctionArn": SECRET, "key": SECRET}},
        {"plaintext": SECRET},
    ),
    "numbers": made(
        "dax:CreateCluster",
        {"clusterName": "shop", "pin": 4711, "nested": {"pin": 4711, "x": SECRET}},
    ),
    "deep nesting": made(
        "s3:PutObject", {"bucketName": "b", "key": "k", "x": [[[{"y": {"z": [SECRET]}}]]]}
    ),
    "an id under the end of its noun": structs.replace(
        made("ec2:CreateSecurityGroup", {"groupName": "web"}),
        response={"groupId": "sg-0a1b2c", "note": SECRET},
    ),
    "a secret": made("secretsmanager:PutSecretValue", {"secretId": "shop", "secretString": SECRET}),
    "an unknown operation": made("nowhere:DoIt", {"name": SECRET, "more": {"name": SECRET}}),
    "an error": structs.replace(
        made("rds:CreateDBInstance", {"dBInstanceIdentifier": "shop"}),
        outcome=Outcome.UNKNOWN,
        error_code="ValidationException",
        error_message=f"the password {SECRET} is too short",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_secrets_are_left_out(name: str) -> None:
    books = PrincipalCollectors(Principals(), 1, is_part=True)
    books.note(0, CALLS[name])
    counted = books.collected()
    assert SECRET.encode() not in counted
    assert b"4711" not in counted
    assert books.is_complete


ENCODED = structs.replace(
    made("ec2:RunInstances", {"imageId": "ami-1"}),
    outcome=Outcome.DENIED,
    error_code="Client.UnauthorizedOperation",
    error_message="You are not authorized to perform this operation. Encoded authorization"
    " failure message: " + "Ab3_" * 40,
)


def test_a_call_with_an_encoded_denial_is_left_to_the_reader() -> None:
    """Only the reader has credentials to ask AWS."""
    apart = PrincipalCollectors(Principals(), 1, is_part=True)
    apart.note(0, ENCODED)
    assert not apart.is_complete
    decoded: list[str] = []

    def decode(text: str) -> str:
        decoded.append(text)
        return '{"allowed": false, "context": {"action": "iam:PassRole", "resource": "*"}}'

    collectors = PrincipalCollectors(Principals(), 1, Decoder(decode))
    collectors.note(0, CountedCalls(1, check_collected(decode_collected(apart.collected()))))
    [(_, evidence)] = collectors.close()
    assert len(decoded) == 1
    denied = [usage for usage in evidence.usages if usage.denial]
    assert [usage.need.permission.action for usage in denied] == ["iam:PassRole"]


def test_a_call_with_an_encoded_denial_counts_at_once_where_nobody_can_decode_it() -> None:
    apart = PrincipalCollectors(Principals(), 1, is_part=True, leaves_encoded=False)
    whole = PrincipalCollectors(Principals(), 1)
    for collectors in (apart, whole):
        collectors.note(0, ENCODED)
    assert apart.is_complete
    merged = PrincipalCollectors(Principals(), 1)
    merged.note(0, CountedCalls(1, check_collected(decode_collected(apart.collected()))))
    assert dict(merged.close()) == dict(whole.close())
