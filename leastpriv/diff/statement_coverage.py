"""Does one statement say all that an entry of another says? Actions by the catalogue, resources and conditions as text.

Never True wrongly. False may be wrong where only several statements, or several wildcards together, show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from leastpriv.models import Condition
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import action_covers, overlaps, resource_covers, resource_overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.syntax_tree import Node, minified

Names = str | tuple[str, ...]
"""One entry of `Action`, or the whole of `NotAction`."""
Place = str | tuple[str, ...]
"""One entry of `Resource`, or the whole of `NotResource`."""

EXCLUDED = "NotResource: "
"""What stands before a resource that a statement excludes, where a reader sees it."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A statement with its conditions in a form that can be compared."""

    statement: Statement
    conditions: frozenset[Condition]
    """Values sorted; a block that cannot be read is one condition on its own text."""
    named: frozenset[str]
    """All catalogue actions that it names."""

    @property
    def names(self) -> tuple[Names, ...]:
        """What it names, each once."""
        return _names(self.statement)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it counts, each once."""
        statement = self.statement
        return (statement.not_resources,) if statement.not_resources else tuple(dict.fromkeys(statement.resources))


def _names(statement: Statement) -> tuple[Names, ...]:
    return (statement.not_actions,) if statement.not_actions else tuple(dict.fromkeys(statement.actions))


def clauses(documents: Iterable[Document | None], effect: str) -> tuple[Clause, ...]:
    """All statements of an effect, `Allow` or `Deny`."""
    return tuple(
        Clause(statement, _comparable(statement, node), named_by(statement))
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
    """The key; where `${…}` is plain text the condition is another one than where it is a variable."""
    plain = not variables and any("${" in value for value in condition.values)
    return condition.key + (" (with ${…} as plain text)" if plain else "")


@lru_cache(maxsize=512)
def named(names: Names) -> frozenset[str]:
    """Catalogue actions; a literal that the catalogue lacks is itself, in lower case."""
    if isinstance(names, tuple):
        return frozenset(catalog.expand("*")).difference(*map(named, names))
    expanded = catalog.expand(names)
    return frozenset(expanded if expanded or is_pattern(names) else (names.lower(),))


def is_pattern(names: Names) -> bool:
    """Whether the names grow with what AWS adds."""
    return isinstance(names, tuple) or "*" in names or "?" in names


def named_by(statement: Statement) -> frozenset[str]:
    """All that a statement names."""
    names = _names(statement)
    return named(names[0]) if len(names) == 1 else frozenset().union(*map(named, names))


def named_at(clause: Clause, names: Names, place: Place) -> frozenset[str]:
    """What an entry names that can be done at a place; a literal that fits no place of its statement counts at each."""
    found = named(names)
    if place == "*" or isinstance(place, tuple) or "${" in place:
        return found
    nowhere = not is_pattern(names) and not any(_may_be_at(action, clause) for action in found)
    return found if nowhere else _fitting(names, place)


_MANY = 1_000
"""From so many actions on, those that cannot be at a resource are left out by its service first."""


@lru_cache(maxsize=1_024)
def _fitting(names: Names, place: str) -> frozenset[str]:
    found = named(names)
    service = place.split(":", 3)[2] if place.count(":") > 2 else "*"
    if len(found) > _MANY and not set(service) & set("*?"):
        found &= _actions_at().get(service, frozenset()) | _actions_at()[""]
    return frozenset(action for action in found if fits(action, place))


@cache
def _actions_at() -> Mapping[str, frozenset[str]]:
    """Service of an ARN -> all actions that take such resources; empty for what any or an unknown service's may be."""
    index: dict[str, set[str]] = {"": set()}
    for name in catalog.expand("*"):
        known = catalog.action(name)
        # An action without types fits none; the events table names resources of API Gateway that the catalogue lacks.
        kinds = known.resource_types if known else ()
        services = {name.partition(":")[0], *(part.split(":", 3)[2] for kind in kinds for part in kind.arn.split(", "))}
        for service in services:
            index.setdefault("" if set(service) & set("$*?") else service, set()).add(name)
    return {service: frozenset(actions) for service, actions in index.items()}


def _may_be_at(action: str, clause: Clause) -> bool:
    return any(isinstance(place, tuple) or fits(action, place) for place in clause.places)


def covers_names(clause: Clause, names: Names) -> bool:
    """Whether the clause names whatever `names` does, also what AWS has not added yet."""
    statement = clause.statement
    if isinstance(names, tuple):
        excluded = statement.not_actions
        if not excluded:
            return any(action_covers(entry, "*") for entry in statement.actions)
        return all(any(action_covers(own, entry) for own in names) for entry in excluded)
    if statement.not_actions:
        return not any(overlaps(entry, names, ignore_case=True) for entry in statement.not_actions)
    return any(action_covers(entry, names) for entry in statement.actions)


def covers_place(clause: Clause, place: Place, variables: bool) -> bool:
    """Whether the clause counts wherever `place` does; `variables` says whether `${…}` means anything in `place`."""
    statement = clause.statement
    if "*" in statement.resources:
        return True
    if statement.variables != variables and "${" in "".join(
        (place, *statement.resources, *statement.not_resources) if isinstance(place, str) else place
    ):
        return False
    if place in clause.places:
        return True
    excluded = statement.not_resources
    if isinstance(place, tuple):
        return bool(excluded) and all(_any_covers(place, entry, variables) for entry in excluded)
    if excluded:
        return not any(resource_overlaps(entry, place, variables=statement.variables) for entry in excluded)
    return _any_covers(statement.resources, place, statement.variables)


def shared_places(clause: Clause, place: Place, variables: bool) -> tuple[str, ...]:
    """The resources of the clause that may lie at `place`, as `written` shows them."""
    statement = clause.statement
    if isinstance(place, tuple):
        found = tuple(entry for entry in statement.resources if not _any_covers(place, entry, variables))
        return found or (written(statement.not_resources) if statement.not_resources else ())
    if statement.not_resources:
        outside = _any_covers(statement.not_resources, place, statement.variables)
        return () if outside else written(statement.not_resources)
    return tuple(
        entry for entry in statement.resources if resource_overlaps(entry, place, variables=statement.variables)
    )


def _any_covers(entries: Iterable[str], other: str, variables: bool) -> bool:
    return any(resource_covers(entry, other, variables=variables) for entry in entries)


def written(place: Place) -> tuple[str, ...]:
    """A place as the reader sees it: `NotResource: arn…` where it is excluded."""
    return (place,) if isinstance(place, str) else tuple(f"{EXCLUDED}{entry}" for entry in place)


def is_met_by(conditions: frozenset[Condition], others: frozenset[Condition]) -> bool:
    """Whether a request that meets all `others` meets all `conditions`."""
    return all(any(_follows(condition, other) for other in others) for condition in conditions)


def _follows(condition: Condition, other: Condition) -> bool:
    """Whether `condition` holds whenever `other` does.

    Several values are alternatives, under a negated operator none of them may match (read 2026-11-24 at
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html).
    """
    if condition.key.lower() != other.key.lower():
        return False
    if condition.operator not in (other.operator, f"{other.operator}IfExists"):
        return False
    mine, theirs = set(condition.values), set(other.values)
    return mine <= theirs if "Not" in condition.operator else theirs <= mine
