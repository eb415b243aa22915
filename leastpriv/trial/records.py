"""Reads new records of a trial's sessions from folders that grow during the trial, and from event history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from leastpriv.aws.arns import EvidenceSource, Principals, Window, principal_of
from leastpriv.aws.session import Aws
from leastpriv.config.inputs import EVENT_HISTORY
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.event_history import EventHistory, EventHistoryOptions
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.read_sources import read_evidence
from leastpriv.models import Call, Gap, Outcome, Usage
from leastpriv.permissions.visibility import home_region


class TrialRecords(Struct, frozen=True):
    """Sources of new records of a trial's sessions."""

    folders: tuple[Path, ...]
    reads_event_history: bool
    aws: Aws
    since: datetime

    @classmethod
    def open(cls, names: Sequence[str], aws: Aws, since: datetime) -> TrialRecords:
        """Returns the sources by name: folders of CloudTrail files, empty ones too, and the account's event history."""
        folders = tuple(Path(name) for name in names if name != EVENT_HISTORY)
        for folder in folders:
            if not folder.is_dir():
                raise InputError(
                    f"--trails names {str(folder)!r}, which is no folder: name one that CloudTrail files arrive in, "
                    f"or {EVENT_HISTORY}."
                )
        return cls(folders, EVENT_HISTORY in names, aws, since)

    @property
    def has_sources(self) -> bool:
        """Whether there is any source."""
        return bool(self.folders or self.reads_event_history)

    def denied_usages(
        self, marks: Collection[tuple[str, str]], role: str, now: datetime, report_gap: Callable[[str], None]
    ) -> Mapping[tuple[str, str], tuple[Usage, ...]]:
        """Returns the denied usages by session name and access key (empty: any), for sessions of one role.

        `report_gap` receives gaps.
        """
        principal = principal_of(role)
        if principal is None:
            return {}
        calls: dict[tuple[str, str], list[Call | Gap]] = {mark: [] for mark in marks}
        sessions = tuple(dict.fromkeys(session for session, _ in marks))
        for source in self._sources(sessions, now):
            # A folder without a file is no trail yet.
            with suppress(InputError):
                for item in source.read(Window(start=self.since), Principals(frozenset({principal}))):
                    if isinstance(item, Gap):
                        report_gap(item.detail)
                    elif item.outcome is Outcome.DENIED:
                        for mark in {(item.session, ""), (item.session, item.access_key)}:
                            if mark in calls:
                                calls[mark].append(item)
        return {
            mark: read_evidence([_ReadCalls(denied_calls)], Window(), principal)[principal.arn].usages
            for mark, denied_calls in calls.items()
            if denied_calls
        }

    def _sources(self, sessions: tuple[str, ...], now: datetime) -> Iterator[EvidenceSource]:
        yield from map(TrailFolder, self.folders)
        if self.reads_event_history:
            regions = (self.aws.region, home_region("iam", self.aws.partition))
            yield EventHistory(self.aws, regions, now, EventHistoryOptions(sessions=sessions))


class _ReadCalls(Struct, frozen=True):
    """A source of calls that were read already."""

    calls: Sequence[Call | Gap]

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002
        return iter(self.calls)
