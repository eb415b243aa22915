"""A request against policy documents: allowed, implicitly or explicitly denied, or not to be known.

The order of decision is IAM's for one principal
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, read 2026-11-24):
an explicit deny wins, then any allow, else the request is denied implicitly. A permissions boundary and a session
policy are further layers: each that there is has to allow as well.

Which statements of a policy name an action: asked for as fast of thousands of entries as of a few.

Requests that a user wrote down: one JSON object, or a list of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from leastpriv.errors import InputError
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import (
    action_matches,
    escape_observed,
    folded,
    has_variable,
    resource_covers,
    resource_overlaps,
)
from leastpriv.policy.conditions import Context, Truth, all_of, holds, resolve
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.source import names
from leastpriv.policy.syntax_tree import Node, minified, place, read

_Wildcard = tuple[str, int]
"""An entry, and the index of its statement."""


@dataclass(frozen=True, slots=True)
class _Index:
    """The entries of all statements."""

    literal: Mapping[str, frozenset[int]]
    """Action in lower case -> indices of the statements with just that entry."""
    of_service: Mapping[str, tuple[_Wildcard, ...]]
    """Service prefix in lower case -> wildcards over its actions."""
    anywhere: tuple[_Wildcard, ...]
    """Wildcards that leave the service open."""
    not_actions: tuple[Statement, ...]


def entries_naming(statement: Statement, action: str) -> bool:
    """Tell whether a statement is about an action, whatever its effect, resources and conditions."""
    if statement.not_actions:
        return not any(action_matches(pattern, action) for pattern in statement.not_actions)
    return any(action_matches(pattern, action) for pattern in statement.actions)


@lru_cache(maxsize=32_768)
def naming(document: Document, action: str) -> tuple[Statement, ...]:
    """The statements that `names` says are about an action, in their order.

    Cached, because evidence asks for the same few hundred actions again and again.
    """
    index, name = _index(document), folded(action)
    wildcards = (*index.of_service.get(name.partition(":")[0], ()), *index.anywhere)
    found = {place for pattern, place in wildcards if action_matches(pattern, name)}
    found |= index.literal.get(name, frozenset())
    found |= {statement.index for statement in index.not_actions if entries_naming(statement, name)}
    return tuple(document.statements[place] for place in sorted(found))


@lru_cache(maxsize=32)
def _index(document: Document) -> _Index:
    literal: dict[str, set[int]] = defaultdict(set)
    of_service: dict[str, list[_Wildcard]] = defaultdict(list)
    anywhere: list[_Wildcard] = []
    for statement in document.statements:
        for entry in statement.actions:
            name = folded(entry)
            service = name.partition(":")[0]
            if "*" not in name and "?" not in name:
                literal[name].add(statement.index)
            elif "*" in service or "?" in service:
                anywhere.append((name, statement.index))
            else:
                of_service[service].append((name, statement.index))
    return _Index(
        {name: frozenset(places) for name, places in literal.items()},
        {service: tuple(wildcards) for service, wildcards in of_service.items()},
        tuple(anywhere),
        tuple(statement for statement in document.statements if statement.not_actions),
    )


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
    for statement, effect, truth in _judged(request, documents):
        if effect == "Deny" and truth:
            return Decision("explicitDeny", *statement)
        found.setdefault((effect, truth), Decision("allowed" if truth else "unknown", *statement))
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
    if statement.effect != "Allow" or not entries_naming(statement, request.action):
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


_KEYS = ("principal", "action", "resource", "context", "context_complete")
_IGNORED = ("statement",)
"""What `leastpriv contains` tells beside a request."""
_ACTION = re.compile(r"[A-Za-z0-9_-]+:[A-Za-z0-9_-]+")
_ARN_PARTS = 6


def read_requests(raw: bytes, where: str) -> tuple[Request, ...]:
    """Read the requests of a JSON file in UTF-8; `where` names the file in messages.

    The principal's ARN stands for the context keys that AWS derives from it, unless the context has them. A
    resource is a pattern as in a policy, and `*` alone, for an action that takes no resource, the text itself. A line
    of `leastpriv contains` is a request too.
    Raises InputError: not JSON of this shape, a principal that is no ARN, or an action that is no name.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    root = read(text, where)
    reader = _Reader(text, where)
    return tuple(reader.request(node) for node in (root.items if root.kind == "array" else (root,)))


class _Reader:
    """`text` and `where` serve the messages."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def error(self, node: Node, advice: str) -> InputError:
        return InputError(f"{self.where}: {place(self.text, node.start)}: {advice}.")

    def request(self, node: Node) -> Request:
        if node.kind != "object":
            raise self.error(node, f"a request must be an object with {', '.join(_KEYS)}")
        for member in node.members:
            if member.key not in (*_KEYS, *_IGNORED):
                raise self.error(member.value, f"a request has no {names([member.key])!r}; it has {', '.join(_KEYS)}")
        action = self.string(node, "action")
        if not _ACTION.fullmatch(action):
            at = node.get("action") or node
            raise self.error(at, "a request needs an action, as s3:GetObject, without wildcards or blanks")
        resource = self.string(node, "resource", "*")
        if not resource:
            raise self.error(node.get("resource") or node, "resource is empty; write an ARN, or leave it out for all")
        known = catalog.action(action)
        if resource == "*" and known and not known.resource_types:
            resource = escape_observed(resource)
        context = dict(self.principal(node))
        context |= self.context(node.get("context"))
        return Request(action, resource, context, self.complete(node.get("context_complete")))

    def string(self, node: Node, key: str, absent: str = "") -> str:
        value = node.get(key)
        if value is not None and value.kind != "string":
            raise self.error(value, f"{key} must be a string")
        return value.text if value else absent

    def principal(self, node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the keys that the principal stands for."""
        value, arn = node.get("principal"), self.string(node, "principal")
        if value and (not arn.startswith("arn:") or arn.count(":") < _ARN_PARTS - 1):
            raise self.error(value, "principal must be an ARN, as arn:aws:iam::111122223333:role/deploy")
        return _principal_keys(arn)

    def complete(self, node: Node | None) -> bool:
        if node and (node.kind != "literal" or node.text not in {"true", "false"}):
            raise self.error(node, "context_complete must be true or false")
        return node is not None and node.text == "true"

    def context(self, node: Node | None) -> dict[str, tuple[str, ...]]:
        if node is None:
            return {}
        if node.kind != "object":
            raise self.error(node, "context must be an object of condition keys and values")
        found: dict[str, tuple[str, ...]] = {}
        for member in node.members:
            key = member.key.lower()
            if key in found:
                raise self.error(
                    member.value, f"the key {names([member.key])!r} stands twice, in different case; keep one"
                )
            found[key] = tuple(self.values(member.value))
        return found

    def values(self, node: Node) -> Iterator[str]:
        """Yield a key's values; `null` is none, so that the key is absent."""
        for item in node.items if node.kind == "array" else (node,):
            if item.kind in {"object", "array"}:
                raise self.error(
                    item, "a value in the context must be text, a number, true or false, or a list of such"
                )
            if item.kind == "string" or item.text != "null":
                yield item.text


def _principal_keys(arn: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the keys that each request of a principal has.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, read 2026-11-24; for an
    assumed role `aws:PrincipalArn` is the role, whose path the session's ARN does not show.
    """
    parts = arn.split(":", _ARN_PARTS - 1)
    if len(parts) < _ARN_PARTS:
        return
    kind, _, name = parts[5].partition("/")
    if kind == "assumed-role":
        arn = f"{parts[0]}:{parts[1]}:iam::{parts[4]}:role/{name.partition('/')[0]}"
    yield "aws:principalarn", (arn,)
    yield "aws:principalaccount", (parts[4],)
    if kind == "user":
        yield "aws:username", (name.rpartition("/")[2],)
