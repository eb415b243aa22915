"""Answers requests for comments at lines of a pull request's diff."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.github.bodies import Bodies, Body, node_id
from tests.fakes.github.issue_bodies import association
from tests.fakes.github.records import LineComment, PullRequest
from tests.fakes.github.routing import Answer, Call, page_of
from tests.fakes.github.world import ApiError, World, not_found

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


def list_line_comments(call: Call) -> Answer:
    """Comments on lines, the oldest first."""
    issue, _ = call.world.pull(call.params["pull_number"])
    found = [one for one in call.world.line_comments.values() if one.number == issue.number]
    return page_of(call, found, lambda one: _body(call.bodies, one))


def delete_line_comment(call: Call) -> Answer:
    """Delete one."""
    if call.world.line_comments.pop(int(call.params["comment_id"]), None) is None:
        raise not_found()
    return Answer(None, 204)


def add_line_comment(
    world: World,
    number: int,
    login: str,
    given: Mapping[str, Any],
    review: int | None,
    reply_to: int | None = None,
) -> LineComment:
    """Add a comment; GitHub accepts it only at a line of the diff.

    Raises:
        ApiError: 422 with GitHub's message.
    """
    _, pull = world.pull(number)
    if (given["side"], given["line"]) not in set(_commentable(world, pull, given["path"])):
        raise ApiError(422, "Unprocessable Entity", ["Line could not be resolved"])
    comment = LineComment(
        id=next(world.ids),
        number=number,
        author=world.account(login).login,
        body=given["body"],
        path=given["path"],
        line=given["line"],
        side=given["side"],
        sha=pull.head_sha,
        made=world.timestamp(),
        review=review,
        reply_to=reply_to,
    )
    world.line_comments[comment.id] = comment
    return comment


def _commentable(world: World, pull: PullRequest, path: str) -> Iterator[tuple[str, int]]:
    """(side, line) of every line in the hunks of a file, including the three lines of context."""
    fork = world.git.merge_base(pull.base_sha, pull.head_sha) or pull.base_sha
    for change in world.git.changes(fork, pull.head_sha):
        old = new = 0
        for line in change.patch.split("\n") if change.path == path else ():
            if found := _HUNK.match(line):
                old, new = int(found[1]), int(found[2])
            elif line.startswith("-"):
                yield "LEFT", old
                old += 1
            elif line.startswith("+"):
                yield "RIGHT", new
                new += 1
            elif line.startswith(" "):
                yield from (("LEFT", old), ("RIGHT", new))
                old, new = old + 1, new + 1


def _body(bodies: Bodies, comment: LineComment) -> Body:
    page = bodies.page(f"/pull/{comment.number}#discussion_r{comment.id}")
    pull, own = bodies.url(f"/pulls/{comment.number}"), bodies.url(f"/pulls/comments/{comment.id}")
    reply = {} if comment.reply_to is None else {"in_reply_to_id": comment.reply_to}
    return {
        **reply,
        "url": own,
        "pull_request_review_id": comment.review,
        "id": comment.id,
        "node_id": node_id("PRRC", comment.id),
        "diff_hunk": "",
        "path": comment.path,
        "commit_id": comment.sha,
        "original_commit_id": comment.sha,
        "user": bodies.user(comment.author),
        "body": comment.body,
        "created_at": comment.made,
        "updated_at": comment.made,
        "html_url": page,
        "pull_request_url": pull,
        "_links": {"self": {"href": own}, "html": {"href": page}, "pull_request": {"href": pull}},
        "author_association": association(bodies.world, comment.author),
        "line": comment.line,
        "original_line": comment.line,
        "side": comment.side,
        "subject_type": "line",
    }
