"""The domain types of the glossary as frozen msgspec structs, and their grouping, without I/O or
decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Outcome(StrEnum):
    """Whether AWS authorized a call."""

    ALLOWED = "allowed"
    """The call succeeded, or failed for a reason other than authorization."""
    DENIED = "denied"
    UNKNOWN = "unknown"
    """The call was throttled, malformed, expired …: AWS may not have reached authorization."""


class Basis(StrEnum):
    """Why a permission is needed."""

    OBSERVED = "observed"
    INFERRED = "inferred"
    DENIED = "denied"
    LIFECYCLE = "sibling"
    DECLARED = "declared"
    KEPT = "kept"


class DeniedBy(StrEnum):
    """The policy type that denied a call; the values of the `denied_by` field of `leastpriv
    denials`.
    """

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
    """The kinds of information that the evidence lacks."""

    UNREADABLE_FILE = "unreadable-file"
    """A CloudTrail file is damaged, in whole or from some point on."""
    UNREADABLE_RECORD = "unreadable-record"
    """A record lacks a field that every call has."""
    UNMAPPED_EVENT = "unmapped-event"
    """No mapping exists from the event to an action."""
    UNVERIFIED_ACTION = "unverified-action"
    """The service is known, but the action is newer than the catalogue."""
    PARAMETERS_OMITTED = "parameters-omitted"
    """CloudTrail omitted the request parameters (over 100 KB)."""
    MAY_PASS_ROLE = "may-pass-role"  # noqa: S105 - the name of a gap
    """The call may pass a role to a service, but its request does not name the role."""
    MAPPING_DISAGREES = "mapping-disagrees"
    """AWS denied an action, or a resource, that the mapping of the event does not contain."""
    SOURCE_FAILED = "source-failed"
    """A source could not be read completely."""
    NO_DATA_EVENTS = "no-data-events"
    """A source holds management events only."""
    EVENTS_LATE = "events-late"
    """CloudTrail had not delivered the newest events yet."""
    FUTURE_RECORDS = "from-the-future"
    """Records are dated in the future; day counts are unreliable."""
    NOT_LOGGED = "not-logged"
    """The trail's event selectors exclude these events."""
    NOT_VALIDATED = "not-validated"
    """No digest file validates a log file, or digest files are missing."""
    LOGGING_STOPPED = "logging-stopped"
    """A trail stopped logging for a time, or could not deliver files."""
    SETTINGS_UNKNOWN = "settings-unknown"
    """A trail's settings could not be read: only its records show what it logs (docs: decision 6).
    """
    SILENCE = "silence"
    """A region that has records on most days has none for some time."""
    LIVE_ROLE_UNREAD = "live-role-unread"
    """The policies attached to the deployed role are not known; this hides no call."""
    UNREADABLE_LOG = "unreadable-log"
    """A job log could not be fetched or read completely."""
    UNNAMED_DENIAL = "untold-refusal"
    """A job log shows a denial that names no action."""
    ENCODED_DENIAL = "encoded-refusal"
    """The denial message is encoded and could not be decoded."""
    DENIAL_OF_OTHER_PRINCIPAL = "refusal-of-another"
    """A job log shows a denial of another principal."""
    DENIAL_DETAILS = "denial-details"
    """AWS returned no authorization details of a denial."""

    @property
    def hides_use(self) -> bool:
        """Whether the gap may hide an allowed call; job logs contain denials only, and CloudTrail
        has the calls.
        """
        return self not in (
            GapKind.SETTINGS_UNKNOWN,
            GapKind.UNREADABLE_LOG,
            GapKind.UNNAMED_DENIAL,
            GapKind.ENCODED_DENIAL,
            GapKind.DENIAL_OF_OTHER_PRINCIPAL,
            GapKind.DENIAL_DETAILS,
            GapKind.LIVE_ROLE_UNREAD,
        )


class ChangeKind(StrEnum):
    """One edit of the committed policy."""

    ADD = "add"
    REMOVE = "remove"
    NARROW = "narrow"


class Origin(StrEnum):
    """Whether the target's repository reviewed the code of a run.

    `proposal/origins.py` has one table of what follows from it.
    """

    REVIEWED = "reviewed"
    """The run is of the base branch, of another protected branch, or of one of `reviewed-refs`."""
    UNREVIEWED = "unreviewed"
    """The run is of another ref, of a pull request or of another repository."""
    UNKNOWN = "unknown"


class RunOrigin(Struct, frozen=True):
    """The git ref whose code a run executed."""

    origin: Origin
    where: str
    """In words: `main`, `the branch feature/x, which is not protected`."""
    mark: str = ""
    """What the reviewer of an addition must know, `branch by session name`; empty where the ref is
    proved.
    """
    is_asked: bool = True
    """False for a run past the limit of questions to GitHub: it may add nothing."""


class WebIdentity(Struct, frozen=True, order=True):
    """The identity that STS checked before it issued the keys of a run."""

    provider: str
    """ARN or name of the identity provider."""
    subject: str
    """Subject of the token, `repo:octo/shop:ref:refs/heads/main`."""


class Principal(Struct, frozen=True):
    """A role or user. `arn` includes the path where it is known
    (`arn:aws:iam::…:role/ci/deploy`).
    """

    arn: str
    partition: str
    account: str
    kind: str
    """`role` or `user`."""
    name: str
    """The name without the path."""


AwareTime = Annotated[datetime, Meta(tz=True)]
"""A time that is decoded: one without a zone could not be compared."""
AGGREGATED = "aggregated"
"""`caller_doubt` of a use that only a summary of CloudTrail shows."""


class TargetName(Struct, frozen=True, order=True):
    """How a usage history or a pull request names its target."""

    id: str
    """Eight hexadecimal digits, which do not change with role, file and branch."""
    role: str
    """ARN of the role or user."""
    file: str
    """The policy file with its pointer."""


class FormerNames(Struct, frozen=True):
    """The earlier names of a target, as the config lists them (`formerly`)."""

    roles: tuple[str, ...] = ()
    """ARNs."""
    files: tuple[str, ...] = ()
    """Policy files, with their pointers."""
    branches: tuple[str, ...] = ()


class Repeats:
    """Calls that are equal but for id, time, session and access key.

    It says nothing about a call: calls with equal fields are equal whether they repeat or not.
    """

    __slots__ = ("equal_answers", "place")

    def __init__(self, *, equal_answers: bool) -> None:
        """Creates the mark of the first of such calls.

        Args:
            equal_answers: whether the answers are equal, too; else all calls have one, or none has.
        """
        self.equal_answers = equal_answers
        self.place: object = None
        """Where a collector counts them; None until it counted the first one."""

    def __eq__(self, other: object) -> bool:
        """Whether the other value is a mark, too, or none."""
        return other is None or isinstance(other, Repeats)

    def __hash__(self) -> int:
        """Returns the hash of no mark, which every mark is equal to."""
        return hash(None)


class Call(Struct, frozen=True, gc=False):
    """One API call from the evidence."""

    event_id: str
    """Empty where the record has none; calls without an id are not deduplicated."""
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
    """Service that forwarded the caller's request; the identity, not this field, decides who
    called.
    """
    read_only: bool | None = None
    data_event: bool = False
    parameters_omitted: bool = False
    """The record says that its request parameters were too large."""
    access_key: str = ""
    """Id of the access key that signed the call; empty where the record has none, for example when
    a service uses a role."""
    caller_doubt: str = ""
    """Why the call may be no deployment's: `console`, or an identity type that is not known; its
    outcome is unknown.
    """
    program: str = ""
    """The deploy tool of the call's user agent (`deploy_tools.tsv`), else `script`; empty if the
    record has none.
    """
    repeats: Repeats | None = None
    """The mark of the calls that are equal to this one; None where more of the record decides."""


class Denial(Struct, frozen=True):
    """A denied call or a denial message."""

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
    """The message names no action; it is inferred from the operation, the resource type or the
    tool's output.
    """
    why: str = ""
    """Why no grant helps; empty where one can."""
    encoded: str = ""
    """EC2's whole encoded text, which `sts:DecodeAuthorizationMessage` decodes; empty where there
    is none.
    """
    authorization_id: str = ""
    """Id by which `GetRequestAuthorizationDetails` returns the whole decision; empty where AWS gave
    none.
    """
    authorization_region: str = ""
    """Region in which AWS keeps the decision, where the message's link names it."""
    judged_by: tuple[str, ...] = ()
    """Condition keys of the request that AWS's authorization details contain, in lower case; empty
    without details.
    """
    log: str = ""
    """Location in a job log, `deploy:120`; empty for a call that CloudTrail recorded."""


class Scope(Struct, frozen=True):
    """The calls that a gap may hide. An empty field means "all"."""

    services: tuple[str, ...] = ()
    """IAM prefixes, e.g. `s3`."""
    actions: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    data_events: bool = False
    """Only actions that are visible in data events alone (`permissions/event_table.py`)."""
    events: tuple[str, ...] = ()
    """`management-read`, `management-write`, or data events of a resource type, `AWS::S3::Object`,
    or of one kind only: `AWS::S3::Object read`, `AWS::S3::Object write`."""
    outside: tuple[str, ...] = ()
    """ARNs, or prefixes of ARNs followed by `*`, of which the gap hides no call."""


class Gap(Struct, frozen=True):
    """A limit of the evidence: its kind, its scope and the detail."""

    kind: GapKind
    scope: Scope
    detail: str
    count: int = 1


class Condition(Struct, frozen=True, order=True, gc=False):
    """One condition of a permission: `StringEquals`, `iam:PassedToService`, values."""

    operator: str
    key: str
    values: tuple[str, ...]

    @property
    def relation(self) -> str:
        """What the key has to be: `is` one of the values, `is not` one, or `is not set`."""
        if self.operator == "Null":
            return "is not set"
        return "is not" if "Not" in self.operator else "is"

    def sentence(self, written: Callable[[str], str] = str) -> str:
        """Says the condition, `aws:ResourceTag/stage is pr-*`; `written` marks its key and values
        as code.
        """
        values = " or ".join(map(written, self.values))
        return f"{written(self.key)} {self.relation} {values}".rstrip()


def condition_block(conditions: Iterable[Condition]) -> dict[str, dict[str, list[str]]]:
    """Returns conditions as a policy writes them: operator -> key -> values."""
    block: dict[str, dict[str, list[str]]] = {}
    for condition in conditions:
        block.setdefault(condition.operator, {})[condition.key] = list(condition.values)
    return block


class Permission(Struct, frozen=True, order=True, gc=False):
    """An action, a resource and conditions that a policy has to allow."""

    action: str
    """Catalogue spelling, `s3:PutObject`."""
    resource: str
    """ARN, ARN pattern or `*`."""
    conditions: tuple[Condition, ...] = ()


class Need(Struct, frozen=True, gc=False):
    """One permission that a call needs, and its basis."""

    permission: Permission
    basis: Basis
    derivation: str
    """How the resource was derived, in words for the reader."""
    because: str = ""
    """For inferred needs: the part of the call that implies it."""
    verified: bool = True
    """False where the catalogue lacks the action."""
    exact: bool = True
    """False where the evidence shows the resource only in part (`stack/orders/*`) or by type."""
    context: tuple[Condition, ...] = ()
    """Further keys of the request that the records show, with their values; a policy need not name
    them.
    """


class Run(Struct, frozen=True, eq=False):
    """One deployment."""

    id: str
    session: str
    first: datetime
    last: datetime
    denied: int = 0
    """Number of denied calls in this run."""
    parent_run: str = ""
    """Session name of the one run whose AssumeRole calls issued all access keys of this run; empty
    where unknown.
    """
    identity: WebIdentity | None = None
    """The identity for which STS issued all access keys of this run; None where the evidence lacks
    the record.
    """
    periods: tuple[tuple[datetime, datetime], ...] = ()
    """First and last call of each part of the run, more than 60 minutes apart; empty: `first` and
    `last`.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[object, ...]:
        """The fields without the periods, which the log of a job does not show."""
        return (
            self.id,
            self.session,
            self.first,
            self.last,
            self.denied,
            self.parent_run,
            self.identity,
        )


class Usage(Struct, frozen=True):
    """One permission with its count, times and runs in the evidence."""

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
    """At least one call succeeded; false where all failed for a reason other than authorization
    (`NoSuchBucket`).
    """
    forwarded_by: tuple[str, ...] = ()
    """Services that forwarded some of the calls on behalf of the principal, sorted."""
    programs: tuple[str, ...] = ("",)
    """Programs with which the principal called (`Call.program`), sorted; empty if services
    forwarded all calls.
    """
    made: tuple[str, ...] = ()
    """Ids of the resources that the calls created, where the records contain them, sorted."""
    doubt: str = ""
    """Why the outcome is unknown, where not by an error: `caller_doubt` of the calls, or
    `no-answer`.
    """
    users: tuple[str, ...] = ()
    """Labels of the users of the policy that made the calls; empty where the policy has one user.
    """

    @property
    def action(self) -> str:
        """The action of its permission."""
        return self.need.permission.action

    @property
    def resource(self) -> str:
        """The resource of its permission."""
        return self.need.permission.resource

    @property
    def is_allowed(self) -> bool:
        """Whether the calls were allowed."""
        return self.outcome is Outcome.ALLOWED

    @property
    def replay_regions(self) -> tuple[str, ...]:
        """The regions in which its need is replayed: one without a name where no call names one."""
        return self.regions or ("",)


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Groups the values of pairs by key, in order of first occurrence."""
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def usages_by_action(usages: Iterable[Usage]) -> dict[str, list[Usage]]:
    """Groups usages by their action."""
    return grouped((usage.action, usage) for usage in usages)
