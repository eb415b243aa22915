"""Whole logs -> the refusals in them, streamed: time grows with the log, memory does not.

A log is searched for a dozen words of which every refusal has one; only around such a place is it read as text. Logs
are not fetched here: whoever has one gives its bytes.

Logs as people have them: files, folders, standard input, compressed by gzip, and GitHub's zip archives.
"""

from __future__ import annotations

import codecs
import gzip
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from leastpriv.errors import InputError
from leastpriv.evidence.denials.log_text import Layout, lay_out
from leastpriv.evidence.denials.message import find_denials
from leastpriv.models import Denial, DeniedBy

CHUNK = 1 << 20
_SIGNS = (
    b"not authoriz", b"to perform", b"explicit deny", b"-based polic", b"on resource:", b"access denied",
    b"denied by s3", b"denied) when",
    b"deniedexception) when", b"have permission", b"code: 403", b"(403)", b"ciphertext refers", b"used to assume",
    b"is denied", b"denied due to", b'"allowed"',
)  # fmt: skip
"""In lower case; some of them, so that one survives wherever a tool breaks a line."""
_BEFORE = 4_096
"""Bytes before a sign that are read along: what the tool was doing, and a principal that a table's column breaks."""
_OWN = 16_384
"""Bytes from a sign on in which refusals begin that are told with it: what is read along is a small part of it."""
_AFTER = 12_288
"""Bytes behind these that are read along, so that a refusal that begins there is read to its end."""
_LEAD = 1_024
"""Bytes before a sign in which its refusal may begin."""
_STAMP = re.compile(
    rb"(?:[^\t]{1,200}\t[^\t]{1,200}\t)?(?:\xef\xbb\xbf)?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z"
)
"""The time that GitHub's runner puts before each line; `gh run view --log` has the job and the step before it."""
_SOME = 4_096
"""Bytes by which an encoding is told."""
MOST_DISTINCT = 10_000
"""Distinct refusals that are remembered: a log may be made up."""


class ByteStream(Protocol):
    """What a log is read from: a binary file, a member of an archive, the answer of a server."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size` or so; none only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class LoggedDenial:
    """A denial and where a log tells it."""

    file: str
    """As the user named it; `-` for standard input, `logs.zip/1_deploy.txt` in an archive."""
    line: int
    """From 1, of the word where the refusal begins."""
    denial: Denial
    time: datetime | None = None
    """When the line was written, where the runner says so; UTC."""


def read_log(stream: ByteStream, name: str) -> Iterator[LoggedDenial]:
    """All refusals of one log in order, each as often as it is told. Any bytes will do.

    Raises:
        OSError: the stream cannot be read.
    """
    data, done, lines, at_end = b"", 0, 1, False
    chunks = _utf8(stream)
    while not at_end:
        chunk = next(chunks, b"")
        at_end = not chunk
        data += chunk
        limit = len(data) if at_end else max(done, len(data) - _OWN - _AFTER)
        counted = done
        for start, stop in _places(data.lower(), done, limit):
            lines += data.count(b"\n", counted, start)
            counted = start
            yield from _read(data, start, stop, name, lines)
            done = stop
        # A refusal may begin here whose sign the next chunk has.
        done = max(done, limit - _LEAD)
        lines += data.count(b"\n", counted, done)
        cut = max(0, done - _BEFORE)
        data, done = data[cut:], done - cut


def distinct(found: Iterable[LoggedDenial]) -> tuple[list[LoggedDenial], bool]:
    """Each refusal once, at its first place, with the most that any of its copies tells; whether some were left out.

    Tools print the same refusal up to three times, now and then wrapped or cut. Copies have equal actions and an equal
    resource; a principal or reason that one of them lacks is the other's.
    """
    kept: dict[tuple[object, ...], list[LoggedDenial]] = {}
    count = 0
    for one in found:
        key = (tuple(action.lower() for action in one.denial.actions), one.denial.resource, _encoded(one.denial))
        group = kept.setdefault(key, []) if key in kept or count < MOST_DISTINCT else None
        if group is None:
            return _in_order(kept), True
        index = next((at for at, other in enumerate(group) if _are_copies(one.denial, other.denial)), None)
        if index is None:
            if count >= MOST_DISTINCT:
                return _in_order(kept), True
            group.append(one)
            count += 1
        elif _tells_more(one.denial, group[index].denial):
            group[index] = replace(group[index], denial=one.denial)
    return _in_order(kept), False


def _encoded(denial: Denial) -> str:
    """What tells refusals apart that name no action, or none themselves."""
    return denial.encoded if denial.inferred or not denial.actions else ""


def _in_order(kept: dict[tuple[object, ...], list[LoggedDenial]]) -> list[LoggedDenial]:
    return [one for group in kept.values() for one in group]


def _are_copies(one: Denial, other: Denial) -> bool:
    known = {one.denied_by, other.denied_by} - {DeniedBy.UNKNOWN}
    return (
        _fit(one.principal, other.principal)
        and len(known) < 2
        and (one.explicit == other.explicit or not (_tells(one) and _tells(other)))
    )


def _fit(one: str, other: str) -> bool:
    return not one or not other or one == other


def _tells(denial: Denial) -> bool:
    return denial.explicit or denial.denied_by is not DeniedBy.UNKNOWN


def _tells_more(one: Denial, other: Denial) -> bool:
    return (_tells(one), bool(one.principal)) > (_tells(other), bool(other.principal))


def _utf8(stream: ByteStream) -> Iterator[bytes]:
    """The stream in chunks; PowerShell's redirection writes UTF-16, with a byte order mark or without one."""
    first = stream.read(CHUNK)
    wide = _wide(first)
    decoder = codecs.getincrementaldecoder(wide)("replace") if wide else None
    while first:
        yield decoder.decode(first).encode("utf-8", "replace") if decoder else first
        first = stream.read(CHUNK)


def _wide(begin: bytes) -> str:
    """The form of UTF-16 that a stream begins in; empty for any other encoding.

    Without a mark, the zeros tell: half of the bytes of Latin text, all on the same side, and of UTF-8 none.
    """
    if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    some = begin[:_SOME]
    high, low = some[0::2].count(0), some[1::2].count(0)
    enough = len(some) // 4
    return "" if max(high, low) <= enough or min(high, low) else "utf-16-be" if high else "utf-16-le"


def _places(folded: bytes, start: int, limit: int) -> Iterator[tuple[int, int]]:
    """Parts of the text in which refusals may begin, in order and apart from each other."""
    upcoming = {sign: folded.find(sign, start, limit) for sign in _SIGNS}
    upcoming = {sign: at for sign, at in upcoming.items() if at >= 0}
    done = start
    while upcoming:
        sign, at = min(upcoming.items(), key=lambda pair: pair[1])
        if at >= done:
            first, stop = _to_lines(folded, max(done, at - _LEAD), min(limit, at + _OWN), at)
            yield first, stop
            done = stop
        following = folded.find(sign, max(at + 1, done), limit)
        if following < 0:
            del upcoming[sign]
        else:
            upcoming[sign] = following


def _to_lines(folded: bytes, first: int, stop: int, at: int) -> tuple[int, int]:
    """A part made to begin and end where lines do, if it holds such places."""
    begins = first == 0 or folded[first - 1 : first] == b"\n"
    begin = -1 if begins else folded.find(b"\n", first, at)
    end = folded.rfind(b"\n", at, stop)
    return (begin + 1 if begin >= 0 else first), (end + 1 if end >= 0 else stop)


def _read(data: bytes, start: int, stop: int, name: str, line: int) -> Iterator[LoggedDenial]:
    first = max(0, start - _BEFORE)
    if first:
        # In the midst of a line, most likely, of which a part tells nothing.
        first = max(first, data.find(b"\n", first - 1, start) + 1)
    parts = [
        lay_out(part.decode("utf-8", "replace"))
        for part in (data[first:start], data[start:stop], data[stop : stop + _AFTER])
    ]
    whole, own = _together(parts), len(parts[0].text)
    behind = own + len(parts[1].text)
    for found in find_denials(whole, behind):
        if own <= found.start < behind:
            below = whole.text.count("\n", own, found.start)
            yield LoggedDenial(name, line + below, found.denial, _time_of(data[start:stop], below))


def _time_of(lines: bytes, number: int) -> datetime | None:
    """The runner's time at the beginning of one of some lines."""
    stamp = _STAMP.match(lines.split(b"\n", number + 1)[number])
    try:
        return datetime.fromisoformat(stamp[1].decode()).replace(tzinfo=UTC) if stamp else None
    except ValueError:
        return None


def _together(parts: list[Layout]) -> Layout:
    text = ""
    starts: list[int] = []
    ends: list[int] = []
    for part in parts:
        starts += [len(text) + start for start in part.starts]
        ends += part.ends
        text += part.text
    return Layout(text, tuple(starts), tuple(ends))


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
                yield from _read_file(standard_input, name)
            else:
                yield from _read_path(Path(name))
        except OSError as error:
            raise InputError(f"{name!r} cannot be read: {error.strerror or error}.") from error


def _read_path(path: Path) -> Iterator[LoggedDenial]:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as stream:
            yield from _read_file(stream, str(file))


def _read_file(stream: BinaryIO, name: str) -> Iterator[LoggedDenial]:
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
