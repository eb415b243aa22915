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
from leastpriv.trial.cleanup import OrphanedResource
from leastpriv.trial.extend import RoundResult, UnresolvedDenial

_MAX_DENIALS = 5
"""Refusals that a round's line names."""


def round_line(number: int, exit_code: int, result: RoundResult, seconds: float, *, is_fully_read: bool = True) -> str:
    """`Round 2 (14 s): the command failed with exit code 255; refused: …; added 1; 3 not mended`.

    `is_fully_read`: all of its output was read; without that nobody can say that nothing was refused.
    """
    ended = "the command succeeded" if exit_code == 0 else f"the command failed with exit code {exit_code}"
    refused = [*(_change_text(change) for change in result.added), *(_denial_text(one) for one in result.unresolved)]
    if not refused:
        found = "nothing was refused" if is_fully_read else "what it was refused is not known"
        return f"Round {number} ({seconds:.0f} s): {ended}; {found}."
    shown = "; ".join(refused[:_MAX_DENIALS]) + (
        f" and {len(refused) - _MAX_DENIALS} more" if len(refused) > _MAX_DENIALS else ""
    )
    added = "" if exit_code == 0 else f"; added {len(result.added)}"
    left = f"; {len(result.unresolved)} not mended" if result.unresolved else ""
    return f"Round {number} ({seconds:.0f} s): {ended}; refused: {shown}{added}{left}."


def unresolved_lines(unresolved: Sequence[UnresolvedDenial], *, has_records: bool) -> Iterator[str]:
    """A line each, with the reason, and what would tell more."""
    for one in unresolved:
        yield f"  not mended: {_denial_text(one)}: {plain(one.reason)}"
    if not has_records and any(not (one.action and one.resource) for one in unresolved):
        yield "  Records name what an output does not: try again with --trails and --wait-for-records."


def offered_lines(added: Sequence[Change]) -> Iterator[str]:
    """What a command that succeeded was refused all the same."""
    if added:
        yield "The command was refused these and succeeded without them; they are not added. Add them if it needs them:"
    for change in added:
        yield f"  offered: {_change_text(change)}"


def outcome_line(exit_code: int, rounds: int, result: RoundResult | None, *, has_records: bool) -> str:
    """How the trial ended; `result` is None where the command succeeded."""
    if result is None:
        return f"Clean: the command succeeded under the policy in round {rounds}."
    if result.added:
        spent = (
            "The 1 round of --max-rounds is spent, and"
            if rounds == 1
            else f"The {rounds} rounds of --max-rounds are spent, and in each"
        )
        return f"{spent} the command was refused something."
    if result.unresolved:
        return f"No progress in round {rounds}: nothing that was refused can be mended in this policy."
    silent = "" if has_records else "; if its output hides them, try again with --trails and --wait-for-records"
    failed = f"the command failed with exit code {exit_code}, and no refusal of it was seen"
    return f"No progress in round {rounds}: {failed}{silent}."


def saved_lines(path: Path, file: Path, added: Sequence[Change], document: Document, principal: str) -> Iterator[str]:
    """Where the extended policy is, and what it has more than before."""
    if path != file:
        yield f"{file} was changed while the trial ran, and is left alone: the extended policy is in {path}."
    yield f"Added to {path}: {plural(len(added), 'permission')}."
    yield from _addition_lines(added)
    size, most = policy_size(document), quota(policy_kind(document, principal))
    if size > most:
        yield f"It has {size:,} characters now, AWS takes {most:,}: `leastpriv propose` shortens or splits it."


def found_lines(added: Sequence[Change]) -> Iterator[str]:
    """What the policy lacks, where the extended one cannot be written."""
    yield f"The trial found {plural(len(added), 'permission')} that the policy lacks:"
    yield from _addition_lines(added)


def trial_resource_lines(found: Sequence[OrphanedResource], *, clean_up: bool) -> Iterator[str]:
    """What earlier trials left, and what becomes of it."""
    dead = [one for one in found if one.trial_ended]
    for one in found:
        state = "left by a trial that is dead" if one.trial_ended else "of a trial that may still run"
        yield f"{one.kind} {one.arn}: {state}."
    if dead and not clean_up:
        what = plural(len(dead), "left-over")
        yield f"{what} of a dead trial: remove with leastpriv trial --clean-up."


def _addition_lines(added: Sequence[Change]) -> Iterator[str]:
    for change in added:
        why = f" (sensitive: {plain(change.security)})" if change.security else ""
        yield f"  + {_change_text(change)}{why}"


def _change_text(change: Change) -> str:
    return f"{plain(change.action)} on {plain(', '.join(change.resources))}"


def _denial_text(one: UnresolvedDenial) -> str:
    action = plain(one.action) if one.action else "an action that is not named"
    return f"{action} on {plain(one.resource) if one.resource else 'a resource that is not named'}"
