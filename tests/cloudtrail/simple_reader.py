"""The simple reader of trail files: one record after the other, by `json`, as the product read them
at first.

The fast reader returns the same of every file: calls, gaps and statistics (`test_file_reader.py`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import BinaryIO

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.caller import caller_arn
from leastpriv.cloudtrail.coverage import LOGGED_KINDS, DataStream, folder_of, mask_of
from leastpriv.cloudtrail.record import (
    NoCall,
    SkipReason,
    account_of_record,
    event_time,
    is_data_event,
    is_login,
    is_management_event,
    parse_record,
    read_only,
    region_of,
    resources_of,
)
from leastpriv.cloudtrail.record_blocks import (
    DamagedFileError,
    open_pieces,
)
from leastpriv.cloudtrail.record_formats import parse_values, unwrap
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope
from tests.fakes.replace import replace


def read_values(file: BinaryIO) -> Iterator[object]:
    """The JSON values of a file, which may be plain or gzip."""
    return parse_values(open_pieces(file).pieces)


class SimpleReader:
    """Reads files of one folder in order."""

    def __init__(self, window: Window, principals: Principals) -> None:
        self.statistics = ReadStatistics()
        self.items: list[Call | Gap] = []
        self._window, self._principals = window, principals
        self._seen: set[str] = set()

    def read(self, name: str, region: str, data: bytes) -> None:
        """Read one file."""
        self.statistics.files += 1
        self.statistics.regions.update((region,) if region else ())
        self._name, self._scope = name, Scope(regions=(region,) if region else ())
        self._damaged: dict[Scope, Gap] = {}
        self._is_trail = is_damaged = is_foreign = False
        try:
            for value in read_values(io.BytesIO(data)):
                for record in unwrap(value):
                    is_foreign = True
                    self._record(record)
        except DamagedFileError as error:
            is_damaged = True
            self.statistics.damaged_files += 1
            self.items.append(Gap(GapKind.UNREADABLE_FILE, self._scope, f"{name}: {error}"))
        if self._is_trail or is_damaged:
            self.items += self._damaged.values()
        else:
            self.statistics.foreign_files += is_foreign

    def _record(self, record: object) -> None:
        parsed = parse_record(record, self._principals.wants, self._principals.include)
        if parsed is SkipReason.NOT_A_RECORD:
            return
        if isinstance(record, Mapping):
            self._is_trail = True
            time = event_time(record)
            if time and not self._window.contains(time):
                self.statistics.outside_window += 1
                return
            self._cover(record, time)
        self.statistics.records += 1
        if isinstance(parsed, NoCall):
            self.statistics.note_no_call(parsed)
        elif isinstance(parsed, SkipReason):
            if parsed is SkipReason.NOT_WANTED and isinstance(record, Mapping):
                self.statistics.note_caller(caller_arn(record))
        elif isinstance(parsed, Gap):
            self._fold(parsed)
        else:
            self._call(parsed)

    def _call(self, found: Call) -> None:
        self.statistics.newest = max(self.statistics.newest or found.time, found.time)
        if found.event_id and found.event_id in self._seen:
            self.statistics.duplicates += 1
        else:
            self._seen.add(found.event_id)
            self.statistics.calls += not is_login(found)
            self.items.append(found)

    def _fold(self, gap: Gap) -> None:
        scope = gap.scope if gap.scope.regions else replace(gap.scope, regions=self._scope.regions)
        earlier = self._damaged.get(scope)
        detail = earlier.detail if earlier else f"{self._name}: {gap.detail}"
        self._damaged[scope] = Gap(gap.kind, scope, detail, earlier.count + 1 if earlier else 1)

    def _cover(self, record: Mapping[str, object], time: datetime | None) -> None:
        statistics = self.statistics
        if time:
            statistics.first = min(statistics.first or time, time)
            statistics.last = max(statistics.last or time, time)
        if not self._principals.include(account_of_record(record)):
            return
        region, source = region_of(record), str(record.get("eventSource") or "")
        statistics.regions.update((region,) if region else ())
        name = record.get("eventName")
        if is_management_event(record) and name:
            statistics.events.add(f"{source}:{name}")
        is_data, reads = is_data_event(record), read_only(record)
        kind = f"{'data' if is_data else 'management'}-{'read' if reads else 'write'}"
        if time and region:
            statistics.days.setdefault(region, set()).add(time.toordinal())
            kinds = {source} if reads is None else {source, kind}
            for name in () if is_data else kinds & LOGGED_KINDS:
                statistics.logged.setdefault((region, name), set()).add(time.toordinal())
        for arn in resources_of(record.get("resources")) if is_data and time else ():
            stream_kind = kind.removeprefix("data-") if reads is not None else ""
            stream = DataStream(
                f"{source}:{record.get('eventName') or ''}", stream_kind, folder_of(arn)
            )
            statistics.data[stream] = statistics.data.get(stream, 0) | mask_of([time.toordinal()])
