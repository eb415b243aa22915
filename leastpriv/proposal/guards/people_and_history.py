"""Guards that use people's decisions, the usage history before the evidence, and break-glass sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase

from msgspec.structs import replace

from leastpriv.diff.compare import Entry
from leastpriv.evidence.usage_history import ANYTHING, KEPT_DAYS, ActionUse, UsageHistory
from leastpriv.models import Outcome, Run, Usage
from leastpriv.permissions.lifecycle import siblings_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.proposal.guards.visibility import dropped_with_service
from leastpriv.proposal.models import GuardContext, GuardResult, HistoryState, RemovalCandidate


def asked_to_keep(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that a comment of a person with write permission asks to keep."""
    memory = context.history.history_state.memory
    found = memory.kept(candidate.action) if memory else None
    if found is None:
        return ""
    pattern, word = found
    return f"@{word.by} keeps {pattern} by a comment under #{word.pull}"


def rhythm(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that came back at a steady interval, until the next use is overdue by half an interval."""
    state = context.history.history_state
    if state.memory is None or state.today is None or _is_used(candidate.entry, candidate.action):
        return ""
    for _, used in state.memory.uses(candidate.action, entry_resources(candidate.entry)):
        interval, until = used.interval, used.expected_until
        if interval and until and until >= state.today:
            due = used.last + interval
            return f"used about every {interval.days} days, last on {used.last}: expected again about {due}"
    return ""


def remembered(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that was used before the evidence, or all actions if the history is unreadable."""
    if context.history.history_state.trouble:
        return context.history.history_state.trouble
    memory, entry = context.history.history_state.memory, candidate.entry
    if memory is None or _is_used(entry, candidate.action):
        return ""
    resources = entry_resources(entry)
    own = memory.last_use(candidate.action, resources)
    if own:
        return f"{_use_text(own[1])}, as remembered"
    if candidate.action in context.counterparts and not dropped_with_service(candidate, context):
        # The guard `sibling` reports what the evidence itself shows.
        return ""
    partner = context.history.history_state.counterparts.get(candidate.action, "")
    made = memory.last_use(partner) if partner else None
    return f"lifecycle counterpart of {partner}, {_use_text(made[1])}, as remembered" if made else ""


def refused_after_removal(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that was removed once and then denied to a run."""
    memory = context.history.history_state.memory
    back = memory.reverted_removal(candidate.action, entry_resources(candidate.entry)) if memory else None
    if back is None:
        return ""
    again = back.refused + timedelta(days=KEPT_DAYS)
    return f"it was removed by #{back.pull} and denied on {back.refused}: it is not removed again before {again}"


def history_state(memory: UsageHistory, left_out: int = 0, today: date | None = None) -> HistoryState:
    """The guards' view of a usage history."""
    used = [action for action in memory.used if memory.last_use(action)]
    return HistoryState(memory, left_out=left_out, counterparts=siblings_of(used), today=today)


def before_evidence(recollection: HistoryState, first: datetime | None) -> HistoryState:
    """Removes usage since `first`, where the evidence begins: a run that is left out must not influence the history."""
    memory = recollection.memory
    if memory is None or first is None:
        return recollection
    day = first.astimezone(UTC).date()
    left = {
        action: kept
        for action, by_resource in memory.used.items()
        if (kept := {resource: used for resource, used in by_resource.items() if used.last < day})
    }
    return history_state(replace(memory, used=left), today=recollection.today)


def used_elsewhere(entry: Entry, patterns: Iterable[str], recollection: HistoryState) -> GuardResult | None:
    """The guard result for restricting a used action to these patterns if it was used on others before the evidence."""
    if recollection.memory is None:
        return None
    action, shown = entry.granted[0], tuple(patterns)
    left = {
        resource: used
        for resource, used in recollection.memory.used.get(action, {}).items()
        if recollection.memory.last_use(action, (resource,))
        and not any(resource_covers(pattern, resource) for pattern in shown)
    }
    if not left:
        return None
    resource = max(left, key=lambda name: (left[name].last, name))
    where = "on many resources" if resource == ANYTHING else f"on {resource}"
    return GuardResult("remembered", f"{_use_text(left[resource])} {where}, as remembered")


def entry_resources(entry: Entry) -> Sequence[str]:
    """Resource patterns of an entry's statement; `*` for `NotResource`."""
    return entry.statement.resources or (ANYTHING,)


def _is_used(entry: Entry, action: str) -> bool:
    return any(usage.outcome is Outcome.ALLOWED for usage in entry.uses.get(action, ()))


def _use_text(used: ActionUse) -> str:
    runs = f" in at least {used.least_runs} run{'s' if used.least_runs > 1 else ''}" if used.least_runs else ""
    return f"used{runs}, last on {used.last}"


def break_glass_runs(runs: Iterable[Run], patterns: Sequence[str]) -> frozenset[str]:
    """Ids of the runs whose session name matches a shell pattern, ignoring case."""
    wanted = [pattern.lower() for pattern in patterns]
    return frozenset(run.id for run in runs if any(fnmatchcase(run.session.lower(), pattern) for pattern in wanted))


def is_break_glass_use(usage: Usage, break_glass: frozenset[str]) -> bool:
    """Whether only break-glass sessions used it."""
    return bool(usage.runs) and break_glass.issuperset(usage.runs)
