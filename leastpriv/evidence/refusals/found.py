"""A refusal found in a text, and what is common to those whose action has to be inferred (pure)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from leastpriv.evidence.cloudtrail.outcome import outcome_of
from leastpriv.evidence.refusals.layout import Layout, one_line
from leastpriv.evidence.refusals.wordings import bare_refusals, foreign_store
from leastpriv.model import Denial, DeniedBy, Outcome

NEAR = 600
"""Characters before a bare refusal in which the tool may have said what it was about."""
_LONGEST_MESSAGE = 1_000
_STATUSES = frozenset({"403", "Forbidden"})
"""What stands in place of a code where the answer had no body."""


@dataclass(frozen=True, slots=True)
class Found:
    """A denial and where it stands in the cleaned text."""

    start: int
    end: int
    denial: Denial


def is_told(one: Found, others: Collection[Found], around: int = 0) -> bool:
    """Whether another that was found covers the place already, or stands so near to it."""
    return any(one.start < other.end + around and other.start < one.end + around for other in others)


def message_of(layout: Layout, start: int, end: int) -> str:
    """The words of a refusal on one line, cut where they never end; an empty line ends them."""
    told = layout.text[start : min(end, start + 3 * _LONGEST_MESSAGE)]
    return one_line(told.partition("\n\n")[0])[:_LONGEST_MESSAGE]


def is_refusal(code: str) -> bool:
    """Whether an error code, or the status in its place, is one of refusals."""
    return code in _STATUSES or outcome_of(code, "") is Outcome.DENIED


def bare(text: str) -> str | None:
    """The service whose bare refusal a text begins with (empty: any service's); None where it is none."""
    return next((service for pattern, service in bare_refusals() if pattern.match(text)), None)


def inferred(
    layout: Layout, start: int, end: int, actions: tuple[str, ...], resource: str = "", why: str = ""
) -> Found:
    """A denial of actions that follow from what stands around it; `why` tells what speaks against a grant."""
    around = layout.text[max(0, start - NEAR) : end + 200]
    store = foreign_store(around) if any(action.startswith("s3:") for action in actions) else ""
    reason = why or (f"the request went to {store}" if store else "")
    reason = reason or ("" if actions else "the message names no action, and none follows from it")
    denial = Denial(
        actions=actions,
        resource=resource,
        principal="",
        denied_by=DeniedBy.UNKNOWN,
        explicit=False,
        mendable=not reason,
        message=message_of(layout, start, end),
        inferred=bool(actions),
        why=reason,
    )
    return Found(start, end, denial)
