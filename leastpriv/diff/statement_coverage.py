"""Decides whether one statement covers an entry of another: actions by the catalogue, resources as text.

Never wrongly True. Wrongly False if only several statements, or several wildcards together, cover the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.models import Condition
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_covers, overlaps, resource_covers, resource_overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.condition_sets import condition_implies
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.syntax_tree import Node, minified

ActionEntry = str | tuple[str, ...]
"""One entry of `Action`, or the whole of `NotAction`."""
ResourceEntry = str | tuple[str, ...]
"""One entry of `Resource`, or the whole of `NotResource`."""

EXCLUDED = "NotResource: "
"""Prefix of an excluded resource in reports."""


class ComparableStatement(Struct, frozen=True):
    """A statement with comparable conditions."""

    statement: Statement
    conditions: frozenset[Condition]
    """Conditions with sorted values; an unreadable block is one condition with its text."""
    actions: frozenset[str]
    """All catalogue actions that the statement names."""

    @property
    def action_entries(self) -> tuple[ActionEntry, ...]:
        """The distinct action entries."""
        return _action_entries(self.statement)

    @property
    def resource_entries(self) -> tuple[ResourceEntry, ...]:
        """The distinct resource entries."""
        statement = self.statement
        return (statement.not_resources,) if statement.not_resources else tuple(dict.fromkeys(statement.resources))


def _action_entries(statement: Statement) -> tuple[ActionEntry, ...]:
    return (statement.not_actions,) if statement.not_actions else tuple(dict.fromkeys(statement.actions))


def statements_with_effect(documents: Iterable[Document | None], effect: str) -> tuple[ComparableStatement, ...]:
    """Returns all statements of an effect, `Allow` or `Deny`."""
    return tuple(
        ComparableStatement(statement, _comparable(statement, node), actions_of_statement(statement))
        for document in documents
        if document
        for statement, node in zip(document.statements, document.statement_nodes, strict=True)
        if statement.effect == effect
    )


def _comparable(statement: Statement, node: Node) -> frozenset[Condition]:
    block = node.get_any_case("Condition")
    if block and not statement.conditions_readable:
        return frozenset({Condition("", minified(block), ())})
    return frozenset(
        Condition(each.operator, _key(each, statement.variables), tuple(sorted(set(each.values))))
        for each in statement.conditions
    )


def _key(condition: Condition, variables: bool) -> str:
    """Returns the key, marked if `${…}` in the values is plain text, because such a condition has another meaning."""
    plain = not variables and any("${" in value for value in condition.values)
    return condition.key + (" (with ${…} as plain text)" if plain else "")


@lru_cache(maxsize=512)
def catalogue_actions(action_entry: ActionEntry) -> frozenset[str]:
    """Returns the catalogue actions of an entry; a literal that the catalogue lacks returns itself in lower case."""
    if isinstance(action_entry, tuple):
        return frozenset(catalog.expand("*")).difference(*map(catalogue_actions, action_entry))
    expanded = catalog.expand(action_entry)
    return frozenset(expanded if expanded or is_pattern(action_entry) else (action_entry.lower(),))


def is_pattern(action_entry: ActionEntry) -> bool:
    """Returns whether an entry also names future actions."""
    return isinstance(action_entry, tuple) or "*" in action_entry or "?" in action_entry


def actions_of_statement(statement: Statement) -> frozenset[str]:
    """Returns all actions that a statement names."""
    action_entry = _action_entries(statement)
    return (
        catalogue_actions(action_entry[0])
        if len(action_entry) == 1
        else frozenset().union(*map(catalogue_actions, action_entry))
    )


def actions_on_resource(
    comparable: ComparableStatement, action_entry: ActionEntry, resource: ResourceEntry
) -> frozenset[str]:
    """Returns an entry's actions that fit a resource; a literal that fits no resource of its statement fits each."""
    found = catalogue_actions(action_entry)
    if resource == "*" or isinstance(resource, tuple):
        return found
    nowhere = not is_pattern(action_entry) and not any(
        any(isinstance(resource, tuple) or fits(action, resource) for resource in comparable.resource_entries)
        for action in found
    )
    return found if nowhere else _fitting_actions(action_entry, resource)


_MANY = 1_000
"""From this many actions on, the service of the ARN preselects the actions."""


@lru_cache(maxsize=1_024)
def _fitting_actions(action_entry: ActionEntry, resource: str) -> frozenset[str]:
    found = catalogue_actions(action_entry)
    service = resource.split(":", 3)[2] if resource.count(":") > 2 else "*"
    if len(found) > _MANY and not set(service) & set("*?$"):
        found &= _actions_by_arn_service().get(service, frozenset()) | _actions_by_arn_service()[""]
    return frozenset(action for action in found if fits(action, resource))


@cache
def _actions_by_arn_service() -> Mapping[str, frozenset[str]]:
    """Returns all actions by the service in their resource ARNs; "" holds actions whose ARN names no single service."""
    index: dict[str, set[str]] = {"": set()}
    for name in catalog.expand("*"):
        known = catalog.action(name)
        # An action without types fits no resource; the event table names resources of API Gateway that the catalogue
        # lacks.
        kinds = known.resource_types if known else ()
        services = {name.partition(":")[0], *(part.split(":", 3)[2] for kind in kinds for part in kind.arn.split(", "))}
        for service in services:
            index.setdefault("" if set(service) & set("$*?") else service, set()).add(name)
    return {service: frozenset(actions) for service, actions in index.items()}


def covers_actions(comparable: ComparableStatement, action_entry: ActionEntry) -> bool:
    """Returns whether a statement names all present and future actions of an entry."""
    statement = comparable.statement
    if isinstance(action_entry, tuple):
        excluded = statement.not_actions
        if not excluded:
            return any(action_covers(entry, "*") for entry in statement.actions)
        return all(any(action_covers(own, entry) for own in action_entry) for entry in excluded)
    if statement.not_actions:
        return not any(overlaps(entry, action_entry, ignore_case=True) for entry in statement.not_actions)
    return any(action_covers(entry, action_entry) for entry in statement.actions)


def covers_resource(comparable: ComparableStatement, resource: ResourceEntry, variables: bool) -> bool:
    """Returns whether a statement applies to all of `resource`; with `variables`, `${…}` is a policy variable in it."""
    statement = comparable.statement
    if "*" in statement.resources:
        return True
    if statement.variables != variables and "${" in "".join(
        (resource, *statement.resources, *statement.not_resources) if isinstance(resource, str) else resource
    ):
        return False
    if resource in comparable.resource_entries:
        return True
    excluded = statement.not_resources
    if isinstance(resource, tuple):
        return bool(excluded) and all(_any_covers(resource, entry, variables) for entry in excluded)
    if excluded:
        return not any(resource_overlaps(entry, resource, variables=statement.variables) for entry in excluded)
    return _any_covers(statement.resources, resource, statement.variables)


def shared_resources(comparable: ComparableStatement, resource: ResourceEntry, variables: bool) -> tuple[str, ...]:
    """Returns the statement's resources that may overlap `resource`, as reports show them."""
    statement = comparable.statement
    if isinstance(resource, tuple):
        found = tuple(entry for entry in statement.resources if not _any_covers(resource, entry, variables))
        return found or (shown_resources(statement.not_resources) if statement.not_resources else ())
    if statement.not_resources:
        outside = _any_covers(statement.not_resources, resource, statement.variables)
        return () if outside else shown_resources(statement.not_resources)
    return tuple(
        entry for entry in statement.resources if resource_overlaps(entry, resource, variables=statement.variables)
    )


def _any_covers(entries: Iterable[str], other: str, variables: bool) -> bool:
    return any(resource_covers(entry, other, variables=variables) for entry in entries)


def shown_resources(resource: ResourceEntry) -> tuple[str, ...]:
    """Returns a resource entry as reports show it; `NotResource: arn…` if it is excluded."""
    return (resource,) if isinstance(resource, str) else tuple(f"{EXCLUDED}{entry}" for entry in resource)


def conditions_implied(conditions: frozenset[Condition], others: frozenset[Condition]) -> bool:
    """Returns whether each request that meets all `others` provably meets all `conditions`."""
    one, other = ([replace(each, key=each.key.lower()) for each in found] for found in (others, conditions))
    return all(any(condition_implies(narrow, wide) for narrow in one) for wide in other)
