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
    publish_result = published(github, TOLD)
    [comment] = github.line_comments(publish_result.number)
    assert (comment.path, comment.line, comment.side, comment.sha) == (
        PROPOSED.path,
        1,
        "LEFT",
        publish_result.head_sha,
    )
    assert comment.body == "**Removed:** `s3:PutObject`\n\n<!-- leastpriv:line v=1 -->"


def test_an_equal_proposal_writes_no_comment(github: FakeGitHub) -> None:
    published(github, TOLD)
    without_writes(github, lambda: published(github, TOLD))


def test_comments_of_an_earlier_proposal_are_deleted(github: FakeGitHub) -> None:
    number = published(github, TOLD).number
    publish_result = published(github, TOLD_OTHER)
    [comment] = github.line_comments(number)
    assert (publish_result.operation, comment.side, comment.sha) == (
        PullRequestOperation.UPDATED,
        "RIGHT",
        publish_result.head_sha,
    )


def test_answered_comments_and_those_of_others_are_kept(github: FakeGitHub) -> None:
    number = published(github, TOLD).number
    [comment] = github.line_comments(number)
    github.answer_as("kim", comment.id, "Why?\n\n<!-- leastpriv:line v=1 -->")
    published(github, TOLD_OTHER)
    assert [comment.author for comment in github.line_comments(number)] == [
        comment.author,
        "kim",
        comment.author,
    ]


def test_a_proposal_without_comments_makes_no_request(github: FakeGitHub) -> None:
    published(github)
    assert not [write for write in writes(github) if "reviews" in write]


def test_a_line_that_github_rejects_does_not_end_the_run(github: FakeGitHub) -> None:
    publish_result = published(github, replace(PROPOSED, comments=[replace(AT, line=99)]))
    assert (publish_result.operation, github.line_comments(publish_result.number)) == (
        PullRequestOperation.CREATED,
        [],
    )
    assert "commenting on lines" in publish_result.reason
    assert not publish_result.failure
