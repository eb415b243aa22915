"""One refusal message -> one denial: what was refused, on what, to whom, and who refused (pure).

AWS's sentence is `User: PRINCIPAL is not authorized to perform: ACTION on resource: RESOURCE` and then the
reason, if one is given: `because no identity-based policy allows the ACTION action`, or `with an explicit
deny in a service control policy: ARN` ("Troubleshoot access denied (403 Forbidden) errors in Amazon S3",
read 2026-11-24, and 343 labelled public messages). About half of the messages give no reason.
"""

from __future__ import annotations

import re

from leastpriv.model import Denial, DeniedBy
from leastpriv.permissions import catalog

_PHRASE = re.compile(r"not authorized to perform:? *", re.IGNORECASE)
_PRINCIPAL = re.compile(r"(?:arn:[^\s\"'`]+|assumed-role/[^\s\"'`]+)(?=['`\"]? is $)", re.IGNORECASE)
_ACTION = re.compile(r"[`'\"]?(?P<action>[A-Za-z][A-Za-z0-9-]*:[A-Za-z][A-Za-z0-9]*)[`'\"]?(?![\w:/*?-])")
# IAM and others name a resource by kind and name: `role NAME`, `policy ARN version v2`, `instance profile
# NAME`.
_RESOURCE = re.compile(
    r"on (?:the )?resource:? *(?:\\?[\"`'](?P<quoted>[^\"`'\\]+)|"
    r"(?P<kind>(?:instance profile|role|user|group|policy|mfa|server certificate) )?(?P<bare>[^\s\"`]+))",
    re.IGNORECASE,
)
# A rule of the account or organisation that AWS adds in brackets: "(The management account can only …)". SDKs
# add brackets too, which hold fields and no sentence: "(Service: Lambda, Status Code: 403)".
_REMARK = re.compile(r"\((?:Your|The|This) [^()]*\)")
_TAIL = re.compile(r"\b(?:because|with an explicit deny)\b", re.IGNORECASE)
_EXPLICIT = re.compile(r"\bexplicit deny\b", re.IGNORECASE)

# First match wins; the words of the reason and nothing else decide who refused.
_REFUSERS = (
    (re.compile(r"block public access", re.IGNORECASE), DeniedBy.BPA),
    (re.compile(r"service control polic", re.IGNORECASE), DeniedBy.SCP),
    (re.compile(r"resource control polic", re.IGNORECASE), DeniedBy.RCP),
    (re.compile(r"permissions? boundary", re.IGNORECASE), DeniedBy.BOUNDARY),
    (re.compile(r"session polic", re.IGNORECASE), DeniedBy.SESSION),
    (re.compile(r"vpc endpoint polic", re.IGNORECASE), DeniedBy.VPCE),
    (re.compile(r"resource-based polic", re.IGNORECASE), DeniedBy.RESOURCE),
    (re.compile(r"identity-based polic", re.IGNORECASE), DeniedBy.IDENTITY),
)
_BY_CODE = {"VpceAccessDenied": DeniedBy.VPCE}
# A login is governed by the trust policy of the role: no permission of the caller helps.
_TRUST_ONLY = frozenset({"sts:assumerolewithwebidentity", "sts:assumerolewithsaml"})
_LAYOUT = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[│╷╵]|\\\\n")
_BLANKS = re.compile(r"[\s>]+")


def read_denial(message: str, *, error_code: str = "") -> Denial:
    """Read what a message says was refused. Never raises.

    A message that names no action gives `actions` empty and is not mendable.
    `mendable` is true only where an action is named, no explicit deny is, and the reason is an identity
    policy or is not given. `resource` is as AWS names it, which for IAM may be `role NAME`; empty where the
    message names none.
    """
    text = _BLANKS.sub(" ", _LAYOUT.sub(" ", message)).strip()
    found = _refusal(text)
    if not found:
        return Denial((), "", "", _BY_CODE.get(error_code, DeniedBy.UNKNOWN), False, False, message)
    before, after = text[: found.start()], _sentence(text[found.end() :])
    tail = _TAIL.search(after)
    reason = after[tail.start() :] if tail else ""
    head = after[: tail.start()] if tail else after
    action = _ACTION.match(head)
    explicit = _EXPLICIT.search(after) is not None
    denied_by = _BY_CODE.get(error_code) or _refuser(reason)
    principal = _PRINCIPAL.search(before)
    return Denial(
        actions=(action["action"],) if action else (),
        resource=_resource(head),
        principal=principal[0] if principal else "",
        denied_by=denied_by,
        explicit=explicit,
        mendable=action is not None and not (explicit or _REMARK.search(head)) and _can_help(denied_by, action),
        message=message,
    )


def _refusal(text: str) -> re.Match[str] | None:
    """Find the sentence that names an action, else any: EC2 says it twice, first without."""
    found = list(_PHRASE.finditer(text))
    return next((each for each in found if _ACTION.match(text, each.end())), found[0] if found else None)


def _sentence(text: str) -> str:
    """Up to where the next refusal begins: its reason is not this one's."""
    following = _PHRASE.search(text)
    return text[: following.start()] if following else text


def _refuser(reason: str) -> DeniedBy:
    return next((who for words, who in _REFUSERS if words.search(reason)), DeniedBy.UNKNOWN)


def _can_help(denied_by: DeniedBy, action: re.Match[str]) -> bool:
    name = action["action"].lower()
    # A prefix that no service has is a placeholder of somebody's documentation.
    known = name.partition(":")[0] in catalog.services()
    return known and denied_by in (DeniedBy.IDENTITY, DeniedBy.UNKNOWN) and name not in _TRUST_ONLY


def _resource(head: str) -> str:
    match = _RESOURCE.search(head)
    if not match:
        return ""
    if match["quoted"]:
        return match["quoted"].strip()
    bare = match["bare"].rstrip(".,;)'")
    return f"{match['kind'] or ''}{bare}"
