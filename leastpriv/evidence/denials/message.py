"""Refusals in a text -> denials: what was refused, on what, to whom, who refused, and whether a grant can help (pure).

First comes AWS's own sentence (sentence.py), which is believed over anything else. Where a tool prints only that an
operation was refused, the action is inferred from the operation, and the denial says so.

AWS's own sentence of refusal, wherever its lines broke (pure).

`User: PRINCIPAL is not authorized to perform: ACTION on resource: RESOURCE`, then the reason, if one is given:
`because no identity-based policy allows the ACTION action`, or `with an explicit deny in a service control policy: ARN`
("Troubleshoot access denied error messages" of the IAM User Guide, read 2026-11-24, and 343 labelled public messages,
about half of which give no reason).
"""

from __future__ import annotations

import re
from dataclasses import replace

from leastpriv.aws.error_codes import denying_policy_type, why_no_grant_helps
from leastpriv.evidence.denials.encoded_message import encoded_texts
from leastpriv.evidence.denials.log_text import (
    Layout,
    lay_out,
    squeezed,
    unbroken,
)
from leastpriv.evidence.denials.operation_errors import by_operation
from leastpriv.evidence.denials.sentence import _ENCODED, Sentence, sentences
from leastpriv.evidence.denials.tool_messages import READERS, by_phrase, by_tool, by_trace
from leastpriv.evidence.denials.wordings import NEAR, Found, is_told, message_of
from leastpriv.models import Denial, DeniedBy
from leastpriv.permissions import catalog

_BY_CODE = {"VpceAccessDenied": DeniedBy.VPCE}
# A login is governed by the trust policy of the role: no permission of the caller helps.
_TRUST_ONLY = frozenset({"sts:assumerolewithwebidentity", "sts:assumerolewithsaml"})


def read_denial(message: str, *, error_code: str = "") -> Denial:
    """Read what one message says was refused. Never raises.

    A message that names no action, and from which none follows, gives `actions` empty and is not mendable.
    `mendable` is true only where there is an action, no explicit deny, and the reason is an identity policy or is not
    given. `resource` is as AWS names it, which for IAM may be `role NAME`; empty where the message names none.
    """
    found = [each.denial for each in find_denials(lay_out(message))]
    best = next((denial for denial in found if denial.actions), found[0] if found else None)
    encoded = next((denial.encoded for denial in found if denial.encoded), "")
    by_code = _BY_CODE.get(error_code)
    if best is None:
        return Denial((), "", "", by_code or DeniedBy.UNKNOWN, False, False, message)
    if by_code:
        best = replace(best, denied_by=by_code, mendable=False, why=why_no_grant_helps(by_code))
    return replace(best, message=message, encoded=encoded)


def find_denials(layout: Layout, stop: int | None = None) -> list[Found]:
    """All refusals in a text, in order; a text without any gives none. Never raises.

    Those that begin behind `stop` may lack: whoever has no use for them saves the time that they take.
    """
    words = squeezed(layout.text)
    read = [*sentences(layout, stop)] if "notauthorizedtoperform" in words else []
    named = [sentence for sentence in read if sentence.action]
    found = [Found(each.phrase, each.end, _stated(layout, each)) for each in named]
    if any(sign in words for sign in ("whencallingthe", "operationerror", "errorexecuting", "api:")):
        found += by_operation(layout, named, stop)
    if any(sign in words for sign in ("accessdenied", "forbidden", "thisoperation")):
        traces = by_trace(layout) if "commanderror" in words or "client." in words else ()
        for tool in (by_tool(layout, words), by_phrase(layout), traces):
            found += [each for each in tool if not is_told(each, found)]
    for sign, reader in READERS:
        if sign in words:
            found += [each for each in reader(layout) if not is_told(each, found)]
    encoded = [*encoded_texts(layout)] if "encodedauthorization" in words else []
    for sentence in read:
        told = Found(sentence.phrase, sentence.end, _untold(layout, sentence))
        has_own = any(sentence.phrase <= at < sentence.phrase + NEAR for at, _ in encoded)
        if not sentence.action and _is_awss(layout, sentence) and not is_told(told, found, 0 if has_own else NEAR):
            found.append(told)
    found.sort(key=lambda each: each.start)
    return _with_encoded(found, encoded, len(layout.text)) if encoded and found else found


def _with_encoded(found: list[Found], texts: list[tuple[int, str]], end: int) -> list[Found]:
    """Each with the encoded text that stands behind it, before the next one."""
    ends = [*(each.start for each in found[1:]), end]
    told = []
    for each, limit in zip(found, ends, strict=True):
        own = next((text for at, text in texts if each.start <= at < limit), "")
        told.append(replace(each, denial=replace(each.denial, encoded=own)) if own else each)
    return told


def _stated(layout: Layout, sentence: Sentence) -> Denial:
    """The denial of a sentence that names its action."""
    refused = _denying_policy(sentence.reason)
    denied_by = refused[0] if refused else _cut_reason(sentence.reason)
    why = _why_not(sentence, denied_by, refused[1] if refused else "")
    return Denial(
        actions=(sentence.action,),
        resource=sentence.resource.text,
        principal=sentence.principal,
        denied_by=denied_by,
        explicit=sentence.explicit,
        mendable=not why,
        message=message_of(layout, sentence.start, sentence.end),
        why=why,
    )


def _denying_policy(reason: str) -> tuple[DeniedBy, str] | None:
    """Who refused by a reason; that it was an identity policy only where AWS's own words say it."""
    refused = denying_policy_type(reason) if reason else None
    awss = squeezed(reason).startswith(("becauseno", "withanexplicitdeny"))
    return None if refused and refused[0] is DeniedBy.IDENTITY and not awss else refused


def _cut_reason(reason: str) -> DeniedBy:
    """A reason that a program has cut may still tell: `because no identity-ba`; no other begins so."""
    return DeniedBy.IDENTITY if squeezed(reason).startswith("becausenoi") else DeniedBy.UNKNOWN


def _why_not(sentence: Sentence, denied_by: DeniedBy, refused: str) -> str:
    """Why no grant helps; empty where one can. The first reason that holds."""
    name = sentence.action.lower()
    prefix = name.partition(":")[0]
    reasons = (
        (sentence.explicit, "an explicit deny refused it, which no grant outweighs"),
        (refused, refused),
        (sentence.remark, f"the account's or the organisation's own rule: {sentence.remark}"),
        # A prefix that no service has is a placeholder of somebody's documentation.
        (prefix not in catalog.services(), f"no service has the prefix `{prefix}`"),
        (name in _TRUST_ONLY, "the trust policy of the role decides who may log in"),
        (
            _is_service(sentence.principal) and name == "sts:assumerole",
            "the trust policy of the role has to name the service",
        ),
        (
            sentence.principal.lower() == "anonymous",
            "the request was not signed, so no principal was there to be allowed",
        ),
        (
            sentence.reason and denied_by is DeniedBy.UNKNOWN,
            "the reason that is given is not one that a grant is known to mend",
        ),
    )
    return next((why for holds, why in reasons if holds), "")


def _is_service(principal: str) -> bool:
    """Whether a sentence speaks of a service (`CodeBuild is not authorized …`)."""
    return re.fullmatch(r"[A-Z][A-Za-z]+|[a-z0-9.-]+\.amazonaws\.com", principal) is not None


def _is_awss(layout: Layout, sentence: Sentence) -> bool:
    """Whether a sentence without an action is AWS's all the same: it names an ARN, or EC2 wrote it."""
    around = layout.text[max(0, sentence.phrase - NEAR) : sentence.end + 100]
    return sentence.principal.startswith("arn:") or (
        sentence.this_operation and (sentence.encoded or "UnauthorizedOperation" in unbroken(around))
    )


def _untold(layout: Layout, sentence: Sentence) -> Denial:
    refused = denying_policy_type(sentence.reason) if sentence.reason else None
    return Denial(
        (),
        sentence.resource.text,
        sentence.principal,
        refused[0] if refused else DeniedBy.UNKNOWN,
        sentence.explicit,
        False,
        message_of(layout, sentence.start, sentence.end),
        why=_ENCODED if sentence.encoded else "the message names no action",
    )
