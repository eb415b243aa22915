"""From one call to the permissions it needs, or the word that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from leastpriv.model import Basis, Call, Gap, GapKind, Need, Permission, Scope
from leastpriv.permissions import catalog
from leastpriv.permissions.events import MappedAction, MappedEvent, Verdict, map_event
from leastpriv.permissions.implied import implied_needs
from leastpriv.permissions.pass_role import passes_unnamed_role
from leastpriv.permissions.patterns import unescape
from leastpriv.permissions.presence import Presence, presence_of
from leastpriv.permissions.request import request_values
from leastpriv.permissions.resources import resources_of
from leastpriv.permissions.shown_conditions import shown_conditions
from leastpriv.permissions.statements import actions_of_items
from leastpriv.permissions.tables import table


@dataclass(frozen=True, slots=True)
class CallNeeds:
    """What one call needs."""

    verdict: Verdict
    prefix: str
    needs: tuple[Need, ...] = ()
    gaps: tuple[Gap, ...] = ()
    """What the call may need besides, if its record does not tell."""


def needs_of(call: Call) -> CallNeeds:
    """The permissions of one call: observed ones from the event, inferred ones from what its request implies.

    An event that nobody can map gives no need and the verdict `unmapped`; an action newer than the catalogue gives
    a need with `verified=False`, which may veto a removal and is never written (promise 2).
    """
    request = repr(call.parameters)
    if len(request) > _LONG or call.response:
        return _needs_of(call)
    return _remembered(_Asked((_alike(call), request), call))


_LONG = 2_000
"""Characters of a request that is not kept: 4,096 of these would be 8 MB, of the longest ones 400 MB."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call without what its needs do not depend on: time, session, ids, the message."""

    key: tuple[tuple[object, ...], str]
    call: Call = field(compare=False)


def _alike(call: Call) -> tuple[object, ...]:
    return (
        *(call.source, call.name, call.principal, call.account, call.region, call.resources),
        *(call.outcome, call.error_code, call.invoked_by, call.read_only, call.parameters_omitted),
    )


@lru_cache(maxsize=4_096)
def _remembered(asked: _Asked) -> CallNeeds:
    """Deploys ask the same again and again: 46 % of 3,138 public calls and 64 % of the bundled example's are repeats.

    Mapping takes 130 µs, this look-up 3 µs (bench/mapping_speed.py, 2026-11-24).
    """
    return _needs_of(asked.call)


def _needs_of(call: Call) -> CallNeeds:
    event = map_event(call.source, call.name)
    if event.verdict is Verdict.NO_PERMISSION:
        return CallNeeds(event.verdict, event.prefix)
    presence = presence_of(call)
    observed = [
        need for part, mapped in _actions(call, event, presence) for need in _observed(part, mapped, event.verdict)
    ]
    if not observed or _names_nothing(observed):
        return CallNeeds(Verdict.UNMAPPED, event.prefix)
    needs = (*observed, *implied_needs(call, event.operation, presence, observed))
    if _names_nothing(needs):
        return CallNeeds(Verdict.UNMAPPED, event.prefix)
    verdict = Verdict.MAPPED if event.verdict is Verdict.BY_REQUEST else event.verdict
    return CallNeeds(verdict, event.prefix, tuple(dict.fromkeys(needs)), tuple(_gaps(call, event, presence)))


_LONGEST_ARN = 2_048
"""Characters (`ResourceArns`, https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html, read
2026-11-26)."""


def _names_nothing(needs: Sequence[Need]) -> bool:
    """Whether a name is too long for any resource: no policy could hold it, and a wildcard would be a guess."""
    names = (need.permission.resource for need in needs)
    return any(len(name) > _LONGEST_ARN and len(unescape(name)) > _LONGEST_ARN for name in names)


def actions_of_operation(source: str, operation: str) -> tuple[str, ...]:
    """Actions an API operation needs whatever its parameters; empty when unmapped or when it needs none."""
    event = map_event(source, operation)
    return tuple(mapped.action for mapped in event.actions) if event.verdict is Verdict.MAPPED else ()


def triggers_of(operation: str) -> tuple[Mapping[str, str], ...]:
    """Rows of `data/triggers.tsv` for the `operation` of an event (`s3:PutObject`)."""
    return _triggers().get(operation, ())


def _actions(call: Call, event: MappedEvent, presence: Presence) -> Iterator[tuple[Call, MappedAction]]:
    """The actions of a call, each with the call or the part of it that the action is about."""
    if event.verdict is Verdict.BY_REQUEST:
        yield from actions_of_items(call)
        return
    actions = _one_api(call, event.actions, presence)
    triggered = [row for row in triggers_of(event.operation) if presence.has(row["parameter"])]
    replaced = {row["replaces"] for row in triggered if row["mode"] == "instead"}
    yield from ((call, mapped) for mapped in actions if mapped.action not in replaced)
    for action, replaces in dict.fromkeys((row["action"], row["replaces"]) for row in triggered):
        found = catalog.spelling(action)
        if found:
            on = next((mapped.on for mapped in actions if mapped.action == replaces), _end_of_copy(actions))
            yield call, MappedAction(found, on)


def _end_of_copy(actions: tuple[MappedAction, ...]) -> str:
    """What a copy sets besides (an ACL, tags) it sets on its target."""
    return "target" if any(mapped.on for mapped in actions) else ""


def _one_api(call: Call, actions: tuple[MappedAction, ...], presence: Presence) -> tuple[MappedAction, ...]:
    """API Gateway's two APIs share event names: version 2 names an `apiId` (botocore's models, 2026-10)."""
    second = [mapped for mapped in actions if "::/v2/" in mapped.resource]
    if not second or len(second) == len(actions):
        return actions
    is_second = presence.has("apiId") or any("/apis/" in value for _, value in request_values(call.parameters))
    return tuple(mapped for mapped in actions if (mapped in second) == is_second)


def _observed(call: Call, mapped: MappedAction, verdict: Verdict) -> Iterator[Need]:
    conditions = shown_conditions(call, mapped.action)
    for resource in resources_of(call, mapped.action, on=mapped.on, template=mapped.resource):
        yield Need(
            permission=Permission(mapped.action, resource.pattern, conditions),
            basis=Basis.OBSERVED,
            derivation=resource.derivation,
            verified=verdict is not Verdict.UNVERIFIED,
            exact=resource.exact,
        )


def _gaps(call: Call, event: MappedEvent, presence: Presence) -> Iterator[Gap]:
    if presence.carried_out and not call.read_only and passes_unnamed_role(event.operation, presence):
        yield Gap(GapKind.MAY_PASS_ROLE, Scope(actions=("iam:PassRole",)), f"{call.source}:{call.name}")


@cache
def _triggers() -> Mapping[str, tuple[Mapping[str, str], ...]]:
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    for row in table("triggers"):
        operation = map_event(row["event_source"], row["event_name"]).operation
        found[operation] = (*found.get(operation, ()), row)
    return found
