"""What a review of a person's edit consists of, and the verdict that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from leastpriv.diff.policy_diff import ConditionEdit, Edit
from leastpriv.diff.statement_coverage import EXCLUDED
from leastpriv.evidence.models import CallGroup
from leastpriv.models import Basis, DeniedBy, Outcome, Usage
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import fits
from leastpriv.proposal.models import Objection
from leastpriv.proposal.proof import Replay

ByAction = Mapping[str, tuple[Usage, ...]]


class Verdict(StrEnum):
    """What a reviewer has to know first; the gravest that applies."""

    BREAKS = "breaks"
    """A recorded allowed call would be refused."""
    NEW_ACCESS = "new-access"
    """Something becomes allowed that no evidence asks for."""
    NEEDED_ACCESS = "needed-access"
    """All that becomes allowed was refused, or used without a known grant."""
    NARROWS = "narrows"
    """Less is allowed, and no recorded call is refused for it."""
    UNCHANGED = "no-change"


@dataclass(frozen=True, slots=True)
class Removal:
    """One entry that grants less after."""

    edit: Edit
    lost: ByAction
    """Allowed usages through the entry that would be refused."""
    doubtful: ByAction
    """Allowed usages that would hang on a condition, or of an action that the catalogue does not know."""
    unseen: Mapping[Objection, tuple[str, ...]]
    """Why a use of these actions could have stayed unseen, or will come; what is not among them is unused."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One entry that grants more after."""

    edit: Edit
    asked: ByAction
    """Usages that were not allowed before and are after, whatever their outcome."""
    elsewhere: tuple[str, ...]
    """Actions that are in use, though not where the addition opens them."""
    unproven: tuple[str, ...]
    """Actions that no evidence asks for on some resource that the addition opens; those of `elsewhere` among them."""
    forbidden: Mapping[str, tuple[str, ...]]
    """Reason -> actions that no proposal would write."""
    sensitive: Mapping[str, tuple[str, ...]]
    """Reason -> other actions that a security reviewer should look at."""

    @property
    def is_proven(self) -> bool:
        """Whether evidence speaks for all of it; a wildcard also opens what AWS will add."""
        return not self.unproven and bool(self.edit.actions)


@dataclass(frozen=True, slots=True)
class DenyChange:
    """One entry of a Deny statement that came or went."""

    edit: Edit
    refused: tuple[Usage, ...]
    """Allowed usages that it would refuse."""
    granted: tuple[Usage, ...]
    """Usages that it has refused, and that would be allowed."""

    @property
    def is_proven(self) -> bool:
        """Whether evidence speaks for lifting all of it; what else it held back nobody knows."""
        return _all_asked(self.edit, filter(asks_to_lift, self.granted))


@dataclass(frozen=True, slots=True)
class ConditionChange:
    """Other conditions on the same actions and resources."""

    edit: ConditionEdit
    refused: tuple[Usage, ...]
    doubtful: tuple[Usage, ...]
    """Allowed usages of which the records do not show whether the conditions hold."""
    granted: tuple[Usage, ...]

    @property
    def is_proven(self) -> bool:
        """Whether evidence speaks for each action."""
        speaks = asks if self.edit.effect == "Allow" else asks_to_lift
        return _all_asked(self.edit, filter(speaks, self.granted))


@dataclass(frozen=True, slots=True)
class Review:
    """All that can be said about an edit."""

    removals: tuple[Removal, ...]
    additions: tuple[Addition, ...]
    denies_removed: tuple[DenyChange, ...]
    denies_added: tuple[DenyChange, ...]
    conditions: tuple[ConditionChange, ...]
    before: Replay
    after: Replay
    broken: tuple[CallGroup, ...]
    """Allowed calls of which something is refused after that was not before."""
    may_break: tuple[CallGroup, ...]
    """Other allowed calls, that would be allowed less surely than before."""
    new_access: tuple[str, ...] = ()
    """Witnesses of access by containment of both versions, where somebody has computed it."""
    is_created: bool = False
    """There was no file before."""
    is_deleted: bool = False

    @property
    def breaks(self) -> bool:
        """Whether a recorded allowed call would be refused: the next deploy may fail."""
        return bool(self.broken)

    @property
    def has_new_access_without_evidence(self) -> bool:
        """Whether something becomes allowed that no evidence asks for."""
        return (
            bool(self.new_access)
            or any(not addition.is_proven for addition in self.additions)
            or any(not change.is_proven for change in self.denies_removed)
            or any(change.edit.widens and not change.is_proven for change in self.conditions)
        )

    @property
    def verdict(self) -> Verdict:
        """The gravest thing that can be said."""
        if self.breaks:
            return Verdict.BREAKS
        if self.has_new_access_without_evidence:
            return Verdict.NEW_ACCESS
        if self.additions or self.denies_removed or any(change.edit.widens for change in self.conditions):
            return Verdict.NEEDED_ACCESS
        if self.removals or self.denies_added or self.conditions or self.may_break:
            return Verdict.NARROWS
        return Verdict.UNCHANGED


def asks(usage: Usage) -> bool:
    """Whether a usage speaks for a grant: something unknown allowed it, or it was refused for want of one."""
    denial, need = usage.denial, usage.need
    if denial is None:
        return usage.outcome is Outcome.ALLOWED
    # A guess at what is needed next asks for nothing, nor does a line of a log that may be about anybody.
    known = need.basis is Basis.DENIED or need.exact
    return denial.mendable and known and bool(denial.principal or not denial.log)


def asks_to_lift(usage: Usage) -> bool:
    """Whether a usage speaks against a Deny of an identity-based policy."""
    denial = usage.denial
    return asks(usage) or (
        denial is not None and denial.explicit and denial.denied_by is DeniedBy.IDENTITY and not denial.log
    )


def _all_asked(edit: Edit | ConditionEdit, usages: Iterable[Usage]) -> bool:
    asked = tuple(usages)
    return bool(edit.actions) and all(is_asked_for(action, edit.on, asked) for action in edit.actions)


def is_asked_for(action: str, on: Sequence[str], usages: Iterable[Usage]) -> bool:
    """Whether usages of an action, together, name all of the resources (as an `Edit` shows them) that it can take."""
    resources = [
        usage.need.permission.resource for usage in usages if usage.need.permission.action.lower() == action.lower()
    ]
    places = [place for place in on if place.startswith(EXCLUDED) or fits(action, place)]
    return bool(resources) and all(any(resource_covers(each, place) for each in resources) for place in places)
