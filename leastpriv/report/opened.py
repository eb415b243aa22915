"""What each pattern of an addition stands for, and why it is open: a pattern fits more than what was seen."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.model import ChangeKind
from leastpriv.report.escape import code, prose
from leastpriv.report.subject import Subject
from leastpriv.report.words import codes, plural

_MOST_ROWS = 30
_MOST_SEEN = 3


def patterns_opened(subject: Subject) -> Iterator[str]:
    """The folded section below the additions; nothing where each is written on what was seen, letter by letter."""
    seen: dict[str, tuple[dict[str, None], dict[str, None], dict[str, None]]] = {}
    for change in subject.changes(ChangeKind.ADD):
        for pattern in change.patterns:
            if pattern.openings and pattern.pattern in change.resources:
                actions, covers, reasons = seen.setdefault(pattern.pattern, ({}, {}, {}))
                actions[change.action] = None
                covers.update(dict.fromkeys(pattern.covers))
                reasons.update(dict.fromkeys(opening.reason for opening in pattern.openings))
    if not seen:
        return
    rows = [
        f"| {code(name)} | {codes(actions, _MOST_SEEN)} | {codes(covers, _MOST_SEEN)} | {prose('; '.join(reasons))} |"
        for name, (actions, covers, reasons) in sorted(seen.items())
    ]
    more = f"\n\n{len(rows) - _MOST_ROWS:,} more are in `proposal.json`." if len(rows) > _MOST_ROWS else ""
    count = plural(len(rows), "pattern stands", "patterns stand")
    yield (
        f"<details><summary>{count} for more than what was seen</summary>\n\n"
        "Whatever has such a name is granted, also what others made in this account: where another team's things are "
        "named so, write the names instead (`resources: exact`).\n\n"
        "| Pattern | For | Seen on | Open because |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows[:_MOST_ROWS])
        + f"{more}\n\n</details>"
    )
