"""Keeps the tracking issue of findings on GitHub."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

from leastpriv.pull_request.github.client import Connection, translate_github_errors
from leastpriv.pull_request.lifecycle import (
    TRACKING_LABEL,
    IssueStep,
    TrackedIssue,
    change_summary,
    next_issue_step,
)

if TYPE_CHECKING:
    from github.Issue import Issue

_MAX_ISSUES = 300
_NO_DIFFERENCE = "There is no difference any more."
_NOT_PLANNED = "not_planned"


class TrackingIssues:
    """The tracking issues of one repository."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._repository = connection.repository

    def update(
        self, marker: str, findings: Collection[str], title: str, body: str
    ) -> tuple[IssueStep, str]:
        """Opens, edits, reopens or closes the issue, or leaves it alone; returns the step and its
        address, if any.

        `marker` begins the line of `body` that holds the ids of the findings.
        """
        from github.GithubObject import NotSet

        with translate_github_errors("keeping the issue"):
            open_issues = self._repository.get_issues(
                state="all", labels=[TRACKING_LABEL], sort="updated", direction="desc"
            )
            own_issues = [
                issue for issue in islice(open_issues, _MAX_ISSUES) if self._is_own(issue, marker)
            ]
            is_open = sorted(
                (issue for issue in own_issues if issue.state == "open"),
                key=lambda issue: issue.number,
            )
            issue = next(iter([*is_open, *own_issues]), None)
            tracked = None
            if issue:
                declined = issue.state_reason == _NOT_PLANNED
                tracked = TrackedIssue(issue.state == "open", declined, issue.body or "")
            step = next_issue_step(tracked, findings)
            match step:
                case IssueStep.OPEN:
                    issue = self._repository.create_issue(title, body, labels=[TRACKING_LABEL])
                case IssueStep.EDIT | IssueStep.REOPEN if issue and tracked:
                    issue.edit(
                        title=title, body=body, state="open" if step is IssueStep.REOPEN else NotSet
                    )
                    issue.create_comment(change_summary(tracked.findings, findings))
                case IssueStep.CLOSE if issue:
                    issue.create_comment(_NO_DIFFERENCE)
                    issue.edit(state="closed", state_reason="completed")
            return step, issue.html_url if issue else ""

    def _is_own(self, issue: Issue, marker: str) -> bool:
        by_us = issue.user is not None and self._connection.is_own_login(issue.user.login)
        return by_us and issue.pull_request is None and marker in (issue.body or "")
