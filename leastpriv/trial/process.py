"""Runs the command with the trial's credentials, passes its output through and reads a copy for
denials.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TextIO

from msgspec import Struct

from leastpriv.denials.job_logs import LoggedDenial, distinct_denials, read_log
from leastpriv.errors import InputError, Signals
from leastpriv.models import Denial
from leastpriv.permissions.fact_tables import table

_log = logging.getLogger(__name__)

_WAIT_TICK = 0.1
"""Seconds between checks for a signal."""
_ESCALATION_DELAY = 5.0
"""Seconds until a harder signal follows: a runner that cancels a job kills it ten seconds after its
first signal
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation, read
2026-11-24)."""


def is_in_foreground() -> bool:
    """Whether the terminal sends Ctrl-C to the whole group, the command included, which may then
    prompt there.
    """
    with suppress(OSError, ValueError):
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    return False


def wait_for_exit(process: subprocess.Popen[bytes], signals: Signals, *, own_group: bool) -> int:
    """Waits until the process has ended; returns the signal that the trial received meanwhile, 0
    for none.

    The first signal is passed to the command. A second one, or some seconds, ends it with SIGTERM,
    a third, or some more seconds, with SIGKILL, together with its child processes. At a terminal
    only a second Ctrl-C does so: a user is watching, and a tool that is stopped half way may lose
    track of what it created.
    """
    harder = [signal.SIGTERM, signal.SIGKILL]
    first, seen_signals, deadline = 0, 0, float("inf")
    # Not `wait()` without a limit: it takes two quick signals for one (`Popen.wait`, bpo-25942).
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_WAIT_TICK)
            break
        if not first and signals.received:
            first, seen_signals = signals.received[0], 1
            # The terminal sent it to the command already, and many tools take a second signal for
            # "at once".
            terminal_sent_it = first == signal.SIGINT and not own_group
            if not terminal_sent_it:
                _send_signal(process, first, own_group)
                deadline = time.monotonic() + _ESCALATION_DELAY
            _log.info(
                "Waiting for the command to end"
                + ("; Ctrl-C once more ends it." if terminal_sent_it else ".")
            )
        elif (
            first
            and harder
            and (len(signals.received) > seen_signals or time.monotonic() >= deadline)
        ):
            seen_signals, deadline = (
                min(seen_signals + 1, len(signals.received)),
                time.monotonic() + _ESCALATION_DELAY,
            )
            _send_signal(process, harder.pop(0), own_group)
    return signals.received[0] if signals.received else 0


def _send_signal(process: subprocess.Popen[bytes], number: int, own_group: bool) -> None:
    """Sends a signal to the command's group; in the foreground, where that is the trial's own, to
    its process tree.
    """
    if own_group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        return
    for pid in _process_tree(process.pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _process_tree(pid: int) -> list[int]:
    """Returns a process and its descendants; without /proc only the process."""
    pids, parents = [pid], {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            # The program's name, in parentheses, may contain anything (proc_pid_stat(5)).
            parents[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
    for pid_found in pids:
        pids += [child for child, parent in parents.items() if parent == pid_found]
    return pids


_READ_TICK = 0.2
"""Seconds between checks whether the command has ended."""
_IDLE_AFTER_EXIT = 1.0
"""Seconds of silence after which the output ends once the command has ended: its child processes
may keep the pipe open."""
_MAX_AFTER_EXIT = 10.0
"""Maximal seconds of that, even if output continues."""
_CHUNK = 1 << 16


class CommandResult(Struct, frozen=True):
    """The exit code of the command, and the denials in its output."""

    exit_code: int
    """As in a shell: for a command that a signal ended, 128 and the signal's number."""
    denials: tuple[Denial, ...]
    """Each denial once, those of standard output first."""
    interrupted: int = 0
    """The signal that ended the trial; 0 for none."""
    unread: str = ""
    """A sentence why a part of the output was not read for denials, which is a defect; empty if all
    was read.
    """


def run_command(
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdout: TextIO,
    stderr: TextIO,
    signals: Signals | None = None,
) -> CommandResult:
    """Runs `argv`, without a shell, to its end; a signal that ends the trial ends the command
    first.
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
    readers = [
        _OutputReader(process.stdout, stdout, "stdout"),
        _OutputReader(process.stderr, stderr, "stderr"),
    ]
    try:
        interrupted = wait_for_exit(process, signals or Signals(), own_group=own_group)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for reader in readers:
            reader.finish()
    denials, _ = distinct_denials(logged for reader in readers for logged in reader.denials)
    code, unread = (
        process.returncode,
        " ".join(reader.unread for reader in readers if reader.unread),
    )
    return CommandResult(
        code if code >= 0 else 128 - code,
        tuple(logged.denial for logged in denials),
        interrupted,
        unread,
    )


class _OutputReader:
    """Passes a stream of the command through and reads it as a log, in a thread."""

    def __init__(self, source: IO[bytes] | None, sink: TextIO, name: str) -> None:
        self.denials: list[LoggedDenial] = []
        self.unread = ""
        """Why not all of it was read as a log; empty if it was."""
        self._source = source
        self._sink, self._binary = sink, getattr(sink, "buffer", None)
        self._ended_at = float("inf")
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        """Returns the next bytes after they were passed on; empty at the end."""
        if self._source is None:
            return b""
        descriptor, idle = self._source.fileno(), 0.0
        while not select.select([descriptor], [], [], _READ_TICK)[0]:
            idle += _READ_TICK
            if time.monotonic() >= self._ended_at and idle >= _IDLE_AFTER_EXIT:
                return b""
        if time.monotonic() - self._ended_at >= _MAX_AFTER_EXIT:
            return b""
        data = os.read(descriptor, min(size, _CHUNK))
        # A closed reader of the output is no error.
        with suppress(OSError, ValueError):
            if self._binary is None:
                self._sink.write(data.decode("utf-8", "replace"))
            else:
                self._binary.write(data)
            self._sink.flush()
        return data

    def finish(self) -> None:
        """Waits until all output of the command was read."""
        self._ended_at = time.monotonic()
        self._thread.join()
        if self._source:
            self._source.close()

    def _run(self, name: str) -> None:
        # Repeated denials are kept once, so that memory does not grow with the output.
        self.denials, _ = distinct_denials(self._denials(name))
        # The command would block if its output was not read to the end.
        while self.read(_CHUNK):
            pass

    def _denials(self, name: str) -> Iterator[LoggedDenial]:
        """Yields the denials, also those before a failure to read the log."""
        try:
            yield from read_log(self, name)
        except Exception as error:
            # An exception in a thread would be lost, and unread output would count as "no call was
            # denied".
            self.unread = (
                f"The command's {name} was not fully searched for denials ({type(error).__name__}):"
                " this is a defect, report it with what the command prints."
            )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary keys of a session."""

    key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


def child_environment(
    environment: Mapping[str, str], credentials: Credentials, region: str
) -> dict[str, str]:
    """Returns the caller's environment with only the trial's credentials.

    The files of `~/.aws` are hidden, since a profile there may lead to the caller's own
    permissions; `region`, which may come from there, is set if it is known. An instance's metadata
    is disabled.
    """
    hidden_names = [row["name"] for row in table("credential_variables", __package__)]
    hidden = {
        name
        for name in environment
        if any(fnmatchcase(name.upper(), each) for each in hidden_names)
    }
    inherited = {name: value for name, value in environment.items() if name not in hidden}
    regions = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}
    return {
        **regions,
        **inherited,
        "AWS_ACCESS_KEY_ID": credentials.key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }
