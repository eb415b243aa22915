"""What several trails leave out together: what one of them logs is not hidden by another that does not (pure).

Records of a later time than it is: a clock is wrong, so that days and gaps of days mean nothing (pure).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from itertools import chain

from leastpriv.evidence.models import Evidence
from leastpriv.models import Gap, GapKind, Scope


def left_out_by_all(gaps: Sequence[Sequence[Gap]]) -> tuple[Gap, ...]:
    """The gaps of all sources, with those of trails' settings reduced to what each of the trails leaves out.

    `gaps`: by source. A source without a gap of that kind takes no part: whether it is a trail that leaves nothing out,
    or files of which nobody knows what they leave out, is not told. One that has nothing of the targets' account has a
    gap of its own that could hide anything.
    """
    settings: list[Sequence[Gap]] = [[gap for gap in each if gap.kind is GapKind.NOT_LOGGED] for each in gaps]
    others = [gap for each in gaps for gap in each if gap.kind is not GapKind.NOT_LOGGED]
    known = [each for each in settings if each]
    return (*others, *(left_out_by_each(known) if known else ()))


def left_out_by_each(gaps: Sequence[Sequence[Gap]]) -> Sequence[Gap]:
    """What every one of some trails (at least one) leaves out; one without a gap leaves nothing out."""
    return reduce(_both, gaps)


def _both(some: Sequence[Gap], others: Sequence[Gap]) -> Sequence[Gap]:
    """What lies in a gap of each of two trails."""
    pairs = ((gap, other, _common(gap.scope, other.scope)) for gap in some for other in others)
    kept: list[Gap] = []
    for gap, other, scope in pairs:
        # Equal scopes in another order lie in each other: the first one stays.
        if scope and not any(_lies_in(scope, each.scope) for each in kept):
            kept = [each for each in kept if not _lies_in(each.scope, scope)]
            kept.append(Gap(GapKind.NOT_LOGGED, scope, _joined(gap, other)))
    return kept


def _lies_in(scope: Scope, other: Scope) -> bool:
    """Whether another scope says all that one says."""
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
    # Data events that are selected in part are hidden although others of their type were seen.
    in_part = any(scope.events and not scope.data_events for scope in (one, other))
    return Scope(
        services=services,
        events=events,
        regions=regions,
        data_events=(one.data_events or other.data_events) and not in_part,
        outside=tuple(dict.fromkeys((*one.outside, *other.outside))),
    )


def _part(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """An empty part is all of that part; None: nothing is in both."""
    if not some or not others:
        return some or others
    return tuple(each for each in some if each in others) or None


def _events(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """As `_part`; of a resource type's data events and those of one kind, the kind is in both."""
    if not some or not others:
        return some or others
    pairs = chain(((each, others) for each in some), ((each, some) for each in others))
    both = (each for each, there in pairs if each in there or each.partition(" ")[0] in there)
    return tuple(dict.fromkeys(both)) or None


_AT_MOST = timedelta(hours=24)
"""A clock may be off, and its zone as well; a day more or less decides nothing that takes 30."""


def with_clock(evidence: Evidence, now: datetime) -> Evidence:
    """The evidence, with a gap that could hide anything where its last call is more than a day after `now`."""
    if evidence.last is None or evidence.last <= now + _AT_MOST:
        return evidence
    detail = (
        f"the last call is of {evidence.last:%Y-%m-%d %H:%M} and here it is {now:%Y-%m-%d %H:%M} (UTC): "
        "set this machine's clock, or take the records of another time out"
    )
    return replace(evidence, gaps=(*evidence.gaps, Gap(GapKind.FROM_THE_FUTURE, Scope(), detail)))
