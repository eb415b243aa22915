"""Lifecycle counterparts as a group of their own: what was made has to be updated, tagged and deleted later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.model import Basis
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.proposal.offers import Offer
from leastpriv.report.escape import code
from leastpriv.report.subject import Subject
from leastpriv.report.words import codes

HEADING = "### Lifecycle counterparts"
_MOST = 20


def lifecycle_counterparts(subject: Subject) -> Iterator[str]:
    """By the used action that they go with: those that stay, and those that no policy grants."""
    yield from counterparts(subject.kept_siblings, [each for each in subject.offers if each.basis is Basis.SIBLING])


def counterparts(staying: Sequence[Offer], offers: Sequence[Offer]) -> Iterator[str]:
    """The section, where there is any."""
    kept, offered = _by_partner(staying), _by_partner(offers)
    partners = sorted({*kept, *offered})
    if not partners:
        return
    rows = [
        f"| {code(partner)} | {_names(kept.get(partner, ()))} | {_names(offered.get(partner, ()))} |"
        for partner in partners[:_MOST]
    ]
    if len(partners) > _MOST:
        rows.append(f"| and {len(partners) - _MOST:,} more, in `proposal.json` | | |")
    yield (
        f"{HEADING}\n\nA later run updates, tags or deletes what this role makes, though no run has shown it yet. What "
        "the policy grants for that stays; the rest is offered, not written: `proposal.json` has statements to copy "
        "for what is not for a security reviewer (†).\n\n"
        "| Used | Stays | Offered |\n| --- | --- | --- |\n" + "\n".join(rows)
    )


def _by_partner(offers: Sequence[Offer]) -> dict[str, list[Offer]]:
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        found.setdefault(offer.because, []).append(offer)
    return found


def _names(offers: Sequence[Offer]) -> str:
    """Actions that share their resources together; † behind those of which some is for a security reviewer."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for offer in offers:
        groups.setdefault(offer.resources, []).append(offer.action)
    told = []
    for resources, actions in groups.items():
        careful = " †" if any(map(sensitivity, actions)) else ""
        on = f" on {codes(resources, 3)}" if resources else ""
        told.append(f"{codes(actions, 8)}{careful}{on}")
    return "; ".join(told)
