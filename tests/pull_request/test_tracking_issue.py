"""The tracking issue follows its findings, tested against a stateful GitHub that validates every
request.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github.client import Connection, RequestDeadline
from leastpriv.pull_request.github.tracking_issue import TrackingIssues
from leastpriv.pull_request.lifecycle import (
    TRACKING_LABEL,
    IssueStep,
    TrackedIssue,
    next_issue_step,
)
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
        github.token,
        "acme/orders",
        api_url=github.url,
        web_url="https://github.com",
        deadline=RequestDeadline(lambda _: None),
    )
    return TrackingIssues(connection).update(marker, ids, "Drift", body_of(*ids, marker=marker))[0]


def issue(github: FakeGitHub, number: int = 1) -> Issue:
    return github.world.issue(number)


def close_as(github: FakeGitHub, login: str, reason: str, number: int = 1) -> None:
    github.world.close(issue(github, number), login, reason)


class TestLifecycle:
    def test_the_issue_is_opened_once_and_equal_findings_write_nothing(
        self, github: FakeGitHub
    ) -> None:
        assert keep(github, "aaaaaaaa") is IssueStep.OPEN
        assert (issue(github).labels, issue(github).state) == ([TRACKING_LABEL], "open")
        before = len(github.requests)
        assert keep(github, "aaaaaaaa") is IssueStep.NOTHING
        assert {
            request.method for request in github.requests[before:] if "graphql" not in request.path
        } == {"GET"}
        assert len(github.world.issues) == 1

    def test_changed_findings_edit_the_issue_with_one_comment(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa", "bbbbbbbb")
        assert keep(github, "bbbbbbbb", "cccccccc") is IssueStep.EDIT
        assert issue(github).body == body_of("bbbbbbbb", "cccccccc")
        assert github.comments(1) == [
            "1 new, 1 gone, 1 as before: the description is that of this run."
        ]

    def test_no_findings_close_the_issue_and_new_ones_reopen_it(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa")
        assert keep(github) is IssueStep.CLOSE
        assert (issue(github).state, issue(github).state_reason) == ("closed", "completed")
        assert keep(github) is IssueStep.NOTHING
        assert keep(github, "aaaaaaaa") is IssueStep.REOPEN
        assert (issue(github).state, len(github.world.issues)) == ("open", 1)

    def test_an_issue_closed_as_not_planned_is_reopened_only_for_other_findings(
        self, github: FakeGitHub
    ) -> None:
        keep(github, "aaaaaaaa", "bbbbbbbb")
        close_as(github, "kim", "not_planned")
        assert keep(github, "aaaaaaaa") is IssueStep.NOTHING
        assert keep(github, "aaaaaaaa", "cccccccc") is IssueStep.REOPEN

    def test_an_issue_closed_as_completed_is_reopened_while_findings_remain(
        self, github: FakeGitHub
    ) -> None:
        keep(github, "aaaaaaaa")
        close_as(github, "kim", "completed")
        assert keep(github, "aaaaaaaa") is IssueStep.REOPEN

    def test_each_role_has_one_issue(self, github: FakeGitHub) -> None:
        other_marker = MARKER.replace("0123", "ffff")
        keep(github, "aaaaaaaa")
        assert keep(github, "aaaaaaaa", marker=other_marker) is IssueStep.OPEN
        assert keep(github) is IssueStep.CLOSE
        assert (issue(github, 1).state, issue(github, 2).state) == ("closed", "open")


class TestForgedState:
    def test_another_author_s_issue_with_marker_and_label_is_ignored(
        self, github: FakeGitHub
    ) -> None:
        forged = github.world.open_issue("mallory", "Drift", body_of("aaaaaaaa"))
        forged.labels.append(github.world.label(TRACKING_LABEL).name)
        assert keep(github) is IssueStep.NOTHING
        assert keep(github, "aaaaaaaa") is IssueStep.OPEN
        assert (forged.state, forged.body) == ("open", body_of("aaaaaaaa"))

    def test_a_rewritten_description_with_the_marker_is_replaced(self, github: FakeGitHub) -> None:
        keep(github, "aaaaaaaa")
        issue(github).body = f"Mine.\n{MARKER}findings=zz -->"
        assert keep(github, "aaaaaaaa") is IssueStep.EDIT

    def test_without_the_permission_the_error_names_it(self) -> None:
        with (
            FakeGitHub(
                "acme/orders", permissions={"metadata": "read", "contents": "read"}
            ) as github,
            pytest.raises(PullRequestError, match="issues: write"),
        ):
            keep(github, "aaaaaaaa")


@pytest.mark.parametrize(
    ("found", "now", "step"),
    [
        (None, (), IssueStep.NOTHING),
        (None, ("a",), IssueStep.OPEN),
        (TrackedIssue(True, False, body_of()), (), IssueStep.CLOSE),
        (TrackedIssue(True, False, "no line"), ("a",), IssueStep.EDIT),
        (TrackedIssue(False, True, "no line"), ("a",), IssueStep.REOPEN),
        (TrackedIssue(False, False, body_of()), (), IssueStep.NOTHING),
    ],
)
def test_further_states_have_the_step_of_the_table(
    found: TrackedIssue | None, now: tuple[str, ...], step: IssueStep
) -> None:
    assert next_issue_step(found, now) is step
