"""From one call to the permissions it needs, or the word that nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from leastpriv.model import Basis, Call, Need, Permission
from leastpriv.permissions import catalog
from leastpriv.permissions.events import MappedAction, MappedEvent, Verdict, map_event
from leastpriv.permissions.implied import implied_needs
from leastpriv.permissions.request import request_values
from leastpriv.permissions.resources import resources_of
from leastpriv.permissions.tables import table


@dataclass(frozen=True, slots=True)
class CallNeeds:
    """What one call needs."""

    verdict: Verdict
    prefix: str
    needs: tuple[Need, ...] = ()


def needs_of(call: Call) -> CallNeeds:
    """The permissions of one call: observed ones from the event, inferred ones from what its request implies.

    An event that nobody can map gives no need and the verdict `unmapped`; an action newer than the catalogue gives
    a need with `verified=False`, which may veto a removal and is never written (promise 2).
    """
    event = map_event(call.source, call.name)
    if event.verdict is Verdict.NO_PERMISSION:
        return CallNeeds(event.verdict, event.prefix)
    actions = tuple(_actions(call, event))
    if not actions:
        return CallNeeds(Verdict.UNMAPPED, event.prefix)
    needs = [need for mapped in actions for need in _observed(call, mapped, event.verdict)]
    needs.extend(implied_needs(call))
    verdict = Verdict.MAPPED if event.verdict is Verdict.BY_REQUEST else event.verdict
    return CallNeeds(verdict, event.prefix, tuple(dict.fromkeys(needs)))


def actions_of_operation(source: str, operation: str) -> tuple[str, ...]:
    """Actions an API operation needs whatever its parameters; empty when unmapped or when it needs none."""
    event = map_event(source, operation)
    return tuple(mapped.action for mapped in event.actions) if event.verdict is Verdict.MAPPED else ()


def _actions(call: Call, event: MappedEvent) -> Iterator[MappedAction]:
    if event.verdict is Verdict.BY_REQUEST:
        yield from _by_request(call)
        return
    actions = _one_api(call, event.actions)
    rows = _triggers(call.source.removesuffix(".cn"), call.name)
    keys = _trigger_keys(call) if rows else ()
    triggered = [row for row in rows if row["parameter"].lower() in keys]
    replaced = {row["replaces"] for row in triggered if row["mode"] == "instead"}
    yield from (mapped for mapped in actions if mapped.action not in replaced)
    for row in triggered:
        found = catalog.spelling(row["action"])
        if found:
            yield MappedAction(found, on=next((each.on for each in actions if each.action == row["replaces"]), ""))


def _trigger_keys(call: Call) -> set[str]:
    """Keys of the request in lower case; a copy source counts with the members of its query too (`…?versionid`)."""
    keys = {str(key).lower() for key in call.parameters}
    for key, value in request_values(call.parameters):
        keys.add(key)
        query = value.partition("?")[2].lower()
        if query and key == "x-amz-copy-source":
            keys.update(f"{key}?{member.partition('=')[0]}" for member in query.split("&"))
    return keys


def _one_api(call: Call, actions: tuple[MappedAction, ...]) -> tuple[MappedAction, ...]:
    """API Gateway's two APIs share event names: version 2 names an `apiId` (botocore's models, 2026-10)."""
    second = [mapped for mapped in actions if "::/v2/" in mapped.resource]
    if not second or len(second) == len(actions):
        return actions
    keys = {str(key).lower() for key in call.parameters}
    is_second = "apiid" in keys or any("/apis/" in value for _, value in request_values(call.parameters))
    return tuple(mapped for mapped in actions if (mapped in second) == is_second)


def _observed(call: Call, mapped: MappedAction, verdict: Verdict) -> Iterator[Need]:
    for resource in resources_of(call, mapped.action, on=mapped.on, template=mapped.resource):
        yield Need(
            permission=Permission(mapped.action, resource.pattern),
            basis=Basis.OBSERVED,
            derivation=resource.derivation,
            verified=verdict is not Verdict.UNVERIFIED,
            exact=resource.exact,
        )


@lru_cache(maxsize=16_384)
def _triggers(source: str, name: str) -> tuple[Mapping[str, str], ...]:
    return tuple(row for row in table("triggers") if (row["event_source"], row["event_name"]) == (source, name))


_TRANSACTION_ITEMS = {
    "put": "dynamodb:PutItem",
    "update": "dynamodb:UpdateItem",
    "delete": "dynamodb:DeleteItem",
    "conditioncheck": "dynamodb:ConditionCheckItem",
}
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html"""
_PARTIQL = {
    "select": "dynamodb:PartiQLSelect",
    "insert": "dynamodb:PartiQLInsert",
    "update": "dynamodb:PartiQLUpdate",
    "delete": "dynamodb:PartiQLDelete",
}
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html"""


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _by_request(call: Call) -> Iterator[MappedAction]:
    found: list[str] = []
    items = call.parameters.get("transactItems")
    for item in filter(_is_object, items) if isinstance(items, list) else ():
        found += [_TRANSACTION_ITEMS[str(key).lower()] for key in item if str(key).lower() in _TRANSACTION_ITEMS]
    for key, value in request_values(call.parameters):
        verb = re.match(r"\s*(\w+)", value) if key == "statement" else None
        if verb and verb[1].lower() in _PARTIQL:
            found.append(_PARTIQL[verb[1].lower()])
    yield from (MappedAction(action) for action in dict.fromkeys(found))
