"""A refused call as CloudTrail recorded it -> its denial (pure)."""

from __future__ import annotations

from dataclasses import replace

from leastpriv.evidence.refusals.denial import read_denial
from leastpriv.evidence.refusals.encoded import Decoder
from leastpriv.evidence.refusals.rehearsal import as_rehearsed
from leastpriv.evidence.source import same_arn
from leastpriv.model import Call, Denial, DeniedBy


def recorded_denial(call: Call, principal: str, decoder: Decoder) -> Denial:
    """The refusal of a call of `principal`; one that names another cannot be mended in this one's policy."""
    told = decoder.decoded(read_denial(call.error_message, error_code=call.error_code))
    denial = as_rehearsed(told, call.session)
    if not denial.principal:
        return denial
    is_own = same_arn(denial.principal, principal)
    return denial if is_own else replace(denial, mendable=False, denied_by=DeniedBy.UNKNOWN)
