"""Builds the run of a command: every path starts at the current folder, the repository is that of the policy file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from leastpriv.aws.session import AwsSession
from leastpriv.config.settings import AUTO_LOGS, GivenInputs, Mode, Settings, parse_settings
from leastpriv.config.targets_file import (
    TargetEntry,
    entry_text,
    first_file_template,
    read_configuration,
    run_settings,
    settings_of,
)
from leastpriv.config.validators import entries
from leastpriv.errors import InputError, PullRequestError
from leastpriv.evidence.history.file import LONGEST_FILE
from leastpriv.pipeline.account_sessions import account_sessions
from leastpriv.pipeline.artifacts import check_report_files
from leastpriv.pipeline.context import JobLogs, RunContext, Target, TargetsFile
from leastpriv.pipeline.history import history_path
from leastpriv.pull_request.git_repository import GitRepository
from leastpriv.pull_request.state_store import FolderStateStore


def command_context(found: Settings, environment: Mapping[str, str], now: datetime) -> RunContext:
    """Returns the run of one target.

    Raises:
        InputError: an input that only a step can have is given.
        PullRequestError: a mode that needs a git repository finds none.
    """
    if AUTO_LOGS in found.job_logs:
        raise InputError("--job-logs auto reads the logs of a step's workflow run: here, name files of logs.")
    return RunContext(
        found,
        (command_target(found),),
        now,
        tuple(Path(name) for name in found.trail_folders),
        JobLogs(now, found.job_logs),
        AwsSession(environment, now, found.aws_regions),
    )


def command_target(found: Settings) -> Target:
    """Returns the target of a command.

    Raises:
        PullRequestError: a mode that needs a git repository finds none.
    """
    policy = Path(found.policy.path)
    absolute = policy.parent.resolve() / policy.name
    pointer, store = found.policy.pointer, None
    if found.history_location:
        store = FolderStateStore(Path(found.history_location), history_path(found.principal), LONGEST_FILE)
    if found.mode not in (Mode.PULL_REQUEST, Mode.REVIEW):
        return Target(
            found,
            policy.as_posix(),
            Path(),
            pointer=pointer,
            changed=_changed_on_disk(absolute),
            earlier=partial(_earlier_on_disk, absolute),
            store=store,
        )
    root = _repository_root(absolute) or absolute.parent
    path = absolute.relative_to(root).as_posix()
    return Target(found, path, Path(), GitRepository.open(root), pointer, store=store)


def targets_context(given: GivenInputs, environment: Mapping[str, str], now: datetime, *, discover: bool) -> RunContext:
    """Returns the run of all targets of `--config`; `discover` starts without it from the one target of the options.

    Raises:
        InputError: the targets file or an option is wrong.
        PullRequestError: a mode that needs a git repository finds none.
    """
    raw, path, given = _targets_file(given, discover=discover)
    whole = run_settings(replace(given, values={**given.values, "config": path}))
    run = command_context(whole, environment, now)
    (config,) = run.targets
    configuration = read_configuration(raw, config.policy_path)
    if discover and not configuration.discover:
        first = str(configuration.entries[0].values["policy-file"])
        configuration = replace(configuration, discover=first_file_template(first))
    if configuration.discover and config.repository and Path(config.policy_path).resolve() != Path(path).resolve():
        raise InputError(
            "First files and their config are named from the root of the repository: run --mode pull-request there."
        )

    def entry_settings(entry: TargetEntry, role: str) -> Settings:
        return replace(settings_of(entry, role, given), mode=whole.mode)

    file = TargetsFile(configuration, raw, entry_settings, command_target, config.repository)
    # The config is that of the person whose credentials the command uses.
    sessions = account_sessions(configuration, configuration, run.aws) if run.aws else {}
    named = tuple(file.target(entry, entry.role) for entry in configuration.entries if not entry.is_pattern)
    return replace(run, targets=named, file=file, sessions=sessions)


def check_output_files(found: Settings, labels: Mapping[str, str], folder: str | None) -> None:
    """Raises InputError for report files that would replace a policy or a file of the run."""
    check_report_files(found, lambda value, _: Path(value), labels, folder)


def _targets_file(given: GivenInputs, *, discover: bool) -> tuple[bytes, str, GivenInputs]:
    """Returns the text of the targets file, its path and the inputs; without a file, one of the one target."""
    path = str(given.values.get("config") or "")
    if path:
        try:
            return Path(path).read_bytes(), path, given
        except OSError as error:
            label = given.labels["config"]
            raise InputError(f"{label} names {path!r}, which cannot be read: {error.strerror}.") from error
    one = parse_settings(given)
    path = "leastpriv.yml"
    if Path(path).exists() and discover:
        raise InputError(f"--discover would write {path}, which is there already: name it with --config.")
    text = "targets:\n" + entry_text(
        one.principal.arn, one.policy_file, also_attached=entries(given.values.get("also-attached", ()))
    )
    own = ("role-arn", "policy-file", "also-attached", "trust-policy", "branch")
    shared = {name: value for name, value in given.values.items() if name not in own}
    return text.encode(), path, replace(given, values=shared)


def _repository_root(file: Path) -> Path | None:
    """Returns the root of the git repository around a file, if there is one."""
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


def _earlier_on_disk(file: Path, time: datetime) -> bytes | None:
    """Returns a file as it was committed at a time, or at first; None where no repository has it."""
    root = _repository_root(file)
    if root is None:
        return None
    try:
        repository = GitRepository.open(root)
        head = repository.commit_at("HEAD")
        return repository.read_at(head, file.relative_to(root).as_posix(), time) if head else None
    except PullRequestError:
        return None


def _changed_on_disk(file: Path) -> datetime | None:
    """Returns when a file was last changed: by its commit where it equals that, else by its time on disk."""
    root = _repository_root(file)
    if root and (found := _committed_at(root, file)):
        return found
    return datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.is_file() else None


def _committed_at(root: Path, file: Path) -> datetime | None:
    path = file.relative_to(root).as_posix()
    try:
        repository = GitRepository.open(root)
        head = repository.commit_at("HEAD")
        if head is None or repository.read(head, path) != file.read_bytes():
            return None
        return repository.last_changed(head, path)
    except (PullRequestError, OSError):
        return None
