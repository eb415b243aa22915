"""From the difference to a draft: the changed document, its changes, and what was held back by which guard."""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.diff.compare import Difference, entries_of
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, Usage
from leastpriv.permissions.lifecycle import siblings_of
from leastpriv.policy.compact import MayFold
from leastpriv.policy.containment import contained
from leastpriv.policy.document import VARIABLES_VERSION, Document, Statement, parse
from leastpriv.policy.edit import DropStatement, ReplaceActions, apply, create
from leastpriv.policy.size import Kind, Packed, kind_of, pack, size_beside
from leastpriv.proposal.addition_rules import refused_elsewhere, refused_in_part
from leastpriv.proposal.additions import additions
from leastpriv.proposal.change_limit import first_of, first_onto
from leastpriv.proposal.confidence import Confidences, confidences
from leastpriv.proposal.edit_plan import edits_of, statements
from leastpriv.proposal.fingerprint import DRAFT_ID
from leastpriv.proposal.guards.aws import last_noted
from leastpriv.proposal.guards.people_and_history import emergencies_of
from leastpriv.proposal.guards.registry import separate_runs
from leastpriv.proposal.models import Change, Draft, HeldBack, History, Objection, Options, Situation
from leastpriv.proposal.removals import removals
from leastpriv.proposal.resource_narrowing import makers_of, narrowed_resources

_NOTHING_KNOWN = History()


def propose(
    document: Document | None,
    difference: Difference,
    evidence: Evidence,
    options: Options,
    history: History = _NOTHING_KNOWN,
    attached: Sequence[Document] = (),
    confidence: Confidences | None = None,
    *,
    packs: bool = True,
) -> Draft:
    """Decides every change and makes the smallest edit; without a committed document, writes a draft from usage.

    What is too large for AWS is packed, unless that is not wanted (`packs`), which says the same in another form;
    `attached` are the other policies of the role; `confidence` is that of other runs than those of `evidence`, where
    these decide what is held back.
    """
    escapes = document is None or document.version == VARIABLES_VERSION
    committed = document.statements if document else ()
    added, refused = additions(difference.missing, evidence, options, history, committed, escapes=escapes)
    refused.extend(_overruled(usage) for usage in difference.overruled)
    refused.extend(refused_elsewhere(usage) for usage in difference.refused_elsewhere)
    refused.extend(refused_in_part(usage) for usage in difference.refused_in_part)
    if document is None:
        if DRAFT_ID in history.declined:
            refused.extend(_declined(change, history.declined[DRAFT_ID]) for change in added)
            added = []
        whole = parse(create(statements(added, ())), "the first draft")
        first = _within_quota(whole, evidence.principal, attached) if packs else Packed(whole)
        return Draft(None, first.document, first.document.to_bytes(), tuple(added), (), tuple(refused), packed=first)
    situation = situation_of(evidence, options, difference.missing, history, confidence)
    narrowed, held_back = removals(difference, situation)
    added, narrowed, cut = _limited(added, narrowed, situation)
    onto, held_open = narrowed_resources(difference, narrowed, situation, escapes=escapes)
    onto, cut_onto = _limited_onto(onto, len(added) + len(narrowed), situation)
    held_back += [*cut, *cut_onto]
    if not added and _empties(document, narrowed):
        held_back.extend(
            HeldBack(change.kind, change.action, change.resources, _WHOLE, change.sid) for change in narrowed
        )
        narrowed = []
    changes = (*added, *narrowed, *onto)
    edited = apply(document, edits_of(document, changes)) if changes else document
    packed = _packed(document, edited, evidence.principal, attached) if changes and packs else Packed(edited)
    return Draft(
        document,
        packed.document,
        packed.document.to_bytes(),
        changes,
        tuple(held_back),
        tuple(refused),
        tuple(held_open),
        packed,
    )


def _limited(
    added: list[Change], narrowed: list[Change], situation: Situation
) -> tuple[list[Change], list[Change], list[HeldBack]]:
    """What `max-changes` has room for, and the rest."""
    most, known = situation.options.max_changes, situation.confidence
    return first_of(added, narrowed, most, known) if most and known else (added, narrowed, [])


def _limited_onto(onto: list[Change], taken: int, situation: Situation) -> tuple[list[Change], list[HeldBack]]:
    """What of it fits beside so many other changes, and the rest."""
    most = situation.options.max_changes
    if not most:
        return onto, []
    makers = makers_of(situation)
    return first_onto(onto, max(most - taken, 0), lambda action: makers.get(action, ()))


def _packed(document: Document, edited: Document, principal: str, attached: Sequence[Document]) -> Packed:
    """The edited document within its quota; a wildcard is written only where the committed document granted it."""

    def may_fold(edited: Document, statement: Statement, pattern: str) -> bool:
        others = [DropStatement(index) for index in range(len(edited.statements)) if index != statement.index]
        narrow = ReplaceActions(statement.index, frozenset(statement.actions), ((statement.actions[0], (pattern,)),))
        return contained([document], [apply(edited, [*others, narrow])]).holds

    return _within_quota(edited, principal, attached, kind_of(document, principal), may_fold)


def _within_quota(
    document: Document,
    principal: str,
    attached: Sequence[Document],
    kind: Kind = Kind.MANAGED,
    may_fold: MayFold = lambda _document, _statement, _pattern: False,
) -> Packed:
    managed = sum(kind_of(other, principal) is Kind.MANAGED for other in attached)
    beside = size_beside(kind, attached, principal)
    return pack(document, kind, attached=managed, beside=beside, may_fold=may_fold)


def situation_of(
    evidence: Evidence,
    options: Options,
    missing: Sequence[Usage] = (),
    history: History = _NOTHING_KNOWN,
    confidence: Confidences | None = None,
) -> Situation:
    """What guards look at, computed once."""
    used: dict[str, tuple[Usage, ...]] = {}
    for usage in evidence.usages:
        action = usage.need.permission.action
        used[action] = (*used.get(action, ()), usage)
    allowed = {action for action, usages in used.items() if any(usage.outcome is Outcome.ALLOWED for usage in usages)}
    services = frozenset(action.partition(":")[0] for action in used)
    unexplained = {usage.need.permission.action for usage in missing if usage.outcome is Outcome.ALLOWED}
    siblings = siblings_of(allowed)
    emergencies = emergencies_of(evidence.runs, options.break_glass)
    runs = separate_runs(evidence, emergencies)
    return Situation(
        evidence,
        options,
        used,
        siblings,
        services,
        frozenset(unexplained),
        history.declined,
        runs,
        history.changed,
        last_noted(evidence.usages),
        history.recollection,
        confidence or confidences(evidence, without=emergencies),
        emergencies,
        history.earlier,
    )


_WHOLE = Objection("whole-policy", "no statement would be left, which IAM refuses: detach the policy instead")


def _empties(document: Document, changes: Sequence[Change]) -> bool:
    """Whether every entry of every statement would go."""
    removed = [(change.statement, change.action) for change in changes if change.kind is ChangeKind.REMOVE]
    left = [
        entry
        for statement in document.statements
        for entry in entries_of(statement)
        if statement.effect == "Deny" or (statement.index, entry) not in removed
    ]
    return bool(removed) and not left


def _declined(change: Change, number: int) -> HeldBack:
    objection = Objection("declined", f"the first draft was declined in #{number}")
    return HeldBack(ChangeKind.ADD, change.action, change.resources, objection, usages=change.usages)


def _overruled(usage: Usage) -> HeldBack:
    reason = "the policy itself, or another one attached, denies it explicitly"
    permission = usage.need.permission
    return HeldBack(
        ChangeKind.ADD,
        permission.action,
        (permission.resource,),
        Objection("explicit-deny", reason),
        usages=(usage,),
    )
