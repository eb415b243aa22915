"""Resources as public records show them: each test stands for a class of events, not for one
record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from leastpriv.models import Permission, grouped
from leastpriv.permissions.event_table import Verdict, map_event
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.resource_types import fits
from tests.fakes.calls import a_call
from tests.fakes.tables import table

HERE = "eu-west-1:111122223333"
ORG = "arn:aws:organizations::111122223333"
USE_CASE = ["instance/i", "instance/i/integration-association/a", "instance/i/use-case/*"]
PACKAGE = {
    "domain": "d",
    "repository": "r",
    "format": "npm",
    "namespace": "types",
    "package": "node",
}
VAULT = "token-vault/default/apikeycredentialprovider/k"
CLASSIFIER = "arn:aws:comprehend:eu-west-1:111122223333:document-classifier/spam"


def needed(
    event: str, parameters: Mapping[str, object], response: Mapping[str, object] | None = None
) -> set[str]:
    call = structs.replace(a_call(event, parameters), response=response or {})
    return {f"{need.permission.action} {need.permission.resource}" for need in needs_of(call).needs}


@pytest.mark.parametrize(
    ("event", "parameters", "resources"),
    [
        ("DescribePolicy", {"policyId": "p-abc123"}, ["policy/o-*/*/p-abc123"]),
        ("AcceptHandshake", {"handshakeId": "h-abc123"}, ["handshake/o-*/*/h-abc123"]),
        ("EnablePolicyType", {"rootId": "r-a1b2"}, ["root/o-*/r-a1b2"]),
        ("CreateOrganizationalUnit", {"name": "web", "parentId": "r-a1b2"}, ["root/o-*/r-a1b2"]),
        (
            "CreateOrganizationalUnit",
            {"name": "web", "parentId": "ou-a1b2-11111111"},
            ["ou/o-*/ou-a1b2-11111111"],
        ),
        (
            "AttachPolicy",
            {"policyId": "p-abc123", "targetId": "ou-a1b2-11111111"},
            ["policy/o-*/*/p-abc123", "ou/o-*/ou-a1b2-11111111"],
        ),
        (
            "AttachPolicy",
            {"policyId": "p-abc123", "targetId": "444455556666"},
            ["policy/o-*/*/p-abc123", "account/o-*/444455556666"],
        ),
        (
            "InviteAccountToOrganization",
            {"target": {"id": "444455556666", "type": "ACCOUNT"}},
            ["account/o-*/444455556666"],
        ),
    ],
)
def test_an_id_that_carries_its_prefix_gets_it_once(
    event: str, parameters: dict[str, object], resources: list[str]
) -> None:
    needs = needed(f"organizations:{event}", parameters)
    assert needs == {f"organizations:{event} {ORG}:{resource}" for resource in resources}


def test_a_parent_that_the_request_names_is_not_replaced_by_what_the_call_made() -> None:
    response = {
        "organizationalUnit": {"arn": f"{ORG}:ou/o-a1/ou-a1b2-22222222", "id": "ou-a1b2-22222222"}
    }
    needs = needed(
        "organizations:CreateOrganizationalUnit", {"parentId": "r-a1b2", "name": "web"}, response
    )
    assert needs == {f"organizations:CreateOrganizationalUnit {ORG}:root/o-*/r-a1b2"}


def test_an_account_is_named_by_the_target_of_an_assignment() -> None:
    parameters = {
        "targetId": "444455556666",
        "targetType": "AWS_ACCOUNT",
        "instanceArn": "arn:aws:sso:::instance/ssoins-1",
    }
    for event in ("CreateAccountAssignment", "DeleteAccountAssignment", "ProvisionPermissionSet"):
        assert f"sso:{event} arn:aws:sso:::account/444455556666" in needed(
            f"sso:{event}", parameters
        )


def test_a_stream_is_named_without_the_place_of_its_iterator() -> None:
    stream = f"arn:aws:dynamodb:{HERE}:table/Music/stream/2021-04-15T04:02:47.428"
    needs = needed("dynamodb:GetRecords", {"shardIterator": f"{stream}|1|AAAAAAAAAAH7HF3x"})
    assert needs == {f"dynamodb:GetRecords {stream}"}


@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("translate:TranslateText", {"sourceLanguageCode": "en", "targetLanguageCode": "fr"}),
        ("polly:SynthesizeSpeech", {"voiceId": "Joanna"}),
        ("cloudwatch:PutMetricData", {"namespace": "orders"}),
        ("cloudformation:GetTemplateSummary", {"templateBody": "HIDDEN"}),
    ],
)
def test_optional_types_that_the_request_does_not_name_leave_all_resources(
    event: str, parameters: dict[str, object]
) -> None:
    assert needed(event, parameters) == {f"{event} *"}


def test_an_optional_type_that_the_request_names_is_the_resource() -> None:
    needs = needed("translate:TranslateText", {"terminologyNames": ["brand"]})
    assert needs == {f"translate:TranslateText arn:aws:translate:{HERE}:terminology/brand"}


@pytest.mark.parametrize("action", ["DescribeAlarms", "DescribeAlarmHistory", "PutCompositeAlarm"])
def test_an_action_that_works_on_all_resources_alone_is_never_put_on_one(action: str) -> None:
    needs = needed(f"monitoring:{action}", {"alarmNames": ["x"], "alarmName": "x"})
    assert needs == {f"cloudwatch:{action} *"}


def test_an_encoded_arn_is_decoded() -> None:
    encoded = "arn%3Aaws%3Akafka%3Aeu-west-1%3A111122223333%3Acluster%2Forders%2F0123"
    cluster = f"arn:aws:kafka:{HERE}:cluster/orders/0123"
    assert needed("kafka:DescribeCluster", {"clusterArn": encoded}) == {
        f"kafka:DescribeCluster {cluster}"
    }
    assert needed("kafka:TagResource", {"resourceArn": encoded}) == {f"kafka:TagResource {cluster}"}
    role = "arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fdeploy"
    assert needed("eks:DescribeAccessEntry", {"name": "web", "principalArn": role}) == {
        f"eks:DescribeAccessEntry arn:aws:eks:{HERE}:access-entry/web/role/111122223333/deploy/*"
    }


def test_each_key_of_a_re_encryption_has_its_own_action() -> None:
    ids = ("1234abcd-12ab-34cd-56ef-1234567890ab", "0987dcba-09fe-87dc-65ba-ab0987654321")
    source, target = (f"arn:aws:kms:{HERE}:key/{key_id}" for key_id in ids)
    call = a_call(
        "kms:ReEncrypt",
        {"destinationKeyId": "0987dcba-09fe-87dc-65ba-ab0987654321"},
        resources=(source, target),
    )
    permissions = {
        (need.permission.action, need.permission.resource) for need in needs_of(call).needs
    }
    assert permissions == {("kms:ReEncryptFrom", source), ("kms:ReEncryptTo", target)}


def test_a_web_acl_needs_what_its_rules_reference_and_no_other_type() -> None:
    acl = {
        "name": "web",
        "scope": "CLOUDFRONT",
        "rules": [{"statement": {"geoMatchStatement": {}}}],
    }
    assert needed("wafv2:CreateWebACL", acl) == {
        f"wafv2:CreateWebACL arn:aws:wafv2:{HERE}:global/webacl/web/*"
    }
    addresses = f"arn:aws:wafv2:{HERE}:regional/ipset/bad/0123"
    acl = {
        "name": "web",
        "scope": "REGIONAL",
        "rules": [{"statement": {"iPSetReferenceStatement": {"aRN": addresses}}}],
    }
    assert needed("wafv2:CreateWebACL", acl) == {
        f"wafv2:CreateWebACL {addresses}",
        f"wafv2:CreateWebACL arn:aws:wafv2:{HERE}:regional/webacl/web/*",
    }


def test_a_transaction_is_read_as_aws_records_it() -> None:
    names = ("Put", "Update", "Delete", "ConditionCheck")
    transaction = [
        {"operation": name, "tableName": "Music", "key": {"Artist": "x"}} for name in names
    ]
    assert needed("dynamodb:TransactWriteItems", {"requestItems": transaction}) == {
        f"dynamodb:{action} arn:aws:dynamodb:{HERE}:table/Music"
        for action in ("PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem")
    }


@pytest.mark.parametrize(
    "row", [row for row in table("sources") if "." in row["label"]], ids=lambda row: row["label"]
)
def test_a_dotted_source_is_known_with_hyphens_too(row: dict[str, str]) -> None:
    dotted, hyphened = (
        f"{label}.amazonaws.com" for label in (row["label"], row["label"].replace(".", "-"))
    )
    assert map_event(hyphened, "TagResource").prefix == map_event(dotted, "TagResource").prefix


@pytest.mark.parametrize(
    ("event", "parameters", "resource"),
    [
        (
            "athena:StartQueryExecution",
            {"queryString": "select 10"},
            f"athena:{HERE}:workgroup/primary",
        ),
        (
            "config:StartConfigurationRecorder",
            {"configurationRecorderName": "default"},
            f"config:{HERE}:configuration-recorder/default/*",
        ),
        (
            "cloudhsm:CreateHsm",
            {"clusterId": "cluster-fw7"},
            f"cloudhsm:{HERE}:cluster/cluster-fw7",
        ),
        (
            "pi:GetResourceMetrics",
            {"serviceType": "RDS", "identifier": "db-1"},
            f"pi:{HERE}:metrics/RDS/db-1",
        ),
        ("mobiletargeting:GetApp", {"application-id": "a1"}, f"mobiletargeting:{HERE}:apps/a1"),
        ("synthetics:GetCanaryRuns", {"name": "home"}, f"synthetics:{HERE}:canary:home"),
        ("forecast:CreateDataset", {"datasetName": "sales"}, f"forecast:{HERE}:dataset/sales"),
        (
            "scheduler:CreateSchedule",
            {"name": "nightly"},
            f"scheduler:{HERE}:schedule/default/nightly",
        ),
        (
            "scheduler:GetSchedule",
            {"name": "nightly", "groupName": "ops"},
            f"scheduler:{HERE}:schedule/ops/nightly",
        ),
    ],
)
def test_a_resource_is_named_by_its_services_own_keys_and_defaults(
    event: str, parameters: dict[str, object], resource: str
) -> None:
    assert needed(event, parameters) == {f"{event} arn:aws:{resource}"}


def test_groups_that_aws_chooses_are_named_by_the_answer() -> None:
    answer = {
        "cacheParameterGroup": {"cacheParameterGroupName": "default.memcached1.6"},
        "cacheSubnetGroupName": "default",
    }
    assert needed("elasticache:CreateCacheCluster", {"cacheClusterId": "web"}, answer) == {
        f"elasticache:CreateCacheCluster arn:aws:elasticache:{HERE}:{resource}"
        for resource in (
            "cluster:web",
            "parametergroup:default.memcached1.6",
            "subnetgroup:default",
        )
    }


def test_tags_of_a_cluster_and_of_a_bucket_need_their_own_action() -> None:
    assert f"elasticmapreduce:AddTags arn:aws:elasticmapreduce:{HERE}:cluster/*" in needed(
        "elasticmapreduce:RunJobFlow",
        {"name": "nightly", "tags": [{"key": "team", "value": "web"}]},
    )
    tags = {"CreateBucketConfiguration": {"Tags": {"Tag": {"Key": "team", "Value": "web"}}}}
    assert "s3:TagResource arn:aws:s3:::assets" in needed(
        "s3:CreateBucket", {"bucketName": "assets", **tags}
    )


def test_application_auto_scaling_is_recorded_under_the_source_of_auto_scaling() -> None:
    parameters = {"serviceNamespace": "ecs", "resourceId": "service/web/orders"}
    target = f"arn:aws:application-autoscaling:{HERE}:scalable-target/*"
    assert needed("autoscaling:RegisterScalableTarget", parameters) == {
        f"application-autoscaling:RegisterScalableTarget {target}"
    }
    assert needed("autoscaling:PutScalingPolicy", parameters) == {
        f"application-autoscaling:PutScalingPolicy {target}"
    }
    scaling_needs = needed("autoscaling:PutScalingPolicy", {"autoScalingGroupName": "web"})
    assert {need.partition(" ")[0] for need in scaling_needs} == {"autoscaling:PutScalingPolicy"}


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in table("events")
        if row["kind"] == "rename" and row["match"] == "exact" and row["resource"]
    ],
    ids=lambda row: f"{row['event_name']} {row['resource'].rpartition('::')[2]}",
)
def test_the_resource_that_a_row_gives_fits_its_action(row: dict[str, str]) -> None:
    call = a_call(f"{row['event_source']}:{row['event_name']}", {"restApiId": "a1", "apiId": "a1"})
    assert map_event(call.source, call.name).verdict is Verdict.MAPPED
    for need in needs_of(call).needs:
        assert fits(need.permission.action, need.permission.resource)


@pytest.mark.parametrize(
    ("event", "parameters", "resources"),
    [
        # A key that names a resource of another type.
        ("memorydb:DeleteCluster", {"clusterName": "c"}, ["cluster/c"]),
        ("gamelift:DescribeInstances", {"fleetId": "fleet-22bb-33cc"}, ["fleet/fleet-22bb-33cc"]),
        (
            "gamelift:DescribeInstances",
            {"fleetId": "containerfleet-22bb"},
            ["containerfleet/containerfleet-22bb"],
        ),
        (
            "codepipeline:PutWebhook",
            {"webhook": {"name": "hook", "targetPipeline": "release"}},
            ["release", "webhook:hook"],
        ),
        ("redshift-data:ListTables", {"clusterIdentifier": "c"}, ["cluster:c"]),
        # A type with two forms of its ARN.
        ("lex:DescribeBot", {"botId": "ABCDEFGHIJ"}, ["bot/ABCDEFGHIJ"]),
        # A version that the request does not name.
        ("bedrock:GetPrompt", {"promptIdentifier": "PROMPT12345"}, ["prompt/PROMPT12345"]),
        # What lies below the resource that is named.
        (
            "glue:DeleteDatabase",
            {"name": "sales"},
            ["catalog", "database/sales", "table/sales/*", "userDefinedFunction/sales/*"],
        ),
        ("connect:CreateUseCase", {"instanceId": "i", "integrationAssociationId": "a"}, USE_CASE),
        (
            "comprehend:CreateEndpoint",
            {"endpointName": "e", "modelArn": CLASSIFIER},
            ["document-classifier/spam", "document-classifier-endpoint/e"],
        ),
        (
            "elasticmapreduce:TerminateJobFlows",
            {"jobFlowIds": ["j-2AXXXXXXGAPLF"]},
            ["cluster/j-2AXXXXXXGAPLF"],
        ),
        (
            "imagebuilder:CreateComponent",
            {"name": "c", "semanticVersion": "1.0.0"},
            ["component/c/1.0.0/*"],
        ),
        # Names that AWS compares in lower case for some actions.
        ("sagemaker:DescribeEndpoint", {"endpointName": "Web"}, ["endpoint/Web", "endpoint/web"]),
        ("sagemaker:DescribeEndpoint", {"endpointName": "web"}, ["endpoint/web"]),
        ("codeartifact:DescribePackage", PACKAGE, ["package/d/r/npm/types/node"]),
        (
            "bedrock-agentcore:GetApiKeyCredentialProvider",
            {"name": "k"},
            ["token-vault/default", VAULT],
        ),
    ],
)
def test_a_request_names_its_resources_and_no_others(
    event: str, parameters: dict[str, object], resources: list[str]
) -> None:
    prefix = event.partition(":")[0]
    service = {"redshift-data": "redshift"}.get(prefix, prefix)
    assert needed(event, parameters) == {
        f"{event} arn:aws:{service}:{HERE}:{resource}" for resource in resources
    }


@pytest.mark.parametrize(
    ("event", "parameters", "action", "resource"),
    [
        (
            "CreateTable",
            {"keyspaceName": "shop", "tableName": "orders"},
            "Create",
            "/keyspace/shop/table/orders",
        ),
        ("AlterKeyspace", {"keyspaceName": "shop"}, "Alter", "/keyspace/shop/"),
        (
            "DropTable",
            {"keyspaceName": "shop", "tableName": "orders"},
            "Drop",
            "/keyspace/shop/table/orders",
        ),
        (
            "Insert",
            {"keyspaceName": "shop", "tableName": "orders"},
            "Modify",
            "/keyspace/shop/table/orders",
        ),
    ],
)
def test_statements_of_keyspaces_are_recorded_under_names_that_no_api_has(
    event: str, parameters: dict[str, object], action: str, resource: str
) -> None:
    assert needed(f"cassandra:{event}", parameters) == {
        f"cassandra:{action} arn:aws:cassandra:{HERE}:{resource}"
    }


def test_a_resource_that_is_made_below_another_is_named_by_the_arn_of_that() -> None:
    needs = needed(
        "sso:CreatePermissionSet", {"name": "p", "instanceArn": "arn:aws:sso:::instance/ssoins-1"}
    )
    assert needs == {
        "sso:CreatePermissionSet arn:aws:sso:::instance/ssoins-1",
        "sso:CreatePermissionSet arn:aws:sso:::permissionSet/ssoins-1/*",
    }


def test_the_name_of_what_a_call_makes_below_an_arn_is_literal_where_the_answer_has_it() -> None:
    account = f"arn:aws:personalize:{HERE}"
    needs = needed(
        "personalize:CreateSolution",
        {"name": "books", "datasetGroupArn": f"{account}:dataset-group/shop"},
        {"solutionArn": f"{account}:solution/books"},
    )
    assert needs == {
        f"personalize:CreateSolution {account}:dataset-group/shop",
        f"personalize:CreateSolution {account}:solution/books",
    }


def records_of_services() -> dict[str, list[dict[str, Any]]]:
    """Some records of each of many services, written by hand; AWS's service reference and its ARNs
    decided the needs.
    """
    path = Path(__file__).with_name("records_of_services.jsonl")
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return grouped((record["event"].partition(":")[0], record) for record in records)


@pytest.mark.parametrize(
    "records", [pytest.param(records, id=name) for name, records in records_of_services().items()]
)
def test_a_record_of_any_service_needs_its_action_on_the_resource_that_it_names(
    records: list[dict[str, Any]],
) -> None:
    for record in records:
        assert needs_of_record(record) == {*record["needs"]}, record["event"]


def needs_of_record(record: dict[str, Any]) -> set[str]:
    is_read = record["event"].partition(":")[2].startswith(("Get", "List", "Describe", "BatchGet"))
    optional = {
        key: record[key] for key in ("resources", "error_code", "invoked_by") if key in record
    }
    plain_call = a_call(record["event"], record["parameters"], read_only=is_read, **optional)
    call = structs.replace(plain_call, response=record.get("response", {}))
    permissions = (need.permission for need in needs_of(call).needs)
    return {
        " ".join((permission.action, permission.resource, *services(permission)))
        for permission in permissions
    }


def test_the_number_of_a_version_is_part_of_a_name_and_a_count_is_not() -> None:
    assert needed("lambda:GetLayerVersion", {"layerName": "l", "versionNumber": 3}) == {
        f"lambda:GetLayerVersion arn:aws:lambda:{HERE}:layer:l:3"
    }
    assert needed("ecs:DescribeTasks", {"cluster": "c", "tasks": 3}) == {
        f"ecs:DescribeTasks arn:aws:ecs:{HERE}:task/c/*"
    }


def services(permission: Permission) -> list[str]:
    """Returns the services of `iam:PassedToService`, joined."""
    return [",".join(value for condition in permission.conditions for value in condition.values)][
        : len(permission.conditions)
    ]


@pytest.mark.parametrize(
    "event", ["GetSubscriptionAttributes", "SetSubscriptionAttributes", "Unsubscribe"]
)
def test_a_subscription_is_authorized_on_its_topic_in_the_account_of_the_topic(event: str) -> None:
    topic = "arn:aws:sns:eu-west-1:444455556666:orders"
    needs = needed(
        f"sns:{event}", {"subscriptionArn": f"{topic}:8a21d249-4329-4871-acc6-7be709c6ea7f"}
    )
    assert needs == {f"sns:{event} {topic}"}


def test_a_name_inside_what_a_call_is_about_gives_way_to_the_name_outside() -> None:
    parameters = {"name": "prod", "identityProviderConfig": {"type": "oidc", "name": "login"}}
    assert needed("eks:DescribeIdentityProviderConfig", parameters) == {
        "eks:DescribeIdentityProviderConfig"
        f" arn:aws:eks:{HERE}:identityproviderconfig/prod/oidc/*/*"
    }


@pytest.mark.parametrize(
    ("event", "parameters", "resource"),
    [
        ("mediapackage:DescribeChannel", {"id": "test"}, "channels/*"),
        ("synthetics:GetGroup", {"groupIdentifier": "web"}, "group:*"),
        ("servicecatalog:GetApplication", {"application": "web"}, "/applications/*"),
    ],
)
def test_a_name_that_the_arn_does_not_have_names_nothing(
    event: str, parameters: dict[str, object], resource: str
) -> None:
    assert needed(event, parameters) == {
        f"{event} arn:aws:{event.partition(':')[0]}:{HERE}:{resource}"
    }


@pytest.mark.parametrize(
    ("event", "parameters", "resource"),
    [
        (
            "elasticfilesystem:TagResource",
            {"resourceId": "fs-0abc"},
            f"elasticfilesystem:{HERE}:file-system/fs-0abc",
        ),
        (
            "elasticfilesystem:TagResource",
            {"resourceId": "fsap-1"},
            f"elasticfilesystem:{HERE}:access-point/fsap-1",
        ),
        ("ssm:DescribeInstancePatches", {"instanceId": "i-0abc"}, f"ec2:{HERE}:instance/i-0abc"),
        (
            "ssm:DescribeInstancePatches",
            {"instanceId": "mi-0abc"},
            f"ssm:{HERE}:managed-instance/mi-0abc",
        ),
    ],
)
def test_an_id_of_one_type_leaves_out_the_other_types_of_its_key(
    event: str, parameters: dict[str, object], resource: str
) -> None:
    assert needed(event, parameters) == {f"{event} arn:aws:{resource}"}
