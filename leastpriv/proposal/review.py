"""Reviews an edit of a policy by the evidence: which recorded needs it denies, grants or leaves.

With evidence each call is replayed under both versions; without, the versions are compared as text
and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.diff.compare import Difference, Entry, compare, is_used
from leastpriv.diff.policy_diff import (
    EXCLUDED,
    ConditionDiff,
    EntryDiff,
    PolicyDiff,
    diff_policies,
    is_pattern,
)
from leastpriv.evidence.models import CallGroup, Evidence
from leastpriv.models import Need, Outcome, Permission, Usage, grouped, usages_by_action
from leastpriv.permissions.catalog import forbidden, sensitivity
from leastpriv.permissions.patterns import action_covers, resource_covers, resource_overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import evaluate, grants
from leastpriv.policy.replay import replay_need, replay_request
from leastpriv.proposal.guards import first_guard_result
from leastpriv.proposal.ledger import replay_calls
from leastpriv.proposal.models import GuardContext, Options, RemovalCandidate
from leastpriv.proposal.removals import guard_context
from leastpriv.proposal.review_models import (
    Addition,
    ConditionChange,
    DenyChange,
    Removal,
    Review,
    asks_for_grant,
    is_asked_for,
)

_CERTAINTY: Mapping[str, int] = {
    "explicitDeny": 0,
    "implicitDeny": 1,
    "unknown": 2,
    "allowedInPart": 3,
    "allowed": 3,
}
"""An implicit denial may be overridden by a policy that was not given, an explicit one by none."""
_POSSIBLY_ALLOWED = 2
_PROPOSAL_GUARDS = ("declined", "unseen-service")
"""Guards on what a proposal may do, not on what the evidence can show."""


class AccessChange(StrEnum):
    """What an edit does to a need in one region."""

    DENIED = "refused"
    """Denied, also if a new Deny denies what only an unknown policy granted."""
    DOUBTFUL = "doubtful"
    """Allowed only under a condition that the records do not show."""
    GRANTED = "granted"
    """Allowed, at least under some condition, and not before."""


class AccessChanges(Struct, frozen=True):
    """Usages and calls of the evidence that an edit affects."""

    denied: frozenset[Usage]
    """Allowed usages of catalogue actions that would be denied."""
    doubtful: frozenset[Usage]
    """Allowed usages that would depend on a condition, or whose denied action comes only from the
    event name.
    """
    granted: frozenset[Usage]
    """Usages of any outcome that would now be allowed."""
    newly_denied: tuple[CallGroup, ...]
    """Allowed calls with a need that would be denied."""
    may_be_denied: tuple[CallGroup, ...]
    """Other allowed calls with a doubtful need."""


def access_changes(
    evidence: Evidence, before: Sequence[Document], after: Sequence[Document]
) -> AccessChanges:
    """Decides every need of the evidence under all policies before and after the edit."""
    effects = _EffectsOfEdit(evidence.principal, before, after)
    denied: set[Usage] = set()
    doubtful: set[Usage] = set()
    granted: set[Usage] = set()
    for usage in evidence.usages:
        changes = effects.on([usage.need], usage.regions)
        if AccessChange.GRANTED in changes:
            granted.add(usage)
        if not usage.is_allowed:
            continue
        if AccessChange.DENIED in changes and usage.need.verified:
            denied.add(usage)
        elif changes & _WORSE:
            doubtful.add(usage)
    newly_denied: list[CallGroup] = []
    may_be_denied: list[CallGroup] = []
    for group in dict.fromkeys(evidence.groups):
        if group.outcome is not Outcome.ALLOWED:
            continue
        changes = effects.on(group.needs, group.regions)
        # The replay counts only calls whose needs are all in the catalogue.
        if AccessChange.DENIED in changes and all(need.verified for need in group.needs):
            newly_denied.append(group)
        elif changes & _WORSE:
            may_be_denied.append(group)
    return AccessChanges(
        denied=frozenset(denied),
        doubtful=frozenset(doubtful),
        granted=frozenset(granted),
        newly_denied=tuple(newly_denied),
        may_be_denied=tuple(may_be_denied),
    )


class _EffectsOfEdit:
    """What an edit of the policies changes for needs, decided once for each need and region."""

    def __init__(
        self, principal: str, before: Sequence[Document], after: Sequence[Document]
    ) -> None:
        self._principal = principal
        self._before = before
        self._after = after
        self._changes: dict[tuple[Need, str], AccessChange | None] = {}

    def on(self, needs: Iterable[Need], regions: Sequence[str]) -> frozenset[AccessChange]:
        """Returns what changes for needs in any of some regions."""
        changes = {self._change(need, region) for need in needs for region in regions or ("",)}
        return frozenset(filter(None, changes))

    def _change(self, need: Need, region: str) -> AccessChange | None:
        key = (need, region)
        if key not in self._changes:
            self._changes[key] = self._decide(need, region)
        return self._changes[key]

    def _decide(self, need: Need, region: str) -> AccessChange | None:
        """Returns what changes for a need; None where its decision remains as certain as it was."""
        then = _CERTAINTY[replay_need(need, self._principal, region, self._before)]
        now = _CERTAINTY[replay_need(need, self._principal, region, self._after)]
        is_possible = now >= _POSSIBLY_ALLOWED
        if now < then:
            return AccessChange.DOUBTFUL if is_possible else AccessChange.DENIED
        if now > then and is_possible:
            return AccessChange.GRANTED
        return None


_WORSE = frozenset({AccessChange.DENIED, AccessChange.DOUBTFUL})


class PolicyVersion(Struct, frozen=True):
    """A policy at one commit, with the principal's other policies."""

    document: Document | None
    """None: there is no file."""
    attached: Sequence[Document] = ()

    @property
    def documents(self) -> list[Document]:
        """The policy, if there is one, and the others."""
        return [*([self.document] if self.document else []), *self.attached]


def review(
    base: PolicyVersion,
    head: PolicyVersion,
    evidence: Evidence,
    options: Options = Options(),
    declared: Sequence[Need] = (),
) -> Review:
    """Compares a policy at the pull request's base with the one at its head.

    `declared` is what the templates and plans of the same pull request need: no evidence, but a
    reason.
    """
    policy_diff = diff_policies(base.document, head.document, head.attached)
    documents_before, documents_after = base.documents, head.documents
    changes = access_changes(evidence, documents_before, documents_after)
    then = compare(base.document, base.attached, evidence)
    now = compare(head.document, head.attached, evidence)
    context = guard_context(evidence, options, then.missing, policies=documents_before)
    needs_by_action = grouped([(need.permission.action.lower(), need) for need in declared])
    return Review(
        removals=tuple(
            _removal(edit, _entry(edit, then, evidence), changes, context)
            for edit in policy_diff.removed
        ),
        additions=tuple(
            _addition(edit, _entry(edit, now, evidence), changes, context, needs_by_action)
            for edit in policy_diff.added
        ),
        denies_removed=tuple(
            DenyChange(
                edit, (), _decided_by(edit, changes.granted, documents_before, evidence.principal)
            )
            for edit in policy_diff.denies_removed
        ),
        denies_added=tuple(
            DenyChange(
                edit, _decided_by(edit, changes.denied, documents_after, evidence.principal), ()
            )
            for edit in policy_diff.denies_added
        ),
        conditions=tuple(_condition_change(edit, changes) for edit in policy_diff.conditions),
        before=replay_calls(evidence, documents_before),
        after=replay_calls(evidence, documents_after),
        newly_denied=changes.newly_denied,
        may_be_denied=changes.may_be_denied,
        new_access=tuple(_new_access(policy_diff, documents_before, documents_after)),
        is_created=base.document is None,
        is_deleted=head.document is None,
    )


def _new_access(
    found: PolicyDiff, before: Sequence[Document], after: Sequence[Document]
) -> Iterator[str]:
    """Requests that only the version after allows and no listed addition names, by containment.

    Skipped if a Deny was removed, if conditions changed, or if entries are inverted (`NotAction`,
    `NotResource`): the review lists those separately.
    """
    inverted = [
        edit for edit in found.added if edit.statement.not_actions or edit.statement.not_resources
    ]
    if found.denies_removed or found.conditions or inverted:
        return
    listed = [Permission(edit.entry, resource) for edit in found.added for resource in edit.on]
    for excess in check_containment(before, after, listed).excesses:
        if excess.witness:
            yield f"{excess.witness.action} on {excess.witness.resource}"


def _entry(edit: EntryDiff, difference: Difference, evidence: Evidence) -> Entry:
    """Returns the entry of a difference with its uses; a `NotAction`, which is no single entry,
    becomes one on `*`.
    """
    for entry in difference.entries:
        if (entry.statement.index, entry.pattern) == (edit.statement.index, edit.entry):
            return entry
    return _entry_of_not_action(edit, evidence)


def _entry_of_not_action(edit: EntryDiff, evidence: Evidence) -> Entry:
    """Returns an entry on `*` with the usages that a statement with `NotAction` grants or may
    grant.
    """

    def may_grant(usage: Usage) -> bool:
        requests = (
            replay_request(usage.need, evidence.principal, region)
            for region in usage.replay_regions
        )
        return any(grants(edit.statement, request) != "no" for request in requests)

    uses = usages_by_action(filter(may_grant, evidence.usages))
    return Entry(
        edit.statement, "*", edit.actions, {action: tuple(own) for action, own in uses.items()}
    )


def _usages_through(
    entry: Entry, edit: EntryDiff, wanted: Collection[Usage]
) -> dict[str, tuple[Usage, ...]]:
    """The wanted usages of the edit's actions that used, or would have used, its entry."""
    actions = {action.lower(): action for action in edit.actions}
    usages_by_action = {
        actions[action.lower()]: tuple(usage for usage in usages if usage in wanted)
        for action, usages in entry.uses.items()
        if action.lower() in actions
    }
    return {action: usages for action, usages in sorted(usages_by_action.items()) if usages}


def _removal(
    edit: EntryDiff, entry: Entry, changes: AccessChanges, context: GuardContext
) -> Removal:
    """Judges what a removed entry was used for, and which guards object to removing the rest."""
    lost = _usages_through(entry, edit, changes.denied)
    candidates = (RemovalCandidate(action, entry) for action in edit.actions if action not in lost)
    results_of_actions = (
        (first_guard_result(candidate, context, *_PROPOSAL_GUARDS), candidate.action)
        for candidate in candidates
    )
    unseen = grouped([(result, action) for result, action in results_of_actions if result])
    return Removal(
        edit=edit,
        lost=lost,
        doubtful=_usages_through(entry, edit, changes.doubtful),
        unseen={guard_result: tuple(actions) for guard_result, actions in unseen.items()},
    )


def _addition(
    edit: EntryDiff,
    entry: Entry,
    changes: AccessChanges,
    context: GuardContext,
    declared: Mapping[str, Sequence[Need]],
) -> Addition:
    """Judges which actions of an added entry the evidence or a declaration asks for, and which are
    sensitive or forbidden.
    """
    asked_for = _usages_through(entry, edit, changes.granted)
    never = _by_reason(edit.actions, lambda action: forbidden(action, context.options.never_add))
    other_actions = set(edit.actions).difference(*never.values())
    proving = {action: [*filter(asks_for_grant, usages)] for action, usages in asked_for.items()}
    unasked = [
        action
        for action in edit.actions
        if not is_asked_for(action, edit.on, proving.get(action, ()))
    ]
    needs = (
        (action, _declared_for(action, edit.on, declared.get(action.lower(), ())))
        for action in unasked
    )
    reason_by_action = {action: need.because for action, need in needs if need}
    unproven = tuple(action for action in unasked if action not in reason_by_action)
    in_use = {action for action in unproven if is_used(context.used.get(action, ()))}
    return Addition(
        edit=edit,
        asked=asked_for,
        elsewhere=tuple(
            action for action in unproven if action not in asked_for and action in in_use
        ),
        unproven=unproven,
        declared=reason_by_action,
        sensitive=_by_reason(sorted(other_actions), sensitivity),
        forbidden=never,
    )


def _declared_for(action: str, on: Sequence[str], declared: Sequence[Need]) -> Need | None:
    """The first declared need of an action, if such needs together name all resources of an
    addition.
    """
    taken_resources = [resource for resource in on if fits(action, resource)]
    is_named = all(
        any(resource_covers(need.permission.resource, resource) for need in declared)
        for resource in taken_resources
    )
    return declared[0] if declared and taken_resources and is_named else None


def _by_reason(
    actions: Iterable[str], reason_of: Callable[[str], str]
) -> dict[str, tuple[str, ...]]:
    actions_by_reason = grouped([(reason_of(action), action) for action in actions])
    return {reason: tuple(names) for reason, names in actions_by_reason.items() if reason}


def _decided_by(
    edit: EntryDiff, usages: Iterable[Usage], documents: Sequence[Document], principal: str
) -> tuple[Usage, ...]:
    """Usages that the edit's Deny decides; its document is the first."""

    def is_decided(usage: Usage) -> bool:
        requests = (
            replay_request(usage.need, principal, region) for region in usage.replay_regions
        )
        decisions = (evaluate(request, documents) for request in requests)
        statement_key = ("explicitDeny", 0, edit.statement.index)
        return any(
            (decision.effect, decision.document, decision.statement) == statement_key
            for decision in decisions
        )

    return _in_order(filter(is_decided, usages))


def _condition_change(edit: ConditionDiff, changes: AccessChanges) -> ConditionChange:
    actions = {action.lower() for action in edit.actions}
    future = [action for action in actions if is_pattern(action)]

    def is_about(usage: Usage) -> bool:
        is_named = usage.action.lower() in actions
        if not is_named and not any(action_covers(pattern, usage.action) for pattern in future):
            return False
        return any(
            resource.startswith(EXCLUDED) or resource_overlaps(resource, usage.resource)
            for resource in edit.on
        )

    affected = (changes.denied, changes.doubtful, changes.granted)
    return ConditionChange(edit, *(_in_order(filter(is_about, usages)) for usages in affected))


def _in_order(usages: Iterable[Usage]) -> tuple[Usage, ...]:
    return tuple(
        sorted(usages, key=lambda usage: (usage.need.permission, usage.outcome, usage.first_seen))
    )
