"""Additions that let the principal widen itself, and denials that are no sign of a deploy.

Sources of the two lists of actions: "Permissions boundaries for IAM entities" of the IAM User Guide
and https://pathfinding.cloud (paths iam-001 to iam-021), read 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from leastpriv.aws.arns import same_arn
from leastpriv.aws.session_names import is_run_id
from leastpriv.evidence.models import Evidence
from leastpriv.models import (
    Basis,
    Need,
    Origin,
    Permission,
    Usage,
)
from leastpriv.permissions.patterns import resource_matches
from leastpriv.policy.document import Document
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.models import GuardResult
from leastpriv.proposal.origins import knows_origins

SELF_WIDENING = "self-widening"
"""Guard of a need that lets the principal extend its own permissions."""
DENIAL_BUDGET = "denial-budget"
"""Guard of a need of runs alone that were denied more actions than they used."""
SINGLE_RUN = "single-run"
"""Guard of a need that one run of unknown origin was denied."""

_CHANGES_A_PRINCIPAL = frozenset(
    f"iam:{verb}{kind}{ending}"
    for kind in ("Role", "User")
    for verb, ending in (
        ("Attach", "Policy"),
        ("Put", "Policy"),
        ("Detach", "Policy"),
        ("Delete", "Policy"),
        ("Put", "PermissionsBoundary"),
        ("Delete", "PermissionsBoundary"),
    )
) | {"iam:UpdateAssumeRolePolicy", "iam:AddUserToGroup", "iam:RemoveUserFromGroup"}
"""Actions on a role or user that extend its permissions, or remove a policy that may deny."""
_CHANGES_ITS_TAGS = frozenset({"iam:TagRole", "iam:UntagRole", "iam:TagUser", "iam:UntagUser"})
"""Actions that change the tags by which conditions on `aws:PrincipalTag` allow or deny."""
_CHANGES_A_GROUP = frozenset(
    f"iam:{verb}GroupPolicy" for verb in ("Attach", "Put", "Detach", "Delete")
)
_CHANGES_A_POLICY = frozenset({"iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"})
_USES_A_ROLE = ("iam:PassRole", "sts:AssumeRole")
_FREE_DENIALS = 3
"""Denied actions that are within the budget of every run: a deploy may begin with a denial, and
deploy tools call in parallel.
"""


def self_widening(usage: Usage, evidence: Evidence, document: Document | None) -> str:
    """Why the principal could extend its own permissions by an addition, however often it was
    denied; else empty.
    """
    action = usage.action
    resource = usage.resource
    if widens_itself(usage.need.permission, evidence.principal):
        return "the principal could extend its own permissions"
    if action in _CHANGES_A_PRINCIPAL and usage.denial and _may_use(resource, evidence, document):
        return (
            "the principal may pass or assume that role, so it could extend its own permissions"
            " through it"
        )
    if action in _CHANGES_A_POLICY:
        if any(resource_matches(resource, own_policy) for own_policy in evidence.own_policies):
            return "the principal has the policy, so it could extend its own permissions"
        if usage.denial:
            return "the policy may be one of the principal's own: no record says who has it"
    if action in _CHANGES_A_GROUP and ":user/" in evidence.principal:
        return "the user may be a member of the group"
    return ""


def widens_itself(permission: Permission, principal: str) -> bool:
    """Whether a permission lets the principal change its own policies, boundary, trust or tags."""
    return permission.action in _CHANGES_A_PRINCIPAL | _CHANGES_ITS_TAGS and _is_own(
        permission.resource, principal
    )


def _is_own(resource: str, principal: str) -> bool:
    """Whether a resource is the principal, or a pattern that matches it."""
    return same_arn(resource, principal) or resource_matches(resource, principal)


def _may_use(role: str, evidence: Evidence, document: Document | None) -> bool:
    """Whether the principal may pass or assume a role, by the policy, by a call or after this
    proposal.
    """
    uses = (usage.need for usage in evidence.usages if usage.action in _USES_A_ROLE)
    if any(need.exact and resource_matches(need.permission.resource, role) for need in uses):
        return True
    needs = (Need(Permission(action, role), Basis.OBSERVED, "") for action in _USES_A_ROLE)
    documents = [document] if document else []
    return any(
        replay_need(need, evidence.principal, "", documents).startswith("allowed") for need in needs
    )


def runs_over_budget(evidence: Evidence) -> Mapping[str, RunBudget]:
    """Returns the runs that were denied more actions than they used, by run id.

    A deploy that works stops at the first denials; a few of them are within every budget.
    """
    denied: dict[str, set[str]] = {}
    successful: dict[str, set[str]] = {}
    for usage in evidence.usages:
        action = usage.action
        if usage.denial and usage.need.basis is Basis.INFERRED:
            # The denied call would need it next; no run asked for it.
            continue
        if usage.denial:
            counted = denied
        elif usage.succeeded and usage.is_allowed:
            counted = successful
        else:
            continue
        for run in usage.runs:
            counted.setdefault(run, set()).add(action)
    budgets = {
        run: RunBudget(len(actions), len(successful.get(run, ())))
        for run, actions in denied.items()
    }
    return {run: budget for run, budget in budgets.items() if budget.is_exceeded}


def denial_result(
    usage: Usage, evidence: Evidence, over_budget: Mapping[str, RunBudget]
) -> GuardResult | None:
    """Forbids an addition for a recorded denial that only runs over their budget, or one run of
    unknown origin, ask for.

    Where no repository knows the runs, a session that names a run counts as known.
    """
    if usage.denial is None or usage.denial.log or not usage.runs:
        return None
    if all(run in over_budget for run in usage.runs):
        worst = over_budget[usage.runs[-1]]
        return GuardResult(
            DENIAL_BUDGET,
            f"its runs were denied more than they did: {worst.denied} different actions denied,"
            f" {worst.successful} used",
        )
    run, *further_runs = usage.runs
    if further_runs or _is_known(run, evidence):
        return None
    return GuardResult(
        SINGLE_RUN, "one run of unknown origin was denied it: a second run would add it"
    )


def _is_known(run: str, evidence: Evidence) -> bool:
    """Whether a run is reviewed; where nothing knows the runs, whether its session names one."""
    if knows_origins(evidence):
        return evidence.origin_of_run(run) is Origin.REVIEWED
    session = next((each.session for each in evidence.runs if each.id == run), run)
    return is_run_id(session)


class RunBudget(Struct, frozen=True):
    """How many different actions one run was denied, and how many it used with success."""

    denied: int
    successful: int

    @property
    def is_exceeded(self) -> bool:
        """Whether the run may add nothing without a person."""
        return self.denied > max(self.successful, _FREE_DENIALS)
