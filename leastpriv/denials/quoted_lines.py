"""Recognizes lines of a log that quote a denial and report none: commands, commit titles, plans,
assertions, rows of documents (pure).
"""

from __future__ import annotations

import re

_ECHOED_STEP = "\x1b[36;1m"
"""GitHub's runner prints the commands of a step in this colour, below `##[group]Run`."""
_QUOTING_LINES = (
    # `set -x`: the shell prints a command before it runs it.
    re.compile(r"\++ \S"),
    # A command whose argument is the text.
    re.compile(
        r"(?:\$ |> |Run |##\[(?:command|group)\](?:Run )?|(?:.*(?:[|;&]|\bif|\bthen|&&|!)[ \t]+))?"
        r"(?:e?grep|rg|echo|printf|sed|awk|git commit)\b[^\n]*[\"']"
    ),
    # `git log --oneline`, `git checkout`, `git merge`.
    re.compile(
        r"(?:[*|\\/ ]{1,10})?(?:HEAD is now at )?[0-9a-f]{7,40}\b(?: \([^)\n]*\))? [A-Za-z]"
    ),
    # The value of an attribute in a plan of Terraform or a diff of the CDK.
    re.compile(r"[ \t]*(?:[-+~]/?[-+]?)[ \t]+\"?[A-Za-z_][\w.-]*\"?[ \t]*(?:=|:|=>)[ \t]*[\"']"),
    # An assertion of a test, or its explanation.
    re.compile(r"(?:E[ \t]+|>?[ \t]*)(?:\w+Error: )?assert\b"),
    re.compile(r"[ \t]*(?:expect\(|assert\w*\(|raise |throw new )"),
    # A row of a Markdown table that shows the message as code.
    re.compile(r"[ \t]*\|[^`\n]*`[^\n]*\|[ \t]*\Z"),
)


def is_quoted(line: str) -> bool:
    """Whether a line of a log, without its time, quotes text that no call of this job produced."""
    if line.startswith(_ECHOED_STEP):
        return True
    return any(pattern.match(line) for pattern in _QUOTING_LINES)
