"""Leave one run out: whether a policy made from the other runs would have allowed what this run did.

The best guess at the next run: each run of the past was the next one once. A run whose every permission another run
has shown as well is allowed by the promise of the replay; for the others a proposal is made without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from leastpriv.diff.compare import Entry, ReplayedUsage, replay_usage, entries_with_usage, replay_usages, entry_names_action, classify
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, Permission, Usage
from leastpriv.policy.document import Document
from leastpriv.proposal.change_limit import GUARD as MAX_CHANGES
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.guards.aws import report_without
from leastpriv.proposal.guards.people_and_history import break_glass_runs, is_break_glass_use, before_evidence
from leastpriv.proposal.models import Proposal, History, Options
from leastpriv.proposal.propose import propose, guard_context
from leastpriv.proposal.removals import spans_services
from leastpriv.proposal.resource_narrowing import creators_of

_MOST_PROPOSALS = 40
"""Each takes some hundredths of a second: of more runs with something of their own, the latest are tried."""


@dataclass(frozen=True, slots=True)
class LeaveOneOutResult:
    """What came of leaving each run out once."""

    runs: int
    """How many runs were judged: those of which the result surely allows every recorded call."""
    refused: Mapping[str, tuple[str, ...]]
    """Run id -> actions that would have been refused, by the runs in time."""
    not_judged: int = 0
    """Runs of which the result itself refuses a call, or allows one only if a condition holds: the replay tells."""
    untried: int = 0
    """Older runs with something of their own, that were too many to be tried."""

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that some run would have been refused, sorted."""
        return tuple(sorted({action for actions in self.refused.values() for action in actions}))


def leave_one_out(
    proposal: Proposal, attached: Sequence[Document], evidence: Evidence, options: Options, history: History
) -> LeaveOneOutResult:
    """Leaves out each run once. Only runs that the proposal of all allows count: the rest is told by the replay."""
    own = _usages_of_single_runs(evidence)
    working = {run for usage in evidence.usages if usage.outcome is Outcome.ALLOWED for run in usage.runs}
    open_runs = _runs_not_allowed(proposal, attached, evidence)
    judged_runs = [run.id for run in evidence.runs if run.id in working - open_runs]
    special = [run for run in judged_runs if run in own]
    tried = special[-_MOST_PROPOSALS:]
    whole = _shared_inputs(proposal, attached, evidence, options, history) if tried else None
    told = {run: _denied_actions(run, own[run], whole) for run in tried if whole}
    refused = {run: found for run, found in told.items() if found}
    return LeaveOneOutResult(len(judged_runs), refused, len(working & open_runs), len(special) - len(tried))


def _runs_not_allowed(proposal: Proposal, attached: Sequence[Document], evidence: Evidence) -> set[str]:
    """Runs with an allowed call that the proposal refuses, or of which it cannot be told."""
    documents = [*proposal.documents, *attached]
    found: set[str] = set()
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and usage.need.verified and not found.issuperset(usage.runs):
            said = replay_usage(usage, evidence.principal, documents)
            found.update(() if said <= {"allowed", "allowedInPart"} else usage.runs)
    return found


def _usages_of_single_runs(evidence: Evidence) -> dict[str, list[Usage]]:
    """Run id -> allowed usages that no other run has shown."""
    shown: dict[Permission, set[str]] = {}
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED:
            shown.setdefault(usage.need.permission, set()).update(usage.runs)
    found: dict[str, list[Usage]] = {}
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and len(shown[usage.need.permission]) == 1 and usage.need.verified:
            found.setdefault(usage.runs[0], []).append(usage)
    return found


def _is_denied(usage: Usage, principal: str, documents: Sequence[Document]) -> bool:
    return bool(replay_usage(usage, principal, documents) & {"implicitDeny", "explicitDeny"})


@dataclass(frozen=True, slots=True)
class _SharedInputs:
    """What is the same whichever run is left out: worked out once, since a policy may have thousands of entries."""

    committed: Document | None
    attached: Sequence[Document]
    evidence: Evidence
    options: Options
    history: History
    known: Confidences
    """What the proposal of all holds back stays held back: one run less is no reason to trust the others less."""
    break_glass_runs: frozenset[str]
    usages: tuple[ReplayedUsage, ...]
    entries: tuple[Entry, ...]
    """Those whose change could change the answer."""
    makers: Mapping[str, tuple[str, ...]]
    """Used action -> the used ones that make the things it is about."""
    kept: bool
    """Something of the committed policy stays in any case."""


def _shared_inputs(
    proposal: Proposal, attached: Sequence[Document], evidence: Evidence, options: Options, history: History
) -> _SharedInputs:
    committed = proposal.committed
    emergencies = break_glass_runs(evidence.runs, options.break_glass)
    every = entries_with_usage(committed, evidence) if committed else ()
    entries = tuple(_changeable_entries(every, proposal, evidence))
    denies = any(statement.effect == "Deny" for statement in committed.statements) if committed else False
    return _SharedInputs(
        committed,
        attached,
        evidence,
        replace(options, minimum_runs=max(options.minimum_runs - 1, 0), max_changes=0),
        replace(history, history_state=before_evidence(history.history_state, evidence.first)),
        confidences(evidence, without=emergencies),
        emergencies,
        replay_usages(evidence, [*([committed] if committed else []), *attached]),
        entries,
        creators_of(guard_context(evidence, options)),
        kept=denies or len(entries) < len(every),
    )


def _denied_actions(run: str, own: Sequence[Usage], whole: _SharedInputs) -> tuple[str, ...]:
    """The actions of a run's own usages that a proposal from the other runs would have refused."""
    left = {id(usage): _usage_without_run(usage, run) for usage in whole.evidence.usages if run in usage.runs}
    usages = [(kept, said) for usage, said in whole.usages if (kept := left.get(id(usage), usage))]
    others = _evidence_without_run(run, whole.evidence, tuple(usage for usage, _ in usages))
    actions = {usage.need.permission.action for usage in own}
    difference = classify(usages, tuple(_entry_without_run(entry, left) for entry in _relevant_entries(actions, left, whole)))
    made = propose(
        whole.committed,
        difference,
        others,
        whole.options,
        whole.history,
        whole.attached,
        whole.pseudo_parameters,
        packs=False,
    )
    documents = [*made.documents, *whole.attached]
    return tuple(
        sorted({usage.need.permission.action for usage in own if _is_denied(usage, whole.evidence.principal, documents)})
    )


def _relevant_entries(actions: Iterable[str], left: Mapping[int, Usage | None], whole: _SharedInputs) -> Sequence[Entry]:
    """Entries whose change says whether some actions stay allowed: those that name them, or what makes their things.

    Each entry is judged for itself. But a policy of which nothing would be left stays whole: where it could come to
    that, all entries matter.
    """
    named, fresh = set[str](), {*actions}
    while fresh:
        named |= fresh
        fresh = {maker for action in fresh for maker in whole.makers.get(action, ())} - named
    found, others = list[Entry](), list[Entry]()
    for entry in whole.entries:
        about = any(entry_names_action(entry.statement, entry.pattern, action) for action in named)
        (found if about else others).append(entry)
    kept = whole.kept or any(
        (kept := left.get(id(usage), usage))
        and kept.outcome is Outcome.ALLOWED
        and not is_break_glass_use(kept, whole.break_glass_runs)
        for entry in others
        for usages in entry.uses.values()
        for usage in usages
    )
    return found if kept else whole.entries


def _usage_without_run(usage: Usage, run: str) -> Usage | None:
    """A usage as it would be if the run had not been."""
    return None if usage.runs == (run,) else replace(usage, runs=tuple(each for each in usage.runs if each != run))


def _entry_without_run(entry: Entry, left: Mapping[int, Usage | None]) -> Entry:
    """An entry with what is left of its uses."""
    kept = {
        action: tuple(each for usage in usages if (each := left.get(id(usage), usage)))
        for action, usages in entry.uses.items()
    }
    return replace(entry, uses={action: usages for action, usages in kept.items() if usages})


def _evidence_without_run(run: str, evidence: Evidence, usages: tuple[Usage, ...]) -> Evidence:
    """The evidence as it would be if the run had not been; its span stays, for the trail was read all the same."""
    runs = tuple(each for each in evidence.runs if each.id != run)
    access = evidence.aws_findings.access
    hints = replace(evidence.aws_findings, access=report_without(access, evidence, usages) if access else None)
    return replace(evidence, usages=usages, groups=(), runs=runs, aws_findings=hints)


def _changeable_entries(entries: Iterable[Entry], proposal: Proposal, evidence: Evidence) -> Iterator[Entry]:
    """The entries without what cannot change the answer: a wildcard grants up to some twenty thousand actions.

    Actions that no run has used are left out, and with them whatever made an unchanged wildcard over all services stay.
    What `max-changes` had no room for stays too.
    """
    cut = {(held.sid, held.action, held.resources) for held in proposal.held_back if held.guard_result.guard == MAX_CHANGES}
    changed = {(change.statement, change.action) for change in proposal.changes if change.kind is not ChangeKind.ADD}
    used = {usage.need.permission.action for usage in evidence.usages}
    for entry in entries:
        if (entry.statement.sid, entry.pattern, entry.resources) in cut:
            continue
        if not spans_services(entry):
            yield entry
        elif (entry.statement.index, entry.pattern) in changed:
            yield replace(entry, granted=tuple(action for action in entry.granted if action in used))
