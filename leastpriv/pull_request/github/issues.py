"""The tracking issue on GitHub, found again by its label, its author and a hidden line."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

from leastpriv.pull_request.github.client import Connection, explained
from leastpriv.pull_request.tracking_issue import TRACKING_LABEL, IssueStep, Tracked, changed, next_step

if TYPE_CHECKING:
    from github.Issue import Issue


_MOST = 300
_CLEAN = "Nothing differs any more."
_NOT_PLANNED = "not_planned"


class TrackingIssue:
    """One issue of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository

    def keep(self, marker: str, findings: Collection[str], title: str, body: str) -> tuple[IssueStep, str]:
        """Opens, edits, reopens or closes it, or leaves it alone; gives what was done, and its address if there is one.

        `marker` begins the line of `body` that holds the ids of the findings.

        Raises:
            PullRequestError: GitHub refuses, as without `issues: write`.
        """
        with explained("keeping the issue"):
            issue = self._find(marker)
            tracked = _tracked(issue) if issue else None
            step = next_step(tracked, findings)
            match step:
                case IssueStep.OPEN:
                    issue = self._repository.create_issue(title, body, labels=[TRACKING_LABEL])
                case IssueStep.EDIT if issue and tracked:
                    issue.edit(title=title, body=body)
                    issue.create_comment(changed(tracked.findings, findings))
                case IssueStep.REOPEN if issue and tracked:
                    issue.edit(title=title, body=body, state="open")
                    issue.create_comment(changed(tracked.findings, findings))
                case IssueStep.CLOSE if issue:
                    issue.create_comment(_CLEAN)
                    issue.edit(state="closed", state_reason="completed")
            return step, issue.html_url if issue else ""

    def _find(self, marker: str) -> Issue | None:
        """The open one with the lowest number, else the one that was closed last."""
        listed = self._repository.get_issues(state="all", labels=[TRACKING_LABEL], sort="updated", direction="desc")
        own = [issue for issue in islice(listed, _MOST) if self._is_own(issue, marker)]
        is_open = sorted((issue for issue in own if issue.state == "open"), key=lambda issue: issue.number)
        return next(iter([*is_open, *own]), None)

    def _is_own(self, issue: Issue, marker: str) -> bool:
        by_us = issue.user is not None and self._connection.is_me(issue.user.login)
        return by_us and issue.pull_request is None and marker in (issue.body or "")


def _tracked(issue: Issue) -> Tracked:
    return Tracked(issue.number, issue.state == "open", issue.state_reason == _NOT_PLANNED, issue.body or "")
