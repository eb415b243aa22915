"""Every command of ours that help, messages, reports and documents print is one that the parser
takes, and every message that documents quote is one that the code has.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from leastpriv.cli.command_line import parser
from tests.fakes.command import leastpriv
from tests.fakes.deploys import POLICY, usual_deploys, write_trail
from tests.pages import PAGES, ROOT, blocks, inline, tokens

COMMANDS: dict[str, ArgumentParser] = next(
    dict(action.choices) for action in parser()._actions if isinstance(action, _SubParsersAction)
)
_SPAN = re.compile(r"`(leastpriv [a-z][^`]*)`")
_LINE = re.compile(r"^[ \t]*(?:run: |\$ )?(leastpriv (?:--version|[a-z]+ [^`\n]*))$", re.MULTILINE)
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""A part of a message that only a run knows."""
_END = re.compile(r"\s(?:\|\|?|&&|;|[0-9]?>+|<|#)(?=\s|$).*|[…].*", re.DOTALL)
_OF_DEVELOPMENT = "docs/decisions/", "docs/contributing/", "CHANGELOG.md", "tests/", "bench/"
_WITH_LEASTPRIV = [page for page in PAGES if not page.startswith(_OF_DEVELOPMENT)]


def _commands(text: str) -> Iterator[str]:
    joined = text.replace("\\\n", " ")
    yield from _SPAN.findall(joined)
    yield from _LINE.findall(joined)


@cache
def _texts_of_the_code() -> tuple[tuple[str, str], ...]:
    """The strings of modules that name the command, but docstrings, and the data and templates,
    with their places.
    """
    texts = []
    for path in sorted((ROOT / "leastpriv").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "leastpriv " not in re.sub(r'"""[^"]*"""', "", source):
            continue
        tree = ast.parse(source)
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inner = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            if id(node) in bare or id(node) in inner:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append((f"{path.relative_to(ROOT)}:{node.lineno}", node.value))
            if isinstance(node, ast.JoinedStr):
                parts = (
                    str(part.value) if isinstance(part, ast.Constant) else _UNKNOWN
                    for part in node.values
                )
                texts.append((f"{path.relative_to(ROOT)}:{node.lineno}", "".join(parts)))
    for pattern in ("*.tsv", "*.md", "*.html", "*.yml", "*.yaml", "*.tf"):
        for path in sorted((ROOT / "leastpriv").rglob(pattern)):
            lines = path.read_text(encoding="utf-8").splitlines()
            text = "\n".join(line for line in lines if not line.startswith("#"))
            texts.append((str(path.relative_to(ROOT)), text))
    return tuple(texts)


def _of_code() -> Iterator[tuple[str, str]]:
    for source_place, text in _texts_of_the_code():
        for command in _commands(text):
            yield source_place, command


def _of_help() -> Iterator[tuple[str, str]]:
    for name, command_parser in COMMANDS.items():
        for command in _commands(
            command_parser.format_help().replace("usage: leastpriv", "usage:")
        ):
            yield f"help of {name}", command


def _of_pages() -> Iterator[tuple[str, str]]:
    for page in _WITH_LEASTPRIV:
        for token in inline(page, "code_inline"):
            if token.content.startswith("leastpriv ") and token.content.split()[1] in COMMANDS:
                yield page, token.content
        for block in blocks(page):
            if block.language in {"sh", "console", "yaml"}:
                for command in _commands(block.text):
                    yield str(block), command


def problem_of(command: str) -> str:
    """What the parser does not take of a printed command; empty if it takes it.

    A command with a word such as `FILE` or an ellipsis is an outline: its name and its options must
    exist. A whole one is parsed.
    """
    is_outline = "…" in command or _UNKNOWN in command
    words = shlex.split(_END.sub("", command))[1:]
    if words == ["--version"]:
        return ""
    name = words[0]
    if name not in COMMANDS:
        return f"no command {name}"
    own_words = words[: words.index("--")] if "--" in words else words
    options = {option for action in COMMANDS[name]._actions for option in action.option_strings}
    given_options = {word.partition("=")[0] for word in own_words if word.startswith("--")}
    if given_options - options:
        return f"no option {', '.join(sorted(given_options - options))}"
    if is_outline or not given_options:
        return ""
    try:
        COMMANDS[name].parse_args(words[1:])
    except SystemExit:
        return "the parser refuses its arguments"
    return ""


@pytest.mark.parametrize("source", [_of_code, _of_help, _of_pages])
def test_the_parser_takes_every_printed_command(
    source: Callable[[], Iterator[tuple[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    sources = list(source())
    assert len(sources) > 4
    wrong = [
        f"{command_place}: {command}: {problem}"
        for command_place, command in sources
        if (problem := problem_of(command))
    ]
    assert wrong == [], capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("leastpriv propos --mode report", "no command propos"),
        ("leastpriv propose --polcy-file x.json", "no option --polcy-file"),
        ("leastpriv propose --mode", "the parser refuses its arguments"),
        ("leastpriv permissions --trails trail --all-roles | head", ""),
        ("leastpriv propose … --mode check", ""),
    ],
)
def test_a_wrong_command_is_found(command: str, problem: str) -> None:
    assert problem_of(command) == problem


def test_every_command_has_an_example_in_its_help() -> None:
    help_places = {help_place for help_place, _ in _of_help()}
    assert help_places == {f"help of {name}" for name in COMMANDS}


def test_the_examples_of_help_run_with_files_of_their_names(tmp_path: Path) -> None:
    """But those that talk to a person, a program or AWS: init, trial and mcp."""
    write_trail(tmp_path / "trail", usual_deploys())
    policy = json.dumps(POLICY, indent=2)
    request = {"action": "sqs:CreateQueue", "resource": "*"}
    denied = "User: arn:aws:sts::111122223333:assumed-role/ci-deploy/1 is not authorized to perform"
    files = {
        "iam/ci-deploy.json": policy,
        "out/policy.json": policy,
        "request.json": json.dumps(request),
        "deploy.log": f"{denied}: sqs:CreateQueue on resource: arn:aws:sqs:eu-west-1:111122223333:a",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    ran = []
    for example_place, example in dict.fromkeys(_of_help()):
        words = shlex.split(example.replace("123456789012", "111122223333"))[1:]
        if words[0] in {"init", "trial", "mcp"} or example_place != f"help of {words[0]}":
            continue
        with contextlib.chdir(tmp_path):
            run = leastpriv(*words)
        # The example of propose has added a permission to out/policy.json.
        assert run.code == (3 if words[0] == "contains" else 0), f"{example}: {run.err}"
        ran.append(words[0])
    assert {*ran} == {*COMMANDS} - {"init", "trial", "mcp"}


_OF_OTHERS = frozenset(
    {
        "Container action is only supported on Linux",
        "Resource not accessible by integration",
        "Members: read",
        "Report a vulnerability",
        "Allow actions created by GitHub",
        "Settings > Environments",
        "Settings > Actions > General",
        "Allow GitHub Actions to create and approve pull requests",
        "Release",
    }
)
"""Messages and settings of GitHub and the runner."""
_CODE_SIGNS = re.compile(r"[={}\[\]|$>]|--|\bleastpriv\b")


def _quoted(page: str) -> Iterator[str]:
    """The messages and headings that a page quotes: sentences in code spans, and emphasized
    names that begin with a capital.
    """
    for token in inline(page, "code_inline"):
        is_sentence = len(token.content.split()) > 2 and token.content[0].isupper()
        if is_sentence and not _CODE_SIGNS.search(token.content):
            yield token.content
    for token in tokens(page):
        for opening, inside in pairwise(token.children or []):
            is_text = opening.type == "em_open" and inside.type == "text"
            if is_text and inside.content[0].isupper():
                yield inside.content


def test_documents_quote_only_messages_that_the_code_has() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for pattern in ("*.py", "*.tsv", "*.md", "*.html")
        for path in (ROOT / "leastpriv").rglob(pattern)
    )
    # A sentence of the code continues in the next line.
    text_parts = re.sub(r"\s+", " ", re.sub(r"""["']\s*\n\s*f?["']""", "", source))
    quoted = [(page, text) for page in _WITH_LEASTPRIV for text in _quoted(page)]
    assert len(quoted) > 25
    missing = []
    for page, text in quoted:
        # A figure, and what an ellipsis stands for, are not part of the message.
        parts = [part.strip(" .:") for part in re.split(r"…|[0-9]+", text)]
        if text not in _OF_OTHERS and not all(part in text_parts for part in parts):
            missing.append(f"{page}: {text}")
    assert missing == []
