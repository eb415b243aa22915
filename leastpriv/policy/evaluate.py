"""A request against policy documents: allowed, implicitly or explicitly denied, or not to be known.

The order of decision is IAM's for one principal
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, read 2026-11-24):
an explicit deny wins, then any allow, else the request is denied implicitly. A permissions boundary and a session
policy are further layers: each that there is has to allow as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from leastpriv.permissions.patterns import has_variable, resource_covers, resource_overlaps
from leastpriv.policy.conditions import Truth, all_of, holds
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.naming import names, naming
from leastpriv.policy.spans import minified
from leastpriv.policy.variables import Context, resolve

Effect = Literal["allowed", "implicitDeny", "explicitDeny", "unknown"]
Grant = Literal["yes", "no", "maybe"]
Layer = Literal["identity", "boundary", "session"]
"""Identity-based policies, the permissions boundary, the session policy."""

_Reach = Literal["all", "part", "unknown", "none"]
"""How much of a requested resource pattern a statement is about; unknown where a policy variable decides."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call as a policy sees it."""

    action: str
    """One action, in any case."""
    resource: str
    """A resource pattern as in a 2012-10-17 policy: a call known only as far as its type has wildcards, a
    name that was observed is written by `escape_observed`."""
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Condition keys, in any case, and their values."""
    context_complete: bool = False
    """A key absent from the context is absent from the request; else it is unknown."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and the document and statement (0-based) that decided it or that leave it open."""

    effect: Effect
    document: int | None = None
    statement: int | None = None
    layer: Layer = "identity"
    """The layer that decided it, of which `document` counts the documents."""


def evaluate(request: Request, documents: Sequence[Document]) -> Decision:
    """Decide `request` by `documents`, all of which are attached to its principal.

    A request for a resource pattern asks for all of it: an Allow has to cover the pattern, in one statement;
    a Deny that covers it denies explicitly, one that only overlaps it leaves an otherwise allowed request
    unknown. What hangs on an absent key of an incomplete context, in a condition or a policy variable, or on an
    operator that is not understood is unknown, unless another statement decides for sure.
    """
    found: dict[tuple[str, Truth], Decision] = {}
    for place, effect, truth in _judged(request, documents):
        if effect == "Deny" and truth:
            return Decision("explicitDeny", *place)
        found.setdefault((effect, truth), Decision("allowed" if truth else "unknown", *place))
    allowed, maybe_allowed = found.get(("Allow", True)), found.get(("Allow", None))
    if allowed:
        return found.get(("Deny", None), allowed)
    return maybe_allowed or Decision("implicitDeny")


def evaluate_layers(request: Request, layers: Mapping[Layer, Sequence[Document]]) -> Decision:
    """Decide `request` by several layers; one without an entry sets no limit, one without documents allows nothing.

    The decision that is told is the first explicit deny, else the first layer that does not allow, else the first
    that may not, else the one of the first layer.
    """
    decisions = [replace(evaluate(request, documents), layer=layer) for layer, documents in layers.items()]
    order: tuple[Effect, ...] = ("explicitDeny", "implicitDeny", "unknown", "allowed")
    return min(decisions, key=lambda decision: order.index(decision.effect))


def grants(statement: Statement, request: Request) -> Grant:
    """Tell whether one Allow statement alone grants `request`; a Deny statement grants nothing.

    A request for a resource pattern of which the statement allows only a part is a "maybe": the call that was
    seen may have used just that part.
    """
    if statement.effect != "Allow" or not names(statement, request.action):
        return "no"
    context = _context(request)
    reach = _reach(statement, request, context)
    truth = _conditions_hold(statement, request, context)
    if reach == "none" or truth is False:
        return "no"
    return "yes" if reach == "all" and truth else "maybe"


def policy_size(document: Document) -> int:
    """Return the number of characters that IAM counts against its quotas for policies: white space is free.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
    """
    return len(minified(document.policy))


def _judged(request: Request, documents: Sequence[Document]) -> Iterator[tuple[tuple[int, int], str, Truth]]:
    """Yield place, effect and truth of every statement that applies for sure (True) or perhaps (None)."""
    context = _context(request)
    for number, document in enumerate(documents):
        for statement in naming(document, request.action):
            truth = _applies(statement, request, context)
            if truth is not False:
                yield (number, statement.index), statement.effect, truth


def _context(request: Request) -> Context:
    return {key.lower(): values for key, values in request.context.items()}


def _applies(statement: Statement, request: Request, context: Context) -> Truth:
    reach = _reach(statement, request, context)
    if reach == "none" or (reach == "part" and statement.effect == "Allow"):
        return False
    return all_of((True if reach == "all" else None, _conditions_hold(statement, request, context)))


def _reach(statement: Statement, request: Request, context: Context) -> _Reach:
    entries = statement.not_resources or statement.resources
    if not entries:
        # Neither Resource nor NotResource: IAM would not have stored it, so that nobody knows what it does.
        return "unknown"
    null: _Reach = "unknown" if statement.not_resources else "none"
    found = {_entry_reach(entry, statement.variables, request, context) or null for entry in entries}
    order: tuple[_Reach, ...] = ("all", "unknown", "part")
    widest: _Reach = next((reach for reach in order if reach in found), "none")
    return _complement(widest) if statement.not_resources else widest


def _entry_reach(entry: str, variables: bool, request: Request, context: Context) -> _Reach | None:
    """Compare one entry; None where a variable of it has no value.

    "The resource that includes a policy variable with no value will not match any resource"
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html, read 2026-11-24): in a
    NotResource that can be read as all resources and as none.
    """
    if variables and has_variable(entry):
        resolved = resolve(entry, context, request.context_complete)
        if resolved is None:
            return None
        entry = resolved
    if resource_covers(entry, request.resource, variables=variables):
        return "all"
    if not resource_overlaps(entry, request.resource, variables=variables):
        return "none"
    return "unknown" if variables and has_variable(entry) else "part"


def _complement(reach: _Reach) -> _Reach:
    return "none" if reach == "all" else "all" if reach == "none" else reach


def _conditions_hold(statement: Statement, request: Request, context: Context) -> Truth:
    if not statement.conditions and statement.conditions_readable:
        return True
    truths = [
        holds(condition, context, request.context_complete, statement.variables) for condition in statement.conditions
    ]
    return all_of([*truths, True if statement.conditions_readable else None])
