"""From one call to the permissions it needs, or the word that nobody knows.

What an event that nobody can map may have used: its own service where that is known, else what its names allow.

A service that the catalogue lacks by its event source is new, or goes by another prefix. Of 3,201 API operations under
a label that is no prefix (botocore 1.44.8, 2026-11) the scope would hold the true action of 99.6 % if the table of
events had no row for the label: of 95.9 % by its name, else by a word of the prefix (bench/botocore_coverage.py).

DynamoDB's transactions and statements: the request's items name the actions, each on a table of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from msgspec import structs

from leastpriv.models import Basis, Call, Gap, GapKind, Need, Permission, Scope
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import unescape
from tests.fakes.tables import table
from tests.oracle.condition_keys import shown_conditions
from tests.oracle.event_table import MappedAction, MappedEvent, Verdict, facts_of, map_event, triggers_of
from tests.oracle.implied import implied_needs, passes_unnamed_role
from tests.oracle.request import Presence, RequestTexts, request_values, texts_of
from tests.oracle.resources import resources_of

_STATEMENT = re.compile(
    r"\s*(?:(?P<update>update)|(?P<insert>insert)\s+into|(?P<delete>delete)\s+from|(?P<select>select)\b.*?\bfrom)"
    r"\s+(?P<quote>[\"']?)(?P<table>[\w.-]+)(?P=quote)(?:\s*\.\s*\"?(?P<index>[\w.-]+))?",
    re.IGNORECASE | re.DOTALL,
)
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.statements.html"""


def actions_of_items(call: Call) -> Iterator[tuple[Call, MappedAction]]:
    """Each action that the items name, with the part of the call that is about it; nothing where none can be read."""
    found: dict[tuple[str, str, str], None] = {}
    found.update(dict.fromkeys(_of_transaction(call)))
    found.update(dict.fromkeys(_of_statements(call)))
    for action, name, index in found:
        yield _part(call, name, index), MappedAction(action)


def _of_transaction(call: Call) -> Iterator[tuple[str, str, str]]:
    items = call.parameters.get("transactItems") or call.parameters.get("requestItems")
    for item in items if isinstance(items, list) else ():
        # As AWS records it: `{"operation": "Put", "tableName": "Music", …}`.
        told = {str(item["operation"]): item} if isinstance(item, Mapping) and "operation" in item else item
        for key, value in told.items() if isinstance(told, Mapping) else ():
            action = _actions_in_items("transaction").get(str(key).lower())
            if action:
                yield action, next((text for key, text in request_values(value) if key == "tablename"), ""), ""


def _of_statements(call: Call) -> Iterator[tuple[str, str, str]]:
    for key, value in request_values(call.parameters):
        verb = re.match(r"\s*(\w+)", value) if key == "statement" else None
        action = _actions_in_items("statement").get(verb[1].lower()) if verb else None
        if action:
            match = _STATEMENT.match(value)
            yield action, match["table"] if match else "", (match["index"] or "") if match else ""


@cache
def _actions_in_items(form: str) -> Mapping[str, str]:
    """Word of an item -> action, of `data/item_actions.tsv`."""
    return {row["word"]: row["action"] for row in table("item_actions") if row["form"] == form}


def _part(call: Call, name: str, index: str) -> Call:
    """The call as if it named one table; the whole call where the item names none, or where the record says more.

    `resources[]` lists the ARNs of all tables of the request: the item's own is told by its name.
    """
    if not name:
        return call
    if name.startswith("arn:"):
        return structs.replace(call, parameters={"resourceArn": name}, resources=())
    listed = tuple(arn for arn in call.resources if re.search(rf":table/{re.escape(name)}(/|$)", arn))
    parameters = {"tableName": name, **({"indexName": index} if index else {})}
    return structs.replace(call, parameters=parameters, resources=listed)


@dataclass(frozen=True, slots=True)
class CallNeeds:
    """What one call needs."""

    verdict: Verdict
    prefix: str
    needs: tuple[Need, ...] = ()
    gaps: tuple[Gap, ...] = ()
    """What the call may need besides, if its record does not tell."""
    kept: tuple[str, ...] = ()
    """Actions that AWS may authorize inside the call, of which its record does not say whether: no grant of them is
    added, and none is removed while such calls are made."""


def needs_of(call: Call) -> CallNeeds:
    """What `needs_of` answers, made out anew."""
    event = map_event(call.source, call.name)
    if event.verdict is Verdict.NO_PERMISSION:
        return CallNeeds(event.verdict, event.prefix)
    presence = Presence(call)
    texts = texts_of(call.name, call.parameters)
    observed = [
        need
        for part, mapped in _actions(call, event, presence)
        for need in _observed(part, mapped, event.verdict, texts if part is call else None)
    ]
    needs = (*observed, *implied_needs(call, event.operation, presence, texts, observed)) if observed else ()
    if not needs or _names_nothing(needs):
        return CallNeeds(Verdict.UNMAPPED, event.prefix)
    verdict = Verdict.MAPPED if event.verdict is Verdict.BY_REQUEST else event.verdict
    gaps, kept = tuple(_gaps(call, event, presence)), tuple(_kept(call, event, presence, needs))
    return CallNeeds(verdict, event.prefix, tuple(dict.fromkeys(needs)), gaps, kept)


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


def _observed(call: Call, mapped: MappedAction, verdict: Verdict, texts: RequestTexts | None) -> Iterator[Need]:
    conditions = shown_conditions(call, mapped.action)
    for resource in resources_of(call, mapped.action, on=mapped.on, template=mapped.resource, texts=texts):
        yield Need(
            permission=Permission(mapped.action, resource.pattern, conditions),
            basis=Basis.OBSERVED,
            derivation=resource.derivation,
            verified=verdict is not Verdict.UNVERIFIED,
            exact=resource.exact,
        )


def _kept(call: Call, event: MappedEvent, presence: Presence, needs: Sequence[Need]) -> Iterator[str]:
    """Actions that AWS may authorize inside a call and that are none of its needs."""
    facts, needed = facts_of(event.operation), {need.permission.action for need in needs}
    for action, (_, *parameters) in facts.inner.items():
        is_caused = not parameters or call.parameters_omitted or any(presence.has(each) for each in parameters)
        if is_caused and action not in needed:
            yield action
    if facts.roles == "text" and "iam:PassRole" not in needed and not call.read_only:
        yield "iam:PassRole"


def _gaps(call: Call, event: MappedEvent, presence: Presence) -> Iterator[Gap]:
    if presence.carried_out and not call.read_only and passes_unnamed_role(event.operation, presence):
        yield Gap(GapKind.MAY_PASS_ROLE, Scope(actions=("iam:PassRole",)), f"{call.source}:{call.name}")


_LABEL = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_LONG_ENOUGH = 3
"""Letters of a prefix that a label may begin with: `edgekeyvaluestore` is not of a service `ed`."""


def scope_of_unmapped(source: str, name: str, prefix: str) -> Scope:
    """The actions that an unmapped event `name` of `source` may have used; `prefix` is the one its source stands for.

    Of a known service any; of an unknown one its own, those of services related by name, and the action of the
    event's name in any service; of a source or name that is no such thing, all.
    """
    if prefix in catalog.services():
        return Scope(services=(prefix,))
    label = source.lower().removesuffix(".cn").removesuffix(".amazonaws.com")
    if not _LABEL.fullmatch(label) or not _NAME.fullmatch(name):
        return Scope()
    return Scope(services=_related(label), actions=(f"*:{name}",))


@cache
def _related(label: str) -> tuple[str, ...]:
    words = {*re.split("[.-]", label)}
    known = (
        prefix
        for prefix in catalog.services()
        if words & {*prefix.split("-")}
        or prefix.startswith(label)
        or (len(prefix) >= _LONG_ENOUGH and label.startswith(prefix))
    )
    return (label, *sorted(known))
