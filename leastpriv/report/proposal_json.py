"""`proposal.json`: the proposal in full for machines. Its form has a version; fields are only ever added to one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from leastpriv import __version__
from leastpriv.model import Condition, Gap, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.generalise import Pattern
from leastpriv.proposal.situation import Change, HeldBack
from leastpriv.report.chain import chained_value
from leastpriv.report.hints_json import hints_value
from leastpriv.report.judgement_json import judgement_value, offer_value
from leastpriv.report.live import live_value
from leastpriv.report.offers import statements
from leastpriv.report.proof_json import difference_value, proof_value
from leastpriv.report.subject import Subject


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
        "changes": [_change(change) for change in draft.changes],
        "held_back": [_held(held) for held in draft.held_back],
        "stays_on_all": [_held(held) for held in draft.held_open],
        "refused": [_held(held) for held in draft.refused],
        "gaps": [_gap(gap) for gap in evidence.gaps],
        "live": live_value(subject),
        "evidence": {
            "files": subject.files,
            "records": subject.records,
            "calls": evidence.counts.calls,
            "allowed": evidence.counts.allowed,
            "denied": evidence.counts.denied,
            "unknown": evidence.counts.unknown,
            "first": _time(evidence.first),
            "last": _time(evidence.last),
            "regions": list(evidence.regions),
            "runs": [
                {"id": run.id, "first": _time(run.first), "last": _time(run.last), "denied": run.denied}
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
                "condition": _conditions([each.condition]),
                "runs": each.runs,
            }
            for each in subject.offered_conditions
        ],
        "offered_statements": statements(subject.offers),
    }
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def _change(change: Change) -> dict[str, object]:
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
        "conditions": _conditions(change.conditions),
        "security": change.security,
        "removed_by": change.removed_by or None,
        "patterns": [_pattern(found) for found in change.patterns if found.pattern in written],
        "usages": [_usage(usage) for usage in change.usages],
    }


def _pattern(found: Pattern) -> dict[str, object]:
    return {
        "pattern": found.pattern,
        "covers": list(found.covers),
        "openings": [{"part": opening.part, "reason": opening.reason} for opening in found.openings],
    }


def _held(held: HeldBack) -> dict[str, object]:
    return {
        "kind": held.kind,
        "action": held.action,
        "resources": list(held.resources),
        "sid": held.sid,
        "guard": held.objection.guard,
        "reason": held.objection.reason,
        "usages": [_usage(usage) for usage in held.usages],
    }


def _usage(usage: Usage) -> dict[str, object]:
    log = {"log": usage.denial.log} if usage.denial and usage.denial.log else {}
    return {**permission_row(usage), "outcome": usage.outcome, "derivation": usage.need.derivation, **log}


def permission_row(usage: Usage) -> dict[str, object]:
    """One row of `leastpriv permissions` for a need that an identity policy can meet."""
    need = usage.need
    return {
        "action": need.permission.action,
        "resource": need.permission.resource,
        "conditions": _conditions(need.permission.conditions),
        "basis": need.basis,
        "count": usage.count,
        "first_seen": _time(usage.first_seen),
        "last_seen": _time(usage.last_seen),
        "runs": list(usage.runs),
        "events": list(usage.events),
        **({"forwarded_by": list(usage.forwarded_by)} if usage.forwarded_by else {}),
        **({} if need.verified else {"verified": False}),
    }


def denied_row(usage: Usage) -> dict[str, object]:
    """One row of `leastpriv permissions` for a refusal that no identity policy can mend."""
    need, denial = usage.need, usage.denial
    return {
        "denied": need.permission.action,
        "denied_by": denial.denied_by if denial else "unknown",
        "resource": need.permission.resource,
        "count": usage.count,
        "first_seen": _time(usage.first_seen),
        "last_seen": _time(usage.last_seen),
        "runs": list(usage.runs),
        "events": list(usage.events),
    }


def gap_row(gap: Gap) -> dict[str, object]:
    """One row of `leastpriv permissions` for something the evidence could not see."""
    return _gap(gap)


def _gap(gap: Gap) -> dict[str, object]:
    scope = gap.scope
    parts = ("services", "actions", "regions", "events", "outside")
    named: dict[str, tuple[str, ...]] = {part: getattr(scope, part) for part in parts}
    shown: dict[str, object] = {part: list(values) for part, values in named.items() if values}
    if scope.data_events:
        shown["data_events"] = True
    return {"gap": gap.kind, "scope": shown or "all", "detail": gap.detail, "count": gap.count}


def _conditions(conditions: Sequence[Condition]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for condition in conditions:
        found.setdefault(condition.operator, {})[condition.key] = list(condition.values)
    return found


def _time(time: datetime | None) -> str | None:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None
