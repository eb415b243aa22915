"""Aggregates usage by resource pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from leastpriv.evidence.created_resources import CreatedResources, find_created_resources
from leastpriv.models import Usage
from leastpriv.permissions.generalize import patterns_of


def by_pattern(usages: Sequence[Usage]) -> tuple[Usage, ...]:
    """Generalizes the parts of resource names that vary between runs, and adds up usages that become equal.

    Returns:
        The usages in the order of the input.
    """
    made = find_created_resources(usages)
    groups: dict[tuple[object, ...], list[Usage]] = {}
    for usage in usages:
        denial = usage.denial
        refused_by = (denial.denied_by, denial.explicit, denial.mendable) if denial else ()
        permission = usage.need.permission
        key = (permission.action, permission.conditions, usage.need.basis, usage.outcome, refused_by)
        groups.setdefault(key, []).append(usage)
    return tuple(merged for group in groups.values() for merged in _merged(group, made))


def _merged(usages: Sequence[Usage], made: CreatedResources) -> Iterable[Usage]:
    patterns = {covered: found.pattern for found in patterns_of(made.seen(usages)) for covered in found.covers}
    by_resource: dict[str, list[Usage]] = {}
    for usage in usages:
        by_resource.setdefault(patterns[usage.need.permission.resource], []).append(usage)
    return (_sum(pattern, group) for pattern, group in by_resource.items())


def _sum(pattern: str, usages: Sequence[Usage]) -> Usage:
    first = usages[0]
    if len(usages) == 1 and first.need.permission.resource == pattern:
        return first
    runs = {run: usage.first_seen for usage in sorted(usages, key=lambda usage: usage.first_seen) for run in usage.runs}
    return replace(
        first,
        need=replace(first.need, permission=replace(first.need.permission, resource=pattern)),
        count=sum(usage.count for usage in usages),
        first_seen=min(usage.first_seen for usage in usages),
        last_seen=max(usage.last_seen for usage in usages),
        runs=tuple(runs),
        events=tuple(sorted({event for usage in usages for event in usage.events})),
        regions=tuple(sorted({region for usage in usages for region in usage.regions})),
        forwarded_by=tuple(sorted({service for usage in usages for service in usage.forwarded_by})),
        direct=any(usage.direct for usage in usages),
    )
