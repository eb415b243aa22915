"""A reduced call has the needs of the whole one, and no text on which nothing depends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from leastpriv.cloudtrail.cache import essential_call
from leastpriv.evidence.created_tags import tags_by_type
from leastpriv.models import Call, Outcome
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.request import new_ids
from tests.fakes.generated_calls import call, operations, parameters_of

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


@pytest.mark.slow
def test_a_reduced_call_of_every_operation_has_the_same_needs() -> None:
    strange = []
    for number, (client, source, operation) in enumerate(operations()):
        # Of every fifth operation with ARNs, which leave less to read.
        of_service = "" if number % 5 else source.partition(".")[0]
        whole = call(source, operation, parameters_of(client, operation, arns_of=of_service))
        reduced = essential_call(whole)
        if needs_of(whole) != needs_of(reduced) or essential_call(reduced) != reduced:
            strange.append((source, operation))
    assert strange == []


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
def test_secrets_are_left_out_and_the_needs_are_the_same(name: str) -> None:
    whole, reduced = CALLS[name], essential_call(CALLS[name])
    text = json.dumps([reduced.parameters, reduced.response, reduced.error_message])
    assert SECRET not in text
    assert "4711" not in text
    assert needs_of(reduced) == needs_of(whole)
    assert new_ids(whole) == new_ids(reduced)
    assert bool(whole.response) == bool(reduced.response)
    assert essential_call(reduced) == reduced


def test_the_key_that_a_call_issued_is_kept() -> None:
    assert essential_call(CALLS["credentials in an answer"]).response == {
        "credentials": {"accessKeyId": "ASIAEXAMPLE"}
    }


def test_a_context_of_encryption_names_no_key() -> None:
    """People choose its names: `key` in it would grant another key."""
    [need] = needs_of(made("kms:Decrypt", {"encryptionContext": {"key": "another"}})).needs
    assert need.permission.resource.endswith(":key/*")


@pytest.mark.parametrize(
    ("event", "tags"),
    [
        (
            "ec2:CreateVpc",
            {"tagSpecificationSet": {"items": [{"resourceType": "vpc", "tags": [PROJECT, OTHER]}]}},
        ),
        (
            "kms:CreateKey",
            {
                "tags": [
                    {"tagKey": "Project", "tagValue": "shop"},
                    {"tagKey": "x", "tagValue": SECRET},
                ]
            },
        ),
        ("eks:CreateCluster", {"name": "shop", "tags": {"Project": "shop", "x": SECRET}}),
        (
            "cloudfront:CreateDistributionWithTags",
            {"distributionConfigWithTags": {"tags": {"items": [PROJECT, OTHER]}}},
        ),
    ],
)
def test_the_tags_that_name_a_project_remain_and_no_others(
    event: str, tags: Mapping[str, Any]
) -> None:
    reduced = essential_call(made(event, tags))
    assert [own for _, own in tags_by_type(reduced.parameters)] == [(("Project", "shop"),)]
    assert SECRET not in json.dumps(reduced.parameters)
