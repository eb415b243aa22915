"""Runs the command with the trial's credentials, passes its output through and reads a copy for
denials.
"""

from __future__ import annotations

import logging
import math
import os
import select
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from typing import IO, TextIO

from msgspec import Struct

from leastpriv.denials.job_logs import LoggedDenial, distinct_denials, read_log
from leastpriv.errors import InputError, Signals, TooLargeError
from leastpriv.models import Denial
from leastpriv.permissions.fact_tables import table
from leastpriv.trial.process_group import CommandProcesses, Watchdog

_log = logging.getLogger(__name__)

_WAIT_TICK = 0.1
"""Seconds between checks for a signal."""


def is_in_foreground() -> bool:
    """Whether the terminal sends Ctrl-C to the whole group, the command included, which may then
    prompt there.
    """
    with suppress(OSError, ValueError):
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    return False


class CommandEnd(Struct, frozen=True):
    """What ended the command, other than the command itself."""

    signal: int = 0
    """The first signal that the trial received while the command ran; 0 for none."""
    timed_out: bool = False


def wait_for_exit(
    process: subprocess.Popen[bytes],
    signals: Signals,
    *,
    own_group: bool,
    time_limit: float = math.inf,
) -> CommandEnd:
    """Waits until the process has ended.

    The first signal is passed to the command, and the time limit sends it SIGTERM. A further
    signal, or some seconds, ends it with SIGTERM and then with SIGKILL. All of this applies to its
    child processes too, those included that outlive it. At a terminal only a second Ctrl-C does so:
    a user is watching, and a tool that is stopped half way may lose track of what it created.
    """
    processes = CommandProcesses(process.pid, own_group=own_group)
    limit = time.monotonic() + time_limit
    timed_out = False
    # Not `wait()` without a limit: it takes two quick signals for one (`Popen.wait`, bpo-25942).
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_WAIT_TICK)
            break
        if processes.is_ending:
            processes.end_harder(len(signals.received))
        elif signals.received:
            processes.pass_on(signals.received[0])
        elif time.monotonic() >= limit:
            timed_out = True
            processes.terminate()
    if processes.is_ending:
        processes.end_rest(signals, _WAIT_TICK)
    return CommandEnd(signals.received[0] if signals.received else 0, timed_out)


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
    timed_out: bool = False
    """It was ended at the time limit."""
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
    *,
    time_limit: float = math.inf,
) -> CommandResult:
    """Runs `argv`, without a shell, to its end; a signal that ends the trial ends the command
    first, and so does the end of the trial's own process.
    """
    own_group = not is_in_foreground()
    process = _start(argv, environment, own_group=own_group)
    watchdog = Watchdog.start(process.pid, own_group=own_group)
    readers = [
        _OutputReader(process.stdout, stdout, "stdout"),
        _OutputReader(process.stderr, stderr, "stderr"),
    ]
    try:
        end = wait_for_exit(
            process, signals or Signals(), own_group=own_group, time_limit=time_limit
        )
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        watchdog.stop()
        for reader in readers:
            reader.finish()
    denials, _ = distinct_denials(chain.from_iterable(reader.denials for reader in readers))
    return CommandResult(
        exit_code=_shell_exit_code(process.returncode),
        denials=tuple(logged.denial for logged in denials),
        interrupted=end.signal,
        timed_out=end.timed_out,
        unread=" ".join(reader.unread for reader in readers if reader.unread),
    )


def _start(
    argv: Sequence[str], environment: Mapping[str, str], *, own_group: bool
) -> subprocess.Popen[bytes]:
    """Starts the command; raises InputError where it cannot be run."""
    try:
        return subprocess.Popen(  # noqa: S603 - the user's own command, as given
            argv,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0 if own_group else None,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"The command {argv[0]!r} cannot be run: {reason}.") from error
    except ValueError as error:
        raise InputError(f"The command {argv[0]!r} cannot be run: {error}.") from error


def _shell_exit_code(return_code: int) -> int:
    """Returns the exit code as in a shell, which adds 128 to the number of a signal."""
    if return_code < 0:
        return 128 - return_code
    return return_code


class _OutputReader:
    """Passes a stream of the command through and reads it as a log, in a thread."""

    def __init__(self, source: IO[bytes] | None, sink: TextIO, name: str) -> None:
        self.denials: list[LoggedDenial] = []
        self.unread = ""
        """Why not all of it was read as a log, which is a defect; empty if it was."""
        self._source = source
        self._sink = sink
        self._binary = getattr(sink, "buffer", None)
        self._ended_at = float("inf")
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        """Returns the next bytes after they were passed on; empty at the end."""
        if self._source is None:
            return b""
        descriptor = self._source.fileno()
        idle = 0.0
        while not select.select([descriptor], [], [], _READ_TICK)[0]:
            idle += _READ_TICK
            if time.monotonic() >= self._ended_at and idle >= _IDLE_AFTER_EXIT:
                return b""
        if time.monotonic() - self._ended_at >= _MAX_AFTER_EXIT:
            return b""
        chunk = os.read(descriptor, min(size, _CHUNK))
        # A closed reader of the output is no error.
        with suppress(OSError, ValueError):
            if self._binary is None:
                self._sink.write(chunk.decode("utf-8", "replace"))
            else:
                self._binary.write(chunk)
            self._sink.flush()
        return chunk

    def finish(self) -> None:
        """Waits until all output of the command was read."""
        self._ended_at = time.monotonic()
        self._thread.join()
        if self._source:
            self._source.close()

    def _run(self, name: str) -> None:
        # Repeated denials are kept once, so that memory does not grow with the output.
        self.denials, limit = distinct_denials(self._denials(name))
        if limit:
            _log.warning(f"The command's {name} is searched for denials in part (limit: {limit}).")
        # The command would block if its output was not read to the end.
        while self.read(_CHUNK):
            pass

    def _denials(self, name: str) -> Iterator[LoggedDenial]:
        """Yields the denials, also those before a failure to read the log."""
        try:
            yield from read_log(self, name)
        except TooLargeError:
            raise
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


TRIAL_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""The variables that hold the trial's credentials, which the command always gets."""
_NO_OTHER_CREDENTIALS: Mapping[str, str] = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
}
"""Variables that hide an instance's metadata and `~/.aws`."""


def hidden_variables(
    environment: Mapping[str, str], passed_on: Collection[str] = ()
) -> frozenset[str]:
    """Returns the names of variables that the command does not get: each may hold a secret or lead
    to one.

    Args:
        environment: the caller's variables.
        passed_on: the names that the caller passes on all the same.
    """
    patterns = [row["name"] for row in table("credential_variables", __package__)]
    return frozenset(
        name
        for name in environment
        if name not in passed_on and any(fnmatchcase(name.upper(), pattern) for pattern in patterns)
    )


def child_environment(
    environment: Mapping[str, str],
    credentials: Credentials,
    region: str,
    passed_on: Collection[str] = (),
) -> dict[str, str]:
    """Returns the caller's environment with only the trial's credentials and without secrets.

    The files of `~/.aws` are hidden, since a profile there may lead to the caller's own
    permissions; `region`, which may come from there, is set if it is known. An instance's metadata
    is disabled. A variable in `passed_on` remains as it is, set or not.
    """
    hidden = hidden_variables(environment, passed_on)
    inherited = {name: value for name, value in environment.items() if name not in hidden}
    regions = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if region else {}
    unset = {name: value for name, value in _NO_OTHER_CREDENTIALS.items() if name not in passed_on}
    keys = (credentials.key, credentials.secret, credentials.token)
    variables = dict(zip(TRIAL_CREDENTIALS, keys, strict=True))
    return {**regions, **inherited, **unset, **variables}
