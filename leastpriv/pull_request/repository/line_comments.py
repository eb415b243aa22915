"""Comments at the lines of a pull request's diff: one review of ours, which takes the place of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.github_errors import explained, sentence
from leastpriv.pull_request.publication import LineComment
from leastpriv.pull_request.repository.connection import Connection

if TYPE_CHECKING:
    from github.PullRequest import PullRequest
    from github.PullRequest import ReviewComment as NewComment

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
