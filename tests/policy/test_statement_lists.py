"""A list of statements without a policy around it, as `serverless.yml` has it, is a policy."""

from __future__ import annotations

import pytest

from leastpriv.errors import PolicyFileError
from leastpriv.policy.document import parse
from leastpriv.policy.edit import AppendStatement, ReplaceActions, apply_edits

ROLE = """\
service: shop
provider:
  name: aws
  iam:
    role:
      statements:
        # The orders.
        - Effect: Allow
          Action:
            - dynamodb:GetItem
            - dynamodb:PutItem # never used
          Resource: arn:aws:dynamodb:eu-west-1:111122223333:table/orders
        - Effect: Allow
          Action: sqs:SendMessage
          Resource: !GetAtt Queue.Arn
functions: {}
"""
OLD = ROLE.replace("  iam:\n    role:\n      statements:", "  iamRoleStatements:")
NEW = {"Effect": "Allow", "Action": ["sns:Publish"], "Resource": "*"}


@pytest.mark.parametrize(
    ("text", "pointer"),
    [(ROLE, "/provider/iam/role/statements"), (OLD, "/provider/iamRoleStatements")],
)
def test_the_statements_are_read_and_edited_in_place(text: str, pointer: str) -> None:
    document = parse(text.encode(), "serverless.yml", pointer)
    assert [statement.actions for statement in document.statements] == [
        ("dynamodb:GetItem", "dynamodb:PutItem"),
        ("sqs:SendMessage",),
    ]
    assert document.statements[1].unknown_parts() == ("Queue.Arn",)
    removal = ReplaceActions(0, frozenset({"dynamodb:PutItem"}), ())
    edited = apply_edits(document, [removal, AppendStatement(NEW)]).to_bytes().decode()
    expected = text.replace("            - dynamodb:PutItem # never used\n", "")
    before_functions, _, functions = expected.partition("functions:")
    assert edited.startswith(before_functions)
    assert edited.endswith(f"functions:{functions}")
    again = parse(edited.encode(), "serverless.yml", pointer)
    assert [statement.actions for statement in again.statements] == [
        ("dynamodb:GetItem",),
        ("sqs:SendMessage",),
        ("sns:Publish",),
    ]


def test_the_pointer_to_the_statements_is_named() -> None:
    with pytest.raises(PolicyFileError, match=r"serverless\.yml#/provider/iam/role/statements"):
        parse(ROLE.encode(), "serverless.yml")


def test_a_list_of_resource_statements_is_no_policy() -> None:
    text = ROLE.replace(
        "        - Effect: Allow\n", "        - Effect: Allow\n          Principal: '*'\n"
    )
    with pytest.raises(PolicyFileError):
        parse(text.encode(), "serverless.yml", "/provider/iam/role/statements")
