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

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Condition, Need, Outcome, Usage, grouped
from leastpriv.permissions.catalog import forbidden, is_read, sensitivity
from leastpriv.permissions.patterns import resource_covers, resource_overlaps, without_covered
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import statements_allowing, statements_naming
from leastpriv.policy.json_writer import json_style_of
from leastpriv.policy.replay import ReplayEffect, replay_with_statement
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
        _judged(need, policies, principal, options, observed, need not in existing)
        for need in needs
    )


def _judged(
    need: Need,
    policies: Sequence[Document],
    principal: str,
    options: Options,
    observed: Sequence[Change],
    is_new: bool,
) -> DeclaredNeed:
    """Judges a declared need: not needed where the evidence or the policy has it, named where a
    rule forbids it, else written.
    """
    if _is_observed(need, observed):
        return DeclaredNeed(need, DeclaredState.NOT_NEEDED, "the evidence asks for it as well")
    effect, _ = _decision(need, policies, principal)
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
    accepted: dict[tuple[str, tuple[Condition, ...]], list[Need]] = {}
    for judged_need in judged:
        if judged_need.state is DeclaredState.WRITTEN:
            permission = judged_need.need.permission
            written_conditions = tuple(
                condition for condition in permission.conditions if condition.operator != "Null"
            )
            accepted.setdefault((permission.action, written_conditions), []).append(
                judged_need.need
            )
    return [
        Change(
            kind=ChangeKind.ADD,
            action=action,
            resources=without_covered(need.permission.resource for need in needs_of_form),
            used=(action,),
            basis=Basis.DECLARED,
            security=sensitivity(action),
            conditions=conditions,
            declared_by=tuple(dict.fromkeys(need.because for need in needs_of_form)),
        )
        for (action, conditions), needs_of_form in accepted.items()
    ]


def held_back_of(judged: Iterable[DeclaredNeed]) -> list[HeldBackChange]:
    """Returns the needs that a rule forbids to write, as additions that are held back."""
    held_back = []
    for judged_need in judged:
        if judged_need.state is DeclaredState.TOLD and judged_need.guard_result:
            permission = judged_need.need.permission
            held_back.append(
                HeldBackChange(
                    ChangeKind.ADD,
                    permission.action,
                    (permission.resource,),
                    judged_need.guard_result,
                )
            )
    return held_back


def _rules(need: Need, principal: str, options: Options) -> Iterator[tuple[str, str]]:
    """Yields the rules for an addition which only a declaration asks for, with a reason where one
    forbids it.
    """
    action, resource = need.permission.action, need.permission.resource
    yield "forbidden", forbidden(action, options.never_add)
    yield (
        UNPRINTABLE,
        "" if resource.isprintable() else "its name has characters that a reader may not see",
    )
    is_own = widens_itself(need.permission, principal)
    yield SELF_WIDENING, "the principal could extend its own permissions" if is_own else ""
    if sensitivity(action) and not need.exact:
        reason = "the declaration does not name the resource: add it by hand for that one"
        yield "sensitive", f"{sensitivity(action)}; {reason}"


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
    versions: tuple[Sequence[Document], Sequence[Document]],
    evidence: Evidence,
    options: Options,
) -> Preflight | None:
    """Compares what a change needs with the policies of the role; None where it needs nothing and
    nothing is withdrawn.

    `versions` are the policies of the role before the edit of the same pull request, and after.
    """
    made_needs, (before, documents), principal = set(change.made), versions, evidence.principal
    # What a replacement needs of the old resource and of the new one is one need.
    needs = [*{need.permission: need for need in reversed(change.needs)}.values()][::-1]
    sources = (
        {need.permission: source for need, source in change.standing.items()}
        if before != documents
        else {}
    )
    needs_by_permission = (
        {need.permission: need for need in (*change.standing, *needs)}
        if before != documents
        else {}
    )
    edited = {
        action
        for action in {permission.action for permission in needs_by_permission}
        if _is_edited(action, versions)
    }
    taken = [
        replace(withdrawal, source=sources.get(permission, ""))
        for permission, need in needs_by_permission.items()
        if permission.action in edited
        and (withdrawal := _withdrawn(need, need in made_needs, versions, principal))
    ]
    gone = [taken_away.need for taken_away in taken]
    existing = {need for need in needs if need not in made_needs}
    judged = judged_needs(
        [need for need in needs if need not in gone],
        documents,
        principal,
        options,
        existing=existing,
    )
    named_permissions = {need.permission for need in (*needs, *gone)}
    other_needs = [need for need in change.rest if need.permission not in named_permissions]
    judged_rest = judged_needs(
        other_needs, documents, principal, options, existing=set(other_needs)
    )
    withdrawn = judged_needs(gone, (), principal, options)
    withdrawn = tuple(_undone(each, documents, principal) for each in withdrawn)
    missing = [
        judged_need.need
        for judged_need in judged
        if judged_need.state is not DeclaredState.NOT_NEEDED
    ]
    granted = [
        judged_need.need for judged_need in judged if judged_need.state is DeclaredState.NOT_NEEDED
    ]
    unmet = [
        judged_need.need
        for judged_need in judged_rest
        if judged_need.state is not DeclaredState.NOT_NEEDED
    ]
    if not (needs or taken or unmet or change.unread):
        return None
    every_lacking = (*withdrawn, *judged, *judged_rest)
    result_by_need = {
        lacking_need.need: lacking_need.guard_result
        for lacking_need in every_lacking
        if lacking_need.guard_result
    }
    sids = [statement.sid for document in documents for statement in document.statements]
    allowed = (usage for usage in evidence.usages if usage.outcome is Outcome.ALLOWED)
    usages_by_action = grouped([(usage.need.permission.action, usage) for usage in allowed])
    return Preflight(
        change=change,
        missing=tuple(sorted(missing, key=_rank)),
        never_written=result_by_need,
        covered={need: _usages_of(need, usages_by_action) for need in granted},
        statements=tuple(new_statements(additions_of(every_lacking), sids)),
        indent=json_style_of(documents[0]).unit.expandtabs(4) if documents else "  ",
        withdrawn=tuple(sorted(taken, key=lambda each: _rank(each.need))),
        rest=tuple(sorted(unmet, key=_rank)),
        needs=(*judged, *judged_rest),
    )


def _undone(each: DeclaredNeed, documents: Sequence[Document], principal: str) -> DeclaredNeed:
    """A need that an edit takes away: a further statement may be no remedy."""
    guard_result = _no_grant_helps(each.need, documents, principal)
    if guard_result is None:
        return each
    return DeclaredNeed(each.need, DeclaredState.TOLD, guard_result.reason, guard_result)


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


def _decision(
    need: Need, documents: Sequence[Document], principal: str
) -> tuple[ReplayEffect, Statement | None]:
    """How the policies decide a need in the region of its resource, and the statement that
    decides.
    """
    region = ""
    if need.permission.resource.startswith("arn:"):
        region = need.permission.resource.split(":")[3]
    if "*" in region:
        region = ""
    decision = replay_with_statement(need, principal, region, documents)
    if decision.document is None or decision.statement is None:
        return decision.effect, None
    return decision.effect, documents[decision.document].statements[decision.statement]


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
    if _decision(need, documents, principal)[0] == "explicitDeny":
        return GuardResult("explicit-deny", "a Deny of the role's policies denies it")
    keys = [
        condition.key for condition in need.permission.conditions if condition.key in _GUARDING_KEYS
    ]
    free = replace(need, permission=replace(need.permission, conditions=()))
    if not keys or not _is_enough(_decision(free, documents, principal)[0], is_new=False):
        return None
    return GuardResult(
        "condition", f"the role's policies ask for another {keys[0]} than the declaration has"
    )


def _is_edited(action: str, versions: tuple[Sequence[Document], Sequence[Document]]) -> bool:
    """Whether the statements that name an action have another meaning after an edit."""
    before, after = (
        {
            statement.meaning
            for document in documents
            for statement in statements_naming(document, action)
        }
        for documents in versions
    )
    return before != after


def _withdrawn(
    need: Need,
    is_new: bool,
    versions: tuple[Sequence[Document], Sequence[Document]],
    principal: str,
) -> Withdrawn | None:
    """What an edit takes away of a need; a Deny on a part of its resources may leave the one that
    it means.
    """
    (then, _), (now, statement) = (_decision(need, documents, principal) for documents in versions)
    if not _is_enough(then, is_new) or now == then:
        return None
    if now == "unknown" and statement and then in ("allowed", "allowedInPart"):
        denied, conditions = statement.effect == "Deny", statement.conditions
        is_certain = conditions or not denied
        return (
            Withdrawn(need, "", denied=denied, conditions=conditions, is_open=True)
            if is_certain
            else None
        )
    if _is_enough(now, is_new):
        return None
    if now == "explicitDeny":
        return Withdrawn(
            need, "", denied=True, conditions=statement.conditions if statement else ()
        )
    action, resource = need.permission.action, need.permission.resource
    allowing = [
        statement_allowing
        for statement_allowing in statements_allowing(versions[1], action)
        if resource not in statement_allowing.not_resources
    ]
    same_condition = [
        statement_allowing
        for statement_allowing in allowing
        if statement_allowing.conditions
        and any(resource_covers(on, resource) for on in statement_allowing.resources)
    ]
    resources_left = dict.fromkeys(
        on
        for statement_allowing in allowing
        if statement_allowing not in same_condition
        for on in statement_allowing.resources
    )
    return Withdrawn(
        need,
        "",
        tuple(resources_left),
        conditions=same_condition[0].conditions if same_condition else (),
    )


def _usages_of(need: Need, used: Mapping[str, Sequence[Usage]]) -> tuple[Usage, ...]:
    usages, resource = used.get(need.permission.action, ()), need.permission.resource
    return tuple(
        usage for usage in usages if resource_overlaps(usage.need.permission.resource, resource)
    )
