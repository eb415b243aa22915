"""Reads the names of a target from the usages of its runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from leastpriv.aws.session_names import is_run_id
from leastpriv.evidence.created_resources import ResourceId, made_ids
from leastpriv.models import Outcome, Permission, Run, Usage
from leastpriv.permissions.lifecycle import created_types, creates_or_adds
from leastpriv.permissions.names.app_names import AppNames, destroys, read_app_names
from leastpriv.permissions.names.observed import UNDECLARED, DeclaredCopies, NameUse, RunFacts
from leastpriv.permissions.resource_types import types_of_arn
from leastpriv.permissions.volatility import (
    ServiceType,
    parts_of,
    service_of,
    service_types,
)

_REF = re.compile(r"(?:ref|refs)[:/](?:refs/)?(?P<kind>heads|tags|pull)/(?P<name>[^:]+)")
_NUMBERED = re.compile(r"[A-Za-z]{0,20}[-_]?[0-9]{2,12}")
"""Words of a session name that a workflow fills in: `pr-31` of `deploy-pr-31`."""
_RUN_NUMBER = re.compile(r"(?<![0-9])[0-9]{4,11}(?![0-9])")
"""A number of a session name without the word before it; twelve digits are an account."""


def names_of(
    usages: Iterable[Usage],
    runs: Sequence[Run],
    declared: DeclaredCopies = UNDECLARED,
    reviewed: Collection[str] | None = None,
) -> AppNames:
    """Learns the names of a target.

    Args:
        usages: all usages of its principal.
        runs: all runs, oldest first.
        declared: what the owner says of the copies of the app.
        reviewed: ids of the runs that names are learned from; None: all.
    """
    return read_app_names([*_uses(usages, reviewed)], [*map(facts_of_run, runs)], declared)


def _uses(usages: Iterable[Usage], reviewed: Collection[str] | None) -> Iterator[NameUse]:
    seen = [
        (usage, _reviewed_runs(usage, reviewed))
        for usage in usages
        if usage.outcome is Outcome.ALLOWED and usage.succeeded
    ]
    counted = [(usage, runs) for usage, runs in seen if runs or not usage.runs]
    makers = _unnamed_makers(usage.need.permission for usage, _ in counted)
    new_ids = {made_id for usage, _ in counted for made_id in made_ids(usage)}
    for usage, runs in counted:
        permission = usage.need.permission
        if permission.resource == "*":
            continue
        types = service_types(permission.resource) if makers else ()
        yield NameUse(
            action=permission.action,
            resource=permission.resource,
            runs=runs,
            creates=creates_or_adds(permission.action) and not _is_parent(permission),
            destroys=destroys(permission.action),
            unnamed_makers=tuple(
                sorted({maker for kind in types for maker in makers.get(kind, ())})
            ),
            made_ids=tuple(_ends_with_id(permission.resource, new_ids)) if new_ids else (),
        )


def _reviewed_runs(usage: Usage, reviewed: Collection[str] | None) -> tuple[str, ...]:
    """Returns the runs of a usage that names are learned from."""
    if reviewed is None:
        return usage.runs
    return tuple(run for run in usage.runs if run in reviewed)


def _unnamed_makers(permissions: Iterable[Permission]) -> Mapping[ServiceType, set[str]]:
    """Resource type -> actions that made such resources, and that AWS authorizes on `*`."""
    makers: dict[ServiceType, set[str]] = {}
    for permission in permissions:
        service, _, event = permission.action.partition(":")
        for kind in created_types(service, event) if permission.resource == "*" else ():
            makers.setdefault(ServiceType(service, kind), set()).add(permission.action)
    return makers


def _ends_with_id(resource: str, new_ids: Collection[ResourceId]) -> Iterator[str]:
    """Yields a resource up to each id in it that AWS chose when a run made something."""
    service = service_of(resource)
    for part in parts_of(service, resource):
        if ResourceId(service, part.text) in new_ids:
            yield resource[: part.end]


def _is_parent(permission: Permission) -> bool:
    """Whether a call makes something below the resource: a node group in a cluster."""
    service, _, event = permission.action.partition(":")
    made = created_types(service, event)
    named = types_of_arn(service, permission.resource)
    return bool(made and named) and named.isdisjoint(made)


def facts_of_run(run: Run) -> RunFacts:
    """Returns what a run shows of itself and may write into names of resources: of a pull request
    `pr-12`, `pull-12` and `mr-12`, of the session its numbers, and the day `20261128`.

    Names with these words are then known as those of one run or copy. The branch or pull request
    comes from the subject of the login; a run without one shows only numbers and the day.
    """
    ref = _REF.search(run.identity.subject) if run.identity else None
    numbers = frozenset(_numbers_of(run))
    day = f"{run.first:%Y%m%d}"
    if ref is None:
        return RunFacts(id=run.id, numbers=numbers, day=day)
    if ref["kind"] == "pull":
        number = ref["name"].partition("/")[0]
        words = frozenset(f"{word}-{number}" for word in ("pr", "pull", "mr"))
        return RunFacts(run.id, f"pr-{number}", words, numbers, day)
    branch = ref["name"].lower()
    words = frozenset({branch, branch.rpartition("/")[2]})
    return RunFacts(run.id, branch, words, numbers, day)


def _numbers_of(run: Run) -> Iterator[str]:
    for session in filter(None, (run.session, run.parent_run)):
        if is_run_id(session):
            yield session.lower()
            continue
        for word in (*_NUMBERED.findall(session), *_RUN_NUMBER.findall(session)):
            yield word.lower()
