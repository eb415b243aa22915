"""The tools of `leastpriv mcp`, and the shell's command that answers a call of one.

A tool runs the command of the shell in a separate process, so that its answer has the same words,
a malformed file ends no server, and credentials reach no call without `--aws`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct

from leastpriv.config.inputs import EVENT_HISTORY, is_in_aws
from leastpriv.declared.files import StackFile
from leastpriv.errors import InputError, did_you_mean
from leastpriv.github_actions.context import repository_path
from leastpriv.permissions.fact_tables import table
from leastpriv.policy.source import Location

_LISTS = frozenset({"words", "files", "trails", "declared"})
_JSON_TYPES: Mapping[str, Mapping[str, Any]] = {
    "record": {"type": ["object", "array"]},
    "requests": {"type": "array", "items": {"type": "object"}, "minItems": 1},
}
_PROGRAM = "import sys; from leastpriv.cli.main import console_main; sys.exit(console_main())"
_DRAFT_PARTS = ("title", "verdict", "changes", "held_back_additions", "gaps")
"""Parts of `proposal.json` that an answer with a draft has, besides the policy."""
_OF_CHANGE = ("kind", "action", "resources", "basis", "conditions", "because", "declared_by")
_WITHOUT_AWS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_MOST_TEXT = 400_000
"""Characters of an answer's text; an agent reads no more."""


class Parameter(Struct, frozen=True):
    """One parameter of a tool."""

    name: str
    option: str
    """Of the shell's command; empty where the value is passed another way."""
    kind: str
    required: bool
    help: str

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the value."""
        own = _JSON_TYPES.get(self.kind)
        if own is not None:
            return {**own, "description": self.help}
        if self.kind in _LISTS:
            return {"type": "array", "items": {"type": "string"}, "description": self.help}
        return {"type": "string", "description": self.help}


class AgentTool(Struct, frozen=True):
    """One tool: a command of the shell whose answer is data."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {each.name: each.schema for each in self.parameters},
            "required": [each.name for each in self.parameters if each.required],
            "additionalProperties": False,
        }


class Access(Struct, frozen=True):
    """What calls of tools may read."""

    root: Path
    """Files are read below this folder alone."""
    aws: bool
    """Whether calls may ask AWS with the credentials of the environment."""
    seconds: int
    """How long one call may take."""


class ToolAnswer(Struct, frozen=True):
    """The result of a command of the shell."""

    exit_code: int
    answer: Any
    """Rows, text, or the draft of a policy, as the command prints them."""
    messages: tuple[str, ...]
    """Lines of its log."""


@cache
def tools() -> Mapping[str, AgentTool]:
    """Returns every tool by name, in the order of the table."""
    descriptions: dict[str, str] = {}
    parameters: dict[str, list[Parameter]] = {}
    for row in table("tools", __package__ or ""):
        if not row["parameter"]:
            descriptions[row["tool"]] = row["help"]
            continue
        parameter = Parameter(
            name=row["parameter"],
            option=row["option"],
            kind=row["kind"],
            required=bool(row["required"]),
            help=row["help"],
        )
        parameters.setdefault(row["tool"], []).append(parameter)
    return {
        name: AgentTool(name, description, tuple(parameters[name]))
        for name, description in descriptions.items()
    }


def answer(name: str, arguments: Mapping[str, Any], access: Access) -> ToolAnswer:
    """Runs the command of a tool's call.

    Args:
        name: the tool.
        arguments: the values of its parameters, as the client sent them.
        access: what it may read.

    Raises:
        InputError: there is no such tool or parameter, a value has another type, a file is outside
            of the root, or the call needs AWS and may not ask it.
    """
    known = tools()
    if name not in known:
        raise InputError(f"There is no tool {name!r}{did_you_mean(name, known)}.")
    _check(known[name], arguments)
    with TemporaryDirectory(prefix="leastpriv-") as folder:
        call = _Call(known[name], arguments, access, Path(folder))
        return call.answer()


def _check(tool: AgentTool, arguments: Mapping[str, Any]) -> None:
    """Compares arguments with the parameters of a tool; raises InputError."""
    parameters = {each.name: each for each in tool.parameters}
    for name, value in arguments.items():
        if name not in parameters:
            raise InputError(
                f"The tool {tool.name} has no parameter {name!r}{did_you_mean(name, parameters)}."
            )
        _check_type(parameters[name], value)
    for name, parameter in parameters.items():
        if parameter.required and not arguments.get(name):
            raise InputError(f"The tool {tool.name} needs {name}: {parameter.help}.")


def _check_type(parameter: Parameter, value: object) -> None:
    """Compares a value with the type of its parameter; raises InputError."""
    if parameter.kind in _JSON_TYPES:
        is_right = isinstance(value, (dict, list))
    elif parameter.kind in _LISTS:
        is_right = isinstance(value, list) and all(isinstance(each, str) for each in value)
    else:
        is_right = isinstance(value, str)
    if not is_right:
        expected = "a list of texts" if parameter.kind in _LISTS else "a text"
        if parameter.kind in _JSON_TYPES:
            expected = "an object or a list of objects"
        raise InputError(f"The parameter {parameter.name} is {expected}: {parameter.help}.")


class _Call:
    """One call of a tool, with a folder for what it passes to the command as files."""

    def __init__(
        self, tool: AgentTool, arguments: Mapping[str, Any], access: Access, folder: Path
    ) -> None:
        self._tool = tool
        self._arguments = arguments
        self._access = access
        self._folder = folder

    def answer(self) -> ToolAnswer:
        """Runs the command; raises InputError."""
        if self._tool.name == "needs":
            return self._needs()
        if self._tool.name == "review":
            return self._text(["propose", "--mode=review", *self._options()])
        return self._rows([self._tool.name, "--format=json", *self._options()])

    def _needs(self) -> ToolAnswer:
        """Lists what records need, or drafts what declarations need."""
        chosen = [
            name for name in ("record", "trails", "templates", "plans") if self._arguments.get(name)
        ]
        if not chosen:
            raise InputError("The tool needs one of record, trails, templates and plans.")
        if {"templates", "plans"}.isdisjoint(chosen):
            if len(chosen) > 1:
                raise InputError("The tool takes a record or trails, not both.")
            every_role = [] if self._arguments.get("role_arn") else ["--all-roles"]
            return self._rows(["permissions", "--format=json", *self._options(), *every_role])
        if "record" in chosen:
            raise InputError("The tool takes a record, or templates and plans, not both.")
        if not self._arguments.get("role_arn"):
            raise InputError("The tool needs role_arn: the role that deploys templates and plans.")
        draft = self._folder / "draft.json"
        output = self._folder / "output"
        options = [*self._options(), f"--policy-file={draft}", f"--output-dir={output}"]
        done = self._run(["propose", *options, "--mode=report", "--format=json"])
        if not done.stdout:
            return _answer_of(done, None)
        proposal = json.loads(done.stdout)
        found = {part: proposal.get(part) for part in _DRAFT_PARTS}
        found["changes"] = [
            {part: change.get(part) for part in _OF_CHANGE} for change in proposal["changes"]
        ]
        files = sorted(output.glob("policy*"))
        found["policies"] = [json.loads(file.read_bytes()) for file in files]
        return _answer_of(done, found)

    def _rows(self, command: Sequence[str]) -> ToolAnswer:
        """Runs a command whose result is JSON lines."""
        done = self._run(command)
        return _answer_of(done, [json.loads(line) for line in done.stdout.splitlines()])

    def _text(self, command: Sequence[str]) -> ToolAnswer:
        """Runs a command whose result is text."""
        done = self._run(command)
        return _answer_of(done, done.stdout[:_MOST_TEXT])

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command of the shell in the root; raises InputError where it takes too long."""
        environment = dict(os.environ)
        if not self._access.aws:
            environment = {
                name: value for name, value in environment.items() if not name.startswith("AWS_")
            }
            environment |= _WITHOUT_AWS
        # -P: the root, which is the current folder, has no module that this process imports.
        program = [sys.executable, "-P", "-c", _PROGRAM, *command]
        try:
            return subprocess.run(  # noqa: S603 - this program itself, without a shell
                program,
                cwd=self._access.root,
                env=environment,
                input=self._arguments.get("text", ""),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self._access.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"The call took more than {self._access.seconds} seconds: name fewer files, or"
                " start the server with a larger --time-limit."
            ) from None

    def _options(self) -> list[str]:
        """Returns the options of the command for the arguments that are given."""
        found: list[str] = []
        positional: list[str] = []
        for parameter in self._tool.parameters:
            value = self._arguments.get(parameter.name)
            if not value or parameter.kind == "input":
                continue
            texts = list(self._texts(parameter, value))
            if parameter.option:
                found += [f"{parameter.option}={text}" for text in texts]
            else:
                positional += texts
        return [*found, "--", *positional] if positional else found

    def _texts(self, parameter: Parameter, value: Any) -> Iterator[str]:
        """Yields the values of an option; raises InputError where one is outside of the root."""
        if parameter.kind == "record":
            records = value if isinstance(value, list) else [value]
            (self._folder / "record.json").write_text(json.dumps({"Records": records}))
            yield str(self._folder)
            return
        if parameter.kind == "requests":
            file = self._folder / "requests.json"
            file.write_text(json.dumps(value))
            yield str(file)
            return
        for text in value if isinstance(value, list) else [value]:
            for path in self._paths(parameter, text):
                repository_path(self._access.root, path, parameter.name)
            yield text

    def _paths(self, parameter: Parameter, text: str) -> tuple[str, ...]:
        """Returns the files that a value names; raises InputError where AWS would be asked."""
        if parameter.kind in ("trails", "files") and (is_in_aws(text) or text == EVENT_HISTORY):
            if not self._access.aws:
                raise InputError(
                    f"{parameter.name} names {text!r}, which AWS holds: start the server with"
                    " --aws, or name a folder."
                )
            return ()
        if parameter.kind == "declared" and parameter.name == "templates":
            return StackFile.of(text).paths
        if parameter.kind == "declared":
            return (text.partition("=")[2] or text,)
        if parameter.kind in ("file", "files", "trails"):
            return (Location.of(text).path,)
        return ()


def _answer_of(done: subprocess.CompletedProcess[str], found: Any) -> ToolAnswer:
    return ToolAnswer(done.returncode, found, tuple(done.stderr.splitlines()))
