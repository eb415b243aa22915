"""Writes the outputs and the summary of a step to the runner's files."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from leastpriv.errors import LeastprivError

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
