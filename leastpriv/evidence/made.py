"""Which resources a principal's own runs made: their ids, which AWS chooses, will be others next time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from leastpriv.model import Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.request import creates, noun_of
from leastpriv.permissions.resource_types import types_of_arn, variables_of_arn
from leastpriv.permissions.volatility import service_of

_LEAST_RUNS = 2
"""One run that made a thing is no habit."""


def maker(usages: Iterable[Usage]) -> Callable[[Usage], bool]:
    """Tells of a usage whether its resource may have been made by the same principal's runs.

    It may when the first run that used it, in whatever way, made something of its type with success, and it was where
    the answer of a call that makes things named its id. Two runs or more have to have made such things, and what all of
    these runs used is no new thing each time.
    """
    known = tuple(usages)
    made = _runs_that_made(known)
    ids = {(usage.need.permission.action.partition(":")[0], new) for usage in known for new in usage.made}
    services = {service for service, _ in made}
    used = _runs_that_used(usage for usage in known if service_of(usage.need.permission.resource) in services)

    def is_made(usage: Usage) -> bool:
        resource = usage.need.permission.resource
        prefix = service_of(resource)
        first, runs = used.get(resource, ("", set()))
        kinds = types_of_arn(prefix, resource) if first else ()
        named = {(prefix, text) for _, text in variables_of_arn(prefix, resource)} if kinds and ids else set()
        return any(
            (first in makers or not named.isdisjoint(ids)) and len(makers) >= _LEAST_RUNS and not makers <= runs
            for makers in (made.get((prefix, kind.lower()), set()) for kind in kinds)
        )

    return is_made


def _runs_that_made(usages: Iterable[Usage]) -> Mapping[tuple[str, str], set[str]]:
    """(IAM prefix, resource type) -> runs that made such a thing."""
    made: dict[tuple[str, str], set[str]] = {}
    for usage in usages:
        if usage.outcome is Outcome.ALLOWED and usage.succeeded:
            prefix = usage.need.permission.action.partition(":")[0]
            for kind in {kind for event in usage.events for kind in made_by(prefix, event.rpartition(":")[2])}:
                made.setdefault((prefix, kind), set()).update(usage.runs)
    return made


def _runs_that_used(usages: Iterable[Usage]) -> Mapping[str, tuple[str, set[str]]]:
    """Resource -> the first run that used it, and all that did."""
    used: dict[str, tuple[str, set[str]]] = {}
    for usage in sorted((usage for usage in usages if usage.runs), key=lambda usage: usage.first_seen):
        used.setdefault(usage.need.permission.resource, (usage.runs[0], set()))[1].update(usage.runs)
    return used


@lru_cache(maxsize=16_384)
def made_by(prefix: str, event: str) -> tuple[str, ...]:
    """Resource types, in lower case, of which an event makes one: `CreateVpc` a `vpc`, `RunInstances` an `instance`."""
    if not creates(event):
        return ()
    noun = noun_of(event).removesuffix("s").partition("with")[0]
    kinds = {kind.name.lower() for kind in catalog.resource_types(prefix)}
    return tuple(sorted(kind for kind in kinds if re.sub(r"[^a-z0-9]", "", kind).removesuffix("s") == noun))
