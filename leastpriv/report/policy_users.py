"""The users of a policy in reports, which lines each needs, and roles that may be further users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind, Outcome, Usage, grouped
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import at_most, codes, fold, joined, plural, table_lines
from leastpriv.report.tables import time_value

if TYPE_CHECKING:
    from leastpriv.report.context import ReportContext

_MOST_USERS = 6
_BEFORE_LABELED = " If the other roles have labels, write `LABEL:` and a blank before it."
_MOST_LINES = 200


def users_lines(context: ReportContext) -> Iterator[str]:
    """Yields who uses the policy, whose calls are not known, and which roles no input names."""
    evidence = context.evidence
    users = evidence.users
    if users:
        user_words = [f"{code(user.label)} ({plural(len(user.runs), 'run')})" for user in users]
        user_words = at_most(user_words, _MOST_USERS, "and {:,} more")
        yield f"**{plural(len(users), 'user')} of this policy:** {', '.join(user_words)}."
    for user in users:
        if user.unread:
            yield f"**Not covered:** {code(user.label)}. {prose(user.unread)}"
    for unnamed in evidence.unnamed_users:
        arn = code(unnamed.arn)
        yield (
            f"**A further user?** {arn}: {prose(unnamed.why)}. No removal until `role-arn` (in a"
            f" config `roles`) has the line {arn}, or {code(f'!{unnamed.arn}')} if it is none."
            f"{_BEFORE_LABELED if users else ''}"
        )


def needed_by(usages: Iterable[Usage], evidence: Evidence) -> str:
    """Returns the users that needed some usages, and those that did not: `prod; not dev, stage`;
    empty where the policy has one user.
    """
    labels = {label for usage in usages for label in usage.users}
    if not evidence.users or not labels:
        return ""
    users = [user.label for user in evidence.users if user.label in labels]
    other_labels = [
        user.label for user in evidence.users if user.label not in labels and not user.unread
    ]
    text = codes(users, _MOST_USERS)
    return f"{text}; not {codes(other_labels, _MOST_USERS)}" if other_labels else text


class _UsedLine(Struct, frozen=True):
    """Where a policy has used actions, and the users that needed them, as Markdown."""

    statement: str
    users: str


def users_section(context: ReportContext) -> list[str]:
    """Returns the section that names the users of each used line; none where the policy has one
    user.
    """
    evidence = context.evidence
    if not evidence.users:
        return []
    used_lines: list[tuple[_UsedLine, str]] = []
    for entry in context.difference.entries:
        sid = entry.statement.sid
        statement_text = code(sid) if sid else f"statement {entry.statement.index + 1}"
        for action, usages in entry.uses.items():
            allowed = [usage for usage in usages if usage.outcome is Outcome.ALLOWED]
            users_text = needed_by(allowed, evidence)
            if users_text:
                used_lines.append((_UsedLine(statement_text, users_text), code(action)))
    for change in context.proposal.changes:
        users_text = needed_by(change.usages, evidence)
        if users_text and change.kind is ChangeKind.ADD:
            used_lines.append((_UsedLine("added", users_text), code(change.action)))
    rows = [
        f"| {line.statement} | {joined(tuple(dict.fromkeys(actions)))} | {line.users} |"
        for line, actions in grouped(used_lines).items()
    ]
    rows = at_most(rows, _MOST_LINES, "| {:,} more lines | | |")
    table = "\n".join(table_lines("Statement | Actions | Needed by", rows))
    accounts = len({user.arn.split(":")[4] for user in evidence.users})
    in_accounts = f" in {plural(accounts, 'account')}" if accounts > 1 else ""
    return fold(f"Needed by {plural(len(evidence.users), 'user')}{in_accounts}", [table])


def users_value(evidence: Evidence) -> dict[str, object]:
    """Returns the users of the policy for `proposal.json`."""
    return {
        "users": [
            {
                "arn": user.arn,
                "label": user.label,
                "calls": user.calls,
                "runs": len(user.runs),
                "first": time_value(user.first),
                "last": time_value(user.last),
                "unread": user.unread or None,
            }
            for user in evidence.users
        ],
        "unnamed_users": [
            {"arn": unnamed.arn, "why": unnamed.why} for unnamed in evidence.unnamed_users
        ],
    }
