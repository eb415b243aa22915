"""Reads the tab-separated fact tables of `data/`: comments start with `#`, the first other line names the columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path


@cache
def table(name: str, package: str = __package__) -> tuple[Mapping[str, str], ...]:
    """All rows of `data/<name>.tsv` of a room, missing trailing cells as empty strings."""
    return tuple(_rows(name, package))


def _rows(name: str, package: str) -> Iterator[Mapping[str, str]]:
    # Not by importlib.resources, which takes a third of Python's own start to load.
    room = Path(str(sys.modules[package].__file__)).parent
    text = (room / "data" / f"{name}.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    columns = next(lines).split("\t")
    for line in lines:
        cells = line.split("\t")
        yield dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=True))
