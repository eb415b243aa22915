"""Decides which commands in comments count, and what they decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from leastpriv.evidence.usage_history import KeepDecision, is_action_pattern
from leastpriv.permissions.patterns import action_matches
from leastpriv.proposal.models import OfferCommand
from leastpriv.pull_request.lifecycle import CommentCommand

_NO_ACTION = "that is no action as policies name it, like `s3:DeleteBucket` or `s3:Delete*`"


def checked_commands(commands: Iterable[CommentCommand]) -> tuple[CommentCommand, ...]:
    """Returns the commands; one whose pattern is none of actions has a reason why it does not
    count.
    """
    checked: list[CommentCommand] = []
    for command in commands:
        if command.rejection or is_action_pattern(command.pattern):
            checked.append(command)
        else:
            checked.append(replace(command, rejection=_NO_ACTION))
    return tuple(checked)


def keep_decisions(commands: Sequence[CommentCommand]) -> Mapping[str, KeepDecision]:
    """Returns the latest decision on each pattern that checked commands keep or forget."""
    decisions: dict[str, KeepDecision] = {}
    for command in commands:
        if command.rejection or command.verb == "add" or takes_back(command, commands):
            continue
        decision = KeepDecision(
            at=command.created_at,
            comment=command.comment_id,
            keep=command.verb == "keep",
            by=command.author,
            pull=command.pull_request,
        )
        latest = decisions.get(command.pattern, decision)
        decisions[command.pattern] = max(latest, decision)
    return decisions


def takes_back(command: CommentCommand, commands: Iterable[CommentCommand]) -> bool:
    """Whether a `forget` takes back an `add` of its pull request: the latest command before it on
    the same pattern, or else on a pattern that covers it.
    """
    if command.verb != "forget":
        return False
    latest: CommentCommand | None = None
    latest_of_pattern: CommentCommand | None = None
    for earlier in _valid_commands(commands, command.pull_request):
        if _time(earlier) >= _time(command):
            break
        if action_matches(earlier.pattern, command.pattern):
            latest = earlier
            if earlier.pattern.lower() == command.pattern.lower():
                latest_of_pattern = earlier
    taken = latest_of_pattern or latest
    return taken is not None and taken.verb == "add"


def _valid_commands(commands: Iterable[CommentCommand], pull_request: int) -> list[CommentCommand]:
    """Returns the commands under a pull request that count, the oldest first."""
    valid = [
        command
        for command in commands
        if command.pull_request == pull_request and not command.rejection
    ]
    return sorted(valid, key=_time)


def _time(command: CommentCommand) -> tuple[datetime, int]:
    """Returns the time of a command; comments of one second are in the order of their ids."""
    return command.created_at, command.comment_id


def offer_commands(
    commands: Iterable[CommentCommand], pull_request: int
) -> tuple[OfferCommand, ...]:
    """Returns the valid commands about offers under one pull request, the oldest first."""
    return tuple(
        OfferCommand(command.pattern, takes=command.verb == "add")
        for command in _valid_commands(commands, pull_request)
        if command.verb != "keep"
    )
