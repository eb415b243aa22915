"""The roles that Terraform attaches a policy to: in its own folder, and by calls of its module."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.pipeline.infrastructure import terraform_files
from leastpriv.policy.document import Document, parse
from leastpriv.policy.hcl_users import attached_roles
from leastpriv.policy.source import TerraformFolder

VALUES = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
MODULE = """variable "role" {}
data "aws_iam_policy_document" "deploy" {
  statement {
    actions   = ["sqs:*"]
    resources = ["*"]
  }
}
resource "aws_iam_policy" "deploy" {
  name   = "deploy"
  policy = data.aws_iam_policy_document.deploy.json
}
resource "aws_iam_role_policy_attachment" "deploy" {
  role       = var.role
  policy_arn = aws_iam_policy.deploy.arn
}
"""
ADDRESS = "data.aws_iam_policy_document.deploy"
PATH = "modules/deploy/main.tf"


def document(text: str, pointer: str = ADDRESS) -> Document:
    return parse(text.encode(), "main.tf", pointer, VALUES, TerraformFolder({}))


def users(text: str, pointer: str = ADDRESS, **callers: str) -> list[str]:
    files = {name.replace("__", "/") + ".tf": content for name, content in callers.items()}
    return list(attached_roles(document(text, pointer), PATH, VALUES, files))


def call(role: str, source: str = "../../modules/deploy") -> str:
    return f'module "deploy" {{\n  source = "{source}"\n  role   = {role}\n}}\n'


def test_each_call_of_a_module_names_a_role() -> None:
    dev, prod = call('"deploy-dev"'), call("local.name")
    prod += 'locals {\n  name = "deploy-prod"\n}\n'
    assert users(MODULE, envs__dev__main=dev, envs__prod__main=prod) == [
        "deploy-dev",
        "deploy-prod",
    ]


@pytest.mark.parametrize(
    "text",
    [
        call('"x"', "../../modules/other"),
        call('"x"', "acme/deploy/aws"),
        call("data.aws_iam_role.x.name"),
        "module {{{",
        "",
    ],
)
def test_what_calls_another_module_or_names_no_role_has_no_user(text: str) -> None:
    assert users(MODULE, envs__dev__main=text) == []


@pytest.mark.parametrize("pointer", [ADDRESS, "aws_iam_role_policy.one.policy"])
def test_the_roles_of_one_folder_share_a_document(pointer: str) -> None:
    text = MODULE.partition('resource "aws_iam_policy"')[0]
    for name in ("one", "two"):
        text += (
            f'resource "aws_iam_role_policy" "{name}" {{\n  role = "deploy-{name}"\n'
            "  policy = data.aws_iam_policy_document.deploy.json\n}\n"
        )
    text += 'resource "aws_iam_role" "other" {\n  name = "other"\n}\n'
    roles = ["deploy-one", "deploy-two"] if pointer == ADDRESS else ["deploy-one"]
    assert users(text, pointer) == roles


def test_files_that_may_call_the_module_are_found_in_the_checkout(tmp_path: Path) -> None:
    files = {
        PATH: MODULE,
        "envs/dev/main.tf": call('"deploy-dev"'),
        "envs/dev/names.tf": "locals {}\n",
        "envs/other/main.tf": "locals {}\n",
        ".terraform/modules/x/main.tf": call('"hidden"'),
        "notes/deploy.json": json.dumps({}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(terraform_files(tmp_path, PATH)) == ["envs/dev/main.tf", "envs/dev/names.tf"]
    assert terraform_files(tmp_path, "modules/absent/main.tf") == {}
    assert terraform_files(tmp_path, "main.tf") == {}
