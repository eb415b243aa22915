"""Which resources a principal's own runs made: their ids, which AWS chooses, will be others next time.

Things that a principal's runs make again and again under other names: what it did to one it will do to the next.

`orders-1`, `orders-2` and `orders-3` are a family where three runs created them. The name of a family is open for every
action on one of its members. A bucket's name is open for actions on the bucket alone: who owns the bucket is not in its
ARN, and whoever may write `site-*/index.html` may write into other people's buckets. What was done to the objects of
two buckets is written for those of the newest one instead, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from leastpriv.models import Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.generalize import NAMED_ANEW, Family, Seen, families_of
from leastpriv.permissions.request import creates, noun_of
from leastpriv.permissions.resource_types import types_of_arn, variables_of_arn
from leastpriv.permissions.volatility import Opening, open_parts, service_of

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


_CLOUDFORMATION = "cloudformation.amazonaws.com"
_LEAST_MEMBERS = 2
"""An action used on the objects of one bucket alone may be about that one."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the runs of one principal made."""

    is_made: Callable[[Usage], bool]
    families: Mapping[str, Family]
    """Resource -> the names of its family."""
    objects: Mapping[tuple[str, str], Mapping[str, frozenset[str]]]
    """(family of buckets, key with its volatile parts open) -> bucket, the oldest first -> objects."""

    def see(self, usage: Usage, resource: str) -> Seen:
        """A resource of a usage, for `patterns_of`."""
        return Seen(resource, usage.runs, self.is_made(usage), self.families.get(resource))

    def seen(self, usages: Iterable[Usage]) -> list[Seen]:
        """What usages show of their resources."""
        return [self.see(usage, usage.need.permission.resource) for usage in usages]

    def due(self, seen: Iterable[Seen]) -> Iterator[Seen]:
        """Objects of the newest bucket of a family, where an action was seen on such objects of the older ones.

        As if the runs that used them in the latest of these had: a folder opens in the new bucket where it does there.
        """
        used: dict[tuple[str, str], dict[str, set[str]]] = {}
        for each in seen:
            bucket = _bucket_of(each.resource)
            family = self.families.get(bucket)
            if family:
                place = (family.pattern, _key(each.resource))
                used.setdefault(place, {}).setdefault(bucket, set()).update(each.runs)
        for place, buckets in used.items():
            known = self.objects.get(place, {})
            newest = next(iter([*known][-1:]), "")
            if len(buckets) >= _LEAST_MEMBERS and newest not in buckets:
                runs = next((tuple(sorted(buckets[bucket])) for bucket in reversed([*known]) if bucket in buckets), ())
                for resource in sorted(known.get(newest, ())):
                    yield Seen(resource, runs, family=Family(resource, Opening("BucketName", NAMED_ANEW)))


def made_of(
    usages: Iterable[Usage], naming: Iterable[Usage] | None = None, reviewed: Collection[str] | None = None
) -> Made:
    """What the principal of these usages, which are all that is known, makes.

    Names are learned from `naming` alone, where not all of the usages may teach them, and ids from `reviewed` runs.
    """
    known = tuple(usages)
    teachers = known if naming is None else tuple(naming)
    creations = tuple(_creations(teachers))
    by_action: dict[str, list[Seen]] = {}
    for usage in creations:
        permission = usage.need.permission
        by_action.setdefault(permission.action, []).append(Seen(permission.resource, usage.runs))
    by_stacks = {each.need.permission.resource for each in creations if _CLOUDFORMATION in each.forwarded_by}
    families = {
        resource: family for made in by_action.values() for resource, family in families_of(made, by_stacks).items()
    }
    age = {each.need.permission.resource: each.last_seen for each in sorted(creations, key=lambda each: each.last_seen)}
    return Made(maker(known, reviewed), families, _objects(teachers, families, list(age)))


def _creations(usages: Iterable[Usage]) -> Iterator[Usage]:
    """Those by which a thing was made that they name."""
    for usage in usages:
        if usage.outcome is Outcome.ALLOWED and usage.succeeded and usage.need.exact:
            prefix, resource = usage.need.permission.action.partition(":")[0], usage.need.permission.resource
            kinds = {kind for event in usage.events for kind in made_by(prefix, event.rpartition(":")[2])}
            if not kinds.isdisjoint(kind.lower() for kind in types_of_arn(prefix, resource)):
                yield usage


def _objects(
    usages: Iterable[Usage], families: Mapping[str, Family], buckets: list[str]
) -> Mapping[tuple[str, str], Mapping[str, frozenset[str]]]:
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for usage in usages:
        resource = usage.need.permission.resource
        bucket = _bucket_of(resource)
        family = families.get(bucket)
        if family and bucket != resource and usage.outcome is Outcome.ALLOWED and usage.need.exact:
            found.setdefault((family.pattern, _key(resource)), {}).setdefault(bucket, set()).add(resource)
    return {
        place: {bucket: frozenset(held[bucket]) for bucket in buckets if bucket in held}
        for place, held in found.items()
    }


def _bucket_of(resource: str) -> str:
    return resource.partition("/")[0] if ":s3:::" in resource else resource


def _key(resource: str) -> str:
    return open_parts(resource, made=False)[0].partition("/")[2]
