"""The one place that prints: log, annotations, groups and masks for an Actions runner, plain text elsewhere.

The runner executes a line that starts with `::name` after trimming blanks, and `##[name]` anywhere in a line
(actions/runner, `ActionCommand.cs`, read 2026-11), so nothing reaches a stream without passing `safe_line`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PASSING = "… "
"""Begin of a message that is of no use once the next is there: how far a long job has come."""
_ERASE = "\r\x1b[2K"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_UNTRUSTED = "| "


def safe_line(text: str) -> str:
    r"""Return `text` as one line that no runner takes for a command and no terminal for a control sequence.

    Characters that do not show (`str.isprintable`) become escapes such as `\x1b`; `##[` becomes `## [`;
    a line that would start with `::` gets the prefix `| `.
    """
    visible = _shown(text)
    return _UNTRUSTED + visible if visible.lstrip().startswith("::") else visible


def escape_data(text: str) -> str:
    """Return `text` as the message of a workflow command (toolkit's `escapeData`)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Return `text` as a property of a workflow command (toolkit's `escapeProperty`)."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


class Console:
    """What the product says while it works; in Actions as workflow commands, elsewhere as plain text.

    Every method may be given untrusted text; it can neither run a workflow command nor move the cursor.
    """

    def __init__(self, stdout: TextIO, stderr: TextIO, in_actions: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._in_actions = in_actions
        self._passing = False
        """Whether the last line on a terminal is one that the next replaces."""

    def log(self, message: str) -> None:
        """Print a message of our own, line by line; at a terminal the next one replaces it if it begins with `…`."""
        for line in _LINE_ENDS.split(message):
            self._write(self._stdout, safe_line(line), passing=line.startswith(PASSING))

    def settle(self) -> None:
        """Take a passing line away, before something else writes to the terminal."""
        if self._passing:
            self._stdout.write(_ERASE)
            self._stdout.flush()
            self._passing = False

    def untrusted(self, text: str) -> None:
        """Print text that others wrote, each line with a prefix; several lines with commands switched off."""
        lines = [_UNTRUSTED + safe_line(line) for line in _LINE_ENDS.split(text)]
        if len(lines) == 1 or not self._in_actions:
            self._write(self._stdout, "\n".join(lines))
            return
        import secrets
        import string

        token = "".join(secrets.choice(string.ascii_letters) for _ in range(64))
        self._write(self._stdout, "\n".join([f"::stop-commands::{token}", *lines, f"::{token}::"]))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold what is printed inside under `title`; groups do not nest (the runner has no nested groups)."""
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
        """Annotate with a notice, at `line` (1-based) of `file` where given."""
        self._annotate("notice", message, file, line, title)

    def warning(self, message: str, file: str | None = None, line: int | None = None, title: str | None = None) -> None:
        """Annotate with a warning, at `line` (1-based) of `file` where given."""
        self._annotate("warning", message, file, line, title)

    def error(self, message: str, file: str | None = None, line: int | None = None, title: str | None = None) -> None:
        """Annotate with an error, at `line` (1-based) of `file` where given; does not end the program."""
        self._annotate("error", message, file, line, title)

    def mask(self, secret: str) -> None:
        """Have the runner replace `secret` by `***` from now on; an empty one is nothing to hide."""
        if secret and self._in_actions:
            self._write(self._stdout, f"::add-mask::{escape_data(secret)}")

    def _annotate(self, kind: str, message: str, file: str | None, line: int | None, title: str | None) -> None:
        if self._in_actions:
            place = {"file": file, "line": None if line is None else str(line), "title": title}
            self._command(kind, {key: value for key, value in place.items() if value}, message)
            return
        where = "" if file is None else file + ("" if line is None else f":{line}") + ": "
        sentence = f"{kind}: {where}{title + ': ' if title else ''}{message}"
        for part in _LINE_ENDS.split(sentence):
            self._write(self._stderr, safe_line(part))

    def _command(self, name: str, properties: dict[str, str], message: str) -> None:
        data = "\n".join(_shown(line) for line in _LINE_ENDS.split(message))
        pairs = ",".join(f"{key}={escape_property(_shown(value))}" for key, value in properties.items())
        self._write(self._stdout, f"::{name}{' ' + pairs if pairs else ''}::{escape_data(data)}")

    def _write(self, stream: TextIO, text: str, *, passing: bool = False) -> None:
        encoding = stream.encoding or "utf-8"
        live = stream.isatty() and not self._in_actions
        before, self._passing = _ERASE if live and self._passing else "", live and passing
        from shutil import get_terminal_size

        shown = text[: get_terminal_size().columns - 1] if self._passing else f"{text}\n"
        stream.write(before + shown.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


def _shown(text: str) -> str:
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return "".join(shown).replace("##[", "## [")
