"""A person's edit of a policy, judged by the evidence: what it breaks, what it opens, what it closes.

Where there is evidence each call is decided again, under the version before and the one after; what has no evidence is
compared as text and by the catalogue.

What an edit of a policy does to each recorded need: refused, no longer sure, granted, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from leastpriv.diff.compare import Difference, Entry, compare, decide, request
from leastpriv.diff.policy_diff import ConditionEdit, Edit, Edits, edits
from leastpriv.diff.statement_coverage import EXCLUDED
from leastpriv.evidence.models import CallGroup, Evidence
from leastpriv.models import Need, Outcome, Permission, Usage
from leastpriv.permissions.patterns import resource_overlaps
from leastpriv.permissions.sensitive import forbidden, sensitivity
from leastpriv.policy.containment import contained
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import evaluate, grants
from leastpriv.proposal.guards.registry import GUARDS
from leastpriv.proposal.models import Candidate, Objection, Options, Situation
from leastpriv.proposal.proof import replay
from leastpriv.proposal.propose import situation_of
from leastpriv.proposal.review_models import Addition, ConditionChange, DenyChange, Removal, Review, asks, is_asked_for


class Move(StrEnum):
    """What happens to a need in one region."""

    REFUSED = "refused"
    """Also where a known Deny begins to refuse what only a policy that nobody named has granted."""
    DOUBTFUL = "doubtful"
    """It now hangs on a condition that the records do not show."""
    GRANTED = "granted"
    """Allowed, at least under some condition, and not so before."""


_SURENESS: Mapping[str, int] = {"explicitDeny": 0, "implicitDeny": 1, "unknown": 2, "allowedInPart": 3, "allowed": 3}
"""An implicit denial may be mended by a policy that nobody named, an explicit one by none."""
_OPEN = 2


@dataclass(frozen=True, slots=True)
class Moves:
    """The usages and calls of the evidence that an edit concerns."""

    refused: frozenset[Usage]
    """Allowed usages, of an action that the catalogue knows, that would be refused."""
    doubtful: frozenset[Usage]
    """Allowed usages that would hang on a condition, or be refused if their action is what its event's name says."""
    granted: frozenset[Usage]
    """Usages of any outcome that would now be allowed."""
    broken: tuple[CallGroup, ...]
    """Allowed calls some need of which would be refused."""
    may_break: tuple[CallGroup, ...]
    """Other allowed calls with a doubtful need."""


def moves(evidence: Evidence, before: Sequence[Document], after: Sequence[Document]) -> Moves:
    """Decides every need of the evidence under all policies before and after."""
    judge = _Judge(evidence.principal, before, after)
    told = {usage: judge.moves([usage.need], usage.regions) for usage in evidence.usages}
    allowed = {usage: found for usage, found in told.items() if usage.outcome is Outcome.ALLOWED}
    refused = {usage for usage, found in allowed.items() if Move.REFUSED in found}
    surely = frozenset(usage for usage in refused if usage.need.verified)
    calls = {
        group: judge.moves(group.needs, group.regions) for group in evidence.groups if group.outcome is Outcome.ALLOWED
    }
    broken = {group: None for group, found in calls.items() if Move.REFUSED in found and _is_known(group)}
    return Moves(
        refused=surely,
        doubtful=frozenset(usage for usage, found in allowed.items() if found & _WORSE and usage not in surely),
        granted=frozenset(usage for usage, found in told.items() if Move.GRANTED in found),
        broken=tuple(broken),
        may_break=tuple(group for group, found in calls.items() if found & _WORSE and group not in broken),
    )


_WORSE = frozenset({Move.REFUSED, Move.DOUBTFUL})


def _is_known(group: CallGroup) -> bool:
    """Whether the replay counts it: the catalogue knows all that it needs."""
    return all(need.verified for need in group.needs)


@dataclass(slots=True)
class _Judge:
    """Decides each need in each region once."""

    principal: str
    before: Sequence[Document]
    after: Sequence[Document]
    known: dict[tuple[Need, str], Move | None] = field(default_factory=dict)

    def moves(self, needs: Iterable[Need], regions: Sequence[str]) -> frozenset[Move]:
        told = (self._move(need, region) for need in needs for region in regions or ("",))
        return frozenset(move for move in told if move)

    def _move(self, need: Need, region: str) -> Move | None:
        key = (need, region)
        if key not in self.known:
            both = (decide(need, self.principal, region, documents) for documents in (self.before, self.after))
            then, now = (_SURENESS[effect] for effect in both)
            worse = Move.REFUSED if now < _OPEN else Move.DOUBTFUL
            self.known[key] = worse if now < then else Move.GRANTED if then < now >= _OPEN else None
        return self.known[key]


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
