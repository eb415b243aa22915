"""Rows of `leastpriv denials`, and the sentence that sums them up."""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.evidence.refusals.job_log import MOST_DISTINCT, LoggedDenial


def logged_row(found: LoggedDenial) -> dict[str, object]:
    """One refusal; what the message does not name is null. `why` tells why no grant helps, null where one can."""
    denial = found.denial
    return {
        "file": found.file,
        "line": found.line,
        "action": denial.actions[0] if denial.actions else None,
        "actions": list(denial.actions),
        "resource": denial.resource or None,
        "principal": denial.principal or None,
        "denied_by": denial.denied_by,
        "explicit": denial.explicit,
        "mendable": denial.mendable,
        "inferred": denial.inferred,
        "why": denial.why or None,
        "message": denial.message,
    }


def sum_up(found: Sequence[LoggedDenial], *, more: bool) -> str:
    """How many refusals there are, for a log line; `more`: some were left out."""
    if not found:
        return "No refusal was found."
    mendable = sum(one.denial.mendable for one in found)
    rest = f" There are more: the first {MOST_DISTINCT:,} are listed." if more else ""
    noun = "refusal" if len(found) == 1 else "refusals"
    return f"{len(found):,} distinct {noun}; a grant could mend {mendable:,}.{rest}"
