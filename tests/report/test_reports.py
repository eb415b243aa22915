"""A report and a check show the change, and nothing of a pull request; titles and links of both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leastpriv.report.context import ReportContext
from leastpriv.report.guide import LATEST, guide_url
from leastpriv.report.policy_text import diff_lines
from leastpriv.report.pull_request import body, title
from tests.fakes.deploys import POLICY, proposal
from tests.fakes.replace import replace


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    return proposal(tmp_path_factory.mktemp("report"), POLICY, mode="report").context


def test_a_report_says_nothing_of_merging_and_shows_the_diff(reported: ReportContext) -> None:
    text = body(reported)
    assert not re.search(r"\bmerg|\bclos(e|ing) (this|to)|\bpush", text, re.IGNORECASE)
    assert "```diff\n" in text.partition("<details>")[0]
    assert '-      "Action": "lambda:*",' in text
    assert "`mode: pull-request` offers this change" in text


def test_a_pull_request_shows_no_diff_of_its_own(reported: ReportContext) -> None:
    assert "```diff" not in body(replace(reported, is_pull_request=True))


def test_the_diff_is_that_of_the_file(reported: ReportContext) -> None:
    committed = reported.proposal.committed
    assert committed is not None
    removed = [line[1:] for line in diff_lines(reported) if line.startswith("-")]
    added = [line[1:] for line in diff_lines(reported) if line.startswith("+")]
    assert set(removed) <= set(committed.source.outer.splitlines())
    assert set(added) <= set(reported.proposal.document.source.outer.splitlines())


def test_a_long_diff_has_its_rest_in_a_fold(reported: ReportContext) -> None:
    outer = "\n".join(f"line {number}" for number in range(200))
    document = reported.proposal.document
    long = replace(document, source=replace(document.source, outer=outer))
    text = body(replace(reported, proposal=replace(reported.proposal, document=long)))
    assert "+line 3\n" in text.partition("<details>")[0]
    assert "+line 199" not in text.partition("<details>")[0]
    assert "+line 199" in text


@pytest.mark.parametrize(
    ("prefix", "begin"),
    [
        ("", "iam(ci-deploy): 55 -> 25 actions, plus 1 added"),
        ("chore(iam)", "chore(iam): ci-deploy: 55 -> 25 actions, plus 1 added"),
        ("fix({role})", "fix(ci-deploy): 55 -> 25 actions, plus 1 added"),
    ],
)
def test_a_title_begins_with_the_prefix_of_the_settings(
    tmp_path: Path, prefix: str, begin: str
) -> None:
    assert title(proposal(tmp_path, POLICY, title_prefix=prefix).context) == begin


def test_links_lead_to_the_pages_of_the_version_that_runs(reported: ReportContext) -> None:
    assert guide_url("https://github.com", "", "") == LATEST
    guide = guide_url("https://github.example", "acme/leastpriv-action", "0123abcd")
    text = body(replace(reported, guide=guide))
    assert f"]({guide}/rehearsal.md)" in text
    assert LATEST not in text
