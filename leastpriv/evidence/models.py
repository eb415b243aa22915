"""The evidence of one principal: groups of equal calls, counts, coverage, gaps, and AWS's own
findings.

Every finding of AWS may be absent: it was not requested, or AWS did not answer, which
`AwsFindings.skipped_sources` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, replace

from leastpriv.cloudtrail.coverage import Coverage, silence_gaps
from leastpriv.models import (
    AwareTime,
    Call,
    Denial,
    Gap,
    GapKind,
    Need,
    Origin,
    Outcome,
    Run,
    RunOrigin,
    Scope,
    Usage,
    grouped,
)
from leastpriv.permissions.project_tags import Tags

if TYPE_CHECKING:
    from leastpriv.declared.role_policies import CreatedRole


class DeclaredNeeds(Struct, frozen=True):
    """Permissions that templates and plans declare."""

    actions: Mapping[str, tuple[str, ...]] = {}
    """Catalogue action that later runs may need -> the resources that need it."""
    needs: tuple[Need, ...] = ()
    """Needs of templates and plans, with their resources."""
    later_needs: tuple[Need, ...] = ()
    """What later updates and deletions of the same resources need besides."""
    only_plans: bool = False
    """The role shows changes and does not make them."""
    exercised: frozenset[str] = frozenset()
    """Actions of templates and plans, all of whose phases the runs went through: unused, they are
    not needed later.
    """
    sources: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Types and parts of templates and plans whose needs are not known."""
    reasons: Mapping[str, str] = {}
    """Why the needs of those of `unread` are not known."""
    left_out: Mapping[str, tuple[str, ...]] = {}
    """Parameters whose defaults decide -> resources that a template makes with other values."""
    stateless: tuple[str, ...] = ()
    """Plans whose folder does not show where Terraform keeps the state."""
    roles: tuple[CreatedRole, ...] = ()
    """The roles that they make, where a permissions boundary is asked for."""


REPORT_DELAY = timedelta(hours=4)
"""Time until a use appears in IAM's reports
(https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html, read
2026-11-24)."""


class LastAccess(Struct, frozen=True):
    """The last attempt to use a service or action; IAM counts denied requests, too."""

    time: datetime
    region: str = ""


class ServiceAccess(Struct, frozen=True):
    """One service that the principal's policies grant."""

    service: str
    """IAM prefix in lower case, `s3`."""
    last: LastAccess | None = None
    """None: no attempt in IAM's tracking period."""
    actions: Mapping[str, LastAccess | None] = {}
    """Granted actions that IAM tracks, in lower case (`s3:putbucketpolicy`)."""


class SharedPolicy(Struct, frozen=True):
    """A managed policy that other principals use as well: an edit affects them."""

    arn: str
    service: str
    others: Mapping[str, LastAccess] = {}
    """ARN of another role or user -> its last attempt on the service."""
    is_known: bool = True
    """False: the other users were not requested, or AWS did not return them
    (`AccessReport.missing`).
    """


class AccessReport(Struct, frozen=True):
    """IAM's last accessed information (access advisor) about one principal."""

    made: datetime
    services: Mapping[str, ServiceAccess]
    granted_by: Mapping[str, tuple[str, ...]] = {}
    """Service -> the principal's policies that grant it, an ARN or an inline policy's name."""
    shared: tuple[SharedPolicy, ...] = ()
    missing: str = ""
    """Why `granted_by` or `shared` is incomplete; empty where it is complete."""

    @property
    def until(self) -> datetime:
        """The report contains every attempt before this time."""
        return self.made - REPORT_DELAY

    def action(self, name: str) -> LastAccess | None:
        """Returns the last attempt on one action; None where it is not tracked or not granted, or
        there is none.
        """
        service = self.services.get(name.partition(":")[0].lower())
        return service.actions.get(name.lower()) if service else None


class GeneratedGrant(NamedTuple):
    """An action of a generated policy."""

    action: str
    """As written."""
    resources: tuple[str, ...]
    """Sorted; a resource may contain placeholders like `${BucketName}`."""


class GeneratedPolicy(Struct, frozen=True, dict=True):
    """A policy that IAM Access Analyzer generated from a trail: all policies of one generation
    together.
    """

    job: str
    first: datetime | None
    last: datetime | None
    """The period whose events it read."""
    is_complete: bool
    """False: AWS says that the policy is incomplete."""
    grants: tuple[GeneratedGrant, ...]
    """Sorted."""
    policies: int = 1
    was_running: bool = False
    """Another client had started the generation."""

    @cached_property
    def names(self) -> frozenset[str]:
        """The actions of `grants` in lower case, computed once: a wildcard may match thousands."""
        return frozenset(action.lower() for action, _ in self.grants)


class Recommendation(Struct, frozen=True):
    """One step of an unused-access recommendation."""

    step: str
    """`CREATE_POLICY` or `DETACH_POLICY`."""
    policy: str
    grants: tuple[str, ...] = ()
    """Action patterns, in lower case, of the policy that replaces it."""


class UnusedAccess(Struct, frozen=True):
    """The active findings of one unused-access analyzer about the principal."""

    analyzer: str
    days: int
    """Tracking period in days; 0 where AWS does not return it."""
    is_whole: bool = False
    """The whole role is unused."""
    services: tuple[str, ...] = ()
    """Prefixes of unused services."""
    actions: tuple[str, ...] = ()
    """Unused actions of used services, `s3:putbucketpolicy`."""
    credentials: tuple[str, ...] = ()
    """Unused credentials of a user: ids of access keys, and `password`."""
    advice: tuple[Recommendation, ...] = ()
    without_recommendation: tuple[str, ...] = ()
    """Why findings have no recommendation, one sentence each."""


class ExternalAccess(Struct, frozen=True):
    """A principal outside the analyzer's zone of trust that may assume the role."""

    principal: str
    """`AWS arn:aws:iam::…:root`, `Federated token.actions.githubusercontent.com`, or the public."""
    conditions: Mapping[str, str]
    is_public: bool = False

    @property
    def is_bound_subject(self) -> bool:
        """A federated principal limited to one repository's jobs, or to one subject: the purpose of
        a CI role.
        """
        # Several values are a list, or separated by commas.
        texts = (value for key, value in self.conditions.items() if key.lower().endswith(":sub"))
        subjects = (
            [value for value in re.split(r"[\s,\[\]\"']+", text) if value] for text in texts
        )
        is_bound = any(
            subject and all(_WHOSE.fullmatch(value) for value in subject) for subject in subjects
        )
        return self.principal.startswith("Federated ") and is_bound and not self.is_public


_WHOSE = re.compile(
    # GitHub, GitLab, HCP Terraform; a wildcard may follow only for branch, kind of event or phase.
    r"(?:repo|project_path):[^*?:]+/[^*?:]+:.*"
    r"|organization:[^*?:]+:project:[^*?:]+:workspace:[^*?:]+:.*|[^*?]+"
)
"""A subject (the claim `sub`) that names its owner without a wildcard."""


class InternalAccess(Struct, frozen=True):
    """A resource that an internal-access analyzer monitors and that the principal reaches."""

    analyzer: str
    resource: str
    actions: tuple[str, ...]


class SkippedSource(Struct, frozen=True):
    """A source that returned no findings, and why."""

    source: str
    """`access advisor`, `policy generation` …."""
    why: str


class AwsFindings(Struct, frozen=True):
    """All findings of AWS about a principal."""

    access: AccessReport | None = None
    generated: GeneratedPolicy | None = None
    unused: tuple[UnusedAccess, ...] = ()
    outside: tuple[ExternalAccess, ...] = ()
    inside: tuple[InternalAccess, ...] = ()
    skipped_sources: tuple[SkippedSource, ...] = ()
    asked: tuple[str, ...] = ()
    """Sources that answered, even with an empty result."""
    declared: DeclaredNeeds = msgspec.field(default_factory=DeclaredNeeds)
    """Permissions that the templates and plans of the target declare."""


NO_AWS_FINDINGS = AwsFindings()
"""The findings of a run that requested none."""


class GroupKey(NamedTuple):
    """What the calls of a group have in common."""

    needs: tuple[Need, ...]
    outcome: Outcome
    mark: str
    """The policy type that denied, or why the outcome is in doubt."""
    region: str
    """A condition may name one."""


class CallTotals(Struct, array_like=True, gc=False):
    """Running totals of the calls with one key."""

    first: AwareTime
    last: AwareTime
    count: int = 0
    succeeded: bool = False
    # Nearly all hold one, and even an empty set takes more memory; equal tuples of strings are one
    # object.
    runs: Collection[int] = ()
    """A tuple of few, else a set."""
    regions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    forwarded: tuple[str, ...] = ()
    denial: Denial | None = None
    programs: tuple[str, ...] = ()
    """Programs of the calls that no service forwarded (`Usage.programs`)."""
    made: frozenset[str] = frozenset()
    """Ids of the resources that the calls created."""

    def describe(self, call: Call) -> None:
        """Adds event, region, program and success of a call, which repeated calls share."""
        self.events = _with(self.events, f"{call.source}:{call.name}")
        self.regions = _with(self.regions, call.region)
        if call.invoked_by:
            self.forwarded = _with(self.forwarded, call.invoked_by)
        else:
            self.programs = _with(self.programs, call.program)
        if not call.error_code:
            self.succeeded = True

    def count_call(self, time: datetime, run: int, made: Collection[str]) -> None:
        """Counts one call that was described, and the ids of what it created."""
        self.count += 1
        if time < self.first:
            self.first = time
        elif time > self.last:
            self.last = time
        if isinstance(self.runs, set):
            self.runs.add(run)
        elif run not in self.runs:
            self.runs = (*self.runs, run) if len(self.runs) < _FEW_RUNS else {*self.runs, run}
        if made:
            self._note_made(made)

    def compact(self) -> CallTotals:
        """Returns totals that were decoded, in less memory."""
        self.runs = _as_runs(self.runs)
        self.regions = _shared(self.regions)
        self.events = _shared(self.events)
        self.forwarded = _shared(self.forwarded)
        self.programs = _shared(self.programs)
        return self

    def note_denial(self, denial: Denial) -> None:
        """Keeps one of the denials: the same one in any order of the calls."""
        if self.denial is None or astuple(denial) < astuple(self.denial):
            self.denial = denial

    def absorb(self, other: CallTotals) -> None:
        """Adds the totals of another key."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        if isinstance(self.runs, set):
            # A copy for each part of a trail would take long.
            self.runs.update(other.runs)
        elif not set(self.runs).issuperset(other.runs):
            self.runs = _as_runs({*self.runs, *other.runs})
        self.regions = _union(self.regions, other.regions)
        self.events = _union(self.events, other.events)
        self.forwarded = _union(self.forwarded, other.forwarded)
        self.programs = _union(self.programs, other.programs)
        self.succeeded = self.succeeded or other.succeeded
        if other.denial:
            self.note_denial(other.denial)
        self._note_made(other.made)

    def _note_made(self, ids: Collection[str]) -> None:
        """Adds ids; past a limit the smallest ones are kept."""
        if not ids:
            return
        self.made = self.made.union(ids)
        # Twice the limit: a sort for each id past it would take long.
        if len(self.made) > 2 * _MOST_IDS:
            self.made = frozenset(sorted(self.made)[:_MOST_IDS])

    def usage(self, need: Need, outcome: Outcome, runs: tuple[str, ...], doubt: str) -> Usage:
        """Returns the totals as the usage of a need in some runs."""
        return Usage(
            need,
            outcome,
            count=self.count,
            first_seen=self.first,
            last_seen=self.last,
            runs=runs,
            events=tuple(sorted(self.events)),
            regions=tuple(sorted(self.regions)),
            denial=self.denial,
            succeeded=self.succeeded,
            forwarded_by=tuple(sorted(self.forwarded)),
            programs=tuple(sorted(self.programs)),
            made=tuple(sorted(self.made)[:_MOST_IDS]),
            doubt=doubt,
        )


def united(parts: Sequence[CallTotals]) -> CallTotals:
    """Returns the totals of one or several groups, which are not changed."""
    if len(parts) == 1:
        return parts[0]
    total = CallTotals(parts[0].first, parts[0].last)
    for part in parts:
        total.absorb(part)
    return total


def regrouped(
    groups: Mapping[GroupKey, CallTotals], changed: Callable[[GroupKey, CallTotals], GroupKey]
) -> dict[GroupKey, CallTotals]:
    """Returns the groups under changed keys; those whose keys become equal are one group."""
    parts = grouped((changed(key, totals), totals) for key, totals in groups.items())
    return {key: united(totals) for key, totals in parts.items()}


class CallGroup(Struct, frozen=True):
    """Calls with the same outcome and needs: the unit of the replay."""

    needs: tuple[Need, ...]
    outcome: Outcome
    count: int
    runs: tuple[str, ...]
    regions: tuple[str, ...]
    event: str
    forwarded_by: tuple[str, ...] = ()
    """Services that forwarded the calls on behalf of the principal
    (`cloudformation.amazonaws.com`), sorted.
    """


class Counts(Struct, frozen=True):
    """Number of calls of the principal, in total and by outcome."""

    calls: int = 0
    allowed: int = 0
    denied: int = 0
    unknown: int = 0
    unmapped: int = 0
    """Allowed calls whose needs are not certain."""
    no_permission: int = 0
    """Allowed calls that need no permission in a policy."""


class NotEvaluated(Struct, frozen=True, order=True):
    """Calls of the principal that the replay does not evaluate, of one event and for one reason."""

    event: str
    """`sqs.amazonaws.com:CreateQueue`"""
    why: str
    """`no-answer`, `console`, an identity type, `unmapped-event`, `unverified-action`, or the error
    code with which AWS may not have reached authorization.
    """
    count: int


class CreatedTags(Struct, frozen=True):
    """Calls that created resources of one type with the same tags."""

    service: str
    kind: str
    """Resource type in lower case."""
    tags: Tags
    """Keys and values in the requests, of those that name a project or a copy; sorted."""
    runs: tuple[str, ...]


class PolicyUser(Struct, frozen=True):
    """A role or user that the policy governs, and what the evidence shows of it."""

    arn: str
    label: str
    """Its name in reports: that of the config, else what distinguishes it from the others."""
    calls: int = 0
    runs: frozenset[str] = frozenset()
    """Ids of its runs."""
    first: datetime | None = None
    last: datetime | None = None
    unread: str = ""
    """Why the evidence does not show what it did, a sentence; empty where the evidence does."""

    @property
    def span(self) -> timedelta:
        """Time from the first to the last call."""
        return self.last - self.first if self.first and self.last else timedelta()


class UnnamedUser(Struct, frozen=True):
    """A role or user that the policy seems to govern and that no input names."""

    arn: str
    """Its ARN, or a pattern."""
    why: str
    """`a role of the same name made at least 12 calls in this trail`"""


_NO_COVERAGE = Coverage()


class Evidence(Struct, frozen=True):
    """All evidence about one principal."""

    principal: str
    usages: tuple[Usage, ...] = ()
    groups: tuple[CallGroup, ...] = ()
    gaps: tuple[Gap, ...] = ()
    runs: tuple[Run, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    counts: Counts = Counts()
    regions: tuple[str, ...] = ()
    """Regions of the principal's calls."""
    coverage: Coverage = _NO_COVERAGE
    own_policies: tuple[str, ...] = ()
    """ARNs of managed policies that the principal has, as far as they are known."""
    live_role_drift: str = ""
    """How the deployed role differs from the policy file, in words; empty where it is equal or was
    not read.
    """
    logged_runs: tuple[Run, ...] = ()
    """Workflow runs whose own job logs were read; CloudTrail may not show them yet."""
    aws_findings: AwsFindings = NO_AWS_FINDINGS
    """Access advisor, Access Analyzer and CloudFormation data about the principal."""
    checked_inside: Mapping[str, str] = {}
    """Action that AWS may authorize inside calls of the principal -> one of their events
    (`ssm:CreateAssociation`).
    """
    signed: Mapping[str, int] = {}
    """Principal that issued the access keys (empty: unknown) -> number of calls signed with them.
    """
    created_tags: tuple[CreatedTags, ...] = ()
    not_evaluated: tuple[NotEvaluated, ...] = ()
    """The calls that are in `counts.calls` and that no replay evaluates, sorted."""
    no_calls: Mapping[str, int] = {}
    """Records that name the principal and are no call of it, by what they are: `AwsServiceEvent`,
    `NetworkActivity`, `login`. Records that cannot be read are gaps.
    """
    origins: Mapping[str, RunOrigin] = {}
    """Run id -> the origin of the run, resolved once for each target; a run that is not in it is of
    unknown origin.
    """
    users: tuple[PolicyUser, ...] = ()
    """The users of the policy; empty where it has one."""
    unnamed_users: tuple[UnnamedUser, ...] = ()

    @property
    def allowed_usages(self) -> list[Usage]:
        """The usages whose calls were allowed."""
        return [usage for usage in self.usages if usage.is_allowed]

    def origin_of_run(self, run: str) -> Origin:
        """Returns the origin of one run."""
        origin = self.origins.get(run)
        return origin.origin if origin else Origin.UNKNOWN

    def origin_of(self, usage: Usage) -> Origin:
        """Returns the best origin of the runs of a usage: reviewed, else unknown, else unreviewed.

        A usage without a run, as one that only a job log shows, is of unknown origin.
        """
        origins = {self.origin_of_run(run) for run in usage.runs}
        if Origin.REVIEWED in origins:
            return Origin.REVIEWED
        return Origin.UNREVIEWED if origins == {Origin.UNREVIEWED} else Origin.UNKNOWN

    def runs_of_origin(self, origin: Origin) -> frozenset[str]:
        """Returns the ids of the runs of one origin."""
        return frozenset(run.id for run in self.runs if self.origin_of_run(run.id) is origin)

    @property
    def span(self) -> timedelta:
        """Time from the first to the last call."""
        return self.last - self.first if self.first and self.last else timedelta()


_MOST_IDS = 1_000
"""Most ids of created resources that are kept."""
_FEW_RUNS = 12
"""Runs that take less memory in a tuple."""


@lru_cache(maxsize=4_096)
def _with(known: tuple[str, ...], text: str) -> tuple[str, ...]:
    return known if text in known else (*known, text)


@lru_cache(maxsize=4_096)
def _shared(texts: tuple[str, ...]) -> tuple[str, ...]:
    return texts


def _as_runs(runs: Collection[int]) -> Collection[int]:
    return tuple(runs) if len(runs) <= _FEW_RUNS else set(runs)


def _union(known: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return known if known == others else tuple(dict.fromkeys((*known, *others)))


_LARGEST_SKEW = timedelta(hours=24)
"""Tolerance for clock errors and time zones; one day does not affect a limit of 30 days."""


def with_clock_gap(evidence: Evidence, now: datetime) -> Evidence:
    """Adds a gap that may hide any call where the last call is more than a day after `now`."""
    if evidence.last is None or evidence.last <= now + _LARGEST_SKEW:
        return evidence
    detail = (
        f"the last call is of {evidence.last:%Y-%m-%d %H:%M} and here it is {now:%Y-%m-%d %H:%M}"
        " (UTC): set this machine's clock, or remove the records of another time"
    )
    return replace(evidence, gaps=(*evidence.gaps, Gap(GapKind.FUTURE_RECORDS, Scope(), detail)))


def with_coverage(evidence: Evidence, coverage: Coverage) -> Evidence:
    """Adds the coverage of all sources, and a gap for each silence in it."""
    return replace(evidence, coverage=coverage, gaps=(*evidence.gaps, *silence_gaps(coverage)))
