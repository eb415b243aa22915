"""Conditions that all that was seen would meet: offered to the reader, never written (DESIGN: optional conditions).

A condition narrows what a name cannot: a grant on `*` to the regions that the role works in, a role to the service
that it is passed to. It is offered where every allowed call of an action meets it, in as many runs as a removal takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leastpriv.evidence.usage import Evidence
from leastpriv.model import Condition, Outcome, Usage
from leastpriv.permissions.tables import table
from leastpriv.permissions.visibility import home_region
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.naming import names

Unanimous = Callable[[str, Sequence[Usage], Statement, str], Condition | None]
"""From an action, its allowed usages, the statement that grants it and the partition: what all of them meet."""


@dataclass(frozen=True, slots=True)
class OfferedCondition:
    """One condition that a statement could have."""

    statement: int
    """Index in the proposed document."""
    sid: str
    actions: tuple[str, ...]
    """Those of the statement that were used and whose every call met it, sorted; the others it grants are not meant."""
    condition: Condition
    runs: int
    """How many runs used the action that the fewest used."""


def offered_conditions(document: Document, evidence: Evidence, minimum_runs: int) -> tuple[OfferedCondition, ...]:
    """What each Allow statement of the proposed document could ask for in addition."""
    used = _by_action(evidence)
    partition = evidence.principal.split(":")[1]
    found: dict[tuple[int, Condition], dict[str, int]] = {}
    for statement in document.statements:
        if statement.effect != "Allow" or not statement.conditions_readable:
            continue
        asked = {condition.key.lower() for condition in statement.conditions}
        for action, usages in used.items():
            runs = len({run for usage in usages for run in usage.runs})
            if runs < max(minimum_runs, 2) or not names(statement, action):
                continue
            for condition in _met(action, usages, statement, partition):
                if condition.key.lower() not in asked:
                    found.setdefault((statement.index, condition), {})[action] = runs
    return tuple(
        OfferedCondition(index, document.statements[index].sid, tuple(sorted(runs)), condition, min(runs.values()))
        for (index, condition), runs in sorted(found.items())
    )


def _by_action(evidence: Evidence) -> Mapping[str, list[Usage]]:
    found: dict[str, list[Usage]] = {}
    for usage in evidence.usages:
        if usage.outcome is Outcome.ALLOWED and usage.need.verified:
            found.setdefault(usage.need.permission.action, []).append(usage)
    return found


def _met(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Iterator[Condition]:
    yield from filter(None, (rule(action, usages, statement, partition) for rule in _RULES))


def _requested_region(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Condition | None:
    """Of a grant whose resource names no region; a global service answers in a region of its own choice."""
    open_to_all = not statement.resources or "*" in statement.resources
    if not open_to_all or home_region(action.partition(":")[0], partition) or not all(use.regions for use in usages):
        return None
    return Condition("StringEquals", "aws:RequestedRegion", tuple(sorted({r for use in usages for r in use.regions})))


def _shown(key: str, prefix: str) -> Unanimous:
    """A key that the record shows of every call, as `permissions/` derived it."""

    def rule(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Condition | None:  # noqa: ARG001
        if not action.startswith(prefix):
            return None
        shown = [
            [each for each in usage.need.permission.conditions if each.key.lower() == key.lower()] for usage in usages
        ]
        if not all(shown):
            return None
        values = {value for conditions in shown for each in conditions for value in each.values}
        return Condition("StringEquals", key, tuple(sorted(values)))

    return rule


def _called_via(action: str, usages: Sequence[Usage], statement: Statement, partition: str) -> Condition | None:  # noqa: ARG001
    """No call came from the principal itself, and each service that forwarded one is known to say so."""
    services = {service for usage in usages for service in usage.forwarded_by}
    known = {row["service"] for row in table("called_via")}
    if not services or not services <= known or any(usage.direct for usage in usages):
        return None
    return Condition("ForAnyValue:StringEquals", "aws:CalledVia", tuple(sorted(services)))


_RULES: tuple[Unanimous, ...] = (
    _requested_region,
    _shown("iam:PassedToService", "iam:PassRole"),
    _shown("kms:ViaService", "kms:"),
    _called_via,
)
