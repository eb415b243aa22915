"""Placeholders for parts that only the rendered template knows."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Permission
from leastpriv.permissions.patterns import has_variable
from leastpriv.policy.compact import merge_statements
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import AppendStatement, ReplaceActions, apply_edits
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.syntax_tree import read_json
from leastpriv.policy.template_functions import (
    Language,
    Placeholder,
    joined_text,
    parts_of,
    template_escape,
)
from leastpriv.policy.template_values import TemplateValues

KNOWN = {"AWS::Partition": "aws", "AWS::AccountId": "111122223333"}


def text_of(
    value: object, language: Language = "cloudformation", known: Mapping[str, str] = KNOWN
) -> str | None:
    parts = parts_of(read_json(json.dumps(value), "t.json"), language, TemplateValues(None, known))
    return None if parts is None else joined_text(parts)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain ${aws:username}", "plain ${aws:username}"),
        ({"Ref": "Bucket"}, "${Bucket}"),
        ({"Ref": "AWS::Region"}, "${AWS.Region}"),
        ({"Ref": "AWS::Partition"}, "aws"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "${Bucket.Arn}"),
        (
            {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}/${!aws:username}"},
            "arn:aws:s3:::${Bucket}/${aws:username}",
        ),
        ({"Fn::Sub": "${Bucket.Arn}/*"}, "${Bucket.Arn}/*"),
        ({"Fn::Sub": ["${A}/${B}", {"A": {"Ref": "X"}}]}, "${X}/${B}"),
        ({"Fn::Sub": ["${A}", {"A": "a"}]}, "a"),
        (
            {"Fn::Join": ["", ["arn:aws:s3:::", {"Ref": "Bucket"}, "/*"]]},
            "arn:aws:s3:::${Bucket}/*",
        ),
        ({"Fn::Join": [":", ["arn", {"Ref": "AWS::Partition"}, "s3"]]}, "arn:aws:s3"),
        ({"Other": "x"}, None),
        ({"Ref": "A", "B": 1}, None),
        (["x"], None),
        (1, None),
    ],
)
def test_functions_of_cloudformation_become_text_with_placeholders(
    value: object, expected: str | None
) -> None:
    assert text_of(value) == expected


def test_each_other_function_is_a_distinct_placeholder() -> None:
    first_text, second_text = (
        text_of({"Fn::If": ["A", "b", "c"]}),
        text_of({"Fn::If": ["A", "b", "d"]}),
    )
    assert first_text
    assert first_text != second_text
    assert first_text == text_of({"Fn::If": ["A", "b", "c"]})
    assert first_text.startswith("${Fn.If-")
    assert (text_of({"Fn::Join": ["", {"Ref": "List"}]}) or "").startswith("${Fn.Join-")
    assert (text_of({"Fn::Sub": {"Ref": "X"}}) or "").startswith("${Fn.Sub-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${aws_s3_bucket.b.arn}/*", "${aws_s3_bucket.b.arn}/*"),
        ("arn:aws:s3:::b/$${aws:username}", "arn:aws:s3:::b/${aws:username}"),
        ("%%{x}", "%{x}"),
        ("${ var.name }-${~ local.x[0] ~}", "${var.name}-${local.x[0]}"),
    ],
)
def test_templates_of_terraform_become_text_with_placeholders(text: str, expected: str) -> None:
    assert text_of(text, "terraform") == expected


@pytest.mark.parametrize(
    "text", ["%{ if x }a%{ endif }", "${f({a = {}})}", "${x", '${var.a["*"]}', "${a ? b : c}"]
)
def test_placeholders_of_complex_expressions_have_no_colon_star_or_brace(text: str) -> None:
    placeholder = text_of(text, "terraform") or ""
    assert has_variable(placeholder)
    assert not set(placeholder.replace("${", "").removesuffix("}")) & set('*?:{}$"')


@given(st.text(alphabet="ab${}!*?%:", max_size=20), st.sampled_from(["sub", "terraform"]))
def test_text_escaped_for_a_template_reads_back(text: str, language: Language) -> None:
    if "${" in text.replace("${*}", "").replace("${?}", "").replace("${$}", ""):
        return
    escaped = template_escape(language)(text)
    parts_again = parts_of(read_json(json.dumps(escaped), "t.json"), language, TemplateValues())
    assert parts_again is not None
    if not any(isinstance(part, Placeholder) for part in parts_again):
        assert "".join(map(str, parts_again)) == text
    else:
        assert language == "terraform"
        assert "%{" in text or "$${" in escaped


def template(
    resource: object, version: str = "2012-10-17", actions: object = "s3:GetObject", **more: object
) -> Document:
    statement = {"Effect": "Allow", "Action": actions, "Resource": resource, **more}
    body = {"Version": version, "Statement": [statement]} if version else {"Statement": [statement]}
    return parse(json.dumps({"Resources": {"P": body}}).encode(), "t.json", "/Resources/P", KNOWN)


SUB = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}/*"}


@pytest.mark.parametrize("version", ["2012-10-17", "2008-10-17", ""])
@pytest.mark.parametrize("complete", [True, False])
def test_a_call_that_the_rendered_template_may_allow_is_unknown_and_one_that_it_cannot_is_denied(
    version: str, complete: bool
) -> None:
    """No addition and no removal may depend on a placeholder."""
    document = template([SUB, "arn:aws:s3:::x/${aws:username}"], version)

    def effect(resource: str) -> str:
        return evaluate(
            Request("s3:GetObject", resource, {}, context_complete=complete), [document]
        ).effect

    assert effect("arn:aws:s3:::some-bucket/key") == "unknown"
    assert effect("arn:aws:sqs:eu-west-1:1:q") == "implicitDeny"
    if version != "2012-10-17":
        assert effect("arn:aws:s3:::x/${$}{aws:username}") != "implicitDeny"


def test_a_document_with_placeholders_contains_itself_and_no_other_one() -> None:
    document, other_document = template(SUB), template({"Fn::Sub": "arn:aws:s3:::${Other}/*"})
    assert check_containment([document], [document]).holds
    assert not check_containment([document], [other_document]).holds
    assert check_containment([template("arn:aws:s3:::*")], [document]).holds
    assert not check_containment([document], [template("arn:aws:s3:::b/*")]).holds
    assert check_containment(
        [document],
        [template([SUB, "arn:aws:s3:::b"])],
        [Permission("s3:GetObject", "arn:aws:s3:::b")],
    ).holds


def test_an_action_that_an_expression_may_leave_out_is_kept_and_may_grant_itself_alone() -> None:
    expression = {"Fn::If": ["X", "s3:B", {"Ref": "AWS::NoValue"}]}
    document = template("*", actions=["s3:A", expression, "s3:C"])
    assert document.statements[0].actions == ("s3:A", "s3:B", "s3:C")
    assert evaluate(Request("s3:B", "*", {}), [document]).effect == "unknown"
    assert evaluate(Request("s3:D", "*", {}), [document]).effect == "implicitDeny"
    after = apply_edits(document, [ReplaceActions(0, frozenset({"s3:A"}))])
    value = json.loads(after.raw)["Resources"]["P"]["Statement"][0]["Action"]
    assert value == [expression, "s3:C"]


def test_an_action_with_a_placeholder_is_kept_and_may_grant_any_action() -> None:
    expression = {"Fn::ImportValue": "Actions"}
    document = template("*", actions=["s3:A", expression, "s3:C"])
    assert document.statements[0].actions[1].startswith("${Fn.ImportValue-")
    assert evaluate(Request("s3:B", "*", {}), [document]).effect == "unknown"
    after = apply_edits(document, [ReplaceActions(0, frozenset({"s3:A"}))])
    value = json.loads(after.raw)["Resources"]["P"]["Statement"][0]["Action"]
    assert value == [expression, "s3:C"]


def test_a_condition_with_a_function_is_unreadable_and_equals_only_itself() -> None:
    condition = {"StringEquals": {"aws:PrincipalAccount": {"Ref": "Account"}}}
    document = template("*", Condition=condition)
    assert not document.statements[0].conditions_readable
    assert check_containment([document], [document]).holds
    assert evaluate(Request("s3:GetObject", "*", {}), [document]).effect == "unknown"


def test_edits_keep_functions_as_written() -> None:
    document = template([SUB, {"Fn::GetAtt": ["Bucket", "Arn"]}], actions=["s3:A", "s3:B"])
    after = apply_edits(
        document,
        [
            ReplaceActions(0, frozenset({"s3:A"})),
            AppendStatement({"Effect": "Allow", "Action": "a:B"}),
        ],
    )
    assert json.loads(after.raw)["Resources"]["P"]["Statement"][0]["Resource"] == [
        SUB,
        {"Fn::GetAtt": ["Bucket", "Arn"]},
    ]


def test_terraform_json_is_read_with_its_own_templates_and_new_text_is_escaped() -> None:
    inner = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": ["a:B", "a:C"],
                    "Resource": "${aws_s3_bucket.b.arn}/$${aws:userid}",
                }
            ],
        }
    )
    raw = json.dumps({"resource": {"aws_iam_role_policy": {"deploy": {"policy": inner}}}}).encode()
    document = parse(raw, "main.tf.json", "/resource/aws_iam_role_policy/deploy/policy")
    assert document.statements[0].resources == ("${aws_s3_bucket.b.arn}/${aws:userid}",)
    added = AppendStatement({"Effect": "Allow", "Action": "x:Y", "Resource": "arn:aws:s3:::b/${*}"})
    after = apply_edits(document, [ReplaceActions(0, frozenset({"a:C"})), added])
    policy = json.loads(
        json.loads(after.raw)["resource"]["aws_iam_role_policy"]["deploy"]["policy"]
    )
    assert [statement["Resource"] for statement in policy["Statement"]] == [
        "${aws_s3_bucket.b.arn}/$${aws:userid}",
        "arn:aws:s3:::b/$${*}",
    ]
    assert after.statements[1].resources == ("arn:aws:s3:::b/${*}",)


def test_statements_with_placeholders_are_not_merged() -> None:
    first_statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": {"Fn::GetAtt": ["A", "Arn"]},
    }
    second_statement = {**first_statement, "Resource": {"Fn::GetAtt": ["B", "Arn"]}}
    plain = [
        {**first_statement, "Resource": "arn:aws:s3:::a/*"},
        {**first_statement, "Resource": "arn:aws:s3:::b/*"},
    ]
    value = {
        "P": {"Version": "2012-10-17", "Statement": [first_statement, second_statement, *plain]}
    }
    merged = merge_statements(parse(json.dumps(value).encode(), "t.json", "/P"))
    assert len(merged.sids) == 1
    statements = json.loads(merged.document.raw)["P"]["Statement"]
    resources = [statement["Resource"] for statement in statements]
    assert resources == [
        first_statement["Resource"],
        second_statement["Resource"],
        ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"],
    ]


@pytest.mark.parametrize("operand", [{"Fn::If": ["C", "a", "b"]}, {"Fn::Sub": "${AWS::Region}"}])
def test_a_condition_that_refers_to_itself_is_unknown(operand: object) -> None:
    """Also through the text of an operand."""
    statement = {
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Resource": {"Fn::If": ["C", "arn:aws:s3:::a", "arn:aws:s3:::b"]},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    template = {
        "Conditions": {"C": {"Fn::Equals": [operand, "a"]}},
        "Resources": {"P": {"Type": "AWS::IAM::Policy", "Properties": {"PolicyDocument": policy}}},
    }
    pointer = "/Resources/P/Properties/PolicyDocument"
    document = parse(json.dumps(template).encode(), "t.json", pointer)
    assert document.statements[0].unknown_parts() == ("Fn::If C",)
