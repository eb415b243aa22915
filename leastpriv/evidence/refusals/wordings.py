"""The words of refusals, from the tables of `data/`, made ready to be looked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from leastpriv.evidence.refusals.layout import spaced, squeezed
from leastpriv.model import DeniedBy
from leastpriv.permissions.tables import table

_ROOM = "leastpriv.evidence"


def refuser(reason: str) -> tuple[DeniedBy, str] | None:
    """Who refused by the words of a reason, and why no identity policy helps (empty where one does); None: no words."""
    words = squeezed(reason)
    return next((refused for part, refused in _refusers() if part in words), None)


def why_refused_by(denied_by: DeniedBy) -> str:
    """Why no identity policy helps against this refuser."""
    return next((why for _, (known, why) in _refusers() if known is denied_by), "")


def other_cause(text: str) -> str:
    """Why a text of another cause is not mended by a grant; empty where it is none of the known ones."""
    words = squeezed(text)
    return next((row["why"] for row in table("other_causes", _ROOM) if squeezed(row["text"]) in words), "")


def foreign_store(text: str) -> str:
    """The store other than Amazon S3 that the text speaks of; empty where there is none."""
    words = text.lower()
    return next((row["store"] for row in table("foreign_stores", _ROOM) if row["word"] in words), "")


@cache
def bare_refusals() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Whole messages that name no action, as patterns to match at their beginning, with the service or nothing."""
    return tuple(
        (re.compile(spaced(row["text"]) + _END_OF_BARE, re.IGNORECASE), row["service"])
        for row in table("bare_refusals", _ROOM)
    )


_END_OF_BARE = (
    r"(?![\w-])(?! *[\n\v]? *(?:because|to|for|by|with|when|due|since|as|on|while)\b)"
    rf"(?!\.[ \n\v]*{spaced('User:')})"
)
"""`Access Denied because object protected by object lock` is another matter, and EC2's newer messages go on with AWS's
own sentence, which tells more; an empty line ends the text."""


@cache
def tool_phrases() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """What tools say before a bare refusal: squeezed, as a pattern, and the action that was refused."""
    return tuple(
        (squeezed(row["phrase"]), re.compile(spaced(row["phrase"]), re.IGNORECASE), row["action"])
        for row in table("tool_phrases", _ROOM)
    )


@cache
def iam_kinds() -> Mapping[str, str]:
    """Kind as IAM writes it -> its part of the ARN."""
    return {row["kind"]: row["path"] for row in table("iam_kinds", _ROOM)}


@cache
def prefixes_of_services() -> Mapping[str, str]:
    """Name of a service as SDKs and CloudFormation print it, squeezed -> IAM prefix, where they differ."""
    return {squeezed(row["name"]): row["prefix"] for row in table("service_names", _ROOM)}


@cache
def _refusers() -> tuple[tuple[str, tuple[DeniedBy, str]], ...]:
    return tuple((squeezed(row["words"]), (DeniedBy(row["denied_by"]), row["why"])) for row in table("refusers", _ROOM))
