"""Judges a proposal by its runs: each run against a policy made from other runs.

Leave-one-run-out takes all others, the runs in order take those before. Both estimate the next run.
A run whose permissions the other runs used too is allowed by replay; for the remaining runs a
proposal is made without them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import takewhile

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
from leastpriv.models import ChangeKind, Outcome, Permission, Usage, grouped, usages_by_action
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.volatility import is_whole_type
from leastpriv.policy.document import Document
from leastpriv.proposal.aws_guards import report_without
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.guards import (
    before_evidence,
    break_glass_runs,
    count_separate,
    is_break_glass_use,
    runs_of_users,
)
from leastpriv.proposal.models import History, Options, Proposal, ProposalInputs
from leastpriv.proposal.origins import uncounted_runs
from leastpriv.proposal.propose import MAX_CHANGES, propose
from leastpriv.proposal.removals import creators_of
from leastpriv.proposal.self_widening import DENIAL_BUDGET

_MOST_LEFT_OUT = 40
_MOST_LATER = 20
"""Only the latest runs are tried: so many are left out, and so many judged by the runs before."""
_FEWEST_PROPOSALS = 8
_FEWEST_IN_A_ROW = 2
_MOST_LATEST = 10
_MOST_JUDGED = 40_000
"""Usages and entries that all proposals may judge together; more leave fewer proposals."""
_DENIED = frozenset({"implicitDeny", "explicitDeny"})
_ALLOWED = frozenset({"allowed", "allowedInPart"})


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

    @property
    def judged(self) -> int:
        """Number of runs that were judged."""
        return self.runs - self.untried + self.lacking

    @property
    def denied_runs(self) -> int:
        """Number of judged runs that would have been denied something."""
        return len(self.denied) + self.lacking


class LaterRunsResult(Struct, frozen=True):
    """Each run after the first ones, judged by the policy of the runs before it and by AWS's
    denials.
    """

    denied: Mapping[str, tuple[str, ...]]
    """Run id -> actions that the policy of earlier runs would have denied; none for a run that it
    would have allowed. In order of the runs.
    """
    after: int = 1
    """First runs: one, or as many as make `minimum-runs` of each user where the proposal removes
    something, as fewer remove nothing and so test no removal.
    """
    tests: int = 0
    """Separate runs of the user with the fewest, among the latest ones in a row, without the first
    ones, of which none is known to be denied something: those that a condition leaves open count
    too.
    """
    least_tests: int = 1
    """As many separate runs of each user as decide the removals."""
    untried: int = 0
    """Older runs with new permissions, beyond the limit."""
    untested_names: tuple[str, ...] = ()
    """Actions that create resources and are narrowed to the names so far, and that few runs used,
    none after the first `minimum-runs`: no run has tested these names.
    """

    @property
    def judged(self) -> int:
        """Number of runs that were judged."""
        return len(self.denied)

    @property
    def denied_runs(self) -> int:
        """Number of runs that would have been denied something."""
        return sum(1 for actions in self.denied.values() if actions)

    @property
    def quiet(self) -> int:
        """Number of latest runs in a row that would have been denied nothing."""
        count = 0
        for actions in reversed(tuple(self.denied.values())):
            if actions:
                break
            count += 1
        return count

    @property
    def latest(self) -> tuple[bool, ...]:
        """Whether each of the latest runs would have been denied something, where the last ones
        would: of twice as many runs as are denied in a row, at most ten. Empty where fewer than
        two are, as any run may need something new.
        """
        are_denied = tuple(map(bool, self.denied.values()))
        in_a_row = len(tuple(takewhile(bool, reversed(are_denied))))
        if in_a_row < _FEWEST_IN_A_ROW:
            return ()
        return are_denied[-min(2 * in_a_row, _MOST_LATEST) :]


def leave_one_out(
    proposal: Proposal,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options,
    history: History,
) -> LeaveOneOutResult:
    """Leaves out each run that the proposal allows; the replay covers the other runs."""
    return RunChecks(proposal, attached, evidence, options, history).leave_one_out()


class RunChecks:
    """The runs of a proposal, each of which is judged by a policy made from other runs."""

    def __init__(
        self,
        proposal: Proposal,
        attached: Sequence[Document],
        evidence: Evidence,
        options: Options,
        history: History,
    ) -> None:
        """Sorts the runs by what the proposal does with their calls."""
        self._proposal = proposal
        self._attached = attached
        self._evidence = evidence
        self._options = options
        self._history = history
        allowed = evidence.allowed_usages
        self._verified = [usage for usage in allowed if usage.need.verified]
        self._runs_of: dict[Permission, set[str]] = {}
        for usage in allowed:
            self._runs_of.setdefault(usage.need.permission, set()).update(usage.runs)
        self._working = set[str]().union(*self._runs_of.values())
        self._break_glass = break_glass_runs(evidence.runs, options.break_glass)
        self._uncounted = uncounted_runs(evidence)
        self._lacking: dict[str, set[str]] = {}
        """Run with an allowed call that the proposal denies -> actions of these calls."""
        self._unsure = set[str]()
        """Runs with an allowed call that the proposal may deny."""
        self._denied_by_aws: dict[str, set[str]] = {}
        """Run -> actions that AWS denied it, and that the policy of earlier runs lacks too."""
        self._sort_runs()
        self._note_denials()

    def _sort_runs(self) -> None:
        """Notes the runs with a call that the proposal denies, or may deny."""
        documents = [*self._proposal.documents, *self._attached]
        for usage in self._verified:
            effects = replay_usage(usage, self._evidence.principal, documents)
            if effects <= _ALLOWED:
                continue
            if not effects & _DENIED:
                self._unsure.update(usage.runs)
                continue
            for run in usage.runs:
                self._lacking.setdefault(run, set()).add(usage.action)

    def _note_denials(self) -> None:
        """Notes the runs that AWS denied what the committed policy still lacks.

        A denial adds its permission, so that only its first run counts; one that is not added is
        repeated by each run. Runs of denials alone, beyond the budget of a run, may be a probe.
        """
        documents = [*self._proposal.documents, *self._attached]
        committed = self._proposal.committed
        before = [committed, *self._attached] if committed else self._attached
        beyond_budget = {
            id(usage)
            for held_back in self._proposal.held_back_as(DENIAL_BUDGET)
            for usage in held_back.usages
        }
        principal = self._evidence.principal
        for usage in self._evidence.usages:
            denial = usage.denial
            if usage.outcome is not Outcome.DENIED or denial is None:
                continue
            if denial.log or not denial.mendable:
                continue
            if replay_usage(usage, principal, before) <= _ALLOWED:
                continue
            runs = [run.id for run in self._evidence.runs if run.id in usage.runs]
            if id(usage) in beyond_budget:
                runs = [run for run in runs if run in self._working]
            is_added = replay_usage(usage, principal, documents) <= _ALLOWED
            for run in runs[:1] if is_added else runs:
                self._denied_by_aws.setdefault(run, set()).add(usage.action)

    def leave_one_out(self) -> LeaveOneOutResult:
        """Judges each run by a policy made from all other runs."""
        # Usages that no other run has.
        usages_by_run = grouped(
            [
                (usage.runs[0], usage)
                for usage in self._verified
                if len(self._runs_of[usage.need.permission]) == 1
            ]
        )
        open_runs = self._unsure | self._lacking.keys()
        counting = self._working - open_runs - self._uncounted - self._break_glass
        checked = [run.id for run in self._evidence.runs if run.id in counting]
        special = [run for run in checked if run in usages_by_run]
        tried = self._latest(special, _MOST_LEFT_OUT)
        denied: dict[str, tuple[str, ...]] = {}
        for run in tried:
            actions = _denied_actions(
                frozenset({run}), usages_by_run[run], self._shared, fewer_runs=1
            )
            if actions:
                denied[run] = actions
        counted = (self._working & self._lacking.keys()) - self._break_glass - self._uncounted
        return LeaveOneOutResult(
            runs=len(checked),
            denied=denied,
            not_checked=len(self._working & open_runs),
            untried=len(special) - len(tried),
            lacking=len(counted),
        )

    def later_runs(self) -> LaterRunsResult:
        """Judges each run after the first ones by a policy made from the runs before it."""
        deploys = self._working | self._denied_by_aws.keys()
        order = [run.id for run in self._evidence.runs if run.id in deploys]
        special_runs = self._break_glass | self._uncounted
        judged = [run for run in order if run not in special_runs]
        changes = self._proposal.changes
        only_adds = all(change.kind is ChangeKind.ADD for change in changes)
        after = 1 if only_adds else self._deciding_runs(judged)
        later_runs = judged[after:]
        number_by_run = {run: number for number, run in enumerate(order)}
        news = self._new_usages(number_by_run)
        special = [
            run
            for run in later_runs
            if run in news and run not in self._lacking and run not in self._unsure
        ]
        tried = frozenset(self._latest(special, _MOST_LATER))
        denied: dict[str, tuple[str, ...]] = {}
        for run in later_runs:
            if run in self._lacking:
                denied[run] = _sorted(self._lacking[run])
            elif run in tried:
                later = frozenset(order[number_by_run[run] :])
                denied[run] = _denied_actions(later, news[run], self._shared, fewer_runs=0)
            elif run not in news and run not in self._unsure:
                denied[run] = ()
            if run in self._denied_by_aws:
                denied[run] = _sorted({*denied.get(run, ()), *self._denied_by_aws[run]})
        quiet = takewhile(lambda run: not denied.get(run), reversed(later_runs))
        return LaterRunsResult(
            denied,
            after=after,
            tests=self._fewest_of_users(quiet),
            least_tests=self._least_runs,
            untried=len(special) - len(tried),
            untested_names=tuple(dict.fromkeys(self._untested_names(judged, after))),
        )

    def _new_usages(self, number_by_run: Mapping[str, int]) -> Mapping[str, Sequence[Usage]]:
        """Returns for each run the usages of permissions that no earlier run used."""
        news: dict[str, list[Usage]] = {}
        for usage in self._verified:
            runs = [run for run in self._runs_of[usage.need.permission] if run in number_by_run]
            if runs:
                first_run = min(runs, key=number_by_run.__getitem__)
                news.setdefault(first_run, []).append(usage)
        return news

    def _deciding_runs(self, judged: Sequence[str]) -> int:
        """Returns how many of the judged runs, the oldest first, make `minimum-runs` of each user:
        the least that remove or narrow something.
        """

        def fewest(count: int) -> int:
            return self._fewest_of_users(judged[:count])

        return bisect_left(range(len(judged)), self._least_runs, key=fewest)

    def _fewest_of_users(self, runs: Iterable[str]) -> int:
        """Returns the number of separate runs, among some runs, of the user with the fewest."""
        others = {run.id for run in self._evidence.runs}.difference(runs)
        return min(runs_of_users(self._evidence, frozenset(others)).values())

    def _untested_names(self, judged: Sequence[str], after: int) -> Iterator[str]:
        """Yields the narrowed actions whose names no run tested.

        The first runs are the least that narrow a name: a run after them tests it, and so do
        `minimum-runs` separate runs of the action itself.
        """
        later = frozenset(judged[after:])
        starts = {run.id: run for run in self._evidence.runs}
        for change in self._proposal.changes:
            action = change.restricted_action
            if not change.used or not change.restricted_to or not _creates(action):
                continue
            if all(map(is_whole_type, change.restricted_to)):
                continue
            runs = {run for usage in change.usages for run in usage.runs}
            if not runs.isdisjoint(later):
                continue
            own = [starts[run] for run in runs.intersection(judged)]
            if count_separate(own) < self._least_runs:
                yield action

    def _latest(self, runs: Sequence[str], limit: int) -> Sequence[str]:
        """The latest of some runs, at most `limit`, and fewer where a proposal takes long."""
        if not runs:
            return ()
        judged = len(self._evidence.usages) + len(self._shared.entries)
        most_judged = max(_FEWEST_PROPOSALS, min(limit, _MOST_JUDGED // judged))
        return runs[-most_judged:]

    @property
    def _least_runs(self) -> int:
        """The least runs that remove or narrow something."""
        return max(self._options.minimum_runs, 1)

    @cached_property
    def _shared(self) -> _SharedInputs:
        return _shared_inputs(
            self._proposal, self._attached, self._evidence, self._options, self._history
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


def _sorted(actions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(actions))


def _creates(action: str) -> bool:
    """Whether an action creates resources, whose next name no record shows."""
    service, _, name = action.partition(":")
    return bool(created_types(service, name))


def _shared_inputs(
    proposal: Proposal,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options,
    history: History,
) -> _SharedInputs:
    """Computes the inputs that are equal for all runs."""
    committed = proposal.committed
    break_glass = break_glass_runs(evidence.runs, options.break_glass)
    every = entries_with_usage(committed, evidence) if committed else ()
    entries = tuple(_changeable_entries(every, proposal, evidence))
    statements = committed.statements if committed else ()
    denies = any(statement.effect == "Deny" for statement in statements)
    state = before_evidence(history.history_state, evidence.first)
    documents = [committed, *attached] if committed else attached
    return _SharedInputs(
        committed=committed,
        attached=attached,
        evidence=evidence,
        options=replace(options, max_changes=0),
        history=replace(history, history_state=state),
        confidence=confidences(evidence, without=break_glass | uncounted_runs(evidence)),
        break_glass_runs=break_glass,
        usages=replay_usages(evidence, documents),
        entries=entries,
        creators=creators_of(usages_by_action(evidence.usages)) if entries else {},
        is_never_empty=denies or len(entries) < len(every),
    )


def _denied_actions(
    left_out: frozenset[str], own: Sequence[Usage], shared: _SharedInputs, *, fewer_runs: int
) -> tuple[str, ...]:
    """Returns the actions of a run's own usages that a proposal without some runs would deny.

    Args:
        left_out: Ids of the runs that the proposal does not know.
        own: Usages of the judged run.
        shared: The inputs that are equal for all runs.
        fewer_runs: How many runs fewer than `minimum-runs` are enough.
    """
    usage_without_run = _usages_without(left_out, shared.evidence.usages)
    usages: list[ReplayedUsage] = []
    for usage, effects in shared.usages:
        usage_left = usage_without_run.get(id(usage), usage)
        if usage_left:
            usages.append((usage_left, effects))
    # The time span of the evidence remains, because the logs were read all the same.
    remaining = tuple(usage for usage, _ in usages)
    other_runs = tuple(run for run in shared.evidence.runs if run.id not in left_out)
    hints = shared.evidence.aws_findings
    if hints.access:
        hints = replace(hints, access=report_without(hints.access, shared.evidence, remaining))
    others = replace(
        shared.evidence, usages=remaining, groups=(), runs=other_runs, aws_findings=hints
    )
    actions = {usage.action for usage in own}
    entries = tuple(
        _entry_without_run(entry, usage_without_run)
        for entry in _relevant_entries(actions, usage_without_run, shared)
    )
    inputs = ProposalInputs(
        history=shared.history,
        attached=shared.attached,
        confidence=shared.confidence,
        writes=False,
    )
    minimum = max(shared.options.minimum_runs - fewer_runs, 0)
    options = replace(shared.options, minimum_runs=minimum)
    proposed = propose(shared.committed, classify(usages, entries), others, options, inputs)
    documents = [*proposed.documents, *shared.attached]
    denied = [usage for usage in own if replay_usage(usage, others.principal, documents) & _DENIED]
    return tuple(sorted({usage.action for usage in denied}))


def _usages_without(
    left_out: frozenset[str], usages: Iterable[Usage]
) -> Mapping[int, Usage | None]:
    """Returns what becomes of the usages of some runs without these runs, by the id of the object:
    the usage of the other runs, or None.
    """
    usage_without_run: dict[int, Usage | None] = {}
    for usage in usages:
        if not left_out.isdisjoint(usage.runs):
            runs = tuple(run for run in usage.runs if run not in left_out)
            usage_without_run[id(usage)] = replace(usage, runs=runs) if runs else None
    return usage_without_run


def _with_creators(actions: Iterable[str], creators: Mapping[str, Sequence[str]]) -> set[str]:
    """Returns actions with those that create their resources, and the resources of these."""
    named: set[str] = set()
    fresh = {*actions}
    while fresh:
        named |= fresh
        creating = {creator for action in fresh for creator in creators.get(action, ())}
        fresh = creating - named
    return named


def _relevant_entries(
    actions: Iterable[str], left: Mapping[int, Usage | None], shared: _SharedInputs
) -> Sequence[Entry]:
    """Entries that decide whether the actions remain allowed: those that grant them or the creation
    of their resources.

    All entries are relevant if the policy could become empty: an emptied policy is left unchanged.
    """
    named_actions = _with_creators(actions, shared.creators)
    relevant: list[Entry] = []
    unchanged: list[Entry] = []
    for entry in shared.entries:
        is_relevant = any(
            entry_names_action(entry.statement, entry.pattern, action) for action in named_actions
        )
        if is_relevant:
            relevant.append(entry)
        else:
            unchanged.append(entry)
    if shared.is_never_empty or any(_remains_used(entry, left, shared) for entry in unchanged):
        return relevant
    return shared.entries


def _remains_used(entry: Entry, left: Mapping[int, Usage | None], shared: _SharedInputs) -> bool:
    """Whether the other runs use an entry, in no break-glass session."""
    for usages in entry.uses.values():
        for usage in usages:
            usage_left = left.get(id(usage), usage)
            if usage_left is None or not usage_left.is_allowed:
                continue
            if not is_break_glass_use(usage_left, shared.break_glass_runs):
                return True
    return False


def _entry_without_run(entry: Entry, left: Mapping[int, Usage | None]) -> Entry:
    usages_left = (
        (action, left.get(id(usage), usage))
        for action, usages in entry.uses.items()
        for usage in usages
    )
    uses = grouped([(action, usage) for action, usage in usages_left if usage])
    return replace(entry, uses={action: tuple(usages) for action, usages in uses.items()})


def _changeable_entries(
    entries: Iterable[Entry], proposal: Proposal, evidence: Evidence
) -> Iterator[Entry]:
    """Yields the entries that a proposal may change, reduced to what can affect the result.

    - An entry over the limit of `max-changes` is left out: it remains in the policy whatever runs
      there are.
    - `*` is left out where the proposal does not change it, and else reduced to the used actions
      that it grants, of up to twenty thousand.
    """
    held_back = (
        held_change
        for held_change in proposal.held_back
        if held_change.guard_result.guard == MAX_CHANGES
    )
    over_limit = {
        (held_change.sid, held_change.action, held_change.resources) for held_change in held_back
    }
    changed = {
        (change.statement, change.action)
        for change in proposal.changes
        if change.kind is not ChangeKind.ADD
    }
    used_actions = {usage.action for usage in evidence.usages}
    for entry in entries:
        is_over_limit = (entry.statement.sid, entry.pattern, entry.resources) in over_limit
        is_changed = (entry.statement.index, entry.pattern) in changed
        if is_over_limit:
            continue
        if not entry.spans_services:
            yield entry
        elif is_changed:
            granted = tuple(action for action in entry.granted if action in used_actions)
            yield replace(entry, granted=granted)
