"""Reads the history of a target in its repository and its store: what people declined, said in
comments, reverted and brought back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.errors import PolicyFileError, PullRequestError
from leastpriv.evidence.usage_history import (
    KEPT_DAYS,
    Returned,
    RevertedRemoval,
    UsageHistory,
    merge,
)
from leastpriv.models import Permission, Usage
from leastpriv.pipeline.comment_decisions import (
    checked_commands,
    keep_decisions,
    offer_commands,
)
from leastpriv.pipeline.context import RunContext, ScopeName, Target, TargetHistory
from leastpriv.pipeline.declines import (
    Declines,
    TargetScopes,
    declines_by_action,
    new_declines,
    without_reconsidered,
)
from leastpriv.pipeline.hand_edits import CloneEdits, GitHubEdits
from leastpriv.pipeline.load_policies import (
    changed_at,
    folder_of,
    policy_before,
    read_attached,
)
from leastpriv.pipeline.merged_proposals import (
    MAX_MERGED,
    BranchEdits,
    BranchReader,
    MergedProposal,
    MergedProposals,
    paths_of,
    policy_at,
)
from leastpriv.pipeline.read_ahead import labels_of
from leastpriv.pipeline.saved_history import load_history
from leastpriv.pipeline.target_names import OtherRoles, TargetNames, is_credible
from leastpriv.policy.document import Document
from leastpriv.policy.replay import replay_need
from leastpriv.policy.source import Location
from leastpriv.proposal.guards import history_state
from leastpriv.proposal.models import (
    DRAFT_ID,
    Decline,
    DeclinedNames,
    History,
    HistoryState,
)
from leastpriv.proposal.reverted_changes import change_ids_between, missing_additions
from leastpriv.pull_request.git_repository import FileChange, GitRepository
from leastpriv.pull_request.lifecycle import (
    ClosedPullRequest,
    CommentCommand,
    MarkedPullRequest,
    OpenPullRequest,
    fingerprint_scope,
    is_reverted_by,
    target_mark,
)

if TYPE_CHECKING:
    from leastpriv.pull_request.git_repository import RevertedProposal
    from leastpriv.pull_request.github.pull_requests import PullRequests
    from leastpriv.pull_request.github.repository import GitHubRepository

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class _Requests:
    """Sends requests to a repository, and collects their failures."""

    def __init__(self) -> None:
        self._failures: list[str] = []

    def get(self, request: Callable[[], _Answer], default: _Answer, what: str) -> _Answer:
        """Returns the answer, or the default after a failure; `what` names the answer."""
        try:
            return request()
        except PullRequestError as error:
            self._failures.append(str(error))
            _log.info(f"Not known: {what}. {error}")
            return default

    @property
    def first_failure(self) -> str:
        """The first failure; empty without one."""
        return self._failures[0] if self._failures else ""


class _KnownTarget(Struct, frozen=True):
    """A target with its policy, the usages that its policies lack, and its usage history."""

    run: RunContext
    target: Target
    base: str
    """The commit of its policy; empty where that was read on disk."""
    committed: Document | None
    missing: Sequence[Usage]
    names: TargetNames
    requests: _Requests
    changed: datetime | None
    """When the policy file was last changed."""
    earlier: Document | None
    """The policy before the grace period; None where it has not changed since."""
    state: HistoryState
    """Its usage history, as it was saved."""

    @property
    def memory(self) -> UsageHistory:
        """Its usage history; an empty one where none was read."""
        return self.state.memory or UsageHistory(self.target.role)

    @property
    def scopes(self) -> TargetScopes:
        """The scope ids of its proposals, under the names that are known by now."""
        return TargetScopes.of(self.run, self.target, self.names)

    def state_with(self, memory: UsageHistory) -> HistoryState:
        """Returns the state of a usage history with news; one that could not be read remains so."""
        if self.state.trouble:
            return self.state
        return history_state(memory, self.state.left_out, self.state.today)


def target_history(
    run: RunContext,
    target: Target,
    base: str,
    committed: Document | None,
    missing: Sequence[Usage],
    *,
    other_roles: OtherRoles,
) -> TargetHistory:
    """Reads what the repository and the store have about a target.

    Args:
        run: The run.
        target: The target.
        base: The commit of its policy; empty where that was read on disk.
        committed: Its policy.
        missing: The usages that its policies lack.
        other_roles: Roles of other targets.
    """
    requests = _Requests()
    changed = requests.get(
        partial(changed_at, target, base), None, "when the policy file was last changed"
    )
    grace_start = run.now - timedelta(days=target.settings.options.grace_days)
    earlier = None
    if changed and changed > grace_start:
        earlier = requests.get(
            partial(policy_before, target, base, grace_start),
            None,
            "what the policy file granted before",
        )
        if earlier and committed and earlier.raw == committed.raw:
            # The file began with this policy, so that nothing was added to it.
            earlier = None
    names = TargetNames(target, partial(_earlier_paths, requests, target, base), other_roles)
    known = _KnownTarget(
        run=run,
        target=target,
        base=base,
        committed=committed,
        missing=missing,
        names=names,
        requests=requests,
        changed=changed,
        earlier=earlier,
        state=load_history(target, names, run.now),
    )
    host = target.repository.github if target.repository else None
    return _history_on_github(known, host) if host else _history_in_clone(known)


def _earlier_paths(requests: _Requests, target: Target, base: str) -> tuple[str, ...]:
    """Returns the paths that the policy file had before it was moved."""
    repository = target.repository
    if repository is None:
        return ()
    return requests.get(
        lambda: repository.earlier_names(
            base or repository.branch_head(target.settings.base).commit, target.policy_path
        ),
        tuple[str, ...](),
        "the earlier names of the policy file",
    )


def _history_in_clone(known: _KnownTarget) -> TargetHistory:
    """Returns the history of a target without GitHub: in its store and, if there is one, in its
    clone.
    """
    requests = known.requests
    target = known.target
    declines = Declines.of(known.memory, (), known.scopes)
    edits = requests.get(
        partial(_edits_in_clone, known),
        CloneEdits((), target, known.base, lambda _: False, known.run.now),
        "what people changed after merged proposals",
    )
    no_grants: Returned = {}
    returned = requests.get(
        partial(edits.restored, known.committed),
        no_grants,
        "what came back after merged proposals",
    )
    state = known.state
    if returned:
        news = UsageHistory(target.role, returned=returned)
        state = known.state_with(merge(known.memory, news))
    needed = {usage.need.permission.action for usage in known.missing}
    deleted = requests.get(
        partial(edits.deletions, known.committed, needed, partial(_added_lines, target)),
        tuple[DeclinedNames, ...](),
        "which merged additions people deleted",
    )
    history = History(
        declined={**_reverted_in_git(known), **declines.by_id},
        declined_names=declines.names_by_action,
        deleted=declines_by_action(deleted),
        changed=known.changed,
        history_state=state,
        earlier=known.earlier,
    )
    return TargetHistory(
        history=history,
        news=UsageHistory(target.role),
        identity=known.names.identity,
        failure=requests.first_failure,
    )


def _edits_in_clone(known: _KnownTarget) -> CloneEdits:
    """Returns the commits to the policy of a target on the base branch of a clone."""
    target = known.target
    repository = target.repository
    changes: Sequence[FileChange] = ()
    if target.past:
        changes = target.past.changes()
    elif isinstance(repository, GitRepository):
        commit = known.base or repository.branch_head(target.settings.base).commit
        changes = repository.file_changes(commit, target.policy_path)
    group_scope = known.scopes.group

    def is_of_target(change: FileChange) -> bool:
        scope = fingerprint_scope(change.fingerprint)
        return scope == group_scope or scope in _scope_ids(known, change.path)

    return CloneEdits(changes, target, known.base, is_of_target, known.run.now)


def _scope_ids(known: _KnownTarget, path: str) -> frozenset[str]:
    """Returns the scope ids that proposals for a policy file have, under each role of a target."""
    file = str(Location(path, known.target.pointer))
    return frozenset(ScopeName(role, file).id for role in known.names.identity.roles)


def _added_lines(target: Target, commit: str, skipped_paths: Sequence[str]) -> Sequence[str] | None:
    """Returns the lines that a commit of a clone adds to other files; None: they are not known."""
    if target.past:
        return target.past.added_lines(commit, skipped_paths)
    repository = target.repository
    if isinstance(repository, GitRepository):
        return repository.added_lines(commit, skipped_paths)
    return None


def _reverted_in_git(known: _KnownTarget) -> Mapping[str, Decline]:
    """Returns the declines by id of the change: merged proposals of a target that git shows to be
    reverted.
    """
    target = known.target
    repository = target.repository
    read: Callable[[], Sequence[RevertedProposal]]
    if target.past:
        read = target.past.reverted
    elif repository is not None and repository.github is None:
        commit = known.base or repository.branch_head(target.settings.base).commit
        read = partial(repository.reverted_proposals, commit, target.policy_path)
    else:
        return {}
    no_proposals: Sequence[RevertedProposal] = ()
    proposals = known.requests.get(read, no_proposals, "whether a merged proposal was reverted")
    declines: dict[str, Decline] = {}
    for proposal in proposals:
        if fingerprint_scope(proposal.fingerprint) in _scope_ids(known, proposal.path):
            decline = Decline(proposal.number)
            declines.update(dict.fromkeys(_changes_of(proposal, known), decline))
    return declines


def _changes_of(reverted: RevertedProposal, known: _KnownTarget) -> tuple[str, ...]:
    """Returns the ids of the changes of a reverted proposal for a policy file."""
    if reverted.after is None:
        return ()
    if reverted.before is None:
        return (DRAFT_ID,)
    target = known.target
    file = str(Location(reverted.path, target.pointer))
    principal = target.settings.principal
    try:
        folder = folder_of(target, known.base)
        before = read_attached(reverted.before, file, principal, folder)
        after = read_attached(reverted.after, file, principal, folder)
    except PolicyFileError:
        return ()  # The file was no policy then: nothing can be compared.
    return change_ids_between(before, after)


def _history_on_github(known: _KnownTarget, host: GitHubRepository) -> TargetHistory:
    """Returns the history of a target whose repository is on GitHub."""
    reader = _GitHubReader(known, host)
    open_pull = reader.open_pull_request()
    closed = reader.closed_pull_requests(open_pull)
    commands = checked_commands(reader.commands())
    closed = reader.with_reverts(closed)
    removed = reader.removed(closed)
    restored = reader.restored(closed)
    lacking_additions = _lacking_additions(closed, known)
    edits = reader.branch_edits(lacking_additions, open_pull)
    deleted = reader.deleted(_merged_additions(lacking_additions, edits), closed)

    news = UsageHistory(
        known.target.role,
        words=keep_decisions(commands),
        declined=new_declines(known.memory, closed, known.scopes, edits),
        returned={**restored, **_denied_again(removed, known.missing)},
    )
    memory = without_reconsidered(merge(known.memory, news), closed)
    declines = Declines.of(memory, closed, known.scopes).with_open(open_pull, edits)
    history = History(
        declined=declines.by_id,
        declined_names=declines.names_by_action,
        deleted=declines_by_action(deleted),
        changed=known.changed,
        history_state=known.state_with(memory),
        offer_commands=offer_commands(commands, open_pull.number) if open_pull else (),
        removed=removed,
        was_merged=any(pull.merged_at for pull in closed),
        earlier=known.earlier,
    )
    return TargetHistory(
        history=history,
        news=news,
        identity=known.names.identity,
        commands=commands,
        failure=known.requests.first_failure,
        former_branches=tuple(known.names.branches[1:]),
        taken_away=edits.in_open,
    )


class _GitHubReader(Struct, frozen=True):
    """Reads the pull requests of a target; after a failure a part of them is not known."""

    known: _KnownTarget
    host: GitHubRepository

    def open_pull_request(self) -> OpenPullRequest | None:
        """Returns the open pull request of the branch of the target."""
        settings = self.known.target.settings
        return self.known.requests.get(
            partial(self.host.pull_requests.opened, settings.branch, settings.base),
            None,
            "the open pull request",
        )

    def closed_pull_requests(self, opened: OpenPullRequest | None) -> list[ClosedPullRequest]:
        """Returns the closed pull requests of the target, under all names that it had."""
        return self.known.requests.get(
            partial(_closed_of_target, self.known, self.host.pull_requests, opened),
            list[ClosedPullRequest](),
            "what was declined earlier",
        )

    def commands(self) -> list[CommentCommand]:
        """Returns the commands in comments under the pull requests of all its branches."""
        return self.known.requests.get(
            self._commands, list[CommentCommand](), "what people said in comments"
        )

    def _commands(self) -> list[CommentCommand]:
        pulls = self.host.pull_requests
        base = self.known.target.settings.base
        return [
            command
            for branch in self.known.names.branches
            for command in pulls.comment_commands(branch, base)
        ]

    def with_reverts(self, closed: list[ClosedPullRequest]) -> list[ClosedPullRequest]:
        """Returns closed pull requests; a merged one that a later commit reverts is a declined
        one.
        """
        return self.known.requests.get(
            partial(_with_reverts, self.known, self.host, closed),
            closed,
            "whether a merged proposal was reverted",
        )

    def removed(self, closed: Sequence[ClosedPullRequest]) -> dict[Permission, int]:
        """Returns missing permission -> number of the pull request that removed it: as the
        repository shows it, or else as the store has it.
        """
        removed: dict[Permission, int] = {}
        for usage in self.known.missing:
            permission = usage.need.permission
            removal = self.known.memory.returned.get((permission.action, permission.resource))
            if removal and not removal.granted:
                removed[permission] = removal.pull
        removed_by_merged = self.known.requests.get(
            partial(_removed_by_merged, self.known, self.host, closed),
            dict[Permission, int](),
            "what was removed",
        )
        return {**removed, **removed_by_merged}

    def restored(self, closed: Iterable[ClosedPullRequest]) -> Returned:
        """Returns the grants of the policy that a merged proposal removes."""
        no_grants: Returned = {}
        return self.known.requests.get(
            partial(self._restored, closed), no_grants, "what came back after merged proposals"
        )

    def _restored(self, closed: Iterable[ClosedPullRequest]) -> Returned:
        known = self.known
        proposals = MergedProposals(
            self.host, known.target, known.names.identity, _merged_proposals(closed, known)
        )
        base = known.base or self.host.branch_head(known.target.settings.base).commit
        return proposals.restored(known.committed, base)

    def branch_edits(
        self,
        lacking_additions: Mapping[ClosedPullRequest, tuple[Permission, ...]],
        opened: OpenPullRequest | None,
    ) -> BranchEdits:
        """Returns what people took away from the branches of merged pull requests and of the open
        one.
        """
        known = self.known
        reader = BranchReader(self.host, known.target, known.names.identity)
        in_open = known.scopes.additions_of(opened)
        return known.requests.get(
            partial(reader.edits, lacking_additions, opened, in_open),
            BranchEdits(),
            "what people took away from the branches of proposals",
        )

    def deleted(
        self,
        merged_additions: Mapping[ClosedPullRequest, Sequence[Permission]],
        closed: Iterable[ClosedPullRequest],
    ) -> tuple[DeclinedNames, ...]:
        """Returns the merged additions that a person deleted on the base branch."""
        known = self.known
        edits = GitHubEdits(
            self.host, known.target, known.names.identity, known.base, known.run.now
        )
        return known.requests.get(
            partial(edits.deletions, merged_additions, closed),
            tuple[DeclinedNames, ...](),
            "which merged additions people deleted",
        )


def _merged_proposals(
    closed: Iterable[ClosedPullRequest], known: _KnownTarget
) -> Sequence[MergedProposal]:
    """Returns the merged pull requests after which something may have come back: those before the
    last change of the policy file whose changes no label allows again.
    """
    changed = known.changed
    if changed is None:
        return ()
    scopes = known.scopes
    oldest = known.run.now - timedelta(days=KEPT_DAYS)
    proposals: list[MergedProposal] = []
    for pull in closed:
        if not pull.merged_at or not pull.merge_commit or pull.reconsidered:
            continue
        # What a role's other policy file lost may remain in this one.
        if oldest <= pull.merged_at <= changed and scopes.has_proposed(pull):
            proposals.append(MergedProposal(pull, pull.merged_at, scopes.changes_of(pull)))
    return proposals


def _lacking_additions(
    closed: Iterable[ClosedPullRequest], known: _KnownTarget
) -> Mapping[ClosedPullRequest, tuple[Permission, ...]]:
    """Returns merged pull requests with those of their additions that the policy lacks and a run
    needs now.
    """
    documents = [known.committed] if known.committed else []
    needed = {usage.need.permission.action for usage in known.missing}
    scopes = known.scopes
    additions_by_pull: dict[ClosedPullRequest, tuple[Permission, ...]] = {}
    for pull in closed:
        if not pull.merge_commit:
            continue
        additions = [
            addition for addition in scopes.additions_of(pull) if addition.action in needed
        ]
        lacking = missing_additions(additions, documents)
        if lacking:
            additions_by_pull[pull] = lacking
    return additions_by_pull


def _merged_additions(
    lacking_additions: Mapping[ClosedPullRequest, tuple[Permission, ...]], edits: BranchEdits
) -> Mapping[ClosedPullRequest, tuple[Permission, ...]]:
    """Returns the additions that the policy lacks now and had after their merge, by pull request;
    without those of pull requests that were reverted or whose label allows their changes again.
    """
    merged: dict[ClosedPullRequest, tuple[Permission, ...]] = {}
    for pull, additions in lacking_additions.items():
        if pull.declined or pull.reconsidered:
            continue
        taken_away = edits.merged.get(pull.number, ())
        merged_additions = tuple(addition for addition in additions if addition not in taken_away)
        if merged_additions:
            merged[pull] = merged_additions
    return merged


def _denied_again(removed: Mapping[Permission, int], missing: Iterable[Usage]) -> Returned:
    """Returns the denials of permissions that merged pull requests had removed."""
    denials: dict[tuple[str, str], RevertedRemoval] = {}
    for usage in missing:
        permission = usage.need.permission
        if permission in removed:
            denials[permission.action, permission.resource] = RevertedRemoval(
                refused=usage.last_seen.date(), pull=removed[permission]
            )
    return denials


class _ClosedPulls:
    """The closed pull requests of the branches of a target."""

    def __init__(self, pulls: PullRequests, base: str, names: TargetNames) -> None:
        """`names`: has the branches, to which further ones may be added."""
        self._pulls = pulls
        self._base = base
        self._names = names
        self._pulls_by_branch: dict[str, Sequence[ClosedPullRequest]] = {}

    def read(self) -> list[ClosedPullRequest]:
        """Returns those of all branches that are known by now."""
        for branch in self._names.branches:
            if branch not in self._pulls_by_branch:
                self._pulls_by_branch[branch] = self._pulls.closed(branch, self._base)
        return [pull for of_branch in self._pulls_by_branch.values() for pull in of_branch]


def _closed_of_target(
    known: _KnownTarget, pulls: PullRequests, opened: OpenPullRequest | None
) -> list[ClosedPullRequest]:
    """Returns the closed pull requests of a target, under all names that it had."""
    names = known.names
    closed = _ClosedPulls(pulls, known.target.settings.base, names)
    if not opened and not closed.read():
        _adopt_closed_elsewhere(known, pulls)
    _adopt(names, pulls.opened_elsewhere(), asks_git=False)
    mark = target_mark(opened.body) if opened else None
    if mark and names.was_name_of_target(mark.name, asks_git=False):
        names.adopt(mark.name)
        names.add_branches(mark.branches)
    scopes = known.scopes
    proposals: list[OpenPullRequest | ClosedPullRequest] = [*closed.read()]
    if opened:
        proposals.append(opened)
    fingerprints = [proposal.fingerprint for proposal in proposals if proposal.fingerprint]
    if not all(map(scopes.has, fingerprints)):
        # A fingerprint that is not known may have a name that only git shows.
        names.read_git()
    for pull in closed.read():
        if pull.target and names.was_name_of_target(pull.target, asks_git=False):
            # What a pull request before the last merge declined may be on an earlier branch.
            names.add_branches(pull.branches)
    pulls_of_target = [pull for pull in closed.read() if _is_of_target(pull, known)]
    for pull in pulls_of_target:
        if pull.target and names.was_name_of_target(pull.target, asks_git=False):
            names.adopt(pull.target)
    return pulls_of_target


def _is_of_target(pull: ClosedPullRequest, known: _KnownTarget) -> bool:
    """Whether a closed pull request was one of a target, under a name that is known by now."""
    if known.scopes.has_proposed(pull):
        return True
    if pull.target is None:
        return False
    names = known.names
    # What a person declined for the role counts in each of its policy files.
    is_of_role = pull.target.role in names.identity.roles
    return is_of_role or names.was_name_of_target(pull.target, asks_git=False)


def _adopt_closed_elsewhere(known: _KnownTarget, pulls: PullRequests) -> None:
    """Adds the names and branches of closed pull requests of any branch that were the target's."""
    target = known.target
    names = known.names
    closed_elsewhere = pulls.closed_elsewhere(target.settings.base, labels_of(target))
    # A usage history has what the earlier names declined.
    is_new = target.store is None or len(names.identity.roles) > 1
    _adopt(names, closed_elsewhere, asks_git=is_new)
    scopes = known.scopes
    for pull in closed_elsewhere:
        if scopes.changes_in_group(pull.changes):
            # The target was in a group.
            names.add_branches([pull.branch])


def _adopt(names: TargetNames, pulls: Iterable[MarkedPullRequest], *, asks_git: bool) -> None:
    """Adds the names and branches of marked pull requests that were the target's."""
    for pull in pulls:
        if not is_credible(pull):
            continue
        if names.was_name_of_target(pull.mark.name, opened=pull.created_at, asks_git=asks_git):
            names.adopt(pull.mark.name, pull.branch)


def _with_reverts(
    known: _KnownTarget, host: GitHubRepository, closed: Sequence[ClosedPullRequest]
) -> list[ClosedPullRequest]:
    """Returns closed pull requests; a merged one that a later commit reverts is a declined one."""
    merge_times = [pull.merged_at for pull in closed if _may_be_reverted(pull, known.changed)]
    since = min(filter(None, merge_times), default=None)
    if since is None:
        return list(closed)
    commit = known.base or host.branch_head(known.target.settings.base).commit
    messages = [
        message
        for path in paths_of(known.names.identity)
        for message in host.branches.messages_since(commit, path, since)
    ]
    pulls: list[ClosedPullRequest] = []
    for pull in closed:
        is_reverted = _may_be_reverted(pull, known.changed) and any(
            is_reverted_by(pull, message, host.full_name) for message in messages
        )
        if is_reverted:
            pulls.append(replace(pull, declined=True, undone=False))
        else:
            pulls.append(pull)
    return pulls


def _may_be_reverted(pull: ClosedPullRequest, changed: datetime | None) -> bool:
    """Whether a pull request was merged before the last change of the policy file, and no label
    allows its changes again.
    """
    if pull.merged_at is None or changed is None:
        return False
    return pull.merged_at < changed and not pull.reconsidered


def _removed_by_merged(
    known: _KnownTarget, host: GitHubRepository, closed: Iterable[ClosedPullRequest]
) -> dict[Permission, int]:
    """Returns denied permission -> number of the latest merged proposal that removed it."""
    denied = [usage for usage in known.missing if usage.denial and usage.denial.mendable]
    if not denied:
        return {}
    target = known.target
    identity = known.names.identity
    merged = [pull for pull in closed if pull.merged_at and pull.merge_commit][:MAX_MERGED]
    removed: dict[Permission, int] = {}
    for pull in sorted(merged, key=lambda pull: pull.number, reverse=True):
        before = policy_at(host.branches.parent_of(pull.merge_commit), target, identity)
        after = policy_at(pull.merge_commit, target, identity)
        if before is None or after is None:
            continue
        for usage in denied:
            permission = usage.need.permission
            is_later = pull.merged_at is not None and usage.last_seen > pull.merged_at
            if permission in removed or not is_later:
                continue
            if _is_granted(usage, target.role, before) and not _is_granted(
                usage, target.role, after
            ):
                removed[permission] = pull.number
    return removed


def _is_granted(usage: Usage, principal: str, document: Document) -> bool:
    """Whether a policy grants what a usage needs, in each of its regions."""
    regions = usage.regions or ("",)
    return all(
        replay_need(usage.need, principal, region, [document]).startswith("allowed")
        for region in regions
    )
