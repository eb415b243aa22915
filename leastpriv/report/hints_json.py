"""AWS's own word on the use in `proposal.json`."""

from __future__ import annotations

from datetime import datetime

from leastpriv.evidence.hints.found import AccessReport, Attempt, GeneratedPolicy, UnusedAccess
from leastpriv.proposal.second_opinion import second_opinion
from leastpriv.report.subject import Subject


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
