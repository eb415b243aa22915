"""Parses denial messages: action, resource, principal, denying policy type, and whether a grant helps (pure).

AWS's own sentence takes precedence: `User: PRINCIPAL is not authorized to perform: ACTION on resource: RESOURCE`, then
an optional reason: `because no identity-based policy allows the ACTION action`, or `with an explicit deny in a service
control policy: ARN` ("Troubleshoot access denied error messages" of the IAM User Guide, read 2026-11-24, and 343
labelled public messages, about half of which have no reason). Where a tool prints only that an operation was denied,
the action is inferred from the operation, and the denial says so.
"""

from __future__ import annotations

import re
from dataclasses import replace

from leastpriv.aws.errors import denying_policy_type, why_no_grant_helps
from leastpriv.evidence.denials.encoded_message import encoded_texts
from leastpriv.evidence.denials.log_text import (
    LogText,
    breakable,
    clean_log_text,
    without_blanks,
    without_breaks,
)
from leastpriv.evidence.denials.operation_errors import find_by_operation
from leastpriv.evidence.denials.s3_requests import find_by_request
from leastpriv.evidence.denials.sentence import _ENCODED, DenialSentence, find_sentences
from leastpriv.evidence.denials.tool_messages import READERS, find_by_phrase, find_by_tool, find_by_trace
from leastpriv.evidence.denials.wordings import NEAR, FoundDenial, is_covered, message_of
from leastpriv.models import Denial, DeniedBy
from leastpriv.permissions import catalog

_BY_CODE = {"VpceAccessDenied": DeniedBy.VPCE}
# The role's trust policy decides: no permission of the caller helps.
_TRUST_ONLY = frozenset({"sts:assumerolewithwebidentity", "sts:assumerolewithsaml"})


_AUTHORIZATION_ID = re.compile(
    rf"(?:region=(?P<region>[a-z0-9-]+)#/)?(?:{breakable('authorization-details/')}[\n\v]?"
    rf"|{breakable('authorization id:')}[ \n\v]*[`'\"*<]*)"
    # A wrapped id ends where the sentence continues; elsewhere a break is its end.
    rf"(?P<id>[0-9A-Za-z](?:[\n\v]?[0-9A-Za-z-]){{7,255}}?(?=[ \n\v]+{breakable('for complete details')})"
    r"|[0-9A-Fa-f](?:[\n\v]?[0-9A-Fa-f-]){35}|[0-9A-Za-z-]{8,256})",
    re.IGNORECASE,
)
"""IAM's own link and sentence: `…?region=REGION#/authorization-details/ID for complete details, or … authorization id:
ID`."""
_LONGEST_ADVICE = 800
_REASON = re.compile(rf"{breakable('because no ')}|{breakable('explicit deny in')}", re.IGNORECASE)
"""The reason of a denial: it follows a name that quotes an id."""


def read_denial(message: str, *, error_code: str = "") -> Denial:
    """Parses one denial message. Never raises.

    A message from which no action follows gives empty `actions`, and is not `mendable`. `mendable` is true only with an
    action, without an explicit deny, and where the reason is an identity-based policy or missing. `resource` is as AWS
    writes it, for IAM perhaps `role NAME`; empty where the message has none.
    """
    found = [each.denial for each in find_denials(clean_log_text(message))]
    best = next((denial for denial in found if denial.actions), found[0] if found else None)
    encoded = next((denial.encoded for denial in found if denial.encoded), "")
    decided = next((denial for denial in found if denial.authorization_id), None)
    by_code = _BY_CODE.get(error_code)
    if best is None:
        return Denial((), "", "", by_code or DeniedBy.UNKNOWN, False, False, message)
    if by_code:
        best = replace(best, denied_by=by_code, mendable=False, why=why_no_grant_helps(by_code))
    if decided:
        name, region = decided.authorization_id, decided.authorization_region
        best = replace(best, authorization_id=name, authorization_region=region)
    return replace(best, message=message, encoded=encoded)


def find_denials(layout: LogText, stop: int | None = None) -> list[FoundDenial]:
    """Finds all denials in a text, in order. Never raises.

    Denials that begin after `stop` may be left out, which saves time.
    """
    words = without_blanks(layout.text)
    read = [*find_sentences(layout, stop)] if "notauthorizedtoperform" in words else []
    named = [sentence for sentence in read if sentence.action]
    found = [FoundDenial(each.phrase, each.end, _stated(layout, each)) for each in named]
    if any(sign in words for sign in ("whencalling", "operationerror", "errorexecuting", "api:")):
        found += find_by_operation(layout, named, stop)
    if any(sign in words for sign in ("accessdenied", "forbidden", "thisoperation")):
        traces = find_by_trace(layout) if "commanderror" in words or "client." in words else ()
        for tool in (find_by_tool(layout, words), find_by_phrase(layout), traces):
            found += [each for each in tool if not is_covered(each, found)]
    for sign, reader in READERS:
        if sign in words:
            found += [each for each in reader(layout) if not is_covered(each, found)]
    if any(sign in words for sign in ("accessdenied", "forbidden", "403")):
        found += find_by_request(layout, found)
    encoded = [*encoded_texts(layout)] if "encodedauthorization" in words else []
    for sentence in read:
        told = FoundDenial(sentence.phrase, sentence.end, _without_action(layout, sentence))
        # The encoded text belongs to the sentence with an action where one follows.
        following = min((each.phrase for each in named if each.phrase > sentence.phrase), default=len(layout.text))
        limit = min(sentence.phrase + NEAR, following)
        has_own = any(sentence.phrase <= at < limit for at, _ in encoded)
        if not sentence.action and _is_awss(layout, sentence) and not is_covered(told, found, 0 if has_own else NEAR):
            found.append(told)
    found.sort(key=lambda each: each.start)
    if found and "authorization" in words:
        found = _with_authorization_ids(layout.text, found)
    return _with_encoded(found, encoded, len(layout.text)) if encoded and found else found


def _with_encoded(found: list[FoundDenial], texts: list[tuple[int, str]], end: int) -> list[FoundDenial]:
    """Adds to each denial the encoded text between it and the next one."""
    ends = [*(each.start for each in found[1:]), end]
    told = []
    for each, limit in zip(found, ends, strict=True):
        own = next((text for at, text in texts if each.start <= at < limit), "")
        told.append(replace(each, denial=replace(each.denial, encoded=own)) if own else each)
    return told


def _with_authorization_ids(text: str, found: list[FoundDenial]) -> list[FoundDenial]:
    """Adds to each denial the first authorization id between it and the next one; AWS writes it behind the reason."""
    ends = [*(each.start for each in found[1:]), len(text)]
    read = []
    for each, limit in zip(found, ends, strict=True):
        reasons = [match.end() for match in _REASON.finditer(text, each.start, limit)]
        start, stop = max([each.end, *reasons]), min(limit, each.end + _LONGEST_ADVICE)
        match = _AUTHORIZATION_ID.search(text, start, stop)
        if match:
            region = without_breaks(match["region"] or "")
            denial = replace(each.denial, authorization_id=without_breaks(match["id"]), authorization_region=region)
            each = replace(each, denial=denial)
        read.append(each)
    return read


def _stated(layout: LogText, sentence: DenialSentence) -> Denial:
    """The denial of a sentence with an action."""
    refused = _denying_policy(sentence.reason)
    # Only one truncated reason begins with `because no identity-ba`.
    is_cut_identity = without_blanks(sentence.reason).startswith("becausenoi")
    denied_by = refused[0] if refused else DeniedBy.IDENTITY if is_cut_identity else DeniedBy.UNKNOWN
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
    """Returns the policy type of a reason; an identity-based policy only where AWS's own words name it."""
    refused = denying_policy_type(reason) if reason else None
    awss = without_blanks(reason).startswith(("becauseno", "withanexplicitdeny"))
    return None if refused and refused[0] is DeniedBy.IDENTITY and not awss else refused


def _why_not(sentence: DenialSentence, denied_by: DeniedBy, refused: str) -> str:
    """Why no grant helps; empty where one can. The first matching reason counts."""
    name = sentence.action.lower()
    prefix = name.partition(":")[0]
    reasons = (
        (sentence.explicit, "an explicit deny applied, which no grant overrides"),
        (refused, refused),
        (sentence.remark, f"a rule of the account or the organization: {sentence.remark}"),
        # A prefix without a service is a placeholder from documentation.
        (prefix not in catalog.services(), f"no service has the prefix `{prefix}`"),
        (name in _TRUST_ONLY, "the trust policy of the role decides who may log in"),
        (
            _is_service(sentence.principal) and name == "sts:assumerole",
            "the trust policy of the role must name the service",
        ),
        (
            sentence.principal.lower() == "anonymous",
            "the request was not signed, so it has no principal",
        ),
        (
            sentence.reason and denied_by is DeniedBy.UNKNOWN,
            "no grant is known to fix the reason that AWS gives",
        ),
    )
    return next((why for holds, why in reasons if holds), "")


def _is_service(principal: str) -> bool:
    """Whether the subject of a sentence is a service (`CodeBuild is not authorized …`)."""
    return re.fullmatch(r"[A-Z][A-Za-z]+|[a-z0-9.-]+\.amazonaws\.com", principal) is not None


def _is_awss(layout: LogText, sentence: DenialSentence) -> bool:
    """Whether a sentence without an action is AWS's: it contains an ARN, or EC2 wrote it."""
    around = layout.text[max(0, sentence.phrase - NEAR) : sentence.end + 100]
    return sentence.principal.startswith("arn:") or (
        sentence.this_operation and (sentence.encoded or "UnauthorizedOperation" in without_breaks(around))
    )


def _without_action(layout: LogText, sentence: DenialSentence) -> Denial:
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
