"""Comments on pull requests, and whether who wrote them may decide anything here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from leastpriv.pull_request.commands import Said, asked, refusal_of
from leastpriv.pull_request.github_errors import explained
from leastpriv.pull_request.repository.connection import Connection, is_bot

if TYPE_CHECKING:
    from github.IssueComment import IssueComment

_MOST_COMMENTS = 1_000
"""Of one pull request, the oldest."""
_DECIDES = ("admin", "write")
"""Answers of GitHub for those who may push; `maintain` is told as `write`, `triage` as `read` (docs.github.com, "Get
repository permissions for a user", read 2026-11-26)."""


class Comments:
    """The comments of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository
        self._deciding: dict[str, bool] = {}

    def said(self, pulls: Iterable[int]) -> tuple[Said, ...]:
        """What was asked for under some pull requests, in the order of their comments.

        Raises:
            PullRequestError: GitHub does not show the comments, or the permission of a writer.
        """
        return tuple(said for number in pulls for said in self._of_pull(number))

    def _of_pull(self, number: int) -> Iterable[Said]:
        with explained(f"listing the comments of #{number}"):
            comments = self._repository.get_issue(number).get_comments()
            return [said for comment in islice(comments, _MOST_COMMENTS) for said in self._of_comment(comment, number)]

    def _of_comment(self, comment: IssueComment, number: int) -> Iterable[Said]:
        found = asked(comment.body or "")
        if not found:
            return []
        login = comment.user.login if comment.user else ""
        refusal = self._refusal(comment, login)
        at = _utc(comment.created_at)
        return [Said(each, login, at, comment.id, number, refusal or refusal_of(each)) for each in found]

    def _refusal(self, comment: IssueComment, login: str) -> str:
        """Why a comment does not count: an app wrote it, it is not what its author wrote, or they may not decide."""
        if not login or is_bot(login) or comment.user.type != "User":
            return "an app wrote it"
        if _utc(comment.updated_at) != _utc(comment.created_at):
            # Others may edit a comment too, and the REST API does not say who did.
            return "it was edited after it was written: write it anew"
        return "" if self._decides(login) else "only people with write permission decide"

    def _decides(self, login: str) -> bool:
        from github import UnknownObjectException

        if login not in self._deciding:
            try:
                self._deciding[login] = self._repository.get_collaborator_permission(login) in _DECIDES
            except UnknownObjectException:
                self._deciding[login] = False
        return self._deciding[login]


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
