"""The step's outputs, by their names in action.yml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from leastpriv.models import ChangeKind
from leastpriv.permissions.patterns import action_covers
from leastpriv.policy.size import session_policy
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import json_text

_PLACEHOLDER = re.compile(r"\$\{(?![a-zA-Z0-9-]+:[^:]|[*?$]\})|<[^<>]*>|\{\{")
"""A placeholder of a tool; AWS's own variables have the form `${aws:username}`, or are `${*}`."""
LONGEST_OUTPUT = 500_000
"""Bytes. A job's outputs are at most 1 MB together (docs.github.com, "Workflow syntax", jobs.<id>.outputs, 2026-11)."""


def outputs(context: ReportContext, proposal_file: str) -> dict[str, str]:
    """Values of the outputs about the proposal; lists are JSON, which no name can break."""
    has_policy = bool(context.proposal.changes or context.proposal.committed)
    added = sorted({change.action for change in context.changes(ChangeKind.ADD)})
    return {
        "has-changes": "true" if context.proposal.changes else "false",
        "added-actions": json_text(added),
        "removed-actions": json_text(removed_actions(context)),
        "policy": _policy(context) if has_policy else "",
        "proposal-file": proposal_file,
        "inline-session-policy": _session_policy(context) if has_policy else "",
    }


def _policy(context: ReportContext) -> str:
    """The proposed file; empty if it exceeds the limit of an output."""
    text = context.proposal.document.text.removeprefix("\ufeff")
    return text if len(text.encode()) <= LONGEST_OUTPUT else ""


def _session_policy(context: ReportContext) -> str:
    """All that the role would be allowed under the proposal, for a rehearsal; empty if AWS would reject it.

    A session policy denies all that it does not allow, so it includes the attached policies.
    """
    text = session_policy((*context.proposal.documents, *context.attached_documents))
    return text if text and all(map(_is_plain, json.loads(text)["Statement"])) else ""


def _is_plain(statement: Mapping[str, object]) -> bool:
    """Whether AWS accepts a statement as it is: without a template's functions and placeholders."""
    for key in ("Action", "NotAction", "Resource", "NotResource"):
        value = statement.get(key, [])
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) and not _PLACEHOLDER.search(entry) for entry in entries):
            return False
    return True


def removed_actions(context: ReportContext) -> list[str]:
    """Actions that an entry granted and no entry of the proposal grants, sorted."""
    gone = {action for change in context.proposal.changes for action in change.removed_actions}
    left = {
        entry
        for statement in context.proposal.document.statements
        if statement.effect == "Allow"
        for entry in statement.actions
    }
    return sorted(action for action in gone if not any(action_covers(entry, action) for entry in left))
