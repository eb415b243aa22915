"""IAM's last accessed information in judgement: it may veto a removal, and support one; it never adds.

An attempt that the evidence does not have speaks for a use, and vetoes. A tracked action whose last attempt lies before
the evidence, and a service without any attempt, support a removal; an action without a date says nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from leastpriv.evidence.hints.found import AccessReport, Attempt, ServiceAccess
from leastpriv.evidence.hints.tracking import is_tracked, is_tracked_partition, is_tracked_region
from leastpriv.evidence.usage import Evidence
from leastpriv.model import Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.events import Verdict, map_event
from leastpriv.proposal.situation import Candidate, Situation

_SAME = timedelta(hours=1)
"""An attempt so soon after a recorded call is taken to be that call: the two clocks are not one."""


def last_accessed(candidate: Candidate, situation: Situation) -> str:
    """IAM saw an attempt that the evidence does not have; it may have been a refused one, which IAM does not tell."""
    report, evidence = situation.evidence.hints.access, situation.evidence
    if report is None or evidence.first is None or evidence.last is None:
        return ""
    action, own = candidate.action, report.action(candidate.action)
    if own:
        known = _last(situation.used.get(action, ()))
        is_old = own.time < evidence.first and is_tracked(action, evidence.first)
        return "" if is_old or _explains(known, own) else f"IAM saw an attempt on it {_when(own)}: {_UNSEEN}"
    prefix = action.partition(":")[0].lower()
    service = report.services.get(prefix)
    if service is None or service.last is None:
        return ""
    if prefix in situation.services and service.last.time <= evidence.last + _SAME:
        return ""
    if _is_free(service):
        return ""
    if service.last.time < evidence.first:
        where = "before the evidence begins"
    else:
        where = "after the evidence ends" if prefix in situation.services else _UNSEEN
    return f"IAM saw an attempt on {prefix} {_when(service.last)}: {where}"


_UNSEEN = "this evidence has no such call"


def shared_policy(candidate: Candidate, situation: Situation) -> str:
    """The one policy of the role that grants the service serves others too, who have used it: it is the one edited."""
    report, first = situation.evidence.hints.access, situation.evidence.first
    if report is None or first is None:
        return ""
    prefix = candidate.action.partition(":")[0].lower()
    granting = tuple(name for name in report.granted_by.get(prefix, ()) if "::aws:policy/" not in name)
    for shared in report.shared:
        users = sorted(arn for arn, attempt in shared.others.items() if attempt.time >= first)
        if shared.service == prefix and granting == (shared.arn,) and users:
            return f"{shared.arn} grants {prefix} to {users[0]} as well, who used it in this time"
    return ""


def is_never_attempted(prefix: str, situation: Situation) -> bool:
    """Whether a granted service without a call in the evidence has none in IAM's tracking period either (promise 4)."""
    report = situation.evidence.hints.access
    service = report.services.get(prefix.lower()) if report else None
    partition = situation.evidence.principal.split(":")[1]
    return (
        service is not None
        and service.last is None
        and prefix not in situation.services
        and is_tracked_partition(partition)
    )


def is_outdated(candidate: Candidate, situation: Situation, regions: frozenset[str] = frozenset()) -> bool:
    """Whether IAM knows that the action was last attempted before the evidence begins, in these regions too."""
    report, first = situation.evidence.hints.access, situation.evidence.first
    own = report.action(candidate.action) if report else None
    return (
        own is not None
        and first is not None
        and own.time < first
        and is_tracked(candidate.action, first)
        and all(is_tracked_region(region, first) for region in regions)
    )


def as_without(report: AccessReport, evidence: Evidence, left: tuple[Usage, ...]) -> AccessReport:
    """The report as it would be if only the usages `left` had been: what is left out must leave no trace."""
    return replace(
        report, services={name: _without(service, evidence.usages, left) for name, service in report.services.items()}
    )


def _without(service: ServiceAccess, usages: tuple[Usage, ...], left: tuple[Usage, ...]) -> ServiceAccess:
    def cut(attempt: Attempt | None, prefix: str) -> Attempt | None:
        before, after = (_last(tuple(each for each in some if _about(each, prefix))) for some in (usages, left))
        if attempt is None or before is None or before == after:
            return attempt
        return replace(attempt, time=after) if after else None

    actions = {name: cut(attempt, name) for name, attempt in service.actions.items()}
    return replace(service, last=cut(service.last, f"{service.service}:"), actions=actions)


def _about(usage: Usage, prefix: str) -> bool:
    action = usage.need.permission.action.lower()
    return action.startswith(prefix) if prefix.endswith(":") else action == prefix


def _last(usages: tuple[Usage, ...]) -> datetime | None:
    return max((usage.last_seen for usage in usages), default=None)


def _explains(known: datetime | None, attempt: Attempt) -> bool:
    return known is not None and attempt.time <= known + _SAME


def _is_free(service: ServiceAccess) -> bool:
    """Whether the last attempt on a service was a call that no policy has to allow, as `sts:GetCallerIdentity`."""
    latest = max(((attempt.time, name) for name, attempt in service.actions.items() if attempt), default=(None, ""))
    if latest[0] is None or service.last is None or service.last.time > latest[0] + _SAME:
        return False
    return any(
        map_event(f"{service.service}.amazonaws.com", name).verdict is Verdict.NO_PERMISSION
        for name in _spellings(latest[1])
    )


def _spellings(action: str) -> tuple[str, ...]:
    known = catalog.spelling(action)
    return (known.partition(":")[2],) if known else ()


def _when(attempt: Attempt) -> str:
    place = f" in {attempt.region}" if attempt.region else ""
    return f"on {attempt.time:%Y-%m-%d}{place}"
