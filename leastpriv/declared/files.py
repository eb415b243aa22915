"""Reads the files of a repository that templates, plans and manifests name, and no file outside it.

A path in a template is text of a pull request's author. It is resolved below the folder of the
repository first, its links included, and read afterwards.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from leastpriv.atomic_file import open_regular
from leastpriv.errors import InputError

ReadFile = Callable[[str], bytes | None]
"""Content of a file by its path from the root; None where there is none."""

_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG)
"""Errors of a path that names no regular file."""


class StackFile(Struct, frozen=True):
    """A template as an input names it: `[STACK=]FILE[?PARAMETERS]`."""

    path: str
    stack: str = ""
    parameters: str = ""
    """The file with the values of its parameters."""

    @classmethod
    def of(cls, name: str) -> StackFile:
        """Splits the text of an input."""
        stack, separator, files_text = name.partition("=")
        path, _, parameters = (files_text if separator else name).partition("?")
        return cls(path, stack if separator else "", parameters)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that the text names."""
        return (self.path, self.parameters) if self.parameters else (self.path,)


class OutsideError(InputError):
    """A path leads out of the repository."""


class RepositoryFiles(Struct, frozen=True):
    """The files of a repository, as a file in one of its folders names them."""

    read_file: ReadFile
    folder: str = ""
    """The folder that relative names start at."""
    base: str = ""
    """The folder that no name leads out of; empty: the root of the repository."""

    @classmethod
    def around(cls, path: str, read_file: ReadFile) -> RepositoryFiles:
        """Returns the files that a file of the repository can name.

        A file that a person names outside the repository can name those of the same folder.
        """
        folder = posixpath.dirname(posixpath.normpath(path))
        is_outside = posixpath.isabs(folder) or folder.split("/")[0] == ".."
        return cls(read_file, folder, folder if is_outside else "")

    def below(self, folder: str) -> RepositoryFiles:
        """Returns the files as those of a folder name them; raises OutsideError."""
        return RepositoryFiles(self.read_file, self.path(folder), self.base)

    def beside(self, path: str) -> RepositoryFiles:
        """Returns the files as a file at a path from the root names them."""
        return RepositoryFiles(self.read_file, posixpath.dirname(path), self.base)

    def path(self, name: str) -> str:
        """Returns the path of a name from the root.

        Raises:
            OutsideError: it leads out of the repository, or to a file of git itself.
        """
        path = posixpath.normpath(posixpath.join(self.folder, name))
        if self.base:
            is_inside = path == self.base or path.startswith(f"{self.base.rstrip('/')}/")
        else:
            is_inside = not posixpath.isabs(path) and path.split("/")[0] != ".."
        if not is_inside:
            raise OutsideError(f"{name!r} is outside the repository and is not read.")
        if ".git" in path.lower().split("/"):
            raise OutsideError(f"{name!r} is a file of git itself and is not read.")
        return path

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None where there is none.

        Raises:
            OutsideError: the name, or a link in it, leads out of the repository.
        """
        return self.read_file(self.path(name))


def files_on_disk(root: Path) -> ReadFile:
    """Returns how the files below a folder are read, links resolved; raises OutsideError."""
    return partial(_read_on_disk, root)


def _read_on_disk(root: Path, path: str) -> bytes | None:
    """Content of a file below the root, or of one that a person names elsewhere."""
    if "\0" in path:
        return None
    # Links are resolved by open_regular.
    full_path = Path(os.path.abspath(root / path))  # noqa: PTH100
    is_below = full_path.is_relative_to(Path(os.path.abspath(root)))  # noqa: PTH100
    limit = root if is_below else full_path.parent
    try:
        with open_regular(root / path, limit.resolve()) as file:
            below = (root / path).resolve().relative_to(limit.resolve())
            if is_below and ".git" in (part.lower() for part in below.parts):
                raise OutsideError(f"{path!r} leads to a file of git itself and is not read.")
            return file.read()
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        if error.errno == errno.EPERM:
            raise OutsideError(
                f"{path!r} is a link that leads out of the repository and is not read."
            ) from error
        raise InputError(f"{path!r} cannot be read: {error.strerror}.") from error
