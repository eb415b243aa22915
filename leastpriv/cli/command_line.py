"""The command line: its options (`data/options.tsv`), and how a command prints its result.

Every input of the action is an option of `leastpriv propose`. Results are text, Markdown, JSON
lines and tables.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from leastpriv import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from leastpriv.report.tables import Row, TextTable

    Clock = Callable[[], datetime]
    """Returns the time that is now, aware and in UTC."""

_EXIT_CODES = "exit codes: 0 done; 1 could not do its job; 2 bad input; 3 drift found (mode check)"
_DENIALS_CODES = (
    "exit codes: 0 denials found; 1 no denials, or the job could not be done; 2 bad input"
)
_TRIAL_CODES = (
    "exit codes: 0 the command succeeds under the policy; 1 no progress, or no round left; 2 bad"
    " input"
)
_INIT_CODES = (
    "exit codes: 0 done, all checks passed; 1 could not do its job, or a check failed; 2 bad input"
)
_CONTAINS_CODES = (
    "exit codes: 0 no new access; 1 could not do its job; 2 bad input; 3 new access found"
)


def parser(only: str | None = None) -> ArgumentParser:
    """Returns the parser of the whole command; it exits with 2 on a wrong option, as argparse does.

    `only`: the command that is asked for, if there is one of this name: making all takes as long as
    starting Python.
    """
    whole = _Parser(
        prog="leastpriv",
        description=(
            "Removes the permissions a CI role does not use and adds those it was denied, with"
            " proof."
        ),
        epilog=_EXIT_CODES,
    )
    whole.add_argument("--version", action="version", version=f"leastpriv {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = [each for each in _COMMANDS if each[0] == only]
    for name, short, long, codes in asked or _COMMANDS:
        command = commands.add_parser(
            name, help=short, description=long or None, epilog=codes or None
        )
        if asked or only is None:
            _add_options(command, name)
    return whole


class _Parser(ArgumentParser):
    """Suggests the option that was meant, and rejects one that is given twice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as argparse does, but reports an unknown option with the one that is most
        alike.
        """
        found, rest = super().parse_known_args(args, namespace)
        unknown = next(
            (each.partition("=")[0] for each in rest if each.startswith("--") and each != "--"), ""
        )
        if unknown:
            from leastpriv.errors import did_you_mean

            self.error(
                f"unrecognized option {unknown}{did_you_mean(unknown, self._option_string_actions)}"
            )
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2; a choice that does not exist is reported with the one that is most
        alike.
        """
        import re

        from leastpriv.errors import did_you_mean

        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            message += did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        self.exit(2, f"{self.prog}: error: {message}\nRun `{self.prog} --help` for the options.\n")


class _StoreOnce(Action):
    """Stores the value of an option, which may be given once."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None
    ) -> None:
        given: frozenset[str] = getattr(namespace, "given_once", frozenset())
        if self.dest in given:
            parser.error(
                f"{option} is given twice: name one value. For several roles use --config."
            )
        namespace.given_once = given | {self.dest}
        setattr(namespace, self.dest, values)


EXPLAINED = (
    "role-arn", "policy-file", "also-attached", "trails", "aws-regions", "minimum-days",
    "minimum-runs",
    "minimum-confidence", "grace-days", "break-glass", "max-changes", "unseen-services",
    "resources", "keep",
    "never-add", "reviewed-refs", "unknown-refs", "evidence-branch",
)  # fmt: skip
"""Inputs that decide whether an action is kept, added or removed."""


def _add_options(command: ArgumentParser, name: str) -> None:
    """Adds the options of a command, in the order of their tables."""
    from leastpriv.permissions.fact_tables import table

    for row in table("options", __package__ or ""):
        if name not in row["commands"].split():
            continue
        if row["option"] == "inputs":
            from leastpriv.config.inputs import inputs

            for known in inputs():
                if known.name not in EXPLAINED if name == "explain" else known.step_only:
                    continue
                default = (
                    known.default if name == "explain" else known.shell_default or known.default
                )
                is_policy = name == "explain" and known.name == "policy-file"
                text = (
                    "the committed policy; without it only the evidence"
                    if is_policy
                    else known.help
                )
                _add_value(
                    command,
                    known.flag,
                    known.name,
                    known.several,
                    text + (f" (default: {default})" if default else ""),
                )
        elif row["option"] == "options":
            _add_init_options(command)
        else:
            more: dict[str, Any] = {
                key: row[key]
                for key in ("action", "metavar", "default", "dest", "nargs")
                if row[key]
            }
            if row["choices"]:
                more["choices"] = row["choices"].split(",")
            if row["required"]:
                more["required"] = True
            command.add_argument(*row["option"].split(), **more, help=row["help"])


def _add_init_options(command: ArgumentParser) -> None:
    from leastpriv.init.options import known_options
    from leastpriv.init.reader_role import DEFAULT_SOURCES, known_sources

    sources = (
        f"sources to read, one or more of {', '.join(known_sources())} (default:"
        f" {', '.join(DEFAULT_SOURCES)})"
    )
    for name, known in known_options().items():
        _add_value(command, f"--{name}", name, bool(known["several"]), known["help"] or sources)


def _add_value(command: ArgumentParser, flag: str, name: str, several: bool, text: str) -> None:
    metavar = flag.removeprefix("--").upper().replace("-", "_")
    action = "append" if several else "store"
    command.add_argument(
        flag, dest=name.replace("-", "_"), action=action, metavar=metavar, help=text
    )


_COMMANDS = (
    (
        "propose",
        "compare a policy file with what the role used and propose the change",
        "",
        _EXIT_CODES,
    ),
    ("permissions", "list the permissions that a role used, as JSON lines or a table", "", ""),
    (
        "roles",
        "list all roles of some trails, those with most to gain first",
        (
            "Lists for each role its runs, the actions that it may call and used, whether it is"
            " administrator, its riskiest unused action and the suggested next step."
        ),
        "",
    ),
    (
        "explain",
        "explain why an action is needed, kept or removed; without a role, show the facts about it",
        "",
        _EXIT_CODES,
    ),
    ("evaluate", "evaluate requests against policies, as JSON lines", "", _EXIT_CODES),
    ("contains", "check that one policy allows no more than another", "", _CONTAINS_CODES),
    (
        "denials",
        "list the denials in job logs, as JSON lines",
        (
            "Lists each distinct denial once: action, resource, the policy type that denied,"
            " whether a grant can fix it."
        ),
        _DENIALS_CODES,
    ),
    (
        "init",
        "write the reader role and the workflow, or check them",
        (
            "Writes the reader role with exactly the permissions of the chosen sources, trusted by"
            " one repository's jobs, as a CloudFormation template and as a Terraform configuration,"
            " and the workflow. On a terminal it asks for the options that are missing. With"
            " --check it tries the role and reports each denial."
        ),
        _INIT_CODES,
    ),
    (
        "trial",
        "run a command under a policy, add what it was denied, and repeat",
        (
            "Runs a command under the policy alone, extends the policy file by what was denied, and"
            " repeats until the command succeeds. Nothing permanent changes in the account."
        ),
        _TRIAL_CODES,
    ),
    (
        "mcp",
        "serve the commands as tools of an agent or editor (Model Context Protocol)",
        (
            "Serves explain, needs, review, denials, evaluate and contains over standard input and"
            " output. The tools only read files below one folder, and ask AWS only with --aws."
            " Needs the package mcp: uvx --from 'leastpriv[mcp]' leastpriv mcp."
        ),
        "",
    ),
)
"""Each command: name, short help, description, exit codes."""


def print_text(stdout: TextIO, text: str) -> None:
    """Writes a command's result, which is escaped already; characters that the encoding lacks
    become escapes.

    Raises BrokenPipeError where the reader has gone, and LeastprivError where it cannot be written,
    as on a full disk.
    """
    encoding = stdout.encoding or "utf-8"
    shown = text if text.endswith("\n") or not text else text + "\n"
    try:
        stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from leastpriv.errors import LeastprivError

        raise LeastprivError(
            f"The result cannot be written to standard output: {error.strerror}."
        ) from error


def print_markdown(stdout: TextIO, text: str) -> None:
    """Writes Markdown, rendered at a terminal; raises as `print_text`."""
    if not stdout.isatty():
        print_text(stdout, text)
        return
    # Imported here, since JSON does not need it.
    from rich.markdown import Markdown

    _print_rich(stdout, Markdown(text))


def print_rows(
    stdout: TextIO, rows: Sequence[Row], table: Callable[[Sequence[Row]], TextTable], form: str
) -> None:
    """Writes rows as JSON lines, or as a table where `form` says so; raises as `print_text`."""
    from leastpriv.report.tables import json_lines

    if form != "table":
        print_text(stdout, json_lines(rows))
    elif stdout.isatty():
        print_table(stdout, table(rows))
    else:
        print_text(stdout, str(table(rows)))


def print_table(stdout: TextIO, table: TextTable) -> None:
    """Writes a table to a terminal, in colours; raises as `print_text`."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(*table.columns, box=box.SIMPLE_HEAD)
    for line in table.cells:
        drawn.add_row(*(Text(cell, style=_COLOURS.get(cell, ""), overflow="fold") for cell in line))
    _print_rich(stdout, drawn, *map(Text, table.notes))


_COLOURS = {
    "allowed": "green",
    "implicitDeny": "red",
    "explicitDeny": "bold red",
    "unknown": "yellow",
    "no": "yellow",
}


def _print_rich(stdout: TextIO, *shown: RenderableType) -> None:
    from rich.console import Console

    whole = Console(file=stdout)
    with whole.capture() as captured:
        whole.print(*shown, sep="\n")
    print_text(stdout, captured.get())
