"""`leastpriv init`: asks for what is missing, writes the files, or checks them with credentials."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from leastpriv.cli.output import Clock, print_text
from leastpriv.errors import InputError
from leastpriv.github_actions.workflow_commands import Console

_WITH_COMMAS = ("sources", "trails", "aws-regions")

_QUESTIONS = (
    ("repository", "GitHub repository (OWNER/NAME)", "", ""),
    ("role-arn", "ARNs of the roles whose permissions are measured, with blanks between them", "", ""),
    (
        "policy-file",
        "Their policies in the repository (FILE, main.tf#ADDRESS, template.yaml#/POINTER; empty: no file yet)",
        "",
        "",
    ),
    ("environment", "GitHub environment of the job that assumes the reader role (empty: none)", "", ""),
    ("branch", "Branch of that job", "main", "no environment"),
    (
        "trails",
        "Records: event-history, s3://BUCKET/PREFIX, s3://BUCKET/PREFIX/AWSLogs/ORGANIZATION or log-group:NAME",
        "event-history",
        "",
    ),
    ("kms-key-arn", "ARN of the key that encrypts the trail (empty: none)", "", "s3"),
    ("trail-account", "Account of the bucket (empty: that of the role)", "", "s3"),
    ("athena-table", "Athena table over the trail (WORKGROUP/DATABASE.TABLE; empty: read the files)", "", "s3"),
    ("athena-results", "Where the workgroup writes results (s3://BUCKET/PREFIX)", "", "athena"),
)
"""Option, question, default, and the earlier answer that makes the question needless or needed."""


def init(options: Namespace, stdout: TextIO, console: Console, clock: Clock) -> int:  # noqa: ARG001
    """Writes the reader role and the workflow, or checks them."""
    from leastpriv.init.options import OPTIONS, parse_options
    from leastpriv.init.render import command_options, next_steps, render_files, write_files

    given: dict[str, Sequence[str]] = {
        name: _values(name, getattr(options, name.replace("-", "_"))) for name in OPTIONS
    }
    if sys.stdin.isatty() and not (given["repository"] and given["role-arn"]):
        given = ask(given, lambda prompt: _answer(prompt, sys.stdin, sys.stderr), console.error)
        console.log(f"Without questions: leastpriv init {command_options(given)}")
    target = parse_options(given)
    if options.check:
        from leastpriv.init.check import check_rows, check_setup

        checks = list(check_setup(target, os.environ))
        print_text(stdout, check_rows(checks))
        return int(any(each.works is False for each in checks))
    found = render_files(target)
    write_files(found, Path(options.output_dir), overwrite=options.overwrite)
    for number, step in enumerate(next_steps(target, found, given), start=1):
        for line in f"{number}. {step}".split("\n"):
            console.log(line)
    return 0


def _values(name: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Returns the values of an option, of which some are lists with commas."""
    texts = (given,) if isinstance(given, str) else given or ()
    if name not in _WITH_COMMAS:
        return tuple(text for text in texts if text)
    return tuple(each for text in texts for each in re.split(r"[,\s]+", text) if each)


def ask(
    given: Mapping[str, Sequence[str]], answer: Callable[[str], str], report: Callable[[str], None]
) -> dict[str, Sequence[str]]:
    """Asks for each option that is not given, again after a wrong answer; returns all options."""
    from leastpriv.init.options import check_option

    found = dict(given)
    for name, question, default, needs in _QUESTIONS:
        skipped = {
            "no environment": bool(found["environment"]),
            "s3": not any(each.startswith("s3://") for each in found["trails"]),
            "athena": not found["athena-table"],
        }
        while not found[name] and not skipped.get(needs, False):
            said = answer(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
            words = (said,) if name == "environment" and said else tuple(said.split())
            try:
                found[name] = tuple(check_option(name, each) for each in words)
            except InputError as error:
                report(str(error))
                continue
            if said or name not in ("repository", "role-arn"):
                break
    return found


def _answer(prompt: str, stdin: TextIO, stderr: TextIO) -> str:
    stderr.write(prompt)
    stderr.flush()
    line = stdin.readline()
    if not line:
        raise InputError("The answers ended: name the options, or answer on a terminal.")
    return line
