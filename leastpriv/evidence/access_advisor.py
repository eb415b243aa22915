"""Reads IAM's last accessed information (access advisor): the last use of services and actions by a
principal.

Only the session that requested a report can read it, so all four operations use one client
(https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html, read
2026-11-24). Free of charge. Tracked actions, periods and regions: data/tracking.tsv.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby, islice
from typing import Any, NamedTuple

from msgspec import Struct

from leastpriv.aws.errors import required_member, translate_errors
from leastpriv.aws.session import Polling
from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.models import AccessReport, LastAccess, ServiceAccess, SharedPolicy
from leastpriv.permissions.event_table import Visibility, visibility
from leastpriv.permissions.fact_tables import table

_log = logging.getLogger(__name__)

_ENDED = ("COMPLETED", "FAILED")
_NAMES_AT_ONCE = 200
"""Most service prefixes of one `ListPoliciesGrantingServiceAccess` request (model of botocore
1.44.8).
"""
_MOST_SHARED = 20
"""Most pairs of policy and service whose other users are requested, one request each; the rest is
unknown.
"""


def read_last_accessed(client: Any, principal: str, waiting: Polling) -> AccessReport:
    """Reads when `principal` (a role's or user's ARN) last used what its policies grant.

    Raises:
        AwsError: IAM denied a request, failed, or did not finish in time. If only details fail,
            `missing` says so.
    """
    _log.info(f"Asking IAM when {principal} last used its permissions (free of charge)")
    start_time = waiting.clock()
    _, rows = _report(client, principal, "ACTION_LEVEL", waiting)
    services: dict[str, ServiceAccess] = {}
    for row in rows:
        prefix = str(row["ServiceNamespace"]).lower()
        # Answers are published with `PutObject` and with `s3:PutObject`.
        actions = {
            f"{prefix}:{str(action_row['ActionName']).rpartition(':')[2].lower()}": _attempt(
                action_row.get("LastAccessedTime"), action_row.get("LastAccessedRegion")
            )
            for action_row in row.get("TrackedActionsLastAccessed") or ()
            if action_row.get("ActionName")
        }
        last = _attempt(row.get("LastAuthenticated"), row.get("LastAuthenticatedRegion"))
        services[prefix] = ServiceAccess(prefix, last, actions)
    names = sorted(services)
    granting: dict[str, tuple[str, ...]] = {}
    missing = ""
    try:
        for start in range(0, len(names), _NAMES_AT_ONCE):
            granting.update(_granting(client, principal, names[start : start + _NAMES_AT_ONCE]))
    except AwsError as error:
        missing = str(error)
    shared = _shared_policies(client, principal, services, granting, waiting)
    return AccessReport(
        start_time, services, granting, shared.policies, missing or shared.why_unknown
    )


def _report(
    client: Any, arn: str, granularity: str, waiting: Polling
) -> tuple[str, list[Mapping[str, Any]]]:
    """Returns a report about a role, user or policy: its job id, and one row per service."""
    activity = f"asking IAM for the last accessed information of {arn}"
    with translate_errors(activity, "iam:GenerateServiceLastAccessedDetails"):
        job = str(
            client.generate_service_last_accessed_details(Arn=arn, Granularity=granularity)["JobId"]
        )

    def finished() -> list[Mapping[str, Any]] | None:
        ask = client.get_service_last_accessed_details
        parameters = {"JobId": job, "MaxItems": 1_000}
        report_pages = list(
            _marked_pages(ask, activity, "iam:GetServiceLastAccessedDetails", parameters)
        )
        return (
            report_pages
            if required_member(report_pages[0], activity, "JobStatus") in _ENDED
            else None
        )

    report = waiting.until(finished, "IAM's report")
    if report is None:
        raise AwsError(
            f"IAM did not finish in time while {activity}: run again later.", AwsErrorKind.OTHER
        )
    if report[0]["JobStatus"] == "FAILED":
        error = report[0].get("Error", {})
        failure = f"{error.get('Code', 'no reason given')}: {error.get('Message', '')}"
        raise AwsError(f"IAM failed while {activity} ({failure}).", AwsErrorKind.OTHER)
    return job, [row for page in report for row in page.get("ServicesLastAccessed", ())]


def _attempt(time: datetime | None, region: str | None) -> LastAccess | None:
    return LastAccess(time.astimezone(UTC), region or "") if time else None


def _granting(client: Any, principal: str, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Service -> the policies that grant it, by ARN or, for an inline policy, by name."""
    policies_by_service: dict[str, tuple[str, ...]] = {}
    activity = "asking IAM which policies grant a service"
    ask = client.list_policies_granting_service_access
    parameters = {"Arn": principal, "ServiceNamespaces": list(names)}
    for page in _marked_pages(ask, activity, "iam:ListPoliciesGrantingServiceAccess", parameters):
        for row in page["PoliciesGrantingServiceAccess"]:
            policies = (
                str(policy.get("PolicyArn") or policy["PolicyName"])
                for policy in row.get("Policies", ())
            )
            policies_by_service[str(row["ServiceNamespace"]).lower()] = tuple(sorted(policies))
    return policies_by_service


def _marked_pages(
    ask: Callable[..., Mapping[str, Any]], doing: str, action: str, given: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yields the pages of an operation for which botocore has no paginator."""
    page: Mapping[str, Any] = {"IsTruncated": True}
    marker: dict[str, Any] = {}
    markers: list[Any] = []
    while page.get("IsTruncated"):
        with translate_errors(doing, action):
            page = ask(**given, **marker)
        yield page
        if page.get("IsTruncated"):
            marker = {"Marker": required_member(page, doing, "Marker")}
            if marker in markers:
                raise AwsError(
                    f"A page names an earlier one as the next while {doing}.",
                    AwsErrorKind.INCOMPLETE,
                )
            markers.append(marker)


class _SharedPolicies(Struct, frozen=True):
    """The policies through which other principals use a service too, or may do."""

    policies: tuple[SharedPolicy, ...]
    why_unknown: str
    """Why that is not known for all; empty where it is."""


class _GrantedService(NamedTuple):
    """A service that a managed policy grants."""

    policy: str
    service: str


class _UsersQuestion(NamedTuple):
    """What IAM needs to list the users of a service through a policy."""

    job: str
    """The report about the policy."""
    service: str
    """In IAM's spelling."""


def _shared_policies(
    client: Any,
    principal: str,
    services: Mapping[str, ServiceAccess],
    granting: Mapping[str, tuple[str, ...]],
    waiting: Polling,
) -> _SharedPolicies:
    """Returns the managed policies through which other principals use a service too, or may do.

    To remove the service from such a policy would take it from these principals as well. AWS
    managed policies are left out, because they cannot be edited.
    """
    account_prefix = f"::{principal.split(':')[4]}:policy/"
    grants = sorted(
        _GrantedService(arn, service)
        for service, arns in granting.items()
        for arn in arns
        if account_prefix in arn
    )
    known: dict[_GrantedService, SharedPolicy] = {}
    questions: dict[_GrantedService, _UsersQuestion] = {}
    reason = f"The run asks at most {_MOST_SHARED} times who uses a service through a policy."
    try:
        for arn, own_grants in groupby(grants, key=lambda grant: grant.policy):
            job, rows = _report(client, arn, "SERVICE_LEVEL", waiting)
            names = _used_by_others(rows, services)
            for grant in own_grants:
                if grant.service in names:
                    questions[grant] = _UsersQuestion(job, names[grant.service])
                else:
                    known[grant] = SharedPolicy(*grant)
        for grant, question in islice(questions.items(), _MOST_SHARED):
            others = _other_users(client, question, principal)
            known[grant] = SharedPolicy(*grant, others)
    except AwsError as error:
        reason = str(error)
    all_policies = [known.get(grant, SharedPolicy(*grant, is_known=False)) for grant in grants]
    return _SharedPolicies(
        policies=tuple(policy for policy in all_policies if policy.others or not policy.is_known),
        why_unknown=reason if len(known) < len(grants) else "",
    )


def _other_users(client: Any, question: _UsersQuestion, principal: str) -> dict[str, LastAccess]:
    """Other roles and users that used the service through the policy of a report."""
    users: dict[str, LastAccess] = {}
    activity = "asking IAM who else uses a policy"
    ask = client.get_service_last_accessed_details_with_entities
    parameters = {
        "JobId": question.job,
        "ServiceNamespace": question.service,
        "MaxItems": 1_000,
    }
    for page in _marked_pages(
        ask, activity, "iam:GetServiceLastAccessedDetailsWithEntities", parameters
    ):
        for row in page.get("EntityDetailsList", ()):
            last = _attempt(row.get("LastAuthenticated"), "")
            if last and row["EntityInfo"]["Arn"] != principal:
                users[str(row["EntityInfo"]["Arn"])] = last
    return users


def _used_by_others(
    rows: Iterable[Mapping[str, Any]], services: Mapping[str, ServiceAccess]
) -> dict[str, str]:
    """Returns the services of a policy's report that others than the principal have used: prefix in
    lower case -> IAM's spelling.

    The report only counts the users of the policy: one of them is the principal if it has used the
    service (`services`).
    """
    names: dict[str, str] = {}
    for row in rows:
        name = str(row["ServiceNamespace"])
        service = services.get(name.lower())
        own_count = 1 if service is not None and service.last is not None else 0
        if int(row.get("TotalAuthenticatedEntities") or 0) > own_count:
            names[name.lower()] = name
    return names


def is_tracked(action: str, since: datetime) -> bool:
    """Whether IAM has tracked every attempt of an action from `since` on: management actions and
    few others.
    """
    is_management = visibility(
        action
    ).visibility is Visibility.MANAGEMENT and action.lower() not in _kind("untracked")
    if not is_management and action.lower() not in _kind("tracked"):
        return False
    tracked = _kind("actions")
    day = tracked.get(action.partition(":")[0].lower(), tracked["*"])
    return datetime.fromisoformat(day).replace(tzinfo=UTC) <= since


def is_tracked_region(region: str, since: datetime) -> bool:
    """Whether IAM has tracked a region from `since` on."""
    day = _kind("region").get(region)
    return day is not None and datetime.fromisoformat(day).replace(tzinfo=UTC) <= since


def tracked_regions() -> tuple[str, ...]:
    """Returns the regions that IAM tracks."""
    return tuple(_kind("region"))


def is_tracked_partition(partition: str) -> bool:
    """Whether IAM tracks any region of a partition; the table has none in China."""
    is_gov = partition == "aws-us-gov" and any(
        name.startswith("us-gov-") for name in _kind("region")
    )
    return partition == "aws" or is_gov


@cache
def _kind(kind: str) -> Mapping[str, str]:
    return {
        row["name"].lower(): row["since"]
        for row in table("tracking", "leastpriv.evidence")
        if row["kind"] == kind
    }
