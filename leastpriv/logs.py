"""Job logs that the settings name -> what they tell, and who can decode what EC2 encoded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from leastpriv.evidence.refusals.encoded import NO_DECODER, Decoder, decode_with
from leastpriv.evidence.refusals.job_log import distinct
from leastpriv.evidence.refusals.log_files import read_logs
from leastpriv.evidence.refusals.logged_usage import Logs
from leastpriv.model import Gap, GapKind, Scope
from leastpriv.report.words import plural
from leastpriv.sources import Reach

Say = Callable[[str], None]


class OwnLogs(Protocol):
    """The logs of the workflow run that the program is a step of."""

    @property
    def run_id(self) -> str:
        """Its id."""

    def read(self) -> Logs:
        """What they tell; what cannot be had is a gap. Never raises."""


@dataclass(frozen=True, slots=True)
class JobLogs:
    """The job logs of one run of the program."""

    read_at: datetime
    """Stands for the time of a refusal whose line has none."""
    files: tuple[str, ...] = ()
    """Logs of any tool, folders of them, zip archives; `-` is standard input."""
    run: OwnLogs | None = None
    root: str = ""
    """What is left out of the names of files, for the reader: the workspace with a `/` behind it."""


def read_job_logs(job_logs: JobLogs, say: Say) -> list[Logs]:
    """What the logs tell. Those of the workflow run end nothing: what of them cannot be had is a gap.

    Raises:
        InputError: a file that is named cannot be read.
    """
    found: list[Logs] = []
    if job_logs.files:
        denials, more = distinct(read_logs(job_logs.files, sys.stdin.buffer))
        cut = Gap(GapKind.UNREADABLE_LOG, Scope(), f"only the first {len(denials):,} refusals count")
        told = tuple(replace(one, file=one.file.removeprefix(job_logs.root)) for one in denials)
        found.append(Logs(told, (cut,) if more else ()))
        names = ", ".join(name.removeprefix(job_logs.root) for name in job_logs.files)
        say(f"Read {names}: {plural(len(denials), 'refusal')}")
    if job_logs.run:
        own = job_logs.run.read()
        found.append(own)
        say(f"Read the logs of workflow run {job_logs.run.run_id}: {plural(len(own.denials), 'refusal')}")
        for gap in own.gaps:
            say(f"Not read: {gap.detail}")
    return found


def decoder_of(reach: Reach | None) -> Decoder:
    """Who decodes EC2's messages: AWS, asked for the first time when there is one; nobody out of reach of AWS."""
    return Decoder(lambda encoded: decode_with(reach.aws(), encoded)) if reach else NO_DECODER
