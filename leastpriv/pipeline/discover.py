"""Finds targets by patterns, and roles of the role chain without a committed policy, which get
first policy files.
"""

from __future__ import annotations

import hashlib
import logging
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import account_of, parse_principal
from leastpriv.config.policy_users import PolicyUsers
from leastpriv.config.settings import Mode
from leastpriv.config.targets_file import (
    NAME,
    Configuration,
    TargetEntry,
    first_file_template,
    with_targets,
)
from leastpriv.errors import InputError, LeastprivError, NoCallsError
from leastpriv.evidence.role_chain import RoleChain
from leastpriv.models import grouped
from leastpriv.pipeline.collect_evidence import RunEvidence, attempt, with_matching_users
from leastpriv.pipeline.context import (
    FirstFiles,
    PullRequestContent,
    RunContext,
    Target,
    TargetResult,
    TargetsFile,
    scope_id,
)
from leastpriv.pipeline.publish import GroupedPullRequest, publish_together, target_row
from leastpriv.pull_request.lifecycle import fingerprint_scope
from leastpriv.pull_request.models import PublishResult
from leastpriv.report.context import ReportContext
from leastpriv.report.role_chain import RoleChainPolicies, UncommittedRole
from leastpriv.report.targets import first_files_body, first_files_title

_log = logging.getLogger(__name__)
_ACCOUNT_DIGITS = 12
BRANCH = "leastpriv/first-files"
"""The branch of the pull request with first files."""

Draft = Callable[[Target], PullRequestContent]
"""Makes the proposal of a role that is no target."""


class UncommittedRoles(Struct, frozen=True):
    """The roles of a role chain that are no targets."""

    roles: tuple[UncommittedRole, ...]
    """With what each of them needs."""
    drafts: tuple[TargetResult, ...]
    """Of their first policy files."""


def uncommitted_roles(
    chain: RoleChain,
    targets: Sequence[Target],
    file: TargetsFile,
    evidence: RunEvidence,
    draft: Draft,
) -> UncommittedRoles:
    """Returns what each role of the chain needs that is no target, and the drafts of first
    files.
    """
    users = {user for target in targets for user in target.users}
    taken = {target.policy_path for target in targets}
    template = file.configuration.discover or first_file_template(targets[0].settings.policy_file)
    roles: list[UncommittedRole] = []
    drafts: list[TargetResult] = []
    for role in chain.roles:
        if role in users:
            continue
        if role not in evidence.found:
            unread = evidence.failures.get(account_of(role))
            if unread:
                roles.append(UncommittedRole(role, failure=str(unread)))
            continue
        name = role.rpartition("/")[2]
        path = template.replace(NAME, name)
        if path in taken:
            path = template.replace(NAME, f"{account_of(role)}-{name}")
        taken.add(path)
        drafted, failure = attempt(partial(_drafted, role, path, file, draft))
        if drafted is None or drafted.context is None:
            roles.append(UncommittedRole(role, failure=str(failure)))
            continue
        roles.append(_uncommitted_role(role, drafted.context))
        if drafted.has_changes:
            drafts.append(drafted)
    return UncommittedRoles(tuple(roles), tuple(drafts))


def _drafted(role: str, path: str, file: TargetsFile, draft: Draft) -> TargetResult:
    """Drafts the first policy file of a role that is no target.

    Raises:
        InputError: the file is there already.
    """
    values = {"role-arn": role, "policy-file": path}
    entry = TargetEntry(f"The role {role}", values, PolicyUsers((role,)))
    target = _observed_target(file, entry)
    with _without_progress():
        content = draft(target)
    if content.context.proposal.committed is not None:
        raise InputError(
            f"{path} is there already: name it for this role in {file.configuration.path}."
        )
    return TargetResult(target, content)


def _uncommitted_role(role: str, context: ReportContext) -> UncommittedRole:
    """Returns what a role needs, as its draft shows it."""
    proposal = context.proposal
    denied = {addition.action for addition in proposal.held_back_additions}
    return UncommittedRole(
        role,
        actions=tuple(dict.fromkeys(change.action for change in proposal.changes)),
        calls=context.evidence.counts.calls,
        runs=len(context.evidence.runs),
        denied=len(denied),
    )


class ProposedFirstFiles(Struct, frozen=True):
    """First files with their pull request, and sentences on them."""

    first_files: FirstFiles | None = None
    """None where none are proposed."""
    notes: tuple[str, ...] = ()


def first_files(
    run: RunContext, file: TargetsFile, drafts: Sequence[TargetResult], chain: RoleChainPolicies
) -> ProposedFirstFiles:
    """Proposes first files in a pull request where the targets file asks for them."""
    configuration = file.configuration
    if not configuration.discover:
        return ProposedFirstFiles()
    declined, failure = attempt(partial(declined_roles, file, run.settings.base))
    if declined is None:
        return ProposedFirstFiles(notes=(f"First files are not proposed: {failure}",))
    wanted = tuple(draft for draft in drafts if role_id(draft.target.role) not in declined)
    entries = [(draft.target.role, draft.target.policy_path) for draft in wanted]
    files: dict[str, bytes] = {}
    notes: list[str] = []
    config = with_targets(file.raw, configuration.path, entries) if entries else None
    if config:
        files[configuration.path] = config
    else:
        # A person has to change the targets file.
        for role, path in entries:
            notes.append(f"Add to {configuration.path}: role-arn {role}, policy-file {path}")
    for draft in wanted:
        if draft.context:
            files.update(draft.context.contents)
    drafted = FirstFiles(wanted, files)
    for path in files:
        _log.info(f"First file: {path}")
    if run.settings.mode is Mode.PULL_REQUEST:
        published, failure = attempt(partial(_publish_first_files, run, file, drafted, chain))
        drafted = replace(drafted, published=published)
        reason = published.failure if published else ""
        if failure:
            reason = str(failure)
        if reason:
            notes.append(f"First files were not published: {reason}")
    return ProposedFirstFiles(drafted, tuple(notes))


def declined_roles(file: TargetsFile, base: str) -> tuple[str, ...]:
    """Returns the ids of the roles whose first files a person closed without merging; raises
    PullRequestError.
    """
    host = file.repository.github if file.repository else None
    if host is None:
        return ()
    scope_of_first_files = scope_id(_scope(file.configuration))
    declined: list[str] = []
    for pull in host.pull_requests.closed(BRANCH, base):
        if pull.declined and fingerprint_scope(pull.fingerprint) == scope_of_first_files:
            declined.extend(pull.changes)
    return tuple(declined)


def role_id(role: str) -> str:
    """Returns twelve hexadecimal digits for a role whose first file is proposed."""
    return hashlib.sha256(role.encode()).hexdigest()[:12]


def _publish_first_files(
    run: RunContext, file: TargetsFile, drafted: FirstFiles, chain: RoleChainPolicies
) -> PublishResult | None:
    """Publishes the first files in one pull request; None without a repository."""
    repository = file.repository
    configuration = file.configuration
    base = run.settings.base
    if repository is None:
        return None
    commit = repository.branch_head(base).commit
    rows = [target_row(draft) for draft in drafted.drafts]
    folder = posixpath.dirname(configuration.discover or "")

    def is_first_file(path: str) -> bool:
        is_policy = path.endswith(".json") and posixpath.dirname(path) == folder
        return is_policy or path == configuration.path

    pull = GroupedPullRequest(
        scope=_scope(configuration),
        branch=BRANCH,
        base=base,
        primary=configuration.path,
        files=drafted.files,
        title=first_files_title([row.role for row in rows]),
        changes=tuple(role_id(draft.target.role) for draft in drafted.drafts),
        text=lambda mark, taken: first_files_body(rows, configuration.path, chain, mark, taken),
        owns=is_first_file,
        options=run.settings.pull_request_options,
    )
    return publish_together(pull, repository, commit, run.now)


def _scope(configuration: Configuration) -> str:
    return f"first files of {configuration.path}"


def _observed_target(file: TargetsFile, entry: TargetEntry) -> Target:
    """Returns a role that is no target, whose proposal is not published."""
    settings = replace(file.settings_of(entry, entry.users.arns), mode=Mode.REPORT)
    return replace(file.target_of(settings, entry.repository), store=None)


@contextmanager
def _without_progress() -> Iterator[None]:
    """Drops what this package logs about a role that is no target."""
    logger = logging.getLogger(__package__)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class AllTargets:
    """The targets of a config, once its patterns are matched with the roles of the evidence."""

    def __init__(self, file: TargetsFile, evidence: RunEvidence) -> None:
        """Begins without a target; `evidence` was read."""
        self._file = file
        self._evidence = evidence
        self._named = {arn for entry in file.configuration.entries for arn in entry.users.named}
        """Roles that a target has already, so that no further pattern matches them."""
        self.targets: list[Target] = []
        self.failed: list[TargetResult] = []
        self.notes: list[str] = []
        """Sentences on patterns without a match, and on users that could not be read."""

    def add(self, target: Target) -> None:
        """Adds the target of an entry with one policy file, and the roles that match the patterns
        of its users.
        """
        patterns = target.settings.users.patterns
        if patterns:
            target, failure = with_matching_users(target, self._evidence, self._named)
            self._named.update(target.matched)
            if failure and not (target.users and isinstance(failure, NoCallsError)):
                # What unknown users need must not go: the named ones alone decide nothing.
                self.failed.append(TargetResult(target, failure=failure))
                return
            if failure or not target.users:
                shown = ", ".join(patterns)
                note = f"{target.policy_name}: `{shown}` matches no role that was read."
                self.notes.append(f"{note} {failure}" if failure else note)
            if not target.users:
                return
        self.targets.append(target)
        unread = self._evidence.unread_users(target)
        if unread:
            self.notes.append(unread)

    def add_of_pattern(self, entry: TargetEntry) -> None:
        """Adds a target for each policy file of a pattern, as `iam/{name}.json` has one for each
        role.
        """
        roles, failure = attempt(partial(self._evidence.matches, entry.users, self._named))
        note = f"{entry.where}: `{entry.role}` matches no role that was read."
        if isinstance(failure, NoCallsError):
            self.notes.append(f"{note} {failure}")
        elif failure:
            self._add_failure(entry, failure)
        elif not roles:
            self.notes.append(note)
        self._named.update(roles or ())
        by_file = grouped((entry.policy_file(role), role) for role in roles or ())
        for roles_of_file in by_file.values():
            self._add_of_file(entry, roles_of_file)

    def _add_of_file(self, entry: TargetEntry, roles: Sequence[str]) -> None:
        """Adds the target of roles that share a policy file; another target must have neither its
        file nor its branch.
        """
        target, failure = attempt(partial(self._file.target, entry, roles))
        if target is None:
            self._add_failure(entry, failure)
            return
        shared = _shared(target, self.targets)
        if shared:
            sentence = f"{entry.where}: {roles[0]} would have the {shared} of another target."
            self._add_failure(entry, InputError(sentence))
            return
        self.targets.append(target)

    def _add_failure(self, entry: TargetEntry, failure: LeastprivError | None) -> None:
        """Adds the failure of a pattern, or of one of its targets; the settings are those of a role
        that it would match.
        """
        target = Target(
            self._file.settings_of(entry, [_example(entry)]),
            self._file.configuration.path,
            repository=self._file.repository,
            group=entry.group,
        )
        self.failed.append(TargetResult(target, failure=failure))


def all_targets(run: RunContext, file: TargetsFile, evidence: RunEvidence) -> AllTargets:
    """Reads the evidence of all accounts, and matches the patterns of the config with its roles.

    Raises InputError for a wrong option of a pattern, before a source is read.
    """
    _check_separate_files(run.targets)
    entries = file.configuration.entries
    patterns = [entry for entry in entries if entry.is_pattern]
    for entry in patterns:
        file.settings_of(entry, [_example(entry)])
    named_users: list[str] = []
    user_patterns: list[str] = []
    for entry in entries:
        named_users.extend(entry.users.named)
        user_patterns.extend(entry.users.patterns)
    evidence.read(map(parse_principal, named_users), user_patterns)
    targets = AllTargets(file, evidence)
    for target in run.targets:
        targets.add(target)
    for entry in patterns:
        targets.add_of_pattern(entry)
    return targets


def _check_separate_files(targets: Sequence[Target]) -> None:
    """Raises InputError for two targets whose files are one by a link: their proposals would undo
    each other.
    """
    first_names: dict[str, str] = {}
    for target in targets:
        name = first_names.setdefault(target.real_policy, target.policy_name)
        if name != target.policy_name:
            raise InputError(
                f"policy-file is {target.policy_name!r}, a link to the same file as {name!r}: name"
                " the roles that share it in one target, below roles."
            )


def _shared(target: Target, others: Iterable[Target]) -> str:
    """Returns the input of which a target has the same value as another one of its repository,
    `policy-file` or `branch`; empty if none. The targets of a group share its branch.
    """
    for other in others:
        if target.repository != other.repository:
            continue
        if target.real_policy == other.real_policy:
            return "policy-file"
        is_same_branch = target.settings.branch == other.settings.branch
        if is_same_branch and not (target.group and target.group == other.group):
            return "branch"
    return ""


def _example(entry: TargetEntry) -> str:
    """Returns an ARN that a pattern matches: `arn:aws:iam::000000000000:role/cix` for
    `arn:aws:iam::*:role/ci*`.
    """
    account = entry.account
    digits_of_pattern = len(account) - len("*")
    missing_digits = "0" * (_ACCOUNT_DIGITS - digits_of_pattern)
    digits = account.replace("*", missing_digits).replace("?", "0")[:_ACCOUNT_DIGITS]
    head, _, role_path = entry.role.partition(f"::{account}:")
    role_path = role_path.replace("*", "x").replace("?", "x")
    return f"{head}::{digits}:{role_path}"
