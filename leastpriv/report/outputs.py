"""The step's outputs, by their names in action.yml."""

from __future__ import annotations

import json

from leastpriv.model import ChangeKind
from leastpriv.permissions.patterns import action_covers
from leastpriv.report.subject import Subject

_LONGEST_OUTPUT = 500_000
"""Bytes. A job's outputs are at most 1 MB together (docs.github.com, "Workflow syntax", jobs.<id>.outputs, 2026-11)."""


def outputs(subject: Subject, proposal_file: str) -> dict[str, str]:
    """Texts of the outputs about the proposal; lists are JSON, so that no name can become anything else."""
    has_policy = bool(subject.draft.changes or subject.draft.committed)
    added = sorted({change.action for change in subject.changes(ChangeKind.ADD)})
    return {
        "has-changes": "true" if subject.draft.changes else "false",
        "added-actions": json.dumps(added),
        "removed-actions": json.dumps(removed_actions(subject)),
        "policy": _policy(subject) if has_policy else "",
        "proposal-file": proposal_file,
    }


def _policy(subject: Subject) -> str:
    """The proposed file; empty past what a step may put out."""
    text = subject.draft.document.text.removeprefix("\ufeff")
    return text if len(text.encode()) <= _LONGEST_OUTPUT else ""


def removed_actions(subject: Subject) -> list[str]:
    """Actions that some entry granted and no entry of the proposal grants any more, sorted."""
    gone = {action for change in subject.draft.changes for action in change.gone}
    left = {
        entry
        for statement in subject.draft.document.statements
        if statement.effect == "Allow"
        for entry in statement.actions
    }
    return sorted(action for action in gone if not any(action_covers(entry, action) for entry in left))
