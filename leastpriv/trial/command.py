"""Runs the command as given: its output passes through unchanged while a copy is read for refusals, in flat memory."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TextIO

from leastpriv.errors import InputError
from leastpriv.evidence.refusals.job_log import LoggedDenial, distinct, read_log
from leastpriv.model import Denial

_TICK = 0.2
"""Seconds between looks at whether the command has ended."""
_LINGER = 1.0
"""Seconds that its output is read on for after its end: what it left running may hold the pipe open for ever."""
_CHUNK = 1 << 16
_GRACE = 10.0
"""Seconds that the command has to end by itself after a signal."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended, and what it said."""

    exit_code: int
    """As a shell gives it: of a command that a signal ended, 128 and the signal's number."""
    denials: tuple[Denial, ...]
    """Each refusal of its output once, those of standard output first."""
    interrupted: int = 0
    """The signal that ended the trial meanwhile; 0 for none."""


def run_command(argv: Sequence[str], environment: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> Ended:
    """Runs `argv`, without a shell, to its end; a signal that ends the trial ends the command first.

    Raises:
        InputError: there is no such program, or it cannot be run.
    """
    own_group = not _in_foreground()
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
    interrupted = 0
    try:
        process.wait()
    except KeyboardInterrupt as stop:
        interrupted = getattr(stop, "signal", signal.SIGINT)
        _end(process, interrupted, own_group)
    finally:
        if process.poll() is None:
            _signal(process, signal.SIGKILL, own_group)
            process.wait()
        for reader in readers:
            reader.finish()
    found, _ = distinct(one for reader in readers for one in reader.found)
    code = process.returncode
    return Ended(code if code >= 0 else 128 - code, tuple(one.denial for one in found), interrupted)


class _Reader:
    """A stream of the command: passed through as it comes, and read as a log, in a thread of its own."""

    def __init__(self, source: IO[bytes] | None, sink: TextIO, name: str) -> None:
        self.found: list[LoggedDenial] = []
        self._source = source
        self._write = _writer(sink)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        """The next bytes, passed on before they are returned; none at the end."""
        if self._source is None:
            return b""
        descriptor, idle = self._source.fileno(), 0.0
        while not select.select([descriptor], [], [], _TICK)[0]:
            idle += _TICK
            if self._ended.is_set() and idle >= _LINGER:
                return b""
        data = os.read(descriptor, min(size, _CHUNK))
        self._write(data)
        return data

    def finish(self) -> None:
        """Waits until what the command wrote was read."""
        self._ended.set()
        self._thread.join()
        if self._source:
            self._source.close()

    def _run(self, name: str) -> None:
        try:
            # What is told again and again is kept once, however long the command runs.
            self.found, _ = distinct(read_log(self, name))
        finally:
            # Whoever stops reading stops the command.
            while self.read(_CHUNK):
                pass


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


def _in_foreground() -> bool:
    """Whether the terminal sends Ctrl-C to the whole group, the command included; it also may ask there."""
    with suppress(OSError, ValueError):
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    return False


def _end(process: subprocess.Popen[bytes], number: int, own_group: bool) -> None:
    """Lets the command end by itself. A second Ctrl-C ends it hard."""
    # In the foreground the terminal has told it already, and many tools take a second signal for "at once".
    if own_group or number != signal.SIGINT:
        _signal(process, number, own_group)
    with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        process.wait(None if number == signal.SIGINT and not own_group else _GRACE)


def _signal(process: subprocess.Popen[bytes], number: int, own_group: bool) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if own_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
