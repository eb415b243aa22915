"""Evaluates a request against policy documents: allowed, implicitly or explicitly denied, or
unknown.

The order of decision is IAM's for one principal
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, read
2026-11-24): an explicit deny wins, then any allow, else the request is denied implicitly.
`access.py` adds the other policy types.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from leastpriv.errors import InputError
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import (
    action_matches,
    escape_observed,
    folded,
    has_variable,
    literal_of,
    resource_covers,
    resource_overlaps,
    with_any_text,
)
from leastpriv.policy.conditions import Context, Truth, all_of, condition_holds, resolve_variables
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.source import format_names
from leastpriv.policy.syntax_tree import Node, decoded, minified, position, read_json

_NONE: frozenset[str] = frozenset()
_Wildcard = tuple[str, int]
"""An entry with a wildcard, and the index of its statement."""


class _Index(Struct, frozen=True):
    """The action entries of all statements of a document."""

    literal: Mapping[str, frozenset[int]]
    """Action in lower case -> indices of statements with exactly that entry."""
    wildcards: Mapping[str, Sequence[_Wildcard]]
    """Service prefix in lower case -> wildcards over its actions; empty: those that do not name one
    service.
    """
    others: tuple[Statement, ...]
    """Statements with a NotAction, or with an action that only the rendered template knows."""


def names_action(statement: Statement, action: str) -> bool:
    """Returns whether a statement names an action, or may name it, whatever its effect, resources
    and conditions.
    """
    return _action_truth(statement, action) is not False


def _action_truth(statement: Statement, action: str) -> Truth:
    """Returns whether a statement names an action; None if an entry that only the template knows
    may name it.
    """
    is_complement = bool(statement.not_actions)
    entries = statement.not_actions or statement.actions
    possible = _possible(statement, "NotAction" if is_complement else "Action")
    certain = [entry for entry in entries if entry not in possible] if possible else entries
    truth: Truth = any(action_matches(pattern, action) for pattern in certain)
    if not truth:
        open_entries = (*possible, *map(with_any_text, statement.unknown_actions))
        truth = None if any(action_matches(entry, action) for entry in open_entries) else False
    if is_complement and truth is not None:
        truth = not truth
    if truth is not False and statement.depends_on:
        return None
    return truth


def _possible(statement: Statement, key: str) -> frozenset[str]:
    """Returns the entries of an element that an expression may leave out."""
    if not statement.possible:
        return _NONE
    return frozenset(entry.text for entry in statement.possible if entry.key == key)


@lru_cache(maxsize=32_768)
def statements_naming(document: Document, action: str) -> tuple[Statement, ...]:
    """Returns the statements that name an action; cached, because evidence repeats the same few
    hundred actions.
    """
    index, name = _index(document), folded(action)
    wildcards = (*index.wildcards.get(name.partition(":")[0], ()), *index.wildcards.get("", ()))
    indexes = {
        statement_index for pattern, statement_index in wildcards if action_matches(pattern, name)
    }
    indexes |= index.literal.get(name, frozenset())
    indexes |= {statement.index for statement in index.others if names_action(statement, name)}
    return tuple(document.statements[statement_index] for statement_index in sorted(indexes))


class _Placed(Struct, frozen=True):
    """A statement, and the place of its document among those that are evaluated."""

    document: int
    statement: Statement


class _ByResource(Struct, frozen=True):
    """The statements that name an action, by the beginnings of their resources."""

    statements: tuple[_Placed, ...]
    starts: Mapping[str, tuple[int, ...]]
    """Text of a Resource entry up to its first wildcard or variable -> places of statements."""
    sorted_starts: tuple[str, ...]
    lengths: tuple[int, ...]
    """Of these texts, each once."""
    others: tuple[int, ...]
    """Places of statements that do not list resources."""

    def matching(self, resource: str) -> Iterable[_Placed]:
        """Returns the statements that may hold for a resource, in their order."""
        if len(self.statements) <= _FEW:
            return self.statements
        start = start_of(resource)
        indexes = {*self.others}
        for length in self.lengths:
            indexes.update(self.starts.get(start[:length], ()))
        if len(start) < len(resource):
            for longer in self._starts_behind(start):
                indexes.update(self.starts[longer])
        return (self.statements[index] for index in sorted(indexes))

    def _starts_behind(self, start: str) -> Iterator[str]:
        """Yields the beginnings of entries that begin with the fixed text of a pattern."""
        for index in range(bisect_left(self.sorted_starts, start), len(self.sorted_starts)):
            if not self.sorted_starts[index].startswith(start):
                return
            yield self.sorted_starts[index]


_SPECIAL = re.compile(r"[*?$]")
_FEW = 8
"""Statements that are faster to ask than to look up."""


@lru_cache(maxsize=4_096)
def _by_resource(documents: tuple[Document, ...], action: str) -> _ByResource:
    statements = [
        _Placed(number, statement)
        for number, document in enumerate(documents)
        for statement in statements_naming(document, action)
    ]
    starts: dict[str, list[int]] = defaultdict(list)
    general_indexes: list[int] = []
    for index, placed in enumerate(statements):
        statement = placed.statement
        if statement.not_resources or not statement.resources:
            general_indexes.append(index)
        for entry in statement.resources:
            starts[start_of(entry)].append(index)
    return _ByResource(
        statements=tuple(statements),
        starts={start: tuple(positions) for start, positions in starts.items()},
        sorted_starts=tuple(sorted(starts)),
        lengths=tuple(sorted({*map(len, starts)})),
        others=tuple(general_indexes),
    )


def start_of(resource: str) -> str:
    """Returns the text of a pattern up to its first wildcard or variable: what it matches begins
    with it.
    """
    return _SPECIAL.split(resource, maxsplit=1)[0]


def statements_allowing(documents: Sequence[Document], action: str) -> list[Statement]:
    """Returns the Allow statements of some documents that name an action."""
    return [
        statement
        for document in documents
        for statement in statements_naming(document, action)
        if statement.effect == "Allow"
    ]


def granted_resources(documents: Sequence[Document], action: str) -> list[str]:
    """Returns the resources on which Allow statements name an action; `*` for `NotResource`."""
    allows = statements_allowing(documents, action)
    return [resource for allow in allows for resource in allow.resources or ("*",)]


def allow_statements(documents: Iterable[Document]) -> list[Statement]:
    """Returns the Allow statements of some documents."""
    statements = (statement for document in documents for statement in document.statements)
    return [statement for statement in statements if statement.effect == "Allow"]


@lru_cache(maxsize=32)
def _index(document: Document) -> _Index:
    literal: dict[str, set[int]] = defaultdict(set)
    wildcards: dict[str, list[_Wildcard]] = defaultdict(list)
    for statement in document.statements:
        for entry in statement.actions:
            name = folded(entry)
            service = name.partition(":")[0]
            if "*" not in name and "?" not in name:
                literal[name].add(statement.index)
            else:
                is_one = "*" not in service and "?" not in service
                wildcards[service if is_one else ""].append((name, statement.index))
    unindexed_statements = tuple(
        candidate
        for candidate in document.statements
        if candidate.not_actions or candidate.unknown_actions
    )
    return _Index(
        {name: frozenset(indexes) for name, indexes in literal.items()},
        {**wildcards},
        unindexed_statements,
    )


Effect = Literal["allowed", "implicitDeny", "explicitDeny", "unknown"]
GrantAnswer = Literal["yes", "no", "maybe"]
_Coverage = Literal["all", "part", "unknown", "none"]
"""How much of a requested resource pattern a statement covers; unknown if a policy variable
decides.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A call in the form in which a policy evaluates it."""

    action: str
    """One action, in any case."""
    resource: str
    """A resource pattern of version 2012-10-17: a partly known resource has wildcards, and
    `escape_observed` escapes an observed name."""
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Condition keys, in any case, with their values."""
    context_complete: bool = False
    """Whether a key that the context lacks is absent from the request, not unknown."""
    principal: str = ""
    """ARN of the role, session or user that calls; empty where policies of resources are not
    asked."""


class Decision(Struct, frozen=True):
    """The effect, and the 0-based document and statement that decide it or leave it unknown."""

    effect: Effect
    document: int | None = None
    statement: int | None = None


def evaluate(request: Request, documents: Sequence[Document]) -> Decision:
    """Evaluates a request against all documents attached to its principal.

    A request for a resource pattern asks for all of it: an Allow must cover the pattern in one
    statement; a Deny that covers it denies explicitly, and a Deny that only overlaps it makes an
    otherwise allowed request unknown. A decision that depends on an unknown key or an unsupported
    operator is unknown, unless another statement decides with certainty.
    """
    allowed: Decision | None = None
    maybe_allowed: Decision | None = None
    maybe_denied: Decision | None = None
    context = _context(request)
    for placed in _by_resource(tuple(documents), request.action).matching(request.resource):
        statement = placed.statement
        truth = _applies(statement, request, context)
        if truth is False:
            continue
        if statement.effect == "Deny":
            if truth:
                return Decision("explicitDeny", placed.document, statement.index)
            if maybe_denied is None:
                maybe_denied = Decision("unknown", placed.document, statement.index)
        elif truth:
            if allowed is None:
                allowed = Decision("allowed", placed.document, statement.index)
        elif maybe_allowed is None:
            maybe_allowed = Decision("unknown", placed.document, statement.index)
    if allowed:
        return maybe_denied or allowed
    return maybe_allowed or Decision("implicitDeny")


def grants(statement: Statement, request: Request) -> GrantAnswer:
    """Returns whether one Allow statement alone grants a request; a Deny statement grants nothing.

    "maybe" also covers a request for a resource pattern of which the statement allows a part: the
    observed call may have used that part.
    """
    if statement.effect != "Allow" or not names_action(statement, request.action):
        return "no"
    context = _context(request)
    coverage = _resource_coverage(statement, request, context)
    truth = all_of(
        (_action_truth(statement, request.action), _conditions_hold(statement, request, context))
    )
    if coverage == "none" or truth is False:
        return "no"
    return "yes" if coverage == "all" and truth else "maybe"


def policy_size(document: Document) -> int:
    """Returns the number of characters that IAM counts against its quotas, which excludes white
    space.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
    """
    return len(minified(document.policy))


def applies(statement: Statement, request: Request) -> Truth:
    """Returns whether a statement applies to a request, whatever principals it names; None if that
    is unknown.
    """
    return _applies(statement, request, _context(request))


def _context(request: Request) -> Context:
    return {key.lower(): values for key, values in request.context.items()}


def _applies(statement: Statement, request: Request, context: Context) -> Truth:
    coverage = _resource_coverage(statement, request, context)
    if coverage == "none" or (coverage == "part" and statement.effect == "Allow"):
        return False
    action_truth = _action_truth(statement, request.action)
    return all_of(
        (
            action_truth,
            True if coverage == "all" else None,
            _conditions_hold(statement, request, context),
        )
    )


def _resource_coverage(statement: Statement, request: Request, context: Context) -> _Coverage:
    entries = statement.not_resources or statement.resources
    if not entries:
        # IAM would not store a statement without Resource and NotResource, and its effect is
        # undocumented.
        return "unknown"
    possible = _possible(statement, "NotResource" if statement.not_resources else "Resource")
    certain = [entry for entry in entries if entry not in possible] if possible else entries
    widest = _widest_coverage(certain, statement.variables, request, context)
    if widest != "all" and possible:
        open_coverage = _widest_coverage([*possible], statement.variables, request, context)
        widest = widest if open_coverage == "none" else "unknown"
    return _COMPLEMENT.get(widest, widest) if statement.not_resources else widest


class _Entry(Struct, frozen=True):
    """An entry, and its text up to its first wildcard or variable."""

    text: str
    start: str


class _Entries(Struct, frozen=True):
    """The entries of a Resource element, of which there may be thousands."""

    written: frozenset[str]
    texts: frozenset[str]
    """What the entries match that match one text each."""
    all: tuple[_Entry, ...]
    patterns: tuple[_Entry, ...]
    """Those that may match several texts."""


def _widest_coverage(
    entries: Sequence[str], variables: bool, request: Request, context: Context
) -> _Coverage:
    resource = request.resource
    entry_index = _entries(tuple(entries), variables)
    text = literal_of(resource, escapes=True)
    if text in entry_index.texts:
        return "all"
    is_spelled_alike = variables or "$" not in resource
    if resource in entry_index.written and is_spelled_alike and not has_variable(resource):
        return "all"
    start = start_of(resource)
    coverages: set[_Coverage] = set()
    # Of two texts neither covers the other.
    for entry in entry_index.all if text is None else entry_index.patterns:
        # Most pairs differ before their first wildcard: another service, another bucket.
        if entry.start.startswith(start) or start.startswith(entry.start):
            coverages.add(_entry_coverage(entry.text, variables, request, context))
    return next((coverage for coverage in _WIDEST_FIRST if coverage in coverages), "none")


@lru_cache(maxsize=1_024)
def _entries(texts: tuple[str, ...], variables: bool) -> _Entries:
    literals = {text: literal_of(text, variables) for text in texts}
    entries = [_Entry(text, start_of(text)) for text in literals]
    return _Entries(
        written=frozenset(literals),
        texts=frozenset(text for text in literals.values() if text is not None),
        all=tuple(entries),
        patterns=tuple(entry for entry in entries if literals[entry.text] is None),
    )


_WIDEST_FIRST: tuple[_Coverage, ...] = ("all", "unknown", "part")
_COMPLEMENT: Mapping[_Coverage, _Coverage] = {"all": "none", "none": "all"}


def _may_vary(resource: str) -> bool:
    return "*" in resource or "?" in resource or "$" in resource


def _entry_coverage(entry: str, variables: bool, request: Request, context: Context) -> _Coverage:
    """Compares one entry; one with a variable that has no value covers nothing, also in
    NotResource.
    """
    if variables and has_variable(entry):
        resolved = resolve_variables(entry, context, request.context_complete)
        if resolved is None:
            return "none"
        entry = resolved
    if resource_covers(entry, request.resource, variables=variables):
        return "all"
    # One text that is not covered is not overlapped either, unless a variable may have its value.
    is_text = "${" not in entry and not _may_vary(request.resource)
    if is_text or not resource_overlaps(entry, request.resource, variables=variables):
        return "none"
    return "unknown" if variables and has_variable(entry) else "part"


def _conditions_hold(statement: Statement, request: Request, context: Context) -> Truth:
    if not statement.conditions and statement.conditions_readable:
        return True
    deny = statement.effect == "Deny"
    truths = [
        condition_holds(condition, context, request.context_complete, statement.variables, deny)
        for condition in statement.conditions
    ]
    return all_of([*truths, True if statement.conditions_readable else None])


_KINDS = {"principal": "string", "action": "string", "resource": "string", "context": "object"}
_KEYS = (*_KINDS, "context_complete")
_IGNORED = ("statement",)
"""Further fields in a line of `leastpriv contains`."""
_ACTION = re.compile(r"[A-Za-z0-9_-]+:[A-Za-z0-9_-]+")
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(?:\.cn)?")
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN_PARTS = 6
_Failure = Callable[[Node, str], InputError]
"""Makes the error about a node of the file."""


def read_requests(raw: bytes, where: str) -> tuple[Request, ...]:
    """Reads the requests of a JSON file in UTF-8; `where` names the file in messages.

    The principal's ARN provides the context keys that AWS derives from it, unless the context has
    them. A resource is a policy pattern, but for an action without resource types `*` is the text.
    A line of `leastpriv contains` is a request too.

    Raises InputError: the file is not JSON of this shape, a principal is not an ARN, or an action
    is not a name.
    """
    text = decoded(raw, where)

    def failure(node: Node, advice: str) -> InputError:
        return InputError(f"{where}: {position(text, node.start)}: {advice}.")

    return tuple(_request(node, failure) for node in read_json(text, where).entries)


def _request(node: Node, failure: _Failure) -> Request:
    fields = _fields_of(node, failure)
    texts = {key: value.text for key, value in fields.items()}
    action = texts.get("action", "")
    resource = texts.get("resource", "*")
    principal = texts.get("principal", "")
    if not _ACTION.fullmatch(action):
        advice = "a request needs an action, as s3:GetObject, without wildcards or blanks"
        raise failure(fields.get("action", node), advice)
    if not resource:
        advice = "resource is empty; write an ARN, or * for all"
        raise failure(fields["resource"], advice)
    if "principal" in fields and not _is_principal(principal):
        advice = (
            "principal must be an ARN, as arn:aws:iam::111122223333:role/deploy, or a service, as"
            " lambda.amazonaws.com"
        )
        raise failure(fields["principal"], advice)
    catalog_action = catalog.action(action)
    # A line of `contains` has a pattern, or `${*}` where AWS has no resource.
    if not resource.startswith("arn:") and {"*", "?"}.isdisjoint(resource):
        advice = "resource must be an ARN, as arn:aws:s3:::bucket/key, or * for all"
        raise failure(fields["resource"], advice)
    if resource == "*" and catalog_action and not catalog_action.resource_types:
        resource = escape_observed(resource)
    context = derived_keys(principal, resource)
    if "context" in fields:
        context |= _context_keys(fields["context"], failure)
    if "resource" not in fields and catalog_action and catalog_action.resource_types:
        raise failure(node, "a request needs a resource, as arn:aws:s3:::bucket/key, or * for all")
    return Request(
        action=action,
        resource=resource,
        context=context,
        context_complete=texts.get("context_complete") == "true",
        principal=principal,
    )


def _fields_of(node: Node, failure: _Failure) -> dict[str, Node]:
    """Returns the checked values of a request by their keys."""
    if node.kind != "object":
        raise failure(node, f"a request must be an object with {', '.join(_KEYS)}")
    for member in node.members:
        key = member.key
        if key not in (*_KEYS, *_IGNORED):
            advice = f"a request has no {format_names([key])!r}; it has {', '.join(_KEYS)}"
            raise failure(member.value, advice)
        advice = _advice_on_kind(key, member.value)
        if advice:
            raise failure(member.value, advice)
    return {member.key: member.value for member in node.members}


def _advice_on_kind(key: str, value: Node) -> str:
    """Returns the problem of a value of a request; empty if its kind is right."""
    if key == "context_complete":
        is_boolean = value.kind == "literal" and value.text in {"true", "false"}
        return "" if is_boolean else "context_complete must be true or false"
    kind = _KINDS.get(key, value.kind)
    if value.kind == kind:
        return ""
    described = "a string" if kind == "string" else "an object of condition keys and values"
    return f"{key} must be {described}"


def _is_principal(text: str) -> bool:
    is_arn = text.startswith("arn:") and text.count(":") >= _ARN_PARTS - 1
    return is_arn or _SERVICE.fullmatch(text) is not None


def _context_keys(node: Node, failure: _Failure) -> dict[str, tuple[str, ...]]:
    """Returns keys in lower case with their values; `null` is no value, so that the key is
    absent.
    """
    values_by_key: dict[str, tuple[str, ...]] = {}
    for member in node.members:
        key = member.key.lower()
        if key in values_by_key:
            advice = (
                f"the key {format_names([member.key])!r} appears twice, in different case; keep one"
            )
            raise failure(member.value, advice)
        values: list[str] = []
        for entry in member.value.entries:
            if entry.kind in {"object", "array"}:
                advice = (
                    "a value in the context must be text, a number, true or false, or a list of"
                    " such"
                )
                raise failure(entry, advice)
            if entry.kind == "string" or entry.text != "null":
                values.append(entry.text)
        values_by_key[key] = tuple(values)
    return values_by_key


def derived_keys(principal: str, resource: str) -> dict[str, tuple[str, ...]]:
    """Returns the context keys that follow from the principal and from the resource's ARN."""
    return _principal_keys(principal) | _resource_keys(resource)


def with_context(request: Request, context: Mapping[str, tuple[str, ...]]) -> Request:
    """Returns the request with other context keys."""
    return Request(
        action=request.action,
        resource=request.resource,
        context=context,
        context_complete=request.context_complete,
        principal=request.principal,
    )


def _principal_keys(arn: str) -> dict[str, tuple[str, ...]]:
    """Returns the context keys that each request of a principal has.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, read
    2026-11-24; for an assumed role `aws:PrincipalArn` is the role, whose path the session's ARN
    omits.
    """
    keys: dict[str, tuple[str, ...]] = {}
    if arn:
        is_service = "true" if _SERVICE.fullmatch(arn) else "false"
        keys["aws:principalisawsservice"] = (is_service,)
    parts = arn.split(":", _ARN_PARTS - 1)
    if len(parts) < _ARN_PARTS:
        return keys
    kind, _, name = parts[5].partition("/")
    if kind in _PRINCIPAL_TYPES:
        keys["aws:principaltype"] = (_PRINCIPAL_TYPES[kind],)
    if kind == "assumed-role":
        arn = f"{parts[0]}:{parts[1]}:iam::{parts[4]}:role/{name.partition('/')[0]}"
    keys["aws:principalarn"] = (arn,)
    keys["aws:principalaccount"] = (parts[4],)
    if kind == "user":
        keys["aws:username"] = (name.rpartition("/")[2],)
    return keys


_PRINCIPAL_TYPES = {
    "root": "Account",
    "user": "User",
    "role": "AssumedRole",
    "assumed-role": "AssumedRole",
    "federated-user": "FederatedUser",
}
"""Kind of an ARN -> `aws:PrincipalType`; a role calls by its sessions."""


def _resource_keys(resource: str) -> dict[str, tuple[str, ...]]:
    """Returns the account of a resource whose ARN names it, which most actions have as
    `aws:ResourceAccount`.
    """
    parts = resource.split(":", _ARN_PARTS - 1)
    if len(parts) == _ARN_PARTS and _ACCOUNT.fullmatch(parts[4]):
        return {"aws:resourceaccount": (parts[4],)}
    return {}


def grants_every_service(document: Document) -> bool:
    """Whether a document without a Deny allows actions of all services on every resource (`*`,
    NotAction).
    """
    if any(statement.effect != "Allow" for statement in document.statements):
        return False
    return any(map(_allows_every_service, document.statements))


def _allows_every_service(statement: Statement) -> bool:
    if statement.conditions or not statement.conditions_readable or "*" not in statement.resources:
        return False
    return bool(statement.not_actions) or any(entry in ("*", "*:*") for entry in statement.actions)
