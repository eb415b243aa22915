"""What a trial says: a line a round, and at the end what was added and what is left (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.size import policy_kind, quota
from leastpriv.proposal.models import Change
from leastpriv.report.escape import plain
from leastpriv.report.phrases import plural
from leastpriv.trial.cleanup import LeftOver
from leastpriv.trial.extend import Step, Unmended

_MOST = 5
"""Refusals that a round's line names."""


def round_line(number: int, exit_code: int, step: Step, seconds: float, *, is_whole: bool = True) -> str:
    """`Round 2 (14 s): the command failed with exit code 255; refused: …; added 1; 3 not mended`.

    `is_whole`: all of its output was read; without that nobody can say that nothing was refused.
    """
    ended = "the command succeeded" if exit_code == 0 else f"the command failed with exit code {exit_code}"
    refused = [*(_grant(change) for change in step.added), *(_named(one) for one in step.unmended)]
    if not refused:
        found = "nothing was refused" if is_whole else "what it was refused is not known"
        return f"Round {number} ({seconds:.0f} s): {ended}; {found}."
    shown = "; ".join(refused[:_MOST]) + (f" and {len(refused) - _MOST} more" if len(refused) > _MOST else "")
    added = "" if exit_code == 0 else f"; added {len(step.added)}"
    left = f"; {len(step.unmended)} not mended" if step.unmended else ""
    return f"Round {number} ({seconds:.0f} s): {ended}; refused: {shown}{added}{left}."


def not_mended(unmended: Sequence[Unmended], *, has_records: bool) -> Iterator[str]:
    """A line each, with the reason, and what would tell more."""
    for one in unmended:
        yield f"  not mended: {_named(one)}: {plain(one.reason)}"
    if not has_records and any(not (one.action and one.resource) for one in unmended):
        yield "  Records name what an output does not: try again with --trail and --wait-for-events."


def offered(added: Sequence[Change]) -> Iterator[str]:
    """What a command that succeeded was refused all the same."""
    if added:
        yield "The command was refused these and succeeded without them; they are not added. Add them if it needs them:"
    for change in added:
        yield f"  offered: {_grant(change)}"


def verdict(exit_code: int, rounds: int, step: Step | None, *, has_records: bool) -> str:
    """How the trial ended; `step` is None where the command succeeded."""
    if step is None:
        return f"Clean: the command succeeded under the policy in round {rounds}."
    if step.added:
        spent = (
            "The 1 round of --max-rounds is spent, and"
            if rounds == 1
            else f"The {rounds} rounds of --max-rounds are spent, and in each"
        )
        return f"{spent} the command was refused something."
    if step.unmended:
        return f"No progress in round {rounds}: nothing that was refused can be mended in this policy."
    silent = "" if has_records else "; if its output hides them, try again with --trail and --wait-for-events"
    failed = f"the command failed with exit code {exit_code}, and no refusal of it was seen"
    return f"No progress in round {rounds}: {failed}{silent}."


def saved(path: Path, file: Path, added: Sequence[Change], document: Document, principal: str) -> Iterator[str]:
    """Where the extended policy is, and what it has more than before."""
    if path != file:
        yield f"{file} was changed while the trial ran, and is left alone: the extended policy is in {path}."
    yield f"Added to {path}: {plural(len(added), 'permission')}."
    yield from _each(added)
    size, most = policy_size(document), quota(policy_kind(document, principal))
    if size > most:
        yield f"It has {size:,} characters now, AWS takes {most:,}: `leastpriv propose` shortens or splits it."


def found(added: Sequence[Change]) -> Iterator[str]:
    """What the policy lacks, where the extended one cannot be written."""
    yield f"The trial found {plural(len(added), 'permission')} that the policy lacks:"
    yield from _each(added)


def found_left_overs(found: Sequence[LeftOver], *, clean_up: bool) -> Iterator[str]:
    """What earlier trials left, and what becomes of it."""
    dead = [one for one in found if one.dead]
    for one in found:
        state = "left by a trial that is dead" if one.dead else "of a trial that may still run"
        yield f"{one.kind} {one.arn}: {state}."
    if dead and not clean_up:
        what = plural(len(dead), "left-over")
        yield f"{what} of a dead trial: remove with leastpriv trial --clean-up."


def _each(added: Sequence[Change]) -> Iterator[str]:
    for change in added:
        why = f" (sensitive: {plain(change.security)})" if change.security else ""
        yield f"  + {_grant(change)}{why}"


def _grant(change: Change) -> str:
    return f"{plain(change.action)} on {plain(', '.join(change.resources))}"


def _named(one: Unmended) -> str:
    action = plain(one.action) if one.action else "an action that is not named"
    return f"{action} on {plain(one.resource) if one.resource else 'a resource that is not named'}"
