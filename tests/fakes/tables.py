"""Reads fact tables: those that ship with the package, and those of `tools/facts/` that it is
compiled from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from leastpriv.permissions import fact_tables

_FACTS = Path(__file__).parents[2] / "tools" / "facts"


@cache
def table(name: str) -> tuple[Mapping[str, str], ...]:
    """Returns all rows of a table."""
    raw = _FACTS / f"{name}.tsv"
    if raw.is_file():
        return tuple(fact_tables.read_rows(raw.read_text(encoding="utf-8")))
    return fact_tables.table(name, "leastpriv.permissions")
