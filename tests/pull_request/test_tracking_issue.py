"""The one tracking issue, row by row, against a GitHub that keeps state and checks every request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github.client import Connection
from leastpriv.pull_request.github.issues import TrackingIssue
from leastpriv.pull_request.tracking_issue import TRACKING_LABEL, IssueStep, TrackedIssue, next_issue_step
from tests.fakes.github import FakeGitHub
from tests.fakes.github.records import Issue

MARKER = "<!-- leastpriv:drift v=1 scope=0123456789abcdef "
RIGHTS = {"metadata": "read", "contents": "read", "issues": "write"}
BOT = "github-actions[bot]"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/orders", permissions=RIGHTS) as fake:
        fake.add_user("kim", "write")
        yield fake


def body_of(*ids: str, marker: str = MARKER) -> str:
    return f"Findings.\n\n{marker}findings={','.join(ids)} -->"


def keep(github: FakeGitHub, *ids: str, marker: str = MARKER) -> IssueStep:
    connection = Connection.open(
        github.token, "acme/orders", api_url=github.url, web_url="https://github.com", sleep=lambda _: None
    )
    return TrackingIssue(connection).update(marker, ids, "Drift", body_of(*ids, marker=marker))[0]


def issue(github: FakeGitHub, number: int = 1) -> Issue:
    return github.world.issue(number)


def close_as(github: FakeGitHub, login: str, reason: str, number: int = 1) -> None:
    github.world.close(issue(github, number), login, reason)


class TestLife:
    def test_it_is_opened_once_and_the_same_again_is_quiet(self, github: FakeGitHub) -> None:
        assert keep(github, "aaaaaaaa") is IssueStep.OPEN
        assert (issue(github).labels, issue(github).state) == ([TRACKING_LABEL], "open")
        before = len(github.requests)
        assert keep(github, "aaaaaaaa") is IssueStep.NOTHING
        assert {each.method for each in github.requests[before:] if "graphql" not in each.path} == {"GET"}
        assert len(github.world.issues) == 1

    def test_something_else_edits_it_and_says_once_what_changed(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa", "bbbbbbbb")
        assert keep(github, "bbbbbbbb", "cccccccc") is IssueStep.EDIT
        assert issue(github).body == body_of("bbbbbbbb", "cccccccc")
        assert github.comments(1) == ["1 new, 1 gone, 1 as before: the description is that of this run."]

    def test_clean_closes_it_and_drift_opens_the_same_again(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa")
        assert keep(github) is IssueStep.CLOSE
        assert (issue(github).state, issue(github).state_reason) == ("closed", "completed")
        assert keep(github) is IssueStep.NOTHING
        assert keep(github, "aaaaaaaa") is IssueStep.REOPEN
        assert (issue(github).state, len(github.world.issues)) == ("open", 1)

    def test_closed_as_not_planned_it_stays_closed_until_something_else_is_found(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa", "bbbbbbbb")
        close_as(github, "kim", "not_planned")
        assert keep(github, "aaaaaaaa") is IssueStep.NOTHING
        assert keep(github, "aaaaaaaa", "cccccccc") is IssueStep.REOPEN

    def test_closed_as_done_by_a_person_it_opens_again_while_it_is_not(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa")
        close_as(github, "kim", "completed")
        assert keep(github, "aaaaaaaa") is IssueStep.REOPEN

    def test_two_roles_have_an_issue_each(self, github: FakeGitHub) -> None:
        other = MARKER.replace("0123", "ffff")
        keep(github, "aaaaaaaa")
        assert keep(github, "aaaaaaaa", marker=other) is IssueStep.OPEN
        assert keep(github) is IssueStep.CLOSE
        assert (issue(github, 1).state, issue(github, 2).state) == ("closed", "open")


class TestStrangers:
    def test_somebody_elses_issue_with_our_line_and_label_is_not_ours(self, github: FakeGitHub) -> None:
        forged = github.world.open_issue("mallory", "Drift", body_of("aaaaaaaa"))
        forged.labels.append(github.world.label(TRACKING_LABEL).name)
        assert keep(github) is IssueStep.NOTHING
        assert keep(github, "aaaaaaaa") is IssueStep.OPEN
        assert (forged.state, forged.body) == ("open", body_of("aaaaaaaa"))

    def test_a_rewritten_description_that_keeps_the_line_is_written_anew(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa")
        issue(github).body = f"Mine.\n{MARKER}findings=zz -->"
        assert keep(github, "aaaaaaaa") is IssueStep.EDIT

    def test_without_the_permission_the_sentence_names_it(self) -> None:
        with (
            FakeGitHub("acme/orders", permissions={"metadata": "read", "contents": "read"}) as github,
            pytest.raises(PullRequestError, match="issues: write"),
        ):
            keep(github, "aaaaaaaa")


@pytest.mark.parametrize(
    ("found", "now", "step"),
    [
        (None, (), IssueStep.NOTHING),
        (None, ("a",), IssueStep.OPEN),
        (TrackedIssue(1, True, False, body_of()), (), IssueStep.CLOSE),
        (TrackedIssue(1, True, False, "no line"), ("a",), IssueStep.EDIT),
        (TrackedIssue(1, False, True, "no line"), ("a",), IssueStep.REOPEN),
        (TrackedIssue(1, False, False, body_of()), (), IssueStep.NOTHING),
    ],
)
def test_rows_that_only_a_table_can_show(found: TrackedIssue | None, now: tuple[str, ...], step: IssueStep) -> None:
    assert next_issue_step(found, now) is step
