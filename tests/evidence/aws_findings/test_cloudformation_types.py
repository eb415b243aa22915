from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws import session as door
from leastpriv.aws.session import Aws
from leastpriv.evidence.aws_findings import cloudformation_types
from leastpriv.evidence.aws_findings.cloudformation_types import (
    DeployedStack,
    deployed_stacks,
    permissions_in,
    read_declared_needs,
)
from leastpriv.evidence.aws_findings.models import DeclaredNeeds
from leastpriv.permissions import catalog
from tests.fakes.aws.cloudformation_types import CloudFormationTypes
from tests.fakes.evidence import evidence, usage

ROWS = json.loads((Path(__file__).parent / "type_faults.json").read_text(encoding="utf-8"))
QUEUE = {
    "create": ["sqs:CreateQueue", "SQS:GetQueueUrl", "sqs:TagQueue"],
    "delete": ["sqs:DeleteQueue", "sqs:GetQueueUrl"],
}
BUCKET = {"create": ["s3:CreateBucket", "s3:InventedAction"], "update": ["s3:PutBucket*"]}
TYPES = {"AWS::SQS::Queue": QUEUE, "AWS::S3::Bucket": BUCKET, "AWS::SDB::Domain": {}}
STACKS = {("eu-west-1", "orders"): ["AWS::SQS::Queue", "AWS::SQS::Queue", "AWS::S3::Bucket", "Custom::Thing"]}
ORDERS = DeployedStack("eu-west-1", "orders")
ARN = "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/*"


def test_handlers_become_catalogue_actions_with_the_types_that_need_them() -> None:
    found = _declared([ORDERS])
    assert found.actions["sqs:GetQueueUrl"] == ("AWS::SQS::Queue",)
    assert found.actions["s3:CreateBucket"] == ("AWS::S3::Bucket",)
    assert found.types == ("AWS::S3::Bucket", "AWS::SQS::Queue")
    assert found.failure == ""


def test_a_name_that_the_catalogue_lacks_is_reported_and_never_an_action() -> None:
    found = _declared([ORDERS])
    assert found.unknown == ("s3:InventedAction",)
    assert all(catalog.spelling(action) == action for action in found.actions)


def test_a_pattern_in_a_schema_expands_to_its_actions() -> None:
    assert set(catalog.expand("s3:PutBucket*")) <= set(_declared([ORDERS]).actions)


def test_a_type_without_handlers_declares_no_needs() -> None:
    stacks = {("eu-west-1", "orders"): ["AWS::SDB::Domain"]}
    with CloudFormationTypes(TYPES, stacks) as aws:
        found = read_declared_needs(Aws.open(aws.environment()), [ORDERS])
    assert found == DeclaredNeeds(types=("AWS::SDB::Domain",))


def test_stacks_count_only_where_cloudformation_called_in_the_roles_name() -> None:
    deploys = usage("cloudformation:CreateStack", ARN)
    own = usage("sqs:CreateQueue", "arn:aws:sqs:eu-west-1:111122223333:orders")
    assert deployed_stacks(evidence([deploys, own])) == ()
    forwarded = replace(own, forwarded_by=("cloudformation.amazonaws.com",))
    assert deployed_stacks(evidence([deploys, forwarded])) == (ORDERS,)


def test_a_stack_that_is_gone_spoils_no_other() -> None:
    found = _declared([DeployedStack("eu-west-1", "gone"), ORDERS])
    assert found.types == ("AWS::S3::Bucket", "AWS::SQS::Queue")
    assert found.failure == ""


def test_a_private_type_is_asked_for_where_its_stack_is() -> None:
    """Whatever the region of the credentials, and of the first stack."""
    private = {"Acme::Mail::Box": {"create": ["ses:CreateEmailIdentity"]}}
    stacks = {("eu-west-1", "orders"): ["AWS::SQS::Queue"], ("eu-central-1", "mail"): ["Acme::Mail::Box"]}
    with CloudFormationTypes({**TYPES, **private}, stacks) as aws:
        aws.only_in["Acme::Mail::Box"] = "eu-central-1"
        door = Aws.open(aws.environment(region="us-east-1"))
        found = read_declared_needs(door, [ORDERS, DeployedStack("eu-central-1", "mail")])
    assert found.types == ("AWS::SQS::Queue", "Acme::Mail::Box")
    assert "ses:CreateEmailIdentity" in found.actions
    assert (found.untold, found.failure) == ((), "")


def test_one_stack_that_may_not_be_looked_into_hides_no_other() -> None:
    with CloudFormationTypes(TYPES, STACKS) as aws:
        aws.denied.add("hidden")
        found = read_declared_needs(Aws.open(aws.environment()), [DeployedStack("eu-west-1", "hidden"), ORDERS])
    assert found.types == ("AWS::S3::Bucket", "AWS::SQS::Queue")
    assert "cloudformation:ListStackResources" in found.failure


def test_a_type_that_fails_does_not_affect_the_others() -> None:
    with CloudFormationTypes(TYPES, STACKS) as aws:
        aws.broken.add("AWS::S3::Bucket")
        found = read_declared_needs(Aws.open(aws.environment()), [ORDERS])
    assert found.types == ("AWS::SQS::Queue",)
    assert "AWS::S3::Bucket" in found.failure


def test_stacks_beyond_the_limit_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudformation_types, "_MOST_STACKS", 1)
    monkeypatch.setattr(cloudformation_types, "_MOST_TYPES", 1)
    found = _declared([ORDERS, DeployedStack("eu-west-1", "payments")])
    assert "1 of 2 stacks" in found.failure
    assert "1 of 2 resource types" in found.failure


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}: {row['fault']}")
def test_an_error_is_reported_and_does_not_raise(row: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if "delay" in row:
        monkeypatch.setattr(door, "_READ_SECONDS", row["delay"] / 5)
    types = {"AWS::SQS::Queue": QUEUE, "AWS::S3::Bucket": BUCKET, "AWS::SNS::Topic": {}}
    with CloudFormationTypes(types, {("eu-west-1", "orders"): list(types)}) as aws:
        aws.fail_as(row, row["source"])
        found = read_declared_needs(Aws.open(aws.environment(attempts=row.get("attempts", 1))), [ORDERS])
        assert found.failure.replace(aws.endpoint, "https://AWS") == row.get("says", "")
    assert (found.types == ()) is ("says" in row)
    assert row["fault"] != "paging" or len(aws.asked("ListStackResources")) > 1


def test_every_request_is_tried_with_every_fault_that_it_can_have() -> None:
    common = {"happy", "throttled once", "throttled", "access denied", "AWS fails", "credentials expired", "slow"}
    wanted = {(name, each) for name in ("ListStackResources", "DescribeType") for each in (*common, "broken off")}
    assert {(row["source"], row["fault"]) for row in ROWS} == wanted | {("ListStackResources", "paging")}


@pytest.mark.parametrize("operation", ["ListStackResources", "DescribeType"])
def test_a_cloudformation_that_keeps_failing_is_not_asked_hundreds_of_times(operation: str) -> None:
    stacks = {("eu-west-1", f"stack-{number}"): [f"Acme::Sns::Topic{number}"] for number in range(20)}
    handlers: dict[str, dict[str, list[str]]] = {kind: {} for [kind] in stacks.values()}
    with CloudFormationTypes(handlers, stacks) as aws:
        aws.refuse(operation, "InternalFailure", "oops", 500)
        found = read_declared_needs(Aws.open(aws.environment(attempts=1)), [DeployedStack(*key) for key in stacks])
    assert found.failure
    assert len(aws.asked(operation)) == 3


def test_an_interruption_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Aws, "client", interrupted)
    with CloudFormationTypes(TYPES, STACKS) as aws, pytest.raises(KeyboardInterrupt):
        read_declared_needs(Aws.open(aws.environment()), [ORDERS])


def test_every_page_of_a_stacks_resources_is_read() -> None:
    stacks = {("eu-west-1", "orders"): [*["AWS::SQS::Queue"] * 5, "AWS::S3::Bucket"]}
    with CloudFormationTypes(TYPES, stacks) as aws:
        assert read_declared_needs(Aws.open(aws.environment()), [ORDERS]).types == (
            "AWS::S3::Bucket",
            "AWS::SQS::Queue",
        )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["create", "permissions", "x"]), inner),
)


@given(_JSON, st.text())
def test_any_schema_is_read_without_an_error(handlers: object, text: str) -> None:
    """Only texts are taken for actions, wherever a schema has something else."""
    read = permissions_in(json.dumps({"handlers": handlers}))
    assert all(isinstance(entry, str) for entries in read.values() for entry in entries)
    assert permissions_in(text) == {}


def _refused(operation: str) -> str:
    who = "arn:aws:iam::111122223333:user/ci"
    return f"User: {who} is not authorized to perform: cloudformation:{operation} on resource: *"


def _declared(stacks: list[DeployedStack]) -> DeclaredNeeds:
    with CloudFormationTypes(TYPES, STACKS) as aws:
        return read_declared_needs(Aws.open(aws.environment()), stacks)
