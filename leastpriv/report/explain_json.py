"""What `leastpriv explain` tells, for machines: one object an action."""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.model import ChangeKind, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.sensitive import forbidden, sensitivity
from leastpriv.permissions.visibility import visibility
from leastpriv.proposal.visible import could_hide
from leastpriv.report.explain import called_or_changed, decision, known_actions
from leastpriv.report.proposal_json import change_value, held_value, usage_value
from leastpriv.report.subject import Subject
from leastpriv.report.usage_rows import gap_row


def explained_rows(asked: Sequence[str], subject: Subject, *, has_policy: bool) -> list[dict[str, object]]:
    """A row for each action that `explain` would tell of; raises as it does."""
    actions = dict.fromkeys(action for entry in asked for action in called_or_changed(entry, subject))
    return [{**_known(action), **_here(action, subject, has_policy)} for action in actions]


def known_rows(asked: Sequence[str]) -> list[dict[str, object]]:
    """A row for each action that `explain_without_evidence` would tell of; raises as it does."""
    return [_known(action) for action in dict.fromkeys(action for entry in asked for action in known_actions(entry))]


def _known(action: str) -> dict[str, object]:
    """What holds of an action whoever calls it."""
    known, seen = catalog.action(action), visibility(action)
    return {
        "action": action,
        "access_level": catalog.access_level(action) or None,
        "resource_types": [{"name": kind.name, "arn": kind.arn} for kind in known.resource_types] if known else [],
        "visibility": {"kind": seen.visibility, "resource_type": seen.resource_type or None, "source": seen.source},
        "never_written": forbidden(action) or None,
        "sensitive": sensitivity(action) or None,
    }


def _here(action: str, subject: Subject, has_policy: bool) -> dict[str, object]:
    """What the evidence tells of an action, and what becomes of it in the policy."""
    usages = [usage for usage in subject.evidence.usages if usage.need.permission.action == action]
    draft = subject.draft
    return {
        "usages": [_usage(usage) for usage in usages],
        "gaps": [gap_row(gap) for gap in subject.evidence.gaps if could_hide(gap, action)],
        "entries": _entries(action, subject) if has_policy else [],
        "additions": [
            change_value(change) for change in draft.changes if (change.kind, change.action) == (ChangeKind.ADD, action)
        ],
        "not_added": [held_value(held) for held in draft.refused if held.action == action],
    }


def _usage(usage: Usage) -> dict[str, object]:
    denial = usage.denial
    refused = {"denied_by": denial.denied_by, "mendable": denial.mendable, "message": denial.message} if denial else {}
    return {**usage_value(usage), "exact": usage.need.exact, "because": usage.need.because or None, **refused}


def _entries(action: str, subject: Subject) -> list[dict[str, object]]:
    return [
        {
            "file": subject.policy_file,
            "line": entry.statement.line,
            "sid": entry.statement.sid,
            "pattern": entry.pattern,
            "resources": list(entry.statement.resources),
            "decision": decision(action, entry, subject),
        }
        for entry in subject.difference.entries
        if action in (*entry.granted, *entry.uses)
    ]
