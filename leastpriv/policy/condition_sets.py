"""Condition sets of statements, and a sound implication test between them.

An answer of False means "not proved", never "disproved".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import product
from math import prod
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Condition, Permission, grouped
from leastpriv.permissions.patterns import (
    escape_observed,
    has_variable,
    resource_covers,
    resource_overlaps,
    unescape,
)
from leastpriv.policy.conditions import (
    Operator,
    arn_parts,
    in_2012_spelling,
    is_arn_pattern,
    is_true,
    parse_date,
    parse_network,
    parse_number,
    parse_operator,
    without_variables,
)
from leastpriv.policy.document import Document, Statement, condition_of
from leastpriv.policy.glob_automaton import Element

_MOST_CASES = 64
T = TypeVar("T")


class ConditionSet(Struct, frozen=True):
    """Conditions that all must hold; values are spelled as in a policy of version 2012-10-17."""

    conditions: tuple[Condition, ...] = ()
    unreadable: str = ""
    """Text of a Condition block that `conditions` cannot express."""
    matching: tuple[str, ...] = ()
    """Resource entries with a policy variable that the resource must match."""
    not_matching: tuple[str, ...] = ()
    """Entries of a NotResource element with a policy variable that the resource must not match."""

    @property
    def empty(self) -> bool:
        """Whether the set always holds."""
        return not (self.conditions or self.unreadable or self.matching or self.not_matching)


def conjunction(condition_set: ConditionSet, other_set: ConditionSet) -> ConditionSet:
    """Returns the set that holds if both sets hold."""
    return ConditionSet(
        condition_set.conditions + other_set.conditions,
        condition_set.unreadable or other_set.unreadable,
        condition_set.matching + other_set.matching,
        condition_set.not_matching + other_set.not_matching,
    )


def condition_set_of(
    conditions: Iterable[Condition], variables: bool, unreadable: str
) -> ConditionSet:
    """Builds the condition set of a Condition block; see `in_2012_spelling` for `variables`."""
    spelled = (
        replace(
            condition,
            key=condition.key.lower(),
            values=tuple(in_2012_spelling(text, variables) for text in condition.values),
        )
        for condition in conditions
    )
    return ConditionSet(tuple(sorted(set(spelled))), unreadable)


def cases(condition_set: ConditionSet) -> tuple[ConditionSet, ...]:
    """Splits a set by the alternative values of its conditions: the set holds if and only if one of
    its cases holds.
    """
    split = [_alternatives(condition) for condition in condition_set.conditions]
    if prod(map(len, split)) > _MOST_CASES:
        return (condition_set,)
    return tuple(replace(condition_set, conditions=conditions) for conditions in product(*split))


def _alternatives(condition: Condition) -> tuple[Condition, ...]:
    operator = parse_operator(condition.operator)
    needs_one = operator and not operator.negated and operator.quantifier != "ForAllValues"
    if not needs_one or _depends_on_effect(condition) or len(condition.values) < 2:
        return (condition,)
    return tuple(replace(condition, values=(value,)) for value in condition.values)


def _depends_on_effect(condition: Condition) -> bool:
    """Returns whether a value may be no ARN, which makes a Deny apply and an Allow not."""
    operator = parse_operator(condition.operator)
    return bool(operator and operator.base == "ArnLike") and not all(
        map(is_arn_pattern, condition.values)
    )


@lru_cache(maxsize=16384)
def implies(condition_set: ConditionSet, other_set: ConditionSet) -> bool:
    """Returns whether `other_set` provably holds if `condition_set` does."""
    if other_set.unreadable and other_set.unreadable != condition_set.unreadable:
        return False
    return (
        _each_has(other_set.conditions, condition_set.conditions, condition_implies)
        and _each_has(other_set.matching, condition_set.matching, _is_covered_by)
        and _each_has(other_set.not_matching, condition_set.not_matching, resource_covers)
    )


def _each_has(wide: Iterable[T], narrow: Collection[T], is_enough: Callable[[T, T], bool]) -> bool:
    """Returns whether for each of the wide ones there is a narrow one that is enough."""
    return all(any(is_enough(narrower, wider) for narrower in narrow) for wider in wide)


def _is_covered_by(entry: str, wider_entry: str) -> bool:
    return resource_covers(wider_entry, entry)


@lru_cache(maxsize=16384)
def mutually_exclusive(condition_set: ConditionSet, other_set: ConditionSet) -> bool:
    """Returns whether the two sets provably never hold together."""
    return any(
        _conditions_exclude(condition, other_condition)
        or _conditions_exclude(other_condition, condition)
        for condition in condition_set.conditions
        for other_condition in other_set.conditions
    )


@lru_cache(maxsize=16384)
def condition_implies(condition: Condition, other_condition: Condition) -> bool:
    """Returns whether `other_condition` provably holds if `condition` does; values are spelled as
    in a `ConditionSet`.

    Holds if both belong to statements of one effect, and if `condition` belongs to an Allow and
    `other_condition` to a Deny.
    """
    if condition == other_condition:
        return True
    operator, other_operator = (
        parse_operator(condition.operator),
        parse_operator(other_condition.operator),
    )
    if (
        operator is None
        or other_operator is None
        or condition.key != other_condition.key
        or operator.negated != other_operator.negated
    ):
        return False
    if operator.quantifier != other_operator.quantifier or not _no_stricter_on_absent_key(
        operator, other_operator
    ):
        return False
    if _depends_on_effect(condition) or _depends_on_effect(other_condition):
        return False
    if (operator.base == "Null") != (other_operator.base == "Null"):
        return False
    if operator.negated:
        return _all_within(
            other_operator.base, other_condition.values, operator.base, condition.values
        )
    return _all_within(operator.base, condition.values, other_operator.base, other_condition.values)


def _no_stricter_on_absent_key(narrow: Operator, wide: Operator) -> bool:
    """Returns whether the wider operator accepts an absent key if the narrower one does."""
    absent_is_fine = narrow.negated and not narrow.quantifier
    return (
        narrow.if_exists <= wide.if_exists or absent_is_fine or narrow.quantifier == "ForAllValues"
    )


def _all_within(
    base: str, values: Sequence[str], wider_base: str, wider_values: Sequence[str]
) -> bool:
    return all(
        any(_within(base, value, wider_base, wider) for wider in wider_values) for value in values
    )


def _within(base: str, value: str, wider_base: str, wider: str) -> bool:
    """Returns whether each actual value that matches `value` under one operator matches `wider`
    under another.
    """
    if base == wider_base and value == wider:
        return True
    if (base, wider_base) == ("StringEquals", "StringEqualsIgnoreCase"):
        base = wider_base
    if base == wider_base == "StringEqualsIgnoreCase":
        return not has_variable(value + wider) and _lowered(value) == _lowered(wider)
    if wider_base == "StringLike" and base in {"StringLike", "StringEquals"}:
        return resource_covers(wider, _as_pattern(base, value))
    if (base, wider_base) == ("StringLike", "StringEquals"):
        return not has_variable(value) and value == _as_pattern(wider_base, wider)
    compare = _WITHIN.get(base)
    return base == wider_base and compare is not None and compare(value, wider)


def _lowered(value: str) -> str:
    return unescape(value).lower()


def _as_pattern(base: str, value: str) -> str:
    """Spells a value of StringEquals, in which `*` and `?` are plain characters, as a pattern."""
    if base == "StringLike" or has_variable(value):
        # A value with a variable is comparable only with its own text and with patterns that cover
        # it.
        return value
    return escape_observed(unescape(value))


def _arn_within(value: str, wider: str) -> bool:
    parts = arn_parts(value)
    wider_parts = arn_parts(wider)
    if not parts or not wider_parts:
        return False
    return all(map(resource_covers, wider_parts, parts))


def _network_within(value: str, wider: str) -> bool:
    network, wider_network = parse_network(value), parse_network(wider)
    if network is None or wider_network is None:
        return False
    return network.network_address in wider_network and network.broadcast_address in wider_network


def _compare_bounds(
    read: Callable[[str], Decimal | None], below: bool
) -> Callable[[str, str], bool]:
    """Returns a comparison of bounds: `LessThan 3` is within `LessThan 5`."""

    def within(value: str, wider: str) -> bool:
        bound = read(value)
        wider_bound = read(wider)
        if bound is None or wider_bound is None:
            return False
        return bound <= wider_bound if below else bound >= wider_bound

    return within


def _same_truth(value: str, wider: str) -> bool:
    return not has_variable(value + wider) and is_true(value) == is_true(wider)


_WITHIN: Mapping[str, Callable[[str, str], bool]] = {
    "ArnLike": _arn_within,
    "Bool": _same_truth,
    "Null": _same_truth,
    "IpAddress": _network_within,
    **{
        f"{kind}{order}{equals}": _compare_bounds(read, order == "LessThan")
        for kind, read in (("Numeric", parse_number), ("Date", parse_date))
        for order in ("LessThan", "GreaterThan")
        for equals in ("", "Equals")
    },
}


def _conditions_exclude(condition: Condition, other_condition: Condition) -> bool:
    """Returns whether `condition`, which requires one of its values, and `other_condition` never
    hold together.
    """
    operator, other_operator = (
        parse_operator(condition.operator),
        parse_operator(other_condition.operator),
    )
    if operator is None or other_operator is None or condition.key != other_condition.key:
        return False
    if operator.negated or operator.quantifier or other_operator.quantifier or operator.if_exists:
        return False
    if _depends_on_effect(condition) or _depends_on_effect(other_condition):
        return False
    if other_operator.negated:
        return _all_within(
            operator.base, condition.values, other_operator.base, other_condition.values
        )
    pairs = product(condition.values, other_condition.values)
    return all(
        _values_disjoint(operator.base, value, other_operator.base, other_value)
        for value, other_value in pairs
    )


def _values_disjoint(base: str, value: str, other_base: str, other_value: str) -> bool:
    """Returns whether no actual value matches both values."""
    if {base, other_base} <= {"StringEquals", "StringLike"}:
        return not resource_overlaps(_as_pattern(base, value), _as_pattern(other_base, other_value))
    return (
        base == other_base == "Bool"
        and not has_variable(value + other_value)
        and is_true(value) != is_true(other_value)
    )


EVERYTHING = Element(("*",))
_UNKNOWN = "a statement without Resource"


class Rule(Struct, frozen=True):
    """A statement, or its part for one resource entry with a policy variable."""

    allow: bool
    actions: Element
    resources: Element
    """Entries in the spelling of version 2012-10-17; a variable becomes `*` here and a condition in
    `condition_set`.
    """
    condition_set: ConditionSet
    document: int
    """Index of its document in the given sequence."""
    statement: Statement


def rules_of(documents: Sequence[Document]) -> tuple[Rule, ...]:
    """Returns the rules of all statements of the documents."""
    return tuple(
        rule
        for number, document in enumerate(documents)
        for statement in document.statements
        if statement.actions or statement.not_actions
        for rule in _rules(number, statement, document)
    )


def listed_rules(permission: Permission) -> Iterator[Rule]:
    """Yields the rule of a grant of one action pattern on one resource pattern under all its
    conditions.
    """
    statement = Statement(
        index=0,
        sid="",
        effect="Allow",
        actions=(permission.action,),
        not_actions=(),
        resources=(permission.resource,),
        not_resources=(),
        conditions=permission.conditions,
        conditions_readable=True,
        variables=True,
        line=0,
    )
    return _rules(-1, statement)


def _rules(number: int, statement: Statement, document: Document | None = None) -> Iterator[Rule]:
    for part in _parts(statement):
        yield from _rules_of_part(number, part.statement, document, part.depends_on)


class _Part(Struct, frozen=True):
    """A part of a statement, and the expression that may leave it out."""

    statement: Statement
    depends_on: str


def _parts(statement: Statement) -> Iterator[_Part]:
    """Yields the part of a statement that is certain, and one for each expression that may leave
    entries out.

    What an expression leaves out of a NotAction or NotResource is granted if it does.
    """
    if not statement.possible:
        yield _Part(statement, statement.depends_on)
        return
    for actions in _groups(statement, "NotAction", "Action"):
        for resources in _groups(statement, "NotResource", "Resource"):
            expressions = (statement.depends_on, actions.depends_on, resources.depends_on)
            statement_part = replace(
                statement,
                possible=(),
                actions=actions.positive,
                not_actions=actions.negated,
                resources=resources.positive,
                not_resources=resources.negated,
            )
            depends_on = " and ".join(dict.fromkeys(filter(None, expressions)))
            yield _Part(statement_part, depends_on)


class _Group(Struct, frozen=True):
    """Entries of an element, or of its negation, that one expression may leave out."""

    positive: tuple[str, ...] = ()
    negated: tuple[str, ...] = ()
    depends_on: str = ""


def _groups(statement: Statement, negation: str, element: str) -> Iterator[_Group]:
    lists = {
        "Action": statement.actions,
        "NotAction": statement.not_actions,
        "Resource": statement.resources,
        "NotResource": statement.not_resources,
    }
    is_negated = bool(lists[negation])
    entries = lists[negation if is_negated else element]
    possible = [entry for entry in statement.possible if entry.key in (negation, element)]
    texts = {entry.text for entry in possible}
    certain = tuple(entry for entry in entries if entry not in texts)
    by_expression = grouped([(entry.depends_on, entry.text) for entry in possible])
    if not is_negated:
        if certain or not possible:
            yield _Group(positive=certain)
        for expression, open_entries in by_expression.items():
            yield _Group(positive=tuple(open_entries), depends_on=expression)
        return
    yield _Group(negated=entries)
    if possible:
        depends_on = " and ".join(by_expression)
        positive_entries = () if certain else ("*",)
        yield _Group(positive=positive_entries, negated=certain, depends_on=depends_on)


def _rules_of_part(
    number: int, statement: Statement, document: Document | None, depends_on: str
) -> Iterator[Rule]:
    unreadable = depends_on
    if document and not statement.conditions_readable:
        unreadable += condition_of(document, statement)
    rule = Rule(
        allow=statement.effect == "Allow",
        actions=Element(statement.actions or statement.not_actions, bool(statement.not_actions)),
        resources=EVERYTHING,
        condition_set=condition_set_of(statement.conditions, statement.variables, unreadable),
        document=number,
        statement=statement,
    )
    entries = statement.resources or statement.not_resources
    if not entries:
        # IAM would not store such a statement, and its effect is undocumented: it equals only
        # itself.
        unknown = rule.condition_set.unreadable + _UNKNOWN
        yield replace(rule, condition_set=replace(rule.condition_set, unreadable=unknown))
        return
    spelled = tuple(in_2012_spelling(entry, statement.variables) for entry in entries)
    with_variable = tuple(filter(has_variable, spelled))
    plain = tuple(entry for entry in spelled if not has_variable(entry))
    if statement.not_resources:
        yield replace(
            rule,
            resources=Element(plain, negated=True),
            condition_set=replace(rule.condition_set, not_matching=with_variable),
        )
        return
    if plain:
        yield replace(rule, resources=Element(plain))
    for entry in with_variable:
        yield replace(
            rule,
            resources=Element((without_variables(entry),)),
            condition_set=replace(rule.condition_set, matching=(entry,)),
        )


def with_certain_parts(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Adds to each rule that excludes an entry with a policy variable its part that no value of the
    variable limits.
    """
    all_rules: list[Rule] = []
    for rule in rules:
        all_rules.append(rule)
        excluded = rule.condition_set.not_matching
        if not excluded:
            continue
        patterns = (*rule.resources.patterns, *map(without_variables, excluded))
        condition_set = replace(rule.condition_set, not_matching=())
        widest = Element(patterns, negated=True)
        all_rules.append(replace(rule, resources=widest, condition_set=condition_set))
    return tuple(dict.fromkeys(all_rules))
