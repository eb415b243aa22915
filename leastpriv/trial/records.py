"""New records of a trial's sessions: folders of a trail that grow while the trial runs, and event history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from leastpriv.aws.arns import EvidenceSource, Principals, Window, principal_of
from leastpriv.aws.session import Aws
from leastpriv.config.validators import EVENT_HISTORY
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.event_history import EventHistory
from leastpriv.evidence.cloudtrail.local_store import TrailFolder
from leastpriv.evidence.read_sources import read_evidence
from leastpriv.models import Call, Gap, Outcome, Usage
from leastpriv.permissions.visibility import home_region


@dataclass(frozen=True, slots=True)
class Records:
    """Where new records of a trial's sessions are looked for."""

    folders: tuple[Path, ...]
    history: bool
    aws: Aws
    since: datetime

    @classmethod
    def of(cls, names: Sequence[str], aws: Aws, since: datetime) -> Records:
        """Folders of CloudTrail files, empty ones too, since records may still come; and the account's event history.

        Raises:
            InputError: a name is neither.
        """
        folders = tuple(Path(name) for name in names if name != EVENT_HISTORY)
        for folder in folders:
            if not folder.is_dir():
                raise InputError(
                    f"--trail names {str(folder)!r}, which is no folder: name one that CloudTrail files arrive in, "
                    f"or {EVENT_HISTORY}."
                )
        return cls(folders, EVENT_HISTORY in names, aws, since)

    @property
    def are_there(self) -> bool:
        """Whether there is any such place."""
        return bool(self.folders or self.history)

    def refused(
        self, sessions: Collection[str], role: str, now: datetime, report_gap: Callable[[str], None]
    ) -> Mapping[str, tuple[Usage, ...]]:
        """Session name -> usages that were refused to it, of sessions of one role; `report_gap` gets what cannot be seen."""
        own = principal_of(role)
        if own is None:
            return {}
        calls: dict[str, list[Call | Gap]] = {name: [] for name in sessions}
        for source in self._sources(tuple(sessions), now):
            # A folder in which no file has arrived yet is no trail so far.
            with suppress(InputError):
                for item in source.read(Window(start=self.since), Principals(frozenset({own}))):
                    if isinstance(item, Gap):
                        report_gap(item.detail)
                    elif item.session in calls and item.outcome is Outcome.DENIED:
                        calls[item.session].append(item)
        return {
            name: read_evidence([_Given(found)], Window(), own)[own.arn].usages
            for name, found in calls.items()
            if found
        }

    def _sources(self, sessions: tuple[str, ...], now: datetime) -> Iterator[EvidenceSource]:
        yield from map(TrailFolder, self.folders)
        if self.history:
            regions = (self.aws.region, home_region("iam", self.aws.partition))
            yield EventHistory(self.aws, regions, now, sessions=sessions)


@dataclass(frozen=True, slots=True)
class _Given:
    """Calls that were read already."""

    calls: Sequence[Call | Gap]

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:  # noqa: ARG002
        return iter(self.calls)
