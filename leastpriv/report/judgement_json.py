"""What AWS says of a proposal, and what is offered beside it, for `proposal.json`."""

from __future__ import annotations

from leastpriv.proposal.judgement import Judgement
from leastpriv.proposal.offers import Offer


def judgement_value(judgement: Judgement) -> dict[str, object]:
    """One judge's answer."""
    return {
        "judge": judgement.judge,
        "asked": judgement.asked,
        "failure": judgement.failure,
        "unasked": list(judgement.unasked),
        "remarks": [
            {
                "weight": remark.weight,
                "code": remark.code,
                "text": remark.text,
                "file": remark.file,
                "line": remark.line or None,
                "link": remark.link,
                "already": remark.already,
            }
            for remark in judgement.remarks
        ],
    }


def offer_value(offer: Offer) -> dict[str, object]:
    """One action that is offered."""
    return {
        "action": offer.action,
        "basis": offer.basis,
        "because": offer.because,
        "resources": list(offer.resources),
    }
