"""Decompresses a file in CloudTrail's own format, splits it into blocks of records, and decodes
them.

CloudTrail writes `{"Records":[{"eventVersion":…},{"eventVersion":…}]}` without blanks. The text is
split where a record seems to begin. Where it begins differently or does not decode,
`record_formats.py` continues. A block decodes only as a list of whole objects, so a similar text
inside a record cannot split it. ISA-L is more than twice as fast as zlib.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import accumulate, chain
from typing import Annotated, Any, BinaryIO, NamedTuple

import msgspec
from isal import igzip_lib
from msgspec import Meta, Raw, Struct
from stringzilla import find

from leastpriv.aws.arns import Principals

_HEAD = re.compile(rb'\s*\{\s*"Records"\s*:\s*\[\s*(?=\{"eventVersion":)')
_BETWEEN = b'},{"eventVersion":'
_END = re.compile(rb"(?<=\})\s*\]\s*\}\s*\Z")
_TAIL = 64
"""Bytes in which the end of the list is searched."""
_OVERLAP = 64
"""Most bytes of a role or user name ("IAM and AWS STS quotas" of the IAM User Guide, read 2026-11).
"""
_LONGEST_RECORD = 1024 * 1024
"""Most bytes of one record on the fast path."""
# Other letters of a name may be escaped: Gson writes `=` as \\u003d.
_PLAIN = re.compile(r"[\w.-]{3,}", re.ASCII)
NULL = Raw(b"null")
"""An empty or absent field."""


class _Issuer(Struct, frozen=True, gc=False):
    arn: str | None = None
    userName: str | None = None  # noqa: N815 - CloudTrail's name


class _Session(Struct, frozen=True, gc=False):
    sessionIssuer: _Issuer | None = None  # noqa: N815 - CloudTrail's name, as all below
    sessionCredentialFromConsole: bool | str | None = None  # noqa: N815


class DecodedIdentity(Struct, gc=False):
    """The fields of `userIdentity` that are read."""

    type: str | None = None
    arn: str | None = None
    accountId: str | None = None  # noqa: N815
    accessKeyId: str | None = None  # noqa: N815
    principalId: str | None = None  # noqa: N815
    userName: str | None = None  # noqa: N815
    invokedBy: str | None = None  # noqa: N815
    sessionContext: _Session | None = None  # noqa: N815


class DecodedRecord(Struct, gc=False):
    """The fields of one record that are read; a record with other types does not decode."""

    eventTime: Annotated[str, Meta(min_length=20, max_length=20)]  # noqa: N815
    eventSource: str  # noqa: N815
    eventName: str  # noqa: N815
    userIdentity: DecodedIdentity | None = None  # noqa: N815
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
    userAgent: str | None = None  # noqa: N815
    requestParameters: Raw = NULL  # noqa: N815
    responseElements: Raw = NULL  # noqa: N815
    resources: Raw = NULL


class _ResourceEntry(Struct, gc=False):
    """An entry of `resources`."""

    ARN: str | None = None
    arn: str | None = None
    ARNPrefix: str | None = None
    arnPrefix: str | None = None  # noqa: N815


_decoded_records = msgspec.json.Decoder(list[DecodedRecord]).decode
_raw_records = msgspec.json.Decoder(list[Raw]).decode
_resource_entries = msgspec.json.Decoder(list[_ResourceEntry] | None).decode
_decode = msgspec.json.Decoder().decode


NameSearch = tuple[Callable[[bytes, int], int], ...]
"""Each returns the first position of a target's name in bytes, from a position on; -1 where there
is none.
"""
_FEW_NAMES = 10
"""Names that stringzilla finds one by one as fast as a regular expression finds all."""


def has_name(search: NameSearch, part: bytes) -> bool:
    """Whether bytes contain the name of a target."""
    return any(position(part, 0) >= 0 for position in search)


def decode_block(block: bytes, search: NameSearch | None = None) -> list[DecodedRecord] | None:
    """Decodes the records of a block, a JSON list; `None` where one of them is damaged or has other
    types.

    `search`: records without a target's name are not decoded. None: all are.
    """
    try:
        if search:
            block = _with_names(block, search)
        if not block.isascii():
            # The decoder does not validate text of skipped fields.
            block.decode()
        return _decoded_records(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _with_names(block: bytes, search: NameSearch) -> bytes:
    """Returns the block of the records with the name of a target; raises `msgspec.DecodeError`."""
    records = _raw_records(block)
    ends = list(accumulate([len(record) + 1 for record in records]))
    if ends[-1:] != [len(block) - 1]:
        # Blanks separate the records, so that it is not known where they end.
        return block
    numbers: set[int] = set()
    for position in search:
        start = position(block, 0)
        while start >= 0:
            number = bisect_right(ends, start)
            numbers.add(number)
            start = position(block, ends[number])
    return b"[%b]" % b",".join([records[number] for number in sorted(numbers)])


def decode_block_as_json(block: bytes) -> list[Any] | None:
    """Decodes the records of a block with `json`; `None` where one of them is damaged."""
    try:
        records: list[Any] = json.loads(block.decode(), strict=False)
    except (ValueError, RecursionError):
        return None
    return records


class RecordBlocks:
    """Splits the pieces of one file into blocks; `rest` returns what was not split."""

    def __init__(self, pieces: Iterable[bytes], search: NameSearch | None) -> None:
        """`search`: blocks without a target's name are skipped. None: none is skipped."""
        self._pieces = iter(pieces)
        self._search = search
        self._held = b""
        self._broken: DamagedFileError | None = None
        self.depth = 0
        """Open brackets before the result of `rest`."""
        self.passed_over = False
        self.ended = False
        """Whether the file was split to its end."""

    def __iter__(self) -> Iterator[bytes]:
        """Yields lists of whole records while the file has CloudTrail's format."""
        piece = self._next()
        if len(piece) < _TAIL:
            piece += self._next()
        head = _HEAD.match(piece)
        if not head:
            self._held = piece
            return
        begin = head.end()
        self.depth = 2
        while piece:
            cut = piece.rfind(_BETWEEN)
            if cut < 0:
                self._held += piece[begin:]
                if len(self._held) > _LONGEST_RECORD:
                    return
            else:
                is_sought = self._is_sought(piece)
                before = self._held
                self._held = piece[cut + 2 :]
                if is_sought:
                    yield b"".join((b"[", before, memoryview(piece)[begin : cut + 1], b"]"))
            piece = self._next()
            begin = 0
        if self._broken:
            return
        end = _END.search(self._held, max(0, len(self._held) - _TAIL))
        if end:
            self.ended = True
            block = self._held[: end.start()]
            self._held = self._held[end.start() :]
            if self._is_sought(block):
                yield b"[%b]" % block

    def rest(self, given: bytes | None = None) -> Iterator[bytes]:
        """Yields the remaining bytes, preceded by the last block if it could not be decoded."""
        if given is not None:
            yield given[1:-1] + (b"" if self.ended else b",")
        yield self._held
        if self._broken:
            raise self._broken
        yield from self._pieces

    def _is_sought(self, piece: bytes) -> bool:
        """Whether this piece, together with pending bytes, contains a target."""
        search = self._search
        if not search or has_name(search, piece) or has_name(search, self._held + piece[:_OVERLAP]):
            return True
        self.passed_over = True
        return False

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        except DamagedFileError as broken:
            self._broken = broken
            return b""


def full_record(row: DecodedRecord) -> dict[str, Any]:
    """Returns the record as a JSON object with all decoded fields; raises like `decode_value`."""
    fields = {
        name: decode_value(getattr(row, name))
        for name in ("requestParameters", "responseElements", "resources")
    }
    return {**identity_fields(row), **fields}


def identity_fields(row: DecodedRecord) -> dict[str, Any]:
    """Returns the record as a JSON object, without the fields that only calls need."""
    return {**msgspec.structs.asdict(row), "userIdentity": msgspec.to_builtins(row.userIdentity)}


def decode_value(raw: Raw) -> Any:
    """Decodes a field's value.

    Raises:
        ValueError: a number is too long.
        RecursionError: it is nested too deeply.
    """
    if raw == NULL:
        return None
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        # `json` reads numbers beyond a double's range as infinite.
        return json.loads(bytes(raw), strict=False)


class UndecodedAnswer(Mapping[str, object]):
    """The answer of a call, an object with members; decoded when a rule reads it."""

    __slots__ = ("_text", "_value")

    def __init__(self, text: bytes) -> None:
        """`text`: JSON that decodes."""
        self._text = text
        self._value: dict[str, object] | None = None

    @property
    def is_read(self) -> bool:
        """Whether anything read a member."""
        return self._value is not None

    def __bool__(self) -> bool:
        """Returns True: it has a member."""
        return True

    def __getitem__(self, key: str) -> object:
        """Returns a member."""
        return self._members()[key]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names of the members."""
        return iter(self._members())

    def __len__(self) -> int:
        """Returns the number of members."""
        return len(self._members())

    def _members(self) -> dict[str, object]:
        if self._value is None:
            self._value = decode_value(Raw(self._text))
        return self._value


def was_read(answer: Mapping[str, object]) -> bool:
    """Whether anything read a member of an answer that was not decoded before."""
    return isinstance(answer, UndecodedAnswer) and answer.is_read


def decode_resource_arns(raw: Raw) -> tuple[str, ...] | None:
    """The ARNs of a record's `resources`; `None` where that is not a list of objects."""
    if raw == NULL:
        return ()
    try:
        entries = _resource_entries(raw)
    except msgspec.DecodeError:
        return None
    arns = [entry.ARN or entry.arn or entry.ARNPrefix or entry.arnPrefix for entry in entries or ()]
    return tuple([arn for arn in arns if arn])


CHUNK = 64 * 1024
"""Bytes that are read at a time.

Larger buffers are allocated from the system each time (a tenth slower, measured 2026-11).
"""
PIECE = 64 * 1024
"""Bytes that ISA-L decompresses at a time; pieces without a target's name are skipped."""
MAX_DECOMPRESSED = 1024**3
"""Most bytes of one decompressed file: limits the time that a gzip bomb costs."""

_GZIP = b"\x1f\x8b"


class DamagedFileError(Exception):
    """The file is damaged from here on; the message gives the reason."""


class FilePieces(NamedTuple):
    """The decompressed content of a file."""

    are_checked: bool
    """Whether a checksum detects changed bytes: the file is gzip."""
    pieces: Iterator[bytes]


def open_pieces(file: BinaryIO) -> FilePieces:
    """Decompresses a file in pieces.

    The pieces raise `DamagedFileError` where the file is damaged; ISA-L returns nothing of a piece
    with a fault.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    chunks = _chunks(file)
    first = first_piece(chunks)
    if not first.startswith(_GZIP):
        return FilePieces(are_checked=False, pieces=chain((first,), chunks))
    return FilePieces(are_checked=True, pieces=_decompressed(first, chunks))


def first_piece(pieces: Iterator[bytes]) -> bytes:
    """Joins pieces until they have the two bytes that identify gzip and UTF-16."""
    first_bytes = b""
    while len(first_bytes) < 2 and (piece := next(pieces, b"")):
        first_bytes += piece
    return first_bytes


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as error:
        raise DamagedFileError(f"it cannot be read: {error.strerror or error}") from error


def _decompressed(compressed: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompresses all gzip members."""
    bytes_left = MAX_DECOMPRESSED
    while compressed:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            if member.needs_input and not compressed:
                compressed = next(chunks, b"")
                if not compressed:
                    raise DamagedFileError("it ends in the middle of a gzip member")
            try:
                piece = member.decompress(compressed, PIECE)
            except igzip_lib.error as error:  # type: ignore[misc] # the stub says an instance
                raise DamagedFileError("its gzip data is damaged") from error
            compressed = b""
            bytes_left -= len(piece)
            if bytes_left < 0:
                raise DamagedFileError(f"it unfolds to more than {MAX_DECOMPRESSED:,} bytes")
            if piece:
                yield piece
        compressed = _next_member(member.unused_data, chunks)


def _next_member(unused: bytes, chunks: Iterator[bytes]) -> bytes:
    """Returns the beginning of the next gzip member; empty at the end of the file."""
    # Zeros that fill a disk block are skipped.
    compressed = unused.lstrip(b"\0")
    while len(compressed) < len(_GZIP) and (chunk := next(chunks, b"")):
        compressed = (compressed + chunk).lstrip(b"\0")
    if compressed and not compressed.startswith(_GZIP):
        raise DamagedFileError("something that is no gzip member follows its end")
    return compressed


def target_name_search(principals: Principals) -> NameSearch | None:
    """Returns the search for names of targets in bytes; `None` where all principals are read.

    Every ARN of a role or session has a slash before the name: a regular expression searches from
    slash to slash. Old records give a user by the name alone.
    """
    targets = principals.targets or frozenset()
    beginnings = [_PLAIN.match(target.name) for target in targets]
    names = {beginning[0].encode() for beginning in beginnings if beginning}
    if not names or not all(beginnings) or principals.patterns:
        return None
    have_slash = all(target.kind == "role" for target in targets)
    sought = sorted([b"/" + name for name in names] if have_slash else names, reverse=True)
    if len(sought) <= _FEW_NAMES:
        return tuple([partial(_find, name) for name in sought])
    if not have_slash:
        return None
    alternatives = b"|".join(re.escape(name[1:]) for name in sought)
    return (partial(_search, re.compile(b"/(?:%b)" % alternatives)),)


def _find(name: bytes, part: bytes, start: int) -> int:
    position: int = find(part, name, start)
    return position


def _search(pattern: re.Pattern[bytes], part: bytes, start: int) -> int:
    match = pattern.search(part, start)
    return match.start() if match else -1
