"""Calls from a folder of CloudTrail files: a trail's bucket as it is, or what a person has saved of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.event import (
    NotACall,
    event_time,
    examine,
    is_data_event,
    read_only,
    region_of,
    resource_types,
)
from leastpriv.evidence.cloudtrail.record_stream import MAX_DECOMPRESSED, Damage, read_values
from leastpriv.evidence.cloudtrail.trail_paths import TrailFile, has_trail_file, trail_files
from leastpriv.evidence.cloudtrail.wrappings import unwrap
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call, Gap, GapKind, Scope

_REMEMBERED = 100_000
_DISTINCT = 1_000
"""Names kept of one kind in the statistics: there are 40 regions and 175 data-event types, but logs lie."""


@dataclass(slots=True)
class ReadStatistics:
    """What was read: "N files, M records, K calls", and what the evidence covers. Grows while reading."""

    files: int = 0
    damaged_files: int = 0
    foreign_files: int = 0
    """JSON files without a single CloudTrail record."""
    records: int = 0
    calls: int = 0
    duplicates: int = 0
    outside_window: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that are no call of the targets, by reason (`NotACall`)."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Records of anybody: `management-read`, `management-write`, `data-read`, `data-write`."""
    regions: set[str] = field(default_factory=set)
    """Regions of files and records of anybody: the evidence covers them."""
    data_types: set[tuple[str, str]] = field(default_factory=set)
    """Event source and resource type (empty where unknown) of data events of anybody: the trail logs them."""
    sources: set[str] = field(default_factory=set)
    """Event sources of anybody's records."""
    spans: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """First and last record of anybody, by region."""
    first: datetime | None = None
    last: datetime | None = None
    """The span of the records of anybody that lie in the window."""


class SeenEvents:
    """Remembers event ids, to drop copies; at least the last `capacity`, at most twice as many.

    Files are read in order of time, and copies (a second trail, a repeated delivery) are taken to lie near each
    other: a copy that comes after 200,000 other calls of the targets is counted again.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._recent: set[str] = set()
        self._older: set[str] = set()

    def is_copy(self, event_id: str) -> bool:
        """Whether this id was here before; records without an id are never copies."""
        if not event_id:
            return False
        if event_id in self._recent or event_id in self._older:
            return True
        if len(self._recent) >= self._capacity:
            self._recent, self._older = set(), self._recent
        self._recent.add(event_id)
        return False


class TrailFolder:
    """A source: a folder of any depth, or one file, of CloudTrail records in any known wrapping."""

    def __init__(self, path: Path, *, seen: SeenEvents | None = None, max_decompressed: int = MAX_DECOMPRESSED) -> None:
        """`seen` is shared by folders that may hold copies of each other's records."""
        self.path = path
        self._shared = seen
        self.statistics = ReadStatistics()
        self._max_decompressed = max_decompressed

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read calls in the window, roughly oldest first, each once, and a gap for what cannot be read.

        Raises `InputError` at once where the folder is missing, cannot be listed, or holds no trail file at
        all; and while reading where none of its files holds a single record of CloudTrail. Starts
        `statistics` anew.
        """
        self._check()
        self.statistics = ReadStatistics()
        return self._read(window, principals)

    def _check(self) -> None:
        def refuse(folder: Path, error: OSError) -> None:
            if folder == self.path:
                raise InputError(
                    f"trails: the folder {str(self.path)!r} cannot be read: {error.strerror or error}."
                ) from error

        try:
            self.path.stat()
        except FileNotFoundError:
            raise InputError(
                f"trails: there is no file or folder {str(self.path)!r}: name a folder of CloudTrail files."
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"trails: {str(self.path)!r} cannot be read: {error}.") from error
        if not has_trail_file(self.path, refuse):
            raise InputError(
                f"trails: {str(self.path)!r} holds no CloudTrail file (*.json.gz, *.json, *.jsonl): name the"
                " folder that holds AWSLogs/, or any folder of such files."
            )

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        seen = self._shared or SeenEvents()
        unlisted: list[Gap] = []

        def note(folder: Path, error: OSError) -> None:
            region = TrailFile("", folder / "_").region
            detail = f"{folder}: it cannot be listed: {error.strerror or error}"
            unlisted.append(Gap(GapKind.UNREADABLE_FILE, Scope(regions=(region,) if region else ()), detail))

        for file in trail_files(self.path, window, note):
            yield from unlisted
            unlisted.clear()
            yield from _FileReader(file, self.statistics, seen, self._max_decompressed).read(window, principals)
        yield from unlisted
        figures = self.statistics
        if figures.files and figures.foreign_files == figures.files:
            raise InputError(
                f"trails: none of the {figures.files} JSON files in {str(self.path)!r}"
                " holds a CloudTrail record: name a folder of CloudTrail files."
            )


class _FileReader:
    """Reads one file into the shared statistics; folds its damaged records into one gap per scope."""

    def __init__(self, file: TrailFile, figures: ReadStatistics, seen: SeenEvents, max_decompressed: int) -> None:
        self._file = file
        self._figures = figures
        self._seen = seen
        self._max_decompressed = max_decompressed
        self._damaged: dict[Scope, Gap] = {}
        self._is_trail = False
        self._is_damaged = False
        self._held_values = False

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        self._figures.files += 1
        _remember(self._figures.regions, self._file.region)
        try:
            with self._file.path.open("rb") as opened:
                yield from self._calls(opened, window, principals)
        except OSError as error:
            yield self._lost(f"it cannot be opened: {error.strerror or error}")
        # What is odd in a file that is no trail's, a package.json between the trails, hides no call.
        if self._is_trail or self._is_damaged:
            yield from self._damaged.values()
        else:
            self._figures.foreign_files += self._held_values

    def _calls(self, opened: BinaryIO, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        for value in read_values(opened, max_decompressed=self._max_decompressed):
            if not isinstance(value, Damage):
                for record in unwrap(value):
                    yield from self._record(record, window, principals)
                continue
            self._is_damaged = True
            if value.rest_lost:
                yield self._lost(value.reason)
            else:
                self._fold(self._gap(GapKind.UNREADABLE_RECORD, value.reason))

    def _record(self, record: object, window: Window, principals: Principals) -> Iterator[Call]:
        self._held_values = True
        found = examine(record, principals.wants)
        if found is NotACall.NOT_A_RECORD:
            self._figures.skipped[found.value] += 1
            return
        if not self._is_in_window(record, window):
            return
        self._figures.records += 1
        if isinstance(found, NotACall):
            self._figures.skipped[found.value] += 1
        elif isinstance(found, Gap):
            self._fold(found)
        elif self._seen.is_copy(found.event_id):
            self._figures.duplicates += 1
        else:
            self._figures.calls += 1
            yield found

    def _is_in_window(self, record: object, window: Window) -> bool:
        """Note what a record of anybody tells of the evidence; one without a time may lie in the window."""
        if not isinstance(record, Mapping):
            return True
        self._is_trail = True
        time = event_time(record)
        if time and not window.contains(time):
            self._figures.outside_window += 1
            return False
        _cover(self._figures, record, time)
        return True

    def _fold(self, gap: Gap) -> None:
        scope = gap.scope if gap.scope.regions else self._scope()
        known = self._damaged.get(scope)
        count = known.count + 1 if known else 1
        detail = known.detail if known else f"{self._file.path}: {gap.detail}"
        self._damaged[scope] = Gap(gap.kind, scope, detail, count)

    def _lost(self, reason: str) -> Gap:
        self._figures.damaged_files += 1
        return self._gap(GapKind.UNREADABLE_FILE, f"{self._file.path}: {reason}")

    def _gap(self, kind: GapKind, detail: str) -> Gap:
        return Gap(kind, self._scope(), detail)

    def _scope(self) -> Scope:
        return Scope(regions=(self._file.region,) if self._file.region else ())


def _cover(figures: ReadStatistics, record: Mapping[str, object], time: datetime | None) -> None:
    region = region_of(record)
    _remember(figures.regions, region)
    _remember(figures.sources, str(record.get("eventSource") or ""))
    data = is_data_event(record)
    reads = read_only(record)
    if reads is not None:
        figures.kinds[f"{'data' if data else 'management'}-{'read' if reads else 'write'}"] += 1
    if data:
        source = str(record.get("eventSource"))
        for kind in resource_types(record) or ("",):
            if len(figures.data_types) < _DISTINCT:
                figures.data_types.add((source, kind))
    if time and region in figures.regions:
        first, last = figures.spans.get(region, (time, time))
        figures.spans[region] = (min(first, time), max(last, time))
    if time:
        figures.first = min(figures.first or time, time)
        figures.last = max(figures.last or time, time)


def _remember(names: set[str], name: str) -> None:
    if name and len(names) < _DISTINCT:
        names.add(name)
