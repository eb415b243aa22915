"""Policies of a Terraform folder: which are attached to a role, and what resources of the folder
are called.
"""

from __future__ import annotations

import re
import time

import pytest

from leastpriv.errors import PolicyFileError
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.resource_types import types_of_arn
from leastpriv.policy.document import parse
from leastpriv.policy.edit import ReplaceActions, apply_edits
from leastpriv.policy.hcl import attached_policies
from leastpriv.policy.source import TerraformFolder

FOLDER = """resource "aws_iam_role" "deploy" {
  name                = "ci-deploy"
  managed_policy_arns = [aws_iam_policy.listed.arn, "arn:aws:iam::aws:policy/ReadOnlyAccess"]

  inline_policy {
    name   = "own"
    policy = jsonencode({ Statement = [] })
  }
}

resource "aws_iam_role" "other" {
  name = "other"
}

resource "aws_iam_role_policy" "by_reference" {
  role   = aws_iam_role.deploy.id
  policy = data.aws_iam_policy_document.alone.json
}

resource "aws_iam_role_policy" "by_name" {
  role   = "ci-deploy"
  policy = data.aws_iam_policy_document.shared.json
}

resource "aws_iam_role_policy" "of_other" {
  role   = aws_iam_role.other.name
  policy = data.aws_iam_policy_document.shared.json
}

resource "aws_iam_role_policy_attachment" "attached" {
  role       = aws_iam_role.deploy.name
  policy_arn = aws_iam_policy.attached.arn
}

resource "aws_iam_policy_attachment" "several" {
  name       = "several"
  roles      = [aws_iam_role.other.name, aws_iam_role.deploy.name]
  policy_arn = aws_iam_policy.several.arn
}

resource "aws_iam_policy" "listed" {
  policy = jsonencode({ Statement = [] })
}

resource "aws_iam_policy" "attached" {
  policy = jsonencode({ Statement = [] })
}

resource "aws_iam_policy" "several" {
  policy = jsonencode({ Statement = [] })
}

module "role" {
  source  = "acme/role/aws"
  role    = aws_iam_role.deploy.name
  policy  = jsonencode({ Statement = [{ Effect = "Allow", Action = "a:A", Resource = "*" }] })
  comment = "x"
}

data "aws_iam_policy_document" "alone" {
}

data "aws_iam_policy_document" "shared" {
}
"""


def test_every_way_to_attach_a_policy_to_a_role_is_found() -> None:
    addresses = attached_policies(FOLDER, "main.tf", "ci-deploy", TerraformFolder(), {})
    assert addresses.split(",") == [
        "aws_iam_role.deploy.inline_policy[0].policy",
        "aws_iam_policy.listed.policy",
        "data.aws_iam_policy_document.alone",
        "aws_iam_role_policy.by_name.policy",
        "aws_iam_policy.attached.policy",
        "aws_iam_policy.several.policy",
        "module.role.policy",
    ]
    assert attached_policies(FOLDER, "main.tf", "absent", TerraformFolder(), {}) == ""


INDIRECT = """locals {
  arns = [aws_iam_policy.by_local.arn, local.arns]
}

resource "aws_iam_role_policy_attachment" "each" {
  for_each   = { one = aws_iam_policy.by_key.arn, all = local.arns, aws = "arn:aws:iam::aws:policy/ReadOnlyAccess" }
  role       = "ci-deploy"
  policy_arn = each.value
}

module "policy" {
  source = "acme/policy/aws"
  policy = data.aws_iam_policy_document.by_module.json
}

module "role" {
  source          = "acme/role/aws"
  role_name       = "ci-deploy"
  policy_arns     = [module.policy.arn]
  number_of_arns  = 1
}

resource "aws_iam_policy" "by_key" {
  policy = jsonencode({ Statement = [] })
}

resource "aws_iam_policy" "by_local" {
  policy = jsonencode({ Statement = [] })
}

resource "aws_iam_policy" "of_another_role" {
  policy = jsonencode({ Statement = [] })
}

data "aws_iam_policy_document" "by_module" {
  statement {
    actions   = ["a:A"]
    resources = ["*"]
  }
}
"""


def test_a_policy_that_is_attached_by_each_value_a_local_or_a_module_is_found() -> None:
    addresses = attached_policies(INDIRECT, "main.tf", "ci-deploy", TerraformFolder(), {})
    assert addresses.split(",") == [
        "aws_iam_policy.by_key.policy",
        "aws_iam_policy.by_local.policy",
        "module.policy.policy",
    ]


def test_a_local_module_gives_its_outputs() -> None:
    text = """module "bucket" {
  source = "./modules/bucket"
  name   = "acme"
}

data "aws_iam_policy_document" "p" {
  statement {
    actions   = module.bucket.actions
    resources = [module.bucket.arn, module.other.arn]
  }
}
"""
    module = """variable "name" {}

variable "suffix" {
  default = "assets"
}

resource "aws_s3_bucket" "b" {
  bucket = "${var.name}-${var.suffix}"
}

output "arn" {
  value = aws_s3_bucket.b.arn
}

output "actions" {
  value = ["s3:GetObject"]
}
"""
    folder = TerraformFolder({"modules/bucket/main.tf": module})
    values = {"AWS::Partition": "aws"}
    (statement,) = parse(
        text.encode(), "main.tf", "data.aws_iam_policy_document.p", values, folder
    ).statements
    assert statement.actions == ("s3:GetObject",)
    assert statement.resources == ("arn:aws:s3:::acme-assets", "${module.other.arn}")
    assert statement.fixed_reason("s3:GetObject") == "module.bucket makes it"


BEGINNINGS = {"execution_arn", "arn_without_revision"}
"""Attributes that policies continue: `"${aws_api_gateway_rest_api.x.execution_arn}/*"`."""
ROWS = [
    row
    for row in table("terraform_attributes", "leastpriv.policy")
    if row["template"].startswith("arn:") and row["attribute"] not in BEGINNINGS
]
_STAND_INS = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['type']}.{row['attribute']}")
def test_the_arn_of_an_attribute_is_of_a_type_that_the_catalogue_knows(row: dict[str, str]) -> None:
    template = row["template"].replace("${path=/}", "/")
    stand_in = re.compile(r"\$\{((?:\w*/)?)(\w+)(?:=[^}]*)?\}")
    arn = stand_in.sub(lambda found: found[1] + _STAND_INS.get(found[2], "name1"), template)
    assert types_of_arn(arn.split(":")[2], arn), arn


def test_a_policy_of_a_thousand_actions_is_read_and_edited_in_seconds() -> None:
    statements = "".join(
        f'  statement {{\n    sid = "S{index}"\n    actions = [\n'
        + "".join(f'      "s3:Action{index}x{number}",\n' for number in range(20))
        + "    ]\n    resources = [aws_s3_bucket.b.arn]\n  }\n\n"
        for index in range(50)
    )
    resources = "".join(
        f'resource "aws_sqs_queue" "q{number}" {{\n  name = "q{number}"\n}}\n\n'
        for number in range(300)
    )
    text = f'data "aws_iam_policy_document" "p" {{\n{statements}}}\n\n{resources}'
    begin = time.process_time()
    document = parse(text.encode(), "main.tf", "data.aws_iam_policy_document.p")
    edits = [ReplaceActions(number, frozenset({f"s3:Action{number}x3"})) for number in range(50)]
    after = apply_edits(document, edits)
    assert sum(len(statement.actions) for statement in after.statements) == 950
    assert time.process_time() - begin < 10


ONE_POLICY = """resource "aws_iam_role_policy" "ci" {
  role   = "ci-deploy"
  policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] })
}
"""


def test_an_address_in_two_files_is_refused_unless_one_overrides() -> None:
    address = "aws_iam_role_policy.ci.policy"
    twice = TerraformFolder({"b.tf": ONE_POLICY})
    with pytest.raises(PolicyFileError, match=r"is declared in a\.tf and in b\.tf"):
        parse(ONE_POLICY.encode(), "iam/a.tf", address, {}, twice)
    overridden = TerraformFolder({"ci_override.tf": ONE_POLICY})
    assert parse(ONE_POLICY.encode(), "iam/a.tf", address, {}, overridden).statements
