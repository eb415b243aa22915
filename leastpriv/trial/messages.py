"""Words the messages of a trial: one line per round, at the end what was added and what remains
denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from leastpriv.models import Basis, Condition
from leastpriv.permissions.patterns import has_wildcard
from leastpriv.policy.document import Document
from leastpriv.policy.evaluate import policy_size
from leastpriv.policy.size import policy_kind, quota
from leastpriv.proposal.additions import unmet_reason
from leastpriv.proposal.models import Change
from leastpriv.report.escape import plain
from leastpriv.report.phrases import listed, plural
from leastpriv.trial.extend import RoundResult, UnresolvedDenial

_MAX_DENIALS = 5
"""Denials that a round's line names."""


def round_line(
    number: int, exit_code: int, result: RoundResult, seconds: float, *, is_fully_read: bool = True
) -> str:
    """Returns `Round 2 (14 s): the command failed with exit code 255; denied: …; added 1; 3 not
    fixed`.

    `is_fully_read`: all of the output was read; if not, the line does not claim that nothing was
    denied.
    """
    outcome = f"the command failed with exit code {exit_code}"
    if exit_code == 0:
        outcome = "the command succeeded"
    denied = [
        *(_change_text(change) for change in result.denied),
        *(_denial_text(denial) for denial in result.unresolved),
    ]
    if not denied:
        claim = "no call was denied" if is_fully_read else "its denials are not known"
        return f"Round {number} ({seconds:.0f} s): {outcome}; {claim}."
    further = len(result.added) - len(result.denied)
    ahead = f", {further} of them for what later rounds would be denied" if further > 0 else ""
    added = "" if exit_code == 0 else f"; added {len(result.added)}{ahead}"
    unfixed = f"; {len(result.unresolved)} not fixed" if result.unresolved else ""
    return (
        f"Round {number} ({seconds:.0f} s): {outcome}; denied:"
        f" {listed(denied, _MAX_DENIALS, '; ')}{added}{unfixed}."
    )


def repeated_line(action: str, kind: str, added: Sequence[Change]) -> str:
    """Explains why two rounds were denied one action on two resources of a type."""
    patterns = sorted(
        {
            resource
            for change in added
            if change.action == action
            for resource in change.resources
            if has_wildcard(resource)
        }
    )
    told = f"  {plain(action)} was denied in two rounds, each time on another {plain(kind)}"
    if patterns:
        return (
            f"{told}, as each round creates one: the policy now has {plain(', '.join(patterns))}."
        )
    return (
        f"{told}. If each round creates one, give the {plain(kind)} a fixed name, or write a"
        " pattern of its names into the policy."
    )


def unresolved_lines(unresolved: Sequence[UnresolvedDenial], *, has_records: bool) -> Iterator[str]:
    """Yields a line with the reason per unresolved denial, and a hint at records that may name
    more.
    """
    for denial in unresolved:
        yield f"  not fixed: {_denial_text(denial)}: {plain(denial.reason)}"
    if not has_records and any(not (denial.action and denial.resource) for denial in unresolved):
        yield "  Records may name the denials: try again with --trails and --wait-for-records."


def offered_lines(added: Sequence[Change]) -> Iterator[str]:
    """Yields what a command was denied although it succeeded."""
    if added:
        yield (
            "The command was denied these and succeeded without them; they are not added. Add them"
            " if it needs them:"
        )
    for change in added:
        yield f"  offered: {_change_text(change)}"


def hidden_lines(names: Iterable[str]) -> Iterator[str]:
    """Yields the names of the caller's variables that the command does not get."""
    hidden = sorted(names)
    if hidden:
        yield (
            f"The command does not get {plain(', '.join(hidden))}; --pass-env NAME passes one on."
        )


def time_limit_sentence(seconds: float) -> str:
    """Returns why the trial ended a command."""
    return (
        f"The command ran for {seconds:.0f} seconds and was ended: give it more with --time-limit."
    )


def yes_lines(offered: Mapping[str, Change]) -> Iterator[str]:
    """Yields what later rounds may be denied and only a person's yes adds."""
    if offered:
        yield (
            "Not denied yet, and usual on what the policy creates; if the command needs them, allow"
            f" them with {plain(' '.join(f'--yes-to {action}' for action in offered))}"
        )


def outcome_line(
    exit_code: int, rounds: int, result: RoundResult | None, *, has_records: bool
) -> str:
    """Returns how the trial ended; `result` is None if the command succeeded."""
    if result is None:
        return f"Clean: the command succeeded under the policy in round {rounds}."
    if result.added:
        spent = (
            "The 1 round of --max-rounds is used, and"
            if rounds == 1
            else f"The {rounds} rounds of --max-rounds are used, and in each"
        )
        return f"{spent} a call of the command was denied."
    if result.unresolved:
        return f"No progress in round {rounds}: this policy can fix none of the denials."
    silent = (
        ""
        if has_records
        else "; if its output hides them, try again with --trails and --wait-for-records"
    )
    failed = f"the command failed with exit code {exit_code}, and no denial was found"
    return f"No progress in round {rounds}: {failed}{silent}."


def saved_lines(
    path: Path, file: Path, added: Sequence[Change], document: Document, principal: str
) -> Iterator[str]:
    """Yields the path of the extended policy and what was added."""
    if path != file:
        yield (
            f"{file} was changed while the trial ran, and is left alone: the extended policy is in"
            f" {path}."
        )
    yield f"Added to {path}: {plural(len(added), 'permission')}."
    yield from _addition_lines(added)
    size = policy_size(document)
    limit = quota(policy_kind(document, principal))
    if size > limit:
        yield (
            f"It has {size:,} characters now, AWS takes {limit:,}: `leastpriv propose` shortens or"
            " splits it."
        )


def found_lines(added: Sequence[Change]) -> Iterator[str]:
    """Yields what the policy lacks, if the extended one cannot be written."""
    yield f"The trial found {plural(len(added), 'permission')} that the policy lacks:"
    yield from _addition_lines(added)


def trial_resource_lines(resources: Mapping[str, bool], *, clean_up: bool) -> Iterator[str]:
    """Yields the roles and policies of earlier trials, and how to remove them; the values: their
    trial has ended.
    """
    for arn, has_ended in resources.items():
        kind = "role" if ":role/" in arn else "policy"
        yield (
            f"{kind} {arn}:"
            f" {'left by a trial that ended' if has_ended else 'of a trial that may still run'}."
        )
    if any(resources.values()) and not clean_up:
        what = plural(sum(resources.values()), "left-over")
        yield f"{what} of an ended trial: remove with leastpriv trial --clean-up."


class _Place(Struct, frozen=True):
    """What the actions of one line have in common."""

    is_ahead: bool
    """No call was denied yet."""
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]
    security: str
    unmet: str
    """Why the calls did not meet a condition; empty where they did."""

    @property
    def words(self) -> str:
        """What a line says behind the actions."""
        words = [f" on {plain(', '.join(self.resources))}"]
        for condition in self.conditions:
            values = plain(" or ".join(condition.values))
            words.append(f" if {plain(condition.key)} is {values}")
        if self.unmet:
            words.append(f" ({self.unmet})")
        if self.security:
            words.append(f" (sensitive: {plain(self.security)})")
        return "".join(words)


def _addition_lines(added: Sequence[Change]) -> Iterator[str]:
    """Yields the actions on the same resources as one line; those that no call was denied come
    last.
    """
    actions_by_place: dict[_Place, list[str]] = {}
    for change in added:
        place = _Place(
            is_ahead=change.basis is Basis.LIFECYCLE,
            resources=change.resources,
            conditions=change.conditions,
            security=change.security,
            unmet=plain(unmet_reason(change)),
        )
        actions_by_place.setdefault(place, []).append(plain(change.action))
    lines_ahead: list[str] = []
    for place, actions in actions_by_place.items():
        line = f"  + {', '.join(actions)}{place.words}"
        if place.is_ahead:
            lines_ahead.append(line)
        else:
            yield line
    if lines_ahead:
        yield "Not denied yet, and usual with what was denied; each would cost one more round:"
        yield from lines_ahead


def _change_text(change: Change) -> str:
    return f"{plain(change.action)} on {plain(', '.join(change.resources))}"


def _denial_text(denial: UnresolvedDenial) -> str:
    action = plain(denial.action) if denial.action else "an action that is not named"
    return (
        f"{action} on"
        f" {plain(denial.resource) if denial.resource else 'a resource that is not named'}"
    )
