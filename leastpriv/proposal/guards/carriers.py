"""Judges actions by their carriers: the operations that authorize an action besides the one they need.

AWS checks such an action inside the call and records no event of it. So a called carrier may have used the action, and
an action is known to be unused only where every carrier would have been recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from leastpriv.evidence.models import Evidence
from leastpriv.models import GapKind, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, facts_of, map_event
from leastpriv.permissions.visibility import Carrier, Visibility, carriers_of, own_operations
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import names_action
from leastpriv.proposal.models import GuardContext, RemovalCandidate

UNKNOWN_EVENTS = (GapKind.UNMAPPED_EVENT, GapKind.UNVERIFIED_ACTION)
"""Gaps whose detail is the event that was called."""


def checked_inside(candidate: RemovalCandidate, context: GuardContext) -> str:
    """A called operation authorizes the action inside the call, and no record shows whether it did."""
    event = context.evidence.checked_inside.get(candidate.action)
    if event:
        return f"AWS may check it inside {event}"
    memory = context.history.history_state.memory
    for each in carriers_of(candidate.action):
        if each.operation in context.called:
            if not each.triggered:
                return f"AWS may check it inside {each.operation}"
            if not context.called[each.operation]:
                return f"AWS may check it inside {each.operation}, which was called without success"
        elif memory and memory.last_use(each.operation) and not _is_remembered(each, candidate.action):
            return f"AWS may check it inside {each.operation}, which was called before this evidence begins"
    return ""


def _is_remembered(carrier: Carrier, action: str) -> bool:
    """Whether the memory of a call would have the action as a use of its own, had the call caused it."""
    return carrier.triggered and action not in facts_of(carrier.operation).inner


def called_operations(evidence: Evidence) -> dict[str, bool]:
    """Maps each operation that the principal called to whether a call was carried out, and so shows all it needed."""
    found: dict[str, bool] = {}
    for usage in evidence.usages:
        carried_out = usage.outcome is Outcome.ALLOWED and usage.succeeded
        for event in usage.events:
            found[operation_of(event)] = found.get(operation_of(event), False) or carried_out
    for gap in evidence.gaps:
        if gap.kind in UNKNOWN_EVENTS:
            found.setdefault(operation_of(gap.detail), False)
    return found


@lru_cache(maxsize=16_384)
def operation_of(event: str) -> str:
    """IAM prefix and operation of an event (`lambda.amazonaws.com:CreateFunction20150331`)."""
    source, _, name = event.partition(":")
    return map_event(source, name).operation


def hidden_carriers(candidate: RemovalCandidate, context: GuardContext) -> Iterator[Carrier]:
    """Carriers that the principal may call and that not every trail shows: data events, unknown and unrecorded ones."""
    for each in carriers_of(candidate.action):
        if each.visibility is Visibility.MANAGEMENT or not context.may_call(each.operation):
            continue
        if each.visibility is Visibility.UNKNOWN and each.operation in context.recorded:
            continue
        yield each


def is_recorded(action: str, context: GuardContext) -> bool:
    """Whether the evidence has a management event of each operation that always needs the action, of any principal."""
    return own_operations(action) <= context.recorded


class CallableOperations:
    """Says whether the principal may call an operation, as far as known policies show."""

    def __init__(self, policies: Sequence[Document], services: frozenset[str]) -> None:
        """Takes the known policies of the principal, and the prefixes of services that another policy grants in part.

        Without any policy every operation may be called; of these services too.
        """
        self._granting = [each for policy in policies for each in policy.statements if each.effect == "Allow"]
        self._services = services
        self._answers: dict[str, bool] = {}

    def __call__(self, operation: str) -> bool:
        """Whether a known policy grants the operation, or another one may."""
        if not self._granting or operation.partition(":")[0] in self._services:
            return True
        if operation not in self._answers:
            self._answers[operation] = self._grants(operation)
        return self._answers[operation]

    def differs_in(self, policies: Sequence[Document]) -> CallableOperations | None:
        """The answers with other policies, if one that was given so far would change; else None."""
        granted = [operation for operation, answer in self._answers.items() if answer]
        other = CallableOperations(policies, self._services)
        return None if all(map(other, granted)) else other

    def _grants(self, operation: str) -> bool:
        prefix, _, name = operation.partition(":")
        event = map_event(f"{prefix}.amazonaws.com", name)
        named = [each.action for each in event.actions] if event.verdict is Verdict.MAPPED else catalog.actions(prefix)
        return any(names_action(statement, each) for each in named for statement in self._granting)
