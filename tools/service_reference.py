"""Reads AWS's service reference: which actions exist, and which actions AWS authorizes inside each
API operation.

AWS publishes one JSON file for each service, without credentials and renewed daily
(https://docs.aws.amazon.com/service-authorization/latest/reference/service-reference.html). The
tools read them from a `.tar.xz` archive, from a folder, or from AWS's public address. How to read
the data: an operation without authorized actions is only not mapped yet, and calls that a service
makes in the caller's name later are not listed. An action that is not the primary one is authorized
inside the call and need not leave an event. `records_management_event` is strong when true and says
nothing when false.
"""

from __future__ import annotations

import json
import os
import tarfile
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import URLError

ADDRESS = "https://servicereference.us-east-1.amazonaws.com/"
VARIABLE = "LEASTPRIV_SERVICE_REFERENCE"
"""Environment variable that names the archive, folder or address."""
_TIMEOUT = 60
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Action:
    """An IAM action."""

    name: str
    """With its prefix, in AWS's spelling: `s3:GetObject`."""
    resource_types: tuple[str, ...]
    condition_keys: tuple[str, ...]
    """Keys of the action itself; those of its resource types are extra."""
    access: frozenset[str]
    """Of `list`, `permission-management`, `tagging`, `write`; empty for a read."""
    records_management_event: bool
    """Flag "IAM Access Analyzer Policy Generation": AWS reads the action from CloudTrail management
    events.
    """
    tracks_last_access: bool
    """Flag "IAM Action Last Accessed": IAM records the last attempt by action."""


@dataclass(frozen=True, slots=True)
class AuthorizedAction:
    """An action that AWS authorizes inside an operation."""

    action: str
    passed_to: tuple[str, ...] = ()
    """Values of `iam:PassedToService`; empty where AWS names none."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An API operation, as the reference of its service lists it."""

    name: str
    """Prefix of the reference and operation: `s3:CopyObject`."""
    clients: tuple[str, ...]
    """boto3's clients that have it."""
    authorized: tuple[AuthorizedAction, ...]
    """In AWS's order; empty where AWS has not mapped the operation yet."""

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the authorized actions."""
        return tuple(each.action for each in self.authorized)


@dataclass(frozen=True, slots=True)
class Service:
    """The reference of one service."""

    prefix: str
    actions: tuple[Action, ...]
    operations: tuple[Operation, ...]
    resource_types: tuple[str, ...]


@dataclass(frozen=True)
class ServiceReference:
    """All services of one copy of the reference."""

    source: str
    """Name of the archive or folder, or the address."""
    services: Mapping[str, Service]

    @cached_property
    def actions(self) -> Mapping[str, Action]:
        """All actions by their names in lower case."""
        return {
            action.name.lower(): action
            for service in self.services.values()
            for action in service.actions
        }

    @cached_property
    def operations(self) -> Mapping[str, Operation]:
        """All operations by their names."""
        return {
            operation.name: operation
            for service in self.services.values()
            for operation in service.operations
        }

    @cached_property
    def carriers(self) -> Mapping[str, tuple[Operation, ...]]:
        """Action in lower case -> the operations that authorize it."""
        carriers: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations.values():
            for name in dict.fromkeys(action.lower() for action in operation.actions):
                carriers[name].append(operation)
        return {name: tuple(operations) for name, operations in carriers.items()}


def load(source: str = "") -> ServiceReference:
    """Read the reference from an archive, a folder or an address.

    Args:
        source: path or `https://` address; empty: what the environment variable
            `LEASTPRIV_SERVICE_REFERENCE` names, else AWS's public address.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source holds no reference, or a file of another shape.
    """
    source = source or os.environ.get(VARIABLE, "") or ADDRESS
    documents = {document["Name"]: document for document in _documents(source)}
    if not documents:
        raise ValueError(f"{source} holds no file of the service reference")
    services = {
        prefix: _service(prefix, document) for prefix, document in sorted(documents.items())
    }
    name = source if source.startswith("https://") else Path(source).name
    return ServiceReference(name, services)


def load_or_keep(source: str = "") -> ServiceReference | None:
    """Reads the reference as `load` does; None where AWS's address does not answer, so that the
    last tables remain.
    """
    try:
        return load(source)
    except URLError as error:
        print(
            f"AWS's service reference does not answer ({error.reason}): the tables of the last copy"
            " are kept"
        )
        return None


def _documents(source: str) -> Iterator[Mapping[str, Any]]:
    """Yield the parsed file of each service."""
    for text in _texts(source):
        document = json.loads(text)
        if isinstance(document, dict) and {"Name", "Actions"} <= document.keys():
            yield document


def _texts(source: str) -> Iterator[bytes]:
    if source.startswith("https://"):
        index = json.loads(_download(source))
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            yield from pool.map(_download, [each["url"] for each in index])
    elif Path(source).is_dir():
        yield from (path.read_bytes() for path in sorted(Path(source).rglob("*.json")))
    else:
        with tarfile.open(source) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(".json") else None
                if content:
                    yield content.read()


def _download(address: str) -> bytes:
    if not address.startswith("https://"):
        raise ValueError(f"{address} is no https address")
    # Https only, checked above.
    with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:  # noqa: S310
        return bytes(answer.read())


def _service(prefix: str, document: Mapping[str, Any]) -> Service:
    return Service(
        prefix=prefix,
        actions=tuple(_action(prefix, each) for each in document["Actions"]),
        operations=tuple(_operation(prefix, each) for each in document.get("Operations", ())),
        resource_types=tuple(each["Name"] for each in document.get("Resources", ())),
    )


_ACCESS = {
    "IsList": "list",
    "IsPermissionManagement": "permission-management",
    "IsTaggingOnly": "tagging",
    "IsWrite": "write",
}


def _action(prefix: str, document: Mapping[str, Any]) -> Action:
    properties = document.get("Annotations", {}).get("Properties", {})
    flags = document.get("SupportedBy", {})
    return Action(
        name=f"{prefix}:{document['Name']}",
        resource_types=tuple(each["Name"] for each in document.get("Resources", ())),
        condition_keys=tuple(document.get("ActionConditionKeys", ())),
        access=frozenset(name for key, name in _ACCESS.items() if properties.get(key)),
        records_management_event=flags.get("IAM Access Analyzer Policy Generation") is True,
        tracks_last_access=flags.get("IAM Action Last Accessed") is True,
    )


def _operation(prefix: str, document: Mapping[str, Any]) -> Operation:
    return Operation(
        name=f"{prefix}:{document['Name']}",
        clients=tuple(client["Name"] for client in _entries(document, "SDK")),
        authorized=tuple(
            AuthorizedAction(
                f"{each['Service']}:{each['Name']}",
                tuple(each.get("Context", {}).get("iam:PassedToService", ())),
            )
            for each in _entries(document, "AuthorizedActions")
        ),
    )


def _entries(document: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    return document.get(key) or ()
