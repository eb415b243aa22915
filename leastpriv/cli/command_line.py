"""The command line: its options (`data/options.tsv`), and how a command prints its result.

Every input of the action is an option of `leastpriv propose`. Results are text, Markdown, JSON
lines and tables.
"""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TextIO

from leastpriv import __version__

if TYPE_CHECKING:
    from argparse import _ArgumentGroup
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from leastpriv.config.inputs import Input
    from leastpriv.report.tables import Row, TextTable

    Clock = Callable[[], datetime]
    """Returns the time that is now, aware and in UTC."""

_DONE = "0 done; 1 could not do its job; 2 bad input"


def parser(only: str | None = None) -> ArgumentParser:
    """Returns the parser of the whole command; it exits with 2 on a wrong option, as argparse does.

    `only`: the command that is asked for, if there is one of this name: making all takes as long as
    starting Python.
    """
    whole_parser = _Parser(
        prog="leastpriv",
        description=(
            "Removes the permissions a CI role does not use and adds those it was denied, with"
            " proof."
        ),
        epilog=_SUMMARY,
        formatter_class=RawDescriptionHelpFormatter,
    )
    whole_parser.add_argument("--version", action="version", version=f"leastpriv {__version__}")
    commands = whole_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked_commands = [command for command in _COMMANDS if command.name == only]
    for command in asked_commands or _COMMANDS:
        command_parser = commands.add_parser(
            command.name,
            help=command.short,
            usage=f"leastpriv {command.name} [OPTIONS] {command.arguments}".rstrip(),
            description=command.description or None,
            epilog=f"example:\n  {command.example}\n\nexit codes: {command.exit_codes}",
            formatter_class=RawDescriptionHelpFormatter,
        )
        if asked_commands or only is None:
            _add_options(command_parser, command.name)
    return whole_parser


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
        parsed, unknown_arguments = super().parse_known_args(args, namespace)
        unknown = next(
            (
                argument.partition("=")[0]
                for argument in unknown_arguments
                if argument.startswith("--") and argument != "--"
            ),
            "",
        )
        if unknown:
            from leastpriv.errors import did_you_mean

            self.error(
                f"unrecognized option {unknown}{did_you_mean(unknown, self._option_string_actions)}"
            )
        return parsed, unknown_arguments

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
        given_options: frozenset[str] = getattr(namespace, "given_once", frozenset())
        if self.dest in given_options:
            remedy = "name one value."
            if self.dest == "role_arn":
                remedy = "write several roles in one value, each on a line, or use --config."
            parser.error(f"{option} is given twice: {remedy}")
        namespace.given_once = given_options | {self.dest}
        setattr(namespace, self.dest, values)


EXPLAINED = (
    "role-arn", "policy-file", "also-attached", "trails", "aws-regions", "minimum-days",
    "minimum-runs", "minimum-confidence", "grace-days", "break-glass", "max-changes",
    "unseen-services", "resources", "keep", "never-add", "reviewed-refs", "unknown-refs",
    "evidence-branch",
)  # fmt: skip
"""Inputs that decide whether an action is kept, added or removed."""


def _add_options(command: ArgumentParser, name: str) -> None:
    """Adds the options of a command under their headings, in the order of their tables."""
    from leastpriv.permissions.fact_tables import table

    groups: dict[str, _ArgumentGroup] = {}

    def group(title: str) -> _ArgumentGroup:
        if title not in groups:
            groups[title] = command.add_argument_group(title)
        return groups[title]

    for row in table("options", __package__ or ""):
        if name not in row["commands"].split():
            continue
        if row["option"] == "inputs":
            _add_inputs(name, group)
        elif row["option"] == "options":
            _add_init_options(group)
        else:
            _add_option(group(row["group"] or "Options"), row)


def _add_option(group: _ArgumentGroup, row: Mapping[str, str]) -> None:
    """Adds the option of a row of the table; an empty cell leaves argparse's default."""
    parameters: dict[str, Any] = {
        key: row[key] for key in ("action", "metavar", "default", "dest", "nargs") if row[key]
    }
    if row["choices"]:
        parameters["choices"] = row["choices"].split(",")
    if row["required"]:
        parameters["required"] = True
    group.add_argument(*row["option"].split(), **parameters, help=row["help"].replace("%", "%%"))


def _add_inputs(name: str, group: Callable[[str], _ArgumentGroup]) -> None:
    """Adds the inputs of the action, for `explain` those that decide about an action."""
    from leastpriv.config.inputs import inputs

    is_explain = name == "explain"
    for declared in inputs():
        is_offered = declared.name in EXPLAINED if is_explain else not declared.step_only
        if not is_offered:
            continue
        default = declared.default if is_explain else declared.shell_default or declared.default
        text = declared.shell_help
        if is_explain and declared.name == "policy-file":
            text = "the committed policy; without it only the evidence"
        if default:
            text += f" (default: {default}{_in_action(declared)})"
        _add_value(
            group(declared.group),
            declared.flag,
            dest=declared.name,
            several=declared.several,
            text=text,
            choices=declared.choices,
        )


def _in_action(known: Input) -> str:
    """Returns the default of the action where that of the command differs."""
    return f"; in the action {known.default}" if known.shell_default else ""


def _add_init_options(group: Callable[[str], _ArgumentGroup]) -> None:
    """Adds the options of `init`; the help of `--sources` is made here, as it lists the sources
    that the code knows.
    """
    from leastpriv.init.options import known_options
    from leastpriv.init.reader_role import DEFAULT_SOURCES, known_sources

    sources = (
        f"sources to read, one or more of {', '.join(known_sources())} (default:"
        f" {', '.join(DEFAULT_SOURCES)})"
    )
    for name, declared in known_options().items():
        _add_value(
            group(declared["group"]),
            f"--{name}",
            dest=name,
            several=bool(declared["several"]),
            text=sources if name == "sources" else declared["help"],
        )


def _add_value(
    group: _ArgumentGroup,
    flag: str,
    *,
    dest: str,
    several: bool,
    text: str,
    choices: Sequence[str] = (),
) -> None:
    """Adds an option; its choices are shown, and checked with the other values."""
    metavar = flag.removeprefix("--").upper().replace("-", "_")
    group.add_argument(
        flag,
        dest=dest.replace("-", "_"),
        action="append" if several else "store",
        metavar=f"{{{','.join(choices)}}}" if choices else metavar,
        help=text.replace("%", "%%"),
    )


class _Command(NamedTuple):
    """A command in the help."""

    name: str
    short: str
    example: str
    exit_codes: str = _DONE
    description: str = ""
    arguments: str = ""
    """What follows the options."""


_COMMANDS = (
    _Command(
        name="propose",
        short="compare a policy file with what the role used and propose the change",
        example=(
            "leastpriv propose --role-arn arn:aws:iam::123456789012:role/ci-deploy \\\n"
            "    --policy-file iam/ci-deploy.json --trails trail --output-dir out"
        ),
        exit_codes=f"{_DONE}; 3 check found drift, or review calls that would be denied",
    ),
    _Command(
        name="permissions",
        short="list the permissions that a role used",
        example="leastpriv permissions --trails trail --all-roles",
    ),
    _Command(
        name="roles",
        short="list all roles of some trails, those with most to gain first",
        example="leastpriv roles --trails trail",
        description=(
            "Lists for each role its runs, the actions that it may call and used, whether it is\n"
            "administrator, its riskiest unused action and the suggested next step."
        ),
    ),
    _Command(
        name="explain",
        short="explain why an action is needed, kept or removed",
        example="leastpriv explain s3:PutObject",
        arguments="ACTION ...",
        description="Without a role, it shows the facts about the action.",
    ),
    _Command(
        name="evaluate",
        short="evaluate requests against policies",
        example="leastpriv evaluate --policy iam/ci-deploy.json --request request.json",
    ),
    _Command(
        name="contains",
        short="check that one policy allows no more than another",
        example="leastpriv contains --old iam/ci-deploy.json --new out/policy.json",
        exit_codes=f"{_DONE}; 3 new access found",
    ),
    _Command(
        name="denials",
        short="list the denials in job logs",
        example="leastpriv denials deploy.log",
        arguments="[FILE ...]",
        exit_codes="0 denials found; 1 no denials, or the job could not be done; 2 bad input",
        description=(
            "Lists each distinct denial once: action, resource, the policy type that denied, and\n"
            "whether a grant can fix it."
        ),
    ),
    _Command(
        name="init",
        short="write the reader role and the workflow, or check them",
        example=(
            "leastpriv init --role-arn arn:aws:iam::123456789012:role/ci-deploy \\\n"
            "    --repository acme/shop"
        ),
        exit_codes=(
            "0 done, all checks passed; 1 could not do its job, or a check failed; 2 bad input"
        ),
        description=(
            "Writes the reader role with exactly the permissions of the chosen sources, trusted\n"
            "by one repository's jobs, as a CloudFormation template and as a Terraform\n"
            "configuration, and the workflow. On a terminal it asks for the options that are\n"
            "missing. With --check it tries the role and reports each denial."
        ),
    ),
    _Command(
        name="trial",
        short="run a command under a policy, add what it was denied, and repeat",
        example=(
            "leastpriv trial --role-arn arn:aws:iam::123456789012:role/ci-deploy \\\n"
            "    --policy-file iam/ci-deploy.json -- terraform apply"
        ),
        arguments="-- COMMAND",
        exit_codes=(
            "0 the command succeeds under the policy; 1 no progress, or no round left; 2 bad input"
        ),
        description=(
            "Runs a command under the policy alone, extends the policy file by what was denied,\n"
            "and repeats until the command succeeds. Nothing permanent changes in the account."
        ),
    ),
    _Command(
        name="mcp",
        short="serve the commands as tools of an agent or editor (Model Context Protocol)",
        example="leastpriv mcp --root .",
        description=(
            "Serves explain, needs, review, denials, evaluate and contains over standard input\n"
            "and output. The tools only read files below one folder, and ask AWS only with --aws.\n"
            "Needs the package mcp: uvx --from 'leastpriv[mcp]' leastpriv mcp."
        ),
    ),
)
_SUMMARY = """example:
  leastpriv denials deploy.log

`leastpriv COMMAND --help` has the options, an example and the exit codes of a command."""


def print_text(stdout: TextIO, text: str) -> None:
    """Writes a command's result, which is escaped already; characters that the encoding lacks
    become escapes.

    Raises BrokenPipeError where the reader has gone, and LeastprivError where it cannot be written,
    as on a full disk.
    """
    encoding = stdout.encoding or "utf-8"
    ended_text = text if text.endswith("\n") or not text else text + "\n"
    try:
        stdout.write(ended_text.encode(encoding, "backslashreplace").decode(encoding))
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

    # The default theme puts code on black.
    _print_rich(stdout, Markdown(text, code_theme="ansi_dark", inline_code_theme="ansi_dark"))


def check_folder(name: str, flag: str) -> None:
    """Raises InputError where an option names a file instead of a folder to write into."""
    from pathlib import Path

    from leastpriv.errors import InputError

    if name and Path(name).exists() and not Path(name).is_dir():
        raise InputError(f"{flag} is {name!r}, which is a file: name a folder.")


def shows_table(stdout: TextIO, form: str) -> bool:
    """Whether rows are shown as a table: where `form` says so, and without a form at a terminal."""
    return form == "table" or (not form and stdout.isatty())


def print_rows(
    stdout: TextIO, rows: Sequence[Row], table: Callable[[Sequence[Row]], TextTable], form: str
) -> None:
    """Writes rows as a table or as JSON lines (`shows_table`); raises as `print_text`."""
    from leastpriv.report.tables import json_lines

    if not shows_table(stdout, form):
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
    """Renders with rich, and writes by `print_text`, which handles a closed pipe, a full disk and
    characters that the encoding lacks.
    """
    from rich.console import Console
    from rich.theme import Theme

    console = Console(file=stdout, theme=Theme({"markdown.code": "cyan"}))
    with console.capture() as captured:
        console.print(*shown, sep="\n")
    print_text(stdout, captured.get())
