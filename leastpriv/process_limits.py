"""Limits of a process that reads files of others."""

from __future__ import annotations

import sys

_MOST_MEMORY = 6 * 1024**3
"""Bytes of address space; a run of the largest trails that were measured needs a tenth."""


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
