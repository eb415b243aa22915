"""Evaluates conditions of a request: True, False, or None if the outcome is unknown.

Operators: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html;
several values:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html;
policy variables: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html (all read
2026-11-24).

If the request lacks the key, a positive operator is False, a negated one True and one with `IfExists` True;
`ForAllValues` is True and `ForAnyValue` False, also if the key's only value is empty. None means an unknown
operator, a value that is not in the operator's format, and a key with several values under an operator without
`ForAllValues` or `ForAnyValue`: AWS does not document these.

Variable names are case-insensitive; `${key, 'text'}` has a default; a variable without a value is null, which equals
and matches no text; a key with several values cannot be a variable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from leastpriv.models import Condition
from leastpriv.permissions.patterns import has_variable, resource_matches, unescape

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2}))?)?",
    re.ASCII,
)
"""https://www.w3.org/TR/NOTE-datetime, without the bare year, which could also be seconds since 1970."""
_EPOCH = re.compile(r"[0-9]{5,16}(?:\.[0-9]+)?", re.ASCII)
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def parse_number(text: str) -> Decimal | None:
    """Parses an integer or decimal; None if the text is neither."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=4096)
def parse_date(text: str) -> Decimal | None:
    """Parses a date, a date with time, or seconds since 1970, into seconds since 1970; None for other text."""
    if _EPOCH.fullmatch(text):
        return Decimal(text)
    found = _DATE.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        time = datetime(
            int(year), int(month), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    whole = (time - _EPOCH_START) // timedelta(seconds=1) - _offset(zone or "Z")
    return Decimal(whole) + Decimal(f"0.{fraction}" if fraction else 0)


def _offset(zone: str) -> int:
    """Returns the offset from UTC of a zone (`+01:00`) in seconds."""
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return seconds if zone[0] == "+" else -seconds


@lru_cache(maxsize=4096)
def parse_network(text: str) -> IPv4Network | IPv6Network | None:
    """Parses an address or a CIDR range, an address as a range of one; None if the text is neither."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def parse_base64(text: str) -> bytes | None:
    """Parses base64; None if the text is not base64."""
    from base64 import b64decode

    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


Context = Mapping[str, tuple[str, ...]]
"""Condition keys in lower case, with their values."""

_TOKEN = re.compile(r"\$\{[*?$]\}|\$\{([^},]*)(?:,\s*'([^'}]*)'\s*)?\}|\$\{[^}]*\}?|\$")
"""An escape, a variable with key and default, a malformed variable, or a lone dollar sign."""
_SPECIAL = re.compile(r"[*?$]")


def in_2012_spelling(text: str, variables: bool) -> str:
    """Spells a pattern or value of any policy as in version 2012-10-17.

    `variables` says whether its policy has that version; in other policies `${` is plain text.
    """
    return text if variables else text.replace("${", "${$}{")


def resolve_variables(text: str, context: Context, complete: bool) -> str | None:
    """Replaces policy variables by the request's values, in which wildcards become plain text.

    Returns None if a variable has no value: such a text matches nothing. A variable that remains is unknown: its key is
    absent from an incomplete context, or has several values.
    """
    if not has_variable(text):
        return text
    null = False

    def value_of(found: re.Match[str]) -> str:
        nonlocal null
        key = found[1]
        if key is None:
            return "${$}" if found[0] == "$" else found[0]
        name = key.strip().lower()
        values = tuple(filter(None, context.get(name, ())))
        # A name without a colon is a placeholder of a template, not a condition key.
        known = (complete and ":" in name) or name in context
        if len(values) > 1 or not known:
            return found[0]
        value = values[0] if values else found[2]
        null = null or not value
        return _SPECIAL.sub(r"${\g<0>}", value or "")

    resolved = _TOKEN.sub(value_of, text)
    return None if null else resolved


Truth = bool | None
Comparison = Callable[[str, str], Truth]
"""(value of the policy, spelled as in version 2012-10-17, without variables; value of the request)"""
Quantifier = Literal["", "ForAllValues", "ForAnyValue"]

_ARN_PARTS = 6
_IF_EXISTS = "ifexists"


@dataclass(frozen=True, slots=True)
class Operator:
    """A parsed condition operator."""

    base: str
    """The positive operator in `COMPARISONS`, or `Null`; `ArnEquals` becomes `ArnLike`, which AWS says behaves
    identically."""
    negated: bool
    quantifier: Quantifier
    if_exists: bool


def all_of(truths: Iterable[Truth]) -> Truth:
    """Returns False if any is False, else None if any is unknown, else True."""
    seen = set(truths)
    return False if False in seen else None if None in seen else True


def any_of(truths: Iterable[Truth]) -> Truth:
    """Returns True if any is True, else None if any is unknown, else False."""
    seen = set(truths)
    return True if True in seen else None if None in seen else False


@lru_cache(maxsize=1024)
def parse_operator(name: str) -> Operator | None:
    """Parses the name of an operator, case-insensitive as in IAM; None for an unknown name."""
    prefix, colon, rest = name.lower().rpartition(":")
    quantifier = _QUANTIFIERS.get(prefix + colon)
    stem = rest.removesuffix(_IF_EXISTS)
    found = _OPERATORS.get(stem)
    if quantifier is None or found is None or (stem == "null" and (colon or stem != rest)):
        return None
    return Operator(*found, quantifier, stem != rest)


def condition_holds(condition: Condition, context: Context, complete: bool, variables: bool) -> Truth:
    """Returns whether a condition holds for a request.

    Args:
        condition: operator, key and values of the policy.
        context: keys of the request in lower case; a key without values counts as absent.
        complete: whether a key that `context` lacks is absent from the request, not unknown.
        variables: whether the policy has version 2012-10-17.
    """
    operator = parse_operator(condition.operator)
    if operator is None:
        return None
    key = condition.key.lower()
    values = context.get(key, ())
    if values == ("",) and (operator.quantifier or operator.base == "Null"):
        values = ()
    known = complete or key in context
    if operator.base == "Null":
        wanted_nulls = {value.lower() for value in condition.values}
        return ("false" if values else "true") in wanted_nulls if known else None
    if not values:
        return _holds_without_key(operator) if known else None
    if len(values) > 1 and not operator.quantifier:
        return None
    wanted = [resolve_variables(in_2012_spelling(value, variables), context, complete) for value in condition.values]
    truths = (_fits_values(operator, wanted, actual) for actual in values)
    return any_of(truths) if operator.quantifier == "ForAnyValue" else all_of(truths)


def _holds_without_key(operator: Operator) -> bool:
    if operator.if_exists or operator.quantifier == "ForAllValues":
        return True
    return operator.negated and not operator.quantifier


def _fits_values(operator: Operator, wanted: Iterable[str | None], actual: str) -> Truth:
    found = any_of(_compare(operator, value, actual) for value in wanted)
    return found if found is None or not operator.negated else not found


def _compare(operator: Operator, value: str | None, actual: str) -> Truth:
    if value is None:
        return False
    return None if has_variable(value) else COMPARISONS[operator.base](value, actual)


def _string_equals(value: str, actual: str) -> bool:
    return unescape(value) == actual


def _string_equals_ignore_case(value: str, actual: str) -> bool:
    return unescape(value).lower() == actual.lower()


def _arn_like(value: str, actual: str) -> Truth:
    """Compares the six parts of two ARNs one by one."""
    parts, actual_parts = arn_parts(value), arn_parts(actual)
    if parts is None:
        return None
    if actual_parts is None:
        return False
    return all(resource_matches(part, actual_part) for part, actual_part in zip(parts, actual_parts, strict=True))


def arn_parts(text: str) -> list[str] | None:
    """Splits an ARN or an ARN pattern into its six parts; None if it has fewer."""
    parts = text.split(":", _ARN_PARTS - 1)
    return parts if len(parts) == _ARN_PARTS else None


def _bool(value: str, actual: str) -> bool:
    return value.lower() == actual.lower() and value.lower() in {"true", "false"}


def _binary_equals(value: str, actual: str) -> Truth:
    wanted, found = parse_base64(value), parse_base64(actual)
    return None if wanted is None or found is None else wanted == found


def _ip_address(value: str, actual: str) -> Truth:
    wanted, found = parse_network(value), parse_network(actual)
    if wanted is None or found is None or "/" in actual:
        return None
    # No range contains an address of the other IP version.
    return found.network_address in wanted


def _ordered(read: Callable[[str], object], holds_for: Callable[[int], bool]) -> Comparison:
    """Returns a comparison; `holds_for` takes -1, 0 or 1 if the request's value is less, equal or greater."""

    def compare(value: str, actual: str) -> Truth:
        wanted, found = read(value), read(actual)
        if wanted is None or found is None:
            return None
        return holds_for((found > wanted) - (found < wanted))  # type: ignore[operator]

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
    "StringLike": resource_matches,
    "ArnLike": _arn_like,
    "Bool": _bool,
    "BinaryEquals": _binary_equals,
    "IpAddress": _ip_address,
    **{f"Numeric{name}": _ordered(parse_number, order) for name, order in _ORDERS.items()},
    **{f"Date{name}": _ordered(parse_date, order) for name, order in _ORDERS.items()},
}
"""Positive operator -> comparison of a policy's value with the request's value."""

_OPERATORS: Mapping[str, tuple[str, bool]] = {
    **{name.lower(): (name, False) for name in COMPARISONS},
    "null": ("Null", False),
    "arnequals": ("ArnLike", False),
    "arnnotequals": ("ArnLike", True),
    "arnnotlike": ("ArnLike", True),
    "datenotequals": ("DateEquals", True),
    "notipaddress": ("IpAddress", True),
    "numericnotequals": ("NumericEquals", True),
    "stringnotequals": ("StringEquals", True),
    "stringnotequalsignorecase": ("StringEqualsIgnoreCase", True),
    "stringnotlike": ("StringLike", True),
}
_QUANTIFIERS: Mapping[str, Quantifier] = {"": "", "forallvalues:": "ForAllValues", "foranyvalue:": "ForAnyValue"}
