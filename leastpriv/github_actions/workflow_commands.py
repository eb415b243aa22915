"""Prints the log, annotations, groups and masks for an Actions runner, plain text elsewhere; writes its output files.

The runner executes a line that starts with `::name` after trimming blanks, and `##[name]` anywhere in a line
(actions/runner, `ActionCommand.cs`, read 2026-11), so nothing reaches a stream without passing `safe_line`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from leastpriv.errors import LeastprivError

PROGRESS_PREFIX = "… "
"""Beginning of a progress message, which is obsolete once the next one is printed."""
_ERASE_LINE = "\r\x1b[2K"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_UNTRUSTED_PREFIX = "| "


def safe_line(text: str) -> str:
    r"""Returns `text` as one line that is neither a command of the runner nor a control sequence of a terminal.

    Invisible characters (`str.isprintable`) become escapes such as `\x1b`; `##[` becomes `## [`; a line that would
    start with `::` gets the prefix `| `.
    """
    visible = _printable(text)
    return _UNTRUSTED_PREFIX + visible if visible.lstrip().startswith("::") else visible


def escape_data(text: str) -> str:
    """Returns `text` as the message of a workflow command (toolkit's `escapeData`)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Returns `text` as a property of a workflow command (toolkit's `escapeProperty`)."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


class Console:
    """Writes messages: in Actions as workflow commands, elsewhere as plain text.

    Untrusted text in any argument can neither run a workflow command nor move the cursor.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO, in_actions: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._in_actions = in_actions
        self._shows_progress = False
        """Whether the last line on a terminal is a progress message."""

    def log(self, message: str) -> None:
        """Prints a message line by line; a line that begins with `…` shows at a terminal only, until the next one."""
        for line in _LINE_ENDS.split(message):
            is_progress = line.startswith(PROGRESS_PREFIX)
            if not is_progress or self._is_terminal(self._stdout):
                self._write(self._stdout, safe_line(line), is_progress=is_progress)

    def clear_progress(self) -> None:
        """Erases a progress message before other output is written to the terminal."""
        if self._shows_progress:
            self._stdout.write(_ERASE_LINE)
            self._stdout.flush()
            self._shows_progress = False

    def untrusted(self, text: str) -> None:
        """Prints untrusted text, each line with a prefix; several lines with workflow commands disabled."""
        lines = [_UNTRUSTED_PREFIX + safe_line(line) for line in _LINE_ENDS.split(text)]
        if len(lines) == 1 or not self._in_actions:
            self._write(self._stdout, "\n".join(lines))
            return
        import secrets
        import string

        token = "".join(secrets.choice(string.ascii_letters) for _ in range(64))
        self._write(self._stdout, "\n".join([f"::stop-commands::{token}", *lines, f"::{token}::"]))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Folds the output of the block under `title`; groups do not nest (the runner has no nested groups)."""
        if not self._in_actions:
            self.log(title)
            yield
            return
        self._command("group", {}, title)
        try:
            yield
        finally:
            self._command("endgroup", {}, "")

    def notice(self, message: str, file: str | None = None, line: int | None = None, title: str | None = None) -> None:
        """Annotates with a notice, at `line` (1-based) of `file` if given."""
        self._annotate("notice", message, file, line, title)

    def warning(self, message: str, file: str | None = None, line: int | None = None, title: str | None = None) -> None:
        """Annotates with a warning, at `line` (1-based) of `file` if given."""
        self._annotate("warning", message, file, line, title)

    def error(self, message: str, file: str | None = None, line: int | None = None, title: str | None = None) -> None:
        """Annotates with an error, at `line` (1-based) of `file` if given; does not end the program."""
        self._annotate("error", message, file, line, title)

    def mask(self, secret: str) -> None:
        """Makes the runner replace `secret` by `***` in all later output; an empty one is ignored."""
        if secret and self._in_actions:
            self._write(self._stdout, f"::add-mask::{escape_data(secret)}")

    def _annotate(self, kind: str, message: str, file: str | None, line: int | None, title: str | None) -> None:
        if self._in_actions:
            properties = {"file": file, "line": None if line is None else str(line), "title": title}
            self._command(kind, {key: value for key, value in properties.items() if value}, message)
            return
        location = "" if file is None else file + ("" if line is None else f":{line}") + ": "
        sentence = f"{kind}: {location}{title + ': ' if title else ''}{message}"
        for part in _LINE_ENDS.split(sentence):
            self._write(self._stderr, safe_line(part))

    def _command(self, name: str, properties: dict[str, str], message: str) -> None:
        data = "\n".join(_printable(line) for line in _LINE_ENDS.split(message))
        pairs = ",".join(f"{key}={escape_property(_printable(value))}" for key, value in properties.items())
        self._write(self._stdout, f"::{name}{' ' + pairs if pairs else ''}::{escape_data(data)}")

    def _write(self, stream: TextIO, text: str, *, is_progress: bool = False) -> None:
        encoding = stream.encoding or "utf-8"
        is_terminal = self._is_terminal(stream)
        erase, self._shows_progress = (
            _ERASE_LINE if is_terminal and self._shows_progress else "",
            is_terminal and is_progress,
        )
        from shutil import get_terminal_size

        line = text[: get_terminal_size().columns - 1] if self._shows_progress else f"{text}\n"
        stream.write(erase + line.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()

    def _is_terminal(self, stream: TextIO) -> bool:
        return stream.isatty() and not self._in_actions


def _printable(text: str) -> str:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text.replace("##[", "## [")


SUMMARY_LIMIT = 900_000
"""Bytes. GitHub drops a step's whole summary beyond 1 MiB (actions/runner, `CreateStepSummaryCommand`)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TRUNCATION_NOTE = "\n\n*The summary was cut here: GitHub takes 1 MiB a step. The proposal's files hold all of it.*\n"


def heredoc(name: str, value: str, delimiter: str) -> str:
    """Returns one output in the runner's `name<<delimiter` form, with its final newline."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of an output")
    if delimiter in value:
        raise LeastprivError(f"The output {name} holds its own delimiter and was not written.")
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def write_output(path: Path, name: str, value: str) -> None:
    """Appends one output to the file that `GITHUB_OUTPUT` names; the value may be any text."""
    _append(path, heredoc(name, value, f"leastpriv_{secrets.token_hex(32)}"))


def write_outputs(path: Path | None, outputs: Mapping[str, str]) -> None:
    """Appends each output, as `write_output`; nothing without a file, as outside Actions."""
    if path:
        for name, value in outputs.items():
            write_output(path, name, value)


def append_summary(path: Path, markdown: str) -> None:
    """Appends to the file that `GITHUB_STEP_SUMMARY` names; beyond the limit it is truncated between lines."""
    size = path.stat().st_size if path.exists() else 0
    _append(
        path, truncate_at_line(markdown if markdown.endswith("\n") else markdown + "\n", max(SUMMARY_LIMIT - size, 0))
    )


def write_summary(path: Path, markdown: str, start: int) -> None:
    """Writes the summary from the byte `start` of its file on, in place of what the step wrote there before."""
    try:
        if path.exists() and path.stat().st_size > start:
            os.truncate(path, start)
    except OSError as error:
        raise LeastprivError(f"The summary {str(path)!r} cannot be written: {error.strerror}.") from error
    append_summary(path, markdown)


def truncate_at_line(markdown: str, limit: int) -> str:
    """Returns as many whole lines as fit `limit` bytes, and a note if some are left out; empty if that does not fit."""
    if _size(markdown) <= limit:
        return markdown
    kept: list[str] = []
    fence = ""
    used = _size(_TRUNCATION_NOTE)
    for line in markdown.splitlines(keepends=True):
        after = _open_fence_after(fence, line)
        if used + _size(line) + _size(after) + 1 > limit:
            break
        used += _size(line)
        kept.append(line)
        fence = after
    closing = f"{fence}\n" if fence else ""
    return "".join(kept) + closing + _TRUNCATION_NOTE if used <= limit else ""


def _open_fence_after(fence: str, line: str) -> str:
    """Returns the run of backticks that is still open after `line`."""
    opened = re.match(r" {0,3}(`{3,})([^`]*)$", line.rstrip("\r\n"))
    if opened is None:
        return fence
    if not fence:
        return opened[1]
    return "" if opened[1].startswith(fence) and not opened[2].strip() else fence


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("ab") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise LeastprivError(f"The runner's file {path} cannot be written: {error.strerror}.") from error
