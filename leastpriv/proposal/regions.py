"""In which regions a use through a statement would have been noted."""

from __future__ import annotations

from leastpriv.model import Condition
from leastpriv.permissions.visibility import home_region
from leastpriv.policy.document import Statement
from leastpriv.proposal.situation import Candidate, Situation


def regions_to_know(candidate: Candidate, situation: Situation) -> frozenset[str]:
    """The home region of a global service; else the regions that the statement names, none where it names none."""
    home = home_of(candidate, situation)
    return frozenset({home}) if home else _named_regions(candidate.entry.statement)


def home_of(candidate: Candidate, situation: Situation) -> str:
    """The home region of a global service, in the principal's partition; empty for any other service."""
    return home_region(candidate.action.partition(":")[0], situation.evidence.principal.split(":")[1])


_LIMITING = ("StringEquals", "StringEqualsIgnoreCase", "StringLike")
"""Operators that limit a statement to regions; with `IfExists` a request without the key passes."""


def only_regions(statement: Statement) -> frozenset[str] | None:
    """The regions that a statement is limited to, by a condition or else its resources; None: it may act in any."""
    for condition in statement.conditions:
        limiting = condition.operator in _LIMITING
        if limiting and _is_on_region(condition) and all(map(_is_one, condition.values)):
            return frozenset(value.lower() for value in condition.values)
    named = _of_resources(statement)
    return frozenset(named) if named and all(map(_is_one, named)) else None


def _named_regions(statement: Statement) -> frozenset[str]:
    """The regions that a statement is limited to; of one that may act in any, those that it names all the same."""
    only = only_regions(statement)
    if only is not None:
        return only
    regions = _of_resources(statement)
    for condition in statement.conditions:
        if _is_on_region(condition) and "Not" not in condition.operator:
            regions.update(condition.values)
    return frozenset(filter(_is_one, regions))


def _of_resources(statement: Statement) -> set[str]:
    """The fourth parts of the ARNs; empty for what has none."""
    fields = (resource.split(":", 5) for resource in statement.resources)
    return {field[3] if len(field) == 6 else "" for field in fields}


def _is_on_region(condition: Condition) -> bool:
    return condition.key.lower() == "aws:requestedregion"


def _is_one(region: str) -> bool:
    return bool(region) and not set(region) & set("*?$")
