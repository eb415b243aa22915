"""Expressions in HCL: what can be known is evaluated, and what remains unknown may cover
anything.
"""

from __future__ import annotations

import json

import pytest

from leastpriv.diff.compare import entries_with_usage
from leastpriv.errors import PolicyFileError
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.source import TerraformFolder

VALUES = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
POLICY = "data.aws_iam_policy_document.p"
FILE = """data "aws_iam_policy_document" "p" {
  statement {
    actions   = ACTIONS
    resources = RESOURCES
  }
}

variable "bucket" {
  default = "acme-assets"
}

variable "extra" {
  type = list(string)
}

variable "none" {
  default = []
}

locals {
  reads  = ["s3:GetObject", "s3:ListBucket"]
  prefix = "acme"
  verbs  = { sqs = ["SendMessage"], sns = ["Publish"] }
}

provider "aws" {
  region = "eu-west-1"
}

resource "aws_s3_bucket" "named" {
  bucket = "${local.prefix}-named"
}

resource "aws_s3_bucket" "open" {
}

resource "aws_s3_bucket" "prefixed" {
  bucket_prefix = "acme-logs-"
}

resource "aws_s3_bucket" "each" {
  for_each = toset(["a", "b"])
  bucket   = "acme-${each.key}"
}

resource "aws_sqs_queue" "q" {
  name = "orders"
}

resource "aws_iam_role" "r" {
  name = "app"
  path = "/ci/"
}

data "aws_caller_identity" "me" {}
data "aws_partition" "p" {}
data "aws_region" "r" {}
"""


def read(actions: str = '["s3:GetObject"]', resources: str = '["*"]', **files: str) -> Document:
    text = FILE.replace("ACTIONS", actions).replace("RESOURCES", resources)
    folder = TerraformFolder({name.replace("__", "."): content for name, content in files.items()})
    return parse(text.encode(), "main.tf", POLICY, VALUES, folder)


@pytest.mark.parametrize(
    ("expression", "entries"),
    [
        ("local.reads", ("s3:GetObject", "s3:ListBucket")),
        ('concat(local.reads, ["a:B"])', ("s3:GetObject", "s3:ListBucket", "a:B")),
        ('toset(["b:B", "a:A", "b:B"])', ("a:A", "b:B")),
        ('[for each in ["Get", "Put"] : "s3:${each}Object"]', ("s3:GetObject", "s3:PutObject")),
        (
            '[for each in ["Get", "Put"] : format("s3:%sObject", each) if each != "Put"]',
            ("s3:GetObject",),
        ),
        (
            (
                "flatten([for service, verbs in local.verbs : [for verb in verbs :"
                ' "${service}:${verb}"]])'
            ),
            ("sns:Publish", "sqs:SendMessage"),
        ),
        ('split(",", "a:A,b:B")', ("a:A", "b:B")),
        ('formatlist("s3:%sObject", ["Get", "Put"])', ("s3:GetObject", "s3:PutObject")),
        ('true ? ["a:A"] : ["b:B"]', ("a:A",)),
        ('[join(":", ["s3", "Get*"])]', ("s3:Get*",)),
        ('[join(":", tolist(toset(["s3", "Get*"])))]', ("Get*:s3",)),
        ('distinct(compact(concat(["a:A", ""], ["a:A"])))', ("a:A",)),
        ("var.extra", ("${var.extra}",)),
        ('concat(["a:A"], var.extra)', ("a:A", "${var.extra}")),
        ("var.none", ("${var.none}",)),
        ('var.unknown ? ["a:A"] : ["a:A"]', ("a:A",)),
    ],
)
def test_actions_are_evaluated_as_far_as_they_can_be_known(
    expression: str, entries: tuple[str, ...]
) -> None:
    assert read(expression).statements[0].actions == entries


def test_a_text_of_the_entries_of_a_set_is_unknown_where_the_place_of_one_is() -> None:
    """Terraform sorts a set by the values, also by those that only the deployment knows."""
    (entry,) = read('[join(":", tolist(toset(["s3", var.none])))]').statements[0].actions
    assert entry.startswith("${expression-")


@pytest.mark.parametrize("chosen", ["tolist(LIST)[0]", "element(tolist(LIST), 0)"])
def test_an_entry_of_a_set_may_be_any_where_the_place_of_another_is_unknown(chosen: str) -> None:
    list_expression = chosen.replace("LIST", 'toset(["s3:GetObject", "s3:${var.none}"])')
    statement = read(f"[{list_expression}]").statements[0]
    assert {*statement.actions} == {"s3:GetObject", "s3:${var.none}"}
    assert {entry.text for entry in statement.possible} == {*statement.actions}


@pytest.mark.parametrize(
    ("expression", "resource"),
    [
        ("aws_s3_bucket.named.arn", "arn:aws:s3:::acme-named"),
        ('"${aws_s3_bucket.named.arn}/*"', "arn:aws:s3:::acme-named/*"),
        ('"arn:aws:s3:::${aws_s3_bucket.named.id}"', "arn:aws:s3:::acme-named"),
        ('"arn:aws:s3:::${var.bucket}/*"', "arn:aws:s3:::acme-assets/*"),
        ("aws_s3_bucket.open.arn", "arn:aws:s3:::${aws_s3_bucket.open.bucket}"),
        ("aws_s3_bucket.prefixed.arn", "arn:aws:s3:::acme-logs-${aws_s3_bucket.prefixed.bucket}"),
        ('aws_s3_bucket.each["a"].arn', "arn:aws:s3:::${aws_s3_bucket.each-a-.bucket}"),
        ("aws_sqs_queue.q.arn", "arn:aws:sqs:eu-west-1:111122223333:orders"),
        ("aws_iam_role.r.arn", "arn:aws:iam::111122223333:role/ci/app"),
        (
            '"arn:${data.aws_partition.p.partition}:sns:${data.aws_region.r.name}:${data.aws_caller_identity.me.account_id}:t"',
            "arn:aws:sns:eu-west-1:111122223333:t",
        ),
        ("module.other.arn", "${module.other.arn}"),
        ('"arn:aws:s3:::x/&{aws:username}"', "arn:aws:s3:::x/${aws:username}"),
    ],
)
def test_resources_keep_the_type_that_their_reference_shows(expression: str, resource: str) -> None:
    assert read(resources=f"[{expression}]").statements[0].resources == (resource,)


def test_files_of_variables_replace_defaults_and_contradictions_are_unknown() -> None:
    resource = '["arn:aws:s3:::${var.bucket}"]'
    (loaded,) = read(resources=resource, terraform__tfvars='bucket = "live"').statements
    (of_production,) = read(resources=resource, prod__tfvars='bucket = "live"').statements
    (of_both,) = read(
        resources=resource, prod__tfvars='bucket = "live"', dev__tfvars='bucket = "dev"'
    ).statements
    assert loaded.resources == of_production.resources == ("arn:aws:s3:::live",)
    assert of_both.resources == ("arn:aws:s3:::${var.bucket}",)


def test_a_plan_gives_the_values_of_expressions() -> None:
    plan = {
        "variables": {"extra": {"value": ["sqs:SendMessage"]}},
        "planned_values": {
            "root_module": {
                "resources": [{"address": "aws_s3_bucket.open", "values": {"bucket": "acme-open"}}]
            }
        },
        "prior_state": {
            "values": {
                "root_module": {
                    "resources": [
                        {
                            "address": "aws_s3_bucket.prefixed",
                            "values": {"arn": "arn:aws:s3:::acme-logs-7"},
                        }
                    ]
                }
            }
        },
    }
    text = FILE.replace("ACTIONS", "var.extra").replace("RESOURCES", "[aws_s3_bucket.prefixed.arn]")
    document = parse(
        text.encode(), "main.tf", POLICY, VALUES, TerraformFolder(plan=json.dumps(plan))
    )
    assert document.statements[0].actions == ("sqs:SendMessage",)
    assert document.statements[0].resources == ("arn:aws:s3:::acme-logs-7",)


def test_the_rendered_policy_of_a_plan_replaces_what_remains_unknown() -> None:
    rendered = {
        "Statement": [{"Effect": "Allow", "Action": ["a:A", "b:B"], "Resource": "*"}],
        "Version": "2012-10-17",
    }
    values = {"address": POLICY, "values": {"json": json.dumps(rendered)}}
    plan = {"prior_state": {"values": {"root_module": {"resources": [values]}}}}
    text = FILE.replace("ACTIONS", 'concat(["a:A"], yamldecode(local.x))').replace(
        "RESOURCES", '["*"]'
    )
    document = parse(
        text.encode(), "main.tf", POLICY, VALUES, TerraformFolder(plan=json.dumps(plan))
    )
    (statement,) = document.statements
    assert statement.actions == ("a:A", "b:B")
    assert (statement.fixed_reason("a:A"), statement.fixed_reason("b:B")) == (
        "",
        "an expression makes it",
    )


@pytest.mark.parametrize(
    ("actions", "resources", "effect"),
    [
        ("var.extra", '["*"]', "unknown"),
        ('["s3:*"]', "var.extra", "unknown"),
        ('["s3:${var.verb}"]', '["*"]', "unknown"),
        ('["sqs:${var.verb}"]', '["*"]', "implicitDeny"),
        ('["s3:*"]', '["arn:aws:sqs:*:*:${var.queue}"]', "implicitDeny"),
        ('["s3:GetObject"]', '["${aws_s3_bucket.named.arn}/*"]', "allowed"),
        ('["s3:GetObject"]', '["${aws_s3_bucket.prefixed.arn}/*"]', "implicitDeny"),
    ],
)
def test_a_call_that_an_expression_may_allow_is_neither_allowed_nor_denied(
    actions: str, resources: str, effect: str
) -> None:
    request = Request("s3:GetObject", "arn:aws:s3:::acme-named/key", {})
    assert evaluate(request, [read(actions, resources)]).effect == effect


@pytest.mark.parametrize(
    "resource", ['"arn:aws:s3:::acme-assets"', "aws_s3_bucket.open.arn", '"arn:aws:s3:::${var.x}"']
)
def test_a_wildcard_on_an_unknown_bucket_grants_what_it_grants_on_a_literal_one(
    resource: str,
) -> None:
    from leastpriv.evidence.models import Evidence

    literal = read('["s3:*"]', '["arn:aws:s3:::acme-assets"]').statements[0].resources
    document = read('["s3:*"]', f"[{resource}]")
    entry = entries_with_usage(document, Evidence("arn:aws:iam::111122223333:role/r", (), (), ()))[
        0
    ]
    assert entry.granted
    assert all(fits(action, literal[0]) for action in entry.granted)


DYNAMIC = """data "aws_iam_policy_document" "p" {
  dynamic "statement" {
    for_each = FOR_EACH
    content {
      actions   = statement.value.actions
      resources = [statement.value.resource]
    }
  }
  statement {
    effect    = "Deny"
    actions   = ["iam:*"]
    resources = ["*"]
  }
}
"""


def test_dynamic_statements_over_known_values_are_written_out() -> None:
    known_values = '[{ actions = ["a:A"], resource = "*" }, { actions = var.x, resource = "r" }]'
    first, second, third = parse(
        DYNAMIC.replace("FOR_EACH", known_values).encode(), "main.tf", POLICY
    ).statements
    assert (first.actions, first.resources, first.conditions_readable) == (("a:A",), ("*",), True)
    assert (second.actions, second.resources) == (("${var.x}",), ("r",))
    assert third.effect == "Deny"
    assert first.fixed_reason("a:A") == "a dynamic block makes it"
    assert not third.fixed_reason("iam:*")


def test_dynamic_statements_over_unknown_values_may_allow_anything() -> None:
    document = parse(DYNAMIC.replace("FOR_EACH", "var.all").encode(), "main.tf", POLICY)
    assert evaluate(Request("s3:GetObject", "*", {}), [document]).effect == "unknown"
    assert evaluate(Request("iam:GetRole", "*", {}), [document]).effect == "explicitDeny"


def test_other_documents_are_merged_as_the_provider_does() -> None:
    text = """data "aws_iam_policy_document" "p" {
  source_policy_documents   = [data.aws_iam_policy_document.base.json, var.more]
  override_policy_documents = [jsonencode({ Statement = local.newer })]
  statement {
    sid       = "B"
    actions   = ["b:Old"]
    resources = ["*"]
  }
}

locals {
  newer = { Sid = "B", Effect = "Allow", Action = "b:New", Resource = "*" }
}

data "aws_iam_policy_document" "base" {
  statement {
    sid       = "A"
    actions   = ["a:A"]
    resources = ["*"]
  }
}
"""
    statements = parse(text.encode(), "main.tf", POLICY).statements
    assert [statement.actions for statement in statements] == [
        ("a:A",),
        ("${var.more}",),
        ("b:New",),
    ]
    assert not statements[0].fixed_reason("a:A")
    assert statements[1].fixed_reason("${var.more}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("effect = var.effect", "its effect is an expression"),
        ("not_actions = [var.x]", "what its NotAction excludes is unknown"),
    ],
)
def test_an_unknown_effect_or_exclusion_may_allow_or_deny_anything(body: str, reason: str) -> None:
    actions = "" if "actions" in body else 'actions = ["s3:GetObject"]\n'
    text = (
        f'data "aws_iam_policy_document" "p" {{\n  statement {{\n{body}\n{actions}resources ='
        ' ["*"]\n  }\n}\n'
    )
    document = parse(text.encode(), "main.tf", POLICY)
    assert evaluate(Request("s3:GetObject", "*", {}), [document]).effect == "unknown"
    assert any(
        reason == part.reason for statement in document.statements for part in statement.fixed
    )


def test_an_unknown_policy_variable_in_a_condition_makes_the_grant_uncertain() -> None:
    condition = (
        '["*"]\n condition {\n test = var.t\n variable = "aws:RequestedRegion"\n values = ["x"]\n }'
    )
    text = FILE.replace("ACTIONS", '["s3:GetObject"]').replace("RESOURCES", condition)
    assert (
        evaluate(Request("s3:GetObject", "*", {}), [parse(text.encode(), "main.tf", POLICY)]).effect
        == "unknown"
    )


FOLDER = {
    "policy__json": '{"Statement": [{"Effect": "Allow", "Action": "a:A", "Resource": "*"}]}',
    "policy__json__tftpl": (
        '{"Statement": [{"Effect": "Allow", "Action": ${jsonencode(acts)}, "Resource":'
        ' "${arn}/*"}]}'
    ),
    "locals__tf": 'locals {\n  shared = ["c:C"]\n}\n',
}


@pytest.mark.parametrize(
    ("policy", "actions", "resources", "reason"),
    [
        ('file("${path.module}/policy.json")', ("a:A",), ("*",), "it is in policy.json"),
        (
            'templatefile("policy.json.tftpl", { acts = ["b:B"], arn = "arn:aws:s3:::x" })',
            ("b:B",),
            ("arn:aws:s3:::x/*",),
            "it is in the template policy.json.tftpl",
        ),
        (
            (
                'jsonencode({ Statement = { Effect = "Allow", Action = local.shared, Resource = "*"'
                " } })"
            ),
            ("c:C",),
            ("*",),
            "local.shared is in locals.tf",
        ),
    ],
)
def test_policies_of_other_files_are_read_and_name_their_file(
    policy: str, actions: tuple[str, ...], resources: tuple[str, ...], reason: str
) -> None:
    text = f'resource "aws_iam_role_policy" "p" {{\n  policy = {policy}\n}}\n'
    folder = TerraformFolder({name.replace("__", "."): content for name, content in FOLDER.items()})
    (statement,) = parse(
        text.encode(), "main.tf", "aws_iam_role_policy.p.policy", VALUES, folder
    ).statements
    assert (statement.actions, statement.resources) == (actions, resources)
    assert statement.fixed_reason(actions[0]) == reason


@pytest.mark.parametrize("word", ["END", "END_", "END_OF_TEMPLATE"])
def test_no_line_ends_a_template_before_its_end(word: str) -> None:
    """Terraform reads all of it: what is behind the line counts."""
    template_text = FOLDER["policy__json"]
    text = b'resource "aws_iam_role_policy" "p" {\n  policy = templatefile("p.tftpl", {})\n}\n'
    folder = TerraformFolder({"p.tftpl": f"{template_text}\n{word}\n, x"})
    with pytest.raises(PolicyFileError):
        parse(text, "main.tf", "aws_iam_role_policy.p.policy", VALUES, folder)


def test_a_heredoc_keeps_the_places_of_its_json_around_expressions() -> None:
    text = """resource "aws_iam_role_policy" "p" {
  policy = <<-EOT
    {
      "Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ${jsonencode(var.acts)}, "Resource": "${aws_s3_bucket.x["a"].arn}/*"},
        {"Effect": "Allow", "Action": "a:A", "Resource": ["arn:aws:s3:::${var.b}", "$${aws:userid}"]}
      ]
    }
  EOT
}
"""
    document = parse(text.encode(), "main.tf", "aws_iam_role_policy.p", VALUES)
    first, second = document.statements
    assert first.actions[0].startswith("${expression-")
    assert second.resources == ("arn:aws:s3:::${var.b}", "${aws:userid}")
    assert [
        (statement.line, document.line_of_entry(1, "a:A")) for statement in document.statements
    ] == [
        (5, 6),
        (6, 6),
    ]
