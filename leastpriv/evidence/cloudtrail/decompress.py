"""Bytes of one file as they were before gzip: of several members, cut or damaged, whatever the file's name says.

ISA-L unfolds more than twice as fast as zlib, but gives nothing of what lies before a fault within a piece. So a file
in which it finds one is unfolded again by zlib, which goes on where ISA-L's last whole piece ended.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from isal import igzip_lib

CHUNK = 64 * 1024
"""Bytes that are read, and that zlib unfolds at most, at a time.

Larger ones are memory that the system has to hand out anew each time (a tenth slower, measured 2026-11).
"""
PIECE = 64 * 1024
"""Bytes that ISA-L unfolds at a time: what holds no target is passed over in pieces of this size."""
MAX_DECOMPRESSED = 1024**3
"""Bytes that one compressed file may unfold to: bounds the time that a gzip bomb can cost."""

_GZIP = b"\x1f\x8b"


class Broken(Exception):  # noqa: N818 - never leaves the reader
    """The bytes end here; the message says why."""


class _Fault(Exception):  # noqa: N818 - never leaves this module
    """ISA-L found one."""


class Unfolded:
    """The bytes of a file, a piece at a time."""

    def __init__(self, file: BinaryIO, limit: int = MAX_DECOMPRESSED) -> None:
        """`limit`: bytes that a compressed file may unfold to."""
        self.compressed = False
        """Whether it is gzip, whose checksum tells of changed bytes; known once the first piece is there."""
        self._file = file
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        """Gives the pieces; raises `Broken` where they end before the file does."""
        chunks = _chunks(self._file)
        first = start(chunks)
        self.compressed = first.startswith(_GZIP)
        if not self.compressed:
            yield first
            yield from chunks
            return
        total = 0
        for piece in self._unfolded(first, chunks):
            total += len(piece)
            if total > self._limit:
                raise Broken(f"it unfolds to more than {self._limit:,} bytes")
            yield piece

    def _unfolded(self, first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
        given = 0
        if self._file.seekable():
            try:
                for piece in _by_isal(first, chunks):
                    given += len(piece)
                    yield piece
                return
            except _Fault:
                self._file.seek(0)
            chunks = _chunks(self._file)
            first = start(chunks)
        for piece in _by_zlib(first, chunks):
            if given < len(piece):
                yield piece[given:]
            given = max(0, given - len(piece))


def start(pieces: Iterator[bytes]) -> bytes:
    """Join pieces until they are long enough to tell gzip and UTF-16 by their first two bytes."""
    found = b""
    while len(found) < 2:
        more = next(pieces, b"")
        if not more:
            break
        found += more
    return found


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as error:
        raise Broken(f"it cannot be read: {error.strerror or error}") from error


def _by_isal(pending: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unfold all gzip members; raises `_Fault` for all that is not as it should be."""
    while pending:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            if member.needs_input and not pending:
                pending = next(chunks, b"")
                if not pending:
                    raise _Fault
            try:
                piece = member.decompress(pending, PIECE)
            except igzip_lib.error as error:  # type: ignore[misc] # the stub says an instance
                raise _Fault from error
            pending = b""
            if piece:
                yield piece
        try:
            pending = _next_member(member.unused_data, chunks)
        except Broken as error:
            raise _Fault from error


def _by_zlib(pending: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unfold all gzip members, one after the other, to the last byte before a fault."""
    while pending:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            yield from _inflate(member, pending)
            if not member.eof:
                pending = next(chunks, b"")
                if not pending:
                    raise Broken("it ends in the middle of a gzip member")
        pending = _next_member(member.unused_data, chunks)


def _next_member(rest: bytes, chunks: Iterator[bytes]) -> bytes:
    """Find what follows a member; zeros that fill a block of a disk are passed over."""
    while len(rest.lstrip(b"\0")) < len(_GZIP):
        more = next(chunks, b"")
        if not more:
            break
        rest = rest.lstrip(b"\0") + more
    rest = rest.lstrip(b"\0")
    if rest and not rest.startswith(_GZIP):
        raise Broken("something that is no gzip member follows its end")
    return rest


def _inflate(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    full = False
    while (data or full) and not member.eof:
        before = member.copy()
        try:
            piece = member.decompress(data, CHUNK)
        except zlib.error as error:
            yield from _last_bytes(before, data)
            raise Broken("its gzip data is damaged") from error
        if piece:
            yield piece
        # A full piece may leave more behind even where no input is left.
        data, full = member.unconsumed_tail, len(piece) == CHUNK


def _last_bytes(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Save what lies before the fault: a failing call gives nothing of what it had already unfolded."""
    for offset in range(len(data)):
        try:
            piece = member.decompress(data[offset : offset + 1])
        except zlib.error:
            return
        if piece:
            yield piece
