"""One call -> what it needs: events, parameters that change the action, and honest verdicts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Basis
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.mapping import CallNeeds, needs_of
from leastpriv.permissions.resource_types import fits
from tests.fakes.calls import a_call
from tests.fakes.tables import table


def needs(service: str, name: str, parameters: Mapping[str, object] | None = None) -> CallNeeds:
    return needs_of(a_call(f"{service}:{name}", parameters, read_only=None))


def actions(found: CallNeeds) -> list[str]:
    return [need.permission.action for need in found.needs]


@pytest.mark.parametrize(
    ("service", "name", "parameters", "expected"),
    [
        ("s3", "GetObject", {}, "s3:GetObject"),
        ("s3", "GetObject", {"versionId": "v"}, "s3:GetObjectVersion"),
        ("s3", "GetObject", {"VERSIONID": "v"}, "s3:GetObjectVersion"),
        ("s3", "DeleteObject", {"versionId": "v"}, "s3:DeleteObjectVersion"),
        ("s3", "PutObject", {"x-amz-acl": "private"}, "s3:PutObject s3:PutObjectAcl"),
        (
            "s3",
            "PutObject",
            {"x-amz-tagging": "a=b", "x-amz-acl": "p"},
            "s3:PutObject s3:PutObjectAcl s3:PutObjectTagging",
        ),
        ("s3.amazonaws.com.cn", "GetObject", {"versionId": "v"}, "s3:GetObjectVersion"),
        ("s3", "CopyObject", {}, "s3:GetObject s3:PutObject"),
        (
            "s3",
            "CopyObject",
            {"x-amz-tagging": "a=b"},
            "s3:GetObject s3:PutObject s3:PutObjectTagging",
        ),
        (
            "s3",
            "PutObject",
            {"accessControlList": {"x-amz-grant-read": "id=1"}},
            "s3:PutObject s3:PutObjectAcl",
        ),
        ("s3", "CreateBucket", {"x-amz-acl": "private"}, "s3:CreateBucket"),
        ("s3", "CreateBucket", {"x-amz-acl": "public-read"}, "s3:CreateBucket s3:PutBucketAcl"),
        ("s3", "CreateBucket", {"x-amz-bucket-object-lock-enabled": "false"}, "s3:CreateBucket"),
        (
            "s3",
            "CreateBucket",
            {"x-amz-bucket-object-lock-enabled": ["true"]},
            "s3:CreateBucket s3:PutBucketObjectLockConfiguration s3:PutBucketVersioning",
        ),
        (
            "s3",
            "GetObjectAttributes",
            {"versionId": "v"},
            "s3:GetObjectVersion s3:GetObjectVersionAttributes",
        ),
        (
            "s3",
            "DeleteObject",
            {"x-amz-bypass-governance-retention": "true"},
            "s3:BypassGovernanceRetention s3:DeleteObject",
        ),
        (
            "cloudformation",
            "DescribeStacks",
            {},
            "cloudformation:DescribeStacks cloudformation:ListStacks",
        ),
        ("cloudformation", "DescribeStacks", {"stackName": "a"}, "cloudformation:DescribeStacks"),
        (
            "lambda",
            "UpdateFunctionConfiguration20150331v2",
            {"layers": ["arn:aws:lambda:eu-west-1:111122223333:layer:tools:3"]},
            "lambda:GetLayerVersion lambda:UpdateFunctionConfiguration",
        ),
        (
            "bedrock",
            "Converse",
            {"guardrailConfig": {}},
            "bedrock:ApplyGuardrail bedrock:InvokeModel",
        ),
        ("sts", "AssumeRole", {"providedContexts": []}, "sts:AssumeRole sts:SetContext"),
        ("sts", "AssumeRole", {"roleArn": "arn:aws:iam::1:role/x"}, "sts:AssumeRole"),
        (
            "sts",
            "AssumeRole",
            {"tags": [{"key": "a", "value": "b"}]},
            "sts:AssumeRole sts:TagSession",
        ),
        ("sts", "AssumeRole", {"tags": []}, "sts:AssumeRole sts:TagSession"),
        ("sts", "AssumeRole", {"sourceIdentity": "me"}, "sts:AssumeRole sts:SetSourceIdentity"),
        (
            "dynamodb",
            "TransactWriteItems",
            {"transactItems": [{"Put": {}}, {"delete": {}}]},
            "dynamodb:DeleteItem dynamodb:PutItem",
        ),
        (
            "dynamodb",
            "ExecuteStatement",
            {"statement": ' select * FROM "t"'},
            "dynamodb:PartiQLSelect",
        ),
        (
            "dynamodb",
            "BatchExecuteStatement",
            {"statements": [{"statement": "INSERT INTO t"}, {"statement": "DELETE FROM t"}]},
            "dynamodb:PartiQLDelete dynamodb:PartiQLInsert",
        ),
        ("apigateway", "GetStage", {"restApiId": "a", "stageName": "s"}, "apigateway:GET"),
        ("apigateway", "CreateDeployment", {"apiId": "a"}, "apigateway:POST"),
    ],
)
def test_parameters_change_what_a_call_needs(
    service: str, name: str, parameters: dict[str, object], expected: str
) -> None:
    mapped = needs(service, name, parameters)
    assert mapped.verdict is Verdict.MAPPED
    assert sorted(set(actions(mapped))) == sorted(expected.split())
    assert all(need.verified and need.basis is Basis.OBSERVED for need in mapped.needs)


def test_the_two_api_gateway_apis_are_told_apart_by_their_parameters() -> None:
    first = needs("apigateway", "GetStage", {"restApiId": "a", "stageName": "s"})
    second = needs("apigateway", "GetStage", {"apiId": "a", "stageName": "s"})
    assert [need.permission.resource for need in first.needs] == [
        "arn:aws:apigateway:eu-west-1::/restapis/a/stages/s"
    ]
    assert [need.permission.resource for need in second.needs] == [
        "arn:aws:apigateway:eu-west-1::/apis/a/stages/s"
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"transactItems": None},
        {"transactItems": "put"},
        {"transactItems": [1, "put", None, ["put"]]},
        {"transactItems": [{"Frobnicate": {}}]},
    ],
)
def test_a_transaction_whose_items_cannot_be_read_is_unmapped(
    parameters: dict[str, object],
) -> None:
    mapped = needs("dynamodb", "TransactWriteItems", parameters)
    assert (mapped.verdict, mapped.needs) == (Verdict.UNMAPPED, ())


def test_each_item_of_a_transaction_needs_its_own_action_on_its_own_table() -> None:
    transaction = [
        {"put": {"tableName": "orders"}},
        {"delete": {"tableName": "locks"}},
        {"put": {"tableName": "orders"}},
    ]
    needs_of_items = needs("dynamodb", "TransactWriteItems", {"transactItems": transaction}).needs
    table_arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/"
    assert [(need.permission.action, need.permission.resource) for need in needs_of_items] == [
        ("dynamodb:PutItem", f"{table_arn}orders"),
        ("dynamodb:DeleteItem", f"{table_arn}locks"),
    ]


@pytest.mark.parametrize(
    ("statement", "action", "resource"),
    [
        ('SELECT * FROM "orders" WHERE id = ?', "dynamodb:PartiQLSelect", "table/orders"),
        (
            'select a from "orders"."by-date"',
            "dynamodb:PartiQLSelect",
            "table/orders/index/by-date",
        ),
        ("INSERT INTO orders VALUE {'id': 1}", "dynamodb:PartiQLInsert", "table/orders"),
        ("UPDATE 'orders' SET a = 1", "dynamodb:PartiQLUpdate", "table/orders"),
        ("DELETE FROM orders", "dynamodb:PartiQLDelete", "table/orders"),
    ],
)
def test_a_statement_names_its_action_and_its_table(
    statement: str, action: str, resource: str
) -> None:
    needs_of_statement = needs("dynamodb", "ExecuteStatement", {"statement": statement}).needs
    permissions = {
        (need.permission.action, need.permission.resource.partition("111122223333:")[2])
        for need in needs_of_statement
    }
    assert (action, resource) in permissions
    assert {name for name, _ in permissions} == {action}


def test_a_layer_is_the_resource_of_the_right_to_read_it() -> None:
    layer = "arn:aws:lambda:eu-west-1:111122223333:layer:tools:3"
    needs_of_layer = needs(
        "lambda", "CreateFunction20150331", {"functionName": "f", "layers": [layer]}
    ).needs
    assert (layer,) == tuple(
        n.permission.resource
        for n in needs_of_layer
        if n.permission.action == "lambda:GetLayerVersion"
    )


def test_equal_requests_get_equal_answers_and_different_ones_their_own() -> None:
    """Answers are remembered by what they depend on."""
    first, again = (needs("s3", "GetObject", {"bucketName": "b", "key": "k"}) for _ in range(2))
    assert first == again
    assert needs("s3", "GetObject", {"bucketName": "b", "key": "other"}) != first
    assert (
        needs_of(a_call("s3:GetObject", {"bucketName": "b", "key": "k"}, error_code="NoSuchKey"))
        != first
    )
    assert (
        needs_of(a_call("s3:GetObject", {"bucketName": "b", "key": "k"}, partition="aws-cn"))
        != first
    )


def test_a_call_that_needs_no_permission_has_no_needs() -> None:
    assert needs("sts", "GetCallerIdentity") == CallNeeds(Verdict.NO_PERMISSION, "sts")


def test_an_unknown_event_has_no_needs_not_even_inferred_ones() -> None:
    mapped = needs("nosuch", "DoIt", {"roleArn": "arn:aws:iam::111122223333:role/x"})
    assert (mapped.verdict, mapped.needs) == (Verdict.UNMAPPED, ())


def test_an_action_newer_than_the_catalogue_is_a_need_that_is_not_verified() -> None:
    (need,) = needs("s3", "FrobnicateBucket", {"bucketName": "b"}).needs
    assert need.permission.action == "s3:FrobnicateBucket"
    assert not need.verified
    assert not need.exact


def test_inferred_needs_follow_the_observed_ones() -> None:
    mapped = needs(
        "lambda",
        "CreateFunction20150331",
        {"functionName": "f", "role": "arn:aws:iam::111122223333:role/x"},
    )
    assert [(need.permission.action, need.basis) for need in mapped.needs] == [
        ("lambda:CreateFunction", Basis.OBSERVED),
        ("iam:PassRole", Basis.INFERRED),
    ]


EVENTS = sorted(
    {(row["event_source"], row["event_name"]) for row in table("events") if row["match"] == "exact"}
) + [
    (f"{prefix}.amazonaws.com", name.partition(":")[2])
    for prefix in ("ec2", "iam", "rds")
    for name in catalog.actions(prefix)
]
KEYS = st.sampled_from(
    [
        "name",
        "roleArn",
        "versionId",
        "transactItems",
        "statement",
        "resourceArn",
        "bucketName",
        "key",
    ]
)
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=10) | st.just("arn:aws:iam::111122223333:role/x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(EVENTS), st.dictionaries(KEYS, JSON, max_size=4))
def test_no_request_breaks_the_mapping_and_every_need_is_real(
    event: tuple[str, str], parameters: dict[str, object]
) -> None:
    mapped = needs(*event, parameters)
    for need in mapped.needs:
        assert (
            catalog.spelling(need.permission.action) == need.permission.action or not need.verified
        )
        assert fits(need.permission.action, need.permission.resource)
    assert len(set(mapped.needs)) == len(mapped.needs)
