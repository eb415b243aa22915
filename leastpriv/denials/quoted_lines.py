"""Recognizes lines of a log that quote a denial and report none: commands, commit titles, plans,
diffs, source code, assertions, rows of documents (pure).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    # The expected text of a test, and the name of a test that passed or was not run.
    re.compile(r"[ \t]*Expected: [\"']"),
    re.compile(r"[ \t]*(?:PASSED|SKIPPED|XFAIL|XPASS|[✓✔√]|ok [0-9]+|--- (?:PASS|SKIP):)[ \t]"),
    # Source code: a comment, or a call that prints the text.
    re.compile(r"[ \t]*(?://|/\*|<!--)[ \t]"),
    re.compile(
        r"[ \t]*(?:console\.\w+|print\w*|puts|fmt\.\w+|log(?:ger|ging)?\.\w+|Write-\w+)"
        r"(?:[ \t]*\(|[ \t]+)[\"'`]"
    ),
    # `git commit` says what it committed, and `git merge` what it merged.
    re.compile(r"\[[\w./-]+(?: \([\w-]+\))? [0-9a-f]{7,40}\] "),
    re.compile(r"Merge (?:pull request #[0-9]+|branch ['\"])"),
    # `grep -n` on a document.
    re.compile(r"[\w./-]+\.(?:md|rst|adoc):[0-9]+:"),
    # A part of AWS's sentence without its subject, in quotes: no service writes that.
    re.compile(r"[^\n]*(?P<quote>[\"'`])is not authorized to perform: [\w:*-]+(?P=quote)"),
    # A row of a Markdown table that shows the message as code.
    re.compile(r"[ \t]*\|[^`\n]*`[^\n]*\|[ \t]*\Z"),
)


_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*")
_RULE = re.compile(r"[ \t]*\|[ \t]*:?-{2,}[-:| \t]*\|[ \t]*")
_ADVICE = re.compile(r"\b(?:fix|solution|remedy|cause|meaning|resolution)\b", re.IGNORECASE)
_OF_COMMIT = re.compile(r"[ \t]*|(?:Author|AuthorDate|Commit|CommitDate|Date|Merge):.*|    .*")
_HUNK = re.compile(r"@@ -[0-9]+(?:,[0-9]+)? \+[0-9]+(?:,[0-9]+)? @@.*")
_OF_HUNK = re.compile(r"(?:[-+ \\].*)?")
_COMMIT = re.compile(r"commit [0-9a-f]{7,40}\b.*")


def is_quoted(lines: Sequence[str], number: int) -> bool:
    """Whether a line of a log quotes text that no call of this job produced.

    Args:
        lines: of the log, without their times.
        number: index of the line.
    """
    line = lines[number]
    if line.startswith(_ECHOED_STEP):
        return True
    if any(pattern.match(line) for pattern in _QUOTING_LINES):
        return True
    above = [*reversed(lines[:number])]
    if _ROW.fullmatch(line):
        return _is_advice(above)
    if line.startswith(("+", "-")) and _is_of_hunk(above):
        return True
    return line.startswith("    ") and _is_of_commit(above)


def _is_advice(above: Sequence[str]) -> bool:
    """Whether the rows above, the nearest first, lead to a Markdown table's head about remedies."""
    for place, line in enumerate(above):
        if _RULE.fullmatch(line):
            return any(map(_ADVICE.search, above[place + 1 : place + 2]))
        if not _ROW.fullmatch(line):
            return False
    return False


def _is_of_hunk(above: Sequence[str]) -> bool:
    """Whether the lines above, the nearest first, lead to the head of a hunk in a diff."""
    for line in above:
        if _HUNK.fullmatch(line):
            return True
        if not _OF_HUNK.fullmatch(line):
            return False
    return False


def _is_of_commit(above: Sequence[str]) -> bool:
    """Whether the lines above, the nearest first, lead to the head of a commit in `git log`."""
    for line in above:
        if _COMMIT.fullmatch(line):
            return True
        if not _OF_COMMIT.fullmatch(line):
            return False
    return False
