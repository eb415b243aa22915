"""Reads AWS's service reference: which actions authorize each API operation, as AWS publishes it for each service.

The reference is a set of JSON files (https://docs.aws.amazon.com/service-authorization/latest/reference/service-reference.html).
A copy comes as an archive or a folder; `AWS_ADDRESS` is the public original, which needs no key.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

AWS_ADDRESS = "https://servicereference.us-east-1.amazonaws.com/"
_TIMEOUT = 30
"""Seconds for one file."""


@dataclass(frozen=True, slots=True)
class Authorized:
    """One action that an operation is authorized by."""

    action: str
    passed_to: tuple[str, ...] = ()
    """Values of `iam:PassedToService`, of `iam:PassRole` only."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One API operation of the reference."""

    prefix: str
    name: str
    clients: tuple[str, ...]
    """Names of its clients in Boto3; empty where the reference has none."""
    authorized: tuple[Authorized, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions that authorize it."""
        return tuple(each.action for each in self.authorized)


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole reference of one day."""

    operations: tuple[Operation, ...]
    """Those with actions: an operation without them is not mapped yet."""
    actions: frozenset[str]


def read_reference(source: str) -> Reference:
    """Reads the reference from an archive (`.tar.xz`), a folder of JSON files or a web address that ends in `/`."""
    operations: list[Operation] = []
    actions: set[str] = set()
    for service in _services(source):
        prefix = service["Name"]
        actions.update(f"{prefix}:{action['Name']}" for action in service.get("Actions", ()))
        operations.extend(_operations(prefix, service))
    return Reference(tuple(sorted(operations, key=lambda each: (each.prefix, each.name))), frozenset(actions))


def _services(source: str) -> Iterator[Mapping[str, Any]]:
    if source.startswith("https://"):
        yield from (_fetched(entry["url"]) for entry in _fetched(source))
        return
    path = Path(source)
    found = _archived(path) if path.is_file() else (file.read_bytes() for file in sorted(path.rglob("*.json")))
    # The index, which only names the files, is a list.
    yield from (service for text in found if isinstance(service := json.loads(text), dict))


def _fetched(address: str) -> Any:
    if not address.startswith("https://"):
        raise ValueError(f"not an address of AWS's service reference: {address}")
    with urlopen(address, timeout=_TIMEOUT) as answer:  # noqa: S310 - https alone
        return json.load(answer)


def _archived(path: Path) -> Iterator[bytes]:
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".json") else None
            if content:
                yield content.read()


def _operations(prefix: str, service: Mapping[str, Any]) -> Iterator[Operation]:
    for operation in service.get("Operations", ()):
        authorized = tuple(
            Authorized(
                f"{each['Service']}:{each['Name']}", tuple(each.get("Context", {}).get("iam:PassedToService", ()))
            )
            for each in operation.get("AuthorizedActions", ())
        )
        clients = tuple(sdk["Name"] for sdk in operation.get("SDK", ()) if sdk["Package"] == "Boto3")
        if authorized:
            yield Operation(prefix, operation["Name"], clients, authorized)
