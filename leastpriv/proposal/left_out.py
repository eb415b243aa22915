"""Leave one run out: whether a policy made from the other runs would have allowed what this run did.

The best guess at the next run: each run of the past was the next one once. A run whose every permission another run
has shown as well is allowed by the promise of the replay; for the others a proposal is made without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from leastpriv.diff.compare import Difference, Verdict, compare, decide
from leastpriv.evidence.usage import Evidence
from leastpriv.model import ChangeKind, Outcome, Permission, Usage
from leastpriv.policy.document import Document
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.emergencies import emergencies_of
from leastpriv.proposal.last_accessed import as_without
from leastpriv.proposal.most_certain import GUARD as MAX_CHANGES
from leastpriv.proposal.narrow import spans_services
from leastpriv.proposal.propose import propose
from leastpriv.proposal.remembered import older
from leastpriv.proposal.situation import Draft, History, Options

_MOST_PROPOSALS = 40
"""Each takes some hundredths of a second: of more runs with something of their own, the latest are tried."""


@dataclass(frozen=True, slots=True)
class LeftOut:
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
    draft: Draft, attached: Sequence[Document], evidence: Evidence, options: Options, history: History
) -> LeftOut:
    """Leaves out each run once. Only runs that the proposal of all allows count: the rest is told by the replay."""
    own = _of_one_run(evidence)
    working = {run for usage in evidence.usages if usage.outcome is Outcome.ALLOWED for run in usage.runs}
    open_runs = _not_allowed(draft, attached, evidence)
    judged = [run.id for run in evidence.runs if run.id in working - open_runs]
    special = [run for run in judged if run in own]
    tried = special[-_MOST_PROPOSALS:]
    left = replace(options, minimum_runs=max(options.minimum_runs - 1, 0), max_changes=0)
    history = replace(history, recollection=older(history.recollection, evidence.first))
    known = confidences(evidence, without=emergencies_of(evidence.runs, options.break_glass))
    told = {run: _refused(run, own[run], draft, attached, evidence, left, history, known) for run in tried}
    refused = {run: found for run, found in told.items() if found}
    return LeftOut(len(judged), refused, len(working & open_runs), len(special) - len(tried))


def _not_allowed(draft: Draft, attached: Sequence[Document], evidence: Evidence) -> set[str]:
    """Runs with an allowed call that the proposal refuses, or of which it cannot be told."""
    documents = [*draft.documents, *attached]
    found: set[str] = set()
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and usage.need.verified and not found.issuperset(usage.runs):
            effects = _effects(usage, evidence.principal, documents)
            found.update(() if effects <= {"allowed", "allowedInPart"} else usage.runs)
    return found


def _of_one_run(evidence: Evidence) -> dict[str, list[Usage]]:
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


def _denied(usage: Usage, principal: str, documents: Sequence[Document]) -> bool:
    return bool(_effects(usage, principal, documents) & {"implicitDeny", "explicitDeny"})


def _effects(usage: Usage, principal: str, documents: Sequence[Document]) -> set[Verdict]:
    return {decide(usage.need, principal, region, documents) for region in usage.regions or ("",)}


def _refused(
    run: str,
    own: Iterable[Usage],
    draft: Draft,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options,
    history: History,
    known: Confidences,
) -> tuple[str, ...]:
    others = _without(run, evidence)
    difference = _judged(compare(draft.committed, attached, others), draft, evidence)
    # What the proposal of all holds back stays held back: one run less is no reason to trust the others less.
    made = propose(draft.committed, difference, others, options, history, confidence=known)
    documents = [*made.documents, *attached]
    return tuple(
        sorted({usage.need.permission.action for usage in own if _denied(usage, evidence.principal, documents)})
    )


def _without(run: str, evidence: Evidence) -> Evidence:
    """The evidence as it would be if the run had not been; its span stays, for the trail was read all the same."""
    usages = [
        replace(usage, runs=tuple(each for each in usage.runs if each != run)) if run in usage.runs else usage
        for usage in evidence.usages
        if usage.runs != (run,)
    ]
    runs = tuple(each for each in evidence.runs if each.id != run)
    access = evidence.hints.access
    hints = replace(evidence.hints, access=as_without(access, evidence, tuple(usages)) if access else None)
    return replace(evidence, usages=tuple(usages), groups=(), runs=runs, hints=hints)


def _judged(difference: Difference, draft: Draft, evidence: Evidence) -> Difference:
    """The difference without what cannot change the answer: a wildcard grants up to some twenty thousand actions.

    Actions that no run has used are left out, and with them whatever made an unchanged wildcard over all services stay.
    What `max-changes` had no room for stays too.
    """
    cut = {(held.sid, held.action, held.resources) for held in draft.held_back if held.objection.guard == MAX_CHANGES}
    changed = {(change.statement, change.action) for change in draft.changes if change.kind is not ChangeKind.ADD}
    used = {usage.need.permission.action for usage in evidence.usages}
    entries = tuple(
        replace(entry, granted=tuple(action for action in entry.granted if action in used or not entry.is_wildcard))
        for entry in difference.entries
        if (entry.statement.sid, entry.pattern, entry.resources) not in cut
        if not spans_services(entry) or (entry.statement.index, entry.pattern) in changed
    )
    return replace(difference, entries=entries)
