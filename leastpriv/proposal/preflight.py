"""Judges an infrastructure change before it is merged: what it needs, and what of that the role's policies lack.

A first draft has additions of basis *declared*, before any run has shown their use. An existing policy changes by
evidence only, and a review names what it lacks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, ChangeKind, Condition, Need, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.catalog import forbidden, sensitivity
from leastpriv.permissions.patterns import resource_covers, resource_overlaps, without_covered
from leastpriv.policy.document import Document
from leastpriv.policy.json_writer import json_style_of
from leastpriv.policy.replay import replay_need
from leastpriv.proposal.addition_rules import UNPRINTABLE
from leastpriv.proposal.edit_plan import new_statements
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
        return GuardResult(
            "sensitive",
            f"{sensitivity(action)}; the declaration does not name the resource: add it by hand for that one",
        )
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


class DeclaredChange(Struct, frozen=True):
    """The needs of a change, from templates and plans."""

    sources: tuple[str, ...]
    made: tuple[Need, ...]
    """Of new resources."""
    kept: tuple[Need, ...]
    """Of resources that exist already: a grant on a part of a pattern may be the one that they have."""
    unread: tuple[str, ...] = ()
    """Types whose permissions no table has."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The needs of all resources, those of new ones first."""
        return tuple(dict.fromkeys((*self.made, *self.kept)))


class Covered(Struct, frozen=True):
    """A need that the policies allow, with its use in the evidence."""

    need: Need
    usages: tuple[Usage, ...]


class Preflight(Struct, frozen=True):
    """What a change needs."""

    change: DeclaredChange
    missing: tuple[Need, ...]
    """Needs that no policy of the role allows."""
    never_written: Mapping[Need, GuardResult]
    """Missing needs that no proposal writes, and why."""
    covered: tuple[Covered, ...]
    statements: tuple[Mapping[str, object], ...]
    """Statements to paste that grant the missing needs."""
    indent: str = "  "
    """One level of indentation in the policy file, in blanks: a comment shows no tabs."""

    @property
    def missing_actions(self) -> tuple[str, ...]:
        """The distinct actions that are missing, in order."""
        return tuple(dict.fromkeys(need.permission.action for need in self.missing))

    @property
    def missing_reads(self) -> tuple[str, ...]:
        """Those among them that only read."""
        return tuple(filter(is_read, self.missing_actions))

    @property
    def sensitive_actions(self) -> tuple[str, ...]:
        """Those among them that a security reviewer checks."""
        return tuple(filter(sensitivity, self.missing_actions))


def preflight(
    change: DeclaredChange, documents: Sequence[Document], evidence: Evidence, options: Options
) -> Preflight | None:
    """Compares what a change needs with the policies of the role; None for a change that needs nothing.

    Args:
        change: the needs of the change.
        documents: the policies of the role after the change.
        evidence: recorded calls of the role; declared needs are no evidence.
        options: the user's limits.
    """
    made = set(change.made)
    # What a replacement needs of the old resource and of the new one is one need.
    needs = [*{need.permission: need for need in reversed(change.needs)}.values()][::-1]
    if not needs:
        return None
    lacking = {need for need in needs if not _is_allowed(need, need in made, documents, evidence.principal)}
    missing = tuple(sorted((need for need in needs if need in lacking), key=_rank))
    changes, held = declared_additions(missing, evidence.principal, options, (), ())
    reasons = {(each.action, each.resources[0]): each.guard_result for each in held}
    sids = [statement.sid for document in documents for statement in document.statements]
    return Preflight(
        change,
        missing,
        {need: reasons[_key(need)] for need in missing if _key(need) in reasons},
        tuple(Covered(need, tuple(_uses(need, evidence))) for need in needs if need not in lacking),
        tuple(new_statements(changes, sids)),
        json_style_of(documents[0]).unit.expandtabs(4) if documents else "  ",
    )


def _rank(need: Need) -> int:
    """What a reviewer reads first: sensitive actions, then writes, then reads."""
    action = need.permission.action
    return 0 if sensitivity(action) else 2 if is_read(action) else 1


def is_read(action: str) -> bool:
    """Whether an action only reads."""
    return catalog.access_level(action) in ("Read", "List")


def _key(need: Need) -> tuple[str, str]:
    return need.permission.action, need.permission.resource


def as_text(statements: Sequence[Mapping[str, object]], language: str, indent: str) -> str:
    """Returns statements as they are in a policy file in `json`, with its indentation, or in `yaml`."""
    if language == "json":
        return json.dumps(list(statements), indent=indent)
    from ruamel.yaml import YAML

    written = io.StringIO()
    YAML().dump(json.loads(json.dumps(list(statements))), written)
    return written.getvalue().rstrip("\n")


def _is_allowed(need: Need, is_new: bool, documents: Sequence[Document], principal: str) -> bool:
    """Whether the policies allow a need; on a part of its resource only where the resource exists already."""
    effect = replay_need(need, principal, "", documents)
    return effect in ("allowed", "unknown") or (effect == "allowedInPart" and not is_new)


def _uses(need: Need, evidence: Evidence) -> Iterator[Usage]:
    permission = need.permission
    for usage in evidence.usages:
        own = usage.need.permission
        is_same = own.action == permission.action and resource_overlaps(own.resource, permission.resource)
        if usage.outcome is Outcome.ALLOWED and is_same:
            yield usage
