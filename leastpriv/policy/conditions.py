"""Does a condition hold for a request? True, False, or None where that cannot be known.

Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html,
read 2026-11-24. A key that the request lacks makes a positive operator False, a negated one True, one with
`IfExists` True. Operators that are not written down here, set operators among them, are answered with None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from leastpriv.model import Condition
from leastpriv.permissions.patterns import has_variable, resource_matches, unescape

Truth = bool | None
Comparison = Callable[[str, str, bool], Truth]
"""(value in the policy, value in the request, whether `${…}` means anything)"""

_ARN_PARTS = 6
_IF_EXISTS = "IfExists"


def all_of(truths: Iterable[Truth]) -> Truth:
    """Return False if one is False, else None if one is unknown, else True."""
    seen = set(truths)
    return False if False in seen else None if None in seen else True


def any_of(truths: Iterable[Truth]) -> Truth:
    """Return True if one is True, else None if one is unknown, else False."""
    seen = set(truths)
    return True if True in seen else None if None in seen else False


def holds(condition: Condition, context: Mapping[str, tuple[str, ...]], complete: bool, variables: bool) -> Truth:
    """Tell whether `condition` holds for a request.

    `context` has its keys in lower case; `complete` says that a key absent from it is absent from the
    request; `variables` that the policy is of version 2012-10-17.
    """
    values = context.get(condition.key.lower(), ())
    if condition.operator == "Null":
        return _null(condition.values, bool(values), complete)
    name = condition.operator.removesuffix(_IF_EXISTS)
    negated = name in _NEGATED
    compare = _COMPARISONS.get(_NEGATED.get(name, name))
    if compare is None or len(values) > 1:
        return None
    if not values:
        return (negated or name != condition.operator) if complete else None
    found = any_of(compare(value, values[0], variables) for value in condition.values)
    return found if found is None or not negated else not found


def _null(wanted: tuple[str, ...], present: bool, complete: bool) -> Truth:
    if not present and not complete:
        return None
    return ("false" if present else "true") in {value.lower() for value in wanted}


def _string_equals(value: str, actual: str, variables: bool) -> Truth:
    if not variables:
        return value == actual
    if has_variable(value):
        return None
    return unescape(value) == actual


def _string_equals_ignore_case(value: str, actual: str, variables: bool) -> Truth:
    return _string_equals(value.casefold(), actual.casefold(), variables)


def _string_like(value: str, actual: str, variables: bool) -> Truth:
    if variables and has_variable(value):
        return None
    return resource_matches(value, actual, variables=variables)


def _arn_like(value: str, actual: str, variables: bool) -> Truth:
    """Compare the six parts of both ARNs one by one, as ArnEquals and ArnLike alike do."""
    parts, actual_parts = value.split(":", _ARN_PARTS - 1), actual.split(":", _ARN_PARTS - 1)
    if len(parts) < _ARN_PARTS:
        return None
    if len(actual_parts) < _ARN_PARTS:
        return False
    return all_of(
        _string_like(part, actual_part, variables) for part, actual_part in zip(parts, actual_parts, strict=True)
    )


def _bool(value: str, actual: str, variables: bool) -> Truth:
    if variables and has_variable(value):
        return None
    return value.lower() == actual.lower() and value.lower() in {"true", "false"}


_COMPARISONS: Mapping[str, Comparison] = {
    "StringEquals": _string_equals,
    "StringEqualsIgnoreCase": _string_equals_ignore_case,
    "StringLike": _string_like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _bool,
}
_NEGATED: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
