"""Removals: which entries of the committed policy are removed or narrowed, and which a guard keeps.

What the guards need to know of the evidence is computed once for all removals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from leastpriv.diff.compare import Entry, is_used
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, Usage, grouped, usages_by_action
from leastpriv.permissions.event_table import carriers_of
from leastpriv.permissions.generalize import deletes
from leastpriv.permissions.lifecycle import is_tagging, lifecycle_partners, siblings_of
from leastpriv.permissions.patterns import action_covers, overlaps
from leastpriv.permissions.resource_types import bucket_of, creates_its_resource
from leastpriv.permissions.tool_lifecycle import CDK, STACK_SERVICE, Tool
from leastpriv.policy.compact import fewest_entries, wildcards_for
from leastpriv.policy.document import Document
from leastpriv.proposal.aws_guards import last_recorded
from leastpriv.proposal.confidence import confidences
from leastpriv.proposal.guards import (
    break_glass_runs,
    first_guard_result,
    is_break_glass_use,
    runs_of_users,
)
from leastpriv.proposal.models import (
    Change,
    GuardContext,
    GuardResult,
    HeldBackChange,
    History,
    Options,
    RecordedStream,
    RemovalCandidate,
)
from leastpriv.proposal.origins import is_unreviewed_use, uncounted_runs
from leastpriv.proposal.recorded_use import CallableOperations, called_operations, operation_of
from leastpriv.proposal.settled_silences import SettledSilences
from leastpriv.proposal.visibility_guards import why_unrecorded
from leastpriv.proposal.wildcards import COVERAGE, LIFECYCLE, keeping_result

_REDEPLOYED = 2
"""Runs that deployed a resource again; a script that changes it whenever it exists did so by then.
"""
_MOST_UNSEEN_ACTIONS = 300
"""Where gaps of the evidence keep more actions of `*`, the policy from evidence is too long and too
wide to review.
"""
UNSEEN_SERVICE = "unseen-service"
"""Guard of actions of a service without any call."""
_RECORDED = frozenset({LIFECYCLE, "declared", "minimum-confidence"})
"""Guards of an action whose use would have been recorded: the guards before them ask for that."""
_MOST_LISTED_ACTIONS = 12
"""A longer list of kept actions is compacted into wildcards that grant exactly the same actions."""
_ALL_SERVICES = GuardResult(
    UNSEEN_SERVICE,
    "`unseen-services: keep` keeps its grants of services without any call in the window",
)
_NOT_ACTION = GuardResult(
    "not-action",
    "NotAction grants every other action, and `unseen-services: keep` keeps those of services"
    " without any call in the window",
)
_UNVERIFIED = GuardResult("unknown-action", "it was called, and the catalogue does not know it yet")


def _is_of_other_services(usages: Sequence[Usage]) -> bool:
    """Whether only calls of other services need an action: an Auto Scaling group ends the instances
    that it ran.
    """
    events = {event for usage in usages for event in usage.events}
    service = usages[0].need.permission.action.partition(":")[0]
    return bool(events) and all(
        operation_of(event).partition(":")[0] != service for event in events
    )


def guard_context(
    evidence: Evidence,
    options: Options,
    missing: Sequence[Usage] = (),
    history: History = History(),
    *,
    policies: Sequence[Document] = (),
) -> GuardContext:
    """Computes the inputs of the guards once; `policies` are all known policies of the
    principal.
    """
    usages_of_action = usages_by_action(evidence.usages)
    allowed = {action for action, usages in usages_of_action.items() if is_used(usages)}
    # What only unreviewed runs used has no life cycle that later runs complete.
    decisive = {
        action for action in allowed if not _is_of_unreviewed(usages_of_action[action], evidence)
    }
    unexplained = {usage.action for usage in missing if usage.is_allowed}
    # Calls that no known policy grants show that another policy grants some of their service.
    elsewhere = (usage.action for usage in missing if usage.outcome is not Outcome.DENIED)
    granted_elsewhere = frozenset(action.partition(":")[0] for action in elsewhere)
    own_usages = {
        action
        for action in decisive
        if is_tagging(action) or not _is_of_other_services(usages_of_action[action])
    }
    partners = lifecycle_partners(
        {action: tools_of(usages_of_action[action]) for action in own_usages},
        _redeployed_actions(evidence),
        only_ends=options.drop_unseen_actions,
    )
    break_glass = break_glass_runs(evidence.runs, options.break_glass)
    uncounted = break_glass | uncounted_runs(evidence)
    runs_by_user = runs_of_users(evidence, uncounted)
    fewest_runs_of = min(runs_by_user, key=lambda label: runs_by_user[label])
    programs = grouped(
        [
            (action.partition(":")[0], usage.programs)
            for action, usages in usages_of_action.items()
            for usage in usages
            if not is_unreviewed_use(usage, evidence)
        ]
    )
    streams = grouped(
        (bucket_of(stream.prefix), RecordedStream(stream, days))
        for stream, days in evidence.coverage.data.items()
    )
    return GuardContext(
        evidence=evidence,
        options=options,
        used=usages_of_action,
        counterparts=siblings_of(own_usages),
        partners=partners,
        history=history,
        policies=policies,
        unexplained=frozenset(unexplained),
        separate_runs=runs_by_user[fewest_runs_of],
        fewest_runs_of=fewest_runs_of,
        last_recorded=last_recorded(evidence.usages),
        confidence=confidences(evidence, without=uncounted),
        break_glass_runs=break_glass,
        uncounted_runs=uncounted,
        called=called_operations(evidence),
        recorded=frozenset(map(operation_of, evidence.coverage.events)),
        data_streams=streams,
        whole_days=evidence.coverage.whole_days,
        may_call=CallableOperations(policies, granted_elsewhere),
        programs={
            service: frozenset[str]().union(*program_names)
            for service, program_names in programs.items()
        },
        open_gaps=SettledSilences(
            evidence, options, uncounted, history.history_state.memory
        ).open_gaps(),
    )


def _is_of_unreviewed(usages: Sequence[Usage], evidence: Evidence) -> bool:
    """Whether only unreviewed runs used an action."""
    allowed = (usage for usage in usages if usage.is_allowed)
    return all(is_unreviewed_use(usage, evidence) for usage in allowed)


def creators_of(used_by_action: Mapping[str, Sequence[Usage]]) -> Mapping[str, tuple[str, ...]]:
    """Maps used actions to the used actions that create their resources."""
    used_actions = [action for action, usages in used_by_action.items() if is_used(usages)]
    creating = filter(creates_its_resource, used_actions)
    creators = grouped(
        [(counterpart, action) for action in creating for counterpart in siblings_of((action,))]
    )
    return {action: tuple(creators[action]) for action in used_actions if action in creators}


def _redeployed_actions(evidence: Evidence) -> frozenset[str]:
    """The used actions on a resource that several later runs deployed again, whether with this
    action or another.
    """
    exact = [usage for usage in evidence.allowed_usages if usage.need.exact]
    order = {run.id: number for number, run in enumerate(evidence.runs)}
    runs_by_resource: dict[str, set[str]] = {}
    for usage in exact:
        if not deletes(usage.action):
            runs = order.keys() & usage.runs
            runs_by_resource.setdefault(usage.resource, set()).update(runs)
    later_runs = {
        resource: sorted(runs, key=order.__getitem__)[1:]
        for resource, runs in runs_by_resource.items()
    }
    later_runs_by_action: dict[str, set[str]] = {}
    for usage in exact:
        later_runs_by_action.setdefault(usage.action, set()).update(
            later_runs.get(usage.resource, ())
        )
    return frozenset(
        action for action, runs in later_runs_by_action.items() if len(runs) >= _REDEPLOYED
    )


def tools_of(usages: Sequence[Usage]) -> frozenset[str]:
    """The tools whose types describe what these calls deploy; none for a script, which may do
    anything.
    """
    allowed = [usage for usage in usages if usage.is_allowed]
    programs = {program for usage in allowed for program in usage.programs}
    if any(STACK_SERVICE in usage.forwarded_by for usage in allowed):
        programs.add(Tool.CLOUDFORMATION)
    # Terraform's types are the best description of a call whose record has no user agent.
    return frozenset({program or Tool.TERRAFORM for program in programs} & {CDK, *Tool})


class GuardedEntry:
    """An entry of the committed policy with what the guards said of its actions.

    A guard asks of a policy only whether the principal may call the carriers of the action
    (`may_call`). So a further round, with other policies, asks again about those actions alone
    whose carriers have another answer.
    """

    def __init__(self, entry: Entry) -> None:
        """No guard has been asked yet."""
        self.entry = entry
        self._results: dict[str, GuardResult | None] = {}

    def result_of(self, action: str, context: GuardContext) -> GuardResult | None:
        """The first guard that holds the removal of an action back, or None."""
        if action not in self._results:
            candidate = RemovalCandidate(action, self.entry)
            self._results[action] = first_guard_result(candidate, context)
        return self._results[action]

    def forget(self, changed: frozenset[str]) -> None:
        """Forgets what the guards said of the actions with one of these carriers."""
        for action in [*self._results]:
            if any(carrier.operation in changed for carrier in carriers_of(action)):
                del self._results[action]


def removals(
    entries: Sequence[GuardedEntry], context: GuardContext
) -> tuple[list[Change], list[HeldBackChange]]:
    """Checks each entry of the committed policy."""
    decisions = [_decide(entry, context) for entry in entries]
    changes = [decision for decision in decisions if isinstance(decision, Change)]
    return changes, [decision for decision in decisions if isinstance(decision, HeldBackChange)]


def _decide(guarded: GuardedEntry, context: GuardContext) -> Change | HeldBackChange | None:
    """Returns the change of an entry, or what holds it back; None where it remains as it is.

    A literal is removed or kept as a whole. `sqs:*` is narrowed to the used actions, and those that
    a guard keeps.
    """
    entry = guarded.entry
    used_actions = {
        action
        for action, usages in entry.uses.items()
        if any(_decides_use(usage, context) for usage in usages)
    }
    used = tuple(action for action in entry.granted if action in used_actions)
    doubts: dict[str, GuardResult] = {}
    for action in entry.granted:
        if action not in used_actions:
            doubt = guarded.result_of(action, context)
            if doubt:
                doubts[action] = doubt
    if entry.is_wildcard:
        return _decide_wildcard(entry, used, doubts, context)
    if used:
        return None
    first_doubt = next(iter(doubts.values()), None)
    if first_doubt:
        return held_back(entry, ChangeKind.REMOVE, first_doubt)
    return _change(entry, ChangeKind.REMOVE)


def _decide_wildcard(
    entry: Entry,
    used: tuple[str, ...],
    doubts: Mapping[str, GuardResult],
    context: GuardContext,
) -> Change | HeldBackChange | None:
    """Returns the change of a wildcard to its used actions and those that a guard keeps."""
    kept: dict[str, GuardResult] = {}
    for action, doubt in doubts.items():
        guard_result = keeping_result(RemovalCandidate(action, entry), doubt, context)
        if guard_result:
            kept[action] = guard_result
    remaining = {*used, *kept}
    removed = [action for action in entry.granted if action not in remaining]
    unproven = _without_record(removed, doubts, entry, context)
    whole_result = _keeping_whole(entry, kept)
    if whole_result is None and kept and not removed:
        whole_result = _most_common(kept)
    if whole_result:
        return held_back(entry, ChangeKind.NARROW, whole_result)
    if not removed:
        return None
    kept.update((action, _UNVERIFIED) for action in entry.uses if action not in entry.granted)
    change = _change(entry, ChangeKind.REMOVE)
    if used or kept:
        change = _change(entry, ChangeKind.NARROW, used=used, kept=kept)
    return replace(change, unproven=unproven)


def _keeping_whole(entry: Entry, kept: Mapping[str, GuardResult]) -> GuardResult | None:
    """Returns why a wildcard is not narrowed at all where the evidence is about too few services or
    actions of it; else None.
    """
    if any(guard_result.guard == UNSEEN_SERVICE for guard_result in kept.values()):
        if entry.statement.not_actions:
            return _NOT_ACTION
        if entry.spans_services:
            return _ALL_SERVICES
    if not entry.spans_services:
        return None
    unseen = {
        action: guard_result
        for action, guard_result in kept.items()
        if guard_result.guard in COVERAGE
    }
    return _most_common(unseen) if len(unseen) > _MOST_UNSEEN_ACTIONS else None


def _decides_use(usage: Usage, context: GuardContext) -> bool:
    """Whether a usage alone makes an action a used one: an allowed call of a run that is neither a
    break-glass session nor unreviewed.
    """
    if not usage.is_allowed:
        return False
    if is_break_glass_use(usage, context.break_glass_runs):
        return False
    return not is_unreviewed_use(usage, context.evidence)


def _without_record(
    removed: Sequence[str],
    held: Mapping[str, GuardResult],
    entry: Entry,
    context: GuardContext,
) -> dict[str, GuardResult]:
    """Returns the removed actions whose use may leave no record, with the guard that doubts."""
    result_by_action: dict[str, GuardResult] = {}
    for action in removed:
        doubt = held.get(action)
        if doubt and doubt.guard not in _RECORDED:
            result_by_action[action] = doubt
        elif doubt is None and (reason := why_unrecorded(RemovalCandidate(action, entry), context)):
            # Only the actions of a service without any call are dropped before this is asked.
            result_by_action[action] = GuardResult(UNSEEN_SERVICE, reason)
    return result_by_action


def _most_common(kept: Mapping[str, GuardResult]) -> GuardResult:
    return Counter(kept.values()).most_common(1)[0][0]


def held_back(entry: Entry, kind: ChangeKind, guard_result: GuardResult) -> HeldBackChange:
    """Returns a change of an entry that a guard holds back."""
    return HeldBackChange(kind, entry.pattern, entry.resources, guard_result, entry.statement.sid)


def change_of(entry: Entry, kind: ChangeKind) -> Change:
    """Returns a change of an entry, without the grants that replace it."""
    statement = entry.statement
    return Change(
        kind=kind,
        action=entry.pattern,
        resources=entry.resources,
        statement=statement.index,
        sid=statement.sid,
        line=statement.line,
    )


def _change(
    entry: Entry,
    kind: ChangeKind,
    used: tuple[str, ...] = (),
    kept: Mapping[str, GuardResult] | None = None,
) -> Change:
    """Returns the removal or narrowing of an entry to its used and its `kept` actions."""
    usages = tuple(usage for action in used for usage in entry.uses[action] if usage.is_allowed)
    actions_left = {*used, *(kept or ())}
    partners = [action for action, found in (kept or {}).items() if found.guard == LIFECYCLE]
    other_actions = [action for action, found in (kept or {}).items() if found.guard != LIFECYCLE]
    return replace(
        change_of(entry, kind),
        granted=len(entry.granted),
        removed_actions=tuple(action for action in entry.granted if action not in actions_left),
        used=used,
        replacement=replacement_entries((*used, *partners), other_actions, entry),
        kept=kept,
        usages=usages,
    )


def replacement_entries(used: Sequence[str], kept: Sequence[str], entry: Entry) -> tuple[str, ...]:
    """Action entries that replace `entry` and grant exactly `used` and `kept`.

    Where a person named a part of a service (`s3:Get*`), these are the fewest: a narrower wildcard
    (`s3:GetObject*`) replaces the actions that are all that it grants. Below a wildcard of a whole
    service, used actions are written in full, and a long list of kept ones is compacted into
    wildcards by common prefixes (`lambda:List*`). No wildcard grants a removed action or anything
    beyond the entry.
    """
    actions_left = {*used, *kept}
    gone = [action for action in entry.granted if action not in actions_left]
    if not entry.spans_a_service:
        return fewest_entries(actions_left, gone, lambda pattern: _entry_grants(entry, pattern))
    if len(kept) <= _MOST_LISTED_ACTIONS:
        return tuple(sorted(actions_left))
    wildcards = wildcards_for(
        kept, gone, lambda pattern: _entry_grants(entry, pattern), inner=False
    )
    return tuple(sorted({*used, *wildcards}))


def _entry_grants(entry: Entry, pattern: str) -> bool:
    """Whether an entry grants all that a wildcard would, including actions that AWS adds later."""
    excluded = entry.statement.not_actions
    if excluded:
        return not any(
            overlaps(excluded_pattern, pattern, ignore_case=True) for excluded_pattern in excluded
        )
    return action_covers(entry.pattern, pattern)
