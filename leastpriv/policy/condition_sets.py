"""Under what else than action and resource a statement applies, and which of two such provisos is provably narrower.

Sound, not exact: what is not shown here is not known, never false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from itertools import product

from leastpriv.models import Condition, Permission
from leastpriv.permissions.patterns import escape_observed, has_variable, resource_covers, resource_overlaps, unescape
from leastpriv.policy.conditions import Operator, arn_parts, as_2012, moment, network, number, operator_of
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.glob_automaton import Element
from leastpriv.policy.syntax_tree import minified

_MOST_CASES = 64


@dataclass(frozen=True, slots=True)
class Proviso:
    """All of its parts have to hold; values are spelled as in a policy of version 2012-10-17."""

    conditions: tuple[Condition, ...] = ()
    unread: str = ""
    """A Condition block of a shape that `conditions` cannot express, as text."""
    fits: tuple[str, ...] = ()
    """Resource entries with a policy variable that the resource has to fit."""
    misses: tuple[str, ...] = ()
    """Those of a NotResource element, which it must not fit."""

    @property
    def empty(self) -> bool:
        """Whether it always holds."""
        return not (self.conditions or self.unread or self.fits or self.misses)


def both(one: Proviso, other: Proviso) -> Proviso:
    """Return the proviso that holds where both hold."""
    return Proviso(
        one.conditions + other.conditions,
        one.unread or other.unread,
        one.fits + other.fits,
        one.misses + other.misses,
    )


def proviso_of(conditions: Iterable[Condition], variables: bool, unread: str) -> Proviso:
    """Make the proviso of a statement's Condition block; see `as_2012` for `variables`."""
    spelled = (
        replace(each, key=each.key.lower(), values=tuple(as_2012(value, variables) for value in each.values))
        for each in conditions
    )
    return Proviso(tuple(sorted(set(spelled))), unread)


def cases(proviso: Proviso) -> tuple[Proviso, ...]:
    """Split the alternatives that a condition's values are: the proviso holds exactly where one of its cases does."""
    split = [_alternatives(condition) for condition in proviso.conditions]
    number_of_cases = 1
    for alternatives in split:
        number_of_cases *= len(alternatives)
    if number_of_cases > _MOST_CASES:
        return (proviso,)
    return tuple(replace(proviso, conditions=chosen) for chosen in product(*split))


def _alternatives(condition: Condition) -> tuple[Condition, ...]:
    operator = operator_of(condition.operator)
    alone = operator is None or operator.negated or operator.quantifier == "ForAllValues"
    if alone or len(condition.values) < 2:
        return (condition,)
    return tuple(replace(condition, values=(value,)) for value in condition.values)


@lru_cache(maxsize=16384)
def implies(one: Proviso, other: Proviso) -> bool:
    """Tell whether `other` provably holds wherever `one` does."""
    return (
        (not other.unread or other.unread == one.unread)
        and all(any(narrower(mine, its) for mine in one.conditions) for its in other.conditions)
        and all(any(resource_covers(its, mine) for mine in one.fits) for its in other.fits)
        and all(any(resource_covers(mine, its) for mine in one.misses) for its in other.misses)
    )


@lru_cache(maxsize=16384)
def exclude(one: Proviso, other: Proviso) -> bool:
    """Tell whether the two provably never hold together."""
    return any(_apart(mine, its) or _apart(its, mine) for mine in one.conditions for its in other.conditions)


@lru_cache(maxsize=16384)
def narrower(one: Condition, other: Condition) -> bool:
    """Tell whether the condition `other` provably holds wherever `one` does; values are those of a `Proviso`."""
    if one == other:
        return True
    mine, its = operator_of(one.operator), operator_of(other.operator)
    if mine is None or its is None or one.key != other.key or mine.negated != its.negated:
        return False
    if mine.quantifier != its.quantifier or not _same_or_laxer(mine, its):
        return False
    if mine.base == "Null":
        return its.base == "Null" and set(one.values) <= set(other.values)
    if mine.negated:
        return all(any(_within(its.base, value, mine.base, barred) for barred in one.values) for value in other.values)
    return all(any(_within(mine.base, value, its.base, wider) for wider in other.values) for value in one.values)


def _same_or_laxer(mine: Operator, its: Operator) -> bool:
    """Whether its way with an absent key is no stricter than mine."""
    absent_is_fine = mine.negated and not mine.quantifier
    return mine.if_exists <= its.if_exists or absent_is_fine or mine.quantifier == "ForAllValues"


def _within(base: str, value: str, wider_base: str, wider: str) -> bool:
    """Tell whether each actual value that fits `value` under one operator fits `wider` under another."""
    if base == wider_base and value == wider:
        return True
    if (base, wider_base) == ("StringEquals", "StringEqualsIgnoreCase"):
        base = wider_base
    if base == wider_base == "StringEqualsIgnoreCase":
        return not has_variable(value + wider) and unescape(value).lower() == unescape(wider).lower()
    if wider_base == "StringLike" and base in {"StringLike", "StringEquals"}:
        return resource_covers(wider, _as_pattern(base, value))
    compare = _WITHIN.get(base)
    return base == wider_base and compare is not None and compare(value, wider)


def _as_pattern(base: str, value: str) -> str:
    """Spell the value of StringEquals, in which `*` and `?` are plain, as a pattern."""
    if base == "StringLike" or has_variable(value):
        # With a variable: only its very text, and patterns that cover it as a pattern.
        return value
    return escape_observed(unescape(value))


def _arn_within(value: str, wider: str) -> bool:
    parts, wider_parts = arn_parts(value), arn_parts(wider)
    return bool(parts and wider_parts) and all(map(resource_covers, wider_parts or (), parts or ()))


def _network_within(value: str, wider: str) -> bool:
    mine, its = network(value), network(wider)
    return mine is not None and its is not None and mine.network_address in its and mine.broadcast_address in its


def _bound(read: Callable[[str], Decimal | None], below: bool) -> Callable[[str, str], bool]:
    """Compare the bounds of an order: `LessThan 3` is within `LessThan 5`."""

    def within(value: str, wider: str) -> bool:
        mine, its = read(value), read(wider)
        return mine is not None and its is not None and (mine <= its if below else mine >= its)

    return within


_WITHIN: Mapping[str, Callable[[str, str], bool]] = {
    "ArnLike": _arn_within,
    "Bool": lambda value, wider: value.lower() == wider.lower(),
    "IpAddress": _network_within,
    **{
        f"{kind}{order}{equals}": _bound(read, order == "LessThan")
        for kind, read in (("Numeric", number), ("Date", moment))
        for order in ("LessThan", "GreaterThan")
        for equals in ("", "Equals")
    },
}


def _apart(one: Condition, other: Condition) -> bool:
    """Tell whether `one`, which asks for one of its values, and `other` never hold together."""
    mine, its = operator_of(one.operator), operator_of(other.operator)
    if mine is None or its is None or one.key != other.key:
        return False
    if mine.negated or mine.quantifier or its.quantifier or mine.if_exists:
        return False
    if its.negated:
        return all(any(_within(mine.base, value, its.base, barred) for barred in other.values) for value in one.values)
    return all(_strangers(mine.base, value, its.base, wanted) for value in one.values for wanted in other.values)


def _strangers(base: str, value: str, other_base: str, other: str) -> bool:
    """Tell whether no actual value fits both values."""
    if {base, other_base} <= {"StringEquals", "StringLike"}:
        return not resource_overlaps(_as_pattern(base, value), _as_pattern(other_base, other))
    return base == other_base == "Bool" and {value.lower(), other.lower()} == {"true", "false"}


_VARIABLE = re.compile(r"\$\{(?![*?$]\})[^}]*\}?")
EVERYTHING = Element(("*",))
_UNKNOWN = "a statement without Resource"


@dataclass(frozen=True, slots=True)
class Rule:
    """A statement, or the part of it that is about one resource entry with a policy variable."""

    allow: bool
    actions: Element
    resources: Element
    """Entries in the spelling of version 2012-10-17; a variable is loosened to `*`, and stands in `proviso`."""
    proviso: Proviso
    document: int
    """Number of its document among those that were given."""
    statement: Statement | None
    """None for a grant that is listed without a policy."""


def rules_of(documents: Sequence[Document]) -> tuple[Rule, ...]:
    """Take all statements of some documents apart."""
    return tuple(
        rule
        for number, document in enumerate(documents)
        for statement in document.statements
        if statement.actions or statement.not_actions
        for rule in _rules(document, number, statement)
    )


def listed_rule(listed: Permission) -> Rule:
    """Make the rule that grants one action pattern on one resource pattern, all of its conditions to hold."""
    resources, fits = _loosened(listed.resource)
    proviso = replace(proviso_of(listed.conditions, variables=True, unread=""), fits=fits)
    return Rule(True, Element((listed.action,)), Element((resources,)), proviso, -1, None)


def loosened(pattern: str) -> str:
    """Replace policy variables in a pattern of version 2012-10-17 by `*`."""
    return _VARIABLE.sub("*", pattern)


def _loosened(pattern: str) -> tuple[str, tuple[str, ...]]:
    return (loosened(pattern), (pattern,)) if has_variable(pattern) else (pattern, ())


def _rules(document: Document, number: int, statement: Statement) -> Iterator[Rule]:
    rule = Rule(
        allow=statement.effect == "Allow",
        actions=Element(statement.actions or statement.not_actions, bool(statement.not_actions)),
        resources=EVERYTHING,
        proviso=proviso_of(statement.conditions, statement.variables, _unread(document, statement)),
        document=number,
        statement=statement,
    )
    entries = tuple(as_2012(entry, statement.variables) for entry in statement.resources or statement.not_resources)
    plain = tuple(entry for entry in entries if not has_variable(entry))
    variable = tuple(entry for entry in entries if has_variable(entry))
    if statement.not_resources:
        yield replace(rule, resources=Element(plain, negated=True), proviso=replace(rule.proviso, misses=variable))
        return
    if not entries:
        # IAM would not have stored it: nobody knows what it does, so that it is equal to itself only.
        yield replace(rule, proviso=replace(rule.proviso, unread=rule.proviso.unread + _UNKNOWN))
    if plain:
        yield replace(rule, resources=Element(plain))
    for entry in variable:
        yield replace(rule, resources=Element((loosened(entry),)), proviso=replace(rule.proviso, fits=(entry,)))


def _unread(document: Document, statement: Statement) -> str:
    if statement.conditions_readable:
        return ""
    block = document.statement_nodes[statement.index].get_any_case("Condition")
    return minified(block) if block else ""
