"""Removals: which entries of the committed policy go, which become narrower, and which a guard keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from leastpriv.diff.compare import Difference, Entry
from leastpriv.models import ChangeKind, Outcome
from leastpriv.permissions.patterns import action_covers, overlaps
from leastpriv.policy.compact import folded
from leastpriv.proposal.guards.people_and_history import is_emergency
from leastpriv.proposal.guards.registry import objection_to
from leastpriv.proposal.models import Candidate, Change, HeldBack, Objection, Situation

_LONG_LIST = 12
"""From here on a list of kept actions is folded into wildcards that grant exactly the same actions."""


def removals(difference: Difference, situation: Situation) -> tuple[list[Change], list[HeldBack]]:
    """Judges each entry of the committed policy."""
    changes: list[Change] = []
    held_back: list[HeldBack] = []
    for entry in difference.entries:
        decision = _judge_wildcard(entry, situation) if entry.is_wildcard else _judge_literal(entry, situation)
        if isinstance(decision, Change):
            changes.append(decision)
        elif decision:
            held_back.append(decision)
    return changes, held_back


def _judge_literal(entry: Entry, situation: Situation) -> Change | HeldBack | None:
    action = entry.granted[0]
    if action in entry.uses and _is_used(entry, action, situation):
        return None
    objection = objection_to(Candidate(action, entry), situation)
    if objection:
        return _held(entry, ChangeKind.REMOVE, objection)
    return _change(entry, ChangeKind.REMOVE)


def _judge_wildcard(entry: Entry, situation: Situation) -> Change | HeldBack | None:
    used = tuple(action for action in entry.granted if _is_used(entry, action, situation))
    unused = [action for action in entry.granted if action not in used]
    stays = {action: found for action in unused if (found := objection_to(Candidate(action, entry), situation))}
    unverified = {action: _UNVERIFIED for action in entry.uses if action not in entry.granted}
    unseen = next((found for found in stays.values() if found.guard == "unseen-service"), None)
    if unseen and entry.statement.not_actions:
        return _held(entry, ChangeKind.NARROW, _NOT_ACTION)
    if unseen and spans_services(entry):
        return _held(entry, ChangeKind.NARROW, _ALL_SERVICES)
    if len(stays) == len(unused):
        return _held(entry, ChangeKind.NARROW, _commonest(stays)) if stays else None
    stays = {**stays, **unverified}
    if not used and not stays:
        return _change(entry, ChangeKind.REMOVE)
    return _change(entry, ChangeKind.NARROW, used=used, stays=stays)


_ALL_SERVICES = Objection(
    "unseen-service",
    "it also grants services without any call in the window; set `unseen-services: drop` to narrow it to those in use",
)
_NOT_ACTION = Objection(
    "not-action",
    "NotAction grants every other action, also of services without any call in the window; set `unseen-services: "
    "drop` to have it written as Action with what is in use",
)
_UNVERIFIED = Objection("unknown-action", "it was called, and the catalogue does not know it yet")


def spans_services(entry: Entry) -> bool:
    """Whether an entry grants actions of more than one service."""
    return bool(entry.statement.not_actions) or bool({"*", "?"} & {*entry.pattern.partition(":")[0]})


def _is_used(entry: Entry, action: str, situation: Situation) -> bool:
    """Whether a run used it that is no emergency: what those alone used is kept by a guard of its own."""
    allowed = (usage for usage in entry.uses.get(action, ()) if usage.outcome is Outcome.ALLOWED)
    return any(not is_emergency(usage, situation.emergencies) for usage in allowed)


def _commonest(stays: Mapping[str, Objection]) -> Objection:
    counts = Counter(stays.values())
    return counts.most_common(1)[0][0]


def _held(entry: Entry, kind: ChangeKind, objection: Objection) -> HeldBack:
    return HeldBack(kind, entry.pattern, entry.resources, objection, entry.statement.sid)


def _change(
    entry: Entry, kind: ChangeKind, used: tuple[str, ...] = (), stays: Mapping[str, Objection] | None = None
) -> Change:
    usages = tuple(usage for action in used for usage in entry.uses[action] if usage.outcome is Outcome.ALLOWED)
    left = {*used, *(stays or ())}
    return Change(
        kind=kind,
        action=entry.pattern,
        resources=entry.resources,
        statement=entry.statement.index,
        sid=entry.statement.sid,
        line=entry.statement.line,
        granted=len(entry.granted),
        gone=tuple(action for action in entry.granted if action not in left),
        used=used,
        becomes=entries_for(used, tuple(stays or ()), entry),
        stays=stays,
        usages=usages,
    )


def entries_for(used: Sequence[str], stays: Sequence[str], entry: Entry) -> tuple[str, ...]:
    """Action entries in the place of `entry` that grant exactly `used` and `stays`.

    Used actions are always spelled out. A long list of kept ones is folded into wildcards by how their names begin
    (`lambda:List*`), wherever one grants nothing that goes, and nothing that the entry itself did not grant.
    """
    if len(stays) <= _LONG_LIST:
        return tuple(sorted({*used, *stays}))
    left = {*used, *stays}
    gone = [action for action in entry.granted if action not in left]
    return tuple(sorted({*used, *folded(stays, gone, lambda pattern: _grants(entry, pattern), inner=False)}))


def _grants(entry: Entry, pattern: str) -> bool:
    """Whether an entry grants whatever a wildcard would, also what AWS has not added yet."""
    excluded = entry.statement.not_actions
    if excluded:
        return not any(overlaps(each, pattern, ignore_case=True) for each in excluded)
    return action_covers(entry.pattern, pattern)
