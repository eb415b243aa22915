"""A role's policy in Terraform's own language: pull request, merge, apply, and a deploy under the
narrowed policy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.action.test_step import Job
from tests.end_to_end.lab.lab import Lab
from tests.end_to_end.seed.tools import ToolMissingError, terraform
from tests.fakes.github import FakeGitHub

pytestmark = pytest.mark.slow

PROVIDER = """terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "3.39.0"
    }
  }
}

variable "endpoint" {}

provider "aws" {
  region                  = "us-east-1"
  s3_force_path_style     = true
  skip_metadata_api_check = true
  skip_get_ec2_platforms  = true
  skip_region_validation  = true

  endpoints {
    iam = var.endpoint
    sns = var.endpoint
    sts = var.endpoint
  }
}

data "aws_caller_identity" "own" {}
"""
ROLE_TF = """resource "aws_iam_role" "deploy" {
  name = "ci-deploy"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.own.account_id}:root" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "deploy" {
  name   = "deploy"
  role   = aws_iam_role.deploy.id
  policy = data.aws_iam_policy_document.deploy.json
}

data "aws_iam_policy_document" "deploy" {
  statement {
    sid = "Deploy"
    actions = [
      "cloudwatch:DeleteDashboards", # of the old console
      "sns:CreateTopic",
      "ssm:PutParameter",
    ]
    resources = ["*"]
  }
}
"""


def apply(folder: Path, lab: Lab) -> None:
    """Runs `terraform apply` as the administrator."""
    try:
        made = terraform()
    except ToolMissingError as error:
        pytest.skip(str(error))
    environment = {
        **lab.root,
        "PATH": os.defpath,
        "HOME": str(folder),
        "TF_CLI_CONFIG_FILE": str(made / "terraform.rc"),
        "TF_VAR_endpoint": lab.endpoint,
    }
    for command in (["init", "-input=false"], ["apply", "-auto-approve", "-input=false"]):
        done = subprocess.run(
            [str(made / "program"), *command, "-no-color"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


def deploy(lab: Lab, session: str) -> None:
    """What the workflow does under its role."""
    own = lab.assume(f"arn:aws:iam::{lab.account}:role/ci-deploy", session)
    lab.client("sns", own).create_topic(Name="orders")
    lab.client("ssm", own).put_parameter(
        Name="/orders/version", Value=session, Type="String", Overwrite=True
    )


def test_a_deploy_passes_under_the_policy_that_the_merged_pull_request_narrowed(
    fresh_lab: Lab, tmp_path: Path
) -> None:
    lab, infra = fresh_lab, tmp_path / "infra"
    infra.mkdir()
    (infra / "provider.tf").write_text(PROVIDER)
    (infra / "role.tf").write_text(ROLE_TF)
    files = {"infra/provider.tf": PROVIDER, "infra/role.tf": ROLE_TF}
    with FakeGitHub("octo-org/shop", files=files) as hub:
        apply(infra, lab)
        deploy(lab, "17650000001")
        lab.flush()
        job = Job(tmp_path / "job", hub)
        shutil.copytree(lab.records, job.workspace / "records")
        step = job.step(
            role_arn=f"arn:aws:iam::{lab.account}:role/ci-deploy",
            policy_file="infra/role.tf",
            trails="records",
            aws_regions=lab.region,
            mode="pull-request",
            github_token=hub.token,
            minimum_days="0",
            minimum_runs="1",
            minimum_confidence="0",
            grace_days="0",
        )
        assert step.code == 0, step.log
        assert step.outputs["pull-request-operation"] == "created", step.log
        merged = hub.file("infra/role.tf", "leastpriv/ci-deploy").decode()

    assert "cloudwatch:DeleteDashboards" not in merged
    (infra / "role.tf").write_text(merged)
    apply(infra, lab)
    deploy(lab, "17650000002")
    own = lab.assume(f"arn:aws:iam::{lab.account}:role/ci-deploy", "17650000003")
    with pytest.raises(ClientError, match="not authorized to perform: cloudwatch:DeleteDashboards"):
        lab.client("cloudwatch", own).delete_dashboards(DashboardNames=["old"])
