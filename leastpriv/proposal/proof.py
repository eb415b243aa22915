"""What can be shown about a proposal: replay, no new access beyond the listed additions, runs left out, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leastpriv.diff.compare import Place, Verdict, decide, deciding, entries_of
from leastpriv.evidence.models import CallGroup, Evidence
from leastpriv.models import ChangeKind, Condition, Outcome, Permission
from leastpriv.policy.containment import contained, lost_denies
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.size import Kind, kind_of, quota, size_beside
from leastpriv.proposal.confidence import Confidences, chance, confidences
from leastpriv.proposal.guards.people_and_history import emergencies_of
from leastpriv.proposal.leave_one_run_out import LeftOut, leave_one_out
from leastpriv.proposal.models import Change, Draft, History, Options

_NOTHING_KNOWN = History()


@dataclass(frozen=True, slots=True)
class Replay:
    """Counts of the allowed calls of the evidence, judged again under the proposal and what else is attached."""

    recorded: int
    """All allowed calls."""
    allowed: int
    """Of these: allowed again, or in need of no permission."""
    in_part: int
    """Of the allowed ones: the record names the resource only in part, and the proposal allows a part of it."""
    unmapped: int
    """Not replayed: nobody knows for sure what they need."""
    uncertain: tuple[CallGroup, ...]
    """Allowed only if a condition holds that the record does not show."""
    refused: tuple[CallGroup, ...]
    """Would be refused."""

    @property
    def conditional(self) -> int:
        """Number of calls that hang on a condition."""
        return sum(group.count for group in self.uncertain)


@dataclass(frozen=True, slots=True)
class Proof:
    """All that a proposal can show for itself."""

    replay: Replay
    new_access: tuple[str, ...]
    """Grants of the proposal that neither the committed policy nor a listed addition covers; must be empty."""
    broken: tuple[str, ...]
    """Events that the committed policy allows and the proposal would refuse; must be empty."""
    seen_once: tuple[str, ...]
    """Used actions of narrowed wildcards that a single run alone has shown."""
    runs: int
    size_before: int
    sizes: tuple[int, ...]
    """Of the changed file, and of the new ones that it was split into."""
    kind: Kind
    """What the changed file is taken to be attached as; the new ones are managed policies."""
    fits: bool
    """Each is within its quota, and they are not too many for one role."""
    size_beside: int = 0
    """Of the other policies that share the quota: all inline policies of a role together have one."""
    unmade: tuple[str, ...] = ()
    """Listed removals of entries that the proposal still has; must be empty."""
    left_out: LeftOut | None = None
    """None where nobody asked."""
    allowances: tuple[Allowance, ...] = ()
    """What allows each replayed need, in the order of the calls."""
    confidence: Confidences | None = None
    """What the runs show of the permissions that the proposal grants; None where nobody asked."""
    by_action: Confidences | None = None
    """The same of actions whatever their resource, which is what the guard `minimum-confidence` looks at."""

    @property
    def chance(self) -> float:
        """The chance, from 0 to 1, that the next run needs something that the result lacks (`confidence.chance`).

        By the runs left out, where there are some to judge; else by those that used something of their own.
        """
        if self.left_out and self._tried:
            return chance(len(self.left_out.refused), self._tried)
        return self.confidence.whole.chance if self.confidence else chance(0, 0)

    @property
    def chance_runs(self) -> int:
        """How many runs `chance` rests on: fewer than there are where some could not be left out and judged."""
        return self._tried or (self.confidence.whole.runs if self.confidence else 0)

    @property
    def _tried(self) -> int:
        return self.left_out.runs - self.left_out.untried if self.left_out else 0

    @property
    def size_after(self) -> int:
        """Size of the changed file."""
        return self.sizes[0]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the policies say to one need of the recorded allowed calls in one region."""

    permission: Permission
    region: str
    effect: Verdict
    document: Document | None
    """The policy that decides: one of the proposal's, or another attached one; None where none does."""
    statement: Statement | None


def prove(
    draft: Draft,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options | None = None,
    history: History = _NOTHING_KNOWN,
) -> Proof:
    """Replays every allowed call against the draft and the attached policies, and checks what it grants anew.

    With the `options` that the draft was made with, each run is left out once as well.
    """
    documents = [*draft.documents, *attached]
    emergencies = emergencies_of(evidence.runs, options.break_glass if options else ())
    after = replay(evidence, documents)
    before = replay(evidence, [draft.committed, *attached]) if draft.committed else None
    kind = kind_of(draft.committed or draft.document, evidence.principal)
    sizes = tuple(policy_size(document) for document in draft.documents)
    beside = size_beside(kind, attached, evidence.principal)
    return Proof(
        replay=after,
        new_access=tuple(_new_access(draft)),
        broken=_broken(before, after),
        seen_once=_seen_once(draft.changes),
        runs=len(evidence.runs),
        size_before=policy_size(draft.committed) if draft.committed else 0,
        sizes=sizes,
        kind=kind,
        unmade=tuple(_unmade(draft)),
        size_beside=beside,
        fits=sizes[0] + beside <= quota(kind) and (draft.packed is None or draft.packed.fits),
        left_out=leave_one_out(draft, attached, evidence, options, history) if options else None,
        allowances=tuple(_allowances(evidence, documents)),
        confidence=confidences(evidence, documents, emergencies),
        by_action=confidences(evidence, without=emergencies),
    )


def _allowances(evidence: Evidence, documents: Sequence[Document]) -> Iterator[Allowance]:
    asked = {
        (need, region): None
        for group in evidence.groups
        if group.outcome is Outcome.ALLOWED
        for need in group.needs
        if need.verified
        for region in group.regions
    }
    # Needs that differ in how they became known alone are one to the reader.
    told: dict[tuple[Permission, str, Verdict, Place | None], None] = {}
    for need, region in asked:
        told.setdefault((need.permission, region, *deciding(need, evidence.principal, region, documents)))
    for permission, region, effect, place in told:
        document = documents[place[0]] if place else None
        statement = document.statements[place[1]] if place and document else None
        yield Allowance(permission, region, effect, document, statement)


def replay(evidence: Evidence, documents: Sequence[Document]) -> Replay:
    """Judges the allowed calls again; calls that need the same permissions are judged once."""
    allowed = evidence.counts.no_permission
    in_part = 0
    uncertain: list[CallGroup] = []
    refused: list[CallGroup] = []
    for group in evidence.groups:
        if group.outcome is not Outcome.ALLOWED or not all(need.verified for need in group.needs):
            continue
        effects = {
            decide(need, evidence.principal, region, documents) for need in group.needs for region in group.regions
        }
        if effects <= {"allowed", "allowedInPart"}:
            allowed += group.count
            in_part += group.count if "allowedInPart" in effects else 0
        elif effects <= {"allowed", "allowedInPart", "unknown"}:
            uncertain.append(group)
        else:
            refused.append(group)
    counts = evidence.counts
    return Replay(counts.allowed, allowed, in_part, counts.unmapped, tuple(uncertain), tuple(refused))


def _broken(before: Replay | None, after: Replay) -> tuple[str, ...]:
    """Events that are worse off after the change; without a policy before, nothing can break."""
    if before is None:
        return ()
    refused, open_before = set(before.refused), {*before.refused, *before.uncertain}
    worse = [group for group in after.refused if group not in refused]
    worse += [group for group in after.uncertain if group not in open_before]
    return tuple(dict.fromkeys(group.event for group in worse))


def _new_access(draft: Draft) -> list[str]:
    """Action and resource entries of the result whose access is neither committed nor listed (promise 3).

    Exact for wildcards; where conditions or policy variables leave it open, the entry counts as new. A Deny that is
    gone counts even where this document allows nothing of it: what else is attached may.
    """
    committed = [draft.committed] if draft.committed else []
    listed = [
        Permission(change.action, resource, change.conditions)
        for change in draft.changes
        if change.kind is ChangeKind.ADD
        for resource in change.resources
    ]
    found = [
        f"{excess.action} on {excess.resource}" for excess in contained(committed, draft.documents, listed).excesses
    ]
    denies = lost_denies(committed, draft.documents)
    return found + [f"a Deny is gone: {deny.sid or deny.index}" for deny in denies]


def _unmade(draft: Draft) -> Iterator[str]:
    """Entries that a listed change takes away and that stand in as many statements as before.

    Not asked of a policy that was packed: there statements become others.
    """
    packed = draft.packed
    if draft.committed is None or (packed and (packed.merged or packed.folds or packed.further)):
        return
    before, after = _named([draft.committed]), _named(draft.documents)
    gone, written = Counter[_Named](), Counter[_Named]()
    for change in draft.changes:
        if change.kind is ChangeKind.ADD:
            written[change.action.lower(), frozenset(change.resources), frozenset(), change.conditions] += 1
            continue
        statement = draft.committed.statements[change.statement]
        gone.update([_named_entry(statement, entry) for entry in entries_of(statement) if entry == change.action])
        written.update(_named_entry(statement, entry) for entry in change.becomes)
        name = change.used[0] if change.onto and change.used else change.action
        written[name.lower(), frozenset(change.onto), frozenset(), statement.conditions] += 1
    for entry, count in gone.items():
        if after[entry] > before[entry] - count + written[entry]:
            yield f"{entry[0]} is still there"


_Named = tuple[str, frozenset[str], frozenset[str], tuple[Condition, ...]]
"""An entry in lower case, and what its statement says beside it."""


def _named(documents: Sequence[Document]) -> Counter[_Named]:
    return Counter(
        _named_entry(statement, entry)
        for document in documents
        for statement in document.statements
        if statement.effect == "Allow"
        for entry in entries_of(statement)
    )


def _named_entry(statement: Statement, entry: str) -> _Named:
    resources, others = frozenset(statement.resources), frozenset(statement.not_resources)
    return entry.lower(), resources, others, statement.conditions


def _seen_once(changes: Sequence[Change]) -> tuple[str, ...]:
    runs: dict[str, set[str]] = {}
    for change in changes:
        if change.kind is ChangeKind.NARROW:
            for usage in change.usages:
                runs.setdefault(usage.need.permission.action, set()).update(usage.runs)
    return tuple(sorted(action for action, seen in runs.items() if len(seen) == 1))
