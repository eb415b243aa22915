"""Writes the resources of one action, each with its certainty: by the names of the app, else by the
look of a name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

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
from leastpriv.permissions.resource_types import variables_of_arn, with_any_path
from leastpriv.permissions.volatility import WildcardPart, is_open_anyway, service_of

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
    app_patterns, other_resources = names.resources_of(action, observed)
    if sensitivity(action) and principal:
        app_patterns = [
            pattern for pattern in app_patterns if not resource_covers(pattern.pattern, principal)
        ]
    if opens_look:
        patterns = patterns_of(other_resources, least_literal(action))
    else:
        other_resources = [_without_family_of(resource, principal) for resource in other_resources]
        patterns = patterns_of(other_resources, least_literal(action), is_sensitive=True)
    certainties = _certainties(observed)
    all_patterns = [_with_certainty(pattern, certainties) for pattern in (*patterns, *app_patterns)]
    all_patterns += [
        widened_pattern
        for pattern in all_patterns
        for widened_pattern in _under_any_path(pattern, pathless, principal)
    ]
    return tuple(sorted(all_patterns, key=lambda each: each.pattern))


def _without_family_of(observed: ObservedResource, principal: str) -> ObservedResource:
    """The resource; without its name pattern where that covers the principal itself."""
    family = observed.family
    if family and principal and resource_covers(family, principal):
        return replace(observed, family="")
    return observed


_BEST_FIRST = list(Certainty)


def _certainties(observed: Sequence[ObservedResource]) -> Mapping[str, Certainty]:
    """Returns the best certainty of each resource, as its records show it."""
    certainties: dict[str, Certainty] = {}
    for observed_resource in observed:
        certainty = certainties.get(observed_resource.resource, observed_resource.certainty)
        certainties[observed_resource.resource] = min(
            certainty, observed_resource.certainty, key=_BEST_FIRST.index
        )
    return certainties


def _with_certainty(pattern: Pattern, certainties: Mapping[str, Certainty]) -> Pattern:
    certainty = certainties.get(pattern.pattern, Certainty.WHOLE)
    is_whole = not has_wildcard(pattern.pattern) or is_open_anyway(pattern.pattern)
    if certainty is Certainty.WHOLE and not is_whole:
        certainty = Certainty.OVER_COPIES
    if certainty is Certainty.IN_PART and is_whole and _has_name(pattern.pattern):
        # Only an id or a suffix that AWS draws is open, as in the records of each such resource.
        certainty = Certainty.WHOLE
    return replace(pattern, certainty=certainty)


def _has_name(resource: str) -> bool:
    """Whether the beginning of a variable part of an ARN is known."""
    for part in variables_of_arn(service_of(resource), resource):
        beginning = part.text.rstrip("*?")
        if beginning and not has_wildcard(beginning):
            return True
    return False


def _under_any_path(
    pattern: Pattern, pathless: Collection[str], principal: str
) -> Iterator[Pattern]:
    """Yields a name of IAM under each path, where no record shows its path."""
    if pattern.pattern not in pathless:
        return
    path_pattern = with_any_path(pattern.pattern)
    if not resource_covers(path_pattern, principal):
        openings = (WildcardPart("path", _ANY_PATH),)
        yield Pattern(path_pattern, pattern.covers, openings, Certainty.PATH_UNKNOWN)
