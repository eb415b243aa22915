"""Limits a proposal to `max-changes` changes, the most certain first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leastpriv.models import Basis, ChangeKind
from leastpriv.proposal.confidence import Confidences
from leastpriv.proposal.models import Change, GuardResult, HeldBackChange

GUARD = "max-changes"
"""The guard's name."""
_BASES = (Basis.DENIED, Basis.OBSERVED, Basis.INFERRED)


def limit_changes(
    added: Sequence[Change],
    narrowed: Sequence[Change],
    limit: int,
    confidence: Confidences,
) -> tuple[list[Change], list[Change], list[HeldBackChange]]:
    """Splits additions and removals into the first `room` changes and the rest, each in the given order.

    Additions come first, because the next deploy fails without them: denied before merely observed, then by number of
    runs. Removals follow: whole entries before narrowed ones, then by confidence of the service. File order and names
    break ties.
    """
    ranked = [
        *sorted(added, key=_addition_rank),
        *sorted(narrowed, key=lambda change: _removal_rank(change, confidence)),
    ]
    chosen = {id(change) for change in ranked[:limit]}
    held = [_held_back(change, len(ranked), limit) for change in ranked[limit:]]
    return _chosen(added, chosen), _chosen(narrowed, chosen), held


def limit_restrictions(
    narrowed: Sequence[Change], limit: int, creators: Callable[[str], Sequence[str]]
) -> tuple[list[Change], list[HeldBackChange]]:
    """Splits resource restrictions into the first `room` and the rest, by number of runs.

    An action that uses what another action creates is restricted only together with that one (`makers`).
    """
    ranked = sorted(narrowed, key=lambda change: (-_run_count(change), change.statement, change.used))
    waiting = {change.used[0] for change in narrowed}
    chosen: list[Change] = []
    while len(chosen) < limit:
        free = next((each for each in ranked if each not in chosen and not waiting & {*creators(each.used[0])}), None)
        if free is None:
            break
        chosen.append(free)
        waiting -= {free.used[0]}
    taken = {id(change) for change in chosen}
    left = [change for change in ranked if id(change) not in taken]
    return _chosen(narrowed, taken), [_held_back(change, len(ranked), limit) for change in left]


def _addition_rank(change: Change) -> tuple[object, ...]:
    basis = change.basis or Basis.OBSERVED
    return _BASES.index(basis), -_run_count(change), change.action, change.resources


def _removal_rank(change: Change, confidence: Confidences) -> tuple[object, ...]:
    services = {action.partition(":")[0] for action in change.removed_actions} or {change.action.partition(":")[0]}
    least = min(confidence.of(f"{service}:").percent for service in services)
    return change.kind is not ChangeKind.REMOVE, -least, change.statement, change.action.lower(), change.action


def _run_count(change: Change) -> int:
    return len({run for usage in change.usages for run in usage.runs})


def _chosen(changes: Sequence[Change], chosen: set[int]) -> list[Change]:
    return [change for change in changes if id(change) in chosen]


def _held_back(change: Change, every: int, limit: int) -> HeldBackChange:
    more = f"{every} changes are left where `max-changes` has room for {limit}; the most certain go first"
    return HeldBackChange(
        change.kind, change.action, change.resources, GuardResult(GUARD, more), change.sid, usages=change.usages
    )
