"""Decides the one instruction of a result by one table over the ledger and the chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind
from leastpriv.permissions.catalog import sensitivity
from leastpriv.proposal.aws_guards import limiting_regions
from leastpriv.proposal.chance import QUIET_RUNS, Chance, DenialCause, Word
from leastpriv.proposal.ledger import GrantState, Ledger
from leastpriv.proposal.models import (
    Change,
    CheckResult,
    GuardResult,
    HeldBackChange,
    Proposal,
)
from leastpriv.proposal.origins import uncounted_runs
from leastpriv.proposal.proof import Proof
from leastpriv.proposal.self_widening import DENIAL_BUDGET

_OF_TIME_AND_PLACE = frozenset({"minimum-days", "minimum-runs", "region-not-read", "not-recorded"})
"""Guards that name what the evidence lacks of days, runs and regions."""
_ACTIONS_OF_A_PROBE = 20
"""Different denied actions, without any success, that look like a probe and not like a deploy."""
NOT_EDITABLE = "not-editable"
"""Guard of a change that the file does not take."""


class Instruction(StrEnum):
    """What a reviewer does with a result."""

    MERGE = "merge"
    REHEARSE = "rehearse first"
    SECURITY_REVIEW = "security review"
    DO_NOT_MERGE = "do not merge"
    NONE = "nothing to merge"


class VerdictRule(StrEnum):
    """The reason of an instruction; each is a row of the table."""

    DRAFT_DECLINED = "draft-declined"
    PROBE = "probe"
    NO_RECORDS = "no-records"
    NO_CALLS = "no-calls"
    NO_SUCCESS = "no-success"
    ADD_BY_HAND = "add-by-hand"
    LACKS_PERMISSIONS = "lacks-permissions"
    LACKS_EVIDENCE = "lacks-evidence"
    UNCHANGED = "unchanged"
    CONTRADICTED = "contradicted"
    UNLISTED_ACCESS = "unlisted-access"
    TOO_LARGE = "too-large"
    NEWLY_DENIED = "newly-denied"
    DRAFT_DENIES = "draft-denies"
    SENSITIVE_ADDITION = "sensitive-addition"
    SENSITIVE_UNREVIEWED = "sensitive-unreviewed"
    NEW_DELETION = "new-deletion"
    DENIAL_EXPECTED = "denial-expected"
    UNREVIEWED_USE = "unreviewed-use"
    UNREVIEWED_DENIED = "unreviewed-denied"
    USERS_NOT_COVERED = "users-not-covered"
    STILL_LACKS = "still-lacks"
    REMOVED_UNRECORDED = "removed-unrecorded"
    NEVER_RAN = "never-ran"
    REGION_ASSUMED = "region-assumed"
    OFTEN_DENIED = "often-denied"
    ONLY_ADDS = "only-adds"
    NAMES_UNTESTED = "names-untested"
    REMOVALS_UNTESTED = "removals-untested"
    UNRECORDED_USE = "unrecorded-use"
    FEW_QUIET_RUNS = "few-quiet-runs"
    ALL_RECORDED = "all-recorded"


class Facts(Struct, frozen=True):
    """What the table asks of a result."""

    has_changes: bool = True
    is_draft: bool = False
    is_draft_declined: bool = False
    is_probe: bool = False
    records: int = 0
    calls: int = 0
    succeeded: int = 0
    added: int = 0
    by_hand: int = 0
    """Additions that a person must write (`added_by_hand`)."""
    lacking: int = 0
    """Recorded calls that the result denies."""
    waits_for: GuardResult | None = None
    """What the evidence lacks of days, runs or regions, where nothing changes."""
    disagreements: int = 0
    new_access: int = 0
    fits: bool = True
    newly_denied: int = 0
    """Events that the committed policy allows and the result denies."""
    sensitive: int = 0
    """Added actions for a security reviewer."""
    unreviewed: int = 0
    """Kept actions that only runs of unreviewed code used."""
    unreviewed_sensitive: int = 0
    unreviewed_denied: int = 0
    """Recorded calls that only runs of unreviewed code made, and that the result denies."""
    deletions: int = 0
    """Added actions that newly allow to delete what lives long (`Change.may_destroy`)."""
    never_written: int = 0
    """Actions that a rule never writes into a first draft, although runs called them."""
    expected_denials: int = 0
    """Actions that the next run will be denied."""
    unrecorded_use: int = 0
    """Actions that the next run is denied if it uses them, which no record would show."""
    users_not_covered: int = 0
    removed: int = 0
    removed_unrecorded: int = 0
    has_declared_only: bool = False
    """A draft of templates or plans, without a run."""
    region_assumed: int = 0
    """Removed or narrowed actions that are granted in every region, where all records are of one
    region and no input names the regions of the role.
    """
    untested_names: int = 0
    """Narrowed actions that create resources, and whose names no later run has tested."""
    word: Word = Word.SELDOM
    quiet: int = 0
    tests: int = 0
    """Latest separate runs of each user that test the removals."""
    least_tests: int = 0
    """As many runs as decide the removals."""


class Row(Struct, frozen=True):
    """One row of the table: the first one that applies decides."""

    rule: VerdictRule
    instruction: Instruction
    applies: Callable[[Facts], bool]


TABLE: tuple[Row, ...] = (
    # Nothing changes.
    Row(VerdictRule.DRAFT_DECLINED, Instruction.NONE, lambda each: each.is_draft_declined),
    Row(
        VerdictRule.PROBE,
        Instruction.NONE,
        lambda each: not each.has_changes and each.is_probe and not each.succeeded,
    ),
    Row(
        VerdictRule.ADD_BY_HAND,
        Instruction.NONE,
        lambda each: not each.has_changes and each.by_hand > 0,
    ),
    Row(
        VerdictRule.NO_RECORDS,
        Instruction.NONE,
        lambda each: not (each.calls or each.records or each.added),
    ),
    Row(VerdictRule.NO_CALLS, Instruction.NONE, lambda each: not (each.calls or each.added)),
    Row(
        VerdictRule.NO_SUCCESS,
        Instruction.NONE,
        lambda each: not each.has_changes and not each.succeeded,
    ),
    Row(
        VerdictRule.LACKS_PERMISSIONS,
        Instruction.NONE,
        lambda each: not each.has_changes and each.lacking > 0,
    ),
    Row(
        VerdictRule.LACKS_EVIDENCE,
        Instruction.NONE,
        lambda each: not each.has_changes and each.waits_for is not None,
    ),
    Row(VerdictRule.UNCHANGED, Instruction.NONE, lambda each: not each.has_changes),
    # Calls would be denied, or the proof fails.
    Row(VerdictRule.CONTRADICTED, Instruction.DO_NOT_MERGE, lambda each: each.disagreements > 0),
    Row(VerdictRule.UNLISTED_ACCESS, Instruction.DO_NOT_MERGE, lambda each: each.new_access > 0),
    Row(VerdictRule.TOO_LARGE, Instruction.DO_NOT_MERGE, lambda each: not each.fits),
    Row(VerdictRule.NEWLY_DENIED, Instruction.DO_NOT_MERGE, lambda each: each.newly_denied > 0),
    Row(
        VerdictRule.DRAFT_DENIES,
        Instruction.DO_NOT_MERGE,
        lambda each: each.is_draft and each.lacking + each.never_written > 0,
    ),
    # A person with knowledge of security decides.
    Row(
        VerdictRule.SENSITIVE_ADDITION, Instruction.SECURITY_REVIEW, lambda each: each.sensitive > 0
    ),
    Row(
        VerdictRule.SENSITIVE_UNREVIEWED,
        Instruction.SECURITY_REVIEW,
        lambda each: each.unreviewed_sensitive > 0,
    ),
    Row(VerdictRule.NEW_DELETION, Instruction.SECURITY_REVIEW, lambda each: each.deletions > 0),
    # A rehearsal shows what the evidence does not.
    Row(VerdictRule.DENIAL_EXPECTED, Instruction.REHEARSE, lambda each: each.expected_denials > 0),
    Row(VerdictRule.UNREVIEWED_USE, Instruction.REHEARSE, lambda each: each.unreviewed > 0),
    Row(
        VerdictRule.UNREVIEWED_DENIED,
        Instruction.REHEARSE,
        lambda each: (each.is_draft or each.removed > 0) and each.unreviewed_denied > 0,
    ),
    Row(
        VerdictRule.USERS_NOT_COVERED,
        Instruction.REHEARSE,
        lambda each: each.removed > 0 and each.users_not_covered > 0,
    ),
    Row(
        VerdictRule.STILL_LACKS,
        Instruction.REHEARSE,
        lambda each: each.removed > 0 and each.lacking > 0,
    ),
    Row(
        VerdictRule.REMOVED_UNRECORDED,
        Instruction.REHEARSE,
        lambda each: each.removed_unrecorded > 0,
    ),
    Row(VerdictRule.NEVER_RAN, Instruction.REHEARSE, lambda each: each.has_declared_only),
    Row(VerdictRule.REGION_ASSUMED, Instruction.REHEARSE, lambda each: each.region_assumed > 0),
    Row(VerdictRule.OFTEN_DENIED, Instruction.REHEARSE, lambda each: each.word is not Word.SELDOM),
    Row(
        VerdictRule.ONLY_ADDS,
        Instruction.MERGE,
        lambda each: not each.is_draft and each.removed == 0,
    ),
    Row(VerdictRule.NAMES_UNTESTED, Instruction.REHEARSE, lambda each: each.untested_names > 0),
    Row(
        VerdictRule.REMOVALS_UNTESTED,
        Instruction.REHEARSE,
        lambda each: not each.is_draft and each.tests < each.least_tests,
    ),
    Row(VerdictRule.UNRECORDED_USE, Instruction.REHEARSE, lambda each: each.unrecorded_use > 0),
    Row(
        VerdictRule.FEW_QUIET_RUNS,
        Instruction.REHEARSE,
        lambda each: each.is_draft and each.quiet < QUIET_RUNS,
    ),
    Row(VerdictRule.ALL_RECORDED, Instruction.MERGE, lambda _: True),
)


class MergeVerdict(Struct, frozen=True):
    """The instruction of a result, the row that gave it, and the facts."""

    instruction: Instruction
    rule: VerdictRule
    facts: Facts


def decide(facts: Facts) -> MergeVerdict:
    """Returns the verdict of the first row of the table that applies."""
    row = next(row for row in TABLE if row.applies(facts))
    return MergeVerdict(row.instruction, row.rule, facts)


def verdict_of(
    proposal: Proposal,
    proof: Proof,
    ledger: Ledger,
    chance: Chance,
    evidence: Evidence,
    *,
    records: int,
    check_results: Sequence[CheckResult] = (),
) -> MergeVerdict:
    """Returns the verdict on a proposal.

    Args:
        proposal: The edited policy, its changes and what was held back.
        proof: The results of the product's own checks.
        ledger: All facts with their states.
        chance: What past runs say about the next one.
        evidence: What was read of the principal.
        records: Number of records that were read, of any principal.
        check_results: The results of AWS's checks.
    """
    added = [change for change in proposal.changes if change.kind is ChangeKind.ADD]
    is_draft = proposal.committed is None
    declined = [
        held_back_addition
        for held_back_addition in proposal.held_back_additions
        if held_back_addition.guard_result.guard == "declined"
    ]
    waiting = Counter(
        held_change.guard_result
        for held_change in proposal.held_back
        if held_change.guard_result.guard in _OF_TIME_AND_PLACE
    )
    lacking = _lacking(ledger, evidence)
    expected: Counter[DenialCause] = Counter()
    for each in chance.expected:
        expected[each.cause] += len(each.actions)
    unrecorded_use = expected[DenialCause.IF_USED]
    facts = Facts(
        has_changes=bool(proposal.changes),
        is_draft=is_draft,
        is_draft_declined=is_draft and bool(declined),
        is_probe=_is_probe(proposal),
        records=records,
        calls=ledger.calls.total,
        succeeded=ledger.calls.succeeded,
        added=len(added),
        by_hand=len(added_by_hand(proposal)),
        lacking=lacking,
        waits_for=next((guard_result for guard_result, _ in waiting.most_common(1)), None),
        disagreements=sum(len(check_result.disagreements) for check_result in check_results),
        new_access=len(proof.new_access),
        fits=proof.fits,
        newly_denied=len(proof.newly_denied),
        sensitive=len({change.action for change in added if change.security}),
        unreviewed=len(ledger.unreviewed),
        unreviewed_sensitive=sum(1 for action in ledger.unreviewed if sensitivity(action)),
        unreviewed_denied=ledger.calls.denied_calls - lacking,
        deletions=len(new_deletions(added)),
        never_written=expected[DenialCause.NEVER_WRITTEN],
        expected_denials=expected.total() - expected[DenialCause.NEVER_WRITTEN] - unrecorded_use,
        unrecorded_use=unrecorded_use,
        users_not_covered=len(users_not_covered(evidence)),
        removed=ledger.removed + ledger.narrowed,
        removed_unrecorded=ledger.count(GrantState.REMOVED_UNRECORDED),
        has_declared_only=_is_declared_only(proposal, added),
        region_assumed=_in_other_regions(ledger) if evidence.coverage.assumed_region else 0,
        untested_names=len(chance.untested_names),
        word=chance.word,
        quiet=chance.quiet,
        tests=chance.tests,
        least_tests=chance.least_tests,
    )
    return decide(facts)


def _is_probe(proposal: Proposal) -> bool:
    """Whether so many different actions were denied as a probe with stolen credentials tries."""
    actions = {held_change.action for held_change in proposal.held_back_as(DENIAL_BUDGET)}
    return len(actions) >= _ACTIONS_OF_A_PROBE


def added_by_hand(proposal: Proposal) -> tuple[HeldBackChange, ...]:
    """Returns the additions that a person must write, because the file cannot take them."""
    return tuple(
        held_back_addition
        for held_back_addition in proposal.held_back_additions
        if held_back_addition.guard_result.guard == NOT_EDITABLE
    )


def _is_declared_only(proposal: Proposal, added: Sequence[Change]) -> bool:
    """Whether a first draft rests on templates or plans alone."""
    if proposal.committed is not None or not added:
        return False
    return all(change.basis is Basis.DECLARED for change in added)


def _lacking(ledger: Ledger, evidence: Evidence) -> int:
    """Returns the number of recorded calls that the result denies, without those that only runs
    made which count for nothing.
    """
    uncounted = uncounted_runs(evidence)
    return sum(
        group.count
        for group in ledger.calls.denied
        if not group.runs or not uncounted.issuperset(group.runs)
    )


def _in_other_regions(ledger: Ledger) -> int:
    """Returns the number of removed or narrowed actions of statements that reach every region."""
    return sum(
        len(statement.removed) + len(statement.narrowed)
        for statement in ledger.statements
        if limiting_regions(statement.statement) is None
    )


def new_deletions(added: Sequence[Change]) -> tuple[str, ...]:
    """Returns the added actions that newly allow to delete what lives long, or is of no known
    copy.
    """
    return tuple(sorted({change.action for change in added if change.may_destroy}))


def users_not_covered(evidence: Evidence) -> tuple[str, ...]:
    """Returns the ARNs of other users of the principal's policies, whose calls were not read."""
    access = evidence.aws_findings.access
    shared = access.shared if access else ()
    return tuple(sorted({arn for policy in shared for arn in policy.others}))
