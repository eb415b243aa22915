"""The proof of a proposal: replay, containment, leave-one-run-out and size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from leastpriv.diff.compare import entries_of
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Condition, Outcome, Permission
from leastpriv.policy.containment import UNPROVEN_WILDCARDS, check_containment, lost_denies
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import allow_statements, policy_size
from leastpriv.policy.replay import ReplayEffect, replay_with_statement
from leastpriv.policy.size import PolicyKind, policy_kind, quota, size_of_others
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.guards import break_glass_runs
from leastpriv.proposal.leave_one_run_out import (
    LaterRunsResult,
    LeaveOneOutResult,
    RunChecks,
)
from leastpriv.proposal.ledger import Calls, replay_calls
from leastpriv.proposal.models import Change, History, Options, Proposal
from leastpriv.proposal.origins import is_sensitive_call_of_unreviewed, uncounted_runs


class _EntryOnResources(Struct, frozen=True):
    """An entry with the resources and conditions of its statement."""

    action: str
    """In lower case."""
    resources: frozenset[str]
    not_resources: frozenset[str]
    conditions: tuple[Condition, ...]


class Proof(Struct, frozen=True):
    """Results of all checks of one proposal."""

    replay: Calls
    new_access: tuple[str, ...]
    """Grants that neither the committed policy nor a listed addition covers; must be empty."""
    newly_denied: tuple[str, ...]
    """Events that the committed policy allows and the proposal would deny; must be empty."""
    seen_once: tuple[str, ...]
    """Used actions of narrowed wildcards that only one run used."""
    size_before: int
    sizes: tuple[int, ...]
    """Sizes of the edited file and of the additional ones that it was split into."""
    entries_before: int
    """Number of action entries of the committed policy."""
    entries_after: int
    """Number of action entries of all files."""
    kind: PolicyKind
    """How the edited file is attached; additional ones are managed policies."""
    fits: bool
    """Whether each policy is within its quota and their number within the role's."""
    other_policies_size: int = 0
    """Size of the policies that share the quota: a role's inline policies have one in total."""
    is_unfinished: bool = False
    """The comparison of wildcards took more steps than a run spends; `new_access` then names what
    it left open.
    """
    unapplied: tuple[str, ...] = ()
    """Listed removals of entries that the proposal still has; must be empty."""
    left_out: LeaveOneOutResult | None = None
    """None if leave-one-run-out was not requested."""
    later_runs: LaterRunsResult | None = None
    """Each run against the policy of the runs before it; None if not requested."""
    need_decisions: tuple[NeedDecision, ...] = ()
    """The decision on each replayed need, in order of the calls."""
    confidence: Confidences | None = None
    """Confidence about the permissions that the proposal grants; None if not computed."""
    by_action: Confidences | None = None
    """The same by action alone, as the guard `minimum-confidence` uses it."""

    @property
    def size_after(self) -> int:
        """Size of the edited file."""
        return self.sizes[0]


class NeedDecision(Struct, frozen=True):
    """The policies' decision on one need of the recorded allowed calls in one region."""

    permission: Permission
    region: str
    effect: ReplayEffect
    document: Document | None
    """The deciding policy, of the proposal or attached; None if none decides."""
    statement: Statement | None


def prove(
    proposal: Proposal,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options | None = None,
    history: History = History(),
) -> Proof:
    """Proves a proposal: replays every allowed call and checks for new access.

    With the proposal's `options` each run is also left out once.
    """
    documents = [*proposal.documents, *attached]
    uncounted = break_glass_runs(evidence.runs, options.break_glass if options else ())
    uncounted |= uncounted_runs(evidence)
    after = replay_calls(evidence, documents)
    before = replay_calls(evidence, [proposal.committed, *attached]) if proposal.committed else None
    kind = policy_kind(proposal.committed or proposal.document, evidence.principal)
    sizes = tuple(policy_size(document) for document in proposal.documents)
    others_size = size_of_others(kind, attached, evidence.principal)
    new_access, is_unfinished = _new_access(proposal)
    runs = RunChecks(proposal, attached, evidence, options, history) if options else None
    return Proof(
        replay=after,
        new_access=tuple(new_access),
        is_unfinished=is_unfinished,
        newly_denied=_newly_denied(before, after, evidence),
        seen_once=_seen_once(proposal.changes),
        size_before=policy_size(proposal.committed) if proposal.committed else 0,
        entries_before=_entry_total([proposal.committed]) if proposal.committed else 0,
        entries_after=_entry_total(proposal.documents),
        sizes=sizes,
        kind=kind,
        unapplied=tuple(_unapplied_changes(proposal)),
        other_policies_size=others_size,
        fits=sizes[0] + others_size <= quota(kind)
        and (proposal.packed is None or proposal.packed.fits),
        left_out=runs.leave_one_out() if runs else None,
        later_runs=runs.later_runs() if runs else None,
        need_decisions=tuple(_need_decisions(evidence, documents)),
        confidence=confidences(evidence, documents, uncounted),
        by_action=confidences(evidence, without=uncounted),
    )


def _need_decisions(evidence: Evidence, documents: Sequence[Document]) -> Iterator[NeedDecision]:
    """Yields the decision of the policies on each distinct need of an allowed call in a region,
    with the statement that decides.
    """
    allowed = [group for group in evidence.groups if group.outcome is Outcome.ALLOWED]
    pairs = (
        (need, region)
        for group in allowed
        for need in group.needs
        if need.verified
        for region in group.regions
    )
    # Needs that differ only in their basis are one.
    distinct_requests = dict.fromkeys(
        (
            need.permission,
            region,
            replay_with_statement(need, evidence.principal, region, documents),
        )
        for need, region in dict.fromkeys(pairs)
    )
    for permission, region, result in distinct_requests:
        yield NeedDecision(
            permission=permission,
            region=region,
            effect=result.effect,
            document=None if result.document is None else documents[result.document],
            statement=result.statement_in(documents),
        )


def _newly_denied(before: Calls | None, after: Calls, evidence: Evidence) -> tuple[str, ...]:
    """Events that the proposal denies or may deny and the committed policy did not.

    Sensitive calls that only unreviewed runs made are left out: their names are not written.
    """
    if before is None:
        return ()
    denied = set(before.denied)
    open_before = {*before.denied, *before.uncertain}
    worse = [group for group in after.denied if group not in denied]
    worse += [group for group in after.uncertain if group not in open_before]
    worse_groups = [
        group for group in worse if not is_sensitive_call_of_unreviewed(group, evidence)
    ]
    return tuple(dict.fromkeys(group.event for group in worse_groups))


def _new_access(proposal: Proposal) -> tuple[list[str], bool]:
    """Entries of the result whose access is neither committed nor listed, and whether
    effort ran out.

    Exact for wildcards; an entry counts as new if conditions or policy variables leave it open. A
    removed Deny counts even if this document allows nothing of it: an attached policy may.
    """
    committed = [proposal.committed] if proposal.committed else []
    listed_excess = [
        Permission(change.action, resource, change.conditions)
        for change in proposal.changes
        if change.kind is ChangeKind.ADD
        for resource in change.resources
    ]
    excesses = check_containment(committed, proposal.documents, listed_excess).excesses
    excess_words = [f"{excess.action} on {excess.resource}" for excess in excesses]
    denies = lost_denies(committed, proposal.documents)
    is_unfinished = (
        bool(excesses)
        and all(excess.reason == UNPROVEN_WILDCARDS for excess in excesses)
        and not denies
    )
    return excess_words + [
        f"a Deny is missing: {deny.sid or deny.index}" for deny in denies
    ], is_unfinished


def _unapplied_changes(proposal: Proposal) -> Iterator[str]:
    """Entries that a listed change removes and that occur in as many statements as before.

    A packed policy is skipped, because its statements are merged or split.
    """
    packed = proposal.packed
    if proposal.committed is None or (
        packed and (packed.merged or packed.wildcards or packed.further)
    ):
        return
    before = _count_entries([proposal.committed])
    after = _count_entries(proposal.documents)
    gone = Counter[_EntryOnResources]()
    written = Counter[_EntryOnResources]()
    for change in proposal.changes:
        if change.kind is ChangeKind.ADD:
            written[_entry_on(change.action, change.resources, change.conditions)] += 1
            continue
        statement = proposal.committed.statements[change.statement]
        gone.update(
            _entry_of(statement, entry) for entry in entries_of(statement) if entry == change.action
        )
        written.update(_entry_of(statement, entry) for entry in change.replacement)
        name = change.restricted_action if change.restricted_to else change.action
        conditions = (*statement.conditions, *change.conditions)
        written[_entry_on(name, change.restricted_to, conditions)] += 1
    for entry, count in gone.items():
        if after[entry] > before[entry] - count + written[entry]:
            yield f"{entry.action} is still there"


def _entry_total(documents: Sequence[Document]) -> int:
    """Returns how many action entries the statements of some policies have."""
    return sum(
        len(entries_of(statement)) for document in documents for statement in document.statements
    )


def _count_entries(documents: Sequence[Document]) -> Counter[_EntryOnResources]:
    return Counter(
        _entry_of(statement, entry)
        for statement in allow_statements(documents)
        for entry in entries_of(statement)
    )


def _entry_of(statement: Statement, entry: str) -> _EntryOnResources:
    """Returns an entry as its statement has it."""
    return _EntryOnResources(
        action=entry.lower(),
        resources=frozenset(statement.resources),
        not_resources=frozenset(statement.not_resources),
        conditions=statement.conditions,
    )


def _entry_on(
    action: str, resources: Iterable[str], conditions: tuple[Condition, ...]
) -> _EntryOnResources:
    """Returns the entry that grants an action on some resources."""
    return _EntryOnResources(action.lower(), frozenset(resources), frozenset(), conditions)


def _seen_once(changes: Sequence[Change]) -> tuple[str, ...]:
    narrowed = (change for change in changes if change.kind is ChangeKind.NARROW)
    runs_by_action: dict[str, set[str]] = {}
    for change in narrowed:
        for usage in change.usages:
            runs_by_action.setdefault(usage.action, set()).update(usage.runs)
    return tuple(sorted(action for action, runs in runs_by_action.items() if len(runs) == 1))
