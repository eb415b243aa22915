"""Names the policy outside the role's own ones that decides a denial, and the recorded calls that
such policies deny now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from leastpriv.models import Basis, DeniedBy, Need, Usage
from leastpriv.policy.access import AccessDecision, Policies, evaluate_access, full_access
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import derived_keys, with_context
from leastpriv.policy.replay import replay_request
from leastpriv.proposal.models import (
    CheckFinding,
    CheckResult,
    GuardResult,
    HeldBackChange,
    Proposal,
    Severity,
)
from leastpriv.proposal.proof import NeedDecision

OTHER_POLICIES = "other-policies"
"""Names the check in reports."""
_KINDS: Mapping[str, str] = {
    "scp": "the SCP",
    "rcp": "the RCP",
    "boundary": "the permissions boundary",
    "session": "the session policy",
    "resource": "the policy of the resource",
}
_REMEDIES: Mapping[str, str] = {
    "scp": "ask the organization's administrators",
    "rcp": "ask the organization's administrators",
    "boundary": "change it there",
    "session": "change it in the step that assumes the role",
    "resource": "its owner must allow it there",
}


def with_deciding_policies(proposal: Proposal, policies: Policies, principal: str) -> Proposal:
    """Returns the proposal whose denials by another policy type name the policy and the statement
    that decide, where these policies are known.
    """
    if not _is_given(policies):
        return proposal
    with_full_access = replace(policies, identity=(full_access(),))
    held_back = tuple(
        _with_name(held_back_addition, with_full_access, principal)
        for held_back_addition in proposal.held_back_additions
    )
    return replace(proposal, held_back_additions=held_back)


def _is_given(policies: Policies) -> bool:
    organization = policies.organization
    limits = (policies.boundary, policies.session, policies.resources)
    return bool(organization.levels or organization.accounts or any(limits))


def _with_name(held: HeldBackChange, policies: Policies, principal: str) -> HeldBackChange:
    if held.guard_result.guard != "not-mendable":
        return held
    for usage in held.usages:
        reason = _reason(usage, policies, principal)
        if reason:
            return replace(held, guard_result=GuardResult("not-mendable", reason))
    return held


def _reason(usage: Usage, policies: Policies, principal: str) -> str:
    """Returns which policy denied a usage, and what to change; empty where none of the known ones
    does.
    """
    denial = usage.denial
    if denial is None or denial.denied_by in (DeniedBy.IDENTITY, DeniedBy.VPCE, DeniedBy.BPA):
        return ""
    for region in usage.replay_regions:
        decision = _decision(usage.need, region, policies, principal)
        if decision.effect == "allowed" or decision.layer not in _KINDS:
            continue
        is_stated = denial.denied_by.value == decision.layer
        is_certain = decision.effect != "unknown"
        if is_stated or (is_certain and denial.denied_by is DeniedBy.UNKNOWN):
            return f"{described(decision)} denied it: {_REMEDIES[decision.layer]}"
    return ""


def _decision(need: Need, region: str, policies: Policies, principal: str) -> AccessDecision:
    request = replay_request(need, principal, region)
    context = {**derived_keys(principal, request.resource), **request.context}
    return evaluate_access(with_context(request, context), policies)


def described(decision: AccessDecision) -> str:
    """Returns a policy and its statement in words: "the SCP `deny-regions`, statement 2 (`EU`)"."""
    kind = _KINDS[decision.layer]
    if decision.layer == "scp" and not decision.statement:
        return f"the lack of an Allow in the SCPs of {_quoted(decision.level)}"
    name = decision.policy or (decision.document.where if decision.document else "")
    policy_words = f"{kind} {_quoted(name or ' and '.join(decision.files))}"
    if not decision.statement:
        return f"{policy_words}, which does not allow it,"
    sid = f" ({_quoted(decision.statement.sid)})" if decision.statement.sid else ""
    level_words = f", attached to {_quoted(decision.level)}" if decision.level else ""
    return f"{policy_words}, statement {decision.statement.index + 1}{sid}{level_words}"


def _quoted(name: str) -> str:
    """Returns a name as a code span of a reason."""
    return f"`{name.replace('`', '')}`"


def denied_now(
    need_decisions: Sequence[NeedDecision],
    documents: Sequence[Document],
    policies: Policies,
    principal: str,
    file: str,
) -> CheckResult | None:
    """Replays the needs of recorded allowed calls under the other policies too; None where none of
    these is given.
    """
    if not _is_given(policies):
        return None
    whole_policies = replace(policies, identity=tuple(documents))
    allowed = [
        need_decision for need_decision in need_decisions if need_decision.effect == "allowed"
    ]
    findings = dict.fromkeys(_findings(allowed, whole_policies, principal, file))
    return CheckResult(OTHER_POLICIES, len(allowed), tuple(findings))


def _findings(
    needs: Sequence[NeedDecision], policies: Policies, principal: str, file: str
) -> Iterator[CheckFinding]:
    for each in needs:
        need = Need(each.permission, Basis.OBSERVED, "")
        decision = _decision(need, each.region, policies, principal)
        if decision.layer in _KINDS and decision.effect in {"implicitDeny", "explicitDeny"}:
            text = (
                f"{each.permission.action} on {each.permission.resource} is used, and"
                f" {described(decision)} denies it now: no grant helps."
            )
            yield CheckFinding(Severity.WARNING, "DENIED_OUTSIDE", text, file)
