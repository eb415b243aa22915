"""Reads the policy file of a trial and writes it back at the end, unless it changed in between."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leastpriv.atomic_file import read_regular
from leastpriv.errors import InputError, LeastprivError
from leastpriv.models import Principal
from leastpriv.pipeline.load_policies import holds_policy, read_attached
from leastpriv.pipeline.terraform_folder import folder_on_disk
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.size import numbered_files
from leastpriv.policy.source import Location, is_hcl


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The file at the beginning of the trial."""

    path: Path
    raw: bytes | None
    """None: the file did not exist."""
    document: Document


def open_policy(location: Location, principal: Principal) -> PolicyFile:
    """Reads the policy; without a file, the trial begins with a policy that allows nothing; raises InputError."""
    path = Path(location.path)
    raw = _read(path, "--policy-file") if path.exists() else None
    if raw is None:
        if location.pointer or is_hcl(location.path) or not path.parent.is_dir():
            raise InputError(f"--policy-file names {str(location)!r}, which does not exist; create that first.")
        return PolicyFile(path, None, parse(create_policy(()), location.path))
    document = read_attached(raw, str(location), principal, folder_on_disk(location.path, Path()))
    if not document.editable:
        raise InputError(
            f"--policy-file is {str(location)!r}: a data source in Terraform's JSON is read, not edited; name another "
            "file."
        )
    return PolicyFile(path, raw, document)


def open_attached(location: Location, also_attached: tuple[str, ...], principal: Principal) -> tuple[Document, ...]:
    """Reads the attached policies: those named by the option, and further files of a split policy.

    Raises InputError where one cannot be read, or holds no policy.
    """

    def continues(name: str) -> bool:
        return Path(name).exists() and holds_policy(_read(Path(name), "--policy-file"), name, principal)

    further = [] if location.pointer else numbered_files(location.path, continues)
    names = dict.fromkeys((*also_attached, *further))
    return tuple(
        read_attached(_read(Path(Location.of(name).path), "--also-attached"), name, principal) for name in names
    )


def save_policy(file: PolicyFile, document: Document) -> Path:
    """Writes the extended policy atomically and returns its path.

    If the file changed since it was read, it is left alone: the policy is written to `FILE.trial`, or to `FILE.trial-2`
    and so on if that exists. Raises LeastprivError where it cannot be written.
    """
    current = None
    with suppress(OSError):
        current = file.path.read_bytes()
    target = file.path if current == file.raw else _unused_name(file.path)
    resolved = target.resolve()
    part = resolved.with_name(f".{resolved.name}.part")
    try:
        part.write_bytes(document.to_bytes())
        if resolved.exists():
            shutil.copymode(resolved, part)
        part.replace(resolved)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise LeastprivError(f"The extended policy cannot be written to {target}: {error.strerror}.") from error
    return target


def _unused_name(path: Path) -> Path:
    """Returns an unused path, so that the result of an earlier trial is not overwritten."""
    names = (f"{path.name}.trial{number}" for number in ("", *(f"-{each}" for each in range(2, 1000))))
    return next(found for name in names if not os.path.lexists(found := path.with_name(name)))


def _read(path: Path, flag: str) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise InputError(f"{flag} names {str(path)!r}, which cannot be read: {error.strerror}.") from error
