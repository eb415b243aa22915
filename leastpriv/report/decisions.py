"""Rows of `leastpriv evaluate` and `leastpriv contains`, and the sentence of the latter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leastpriv.permissions.patterns import escape_observed
from leastpriv.policy.contain import Excess
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import Decision, Layer
from leastpriv.report.escape import plain


def decision_row(decision: Decision, layers: Mapping[Layer, Sequence[Document]]) -> dict[str, object]:
    """A decision, the statement that decided it (null where none did) and, of a denial, the layer that denied."""
    row: dict[str, object] = {"decision": decision.effect, "statement": None}
    if decision.document is not None and decision.statement is not None:
        document = layers[decision.layer][decision.document]
        row["statement"] = _statement(document, document.statements[decision.statement])
    if decision.effect in {"implicitDeny", "explicitDeny"}:
        row["denied_by"] = decision.layer
    return row


def excess_row(excess: Excess, new: Sequence[Document]) -> dict[str, object]:
    """A request that is newly allowed, as `leastpriv evaluate` takes it, and the statement that allows it.

    Where one cannot tell: the statement's entries and the reason.
    """
    statement = _statement(new[excess.document], excess.statement)
    witness = excess.witness
    if witness is None:
        return {
            "action": excess.action,
            "resource": excess.resource,
            "cannot_tell": excess.reason,
            "statement": statement,
        }
    return {
        "action": witness.action,
        "resource": escape_observed(witness.resource),
        "context": {key: list(values) for key, values in witness.context.items()},
        "context_complete": True,
        "statement": statement,
    }


def excess_sentence(excess: Excess, new: Sequence[Document]) -> str:
    """What is new, for a log line."""
    document = new[excess.document]
    at = f"{plain(document.where)}, line {excess.statement.line},"
    witness = excess.witness
    if witness is None:
        return f"{at} may allow more: {plain(excess.action)} on {plain(excess.resource)}, since {excess.reason}."
    where = "".join(f", {plain(key)} {plain(', '.join(values))}" for key, values in witness.context.items())
    return f"{at} allows what the old policy does not: {plain(witness.action)} on {plain(witness.resource)}{where}."


def _statement(document: Document, statement: Statement) -> dict[str, object]:
    return {
        "file": document.where,
        "index": statement.index,
        "sid": statement.sid or None,
        "line": statement.line,
    }
