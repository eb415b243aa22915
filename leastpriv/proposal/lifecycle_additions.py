"""What a first draft grants for later deploys: the life cycle of what the runs created, and uploads
without records.

"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
        short_lived = dict(_in_short_lived(change, names))
        if any(
            condition.key == CALLED_VIA or is_of_copy(condition) for condition in change.conditions
        ):
            whole_types = filter(is_whole_type, change.resources)
            short_lived.update((resource, [resource]) for resource in whole_types)
        _split(change, short_lived, life_cycle)
    return life_cycle


def _split(change: Change, ends: Mapping[str, Sequence[str]], life_cycle: LifeCycle) -> None:
    """Adds a deletion to the written changes for some of its resources, and to the offers for the
    others.

    `ends`: resource -> what of it is written.
    """
    written = [end for name in change.resources for end in ends.get(name, ())]
    offered = [name for name in change.resources if name not in written]
    if written:
        patterns = tuple(
            structs.replace(pattern, pattern=end)
            for pattern in change.patterns
            for end in ends.get(pattern.pattern, ())
        )
        change_written = structs.replace(change, resources=tuple(written), patterns=patterns)
        life_cycle.written.append(change_written)
    if offered:
        patterns = tuple(pattern for pattern in change.patterns if pattern.pattern in offered)
        change_offered = structs.replace(change, resources=tuple(offered), patterns=patterns)
        life_cycle.offered.append(change_offered)


def _in_short_lived(change: Change, names: AppNames) -> Iterator[tuple[str, Sequence[str]]]:
    """Yields the resources of a deletion that are of short-lived copies and were made there, each
    with its part in those copies of which runs show that they are short-lived.
    """
    if ends_setting(change):
        return
    makers = set(change.because.split(", "))
    for use in names.uses:
        if use.use.action in makers and names.ends_with_copy(use):
            ends = names.short_lived_patterns(use, is_end=True)
            for pattern in names.short_lived_patterns(use):
                yield pattern, [end for end in ends if resource_covers(pattern, end)]


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
    changes_of_action = grouped((change.action, change) for change in added)
    for action, owning_actions in context.partners.items():
        owners = [change for name in owning_actions for change in changes_of_action.get(name, ())]
        if not owners or action in changes_of_action:
            continue
        if _may_follow(action, context, has_sensitive=has_sensitive):
            on = _naming_changes(action, owners, added)
            yield from _following(action, owners, on, context, copies, used=())
    for creating_action in filter(creates_its_resource, changes_of_action):
        if not tools_of(context.used.get(creating_action, ())):
            continue
        creations = [
            change for change in changes_of_action[creating_action] if not change.conditions
        ]
        for action in siblings_among(creating_action, changes_of_action):
            if _is_set_at_creation(action, creating_action):
                used = [name for change in changes_of_action[action] for name in change.resources]
                yield from _following(action, creations, creations, context, copies, used=used)


def _may_follow(action: str, context: GuardContext, *, has_sensitive: bool) -> bool:
    """Whether an action that no run used may be written or offered."""
    if sensitivity(action) and not has_sensitive:
        return False
    if forbidden(action, context.options.never_add):
        return False
    return not _deletes_several(action, context.partners)


def _is_set_at_creation(action: str, creating_action: str) -> bool:
    """Whether an action is harmless, or sensitive and sets no more than the creation sets."""
    reason = sensitivity(action)
    return not reason or (reason == BY_LEVEL and changes_made(creating_action, action))


def _naming_changes(
    action: str, owners: Sequence[Change], added: Sequence[Change]
) -> Sequence[Change]:
    """Returns the changes that name where a life-cycle action applies: its owners, or, where
    these are authorized on no resource or on the parent, the other calls of the service.
    """
    names = [name for change in owners for name in change.resources if name != "*"]
    if any(with_items(action, name) for name in names):
        return owners
    service = action.partition(":")[0]
    return [
        change
        for change in added
        if change.action.startswith(f"{service}:") and not any(map(is_whole_type, change.resources))
    ]


def _deletes_several(action: str, partners: Collection[str]) -> bool:
    """Whether a deletion ends by one call what another one ends one by one."""
    return destroys(action) and action.endswith("s") and action[:-1] in partners


def _following(
    action: str,
    owners: Sequence[Change],
    on: Sequence[Change],
    context: GuardContext,
    copies: Copies,
    *,
    used: Sequence[str],
) -> Iterator[Change]:
    """Yields a life-cycle action on the resources of some changes, but for those that it was used
    on.
    """
    resources: dict[str, None] = {}
    for change in on:
        for name in _succeeded(change):
            resources.update(dict.fromkeys(with_items(action, name)))
    if destroys(action) and not (used or resources.keys() - {"*"}):
        on = owners
        resources = dict.fromkeys(_unnamed_resources(action, owners, context.evidence.principal))
    names = _not_used_on(action, resources, used)
    if not names:
        return
    patterns = {
        pattern.pattern: pattern
        for change in on
        for pattern in change.patterns
        if pattern.pattern in names
    }
    change = Change(
        kind=ChangeKind.ADD,
        action=action,
        resources=names,
        basis=Basis.LIFECYCLE,
        patterns=tuple(patterns.values()),
        because=", ".join(sorted({owner.action for owner in owners})),
        security=sensitivity(action),
    )
    usages = [usage for change in on for usage in change.usages]
    yield from by_id_conditions(change, usages, context.evidence, copies)


def _not_used_on(action: str, resources: Iterable[str], used: Sequence[str]) -> tuple[str, ...]:
    """Returns the resources without those that an action was used on; `*` for one that takes no
    resource and was not used.
    """
    catalogue_action = action_of(action)
    if catalogue_action is not None and not catalogue_action.resource_types:
        return () if used else ("*",)
    fewest_letters = least_literal(action) if used else 0
    known_names = {"*", *used}
    wildcards = [name for name in used if has_wildcard(name)]
    names: list[str] = []
    for resource in resources:
        if resource in known_names or not _is_literal(resource, fewest_letters):
            continue
        if not any(resource_covers(wildcard, resource) for wildcard in wildcards):
            names.append(resource)
    return without_covered(names)


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
