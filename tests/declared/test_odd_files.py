"""The promise that no file is read in silence: what a template or plan leaves open is named, and a
file that cannot be read is refused with a remedy.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from leastpriv.budget import LIMITS, Budget
from leastpriv.declared.assembly import read_assembly
from leastpriv.declared.declarations import read_stack
from leastpriv.declared.files import RepositoryFiles
from leastpriv.declared.models import Declaration, Place
from leastpriv.declared.plan import read_plan
from leastpriv.declared.resource_needs import needs_of
from leastpriv.declared.template_text import read_template_text
from leastpriv.errors import InputError, TooLargeError

PLACE = Place("aws", "111122223333", "eu-west-1")
CONDITIONS = """
Parameters: {Env: {Type: String}, Area: {Type: String}}
Conditions: {Prod: !Equals [!Ref Env, prod], Eu: !Equals [!Ref Area, eu]}
"""
SAM = "Transform: AWS::Serverless-2016-10-31"
LOOPS = "Transform: AWS::LanguageExtensions"
INCLUDE = "{Name: AWS::Include, Parameters: {Location: s3://shared/part.yaml}}"
CODE = "Handler: a.b, Runtime: python3.12, CodeUri: src"
LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:x:1"


def declared(text: str) -> Declaration:
    return read_stack("shop=t.yaml", {"t.yaml": text.encode()}.get, PLACE)


def actions(declaration: Declaration) -> set[str]:
    return {need.permission.action for need in needs_of(declaration, PLACE)}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Resources: {Q: }", "the resource Q"),
        ("Resources: {Q: AWS::SQS::Queue}", "the resource Q"),
        ("Resources: {Q: [{Type: AWS::SQS::Queue}]}", "the resource Q"),
        ("Resources: {Q: {Properties: {QueueName: a}}}", "the resource Q"),
        ("Resources: {Q: !Rain::Include q.yaml}", "the resource Q"),
        ("Resources: {Q: {Type: !Sub 'AWS::SQS::${Kind}'}}", "the type of Q"),
        ("Resources: {Q: {Type: AWS::SQS::Queue, Properties: text}}", "the properties of Q"),
        ("Resources: {Q: {Type: AWS::SQS::Queue, Properties: !Ref P}}", "the properties of Q"),
        (
            "Mappings: {M: {prod: {p: {}}}}\nParameters: {P: {Type: String}}\n"
            "Resources: {Q: {Type: AWS::SQS::Queue, Properties: !FindInMap [M, !Ref P, p]}}",
            "the properties of Q",
        ),
        (
            f"{SAM}\nResources: {{F: {{Type: AWS::Serverless::Function, Properties: !Ref P}},"
            " Q: {Type: AWS::SQS::Queue}}",
            "the properties of F",
        ),
        (f"{LOOPS}\nResources: {{'Fn::ForEach::L': [Name, [a]]}}", "the loop Fn::ForEach::L"),
        (f"{LOOPS}\nResources: {{'Fn::ForEach::L': [N, [a], [b]]}}", "the loop Fn::ForEach::L"),
        (
            f"{LOOPS}\nResources: {{Q: {{Type: AWS::SQS::Queue, Properties: {{QueueName: a,"
            " 'Fn::ForEach::P': [N, [a]]}}}",
            "the loop Fn::ForEach::P",
        ),
        (f"Fn::Transform: {INCLUDE}", "transform AWS::Include"),
        (f"Resources: {{Fn::Transform: {INCLUDE}}}", "transform AWS::Include"),
        ("Transform: Own\nMetadata: {}", "transform Own"),
        ('{"Resources": {"Q": {}}, "Resources": {}}', "the first Resources of t.yaml"),
        ("Resources: {Q: {Type: AWS::A::B}, Q: {Type: AWS::A::C}}", "the first Q of t.yaml"),
        ("Resources: {}", "t.yaml"),
        ("Resources: {Q: {Type: AWS::Nope::Queue}}", "AWS::Nope::Queue"),
    ],
)
def test_what_a_template_leaves_open_is_named(text: str, part: str) -> None:
    assert part in declared(text).unknown


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "name the file of a template"),
        ("\n\n", "name the file of a template"),
        ("# nothing", "empty"),
        ('{\n// a comment\n"Resources": {}}', "line 2, column 1"),
        ('{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}', "column"),
        ("Resources: {Q: *missing}", "missing"),
        ("Resources: &all {Q: *all}", "*all"),
        ("Resources: {}\n---\nResources: {}", "several YAML documents"),
        (SAM, "it has no Resources"),
        ("service: x\nprovider: {name: aws}\nresources: ${file(r.yml)}", "serverless package"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(text: str, remedy: str) -> None:
    with pytest.raises(InputError) as refused:
        declared(text)
    assert remedy in str(refused.value)


def test_aliases_and_merge_keys_have_the_values_that_they_repeat() -> None:
    declaration = declared(
        """
        x-queue: &queue {Type: AWS::SQS::Queue}
        x-bucket: &bucket {BucketName: one, VersioningConfiguration: {Status: Enabled}}
        Resources:
          A: *queue
          B:
            <<: *queue
            Properties: {QueueName: b}
          C:
            Type: AWS::S3::Bucket
            Properties:
              <<: [*bucket]
              BucketName: other
        """
    )
    by_address = declaration.by_address
    assert [by_address[name].kind.name for name in "AB"] == ["AWS::SQS::Queue"] * 2
    assert by_address["B"].name == "b"
    assert by_address["C"].name == "other"
    assert "s3:PutBucketVersioning" in actions(declaration)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("!Sub '${Q}-dlq'", {"Fn::Sub": "${Q}-dlq"}),
        ("!GetAtt Q.Arn", {"Fn::GetAtt": ["Q", "Arn"]}),
        ("!Ref Q", {"Ref": "Q"}),
        ("!If [A, b, !Ref Q]", {"Fn::If": ["A", "b", {"Ref": "Q"}]}),
    ],
)
def test_an_alias_repeats_a_function_whole(function: str, value: object) -> None:
    text = f"a: &a {function}\nb: *a\nc: [*a]\nd: {{<<: {{e: *a}}}}"
    document = read_template_text(text, "t.yaml", Budget(LIMITS["template"])).value
    assert document == {"a": value, "b": value, "c": [value], "d": {"e": value}}


def test_a_template_in_utf_16_is_read() -> None:
    text = f"Resources: {{F: {{Type: AWS::Lambda::Function, Properties: {{Layers: ['{LAYER}']}}}}}}"
    files = {"t.yaml": text.encode("utf-16")}
    assert "lambda:GetLayerVersion" in actions(read_stack("shop=t.yaml", files.get, PLACE))


def test_a_comma_before_a_bracket_is_read_as_yaml_has_it() -> None:
    declaration = declared('{"Resources": {"Q": {"Type": "AWS::SQS::Queue",},}}')
    assert [resource.kind.name for resource in declaration.resources] == ["AWS::SQS::Queue"]


def test_a_key_that_is_repeated_with_its_value_says_nothing() -> None:
    declaration = declared("Resources: {Q: {Type: AWS::SQS::Queue, Type: AWS::SQS::Queue}}")
    assert declaration.unknown == {}


def test_a_repeated_alias_costs_what_it_repeats() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    small = replace(LIMITS["template"], steps=1_000)
    with pytest.raises(TooLargeError):
        read_template_text("\n".join(lines), "t.yaml", Budget(small))


BRANCHES = f"""
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties: !If
      - Prod
      - {{{CODE}, Layers: ['{LAYER}']}}
      - !If
        - Eu
        - {{{CODE}, FunctionUrlConfig: {{AuthType: NONE}}}}
        - {{{CODE}, VpcConfig: {{SubnetIds: [a], SecurityGroupIds: [b]}}}}
"""


def test_properties_of_aws_sam_by_a_condition_are_those_of_all_branches() -> None:
    declaration = declared(f"{SAM}{CONDITIONS}{BRANCHES}")
    needed_actions = {
        "lambda:GetLayerVersion",
        "lambda:CreateFunctionUrlConfig",
        "ec2:DescribeSubnets",
    }
    assert needed_actions <= actions(declaration)
    assert declaration.unknown == {}


def test_properties_of_aws_sam_by_a_known_condition_are_those_of_its_branch() -> None:
    conditions = CONDITIONS.replace("Env: {Type: String}", "Env: {Type: String, Default: prod}")
    declaration = declared(f"{SAM}{conditions}{BRANCHES}")
    assert "lambda:GetLayerVersion" in actions(declaration)
    assert "lambda:CreateFunctionUrlConfig" not in actions(declaration)


@pytest.mark.parametrize(
    ("properties", "needed"),
    [
        ("!If [Prod, {Tags: [{Key: a, Value: b}]}, {QueueName: a}]", "sqs:TagQueue"),
        ("!If [Prod, {QueueName: a}, {Tags: [{Key: a, Value: b}]}]", "sqs:TagQueue"),
        ("{QueueName: a, Fn::If: [Prod, {}, {Tags: [{Key: a, Value: b}]}]}", "sqs:TagQueue"),
        ("{Tags: !If [Prod, !Ref AWS::NoValue, [{Key: a, Value: b}]]}", "sqs:TagQueue"),
    ],
)
def test_both_branches_of_properties_count(properties: str, needed: str) -> None:
    queue = f"Resources: {{Q: {{Type: AWS::SQS::Queue, Properties: {properties}}}}}"
    declaration = declared(CONDITIONS + queue)
    assert needed in actions(declaration)
    assert declaration.unknown == {}


NESTED = [
    "!If [{0}, !If [{1}, {2}, {3}], {4}]",
    "!If [{0}, {2}, !If [{1}, {3}, {4}]]",
]
"""Two conditions that only the deployment knows, each of which decides about three values."""


@pytest.mark.parametrize("conditions", [("Eu", "Prod"), ("Prod", "Eu")])
@pytest.mark.parametrize("nested", NESTED)
def test_every_branch_of_nested_conditions_counts(nested: str, conditions: tuple[str, str]) -> None:
    properties = [f"{{{CODE}, Layers: ['{LAYER}{number}']}}" for number in range(3)]
    function = nested.format(*conditions, *properties)
    serverless = f"Resources: {{F: {{Type: AWS::Serverless::Function, Properties: {function}}}}}"
    layers = {
        str(layer)
        for resource in declared(f"{SAM}{CONDITIONS}{serverless}").resources
        for layer in resource.properties.get("Layers", ())
    }
    assert layers == {f"{LAYER}{number}" for number in range(3)}

    loop_items = nested.format(*conditions, "[a]", "[b]", "[c]")
    queue = "Queue${Name}: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Name}}"
    loop = f"Resources:\n  Fn::ForEach::Queues:\n    - Name\n    - {loop_items}\n    - {queue}\n"
    declaration = declared(f"{LOOPS}{CONDITIONS}{loop}")
    assert {resource.address for resource in declaration.resources} == {
        "Queuea",
        "Queueb",
        "Queuec",
    }


@pytest.mark.parametrize(("count", "is_whole"), [(40, True), (6, False)])
def test_a_branch_that_is_not_tried_is_named(count: int, is_whole: bool) -> None:
    names = [f"C{number:02}" for number in range(count)]
    conditions = "".join(f"  {name}: !Equals [!Ref AWS::StackId, x]\n" for name in names)
    arn = "arn:aws:iam::aws:policy/"
    values = [f"!If [{name}, '{arn}{name}', '{arn}Not{name}']" for name in names]
    if not is_whole:
        # Each pair of conditions decides about one more value.
        values = [
            f"!If [{first_name}, !If [{second_name}, !If [{third}, a, '{arn}{first_name}{second_name}{third}'], b], c]"
            for first_name in names
            for second_name in reversed(names)
            for third in names
        ]
    policies = "".join(f"        - {value}\n" for value in values)
    declaration = declared(
        f"Conditions:\n{conditions}Resources:\n  R:\n    Type: AWS::IAM::Role\n    Properties:\n"
        f"      AssumeRolePolicyDocument: {{}}\n      ManagedPolicyArns:\n{policies}"
    )
    arns = {
        arn
        for resource in declaration.resources
        for arn in resource.properties["ManagedPolicyArns"]
    }
    if is_whole:
        assert {f"{arn}{name}" for name in names} | {f"{arn}Not{name}" for name in names} <= arns
    assert ("branches of R" in declaration.unknown) is not is_whole


def test_a_name_in_properties_by_a_condition_is_that_of_the_branch() -> None:
    declaration = declared(f"""{CONDITIONS}
Resources:
  Q: {{Type: AWS::SQS::Queue, Properties: !If [Prod, {{QueueName: a}}, {{QueueName: b}}]}}
  P: {{Type: AWS::SSM::Parameter, Properties: {{Type: String, Name: !Sub '/${{Q.QueueName}}'}}}}
""")
    assert {resource.name for resource in declaration.resources if resource.address == "P"} == {
        "/a",
        "/b",
    }


def test_a_loop_over_the_items_of_a_condition_makes_those_of_both_branches() -> None:
    loop = """
Resources:
  Fn::ForEach::Queues:
    - Name
    - !If [Prod, [a, b], !If [Eu, [c], [d]]]
    - Queue${Name}: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Name}}
"""
    declaration = declared(f"{LOOPS}{CONDITIONS}{loop}")
    assert {resource.address for resource in declaration.resources} == {
        f"Queue{name}" for name in "abcd"
    }


def test_a_retention_by_a_function_is_read() -> None:
    declaration = declared(
        f"""{LOOPS}
Mappings: {{M: {{prod: {{policy: Retain}}}}}}
Resources:
  Q: {{Type: AWS::SQS::Queue, DeletionPolicy: !FindInMap [M, prod, policy]}}
"""
    )
    assert "sqs:DeleteQueue" not in actions(declaration)


def test_the_default_of_a_mapping_is_the_value_of_an_absent_key() -> None:
    declaration = declared(
        f"""{LOOPS}
Mappings: {{M: {{prod: {{name: a}}}}}}
Resources:
  Q:
    Type: AWS::SQS::Queue
    Properties: {{QueueName: !FindInMap [M, dev, name, {{DefaultValue: other}}]}}
"""
    )
    assert declaration.by_address["Q"].name == "other"


def change(*operations: str, kind: str = "aws_sqs_queue", **more: object) -> dict[str, Any]:
    return {
        "address": f"{kind}.x",
        "mode": "managed",
        "type": kind,
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": [*operations], "before": {"name": "a"}, "after": {"name": "a"}},
        **more,
    }


INVOCATION = {"address": "action.aws_lambda_invoke.x", "type": "aws_lambda_invoke"}


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        ({"resource_changes": [change("create")], "errored": True}, "the rest of the plan"),
        ({"resource_changes": [change("create")], "complete": False}, "the rest of the plan"),
        (
            {"resource_changes": [change("create")], "action_invocations": [INVOCATION]},
            "the call of action.aws_lambda_invoke.x",
        ),
        (
            {"deferred_action_invocations": [{"action_invocation": INVOCATION}]},
            "the call of action.aws_lambda_invoke.x",
        ),
        (
            {"deferred_changes": [{"resource_change": change("create")}], "resource_changes": []},
            "the deferred aws_sqs_queue.x",
        ),
        (
            {"planned_values": {"root_module": {"resources": [{"type": "aws_sqs_queue"}]}}},
            "the changes of the plan",
        ),
        ({"resource_changes": [change("create", provider_name="acme/aws-fork")]}, "aws_sqs_queue"),
        ({"resource_changes": [change("open")]}, "the action open of aws_sqs_queue.x"),
        ({"resource_changes": []}, "p.json"),
        ({"resource_changes": [change("create", kind="aws_brand_new")]}, "aws_brand_new"),
    ],
)
def test_what_a_plan_leaves_open_is_named(plan: dict[str, Any], part: str) -> None:
    declaration = read_plan(json.dumps({"planned_values": {}, **plan}).encode(), "p.json")
    assert part in declaration.unknown


def test_a_resource_that_terraform_forgets_needs_nothing() -> None:
    plan = json.dumps({"planned_values": {}, "resource_changes": [change("forget")]}).encode()
    declaration = read_plan(plan, "p.json")
    assert (needs_of(declaration, PLACE), declaration.unknown) == ((), {})


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ({"format_version": "1.0", "terraform_version": "1.9.0", "values": {}}, "a state"),
        ({"version": 4, "serial": 1, "lineage": "x", "resources": []}, "a state"),
        ({}, "terraform show -json tf.plan"),
    ],
)
def test_a_state_is_no_plan(file: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_plan(json.dumps(file).encode(), "p.json")


@pytest.mark.parametrize(
    ("kind", "operation", "is_named"),
    [
        ("command:local:Command", "create", True),
        ("command:local:Command", "same", False),
        ("pulumi-nodejs:dynamic:Resource", "create", True),
        ("aws:sqs/queue:Queue", "brand-new", True),
        ("aws:sqs/queue:Queue", "discard", False),
        ("kubernetes:core/v1:Pod", "create", False),
    ],
)
def test_a_step_of_pulumi_that_runs_code_is_named(
    kind: str, operation: str, is_named: bool
) -> None:
    step = {"op": operation, "urn": "urn:x::q", "newState": {"type": kind, "inputs": {}}}
    queue = {
        "op": "create",
        "urn": "urn:y::q",
        "newState": {"type": "aws:sqs/queue:Queue", "inputs": {"name": "a"}},
    }
    declaration = read_plan(json.dumps({"steps": [step, queue]}).encode(), "p.json")
    assert ("urn:x::q" in declaration.unknown) is is_named


def test_a_role_whose_account_is_no_account_is_passed_all_the_same() -> None:
    base = {"Type": "AWS::Bedrock::KnowledgeBase"}
    base |= {"Properties": {"Name": "a", "RoleArn": "arn:aws:iam::${AWS::AccountId}:role/base"}}
    declaration = declared(json.dumps({"Resources": {"B": base}}))
    passed = [need.permission for need in needs_of(declaration, PLACE)]
    roles = [permission.resource for permission in passed if permission.action == "iam:PassRole"]
    assert roles == ["arn:aws:iam::111122223333:role/base"]


@pytest.mark.parametrize(
    ("kind", "properties", "service"),
    [
        ("AWS::AppMesh::Mesh", {"MeshName": "a"}, "appmesh"),
        ("AWS::EC2::ClientVpnEndpoint", {}, "clientvpn"),
        ("AWS::LakeFormation::Resource", {"UseServiceLinkedRole": True}, "lakeformation"),
        ("AWS::LakeFormation::Resource", {"UseServiceLinkedRole": False}, ""),
        ("AWS::CloudWatch::Alarm", {"AlarmActions": ["arn:aws:automate:x:ec2:stop"]}, "events"),
        ("AWS::CloudWatch::Alarm", {"AlarmActions": ["arn:aws:sns:x:1:a"]}, ""),
    ],
)
def test_a_service_linked_role_that_no_handler_lists_is_needed(
    kind: str, properties: dict[str, Any], service: str
) -> None:
    resource = {"Type": kind, "Properties": properties}
    needs = needs_of(declared(json.dumps({"Resources": {"R": resource}})), PLACE)
    creations = [need for need in needs if need.permission.action == "iam:CreateServiceLinkedRole"]
    names = [
        value
        for creation in creations
        for condition in creation.permission.conditions
        for value in condition.values
    ]
    assert names == ([f"{service}.amazonaws.com"] if service else [])


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("aws_eks_addon_version", "eks:DescribeAddonVersions"),
        ("aws_ec2_transit_gateway_vpn_attachment", "ec2:DescribeTransitGatewayAttachments"),
        ("aws_canonical_user_id", "s3:ListAllMyBuckets"),
        ("aws_rds_engine_version", "rds:DescribeDBEngineVersions"),
    ],
)
def test_a_data_source_needs_the_read_of_its_documentation(kind: str, action: str) -> None:
    read = {**change("read", kind=kind), "mode": "data", "address": f"data.{kind}.x"}
    plan = json.dumps({"planned_values": {}, "resource_changes": [read]}).encode()
    declaration = read_plan(plan, "p.json")
    assert (
        {need.permission.action for need in needs_of(declaration, PLACE)},
        declaration.unknown,
    ) == (
        {action},
        {},
    )


@pytest.mark.parametrize(
    ("artifacts", "part"),
    [
        ({}, "cdk.out"),
        ({"Tree": {"type": "cdk:tree"}}, "cdk.out"),
        ({"S": {"type": "aws:own:deployment"}}, "the artifact S"),
        ({"S": {"properties": {"templateFile": "S.json"}}}, "the artifact S"),
    ],
)
def test_an_assembly_without_a_stack_says_so(artifacts: dict[str, Any], part: str) -> None:
    manifest = json.dumps({"artifacts": artifacts}).encode()
    files = RepositoryFiles({"cdk.out/manifest.json": manifest}.get, "cdk.out")
    role = "arn:aws:iam::111122223333:role/ci"
    [declaration] = read_assembly(files, "cdk.out", role, PLACE)
    assert part in declaration.unknown
