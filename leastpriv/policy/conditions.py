"""Evaluates conditions of a request: True, False, or None if the outcome is unknown.

Sources, all in https://docs.aws.amazon.com/IAM/latest/UserGuide/ and read 2026-11-24: for operators
reference_policies_elements_condition_operators.html, for several values
reference_policies_condition-single-vs-multi-valued-context-keys.html, for policy variables
reference_policies_variables.html.

If the request lacks the key, a positive operator is False, a negated one True and one with
`IfExists` True; `ForAllValues` is True and `ForAnyValue` False. An empty value is a value. A
multivalued key that is present matches no operator without `ForAllValues` or `ForAnyValue`. A value
of the policy that is not in the operator's format equals no value of a request; for ARNs see
`_fits_values`. None means an unknown operator or variable.

Variable names are case-insensitive; `${key, 'text'}` has a default; a variable without a value is
null, which equals and matches no text; a multivalued key cannot be a variable, also with a default.

The pages above do not say how AWS reads malformed values, empty values and multivalued keys. AWS's
answers to `iam:TagUser` calls do (captured 2026-08 and 2026-09); `tests/cases_evaluator` has a case
for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from msgspec import Struct

from leastpriv.models import Condition
from leastpriv.permissions.catalog import is_multivalued_key
from leastpriv.permissions.patterns import has_variable, resource_matches, unescape

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,6})?", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?",
    re.ASCII,
)
"""https://www.w3.org/TR/NOTE-datetime, without the bare year; a time without a zone is in UTC."""
_EPOCH = re.compile(r"[+-]?[0-9]{5,16}(?:\.[0-9]+)?", re.ASCII)
_YEAR_OR_EPOCH = re.compile(r"[+-]?[0-9]{1,4}", re.ASCII)
"""A year, or seconds since 1970: no page says which."""
_MILLISECOND = Decimal("0.001")
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def parse_number(text: str) -> Decimal | None:
    """Parses an integer or decimal, also with an exponent; None if the text is neither."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=4096)
def parse_date(text: str) -> Decimal | None:
    """Parses a date, a time or seconds since 1970 into seconds, truncated to milliseconds; None for
    other text.
    """
    if _EPOCH.fullmatch(text):
        return Decimal(text).quantize(_MILLISECOND, ROUND_FLOOR)
    match = _DATE.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        time = datetime(
            year=int(year),
            month=int(month),
            day=int(day or 1),
            hour=int(hour or 0),
            minute=int(minute or 0),
            second=int(second or 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    seconds = (time - _EPOCH_START) // timedelta(seconds=1) - _offset(zone or "Z")
    return Decimal(seconds) + Decimal(f"0.{fraction[:3]}" if fraction else 0)


def _offset(zone: str) -> int:
    """Returns the offset from UTC of a zone (`+01:00`) in seconds."""
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return seconds if zone[0] == "+" else -seconds


_LEADING_ZEROS = re.compile(r"(?<![0-9])0{1,2}(?=[0-9])")
_PREFIX = re.compile(r"/\+?0*([0-9]{1,3})\Z", re.ASCII)
_ODD_COLONS = (
    (re.compile(r"(?<!:):::(?!:)"), "::"),
    (re.compile(r"(?<!:):\Z"), ""),
    (re.compile(r"\A:(?!:)"), "0:"),
)
"""Colons of an IPv6 address that AWS reads in another way than RFC 4291 -> their usual form."""


@lru_cache(maxsize=4096)
def parse_network(text: str) -> IPv4Network | IPv6Network | None:
    """Parses an address or a CIDR range of a policy, an address as a range of one; None if AWS
    matches it never.

    Bits after the prefix count in IPv6 only: a range with such a bit matches no address.
    """
    text = _PREFIX.sub(r"/\1", text)
    try:
        if ":" in text:
            return None if "." in text else IPv6Network(text)
        return IPv4Network(_LEADING_ZEROS.sub("", text), strict=False)
    except ValueError:
        return None


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parses an address of a request; an IPv4 address in an IPv6 one is the IPv4 address."""
    try:
        if ":" not in text:
            return IPv4Address(_LEADING_ZEROS.sub("", text))
        for odd, usual in _ODD_COLONS:
            text = odd.sub(usual, text)
        address = IPv6Address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or (None if "." in text or "%" in text else address)


Context = Mapping[str, tuple[str, ...]]
"""Condition keys in lower case, with their values."""

_TOKEN = re.compile(r"\$\{[*?$]\}|\$\{([^},]*)(?:,\s*'([^'}]*)'\s*)?\}|\$\{[^}]*\}?|\$")
"""An escape, a variable with key and default, a malformed variable, or a lone dollar sign."""
_SPECIAL = re.compile(r"[*?$]")


_VARIABLE = re.compile(r"\$\{(?![*?$]\})[^}]*\}?")


def without_variables(pattern: str) -> str:
    """Replaces policy variables in a pattern of version 2012-10-17 by `*`."""
    return _VARIABLE.sub("*", pattern)


def in_2012_spelling(text: str, variables: bool) -> str:
    """Spells a text as in version 2012-10-17; without `variables`, as in other versions, `${` is
    plain text in it.
    """
    return text if variables else text.replace("${", "${$}{")


def resolve_variables(text: str, context: Context, complete: bool) -> str | None:
    """Replaces policy variables by the request's values, in which wildcards become plain text.

    Returns None if a variable has no value or a multivalued key: such a text matches nothing. A
    variable that remains is unknown: its key is absent from an incomplete context.
    """
    if not has_variable(text):
        return text
    null = False

    def value_of(match: re.Match[str]) -> str:
        nonlocal null
        key = match[1]
        if key is None:
            return "${$}" if match[0] == "$" else match[0]
        name = key.strip().lower()
        values = context.get(name, ())
        if len(values) > 1 or is_multivalued_key(name):
            null = True
            return ""
        # A name without a colon is a placeholder of a template, not a condition key.
        if name not in context and not (complete and ":" in name):
            return match[0]
        value = values[0] if values else match[2] or None
        null = null or value is None
        return _SPECIAL.sub(r"${\g<0>}", value or "")

    resolved = _TOKEN.sub(value_of, text)
    return None if null else resolved


Truth = bool | None
Comparison = Callable[[str, str], Truth]
"""(value of the policy, spelled as in version 2012-10-17, without variables; value of the request)
"""
Quantifier = Literal["", "ForAllValues", "ForAnyValue"]

_ARN_PARTS = 6
_IF_EXISTS = "ifexists"


class Operator(Struct, frozen=True):
    """A parsed condition operator."""

    base: str
    """The positive operator in `COMPARISONS`, or `Null`; `ArnEquals` becomes `ArnLike`, which AWS
    says behaves identically."""
    negated: bool
    quantifier: Quantifier
    if_exists: bool


def all_of(truths: Iterable[Truth]) -> Truth:
    """Returns False if any is False, else None if any is unknown, else True."""
    distinct_truths = set(truths)
    if False in distinct_truths:
        return False
    return None if None in distinct_truths else True


def any_of(truths: Iterable[Truth]) -> Truth:
    """Returns True if any is True, else None if any is unknown, else False."""
    distinct_truths = set(truths)
    if True in distinct_truths:
        return True
    return None if None in distinct_truths else False


@lru_cache(maxsize=1024)
def parse_operator(name: str) -> Operator | None:
    """Parses the name of an operator, case-insensitive as in IAM; None for an unknown name."""
    prefix, colon, operator_name = name.lower().rpartition(":")
    quantifier = _QUANTIFIERS.get(prefix + colon)
    stem = operator_name.removesuffix(_IF_EXISTS)
    if_exists = stem != operator_name
    if stem == "null" and not colon and not if_exists:
        return Operator("Null", False, "", False)
    positive = _POSITIVE_OPERATORS.get(stem)
    if quantifier is None or positive is None:
        return None
    return Operator(positive, stem in _NEGATED_OPERATORS, quantifier, if_exists)


def condition_holds(
    condition: Condition, context: Context, complete: bool, variables: bool, deny: bool = False
) -> Truth:
    """Returns whether a condition holds for a request.

    Args:
        condition: operator, key and values of the policy.
        context: keys of the request in lower case; a key without values counts as absent.
        complete: whether a key that `context` lacks is absent from the request, not unknown.
        variables: whether the policy has version 2012-10-17.
        deny: whether the statement is a Deny: a value that is no ARN makes a Deny apply, and an
            Allow not.
    """
    operator = parse_operator(condition.operator)
    if operator is None:
        return None
    key = condition.key.lower()
    values = context.get(key, ())
    if not values and not (complete or key in context):
        return None
    policy_values = [
        resolve_variables(in_2012_spelling(value, variables), context, complete)
        for value in condition.values
    ]
    if operator.base == "Null":
        return any_of(_fits_absence(value, is_absent=not values) for value in policy_values)
    if not values:
        return _holds_without_values(operator)
    is_multivalued = len(values) > 1 or is_multivalued_key(key)
    if is_multivalued and not operator.quantifier:
        return False
    truths = (_fits_values(operator, policy_values, actual, deny) for actual in values)
    return any_of(truths) if operator.quantifier == "ForAnyValue" else all_of(truths)


def _holds_without_values(operator: Operator) -> bool:
    """Returns whether a condition holds for a request without its key."""
    if operator.if_exists or operator.quantifier == "ForAllValues":
        return True
    return operator.negated and not operator.quantifier


def is_true(value: str) -> bool:
    """Reads a value of `Bool` and `Null`: each text but "true" is false."""
    return value.lower() == "true"


def _fits_absence(value: str | None, *, is_absent: bool) -> Truth:
    """Whether the absence of a key fits a value of `Null`; None where a variable decides."""
    if value is None:
        return False
    if has_variable(value):
        return None
    return is_true(value) == is_absent


def _fits_values(
    operator: Operator, policy_values: Iterable[str | None], actual: str, deny: bool
) -> Truth:
    """Compares one value of a request with the values of a policy in their order."""
    if _is_malformed(operator, actual):
        if operator.base.startswith("Date") and _YEAR_OR_EPOCH.fullmatch(actual):
            return None
        return operator.negated and operator.base not in _NEVER_MATCHED_IF_MALFORMED
    is_unknown = False
    for value in policy_values:
        if value is None:
            continue
        if operator.base == "ArnLike" and not is_arn_pattern(value):
            # AWS compares no further value. A `*` or a variable may stand for the missing parts.
            is_unknown = is_unknown or "*" in value or has_variable(value)
            return None if is_unknown else deny
        truth = None if has_variable(value) else COMPARISONS[operator.base](value, actual)
        if truth:
            return not operator.negated
        is_unknown = is_unknown or truth is None
    return None if is_unknown else operator.negated


def _is_malformed(operator: Operator, actual: str) -> bool:
    """Returns whether a value of a request has not the form that an operator compares."""
    read = _FORMATS.get(operator.base)
    return read is not None and read(actual) is None


_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
"""Characters of two units of UTF-16, whose case counts always."""


def _string_equals(value: str, actual: str) -> bool:
    return unescape(value) == actual


def _string_equals_ignore_case(value: str, actual: str) -> bool:
    value = unescape(value)
    return value.lower() == actual.lower() and _ASTRAL.findall(value) == _ASTRAL.findall(actual)


def _string_like(value: str, actual: str) -> bool:
    return resource_matches(value, actual)


def _arn_like(value: str, actual: str) -> bool:
    """Compares the six parts of two ARNs one by one."""
    parts = arn_parts(value)
    actual_parts = arn_parts(actual)
    if not parts or not actual_parts:
        return False
    return all(map(resource_matches, parts, actual_parts))


def arn_parts(text: str) -> list[str] | None:
    """Splits an ARN or an ARN pattern into its six parts; None if it is neither."""
    parts = text.split(":", _ARN_PARTS - 1)
    return parts if len(parts) == _ARN_PARTS and resource_matches(parts[0], "arn") else None


def is_arn_pattern(value: str) -> bool:
    """Returns whether a policy's value is an ARN pattern, whatever the values of its variables."""
    return arn_parts(without_variables(value)) is not None


def _ip_address(value: str, actual: str) -> bool:
    network = parse_network(value)
    # No range contains an address of the other IP version.
    return network is not None and _parse_address(actual) in network


def _ordered(read: Callable[[str], object], holds_for: Callable[[int], bool]) -> Comparison:
    """Returns a comparison; `holds_for` takes -1, 0 or 1 if the request's value is less, equal or
    greater.
    """

    def compare(value: str, actual: str) -> Truth:
        bound = read(value)
        observed = read(actual)
        if bound is None or observed is None:
            return None if read is parse_date and _YEAR_OR_EPOCH.fullmatch(value) else False
        return holds_for((observed > bound) - (observed < bound))  # type: ignore[operator]

    return compare


_ORDERS: Mapping[str, Callable[[int], bool]] = {
    "Equals": lambda sign: sign == 0,
    "LessThan": lambda sign: sign < 0,
    "LessThanEquals": lambda sign: sign <= 0,
    "GreaterThan": lambda sign: sign > 0,
    "GreaterThanEquals": lambda sign: sign >= 0,
}
COMPARISONS: Mapping[str, Comparison] = {
    "StringEquals": _string_equals,
    "StringEqualsIgnoreCase": _string_equals_ignore_case,
    "StringLike": _string_like,
    "ArnLike": _arn_like,
    "Bool": lambda value, actual: is_true(value) == is_true(actual),
    # AWS compares the base64 texts: `YR==` and `YQ==` differ, though both stand for the same byte.
    "BinaryEquals": _string_equals,
    "IpAddress": _ip_address,
    **{f"Numeric{name}": _ordered(parse_number, order) for name, order in _ORDERS.items()},
    **{f"Date{name}": _ordered(parse_date, order) for name, order in _ORDERS.items()},
}
"""Positive operator -> comparison of a policy's value with the request's value."""

_FORMATS: Mapping[str, Callable[[str], object]] = {
    "ArnLike": arn_parts,
    "IpAddress": _parse_address,
    **{f"Numeric{name}": parse_number for name in _ORDERS},
    **{f"Date{name}": parse_date for name in _ORDERS},
}
"""Positive operator -> reader of the request's value, which returns None for a malformed one."""
_NEVER_MATCHED_IF_MALFORMED = frozenset({"ArnLike", "IpAddress"})
"""A malformed value of a request fits negated operators too, except those of ARNs and addresses."""

_NEGATED_OPERATORS: Mapping[str, str] = {
    "arnnotequals": "ArnLike",
    "arnnotlike": "ArnLike",
    "datenotequals": "DateEquals",
    "notipaddress": "IpAddress",
    "numericnotequals": "NumericEquals",
    "stringnotequals": "StringEquals",
    "stringnotequalsignorecase": "StringEqualsIgnoreCase",
    "stringnotlike": "StringLike",
}
"""Negated operator in lower case -> the positive one."""
_POSITIVE_OPERATORS: Mapping[str, str] = {
    **{name.lower(): name for name in COMPARISONS},
    "arnequals": "ArnLike",
    **_NEGATED_OPERATORS,
}
"""Operator in lower case -> the positive one that it is, or that it negates."""
_QUANTIFIERS: Mapping[str, Quantifier] = {
    "": "",
    "forallvalues:": "ForAllValues",
    "foranyvalue:": "ForAnyValue",
}
