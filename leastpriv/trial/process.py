"""Runs the command as given: its output passes through unchanged while a copy is read for refusals, in flat memory.

The command as a process: waits for its end, and ends it in order where a signal ends the trial.

The environment of the command: the trial's credentials, and no way to any other (pure).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TextIO

from leastpriv.aws.signals import Signals
from leastpriv.errors import InputError
from leastpriv.evidence.denials.job_logs import LoggedDenial, distinct, read_log
from leastpriv.models import Denial
from leastpriv.permissions.fact_tables import table

_log = logging.getLogger(__name__)

PROC = Path("/proc")
_WAIT_TICK = 0.1
"""Seconds between looks at whether a signal came."""
_PATIENCE = 5.0
"""Seconds from one signal to the next harder one: a runner that cancels a job kills it ten seconds after its first
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation, read 2026-11-24)."""


def is_in_foreground() -> bool:
    """Whether the terminal sends Ctrl-C to the whole group, the command included; it also may ask there."""
    with suppress(OSError, ValueError):
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    return False


def ended_in_order(process: subprocess.Popen[bytes], signals: Signals, *, own_group: bool) -> int:
    """Waits until the process has ended; returns the signal that ended it meanwhile, 0 for none.

    The first signal is the command's own; a second one, or some seconds, end it with SIGTERM, and a third, or some more
    seconds, with SIGKILL, and what it started with it. On a terminal only a second Ctrl-C does that: there somebody
    sees that the command takes its time, and a tool that is stopped half way may lose track of what it made.
    """
    harder = [signal.SIGTERM, signal.SIGKILL]
    first, seen, due = 0, 0, float("inf")
    # Not `wait()` without a limit: it takes two quick signals for one (`Popen.wait`, bpo-25942).
    while not _has_ended(process):
        if not first and signals.received:
            first, seen = signals.received[0], 1
            # The terminal has told the command already, and many tools take a second signal for "at once".
            is_told = first == signal.SIGINT and not own_group
            if not is_told:
                _send(process, first, own_group)
                due = time.monotonic() + _PATIENCE
            _log.info("Waiting for the command to end" + ("; Ctrl-C once more ends it." if is_told else "."))
        elif first and harder and (len(signals.received) > seen or time.monotonic() >= due):
            seen, due = min(seen + 1, len(signals.received)), time.monotonic() + _PATIENCE
            _send(process, harder.pop(0), own_group)
    return signals.received[0] if signals.received else 0


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_WAIT_TICK)
        return True
    return False


def _send(process: subprocess.Popen[bytes], number: int, own_group: bool) -> None:
    """To the command's group; in the foreground, where that is the trial's own, to the command and what it started."""
    if own_group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        return
    for pid in _family(process.pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _family(pid: int) -> list[int]:
    """A process and its descendants; without a /proc only itself."""
    found = [pid]
    parents = {int(path.name): parent_and_start(int(path.name))[0] for path in PROC.glob("[0-9]*")}
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def parent_and_start(pid: int, proc: Path = PROC) -> tuple[int, int]:
    """A process's parent, and when it started, in clock ticks since the boot (proc_pid_stat(5)); zeros: not known."""
    try:
        # The program's name, in parentheses, may hold anything.
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[1]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0, 0


_TICK = 0.2
"""Seconds between looks at whether the command has ended."""
_LINGER = 1.0
"""Seconds without a byte that its output is read on for after its end: what it left running may hold the pipe open."""
_LONGEST_LINGER = 10.0
"""Seconds of that also where bytes keep coming."""
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended, and what it said."""

    exit_code: int
    """As a shell gives it: of a command that a signal ended, 128 and the signal's number."""
    denials: tuple[Denial, ...]
    """Each refusal of its output once, those of standard output first."""
    interrupted: int = 0
    """The signal that ended the trial meanwhile; 0 for none."""
    unread: str = ""
    """Why a part of the output was not read for refusals, a sentence: a defect. Empty: all was."""


def run_command(
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdout: TextIO,
    stderr: TextIO,
    signals: Signals | None = None,
) -> Ended:
    """Runs `argv`, without a shell, to its end; a signal that ends the trial ends the command first.

    The caller only records `signals`; `say` hears what a signal does to the command.

    Raises:
        InputError: there is no such program, or it cannot be run.
    """
    own_group = not is_in_foreground()
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command, as given
            argv,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0 if own_group else None,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"The command {argv[0]!r} cannot be run: {reason}.") from error
    readers = [_Reader(process.stdout, stdout, "stdout"), _Reader(process.stderr, stderr, "stderr")]
    try:
        interrupted = ended_in_order(process, signals or Signals(), own_group=own_group)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for reader in readers:
            reader.finish()
    found, _ = distinct(one for reader in readers for one in reader.found)
    code, unread = process.returncode, " ".join(reader.unread for reader in readers if reader.unread)
    return Ended(code if code >= 0 else 128 - code, tuple(one.denial for one in found), interrupted, unread)


class _Reader:
    """A stream of the command: passed through as it comes, and read as a log, in a thread of its own."""

    def __init__(self, source: IO[bytes] | None, sink: TextIO, name: str) -> None:
        self.found: list[LoggedDenial] = []
        self.unread = ""
        """Why not all of it was read as a log; empty where it was."""
        self._source = source
        self._write = _writer(sink)
        self._ended_at = float("inf")
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        """The next bytes, passed on before they are returned; none at the end."""
        if self._source is None:
            return b""
        descriptor, idle = self._source.fileno(), 0.0
        while not select.select([descriptor], [], [], _TICK)[0]:
            idle += _TICK
            if time.monotonic() >= self._ended_at and idle >= _LINGER:
                return b""
        if time.monotonic() - self._ended_at >= _LONGEST_LINGER:
            return b""
        data = os.read(descriptor, min(size, _CHUNK))
        self._write(data)
        return data

    def finish(self) -> None:
        """Waits until what the command wrote was read."""
        self._ended_at = time.monotonic()
        self._thread.join()
        if self._source:
            self._source.close()

    def _run(self, name: str) -> None:
        # What is told again and again is kept once, however long the command runs.
        self.found, _ = distinct(self._refusals(name))
        # Whoever stops reading stops the command.
        while self.read(_CHUNK):
            pass

    def _refusals(self, name: str) -> Iterator[LoggedDenial]:
        """What was found counts, also where reading as a log fails on the way."""
        try:
            yield from read_log(self, name)
        except Exception as error:
            # In a thread nobody would hear of it, and what is not read would pass for "nothing was refused".
            self.unread = (
                f"The command's {name} was not read to its end for refusals ({type(error).__name__}): this is a "
                "defect, report it with what the command prints."
            )


def _writer(sink: TextIO) -> Callable[[bytes], None]:
    """Writes bytes to a text stream unchanged, also where it has none beneath; a reader that has gone is no error."""
    binary = getattr(sink, "buffer", None)

    def write(data: bytes) -> None:
        with suppress(OSError, ValueError):
            if binary is None:
                sink.write(data.decode("utf-8", "replace"))
            else:
                binary.write(data)
            sink.flush()

    return write


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary keys of one session."""

    key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


def child_environment(environment: Mapping[str, str], credentials: Credentials, region: str) -> dict[str, str]:
    """The caller's environment with only the trial's credentials.

    The files of `~/.aws` are hidden too, since a profile there may lead to the caller's own rights; `region`, which may
    come from there, is set if it is known. Nothing is taken from an instance's metadata.
    """
    hidden = [row["name"] for row in table("credential_variables", __package__)]
    kept = {name: value for name, value in environment.items() if not _is_one_of(name.upper(), hidden)}
    regions = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}
    return {
        **regions,
        **kept,
        "AWS_ACCESS_KEY_ID": credentials.key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }


def _is_one_of(name: str, hidden: Sequence[str]) -> bool:
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in hidden)
