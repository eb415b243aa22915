"""Replays a need against policies, as a request whose context has the keys that the record
shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

from leastpriv.errors import listed
from leastpriv.models import Basis, Condition, Need
from leastpriv.permissions.arn_templates import NAMED
from leastpriv.permissions.patterns import action_matches, escape_observed, with_any_text
from leastpriv.permissions.resource_types import with_any_path
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import Request, evaluate, grants, statements_naming

ReplayEffect = Literal[
    "allowed", "allowedInPart", "implicitDeny", "explicitDeny", "unknown", "refuted"
]
"""Refuted: an unknown part of a file may allow it, and AWS states that no policy does."""


class ReplayResult(Struct, frozen=True):
    """The effect, and the 0-based document and statement that decide it or leave it unknown."""

    effect: ReplayEffect
    document: int | None = None
    statement: int | None = None

    def statement_in(self, documents: Sequence[Document]) -> Statement | None:
        """Returns the statement, of the documents that were replayed against."""
        if self.document is None or self.statement is None:
            return None
        return documents[self.document].statements[self.statement]


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
    context.update({context_key.key: context_key.values for context_key in need.context})
    # With several values AWS checks the action once for each, and the record does not show which
    # value this need has.
    for condition in permission.conditions:
        if len(condition.values) == 1:
            context[condition.key] = condition.values if condition.operator != "Null" else ()
    resource = permission.resource
    if need.exact and resource == "*":
        resource = escape_observed("*")
    return Request(permission.action, resource, context, principal=principal)


def replay_need(
    need: Need, principal: str, region: str, documents: Sequence[Document]
) -> ReplayEffect:
    """Replays one need against the documents.

    `allowedInPart` means that the record names the resource in part (`stack/orders/*`, a role
    without its path) and a statement allows some of the possible resources.
    """
    return replay_with_statement(need, principal, region, documents).effect


def replay_with_statement(
    need: Need, principal: str, region: str, documents: Sequence[Document]
) -> ReplayResult:
    """Replays one need; returns also the statement that decides it or leaves it unknown, if any.

    A need with several values of a condition is decided where each value has the same effect.
    """
    for condition in need.permission.conditions:
        if len(condition.values) > 1:
            return _replay_each_value(need, condition, principal, region, documents)
    decision = evaluate(replay_request(need, principal, region), documents)
    if decision.effect != "implicitDeny":
        return ReplayResult(decision.effect, decision.document, decision.statement)
    if is_named_whole(need):
        return ReplayResult("implicitDeny")
    for number, document in enumerate(documents):
        for statement in statements_naming(document, need.permission.action):
            if grants_part(statement, need, principal, region):
                return ReplayResult("allowedInPart", number, statement.index)
    return ReplayResult("implicitDeny")


def _replay_each_value(
    need: Need, condition: Condition, principal: str, region: str, documents: Sequence[Document]
) -> ReplayResult:
    """Replays a need once for each value of a condition."""
    other_conditions = tuple(
        other_condition
        for other_condition in need.permission.conditions
        if other_condition != condition
    )
    replays: list[ReplayResult] = []
    for value in condition.values:
        conditions = (*other_conditions, structs.replace(condition, values=(value,)))
        permission = structs.replace(need.permission, conditions=conditions)
        need_of_value = structs.replace(need, permission=permission)
        replays.append(replay_with_statement(need_of_value, principal, region, documents))
    first = replays[0]
    if any(replay.effect != first.effect for replay in replays):
        return structs.replace(first, effect="unknown")
    return first


def doubt_of(need: Need, principal: str, region: str, documents: Sequence[Document]) -> str:
    """Returns which statement may grant a need, and what decides; empty if none may.

    It completes "it was denied, and": `the statement Queues may allow it: var.queues decides`.
    """
    request = replay_request(need, principal, region)
    for document in documents:
        for statement in document.statements:
            if grants(statement, request) != "maybe":
                continue
            causes = _causes_of_doubt(statement, request.action)
            if causes:
                name = statement.sid or f"on line {statement.line}"
                verb = "decides" if len(causes) == 1 else "decide"
                return f"the statement {name} may allow it: {listed(causes, _MOST_CAUSES)} {verb}"
    return ""


def _causes_of_doubt(statement: Statement, action: str) -> list[str]:
    keys = dict.fromkeys(condition.key for condition in statement.conditions)
    causes = _unknown_parts(statement, action) + [f"the condition on {key}" for key in keys]
    if not causes and not statement.conditions_readable:
        return ["its condition"]
    return causes


_MOST_CAUSES = 3
_NAME = re.compile(r"\$\{([^{}]*)\}")


def _unknown_parts(statement: Statement, action: str) -> list[str]:
    """Returns the expressions of a statement that decide whether it grants an action."""
    causes = [statement.depends_on]
    causes.extend(part.depends_on for part in statement.possible)
    entries = [*statement.resources, *statement.not_resources]
    unknown_actions = [
        entry for entry in statement.unknown_actions if action_matches(with_any_text(entry), action)
    ]
    for entry in (*unknown_actions, *entries):
        causes.extend(_NAME.findall(entry))
    return [*dict.fromkeys(filter(None, causes))]


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
    if need.derivation != NAMED:
        return False
    path_pattern = with_any_path(need.permission.resource)
    if not path_pattern:
        return False
    widened = structs.replace(
        need, permission=structs.replace(need.permission, resource=path_pattern)
    )
    return grants(statement, replay_request(widened, principal, region)) != "no"
