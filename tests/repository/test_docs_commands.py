"""The guide's marked commands run and print the shown output; all other commands exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from leastpriv.cli.command_line import parser
from tests.pages import ROOT, WITH_COMMANDS, Block, blocks, inline, of_language

FOREIGN_OPTIONS = frozenset(
    {"--endpoint-url", "--folder", "--delay", "--no-data-events", "--port", "--profile", "--help"}
    | {"--cloudformation-execution-policies", "--qualifier", "--role-arn"}
)
"""Options of the lab and of other tools in a sentence."""


def _of_parser(made: ArgumentParser) -> frozenset[str]:
    return frozenset(option for action in made._actions for option in action.option_strings)


COMMANDS: dict[str, ArgumentParser] = next(
    dict(action.choices) for action in parser()._actions if isinstance(action, _SubParsersAction)
)
OPTIONS = {name: _of_parser(command_parser) for name, command_parser in COMMANDS.items()}


def commands_of(text: str) -> Iterator[str]:
    """The `leastpriv` commands of a shell block, continued lines joined, without pipes and
    redirections.
    """
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"\s(?:\|\|?|&&|;|>+)\s", line.removeprefix("$ ")):
            if match := re.match(r"\s*(?:\.venv/bin/)?leastpriv\s+(.*)", part):
                yield re.sub(r"\s#\s.*", "", match[1])


@pytest.mark.parametrize("block", of_language("sh", "console"), ids=str)
def test_the_parser_accepts_every_command_of_a_block(block: Block) -> None:
    for command in commands_of(block.text):
        options = shlex.split(command)
        assert options[0] in COMMANDS, command
        assert {
            word.partition("=")[0] for word in _own(options) if word.startswith("--")
        } <= OPTIONS[options[0]], command
        if "…" not in command:
            parser().parse_args(options)


def _own(words: list[str]) -> list[str]:
    """The words before `--`; the command of a trial follows it."""
    return words[1 : words.index("--")] if "--" in words else words[1:]


ALL_COMMANDS_OF_AWS = frozenset({"--query", "--output", "--endpoint-url", "--region", "--profile"})
AWS_OWN = frozenset({("cloudformation", "deploy")})
"""Commands of the AWS CLI that are no operation of the API."""


@pytest.mark.parametrize(
    "block", [block for block in of_language("sh") if "aws " in block.text], ids=str
)
def test_every_command_of_the_aws_cli_and_its_options_exist(block: Block) -> None:
    """By botocore's models, from which the CLI creates its commands."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for service, command, options_text in re.findall(
            r"(?:^|[\s(])aws ([a-z0-9-]+) ([a-z-]+)(.*)", line
        ):
            if (service, command) in AWS_OWN:
                continue
            model = botocore.session.get_session().get_service_model(service)
            operation = {xform_name(name, "-"): name for name in model.operation_names}[command]
            shape = model.operation_model(operation).input_shape
            assert shape is not None
            members = {f"--{xform_name(member, '-')}" for member in shape.members}
            assert (
                set(re.findall(r"\s(--[a-z][a-z-]*)", options_text))
                <= members | ALL_COMMANDS_OF_AWS
            ), line


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_option_in_a_sentence_exists(page: str) -> None:
    everywhere = frozenset().union(*OPTIONS.values())
    for code in (token.content for token in inline(page, "code_inline")):
        words = code.split()
        if words and words[0] == "leastpriv" and len(words) > 1 and words[1] in COMMANDS:
            options = {word for word in _own(words[1:]) if re.fullmatch(r"--[a-z-]+", word)}
            assert options <= OPTIONS[words[1]], code
        elif words and re.fullmatch(r"--[a-z-]+", words[0]):
            assert words[0] in everywhere | FOREIGN_OPTIONS, code


@pytest.mark.parametrize(
    "page", sorted({block.page for block in of_language("sh") if block.mark.startswith("<!-- run")})
)
def test_the_marked_blocks_of_a_page_run_as_written_and_print_the_shown_output(
    page: str, tmp_path: Path
) -> None:
    """In order, in one folder with the examples, with `leastpriv` of this checkout and without
    other variables.
    """
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    bin_folder = Path(sys.executable).parent
    surroundings = {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        # The environment may have another checkout installed, as in a worktree.
        "PYTHONPATH": str(ROOT),
    }
    printed = ""
    for block in blocks(page):
        if block.mark.startswith("<!-- run"):
            exit_code = int(match[1]) if (match := re.search(r"exit (\d)", block.mark)) else 0
            completed = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", block.text],
                cwd=tmp_path, env=surroundings, check=False, capture_output=True, text=True,
                timeout=120,
            )  # fmt: skip
            printed = completed.stdout + completed.stderr
            assert (completed.returncode, "Traceback" in printed) == (
                exit_code,
                False,
            ), f"{block}: {printed}"
        elif block.mark == "<!-- prints -->":
            missing = [
                line
                for line in block.text.splitlines()
                if line.strip() and line.strip() not in printed
            ]
            assert missing == [], f"{block} of: {printed}"


def test_some_pages_have_blocks_that_run() -> None:
    assert len([block for block in of_language("sh") if block.mark.startswith("<!-- run")]) >= 8
