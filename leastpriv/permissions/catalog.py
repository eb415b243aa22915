"""Every IAM action, its resource types and access level, from AWS's Service Authorization Reference.

One service is loaded at a time, on first use. An access level may be composite (`"Tagging, Write"`), so test
membership, never equality.
"""

from __future__ import annotations

import re
from functools import cache

from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.service_facts import Action, ResourceType, service_facts, shared_facts


def version() -> str:
    """Version of the catalogue, e.g. `0.1.202610271`."""
    return shared_facts().version


def services() -> frozenset[str]:
    """All IAM prefixes."""
    return shared_facts().services


_MULTIVALUED_GLOBAL_KEYS = frozenset(
    f"aws:{name}"
    for name in (
        "calledvia", "principalorgpaths", "principalservicenameslist", "resourceorgpaths", "sourceorgpaths", "tagkeys",
        "vpceorgpaths",
    )
)  # fmt: skip
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, "Value type - Multivalued"
(2026-11-24)."""


@cache
def is_multivalued_key(key: str) -> bool:
    """Whether AWS declares a condition key, given in lower case, as a list of values."""
    prefix = key.partition(":")[0]
    if prefix not in services():
        return key in _MULTIVALUED_GLOBAL_KEYS
    # The keys of `vpc-lattice-svcs:RequestQueryString/${QueryStringKey}` share its type.
    return not service_facts(prefix).multivalued_keys.isdisjoint({key, key.partition("/")[0] + "/"})


def action(name: str) -> Action | None:
    """The action `service:Name` in any case, or None where the catalogue lacks it."""
    prefix, _, short = name.partition(":")
    return service_facts(prefix.lower()).actions.get(short.lower())


def spelling(name: str) -> str | None:
    """The catalogue's spelling of an action given in any case, or None."""
    found = action(name)
    return found.name if found else None


def actions(prefix: str) -> tuple[str, ...]:
    """All actions of one service, sorted; empty for an unknown prefix."""
    return tuple(sorted(found.name for found in service_facts(prefix.lower()).actions.values()))


def access_level(name: str) -> str:
    """Access level of an action, or the empty string where the catalogue lacks it."""
    found = action(name)
    return found.access_level if found else ""


def resource_types(prefix: str) -> tuple[ResourceType, ...]:
    """All resource types of a service (`required` has no meaning here); one with two ARNs counts twice."""
    return service_facts(prefix).types


@cache
def expand(pattern: str) -> tuple[str, ...]:
    """All catalogue actions that an `Action` entry of a policy grants, sorted."""
    if pattern.isascii() and "*" not in pattern and "?" not in pattern:
        known = spelling(pattern)
        return (known,) if known else ()
    prefix = pattern.partition(":")[0].lower()
    is_of_all = re.search(r"[*?]", prefix) is not None
    named = tuple(sorted(name for each in services() for name in actions(each))) if is_of_all else actions(prefix)
    if pattern == "*" or (pattern.lower() == f"{prefix}:*" and not is_of_all):
        return named
    return tuple(name for name in named if action_matches(pattern, name))
