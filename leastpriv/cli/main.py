"""The `leastpriv` command: parses the options and runs one command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from leastpriv.cli.command_line import parser
from leastpriv.github_actions.workflow_commands import Console

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from leastpriv.cli.command_line import Clock


def console_main() -> int:
    """Entry point of the `leastpriv` command."""

    def now() -> datetime:
        # Imported here: help and version do not wait for it.
        from datetime import UTC, datetime

        return datetime.now(UTC)

    return main(sys.argv[1:], sys.stdout, sys.stderr, now)


def main(arguments: Sequence[str], stdout: TextIO, stderr: TextIO, clock: Clock) -> int:
    """Runs one command; returns 0 done, 1 could not do its job, 2 bad input, 3 drift found."""
    console = Console(stderr, stderr, in_actions=False)
    if not arguments:
        stdout.write(parser(only="").format_help())
        return 0
    try:
        options = parser(
            only=next((argument for argument in arguments if not argument.startswith("-")), "")
        ).parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    from leastpriv.github_actions.context import exit_code_of

    return exit_code_of(
        lambda: _command(options.command)(options, stdout, console, clock),
        console,
        verbose=options.verbose,
        # A trial removes what it created, also where its terminal was closed.
        ignore_closed=options.command == "trial",
    )


def _command(name: str) -> Callable[[Namespace, TextIO, Console, Clock], int]:
    """The function of a command; only its own modules are loaded."""
    if name == "propose":
        from leastpriv.cli.propose import propose

        return propose
    if name == "roles":
        from leastpriv.cli.roles import roles

        return roles
    from leastpriv.cli import commands

    function: Callable[[Namespace, TextIO, Console, Clock], int] = getattr(commands, name)
    return function
