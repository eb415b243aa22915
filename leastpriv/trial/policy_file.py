"""The policy file of a trial: read once, written back at the end, unless somebody changed it meanwhile."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leastpriv.errors import InputError, LeastprivError
from leastpriv.models import Principal
from leastpriv.pipeline.context import holds_policy, read_attached
from leastpriv.policy.document import Document, parse
from leastpriv.policy.edit import create_policy
from leastpriv.policy.size import numbered_files
from leastpriv.policy.source import Location, is_hcl


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The file as it was when the trial began."""

    path: Path
    raw: bytes | None
    """None: it was not there."""
    document: Document


def open_policy(location: Location, principal: Principal) -> PolicyFile:
    """Reads the policy; where there is no file yet, the trial begins with a policy that allows nothing.

    Raises:
        InputError: it cannot be read, holds no policy, or cannot be edited in place.
    """
    path = Path(location.path)
    raw = _read(path, "--policy-file") if path.exists() else None
    if raw is None:
        if location.pointer or is_hcl(location.path) or not path.parent.is_dir():
            raise InputError(f"--policy-file names {str(location)!r}, which does not exist; create that first.")
        return PolicyFile(path, None, parse(create_policy(()), location.path))
    document = read_attached(raw, str(location), principal)
    if not document.editable:
        raise InputError(
            f"--policy-file is {str(location)!r}: Terraform's own language is read, not edited; name a JSON file."
        )
    return PolicyFile(path, raw, document)


def open_attached(location: Location, also: tuple[str, ...], principal: Principal) -> tuple[Document, ...]:
    """The policies beside it: those that are named, and the files that it continues in.

    Raises:
        InputError: one cannot be read, or holds no policy.
    """
    further = [] if location.pointer else numbered_files(location.path, lambda name: _continues(name, principal))
    names = dict.fromkeys((*also, *further))
    return tuple(
        read_attached(_read(Path(Location.of(name).path), "--also-attached"), name, principal) for name in names
    )


def _continues(name: str, principal: Principal) -> bool:
    return Path(name).exists() and holds_policy(_read(Path(name), "--policy-file"), name, principal)


def save(file: PolicyFile, document: Document) -> Path:
    """Writes the extended policy whole or not at all, and returns where.

    Where the file is no longer what was read, a person saved it meanwhile: it is left alone, and `FILE.trial` written,
    or `FILE.trial-2` and so on where there is one already.

    Raises:
        LeastprivError: it cannot be written.
    """
    now = None
    with suppress(OSError):
        now = file.path.read_bytes()
    target = file.path if now == file.raw else _beside(file.path)
    real = target.resolve()
    half = real.with_name(f".{real.name}.part")
    try:
        half.write_bytes(document.to_bytes())
        if real.exists():
            shutil.copymode(real, half)
        half.replace(real)
    except OSError as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise LeastprivError(f"The extended policy cannot be written to {target}: {error.strerror}.") from error
    return target


def _beside(path: Path) -> Path:
    """A name that nothing has yet: what an earlier trial wrote may not have been read so far."""
    names = (f"{path.name}.trial{number}" for number in ("", *(f"-{each}" for each in range(2, 1000))))
    return next(found for name in names if not os.path.lexists(found := path.with_name(name)))


def _read(path: Path, flag: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{flag} names {str(path)!r}, which cannot be read: {error.strerror}.") from error
