"""Pull requests and comments as plain values, whichever interface of GitHub listed them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.pull_request.github.client import utc
from leastpriv.pull_request.lifecycle import UNKNOWN_TIME

if TYPE_CHECKING:
    from github.IssueComment import IssueComment
    from github.PullRequest import PullRequest

_BOT = "[bot]"


class ListedComment(Struct, frozen=True):
    """A comment under a pull request."""

    id: int
    author: str
    """Login; empty for a deleted account."""
    is_by_user: bool
    """A person's account wrote it, not an app."""
    body: str
    created_at: datetime
    is_edited: bool


class ListedCommit(Struct, frozen=True):
    """A commit of a pull request."""

    sha: str
    parent: str
    """Its first parent; empty without one."""
    message: str


class ListedPullRequest(Struct, frozen=True):
    """A pull request of a branch with a given name."""

    number: int
    is_open: bool
    base: str
    head_sha: str
    is_of_repository: bool
    """The head branch is in this repository, not in a fork."""
    author: str
    """Login; empty for a deleted account."""
    body: str
    labels: tuple[str, ...]
    url: str
    merge_commit: str = ""
    merged_at: datetime | None = None
    created_at: datetime = UNKNOWN_TIME
    updated_at: datetime = UNKNOWN_TIME
    closed_by: str | None = None
    """Login, empty for a deleted account; None: not known yet."""
    comments: tuple[ListedComment, ...] | None = None
    """None: not read yet."""
    branch: str = ""
    """The head branch."""
    first_commits: tuple[ListedCommit, ...] | None = None
    """Its first two commits; None: not read yet."""

    @property
    def first_message(self) -> str:
        """Message of its first commit; empty where it is not known."""
        return self.first_commits[0].message if self.first_commits else ""


def from_rest(pull: PullRequest, repository_id: int) -> ListedPullRequest:
    """Returns a pull request of the REST API."""
    # The repository of a deleted fork is null.
    head = pull.head.repo
    return ListedPullRequest(
        number=pull.number,
        is_open=pull.state == "open",
        base=pull.base.ref,
        head_sha=pull.head.sha,
        is_of_repository=head is not None and head.id == repository_id,
        author=getattr(pull.user, "login", ""),
        body=pull.body or "",
        labels=tuple(label.name for label in pull.labels),
        url=pull.html_url,
        merge_commit=(pull.merge_commit_sha or "") if pull.merged_at else "",
        merged_at=pull.merged_at.astimezone(UTC) if pull.merged_at else None,
        created_at=pull.created_at.astimezone(UTC) if pull.created_at else UNKNOWN_TIME,
        updated_at=pull.updated_at.astimezone(UTC) if pull.updated_at else UNKNOWN_TIME,
        branch=pull.head.ref,
    )


def comment_from_rest(comment: IssueComment) -> ListedComment:
    """Returns a comment of the REST API."""
    created_at = utc(comment.created_at)
    return ListedComment(
        id=comment.id,
        author=getattr(comment.user, "login", ""),
        is_by_user=getattr(comment.user, "type", "") == "User",
        body=comment.body or "",
        created_at=created_at,
        is_edited=utc(comment.updated_at) != created_at,
    )


PULL_REQUEST_FIELDS = """
fragment pull on PullRequest {
  ...outline
  mergedAt updatedAt
  mergeCommit { oid }
  comments(first: 100) {
    totalCount nodes { fullDatabaseId body createdAt updatedAt author { __typename login } }
  }
  timelineItems(last: 1, itemTypes: [CLOSED_EVENT]) {
    nodes { ... on ClosedEvent { actor { __typename login } } }
  }
}
"""
"""What `from_graphql` reads, with `OUTLINE_FIELDS`."""
OUTLINE_FIELDS = """
fragment outline on PullRequest {
  number state baseRefName headRefName headRefOid body url createdAt
  headRepository { id }
  author { __typename login }
  labels(first: 100) { nodes { name } }
  commits(first: 2) { nodes { commit { oid message parents(first: 1) { nodes { oid } } } } }
}
"""
"""What `outline_from_graphql` reads."""


def outline_from_graphql(node: Mapping[str, Any], repository_id: str) -> ListedPullRequest:
    """Returns a pull request of the GraphQL API without its later times and comments."""
    head = node["headRepository"]
    return ListedPullRequest(
        number=node["number"],
        is_open=node["state"] == "OPEN",
        base=node["baseRefName"],
        head_sha=node["headRefOid"],
        is_of_repository=head is not None and head["id"] == repository_id,
        author=_login(node["author"]),
        body=node["body"],
        labels=tuple(label["name"] for label in node["labels"]["nodes"]),
        url=node["url"],
        created_at=datetime.fromisoformat(node["createdAt"]),
        branch=node["headRefName"],
        first_commits=tuple(_commit(listed["commit"]) for listed in node["commits"]["nodes"]),
    )


def _commit(node: Mapping[str, Any]) -> ListedCommit:
    parents = node["parents"]["nodes"]
    return ListedCommit(
        sha=node["oid"], parent=parents[0]["oid"] if parents else "", message=node["message"]
    )


def commit_from_rest(content: Mapping[str, Any]) -> ListedCommit:
    """Returns a commit of the REST API."""
    parents = content["parents"]
    return ListedCommit(
        sha=content["sha"],
        parent=parents[0]["sha"] if parents else "",
        message=content["commit"]["message"],
    )


def from_graphql(node: Mapping[str, Any], repository_id: str) -> ListedPullRequest:
    """Returns a pull request of the GraphQL API."""
    merged_at = datetime.fromisoformat(node["mergedAt"]) if node["mergedAt"] else None
    merge_commit = node["mergeCommit"]
    closings = node["timelineItems"]["nodes"]
    comments = node["comments"]
    is_whole = comments["totalCount"] == len(comments["nodes"])
    return replace(
        outline_from_graphql(node, repository_id),
        merge_commit=merge_commit["oid"] if merged_at and merge_commit else "",
        merged_at=merged_at,
        updated_at=datetime.fromisoformat(node["updatedAt"]),
        closed_by=_login(closings[0]["actor"]) if closings else "",
        comments=tuple(map(_comment, comments["nodes"])) if is_whole else None,
    )


def _comment(node: Mapping[str, Any]) -> ListedComment:
    author = node["author"]
    return ListedComment(
        id=int(node["fullDatabaseId"]),
        author=_login(author),
        is_by_user=author is not None and author["__typename"] == "User",
        body=node["body"],
        created_at=datetime.fromisoformat(node["createdAt"]),
        is_edited=node["updatedAt"] != node["createdAt"],
    )


def _login(actor: Mapping[str, str] | None) -> str:
    """Returns the login as the REST API has it: that of an app's bot ends with `[bot]`."""
    if actor is None:
        return ""
    login = actor["login"]
    if actor["__typename"] == "Bot" and not login.endswith(_BOT):
        return f"{login}{_BOT}"
    return login
