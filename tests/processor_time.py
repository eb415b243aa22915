"""Counts the processor time of the tests of each file, with that of the processes that they start.

The wall time of a test says little on a busy machine, or next to other workers.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath

SECONDS: Counter[str] = Counter()
"""File -> seconds so far, in this process."""
_MOST_SHOWN = 12


@contextmanager
def counted(file: str) -> Iterator[None]:
    """Counts what happens inside for a file."""
    before = _used()
    yield
    SECONDS[file] += _used() - before


def _used() -> float:
    """Returns the processor time of this process and of the processes that it waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def summary(seconds: Mapping[str, float]) -> Iterator[str]:
    """Yields a line with the whole time, and one each with the dearest folders and files."""
    folders: Counter[str] = Counter()
    for file, used in seconds.items():
        folders[str(PurePosixPath(file).parent)] += used
    yield f"Processor time of tests: {sum(seconds.values()):,.0f} s"
    for name, times in (("Folders", folders), ("Files", Counter(seconds))):
        shown = (f"{place} {used:.0f}" for place, used in times.most_common(_MOST_SHOWN))
        yield f"{name}: {', '.join(shown)}"
