"""What people control in a pull request: commands in comments, and markers in its body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from leastpriv.pull_request.lifecycle import PAUSED_LABEL, REBASE_BOX, RECONSIDER_LABEL

_MAX_IDS = 1_500
"""An id has 13 characters. Without its ids, only an equal proposal is recognized as declined."""
_CHANGES_MARKER = re.compile(r"<!-- leastpriv:changes v=1 ([0-9a-z -]*)-->")
_FINGERPRINT_MARKER = re.compile(r"<!-- leastpriv v=1 [^>]*?fingerprint=([0-9a-f]+)")


def controls_section(changes: Sequence[str]) -> str:
    """Returns the last section of a body; `changes` are the ids of the changes that closing it declines."""
    lines = [
        "### Controls",
        "",
        "- **Closing** this without merging declines its changes: none of them is proposed again, until the closed "
        f"pull request gets the label `{RECONSIDER_LABEL}`.",
        "- A comment `/leastpriv keep ACTION` by a person with write permission keeps an action.",
        f"- The label `{PAUSED_LABEL}` leaves it as it is.",
        f"{REBASE_BOX} Rebuild the branch in the next run; commits of others on it are lost.",
        "",
        f"<!-- leastpriv:changes v=1 {' '.join(changes[:_MAX_IDS])} -->",
    ]
    return "\n".join(lines) + "\n"


def declined_changes(body: str) -> tuple[str, ...]:
    """Returns the ids of the changes in the body of a closed pull request."""
    match = _CHANGES_MARKER.search(body)
    return tuple(match[1].split()) if match else ()


def body_fingerprint(body: str) -> str:
    """Returns the fingerprint in a body; empty without one."""
    match = _FINGERPRINT_MARKER.search(body)
    return match[1] if match else ""


COMMENT_MARKER = "<!-- leastpriv:commands v=1 -->"
"""Last line of the comment that answers the commands."""
_LINE = re.compile(r" {0,3}/leastpriv(?:[ \t]+(?P<verb>\S+)(?P<rest>.*))?", re.ASCII)
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")
_VERBS = ("keep", "forget")
_MAX_COMMANDS = 20
"""Commands per comment; a wildcard or the input `keep` covers more actions."""
_MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """A command as parsed from a comment."""

    verb: str
    pattern: str
    """Pattern of actions as the comment has it: untrusted."""


@dataclass(frozen=True, slots=True)
class CommentCommand:
    """A command with the comment that contains it."""

    command: ParsedCommand
    author: str
    """Login of the comment's author."""
    created_at: datetime
    """Time of the comment (aware, UTC)."""
    comment_id: int
    pull_request: int
    rejection: str = ""
    """Why the command does not count, in words; empty if it counts."""


def parse_commands(body: str) -> tuple[ParsedCommand, ...]:
    """Returns the commands in a comment, without those in quotes and code."""
    return tuple(each for line in _unfenced_lines(body) for each in _commands_in_line(line))[:_MAX_COMMANDS]


def rejection_reason(command: ParsedCommand) -> str:
    """Returns why a command is invalid; empty if it is valid."""
    if command.verb not in _VERBS:
        return "the commands are `keep` and `forget`"
    return "" if command.pattern else "no action is named, as in `/leastpriv keep s3:DeleteBucket`"


def _unfenced_lines(body: str) -> Iterator[str]:
    """Yields the lines outside fenced code. Quoted lines need no rule: they begin with `>`, not with the command."""
    fence = ""
    for line in body.splitlines():
        match = _FENCE.match(line)
        if match and not fence:
            fence = match["fence"]
        elif match and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not fence:
            yield line


def _commands_in_line(line: str) -> Iterator[ParsedCommand]:
    match = _LINE.fullmatch(line.rstrip())
    if match is None:
        return
    verb = (match["verb"] or "")[:_MAX_LENGTH]
    names = [name.strip("`")[:_MAX_LENGTH] for name in re.split(r"[\s,]+", (match["rest"] or "").strip())]
    for name in filter(None, names) if any(names) else ("",):
        yield ParsedCommand(verb, name)
