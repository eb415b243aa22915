"""Types of a proposal: options, the context of guards, changes, the results of AWS's checks, and
identifiers.

By its fingerprint a proposal is made once; by its id a declined change is not proposed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct, field

from leastpriv.cloudtrail.coverage import DataStream, Period
from leastpriv.diff.compare import Entry
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.usage_history import Returned, RevertedRemoval, UsageHistory
from leastpriv.models import Basis, ChangeKind, Condition, Gap, Need, Permission, Usage
from leastpriv.permissions.generalize import Pattern
from leastpriv.permissions.names.observed import UNDECLARED, DeclaredCopies
from leastpriv.permissions.patterns import resource_covers
from leastpriv.policy.document import Document
from leastpriv.policy.size import PackedPolicy
from leastpriv.proposal.confidence import Confidences

DRAFT_ID = "first-draft"
"""A first draft is one change: a part of it would not be enough for a deploy."""
_MOST_ACTION_IDS = 400
"""Ids of single actions; one that is left out is known by its entry."""


def fingerprint(scope: str, committed: bytes | None, *proposed: bytes) -> str:
    """32 hexadecimal digits: 8 of the scope (principal and file), 24 of the committed and the
    proposed files.
    """
    parts = [
        scope,
        *(hashlib.sha256(content).hexdigest() for content in (committed or b"", *proposed)),
    ]
    return _hash([scope])[:8] + _hash(parts)[:24]


def change_ids(proposal: Proposal) -> tuple[str, ...]:
    """Ids of a proposal's changes, unique: of each added permission, each removed or narrowed entry
    and each removed action, on each resource.

    By its actions a removal is known after a person has rewritten the entry.
    """
    if proposal.committed is None:
        return (DRAFT_ID,)
    ids: list[str] = []
    actions: list[str] = []
    for change in proposal.changes:
        if change.kind is ChangeKind.ADD:
            ids.extend(addition_id(change.action, resource) for resource in change.resources)
            continue
        ids.extend(removal_ids(change.action, change.resources))
        for action in change.removed_actions:
            actions.extend(removal_ids(action, change.resources))
    return tuple(dict.fromkeys([*ids, *actions[:_MOST_ACTION_IDS]]))


def named_additions(proposal: Proposal) -> tuple[Permission, ...]:
    """Returns the additions among the changes of a proposal, or all that a first draft has."""
    return tuple(
        Permission(change.action, resource)
        for change in proposal.changes
        if change.kind is ChangeKind.ADD
        for resource in change.resources
    )


def ids_with_scope(scope: str, changes: Iterable[str]) -> tuple[str, ...]:
    """Ids of one target's changes within a grouped pull request; `scope`: the first eight digits of
    its fingerprint.
    """
    return tuple(f"{scope}-{change}" for change in changes)


def ids_of_scope(changes: Iterable[str], scope: str) -> tuple[str, ...]:
    """The ids of one target among those of a grouped pull request, without the scope."""
    return tuple(
        change.removeprefix(f"{scope}-") for change in changes if change.startswith(f"{scope}-")
    )


def addition_id(action: str, resource: str) -> str:
    """Twelve hexadecimal digits of an action added on one resource."""
    return _hash(["+", action, resource])[:12]


def removal_ids(action: str, resources: Iterable[str]) -> list[str]:
    """Twelve hexadecimal digits for each resource of a removed or narrowed entry, or of a removed
    action, in whichever statement and file.
    """
    return [_removal_id(action.lower(), resource) for resource in resources]


@lru_cache(100_000)
def _removal_id(action: str, resource: str) -> str:
    return _hash(["-", action, resource])[:12]


def entry_id(entry: str, sid: str, resources: Iterable[str]) -> str:
    """Twelve hexadecimal digits of an entry in its statement, as a finding names it."""
    return _hash(["-", entry, sid, sorted(resources)])[:12]


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class UnknownRefs(StrEnum):
    """What becomes of additions by runs whose ref is not known."""

    MARK = "mark"
    REFUSE = "refuse"
    REFUSE_SENSITIVE = ""
    """Sensitive actions are not written, others are marked."""


class UnseenServices(StrEnum):
    """What becomes of a wildcard's grant of a service without any call."""

    KEEP = "keep"
    DROP = "drop"
    BY_ENTRY = ""
    """An entry that spans services (`*`, NotAction) loses it; an entry that names the service keeps
    it.
    """


class Lifecycle(StrEnum):
    """What becomes of actions that no run used and the life cycle of a used resource needs."""

    ALL = "all"
    """Also the deletions that are only offered otherwise (`Proposal.offered`)."""
    WRITE = "write"
    OFFER = "offer"
    """The report offers them; narrowed wildcards and first drafts lack them."""
    OFF = "off"

    @property
    def writes(self) -> bool:
        """Whether the life cycle is written."""
        return self in (Lifecycle.WRITE, Lifecycle.ALL)


class CompleteAdditions(StrEnum):
    """What becomes of what the step of a denied call usually needs besides."""

    OFFER = "offer"
    WRITE = "write"
    """It is written, except sensitive actions, deletions and writes to any resource of a type."""


class Options(Struct, frozen=True):
    """The user's limits for removals and additions."""

    minimum_days: int = 35
    minimum_runs: int = 5
    minimum_confidence: int = 0
    """In percent."""
    grace_days: int = 0
    break_glass: tuple[str, ...] = ()
    """Shell patterns of session names."""
    max_changes: int | None = None
    """0: no limit; None: removals come in portions after a gap, and once a proposal was merged."""
    unseen_services: UnseenServices = UnseenServices.BY_ENTRY
    drop_unseen_actions: bool = False
    """Whether a wildcard loses actions whose use the evidence may not show."""
    lifecycle: Lifecycle = Lifecycle.WRITE
    complete_additions: CompleteAdditions = CompleteAdditions.OFFER
    only_plans: bool = False
    """Whether the role shows changes and does not make them."""
    keep: tuple[str, ...] = ()
    never_add: tuple[str, ...] = ()
    unknown_refs: UnknownRefs = UnknownRefs.REFUSE_SENSITIVE
    reviewed_refs: tuple[str, ...] = ()
    """Further branches, refs (`refs/tags/v*`) and environments (`environment:prod`) whose runs are
    reviewed.
    """
    exact_resources: bool = False
    copies: DeclaredCopies = UNDECLARED
    """The copies of the app that the user names."""
    keep_forms: bool = False
    """Additions use the resource patterns of the committed policy."""


class HistoryState(Struct, frozen=True):
    """The usage history before the evidence; empty if no history is configured."""

    memory: UsageHistory | None = None
    trouble: str = ""
    """Why the history could not be read; nothing is removed then."""
    left_out: int = 0
    """Number of unreadable rows."""
    counterparts: Mapping[str, str] = {}
    """Lifecycle counterpart -> the action of the history that it belongs to."""
    today: date | None = None
    """Day of this run."""
    returned: Mapping[str, Returned] = {}
    """What came back after removals, by prefix of the service (`UsageHistory`)."""

    def reverted_removal(self, action: str, resources: Iterable[str]) -> RevertedRemoval | None:
        """Returns the latest denial or new grant of an action after its removal, on one of these
        resource patterns.
        """
        if self.memory is None or not self.returned:
            return None
        service = action.partition(":")[0].lower()
        rows = {**self.returned.get("", {}), **self.returned.get(service, {})}
        return self.memory.reverted_removal(action, resources, rows)


class OfferCommand(Struct, frozen=True):
    """A person's command about offered actions in a comment."""

    pattern: str
    takes: bool
    """`/leastpriv add`; false: `/leastpriv forget`, which takes an earlier one back."""


NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Before any evidence."""


class Decline(Struct, frozen=True, order=True):
    """How a person declined a change."""

    pull: int
    """Number of the pull request that was closed unmerged with it, or was reverted; 0 where the
    revert names none.
    """
    by_commit: bool = False
    """A commit on its branch took the addition away."""
    commit: str = ""
    """The commit that deleted the addition on the base branch, after the merge; empty: none."""
    at: datetime = NO_TIME
    """When that commit came to the base branch (aware, UTC)."""

    @property
    def words(self) -> str:
        """The end of a sentence."""
        if self.commit:
            what = f"what #{self.pull} added" if self.pull else "the addition of a merged proposal"
            return (
                f"declined by commit {self.commit[:7]} of {self.at:%Y-%m-%d}, which deletes {what}"
            )
        if self.by_commit:
            return f"declined by a commit on the branch of #{self.pull}"
        return f"declined in #{self.pull}" if self.pull else "declined by a commit that reverts it"


class DeclinedNames(Struct, frozen=True):
    """An addition that a person declined, in clear."""

    action: str
    resource: str
    decline: Decline

    def covers(self, name: str) -> bool:
        """Whether it covers a name; `*` names nothing."""
        return self.resource != "*" and resource_covers(self.resource, name)


class History(Struct, frozen=True):
    """What the repository's history shows; empty if it was not read."""

    declined: Mapping[str, Decline] = {}
    """By id of a change (`change_ids`)."""
    declined_names: Mapping[str, Sequence[DeclinedNames]] = {}
    """By action in lower case: the declined additions whose names are known."""
    deleted: Mapping[str, Sequence[DeclinedNames]] = {}
    """By action in lower case: the merged additions that a person deleted later. Evidence after
    that commit ends such a decline.
    """
    changed: datetime | None = None
    """Time of the policy file's last change; None if unknown."""
    history_state: HistoryState = HistoryState()
    offer_commands: tuple[OfferCommand, ...] = ()
    """The commands about offers under the open pull request, the oldest first."""
    removed: Mapping[Permission, int] = {}
    """Denied permission -> number of the merged pull request that had removed it."""
    was_merged: bool = False
    """Whether a proposal for the policy was merged before."""
    earlier: Document | None = None
    """The policy before the grace period, or its first version if the file is younger.

    None if it is unknown or has not changed since.
    """

    def decline_of(self, action: str, resource: str) -> Decline | None:
        """Returns how a person declined to add an action on a resource, or on a pattern that covers
        it; None if no person did.
        """
        exact = self.declined.get(addition_id(action, resource))
        if exact:
            return exact
        declined_names = self.declined_names.get(action.lower(), ())
        covering = (names.decline for names in declined_names if names.covers(resource))
        return max(covering, default=None)

    def deletion_of(self, action: str, resource: str) -> Decline | None:
        """Returns the latest commit that deleted the addition of an action on a resource, or on a
        pattern that covers it; None if no commit did.
        """
        deleted_names = self.deleted.get(action.lower(), ())
        deletions = (
            names.decline
            for names in deleted_names
            if names.resource == resource or names.covers(resource)
        )
        return max(deletions, key=lambda decline: decline.at, default=None)


class ProposalInputs(Struct, frozen=True):
    """Inputs of a proposal besides policy, evidence and options."""

    history: History = field(default_factory=History)
    attached: Sequence[Document] = ()
    """The role's other policies."""
    confidence: Confidences | None = None
    """Replaces the confidence computed from the evidence; used when runs are left out."""
    writes: bool = True
    """Whether the policy is written, and compacted or split if it is above its quota; without it,
    the result can only be evaluated.
    """


class PlaceOfStep(Struct, frozen=True):
    """Where an action belongs to the step of a denied call."""

    resource: str
    because: str
    """The denied action."""


def _no_places(_action: str) -> Sequence[PlaceOfStep]:
    return ()


class UnusedDeletions(Struct, frozen=True):
    """What becomes of a deletion that no run used and the life cycle of what runs made may need."""

    written: tuple[Change, ...] = ()
    """On resources of short-lived copies."""
    offered: tuple[Change, ...] = ()
    """On all others."""
    spared: tuple[str, ...] = ()
    """Names of long-lived copies that the written patterns cover."""


def _no_deletions(_action: str) -> UnusedDeletions:
    return UnusedDeletions()


class RecordedStream(Struct, frozen=True):
    """Data events of one operation under one prefix, with their days."""

    stream: DataStream
    days: int
    """As a mask (`mask_of`)."""


class GuardContext(Struct, frozen=True):
    """All inputs of the guards."""

    evidence: Evidence
    options: Options
    used: Mapping[str, Sequence[Usage]]
    """Catalogue action -> its usages, through any statement."""
    counterparts: Mapping[str, str]
    """Lifecycle counterpart -> the used action that it belongs to."""
    partners: Mapping[str, tuple[str, ...]]
    """Life-cycle action of the deploying tools -> the used actions that it belongs to."""
    history: History
    policies: Sequence[Document]
    """All known policies of the principal."""
    unexplained: frozenset[str]
    """Actions with an allowed call that no known policy grants."""
    separate_runs: int
    """Number of runs without a denial, as `minimum-runs` counts them."""
    fewest_runs_of: str
    """Label of the user with the fewest of these runs; empty where the policy has one user."""
    last_recorded: Mapping[str, datetime]
    """Service -> time of its last recorded call (`guards.aws.last_recorded`)."""
    confidence: Confidences
    """Confidence per service of the recorded actions."""
    break_glass_runs: frozenset[str]
    """Ids of the runs in break-glass sessions."""
    uncounted_runs: frozenset[str]
    """Ids of the runs that count for no threshold: break-glass sessions and unreviewed runs."""
    called: Mapping[str, bool]
    """Operation -> whether a call of it was carried out (`guards.carriers.called_operations`)."""
    recorded: frozenset[str]
    """Operations of which the evidence has a management event, of any principal."""
    data_streams: Mapping[str, Sequence[RecordedStream]]
    """Bucket, or ARN of another resource -> its recorded data events."""
    whole_days: Period | None
    """First and last day that the records should show in whole."""
    may_call: Callable[[str], bool]
    """Whether the principal may call an operation, as far as known policies show."""
    programs: Mapping[str, frozenset[str]]
    """Service with at least one call -> programs that called it directly (`Usage.programs`)."""
    open_gaps: tuple[Gap, ...] = ()
    """Gaps of the evidence without the silences that other days settle."""
    denied_steps: Callable[[str], Sequence[PlaceOfStep]] = _no_places
    """Returns where an action belongs to the step of a denied and since granted call."""
    unused_deletions: Callable[[str], UnusedDeletions] = _no_deletions
    """Returns on which resources a first draft would write an unused deletion, and on which it
    would offer it.
    """


class RemovalCandidate(Struct, frozen=True):
    """An action that an entry would no longer grant."""

    action: str
    entry: Entry


class GuardResult(Struct, frozen=True):
    """The guard that holds a change back, and its reason."""

    guard: str
    reason: str


class Change(Struct, frozen=True):
    """One edit of the committed policy."""

    kind: ChangeKind
    action: str
    """The committed entry as written (remove, narrow) or the catalogue action (add)."""
    resources: tuple[str, ...]
    statement: int = -1
    """Index in the committed document; -1 for additions."""
    sid: str = ""
    line: int = 0
    """1-based line of the statement in the committed file; 0 for additions."""
    granted: int = 1
    """Number of actions that the entry granted."""
    removed_actions: tuple[str, ...] = ()
    """Catalogue actions that the entry no longer grants."""
    used: tuple[str, ...] = ()
    replacement: tuple[str, ...] = ()
    """Entries that replace this one (narrow)."""
    kept: Mapping[str, GuardResult] | None = None
    """Unused actions of a narrowed wildcard that remain granted, with the guard that keeps each."""
    unproven: Mapping[str, GuardResult] | None = None
    """Removed actions of a narrowed wildcard whose use the evidence may not show, with the guard
    that doubts.
    """
    basis: Basis | None = None
    usages: tuple[Usage, ...] = ()
    security: str = ""
    """Why a security reviewer should look, or empty."""
    patterns: tuple[Pattern, ...] = ()
    """Origin of each of `resources` or `restricted_to`: the ARNs that it covers and the reason of
    each wildcard.
    """
    restricted_to: tuple[str, ...] = ()
    """Resources that replace `*` for an action that remains granted."""
    conditions: tuple[Condition, ...] = ()
    """Conditions of an addition or of a restriction, all of which its calls met."""
    denied_on: tuple[str, ...] = ()
    """Of an addition that destroys: names of long-lived copies that its patterns cover, and that a
    Deny next to it leaves out.
    """
    may_destroy: tuple[str, ...] = ()
    """Of an addition: names that it newly allows to delete, of long-lived copies or of no known
    copy, and that no run deleted.
    """
    declared_by: tuple[str, ...] = ()
    """Of an addition of basis declared: the resources that need it, as `AWS::SQS::Queue Orders
    (create)`.
    """
    because: str = ""
    """Of a life-cycle addition: the added actions that it belongs to."""
    usual_as: str = ""
    """Of what the step of a denied action usually needs besides, and no run was denied yet: why."""
    removed_by: int = 0
    """Of an addition: number of the pull request that had removed it before it was denied; 0: none.
    """
    declined_before: Mapping[str, Decline] | None = None
    """Of an addition: the names that a pattern covers and a person declined before, while runs used
    further ones; and those that a commit deleted and that runs needed since.
    """
    closes: tuple[str, ...] = ()
    """Ids of the paths to administrator (`escalation.tsv`) that it helps to close, the most
    dangerous first.
    """

    def kept_by(self, guard: str) -> list[str]:
        """Returns the unused actions that one guard keeps."""
        kept = (self.kept or {}).items()
        return [action for action, result in kept if result.guard == guard]

    @property
    def restricted_action(self) -> str:
        """The action whose resources are restricted: a used one, or one of the life cycle."""
        return self.used[0] if self.used else self.action


class DeclaredState(StrEnum):
    """What becomes of a permission that a template or plan needs; there is no fourth state."""

    WRITTEN = "written"
    """The proposal writes it; a review has it among the statements to copy."""
    TOLD = "told"
    """A rule forbids to write it: the report names it with the reason."""
    NOT_NEEDED = "not-needed"
    """It is granted already, or the runs need it as well."""


class DeclaredNeed(Struct, frozen=True):
    """A permission that a template or plan needs, and what becomes of it, the same in a draft and
    in a review.
    """

    need: Need
    state: DeclaredState
    reason: str = ""
    """Why it is not written; empty for a written one."""
    guard_result: GuardResult | None = None
    """The rule of a need that is reported and not written."""

    @property
    def is_lacking(self) -> bool:
        """Whether neither a policy nor an addition for the runs grants it."""
        return self.state is not DeclaredState.NOT_NEEDED


NOT_EDITABLE = "not-editable"
"""Name of the guard of what the file cannot take safely."""


class HeldBackChange(Struct, frozen=True):
    """A change that a guard held back."""

    kind: ChangeKind
    action: str
    resources: tuple[str, ...]
    guard_result: GuardResult
    sid: str = ""
    usages: tuple[Usage, ...] = ()
    conditions: tuple[Condition, ...] = ()
    """Of an addition that a person may write by hand."""


BREAKS = "Breaks on"
"""Begins a note on a written name that the next run may not have."""


class Release(Struct, frozen=True):
    """What would no longer be held back with other values of some inputs."""

    settings: Mapping[str, str]
    """Input -> value."""
    removals: int
    """Number of actions that would be removed."""
    narrowings: int = 0
    """Number of actions whose resources would be narrowed."""

    @property
    def size(self) -> int:
        """Number of changes."""
        return self.removals + self.narrowings


class Proposal(Struct, frozen=True):
    """The edited policy, its changes and the changes held back, before the proof."""

    committed: Document | None
    document: Document
    content: bytes
    changes: tuple[Change, ...]
    held_back: tuple[HeldBackChange, ...]
    held_back_additions: tuple[HeldBackChange, ...]
    """Additions that a denied or recorded call needs and that a rule forbids."""
    held_back_restrictions: tuple[HeldBackChange, ...] = ()
    """Used actions that remain granted on `*`, with the guard."""
    packed: PackedPolicy | None = None
    """How `document` was brought within AWS's quotas; None if it was not changed."""
    offered: tuple[Change, ...] = ()
    """Permissions that a person may add: deletions in long-lived copies, of shared state and of
    ids, and those that the steps of denied calls usually need besides.
    """
    waiting: tuple[Change, ...] = ()
    """Those of `offered` that a person or an option asks for, and that `max-changes` leaves for a
    later pull request.
    """
    notes: tuple[str, ...] = ()
    """What the names of the app do not show, and which written names hold a date, in sentences."""
    releases: tuple[Release, ...] = ()
    """Where inputs hold everything back: the values that would release the most."""
    to_paste: tuple[Change, ...] = ()
    """Changes that are held back only because the file cannot take them."""
    declared: tuple[DeclaredNeed, ...] = ()
    """What becomes of each need of templates and plans, in a first draft."""

    def held_back_as(self, guard: str) -> tuple[HeldBackChange, ...]:
        """Returns what one guard holds back."""
        held_changes = (*self.held_back, *self.held_back_additions, *self.held_back_restrictions)
        return tuple(
            held_change for held_change in held_changes if held_change.guard_result.guard == guard
        )

    @property
    def documents(self) -> tuple[Document, ...]:
        """The edited document and the additional ones that it was split into."""
        return (self.document, *(self.packed.further if self.packed else ()))


class Severity(StrEnum):
    """Severity of a check's finding, highest first; the middle four are Access Analyzer's."""

    DISAGREES = "disagrees"
    """The check contradicts our own evaluation of the policies."""
    ERROR = "error"
    SECURITY_WARNING = "security-warning"
    WARNING = "warning"
    SUGGESTION = "suggestion"


class CheckFinding(Struct, frozen=True):
    """One finding of an AWS check; its text is untrusted."""

    severity: Severity
    code: str
    """AWS's name for the finding (`PASS_ROLE_WITH_STAR_IN_RESOURCE`), else ours."""
    text: str
    file: str
    line: int = 0
    """1-based line of the file; 0 if the finding has no location."""
    link: str = ""
    """Page that explains the finding."""
    in_committed_policy: bool = False
    """The committed policy has the same finding."""


class CheckResult(Struct, frozen=True):
    """The result of one AWS check of the proposal, or why it did not run."""

    operation: str
    """The API operation, `ValidatePolicy`."""
    asked: int
    """Number of policies, or of pairs of action and resource, that were checked."""
    findings: tuple[CheckFinding, ...] = ()
    skipped_sources: tuple[str, ...] = ()
    """What was not checked, and why, in sentences."""
    failure: str = ""
    """Why the check failed, in a sentence; earlier findings remain."""

    @property
    def disagreements(self) -> tuple[CheckFinding, ...]:
        """Findings that contradict our own evaluation."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.DISAGREES)
