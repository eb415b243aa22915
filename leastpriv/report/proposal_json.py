"""`proposal.json`: the proposal in full for machines; its format has a version, which only ever gains fields."""

from __future__ import annotations

from datetime import datetime

from leastpriv import __version__
from leastpriv.diff.compare import Difference, Entry
from leastpriv.evidence.aws_findings.models import (
    AccessReport,
    GeneratedPolicy,
    InternalAccess,
    LastAccess,
    UnusedAccess,
)
from leastpriv.models import ChangeKind, Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.generalize import Pattern
from leastpriv.policy.size import quota
from leastpriv.proposal.addition_rules import origin_marks
from leastpriv.proposal.confidence import Confidence, Confidences
from leastpriv.proposal.guards.second_opinion import compare_with_generated_policy
from leastpriv.proposal.leave_one_run_out import LeaveOneOutResult
from leastpriv.proposal.models import Change, CheckResult, HeldBackChange
from leastpriv.proposal.proof import NeedDecision
from leastpriv.proposal.suggestions import SuggestedAction
from leastpriv.report.changes import statements_to_copy
from leastpriv.report.context import ReportContext
from leastpriv.report.coverage_picture import coverage_value
from leastpriv.report.escalation import escalation_value
from leastpriv.report.escape import json_text
from leastpriv.report.evidence_limits import live_role_value
from leastpriv.report.role_chain import role_chain_value
from leastpriv.report.tables import conditions_value, gap_row, permission_row, time_value


def difference_value(difference: Difference) -> dict[str, object]:
    """The committed policy entry by entry with its usage, and the missing permissions."""
    return {
        "entries": [_entry(entry) for entry in difference.entries],
        "missing": [
            {"action": usage.need.permission.action, "resource": usage.need.permission.resource, "count": usage.count}
            for usage in difference.missing
        ],
    }


def _entry(entry: Entry) -> dict[str, object]:
    used = [
        action for action, usages in entry.uses.items() if any(usage.outcome is Outcome.ALLOWED for usage in usages)
    ]
    return {
        "statement": entry.statement.index,
        "sid": entry.statement.sid,
        "line": entry.statement.line,
        "entry": entry.pattern,
        "granted": len(entry.granted),
        "used": sorted(used),
    }


def proof_value(context: ReportContext) -> dict[str, object]:
    """The proof in full: each replayed need with the statement that allows it, and the left-out runs."""
    proof, packed = context.proof, context.proposal.packed
    replay = proof.replay
    return {
        "recorded": replay.recorded,
        "allowed": replay.allowed,
        "in_part": replay.in_part,
        "conditional": replay.conditional,
        "unmapped": replay.unmapped,
        "refused": [{"event": group.event, "count": group.count} for group in replay.denied],
        "replayed": [_need_decision_value(allowance, _names(context)) for allowance in proof.need_decisions],
        "not_modelled": ["service control policies", "permissions boundaries", "resource policies"],
        "new_access": list(proof.new_access),
        "left_out": _left_out(proof.left_out) if proof.left_out else None,
        "chance_of_something_new": round(proof.chance, 4),
        "chance_rests_on_runs": proof.chance_runs,
        "confidence": _confidences(proof.confidence) if proof.confidence else None,
        "confidence_by_action": _confidences(proof.by_action) if proof.by_action else None,
        "seen_once": list(proof.seen_once),
        "size_before": proof.size_before,
        "size_after": proof.size_after,
        "size_beside": proof.other_policies_size,
        "attached_as": proof.kind,
        "quota": quota(proof.kind),
        "fits": proof.fits,
        "files": [
            {"path": path, "size": size}
            for path, size in zip((context.policy_file, *context.further), proof.sizes, strict=True)
        ],
        "merged": list(packed.merged) if packed else [],
        "folds": [
            {"pattern": fold.pattern, "actions": list(fold.actions)} for fold in (packed.wildcards if packed else ())
        ],
    }


def _confidences(found: Confidences) -> dict[str, object]:
    """Estimates in total and per service; shares are from 0 to 1."""
    services = {service: _confidence(each) for service, each in found.by_service.items()}
    return {**_confidence(found.whole), "services": services}


def _confidence(found: Confidence) -> dict[str, object]:
    return {
        "runs": found.runs,
        "permissions": found.permissions,
        "uses": found.uses,
        "seen_in_one_run": found.once,
        "seen_in_two_runs": found.twice,
        "runs_with_something_new": found.own,
        "coverage": round(found.coverage, 4),
        "unseen_at_least": round(found.unseen, 2),
        "chance_of_something_new": round(found.chance, 4),
    }


def _names(context: ReportContext) -> dict[int, str]:
    """Name of the proposal's own documents by their identity: they are not files yet."""
    files = (context.policy_file, *context.further)
    return {id(document): path for document, path in zip(context.proposal.documents, files, strict=True)}


def _need_decision_value(allowance: NeedDecision, names: dict[int, str]) -> dict[str, object]:
    document, statement = allowance.document, allowance.statement
    place = None
    if document is not None and statement is not None:
        place = {
            "file": names.get(id(document), document.where),
            "index": statement.index,
            "sid": statement.sid or None,
            "line": statement.line,
        }
    permission = allowance.permission
    return {
        "action": permission.action,
        "resource": permission.resource,
        "region": allowance.region,
        "decision": allowance.effect,
        "statement": place,
    }


def _left_out(found: LeaveOneOutResult) -> dict[str, object]:
    return {
        "runs": found.runs,
        "not_judged": found.not_checked,
        "refused": {run: list(actions) for run, actions in found.denied.items()},
        "untried": found.untried,
    }


def check_result_value(check_result: CheckResult) -> dict[str, object]:
    """The result of one AWS check."""
    return {
        "judge": check_result.operation,
        "asked": check_result.asked,
        "failure": check_result.failure,
        "unasked": list(check_result.skipped_sources),
        "remarks": [
            {
                "weight": finding.severity,
                "code": finding.code,
                "text": finding.text,
                "file": finding.file,
                "line": finding.line or None,
                "link": finding.link,
                "already": finding.in_committed_policy,
            }
            for finding in check_result.findings
        ],
    }


def suggested_action_value(suggestion: SuggestedAction) -> dict[str, object]:
    """One suggested action."""
    return {
        "action": suggestion.action,
        "basis": suggestion.basis,
        "because": suggestion.because,
        "resources": list(suggestion.resources),
    }


def _inside(found: InternalAccess) -> dict[str, object]:
    return {"analyzer": found.analyzer, "resource": found.resource, "actions": list(found.actions)}


def aws_findings_value(context: ReportContext) -> dict[str, object]:
    """AWS's findings by source; null without an answer, for which `unasked` gives the reason."""
    hints = context.evidence.aws_findings
    comparison = compare_with_generated_policy(
        [*context.proposal.documents, *context.attached_documents], context.evidence
    )
    asked = [
        {"action": each.action, "why": each.why, "resources": list(each.resources), "filled": each.has_real_resources}
        for each in (comparison.questions if comparison else ())
    ]
    return {
        "last_accessed": _access(hints.access) if hints.access else None,
        "generated_policy": {**_generated(hints.generated), "questions": asked} if hints.generated else None,
        "unused_access": [_unused(each) for each in hints.unused],
        "outside_access": [
            {"principal": each.principal, "public": each.is_public, "conditions": dict(each.conditions)}
            for each in hints.outside
        ],
        **({"inside_access": [_inside(each) for each in hints.inside]} if hints.inside else {}),
        "resource_types": {
            "asked": list(hints.declared.types),
            "untold": list(hints.declared.untold),
            "unknown_actions": list(hints.declared.unknown),
            "failure": hints.declared.failure,
        },
        "unasked": [{"source": each.source, "why": each.why} for each in hints.skipped_sources],
    }


def _access(report: AccessReport) -> dict[str, object]:
    return {
        "made": _time(report.made),
        "services": {
            name: {
                "last": _attempt(service.last),
                "actions": {action: _attempt(attempt) for action, attempt in sorted(service.actions.items())},
                "granted_by": list(report.granted_by.get(name, ())),
            }
            for name, service in sorted(report.services.items())
        },
        "shared": [
            {"policy": each.arn, "service": each.service, "known": each.is_known, "others": sorted(each.others)}
            for each in report.shared
        ],
        "missing": report.missing,
    }


def _attempt(attempt: LastAccess | None) -> dict[str, object] | None:
    return {"time": _time(attempt.time), "region": attempt.region} if attempt else None


def _generated(generated: GeneratedPolicy) -> dict[str, object]:
    return {
        "job": generated.job,
        "first": _time(generated.first),
        "last": _time(generated.last),
        "complete": generated.is_complete,
        "grants": [{"action": action, "resources": list(resources)} for action, resources in generated.grants],
    }


def _unused(unused: UnusedAccess) -> dict[str, object]:
    return {
        "analyzer": unused.analyzer,
        "days": unused.days,
        "whole": unused.is_whole,
        "services": list(unused.services),
        "actions": list(unused.actions),
        "advice": [{"step": each.step, "policy": each.policy, "grants": list(each.grants)} for each in unused.advice],
        "unadvised": list(unused.without_recommendation),
    }


def _time(time: datetime | None) -> str | None:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None


def proposal_json(context: ReportContext, name: str, text: str) -> str:
    """The proposal as indented JSON; `name` and `text` are the pull request's title and body."""
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
        "changes": [{**change_value(change), "marks": _marks(change, context)} for change in proposal.changes],
        "held_back": [held_value(held) for held in proposal.held_back],
        "stays_on_all": [held_value(held) for held in proposal.held_back_restrictions],
        "refused": [held_value(held) for held in proposal.held_back_additions],
        "gaps": [gap_row(gap) for gap in evidence.gaps],
        "coverage": coverage_value(evidence.coverage),
        "live": live_role_value(context),
        "evidence": {
            "files": context.files,
            "records": context.records,
            "calls": evidence.counts.calls,
            "allowed": evidence.counts.allowed,
            "denied": evidence.counts.denied,
            "unknown": evidence.counts.unknown,
            "first": time_value(evidence.first),
            "last": time_value(evidence.last),
            "regions": list(evidence.regions),
            "runs": [
                {"id": run.id, "first": time_value(run.first), "last": time_value(run.last), "denied": run.denied}
                for run in evidence.runs
            ],
        },
        "chain": role_chain_value(context.chained) if context.chained else None,
        "hints": aws_findings_value(context),
        "difference": difference_value(context.difference),
        "proof": proof_value(context),
        "escalation": escalation_value(context),
        "judgements": [check_result_value(check_result) for check_result in context.check_results],
        "kept_siblings": [suggested_action_value(suggestion) for suggestion in context.kept_counterparts],
        "offers": [suggested_action_value(suggestion) for suggestion in context.suggested_actions],
        "offered_conditions": [
            {
                "statement": each.statement,
                "sid": each.sid,
                "actions": list(each.actions),
                "condition": conditions_value([each.condition]),
                "runs": each.runs,
            }
            for each in context.suggested_conditions
        ],
        "offered_statements": statements_to_copy(context.suggested_actions),
    }
    return json_text(value, indent=2) + "\n"


def _marks(change: Change, context: ReportContext) -> dict[str, list[str]]:
    """What a reviewer must know of the runs behind an addition, with the resources that it is about."""
    origins = context.history.origins
    is_addition = change.kind is ChangeKind.ADD and bool(origins)
    found = origin_marks(change.usages, origins) if is_addition else {}
    return {mark: list(resources) for mark, resources in found.items()}


def change_value(change: Change) -> dict[str, object]:
    """A change with its evidence."""
    written = {*change.resources, *change.restricted_to}
    return {
        "kind": change.kind,
        "action": change.action,
        "resources": list(change.resources),
        "statement": change.statement if change.line else None,
        "sid": change.sid,
        "line": change.line or None,
        "granted": change.granted,
        "used": list(change.used),
        "gone": list(change.removed_actions),
        "becomes": list(change.replacement),
        "onto": list(change.restricted_to),
        "stays": {
            action: {"guard": guard_result.guard, "reason": guard_result.reason}
            for action, guard_result in (change.kept or {}).items()
        },
        "unproven": {action: guard_result.reason for action, guard_result in (change.unproven or {}).items()},
        "basis": change.basis,
        **({"declared_by": list(change.declared_by)} if change.declared_by else {}),
        "because": change.because,
        "conditions": conditions_value(change.conditions),
        "security": change.security,
        "removed_by": change.removed_by or None,
        "closes": list(change.closes),
        "patterns": [_pattern(found) for found in change.patterns if found.pattern in written],
        "usages": [usage_value(usage) for usage in change.usages],
    }


def _pattern(found: Pattern) -> dict[str, object]:
    return {
        "pattern": found.pattern,
        "covers": list(found.covers),
        "openings": [{"part": opening.part, "reason": opening.reason} for opening in found.openings],
    }


def held_value(held: HeldBackChange) -> dict[str, object]:
    """A change that a guard held back, or a need that is not added."""
    return {
        "kind": held.kind,
        "action": held.action,
        "resources": list(held.resources),
        "sid": held.sid,
        "guard": held.guard_result.guard,
        "reason": held.guard_result.reason,
        "usages": [usage_value(usage) for usage in held.usages],
    }


def usage_value(usage: Usage) -> dict[str, object]:
    """A usage of any outcome."""
    log: dict[str, object] = {"log": usage.denial.log} if usage.denial and usage.denial.log else {}
    if usage.denial and usage.denial.judged_by:
        log["judged_by"] = list(usage.denial.judged_by)
    return {**permission_row(usage), "outcome": usage.outcome, "derivation": usage.need.derivation, **log}
