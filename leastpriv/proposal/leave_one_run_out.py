"""Leave one run out: whether a policy made from the other runs would have allowed what this run did.

The best guess at the next run: each run of the past was the next one once. A run whose every permission another run
has shown as well is allowed by the promise of the replay; for the others a proposal is made without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from leastpriv.diff.compare import Entry, Judged, effects, entries_in_use, judged, names_it, sorted_out
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, Permission, Usage
from leastpriv.policy.document import Document
from leastpriv.proposal.change_limit import GUARD as MAX_CHANGES
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.guards.aws import as_without
from leastpriv.proposal.guards.people_and_history import emergencies_of, is_emergency, older
from leastpriv.proposal.models import Draft, History, Options
from leastpriv.proposal.propose import propose, situation_of
from leastpriv.proposal.removals import spans_services
from leastpriv.proposal.resource_narrowing import makers_of

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
    judged_runs = [run.id for run in evidence.runs if run.id in working - open_runs]
    special = [run for run in judged_runs if run in own]
    tried = special[-_MOST_PROPOSALS:]
    whole = _whole(draft, attached, evidence, options, history) if tried else None
    told = {run: _refused(run, own[run], whole) for run in tried if whole}
    refused = {run: found for run, found in told.items() if found}
    return LeftOut(len(judged_runs), refused, len(working & open_runs), len(special) - len(tried))


def _not_allowed(draft: Draft, attached: Sequence[Document], evidence: Evidence) -> set[str]:
    """Runs with an allowed call that the proposal refuses, or of which it cannot be told."""
    documents = [*draft.documents, *attached]
    found: set[str] = set()
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and usage.need.verified and not found.issuperset(usage.runs):
            said = effects(usage, evidence.principal, documents)
            found.update(() if said <= {"allowed", "allowedInPart"} else usage.runs)
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
    return bool(effects(usage, principal, documents) & {"implicitDeny", "explicitDeny"})


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is the same whichever run is left out: worked out once, since a policy may have thousands of entries."""

    committed: Document | None
    attached: Sequence[Document]
    evidence: Evidence
    options: Options
    history: History
    known: Confidences
    """What the proposal of all holds back stays held back: one run less is no reason to trust the others less."""
    emergencies: frozenset[str]
    usages: tuple[Judged, ...]
    entries: tuple[Entry, ...]
    """Those whose change could change the answer."""
    makers: Mapping[str, tuple[str, ...]]
    """Used action -> the used ones that make the things it is about."""
    stays: bool
    """Something of the committed policy stays in any case."""


def _whole(
    draft: Draft, attached: Sequence[Document], evidence: Evidence, options: Options, history: History
) -> _Whole:
    committed = draft.committed
    emergencies = emergencies_of(evidence.runs, options.break_glass)
    every = entries_in_use(committed, evidence) if committed else ()
    entries = tuple(_open(every, draft, evidence))
    denies = any(statement.effect == "Deny" for statement in committed.statements) if committed else False
    return _Whole(
        committed,
        attached,
        evidence,
        replace(options, minimum_runs=max(options.minimum_runs - 1, 0), max_changes=0),
        replace(history, recollection=older(history.recollection, evidence.first)),
        confidences(evidence, without=emergencies),
        emergencies,
        judged(evidence, [*([committed] if committed else []), *attached]),
        entries,
        makers_of(situation_of(evidence, options)),
        stays=denies or len(entries) < len(every),
    )


def _refused(run: str, own: Sequence[Usage], whole: _Whole) -> tuple[str, ...]:
    """The actions of a run's own usages that a proposal from the other runs would have refused."""
    left = {id(usage): _left(usage, run) for usage in whole.evidence.usages if run in usage.runs}
    usages = [(kept, said) for usage, said in whole.usages if (kept := left.get(id(usage), usage))]
    others = _without(run, whole.evidence, tuple(usage for usage, _ in usages))
    actions = {usage.need.permission.action for usage in own}
    difference = sorted_out(usages, tuple(_used(entry, left) for entry in _that_matter(actions, left, whole)))
    made = propose(
        whole.committed,
        difference,
        others,
        whole.options,
        whole.history,
        whole.attached,
        whole.known,
        packs=False,
    )
    documents = [*made.documents, *whole.attached]
    return tuple(
        sorted({usage.need.permission.action for usage in own if _denied(usage, whole.evidence.principal, documents)})
    )


def _that_matter(actions: Iterable[str], left: Mapping[int, Usage | None], whole: _Whole) -> Sequence[Entry]:
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
        about = any(names_it(entry.statement, entry.pattern, action) for action in named)
        (found if about else others).append(entry)
    stays = whole.stays or any(
        (kept := left.get(id(usage), usage))
        and kept.outcome is Outcome.ALLOWED
        and not is_emergency(kept, whole.emergencies)
        for entry in others
        for usages in entry.uses.values()
        for usage in usages
    )
    return found if stays else whole.entries


def _left(usage: Usage, run: str) -> Usage | None:
    """A usage as it would be if the run had not been."""
    return None if usage.runs == (run,) else replace(usage, runs=tuple(each for each in usage.runs if each != run))


def _used(entry: Entry, left: Mapping[int, Usage | None]) -> Entry:
    """An entry with what is left of its uses."""
    kept = {
        action: tuple(each for usage in usages if (each := left.get(id(usage), usage)))
        for action, usages in entry.uses.items()
    }
    return replace(entry, uses={action: usages for action, usages in kept.items() if usages})


def _without(run: str, evidence: Evidence, usages: tuple[Usage, ...]) -> Evidence:
    """The evidence as it would be if the run had not been; its span stays, for the trail was read all the same."""
    runs = tuple(each for each in evidence.runs if each.id != run)
    access = evidence.hints.access
    hints = replace(evidence.hints, access=as_without(access, evidence, usages) if access else None)
    return replace(evidence, usages=usages, groups=(), runs=runs, hints=hints)


def _open(entries: Iterable[Entry], draft: Draft, evidence: Evidence) -> Iterator[Entry]:
    """The entries without what cannot change the answer: a wildcard grants up to some twenty thousand actions.

    Actions that no run has used are left out, and with them whatever made an unchanged wildcard over all services stay.
    What `max-changes` had no room for stays too.
    """
    cut = {(held.sid, held.action, held.resources) for held in draft.held_back if held.objection.guard == MAX_CHANGES}
    changed = {(change.statement, change.action) for change in draft.changes if change.kind is not ChangeKind.ADD}
    used = {usage.need.permission.action for usage in evidence.usages}
    for entry in entries:
        if (entry.statement.sid, entry.pattern, entry.resources) in cut:
            continue
        if not spans_services(entry):
            yield entry
        elif (entry.statement.index, entry.pattern) in changed:
            yield replace(entry, granted=tuple(action for action in entry.granted if action in used))
