"""What IAM Access Analyzer's generated policy has and we have not: questions for the reviewer, never grants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from leastpriv.evidence.aws_findings.models import GeneratedPolicy
from leastpriv.evidence.models import Evidence
from leastpriv.models import Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event
from leastpriv.permissions.patterns import action_covers, action_matches, overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Candidate, Situation

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)\}")
_MOST_RESOURCES = 5


class Why(StrEnum):
    """Why the generated policy may name an action that we do not grant."""

    UNSEEN = "unseen"
    """Nothing in the evidence speaks for it: the analyzer read another time, region or account."""
    REFUSED = "refused"
    """It was called and refused; generated policies hold refused calls too."""
    UNKNOWN = "unknown"
    """The catalogue lacks it, or it stands for several actions."""


@dataclass(frozen=True, slots=True)
class Question:
    """One action of the generated policy that the proposal does not grant."""

    action: str
    why: Why
    resources: tuple[str, ...]
    """As the analyzer wrote them; one with placeholders is replaced by what was observed, where something fits."""
    is_filled: bool
    """Whether some of `resources` were replaced so."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The generated policy held against the proposal."""

    generated: GeneratedPolicy
    agreed: int
    """Actions that the proposal grants as well."""
    questions: tuple[Question, ...]
    free: tuple[str, ...]
    """Named by it, though no policy has to allow them."""


def second_opinion(documents: Sequence[Document], evidence: Evidence) -> Opinion | None:
    """Holds the generated policy against the proposed and the attached policies; None where none was generated."""
    generated = evidence.hints.generated
    if generated is None:
        return None
    questions: list[Question] = []
    free: list[str] = []
    agreed = 0
    for action, resources in generated.grants:
        if _granted(action, documents):
            agreed += 1
        elif _is_free(action):
            free.append(action)
        else:
            filled = {each: _filled(action, each, evidence) for each in resources if has_placeholder(each)}
            told = tuple(dict.fromkeys(real for each in resources for real in filled.get(each) or (each,)))
            questions.append(Question(action, _why(action, evidence), told, any(filled.values())))
    return Opinion(generated, agreed, tuple(questions), tuple(free))


def has_placeholder(resource: str) -> bool:
    """Whether a resource of a generated policy has a part like `${BucketName}`, for a person to fill."""
    return _PLACEHOLDER.search(resource) is not None


def generated_policy(candidate: Candidate, situation: Situation) -> str:
    """The generated policy names it: then its trail has a call of it that this evidence lacks."""
    generated = situation.evidence.hints.generated
    if generated is None or candidate.action in situation.used:
        return ""
    wildcards = (name for name in generated.names if "*" in name)
    if candidate.action.lower() in generated.names or any(action_matches(name, candidate.action) for name in wildcards):
        return "IAM Access Analyzer read a call of it, refused or not, from the trail, and this evidence has none"
    return ""


def _granted(action: str, documents: Iterable[Document]) -> bool:
    """Whether some statement allows an action anywhere: generated resources are placeholders, and say no more."""
    return any(
        statement.effect == "Allow"
        and (
            any(action_covers(pattern, action) for pattern in statement.actions)
            or (
                bool(statement.not_actions)
                and not any(overlaps(each, action, ignore_case=True) for each in statement.not_actions)
            )
        )
        for document in documents
        for statement in document.statements
    )


def _is_free(action: str) -> bool:
    prefix, _, name = action.partition(":")
    return map_event(f"{prefix}.amazonaws.com", name).verdict is Verdict.NO_PERMISSION


def _why(action: str, evidence: Evidence) -> Why:
    if catalog.spelling(action) is None:
        return Why.UNKNOWN
    outcomes = {usage.outcome for usage in evidence.usages if usage.need.permission.action.lower() == action.lower()}
    return Why.REFUSED if Outcome.DENIED in outcomes else Why.UNSEEN


def _filled(action: str, resource: str, evidence: Evidence) -> tuple[str, ...]:
    """Real resources for placeholders: those on which the action was called, else those of other actions that fit."""
    template = _template(resource)
    own: dict[str, None] = {}
    others: dict[str, None] = {}
    for usage in evidence.usages:
        permission = usage.need.permission
        if usage.need.exact and permission.resource != "*" and template.fullmatch(permission.resource):
            same = permission.action.lower() == action.lower()
            if same or (catalog.spelling(action) and fits(action, permission.resource)):
                (own if same else others)[permission.resource] = None
    return tuple(own or others)[:_MOST_RESOURCES]


@lru_cache(maxsize=1_024)
def _template(resource: str) -> re.Pattern[str]:
    """What an ARN with placeholders stands for; none of them reaches over a colon."""
    return re.compile("".join(_parts(resource)))


def _parts(resource: str) -> Iterator[str]:
    end = 0
    for found in _PLACEHOLDER.finditer(resource):
        yield re.escape(resource[end : found.start()])
        yield "[^:]*" if found[1] in ("Region", "Account") else "[^:]+"
        end = found.end()
    yield re.escape(resource[end:])
