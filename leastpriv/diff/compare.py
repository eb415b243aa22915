"""The committed policy against what the evidence needs: used, unused, missing.

A wildcard entry is one grant: it is listed with the catalogue actions it grants and those of them that were used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from leastpriv.diff.statement_coverage import named
from leastpriv.evidence.models import Evidence
from leastpriv.models import Need, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.arn_templates import NAMED
from leastpriv.permissions.patterns import action_matches, escape_observed, folded, has_variable
from leastpriv.permissions.resource_types import fits, with_any_path
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import Request, evaluate, grants


@dataclass(frozen=True, slots=True)
class Entry:
    """One `Action` entry of an Allow statement, or its whole `NotAction`."""

    statement: Statement
    pattern: str
    """As written; `NotAction: …` for all of these."""
    granted: tuple[str, ...]
    """Catalogue actions it grants on the statement's resources."""
    uses: Mapping[str, tuple[Usage, ...]]
    """Catalogue action -> usages through this entry, whatever their outcome."""

    @property
    def is_wildcard(self) -> bool:
        """Whether the entry names more than one action."""
        return "*" in self.pattern or "?" in self.pattern or bool(self.statement.not_actions)

    @property
    def resources(self) -> tuple[str, ...]:
        """The statement's resources as a change shows them: `NotResource: arn…` where it excludes them."""
        statement = self.statement
        return statement.resources or tuple(f"NotResource: {resource}" for resource in statement.not_resources)


@dataclass(frozen=True, slots=True)
class Difference:
    """The committed policy, entry by entry, and what it lacks."""

    entries: tuple[Entry, ...]
    missing: tuple[Usage, ...]
    """Needed and not allowed by the policy together with what else is attached."""
    conditional: tuple[Usage, ...]
    """Allowed only where a condition holds that the evidence does not show."""
    overruled: tuple[Usage, ...]
    """Called, and refused by an explicit Deny of the policies."""
    refused_elsewhere: tuple[Usage, ...]
    """Refused by something that no identity policy mends: an SCP, a boundary, a resource policy …."""
    refused_in_part: tuple[Usage, ...] = ()
    """Refused on a resource that is known in part, of which the policies allow a part; not allowed since."""


def compare(document: Document | None, attached: Sequence[Document], evidence: Evidence) -> Difference:
    """Compares one policy (None: there is none yet) and the other attached ones with the evidence."""
    documents = [*([document] if document else []), *attached]
    return sorted_out(judged(evidence, documents), entries_in_use(document, evidence) if document else ())


Judged = tuple[Usage, frozenset["Verdict"]]
"""A usage, and what the policies say to it in its regions."""


def judged(evidence: Evidence, documents: Sequence[Document]) -> tuple[Judged, ...]:
    """Every usage of some evidence with what the documents say to it."""
    return tuple((usage, effects(usage, evidence.principal, documents)) for usage in evidence.usages)


def effects(usage: Usage, principal: str, documents: Sequence[Document]) -> frozenset[Verdict]:
    """What the documents say to a usage, in all of its regions."""
    return frozenset(decide(usage.need, principal, region, documents) for region in usage.regions or ("",))


def sorted_out(usages: Sequence[Judged], entries: tuple[Entry, ...]) -> Difference:
    """The difference that the usages of some evidence make, given what the policies say to each."""
    missing: list[Usage] = []
    conditional: list[Usage] = []
    overruled: list[Usage] = []
    elsewhere: list[Usage] = []
    in_part: list[Usage] = []
    for usage, said in usages:
        if usage.denial and not usage.denial.mendable:
            elsewhere.append(usage)
        elif "explicitDeny" in said and usage.outcome is not Outcome.UNKNOWN:
            overruled.append(usage)
        elif said & {"implicitDeny", "explicitDeny"} and usage.outcome is not Outcome.UNKNOWN:
            missing.append(usage)
        elif "unknown" in said:
            conditional.append(usage)
        elif usage.denial and "allowedInPart" in said and not _allowed_since(usage, usages):
            in_part.append(usage)
    return Difference(entries, tuple(missing), tuple(conditional), tuple(overruled), tuple(elsewhere), tuple(in_part))


def _allowed_since(refused: Usage, usages: Sequence[Judged]) -> bool:
    """Whether the action was allowed after it was refused for the last time: what it lacked it has by now."""
    action = refused.need.permission.action
    return any(
        usage.outcome is Outcome.ALLOWED
        and usage.need.permission.action == action
        and usage.last_seen > refused.last_seen
        for usage, _ in usages
    )


def request(need: Need, principal: str, region: str) -> Request:
    """A replayed request; its context holds what a record shows.

    An action without resource types is asked for on the one resource `*`, which a Deny on some ARN does not touch.
    """
    context = {"aws:PrincipalArn": (principal,), "aws:PrincipalAccount": (principal.split(":")[4],)}
    if region:
        context["aws:RequestedRegion"] = (region,)
    permission = need.permission
    # Several values: AWS checks the action once for each, and the record does not say of which this need is.
    context.update({shown.key: shown.values for shown in permission.conditions if len(shown.values) == 1})
    resource = escape_observed("*") if need.exact and permission.resource == "*" else permission.resource
    return Request(permission.action, resource, context)


Verdict = Literal["allowed", "allowedInPart", "implicitDeny", "explicitDeny", "unknown"]


def decide(need: Need, principal: str, region: str, documents: Sequence[Document]) -> Verdict:
    """What the documents say to one need.

    `allowedInPart`: the record names the resource in part (`stack/orders/*`, a role without its path) and some
    statement allows a part of that; which part the call meant nobody knows.
    """
    return deciding(need, principal, region, documents)[0]


Place = tuple[int, int]
"""Number of a document and of its statement, both 0-based."""


def deciding(need: Need, principal: str, region: str, documents: Sequence[Document]) -> tuple[Verdict, Place | None]:
    """As `decide`, with the statement that decides or leaves it open; None where there is none."""
    decision = evaluate(request(need, principal, region), documents)
    if decision.effect != "implicitDeny":
        known = decision.document is not None and decision.statement is not None
        return decision.effect, (decision.document or 0, decision.statement or 0) if known else None
    for number, document in enumerate(documents):
        for statement in document.statements:
            if _grants_part(statement, need, principal, region):
                return "allowedInPart", (number, statement.index)
    return "implicitDeny", None


def _grants_part(statement: Statement, need: Need, principal: str, region: str) -> bool:
    if not need.exact and grants(statement, request(need, principal, region)) == "maybe":
        return True
    other = with_any_path(need.permission.resource) if need.derivation == NAMED else ""
    permission = replace(need.permission, resource=other)
    return bool(other) and grants(statement, request(replace(need, permission=permission), principal, region)) != "no"


def entries_in_use(document: Document, evidence: Evidence) -> tuple[Entry, ...]:
    """The entries of a document's Allow statements, with the usages that may have come through each."""
    by_action: dict[str, dict[str, list[Usage]]] = {}
    for usage in evidence.usages:
        action = usage.need.permission.action
        by_action.setdefault(folded(action), {}).setdefault(action, []).append(usage)
    return tuple(
        Entry(statement, pattern, _granted(statement, pattern), _uses(statement, pattern, by_action, evidence))
        for statement in document.statements
        if statement.effect == "Allow"
        for pattern in entries_of(statement)
    )


def entries_of(statement: Statement) -> tuple[str, ...]:
    """What a statement names, each once: its `Action` entries, or `NotAction: …` as one.

    Of entries that differ in case alone, which are one to IAM, the first as it is written.
    """
    if statement.not_actions:
        return (f"NotAction: {', '.join(statement.not_actions)}",)
    found: dict[str, str] = {}
    for action in statement.actions:
        found.setdefault(action.lower(), action)
    return tuple(found.values())


def _granted(statement: Statement, pattern: str) -> tuple[str, ...]:
    """Catalogue actions of an entry that its statement's resources let through; a literal entry is always itself."""
    if statement.not_actions:
        expanded = tuple(sorted(named(statement.not_actions)))
    else:
        expanded = catalog.expand(pattern)
        if "*" not in pattern and "?" not in pattern:
            return expanded or (pattern,)
    return tuple(name for name in expanded if _grantable(name, statement.resources))


def names_it(statement: Statement, pattern: str, action: str) -> bool:
    """Whether an entry of a statement, as `entries_of` has it, names an action."""
    if statement.not_actions:
        return not any(action_matches(excluded, action) for excluded in statement.not_actions)
    return action_matches(pattern, action)


@lru_cache(maxsize=65_536)
def _grantable(action: str, resources: tuple[str, ...]) -> bool:
    """Whether any of a statement's resources can be one of the action's (`*` alone where it has no type)."""
    return not resources or any("${" in resource or fits(action, resource) for resource in resources)


def _uses(
    statement: Statement, pattern: str, by_action: Mapping[str, Mapping[str, Sequence[Usage]]], evidence: Evidence
) -> Mapping[str, tuple[Usage, ...]]:
    """`by_action`: usages by action, and these by lower case: an entry without wildcards finds its own at once."""
    is_literal = not (statement.not_actions or "*" in pattern or "?" in pattern)
    named_alike = [by_action.get(folded(pattern), {})] if is_literal else by_action.values()
    found = {
        action: tuple(usage for usage in usages if _may_come_through(statement, usage, evidence.principal))
        for actions in named_alike
        for action, usages in actions.items()
        if names_it(statement, pattern, action)
    }
    return {action: usages for action, usages in found.items() if usages}


def _may_come_through(statement: Statement, usage: Usage, principal: str) -> bool:
    """Whether a statement may have granted a usage; a resource that is known whole has to be covered whole."""
    undecided = (
        not statement.conditions_readable
        or statement.conditions
        or statement.not_resources
        or any(map(has_variable, statement.resources))
    )
    for region in usage.regions or ("",):
        grant = grants(statement, request(usage.need, principal, region))
        if grant == "yes" or (grant == "maybe" and undecided) or _grants_part(statement, usage.need, principal, region):
            return True
    return False
