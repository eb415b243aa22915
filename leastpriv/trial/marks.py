"""What a trial makes in the account: its names, its tags, and how a later trial tells that its maker is dead (pure)."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from leastpriv.trial.process import PROC, parent_and_start

PATH = "/leastpriv-trial/"
"""Path of every role and policy that a trial makes, and of nothing else."""
LASTS = timedelta(hours=1)
"""How long a round's credentials are good: with them ends what a role or policy was made for."""
_TRIAL, _UNTIL, _MAKER = "leastpriv:trial", "leastpriv:until", "leastpriv:maker"


@dataclass(frozen=True, slots=True)
class Here:
    """The process, as a tag tells of it: what the machine is called is not told."""

    machine: str
    """Of this boot of the machine and this room of process ids, as each container has one; empty where not known."""
    pid: int
    started: int
    """In clock ticks since the boot: ids are used again."""

    @classmethod
    def now(cls, proc: Path = PROC) -> Here:
        """The process that asks."""
        pid = os.getpid()
        try:
            boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            room = str((proc / "self/ns/pid").readlink())
        except (OSError, ValueError):
            return cls("", pid, 0)
        known = "\n".join((socket.gethostname(), boot, room))
        return cls(hashlib.sha256(known.encode()).hexdigest()[:12], pid, parent_and_start(pid, proc)[1])

    def has_ended(self, maker: str) -> bool:
        """Whether a process of this machine has surely ended; `maker` as `str` gives it. Of others nobody knows."""
        machine, _, rest = maker.partition("/")
        pid, _, started = rest.partition("/")
        if not machine or machine != self.machine or not self.started or not (pid.isdecimal() and started.isdecimal()):
            return False
        now = parent_and_start(int(pid))[1]
        return now != int(started) if now else not _is_there(int(pid))

    def __str__(self) -> str:
        return f"{self.machine}/{self.pid}/{self.started}"


@dataclass(frozen=True, slots=True)
class Mark:
    """The names and tags of one trial."""

    trial: str
    """`leastpriv-` and twelve hexadecimal digits that nobody can guess."""
    started: datetime
    here: Here

    def session(self, number: int) -> str:
        """Name of the session of a round."""
        return f"{self.trial}-{number}"

    def name(self, part: str) -> str:
        """Name of a role or policy: `leastpriv-0a1b2c3d4e5f-20261103T091500-3`."""
        return f"{self.trial}-{self.started:%Y%m%dT%H%M%S}-{part}"

    def tags(self, now: datetime) -> list[dict[str, str]]:
        """Tags of what a round makes or uses."""
        values = {
            _TRIAL: self.trial,
            _UNTIL: (now + LASTS).astimezone(UTC).isoformat(timespec="seconds"),
            _MAKER: str(self.here),
        }
        return [{"Key": key, "Value": value} for key, value in values.items()]


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A role or policy that another trial made."""

    kind: str
    """`role` or `policy`."""
    arn: str
    dead: bool
    """Its trial is over: it ran here and has ended, or its last credentials have."""

    @property
    def name(self) -> str:
        """The name without the path."""
        return self.arn.rpartition("/")[2]


def is_dead(tags: Mapping[str, str], now: datetime, here: Here) -> bool:
    """Whether the trial that set these tags is over; without readable tags nobody knows, which is no."""
    if here.has_ended(tags.get(_MAKER, "")):
        return True
    try:
        return datetime.fromisoformat(tags[_UNTIL]) < now
    except (KeyError, ValueError, TypeError):
        return False


def _is_there(pid: int) -> bool:
    """Also of somebody else, whom a /proc may hide (`hidepid` in proc(5))."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
