"""What a policy may grant where an expression of its file is not known."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Permission
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, Statement, parse
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.source import TerraformFolder

KNOWN = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
MODULE = """
variable "wide" {}

variable "one" {
  default = "sqs:ListQueues"
}

locals {
  both    = { read = ["sqs:GetQueueUrl"], write = ["sqs:SendMessage"] }
  choices = var.wide ? ["sqs:GetQueueUrl"] : ["sqs:SendMessage"]
}

resource "aws_sqs_queue" "orders" {
  count = var.wide ? 1 : 0
  name  = "orders"
}

resource "aws_sqs_queue" "each" {
  for_each = var.wide
  name     = each.value
}

resource "aws_macie2_classification_job" "job" {
}

data "aws_iam_policy_document" "base" {
  count = var.wide ? 1 : 0

  statement {
    actions   = ["sqs:PurgeQueue"]
    resources = ["*"]
  }
}
"""


def hcl(actions: str = '["sqs:SendMessage"]', resources: str = '["*"]', more: str = "") -> Document:
    body = f"  statement {{\n    actions = {actions}\n    resources = {resources}\n  }}\n"
    text = f'data "aws_iam_policy_document" "p" {{\n{more}{body}}}\n{MODULE}'
    folder = TerraformFolder({"actions.json": '["sqs:GetQueueUrl"]'})
    return parse(text.encode(), "main.tf", "data.aws_iam_policy_document.p", KNOWN, folder)


def possible(statement: Statement, key: str) -> set[str]:
    return {entry.text for entry in statement.possible if entry.key == key}


GET, SEND = "sqs:GetQueueUrl", "sqs:SendMessage"


@pytest.mark.parametrize(
    ("expression", "certain", "open_ones"),
    [
        (f'concat(["{GET}"], var.wide ? ["{SEND}"] : [])', [GET], [SEND]),
        (f'var.wide ? ["{GET}", "{SEND}"] : ["{SEND}"]', [SEND], [GET]),
        (f'[var.wide ? "{GET}" : "{SEND}"]', [], [GET, SEND]),
        ('["sqs:${var.wide ? "GetQueueUrl" : "SendMessage"}"]', [], [GET, SEND]),
        (f'compact(["{GET}", var.wide ? "{SEND}" : ""])', [GET], [SEND]),
        (f'toset(concat(["{GET}"], var.wide ? ["{SEND}", "{GET}"] : []))', [GET], [SEND]),
        ('lookup(local.both, var.wide, ["sqs:ListQueues"])', [], [GET, SEND, "sqs:ListQueues"]),
        ("local.both[var.wide]", [], [GET, SEND]),
        ("local.choices", [], [GET, SEND]),
        (
            'flatten([for key, each in local.both : each if key != "read" || var.wide])',
            [SEND],
            [GET],
        ),
        (
            'merge(local.both, var.wide ? { read = ["sqs:ListQueues"] } : {})["read"]',
            [],
            [GET, "sqs:ListQueues"],
        ),
        (f'coalescelist(var.wide ? ["{GET}"] : [], ["{SEND}"])', [], [GET, SEND]),
        (f'setsubtract(["{GET}", "{SEND}"], [var.wide])', [], [GET, SEND]),
        (f'[element(["{GET}", "{SEND}"], var.wide)]', [], [GET, SEND]),
        (f'[["{GET}", "{SEND}"][var.wide]]', [], [GET, SEND]),
        (f'[for each in ["{GET}", "{SEND}"] : each if each != var.wide]', [], [GET, SEND]),
        (f'var.wide ? ["{GET}"] : var.one == "x" ? ["sqs:*"] : ["{SEND}"]', [], [GET, SEND]),
        ('formatlist("sqs:%s", var.wide ? ["GetQueueUrl"] : ["SendMessage"])', [], [GET, SEND]),
        ('jsondecode(file("actions.json"))', [GET], []),
        (
            'distinct(concat(jsondecode(file("actions.json")), [var.one]))',
            [GET, "sqs:ListQueues"],
            [],
        ),
    ],
)
def test_an_unknown_test_leaves_the_literal_branches(
    expression: str, certain: Sequence[str], open_ones: Sequence[str]
) -> None:
    (statement,) = hcl(expression).statements
    assert not statement.unknown_actions
    assert possible(statement, "Action") == {*open_ones}
    assert {*statement.actions} == {*certain, *open_ones}
    assert {*statement.certain_part().actions} == {*certain}
    documents = [hcl(expression)]
    for action in certain:
        assert evaluate(Request(action, "*", {}), documents).effect == "allowed"
    for action in open_ones:
        assert evaluate(Request(action, "*", {}), documents).effect == "unknown"
    assert evaluate(Request("iam:CreateUser", "*", {}), documents).effect == "implicitDeny"


QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
OTHER = "arn:aws:sqs:eu-west-1:111122223333:invoices"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:orders"


@pytest.mark.parametrize(
    ("expression", "may_be", "cannot_be"),
    [
        ("[aws_sqs_queue.orders[0].arn]", [QUEUE], [OTHER, TOPIC]),
        ("aws_sqs_queue.orders[*].arn", [QUEUE], [OTHER, TOPIC]),
        ('[aws_sqs_queue.each["a"].arn]', [QUEUE, OTHER], [TOPIC]),
        ("[for each in aws_sqs_queue.each : each.arn]", [QUEUE, OTHER], [TOPIC]),
        ('["${aws_sqs_queue.orders[0].arn}-dead"]', [f"{QUEUE}-dead"], [QUEUE, TOPIC]),
        (
            "[aws_macie2_classification_job.job.arn]",
            ["arn:aws:macie2:eu-west-1:111122223333:classification-job/1"],
            [QUEUE, TOPIC],
        ),
        (f'[var.wide ? "{QUEUE}" : "{TOPIC}"]', [QUEUE, TOPIC], [OTHER]),
        (f'concat(["{QUEUE}"], var.wide ? ["{TOPIC}"] : [])', [QUEUE, TOPIC], [OTHER]),
        ('["arn:aws:sqs:*:*:${var.wide ? "orders" : "invoices"}"]', [QUEUE, OTHER], [TOPIC]),
        ('[join(":", ["arn:aws:sqs", "*", "*", var.wide ? "orders" : "x"])]', [QUEUE], [OTHER]),
        ('[format("arn:aws:sqs:*:*:%s", var.wide ? "orders" : "x")]', [QUEUE], [OTHER, TOPIC]),
    ],
)
def test_an_attribute_of_a_resource_has_the_form_of_its_arn(
    expression: str, may_be: Sequence[str], cannot_be: Sequence[str]
) -> None:
    documents = [hcl(resources=expression)]
    for resource in may_be:
        effect = evaluate(Request(SEND, resource, {}), documents).effect
        assert effect in {"allowed", "unknown"}, resource
    for resource in cannot_be:
        assert evaluate(Request(SEND, resource, {}), documents).effect == "implicitDeny", resource


@pytest.mark.parametrize(
    "more",
    [
        '  dynamic "statement" {\n    for_each = var.wide ? ["sqs:PurgeQueue"] : []\n'
        '    content {\n      actions = [statement.value]\n      resources = ["*"]\n    }\n  }\n',
        "  source_policy_documents = var.wide ? data.aws_iam_policy_document.base[*].json : []\n",
        '  source_policy_documents = [var.wide ? data.aws_iam_policy_document.base[0].json : ""]\n',
        "  override_policy_documents = var.wide ? [data.aws_iam_policy_document.base[0].json]"
        " : []\n",
    ],
)
def test_a_statement_that_may_be_left_out_may_grant_what_it_names(more: str) -> None:
    documents = [hcl(more=more)]
    assert evaluate(Request(SEND, "*", {}), documents).effect == "allowed"
    assert evaluate(Request("sqs:PurgeQueue", "*", {}), documents).effect == "unknown"
    assert check_containment(documents, documents).holds


def template(action: object, resource: object, **more: object) -> Document:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {}}
    function = {"Type": "AWS::Serverless::Function", "Properties": {}}
    root = {
        "Parameters": {
            "Stage": {"Type": "String", "AllowedValues": ["orders", "invoices"]},
            "Act": {"Type": "String", "Default": GET},
            "Acts": {"Type": "CommaDelimitedList", "Default": f"{GET}, {SEND}"},
            "Name": {"Type": "String", "Default": "orders"},
        },
        "Mappings": {"Acts": {"dev": {"act": GET}, "prod": {"act": SEND}}},
        "Conditions": {
            "Wide": {"Fn::Equals": [{"Ref": "Name"}, "x"]},
            "Aws": {"Fn::Equals": [{"Ref": "AWS::Partition"}, "aws"]},
        },
        "Resources": {"P": policy, "Queue": queue, "Table": table, "Code": function, **more},
    }
    return parse(json.dumps(root).encode(), "t.json", "/Resources/P", KNOWN)


NOTHING = {"Ref": "AWS::NoValue"}


@pytest.mark.parametrize(
    ("action", "certain", "open_ones"),
    [
        ({"Fn::If": ["Wide", [GET, SEND], [SEND]]}, [SEND], [GET]),
        ([GET, {"Fn::If": ["Wide", SEND, NOTHING]}], [GET], [SEND]),
        ([{"Fn::If": ["Wide", [GET], NOTHING]}, SEND], [SEND], [GET]),
        ({"Fn::If": ["Aws", GET, SEND]}, [GET], []),
        ({"Fn::If": ["Wide", {"Fn::If": ["Other", GET, SEND]}, SEND]}, [], [GET, SEND]),
        ({"Fn::FindInMap": ["Acts", {"Ref": "Name"}, "act"]}, [], [GET, SEND]),
        ({"Fn::FindInMap": ["Acts", "prod", "act"]}, [SEND], []),
        ({"Ref": "Act"}, [GET], []),
        ({"Ref": "Acts"}, [GET, SEND], []),
        ({"Fn::Select": [0, {"Ref": "Acts"}]}, [GET], []),
        ({"Fn::Split": [",", f"{GET},{SEND}"]}, [GET, SEND], []),
        (
            {"Fn::Sub": ["sqs:${A}", {"A": {"Fn::If": ["Wide", "GetQueueUrl", "SendMessage"]}}]},
            [],
            [GET, SEND],
        ),
        (
            {"Fn::Join": [":", ["sqs", {"Fn::If": ["Wide", "GetQueueUrl", "SendMessage"]}]]},
            [],
            [GET, SEND],
        ),
    ],
)
def test_a_function_leaves_its_literal_branches(
    action: object, certain: Sequence[str], open_ones: Sequence[str]
) -> None:
    (statement,) = template(action, "*").statements
    assert not statement.unknown_actions
    assert {*statement.certain_part().actions} == {*certain}
    assert {*statement.actions} == {*certain, *open_ones}
    documents = [template(action, "*")]
    assert evaluate(Request("iam:CreateUser", "*", {}), documents).effect == "implicitDeny"
    assert check_containment(documents, documents).holds
    permissions = [Permission(resource, "*") for resource in (*certain, *open_ones)]
    assert check_containment([], documents, permissions).holds


@pytest.mark.parametrize(
    ("resource", "may_be", "cannot_be"),
    [
        ({"Fn::GetAtt": ["Queue", "Arn"]}, [QUEUE], [OTHER, TOPIC]),
        ({"Fn::Sub": "${Queue.Arn}-dead"}, [f"{QUEUE}-dead"], [QUEUE, TOPIC]),
        (
            {"Fn::GetAtt": ["Table", "Arn"]},
            ["arn:aws:dynamodb:eu-west-1:111122223333:table/x"],
            [QUEUE],
        ),
        (
            {"Fn::Sub": "arn:aws:dynamodb:*:*:table/${Table}"},
            ["arn:aws:dynamodb:eu-west-1:111122223333:table/x"],
            [QUEUE],
        ),
        (
            {"Fn::GetAtt": ["Code", "Arn"]},
            ["arn:aws:lambda:eu-west-1:111122223333:function:x"],
            [QUEUE],
        ),
        (
            {"Fn::GetAtt": ["CodeRole", "Arn"]},
            ["arn:aws:iam::111122223333:role/x"],
            ["arn:aws:iam::111122223333:user/x", QUEUE],
        ),
        ({"Fn::Sub": "arn:aws:sqs:*:*:${Stage}"}, [QUEUE, OTHER], [f"{QUEUE}-x", TOPIC]),
        ({"Fn::Sub": "arn:aws:sqs:*:*:${Name}"}, [QUEUE, OTHER], [TOPIC]),
        ({"Ref": "Stack"}, [QUEUE, TOPIC], []),
        ({"Fn::If": ["Wide", QUEUE, TOPIC]}, [QUEUE, TOPIC], [OTHER]),
        ([QUEUE, {"Fn::If": ["Wide", OTHER, NOTHING]}], [QUEUE, OTHER], [TOPIC]),
    ],
)
def test_an_attribute_of_a_resource_of_the_template_has_the_form_of_its_arn(
    resource: object, may_be: Sequence[str], cannot_be: Sequence[str]
) -> None:
    documents = [template("*", resource)]
    for on_resource in may_be:
        effect = evaluate(Request(SEND, on_resource, {}), documents).effect
        assert effect in {"allowed", "unknown"}, on_resource
    for on_resource in cannot_be:
        assert evaluate(Request(SEND, on_resource, {}), documents).effect == "implicitDeny", (
            on_resource
        )


NAMES = ("sqs:A", "sqs:B", "sqs:C")
VALUES = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.tuples(st.sampled_from("XY"), inner, inner).map(lambda each: {"Fn::If": [*each]}),
    ),
    max_leaves=6,
)


def rendered(value: object, conditions: dict[str, bool]) -> set[str]:
    """The entries that CloudFormation makes of a value."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        test, yes, no = value["Fn::If"]
        return rendered(yes if conditions[test] else no, conditions)
    assert isinstance(value, list)
    return set().union(*(rendered(part, conditions) for part in value))


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_what_is_certain_is_in_each_rendering_and_each_rendering_is_possible(
    value: list[object],
) -> None:
    def without_lists_in_lists(each: object) -> object:
        return each if not isinstance(each, list) else {"Fn::If": ["X", each, each]}

    document = template([without_lists_in_lists(part) for part in value], "*")
    (statement,) = document.statements
    for x in (True, False):
        for y in (True, False):
            actions = rendered(value, {"X": x, "Y": y})
            assert {*statement.certain_part().actions} <= actions <= {*statement.actions}
