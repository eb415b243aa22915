"""Which statements of a policy name an action: asked for as fast of thousands of entries as of a few."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from leastpriv.permissions.patterns import action_matches, folded
from leastpriv.policy.document import Document, Statement

_Wildcard = tuple[str, int]
"""An entry, and the index of its statement."""


@dataclass(frozen=True, slots=True)
class _Index:
    """The entries of all statements."""

    literal: Mapping[str, frozenset[int]]
    """Action in lower case -> indices of the statements with just that entry."""
    of_service: Mapping[str, tuple[_Wildcard, ...]]
    """Service prefix in lower case -> wildcards over its actions."""
    anywhere: tuple[_Wildcard, ...]
    """Wildcards that leave the service open."""
    not_actions: tuple[Statement, ...]


def names(statement: Statement, action: str) -> bool:
    """Tell whether a statement is about an action, whatever its effect, resources and conditions."""
    if statement.not_actions:
        return not any(action_matches(pattern, action) for pattern in statement.not_actions)
    return any(action_matches(pattern, action) for pattern in statement.actions)


@lru_cache(maxsize=32_768)
def naming(document: Document, action: str) -> tuple[Statement, ...]:
    """The statements that `names` says are about an action, in their order.

    Cached, because evidence asks for the same few hundred actions again and again.
    """
    index, name = _index(document), folded(action)
    wildcards = (*index.of_service.get(name.partition(":")[0], ()), *index.anywhere)
    found = {place for pattern, place in wildcards if action_matches(pattern, name)}
    found |= index.literal.get(name, frozenset())
    found |= {statement.index for statement in index.not_actions if names(statement, name)}
    return tuple(document.statements[place] for place in sorted(found))


@lru_cache(maxsize=32)
def _index(document: Document) -> _Index:
    literal: dict[str, set[int]] = defaultdict(set)
    of_service: dict[str, list[_Wildcard]] = defaultdict(list)
    anywhere: list[_Wildcard] = []
    for statement in document.statements:
        for entry in statement.actions:
            name = folded(entry)
            service = name.partition(":")[0]
            if "*" not in name and "?" not in name:
                literal[name].add(statement.index)
            elif "*" in service or "?" in service:
                anywhere.append((name, statement.index))
            else:
                of_service[service].append((name, statement.index))
    return _Index(
        {name: frozenset(places) for name, places in literal.items()},
        {service: tuple(wildcards) for service, wildcards in of_service.items()},
        tuple(anywhere),
        tuple(statement for statement in document.statements if statement.not_actions),
    )
