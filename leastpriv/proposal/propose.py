"""Makes a proposal from the difference between policy and usage; `max-changes` keeps its most
certain changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.diff.compare import Difference, entries_of
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.used_names import names_of
from leastpriv.models import Basis, ChangeKind, GapKind
from leastpriv.permissions.names.app_names import AppNames, names_with_a_date, names_with_a_year
from leastpriv.policy.document import VARIABLES_VERSION, Document, parse
from leastpriv.policy.edit import (
    apply_edits,
    create_policy,
    edited_for_evaluation,
)
from leastpriv.policy.size import PackedPolicy
from leastpriv.proposal.addition_rules import (
    denied_elsewhere,
    denied_in_doubt,
    denied_in_part,
    held_addition,
)
from leastpriv.proposal.additions import (
    additions,
    with_new_deletions,
    without_denied,
    without_unnamed_state,
)
from leastpriv.proposal.complete_additions import (
    Completion,
    DeniedSteps,
    complete_additions,
)
from leastpriv.proposal.confidence import Confidences
from leastpriv.proposal.edit_plan import new_statements, plan_edits, split_editable
from leastpriv.proposal.escalation_paths import EscalationPath, escalation_paths, paths_through
from leastpriv.proposal.grants_on_all import without_folded
from leastpriv.proposal.lifecycle_additions import lifecycle_additions, uploads
from leastpriv.proposal.models import (
    BREAKS,
    DRAFT_ID,
    NOT_EDITABLE,
    Change,
    CompleteAdditions,
    DeclaredNeed,
    GuardContext,
    GuardResult,
    HeldBackChange,
    Lifecycle,
    Options,
    Proposal,
    ProposalInputs,
    Release,
)
from leastpriv.proposal.offers import SettledOffers, settle_offers
from leastpriv.proposal.origins import proved_runs
from leastpriv.proposal.quotas import FittedChanges, is_within_quota, within_quota, within_quotas
from leastpriv.proposal.recorded_use import CallableOperations
from leastpriv.proposal.releases import releases
from leastpriv.proposal.removals import GuardedEntry, creators_of, guard_context, removals
from leastpriv.proposal.resource_narrowing import narrow_resources
from leastpriv.proposal.unused_deletions import DraftedDeletions, offered_deletions

_WHOLE_POLICY = GuardResult(
    "whole-policy", "no statement would be left, which IAM rejects: detach the policy instead"
)
_OVERRULED = GuardResult(
    "explicit-deny", "the policy itself, or another one attached, denies it explicitly"
)
MAX_CHANGES = "max-changes"
"""Guard of changes over the limit."""
_PORTION = 25
"""Most removals of a proposal after a gap or a merged proposal: four of them take a hundred."""
_NO_DANGER = (True, 99)
"""After the rank of every path."""
_BASES = (Basis.DENIED, Basis.OBSERVED, Basis.INFERRED)


def propose(
    document: Document | None,
    difference: Difference,
    evidence: Evidence,
    options: Options,
    inputs: ProposalInputs = ProposalInputs(),
) -> Proposal:
    """Makes a proposal: decides every change and makes the smallest edit, or writes a first draft
    from usage.
    """
    history, attached = inputs.history, inputs.attached
    names = names_of(evidence.usages, evidence.runs, options.copies, proved_runs(evidence))
    policies = (document, *attached) if document else tuple(attached)
    added, held_back_additions = additions(
        difference.missing, evidence, options, history, document, names=names
    )
    added = without_denied(added, names, policies)
    held_back_additions.extend(
        held_addition(usage, _OVERRULED) for usage in difference.explicitly_denied
    )
    held_back_additions.extend(map(denied_elsewhere, difference.denied_elsewhere))
    held_back_additions.extend(map(denied_in_part, difference.denied_in_part))
    known_documents = [*([document] if document else []), *attached]
    held_back_additions.extend(
        denied_in_doubt(usage, evidence.principal, known_documents)
        for usage in difference.denied_in_doubt
    )
    if document is None:
        context = guard_context(evidence, options, difference.missing, history, policies=attached)
        return _first_draft(added, held_back_additions, context, inputs, names)
    added, offered = _state_offered(added, options)
    context = guard_context(evidence, options, difference.missing, history, policies=policies)
    context = replace(
        context,
        denied_steps=DeniedSteps(_completion(context)),
        unused_deletions=DraftedDeletions(context, names),
    )
    if inputs.confidence:
        context = replace(context, confidence=inputs.confidence)
    context, added, narrowed, held_back = _removals(difference, context, added, policies)
    offered += offered_deletions(difference, narrowed, context)
    settled = _settled(document, offered, added, context, inputs)
    added = [*added, *without_denied(settled.written, names, policies)]
    planning = _Planning(document, difference, tuple(added), names, policies, inputs)
    planned = planning.within_quotas(_Removals(context, narrowed, held_back))
    fitted, held_back = planned.fitted, [*planned.removed.held_back, *planned.held_back]
    held_back_additions += planned.held_back_additions
    released: tuple[Release, ...] = ()
    if not planned.narrows and inputs.writes:
        escapes = document.version == VARIABLES_VERSION
        context = planned.removed.context
        released = releases(difference, context, names, held_back, escapes=escapes)
    return Proposal(
        committed=document,
        document=fitted.packed.document,
        content=fitted.packed.document.to_bytes(),
        changes=fitted.changes,
        held_back=(*held_back, *planned.too_large),
        held_back_additions=tuple(held_back_additions),
        held_back_restrictions=planned.held_back_restrictions,
        packed=fitted.packed,
        offered=settled.offered,
        waiting=settled.waiting,
        notes=_notes(fitted.changes, names, evidence),
        releases=released,
        to_paste=planned.by_hand if document.source.format == "hcl" else (),
    )


def _settled(
    document: Document,
    offers: Sequence[Change],
    added: Sequence[Change],
    context: GuardContext,
    inputs: ProposalInputs,
) -> SettledOffers:
    """Adds what the steps of denied additions usually need besides to the offers, and decides which
    are written.

    Nothing is offered that the quotas of the principal's policies do not take.
    """
    options = context.options
    completing = _completing(added, context, inputs)
    principal = context.evidence.principal
    if completing and not _fits(document, (*added, *completing), principal, inputs):
        completing = []
    settled = settle_offers((*offers, *completing), options, context.history)
    if not options.max_changes:
        # The default limits removals alone.
        return settled
    room = max(options.max_changes - len(added), 0)
    waiting = settled.written[room:]
    return SettledOffers(settled.written[:room], (*waiting, *settled.offered), waiting)


def _completing(
    added: Sequence[Change], context: GuardContext, inputs: ProposalInputs
) -> list[Change]:
    """What the steps of denied additions usually need besides; nothing where it is neither written
    nor shown.
    """
    options = context.options
    if not inputs.writes and options.complete_additions is CompleteAdditions.OFFER:
        return []
    return complete_additions(added, _completion(context))


def _completion(context: GuardContext) -> Completion:
    return Completion(context.evidence, context.options, context.history, context.policies)


def _fits(
    document: Document, added: Sequence[Change], principal: str, inputs: ProposalInputs
) -> bool:
    """Whether the committed policy with some additions keeps the quotas."""
    if not inputs.writes:
        return True
    edits = plan_edits(document, split_editable(document, added).editable)
    if not edits:
        return True
    edited = apply_edits(document, edits)
    return is_within_quota(within_quota(edited, principal, inputs.attached, document))


def _first_draft(
    added: list[Change],
    held_back: list[HeldBackChange],
    context: GuardContext,
    inputs: ProposalInputs,
    names: AppNames,
) -> Proposal:
    """Writes a first draft from usage and declarations, unless an earlier one was declined."""
    from leastpriv.proposal.preflight import additions_of, held_back_of, judged_needs

    evidence, options = context.evidence, context.options
    offered: tuple[Change, ...] = ()
    judged: tuple[DeclaredNeed, ...] = ()
    if DRAFT_ID in inputs.history.declined:
        guard_result = GuardResult(
            "declined", f"the first draft was {inputs.history.declined[DRAFT_ID].words}"
        )
        held_back += [_held_back(change, guard_result) for change in added]
        added = []
    else:
        added = [*added, *uploads(added, context)]
        if options.lifecycle.writes:
            life_cycle = lifecycle_additions(added, context, names)
            added = [*added, *without_denied(life_cycle.written, names, inputs.attached)]
            offered = tuple(life_cycle.offered)
        added, of_ids = _state_offered(added, options)
        offered_keys = {(change.action, change.resources) for change in offered}
        for change in _completing(added, context, inputs):
            if (change.action, change.resources) not in offered_keys:
                offered = (*offered, change)
        settled = settle_offers((*of_ids, *offered), options, inputs.history)
        added = [*added, *without_denied(settled.written, names, inputs.attached)]
        offered = settled.offered
        judged = judged_needs(
            evidence.aws_findings.declared.needs,
            inputs.attached,
            evidence.principal,
            options,
            observed=added,
        )
        held_back = [*held_back, *held_back_of(judged)]
        added = [*added, *additions_of(judged)]
    added = with_new_deletions(added, names, inputs.attached)
    draft = parse(create_policy(new_statements(added, ())), "the first draft")
    packed = (
        within_quota(draft, evidence.principal, inputs.attached)
        if inputs.writes
        else PackedPolicy(draft)
    )
    content = packed.document.to_bytes()
    return Proposal(
        committed=None,
        document=packed.document,
        content=content,
        changes=tuple(added),
        held_back=(),
        held_back_additions=tuple(held_back),
        packed=packed,
        offered=offered,
        notes=_notes(added, names, evidence),
        declared=judged,
    )


def _state_offered(added: Sequence[Change], options: Options) -> tuple[list[Change], list[Change]]:
    """The additions, and the deletions of state by any id, which are offered only."""
    if options.lifecycle is Lifecycle.ALL:
        return [*added], []
    return without_unnamed_state(added)


def _notes(changes: Sequence[Change], names: AppNames, evidence: Evidence) -> tuple[str, ...]:
    """What the names do not show, and which written names the next month or year breaks."""
    every = [name for change in changes for name in (*change.resources, *change.restricted_to)]
    written_names = [name for name in every if name != "*"]
    dated = names_with_a_date(written_names)
    breaks = [f"{BREAKS} the next date: {dated_name} holds a date as it is" for dated_name in dated]
    years = {f"{run.first.year}" for run in evidence.runs}
    breaks += [
        f"{BREAKS} 1 January: {name} holds the year as it is"
        for name in names_with_a_year(written_names, years)
    ]
    return (*names.copies.notes, *breaks)


def _removals(
    difference: Difference, context: GuardContext, added: list[Change], policies: Sequence[Document]
) -> tuple[GuardContext, list[Change], list[Change], list[HeldBackChange]]:
    """Finds additions and removals within the limit; an action may go with the last operation that
    could need it.

    `policies` are the edited one, and the others of the principal.
    """
    document, *attached = policies
    most_changes = _most_changes(context, added)
    entries = [*map(GuardedEntry, difference.entries)]
    while True:
        found, held_back = removals(entries, context)
        within, narrowed, left_over = added, found, list[HeldBackChange]()
        if most_changes and len(added) + len(found) > most_changes:
            paths = escalation_paths(policies, context.evidence.principal)
            within, narrowed, left_over = limit_changes(
                added, found, limit=most_changes, context=context, paths=paths
            )
        may_call, held_back = context.may_call, [*held_back, *left_over]
        if (
            not narrowed
            or not isinstance(may_call, CallableOperations)
            or _removes_everything(document, narrowed)
        ):
            return context, within, narrowed, held_back
        # What the principal may call after the removals, if a guard was given another answer
        # before.
        fewer = may_call.differs_in((_edited(document, narrowed), *attached))
        if fewer is None:
            limited = _Removals(context, narrowed, held_back)
            confirmed = _confirmed(entries, limited, policies)
            return confirmed.context, within, confirmed.narrowed, confirmed.held_back
        context = _with_callable(context, fewer, entries)


def _with_callable(
    context: GuardContext, may_call: CallableOperations, entries: Sequence[GuardedEntry]
) -> GuardContext:
    """Returns the facts with what the principal may call now, and forgets the results that depend
    on it.
    """
    for entry in entries:
        entry.forget(may_call.changed)
    return replace(context, may_call=may_call)


class _Removals(Struct, frozen=True):
    """Removals within the limit, the others, and the facts that the guards had."""

    context: GuardContext
    narrowed: list[Change]
    held_back: list[HeldBackChange]

    def without(self, statements: Collection[int]) -> _Removals:
        """The removals without the narrowings of some statements."""
        narrowed = [change for change in self.narrowed if not _narrows(change, statements)]
        return replace(self, narrowed=narrowed)


def _narrows(change: Change, statements: Collection[int]) -> bool:
    return change.kind is ChangeKind.NARROW and change.statement in statements


class _Planned(Struct, frozen=True):
    """The changes of an existing policy."""

    fitted: FittedChanges
    removed: _Removals
    narrows: bool
    """Whether an action or a resource was to go, before the quotas."""
    held_back: list[HeldBackChange]
    """What does not go besides the removals that a guard holds back."""
    held_back_additions: list[HeldBackChange]
    held_back_restrictions: tuple[HeldBackChange, ...]
    by_hand: tuple[Change, ...]
    """Changes that the file does not take."""
    too_large: tuple[HeldBackChange, ...] = ()


class _Planning(Struct, frozen=True):
    """Narrows resources after removals, and fits the result into the quotas."""

    document: Document
    difference: Difference
    added: tuple[Change, ...]
    names: AppNames
    policies: Sequence[Document]
    inputs: ProposalInputs

    def within_quotas(self, removed: _Removals) -> _Planned:
        """Plans the changes; what needs a narrowing that the quotas do not take is held back too.

        Each round leaves a further statement as it is, or is the last.
        """
        left: frozenset[int] = frozenset()
        too_large: list[HeldBackChange] = []
        while True:
            planned = self._planned(removed, left)
            further = planned.fitted.statements
            too_large += planned.fitted.held_back
            if not further:
                return replace(planned, too_large=tuple(too_large))
            left |= further
            entries = [*map(GuardedEntry, self.difference.entries)]
            removed = _confirmed(entries, planned.removed.without(left), self.policies, left)

    def _planned(self, removed: _Removals, left: frozenset[int]) -> _Planned:
        """Plans the changes where some statements are not narrowed."""
        document, context = self.document, removed.context
        narrowed, held_back = removed.narrowed, list[HeldBackChange]()
        escapes = document.version == VARIABLES_VERSION
        restricted, held_back_restrictions = narrow_resources(
            self.difference, narrowed, context, self.names, escapes=escapes, left=left
        )
        most = _most_changes(context, self.added)
        if most:
            room = max(most - len(self.added) - len(narrowed), 0)
            restricted, over_limit = limit_restrictions(
                restricted, room, creators_of(context.used), context.options
            )
            held_back += over_limit
        narrowed = without_folded(narrowed, restricted)
        if not self.added and _removes_everything(document, narrowed):
            held_back += [_held_back(change, _WHOLE_POLICY) for change in narrowed]
            narrowed = []
        split = split_editable(document, (*self.added, *narrowed, *restricted))
        held_back_additions: list[HeldBackChange] = []
        for by_hand in split.by_hand:
            is_addition = by_hand.change.kind is ChangeKind.ADD
            held_changes = held_back_additions if is_addition else held_back
            reason = f"it cannot be edited safely: {by_hand.reason}"
            guard_result = GuardResult(NOT_EDITABLE, reason)
            held_changes.append(_held_back(by_hand.change, guard_result))
        written = with_new_deletions(split.editable, self.names, self.policies)
        principal = context.evidence.principal
        return _Planned(
            fitted=within_quotas(document, tuple(written), principal, self.inputs),
            removed=removed,
            narrows=bool(narrowed or restricted),
            held_back=held_back,
            held_back_additions=held_back_additions,
            held_back_restrictions=tuple(held_back_restrictions),
            by_hand=tuple(by_hand.change for by_hand in split.by_hand),
        )


def _confirmed(
    entries: Sequence[GuardedEntry],
    removed: _Removals,
    policies: Sequence[Document],
    left: Collection[int] = (),
) -> _Removals:
    """Holds the removals back that need the removal of an operation that remains granted, because
    the limit leaves it or its statement is `left` as it is.

    Each round removes less than the one before, or is the last.
    """
    document, *attached = policies
    context, narrowed, held_back = removed.context, removed.narrowed, removed.held_back
    while isinstance(context.may_call, CallableOperations):
        grown = context.may_call.grown_in((_edited(document, narrowed), *attached))
        if grown is None:
            break
        context = _with_callable(context, grown, entries)
        found, held_back = removals(entries, context)
        found = [change for change in found if not _narrows(change, left)]
        before = {(change.statement, change.action): change for change in narrowed}
        narrowed = [
            change
            for change in found
            if _removes_no_more(change, before.get((change.statement, change.action)))
        ]
        taken = {id(change) for change in narrowed}
        over_limit = _over_limit(len(found), context.options)
        held_back += [_held_back(change, over_limit) for change in found if id(change) not in taken]
    return _Removals(context, narrowed, held_back)


def _removes_no_more(change: Change, before: Change | None) -> bool:
    """Whether a removal is at most an earlier one of the same entry."""
    return before is not None and {*change.removed_actions} <= {*before.removed_actions}


def _edited(document: Document, narrowed: Sequence[Change]) -> Document:
    """The policy after some removals, to be evaluated."""
    edits = plan_edits(document, split_editable(document, narrowed).editable)
    return edited_for_evaluation(document, edits)


def _removes_everything(document: Document, changes: Sequence[Change]) -> bool:
    removed = {
        (change.statement, change.action) for change in changes if change.kind is ChangeKind.REMOVE
    }
    return bool(removed) and all(
        statement.effect != "Deny" and (statement.index, entry) in removed
        for statement in document.statements
        for entry in entries_of(statement)
    )


def limit_changes(
    added: Sequence[Change],
    narrowed: Sequence[Change],
    *,
    limit: int,
    context: GuardContext,
    paths: Sequence[EscalationPath],
) -> tuple[list[Change], list[Change], list[HeldBackChange]]:
    """Splits additions and removals into the first `limit` changes and the rest, each in the given
    order.

    Additions come first, because the next deploy fails without them: denied before merely observed,
    then by number of runs. Removals follow: those of actions on the most dangerous paths to
    administrator first, then whole entries before narrowed ones, then by confidence of the service.
    File order and names break ties.
    """
    by_danger = sorted(
        narrowed, key=lambda change: _removal_rank(change, context.confidence, paths)
    )
    ranked = [*sorted(added, key=_addition_rank), *by_danger]
    taken = {id(change) for change in ranked[:limit]}
    guard_result = _over_limit(len(ranked), context.options)
    held_back = [_held_back(change, guard_result) for change in ranked[limit:]]
    return (
        [change for change in added if id(change) in taken],
        [change for change in narrowed if id(change) in taken],
        held_back,
    )


def limit_restrictions(
    narrowed: Sequence[Change],
    limit: int,
    creators: Mapping[str, Sequence[str]],
    options: Options,
) -> tuple[list[Change], list[HeldBackChange]]:
    """Splits resource restrictions into the first `limit` and the rest, by number of runs.

    An action that uses what another action creates is restricted only together with that one
    (`makers`).
    """
    ranked = sorted(
        narrowed, key=lambda change: (-_run_count(change), change.statement, change.used)
    )
    waiting = {change.restricted_action for change in narrowed}
    chosen_changes: list[Change] = []
    while len(chosen_changes) < limit:
        waiting_changes = (change for change in ranked if change not in chosen_changes)
        free = next(
            (
                waiting_change
                for waiting_change in waiting_changes
                if waiting.isdisjoint(creators.get(waiting_change.restricted_action, ()))
            ),
            None,
        )
        if free is None:
            break
        chosen_changes.append(free)
        waiting -= {free.restricted_action}
    taken = {id(change) for change in chosen_changes}
    held_back = [
        _held_back(change, _over_limit(len(ranked), options))
        for change in ranked
        if id(change) not in taken
    ]
    return [change for change in narrowed if id(change) in taken], held_back


def _addition_rank(change: Change) -> tuple[object, ...]:
    basis = change.basis or Basis.OBSERVED
    return _BASES.index(basis), -_run_count(change), change.action, change.resources


def _removal_rank(
    change: Change, confidence: Confidences, paths: Sequence[EscalationPath]
) -> tuple[object, ...]:
    """Returns the rank of a removal under `max-changes`, the lowest first: what closes a path of
    escalation, then whole entries, then what the evidence shows best.
    """
    services = {action.partition(":")[0] for action in change.removed_actions} or {
        change.action.partition(":")[0]
    }
    least_certain = min(confidence.of(f"{service}:").percent for service in services)
    danger = min(
        (path.rank for path in paths_through(change.removed_actions, paths)), default=_NO_DANGER
    )
    return (
        danger,
        change.kind is not ChangeKind.REMOVE,
        -least_certain,
        change.statement,
        change.action.lower(),
        change.action,
    )


def _run_count(change: Change) -> int:
    return len({run for usage in change.usages for run in usage.runs})


def _over_limit(found: int, options: Options) -> GuardResult:
    limit = f"`max-changes` allows {options.max_changes}"
    if options.max_changes is None:
        limit = (
            f"a proposal after a gap or after a merged one has {_PORTION} removals at most"
            " (`max-changes`)"
        )
    return GuardResult(
        MAX_CHANGES, f"{found} changes are found and {limit}; the most certain come first"
    )


def _most_changes(context: GuardContext, added: Sequence[Change]) -> int:
    """Returns how many changes a proposal with some additions has at most; 0: any number.

    A first proposal may be long. Many removals at once later on, or around days without records,
    show that the evidence changed, so that they come in portions.
    """
    if context.options.max_changes is not None:
        return context.options.max_changes
    has_silence = any(gap.kind is GapKind.SILENCE for gap in context.evidence.gaps)
    return len(added) + _PORTION if has_silence or context.history.was_merged else 0


def _held_back(change: Change, why: GuardResult) -> HeldBackChange:
    return HeldBackChange(
        change.kind, change.action, change.resources, why, change.sid, usages=change.usages
    )
