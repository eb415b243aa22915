from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws_checks.rendered_policy import render_policy
from leastpriv.errors import InputError
from leastpriv.policy.document import Document, parse
from leastpriv.policy.syntax_tree import line_of
from tests.fakes.aws.policy_checks import _position

POLICY = b"""{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "s3:GetObject",
        "sqs:SendMessage"
      ],
      "Resource": "*"
    }
  ]
}
"""
INNER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": "*"}],
}
TEMPLATE = """\
Resources:
  Deploy:
    Type: AWS::IAM::Policy
    Properties:
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Action:
              - s3:GetObject
              - sqs:SendMessage
            Resource: {resource}
"""
TERRAFORM = b"""\
data "aws_iam_policy_document" "deploy" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["*"]
  }

  statement {
    actions   = ["sqs:SendMessage"]
    resources = ["*"]
  }
}
"""
PATH: list[dict[str, Any]] = [
    {"value": "Statement"},
    {"index": 0},
    {"value": "Action"},
    {"index": 1},
]


def test_the_files_own_text_is_sent_and_positions_correspond() -> None:
    document = parse(POLICY, "p.json")
    text = render_policy(document)
    assert text
    assert text.is_source_text
    assert text.text == POLICY.decode().strip()
    start = text.text.index('"sqs:SendMessage"')
    assert text.line({"path": [], "span": {"start": _position(text.text, start), "end": {}}}) == 8


def test_lines_of_a_policy_in_a_larger_json_file_are_those_of_the_file() -> None:
    document = json.dumps({"a": [1, 2], "Policy": INNER}, indent=2).encode()
    text = render_policy(parse(document, "export.json"))
    assert text
    start = text.text.index('"sqs:SendMessage"')
    line = text.line(
        {"path": [*PATH[:3], {"index": 0}], "span": {"start": _position(text.text, start)}}
    )
    assert document.decode().splitlines()[line - 1].strip() == '"sqs:SendMessage"'


def test_lines_of_a_policy_in_a_string_are_those_of_the_file() -> None:
    body = json.dumps(INNER, indent=1)
    template = "\n".join(["Resources:", "  Deploy:", "    Properties:", "      PolicyDocument: |"])
    file = template + "\n" + "\n".join(f"        {line}" for line in body.splitlines()) + "\n"
    text = render_policy(
        parse(file.encode(), "t.yaml", "/Resources/Deploy/Properties/PolicyDocument")
    )
    assert text
    assert text.is_source_text
    start = text.text.index('"sqs:SendMessage"')
    line = text.line({"path": PATH, "span": {"start": _position(text.text, start)}})
    assert line == line_of(file, file.index('"sqs:SendMessage"'))


def test_a_policy_in_yaml_is_sent_as_json_and_located_by_path() -> None:
    text = render_policy(_template("'*'"))
    assert text
    assert not text.is_source_text
    assert json.loads(text.text)["Statement"][0]["Action"] == ["s3:GetObject", "sqs:SendMessage"]
    assert text.line({"path": PATH, "span": {"start": {"line": 1, "column": 0, "offset": 0}}}) == 11


def test_pseudo_parameters_known_from_the_role_are_filled_in() -> None:
    text = render_policy(_template("!Sub 'arn:${AWS::Partition}:sqs:*:${AWS::AccountId}:orders'"))
    assert text
    assert json.loads(text.text)["Statement"][0]["Resource"] == "arn:aws:sqs:*:111122223333:orders"


@pytest.mark.parametrize("resource", ["!GetAtt Queue.Arn", "!Sub '${Queue}'", "!If [A, b, c]"])
def test_a_policy_with_unknown_parts_is_never_sent(resource: str) -> None:
    assert render_policy(_template(resource)) is None


def test_findings_about_a_policy_in_hcl_are_on_the_line_of_their_statement() -> None:
    text = render_policy(parse(TERRAFORM, "main.tf", "data.aws_iam_policy_document.deploy"))
    assert text
    assert text.line({"path": [{"value": "Statement"}, {"index": 1}, {"value": "Action"}]}) == 8


def test_an_invalid_path_step_keeps_the_node() -> None:
    text = render_policy(_template("'*'"))
    assert text
    assert text.line({"path": [{"value": "Statement"}, {"index": 7}]}) == 8
    assert text.line({"path": [{"value": "Nothing"}]}) == 6


def test_every_readable_real_policy_is_sent_with_its_meaning(shared_folder: Path) -> None:
    """The sent value equals the value in the file."""
    count = 0
    for file in sorted((shared_folder / "corpus").rglob("*.json"))[:3000]:
        try:
            document = parse(file.read_bytes(), file.name)
        except InputError:
            continue  # no policy, covered by other tests
        text = render_policy(document)
        if text and text.is_source_text:
            count += 1
            assert json.loads(text.text) == json.loads(
                document.text[document.policy.start : document.policy.end]
            )
    assert count > 20


def _template(resource: str) -> Document:
    pseudo_parameters = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}
    text = TEMPLATE.format(resource=resource)
    return parse(
        text.encode(), "t.yaml", "/Resources/Deploy/Properties/PolicyDocument", pseudo_parameters
    )
