"""Reads the policies outside the role's own ones from files of the repository: those of the
organization, the boundary, the session policy and those of resources.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from leastpriv.errors import InputError
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.load_policies import read_other
from leastpriv.policy.access import Organization, Policies, ResourcePolicy
from leastpriv.policy.document import Document, parse
from leastpriv.policy.organization import (
    OrganizationFiles,
    organization_of,
    resource_policy_of,
)
from leastpriv.policy.source import Location

_ORGANIZATION = "organization-policies"
_OTHERS = "other-policies"


def read_other_policies(target: Target, base: str) -> Policies:
    """Reads the policies that the inputs name, in the commit `base` or on disk.

    Raises InputError, which names the input, the file and the remedy.
    """
    files = _Files(target, base)
    boundary: list[Document] = []
    session: list[Document] = []
    resources: list[ResourcePolicy] = []
    for policy in target.settings.other_policies:
        location = Location.of(policy.file)
        raw = read_other(target, base, location.path, _OTHERS)
        if not policy.kind:
            resources.append(resource_policy_of(raw, location, policy.resource))
            continue
        policies_of_kind = boundary if policy.kind == "boundary" else session
        policies_of_kind.append(parse(raw, location.path, location.pointer))
    return Policies(
        identity=(),
        boundary=tuple(boundary) or None,
        session=tuple(session) or None,
        organization=files.organization(target.settings.organization_files),
        resources=tuple(resources),
    )


class _Files:
    """The files of the base commit, or those on disk."""

    def __init__(self, target: Target, base: str) -> None:
        self._target = target
        self._repository = target.base_repository
        self._base = base
        self._root = target.folder or Path()

    def _below(self, path: str) -> Iterable[str]:
        """Returns the paths of all files and folders in a folder and below."""
        if self._repository:
            return [each for each in self._repository.paths(self._base, path) if each != path]
        top = self._root / path
        entries = sorted(top.rglob("*"))
        link = next((entry for entry in entries if entry.is_symlink()), None)
        if link:
            raise InputError(
                f"The input {_ORGANIZATION} names {path!r}, where {link.name!r} is a link: save the"
                " file itself."
            )
        return [
            (PurePosixPath(path) / entry.relative_to(top).as_posix()).as_posix()
            for entry in entries
        ]

    def organization(self, paths: tuple[str, ...]) -> Organization:
        """Reads the policies of the organization: each path is a file, or a folder whose `.json`
        files count.
        """
        contents: dict[str, bytes] = {}
        folders: set[str] = set()
        for path in paths:
            below = self._below(path)
            if not below:
                contents[path] = read_other(self._target, self._base, path, _ORGANIZATION)
                continue
            for name in below:
                path_below = PurePosixPath(name)
                folders.update(parent.as_posix() for parent in path_below.parents)
                if not path_below.suffix:
                    folders.add(name)
                if path_below.suffix == ".json":
                    contents[name] = read_other(self._target, self._base, name, _ORGANIZATION)
        files = OrganizationFiles(paths, contents, frozenset(folders - {"."}))
        return organization_of(files, f"The input {_ORGANIZATION}")
