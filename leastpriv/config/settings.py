"""Parses inputs or options into `Settings`; every error names the input and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from os.path import normpath
from pathlib import Path

from leastpriv.aws.arns import Window
from leastpriv.config.inputs import INPUTS, Input
from leastpriv.config.validators import (
    EVENT_HISTORY,
    Value,
    entries,
    files,
    is_in_aws,
    named_principal,
    patterns,
    regions,
    trails,
    window,
)
from leastpriv.errors import InputError, did_you_mean
from leastpriv.evidence.aws_findings.policy_generation import GenerationSettings, parse_generation
from leastpriv.github_actions.context import parse_boolean, parse_integer, read_input, split_list
from leastpriv.models import Principal
from leastpriv.policy.source import Location
from leastpriv.proposal.models import Lifecycle, Options, UnknownRefs, UnseenServices
from leastpriv.pull_request.models import PullRequestOptions, is_branch_name

AUTO_LOGS = "auto"
"""The value of `job-logs` for the logs of the workflow run that runs this step."""


class Mode(StrEnum):
    """What happens with a proposal."""

    REPORT = "report"
    PULL_REQUEST = "pull-request"
    CHECK = "check"
    REVIEW = "review"


class DeclaredPhases(StrEnum):
    """Which needs of templates and plans count."""

    CHANGE = "change"
    """Those of their change, with a rollback."""
    ALL = "all"
    """Those of later updates and deletions too."""
    PLAN = "plan"
    """Reads alone, for a role that plans and does not apply."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked inputs of one run; paths are text, since only the caller knows where they start."""

    principal: Principal
    policy_file: str
    also_attached: tuple[str, ...]
    mode: Mode
    trails: tuple[str, ...]
    window: Window
    options: Options
    base: str
    branch: str
    pull_request_options: PullRequestOptions = field(default_factory=PullRequestOptions)
    github_token: str = field(default="", repr=False)
    aws_regions: tuple[str, ...] = ()
    """Regions whose event history is read; empty: all that the account has enabled."""
    lookback_days: int = 90
    wait_for_events: int = 0
    """Minutes."""
    job_logs: tuple[str, ...] = ()
    """Files, folders and archives, `-`, `auto`."""
    athena_table: str = ""
    """A table of CloudTrail records in Athena; trails in S3 are read through it."""
    cache_dir: str = ""
    """Folder that caches what was read of trails in S3."""
    validate_digests: bool = False
    """Whether files of trails in S3 count only if CloudTrail's digest files list them."""
    access_analyzer: GenerationSettings | None = None
    """None: IAM Access Analyzer is not asked."""
    organization_policies: bool = False
    """Whether the simulation of a proposal includes the account's SCPs."""
    denial_details: bool = False
    """Whether AWS reports the authorization details of denials, where there are credentials."""
    last_accessed: bool = False
    """Whether IAM reports last accessed information, where there are credentials."""
    fails_without_calls: bool = True
    """Whether evidence without a call of the principal fails the run."""
    drift_issue: bool = False
    """Whether the mode check keeps drift in a tracking issue instead of failing."""
    fails_on_escalation: bool = False
    """Whether the mode check fails for a policy that leads to administrator."""
    boundary_file: str = ""
    """File for the draft of a permissions boundary; empty: none is drafted."""
    history_location: str = ""
    """What keeps the usage history between runs: in a step a branch, in a command a folder; empty: none."""
    custom_policy_checks: bool = False
    """Whether Access Analyzer's custom policy checks, which AWS charges, check the proposal."""
    terraform_plan: str = ""
    """Output of `terraform show -json`, a file."""
    trust_policy: str = ""
    """The role's trust policy in the repository, as `file` or `file#pointer`; AWS checks it with the proposal."""
    sarif_file: str = ""
    page_file: str = ""
    templates: tuple[str, ...] = ()
    """CloudFormation templates as `[STACK=]FILE`, and folders with a cloud assembly."""
    plans: tuple[str, ...] = ()
    """Terraform plans in JSON."""
    declared_phases: DeclaredPhases = DeclaredPhases.CHANGE
    """Which needs of templates and plans count."""

    @property
    def event_history(self) -> bool:
        """Whether CloudTrail's event history is read."""
        return EVENT_HISTORY in self.trails

    @property
    def names_evidence(self) -> bool:
        """Whether the run reads calls or denials; templates and plans are none."""
        return bool(self.trails or self.athena_table or self.job_logs)

    @property
    def asks_aws(self) -> bool:
        """Whether the run reads anything from AWS, so that it has credentials."""
        return self.event_history or bool(self.bucket_trails or self.athena_table or self.attached_arns)

    @property
    def attached_files(self) -> tuple[str, ...]:
        """Other policies of the role in files."""
        return tuple(name for name in self.also_attached if not name.startswith("arn:"))

    @property
    def attached_arns(self) -> tuple[str, ...]:
        """Managed policies of the role, by their ARN."""
        return tuple(name for name in self.also_attached if name.startswith("arn:"))

    @property
    def trail_folders(self) -> tuple[str, ...]:
        """The trails in folders."""
        return tuple(name for name in self.trails if name != EVENT_HISTORY and not is_in_aws(name))

    @property
    def bucket_trails(self) -> tuple[str, ...]:
        """The trails in AWS: `s3://bucket/prefix`, a trail's ARN, or a log group."""
        return tuple(name for name in self.trails if is_in_aws(name))

    @property
    def policy(self) -> Location:
        """The policy file, and the pointer to the policy in it."""
        return Location.of(self.policy_file)


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """The inputs as they arrived, and how messages name them."""

    values: Mapping[str, Value]
    """By name of the input."""
    labels: Mapping[str, str]
    """By name of the input: `The input trails`, `--trails`."""
    start: str = ""
    """`--from`"""
    end: str = ""
    """`--to`"""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Parses the settings of a step from its `INPUT_…` variables.

    Raises:
        InputError: an input is missing or malformed.
    """
    return parse_settings(step_inputs(environment))


def step_inputs(environment: Mapping[str, str]) -> GivenInputs:
    """Returns the inputs of a step; one that names no evidence reads event history, which every account has."""
    _check_names(environment)
    values: dict[str, Value] = {known.name: read_input(environment, known.name) for known in INPUTS}
    if not any(values[name] for name in ("trails", "athena-table", "job-logs", "templates", "plans")):
        values["trails"] = EVENT_HISTORY
    return GivenInputs(values, {known.name: f"The input {known.name}" for known in INPUTS})


_OF_THE_RUNNER = frozenset({"ARGS", "ENTRYPOINT", "POST-ENTRYPOINT", "PRE-ENTRYPOINT"})
"""Names that `with:` may hold for every action in a container."""


def _check_names(environment: Mapping[str, str]) -> None:
    """Raises InputError for an input that does not exist: the runner only warns of it."""
    names = {known.name.upper(): known.name for known in INPUTS}
    for variable in sorted(environment):
        name = variable.removeprefix("INPUT_")
        if name != variable and name not in names and name not in _OF_THE_RUNNER and environment[variable]:
            raise InputError(f"There is no input {name.lower()!r}{did_you_mean(name, names.values())}.")


def from_options(values: Mapping[str, Value], start: str = "", end: str = "") -> Settings:
    """Parses the settings of a command from its options, by input name.

    Raises:
        InputError: as `from_environment`.
    """
    return parse_settings(command_inputs(values, start, end))


def command_inputs(values: Mapping[str, Value], start: str = "", end: str = "") -> GivenInputs:
    """Returns the options of a command by input name, with the defaults of a command."""
    defaults = {known.name: known.shell_default for known in INPUTS if known.shell_default}
    given = {**values, **{name: default for name, default in defaults.items() if not values.get(name)}}
    return GivenInputs(given, {known.name: known.flag for known in INPUTS}, start, end)


def parse_settings(given: GivenInputs) -> Settings:
    """Checks every value and adds defaults.

    Raises:
        InputError: an input is missing or malformed.
    """
    values, labels = given.values, given.labels
    text = {known.name: _text(values, known) for known in INPUTS}
    missing = [known for known in INPUTS if known.name in ("role-arn", "policy-file") and not text[known.name]]
    if missing:
        raise InputError(f"{labels[missing[0].name]} is missing: {missing[0].help}.")
    principal = named_principal(text["role-arn"], labels["role-arn"])
    job_logs = entries(values.get("job-logs", ()))
    templates, plans = entries(values.get("templates", ())), entries(values.get("plans", ()))
    has_other_evidence = bool(job_logs or text["athena-table"] or templates or plans)
    return Settings(
        principal=principal,
        policy_file=text["policy-file"],
        also_attached=_also_attached(values, text, labels),
        mode=Mode(_one_of(text, labels, "mode", [mode.value for mode in Mode])),
        trails=trails(values.get("trails", ()), labels["trails"], optional=has_other_evidence),
        window=window(given.start, given.end),
        options=_proposal_options(text, values, labels),
        base=_branch(text["base"], labels["base"]),
        branch=_branch(text["branch"], labels["branch"]) or f"leastpriv/{_branch_part(principal.name)}",
        pull_request_options=_pull_request_options(values, text, labels),
        github_token=text["github-token"],
        aws_regions=regions(values, labels),
        lookback_days=_lookback_days(text, labels),
        wait_for_events=_integer(text, labels, "wait-for-events"),
        job_logs=job_logs,
        athena_table=_athena_table(text["athena-table"], labels["athena-table"]),
        cache_dir=text["cache-dir"],
        validate_digests=_validate_digests(text, labels),
        access_analyzer=parse_generation(text["access-analyzer"], labels["access-analyzer"]),
        organization_policies=_boolean(text, labels, "organization-policies"),
        denial_details=_boolean(text, labels, "denial-details"),
        last_accessed=_boolean(text, labels, "last-accessed"),
        fails_without_calls=_one_of(text, labels, "when-no-calls", ["fail", "report"]) == "fail",
        drift_issue=_one_of(text, labels, "drift-report", ["fail", "issue"]) == "issue",
        fails_on_escalation=_one_of(text, labels, "fail-on", ["none", "escalation"]) == "escalation",
        boundary_file=_boundary_file(text, labels),
        history_location=text["evidence-branch"],
        custom_policy_checks=_boolean(text, labels, "custom-policy-checks"),
        terraform_plan=text["terraform-plan"],
        trust_policy=text["trust-policy"],
        sarif_file=_report_file(text, labels, "sarif-file", ("policy-file",)),
        page_file=_report_file(text, labels, "page-file", ("policy-file", "sarif-file")),
        templates=templates,
        plans=plans,
        declared_phases=DeclaredPhases(
            _one_of(text, labels, "declared-phases", [each.value for each in DeclaredPhases])
        ),
    )


def _also_attached(values: Mapping[str, Value], text: Mapping[str, str], labels: Mapping[str, str]) -> tuple[str, ...]:
    found, own = files(values, labels, "also-attached"), Location.of(text["policy-file"])
    for name in found:
        other = Location.of(name)
        if (normpath(other.path), other.pointer) == (normpath(own.path), own.pointer):
            raise InputError(
                f"{labels['also-attached']} holds {name!r}, the file of {labels['policy-file']}: name the role's other "
                "policies only."
            )
    return found


def _athena_table(name: str, label: str) -> str:
    if name:
        from leastpriv.evidence.cloudtrail.athena_queries import is_table_name

        if not is_table_name(name):
            raise InputError(f"{label} is {name!r}: write DATABASE.TABLE, or WORKGROUP/DATABASE.TABLE.")
    return name


def _report_file(text: Mapping[str, str], labels: Mapping[str, str], name: str, others: Sequence[str]) -> str:
    for other in others if text[name] else ():
        if Path(Location.of(text[other]).path) == Path(text[name]):
            raise InputError(f"{labels[name]} is {text[name]!r}, as is {labels[other]}: write it to a separate file.")
    return text[name]


def _boundary_file(text: Mapping[str, str], labels: Mapping[str, str]) -> str:
    name = text["boundary-file"]
    if name and not re.fullmatch(r"[\w+=,.@-]{1,123}\.json", Path(name).name, re.ASCII):
        raise InputError(
            f"{labels['boundary-file']} is {name!r}: name a .json file; the policy gets its name without the ending."
        )
    return _report_file(text, labels, "boundary-file", ("policy-file",))


def _validate_digests(text: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    label, chosen = labels["validate-digests"], _boolean(text, labels, "validate-digests")
    if chosen and text["athena-table"]:
        raise InputError(f"{label} is true, and {labels['athena-table']} is set: Athena reads files unvalidated.")
    return chosen


def _proposal_options(text: Mapping[str, str], values: Mapping[str, Value], labels: Mapping[str, str]) -> Options:
    return Options(
        minimum_days=_integer(text, labels, "minimum-days"),
        minimum_runs=_integer(text, labels, "minimum-runs"),
        minimum_confidence=_percent(text, labels, "minimum-confidence"),
        grace_days=_integer(text, labels, "grace-days"),
        break_glass=entries(values.get("break-glass", ())),
        max_changes=_integer(text, labels, "max-changes"),
        unseen_services=UnseenServices(_one_of(text, labels, "unseen-services", ["", "keep", "drop"])),
        drop_unseen_actions=_one_of(text, labels, "unseen-actions", ["keep", "drop"]) == "drop",
        lifecycle=Lifecycle(_one_of(text, labels, "lifecycle", [each.value for each in Lifecycle])),
        keep=patterns(values, labels, "keep"),
        never_add=patterns(values, labels, "never-add"),
        unknown_refs=UnknownRefs(_one_of(text, labels, "unknown-refs", ["", "mark", "refuse"])),
        exact_resources=_one_of(text, labels, "resources", ["pattern", "exact", "keep"]) == "exact",
        keep_forms=text["resources"] == "keep",
    )


def _branch(name: str, label: str) -> str:
    if name and not is_branch_name(name):
        raise InputError(f"{label} is {name!r}: git does not take that as the name of a branch.")
    return name


def _branch_part(name: str) -> str:
    """A principal's name as part of a branch's: IAM takes some that git does not (`ci..x`, `ci.lock`)."""
    return name if is_branch_name(name) else re.sub(r"\.(?=\.|$|lock$)|^[.-]", "_", name)


def _pull_request_options(
    values: Mapping[str, Value], text: Mapping[str, str], labels: Mapping[str, str]
) -> PullRequestOptions:
    lists = {name: entries(values.get(name, ())) for name in ("reviewers", "team-reviewers", "assignees")}
    return PullRequestOptions(
        labels=split_list(text["labels"]),
        reviewers=lists["reviewers"],
        team_reviewers=lists["team-reviewers"],
        assignees=lists["assignees"],
        draft=_boolean(text, labels, "draft"),
    )


def _integer(text: Mapping[str, str], labels: Mapping[str, str], name: str, minimum: int = 0) -> int:
    return parse_integer(text[name], labels[name].removeprefix("The input "), minimum)


def _lookback_days(text: Mapping[str, str], labels: Mapping[str, str]) -> int:
    value = _integer(text, labels, "lookback-days", 1)
    if value > _MOST_DAYS:
        raise InputError(f"{labels['lookback-days']} is {value}: write at most {_MOST_DAYS}, ten years.")
    return value


_MOST_DAYS = 3_660


def _percent(text: Mapping[str, str], labels: Mapping[str, str], name: str) -> int:
    value = _integer(text, labels, name)
    if value > 100:
        raise InputError(f"{labels[name]} is {value}: write a percentage from 0 to 100.")
    return value


def _boolean(text: Mapping[str, str], labels: Mapping[str, str], name: str) -> bool:
    return parse_boolean(text[name], labels[name].removeprefix("The input "))


def _one_of(text: Mapping[str, str], labels: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    value = text[name]
    if value not in choices:
        raise InputError(f"{labels[name]} is {value!r}: choose {' or '.join(choices)}{did_you_mean(value, choices)}.")
    return value


def _text(values: Mapping[str, Value], known: Input) -> str:
    value = values.get(known.name) or known.default
    return value.strip() if isinstance(value, str) else "\n".join(value)
