"""A list of statements without a policy around it, as `serverless.yml` has it, is a policy."""

from __future__ import annotations

import pytest

from leastpriv.errors import PolicyFileError
from leastpriv.models import Basis, Need, Permission
from leastpriv.policy.document import parse
from leastpriv.policy.edit import AppendStatement, ReplaceActions, apply_edits
from leastpriv.policy.replay import replay_need

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


INCLUDED = "        - ${file(./iam.yml):statements}\n"
POINTER = "/provider/iam/role/statements"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_statement_that_the_framework_puts_in_is_unknown_and_the_others_are_edited(
    is_first: bool,
) -> None:
    start = "        # The orders.\n" if is_first else "functions:"
    assert start in ROLE
    text = ROLE.replace(start, f"{INCLUDED}{start}")
    document = parse(text.encode(), "serverless.yml", POINTER)
    index = 0 if is_first else 2
    included = document.statements[index]
    assert included.unknown_parts() == ("file(./iam.yml).statements",)
    assert "Serverless Framework" in included.fixed_reason("")
    orders = 1 if is_first else 0
    removal = ReplaceActions(orders, frozenset({"dynamodb:PutItem"}), ())
    edited = apply_edits(document, [removal, AppendStatement(NEW)]).to_bytes().decode()
    assert INCLUDED in edited
    assert "dynamodb:PutItem" not in edited
    assert edited.count("Effect: Allow") == text.count("Effect: Allow") + 1


def test_nothing_is_certainly_missing_where_a_statement_is_unknown() -> None:
    text = ROLE.replace("functions:", f"{INCLUDED}functions:")
    need = Need(
        Permission("sns:Publish", "arn:aws:sns:eu-west-1:111122223333:a"), Basis.OBSERVED, ""
    )
    for file_text, effect in ((ROLE, "implicitDeny"), (text, "unknown")):
        document = parse(file_text.encode(), "serverless.yml", POINTER)
        assert (
            replay_need(need, "arn:aws:iam::111122223333:role/f", "eu-west-1", [document]) == effect
        )


def test_an_action_that_the_framework_puts_in_is_unknown() -> None:
    text = ROLE.replace("            - dynamodb:GetItem\n", "            - ${self:custom.action}\n")
    document = parse(text.encode(), "serverless.yml", POINTER)
    assert document.statements[0].unknown_actions == ("${self.custom.action}",)


def test_a_list_of_nothing_but_variables_is_no_policy() -> None:
    text = "provider:\n  iam:\n    role:\n      statements:\n" + INCLUDED
    with pytest.raises(PolicyFileError):
        parse(text.encode(), "serverless.yml", POINTER)
