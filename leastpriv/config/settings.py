"""Parses inputs or options into `Settings`; every error names the input and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from os.path import normpath
from pathlib import Path

from msgspec import Struct, field

from leastpriv.aws.arns import Window
from leastpriv.config.inputs import (
    EVENT_HISTORY,
    Value,
    copies,
    entries,
    files,
    inputs,
    is_in_aws,
    parse_boolean,
    parse_integer,
    patterns,
    read_input,
    regions,
    split_list,
    trails,
    window,
)
from leastpriv.config.policy_users import (
    PolicyUsers,
    check_one_policy,
    policy_users,
    principal_of_users,
)
from leastpriv.errors import InputError, did_you_mean
from leastpriv.evidence.policy_generation import GenerationSettings, parse_generation
from leastpriv.evidence.users import OWN_ACCOUNT
from leastpriv.models import Principal
from leastpriv.policy.source import Location
from leastpriv.proposal.models import (
    CompleteAdditions,
    Lifecycle,
    Options,
    UnknownRefs,
    UnseenServices,
)
from leastpriv.pull_request.models import PullRequestOptions, is_branch_name

AUTO_LOGS = "auto"
"""The value of `job-logs` for the logs of the workflow run that runs this step."""


class Mode(StrEnum):
    """What happens with a proposal."""

    REPORT = "report"
    PULL_REQUEST = "pull-request"
    CHECK = "check"
    REVIEW = "review"


BRANCH = "branch"
"""The value of `mode` for a branch in the repository of the workspace alone, without GitHub."""


class DeclaredPhases(StrEnum):
    """Which needs of templates and plans count."""

    CHANGE = "change"
    """Those of their change, with a rollback."""
    ALL = "all"
    """Those of later updates and deletions too."""
    PLAN = "plan"
    """Reads alone, for a role that plans and does not apply."""


class OtherPolicy(Struct, frozen=True):
    """A policy that decides besides the role's own, `boundary=FILE`, `session=FILE`, `FILE` or
    `ARN=FILE`.
    """

    kind: str
    """`boundary`, `session`, or empty for the policy of a resource."""
    file: str
    """The file, perhaps with a pointer."""
    resource: str = ""
    """ARN of the resource; empty where the input does not name it."""

    @classmethod
    def of(cls, entry: str) -> OtherPolicy:
        """Parses an entry of the input."""
        kind, is_named, file = entry.partition("=")
        if is_named and kind in ("boundary", "session"):
            return cls(kind, file)
        if is_named and re.fullmatch("[A-Za-z-]+", kind):
            raise InputError(
                f"other-policies holds {entry!r}: write boundary=FILE, session=FILE, or ARN=FILE"
                " for the policy of a resource."
            )
        if entry.startswith("arn:"):
            resource, _, file = entry.rpartition("=")
            return cls("", file, resource)
        return cls("", entry)


class Settings(Struct, frozen=True):
    """The checked inputs of one run, described in `inputs.py`; paths are text, as only the caller
    knows their start.
    """

    principal: Principal
    """The role or user; of several, their common one (`common_principal`)."""
    policy_file: str
    also_attached: tuple[str, ...]
    mode: Mode
    trails: tuple[str, ...]
    window: Window
    options: Options
    base: str
    branch: str
    pull_request_options: PullRequestOptions = field(default_factory=PullRequestOptions)
    github_token: str = ""
    aws_regions: tuple[str, ...] = ()
    lookback_days: int = 90
    wait_for_events: int = 0
    """Minutes."""
    job_logs: tuple[str, ...] = ()
    athena_tables: tuple[str, ...] = ()
    athena_max_bytes: int = 0
    """Bytes that the query in Athena may read; 0: any number."""
    cache_dir: str = ""
    validate_digests: bool = False
    access_analyzer: GenerationSettings | None = None
    """None: IAM Access Analyzer is not asked."""
    organization_policies: bool = False
    """Whether AWS is asked for them."""
    organization_files: tuple[str, ...] = ()
    """Folders and files that hold them."""
    other_policies: tuple[OtherPolicy, ...] = ()
    denial_details: bool = False
    last_accessed: bool = False
    fails_without_calls: bool = True
    """Whether evidence without a call of the principal fails the run."""
    drift_issue: bool = False
    """Whether the mode check keeps drift in a tracking issue instead of failing."""
    fails_on_escalation: bool = False
    """Whether the mode check fails for a policy that leads to administrator."""
    max_pull_requests: int = 0
    """Pull requests that a run opens at most, the most valuable first; 0: any number."""
    users: PolicyUsers = PolicyUsers()
    """All users of the policy."""

    def __repr__(self) -> str:
        # Without the token.
        return f"Settings({self.principal.arn}, {self.policy_file})"

    title_prefix: str = ""
    """What titles begin with instead of `iam(role)`."""
    boundary_file: str = ""
    history_location: str = ""
    """What keeps the usage history between runs: in a step a branch, in a command a folder; empty:
    none.
    """
    custom_policy_checks: bool = False
    terraform_plan: str = ""
    trust_policy: str = ""
    sarif_file: str = ""
    page_file: str = ""
    body_file: str = ""
    templates: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    declared_phases: DeclaredPhases = DeclaredPhases.CHANGE

    @property
    def spans_accounts(self) -> bool:
        """Whether the users of the policy are in several accounts."""
        return self.principal.account == OWN_ACCOUNT

    @property
    def event_history(self) -> bool:
        """Whether CloudTrail's event history is read."""
        return EVENT_HISTORY in self.trails

    @property
    def reads_records(self) -> bool:
        """Whether any source shows what the role did."""
        return bool(self.trails or self.athena_tables or self.job_logs)

    @property
    def declares(self) -> bool:
        """Whether templates, plans or policies of other tools say what the role needs."""
        return bool(self.templates or self.plans or self.declared)

    @property
    def asks_aws(self) -> bool:
        """Whether the run reads anything from AWS, so that it has credentials."""
        return self.event_history or bool(
            self.bucket_trails or self.athena_tables or self.attached_arns
        )

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


class GivenInputs(Struct, frozen=True):
    """The inputs as they arrived, and how messages name them."""

    values: Mapping[str, Value]
    """By name of the input; `from` and `to` are options of a command alone."""
    labels: Mapping[str, str]
    """By name of the input: `The input trails`, `--trails`."""


def step_inputs(environment: Mapping[str, str]) -> GivenInputs:
    """Returns the inputs of a step as they arrived; raises InputError for an unknown one."""
    names = {declared.name.upper(): declared.name for declared in inputs()}
    for variable in sorted(environment):
        name = variable.removeprefix("INPUT_")
        if (
            name != variable
            and name not in names
            and name not in _OF_THE_RUNNER
            and environment[variable]
        ):
            raise InputError(
                f"There is no input {name.lower()!r}{did_you_mean(name, names.values())}."
            )
    values: dict[str, Value] = {
        declared.name: read_input(environment, declared.name) for declared in inputs()
    }
    return GivenInputs(
        values, {declared.name: f"The input {declared.name}" for declared in inputs()}
    )


_OF_EVIDENCE = ("trails", "athena-table", "job-logs", "templates", "plans", "declared")


def with_step_defaults(given: GivenInputs) -> GivenInputs:
    """Returns the inputs of a step, with the settings of its config; where they name no evidence,
    it reads event history, which every account has.
    """
    if any(entries(given.values.get(name, ())) for name in _OF_EVIDENCE):
        return given
    return GivenInputs({**given.values, "trails": EVENT_HISTORY}, given.labels)


_OF_THE_RUNNER = frozenset({"ARGS", "ENTRYPOINT", "POST-ENTRYPOINT", "PRE-ENTRYPOINT"})
"""Names that `with:` may hold for every action in a container."""


def from_options(values: Mapping[str, Value]) -> Settings:
    """Parses the settings of a command from its options, by input name."""
    return parse_settings(with_command_defaults(command_inputs(values)))


def command_inputs(values: Mapping[str, Value]) -> GivenInputs:
    """Returns the options of a command by input name."""
    return GivenInputs(values, {declared.name: declared.flag for declared in inputs()})


def with_command_defaults(given: GivenInputs) -> GivenInputs:
    """Returns the inputs with the defaults that a command has instead of the action's."""
    defaults = {
        declared.name: declared.shell_default
        for declared in inputs()
        if declared.shell_default and not given.values.get(declared.name)
    }
    return GivenInputs({**given.values, **defaults}, given.labels)


def default_branch(name: str) -> str:
    """Returns the branch of a role's pull request without the input `branch`."""
    # IAM takes names that git does not take as a part of a branch's (`ci..x`, `ci.lock`).
    slips = r"\.(?=\.|$|lock$)|^[.-]"
    branch = name if is_branch_name(name) else re.sub(slips, "_", name)
    return f"leastpriv/{branch}"


def parse_settings(given: GivenInputs, *, needs_evidence: bool = True) -> Settings:
    """Checks every value and adds defaults; raises InputError where an input is missing or
    malformed.

    Each target of a config needs evidence, the run as a whole does not.
    """
    reader = _Reader(given)
    text, labels, values = reader.text, given.labels, given.values
    missing = [
        known
        for known in inputs()
        if known.name in ("role-arn", "policy-file") and not text[known.name]
    ]
    if missing:
        name = missing[0].name
        raise InputError(f"{labels[name]} is missing: {_NEEDED[name]}.")
    users = policy_users(values.get("role-arn", ""), labels["role-arn"])
    check_one_policy(users, labels["role-arn"])
    principal = principal_of_users(users, labels["role-arn"])
    job_logs, templates, plans, declared = map(
        reader.entries, ("job-logs", "templates", "plans", "declared")
    )
    if text["policy-file"].startswith("arn:"):
        raise InputError(
            f"{labels['policy-file']} is an ARN: name the file of the policy in the repository."
        )
    if "://" in text["policy-file"]:
        raise InputError(
            f"{labels['policy-file']} is an address: name the file of the policy in the repository."
        )
    athena_tables = reader.athena_tables()
    declares = templates or plans or declared
    has_other_evidence = bool(job_logs or athena_tables or declares or not needs_evidence)
    return Settings(
        principal=principal,
        policy_file=text["policy-file"],
        also_attached=reader.also_attached(),
        mode=reader.mode(),
        trails=trails(values.get("trails", ()), labels["trails"], optional=has_other_evidence),
        window=window(str(values.get("from", "")), str(values.get("to", ""))),
        options=reader.options(),
        base=reader.branch("base"),
        branch=reader.branch("branch") or default_branch(principal.name),
        pull_request_options=PullRequestOptions(
            labels=split_list(text["labels"]),
            reviewers=reader.entries("reviewers"),
            team_reviewers=reader.entries("team-reviewers"),
            assignees=reader.entries("assignees"),
            draft=reader.boolean("draft"),
            commit_title=reader.line("commit-message"),
        ),
        github_token="" if text["mode"] == BRANCH else text["github-token"],
        aws_regions=regions(values.get("aws-regions", ()), labels["aws-regions"]),
        lookback_days=reader.integer(
            "lookback-days", 1, _MOST_DAYS, f"write at most {_MOST_DAYS}, ten years"
        ),
        wait_for_events=reader.integer("wait-for-events"),
        job_logs=job_logs,
        athena_tables=athena_tables,
        athena_max_bytes=reader.bytes_of("athena-max-bytes"),
        cache_dir=text["cache-dir"],
        validate_digests=reader.validate_digests(),
        access_analyzer=parse_generation(text["access-analyzer"], labels["access-analyzer"]),
        organization_policies=reader.asks_organization(),
        organization_files=reader.organization_files(),
        other_policies=tuple(map(OtherPolicy.of, reader.entries("other-policies"))),
        denial_details=reader.boolean("denial-details"),
        last_accessed=reader.boolean("last-accessed"),
        fails_without_calls=reader.one_of("when-no-calls") == "fail",
        drift_issue=reader.one_of("drift-report") == "issue",
        fails_on_escalation=reader.one_of("fail-on") == "escalation",
        title_prefix=reader.line("title-prefix"),
        boundary_file=reader.boundary_file(),
        history_location=text["evidence-branch"],
        custom_policy_checks=reader.boolean("custom-policy-checks"),
        terraform_plan=text["terraform-plan"],
        trust_policy=text["trust-policy"],
        sarif_file=reader.written_file("sarif-file", "policy-file"),
        page_file=reader.written_file("page-file", "policy-file", "sarif-file"),
        body_file=reader.written_file("body-file", "policy-file", "sarif-file", "page-file"),
        templates=templates,
        plans=plans,
        declared=declared,
        declared_phases=DeclaredPhases(reader.one_of("declared-phases")),
        max_pull_requests=reader.integer("max-pull-requests") if text["max-pull-requests"] else 0,
        users=users,
    )


_NEEDED = {
    "role-arn": "name the role, like arn:aws:iam::123456789012:role/ci-deploy",
    "policy-file": "name the file of the role's policy; one that does not exist is drafted",
}
_MOST_DAYS = 3_660
_LONGEST_LINE = 100
"""Characters of a title's prefix and of a commit's first line."""


class _Reader:
    """Checks the inputs one by one; each method raises InputError for a wrong value."""

    def __init__(self, given: GivenInputs) -> None:
        self._values, self._labels = given.values, given.labels
        texts = {
            declared.name: given.values.get(declared.name) or declared.default
            for declared in inputs()
        }
        self.text = {
            name: value.strip() if isinstance(value, str) else "\n".join(value)
            for name, value in texts.items()
        }

    def mode(self) -> Mode:
        """A branch alone is a pull request without the token that opens one."""
        mode_text = self.one_of("mode")
        return Mode.PULL_REQUEST if mode_text == BRANCH else Mode(mode_text)

    def entries(self, name: str) -> tuple[str, ...]:
        return entries(self._values.get(name, ()))

    def integer(
        self, name: str, minimum: int = 0, maximum: int | None = None, advice: str = ""
    ) -> int:
        value = parse_integer(self.text[name], self._labels[name], minimum)
        if maximum is not None and value > maximum:
            raise InputError(f"{self._labels[name]} is {value}: {advice}.")
        return value

    def boolean(self, name: str) -> bool:
        return parse_boolean(self.text[name], self._labels[name])

    def asks_organization(self) -> bool:
        """Returns whether AWS is asked for the policies of the organization."""
        policy_entries = self.entries("organization-policies")
        words = [entry for entry in policy_entries if entry.lower() in ("true", "false")]
        return bool(words) and parse_boolean(words[-1], self._labels["organization-policies"])

    def organization_files(self) -> tuple[str, ...]:
        """Returns the files and folders that hold policies of the organization."""
        policy_entries = self.entries("organization-policies")
        return tuple(entry for entry in policy_entries if entry.lower() not in ("true", "false"))

    def one_of(self, name: str) -> str:
        """Returns the value of an input with choices; empty only where it has no default."""
        value = self.text[name]
        declared_input = next(declared for declared in inputs() if declared.name == name)
        if value not in declared_input.choices and (value or declared_input.default):
            choices = " or ".join(declared_input.choices)
            meant = did_you_mean(value, declared_input.choices)
            raise InputError(f"{self._labels[name]} is {value!r}: choose {choices}{meant}.")
        return value

    def line(self, name: str) -> str:
        value = self.text[name]
        if value and not value.isprintable():
            raise InputError(f"{self._labels[name]} is {value!r}: write one line of text.")
        if len(value) > _LONGEST_LINE:
            raise InputError(
                f"{self._labels[name]} has {len(value)} characters: write at most {_LONGEST_LINE}."
            )
        return value

    def branch(self, name: str) -> str:
        value = self.text[name]
        if value and not is_branch_name(value):
            raise InputError(
                f"{self._labels[name]} is {value!r}: git does not take that as the name of a"
                " branch."
            )
        return value

    def also_attached(self) -> tuple[str, ...]:
        """Returns the other policy files; raises InputError where one is the policy file itself."""
        labels, own_location = self._labels, Location.of(self.text["policy-file"])
        attached_files = files(self._values.get("also-attached", ()), labels["also-attached"])
        for name in attached_files:
            attached = Location.of(name)
            if (normpath(attached.path), attached.pointer) == (
                normpath(own_location.path),
                own_location.pointer,
            ):
                raise InputError(
                    f"{labels['also-attached']} holds {name!r}, the file of"
                    f" {labels['policy-file']}: name the role's other policies only."
                )
        return attached_files

    def athena_tables(self) -> tuple[str, ...]:
        tables = [name for entry in self.entries("athena-table") for name in split_list(entry)]
        names = tuple(dict.fromkeys(tables))
        if names:
            from leastpriv.cloudtrail.athena_sql import TABLE_NAME

            for name in names:
                if not TABLE_NAME.fullmatch(name):
                    label = self._labels["athena-table"]
                    raise InputError(
                        f"{label} is {name!r}: write DATABASE.TABLE, or WORKGROUP/DATABASE.TABLE."
                    )
        return names

    def bytes_of(self, name: str) -> int:
        """Returns a number of bytes, which may end with GB or TB; 0 without one."""
        text = self.text[name]
        if not text:
            return 0
        form = re.fullmatch(r"([0-9]{1,15})\s*(|GB|TB)", text, re.ASCII)
        if not form or not int(form[1]):
            raise InputError(
                f"{self._labels[name]} is {text!r}: write a number of bytes, or as in 500 GB."
            )
        return int(form[1]) * {"": 1, "GB": 10**9, "TB": 10**12}[form[2]]

    def written_file(self, name: str, *others: str) -> str:
        """Returns a file that the run writes, which no other input names."""
        value, labels = self.text[name], self._labels
        for other_input in others if value else ():
            if Path(Location.of(self.text[other_input]).path) == Path(value):
                raise InputError(
                    f"{labels[name]} is {value!r}, as is {labels[other_input]}: write it to a"
                    " separate file."
                )
        return value

    def boundary_file(self) -> str:
        """Returns the file of the boundary; raises InputError for another ending, and without
        templates or plans.
        """
        name = self.text["boundary-file"]
        if name and not re.fullmatch(r"[\w+=,.@-]{1,123}\.json", Path(name).name, re.ASCII):
            label = self._labels["boundary-file"]
            raise InputError(
                f"{label} is {name!r}: name a .json file; the policy gets its name without the"
                " ending."
            )
        if name and not (self.entries("templates") or self.entries("plans")):
            raise InputError(
                f"{self._labels['boundary-file']} is {name!r}, without {self._labels['templates']}"
                f" or {self._labels['plans']}: name those of the roles that the role creates."
            )
        return self.written_file("boundary-file", "policy-file")

    def validate_digests(self) -> bool:
        is_chosen, labels = self.boolean("validate-digests"), self._labels
        if is_chosen and self.entries("athena-table"):
            reason = f"{labels['athena-table']} is set: Athena reads files unvalidated"
            raise InputError(f"{labels['validate-digests']} is true, and {reason}.")
        for trail in self.entries("trails") if is_chosen else ():
            if trail != EVENT_HISTORY and not trail.startswith(("s3://", "arn:")):
                raise InputError(
                    f"{labels['validate-digests']} is true, and {labels['trails']} names {trail!r},"
                    " which has no digest files: name the trail's bucket, as s3://BUCKET/PREFIX."
                )
        return is_chosen

    def reviewed_refs(self) -> tuple[str, ...]:
        """Returns the refs and environments of reviewed runs; raises InputError for a pattern that
        would trust pull requests or every branch.
        """
        refs = self.entries("reviewed-refs")
        for ref in refs:
            name = ref.removeprefix("environment:").removeprefix("refs/heads/")
            if ":" in name and name == ref:
                raise InputError(
                    f"{self._labels['reviewed-refs']} names {ref!r}, which is no branch or tag:"
                    " write environment:NAME for an environment."
                )
            if not name.strip("*?/") or name.startswith(("refs/pull", "refs/*")):
                raise InputError(
                    f"{self._labels['reviewed-refs']} names {ref!r}, which every branch or pull"
                    " request matches: name branches (release/*), tags (refs/tags/v*) or"
                    " environments (environment:production)."
                )
        return refs

    def options(self) -> Options:
        """Returns the options of a proposal."""
        resources = self.one_of("resources")
        return Options(
            minimum_days=self.integer("minimum-days"),
            minimum_runs=self.integer("minimum-runs"),
            minimum_confidence=self.integer(
                "minimum-confidence", 0, 100, "write a percentage from 0 to 100"
            ),
            grace_days=self.integer("grace-days"),
            break_glass=self.entries("break-glass"),
            max_changes=self.integer("max-changes") if self.text["max-changes"] else None,
            unseen_services=UnseenServices(self.one_of("unseen-services")),
            drop_unseen_actions=self.one_of("unseen-actions") == "drop",
            lifecycle=Lifecycle(self.one_of("lifecycle")),
            complete_additions=CompleteAdditions(self.one_of("complete-additions")),
            only_plans=DeclaredPhases(self.one_of("declared-phases")) is DeclaredPhases.PLAN,
            copies=copies(self.text["copies"], self._labels["copies"]),
            keep=patterns(self._values.get("keep", ()), self._labels["keep"]),
            never_add=patterns(self._values.get("never-add", ()), self._labels["never-add"]),
            reviewed_refs=self.reviewed_refs(),
            unknown_refs=UnknownRefs(self.one_of("unknown-refs")),
            exact_resources=resources == "exact",
            keep_forms=resources == "keep",
        )
