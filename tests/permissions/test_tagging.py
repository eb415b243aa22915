"""Tags set at creation need the tagging action: where a page of AWS says so, and nowhere else."""

from __future__ import annotations

import pytest

from leastpriv.model import Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.resource_types import fits
from leastpriv.permissions.tables import table
from leastpriv.permissions.tagging import tags_of
from tests.fakes.calls import a_call, inferred

TAGS = [{"key": "stage", "value": "test"}]


@pytest.mark.parametrize(
    ("event", "parameters", "action", "resource"),
    [
        (
            "lambda:CreateFunction20150331",
            {"functionName": "orders", "tags": {"stage": "test"}},
            "lambda:TagResource",
            "arn:aws:lambda:eu-west-1:111122223333:function:orders",
        ),
        ("iam:CreateRole", {"roleName": "app", "tags": TAGS}, "iam:TagRole", "arn:aws:iam::111122223333:role/app"),
        (
            "sqs:CreateQueue",
            {"queueName": "orders", "tags": {"stage": "test"}},
            "sqs:TagQueue",
            "arn:aws:sqs:eu-west-1:111122223333:orders",
        ),
        (
            "ecs:CreateCluster",
            {"clusterName": "web", "tags": TAGS},
            "ecs:TagResource",
            "arn:aws:ecs:eu-west-1:111122223333:cluster/web",
        ),
        (
            "logs:CreateLogGroup",
            {"logGroupName": "/app", "tags": {"a": "b"}},
            "logs:TagResource",
            "arn:aws:logs:eu-west-1:111122223333:log-group:/app:*",
        ),
        (
            "kinesis:CreateStream",
            {"streamName": "s", "tags": {"a": "b"}},
            "kinesis:AddTagsToStream",
            "arn:aws:kinesis:eu-west-1:111122223333:stream/s",
        ),
    ],
)
def test_a_creating_call_with_tags_needs_the_tagging_action_on_what_it_makes(
    event: str, parameters: dict[str, object], action: str, resource: str
) -> None:
    (need,) = inferred(a_call(event, parameters))
    assert (need.permission.action, need.permission.resource) == (action, resource)
    assert need.exact
    assert "sets tags" in need.because


@pytest.mark.parametrize(
    "parameters",
    [
        {"tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": TAGS}]}},
        {"RunInstancesRequest": {"TagSpecification": {"ResourceType": "instance", "Tag": TAGS}}},
        {"tagSpecification": [{"resourceType": "instance", "tag": {"key": "a"}}]},
    ],
)
def test_ec2_checks_a_new_thing_by_its_type_and_by_the_creating_operation(parameters: dict[str, object]) -> None:
    (need,) = inferred(a_call("ec2:RunInstances", parameters))
    assert need.permission.action == "ec2:CreateTags"
    assert need.permission.resource == "arn:aws:ec2:eu-west-1:111122223333:instance/*"
    assert need.exact
    assert [(shown.key, shown.values) for shown in need.permission.conditions] == [
        ("ec2:CreateAction", ("RunInstances",))
    ]


def test_each_type_that_is_tagged_is_a_need_and_one_that_ec2_does_not_know_is_none() -> None:
    items = [{"resourceType": kind, "tags": TAGS} for kind in ("instance", "volume", "no-such-type", "*", "volume")]
    found = inferred(a_call("ec2:RunInstances", {"tagSpecificationSet": {"items": items}}))
    assert [need.permission.resource.rpartition(":")[2] for need in found] == ["instance/*", "volume/*"]


@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("sqs:CreateQueue", {"queueName": "orders"}),
        ("sqs:CreateQueue", {"queueName": "orders", "tags": {}}),
        ("ecs:CreateCluster", {"clusterName": "web", "tags": []}),
        ("ec2:RunInstances", {"tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": []}]}}),
        (
            "ec2:CreateLaunchTemplate",
            {"LaunchTemplateData": {"TagSpecification": [{"resourceType": "instance", "tags": TAGS}]}},
        ),
        ("rds:AddTagsToResource", {"resourceName": "arn:aws:rds:eu-west-1:111122223333:db:a", "tags": TAGS}),
        ("ec2:CreateTags", {"tagSet": {"items": TAGS}, "resourcesSet": {"items": [{"resourceId": "i-1"}]}}),
        ("codebuild:CreateProject", {"name": "p", "tags": TAGS}),
        ("lambda:CreateFunction", {"functionName": "f", "environment": {"tags": "x"}}),
    ],
)
def test_without_tags_or_without_a_source_nothing_is_needed(event: str, parameters: dict[str, object]) -> None:
    assert inferred(a_call(event, parameters)) == []


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.UNKNOWN])
def test_a_call_that_was_not_allowed_proves_no_need(outcome: Outcome) -> None:
    assert inferred(a_call("sqs:CreateQueue", {"queueName": "q", "tags": {"a": "b"}}, outcome=outcome)) == []


def test_a_resource_that_nothing_names_is_not_called_exact() -> None:
    """A key's id is AWS's choice: the proposal tells the need and does not write it."""
    (need,) = inferred(a_call("kms:CreateKey", {"tags": TAGS}))
    assert need.permission.action == "kms:TagResource"
    assert not need.exact


@pytest.mark.parametrize("row", table("tags_on_create"), ids=lambda row: f"{row['operation']}-{row['action']}")
def test_every_row_names_a_tagging_action_its_condition_key_and_a_source(row: dict[str, str]) -> None:
    known = catalog.action(row["action"])
    assert known
    assert known.name == row["action"]
    assert "Tagging" in known.access_level or row["action"].startswith("organizations:")
    assert not row["condition"] or row["condition"] in known.condition_keys
    assert row["source"]
    assert row["operation"].endswith(":*") or tags_of(row["operation"])


def test_every_need_fits_the_tagging_action() -> None:
    for row in table("tags_on_create"):
        if not row["operation"].endswith(":*"):
            for need in inferred(a_call(row["operation"], {"name": "n", row["parameter"]: TAGS})):
                assert fits(need.permission.action, need.permission.resource)
