"""The action as a step of a job: runs the flow, then writes annotations, comments, files, outputs
and the summary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, TextIO

from leastpriv.action.step_run import (
    checkout_context,
    connect_github,
    step_settings,
    with_repository,
    with_settings_file,
)
from leastpriv.config.settings import GivenInputs, Mode, Settings, step_inputs
from leastpriv.config.targets_file import names_one_target
from leastpriv.errors import InputError, PullRequestError
from leastpriv.github_actions.context import (
    PullRequestEvent,
    Runner,
    append_summary,
    exit_code_of,
    repository_path,
    write_outputs,
    write_summary,
)
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.artifacts import (
    annotate_changes,
    annotate_drift,
    damage_notes,
    difference_sentence,
    outputs_of,
    report_escalation,
    report_failures,
    report_published,
    run_notes,
    run_summary,
    write_reports,
    write_result,
)
from leastpriv.pipeline.context import DRIFT_EXIT_CODE, RunContext, RunResult, Target, TargetResult
from leastpriv.pipeline.propose import propose
from leastpriv.policy.source import Location, is_hcl, may_decide
from leastpriv.pull_request.lifecycle import IssueStep
from leastpriv.pull_request.models import PullRequestOperation
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import (
    context_findings,
    finding_ids,
    issue_body,
    issue_marker,
    issue_title,
)
from leastpriv.report.escape import code

if TYPE_CHECKING:
    from leastpriv.pull_request.github.repository import GitHubRepository


def step(
    environment: Mapping[str, str], runner: Runner, console: Console, clock: Callable[[], datetime]
) -> int:
    """Runs the action once; returns the step's exit code.

    A review, and a check without evidence, have steps of their own; any other run makes and
    publishes proposals.

    Raises:
        LeastprivError: an input is wrong, or the proposal could not be made; one that was made is
            written nevertheless.
    """
    refuse_configuration_of_checkout(environment, runner.workspace)
    given = step_inputs(environment)
    settings = step_settings(given, runner, console)
    connect = cache(partial(connect_github, settings, runner, console))
    if names_one_target(given):
        given = with_settings_file(given, settings, runner, connect())
        settings = step_settings(given, runner, console)
    run = checkout_context(settings, environment, runner, clock())
    if settings.declares and not run.settings.declares:
        console.notice(
            "Templates and plans are left out: this run may have the code of a pull request or of"
            " an unprotected branch. Compare them with mode review.",
            title="Not the base branch",
        )
    settings = run.settings
    if settings.mode is Mode.REVIEW:
        return review_step(run, connect(), runner, console)
    from leastpriv.pipeline.review import checks_declarations_alone

    if checks_declarations_alone(run):
        return check_step(run, runner, console)
    return propose_step(run, given, connect, runner, console)


class _ResultWriter:
    """Writes `proposal.json`, the policies and the job's summary, before and after publishing."""

    def __init__(self, runner: Runner) -> None:
        self._folder = runner.output_folder
        self._summary = runner.summary_file
        self._summary_start = 0
        """Bytes of the summary that earlier steps wrote, which are kept."""
        if self._summary and self._summary.exists():
            self._summary_start = self._summary.stat().st_size

    def write_proposals(self, result: RunResult, settings: Settings) -> None:
        """Writes everything, so that a run that ends while it publishes leaves the proposals."""
        codes = [target_result.exit_code for target_result in result.targets]
        write_result(result, self._folder, codes, has_files=False)
        self._write_summary(result, settings)

    def write_published(self, result: RunResult, settings: Settings, codes: Sequence[int]) -> Path:
        """Writes again what publishing decides: the index of several targets, their exit codes and
        the summary. Returns the path of `proposal.json`.
        """
        # A run without targets has no codes, and no files of targets either.
        written = write_result(result, self._folder, codes, has_files=bool(codes))
        self._write_summary(result, settings)
        return written

    def _write_summary(self, result: RunResult, settings: Settings) -> None:
        if self._summary:
            write_summary(self._summary, run_summary(result, settings), self._summary_start)


def propose_step(
    run: RunContext,
    given: GivenInputs,
    connect: Callable[[], GitHubRepository | None],
    runner: Runner,
    console: Console,
) -> int:
    """Makes, publishes and reports the proposals; returns the step's exit code.

    Args:
        run: The run as the checkout gives it.
        given: The inputs of the step.
        connect: Returns the repository on GitHub; None without a token.
        runner: The runner of the job.
        console: The log of the step.
    """
    writer = _ResultWriter(runner)
    with console.group("Least privilege from evidence"):
        github = connect()
        run = with_repository(run, given, runner, github)
        settings = run.settings
        result = propose(run, lambda proposed: writer.write_proposals(proposed, settings))
    _report_result(result, github, console)
    codes = _exit_codes(result, settings, github, runner, console)
    proposal_file = writer.write_published(result, settings, codes)
    write_outputs(runner.output_file, outputs_of(result, proposal_file.as_posix(), codes))
    write_reports(result, settings, partial(repository_path, runner.workspace))
    return result.exit_code(codes)


def _report_result(result: RunResult, github: GitHubRepository | None, console: Console) -> None:
    """Logs what was published, and writes the annotations and warnings."""
    report_published(result, console)
    warn_of_pull_requests(github, console, result)
    annotate_targets(result, console)
    for note in damage_notes(result):
        console.warning(note, title="Damaged files")
    for note in run_notes(result):
        console.warning(note, title="Not remembered" if result.single else "Several targets")


def _exit_codes(
    result: RunResult,
    settings: Settings,
    github: GitHubRepository | None,
    runner: Runner,
    console: Console,
) -> list[int]:
    """Returns the exit code of each target, after its failure is logged or its tracking issue
    written.
    """
    keeps_issues = (
        settings.mode is Mode.CHECK and settings.drift_issue and not runner.has_read_only_token()
    )
    if keeps_issues and github:
        return [
            _track_drift(target_result, github, console, runner.run_url)
            for target_result in result.targets
        ]
    report_failures(result, console)
    return [target_result.exit_code for target_result in result.targets]


def _track_drift(
    result: TargetResult, github: GitHubRepository, console: Console, run_url: str
) -> int:
    """Opens, edits or closes the tracking issue of a target; returns the exit code of the
    target.

    - 0 with drift too: the issue shows it, so that the scheduled run need not fail.
    - `DRIFT_EXIT_CODE` where the committed policy leads to administrator and the inputs fail that.
    - 1 where the issue could not be written.
    - The target's own exit code where it failed or its evidence lacks calls: without a call no
      finding is settled, and the issue is left as it is.
    """
    context = result.context
    if context is None:
        console.error(f"{result.target.shown_role}: {result.failure}")
        return result.exit_code
    if context.missing_calls:
        fails_the_run = result.lacks_calls
        show = console.error if fails_the_run else console.warning
        show(context.missing_calls)
        return result.exit_code
    if not _write_issue(context, github, console, run_url):
        return 1
    report_escalation(result, console)
    if result.unread_users:
        console.error(result.unread_users)
        return 1
    return DRIFT_EXIT_CODE if result.leads_to_administrator else 0


def _write_issue(
    context: ReportContext, github: GitHubRepository, console: Console, run_url: str
) -> bool:
    """Brings the tracking issue to what differs now; returns whether that worked."""
    findings = context_findings(context)
    try:
        step, url = github.tracking_issues().update(
            issue_marker(context),
            finding_ids(findings),
            issue_title(context),
            issue_body(findings, context, run_url),
        )
    except PullRequestError as error:
        prefix = ""
        if findings:
            prefix = f"{difference_sentence(context)}, and its issue could not be kept: "
        console.error(f"{prefix}{error}")
        return False
    if step in (IssueStep.OPEN, IssueStep.EDIT, IssueStep.REOPEN):
        warn_if_public(github, console, "the tracking issue")
    step_text = "left as it is" if step is IssueStep.NOTHING else step.value
    if url:
        console.log(f"Tracking issue {step_text}: {url}")
    else:
        console.log("Nothing differs, and there is no tracking issue.")
    return True


_CONFIGURATION = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}
"""Variable -> the file that botocore reads without it."""


def refuse_configuration_of_checkout(environment: Mapping[str, str], workspace: Path) -> None:
    """Raises InputError where the configuration of the AWS SDK is a file of the checkout.

    It may name a command (`credential_process`) and other hosts (`endpoint_url`), and the author of
    a pull request writes it.
    """
    root = workspace.resolve()
    home = environment.get("HOME", "")
    for name, default in _CONFIGURATION.items():
        given = environment.get(name, "")
        file = given or default
        # As botocore reads it.
        file = Template(file).safe_substitute(environment)
        if file.startswith("~/"):
            file = home + file.removeprefix("~")
        path = Path(root, file)
        if not path.resolve().is_relative_to(root):
            continue
        if given or path.exists():
            named = name if given else "HOME"
            raise InputError(
                f"{named} names a file of the checkout, {file!r}, which may run commands with the"
                " job's credentials: give the keys by aws-actions/configure-aws-credentials, and"
                f" leave {named} out."
            )


def action_main(
    environment: Mapping[str, str], stdout: TextIO, stderr: TextIO, clock: Callable[[], datetime]
) -> int:
    """Runs the action once; returns the exit code of its step."""
    runner = Runner.from_environment(environment)
    console = Console(stdout, stderr, in_actions=runner.in_actions)
    console.mask(environment.get("INPUT_GITHUB-TOKEN", ""))
    return exit_code_of(
        partial(step, environment, runner, console, clock), console, verbose=runner.debug
    )


MAX_FINDINGS = 9
"""GitHub shows ten warnings of one step (actions/toolkit, docs/problem-matchers.md, read
2026-11-26); one is left for other messages."""
_MAX_TARGETS = 3
_MAX_TARGET_FINDINGS = 3
"""Of several targets: how many have annotations, and of how many findings each."""


def warn_if_public(github: GitHubRepository | None, console: Console, written: str) -> None:
    """Warns where a repository is public; `written` names the text that its readers see, in trusted
    words.
    """
    if github and github.is_public:
        console.warning(
            "This repository is public: everyone can read the ARNs, account IDs and names of"
            f" resources in {written}. If any of these is secret, move the policy to a private"
            " repository.",
            title="Public repository",
        )


def warn_of_pull_requests(
    github: GitHubRepository | None, console: Console, result: RunResult
) -> None:
    """Warns of a public repository where a pull request was opened or changed."""
    first = result.first_files.published if result.first_files else None
    published = filter(
        None, [first, *(target_result.published for target_result in result.targets)]
    )
    written = (PullRequestOperation.CREATED, PullRequestOperation.UPDATED)
    if any(each.url and each.operation in written for each in published):
        warn_if_public(github, console, "the pull request")


def annotate_targets(result: RunResult, console: Console) -> None:
    """Annotates the one target, or a few of several that change: GitHub shows ten annotations of a
    kind a step.
    """
    if result.single:
        _annotate(result.single, console, MAX_FINDINGS)
        return
    without_calls = [
        target_result
        for target_result in result.targets
        if target_result.context and not target_result.context.evidence.counts.calls
    ]
    changing = [
        target_result
        for target_result in result.targets
        if target_result.has_changes or target_result in without_calls
    ]
    for each in changing[:_MAX_TARGETS]:
        _annotate(each, console, _MAX_TARGET_FINDINGS)


def _annotate(result: TargetResult, console: Console, max_findings: int) -> None:
    """Annotates the changes of one target, or in the mode check its first findings; nothing for a
    target that failed.
    """
    context = result.context
    if context is None:
        return
    if not context.evidence.counts.calls and not result.lacks_calls:
        console.warning(
            context.missing_calls or f"No call of {context.principal} was found.",
            title="No evidence",
        )
    if result.target.settings.mode is Mode.CHECK:
        annotate_drift(context, console, max_findings)
    else:
        annotate_changes(context, console)


def review_step(
    run: RunContext, github: GitHubRepository | None, runner: Runner, console: Console
) -> int:
    """Reviews the pull request that started the run; returns the step's exit code.

    Raises InputError where there is no token or no pull request, or an input is wrong, and
    PullRequestError where GitHub does not let the two versions be read.
    """
    if github is None:
        raise InputError(
            "The input github-token is empty: leave it out, a review reads both versions on GitHub."
        )
    (target,) = run.targets
    pull = runner.pull_request_event()
    base = github.branches.fork_point(pull.base, pull.head)
    if not target.settings.declares and _has_same_policy(target, github, base, pull.head):
        from leastpriv.report.review import review_marker

        path = target.policy_name
        console.log(f"The pull request #{pull.number} does not change {path}: nothing to review.")
        text = (
            f"This pull request does not change {code(path)} any"
            f" more.\n\n{review_marker(target.role, path)}\n"
        )
        write_outputs(runner.output_file, {"has-changes": "false"})
        return 0 if _comment(github, pull, text, (runner, console), create=False) else 1
    from leastpriv.pipeline.infrastructure import RepositoryVersion
    from leastpriv.pipeline.review import report_review, review_outputs, run_review

    versions = (RepositoryVersion.of(github, each) for each in (base, pull.head))
    with console.group("Review of the policy"):
        result = run_review(run, *versions)
    write_outputs(runner.output_file, review_outputs(result))
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.whole}")
    commented = _comment(github, pull, result.body, (runner, console), create=result.has_changes)
    if result.context.review.has_new_access_without_evidence:
        text = "This edit allows permissions that no evidence asks for: see the job's summary."
        console.warning(text, file=result.context.policy_path, title="New access")
    return report_review(result, console) or (0 if commented else 1)


def _has_same_policy(target: Target, github: GitHubRepository, base: str, head: str) -> bool:
    """Whether no file that decides about the policy of a target differs between two commits."""
    return all(
        github.read(base, path) == github.read(head, path)
        for path in _deciding_files(target, github, commits=(base, head))
    )


def _deciding_files(target: Target, github: GitHubRepository, commits: Sequence[str]) -> list[str]:
    """Returns the files that decide what the policy of a target allows.

    For `iam/ci.json` that file and those of `also-attached`; for `iam/ci.tf` also the other files
    of `iam` that Terraform reads (`.tf`, `.tfvars`, `.json`), as an expression may refer to them.
    """
    attached = (Location.of(name).path for name in target.settings.attached_files)
    files = {target.policy_path, *attached}
    for path in filter(is_hcl, sorted(files)):
        folder = path.rpartition("/")[0]
        for commit in commits:
            files.update(
                file_of_folder
                for file_of_folder in github.paths(commit, folder)
                if may_decide(file_of_folder)
            )
    return sorted(files)


def check_step(run: RunContext, runner: Runner, console: Console) -> int:
    """Compares the policy with what templates and plans need; returns the step's exit code."""
    from leastpriv.pipeline.review import check_declarations, report_review, review_outputs

    with console.group("Needs of templates and plans"):
        result = check_declarations(run)
    write_outputs(runner.output_file, review_outputs(result))
    if runner.summary_file:
        append_summary(runner.summary_file, f"## {result.title}\n\n{result.whole}")
    return report_review(result, console)


def _comment(
    github: GitHubRepository,
    pull: PullRequestEvent,
    body: str,
    here: tuple[Runner, Console],
    *,
    create: bool,
) -> bool:
    """Writes or edits the comment; returns whether that worked. A fork's run cannot write: there
    the summary has it.
    """
    runner, console = here
    if runner.has_read_only_token():
        console.log("The token of this run is read-only: the review is in the job's summary alone.")
        return True
    text, _, mark = body.rstrip().rpartition("\n")
    try:
        if github.pull_requests.head_of(pull.number) != pull.head:
            console.log("The pull request has newer commits, so their run writes the comment.")
            return True
        url = github.pull_requests.upsert_comment(pull.number, mark, text, create=create)
    except PullRequestError as error:
        console.error(f"The comment could not be written: {error}")
        return False
    if url:
        console.log(f"Comment: {url}")
        warn_if_public(github, console, "the review")
    return True
