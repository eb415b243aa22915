"""Comments on pull requests and at lines of their diff, and the tracking issue, on GitHub."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from github.Issue import Issue

from leastpriv.errors import PullRequestError
from leastpriv.pull_request.comment_commands import CommentCommand, parse_commands, rejection_reason
from leastpriv.pull_request.github.client import Connection, error_sentence, found_or, is_bot, translate_github_errors
from leastpriv.pull_request.lifecycle import TRACKING_LABEL, IssueStep, TrackedIssue, change_summary, next_issue_step
from leastpriv.pull_request.models import LineComment

if TYPE_CHECKING:
    from github.IssueComment import IssueComment
    from github.PullRequest import PullRequest
    from github.PullRequest import ReviewComment as NewComment


_MAX_COMMENTS = 1_000
"""Per pull request, the oldest."""
_WRITE_PERMISSIONS = ("admin", "write")
"""Answers of GitHub for people with write permission; `maintain` is returned as `write`, `triage` as `read`
(docs.github.com, "Get repository permissions for a user", read 2026-11-26)."""


class PullRequestComments:
    """The comments on pull requests of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository
        self._may_decide_by_login: dict[str, bool] = {}

    def commands(self, pulls: Iterable[int]) -> tuple[CommentCommand, ...]:
        """Returns the commands under some pull requests, in the order of their comments."""
        return tuple(command for number in pulls for command in self._commands_under(number))

    def _commands_under(self, number: int) -> Iterable[CommentCommand]:
        with translate_github_errors(f"listing the comments of #{number}"):
            comments = self._repository.get_issue(number).get_comments()
            return [
                command for comment in islice(comments, _MAX_COMMENTS) for command in self._commands_in(comment, number)
            ]

    def _commands_in(self, comment: IssueComment, number: int) -> Iterable[CommentCommand]:
        commands = parse_commands(comment.body or "")
        if not commands:
            return []
        login = comment.user.login if comment.user else ""
        rejection = self._rejection(comment, login)
        created_at = _utc(comment.created_at)
        return [
            CommentCommand(command, login, created_at, comment.id, number, rejection or rejection_reason(command))
            for command in commands
        ]

    def _rejection(self, comment: IssueComment, login: str) -> str:
        """Returns why a comment does not count: an app wrote it, it was edited, or its author lacks permission."""
        if not login or is_bot(login) or comment.user.type != "User":
            return "an app wrote it"
        if _utc(comment.updated_at) != _utc(comment.created_at):
            # Others may edit a comment too, and the REST API does not name the editor.
            return "it was edited after it was written: write a new comment"
        if login not in self._may_decide_by_login:
            self._may_decide_by_login[login] = found_or(
                lambda: self._repository.get_collaborator_permission(login) in _WRITE_PERMISSIONS, False
            )
        return "" if self._may_decide_by_login[login] else "only people with write permission decide"


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_MARKER = "<!-- leastpriv:line v=1 -->"
_MAX_LINE_COMMENTS = 100
_REVIEW_BODY = "The evidence at the lines that change; the description has all of it."
_WAITS = (1.0, 2.0, 4.0)
"""Seconds between tries while GitHub computes the diff of a branch that just moved (404 and 422)."""


class LineComments:
    """The comments at lines of pull requests of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def replace(self, number: int, commit: str, comments: Sequence[LineComment], *, is_new: bool) -> str:
        """Replaces the comments at lines of the diff up to `commit`; returns a sentence if GitHub rejects them.

        Earlier comments of this program are deleted, except those with an answer; `is_new`: there are none. No failure
        ends the run.
        """
        if is_new and not comments:
            return ""
        try:
            with translate_github_errors(f"commenting on lines of #{number}"):
                pull = self._connection.repository.get_pull(number)
                if not is_new:
                    self._remove_earlier(pull)
        except PullRequestError as error:
            return str(error)
        return self._create_review(pull, commit, comments) if comments else ""

    def _remove_earlier(self, pull: PullRequest) -> None:
        # Raw JSON: PyGithub makes another request for each comment that lacks `in_reply_to_id`.
        url = f"{pull.url}/comments?sort=created&direction=desc&per_page={_MAX_LINE_COMMENTS}"
        _, comments = pull.requester.requestJsonAndCheck("GET", url)
        answered = {comment.get("in_reply_to_id") for comment in comments}
        for comment in comments:
            author = (comment["user"] or {}).get("login", "")  # a deleted account has none
            is_own = self._connection.is_own_login(author) and comment["body"].rstrip().endswith(_MARKER)
            if is_own and comment["id"] not in answered:
                pull.requester.requestJsonAndCheck("DELETE", comment["url"])

    def _create_review(self, pull: PullRequest, commit: str, comments: Sequence[LineComment]) -> str:
        from github import GithubException

        written: list[NewComment] = [
            {"path": each.path, "line": each.line, "side": each.side, "body": f"{each.text}\n\n{_MARKER}"}
            for each in comments
        ]
        for wait in (*_WAITS, 0.0):
            try:
                at = self._connection.repository.get_commit(commit)
                pull.create_review(commit=at, body=_REVIEW_BODY, event="COMMENT", comments=written)
            except GithubException as error:
                if not wait or error.status not in (404, 422):
                    return error_sentence(f"commenting on lines of #{pull.number}", error)
                self._connection.sleep(wait)
            else:
                break
        return ""


_MAX_ISSUES = 300
_NO_DIFFERENCE = "There is no difference any more."
_NOT_PLANNED = "not_planned"


class TrackingIssue:
    """The tracking issue of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository

    def update(self, marker: str, findings: Collection[str], title: str, body: str) -> tuple[IssueStep, str]:
        """Opens, edits, reopens or closes the issue, or leaves it alone; returns the step and its address, if any.

        `marker` begins the line of `body` that holds the ids of the findings.
        """
        with translate_github_errors("keeping the issue"):
            listed = self._repository.get_issues(state="all", labels=[TRACKING_LABEL], sort="updated", direction="desc")
            own = [issue for issue in islice(listed, _MAX_ISSUES) if self._is_own(issue, marker)]
            is_open = sorted((issue for issue in own if issue.state == "open"), key=lambda issue: issue.number)
            issue = next(iter([*is_open, *own]), None)
            tracked = None
            if issue:
                declined = issue.state_reason == _NOT_PLANNED
                tracked = TrackedIssue(issue.number, issue.state == "open", declined, issue.body or "")
            step = next_issue_step(tracked, findings)
            match step:
                case IssueStep.OPEN:
                    issue = self._repository.create_issue(title, body, labels=[TRACKING_LABEL])
                case IssueStep.EDIT if issue and tracked:
                    issue.edit(title=title, body=body)
                    issue.create_comment(change_summary(tracked.findings, findings))
                case IssueStep.REOPEN if issue and tracked:
                    issue.edit(title=title, body=body, state="open")
                    issue.create_comment(change_summary(tracked.findings, findings))
                case IssueStep.CLOSE if issue:
                    issue.create_comment(_NO_DIFFERENCE)
                    issue.edit(state="closed", state_reason="completed")
            return step, issue.html_url if issue else ""

    def _is_own(self, issue: Issue, marker: str) -> bool:
        by_us = issue.user is not None and self._connection.is_own_login(issue.user.login)
        return by_us and issue.pull_request is None and marker in (issue.body or "")
