"""Drift in three ways: every finding has its line, and the state of file, account and usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.diff.compare import compare_with_live_role
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.models import Gap, GapKind, Scope
from leastpriv.policy.document import Document, parse
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import (
    AccessState,
    DriftFinding,
    DriftKind,
    context_findings,
    drift_screen,
    finding_ids,
    finding_sentence,
    findings_table,
    issue_body,
)
from leastpriv.report.screen_models import markdown
from tests.fakes.deploys import POLICY, ROLE, proposal
from tests.fakes.markdown import HOSTILE, read, table_widths
from tests.fakes.replace import replace


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """The usual deploys: `lambda:*` narrows, two entries are removed, an alarm is missing."""
    return proposal(tmp_path_factory.mktemp("drifting"), POLICY).context


def with_account(context: ReportContext, found: Document) -> ReportContext:
    """The context as if the role had this policy in the account."""
    committed = context.proposal.committed
    assert committed is not None
    live = LiveRole(ROLE, (LivePolicy("inline policy ci-deploy", found),))
    return replace(context, live=live, drift=compare_with_live_role(committed, [], live)[0])


def policy(content: object) -> Document:
    return parse(json.dumps(content).encode(), "live.json")


def of(kind: DriftKind, context: ReportContext) -> DriftFinding:
    (finding,) = [candidate for candidate in context_findings(context) if candidate.kind is kind]
    return finding


def line_with(text: str) -> int:
    """Line of the committed file, indented by two, that contains this text."""
    lines = json.dumps(POLICY, indent=2).splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_removal_is_a_finding_at_the_line_of_its_entry(context: ReportContext) -> None:
    unused = [finding for finding in context_findings(context) if finding.kind is DriftKind.UNUSED]
    assert [(finding.action, finding.line) for finding in unused] == [
        ("sqs:PurgeQueue", line_with("sqs:PurgeQueue")),
        ("sns:CreateTopic", line_with("sns:CreateTopic")),
    ]
    wildcard = of(DriftKind.UNUSED_IN_WILDCARD, context)
    assert (wildcard.action, wildcard.line, wildcard.file) == (
        "lambda:*",
        line_with("lambda:*"),
        AccessState.YES,
    )


def test_a_missing_permission_shows_its_use_and_the_account(context: ReportContext) -> None:
    missing = of(DriftKind.MISSING, context)
    assert (missing.action, missing.used, missing.file) == (
        "cloudwatch:PutMetricAlarm",
        "denied 1×",
        AccessState.NO,
    )
    assert missing.account is AccessState.UNKNOWN
    allowing = policy(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    )
    assert of(DriftKind.MISSING, with_account(context, allowing)).account is AccessState.YES
    assert of(DriftKind.MISSING, with_account(context, policy(POLICY))).account is AccessState.NO


def test_a_manual_change_in_the_account_comes_first(context: ReportContext) -> None:
    statements = [
        *POLICY["Statement"],
        {"Effect": "Allow", "Action": "sqs:DeleteQueue", "Resource": "*"},
    ]
    findings = context_findings(with_account(context, policy({**POLICY, "Statement": statements})))
    assert (findings[0].kind, findings[0].action) == (DriftKind.ONLY_LIVE, "sqs:DeleteQueue")
    assert (findings[0].file, findings[0].account) == (AccessState.NO, AccessState.YES)
    assert findings[0].line == line_with('"Sid": "Queues"') - 1


def test_an_undeployed_grant_is_at_the_line_of_its_statement(context: ReportContext) -> None:
    behind = with_account(context, policy({**POLICY, "Statement": POLICY["Statement"][:2]}))
    finding = of(DriftKind.ONLY_FILE, behind)
    assert (finding.action, finding.line) == ("sns:CreateTopic", line_with("sns:CreateTopic"))


def test_each_undeployed_entry_is_a_finding_at_its_line(context: ReportContext) -> None:
    behind = with_account(context, policy({**POLICY, "Statement": POLICY["Statement"][:1]}))
    findings = [
        finding for finding in context_findings(behind) if finding.kind is DriftKind.ONLY_FILE
    ]
    assert [(finding.action, finding.line) for finding in findings] == [
        (action, line_with(action))
        for action in ("sqs:CreateQueue", "sqs:PurgeQueue", "sns:CreateTopic")
    ]


def test_deny_statements_of_either_side_are_findings(context: ReportContext) -> None:
    deny = {"Effect": "Deny", "Action": "sqs:PurgeQueue", "Resource": "*"}
    by_hand = with_account(context, policy({**POLICY, "Statement": [*POLICY["Statement"], deny]}))
    finding = of(DriftKind.DENY_LIVE, by_hand)
    assert (finding.action, finding.account, finding.file) == (
        "sqs:PurgeQueue",
        AccessState.DENIES,
        AccessState.NONE,
    )


def test_a_partly_read_account_is_not_reported_as_different(context: ReportContext) -> None:
    committed = context.proposal.committed
    assert committed is not None
    gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "AccessDenied")
    live = LiveRole(ROLE, gaps=(gap,))
    unread = replace(context, live=live, drift=compare_with_live_role(committed, [], live)[0])
    findings = context_findings(unread)
    assert {finding.kind for finding in findings} == {
        finding.kind for finding in context_findings(context)
    }


def test_without_a_policy_file_there_is_one_finding(tmp_path: Path) -> None:
    (finding,) = context_findings(proposal(tmp_path).context)
    assert (finding.kind, finding.line) == (DriftKind.NO_FILE, 1)


def test_the_id_of_a_finding_is_independent_of_line_and_usage(context: ReportContext) -> None:
    findings = context_findings(context)
    assert len(set(finding_ids(findings))) == len(findings)
    moved = [replace(finding, line=finding.line + 7, used="used 99×") for finding in findings]
    assert finding_ids(moved) == finding_ids(findings)


class TestWords:
    def test_findings_of_one_resource_share_a_row_and_the_issue_ends_with_the_ids(
        self, context: ReportContext
    ) -> None:
        findings = context_findings(context)
        rows = findings_table(findings, context).rows
        assert len(rows) == len(
            {(finding.kind, finding.resources, finding.used) for finding in findings}
        )
        body = issue_body(findings, context, "https://github.example/run/1")
        assert body.endswith(f"findings={','.join(finding_ids(findings))} -->")

    def test_very_many_findings_fit_an_issue_and_the_rest_is_counted(
        self, context: ReportContext
    ) -> None:
        long = tuple(f"arn:aws:s3:::{'x' * 200}-{number}" for number in range(3))
        many = [
            DriftFinding(
                kind=DriftKind.UNUSED,
                action=f"s3:Get{n}",
                resources=(f"{n}", *long),
                line=n,
                file=AccessState.YES,
                account=AccessState.YES,
                used="no",
            )
            for n in range(3_000)
        ]
        body = issue_body(many, context, "")
        assert len(body) < 65_536
        assert "more findings are in `proposal.json`." in body

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_remain_text(self, context: ReportContext, name: str) -> None:
        hostile = DriftFinding(
            kind=DriftKind.UNUSED,
            action=name,
            resources=(name, name),
            line=3,
            file=AccessState.YES,
            account=AccessState.UNKNOWN,
            used="no",
        )
        text = markdown(drift_screen([hostile], context, ""))
        assert read(text).acts() == []
        assert table_widths(text) == [{5}]
        sentence = finding_sentence(hostile, context)
        assert "\n" not in sentence
        assert "\x1b" not in sentence
