"""The inputs of the public contract: names, defaults and help (`data/inputs.tsv`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from leastpriv.permissions.fact_tables import table


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the public contract (docs: action.yml)."""

    name: str
    default: str
    shell_default: str
    """Of the command, where it differs."""
    flag: str
    """The option on the command line, `--also-attached`; it may mean something else than the input."""
    help: str
    several: bool
    """A list: the option may be repeated."""
    step_only: bool
    """No option of the command line: it concerns a pull request on GitHub, or is a secret."""


@cache
def inputs() -> tuple[Input, ...]:
    """Returns all inputs, in the order of the table."""
    return tuple(
        Input(
            row["name"],
            row["default"],
            row["shell_default"],
            row["option"] or f"--{row['name']}",
            row["help"],
            several="list" in row["kind"],
            step_only="step" in row["kind"],
        )
        for row in table("inputs", __package__ or "")
    )
