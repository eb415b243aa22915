"""Extends the candidate policy by what a round was denied, and explains each denial that it does
not resolve.

A trial knows the policy in force: the candidate. What the candidate does not allow was denied by
it, possibly by other policies too; what it allows was denied by another policy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import region_field, same_arn, session_of
from leastpriv.denials.needs import logged_needs
from leastpriv.errors import LeastprivError
from leastpriv.evidence.created_tags import with_unmet_conditions
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Denial, DeniedBy, Need, Outcome, Permission, Usage
from leastpriv.permissions.catalog import access_level, sensitivity
from leastpriv.permissions.patterns import resource_covers
from leastpriv.permissions.resource_types import types_of_arn
from leastpriv.policy.containment import check_containment, lost_denies
from leastpriv.policy.document import Document
from leastpriv.policy.edit import apply_edits
from leastpriv.policy.replay import ReplayEffect, replay_need
from leastpriv.proposal.additions import additions
from leastpriv.proposal.complete_additions import Completion, complete_additions
from leastpriv.proposal.edit_plan import plan_edits
from leastpriv.proposal.models import Change, HeldBackChange, History, Options
from leastpriv.trial.limits import TrialLimits, needed_proof
from leastpriv.trial.next_names import NextNames

_NO_YES = TrialLimits()
"""Limits without a person's yes and without an outer bound."""
_MOST_NAMES = 3
"""Resources that a denial without a resource may be of; with more, it is not known of which."""
_OUTSIDE_LIMITS = "--within does not allow it"
_OF_THE_POLICY = "the denial names no resource; the policy creates this one"


class TrialIdentity(Struct, frozen=True):
    """The sessions in which the command runs."""

    target: str
    """ARN of the role or user whose policy is tried."""
    trial: str
    """Prefix of the session names; unknown to others before the trial."""
    acting_role: str
    """ARN of the role of the sessions."""
    narrows: bool
    """The candidate is a session policy, which can only narrow what the role is allowed."""
    own_session: str = ""
    """Name of the caller's own session, where the command runs in it; other programs may use it
    too.
    """

    @property
    def in_force(self) -> DeniedBy:
        """How AWS names the candidate in a denial."""
        return DeniedBy.SESSION if self.narrows else DeniedBy.IDENTITY

    def has_session(self, name: str) -> bool:
        """Whether a session name is one of this trial's."""
        return name.startswith(self.trial) or (bool(self.own_session) and name == self.own_session)


class TrialDenial(Struct, frozen=True):
    """A permission that the command was denied."""

    need: Need
    denial: Denial
    is_recorded: bool
    """AWS records it: in CloudTrail, or in its own account of the denial."""
    regions: tuple[str, ...] = ()
    is_earlier: bool = False
    """It is of an earlier round, so it is resolved if the candidate allows it now."""


class UnresolvedDenial(Struct, frozen=True):
    """A denial for which the policy is not extended, with the reason."""

    action: str
    """Empty if not known."""
    resource: str
    """Empty if not known."""
    reason: str
    allowed_by_candidate: bool = False
    """The candidate allows it; IAM may take a while to apply a change, so the next round may
    succeed.
    """


class RoundResult(Struct, frozen=True):
    """The candidate after a round, with what was added and what was not resolved."""

    document: Document
    """The extended candidate."""
    added: tuple[Change, ...] = ()
    denied: tuple[Change, ...] = ()
    """The additions before their names were generalized: what the round was denied."""
    unresolved: tuple[UnresolvedDenial, ...] = ()
    offered: tuple[Change, ...] = ()
    """What later rounds may be denied, and only a person's yes adds."""


class CandidatePolicy(Struct, frozen=True):
    """The policy that is tried, and the attached policies, which are never edited."""

    document: Document
    attached: tuple[Document, ...] = ()
    unrecorded: frozenset[str] = frozenset()
    """Services of which a round was denied an action that only a data event shows."""

    @property
    def exact_resources(self) -> frozenset[str]:
        """The resources without wildcards in its Allow statements."""
        statements = (statement for document in self.documents for statement in document.statements)
        granted = (
            resource
            for statement in statements
            if statement.effect == "Allow"
            for resource in statement.resources
        )
        return frozenset(resource for resource in granted if not set(resource) & {*"*?$"})

    @property
    def documents(self) -> tuple[Document, ...]:
        """All policies in force."""
        return (self.document, *self.attached)


def logged_denials(
    denials: Iterable[Denial],
    identity: TrialIdentity,
    known_arns: Collection[str] = (),
    *,
    are_recorded: bool = False,
) -> Iterator[TrialDenial | UnresolvedDenial]:
    """Yields the denials in the command's output: each missing permission, or why it is not known.

    Args:
        denials: what the messages say.
        identity: the sessions of the trial.
        known_arns: resources, such as those in the candidate, that fill parts which the output
            hides.
        are_recorded: AWS's own account of each denial replaces the text.
    """
    for denial in denials:
        needs = _logged_needs(denial, identity, known_arns)
        if not needs:
            yield UnresolvedDenial("", denial.resource, denial.why or "the message names no action")
        for need in needs:
            region = region_field(need.permission.resource)
            yield TrialDenial(need, denial, are_recorded, (region,) if region else ())


def _logged_needs(
    denial: Denial, identity: TrialIdentity, known_arns: Collection[str]
) -> tuple[Need, ...]:
    """Returns the permissions that a message says are missing."""
    needs = logged_needs(denial, identity.acting_role, known_arns)
    names_session = bool(session_of(denial.principal)) and _is_own(denial.principal, identity)
    if not names_session or identity.own_session or denial.resource != "*":
        return needs
    # AWS checked it on `*`, whatever types the action has: a grant on some resources does not fix
    # it.
    return tuple(
        need if sensitivity(need.permission.action) else replace(need, exact=True) for need in needs
    )


def recorded_denials(usages: Iterable[Usage], *, is_earlier: bool = False) -> Iterator[TrialDenial]:
    """Yields the denials in records of this trial's sessions; `is_earlier`: the records are of
    earlier rounds.
    """
    for usage in usages:
        if usage.outcome is Outcome.DENIED and usage.denial:
            yield TrialDenial(
                need=usage.need,
                denial=usage.denial,
                is_recorded=True,
                regions=usage.regions,
                is_earlier=is_earlier,
            )


def extend_candidate(
    candidate: CandidatePolicy,
    denials: Sequence[TrialDenial | UnresolvedDenial],
    identity: TrialIdentity,
    options: Options,
    now: datetime,
    limits: TrialLimits = _NO_YES,
) -> RoundResult:
    """Extends the candidate by what was denied, where the rules for additions and the limits allow
    it; never removes a permission.

    Raises LeastprivError where the extended policy fails its own proof, a defect of the product.
    """
    extension = _Extension(candidate, identity, options, limits)
    resolvable = extension.resolvable(extension.with_names(denials))
    denied = extension.additions_for(resolvable, now)
    generalized = extension.generalize(denied)
    added: list[Change] = []
    offered: list[Change] = []
    for change in generalized:
        if _needs_yes(change, denied, limits):
            offered.append(change)
        else:
            added.append(change)
    # These were not denied yet: only a person's yes adds them.
    for change in extension.rest_of_steps(generalized):
        if limits.names(change.action):
            added.append(change)
        else:
            offered.append(change)
    return RoundResult(
        document=_extend_document(candidate.document, added),
        added=tuple(added),
        denied=tuple(denied),
        unresolved=extension.unresolved.denials,
        offered=tuple(offered),
    )


class _Extension:
    """The steps that make additions to the candidate from a round's denials."""

    def __init__(
        self,
        candidate: CandidatePolicy,
        identity: TrialIdentity,
        options: Options,
        limits: TrialLimits,
    ) -> None:
        self.unresolved = _Unresolved()
        """The denials that lead to no addition, with their reasons."""
        self._candidate = candidate
        self._identity = identity
        self._options = options
        self._limits = limits
        self._next_names = NextNames(
            document=candidate.document,
            principal=identity.target,
            never_add=tuple(options.never_add),
            unrecorded=candidate.unrecorded,
        )

    def with_names(self, denials: Iterable[TrialDenial | UnresolvedDenial]) -> list[TrialDenial]:
        """Returns each denial of a known action once, on the resources that it may be of."""
        trial_denials: list[TrialDenial] = []
        for denial in denials:
            if isinstance(denial, UnresolvedDenial):
                self.unresolved.replace(denial)
            else:
                trial_denials += _with_names(denial, self._next_names)
        return list(_distinct(trial_denials))

    def resolvable(self, trial_denials: Sequence[TrialDenial]) -> list[TrialDenial]:
        """Returns the denials that an addition may resolve; the rules for additions decide."""
        resolvable: list[TrialDenial] = []
        for trial_denial in trial_denials:
            open_denial = self._open_denial(trial_denial)
            if open_denial is None:
                resolvable.append(trial_denial)
                continue
            was_resolved_since = trial_denial.is_earlier and open_denial.allowed_by_candidate
            if not was_resolved_since:
                self.unresolved.add(open_denial)
        return resolvable

    def _open_denial(self, trial_denial: TrialDenial) -> UnresolvedDenial | None:
        """Returns a denial with the reason why no addition can resolve it; None where one may."""
        foreign_reason = _foreign_reason(trial_denial, self._identity)
        if foreign_reason:
            return _unresolved_denial(trial_denial, foreign_reason)
        effects = self._effects(trial_denial)
        if effects != {"implicitDeny"}:
            return _unresolved_denial(
                trial_denial,
                _replay_reason(effects, trial_denial.denial, self._identity),
                allowed_by_candidate="allowed" in effects,
            )
        unproven_reason = _unproven_reason(trial_denial, self._limits)
        if unproven_reason:
            return _unresolved_denial(trial_denial, unproven_reason)
        return None

    def _effects(self, trial_denial: TrialDenial) -> set[ReplayEffect]:
        """Returns what the candidate does with a denied need in each region."""
        need = trial_denial.need
        denied_by = trial_denial.denial.denied_by
        documents = self._candidate.documents
        in_force = self._identity.in_force
        if denied_by is in_force:
            # The candidate itself did not allow it under its condition.
            need = replace(need, basis=Basis.OBSERVED)
        if denied_by in (in_force, DeniedBy.UNKNOWN):
            need = with_unmet_conditions(need, documents)
        return {
            replay_need(need, self._identity.acting_role, region, documents)
            for region in trial_denial.regions or ("",)
        }

    def additions_for(self, trial_denials: Sequence[TrialDenial], now: datetime) -> list[Change]:
        """Returns the additions that resolve denials, by the rules for additions and within the
        outer bound.
        """
        needed, held_back = additions(
            [_usage(trial_denial, now) for trial_denial in trial_denials],
            Evidence(self._identity.target),
            self._options,
            History(),
            self._candidate.document,
        )
        for held_change in held_back:
            self.unresolved.add(_unresolved_change(held_change))
        for change in needed:
            for resource in change.resources:
                if not self._limits.allows(change, resource):
                    self.unresolved.replace(
                        UnresolvedDenial(change.action, resource, _OUTSIDE_LIMITS)
                    )
        return _within(needed, self._limits)

    def generalize(self, denied: Sequence[Change]) -> list[Change]:
        """Returns the additions with patterns of names; what was denied replaces a pattern outside
        the outer bound.
        """
        generalized = self._next_names.generalize(denied)
        inside = _within(generalized, self._limits)
        if inside == generalized:
            return generalized
        exact = [change for change in denied if change not in inside]
        return [*exact, *inside]

    def rest_of_steps(self, denied: Sequence[Change]) -> list[Change]:
        """Returns what the denied steps usually need besides, within the outer bound."""
        completion = Completion(
            Evidence(self._identity.target),
            self._options,
            History(),
            policies=self._candidate.documents,
        )
        return _within(complete_additions(denied, completion), self._limits)


def _unresolved_denial(
    trial_denial: TrialDenial, reason: str, *, allowed_by_candidate: bool = False
) -> UnresolvedDenial:
    return UnresolvedDenial(
        action=trial_denial.need.permission.action,
        resource=_resource_text(trial_denial),
        reason=reason,
        allowed_by_candidate=allowed_by_candidate,
    )


def _unresolved_change(change: HeldBackChange) -> UnresolvedDenial:
    """Returns the denial that a held back addition leaves, with the reason of its guard."""
    resource = ", ".join(change.resources)
    if resource == "*":
        resource = ""
    return UnresolvedDenial(change.action, resource, change.guard_result.reason)


class _Unresolved:
    """The denials for which the policy is not extended, each action and resource once."""

    def __init__(self) -> None:
        self._denials: dict[tuple[str, str], UnresolvedDenial] = {}

    def add(self, denial: UnresolvedDenial) -> None:
        """Adds a denial, unless one of the same action and resource has a reason already."""
        self._denials.setdefault((denial.action, denial.resource), denial)

    def replace(self, denial: UnresolvedDenial) -> None:
        """Adds a denial; its reason replaces an earlier one."""
        self._denials[denial.action, denial.resource] = denial

    @property
    def denials(self) -> tuple[UnresolvedDenial, ...]:
        """The denials, in order."""
        return tuple(self._denials.values())


def _with_names(trial_denial: TrialDenial, next_names: NextNames) -> list[TrialDenial]:
    """Returns a denied listing of no named resource as one of each resource that the candidate
    creates; else the denial as it is.

    A tool that asks Amazon S3 whether its bucket is there is answered with a status alone. To list
    names shows no data; other actions need the name from the tool or from a record.
    """
    need = trial_denial.need
    action = need.permission.action
    if need.exact or trial_denial.denial.resource or access_level(action) != "List":
        return [trial_denial]
    if needed_proof(action):
        return [trial_denial]
    not_granted = next_names.created_without(action)
    if not 0 < len(not_granted) <= _MOST_NAMES:
        return [trial_denial]
    return [
        replace(
            trial_denial,
            need=replace(
                need,
                permission=replace(need.permission, resource=name),
                exact=True,
                derivation=_OF_THE_POLICY,
            ),
        )
        for name in not_granted
    ]


def _within(changes: Sequence[Change], limits: TrialLimits) -> list[Change]:
    """Returns the additions without the resources that are outside the outer bound."""
    inside: list[Change] = []
    for change in changes:
        resources = tuple(
            resource for resource in change.resources if limits.allows(change, resource)
        )
        patterns = tuple(pattern for pattern in change.patterns if pattern.pattern in resources)
        if resources:
            inside.append(replace(change, resources=resources, patterns=patterns))
    return inside


def _needs_yes(change: Change, denied: Sequence[Change], limits: TrialLimits) -> bool:
    """Whether an addition goes beyond what was denied, and only a person's yes can add it."""
    if limits.may_add_unrecorded(change.action):
        return False
    denied_resources = [
        resource
        for denied_change in denied
        if denied_change.action == change.action
        for resource in denied_change.resources
    ]
    return not any(
        resource_covers(resource, denied_resource)
        for resource in change.resources
        for denied_resource in denied_resources
    )


def kind_of(action: str, resource: str) -> tuple[str, str]:
    """The action and the resource's type; the resource itself where the type is not known."""
    kinds = sorted(types_of_arn(action.partition(":")[0], resource))
    return action, kinds[0] if kinds else resource


def _extend_document(document: Document, added: Sequence[Change]) -> Document:
    """Adds the changes to the candidate; raises LeastprivError where the result grants more than
    they list, or a Deny is lost.
    """
    if not added:
        return document
    extended = apply_edits(document, plan_edits(document, added))
    lists = [
        Permission(change.action, resource, change.conditions)
        for change in added
        if change.kind is ChangeKind.ADD
        for resource in change.resources
    ]
    if not check_containment([document], [extended], lists).holds or lost_denies(
        [document], [extended]
    ):
        raise LeastprivError(
            "The extended policy failed its own proof and was discarded: report this as a defect."
        )
    return extended


def _foreign_reason(trial_denial: TrialDenial, identity: TrialIdentity) -> str:
    """Returns why a denial is not one of the candidate; empty where it may be."""
    denial = trial_denial.denial
    if denial.principal and not _is_own(denial.principal, identity):
        return f"it was denied to {denial.principal}, not to this trial's session"
    if identity.trial in _resource_text(trial_denial):
        return "it is about a resource of the trial itself"
    return _other_policy_reason(denial, identity)


def _unproven_reason(trial_denial: TrialDenial, limits: TrialLimits) -> str:
    """Returns why the text of a denial does not justify an addition; empty where it does."""
    action = trial_denial.need.permission.action
    if trial_denial.is_recorded or limits.may_add_unrecorded(action):
        return ""
    return (
        f"it {needed_proof(action)}, and only the command's output says that it was denied: if the"
        f" command needs it, allow it with --yes-to {action}, or let CloudTrail show it (--trails)"
    )


def _other_policy_reason(denial: Denial, identity: TrialIdentity) -> str:
    """Returns why another policy denied it; empty if the candidate may have."""
    if denial.explicit or denial.denied_by not in (
        identity.in_force,
        DeniedBy.IDENTITY,
        DeniedBy.UNKNOWN,
    ):
        return denial.why or "another policy than this one denied it"
    if denial.denied_by is DeniedBy.UNKNOWN and denial.actions and not denial.mendable:
        return denial.why or "the denial does not say that this policy lacks it"
    return ""


def _replay_reason(effects: set[ReplayEffect], denial: Denial, identity: TrialIdentity) -> str:
    """Returns why a call was denied although the policy seems to allow it."""
    if "explicitDeny" in effects:
        return "the policy itself, or another one attached, denies it explicitly"
    if "unknown" in effects:
        return "the policy allows it under a condition that the denial does not show"
    if "allowedInPart" in effects:
        return (
            "the policy allows it on some resources, and the denial names no other one: write the"
            " missing one into it"
        )
    if identity.narrows and denial.denied_by is DeniedBy.IDENTITY:
        return (
            "the policy allows it: the role itself lacks it, and a session policy can only narrow"
        )
    narrowing_policies = "the role itself, its boundary" if identity.narrows else "the boundary"
    return (
        f"the policy allows it: {narrowing_policies}, an organization's policy or the resource's"
        " own policy"
        " denies it"
    )


def _distinct(denials: Iterable[TrialDenial]) -> Iterator[TrialDenial]:
    """Yields each denial once; one without an exact resource only if its action has none with an
    exact resource.
    """
    trial_denials = list(denials)
    exact = {
        trial_denial.need.permission.action
        for trial_denial in trial_denials
        if trial_denial.need.exact
    }
    by_permission: dict[Permission, TrialDenial] = {}
    for trial_denial in trial_denials:
        permission = trial_denial.need.permission
        if trial_denial.need.exact or permission.action not in exact:
            earlier_denial = by_permission.setdefault(permission, trial_denial)
            if trial_denial.is_recorded and not earlier_denial.is_recorded:
                by_permission[permission] = trial_denial
    yield from by_permission.values()


def _usage(trial_denial: TrialDenial, now: datetime) -> Usage:
    """Returns a denial as usage; `mendable`, since the candidate does not allow it and a grant
    there resolves it.
    """
    denial = replace(trial_denial.denial, mendable=True, why="")
    need = replace(trial_denial.need, basis=Basis.DENIED)
    return Usage(
        need=need,
        outcome=Outcome.DENIED,
        count=1,
        first_seen=now,
        last_seen=now,
        runs=(),
        events=(),
        regions=trial_denial.regions,
        denial=denial,
        succeeded=False,
    )


def _is_own(principal: str, identity: TrialIdentity) -> bool:
    """Whether a message's principal is a session of this trial, or its role if the message names no
    session.
    """
    session = session_of(principal)
    return same_arn(principal, identity.acting_role) and (
        not session or identity.has_session(session)
    )


def _resource_text(trial_denial: TrialDenial) -> str:
    """Returns the exact resource, else the resource in the message."""
    permission = trial_denial.need.permission
    return permission.resource if trial_denial.need.exact else trial_denial.denial.resource
