"""Where a memory is kept between runs: bytes in, bytes out, and never the bytes of another run lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from leastpriv.atomic_file import write_whole
from leastpriv.errors import LeastprivError, UnreadableMemoryError

Change = Callable[[bytes | None], bytes]
"""What is kept now, or None -> what is to be kept; called again where another run was faster."""


class Shelf(Protocol):
    """One file of a branch or folder."""

    @property
    def name(self) -> str:
        """How people find the file, in words that end a sentence."""

    def read(self) -> bytes | None:
        """What is kept; None where nothing is."""

    def update(self, change: Change) -> None:
        """Keeps what `change` makes of what is kept."""


@dataclass(frozen=True, slots=True)
class FolderShelf:
    """A file in a folder on disk; runs on the same machine wait for each other."""

    folder: Path
    path: str
    """Relative to the folder, with `/`."""
    longest: int
    """Bytes; a longer file is not read."""

    @property
    def name(self) -> str:
        """The file."""
        return (self.folder / self.path).as_posix()

    def read(self) -> bytes | None:
        """What the file holds.

        Raises:
            UnreadableMemoryError: it is no regular file, or too long.
            LeastprivError: it cannot be read.
        """
        try:
            with (self.folder / self.path).open("rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_size > self.longest:
                    raise UnreadableMemoryError(f"is longer than {self.longest:,} bytes, or no file")
                return file.read(self.longest + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LeastprivError(f"{self.name} cannot be read: {error.strerror}.") from error

    def update(self, change: Change) -> None:
        """Writes the file whole or not at all.

        Raises:
            UnreadableMemoryError: as `read`.
            LeastprivError: it cannot be read or written.
        """
        import fcntl

        target = self.folder / self.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with (self.folder / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self.read()
                after = change(before)
                if after != before:
                    write_whole(target, after)
        except OSError as error:
            raise LeastprivError(f"{self.name} cannot be written: {error.strerror}.") from error
