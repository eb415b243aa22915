"""Types of a review of a policy edit, and its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from leastpriv.diff.policy_diff import EXCLUDED, ConditionDiff, EntryDiff
from leastpriv.evidence.models import CallGroup
from leastpriv.models import Basis, DeniedBy, Usage
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import fits
from leastpriv.proposal.ledger import Calls
from leastpriv.proposal.models import GuardResult

UsagesByAction = Mapping[str, tuple[Usage, ...]]


class ReviewVerdict(StrEnum):
    """The most severe result of a review."""

    BREAKS = "breaks"
    """A recorded allowed call would be denied."""
    NEW_ACCESS = "new-access"
    """The edit allows access that no evidence needs."""
    NEEDED_ACCESS = "needed-access"
    """All new access was denied before, or used without a known grant."""
    NARROWS = "narrows"
    """The edit allows less, and no recorded call is denied."""
    UNCHANGED = "no-change"


class Removal(Struct, frozen=True):
    """An entry that grants less after the edit."""

    edit: EntryDiff
    lost: UsagesByAction
    """Allowed usages through the entry that would be denied."""
    doubtful: UsagesByAction
    """Allowed usages that would depend on a condition, or whose action the catalogue does not know.
    """
    unseen: Mapping[GuardResult, tuple[str, ...]]
    """Guard result -> actions whose use may be unseen or come later; the remaining ones are unused.
    """


class Addition(Struct, frozen=True):
    """An entry that grants more after the edit."""

    edit: EntryDiff
    asked: UsagesByAction
    """Usages of any outcome that only the version after allows."""
    elsewhere: tuple[str, ...]
    """Actions in use on resources other than the added ones."""
    unproven: tuple[str, ...]
    """Actions that no evidence needs on some added resource, those of `elsewhere` included."""
    forbidden: Mapping[str, tuple[str, ...]]
    """Reason -> actions that no proposal would add."""
    sensitive: Mapping[str, tuple[str, ...]]
    """Reason -> other actions that a security reviewer should check."""
    declared: Mapping[str, str] = {}
    """Action without evidence -> the resource of a template or plan that needs all of the addition.
    """

    @property
    def is_proven(self) -> bool:
        """Whether evidence needs all of the addition; a wildcard also grants actions that AWS adds
        later.
        """
        return not self.unproven and bool(self.edit.actions)


class DenyChange(Struct, frozen=True):
    """An added or removed entry of a Deny statement."""

    edit: EntryDiff
    denied: tuple[Usage, ...]
    """Allowed usages that it would deny."""
    granted: tuple[Usage, ...]
    """Denied usages that would be allowed."""

    @property
    def is_proven(self) -> bool:
        """Whether evidence needs the removal of the whole Deny."""
        return _all_asked(self.edit, filter(asks_to_lift_deny, self.granted))


class ConditionChange(Struct, frozen=True):
    """A change of conditions on the same actions and resources."""

    edit: ConditionDiff
    denied: tuple[Usage, ...]
    doubtful: tuple[Usage, ...]
    """Allowed usages for which the records do not show whether the conditions hold."""
    granted: tuple[Usage, ...]

    @property
    def is_proven(self) -> bool:
        """Whether evidence needs each action."""
        speaks = asks_for_grant if self.edit.effect == "Allow" else asks_to_lift_deny
        return _all_asked(self.edit, filter(speaks, self.granted))


class Review(Struct, frozen=True):
    """All results of reviewing an edit."""

    removals: tuple[Removal, ...]
    additions: tuple[Addition, ...]
    denies_removed: tuple[DenyChange, ...]
    denies_added: tuple[DenyChange, ...]
    conditions: tuple[ConditionChange, ...]
    before: Calls
    after: Calls
    newly_denied: tuple[CallGroup, ...]
    """Allowed calls that the edit denies."""
    may_be_denied: tuple[CallGroup, ...]
    """Other allowed calls that are allowed less surely than before."""
    new_access: tuple[str, ...] = ()
    """Witnesses of new access by containment of both versions."""
    is_created: bool = False
    """There was no file before."""
    is_deleted: bool = False

    @property
    def breaks(self) -> bool:
        """Whether a recorded allowed call would be denied: the next deploy may fail."""
        return bool(self.newly_denied)

    @property
    def has_new_access_without_evidence(self) -> bool:
        """Whether the edit allows access that no evidence needs."""
        return (
            bool(self.new_access)
            or any(not addition.is_proven for addition in self.additions)
            or any(not change.is_proven for change in self.denies_removed)
            or any(change.edit.widens and not change.is_proven for change in self.conditions)
        )

    @property
    def verdict(self) -> ReviewVerdict:
        """The most severe result."""
        if self.breaks:
            return ReviewVerdict.BREAKS
        if self.has_new_access_without_evidence:
            return ReviewVerdict.NEW_ACCESS
        if (
            self.additions
            or self.denies_removed
            or any(change.edit.widens for change in self.conditions)
        ):
            return ReviewVerdict.NEEDED_ACCESS
        if self.removals or self.denies_added or self.conditions or self.may_be_denied:
            return ReviewVerdict.NARROWS
        return ReviewVerdict.UNCHANGED


def asks_for_grant(usage: Usage) -> bool:
    """Whether a usage needs a grant: it was allowed by an unknown policy, or denied for lack of a
    grant.
    """
    denial, need = usage.denial, usage.need
    if denial is None:
        return usage.is_allowed
    # An inferred need without an exact resource does not count, nor does a log line that names no
    # principal.
    is_certain = need.basis is Basis.DENIED or need.exact
    return denial.mendable and is_certain and bool(denial.principal or not denial.log)


def asks_to_lift_deny(usage: Usage) -> bool:
    """Whether a usage needs the removal of a Deny of an identity-based policy."""
    denial = usage.denial
    if denial and denial.explicit and denial.denied_by is DeniedBy.IDENTITY and not denial.log:
        return True
    return asks_for_grant(usage)


def _all_asked(edit: EntryDiff | ConditionDiff, usages: Iterable[Usage]) -> bool:
    all_usages = tuple(usages)
    return bool(edit.actions) and all(
        is_asked_for(action, edit.on, all_usages) for action in edit.actions
    )


def is_asked_for(action: str, on: Sequence[str], usages: Iterable[Usage]) -> bool:
    """Whether usages of an action together name all resources (in the form of `Edit`) that it
    accepts.
    """
    permissions = (usage.need.permission for usage in usages)
    resources = [
        permission.resource
        for permission in permissions
        if permission.action.lower() == action.lower()
    ]
    taken_resources = [
        resource for resource in on if resource.startswith(EXCLUDED) or fits(action, resource)
    ]
    return bool(resources) and all(
        any(resource_covers(resource, taken_resource) for resource in resources)
        for taken_resource in taken_resources
    )
