"""The proof in five lines, in the words of the first promise: it says what it covers and never claims more."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.policy.quotas import Kind, most_managed, quota
from leastpriv.proposal.left_out import LeftOut
from leastpriv.proposal.proof import Proof, Replay
from leastpriv.report.escape import code
from leastpriv.report.subject import Subject
from leastpriv.report.words import codes, joined, plural

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
