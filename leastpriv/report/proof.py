"""The proof in five lines, in the words of the first promise: it says what it covers and never claims more.

How likely the next deploy needs more than the policy grants: one sentence, and a table for the curious.

What AWS, as a second judge, says of the proposal: disagreements first and loud, then findings by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leastpriv.policy.size import Kind, most_managed, quota
from leastpriv.proposal.confidence import Confidence
from leastpriv.proposal.leave_one_run_out import LeftOut
from leastpriv.proposal.models import Judgement, Remark, Weight
from leastpriv.proposal.proof import Proof, Replay
from leastpriv.report.context import Subject
from leastpriv.report.escape import code, prose
from leastpriv.report.phrases import codes, joined, plural

_KINDS = {
    Kind.MANAGED: "a managed policy",
    Kind.INLINE_ROLE: "all inline policies of a role",
    Kind.INLINE_USER: "all inline policies of a user",
    Kind.SESSION: "a session policy",
}


def proof_lines(subject: Subject) -> Iterator[str]:
    """The section with its heading."""
    yield "### Proof\n\n" + "\n".join(f"- {line}" for line in proof_sentences(subject))


def proof_sentences(subject: Subject) -> Iterator[str]:
    """Replay, new access, runs left out, sizes, what is left open: one line each; Markdown."""
    proof = subject.proof
    replay = proof.replay
    told = [next(replay_sentences(replay, "the result"))]
    if replay.refused:
        events = codes((group.event for group in replay.refused), 6)
        told.append(f"**{plural(sum(group.count for group in replay.refused), 'call')} would be refused**: {events}.")
    yield " ".join(told)
    if proof.new_access:
        yield f"**New access beyond the listed additions**: {codes(proof.new_access, 6)}."
    else:
        yield "No new access beyond the listed additions."
    if proof.left_out:
        yield _left_out(proof.left_out)
    yield _sizes(subject)
    yield _left_open(subject)


def replay_sentences(replay: Replay, by: str) -> Iterator[str]:
    """How many calls `by` (`the result`) allows again, and how surely."""
    yield (
        f"**{replay.allowed:,} of {replay.recorded:,}** recorded calls replayed and allowed by {by}, "
        f"{replay.unmapped:,} unmapped; SCPs, permissions boundaries and resource policies are not modelled."
    )
    yield from _unsure(replay, by)


def _unsure(replay: Replay, by: str) -> Iterator[str]:
    if replay.in_part:
        yield f"{plural(replay.in_part, 'call')} of these name the resource in part: {by} allows a part of it."
    if replay.conditional:
        yield f"{plural(replay.conditional, 'more call')} allowed if a condition holds that the record does not show."


def _left_out(found: LeftOut) -> str:
    """How a policy made from the other runs would have done for each run."""
    untried = f" {plural(found.untried, 'older run')} with something of their own not tried." if found.untried else ""
    if found.not_judged:
        untried += f" {plural(found.not_judged, 'run')} not judged: the result does not surely allow all of it."
    if not found.runs:
        return f"Leaving one run out: nothing to judge.{untried}"
    if not found.refused:
        every = f"every one of {plural(found.runs - found.untried, 'run')}"
        return f"Leaving one run out: a policy made from the others would have allowed {every}.{untried}"
    return (
        f"Leaving one run out: a policy made from the others would have refused **{len(found.refused):,} of "
        f"{plural(found.runs - found.untried, 'run')}**: {codes(found.actions, 6)}. The more runs, the safer.{untried}"
    )


def _sizes(subject: Subject) -> str:
    proof, packed = subject.proof, subject.draft.packed
    limit = f"{quota(proof.kind):,} of {_KINDS[proof.kind]}"
    beside = f", beside {proof.size_beside:,} of other inline policies" if proof.size_beside else ""
    told = [f"Size {proof.size_before:,} → {proof.size_after:,} of at most {limit}{beside}{_over(proof)}."]
    if packed and packed.further:
        parts = zip(subject.further, proof.sizes[1:], strict=True)
        files = joined([f"{code(name)} ({size:,})" for name, size in parts])
        told.append(f"**Split**: attach {files} as well, a managed policy each; without it calls would be refused.")
    if packed and packed.merged:
        told.append(f"Made part of another statement, for the size: {codes(packed.merged, 6)}.")
    if packed and packed.folds:
        folds = joined([f"{code(fold.pattern)} for {plural(len(fold.actions), 'action')}" for fold in packed.folds[:6]])
        told.append(f"Wildcards that grant exactly the same actions today, for the size: {folds}.")
    return " ".join(told)


def _over(proof: Proof) -> str:
    if proof.fits:
        return ""
    over = proof.size_after + proof.size_beside - quota(proof.kind)
    if over > 0:
        return f": **over the limit by {over:,}**, IAM will refuse it"
    return f": **more than the {most_managed()} managed policies that a role may have**"


def _left_open(subject: Subject) -> str:
    """What the proof cannot tell."""
    told = list(_unsure(subject.proof.replay, "the result"))
    gaps = sum(gap.count for gap in subject.evidence.gaps)
    if gaps:
        told.append(f"{plural(gaps, 'gap')} in the evidence, listed above.")
    return f"Left open: {' '.join(told)}" if told else "Left open: what no record shows, listed above."


_MOST_ROWS = 30
"""Services in the table: the least sure come first."""


def chance_line(subject: Subject) -> Iterator[str]:
    """The sentence that stands below the verdict; none where no run used anything."""
    known = subject.proof.confidence
    if known is None or not known.whole.runs:
        return
    yield (
        f"Chance that the next deploy needs something this policy lacks: **about {share(subject.proof.chance)}**, "
        f"judged by {plural(subject.proof.chance_runs, 'run')}."
    )


def confidence_table(subject: Subject) -> Iterator[str]:
    """How that was reckoned, in all and for each service, folded away; none where no run used anything."""
    known = subject.proof.confidence
    if known is None or not known.whole.runs:
        return
    services = sorted(known.by_service.items(), key=lambda item: (-item[1].chance, item[0]))
    actions = subject.proof.by_action or known
    rows = [_confidence_row("in all", known.whole, actions.whole)]
    rows += [
        _confidence_row(code(service), found, actions.of(f"{service}:")) for service, found in services[:_MOST_ROWS]
    ]
    if len(services) > _MOST_ROWS:
        rows.append(f"| and {len(services) - _MOST_ROWS:,} more | | | | | | | |")
    yield (
        "<details><summary>What the runs show of how much more there is</summary>\n\n"
        "Each run is a sample. *New* are runs that used something which no other run did: as many of the runs to come "
        "may. *Coverage* is the share of the next run's uses that are of permissions already seen, *unseen* the least "
        "number of permissions that are needed now and then and no run has shown. *Chance of something new* is that "
        "the next run needs what no run has shown, whether the policy grants it or not; the chance that it lacks "
        "something stands below the verdict. *Confidence* is that no new action is needed, on whatever resource: "
        "`minimum-confidence` looks at it.\n\n"
        "| Service | Runs | Permissions | New | Coverage | Unseen | Chance of something new | Confidence |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(rows) + "\n\n</details>"
    )


def _confidence_row(name: str, found: Confidence, actions: Confidence) -> str:
    return (
        f"| {name} | {found.runs:,} | {found.permissions:,} | {found.own:,} | {100 * found.coverage:.1f} % "
        f"| ≥ {found.unseen:.1f} | {share(found.chance)} | {actions.percent} % |"
    )


def share(chance: float) -> str:
    """`8 %`; what is rarer than one in a hundred is not told more exactly than it is known."""
    return "1 % or less" if chance < 0.015 else f"{100 * chance:.0f} %"


_MOST = 30
_LINK = re.compile(r"https://docs\.aws\.amazon\.com/[\w./#-]+", re.ASCII)
_WORDS = {
    Weight.DISAGREES: "**disagrees**",
    Weight.ERROR: "**error**",
    Weight.SECURITY_WARNING: "**security warning**",
    Weight.WARNING: "warning",
    Weight.SUGGESTION: "suggestion",
}


def disagreements(judgements: Sequence[Judgement]) -> Iterator[str]:
    """A warning for the top of a page, where AWS decides otherwise than our own evaluation."""
    found = [(each.judge, remark) for each in judgements for remark in each.disagreements]
    if found:
        lines = [f"> - {code(judge)}: {prose(remark.text)}" for judge, remark in found[:_MOST]]
        if len(found) > _MOST:
            lines.append(f"> - and {len(found) - _MOST:,} more")
        yield (
            "> [!CAUTION]\n> **AWS disagrees with this proposal's own proof.** Do not merge before you know why; "
            "please report it as a defect.\n>\n" + "\n".join(lines)
        )


def judged(judgements: Sequence[Judgement]) -> Iterator[str]:
    """The section on all judges; nothing where none was asked."""
    if not judgements:
        return
    lines = [f"- {sentence}" for judgement in judgements for sentence in _sentences(judgement)]
    remarks = [remark for judgement in judgements for remark in judgement.remarks if remark.weight is not _LOUD]
    yield "### What AWS says of it\n\n" + "\n".join(lines) + _table(remarks)


_LOUD = Weight.DISAGREES
_UNITS = {
    "ValidatePolicy": ("judged", "policy", "policies"),
    "SimulateCustomPolicy": ("judged", "action on a resource", "actions on resources"),
}
"""What a judge counts; the others are paid by the request."""


def _sentences(judgement: Judgement) -> Iterator[str]:
    judge, unit = code(judgement.judge), _UNITS.get(judgement.judge, ("answered", "paid request", "paid requests"))
    if judgement.asked:
        grave = len(judgement.disagreements)
        others = len(judgement.remarks) - grave
        told = [f"**{plural(grave, 'disagreement')}**"] if grave else []
        told += [plural(others, "remark")] if others else []
        yield f"{judge} {unit[0]} {plural(judgement.asked, *unit[1:])}: {', '.join(told) or 'nothing to say'}."
    if judgement.failure:
        yield f"{judge} could not be asked{' further' if judgement.asked else ''}. {prose(judgement.failure)}"
    for sentence in judgement.unasked:
        yield f"{judge}: {prose(sentence)}"


def _table(remarks: Sequence[Remark]) -> str:
    if not remarks:
        return ""
    rows = [_row(remark) for remark in remarks[:_MOST]]
    if len(remarks) > _MOST:
        rows.append(f"| | | and {len(remarks) - _MOST:,} more, in `proposal.json` |")
    return "\n\n| Line | What | |\n| --- | --- | --- |\n" + "\n".join(rows)


def _row(remark: Remark) -> str:
    place = code(f"{remark.file}:{remark.line}") if remark.line else code(remark.file)
    name = f"[{code(remark.code)}]({remark.link})" if _LINK.fullmatch(remark.link) else code(remark.code)
    already = " (so it is in the committed policy)" if remark.already else ""
    return f"| {place} | {_WORDS[remark.weight]} {name} | {prose(remark.text)}{already} |"
