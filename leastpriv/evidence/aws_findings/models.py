"""What AWS said when it was asked about a principal's use, as values; no decisions.

Everything may be absent: nobody asked, or AWS did not answer, which `Hints.unasked` tells.

What CloudFormation's resource types declare to need, as a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Declared:
    """What the handlers of some resource types need."""

    actions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Catalogue action -> the types whose handlers need it, sorted."""
    types: tuple[str, ...] = ()
    """The types that answered."""
    untold: tuple[str, ...] = ()
    """Types without a schema in the registry: those of transforms, and private ones."""
    unknown: tuple[str, ...] = ()
    """Names of actions that the catalogue lacks, as the schemas spell them: never offered."""
    failure: str = ""
    """Why it is not whole, in a sentence."""


LATE = timedelta(hours=4)
"""Within which a use appears in IAM's reports:
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html, read 2026-11-24.
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last time that something was asked for; IAM counts refused requests too."""

    time: datetime
    region: str = ""


@dataclass(frozen=True, slots=True)
class ServiceAccess:
    """One service that the principal's policies grant."""

    service: str
    """IAM prefix in lower case, `s3`."""
    last: Attempt | None = None
    """None: no attempt in IAM's tracking period."""
    actions: Mapping[str, Attempt | None] = field(default_factory=dict)
    """Tracked actions that are granted, in lower case (`s3:putbucketpolicy`)."""


@dataclass(frozen=True, slots=True)
class SharedPolicy:
    """A managed policy of the principal that others use as well: an edit of it reaches them."""

    arn: str
    service: str
    others: Mapping[str, Attempt] = field(default_factory=dict)
    """ARN of another role or user -> its last attempt on the service."""
    is_known: bool = True
    """False: who the others are was not asked, or AWS did not say (`AccessReport.missing`)."""


@dataclass(frozen=True, slots=True)
class AccessReport:
    """IAM's last accessed information (access advisor) about one principal."""

    made: datetime
    services: Mapping[str, ServiceAccess]
    granted_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service -> the principal's policies that grant it, an ARN or an inline policy's name."""
    shared: tuple[SharedPolicy, ...] = ()
    missing: str = ""
    """Why `granted_by` or `shared` is not whole; empty where it is."""

    @property
    def until(self) -> datetime:
        """Up to here the report has every attempt."""
        return self.made - LATE

    def action(self, name: str) -> Attempt | None:
        """The last attempt on one action; None where it is not tracked, not granted, or none is known."""
        service = self.services.get(name.partition(":")[0].lower())
        return service.actions.get(name.lower()) if service else None


@dataclass(frozen=True, slots=True)
class GeneratedPolicy:
    """What IAM Access Analyzer wrote from a trail: all policies of one generation together."""

    job: str
    first: datetime | None
    last: datetime | None
    """The time whose events it read."""
    is_complete: bool
    """False: by AWS's own word something is missing."""
    grants: tuple[tuple[str, tuple[str, ...]], ...]
    """(action as written, its resources), sorted; a resource may hold placeholders like `${BucketName}`."""
    policies: int = 1
    was_running: bool = False
    """Somebody else had asked for it."""
    names: frozenset[str] = field(init=False)
    """The actions of `grants` in lower case: a wildcard may ask for thousands."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(action.lower() for action, _ in self.grants))


@dataclass(frozen=True, slots=True)
class Advice:
    """One step of an unused-access recommendation."""

    step: str
    """`CREATE_POLICY` or `DETACH_POLICY`."""
    policy: str
    """The existing policy it is about."""
    grants: tuple[str, ...] = ()
    """Action patterns, in lower case, of the policy that is to take its place."""


@dataclass(frozen=True, slots=True)
class UnusedAccess:
    """The active findings of one unused-access analyzer about the principal."""

    analyzer: str
    """Its name."""
    days: int
    """Without use for so long something is unused; 0 where AWS does not say."""
    is_whole: bool = False
    """The whole role is unused."""
    services: tuple[str, ...] = ()
    """Prefixes of services of which nothing is used."""
    actions: tuple[str, ...] = ()
    """Unused actions of services in use, `s3:putbucketpolicy`."""
    credentials: tuple[str, ...] = ()
    """Unused ones of a user: ids of access keys, and `password`."""
    advice: tuple[Advice, ...] = ()
    unadvised: tuple[str, ...] = ()
    """Why findings have no recommendation, each a sentence."""


@dataclass(frozen=True, slots=True)
class OutsideAccess:
    """Somebody outside the analyzer's zone of trust who may assume the role."""

    principal: str
    """`AWS arn:aws:iam::…:root`, `Federated token.actions.githubusercontent.com`, or `anybody`."""
    conditions: Mapping[str, str]
    is_public: bool = False

    @property
    def is_bound_subject(self) -> bool:
        """A federated login of one repository's jobs, or of one subject: what a role for CI is made for."""
        subjects = [value for key, value in self.conditions.items() if key.lower().endswith(":sub")]
        is_bound = any(map(_names_one, subjects))
        return self.principal.startswith("Federated ") and is_bound and not self.is_public


_WHOSE = re.compile(
    # GitHub, GitLab, HCP Terraform; beyond what they name, only branch, kind of event or phase is left open.
    r"(?:repo|project_path):[^*?:]+/[^*?:]+:.*|organization:[^*?:]+:project:[^*?:]+:workspace:[^*?:]+:.*|[^*?]+"
)
"""A subject (the claim `sub`) that names whose job it is without a wildcard."""


def _names_one(values: str) -> bool:
    """Whether each of a condition's values names one; several come in one text, as a list or with commas between."""
    named = [value for value in re.split(r"[\s,\[\]\"']+", values) if value]
    return bool(named) and all(_WHOSE.fullmatch(value) for value in named)


@dataclass(frozen=True, slots=True)
class Unasked:
    """A source of hints that gave none."""

    source: str
    """`access advisor`, `policy generation` …."""
    why: str


@dataclass(frozen=True, slots=True)
class AwsFindings:
    """All that AWS said."""

    access: AccessReport | None = None
    generated: GeneratedPolicy | None = None
    unused: tuple[UnusedAccess, ...] = ()
    outside: tuple[OutsideAccess, ...] = ()
    unasked: tuple[Unasked, ...] = ()
    asked: tuple[str, ...] = ()
    """Sources that answered, also with nothing."""
    declared: Declared = field(default_factory=Declared)
    """What the resource types of the principal's stacks need by their own account."""


NO_AWS_FINDINGS = AwsFindings()
"""Nobody asked."""
