"""Reads the tab-separated fact tables of `data/`: comments start with `#`, the first other line
names the columns.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import repeat

_GZIP = 31
"""For `zlib`: the largest window, with the header of a gzip file; the module `gzip` takes longer to
load.
"""


@cache
def table(name: str, package: str = __package__) -> tuple[Mapping[str, str], ...]:
    """Returns the rows of a package's table, plain or compressed, missing trailing cells as empty
    strings.
    """
    return tuple(read_rows(text_of_table(name, package)))


def rows_of(name: str, first: str) -> Sequence[Mapping[str, str]]:
    """Returns the rows of a table whose first cell is `first`, without reading the others."""
    head, lines = _lines_by_first_cell(name)
    return read_rows("\n".join([head, *lines.get(first, ())]))


# A policy with `*` asks one table for one service after another; other tables are read once, as
# rows.
@lru_cache(maxsize=1)
def _lines_by_first_cell(name: str) -> tuple[str, Mapping[str, Sequence[str]]]:
    head, *lines = [line for line in text_of_table(name).splitlines() if line and line[0] != "#"]
    lines_by_cell: dict[str, list[str]] = {}
    for line, (first, _, _) in zip(lines, map(str.partition, lines, repeat("\t")), strict=True):
        if first in lines_by_cell:
            lines_by_cell[first] += [line]
        else:
            lines_by_cell[first] = [line]
    return head, lines_by_cell


def text_of_table(name: str, package: str = __package__) -> str:
    """Returns the text of a package's table, plain or compressed."""
    # Not by importlib.resources or pathlib, which take a third of Python's own start to load.
    folder = os.path.dirname(str(sys.modules[package].__file__))  # noqa: PTH120
    path = os.path.join(folder, "data", f"{name}.tsv")  # noqa: PTH118
    if os.path.exists(path):  # noqa: PTH110
        with open(path, encoding="utf-8") as plain:  # noqa: PTH123
            return plain.read()
    with open(f"{path}.gz", "rb") as packed:  # noqa: PTH123
        return zlib.decompress(packed.read(), _GZIP).decode()


def read_rows(text: str) -> Sequence[Mapping[str, str]]:
    """Returns the rows of a table's text, missing trailing cells as empty strings."""
    head, *lines = [line for line in text.splitlines() if line and line[0] != "#"]
    columns = head.split("\t")
    missing = "\t" * len(columns)
    cells = map(str.split, [line + missing for line in lines], repeat("\t"))
    return list(map(dict[str, str], map(zip, repeat(columns), cells)))
