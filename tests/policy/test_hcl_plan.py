"""A real plan gives the expressions of a policy the values that Terraform computes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from leastpriv.policy.document import parse
from leastpriv.policy.source import TerraformFolder
from tests.end_to_end.seed.tools import ToolMissingError, terraform

MODULE = """terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "3.39.0"
    }
  }
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "x"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  skip_get_ec2_platforms      = true
}

variable "queue" {
  type = string
}

locals {
  lists = yamldecode("topics: [sns:CreateTopic]\\nparameters: [ssm:PutParameter]")
}

data "aws_iam_policy_document" "deploy" {
  statement {
    sid       = "Queues"
    actions   = ["sqs:CreateQueue"]
    resources = ["arn:aws:sqs:*:*:${var.queue}"]
  }

  dynamic "statement" {
    for_each = local.lists
    content {
      actions   = statement.value
      resources = ["*"]
    }
  }
}

resource "aws_iam_role_policy" "deploy" {
  role   = "ci-deploy"
  policy = templatefile("policy.tftpl", { actions = values(local.lists) })
}
"""
TEMPLATE = """{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": ${jsonencode(flatten(actions))}, "Resource": "*"}]
}
"""


@pytest.mark.slow
def test_a_plan_of_terraform_says_what_every_expression_is(tmp_path: Path) -> None:
    try:
        tools = terraform()
    except ToolMissingError as error:
        pytest.skip(str(error))
    (tmp_path / "main.tf").write_text(MODULE)
    (tmp_path / "policy.tftpl").write_text(TEMPLATE)
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "TF_CLI_CONFIG_FILE": str(tools / "terraform.rc"),
    }
    output = ""
    for command in (
        ["init", "-input=false"],
        ["plan", "-input=false", "-var=queue=orders", "-out=plan.bin"],
        ["show", "-json", "plan.bin"],
    ):
        completed = subprocess.run(
            [str(tools / "program"), *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stderr[-2_000:]
        output = completed.stdout
    # The program, a build of 2021, writes the names of its pipes around its output.
    plan = output[output.index("{") : output.rindex("}") + 1]
    files = {"policy.tftpl": TEMPLATE}

    def read(address: str, plan: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        document = parse(MODULE.encode(), "main.tf", address, {}, TerraformFolder(files, plan))
        return [(statement.actions, statement.resources) for statement in document.statements]

    without, with_plan = (
        read("data.aws_iam_policy_document.deploy", plan_text) for plan_text in ("", plan)
    )
    assert without[0] == (("sqs:CreateQueue",), ("arn:aws:sqs:*:*:${var.queue}",))
    assert without[1][0][0].startswith("${")
    assert with_plan == [
        (("sqs:CreateQueue",), ("arn:aws:sqs:*:*:orders",)),
        (("ssm:PutParameter",), ("*",)),
        (("sns:CreateTopic",), ("*",)),
    ]
    assert read("aws_iam_role_policy.deploy.policy", plan) == [
        (("ssm:PutParameter", "sns:CreateTopic"), ("*",))
    ]
