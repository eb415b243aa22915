"""Opens the policies of a trial and saves the extended one, whole, after each round."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from leastpriv.atomic_file import read_named, write_atomically
from leastpriv.errors import InputError, LeastprivError
from leastpriv.models import Principal
from leastpriv.pipeline.infrastructure import RepositoryVersion
from leastpriv.pipeline.load_policies import continuations, read_attached
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.source import Location, is_hcl


class PolicyFile(Struct):
    """The file at the beginning of the trial, and what the trial wrote."""

    path: Path
    raw: bytes | None
    """None: the file did not exist."""
    document: Document
    written: Path | None = None
    """What the trial wrote last; None: nothing yet."""

    def save(self, document: Document) -> Path:
        """Writes the extended policy atomically and returns its path.

        If the file changed since it was read or written, it is left alone: the policy is written to
        `FILE.trial`, or to `FILE.trial-2` and so on if that exists. Raises LeastprivError where it
        cannot be written.
        """
        content = document.to_bytes()
        path = self.written or self.path
        current = _content(path)
        if current == content and self.written:
            return path
        if current != self.raw:
            path = _unused_name(self.path)
        _replace(path, content)
        self.written = path
        self.raw = content
        return path


def _content(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None


def _unused_name(path: Path) -> Path:
    """Returns the first name of a result that does not exist: the result of an earlier trial is not
    overwritten.
    """
    free_path = path.with_name(f"{path.name}.trial")
    number = 2
    while os.path.lexists(free_path):
        free_path = path.with_name(f"{path.name}.trial-{number}")
        number += 1
    return free_path


def _replace(path: Path, content: bytes) -> None:
    """Replaces a file, or that which a link names; raises LeastprivError."""
    try:
        write_atomically(path.resolve(), content)
    except OSError as error:
        raise LeastprivError(
            f"The extended policy cannot be written to {path}: {error.strerror}."
        ) from error


def open_policy(location: Location, principal: Principal, region: str = "") -> PolicyFile:
    """Reads the policy, whose template is of `region`; without a file, the trial begins with a
    policy that allows nothing; raises InputError.
    """
    path = Path(location.path)
    raw = read_named(path, "--policy-file") if path.exists() else None
    if raw is None:
        if location.pointer or is_hcl(location.path) or not path.parent.is_dir():
            raise InputError(
                f"--policy-file names {str(location)!r}, which does not exist; create that first."
            )
        return PolicyFile(path, None, parse(create_policy(()), location.path))
    document = read_attached(
        raw,
        str(location),
        principal,
        RepositoryVersion.on_disk().folder(location.path),
        region,
    )
    if not document.editable:
        raise InputError(
            f"--policy-file is {str(location)!r}: a data source in Terraform's JSON is read, not"
            " edited; name another file."
        )
    return PolicyFile(path, raw, document)


def open_attached(
    location: Location, also_attached: tuple[str, ...], principal: Principal, region: str = ""
) -> tuple[Document, ...]:
    """Reads the attached policies: those named by the option, and further files of a split policy.

    Raises InputError where one cannot be read, or holds no policy.
    """

    def read(name: str) -> bytes | None:
        return read_named(name, "--policy-file") if Path(name).exists() else None

    further = continuations(location, read, principal)
    names = dict.fromkeys((*also_attached, *further))
    return tuple(
        read_attached(
            read_named(Location.of(name).path, "--also-attached"), name, principal, region=region
        )
        for name in names
    )


def open_bound(name: str, principal: Principal, region: str = "") -> Document | None:
    """Reads the outer bound of additions; None where no file is named; raises InputError."""
    if not name:
        return None
    raw = read_named(Location.of(name).path, "--within")
    return read_attached(raw, name, principal, region=region)
