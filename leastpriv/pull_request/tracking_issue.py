"""Decides the next step for the issue that tracks findings until none is left."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

TRACKING_LABEL = "leastpriv: drift"
"""Label that identifies the issue; only people with triage permission can set it."""
_FINDINGS_MARKER = re.compile(r"findings=([0-9a-f,]*) -->")


class IssueStep(StrEnum):
    """The next step for a tracking issue."""

    OPEN = "open"
    EDIT = "edit"
    """The findings changed: edits the description and comments once."""
    REOPEN = "reopen"
    CLOSE = "close"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class TrackedIssue:
    """The present state of the tracking issue."""

    number: int
    is_open: bool
    not_planned: bool
    """Closed as not planned: a person accepts its findings."""
    body: str

    @property
    def findings(self) -> frozenset[str]:
        """Ids of its findings; empty if a person rewrote the description."""
        match = _FINDINGS_MARKER.search(self.body)
        return frozenset(filter(None, match[1].split(","))) if match else frozenset()


def next_issue_step(issue: TrackedIssue | None, findings: Collection[str]) -> IssueStep:
    """Returns the next step for the ids of the present findings."""
    now = frozenset(findings)
    if not now:
        return IssueStep.CLOSE if issue and issue.is_open else IssueStep.NOTHING
    if issue is None:
        return IssueStep.OPEN
    if issue.is_open:
        return IssueStep.NOTHING if issue.findings == now else IssueStep.EDIT
    if issue.not_planned and now <= issue.findings:
        return IssueStep.NOTHING
    return IssueStep.REOPEN


def change_summary(before: Collection[str], now: Collection[str]) -> str:
    """Returns one sentence with the numbers of new, gone and unchanged findings."""
    new, gone = len(set(now) - set(before)), len(set(before) - set(now))
    return f"{new} new, {gone} gone, {len(set(now) & set(before))} as before: the description is that of this run."
