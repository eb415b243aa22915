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
_MOST = 20
"""Patterns of one comment; whoever has more writes a wildcard, or the input `keep`."""
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that a comment asks for."""

    verb: str
    pattern: str
    """Of actions, as it was written: untrusted."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that somebody asked for in a comment."""

    asked: Asked
    by: str
    """Login."""
    at: datetime
    """When the comment was written (aware, UTC)."""
    comment: int
    pull: int
    refusal: str = ""
    """Why it does not count, in words; empty where it does."""


def asked(body: str) -> tuple[Asked, ...]:
    """What a comment asks for; quotes and code are no commands."""
    return tuple(each for line in _spoken(body) for each in _of_line(line))[:_MOST]


def refusal_of(given: Asked) -> str:
    """Why nobody could ask for this; empty where somebody may."""
    if given.verb not in _VERBS:
        return "the commands are `keep` and `forget`"
    return "" if given.pattern else "no action is named, as in `/leastpriv keep s3:DeleteBucket`"


def _spoken(body: str) -> Iterator[str]:
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


def _of_line(line: str) -> Iterator[Asked]:
    found = _LINE.fullmatch(line.rstrip())
    if found is None:
        return
    verb = (found["verb"] or "")[:_LONGEST]
    names = [name.strip("`")[:_LONGEST] for name in re.split(r"[\s,]+", (found["rest"] or "").strip())]
    for name in filter(None, names) if any(names) else ("",):
        yield Asked(verb, name)
