"""Leave-one-run-out: whether a policy made from the other runs would have allowed each run.

This estimates the next run. A run whose permissions other runs used too is allowed by replay; for
the remaining runs a proposal is made without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.compare import (
    Entry,
    ReplayedUsage,
    classify,
    entries_with_usage,
    entry_names_action,
    replay_usage,
    replay_usages,
)
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, Permission, Usage, grouped
from leastpriv.policy.document import Document
from leastpriv.proposal.aws_guards import report_without
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.guards import before_evidence, break_glass_runs, is_break_glass_use
from leastpriv.proposal.models import History, Options, Proposal, ProposalInputs
from leastpriv.proposal.origins import uncounted_runs
from leastpriv.proposal.propose import MAX_CHANGES, propose
from leastpriv.proposal.removals import creators_of, usages_by_action

_MOST_PROPOSALS, _FEWEST_PROPOSALS, _MOST_JUDGED = 40, 8, 40_000
"""Only the latest runs are tried: so many, fewer where their proposals judge more usages and
entries than the last.
"""
_DENIED = frozenset({"implicitDeny", "explicitDeny"})


class LeaveOneOutResult(Struct, frozen=True):
    """Outcome of leaving out each run once."""

    runs: int
    """Number of checked runs: those whose recorded calls the proposal allows for sure."""
    denied: Mapping[str, tuple[str, ...]]
    """Run id -> actions that would have been denied, in order of the runs."""
    not_checked: int = 0
    """Runs with a call that the proposal denies or allows only under a condition (see the replay).
    """
    untried: int = 0
    """Older runs with permissions that only they used, beyond the limit."""
    lacking: int = 0
    """Of the runs that are not checked those with a call that the proposal denies, without those of
    `break-glass`.
    """

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that some run would have been denied, sorted."""
        return tuple(sorted({action for actions in self.denied.values() for action in actions}))


def leave_one_out(
    proposal: Proposal,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options,
    history: History,
) -> LeaveOneOutResult:
    """Leaves out each run that the proposal allows; the replay covers the other runs."""
    allowed = [usage for usage in evidence.usages if usage.outcome is Outcome.ALLOWED]
    verified = [usage for usage in allowed if usage.need.verified]
    runs_of: dict[Permission, set[str]] = {}
    for usage in allowed:
        runs_of.setdefault(usage.need.permission, set()).update(usage.runs)
    # Usages that no other run has.
    own = grouped(
        [(usage.runs[0], usage) for usage in verified if len(runs_of[usage.need.permission]) == 1]
    )
    working = set[str]().union(*runs_of.values())
    # Runs with an allowed call that the proposal denies, and those with one that it may deny.
    documents = [*proposal.documents, *attached]
    lacking, unsure = set[str](), set[str]()
    for usage in verified:
        if not lacking.issuperset(usage.runs):
            effects = replay_usage(usage, evidence.principal, documents)
            if not effects <= {"allowed", "allowedInPart"}:
                (lacking if effects & _DENIED else unsure).update(usage.runs)
    open_runs = lacking | unsure
    uncounted = uncounted_runs(evidence)
    checked = working - open_runs - uncounted
    checked_runs = [run.id for run in evidence.runs if run.id in checked]
    special = [run for run in checked_runs if run in own]
    shared = _shared_inputs(proposal, attached, evidence, options, history) if special else None
    judged = len(evidence.usages) + len(shared.entries) if shared else 1
    tried = special[-max(_FEWEST_PROPOSALS, min(_MOST_PROPOSALS, _MOST_JUDGED // judged)) :]
    denied_by_run = {run: _denied_actions(run, own[run], shared) for run in tried if shared}
    denied = {run: found for run, found in denied_by_run.items() if found}
    counted = (working & lacking) - break_glass_runs(evidence.runs, options.break_glass)
    counted -= uncounted
    untried = len(special) - len(tried)
    return LeaveOneOutResult(
        len(checked_runs), denied, len(working & open_runs), untried, len(counted)
    )


class _SharedInputs(Struct, frozen=True):
    """Inputs that are equal whichever run is left out, computed once: a policy may have thousands
    of entries.
    """

    committed: Document | None
    attached: Sequence[Document]
    evidence: Evidence
    options: Options
    history: History
    confidence: Confidences
    """Confidence of all runs: leaving one out must not change which removals are held back."""
    break_glass_runs: frozenset[str]
    usages: tuple[ReplayedUsage, ...]
    entries: tuple[Entry, ...]
    """Entries whose change can affect the result."""
    creators: Mapping[str, tuple[str, ...]]
    """Used action -> the used actions that create its resources."""
    is_never_empty: bool
    """Whether a part of the committed policy remains in any case."""


def _shared_inputs(
    proposal: Proposal,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options,
    history: History,
) -> _SharedInputs:
    committed = proposal.committed
    break_glass = break_glass_runs(evidence.runs, options.break_glass)
    every = entries_with_usage(committed, evidence) if committed else ()
    entries = tuple(_changeable_entries(every, proposal, evidence))
    denies = (
        any(statement.effect == "Deny" for statement in committed.statements)
        if committed
        else False
    )
    return _SharedInputs(
        committed,
        attached,
        evidence,
        replace(options, minimum_runs=max(options.minimum_runs - 1, 0), max_changes=0),
        replace(history, history_state=before_evidence(history.history_state, evidence.first)),
        confidences(evidence, without=break_glass | uncounted_runs(evidence)),
        break_glass,
        replay_usages(evidence, [*([committed] if committed else []), *attached]),
        entries,
        creators_of(usages_by_action(evidence)) if entries else {},
        is_never_empty=denies or len(entries) < len(every),
    )


def _denied_actions(run: str, own: Sequence[Usage], shared: _SharedInputs) -> tuple[str, ...]:
    """Actions of a run's own usages that a proposal from the other runs would deny."""
    left = {
        id(usage): replace(usage, runs=runs)
        if (runs := tuple(each for each in usage.runs if each != run))
        else None
        for usage in shared.evidence.usages
        if run in usage.runs
    }
    usages = [
        (kept, effects) for usage, effects in shared.usages if (kept := left.get(id(usage), usage))
    ]
    # The time span of the evidence remains, because the logs were read all the same.
    remaining = tuple(usage for usage, _ in usages)
    other_runs = tuple(each for each in shared.evidence.runs if each.id != run)
    hints = shared.evidence.aws_findings
    if hints.access:
        hints = replace(hints, access=report_without(hints.access, shared.evidence, remaining))
    others = replace(
        shared.evidence, usages=remaining, groups=(), runs=other_runs, aws_findings=hints
    )
    actions = {usage.need.permission.action for usage in own}
    entries = tuple(
        _entry_without_run(entry, left) for entry in _relevant_entries(actions, left, shared)
    )
    inputs = ProposalInputs(shared.history, shared.attached, shared.confidence, packs=False)
    proposed = propose(shared.committed, classify(usages, entries), others, shared.options, inputs)
    documents = [*proposed.documents, *shared.attached]
    denied = [usage for usage in own if replay_usage(usage, others.principal, documents) & _DENIED]
    return tuple(sorted({usage.need.permission.action for usage in denied}))


def _relevant_entries(
    actions: Iterable[str], left: Mapping[int, Usage | None], shared: _SharedInputs
) -> Sequence[Entry]:
    """Entries that decide whether the actions remain allowed: those that grant them or the creation
    of their resources.

    All entries are relevant if the policy could become empty: an emptied policy is left unchanged.
    """
    named, fresh = set[str](), {*actions}
    while fresh:
        named |= fresh
        fresh = {creator for action in fresh for creator in shared.creators.get(action, ())} - named
    found, others = list[Entry](), list[Entry]()
    for entry in shared.entries:
        about = any(entry_names_action(entry.statement, entry.pattern, action) for action in named)
        (found if about else others).append(entry)
    is_never_empty = shared.is_never_empty or any(
        (kept := left.get(id(usage), usage))
        and kept.outcome is Outcome.ALLOWED
        and not is_break_glass_use(kept, shared.break_glass_runs)
        for entry in others
        for usages in entry.uses.values()
        for usage in usages
    )
    return found if is_never_empty else shared.entries


def _entry_without_run(entry: Entry, left: Mapping[int, Usage | None]) -> Entry:
    kept = (
        (action, left.get(id(usage), usage))
        for action, usages in entry.uses.items()
        for usage in usages
    )
    uses = grouped([(action, usage) for action, usage in kept if usage])
    return replace(entry, uses={action: tuple(usages) for action, usages in uses.items()})


def _changeable_entries(
    entries: Iterable[Entry], proposal: Proposal, evidence: Evidence
) -> Iterator[Entry]:
    """Entries reduced to what can affect the result: a wildcard grants up to twenty thousand
    actions.

    Unused actions are omitted, and so are unchanged wildcards over all services. Entries cut by
    `max-changes` remain.
    """
    held_back = (held for held in proposal.held_back if held.guard_result.guard == MAX_CHANGES)
    over_limit = {(held.sid, held.action, held.resources) for held in held_back}
    changed = {
        (change.statement, change.action)
        for change in proposal.changes
        if change.kind is not ChangeKind.ADD
    }
    used = {usage.need.permission.action for usage in evidence.usages}
    for entry in entries:
        if (entry.statement.sid, entry.pattern, entry.resources) in over_limit:
            continue
        if not entry.spans_services:
            yield entry
        elif (entry.statement.index, entry.pattern) in changed:
            yield replace(
                entry, granted=tuple(action for action in entry.granted if action in used)
            )
