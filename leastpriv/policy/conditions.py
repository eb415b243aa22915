"""Does a condition hold for a request? True, False, or None where that cannot be known.

Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html,
read 2026-11-24. Of a key that the request lacks: a positive operator is False, a negated one True, one with
`IfExists` True; `ForAllValues` is True and `ForAnyValue` False, also where the key's only value is empty.
An operator that is not written down here, a value that is not of its format and a key of several values under an
operator without `ForAllValues` or `ForAnyValue` are answered with None: AWS does not say what becomes of them.

Values that condition operators compare: numbers, dates, addresses, binary data, each read from its text.

Formats: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html, read
2026-11-24. What is not of a format reads as None: AWS does not say what becomes of it.

Policy variables: `${aws:username}` in a Resource or a condition value, and what the request puts in its place.

Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html, read 2026-11-24. Keys have
no case; `${key, 'text'}` names a default; a variable whose key is absent from the request or has no value is null,
and nothing is equal to it or like it; a key of several values is no variable.
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
"""https://www.w3.org/TR/NOTE-datetime, without the bare year, which could as well be seconds since 1970."""
_EPOCH = re.compile(r"[0-9]{5,16}(?:\.[0-9]+)?", re.ASCII)
_START = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def number(text: str) -> Decimal | None:
    """Read an integer or decimal."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=4096)
def moment(text: str) -> Decimal | None:
    """Read a date, with or without time, or seconds since 1970; returns seconds since 1970."""
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
    whole = (time - _START) // timedelta(seconds=1) - _offset(zone or "Z")
    return Decimal(whole) + Decimal(f"0.{fraction}" if fraction else 0)


def _offset(zone: str) -> int:
    """Seconds that a zone (`+01:00`) is ahead of UTC."""
    if zone == "Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return seconds if zone[0] == "+" else -seconds


@lru_cache(maxsize=4096)
def network(text: str) -> IPv4Network | IPv6Network | None:
    """Read an address or a range in CIDR notation; an address is a range of one."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def binary(text: str) -> bytes | None:
    """Read base64."""
    from base64 import b64decode

    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


Context = Mapping[str, tuple[str, ...]]
"""Condition keys in lower case, and their values."""

_TOKEN = re.compile(r"\$\{[*?$]\}|\$\{([^},]*)(?:,\s*'([^'}]*)'\s*)?\}|\$\{[^}]*\}?|\$")
"""An escape, a variable with its key and default, a malformed variable, a lone dollar sign."""
_SPECIAL = re.compile(r"[*?$]")


def as_2012(text: str, variables: bool) -> str:
    """Spell a pattern or value of any policy as in a policy of version 2012-10-17.

    `variables` says whether its own policy is of that version; in others `${` is plain text.
    """
    return text if variables else text.replace("${", "${$}{")


def resolve(text: str, context: Context, complete: bool) -> str | None:
    """Put the request's values into a pattern or value of version 2012-10-17; wildcards in them become plain text.

    None: a variable has no value, so that nothing is equal to `text` or like it. A variable that remains is
    unknown: its key is absent from an incomplete context, or has several values.
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
        # A name without a colon is no condition key: a placeholder, which only a rendered template knows.
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
"""(value in the policy, in the spelling of version 2012-10-17 and without variables; value in the request)"""
Quantifier = Literal["", "ForAllValues", "ForAnyValue"]

_ARN_PARTS = 6
_IF_EXISTS = "ifexists"


@dataclass(frozen=True, slots=True)
class Operator:
    """A condition operator taken apart."""

    base: str
    """The positive one of `COMPARISONS`, or `Null`; `ArnEquals` is `ArnLike`, which AWS says behaves identically."""
    negated: bool
    quantifier: Quantifier
    if_exists: bool


def all_of(truths: Iterable[Truth]) -> Truth:
    """Return False if one is False, else None if one is unknown, else True."""
    seen = set(truths)
    return False if False in seen else None if None in seen else True


def any_of(truths: Iterable[Truth]) -> Truth:
    """Return True if one is True, else None if one is unknown, else False."""
    seen = set(truths)
    return True if True in seen else None if None in seen else False


@lru_cache(maxsize=1024)
def operator_of(name: str) -> Operator | None:
    """Take an operator's name apart, in any case, as IAM takes it; None where there is none of that name."""
    prefix, colon, rest = name.lower().rpartition(":")
    quantifier = _QUANTIFIERS.get(prefix + colon)
    stem = rest.removesuffix(_IF_EXISTS)
    found = _OPERATORS.get(stem)
    if quantifier is None or found is None or (stem == "null" and (colon or stem != rest)):
        return None
    return Operator(*found, quantifier, stem != rest)


def holds(condition: Condition, context: Context, complete: bool, variables: bool) -> Truth:
    """Tell whether `condition` holds for a request.

    `context` has its keys in lower case, a key without values is absent; `complete` says that a key that it does
    not have is absent from the request; `variables` that the policy is of version 2012-10-17.
    """
    operator = operator_of(condition.operator)
    if operator is None:
        return None
    key = condition.key.lower()
    values = context.get(key, ())
    if values == ("",) and (operator.quantifier or operator.base == "Null"):
        values = ()
    known = complete or key in context
    if operator.base == "Null":
        return _null(condition.values, bool(values)) if known else None
    if not values:
        return _when_absent(operator) if known else None
    if len(values) > 1 and not operator.quantifier:
        return None
    wanted = [resolve(as_2012(value, variables), context, complete) for value in condition.values]
    truths = (_fits(operator, wanted, actual) for actual in values)
    return any_of(truths) if operator.quantifier == "ForAnyValue" else all_of(truths)


def _when_absent(operator: Operator) -> bool:
    if operator.if_exists or operator.quantifier == "ForAllValues":
        return True
    return operator.negated and not operator.quantifier


def _fits(operator: Operator, wanted: Iterable[str | None], actual: str) -> Truth:
    found = any_of(_compare(operator, value, actual) for value in wanted)
    return found if found is None or not operator.negated else not found


def _compare(operator: Operator, value: str | None, actual: str) -> Truth:
    if value is None:
        return False
    return None if has_variable(value) else COMPARISONS[operator.base](value, actual)


def _null(wanted: tuple[str, ...], present: bool) -> bool:
    return ("false" if present else "true") in {value.lower() for value in wanted}


def _string_equals(value: str, actual: str) -> bool:
    return unescape(value) == actual


def _string_equals_ignore_case(value: str, actual: str) -> bool:
    return unescape(value).lower() == actual.lower()


def _arn_like(value: str, actual: str) -> Truth:
    """Compare the six parts of both ARNs one by one."""
    parts, actual_parts = arn_parts(value), arn_parts(actual)
    if parts is None:
        return None
    if actual_parts is None:
        return False
    return all(resource_matches(part, actual_part) for part, actual_part in zip(parts, actual_parts, strict=True))


def arn_parts(text: str) -> list[str] | None:
    """Split an ARN or a pattern of one into its six parts; None where it has fewer."""
    parts = text.split(":", _ARN_PARTS - 1)
    return parts if len(parts) == _ARN_PARTS else None


def _bool(value: str, actual: str) -> bool:
    return value.lower() == actual.lower() and value.lower() in {"true", "false"}


def _binary_equals(value: str, actual: str) -> Truth:
    wanted, found = binary(value), binary(actual)
    return None if wanted is None or found is None else wanted == found


def _ip_address(value: str, actual: str) -> Truth:
    wanted, found = network(value), network(actual)
    if wanted is None or found is None or "/" in actual:
        return None
    # An address of the other family is in no range.
    return found.network_address in wanted


def _ordered(read: Callable[[str], object], holds_for: Callable[[int], bool]) -> Comparison:
    """Make a comparison; `holds_for` takes -1, 0 or 1: the request's value is less, equal or greater."""

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
    **{f"Numeric{name}": _ordered(number, order) for name, order in _ORDERS.items()},
    **{f"Date{name}": _ordered(moment, order) for name, order in _ORDERS.items()},
}
"""Positive operator -> does the request's value fit one value of the policy?"""

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
