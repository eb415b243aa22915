"""The words of the product (docs: "Words") as frozen dataclasses: no I/O and no decisions.

A `Call` is a frozen struct of msgspec: there are millions, and making a dataclass takes seven times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """What a call says about authorisation."""

    ALLOWED = "allowed"
    """It succeeded, or failed for a reason that lies behind authorisation."""
    DENIED = "denied"
    UNKNOWN = "unknown"
    """Throttled, malformed, expired …: authorisation may or may not have happened."""


class Basis(StrEnum):
    """Why a permission is needed."""

    OBSERVED = "observed"
    INFERRED = "inferred"
    DENIED = "denied"
    SIBLING = "sibling"
    DECLARED = "declared"
    KEPT = "kept"


class DeniedBy(StrEnum):
    """Who refused a call; the values of the `denied_by` field of `leastpriv denials`."""

    IDENTITY = "identity"
    SCP = "scp"
    RCP = "rcp"
    BOUNDARY = "boundary"
    SESSION = "session"
    RESOURCE = "resource"
    VPCE = "vpce"
    BPA = "bpa"
    UNKNOWN = "unknown"


class GapKind(StrEnum):
    """What the evidence could not see."""

    UNREADABLE_FILE = "unreadable-file"
    """A trail file (or its rest) is damaged."""
    UNREADABLE_RECORD = "unreadable-record"
    """A record lacks what makes it a call."""
    UNMAPPED_EVENT = "unmapped-event"
    """Nobody knows which action the event needs."""
    UNVERIFIED_ACTION = "unverified-action"
    """The service is known, the action is newer than the catalogue."""
    PARAMETERS_OMITTED = "parameters-omitted"
    """CloudTrail left the request parameters out (over 100 KB)."""
    MAY_PASS_ROLE = "may-pass-role"  # noqa: S105 - the name of a gap
    """The call hands a role to a service, if any, that its request does not name."""
    MAPPING_DISAGREES = "mapping-disagrees"
    """AWS refused an action, or on a resource, that the call's event is not known to need."""
    SOURCE_FAILED = "source-failed"
    """A source, or a part of it, could not be read to its end."""
    NO_DATA_EVENTS = "no-data-events"
    """A source holds management events only."""
    EVENTS_LATE = "events-late"
    """CloudTrail had not delivered the newest events yet."""
    FROM_THE_FUTURE = "from-the-future"
    """Records are of a later time than it is here: nothing that rests on days holds."""
    NOT_LOGGED = "not-logged"
    """A trail's settings leave such events out."""
    NOT_VALIDATED = "not-validated"
    """No digest file vouches for a trail's file, or digest files are missing themselves."""
    LOGGING_STOPPED = "logging-stopped"
    """A trail was switched off for a time, or its files could not be delivered."""
    SETTINGS_UNKNOWN = "settings-unknown"
    """A trail's settings could not be read: the records alone tell what it logs (docs: decision 6)."""
    LIVE_ROLE_UNREAD = "live-role-unread"
    """What is attached to the role in the account is not known; it hides no call."""
    UNREADABLE_LOG = "unreadable-log"
    """A job log, or its rest, could not be had."""
    UNTOLD_REFUSAL = "untold-refusal"
    """A job log tells of a refusal, but not of which action."""
    ENCODED_REFUSAL = "encoded-refusal"
    """The refusal is encoded, and nobody could decode it."""
    REFUSAL_OF_ANOTHER = "refusal-of-another"
    """A job log tells of a refusal that names another principal."""

    @property
    def hides_use(self) -> bool:
        """Whether an allowed call may lie in the gap: a job log tells refusals only, and CloudTrail has the rest."""
        return self not in (
            GapKind.SETTINGS_UNKNOWN,
            GapKind.UNREADABLE_LOG,
            GapKind.UNTOLD_REFUSAL,
            GapKind.ENCODED_REFUSAL,
            GapKind.REFUSAL_OF_ANOTHER,
            GapKind.LIVE_ROLE_UNREAD,
        )


class ChangeKind(StrEnum):
    """One edit of the committed policy."""

    ADD = "add"
    REMOVE = "remove"
    NARROW = "narrow"


class Trust(StrEnum):
    """Whether a run's code had passed the repository's review."""

    TRUSTED = "trusted"
    """Its commit is on the base branch or another protected one."""
    UNTRUSTED = "untrusted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the code of a run came from."""

    trust: Trust
    where: str
    """In words: `main`, `the branch feature/x, which is not protected`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A role or user. `arn` has the path where it is known (`arn:aws:iam::…:role/ci/deploy`)."""

    arn: str
    partition: str
    account: str
    kind: str
    """`role` or `user`."""
    name: str
    """The name without the path."""


class Call(Struct, frozen=True, gc=False):
    """One API call read from evidence."""

    event_id: str
    """Empty where the record has none; such calls are not de-duplicated."""
    principal: str
    """ARN of the role or user, normalised (never an `assumed-role` session ARN)."""
    session: str
    """Role session name; empty for a user."""
    time: datetime
    """Aware, UTC."""
    account: str
    """Account of the principal."""
    region: str
    source: str
    """`s3.amazonaws.com`"""
    name: str
    """`PutObject`"""
    parameters: Mapping[str, object]
    response: Mapping[str, object]
    resources: tuple[str, ...]
    """ARNs of the record's `resources[]`, in order; empty where the field is absent."""
    outcome: Outcome
    error_code: str = ""
    error_message: str = ""
    invoked_by: str = ""
    """Service that forwarded the caller's request; identity, not this, decides whose call it is."""
    read_only: bool | None = None
    data_event: bool = False
    parameters_omitted: bool = False
    """The record says that its request parameters were too large to be kept."""
    access_key: str = ""
    """Id of the key that signed the call; empty where the record tells none, as for what a service does with a role."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused call or refusal message."""

    actions: tuple[str, ...]
    resource: str
    """ARN or pattern; empty where the message names none."""
    principal: str
    denied_by: DeniedBy
    explicit: bool
    """An explicit deny: no grant can help."""
    mendable: bool
    """Adding the actions to the identity policy can help."""
    message: str = ""
    inferred: bool = False
    """The message names no action: it follows from the operation, the resource type or what a tool was doing."""
    why: str = ""
    """Why no grant helps, in words; empty where one can."""
    encoded: str = ""
    """EC2's encoded text, whole, which `sts:DecodeAuthorizationMessage` reads; empty where there is none."""
    log: str = ""
    """Where a job log tells it, `deploy:120`; empty for a call that CloudTrail recorded."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a gap could hide. An empty part means "all" of that part."""

    services: tuple[str, ...] = ()
    """IAM prefixes, e.g. `s3`."""
    actions: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    data_events: bool = False
    """Only actions that nothing but data events shows (`permissions/visibility.py`)."""
    events: tuple[str, ...] = ()
    """`management-read`, `management-write`, or data events of a resource type, `AWS::S3::Object`; of one kind only:
    `AWS::S3::Object read`, `AWS::S3::Object write`."""
    outside: tuple[str, ...] = ()
    """ARNs, with `*` at their end where all that begins so is meant: resources of which nothing is hidden."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something the evidence could not see."""

    kind: GapKind
    scope: Scope
    detail: str
    count: int = 1


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One condition of a permission: `StringEquals`, `iam:PassedToService`, values."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """What a policy would have to allow."""

    action: str
    """Catalogue spelling, `s3:PutObject`."""
    resource: str
    """ARN, ARN pattern or `*`."""
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """One permission that one call needs, and how we know."""

    permission: Permission
    basis: Basis
    derivation: str
    """How the resource was found, in words for the reader."""
    because: str = ""
    """For inferred needs: what in the call implies it."""
    verified: bool = True
    """False where the catalogue lacks the action."""
    exact: bool = True
    """False where the evidence shows the resource only in part (`stack/orders/*`) or by its type."""


@dataclass(frozen=True, slots=True)
class Run:
    """One deploy."""

    id: str
    session: str
    first: datetime
    last: datetime
    denied: int = 0
    """Refused calls in this run."""
    taken_by: str = ""
    """Session name of the one run whose logins handed out all of its keys; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One permission as the evidence shows it."""

    need: Need
    outcome: Outcome
    count: int
    first_seen: datetime
    last_seen: datetime
    runs: tuple[str, ...]
    """Run ids, oldest first."""
    events: tuple[str, ...]
    """`lambda.amazonaws.com:CreateFunction20150331`, sorted."""
    regions: tuple[str, ...] = ()
    denial: Denial | None = None
    """Set where the outcome is denied."""
    succeeded: bool = True
    """Some call did what it should; false where all failed behind authorisation (`NoSuchBucket`)."""
    forwarded_by: tuple[str, ...] = ()
    """Services that forwarded some of the calls in the principal's name, sorted."""
    direct: bool = True
    """Some call came from the principal itself; false where services forwarded all."""
    made: tuple[str, ...] = ()
    """Ids that AWS gave to what the calls made, as far as their records name them, sorted."""
