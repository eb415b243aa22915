"""The ledger of a proposal: each call, denial, declared need, granted action and record has exactly
one state.

Every report takes its counts from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.diff.compare import Difference, Entry, is_used, replay_usage
from leastpriv.evidence.models import CallGroup, Evidence
from leastpriv.models import (
    Basis,
    ChangeKind,
    GapKind,
    Need,
    Outcome,
    Permission,
    Usage,
    grouped,
)
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.replay import ReplayEffect, replay_need
from leastpriv.proposal.models import Change, GuardResult, Proposal
from leastpriv.proposal.origins import UNREVIEWED_USE, unreviewed_uses

BREAK_GLASS = "break-glass"
_USED_BY_FEW = frozenset({BREAK_GLASS, UNREVIEWED_USE})
"""Guards of a permission that was used, but not by a run that decides."""

_UNDECIDED = "a condition or an expression that no record shows decides whether it is granted"
_IN_PART = "the policy allows the action on a part of the resources"
_NO_STATEMENT = "no statement of the result allows it"
_NO_GUARD = "no guard gives the reason"


class CallState(StrEnum):
    """What the result does with a recorded call."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_EVALUATED = "not-evaluated"


class CallNotEvaluated(StrEnum):
    """Why a recorded call is not evaluated."""

    DENIED_BY_AWS = "denied-by-aws"
    """AWS denied the call: the states of the denials say what becomes of it."""
    UNKNOWN_OUTCOME = "unknown-outcome"
    """AWS may not have reached authorization, or the record has no answer."""
    UNKNOWN_ACTIONS = "unknown-actions"
    """No table says which actions the call needs."""
    UNKNOWN_CONDITION = "unknown-condition"
    """A condition that no record shows decides."""


class DenialState(StrEnum):
    """What becomes of a denied permission."""

    ADDED = "added"
    NOT_ADDED = "not-added"
    OFFERED = "offered"
    """It deletes by any id of a type: a person may add it (`Proposal.offered`)."""
    GRANTED_SINCE = "granted-since"
    """The committed policy allows it now, or a later call of it succeeded."""


class OfferState(StrEnum):
    """What becomes of a permission that is offered."""

    OFFERED = "offered"
    GRANTED = "granted"
    """Another statement of the result allows it, on the whole resource."""


class NeedState(StrEnum):
    """What becomes of a permission that a template or plan needs."""

    WRITTEN = "written"
    """The result allows it."""
    NOT_WRITTEN = "not-written"
    NOT_NEEDED = "not-needed"
    """Only a later update or deletion needs it."""


class GrantState(StrEnum):
    """What becomes of an action that a statement of the committed policy grants."""

    KEPT_USED = "kept-used"
    KEPT_UNUSED = "kept-unused"
    REMOVED_UNRECORDED = "removed-unrecorded"
    """It is removed, although its use leaves no record."""
    REMOVED_RECORDED = "removed-recorded"
    """It is removed, and its use would have been recorded."""


class RecordState(StrEnum):
    """What a record that names the principal is."""

    CALL = "call"
    NO_CALL = "no-call"
    GAP = "gap"


class Calls(Struct, frozen=True):
    """The recorded calls, replayed against policies."""

    total: int
    no_permission: int
    """Allowed calls that need no permission."""
    allowed: int
    """Allowed calls that are allowed again, those without a needed permission included."""
    in_part: int
    """Of these the calls whose record names the resource in part; a part of it is allowed."""
    denied: tuple[CallGroup, ...]
    """Allowed calls that the policies deny."""
    uncertain: tuple[CallGroup, ...]
    """Allowed calls whose permission depends on a condition that no record shows."""
    unmapped: int
    unclear: int
    refused: int

    @property
    def succeeded(self) -> int:
        """Number of calls that AWS allowed."""
        return self.total - self.unclear - self.refused

    @property
    def denied_calls(self) -> int:
        """Number of allowed calls that the policies deny."""
        return sum(group.count for group in self.denied)

    @property
    def conditional(self) -> int:
        """Number of calls that depend on a condition."""
        return sum(group.count for group in self.uncertain)

    @property
    def not_evaluated(self) -> Mapping[CallNotEvaluated, int]:
        """Number of calls that were not evaluated, by reason, without reasons of no call."""
        counts = {
            CallNotEvaluated.DENIED_BY_AWS: self.refused,
            CallNotEvaluated.UNKNOWN_OUTCOME: self.unclear,
            CallNotEvaluated.UNKNOWN_ACTIONS: self.unmapped,
            CallNotEvaluated.UNKNOWN_CONDITION: self.conditional,
        }
        return {reason: count for reason, count in counts.items() if count}

    @property
    def states(self) -> Mapping[CallState, int]:
        """Number of calls in each state."""
        return {
            CallState.ALLOWED: self.allowed,
            CallState.DENIED: self.denied_calls,
            CallState.NOT_EVALUATED: sum(self.not_evaluated.values()),
        }


class DenialFact(Struct, frozen=True):
    """A denied permission and what becomes of it."""

    usage: Usage
    state: DenialState
    guard: str = ""
    """The rule that forbids the addition; empty where the replay alone says why."""
    why: str = ""
    """Why it is not added."""


class NeedFact(Struct, frozen=True):
    """A declared need and what becomes of it."""

    need: Need
    state: NeedState
    guard: str = ""
    why: str = ""
    """Why it is not written."""


class OfferFact(Struct, frozen=True):
    """A permission that is offered and not written, on one resource."""

    action: str
    resource: str
    state: OfferState
    change: Change
    """The addition that a person may make."""


class GrantFact(Struct, frozen=True, gc=False):
    """An action that a statement grants, and what becomes of it."""

    action: str
    state: GrantState
    entry: str
    """The entry of the statement that grants it, as written."""
    guard: str = ""
    """The guard that keeps an unused action, or that doubts whether a use leaves a record."""
    why: str = ""


class StatementFacts(Struct, frozen=True):
    """The actions that one statement of the committed policy grants."""

    statement: Statement
    grants: tuple[GrantFact, ...]
    narrowed: frozenset[str] = frozenset()
    """Kept actions whose resources are narrowed."""

    def of(self, *states: GrantState) -> tuple[GrantFact, ...]:
        """Returns the actions in some states, in order."""
        return tuple(grant for grant in self.grants if grant.state in states)

    @property
    def removed(self) -> tuple[GrantFact, ...]:
        """The removed actions, those without a record first."""
        unrecorded = self.of(GrantState.REMOVED_UNRECORDED)
        return (*unrecorded, *self.of(GrantState.REMOVED_RECORDED))

    @property
    def left(self) -> int:
        """Number of actions that the statement grants afterwards."""
        return len(self.grants) - len(self.removed)


class Records(Struct, frozen=True):
    """The records that name the principal."""

    calls: int
    gaps: int = 0
    """Records that cannot be read as a call."""
    others: Mapping[str, int] = {}
    """Why a record is no call -> number of records."""

    @property
    def states(self) -> Mapping[RecordState, int]:
        """Number of records in each state."""
        return {
            RecordState.CALL: self.calls,
            RecordState.NO_CALL: sum(self.others.values()),
            RecordState.GAP: self.gaps,
        }


class Ledger(Struct, frozen=True):
    """All facts of a proposal with their states."""

    calls: Calls
    denials: tuple[DenialFact, ...]
    needs: tuple[NeedFact, ...]
    offers: tuple[OfferFact, ...]
    statements: tuple[StatementFacts, ...]
    records: Records
    unreviewed: frozenset[str] = frozenset()
    """Actions that are kept, and that only runs of unreviewed code used."""

    @property
    def grants(self) -> Iterator[GrantFact]:
        """The granted actions of all statements."""
        for statement in self.statements:
            yield from statement.grants

    def grants_of(self, *states: GrantState) -> tuple[GrantFact, ...]:
        """Returns the granted actions in some states, statement by statement."""
        return tuple(grant for statement in self.statements for grant in statement.of(*states))

    def count(self, *states: GrantState) -> int:
        """Returns the number of granted actions in some states."""
        return len(self.grants_of(*states))

    @property
    def removed(self) -> int:
        """Number of removed actions."""
        return self.count(GrantState.REMOVED_UNRECORDED, GrantState.REMOVED_RECORDED)

    @property
    def actions(self) -> frozenset[str]:
        """The granted actions of the committed policy, each once."""
        return frozenset(grant.action for grant in self.grants)

    @property
    def actions_left(self) -> frozenset[str]:
        """Those of them that a statement still grants."""
        grants_left = self.grants_of(GrantState.KEPT_USED, GrantState.KEPT_UNUSED)
        return frozenset(grant.action for grant in grants_left)

    @property
    def narrowed(self) -> int:
        """Number of kept actions whose resources are narrowed."""
        return sum(len(statement.narrowed) for statement in self.statements)

    @property
    def not_added(self) -> tuple[DenialFact, ...]:
        """The denied permissions that are not added."""
        return tuple(fact for fact in self.denials if fact.state is DenialState.NOT_ADDED)

    @property
    def offered(self) -> tuple[OfferFact, ...]:
        """The permissions that a person may add."""
        return tuple(fact for fact in self.offers if fact.state is OfferState.OFFERED)

    @property
    def sums(self) -> Mapping[str, Mapping[str, int]]:
        """Number of facts in each state, by kind of fact."""
        return {
            "calls": _by_name(self.calls.states),
            "denials": _counted(DenialState, (fact.state for fact in self.denials)),
            "declared_needs": _counted(NeedState, (fact.state for fact in self.needs)),
            "offers": _counted(OfferState, (fact.state for fact in self.offers)),
            "granted_actions": _counted(GrantState, (fact.state for fact in self.grants)),
            "records": _by_name(self.records.states),
        }


def _by_name(counts: Mapping[CallState, int] | Mapping[RecordState, int]) -> dict[str, int]:
    return {state.value: count for state, count in counts.items()}


def _counted(states: type[StrEnum], found: Iterable[StrEnum]) -> dict[str, int]:
    counts = Counter(found)
    return {state.value: counts[state] for state in states}


def ledger_of(
    proposal: Proposal,
    difference: Difference,
    evidence: Evidence,
    attached: Sequence[Document],
    calls: Calls,
) -> Ledger:
    """Returns the ledger of a proposal.

    Args:
        proposal: The edited policy, its changes and what was held back.
        difference: The committed policy compared with the evidence.
        evidence: What was read of the principal.
        attached: The principal's other policies.
        calls: The replay of the recorded calls against the result.
    """
    documents = [*proposal.documents, *attached]
    statements = statement_facts(proposal, difference)
    unreadable = (gap.count for gap in evidence.gaps if gap.kind is GapKind.UNREADABLE_RECORD)
    return Ledger(
        calls=calls,
        denials=tuple(_denials(proposal, difference, evidence, attached)),
        needs=tuple(_needs(proposal, evidence, documents)),
        offers=tuple(_offers(proposal, evidence, documents)),
        statements=statements,
        records=Records(evidence.counts.calls, sum(unreadable), evidence.no_calls),
        unreviewed=_unreviewed(evidence, documents),
    )


def replay_calls(evidence: Evidence, documents: Sequence[Document]) -> Calls:
    """Replays the allowed calls; calls that need the same permissions are replayed once."""
    counts = evidence.counts
    allowed = counts.no_permission
    in_part = 0
    uncertain: list[CallGroup] = []
    denied: list[CallGroup] = []
    for group in evidence.groups:
        if group.outcome is not Outcome.ALLOWED or not all(need.verified for need in group.needs):
            continue
        effects = _effects(group, evidence.principal, documents)
        if effects <= {"allowed", "allowedInPart"}:
            allowed += group.count
            in_part += group.count if "allowedInPart" in effects else 0
        elif effects <= {"allowed", "allowedInPart", "unknown"}:
            uncertain.append(group)
        else:
            denied.append(group)
    return Calls(
        total=counts.calls,
        no_permission=counts.no_permission,
        allowed=allowed,
        in_part=in_part,
        denied=tuple(denied),
        uncertain=tuple(uncertain),
        unmapped=counts.unmapped,
        unclear=counts.unknown,
        refused=counts.denied,
    )


def _effects(
    group: CallGroup, principal: str, documents: Sequence[Document]
) -> frozenset[ReplayEffect]:
    return frozenset(
        replay_need(need, principal, region, documents)
        for need in group.needs
        for region in group.regions
    )


def _denials(
    proposal: Proposal,
    difference: Difference,
    evidence: Evidence,
    attached: Sequence[Document],
) -> Iterator[DenialFact]:
    """Yields each denied permission with its state."""
    additions = (change for change in proposal.changes if change.kind is ChangeKind.ADD)
    added = {id(usage) for change in additions for usage in change.usages}
    result_by_usage = {
        id(usage): held_back_addition.guard_result
        for held_back_addition in proposal.held_back_additions
        for usage in held_back_addition.usages
    }
    offered = {id(usage) for change in proposal.offered for usage in change.usages}
    unsettled = {id(usage) for usage in difference.unsettled_denials}
    documents = [*proposal.documents, *attached]
    for usage in evidence.usages:
        if usage.outcome is not Outcome.DENIED:
            continue
        is_added = id(usage) in added
        guard_result = result_by_usage.get(id(usage))
        if is_added and id(usage) in offered:
            # It is added in part.
            effects = replay_usage(usage, evidence.principal, documents)
            is_added = effects <= {"allowed"}
        if is_added:
            yield DenialFact(usage, DenialState.ADDED)
        elif id(usage) in offered:
            yield DenialFact(usage, DenialState.OFFERED)
        elif guard_result:
            yield DenialFact(usage, DenialState.NOT_ADDED, guard_result.guard, guard_result.reason)
        elif id(usage) not in unsettled:
            yield DenialFact(usage, DenialState.GRANTED_SINCE)
        else:
            yield _by_replay(usage, replay_usage(usage, evidence.principal, documents))


def _by_replay(usage: Usage, effects: frozenset[ReplayEffect]) -> DenialFact:
    """Returns the state of a denial of which no change and no guard speaks."""
    if effects <= {"allowed"}:
        return DenialFact(usage, DenialState.ADDED)
    reason = _NO_STATEMENT
    if effects <= {"allowed", "allowedInPart"}:
        reason = _IN_PART
    elif effects <= {"allowed", "allowedInPart", "unknown", "refuted"}:
        reason = _UNDECIDED
    return DenialFact(usage, DenialState.NOT_ADDED, why=reason)


def _needs(
    proposal: Proposal, evidence: Evidence, documents: Sequence[Document]
) -> Iterator[NeedFact]:
    """Yields each declared need with its state."""
    declared = evidence.aws_findings.declared
    result_by_permission = {
        (held_back_addition.action, resource): held_back_addition.guard_result
        for held_back_addition in proposal.held_back_additions
        for resource in held_back_addition.resources
    }
    later = {need.permission for need in declared.later_needs}
    for need in dict.fromkeys((*declared.needs, *declared.later_needs)):
        permission = need.permission
        if replay_need(need, evidence.principal, "", documents) in ("allowed", "allowedInPart"):
            yield NeedFact(need, NeedState.WRITTEN)
        elif permission in later:
            yield NeedFact(need, NeedState.NOT_NEEDED)
        else:
            key = (permission.action, permission.resource)
            guard_result = result_by_permission.get(key, GuardResult("", _NO_STATEMENT))
            yield NeedFact(need, NeedState.NOT_WRITTEN, guard_result.guard, guard_result.reason)


def _offers(
    proposal: Proposal, evidence: Evidence, documents: Sequence[Document]
) -> Iterator[OfferFact]:
    """Yields each offer that is not written once, with its state."""
    permissions_seen: set[Permission] = set()
    for change in proposal.offered:
        for resource in change.resources:
            permission = Permission(change.action, resource)
            if permission in permissions_seen:
                continue
            permissions_seen.add(permission)
            need = Need(permission, Basis.LIFECYCLE, "", exact=False)
            effect = replay_need(need, evidence.principal, "", documents)
            state = OfferState.GRANTED if effect == "allowed" else OfferState.OFFERED
            yield OfferFact(change.action, resource, state, change)


class _Decisions:
    """What the proposal decided about each entry of the committed policy."""

    def __init__(self, proposal: Proposal) -> None:
        edits = [change for change in proposal.changes if change.kind is not ChangeKind.ADD]
        self._changes = {
            (change.statement, change.action): change
            for change in edits
            if not change.restricted_to
        }
        self._held = {
            (held_change.action, held_change.sid, held_change.resources): held_change.guard_result
            for held_change in proposal.held_back
        }

    def change(self, entry: Entry) -> Change | None:
        return self._changes.get((entry.statement.index, entry.pattern))

    def guard_of_entry(self, entry: Entry) -> GuardResult | None:
        return self._held.get((entry.pattern, entry.statement.sid, entry.resources))


def statement_facts(proposal: Proposal, difference: Difference) -> tuple[StatementFacts, ...]:
    """Returns the actions that each Allow statement of the committed policy grants, with their
    states.
    """
    decisions = _Decisions(proposal)
    narrowed = grouped(
        [
            (change.statement, change.restricted_action)
            for change in proposal.changes
            if change.restricted_to
        ]
    )
    entries = grouped([(entry.statement.index, entry) for entry in difference.entries])
    facts: list[StatementFacts] = []
    for index, statement_entries in entries.items():
        grants: dict[str, GrantFact] = {}
        for entry in statement_entries:
            for fact in _entry_facts(entry, decisions):
                earlier_grant = grants.get(fact.action)
                if earlier_grant is None or _ORDER[fact.state] < _ORDER[earlier_grant.state]:
                    grants[fact.action] = fact
        restricted = frozenset(narrowed.get(index, ()))
        facts.append(
            StatementFacts(statement_entries[0].statement, tuple(grants.values()), restricted)
        )
    return tuple(facts)


_ORDER = {state: number for number, state in enumerate(GrantState)}
"""Of two entries of a statement that grant an action, the first of these states counts."""


def _entry_facts(entry: Entry, decisions: _Decisions) -> Iterator[GrantFact]:
    """Yields each action that an entry grants in its one state: used, removed, or kept unused by a
    guard.
    """
    change = decisions.change(entry)
    kept_results = (change.kept if change else None) or {}
    unproven = (change.unproven if change else None) or {}
    removed = frozenset(change.removed_actions) if change else frozenset[str]()
    used_actions = {action for action, usages in entry.uses.items() if is_used(usages)}
    guard = decisions.guard_of_entry(entry)
    unlisted = sorted(used_actions.difference(entry.granted))
    for action in (*entry.granted, *unlisted):
        keeping_result = kept_results.get(action) or guard
        if action in removed and action in unproven:
            doubt = unproven[action]
            state = GrantState.REMOVED_UNRECORDED
            yield GrantFact(action, state, entry.pattern, doubt.guard, doubt.reason)
        elif action in removed:
            yield GrantFact(action, GrantState.REMOVED_RECORDED, entry.pattern)
        elif action in used_actions and not _is_used_by_few(keeping_result):
            yield GrantFact(action, GrantState.KEPT_USED, entry.pattern)
        else:
            result = keeping_result or GuardResult("", _NO_GUARD)
            state = GrantState.KEPT_UNUSED
            yield GrantFact(action, state, entry.pattern, result.guard, result.reason)


def _is_used_by_few(result: GuardResult | None) -> bool:
    return result is not None and result.guard in _USED_BY_FEW


def _unreviewed(evidence: Evidence, documents: Sequence[Document]) -> frozenset[str]:
    """Returns the actions that only unreviewed runs used, and that the result grants them."""
    actions: set[str] = set()
    for use in unreviewed_uses(evidence):
        effects = [replay_usage(usage, evidence.principal, documents) for usage in use.usages]
        if any(effect <= {"allowed", "allowedInPart"} for effect in effects):
            actions.add(use.action)
    return frozenset(actions)
