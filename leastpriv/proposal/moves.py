"""What an edit of a policy does to each recorded need: refused, no longer sure, granted, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from leastpriv.diff.compare import decide
from leastpriv.evidence.usage import CallGroup, Evidence
from leastpriv.model import Need, Outcome, Usage
from leastpriv.policy.document import Document


class Move(StrEnum):
    """What happens to a need in one region."""

    REFUSED = "refused"
    """Also where a known Deny begins to refuse what only a policy that nobody named has granted."""
    DOUBTFUL = "doubtful"
    """It now hangs on a condition that the records do not show."""
    GRANTED = "granted"
    """Allowed, at least under some condition, and not so before."""


_SURENESS: Mapping[str, int] = {"explicitDeny": 0, "implicitDeny": 1, "unknown": 2, "allowedInPart": 3, "allowed": 3}
"""An implicit denial may be mended by a policy that nobody named, an explicit one by none."""
_OPEN = 2


@dataclass(frozen=True, slots=True)
class Moves:
    """The usages and calls of the evidence that an edit concerns."""

    refused: frozenset[Usage]
    """Allowed usages, of an action that the catalogue knows, that would be refused."""
    doubtful: frozenset[Usage]
    """Allowed usages that would hang on a condition, or be refused if their action is what its event's name says."""
    granted: frozenset[Usage]
    """Usages of any outcome that would now be allowed."""
    broken: tuple[CallGroup, ...]
    """Allowed calls some need of which would be refused."""
    may_break: tuple[CallGroup, ...]
    """Other allowed calls with a doubtful need."""


def moves(evidence: Evidence, before: Sequence[Document], after: Sequence[Document]) -> Moves:
    """Decides every need of the evidence under all policies before and after."""
    judge = _Judge(evidence.principal, before, after)
    told = {usage: judge.moves([usage.need], usage.regions) for usage in evidence.usages}
    allowed = {usage: found for usage, found in told.items() if usage.outcome is Outcome.ALLOWED}
    refused = {usage for usage, found in allowed.items() if Move.REFUSED in found}
    surely = frozenset(usage for usage in refused if usage.need.verified)
    calls = {
        group: judge.moves(group.needs, group.regions) for group in evidence.groups if group.outcome is Outcome.ALLOWED
    }
    broken = {group: None for group, found in calls.items() if Move.REFUSED in found and _is_known(group)}
    return Moves(
        refused=surely,
        doubtful=frozenset(usage for usage, found in allowed.items() if found & _WORSE and usage not in surely),
        granted=frozenset(usage for usage, found in told.items() if Move.GRANTED in found),
        broken=tuple(broken),
        may_break=tuple(group for group, found in calls.items() if found & _WORSE and group not in broken),
    )


_WORSE = frozenset({Move.REFUSED, Move.DOUBTFUL})


def _is_known(group: CallGroup) -> bool:
    """Whether the replay counts it: the catalogue knows all that it needs."""
    return all(need.verified for need in group.needs)


@dataclass(slots=True)
class _Judge:
    """Decides each need in each region once."""

    principal: str
    before: Sequence[Document]
    after: Sequence[Document]
    known: dict[tuple[Need, str], Move | None] = field(default_factory=dict)

    def moves(self, needs: Iterable[Need], regions: Sequence[str]) -> frozenset[Move]:
        told = (self._move(need, region) for need in needs for region in regions or ("",))
        return frozenset(move for move in told if move)

    def _move(self, need: Need, region: str) -> Move | None:
        key = (need, region)
        if key not in self.known:
            both = (decide(need, self.principal, region, documents) for documents in (self.before, self.after))
            then, now = (_SURENESS[effect] for effect in both)
            worse = Move.REFUSED if now < _OPEN else Move.DOUBTFUL
            self.known[key] = worse if now < then else Move.GRANTED if then < now >= _OPEN else None
        return self.known[key]
