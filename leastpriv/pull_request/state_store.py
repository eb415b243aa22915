"""Stores the state between runs as bytes, without losing the state that a parallel run stores."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from leastpriv.atomic_file import write_atomically
from leastpriv.errors import LeastprivError, UnreadableHistoryError

StateUpdate = Callable[[bytes | None], bytes]
"""Maps the stored state (None: nothing) to the new state; called again if a parallel run was faster."""


class StateStore(Protocol):
    """One file of a branch or folder that holds state."""

    @property
    def name(self) -> str:
        """The file as a message names it at its end."""

    def read(self) -> bytes | None:
        """Returns the stored state; None if nothing is stored."""

    def update(self, change: StateUpdate) -> None:
        """Replaces the stored state by the result of `change`."""


@dataclass(frozen=True, slots=True)
class FolderStateStore:
    """A file in a folder on disk; runs on the same machine wait for each other."""

    folder: Path
    path: str
    """Relative to the folder, with `/`."""
    max_bytes: int
    """Bytes; a longer file is not read."""

    @property
    def name(self) -> str:
        """Path of the file."""
        return (self.folder / self.path).as_posix()

    def read(self) -> bytes | None:
        """Returns the content of the file; None if it does not exist."""
        try:
            with (self.folder / self.path).open("rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_size > self.max_bytes:
                    raise UnreadableHistoryError(f"is longer than {self.max_bytes:,} bytes, or no file")
                return file.read(self.max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LeastprivError(f"{self.name} cannot be read: {error.strerror}.") from error

    def update(self, change: StateUpdate) -> None:
        """Writes the file atomically."""
        import fcntl

        target = self.folder / self.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self.read()
                after = change(before)
                if after != before:
                    write_atomically(target, after)
        except OSError as error:
            raise LeastprivError(f"{self.name} cannot be written: {error.strerror}.") from error
