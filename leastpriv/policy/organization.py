"""Reads the policies of an organization from files: a folder whose folders are the root, the
organizational units and the accounts, or single policies.

A file is a policy, the output of `aws organizations describe-policy`, or the
`OrderedOrganizationPolicyInputList` of IAM's SimulateCustomPolicy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from leastpriv.atomic_file import read_named
from leastpriv.errors import InputError, PolicyFileError
from leastpriv.policy.access import (
    NamedPolicy,
    Organization,
    PolicyLevel,
    ResourcePolicy,
    with_every_resource,
)
from leastpriv.policy.document import parse
from leastpriv.policy.locate import named_resource, outer_policy_pointer
from leastpriv.policy.source import Location

_ACCOUNT = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")
_ORDERED = "OrderedOrganizationPolicyInputList"
_OF_LEVEL = "ServiceControlPolicyInputList"


class OrganizationFiles(Struct, frozen=True):
    """What the paths of an input hold."""

    paths: tuple[str, ...]
    """As the input names them."""
    contents: Mapping[str, bytes]
    """JSON file -> its content."""
    folders: frozenset[str]
    """Folders at the paths and below, also those without a file."""


class _Attached(Struct, frozen=True):
    """A policy of one level."""

    policy: NamedPolicy
    is_rcp: bool


def read_organization(paths: Sequence[str], flag: str) -> Organization:
    """Reads files and folders from disk; several files are policies of one level.

    Raises InputError, which names the file or folder and the remedy.
    """
    contents: dict[str, bytes] = {}
    folders: set[str] = set()
    for path in paths:
        top = Path(path)
        if not top.is_dir():
            contents[path] = read_named(path, flag)
            continue
        inner_paths = sorted(top.rglob("*"))
        folders.update(folder.as_posix() for folder in (top, *inner_paths) if folder.is_dir())
        for inner_path in inner_paths:
            if inner_path.suffix == ".json":
                contents[inner_path.as_posix()] = read_named(inner_path, flag)
    return organization_of(OrganizationFiles(tuple(paths), contents, frozenset(folders)), flag)


def organization_of(files: OrganizationFiles, flag: str) -> Organization:
    """Returns the organization that files describe; raises InputError as `read_organization`."""
    levels: list[PolicyLevel] = []
    accounts: dict[str, tuple[PolicyLevel, ...]] = {}
    owners: set[str] = set()
    single: list[_Attached] = []
    for path in files.paths:
        if path not in files.contents:
            tree = _Tree(path, files, owners)
            accounts |= tree.accounts()
            if not accounts:
                levels += tree.only_path(flag)
            continue
        ordered = _ordered_levels(files.contents[path], path)
        levels += ordered
        if not ordered:
            single.append(_policy_of_file(files.contents[path], path, owners))
    if single:
        levels.append(_level("the named files", single))
    return Organization(tuple(levels), accounts, next(iter(owners), ""))


class _Tree:
    """The folders at a path and below, and the policies in each."""

    def __init__(self, path: str, files: OrganizationFiles, owners: set[str]) -> None:
        self.top = PurePosixPath(path)
        self.folders = sorted(name for name in files.folders if self._holds(name))
        self.policies: dict[str, list[_Attached]] = {}
        for name, raw in files.contents.items():
            if self._holds(name):
                folder = PurePosixPath(name).parent.as_posix()
                self.policies.setdefault(folder, []).append(_policy_of_file(raw, name, owners))

    def _holds(self, name: str) -> bool:
        return PurePosixPath(name).is_relative_to(self.top)

    def levels(self, folder: str) -> tuple[PolicyLevel, ...]:
        """Returns the levels from the top to a folder."""
        folder_path = PurePosixPath(folder)
        names = [ancestor.as_posix() for ancestor in reversed((folder_path, *folder_path.parents))]
        return tuple(
            _level(PurePosixPath(name).name, self.policies[name])
            for name in names
            if name in self.policies
        )

    def accounts(self) -> dict[str, tuple[PolicyLevel, ...]]:
        """Returns the levels of each account that a folder's name holds."""
        levels_by_account: dict[str, tuple[PolicyLevel, ...]] = {}
        for folder in self.folders:
            for account in _ACCOUNT.findall(PurePosixPath(folder).name):
                levels_by_account[account] = self.levels(folder)
        return levels_by_account

    def only_path(self, flag: str) -> tuple[PolicyLevel, ...]:
        """Returns the levels of a tree in which no folder has two folders."""
        if not self.policies:
            raise InputError(
                f"{flag} names {str(self.top)!r}, which has no JSON file: save each policy in the"
                " folder of the root, the organizational unit or the account that has it."
            )
        deepest = max(self.policies, key=lambda name: len(PurePosixPath(name).parts))
        for folder in self.policies:
            if not PurePosixPath(deepest).is_relative_to(folder):
                raise InputError(
                    f"{flag} names {str(self.top)!r}, where {folder!r} and {deepest!r} are"
                    " different branches, and no folder's name has the number of an account: name"
                    " the account's folder as in prod-111122223333."
                )
        return self.levels(deepest)


def _level(name: str, policies: Sequence[_Attached]) -> PolicyLevel:
    return PolicyLevel(
        name=name,
        scps=tuple(policy.policy for policy in policies if not policy.is_rcp),
        rcps=tuple(policy.policy for policy in policies if policy.is_rcp),
    )


def _ordered_levels(raw: bytes, where: str) -> list[PolicyLevel]:
    """Returns the levels of an `OrderedOrganizationPolicyInputList`; empty for another file."""
    try:
        root = json.loads(raw)
    except ValueError:
        return []
    inputs = root.get(_ORDERED) if isinstance(root, dict) else root
    if not isinstance(inputs, list):
        return []
    levels: list[PolicyLevel] = []
    for number, policy_input in enumerate(inputs, start=1):
        texts = policy_input.get(_OF_LEVEL) if isinstance(policy_input, dict) else None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise PolicyFileError(
                f"{where}: item {number} has no list of texts named {_OF_LEVEL}; write one for each"
                " level, from the root to the account."
            )
        policies = [
            NamedPolicy(
                name=f"policy {policy_number}",
                document=parse(text.encode(), f"{where}, level {number}"),
            )
            for policy_number, text in enumerate(texts, start=1)
        ]
        levels.append(PolicyLevel(f"level {number}", scps=tuple(policies)))
    return levels


def _policy_of_file(raw: bytes, where: str, owners: set[str]) -> _Attached:
    """Reads one policy; adds the account that owns it to `owners`, where the file says it."""
    document = parse(raw, where, outer_policy_pointer(raw, where), resource_based=True)
    summary = _summary(raw)
    account = summary.get("Arn", "").split(":")[4:5]
    owners.update(account_id for account_id in account if _ACCOUNT.fullmatch(account_id))
    has_principals = any(statement.principals for statement in document.statements)
    is_rcp = summary.get("Type", "").startswith("RESOURCE") or has_principals
    name = summary.get("Name", "") or PurePosixPath(where).stem
    return _Attached(NamedPolicy(name, document), is_rcp)


def _summary(raw: bytes) -> Mapping[str, str]:
    """Returns the `PolicySummary` of `aws organizations describe-policy`; empty without one."""
    root = json.loads(raw)
    policy = root.get("Policy", root)
    summary = policy.get("PolicySummary") if isinstance(policy, dict) else None
    if not isinstance(summary, dict):
        return {}
    return {key: value for key, value in summary.items() if isinstance(value, str)}


def read_resource_policy(given: str, flag: str) -> ResourcePolicy:
    """Reads a resource-based policy, given as `FILE`, `FILE#POINTER` or `ARN=FILE`.

    Raises InputError where the file cannot be read or holds no such policy.
    """
    resource, path = "", given
    if given.startswith("arn:"):
        resource, is_named, path = given.rpartition("=")
        if not is_named:
            raise InputError(f"{flag} is {given!r}; write ARN=FILE, or the file alone.")
    location = Location.of(path)
    return resource_policy_of(read_named(location.path, flag), location, resource)


def resource_policy_of(raw: bytes, location: Location, resource: str) -> ResourcePolicy:
    """Parses a resource-based policy; the ARN of an empty `resource` is what the file says."""
    pointer = location.pointer or outer_policy_pointer(raw, location.path)
    document = parse(raw, location.path, pointer, resource_based=True)
    return ResourcePolicy(
        NamedPolicy(PurePosixPath(location.path).stem, with_every_resource(document)),
        resource or named_resource(raw, location.path),
    )
