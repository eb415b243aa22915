"""Keeps records in memory for the event history, and as a trail's files in a folder."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(slots=True)
class Trail:
    """Keeps records in the order of their calls; `delay` in seconds is how long CloudTrail takes to
    deliver one.

    `actions` holds the IAM action of each record's call, by eventID, for policy generation.
    """

    folder: Path
    account: str
    delay: float
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    actions: dict[str, str] = field(default_factory=dict)
    _kept: list[tuple[float, Record]] = field(default_factory=list)
    _written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, record: Record, action: str = "") -> None:
        """Keep a record, which is visible after the delay, and the checked IAM action of its
        call.
        """
        with self._lock:
            if action:
                self.actions[record["eventID"]] = action
            self._kept.append((self.now().timestamp() + self.delay, record))

    def delivered(self) -> list[Record]:
        """The records whose delay is over, oldest first."""
        due = self.now().timestamp()
        with self._lock:
            return [record for when, record in self._kept if when <= due]

    def flush(self) -> int:
        """Write the delivered records that are not in a file yet, one file per region and day;
        returns their number.
        """
        due = self.now().timestamp()
        with self._lock:
            fresh = [record for when, record in self._kept[self._written :] if when <= due]
            self._written += len(fresh)
        for path, records in self._files(fresh):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
        return len(fresh)

    def _files(self, records: list[Record]) -> Iterator[tuple[Path, list[Record]]]:
        """As CloudTrail lays files out in a bucket: docs.aws.amazon.com, "CloudTrail log file
        examples", 2026-11.
        """
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            groups.setdefault((record["awsRegion"], record["eventTime"][:10]), []).append(record)
        stamp = self.now().strftime("%Y%m%dT%H%MZ")
        for (region, day), group in groups.items():
            name = f"{self.account}_CloudTrail_{region}_{stamp}_{secrets.token_urlsafe(12)}.json.gz"
            yield (
                self.folder
                / "AWSLogs"
                / self.account
                / "CloudTrail"
                / region
                / day.replace("-", "/")
                / name,
                group,
            )


def caller_of(record: Mapping[str, Any]) -> str:
    """The role or user of a record's session, as an ARN; empty without one."""
    identity = record.get("userIdentity", {})
    issuer = identity.get("sessionContext", {}).get("sessionIssuer", {})
    return str(issuer.get("arn") or identity.get("arn") or "")
