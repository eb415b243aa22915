"""The command line's options; every input of the action is an option of `leastpriv propose`."""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction

from leastpriv import __version__

_EXIT_CODES = "exit codes: 0 done; 1 could not do its job; 2 bad input; 3 drift found (mode check)"
_DENIALS_CODES = "exit codes: 0 there are refusals; 1 there are none, or the job could not be done; 2 bad input"
_CONTAINS_CODES = "exit codes: 0 nothing new is allowed; 1 could not do its job; 2 bad input; 3 new access found"


def parser() -> ArgumentParser:
    """The parser of the whole command; it exits with 2 on a wrong option, as argparse does."""
    whole = ArgumentParser(
        prog="leastpriv",
        description="Works out which permissions a CI role needs and proposes the policy change, with proof.",
        epilog=_EXIT_CODES,
    )
    whole.add_argument("--version", action="version", version=f"leastpriv {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_propose(commands)
    _add_permissions(commands)
    _add_explain(commands)
    _add_evaluate(commands)
    _add_contains(commands)
    _add_denials(commands)
    return whole


def _add_propose(commands: _SubParsersAction[ArgumentParser]) -> None:
    from leastpriv.inputs import INPUTS

    command = commands.add_parser(
        "propose",
        help="compare a policy file with what the role used and propose the change",
        epilog=_EXIT_CODES,
    )
    for known in INPUTS:
        if known.step_only:
            continue
        default = known.shell_default or known.default
        help_text = known.help if known.built else "not built yet"
        if default:
            help_text += f" (default: {default})"
        command.add_argument(
            known.flag,
            dest=known.name.replace("-", "_"),
            action="append" if known.several else "store",
            metavar=known.name.upper().replace("-", "_"),
            help=help_text,
        )
    command.add_argument(
        "--output-dir",
        metavar="OUT",
        help="folder for policy.json, proposal.json, patch.json, pull-request.md",
    )
    _add_common(command)


EXPLAINED = (
    "role-arn", "policy-file", "also-attached", "trails", "minimum-days", "minimum-runs", "unseen-services",
    "resources", "keep", "never-add",
)  # fmt: skip
"""Inputs that decide what becomes of an action."""


def _add_explain(commands: _SubParsersAction[ArgumentParser]) -> None:
    from leastpriv.inputs import INPUTS

    command = commands.add_parser(
        "explain",
        help="tell why an action is needed, or what would become of it in a policy; without a role what is known of it",
        epilog=_EXIT_CODES,
    )
    command.add_argument("actions", nargs="+", metavar="ACTION", help="an action like s3:PutObject, or a pattern")
    for known in INPUTS:
        if known.name in EXPLAINED:
            text = "the committed policy; without it only the evidence" if known.name == "policy-file" else known.help
            command.add_argument(
                known.flag,
                dest=known.name.replace("-", "_"),
                action="append" if known.several else "store",
                metavar=known.name.upper().replace("-", "_"),
                help=text + (f" (default: {known.default})" if known.default else ""),
            )
    _add_common(command)


def _add_permissions(commands: _SubParsersAction[ArgumentParser]) -> None:
    command = commands.add_parser("permissions", help="list the permissions that a role used, as JSON lines or a table")
    command.add_argument(
        "--trail",
        dest="trails",
        action="append",
        default=[],
        metavar="TRAIL",
        help="a folder of CloudTrail files",
    )
    command.add_argument("--role-arn", metavar="ARN", help="ARN of the role or user")
    command.add_argument("--all-roles", action="store_true", help="every role and user of the trail")
    command.add_argument(
        "--resources",
        choices=["pattern", "exact"],
        default="pattern",
        help="open what changes from run to run (default), or not",
    )
    command.add_argument("--cache", dest="cache_dir", metavar="DIR", help="not built yet")
    command.add_argument("--format", choices=["json", "table"], default="json", help="JSON lines (default) or a table")
    _add_common(command)


def _add_evaluate(commands: _SubParsersAction[ArgumentParser]) -> None:
    command = commands.add_parser("evaluate", help="decide requests by policies, as JSON lines", epilog=_EXIT_CODES)
    command.add_argument(
        "--policy",
        dest="policies",
        action="append",
        required=True,
        metavar="F",
        help="a file with an identity-based policy; several add up",
    )
    command.add_argument("--boundary", metavar="F", help="the permissions boundary")
    command.add_argument("--session-policy", metavar="F", help="the session policy")
    command.add_argument(
        "--request",
        required=True,
        metavar="R",
        help='JSON, one object or a list: {"principal", "action", "resource", "context", "context_complete"}; a '
        "resource with wildcards asks for all of it; a key that a context lacks is absent where context_complete is "
        "true, else unknown",
    )
    _add_verbose(command)


def _add_contains(commands: _SubParsersAction[ArgumentParser]) -> None:
    command = commands.add_parser(
        "contains", help="tell whether a policy allows nothing that another does not", epilog=_CONTAINS_CODES
    )
    command.add_argument("--old", required=True, metavar="A", help="a file with the policy that sets the limit")
    command.add_argument("--new", required=True, metavar="B", help="a file with the policy that has to stay within it")
    _add_verbose(command)


def _add_denials(commands: _SubParsersAction[ArgumentParser]) -> None:
    command = commands.add_parser(
        "denials",
        help="list the refusals that logs tell, as JSON lines",
        description="Lists each distinct refusal of AWS once: action, resource, who refused, whether a grant can help.",
        epilog=_DENIALS_CODES,
    )
    command.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="logs of any tool, folders of them, or zip archives as GitHub gives them; - or none: standard input",
    )
    _add_verbose(command)


def _add_common(command: ArgumentParser) -> None:
    command.add_argument("--from", dest="start", metavar="TIME", help="read from this time on (ISO 8601)")
    command.add_argument("--to", dest="end", metavar="TIME", help="read up to this time (ISO 8601)")
    _add_verbose(command)


def _add_verbose(command: ArgumentParser) -> None:
    command.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
