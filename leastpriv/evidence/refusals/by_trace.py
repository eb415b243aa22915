"""Bare refusals whose operation only the stack trace below them tells: SDKs for JavaScript (v3) and Java (pure).

Frames as the SDKs are built: JavaScript's deserializer of a command's error (`de_PutObjectCommandError`, before 2023
`deserializeAws_restXmlPutObjectCommandError`), and Java's method of a client (`DefaultS3Client.putObject`, in version 1
`AmazonS3Client.putObject`); aws/aws-sdk-js-v3#2778 and aws/aws-toolkit-jetbrains#3129, read 2026-11-26.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from leastpriv.evidence.refusals.found import Found, bare, inferred
from leastpriv.evidence.refusals.layout import Layout
from leastpriv.evidence.refusals.operations import actions_of

_REFUSAL = re.compile(r"\b(?:AccessDenied(?:Exception)?|UnauthorizedOperation|[A-Z]\w{1,40}Exception): ?")
_JAVAS_FIELDS = re.compile(r"[^()\n\v]{1,80}\(Service:[^()]{0,80}?Status[ \n\v]*Code:[ \n\v]*403")
_JAVASCRIPT = re.compile(
    r"\b(?:de_|deserializeAws_(?:restXml|restJson1|json1_[01]|query|ec2))(?P<operation>[A-Z][A-Za-z0-9]{1,80})CommandError\b"
    r"[^\n\v]{0,300}?/client-(?P<service>[a-z0-9-]{2,40})/"
)
_JAVA = re.compile(
    r"\b(?:com\.amazonaws|software\.amazon\.awssdk)\.services\.(?P<service>[a-z0-9]{2,40})\."
    r"(?:Default|Amazon|AWS)\w{1,60}Client\.(?P<operation>[a-z]\w{1,80})\("
)
_DEEPEST = 4_000
"""Characters between a refusal and its frame: some thirty frames of an SDK's inside."""


def by_trace(layout: Layout) -> Iterator[Found]:
    """Refusals without an operation of their own, each with that of the first frame below it that is one."""
    text = layout.text
    starts = [match.start() for match in _REFUSAL.finditer(text) if _is_bare(text, match)]
    for start, following in pairwise([*starts, len(text)]):
        limit = min(following, start + _DEEPEST)
        for pattern in (_JAVASCRIPT, _JAVA):
            frames = (
                actions_of(frame["service"], frame["operation"]) for frame in pattern.finditer(text, start, limit)
            )
            actions = next(filter(None, frames), ())
            if actions:
                yield inferred(layout, start, min(start + 100, len(text)), actions)
                break


def _is_bare(text: str, refusal: re.Match[str]) -> bool:
    """Whether only a service's standing words follow, which Java's SDK always gives a status behind them."""
    if bare(text[refusal.end() : refusal.end() + 100]) is None:
        return False
    is_code = refusal[0].startswith(("AccessDenied", "UnauthorizedOperation"))
    return is_code or _JAVAS_FIELDS.match(text, refusal.end()) is not None
