"""Finds resources that the principal's own runs create: by ids that AWS chose, and by names whose
ends a tool drew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from leastpriv.models import Basis, Need, Usage
from leastpriv.permissions.arn_templates import IN_PART, IN_RESPONSE
from leastpriv.permissions.generalize import (
    Certainty,
    ObservedResource,
    ends,
    family_of,
    generated_families,
)
from leastpriv.permissions.lifecycle import created_types
from leastpriv.permissions.resource_types import (
    services_of_arns,
    types_of_arn,
    variables_of_arn,
)
from leastpriv.permissions.tool_lifecycle import STACK_SERVICE
from leastpriv.permissions.volatility import (
    ServiceType,
    is_named_but_ids,
    is_open_anyway,
    service_of,
    service_types,
)

_LEAST_RUNS = 2
"""A resource that only one run created is no pattern."""


class ResourceId(NamedTuple):
    """An id that AWS chose for a resource, or for what it is a part of."""

    service: str
    """IAM prefix."""
    id: str


class _Makers(Struct, frozen=True):
    """The runs that made a resource whose id AWS chose."""

    runs: set[str]
    runs_of_action: set[str]
    """The runs in which the same action made any."""


class _Users(Struct, frozen=True):
    """The runs that used a resource."""

    first: str
    runs: set[str]


def _created_by_own_runs(
    usages: Sequence[Usage],
    reviewed: Collection[str] | None,
    makers_of_ids: Mapping[ResourceId, _Makers],
) -> Callable[[Usage], bool]:
    """Returns a test of whether the principal's runs may have created the resource of a usage.

    They may if the first run that used the resource also created a resource of its type
    successfully, or if the response of a creating call contains its id. At least two of the
    `reviewed` runs (None: all) must have created such resources, and a resource that all of these
    runs used is not newly created. One run is enough where it alone used the resource whose id its
    call returned, or where any run deleted it, or what it is a part of (a stage of an API): the
    next run has another one.
    """
    creators_of_kinds = _creating_runs(usages, reviewed)
    services = {kind.service for kind in creators_of_kinds}
    services.update(made_id.service for made_id in makers_of_ids)
    users_of = _using_runs(usage for usage in usages if service_of(_resource(usage)) in services)
    deleted = _deleted(usages)
    deleted_ids = {ids[-1] for ids in map(_ids, deleted) if ids}

    def is_made(usage: Usage) -> bool:
        """Whether the principal's own runs made the resource of a usage: a call of theirs named its
        id, or several runs create its type and used it first.
        """
        resource = _resource(usage)
        users = users_of.get(resource)
        if users is None:
            return False
        parts = _ids(resource) if makers_of_ids else []
        ids = [part for part in parts if part in makers_of_ids]
        if ids:
            if resource in deleted or not deleted_ids.isdisjoint(ids):
                return True
            makers = [makers_of_ids[made_id] for made_id in ids]
            if any(each.runs.issuperset(usage.runs) for each in makers):
                return True
            if any(_is_new_in_run(each.runs_of_action, users.runs) for each in makers):
                return True
        for kind in service_types(resource):
            creators = creators_of_kinds.get(kind, set())
            is_by_creator = bool(ids) or users.first in creators
            if is_by_creator and _is_new_in_run(creators, users.runs):
                return True
        return False

    return is_made


def _is_new_in_run(creators: Collection[str], users: Collection[str]) -> bool:
    """Whether several runs created such resources, and not all of them used this one."""
    return len(creators) >= _LEAST_RUNS and not set(creators).issubset(users)


def _resource(usage: Usage) -> str:
    return usage.need.permission.resource


def _service(usage: Usage) -> str:
    return usage.action.partition(":")[0]


def _ids(arn: str) -> list[ResourceId]:
    """Returns the variable parts of the name of a resource, of which AWS may have chosen some."""
    service = service_of(arn)
    return [ResourceId(service, part.text) for part in variables_of_arn(service, arn)]


def _deleted(usages: Iterable[Usage]) -> set[str]:
    """Returns the resources that a call deleted."""
    used = {(usage.action, _resource(usage)) for usage in usages}
    return {
        arn for action, arn in used if any(ends(action, kind.name) for kind in service_types(arn))
    }


def _makers_of_ids(
    usages: Iterable[Usage], reviewed: Collection[str] | None
) -> dict[ResourceId, _Makers]:
    """Id that AWS chose in the response of a creating call -> who made it."""
    runs_of_action: dict[str, set[str]] = {}
    makers_of_id: dict[ResourceId, _Makers] = {}
    for usage in usages:
        if not usage.made or (reviewed is not None and not set(usage.runs).issubset(reviewed)):
            continue
        runs = runs_of_action.setdefault(usage.action, set())
        runs.update(usage.runs)
        for made_id in made_ids(usage):
            makers = makers_of_id.setdefault(made_id, _Makers(set(), runs))
            makers.runs.update(usage.runs)
    return makers_of_id


def made_ids(usage: Usage) -> Iterator[ResourceId]:
    """Yields the ids that AWS chose in the answers of a usage, with each service that their ARNs
    may have: `opensearch` too of an application that `es:CreateApplication` makes.
    """
    for service in services_of_arns(_service(usage)) if usage.made else ():
        for new_id in usage.made:
            yield ResourceId(service, new_id)


def creating_usages(usages: Sequence[Usage], wanted: Iterable[Usage]) -> list[Usage]:
    """Returns the usages that created resources of the types that `wanted` is about."""
    kinds = {kind for usage in wanted for kind in service_types(_resource(usage))}
    return [usage for usage in usages if not kinds.isdisjoint(_types_created(usage))]


def _creating_runs(
    usages: Iterable[Usage], reviewed: Collection[str] | None
) -> Mapping[ServiceType, set[str]]:
    """Resource type -> runs that created such a resource."""
    runs_by_kind: dict[ServiceType, set[str]] = {}
    for usage in usages:
        runs = [run for run in usage.runs if reviewed is None or run in reviewed]
        for kind in _types_created(usage):
            runs_by_kind.setdefault(kind, set()).update(runs)
    return runs_by_kind


def _types_created(usage: Usage) -> set[ServiceType]:
    """Returns the types of the resources that the calls of a usage created."""
    if not usage.is_allowed or not usage.succeeded:
        return set()
    service = _service(usage)
    return {
        ServiceType(service, kind)
        for event in usage.events
        for kind in created_types(service, event.rpartition(":")[2])
    }


def _using_runs(usages: Iterable[Usage]) -> Mapping[str, _Users]:
    """Resource -> the runs that used it."""
    users_of: dict[str, _Users] = {}
    for usage in sorted(usages, key=lambda usage: usage.first_seen):
        if usage.runs:
            users = users_of.setdefault(_resource(usage), _Users(usage.runs[0], set()))
            users.runs.update(usage.runs)
    return users_of


def _certainty(need: Need) -> Certainty:
    """Returns how well a record shows the resource of a need."""
    if need.derivation == IN_RESPONSE:
        return Certainty.FROM_ANSWER
    if not need.exact:
        return Certainty.IN_PART
    if need.basis is Basis.INFERRED:
        return Certainty.INFERRED
    return Certainty.WHOLE


class CreatedResources(Struct, frozen=True):
    """The resources that the runs of one principal created."""

    is_created: Callable[[Usage], bool]
    families: Mapping[str, str]
    """Resource -> its name with the end open that a tool drew."""
    new_ids: frozenset[ResourceId] = frozenset()
    """Ids of what the runs created."""

    def observe(self, usage: Usage, resource: str) -> ObservedResource:
        """Describes a resource of a usage for `patterns_of`."""
        is_created = self.is_created(usage)
        ids = _ids(resource) if is_created else []
        new_ids = dict.fromkeys(each.id for each in ids if each in self.new_ids)
        return ObservedResource(
            resource=resource,
            runs=usage.runs,
            made=is_created,
            family=family_of(resource, self.families),
            ids=tuple(new_ids),
            certainty=_certainty(usage.need),
        )

    def seen(self, usages: Iterable[Usage]) -> list[ObservedResource]:
        """Describes the resources of usages for `patterns_of`."""
        return [self.observe(usage, _resource(usage)) for usage in usages]


def find_created_resources(
    usages: Iterable[Usage],
    naming: Iterable[Usage] | None = None,
    reviewed: Collection[str] | None = None,
) -> CreatedResources:
    """Finds the resources that the principal of these usages creates.

    Args:
        usages: all usages of the principal.
        naming: the usages that name patterns are learned from; None: all.
        reviewed: ids of the runs that ids of created resources are learned from; None: all.
    """
    all_usages = tuple(usages)
    teachers = all_usages if naming is None else tuple(naming)
    creations = tuple(_creations(teachers))
    by_stacks = {
        _resource(creation) for creation in creations if STACK_SERVICE in creation.forwarded_by
    }
    # What two runs made under one name was not drawn for either.
    once = (_resource(creation) for creation in creations if len(creation.runs) < _LEAST_RUNS)
    makers = _makers_of_ids(all_usages, reviewed)
    return CreatedResources(
        is_created=_created_by_own_runs(all_usages, reviewed, makers),
        families=generated_families(once, by_stacks),
        new_ids=frozenset(makers),
    )


def _creations(usages: Iterable[Usage]) -> Iterator[Usage]:
    """Yields the usages that created a resource that they name."""
    for usage in usages:
        created = _types_created(usage)
        resource = _resource(usage)
        service = _service(usage)
        kinds = [ServiceType(service, kind) for kind in types_of_arn(service, resource)]
        if created.isdisjoint(kinds):
            continue
        is_named = usage.need.derivation in (IN_PART, IN_RESPONSE) and is_named_but_ids(resource)
        if usage.need.exact or is_named or is_open_anyway(resource):
            yield usage
