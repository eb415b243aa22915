"""What people say in comments: `/leastpriv keep s3:DeleteBucket`, on a line of its own. Pure text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

COMMENT_MARKER = "<!-- leastpriv:commands v=1 -->"
"""Last line of the one comment that answers them."""
_LINE = re.compile(r" {0,3}/leastpriv(?:[ \t]+(?P<verb>\S+)(?P<rest>.*))?", re.ASCII)
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")
_VERBS = ("keep", "forget")
_MAX_COMMANDS = 20
"""Patterns of one comment; whoever has more writes a wildcard, or the input `keep`."""
_MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """One thing that a comment asks for."""

    verb: str
    pattern: str
    """Of actions, as it was written: untrusted."""


@dataclass(frozen=True, slots=True)
class CommentCommand:
    """One thing that somebody asked for in a comment."""

    command: ParsedCommand
    author: str
    """Login."""
    created_at: datetime
    """When the comment was written (aware, UTC)."""
    comment_id: int
    pull_request: int
    rejection: str = ""
    """Why it does not count, in words; empty where it does."""


def parse_commands(body: str) -> tuple[ParsedCommand, ...]:
    """What a comment asks for; quotes and code are no commands."""
    return tuple(each for line in _unfenced_lines(body) for each in _commands_in_line(line))[:_MAX_COMMANDS]


def rejection_reason(command: ParsedCommand) -> str:
    """Why nobody could ask for this; empty where somebody may."""
    if command.verb not in _VERBS:
        return "the commands are `keep` and `forget`"
    return "" if command.pattern else "no action is named, as in `/leastpriv keep s3:DeleteBucket`"


def _unfenced_lines(body: str) -> Iterator[str]:
    """Lines outside fenced code; a quoted line begins with `>`, so that it is none of ours."""
    fence = ""
    for line in body.splitlines():
        found = _FENCE.match(line)
        if found and not fence:
            fence = found["fence"]
        elif found and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not fence:
            yield line


def _commands_in_line(line: str) -> Iterator[ParsedCommand]:
    found = _LINE.fullmatch(line.rstrip())
    if found is None:
        return
    verb = (found["verb"] or "")[:_MAX_LENGTH]
    names = [name.strip("`")[:_MAX_LENGTH] for name in re.split(r"[\s,]+", (found["rest"] or "").strip())]
    for name in filter(None, names) if any(names) else ("",):
        yield ParsedCommand(verb, name)
