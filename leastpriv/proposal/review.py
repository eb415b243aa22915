"""A person's edit of a policy, judged by the evidence: what it breaks, what it opens, what it closes.

Where there is evidence each call is decided again, under the version before and the one after; what has no evidence is
compared as text and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from leastpriv.diff.compare import Difference, Entry, compare, request
from leastpriv.diff.coverage import EXCLUDED
from leastpriv.diff.edits import ConditionEdit, Edit, Edits, edits
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Outcome, Permission, Usage
from leastpriv.permissions.patterns import resource_overlaps
from leastpriv.permissions.sensitive import forbidden, sensitivity
from leastpriv.policy.contain import contained
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import evaluate, grants
from leastpriv.proposal.findings import Addition, ConditionChange, DenyChange, Removal, Review, asks, is_asked_for
from leastpriv.proposal.guards import GUARDS
from leastpriv.proposal.moves import Moves, moves
from leastpriv.proposal.proof import replay
from leastpriv.proposal.propose import situation_of
from leastpriv.proposal.situation import Candidate, Objection, Options, Situation

_DEFAULTS = Options()


def review(
    before: Document | None,
    after: Document | None,
    attached: Sequence[Document],
    evidence: Evidence,
    options: Options = _DEFAULTS,
    attached_before: Sequence[Document] | None = None,
) -> Review:
    """Compares a policy at the pull request's base with the one at its head (None: there is no file).

    `attached` are the other policies of the same principal, `attached_before` the same at the base where they differ.
    """
    beside = attached if attached_before is None else attached_before
    found = edits(before, after, attached)
    documents_before, documents_after = _together(before, beside), _together(after, attached)
    told = moves(evidence, documents_before, documents_after)
    then, now = compare(before, beside, evidence), compare(after, attached, evidence)
    situation = situation_of(evidence, options, then.missing)
    return Review(
        removals=tuple(_removal(edit, _entry(edit, then, evidence), told, situation) for edit in found.removed),
        additions=tuple(_addition(edit, _entry(edit, now, evidence), told, situation) for edit in found.added),
        denies_removed=tuple(
            DenyChange(edit, (), _decided_by(edit, told.granted, documents_before, evidence.principal))
            for edit in found.denies_removed
        ),
        denies_added=tuple(
            DenyChange(edit, _decided_by(edit, told.refused, documents_after, evidence.principal), ())
            for edit in found.denies_added
        ),
        conditions=tuple(_condition_change(edit, told) for edit in found.conditions),
        before=replay(evidence, documents_before),
        after=replay(evidence, documents_after),
        broken=told.broken,
        may_break=told.may_break,
        new_access=tuple(_new_access(found, documents_before, documents_after)),
        is_created=before is None,
        is_deleted=after is None,
    )


def _new_access(found: Edits, before: Sequence[Document], after: Sequence[Document]) -> Iterator[str]:
    """Requests that only the version after allows, and that no addition told of names; by containment.

    A Deny that went and conditions that changed are told as such: what they open is not one entry's. Nor are entries
    that name what they leave out (`NotAction`, `NotResource`).
    """
    inverted = [edit for edit in found.added if edit.statement.not_actions or edit.statement.not_resources]
    if found.denies_removed or found.conditions or inverted:
        return
    listed = [Permission(edit.entry, place) for edit in found.added for place in edit.on]
    for excess in contained(before, after, listed).excesses:
        if excess.witness:
            yield f"{excess.witness.action} on {excess.witness.resource}"


def _together(document: Document | None, attached: Sequence[Document]) -> list[Document]:
    return [*([document] if document else []), *attached]


def _entry(edit: Edit, difference: Difference, evidence: Evidence) -> Entry:
    """The entry with its uses; one of `NotAction` is like a wildcard over all services."""
    for entry in difference.entries:
        if (entry.statement.index, entry.pattern) == (edit.statement.index, edit.entry):
            return entry
    uses: dict[str, tuple[Usage, ...]] = {}
    for usage in evidence.usages:
        regions = usage.regions or ("",)
        asked = (request(usage.need, evidence.principal, region) for region in regions)
        if any(grants(edit.statement, each) != "no" for each in asked):
            action = usage.need.permission.action
            uses[action] = (*uses.get(action, ()), usage)
    return Entry(edit.statement, "*", edit.actions, uses)


def _through(entry: Entry, edit: Edit, wanted: Collection[Usage]) -> dict[str, tuple[Usage, ...]]:
    """The wanted usages of the edit's actions that came, or would have come, through its entry."""
    actions = {action.lower(): action for action in edit.actions}
    found = {
        actions[action.lower()]: tuple(usage for usage in usages if usage in wanted)
        for action, usages in entry.uses.items()
        if action.lower() in actions
    }
    return {action: usages for action, usages in sorted(found.items()) if usages}


def _removal(edit: Edit, entry: Entry, told: Moves, situation: Situation) -> Removal:
    lost = _through(entry, edit, told.refused)
    unseen: dict[Objection, list[str]] = {}
    for action in edit.actions:
        objection = None if action in lost else _objection(Candidate(action, entry), situation)
        if objection:
            unseen.setdefault(objection, []).append(action)
    return Removal(
        edit=edit,
        lost=lost,
        doubtful=_through(entry, edit, told.doubtful),
        unseen={objection: tuple(actions) for objection, actions in unseen.items()},
    )


_ABOUT_PROPOSALS = frozenset({"declined", "unseen-service"})
"""Guards that say what a proposal may do, not what the evidence can show."""


def _objection(candidate: Candidate, situation: Situation) -> Objection | None:
    """Why a use could have stayed unseen, or will come; None where the evidence shows that there was none."""
    for name, guard in GUARDS:
        reason = guard(candidate, situation) if name not in _ABOUT_PROPOSALS else ""
        if reason:
            return Objection(name, reason)
    return None


def _addition(edit: Edit, entry: Entry, told: Moves, situation: Situation) -> Addition:
    asked = _through(entry, edit, told.granted)
    never = _by_reason(edit.actions, lambda action: forbidden(action, situation.options.never_add))
    others = set(edit.actions).difference(*never.values())
    unproven = tuple(
        action for action in edit.actions if not is_asked_for(action, edit.on, filter(asks, asked.get(action, ())))
    )
    return Addition(
        edit=edit,
        asked=asked,
        elsewhere=tuple(action for action in unproven if action not in asked and _in_use(action, situation)),
        unproven=unproven,
        sensitive=_by_reason(sorted(others), sensitivity),
        forbidden=never,
    )


def _in_use(action: str, situation: Situation) -> bool:
    return any(usage.outcome is Outcome.ALLOWED for usage in situation.used.get(action, ()))


def _by_reason(actions: Iterable[str], reason_of: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for action in actions:
        found.setdefault(reason_of(action), []).append(action)
    return {reason: tuple(names) for reason, names in found.items() if reason}


def _decided_by(
    edit: Edit, usages: Iterable[Usage], documents: Sequence[Document], principal: str
) -> tuple[Usage, ...]:
    """The usages that the edit's Deny decides; its document is the first."""

    def is_decided(usage: Usage) -> bool:
        asked = (request(usage.need, principal, region) for region in usage.regions or ("",))
        decisions = (evaluate(each, documents) for each in asked)
        place = ("explicitDeny", 0, edit.statement.index)
        return any((decision.effect, decision.document, decision.statement) == place for decision in decisions)

    return _in_order(filter(is_decided, usages))


def _condition_change(edit: ConditionEdit, told: Moves) -> ConditionChange:
    about = (
        filter(lambda usage: _is_about(edit, usage), usages) for usages in (told.refused, told.doubtful, told.granted)
    )
    return ConditionChange(edit, *map(_in_order, about))


def _is_about(edit: ConditionEdit, usage: Usage) -> bool:
    permission = usage.need.permission
    if permission.action not in edit.actions:
        return False
    return any(on.startswith(EXCLUDED) or resource_overlaps(on, permission.resource) for on in edit.on)


def _in_order(usages: Iterable[Usage]) -> tuple[Usage, ...]:
    return tuple(sorted(usages, key=lambda usage: (usage.need.permission, usage.outcome, usage.first_seen)))
