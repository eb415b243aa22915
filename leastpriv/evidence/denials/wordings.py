"""Loads the wordings of denials from the tables of `data/`, and builds inferred denials (pure)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache

from msgspec import Struct

from leastpriv.aws.errors import call_outcome
from leastpriv.evidence.denials.log_text import LogText, breakable, one_line, without_blanks
from leastpriv.models import Denial, DeniedBy, Outcome
from leastpriv.permissions.fact_tables import table

_ROOM = "leastpriv.evidence"


def other_cause_reason(text: str) -> str:
    """Returns why no grant fixes an error of another cause; empty where the cause is not in the table."""
    words = without_blanks(text)
    return next((row["why"] for row in table("other_causes", _ROOM) if without_blanks(row["text"]) in words), "")


def foreign_store(text: str) -> str:
    """Returns the object store other than Amazon S3 that the text mentions; empty where there is none."""
    words = text.lower()
    return next((row["store"] for row in table("foreign_stores", _ROOM) if row["word"] in words), "")


@cache
def bare_denials() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Messages without an action, as patterns for their beginning, with the service or an empty text."""
    return tuple(
        (re.compile(breakable(row["text"]) + _END_OF_BARE, re.IGNORECASE), row["service"])
        for row in table("bare_refusals", _ROOM)
    )


_END_OF_BARE = (
    r"(?![\w-])(?! *[\n\v]? *(?:because|to|for|by|with|when|due|since|as|on|while)\b)"
    rf"(?!\.[ \n\v]*{breakable('User:')})"
)
"""`Access Denied because object protected by object lock` has another cause, and EC2's newer messages continue with
AWS's own sentence; an empty line ends the text."""


@cache
def tool_phrases() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """What tools print before a bare denial: without blanks, as a pattern, and the denied action."""
    return tuple(
        (without_blanks(row["phrase"]), re.compile(breakable(row["phrase"]), re.IGNORECASE), row["action"])
        for row in table("tool_phrases", _ROOM)
    )


@cache
def iam_kinds() -> Mapping[str, str]:
    """Kind as IAM writes it -> its part of the ARN."""
    return {row["kind"]: row["path"] for row in table("iam_kinds", _ROOM)}


@cache
def prefixes_of_services() -> Mapping[str, str]:
    """Name of a service in SDKs and CloudFormation, without blanks -> IAM prefix, where they differ."""
    return {without_blanks(row["name"]): row["prefix"] for row in table("service_names", _ROOM)}


NEAR = 600
"""Characters before a bare denial in which a tool may name the operation or resource."""
_LONGEST_MESSAGE = 1_000
_STATUSES = frozenset({"403", "Forbidden"})
"""Status in place of a code where the answer has no body."""


class FoundDenial(Struct, frozen=True):
    """A denial and its position in the cleaned text."""

    start: int
    end: int
    denial: Denial


def is_covered(one: FoundDenial, others: Collection[FoundDenial], around: int = 0) -> bool:
    """Whether another denial covers this position, or is near it."""
    return any(one.start < other.end + around and other.start < one.end + around for other in others)


def message_of(layout: LogText, start: int, end: int) -> str:
    """Returns the text of a denial on one line, truncated at a limit; an empty line ends it."""
    told = layout.text[start : min(end, start + 3 * _LONGEST_MESSAGE)]
    return one_line(told.partition("\n\n")[0])[:_LONGEST_MESSAGE]


def is_denial_code(code: str) -> bool:
    """Whether an error code, or the status in its place, is a denial."""
    return code in _STATUSES or call_outcome(code, "") is Outcome.DENIED


def bare_denial_service(text: str) -> str | None:
    """Returns the service whose bare denial a text begins with (empty: any service's); None where it is none."""
    return next((service for pattern, service in bare_denials() if pattern.match(text)), None)


def inferred_denial(
    layout: LogText, span: tuple[int, int], actions: tuple[str, ...], resource: str = "", why: str = ""
) -> FoundDenial:
    """Builds a denial of inferred actions; `why` says why no grant helps."""
    start, end = span
    around = layout.text[max(0, start - NEAR) : end + 200]
    store = foreign_store(around) if any(action.startswith("s3:") for action in actions) else ""
    reason = why or (f"the request went to {store}" if store else "")
    reason = reason or ("" if actions else "the message names no action, and none follows from it")
    denial = Denial(
        actions=actions,
        resource=resource,
        principal="",
        denied_by=DeniedBy.UNKNOWN,
        explicit=False,
        mendable=not reason,
        message=message_of(layout, start, end),
        inferred=bool(actions),
        why=reason,
    )
    return FoundDenial(start, end, denial)
