"""Splits changes into those that the policy file takes, and those that a person pastes.

A statement is left alone if an expression, a shared list or another file makes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document
from leastpriv.policy.edit import apply_edits
from leastpriv.policy.writers import can_add_statements
from leastpriv.proposal.edit_plan import plan_edits
from leastpriv.proposal.models import Change, GuardResult, HeldBackChange

_NO_STATEMENT = "the file itself writes none of its statements"


def split_editable(document: Document, changes: Sequence[Change]) -> tuple[list[Change], list[tuple[Change, str]]]:
    """Returns the changes that can be written, and those that cannot with the reason."""
    reason = "" if can_add_statements(document) else _NO_STATEMENT
    written: list[Change] = []
    left: list[tuple[Change, str]] = []
    for change in changes:
        needs_statement = change.kind is ChangeKind.ADD or bool(change.restricted_to)
        own = "" if change.kind is ChangeKind.ADD else _fixed_reason(document, change)
        found = own or (reason if needs_statement else "")
        if found:
            left.append((change, found))
        else:
            written.append(change)
    return written, left


def held_back(change: Change, reason: str) -> HeldBackChange:
    """Returns a change that a person has to paste."""
    result = GuardResult("not-editable", f"it cannot be edited safely: {reason}")
    return HeldBackChange(change.kind, change.action, change.resources, result, change.sid, usages=change.usages)


def text_to_paste(document: Document, changes: Sequence[Change]) -> str:
    """Returns the statements that changes which cannot be written would leave, as HCL."""
    from leastpriv.policy.hcl_text import statements_hcl

    source = document.as_json()
    edited = apply_edits(source, plan_edits(source, changes))
    before = {_identity(each) for each in source.statements}
    new = [each.index for each in edited.statements if _identity(each) not in before]
    return statements_hcl(edited, new)


def _identity(statement: object) -> tuple[object, ...]:
    names = ("sid", "effect", "actions", "not_actions", "resources", "not_resources", "conditions")
    return tuple(getattr(statement, name) for name in names)


def _fixed_reason(document: Document, change: Change) -> str:
    statement = document.statements[change.statement]
    return statement.fixed_reason("" if statement.not_actions else change.action)
