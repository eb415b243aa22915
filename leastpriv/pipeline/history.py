"""Reads and saves the history of a target: earlier usage, declined changes, comment commands,
reverted removals.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial, reduce
from typing import TYPE_CHECKING, Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import account_of, parse_principal, principal_of
from leastpriv.aws.session_names import workflow_run_id
from leastpriv.errors import (
    LeastprivError,
    PolicyFileError,
    PullRequestError,
    UnreadableHistoryError,
)
from leastpriv.evidence.created_resources import creating_usages
from leastpriv.evidence.models import Evidence
from leastpriv.evidence.origins import (
    Ask,
    origins_by_login,
    origins_by_majority,
    resolve_origins,
)
from leastpriv.evidence.usage_history import (
    KEPT_DAYS,
    DeclinedAddition,
    DeclinedPullRequest,
    KeepDecision,
    Returned,
    RevertedRemoval,
    UsageHistory,
    history_from_evidence,
    is_action,
    is_action_pattern,
    is_resource,
    merge,
    pruned,
)
from leastpriv.evidence.users import OWN_ACCOUNT, Callers, KnownUsers
from leastpriv.models import (
    Origin,
    Permission,
    Principal,
    Run,
    RunOrigin,
    TargetName,
    Usage,
    grouped,
)
from leastpriv.permissions.patterns import action_matches, resource_covers
from leastpriv.pipeline.context import (
    PullRequestContent,
    RunContext,
    ScopeName,
    Target,
    TargetHistory,
    TargetIdentity,
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
from leastpriv.policy.document import Document
from leastpriv.policy.replay import replay_need
from leastpriv.policy.source import Location
from leastpriv.proposal.addition_rules import naming_usages
from leastpriv.proposal.guards import history_state
from leastpriv.proposal.models import (
    DRAFT_ID,
    Decline,
    DeclinedNames,
    History,
    HistoryState,
    OfferCommand,
    addition_id,
    fingerprint,
    ids_of_scope,
)
from leastpriv.proposal.reverted_changes import change_ids_between, missing_additions
from leastpriv.pull_request.git_repository import FileChange, GitRepository
from leastpriv.pull_request.github.logins import origin_without_github
from leastpriv.pull_request.lifecycle import (
    ClosedPullRequest,
    CommentCommand,
    MarkedPullRequest,
    OpenPullRequest,
    fingerprint_scope,
    is_reverted_by,
    target_mark,
)
from leastpriv.report.phrases import plural

if TYPE_CHECKING:
    from leastpriv.pull_request.git_repository import RevertedProposal
    from leastpriv.pull_request.github.pull_requests import PullRequests
    from leastpriv.pull_request.github.repository import GitHubRepository
    from leastpriv.pull_request.github.state_branch import BranchStateStore
    from leastpriv.pull_request.models import FolderStateStore

_log = logging.getLogger(__name__)


def history_file(principal: Principal) -> tuple[str, int]:
    """Returns path and longest size of a usage history; a name is unique in its account, whatever
    its path.
    """
    from leastpriv.evidence.history_file import LONGEST_FILE

    account = "every-account" if principal.account == OWN_ACCOUNT else principal.account
    return f"{account}/{principal.kind}/{principal.name}.json", LONGEST_FILE


_OVERLAP = timedelta(days=7)
"""Time in which a role and its successor may both be at work."""
_BUSY_SHARE = 10
"""A role with a tenth of the calls of another was at work as long as that one."""


class OtherRoles(Struct, frozen=True):
    """Roles that are no earlier names of the role of a target."""

    own: tuple[str, ...] = ()
    """ARNs and patterns of the users of the target."""
    of_config: KnownUsers | None = None
    """The users of all targets of the config; None without one."""
    first: datetime | None = None
    """Time of the first call of the target in the evidence."""
    calls: int = 0
    """Number of its calls."""
    callers: Callers | None = None
    """Roles of the records; None where the target was not at work from their first days on."""
    account: str = ""
    """The account of the target."""

    @classmethod
    def of(cls, run: RunContext, target: Target, evidence: Evidence, callers: Callers) -> Self:
        """Returns the roles that the config has, or without one those that the records show at work
        besides the role of the target: each has its job.

        Args:
            run: The run.
            target: The target.
            evidence: What was read of it.
            callers: Roles of the records.
        """
        roles = (target.role, *target.users)
        if run.file is not None:
            own = (*target.settings.users.arns, *target.users)
            return cls(own=own, of_config=run.file.users)
        first = evidence.first
        days = frozenset[date]().union(*evidence.coverage.days.values())
        if first is None or not days or first.date() - min(days) > _OVERLAP:
            return cls(own=roles, first=first)
        account = target.lead.account
        calls = evidence.counts.calls
        return cls(own=roles, first=first, calls=calls, callers=callers, account=account)

    def has(self, role: str, opened: datetime | None = None) -> bool:
        """Whether a role is that of another target.

        `opened`: when a pull request of the role was opened.
        """
        if role in self.own:
            return False
        if self.of_config and self.of_config.name(role):
            return True
        if opened and self.first and opened > self.first + _OVERLAP:
            return True
        principal = principal_of(role)
        if self.callers is None or principal is None:
            return False
        callers = self.callers.named([principal.name])
        calls = sum(number for arn, number in callers.items() if account_of(arn) == self.account)
        return calls > 0 and calls * _BUSY_SHARE >= self.calls


class TargetNames:
    """Finds the earlier names of a target: in the config, in git, in usage histories and in the
    markers of pull requests.
    """

    def __init__(
        self, target: Target, earlier_paths: Callable[[], Sequence[str]], others: OtherRoles
    ) -> None:
        """Begins with the names that the config has.

        Args:
            target: The target.
            earlier_paths: Reads the paths that its policy file had before `git mv`.
            others: Roles of other targets, whose names are their own.
        """
        self._target = target
        self._earlier_paths = earlier_paths
        self._others = others
        self._is_git_read = False
        self._id = ""
        self._roles = [target.role, *target.formerly.roles]
        self._files = [target.policy_name, *target.formerly.files]
        self.branches = list(target.branches)

    @property
    def identity(self) -> TargetIdentity:
        """The names that are known by now."""
        roles = tuple(dict.fromkeys(self._roles))
        files = tuple(dict.fromkeys(self._files))
        target = self._target
        first = TargetName(id=_scope_id(target.scope), role=target.role, file=target.policy_name)
        name = replace(first, id=self._id) if self._id else first
        return TargetIdentity(name=name, roles=roles, files=files)

    def read_git(self) -> None:
        """Adds the names that git knows of the policy file."""
        if self._is_git_read:
            return
        self._is_git_read = True
        for path in self._earlier_paths():
            self._files.append(str(Location(path, self._target.pointer)))

    def was_name_of_target(
        self, name: TargetName, *, opened: datetime | None = None, asks_git: bool = True
    ) -> bool:
        """Whether a name in a marker or a usage history is a present or an earlier one of the
        target.

        - Its names in the config are.
        - That of a role of another target is not, even with an equal file.
        - Else it is if the file, as `iam/ci.json`, is or was the policy file of the target.

        Args:
            name: Role and policy file.
            opened: When a pull request of that name was opened.
            asks_git: Whether git is read for earlier names of the file, which costs a request.
        """
        if self.identity.is_named(name):
            return True
        if self._others.has(name.role, opened):
            return False
        if asks_git and name.file not in self._files:
            self.read_git()
        return name.file in self._files

    def adopt(self, name: TargetName, branch: str = "") -> None:
        """Adds an earlier name, and the branch of its pull request."""
        self._id = self._id or name.id
        self._roles.append(name.role)
        self._files.append(name.file)
        if branch:
            self.add_branches([branch])

    def add_branches(self, branches: Iterable[str]) -> None:
        """Adds branches that pull requests of the target had."""
        for branch in branches:
            if branch not in self.branches:
                self.branches.append(branch)


def _scope_id(scope: str) -> str:
    return fingerprint_scope(fingerprint(scope, None, b""))


def load_history(target: Target, names: TargetNames, now: datetime) -> HistoryState:
    """Loads the usage history of a target, and that of its earlier names; one that cannot be read
    holds removals back.
    """
    store = target.store
    principal = target.role
    if store is None:
        return HistoryState()
    try:
        parsed_files = [_parsed(raw, target, now) for raw in _stored(store, target, names)]
    except LeastprivError as error:
        trouble = f"what earlier runs used could not be read: {error}".rstrip(".")
        if isinstance(error, UnreadableHistoryError):
            trouble = f"the usage history {store.name} {error}: fix it, or delete it to start again"
        _log.info(f"No permission is removed: {trouble}.")
        return HistoryState(trouble=trouble)
    left_out = sum(parsed_file.left_out for parsed_file in parsed_files)
    memory = reduce(
        merge, (parsed_file.history for parsed_file in parsed_files), UsageHistory(principal)
    )
    for parsed in parsed_files:
        if parsed.history.target and names.was_name_of_target(parsed.history.target):
            names.adopt(parsed.history.target)
    if left_out:
        rows = plural(left_out, "row that makes", "rows that make")
        _log.info(f"Left out of the usage history {store.name}: {rows} no sense.")
    if not parsed_files:
        return HistoryState(memory)
    return history_state(pruned(memory, now), left_out, now.date())


class _ParsedHistory(Struct, frozen=True):
    """A usage history, and the number of its invalid rows."""

    history: UsageHistory
    left_out: int


def _parsed(raw: bytes, target: Target, now: datetime) -> _ParsedHistory:
    """Parses a stored history as that of the target's present role."""
    from leastpriv.evidence.history_file import parse_history, target_of

    name = target_of(raw)
    former = name.role if name and name.role != target.role else ""
    history, left_out = parse_history(raw, target.role, now, formerly=former)
    if name and history.target:
        # The name of the present role is renewed when the history is saved.
        history = replace(history, target=name)
    return _ParsedHistory(history, left_out)


def _stored(
    store: FolderStateStore | BranchStateStore, target: Target, names: TargetNames
) -> Iterator[bytes]:
    """Yields the stored history of a target, then those of its earlier names that it may lack."""
    from leastpriv.evidence.history_file import target_of

    def read_as_principal(raw: bytes) -> bytes:
        if target.settings.spans_accounts:
            return raw.replace(b":*:", f":{OWN_ACCOUNT}:".encode())
        return raw

    own_content = store.read()
    if own_content is not None:
        yield read_as_principal(own_content)
    for role in target.formerly.roles:
        former = store.sibling(history_file(parse_principal(role))[0]).read()
        if former is not None:
            yield former
    if own_content is not None or target.formerly.roles:
        return
    for raw in store.others():
        name = target_of(raw)
        if name and names.was_name_of_target(name):
            yield read_as_principal(raw)


def save_history(content: PullRequestContent, target: Target, now: datetime) -> str:
    """Saves what this run has learned of a target; returns a sentence where that failed."""
    store = target.store
    evidence = content.context.evidence
    if store is None or not target.writes_store or content.history.history.history_state.trouble:
        return ""
    from leastpriv.evidence.history_file import parse_history, serialize_history

    earlier = content.history.history.history_state.memory or UsageHistory(evidence.principal)
    news = merge(content.history.news, earlier)
    added = merge(history_from_evidence(evidence), news)

    def with_news(raw: bytes | None) -> bytes:
        earlier = parse_history(raw, evidence.principal, now)[0] if raw is not None else None
        merged = merge(earlier, added) if earlier else added
        identity = content.history.identity
        target_id = earlier.target if earlier else None
        # A role may have a second policy file, whose target has the same history.
        if target_id is None or identity.is_named(target_id):
            merged = replace(merged, target=identity.name)
        return serialize_history(pruned(merged, now))

    try:
        store.update(with_news)
    except UnreadableHistoryError as error:
        return f"The usage history {store.name} {error}: it was not changed."
    except LeastprivError as error:
        return f"The results of this run could not be saved: {error}"
    return ""


def keep_decisions(
    said: Iterable[CommentCommand],
) -> tuple[Mapping[str, KeepDecision], tuple[CommentCommand, ...]]:
    """Returns the valid decisions by pattern, and all commands, the invalid ones with a reason."""
    invalid = "that is no action as policies name it, like `s3:DeleteBucket` or `s3:Delete*`"
    checked = tuple(
        replace(
            each, rejection=each.rejection or ("" if is_action_pattern(each.pattern) else invalid)
        )
        for each in said
    )
    decisions: dict[str, KeepDecision] = {}
    for command in checked:
        if command.rejection or command.verb == "add" or takes_back(command, checked):
            continue
        keeps = command.verb == "keep"
        decision = KeepDecision(
            command.created_at, command.comment_id, keeps, command.author, command.pull_request
        )
        decisions[command.pattern] = max(decision, decisions.get(command.pattern, decision))
    return decisions, checked


def takes_back(command: CommentCommand, said: Iterable[CommentCommand]) -> bool:
    """Whether a `forget` takes back an `add` of its pull request: the latest command before it on
    the same pattern, or else on a pattern that covers it.
    """
    if command.verb != "forget":
        return False
    earlier = [
        other_command
        for other_command in said
        if not other_command.rejection
        and other_command.pull_request == command.pull_request
        and _order(other_command) < _order(command)
        and action_matches(other_command.pattern, command.pattern)
    ]
    earlier.sort(key=_order)
    same_pattern = [
        command_before
        for command_before in earlier
        if command_before.pattern.lower() == command.pattern.lower()
    ]
    latest = (same_pattern or earlier)[-1:]
    return any(command_before.verb == "add" for command_before in latest)


def _order(command: CommentCommand) -> tuple[datetime, int]:
    return command.created_at, command.comment_id


def offer_commands(said: Iterable[CommentCommand], pull_request: int) -> tuple[OfferCommand, ...]:
    """Returns the valid commands about offers under one pull request, the oldest first."""
    own_commands = [
        command
        for command in said
        if command.pull_request == pull_request and not command.rejection
    ]
    own_commands.sort(key=_order)
    return tuple(
        OfferCommand(command.pattern, takes=command.verb == "add")
        for command in own_commands
        if command.verb != "keep"
    )


class _Requests:
    """Sends requests to a repository, and collects their failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def get(self, request: Callable[[], _Answer], default: _Answer, what: str) -> _Answer:
        """Returns the answer, or the default after a failure."""
        try:
            return request()
        except PullRequestError as error:
            self.failures.append(str(error))
            _log.info(f"Not known: {what}. {error}")
            return default


_Answer = TypeVar("_Answer")


def target_history(
    run: RunContext,
    target: Target,
    base: str,
    committed: Document | None,
    missing: Sequence[Usage],
    *,
    others: OtherRoles,
) -> TargetHistory:
    """Reads what the repository and the store have about a target.

    Args:
        run: The run.
        target: The target.
        base: The commit of its policy; empty where that was read on disk.
        committed: Its policy.
        missing: The usages that its policies lack.
        others: Roles of other targets.
    """
    requests = _Requests()
    settings = target.settings
    repository = target.repository
    host = repository.github if repository else None
    changed = requests.get(
        lambda: changed_at(target, base), None, "when the policy file was last changed"
    )
    earlier = None
    since = run.now - timedelta(days=settings.options.grace_days)
    if changed and changed > since:
        before = partial(policy_before, target, base, since)
        earlier = requests.get(before, None, "what the policy file granted before")
        if earlier and committed and earlier.raw == committed.raw:
            # The file began with this policy, so that nothing was added to it.
            earlier = None
    earlier_paths = partial(_earlier_paths, requests, target, base)
    names = TargetNames(target, earlier_paths, others)
    state = load_history(target, names, run.now)
    memory = state.memory or UsageHistory(settings.principal.arn)
    news = UsageHistory(settings.principal.arn)
    none_returned: Returned = {}
    no_deletions: tuple[DeclinedNames, ...] = ()
    if host is None:
        declines = _Declines.of(memory, (), _own_scopes(run, target, names))
        edits_in_clone = requests.get(
            partial(_edits_in_clone, run, target, names, base),
            CloneEdits((), target, base, lambda _: False, run.now),
            "what people changed after merged proposals",
        )
        returned_in_clone = requests.get(
            partial(edits_in_clone.restored, committed),
            none_returned,
            "what came back after merged proposals",
        )
        if returned_in_clone and not state.trouble:
            memory = merge(memory, replace(news, returned=returned_in_clone))
            state = history_state(memory, state.left_out, state.today)
        needed = {usage.need.permission.action for usage in missing}
        deleted = requests.get(
            partial(edits_in_clone.deletions, committed, needed, partial(_added_lines, target)),
            no_deletions,
            "which merged additions people deleted",
        )
        history = History(
            declined={**_reverted_in_git(requests, target, names, base), **declines.by_id},
            declined_names=declines.names_by_action,
            deleted=_by_action(deleted),
            changed=changed,
            history_state=state,
            earlier=earlier,
        )
        failure = " ".join(requests.failures[:1])
        return TargetHistory(history, news, names.identity, failure=failure)
    open_pull = requests.get(
        lambda: host.pull_requests.opened(settings.branch, settings.base),
        None,
        "the open pull request",
    )
    own_closed = requests.get(
        partial(_closed_of_target, host, run, target, names, open_pull),
        list[ClosedPullRequest](),
        "what was declined earlier",
    )
    commands = requests.get(
        lambda: [
            command
            for branch in names.branches
            for command in host.pull_requests.comment_commands(branch, settings.base)
        ],
        list[CommentCommand](),
        "what people said in comments",
    )
    with_reverts = partial(_with_reverts, host, target, names.identity, base, own_closed, changed)
    own_closed = requests.get(with_reverts, own_closed, "whether a merged proposal was reverted")
    # Missing permission -> pull request that removed it, as the store has it or else the
    # repository.
    keys = {
        usage.need.permission: (usage.need.permission.action, usage.need.permission.resource)
        for usage in missing
    }
    removed = {
        permission: memory.returned[key].pull
        for permission, key in keys.items()
        if key in memory.returned and not memory.returned[key].granted
    }
    reverted = partial(_reverted, host, target, names.identity, own_closed, missing)
    removed |= requests.get(reverted, dict[Permission, int](), "what was removed")
    scopes = _own_scopes(run, target, names)
    oldest = run.now - timedelta(days=KEPT_DAYS)
    merged = [
        MergedProposal(pull, pull.merged_at, scopes.changes_of(pull))
        for pull in own_closed
        if pull.merged_at and changed and oldest <= pull.merged_at <= changed
        # What a role's other policy file lost may remain in this one.
        if pull.merge_commit and scopes.has_proposed(pull) and not pull.reconsidered
    ]
    restored = requests.get(
        lambda: MergedProposals(host, target, names.identity, merged).restored(
            committed, base or host.branch_head(settings.base)[1]
        ),
        none_returned,
        "what came back after merged proposals",
    )
    reader = BranchReader(host, target, names.identity)
    not_granted = _additions_not_granted(own_closed, scopes, missing, committed)
    edits = requests.get(
        lambda: reader.edits(not_granted, open_pull, scopes.additions_of(open_pull)),
        BranchEdits(),
        "what people took away from the branches of proposals",
    )
    hand_edits = GitHubEdits(host, target, names.identity, base, run.now)
    deleted = requests.get(
        lambda: hand_edits.deletions(_merged_additions(not_granted, edits), own_closed),
        no_deletions,
        "which merged additions people deleted",
    )
    decisions, answered = keep_decisions(commands)
    returned = {
        keys[usage.need.permission]: RevertedRemoval(
            usage.last_seen.date(), removed[usage.need.permission]
        )
        for usage in missing
        if usage.need.permission in removed
    }
    news = replace(
        news,
        words=decisions,
        declined=_new_declines(memory, own_closed, scopes, edits),
        returned={**restored, **returned},
    )
    memory = _without_reconsidered(merge(memory, news), own_closed)
    if not state.trouble:
        state = history_state(memory, state.left_out, state.today)
    declines = _Declines.of(memory, own_closed, scopes).with_open(open_pull, edits)
    history = History(
        declined=declines.by_id,
        declined_names=declines.names_by_action,
        deleted=_by_action(deleted),
        changed=changed,
        history_state=state,
        offer_commands=offer_commands(answered, open_pull.number) if open_pull else (),
        removed=removed,
        was_merged=any(pull.merged_at for pull in own_closed),
        earlier=earlier,
    )
    return TargetHistory(
        history=history,
        news=news,
        identity=names.identity,
        said=answered,
        failure=" ".join(requests.failures[:1]),
        former_branches=tuple(names.branches[1:]),
        taken_away=edits.in_open,
    )


def _by_action(names: Iterable[DeclinedNames]) -> Mapping[str, Sequence[DeclinedNames]]:
    """Groups declined additions by their action in lower case."""
    return grouped([(declined.action.lower(), declined) for declined in names])


def _merged_additions(
    not_granted: Mapping[ClosedPullRequest, tuple[Permission, ...]], edits: BranchEdits
) -> Mapping[ClosedPullRequest, tuple[Permission, ...]]:
    """Returns the additions that the policy lacks now and had after their merge, by pull request;
    without those of pull requests that were reverted or whose label allows their changes again.
    """
    merged: dict[ClosedPullRequest, tuple[Permission, ...]] = {}
    for pull, additions in not_granted.items():
        if pull.declined or pull.reconsidered:
            continue
        taken_away = edits.merged.get(pull.number, ())
        left = tuple(addition for addition in additions if addition not in taken_away)
        if left:
            merged[pull] = left
    return merged


def _edits_in_clone(run: RunContext, target: Target, names: TargetNames, base: str) -> CloneEdits:
    """Returns the commits to the policy of a target on the base branch of a clone."""
    repository = target.repository
    read = target.past.changes if target.past else None
    if read is None and isinstance(repository, GitRepository):
        commit = base or repository.branch_head(target.settings.base)[1]
        read = partial(repository.file_changes, commit, target.policy_path)
    group_scope = _own_scopes(run, target, names).group
    roles = names.identity.roles

    def is_of_target(change: FileChange) -> bool:
        file = str(Location(change.path, target.pointer))
        scopes = {_scope_id(ScopeName(role, file).scope) for role in roles}
        return fingerprint_scope(change.fingerprint) in {*scopes, group_scope}

    return CloneEdits(read() if read else (), target, base, is_of_target, run.now)


def _added_lines(target: Target, commit: str, besides: Sequence[str]) -> Sequence[str] | None:
    """Returns the lines that a commit of a clone adds to files; None where they are not known."""
    if target.past:
        return target.past.added_lines(commit, besides)
    repository = target.repository
    if isinstance(repository, GitRepository):
        return repository.added_lines(commit, besides)
    return None


def _reverted_in_git(
    requests: _Requests, target: Target, names: TargetNames, base: str
) -> Mapping[str, Decline]:
    """Returns the declines by id of the change: merged proposals of a target that git shows to be
    reverted.
    """
    repository = target.repository
    read = target.past.reverted if target.past else None
    if read is None and repository is not None and repository.github is None:
        commit = base or repository.branch_head(target.settings.base)[1]
        read = partial(repository.reverted_proposals, commit, target.policy_path)
    if read is None:
        return {}
    reverts: dict[str, Decline] = {}
    none: Sequence[RevertedProposal] = ()
    reverted = requests.get(read, none, "whether a merged proposal was reverted")
    for proposal in reverted:
        file = str(Location(proposal.path, target.pointer))
        scopes = {_scope_id(ScopeName(role, file).scope) for role in names.identity.roles}
        if fingerprint_scope(proposal.fingerprint) in scopes:
            reverts.update(
                dict.fromkeys(_changes_of(proposal, file, target, base), Decline(proposal.number))
            )
    return reverts


def _changes_of(
    reverted: RevertedProposal, file: str, target: Target, base: str
) -> tuple[str, ...]:
    """Returns the ids of the changes of a reverted proposal for a policy file."""
    if reverted.after is None:
        return ()
    if reverted.before is None:
        return (DRAFT_ID,)
    principal = target.settings.principal
    try:
        folder = folder_of(target, base)
        before = read_attached(reverted.before, file, principal, folder)
        after = read_attached(reverted.after, file, principal, folder)
    except PolicyFileError:
        return ()  # The file was no policy then: nothing can be compared.
    return change_ids_between(before, after)


def _earlier_paths(requests: _Requests, target: Target, base: str) -> tuple[str, ...]:
    """Returns the paths that the policy file had before it was moved."""
    repository = target.repository
    if repository is None:
        return ()
    return requests.get(
        lambda: repository.earlier_names(
            base or repository.branch_head(target.settings.base)[1], target.policy_path
        ),
        tuple[str, ...](),
        "the earlier names of the policy file",
    )


class _OwnScopes(Struct, frozen=True):
    """The scope ids of the proposals of a target."""

    single: frozenset[str]
    """Those of pull requests for it alone, and the prefixes of its changes in shared ones."""
    group: str
    """That of the pull request that it shares; empty without a group."""

    def has(self, fingerprint: str) -> bool:
        """Whether a proposal with this fingerprint may be one of the target."""
        return fingerprint_scope(fingerprint) in {*self.single, *filter(None, [self.group])}

    def has_proposed(self, pull: ClosedPullRequest) -> bool:
        """Whether a pull request had a proposal for the target, alone or in its group of then."""
        return self.has(pull.fingerprint) or bool(self.changes_in_group(pull.changes))

    def changes_of(self, pull: ClosedPullRequest | OpenPullRequest) -> tuple[str, ...]:
        """Returns the ids of the target's changes in a pull request."""
        scope = fingerprint_scope(pull.fingerprint)
        if scope in self.single:
            return pull.changes
        in_group = self.changes_in_group(pull.changes)
        return in_group if scope == self.group else in_group or pull.changes

    def additions_of(
        self, pull: ClosedPullRequest | OpenPullRequest | None
    ) -> tuple[Permission, ...]:
        """Returns the target's additions that the body of a pull request names."""
        if pull is None:
            return ()
        changes = frozenset(self.changes_of(pull))
        if DRAFT_ID in changes:
            # All that it adds is one change.
            return pull.additions if fingerprint_scope(pull.fingerprint) in self.single else ()
        return tuple(
            addition
            for addition in pull.additions
            if addition_id(addition.action, addition.resource) in changes
        )

    def changes_in_group(self, changes: Iterable[str]) -> tuple[str, ...]:
        """Returns the ids of the target's changes among those of the pull request of a group."""
        all_changes = tuple(changes)
        return tuple(
            change for scope in sorted(self.single) for change in ids_of_scope(all_changes, scope)
        )


def _own_scopes(run: RunContext, target: Target, names: TargetNames) -> _OwnScopes:
    group = run.scope_ids(target)[1:]
    return _OwnScopes(frozenset(names.identity.scopes), group[0] if group else "")


class _ClosedPulls:
    """The closed pull requests of the branches of a target."""

    def __init__(self, pulls: PullRequests, base: str, names: TargetNames) -> None:
        """`names`: has the branches, to which further ones may be added."""
        self._pulls = pulls
        self._base = base
        self._names = names
        self._of_branch: dict[str, Sequence[ClosedPullRequest]] = {}

    def read(self) -> list[ClosedPullRequest]:
        """Returns those of all branches that are known by now."""
        for branch in self._names.branches:
            if branch not in self._of_branch:
                self._of_branch[branch] = self._pulls.closed(branch, self._base)
        return [pull for of_branch in self._of_branch.values() for pull in of_branch]


def _closed_of_target(
    host: GitHubRepository,
    run: RunContext,
    target: Target,
    names: TargetNames,
    opened: OpenPullRequest | None,
) -> list[ClosedPullRequest]:
    """Returns the closed pull requests of a target, under all names that it had."""
    pulls = host.pull_requests
    closed = _ClosedPulls(pulls, target.settings.base, names)
    if not opened and not closed.read():
        _adopt_closed_elsewhere(pulls, run, target, names)
    _adopt(names, pulls.opened_elsewhere(), asks_git=False)
    mark = target_mark(opened.body) if opened else None
    if mark and names.was_name_of_target(mark.name, asks_git=False):
        names.adopt(mark.name)
        names.add_branches(mark.branches)
    scopes = _own_scopes(run, target, names)
    fingerprints = [pull.fingerprint for pull in closed.read()]
    if opened:
        fingerprints.append(opened.fingerprint)
    if not all(scopes.has(fingerprint) for fingerprint in fingerprints if fingerprint):
        names.read_git()
    for pull in closed.read():
        if pull.target and names.was_name_of_target(pull.target, asks_git=False):
            # What a pull request before the last merge declined may be on an earlier branch.
            names.add_branches(pull.branches)
    own_pulls = [pull for pull in closed.read() if _is_of_target(pull, run, target, names)]
    for pull in own_pulls:
        if pull.target and names.was_name_of_target(pull.target, asks_git=False):
            names.adopt(pull.target)
    return own_pulls


def _is_of_target(
    pull: ClosedPullRequest, run: RunContext, target: Target, names: TargetNames
) -> bool:
    """Whether a closed pull request was one of a target, under a name that is known by now."""
    if _own_scopes(run, target, names).has_proposed(pull):
        return True
    if pull.target is None:
        return False
    # What a person declined for the role counts in each of its policy files.
    is_of_role = pull.target.role in names.identity.roles
    return is_of_role or names.was_name_of_target(pull.target, asks_git=False)


def _adopt_closed_elsewhere(
    pulls: PullRequests, run: RunContext, target: Target, names: TargetNames
) -> None:
    """Adds the names and branches of closed pull requests of any branch that were the target's."""
    elsewhere = pulls.closed_elsewhere(target.settings.base, labels_of(target))
    # An own usage history has what the earlier names declined.
    is_new = target.store is None or len(names.identity.roles) > 1
    _adopt(names, elsewhere, asks_git=is_new)
    scopes = _own_scopes(run, target, names)
    for pull in elsewhere:
        if scopes.changes_in_group(pull.changes):
            # The target was in a group.
            names.add_branches([pull.branch])


def _adopt(names: TargetNames, pulls: Iterable[MarkedPullRequest], *, asks_git: bool) -> None:
    for pull in pulls:
        if not is_credible(pull):
            continue
        if names.was_name_of_target(pull.mark.name, opened=pull.created_at, asks_git=asks_git):
            names.adopt(pull.mark.name, pull.branch)


def is_credible(pull: MarkedPullRequest) -> bool:
    """Whether the first commit of a pull request is that of the role and the policy file that its
    marker names.
    """
    name = pull.mark.name
    scope = ScopeName(name.role, name.file).scope
    return _scope_id(scope) == fingerprint_scope(pull.fingerprint)


class RunOrigins(Struct, frozen=True):
    """The origin of each run, and whether GitHub answered."""

    origins: Mapping[str, RunOrigin]
    """By run id."""
    failure: str = ""
    """Why no pull request may be published: GitHub did not answer."""


def run_origins(target: Target, missing: Sequence[Usage], evidence: Evidence) -> RunOrigins:
    """Resolves the origin of each run, by its login and, where GitHub is asked, its workflow run.

    Without an answer of GitHub the logins alone count, and other runs are of unknown origin.
    """
    settings = target.settings
    reviewed_refs = settings.options.reviewed_refs
    runs = (*evidence.runs, *evidence.logged_runs)

    def by_login_alone(run: Run) -> RunOrigin | None:
        if run.identity is None:
            return None
        return origin_without_github(run.identity, "", settings.base, reviewed_refs)

    host = target.repository.github if target.repository else None
    if host is None:
        return RunOrigins(origins_by_login(runs, by_login_alone))
    requests = _Requests()
    unread = RunOrigin(Origin.UNKNOWN, "runs whose branch GitHub did not say")
    unknown = {run.id: unread for run in runs} | origins_by_login(runs, by_login_alone)

    def ask() -> dict[str, RunOrigin]:
        """Asks GitHub which code the runs deployed."""
        lookup = host.origin_lookup(settings.base, reviewed_refs)
        by_workflow_run = _by_workflow_run(lookup.by_workflow_run, evidence)
        return resolve_origins(
            evidence,
            missing=missing,
            naming=[
                *naming_usages(evidence, missing),
                *creating_usages(evidence.usages, missing),
            ],
            by_login=lookup.by_login,
            ask=by_workflow_run,
        )

    origins = requests.get(ask, unknown, "the branches that the runs deployed from")
    unclear = (origin for origin in origins.values() if origin.origin is Origin.UNKNOWN)
    for where in sorted({origin.where for origin in unclear}):
        _log.info(f"Not known where these runs came from: {where}")
    return RunOrigins(origins, " ".join(requests.failures[:1]))


def _by_workflow_run(ask: Ask, evidence: Evidence) -> Ask:
    """Finds the origin of a run by the workflow run in its session name, or in that of its
    login.
    """

    def of_run(run: Run) -> RunOrigin:
        workflow_run = workflow_run_id(run.session) or workflow_run_id(run.parent_run)
        return ask(replace(run, session=workflow_run or run.session))

    by_majority = origins_by_majority(evidence.runs, of_run)

    def of_any(run: Run) -> RunOrigin:
        # GitHub itself names the run that wrote a log.
        return replace(of_run(run), mark="") if run in evidence.logged_runs else by_majority(run)

    return of_any


def _additions_not_granted(
    closed: Sequence[ClosedPullRequest],
    scopes: _OwnScopes,
    missing: Sequence[Usage],
    committed: Document | None,
) -> dict[ClosedPullRequest, tuple[Permission, ...]]:
    """Returns merged pull requests with those of their additions that the policy lacks and a run
    needs now.
    """
    present = [committed] if committed else []
    needed = {usage.need.permission.action for usage in missing}
    additions_by_pull: dict[ClosedPullRequest, tuple[Permission, ...]] = {}
    for pull in closed:
        additions = [
            addition for addition in scopes.additions_of(pull) if addition.action in needed
        ]
        lacking = missing_additions(additions, present)
        if lacking and pull.merge_commit:
            additions_by_pull[pull] = lacking
    return additions_by_pull


class _AcceptedAdditions(Struct, frozen=True):
    """The additions that people merged, which end earlier declines of them."""

    by_pull: Mapping[int, tuple[Permission, ...]]

    @classmethod
    def of(
        cls, memory: UsageHistory, closed: Sequence[ClosedPullRequest], scopes: _OwnScopes
    ) -> Self:
        """Returns the additions of merged pull requests, but those that a commit took away."""
        by_pull: dict[int, tuple[Permission, ...]] = {}
        for pull in closed:
            if not pull.merge_commit or pull.declined:
                continue
            declined = memory.declined.get(pull.number)
            changes = declined.changes if declined and declined.by_commit else ()
            by_pull[pull.number] = tuple(
                addition
                for addition in scopes.additions_of(pull)
                if addition_id(addition.action, addition.resource) not in changes
            )
        return cls(by_pull)

    def end(self, declined: DeclinedNames) -> bool:
        """Whether a person merged a declined addition later, alone or by a pattern."""
        return any(
            number > declined.decline.pull
            and addition.action.lower() == declined.action.lower()
            and resource_covers(addition.resource, declined.resource)
            for number, additions in self.by_pull.items()
            for addition in additions
        )


class _Declines(Struct, frozen=True):
    """What people declined."""

    by_id: Mapping[str, Decline]
    names: tuple[DeclinedNames, ...]

    @classmethod
    def of(
        cls, memory: UsageHistory, closed: Sequence[ClosedPullRequest], scopes: _OwnScopes
    ) -> Self:
        """Returns the declines that count; GitHub's state overrides the store's.

        A first draft is one of a policy file; other changes are of a permission and a resource.
        """
        pulls = {pull.number: pull for pull in closed}
        by_id: dict[str, Decline] = {}
        names: list[DeclinedNames] = []
        for number, declined in sorted(memory.declined.items()):
            pull = pulls.get(number)
            if declined.taken_back or (pull and _is_undone(pull, declined)):
                continue
            decline = Decline(number, by_commit=declined.by_commit)
            is_of_file = scopes.has(declined.fingerprint)
            for change in declined.changes:
                if change != DRAFT_ID or is_of_file:
                    by_id[change] = decline
            names.extend(
                DeclinedNames(addition.action, addition.resource, decline)
                for addition in declined.additions
            )
        accepted = _AcceptedAdditions.of(memory, closed, scopes)
        lasting: list[DeclinedNames] = []
        for declined_names in names:
            if accepted.end(declined_names):
                by_id.pop(addition_id(declined_names.action, declined_names.resource), None)
            else:
                lasting.append(declined_names)
        return cls(by_id, tuple(lasting))

    @property
    def names_by_action(self) -> Mapping[str, Sequence[DeclinedNames]]:
        """The named additions by their action in lower case."""
        return _by_action(self.names)

    def with_open(self, opened: OpenPullRequest | None, edits: BranchEdits) -> Self:
        """Returns the declines with what a person took away from the open pull request."""
        if opened is None or not edits.in_open:
            return self
        decline = Decline(opened.number, by_commit=True)
        ids = {
            addition_id(addition.action, addition.resource): decline for addition in edits.in_open
        }
        names = (
            DeclinedNames(addition.action, addition.resource, decline) for addition in edits.in_open
        )
        return type(self)({**self.by_id, **ids}, (*self.names, *names))


def _new_declines(
    known: UsageHistory,
    closed: Sequence[ClosedPullRequest],
    scopes: _OwnScopes,
    edits: BranchEdits,
) -> Mapping[int, DeclinedPullRequest]:
    """Returns the declines that the store lacks; a description that was rewritten later removes
    none.
    """
    declines: dict[int, DeclinedPullRequest] = {}
    for pull in closed:
        before = known.declined.get(pull.number)
        by_commit = pull.number in edits.merged and not pull.declined
        if by_commit:
            additions = edits.merged[pull.number]
            changes = tuple(
                addition_id(addition.action, addition.resource) for addition in additions
            )
        else:
            changes = scopes.changes_of(pull) or (before.changes if before else ())
            # A person who declines a first draft may want parts of it in another policy.
            additions = () if DRAFT_ID in changes else scopes.additions_of(pull)
        seen = pull.changed_at
        if before:
            # A revert changes no pull request, so that the news would have the time of the store.
            seen = max(seen, before.seen + timedelta(seconds=1))
        decline = DeclinedPullRequest(
            seen=seen,
            taken_back=pull.reconsidered,
            fingerprint=pull.fingerprint,
            changes=changes,
            additions=_storable(additions) or (before.additions if before else ()),
            by_commit=by_commit,
        )
        is_news = before is None or replace(before, seen=decline.seen) != decline
        is_declined = pull.declined or by_commit
        if (is_declined or (pull.reconsidered and before)) and is_news:
            declines[pull.number] = decline
    return declines


def _is_undone(pull: ClosedPullRequest, declined: DeclinedPullRequest) -> bool:
    """Whether a decline no longer counts, as the state of its pull request shows."""
    if pull.reconsidered:
        return True
    return pull.undone and not declined.by_commit


def _storable(additions: Iterable[Permission]) -> tuple[DeclinedAddition, ...]:
    """Returns the additions that a usage history can hold."""
    return tuple(
        DeclinedAddition(addition.action, addition.resource)
        for addition in additions
        if is_action(addition.action) and is_resource(addition.resource)
    )


def _without_reconsidered(
    memory: UsageHistory, closed: Sequence[ClosedPullRequest]
) -> UsageHistory:
    """Returns a history without the grants that came back after pull requests whose label allows
    their changes again.
    """
    numbers = {pull.number for pull in closed if pull.reconsidered}
    returned = {
        key: back
        for key, back in memory.returned.items()
        if not (back.granted and back.pull in numbers)
    }
    return replace(memory, returned=returned)


def _with_reverts(
    host: GitHubRepository,
    target: Target,
    identity: TargetIdentity,
    base: str,
    closed: Sequence[ClosedPullRequest],
    changed: datetime | None,
) -> list[ClosedPullRequest]:
    """Returns closed pull requests; a merged one that a later commit reverts is a declined one."""
    merge_times = [
        pull.merged_at
        for pull in closed
        if pull.merged_at and changed and pull.merged_at < changed and not pull.reconsidered
    ]
    if not merge_times:
        return list(closed)
    commit = base or host.branch_head(target.settings.base)[1]
    messages = [
        message
        for path in paths_of(identity)
        for message in host.branches.messages_since(commit, path, min(merge_times))
    ]
    pulls: list[ClosedPullRequest] = []
    for pull in closed:
        is_reverted = (
            pull.merged_at in merge_times
            and not pull.reconsidered
            and any(is_reverted_by(pull, message, host.full_name) for message in messages)
        )
        pulls.append(replace(pull, declined=True, undone=False) if is_reverted else pull)
    return pulls


def _reverted(
    host: GitHubRepository,
    target: Target,
    identity: TargetIdentity,
    closed: Sequence[ClosedPullRequest],
    missing: Sequence[Usage],
) -> dict[Permission, int]:
    """Returns denied permission -> number of the latest merged proposal that removed it."""
    denied = [usage for usage in missing if usage.denial and usage.denial.mendable]
    merged = (
        [pull for pull in closed if pull.merged_at and pull.merge_commit][:MAX_MERGED]
        if denied
        else []
    )
    reverted: dict[Permission, int] = {}
    for pull in sorted(merged, key=lambda pull: pull.number, reverse=True):
        before = policy_at(host.branches.parent_of(pull.merge_commit), target, identity)
        after = policy_at(pull.merge_commit, target, identity)
        for usage in denied if before and after else ():
            later = pull.merged_at is not None and usage.last_seen > pull.merged_at
            if (
                later
                and _granted(usage, target.role, before)
                and not _granted(usage, target.role, after)
            ):
                reverted.setdefault(usage.need.permission, pull.number)
    return reverted


def _granted(usage: Usage, principal: str, document: Document | None) -> bool:
    documents = [document] if document else []
    regions = usage.regions or ("",)
    return all(
        replay_need(usage.need, principal, region, documents).startswith("allowed")
        for region in regions
    )
