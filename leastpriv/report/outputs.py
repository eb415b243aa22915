"""The step's outputs, by their names in action.yml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from leastpriv.models import ChangeKind
from leastpriv.permissions.patterns import action_covers
from leastpriv.policy.size import session_policy
from leastpriv.report.context import Subject
from leastpriv.report.escape import json_text

_PLACEHOLDER = re.compile(r"\$\{(?![a-zA-Z0-9-]+:[^:]|[*?$]\})|<[^<>]*>|\{\{")
"""What a tool fills in; AWS's own variables are `${aws:username}` and the like, and `${*}`."""
LONGEST_OUTPUT = 500_000
"""Bytes. A job's outputs are at most 1 MB together (docs.github.com, "Workflow syntax", jobs.<id>.outputs, 2026-11)."""


def outputs(subject: Subject, proposal_file: str) -> dict[str, str]:
    """Texts of the outputs about the proposal; lists are JSON, so that no name can become anything else."""
    has_policy = bool(subject.draft.changes or subject.draft.committed)
    added = sorted({change.action for change in subject.changes(ChangeKind.ADD)})
    return {
        "has-changes": "true" if subject.draft.changes else "false",
        "added-actions": json_text(added),
        "removed-actions": json_text(removed_actions(subject)),
        "policy": _policy(subject) if has_policy else "",
        "proposal-file": proposal_file,
        "inline-session-policy": _session_policy(subject) if has_policy else "",
    }


def _policy(subject: Subject) -> str:
    """The proposed file; empty past what a step may put out."""
    text = subject.draft.document.text.removeprefix("\ufeff")
    return text if len(text.encode()) <= LONGEST_OUTPUT else ""


def _session_policy(subject: Subject) -> str:
    """What the role would be allowed after the proposal, for a rehearsal; empty where AWS would not take it.

    A session policy cuts off all that it does not allow, so what else is attached is in it too.
    """
    text = session_policy((*subject.draft.documents, *subject.attached_documents))
    return text if text and all(map(_is_plain, json.loads(text)["Statement"])) else ""


def _is_plain(statement: Mapping[str, object]) -> bool:
    """Whether a statement is as AWS takes it: a template's functions and placeholders are filled in elsewhere."""
    for key in ("Action", "NotAction", "Resource", "NotResource"):
        value = statement.get(key, [])
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) and not _PLACEHOLDER.search(entry) for entry in entries):
            return False
    return True


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
