"""The proof in a few lines, in the words of the first promise: it says what it covers and never claims more."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.proposal.proof import MANAGED_POLICY_LIMIT, Replay
from leastpriv.report.subject import Subject
from leastpriv.report.words import codes, plural


def proof_lines(subject: Subject) -> Iterator[str]:
    """The section with its heading."""
    yield "### Proof\n\n" + "\n".join(f"- {line}" for line in proof_sentences(subject))


def proof_sentences(subject: Subject) -> Iterator[str]:
    """Replay, what is left open, new access, runs seen once, sizes; Markdown."""
    proof = subject.proof
    replay = proof.replay
    yield from replay_sentences(replay, "the result")
    if replay.refused:
        events = codes((group.event for group in replay.refused), 6)
        yield f"**{plural(sum(group.count for group in replay.refused), 'call')} would be refused**: {events}."
    if proof.new_access:
        yield f"**New access beyond the listed additions**: {codes(proof.new_access, 6)}."
    else:
        yield "No new access beyond the listed additions."
    if proof.seen_once:
        yield (
            f"{plural(len(proof.seen_once), 'used action')} of the narrowed wildcards were seen in one run alone: "
            f"{codes(proof.seen_once, 6)}. The more runs, the safer."
        )
    over = "" if proof.fits_managed_policy else f" **over the limit of {MANAGED_POLICY_LIMIT:,} of one managed policy**"
    yield f"Size {proof.size_before:,} → {proof.size_after:,} characters{over}."


def replay_sentences(replay: Replay, by: str) -> Iterator[str]:
    """How many calls `by` (`the result`) allows again, and how surely."""
    yield (
        f"**{replay.allowed:,} of {replay.recorded:,}** recorded calls replayed and allowed by {by}, "
        f"{replay.unmapped:,} unmapped; SCPs, permissions boundaries and resource policies are not modelled."
    )
    if replay.in_part:
        yield f"{plural(replay.in_part, 'call')} of these name the resource in part: {by} allows a part of it."
    if replay.conditional:
        yield f"{plural(replay.conditional, 'more call')} allowed if a condition holds that the record does not show."
