"""Finds a request that new documents allow and old ones do not, and verifies it by evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Condition
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches, escape_observed, unescape
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.condition_sets import ConditionSet, Rule, cases, rules_of
from leastpriv.policy.conditions import (
    Context,
    Operator,
    is_true,
    parse_date,
    parse_network,
    parse_number,
    parse_operator,
    resolve_variables,
    without_variables,
)
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.glob_automaton import Element

_MOST_TRIALS = 32
_ANY = "x"
"""A value that satisfies no condition by intent."""
_WELL_KNOWN = ("s3", "iam", "ec2", "sts", "lambda")
"""Services whose actions illustrate an entry for all services."""
_WILDCARD = re.compile(r"(?<!\$\{)[*?]")
_VARIABLE_KEY = re.compile(r"\$\{([^*?$},][^},]*)")


class Witness(Struct, frozen=True):
    """A request with a complete context."""

    action: str
    resource: str
    """A plain text, no pattern."""
    context: Mapping[str, tuple[str, ...]] = {}

    def __hash__(self) -> int:
        return hash((self.action, self.resource))


def example_actions(entry: Element, resources: Element) -> tuple[str, ...]:
    """Returns catalogue actions that an action entry, or a NotAction element, names.

    Actions that fit the resources come first, then the shortest. A literal returns itself. An entry
    for all services returns only actions of some well-known services.
    """
    if not entry.negated:
        (pattern,) = entry.patterns
        if not _WILDCARD.search(pattern):
            return (pattern,)
        if not _WILDCARD.search(pattern.partition(":")[0]):
            # The catalogue lacks the service: use a name of the same form.
            return _by_fitness(catalog.expand(pattern), resources) or (
                _WILDCARD.sub(_ANY, pattern),
            )
    return _by_fitness(_named(entry, _WELL_KNOWN), resources) or _by_fitness(
        _named(entry, sorted(catalog.services())), resources
    )


def _named(entry: Element, prefixes: Iterable[str]) -> Iterator[str]:
    """Yields the actions of some services that an element names."""
    for prefix in prefixes:
        for action in catalog.actions(prefix):
            if entry.negated != any(action_matches(pattern, action) for pattern in entry.patterns):
                yield action


def _by_fitness(actions: Iterable[str], resources: Element) -> tuple[str, ...]:
    pattern = "*" if resources.negated else resources.patterns[0]
    return tuple(
        sorted(actions, key=lambda action: (not fits(action, pattern), len(action), action))
    )


def find_witness(
    action: str,
    resource: str,
    rule: Rule,
    old: Sequence[Document],
    new: Sequence[Document],
    limits: Sequence[Sequence[Document]] = (),
) -> Witness | None:
    """Returns a request, with its context, that `new` and each of the `limits` allow and `old` does
    not; None if none is found.
    """
    overlays = [*_overlays(old)]
    for layer in limits:
        overlays.extend(_fitting_overlays(layer))
    for candidate in islice(_candidates(action, resource, rule, overlays), _MOST_TRIALS):
        request = Request(
            action, escape_observed(candidate.resource), candidate.context, context_complete=True
        )
        if any(evaluate(request, documents).effect != "allowed" for documents in (new, *limits)):
            continue
        if evaluate(request, old).effect in {"implicitDeny", "explicitDeny"}:
            return candidate
    return None


def _candidates(
    action: str, resource: str, rule: Rule, overlays: Sequence[Context]
) -> Iterator[Witness]:
    """Yields requests that the rule may allow: first one for each case, then with more context."""
    plain = [_satisfying_request(action, resource, case) for case in cases(rule.condition_set)]
    yield from plain
    for witness in plain:
        full_context = dict(witness.context)
        for overlay in overlays:
            yield replace(witness, context={**witness.context, **overlay})
            full_context |= overlay
        yield replace(witness, context=full_context)


def _satisfying_request(action: str, resource: str, condition_set: ConditionSet) -> Witness:
    context: dict[str, tuple[str, ...]] = {}
    for condition in condition_set.conditions:
        context |= satisfying(condition)
    for entry in condition_set.matching:
        context |= {key.strip().lower(): (_ANY,) for key in _VARIABLE_KEY.findall(entry)}
        resource = _sample_text(resolve_variables(entry, context, True) or entry)
    return Witness(action, resource, context)


def _overlays(old: Sequence[Document]) -> Iterator[Context]:
    """Yields values that violate a condition of an old Allow, and values that satisfy a condition
    of an old Deny.
    """
    for rule in rules_of(old):
        for condition in rule.condition_set.conditions:
            overlay = violating(condition) if rule.allow else satisfying(condition)
            if overlay:
                yield overlay


def _fitting_overlays(layer: Sequence[Document]) -> Iterator[Context]:
    """Yields values that satisfy a condition of an Allow of a limiting layer, and values that
    violate a condition of its Deny.
    """
    for rule in rules_of(layer):
        for condition in rule.condition_set.conditions:
            overlay = satisfying(condition) if rule.allow else violating(condition)
            if overlay:
                yield overlay


def satisfying(condition: Condition) -> Context:
    """Returns a key and value that satisfy a condition; none if it holds without the key."""
    operator = parse_operator(condition.operator)
    if operator is None or not condition.values:
        return {}
    if operator.base == "Null":
        is_absent = any(map(is_true, condition.values))
        return {} if is_absent else {condition.key: (_ANY,)}
    if operator.negated:
        needs_value = operator.quantifier == "ForAnyValue"
        return {condition.key: (_ANY,)} if needs_value else {}
    if operator.quantifier == "ForAllValues":
        return {}
    return {condition.key: (_fitting_value(operator, condition.values[0]),)}


def violating(condition: Condition) -> Context:
    """Returns a key and value that violate a condition; none if a missing key violates it."""
    operator = parse_operator(condition.operator)
    if operator is None or not condition.values:
        return {}
    if operator.base != "Null":
        sample = _fitting_value if operator.negated else _violating_value
        return {condition.key: (sample(operator, condition.values[0]),)}
    is_absent = any(map(is_true, condition.values))
    return {condition.key: (_ANY,)} if is_absent else {}


def _fitting_value(operator: Operator, value: str) -> str:
    """Returns a request value that fits a policy value."""
    number = _number(operator, value)
    if number is not None:
        if "LessThan" in operator.base:
            return str(number - 1)
        return str(number + 1 if "GreaterThan" in operator.base else number)
    if operator.base == "IpAddress":
        addresses = parse_network(value)
        return str(addresses.network_address) if addresses else value
    return _sample_text(value) if operator.base in {"StringLike", "ArnLike"} else unescape(value)


def _violating_value(operator: Operator, value: str) -> str:
    """Returns a request value that does not fit a policy value."""
    number = _number(operator, value)
    if number is not None:
        return str(number + 1 if "LessThan" in operator.base else number - 1)
    return str(not is_true(value)).lower() if operator.base == "Bool" else _ANY


def _number(operator: Operator, value: str) -> Decimal | None:
    read = {"Num": parse_number, "Dat": parse_date}.get(operator.base[:3])
    return read(value) if read else None


def _sample_text(pattern: str) -> str:
    """Returns a text that a pattern without variables matches."""
    return unescape(
        _WILDCARD.sub(lambda found: "" if found[0] == "*" else _ANY, without_variables(pattern))
    )
