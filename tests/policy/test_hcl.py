"""Policies in HCL: where they are found, and how they are written for a person to copy."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.errors import NoPolicyError, PolicyFileError
from leastpriv.models import Condition
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import AppendStatement, ReplaceActions, apply_edits
from leastpriv.policy.hcl_text import policy_hcl
from leastpriv.policy.source import TerraformFolder

MAIN = """locals {
  one = "x"
}

locals {
  inline = jsonencode({ Statement = [{ Effect = "Allow", Action = "a:B", Resource = "*" }] })
}

data "aws_iam_policy_document" "deploy" {
  # what it deploys
  statement {
    sid = "Buckets"
    actions = [
      "s3:GetObject", # read
      "s3:PutObject",
    ]
    resources = ["${aws_s3_bucket.b.arn}/*", aws_s3_bucket.b.arn, "arn:aws:s3:::x/&{aws:username}"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = ["eu-west-1"]
    }
  }
  statement {
    effect    = "Deny"
    actions   = concat(["a:b"], local.more)
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "deploy" {
  role = aws_iam_role.deploy.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Action      = ["ec2:Describe*"]
        "Effect"    = "Allow"
        Resource    = "*"
        "Condition" = { Bool = { "aws:SecureTransport" = true } }
      },
      { Action = "s3:*", Effect = "Allow", Resource = [aws_s3_bucket.b.arn, "$${aws:userid}"] },
    ]
  })
}

resource "aws_iam_policy" "heredoc" {
  policy = <<-EOF
    {
      "Version": "2012-10-17",
      "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "${aws_s3_bucket.b.arn}/*"}
      ]
    }
  EOF
}

resource "aws_iam_role" "r" {
  inline_policy {
    policy = data.aws_iam_policy_document.deploy.json
  }
  inline_policy {
    name   = "second"
    policy = "{\\"Statement\\": [{\\"Effect\\": \\"Allow\\", \\"Action\\": \\"q:R\\", \\"Resource\\": \\"*\\"}]}"
  }
}
"""


VALUES = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}


def read(address: str, text: str = MAIN, **files: str) -> Document:
    folder = TerraformFolder({name.replace("__", "."): content for name, content in files.items()})
    return parse(text.encode(), "main.tf", address, VALUES, folder)


def test_a_data_source_is_read_as_its_rendered_policy() -> None:
    document = read("data.aws_iam_policy_document.deploy")
    first, second = document.statements
    assert (document.version, first.sid, first.effect, first.line) == (
        "2012-10-17",
        "Buckets",
        "Allow",
        11,
    )
    assert first.actions == ("s3:GetObject", "s3:PutObject")
    assert first.resources == (
        "arn:aws:s3:::${aws_s3_bucket.b.bucket}/*",
        "arn:aws:s3:::${aws_s3_bucket.b.bucket}",
        "arn:aws:s3:::x/${aws:username}",
    )
    assert first.conditions == (Condition("StringEquals", "aws:RequestedRegion", ("eu-west-1",)),)
    assert (second.effect, second.line) == ("Deny", 24)
    assert second.actions == ("a:b", "${local.more}")


def test_a_call_of_jsonencode_is_read() -> None:
    first, second = read("aws_iam_role_policy.deploy.policy").statements
    assert (first.actions, first.line, second.line) == (("ec2:Describe*",), 36, 42)
    assert first.conditions == (Condition("Bool", "aws:SecureTransport", ("true",)),)
    assert second.resources == ("arn:aws:s3:::${aws_s3_bucket.b.bucket}", "${aws:userid}")


@pytest.mark.parametrize(
    ("address", "actions", "line"),
    [
        ("aws_iam_policy.heredoc.policy", ("s3:*",), 52),
        ("aws_iam_policy.heredoc", ("s3:*",), 52),
        ("aws_iam_role.r.inline_policy.policy", ("s3:GetObject", "s3:PutObject"), 11),
        ("aws_iam_role.r.inline_policy[1].policy", ("q:R",), 64),
        ("local.inline", ("a:B",), 6),
    ],
)
def test_other_locations_of_a_policy_are_read_with_their_lines(
    address: str, actions: tuple[str, ...], line: int
) -> None:
    statement = read(address).statements[0]
    assert (statement.actions, statement.line) == (actions, line)


def test_carriage_returns_and_a_byte_order_mark_do_not_matter() -> None:
    address = "aws_iam_policy.heredoc.policy"
    document = read(address, "\ufeff" + MAIN.replace("\n", "\r\n"))
    assert document.statements == read(address).statements


KNOWN = (
    "data.aws_iam_policy_document.deploy, aws_iam_role_policy.deploy.policy,"
    " aws_iam_policy.heredoc.policy"
)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "data.aws_iam_policy_document.other",
        "aws_iam_policy.heredoc.x",
        "local.two",
        "x[",
        "aws_iam_role.r.policy",
    ],
)
def test_the_error_of_an_unknown_address_lists_the_known_ones(address: str) -> None:
    with pytest.raises(NoPolicyError) as caught:
        read(address)
    assert KNOWN in str(caught.value)
    assert str(caught.value).startswith(f"main.tf: {address or 'the file'} ")


DATA = 'data "aws_iam_policy_document" "d" {{\n{}\n}}\n'


@pytest.mark.parametrize(
    ("text", "address", "message"),
    [
        (MAIN, "aws_iam_role.r.inline_policy[2].policy", "there are 2 blocks inline_policy"),
        (MAIN, "local.one", "is text that is no JSON before Terraform renders it"),
        ('a = "${"\n', "local.a", "line 1, column"),
        ("x {\n", "local.a", "line 2, column"),
        ("a = 1\n", "local.a", "has no policy"),
        (
            DATA.format(
                'statement {\n actions = ["a:B"]\n principals {\n type = "AWS"\n identifiers ='
                ' ["*"]\n }\n }'
            ),
            "data.aws_iam_policy_document.d",
            "has a principal",
        ),
        (
            'resource "r" "r" {\n policy = file("x.json")\n}\n',
            "r.r.policy",
            "only Terraform can work out",
        ),
        (
            'resource "r" "r" {\n policy = "{${x}}"\n}\n',
            "r.r.policy",
            "no JSON before Terraform renders it",
        ),
    ],
)
def test_an_incomplete_policy_is_rejected_in_one_sentence(
    text: str, address: str, message: str
) -> None:
    with pytest.raises(PolicyFileError) as caught:
        read(address, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("main.tf: ")
    assert "\n" not in str(caught.value)


NARROWED = ReplaceActions(0, frozenset({"s3:PutObject"}))
ADDED = AppendStatement(
    {"Sid": "New", "Effect": "Allow", "Action": "a:B", "Resource": "arn:aws:s3:::b/${*}"}
)


def test_statements_to_copy_are_written_as_data_source_blocks() -> None:
    document = read("data.aws_iam_policy_document.deploy").as_json()
    hcl = policy_hcl(apply_edits(document, [NARROWED, ADDED]))
    assert hcl.splitlines()[:16] == [
        "statement {",
        '  sid     = "Buckets"',
        '  effect  = "Allow"',
        '  actions = ["s3:GetObject"]',
        "  resources = [",
        '    "arn:aws:s3:::${aws_s3_bucket.b.bucket}/*",',
        '    "arn:aws:s3:::${aws_s3_bucket.b.bucket}",',
        '    "arn:aws:s3:::x/$${aws:username}",',
        "  ]",
        "",
        "  condition {",
        '    test     = "StringEquals"',
        '    variable = "aws:RequestedRegion"',
        '    values   = ["eu-west-1"]',
        "  }",
        "}",
    ]
    assert "local.more" in hcl
    assert '  resources = ["arn:aws:s3:::b/$${*}"]' in hcl


@pytest.mark.parametrize(
    "address",
    [
        "data.aws_iam_policy_document.deploy",
        "aws_iam_role_policy.deploy.policy",
        "aws_iam_policy.heredoc",
    ],
)
def test_written_hcl_has_the_meaning_of_the_policy(address: str) -> None:
    after = apply_edits(read(address).as_json(), [ADDED])
    hcl = policy_hcl(after)
    if address.startswith("data."):
        again = read("data.aws_iam_policy_document.d", DATA.format(hcl))
    else:
        again = read("r.r.policy", f'resource "r" "r" {{\n policy = jsonencode({hcl})\n}}\n')
    assert meaning(again) == meaning(after)


def meaning(document: Document) -> list[object]:
    return [
        (
            statement.sid,
            statement.effect,
            statement.actions,
            statement.resources,
            statement.conditions,
        )
        for statement in document.statements
    ]


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


@example(" ")
@given(names)
def test_any_text_is_written_without_markdown_characters_and_reads_back(name: str) -> None:
    text = f"arn:aws:s3:::b/{name}".replace("${", "").replace("%{", "")
    document = read("aws_iam_role_policy.deploy.policy").as_json()
    after = apply_edits(
        document, [AppendStatement({"Effect": "Allow", "Action": "a:B", "Resource": text})]
    )
    hcl = policy_hcl(after)
    assert not set(hcl) & set("@`|<\t\r")
    again = read("r.r.policy", f'resource "r" "r" {{\n policy = jsonencode({hcl})\n}}\n')
    assert again.statements[-1].resources == after.statements[-1].resources


def test_conditions_of_equal_test_and_variable_add_up() -> None:
    block = """
    condition {
      test     = "StringNotEquals"
      variable = "aws:PrincipalTag/team"
      values   = [VALUES]
    }"""
    several = "".join(
        block.replace("VALUES", values) for values in ('"guest"', '"intern", var.x', '"guest"')
    )
    text = (
        'data "aws_iam_policy_document" "d" {\n  statement {\n    actions = ["a:B"]\n    resources'
        ' = ["*"]'
    )
    document = read("data.aws_iam_policy_document.d", f"{text}{several}\n  }}\n}}\n")
    (condition,) = document.statements[0].conditions
    assert condition.values == ("guest", "intern", "${var.x}", "guest")
    again = f'data "aws_iam_policy_document" "d" {{\n{policy_hcl(document)}}}\n'
    assert read("data.aws_iam_policy_document.d", again).statements[0].conditions == (condition,)


@pytest.mark.parametrize(
    "statement",
    [
        '[for s in var.x : { Effect = "Allow", Action = s, Resource = "*" }]',
        "[local.one]",
        "local.all",
    ],
)
def test_statements_computed_by_terraform_are_not_reported_as_mistakes(statement: str) -> None:
    text = (
        f'resource "r" "r" {{\n  policy = jsonencode({{\n    Statement = {statement}\n  }})\n}}\n'
    )
    with pytest.raises(
        PolicyFileError, match="is an expression that only Terraform can work out; name the output"
    ):
        read("r.r.policy", text)


def test_a_data_source_in_json_is_read_like_one_in_hcl() -> None:
    body = {
        "statement": [
            {
                "actions": ["a:B"],
                "resources": ["${x.y.arn}"],
                "condition": {"test": "Bool", "variable": "a:b", "values": ["true"]},
            }
        ]
    }
    raw = json.dumps({"data": {"aws_iam_policy_document": {"d": body}}}, indent=1).encode()
    document = parse(raw, "main.tf.json", "/data/aws_iam_policy_document/d")
    assert document.statements[0].resources == ("${x.y.arn}",)
    assert document.statements[0].conditions == (Condition("Bool", "a:b", ("true",)),)
    assert document.statements[0].line == 6
    assert not document.editable


@pytest.mark.parametrize("block", ["resource", 'resource "r"', "data", "variable", "module"])
def test_a_block_without_its_labels_is_no_address(block: str) -> None:
    text = f'{block} {{\n  policy = "x"\n}}\n'
    with pytest.raises(NoPolicyError, match="the file has no policy"):
        read("r.r.policy", text)
