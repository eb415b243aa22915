"""Compares IAM Access Analyzer's generated policy with the proposal; differences are questions, never grants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct

from leastpriv.evidence.models import Evidence, GeneratedPolicy
from leastpriv.models import Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event
from leastpriv.permissions.patterns import action_covers, action_matches, overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.document import Document
from leastpriv.proposal.models import GuardContext, RemovalCandidate

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)\}")
_MOST_RESOURCES = 5


class UngrantedReason(StrEnum):
    """Why the generated policy may name an action that the proposal does not grant."""

    UNSEEN = "unseen"
    """The evidence has no call of it: the analyzer read another time, region or account."""
    DENIED = "refused"
    """It was called and denied; generated policies contain denied calls too."""
    UNKNOWN = "unknown"
    """The catalogue lacks it, or it is a wildcard."""


class UngrantedAction(Struct, frozen=True):
    """An action of the generated policy that the proposal does not grant."""

    action: str
    why: UngrantedReason
    resources: tuple[str, ...]
    """As the analyzer wrote them; observed resources replace placeholders that they fit."""
    has_real_resources: bool
    """Whether observed resources replaced some of `resources`."""


class GeneratedPolicyComparison(Struct, frozen=True):
    """The comparison of a generated policy with the proposal."""

    generated: GeneratedPolicy
    agreed: int
    """Number of actions that the proposal grants too."""
    questions: tuple[UngrantedAction, ...]
    free: tuple[str, ...]
    """Actions that need no permission."""


def compare_with_generated_policy(
    documents: Sequence[Document], evidence: Evidence
) -> GeneratedPolicyComparison | None:
    """Compares the generated policy with the proposed and attached policies; None if there is none."""
    generated = evidence.aws_findings.generated
    if generated is None:
        return None
    questions: list[UngrantedAction] = []
    free: list[str] = []
    agreed = 0
    for action, resources in generated.grants:
        if _is_granted(action, documents):
            agreed += 1
        elif _needs_no_permission(action):
            free.append(action)
        else:
            replacements = {
                each: _fill_placeholders(action, each, evidence) for each in resources if has_placeholder(each)
            }
            real_resources = tuple(
                dict.fromkeys(resource for each in resources for resource in replacements.get(each) or (each,))
            )
            questions.append(
                UngrantedAction(action, _ungranted_reason(action, evidence), real_resources, any(replacements.values()))
            )
    return GeneratedPolicyComparison(generated, agreed, tuple(questions), tuple(free))


def has_placeholder(resource: str) -> bool:
    """Whether a resource of a generated policy has a placeholder such as `${BucketName}`."""
    return _PLACEHOLDER.search(resource) is not None


def generated_policy(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that the generated policy names: its trail has a call that this evidence lacks."""
    generated = context.evidence.aws_findings.generated
    if generated is None or candidate.action in context.used:
        return ""
    wildcards = (name for name in generated.names if "*" in name)
    if candidate.action.lower() in generated.names or any(action_matches(name, candidate.action) for name in wildcards):
        return "IAM Access Analyzer found a call of it in the trail, allowed or denied, and this evidence has none"
    return ""


def _is_granted(action: str, documents: Iterable[Document]) -> bool:
    """Whether a statement allows an action on any resource; resources of generated policies are placeholders."""
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


def _needs_no_permission(action: str) -> bool:
    prefix, _, name = action.partition(":")
    return map_event(f"{prefix}.amazonaws.com", name).verdict is Verdict.NO_PERMISSION


def _ungranted_reason(action: str, evidence: Evidence) -> UngrantedReason:
    if catalog.spelling(action) is None:
        return UngrantedReason.UNKNOWN
    outcomes = {usage.outcome for usage in evidence.usages if usage.need.permission.action.lower() == action.lower()}
    return UngrantedReason.DENIED if Outcome.DENIED in outcomes else UngrantedReason.UNSEEN


def _fill_placeholders(action: str, resource: str, evidence: Evidence) -> tuple[str, ...]:
    """Resources that fit the placeholders: those of the action's own calls, else those of other actions."""
    template = _placeholder_pattern(resource)
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
def _placeholder_pattern(resource: str) -> re.Pattern[str]:
    """The pattern of ARNs that fit the placeholders; no placeholder spans a colon."""
    return re.compile("".join(_pattern_parts(resource)))


def _pattern_parts(resource: str) -> Iterator[str]:
    end = 0
    for found in _PLACEHOLDER.finditer(resource):
        yield re.escape(resource[end : found.start()])
        yield "[^:]*" if found[1] in ("Region", "Account") else "[^:]+"
        end = found.end()
    yield re.escape(resource[end:])
