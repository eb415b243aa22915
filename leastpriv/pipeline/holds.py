"""Separates changes that are held back for now from those that a decision or a use keeps away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from leastpriv.models import ChangeKind, GapKind
from leastpriv.pipeline.context import TargetResult
from leastpriv.proposal.models import (
    HeldBackChange,
    Options,
    addition_id,
    ids_with_scope,
    removal_ids,
)
from leastpriv.pull_request.lifecycle import IN_USE, Hold, Holds
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, plain, prose

_Value = TypeVar("_Value")
_UNTIL: Mapping[str, str] = {
    "unread-user": "until calls of each user of the policy are read",
    "other-users": "until role-arn names all users of the policy",
    "minimum-runs": "until enough runs without a denial are read",
    "minimum-confidence": "until more runs of its service are read",
    "live-differs": "until the role in the account and the policy file are equal",
    "gap-in-scope": "until the gap is closed, or is older than the evidence",
    "region-not-read": "until the records of the region are read for long enough",
    "not-recorded": "until such events are recorded for long enough",
    "not-visible": "until CloudTrail records what would show its use",
    "inconclusive": "until a later run shows the outcome of the call",
    "unexplained-use": "until a run after the last change of the policy file is read",
    "few-runs": "until more runs are read",
    "new-resources": "until more runs are read",
    "makes-new": "until more runs are read",
    "single-run": "until a second run asks for it",
    "unknown-ref": "until a run of the base branch asks for it",
    "only-logged": "until a trail shows it",
}
"""Guards that pass with time or with further evidence, without a decision of a person, and the end
of each."""
_PASSING_GAPS = frozenset(
    {
        GapKind.UNREADABLE_FILE,
        GapKind.SOURCE_FAILED,
        GapKind.LOGGING_STOPPED,
        GapKind.SILENCE,
        GapKind.UNREADABLE_LOG,
    }
)
"""Gaps that may hide a call on which a change rests, and that leave with time or with the next run.
"""


def holds_of(context: ReportContext, options: Options, now: datetime) -> Holds:
    """Returns what holds back the changes of one target."""
    proposal = context.proposal
    until = _Until(context, options, now)
    for_now: dict[str, Hold] = {}
    lasting: dict[str, str] = {}
    held_back = (
        *proposal.held_back,
        *proposal.held_back_additions,
        *proposal.held_back_restrictions,
    )
    for held_change in held_back:
        guard = held_change.guard_result.guard
        end = until.end_of(guard)
        for change_id in _change_ids(held_change):
            if end:
                for_now[change_id] = _hold(guard, held_change.guard_result.reason, end)
            else:
                lasting[change_id] = guard
    for entry in context.difference.entries:
        for change_id in removal_ids(entry.pattern, entry.resources):
            lasting.setdefault(change_id, IN_USE)
    lasting = {
        change_id: reason for change_id, reason in lasting.items() if change_id not in for_now
    }
    return Holds(for_now=for_now, lasting=lasting, hidden=_hidden(context))


def holds_of_group(members: Mapping[str, TargetResult], now: datetime) -> Holds:
    """Returns what holds back the changes of a pull request of several targets, by their scope
    ids.
    """
    for_now: dict[str, Hold] = {}
    lasting: dict[str, str] = {}
    hidden: Hold | None = None
    for scope, member in members.items():
        if member.context is None:
            reason = f"the run failed for {member.target.role}"
            hidden = hidden or _sentence(reason, "until a run succeeds")
            continue
        holds = holds_of(member.context, member.target.settings.options, now)
        for_now |= _with_scope(scope, holds.for_now)
        lasting |= _with_scope(scope, holds.lasting)
        hidden = hidden or holds.hidden
    return Holds(for_now=for_now, lasting=lasting, hidden=hidden)


class _Until:
    """The ends of guards in one run."""

    def __init__(self, context: ReportContext, options: Options, now: datetime) -> None:
        self._context = context
        self._options = options
        self._now = now

    def end_of(self, guard: str) -> str:
        """Returns when a guard passes; empty for one that follows a decision or a use."""
        history = self._context.history
        if guard == "remembered" and history.history_state.trouble:
            return "until the usage history can be read"
        if guard == "minimum-days":
            wait = timedelta(days=self._options.minimum_days) - self._context.evidence.span
            return f"until {self._now + wait:%Y-%m-%d}, when the evidence can be long enough"
        if guard == "grace-period":
            days = self._options.grace_days
            if history.changed is None:
                return f"until {days} days after the last change of the policy file"
            return f"until {history.changed + timedelta(days=days):%Y-%m-%d}"
        return _UNTIL.get(guard, "")


def _hidden(context: ReportContext) -> Hold | None:
    """Returns why the evidence may hide a change that an earlier run proposed."""
    trouble = context.history.history_state.trouble
    if trouble:
        return _hold("remembered", trouble, "until the usage history can be read")
    if context.missing_calls:
        return _sentence(context.missing_calls, "until a run reads calls of the role")
    for gap in context.evidence.gaps:
        if gap.kind in _PASSING_GAPS:
            return _hold("gap-in-scope", f"{gap.kind}: {gap.detail}", _UNTIL["gap-in-scope"])
    return None


def _change_ids(change: HeldBackChange) -> Sequence[str]:
    """Returns the ids that the change has where it is proposed."""
    if change.kind is ChangeKind.ADD:
        return [addition_id(change.action, resource) for resource in change.resources]
    return removal_ids(change.action, change.resources)


def _hold(guard: str, reason: str, end: str) -> Hold:
    """Returns the sentence on a guard that holds changes back until an end."""
    text = plain(reason.rstrip("."))
    return Hold(
        text=f"The guard {guard} holds it back ({text}), {end}.",
        markdown=f"The guard {code(guard)} holds it back ({prose(text)}), {end}.",
    )


def _sentence(reason: str, end: str) -> Hold:
    """Returns the sentence on evidence that is missing until an end."""
    text = plain(reason.rstrip("."))
    return Hold(text=f"{text}, {end}.", markdown=f"{prose(text)}, {end}.")


def _with_scope(scope: str, by_change: Mapping[str, _Value]) -> dict[str, _Value]:
    """Returns values by the ids that changes have in the pull request of a group."""
    return dict(zip(ids_with_scope(scope, by_change), by_change.values(), strict=True))
