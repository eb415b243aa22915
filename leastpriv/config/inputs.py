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
    Input("role-arn", help="ARN of the role or user whose use is measured"),
    Input(
        "policy-file",
        help=(
            "the committed policy, or file#pointer where it stands in a larger file; drafted from usage where it does "
            "not exist"
        ),
    ),
    Input(
        "also-attached",
        several=True,
        help="another policy file of the same role, or a managed policy's ARN; never edited",
    ),
    Input(
        "mode",
        "pull-request",
        shell_default="report",
        help=(
            "report, check (exit code 3 on drift), pull-request (a branch in the local git repository) or review (the "
            "file on disk against the base branch; exit code 3 when it would refuse recorded calls)"
        ),
    ),
    Input(
        "trails",
        several=True,
        help=(
            "a folder of CloudTrail files, s3://BUCKET/PREFIX or a trail's ARN, or event-history: what CloudTrail "
            "keeps of the last 90 days"
        ),
    ),
    Input("lookback-days", "90", help="for sources without an end of their own; trail folders are read whole"),
    Input("minimum-days", "35", help="no removal before the evidence spans this many days"),
    Input("minimum-runs", "5", help="no removal before the evidence holds this many runs without a refusal"),
    Input("minimum-confidence", "80", help="no removal in a service before its runs give this confidence, in percent"),
    Input("grace-days", "30", help="what was added to the policy file within so many days is not removed"),
    Input("break-glass", several=True, help="pattern of session names of emergencies: their use keeps and never adds"),
    Input("max-changes", "0", help="largest number of changes of one proposal, the most certain first; 0: no limit"),
    Input("unseen-services", "keep", help="keep or drop wildcard grants of services without any call"),
    Input("resources", "pattern", help="pattern, exact or keep: how resources are written"),
    Input("keep", several=True, help="action pattern that is never removed"),
    Input("never-add", several=True, help="action pattern that is never added"),
    Input(
        "unknown-refs",
        help=(
            "mark or refuse: what becomes of additions by runs whose branch is not known (default: refuse for "
            "sensitive actions, mark for others)"
        ),
    ),
    Input("base", help="branch the proposal is based on"),
    Input("branch", help="branch the proposal is committed to"),
    Input("config", help="a YAML file with several targets, in place of --role-arn and --policy-file"),
    Input(
        "athena-table",
        help="[WORKGROUP/]DATABASE.TABLE of CloudTrail records in Amazon Athena; made over a trail in S3 where missing",
    ),
    Input(
        "aws-regions",
        several=True,
        help=(
            "a region in which the role works, where it works in no other: event history is read in these regions, "
            "and grants on * need no records of others (default: every region)"
        ),
    ),
    Input("wait-for-events", "0", help="minutes to wait at most until CloudTrail has delivered the newest events"),
    Input(
        "job-logs",
        several=True,
        help="a log of a failed deploy whose refusals are read: a file, a folder, a zip archive, - for standard input",
    ),
    Input(
        "access-analyzer",
        "off",
        help="off, or ARNs of a service role and a trail: has IAM Access Analyzer generate a policy as second opinion",
    ),
    Input(
        "last-accessed",
        "true",
        shell_default="false",
        help="true or false: whether IAM is asked when the role last used what it is granted",
    ),
    Input(
        "custom-policy-checks",
        "false",
        help="true or false: whether Access Analyzer's custom policy checks, which cost money, judge the proposal",
    ),
    Input(
        "trust-policy",
        help="the role's trust policy, or file#pointer: AWS judges it where it judges the proposal; never edited",
    ),
    Input("github-token", step_only=True, help="opens and updates the pull request"),
    Input("labels", "leastpriv", several=True, step_only=True, help="labels of the pull request"),
    Input("reviewers", several=True, step_only=True, help="people asked to review"),
    Input("team-reviewers", several=True, step_only=True, help="teams asked to review"),
    Input("assignees", several=True, step_only=True, help="people the pull request is assigned to"),
    Input("draft", "false", step_only=True, help="true or false: whether it is opened as a draft"),
    Input(
        "evidence-branch",
        option="--evidence-folder",
        help="folder that remembers usage between runs (docs/memory.md)",
    ),
    Input(
        "when-no-calls",
        "fail",
        help="fail, or report: what happens where the evidence has no call of the role, as of one that rests",
    ),
    Input("drift-report", "fail", step_only=True, help="fail, or issue: what becomes of drift in the mode check"),
    Input("cache-dir", help="folder that keeps what was read of trails between runs"),
    Input(
        "validate-digests",
        "false",
        help="true or false: whether files of trails in S3 count only where CloudTrail's digest files vouch for them",
    ),
    Input("sarif-file", help="file for what is granted and not used, at its lines, as SARIF for code scanning"),
    Input("page-file", help="file for the page (HTML) with every change and its evidence"),
)
