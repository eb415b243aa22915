"""Measures the mapping on real records: `python -m bench.corpus FOLDER_OF_JSONL_GZ
[FILE_FOR_THE_TIMED_RUN]`.

Prints, for each file and in sum, how many records and calls there are, how many distinct events and
actions, and which events nobody can map or only an action newer than the catalogue would explain.
Then runs `leastpriv permissions --all-roles` on one file (the largest, if none is named) in a
process of its own and prints its time and peak memory. Needs the package installed; reads nothing
but the folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Stopwatch, peak_mebibytes_of_children
from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.models import Call
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict
from leastpriv.permissions.mapping import needs_of

_USAGE = 2

Event = tuple[str, str]


@dataclass(slots=True)
class Figures:
    """What one set of records holds."""

    records: int = 0
    calls: int = 0
    events: Counter[Event] = field(default_factory=Counter)
    actions: set[str] = field(default_factory=set)
    unmapped: Counter[Event] = field(default_factory=Counter)
    unverified: Counter[Event] = field(default_factory=Counter)
    seconds: float = 0

    def note(self, call: Call) -> None:
        """Map one call and count the result."""
        event = (call.source, call.name)
        stopwatch = Stopwatch()
        mapped = needs_of(call)
        self.seconds += stopwatch.elapsed
        self.calls += 1
        self.events[event] += 1
        if mapped.verdict is Verdict.UNMAPPED:
            self.unmapped[event] += 1
        elif mapped.verdict is Verdict.UNVERIFIED:
            self.unverified[event] += 1
        else:
            self.actions.update(need.permission.action for need in mapped.needs)

    def add(self, other: Figures) -> None:
        """Add another set's figures."""
        self.records += other.records
        self.calls += other.calls
        self.events += other.events
        self.actions |= other.actions
        self.unmapped += other.unmapped
        self.unverified += other.unverified
        self.seconds += other.seconds

    def line(self, name: str) -> str:
        """One row of the table."""
        open_events = len(self.unmapped) + len(self.unverified)
        share = 1 - open_events / len(self.events) if self.events else 1
        micro = 1e6 * self.seconds / self.calls if self.calls else 0
        return (
            f"{name[:36]:36} {self.records:>8,} {self.calls:>7,} {len(self.events):>7,}"
            f" {len(self.actions):>8,} {len(self.unmapped):>9,} {len(self.unverified):>11,}"
            f" {share:>8.1%} {micro:>8.0f}"
        )


def main(arguments: list[str]) -> int:
    """Print the figures; 2 where the folder holds no records."""
    folder = Path(arguments[0]) if arguments else Path()
    files = sorted(folder.glob("*.jsonl.gz")) if arguments else []
    if not files:
        print("Name a folder of *.jsonl.gz files of CloudTrail records.", file=sys.stderr)
        return _USAGE
    print(f"catalogue {catalog.version()}, Python {sys.version.split()[0]}\n")
    print(
        f"{'file':36} {'records':>8} {'calls':>7} {'events':>7} {'actions':>8} {'unmapped':>9}"
        f" {'unverified':>11} {'mapped':>8} {'µs/call':>8}"
    )
    total = Figures()
    for file in files:
        found = figures_of(file)
        print(found.line(file.name.removesuffix(".jsonl.gz")))
        total.add(found)
    print(total.line("all"))
    print("\n".join(_open_events(total)))
    timed = (
        Path(arguments[1]) if arguments[1:] else max(files, key=lambda file: file.stat().st_size)
    )
    print(timed_run(timed))
    return 0


def figures_of(file: Path) -> Figures:
    """Read one file and map each of its calls."""
    source = TrailFolder(file)
    found = Figures()
    for item in source.read(Window(), Principals()):
        if isinstance(item, Call):
            found.note(item)
    found.records = source.statistics.records
    return found


def _open_events(total: Figures) -> Iterator[str]:
    for title, events in (("unmapped", total.unmapped), ("unverified", total.unverified)):
        named = (f"{source}:{name} ({times})" for (source, name), times in sorted(events.items()))
        yield f"\n{title}: {', '.join(named) or 'none'}"


def timed_run(file: Path) -> str:
    """Time `leastpriv permissions --all-roles` on one file, and its peak memory."""
    command = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
    arguments = ["permissions", "--all-roles", "--trails", str(file)]
    stopwatch = Stopwatch()
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=False
    )
    seconds = stopwatch.elapsed
    if done.returncode:
        return (
            f"\nleastpriv permissions failed with exit code {done.returncode}:"
            f" {done.stderr.strip()}"
        )
    # The timed run is the only child of this process, so the children's maximum is its own.
    peak = peak_mebibytes_of_children()
    rows = len(done.stdout.splitlines())
    return (
        f"\nleastpriv permissions --all-roles on {file.name}: {seconds:.2f} s, peak {peak:.0f} MiB,"
        f" {rows:,} rows"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
