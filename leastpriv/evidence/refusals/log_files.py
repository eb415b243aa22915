"""Logs as people have them: files, folders, standard input, compressed by gzip, and GitHub's zip archives."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from leastpriv.errors import InputError
from leastpriv.evidence.refusals.job_log import LoggedDenial, read_log

STANDARD_INPUT = "-"
MAX_UNFOLDED = 10 * 1024**3
"""Bytes that one archive may unfold to: bounds the time that a bomb can cost."""
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b\x08"
_IN_MEMORY = 16 * 1024**2
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
"""What `zipfile` raises for damage, unknown compression and encryption."""


def read_logs(names: Sequence[str], standard_input: BinaryIO) -> Iterator[LoggedDenial]:
    """All refusals of the logs named, in order; `-`, or no name at all, is standard input.

    Raises:
        InputError: a file is missing or cannot be read, or an archive is damaged, encrypted or a bomb.
    """
    for name in names or (STANDARD_INPUT,):
        try:
            if name == STANDARD_INPUT:
                yield from _read(standard_input, name)
            else:
                yield from _read_path(Path(name))
        except OSError as error:
            raise InputError(f"{name!r} cannot be read: {error.strerror or error}.") from error


def _read_path(path: Path) -> Iterator[LoggedDenial]:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as stream:
            yield from _read(stream, str(file))


def _read(stream: BinaryIO, name: str) -> Iterator[LoggedDenial]:
    begin = stream.read(len(_ZIP))
    if begin == _ZIP:
        yield from _read_archive(stream, begin, name)
    elif begin.startswith(_GZIP):
        yield from _read_gzip(_Rejoined(begin, stream), name)
    else:
        yield from read_log(_Rejoined(begin, stream), name)


class _Rejoined:
    """A stream of which the first bytes were read already."""

    def __init__(self, begin: bytes, rest: BinaryIO) -> None:
        self._begin, self._rest = begin, rest

    def read(self, size: int, /) -> bytes:
        """The next bytes, none only at the end."""
        begin, self._begin = self._begin[:size], self._begin[size:]
        return begin + self._rest.read(size - len(begin)) if size > len(begin) else begin


class _Unfolded:
    """The members of one archive, one after the other, which together may not unfold to too much."""

    def __init__(self, name: str) -> None:
        self._name, self._left = name, MAX_UNFOLDED
        self.member: IO[bytes] | None = None

    def read(self, size: int, /) -> bytes:
        """The next bytes of the present member."""
        part = self.member.read(size) if self.member else b""
        self._left -= len(part)
        if self._left < 0:
            raise InputError(
                f"{self._name!r} unfolds to more than {MAX_UNFOLDED >> 30} GiB: unpack what you need of it."
            )
        return part


def _read_gzip(stream: _Rejoined, name: str) -> Iterator[LoggedDenial]:
    unfolded = _Unfolded(name)
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unfolded.member:  # type: ignore[call-overload]
            yield from read_log(unfolded, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{name!r} is a gzip file that cannot be read: {error}.") from error


def _read_archive(stream: BinaryIO, begin: bytes, name: str) -> Iterator[LoggedDenial]:
    """Every member in order. An archive from a pipe is put on the disk, since its list of members is at its end."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        if name == STANDARD_INPUT:
            copy.write(begin)
            shutil.copyfileobj(stream, copy)
        unfolded = _Unfolded(name)
        try:
            with zipfile.ZipFile(copy if name == STANDARD_INPUT else stream) as archive:
                for member in archive.infolist():
                    with archive.open(member) as unfolded.member:
                        yield from read_log(unfolded, f"{name}/{member.filename}")
        except _DAMAGE as error:
            raise InputError(f"{name!r} is a zip archive that cannot be read: {error}.") from error
