"""Decides which offers are written: those that the options or a comment under the pull request ask
for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import asdict

from leastpriv.models import ChangeKind
from leastpriv.permissions.catalog import is_read, sensitivity
from leastpriv.permissions.names.app_names import destroys
from leastpriv.permissions.patterns import action_matches
from leastpriv.permissions.volatility import is_any_of_type
from leastpriv.proposal.models import (
    NOT_EDITABLE,
    Change,
    CompleteAdditions,
    History,
    Lifecycle,
    OfferCommand,
    Options,
    Proposal,
)


class Reach(Enum):
    """What an offer may do, which decides who writes it."""

    SENSITIVE = auto()
    """A person adds it by hand."""
    WIDE = auto()
    """It deletes with a denied call, or writes to any resource of a type: a comment names it."""
    DELETION = auto()
    """It deletes what lives long: `lifecycle: all`, or a comment that names it."""
    USUAL = auto()
    """`complete-additions: write`, or a comment."""


class SettledOffers(Struct, frozen=True):
    """Offers that are written, and those that a person may still take."""

    written: tuple[Change, ...]
    """Those that a comment takes come first."""
    offered: tuple[Change, ...]
    waiting: tuple[Change, ...] = ()
    """Those of `offered` that are asked for and exceed the limit of changes."""


def settle_offers(offers: Sequence[Change], options: Options, history: History) -> SettledOffers:
    """Splits the offers into the written ones and the others.

    A sensitive action is never written from an offer.
    """
    taken: list[Change] = []
    further: list[Change] = []
    changes_left: list[Change] = []
    for offer in offers:
        if _is_taken(offer, history.offer_commands):
            taken.append(offer)
        elif _is_written_by(offer, options):
            further.append(offer)
        else:
            changes_left.append(offer)
    return SettledOffers(written=(*taken, *further), offered=tuple(changes_left))


def reach_of(offer: Change) -> Reach:
    """Returns what an offer may do."""
    if offer.security:
        return Reach.SENSITIVE
    if destroys(offer.action):
        return Reach.WIDE if offer.usual_as else Reach.DELETION
    if is_write_to_any(offer.action, offer.resources):
        return Reach.WIDE
    return Reach.USUAL


def is_write_to_any(action: str, resources: Sequence[str]) -> bool:
    """Whether an action that is no read applies to any resource of a type."""
    return not is_read(action) and any(is_any_of_type(action, resource) for resource in resources)


def _is_written_by(offer: Change, options: Options) -> bool:
    """Whether the options write an offer."""
    reach = reach_of(offer)
    if reach is Reach.DELETION:
        return options.lifecycle is Lifecycle.ALL
    if reach is not Reach.USUAL:
        return False
    return bool(offer.usual_as) and options.complete_additions is CompleteAdditions.WRITE


def _is_taken(offer: Change, commands: Sequence[OfferCommand]) -> bool:
    """Whether the latest command about an offer takes it."""
    takes = False
    for command in commands:
        if command.takes and not _reaches(command.pattern, offer):
            continue
        if action_matches(command.pattern, offer.action):
            takes = command.takes
    return takes


def _reaches(pattern: str, offer: Change) -> bool:
    """Whether a command that adds may take an offer: only by its whole name where it deletes or is
    wide.
    """
    reach = reach_of(offer)
    if reach is Reach.USUAL:
        return True
    return reach is not Reach.SENSITIVE and pattern.lower() == offer.action.lower()


class CommandEffect(Struct, frozen=True):
    """What becomes of a command that adds offers, in numbers of permissions."""

    added: int = 0
    waiting: int = 0
    """Taken, and left for a later pull request by `max-changes`."""
    taken_back: int = 0
    unnamed: int = 0
    """Only a command with the whole name takes them."""
    sensitive: int = 0
    by_hand: int = 0
    """The file cannot be edited safely."""

    def __add__(self, other: CommandEffect) -> CommandEffect:
        """Returns the numbers of two proposals."""
        numbers = {name: getattr(self, name) + getattr(other, name) for name in asdict(self)}
        return CommandEffect(**numbers)


def answer_to(pattern: str, proposal: Proposal) -> CommandEffect:
    """Returns what becomes of a command with a pattern that adds to a proposal."""
    counts: Counter[str] = Counter()
    for change in proposal.changes:
        is_offer = bool(change.usual_as) or (bool(change.because) and destroys(change.action))
        if is_offer and action_matches(pattern, change.action) and _reaches(pattern, change):
            counts["added"] += len(change.resources)
    for offer in proposal.offered:
        if action_matches(pattern, offer.action):
            counts[_why_left(pattern, offer, proposal)] += len(offer.resources)
    for held_change in proposal.held_back_as(NOT_EDITABLE):
        if held_change.kind is ChangeKind.ADD and action_matches(pattern, held_change.action):
            counts["by_hand"] += len(held_change.resources)
    if not counts and not {"*", "?"} & {*pattern} and sensitivity(pattern):
        counts["sensitive"] = 1
    return CommandEffect(**counts)


def _why_left(pattern: str, offer: Change, proposal: Proposal) -> str:
    """Returns the field of the answer for an offer that a command matches and nothing wrote."""
    if reach_of(offer) is Reach.SENSITIVE:
        return "sensitive"
    if not _reaches(pattern, offer):
        return "unnamed"
    return "waiting" if offer in proposal.waiting else "taken_back"
