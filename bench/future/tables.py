"""Prints the rows of `bench.future.future` as tables of curves and of calibration.

    .venv/bin/python -m bench.future.tables OUT.json … [CALIBRATION.tsv]

CALIBRATION.tsv gets, for each proposal, its prediction and the result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from math import log
from pathlib import Path
from statistics import mean, median
from typing import Any

Row = dict[str, Any]
ESTIMATES = ("chance", "own", "turing")
"""Predictions that the next run needs a new permission: by leaving runs out (as printed), by runs
with unique needs, by 1 - exp(-expected), where `expected` follows from the sample coverage."""


def main(arguments: list[str]) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="Print measurements as tables.")
    parser.add_argument("files", nargs="+", type=Path, metavar="OUT.json|CALIBRATION.tsv")
    files: list[Path] = parser.parse_args(arguments).files
    outputs = [file for file in files if file.suffix == ".json"]
    missing = [str(file) for file in outputs if not file.is_file()]
    if missing or not outputs:
        parser.error(f"{', '.join(missing) or 'OUT.json'} is no file of bench.future.future")
    rows: list[Row] = [
        row for file in outputs for row in json.loads(file.read_text(encoding="utf-8"))
    ]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    _curves(rows, ways)
    _by_history(rows, ways)
    _calibration(rows)
    for file in files:
        if file.suffix == ".tsv":
            _write(rows, file)


def _curves(rows: Sequence[Row], ways: Sequence[str]) -> None:
    """Denials of the next run and both ratios, over all histories, by the number of runs a policy
    was made from.
    """
    print(f"| runs | {' | '.join(f'{way}: refused, histories, ratio, around' for way in ways)} |")
    print(f"| ---: | {' | '.join('---:' for _ in ways)} |")
    for runs in sorted({row["runs"] for row in rows}):
        cells = []
        for way in ways:
            rows_of_policy = [row for row in rows if row["way"] == way and row["runs"] == runs]
            failing = sum(row["next"] > 0 for row in rows_of_policy)
            ratio, around = (
                median(row[name] / row["used"] for row in rows_of_policy)
                for name in ("granted", "around")
            )
            cells.append(
                f"{mean(row['next'] for row in rows_of_policy):.1f} ({failing}),"
                f" {ratio:.2f}, {around:.2f}"
            )
        print(f"| {runs} | {' | '.join(cells)} |")


def _by_history(rows: Sequence[Row], ways: Sequence[str]) -> None:
    """Denials in the runs 10, 11 and 12, each by the policy of the runs before it; the ratios at
    the end.
    """
    print(
        "\n| history | used |"
        f" {' | '.join(f'{way}: refused in runs 10-12, ratio, around' for way in ways)} |"
    )
    print(f"| --- | ---: | {' | '.join('---:' for _ in ways)} |")
    for history in dict.fromkeys(row["history"] for row in rows):
        cells = []
        for way in ways:
            rows_of_policy = [
                row
                for row in rows
                if (row["history"], row["way"]) == (history, way) and row["runs"] >= 9
            ]
            last = rows_of_policy[-1]
            ratios = (f"{last[name] / last['used']:.2f}" for name in ("granted", "around"))
            cells.append(", ".join((str(sum(row["next"] for row in rows_of_policy)), *ratios)))
        used_count = next(row["used"] for row in rows if row["history"] == history)
        print(f"| {history} | {used_count} | {' | '.join(cells)} |")


def _calibration(rows: Sequence[Row]) -> None:
    """Predicted against actual share, by thirds of the predictions, and two scores; lower is
    better.
    """
    for way in dict.fromkeys(row["way"] for row in rows if row["chance"] is not None):
        rows_of_way = [row for row in rows if row["way"] == way]
        came = mean(row["next"] > 0 for row in rows_of_way)
        print(
            f"\n{way}: {len(rows_of_way)} predictions; in {100 * came:.0f} % the next run was"
            " refused something\n"
        )
        print("| estimate | mean | Brier score | logarithmic score | predicted → came, by thirds |")
        print("| --- | ---: | ---: | ---: | --- |")
        for name in ESTIMATES:
            bins = " · ".join(
                f"{100 * predicted:.0f} → {100 * actual:.0f} %"
                for predicted, actual in thirds(rows_of_way, name)
            )
            print(
                f"| {name} | {100 * mean(row[name] for row in rows_of_way):.0f} % |"
                f" {_score(rows_of_way, name, _brier):.3f} |"
                f" {_score(rows_of_way, name, _logarithmic):.3f} |"
                f" {bins} |"
            )


def thirds(rows: Sequence[Row], name: str) -> Iterable[tuple[float, float]]:
    """(mean prediction, actual share) of the least, the middle and the most sure third."""
    ordered = sorted(rows, key=lambda row: row[name])
    size = len(ordered)
    for part in range(3):
        third = ordered[part * size // 3 : (part + 1) * size // 3]
        yield mean(row[name] for row in third), mean(row["next"] > 0 for row in third)


def _score(rows: Sequence[Row], name: str, score: Callable[[float, bool], float]) -> float:
    return mean(score(row[name], row["next"] > 0) for row in rows)


def _brier(predicted: float, came: bool) -> float:
    return (predicted - came) ** 2


def _logarithmic(predicted: float, came: bool) -> float:
    probability = predicted if came else 1 - predicted
    return -log(max(probability, 1e-3))


def _write(rows: Sequence[Row], file: Path) -> None:
    lines = [
        "history\tway\truns\tchance\town\tturing\tcoverage\trefused\tlater\tgranted\taround\tused"
    ]
    for row in rows:
        if row["chance"] is not None:
            figures = "\t".join(f"{row[name]:.4f}" for name in (*ESTIMATES, "coverage"))
            counts = "\t".join(
                str(row[name]) for name in ("next", "later", "granted", "around", "used")
            )
            lines.append(f"{row['history']}\t{row['way']}\t{row['runs']}\t{figures}\t{counts}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
