"""What a first draft grants for later deploys: the life cycle of what the runs created, and uploads
without records.

"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct, structs

from leastpriv.evidence.created_tags import CALLED_VIA
from leastpriv.models import Basis, ChangeKind, grouped
from leastpriv.permissions.catalog import BY_LEVEL, forbidden, sensitivity
from leastpriv.permissions.generalize import least_literal
from leastpriv.permissions.implied import READ_OBJECT
from leastpriv.permissions.lifecycle import changes_made, siblings_among
from leastpriv.permissions.names.app_names import AppNames, destroys, sets
from leastpriv.permissions.names.copies import Copies
from leastpriv.permissions.patterns import has_wildcard, resource_covers, without_covered
from leastpriv.permissions.resource_types import (
    action_of,
    bucket_of,
    creates_its_resource,
    widest,
)
from leastpriv.permissions.volatility import is_whole_type, literal_letters, parts_of, service_of
from leastpriv.proposal.escalation_paths import known_role
from leastpriv.proposal.id_conditions import by_id_conditions, is_of_copy
from leastpriv.proposal.models import Change, GuardContext
from leastpriv.proposal.removals import tools_of
from leastpriv.proposal.stability import with_items

_UPLOAD = "s3:PutObject"


class LifeCycle(Struct, frozen=True):
    """What later deploys need that no run used."""

    written: list[Change]
    offered: list[Change]
    """Deletions in long-lived copies, of shared state and of ids that carry no copy."""


def lifecycle_additions(
    added: Sequence[Change],
    context: GuardContext,
    names: AppNames,
    *,
    has_sensitive: bool = False,
) -> LifeCycle:
    """Lists what later deploys need that no policy grants: the life-cycle actions of added ones.

    What destroys is written in short-lived copies only, and offered elsewhere. An action that no
    run used has the resources of what it belongs to; sensitive and forbidden ones
    are left to the reader, who finds them among the suggested ones, unless `has_sensitive`. A used
    one has those that a deploy tool created and has not used it on yet, a sensitive one if it sets
    what the creation sets (`SetQueueAttributes`).
    """
    life_cycle = LifeCycle([], [])
    for change in _counterparts(added, context, names.copies, has_sensitive=has_sensitive):
        if not destroys(change.action):
            life_cycle.written.append(change)
            continue
        short_lived = set(_in_short_lived(change, names))
        if any(
            condition.key == CALLED_VIA or is_of_copy(condition) for condition in change.conditions
        ):
            short_lived.update(filter(is_whole_type, change.resources))
        _split(change, short_lived, life_cycle)
    return life_cycle


def _split(change: Change, own: Collection[str], life_cycle: LifeCycle) -> None:
    """Adds a deletion to the written changes for some of its resources, and to the offers for the
    others.
    """
    written_resources = tuple(resource for resource in change.resources if resource in own)
    resources_left = tuple(resource for resource in change.resources if resource not in own)
    for resources, changes in (
        (written_resources, life_cycle.written),
        (resources_left, life_cycle.offered),
    ):
        if resources:
            patterns = tuple(pattern for pattern in change.patterns if pattern.pattern in resources)
            changes.append(structs.replace(change, resources=resources, patterns=patterns))


def _in_short_lived(change: Change, names: AppNames) -> Iterator[str]:
    """Yields the resources of a deletion that are of short-lived copies and were made there."""
    if ends_setting(change):
        return
    makers = set(change.because.split(", "))
    for use in names.uses:
        if use.use.action in makers and names.ends_with_copy(use):
            yield from names.short_lived_patterns(use)


def ends_setting(change: Change) -> bool:
    """Whether a deletion ends a setting, which a call put on what another one created."""
    makers = change.because.split(", ")
    setting = [maker for maker in makers if sets(maker)]
    creating = [maker for maker in makers if ":Create" in maker]
    ends_created = any(changes_made(maker, change.action) for maker in creating)
    return bool(setting and creating) and not ends_created


def _counterparts(
    added: Sequence[Change], context: GuardContext, copies: Copies, *, has_sensitive: bool
) -> Iterator[Change]:
    """Yields the life-cycle actions of added ones, on all resources of these."""
    of_action = grouped([(change.action, change) for change in added])
    for action, owners in context.partners.items():
        changes = [change for owner in owners for change in of_action.get(owner, ())]
        if (
            not changes
            or action in of_action
            or (sensitivity(action) and not has_sensitive)
            or forbidden(action, context.options.never_add)
            or _deletes_several(action, context.partners)
        ):
            continue
        naming_changes = changes
        if not any(
            with_items(action, resource)
            for change in changes
            for resource in change.resources
            if resource != "*"
        ):
            # The owner is authorized on no resource or on the parent: other calls name what it
            # made.
            service = action.partition(":")[0]
            of_service = (
                addition for addition in added if addition.action.startswith(f"{service}:")
            )
            naming_changes = [
                addition
                for addition in of_service
                if not any(map(is_whole_type, addition.resources))
            ]
        yield from _following(action, changes, naming_changes, context, (), copies=copies)
    for owner in filter(creates_its_resource, of_action):
        for action in (
            siblings_among(owner, of_action) if tools_of(context.used.get(owner, ())) else ()
        ):
            if not sensitivity(action) or (
                sensitivity(action) == BY_LEVEL and changes_made(owner, action)
            ):
                resources_in_use = [
                    resource for change in of_action[action] for resource in change.resources
                ]
                free = [change for change in of_action[owner] if not change.conditions]
                yield from _following(action, free, free, context, resources_in_use, copies=copies)


def _deletes_several(action: str, partners: Collection[str]) -> bool:
    """Whether a deletion ends by one call what another one ends one by one."""
    return destroys(action) and action.endswith("s") and action[:-1] in partners


def _following(
    action: str,
    owners: Sequence[Change],
    on: Sequence[Change],
    context: GuardContext,
    used: Sequence[str],
    *,
    copies: Copies,
) -> Iterator[Change]:
    """Yields a life-cycle action on the resources of some changes, but for those that it was used
    on.
    """
    catalogue_action = action_of(action)
    takes_any = catalogue_action is not None and not catalogue_action.resource_types
    succeeded = (resource for change in on for resource in _succeeded(change))
    resources = dict.fromkeys(
        item_name for name in succeeded for item_name in with_items(action, name)
    )
    if destroys(action) and not (used or resources.keys() - {"*"}):
        on = owners
        resources = dict.fromkeys(_unnamed_resources(action, owners, context.evidence.principal))
    wildcards, known_names = [name for name in used if has_wildcard(name)], {"*", *used}
    fewest_letters = least_literal(action) if used else 0
    unnamed = (
        resource
        for resource in resources
        if resource not in known_names and _is_literal(resource, fewest_letters)
    )
    uncovered = [
        resource
        for resource in unnamed
        if not any(resource_covers(wildcard, resource) for wildcard in wildcards)
    ]
    names = without_covered(uncovered)
    if takes_any:
        names = () if used else ("*",)
    if names:
        patterns = {
            pattern.pattern: pattern
            for change in on
            for pattern in change.patterns
            if pattern.pattern in names
        }
        usages = [usage for change in on for usage in change.usages]
        change = Change(
            kind=ChangeKind.ADD,
            action=action,
            resources=names,
            basis=Basis.LIFECYCLE,
            patterns=tuple(patterns.values()),
            because=", ".join(sorted({change.action for change in owners})),
            security=sensitivity(action),
        )
        yield from by_id_conditions(change, usages, context.evidence, copies)


def _succeeded(change: Change) -> Iterator[str]:
    """Yields the resources of an addition but those on which each call failed."""
    outcomes: dict[str, bool] = {}
    for usage in change.usages:
        resource = usage.resource
        outcomes[resource] = outcomes.get(resource, False) or usage.succeeded
    for resource in change.resources:
        if outcomes.get(resource, True):
            yield resource


def _unnamed_resources(action: str, owners: Sequence[Change], principal: str) -> Iterator[str]:
    """Yields every resource of the types of an action, where some owner made one and no call names
    it: AWS chose its id.
    """
    usages = [usage for owner in owners for usage in owner.usages if usage.succeeded]
    if usages:
        regions = sorted({region for usage in usages for region in usage.regions})
        yield from filter(is_whole_type, widest(action, principal, regions))


def _is_literal(resource: str, least: int) -> bool:
    """Whether a pattern of names has enough letters: an action that deletes needs more than the
    creation.
    """
    if not has_wildcard(resource) or is_whole_type(resource):
        return True
    parts = parts_of(service_of(resource), resource)
    return sum(literal_letters(resource[part.start : part.end]) for part in parts) >= least


def uploads(added: Sequence[Change], context: GuardContext) -> Iterator[Change]:
    """Yields the added `s3:PutObject` on objects that a service read for a run, under names of this
    run alone.

    A run deploys what it has uploaded. Nothing where data events of the bucket show the uploads,
    nor for a role whose tool uploads by another one (`known_roles.tsv`).
    """
    is_known = known_role(context.evidence.principal)
    if (
        is_known
        or forbidden(_UPLOAD, context.options.never_add)
        or any(addition.action == _UPLOAD for addition in added)
    ):
        return
    gets = [addition for addition in added if addition.action == "s3:GetObject"]
    needs = (usage.need for get in gets for usage in get.usages)
    read = {need.permission.resource for need in needs if need.derivation == READ_OBJECT}
    open_patterns = (
        pattern
        for get in gets
        for pattern in get.patterns
        if pattern.openings and not read.isdisjoint(pattern.covers)
    )
    names = {
        pattern.pattern: pattern
        for pattern in open_patterns
        if bucket_of(pattern.pattern) not in context.data_streams
    }
    if names:
        yield Change(
            ChangeKind.ADD,
            _UPLOAD,
            tuple(names),
            basis=Basis.INFERRED,
            patterns=tuple(names.values()),
        )
