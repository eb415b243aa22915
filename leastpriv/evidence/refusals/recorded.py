"""A refused call as CloudTrail recorded it -> its denial (pure)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from leastpriv.evidence.refusals.denial import read_denial
from leastpriv.evidence.refusals.encoded import Decoder
from leastpriv.evidence.refusals.layout import squeezed
from leastpriv.evidence.refusals.rehearsal import as_rehearsed
from leastpriv.evidence.refusals.sentence import TAIL
from leastpriv.evidence.refusals.wordings import refuser
from leastpriv.evidence.source import same_arn
from leastpriv.model import Call, Denial, DeniedBy

_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def recorded_denial(call: Call, principal: str, decoder: Decoder) -> Denial:
    """The refusal of a call of `principal`; one that names another cannot be mended in this one's policy."""
    told = decoder.decoded(_read(call.error_message, call.error_code))
    denial = as_rehearsed(told, call.session)
    if not denial.principal:
        return denial
    is_own = same_arn(denial.principal, principal)
    return denial if is_own else replace(denial, mendable=False, denied_by=DeniedBy.UNKNOWN)


@lru_cache(maxsize=256)
def _read(told: str, code: str) -> Denial:
    """A record's message is one sentence on one line, and its reason stands last: any other is part of a name.

    An object's key may hold line ends, and even a whole sentence of refusal, before the true reason.
    """
    message = _LINE_ENDS.sub(" ", told)
    denial = read_denial(message, error_code=code)
    tails = [*TAIL.finditer(message)] if denial.mendable else []
    if not tails:
        return denial
    reason = message[tails[-1].start() :]
    denied_by, why = refuser(reason) or (DeniedBy.UNKNOWN, "")
    explicit = squeezed(reason).startswith("withanexplicitdeny")
    if explicit:
        why = "an explicit deny refused it, which no grant outweighs"
    elif denied_by in (DeniedBy.IDENTITY, DeniedBy.UNKNOWN):
        return denial
    return replace(denial, denied_by=denied_by, explicit=explicit, mendable=False, why=why)
