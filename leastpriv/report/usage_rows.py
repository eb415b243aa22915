"""Rows of `leastpriv permissions`, which `proposal.json` holds too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from leastpriv.model import Condition, Gap, Usage


def permission_row(usage: Usage) -> dict[str, object]:
    """One row of `leastpriv permissions` for a need that an identity policy can meet."""
    need = usage.need
    return {
        "action": need.permission.action,
        "resource": need.permission.resource,
        "conditions": conditions_value(need.permission.conditions),
        "basis": need.basis,
        "count": usage.count,
        "first_seen": time_value(usage.first_seen),
        "last_seen": time_value(usage.last_seen),
        "runs": list(usage.runs),
        "events": list(usage.events),
        **({"forwarded_by": list(usage.forwarded_by)} if usage.forwarded_by else {}),
        **({} if need.verified else {"verified": False}),
    }


def denied_row(usage: Usage) -> dict[str, object]:
    """One row of `leastpriv permissions` for a refusal that no identity policy can mend."""
    need, denial = usage.need, usage.denial
    return {
        "denied": need.permission.action,
        "denied_by": denial.denied_by if denial else "unknown",
        "resource": need.permission.resource,
        "count": usage.count,
        "first_seen": time_value(usage.first_seen),
        "last_seen": time_value(usage.last_seen),
        "runs": list(usage.runs),
        "events": list(usage.events),
    }


def gap_row(gap: Gap) -> dict[str, object]:
    """One row of `leastpriv permissions` for something the evidence could not see."""
    scope = gap.scope
    parts = ("services", "actions", "regions", "events", "outside")
    named: dict[str, tuple[str, ...]] = {part: getattr(scope, part) for part in parts}
    shown: dict[str, object] = {part: list(values) for part, values in named.items() if values}
    if scope.data_events:
        shown["data_events"] = True
    return {"gap": gap.kind, "scope": shown or "all", "detail": gap.detail, "count": gap.count}


def conditions_value(conditions: Sequence[Condition]) -> dict[str, dict[str, list[str]]]:
    """Conditions as a policy writes them."""
    found: dict[str, dict[str, list[str]]] = {}
    for condition in conditions:
        found.setdefault(condition.operator, {})[condition.key] = list(condition.values)
    return found


def time_value(time: datetime | None) -> str | None:
    """A time as CloudTrail writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None
