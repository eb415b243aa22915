"""Drift in three ways: every finding has its line, and what file, account and use say of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from leastpriv.diff.live_role_drift import drift
from leastpriv.evidence.live_role import LivePolicy, LiveRole
from leastpriv.models import Gap, GapKind, Scope
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.drift import Drifted, DriftKind, Grants, drifting
from leastpriv.report.context import Subject
from leastpriv.report.drift import finding_ids, findings, issue_body, sentence, table
from tests.fakes.deploys import POLICY, ROLE, proposal
from tests.fakes.markdown import HOSTILE, read, table_widths


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The usual deploys: `lambda:*` narrows, two entries go, an alarm is missing."""
    return proposal(tmp_path_factory.mktemp("drifting"), POLICY).subject


def with_account(subject: Subject, found: Document) -> Subject:
    """The subject as if the role had this policy in the account."""
    committed = subject.draft.committed
    assert committed is not None
    live = LiveRole(ROLE, (LivePolicy("inline policy ci-deploy", found),))
    return replace(subject, live=live, drift=drift(committed, [], live)[0])


def policy(content: object) -> Document:
    return parse(json.dumps(content).encode(), "live.json")


def of(kind: DriftKind, subject: Subject) -> Drifted:
    (found,) = [each for each in findings(subject) if each.kind is kind]
    return found


def line_with(text: str) -> int:
    """Line of the committed file as it is written, indented by two, with this text."""
    lines = json.dumps(POLICY, indent=2).splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_what_goes_is_a_finding_at_the_line_of_its_entry(subject: Subject) -> None:
    unused = [each for each in findings(subject) if each.kind is DriftKind.UNUSED]
    assert [(each.action, each.line) for each in unused] == [
        ("sqs:PurgeQueue", line_with("sqs:PurgeQueue")),
        ("sns:CreateTopic", line_with("sns:CreateTopic")),
    ]
    wildcard = of(DriftKind.UNUSED_IN_WILDCARD, subject)
    assert (wildcard.action, wildcard.line, wildcard.file) == ("lambda:*", line_with("lambda:*"), Grants.YES)


def test_what_is_missing_tells_the_use_and_the_account(subject: Subject) -> None:
    missing = of(DriftKind.MISSING, subject)
    assert (missing.action, missing.used, missing.file) == ("cloudwatch:PutMetricAlarm", "refused 1×", Grants.NO)
    assert missing.account is Grants.UNKNOWN
    allowing = policy({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    assert of(DriftKind.MISSING, with_account(subject, allowing)).account is Grants.YES
    assert of(DriftKind.MISSING, with_account(subject, policy(POLICY))).account is Grants.NO


def test_a_change_by_hand_in_the_account_comes_first(subject: Subject) -> None:
    statements = [*POLICY["Statement"], {"Effect": "Allow", "Action": "sqs:DeleteQueue", "Resource": "*"}]
    found = findings(with_account(subject, policy({**POLICY, "Statement": statements})))
    assert (found[0].kind, found[0].action) == (DriftKind.ONLY_LIVE, "sqs:DeleteQueue")
    assert (found[0].file, found[0].account) == (Grants.NO, Grants.YES)
    assert found[0].line == line_with('"Sid": "Queues"') - 1


def test_what_is_not_deployed_is_at_the_line_of_its_statement(subject: Subject) -> None:
    behind = with_account(subject, policy({**POLICY, "Statement": POLICY["Statement"][:2]}))
    found = of(DriftKind.ONLY_FILE, behind)
    assert (found.action, found.line) == ("sns:CreateTopic", line_with("sns:CreateTopic"))


def test_each_entry_that_is_not_deployed_is_a_finding_at_its_own_line(subject: Subject) -> None:
    behind = with_account(subject, policy({**POLICY, "Statement": POLICY["Statement"][:1]}))
    found = [each for each in findings(behind) if each.kind is DriftKind.ONLY_FILE]
    assert [(each.action, each.line) for each in found] == [
        (action, line_with(action)) for action in ("sqs:CreateQueue", "sqs:PurgeQueue", "sns:CreateTopic")
    ]


def test_deny_statements_of_either_side_are_findings(subject: Subject) -> None:
    deny = {"Effect": "Deny", "Action": "sqs:PurgeQueue", "Resource": "*"}
    by_hand = with_account(subject, policy({**POLICY, "Statement": [*POLICY["Statement"], deny]}))
    found = of(DriftKind.DENY_LIVE, by_hand)
    assert (found.action, found.account, found.file) == ("sqs:PurgeQueue", Grants.DENIES, Grants.NONE)


def test_an_account_that_was_not_read_whole_is_not_told_to_differ(subject: Subject) -> None:
    committed = subject.draft.committed
    assert committed is not None
    gap = Gap(GapKind.LIVE_ROLE_UNREAD, Scope(), "AccessDenied")
    live = LiveRole(ROLE, gaps=(gap,))
    found = drifting(subject.draft, live, drift(committed, [], live)[0], ROLE)
    assert {each.kind for each in found} == {each.kind for each in findings(subject)}


def test_without_a_policy_file_there_is_one_finding(tmp_path: Path) -> None:
    (found,) = findings(proposal(tmp_path).subject)
    assert (found.kind, found.line) == (DriftKind.NO_FILE, 1)


def test_a_findings_id_stays_while_its_line_moves_and_its_use_grows(subject: Subject) -> None:
    found = findings(subject)
    assert len(set(finding_ids(found))) == len(found)
    moved = [replace(each, line=each.line + 7, used="used 99×") for each in found]
    assert finding_ids(moved) == finding_ids(found)


class TestWords:
    def test_the_table_has_a_row_a_finding_and_the_issue_ends_with_the_ids(self, subject: Subject) -> None:
        found = findings(subject)
        assert len(table(found, subject).splitlines()) == len(found) + 2
        body = issue_body(found, subject, "https://github.example/run/1")
        assert body.endswith(f"findings={','.join(finding_ids(found))} -->")

    def test_very_many_findings_fit_an_issue_and_the_rest_is_counted(self, subject: Subject) -> None:
        long = tuple(f"arn:aws:s3:::{'x' * 200}-{number}" for number in range(3))
        many = [Drifted(DriftKind.UNUSED, f"s3:Get{n}", long, n, Grants.YES, Grants.YES, "no") for n in range(3_000)]
        body = issue_body(many, subject, "")
        assert len(body) < 65_536
        assert "more: see `proposal.json`." in body

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_stay_text(self, subject: Subject, name: str) -> None:
        hostile = Drifted(DriftKind.UNUSED, name, (name, name), 3, Grants.YES, Grants.UNKNOWN, "no")
        text = table([hostile], subject)
        assert read(text).acts() == []
        assert table_widths(text) == [{8}]
        shown = sentence(hostile, subject)
        assert "\n" not in shown
        assert "\x1b" not in shown
