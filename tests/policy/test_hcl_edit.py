"""Edits of policies in HCL: only the lines that must change do, in the file's own style."""

from __future__ import annotations

import difflib

import pytest

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import (
    AppendActions,
    AppendStatement,
    DropStatement,
    Edit,
    ReplaceActions,
    ReplaceNotAction,
    ReplaceResources,
    apply_edits,
    can_add_entries,
    can_add_statements,
)
from leastpriv.policy.hcl_text import aligned

VALUES = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
FILE = """# The deploy role of the shop.
data "aws_iam_policy_document" "deploy" {
  # what it reads
  statement {
    sid = "Read"
    actions = [
      "s3:GetObject",  # the code
      "s3:ListBucket", # its listing
      "sqs:*",
    ]
    resources = ["${aws_s3_bucket.assets.arn}/*", aws_s3_bucket.assets.arn]
  }

  statement {
    sid         = "Rest"
    not_actions = ["iam:*", "sts:*"]
    resources   = ["*"]
  }

  statement {
    actions   = concat(local.more, ["logs:CreateLogGroup"], var.extra)
    resources = local.shared
  }

  statement {
    effect    = "Deny"
    actions   = local.shared
    resources = ["*"]
  }
}

locals {
  more = [
    "sns:*", # all topics
    "sns:Publish",
  ]
  shared = ["*"]
}

resource "aws_s3_bucket" "assets" {
  bucket = "acme-assets"
}

resource "aws_lambda_function" "f" {
  function_name = "orders"
  role          = aws_iam_role.f.arn
  depends_on    = [aws_iam_role_policy.object]
}

provider "aws" {
  region = "eu-west-1"
}

resource "aws_iam_role_policy" "object" {
  role = aws_iam_role.deploy.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "ec2:*"
        Resource = "*"
      },
      { "Effect" = "Allow", "Action" = ["a:A", "b:B"], "Resource" = "*" },
    ]
  })
}

resource "aws_iam_policy" "text" {
  policy = <<-EOF
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Effect": "Allow",
          "Action": ["s3:*", "a:A"],
          "Resource": "${aws_s3_bucket.assets.arn}/*"
        }
      ]
    }
  EOF
}
"""
DATA = "data.aws_iam_policy_document.deploy"
OBJECT = "aws_iam_role_policy.object.policy"
TEXT = "aws_iam_policy.text"
NEW = AppendStatement(
    {
        "Sid": "New",
        "Effect": "Allow",
        "Action": ["s3:PutObject"],
        "Resource": ["arn:aws:s3:::acme-assets/up/*", "arn:aws:s3:::other/${*}"],
    }
)


def read(address: str, text: str = FILE) -> Document:
    return parse(text.encode(), "main.tf", address, VALUES)


def changed_lines(before: str, after: str) -> list[str]:
    """Returns the removed and added lines of a difference, sorted."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return sorted(line for line in lines if line[:1] in "+-")


@pytest.mark.parametrize(
    ("address", "edit", "lines"),
    [
        (
            DATA,
            ReplaceActions(0, frozenset({"s3:GetObject"})),
            ['-       "s3:GetObject",  # the code'],
        ),
        (
            DATA,
            ReplaceActions(
                0, frozenset({"sqs:*"}), (("sqs:*", ("sqs:SendMessage", "sqs:GetQueueUrl")),)
            ),
            ['-       "sqs:*",', '+       "sqs:SendMessage",', '+       "sqs:GetQueueUrl",'],
        ),
        (
            DATA,
            ReplaceActions(
                0, frozenset({"s3:ListBucket"}), (("s3:ListBucket", ("s3:ListBucketVersions",)),)
            ),
            [
                '-       "s3:GetObject",  # the code',
                '-       "s3:ListBucket", # its listing',
                '+       "s3:GetObject", # the code',
                '+       "s3:ListBucketVersions",',
            ],
        ),
        (DATA, AppendActions(0, ("a:A",)), ['+       "a:A",']),
        (
            DATA,
            ReplaceResources(
                0, frozenset(), ("arn:aws:s3:::acme-assets/x", "arn:aws:s3:::${aws:userid}")
            ),
            [
                '-     resources = ["${aws_s3_bucket.assets.arn}/*", aws_s3_bucket.assets.arn]',
                "+     resources = [",
                '+       "${aws_s3_bucket.assets.arn}/*",',
                "+       aws_s3_bucket.assets.arn,",
                '+       "${aws_s3_bucket.assets.arn}/x",',
                '+       "arn:aws:s3:::$${aws:userid}",',
                "+     ]",
            ],
        ),
        (
            DATA,
            ReplaceNotAction(1, ("s3:GetObject",)),
            [
                '-     sid         = "Rest"',
                '-     not_actions = ["iam:*", "sts:*"]',
                '-     resources   = ["*"]',
                '+     sid       = "Rest"',
                '+     actions   = ["s3:GetObject"]',
                '+     resources = ["*"]',
            ],
        ),
        (
            DATA,
            ReplaceActions(2, frozenset({"sns:*"}), (("sns:*", ("sns:CreateTopic",)),)),
            ['-     "sns:*", # all topics', '+     "sns:CreateTopic",'],
        ),
        (
            DATA,
            ReplaceActions(2, frozenset({"logs:CreateLogGroup"})),
            [
                '-     actions   = concat(local.more, ["logs:CreateLogGroup"], var.extra)',
                "+     actions   = concat(local.more, [], var.extra)",
            ],
        ),
        (
            OBJECT,
            ReplaceActions(0, frozenset({"ec2:*"}), (("ec2:*", ("ec2:RunInstances",)),)),
            ['-         Action   = "ec2:*"', '+         Action   = "ec2:RunInstances"'],
        ),
        (
            OBJECT,
            AppendActions(0, ("ec2:RunInstances",)),
            [
                '-         Effect   = "Allow"',
                '-         Action   = "ec2:*"',
                '+         Effect = "Allow"',
                "+         Action = [",
                '+           "ec2:*",',
                '+           "ec2:RunInstances",',
                "+         ]",
            ],
        ),
        (
            OBJECT,
            ReplaceActions(1, frozenset({"a:A"})),
            [
                '-       { "Effect" = "Allow", "Action" = ["a:A", "b:B"], "Resource" = "*" },',
                '+       { "Effect" = "Allow", "Action" = ["b:B"], "Resource" = "*" },',
            ],
        ),
        (
            TEXT,
            ReplaceActions(0, frozenset({"s3:*"}), (("s3:*", ("s3:GetObject",)),)),
            [
                '-           "Action": ["s3:*", "a:A"],',
                '+           "Action": ["s3:GetObject", "a:A"],',
            ],
        ),
    ],
)
def test_an_edit_changes_only_its_lines(address: str, edit: Edit, lines: list[str]) -> None:
    before = read(address)
    after = apply_edits(before, [edit])
    assert changed_lines(FILE, after.text) == sorted(lines)
    assert len(after.statements) == len(before.statements)


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        (
            DATA,
            [
                "+ ",
                "+   statement {",
                '+     sid     = "New"',
                '+     actions = ["s3:PutObject"]',
                "+     resources = [",
                '+       "${aws_s3_bucket.assets.arn}/up/*",',
                '+       "arn:aws:s3:::other/$${*}",',
                "+     ]",
                "+   }",
            ],
        ),
        (
            OBJECT,
            [
                "+       {",
                '+         "Sid"    = "New"',
                '+         "Effect" = "Allow"',
                '+         "Action" = "s3:PutObject"',
                '+         "Resource" = [',
                '+           "${aws_s3_bucket.assets.arn}/up/*",',
                '+           "arn:aws:s3:::other/$${*}",',
                "+         ]",
                "+       },",
            ],
        ),
        (
            TEXT,
            [
                "+         },",
                "+         {",
                '+           "Sid": "New",',
                '+           "Effect": "Allow",',
                '+           "Action": ["s3:PutObject"],',
                (
                    '+           "Resource": ["${aws_s3_bucket.assets.arn}/up/*",'
                    ' "arn:aws:s3:::other/$${*}"]'
                ),
            ],
        ),
    ],
)
def test_a_new_statement_has_the_form_of_its_neighbours_and_refers_to_the_modules_resources(
    address: str, lines: list[str]
) -> None:
    after = apply_edits(read(address), [NEW])
    assert changed_lines(FILE, after.text) == sorted(lines)
    assert after.statements[-1].resources == (
        "arn:aws:s3:::acme-assets/up/*",
        "arn:aws:s3:::other/${*}",
    )


def test_a_removed_statement_leaves_its_comment_and_no_two_blank_lines() -> None:
    after = apply_edits(read(DATA), [DropStatement(0)])
    start, end = (
        FILE.index("  statement {"),
        FILE.index('\n  statement {\n    sid         = "Rest"'),
    )
    assert after.text == FILE[:start] + FILE[end:]
    last = apply_edits(read(DATA), [DropStatement(3)])
    start, end = FILE.index('\n  statement {\n    effect    = "Deny"'), FILE.index("}\n\nlocals")
    assert last.text == FILE[:start] + FILE[end:]


def test_a_resource_that_depends_on_the_policy_is_not_referred_to() -> None:
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
    edit = AppendStatement({"Effect": "Allow", "Action": ["lambda:Invoke"], "Resource": [arn]})
    assert f'"{arn}"' in apply_edits(read(OBJECT), [edit]).text
    assert "= [aws_lambda_function.f.arn]" in apply_edits(read(DATA), [edit]).text


def test_a_list_that_several_expressions_use_is_not_edited() -> None:
    document = read(DATA)
    statement, deny = document.statements[2:4]
    assert statement.fixed_reason("sns:*") == ""
    assert deny.fixed_reason("*") == "2 expressions use local.shared"
    assert can_add_entries(document, 2, "Action")
    assert not can_add_entries(document, 2, "Resource")
    with pytest.raises(PolicyFileError, match="no list of this statement can be edited"):
        apply_edits(document, [ReplaceResources(2, frozenset({"*"}), ("arn:aws:s3:::b",))])


def test_a_resource_keeps_its_reference_in_another_statement() -> None:
    document = read(DATA)
    edit = AppendStatement(
        {"Effect": "Allow", "Action": ["a:A"], "Resource": list(document.statements[0].resources)}
    )
    assert (
        '"${aws_s3_bucket.assets.arn}/*",\n      aws_s3_bucket.assets.arn,\n'
        in apply_edits(document, [edit]).text
    )


def test_carriage_returns_and_a_byte_order_mark_survive() -> None:
    text = "\ufeff" + FILE.replace("\n", "\r\n")
    for address in (DATA, OBJECT, TEXT):
        after = apply_edits(read(address, text), [NEW]).text
        assert after.startswith("\ufeff")
        assert "\n" not in after.replace("\r\n", "")
        assert (
            after.removeprefix("\ufeff").replace("\r\n", "\n")
            == apply_edits(read(address), [NEW]).text
        )


def test_a_file_that_is_not_formatted_keeps_its_columns() -> None:
    text = FILE.replace('sid         = "Rest"', 'sid = "Rest"')
    after = apply_edits(read(DATA, text), [ReplaceActions(0, frozenset({"sqs:*"}))])
    assert changed_lines(text, after.text) == ['-       "sqs:*",']


def test_statements_are_written_into_a_data_source_that_has_none_of_its_own() -> None:
    text = 'data "aws_iam_policy_document" "p" {\n  source_policy_documents = [var.x]\n}\n'
    address = "data.aws_iam_policy_document.p"
    after = apply_edits(read(address, text), [NEW])
    assert after.text.startswith(f"{text[:-2]}\n  statement {{\n")
    assert can_add_statements(read(address, text))
    assert not can_add_statements(
        read(
            "r.r",
            'resource "r" "r" {\n  policy = file("p.json")\n}\n'.replace(
                'file("p.json")', '"{\\"Statement\\": []}"'
            ),
        )
    )


def test_several_policies_are_edited_together() -> None:
    document = read(f"{DATA},{OBJECT}")
    assert len(document.statements) == 6
    after = apply_edits(document, [DropStatement(0), ReplaceActions(5, frozenset({"a:A"})), NEW])
    assert [statement.sid for statement in after.statements] == ["Rest", "", "", "", "", "New"]
    assert '{ "Effect" = "Allow", "Action" = ["b:B"], "Resource" = "*" },' in after.text


def test_text_of_terraform_fmt_is_aligned_already() -> None:
    assert aligned(FILE) == FILE
    padded = FILE.replace('"s3:GetObject",  # the code', '"s3:GetObject",       # the code')
    assert aligned(padded) == FILE


def document_with(actions: str) -> Document:
    lines = (
        'variable "env" {',
        '  default = "dev"',
        "}",
        "",
        'data "aws_iam_policy_document" "p" {',
        "  statement {",
    )
    text = "\n".join(
        (*lines, f"    actions   = {actions}", '    resources = ["*"]', "  }", "}", "")
    )
    return read("data.aws_iam_policy_document.p", text)


@pytest.mark.parametrize(
    "actions",
    [
        'var.env == "prod" ? ["a:B"] : ["c:D"]',
        '[for verb in ["Get"] : "s3:${verb}Object"]',
        'formatlist("s3:%s", ["GetObject"])',
        'split(",", "c:D,e:F")',
        'keys({ "c:D" = 1 })',
        '[["c:D"]][0]',
    ],
)
def test_an_action_is_neither_added_to_nor_removed_from_a_list_that_an_expression_makes(
    actions: str,
) -> None:
    document = document_with(actions)
    assert not can_add_entries(document, 0, "Action")
    assert all(
        document.statements[0].fixed_reason(action) for action in document.statements[0].actions
    )


@pytest.mark.parametrize(
    "actions", ['concat(split(",", "a:B"), [])', 'distinct(concat(["c:D"], []))']
)
def test_an_action_is_added_to_the_first_list_that_a_function_passes_on_whole(actions: str) -> None:
    document = document_with(actions)
    assert can_add_entries(document, 0, "Action")
    edited = apply_edits(document, [AppendActions(0, ("n:N",))])
    assert "n:N" in read("data.aws_iam_policy_document.p", edited.text).statements[0].actions


def test_a_new_statement_has_the_tabs_and_the_last_commas_of_its_file() -> None:
    text = (
        'data "aws_iam_policy_document" "p" {\n\tstatement {\n\t\tactions ='
        ' [\n\t\t\t"a:B",\n\t\t\t"c:D"\n\t\t]\n\t\tresources = ["*"]\n\t}\n}\n'
    )
    text = f'provider "aws" {{\n  region = "eu-west-1"\n}}\n\n{text}'
    new = AppendStatement({"Effect": "Allow", "Action": ["e:F", "g:H"], "Resource": ["x"]})
    edited = apply_edits(read("data.aws_iam_policy_document.p", text), [new]).text
    added = edited.removeprefix(text.removesuffix("}\n"))
    assert added.splitlines()[1:] == [
        "\tstatement {",
        "\t\tactions = [",
        '\t\t\t"e:F",',
        '\t\t\t"g:H"',
        "\t\t]",
        '\t\tresources = ["x"]',
        "\t}",
        "}",
    ]


def test_a_new_object_ends_with_a_comma_only_if_its_neighbour_does() -> None:
    for end in ("", ","):
        statement = (
            f'{{\n      "Effect" : "Allow",\n      "Action" : "a:B",\n      "Resource" : "*"{end}\n'
            "    }"
        )
        text = f'locals {{\n  policy = jsonencode({{\n    "Statement" : [{statement}]\n  }})\n}}\n'
        new = AppendStatement({"Effect": "Allow", "Action": "e:F", "Resource": "x"})
        edited = apply_edits(read("local.policy", text), [new]).text
        assert f'"Resource" : "x"{end}\n' in edited
