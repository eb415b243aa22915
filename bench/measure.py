"""Time and memory of what a benchmark runs."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

_UNITS_IN_A_MEBIBYTE = 1024 if sys.platform != "darwin" else 1024 * 1024
"""`ru_maxrss` is in kibibytes on Linux and in bytes on macOS (getrusage(2))."""


class Stopwatch:
    """Measures the seconds since it was made."""

    def __init__(self) -> None:
        self._elapsed = time.perf_counter()
        self._processor = time.process_time()

    @property
    def elapsed(self) -> float:
        """Return the seconds on the clock."""
        return time.perf_counter() - self._elapsed

    @property
    def processor(self) -> float:
        """Return the seconds of the processor that this process took."""
        return time.process_time() - self._processor


def peak_mebibytes() -> float:
    """Return the largest memory of this process.

    On Linux `getrusage` would also count the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return mebibytes_of(resource.getrusage(resource.RUSAGE_SELF))


def peak_mebibytes_of_children() -> float:
    """Return the largest memory of a process that this one started and that has ended."""
    return mebibytes_of(resource.getrusage(resource.RUSAGE_CHILDREN))


def mebibytes_of(usage: resource.struct_rusage) -> float:
    """Return the largest memory in a report of the operating system."""
    return usage.ru_maxrss / _UNITS_IN_A_MEBIBYTE
