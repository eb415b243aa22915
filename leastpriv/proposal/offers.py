"""Decides which offers are written: those that the options or a comment under the pull request ask
for.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from leastpriv.permissions.names.app_names import destroys
from leastpriv.permissions.patterns import action_matches
from leastpriv.proposal.models import (
    Change,
    CompleteAdditions,
    History,
    Lifecycle,
    OfferCommand,
    Options,
)


class SettledOffers(Struct, frozen=True):
    """Offers that are written, and those that a person may still take."""

    written: tuple[Change, ...]
    offered: tuple[Change, ...]


def settle_offers(offers: Sequence[Change], options: Options, history: History) -> SettledOffers:
    """Splits the offers into the written ones and the others.

    A sensitive action is never written from an offer.
    """
    written = [each for each in offers if _is_asked_for(each, options, history)]
    offered = [each for each in offers if each not in written]
    return SettledOffers(tuple(written), tuple(offered))


def _is_asked_for(offer: Change, options: Options, history: History) -> bool:
    if offer.security:
        return False
    if _is_taken(offer.action, history.offer_commands):
        return True
    if destroys(offer.action):
        return options.lifecycle is Lifecycle.ALL
    return bool(offer.usual_as) and options.complete_additions is CompleteAdditions.WRITE


def _is_taken(action: str, commands: Sequence[OfferCommand]) -> bool:
    """Whether the latest command about an offered action takes it; a deletion is taken by its whole
    name only.
    """
    takes = False
    for command in commands:
        is_named = command.pattern.lower() == action.lower()
        if is_named or (action_matches(command.pattern, action) and not command.takes):
            takes = command.takes
        elif action_matches(command.pattern, action) and not destroys(action):
            takes = True
    return takes
