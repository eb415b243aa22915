"""The words of refusals, from the tables of `data/`, made ready to be looked for.

A refusal found in a text, and what is common to those whose action has to be inferred (pure).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

from leastpriv.aws.error_codes import call_outcome
from leastpriv.evidence.denials.log_text import Layout, one_line, spaced, squeezed
from leastpriv.models import Denial, DeniedBy, Outcome
from leastpriv.permissions.fact_tables import table

_ROOM = "leastpriv.evidence"


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


NEAR = 600
"""Characters before a bare refusal in which the tool may have said what it was about."""
_LONGEST_MESSAGE = 1_000
_STATUSES = frozenset({"403", "Forbidden"})
"""What stands in place of a code where the answer had no body."""


@dataclass(frozen=True, slots=True)
class Found:
    """A denial and where it stands in the cleaned text."""

    start: int
    end: int
    denial: Denial


def is_told(one: Found, others: Collection[Found], around: int = 0) -> bool:
    """Whether another that was found covers the place already, or stands so near to it."""
    return any(one.start < other.end + around and other.start < one.end + around for other in others)


def message_of(layout: Layout, start: int, end: int) -> str:
    """The words of a refusal on one line, cut where they never end; an empty line ends them."""
    told = layout.text[start : min(end, start + 3 * _LONGEST_MESSAGE)]
    return one_line(told.partition("\n\n")[0])[:_LONGEST_MESSAGE]


def is_refusal(code: str) -> bool:
    """Whether an error code, or the status in its place, is one of refusals."""
    return code in _STATUSES or call_outcome(code, "") is Outcome.DENIED


def bare(text: str) -> str | None:
    """The service whose bare refusal a text begins with (empty: any service's); None where it is none."""
    return next((service for pattern, service in bare_refusals() if pattern.match(text)), None)


def inferred(
    layout: Layout, start: int, end: int, actions: tuple[str, ...], resource: str = "", why: str = ""
) -> Found:
    """A denial of actions that follow from what stands around it; `why` tells what speaks against a grant."""
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
    return Found(start, end, denial)
