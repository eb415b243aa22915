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
from operator import itemgetter
from typing import Any

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
    shared, reason = _shared_policies(client, principal, services, granting, waiting)
    return AccessReport(start_time, services, granting, shared, missing or reason)


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


def _shared_policies(
    client: Any,
    principal: str,
    services: Mapping[str, ServiceAccess],
    granting: Mapping[str, tuple[str, ...]],
    waiting: Polling,
) -> tuple[tuple[SharedPolicy, ...], str]:
    """Returns the managed policies through which other principals use a service too, or may do, and
    why that is not known for all; empty where it is.

    To remove the service from such a policy would take it from these principals as well. AWS
    managed policies are left out, because they cannot be edited.
    """
    account_prefix = f"::{principal.split(':')[4]}:policy/"
    policies: dict[tuple[str, str], SharedPolicy] = {}
    pairs = sorted(
        (arn, service)
        for service, arns in granting.items()
        for arn in arns
        if account_prefix in arn
    )
    # Policy and service -> the report to ask for the users, and IAM's spelling of the service.
    report_by_pair: dict[tuple[str, str], tuple[str, str]] = {}
    reason = f"The run asks at most {_MOST_SHARED} times who uses a service through a policy."
    try:
        for arn, own_pairs in groupby(pairs, key=itemgetter(0)):
            job, rows = _report(client, arn, "SERVICE_LEVEL", waiting)
            names = _used_by_others(rows, services)
            for pair in own_pairs:
                if pair[1] in names:
                    report_by_pair[pair] = job, names[pair[1]]
                else:
                    policies[pair] = SharedPolicy(*pair)
        for pair, (job, name) in islice(report_by_pair.items(), _MOST_SHARED):
            policies[pair] = SharedPolicy(*pair, _other_users(client, job, name, principal))
    except AwsError as error:
        reason = str(error)
    shared_policies = (policies.get(pair, SharedPolicy(*pair, is_known=False)) for pair in pairs)
    return tuple(
        shared for shared in shared_policies if shared.others or not shared.is_known
    ), reason if len(policies) < len(pairs) else ""


def _other_users(client: Any, job: str, service: str, principal: str) -> dict[str, LastAccess]:
    """Other roles and users that used the service through the policy of a report."""
    users: dict[str, LastAccess] = {}
    activity = "asking IAM who else uses a policy"
    ask = client.get_service_last_accessed_details_with_entities
    parameters = {"JobId": job, "ServiceNamespace": service, "MaxItems": 1_000}
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
