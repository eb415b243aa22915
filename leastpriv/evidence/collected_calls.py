"""What collectors counted of some files, in a form that is stored, sent and added up.

A process that counts files returns it, and the cache stores it for each file. It has the needs of
the calls and none of their requests and answers, except those of `CollectedCalls.left`.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from leastpriv.evidence.created_tags import TaggedCreations
from leastpriv.evidence.limits import Counted, ListedResources
from leastpriv.evidence.models import CallTotals
from leastpriv.evidence.runs import KeyIssues, TrackedRuns
from leastpriv.models import Call, GapKind, Need, Outcome, Scope

GapKey = tuple[GapKind, Scope, str]
"""Kind, scope and detail of gaps that are counted together."""
EventReason = tuple[str, str]
"""Event, and why its calls are not evaluated."""


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
    answers: dict[str, tuple[int, int]]
    """Event -> numbers of writing calls with an answer and without."""
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
    for principal_calls in found.principals:
        tokens = principal_calls.runs.tokens
        runs = range(-1, len(tokens))
        first_tokens = set(tokens)
        are_first = all(
            0 <= token < len(tokens) and tokens[token] == token for token in first_tokens
        )
        spans = [
            span.token
            for session in principal_calls.runs.sessions
            for session_spans in session.spans.values()
            for span in session_spans
        ]
        counted = [run for group in principal_calls.groups for run in group.totals.runs]
        tagged = [run for tag in principal_calls.tags for run in tag.runs]
        needs = {number for group in principal_calls.groups for number in group.needs}
        # Each of these tokens is of one span; the others were joined with it.
        have_spans = sorted(spans) == sorted(first_tokens)
        have_runs = all(run in runs for run in {*counted, *tagged})
        have_needs = all(0 <= number < len(found.needs) for number in needs)
        if not (are_first and have_spans and have_runs and have_needs):
            raise ValueError(f"{principal_calls.name}: a need or a run does not exist")
    return found
