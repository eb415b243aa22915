"""IAM's last accessed information in judgement: it may veto a removal, and support one; it never adds.

An attempt that the evidence does not have speaks for a use, and vetoes. A tracked action whose last attempt lies before
the evidence, and a service without any attempt, support a removal where the policy file is known to be older than the
evidence and IAM tracks the regions; an action without a date says nothing.

What the resource types of a role's stacks declare: kept where a policy has it, never written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from leastpriv.evidence.aws_findings.access_advisor import is_tracked, is_tracked_partition, is_tracked_region
from leastpriv.evidence.aws_findings.models import AccessReport, Attempt, ServiceAccess, SharedPolicy
from leastpriv.evidence.models import Evidence
from leastpriv.models import Basis, Condition, Usage
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event
from leastpriv.permissions.visibility import home_region
from leastpriv.policy.document import Statement
from leastpriv.proposal.models import Candidate, Situation

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
    if _explains(situation.noted.get(prefix), service.last) or _is_free(service):
        return ""
    if service.last.time < evidence.first:
        where = "before the evidence begins"
    else:
        where = "after the evidence ends" if service.last.time > evidence.last + _SAME else _UNSEEN
    return f"IAM saw an attempt on {prefix} {_when(service.last)}: {where}"


_UNSEEN = "this evidence has no such call"


def shared_policy(candidate: Candidate, situation: Situation) -> str:
    """Every policy that may be the edited one serves others too, who have used the service, or nobody can tell."""
    report, first = situation.evidence.hints.access, situation.evidence.first
    if report is None or first is None:
        return ""
    prefix = candidate.action.partition(":")[0].lower()
    if prefix in report.services and prefix not in report.granted_by and report.missing:
        return f"whether the policy that grants {prefix} serves others too is not known: {report.missing}"
    granting = [name for name in report.granted_by.get(prefix, ()) if "::aws:policy/" not in name]
    served = {shared.arn: _served(shared, report, first) for shared in report.shared if shared.service == prefix}
    reasons = [served.get(name, "") for name in granting]
    return reasons[0] if reasons and all(reasons) else ""


def _served(shared: SharedPolicy, report: AccessReport, first: datetime) -> str:
    """Why a policy is not the role's alone; empty where nobody else used the service in this time."""
    if not shared.is_known:
        return f"whether others use {shared.service} through {shared.arn} is not known: {report.missing}"
    users = sorted(arn for arn, attempt in shared.others.items() if attempt.time >= first)
    return f"{shared.arn} grants {shared.service} to {users[0]} as well, who used it in this time" if users else ""


def is_never_attempted(candidate: Candidate, situation: Situation) -> bool:
    """Whether the action's service, without a call in the evidence, has none in IAM's tracking period either.

    Promise 4. Each region that the statement names has to be tracked, or read for `minimum-days`.
    """
    report, first = situation.evidence.hints.access, situation.evidence.first
    prefix = candidate.action.partition(":")[0]
    service = report.services.get(prefix.lower()) if report else None
    if service is None or service.last is not None or prefix in situation.services:
        return False
    if not was_granted(situation.evidence, situation.changed):
        return False
    read, least = situation.evidence.coverage.regions, timedelta(days=situation.options.minimum_days)
    return is_tracked_partition(situation.evidence.principal.split(":")[1]) and all(
        (first is not None and is_tracked_region(region, first)) or (region in read and read[region] >= least)
        for region in regions_to_know(candidate, situation)
    )


def is_outdated(candidate: Candidate, situation: Situation) -> bool:
    """Whether IAM knows that the action was last attempted before the evidence begins, wherever the statement names."""
    report, first = situation.evidence.hints.access, situation.evidence.first
    own = report.action(candidate.action) if report else None
    return (
        own is not None
        and first is not None
        and own.time < first
        and was_granted(situation.evidence, situation.changed)
        and is_tracked(candidate.action, first)
        and all(is_tracked_region(region, first) for region in regions_to_know(candidate, situation))
    )


def was_granted(evidence: Evidence, changed: datetime | None) -> bool:
    """Whether the policy file, last changed then, is known to be older than the evidence.

    What is granted since lately nobody can have tried.
    """
    return evidence.first is not None and changed is not None and changed < evidence.first


def as_without(report: AccessReport, evidence: Evidence, left: tuple[Usage, ...]) -> AccessReport:
    """The report as it would be if only the usages `left` had been: what is left out must leave no trace."""
    before, after = _Times(evidence.usages), _Times(left)
    return replace(
        report, services={name: _without(service, before, after) for name, service in report.services.items()}
    )


class _Times:
    """When services and actions, in lower case, were last recorded: a report asks for thousands."""

    def __init__(self, usages: Iterable[Usage]) -> None:
        by_action: dict[str, list[Usage]] = {}
        for usage in usages:
            by_action.setdefault(usage.need.permission.action.lower(), []).append(usage)
        self.actions = {action: _last(own) for action, own in by_action.items()}
        self.services = last_noted(usage for own in by_action.values() for usage in own)


def _without(service: ServiceAccess, usages: _Times, left: _Times) -> ServiceAccess:
    def cut(attempt: Attempt | None, before: datetime | None, after: datetime | None) -> Attempt | None:
        if attempt is None or before is None or before == after or not _explains(before, attempt):
            return attempt
        return replace(attempt, time=after) if after else None

    own = service.actions.items()
    actions = {name: cut(attempt, usages.actions.get(name), left.actions.get(name)) for name, attempt in own}
    noted = (some.services.get(service.service) for some in (usages, left))
    return replace(service, last=cut(service.last, *noted), actions=actions)


def last_noted(usages: Iterable[Usage]) -> dict[str, datetime]:
    """Service -> its last recorded call; what another call implies, as `iam:PassRole`, is none."""
    found: dict[str, datetime] = {}
    for usage in usages:
        if usage.need.basis is not Basis.INFERRED:
            prefix = usage.need.permission.action.partition(":")[0].lower()
            found[prefix] = max(found.get(prefix, usage.last_seen), usage.last_seen)
    return found


def _last(usages: Iterable[Usage]) -> datetime | None:
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


def declared(candidate: Candidate, situation: Situation) -> str:
    """A handler of a type that this role deploys needs it by the type's own account, perhaps in a later run."""
    types = situation.evidence.hints.declared.actions.get(candidate.action, ())
    more = f" and {len(types) - 1} more" if len(types) > 1 else ""
    return f"the handlers of {types[0]}{more} need it, which this role deploys" if types else ""


def regions_to_know(candidate: Candidate, situation: Situation) -> frozenset[str]:
    """The home region of a global service; else the regions that the statement names, none where it names none."""
    home = home_of(candidate, situation)
    return frozenset({home}) if home else _named_regions(candidate.entry.statement)


def home_of(candidate: Candidate, situation: Situation) -> str:
    """The home region of a global service, in the principal's partition; empty for any other service."""
    return home_region(candidate.action.partition(":")[0], situation.evidence.principal.split(":")[1])


_LIMITING = ("StringEquals", "StringEqualsIgnoreCase", "StringLike")
"""Operators that limit a statement to regions; with `IfExists` a request without the key passes."""


def only_regions(statement: Statement) -> frozenset[str] | None:
    """The regions that a statement is limited to, by a condition or else its resources; None: it may act in any."""
    for condition in statement.conditions:
        limiting = condition.operator in _LIMITING
        if limiting and _is_on_region(condition) and all(map(_is_one, condition.values)):
            return frozenset(value.lower() for value in condition.values)
    named = _of_resources(statement)
    return frozenset(named) if named and all(map(_is_one, named)) else None


def _named_regions(statement: Statement) -> frozenset[str]:
    """The regions that a statement is limited to; of one that may act in any, those that it names all the same."""
    only = only_regions(statement)
    if only is not None:
        return only
    regions = _of_resources(statement)
    for condition in statement.conditions:
        if _is_on_region(condition) and "Not" not in condition.operator:
            regions.update(condition.values)
    return frozenset(filter(_is_one, regions))


def _of_resources(statement: Statement) -> set[str]:
    """The fourth parts of the ARNs; empty for what has none."""
    fields = (resource.split(":", 5) for resource in statement.resources)
    return {field[3] if len(field) == 6 else "" for field in fields}


def _is_on_region(condition: Condition) -> bool:
    return condition.key.lower() == "aws:requestedregion"


def _is_one(region: str) -> bool:
    return bool(region) and not set(region) & set("*?$")
