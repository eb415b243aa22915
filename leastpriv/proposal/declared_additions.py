"""First drafts from templates and plans: additions of basis *declared*, before any run has shown their use.

A first draft alone has them: an existing policy changes by evidence only, and a review names what it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.diff.compare import replay_need
from leastpriv.models import Basis, ChangeKind, Condition, Need
from leastpriv.permissions.patterns import resource_covers, without_covered
from leastpriv.permissions.sensitive import forbidden, sensitivity
from leastpriv.policy.document import Document
from leastpriv.proposal.addition_rules import UNPRINTABLE
from leastpriv.proposal.models import Change, GuardResult, HeldBackChange, Options
from leastpriv.proposal.self_widening import widens_itself

GUARD = "declared"
"""The guard that keeps what deployed resource types need."""


def declared_additions(
    needs: Sequence[Need], principal: str, options: Options, observed: Sequence[Change], attached: Sequence[Document]
) -> tuple[list[Change], list[HeldBackChange]]:
    """Lists the additions that a declaration needs, one per action and conditions, and those that a rule holds back.

    Args:
        needs: of templates and plans.
        principal: ARN of the role or user.
        options: the user's limits.
        observed: additions that the evidence needs already; they are not repeated.
        attached: the other policies of the principal.
    """
    accepted: dict[tuple[str, tuple[Condition, ...]], list[Need]] = {}
    held_back: list[HeldBackChange] = []
    for need in needs:
        permission = need.permission
        if _is_observed(need, observed) or replay_need(need, principal, "", attached) == "allowed":
            continue
        result = _result(need, principal, options)
        if result:
            held_back.append(HeldBackChange(ChangeKind.ADD, permission.action, (permission.resource,), result))
        else:
            accepted.setdefault((permission.action, permission.conditions), []).append(need)
    changes = [
        Change(
            kind=ChangeKind.ADD,
            action=action,
            resources=without_covered(need.permission.resource for need in found),
            used=(action,),
            basis=Basis.DECLARED,
            security=sensitivity(action),
            conditions=conditions,
            declared_by=tuple(dict.fromkeys(need.because for need in found)),
        )
        for (action, conditions), found in accepted.items()
    ]
    return changes, held_back


def _result(need: Need, principal: str, options: Options) -> GuardResult | None:
    """The rule that forbids an addition which only a declaration asks for."""
    action, resource = need.permission.action, need.permission.resource
    reason = forbidden(action, options.never_add)
    if reason:
        return GuardResult("forbidden", reason)
    if not resource.isprintable():
        return GuardResult(UNPRINTABLE, "its name has characters that a reader may not see")
    if widens_itself(need.permission, principal):
        return GuardResult("self-widening", "the principal could extend its own permissions")
    if sensitivity(action) and not need.exact:
        return GuardResult("sensitive", f"{sensitivity(action)}; the declaration does not name the resource")
    account = resource.split(":")[4] if resource.startswith("arn:") else ""
    if account.isdigit() and account != principal.split(":")[4]:
        return GuardResult("other-account", "the declaration names a resource of another account")
    return None


def _is_observed(need: Need, observed: Sequence[Change]) -> bool:
    """Whether an addition of the evidence grants the need already."""
    permission = need.permission
    return any(
        change.action == permission.action
        and not set(change.conditions) - set(permission.conditions)
        and any(resource_covers(each, permission.resource) for each in change.resources)
        for change in observed
    )
