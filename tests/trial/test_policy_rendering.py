"""All renderings of a candidate allow the same, and fit AWS's limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.errors import InputError
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.size import PolicyKind, quota
from leastpriv.trial.strategies import (
    as_inline_policies,
    as_managed_policies,
    as_session_policy,
    render_documents,
)


def document(count: int, version: str = "2012-10-17", name: str = "p.json") -> Document:
    """A policy of some statements of about a hundred characters each."""
    statements = [_statement(number) for number in range(count)]
    text = json.dumps(
        {**({"Version": version} if version else {}), "Statement": statements}, indent=4
    )
    return parse(text.encode(), name)


def _statement(number: int) -> dict[str, Any]:
    arn = f"arn:aws:sqs:eu-west-1:111122223333:queue-number-{number}"
    return {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}


def read(text: str) -> Document:
    return parse(text.encode(), "made.json")


def is_same(texts: tuple[str, ...], documents: list[Document]) -> bool:
    reads = [read(text) for text in texts]
    return check_containment(documents, reads).holds and check_containment(reads, documents).holds


@given(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.booleans())
def test_every_form_allows_the_same_as_the_documents_and_fits(
    counts: list[int], older: bool
) -> None:
    documents = [
        document(count, "" if older and not position else "2012-10-17")
        for position, count in enumerate(counts)
    ]
    session = as_session_policy(documents)
    inline = as_inline_policies(documents)
    managed = as_managed_policies(documents)
    assert not session or (
        len(session) <= quota(PolicyKind.SESSION) and is_same((session,), documents)
    )
    assert not inline or (
        sum(map(len, inline)) <= quota(PolicyKind.INLINE_ROLE) and is_same(inline, documents)
    )
    assert managed
    assert len(managed) <= 10
    assert max(map(len, managed)) <= quota(PolicyKind.MANAGED)
    assert is_same(managed, documents)


def test_a_small_policy_is_a_session_policy_and_a_large_one_is_not() -> None:
    assert as_session_policy([document(10)])
    assert as_session_policy([document(60)]) == ""
    assert as_inline_policies([document(60)])
    assert as_inline_policies([document(200)]) == ()
    assert as_managed_policies([document(1_200)]) == ()


def test_statements_are_merged_if_the_policy_then_fits() -> None:
    assert len(render_documents([document(25)])[0]) > quota(PolicyKind.SESSION)
    assert is_same((as_session_policy([document(25)]),), [document(25)])


def test_policies_of_two_versions_are_not_merged_since_only_one_has_variables() -> None:
    texts = render_documents([document(1), document(1, ""), document(1)])
    assert [json.loads(text).get("Version") for text in texts] == [None, "2012-10-17"]
    assert as_session_policy([document(1, ""), document(1)]) == ""


def test_an_empty_policy_becomes_a_harmless_one_that_iam_accepts() -> None:
    (text,) = render_documents([parse(create_policy(()), "p.json")])
    (statement,) = json.loads(text)["Statement"]
    assert statement["Action"] == "sts:GetCallerIdentity"
    assert as_session_policy([parse(create_policy(()), "p.json")]) == text


def test_characters_that_aws_rejects_in_a_policy_are_escaped() -> None:
    arn = "arn:aws:s3:::b/€ und 😀"
    document = parse(
        create_policy([{"Effect": "Allow", "Action": "s3:GetObject", "Resource": arn}]), "p.json"
    )
    text = as_session_policy([document])
    assert text.isascii()
    assert read(text).statements[0].resources == (arn,)


TEMPLATE = """
Resources:
  Deploy:
    Type: AWS::IAM::Policy
    Properties:
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Action: s3:GetObject
            Resource: {resource}
"""
AT = "/Resources/Deploy/Properties/PolicyDocument"


@pytest.mark.parametrize("resource", ["!Sub '${Bucket.Arn}/*'", "!GetAtt Bucket.Arn"])
def test_an_unrendered_template_cannot_be_tried(resource: str) -> None:
    raw = TEMPLATE.format(resource=resource).encode()
    with pytest.raises(InputError, match="known only once its template is rendered"):
        render_documents([parse(raw, "template.yaml", AT)])


def test_a_literal_policy_in_a_template_can_be_tried() -> None:
    raw = TEMPLATE.format(resource="arn:aws:s3:::assets/*").encode()
    assert read(as_session_policy([parse(raw, "template.yaml", AT)])).statements[0].resources == (
        "arn:aws:s3:::assets/*",
    )


@pytest.mark.parametrize(
    "resource",
    ["!Sub 'arn:${AWS::Partition}:s3:::assets/*'", "!Join [/, ['arn:aws:s3:::assets', '*']]"],
)
def test_a_template_whose_text_is_known_can_be_tried(resource: str) -> None:
    raw = TEMPLATE.format(resource=resource).encode()
    document = parse(raw, "template.yaml", AT, {"AWS::Partition": "aws"})
    assert read(as_session_policy([document])).statements[0].resources == ("arn:aws:s3:::assets/*",)


def test_a_policy_in_hcl_can_be_tried() -> None:
    statement = b'statement {\n    actions   = ["s3:GetObject"]\n    resources = ["*"]\n  }'
    raw = b'data "aws_iam_policy_document" "d" {\n  ' + statement + b"\n}\n"
    document = parse(raw, "main.tf", "data.aws_iam_policy_document.d")
    assert read(as_session_policy([document])).statements[0].actions == ("s3:GetObject",)
