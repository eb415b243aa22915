"""Reads the actions of DynamoDB's transactions and statements: the request's items name them, each with its table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from msgspec import structs

from leastpriv.models import Call
from leastpriv.permissions.fact_tables import table
from leastpriv.permissions.request import request_values
from leastpriv.permissions.service_facts import MappedAction

STATEMENT = re.compile(
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
        writes = {str(item["operation"]): item} if isinstance(item, Mapping) and "operation" in item else item
        for key, value in writes.items() if isinstance(writes, Mapping) else ():
            action = _actions_in_items("transaction").get(str(key).lower())
            if action:
                yield action, next((text for key, text in request_values(value) if key == "tablename"), ""), ""


def _of_statements(call: Call) -> Iterator[tuple[str, str, str]]:
    for key, value in request_values(call.parameters):
        verb = re.match(r"\s*(\w+)", value) if key == "statement" else None
        action = _actions_in_items("statement").get(verb[1].lower()) if verb else None
        if action:
            match = STATEMENT.match(value)
            yield action, match["table"] if match else "", (match["index"] or "") if match else ""


@cache
def _actions_in_items(form: str) -> Mapping[str, str]:
    """Word of an item -> action, of `data/item_actions.tsv`."""
    return {row["word"]: row["action"] for row in table("item_actions") if row["form"] == form}


def _part(call: Call, name: str, index: str) -> Call:
    """The call as if it named one table; the whole call where the item names none, or where the record says more.

    `resources[]` lists the ARNs of all tables of the request: the item's name identifies its own.
    """
    if not name:
        return call
    if name.startswith("arn:"):
        return structs.replace(call, parameters={"resourceArn": name}, resources=())
    listed = tuple(arn for arn in call.resources if re.search(rf":table/{re.escape(name)}(/|$)", arn))
    parameters = {"tableName": name, **({"indexName": index} if index else {})}
    return structs.replace(call, parameters=parameters, resources=listed)
