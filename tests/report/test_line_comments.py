"""Notes at changed lines of the diff, the most severe first, at most ten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leastpriv.report.context import ReportContext
from leastpriv.report.line_findings import MOST_NOTES, line_notes
from tests.fakes.deploys import POLICY, proposal
from tests.fakes.markdown import HOSTILE, read
from tests.fakes.replace import replace


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    """One addition, one narrowing, two removals."""
    return proposal(tmp_path_factory.mktemp("usual"), POLICY).context


def test_additions_are_noted_in_the_proposed_file_and_removals_in_the_committed_one(
    usual: ReportContext,
) -> None:
    assert usual.proposal.committed
    files = {
        "LEFT": usual.proposal.committed.text.split("\n"),
        "RIGHT": usual.proposal.document.text.split("\n"),
    }
    notes = [
        (note.text.split(":**")[0].strip("*"), files[note.side][note.line - 1])
        for note in line_notes(usual)
    ]
    assert [(word, line.strip(' ,"[]')) for word, line in notes] == [
        ("Added", 'Action": "cloudwatch:PutMetricAlarm'),
        ("Narrowed", 'Action": "lambda:*'),
        ("Removed", "sqs:PurgeQueue"),
        ("Removed", 'Action": "sns:CreateTopic'),
    ]


def test_a_note_holds_the_evidence(usual: ReportContext) -> None:
    added = line_notes(usual)[0].text
    assert "denied by AWS, 1×, last 2026-10-15; runs `17650000002`." in added


def test_changes_that_share_a_line_share_a_note(tmp_path: Path) -> None:
    one_line = json.dumps(POLICY)
    folder = tmp_path / "iam"
    folder.mkdir()
    (folder / "ci-deploy.json").write_text(one_line, encoding="utf-8")
    notes = line_notes(_proposal_of(tmp_path))
    assert [(note.side, note.line) for note in notes] == [("RIGHT", 1), ("LEFT", 1)]
    assert notes[1].text.count("**Removed:**") == 2


def _proposal_of(folder: Path) -> ReportContext:
    """The proposal for the policy in the folder."""
    text = (folder / "iam/ci-deploy.json").read_text(encoding="utf-8")
    (folder / "other").mkdir()
    context = proposal(folder / "other", json.loads(text)).context
    assert context.proposal.committed
    return replace(
        context,
        proposal=replace(
            context.proposal,
            committed=context.proposal.committed.with_text(text),
            document=context.proposal.document.with_text(
                json.dumps(json.loads(context.proposal.document.text))
            ),
        ),
    )


def test_ten_at_most_and_a_security_reviewers_first(usual: ReportContext) -> None:
    [added] = [change for change in usual.proposal.changes if change.usages and not change.line]
    many = [replace(added, action=f"cloudwatch:PutMetricAlarm{number}") for number in range(20)]
    statements = [
        {"Effect": "Allow", "Action": change.action, "Resource": list(change.resources)}
        for change in (*many, added)
    ]
    document = usual.proposal.document.with_text(
        json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=1)
    )
    grave = replace(added, security="lets the role make itself stronger")
    context = replace(
        usual, proposal=replace(usual.proposal, changes=(*many, grave), document=document)
    )
    notes = line_notes(context)
    assert len(notes) == MOST_NOTES
    assert "**Security reviewer:** it lets the role make itself stronger." in notes[0].text


def test_a_first_draft_has_no_notes(tmp_path: Path) -> None:
    assert line_notes(proposal(tmp_path, None).context) == ()


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_inert_in_a_note(usual: ReportContext, name: str) -> None:
    changes = tuple(
        replace(
            change,
            removed_actions=(name,),
            used=(name,),
            replacement=(name,),
            resources=(*change.resources, name),
        )
        for change in usual.proposal.changes
    )
    notes = line_notes(replace(usual, proposal=replace(usual.proposal, changes=changes)))
    assert notes
    for note in notes:
        page = read(note.text)
        assert not page.html
        assert not page.links
        assert "@octo-org" not in page.prose
