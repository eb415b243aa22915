"""The command as a process: waits for its end, and ends it in order where a signal ends the trial."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from leastpriv.trial.signals import Signals

PROC = Path("/proc")
_TICK = 0.1
"""Seconds between looks at whether a signal came."""
_PATIENCE = 5.0
"""Seconds from one signal to the next harder one: a runner that cancels a job kills it ten seconds after its first
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation, read 2026-11-24)."""


def is_in_foreground() -> bool:
    """Whether the terminal sends Ctrl-C to the whole group, the command included; it also may ask there."""
    with suppress(OSError, ValueError):
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    return False


def ended_in_order(
    process: subprocess.Popen[bytes], signals: Signals, say: Callable[[str], None], *, own_group: bool
) -> int:
    """Waits until the process has ended; returns the signal that ended it meanwhile, 0 for none.

    The first signal is the command's own; a second one, or some seconds, end it with SIGTERM, and a third, or some more
    seconds, with SIGKILL, and what it started with it. On a terminal only a second Ctrl-C does that: there somebody
    sees that the command takes its time, and a tool that is stopped half way may lose track of what it made.
    """
    harder = [signal.SIGTERM, signal.SIGKILL]
    first, seen, due = 0, 0, float("inf")
    # Not `wait()` without a limit: it takes two quick signals for one (`Popen.wait`, bpo-25942).
    while not _has_ended(process):
        if not first and signals.heard:
            first, seen = signals.heard[0], 1
            # The terminal has told the command already, and many tools take a second signal for "at once".
            is_told = first == signal.SIGINT and not own_group
            if not is_told:
                _send(process, first, own_group)
                due = time.monotonic() + _PATIENCE
            say("Waiting for the command to end" + ("; Ctrl-C once more ends it." if is_told else "."))
        elif first and harder and (len(signals.heard) > seen or time.monotonic() >= due):
            seen, due = min(seen + 1, len(signals.heard)), time.monotonic() + _PATIENCE
            _send(process, harder.pop(0), own_group)
    return signals.heard[0] if signals.heard else 0


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TICK)
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
