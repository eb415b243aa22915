"""Calls of CloudFormation's handlers for a resource: handlers.tsv with the resource's values."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from botocore.session import get_session
from ministack.services import iam
from ministack.services.cloudformation import provisioners

_TABLE = Path(__file__).with_name("handlers.tsv")
_UNNAMED = "*"

_NO_CALLS = ("AWS::CDK::Metadata", "AWS::CloudFormation::WaitCondition", "AWS::CloudFormation::WaitConditionHandle",
             "AWS::CloudFormation::Macro")  # fmt: skip


@dataclass(frozen=True, slots=True)
class HandlerCall:
    """A call of a handler; `request` and `response` are (parameter, value), `@` is the id of the
    new resource.
    """

    action: str
    resource: str
    request: tuple[tuple[str, str], ...] = ()
    response: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StackResource:
    """A resource of a stack as its handler gets it; `physical_id` is empty before its creation."""

    kind: str
    logical_id: str
    stack: str
    properties: Mapping[str, Any]
    old_properties: Mapping[str, Any]
    physical_id: str
    region: str
    account: str


def calls_of(operation: str, resource: StackResource) -> list[HandlerCall]:
    """The calls of an operation (`create`, `update`, `delete`) in the handler's order.

    A type without rows gets one call by its name, if the service has such an operation: a guess.
    """
    rows = _table().get(resource.kind)
    if resource.kind.startswith("Custom::"):
        rows = _table()["AWS::CloudFormation::CustomResource"]
    if rows is None:
        return [] if resource.kind in _NO_CALLS else _guessed(operation, resource)
    values = _Values(resource, rows)
    found = []
    for row in rows:
        if row["operation"] == operation and values.holds(row["when"]):
            arn = _with_path(
                values.fill(row["resource"]).replace("parameter//", "parameter/"), resource.account
            )
            found.append(
                HandlerCall(
                    row["action"],
                    arn,
                    values.pairs(row["request"], arn),
                    values.pairs(row["response"], arn),
                )
            )
    return found


def _with_path(arn: str, account: str) -> str:
    """The ARN of a role that exists, which has the role's path although another resource names the
    role without it.
    """
    role, _, name = arn.partition(":role/")
    made = iam._roles.get_scoped(account, None, name) if role and name else None
    return str((made or {}).get("Arn") or arn)


def is_replaced(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an update replaces the resource: its name changed, and its handlers have no
    update.
    """
    rows = _table().get(kind, [])
    names = [row["action"] for row in rows if row["operation"] == "name"]
    renamed = any(old.get(name) != new.get(name) for name in names)
    return renamed and all(row["operation"] != "update" for row in rows)


@cache
def _table() -> dict[str, list[dict[str, str]]]:
    lines = [
        line for line in _TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    found: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(lines, delimiter="\t"):
        found.setdefault(row["type"], []).append(row)
    return found


class _Values:
    """The values of the placeholders of a row."""

    def __init__(self, resource: StackResource, rows: list[dict[str, str]]) -> None:
        self.resource = resource
        naming = next((row for row in rows if row["operation"] == "name"), None)
        self.name = _name_of(resource, naming)

    def fill(self, text: str) -> str:
        return re.sub(r"\{([\w.]+)\}", lambda found: self._value(found.group(1)), text)

    def pairs(self, text: str, arn: str) -> tuple[tuple[str, str], ...]:
        """`name=value,…` with the values filled in; entries without a value are left out."""
        parts = [part.partition("=") for part in text.split(",") if part]
        filled = ((name, arn if value == "$" else self.fill(value)) for name, _, value in parts)
        return tuple((name, value) for name, value in filled if value != _UNNAMED)

    def holds(self, when: str) -> bool:
        if not when:
            return True
        name = when.lstrip("~")
        value = _own_tags(_within(self.resource.properties, name), name)
        if when.startswith("~"):
            return bool(value != _own_tags(_within(self.resource.old_properties, name), name))
        return bool(value)

    def _value(self, name: str) -> str:
        fixed = {"name": self.name, "id": self.resource.physical_id or _UNNAMED, "region": self.resource.region,
                 "account": self.resource.account}  # fmt: skip
        if name in fixed:
            return fixed[name]
        if name == "bus":
            bus = _last_part(str(self.resource.properties.get("EventBusName") or "default"))
            return "" if bus == "default" else f"{bus}/"
        path, _, last = name.rpartition(".")
        wanted = path if last == "name" and path else name
        value = _within(self.resource.properties, wanted)
        if isinstance(value, list):
            value = value[0] if value else None
        if value is None:
            return "/" if wanted == "Path" else _UNNAMED
        return _last_part(str(value)) if wanted != name else str(value)


def _name_of(resource: StackResource, naming: Mapping[str, str] | None) -> str:
    given = resource.properties.get(naming["action"]) if naming else None
    if isinstance(given, str) and given:
        return given
    if resource.physical_id:
        return _last_part(resource.physical_id)
    longest, _, small = (naming["when"] if naming else "128").partition(" ")
    return str(
        provisioners._physical_name(
            resource.stack, resource.logical_id, lowercase=bool(small), max_len=int(longest)
        )
    )


def _last_part(text: str) -> str:
    """The name in an ARN or an address; a plain name unchanged."""
    if text.startswith("arn:"):
        return re.split(r"[:/]", text)[-1]
    return text.rpartition("/")[2] if "://" in text else text


def _within(properties: Mapping[str, Any], path: str) -> Any:
    """A property by its path; of a list on the way the first."""
    value: Any = properties
    for part in path.split("."):
        value = value[0] if isinstance(value, list) and value else value
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _own_tags(value: Any, name: str) -> Any:
    """Tags without CloudFormation's own, which need no permission."""
    if name == "Tags" and isinstance(value, list):
        return [each for each in value if not str(each.get("Key", "")).startswith("aws:")]
    return value


def _guessed(operation: str, resource: StackResource) -> list[HandlerCall]:
    _, service, kind = (*resource.kind.split("::"), "", "", "")[:3]
    prefix = service.lower()
    name = f"{operation.title()}{kind}"
    try:
        known = name in get_session().get_service_model(prefix).operation_names
    except Exception:  # no model of that name
        known = False
    return [HandlerCall(f"{prefix}:{name}", "*")] if known else []
