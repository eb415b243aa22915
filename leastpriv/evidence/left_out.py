"""What several trails leave out together: what one of them logs is not hidden by another that does not (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from leastpriv.model import Gap, GapKind, Scope


def left_out_by_all(gaps: Sequence[Sequence[Gap]]) -> tuple[Gap, ...]:
    """The gaps of all sources, with those of trails' settings reduced to what each of the trails leaves out.

    `gaps`: by source. A source without a gap of that kind takes no part: whether it is a trail that leaves nothing out,
    or files of which nobody knows what they leave out, is not told. One that has nothing of the targets' account has a
    gap of its own that could hide anything.
    """
    settings: list[Sequence[Gap]] = [[gap for gap in each if gap.kind is GapKind.NOT_LOGGED] for each in gaps]
    others = [gap for each in gaps for gap in each if gap.kind is not GapKind.NOT_LOGGED]
    known = [each for each in settings if each]
    together = reduce(_both, known) if known else []
    return (*others, *together)


def _both(some: Sequence[Gap], others: Sequence[Gap]) -> Sequence[Gap]:
    """What lies in a gap of each of two trails."""
    pairs = ((gap, other, _common(gap.scope, other.scope)) for gap in some for other in others)
    return [Gap(GapKind.NOT_LOGGED, scope, f"{gap.detail}; {other.detail}") for gap, other, scope in pairs if scope]


def _common(one: Scope, other: Scope) -> Scope | None:
    parts = [_part(getattr(one, name), getattr(other, name)) for name in ("services", "events", "regions")]
    if any(part is None for part in parts):
        return None
    services, events, regions = (part or () for part in parts)
    return Scope(services=services, events=events, regions=regions, data_events=one.data_events or other.data_events)


def _part(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """An empty part is all of that part; None: nothing is in both."""
    if not some or not others:
        return some or others
    return tuple(each for each in some if each in others) or None
