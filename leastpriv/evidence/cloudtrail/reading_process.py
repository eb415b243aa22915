"""A process that reads files for this one: reading everybody's records is Python's work, for which threads wait."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import IO, cast

from leastpriv.evidence.cloudtrail.apart import Task
from leastpriv.evidence.cloudtrail.folder_reading import read_apart
from leastpriv.evidence.cloudtrail.readings import Reading
from leastpriv.evidence.cloudtrail.trail_paths import TrailFile


class ReadingProcess:
    """Reads one file at a time; for one thread.

    It ends by itself when this process does, however that ends: its input is closed then. In a session of its own, so
    that an interruption from the keyboard is this process's alone.
    """

    def __init__(self, task: Task) -> None:
        """Raises `OSError` where no process can be started."""
        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-I", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Both are there, since they were asked for.
        self._files, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._tell(task)

    def read(self, file: TrailFile) -> Reading | None:
        """What a file gives by itself; `None` where the process is gone."""
        try:
            self._tell(file)
            return cast(Reading, pickle.load(self._answers))  # noqa: S301 - our own child's
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _tell(self, what: Task | TrailFile) -> None:
        pickle.dump(what, self._files)
        self._files.flush()


def serve() -> None:
    """The process itself: a task, then files on standard input; a reading of each on standard output."""
    files, answers = sys.stdin.buffer, sys.stdout.buffer
    # What anything may print is no answer.
    sys.stdout = sys.stderr
    task = cast(Task, pickle.load(files))  # noqa: S301 - from the process that started this one
    rows = task.rows()
    while True:
        try:
            file = cast(TrailFile, pickle.load(files))  # noqa: S301
        except EOFError:
            return
        pickle.dump(read_apart(task, file, rows), answers)
        answers.flush()
