"""Writes the resources of one action, each with its certainty: by the names of the app, else by the
look of a name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from leastpriv.permissions.catalog import sensitivity
from leastpriv.permissions.generalize import (
    Certainty,
    ObservedResource,
    Pattern,
    least_literal,
    patterns_of,
)
from leastpriv.permissions.names.app_names import AppNames
from leastpriv.permissions.patterns import has_wildcard, resource_covers
from leastpriv.permissions.resource_types import with_any_path
from leastpriv.permissions.volatility import WildcardPart, is_open_anyway

_ANY_PATH = "no record shows the path; a name of IAM is unique in an account"


def write_resources(
    action: str,
    observed: Sequence[ObservedResource],
    names: AppNames,
    *,
    opens_look: bool = True,
    principal: str = "",
    pathless: Collection[str] = (),
) -> tuple[Pattern, ...]:
    """Returns the patterns of all resources on which runs used an action, sorted.

    Args:
        action: the action.
        observed: the resources.
        names: the names of the app.
        opens_look: whether the look of a name may open it; else only what the runs created is open.
        principal: a pattern of a sensitive action that covers it is left out; empty: none.
        pathless: names of IAM whose path no record shows: they are written under each path too.
    """
    named, rest = names.resources_of(action, observed)
    if sensitivity(action) and principal:
        named = [each for each in named if not resource_covers(each.pattern, principal)]
    if opens_look:
        patterns = patterns_of(rest, least_literal(action))
    else:
        rest = [_without_family_of(each, principal) for each in rest]
        patterns = patterns_of(rest, least_literal(action), is_sensitive=True)
    answered = {each.resource for each in observed if each.is_from_answer}
    written = [_with_certainty(each, answered) for each in (*patterns, *named)]
    written += [wide for each in written for wide in _under_any_path(each, pathless, principal)]
    return tuple(sorted(written, key=lambda each: each.pattern))


def _without_family_of(observed: ObservedResource, principal: str) -> ObservedResource:
    """The resource; without its name pattern where that covers the principal itself."""
    family = observed.family
    if family and principal and resource_covers(family.pattern, principal):
        return replace(observed, family=None)
    return observed


def _with_certainty(pattern: Pattern, answered: Collection[str]) -> Pattern:
    if has_wildcard(pattern.pattern) and not is_open_anyway(pattern.pattern):
        return replace(pattern, certainty=Certainty.OVER_COPIES)
    if pattern.pattern in answered:
        return replace(pattern, certainty=Certainty.FROM_ANSWER)
    return pattern


def _under_any_path(
    pattern: Pattern, pathless: Collection[str], principal: str
) -> Iterator[Pattern]:
    """Yields a name of IAM under each path, where no record shows its path."""
    if pattern.pattern not in pathless:
        return
    wide = with_any_path(pattern.pattern)
    if not resource_covers(wide, principal):
        openings = (WildcardPart("path", _ANY_PATH),)
        yield Pattern(wide, pattern.covers, openings, Certainty.PATH_UNKNOWN)
