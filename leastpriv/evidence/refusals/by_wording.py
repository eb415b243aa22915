"""Refusals in other words than AWS's sentence, and bare ones whose action follows from what is around (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from leastpriv.evidence.refusals.found import NEAR, Found, bare, inferred, is_refusal
from leastpriv.evidence.refusals.layout import Layout, spaced, unbroken
from leastpriv.evidence.refusals.operations import actions_of, actions_of_type, is_action, s3_named, s3_resource
from leastpriv.evidence.refusals.wordings import other_cause, tool_phrases, why_refused_by
from leastpriv.model import DeniedBy

_ANSWERED = re.compile(r"\([Ss]ervice:[^()]{0,80}?[Ss]tatus[ \n\v]*[Cc]ode:[ \n\v]*403")
_TEXT = re.compile(r"(?P<text>Access[ \n\v]*Denied|null)[ \n\v]*\Z", re.IGNORECASE)
_LONGEST_TEXT = 40
_TYPE = re.compile(r"\bAWS::[A-Z][A-Za-z0-9]{1,60}::[A-Z][A-Za-z0-9]{1,60}\b")
_FAILED = re.compile(r"\b(CREATE|UPDATE|DELETE)_FAILED\b")
_CODE_OBJECT = re.compile(
    spaced("request credentials have permission to")
    + r"[ \n\v]*(?P<operation>\w{2,60}(?:[\n\v]\w{1,60})?)[ \n\v]+for[ \n\v]*(?P<place>[^ ]{3,1200}?)\."
    + r"[ \n\v]*S[\n\v]?3[ \n\v]*Error",
    re.IGNORECASE,
)
_LACKS = re.compile(
    r"\b(?:do|does)(?: not|n['’]t)[ \n\v]+have[ \n\v]+(?:the[ \n\v]+)?permissions?[ \n\v]+"
    r"(?:required[ \n\v]+)?to[ \n\v]+(?:(?:perform|call|execute|invoke)[ \n\v:]+)?(?:the[ \n\v]+)?"
    r"[`'\"\u2018\u201c]?(?P<action>[a-z][a-z0-9-]+:[A-Za-z]\w+)",
    re.IGNORECASE,
)
_OTHER_ROLE = re.compile(
    r"\b(?:execution|service|task|instance)[ -](?:role|profile)\b|\brole\b[^.\n]{0,80}$", re.IGNORECASE
)
_TOLD = re.compile(
    r"(?: \((?P<name>[^()\n]{0,100})\)| for [^ :\n]{1,100})?:[ \n\v]*(?:(?P<code>[A-Z]\w{1,80}):[ \n\v]*)?"
)
_KEY_OF_CIPHERTEXT = re.compile(
    spaced("The ciphertext refers to a customer master key that does not exist")
    + r"[^\"<]{0,80}"
    + spaced("not allowed to access")
)
_ENDPOINT = re.compile(spaced("request was denied due to a VPC endpoint policy"))
_NOT_ASSUMED = re.compile(spaced("could not be used to assume") + r"[ \n\v]*['\"](?P<role>arn:[^'\" ]{1,400})['\"]")
_DECODED = re.compile(r"\"allowed\"[ ]*:[ ]*false\b")
_DECODED_FIELD = re.compile(r"\"(?P<field>explicitDeny|action|resource)\"[ ]*:[ ]*\"?(?P<value>[^\",\s]+)")


def _lacking(layout: Layout) -> Iterator[Found]:
    """`You do not have permission to perform the 'ec2:AssociateAddress' action`."""
    for match in _LACKS.finditer(layout.text):
        if is_action(match["action"]):
            before = layout.text[max(0, match.start() - 100) : match.start()]
            why = "it speaks of another role" if _OTHER_ROLE.search(before) else ""
            found = inferred(layout, match.start(), match.end(), (match["action"],), why=why)
            yield replace(found, denial=replace(found.denial, inferred=False))


def _code_objects(layout: Layout) -> Iterator[Found]:
    """Lambda reads its code from S3 with the rights of the caller: `… have permission to GetObject for BUCKET/KEY`."""
    for match in _CODE_OBJECT.finditer(layout.text):
        place = unbroken(match["place"])
        yield inferred(
            layout,
            match.start(),
            match.end(),
            actions_of("s3", unbroken(match["operation"])),
            f"arn:aws:s3:::{place}" if "/" in place else "",
        )


def _typed(layout: Layout) -> Iterator[Found]:
    """A handler's bare refusal: the action follows from the resource type and what was done to it."""
    text = layout.text
    for answered in _ANSWERED.finditer(text):
        match = _TEXT.search(text, max(0, answered.start() - _LONGEST_TEXT), answered.start())
        if not match:
            continue
        before = text[max(0, match.start() - NEAR) : match.start()]
        failed = [*_FAILED.finditer(before)]
        row = before[max(0, failed[-1].start() - 120) :] if failed else ""
        kinds = [*_TYPE.finditer(row)]
        if failed and kinds:
            after = [kind[0] for kind in kinds if kind.start() > row.rfind("_FAILED")]
            actions = actions_of_type(after[0] if after else kinds[-1][0], failed[-1][1])
            why = "the service gives neither action nor reason" if match["text"].lower() == "null" else ""
            yield inferred(layout, match.start(), answered.end(), actions, why=why)


def by_tool(layout: Layout, words: str) -> Iterator[Found]:
    """`Error loading state: AccessDenied: Access Denied`."""
    text = layout.text
    for phrase, pattern, action in tool_phrases():
        for match in pattern.finditer(text) if phrase in words else ():
            body = text[match.end() : match.end() + 400]
            told = _TOLD.match(body)
            service = bare(body[told.end() :]) if told else None
            if told and service is not None and (not told["code"] or is_refusal(told["code"])):
                before = text[max(0, match.start() - NEAR) : match.end()]
                resource = s3_named(phrase, action, told["name"] or "") or s3_resource((action,), before)
                yield inferred(layout, match.start(), match.end() + 60, (action,), resource)


def _ciphertexts(layout: Layout) -> Iterator[Found]:
    for match in _KEY_OF_CIPHERTEXT.finditer(layout.text):
        yield inferred(layout, match.start(), match.end(), ("kms:Decrypt",))


def _endpoints(layout: Layout) -> Iterator[Found]:
    """S3's words under the code VpceAccessDenied: no action, but who refused."""
    for match in _ENDPOINT.finditer(layout.text):
        found = inferred(layout, match.start(), match.end(), (), why=why_refused_by(DeniedBy.VPCE))
        yield replace(found, denial=replace(found.denial, denied_by=DeniedBy.VPCE))


def _not_assumed(layout: Layout) -> Iterator[Found]:
    for match in _NOT_ASSUMED.finditer(layout.text):
        why = other_cause(match[0])
        yield inferred(layout, match.start(), match.end(), ("sts:AssumeRole",), unbroken(match["role"]), why)


def _decoded(layout: Layout) -> Iterator[Found]:
    """What `aws sts decode-authorization-message` prints."""
    for match in _DECODED.finditer(layout.text):
        fields: dict[str, str] = {}
        for each in _DECODED_FIELD.finditer(layout.text, match.end(), match.end() + 3_000):
            fields.setdefault(each["field"], each["value"])
        action = fields.get("action", "")
        if is_action(action):
            explicit = fields.get("explicitDeny") == "true"
            why = "an explicit deny refused it, which no grant outweighs" if explicit else ""
            found = inferred(layout, match.start(), match.end(), (action,), fields.get("resource", ""), why)
            yield replace(found, denial=replace(found.denial, inferred=False, explicit=explicit))


READERS: tuple[tuple[str, Callable[[Layout], Iterator[Found]]], ...] = (
    ("permission", _lacking),
    ("requestcredentials", _code_objects),
    ("statuscode:403", _typed),
    ("theciphertextrefers", _ciphertexts),
    ("vpcendpointpolicy", _endpoints),
    ("usedtoassume", _not_assumed),
    ('"allowed":false', _decoded),
)
"""Each with what the text has to hold, squeezed: patterns that let words break anywhere are slow to look for."""
