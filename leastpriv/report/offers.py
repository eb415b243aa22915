"""What a later run may need and no policy grants: a list that a person may copy from; nothing of it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leastpriv.evidence.hints.declared import Declared
from leastpriv.model import Basis
from leastpriv.permissions.sensitive import sensitivity
from leastpriv.proposal.offers import Offer
from leastpriv.report.escape import code, prose
from leastpriv.report.words import codes

_MOST = 12
"""Lines: whoever reads a pull request looks at what changes first."""
_WORDS = {
    Basis.DECLARED: "declared by",
}


def lifecycle_offers(offers: Sequence[Offer], declared: Declared) -> Iterator[str]:
    """The section, where there is something to offer, or to tell of what was asked of resource types.

    Lifecycle counterparts have a section of their own (`siblings.py`).
    """
    groups = _grouped([offer for offer in offers if offer.basis is not Basis.SIBLING])
    lines = [_line(group) for group in groups[:_MOST]]
    if len(groups) > _MOST:
        lines.append(f"- and {sum(map(len, groups[_MOST:])):,} more, in `proposal.json`.")
    lines.extend(_untold(declared))
    if lines:
        yield (
            "### Offered for later runs, not written\n\nNo record shows their use, and no known policy grants them: an "
            "update, a deletion, a rollback, or calls that only data events show, may need them. `proposal.json` "
            "has all of them, and statements to copy for those that show a resource here and are not for a security "
            "reviewer.\n\n" + "\n".join(lines)
        )


def _untold(declared: Declared) -> Iterator[str]:
    """What is not known of resource types."""
    if declared.failure:
        yield f"- What resource types need is not known whole. {prose(declared.failure)}"
    if declared.untold:
        yield f"- CloudFormation's registry does not know {codes(declared.untold, 8)}, nor what their resources need."
    if declared.unknown:
        yield f"- Resource types name what is no action that the catalogue knows: {codes(declared.unknown, 8)}."


def statements(offers: Sequence[Offer]) -> list[dict[str, object]]:
    """Statements to copy: of actions that are not sensitive and whose resources are known from use."""
    by_resources: dict[tuple[str, ...], list[str]] = {}
    for offer in offers:
        if offer.resources and not sensitivity(offer.action):
            by_resources.setdefault(offer.resources, []).append(offer.action)
    return [
        {"Effect": "Allow", "Action": actions, "Resource": list(resources)}
        for resources, actions in by_resources.items()
    ]


def _grouped(offers: Sequence[Offer]) -> list[list[Offer]]:
    groups: dict[tuple[Basis, str, tuple[str, ...]], list[Offer]] = {}
    for offer in offers:
        groups.setdefault((offer.basis, offer.because, offer.resources), []).append(offer)
    return list(groups.values())


def _line(group: Sequence[Offer]) -> str:
    offer = group[0]
    on = f" on {codes(offer.resources, 3)}" if offer.resources else ""
    careful = " (for a security reviewer)" if any(sensitivity(each.action) for each in group) else ""
    return f"- {codes((each.action for each in group), 8)}{on}: {_WORDS[offer.basis]} {code(offer.because)}{careful}."
