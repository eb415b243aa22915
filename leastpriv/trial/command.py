"""Runs the command as given: its output passes through unchanged while a copy is read for refusals, in flat memory."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TextIO

from leastpriv.errors import InputError
from leastpriv.evidence.refusals.job_log import LoggedDenial, distinct, read_log
from leastpriv.model import Denial
from leastpriv.trial.process import ended_in_order, is_in_foreground
from leastpriv.trial.signals import Signals

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
    say: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Runs `argv`, without a shell, to its end; a signal that ends the trial ends the command first.

    `signals` are held by the caller; `say` hears what a signal does to the command.

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
        interrupted = ended_in_order(process, signals or Signals(), say, own_group=own_group)
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
