"""Which resources a principal's own runs made: their ids, which AWS chooses, will be others next time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from leastpriv.model import Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.request import creates, noun_of
from leastpriv.permissions.resource_types import types_of_arn, variables_of_arn
from leastpriv.permissions.volatility import service_of

_LEAST_RUNS = 2
"""One run that made a thing is no habit."""


def maker(usages: Iterable[Usage], reviewed: Collection[str] | None = None) -> Callable[[Usage], bool]:
    """Tells of a usage whether its resource may have been made by the same principal's runs.

    It may when the first run that used it, in whatever way, made something of its type with success, and it was where
    the answer of a call that makes things named its id. Two runs or more have to have made such things, and what all of
    these runs used is no new thing each time. Only `reviewed` runs, by their ids, are heard as makers (None: all are).
    """
    known = tuple(usages)
    made = _runs_that_made(known, reviewed)
    ids = {
        (usage.need.permission.action.partition(":")[0], new)
        for usage in known
        if usage.made and _kinds_made(usage) and (reviewed is None or set(usage.runs) <= {*reviewed})
        for new in usage.made
    }
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


def usages_that_made(usages: Sequence[Usage], wanted: Iterable[Usage]) -> list[Usage]:
    """Usages by which things were made of the types that some others are about: these say what `maker` opens."""
    kinds = set[tuple[str, str]]()
    for usage in wanted:
        resource = usage.need.permission.resource
        prefix = service_of(resource)
        if prefix:
            kinds.update((prefix, kind.lower()) for kind in types_of_arn(prefix, resource))
    return [usage for usage in usages if not kinds.isdisjoint(_kinds_made(usage))]


def _runs_that_made(usages: Iterable[Usage], reviewed: Collection[str] | None) -> Mapping[tuple[str, str], set[str]]:
    """(IAM prefix, resource type) -> runs that made such a thing."""
    made: dict[tuple[str, str], set[str]] = {}
    for usage in usages:
        for kind in _kinds_made(usage):
            runs = usage.runs if reviewed is None else (run for run in usage.runs if run in reviewed)
            made.setdefault(kind, set()).update(runs)
    return made


def _kinds_made(usage: Usage) -> set[tuple[str, str]]:
    """(IAM prefix, resource type) of what the calls of a usage made."""
    if usage.outcome is not Outcome.ALLOWED or not usage.succeeded:
        return set()
    prefix = usage.need.permission.action.partition(":")[0]
    return {(prefix, kind) for event in usage.events for kind in made_by(prefix, event.rpartition(":")[2])}


def _runs_that_used(usages: Iterable[Usage]) -> Mapping[str, tuple[str, set[str]]]:
    """Resource -> the first run that used it, and all that did."""
    used: dict[str, tuple[str, set[str]]] = {}
    for usage in sorted((usage for usage in usages if usage.runs), key=lambda usage: usage.first_seen):
        used.setdefault(usage.need.permission.resource, (usage.runs[0], set()))[1].update(usage.runs)
    return used


@lru_cache(maxsize=16_384)
def made_by(prefix: str, event: str) -> tuple[str, ...]:
    """Resource types, in lower case, of which an event makes one: `CreateVpc` a `vpc`, `RunInstances` an `instance`."""
    if prefix not in catalog.services() or not creates(event) or _works_on_what_is_there(prefix, event):
        return ()
    noun = noun_of(event).removesuffix("s").partition("with")[0]
    kinds = {kind.name.lower() for kind in catalog.resource_types(prefix)}
    return tuple(sorted(kind for kind in kinds if re.sub(r"[^a-z0-9]", "", kind).removesuffix("s") == noun))


_MAY_BE_THERE = re.compile(r"(?:Start|Run|Publish|Restore)(?=[A-Z])")
_MAKES = ("Create", "Run", "Put", "Register", "Activate")


def _works_on_what_is_there(prefix: str, event: str) -> bool:
    """Whether an event starts, publishes or brings back what another makes: `StartInstances`, not `StartExecution`."""
    verb = _MAY_BE_THERE.match(event)
    if verb is None:
        return False
    noun = event[verb.end() :].removesuffix("s")
    makers = {f"{prefix}:{each}{noun}{end}" for each in _MAKES if each != verb[0] for end in ("", "s")}
    return any(catalog.action(name) is not None for name in makers)
