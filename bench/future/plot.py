"""Draws docs/calibration.png from bench/future/calibration.tsv: predictions of proposals for the
next run, and results.

    .venv/bin/pip install matplotlib && .venv/bin/python -m bench.future.plot

matplotlib is only for this picture, and no dependency. A point is a fifth of the predictions, from
the least to the most sure; its bar is the confidence interval of the share (Wilson, 95 %).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "bench" / "future" / "calibration.tsv"
PICTURE = ROOT / "docs" / "calibration.png"
WAYS = {"draft": "a first draft", "narrowed": "wildcards narrowed"}
_SURE = 1.96

Prediction = tuple[float, bool]
"""The prediction, and whether the next run was denied an action."""


def main() -> None:
    """Writes the picture."""
    from matplotlib import pyplot

    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.6), constrained_layout=True)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for way, label in WAYS.items():
        found = [
            (float(row["chance"]), int(row["refused"]) > 0) for row in rows if row["way"] == way
        ]
        points = [_point(part) for part in parts(found, 5)]
        left.errorbar(
            [point[0] for point in points],
            [point[1] for point in points],
            yerr=[[point[1] - point[2] for point in points],
            [point[3] - point[1] for point in points]],
            fmt="o", capsize=3, label=f"{label} ({len(found)} predictions)",
        )  # fmt: skip
        by_runs = sorted({int(row["runs"]) for row in rows})
        shares = [
            mean(int(row["refused"]) > 0 for row in rows if _is(row, way, runs)) for runs in by_runs
        ]
        said = [
            mean(float(row["chance"]) for row in rows if _is(row, way, runs)) for runs in by_runs
        ]
        (line,) = right.plot(by_runs, shares, marker="o", label=f"{label}: came")
        right.plot(
            by_runs, said, linestyle="--", color=line.get_color(), label=f"{label}: predicted"
        )
    left.set(
        xlabel="predicted chance that the next run needs more", ylabel="share of next runs that did"
    )
    right.set(
        xlabel="runs that the policy was made from", ylabel="share of histories", ylim=(-0.03, 1.25)
    )
    left.legend()
    right.legend(loc="upper center", ncols=2)
    figure.savefig(PICTURE, dpi=110)


def _is(row: dict[str, str], way: str, runs: int) -> bool:
    return row["way"] == way and int(row["runs"]) == runs


def parts(found: Sequence[Prediction], number: int) -> list[Sequence[Prediction]]:
    """The predictions from the least to the most sure, in parts of about the same size."""
    ordered = sorted(found)
    return [
        ordered[part * len(found) // number : (part + 1) * len(found) // number]
        for part in range(number)
    ]


def _point(part: Sequence[Prediction]) -> tuple[float, float, float, float]:
    """Mean prediction, actual share, and the ends of Wilson's interval."""
    size, share = len(part), mean(came for _, came in part)
    middle = (share + _SURE**2 / (2 * size)) / (1 + _SURE**2 / size)
    half = (
        _SURE * sqrt(share * (1 - share) / size + _SURE**2 / (4 * size**2)) / (1 + _SURE**2 / size)
    )
    return (
        mean(said for said, _ in part),
        share,
        min(middle - half, share),
        max(middle + half, share),
    )


if __name__ == "__main__":
    main()
