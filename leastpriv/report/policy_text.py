"""The text of a policy file before and after a proposal, as a report shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import unified_diff
from functools import lru_cache

from leastpriv.report.context import ReportContext
from leastpriv.report.escape import block, code
from leastpriv.report.phrases import fold, plural

_MOST_LINES = 60
"""Lines of the diff before the folds."""
_MOST_FOLDED = 600
_HUNK = re.compile(r"^@@ -(\d+).*")
"""The head of a part of a unified diff, with its first line in the committed file."""


def diff_section(context: ReportContext) -> list[str]:
    """Returns the beginning of the diff of the policy file; a pull request has its own."""
    lines = [] if context.is_pull_request else diff_lines(context)
    if not lines:
        return []
    text = block("\n".join(lines[:_MOST_LINES]), "diff")
    return [f"**The change of {code(context.policy_file)}:**\n\n{text}"]


def rest_of_diff(context: ReportContext) -> list[str]:
    """Returns the collapsed rest of the diff; empty where the first lines are all."""
    lines_left = [] if context.is_pull_request else diff_lines(context)[_MOST_LINES:]
    if not lines_left:
        return []
    parts = [block("\n".join(lines_left[:_MOST_FOLDED]), "diff")]
    if len(lines_left) > _MOST_FOLDED:
        parts.append(f"{len(lines_left) - _MOST_FOLDED:,} more lines are in the proposed file.")
    return fold(f"The rest of the change: {plural(len(lines_left), 'line')}", parts)


def diff_lines(context: ReportContext) -> Sequence[str]:
    """Returns the unified diff of the policy file, without its head; empty without a change, and
    for a file that is read and not edited.
    """
    committed, document = context.proposal.committed, context.proposal.document
    if not context.proposal.changes or not document.editable:
        return []
    return _diff_lines(committed.source.outer if committed else "", document.source.outer)


# The first lines and the rest are two parts of a report.
@lru_cache(maxsize=1)
def _diff_lines(before: str, after: str) -> Sequence[str]:
    _, _, *lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return [_HUNK.sub(r"… line \1", line) for line in lines]
