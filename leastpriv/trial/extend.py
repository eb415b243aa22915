"""What one round was refused -> the policy of the next round, and what stays refused for which reason (pure).

A trial knows more of a refusal than a log does: the policy in force is the candidate itself. What the candidate does
not allow was refused by it, whoever else would refuse it too; what it does allow was refused by something else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from leastpriv.aws.arns import same_arn, session_of
from leastpriv.diff.compare import ReplayEffect, replay_need
from leastpriv.errors import LeastprivError
from leastpriv.evidence.denials.needs import logged_needs
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Denial, DeniedBy, Need, Outcome, Permission, Usage
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.policy.containment import check_containment, lost_denies
from leastpriv.policy.document import Document
from leastpriv.policy.edit import apply_edits
from leastpriv.proposal.additions import additions
from leastpriv.proposal.edit_plan import plan_edits
from leastpriv.proposal.models import Change, History, Options


@dataclass(frozen=True, slots=True)
class Tried:
    """As whom the command runs."""

    target: str
    """ARN of the role or user whose policy is tried."""
    trial: str
    """How the names of its sessions begin; nobody else can know it before."""
    acting: str
    """ARN of the role whose sessions they are."""
    narrows: bool
    """The candidate is the session's policy, which only narrows what the role itself is allowed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One permission that the command was refused."""

    need: Need
    denial: Denial
    certain: bool
    """It is this trial's own for sure: AWS's record says so, or the message names the session."""
    regions: tuple[str, ...] = ()
    late: bool = False
    """It is of an earlier round: what the candidate allows by now is settled."""


@dataclass(frozen=True, slots=True)
class Unmended:
    """What the command was refused, and why the policy is not extended for it."""

    action: str
    """Empty where nobody knows."""
    resource: str
    """Empty where nobody knows."""
    reason: str
    overtaken: bool = False
    """The candidate allows it: where AWS takes a while to heed a change, the next round may be allowed it."""


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one round."""

    document: Document
    """The candidate, extended."""
    added: tuple[Change, ...] = ()
    unmended: tuple[Unmended, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """The policy that is tried, and the others that count beside it and are never edited."""

    document: Document
    attached: tuple[Document, ...] = field(default=())

    @property
    def resources(self) -> frozenset[str]:
        """The resources without wildcards that it allows something on."""
        statements = (statement for document in self.documents for statement in document.statements)
        granted = (each for statement in statements if statement.effect == "Allow" for each in statement.resources)
        return frozenset(each for each in granted if not set(each) & {*"*?$"})

    @property
    def documents(self) -> tuple[Document, ...]:
        """All policies in force."""
        return (self.document, *self.attached)


def told(denials: Iterable[Denial], tried: Tried, known: Collection[str] = ()) -> Iterator[Refusal | Unmended]:
    """The refusals that the command's output tells: each permission that was lacking, or what is not known of it.

    `known` are ARNs, such as those that the candidate grants: what the output hides of a resource is filled from them.
    """
    for denial in denials:
        needs = logged_needs(denial, tried.acting, known)
        certain = bool(session_of(denial.principal)) and _is_own(denial.principal, tried)
        yield from (Refusal(need, denial, certain, _regions(need.permission.resource)) for need in needs)
        if not needs:
            yield Unmended("", denial.resource, denial.why or "the message names no action")


def recorded(usages: Iterable[Usage], *, late: bool = False) -> Iterator[Refusal]:
    """The refusals in records of this trial's sessions; `late`: of those of earlier rounds."""
    for usage in usages:
        if usage.outcome is Outcome.DENIED and usage.denial:
            yield Refusal(usage.need, usage.denial, True, usage.regions, late)


def judged(
    candidate: Candidate,
    seen: Sequence[Refusal | Unmended],
    tried: Tried,
    options: Options,
    now: datetime,
) -> Step:
    """Extends the candidate by what it was refused, if it may be: nothing else, and nothing is ever taken away.

    Raises:
        LeastprivError: the extended policy fails its own proof, a defect of the product.
    """
    unmended = {(one.action, one.resource): one for one in seen if isinstance(one, Unmended)}
    mendable: list[Refusal] = []
    for refusal in _best(one for one in seen if isinstance(one, Refusal)):
        permission = refusal.need.permission
        objection = _objection(refusal, candidate, tried)
        if objection is None:
            mendable.append(refusal)
        elif not (refusal.late and objection.overtaken):
            unmended.setdefault((permission.action, _named(refusal)), objection)
    added, held = additions(
        [_usage(refusal, now) for refusal in mendable],
        Evidence(tried.target),
        options,
        History(),
        candidate.document,
    )
    for one in held:
        resource = _shown(one.resources)
        unmended.setdefault((one.action, resource), Unmended(one.action, resource, one.guard_result.reason))
    extended = _extended(candidate.document, added)
    return Step(extended, tuple(added), tuple(unmended.values()))


def _extended(document: Document, added: Sequence[Change]) -> Document:
    if not added:
        return document
    extended = apply_edits(document, plan_edits(document, added))
    listed = [
        Permission(change.action, resource, change.conditions)
        for change in added
        if change.kind is ChangeKind.ADD
        for resource in change.resources
    ]
    if not check_containment([document], [extended], listed).holds or lost_denies([document], [extended]):
        raise LeastprivError("The extended policy failed its own proof and was thrown away: report this as a defect.")
    return extended


def _objection(refusal: Refusal, candidate: Candidate, tried: Tried) -> Unmended | None:
    """Why a refusal is not mended in the candidate; None where `extend`'s own rules decide."""
    action, resource = refusal.need.permission.action, _named(refusal)
    denial = refusal.denial
    if denial.principal and not _is_own(denial.principal, tried):
        return Unmended(action, resource, f"it was refused to {denial.principal}, not to this trial's session")
    if _names_trial(resource, tried):
        return Unmended(action, resource, "it is about what the trial itself made in the account")
    elsewhere = _by_other(denial, tried)
    if elsewhere:
        return Unmended(action, resource, elsewhere)
    effects = {
        replay_need(refusal.need, tried.acting, region, candidate.documents) for region in refusal.regions or ("",)
    }
    if effects != {"implicitDeny"}:
        return Unmended(action, resource, _why_not(effects, denial, tried), overtaken="allowed" in effects)
    if sensitivity(action) and not refusal.certain:
        return Unmended(action, resource, f"{sensitivity(action)}; the refusal does not name this trial's session")
    return None


def _by_other(denial: Denial, tried: Tried) -> str:
    """Why the policy in force is not what refused; empty where it may be."""
    own = DeniedBy.SESSION if tried.narrows else DeniedBy.IDENTITY
    if denial.explicit or denial.denied_by not in (own, DeniedBy.IDENTITY, DeniedBy.UNKNOWN):
        return denial.why or "something else than this policy refused it"
    if denial.denied_by is DeniedBy.UNKNOWN and denial.actions and not denial.mendable:
        return denial.why or "the refusal does not say that this policy lacks it"
    return ""


def _why_not(effects: set[ReplayEffect], denial: Denial, tried: Tried) -> str:
    if "explicitDeny" in effects:
        return "the policy itself, or another one attached, denies it explicitly"
    if "unknown" in effects:
        return "the policy allows it under a condition that the refusal does not show"
    if "allowedInPart" in effects:
        return "the policy allows it on a part of what the refusal names"
    if tried.narrows and denial.denied_by is DeniedBy.IDENTITY:
        return "the policy allows it: the role itself lacks it, and a session policy can only narrow"
    others = "the role itself, its boundary" if tried.narrows else "the boundary"
    return f"the policy allows it: {others}, an organisation's policy or the resource's own policy refuses it"


def _best(refusals: Iterable[Refusal]) -> Iterator[Refusal]:
    """Each once; one that does not name its resource only where none of the same action does."""
    found = list(refusals)
    exact = {refusal.need.permission.action for refusal in found if refusal.need.exact}
    given: dict[Permission, Refusal] = {}
    for refusal in found:
        permission = refusal.need.permission
        if refusal.need.exact or permission.action not in exact:
            known = given.setdefault(permission, refusal)
            if refusal.certain and not known.certain:
                given[permission] = refusal
    yield from given.values()


def _usage(refusal: Refusal, now: datetime) -> Usage:
    """As evidence. The policy in force does not allow it, so that a grant there is what it lacks: it can be mended."""
    denial = replace(refusal.denial, mendable=True, why="")
    need = replace(refusal.need, basis=Basis.DENIED)
    return Usage(need, Outcome.DENIED, 1, now, now, (), (), refusal.regions, denial, succeeded=False)


def _is_own(principal: str, tried: Tried) -> bool:
    """Whether a message's principal is a session of this trial, or its role where the message names no session."""
    session = session_of(principal)
    return same_arn(principal, tried.acting) and (not session or session.startswith(tried.trial))


def _names_trial(resource: str, tried: Tried) -> bool:
    return tried.trial in resource


def _regions(resource: str) -> tuple[str, ...]:
    parts = resource.split(":")
    return (parts[3],) if len(parts) > 5 and parts[3] else ()


def _named(refusal: Refusal) -> str:
    """The resource for a reader: the exact one, else what the message says."""
    permission = refusal.need.permission
    return permission.resource if refusal.need.exact else refusal.denial.resource


def _shown(resources: Sequence[str]) -> str:
    return "" if tuple(resources) == ("*",) else ", ".join(resources)
