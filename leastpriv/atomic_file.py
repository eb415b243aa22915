"""Writes files atomically, and opens regular files only, not by links that lead out of their
folder.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from leastpriv.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file atomically (temporary file, then rename), and creates its folders.

    An existing file keeps its mode. A link is replaced, also one of the temporary file's name,
    which a checkout may have.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.unlink(missing_ok=True)
    try:
        with half.open("xb") as file:
            file.write(content)
        if path.is_file() and not path.is_symlink():
            shutil.copymode(path, half)
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise


def files_as_written(folder: Path, digests: Mapping[str, str]) -> tuple[Path, ...]:
    """Lists the regular files of a folder whose SHA-256 is that of `digests`, by name."""
    # A small command, which mostly loads modules, reads no digest.
    from hashlib import sha256

    paths = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    return tuple(
        path for path in paths if digests.get(path.name) == sha256(path.read_bytes()).hexdigest()
    )


def open_regular(path: Path, root: Path | None = None, buffering: int = -1) -> BinaryIO:
    """Opens a regular file for reading, and never waits for the writer of a pipe.

    Args:
        path: the file.
        root: the resolved folder that the file has to be in after links are resolved; None: any.
        buffering: as in `open`.

    Raises:
        OSError: it is no regular file, it is outside the folder, or it cannot be opened.
    """
    if root is not None and not _resolved(path).is_relative_to(root):
        raise OSError(errno.EPERM, "it is a link that leads out of the folder")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "it is a folder, and not a file")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return os.fdopen(handle, "rb", buffering)
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path) -> bytes:
    """Returns the content of a regular file; raises as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_named(path: Path | str, label: str) -> bytes:
    """Returns the content of a regular file that an input names; raises InputError, which begins
    with `label`.
    """
    try:
        return read_regular(Path(path))
    except OSError as error:
        raise InputError(
            f"{label} names {str(path)!r}, which cannot be read: {error.strerror}."
        ) from error


def _resolved(path: Path) -> Path:
    """Returns an absolute path without links; raises OSError for a loop of them."""
    try:
        return path.resolve()
    except RuntimeError as error:  # a loop of links before Python 3.13
        raise OSError(errno.ELOOP, "it is a loop of links") from error
