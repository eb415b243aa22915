"""Finds resources that the principal's own runs create: by ids that AWS chose, and by names whose
ends a tool drew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

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
from leastpriv.permissions.resource_types import types_of_arn, variables_of_arn
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


def _created_by_own_runs(
    usages: Sequence[Usage],
    reviewed: Collection[str] | None,
    makers_of_ids: Mapping[tuple[str, str], set[str]],
) -> Callable[[Usage], bool]:
    """Returns a test of whether the principal's runs may have created the resource of a usage.

    They may if the first run that used the resource also created a resource of its type
    successfully, or if the response of a creating call contains its id. At least two of the
    `reviewed` runs (None: all) must have created such resources, and a resource that all of these
    runs used is not newly created. One run is enough where it alone used the resource whose id its
    call returned, or where any run deleted it, or what it is a part of (a stage of an API): the
    next run has another one.
    """
    creations = _creating_runs(usages, reviewed)
    services = {created.service for created in creations}
    services.update(service for service, _ in makers_of_ids)
    users = _using_runs(
        usage for usage in usages if service_of(usage.need.permission.resource) in services
    )
    needed_pairs = {
        (usage.need.permission.action, usage.need.permission.resource) for usage in usages
    }
    deleted = {
        arn
        for action, arn in needed_pairs
        if any(ends(action, kind) for kind in types_of_arn(service_of(arn), arn))
    }
    deleted_ids = {
        (service_of(arn), part.text)
        for arn in deleted
        for part in variables_of_arn(service_of(arn), arn)[-1:]
    }

    def is_made(usage: Usage) -> bool:
        """Whether the principal's own runs made the resource of a usage: a call of theirs named its
        id, or several runs create its type and used it first.
        """
        resource = usage.need.permission.resource
        if resource not in users:
            return False
        prefix, (first, runs) = service_of(resource), users[resource]
        parts = variables_of_arn(prefix, resource) if makers_of_ids else ()
        ids = [(prefix, part.text) for part in parts if (prefix, part.text) in makers_of_ids]
        makers_of_it = [makers_of_ids[made_id] for made_id in ids]
        if makers_of_it and (
            resource in deleted
            or not deleted_ids.isdisjoint(ids)
            or any({*usage.runs} <= makers for makers in makers_of_it)
        ):
            return True
        of_types = (creations.get(each, set()) for each in service_types(resource))
        return any(
            (first in creators or makers_of_it)
            and len(creators) >= _LEAST_RUNS
            and not creators <= runs
            for creators in of_types
        )

    return is_made


def _makers_of_ids(
    usages: Iterable[Usage], reviewed: Collection[str] | None
) -> dict[tuple[str, str], set[str]]:
    """(IAM prefix, id that AWS chose in the response of a creating call) -> runs that made the
    call.
    """
    runs_by_id: dict[tuple[str, str], set[str]] = {}
    for usage in usages:
        for new in usage.made if reviewed is None or set(usage.runs) <= {*reviewed} else ():
            runs_by_id.setdefault(
                (usage.need.permission.action.partition(":")[0], new), set()
            ).update(usage.runs)
    return runs_by_id


def creating_usages(usages: Sequence[Usage], wanted: Iterable[Usage]) -> list[Usage]:
    """Returns the usages that created resources of the types that `wanted` is about."""
    arns = {usage.need.permission.resource for usage in wanted}
    kinds = {kind for arn in arns for kind in service_types(arn)}
    return [usage for usage in usages if not kinds.isdisjoint(_types_created(usage))]


def _creating_runs(
    usages: Iterable[Usage], reviewed: Collection[str] | None
) -> Mapping[ServiceType, set[str]]:
    """Resource type -> runs that created such a resource."""
    runs_by_type: dict[ServiceType, set[str]] = {}
    for usage in usages:
        for kind in _types_created(usage):
            runs = (
                usage.runs if reviewed is None else (run for run in usage.runs if run in reviewed)
            )
            runs_by_type.setdefault(kind, set()).update(runs)
    return runs_by_type


def _types_created(usage: Usage) -> set[ServiceType]:
    """The types of the resources that the calls of a usage created."""
    if not usage.is_allowed or not usage.succeeded:
        return set()
    prefix = usage.action.partition(":")[0]
    return {
        ServiceType(prefix, kind)
        for event in usage.events
        for kind in created_types(prefix, event.rpartition(":")[2])
    }


def _using_runs(usages: Iterable[Usage]) -> Mapping[str, tuple[str, set[str]]]:
    """Resource -> the first run that used it, and all runs that did."""
    runs_by_resource: dict[str, tuple[str, set[str]]] = {}
    for usage in sorted(
        (usage for usage in usages if usage.runs), key=lambda usage: usage.first_seen
    ):
        runs_by_resource.setdefault(usage.need.permission.resource, (usage.runs[0], set()))[
            1
        ].update(usage.runs)
    return runs_by_resource


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
    new_ids: frozenset[tuple[str, str]] = frozenset()
    """(IAM prefix, id) of what the runs created."""

    def observe(self, usage: Usage, resource: str) -> ObservedResource:
        """Describes a resource of a usage for `patterns_of`."""
        is_created = self.is_created(usage)
        prefix = service_of(resource)
        parts = variables_of_arn(prefix, resource) if is_created else ()
        ids = dict.fromkeys([part.text for part in parts if (prefix, part.text) in self.new_ids])
        return ObservedResource(
            resource=resource,
            runs=usage.runs,
            made=is_created,
            family=family_of(resource, self.families),
            ids=tuple(ids),
            certainty=_certainty(usage.need),
        )

    def seen(self, usages: Iterable[Usage]) -> list[ObservedResource]:
        """Describes the resources of usages for `patterns_of`."""
        return [self.observe(usage, usage.need.permission.resource) for usage in usages]


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
        creation.need.permission.resource
        for creation in creations
        if STACK_SERVICE in creation.forwarded_by
    }
    # What two runs made under one name was not drawn for either.
    once = (
        creation.need.permission.resource
        for creation in creations
        if len(creation.runs) < _LEAST_RUNS
    )
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
        resource = usage.need.permission.resource
        prefix = usage.need.permission.action.partition(":")[0]
        if created and not created.isdisjoint(
            [ServiceType(prefix, kind) for kind in types_of_arn(prefix, resource)]
        ):
            is_named = usage.need.derivation in (IN_PART, IN_RESPONSE) and is_named_but_ids(
                resource
            )
            if usage.need.exact or is_named or is_open_anyway(resource):
                yield usage
