"""Reads fact tables: those of `tools/facts/`, from which the facts of services are compiled, and
the package's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from leastpriv.permissions import fact_tables

_FOLDER = Path(__file__).parent / "facts"


@cache
def table(name: str) -> tuple[Mapping[str, str], ...]:
    """Returns all rows of a table, missing trailing cells as empty strings."""
    path = _FOLDER / f"{name}.tsv"
    if not path.is_file():
        return fact_tables.table(name, "leastpriv.permissions")
    return tuple(fact_tables.read_rows(path.read_text(encoding="utf-8")))


def entries_of(cell: str) -> list[str]:
    """Returns the entries of a cell with commas, without empty ones."""
    return [entry for entry in cell.split(",") if entry]
