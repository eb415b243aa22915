"""Bare refusals behind what a deploy tool was doing: `creating S3 Bucket (logs): AccessDenied: Access Denied` (pure).

Terraform's AWS provider, and Pulumi's, which is made of it, write a verb, the service and the thing
("Error Handling", Terraform AWS provider's contributor guide, read 2026-11-26). The verb and the thing are the name of
the operation where just one operation is named so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from leastpriv.evidence.refusals.found import Found, bare, inferred, is_refusal
from leastpriv.evidence.refusals.layout import Layout
from leastpriv.evidence.refusals.operations import actions_of, s3_named

_VERBS = {
    "creating": ("Create",),
    "deleting": ("Delete",),
    "updating": ("Update", "Modify", "Put"),
    "modifying": ("Modify", "Update"),
    "putting": ("Put",),
    "reading": ("Get", "Describe"),
    "getting": ("Get", "Describe"),
    "fetching": ("Describe", "Get"),
    "describing": ("Describe",),
    "listing": ("List", "Describe"),
    "attaching": ("Attach",),
    "detaching": ("Detach",),
}
_CODE = re.compile(r"\b(?P<code>AccessDenied(?:Exception)?|UnauthorizedOperation|Forbidden):[ \n\v]*")
_LONGEST = 400
_PHRASE = re.compile(
    rf"\b(?P<verb>(?i:{'|'.join(_VERBS)}))[ \n\v]+(?:AWS |Amazon )?"
    r"(?P<what>[A-Z][A-Za-z0-9]{0,40}(?:[ \n\v]+[A-Z][A-Za-z0-9]{0,40}){0,6})"
    r"(?:[ \n\v]+\((?P<name>[^()\n\v]{1,200})\))?(?P<part>(?:[ \n\v]+[A-Z][A-Za-z]{0,40}){0,4})"
    r":[ \n\v]*\Z"
)
_FULL_NAME = re.compile(r"[ \n\v]+\((?:Simple|Elastic|Key|Identity)[A-Za-z0-9 \n\v&]{2,60}\)")
"""What stood behind the short name of a service in version 4 of the provider: `S3 (Simple Storage)`."""
_EMPTY = re.compile(r"[ \n\v]*status code: 403\b")
_MOST_WORDS_OF_SERVICE = 3


def by_phrase(layout: Layout) -> Iterator[Found]:
    """Refusals whose action follows from the tool's own words in front; none where these leave a choice."""
    for code in _CODE.finditer(layout.text):
        service = bare(layout.text[code.end() : code.end() + _LONGEST])
        if not is_refusal(code["code"]) or (service is None and not _EMPTY.match(layout.text, code.end())):
            continue
        begin = max(0, code.start() - _LONGEST)
        # What is cut out must not move what is found: blanks stand for it.
        before = _FULL_NAME.sub(lambda found: " " * len(found[0]), layout.text[begin : code.start()])
        phrase = _PHRASE.search(before)
        actions = _actions(phrase, service or "") if phrase else ()
        if phrase and actions:
            resource = s3_named("", actions[0], phrase["name"] or "") if actions[0].startswith("s3:") else ""
            yield inferred(layout, begin + phrase.start(), min(code.end() + 60, len(layout.text)), actions, resource)


def _actions(phrase: re.Match[str], service: str) -> tuple[str, ...]:
    """The action of the only operation that is named so, of the service named or of the one that words it so."""
    verb, words = phrase["verb"].lower(), f"{phrase['what']} {phrase['part']}".split()
    for count in range(min(_MOST_WORDS_OF_SERVICE, len(words) - 1), -1, -1):
        prefix = " ".join(words[:count]) if count else service
        named = _operations(verb, words[count:])
        found = dict.fromkeys(actions_of(prefix, name) for name in named) if prefix else {}
        found.pop((), None)
        if found:
            return next(iter(found)) if len(found) == 1 else ()
    return ()


def _operations(verb: str, words: list[str]) -> list[str]:
    noun = "".join(word[:1].upper() + word[1:] for word in words)
    plural = f"{noun}s" if not noun.endswith("s") else noun
    return [f"{start}{end}" for start in _VERBS[verb] for end in dict.fromkeys((noun, plural))]
