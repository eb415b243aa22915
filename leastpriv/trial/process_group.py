"""Ends the processes of a command: its process group, or at a terminal its process tree."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from leastpriv.errors import Signals

_log = logging.getLogger(__name__)

_ESCALATION_DELAY = 5.0
"""Seconds until a harder signal follows: a runner that cancels a job kills it ten seconds after its
first signal
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation, read
2026-11-24)."""


class CommandProcesses:
    """The command's process with all that it started, and how far their ending has come."""

    def __init__(self, pid: int, *, own_group: bool) -> None:
        """`own_group`: the command has a separate process group, unlike at a terminal."""
        self.is_ending = False
        self._pid = pid
        self._own_group = own_group
        self._harder = [signal.SIGTERM, signal.SIGKILL]
        self._seen_signals = 0
        self._deadline = math.inf
        self._tree: dict[int, str] = {}
        """At a terminal: process -> its start time, so that no other process of that id is hit."""

    def pass_on(self, number: int) -> None:
        """Passes the trial's first signal to the command."""
        self.is_ending = True
        self._seen_signals = 1
        # The terminal sent it to the command already, and many tools take a second signal for "at
        # once".
        if number == signal.SIGINT and not self._own_group:
            self._tree = _process_tree(self._pid)
            _log.info("Waiting for the command to end; Ctrl-C once more ends it.")
            return
        self._send(number)
        self._deadline = time.monotonic() + _ESCALATION_DELAY
        _log.info("Waiting for the command to end.")

    def terminate(self) -> None:
        """Ends the command with SIGTERM."""
        self.is_ending = True
        self._send(self._harder.pop(0))
        self._deadline = time.monotonic() + _ESCALATION_DELAY

    def end_harder(self, received: int) -> None:
        """Sends the next harder signal, if the trial received a further signal or enough time has
        passed.

        Args:
            received: number of signals that the trial received so far.
        """
        has_further_signal = received > self._seen_signals
        if not self._harder or not (has_further_signal or time.monotonic() >= self._deadline):
            return
        self._seen_signals = min(self._seen_signals + 1, received)
        self._deadline = time.monotonic() + _ESCALATION_DELAY
        self._send(self._harder.pop(0))

    def end_rest(self, signals: Signals, tick: float) -> None:
        """Ends the child processes that outlived the command: they hold the trial's credentials."""
        self._deadline = min(self._deadline, time.monotonic() + _ESCALATION_DELAY)
        while self._has_rest() and (self._harder or time.monotonic() < self._deadline):
            self.end_harder(len(signals.received))
            time.sleep(tick)

    def _has_rest(self) -> bool:
        if not self._own_group:
            return any(_start_time(pid) == started for pid, started in self._tree.items())
        try:
            os.killpg(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _send(self, number: int) -> None:
        if self._own_group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)
            return
        self._tree |= _process_tree(self._pid)
        for pid, started in self._tree.items():
            if _start_time(pid) == started:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)


def _process_tree(pid: int) -> dict[int, str]:
    """Returns a process and its descendants with their start times; without /proc only the
    process.
    """
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(folder.name)] = int(_status(int(folder.name))[1])
    pids = [pid]
    for pid_found in pids:
        pids += [child for child, parent in parents.items() if parent == pid_found]
    return {pid: _start_time(pid) for pid in pids}


def _start_time(pid: int) -> str:
    """Returns when a process started, in ticks of the system's clock; empty if it is not known, or
    the process has ended.
    """
    with suppress(OSError, IndexError):
        status = _status(pid)
        return "" if status[0] == "Z" else status[19]
    return ""


def _status(pid: int) -> list[str]:
    """Returns the fields of a process from its state on (proc_pid_stat(5)); raises OSError."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The program's name, in parentheses, may contain anything.
    return text.rpartition(")")[2].split()


_WATCHDOG = f"""
import os, signal, sys, time
if not os.read(0, 1):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(int(sys.argv[1]), number)
        except ProcessLookupError:
            break
        time.sleep({_ESCALATION_DELAY})
"""
"""Reads from the trial's process: one byte when the command has ended, none when the process was
killed."""


class Watchdog(Struct):
    """A process that ends the command's group if the trial's own process is killed."""

    process: subprocess.Popen[bytes] | None

    @classmethod
    def start(cls, pid: int, *, own_group: bool) -> Watchdog:
        """Starts it for a command with a separate group; a terminal ends its group itself."""
        if not own_group:
            return cls(None)
        argv = [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(pid)]
        with suppress(OSError):
            return cls(
                subprocess.Popen(  # noqa: S603 - a fixed program
                    argv,
                    env={},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        return cls(None)

    def stop(self) -> None:
        """Ends it; the command has ended."""
        if self.process is None or self.process.stdin is None:
            return
        with suppress(OSError):
            self.process.stdin.write(b".")
            self.process.stdin.close()
        self.process.wait()
