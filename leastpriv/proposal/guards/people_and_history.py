"""The guards of what is remembered from before the window: it may veto a removal, and justifies no addition.

Sessions in which people act in an emergency (`break-glass`): what they use is needed, but shows no habit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from leastpriv.diff.compare import Entry
from leastpriv.evidence.history.models import ANYTHING, REMEMBERED_DAYS, Memory, Used
from leastpriv.models import Outcome, Run, Usage
from leastpriv.permissions.lifecycle import siblings_of
from leastpriv.permissions.patterns import resource_covers
from leastpriv.proposal.guards.visibility import dropped_with_service
from leastpriv.proposal.models import Candidate, Objection, Recollection, Situation


def asked_to_keep(candidate: Candidate, situation: Situation) -> str:
    """A person who may write to the repository said in a comment that it stays."""
    memory = situation.recollection.memory
    found = memory.kept(candidate.action) if memory else None
    if found is None:
        return ""
    pattern, word = found
    return f"@{word.by} keeps {pattern} by a comment under #{word.pull}"


def remembered(candidate: Candidate, situation: Situation) -> str:
    """It was used before this evidence begins, or what it was used for could not be read."""
    if situation.recollection.trouble:
        return situation.recollection.trouble
    memory, entry = situation.recollection.memory, candidate.entry
    if memory is None or _is_used(entry, candidate.action):
        return ""
    resources = resources_of(entry)
    own = memory.last_use(candidate.action, resources)
    if own:
        return f"{_when(own[1])}, as remembered"
    if candidate.action in situation.siblings and not dropped_with_service(candidate, situation):
        # What the window itself shows is told by the guard `sibling`.
        return ""
    partner = situation.recollection.siblings.get(candidate.action, "")
    made = memory.last_use(partner) if partner else None
    return f"lifecycle counterpart of {partner}, {_when(made[1])}, as remembered" if made else ""


def refused_after_removal(candidate: Candidate, situation: Situation) -> str:
    """It was removed once, and a run was refused for want of it."""
    memory = situation.recollection.memory
    back = memory.return_of(candidate.action, resources_of(candidate.entry)) if memory else None
    if back is None:
        return ""
    again = back.refused + timedelta(days=REMEMBERED_DAYS)
    return f"it was removed by #{back.pull} and refused on {back.refused}: it is not removed again before {again}"


def recalled(memory: Memory, left_out: int = 0) -> Recollection:
    """What guards look at of a memory."""
    used = [action for action in memory.used if memory.last_use(action)]
    return Recollection(memory, left_out=left_out, siblings=siblings_of(used))


def older(recollection: Recollection, first: datetime | None) -> Recollection:
    """Without what was used since `first`, where the evidence begins: a run that is left out must leave no trace."""
    memory = recollection.memory
    if memory is None or first is None:
        return recollection
    day = first.astimezone(UTC).date()
    left = {
        action: kept
        for action, by_resource in memory.used.items()
        if (kept := {resource: used for resource, used in by_resource.items() if used.last < day})
    }
    return recalled(replace(memory, used=left))


def used_elsewhere(entry: Entry, patterns: Iterable[str], recollection: Recollection) -> Objection | None:
    """Why a used action may not be narrowed from `*` onto these patterns: it was used on others before the window."""
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
    return Objection("remembered", f"{_when(left[resource])} {where}, as remembered")


def resources_of(entry: Entry) -> Sequence[str]:
    """Resource patterns of an entry's statement; `*` where it names those that it leaves out."""
    return entry.statement.resources or (ANYTHING,)


def _is_used(entry: Entry, action: str) -> bool:
    return any(usage.outcome is Outcome.ALLOWED for usage in entry.uses.get(action, ()))


def _when(used: Used) -> str:
    runs = f" in at least {used.least_runs} run{'s' if used.least_runs > 1 else ''}" if used.least_runs else ""
    return f"used{runs}, last on {used.last}"


def emergencies_of(runs: Iterable[Run], patterns: Sequence[str]) -> frozenset[str]:
    """Ids of the runs whose session name fits a pattern as a shell has them, in any case of letters."""
    wanted = [pattern.lower() for pattern in patterns]
    return frozenset(run.id for run in runs if any(fnmatchcase(run.session.lower(), pattern) for pattern in wanted))


def is_emergency(usage: Usage, emergencies: frozenset[str]) -> bool:
    """Whether nothing but emergencies used it."""
    return bool(usage.runs) and emergencies.issuperset(usage.runs)
