"""Resolves IAM paths of roles, users and policies that calls name without one, and joins usage by
resource pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from leastpriv.evidence.created_resources import CreatedResources, find_created_resources
from leastpriv.evidence.models import CallTotals, Evidence, GroupKey, regrouped
from leastpriv.models import Basis, Need, Outcome, Permission, Usage
from leastpriv.permissions.arn_templates import NAMED, NAMED_WITHOUT_PATH
from leastpriv.permissions.generalize import patterns_of
from leastpriv.permissions.lifecycle import created_types

if TYPE_CHECKING:
    from leastpriv.permissions.names.app_names import AppNames
    from leastpriv.policy.document import Document

_WITHOUT_PATH = (NAMED, NAMED_WITHOUT_PATH)
NAMED_ELSEWHERE = "named by the request, its path by another call"
"""Derivation of an IAM resource whose path comes from another call."""
_PATHS = re.compile(
    r"(?P<head>arn:[^:]*:iam::[^:]*:(?P<type>role|user|group|policy|instance-profile)/)"
    r"(?:[^*?$]+/)?(?P<name>[^/*?$]+)"
)


def with_known_paths(groups: Mapping[GroupKey, CallTotals]) -> Mapping[GroupKey, CallTotals]:
    """Returns the groups with the paths that other calls of the same evidence show."""
    paths = known_paths(
        need
        for key, totals in groups.items()
        for need in key.needs
        if (key.outcome is Outcome.ALLOWED and totals.succeeded)
        or need.basis in (Basis.DENIED, Basis.INFERRED)
    )
    if not paths:
        return groups

    def with_paths(key: GroupKey, _: CallTotals) -> GroupKey:
        needs = [with_path(need, paths) for need in key.needs]
        return key._replace(needs=tuple(needs))

    return regrouped(groups, with_paths)


def known_paths(needs: Iterable[Need]) -> Mapping[str, str]:
    """ARN without a path -> the one ARN with its path, for needs of calls that succeeded, or that a
    denial names.

    Names seen under two paths, or created without one, are left out.
    """
    arns_by_name = _arns_by_name(needs)
    return {
        bare: next(iter(arns))
        for bare, arns in arns_by_name.items()
        if len(arns) == 1 and bare not in arns
    }


def with_paths_of_policies(evidence: Evidence, documents: Iterable[Document]) -> Evidence:
    """Returns the evidence; denials that name an IAM resource without its path get the one path
    that policies name.

    A name is unique in an account, whatever its path.
    """
    granted = {
        arn
        for document in documents
        for statement in document.statements
        for arn in statement.resources
    }
    granted_needs = [Need(Permission("", arn), Basis.KEPT, "") for arn in granted]
    pathless = arns_without_path(usage.need for usage in evidence.usages if usage.succeeded)
    paths = {bare: arn for bare, arn in known_paths(granted_needs).items() if bare not in pathless}
    usages = tuple(
        replace(usage, need=with_path(usage.need, paths)) if usage.denial else usage
        for usage in evidence.usages
    )
    return replace(evidence, usages=usages) if paths else evidence


def arns_without_path(needs: Iterable[Need]) -> frozenset[str]:
    """ARNs of IAM resources that were created without a path, or that a successful call names by
    such an ARN.
    """
    return frozenset(bare for bare, arns in _arns_by_name(needs).items() if arns == {bare})


def _arns_by_name(needs: Iterable[Need]) -> Mapping[str, set[str]]:
    """ARN without a path -> ARNs that show its path."""
    arns_by_name: dict[str, set[str]] = {}
    for need in needs:
        resource = need.permission.resource
        match = _PATHS.fullmatch(resource) if ":iam::" in resource else None
        if not match:
            continue
        bare = match["head"] + match["name"]
        is_made = match["type"] in created_types("iam", need.permission.action.partition(":")[2])
        if resource != bare or need.derivation not in _WITHOUT_PATH or is_made:
            arns_by_name.setdefault(bare, set()).add(resource)
    return arns_by_name


def with_path(need: Need, paths: Mapping[str, str]) -> Need:
    """Adds the path to the IAM resource of a need, where the request has only the name and `paths`
    has the path.
    """
    arn = paths.get(need.permission.resource) if need.derivation in _WITHOUT_PATH else None
    if arn is None:
        return need
    return replace(
        need, permission=replace(need.permission, resource=arn), derivation=NAMED_ELSEWHERE
    )


def by_pattern(usages: Sequence[Usage], names: AppNames | None = None) -> tuple[Usage, ...]:
    """Generalizes the parts of resource names that vary between runs, and adds up usages that
    become equal.

    Args:
        usages: the usages.
        names: the names of the principal's apps; None: only the look of a name opens it.
    """
    created = find_created_resources(usages)
    groups: dict[tuple[object, ...], list[Usage]] = {}
    for usage in usages:
        denial = usage.denial
        refused_by = (denial.denied_by, denial.explicit, denial.mendable) if denial else ()
        permission = usage.need.permission
        key = (
            permission.action,
            permission.conditions,
            usage.need.basis,
            usage.outcome,
            refused_by,
        )
        groups.setdefault(key, []).append(usage)
    return tuple(merged for group in groups.values() for merged in _merged(group, created, names))


def without_contexts(usages: Sequence[Usage]) -> tuple[Usage, ...]:
    """Adds up the allowed usages of a permission that differ in further keys of the requests."""
    if not any(usage.need.context for usage in usages):
        return tuple(usages)
    groups: dict[object, list[Usage]] = {}
    for index, usage in enumerate(usages):
        is_allowed = usage.outcome is Outcome.ALLOWED
        key = replace(usage.need, context=()) if is_allowed else index
        groups.setdefault(key, []).append(usage)
    return tuple(summed(group[0].need.permission.resource, group) for group in groups.values())


def _merged(
    usages: Sequence[Usage], made: CreatedResources, names: AppNames | None
) -> Iterable[Usage]:
    """Unites the usages of one action on resources that one pattern covers."""
    observed = made.seen(usages)
    if names is None:
        merged_patterns = patterns_of(observed)
    else:
        from leastpriv.permissions.names.writer import write_resources

        merged_patterns = write_resources(usages[0].need.permission.action, observed, names)
    patterns: dict[str, str] = {}
    for merged_pattern in merged_patterns:
        for covered in merged_pattern.covers:
            patterns.setdefault(covered, merged_pattern.pattern)
    by_resource: dict[str, list[Usage]] = {}
    for usage in usages:
        resource = usage.need.permission.resource
        by_resource.setdefault(patterns.get(resource, resource), []).append(usage)
    return (summed(pattern, group) for pattern, group in by_resource.items())


def summed(pattern: str, usages: Sequence[Usage]) -> Usage:
    """Returns the usages of an action on the resources of a pattern as one, with their numbers
    added up; the runs are in the order in which they are first seen.
    """
    first = usages[0]
    permission = first.need.permission
    if len(usages) == 1 and permission.resource == pattern:
        return first
    runs: dict[str, None] = {}
    for usage in sorted(usages, key=lambda usage: usage.first_seen):
        runs.update(dict.fromkeys(usage.runs))
    return replace(
        first,
        need=replace(first.need, permission=replace(permission, resource=pattern)),
        count=sum(usage.count for usage in usages),
        first_seen=min(usage.first_seen for usage in usages),
        last_seen=max(usage.last_seen for usage in usages),
        runs=tuple(runs),
        events=tuple(sorted({event for usage in usages for event in usage.events})),
        regions=tuple(sorted({region for usage in usages for region in usage.regions})),
        forwarded_by=tuple(sorted({service for usage in usages for service in usage.forwarded_by})),
        programs=tuple(sorted({program for usage in usages for program in usage.programs})),
    )
