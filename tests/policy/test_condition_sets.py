"""Condition sets: provable implication and exclusion."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Condition
from leastpriv.policy.condition_sets import (
    ConditionSet,
    cases,
    condition_implies,
    condition_set_of,
    conjunction,
    implies,
    mutually_exclusive,
)
from leastpriv.policy.conditions import condition_holds
from tests.hypothesis_profiles import examples

ARN = "arn:aws:iam::1:role/a"


def condition(text: str) -> Condition:
    """Parses `Operator key value value`."""
    operator, key, *values = text.split(" ")
    return Condition(operator, key, tuple(values))


def condition_set(*texts: str) -> ConditionSet:
    return condition_set_of(map(condition, texts), True, "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("StringEquals k a", "StringEquals k a b"),
        ("StringEquals k b a", "StringEquals k a b"),
        ("StringEquals k a", "StringLike k a*"),
        ("StringEquals k a", "StringEqualsIgnoreCase k A"),
        ("StringEqualsIgnoreCase k a", "StringEqualsIgnoreCase k A b"),
        ("StringLike k ab*", "StringLike k a* c"),
        ("StringEquals k a", "StringEqualsIfExists k a"),
        ("StringNotEquals k a b", "StringNotEquals k a"),
        ("StringNotEqualsIfExists k a", "StringNotEquals k a"),
        ("StringNotLike k a*", "StringNotEquals k ab ac"),
        ("StringNotEqualsIgnoreCase k A", "StringNotEquals k a"),
        ("StringLike k ${aws:x}", "StringLike k *"),
        ("StringEquals k a*", "StringLike k a*"),
        ("StringEquals k ${*}", "StringLike k ?"),
        ("StringLike k a", "StringEquals k a b"),
        ("StringLike k ${*}", "StringEquals k *"),
        ("ArnLike k arn:aws:iam::1:role/a*", "ArnEquals k arn:*:iam:*:*:role/*"),
        ("ArnNotEquals k arn:*:iam:*:*:role/*", "ArnNotLike k arn:aws:iam::1:role/a"),
        ("NumericLessThan k 3", "NumericLessThan k 5"),
        ("NumericLessThan k 5", "NumericLessThan k 5.0"),
        ("NumericGreaterThanEquals k 5", "NumericGreaterThanEquals k 3"),
        ("DateLessThanEquals k 2026-11-24", "DateLessThanEquals k 2026-11-24T00:00:01Z"),
        ("DateGreaterThan k 2026-11-24", "DateGreaterThan k 1795478399"),
        ("IpAddress k 203.0.113.0/25", "IpAddress k 203.0.113.0/24"),
        ("IpAddress k 203.0.113.7", "IpAddress k 203.0.113.0/24 10.0.0.0/8"),
        ("NotIpAddress k 203.0.113.0/24", "NotIpAddress k 203.0.113.7"),
        ("Bool k true", "Bool k True"),
        ("Bool k no", "Bool k false"),
        ("Null k yes", "Null k False"),
        ("ArnLike k arn", "ArnLike k arn"),
        ("Null k true", "Null k true false"),
        ("Null k false true", "Null k true false"),
        ("NumericGreaterThan k 5", "NumericGreaterThan k 5.0"),
        ("ForAllValues:StringEquals k a", "ForAllValues:StringLike k a* b"),
        ("ForAllValues:StringEqualsIfExists k a", "ForAllValues:StringEquals k a"),
        ("ForAnyValue:StringEquals k a", "ForAnyValue:StringEquals k a b"),
        ("ForAnyValue:StringNotEquals k a b", "ForAnyValue:StringNotEquals k a"),
        ("NoSuchOperator k a", "NoSuchOperator k a"),
    ],
)
def test_equal_or_narrower_conditions_imply_wider_ones(one: str, other: str) -> None:
    assert implies(condition_set(one), condition_set(other))
    assert implies(condition_set(one, "Bool x true"), condition_set(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("StringEquals k a b", "StringEquals k a"),
        ("StringEquals k a", "StringEquals l a"),
        ("StringEquals k a", "StringEquals k A"),
        ("StringLike k a*", "StringEquals k a"),
        ("StringLike k a", "StringEquals k b"),
        ("StringEqualsIgnoreCase k a", "StringEquals k a"),
        ("StringEqualsIgnoreCase k a", "StringEqualsIgnoreCase k b"),
        ("StringEquals k a", "StringLike k b*"),
        ("StringLike k a*", "StringLike k ab*"),
        ("StringEqualsIfExists k a", "StringEquals k a"),
        ("StringNotEquals k a", "StringNotEquals k a b"),
        ("StringNotEquals k a", "StringEquals k b"),
        ("ForAnyValue:StringNotEqualsIfExists k a", "ForAnyValue:StringNotEquals k a"),
        ("StringLike k ?", "StringLike k ${*}"),
        ("StringEquals k a", "ForAnyValue:StringEquals k a"),
        ("StringEqualsIgnoreCase k ${aws:x}", "StringEqualsIgnoreCase k ${aws:X}y"),
        ("ArnLike k arn:*:iam:*:*:role/*", "ArnLike k arn:aws:iam::1:role/*"),
        ("ArnLike k role", "ArnLike k *"),
        ("NumericLessThan k 5", "NumericLessThan k 3"),
        ("NumericGreaterThan k 3", "NumericGreaterThan k 5"),
        ("NumericLessThan k 3", "NumericGreaterThan k 3"),
        ("NumericLessThanEquals k 3", "NumericLessThan k 3"),
        ("NumericLessThan k ten", "NumericLessThan k 5"),
        ("DateLessThan k 2026-11-25", "DateLessThan k 2026-11-24"),
        ("IpAddress k 203.0.113.0/24", "IpAddress k 203.0.113.0/25"),
        ("IpAddress k 203.0.112.0/23", "IpAddress k 203.0.113.0/24"),
        ("IpAddress k 2001:db8::/32", "IpAddress k 0.0.0.0/0"),
        ("IpAddress k here", "IpAddress k 0.0.0.0/0"),
        ("Bool k true", "Bool k false"),
        ("Bool k ${aws:x}", "Bool k false"),
        ("Bool k no", "Bool k ${aws:x}"),
        ("Null k ${aws:x}", "Null k false"),
        ("ArnLike k arn", "ArnLike k arn arn:aws:iam::1:role/a"),
        ("ArnLike k arn:aws:iam::1:role/a", "ArnLike k arn arn:aws:iam::1:role/a"),
        ("ArnNotLike k arn arn:aws:iam::1:role/a", "ArnNotLike k arn:aws:iam::1:role/a"),
        ("ArnLike k ${aws:x} arn:aws:iam::1:role/a", "ArnLike k ${aws:x} arn:aws:iam::1:role/*"),
        ("Null k false", "Null k true"),
        ("StringEquals k a", "Null k false"),
        ("Null k true", "StringEquals k a"),
        ("Null k true", "StringEquals k true"),
        ("NoSuchOperator k a", "StringEquals k a"),
        ("StringEqualsIgnoreCase k ${$}{aws:x}", "StringEqualsIgnoreCase k ${aws:x}"),
        ("StringEqualsIgnoreCase k ${aws:x}", "StringEqualsIgnoreCase k ${$}{aws:x}"),
        ("StringEqualsIgnoreCase k a", "StringLike k a"),
        ("ArnLike k a:b:c:d:e:f", "StringLike k *"),
        ("StringLike k a*", "StringEquals k a*"),
        ("StringLike k ${aws:x}", "StringEquals k ${aws:x}"),
        ("ArnLike k arn:aws:iam::1:role/a", "ArnLike k role"),
        ("ArnLike k role", "ArnLike k arn:aws:iam::1:role/a"),
        ("IpAddress k 10.0.0.1", "IpAddress k here"),
        ("NumericLessThan k 5", "NumericLessThan k ten"),
        ("NoSuchOperator k a", "NoSuchOperator k a b"),
        ("StringEquals k a", "NoSuchOperator k a"),
    ],
)
def test_other_conditions_are_not_proved_to_imply_each_other(one: str, other: str) -> None:
    assert not implies(condition_set(one), condition_set(other))


def test_every_part_of_a_condition_set_must_be_implied() -> None:
    assert implies(condition_set("Bool a true", "Bool b true"), condition_set("Bool b true"))
    assert not implies(condition_set("Bool b true"), condition_set("Bool a true", "Bool b true"))
    assert implies(condition_set("Bool b true"), ConditionSet())
    assert ConditionSet().empty
    for part in (
        condition_set("Bool b true"),
        ConditionSet(unreadable="{}"),
        ConditionSet(matching=("a",)),
        ConditionSet(not_matching=("a",)),
    ):
        assert not part.empty
        assert not implies(ConditionSet(), part)
        assert implies(part, part)
        assert implies(conjunction(part, condition_set("Bool z true")), part)
        assert implies(conjunction(condition_set("Bool z true"), part), part)
    assert not implies(ConditionSet(unreadable="1"), ConditionSet(unreadable="2"))


def test_resource_entries_with_a_variable_are_compared_as_patterns() -> None:
    assert implies(
        ConditionSet(matching=("b/${aws:x}/*",)), ConditionSet(matching=("b/${aws:x}*",))
    )
    assert not implies(
        ConditionSet(matching=("b/${aws:x}*",)), ConditionSet(matching=("b/${aws:x}/*",))
    )
    assert not implies(
        ConditionSet(matching=("b/${aws:x}",)), ConditionSet(matching=("b/${aws:y}",))
    )
    assert implies(
        ConditionSet(not_matching=("b/${aws:x}*",)), ConditionSet(not_matching=("b/${aws:x}/*",))
    )
    assert not implies(
        ConditionSet(not_matching=("b/${aws:x}/*",)), ConditionSet(not_matching=("b/${aws:x}*",))
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("StringEquals k a", "StringEquals k b c"),
        ("StringEquals k a", "StringLike k b*"),
        ("StringLike k a*", "StringLike k b*"),
        ("StringEquals k a", "StringEqualsIfExists k b"),
        ("StringEquals k a", "StringNotEquals k a b"),
        ("StringEquals k a", "StringNotLike k a*"),
        ("Bool k true", "Bool k False"),
        ("Bool k true", "Bool k no"),
        ("ArnLike k arn:aws:iam::1:role/a", "ArnNotLike k arn:aws:iam::1:role/*"),
    ],
)
def test_contradictory_conditions_are_mutually_exclusive(one: str, other: str) -> None:
    assert mutually_exclusive(condition_set(one), condition_set(other))
    assert mutually_exclusive(condition_set(other), condition_set(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("StringEquals k a", "StringEquals k a b"),
        ("StringEquals k a", "StringEquals l b"),
        ("StringLike k a*", "StringLike k *b"),
        ("StringEqualsIfExists k a", "StringEqualsIfExists k b"),
        ("StringEqualsIfExists k a", "StringNotEquals k a"),
        ("StringEquals k a b", "StringNotEquals k a"),
        ("ForAnyValue:StringEquals k a", "ForAnyValue:StringEquals k b"),
        ("StringEquals k a", "ForAnyValue:StringEquals k b"),
        ("StringEquals k ${aws:x}", "StringEquals k b"),
        ("Bool k true", "Bool k true"),
        ("Bool k no", "Bool k false"),
        ("Bool k true", "Bool k ${aws:x}"),
        ("ArnLike k arn:aws:iam::1:role/a", "ArnNotLike k arn arn:aws:iam::1:role/*"),
        ("ArnLike k arn arn:aws:iam::1:role/a", "ArnNotLike k arn:aws:iam::1:role/*"),
        ("Bool k true", "Null k true"),
        ("Null k false", "Null k true"),
        ("StringEqualsIgnoreCase k a", "StringEquals k A"),
        ("NumericEquals k 1", "NumericEquals k 2"),
        ("NoSuchOperator k a", "StringEquals k a"),
    ],
)
def test_compatible_conditions_are_not_mutually_exclusive(one: str, other: str) -> None:
    assert not mutually_exclusive(condition_set(one), condition_set(other))
    assert not mutually_exclusive(condition_set(other), condition_set(one))


def test_alternative_values_are_separate_cases() -> None:
    split = cases(condition_set("StringEquals k a b", "Bool l true false", "StringNotEquals m x y"))
    assert len(split) == 4
    assert {clause.conditions[0].values + clause.conditions[1].values for clause in split} == {
        (first, right) for first in ("true", "false") for right in ("a", "b")
    }
    assert all(clause.conditions[2].values == ("x", "y") for clause in split)
    assert cases(ConditionSet()) == (ConditionSet(),)
    assert len(cases(condition_set("ForAllValues:StringEquals k a b"))) == 1
    assert len(cases(condition_set("ForAnyValue:StringEquals k a b"))) == 2
    assert len(cases(condition_set("NoSuchOperator k a b"))) == 1
    assert len(cases(condition_set(f"ArnLike k {ARN} {ARN}x"))) == 2
    assert len(cases(condition_set(f"ArnLike k {ARN} arn"))) == 1


def test_too_many_cases_remain_one_case() -> None:
    values = " ".join(map(str, range(8)))
    assert len(cases(condition_set(f"StringEquals k {values}", f"StringEquals l {values}"))) == 64
    many = condition_set(f"StringEquals k {values}", f"StringEquals l {values} x")
    assert cases(many) == (many,)


def test_conditions_of_older_policies_are_spelled_as_in_version_2012() -> None:
    old = condition_set_of([condition("StringLike K ${aws:x}*")], False, "")
    assert old.conditions == (condition("StringLike k ${$}{aws:x}*"),)


OPERATORS = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericLessThan",
    "NumericGreaterThanEquals",
    "NumericNotEquals",
    "DateLessThan",
    "DateNotEquals",
    "IpAddress",
    "NotIpAddress",
    "Bool",
    "ArnLike",
    "ArnNotEquals",
    "BinaryEquals",
    "Null",
]
VALUES = {
    "S": ["a", "A", "a*", "*", "?", "${*}", "${aws:x}"],
    "N": ["1", "2", "2.0", "1e0", "ten"],
    "D": ["2026-11-24", "2026-11-24T00:00:00.0001", "1795478401", "soon"],
    "I": ["10.0.0.0/8", "10.0.0.1", "10.000.0.1", "here"],
    "B": ["true", "false", "no", "${aws:x}"],
    "A": [ARN, ARN + "*", "arn:*:*:*:*:*", "${aws:x}", "arn", "*"],
}
ACTUALS = {
    "S": ["a", "A", "ab", "*", ""],
    "N": ["1", "2", "3", "x", ""],
    "D": ["2026-11-24", "1795478400.0009", "+1795478402", "x", "2026"],
    "I": ["10.0.0.1", "10.0.0.2", "192.0.2.1", "x"],
    "B": ["true", "True", "false", "x", ""],
    "A": [ARN, ARN + "b", "arn:aws:sns:eu-west-1:1:a", "x"],
}


def kind_of(base: str) -> str:
    """Returns the key of VALUES and ACTUALS for an operator."""
    return {"Null": "B", "NotIpAddress": "I"}.get(base, base[0])


@st.composite
def any_condition(draw: st.DrawFn, kind: str, key: str = "k") -> Condition:
    """Draws a condition on one key."""
    base = draw(st.sampled_from([operator for operator in OPERATORS if kind_of(operator) == kind]))
    values = draw(st.lists(st.sampled_from(VALUES[kind]), min_size=1, max_size=2))
    if base == "Null":
        return Condition(base, key, tuple(values))
    quantifier = draw(st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]))
    return Condition(
        quantifier + base + draw(st.sampled_from(["", "IfExists"])), key, tuple(values)
    )


@examples(4000)
@given(st.data(), st.sampled_from(list(VALUES)), st.sampled_from(["k", "aws:tagkeys"]))
def test_implication_and_exclusion_hold_for_every_request(
    data: st.DataObject, kind: str, key: str
) -> None:
    condition, other_condition = (data.draw(any_condition(kind, key)) for _ in range(2))
    actual = data.draw(st.lists(st.sampled_from(ACTUALS[kind]), max_size=2))
    context = {key: tuple(actual), "aws:x": (data.draw(st.sampled_from(["a", "*", "true", ARN])),)}
    for deny, other_deny in product((False, True), repeat=2):
        truth = condition_holds(condition, context, True, True, deny)
        other_truth = condition_holds(other_condition, context, True, True, other_deny)
        if truth is False:
            continue
        if condition_implies(condition, other_condition) and deny <= other_deny:
            assert other_truth in {True, truth}
        if truth and mutually_exclusive(
            ConditionSet((condition,)), ConditionSet((other_condition,))
        ):
            assert other_truth is not True
        split = cases(ConditionSet((condition,)))
        assert any(
            condition_holds(clause.conditions[0], context, True, True, deny) is not False
            for clause in split
        )
