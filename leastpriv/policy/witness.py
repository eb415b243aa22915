"""A request that shows what a new document allows and an old one does not; shown by evaluating it on both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice

from leastpriv.models import Condition
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches, escape_observed, unescape
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.condition_sets import Proviso, Rule, cases, loosened, rules_of
from leastpriv.policy.conditions import Operator, moment, network, number, operator_of, resolve
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import Request, evaluate
from leastpriv.policy.glob_automaton import Element

_MOST_TRIALS = 32
_ANY = "x"
"""A value that nobody asked for."""
_WELL_KNOWN = ("s3", "iam", "ec2", "sts", "lambda")
"""Services whose actions show what an entry for all services allows."""
_WILDCARD = re.compile(r"(?<!\$\{)[*?]")
_VARIABLE_KEY = re.compile(r"\$\{([^*?$},][^},]*)")


@dataclass(frozen=True, slots=True)
class Witness:
    """A request, its context complete."""

    action: str
    resource: str
    """A plain text."""
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


def actions_to_name(entry: Element, resources: Element) -> tuple[str, ...]:
    """Return actions of the catalogue that an action entry, or a NotAction element, takes in.

    Those that are authorised on such resources come first, then the shortest. A literal is itself. Of an entry for
    all services only actions of some well-known ones are returned.
    """
    if not entry.negated:
        (pattern,) = entry.patterns
        if not _WILDCARD.search(pattern):
            return (pattern,)
        if not _WILDCARD.search(pattern.partition(":")[0]):
            # A service that the catalogue does not know: a name that looks like one.
            return _by_fitness(catalog.expand(pattern), resources) or (_WILDCARD.sub(_ANY, pattern),)
    known = (action for prefix in _WELL_KNOWN for action in catalog.actions(prefix))
    wanted = (each for each in known if entry.negated != any(action_matches(p, each) for p in entry.patterns))
    return _by_fitness(wanted, resources)


def _by_fitness(actions: Iterable[str], resources: Element) -> tuple[str, ...]:
    pattern = "*" if resources.negated else resources.patterns[0]
    return tuple(sorted(actions, key=lambda action: (not fits(action, pattern), len(action), action)))


def shown(action: str, resource: str, rule: Rule, old: Sequence[Document], new: Sequence[Document]) -> Witness | None:
    """Return the request, with what context it takes, if `new` allows it and `old` does not; None if that fails."""
    for candidate in islice(_candidates(action, resource, rule, old), _MOST_TRIALS):
        request = Request(action, escape_observed(candidate.resource), candidate.context, context_complete=True)
        if evaluate(request, new).effect != "allowed":
            continue
        if evaluate(request, old).effect in {"implicitDeny", "explicitDeny"}:
            return candidate
    return None


def _candidates(action: str, resource: str, rule: Rule, old: Sequence[Document]) -> Iterator[Witness]:
    """Yield requests that the rule may allow: first of each of its cases, then with more in the context."""
    plain = [_fitting(action, resource, case) for case in cases(rule.proviso)]
    yield from plain
    overlays = list(_overlays(old))
    for witness in plain:
        for key, values in overlays:
            yield replace(witness, context={**witness.context, key: values})
        yield replace(witness, context={**witness.context, **dict(overlays)})


def _fitting(action: str, resource: str, proviso: Proviso) -> Witness:
    context = {key: values for each in proviso.conditions for key, values in _satisfying(each)}
    for entry in proviso.fits:
        context |= {key.strip().lower(): (_ANY,) for key in _VARIABLE_KEY.findall(entry)}
        resource = _plain(resolve(entry, context, True) or entry)
    return Witness(action, resource, context)


def _overlays(old: Sequence[Document]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield values that a condition of an old Allow does not take, and those that one of an old Deny does."""
    for rule in rules_of(old):
        for condition in rule.proviso.conditions:
            yield from _violating(condition) if rule.allow else _satisfying(condition)


def _satisfying(condition: Condition) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the key with a value for which a condition holds; nothing where it holds without the key."""
    operator = operator_of(condition.operator)
    if operator is None or not condition.values:
        return
    if operator.base == "Null":
        if "true" not in condition.values:
            yield condition.key, (_ANY,)
    elif operator.negated:
        if operator.quantifier == "ForAnyValue":
            yield condition.key, (_ANY,)
    elif operator.quantifier != "ForAllValues":
        yield condition.key, (_sample(operator, condition.values[0]),)


def _violating(condition: Condition) -> Iterator[tuple[str, tuple[str, ...]]]:
    operator = operator_of(condition.operator)
    if operator is None or not condition.values:
        return
    if operator.base != "Null":
        value = condition.values[0]
        yield condition.key, (_sample(operator, value) if operator.negated else _beyond(operator, value),)
    elif "true" in condition.values:
        yield condition.key, (_ANY,)


def _sample(operator: Operator, value: str) -> str:
    """Return a value of a request that fits a value of a policy."""
    read = {"Num": number, "Dat": moment}.get(operator.base[:3])
    found = read(value) if read else None
    if found is not None:
        step = -1 if "LessThan" in operator.base else 1 if "GreaterThan" in operator.base else 0
        return str(found + Decimal(step))
    if operator.base == "IpAddress":
        addresses = network(value)
        return str(addresses.network_address) if addresses else value
    return _plain(value) if operator.base in {"StringLike", "ArnLike"} else unescape(value)


def _beyond(operator: Operator, value: str) -> str:
    """Return a value of a request that does not fit a value of a policy."""
    read = {"Num": number, "Dat": moment}.get(operator.base[:3])
    found = read(value) if read else None
    if found is not None:
        return str(found + Decimal(1 if "LessThan" in operator.base else -1))
    if operator.base == "Bool":
        return "false" if value.lower() == "true" else "true"
    return _ANY


def _plain(pattern: str) -> str:
    """Return a text that a pattern matches, its variables left out."""
    return unescape(_WILDCARD.sub(lambda found: "" if found[0] == "*" else _ANY, loosened(pattern)))
