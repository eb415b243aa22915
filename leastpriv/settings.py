"""Environment or command line -> `Settings`. Every message names the input and the way out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.athena_sql import is_table_name
from leastpriv.evidence.hints.generated_policy import Generation, parse_generation
from leastpriv.evidence.live_role import POLICY_ARN
from leastpriv.evidence.source import Window, parse_principal
from leastpriv.inputs import INPUTS, Input
from leastpriv.model import Principal
from leastpriv.policy.location import Location
from leastpriv.proposal.situation import Options
from leastpriv.pull_request.publication import is_branch_name
from leastpriv.pull_request.repository.pulls import Manners
from leastpriv.runner.inputs import parse_boolean, parse_integer, read_input, split_list

Value = str | tuple[str, ...]
"""An input as it arrived: text, or the values of a repeated option."""


EVENT_HISTORY = "event-history"
"""The name that stands among the trails for CloudTrail's event history."""

AUTO_LOGS = "auto"
"""The name that stands among the job logs for those of the workflow run itself."""

# Names of buckets and trails: "General purpose bucket naming rules" (S3) and CreateTrail (CloudTrail), read 2026-11-24.
_IN_AWS = re.compile(
    r"s3://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](?:/.*)?|arn:[a-z-]+:cloudtrail:[a-z0-9-]+:\d{12}:trail/[\w.-]+", re.ASCII
)
# us-east-1, us-gov-west-1, ap-southeast-2 … (regions of botocore's endpoints.json)
_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2}", re.ASCII)


class Mode(StrEnum):
    """What happens with a proposal."""

    REPORT = "report"
    PULL_REQUEST = "pull-request"
    CHECK = "check"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that one run is told; paths are still text, since only the caller knows where they start."""

    principal: Principal
    policy_file: str
    also_attached: tuple[str, ...]
    mode: Mode
    trails: tuple[str, ...]
    window: Window
    options: Options
    base: str
    branch: str
    manners: Manners = field(default_factory=Manners)
    github_token: str = field(default="", repr=False)
    aws_regions: tuple[str, ...] = ()
    """Regions whose event history is read; empty: the one of the environment."""
    lookback_days: int = 90
    wait_for_events: int = 0
    """Minutes."""
    job_logs: tuple[str, ...] = ()
    """Files, folders and archives, `-`, `auto`."""
    athena_table: str = ""
    """A table of CloudTrail records in Athena, through which trails in S3 are read then."""
    cache_dir: str = ""
    """Folder that keeps what was read of trails in S3."""
    validate_digests: bool = False
    """Whether files of trails in S3 count only where CloudTrail's digest files vouch for them."""
    access_analyzer: Generation | None = None
    """None: IAM Access Analyzer is not asked."""
    last_accessed: bool = False
    """Whether IAM is asked for last accessed information, where there are credentials."""

    @property
    def event_history(self) -> bool:
        """Whether CloudTrail's event history is read."""
        return EVENT_HISTORY in self.trails

    @property
    def asks_aws(self) -> bool:
        """Whether something is read of AWS, so that there are credentials for more."""
        return self.event_history or bool(self.bucket_trails or self.athena_table or self.attached_arns)

    @property
    def attached_files(self) -> tuple[str, ...]:
        """Other policies of the role that lie in files."""
        return tuple(name for name in self.also_attached if not name.startswith("arn:"))

    @property
    def attached_arns(self) -> tuple[str, ...]:
        """Managed policies of the role, by their ARN."""
        return tuple(name for name in self.also_attached if name.startswith("arn:"))

    @property
    def trail_folders(self) -> tuple[str, ...]:
        """The trails that lie in folders."""
        return tuple(name for name in self.trails if name != EVENT_HISTORY and not is_in_aws(name))

    @property
    def bucket_trails(self) -> tuple[str, ...]:
        """The trails whose bucket is read: `s3://bucket/prefix`, or a trail's ARN."""
        return tuple(name for name in self.trails if is_in_aws(name))

    @property
    def policy(self) -> Location:
        """The policy file, and where in it the policy stands."""
        return Location.of(self.policy_file)


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings of a step from its `INPUT_…` variables.

    Raises:
        InputError: an input is missing, malformed, or not built yet.
    """
    values = {known.name: read_input(environment, known.name) for known in INPUTS}
    if not any(values[name] for name in ("trails", "athena-table", "job-logs")):
        # A step that names no evidence starts with what every account has.
        values["trails"] = EVENT_HISTORY
    return settings(values, {known.name: f"The input {known.name}" for known in INPUTS})


def from_options(values: Mapping[str, Value], start: str = "", end: str = "") -> Settings:
    """Settings from the command line's options, by input name.

    Raises:
        InputError: as `from_environment`.
    """
    shell = {known.name: known.shell_default for known in INPUTS if known.shell_default}
    given = {**values, **{name: default for name, default in shell.items() if not values.get(name)}}
    return settings(given, {known.name: known.flag for known in INPUTS}, start, end)


def settings(values: Mapping[str, Value], labels: Mapping[str, str], start: str = "", end: str = "") -> Settings:
    """Checks every value and puts defaults in; `labels` says how messages call an input."""
    _refuse_unbuilt(values, labels)
    text = {known.name: _text(values, known) for known in INPUTS if known.built}
    missing = next((known.name for known in INPUTS if known.required and not text[known.name]), "")
    if missing:
        raise InputError(f"{labels[missing]} is missing: {_help(missing)}.")
    principal = named_principal(text["role-arn"], labels["role-arn"])
    job_logs = _list(values.get("job-logs", ()))
    return Settings(
        principal=principal,
        policy_file=text["policy-file"],
        also_attached=_files(values, labels, "also-attached"),
        mode=Mode(_one_of(text, labels, "mode", [mode.value for mode in Mode])),
        trails=trails(values.get("trails", ()), labels["trails"], optional=bool(job_logs or text["athena-table"])),
        window=window(start, end),
        options=_options(text, values, labels),
        base=_branch(text["base"], labels["base"]),
        branch=_branch(text["branch"], labels["branch"]) or f"leastpriv/{_as_branch(principal.name)}",
        manners=_manners(values, text, labels),
        github_token=text["github-token"],
        aws_regions=_regions(values, labels),
        lookback_days=_integer(text, labels, "lookback-days", 1),
        wait_for_events=_integer(text, labels, "wait-for-events"),
        job_logs=job_logs,
        athena_table=_athena_table(text["athena-table"], labels["athena-table"]),
        cache_dir=text["cache-dir"],
        validate_digests=_validate_digests(text, labels),
        access_analyzer=parse_generation(text["access-analyzer"], labels["access-analyzer"]),
        last_accessed=parse_boolean(text["last-accessed"], labels["last-accessed"].removeprefix("The input ")),
    )


def trails(value: Value, label: str, *, optional: bool = False) -> tuple[str, ...]:
    """Names of trail folders, trails in S3 and `event-history`; `optional` where other evidence is named.

    Raises:
        InputError: there is none, or one in AWS is named in a way that leads nowhere.
    """
    found = _list(value)
    if not found and not optional:
        raise InputError(f"{label} is missing: name a folder of CloudTrail files, or {EVENT_HISTORY}.")
    for name in found:
        if is_in_aws(name) and not _IN_AWS.fullmatch(name):
            raise InputError(
                f"{label} is {name!r}: write s3://BUCKET/PREFIX, or a trail's ARN like "
                "arn:aws:cloudtrail:eu-west-1:123456789012:trail/NAME."
            )
    return found


def _athena_table(name: str, label: str) -> str:
    if name and not is_table_name(name):
        raise InputError(f"{label} is {name!r}: write DATABASE.TABLE, or WORKGROUP/DATABASE.TABLE.")
    return name


def _validate_digests(text: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    label = labels["validate-digests"]
    chosen = parse_boolean(text["validate-digests"], label.removeprefix("The input "))
    if chosen and text["athena-table"]:
        raise InputError(f"{label} is true, and {labels['athena-table']} is set: Athena reads files unvalidated.")
    return chosen


def is_in_aws(trail: str) -> bool:
    """Whether a trail is named by its place in S3 or by its ARN, not by a folder."""
    return trail.startswith(("s3://", "arn:"))


def window(start: str, end: str) -> Window:
    """The time to read, from `--from` (included) to `--to` (not included); empty is open.

    Raises:
        InputError: a time is not ISO 8601, or the window is empty.
    """
    chosen = Window(_time(start, "--from"), _time(end, "--to"))
    if chosen.start and chosen.end and chosen.start >= chosen.end:
        raise InputError(f"--from {start} is not before --to {end}: the window is empty.")
    return chosen


def _time(text: str, flag: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"{flag} is {text!r}: write a date like 2026-11-03 or a time like 2026-11-03T09:00:00Z."
        ) from None


def _options(text: Mapping[str, str], values: Mapping[str, Value], labels: Mapping[str, str]) -> Options:
    return Options(
        minimum_days=_integer(text, labels, "minimum-days"),
        minimum_runs=_integer(text, labels, "minimum-runs"),
        drop_unseen_services=_one_of(text, labels, "unseen-services", ["keep", "drop"]) == "drop",
        keep=_patterns(values, labels, "keep"),
        never_add=_patterns(values, labels, "never-add"),
        exact_resources=_one_of(text, labels, "resources", ["pattern", "exact", "keep"]) == "exact",
        keep_forms=text["resources"] == "keep",
    )


def _branch(name: str, label: str) -> str:
    if name and not is_branch_name(name):
        raise InputError(f"{label} is {name!r}: git does not take that as the name of a branch.")
    return name


def _as_branch(name: str) -> str:
    """A principal's name as part of a branch's: IAM takes some that git does not (`ci..x`, `ci.lock`)."""
    return name if is_branch_name(name) else re.sub(r"\.(?=\.|$|lock$)|^[.-]", "_", name)


def _manners(values: Mapping[str, Value], text: Mapping[str, str], labels: Mapping[str, str]) -> Manners:
    lists = {name: _list(values.get(name, ())) for name in ("reviewers", "team-reviewers", "assignees")}
    return Manners(
        labels=split_list(text["labels"]),
        reviewers=lists["reviewers"],
        team_reviewers=lists["team-reviewers"],
        assignees=lists["assignees"],
        draft=parse_boolean(text["draft"], labels["draft"].removeprefix("The input ")),
    )


def _refuse_unbuilt(values: Mapping[str, Value], labels: Mapping[str, str]) -> None:
    for known in INPUTS:
        if not known.built and values.get(known.name):
            raise InputError(f"{labels[known.name]} is set, but not built yet: leave it out.")


def named_principal(arn: str, label: str) -> Principal:
    """The role or user of an input.

    Raises:
        InputError: it is not the ARN of a role or user.
    """
    try:
        return parse_principal(arn)
    except InputError as error:
        raise InputError(f"{label}: {error}") from error


def _integer(text: Mapping[str, str], labels: Mapping[str, str], name: str, minimum: int = 0) -> int:
    return parse_integer(text[name], labels[name].removeprefix("The input "), minimum)


def _one_of(
    text: Mapping[str, str],
    labels: Mapping[str, str],
    name: str,
    choices: Sequence[str],
    later: Sequence[str] = (),
) -> str:
    value = text[name]
    if value in later:
        raise InputError(f"{labels[name]} is {value!r}, which is not built yet: choose {' or '.join(choices)}.")
    if value not in choices:
        raise InputError(f"{labels[name]} is {value!r}: choose {' or '.join(choices)}.")
    return value


def _patterns(values: Mapping[str, Value], labels: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(values.get(name, ()))
    for pattern in found:
        if ":" not in pattern and pattern != "*":
            raise InputError(f"{labels[name]} holds {pattern!r}: write action patterns like s3:DeleteBucket or iam:*.")
    return found


def _regions(values: Mapping[str, Value], labels: Mapping[str, str]) -> tuple[str, ...]:
    found = _list(values.get("aws-regions", ()))
    for region in found:
        if not _REGION.fullmatch(region):
            raise InputError(f"{labels['aws-regions']} holds {region!r}: write regions like eu-central-1.")
    return found


def _files(values: Mapping[str, Value], labels: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(values.get(name, ()))
    for file in found:
        if file.startswith("arn:") and not re.fullmatch(POLICY_ARN, file, re.ASCII):
            raise InputError(
                f"{labels[name]} holds {file!r}: write a file, or the ARN of a managed policy like "
                "arn:aws:iam::123456789012:policy/NAME."
            )
    return found


def _list(value: Value) -> tuple[str, ...]:
    return split_list(value) if isinstance(value, str) else tuple(entry for entry in value if entry.strip())


def _text(values: Mapping[str, Value], known: Input) -> str:
    value = values.get(known.name) or known.default
    return value.strip() if isinstance(value, str) else "\n".join(value)


def _help(name: str) -> str:
    return next(known.help for known in INPUTS if known.name == name)
