"""The parts of `proposal.json` that say what the policy grants and what the proposal can show for itself."""

from __future__ import annotations

from leastpriv.diff.compare import Difference, Entry
from leastpriv.model import Outcome
from leastpriv.policy.quotas import quota
from leastpriv.proposal.confidence import Confidence, Confidences
from leastpriv.proposal.left_out import LeftOut
from leastpriv.proposal.proof import Allowance
from leastpriv.report.subject import Subject


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
