"""Sessions in which people act in an emergency (`break-glass`): what they use is needed, but shows no habit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from leastpriv.model import Run, Usage


def emergencies_of(runs: Iterable[Run], patterns: Sequence[str]) -> frozenset[str]:
    """Ids of the runs whose session name fits a pattern as a shell has them, in any case of letters."""
    wanted = [pattern.lower() for pattern in patterns]
    return frozenset(run.id for run in runs if any(fnmatchcase(run.session.lower(), pattern) for pattern in wanted))


def is_emergency(usage: Usage, emergencies: frozenset[str]) -> bool:
    """Whether nothing but emergencies used it."""
    return bool(usage.runs) and emergencies.issuperset(usage.runs)
