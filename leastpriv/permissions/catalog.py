"""Every IAM action, its resource types and access level, and which actions are sensitive or
forbidden.

Actions are those of the Service Authorization Reference of AWS; one service is loaded at a time, on
first use. An access level may be composite (`"Tagging, Write"`), so test membership, never
equality. Sensitive actions need an exact resource, and forbidden ones are never written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from leastpriv.permissions.fact_tables import table
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
        "calledvia", "principalorgpaths", "principalservicenameslist", "resourceorgpaths",
        "sourceorgpaths", "tagkeys",
        "vpceorgpaths",
    )
)  # fmt: skip
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, "Value
type - Multivalued" (2026-11-24)."""


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
    catalog_action = action(name)
    return catalog_action.name if catalog_action else None


def actions(prefix: str) -> tuple[str, ...]:
    """All actions of one service, sorted; empty for an unknown prefix."""
    return tuple(
        sorted(
            catalog_action.name for catalog_action in service_facts(prefix.lower()).actions.values()
        )
    )


def access_level(name: str) -> str:
    """Access level of an action, or the empty string where the catalogue lacks it."""
    catalog_action = action(name)
    return catalog_action.access_level if catalog_action else ""


def resource_types(prefix: str) -> tuple[ResourceType, ...]:
    """All resource types of a service (`required` has no meaning here); one with two ARNs counts
    twice.
    """
    return service_facts(prefix).types


@cache
def expand(pattern: str) -> tuple[str, ...]:
    """All catalogue actions that an `Action` entry of a policy grants, sorted."""
    if pattern.isascii() and "*" not in pattern and "?" not in pattern:
        full_name = spelling(pattern)
        return (full_name,) if full_name else ()
    prefix = pattern.partition(":")[0].lower()
    is_of_all = re.search(r"[*?]", prefix) is not None
    names = (
        tuple(sorted(name for service in services() for name in actions(service)))
        if is_of_all
        else actions(prefix)
    )
    if pattern == "*" or (pattern.lower() == f"{prefix}:*" and not is_of_all):
        return names
    return tuple(name for name in names if action_matches(pattern, name))


_READS = re.compile(r"(BatchGet|Get|List|Describe|Head)[A-Z]")


def sensitivity(action: str) -> str:
    """Say why an action is sensitive, in words for the reviewer; empty where it is not.

    `action` may have wildcards: then one sensitive action among those it grants is enough. An
    action that the catalogue lacks counts as a write unless its name says that it reads.
    """
    return next(filter(None, map(_sensitivity, _granted(action))), "")


_MATCHES = " matches "
_OF_NEVER_ADD = " of never-add"


def forbidden(action: str, never_add: Sequence[str] = ()) -> str:
    """Say why an action is never written; empty where it may be.

    `never_add` are the user's own patterns (`iam:*`, `ec2:Delete*`), compared as IAM compares
    actions. Wildcards in `action` count as in `sensitivity`.
    """
    for name in _granted(action):
        for pattern in never_add:
            if action_matches(pattern, name):
                return f"{name}{_MATCHES}`{pattern}`{_OF_NEVER_ADD}"
        reason = _reason("forbidden", name)
        if reason:
            return reason
    return ""


def never_add_pattern(reason: str) -> str:
    """Returns the user's pattern in a reason of `forbidden`, with its backticks; empty where the
    built-in list is the reason.
    """
    _, _, pattern = reason.partition(_MATCHES)
    return pattern.removesuffix(_OF_NEVER_ADD) if pattern.endswith(_OF_NEVER_ADD) else ""


def _granted(action: str) -> Sequence[str]:
    if re.search(r"[*?]", action):
        return expand(action) or (action,)
    return (action,)


BY_LEVEL = "manages permissions, as AWS classes it"
"""Why an action is sensitive that has no row in `sensitive.tsv`."""


# More names than the catalogue has: a policy with `*` asks for all of them, several times, and a
# smaller cache would forget each name before it is asked for again.
@lru_cache(maxsize=32_768)
def _sensitivity(name: str) -> str:
    return _reason("sensitive", name) or (
        BY_LEVEL if "Permissions management" in access_level(name) else ""
    )


@lru_cache(maxsize=65_536)
def _reason(facts: str, name: str) -> str:
    # A row of the service itself has the better reason; the first match counts.
    rows = (*_rows(facts, name.partition(":")[0].lower()), *_rows(facts, "*"))
    matching_rows = (row for row in rows if action_matches(row["pattern"], name))
    return next(
        (row["reason"] for row in matching_rows if row["levels"] == "any" or _writes(name)), ""
    )


@cache
def _rows(facts: str, service: str) -> Sequence[Mapping[str, str]]:
    """Returns the rows of a table whose patterns have a service, `*` for any."""
    return [row for row in table(facts) if f"{service}:" in row["pattern"]]


def is_administration(service: str) -> bool:
    """Whether every write of a service is sensitive or forbidden, as in IAM."""
    return any(
        row["pattern"] == f"{service}:*"
        for facts in ("sensitive", "forbidden")
        for row in _rows(facts, service)
    )


def is_read(name: str) -> bool:
    """Whether an action only reads, by AWS's access level; false for an action that the catalogue
    lacks.
    """
    return bool(access_level(name)) and not _writes(name)


def _writes(name: str) -> bool:
    level = access_level(name)
    if not level:
        return not _READS.match(name.partition(":")[2])
    return not {part.strip() for part in level.split(",")} <= {"Read", "List"}


@lru_cache(maxsize=32_768)
def removal_rank(name: str) -> tuple[int, int, str]:
    """Returns how much the removal of an action closes, the most first in ascending order.

    Steps of paths to administrator (`escalation.tsv`) come first, then sensitive actions,
    deletions, writes and reads; names break ties.
    """
    step = _escalation_actions().get(name.lower())
    if step is not None:
        return 0, step, name
    if sensitivity(name):
        return 1, 0, name
    if name.partition(":")[2].startswith(("Delete", "Terminate", "Purge")):
        return 2, 0, name
    level = access_level(name)
    return {"Write": 3, "Tagging": 4, "Read": 5, "List": 6}.get(level, 3), 0, name


@cache
def _escalation_actions() -> Mapping[str, int]:
    rows = [row["actions"] for row in table("escalation")]
    action_names = re.split(r"[,| @]+", ",".join(rows).lower())
    return {action: number for number, action in reversed(list(enumerate(action_names)))}
