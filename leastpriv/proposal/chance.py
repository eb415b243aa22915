"""Estimates whether the next run is denied something, in a word and in counts.

The estimate is the mean of two: the rate of the runs that a policy of all other runs would deny,
and the chance after the runs that the policy of the runs before them would deny, which falls with
the number of runs behind a policy. It does not fall while the latest runs are denied: then their
rate counts. Nothing in it is fitted to histories. What the next run does matters more than any
count, so the kinds of runs that the evidence has not shown and the permissions that are known to be
missing are listed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome, Usage, grouped, usages_by_action
from leastpriv.permissions.catalog import expand
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.generalize import ends
from leastpriv.permissions.names.app_names import destroys
from leastpriv.permissions.patterns import resource_covers, resource_overlaps
from leastpriv.permissions.resource_types import action_of, bucket_of, creates_its_resource, fits
from leastpriv.permissions.tool_lifecycle import Tool
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import granted_resources, statements_allowing
from leastpriv.proposal.confidence import Confidences, chance, falling_chance
from leastpriv.proposal.leave_one_run_out import LaterRunsResult, LeaveOneOutResult
from leastpriv.proposal.models import HeldBackChange, Proposal
from leastpriv.proposal.origins import is_unreviewed_use, uncounted_runs
from leastpriv.proposal.suggestions import unrecorded_data_events
from leastpriv.proposal.visibility_guards import is_done_by

_MAY_BE = 0.25
_LIKELY = 0.6
"""Bounds of the words."""
_USUAL = 0.9
"""Share of the runs that nearly all are."""
QUIET_RUNS = 59
"""Runs in a row without a denial that show, with 95 % certainty, at most one denial in 20 runs:
0.95^59 < 0.05.
"""
_NOUN = re.compile(r"(?<=[a-z0-9])[A-Z]\w*")


class Word(StrEnum):
    """How often the next run is denied something."""

    SELDOM = "seldom"
    MAY_BE = "may be"
    LIKELY = "likely"


class RunKind(StrEnum):
    """What a run does that the runs before it did not do."""

    NEW_COPY = "new-copy"
    """It creates resources of types of which earlier runs created others."""
    TAKEDOWN = "takedown"
    """It deletes resources and creates none of their types."""
    ROLLBACK = "rollback"
    """It deletes what it created, or rolls a stack back."""
    NEW_FEATURE = "new-feature"
    """It creates a resource of a type that no earlier run created."""


class DenialCause(StrEnum):
    """Why a run is denied a permission."""

    NOT_RECORDED = "not-recorded"
    """Most deployments do this to a resource in use, and its data events were not recorded."""
    STATE = "state"
    """Terraform reads and writes its state, which no record shows."""
    NO_ANSWER = "no-answer"
    """Runs called it, no answer shows that AWS allowed it, and nothing grants it."""
    NEVER_WRITTEN = "never-written"
    """A run called it, and a rule forbids to write it."""
    IF_USED = "if-used"
    """Its use leaves no record that was read, and only some deployments use it: a run that does is
    denied.
    """


_UNRECORDED = frozenset({DenialCause.NOT_RECORDED, DenialCause.STATE, DenialCause.IF_USED})
"""Causes of which no record shows the use."""


class ExpectedDenial(Struct, frozen=True):
    """Actions that the result lacks and that a later run needs, or may need."""

    cause: DenialCause
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ()
    """Empty where no record names the resource."""
    is_usual: bool = True
    """Whether nearly all runs called it and the result denies them, where runs called it."""

    @property
    def is_certain(self) -> bool:
        """Whether a run is denied it that does what most deployments do, or nearly all runs did."""
        return self.is_usual and self.cause is not DenialCause.IF_USED


class Chance(Struct, frozen=True):
    """What past runs say about the next run."""

    left_out: int
    """Runs that were judged by a policy of all other runs."""
    left_out_denied: int
    later: int
    """Runs that were judged by the policy of the runs before them."""
    later_denied: int
    quiet: int
    """Latest runs in a row that the policy of the runs before them would not have denied."""
    days: int
    """Days of the evidence: a job that is rarer is not covered."""
    shown: Mapping[RunKind, int] = {}
    """Number of runs of each kind."""
    expected: tuple[ExpectedDenial, ...] = ()
    after: int = 1
    """First runs, which no policy of earlier runs judges; one where no run could be left out."""
    tests: int = 0
    """Latest separate runs of each user in a row, without the first ones, that are not known to be
    denied something.
    """
    least_tests: int = 1
    """As many as decide the removals."""
    untested_names: tuple[str, ...] = ()
    """Narrowed actions that create resources, and whose names no later run has tested."""
    latest: tuple[bool, ...] = ()
    """Whether each of the latest later runs was denied something, where the last ones were."""
    last_is_settled: bool = False
    """Whether the proposal allows the actions that the last later run was denied."""

    @property
    def estimate(self) -> float:
        """Probability, from 0 to 1, that the next run is denied something: the mean of `chance` of
        the runs left out, and of `falling_chance` of the later runs, or of `chance` of the latest
        ones where that is greater. The first alone where all runs are first ones.
        """
        left_out = chance(self.left_out_denied, self.left_out)
        if not self.later and self.after > 1:
            return left_out
        later = falling_chance(self.later_denied, self.later, after=self.after)
        if self.latest:
            later = max(later, chance(sum(self.latest), len(self.latest)))
        return (left_out + later) / 2

    @property
    def word(self) -> Word:
        """The estimate as a word."""
        if self.estimate >= _LIKELY:
            return Word.LIKELY
        return Word.MAY_BE if self.estimate >= _MAY_BE else Word.SELDOM

    @property
    def has_unrecorded_use(self) -> bool:
        """Whether runs may use what no record shows, so that the counts are of the rest."""
        return any(use.cause in _UNRECORDED for use in self.expected)

    @property
    def not_shown(self) -> tuple[RunKind, ...]:
        """The kinds of runs that the evidence does not have."""
        return tuple(kind for kind in RunKind if not self.shown.get(kind))


def chance_of(
    proposal: Proposal,
    attached: Sequence[Document],
    evidence: Evidence,
    left_out: LeaveOneOutResult | None,
    later_runs: LaterRunsResult | None,
    known: Confidences | None = None,
) -> Chance:
    """Returns what the runs say about the next one.

    Args:
        proposal: The edited policy.
        attached: The principal's other policies.
        evidence: What was read of the principal.
        left_out: Each run judged by a policy of all other runs.
        later_runs: Each run judged by the policy of the runs before it.
        known: Counts of runs with permissions that only they used, where no run could be left out.
    """
    judged = left_out.judged if left_out else 0
    denied = left_out.denied_runs if left_out else 0
    if not judged and known:
        judged = known.whole.runs
        denied = known.whole.own
    return Chance(
        left_out=judged,
        left_out_denied=denied,
        later=later_runs.judged if later_runs else 0,
        later_denied=later_runs.denied_runs if later_runs else 0,
        quiet=later_runs.quiet if later_runs else 0,
        after=later_runs.after if later_runs and left_out and left_out.judged else 1,
        tests=later_runs.tests if later_runs else 0,
        least_tests=later_runs.least_tests if later_runs else 1,
        days=evidence.span.days,
        shown=run_kinds(evidence),
        expected=tuple(_expected(proposal, attached, evidence)),
        untested_names=later_runs.untested_names if later_runs else (),
        latest=later_runs.latest if later_runs else (),
        last_is_settled=_is_settled(later_runs, [*proposal.documents, *attached]),
    )


def _is_settled(later_runs: LaterRunsResult | None, documents: Sequence[Document]) -> bool:
    """Whether policies have each action that the last later run was denied, at least one."""
    if later_runs is None or not later_runs.denied:
        return False
    lacked = [*later_runs.denied.values()][-1]
    return bool(lacked) and all(statements_allowing(documents, action) for action in lacked)


class _RunActions(Struct):
    """What one run created and deleted: service and type, as actions name them -> resources."""

    created: dict[str, set[str]]
    deleted: dict[str, set[str]]
    rolls_back: bool = False


def run_kinds(evidence: Evidence) -> Mapping[RunKind, int]:
    """Counts the runs of each kind, by the actions and resources of the records."""
    runs = {run.id: _RunActions({}, {}) for run in evidence.runs}
    for usage in evidence.usages:
        if not usage.is_allowed or not usage.succeeded:
            continue
        for name in usage.runs:
            if name in runs:
                _note(usage, runs[name])
    temporary = _temporary_types(runs.values())
    count_by_kind: Counter[RunKind] = Counter()
    earlier_names: dict[str, set[str]] = {}
    is_first = True
    for actions in runs.values():
        count_by_kind.update(_kinds_of(actions, earlier_names, temporary, is_first=is_first))
        is_first = False
        for kind, resources in actions.created.items():
            earlier_names.setdefault(kind, set()).update(resources)
    return dict(count_by_kind)


def _note(usage: Usage, run: _RunActions) -> None:
    kind = _type_of(usage.action)
    if usage.action in _ROLLBACKS:
        run.rolls_back = True
    elif visibility(usage.action).visibility is Visibility.DATA:
        # Each run writes other objects and items.
        return
    elif creates_its_resource(usage.action):
        run.created.setdefault(kind, set()).add(usage.resource)
    elif _takes_down(usage.action):
        run.deleted.setdefault(kind, set()).add(usage.resource)


def _takes_down(action: str) -> bool:
    """Whether an action deletes a resource: no part, no setting and no content of one."""
    if _EMPTIES.search(action) or not destroys(action):
        return False
    catalogue_action = action_of(action)
    kinds = catalogue_action.resource_types if catalogue_action else ()
    is_whole = any(ends(action, kind.name) for kind in kinds)
    return is_whole or _OF_A_PART.search(action) is None


_EMPTIES = re.compile(r":Purge")
_OF_A_PART = re.compile(
    r"(?:Policy|PermissionsBoundary|Configuration|Config|Website|Concurrency|Tagging|Image)$"
)
"""Ends of actions that delete a setting or a content, where no resource type is called so."""
_ROLLBACKS = frozenset(
    {
        "cloudformation:CancelUpdateStack",
        "cloudformation:ContinueUpdateRollback",
        "cloudformation:RollbackStack",
    }
)


def _type_of(action: str) -> str:
    """`sqs:Queue` of `sqs:DeleteQueue`."""
    service, _, name = action.partition(":")
    noun = _NOUN.search(name)
    return f"{service}:{(noun[0] if noun else name).removesuffix('s')}"


def _temporary_types(runs: Iterable[_RunActions]) -> frozenset[str]:
    """Types that most runs which create one delete again, as a change set of CloudFormation."""
    created: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    for run in runs:
        created.update(run.created.keys())
        deleted.update(run.created.keys() & run.deleted.keys())
    return frozenset(kind for kind, count in deleted.items() if 2 * count > created[kind] > 1)


def _kinds_of(
    run: _RunActions,
    known: Mapping[str, set[str]],
    temporary: frozenset[str],
    *,
    is_first: bool,
) -> Iterator[RunKind]:
    """Yields the kinds of one run, by what it created and deleted: a stack `shop-pr-7` next to
    `shop-prod` makes it a new copy, a type that no run before it made a new feature.
    """
    created = {kind: names for kind, names in run.created.items() if kind not in temporary}
    deleted = run.deleted.keys() - temporary - {_CHANGE_SET}
    replaced = deleted & created.keys()
    if run.rolls_back or any(created[kind] & run.deleted[kind] for kind in replaced):
        yield RunKind.ROLLBACK
    if deleted - created.keys():
        yield RunKind.TAKEDOWN
    if is_first or not created:
        return
    # A type that the run deleted too may have been replaced.
    fresh = [kind for kind in created if kind not in replaced]
    again = [kind for kind in fresh if _are_further(created[kind], known.get(kind, set()))]
    if again and len(again) == len(fresh):
        yield RunKind.NEW_COPY
    if any(kind not in known for kind in created):
        yield RunKind.NEW_FEATURE


def _are_further(created: set[str], known: set[str]) -> bool:
    """Whether a run creates resources that earlier runs did not, and not those of earlier runs."""
    return bool(known - created and created - known)


_CHANGE_SET = "cloudformation:ChangeSet"


def _expected(
    proposal: Proposal, attached: Sequence[Document], evidence: Evidence
) -> Iterator[ExpectedDenial]:
    """Yields what a first draft lacks for certain; a committed policy has had its runs."""
    if proposal.committed is not None or not proposal.changes:
        return
    documents = [*proposal.documents, *attached]
    held = grouped((held.action, held) for held in proposal.held_back_additions)
    actions_by_call: dict[_CalledOn, list[str]] = {}
    for action, additions in held.items():
        called_on = _called_on(action, additions, evidence, documents)
        if called_on.resources:
            actions_by_call.setdefault(called_on, []).append(action)
    for called_on, actions in actions_by_call.items():
        yield ExpectedDenial(
            DenialCause.NEVER_WRITTEN,
            _unique(actions),
            called_on.resources,
            is_usual=called_on.is_usual,
        )
    use = _UnrecordedUse(evidence, documents)
    yield from _by_resources(DenialCause.NOT_RECORDED, use.usual())
    yield from _without_answer(evidence, documents)
    state = use.of_state()
    if state:
        yield ExpectedDenial(DenialCause.STATE, state)
    yield from _by_resources(DenialCause.IF_USED, use.possible())


def _without_answer(evidence: Evidence, documents: Sequence[Document]) -> Iterator[ExpectedDenial]:
    """Yields the actions that a draft lacks since no record says whether AWS allowed the calls."""
    unanswered = usages_by_action(
        usage
        for usage in evidence.usages
        if usage.outcome is Outcome.UNKNOWN and not is_unreviewed_use(usage, evidence)
    )
    lacking = grouped(
        (_is_usual(usages, evidence), action)
        for action, usages in unanswered.items()
        if not statements_allowing(documents, action)
    )
    for is_usual, actions in lacking.items():
        yield ExpectedDenial(DenialCause.NO_ANSWER, _unique(actions), is_usual=is_usual)


class _CalledOn(Struct, frozen=True):
    resources: tuple[str, ...]
    is_usual: bool


def _called_on(
    action: str,
    additions: Iterable[HeldBackChange],
    evidence: Evidence,
    documents: Sequence[Document],
) -> _CalledOn:
    """Returns the resources of an action's held additions on which reviewed runs called it, and
    whether the next run will usually call it there and be denied.

    It is not usual where a policy may allow some of the calls: a record that shows a resource only
    in part, `arn:…:orders-*`, may be one of a resource that `documents` grant.
    """
    resources: list[str] = []
    calls: list[Usage] = []
    for held in additions:
        deciding = [usage for usage in held.usages if _decides(usage, evidence)]
        if deciding:
            resources += held.resources
            calls += deciding
    may_be_granted = any(
        resource_overlaps(pattern, resource)
        for pattern in granted_resources(documents, action)
        for resource in resources
    )
    return _CalledOn(
        tuple(dict.fromkeys(resources)),
        is_usual=not may_be_granted and _is_usual(calls, evidence),
    )


def _is_usual(usages: Iterable[Usage], evidence: Evidence) -> bool:
    """Whether nearly all runs that count made some calls, so that the next one will too."""
    counted = {run.id for run in evidence.runs} - uncounted_runs(evidence)
    calling = {run for usage in usages for run in usage.runs} & counted
    return len(calling) >= _USUAL * len(counted)


def _decides(usage: Usage, evidence: Evidence) -> bool:
    """Whether a reviewed run made an allowed call."""
    return usage.is_allowed and not is_unreviewed_use(usage, evidence)


class _Missing(Struct, frozen=True):
    """An action that a draft lacks."""

    action: str
    resources: tuple[str, ...] = ()
    """Empty where no record names one."""


def _by_resources(cause: DenialCause, missing: Iterable[_Missing]) -> Iterator[ExpectedDenial]:
    """Yields the denials of one cause, one for all actions on equal resources."""
    for resources, actions in grouped((each.resources, each.action) for each in missing).items():
        yield ExpectedDenial(cause, _unique(actions), resources)


class _UnrecordedUse:
    """Actions that a draft lacks since their use leaves no record that was read."""

    def __init__(self, evidence: Evidence, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._used: dict[str, dict[str, None]] = {}
        programs = set[str]()
        for usage in evidence.allowed_usages:
            self._used.setdefault(usage.action, {})[usage.resource] = None
            if not usage.action.startswith("sts:"):
                programs.update(usage.programs or {""})
        self._programs = frozenset(programs)
        self._recorded = {bucket_of(stream.prefix) for stream in evidence.coverage.data}
        self._rows = [row for row in table("item_level") if is_done_by(row, self._programs)]
        self._suggested = [
            _Missing(event.action, event.resources)
            for event in unrecorded_data_events(evidence, self._used, documents)
            if not self._covers(event.action, event.resources)
        ]

    def usual(self) -> list[_Missing]:
        """What most deployments by these programs do to resources in use."""
        usual = self._actions_of("usual")
        return [
            missing
            for missing in self._suggested
            if missing.action in usual and self._is_missing(missing.action)
        ]

    def of_state(self) -> tuple[str, ...]:
        """Actions on the state of Terraform, where Terraform deploys and no data event of S3 was
        recorded.
        """
        if Tool.TERRAFORM not in self._programs or self._records_data_of("s3"):
            return ()
        rows = [
            row
            for row in table("item_level")
            if row["prefix"] == "s3" and row["uncalled"] == "usual"
        ]
        actions = [action for row in rows for action in row["actions"].split(",")]
        return tuple(
            action for action in actions if not statements_allowing(self._documents, action)
        )

    def possible(self) -> Iterator[_Missing]:
        """What some deployments do: to items in use, without any other call of the service, and by
        the data events of further services in use.
        """
        named = {missing.action for missing in self.usual()} | {*self.of_state()}
        further = [missing for missing in self._suggested if missing.action not in named]
        yield from further
        named.update(missing.action for missing in further)
        for action in sorted(self._actions_of("usual", "yes") - named):
            if self._is_missing(action) and not self._records_data_of(action.partition(":")[0]):
                yield _Missing(action)
        yield from self._of_other_services()

    def _of_other_services(self) -> Iterator[_Missing]:
        by_service: dict[str, dict[str, None]] = {}
        for used_action, resources in self._used.items():
            by_service.setdefault(used_action.partition(":")[0], {}).update(resources)
        for row in table("item_level"):
            by_service.pop(row["prefix"], None)
        for service, resources in by_service.items():
            plain_names = [resource for resource in resources if not set(resource) & {*"*?$"}]
            for action in expand(f"{service}:*"):
                if visibility(action).visibility is not Visibility.DATA:
                    continue
                unrecorded = [
                    name
                    for name in plain_names
                    if name not in self._recorded and fits(action, name)
                ]
                if unrecorded and self._is_missing(action):
                    yield _Missing(action, tuple(unrecorded))

    def _actions_of(self, *uncalled: str) -> set[str]:
        """Actions of the rows of the programs with one of some words in `uncalled`."""
        rows = [row for row in self._rows if row["uncalled"] in uncalled and not row["needs"]]
        return {action for row in rows for action in row["actions"].split(",")}

    def _is_missing(self, action: str) -> bool:
        return action not in self._used and not statements_allowing(self._documents, action)

    def _covers(self, action: str, resources: Sequence[str]) -> bool:
        """Whether the policies allow an action on all of the resources, not on some objects."""
        patterns = granted_resources(self._documents, action)
        return all(
            any(resource_covers(pattern, resource) for pattern in patterns)
            for resource in resources
        )

    def _records_data_of(self, service: str) -> bool:
        return any(recorded.split(":")[2:3] == [service] for recorded in self._recorded)


def _unique(actions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sorted(actions)))
