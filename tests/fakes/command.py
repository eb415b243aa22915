"""The `leastpriv` command, run in the process of the test."""

from __future__ import annotations

import io
from dataclasses import dataclass

from leastpriv.cli.main import main
from tests.fakes.deploys import NOW


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command."""

    code: int
    out: str
    err: str


def leastpriv(*arguments: str) -> CommandResult:
    """Runs a command at the time at which the fake deploys end."""
    out, err = io.StringIO(), io.StringIO()
    code = main(arguments, out, err, lambda: NOW)
    return CommandResult(code, out.getvalue(), err.getvalue())
