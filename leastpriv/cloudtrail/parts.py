"""The parts of a trail: some files that are read and counted together, here or in a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Raw, Struct

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.file_reader import CountedCalls, EventDeduplicator
from leastpriv.cloudtrail.file_store import FileStore, StoredFile
from leastpriv.cloudtrail.record_reader import ReadOptions
from leastpriv.cloudtrail.statistics import PackedStatistics
from leastpriv.models import AwareTime, Call, Gap

NOT_ENCODED = b"\xc0"
"""The calls of files that have a text or a number without an encoding."""
NOT_ENCODABLE = (UnicodeError, OverflowError, RecursionError)
"""The errors of an encoder: half of a surrogate pair, a number above 64 bits, too deep nesting."""


class PartFile(Struct):
    """One file of a part."""

    name: str
    """The name in messages."""
    stored: StoredFile
    content: bytes | None
    """None: the store opens the file."""


class CountedPart(Struct, array_like=True):
    """What the files of a part have; the calls are counted, without the copies that the counter
    found.
    """

    ids: list[str]
    """The ids of the calls."""
    gaps: list[Gap]
    statistics: PackedStatistics
    first_call: AwareTime | None
    collected: Raw
    """The calls, for a collector to add (`evidence/collected_calls.py`), or `NOT_ENCODED`: the
    files are then read without a counter.
    """
    is_complete: bool
    """False: some calls are returned instead of counted, because only the process of the reader can
    ask AWS about them, or the calls are `NOT_ENCODED`.
    """
    sha256: str
    """SHA-256 of the content of the only file, in hexadecimal; empty where it was not requested or
    the file is damaged.
    """


class PartCounter(Protocol):
    """Counts parts, one at a time."""

    def count(self, files: Sequence[PartFile]) -> CountedPart | None:
        """Counts the calls of some files; None where the process that counts has ended."""
        ...  # pragma: no cover

    def close(self) -> None:
        """Ends the process that counts."""
        ...  # pragma: no cover


class Counting(Protocol):
    """Makes what counts parts, and decodes what was counted."""

    has_decoder: bool
    """Whether the reader has AWS decode encoded denials."""

    def counter(
        self, options: ReadOptions, store: FileStore, earlier: EventDeduplicator | None
    ) -> PartCounter:
        """Returns a counter in this process, which leaves out the copies of earlier events."""
        ...  # pragma: no cover

    def process(self, options: ReadOptions, store: FileStore | None) -> PartCounter:
        """Starts a process that counts; raises OSError where none can be started."""
        ...  # pragma: no cover

    def decoded(self, part: CountedPart) -> object:
        """Returns the calls of a part; raises ValueError where they have another form."""
        ...  # pragma: no cover


Item = Call | Gap | CountedCalls
"""What a source yields."""


@runtime_checkable
class SourceOfParts(Protocol):
    """A source of evidence in files, whose calls may be counted where they are read."""

    def read_parts(
        self, window: Window, principals: Principals, counting: Counting
    ) -> Iterator[Item]:
        """Reads like `EvidenceSource.read`, with the cache and with processes where they are
        worth it; `counting` makes what counts in them.
        """
        ...  # pragma: no cover
