"""`max-changes`: the most certain changes go first, so that a reviewer has few, and good ones, to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leastpriv.models import Basis, ChangeKind
from leastpriv.proposal.confidence import Confidences
from leastpriv.proposal.models import Change, HeldBack, Objection

GUARD = "max-changes"
"""The guard's name."""
_BASES = (Basis.DENIED, Basis.OBSERVED, Basis.INFERRED)


def first_of(
    added: Sequence[Change],
    narrowed: Sequence[Change],
    room: int,
    confidence: Confidences,
) -> tuple[list[Change], list[Change], list[HeldBack]]:
    """The additions and removals that fit into `room` changes, in the order given, and the others.

    Additions come first, for without them the next deploy fails: those that AWS refused before those that some unknown
    policy allows, seen in more runs first. Then removals: what goes whole before what is narrowed, and of services
    whose runs give more confidence first. Ties are broken by the order of the file and the names.
    """
    ranked = [
        *sorted(added, key=_of_addition),
        *sorted(narrowed, key=lambda change: _of_removal(change, confidence)),
    ]
    chosen = {id(change) for change in ranked[:room]}
    held = [_held(change, len(ranked), room) for change in ranked[room:]]
    return _kept(added, chosen), _kept(narrowed, chosen), held


def first_onto(
    narrowed: Sequence[Change], room: int, makers: Callable[[str], Sequence[str]]
) -> tuple[list[Change], list[HeldBack]]:
    """Of actions whose resources are narrowed those that fit into `room`, and the others.

    More runs first; an action that is about what another one makes only together with that one (`makers`).
    """
    ranked = sorted(narrowed, key=lambda change: (-_runs(change), change.statement, change.used))
    waiting = {change.used[0] for change in narrowed}
    chosen: list[Change] = []
    while len(chosen) < room:
        free = next((each for each in ranked if each not in chosen and not waiting & {*makers(each.used[0])}), None)
        if free is None:
            break
        chosen.append(free)
        waiting -= {free.used[0]}
    taken = {id(change) for change in chosen}
    left = [change for change in ranked if id(change) not in taken]
    return _kept(narrowed, taken), [_held(change, len(ranked), room) for change in left]


def _of_addition(change: Change) -> tuple[object, ...]:
    basis = change.basis or Basis.OBSERVED
    return _BASES.index(basis), -_runs(change), change.action, change.resources


def _of_removal(change: Change, confidence: Confidences) -> tuple[object, ...]:
    services = {action.partition(":")[0] for action in change.gone} or {change.action.partition(":")[0]}
    least = min(confidence.of(f"{service}:").percent for service in services)
    return change.kind is not ChangeKind.REMOVE, -least, change.statement, change.action.lower(), change.action


def _runs(change: Change) -> int:
    return len({run for usage in change.usages for run in usage.runs})


def _kept(changes: Sequence[Change], chosen: set[int]) -> list[Change]:
    return [change for change in changes if id(change) in chosen]


def _held(change: Change, every: int, room: int) -> HeldBack:
    more = f"{every} changes are left where `max-changes` has room for {room}; the most certain go first"
    return HeldBack(
        change.kind, change.action, change.resources, Objection(GUARD, more), change.sid, usages=change.usages
    )
