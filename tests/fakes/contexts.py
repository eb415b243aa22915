"""Contexts of reports after a change of one of their parts."""

from __future__ import annotations

from typing import Any

from leastpriv.proposal.chance import chance_of
from leastpriv.proposal.ledger import ledger_of
from leastpriv.proposal.verdict import verdict_of
from leastpriv.report.context import ReportContext
from tests.fakes.replace import replace


def with_parts(context: ReportContext, **parts: Any) -> ReportContext:
    """The context with some parts replaced, and the ledger, the chance and the verdict of all."""
    made: ReportContext = replace(context, **parts)
    proof = made.proof
    ledger = ledger_of(
        made.proposal,
        made.difference,
        made.evidence,
        made.attached_documents,
        proof.replay,
    )
    chance = chance_of(
        made.proposal,
        made.attached_documents,
        made.evidence,
        left_out=proof.left_out,
        later_runs=proof.later_runs,
        known=proof.confidence,
    )
    verdict = verdict_of(
        made.proposal,
        proof,
        ledger,
        chance,
        made.evidence,
        records=made.records,
        check_results=made.check_results,
    )
    counted: ReportContext = replace(made, ledger=ledger, chance=chance, verdict=verdict)
    return counted
