"""Reads authorization errors: their outcome, and the policy type that denied (pure).

Facts: `data/error_codes.tsv`, `data/refusal_texts.tsv` and `data/denying_policies.tsv`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from leastpriv.models import DeniedBy, Outcome
from leastpriv.permissions.fact_tables import table

_PACKAGE = "leastpriv.aws"

# The sentence that only AWS's authorizer writes; none of 57 look-alikes in a labelled set of 343 messages has it.
_DENIAL_PHRASE = re.compile(r"\bnot authorized to perform\b", re.IGNORECASE)
_CODE_PREFIX = re.compile(r"^(?:Client|Server)\.")


def denying_policy_type(reason: str) -> tuple[DeniedBy, str] | None:
    """Returns the policy type that a reason names first, and why no grant helps (empty where one does).

    The action may name one too: `because no identity-based policy allows the iam:PutRolePermissionsBoundary action`.
    """
    words = _without_blanks(reason)
    named = ((words.find(part), found) for part, found in _denying_policies())
    return min(((at, found) for at, found in named if at >= 0), key=lambda each: each[0], default=(0, None))[1]


def why_no_grant_helps(denied_by: DeniedBy) -> str:
    """Returns why no grant helps against a denial by this policy type."""
    return next((why for _, (known, why) in _denying_policies() if known is denied_by), "")


@cache
def _denying_policies() -> tuple[tuple[str, tuple[DeniedBy, str]], ...]:
    rows = table("denying_policies", _PACKAGE)
    return tuple((_without_blanks(row["words"]), (DeniedBy(row["denied_by"]), row["why"])) for row in rows)


def _without_blanks(text: str) -> str:
    return "".join(text.casefold().split())


@lru_cache(maxsize=4096)
def call_outcome(error_code: str, error_message: str) -> Outcome:
    """Returns whether AWS authorized the call; a call without an error was authorized.

    A call that failed for another reason (`NoSuchTagSet`) counts as allowed. An unlisted error is `UNKNOWN`, which
    blocks a removal and never justifies an addition. A message without a code is a failed call.
    """
    if not error_code and not error_message:
        return Outcome.ALLOWED
    code = _CODE_PREFIX.sub("", error_code)
    certain = _by_text(code, error_message) or _rules()[0].get(code)
    if certain:
        return certain
    if _DENIAL_PHRASE.search(error_message):
        # A validation error quotes its argument, which the caller chose and which may contain the authorizer's
        # sentence. The result blocks a removal and never becomes an addition.
        return Outcome.UNKNOWN
    return _by_pattern(code) or Outcome.UNKNOWN


def _by_text(code: str, message: str) -> Outcome | None:
    for row in table("refusal_texts", _PACKAGE):
        if row["code"] in ("", code) and _matches_text(row, message):
            return Outcome(row["outcome"])
    return None


def _matches_text(row: Mapping[str, str], message: str) -> bool:
    if row["match"] == "whole":
        return re.fullmatch(row["text"], message) is not None
    return row["text"].casefold() in message.casefold()


def _by_pattern(code: str) -> Outcome | None:
    for row in _rules()[1]:
        if _matches_code(row["match"], row["code"], code):
            return Outcome(row["outcome"])
    return None


def _matches_code(kind: str, pattern: str, code: str) -> bool:
    if kind == "prefix":
        return code.startswith(pattern)
    if kind == "suffix":
        return code.endswith(pattern)
    return pattern in code


@cache
def _rules() -> tuple[Mapping[str, Outcome], tuple[Mapping[str, str], ...]]:
    rows = table("error_codes", _PACKAGE)
    exact = {row["code"]: Outcome(row["outcome"]) for row in rows if row["match"] == "exact"}
    return exact, tuple(row for row in rows if row["match"] != "exact")
