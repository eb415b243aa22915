"""Conditions that a reader may add: what they are, and of which statement."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.report.escape import code
from leastpriv.report.subject import Subject
from leastpriv.report.words import codes, joined, plural

_MOST = 10


def conditions_offered(subject: Subject) -> Iterator[str]:
    """The section, where every call of some action met one."""
    offered = subject.offered_conditions
    lines = [
        f"- In {f'statement {code(each.sid)}' if each.sid else f'statement {each.statement + 1}'}: "
        f"{code(each.condition.key)} is {joined([code(value) for value in each.condition.values])} "
        f"({code(each.condition.operator)}) for {codes(each.actions, 8)}, in {plural(each.runs, 'run')} or more."
        for each in offered[:_MOST]
    ]
    if len(offered) > _MOST:
        lines.append(f"- and {len(offered) - _MOST:,} more, in `proposal.json`.")
    if lines:
        yield (
            "### Conditions that would fit, not written\n\nEvery recorded call of these actions met them. A statement "
            "that grants other actions as well has to be split first.\n\n" + "\n".join(lines)
        )
