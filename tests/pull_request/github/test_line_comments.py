"""Comments at lines of a pull request are one review of the newest commit."""

from __future__ import annotations

from leastpriv.pull_request.models import LineComment, PullRequestOperation
from tests.fakes.github.server import FakeGitHub
from tests.fakes.replace import replace
from tests.pull_request.github.test_repository import (
    OTHER,
    PROPOSED,
    github,
    published,
    without_writes,
    writes,
)

assert github  # the fixture

AT = LineComment(PROPOSED.path, 1, "LEFT", "**Removed:** `s3:PutObject`")
TOLD = replace(PROPOSED, comments=[AT])
TOLD_OTHER = replace(OTHER, comments=[replace(AT, side="RIGHT", text="**Added:** `s3:GetObject`")])


def test_each_comment_is_at_its_line_of_the_new_commit(github: FakeGitHub) -> None:
    result = published(github, TOLD)
    [comment] = github.line_comments(result.number)
    assert (comment.path, comment.line, comment.side, comment.sha) == (
        PROPOSED.path,
        1,
        "LEFT",
        result.head_sha,
    )
    assert comment.body == "**Removed:** `s3:PutObject`\n\n<!-- leastpriv:line v=1 -->"


def test_an_equal_proposal_writes_no_comment(github: FakeGitHub) -> None:
    published(github, TOLD)
    without_writes(github, lambda: published(github, TOLD))


def test_comments_of_an_earlier_proposal_are_deleted(github: FakeGitHub) -> None:
    number = published(github, TOLD).number
    result = published(github, TOLD_OTHER)
    [comment] = github.line_comments(number)
    assert (result.operation, comment.side, comment.sha) == (
        PullRequestOperation.UPDATED,
        "RIGHT",
        result.head_sha,
    )


def test_answered_comments_and_those_of_others_are_kept(github: FakeGitHub) -> None:
    number = published(github, TOLD).number
    [asked] = github.line_comments(number)
    github.answer_as("kim", asked.id, "Why?\n\n<!-- leastpriv:line v=1 -->")
    published(github, TOLD_OTHER)
    assert [comment.author for comment in github.line_comments(number)] == [
        asked.author,
        "kim",
        asked.author,
    ]


def test_a_proposal_without_comments_makes_no_request(github: FakeGitHub) -> None:
    published(github)
    assert not [each for each in writes(github) if "reviews" in each]


def test_a_line_that_github_rejects_does_not_end_the_run(github: FakeGitHub) -> None:
    result = published(github, replace(PROPOSED, comments=[replace(AT, line=99)]))
    assert (result.operation, github.line_comments(result.number)) == (
        PullRequestOperation.CREATED,
        [],
    )
    assert "commenting on lines" in result.reason
    assert not result.failure
