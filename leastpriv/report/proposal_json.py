"""`proposal.json`: the proposal in full for machines. Its form has a version; fields are only ever added to one."""

from __future__ import annotations

from leastpriv import __version__
from leastpriv.model import Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.generalise import Pattern
from leastpriv.proposal.situation import Change, HeldBack
from leastpriv.report.chain import chained_value
from leastpriv.report.escape import json_text
from leastpriv.report.hints_json import hints_value
from leastpriv.report.judgement_json import judgement_value, offer_value
from leastpriv.report.live import live_value
from leastpriv.report.offers import statements
from leastpriv.report.proof_json import difference_value, proof_value
from leastpriv.report.subject import Subject
from leastpriv.report.usage_rows import conditions_value, gap_row, permission_row, time_value


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
