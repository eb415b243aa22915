"""Names the changes between two versions of a policy, as a proposal names its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from leastpriv.diff.compare import entries_of
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_matches, resource_covers
from leastpriv.policy.document import Document, Statement
from leastpriv.proposal.models import addition_id, removal_ids


def change_ids_between(before: Document, after: Document) -> tuple[str, ...]:
    """Returns the ids of the changes that made one version of a policy into another: of each entry
    and action that lost a resource, and of each action that gained one.
    """
    removed = dict.fromkeys(_removals(before, after))
    added = dict.fromkeys(_additions(before, after))
    return (*removed, *added)


def removal_counts(document: Document) -> Counter[str]:
    """Returns id of a removal -> number of statements with the entry or the action on the
    resource.
    """
    found = Counter[str]()
    for statement in _allowing(document):
        ids: set[str] = set()
        for pattern in entries_of(statement):
            for name in {pattern, *_actions_of(pattern, statement)}:
                ids.update(removal_ids(name, statement.resources))
        found.update(ids)
    return found


def _removals(before: Document, after: Document) -> Iterator[str]:
    statements_after = _allowing(after)
    for statement in _allowing(before):
        for pattern in entries_of(statement):
            for resource in statement.resources:
                if _has_entry(statements_after, pattern, resource):
                    continue
                yield from removal_ids(pattern, [resource])
                for action in _actions_of(pattern, statement):
                    if not _grants(statements_after, action, resource):
                        yield from removal_ids(action, [resource])


def _additions(before: Document, after: Document) -> Iterator[str]:
    granting = _allowing(before)
    for statement in _allowing(after):
        for pattern in entries_of(statement):
            for resource in statement.resources:
                if not _grants(granting, pattern, resource):
                    yield addition_id(pattern, resource)


def _allowing(document: Document) -> Sequence[Statement]:
    return [statement for statement in document.statements if statement.effect == "Allow"]


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
