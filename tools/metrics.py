"""Measure how readable code is, and print goals and the figures of projects that read well.

    python tools/metrics.py [--where] [FOLDER ...]
    python tools/metrics.py --record

Without a folder it measures `leastpriv`, `tools` and `bench`. `--where` also names the places to
begin at, `--record` counts instead the calls that one CloudTrail record causes in a run of the
action. No figure is a limit: the exit code is 0. `tools/metrics_anchors.tsv` holds the figures of
the other projects.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from metrics_count import (
    MANY_ARGUMENTS,
    MANY_DECISIONS,
    WIDTH,
    Counts,
    Place,
    count_folder,
    files_with_most,
)

FOLDERS = ("leastpriv", "tools", "bench")
ANCHORS = ROOT / "tools/metrics_anchors.tsv"
SHOWN_PLACES = 10
SHOWN_NAMES = 25
NOT_COMPARED = "–"


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a folder, and what we want it to be for `leastpriv`."""

    name: str
    goal: float
    value: Callable[[Counts], float]


MEASURES = (
    Measure("tokens", 370_000, lambda counts: counts.tokens),
    Measure("tokens per statement", 10.5, lambda counts: counts.tokens / counts.statements),
    Measure("tokens per code line", 8, lambda counts: counts.tokens / counts.code_lines),
    Measure(
        "conditional expressions per 1,000 nodes",
        2,
        lambda counts: 1000 * len(counts.conditionals) / counts.nodes,
    ),
    Measure("nested conditional expressions", 0, lambda counts: len(counts.nested_conditionals)),
    Measure(
        "comprehensions per 1,000 nodes",
        5,
        lambda counts: 1000 * len(counts.comprehensions) / counts.nodes,
    ),
    Measure(
        "vague names, % of assigned names",
        5,
        lambda counts: 100 * len(counts.vague_names) / max(counts.assigned_names, 1),
    ),
    Measure(
        f"calls with over {MANY_ARGUMENTS} positional arguments",
        15,
        lambda counts: len(_long_calls(counts)),
    ),
    Measure(
        "positional arguments of the longest call",
        8,
        lambda counts: max((call.weight for call in counts.positional_calls), default=0),
    ),
    Measure("nested tuple types", 100, lambda counts: len(counts.nested_tuple_types)),
    Measure(
        f"functions with {MANY_DECISIONS} decisions or more, %",
        8,
        lambda counts: 100 * len(counts.complex_functions) / max(counts.functions, 1),
    ),
    Measure(f"lines over {WIDTH} characters", 0, lambda counts: len(counts.long_lines)),
)


def main(arguments: Sequence[str]) -> int:
    """Print the figures; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure how readable code is.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--where", action="store_true", help="name the places to begin at")
    parser.add_argument("--record", action="store_true", help="count the calls of one record")
    options = parser.parse_args(arguments)
    if options.record:
        print("\n".join(_record_lines()))
        return 0
    counts_by_folder: dict[str, Counts] = {}
    for folder in options.folders or [ROOT / name for name in FOLDERS]:
        counts = count_folder(folder.resolve())
        if not counts.statements:
            parser.error(f"{folder} holds no Python code")
        counts_by_folder[folder.name] = counts
    print("\n".join(table(counts_by_folder, anchors(ANCHORS))))
    if options.where:
        for name, counts in counts_by_folder.items():
            print("\n".join(where(name, counts)))
    return 0


def anchors(path: Path) -> Mapping[str, Sequence[float]]:
    """Read the figures of the other projects by the name of the measure."""
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    figures: dict[str, Sequence[float]] = {}
    for row in rows[1:]:
        name, *values = row.split("\t")
        figures[name] = [float(value) for value in values]
    return figures


def table(
    counts_by_folder: Mapping[str, Counts], anchor_figures: Mapping[str, Sequence[float]]
) -> Iterator[str]:
    """Write a row for each measure: the folders' figures, the goal and the range of the anchors."""
    columns = [*counts_by_folder, "goal", "anchors"]
    yield f"{'measure':<44}" + "".join(f"{column:>13}" for column in columns)
    for measure in MEASURES:
        cells = [_number(measure.value(counts)) for counts in counts_by_folder.values()]
        cells.append(_number(measure.goal))
        cells.append(_range(anchor_figures.get(measure.name, ())))
        yield f"{measure.name:<44}" + "".join(f"{cell:>13}" for cell in cells)
    yield "A goal is for leastpriv as a whole, and no limit for a file or a function."


def where(folder: str, counts: Counts) -> Iterator[str]:
    """Name the places of a folder that count most."""
    complex_functions = _heaviest(counts.complex_functions)
    yield from _place_lines(f"{folder}: functions with most decisions", complex_functions)
    yield from _place_lines(f"{folder}: longest positional calls", _heaviest(_long_calls(counts)))
    # The goal is 0, so every one is a place to begin at.
    yield from _place_lines(f"{folder}: nested conditionals", counts.nested_conditionals)
    by_file = {
        "conditional expressions": counts.conditionals,
        "comprehensions": counts.comprehensions,
        "vague names": counts.vague_names,
        "nested tuple types": counts.nested_tuple_types,
        f"lines over {WIDTH} characters": counts.long_lines,
    }
    for name, places in by_file.items():
        yield f"\n{folder}: files with most {name}"
        for count, file in files_with_most(places)[:SHOWN_PLACES]:
            yield f"{count:>6}  {file}"
    names = Counter(place.name for place in counts.vague_names).most_common(SHOWN_NAMES)
    yield f"\n{folder}: most frequent vague names"
    yield "        " + ", ".join(f"{name} {count}" for name, count in names)


def _place_lines(title: str, places: Sequence[Place]) -> Iterator[str]:
    yield f"\n{title}"
    for place in places:
        yield f"{place.weight:>6}  {place.file}:{place.line} {place.name}".rstrip()


def _heaviest(places: Sequence[Place]) -> Sequence[Place]:
    return sorted(places, key=lambda place: -place.weight)[:SHOWN_PLACES]


def _long_calls(counts: Counts) -> Sequence[Place]:
    return [call for call in counts.positional_calls if call.weight > MANY_ARGUMENTS]


def _record_lines() -> Iterator[str]:
    from one_record import trace

    yield "one CloudTrail record in a run of the action"
    for name, count in trace(ROOT / "leastpriv").items():
        yield f"{name:<24}{count:>9,}"


def _range(figures: Sequence[float]) -> str:
    if not figures:
        return NOT_COMPARED
    return f"{_number(min(figures))}–{_number(max(figures))}"


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
