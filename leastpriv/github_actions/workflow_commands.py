"""Prints all output: log, annotations, groups and masks for an Actions runner, plain text
elsewhere.

The runner executes a line that starts with `::name` after trimming blanks, and `##[name]` anywhere
in a line (actions/runner, `ActionCommand.cs`, read 2026-11), so nothing reaches a stream without
passing `safe_line`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PROGRESS_PREFIX = "… "
"""Beginning of a progress message, which is obsolete once the next one is printed."""
_ERASE_LINE = "\r\x1b[2K"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_UNTRUSTED_PREFIX = "| "


def safe_line(text: str) -> str:
    r"""Returns `text` as one line that is neither a command of the runner nor a control sequence of
    a terminal.

    Invisible characters (`str.isprintable`) become escapes such as `\x1b`; `##[` becomes `## [`; a
    line that would start with `::` gets the prefix `| `.
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
        self._has_progress = False
        """Whether the last line on a terminal is a progress message."""

    def log(self, message: str) -> None:
        """Prints a message line by line; a line that begins with `…` shows at a terminal only,
        until the next one.
        """
        for line in _LINE_ENDS.split(message):
            is_progress = line.startswith(PROGRESS_PREFIX)
            if not is_progress or self._is_terminal(self._stdout):
                self._write(self._stdout, safe_line(line), is_progress=is_progress)

    @property
    def shows_progress(self) -> bool:
        """Whether messages of progress are shown: at a terminal."""
        return self._is_terminal(self._stdout)

    def clear_progress(self) -> None:
        """Erases a progress message before other output is written to the terminal."""
        if self._has_progress:
            self._stdout.write(_ERASE_LINE)
            self._stdout.flush()
            self._has_progress = False

    def untrusted(self, text: str) -> None:
        """Prints untrusted text, each line with a prefix; several lines with workflow commands
        disabled.
        """
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
        """Folds the output of the block under `title`; groups do not nest (the runner has no nested
        groups).
        """
        if not self._in_actions:
            self.log(title)
            yield
            return
        self._command("group", {}, title)
        try:
            yield
        finally:
            self._command("endgroup", {}, "")

    def notice(
        self,
        message: str,
        file: str | None = None,
        line: int | None = None,
        title: str | None = None,
    ) -> None:
        """Annotates with a notice, at `line` (1-based) of `file` if given."""
        self._annotate("notice", message, file, line, title)

    def warning(
        self,
        message: str,
        file: str | None = None,
        line: int | None = None,
        title: str | None = None,
    ) -> None:
        """Annotates with a warning, at `line` (1-based) of `file` if given."""
        self._annotate("warning", message, file, line, title)

    def error(
        self,
        message: str,
        file: str | None = None,
        line: int | None = None,
        title: str | None = None,
    ) -> None:
        """Annotates with an error, at `line` (1-based) of `file` if given; does not end the
        program.
        """
        self._annotate("error", message, file, line, title)

    def mask(self, secret: str) -> None:
        """Makes the runner replace `secret` by `***` in all later output; an empty one is
        ignored.
        """
        if secret and self._in_actions:
            self._write(self._stdout, f"::add-mask::{escape_data(secret)}")

    def _annotate(
        self, kind: str, message: str, file: str | None, line: int | None, title: str | None
    ) -> None:
        if self._in_actions:
            properties = {"file": file, "line": None if line is None else str(line), "title": title}
            self._command(kind, {key: value for key, value in properties.items() if value}, message)
            return
        annotated_file = file or ""
        if file is not None and line is not None:
            annotated_file = f"{file}:{line}"
        parts = [kind, annotated_file, title or "", message]
        sentence = ": ".join(part for part in parts if part)
        for part in _LINE_ENDS.split(sentence):
            self._write(self._stderr, safe_line(part))

    def _command(self, name: str, properties: dict[str, str], message: str) -> None:
        text = "\n".join(_printable(line) for line in _LINE_ENDS.split(message))
        pairs = ",".join(
            f"{key}={escape_property(_printable(value))}" for key, value in properties.items()
        )
        self._write(self._stdout, f"::{name}{' ' + pairs if pairs else ''}::{escape_data(text)}")

    def _write(self, stream: TextIO, text: str, *, is_progress: bool = False) -> None:
        encoding = stream.encoding or "utf-8"
        is_terminal = self._is_terminal(stream)
        erase = _ERASE_LINE if is_terminal and self._has_progress else ""
        self._has_progress = is_terminal and is_progress
        from shutil import get_terminal_size

        line = text[: get_terminal_size().columns - 1] if self._has_progress else f"{text}\n"
        stream.write(erase + line.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()

    def _is_terminal(self, stream: TextIO) -> bool:
        return stream.isatty() and not self._in_actions


def _printable(text: str) -> str:
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
        )
    return text.replace("##[", "## [")
