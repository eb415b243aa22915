"""Finds the tagging action that a call needs for the tags of a new resource."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.end_to_end.lab.exchange import Exchange

_TABLE = Path(__file__).resolve().parents[3] / "tools" / "facts" / "tags_on_create.tsv"
"""The product's table: each row has its source."""


@dataclass(frozen=True, slots=True)
class TagCheck:
    """A further action that a call needs."""

    action: str
    resource: str
    context: Mapping[str, Any]


def tag_checks(exchange: Exchange, resource: str, account: str) -> Iterator[TagCheck]:
    """The action that the tags of a call need; `resource` is that of the call itself, `*` if AWS
    draws the new id.
    """
    prefix = exchange.action.partition(":")[0]
    if exchange.operation == "CreateTags":
        return
    for operation in (f"{prefix}:{exchange.operation}", f"{prefix}:*"):
        for row in _rows().get(operation, ()):
            given = _given(exchange.parameters, row["parameter"])
            if row["resource"] or given is None or (not given and row["empty"] != "yes"):
                continue
            context = {row["condition"]: exchange.operation} if row["condition"] else {}
            if prefix == "ec2":
                for each in given:
                    kind = each.get("ResourceType", "*")
                    arn = f"arn:aws:ec2:{exchange.region}:{account}:{kind}/*"
                    yield TagCheck(row["action"], arn, context | _tags(each.get("Tags")))
            else:
                made = "-".join(re.findall("[A-Z][a-z]+", exchange.operation)[1:]).lower()
                new = (
                    f"arn:aws:{prefix}:{exchange.region}:{account}:{made}/*"
                    if resource == "*"
                    else resource
                )
                # Tagging calls name a log group without the end that names its streams.
                new = new.removesuffix(":*") if prefix == "logs" else new
                yield TagCheck(row["action"], new, context | _tags(given))


@cache
def _rows() -> dict[str, list[dict[str, str]]]:
    lines = [
        line for line in _TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    found: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(lines, delimiter="\t"):
        found.setdefault(row["operation"], []).append(row)
    return found


def _given(parameters: Mapping[str, Any], name: str) -> Any:
    wanted = (name.lower(), f"{name.lower()}s")
    return next((value for key, value in parameters.items() if key.lower() in wanted), None)


def _pair(tag: Mapping[str, Any]) -> tuple[str, Any]:
    """A tag's key and value: services spell them Key, key or TagKey."""
    by_end = {name.lower().removeprefix("tag"): value for name, value in tag.items()}
    return str(by_end.get("key")), by_end.get("value", "")


def _tags(given: Any) -> dict[str, Any]:
    pairs = dict(given) if isinstance(given, Mapping) else dict(_pair(each) for each in given or [])
    named = {f"aws:RequestTag/{name}": value for name, value in pairs.items()}
    return named | ({"aws:TagKeys": list(pairs)} if pairs else {})
