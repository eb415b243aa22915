"""The one issue that tracks something until it is gone: a pure table from what is found to the next step."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

TRACKING_LABEL = "leastpriv: drift"
"""By it the issue is found again; only people who may triage can set it."""
_FINDINGS = re.compile(r"findings=([0-9a-f,]*) -->")


class IssueStep(StrEnum):
    """The next step."""

    OPEN = "open"
    EDIT = "edit"
    """Something else differs: description and one comment."""
    REOPEN = "reopen"
    CLOSE = "close"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Tracked:
    """The tracking issue as it is."""

    number: int
    is_open: bool
    not_planned: bool
    """Closed as not planned: a person lives with its findings."""
    body: str

    @property
    def findings(self) -> frozenset[str]:
        """Ids of what it is about; none where a person has rewritten the description."""
        found = _FINDINGS.search(self.body)
        return frozenset(filter(None, found[1].split(","))) if found else frozenset()


def next_step(found: Tracked | None, findings: Collection[str]) -> IssueStep:
    """The next step for the ids of what differs now."""
    now = frozenset(findings)
    if not now:
        return IssueStep.CLOSE if found and found.is_open else IssueStep.NOTHING
    if found is None:
        return IssueStep.OPEN
    if found.is_open:
        return IssueStep.NOTHING if found.findings == now else IssueStep.EDIT
    if found.not_planned and now <= found.findings:
        return IssueStep.NOTHING
    return IssueStep.REOPEN


def changed(before: Collection[str], now: Collection[str]) -> str:
    """What became of the findings, as one sentence."""
    new, gone = len(set(now) - set(before)), len(set(before) - set(now))
    return f"{new} new, {gone} gone, {len(set(now) & set(before))} as before: the description is that of this run."
