"""`proposal.json`: the proposal in full for machines, by the names of its types; its format has a
version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from leastpriv import __version__
from leastpriv.diff.compare import Entry
from leastpriv.models import Outcome, Usage, condition_block
from leastpriv.permissions import catalog
from leastpriv.policy.size import quota
from leastpriv.proposal.aws_guards import compare_with_generated_policy
from leastpriv.proposal.chance import Chance
from leastpriv.proposal.confidence import Confidence, Confidences
from leastpriv.proposal.ledger import (
    DenialFact,
    GrantState,
    Ledger,
    NeedFact,
    OfferFact,
    StatementFacts,
)
from leastpriv.proposal.models import Change, HeldBackChange
from leastpriv.proposal.origins import change_marks
from leastpriv.proposal.proof import NeedDecision
from leastpriv.report.bounded_json import bounded_json
from leastpriv.report.changes import statements_to_copy
from leastpriv.report.context import ReportContext
from leastpriv.report.escalation import escalation_value
from leastpriv.report.evidence_limits import coverage_value, live_role_value
from leastpriv.report.offers import offered_statements
from leastpriv.report.policy_users import users_value
from leastpriv.report.role_chain import role_chain_value
from leastpriv.report.tables import (
    gap_row,
    permission_row,
    statement_place,
    time_value,
)
from leastpriv.report.verdict import reason

_OF_DECLARED = ("sources", "unread", "reasons", "stateless", "left_out")
"""What `proposal.json` has of templates and plans, besides the needs."""


def proposal_json(
    context: ReportContext, name: str, text: str, files: Mapping[str, str] = {}
) -> str:
    """The proposal as indented JSON, with title and body of its pull request, and the SHA-256 of
    each written file.
    """
    evidence, proposal = context.evidence, context.proposal
    value = {
        "schema": 1,
        "version": __version__,
        "catalogue": catalog.version(),
        "principal": context.principal,
        "policy_file": context.policy_file,
        "fingerprint": context.fingerprint,
        "title": name,
        "body": text,
        "files": dict(files),
        "changes": [
            {
                **change_value(change),
                "marks": change_marks(change, evidence),
            }
            for change in proposal.changes
        ],
        "held_back": [held_value(held_change) for held_change in proposal.held_back],
        "held_back_restrictions": [
            held_value(held_change) for held_change in proposal.held_back_restrictions
        ],
        "held_back_additions": [
            held_value(held_change) for held_change in proposal.held_back_additions
        ],
        "offered": [offer_value(fact) for fact in context.ledger.offered],
        "offered_statements": offered_statements(context),
        "notes": proposal.notes,
        "releases": to_builtins(proposal.releases),
        "gaps": [gap_row(gap) for gap in evidence.gaps],
        **(users_value(evidence) if evidence.users or evidence.unnamed_users else {}),
        "coverage": coverage_value(evidence.coverage),
        "live": live_role_value(context),
        "evidence": {
            "files": context.files,
            "records": context.records,
            **to_builtins(evidence.counts),
            "first": time_value(evidence.first),
            "last": time_value(evidence.last),
            "regions": evidence.regions,
            "runs": [
                {
                    "id": run.id,
                    "first": time_value(run.first),
                    "last": time_value(run.last),
                    "denied": run.denied,
                }
                for run in evidence.runs
            ],
        },
        "chain": role_chain_value(context.chained) if context.chained else None,
        "aws_findings": _aws_findings(context),
        "difference": {
            "entries": [_entry(entry) for entry in context.difference.entries],
            "missing": [permission_row(usage) for usage in context.difference.missing],
        },
        "verdict": {
            "instruction": context.verdict.instruction,
            "rule": context.verdict.rule,
            "reason": reason(context),
        },
        "ledger": ledger_value(context.ledger),
        "chance": _chance(context.chance),
        "proof": _proof(context),
        "escalation": escalation_value(context),
        "aws_checks": to_builtins(context.check_results),
        "kept_counterparts": to_builtins(context.kept_counterparts),
        "suggested_actions": to_builtins(context.suggested_actions),
        "suggested_conditions": [
            {**to_builtins(suggestion), "condition": condition_block([suggestion.condition])}
            for suggestion in context.suggested_conditions
        ],
        "suggested_statements": statements_to_copy(context.suggested_actions),
    }
    return bounded_json(value) + "\n"


def change_value(change: Change) -> dict[str, object]:
    """A change with its evidence."""
    written_resources = {*change.resources, *change.restricted_to}
    return {
        **to_builtins(replace(change, usages=(), patterns=(), conditions=())),
        "statement": change.statement if change.line else None,
        "line": change.line or None,
        "removed_by": change.removed_by or None,
        "conditions": condition_block(change.conditions),
        "patterns": [
            to_builtins(pattern)
            for pattern in change.patterns
            if pattern.pattern in written_resources
        ],
        "usages": [usage_value(usage) for usage in change.usages],
    }


def offer_value(fact: OfferFact) -> dict[str, object]:
    """A permission that is offered and not written, on one resource."""
    return {
        "action": fact.action,
        "resource": fact.resource,
        "because": fact.change.because,
        "usual_as": fact.change.usual_as,
        "security": fact.change.security,
        "conditions": condition_block(fact.change.conditions),
    }


def held_value(held: HeldBackChange) -> dict[str, object]:
    """A change that a guard held back, or a need that is not added."""
    value = to_builtins(replace(held, usages=(), conditions=()))
    usages = [usage_value(usage) for usage in held.usages]
    return {
        **value,
        **value.pop("guard_result"),
        "usages": usages,
        "conditions": condition_block(held.conditions),
    }


def usage_value(usage: Usage) -> dict[str, object]:
    """A usage of any outcome."""
    log: dict[str, object] = {"log": usage.denial.log} if usage.denial and usage.denial.log else {}
    if usage.denial and usage.denial.judged_by:
        log["judged_by"] = usage.denial.judged_by
    return {
        **permission_row(usage),
        **({"users": list(usage.users)} if usage.users else {}),
        "outcome": usage.outcome,
        "derivation": usage.need.derivation,
        **log,
    }


def _entry(entry: Entry) -> dict[str, object]:
    """Returns an entry of the policy with its used actions, for JSON."""
    used_actions = (
        action
        for action, uses in entry.uses.items()
        if any(use.outcome is Outcome.ALLOWED for use in uses)
    )
    return {
        "statement": entry.statement.index,
        "sid": entry.statement.sid,
        "line": entry.statement.line,
        "entry": entry.pattern,
        "granted": len(entry.granted),
        "used": sorted(used_actions),
    }


def _aws_findings(context: ReportContext) -> dict[str, object]:
    """AWS's findings by source; null without an answer, for which `skipped_sources` gives the
    reason.
    """
    findings = context.evidence.aws_findings
    comparison = compare_with_generated_policy(context.documents, context.evidence)
    questions = to_builtins(comparison.questions) if comparison else []
    declared = findings.declared
    return {
        "access": to_builtins(findings.access),
        "generated": {**to_builtins(findings.generated), "questions": questions}
        if findings.generated
        else None,
        **{
            name: to_builtins(getattr(findings, name))
            for name in ("unused", "outside", "inside", "skipped_sources")
        },
        "declared": {name: getattr(declared, name) for name in _OF_DECLARED},
    }


def _proof(context: ReportContext) -> dict[str, object]:
    """The proof in full: each replayed need with the statement that allows it, and the left-out
    runs.
    """
    proof, packed, replay = context.proof, context.proposal.packed, context.ledger.calls
    paths = (context.policy_file, *context.further)
    names = {
        id(document): path for document, path in zip(context.proposal.documents, paths, strict=True)
    }
    return {
        **{
            name: getattr(replay, name)
            for name in ("allowed", "in_part", "conditional", "unmapped")
        },
        "recorded": replay.succeeded,
        "denied": [{"event": group.event, "count": group.count} for group in replay.denied],
        "replayed": [_decision(need_decision, names) for need_decision in proof.need_decisions],
        "not_evaluated": [
            "service control policies",
            "permissions boundaries",
            "resource policies",
        ],
        "new_access": proof.new_access,
        "left_out": to_builtins(proof.left_out),
        "later_runs": to_builtins(proof.later_runs),
        "confidence": _confidences(proof.confidence),
        "confidence_by_action": _confidences(proof.by_action),
        "seen_once": proof.seen_once,
        "size_before": proof.size_before,
        "size_after": proof.size_after,
        "other_policies_size": proof.other_policies_size,
        "kind": proof.kind,
        "quota": quota(proof.kind),
        "fits": proof.fits,
        "files": [
            {"path": path, "size": size} for path, size in zip(paths, proof.sizes, strict=True)
        ],
        "merged": packed.merged if packed else [],
        "wildcards": to_builtins(packed.wildcards) if packed else [],
    }


def ledger_value(ledger: Ledger) -> dict[str, object]:
    """The state of each fact, with the sums of all."""
    calls = ledger.calls
    return {
        "sums": {
            kind: {"total": sum(states.values()), **states} for kind, states in ledger.sums.items()
        },
        "calls_not_evaluated": dict(calls.not_evaluated),
        "calls_denied": [{"event": group.event, "count": group.count} for group in calls.denied],
        "denials": [_denial(fact) for fact in ledger.denials],
        "declared_needs": [_need(fact) for fact in ledger.needs],
        "statements": [_statement(facts) for facts in ledger.statements],
        "records_without_call": dict(ledger.records.others),
        "unreviewed": sorted(ledger.unreviewed),
    }


def _denial(fact: DenialFact) -> dict[str, object]:
    permission = fact.usage.need.permission
    return {
        "action": permission.action,
        "resource": permission.resource,
        "state": fact.state,
        **_reason(fact),
        "count": fact.usage.count,
        "runs": list(fact.usage.runs),
    }


def _need(fact: NeedFact) -> dict[str, object]:
    permission = fact.need.permission
    return {
        "action": permission.action,
        "resource": permission.resource,
        "state": fact.state,
        **_reason(fact),
    }


def _reason(fact: DenialFact | NeedFact) -> dict[str, object]:
    return {"guard": fact.guard, "reason": fact.why} if fact.why else {}


def _statement(facts: StatementFacts) -> dict[str, object]:
    """The actions of a statement by state, with the guard of each that has one."""
    statement_value: dict[str, object] = {
        "statement": facts.statement.index,
        "sid": facts.statement.sid,
        "line": facts.statement.line,
        "narrowed": sorted(facts.narrowed),
    }
    for state in GrantState:
        grants = facts.of(state)
        if state in (GrantState.KEPT_UNUSED, GrantState.REMOVED_UNRECORDED):
            statement_value[state.value] = {grant.action: grant.guard for grant in grants}
        else:
            statement_value[state.value] = [grant.action for grant in grants]
    return statement_value


def _chance(chance: Chance) -> dict[str, object]:
    counts = to_builtins(chance)
    # They only decide the estimate and a sentence.
    del counts["latest"], counts["last_is_settled"]
    return {
        **counts,
        "shown": {kind.value: count for kind, count in chance.shown.items()},
        "not_shown": list(chance.not_shown),
        "word": chance.word,
        "estimate": round(chance.estimate, 4),
    }


def _confidences(found: Confidences | None) -> dict[str, Any] | None:
    """Estimates in total and per service; shares are from 0 to 1."""
    services = (
        {name: _confidence(confidence) for name, confidence in found.by_service.items()}
        if found
        else {}
    )
    return {**_confidence(found.whole), "services": services} if found else None


def _confidence(found: Confidence) -> dict[str, Any]:
    return {
        **to_builtins(found),
        **{key: round(getattr(found, key), 4) for key in ("coverage", "unseen", "chance")},
    }


def _decision(decision: NeedDecision, names: dict[int, str]) -> dict[str, object]:
    """A replayed need with the statement that decided; the proposal's own documents are not files
    yet.
    """
    document, statement = decision.document, decision.statement
    return {
        "action": decision.permission.action,
        "resource": decision.permission.resource,
        "region": decision.region,
        "decision": decision.effect,
        "statement": statement_place(names.get(id(document), document.where), statement)
        if document and statement
        else None,
    }
