"""Hostile names appear in every output as text, and never become a pattern."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from leastpriv.report.line_findings import line_notes
from tests.fakes.deploys import POLICY, proposal
from tests.fakes.github import FakeGitHub
from tests.hostile import consumers
from tests.hostile.deploy import HTML, POLICY_FILE, RIGHTS, Put, Stage, policy, records
from tests.hostile.matrix import WAYS, reached, widened
from tests.hostile.names import ATTACKS, FIXED, tagged

RUNS_AT = "https://github.com/octo-org/shop/actions/runs/{run}"
BATCH = 50
"""Names of one run: with more, the pages would show only a part."""
RUNS = ("proposed", "answered", "reviewed", "checked")


ADDED = [
    "iam:PassRole",
    "lambda:CreateFunction",
    "rds:CreateDBInstance",
    "s3:PutObject",
    "sqs:CreateQueue",
    "sqs:TagQueue",
    "ssm:PutParameter",
    "sts:AssumeRole",
]


def hub_for(names: Sequence[str]) -> FakeGitHub:
    return FakeGitHub(
        "octo-org/shop",
        permissions=RIGHTS,
        files={POLICY_FILE: json.dumps(policy(names), indent=2)},
    )


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Put]:
    """The pull request for all names of the fixed list at once."""
    with hub_for(FIXED) as hub:
        hub.add_user("kim", "write")
        yield Stage(tmp_path_factory.mktemp("fixed"), FIXED, hub).proposed()


@pytest.mark.parametrize("way", WAYS)
def test_no_name_of_the_list_has_an_effect_in_any_output_of_a_pull_request(
    fixed: Put, way: str
) -> None:
    assert fixed.code == 0
    assert fixed.outputs["pull-request-operation"] == "created"
    assert WAYS[way](fixed) == []


def test_all_texts_of_a_pull_request_are_checked(fixed: Put) -> None:
    assert {"summary", "pull request"} <= set(fixed.markdown)
    assert {
        "committed policy",
        "memory",
        "x.html",
        "x.sarif",
        "proposal.json",
        "patch.json",
    } <= set(fixed.files)
    # A file with a name that UTF-8 lacks is not cached; the thousand names below have none.
    assert b"CreateQueue" in fixed.files["cache"]


def test_line_comments_show_names_as_text(tmp_path: Path) -> None:
    """Few names, so that all of them are in the file that has the line comments."""
    names = dict(ATTACKS)["Markdown and HTML"]
    subject = proposal(tmp_path, POLICY, records(names), resources="exact", run_url=RUNS_AT).context
    notes = line_notes(subject)
    assert len(notes) > 3
    for note in notes:
        assert (
            consumers.markdown_acts(note.text, html=HTML, links=f"{RUNS_AT.format(run='')}\\d+")
            == []
        )
    assert "alert" in "".join(note.text for note in notes)


def test_no_name_in_a_denial_makes_it_resolvable_by_a_grant(fixed: Put) -> None:
    """All denials of `sns:Publish` are of a service control policy, whatever the topic's name says
    before that.
    """
    assert json.loads(fixed.outputs["added-actions"]) == ADDED


def test_no_name_becomes_a_wildcard_or_a_variable(fixed: Put) -> None:
    assert widened(fixed, FIXED) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1_000 // BATCH))
def test_a_thousand_names_have_no_effect_in_any_output_of_any_mode(
    tmp_path: Path, number: int
) -> None:
    names, tags = tagged(1_000)
    batch, batch_tags = (
        lines_of_batch[number * BATCH : (number + 1) * BATCH] for lines_of_batch in (names, tags)
    )
    with hub_for(batch) as hub:
        hub.add_user("kim", "write")
        stage = Stage(tmp_path, batch, hub)
        for run in RUNS:
            put: Put = getattr(stage, run)()
            assert put.code in ((0, 3) if run == "reviewed" else (0,)), put.log[-2_000:]
            assert {way: acts for way, check in WAYS.items() if (acts := check(put))} == {}, run
            if run == "proposed":
                assert widened(put, batch) == []
                met = reached(put, batch_tags)
                assert met["JSON files"] > BATCH * 0.9
                assert met["Markdown"] > BATCH * 0.2  # a list has few names
                # No addition has a name with hidden characters, and the page shows additions.
                assert met["page"] > BATCH * 0.2
