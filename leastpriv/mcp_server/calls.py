"""Runs the shell's command that answers a call of a tool.

A tool runs the command of the shell in a separate process, so that its answer has the same words,
a malformed file ends no server, and credentials reach no call without `--aws`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct

from leastpriv.config.inputs import EVENT_HISTORY, is_in_aws
from leastpriv.declared.files import StackFile
from leastpriv.errors import InputError, did_you_mean
from leastpriv.github_actions.context import repository_path
from leastpriv.mcp_server.answers import ToolAnswer, of_draft, of_failure, of_rows, of_text
from leastpriv.mcp_server.tools import AgentTool, Parameter, check_arguments, tools
from leastpriv.policy.source import Location

_PROGRAM = """import signal, sys
from leastpriv.process_limits import limit_process
limit_process()
signal.alarm({seconds})
from leastpriv.cli.main import console_main
sys.exit(console_main())"""
"""The alarm ends a process whose server was killed."""
_SECONDS_MORE = 5
"""The server ends a process before its alarm does."""
_MOST_TEXT = 50_000_000
"""Bytes of a command's output that are read."""
_WITHOUT_AWS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Access(Struct, frozen=True):
    """What calls of tools may read."""

    root: Path
    """Files are read below this folder alone."""
    aws: bool
    """Whether calls may ask AWS with the credentials of the environment."""
    seconds: int
    """How long one call may take."""


async def answer(name: str, arguments: Mapping[str, Any], access: Access) -> ToolAnswer:
    """Runs the command of a tool's call; ends its process where the call is cancelled.

    Args:
        name: the tool.
        arguments: the values of its parameters, as the client sent them.
        access: what it may read.

    Raises:
        InputError: there is no such tool or parameter, a value has another type, a file is outside
            of the root, or the call needs AWS and may not ask it.
    """
    known_tools = tools()
    if name not in known_tools:
        raise InputError(f"There is no tool {name!r}{did_you_mean(name, known_tools)}.")
    tool = known_tools[name]
    check_arguments(tool, arguments)
    with TemporaryDirectory(prefix="leastpriv-", ignore_cleanup_errors=True) as folder:
        call = _Call(tool, arguments, access, Path(folder))
        tool_answer = await call.answer()
        tool_answer = tool_answer.written(call.without_own_files)
        messages = tuple(in_words_of_tool(tool, message) for message in tool_answer.messages)
        return ToolAnswer(tool_answer.exit_code, tool_answer.answer, messages)


def in_words_of_tool(tool: AgentTool, message: str) -> str:
    """Returns a message of the shell's command with the parameters of the tool."""
    for parameter in tool.parameters:
        if not parameter.option:
            continue
        name = parameter.option.removeprefix("--")
        input_words = rf"\bThe (?:input|option) {name}(?![\w-])"
        message = re.sub(input_words, f"The parameter {parameter.name}", message)
        # A value that looks like an option, as `--trails=x`, remains.
        message = re.sub(rf"(?<![\w-])--{name}(?![\w=-])", parameter.name, message)
        if "-" in name:
            message = re.sub(rf"(?<![\w-]){name}(?![\w-])", parameter.name, message)
    return message


class _Finished(Struct, frozen=True):
    """A command that ended."""

    exit_code: int
    output: Path
    log: str

    def lines(self) -> Iterator[str]:
        """Yields the lines of the output."""
        with self.output.open(encoding="utf-8", errors="replace") as file:
            yield from file

    def text(self) -> str:
        """Returns the output."""
        with self.output.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_TEXT)


class _Call:
    """One call of a tool, with a folder for what it passes to the command as files."""

    def __init__(
        self, tool: AgentTool, arguments: Mapping[str, Any], access: Access, folder: Path
    ) -> None:
        self._tool = tool
        self._arguments = arguments
        self._access = access
        self._folder = folder

    async def answer(self) -> ToolAnswer:
        """Runs the command; raises InputError."""
        if self._tool.name == "needs":
            return await self._needs()
        if self._tool.name == "review":
            run = await self._run(["propose", "--mode=review", *self._options()])
            return of_text(self._tool, run.exit_code, run.text(), run.log)
        if self._tool.name == "denials":
            self._check_log()
        return await self._rows([self._tool.name, "--format=json", *self._options()])

    def without_own_files(self, text: str) -> str:
        """Returns a text of the command that names parameters in place of files of the call."""
        text = text.replace(str(self._folder / "requests.json"), "requests")
        return re.sub(rf"{re.escape(str(self._folder))}[\w./-]*", "record", text)

    def _check_log(self) -> None:
        """Raises InputError where the tool `denials` gets no log, or two."""
        if bool(self._arguments.get("text")) == bool(self._arguments.get("files")):
            raise InputError("The tool denials needs text or files: name one of them, not both.")

    async def _needs(self) -> ToolAnswer:
        """Lists what records need, or drafts what declarations need; raises InputError.

        Records are `record` or `trails`. Declarations are `templates`, `plans` or both, also next
        to `trails`, whose use the draft counts too.
        """
        chosen = {
            name for name in ("record", "trails", "templates", "plans") if self._arguments.get(name)
        }
        if not chosen:
            raise InputError("The tool needs one of record, trails, templates and plans.")
        has_declarations = bool(chosen & {"templates", "plans"})
        if not has_declarations:
            return await self._listed_needs(has_both="record" in chosen and "trails" in chosen)
        if "record" in chosen:
            raise InputError("The tool takes a record, or templates and plans, not both.")
        return await self._drafted_needs()

    async def _listed_needs(self, *, has_both: bool) -> ToolAnswer:
        """Lists what the calls of records need: of one role, or of every role in them."""
        if has_both:
            raise InputError("The tool takes a record or trails, not both.")
        options_of_all = [] if self._arguments.get("role_arn") else ["--all-roles"]
        return await self._rows(["permissions", "--format=json", *self._options(), *options_of_all])

    async def _drafted_needs(self) -> ToolAnswer:
        """Drafts the policy of the role that deploys the declarations."""
        if not self._arguments.get("role_arn"):
            raise InputError("The tool needs role_arn: the role that deploys templates and plans.")
        draft = self._folder / "draft.json"
        output = self._folder / "output"
        options = [*self._options(), f"--policy-file={draft}", f"--output-dir={output}"]
        run = await self._run(["propose", *options, "--mode=report", "--format=json"])
        if run.exit_code != 0:
            return of_failure(run.exit_code, run.log)
        policies = [json.loads(file.read_bytes()) for file in sorted(output.glob("policy*"))]
        return of_draft(self._tool, json.loads(run.text()), policies, run.log)

    async def _rows(self, command: Sequence[str]) -> ToolAnswer:
        """Runs a command whose result is JSON lines."""
        run = await self._run(command)
        return of_rows(self._tool, run.exit_code, run.lines(), run.log)

    async def _run(self, command: Sequence[str]) -> _Finished:
        """Runs a command of the shell in the root; raises InputError where it takes too long."""
        environment = dict(os.environ)
        if not self._access.aws:
            environment = {
                name: value for name, value in environment.items() if not name.startswith("AWS_")
            }
            environment |= _WITHOUT_AWS
        given_folder = self._folder / "given"
        given_folder.write_text(
            self._arguments.get("text") or "", encoding="utf-8", errors="replace"
        )
        output = self._folder / "stdout"
        log = self._folder / "stderr"
        program = _PROGRAM.format(seconds=self._access.seconds + _SECONDS_MORE)
        with (
            given_folder.open("rb") as stdin,
            output.open("wb") as stdout,
            log.open("wb") as stderr,
        ):
            # -P: the root, which is the current folder, has no module that this process imports.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-c", program, *command,
                cwd=self._access.root, env=environment,
                stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True,
            )  # fmt: skip
            exit_code = await self._end_of(process)
        return _Finished(exit_code, output, log.read_text(encoding="utf-8", errors="replace"))

    async def _end_of(self, process: asyncio.subprocess.Process) -> int:
        """Waits for a process, and kills it and its children where the call ends before it."""
        try:
            async with asyncio.timeout(self._access.seconds):
                return await process.wait()
        except TimeoutError:
            raise InputError(
                f"The call took more than {self._access.seconds} seconds: name fewer files, or"
                " start the server with a larger --time-limit."
            ) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _options(self) -> list[str]:
        """Returns the options of the command for the arguments that are given."""
        options: list[str] = []
        positional: list[str] = []
        for parameter in self._tool.parameters:
            value = self._arguments.get(parameter.name)
            is_given = value is not None and value not in ("", [], {})
            if not is_given or parameter.kind == "input":
                continue
            texts = list(self._texts(parameter, value))
            if parameter.option:
                options += [f"{parameter.option}={text}" for text in texts]
            else:
                positional += texts
        return [*options, "--", *positional] if positional else options

    def _texts(self, parameter: Parameter, value: Any) -> Iterator[str]:
        """Yields the values of an option; raises InputError where one is outside of the root."""
        if parameter.kind == "integer":
            yield str(value)
            return
        if parameter.kind == "record":
            records = value if isinstance(value, list) else [value]
            records_folder = self._folder / "records"
            records_folder.mkdir()
            (records_folder / "record.json").write_text(_json({"Records": records}))
            yield str(records_folder)
            return
        if parameter.kind == "requests":
            file = self._folder / "requests.json"
            file.write_text(_json(value))
            yield str(file)
            return
        for text in value if isinstance(value, list) else [value]:
            for path in self._paths(parameter, text):
                if path not in (".", "./"):
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


def _json(value: Any) -> str:
    """Returns JSON of what a client sent; raises InputError where it is nested too deeply."""
    try:
        return json.dumps(value)
    except RecursionError:
        raise InputError("The value is nested too deeply: send the record itself.") from None
