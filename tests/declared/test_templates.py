"""The promises of needs from templates: those of a real minimal policy, no others without cause, on
named resources.
"""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

import pytest

from leastpriv.declared.declarations import changed_resources, read_stack
from leastpriv.declared.models import Declaration, Place, Stack, open_text
from leastpriv.declared.plan import read_plan
from leastpriv.declared.resource_needs import needs_of
from leastpriv.declared.template import read_template
from leastpriv.declared.transforms import MANAGED_BUCKET
from leastpriv.errors import InputError
from leastpriv.models import Condition, Need
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import fits
from leastpriv.permissions.tool_lifecycle import Phase, Tool, type_names

HERE = Path(__file__).parent
PLACE = Place("aws", "123456789012", "us-east-2")
MOST_ACTIONS = 110
READS = 50
LAMBDA = (Condition("StringEquals", "iam:PassedToService", ("lambda.amazonaws.com",)),)


@pytest.fixture(scope="module")
def pipeline() -> Declaration:
    return read_template(
        (HERE / "order-pipeline.yaml").read_bytes(), "order-pipeline.yaml", Stack("orders"), PLACE
    )


def declared(text: str, stack: str = "shop") -> dict[str, set[str]]:
    """Action -> resources of a template."""
    resources_by_action: dict[str, set[str]] = {}
    for need in needs_of(read_template(text.encode(), "t.yaml", Stack(stack), PLACE), PLACE):
        resources_by_action.setdefault(need.permission.action, set()).add(need.permission.resource)
    return resources_by_action


def template(kind: str, properties: str = "{}", more: str = "") -> str:
    return f"Resources:\n  Orders:\n    Type: {kind}\n    Properties: {properties}\n{more}"


def needs(declaration: Declaration, *phases: Phase) -> tuple[Need, ...]:
    return needs_of(declaration.with_phases(*phases), PLACE)


@pytest.mark.parametrize("written", ["{{resolve:ssm:/stage}}", "__STAGE__", "<stage>"])
def test_a_name_that_only_the_deployment_knows_is_open(written: str) -> None:
    needs = declared(template("AWS::SQS::Queue", f'{{QueueName: "orders-{written}"}}'))
    assert needs["sqs:CreateQueue"] == {"arn:aws:sqs:us-east-2:123456789012:orders-*"}


def test_the_minimal_policy_of_a_real_stack_is_covered(pipeline: Declaration) -> None:
    minimal_policy = json.loads((HERE / "order-pipeline.json").read_text())
    create_to_delete = needs(pipeline, Phase.CREATE, Phase.UPDATE, Phase.DELETE)
    assert len(minimal_policy) == 44
    missing = [
        (action, resource)
        for action, resources in minimal_policy.items()
        for resource in resources
        if not any(
            need.permission.action == action and resource_covers(need.permission.resource, resource)
            for need in create_to_delete
        )
    ]
    assert missing == []


def test_what_handlers_read_of_a_real_stack_is_in_the_draft(pipeline: Declaration) -> None:
    """Successful and denied reads of its deployment and deletion: results/ of
    github.com/abefarris/cfn-least-privilege.

    Left out are two that no handler declares, and the description of a key that no property names.
    """
    handler_reads = set(json.loads((HERE / "order-pipeline-reads.json").read_text()))
    assert len(handler_reads) == READS
    assert handler_reads <= {need.permission.action for need in needs_of(pipeline, PLACE)}


def test_a_real_stack_needs_few_further_actions(pipeline: Declaration) -> None:
    create_to_delete = needs(pipeline, Phase.CREATE, Phase.UPDATE, Phase.DELETE)
    assert len({need.permission.action for need in create_to_delete}) <= MOST_ACTIONS


def test_every_declared_resource_fits_its_action(pipeline: Declaration) -> None:
    for need in needs_of(pipeline, PLACE):
        assert catalog.spelling(need.permission.action) == need.permission.action
        assert fits(need.permission.action, need.permission.resource), need


def test_a_role_is_passed_to_the_service_that_its_resource_hands_it_to(
    pipeline: Declaration,
) -> None:
    passed = {
        need.permission.resource.rpartition("/")[2]: need.permission.conditions
        for need in needs_of(pipeline, PLACE)
        if need.permission.action == "iam:PassRole"
    }
    assert passed["order-pipeline-dev-ingest-role"] == LAMBDA
    assert passed["order-pipeline-dev-reconcile-sfn-role"][0].values == ("states.amazonaws.com",)
    assert len(passed) == 4


@pytest.mark.parametrize(
    ("kind", "properties", "action"),
    [
        ("AWS::S3::Bucket", "{CorsConfiguration: {CorsRules: []}}", "s3:PutBucketCORS"),
        (
            "AWS::S3::Bucket",
            "{VersioningConfiguration: {Status: Enabled}}",
            "s3:PutBucketVersioning",
        ),
        ("AWS::Lambda::Function", "{Code: {S3Bucket: b, S3Key: k}}", "s3:GetObject"),
        ("AWS::Lambda::Function", "{Code: src/}", "s3:GetObject"),
        (
            "AWS::Lambda::Function",
            "{KmsKeyArn: 'arn:aws:kms:us-east-2:123456789012:key/1'}",
            "kms:Decrypt",
        ),
        (
            "AWS::Lambda::Function",
            "{ReservedConcurrentExecutions: 5}",
            "lambda:PutFunctionConcurrency",
        ),
        (
            "AWS::Lambda::Function",
            "{VpcConfig: {SecurityGroupIds: [sg-1]}}",
            "ec2:DescribeSecurityGroups",
        ),
        (
            "AWS::DynamoDB::Table",
            "{TimeToLiveSpecification: {Enabled: true}}",
            "dynamodb:UpdateTimeToLive",
        ),
        ("AWS::SQS::Queue", "{Tags: [{Key: a, Value: b}]}", "sqs:TagQueue"),
        (
            "AWS::IAM::Role",
            "{ManagedPolicyArns: ['arn:aws:iam::aws:policy/X']}",
            "iam:AttachRolePolicy",
        ),
        (
            "AWS::IAM::Role",
            "{Policies: [{PolicyName: p, PolicyDocument: {}}]}",
            "iam:GetRolePolicy",
        ),
        ("AWS::Lambda::Function", "{Tags: [{Key: a, Value: b}]}", "lambda:TagResource"),
        (
            "AWS::Lambda::Function",
            "{Layers: ['arn:aws:lambda:us-east-2:123456789012:layer:l:1']}",
            "lambda:GetLayerVersion",
        ),
        ("AWS::S3::Bucket", "{AccessControl: Private}", "s3:GetBucketAcl"),
        (
            "AWS::Logs::LogGroup",
            "{DataProtectionPolicy: {Name: p}}",
            "logs:GetDataProtectionPolicy",
        ),
    ],
)
def test_a_property_that_is_not_set_needs_no_permission_of_its_own(
    kind: str, properties: str, action: str
) -> None:
    assert action in declared(template(kind, properties))
    assert action not in declared(template(kind))


def test_no_property_asks_for_items_of_a_table_or_replicas() -> None:
    needs = declared(template("AWS::DynamoDB::Table", "{TableName: orders}"))
    assert "dynamodb:CreateTable" in needs
    assert {
        "dynamodb:PutItem",
        "dynamodb:Scan",
        "dynamodb:CreateTableReplica",
        "logs:PutLogEvents",
    }.isdisjoint(needs)


def test_a_resource_without_a_name_has_the_pattern_of_the_names_that_cloudformation_makes() -> None:
    assert declared(template("AWS::SQS::Queue"))["sqs:CreateQueue"] == {
        "arn:aws:sqs:us-east-2:123456789012:shop-Orders-*"
    }
    assert declared(template("AWS::S3::Bucket"))["s3:CreateBucket"] == {
        "arn:aws:s3:::shop-orders-*"
    }


@pytest.mark.parametrize(
    ("kind", "action", "name"),
    [
        (
            "AWS::SSM::Parameter",
            "ssm:PutParameter",
            "ssm:us-east-2:123456789012:parameter/CFN-Orders-*",
        ),
        (
            "AWS::ECR::Repository",
            "ecr:CreateRepository",
            "ecr:us-east-2:123456789012:repository/shop-orders-*",
        ),
        (
            "AWS::SecretsManager::Secret",
            "secretsmanager:CreateSecret",
            "secretsmanager:us-east-2:123456789012:secret:*Orders-*-*",
        ),
    ],
)
def test_names_that_cloudformation_makes_otherwise_are_known(
    kind: str, action: str, name: str
) -> None:
    assert declared(template(kind))[action] == {f"arn:aws:{name}"}


def test_a_name_that_is_cut_has_the_beginning_of_the_stacks() -> None:
    stack = "a-very-long-name-of-a-stack-in-production-of-a-shop"
    needs = declared(template("AWS::IAM::Role"), stack)
    assert needs["iam:CreateRole"] == {"arn:aws:iam::123456789012:role/a-very-long-name-of-a-st*"}
    needs = declared(template("AWS::ElasticLoadBalancingV2::TargetGroup"), stack)
    assert needs["elasticloadbalancing:CreateTargetGroup"] == {
        "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/a-ver*/*"
    }


def test_a_resource_that_aws_names_has_the_pattern_of_its_type() -> None:
    needs = declared(template("AWS::KMS::Key", "{KeyPolicy: {Statement: []}}"))
    assert needs["kms:PutKeyPolicy"] == {"arn:aws:kms:us-east-2:123456789012:key/*"}


def test_a_role_under_a_path_is_named_with_it() -> None:
    needs = declared(template("AWS::IAM::Role", "{RoleName: worker, Path: /app/}"))
    assert needs["iam:CreateRole"] == {"arn:aws:iam::123456789012:role/app/worker"}


def test_a_condition_that_the_defaults_decide_leaves_its_resource_out() -> None:
    text = (
        "Parameters: {Mail: {Type: String, Default: ''}}\nConditions: {HasMail: !Not [!Equals [!Ref"
        " Mail, '']]}\nResources:\n  Topic: {Type: 'AWS::SNS::Topic'}\n  Mailing: {Type:"
        " 'AWS::SNS::Subscription', Condition: HasMail, Properties: {TopicArn: !Ref Topic}}\n"
    )
    assert "sns:Subscribe" not in declared(text)
    assert "sns:Subscribe" in declared(text.replace("Default: ''", "Default: a@example.org"))


def test_a_policy_of_a_queue_is_set_on_the_queue_that_it_refers_to() -> None:
    text = (
        "Resources:\n  Queue: {Type: 'AWS::SQS::Queue', Properties: {QueueName: orders}}\n  Policy:"
        " {Type: 'AWS::SQS::QueuePolicy', Properties: {Queues: [!Ref Queue], PolicyDocument: {}}}\n"
    )
    assert declared(text)["sqs:SetQueueAttributes"] == {"arn:aws:sqs:us-east-2:123456789012:orders"}


def test_a_type_that_no_table_has_is_named(pipeline: Declaration) -> None:
    declaration = read_template(
        template("Acme::Mail::Box").encode(), "t.yaml", Stack("shop"), PLACE
    )
    assert [*declaration.unknown] == ["Acme::Mail::Box"]
    assert not pipeline.unknown


def test_a_canned_acl_and_an_object_lock_ask_for_their_permissions_at_the_creation() -> None:
    bucket = "{{BucketName: logs, AccessControl: {}, ObjectLockEnabled: {}}}"
    needs = declared(template("AWS::S3::Bucket", bucket.format("LogDeliveryWrite", "true")))
    assert needs["s3:PutBucketAcl"] == needs["s3:PutBucketVersioning"] == {"arn:aws:s3:::logs"}
    plain = declared(template("AWS::S3::Bucket", bucket.format("Private", "false")))
    assert {"s3:PutBucketAcl", "s3:PutBucketVersioning"}.isdisjoint(plain)


def test_a_function_at_the_edge_is_named_with_what_a_person_writes() -> None:
    function = "arn:aws:lambda:us-east-1:123456789012:function:edge:1"
    behavior = f"{{LambdaFunctionAssociations: [{{LambdaFunctionARN: '{function}'}}]}}"
    text = template(
        "AWS::CloudFront::Distribution",
        f"{{DistributionConfig: {{DefaultCacheBehavior: {behavior}}}}}",
    )
    declaration = read_template(text.encode(), "t.yaml", Stack("shop"), PLACE)
    assert "lambda:EnableReplication*" in declaration.unknown["the function at the edge"]
    without = template("AWS::CloudFront::Distribution", "{DistributionConfig: {Enabled: true}}")
    assert not read_template(without.encode(), "t.yaml", Stack("shop"), PLACE).unknown


@pytest.mark.parametrize("kind", ["Api", "HttpApi"])
def test_an_api_whose_definition_another_transform_reads_is_expanded(kind: str) -> None:
    included = "{'Fn::Transform': {Name: 'AWS::Include', Parameters: {Location: api.yaml}}}"
    text = "Transform: AWS::Serverless-2016-10-31\n" + template(
        f"AWS::Serverless::{kind}", f"{{StageName: v1, DefinitionBody: {included}}}"
    )
    declaration = read_stack(
        "shop=t.yaml", lambda path: text.encode() if path == "t.yaml" else None, PLACE
    )
    assert "apigateway:POST" in {need.permission.action for need in needs_of(declaration, PLACE)}
    assert [*declaration.unknown] == ["transform AWS::Include"]


@pytest.mark.parametrize(
    ("application", "arn"),
    [
        (
            "'arn:aws:serverlessrepo:us-east-1:464622532012:applications/Datadog-Log'",
            "arn:aws:serverlessrepo:us-east-1:464622532012:applications/Datadog-Log",
        ),
        ("!Ref Application", "arn:aws:serverlessrepo:*:*:applications/*"),
    ],
)
def test_a_published_application_is_asked_for_and_its_template_is_not_known(
    application: str, arn: str
) -> None:
    location = f"{{ApplicationId: {application}, SemanticVersion: 1.0.0}}"
    text = "Transform: AWS::Serverless-2016-10-31\nParameters: {Application: {Type: String}}\n"
    text += template("AWS::Serverless::Application", f"{{Location: {location}}}")
    declaration = read_stack(
        "shop=t.yaml", lambda path: text.encode() if path == "t.yaml" else None, PLACE
    )
    needs = {
        read_call.permission.action: read_call.permission.resource
        for read_call in declaration.reads
    }
    assert needs["serverlessrepo:CreateCloudFormationTemplate"] == arn
    assert needs["serverlessrepo:GetCloudFormationTemplate"] == arn
    assert needs["s3:GetObject"].startswith("arn:aws:s3:::awsserverlessrepo-changesets-*")
    assert "cloudformation:CreateStack" in {
        need.permission.action for need in needs_of(declaration, PLACE)
    }
    assert [*declaration.unknown.values()] == ["its template is a published application's"]


def test_what_the_handlers_list_of_other_services_is_needed() -> None:
    domain = declared(template("AWS::Amplify::Domain", "{AppId: d1, DomainName: shop.example}"))
    assert "route53:ChangeResourceRecordSets" in domain
    assert "logs:CreateLogGroup" in declared(template("AWS::Deadline::Queue", "{FarmId: f}"))


@pytest.mark.parametrize(("mode", "asks"), [("regional", True), ("zonal", False)])
def test_a_regional_nat_gateway_makes_its_service_linked_role(mode: str, asks: bool) -> None:
    needs = declared(template("AWS::EC2::NatGateway", f"{{AvailabilityMode: {mode}}}"))
    assert ("iam:CreateServiceLinkedRole" in needs) == asks


def test_a_template_of_sam_is_expanded_and_uploaded() -> None:
    text = (
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  Worker:\n    Type:"
        " AWS::Serverless::Function\n    Properties: {CodeUri: src/, Handler: a.b, Runtime:"
        " python3.12}\n"
    )
    config = b'[default.deploy.parameters]\nstack_name = "orders"\n'
    files = {"app/template.yaml": text.encode(), "app/samconfig.toml": config}
    needs_of_stack = needs_of(read_stack("app/template.yaml", files.get, PLACE), PLACE)
    resources = {need.permission.action: need.permission.resource for need in needs_of_stack}
    assert (
        resources["lambda:CreateFunction"]
        == "arn:aws:lambda:us-east-2:123456789012:function:orders-Worker-*"
    )
    assert resources["iam:PassRole"] == "arn:aws:iam::123456789012:role/orders-WorkerRole-*"
    assert (
        resources["cloudformation:ExecuteChangeSet"]
        == "arn:aws:cloudformation:us-east-2:123456789012:stack/orders/*"
    )
    assert (
        resources["cloudformation:GetTemplateSummary"]
        == resources["cloudformation:ExecuteChangeSet"]
    )
    assert "aws-sam-cli-managed-default" in resources["s3:PutObject"]


@pytest.mark.parametrize(
    "text",
    [
        "{Handler: a.b, Runtime: python3.12}",
        "{Handler: a.b, Runtime: python3.12, CodeUri: !Ref Code}",
        "{}\nGlobals: {Function: {CodeUri: ./src, Handler: a.b, Runtime: python3.12}}",
    ],
)
def test_code_that_sam_uploads_is_read_whatever_names_its_folder(text: str) -> None:
    """Without a path it is the folder of the template."""
    head = "Transform: AWS::Serverless-2016-10-31\nParameters: {Code: {Type: String}}\n"
    needs = declared(head + template("AWS::Serverless::Function", text))
    assert {"lambda:CreateFunction", "s3:GetObject", "iam:PassRole"} <= {*needs}


SAM = "Transform: AWS::Serverless-2016-10-31\n"
PLACES = (
    "Parameters:\n"
    "  Code: {Type: String, Default: 's3://acme-artifacts/f.zip'}\n"
    "  Bucket: {Type: String, Default: acme-artifacts}\n"
    "  Folder: {Type: String, Default: ./src}\n"
    "  Stage: {Type: String}\n"
    "Conditions: {IsLive: !Equals [!Ref Stage, live]}\n"
)


def code_of(text: str, **parameters: str) -> set[str]:
    """Where the code of the functions and layers of a template is."""
    stack = Stack("shop", parameters=parameters)
    declaration = read_template(text.encode(), "t.yaml", stack, PLACE)
    objects = set()
    for resource in declaration.resources:
        code = resource.properties.get("Code") or resource.properties.get("Content")
        if isinstance(code, dict):
            objects.add(f"{open_text(code['S3Bucket'])}/{open_text(code['S3Key'])}")
    return objects


UPLOADED = f"{MANAGED_BUCKET}/*"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("s3://acme-artifacts/f.zip", {"acme-artifacts/f.zip"}),
        ("!Ref Code", {"acme-artifacts/f.zip"}),
        ("!Sub '${Code}?versionId=1'", {"acme-artifacts/f.zip"}),
        ("!Sub 's3://${Bucket}/a*.zip'", {"acme-artifacts/a${*}.zip"}),
        ("!Sub 's3://${Bucket}/${Stage}/f.zip'", {"acme-artifacts/*/f.zip"}),
        ("!Join ['', ['s3://', !Ref Bucket, /f.zip]]", {"acme-artifacts/f.zip"}),
        (
            "!If [IsLive, 's3://acme-live/f.zip', !Ref Code]",
            {"acme-live/f.zip", "acme-artifacts/f.zip"},
        ),
        ("!If [IsLive, 's3://acme-live/f.zip', ./src]", {"acme-live/f.zip", UPLOADED}),
        ("{Bucket: !Ref Bucket, Key: f.zip}", {"acme-artifacts/f.zip"}),
        ("./src", {UPLOADED}),
        ("!Ref Folder", {UPLOADED}),
        ("!Ref Stage", {UPLOADED}),
    ],
)
@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("Function", "{Handler: a.b, Runtime: python3.12, CodeUri: CODE}"),
        ("LayerVersion", "{ContentUri: CODE}"),
    ],
)
def test_code_is_where_its_value_says(
    kind: str, properties: str, code: str, expected: set[str]
) -> None:
    text = template(f"AWS::Serverless::{kind}", properties.replace("CODE", code))
    assert code_of(SAM + PLACES + text) == expected


def test_a_given_value_comes_before_the_default_of_a_parameter() -> None:
    text = template("AWS::Serverless::LayerVersion", "{ContentUri: !Ref Code}")
    assert code_of(SAM + PLACES + text, Code="s3://acme-given/g.zip") == {"acme-given/g.zip"}


@pytest.mark.parametrize("kind", ["Api", "HttpApi", "StateMachine", "GraphQLApi"])
def test_a_definition_is_named_by_a_function(kind: str) -> None:
    key = "SchemaUri" if kind == "GraphQLApi" else "DefinitionUri"
    further_properties = {"Api": ", StageName: v1", "GraphQLApi": ", Auth: {Type: AWS_IAM}"}.get(
        kind, ""
    )
    text = template(f"AWS::Serverless::{kind}", f"{{{key}: !Ref Code{further_properties}}}")
    declaration = read_template((SAM + PLACES + text).encode(), "t.yaml", Stack("shop"), PLACE)
    assert "acme-artifacts" in str([resource.properties for resource in declaration.resources])


def test_a_nested_application_is_named_by_a_function() -> None:
    text = template("AWS::Serverless::Application", "{Location: !Ref Inner}")
    head = SAM + "Parameters: {Inner: {Type: String, Default: inner.yaml}}\n"
    inner = template("AWS::SQS::Queue", "{QueueName: inner}")
    files = {"t.yaml": (head + text).encode(), "inner.yaml": inner.encode()}
    declaration = read_stack("shop=t.yaml", files.get, PLACE)
    assert "inner" in {resource.name for resource in declaration.resources}


def test_loops_are_expanded_before_the_transform_of_sam() -> None:
    text = """Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Parameters: {Stage: {Type: String}}
Resources:
  'Fn::ForEach::Topics':
    - X
    - [a, b]
    - 'Topic${X}': {Type: AWS::SNS::Topic, Properties: {TopicName: !Sub 't-${X}'}}
  'Fn::ForEach::Functions':
    - Y
    - [c, d]
    - 'F${Y}':
        Type: AWS::Serverless::Function
        Properties:
          FunctionName: !Sub 'f-${Y}'
          CodeUri: !Sub 's3://acme-${Y}/f.zip'
          Handler: a.b
          Runtime: python3.12
  'Fn::ForEach::Unknown':
    - Z
    - [!Ref Stage]
    - 'G${Z}':
        Type: AWS::Serverless::Function
        Properties: {CodeUri: ./x, Handler: a.b, Runtime: python3.12}
Outputs:
  'Fn::ForEach::Names':
    - X
    - [a, b]
    - 'Name${X}': {Value: !Ref 'Topic${X}'}
"""
    declaration = read_template(text.encode(), "t.yaml", Stack("shop"), PLACE)
    assert {
        resource.name
        for resource in declaration.resources
        if resource.kind.name == "AWS::SNS::Topic"
    } == {
        "t-a",
        "t-b",
    }
    functions = {
        resource.name
        for resource in declaration.resources
        if resource.kind.name == "AWS::Lambda::Function"
    }
    assert functions == {"f-c", "f-d"}
    assert declaration.unknown == {"G${Z}": "only the deployment knows the items of its loop"}
    assert code_of(text) == {"acme-c/f.zip", "acme-d/f.zip"}


@pytest.mark.parametrize(
    ("config", "repository"),
    [
        (None, "*"),
        (b"[default.deploy.parameters]\nimage_repository = '1.dkr.ecr.x/shop'\n", "shop"),
    ],
)
def test_an_image_that_sam_builds_is_pushed_and_read(config: bytes | None, repository: str) -> None:
    text = "Transform: AWS::Serverless-2016-10-31\n" + template(
        "AWS::Serverless::Function",
        "{PackageType: Image}",
        "    Metadata: {Dockerfile: Dockerfile}\n",
    )
    files = {"t.yaml": text.encode(), "samconfig.toml": config}
    resources_by_action: dict[str, set[str]] = {}
    for need in needs_of(read_stack("shop=t.yaml", files.get, PLACE), PLACE):
        resources_by_action.setdefault(need.permission.action, set()).add(need.permission.resource)
    assert resources_by_action["ecr:PutImage"] == {
        f"arn:aws:ecr:us-east-2:123456789012:repository/{repository}"
    }
    assert "ecr:BatchGetImage" in resources_by_action


def test_a_configuration_of_sam_names_the_bucket_of_the_files_and_tags_the_stack() -> None:
    text = (
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  Worker:\n    Type:"
        " AWS::Serverless::Function\n"
    )
    text += "    Properties: {CodeUri: src/, Handler: a.b, Runtime: python3.12}\n"
    config = (
        b'[default.deploy.parameters]\nstack_name = "orders"\ns3_bucket = "uploads"\ns3_prefix ='
        b' "in"\ntags = "a=b"\n'
    )
    files = {"template.yaml": text.encode(), "samconfig.toml": config}
    needs_of_stack = needs_of(read_stack("template.yaml", files.get, PLACE), PLACE)
    permissions = {(need.permission.action, need.permission.resource) for need in needs_of_stack}
    assert {resource for action, resource in permissions if action == "s3:PutObject"} == {
        "arn:aws:s3:::uploads/in/*"
    }
    assert all(
        resource.startswith("arn:aws:s3:::uploads/")
        for action, resource in permissions
        if action == "s3:GetObject"
    )
    assert ("iam:TagRole", "arn:aws:iam::123456789012:role/orders-WorkerRole-*") in permissions
    later = needs(read_stack("template.yaml", files.get, PLACE), Phase.DELETE)
    assert "arn:aws:s3:::uploads/in/*" in {
        n.permission.resource for n in later if n.permission.action == "s3:DeleteObject"
    }


def test_what_cloudformation_reads_for_a_template_is_needed_by_name() -> None:
    text = (
        "Parameters:\n  Vpc: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /shared/vpc}\n "
        " Image: {Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', Default:"
        " /aws/service/ami/x}\n  Plain: {Type: AWS::SSM::Parameter::Name, Default: /not/read}\n"
        + template(
            "AWS::Lambda::Function",
            "{Description: '{{resolve:ssm:/shared/level:3}}', Handler:"
            " '{{resolve:secretsmanager:db:SecretString:h}}'}",
        )
    )
    needs = declared(text)
    region = "arn:aws:ssm:us-east-2"
    assert needs["ssm:GetParameters"] == {
        f"{region}:123456789012:parameter/shared/vpc",
        f"{region}::parameter/aws/service/ami/x",
        f"{region}:123456789012:parameter/shared/level",
    }
    assert needs["secretsmanager:GetSecretValue"] == {
        "arn:aws:secretsmanager:us-east-2:123456789012:secret:db-*"
    }


def test_a_permission_on_an_alias_names_its_function() -> None:
    alias = (
        "  Live: {Type: AWS::Lambda::Alias, Properties: {Name: live, FunctionName: shop,"
        " FunctionVersion: 1}}\n"
    )
    call = "{FunctionName: !Ref Live, Action: lambda:InvokeFunction, Principal: s3.amazonaws.com}"
    functions = declared(template("AWS::Lambda::Permission", call, alias))["lambda:AddPermission"]
    function = "arn:aws:lambda:us-east-2:123456789012:function:shop"
    assert functions == {function, f"{function}:*"}


def test_a_local_path_of_code_stands_for_its_place_in_s3_alone() -> None:
    needs = declared(template("AWS::Lambda::Function", "{Code: src/}"))
    assert needs.keys().isdisjoint(("kms:Decrypt", "s3:GetObjectVersion", "lambda:GetLayerVersion"))


def test_a_nested_template_is_read_with_the_names_of_its_stack() -> None:
    files = {
        "t.yaml": template("AWS::CloudFormation::Stack", "{TemplateURL: inner.yaml}").encode(),
        "inner.yaml": template("AWS::SQS::Queue").encode(),
    }
    resources = {
        need.permission.resource
        for need in needs_of(read_stack("shop=t.yaml", files.get, PLACE), PLACE)
    }
    assert "arn:aws:sqs:us-east-2:123456789012:shop-Orders-*-Orders-*" in resources


@pytest.mark.parametrize(
    ("given", "name"),
    [("2", "jobs-2"), ("'2'", "jobs-2"), ("true", "jobs-true"), ("[a]", "jobs-*")],
)
def test_a_nested_template_has_the_given_value_of_a_parameter_and_not_its_default(
    given: str, name: str
) -> None:
    """YAML reads a number or a switch without quotes as no text."""
    properties = f"{{TemplateURL: inner.yaml, Parameters: {{Suffix: {given}}}}}"
    inner = template("AWS::SQS::Queue", "{QueueName: !Sub 'jobs-${Suffix}'}")
    files = {
        "t.yaml": template("AWS::CloudFormation::Stack", properties).encode(),
        "inner.yaml": f"Parameters: {{Suffix: {{Type: String, Default: one}}}}\n{inner}".encode(),
    }
    resources = {
        need.permission.resource
        for need in needs_of(read_stack("shop=t.yaml", files.get, PLACE), PLACE)
        if need.permission.action == "sqs:CreateQueue"
    }
    assert resources == {f"arn:aws:sqs:us-east-2:123456789012:{name}"}


@pytest.mark.parametrize(
    "values",
    [
        {"Suffix": True},
        {"Parameters": {"Suffix": True}},
        [{"ParameterKey": "Suffix", "ParameterValue": True}],
    ],
)
def test_a_switch_in_a_file_of_parameters_is_the_text_that_cloudformation_compares(
    values: object,
) -> None:
    text = (
        "Parameters: {Suffix: {Type: String, Default: one}}\n"
        "Conditions: {On: !Equals [!Ref Suffix, 'true']}\n"
        "Resources: {Jobs: {Type: AWS::SQS::Queue, Condition: On}}\n"
    )
    files = {"t.yaml": text.encode(), "p.json": json.dumps(values).encode()}
    read = read_stack("shop=t.yaml?p.json", files.get, PLACE)
    assert [resource.address for resource in read.resources] == ["Jobs"]


@pytest.mark.parametrize("raw", [b"[", b"a: b", b'{"Resources": []}', b"Resources: {A: [}"])
def test_what_is_no_template_is_bad_input(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"t\.yaml"):
        read_template(raw, "t.yaml", Stack(), PLACE)


def test_names_that_refer_to_each_other_are_unknown() -> None:
    text = (
        "Conditions: {A: !Not [Condition: A]}\nResources:\n  One: {Type: 'AWS::SQS::Queue',"
        " Condition: A, Properties: {QueueName: !Sub '${Two.QueueName}-x'}}\n  Two: {Type:"
        " 'AWS::SQS::Queue', Properties: {QueueName: !Sub '${One.QueueName}-y'}}\n"
    )
    queues = {name.rpartition(":")[2] for name in declared(text)["sqs:CreateQueue"]}
    assert all(queue.startswith("*-") for queue in queues)
    read = read_template(text.encode(), "t.yaml", Stack("shop"), PLACE)
    assert "Two -> One -> Two is a cycle" in read.unknown.values()


def test_arns_that_refer_to_each_other_are_unknown() -> None:
    service = (
        "Type: 'AWS::ECS::Service', Properties: {ServiceName: web, Cluster: !GetAtt"
        " Other.ServiceArn}"
    )
    first_service, second_service = (
        service.replace("Other", other_name) for other_name in ("Two", "Orders")
    )
    text = f"Resources:\n  Orders: {{{first_service}}}\n  Two: {{{second_service}}}\n"
    assert declared(text)["ecs:CreateService"] == {
        "arn:aws:ecs:us-east-2:123456789012:service/*/web"
    }


@pytest.mark.parametrize(
    "properties",
    [
        "{QueueName: !GetAtt Orders.Arn}",
        "{QueueName: {'Fn::Select': [9, [a]]}}",
        "{QueueName: {'Fn::FindInMap': [A, B, C]}}",
        "{QueueName: {'Fn::If': [None, a]}}",
        "{QueueName: {'Fn::Join': [x]}, Tags: {'Fn::Transform': {Name: X}}}",
        "[a, b]",
        "text",
    ],
)
def test_odd_properties_end_no_reading(properties: str) -> None:
    assert "sqs:CreateQueue" in declared(template("AWS::SQS::Queue", properties))


def test_an_instance_needs_every_resource_that_its_start_takes() -> None:
    needs = declared(template("AWS::EC2::Instance", "{ImageId: ami-1, SubnetId: subnet-1}"))
    kinds = {name.split(":")[-1].split("/")[0] for name in needs["ec2:RunInstances"]}
    assert {"image", "instance", "network-interface", "security-group", "subnet", "volume"} <= kinds


def test_an_instance_passes_the_role_of_its_profile() -> None:
    text = (
        "Resources:\n  Server: {Type: 'AWS::EC2::Instance', Properties: {ImageId: ami-1,"
        " IamInstanceProfile: !Ref Profile}}\n  Profile: {Type: 'AWS::IAM::InstanceProfile',"
        " Properties: {Roles: [!Ref Role]}}\n  Role: {Type: 'AWS::IAM::Role', Properties:"
        " {RoleName: web, AssumeRolePolicyDocument: {}}}\n"
    )
    assert declared(text)["iam:PassRole"] == {"arn:aws:iam::123456789012:role/web"}


def test_a_missing_template_is_bad_input() -> None:
    with pytest.raises(InputError, match="which is no file"):
        read_stack("shop=none.yaml", lambda _: None, PLACE)


@pytest.mark.parametrize(
    ("kind", "properties", "action", "resources"),
    [
        ("AWS::Cognito::UserPool", "{UserPoolName: users}", "cognito-idp:DeleteUserPool", ["cognito-idp::userpool/*"]),
        ("AWS::ElastiCache::ReplicationGroup", "{ReplicationGroupId: web}", "elasticache:DeleteReplicationGroup",
         ["elasticache::replicationgroup:web"]),
        ("AWS::AppRunner::Service", "{ServiceName: web}", "apprunner:DeleteService", ["apprunner::service/web/*"]),
        ("AWS::CloudWatch::Alarm", "{AlarmName: full}", "cloudwatch:TagResource", ["cloudwatch::alarm:full"]),
        ("AWS::ECS::TaskDefinition", "{Family: web}", "ecs:RegisterTaskDefinition", ["ecs::task-definition/web:*"]),
        ("AWS::Glue::Database", "{DatabaseInput: {Name: sales}}", "glue:CreateDatabase",
         ["glue::database/sales", "glue::catalog"]),
        ("AWS::ElasticLoadBalancingV2::LoadBalancer", "{Name: web}", "elasticloadbalancing:CreateLoadBalancer",
         ["elasticloadbalancing::loadbalancer/app/web/*"]),
        ("AWS::ElasticLoadBalancingV2::LoadBalancer", "{Name: web, Type: network}",
         "elasticloadbalancing:CreateLoadBalancer", ["elasticloadbalancing::loadbalancer/net/web/*"]),
        ("AWS::Events::Rule", "{Name: paid, EventBusName: shop}", "events:PutRule", ["events::rule/shop/paid"]),
        ("AWS::Scheduler::Schedule", "{Name: nightly}", "scheduler:CreateSchedule",
         ["scheduler::schedule/default/nightly"]),
        ("AWS::RDS::DBSubnetGroup", "{DBSubnetGroupName: web}", "rds:AddTagsToResource", ["rds::subgrp:web"]),
        ("AWS::Kinesis::Stream", "{StreamEncryption: {KeyId: alias/own}}", "kinesis:StartStreamEncryption",
         ["kinesis::stream/shop-Orders-*", "kms::key/*"]),
        ("AWS::EC2::SecurityGroup", "{VpcId: vpc-1}", "ec2:CreateSecurityGroup",
         ["ec2::security-group/*", "ec2::vpc/vpc-1"]),
        ("AWS::OpenSearchService::Domain", "{DomainName: web}", "es:AddTags", ["es::domain/web"]),
        ("AWS::EC2::EIP", "{Tags: [{Key: a, Value: b}]}", "ec2:CreateTags", ["ec2::elastic-ip/*"]),
        ("AWS::EC2::TransitGatewayPeeringAttachment", "{Tags: [{Key: a, Value: b}]}", "ec2:CreateTags",
         ["ec2::transit-gateway-attachment/*"]),
    ],
)  # fmt: skip
def test_an_action_is_needed_on_the_resource_itself(
    kind: str, properties: str, action: str, resources: list[str]
) -> None:
    arns = {"arn:aws:" + arn.replace("::", ":us-east-2:123456789012:") for arn in resources}
    assert declared(template(kind, properties))[action] == arns


def test_an_http_api_needs_its_own_paths_of_api_gateway() -> None:
    route = (
        "  Route: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Orders, RouteKey: GET"
        " /}}\n"
    )
    needs = declared(template("AWS::ApiGatewayV2::Api", "{Name: web, ProtocolType: HTTP}", route))
    assert needs["apigateway:POST"] == {
        f"arn:aws:apigateway:us-east-2::/apis{path}" for path in ("", "/*/routes")
    }
    assert all(
        arn.startswith("arn:aws:apigateway:us-east-2::/apis/") for arn in needs["apigateway:DELETE"]
    )
    needs_of_rest_api = declared(template("AWS::ApiGateway::RestApi", "{Name: web}"))
    assert needs_of_rest_api["apigateway:POST"] == {"arn:aws:apigateway:us-east-2::/restapis"}


def test_a_type_without_handlers_needs_what_terraform_calls_for_it() -> None:
    role = "  Role: {Type: AWS::IAM::Role, Properties: {RoleName: build}}\n"
    needs = declared(
        template("AWS::CodeBuild::Project", "{Name: web, ServiceRole: !GetAtt Role.Arn}", role)
    )
    assert needs["codebuild:CreateProject"] == {
        "arn:aws:codebuild:us-east-2:123456789012:project/web"
    }
    assert needs["iam:PassRole"] == {"arn:aws:iam::123456789012:role/build"}


def test_a_role_below_another_property_is_passed_and_one_in_a_variable_of_a_function_is_not() -> (
    None
):
    role = "  Role: {Type: AWS::IAM::Role, Properties: {RoleName: caller}}\n"
    method = "{HttpMethod: GET, Integration: {Type: AWS, Credentials: !GetAtt Role.Arn}}"
    assert "iam:PassRole" in declared(template("AWS::ApiGateway::Method", method, role))
    variables = "{Environment: {Variables: {CALLER_ROLE: !GetAtt Role.Arn}}}"
    assert "iam:PassRole" not in declared(template("AWS::Lambda::Function", variables, role))


def test_a_custom_resource_needs_the_call_of_its_provider() -> None:
    provider = "arn:aws:lambda:us-east-2:123456789012:function:seed"
    text = template("Custom::Seed", f"{{ServiceToken: '{provider}'}}")
    assert declared(text)["lambda:InvokeFunction"] == {provider}
    assert not read_template(text.encode(), "t.yaml", Stack("shop"), PLACE).unknown
    function = "  Fn: {Type: AWS::Lambda::Function, Properties: {FunctionName: own}}\n"
    needs = declared(
        template("AWS::CloudFormation::CustomResource", "{ServiceToken: !GetAtt Fn.Arn}", function)
    )
    assert needs["lambda:InvokeFunction"] == {"arn:aws:lambda:us-east-2:123456789012:function:own"}


def test_a_password_that_rds_keeps_needs_a_secret() -> None:
    needs = declared(template("AWS::RDS::DBInstance", "{ManageMasterUserPassword: true}"))
    assert {"secretsmanager:CreateSecret", "kms:DescribeKey"} <= set(needs)
    assert "secretsmanager:CreateSecret" not in declared(template("AWS::RDS::DBInstance"))


@pytest.mark.parametrize("levels", [900, 100_000])
def test_a_template_that_is_nested_too_deep_is_bad_input(levels: int) -> None:
    name = '{"Fn::Join": ["", [' * levels + '"x"' + "]]}" * levels
    raw = (
        '{"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName":'
        f" {name}}}}}}}}}"
    )
    with pytest.raises(InputError, match="x cannot be read as a template"):
        read_template(raw.encode(), "x", Stack("orders"), PLACE)


@pytest.mark.parametrize(
    "changes", ["[" * 100_000 + "]" * 100_000, "[[]]", '["x"]', '[{"type": "aws_x", "change": []}]']
)
def test_a_plan_of_other_types_is_bad_input(changes: str) -> None:
    with pytest.raises(InputError, match="x is no "):
        read_plan(f'{{"planned_values": {{}}, "resource_changes": {changes}}}'.encode(), "x")


def test_a_star_in_a_name_inside_a_block_is_a_character() -> None:
    needs = declared(template("AWS::Glue::Database", "{DatabaseInput: {Name: 'sales*'}}"))
    assert "arn:aws:glue:us-east-2:123456789012:database/sales${*}" in needs["glue:CreateDatabase"]


@pytest.mark.parametrize(
    ("association", "services"),
    [
        ("ResourceArn: !Ref Front", {"wafv2", "elasticloadbalancing"}),
        (
            "ResourceArn: !Sub 'arn:aws:apigateway:us-east-2::/restapis/${Api}/stages/live'",
            {"wafv2", "apigateway"},
        ),
        ("ResourceArn: !GetAtt Pool.Arn", {"wafv2", "cognito-idp"}),
    ],
)
def test_a_web_acl_needs_the_service_of_the_resource_that_it_protects(
    association: str, services: set[str]
) -> None:
    protected = (
        "  Front: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer}\n  Api: {Type:"
        " AWS::ApiGateway::RestApi}\n  Pool: {Type: AWS::Cognito::UserPool}\n  Acl: {Type:"
        " AWS::WAFv2::WebACL, Properties: {Scope: REGIONAL}}\n"
    )
    text = template(
        "AWS::WAFv2::WebACLAssociation", f"{{{association}, WebACLArn: !GetAtt Acl.Arn}}", protected
    )
    needs_of_template = needs_of(
        read_template(text.encode(), "t.yaml", Stack("shop"), PLACE), PLACE
    )
    association_needs = [need for need in needs_of_template if "WebACLAssociation" in need.because]
    assert {need.permission.action.partition(":")[0] for need in association_needs} == services


def test_the_scope_of_a_web_acl_is_in_its_arn_as_aws_writes_it() -> None:
    for scope, scope_in_arn in (("REGIONAL", "regional"), ("CLOUDFRONT", "global")):
        needs = declared(template("AWS::WAFv2::WebACL", f"{{Name: front, Scope: {scope}}}"))
        assert needs["wafv2:CreateWebACL"] >= {
            f"arn:aws:wafv2:us-east-2:123456789012:{scope_in_arn}/webacl/front/*"
        }


def test_logs_need_the_permissions_of_their_destination() -> None:
    for arn, writes in (
        ("arn:aws:s3:::logs", False),
        ("arn:aws:logs:us-east-2:123456789012:log-group:dns", True),
    ):
        needs = declared(
            template(
                "AWS::Route53Resolver::ResolverQueryLoggingConfig", f"{{DestinationArn: '{arn}'}}"
            )
        )
        assert "logs:CreateLogDelivery" in needs
        assert ("logs:PutResourcePolicy" in needs) == writes


def test_a_key_inside_a_block_needs_its_permissions_and_a_tag_needs_none() -> None:
    assert "kms:DescribeKey" not in declared(
        template("AWS::EKS::Cluster", "{Tags: [{Key: team, Value: a}]}")
    )
    provider = (
        "{EncryptionConfig: [{Provider: {KeyArn: 'arn:aws:kms:us-east-2:123456789012:key/1'}}]}"
    )
    assert declared(template("AWS::EKS::Cluster", provider))["kms:DescribeKey"] == {
        "arn:aws:kms:us-east-2:123456789012:key/1"
    }


def test_the_key_of_a_tag_is_no_key_of_kms() -> None:
    configured = "Configuration: {ExecuteCommandConfiguration: {Logging: DEFAULT}}"
    needs = declared(
        template("AWS::ECS::Cluster", f"{{Tags: [{{Key: environment, Value: a}}], {configured}}}")
    )
    assert needs["kms:DescribeKey"] == {"arn:aws:kms:us-east-2:123456789012:key/*"}


@pytest.mark.parametrize(
    ("kind", "properties", "action"),
    [
        ("AWS::CodeBuild::Project", "{Triggers: {Webhook: true}}", "codebuild:CreateWebhook"),
        ("AWS::CloudFront::Distribution", "{}", "cloudfront:UpdateDistribution"),
        (
            "AWS::FSx::FileSystem",
            "{WindowsConfiguration: {ActiveDirectoryId: d-1}}",
            "ds:DescribeDirectories",
        ),
    ],
)
def test_what_handlers_call_and_do_not_list_is_needed(
    kind: str, properties: str, action: str
) -> None:
    assert action in declared(template(kind, properties))


def test_a_project_without_a_webhook_makes_none() -> None:
    project = template("AWS::CodeBuild::Project", "{Triggers: {Webhook: false}}")
    assert "codebuild:CreateWebhook" not in declared(project)


def test_a_launch_template_of_a_group_needs_the_right_to_run_instances() -> None:
    group = "{LaunchTemplate: {LaunchTemplateId: lt-1, Version: '1'}, MinSize: '1', MaxSize: '1'}"
    assert "ec2:RunInstances" in declared(template("AWS::AutoScaling::AutoScalingGroup", group))


def test_an_action_that_aws_authorizes_on_all_resources_has_no_name() -> None:
    assert declared(template("AWS::CloudWatch::Alarm", "{AlarmName: full}"))[
        "cloudwatch:DescribeAlarms"
    ] == {"*"}


def test_a_name_is_no_id_that_aws_gives() -> None:
    record = "{HostedZoneName: example.org., Name: www.example.org, Type: A}"
    needs = declared(template("AWS::Route53::RecordSet", record))
    assert needs["route53:ChangeResourceRecordSets"] == {"arn:aws:route53:::hostedzone/*"}
    deployment = (
        "  Deployment: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref Orders}}\n"
    )
    paths = declared(template("AWS::ApiGateway::RestApi", "{Name: web}", deployment))[
        "apigateway:POST"
    ]
    assert paths == {
        "arn:aws:apigateway:us-east-2::/restapis",
        "arn:aws:apigateway:us-east-2::/restapis/*/deployments",
    }


def test_a_role_is_passed_whatever_its_property_is_called_and_through_a_launch_template() -> None:
    role = "  Role: {Type: AWS::IAM::Role, Properties: {RoleName: sms}}\n"
    pool = "{SmsConfiguration: {SnsCallerArn: !GetAtt Role.Arn}}"
    assert declared(template("AWS::Cognito::UserPool", pool, role))["iam:PassRole"] == {
        "arn:aws:iam::123456789012:role/sms"
    }
    launch_template = (
        "  Template:\n    Type: AWS::EC2::LaunchTemplate\n"
        "    Properties: {LaunchTemplateData: {IamInstanceProfile: {Arn: !GetAtt Profile.Arn}}}\n"
        "  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [!Ref Role]}}\n"
    )
    group = "{LaunchTemplate: {LaunchTemplateId: !Ref Template, Version: '1'}}"
    text = template("AWS::AutoScaling::AutoScalingGroup", group, role + launch_template)
    needs_of_template = needs_of(
        read_template(text.encode(), "t.yaml", Stack("shop"), PLACE), PLACE
    )
    passed = [need for need in needs_of_template if need.permission.action == "iam:PassRole"]
    assert "AWS::AutoScaling::AutoScalingGroup Orders (create)" in [need.because for need in passed]


def test_a_resource_that_a_stack_retains_is_not_deleted() -> None:
    text = "Resources: {Orders: {Type: AWS::SQS::Queue, DeletionPolicy: Retain}}"
    assert "sqs:DeleteQueue" not in declared(text)
    assert "sqs:DeleteQueue" in declared(text.replace("Retain", "RetainExceptOnCreate"))


@pytest.mark.parametrize(
    ("kind", "properties", "action"),
    [
        ("AWS::EC2::EIP", "{Domain: vpc}", "ec2:ReleaseAddress"),
        ("AWS::EC2::EIPAssociation", "{AllocationId: a, InstanceId: i}", "ec2:DisassociateAddress"),
        ("AWS::EMR::Cluster", "{Name: etl}", "elasticmapreduce:TerminateJobFlows"),
        (
            "AWS::NetworkFlowMonitor::Monitor",
            "{MonitorName: web}",
            "networkflowmonitor:DeleteMonitor",
        ),
    ],
)
def test_what_deletes_a_resource_is_needed_whatever_its_properties(
    kind: str, properties: str, action: str
) -> None:
    assert action in declared(template(kind, properties))


@pytest.mark.parametrize(
    ("policy", "properties", "is_needed"),
    [
        ("", "{}", True),
        ("Delete", "{}", False),
        ("Snapshot", "{}", True),
        ("Retain", "{}", False),
        ("", "{DBClusterIdentifier: web}", False),
    ],
)
def test_a_database_that_cloudformation_deletes_after_a_snapshot_needs_the_snapshot(
    policy: str, properties: str, is_needed: bool
) -> None:
    text = template(
        "AWS::RDS::DBInstance", properties, f"    DeletionPolicy: {policy}\n" if policy else ""
    )
    assert ("rds:CreateDBSnapshot" in declared(text)) is is_needed


@pytest.mark.parametrize(
    ("properties", "action", "end"),
    [
        (
            "{ServiceNamespace: ecs, ResourceId: service/shop/web}",
            "ecs:UpdateService",
            "service/shop/web",
        ),
        (
            "{ServiceNamespace: dynamodb, ResourceId: table/orders}",
            "dynamodb:UpdateTable",
            "table/orders",
        ),
        (
            "{ServiceNamespace: ecs, ResourceId: service/shop/web}",
            "cloudwatch:PutMetricAlarm",
            "alarm:*",
        ),
        ("{ServiceNamespace: ecs, ResourceId: service/shop/web}", "dynamodb:UpdateTable", ""),
    ],
)
def test_a_target_of_scaling_needs_what_aws_checks_on_the_resource_it_names(
    properties: str, action: str, end: str
) -> None:
    resources = declared(template("AWS::ApplicationAutoScaling::ScalableTarget", properties)).get(
        action, set()
    )
    assert resources == (
        {f"arn:aws:{action.partition(':')[0]}:us-east-2:123456789012:{end}"} if end else set()
    )


def test_a_loop_makes_each_of_its_resources() -> None:
    loop = """
Transform: AWS::LanguageExtensions
Parameters: {Names: {Type: CommaDelimitedList, Default: "a, b-c"}}
Resources:
  Fn::ForEach::Queues:
    - Name
    - %s
    - "Queue&{Name}": {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub "shop-${Name}"}}
"""
    prefix = "arn:aws:sqs:us-east-2:123456789012:shop-"
    assert declared(loop % "[x, y]")["sqs:CreateQueue"] == {f"{prefix}x", f"{prefix}y"}
    assert declared(loop % "!Ref Names")["sqs:CreateQueue"] == {f"{prefix}a", f"{prefix}b-c"}
    assert declared(loop % "!Ref Absent")["sqs:CreateQueue"] == {f"{prefix}*"}


def test_a_listener_has_the_form_of_its_load_balancer() -> None:
    balancer = (
        "  Front: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: {Name: web, Type:"
        " network}}\n"
    )
    needs = declared(
        template("AWS::ElasticLoadBalancingV2::Listener", "{LoadBalancerArn: !Ref Front}", balancer)
    )
    prefix = "arn:aws:elasticloadbalancing:us-east-2:123456789012"
    assert needs["elasticloadbalancing:CreateListener"] == {f"{prefix}:loadbalancer/net/web/*"}
    assert needs["elasticloadbalancing:DeleteListener"] == {f"{prefix}:listener/net/web/*/*"}


def test_a_nested_stack_has_the_name_that_cloudformation_makes() -> None:
    role = template("AWS::IAM::Role", "{RoleName: inner, AssumeRolePolicyDocument: {}}")
    child = "  Child: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: child.yaml}}\n"
    remote = (
        "  Far: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL:"
        " 'https://b.s3.amazonaws.com/t'}}\n"
    )
    call = "{FunctionName: mail, Code: {ZipFile: x}, Role: !GetAtt Role.Arn}"
    outer = f"  Role: {{Type: AWS::IAM::Role, Properties: {{RoleName: outer}}}}\n{child}{remote}"
    files = {
        "child.yaml": role.replace("Orders:", "Role:"),
        "t.yaml": template("AWS::Lambda::Function", call, outer),
    }
    declaration = read_stack(
        "shop=t.yaml", lambda path: files[path].encode() if path in files else None, PLACE
    )
    resources_by_action: dict[str, set[str]] = {}
    for need in needs_of(declaration, PLACE):
        resources_by_action.setdefault(need.permission.action, set()).add(need.permission.resource)
    stacks = "arn:aws:cloudformation:us-east-2:123456789012:stack"
    assert resources_by_action["cloudformation:CreateStack"] == {
        f"{stacks}/shop-Child-*/*",
        f"{stacks}/shop-Far-*/*",
    }
    assert resources_by_action["iam:CreateRole"] == {
        f"arn:aws:iam::123456789012:role/{name}" for name in ("inner", "outer")
    }
    assert resources_by_action["iam:PassRole"] == {"arn:aws:iam::123456789012:role/outer"}
    assert [*declaration.unknown] == ["AWS::CloudFormation::Stack Far"]


def test_what_a_macro_makes_is_not_known() -> None:
    text = "Transform: [Ours, AWS::LanguageExtensions]\n" + template(
        "AWS::CloudFormation::WaitCondition",
        more=(
            "  Rest: {'Fn::Transform': {Name: 'AWS::Include', Parameters: {Location:"
            " 's3://b/t'}}}\n"
        ),
    )
    declaration = read_stack(
        "shop=t.yaml", lambda path: text.encode() if path == "t.yaml" else None, PLACE
    )
    assert sorted(declaration.unknown) == ["transform AWS::Include", "transform Ours"]
    start = "arn:aws:cloudformation:us-east-2"
    transforms = {
        call.permission.resource
        for call in declaration.calls
        if ":transform/" in call.permission.resource
    }
    assert transforms == {
        f"{start}:123456789012:transform/Ours",
        f"{start}:aws:transform/LanguageExtensions",
        f"{start}:aws:transform/Include",
    }


@pytest.mark.parametrize(
    "role", ["!Ref Given", "!ImportValue shared", "!GetAtt Child.Outputs.Role"]
)
def test_a_role_that_only_the_deployment_knows_is_passed_too(role: str) -> None:
    child = (
        "  Child: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL:"
        " 'https://b.s3.amazonaws.com/t'}}\n"
    )
    function = f"{{FunctionName: mail, Code: {{ZipFile: x}}, Role: {role}}}"
    text = "Parameters: {Given: {Type: String}}\n" + template(
        "AWS::Lambda::Function", function, child
    )
    assert declared(text)["iam:PassRole"] == {"arn:aws:iam::123456789012:role/*"}


def test_a_permission_on_a_function_names_no_version_of_it() -> None:
    call = "{FunctionName: mail, Action: lambda:InvokeFunction, Principal: s3.amazonaws.com}"
    functions = declared(template("AWS::Lambda::Permission", call))["lambda:AddPermission"]
    assert functions == {"arn:aws:lambda:us-east-2:123456789012:function:mail"}


@pytest.mark.parametrize(
    ("kind", "properties", "action", "is_needed"),
    [
        (
            "AWS::CloudTrail::Trail",
            "{S3BucketName: logs, IsLogging: true}",
            "cloudtrail:StartLogging",
            True,
        ),
        (
            "AWS::EC2::VPCGatewayAttachment",
            "{InternetGatewayId: igw-1}",
            "ec2:AttachInternetGateway",
            True,
        ),
        (
            "AWS::EC2::VPCGatewayAttachment",
            "{InternetGatewayId: igw-1}",
            "ec2:AttachVpnGateway",
            False,
        ),
        ("AWS::Events::EventBus", "{Name: orders}", "events:PutPermission", False),
        (
            "AWS::Events::EventBus",
            "{Name: orders, Policy: {Statement: []}}",
            "events:PutPermission",
            True,
        ),
        (
            "AWS::ECR::Repository",
            "{LifecyclePolicy: {LifecyclePolicyText: x}}",
            "ecr:SetRepositoryPolicy",
            False,
        ),
        ("AWS::EC2::KeyPair", "{KeyName: login}", "ssm:PutParameter", True),
        (
            "AWS::EFS::MountTarget",
            "{FileSystemId: fs-1, SubnetId: subnet-1}",
            "ec2:CreateNetworkInterface",
            True,
        ),
        ("AWS::ApiGateway::RestApi", "{Name: shop}", "apigateway:UpdateRestApiPolicy", False),
    ],
)
def test_properties_whose_names_do_not_show_their_actions_decide(
    kind: str, properties: str, action: str, is_needed: bool
) -> None:
    assert (action in declared(template(kind, properties))) is is_needed


def test_tags_of_what_another_service_makes_are_on_its_types_alone() -> None:
    tagged = declared(
        template("AWS::WorkSpaces::Directory", "{DirectoryId: d-1, Tags: [{Key: a, Value: b}]}")
    )["ec2:CreateTags"]
    assert 0 < len(tagged) < 10


def test_a_table_that_the_schema_lists_for_reading_too_is_deleted_when_the_deployment_fails() -> (
    None
):
    needs = declared(
        template("AWS::Glue::Table", "{DatabaseName: lake, TableInput: {Name: events}}")
    )
    table = "arn:aws:glue:us-east-2:123456789012:table/lake/events"
    assert table in needs["glue:CreateTable"]
    assert table in needs["glue:DeleteTable"]
    assert "s3:PutObject" not in needs


def test_an_association_is_removed_from_the_resource_that_it_names() -> None:
    api = "  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: shop}}\n"
    acl = "arn:aws:wafv2:us-east-2:123456789012:regional/webacl/shop/1"
    stage = "!Sub 'arn:aws:apigateway:us-east-2::/restapis/${Api}/stages/prod'"
    text = template(
        "AWS::WAFv2::WebACLAssociation", f"{{WebACLArn: '{acl}', ResourceArn: {stage}}}", api
    )
    needs = declared(text)
    api_stage = "arn:aws:apigateway:us-east-2::/restapis/*/stages/prod"
    assert needs["wafv2:DisassociateWebACL"] == needs["apigateway:SetWebACL"] == {api_stage}


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("!Select [1, !Ref Names]", "late"),
        ("!Join ['-', !Ref Names]", "early-late"),
        ("!Select [2, !Split ['/', a/b/c]]", "c"),
        ("!Select [0, !Ref Open]", "*"),
        ("!Sub 'q-${Open}'", "q-*"),
    ],
)
def test_lists_of_parameters_and_parts_of_texts_are_known(name: str, queue: str) -> None:
    parameters = (
        "Parameters:\n  Names: {Type: CommaDelimitedList, Default: 'early, late'}\n  Open: {Type:"
        " 'List<String>'}\n"
    )
    queues = declared(parameters + template("AWS::SQS::Queue", f"{{QueueName: {name}}}"))[
        "sqs:CreateQueue"
    ]
    assert queues == {f"arn:aws:sqs:us-east-2:123456789012:{queue}"}


def test_the_role_of_a_named_instance_profile_is_passed_though_its_name_is_not_known() -> None:
    needs = declared("""Resources:
  Web:
    Type: AWS::EC2::LaunchTemplate
    Properties: {LaunchTemplateData: {ImageId: ami-1, IamInstanceProfile: {Name: web}}}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    Properties: {MinSize: 1, MaxSize: 2, LaunchTemplate: {LaunchTemplateId: !Ref Web, Version: 1}}
""")
    assert needs["iam:PassRole"] == {"arn:aws:iam::123456789012:role/*"}


def test_the_tags_of_a_resource_are_read_of_it_and_of_none_that_it_refers_to() -> None:
    needs = declared(template("AWS::Lambda::EventSourceMapping", "{FunctionName: orders}"))
    assert needs["lambda:ListTags"] == {
        "arn:aws:lambda:us-east-2:123456789012:event-source-mapping:*"
    }


def test_the_name_that_an_attribute_gives_is_in_the_id_of_what_is_scaled() -> None:
    needs = declared("""Resources:
  Web: {Type: 'AWS::ECS::Service', Properties: {ServiceName: web, Cluster: shop}}
  Target:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Properties: {ResourceId: !Sub 'service/shop/${Web.Name}', ServiceNamespace: ecs, MinCapacity: 1, MaxCapacity: 2}
""")
    assert needs["ecs:UpdateService"] == {"arn:aws:ecs:us-east-2:123456789012:service/shop/web"}


@pytest.mark.parametrize(
    ("kind", "properties", "action", "resource"),
    [
        (
            "AWS::IAM::OIDCProvider",
            (
                "{Url: 'https://token.actions.githubusercontent.com', ClientIdList:"
                " [sts.amazonaws.com]}"
            ),
            "iam:CreateOpenIDConnectProvider",
            "oidc-provider/token.actions.githubusercontent.com",
        ),
        (
            "AWS::IAM::OIDCProvider",
            "{Url: !ImportValue issuer}",
            "iam:CreateOpenIDConnectProvider",
            "oidc-provider/*",
        ),
        (
            "AWS::IAM::SAMLProvider",
            "{SamlMetadataDocument: x}",
            "iam:CreateSAMLProvider",
            "saml-provider/shop-Orders-*",
        ),
        (
            "AWS::IAM::ServiceLinkedRole",
            "{AWSServiceName: es.amazonaws.com}",
            "iam:CreateServiceLinkedRole",
            "role/aws-service-role/es.amazonaws.com/*",
        ),
        (
            "AWS::IAM::InstanceProfile",
            "{Roles: [web], InstanceProfileName: web, Path: /x/}",
            "iam:CreateInstanceProfile",
            "instance-profile/x/web",
        ),
    ],
)
def test_identities_are_named_by_what_their_arn_has(
    kind: str, properties: str, action: str, resource: str
) -> None:
    assert declared(template(kind, properties))[action] == {f"arn:aws:iam::123456789012:{resource}"}


def test_a_policy_of_several_roles_needs_each_of_them() -> None:
    roles = (
        "  One: {Type: AWS::IAM::Role, Properties: {RoleName: one}}\n  Two: {Type:"
        " AWS::IAM::Role}\n"
    )
    needs = declared(
        template("AWS::IAM::Policy", "{PolicyName: p, Roles: [!Ref One, !Ref Two]}", roles)
    )
    assert needs["iam:PutRolePolicy"] == {
        f"arn:aws:iam::123456789012:role/{name}" for name in ("one", "shop-Two-*")
    }


@pytest.mark.parametrize(
    ("boundary", "value"),
    [
        (
            "!Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/b'",
            ("arn:aws:iam::123456789012:policy/b",),
        ),
        ("!ImportValue boundary", None),
    ],
)
def test_the_boundary_of_a_role_is_a_condition_of_what_changes_the_role(
    boundary: str, value: tuple[str, ...] | None
) -> None:
    roles = (
        "  One: {Type: AWS::IAM::Role, Properties: {RoleName: one, PermissionsBoundary:"
        f" {boundary}}}}}\n"
    )
    text = template("AWS::IAM::Policy", "{PolicyName: p, Roles: [!Ref One]}", roles)
    needs_of_template = needs_of(
        read_template(text.encode(), "t.yaml", Stack("shop"), PLACE), PLACE
    )
    conditions = {need.permission.action: need.permission.conditions for need in needs_of_template}
    conditions_of_boundary = (
        (Condition("StringEquals", "iam:PermissionsBoundary", value),) if value else ()
    )
    assert [
        conditions[f"iam:{name}"] for name in ("CreateRole", "PutRolePolicy", "DeleteRole")
    ] == [conditions_of_boundary] * 3
    assert conditions["iam:GetRole"] == ()


def test_the_service_of_a_service_linked_role_is_a_condition_of_its_creation() -> None:
    text = template("AWS::IAM::ServiceLinkedRole", "{AWSServiceName: es.amazonaws.com}")
    [need] = (
        need
        for need in needs_of(read_template(text.encode(), "t.yaml", Stack("shop"), PLACE), PLACE)
        if need.permission.action == "iam:CreateServiceLinkedRole"
    )
    assert need.permission.conditions == (
        Condition("StringEquals", "iam:AWSServiceName", ("es.amazonaws.com",)),
    )
    assert need.exact


ACL = "regional/webacl/reg/*"
FIREWALL = "arn:aws:network-firewall:us-east-2:123456789012:firewall/edge"
BALANCER = "arn:aws:elasticloadbalancing:us-east-2:123456789012:loadbalancer/app/web/abc"


@pytest.mark.parametrize(
    ("kind", "properties", "action", "resources"),
    [
        (
            "AWS::Scheduler::ScheduleGroup",
            "{Name: jobs}",
            "scheduler:DeleteSchedule",
            {"scheduler:schedule/jobs/*"},
        ),
        (
            "AWS::SES::EmailIdentity",
            "{EmailIdentity: a.org}",
            "ses:CreateEmailIdentity",
            {"ses:identity/a.org"},
        ),
        (
            "AWS::SES::Template",
            "{Template: {TemplateName: hello}}",
            "ses:GetEmailTemplate",
            {"ses:template/hello"},
        ),
        ("AWS::Amplify::App", "{Name: web}", "amplify:DeleteApp", {"amplify:apps/*"}),
        (
            "AWS::RAM::ResourceShare",
            "{Name: nets}",
            "ram:DeleteResourceShare",
            {"ram:resource-share/*"},
        ),
        (
            "AWS::MemoryDB::Cluster",
            "{ClusterName: mem}",
            "memorydb:DeleteCluster",
            {"memorydb:cluster/mem"},
        ),
        (
            "AWS::Glue::Database",
            "{CatalogId: !Ref 'AWS::AccountId', DatabaseInput: {Name: lake}}",
            "glue:CreateDatabase",
            {"glue:catalog", "glue:database/lake"},
        ),
        (
            "AWS::Glue::Connection",
            "{CatalogId: !Ref 'AWS::AccountId', ConnectionInput: {Name: jdbc}}",
            "glue:DeleteConnection",
            {"glue:catalog", "glue:connection/jdbc"},
        ),
        (
            "AWS::NetworkFirewall::LoggingConfiguration",
            f"{{FirewallArn: '{FIREWALL}', LoggingConfiguration: {{A: b}}}}",
            "network-firewall:UpdateLoggingConfiguration",
            {"network-firewall:firewall/edge"},
        ),
        (
            "AWS::Organizations::Policy",
            "{Name: deny, Type: SERVICE_CONTROL_POLICY, TargetIds: [ou-abcd-11111111]}",
            "organizations:CreatePolicy",
            {"organizations:policy/o-*/service_control_policy/p-*"},
        ),
        ("AWS::Glue::Crawler", "{Name: crawl, Role: etl}", "iam:PassRole", {"iam:role/etl"}),
        (
            "AWS::Route53::RecordSetGroup",
            "{HostedZoneId: Z1}",
            "route53:ChangeResourceRecordSets",
            {"route53:hostedzone/Z1"},
        ),
        (
            "AWS::EFS::MountTarget",
            "{SubnetId: subnet-1, SecurityGroups: [sg-1]}",
            "ec2:CreateNetworkInterface",
            {"ec2:subnet/subnet-1", "ec2:security-group/sg-1", "ec2:network-interface/*"},
        ),
        (
            "AWS::CloudFront::KeyValueStore",
            (
                "{Name: kv, ImportSource: {SourceType: S3, SourceArn:"
                " 'arn:aws:s3:::source/data.json'}}"
            ),
            "s3:GetBucketLocation",
            {"s3:source"},
        ),
        (
            "AWS::CloudFront::Distribution",
            (
                "{DistributionConfig: {Comment: !GetAtt B.DomainName, Logging: {Bucket:"
                " l.s3.amazonaws.com}}}"
            ),
            "s3:PutBucketAcl",
            {"s3:l"},
        ),
    ],
)
def test_each_resource_is_the_one_that_the_property_of_the_action_names(
    kind: str, properties: str, action: str, resources: set[str]
) -> None:
    needs = declared(
        template(
            kind, properties, "  B: {Type: AWS::S3::Bucket, Properties: {BucketName: other}}\n"
        )
    )
    parts = (arn.split(":", 5) for arn in needs[action])
    assert {f"{part[2]}:{part[5]}" for part in parts} == resources


def test_the_association_of_a_web_acl_needs_the_acl_and_the_load_balancer() -> None:
    acl = "  Acl: {Type: AWS::WAFv2::WebACL, Properties: {Name: reg, Scope: REGIONAL}}\n"
    properties = f"{{WebACLArn: !GetAtt Acl.Arn, ResourceArn: '{BALANCER}'}}"
    needs = declared(template("AWS::WAFv2::WebACLAssociation", properties, acl))
    assert needs["wafv2:AssociateWebACL"] == {
        BALANCER,
        f"arn:aws:wafv2:us-east-2:123456789012:{ACL}",
    }


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("AWS::DocDB::DBInstance", "rds:CreateDBInstance"),
        ("AWS::FSx::FileSystem", "fsx:CreateFileSystem"),
        ("AWS::IAM::UserToGroupAddition", "iam:AddUserToGroup"),
        ("AWS::CloudWatch::AnomalyDetector", "cloudwatch:PutAnomalyDetector"),
    ],
)
def test_a_type_without_handlers_needs_what_the_same_operations_need(
    kind: str, action: str
) -> None:
    read = read_template(template(kind).encode(), "t.yaml", Stack("shop"), PLACE)
    assert not read.unknown
    assert action in {need.permission.action for need in needs_of(read, PLACE)}


@pytest.mark.parametrize("block", ["{}", "{ExcludePunctuation: true}"])
def test_a_generated_secret_needs_a_random_password_whatever_it_says_of_it(block: str) -> None:
    text = template("AWS::SecretsManager::Secret", f"{{GenerateSecretString: {block}}}")
    assert declared(text)["secretsmanager:GetRandomPassword"] == {"*"}


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.eu-west-1.amazonaws.com/templates/base/net.yaml",
        "https://templates.s3.amazonaws.com/base/net.yaml?versionId=a",
        '!Sub "https://templates.s3.${AWS::Region}.${AWS::URLSuffix}/base/net.yaml"',
    ],
)
def test_a_nested_template_in_s3_is_read_there(url: str) -> None:
    needs = declared(template("AWS::CloudFormation::Stack", f"{{TemplateURL: {url}}}"))
    assert needs["s3:GetObject"] == {"arn:aws:s3:::templates/base/net.yaml"}


def test_a_rule_of_iot_has_a_name_without_the_hyphens_of_the_stack() -> None:
    payload = "{TopicRulePayload: {Sql: SELECT 1, Actions: []}}"
    (resource,) = declared(template("AWS::IoT::TopicRule", payload), "shop-prod")[
        "iot:CreateTopicRule"
    ]
    assert resource_covers(resource, "arn:aws:iot:us-east-2:123456789012:rule/shopprodOrdersA1B2")


def test_the_function_that_a_subscription_filter_calls_is_no_destination_of_logs() -> None:
    alias = (
        "  Live: {Type: AWS::Lambda::Alias, Properties: {Name: live, FunctionName: orders,"
        " FunctionVersion: '1'}}\n"
    )
    text = template(
        "AWS::Logs::SubscriptionFilter",
        "{LogGroupName: /app, DestinationArn: !Ref Live, FilterPattern: ''}",
        alias,
    )
    assert declared(text)["logs:PutSubscriptionFilter"] == {
        "arn:aws:logs:us-east-2:123456789012:log-group:/app:*"
    }


def test_a_resource_that_leaves_the_template_is_deleted_and_not_read() -> None:
    before = read_template(
        template("AWS::SQS::Queue", "{QueueName: a}").encode(), "t.yaml", Stack("shop"), PLACE
    )
    after = read_template(b"Resources: {}", "t.yaml", Stack("shop"), PLACE)
    assert {
        need.permission.action for need in needs_of(changed_resources(before, after).kept, PLACE)
    } == {
        "sqs:DeleteQueue",
        "sqs:GetQueueAttributes",
    }


@pytest.mark.parametrize(
    ("kind", "properties", "action"),
    [
        ("AWS::SQS::Queue", "{QueueName: orders}", "sqs:TagQueue"),
        ("AWS::Logs::LogGroup", "{LogGroupName: /shop}", "logs:PutRetentionPolicy"),
        ("AWS::DynamoDB::Table", "{TableName: carts}", "dynamodb:UpdateTimeToLive"),
    ],
)
def test_any_later_update_may_set_what_is_not_set_now(
    kind: str, properties: str, action: str
) -> None:
    read = read_template(template(kind, properties).encode(), "t.yaml", Stack("shop"), PLACE)

    def actions(*, any_update: bool) -> set[str]:
        later = read.with_phases(Phase.UPDATE, any_update=any_update)
        return {need.permission.action for need in needs_of(later, PLACE)}

    assert action in actions(any_update=True)
    assert action not in actions(any_update=False)
    assert not {
        kms_action for kms_action in actions(any_update=True) if kms_action.startswith("kms:")
    }


def test_both_branches_of_a_condition_that_the_deployment_decides_are_declared() -> None:
    text = """
Parameters: {Stage: {Type: String}}
Conditions: {IsProd: !Equals [!Ref Stage, prod]}
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !If [IsProd, orders, orders-test]
      KmsMasterKeyId: !If [IsProd, !Ref AWS::NoValue, !GetAtt Key.Arn]
  Key: {Type: AWS::KMS::Key}
  Job:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: job
      Code: {ZipFile: x}
      Role: !If [IsProd, !GetAtt One.Arn, !GetAtt Two.Arn]
  One: {Type: AWS::IAM::Role, Properties: {RoleName: one}}
  Two: {Type: AWS::IAM::Role, Properties: {RoleName: two}}
"""
    needs = declared(text)
    queues = {arn.rpartition(":")[2] for arn in needs["sqs:CreateQueue"]}
    assert queues == {"orders", "orders-test"}
    roles = {arn.rpartition("/")[2] for arn in needs["iam:PassRole"]}
    assert roles == {"one", "two"}


def test_a_condition_that_a_default_decides_leaves_resources_out_and_says_so() -> None:
    text = """
Parameters: {Alarm: {Type: String, Default: "no"}}
Conditions:
  HasAlarm: !Equals [!Ref Alarm, "yes"]
  Never: !Equals [a, b]
Resources:
  News: {Type: AWS::SNS::Topic, Condition: HasAlarm}
  Old: {Type: AWS::SNS::Topic, Condition: Never}
  Orders: {Type: AWS::SQS::Queue}
"""
    read = read_template(text.encode(), "t.yaml", Stack("shop"), PLACE)
    assert [resource.address for resource in read.resources] == ["Orders"]
    [left_out] = read.left_out
    assert (left_out.parameters, left_out.addresses) == (("Alarm",), ("News",))
    with_alarm = Stack("shop", {"Alarm": "yes"})
    again = read_template(text.encode(), "t.yaml", with_alarm, PLACE)
    assert [resource.address for resource in again.resources] == ["News", "Orders"]
    assert not again.left_out


def test_a_comparison_of_variants_is_silent_about_what_does_not_change() -> None:
    text = template(
        "AWS::SQS::Queue",
        "{QueueName: !If [Unknown, a, b], DelaySeconds: 1}",
        "Parameters: {P: {Type: String}}\nConditions: {Unknown: !Equals [!Ref P, x]}\n",
    )
    before = read_template(text.encode(), "t.yaml", Stack("shop"), PLACE)
    after = read_template(text.replace("1}", "2}").encode(), "t.yaml", Stack("shop"), PLACE)
    assert len(before.resources) == 2
    unchanged = changed_resources(before, before)
    assert (unchanged.made.resources, unchanged.kept.resources) == ((), ())
    changed = changed_resources(before, after)
    assert changed.made.resources == ()
    assert {resource.changed for resource in changed.kept.resources} == {
        frozenset({"DelaySeconds"})
    }


@pytest.mark.parametrize(
    ("kind", "properties", "service"),
    [
        ("AWS::ECS::Cluster", "{}", "ecs"),
        ("AWS::EKS::Nodegroup", "{}", "eks-nodegroup"),
        ("AWS::Neptune::DBCluster", "{}", "rds"),
        ("AWS::ElasticLoadBalancingV2::LoadBalancer", "{}", "elasticloadbalancing"),
        ("AWS::AutoScaling::AutoScalingGroup", "{}", "autoscaling"),
        ("AWS::AutoScaling::AutoScalingGroup", "{ServiceLinkedRoleARN: x}", ""),
        ("AWS::OpenSearchService::Domain", "{VPCOptions: {SubnetIds: [a]}}", "opensearchservice"),
        ("AWS::OpenSearchService::Domain", "{}", ""),
        (
            "AWS::ApplicationAutoScaling::ScalableTarget",
            "{ServiceNamespace: dynamodb}",
            "dynamodb.application-autoscaling",
        ),
        ("AWS::DynamoDB::Table", "{}", ""),
        ("AWS::SQS::Queue", "{}", ""),
    ],
)
def test_a_service_linked_role_is_needed_by_type(kind: str, properties: str, service: str) -> None:
    read = read_template(template(kind, properties).encode(), "t.yaml", Stack("shop"), PLACE)
    services = {
        need.permission.conditions[0].values[0]
        for need in needs_of(read, PLACE)
        if need.permission.action == "iam:CreateServiceLinkedRole"
    }
    assert services == ({f"{service}.amazonaws.com"} if service else set())


def test_every_service_linked_role_has_a_known_type_and_a_service() -> None:
    known_types = {*type_names(Tool.CLOUDFORMATION), *type_names(Tool.TERRAFORM)}
    for row in table("service_linked_roles", "leastpriv.declared"):
        for name in row["types"].split(","):
            assert name in known_types or fnmatch.filter(known_types, name), name
        assert bool(row["service"]) is (row["when"] != "-")
        assert row["role"].startswith("AWSServiceRoleFor") or row["when"] == "-"


def test_a_type_with_a_linked_role_that_no_table_names_says_so() -> None:
    read = read_template(
        template("AWS::SageMaker::Domain").encode(), "t.yaml", Stack("shop"), PLACE
    )
    assert "the service-linked role of AWS::SageMaker::Domain" in read.unknown


def test_an_included_snippet_is_read_in_s3() -> None:
    text = template("AWS::SQS::Queue") + (
        "  Rest: {'Fn::Transform': {Name: 'AWS::Include', Parameters: {Location: 's3://snippets/t'}}}\n"
    )
    assert declared(text)["s3:GetObject"] == {"arn:aws:s3:::snippets/t"}


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("serverless.yml", "service: shop\nprovider: {name: aws}\n", "serverless package"),
        ("Pulumi.yaml", "name: shop\nruntime: nodejs\n", "pulumi preview --json"),
        ("cdk.json", '{"app": "x", "context": {}}', "cdk synth"),
        ("app.ts", "import * as cdk from 'x'; {", "cdk synth"),
        ("main.tf", 'resource "aws_sqs_queue" "q" {}', "terraform show -json"),
        ("main.tf.json", '{"resource": {}}', "terraform show -json"),
        ("terraform.tfstate", '{"terraform_version": "1", "resources": []}', "show -json"),
        ("policy.json", '{"Version": "2012-10-17", "Statement": []}', "setting `declared`"),
        ("deploy.py", "import boto3", "iam-policy-autopilot"),
        ("samconfig.toml", "[default]\nx = 1", "name the template"),
        ("plan.json", '{"resource_changes": []}', "input plans"),
        ("manifest.yml", "name: api\ntype: Load Balanced Web Service\n", "copilot svc package"),
    ],
)
def test_another_file_is_refused_with_the_command_that_writes_a_readable_one(
    name: str, text: str, command: str
) -> None:
    with pytest.raises(InputError, match=re.escape(command)):
        read_template(text.encode(), name, Stack(), PLACE)


def test_outputs_and_parameters_of_nested_stacks_name_their_resources() -> None:
    outer = """
Resources:
  Own: {Type: AWS::IAM::Role, Properties: {RoleName: own}}
  Roles: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: roles.yaml}}
  App:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: app.yaml
      Parameters: {Own: !GetAtt Own.Arn, Other: !GetAtt Roles.Outputs.Worker}
  Direct:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: direct, Code: {ZipFile: x}, Role: !GetAtt Roles.Outputs.Worker}
"""
    roles = """
Resources: {Worker: {Type: AWS::IAM::Role, Properties: {RoleName: worker}}}
Outputs: {Worker: {Value: !GetAtt Worker.Arn}}
"""
    app = """
Parameters: {Own: {Type: String}, Other: {Type: String}}
Resources:
  One:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: one, Code: {ZipFile: x}, Role: !Ref Own}
  Two:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: two, Code: {ZipFile: x}, Role: !Ref Other}
"""
    files = {"t.yaml": outer, "roles.yaml": roles, "app.yaml": app}
    read = read_stack(
        "shop=t.yaml", lambda path: files[path].encode() if path in files else None, PLACE
    )
    passed = {
        (need.permission.resource.rpartition("/")[2], need.because)
        for need in needs_of(read, PLACE)
        if need.permission.action == "iam:PassRole"
    }
    assert {name for name, _ in passed} == {"own", "worker"}


def test_a_second_cluster_needs_no_linked_role_that_the_first_one_made() -> None:
    def read(*kinds: str) -> Declaration:
        lines = "".join(f"  {kind.rpartition(':')[2]}: {{Type: '{kind}'}}\n" for kind in kinds)
        text = f"Resources:\n{lines}"
        return read_template(text.encode(), "t.yaml", Stack("shop"), PLACE)

    def linked(before: Declaration, after: Declaration) -> set[str]:
        created = changed_resources(before, after).made
        return {
            need.permission.resource.split("/")[2]
            for need in needs_of(created, PLACE)
            if need.permission.action == "iam:CreateServiceLinkedRole"
        }

    cluster, load_balancer = "AWS::ECS::Cluster", "AWS::ElasticLoadBalancingV2::LoadBalancer"
    after = read(cluster, "AWS::ECS::Service", load_balancer)
    assert linked(read(cluster), after) == {"elasticloadbalancing.amazonaws.com"}
    assert linked(read("AWS::SQS::Queue"), after) == {
        "ecs.amazonaws.com",
        "elasticloadbalancing.amazonaws.com",
    }


def test_a_function_of_an_image_needs_its_repository() -> None:
    image = "999988887777.dkr.ecr.eu-west-1.amazonaws.com/shop/api:1"
    needs = declared(template("AWS::Lambda::Function", f'{{Code: {{ImageUri: "{image}"}}}}'))
    repository = {"arn:aws:ecr:eu-west-1:999988887777:repository/shop/api"}
    for action in ("BatchGetImage", "GetRepositoryPolicy", "SetRepositoryPolicy"):
        assert needs[f"ecr:{action}"] == repository
    assert "ecr:BatchGetImage" not in declared(template("AWS::Lambda::Function"))


def test_a_node_group_with_a_launch_template_runs_instances() -> None:
    launch = "{LaunchTemplate: {Id: lt-1}}"
    needs = declared(template("AWS::EKS::Nodegroup", launch))
    assert {"ec2:RunInstances", "ec2:DescribeLaunchTemplateVersions"} <= needs.keys()
    assert "ec2:RunInstances" not in declared(template("AWS::EKS::Nodegroup"))
