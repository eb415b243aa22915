"""Decides what the first line of a result says: safe to merge or not, or why nothing changes."""

from __future__ import annotations

from leastpriv.models import ChangeKind
from leastpriv.proposal.self_widening import PROBE
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code
from leastpriv.report.phrases import codes, day, evidence_span, latest_use, oldest_first, plural, run_links, runs_of

MOST_SHOWN = 5
"""Names in one line; a first screen has no longer list."""
_HIGH_CHANCE = 0.2
_LOW_CHANCE = 0.05


def verdict(context: ReportContext) -> str:
    """Returns the first line of a result: the answer to "Safe to merge?" with its reason, or why nothing changes."""
    proposal, evidence = context.proposal, context.evidence
    declined = any(held.guard_result.guard == "declined" for held in proposal.held_back_additions)
    if proposal.committed is None and declined:
        return f"**The first draft was declined** for {code(context.role)}, so there is none."
    if evidence.counts.calls and not context.proof.replay.recorded and not proposal.changes:
        return _probe_verdict(context) or (
            f"**No change is proposed.** No call of {code(context.role)} succeeded in {evidence_span(evidence)}, so "
            "the policy remains as it is."
        )
    if not evidence.counts.calls and not context.changes(ChangeKind.ADD):
        return (
            f"**No call of {code(context.principal)}** is among the {context.records:,} records that were read. Check "
            "the ARN and the trail."
        )
    if not proposal.changes:
        draft = proposal.committed is None
        what = "No permission that can be written was used" if draft else "The policy has what the role used"
        denied = sum(each.count for each in context.proof.replay.denied)
        if denied and not draft:
            calls = f"{plural(denied, 'recorded call')} in {evidence_span(evidence)}"
            return f"**Nothing to change.** The policy lacks what {calls} used, and nothing can be added for that."
        return f"**Nothing to {'draft' if draft else 'change'}.** {what} in {evidence_span(evidence)}."
    answer, why = _answer(context)
    return f"**Safe to merge? {answer}.** {why}"


def _probe_verdict(context: ReportContext) -> str:
    """The verdict where sessions of many denials made the calls and none succeeded; else empty."""
    held = (each for each in context.proposal.held_back_additions if each.guard_result.guard == PROBE)
    usages = [usage for each in held for usage in each.usages]
    if not usages:
        return ""
    runs = run_links(oldest_first(runs_of(usages), context.evidence.runs), context.run_url)
    return (
        f"**No change is proposed, and this may be an attack.** No call of {code(context.role)} succeeded, and "
        f"{context.evidence.counts.denied:,} were denied. That looks like a probe with stolen credentials: find out "
        f"who started {runs}, last seen on {day(latest_use(usages))}."
    )


def short_verdict(context: ReportContext) -> str:
    """Returns the verdict in a few words, for a table: the answer to "Safe to merge?", or why there is none."""
    if context.proposal.changes:
        return _answer(context)[0]
    if not context.evidence.counts.calls:
        return "No calls"
    return "Nothing to change" if context.proof.replay.recorded else "Not enough evidence"


def _answer(context: ReportContext) -> tuple[str, str]:
    """The answer and its reason."""
    proof, role = context.proof, code(context.role)
    if any(each.disagreements for each in context.check_results):
        return "No", "AWS contradicts the proof of this proposal: see below."
    if proof.new_access or not proof.fits:
        what = "It grants more than the listed additions" if proof.new_access else "It is larger than IAM accepts"
        return "No", f"{what}: see *Proof*."
    if proof.newly_denied:
        return "No", f"It would deny recorded calls that the policy allows: {codes(proof.newly_denied, MOST_SHOWN)}."
    careful = {change.action: change.security for change in context.changes(ChangeKind.ADD) if change.security}
    if careful:
        [(first, why), *others] = careful.items()
        text = (
            f"It adds power over permissions, keys or code: {codes(careful, 3)}."
            if others
            else f"It adds {code(first)}, which {why}."
        )
        draft = " Merging changes nothing in the account until you attach the policy."
        return "After a security review", text + (draft if context.proposal.committed is None else "")
    if context.proposal.committed is None:
        return "Yes", f"The new file changes nothing until you attach it to {role} and detach the wide policy."
    if not any(change.kind is not ChangeKind.ADD for change in context.proposal.changes):
        return "Yes", "It only adds permissions: review these."
    which = " that the policy allows" if proof.replay.denied else ""
    remains = f"Every recorded call of {role} in {evidence_span(context.evidence)}{which} remains allowed"
    if proof.chance > _HIGH_CHANCE:
        return "Not yet", "Later runs often needed new actions: rehearse it first, or wait for more runs."
    if any(change.unproven for change in context.proposal.changes):
        unproven = sum(len(change.unproven or {}) for change in context.proposal.changes)
        return (
            "Probably",
            f"{remains}, but {plural(unproven, 'removed action')} may leave no record: rehearse the change first.",
        )
    if not context.evidence.coverage.data and any(
        (change.kind is not ChangeKind.ADD and change.action.startswith(("*", "NotAction")))
        for change in context.proposal.changes
    ):
        return (
            "Probably",
            f"{remains}, but services are removed whose use may leave no record: rehearse the change first.",
        )
    return "Probably" if proof.chance > _LOW_CHANCE else "Yes", f"{remains}."
