"""Sections on the proof: replay and coverage, the chance of a new need, and the results of AWS's
checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from leastpriv.models import ChangeKind
from leastpriv.policy.size import PolicyKind, max_managed_policies, quota
from leastpriv.proposal.leave_one_run_out import LeaveOneOutResult
from leastpriv.proposal.ledger import Calls, Ledger
from leastpriv.proposal.models import CheckFinding, CheckResult, Severity
from leastpriv.proposal.other_policies import OTHER_POLICIES
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import at_most, codes, joined, listed, plural, table_lines

_KINDS = {
    PolicyKind.MANAGED: "a managed policy",
    PolicyKind.INLINE_ROLE: "all inline policies of a role",
    PolicyKind.INLINE_USER: "all inline policies of a user",
    PolicyKind.SESSION: "a session policy",
}
_MOST_SERVICES = 4
_MOST = 12
_LINK = re.compile(r"https://docs\.aws\.amazon\.com/[\w./#-]+", re.ASCII)
_WORDS = {
    Severity.DISAGREES: "**disagrees**",
    Severity.ERROR: "**error**",
    Severity.SECURITY_WARNING: "**security warning**",
    Severity.WARNING: "warning",
    Severity.SUGGESTION: "suggestion",
}
_UNITS = {
    "ValidatePolicy": ("judged", "policy", "policies"),
    "SimulateCustomPolicy": ("judged", "action on a resource", "actions on resources"),
    OTHER_POLICIES: ("decided, under them,", "need of the replay", "needs of the replay"),
}
"""The unit that a check counts; the others count paid requests."""
_WITHOUT_OTHERS = "SCPs, permissions boundaries and resource policies are not evaluated."
_UNDER_OTHERS = "The checks have what the other policies deny."


def proof_lines(context: ReportContext) -> Iterator[str]:
    """The sentences as a list."""
    yield "\n".join(f"- {line}" for line in proof_sentences(context))


def proof_sentences(context: ReportContext) -> Iterator[str]:
    """Replay, new access, left-out runs, sizes and open questions, one line each; Markdown."""
    proof = context.proof
    replay = context.ledger.calls
    denied = ""
    if replay.denied:
        events = codes(dict.fromkeys(group.event for group in replay.denied), 6)
        denied = (
            f" **{plural(sum(group.count for group in replay.denied), 'call')} would be denied**:"
            f" {events}."
        )
    has_others = any(
        check_result.operation == OTHER_POLICIES for check_result in context.check_results
    )
    yield next(replay_sentences(replay, "the result", has_others=has_others)) + denied
    if proof.new_access:
        yield f"**New access beyond the listed additions**: {codes(proof.new_access, 6)}."
    else:
        yield (
            "No new"
            f" access{' beyond the listed additions' if context.changes(ChangeKind.ADD) else ''}."
        )
    if proof.left_out:
        yield _left_out_sentences(proof.left_out)
    yield _sizes(context)
    if unsure := " ".join(_unsure(replay, "the result")):
        yield f"Left open: {unsure}"


class FactRow(Struct, frozen=True):
    """The facts of one kind."""

    kind: str
    count: str
    states: str
    """How many of them are in each state."""


def fact_rows(ledger: Ledger) -> Iterator[FactRow]:
    """Yields a row for each kind of fact that was read."""
    for kind, states in ledger.sums.items():
        total = sum(states.values())
        if not total:
            continue
        state_words = [
            f"{count:,} {state.replace('-', ' ')}" for state, count in states.items() if count
        ]
        yield FactRow(kind.replace("_", " "), f"{total:,}", ", ".join(state_words))


def ledger_table(ledger: Ledger) -> list[str]:
    """Returns the number of facts in each state, a row for each kind of fact."""
    rows = [f"| {row.kind} | {row.count} | {row.states} |" for row in fact_rows(ledger)]
    return table_lines("Read | Number: | Of them", rows)


def replay_sentences(replay: Calls, by: str, *, has_others: bool = False) -> Iterator[str]:
    """How many calls `by` (`the result`) allows again, and with which certainty.

    `has_others`: the checks have what the policies decide that are not the role's own.
    """
    if not replay.succeeded:
        yield "No call succeeded, so none was replayed."
        return
    unmapped = plural(replay.unmapped, "call")
    unknown = f"; the actions of {unmapped} are not known" if replay.unmapped else ""
    not_evaluated = []
    if replay.refused:
        not_evaluated.append(f"{plural(replay.refused, 'call')} that AWS denied")
    if replay.unclear:
        not_evaluated.append(f"{plural(replay.unclear, 'call')} of unknown outcome")
    rest_words = f" Not evaluated: {joined(not_evaluated)}." if not_evaluated else ""
    yield (
        f"**{replay.allowed:,} of {replay.succeeded:,}** successful calls are allowed by"
        f" {by}{unknown}.{rest_words} {_UNDER_OTHERS if has_others else _WITHOUT_OTHERS}"
    )
    yield from _unsure(replay, by)


def _unsure(replay: Calls, by: str) -> Iterator[str]:
    if replay.in_part:
        yield (
            f"{plural(replay.in_part, 'call')} of these name the resource in part: {by} allows a"
            " part of it."
        )
    if replay.conditional:
        yield (
            f"{plural(replay.conditional, 'more call')} allowed if a condition holds that the"
            " record does not show."
        )


def _left_out_sentences(found: LeaveOneOutResult) -> str:
    """Returns what leaving one run out showed, and how many runs it could not judge."""
    untried = (
        f" {plural(found.untried, 'older run')} with actions of their own not tested."
        if found.untried
        else ""
    )
    if found.lacking:
        untried += f" {plural(found.lacking, 'run')} made calls that the result does not allow."
    if unsure := found.not_checked - found.lacking:
        untried += (
            f" {plural(unsure, 'run')} not judged: the result does not surely allow all of it."
        )
    tried = found.runs - found.untried
    if tried < 2:
        few = "only 1" if tried else "no run"
        return (
            f"Leaving one run out: not done; it needs two runs, and {few} can be tested.{untried}"
        )
    policy_words = "a policy made from the other runs"
    if not found.denied:
        return f"Leaving one run out: {policy_words} allows each of the {tried:,} runs.{untried}"
    return (
        f"Leaving one run out: in **{len(found.denied):,} of {plural(tried, 'run')}**"
        f" {policy_words}"
        f" lacks {codes(found.actions, 3)}. The more runs, the safer.{untried}"
    )


def _sizes(context: ReportContext) -> str:
    """Returns the size of the policy before and after, and the quota of IAM."""
    proof, packed = context.proof, context.proposal.packed
    limit = f"{quota(proof.kind):,} of {_KINDS[proof.kind]}"
    if proof.other_policies_size:
        limit += f", next to {proof.other_policies_size:,} of other inline policies"
    size_words = (
        f" ({sum(proof.sizes):,} in all {len(proof.sizes)} files)" if len(proof.sizes) > 1 else ""
    )
    excess = proof.size_after + proof.other_policies_size - quota(proof.kind)
    if not proof.fits and excess > 0:
        limit += f": **over the limit by {excess:,}**, IAM will reject it"
    elif not proof.fits:
        limit += (
            f": **more than the {max_managed_policies()} managed policies that a role may have**"
        )
    sentences = [
        f"Size {proof.size_before:,} → {proof.size_after:,}{size_words} characters, of at most"
        f" {limit}.",
        f"The lists of actions have {proof.entries_before:,} → {proof.entries_after:,} entries.",
    ]
    if packed and packed.further:
        parts = zip(context.further, proof.sizes[1:], strict=True)
        files = joined([f"{code(name)} ({size:,})" for name, size in parts])
        sentences.append(
            f"**Split**: attach {files} as well, a managed policy each; without it calls would be"
            " denied."
        )
    if packed and packed.merged:
        sentences.append(f"Merged into another statement, to save size: {codes(packed.merged, 6)}.")
    if packed and packed.wildcards:
        folds = [
            f"{code(fold.pattern)} for {plural(len(fold.actions), 'action')}"
            for fold in packed.wildcards[:6]
        ]
        sentences.append(
            f"Wildcards that grant exactly the same actions today, to save size: {joined(folds)}."
        )
    return " ".join(sentences)


def confidence_table(context: ReportContext) -> Iterator[str]:
    """One line with the confidence of each service, the lowest first; empty if no run used a
    permission.
    """
    confidences = context.proof.confidence
    if confidences is None or not confidences.whole.runs:
        return
    actions = context.proof.by_action or confidences
    services = sorted(
        (actions.of(f"{service}:").percent, service) for service in confidences.by_service
    )
    service_words = listed(
        (f"{code(service)} {percent} %" for percent, service in services), _MOST_SERVICES
    )
    what = "Confidence that the next run needs no new action (`minimum-confidence`)"
    yield f"{what}: {actions.whole.percent} % in all; {service_words}."


def disagreements(check_results: Sequence[CheckResult]) -> Iterator[str]:
    """A warning at the top of a page if AWS contradicts our evaluation."""
    disagreeing = [
        (check_result.operation, finding)
        for check_result in check_results
        for finding in check_result.disagreements
    ]
    if disagreeing:
        lines = [f"> - {code(check)}: {prose(finding.text)}" for check, finding in disagreeing]
        yield (
            "> [!CAUTION]\n> **AWS disagrees with this proposal's own proof.** Do not merge before"
            " you know why; please report it as a defect.\n>\n"
            + "\n".join(at_most(lines, _MOST, "> - and {:,} more"))
        )


def checks_section(check_results: Sequence[CheckResult]) -> Iterator[str]:
    """The section on all checks; empty if none ran."""
    if not check_results:
        return
    lines = [
        f"- {sentence}" for check_result in check_results for sentence in _sentences(check_result)
    ]
    findings = [finding for check_result in check_results for finding in check_result.findings]
    rows = [_row(finding) for finding in findings if finding.severity is not Severity.DISAGREES]
    rows = at_most(rows, _MOST, "| | | and {:,} more, in `proposal.json` |")
    table = "\n\n| Line | What | |\n| --- | --- | --- |\n" + "\n".join(rows) if rows else ""
    is_ours = all(check_result.operation == OTHER_POLICIES for check_result in check_results)
    heading = "Under the other policies" if is_ours else "Checks by AWS"
    yield f"#### {heading}\n\n" + "\n".join(lines) + table


def _sentences(check_result: CheckResult) -> Iterator[str]:
    """Yields what a check of AWS found, why it failed, and what it skipped."""
    check = code(check_result.operation)
    unit = _UNITS.get(check_result.operation, ("answered", "paid request", "paid requests"))
    if check_result.asked:
        grave = len(check_result.disagreements)
        other_findings = len(check_result.findings) - grave
        sentences = [f"**{plural(grave, 'disagreement')}**"] if grave else []
        sentences += [plural(other_findings, "remark")] if other_findings else []
        yield (
            f"{check} {unit[0]} {plural(check_result.asked, *unit[1:])}:"
            f" {', '.join(sentences) or 'no remark'}."
        )
    if check_result.failure:
        yield (
            f"{check} could not run{' further' if check_result.asked else ''}."
            f" {prose(check_result.failure)}"
        )
    for sentence in check_result.skipped_sources:
        yield f"{check}: {prose(sentence)}"


def _row(finding: CheckFinding) -> str:
    finding_place = code(f"{finding.file}:{finding.line}") if finding.line else code(finding.file)
    name = (
        f"[{code(finding.code)}]({finding.link})"
        if _LINK.fullmatch(finding.link)
        else code(finding.code)
    )
    already = " (so it is in the committed policy)" if finding.in_committed_policy else ""
    return (
        f"| {finding_place} | {_WORDS[finding.severity]} {name} | {prose(finding.text)}{already} |"
    )
