"""Judges an infrastructure change before it is merged: what it needs, and what of that the role's
policies lack.

A first draft has additions of basis *declared*, before any run has shown their use. An existing
policy changes by evidence only, and a review names what it lacks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import region_field
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Condition, Need, Permission, Usage, usages_by_action
from leastpriv.permissions.catalog import forbidden, is_read, sensitivity
from leastpriv.permissions.patterns import resource_covers, resource_overlaps, without_covered
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import statements_allowing, statements_naming
from leastpriv.policy.json_writer import json_style_of
from leastpriv.policy.replay import ReplayEffect, ReplayResult, replay_with_statement
from leastpriv.proposal.addition_rules import UNPRINTABLE, first_result
from leastpriv.proposal.edit_plan import new_statements
from leastpriv.proposal.models import (
    Change,
    DeclaredNeed,
    DeclaredState,
    GuardResult,
    HeldBackChange,
    Options,
)
from leastpriv.proposal.self_widening import SELF_WIDENING, widens_itself


def judged_needs(
    needs: Sequence[Need],
    policies: Sequence[Document],
    principal: str,
    options: Options,
    *,
    observed: Sequence[Change] = (),
    existing: Collection[Need] = (),
) -> tuple[DeclaredNeed, ...]:
    """Returns what becomes of each need of a declaration; a draft and a review have it from here.

    Args:
        needs: of templates and plans.
        policies: what the role has besides the proposal; in a review all its policies.
        principal: ARN of the role.
        options: of the proposal.
        observed: additions that the evidence asks for.
        existing: needs of resources that exist already, for which a grant on a part of a pattern
            may be the one that they have.
    """
    return tuple(
        _judged(need, policies, principal, options, observed=observed, is_new=need not in existing)
        for need in needs
    )


def _judged(
    need: Need,
    policies: Sequence[Document],
    principal: str,
    options: Options,
    *,
    observed: Sequence[Change],
    is_new: bool,
) -> DeclaredNeed:
    """Judges a declared need: not needed where the evidence or the policy has it, named where a
    rule forbids it, else written.
    """
    if _is_observed(need, observed):
        return DeclaredNeed(need, DeclaredState.NOT_NEEDED, "the evidence asks for it as well")
    effect = _replay(need, policies, principal).effect
    if _is_enough(effect, is_new):
        reason = _GRANTED.get(effect, "")
        return DeclaredNeed(need, DeclaredState.NOT_NEEDED, reason)
    guard_result = _no_grant_helps(need, policies, principal) or first_result(
        _rules(need, principal, options)
    )
    if guard_result:
        return DeclaredNeed(need, DeclaredState.TOLD, guard_result.reason, guard_result)
    return DeclaredNeed(need, DeclaredState.WRITTEN)


_GRANTED: Mapping[ReplayEffect, str] = {
    "allowed": "a policy of the role allows it",
    "allowedInPart": "a policy of the role allows it on a part of the resources",
    "unknown": "a policy allows it under a condition that the declaration does not show",
}


def additions_of(judged: Iterable[DeclaredNeed]) -> list[Change]:
    """Returns the additions of the written needs, one for each action and conditions."""
    needs_by_form: dict[Permission, list[Need]] = {}
    for judged_need in judged:
        if judged_need.state is DeclaredState.WRITTEN:
            permission = judged_need.need.permission
            conditions = tuple(
                condition for condition in permission.conditions if condition.operator != "Null"
            )
            form = Permission(permission.action, "*", conditions)
            needs_by_form.setdefault(form, []).append(judged_need.need)
    return [
        Change(
            kind=ChangeKind.ADD,
            action=form.action,
            resources=without_covered(need.permission.resource for need in needs),
            used=(form.action,),
            basis=Basis.DECLARED,
            security=sensitivity(form.action),
            conditions=form.conditions,
            declared_by=tuple(dict.fromkeys(need.because for need in needs)),
        )
        for form, needs in needs_by_form.items()
    ]


def held_back_of(judged: Iterable[DeclaredNeed]) -> list[HeldBackChange]:
    """Returns the needs that a rule forbids to write, as additions that are held back."""
    return [
        HeldBackChange(
            kind=ChangeKind.ADD,
            action=judged_need.need.permission.action,
            resources=(judged_need.need.permission.resource,),
            guard_result=judged_need.guard_result,
        )
        for judged_need in judged
        if judged_need.state is DeclaredState.TOLD and judged_need.guard_result
    ]


def _rules(need: Need, principal: str, options: Options) -> Iterator[GuardResult]:
    """Yields what each rule for an addition says which only a declaration asks for; one with an
    empty reason forbids nothing.
    """
    action = need.permission.action
    yield GuardResult("forbidden", forbidden(action, options.never_add))
    if not need.permission.resource.isprintable():
        yield GuardResult(UNPRINTABLE, "its name has characters that a reader may not see")
    if widens_itself(need.permission, principal):
        yield GuardResult(SELF_WIDENING, "the principal could extend its own permissions")
    if sensitivity(action) and not need.exact:
        reason = "the declaration does not name the resource: add it by hand for that one"
        yield GuardResult("sensitive", f"{sensitivity(action)}; {reason}")


def _is_observed(need: Need, observed: Sequence[Change]) -> bool:
    """Whether an addition of the evidence grants the need already."""
    permission = need.permission
    return any(
        change.action == permission.action
        and not set(change.conditions) - set(permission.conditions)
        and any(resource_covers(resource, permission.resource) for resource in change.resources)
        for change in observed
    )


class DeclaredChange(Struct, frozen=True):
    """The needs of a change, from templates and plans."""

    sources: tuple[str, ...]
    made: tuple[Need, ...]
    """Of new resources."""
    kept: tuple[Need, ...]
    """Of resources that exist already: a grant on a part of a pattern may be the one that they
    have.
    """
    rest: tuple[Need, ...] = ()
    """What the declarations need in all, where no record shows what the role uses."""
    unread: tuple[str, ...] = ()
    """Types and parts whose needs are not known."""
    standing: Mapping[Need, str] = {}
    """What the life of all resources needs after the change -> its template or plan."""
    plans: tuple[str, ...] = ()
    """Those of `sources` that are plans."""
    left_out: Mapping[str, tuple[str, ...]] = {}
    """Parameters whose defaults decide -> resources that a template makes with other values."""
    is_whole: bool = False
    """The needs are those of all resources, changed or not."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The needs of all resources, those of new ones first."""
        return tuple(dict.fromkeys((*self.made, *self.kept)))


class Withdrawn(Struct, frozen=True):
    """A need that the policies allow before an edit, and after it not, not everywhere or not
    always.
    """

    need: Need
    source: str
    """The template or plan that needs it; empty for a resource that the change deletes."""
    left: tuple[str, ...] = ()
    """Resources on which the policies after it still name the action."""
    denied: bool = False
    """A Deny of the policies after it decides."""
    conditions: tuple[Condition, ...] = ()
    """Under which the policies after it decide."""
    is_open: bool = False
    """The declaration does not show whether the conditions hold."""


class Preflight(Struct, frozen=True):
    """What a change needs."""

    change: DeclaredChange
    missing: tuple[Need, ...]
    """Needs that no policy of the role allows, neither before an edit nor after."""
    never_written: Mapping[Need, GuardResult]
    """Missing needs that no proposal writes, and why."""
    covered: Mapping[Need, tuple[Usage, ...]]
    """Needs that the policies allow, with their use in the evidence."""
    statements: tuple[Mapping[str, object], ...]
    """Statements to paste that grant the missing needs."""
    indent: str = "  "
    """One level of indentation in the policy file, in blanks: a comment shows no tabs."""
    withdrawn: tuple[Withdrawn, ...] = ()
    """Needs that the edit of the same pull request takes away."""
    rest: tuple[Need, ...] = ()
    """Further needs that no policy allows: of resources that do not change."""
    needs: tuple[DeclaredNeed, ...] = ()
    """What becomes of each need, without those that the edit takes away."""

    @property
    def lacking(self) -> tuple[Need, ...]:
        """All needs that the policies do not allow."""
        return (*(withdrawal.need for withdrawal in self.withdrawn), *self.missing, *self.rest)

    @property
    def missing_actions(self) -> tuple[str, ...]:
        """The distinct actions that are missing, in order."""
        return tuple(dict.fromkeys(need.permission.action for need in self.missing))


def preflight(
    change: DeclaredChange,
    before: Sequence[Document],
    after: Sequence[Document],
    evidence: Evidence,
    options: Options,
) -> Preflight | None:
    """Compares what a change needs with the policies of the role; None where it needs nothing and
    nothing is withdrawn.

    Args:
        change: The needs of templates and plans.
        before: The policies of the role before the edit of the same pull request.
        after: Those after it.
        evidence: What was read of the role.
        options: Those of the proposal.
    """
    principal = evidence.principal
    # What a replacement needs of the old resource and of the new one is one need.
    need_by_permission = {need.permission: need for need in reversed(change.needs)}
    needs = [*reversed(need_by_permission.values())]
    withdrawn = [*_all_withdrawn(change, needs, before, after, principal)]
    gone = [withdrawal.need for withdrawal in withdrawn]
    judged = judged_needs(
        [need for need in needs if need not in gone],
        after,
        principal,
        options,
        existing={*needs} - {*change.made},
    )
    named = {need.permission for need in (*needs, *gone)}
    unchanged = [need for need in change.rest if need.permission not in named]
    judged_rest = judged_needs(unchanged, after, principal, options, existing={*unchanged})
    rest = [judged_need.need for judged_need in judged_rest if judged_need.is_lacking]
    if not (needs or withdrawn or rest or change.unread):
        return None
    judged_gone = judged_needs(gone, (), principal, options)
    all_judged = (
        *(_undone(judged_need, after, principal) for judged_need in judged_gone),
        *judged,
        *judged_rest,
    )
    missing: list[Need] = []
    covered: dict[Need, tuple[Usage, ...]] = {}
    usages_of_action = usages_by_action(evidence.allowed_usages)
    for judged_need in judged:
        if judged_need.is_lacking:
            missing.append(judged_need.need)
        else:
            covered[judged_need.need] = _usages_of(judged_need.need, usages_of_action)
    never_written: dict[Need, GuardResult] = {}
    for judged_need in all_judged:
        if judged_need.guard_result:
            never_written[judged_need.need] = judged_need.guard_result
    sids = [statement.sid for document in after for statement in document.statements]
    return Preflight(
        change=change,
        missing=tuple(sorted(missing, key=_rank)),
        never_written=never_written,
        covered=covered,
        statements=tuple(new_statements(additions_of(all_judged), sids)),
        indent=json_style_of(after[0]).unit.expandtabs(4) if after else "  ",
        withdrawn=tuple(sorted(withdrawn, key=lambda withdrawal: _rank(withdrawal.need))),
        rest=tuple(sorted(rest, key=_rank)),
        needs=(*judged, *judged_rest),
    )


def _all_withdrawn(
    change: DeclaredChange,
    needs: Sequence[Need],
    before: Sequence[Document],
    after: Sequence[Document],
    principal: str,
) -> Iterator[Withdrawn]:
    """Yields what an edit takes away of the needs of a change and of the resources that stay."""
    if before == after:
        return
    sources = {need.permission: source for need, source in change.standing.items()}
    need_by_permission = {need.permission: need for need in (*change.standing, *needs)}
    actions = {permission.action for permission in need_by_permission}
    edited = {action for action in actions if _meanings(action, before) != _meanings(action, after)}
    made = {*change.made}
    for permission, need in need_by_permission.items():
        if permission.action in edited:
            withdrawal = _withdrawn(need, before, after, principal, is_new=need in made)
            if withdrawal:
                yield replace(withdrawal, source=sources.get(permission, ""))


def _undone(
    judged_need: DeclaredNeed, documents: Sequence[Document], principal: str
) -> DeclaredNeed:
    """A need that an edit takes away: a further statement may be no remedy."""
    need = judged_need.need
    guard_result = _no_grant_helps(need, documents, principal)
    if guard_result is None:
        return judged_need
    return DeclaredNeed(need, DeclaredState.TOLD, guard_result.reason, guard_result)


def _rank(need: Need) -> int:
    """What a reviewer reads first: sensitive actions, then writes, then reads."""
    action = need.permission.action
    if sensitivity(action):
        return 0
    return 2 if is_read(action) else 1


def as_text(statements: Sequence[Mapping[str, object]], language: str, indent: str) -> str:
    """Returns statements as they are in a policy file in `json`, with its indentation, or in
    `yaml`.
    """
    if language == "json":
        return json.dumps(list(statements), indent=indent)
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML().dump(json.loads(json.dumps(list(statements))), text)
    return text.getvalue().rstrip("\n")


def _is_enough(effect: ReplayEffect, is_new: bool) -> bool:
    """Whether the policies allow a need; on a part of its resource only where the resource exists
    already.
    """
    return effect in ("allowed", "unknown") or (effect == "allowedInPart" and not is_new)


def _replay(need: Need, documents: Sequence[Document], principal: str) -> ReplayResult:
    """How the policies decide a need in the region of its resource, and the statement that
    decides.
    """
    region = region_field(need.permission.resource)
    if "*" in region:
        region = ""
    return replay_with_statement(need, principal, region, documents)


_GUARDING_KEYS = ("iam:PermissionsBoundary",)
"""Condition keys by which a policy limits what the role can make: a statement without them would
lift the limit.
"""


def _no_grant_helps(
    need: Need, documents: Sequence[Document], principal: str
) -> GuardResult | None:
    """Why a further statement is no remedy: a Deny, or a condition that the declaration does not
    meet.
    """
    if _replay(need, documents, principal).effect == "explicitDeny":
        return GuardResult("explicit-deny", "a Deny of the role's policies denies it")
    keys = [
        condition.key for condition in need.permission.conditions if condition.key in _GUARDING_KEYS
    ]
    free = replace(need, permission=replace(need.permission, conditions=()))
    if not keys or not _is_enough(_replay(free, documents, principal).effect, is_new=False):
        return None
    return GuardResult(
        "condition", f"the role's policies ask for another {keys[0]} than the declaration has"
    )


def _meanings(action: str, documents: Sequence[Document]) -> set[Statement]:
    """What the statements mean that name an action."""
    return {
        statement.meaning
        for document in documents
        for statement in statements_naming(document, action)
    }


def _withdrawn(
    need: Need,
    before: Sequence[Document],
    after: Sequence[Document],
    principal: str,
    *,
    is_new: bool,
) -> Withdrawn | None:
    """What an edit takes away of a need; a Deny on a part of its resources may leave the one that
    it means.
    """
    then = _replay(need, before, principal).effect
    result = _replay(need, after, principal)
    statement = result.statement_in(after)
    if not _is_enough(then, is_new) or result.effect == then:
        return None
    if result.effect == "unknown" and statement and then in ("allowed", "allowedInPart"):
        is_denied = statement.effect == "Deny"
        conditions = statement.conditions
        if is_denied and not conditions:
            return None
        return Withdrawn(need, "", denied=is_denied, conditions=conditions, is_open=True)
    if _is_enough(result.effect, is_new):
        return None
    if result.effect == "explicitDeny":
        conditions = statement.conditions if statement else ()
        return Withdrawn(need, "", denied=True, conditions=conditions)
    return _withdrawn_grant(need, after)


def _withdrawn_grant(need: Need, after: Sequence[Document]) -> Withdrawn:
    """What an edit leaves of a need that it no longer grants: the action on other resources, or
    under conditions.
    """
    resource = need.permission.resource
    conditions: tuple[Condition, ...] = ()
    resources_left: list[str] = []
    for allow in statements_allowing(after, need.permission.action):
        if resource in allow.not_resources:
            continue
        if allow.conditions and any(resource_covers(name, resource) for name in allow.resources):
            conditions = conditions or allow.conditions
        else:
            resources_left += allow.resources
    return Withdrawn(need, "", tuple(dict.fromkeys(resources_left)), conditions=conditions)


def _usages_of(need: Need, used: Mapping[str, Sequence[Usage]]) -> tuple[Usage, ...]:
    """The allowed usages of the action of a need on what it names, or on a part of it."""
    permission = need.permission
    return tuple(
        usage
        for usage in used.get(permission.action, ())
        if resource_overlaps(usage.resource, permission.resource)
    )
