"""Limits of a process that reads files of others, and how often it collects garbage."""

from __future__ import annotations

import gc
import sys

_MOST_MEMORY = 6 * 1024**3
"""Bytes of address space; a run of the largest trails that were measured needs a tenth."""

_RARELY = (100_000, 20, 100)
"""Thresholds of the garbage collector: values of a run form no cycles and remain to its end, and
Python's defaults took 23 % of the time of reading all roles of 200 MB (2026-11-27), with the same
peak of memory."""


def collect_rarely() -> None:
    """Has this process seldom search for cycles of objects."""
    gc.set_threshold(*_RARELY)


def limit_process() -> None:
    """Limits the memory of this process, and lets it leave no core dump, which would hold secrets.

    A file that needs more ends the run with a sentence, not the machine.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "darwin":
        # macOS refuses every limit of address space (python/cpython#78783).
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > _MOST_MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, most))
