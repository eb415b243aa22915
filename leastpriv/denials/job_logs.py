"""Finds denials in log files of any size: time grows with the log up to a limit, memory does not.

A log is searched for a dozen words of which every denial contains one; only the text around them is
parsed. Logs are files, folders, standard input, gzip files, and GitHub's zip archives.
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
from datetime import UTC, datetime
from io import BufferedReader
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.atomic_file import open_regular
from leastpriv.budget import Budget
from leastpriv.denials.log_text import LogText, clean_log_text, lines_by_task
from leastpriv.denials.message import find_denials
from leastpriv.errors import InputError, TooLargeError
from leastpriv.models import Denial, DeniedBy

CHUNK = 1 << 20
_DENIAL_WORDS = (
    b"not authoriz", b"to perform", b"explicit deny", b"-based polic", b"on resource:",
    b"access denied",
    b"denied by s3", b"denied) when",
    b"deniedexception) when", b"have permission", b"code: 403", b"(403)", b"ciphertext refers",
    b"used to assume",
    b"is denied", b"denied due to", b"accessdenied", b"forbidden", b" 403", b'"allowed',
)  # fmt: skip
"""In lower case, and several, so that one remains whole wherever a tool wraps a line."""
_BLOCK = 16_384
"""Bytes that are searched and parsed at once, at least; the last line is complete if it is not as
long itself.
"""
_BEFORE = 4_096
"""Bytes before a block that are parsed too: the tool's output, and a principal that a table column
wraps.
"""
_AFTER = 12_288
"""Bytes after a block that are parsed too, so that a denial that begins at its end is complete."""
_LEAD = 1_024
"""Bytes before a word in which its denial may begin."""
_LONGEST_LINE = 8 * 1024**2
"""Bytes of one line in which denials are looked for: no tool writes a longer one, and each 16 KB
takes 20 ms.
"""
_STAMP = re.compile(
    rb"(?:[^\t]{1,200}\t[^\t]{1,200}\t)?(?:\xef\xbb\xbf)?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"
    rb"(?:\.\d{1,9})?Z"
)
"""The time that GitHub's runner writes before each line; `gh run view --log` adds job and step
before it.
"""
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_SOME = 4_096
"""Bytes that identify an encoding."""
MOST_DISTINCT = 10_000
"""Most distinct denials in memory: a log may be forged."""
MOST_COPIES = 100
"""Most denials of one action on one resource, by different principals or types of policy: each
further line is compared with all of them.
"""


class ByteStream(Protocol):
    """A readable stream: a binary file, a member of an archive, the answer of a server."""

    def read(self, size: int, /) -> bytes:
        """Returns the next bytes, about `size` at most; empty only at the end."""
        ...


class LoggedDenial(Struct, frozen=True):
    """A denial and its location in a log."""

    file: str
    """As the user named it; `-` for standard input, `logs.zip/1_deploy.txt` in an archive."""
    line: int
    """Line number from 1, of the word where the denial begins."""
    denial: Denial
    time: datetime | None = None
    """When the line was written, where the runner added the time; UTC."""


def log_budget() -> Budget:
    """Returns the work that logs which are read together may cause in the current thread.

    Processor time counts, since a command whose output is read may run for hours.
    """
    return Budget.of("log")


def read_log(stream: ByteStream, name: str, budget: Budget | None = None) -> Iterator[LoggedDenial]:
    """Yields all denials of one log in order, with repetitions. Accepts any bytes.

    Args:
        stream: The log.
        name: Its name, for the denials.
        budget: The work that is left for this and other logs; a full one if not given.

    Raises:
        OSError: the stream cannot be read.
        TooLargeError: the budget is spent.
    """
    budget = budget or log_budget()
    budget.spend(steps=0, files=1)
    before = b""
    block = b""
    # Where `block` begins.
    line = 1
    column = 0
    for following in chain(_blocks(stream), (b"",)):
        budget.spend(steps=0)
        skipped = 0 if column <= _LONGEST_LINE else block.find(b"\n") + 1 or len(block)
        part = _part_with_denials(block, following, skipped)
        if part:
            context = (before + block[: part.start])[-_BEFORE:]
            if len(context) == _BEFORE:
                # A part that begins inside a line is incomplete.
                context = context[context.find(b"\n") + 1 :]
            behind = (block[part.stop :] + following)[:_AFTER]
            budget.spend(characters=len(part))
            parts = (context, block[part.start : part.stop], behind)
            yield from _read(parts, name, line + block.count(b"\n", 0, part.start))
        line += block.count(b"\n")
        column = len(block) - block.rfind(b"\n") - 1 + (0 if b"\n" in block else column)
        before = block[-_BEFORE:]
        block = following


def _part_with_denials(block: bytes, following: bytes, skipped: int) -> range:
    """Returns the part of a block, in whole lines, in which denials may begin: `range(512, 900)`;
    empty if none does.

    Searching a few plain words is far cheaper than the regular expressions of `_read`, which need
    only this part: most blocks of a log have no denial.

    Args:
        block: Bytes of the log.
        following: The bytes after it: a denial at the end of the block may have its word there.
        skipped: The bytes at the beginning that are not searched, as part of a too long line.
    """
    folded = (block + following[:_LEAD]).lower()
    positions = [folded.find(word, skipped) for word in _DENIAL_WORDS]
    first = min((place for place in positions if place >= 0), default=-1)
    if first < 0 or skipped >= len(block):
        return range(0)
    # A denial begins up to `_LEAD` bytes before its word: take the line where that is.
    start = max(skipped, block.rfind(b"\n", 0, max(0, first - _LEAD)) + 1)
    # The last denial begins before the last word, at the latest on its line.
    last = max(folded.rfind(word, skipped) for word in _DENIAL_WORDS)
    return range(start, block.find(b"\n", last + _LEAD) + 1 or len(block))


def _blocks(stream: ByteStream) -> Iterator[bytes]:
    buffered = b""
    for chunk in _utf8(stream):
        buffered += chunk
        start = 0
        while len(buffered) - start > 2 * _BLOCK:
            longest = start + 2 * _BLOCK
            end = buffered.find(b"\n", start + _BLOCK, longest) + 1 or longest
            yield buffered[start:end]
            start = end
        buffered = buffered[start:]
    yield buffered


def distinct_denials(found: Iterable[LoggedDenial]) -> tuple[list[LoggedDenial], str]:
    """Returns each denial once, with the most complete of its copies, and the limit after which
    others are left out, such as `10,000 distinct denials`; empty if all are here.

    Tools print a denial up to three times, sometimes wrapped or truncated. Copies have equal
    actions and an equal resource; a principal or reason that one copy lacks comes from another.
    """
    distinct = _DistinctDenials()
    try:
        for logged in found:
            distinct.add(logged)
    except TooLargeError as error:
        return distinct.denials, error.limit
    return distinct.denials, distinct.limit


class _DistinctDenials:
    """Denials of a log, each once."""

    def __init__(self) -> None:
        self.limit = ""
        """The limit after which denials of one action and resource were left out, or empty."""
        self._groups: dict[tuple[object, ...], list[LoggedDenial]] = {}
        self._count = 0

    @property
    def denials(self) -> list[LoggedDenial]:
        """The denials, those of one action and resource together."""
        return [*chain.from_iterable(self._groups.values())]

    def add(self, logged: LoggedDenial) -> None:
        """Adds a denial, or completes its earlier copy; raises TooLargeError beyond the limit."""
        group = self._groups.setdefault(_group_key(logged.denial), [])
        for index, earlier in enumerate(group):
            if _are_copies(logged.denial, earlier.denial):
                group[index] = replace(earlier, denial=_merged(earlier.denial, logged.denial))
                return
        if self._count == MOST_DISTINCT:
            raise TooLargeError(f"{MOST_DISTINCT:,} distinct denials")
        if len(group) == MOST_COPIES:
            self.limit = f"{MOST_COPIES:,} denials of one action on one resource"
            return
        group.append(logged)
        self._count += 1


def _group_key(denial: Denial) -> tuple[object, ...]:
    """Returns what copies of a denial have in common."""
    actions = tuple(action.lower() for action in denial.actions)
    # The encoded message distinguishes denials that name no action, or no resource.
    encoded = denial.encoded if denial.inferred or not denial.actions else ""
    return (actions, denial.resource, encoded)


def _merged(known: Denial, copy: Denial) -> Denial:
    """Returns the more complete of two copies, with the newest id, which AWS keeps longest."""
    best = max(known, copy, key=lambda each: (_names_actions(each), bool(each.principal)))
    newest = copy if copy.authorization_id else known
    return replace(
        best,
        authorization_id=newest.authorization_id,
        authorization_region=newest.authorization_region,
    )


def _are_copies(one: Denial, other: Denial) -> bool:
    """Returns whether two denials of an action on a resource differ only in what one leaves out."""
    if one.principal and other.principal and one.principal != other.principal:
        return False
    policy_types = {one.denied_by, other.denied_by} - {DeniedBy.UNKNOWN}
    if len(policy_types) > 1:
        return False
    # A denial that names no action does not say either whether a Deny applied.
    are_comparable = _names_actions(one) and _names_actions(other)
    return one.explicit == other.explicit or not are_comparable


def _names_actions(denial: Denial) -> bool:
    return denial.explicit or denial.denied_by is not DeniedBy.UNKNOWN


def _utf8(stream: ByteStream) -> Iterator[bytes]:
    """Returns the stream in chunks; PowerShell's redirection writes UTF-16, with or without a byte
    order mark.
    """
    first = stream.read(CHUNK)
    encoding = _wide(first)
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    while first:
        yield decoder.decode(first).encode("utf-8", "replace") if decoder else first
        first = stream.read(CHUNK)


def _wide(begin: bytes) -> str:
    """Returns the form of UTF-16 at the start of a stream; empty for another encoding.

    Without a mark, the zeros decide: half of the bytes of Latin text, all on the same side, and
    none in UTF-8.
    """
    if begin[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    sample = begin[:_SOME]
    high, low = sample[0::2].count(0), sample[1::2].count(0)
    enough = len(sample) // 4
    if max(high, low) <= enough or min(high, low):
        return ""
    return "utf-16-be" if high else "utf-16-le"


def _read(parts: tuple[bytes, bytes, bytes], name: str, line: int) -> Iterator[LoggedDenial]:
    """Yields the denials that begin in the second of three parts of a log, which begins with a
    line.
    """
    lines = [[*_LINE.findall(part.decode("utf-8", "replace"))] for part in parts]
    above, block_length = len(lines[0]), len(lines[1])
    ordered = [*chain(*lines)]
    block_denials = _denials_of(ordered, above, block_length, range(len(ordered)))
    if groups := lines_by_task(ordered):
        by_task = chain(*(_denials_of(ordered, above, block_length, group) for group in groups))
        ways = (sorted(by_task, key=itemgetter(0)), block_denials)
        block_denials = max(ways, key=lambda each: sum(map(_completeness, each)))
    for number, denial in block_denials:
        yield LoggedDenial(name, line + number, denial, _time_of(parts[1], number))


def _denials_of(
    lines: Sequence[str], above: int, own: int, numbers: Sequence[int]
) -> list[tuple[int, Denial]]:
    """Finds the denials in some lines that begin in `own` lines after those above, with the numbers
    of their lines.
    """
    parts = (range(above), range(above, above + own), range(above + own, len(lines)))
    cleaned = [_cleaned(lines, numbers, part) for part in parts]
    joined_lines = _joined(cleaned)
    start = len(cleaned[0].text)
    end = start + len(cleaned[1].text)
    # The lines of the text between these offsets, by their numbers in the log.
    own_numbers = [number - above for number in numbers if number in parts[1]]
    denials: list[tuple[int, Denial]] = []
    for found_denial in find_denials(joined_lines, end):
        if start <= found_denial.start < end:
            line = joined_lines.text.count("\n", start, found_denial.start)
            denials.append((own_numbers[line], found_denial.denial))
    return denials


def _cleaned(lines: Sequence[str], numbers: Iterable[int], part: range) -> LogText:
    return clean_log_text("".join(lines[number] for number in numbers if number in part))


def _joined(parts: Sequence[LogText]) -> LogText:
    """Returns parts of a log as one text."""
    starts: list[int] = []
    length = 0
    for part in parts:
        starts.extend(length + start for start in part.starts)
        length += len(part.text)
    return LogText(
        text="".join(part.text for part in parts),
        starts=tuple(starts),
        ends=tuple(chain.from_iterable(part.ends for part in parts)),
        sources=tuple(chain.from_iterable(part.sources for part in parts)),
    )


def _completeness(found: tuple[int, Denial]) -> int:
    """How much a denial says, to choose between two ways to read a log; nothing where its action is
    inferred.
    """
    denial = found[1]
    parts = (denial.actions, denial.resource, denial.denied_by is not DeniedBy.UNKNOWN)
    return 0 if denial.inferred else sum(map(bool, parts))


def _time_of(lines: bytes, number: int) -> datetime | None:
    """Returns the runner's time at the beginning of a line."""
    stamp = _STAMP.match(lines.split(b"\n", number + 1)[number])
    try:
        return datetime.fromisoformat(stamp[1].decode()).replace(tzinfo=UTC) if stamp else None
    except ValueError:
        return None


STANDARD_INPUT = "-"
MAX_DECOMPRESSED = 10 * 1024**3
"""Most bytes of one decompressed archive: limits the time that an archive bomb costs."""
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b\x08"
_IN_MEMORY = 16 * 1024**2
_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
"""Exceptions of `zipfile` for damage, unknown compression and encryption."""


def read_logs(names: Sequence[str], standard_input: BinaryIO) -> Iterator[LoggedDenial]:
    """Yields all denials of the named logs in order; `-`, or no name, is standard input.

    Raises:
        InputError: a file is missing or cannot be read, or an archive is damaged, encrypted or too
            large.
        TooLargeError: the logs have more denials or text near their words than is read.
    """
    budget = log_budget()
    for name in names or (STANDARD_INPUT,):
        try:
            if name == STANDARD_INPUT:
                yield from _read_file(standard_input, name, budget)
            else:
                yield from _read_path(Path(name), budget)
        except OSError as error:
            advice = (
                "; pass a pipe as standard input, with the name -" if Path(name).is_fifo() else ""
            )
            raise InputError(
                f"{name!r} cannot be read: {error.strerror or error}{advice}."
            ) from error


def _read_path(path: Path, budget: Budget) -> Iterator[LoggedDenial]:
    root = path.resolve()
    for file in _files(path):
        with open_regular(file, root) as stream:
            yield from _read_file(stream, str(file), budget)


def _files(path: Path) -> Iterable[Path]:
    """Returns the files of a folder, but for those of git itself."""
    if not path.is_dir():
        return (path,)
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and ".git" not in file.relative_to(path).parts
    )


def _read_file(stream: BinaryIO, name: str, budget: Budget) -> Iterator[LoggedDenial]:
    buffered: BufferedReader[Any] = BufferedReader(stream)
    begin = buffered.peek(len(_ZIP))
    if begin.startswith(_ZIP):
        yield from _read_archive(buffered, name, budget)
    elif begin.startswith(_GZIP):
        unfolded = _ArchiveMembers(name)
        try:
            with gzip.GzipFile(fileobj=buffered, mode="rb") as unfolded.member:
                yield from read_log(unfolded, name, budget)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InputError(f"{name!r} is a gzip file that cannot be read: {error}.") from error
    else:
        yield from read_log(buffered, name, budget)
    # The caller closes the stream.
    buffered.detach()


class _ArchiveMembers:
    """The members of one archive in order, with a limit on their total size."""

    def __init__(self, name: str) -> None:
        self._name, self._left = name, MAX_DECOMPRESSED
        self.member: ByteStream | None = None

    def read(self, size: int, /) -> bytes:
        """Returns the next bytes of the current member."""
        part = self.member.read(size) if self.member else b""
        self._left -= len(part)
        if self._left < 0:
            raise InputError(
                f"{self._name!r} unfolds to more than {MAX_DECOMPRESSED >> 30} GiB: unpack the"
                " files that you need."
            )
        return part


def _read_archive(stream: BufferedReader[Any], name: str, budget: Budget) -> Iterator[LoggedDenial]:
    """Yields the denials of every member in order; a piped archive is stored on disk, as its index
    is at the end.
    """
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        if name == STANDARD_INPUT:
            shutil.copyfileobj(stream, copy)
        unfolded = _ArchiveMembers(name)
        try:
            with zipfile.ZipFile(copy if name == STANDARD_INPUT else stream) as archive:
                for member in archive.infolist():
                    with archive.open(member) as unfolded.member:
                        yield from read_log(unfolded, f"{name}/{member.filename}", budget)
        except _DAMAGE as error:
            raise InputError(f"{name!r} is a zip archive that cannot be read: {error}.") from error
