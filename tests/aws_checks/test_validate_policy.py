from __future__ import annotations

import json
from typing import Any

from leastpriv.aws.session import Aws
from leastpriv.aws_checks.policy_checks import validate
from leastpriv.aws_checks.rendered_policy import read_trust_policy
from leastpriv.policy.document import parse
from leastpriv.proposal.models import Severity
from tests.fakes.aws.policy_checks import PolicyChecks

POLICY = json.dumps(
    {
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:Get Object", "s3:GetObject", "s3:GetObject"],
                "Resource": "*",
            },
            {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"},
            {"Effect": "Allow", "Action": "sqs:", "Resource": "*"},
        ]
    },
    indent=1,
)


def test_findings_of_every_page_are_sorted_by_severity_and_line() -> None:
    with PolicyChecks() as aws:
        check = validate(
            Aws.open(aws.environment()), {"iam/p.json": parse(POLICY.encode(), "p.json")}, None
        )
    lines = POLICY.splitlines()
    assert [
        (finding.severity, finding.code, lines[finding.line - 1].strip().rstrip(","))
        for finding in check.findings
    ] == [
        (Severity.ERROR, "INVALID_ACTION", '"s3:Get Object"'),
        (Severity.ERROR, "INVALID_ACTION", '"Action": "sqs:"'),
        (Severity.SECURITY_WARNING, "PASS_ROLE_WITH_STAR_IN_RESOURCE", '"Action": "iam:PassRole"'),
        (Severity.WARNING, "MISSING_VERSION", "{"),
        (Severity.SUGGESTION, "REDUNDANT_ACTION", '"s3:GetObject"'),
    ]
    assert {finding.file for finding in check.findings} == {"iam/p.json"}
    assert len(aws.asked("ValidatePolicy")) == 2


def test_an_action_that_iam_authorizes_and_does_not_list_is_no_error() -> None:
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": ["apigateway:TagResource", "sqs:"], "Resource": "*"}
            ],
        }
    )
    with PolicyChecks() as aws:
        check = validate(
            Aws.open(aws.environment()), {"p.json": parse(policy.encode(), "p.json")}, None
        )
    assert [(finding.severity, finding.text) for finding in check.findings] == [
        (Severity.ERROR, "The action sqs: does not exist."),
        (
            Severity.SUGGESTION,
            "The action apigateway:TagResource does not exist. IAM checks it all the same: its"
            " denials name the action, and a grant ends them.",
        ),
    ]


def test_findings_of_the_committed_policy_are_marked_and_come_last() -> None:
    committed = parse(POLICY.replace("sqs:", "sqs:SendMessage").encode(), "p.json")
    with PolicyChecks() as aws:
        check = validate(
            Aws.open(aws.environment()), {"p.json": parse(POLICY.encode(), "p.json")}, committed
        )
    assert [finding.text for finding in check.findings if not finding.in_committed_policy] == [
        "The action sqs: does not exist."
    ]
    assert [finding.in_committed_policy for finding in check.findings] == sorted(
        finding.in_committed_policy for finding in check.findings
    )


def test_a_second_finding_with_the_same_message_is_new() -> None:
    """A committed finding matches one finding of the proposal, preferably on the unchanged
    statement.
    """
    marks = _already(
        [_pass(["iam:PassRole"])], [_pass("iam:PassRole", sid="New"), _pass(["iam:PassRole"])]
    )
    assert marks == {6: False, 12: True}


def test_a_finding_on_a_narrowed_statement_is_not_new() -> None:
    for sid in ("", "Deploy"):
        marks = _already(
            [_pass(["iam:PassRole", "sqs:SendMessage"], sid)], [_pass("iam:PassRole", sid)]
        )
        assert list(marks.values()) == [True]


def test_a_finding_on_a_statement_with_another_sid_is_new() -> None:
    assert list(
        _already([_pass("iam:PassRole", "Old")], [_pass("iam:PassRole", "New")]).values()
    ) == [False]


def test_a_policy_with_unknown_parts_is_reported_and_not_sent() -> None:
    template = json.dumps(
        {"P": {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": {"Ref": "Bucket"}}}}
    )
    with PolicyChecks() as aws:
        check = validate(
            Aws.open(aws.environment()), {"t.json": parse(template.encode(), "t.json", "/P")}, None
        )
    assert (check.asked, check.findings, aws.requests) == (0, (), [])
    assert "only the rendered template knows" in check.skipped_sources[0]


def _pass(actions: str | list[str], sid: str = "") -> dict[str, Any]:
    return {"Effect": "Allow", **({"Sid": sid} if sid else {}), "Action": actions, "Resource": "*"}


def _already(before: list[Any], after: list[Any]) -> dict[int, bool]:
    """Line -> whether the finding is marked as the committed policy's."""
    old, new = (
        parse(
            json.dumps({"Statement": statement, "Version": "2012-10-17"}, indent=1).encode(),
            "p.json",
        )
        for statement in (before, after)
    )
    with PolicyChecks() as aws:
        check = validate(Aws.open(aws.environment()), {"p.json": new}, old)
    return {finding.line: finding.in_committed_policy for finding in check.findings}


def test_findings_on_a_trust_policy_are_marked_as_committed() -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:Assume_Role"}
    raw = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=1).encode()
    trust = read_trust_policy(raw, "iam/trust.json", {})
    good = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = parse(json.dumps({"Version": "2012-10-17", "Statement": [good]}).encode(), "p.json")
    with PolicyChecks() as aws:
        check = validate(Aws.open(aws.environment()), {"p.json": policy}, None, [trust])
    assert (check.asked, check.failure) == (2, "")
    assert [
        (finding.code, finding.file, finding.line, finding.in_committed_policy)
        for finding in check.findings
    ] == [("INVALID_ACTION", "iam/trust.json", 9, True)]
