"""Records of a later time than it is: a clock is wrong, so that days and gaps of days mean nothing (pure)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from leastpriv.evidence.usage import Evidence
from leastpriv.model import Gap, GapKind, Scope

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
