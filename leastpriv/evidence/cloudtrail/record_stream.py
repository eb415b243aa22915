"""Reads the records of a file one at a time, with the damage between them.

Reads files that are truncated, damaged or in another tool's format: everything before a fault, then the fault, then the
records after it. Memory is limited by the largest record, not by the file.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from leastpriv.evidence.cloudtrail.record_blocks import (
    MAX_DECOMPRESSED,
    DamagedFileError,
    DecompressedFile,
    first_piece,
)

MAX_RECORD = 16 * 1024 * 1024
"""Characters of one JSON value: limits the effect of a quote that is never closed."""
_WRAPPING = 64 * 1024
"""Characters of a damaged object in which a list of records is searched."""

_BLANK = re.compile(r"[ \t\r\n,\ufeff]*")
# The list of a whole file: a trail's file and the outputs of lookup-events and filter-log-events.
_LIST = re.compile(r'\{\s*"(?:Records|Events|events)"\s*:\s*\[')
_LIST_KEY = re.compile(r'"(?:Records|Events|events)"\s*:\s*\[')
_KEYS_OF_LIST = ("Records", "Events", "events")
# Start of the next record after a fault: CloudTrail writes `eventVersion` first, and files with one object per line
# have a brace in the first column. Neither can occur unescaped in a JSON string.
_NEXT_RECORD = re.compile(r'\{\s*"eventVersion"\s*:|(?<=\n)\{')
# Outside a list a record begins a line: a program logs a text before it.
_NEXT_LINE = re.compile(r"(?<=\n)\{")
_BEGINS_LIST = re.compile(r'\[[ \t\r\n]*["{\[\]]')
# Bytes that are not UTF-8, as the decoder passes them on.
_INVALID = re.compile("[\udc80-\udcff]")
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of the file that could not be read."""

    reason: str
    rest_lost: bool
    """Whether the fault hides all records to the end of the file, or one record only."""


def read_values(file: BinaryIO, *, max_decompressed: int = MAX_DECOMPRESSED) -> Iterator[object | Damage]:
    """Yields the JSON values of a file in order.

    The values are the elements of `{"Records": […]}` or of a list, or one object per line. The file may be plain or
    gzip (of several members), whatever its name. Never raises for the content; errors of the file system become damage
    too.
    """
    return parse_values(iter(DecompressedFile(file, max_decompressed)))


def parse_values(pieces: Iterator[bytes], *, depth: int = 0) -> Iterator[object | Damage]:
    """Like `read_values`, for bytes inside `depth` open brackets."""
    return _Scanner(_texts(pieces), depth).values()


class _Scanner:
    """Scans the text with one chunk and one record in memory."""

    def __init__(self, texts: Iterator[str], depth: int) -> None:
        self._texts = texts
        self._text = ""
        self._at = 0
        self._depth = depth
        self._ended = False
        self._broken = ""

    def values(self) -> Iterator[object | Damage]:
        if not self._skip_blank() and not self._broken:
            self._broken = "it is empty"
        while self._skip_blank():
            first = self._text[self._at]
            if first in "]}":
                self._at, self._depth = self._at + 1, max(self._depth - 1, 0)
            elif not self._depth and first not in '{["':
                yield from self._recover()
            elif first == "[" and (self._depth or self._begins_list()):
                self._at, self._depth = self._at + 1, self._depth + 1
            elif first == "{" and self._enter_list():
                continue
            elif first == '"' and self._depth:
                yield from self._member()
            else:
                yield from self._element()
        if self._broken or self._depth:
            yield Damage(self._broken or "it ends in the middle of a list", rest_lost=True)

    def _begins_list(self) -> bool:
        self._fill(64)
        return _BEGINS_LIST.match(self._text, self._at) is not None

    def _enter_list(self) -> bool:
        self._fill(64)
        match = _LIST.match(self._text, self._at)
        if match:
            self._at, self._depth = match.end(), self._depth + 2
        return match is not None

    def _element(self) -> Iterator[object | Damage]:
        first_piece = self._text[self._at]
        found, value = self._decode()
        if found:
            yield value
        elif first_piece == "{" and self._wraps_list():
            # A truncated or too long object that contains the list: read its members one by one.
            self._at, self._depth = self._at + 1, self._depth + 1
        else:
            yield from self._recover()

    def _wraps_list(self) -> bool:
        # The result must not depend on the size of the pieces.
        self._fill(_WRAPPING)
        return _LIST_KEY.search(self._text, self._at, self._at + _WRAPPING) is not None

    def _member(self) -> Iterator[object | Damage]:
        """Skips a member of the object around the list; a string in a list is a value."""
        found, key = self._decode()
        if not found:
            yield from self._recover()
            return
        if not self._skip_blank() or self._text[self._at] != ":":
            yield key
            return
        self._at += 1
        if self._skip_blank() and self._text[self._at] == "[" and key in _KEYS_OF_LIST:
            return
        found, _ = self._decode()
        if not found:
            yield from self._recover()

    def _decode(self) -> tuple[bool, object]:
        """Decodes the value at this position, and reads on while it is incomplete; false where it is damaged."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_cut(error) and len(self._text) - self._at < MAX_RECORD and self._fill_more():
                    continue
                return False, None
            except (ValueError, RecursionError):
                return False, None
            if not self._text.isascii() and _INVALID.search(self._text, self._at, end):
                return False, None
            # A number or word may continue in the next chunk.
            if end == len(self._text) and self._text[end - 1] not in '}]"' and self._fill_more():
                continue
            self._at = end
            return True, value

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        # A fault in the last characters may be the end of the chunk: `fals`, `\u00e`, `-Infinit`.
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 12

    def _recover(self) -> Iterator[Damage]:
        """Continues at the next text that begins like a record."""
        self._at += 1
        while True:
            match = (_NEXT_RECORD if self._depth else _NEXT_LINE).search(self._text, self._at)
            if match:
                self._at = match.start()
                yield Damage("a record is damaged", rest_lost=False)
                return
            self._at = max(self._at, len(self._text) - 64)
            if not self._fill_more():
                break
        self._at, self._depth = len(self._text), 0
        self._broken = self._broken or "it is damaged or ends in the middle of a record"

    def _skip_blank(self) -> bool:
        """Moves to the next character that is not blank; false at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return True
            if not self._fill_more():
                return False

    def _fill(self, characters: int) -> None:
        while len(self._text) - self._at < characters and self._fill_more():
            pass

    def _fill_more(self) -> bool:
        if self._ended:
            return False
        # Keep the last character for the look-behind at the start of a line.
        kept = max(self._at - 1, 0)
        try:
            self._text = self._text[kept:] + next(self._texts)
        except StopIteration:
            self._ended = True
        except DamagedFileError as broken:
            self._ended, self._broken = True, str(broken)
        if self._ended:
            return False
        self._at -= kept
        return True


def _texts(pieces: Iterator[bytes]) -> Iterator[str]:
    first = first_piece(pieces)
    encoding = "utf-16" if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    yield decoder.decode(first)
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)
