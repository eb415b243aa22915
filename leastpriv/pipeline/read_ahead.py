"""Reads what a run needs of the repositories of its targets, for all targets together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from leastpriv.errors import PullRequestError
from leastpriv.pipeline.context import Target
from leastpriv.policy.size import numbered_file
from leastpriv.policy.source import Location
from leastpriv.pull_request.models import TargetFiles

if TYPE_CHECKING:
    from leastpriv.pipeline.context import Repository
    from leastpriv.pull_request.git_repository import GitRepository
    from leastpriv.pull_request.github.repository import GitHubRepository


def read_ahead(targets: Sequence[Target]) -> None:
    """Reads branches, pull requests and files of all targets, repository by repository.

    What cannot be read so is read when it is needed, and fails there.
    """
    repositories: dict[int, Repository] = {}
    targets_of: dict[int, list[Target]] = {}
    for target in targets:
        repository = target.repository
        if repository:
            repositories[id(repository)] = repository
            targets_of.setdefault(id(repository), []).append(target)
    for repository_id, repository in repositories.items():
        with suppress(PullRequestError):
            if repository.github is None:
                _read_checkout(repository, targets_of[repository_id])
            else:
                _read_github(repository.github, targets_of[repository_id])


def _read_checkout(repository: GitRepository, targets: Sequence[Target]) -> None:
    """Reads the files of targets together, as the base branch has them."""
    commit = repository.branch_head(targets[0].settings.base).commit
    paths = [target.policy_path for target in targets]
    for target in targets:
        paths.extend(_other_files(target))
    repository.read_ahead(commit, dict.fromkeys(paths))


def _read_github(github: GitHubRepository, targets: Sequence[Target]) -> None:
    """Requests together what the targets of one repository read; after a failure each reads for
    itself.
    """
    base = targets[0].settings.base
    by_branch: dict[str, TargetFiles] = {}
    for target in targets:
        for branch in target.branches:
            branch_files = by_branch.get(branch, TargetFiles(branch))
            by_branch[branch] = branch_files.with_files(target.policy_path, _other_files(target))
    github.read_ahead(base, tuple(by_branch.values()), labels_of(targets[0]))


def labels_of(target: Target) -> tuple[str, ...]:
    """Returns the label by which pull requests of other branches are listed; empty: all are."""
    return target.settings.pull_request_options.labels[:1]


def _other_files(target: Target) -> tuple[str, ...]:
    """Returns the files that a run may read or write in addition to the policy file."""
    settings = target.settings
    file_names = [*settings.attached_files, settings.trust_policy, settings.boundary_file]
    paths = [Location.of(name).path for name in file_names if name]
    if not target.pointer:
        paths.append(numbered_file(target.policy_path, 2))
    return tuple(dict.fromkeys(paths))
