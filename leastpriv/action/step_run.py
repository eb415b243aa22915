"""Builds the run of a step: targets, repository, job logs and AWS, from inputs and the runner's
environment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from leastpriv.aws.session import AwsSession
from leastpriv.config.settings import (
    AUTO_LOGS,
    GivenInputs,
    Mode,
    Settings,
    parse_settings,
    with_step_defaults,
)
from leastpriv.config.targets_file import (
    names_one_target,
    read_configuration,
    run_settings,
    with_settings,
    with_shared_settings,
)
from leastpriv.declared.files import StackFile
from leastpriv.errors import InputError, PullRequestError
from leastpriv.github_actions.context import Runner, repository_path
from leastpriv.github_actions.workflow_commands import Console
from leastpriv.pipeline.artifacts import check_report_files
from leastpriv.pipeline.context import JobLogs, RunContext, Target, TargetsFile, with_targets_file
from leastpriv.pipeline.saved_history import HistoryFile
from leastpriv.policy.source import Location
from leastpriv.pull_request.checkouts import Checkouts
from leastpriv.pull_request.models import is_branch_name
from leastpriv.report.escape import name as escaped_name
from leastpriv.report.guide import guide_url

if TYPE_CHECKING:
    from leastpriv.pull_request.github.repository import GitHubRepository
    from leastpriv.pull_request.github.state_branch import BranchStateStore

PUBLIC_PREFIX = "public:"
"""Before the name of an evidence branch in a public repository. No branch's name can begin so."""


def step_settings(given: GivenInputs, runner: Runner, console: Console) -> Settings:
    """Returns the settings of the run; a token that cannot write turns the mode pull-request into
    report.
    """
    given = with_step_defaults(given)
    if given.values["config"] and not names_one_target(given):
        repository_path(runner.workspace, str(given.values["config"]), "config")
        settings = run_settings(given)
    else:
        settings = parse_settings(given)
    # A run of a fork's pull request, or Dependabot's.
    if settings.mode is not Mode.PULL_REQUEST or not runner.has_read_only_token():
        return settings
    console.notice(
        "The token of this run is read-only (a pull request from a fork, or Dependabot's): the"
        " proposal is only reported, as with mode report.",
        title="Read-only token",
    )
    return replace(settings, mode=Mode.REPORT)


def _reviewed_settings(settings: Settings, runner: Runner) -> Settings:
    """Returns the settings of a target without templates and plans that no review has seen: these
    are reviewed, and add nothing to the base branch.
    """
    adds_declared = settings.mode is Mode.PULL_REQUEST and settings.declares
    if adds_declared and runner.may_have_unreviewed_code(settings.base):
        return replace(settings, templates=(), plans=(), declared=())
    return settings


def checkout_context(
    settings: Settings, environment: Mapping[str, str], runner: Runner, now: datetime
) -> RunContext:
    """Returns the run as the checkout alone gives it, without a repository; raises InputError."""
    session = AwsSession(environment, now, settings.aws_regions)
    logs = _job_logs(settings, runner)
    target = _checkout_target(settings, runner)
    settings = target.settings
    trails = tuple(
        repository_path(runner.workspace, name, "trails") for name in settings.trail_folders
    )
    check_cache_dir(settings, runner)
    return RunContext(
        settings=settings,
        targets=(target,),
        now=now,
        trails=trails,
        job_logs=logs,
        aws=session,
        run_url=runner.run_url_template,
        workflow=runner.workflow,
        guide=guide_url(runner.server_url, runner.action_repository, runner.action_ref),
    )


def check_cache_dir(settings: Settings, runner: Runner) -> None:
    """Raises InputError for a relative `cache-dir` that leads out of the workspace."""
    if settings.cache_dir and not Path(settings.cache_dir).is_absolute():
        repository_path(runner.workspace, settings.cache_dir, "cache-dir")


def with_repository(
    run: RunContext, given: GivenInputs, runner: Runner, github: GitHubRepository | None
) -> RunContext:
    """Adds repository and usage history, and the targets of the input `config`.

    Raises InputError where the targets file or an input is wrong, and PullRequestError where the
    repository cannot be read.
    """
    repositories = _Repositories(run.settings, runner, github)
    target_of = partial(_target, runner=runner, repositories=repositories)
    target = target_of(run.settings)
    if not given.values["config"] or names_one_target(given):
        return replace(run, targets=(target,))
    # In this run the policy file of the one target is the config.
    path = target.policy_path
    raw = _config_of(target)
    if raw is None:
        raise InputError(
            f"The input config names {path!r}, which does not exist: write it, or name another"
            " file."
        )
    configuration = read_configuration(raw, path)
    given = with_step_defaults(with_shared_settings(given, configuration))
    if configuration.settings:
        run = replace(run, settings=replace(run_settings(given), mode=run.settings.mode))
        check_cache_dir(run.settings, runner)
    trusted = None
    if target.folder is None:
        trusted = configuration
    elif configuration.readers:
        # The workspace may have the config of a pull request.
        base = _config_on_base(target)
        trusted = read_configuration(base, path) if base is not None else None
    file = TargetsFile(
        configuration=configuration,
        raw=raw,
        given=given,
        mode=run.settings.mode,
        target_of=target_of,
        repository=target.repository,
    )
    return with_targets_file(run, file, trusted)


def _config_of(target: Target) -> bytes | None:
    """Returns the config that counts: that of the base branch where pull requests are made or the
    workspace lacks it (the target has no folder), else that of the workspace. None: no such file.
    """
    if target.folder is None:
        return _config_on_base(target)
    file = target.folder / target.policy_path
    return file.read_bytes() if file.is_file() else None


def _config_on_base(target: Target) -> bytes | None:
    """Returns the config of the base branch; None without a repository or the file."""
    repository = target.repository
    if repository is None:
        return None
    commit = repository.branch_head(target.settings.base).commit
    return repository.read(commit, target.policy_path)


def with_settings_file(
    given: GivenInputs, settings: Settings, runner: Runner, github: GitHubRepository | None
) -> GivenInputs:
    """Returns the inputs of a run of one target with the settings of the input `config`.

    The file of the base branch counts where the run writes or reviews: the author of a pull request
    may have changed the one of the checkout.

    Raises:
        InputError: The file does not exist, or is wrong.
    """
    path = str(given.values["config"])
    file = repository_path(runner.workspace, path, "config")
    raw = None
    must_read_base = github is not None and settings.mode in (Mode.PULL_REQUEST, Mode.REVIEW)
    if file.is_file() and not must_read_base:
        raw = file.read_bytes()
    elif github is not None:
        base = github.branch_head(settings.base).commit
        raw = github.read(base, Path(path).as_posix())
    if raw is None:
        raise InputError(
            f"The input config names {path!r}, which does not exist: write it, or name another"
            " file."
        )
    return with_settings(given, raw, path)


def connect_github(settings: Settings, runner: Runner, console: Console) -> GitHubRepository | None:
    """Returns the repository on GitHub; None without a token, or where nothing is written and it is
    not reached.
    """
    if not (settings.github_token and runner.repository):
        return None
    # Imported here: a run without a token needs neither PyGithub nor what reads it.
    from leastpriv.pull_request.github.client import Connection, RequestDeadline
    from leastpriv.pull_request.github.repository import GitHubRepository

    try:
        connection = Connection.open(
            settings.github_token,
            runner.repository,
            api_url=runner.api_url,
            web_url=runner.server_url,
            deadline=RequestDeadline(time.sleep),
        )
    except PullRequestError as error:
        needed = settings.mode in (Mode.PULL_REQUEST, Mode.REVIEW) or bool(
            settings.history_location
        )
        if needed or not (runner.workspace / settings.policy.path).exists():
            # Without the file on disk the policy is unknown: that it does not exist would be a
            # guess.
            raise
        console.log(f"GitHub is left out: {error}")
        return None
    return GitHubRepository(connection)


class _Repositories:
    """The repositories on GitHub of a run: its own, and those that the config names."""

    def __init__(self, settings: Settings, runner: Runner, github: GitHubRepository | None) -> None:
        """`github`: that of the run; None without a token."""
        self._settings = settings
        self._runner = runner
        self._known: dict[str, GitHubRepository | None] = {"": github, runner.repository: github}
        self.checkouts = Checkouts()

    def of(self, name: str) -> GitHubRepository | None:
        """Returns a repository, connected once; raises InputError without a token, and
        PullRequestError where it cannot be read.
        """
        if name in self._known:
            return self._known[name]
        if not self._settings.github_token:
            raise InputError(
                f"The config names the repository {name}: give the input github-token the token of"
                " a GitHub App that may write there."
            )
        from leastpriv.pull_request.github.client import Connection, RequestDeadline
        from leastpriv.pull_request.github.repository import GitHubRepository

        runner = self._runner
        connection = Connection.open(
            self._settings.github_token,
            name,
            api_url=runner.api_url,
            web_url=runner.server_url,
            deadline=RequestDeadline(time.sleep),
        )
        self._known[name] = found = GitHubRepository(connection)
        return found


def _target(
    settings: Settings, repository: str = "", *, runner: Runner, repositories: _Repositories
) -> Target:
    """Returns a target in the workspace, or in another repository.

    Without a folder its files are read on GitHub: those of another repository, those that a pull
    request changes, and a policy file that the workspace lacks.
    """
    github_of_run = repositories.of("")
    github = repositories.of(repository)
    target = replace(
        _checkout_target(settings, runner),
        store=_history_store(settings, github_of_run),
        writes_store=not runner.has_read_only_token(),
        repository=github,
    )
    is_of_other_repository = bool(repository) and github is not github_of_run
    if is_of_other_repository:
        return replace(target, folder=None, other_repository=repository)
    if github is None and settings.mode is Mode.PULL_REQUEST:
        # Another forge, or none: the branch is made in the repository of the workspace.
        return replace(target, repository=repositories.checkouts.repository(runner.workspace))
    is_in_workspace = (runner.workspace / target.policy_path).exists()
    if github and (settings.mode is Mode.PULL_REQUEST or not is_in_workspace):
        return replace(target, folder=None)
    return target


def _checkout_target(settings: Settings, runner: Runner) -> Target:
    """Returns a target in the workspace; paths that lead out of it are denied."""
    settings = _reviewed_settings(settings, runner)
    policy = settings.policy
    inside = partial(repository_path, runner.workspace)
    paths_by_input = {
        "also-attached": tuple(Location.of(name).path for name in settings.attached_files),
        "trust-policy": (Location.of(settings.trust_policy).path,),
        "boundary-file": (settings.boundary_file,),
        "organization-policies": settings.organization_files,
        "other-policies": tuple(
            Location.of(policy.file).path for policy in settings.other_policies
        ),
        "terraform-plan": (settings.terraform_plan,),
        "templates": tuple(
            path for value in settings.templates for path in StackFile.of(value).paths
        ),
        "plans": tuple(value.partition("=")[2] or value for value in settings.plans),
        "declared": settings.declared,
    }
    inside(policy.path, "policy-file")
    for name, paths in paths_by_input.items():
        for path in filter(None, paths):
            inside(path, name)
    check_report_files(settings, inside, {})
    file = Path(policy.path).as_posix()
    return Target(
        settings, file, runner.workspace, pointer=policy.pointer, workspace=runner.workspace
    )


def _job_logs(settings: Settings, runner: Runner) -> JobLogs:
    """Returns the logs in the workspace and, for `auto`, those of the workflow run."""
    files = tuple(
        str(repository_path(runner.workspace, name, "job-logs"))
        for name in settings.job_logs
        if name != AUTO_LOGS
    )
    root = f"{runner.workspace.resolve()}/"
    if AUTO_LOGS not in settings.job_logs:
        return JobLogs(files, root=root)
    if not (settings.github_token and runner.repository and runner.run_id):
        raise InputError(
            "The input job-logs is 'auto', which reads the logs of this workflow run: give the"
            " input github-token."
        )
    from leastpriv.evidence.run_logs import WorkflowRunLogs

    run = WorkflowRunLogs(
        api_url=runner.api_url,
        repository=runner.repository,
        run_id=runner.run_id,
        attempt=runner.run_attempt,
        token=settings.github_token,
        sleep=time.sleep,
    )
    return JobLogs(files, run, root)


def _history_store(settings: Settings, github: GitHubRepository | None) -> BranchStateStore | None:
    """Returns the file of the evidence branch that keeps the usage history; None without the input.

    Raises InputError where the branch has another use, there is no token, or the repository is
    public.
    """
    if not settings.history_location:
        return None
    branch = settings.history_location.removeprefix(PUBLIC_PREFIX)
    forced = branch != settings.history_location
    if github is None:
        raise InputError(
            "The input evidence-branch is set, which needs GitHub: give the input github-token."
        )
    if not is_branch_name(branch):
        raise InputError(
            f"The input evidence-branch is {branch!r}: git does not take that as the name of a"
            " branch."
        )
    if branch in (
        settings.branch,
        github.branch_head(settings.base).name,
        github.branch_head("").name,
    ):
        raise InputError(
            f"The input evidence-branch is {branch!r}, which is in use: name a separate branch."
        )
    if github.is_public and not forced:
        raise InputError(
            "The input evidence-branch is set, and this repository is public: it would publish"
            f" what the role uses. Leave the input out, or write {PUBLIC_PREFIX}{branch} to accept"
            " that."
        )
    title = f"Remember what {escaped_name(settings.principal.name)} used"
    file = HistoryFile.of(settings.principal)
    return github.state_store(branch, file.path, title, file.longest)
