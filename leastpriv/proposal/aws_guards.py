"""Guards that use what AWS says: last accessed information, declared resources, and the policy of
Access Analyzer.

None of them ever adds a permission. An attempt that the evidence lacks indicates a use, and blocks
a removal. A tracked action whose last attempt is before the evidence, and a service without any
attempt, support a removal if the policy file is known to be older than the evidence and IAM tracks
the regions. An action without a date shows nothing. A difference between the generated policy and
the proposal is a question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import listed
from leastpriv.evidence.access_advisor import is_tracked, is_tracked_partition, is_tracked_region
from leastpriv.evidence.models import (
    AccessReport,
    Evidence,
    GeneratedPolicy,
    LastAccess,
    ServiceAccess,
    SharedPolicy,
)
from leastpriv.models import Basis, Condition, Outcome, Usage, grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import (
    Verdict,
    Visibility,
    home_region,
    map_event,
    visibility,
)
from leastpriv.permissions.patterns import action_covers, action_matches, overlaps
from leastpriv.permissions.resource_types import fits
from leastpriv.policy.document import Document, Statement
from leastpriv.policy.evaluate import allow_statements
from leastpriv.proposal.models import GuardContext, RemovalCandidate

_CLOCK_TOLERANCE = timedelta(hours=1)
"""An attempt so soon after a recorded call counts as that call: the two clocks differ."""
_NOT_RECORDED = "this evidence has no such call"
_NEVER = timedelta(days=-1)
_LIMITING = ("StringEquals", "StringEqualsIgnoreCase", "StringLike")
"""Operators that limit a statement to regions; with `IfExists` a request without the key matches.
"""
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)\}")
_MOST_RESOURCES = 5


def last_accessed(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action with an attempt that the evidence lacks; IAM does not show whether it was
    denied.
    """
    report = context.evidence.aws_findings.access
    evidence = context.evidence
    if report is None or evidence.first is None or evidence.last is None:
        return ""
    action = candidate.action
    last_access = report.action(action)
    if last_access:
        if _explains(_last_seen(context.used.get(action, ())), last_access):
            return ""
        if last_access.time < evidence.first and is_tracked(action, evidence.first):
            return ""
        return f"IAM saw an attempt on it {_attempt_text(last_access)}: {_NOT_RECORDED}"
    prefix = action.partition(":")[0].lower()
    service = report.services.get(prefix)
    if service is None or service.last is None:
        return ""
    if _explains(context.last_recorded.get(prefix), service.last):
        return ""
    if _last_needed_no_permission(service):
        return ""
    place_of_use = _NOT_RECORDED
    if service.last.time < evidence.first:
        place_of_use = "before the evidence begins"
    elif service.last.time > evidence.last + _CLOCK_TOLERANCE:
        place_of_use = "after the evidence ends"
    return f"IAM saw an attempt on {prefix} {_attempt_text(service.last)}: {place_of_use}"


def shared_policy(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action if every policy that may be the edited one serves other principals that used
    the service.

    Also if AWS does not report who used it.
    """
    report = context.evidence.aws_findings.access
    first = context.evidence.first
    if report is None or first is None:
        return ""
    prefix = candidate.action.partition(":")[0].lower()
    if prefix in report.services and prefix not in report.granted_by and report.missing:
        return (
            f"it is not known whether the policy that grants {prefix} serves others too:"
            f" {report.missing}"
        )
    granting = [name for name in report.granted_by.get(prefix, ()) if "::aws:policy/" not in name]
    served = {
        shared.arn: _served_others(shared, report, first)
        for shared in report.shared
        if shared.service == prefix
    }
    reasons = [served.get(name, "") for name in granting]
    return reasons[0] if reasons and all(reasons) else ""


def _served_others(shared: SharedPolicy, report: AccessReport, first: datetime) -> str:
    """Why a policy serves other principals too; empty if no other principal used the service in
    this time.
    """
    if not shared.is_known:
        return (
            f"it is not known whether others use {shared.service} through {shared.arn}:"
            f" {report.missing}"
        )
    users = sorted(arn for arn, attempt in shared.others.items() if attempt.time >= first)
    return (
        f"{shared.arn} grants {shared.service} to {users[0]} as well, which used it in this time"
        if users
        else ""
    )


def is_never_attempted(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether IAM's tracking period, too, has no attempt on a service without a call in the
    evidence.

    Each region that the statement names must be tracked, or read for `minimum-days`.
    """
    report = context.evidence.aws_findings.access
    first = context.evidence.first
    prefix = candidate.action.partition(":")[0]
    service = report.services.get(prefix.lower()) if report else None
    if service is None or service.last is not None or prefix in context.programs:
        return False
    coverage = context.evidence.coverage
    minimum = timedelta(days=context.options.minimum_days)
    is_granted = was_granted(context.evidence, context.history.changed)
    return (
        is_granted
        and is_tracked_partition(context.evidence.principal.split(":")[1])
        and all(
            (first is not None and is_tracked_region(region, first))
            or (coverage.length(region) or _NEVER) >= minimum
            for region in regions_to_know(candidate, context)
        )
    )


def is_outdated(candidate: RemovalCandidate, context: GuardContext) -> bool:
    """Whether IAM's last attempt on the action is before the evidence, in all regions that the
    statement names.
    """
    report = context.evidence.aws_findings.access
    first = context.evidence.first
    last_access = report.action(candidate.action) if report else None
    return (
        last_access is not None
        and first is not None
        and last_access.time < first
        and was_granted(context.evidence, context.history.changed)
        and is_tracked(candidate.action, first)
        and all(is_tracked_region(region, first) for region in regions_to_know(candidate, context))
    )


def was_granted(evidence: Evidence, changed: datetime | None) -> bool:
    """Whether the policy file, last changed at `changed`, is known to be older than the evidence.

    A permission granted only recently cannot have been attempted before.
    """
    return evidence.first is not None and changed is not None and changed < evidence.first


def report_without(
    report: AccessReport, evidence: Evidence, left: tuple[Usage, ...]
) -> AccessReport:
    """The report as it would be with only the usages `left`: a run that is left out must not
    influence it.
    """
    before = _LastCalls(evidence.usages)
    after = _LastCalls(left)
    services = {
        name: _service_without(service, before, after) for name, service in report.services.items()
    }
    return replace(report, services=services)


class _LastCalls:
    """Times of the last calls by service and by action, in lower case; a report looks up
    thousands.
    """

    def __init__(self, usages: Iterable[Usage]) -> None:
        by_action = grouped([(usage.action.lower(), usage) for usage in usages])
        self.actions = {action: _last_seen(own) for action, own in by_action.items()}
        self.services = last_recorded(usage for own in by_action.values() for usage in own)


def _service_without(service: ServiceAccess, usages: _LastCalls, left: _LastCalls) -> ServiceAccess:
    """Returns AWS's last accesses of a service without those that the left-out usages explain."""

    def adjusted(
        attempt: LastAccess | None, before: datetime | None, after: datetime | None
    ) -> LastAccess | None:
        if attempt is None or before is None or before == after or not _explains(before, attempt):
            return attempt
        return replace(attempt, time=after) if after else None

    access_of_actions = service.actions.items()
    actions = {
        name: adjusted(attempt, usages.actions.get(name), left.actions.get(name))
        for name, attempt in access_of_actions
    }
    noted = (report.services.get(service.service) for report in (usages, left))
    return replace(service, last=adjusted(service.last, *noted), actions=actions)


def last_recorded(usages: Iterable[Usage]) -> dict[str, datetime]:
    """Service -> its last recorded call; inferred needs, such as `iam:PassRole`, do not count."""
    last_by_service: dict[str, datetime] = {}
    for usage in usages:
        if usage.need.basis is not Basis.INFERRED:
            prefix = usage.action.partition(":")[0].lower()
            last_by_service[prefix] = max(
                last_by_service.get(prefix, usage.last_seen), usage.last_seen
            )
    return last_by_service


def _last_seen(usages: Iterable[Usage]) -> datetime | None:
    return max((usage.last_seen for usage in usages), default=None)


def _explains(known: datetime | None, attempt: LastAccess) -> bool:
    return known is not None and attempt.time <= known + _CLOCK_TOLERANCE


def _last_needed_no_permission(service: ServiceAccess) -> bool:
    """Whether the last attempt on a service was a call that needs no permission, as
    `sts:GetCallerIdentity`.
    """
    time, name = max(
        ((attempt.time, name) for name, attempt in service.actions.items() if attempt),
        default=(None, ""),
    )
    if time is None or service.last is None or service.last.time > time + _CLOCK_TOLERANCE:
        return False
    spelling = catalog.spelling(name)
    return spelling is not None and _needs_no_permission(
        f"{service.service}:{spelling.partition(':')[2]}"
    )


def _attempt_text(attempt: LastAccess) -> str:
    region_words = f" in {attempt.region}" if attempt.region else ""
    return f"on {attempt.time:%Y-%m-%d}{region_words}"


def declared(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that a resource of a template or plan needs in a phase that no run showed."""
    types = context.evidence.aws_findings.declared.actions.get(candidate.action, ())
    return f"{listed(types, 1)} needs it, which no run did" if types else ""


def regions_to_know(candidate: RemovalCandidate, context: GuardContext) -> frozenset[str]:
    """The home region of a global service, else the regions that the statement names."""
    home = home_region_of(candidate, context)
    statement = candidate.entry.statement
    return frozenset({home}) if home else _named_regions(statement.resources, statement.conditions)


@lru_cache(maxsize=1_024)
def _named_regions(resources: tuple[str, ...], conditions: tuple[Condition, ...]) -> frozenset[str]:
    """Returns the regions that a statement is limited to, or else names."""
    only = _limiting_regions(resources, conditions)
    if only is not None:
        return only
    own = (
        condition
        for condition in conditions
        if _is_region_condition(condition) and "Not" not in condition.operator
    )
    named = _resource_regions(resources).union(*(each.values for each in own))
    return frozenset(filter(_is_single_region, named))


def home_region_of(candidate: RemovalCandidate, context: GuardContext) -> str:
    """The home region of a global service, in the principal's partition; empty for any other
    service.

    Empty too for an action that only its carriers show, as `iam:PassRole`: they are calls of other
    services.
    """
    if visibility(candidate.action).visibility is Visibility.CARRIERS:
        return ""
    return home_region(candidate.action.partition(":")[0], context.evidence.principal.split(":")[1])


def limiting_regions(statement: Statement) -> frozenset[str] | None:
    """The regions that a condition, or else the resources, limit a statement to; None: any
    region.
    """
    return _limiting_regions(statement.resources, statement.conditions)


def _limiting_regions(
    resources: tuple[str, ...], conditions: tuple[Condition, ...]
) -> frozenset[str] | None:
    for condition in conditions:
        limiting = condition.operator in _LIMITING
        if (
            limiting
            and _is_region_condition(condition)
            and all(map(_is_single_region, condition.values))
        ):
            return frozenset(value.lower() for value in condition.values)
    named = _resource_regions(resources)
    return frozenset(named) if named and all(map(_is_single_region, named)) else None


def _resource_regions(resources: tuple[str, ...]) -> set[str]:
    """The region fields of the ARNs; empty for a resource without one."""
    fields = (resource.split(":", 5) for resource in resources)
    return {field[3] if len(field) == 6 else "" for field in fields}


def _is_region_condition(condition: Condition) -> bool:
    return condition.key.lower() == "aws:requestedregion"


def _is_single_region(region: str) -> bool:
    return bool(region) and not set(region) & set("*?$")


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


def compare_with_generated_policy(
    documents: Sequence[Document], evidence: Evidence
) -> GeneratedPolicyComparison | None:
    """Compares the generated policy with the proposed and attached policies; None if there is
    none.
    """
    generated = evidence.aws_findings.generated
    if generated is None:
        return None
    denied = {usage.action.lower() for usage in evidence.usages if usage.outcome is Outcome.DENIED}
    questions: list[UngrantedAction] = []
    agreed = 0
    for action, resources in generated.grants:
        if _is_granted(action, documents):
            agreed += 1
        elif not _needs_no_permission(action):
            questions.append(
                _ungranted(action, resources, evidence, is_denied=action.lower() in denied)
            )
    return GeneratedPolicyComparison(generated, agreed, tuple(questions))


def _ungranted(
    action: str, resources: Sequence[str], evidence: Evidence, *, is_denied: bool
) -> UngrantedAction:
    """Returns the question about an action of the generated policy, on observed resources where
    these fit.
    """
    observed = {
        resource: _fill_placeholders(action, resource, evidence)
        for resource in resources
        if has_placeholder(resource)
    }
    real_resources: dict[str, None] = {}
    for resource in resources:
        real_resources.update(dict.fromkeys(observed.get(resource) or (resource,)))
    reason = UngrantedReason.DENIED if is_denied else UngrantedReason.UNSEEN
    if not catalog.spelling(action):
        reason = UngrantedReason.UNKNOWN
    return UngrantedAction(action, reason, tuple(real_resources), any(observed.values()))


def has_placeholder(resource: str) -> bool:
    """Whether a resource of a generated policy has a placeholder such as `${BucketName}`."""
    return _PLACEHOLDER.search(resource) is not None


def generated_policy(candidate: RemovalCandidate, context: GuardContext) -> str:
    """Keeps an action that the generated policy names: its trail has a call that this evidence
    lacks.
    """
    generated = context.evidence.aws_findings.generated
    if generated is None or candidate.action in context.used:
        return ""
    wildcards = (name for name in generated.names if "*" in name)
    if candidate.action.lower() in generated.names or any(
        action_matches(name, candidate.action) for name in wildcards
    ):
        return (
            "IAM Access Analyzer found a call of it in the trail, allowed or denied, and this"
            " evidence has none"
        )
    return ""


def _is_granted(action: str, documents: Iterable[Document]) -> bool:
    """Whether a statement allows an action on any resource; resources of generated policies are
    placeholders.
    """
    return any(
        any(action_covers(pattern, action) for pattern in allow.actions)
        or (
            allow.not_actions
            and not any(overlaps(name, action, ignore_case=True) for name in allow.not_actions)
        )
        for allow in allow_statements(documents)
    )


def _needs_no_permission(action: str) -> bool:
    prefix, _, name = action.partition(":")
    return map_event(f"{prefix}.amazonaws.com", name).verdict is Verdict.NO_PERMISSION


def _fill_placeholders(action: str, resource: str, evidence: Evidence) -> tuple[str, ...]:
    """Resources that fit the placeholders: those of the action's own calls, else those of other
    actions.
    """
    template = _placeholder_pattern(resource)
    is_known = catalog.spelling(action) is not None
    permissions = (
        use.need.permission for use in evidence.usages if use.need.exact and use.resource != "*"
    )
    fitting = [permission for permission in permissions if template.fullmatch(permission.resource)]
    own_resources = dict.fromkeys(
        permission.resource for permission in fitting if permission.action.lower() == action.lower()
    )
    other_resources = dict.fromkeys(
        permission.resource
        for permission in fitting
        if is_known and fits(action, permission.resource)
    )
    return tuple(own_resources or other_resources)[:_MOST_RESOURCES]


@lru_cache(maxsize=1_024)
def _placeholder_pattern(resource: str) -> re.Pattern[str]:
    """The pattern of ARNs that fit the placeholders; no placeholder spans a colon."""
    literal, *parts = _PLACEHOLDER.split(resource)
    pattern = re.escape(literal)
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        pattern += ("[^:]*" if name in ("Region", "Account") else "[^:]+") + re.escape(text)
    return re.compile(pattern)
