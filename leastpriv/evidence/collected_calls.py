"""What collectors counted of some files, in a form that is stored, sent and added up.

A process that counts files returns it, and the cache stores it for each file. It has the needs of
the calls and none of their requests and answers, except those of `CollectedCalls.left`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import Struct

from leastpriv.evidence.created_tags import TaggedCreations
from leastpriv.evidence.limits import Counted, ListedResources
from leastpriv.evidence.models import CallTotals
from leastpriv.evidence.runs import KeyIssues, TrackedRuns
from leastpriv.models import Call, GapKind, Need, Outcome, Scope


class GapKey(NamedTuple):
    """What gaps that are counted together have in common."""

    kind: GapKind
    scope: Scope
    detail: str


class EventReason(NamedTuple):
    """Why calls of an event are not evaluated."""

    event: str
    reason: str


class AnswerCounts(Struct, array_like=True):
    """Numbers of writing calls of one event with an answer and without."""

    answered: int = 0
    unanswered: int = 0

    def absorb(self, other: AnswerCounts) -> None:
        """Adds the counts of other calls."""
        self.answered += other.answered
        self.unanswered += other.unanswered


class GroupedCalls(Struct, array_like=True):
    """Calls with the same needs and outcome in one region."""

    needs: tuple[int, ...]
    """Their places in `CollectedCalls.needs`."""
    outcome: Outcome
    mark: str
    region: str
    totals: CallTotals


class PrincipalCalls(Struct, array_like=True):
    """The calls of one principal."""

    name: str
    """ARN under which they count."""
    groups: list[GroupedCalls]
    runs: TrackedRuns
    gaps: Counted[GapKey]
    resources: dict[str, ListedResources]
    """By action."""
    answers: dict[str, AnswerCounts]
    """By event."""
    checked_inside: dict[str, str]
    tags: list[TaggedCreations]
    not_evaluated: Counted[EventReason]
    outcomes: dict[Outcome, int]
    unmapped: int
    no_permission: int


class CollectedCalls(Struct, array_like=True):
    """The calls of all principals."""

    needs: list[Need]
    principals: list[PrincipalCalls]
    names: dict[str, str]
    """ARN without the path -> ARN with the longest path seen."""
    logins: dict[str, int]
    """ARN of a role -> records of logins to it."""
    issues: KeyIssues
    key_limit: str | None
    """Keys from this one on are not stored; None: all are."""
    left: list[Call]
    """Calls that are not counted: their denial is encoded, and AWS decodes it."""


decode_collected = msgspec.msgpack.Decoder(CollectedCalls).decode


def check_collected(found: CollectedCalls) -> CollectedCalls:
    """Returns what was decoded; raises ValueError where a need or a run does not exist, or a run
    has no calls.
    """
    for calls in found.principals:
        if not (_has_known_runs(calls) and _has_known_needs(calls, len(found.needs))):
            raise ValueError(f"{calls.name}: a need or a run does not exist")
    return found


def _has_known_runs(calls: PrincipalCalls) -> bool:
    """Whether each run exists and has calls."""
    tokens = calls.runs.tokens
    first_tokens = set(tokens)
    if any(token not in range(len(tokens)) or tokens[token] != token for token in first_tokens):
        return False
    spans = [
        span.token
        for session in calls.runs.sessions
        for session_spans in session.spans.values()
        for span in session_spans
    ]
    # Each of these tokens is of one span; the others were joined with it.
    if sorted(spans) != sorted(first_tokens):
        return False
    counted = {run for group in calls.groups for run in group.totals.runs}
    tagged = {run for creations in calls.tags for run in creations.runs}
    # -1 is the run of a call that may be no deployment's.
    return all(run in range(-1, len(tokens)) for run in counted | tagged)


def _has_known_needs(calls: PrincipalCalls, count: int) -> bool:
    numbers = {number for group in calls.groups for number in group.needs}
    return all(number in range(count) for number in numbers)
