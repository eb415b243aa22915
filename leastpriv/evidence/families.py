"""Things that a principal's runs make again and again under other names: what it did to one it will do to the next.

`orders-1`, `orders-2` and `orders-3` are a family where three runs created them. The name of a family is open for every
action on one of its members. A bucket's name is open for actions on the bucket alone: who owns the bucket is not in its
ARN, and whoever may write `site-*/index.html` may write into other people's buckets. What was done to the objects of
two buckets is written for those of the newest one instead, by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from leastpriv.evidence.made import made_by, maker
from leastpriv.model import Outcome, Usage
from leastpriv.permissions.generalise import NAMED_ANEW, Family, Seen, families_of
from leastpriv.permissions.resource_types import types_of_arn
from leastpriv.permissions.volatility import Opening, open_parts

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
