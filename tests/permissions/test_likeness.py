"""Like calls are answered once, and every answer is the one that the call itself would get."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.models import Call, Outcome
from leastpriv.permissions.likeness import likeness
from leastpriv.permissions.mapping import needs_of, worked_out
from leastpriv.permissions.request import MOST_VALUES
from tests.fakes.calls import a_call
from tests.fakes.requests import calls
from tests.hypothesis_profiles import examples

ROLE = "arn:aws:iam::111122223333:role/app"


@examples(200)
@given(st.randoms(use_true_random=True))
def test_a_remembered_answer_is_the_one_made_out_anew(random: Random) -> None:
    for call in calls(random, 25):
        assert needs_of(call) == worked_out(call), call


def test_of_public_records_every_answer_is_the_one_made_out_anew(shared_folder: Path) -> None:
    source = TrailFolder(shared_folder / "corpus" / "records")
    found = [call for call in source.read(Window(), Principals(None)) if isinstance(call, Call)]

    assert len(found) > 3_000
    assert all(needs_of(call) == worked_out(call) for call in found)


@pytest.mark.parametrize(
    ("event", "parameters", "decides"),
    [
        ("iam:CreateServiceLinkedRole", {"awsServiceName": "ecs.amazonaws.com"}, "awsServiceName"),
        ("iam:CreateGroup", {"groupName": "deployers", "path": "/ci/"}, "path"),
        ("ssm:SendCommand", {"documentName": "a", "targets": [{"key": "tag:a", "values": ["b"]}]}, "targets"),
        ("ecr:BatchGetImage", {"repositoryName": "a", "registryId": "444455556666"}, "registryId"),
        ("ecs:ListContainerInstances", {"status": "ACTIVE"}, "status"),
        ("dynamodb:BatchGetItem", {"requestItems": {"orders": {"keys": []}}}, "requestItems"),
        ("s3:CopyObject", {"bucketName": "a", "key": "b", "x-amz-copy-source": "/c/d"}, "x-amz-copy-source"),
        ("kms:ReEncrypt", {"sourceKeyId": "12345678-1234-1234-1234-123456789012"}, "sourceKeyId"),
        ("kinesisanalytics:AddApplicationInput", {"applicationName": "a", "input": {"roleARN": ROLE}}, "input"),
        ("glue:CreateJob", {"name": "a", "role": "jobs"}, "role"),
        ("apigateway:GetRestApi", {"restApiId": "a1"}, "restApiId"),
        ("cloudformation:DescribeStacks", {"stackName": "orders"}, "stackName"),
        ("lambda:CreateFunction20150331", {"functionName": "a", "tags": {"a": "b"}}, "tags"),
        ("sts:AssumeRole", {"roleArn": "arn:aws:iam::111122223333:role/a", "tags": []}, "tags"),
    ],
)
def test_a_key_that_decides_is_read_from_the_likeness_too(
    event: str, parameters: dict[str, object], decides: str
) -> None:
    call = a_call(event, parameters)
    without = a_call(event, {key: value for key, value in parameters.items() if key != decides})

    assert needs_of(call) == worked_out(call) != needs_of(without) == worked_out(without)


@pytest.mark.parametrize("operation", ["DeleteStack", "ContinueUpdateRollback"])
def test_a_key_that_decides_by_its_absence_is_read_from_the_likeness_too(operation: str) -> None:
    """Without a role of its own a stack goes on with the one that it has: a record may show the key, and no ARN."""
    call = a_call(f"cloudformation:{operation}", {"stackName": "a", "roleARN": ""})
    without = a_call(f"cloudformation:{operation}", {"stackName": "a"})

    assert needs_of(call) == worked_out(call) != needs_of(without) == worked_out(without)


@pytest.mark.parametrize("size", [MOST_VALUES // 2, MOST_VALUES, MOST_VALUES + 1])
def test_also_of_requests_larger_than_is_read(size: int) -> None:
    parameters = {"filter": [str(number) for number in range(size)], "deeper": {"bucketName": "orders", "key": "a"}}
    call = a_call("s3:GetObject", parameters)

    assert needs_of(call) == worked_out(call)


def test_a_request_nested_beyond_all_reason_is_answered() -> None:
    nested: dict[str, object] = {"bucketName": "orders"}
    for _ in range(5_000):
        nested = {"deeper": nested}
    call = a_call("s3:ListBucket", nested)

    assert likeness(call) is None
    assert needs_of(call) == worked_out(call)


def test_what_decides_nothing_makes_no_difference() -> None:
    def told(token: str, size: int) -> Call:
        parameters = {"bucketName": "orders", "key": "a", "token": token, "size": size, "tags": {token: token}}
        return replace(a_call("s3:GetObject", parameters), session=token, event_id=token, access_key=token)

    assert needs_of(told("one", 1)) is needs_of(told("other", 2))


def test_roles_of_one_account_share_their_answers() -> None:
    call = a_call("s3:GetObject", {"bucketName": "orders", "key": "a"})

    assert needs_of(call) is needs_of(replace(call, principal="arn:aws:iam::111122223333:role/other"))


def test_whatever_decides_is_part_of_the_likeness() -> None:
    call = a_call("s3:GetObject", {"bucketName": "orders", "key": "a"})
    others = [
        replace(call, source="s3-outposts.amazonaws.com"),
        replace(call, name="GetObjectAcl"),
        replace(call, principal="arn:aws-cn:iam::111122223333:role/ci/deploy"),
        replace(call, principal="arn:aws:iam::111122223333:user/ann"),
        replace(call, account="444455556666"),
        replace(call, region="us-east-1"),
        replace(call, resources=("arn:aws:s3:::orders/b",)),
        replace(call, outcome=Outcome.DENIED),
        replace(call, error_code="NoSuchKey"),
        replace(call, invoked_by="cloudformation.amazonaws.com"),
        replace(call, read_only=True),
        replace(call, parameters_omitted=True),
        replace(call, response={"a": "b"}),
        replace(call, parameters={"bucketName": "orders", "key": "b"}),
        replace(call, parameters={"bucketName": "orders", "key": "a", "versionId": "1"}),
        replace(call, parameters={"bucketName": "orders", "key": "a", "source": "arn:aws:s3:::orders/b"}),
    ]

    assert len({likeness(each) for each in (call, *others)}) == 1 + len(others)


def test_where_the_response_decides_each_call_has_its_own_answer() -> None:
    def made(name: str) -> Call:
        return replace(
            a_call("iam:CreatePolicy"), response={"policy": {"arn": f"arn:aws:iam::111122223333:policy/{name}"}}
        )

    resources = [need.permission.resource for name in ("a", "b") for need in needs_of(made(name)).needs]
    assert resources == ["arn:aws:iam::111122223333:policy/a", "arn:aws:iam::111122223333:policy/b"]
