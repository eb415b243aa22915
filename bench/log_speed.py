"""Measures the search of logs: `python -m bench.log_speed FOLDER_OF_LOGS [MEBIBYTES]`.

The logs of the folder are repeated up to the given number of mebibytes (256 by default), and read
as one stream: without the lines of denials (as most of any log is), and unchanged (an eighth of the
size). Each runs in a separate process, which prints seconds of its core, megabytes per second, peak
memory and denials, at a quarter, half and the whole: linear time shows as equal speed, flat memory
as equal mebibytes.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from bench.measure import Stopwatch, peak_mebibytes
from leastpriv.denials.job_logs import read_log

_USAGE = 2
_ROW = re.compile(rb"[A-Z]+_[A-Z_]+\b")
_MOST_LINES = 20
"""Lines of one denial in these logs, in the columns of a table."""


class Repeated(io.RawIOBase):
    """A text repeated up to a size, without holding more than two copies of a chunk."""

    def __init__(self, text: bytes, size: int) -> None:
        self._text = text * (1 + (4 << 20) // len(text))
        self._period = len(text)
        self._unread = size
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`."""
        size = min(size, self._unread, len(self._text) - self._period)
        part = self._text[self._position : self._position + size]
        self._position = (self._position + size) % self._period
        self._unread -= size
        return part


def main(arguments: list[str]) -> int:
    """Print the figures of both runs; 2 without a folder of logs."""
    if arguments[:1] == ["--one"]:
        return one_run(Path(arguments[1]), int(arguments[2]), cut=arguments[3] == "cut")
    files = sorted(Path(arguments[0]).glob("*.log")) if arguments else []
    if not files:
        print("Name a folder of *.log files.", file=sys.stderr)
        return _USAGE
    size = int(arguments[1]) if arguments[1:] else 256
    print("denials   MiB read  seconds   MB/s  peak MiB  denials read")
    for share in (4, 2, 1):
        for kind, divisor in (("cut", 1), ("kept", 8)):
            mebibytes = max(1, size // share // divisor)
            run = ["--one", arguments[0], str(mebibytes), kind]
            subprocess.run([sys.executable, "-m", "bench.log_speed", *run], check=True)
    return 0


def one_run(folder: Path, mebibytes: int, *, cut: bool) -> int:
    """Read one stream of the given size and print its row."""
    logs = [file.read_bytes() for file in sorted(folder.glob("*.log"))]
    text = b"".join(without_denials(log) if cut else log for log in logs)
    stream = Repeated(text, mebibytes << 20) if text else io.BytesIO()
    stopwatch = Stopwatch()
    denials = sum(1 for _ in read_log(stream, "-"))
    seconds = stopwatch.processor
    speed = (mebibytes << 20) / 1e6 / seconds
    print(
        f"{'cut' if cut else 'kept':8}  {mebibytes:8,}  {seconds:7.2f}  {speed:5.0f} "
        f" {peak_mebibytes():8.0f}  {denials:,}",
        flush=True,
    )
    return 0


def without_denials(log: bytes) -> bytes:
    """A log without its denials, each up to the next empty line or row of a table; other lines are
    unchanged.
    """
    while True:
        first = next(read_log(io.BytesIO(log), "-"), None)
        if first is None:
            return log
        lines = log.splitlines(keepends=True)
        begin = max(0, first.line - 1)
        behind = range(begin + 1, min(len(lines), begin + _MOST_LINES))
        end = next(
            (at for at in behind if not lines[at].strip() or _ROW.match(lines[at])), behind.stop
        )
        log = b"".join(lines[:begin] + lines[end:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
