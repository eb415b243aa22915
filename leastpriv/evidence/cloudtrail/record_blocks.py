"""A file as CloudTrail delivers it, cut into blocks of whole records, and its records as rows: the fast way.

CloudTrail writes `{"Records":[{"eventVersion":…},{"eventVersion":…}]}` without blanks. Such text is cut where a record
seems to begin, and decoded by types; where it begins or decodes otherwise, `record_stream.py` reads on from there. A
list of rows decodes only where the block is a list of whole objects, so a look-alike inside a record cuts nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from leastpriv.evidence.cloudtrail.decompress import Broken

_HEAD = re.compile(rb'\s*\{\s*"Records"\s*:\s*\[\s*(?=\{"eventVersion":)')
_BETWEEN = b'},{"eventVersion":'
_END = re.compile(rb"(?<=\})\s*\]\s*\}\s*\Z")
_TAIL = 64
"""Bytes in which the end of the list is looked for."""
_OVERLAP = 64
"""Bytes that the name of a role or user can have ("IAM and AWS STS quotas" of the IAM User Guide, read 2026-11)."""
_LONGEST = 1024 * 1024
"""Bytes without a cut that are still waited for."""
NULL = Raw(b"null")
"""A field that is empty or absent."""


class _Issuer(Struct, gc=False):
    arn: str | None = None


class _Session(Struct, gc=False):
    sessionIssuer: _Issuer | None = None  # noqa: N815 - CloudTrail's name, as all below
    sessionCredentialFromConsole: bool | str | None = None  # noqa: N815


class _Identity(Struct, gc=False):
    type: str | None = None
    arn: str | None = None
    accountId: str | None = None  # noqa: N815
    accessKeyId: str | None = None  # noqa: N815
    principalId: str | None = None  # noqa: N815
    userName: str | None = None  # noqa: N815
    invokedBy: str | None = None  # noqa: N815
    sessionContext: _Session | None = None  # noqa: N815


class Row(Struct, gc=False):
    """What is read of one record; a record with other types in these places is no row."""

    eventTime: Annotated[str, Meta(min_length=20, max_length=20)]  # noqa: N815
    eventSource: str  # noqa: N815
    eventName: str  # noqa: N815
    userIdentity: _Identity | None = None  # noqa: N815
    awsRegion: str | None = None  # noqa: N815
    eventType: str | None = None  # noqa: N815
    eventCategory: str | None = None  # noqa: N815
    managementEvent: bool | str | None = None  # noqa: N815
    readOnly: bool | str | None = None  # noqa: N815
    recipientAccountId: str | None = None  # noqa: N815
    sessionCredentialFromConsole: bool | str | None = None  # noqa: N815
    eventID: str | None = None  # noqa: N815
    errorCode: str | None = None  # noqa: N815
    errorMessage: str | None = None  # noqa: N815
    omitted: bool | str | None = None
    requestParameters: Raw = NULL  # noqa: N815
    responseElements: Raw = NULL  # noqa: N815
    resources: Raw = NULL


class _Named(Struct, gc=False):
    """An entry of `resources`."""

    ARN: str | None = None
    arn: str | None = None
    ARNPrefix: str | None = None
    arnPrefix: str | None = None  # noqa: N815


_rows = msgspec.json.Decoder(list[Row]).decode
_raws = msgspec.json.Decoder(list[Raw]).decode
_named = msgspec.json.Decoder(list[_Named] | None).decode
_decode = msgspec.json.Decoder().decode


def rows_of(block: bytes, sought: Callable[[bytes], object] | None = None) -> list[Row] | None:
    """The records of a block, which is a list; `None` where one of them is damaged or no row.

    `sought`: whether a record's bytes hold what is looked for; those that do not are not decoded.
    """
    try:
        if sought:
            block = b"[%b]" % b",".join([each for each in map(bytes, _raws(block)) if sought(each)])
        if not block.isascii():
            # Text of fields that nobody asked for is not checked by the decoder.
            block.decode()
        return _rows(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def records_of(block: bytes) -> list[Any] | None:
    """The records of a block as `json` reads them; `None` where one of them is damaged."""
    try:
        found: list[Any] = json.loads(block.decode(), strict=False)
    except (ValueError, RecursionError):
        return None
    return found


class Blocks:
    """Cuts pieces of one file into blocks; what it does not give, `rest` has."""

    def __init__(self, pieces: Iterable[bytes], sought: Callable[[bytes], bool]) -> None:
        """`sought`: whether bytes hold what is looked for; blocks that do not are passed over."""
        self._pieces = iter(pieces)
        self._sought = sought
        self._held = b""
        self._broken: Broken | None = None
        self.depth = 0
        """Brackets around what `rest` gives."""
        self.passed_over = False
        self.ended = False
        """Whether the file was gone through to its end, and nothing is left."""

    def __iter__(self) -> Iterator[bytes]:
        """Gives lists of whole records, as long as the file goes on as CloudTrail writes it."""
        piece = self._next()
        if len(piece) < _TAIL:
            piece += self._next()
        head = _HEAD.match(piece)
        if not head:
            self._held = piece
            return
        begin, self.depth = head.end(), 2
        while piece:
            cut = piece.rfind(_BETWEEN)
            if cut < 0:
                self._held += piece[begin:]
                if len(self._held) > _LONGEST:
                    return
            else:
                sought = self._is_sought(piece)
                before, self._held = self._held, piece[cut + 2 :]
                if sought:
                    yield b"".join((b"[", before, memoryview(piece)[begin : cut + 1], b"]"))
            piece, begin = self._next(), 0
        end = None if self._broken else _END.search(self._held, max(0, len(self._held) - _TAIL))
        if end:
            block, self._held, self.ended = self._held[: end.start()], self._held[end.start() :], True
            if self._is_sought(block):
                yield b"[%b]" % block

    def rest(self, given: bytes | None = None) -> Iterator[bytes]:
        """What was not given, and before it the last block where that could not be read."""
        if given is not None:
            yield given[1:-1] + (b"" if self.ended else b",")
        yield self._held
        if self._broken:
            raise self._broken
        yield from self._pieces

    def _is_sought(self, piece: bytes) -> bool:
        """Whether this piece, or what is held and goes on in it, has what is sought."""
        found = self._sought(piece) or self._sought(self._held + piece[:_OVERLAP])
        self.passed_over = self.passed_over or not found
        return found

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        except Broken as broken:
            self._broken = broken
            return b""


def record_of(row: Row) -> dict[str, Any]:
    """The row as the record it was, as far as it is read; raises as `value_of`."""
    fields = {name: value_of(getattr(row, name)) for name in ("requestParameters", "responseElements", "resources")}
    return {**told_of(row), **fields}


def told_of(row: Row) -> dict[str, Any]:
    """The row as the record it was, without what is decoded for calls only."""
    return {**msgspec.structs.asdict(row), "userIdentity": msgspec.to_builtins(row.userIdentity)}


def value_of(raw: Raw) -> Any:
    """A field's value.

    Raises:
        ValueError: a number is too long.
        RecursionError: it is nested too deeply.
    """
    if raw == NULL:
        return None
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        # Numbers beyond a double's range are infinite for `json`.
        return json.loads(bytes(raw), strict=False)


def arns_of(raw: Raw) -> tuple[str, ...] | None:
    """The ARNs of a record's `resources`; `None` where that is not a list of objects."""
    if raw == NULL:
        return ()
    try:
        found = _named(raw)
    except msgspec.DecodeError:
        return None
    arns = [each.ARN or each.arn or each.ARNPrefix or each.arnPrefix for each in found or ()]
    return tuple([arn for arn in arns if arn])
