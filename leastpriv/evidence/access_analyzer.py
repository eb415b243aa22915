"""Collects AWS's own findings about one role or user, and reads those of existing IAM Access
Analyzers.

A source that fails becomes a sentence and does not end the run. Reading findings is free. An
unused-access analyzer costs a charge for each role and user that it monitors, so none is created
(data/costs.tsv).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from leastpriv.aws.errors import error_code, translate_errors, translate_missing_members
from leastpriv.aws.session import Aws, Polling, pages
from leastpriv.errors import AwsError, AwsErrorKind, InputError
from leastpriv.evidence.access_advisor import read_last_accessed
from leastpriv.evidence.models import (
    AwsFindings,
    ExternalAccess,
    InternalAccess,
    Recommendation,
    SkippedSource,
    UnusedAccess,
)
from leastpriv.evidence.policy_generation import GenerationSettings, generate_policy, grants_of
from leastpriv.models import Principal
from leastpriv.permissions.event_table import home_region
from leastpriv.permissions.fact_tables import table

_log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_SOON = timedelta(minutes=3)
"""Waiting time for requests that take AWS seconds."""


def collect_aws_findings(
    aws: Aws,
    principal: Principal,
    waiting: Polling,
    *,
    access: bool,
    generation: tuple[GenerationSettings, datetime | None] | None = None,
) -> AwsFindings:
    """Collects AWS's findings about a principal; never raises an `AwsError`.

    `access`: whether to read IAM's last accessed information; `generation`: whether to generate a
    policy from its trail, from `start` on. With either, the findings of existing analyzers are
    read.
    """
    unasked: list[SkippedSource] = []
    sources_asked: list[str] = []

    def tried(source: str, ask: Callable[[], _Found]) -> _Found | None:
        try:
            with translate_missing_members(f"reading {source}"):
                answer = ask()
        except (AwsError, InputError) as error:
            _log.info(f"Skipped: {source}. {error}")
            unasked.append(SkippedSource(source, str(error)))
            return None
        sources_asked.append(source)
        return answer

    report = unused = outside = inside = generated = None
    soon = replace(waiting, longest=min(waiting.longest, _SOON))
    if access:
        home = aws.region or home_region("iam", principal.partition)
        report = tried(
            "access advisor",
            lambda: read_last_accessed(aws.client("iam", home), principal.arn, soon),
        )
    if access or generation:
        for row in table("costs", "leastpriv.evidence"):
            _log.info(row["sentence"])
        analyzer = partial(aws.client, "accessanalyzer")
        unused = tried(
            "unused access findings", lambda: read_unused_access(analyzer(), principal.arn, soon)
        )
        if principal.kind == "role":
            both_findings = tried(
                "external access findings",
                lambda: (
                    read_external_access(analyzer(), principal.arn),
                    read_internal_access(analyzer(), principal.arn),
                ),
            )
            outside, inside = both_findings or (None, ())
            if both_findings and outside is None:
                unasked.append(
                    SkippedSource(
                        "external access findings", f"there is no such analyzer in {aws.region}."
                    )
                )
    if generation:
        # Last, because it takes minutes.
        settings, start = generation
        region = settings.trail.split(":")[3]
        generated = tried(
            "policy generation",
            lambda: generate_policy(
                aws.client("accessanalyzer", region), principal.arn, settings, start, waiting
            ),
        )
    return AwsFindings(
        access=report,
        generated=generated,
        unused=unused or (),
        outside=outside or (),
        inside=inside or (),
        skipped_sources=tuple(unasked),
        asked=tuple(sources_asked),
    )


class Analyzer(NamedTuple):
    """An active analyzer."""

    arn: str
    name: str
    days: int = 0
    """Tracking period of an unused-access analyzer in days; 0 where AWS does not return it."""


def list_analyzers(client: Any, end: str = "") -> Iterator[Analyzer]:
    """Yields the active analyzers of account and organization in the client's region; `end` ends
    the type's name.
    """
    activity = "listing analyzers"
    action = "access-analyzer:ListAnalyzers"
    for kind in (f"ACCOUNT{end}", f"ORGANIZATION{end}"):
        for page in pages(client, "list_analyzers", activity, action, type=kind):
            for analyzer in page["analyzers"]:
                if analyzer["status"] == "ACTIVE":
                    days = (
                        analyzer.get("configuration", {})
                        .get("unusedAccess", {})
                        .get("unusedAccessAge", 0)
                    )
                    yield Analyzer(analyzer["arn"], analyzer["name"], int(days))


def list_findings(
    client: Any, analyzer: Analyzer, resource: str, *kinds: str
) -> Iterator[Mapping[str, Any]]:
    """Yields active findings about a role or user, by ARN, as `GetFindingV2` returns them with all
    pages joined.
    """
    for summary in _listed(client, analyzer, "resource", resource):
        # Check the filter again: a finding about another role would be a false statement about this
        # one.
        if summary.get("findingType") in kinds and summary.get("resource") == resource:
            yield from _whole(client, analyzer, str(summary["id"]))


def _listed(
    client: Any, analyzer: Analyzer, property_name: str, value: str
) -> Iterator[Mapping[str, Any]]:
    """Yields the summaries of active findings whose property has a value."""
    criteria = {property_name: {"eq": [value]}, "status": {"eq": ["ACTIVE"]}}
    activity = f"listing findings of the analyzer {analyzer.name}"
    action = "access-analyzer:ListFindings"
    for page in pages(
        client, "list_findings_v2", activity, action, analyzerArn=analyzer.arn, filter=criteria
    ):
        yield from (summary for summary in page["findings"] if summary["status"] == "ACTIVE")


def _whole(client: Any, analyzer: Analyzer, number: str) -> Iterator[Mapping[str, Any]]:
    """Yields the finding, unless it was deleted after the listing."""
    activity = f"reading a finding of the analyzer {analyzer.name}"
    action = "access-analyzer:GetFinding"
    try:
        finding_pages = list(
            pages(client, "get_finding_v2", activity, action, analyzerArn=analyzer.arn, id=number)
        )
    except AwsError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
        return
    yield {
        **finding_pages[-1],
        "findingDetails": [detail for page in finding_pages for detail in page["findingDetails"]],
    }


_TYPES = ("UnusedIAMRole", "UnusedPermission", "UnusedIAMUserAccessKey", "UnusedIAMUserPassword")


def read_unused_access(client: Any, principal: str, waiting: Polling) -> tuple[UnusedAccess, ...]:
    """Reads the findings of each unused-access analyzer in the client's region; empty where there
    is none.
    """
    analyzers = [*list_analyzers(client, "_UNUSED_ACCESS")]
    return tuple(_findings_of(client, analyzer, principal, waiting) for analyzer in analyzers)


def _findings_of(client: Any, analyzer: Analyzer, principal: str, waiting: Polling) -> UnusedAccess:
    """Returns what the findings of an analyzer say of a principal: unused services, actions and
    credentials, with AWS's recommendations.
    """
    services: set[str] = set()
    actions: set[str] = set()
    credentials: list[str] = []
    advice: list[Recommendation] = []
    unadvised: dict[str, None] = {}
    is_whole = False
    for finding in list_findings(client, analyzer, principal, *_TYPES):
        is_whole = is_whole or finding["findingType"] == "UnusedIAMRole"
        for detail in finding["findingDetails"]:
            unused = detail.get("unusedPermissionDetails")
            if unused:
                prefix = str(unused["serviceNamespace"]).lower()
                unused_actions = [
                    str(action["action"]).lower() for action in unused.get("actions") or ()
                ]
                actions.update(
                    name if ":" in name else f"{prefix}:{name}" for name in unused_actions
                )
                services.update(() if unused_actions else (prefix,))
            if key := detail.get("unusedIamUserAccessKeyDetails"):
                credentials.append(str(key["accessKeyId"]))
            if "unusedIamUserPasswordDetails" in detail:
                credentials.append("password")
        if finding["findingType"] == "UnusedPermission":
            try:
                advice.extend(_recommendations(client, analyzer, str(finding["id"]), waiting))
            except AwsError as error:
                # The finding itself remains valid.
                _log.info(f"No recommendation for the finding {finding['id']}: {error}")
                unadvised[str(error)] = None
    return UnusedAccess(
        analyzer=analyzer.name,
        days=analyzer.days,
        is_whole=is_whole,
        services=tuple(sorted(services)),
        actions=tuple(sorted(actions)),
        credentials=tuple(credentials),
        advice=tuple(advice),
        without_recommendation=tuple(unadvised),
    )


def _recommendations(
    client: Any, analyzer: Analyzer, finding: str, waiting: Polling
) -> Iterator[Recommendation]:
    """Yields the recommendations for a finding; raises AwsError."""
    with translate_errors(
        "asking for a recommendation", "access-analyzer:GenerateFindingRecommendation"
    ):
        client.generate_finding_recommendation(analyzerArn=analyzer.arn, id=finding)
    answer = waiting.until(lambda: _recommended(client, analyzer, finding), "a recommendation")
    if answer is None:
        raise AwsError(
            "Access Analyzer made no recommendation in time: run again later.", AwsErrorKind.OTHER
        )
    if answer["status"] == "FAILED":
        error = answer.get("error") or {}
        failure = (
            f"{error.get('code', 'no reason given')}: {str(error.get('message', '')).rstrip('.')}"
        )
        raise AwsError(f"Access Analyzer makes no recommendation ({failure}).", AwsErrorKind.OTHER)
    for step in answer["recommendedSteps"]:
        change = step.get("unusedPermissionsRecommendedStep", {})
        if change.get("recommendedAction"):
            text = change.get("recommendedPolicy")
            grants = tuple(grant.action.lower() for grant in grants_of([text])) if text else ()
            yield Recommendation(
                str(change["recommendedAction"]), str(change.get("existingPolicyId", "")), grants
            )


def _recommended(client: Any, analyzer: Analyzer, finding: str) -> Mapping[str, Any] | None:
    """Returns the recommendation for a finding with the steps of all its pages; None while AWS
    still makes it.
    """
    activity = "reading a recommendation"
    action = "access-analyzer:GetFindingRecommendation"
    recommendation_pages = list(
        pages(
            client,
            "get_finding_recommendation",
            activity,
            action,
            analyzerArn=analyzer.arn,
            id=finding,
        )
    )
    if recommendation_pages[-1]["status"] not in ("SUCCEEDED", "FAILED"):
        return None
    return {
        **recommendation_pages[-1],
        "recommendedSteps": [
            step for page in recommendation_pages for step in page.get("recommendedSteps", ())
        ],
    }


def read_external_access(client: Any, role: str) -> tuple[ExternalAccess, ...] | None:
    """Reads the findings of the external access analyzers in the client's region; None where there
    is none.
    """
    access_by_text: dict[str, ExternalAccess] = {}
    watching = [*list_analyzers(client)]
    findings = (
        finding
        for analyzer in watching
        for finding in list_findings(client, analyzer, role, "ExternalAccess")
    )
    details = (
        detail.get("externalAccessDetails")
        for finding in findings
        for detail in finding["findingDetails"]
    )
    for outside in filter(None, details):
        principals = [
            f"{kind} {name}" for kind, name in sorted((outside.get("principal") or {}).items())
        ]
        is_public = bool(outside.get("isPublic")) or principals == ["AWS *"]
        conditions = {
            str(key): str(value) for key, value in (outside.get("condition") or {}).items()
        }
        read = ExternalAccess(", ".join(principals) or "any principal", conditions, is_public)
        access_by_text.setdefault(f"{read.principal} {sorted(conditions.items())}", read)
    return tuple(access_by_text.values()) if watching else None


class _MonitoredResource(NamedTuple):
    """A resource that an analyzer monitors."""

    analyzer: str
    arn: str


_MOST_INTERNAL = 100
"""Most findings that are read, with a request each."""


def read_internal_access(client: Any, principal: str) -> tuple[InternalAccess, ...]:
    """Reads which monitored resources the principal reaches, from the internal-access analyzers in
    the client's region.

    Raises AwsError where AWS denied the request, or failed.
    """
    actions_by_resource: dict[_MonitoredResource, set[str]] = {}
    summaries = (
        (analyzer, summary)
        for analyzer in list_analyzers(client, "_INTERNAL_ACCESS")
        for summary in _listed(client, analyzer, "principal.AWS", principal)
        if summary.get("findingType") == "InternalAccess"
    )
    for analyzer, summary in islice(summaries, _MOST_INTERNAL):
        findings = _whole(client, analyzer, str(summary["id"]))
        resource = _MonitoredResource(analyzer.name, str(summary.get("resource") or ""))
        for detail in chain.from_iterable(finding["findingDetails"] for finding in findings):
            inside = detail.get("internalAccessDetails") or {}
            # Check the filter again: the summary has no principal.
            if principal in (inside.get("principal") or {}).values():
                actions = actions_by_resource.setdefault(resource, set())
                actions.update(map(str, inside.get("action") or ()))
    return tuple(
        InternalAccess(*resource, tuple(sorted(actions)))
        for resource, actions in actions_by_resource.items()
    )
