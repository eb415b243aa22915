"""Names the changes between two versions of a policy, as a proposal names its own, and what a
person brought back or deleted of them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from leastpriv.diff.compare import entries_of
from leastpriv.diff.policy_diff import catalogue_actions
from leastpriv.evidence.usage_history import ANYTHING
from leastpriv.models import Permission, grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import (
    action_covers,
    action_matches,
    overlaps,
    resource_covers,
)
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import allow_statements
from leastpriv.proposal.models import addition_id, removal_ids


def change_ids_between(before: Document, after: Document) -> tuple[str, ...]:
    """Returns the ids of the changes that made one version of a policy into another: of each entry
    and action that lost a resource, and of each action that gained one.
    """
    removed = dict.fromkeys(_removals(before, after))
    added = dict.fromkeys(_additions(before, after))
    return (*removed, *added)


def removals_of_granted(document: Document) -> frozenset[str]:
    """Returns the ids of the removals of all that a policy grants, on its resources and on `*`."""
    ids: set[str] = set()
    for statement in allow_statements([document]):
        resources = dict.fromkeys([*_resources_of(statement), ANYTHING])
        for pattern in entries_of(statement):
            for name in {pattern, *_actions_of(pattern, statement)}:
                ids.update(removal_ids(name, resources))
    return frozenset(ids)


class RestoredGrant(Struct, frozen=True):
    """What a policy grants though a proposal removed it."""

    pattern: str
    """Pattern of actions, as narrow as the removed entry and the present one."""
    resource: str
    entry: Permission
    """The present entry on its resource, as it is written."""


def restored_grants(before: Document, proposed: Document, now: Document) -> Iterator[RestoredGrant]:
    """Yields what a proposal removed and a policy grants all the same.

    A person left it, or added it again, in whichever statement and under whichever pattern of
    actions or resource: what `*` granted may come back as `s3:Delete*` or on one bucket.

    Args:
        before: The policy that the proposal changed.
        proposed: The policy that it proposed.
        now: The present policy.
    """
    written = _written_grants(proposed)
    removed = _by_pattern(before, written)
    left = _GrantedActions(proposed)
    for added in _by_pattern(now, written).values():
        for removed_grants in removed.values():
            # The grants of one pattern differ in their resources alone.
            patterns = _shared_patterns(added[0], removed_grants[0])
            if patterns:
                for grant in added:
                    yield from _restored(grant, removed_grants, patterns, left)


def _restored(
    grant: _WrittenGrant,
    removed_grants: Sequence[_WrittenGrant],
    patterns: Sequence[str],
    left: _GrantedActions,
) -> Iterator[RestoredGrant]:
    """Yields what a present entry grants of removed ones, without what the proposal left."""
    resources = {_narrower(grant.resource, removed.resource) for removed in removed_grants}
    entry = Permission(grant.pattern, grant.resource)
    for resource in sorted(resources - {""}):
        for pattern in patterns:
            if not left.has_all(pattern, resource):
                yield RestoredGrant(pattern, resource, entry)


def entries_with_id(document: Document, ids: Iterable[str]) -> Iterator[RestoredGrant]:
    """Yields the entries of a policy whose removal, or that of one of their actions, has one of
    some ids.
    """
    wanted = frozenset(ids)
    for grant in _written_grants(document).values():
        names = {grant.pattern, *_actions_of(grant.pattern, grant.statement)}
        has_id = any(wanted.intersection(removal_ids(name, [grant.resource])) for name in names)
        if has_id:
            entry = Permission(grant.pattern, grant.resource)
            yield RestoredGrant(_pattern_of(grant), grant.resource, entry)


def missing_additions(
    additions: Iterable[Permission], documents: Sequence[Document]
) -> tuple[Permission, ...]:
    """Returns the additions of a proposal that none of some policies may grant."""
    granting = allow_statements(documents)
    return tuple(
        addition
        for addition in additions
        if not any(_may_grant(statement, addition) for statement in granting)
    )


def _may_grant(statement: Statement, permission: Permission) -> bool:
    """Whether a statement may grant a permission on all of its resource: a person may write an
    expression of a template, or an excluded resource, in place of the proposed ARN.
    """
    patterns = statement.actions or statement.not_actions
    is_named = any(action_matches(pattern, permission.action) for pattern in patterns)
    if is_named == bool(statement.not_actions) and not statement.unknown_actions:
        return False
    if statement.not_resources or not statement.is_certain:
        return True
    return any(resource_covers(pattern, permission.resource) for pattern in statement.resources)


def written_additions(before: Document | None, after: Document) -> tuple[Permission, ...]:
    """Returns the entries of a policy, each on one resource, that an earlier version did not grant;
    without an earlier version all entries.
    """
    granting = allow_statements([before]) if before else ()
    return tuple(
        Permission(grant.pattern, grant.resource)
        for grant in _written_grants(after).values()
        if not _grants(granting, grant.pattern, grant.resource)
    )


def takes_away(before: Document, after: Document, addition: Permission) -> bool:
    """Whether an edit of a policy takes a grant away."""
    had_grant = not missing_additions([addition], [before])
    return had_grant and bool(missing_additions([addition], [after]))


def is_deletion(before: Document, after: Document, addition: Permission) -> bool:
    """Whether an edit that takes a grant away deletes it on purpose: the edit rewrites neither the
    policy nor the grant.

    A grant is rewritten if a new entry names its action, but on a part of its resource: it may have
    moved to another statement, pattern or name.
    """
    written_before = _written_grants(before)
    written_after = _written_grants(after)
    new = [grant for key, grant in written_after.items() if key not in written_before]
    kept = len(written_after) - len(new)
    if len(new) > kept:
        return False
    return not any(_may_replace(grant, addition) for grant in new)


def _may_replace(grant: _WrittenGrant, addition: Permission) -> bool:
    """Whether a new entry may stand for an addition that its edit takes away."""
    is_named = action_matches(_pattern_of(grant), addition.action)
    return is_named and not resource_covers(addition.resource, grant.resource)


class _WrittenGrant(Struct, frozen=True):
    """An entry on one resource of its statement."""

    pattern: str
    """As written; `NotAction: …` for all entries of a NotAction."""
    resource: str
    """As written; `NotResource: …` where the statement excludes it."""
    statement: Statement


_WILDCARD = re.compile(r"[*?]")


def _written_grants(document: Document) -> Mapping[Permission, _WrittenGrant]:
    """Returns the entries of a policy on each of their resources, by entry in lower case and
    resource.
    """
    return {
        Permission(pattern.lower(), resource): _WrittenGrant(pattern, resource, statement)
        for statement in allow_statements([document])
        for pattern in entries_of(statement)
        for resource in _resources_of(statement)
    }


def _resources_of(statement: Statement) -> tuple[str, ...]:
    return statement.resources or tuple(
        f"NotResource: {resource}" for resource in statement.not_resources
    )


def _by_pattern(
    document: Document, written: Container[Permission]
) -> Mapping[str, Sequence[_WrittenGrant]]:
    """Returns the entries of a policy that another one lacks as they are written, by pattern."""
    return grouped(
        (written_as.action, grant)
        for written_as, grant in _written_grants(document).items()
        if written_as not in written
    )


@lru_cache(maxsize=16_384)
def _narrower(first: str, second: str) -> str:
    """Returns the resource pattern that the other one covers; empty where none covers the other."""
    if resource_covers(second, first):
        return first
    return second if resource_covers(first, second) else ""


def _pattern_of(grant: _WrittenGrant) -> str:
    """Returns the pattern of an entry; that of a NotAction is any action."""
    return ANYTHING if grant.statement.not_actions else grant.pattern


def _shared_patterns(grant: _WrittenGrant, removed: _WrittenGrant) -> tuple[str, ...]:
    """Returns patterns of the actions that both entries grant: that of the narrower entry, or else
    single actions.
    """
    pattern = _pattern_of(grant)
    excluded = removed.statement.not_actions
    if not excluded and not _WILDCARD.search(pattern + removed.pattern):
        return (pattern,) if pattern.lower() == removed.pattern.lower() else ()
    if excluded:
        if not any(overlaps(name, pattern, ignore_case=True) for name in excluded):
            return (pattern,)
    elif action_covers(removed.pattern, pattern):
        return (pattern,)
    elif action_covers(pattern, removed.pattern):
        return (removed.pattern,)
    elif not overlaps(pattern, removed.pattern, ignore_case=True):
        return ()
    return tuple(
        sorted(
            _all_actions(grant.statement, pattern)
            & _all_actions(removed.statement, removed.pattern)
        )
    )


def _all_actions(statement: Statement, pattern: str) -> frozenset[str]:
    """Returns the catalogue actions of an entry."""
    if statement.not_actions:
        return frozenset(catalogue_actions(statement.not_actions))
    return _expanded(pattern)


@lru_cache(maxsize=1_024)
def _expanded(pattern: str) -> frozenset[str]:
    """Returns the catalogue actions of a pattern; one that the catalogue lacks is its own."""
    return frozenset(catalog.expand(pattern) or (pattern,))


class _GrantedActions:
    """What a policy grants on a resource."""

    def __init__(self, document: Document) -> None:
        self._statements = allow_statements([document])
        self._by_resource: dict[str, frozenset[str]] = {}

    def has_all(self, pattern: str, resource: str) -> bool:
        """Whether it grants all actions of a pattern on all of a resource."""
        if resource not in self._by_resource:
            self._by_resource[resource] = frozenset(
                action
                for statement in self._statements
                if any(resource_covers(wider, resource) for wider in _resources_of(statement))
                for entry in entries_of(statement)
                for action in _all_actions(statement, entry)
            )
        return _expanded(pattern) <= self._by_resource[resource]


def _removals(before: Document, after: Document) -> Iterator[str]:
    statements_after = allow_statements([after])
    for statement in allow_statements([before]):
        for pattern in entries_of(statement):
            for resource in statement.resources:
                if _has_entry(statements_after, pattern, resource):
                    continue
                yield from removal_ids(pattern, [resource])
                for action in _actions_of(pattern, statement):
                    if not _grants(statements_after, action, resource):
                        yield from removal_ids(action, [resource])


def _additions(before: Document, after: Document) -> Iterator[str]:
    granting = allow_statements([before])
    for statement in allow_statements([after]):
        for pattern in entries_of(statement):
            for resource in statement.resources:
                if not _grants(granting, pattern, resource):
                    yield addition_id(pattern, resource)


def _has_entry(statements: Sequence[Statement], pattern: str, resource: str) -> bool:
    """Whether some statement has an entry on a resource as it is written."""
    return any(
        resource in statement.resources and pattern.lower() in map(str.lower, entries_of(statement))
        for statement in statements
    )


def _actions_of(pattern: str, statement: Statement) -> tuple[str, ...]:
    """Returns the catalogue actions of an entry."""
    return () if statement.not_actions else catalog.expand(pattern)


def _grants(statements: Sequence[Statement], action: str, resource: str) -> bool:
    """Whether some statement grants an action on all of a resource."""
    return any(
        any(action_matches(pattern, action) for pattern in statement.actions)
        and any(resource_covers(own, resource) for own in statement.resources)
        for statement in statements
    )
