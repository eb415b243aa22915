"""Reads what people did with the proposals of a target: what they brought back of its removals, and
which additions they took away from its branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from leastpriv.errors import PolicyFileError
from leastpriv.evidence.usage_history import (
    ANYTHING,
    Returned,
    RevertedRemoval,
    is_action_pattern,
    is_resource,
    limit_returned,
)
from leastpriv.models import Permission
from leastpriv.pipeline.context import ScopeName, Target, TargetIdentity
from leastpriv.pipeline.load_policies import folder_of, read_attached
from leastpriv.policy.document import Document
from leastpriv.policy.size import numbered_file
from leastpriv.policy.source import Location
from leastpriv.proposal.models import addition_id, fingerprint
from leastpriv.proposal.reverted_changes import (
    RestoredGrant,
    entries_with_id,
    missing_additions,
    removals_of_granted,
    restored_grants,
)
from leastpriv.pull_request.git_repository import trailer_fingerprint
from leastpriv.pull_request.github.repository import GitHubRepository
from leastpriv.pull_request.lifecycle import ClosedPullRequest, OpenPullRequest

MAX_MERGED = 10
"""Merged pull requests, each read twice, that are searched for what came back, for additions that
are missing, or for the removal of a permission that is denied now.
"""
_NEWEST = 2
"""Merged pull requests whose commits are read where the run does not know them."""
_MOST_FILES = 20
"""A proposal never has more policy files."""


class MergedProposal(Struct, frozen=True):
    """A merged pull request with the target's changes in it."""

    pull: ClosedPullRequest
    merged_at: datetime
    changes: tuple[str, ...]
    """Ids of the target's changes."""


class ReturnedGrants:
    """Collects what came back after the removals of merged proposals."""

    def __init__(self) -> None:
        """Begins without a grant."""
        self._removals: dict[Permission, RevertedRemoval] = {}

    def add(self, grant: RestoredGrant, removal: RevertedRemoval) -> None:
        """Adds a grant that came back after a removal; of two removals of it the later one
        counts.
        """
        permission = Permission(
            grant.pattern if is_action_pattern(grant.pattern) else ANYTHING,
            grant.resource if is_resource(grant.resource) else ANYTHING,
        )
        earlier = self._removals.get(permission, removal)
        self._removals[permission] = max(earlier, removal)

    def limited(self) -> Returned:
        """Returns the grants; of too many, wider ones (`limit_returned`)."""
        return limit_returned(
            {
                (permission.action, permission.resource): removal
                for permission, removal in self._removals.items()
            }
        )


def ids_of_grant(grant: RestoredGrant) -> frozenset[str]:
    """Returns the ids of the additions that may have brought a grant."""
    return frozenset(
        {
            addition_id(grant.entry.action, grant.entry.resource),
            addition_id(grant.pattern, grant.resource),
        }
    )


class MergedProposals:
    """The merged proposals of a target on GitHub."""

    def __init__(
        self,
        host: GitHubRepository,
        target: Target,
        identity: TargetIdentity,
        proposals: Iterable[MergedProposal],
    ) -> None:
        """Reads nothing yet.

        Args:
            host: The repository.
            target: The target.
            identity: Its names.
            proposals: Those that were merged.
        """
        self._host = host
        self._target = target
        self._identity = identity
        self._newest_first = sorted(
            proposals, key=lambda proposal: proposal.pull.number, reverse=True
        )

    def restored(self, committed: Document | None, base: str) -> Returned:
        """Returns the grants of the committed policy that a merged proposal removes, by pattern of
        actions and resource.

        A person left them on the branch before the merge, or granted them again by hand; or a later
        proposal added what was denied then.

        Args:
            committed: The present policy.
            base: Its commit.
        """
        if committed is None or not self._newest_first:
            return {}
        restored = ReturnedGrants()
        for proposal in self._to_read(committed, base):
            for grant in self._restored_of(proposal, committed):
                removal = RevertedRemoval(
                    refused=proposal.merged_at.date(),
                    pull=proposal.pull.number,
                    merged=proposal.merged_at.replace(microsecond=0),
                    by_person=not self._is_added_later(grant, proposal),
                )
                restored.add(grant, removal)
        return restored.limited()

    def _to_read(self, committed: Document, base: str) -> Sequence[MergedProposal]:
        """Returns the proposals of which something may have come back: first those that name a
        removal of a granted action.
        """
        granted = removals_of_granted(committed)
        to_read: list[MergedProposal] = []
        others: list[MergedProposal] = []
        for proposal in self._newest_first:
            if granted.isdisjoint(proposal.changes):
                others.append(proposal)
            else:
                to_read.append(proposal)
        edited_at = self._host.branches.changed_by_others(
            base, self._target.policy_path, self._commits_of_program()
        )
        for number, proposal in enumerate(others):
            is_edited_since = edited_at is not None and edited_at > proposal.merged_at
            if is_edited_since or self._has_commits_of_others(proposal, is_new=number < _NEWEST):
                to_read.append(proposal)
        return to_read[:MAX_MERGED]

    def _commits_of_program(self) -> frozenset[str]:
        """Returns the merges, and the commits of this program that they brought."""
        pulls = self._host.pull_requests
        commits = {proposal.pull.merge_commit for proposal in self._newest_first}
        for proposal in self._newest_first:
            number = proposal.pull.number
            if pulls.knows_commits(number):
                commits.update(commit.sha for commit in pulls.first_commits(number)[:1])
        return frozenset(commits)

    def _has_commits_of_others(self, proposal: MergedProposal, *, is_new: bool) -> bool:
        """Whether the branch of a merged proposal had more than its commit, as far as that is known
        or worth a request.
        """
        pulls = self._host.pull_requests
        number = proposal.pull.number
        if not is_new and not pulls.knows_commits(number):
            return False
        return len(pulls.first_commits(number)) > 1

    def _restored_of(
        self, proposal: MergedProposal, committed: Document
    ) -> Iterator[RestoredGrant]:
        """Yields the grants of the committed policy that a merged proposal removes."""
        commits = self._host.pull_requests.first_commits(proposal.pull.number)
        for commit in commits[:1]:
            before = self._policy_at(commit.parent)
            proposed = self._policy_at(commit.sha)
            mark = trailer_fingerprint(commit.message)
            if before and proposed and self._is_proposal(mark, before, proposed):
                yield from restored_grants(before, proposed, committed)
                return
        # A person rewrote the commit: the merge and the ids of the changes show what was left.
        merge = proposal.pull.merge_commit
        before = self._policy_at(self._host.branches.parent_of(merge))
        merged = self._policy_at(merge)
        if before is None or merged is None:
            return
        yield from restored_grants(before, merged, committed)
        present = {grant.entry for grant in entries_with_id(committed, proposal.changes)}
        for grant in entries_with_id(merged, proposal.changes):
            if grant.entry in present:
                yield grant

    def _is_proposal(self, mark: str, before: Document, proposed: Document) -> bool:
        """Whether a commit has the policy file that its fingerprint names: messages are copied."""
        names = (
            ScopeName(role, file) for role in self._identity.roles for file in self._identity.files
        )
        return any(fingerprint(name.scope, before.raw, proposed.raw) == mark for name in names)

    def _is_added_later(self, grant: RestoredGrant, proposal: MergedProposal) -> bool:
        """Whether a later proposal added what came back."""
        ids = ids_of_grant(grant)
        return any(
            later.merged_at > proposal.merged_at and not ids.isdisjoint(later.changes)
            for later in self._newest_first
        )

    def _policy_at(self, commit: str) -> Document | None:
        """Returns the policy of the target in a commit; None where it is not there or cannot be
        read.
        """
        return policy_at(commit, self._target, self._identity)


class BranchEdits(Struct, frozen=True):
    """What people took away from the branches of a target's pull requests."""

    merged: Mapping[int, tuple[Permission, ...]] = {}
    """Number of a merged pull request -> its additions that were not merged."""
    in_open: tuple[Permission, ...] = ()
    """The additions that the branch of the open pull request lacks."""


class BranchReader(Struct, frozen=True):
    """Finds the additions that people took away from the branches of a target's proposals."""

    host: GitHubRepository
    target: Target
    identity: TargetIdentity

    def edits(
        self,
        additions_by_pull: Mapping[ClosedPullRequest, tuple[Permission, ...]],
        opened: OpenPullRequest | None,
        in_open: Sequence[Permission],
    ) -> BranchEdits:
        """Reads the policy of each merge and of the open branch.

        Args:
            additions_by_pull: Merged pull requests with the additions that the policy lacks now.
            opened: The open pull request.
            in_open: Its additions.
        """
        newest_first = sorted(additions_by_pull, key=lambda pull: pull.number, reverse=True)
        merged: dict[int, tuple[Permission, ...]] = {}
        for pull in newest_first[:MAX_MERGED]:
            lacking = self._taken_away(pull, pull.merge_commit, additions_by_pull[pull])
            if lacking:
                merged[pull.number] = lacking
        # A person who wants the branch to be rebuilt gives up what was committed to it.
        if opened is None or opened.is_to_be_rebuilt or not in_open:
            return BranchEdits(merged)
        head = self.host.branches.head_of(self.target.settings.branch)
        return BranchEdits(merged, self._taken_away(opened, head or "", in_open))

    def _taken_away(
        self,
        pull: ClosedPullRequest | OpenPullRequest,
        commit: str,
        additions: Sequence[Permission],
    ) -> tuple[Permission, ...]:
        """Returns the additions of a pull request that its policy files lack in a commit.

        Returns none where a file cannot be read, or the branch has another proposal than the text.
        """
        lacking = _lacking(additions, commit, self.target, self.identity)
        if not lacking:
            return ()
        for first in self.host.pull_requests.first_commits(pull.number)[:1]:
            if trailer_fingerprint(first.message) not in ("", pull.fingerprint):
                return ()
        return lacking


def _lacking(
    additions: Sequence[Permission], commit: str, target: Target, identity: TargetIdentity
) -> tuple[Permission, ...]:
    """Returns the additions that the policy files of a target lack in a commit; none where one of
    them cannot be read.
    """
    policy = policy_at(commit, target, identity)
    if policy is None:
        return ()
    documents = [policy]
    lacking = missing_additions(additions, documents)
    if not lacking or target.pointer or target.repository is None:
        return lacking
    # A policy over its quota goes on in further files.
    for number in range(2, _MOST_FILES + 1):
        raw = target.repository.read(commit, numbered_file(target.policy_path, number))
        if raw is None:
            break
        try:
            documents.append(_parsed(raw, commit, target))
        except PolicyFileError:
            return ()
    return missing_additions(lacking, documents)


def _parsed(raw: bytes, commit: str, target: Target) -> Document:
    """Parses a version of the policy; IAM need not accept it: a person may have removed all."""
    folder = folder_of(target, commit)
    return read_attached(raw, target.policy_name, target.settings.principal, folder)


def paths_of(identity: TargetIdentity) -> tuple[str, ...]:
    """Returns the present and the earlier paths of the policy file."""
    return tuple(dict.fromkeys(Location.of(file).path for file in identity.files))


def policy_at(commit: str, target: Target, identity: TargetIdentity) -> Document | None:
    """Returns the policy of a target in a commit, under its present or an earlier path; None where
    it is not there or cannot be read.
    """
    repository = target.repository
    if not commit or repository is None:
        return None
    contents = (repository.read(commit, path) for path in paths_of(identity))
    content = next((content for content in contents if content is not None), None)
    if content is None:
        return None
    try:
        return _parsed(content, commit, target)
    except PolicyFileError:
        return None
