"""Chooses the folder below which tests write: one in memory, where the system has one.

A disk makes each removal of a folder wait, on some systems for two milliseconds, and the tests
remove tens of thousands of folders.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of the user in it
_NEEDED_BYTES = 2 * 1024**3
"""Many times what the tests of three processes have there at once."""


def use_memory(
    environment: MutableMapping[str, str],
    shared_memory: Path = _SHARED_MEMORY,
    needed_bytes: int = _NEEDED_BYTES,
) -> None:
    """Names the shared memory as the folder of temporary files, for this process and those that
    it starts, unless the user named another one.
    """
    if "TMPDIR" in environment or not _is_usable(shared_memory, needed_bytes):
        return
    environment["TMPDIR"] = str(shared_memory)
    # It was asked for before, and remembers the answer.
    tempfile.tempdir = None


def _is_usable(folder: Path, needed_bytes: int) -> bool:
    """Whether a folder exists in which a process may write that many bytes, and run programs."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return False
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(folder).free >= needed_bytes
