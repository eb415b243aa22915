"""AWS's own findings about a principal, as frozen structs.

Every part may be absent: it was not requested, or AWS did not answer, which `AwsFindings.skipped_sources` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from leastpriv.models import Need


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
    """Actions of templates and plans, all of whose phases the runs went through: unused, they are not needed later."""
    sources: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Types in templates and plans whose permissions no table has."""


REPORT_DELAY = timedelta(hours=4)
"""Time until a use appears in IAM's reports:

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html, read 2026-11-24.
"""


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
    """False: the other users were not requested, or AWS did not return them (`AccessReport.missing`)."""


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
        """Returns the last attempt on one action; None where it is not tracked or not granted, or there is none."""
        service = self.services.get(name.partition(":")[0].lower())
        return service.actions.get(name.lower()) if service else None


@dataclass(frozen=True, slots=True)
class GeneratedPolicy:
    """A policy that IAM Access Analyzer generated from a trail: all policies of one generation together."""

    job: str
    first: datetime | None
    last: datetime | None
    """The period whose events it read."""
    is_complete: bool
    """False: AWS says that the policy is incomplete."""
    grants: tuple[tuple[str, tuple[str, ...]], ...]
    """(action as written, its resources), sorted; a resource may contain placeholders like `${BucketName}`."""
    policies: int = 1
    was_running: bool = False
    """Another client had started the generation."""
    names: frozenset[str] = field(init=False)
    """The actions of `grants` in lower case, computed once: a wildcard may match thousands."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(action.lower() for action, _ in self.grants))


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
        """A federated principal limited to one repository's jobs, or to one subject: the purpose of a CI role."""
        # Several values are a list, or separated by commas.
        texts = (value for key, value in self.conditions.items() if key.lower().endswith(":sub"))
        subjects = ([value for value in re.split(r"[\s,\[\]\"']+", text) if value] for text in texts)
        is_bound = any(named and all(_WHOSE.fullmatch(value) for value in named) for named in subjects)
        return self.principal.startswith("Federated ") and is_bound and not self.is_public


_WHOSE = re.compile(
    # GitHub, GitLab, HCP Terraform; a wildcard may follow only for branch, kind of event or phase.
    r"(?:repo|project_path):[^*?:]+/[^*?:]+:.*|organization:[^*?:]+:project:[^*?:]+:workspace:[^*?:]+:.*|[^*?]+"
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
