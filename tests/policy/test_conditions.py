"""Evaluation of conditions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.models import Condition
from leastpriv.policy.conditions import (
    Operator,
    Truth,
    all_of,
    any_of,
    arn_parts,
    condition_holds,
    parse_operator,
)

NEGATIONS = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "ArnEquals": "ArnNotEquals",
    "ArnLike": "ArnNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
}
ORDERS = ["LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]
OTHERS = [
    "Bool",
    "BinaryEquals",
    *(f"{kind}{order}" for kind in ("Numeric", "Date") for order in ORDERS),
]
ARN = "arn:aws:sns:eu-west-1:1:topic"


def truth(
    operator: str,
    values: tuple[str, ...],
    actual: str | tuple[str, ...] | None,
    *,
    complete: bool = True,
    variables: bool = True,
    deny: bool = False,
    others: Mapping[str, tuple[str, ...]] | None = None,
) -> Truth:
    """Evaluates one condition on the key aws:Key; None for `actual` omits the key from the
    request.
    """
    given_values = (actual,) if isinstance(actual, str) else actual
    context = {**(others or {}), **({} if given_values is None else {"aws:key": given_values})}
    return condition_holds(
        Condition(operator, "aws:Key", values), context, complete, variables, deny
    )


@pytest.mark.parametrize(
    ("operator", "value", "actual", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a*", "a*", True),
        ("StringEquals", "${*}", "*", True),
        ("StringEquals", "", "", True),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringEqualsIgnoreCase", "a", "b", False),
        ("StringEqualsIgnoreCase", "${*}", "*", True),
        ("StringLike", "a*c?", "abbcd", True),
        ("StringLike", "a*", "Ab", False),
        ("StringLike", "a${*}", "ab", False),
        ("ArnLike", "arn:aws:sns:*:1:t*", ARN, True),
        ("ArnEquals", "arn:aws:sns:*:1:t*", ARN, True),
        ("ArnLike", "arn:aws:sns:*:topic", ARN, None),
        ("ArnLike", "arn:*:*:*:2:topic", ARN, False),
        ("ArnLike", "arn:*:*:*:*:*", "arn:aws:sns:eu-west-1:1:topic:x", True),
        ("ArnLike", "arn:aws:*:1:topic:x", "arn:aws:sns:eu-west-1:1:topic:x", False),
        ("Bool", "true", "True", True),
        ("Bool", "TRUE", "true", True),
        ("Bool", "true", "false", False),
        ("Bool", "yes", "no", True),
        ("Bool", "", "true", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericEquals", "10", "9", False),
        ("NumericLessThan", "10", "9.99", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericLessThanEquals", "10", "11", False),
        ("NumericGreaterThan", "10", "100", True),
        ("NumericGreaterThan", "10", "10", False),
        ("NumericGreaterThanEquals", "-10", "-10", True),
        ("NumericGreaterThanEquals", "-10", "-11", False),
        ("NumericEquals", "ten", "10", False),
        ("NumericEquals", "1e0", "1.", True),
        ("DateEquals", "2026-11-24T00:00:00Z", "1795478400", True),
        ("DateEquals", "2026-11-24T00:00:00", "+1795478400", True),
        ("DateEquals", "2026-11-24T00:00:00.0019Z", "2026-11-24T00:00:00.001Z", True),
        ("DateEquals", "2026-11-24", "2026", None),
        ("DateLessThan", "2026-11-24", "2026-11-23T23:59:59Z", True),
        ("DateLessThan", "2026-11-24", "2026-11-24T00:00:00Z", False),
        ("DateLessThanEquals", "2026-11-24", "2026-11-24T00:00:00Z", True),
        ("DateGreaterThan", "2026-11-24", "2026-11-24T00:00:00.1Z", True),
        ("DateGreaterThan", "2026-11-24", "2026-11-24T00:00:00Z", False),
        ("DateGreaterThanEquals", "2026-11-24", "2026-11-24T00:00:00Z", True),
        ("DateEquals", "soon", "2026-11-24T00:00:00Z", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
        ("IpAddress", "203.0.113.7", "203.0.113.7", True),
        ("IpAddress", "203.0.113.7", "203.0.113.8", False),
        ("IpAddress", "0.0.0.0/0", "203.0.113.7", True),
        ("IpAddress", "2001:DB8::/32", "2001:db8::1", True),
        ("IpAddress", "0.0.0.0/0", "2001:db8::1", False),
        ("IpAddress", "192.0.2.0/24", "192.000.2.1", True),
        ("IpAddress", "here", "203.0.113.7", False),
        ("BinaryEquals", "QUJD", "QUJD", True),
        ("BinaryEquals", "QUJD", "QUJE", False),
        ("BinaryEquals", "YQ==", "YR==", False),
    ],
)
def test_each_operator_compares_as_aws_says(
    operator: str, value: str, actual: str, expected: Truth
) -> None:
    assert truth(operator, (value,), actual) is expected
    assert truth(operator, (value,), actual, complete=False) is expected
    assert truth(operator + "IfExists", (value,), actual) is expected
    assert truth("ForAnyValue:" + operator, (value,), (actual, actual)) is expected
    assert truth("ForAllValues:" + operator, (value,), (actual, actual)) is expected
    if operator in NEGATIONS:
        assert truth(NEGATIONS[operator], (value,), actual) is (
            None if expected is None else not expected
        )


@pytest.mark.parametrize(
    ("operator", "value", "malformed", "negated"),
    [
        ("NumericEquals", "10", "ten", True),
        ("NumericEquals", "10", "", True),
        ("DateEquals", "2026-11-24", "soon", True),
        ("IpAddress", "203.0.113.0/24", "here", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.0/25", False),
        ("ArnLike", "arn:*:*:*:*:*", "no arn", False),
        ("ArnEquals", "arn:*:*:*:*:*", "role:aws:iam::1:role/ci", False),
    ],
)
def test_a_malformed_value_of_a_request_fits_only_negated_operators_of_numbers_and_dates(
    operator: str, value: str, malformed: str, negated: bool
) -> None:
    for deny in (False, True):
        for suffix in ("", "IfExists"):
            assert truth(operator + suffix, (value,), malformed, deny=deny) is False
            assert truth(NEGATIONS[operator] + suffix, (value,), malformed, deny=deny) is negated
        assert truth("ForAnyValue:" + operator, (value,), malformed, deny=deny) is False
        assert (
            truth("ForAllValues:" + NEGATIONS[operator], (value,), malformed, deny=deny) is negated
        )


@pytest.mark.parametrize(
    "operator", ["NumericLessThan", "NumericGreaterThanEquals", "DateLessThan", "DateGreaterThan"]
)
def test_a_malformed_value_of_a_request_is_neither_less_nor_greater(operator: str) -> None:
    assert truth(operator, ("1795478400",), "soon") is False


@pytest.mark.parametrize(
    "operator", ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "ForAnyValue:ArnLike"]
)
def test_a_value_that_is_no_arn_ends_the_comparison_refuses_an_allow_and_applies_a_deny(
    operator: str,
) -> None:
    matches = "Not" not in operator
    for deny in (False, True):
        assert truth(operator, ("no arn",), ARN, deny=deny) is deny
        assert truth(operator, ("no arn", ARN), ARN, deny=deny) is deny
        assert truth(operator, (ARN, "no arn"), ARN, deny=deny) is matches
        assert truth(operator, (ARN + "x", "no arn"), ARN, deny=deny) is deny
        assert truth(operator, ("no arn",), "no arn", deny=deny) is False
        assert truth(operator, ("arn:aws:*",), ARN, deny=deny) is None


def test_a_variable_may_hold_what_is_no_arn() -> None:
    assert truth("ArnLike", ("${aws:PrincipalTag/arn}", ARN), ARN, complete=False) is None
    assert (
        truth("ArnLike", ("arn:aws:iam::1:${aws:PrincipalTag/name}", ARN), ARN, complete=False)
        is True
    )
    assert (
        truth("ArnLike", ("arn:aws:iam::1:${aws:PrincipalTag/name}", "no arn"), ARN, complete=False)
        is None
    )
    no_arn = {"aws:principaltag/arn": ("no arn",)}
    assert truth("ArnLike", ("${aws:PrincipalTag/arn}", ARN), ARN, others=no_arn) is False
    assert truth("ArnLike", ("${aws:PrincipalTag/arn}", ARN), ARN) is True


@pytest.mark.parametrize("operator", [*NEGATIONS, *NEGATIONS.values(), *OTHERS])
def test_an_absent_key_fails_positive_operators_passes_negated_ones_and_if_exists(
    operator: str,
) -> None:
    assert truth(operator, (ARN,), None) is (operator in NEGATIONS.values())
    assert truth(operator, (ARN,), ()) is (operator in NEGATIONS.values())
    assert truth(operator + "IfExists", (ARN,), None) is True
    assert truth("ForAllValues:" + operator, (ARN,), None) is True
    assert truth("ForAnyValue:" + operator, (ARN,), None) is False
    assert truth("ForAnyValue:" + operator + "IfExists", (ARN,), None) is True
    for prefix, suffix in (("", ""), ("", "IfExists"), ("ForAllValues:", ""), ("ForAnyValue:", "")):
        assert truth(prefix + operator + suffix, (ARN,), None, complete=False) is None


def test_a_key_without_values_is_absent_even_from_an_incomplete_context() -> None:
    assert truth("StringEquals", ("a",), (), complete=False) is False
    assert truth("Null", ("true",), (), complete=False) is True


@pytest.mark.parametrize("values", [("a",), ("a", "b")])
def test_quantifiers_require_all_or_any_of_the_requests_values(values: tuple[str, ...]) -> None:
    assert truth("ForAllValues:StringEquals", values, ("a", "a")) is True
    assert truth("ForAllValues:StringEquals", values, ("a", "c")) is False
    assert truth("ForAnyValue:StringEquals", values, ("c", "a")) is True
    assert truth("ForAnyValue:StringEquals", values, ("c", "d")) is False
    assert truth("ForAllValues:StringNotEquals", values, ("c", "d")) is True
    assert truth("ForAllValues:StringNotEquals", values, ("c", "a")) is False
    assert truth("ForAnyValue:StringNotEquals", values, ("c", "a")) is True
    assert truth("ForAnyValue:StringNotEquals", values, ("a", "a")) is False


def test_an_empty_value_is_a_value() -> None:
    assert truth("ForAllValues:StringEquals", ("a",), "") is False
    assert truth("ForAllValues:StringEquals", ("",), "") is True
    assert truth("ForAnyValue:StringNotEquals", ("a",), "") is True
    assert truth("Null", ("true",), "") is False
    assert truth("Null", ("false",), "") is True
    assert truth("ForAllValues:StringEquals", ("a",), ("", "a")) is False
    assert truth("StringNotEquals", ("a",), "") is True


def test_null_requires_absence() -> None:
    assert truth("Null", ("true",), None) is True
    assert truth("Null", ("false",), None) is False
    assert truth("Null", ("TRUE", "false"), None) is True
    assert truth("Null", ("true",), "x") is False
    assert truth("Null", ("false",), "x") is True
    assert truth("Null", ("false",), "x", complete=False) is True
    assert truth("Null", ("false",), ("x", "y")) is True
    assert truth("Null", ("true",), None, complete=False) is None
    assert truth("Null", ("yes",), "x") is True
    assert truth("Null", ("yes",), None) is False
    assert truth("Null", ("${aws:username}",), "x", complete=False) is None
    assert truth("Null", ("${aws:username}",), "x") is False


@pytest.mark.parametrize(
    "operator",
    [
        "ForSomeValues:StringLike",
        ":StringLike",
        "ForAllValues:Null",
        "ForAnyValue:ForAllValues:StringLike",
        "BinaryNotEquals",
        "NullIfExists",
        "X",
        "",
        "IfExists",
    ],
)
def test_other_operators_are_unknown(operator: str) -> None:
    assert parse_operator(operator) is None
    assert truth(operator, ("a",), "a") is None
    assert truth(operator, ("a",), None) is None


def test_operator_names_are_case_insensitive() -> None:
    assert parse_operator("forallvalues:stringNOTequalsIFEXISTS") == Operator(
        "StringEquals", True, "ForAllValues", True
    )
    assert parse_operator("bool") == Operator("Bool", False, "", False)
    assert parse_operator("NULL") == Operator("Null", False, "", False)
    assert parse_operator("ArnNotEquals") == Operator("ArnLike", True, "", False)


@pytest.mark.parametrize(
    "operator", ["StringEquals", "StringLike", "StringNotEquals", "ArnLike", "Bool"]
)
def test_a_policy_variable_of_an_incomplete_context_is_unknown_unless_another_value_decides(
    operator: str,
) -> None:
    value = {"ArnLike": ARN, "Bool": "true"}.get(operator, "me")
    unknown = "arn:aws:iam::1:user/${aws:username}" if operator == "ArnLike" else "${aws:username}"
    assert truth(operator, (unknown,), value, complete=False) is None
    decided = operator != "StringNotEquals"
    assert truth(operator, (unknown, value), value, complete=False) is decided


def test_a_policy_variable_takes_the_value_of_its_key() -> None:
    me = {"aws:username": ("me",)}
    assert truth("StringEquals", ("${aws:username}",), "me", others=me) is True
    assert truth("StringEquals", ("${aws:username}",), "you", others=me) is False
    assert truth("StringNotEquals", ("${aws:username}",), "you", others=me, complete=False) is True
    assert truth("StringLike", ("${aws:username}*",), "me-1", others=me) is True
    assert truth("StringLike", ("${aws:username}",), "me", others={"aws:username": ("*",)}) is False
    assert (
        truth(
            "ArnLike", ("arn:aws:iam::1:user/${aws:username}",), "arn:aws:iam::1:user/me", others=me
        )
        is True
    )


def test_a_policy_variable_without_value_matches_no_text() -> None:
    assert truth("StringEquals", ("${aws:username}",), "me") is False
    assert truth("StringLike", ("*${aws:username}",), "me") is False
    assert truth("StringNotEquals", ("${aws:username}",), "me") is True
    assert truth("StringEquals", ("${aws:username, 'me'}",), "me") is True


def test_without_version_2012_a_variable_is_plain_text() -> None:
    assert truth("StringEquals", ("${aws:username}",), "me", variables=False) is False
    assert truth("StringEquals", ("${*}",), "${*}", variables=False) is True
    assert truth("StringLike", ("${*}",), "${ab}", variables=False) is True


def test_several_values_in_the_policy_are_alternatives() -> None:
    assert truth("StringEquals", ("a", "b"), "b") is True
    assert truth("StringNotEquals", ("a", "b"), "b") is False
    assert truth("StringEquals", (), "b") is False


@pytest.mark.parametrize("operator", [*NEGATIONS, *NEGATIONS.values(), *OTHERS])
def test_a_multivalued_key_matches_no_operator_without_a_quantifier(operator: str) -> None:
    for suffix in ("", "IfExists"):
        assert truth(operator + suffix, (ARN,), (ARN, ARN)) is False
        for values in ((ARN,), ("x",), ("",)):
            condition = Condition(operator + suffix, "aws:TagKeys", (ARN,))
            assert condition_holds(condition, {"aws:tagkeys": values}, True, True) is False


def test_null_and_absence_decide_about_a_multivalued_key() -> None:
    assert (
        condition_holds(
            Condition("Null", "aws:TagKeys", ("false",)), {"aws:tagkeys": ("a",)}, True, True
        )
        is True
    )
    assert (
        condition_holds(Condition("StringNotEquals", "aws:TagKeys", ("a",)), {}, True, True) is True
    )
    assert (
        condition_holds(Condition("StringEqualsIfExists", "aws:TagKeys", ("a",)), {}, True, True)
        is True
    )


def test_an_arn_has_six_parts_of_which_the_last_may_have_colons() -> None:
    assert arn_parts("arn:b:c:d:e:f:g") == ["arn", "b", "c", "d", "e", "f:g"]
    assert arn_parts("*:b:c:d:e:f") == ["*", "b", "c", "d", "e", "f"]
    assert arn_parts("arn:b:c:d:e") is None
    assert arn_parts("a:b:c:d:e:f") is None


@given(st.lists(st.sampled_from([True, False, None]), max_size=4))
def test_all_of_and_any_of_follow_kleene_logic(truths: list[Truth]) -> None:
    """The answer is certain exactly if it is the same for all values of the unknown ones."""

    def completions(rest: list[Truth]) -> list[list[bool]]:
        if not rest:
            return [[]]
        heads = [True, False] if rest[0] is None else [rest[0]]
        return [[head, *tail] for head in heads for tail in completions(rest[1:])]

    for combine, plain in ((all_of, all), (any_of, any)):
        possible = {plain(completion) for completion in completions(truths)}
        assert combine(truths) is (possible.pop() if len(possible) == 1 else None)
