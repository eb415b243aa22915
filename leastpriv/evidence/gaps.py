"""Merges the gaps of several sources, and detects records dated in the future (clock skew)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import chain

from leastpriv.evidence.coverage import Coverage, silence_gaps
from leastpriv.evidence.models import Evidence
from leastpriv.models import Gap, GapKind, Scope


def merge_source_gaps(gaps: Sequence[Sequence[Gap]]) -> tuple[Gap, ...]:
    """Returns the gaps of all sources; those of trail settings are reduced to what every trail excludes.

    A source without a settings gap takes no part: it may be a trail that excludes nothing, or files of unknown
    settings. A source that has no files of the targets' account has its own gap, which may hide any call.

    Args:
        gaps: the gaps of each source.
    """
    settings: list[Sequence[Gap]] = [[gap for gap in each if gap.kind is GapKind.NOT_LOGGED] for each in gaps]
    others = [gap for each in gaps for gap in each if gap.kind is not GapKind.NOT_LOGGED]
    known = [each for each in settings if each]
    return (*others, *(common_gaps(known) if known else ()))


def common_gaps(gaps: Sequence[Sequence[Gap]]) -> Sequence[Gap]:
    """Intersection of the gaps of several trails (at least one); a trail without a gap excludes nothing."""
    return reduce(_common_to_two, gaps)


def _common_to_two(some: Sequence[Gap], others: Sequence[Gap]) -> Sequence[Gap]:
    """Intersection of the gaps of two trails."""
    pairs = ((gap, other, _common(gap.scope, other.scope)) for gap in some for other in others)
    kept: list[Gap] = []
    for gap, other, scope in pairs:
        # Equal scopes in another order cover each other: keep the first.
        if scope and not any(_is_covered(scope, each.scope) for each in kept):
            kept = [each for each in kept if not _is_covered(each.scope, scope)]
            kept.append(Gap(GapKind.NOT_LOGGED, scope, _joined(gap, other)))
    return kept


def _is_covered(scope: Scope, other: Scope) -> bool:
    """Whether another scope includes all of this scope."""
    parts = [(getattr(scope, name), getattr(other, name)) for name in ("services", "events", "regions")]
    inside = all(not wide or (part and set(part) <= set(wide)) for part, wide in parts)
    return inside and set(other.outside) <= set(scope.outside) and other.data_events <= scope.data_events


def _joined(gap: Gap, other: Gap) -> str:
    return gap.detail if gap.detail == other.detail else f"{gap.detail}; {other.detail}"


def _common(one: Scope, other: Scope) -> Scope | None:
    parts = [_part(getattr(one, name), getattr(other, name)) for name in ("services", "regions")]
    parts.append(_events(one.events, other.events))
    if any(part is None for part in parts):
        return None
    services, regions, events = (part or () for part in parts)
    # Partly selected data events stay hidden even if other events of their type are recorded.
    in_part = any(scope.events and not scope.data_events for scope in (one, other))
    return Scope(
        services=services,
        events=events,
        regions=regions,
        data_events=(one.data_events or other.data_events) and not in_part,
        outside=tuple(dict.fromkeys((*one.outside, *other.outside))),
    )


def _part(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """Intersection of two scope fields, where empty means "all"; None: nothing in common."""
    if not some or not others:
        return some or others
    return tuple(each for each in some if each in others) or None


def _events(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """Like `_part`; a resource type's data events include those of one kind."""
    if not some or not others:
        return some or others
    pairs = chain(((each, others) for each in some), ((each, some) for each in others))
    both = (each for each, there in pairs if each in there or each.partition(" ")[0] in there)
    return tuple(dict.fromkeys(both)) or None


_LARGEST_SKEW = timedelta(hours=24)
"""Tolerance for clock errors and time zones; one day does not affect a limit of 30 days."""


def with_clock_gap(evidence: Evidence, now: datetime) -> Evidence:
    """Adds a gap that may hide any call where the last call is more than a day after `now`."""
    if evidence.last is None or evidence.last <= now + _LARGEST_SKEW:
        return evidence
    detail = (
        f"the last call is of {evidence.last:%Y-%m-%d %H:%M} and here it is {now:%Y-%m-%d %H:%M} (UTC): "
        "set this machine's clock, or remove the records of another time"
    )
    return replace(evidence, gaps=(*evidence.gaps, Gap(GapKind.FUTURE_RECORDS, Scope(), detail)))


def with_coverage(evidence: Evidence, coverage: Coverage) -> Evidence:
    """Adds the coverage of all sources, and a gap for each silence in it."""
    return replace(evidence, coverage=coverage, gaps=(*evidence.gaps, *silence_gaps(coverage)))
