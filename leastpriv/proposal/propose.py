"""From the difference to a draft: the changed document, its changes, and what was held back by which guard."""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.diff.compare import Difference
from leastpriv.evidence.usage import Evidence
from leastpriv.model import ChangeKind, Outcome, Usage
from leastpriv.permissions.siblings import siblings_of
from leastpriv.policy.document import VARIABLES_VERSION, Document, parse
from leastpriv.policy.edit import AppendStatement, DropStatement, Edit, ReplaceActions, apply, create
from leastpriv.proposal.extend import additions, refused_elsewhere, statements
from leastpriv.proposal.fingerprint import DRAFT_ID
from leastpriv.proposal.narrow import not_judged, removals
from leastpriv.proposal.situation import Change, Draft, HeldBack, History, Objection, Options, Situation

_NOTHING_KNOWN = History()


def propose(
    document: Document | None,
    difference: Difference,
    evidence: Evidence,
    options: Options,
    history: History = _NOTHING_KNOWN,
) -> Draft:
    """Decides every change and makes the smallest edit; without a committed document, writes a draft from usage."""
    escapes = document is None or document.version == VARIABLES_VERSION
    committed = document.statements if document else ()
    added, refused = additions(difference.missing, evidence, options, history, committed, escapes=escapes)
    refused.extend(_overruled(usage) for usage in difference.overruled)
    refused.extend(refused_elsewhere(usage) for usage in difference.refused_elsewhere)
    if document is None:
        if DRAFT_ID in history.declined:
            refused.extend(_declined(change, history.declined[DRAFT_ID]) for change in added)
            added = []
        content = create(statements(added, ()))
        return Draft(None, parse(content, "the first draft"), content, tuple(added), (), tuple(refused))
    situation = situation_of(evidence, options, difference.missing, history)
    narrowed, held_back = removals(difference, situation)
    held_back.extend(not_judged(document))
    if not added and _empties(document, narrowed):
        held_back.extend(
            HeldBack(change.kind, change.action, change.resources, _WHOLE, change.sid) for change in narrowed
        )
        narrowed = []
    changes = (*added, *narrowed)
    proposed = apply(document, _edits(document, narrowed, added))
    return Draft(document, proposed, proposed.to_bytes(), changes, tuple(held_back), tuple(refused))


def situation_of(
    evidence: Evidence, options: Options, missing: Sequence[Usage] = (), history: History = _NOTHING_KNOWN
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
    return Situation(evidence, options, used, siblings, services, frozenset(unexplained), history.declined)


_WHOLE = Objection("whole-policy", "no statement would be left, which IAM refuses: detach the policy instead")


def _empties(document: Document, changes: Sequence[Change]) -> bool:
    """Whether every entry of every statement would go."""
    removed = [(change.statement, change.action) for change in changes if change.kind is ChangeKind.REMOVE]
    left = [
        entry
        for statement in document.statements
        for entry in (*statement.actions, *statement.not_actions)
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


def _edits(document: Document, narrowed: Sequence[Change], added: Sequence[Change]) -> list[Edit]:
    edits: list[Edit] = []
    for statement in document.statements:
        changes = [change for change in narrowed if change.statement == statement.index]
        if not changes:
            continue
        remaining = set(statement.actions) - {change.action for change in changes}
        inserted = tuple((change.action, change.becomes) for change in changes if change.becomes)
        if remaining or inserted:
            gone = frozenset(change.action for change in changes)
            edits.append(ReplaceActions(statement.index, gone, inserted))
        else:
            edits.append(DropStatement(statement.index))
    sids = [statement.sid for statement in document.statements]
    edits.extend(AppendStatement(statement) for statement in statements(added, sids))
    return edits
