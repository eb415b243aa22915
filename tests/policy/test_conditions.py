"""Whether a condition holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.model import Condition
from leastpriv.policy.conditions import Truth, all_of, any_of, holds

POSITIVE = ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"]
NEGATED = ["StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike", "ArnNotEquals", "ArnNotLike"]
ARN = "arn:aws:sns:eu-west-1:1:topic"


def truth(
    operator: str,
    values: tuple[str, ...],
    actual: str | None,
    *,
    complete: bool = True,
    variables: bool = True,
) -> Truth:
    """Judge one condition on the key aws:Key; None for `actual` leaves the key out of the request."""
    context = {} if actual is None else {"aws:key": (actual,)}
    return holds(Condition(operator, "aws:Key", values), context, complete, variables)


@pytest.mark.parametrize(
    ("operator", "value", "actual", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "${*}", "*", True),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringEqualsIgnoreCase", "a", "b", False),
        ("StringLike", "a*c?", "abbcd", True),
        ("StringLike", "a*", "Ab", False),
        ("StringLike", "a${*}", "ab", False),
        ("ArnLike", "arn:aws:sns:*:1:t*", ARN, True),
        ("ArnEquals", "arn:aws:sns:*:1:t*", ARN, True),
        ("ArnLike", "arn:aws:sns:*:topic", ARN, None),
        ("ArnLike", "arn:*:*:*:2:topic", ARN, False),
        ("ArnLike", "arn:aws:*:1:topic:x", "arn:aws:sns:eu-west-1:1:topic:x", False),
        ("ArnLike", "arn:aws:s3:::*", "no arn", False),
        ("Bool", "true", "True", True),
        ("Bool", "true", "false", False),
        ("Bool", "yes", "yes", False),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
    ],
)
def test_each_operator_compares_as_aws_says(operator: str, value: str, actual: str, expected: Truth) -> None:
    assert truth(operator, (value,), actual) is expected
    assert truth(operator, (value,), actual, complete=False) is expected
    if operator != "Null":
        assert truth(operator + "IfExists", (value,), actual) is expected
    if operator in POSITIVE:
        negated = operator.replace("String", "StringNot").replace("Arn", "ArnNot")
        assert truth(negated, (value,), actual) is (None if expected is None else not expected)


@pytest.mark.parametrize("operator", [*POSITIVE, *NEGATED, "Bool"])
def test_an_absent_key_fails_positive_operators_passes_negated_ones_and_if_exists(operator: str) -> None:
    assert truth(operator, (ARN,), None) is (operator in NEGATED)
    assert truth(operator + "IfExists", (ARN,), None) is True
    assert truth(operator, (ARN,), None, complete=False) is None
    assert truth(operator + "IfExists", (ARN,), None, complete=False) is None


def test_null_asks_for_absence() -> None:
    assert truth("Null", ("true",), None) is True
    assert truth("Null", ("false",), None) is False
    assert truth("Null", ("true",), None, complete=False) is None


@pytest.mark.parametrize(
    "operator",
    [
        "ForAllValues:StringLike",
        "ForAnyValue:StringEquals",
        "IpAddress",
        "DateLessThan",
        "NumericEquals",
        "NullIfExists",
        "X",
    ],
)
def test_other_operators_are_unknown(operator: str) -> None:
    assert truth(operator, ("a",), "a") is None
    assert truth(operator, ("a",), None) is None


@pytest.mark.parametrize("operator", ["StringEquals", "StringLike", "StringNotEquals"])
def test_a_policy_variable_is_unknown_unless_another_value_decides(operator: str) -> None:
    assert truth(operator, ("${aws:username}",), "me") is None
    assert truth(operator, ("${aws:username}", "me"), "me") is (operator != "StringNotEquals")


def test_without_the_newer_version_a_variable_is_plain_text() -> None:
    assert truth("StringEquals", ("${aws:username}",), "me", variables=False) is False
    assert truth("StringEquals", ("${*}",), "${*}", variables=False) is True
    assert truth("StringLike", ("${*}",), "${ab}", variables=False) is True


def test_several_values_in_the_policy_are_alternatives() -> None:
    assert truth("StringEquals", ("a", "b"), "b") is True
    assert truth("StringNotEquals", ("a", "b"), "b") is False
    assert truth("StringEquals", (), "b") is False


def test_a_key_with_several_values_needs_a_set_operator() -> None:
    condition = Condition("StringEquals", "aws:Key", ("a",))
    assert holds(condition, {"aws:key": ("a", "b")}, True, True) is None


@given(st.lists(st.sampled_from([True, False, None]), max_size=4))
def test_all_and_any_are_kleenes_and_or(truths: list[Truth]) -> None:
    """The answer is certain exactly if it is the same whatever the unknown ones turn out to be."""

    def completions(rest: list[Truth]) -> list[list[bool]]:
        if not rest:
            return [[]]
        heads = [True, False] if rest[0] is None else [rest[0]]
        return [[head, *tail] for head in heads for tail in completions(rest[1:])]

    for judge, plain in ((all_of, all), (any_of, any)):
        possible = {plain(completion) for completion in completions(truths)}
        assert judge(truths) is (possible.pop() if len(possible) == 1 else None)
