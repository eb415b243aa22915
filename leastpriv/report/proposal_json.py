"""`proposal.json`: the proposal in full for machines. Its form has a version; fields are only ever added to one.

The parts of `proposal.json` that say what the policy grants and what the proposal can show for itself.

What AWS says of a proposal, and what is offered beside it, for `proposal.json`.

AWS's own word on the use in `proposal.json`.
"""

from __future__ import annotations

from datetime import datetime

from leastpriv import __version__
from leastpriv.diff.compare import Difference, Entry
from leastpriv.evidence.aws_findings.models import AccessReport, Attempt, GeneratedPolicy, UnusedAccess
from leastpriv.models import Outcome, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.generalize import Pattern
from leastpriv.policy.size import quota
from leastpriv.proposal.confidence import Confidence, Confidences
from leastpriv.proposal.guards.second_opinion import second_opinion
from leastpriv.proposal.leave_one_run_out import LeftOut
from leastpriv.proposal.models import Change, HeldBack, Judgement
from leastpriv.proposal.proof import Allowance
from leastpriv.proposal.suggestions import Offer
from leastpriv.report.changes import statements
from leastpriv.report.context import Subject
from leastpriv.report.escape import json_text
from leastpriv.report.evidence_limits import live_value
from leastpriv.report.role_chain import chained_value
from leastpriv.report.tables import conditions_value, gap_row, permission_row, time_value


def difference_value(difference: Difference) -> dict[str, object]:
    """The committed policy entry by entry, a wildcard as one; and what it lacks. Unused actions are counted alone."""
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


def proof_value(subject: Subject) -> dict[str, object]:
    """The proof in full: each replayed need with the statement that allows it, and the runs left out."""
    proof, packed = subject.proof, subject.draft.packed
    replay = proof.replay
    return {
        "recorded": replay.recorded,
        "allowed": replay.allowed,
        "in_part": replay.in_part,
        "conditional": replay.conditional,
        "unmapped": replay.unmapped,
        "refused": [{"event": group.event, "count": group.count} for group in replay.refused],
        "replayed": [_allowance(allowance, _names(subject)) for allowance in proof.allowances],
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
        "size_beside": proof.size_beside,
        "attached_as": proof.kind,
        "quota": quota(proof.kind),
        "fits": proof.fits,
        "files": [
            {"path": path, "size": size}
            for path, size in zip((subject.policy_file, *subject.further), proof.sizes, strict=True)
        ],
        "merged": list(packed.merged) if packed else [],
        "folds": [
            {"pattern": fold.pattern, "actions": list(fold.actions)} for fold in (packed.folds if packed else ())
        ],
    }


def _confidences(found: Confidences) -> dict[str, object]:
    """What the runs show of how much more there is, in all and by service; shares are from 0 to 1."""
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


def _names(subject: Subject) -> dict[int, str]:
    """Name of the proposal's own documents, by their identity: they are no files yet."""
    files = (subject.policy_file, *subject.further)
    return {id(document): path for document, path in zip(subject.draft.documents, files, strict=True)}


def _allowance(allowance: Allowance, names: dict[int, str]) -> dict[str, object]:
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


def _left_out(found: LeftOut) -> dict[str, object]:
    return {
        "runs": found.runs,
        "not_judged": found.not_judged,
        "refused": {run: list(actions) for run, actions in found.refused.items()},
        "untried": found.untried,
    }


def judgement_value(judgement: Judgement) -> dict[str, object]:
    """One judge's answer."""
    return {
        "judge": judgement.judge,
        "asked": judgement.asked,
        "failure": judgement.failure,
        "unasked": list(judgement.unasked),
        "remarks": [
            {
                "weight": remark.weight,
                "code": remark.code,
                "text": remark.text,
                "file": remark.file,
                "line": remark.line or None,
                "link": remark.link,
                "already": remark.already,
            }
            for remark in judgement.remarks
        ],
    }


def offer_value(offer: Offer) -> dict[str, object]:
    """One action that is offered."""
    return {
        "action": offer.action,
        "basis": offer.basis,
        "because": offer.because,
        "resources": list(offer.resources),
    }


def hints_value(subject: Subject) -> dict[str, object]:
    """What AWS said, source by source; null where nobody asked, or AWS did not answer, which `unasked` tells."""
    hints = subject.evidence.hints
    opinion = second_opinion([*subject.draft.documents, *subject.attached_documents], subject.evidence)
    asked = [
        {"action": each.action, "why": each.why, "resources": list(each.resources), "filled": each.is_filled}
        for each in (opinion.questions if opinion else ())
    ]
    return {
        "last_accessed": _access(hints.access) if hints.access else None,
        "generated_policy": {**_generated(hints.generated), "questions": asked} if hints.generated else None,
        "unused_access": [_unused(each) for each in hints.unused],
        "outside_access": [
            {"principal": each.principal, "public": each.is_public, "conditions": dict(each.conditions)}
            for each in hints.outside
        ],
        "resource_types": {
            "asked": list(hints.declared.types),
            "untold": list(hints.declared.untold),
            "unknown_actions": list(hints.declared.unknown),
            "failure": hints.declared.failure,
        },
        "unasked": [{"source": each.source, "why": each.why} for each in hints.unasked],
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


def _attempt(attempt: Attempt | None) -> dict[str, object] | None:
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
        "unadvised": list(unused.unadvised),
    }


def _time(time: datetime | None) -> str | None:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None


def proposal_json(subject: Subject, name: str, text: str) -> str:
    """The proposal as indented JSON; `name` and `text` are the pull request's title and body."""
    evidence, draft = subject.evidence, subject.draft
    value = {
        "schema": 1,
        "version": __version__,
        "catalogue": catalog.version(),
        "principal": subject.principal,
        "policy_file": subject.policy_file,
        "fingerprint": subject.fingerprint,
        "title": name,
        "body": text,
        "changes": [change_value(change) for change in draft.changes],
        "held_back": [held_value(held) for held in draft.held_back],
        "stays_on_all": [held_value(held) for held in draft.held_open],
        "refused": [held_value(held) for held in draft.refused],
        "gaps": [gap_row(gap) for gap in evidence.gaps],
        "live": live_value(subject),
        "evidence": {
            "files": subject.files,
            "records": subject.records,
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
        "chain": chained_value(subject.chained) if subject.chained else None,
        "hints": hints_value(subject),
        "difference": difference_value(subject.difference),
        "proof": proof_value(subject),
        "judgements": [judgement_value(judgement) for judgement in subject.judgements],
        "kept_siblings": [offer_value(offer) for offer in subject.kept_siblings],
        "offers": [offer_value(offer) for offer in subject.offers],
        "offered_conditions": [
            {
                "statement": each.statement,
                "sid": each.sid,
                "actions": list(each.actions),
                "condition": conditions_value([each.condition]),
                "runs": each.runs,
            }
            for each in subject.offered_conditions
        ],
        "offered_statements": statements(subject.offers),
    }
    return json_text(value, indent=2) + "\n"


def change_value(change: Change) -> dict[str, object]:
    """A change with its evidence."""
    written = {*change.resources, *change.onto}
    return {
        "kind": change.kind,
        "action": change.action,
        "resources": list(change.resources),
        "statement": change.statement if change.line else None,
        "sid": change.sid,
        "line": change.line or None,
        "granted": change.granted,
        "used": list(change.used),
        "gone": list(change.gone),
        "becomes": list(change.becomes),
        "onto": list(change.onto),
        "stays": {
            action: {"guard": objection.guard, "reason": objection.reason}
            for action, objection in (change.stays or {}).items()
        },
        "basis": change.basis,
        "conditions": conditions_value(change.conditions),
        "security": change.security,
        "removed_by": change.removed_by or None,
        "patterns": [_pattern(found) for found in change.patterns if found.pattern in written],
        "usages": [usage_value(usage) for usage in change.usages],
    }


def _pattern(found: Pattern) -> dict[str, object]:
    return {
        "pattern": found.pattern,
        "covers": list(found.covers),
        "openings": [{"part": opening.part, "reason": opening.reason} for opening in found.openings],
    }


def held_value(held: HeldBack) -> dict[str, object]:
    """A change that a guard held back, or a need that is not written."""
    return {
        "kind": held.kind,
        "action": held.action,
        "resources": list(held.resources),
        "sid": held.sid,
        "guard": held.objection.guard,
        "reason": held.objection.reason,
        "usages": [usage_value(usage) for usage in held.usages],
    }


def usage_value(usage: Usage) -> dict[str, object]:
    """What a usage tells, of any outcome."""
    log = {"log": usage.denial.log} if usage.denial and usage.denial.log else {}
    return {**permission_row(usage), "outcome": usage.outcome, "derivation": usage.need.derivation, **log}
