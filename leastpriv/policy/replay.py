"""Replays a need against policies, as a request whose context has the keys that the record
shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import structs

from leastpriv.errors import listed
from leastpriv.models import Basis, Need
from leastpriv.permissions.arn_templates import NAMED
from leastpriv.permissions.patterns import action_matches, escape_observed, with_any_text
from leastpriv.permissions.resource_types import with_any_path
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import Request, evaluate, grants, statements_naming

ReplayEffect = Literal[
    "allowed", "allowedInPart", "implicitDeny", "explicitDeny", "unknown", "refuted"
]
"""Refuted: an unknown part of a file may allow it, and AWS states that no policy does."""
StatementIndex = tuple[int, int]
"""0-based indexes of a document and of its statement."""


def replay_request(need: Need, principal: str, region: str) -> Request:
    """Returns the request that replays a need; its context has the keys that the record shows.

    The resource of an action without resource types is the literal `*`, which a Deny on an ARN does
    not match.
    """
    context: dict[str, tuple[str, ...]] = {
        "aws:PrincipalArn": (principal,),
        "aws:PrincipalAccount": (principal.split(":")[4],),
    }
    if region:
        context["aws:RequestedRegion"] = (region,)
    permission = need.permission
    if need.basis is Basis.OBSERVED:
        # AWS sets this key only where another call, which creates a resource, needs the action for
        # its tags.
        context[f"{permission.action.partition(':')[0]}:CreateAction"] = ()
    context.update({shown.key: shown.values for shown in need.context})
    # With several values AWS checks the action once for each, and the record does not show which
    # value this need has.
    for each in permission.conditions:
        if len(each.values) == 1:
            context[each.key] = each.values if each.operator != "Null" else ()
    resource = (
        escape_observed("*") if need.exact and permission.resource == "*" else permission.resource
    )
    return Request(permission.action, resource, context, principal=principal)


def replay_need(
    need: Need, principal: str, region: str, documents: Sequence[Document]
) -> ReplayEffect:
    """Replays one need against the documents.

    `allowedInPart` means that the record names the resource in part (`stack/orders/*`, a role
    without its path) and a statement allows some of the possible resources.
    """
    return replay_with_statement(need, principal, region, documents)[0]


def replay_with_statement(
    need: Need, principal: str, region: str, documents: Sequence[Document]
) -> tuple[ReplayEffect, StatementIndex | None]:
    """Replays one need; returns also the statement that decides it or leaves it unknown, if any.

    A need with several values of a condition is decided where each value has the same effect.
    """
    several = next((shown for shown in need.permission.conditions if len(shown.values) > 1), None)
    if several:
        singles = (structs.replace(several, values=(value,)) for value in several.values)
        others = tuple(shown for shown in need.permission.conditions if shown != several)
        permissions = (
            structs.replace(need.permission, conditions=(*others, each)) for each in singles
        )
        needs = (structs.replace(need, permission=permission) for permission in permissions)
        found = [replay_with_statement(each, principal, region, documents) for each in needs]
        return found[0] if len({effect for effect, _ in found}) == 1 else ("unknown", found[0][1])
    decision = evaluate(replay_request(need, principal, region), documents)
    if decision.effect != "implicitDeny":
        known = decision.document is not None and decision.statement is not None
        return decision.effect, (decision.document or 0, decision.statement or 0) if known else None
    if is_named_whole(need):
        return "implicitDeny", None
    for number, document in enumerate(documents):
        for statement in statements_naming(document, need.permission.action):
            if grants_part(statement, need, principal, region):
                return "allowedInPart", (number, statement.index)
    return "implicitDeny", None


def doubt_of(need: Need, principal: str, region: str, documents: Sequence[Document]) -> str:
    """Returns which statement may grant a need, and what decides; empty if none may.

    It completes "it was denied, and": `the statement Queues may allow it: var.queues decides`.
    """
    request = replay_request(need, principal, region)
    for document in documents:
        for statement in document.statements:
            if grants(statement, request) != "maybe":
                continue
            unknown = _unknown_parts(statement, request.action)
            keys = dict.fromkeys(condition.key for condition in statement.conditions)
            causes = [*unknown, *(f"the condition on {key}" for key in keys)]
            if not causes and not statement.conditions_readable:
                causes = ["its condition"]
            if causes:
                name = statement.sid or f"on line {statement.line}"
                verb = "decides" if len(causes) == 1 else "decide"
                return f"the statement {name} may allow it: {listed(causes, _MOST_CAUSES)} {verb}"
    return ""


_MOST_CAUSES = 3
_NAME = re.compile(r"\$\{([^{}]*)\}")


def _unknown_parts(statement: Statement, action: str) -> list[str]:
    """Returns the expressions of a statement that decide whether it grants an action."""
    found = [statement.depends_on]
    found += [each.depends_on for each in statement.possible]
    entries = [
        each for each in statement.unknown_actions if action_matches(with_any_text(each), action)
    ]
    entries += [*statement.resources, *statement.not_resources]
    found += [name for entry in entries for name in _NAME.findall(entry)]
    return [*dict.fromkeys(filter(None, found))]


def is_named_whole(need: Need) -> bool:
    """Whether the record shows the whole resource of a need."""
    return need.exact and not (need.derivation == NAMED and with_any_path(need.permission.resource))


def grants_part(statement: Statement, need: Need, principal: str, region: str) -> bool:
    """Whether a statement may grant a need of which the record shows the resource in part, or
    without its path.
    """
    if is_named_whole(need):
        return False
    if not need.exact and grants(statement, replay_request(need, principal, region)) == "maybe":
        return True
    other = with_any_path(need.permission.resource) if need.derivation == NAMED else ""
    if not other:
        return False
    widened = structs.replace(need, permission=structs.replace(need.permission, resource=other))
    return grants(statement, replay_request(widened, principal, region)) != "no"
