"""Maps CloudTrail events to IAM actions, and finds whether events show the use of an action.

An event is mapped by the compiled facts of its service, else by the action of its name. The items
of a request name the actions of DynamoDB's transactions and statements, each with its table.
Measured on 2026-11-24 the name alone is an existing action for 95 % of 19,491 API operations; the
facts bring 98 %.

Where no event shows the use of an action, the absence of events proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache, lru_cache

from msgspec import Struct, structs

from leastpriv.models import Call, Scope
from leastpriv.permissions import catalog
from leastpriv.permissions.fact_tables import rows_of, table
from leastpriv.permissions.request import request_values
from leastpriv.permissions.service_facts import (
    EventFacts,
    MappedAction,
    service_facts,
    shared_facts,
)


class Verdict(StrEnum):
    """The facts about an event."""

    MAPPED = "mapped"
    NO_PERMISSION = "no-permission"
    """No identity policy has to allow it (`sts:GetCallerIdentity`, the OIDC login itself)."""
    BY_REQUEST = "by-request"
    """The actions are named by the items of the request (DynamoDB transactions and statements)."""
    UNVERIFIED = "unverified"
    """The service is known, the action is not: newer than the catalogue, or not an API event."""
    UNMAPPED = "unmapped"


class MappedEvent(Struct, frozen=True):
    """All that is known of one event name."""

    verdict: Verdict
    prefix: str
    actions: tuple[MappedAction, ...] = ()
    operation: str = ""
    """IAM prefix and API operation without a date (`lambda:CreateFunction`): the key of further
    facts.
    """


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


@lru_cache(maxsize=16_384)
def map_event(source: str, name: str) -> MappedEvent:
    """What the event `name` of `source` (`lambda.amazonaws.com`) needs; never a guess."""
    label = source.removesuffix(".cn").removesuffix(".amazonaws.com").lower()
    prefix = shared_facts().prefixes.get(label, label)
    operation = f"{prefix}:{_without_date(label, name)}"
    facts = facts_of(operation)
    if facts.verdict:
        return MappedEvent(Verdict(facts.verdict), prefix, facts.actions, operation)
    action = catalog.spelling(operation)
    if action:
        return MappedEvent(Verdict.MAPPED, prefix, (MappedAction(action),), operation)
    if prefix in catalog.services() and _NAME.fullmatch(operation.partition(":")[2]):
        return MappedEvent(Verdict.UNVERIFIED, prefix, (MappedAction(operation),), operation)
    return MappedEvent(Verdict.UNMAPPED, prefix, (), operation)


def _without_date(label: str, name: str) -> str:
    """An event's name without the version of the API: `CreateFunction20150331`."""
    for dated in shared_facts().dated:
        match = re.fullmatch(dated.pattern, name) if dated.label in (label, "*") else None
        if match:
            return match["op"]
    return name


_NO_FACTS = EventFacts()


def facts_of(operation: str) -> EventFacts:
    """Returns the facts of an operation (`lambda:CreateFunction`); empty ones where it has none."""
    prefix, _, name = operation.partition(":")
    events = service_facts(prefix).events
    return events.get(name) or events.get("*", _NO_FACTS)


_LABEL = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_LONG_ENOUGH = 3
"""Letters of a prefix that a label may begin with: `edgekeyvaluestore` is not of a service `ed`."""


def scope_of_unmapped(source: str, name: str, prefix: str) -> Scope:
    """The actions that an unmapped event `name` of `source` may have used; `prefix` is the one of
    its source.

    Of a known service any; of an unknown one its own, those of services related by name, and the
    action of the event's name in any service; of a source or name of another form, all. Of 3,201
    API operations under a label that is no prefix (botocore 1.44.8, 2026-11) the scope holds the
    true action of 99.6 % (bench/botocore_coverage.py).
    """
    if prefix in catalog.services():
        return Scope(services=(prefix,))
    label = source.lower().removesuffix(".cn").removesuffix(".amazonaws.com")
    if not _LABEL.fullmatch(label) or not _NAME.fullmatch(name):
        return Scope()
    return Scope(services=_related(label), actions=(f"*:{name}",))


@cache
def _related(label: str) -> tuple[str, ...]:
    """Returns the label of an unknown service and the known ones that are named like it."""
    words = {*re.split("[.-]", label)}
    prefixes = (
        prefix
        for prefix in catalog.services()
        if words & {*prefix.split("-")}
        or prefix.startswith(label)
        or (len(prefix) >= _LONG_ENOUGH and label.startswith(prefix))
    )
    return (label, *sorted(prefixes))


_STATEMENT = re.compile(
    r"\s*(?:(?P<update>update)|(?P<insert>insert)\s+into|(?P<delete>delete)\s+from"
    r"|(?P<select>select)\b.*?\bfrom)"
    r"\s+(?P<quote>[\"']?)(?P<table>[\w.-]+)(?P=quote)(?:\s*\.\s*\"?(?P<index>[\w.-]+))?",
    re.IGNORECASE | re.DOTALL,
)
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.statements.html"""


class ItemOfCall(Struct, frozen=True):
    """An item of a request that names its action: of a transaction, or a PartiQL statement."""

    action: str
    table: str = ""
    """Its name or ARN; empty where the item names none."""
    index: str = ""

    def part_of(self, call: Call) -> Call:
        """Returns the call as if it named the item's table alone.

        It is the whole call where the item names no table. `resources[]` lists the ARNs of all
        tables of the request: the item's name identifies its own.
        """
        if not self.table:
            return call
        if self.table.startswith("arn:"):
            return structs.replace(call, parameters={"resourceArn": self.table}, resources=())
        arn_end = re.compile(rf":table/{re.escape(self.table)}(/|$)")
        arns = tuple(arn for arn in call.resources if arn_end.search(arn))
        parameters = {"tableName": self.table}
        if self.index:
            parameters["indexName"] = self.index
        return structs.replace(call, parameters=parameters, resources=arns)


def items_of(call: Call) -> Iterable[ItemOfCall]:
    """Returns the items of a call whose actions can be read, equal ones once."""
    return dict.fromkeys((*_of_transaction(call), *_of_statements(call)))


def _of_transaction(call: Call) -> Iterator[ItemOfCall]:
    """Yields the items of `TransactWriteItems`: a `Put` on `Music` needs `dynamodb:PutItem`
    there.
    """
    transact_items = call.parameters.get("transactItems") or call.parameters.get("requestItems")
    if not isinstance(transact_items, list):
        return
    for transact_item in transact_items:
        if not isinstance(transact_item, Mapping):
            continue
        # As AWS records it: `{"operation": "Put", "tableName": "Music", …}`.
        writes = (
            {transact_item["operation"]: transact_item}
            if "operation" in transact_item
            else transact_item
        )
        for verb, value in writes.items():
            action = _actions_in_items("transaction").get(str(verb).lower())
            if action:
                tables = (text for key, text in request_values(value) if key == "tablename")
                yield ItemOfCall(action, next(tables, ""))


def _of_statements(call: Call) -> Iterator[ItemOfCall]:
    """Yields the PartiQL statements: `select * from Music` needs `dynamodb:PartiQLSelect` on
    `Music`.
    """
    for key, value in request_values(call.parameters):
        verb = re.match(r"\s*(\w+)", value) if key == "statement" else None
        action = _actions_in_items("statement").get(verb[1].lower()) if verb else None
        if not action:
            continue
        statement = _STATEMENT.match(value)
        if statement:
            yield ItemOfCall(action, statement["table"], statement["index"] or "")
        else:
            yield ItemOfCall(action)


@cache
def _actions_in_items(form: str) -> Mapping[str, str]:
    """Word of an item -> action, of `data/item_actions.tsv`."""
    return {row["word"]: row["action"] for row in table("item_actions") if row["form"] == form}


class Visibility(StrEnum):
    """How a trail shows the use of an action, or an operation."""

    MANAGEMENT = "management"
    """As a management event: every trail and the event history have it."""
    DATA = "data"
    """As a data event: only where a trail selects the resource type."""
    CARRIERS = "carriers"
    """By the events of its carriers only: AWS authorizes it inside calls that need another action.
    """
    PERMISSION_ONLY = "permission-only"
    """Not as an event, or not always, and AWS names no carrier."""
    ENDED = "ended"
    """AWS ended the service or the feature: no call can use the action."""
    NEVER = "never"
    """CloudTrail does not record it."""
    UNKNOWN = "unknown"
    """No source says whether CloudTrail records it."""


DOCUMENTATION = "https://docs.aws.amazon.com/"
_READS = re.compile(r"(BatchGet|BatchDescribe|Get|List|Describe|Head)[A-Z]")
_WRITES = re.compile(
    r"(Add|Allocate|Associate|Attach|Authorize|Cancel|Create|Delete|Deregister|Detach|Disable"
    r"|Disassociate|Enable|Modify|Publish|Put"
    r"|Register|Release|Remove|Reset|Restore|Revoke|Run|Set|Stop|Subscribe|Tag|Terminate"
    r"|Unsubscribe|Untag|Update)[A-Z]"
)
_UNCLEAR = frozenset({"GetFederationToken", "GetSessionToken"})
"""Recorded with `readOnly` false (a real record of 2023, Stratus Red Team)."""
_FLAGS = {"yes": True, "no": False, "unclear": None}


class ActionVisibility(Struct, frozen=True):
    """How a trail shows one action, and which source says so."""

    visibility: Visibility
    resource_type: str = ""
    """Data events only: the `resources.type` that a trail has to select, `AWS::S3::Object`."""
    read_only: bool | None = None
    """CloudTrail's `readOnly` flag of the events; None where it is unknown or differs between them.
    """
    source: str = ""
    """A sentence for the reader, with the address of the page where there is one."""


class Carrier(Struct, frozen=True):
    """An operation that authorizes an action besides the one it needs, and how a trail shows the
    operation.
    """

    operation: str
    """IAM prefix and operation, as `event_table.MappedEvent.operation` has them: `s3:CopyObject`.
    """
    visibility: Visibility
    resource_type: str = ""
    triggered: bool = False
    """The mapping knows which parameter makes the operation authorize the action, so a call without
    it is no use.
    """


_CACHED_ACTIONS = 32_768
"""Actions that are looked up once: targets of a fleet have much the same policies."""


@lru_cache(maxsize=_CACHED_ACTIONS)
def visibility(action: str) -> ActionVisibility:
    """Look up how a trail shows `action` (`s3:GetObject`, any case) by the events that always need
    it.

    `carriers_of` has the operations that may need it besides. An action that is newer than the
    table is `UNKNOWN`.
    """
    prefix, _, name = action.lower().partition(":")
    visibility_row = _visibility_rows(prefix).get(name)
    if visibility_row is None:
        return ActionVisibility(Visibility.UNKNOWN, source=_why_unknown(action))
    row = visibility_row.row
    flag = row["read_only"]
    source = _reasons()[row["reason"]]["text"]
    if row["page"]:
        source = f"{source}; {DOCUMENTATION}{row['page']}"
    return ActionVisibility(
        visibility=Visibility(row["visibility"]),
        resource_type=row["type"],
        read_only=_FLAGS[flag] if flag else read_only_by_name(visibility_row.name),
        source=source,
    )


def read_only_by_name(operation: str) -> bool | None:
    """CloudTrail's `readOnly` flag of an operation as far as its name shows it, else None."""
    if operation in _UNCLEAR:
        return None
    if _READS.match(operation):
        return True
    return False if _WRITES.match(operation) else None


@lru_cache(maxsize=_CACHED_ACTIONS)
def carriers_of(action: str) -> tuple[Carrier, ...]:
    """List the operations that authorize an action (any case) besides the one they need."""
    return tuple(
        operation.carrier for operation in _operations_of(action.lower()) if not operation.is_own
    )


def own_operations(action: str) -> frozenset[str]:
    """Names the operations whose events show an action of unknown visibility; a record of each one
    settles it.
    """
    operations = [
        operation.carrier.operation
        for operation in _operations_of(action.lower())
        if operation.is_own
    ]
    return frozenset(operations or [catalog.spelling(action) or action])


def data_event_types() -> tuple[str, ...]:
    """Resource types (`AWS::S3::Object`) whose data events show some action, sorted."""
    return tuple(
        sorted({row["type"] for row in table("visibility") if row["visibility"] == Visibility.DATA})
    )


@cache
def global_services(partition: str) -> tuple[str, ...]:
    """IAM prefixes of the global services of a partition, sorted."""
    return tuple(sorted(row["prefix"] for row in table("global_services") if row.get(partition)))


@cache
def home_region(prefix: str, partition: str) -> str:
    """The one region that records all events of a global service; empty for a service that each
    region records.
    """
    return next(
        (row.get(partition, "") for row in table("global_services") if row["prefix"] == prefix), ""
    )


def _why_unknown(action: str) -> str:
    prefix = action.partition(":")[0].lower()
    if prefix not in catalog.services():
        return f"the catalogue {catalog.version()} has no service {prefix}"
    if catalog.action(action) is None:
        return f"the catalogue {catalog.version()} has no such action"
    return "the action is newer than the table"


@cache
def _reasons() -> Mapping[str, Mapping[str, str]]:
    return {row["code"]: row for row in table("visibility_reasons")}


class _VisibilityRow(Struct, frozen=True):
    """An action's row of the table."""

    name: str
    """The action's name as the table spells it."""
    row: Mapping[str, str]


@cache
def _visibility_rows(prefix: str) -> Mapping[str, _VisibilityRow]:
    """Name of an action in lower case -> its row."""
    rows: dict[str, _VisibilityRow] = {}
    for row in rows_of("visibility", prefix):
        for name in row["actions"].split(","):
            rows[name.lower()] = _VisibilityRow(name, row)
    return rows


class _OperationOfAction(Struct, frozen=True):
    """An operation that may need an action."""

    carrier: Carrier
    is_own: bool
    """It always needs the action, and has another name."""


@cache
def _operations_of(action: str) -> tuple[_OperationOfAction, ...]:
    """The operations that the table has for an action in lower case."""
    prefix, _, name = action.partition(":")
    operations = []
    for row in _carrier_rows().get(prefix, {}).get(name, ()):
        for operation in row["operations"].split(","):
            carrier = Carrier(
                operation if ":" in operation else f"{prefix}:{operation}",
                Visibility(row["visibility"]),
                row["type"],
                triggered=row["kind"] == "triggered",
            )
            operations.append(_OperationOfAction(carrier, is_own=row["kind"] == "own"))
    return tuple(operations)


@cache
def _carrier_rows() -> Mapping[str, Mapping[str, tuple[Mapping[str, str], ...]]]:
    """Service -> name of an action, both in lower case -> its rows of `carriers.tsv`.

    A carrier is an operation in which AWS authorizes the action besides the one of the operation's
    name: `s3:CopyObject` with an ACL needs `s3:PutObjectAcl`, and no event `PutObjectAcl` follows.
    """
    rows_by_service: dict[str, dict[str, tuple[Mapping[str, str], ...]]] = {}
    for row in table("carriers"):
        service = rows_by_service.setdefault(row["service"].lower(), {})
        for name in row["actions"].lower().split(","):
            service[name] = (*service.get(name, ()), row)
    return rows_by_service
