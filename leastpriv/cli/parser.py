"""The command line's options; every input of the action is an option of `leastpriv propose`."""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from typing import Any, NoReturn

from leastpriv import __version__

_EXIT_CODES = "exit codes: 0 done; 1 could not do its job; 2 bad input; 3 drift found (mode check)"
_DENIALS_CODES = "exit codes: 0 denials found; 1 no denials, or the job could not be done; 2 bad input"
_TRIAL_CODES = "exit codes: 0 the command succeeds under the policy; 1 no progress, or no round left; 2 bad input"
_INIT_CODES = "exit codes: 0 done, all checks passed; 1 could not do its job, or a check failed; 2 bad input"
_CONTAINS_CODES = "exit codes: 0 no new access; 1 could not do its job; 2 bad input; 3 new access found"


def parser(only: str | None = None) -> ArgumentParser:
    """Returns the parser of the whole command; it exits with 2 on a wrong option, as argparse does.

    `only`: the command that is asked for, if there is one of this name: making all takes as long as starting Python.
    """
    whole = _Parser(
        prog="leastpriv",
        description="Removes the permissions a CI role does not use and adds those it was denied, with proof.",
        epilog=_EXIT_CODES,
    )
    whole.add_argument("--version", action="version", version=f"leastpriv {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = [each for each in _COMMANDS if each[0] == only]
    for name, add_options, short, long, codes in asked or _COMMANDS:
        command = commands.add_parser(name, help=short, description=long or None, epilog=codes or None)
        if asked or only is None:
            add_options(command)
    return whole


class _Parser(ArgumentParser):
    """Suggests the option that was meant, and rejects one that is given twice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as argparse does, but reports an unknown option with the one that is most alike."""
        found, rest = super().parse_known_args(args, namespace)
        unknown = next((each for each in rest if each.startswith("--") and each != "--"), "")
        if unknown:
            self.error(f"unrecognized option {unknown.partition('=')[0]}{self._meant(unknown)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2; a choice that does not exist is reported with the one that is most alike."""
        import re

        from leastpriv.errors import did_you_mean

        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            message += did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        super().error(message)

    def _meant(self, option: str) -> str:
        from leastpriv.errors import did_you_mean

        return did_you_mean(option.partition("=")[0], self._option_string_actions)


class _StoreOnce(Action):
    """Stores the value of an option, which may be given once."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option: str | None = None) -> None:
        given: frozenset[str] = getattr(namespace, "given_once", frozenset())
        if self.dest in given:
            parser.error(f"{option} is given twice: name one value. For several roles use --config.")
        namespace.given_once = given | {self.dest}
        setattr(namespace, self.dest, values)


def _add_propose(command: ArgumentParser) -> None:
    from leastpriv.config.inputs import INPUTS

    for known in INPUTS:
        if known.step_only:
            continue
        default = known.shell_default or known.default
        command.add_argument(
            known.flag,
            dest=known.name.replace("-", "_"),
            action="append" if known.several else "store",
            metavar=known.flag.removeprefix("--").upper().replace("-", "_"),
            help=known.help + (f" (default: {default})" if default else ""),
        )
    command.add_argument(
        "--output-dir",
        metavar="OUT",
        help="folder for policy.json, proposal.json, patch.json, pull-request.md",
    )
    command.add_argument(
        "--discover",
        action="store_true",
        help="draft first policy files for the roles that this one reaches, with a config that names them",
    )
    command.add_argument(
        "--format",
        choices=["markdown", "json"],
        default="markdown",
        help="the text of the pull request (default), or the content of proposal.json",
    )
    _add_common(command)


EXPLAINED = (
    "role-arn", "policy-file", "also-attached", "trails", "aws-regions", "minimum-days", "minimum-runs",
    "minimum-confidence", "grace-days", "break-glass", "max-changes", "unseen-services", "resources", "keep",
    "never-add", "unknown-refs", "evidence-branch",
)  # fmt: skip
"""Inputs that decide whether an action is kept, added or removed."""


def _add_explain(command: ArgumentParser) -> None:
    from leastpriv.config.inputs import INPUTS

    command.add_argument("actions", nargs="+", metavar="ACTION", help="an action like s3:PutObject, or a pattern")
    for known in INPUTS:
        if known.name in EXPLAINED:
            text = "the committed policy; without it only the evidence" if known.name == "policy-file" else known.help
            command.add_argument(
                known.flag,
                dest=known.name.replace("-", "_"),
                action="append" if known.several else "store",
                metavar=known.flag.removeprefix("--").upper().replace("-", "_"),
                help=text + (f" (default: {known.default})" if known.default else ""),
            )
    command.add_argument(
        "--format", choices=["text", "json"], default="text", help="text (default), or one JSON line per action"
    )
    _add_common(command)


def _add_permissions(command: ArgumentParser) -> None:
    command.add_argument(
        "--trails",
        action="append",
        default=[],
        metavar="TRAIL",
        help="a folder of CloudTrail files, s3://BUCKET/PREFIX, a trail's ARN, or event-history",
    )
    command.add_argument(
        "--aws-regions",
        action="append",
        default=[],
        metavar="REGION",
        help="a region whose event history is read",
    )
    command.add_argument("--role-arn", metavar="ARN", help="ARN of the role or user")
    command.add_argument("--all-roles", action="store_true", help="every role and user of the trail")
    command.add_argument(
        "--resources",
        choices=["pattern", "exact"],
        default="pattern",
        help="replace the parts of names that change from run to run (default), or write exact names",
    )
    command.add_argument("--cache-dir", metavar="DIR", help="folder that keeps the calls read from trails between runs")
    _add_format(command)
    _add_common(command)


def _add_evaluate(command: ArgumentParser) -> None:
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
    _add_format(command)
    _add_verbose(command)


def _add_contains(command: ArgumentParser) -> None:
    for flag, letter, what in (("--old", "A", "sets the limit"), ("--new", "B", "must not exceed it")):
        command.add_argument(
            flag,
            action="append",
            required=True,
            metavar=letter,
            help=f"a file with the policy that {what}; several add up, as those of one role",
        )
    _add_format(command)
    _add_verbose(command)


def _add_denials(command: ArgumentParser) -> None:
    command.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="logs of any tool, folders, or zip archives from GitHub; - or no file: standard input",
    )
    _add_format(command)
    _add_verbose(command)


def _add_trial(command: ArgumentParser) -> None:
    command.add_argument("--role-arn", default="", metavar="ARN", help="ARN of the role or user")
    command.add_argument("--policy-file", default="", metavar="F", help="the policy file that is tried and extended")
    command.add_argument(
        "--also-attached",
        action="append",
        metavar="F",
        help="another policy that is attached to the role; tried with it, not changed",
    )
    command.add_argument(
        "--strategy",
        choices=["session-policy", "trial-role"],
        help="session-policy: the role itself, narrowed by the policy (default for a role); trial-role: a temporary "
        "role with the policy alone (default for a user)",
    )
    command.add_argument("--max-rounds", default="10", metavar="N", help="how often the command is run (default: 10)")
    command.add_argument(
        "--trails",
        action="append",
        metavar="TRAIL",
        help="where records of the command's calls arrive: a folder of CloudTrail log files, or event-history",
    )
    command.add_argument(
        "--wait-for-records",
        dest="wait",
        default="0",
        metavar="SECONDS",
        help="how long to wait for details of denials, and for records if the output names no denial (default: 0)",
    )
    command.add_argument(
        "--settle",
        default="10",
        metavar="SECONDS",
        help="how long to wait after a change of the temporary role (default: 10)",
    )
    command.add_argument("--never-add", action="append", metavar="ACTION", help="an action that is never added")
    command.add_argument("--clean-up", action="store_true", help="remove what an interrupted trial left in the account")
    _add_verbose(command)
    command.add_argument("argv", nargs="*", metavar="COMMAND", help="after --: the command and its arguments")


_INIT = {
    "repository": "the repository whose jobs may assume the reader role, as OWNER/NAME",
    "role-arn": "ARN of a role or user whose permissions are measured, or with * several roles; several make a config, "
    "several accounts a StackSet and a matrix",
    "policy-file": "its policy in the repository: a file, main.tf#ADDRESS or template.yaml#/POINTER (default: "
    "iam/ROLE.json, which is drafted if it does not exist)",
    "branch": "a branch whose jobs may assume the reader role (default: main)",
    "environment": "a GitHub environment whose jobs may; the workflow's job gets it",
    "tag": "a tag, or a pattern of tags, whose jobs may; its push starts the workflow",
    "subject": "a subject as a token has it, where the organization customized them; replaces the three",
    "issuer": "issuer of the tokens, HOSTNAME/_services/token for an Enterprise Server (default: github.com's)",
    "region": "region of the workflow's credentials",
    "aws-regions": "a region in which the roles work; others are not read",
    "trails": "event-history, s3://BUCKET/PREFIX, s3://BUCKET/PREFIX/AWSLogs/ORGANIZATION or log-group:NAME",
    "trail-account": "account of the trail's bucket, if it is another one",
    "kms-key-arn": "ARN of the key that encrypts the trail",
    "athena-table": "the input athena-table",
    "athena-results": "where the workgroup writes query results, s3://BUCKET/PREFIX",
    "access-analyzer": "the input access-analyzer: two ARNs, with a blank between them",
    "hub-account": "account whose reader role assumes those of the others, so that one run reads all (event history)",
    "action": "the action, as OWNER/NAME@COMMIT (default: the commit of this leastpriv)",
}


def _add_init(command: ArgumentParser) -> None:
    command.add_argument(
        "--output-dir", default=".", metavar="D", help="folder for the files (default: the current one)"
    )
    sources = command.add_argument("--sources", action="append", default=[], metavar="SOURCE", help="%(what)s")
    sources.what = _Sources()  # type: ignore[attr-defined] # argparse fills help from what an option has
    several = ("role-arn", "policy-file", "branch", "environment", "tag", "subject", "aws-regions", "trails")
    for name, text in _INIT.items():
        action = "append" if name in several else "store"
        command.add_argument(f"--{name}", action=action, metavar=name.upper().replace("-", "_"), help=text)
    command.add_argument("--overwrite", action="store_true", help="replace existing files")
    command.add_argument(
        "--check",
        action="store_true",
        help="write nothing: try with these credentials, or with the job's token, what the files allow",
    )
    _add_verbose(command)


def _add_format(command: ArgumentParser) -> None:
    command.add_argument("--format", choices=["json", "table"], default="json", help="JSON lines (default) or a table")


def _add_common(command: ArgumentParser) -> None:
    command.add_argument("--from", dest="start", metavar="TIME", help="read from this time on (ISO 8601)")
    command.add_argument("--to", dest="end", metavar="TIME", help="read up to this time (ISO 8601)")
    _add_verbose(command)


def _add_verbose(command: ArgumentParser) -> None:
    command.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")


class _Sources:
    """The help of `--sources`, rendered when it is shown: it reads the tables of grants."""

    def __str__(self) -> str:
        from leastpriv.init.reader_role import DEFAULT_SOURCES, known_sources

        return f"sources to read, one or more of {', '.join(known_sources())} (default: {', '.join(DEFAULT_SOURCES)})"


_COMMANDS = (
    ("propose", _add_propose, "compare a policy file with what the role used and propose the change", "", _EXIT_CODES),
    ("permissions", _add_permissions, "list the permissions that a role used, as JSON lines or a table", "", ""),
    (
        "explain",
        _add_explain,
        "explain why an action is needed, kept or removed; without a role, show the facts about it",
        "",
        _EXIT_CODES,
    ),
    ("evaluate", _add_evaluate, "evaluate requests against policies, as JSON lines", "", _EXIT_CODES),
    ("contains", _add_contains, "check that one policy allows no more than another", "", _CONTAINS_CODES),
    (
        "denials",
        _add_denials,
        "list the denials in job logs, as JSON lines",
        "Lists each distinct denial once: action, resource, the policy type that denied, whether a grant can fix it.",
        _DENIALS_CODES,
    ),
    (
        "init",
        _add_init,
        "write the reader role and the workflow, or check them",
        "Writes the reader role with exactly the permissions of the chosen sources, trusted by one repository's jobs, "
        "as a CloudFormation template and as a Terraform configuration, and the workflow. On a terminal it asks for "
        "what is not given. With --check it tries the role and reports what is denied.",
        _INIT_CODES,
    ),
    (
        "trial",
        _add_trial,
        "run a command under a policy, add what it was denied, and repeat",
        "Runs a command under the policy alone, extends the policy file by what was denied, and repeats until the "
        "command succeeds. Nothing permanent changes in the account.",
        _TRIAL_CODES,
    ),
)
"""Each command: name, function that adds its options, short help, description, exit codes."""
