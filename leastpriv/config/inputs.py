"""The inputs of the public contract: names, defaults and help; action.yml has the same (tests compare)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the public contract (docs: action.yml)."""

    name: str
    default: str = ""
    shell_default: str = ""
    """Of the command, where it differs."""
    option: str = ""
    """The command line's option where it means something else than the input; else it is `--NAME`."""
    help: str = ""
    required: bool = False
    several: bool = False
    """A list: the option may be repeated."""
    step_only: bool = False
    """No option of the command line: it concerns a pull request on GitHub, or is a secret."""

    @property
    def flag(self) -> str:
        """The option on the command line, `--also-attached`."""
        return self.option or f"--{self.name}"


INPUTS: tuple[Input, ...] = (
    Input("role-arn", help="ARN of the role or user whose permissions are measured"),
    Input(
        "policy-file",
        help=(
            "the committed policy, or file#pointer for a policy inside a larger file; drafted from usage if it does "
            "not exist"
        ),
    ),
    Input(
        "also-attached",
        several=True,
        help="another policy file, or the ARN of a managed policy, attached to the same role; never edited",
    ),
    Input(
        "mode",
        "pull-request",
        shell_default="report",
        help=(
            "report, check (exit code 3 on drift), pull-request (a branch in the local git repository) or review (the "
            "file on disk against the base branch; exit code 3 if it would deny recorded calls)"
        ),
    ),
    Input(
        "trails",
        several=True,
        help=(
            "a folder of CloudTrail log files, s3://BUCKET/PREFIX, the ARN of a trail, log-group:NAME, or "
            "event-history (the last 90 days of the account)"
        ),
    ),
    Input(
        "templates",
        several=True,
        help=(
            "a CloudFormation or AWS SAM template as [STACK=]FILE, or a folder cdk.out: what its resources need is "
            "drafted before the first deploy and checked in a review"
        ),
    ),
    Input(
        "plans",
        several=True,
        help="a Terraform plan in JSON (terraform show -json PLAN): what its changes need, as of templates",
    ),
    Input(
        "declared-phases",
        "change",
        help=(
            "change, all or plan: draft from templates and plans what their change needs (create and roll back), what "
            "any later change needs too, or only what a role that plans reads"
        ),
    ),
    Input("lookback-days", "90", help="days of evidence to read; folders are read whole"),
    Input("minimum-days", "35", help="days that the evidence must span before a removal"),
    Input("minimum-runs", "5", help="runs without a denial that the evidence must contain before a removal"),
    Input(
        "minimum-confidence",
        "80",
        help="minimum confidence, in percent, that the next run needs no new action of a service",
    ),
    Input("grace-days", "30", help="days for which a permission that was added to the policy file is not removed"),
    Input(
        "break-glass",
        several=True,
        help="pattern of the session names used in an emergency: their use keeps and never adds",
    ),
    Input("max-changes", "0", help="largest number of changes, the most certain first; 0: no limit"),
    Input(
        "unseen-services",
        help=(
            "keep or drop: what happens to wildcard grants of services that were never called (default: drop from * "
            "and NotAction, keep in a wildcard that names the service)"
        ),
    ),
    Input(
        "unseen-actions",
        "keep",
        help=(
            "keep or drop: what happens to actions in a wildcard that a deployment may use without a recorded event "
            "(data events that no trail records)"
        ),
    ),
    Input(
        "lifecycle",
        "write",
        help=(
            "write, offer or off: what happens to actions that update, tag or delete resources that the role "
            "creates, before a run has used them"
        ),
    ),
    Input("resources", "pattern", help="pattern, exact or keep: how resources are written"),
    Input("keep", several=True, help="action pattern that is never removed"),
    Input("never-add", several=True, help="action pattern that is never added"),
    Input(
        "unknown-refs",
        help=(
            "mark or refuse additions from runs whose branch is unknown (default: refuse sensitive actions, mark "
            "others)"
        ),
    ),
    Input("base", help="branch the proposal is based on"),
    Input("branch", help="branch the proposal is committed to"),
    Input("config", help="a YAML file with several targets, instead of --role-arn and --policy-file"),
    Input(
        "athena-table",
        help="[WORKGROUP/]DATABASE.TABLE of CloudTrail records in Amazon Athena; created over a trail in S3 if missing",
    ),
    Input(
        "aws-regions",
        several=True,
        help=(
            "a region in which the role works; list all of them: other regions are not read, and grants on * need no "
            "records of them (default: every region)"
        ),
    ),
    Input("wait-for-events", "0", help="longest time, in minutes, to wait for the newest events"),
    Input(
        "job-logs",
        several=True,
        help="a log of a failed deploy whose denials are read: a file, a folder, a zip archive, - for standard input",
    ),
    Input(
        "access-analyzer",
        "off",
        help="off, or ARNs of a service role and a trail: IAM Access Analyzer generates a policy as a second opinion",
    ),
    Input(
        "last-accessed",
        "true",
        shell_default="false",
        help="true asks IAM when the role last used its permissions",
    ),
    Input(
        "denial-details",
        "true",
        shell_default="false",
        help=(
            "true or false: ask AWS which policies denied the calls of the last 24 hours, for denials with an "
            "authorization ID"
        ),
    ),
    Input(
        "organization-policies",
        "false",
        help="true or false: whether AWS simulates the proposal under the account's service control policies",
    ),
    Input(
        "custom-policy-checks",
        "false",
        help="true has Access Analyzer's custom policy checks, which cost money, validate the proposal",
    ),
    Input(
        "trust-policy",
        help="the role's trust policy, or file#pointer: AWS validates it together with the proposal; never edited",
    ),
    Input(
        "terraform-plan",
        help="output of `terraform show -json PLAN`: the values of a Terraform policy's expressions",
    ),
    Input("github-token", step_only=True, help="opens and updates the pull request"),
    Input("labels", "leastpriv", several=True, step_only=True, help="labels of the pull request"),
    Input("reviewers", several=True, step_only=True, help="people asked to review"),
    Input("team-reviewers", several=True, step_only=True, help="teams asked to review"),
    Input("assignees", several=True, step_only=True, help="people the pull request is assigned to"),
    Input("draft", "false", step_only=True, help="true opens it as a draft"),
    Input(
        "evidence-branch",
        option="--evidence-folder",
        help="folder that stores usage between runs (docs/memory.md)",
    ),
    Input(
        "when-no-calls",
        "fail",
        help="fail or report: what happens if the evidence has no call of the role",
    ),
    Input("drift-report", "fail", step_only=True, help="fail or issue: what happens if check finds drift"),
    Input(
        "fail-on",
        "none",
        help="none or escalation: whether check fails if the policy lets an attacker become administrator",
    ),
    Input("boundary-file", help="file for the draft of a permissions boundary of the roles that the role creates"),
    Input("cache-dir", help="folder that keeps the calls read from trails between runs"),
    Input(
        "validate-digests",
        "false",
        help="true accepts log files of a trail in S3 only if CloudTrail's digest files confirm them",
    ),
    Input("sarif-file", help="file for unused grants at their lines, as SARIF for code scanning"),
    Input("page-file", help="file for the HTML page with every change and its evidence"),
)
