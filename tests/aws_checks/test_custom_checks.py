from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

from leastpriv.aws.session import Aws
from leastpriv.aws_checks import policy_checks
from leastpriv.aws_checks.policy_checks import forbidden_actions, paid_checks, price, run_checks
from leastpriv.aws_checks.rendered_policy import TrustPolicy, read_trust_policy, trust_policies
from leastpriv.errors import InputError
from leastpriv.models import ChangeKind
from leastpriv.permissions.catalog import forbidden
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.models import Change, CheckResult, Proposal, Severity
from tests.fakes.aws.policy_checks import PolicyChecks

WIDE = [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]
NARROW = [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]
ADMIN = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
REMOVE = Change(ChangeKind.REMOVE, "sqs:*", ("*",))
ADD = Change(ChangeKind.ADD, "sqs:SendMessage", ("*",))
TRUST = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}


def test_a_proposal_that_only_narrows_is_checked_for_new_access() -> None:
    results_of_checks, aws = _checked(WIDE, NARROW, REMOVE)
    assert [check.operation for check in results_of_checks] == [
        "CheckNoNewAccess",
        "CheckAccessNotGranted",
    ]
    assert [check.findings for check in results_of_checks] == [(), ()]
    assert (
        json.loads(aws.asked("CheckNoNewAccess")[0]["existingPolicyDocument"])["Statement"] == WIDE
    )


def test_a_proposal_that_adds_is_not_checked_for_new_access() -> None:
    results_of_checks, _ = _checked(NARROW, WIDE, ADD)
    assert [check.operation for check in results_of_checks] == ["CheckAccessNotGranted"]


def test_unexpected_new_access_is_a_disagreement_on_the_line_of_its_statement() -> None:
    results_of_checks, _ = _checked(NARROW, WIDE, REMOVE)
    finding = results_of_checks[0].disagreements[0]
    assert "this action's result is PASS, AWS's is FAIL" in finding.text
    assert finding.line == 4


def test_a_forbidden_action_in_the_committed_policy_is_a_warning_and_no_disagreement() -> None:
    results_of_checks, _ = _checked(ADMIN, ADMIN, REMOVE)
    assert {finding.severity for finding in results_of_checks[1].findings} == {Severity.WARNING}
    assert results_of_checks[1].findings[0].line == 4


def test_an_unexpected_forbidden_action_is_a_disagreement() -> None:
    results_of_checks, _ = _checked(WIDE, NARROW, REMOVE, contrary="CheckAccessNotGranted")
    assert results_of_checks[1].disagreements


def test_no_result_is_expected_if_a_deny_decides() -> None:
    deny = {"Effect": "Deny", "Action": "iam:CreateAccessKey", "Resource": "*"}
    checks, _ = paid_checks(*_draft(ADMIN, [*ADMIN, deny], REMOVE))
    assert {check.expected for check in checks if check.operation == "CheckAccessNotGranted"} == {
        ""
    }


def test_only_the_forbidden_list_and_the_users_list_are_checked() -> None:
    """The list that is sent names exactly the forbidden actions."""
    for entry in forbidden_actions():
        assert forbidden(entry), entry
    assert "iam:CreateAccessKey" in forbidden_actions()
    assert "dynamodb:Delete*" in forbidden_actions(("dynamodb:Delete*",))


def test_the_price_is_logged_before_the_first_request() -> None:
    draft, files = _draft(WIDE, NARROW, REMOVE)
    checks, _ = paid_checks(draft, files)
    with PolicyChecks() as aws:
        order: list[int] = []
        with patch.object(policy_checks._log, "info", lambda _: order.append(len(aws.requests))):
            run_checks(Aws.open(aws.environment()), checks)
        assert order == [0]
        assert len(aws.requests) == len(checks)
    assert (
        price(checks)
        == "Asking for 3 custom policy checks of Access Analyzer, which AWS charges: 0.0060 USD,"
        " 0.0020 each (as of 2026-11-24)."
    )
    assert price(()) == ""


@pytest.mark.parametrize(
    ("condition", "weights"), [({}, [Severity.SECURITY_WARNING]), ({"Bool": {"a:b": "true"}}, [])]
)
def test_a_public_trust_policy_of_the_same_template_is_reported(
    condition: dict[str, Any], weights: list[Severity]
) -> None:
    trust = {
        "Statement": (
            [{**TRUST["Statement"][0], "Condition": condition}] if condition else TRUST["Statement"]
        )
    }
    document = _template(trust)
    with PolicyChecks() as aws:
        draft = Proposal(document, document, document.to_bytes(), (), (), ())
        results_of_checks = _paid(aws, draft, {"t.json": document})
    public = [check for check in results_of_checks if check.operation == "CheckNoPublicAccess"]
    assert [finding.severity for check in public for finding in check.findings] == weights
    assert len(aws.asked("CheckNoPublicAccess")) == 1
    assert (
        aws.asked("CheckNoPublicAccess")[0]["resourceType"] == "AWS::IAM::AssumeRolePolicyDocument"
    )


def test_a_trust_policy_with_unknown_parts_is_not_sent() -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": {"Ref": "S"}},
        "Action": "sts:AssumeRole",
    }
    assert trust_policies({"t.json": _template({"Statement": [statement]})}) == []


def test_only_the_roles_own_trust_policy_is_checked_if_present() -> None:
    other_template = _template(
        TRUST, {"Other": {"Properties": {"AssumeRolePolicyDocument": TRUST}}}
    )
    assert len(trust_policies({"t.json": other_template})) == 1


EVERYBODY = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
]}  # fmt: skip
JSONENCODED = """\
resource "aws_iam_role" "deploy" {
  name = "deploy"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" },
      { Effect = "Allow", Principal = { AWS = "*" }, Action = "sts:AssumeRole" },
    ]
  })
}
"""
DATA_SOURCE = """\
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com", "ecs.amazonaws.com"]
    }
  }
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

resource "aws_iam_role" "deploy" {
  assume_role_policy = data.aws_iam_policy_document.trust.json
}
"""
YAML_TEXT = """\
Trust:
  Version: "2012-10-17"
  Statement:
    - Effect: Allow
      Principal:
        Service: ec2.amazonaws.com
      Action: sts:AssumeRole
    # Everybody:
    - Effect: Allow
      Principal: "*"
      Action: sts:AssumeRole
"""
ADDRESS = "main.tf#aws_iam_role.deploy.assume_role_policy"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("iam/trust.json", json.dumps(EVERYBODY, indent=2), 11),
        (
            "role.json#/Role/AssumeRolePolicyDocument",
            json.dumps({"Role": {"AssumeRolePolicyDocument": EVERYBODY}}),
            1,
        ),
        (ADDRESS, JSONENCODED, 7),
        (ADDRESS, DATA_SOURCE, 9),
        ("trust.yaml#/Trust", YAML_TEXT, 9),
    ],
)
def test_a_public_named_trust_policy_is_reported_by_its_line(
    name: str, text: str, line: int
) -> None:
    trust = read_trust_policy(text.encode(), name, {})
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": NARROW}).encode(), "p.json")
    draft = Proposal(document, document, document.to_bytes(), (), (), ())
    with PolicyChecks() as aws:
        results_of_checks = _paid(aws, draft, {"p.json": document}, [trust])
    [finding] = [
        finding
        for check in results_of_checks
        if check.operation == "CheckNoPublicAccess"
        for finding in check.findings
    ]
    assert (finding.severity, finding.file, finding.line) == (Severity.SECURITY_WARNING, name, line)


def test_a_trust_policy_in_template_and_input_is_checked_once() -> None:
    template = _template(TRUST)
    trust_policy = read_trust_policy(
        template.raw, "t.json#/Resources/Role/Properties/AssumeRolePolicyDocument", {}
    )
    draft = Proposal(template, template, template.to_bytes(), (), (), ())
    with PolicyChecks() as aws:
        _paid(aws, draft, {"t.json": template}, [trust_policy])
    assert len(aws.asked("CheckNoPublicAccess")) == 1


def test_a_named_trust_policy_with_unknown_parts_is_reported_and_not_sent() -> None:
    text = (
        '{"Statement": {"Effect": "Allow", "Principal": {"AWS": {"Ref": "Who"}}, "Action":'
        ' "sts:AssumeRole"}}'
    )
    trust = read_trust_policy(f'{{"T": {text}}}'.encode(), "t.json#/T", {})
    document = parse(json.dumps({"Version": "2012-10-17", "Statement": NARROW}).encode(), "p.json")
    draft = Proposal(document, document, document.to_bytes(), (), (), ())
    _, skipped = paid_checks(draft, {"p.json": document}, (), [trust])
    assert skipped == (
        "t.json#/T has parts that only the rendered template knows, so AWS did not check it.",
    )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (json.dumps({"Version": "2012-10-17", "Statement": NARROW}).encode(), "no Principal"),
        (b"{", "line 1"),
        (b"\xff", "UTF-8"),
        (b"{}", "no policy"),
    ],
)
def test_an_invalid_trust_policy_is_an_input_error_with_its_name(raw: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        read_trust_policy(raw, "iam/trust.json", {})
    assert "iam/trust.json" in str(raised.value)


def _template(trust: dict[str, Any], others: dict[str, Any] | None = None) -> Document:
    policy = {"Version": "2012-10-17", "Statement": NARROW}
    role = {"AssumeRolePolicyDocument": trust, "Policies": [{"PolicyDocument": policy}]}
    text = json.dumps({"Resources": {"Role": {"Properties": role}, **(others or {})}}, indent=1)
    return parse(text.encode(), "t.json", "/Resources/Role/Properties/Policies/0/PolicyDocument")


def _draft(
    before: list[Any], after: list[Any], change: Change
) -> tuple[Proposal, dict[str, Document]]:
    committed, proposed = (
        parse(
            json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=1).encode(),
            "p.json",
        )
        for statements in (before, after)
    )
    return Proposal(committed, proposed, proposed.to_bytes(), (change,), (), ()), {
        "p.json": proposed
    }


def _paid(
    aws: PolicyChecks,
    draft: Proposal,
    files: dict[str, Document],
    named: Sequence[TrustPolicy] = (),
) -> tuple[CheckResult, ...]:
    trust = trust_policies(files, named)
    return run_checks(Aws.open(aws.environment()), *paid_checks(draft, files, (), trust))


def _checked(
    before: list[Any], after: list[Any], change: Change, contrary: str = ""
) -> tuple[tuple[CheckResult, ...], PolicyChecks]:
    draft, files = _draft(before, after, change)
    with PolicyChecks(contrary) as aws:
        return _paid(aws, draft, files), aws
