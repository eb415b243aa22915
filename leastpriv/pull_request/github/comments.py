"""Comments on pull requests, and whether who wrote them may decide anything here.

Comments at the lines of a pull request's diff: one review of ours, which takes the place of the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.comment_commands import Said, asked, refusal_of
from leastpriv.pull_request.github.client import Connection, explained, is_bot, sentence
from leastpriv.pull_request.models import LineComment

if TYPE_CHECKING:
    from github.IssueComment import IssueComment
    from github.PullRequest import PullRequest
    from github.PullRequest import ReviewComment as NewComment


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


_MARKER = "<!-- leastpriv:line v=1 -->"
_NEWEST = 100
_BODY = "The evidence at the lines that change; the description has all of it."
_WAITS = (1.0, 2.0, 4.0)
"""Seconds between tries while GitHub has not worked out the diff of a branch that was just moved (404 and 422)."""


class LineComments:
    """The comments of one repository's pull requests that stand at lines."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, number: int, commit: str, comments: Sequence[LineComment], *, anew: bool) -> str:
        """Has these comments stand at lines of the diff up to `commit`; gives a sentence where that was refused.

        Earlier ones of ours go, but for those that somebody answered; `anew`: there are none. They are a courtesy: no
        failure ends the run.
        """
        if anew and not comments:
            return ""
        try:
            with explained(f"commenting on lines of #{number}"):
                pull = self._connection.repository.get_pull(number)
                if not anew:
                    self._remove_earlier(pull)
        except PullRequestError as error:
            return str(error)
        return self._review(pull, commit, comments) if comments else ""

    def _remove_earlier(self, pull: PullRequest) -> None:
        # Read as they came: PyGithub asks once more for each comment that, being no answer, lacks `in_reply_to_id`.
        newest = f"{pull.url}/comments?sort=created&direction=desc&per_page={_NEWEST}"
        _, every = pull.requester.requestJsonAndCheck("GET", newest)
        answered = {each.get("in_reply_to_id") for each in every}
        for each in every:
            author = (each["user"] or {}).get("login", "")  # a deleted account has none
            own = self._connection.is_me(author) and each["body"].rstrip().endswith(_MARKER)
            if own and each["id"] not in answered:
                pull.requester.requestJsonAndCheck("DELETE", each["url"])

    def _review(self, pull: PullRequest, commit: str, comments: Sequence[LineComment]) -> str:
        from github import GithubException

        written: list[NewComment] = [
            {"path": each.path, "line": each.line, "side": each.side, "body": f"{each.text}\n\n{_MARKER}"}
            for each in comments
        ]
        for wait in (*_WAITS, 0.0):
            try:
                at = self._connection.repository.get_commit(commit)
                pull.create_review(commit=at, body=_BODY, event="COMMENT", comments=written)
            except GithubException as error:
                if not wait or error.status not in (404, 422):
                    return sentence(f"commenting on lines of #{pull.number}", error)
                self._connection.sleep(wait)
            else:
                break
        return ""
