"""Unites the evidence of all users of a policy, and finds users that no input names.

A policy may govern a role in several accounts. Its text is one: a resource in the account of the
user that called is one of the same name in each account, unless the policy names it with its
account.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import account_of, has_wildcard, principal_of
from leastpriv.aws.session_names import is_run_id
from leastpriv.cloudtrail.coverage import Coverage, RegionEvents
from leastpriv.errors import plural
from leastpriv.evidence.collected_calls import EventReason
from leastpriv.evidence.models import (
    AccessReport,
    AwsFindings,
    CallGroup,
    Counts,
    Evidence,
    GeneratedPolicy,
    LastAccess,
    NotEvaluated,
    PolicyUser,
    ServiceAccess,
    UnnamedUser,
    UnusedAccess,
)
from leastpriv.models import Denial, Gap, Need, Outcome, Principal, Run, Usage, grouped
from leastpriv.permissions import catalog
from leastpriv.permissions.patterns import covers, matches

OWN_ACCOUNT = "000000000001"
"""The account that replaces that of each user, where the users of a policy are in several."""
NamesAccount = Callable[[str], bool]
"""Resource -> whether the policy names it with its account."""


class UserEvidence(Struct, frozen=True):
    """The evidence of one user of a policy."""

    arn: str
    label: str
    evidence: Evidence
    unread: str = ""
    """Why the evidence does not show what it did; empty where the evidence does."""


def labels_of(arns: Sequence[str]) -> tuple[str, ...]:
    """Returns the shortest texts that distinguish some roles: their names, without the suffix of a
    permission set, else their accounts, else both.
    """
    names = [permission_set_of(arn) or arn.rpartition("/")[2] for arn in arns]
    accounts = [account_of(arn) for arn in arns]
    full_names = [f"{account}/{name}" for account, name in zip(accounts, names, strict=True)]
    for labels in (names, accounts, full_names):
        if len(set(labels)) == len(arns):
            return tuple(labels)
    return tuple(arn.split(":", 5)[5] + f" of {account_of(arn)}" for arn in arns)


def common_principal(users: Sequence[Principal]) -> Principal:
    """Returns the common principal of the users of a policy: the first one, in every account
    where the users are in several.
    """
    first = users[0]
    if len({user.account for user in users}) == 1:
        return first
    arn = first.arn.replace(f"::{first.account}:", f"::{OWN_ACCOUNT}:", 1)
    return replace(first, arn=arn, account=OWN_ACCOUNT)


def unite(users: Sequence[UserEvidence], principal: str, names_account: NamesAccount) -> Evidence:
    """Returns the evidence of all users as that of one principal.

    A removal needs what each user did, so coverage is what the evidence covers of all users.

    Args:
        users: The evidence of each user, at least two.
        principal: The ARN of their common principal.
        names_account: Whether the policy names a resource with its account.
    """
    known_runs: dict[str, Run] = {}
    parts = [_distinct_runs(user, known_runs) for user in users]
    if account_of(principal) == OWN_ACCOUNT:
        parts = [_in_own_account(part, names_account) for part in parts]
    evidence_of_users = [part.evidence for part in parts]
    runs = sorted(known_runs.values(), key=lambda run: (run.first, run.id))
    signed: Counter[str] = Counter()
    no_calls: Counter[str] = Counter()
    for evidence in evidence_of_users:
        signed.update(evidence.signed)
        no_calls.update(evidence.no_calls)
    return Evidence(
        principal=principal,
        usages=_usages(parts),
        groups=_groups(evidence_of_users),
        gaps=_gaps(evidence_of_users),
        runs=tuple(runs),
        first=min((of_user.first for of_user in evidence_of_users if of_user.first), default=None),
        last=max((of_user.last for of_user in evidence_of_users if of_user.last), default=None),
        counts=_counts(evidence_of_users),
        regions=_sorted_union(of_user.regions for of_user in evidence_of_users),
        coverage=_coverage(_read_parts(parts)),
        own_policies=_union(of_user.own_policies for of_user in evidence_of_users),
        logged_runs=_logged_runs(evidence_of_users),
        aws_findings=_aws_findings([of_user.aws_findings for of_user in evidence_of_users]),
        checked_inside={
            action: event
            for of_user in evidence_of_users
            for action, event in of_user.checked_inside.items()
        },
        signed=dict(signed),
        created_tags=tuple(tags for of_user in evidence_of_users for tags in of_user.created_tags),
        not_evaluated=_not_evaluated(evidence_of_users),
        no_calls=dict(sorted(no_calls.items())),
        users=tuple(_policy_user(part) for part in parts),
    )


def _policy_user(user: UserEvidence) -> PolicyUser:
    """Returns what reports show of a user."""
    evidence = user.evidence
    return PolicyUser(
        arn=user.arn,
        label=user.label,
        calls=evidence.counts.calls,
        runs=frozenset(run.id for run in evidence.runs),
        first=evidence.first,
        last=evidence.last,
        unread=user.unread,
    )


# Runs


def _distinct_runs(user: UserEvidence, known: dict[str, Run]) -> UserEvidence:
    """Adds the runs of a user to the known ones; returns its evidence with the ids that they have
    then.

    One workflow run that deploys as several users is one run. Other runs of one id are different
    runs, and so are those that STS gave different identities.
    """
    renamed: dict[str, str] = {}
    runs: list[Run] = []
    for run in user.evidence.runs:
        namesake = known.get(run.id)
        if namesake is None:
            known[run.id] = run
        elif is_run_id(run.session) and run.identity == namesake.identity:
            known[run.id] = _joined(namesake, run)
        else:
            renamed[run.id] = f"{run.id} of {user.label}"
            run = replace(run, id=renamed[run.id])
            known[run.id] = run
        runs.append(run)
    evidence = replace(user.evidence, runs=tuple(runs))
    if not renamed:
        return replace(user, evidence=evidence)

    def ids(before: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(renamed.get(run, run) for run in before)

    evidence = replace(
        evidence,
        usages=tuple(replace(usage, runs=ids(usage.runs)) for usage in evidence.usages),
        groups=tuple(replace(group, runs=ids(group.runs)) for group in evidence.groups),
        created_tags=tuple(
            replace(created_tag, runs=ids(created_tag.runs))
            for created_tag in evidence.created_tags
        ),
    )
    return replace(user, evidence=evidence)


def _joined(one: Run, other: Run) -> Run:
    """Returns a workflow run that worked as two users."""
    periods = [*(one.periods or ((one.first, one.last),))]
    periods += other.periods or ((other.first, other.last),)
    return replace(
        one,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        denied=one.denied + other.denied,
        parent_run=one.parent_run if one.parent_run == other.parent_run else "",
        periods=tuple(sorted(periods)),
    )


def _logged_runs(found: Sequence[Evidence]) -> tuple[Run, ...]:
    runs = {run.id: run for evidence in found for run in evidence.logged_runs}
    return tuple(runs.values())


# Accounts


def _in_own_account(user: UserEvidence, names_account: NamesAccount) -> UserEvidence:
    """Replaces the account of the user by the stand-in in the resources that it used, unless the
    policy names them.
    """
    account = account_of(user.arn)
    changed: dict[Need, Need] = {}

    def need_of(need: Need, denial: Denial | None = None) -> Need:
        changed_need = changed.get(need)
        if changed_need is None:
            changed_need = changed[need] = _need_in_own_account(need, account, names_account)
        # For a denial of a sensitive action, the resource of that denial is written.
        is_exact = denial is not None and catalog.sensitivity(need.permission.action)
        return need if is_exact else changed_need

    evidence = user.evidence
    usages = tuple(
        replace(usage, need=need_of(usage.need, usage.denial)) for usage in evidence.usages
    )
    groups: list[CallGroup] = []
    for group in evidence.groups:
        is_denied = group.outcome is Outcome.DENIED
        needs = [
            need if is_denied and catalog.sensitivity(need.permission.action) else need_of(need)
            for need in group.needs
        ]
        groups.append(replace(group, needs=tuple(needs)))
    return replace(user, evidence=replace(evidence, usages=usages, groups=tuple(groups)))


def _need_in_own_account(need: Need, account: str, names_account: NamesAccount) -> Need:
    permission = need.permission
    resource = in_own_account(permission.resource, account)
    if resource == permission.resource or names_account(permission.resource):
        return need
    return replace(need, permission=replace(permission, resource=resource))


_ACCOUNT = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")


def in_own_account(arn: str, account: str) -> str:
    """Returns the ARN of a resource with the stand-in in place of an account, also in its name."""
    if account not in arn:
        return arn
    return _ACCOUNT.sub(lambda found: OWN_ACCOUNT if found[0] == account else found[0], arn)


def account_namer(resources: Iterable[str]) -> NamesAccount:
    """Returns a function that says whether a policy with these resources names a resource with its
    account.
    """
    entries = [
        resource for resource in resources if set(_ACCOUNT.findall(resource)) - {OWN_ACCOUNT}
    ]

    def names_account(resource: str) -> bool:
        return any(covers(entry, resource) for entry in entries)

    return names_account


# Usage


def _usages(users: Sequence[UserEvidence]) -> tuple[Usage, ...]:
    """Returns the usages of all users, joined where need and outcome are equal."""
    usages: dict[object, Usage] = {}
    for user in users:
        for usage in user.evidence.usages:
            labelled = replace(usage, users=(user.label,))
            denial = usage.denial
            denial_key = (denial.denied_by, denial.mendable, bool(denial.log)) if denial else ()
            key = (usage.need, usage.outcome, usage.doubt, denial_key)
            united = usages.get(key)
            usages[key] = _joined_usage(united, labelled) if united else labelled
    return tuple(
        sorted(
            usages.values(),
            key=lambda usage: (usage.need.permission, usage.outcome, usage.need.derivation),
        )
    )


def _joined_usage(one: Usage, other: Usage) -> Usage:
    # Each user has the denials of a job log that names no role.
    is_logged = one.denial is not None and bool(one.denial.log)
    return replace(
        one,
        count=max(one.count, other.count) if is_logged else one.count + other.count,
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        runs=_union((one.runs, other.runs)),
        events=_sorted_union((one.events, other.events)),
        regions=_sorted_union((one.regions, other.regions)),
        succeeded=one.succeeded or other.succeeded,
        forwarded_by=_sorted_union((one.forwarded_by, other.forwarded_by)),
        programs=_sorted_union((one.programs, other.programs)),
        made=_sorted_union((one.made, other.made)),
        users=_union((one.users, other.users)),
    )


def _groups(found: Sequence[Evidence]) -> tuple[CallGroup, ...]:
    """Returns the groups of all users, joined where they differ by nothing but count and runs."""
    groups: dict[object, CallGroup] = {}
    for evidence in found:
        for group in evidence.groups:
            key = (group.needs, group.outcome, group.event, group.forwarded_by, group.regions)
            united = groups.get(key)
            if united is None:
                groups[key] = group
                continue
            runs = _union((united.runs, group.runs))
            groups[key] = replace(united, count=united.count + group.count, runs=runs)
    return tuple(groups.values())


def _counts(found: Sequence[Evidence]) -> Counts:
    counts = [evidence.counts for evidence in found]
    return Counts(
        calls=sum(counts_of_user.calls for counts_of_user in counts),
        allowed=sum(counts_of_user.allowed for counts_of_user in counts),
        denied=sum(counts_of_user.denied for counts_of_user in counts),
        unknown=sum(counts_of_user.unknown for counts_of_user in counts),
        unmapped=sum(counts_of_user.unmapped for counts_of_user in counts),
        no_permission=sum(counts_of_user.no_permission for counts_of_user in counts),
    )


def _not_evaluated(found: Sequence[Evidence]) -> tuple[NotEvaluated, ...]:
    counts: Counter[EventReason] = Counter()
    for evidence in found:
        for calls in evidence.not_evaluated:
            counts[EventReason(calls.event, calls.why)] += calls.count
    return tuple(sorted(NotEvaluated(*key, count) for key, count in counts.items()))


def _gaps(found: Sequence[Evidence]) -> tuple[Gap, ...]:
    """Returns the gaps of all users; one of a source that all users share counts once."""
    gaps: dict[object, Gap] = {}
    for evidence in found:
        for gap in evidence.gaps:
            key = (gap.kind, gap.scope, gap.detail)
            united_gap = gaps.get(key)
            if united_gap is None or gap.count > united_gap.count:
                gaps[key] = gap
    return tuple(gaps.values())


def _union(texts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for user_texts in texts for text in user_texts))


def _sorted_union(texts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({text for user_texts in texts for text in user_texts}))


# Coverage


def _read_parts(users: Sequence[UserEvidence]) -> list[Coverage]:
    """Returns the coverage of the users that the evidence covers: the others hold back all that
    needs it.
    """
    read = [user.evidence.coverage for user in users if not user.unread]
    return read or [users[0].evidence.coverage]


def _coverage(found: Sequence[Coverage]) -> Coverage:
    """Returns the coverage that every user has.

    A region counts where it is covered of each user that may work there. Data events count where
    those of each user's account are recorded, whatever the resource.
    """
    named_regions = [coverage.named_regions for coverage in found]
    streams = [
        {(_service(stream.event), stream.kind) for stream in coverage.data} for coverage in found
    ]
    recorded = set.intersection(*streams)
    return Coverage(
        days=_common_days(found),
        logged=_common_logged(found),
        data={
            stream: days
            for coverage in found
            for stream, days in coverage.data.items()
            if (_service(stream.event), stream.kind) in recorded
        },
        events=frozenset[str]().union(*(coverage.events for coverage in found)),
        selected=frozenset.intersection(*(coverage.selected for coverage in found)),
        every_region=all(coverage.every_region for coverage in found),
        named_regions=frozenset[str]().union(*named_regions) if all(named_regions) else frozenset(),
        window=found[0].window,
    )


def _service(event: str) -> str:
    return event.partition(":")[0]


def _common_days(found: Sequence[Coverage]) -> dict[str, frozenset[date]]:
    """Region -> days that are covered of each user that may work there."""
    regions = {region for coverage in found for region in coverage.days}
    days = {
        region: _in_all(coverage.days.get(region) for coverage in _working_in(found, region))
        for region in sorted(regions)
    }
    return {region: common for region, common in days.items() if common}


def _common_logged(found: Sequence[Coverage]) -> dict[RegionEvents, frozenset[date]]:
    """Region and kind of events -> days on which they are logged for each user that may work
    there.
    """
    logged = {events for coverage in found for events in coverage.logged}
    days = {
        events: _in_all(
            coverage.logged.get(events) for coverage in _working_in(found, events.region)
        )
        for events in sorted(logged)
    }
    return {events: common for events, common in days.items() if common}


def _in_all(days: Iterable[frozenset[date] | None]) -> frozenset[date]:
    days_of_users = [days_of_user or frozenset() for days_of_user in days]
    return frozenset.intersection(*days_of_users) if days_of_users else frozenset()


def _working_in(found: Sequence[Coverage], region: str) -> list[Coverage]:
    """Returns the coverage of the users that may work in a region."""
    return [
        coverage
        for coverage in found
        if not coverage.named_regions or region in coverage.named_regions
    ]


# Findings of AWS


def _aws_findings(found: Sequence[AwsFindings]) -> AwsFindings:
    """Unites what AWS says of each user."""
    return AwsFindings(
        access=_access_report([findings.access for findings in found]),
        generated=_generated([findings.generated for findings in found]),
        unused=_unused([findings.unused for findings in found]),
        outside=tuple(dict.fromkeys(access for findings in found for access in findings.outside)),
        inside=tuple(access for findings in found for access in findings.inside),
        skipped_sources=tuple(
            dict.fromkeys(
                skipped_source for findings in found for skipped_source in findings.skipped_sources
            )
        ),
        asked=tuple(
            source
            for source in found[0].asked
            if all(source in findings.asked for findings in found)
        ),
        declared=found[0].declared,
    )


def _access_report(reports_of_users: Sequence[AccessReport | None]) -> AccessReport | None:
    """Returns the last accesses of all users; None where AWS reported on none of them."""
    reports = [report for report in reports_of_users if report]
    if not reports:
        return None
    is_whole = len(reports) == len(reports_of_users)
    services: dict[str, ServiceAccess] = {}
    granted_by: dict[str, tuple[str, ...]] = {}
    for name in sorted({name for report in reports for name in report.services}):
        service = _service_access(name, reports)
        # A user without a report may have used the service that others did not use.
        if service.last is None and not is_whole:
            continue
        services[name] = service
        policies = _union(report.granted_by.get(name, ()) for report in reports)
        if policies:
            granted_by[name] = policies
    missing = dict.fromkeys(report.missing for report in reports if report.missing)
    return AccessReport(
        made=min(report.made for report in reports),
        services=services,
        granted_by=granted_by,
        shared=tuple(shared for report in reports for shared in report.shared),
        missing=" ".join(missing),
    )


def _service_access(name: str, reports: Iterable[AccessReport]) -> ServiceAccess:
    """Returns the last access to a service and by each of its actions, of any user."""
    service_reports = [report.services[name] for report in reports if name in report.services]
    actions: dict[str, LastAccess | None] = {}
    for service in service_reports:
        for action, access in service.actions.items():
            actions[action] = _latest([actions.get(action), access])
    return ServiceAccess(name, _latest([service.last for service in service_reports]), actions)


def _latest(accesses: Iterable[LastAccess | None]) -> LastAccess | None:
    """Returns the latest of some accesses, of equal ones the first; None without one."""
    known = [access for access in accesses if access]
    return max(known, key=lambda access: access.time, default=None)


def _generated(found: Sequence[GeneratedPolicy | None]) -> GeneratedPolicy | None:
    """Returns the policies that IAM Access Analyzer generated for all users as one."""
    policies = [policy for policy in found if policy]
    if not policies:
        return None
    first: list[datetime] = [policy.first for policy in policies if policy.first]
    last: list[datetime] = [policy.last for policy in policies if policy.last]
    return replace(
        policies[0],
        job=", ".join(policy.job for policy in policies),
        first=max(first, default=None),
        last=min(last, default=None),
        is_complete=len(policies) == len(found) and all(policy.is_complete for policy in policies),
        grants=tuple(sorted({grant for policy in policies for grant in policy.grants})),
        policies=sum(policy.policies for policy in policies),
        was_running=any(policy.was_running for policy in policies),
    )


def _unused(found: Sequence[tuple[UnusedAccess, ...]]) -> tuple[UnusedAccess, ...]:
    """Returns the findings of unused access that concern every user."""
    if not all(found):
        return ()
    services = [
        {name for finding in user_findings for name in finding.services} for user_findings in found
    ]
    actions = [
        {name for finding in user_findings for name in finding.actions} for user_findings in found
    ]
    first = found[0][0]
    return (
        UnusedAccess(
            analyzer=first.analyzer,
            days=min(finding.days for user_findings in found for finding in user_findings),
            is_whole=all(
                any(finding.is_whole for finding in user_findings) for user_findings in found
            ),
            services=tuple(sorted(set.intersection(*services))),
            actions=tuple(sorted(set.intersection(*actions))),
        ),
    )


# Users that no input names

_PERMISSION_SET = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):iam::"
    r"(?P<account>[0-9*]+):role/aws-reserved/sso\.amazonaws\.com/"
    r"(?:[a-z0-9-]+/)?AWSReservedSSO_(?P<name>[\w+=,.@-]+)_(?P<suffix>[0-9a-f]{16})"
)
"""A role that IAM Identity Center makes for a permission set ("Referencing permission sets in
resource policies, Amazon EKS Cluster config maps, and AWS KMS key policies", IAM Identity Center
User Guide, read 2026-12-01)."""


def permission_set_of(arn: str) -> str:
    """Returns the name of the permission set whose role this is; empty for another role."""
    match = _PERMISSION_SET.fullmatch(arn)
    return match["name"] if match else ""


def permission_set_pattern(arn: str) -> str:
    """Returns the pattern of the roles that a permission set has in all accounts; empty for another
    role.
    """
    match = _PERMISSION_SET.fullmatch(arn)
    if not match:
        return ""
    path = "aws-reserved/sso.amazonaws.com/*"
    # Another permission set may have a name that begins with this one: Deploy and Deploy_Prod.
    suffix = "?" * len(match["suffix"])
    return f"arn:{match['partition']}:iam::*:role/{path}AWSReservedSSO_{match['name']}_{suffix}"


class Callers:
    """The roles that made calls in a trail, by their names."""

    def __init__(self, calls: Mapping[str, int] = MappingProxyType({})) -> None:
        """`calls`: principals of the trail -> number of calls."""
        self._calls_of: dict[str, dict[str, int]] = {}
        for arn, number in sorted(calls.items()):
            role = principal_of(arn) or principal_of(f"{arn}/session")
            if role is None or role.kind != "role":
                continue
            calls_of = self._calls_of.setdefault(role.name, {})
            calls_of[role.arn] = calls_of.get(role.arn, 0) + number

    def named(self, names: Iterable[str]) -> Mapping[str, int]:
        """Returns the roles of some names, with the number of calls."""
        calls_by_arn: dict[str, int] = {}
        for name in sorted(names):
            calls_by_arn |= self._calls_of.get(name, {})
        return calls_by_arn


class KnownUsers:
    """Users of policies that are named by ARNs and patterns."""

    def __init__(self, arns: Iterable[str], others: KnownUsers | None = None) -> None:
        """`others`: further known users, as those of a config, which its targets share."""
        self._others = others
        self._arns = frozenset(arns)
        self._patterns = tuple(arn for arn in self._arns if has_wildcard(arn))
        self._identities = frozenset(filter(None, map(_identity, self._arns)))

    def include(self, arn: str) -> bool:
        """Whether a role is one of them, under any path: names are unique in an account."""
        if arn in self._arns or _identity(arn) in self._identities:
            return True
        if any(matches(pattern, arn) for pattern in self._patterns):
            return True
        return self._others is not None and self._others.include(arn)

    def cover(self, pattern: str) -> bool:
        """Whether a pattern of theirs has all roles of another one."""
        if any(covers(arn, pattern) for arn in self._arns):
            return True
        return self._others is not None and self._others.cover(pattern)

    def name(self, arn: str) -> bool:
        """Whether one of them is written like this."""
        return arn in self._arns or (self._others is not None and self._others.name(arn))


def unnamed_users(
    named: Sequence[str],
    callers: Callers,
    excluded: Iterable[str] = (),
    attached: Iterable[UnnamedUser] = (),
    others: KnownUsers | None = None,
) -> tuple[UnnamedUser, ...]:
    """Returns the roles that the policy may govern too.

    Args:
        named: The ARNs and patterns of the known users.
        callers: The roles of the trail.
        excluded: ARNs and patterns of roles that are no users.
        attached: Further principals that have the policy, and who says so.
        others: The users of other policies, which are no users of this one.
    """
    known_users = KnownUsers((*named, *excluded), others)
    unnamed_by_arn: dict[str, UnnamedUser] = {}
    sets = {permission_set_of(arn): arn for arn in named}
    for name, arn in sets.items():
        pattern = permission_set_pattern(arn)
        if name and not known_users.cover(pattern):
            reason = f"the permission set {name} may have a role in each account"
            unnamed_by_arn[pattern] = UnnamedUser(pattern, reason)
    for user in attached:
        if not known_users.include(user.arn):
            unnamed_by_arn[user.arn] = user
    names = {principal.name for principal in map(principal_of, named) if principal}
    namesakes: dict[str, int] = {}
    for arn, calls in callers.named(names).items():
        is_found = any(matches(pattern, arn) for pattern in unnamed_by_arn)
        if not is_found and not known_users.include(arn):
            namesakes[arn] = calls
    for unnamed in _joined_namesakes(namesakes):
        unnamed_by_arn[unnamed.arn] = unnamed
    return tuple(unnamed_by_arn.values())


def _joined_namesakes(calls: Mapping[str, int]) -> Iterator[UnnamedUser]:
    """Yields the roles of the same name: those of several accounts as one pattern."""
    joined = grouped((arn.replace(f"::{account_of(arn)}:", "::*:", 1), arn) for arn in calls)
    for pattern, arns in joined.items():
        number = plural(sum(calls[arn] for arn in arns), "call")
        if len(arns) == 1:
            reason = f"a role of the same name made at least {number} in this trail"
            yield UnnamedUser(arns[0], reason)
            continue
        reason = f"roles of the same name in {len(arns)} other accounts made at least {number}"
        yield UnnamedUser(pattern, reason)


class _Identity(Struct, frozen=True):
    """What no two roles or users share."""

    partition: str
    account: str
    kind: str
    name: str


@lru_cache(maxsize=8192)
def _identity(arn: str) -> _Identity | None:
    named = principal_of(arn)
    if named is None:
        return None
    return _Identity(named.partition, named.account, named.kind, named.name)
