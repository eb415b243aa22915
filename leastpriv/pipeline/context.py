"""What a run receives and what it returns: targets, job logs and AWS; per target the pull request
and its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from leastpriv.aws.arns import account_of, parse_principal
from leastpriv.aws.session import AwsSession
from leastpriv.config.settings import (
    GivenInputs,
    Mode,
    Settings,
    default_branch,
)
from leastpriv.errors import InputError, LeastprivError
from leastpriv.evidence.role_chain import RoleChain
from leastpriv.evidence.usage_history import UsageHistory
from leastpriv.evidence.users import OWN_ACCOUNT, KnownUsers
from leastpriv.models import FormerNames, Permission, Principal, TargetName
from leastpriv.policy.source import Location
from leastpriv.proposal.models import History, fingerprint
from leastpriv.pull_request.lifecycle import CommentCommand, TargetMark, fingerprint_scope
from leastpriv.pull_request.models import FolderStateStore, PublishResult
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import context_findings
from leastpriv.report.guide import LATEST
from leastpriv.report.role_chain import RoleChainPolicies

if TYPE_CHECKING:
    from leastpriv.aws.assumed_role import AssumedRole
    from leastpriv.config.targets_file import Configuration, TargetEntry
    from leastpriv.evidence.run_logs import WorkflowRunLogs
    from leastpriv.pipeline.sources import CountedSource
    from leastpriv.pull_request.git_repository import FileChange, GitRepository, RevertedProposal
    from leastpriv.pull_request.github.repository import GitHubRepository
    from leastpriv.pull_request.github.state_branch import BranchStateStore

    Repository = GitRepository | GitHubRepository


class JobLogs(Struct, frozen=True):
    """The job logs of one run of the program."""

    files: tuple[str, ...] = ()
    """Logs of any tool, folders of them, zip archives; `-` is standard input."""
    run: WorkflowRunLogs | None = None
    """Those of the workflow run that runs this program."""
    root: str = ""
    """The workspace with a `/` at its end, which messages leave out of the names of files."""


class PastOfFile(Protocol):
    """The past of a policy file on disk."""

    def changed(self) -> datetime | None:
        """Returns when it was last changed, where its commit or the disk knows it."""

    def at(self, time: datetime) -> bytes | None:
        """Returns its content at a time."""

    def changes(self) -> Sequence[FileChange]:
        """Returns the commits to it since the first merged proposal."""

    def added_lines(self, commit: str, besides: Sequence[str]) -> Sequence[str] | None:
        """Returns the lines that a commit adds to other files; None: not known."""

    def reverted(self) -> Sequence[RevertedProposal]:
        """Returns the merged proposals for it that later commits revert."""


class Target(Struct, frozen=True):
    """A role or user, and where its policy is."""

    settings: Settings
    policy_path: str
    """The policy file relative to the repository's root, with `/`."""
    folder: Path | None = None
    """The root of the policy files on disk; None: they are read in the repository."""
    repository: Repository | None = None
    """The repository of the policy file, on disk or on GitHub."""
    pointer: str = ""
    """JSON pointer of the policy in its file; empty where the file is the policy."""
    workspace: Path = Path()
    """The folder that the names of templates and plans start at."""
    past: PastOfFile | None = None
    """That of the policy file on disk; None: the repository knows it."""
    store: FolderStateStore | BranchStateStore | None = None
    """Keeps the usage history of the role; None: nothing is kept between runs."""
    writes_store: bool = True
    """False where the token of the run cannot write."""
    group: str = ""
    """The group whose pull request it shares; empty: it has its own."""
    shown_account: str = ""
    """The account that reports name with the role, where the targets are in several accounts."""
    matched: tuple[str, ...] = ()
    """ARNs of the roles that match the patterns of its users."""
    formerly: FormerNames = FormerNames()
    """Its earlier names in the config."""
    other_repository: str = ""
    """`OWNER/NAME` of the repository of the policy file, where it is not that of the run; else
    empty.
    """

    @property
    def role(self) -> str:
        """ARN of the role or user; of several, that of their common principal."""
        return self.settings.principal.arn

    @property
    def shown_role(self) -> str:
        """The role as texts name it: in every account where its users are in several."""
        return self.role.replace(f"::{OWN_ACCOUNT}:", "::*:")

    @property
    def shown_accounts(self) -> str:
        """The account of the users, or all of them with commas."""
        accounts = dict.fromkeys(map(account_of, self.users))
        return ", ".join(accounts) or self.settings.principal.account

    @property
    def users(self) -> tuple[str, ...]:
        """ARNs of the users of the policy that are known; patterns have none before the records are
        read.
        """
        return (*self.settings.users.named, *self.matched)

    @property
    def lead(self) -> Principal:
        """The first user of the policy: its account answers where one is asked."""
        users = self.users
        return parse_principal(users[0]) if users else self.settings.principal

    @property
    def only_plans(self) -> bool:
        """Whether the role shows changes and does not make them."""
        return self.settings.options.only_plans

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches of its pull requests: its own, then that of its role without the input
        `branch`, and those of its earlier names.
        """
        roles = (self.role, *self.formerly.roles)
        defaults = [default_branch(parse_principal(role).name) for role in roles]
        names = [self.settings.branch, *self.formerly.branches, *defaults]
        return tuple(dict.fromkeys(names))

    @property
    def policy_name(self) -> str:
        """The policy file with its pointer."""
        return str(Location(self.policy_path, self.pointer))

    @property
    def real_policy(self) -> str:
        """The policy file where links on disk lead, with its pointer."""
        if self.folder is None:
            return self.policy_name
        real = (self.folder / self.policy_path).resolve()
        return str(Location(str(real), self.pointer))

    @property
    def base_repository(self) -> Repository | None:
        """The repository whose base branch holds the committed policy; None: the policy is read on
        disk.
        """
        is_on_base = self.folder is None or self.settings.mode is Mode.PULL_REQUEST
        return self.repository if is_on_base else None

    @property
    def scope(self) -> str:
        """Principal and policy file, the part of a fingerprint that no proposal changes."""
        return ScopeName(self.role, self.policy_name).scope


class TargetsFile(Struct, frozen=True, dict=True):
    """The file of the input `config`, and how its entries become targets."""

    configuration: Configuration
    raw: bytes
    given: GivenInputs
    """The inputs that all targets share."""
    mode: Mode
    target_of: Callable[[Settings, str], Target]
    """Settings, and the repository of the policy if that is another one -> where the policy is."""
    repository: Repository | None = None

    @cached_property
    def users(self) -> KnownUsers:
        """The users of all its targets."""
        return KnownUsers(arn for entry in self.configuration.entries for arn in entry.users.arns)

    def group_scope(self, group: str) -> str:
        """The scope of a group's pull request."""
        return f"group {group} of {self.configuration.path}"

    def settings_of(self, entry: TargetEntry, roles: Sequence[str]) -> Settings:
        """Returns the settings of an entry; raises InputError for a wrong value."""
        from leastpriv.config.targets_file import settings_of

        return replace(settings_of(entry, roles, self.given), mode=self.mode)

    def target(self, entry: TargetEntry, roles: Sequence[str] = ()) -> Target:
        """Returns the target of an entry; `roles` are those that match its pattern and share a
        policy file.
        """
        settings = self.settings_of(entry, roles or entry.users.arns)
        is_shown = entry.one_of_several_accounts and not settings.spans_accounts
        return replace(
            self.target_of(settings, entry.repository),
            group=entry.group,
            formerly=entry.former_names(settings.principal.arn),
            shown_account=settings.principal.account if is_shown else "",
        )


class RunContext(Struct, frozen=True):
    """Everything that one run of the program is given."""

    settings: Settings
    """What all targets share; those of the target in a run of one."""
    targets: tuple[Target, ...]
    """Those that are named; patterns of the targets file add further ones."""
    now: datetime
    """Also the time of a denial in a log whose line has none."""
    trails: tuple[Path, ...] = ()
    job_logs: JobLogs = JobLogs()
    aws: AwsSession | None = None
    run_url: str = ""
    workflow: str = ""
    """File of the workflow that runs: `owner/name/.github/workflows/FILE`; empty elsewhere."""
    guide: str = LATEST
    """Folder of the guide's pages, at the version of the action that runs."""
    watch: Callable[[Sequence[CountedSource]], AbstractContextManager[None]] = lambda _: (
        nullcontext()
    )
    """Shows the progress while sources are read."""
    file: TargetsFile | None = None
    """None: the run has the one target that its inputs name."""
    sessions: Mapping[str, AwsSession] = {}
    """By account: the session of the role that reads it, where `aws` does not."""

    def in_account(self, account: str) -> RunContext:
        """Returns the run with the AWS session that reads an account."""
        return replace(self, aws=self.sessions.get(account, self.aws))

    @property
    def isolates_failures(self) -> bool:
        """Whether a failure of one target ends no other."""
        return self.file is not None


DRIFT_EXIT_CODE = 3
"""Exit code of the mode `check` when the policy differs from what the evidence requires, or from
the account, and when it leads to administrator."""
_BY_WEIGHT = (1, 2, DRIFT_EXIT_CODE)
"""Exit codes: work not done weighs more than bad input, and that more than drift."""


class PullRequestContent(Struct, frozen=True):
    """A proposal with its report, before it is published."""

    context: ReportContext
    title: str
    body: str
    """In Markdown, without the controls of a pull request."""
    base: str
    """Commit that the policy was read in; empty where it was read on disk."""
    changes: tuple[str, ...]
    """Ids of the changes that closing the pull request declines."""
    additions: tuple[Permission, ...]
    """The permissions among them that are added."""
    history: TargetHistory
    """Earlier pull requests, comments and runs."""
    mark: TargetMark
    """What its hidden marker says of the target."""


class TargetResult(Struct, frozen=True):
    """How one target ended."""

    target: Target
    content: PullRequestContent | None = None
    failure: LeastprivError | None = None
    """Why there is no proposal, in a run of several targets."""
    published: PublishResult | None = None
    unread_users: str = ""
    """Why some users of the policy could not be read, in a run of several targets; a sentence."""
    unsaved: str = ""
    """Why the usage history was not kept, or a comment not answered; a sentence."""

    @property
    def context(self) -> ReportContext | None:
        """The proposal with what it rests on."""
        return self.content.context if self.content else None

    @property
    def has_changes(self) -> bool:
        """Whether the proposal differs from the committed policy."""
        return bool(self.context and self.context.proposal.changes)

    @property
    def failure_text(self) -> str:
        """Why the target or its pull request failed; empty where neither did."""
        if self.failure:
            return str(self.failure)
        return self.published.failure if self.published else ""

    @property
    def lacks_calls(self) -> bool:
        """Whether the evidence has no call of the principal, and that fails the run."""
        return bool(
            self.context and self.context.missing_calls and self.target.settings.fails_without_calls
        )

    @property
    def leads_to_administrator(self) -> bool:
        """Whether the committed policy lets an attacker become administrator, and that fails the
        mode check.
        """
        settings = self.target.settings
        if self.context is None or not (
            settings.fails_on_escalation and settings.mode is Mode.CHECK
        ):
            return False
        return any(path.leads_to_administrator for path in self.context.escalation.before)

    @property
    def exit_code(self) -> int:
        """0, the code of the failure, 1 if publishing failed, a user could not be read or there is
        no call, 3 for what the mode check found.
        """
        if self.failure or self.context is None:
            return self.failure.exit_code if self.failure else 1
        if self.lacks_calls or self.unread_users or (self.published and self.published.failure):
            return 1
        is_check = self.target.settings.mode is Mode.CHECK
        findings = is_check and context_findings(self.context)
        return DRIFT_EXIT_CODE if findings or self.leads_to_administrator else 0


class FirstFiles(Struct, frozen=True):
    """First policy files for roles without one, and the targets file that names them."""

    drafts: tuple[TargetResult, ...]
    files: dict[str, bytes]
    """By path in the repository; without the targets file where a person has to change that."""
    published: PublishResult | None = None


class RunResult(Struct, frozen=True):
    """How a run ended."""

    targets: tuple[TargetResult, ...]
    chain: RoleChainPolicies = field(default_factory=lambda: RoleChainPolicies(RoleChain(())))
    notes: tuple[str, ...] = ()
    first_files: FirstFiles | None = None
    has_targets_file: bool = True
    lacks_roles: bool = False
    """Whether no role that was read matches a pattern of the targets file, and that fails the run.
    """

    def exit_code(self, codes: Sequence[int]) -> int:
        """Returns the exit code of the run; `codes` are those of its targets."""
        first = self.first_files.published if self.first_files else None
        if self.lacks_roles or (first and first.failure):
            return 1
        return next((code for code in _BY_WEIGHT if code in codes), max(codes, default=0))

    @property
    def contexts(self) -> list[ReportContext]:
        """The proposals of all targets that have one, with what they rest on."""
        return [target_result.context for target_result in self.targets if target_result.context]

    @property
    def single(self) -> TargetResult | None:
        """The one target of a run without a targets file."""
        return None if self.has_targets_file else self.targets[0]


def scope_id(scope: str) -> str:
    """Returns the part of a fingerprint that all proposals of a scope share."""
    return fingerprint_scope(fingerprint(scope, None, b""))


class ScopeName(Struct, frozen=True):
    """A role and a policy file, which a proposal's scope is made of."""

    role: str
    file: str

    @property
    def scope(self) -> str:
        """The part of a fingerprint that no proposal changes."""
        return f"{self.role} {self.file}"

    @property
    def id(self) -> str:
        """The part of a fingerprint that all proposals of this scope share."""
        return scope_id(self.scope)


class TargetIdentity(Struct, frozen=True):
    """The present and the earlier names of a target."""

    name: TargetName
    roles: tuple[str, ...]
    """ARNs, the present one first."""
    files: tuple[str, ...]
    """Policy files with their pointers, the present one first."""

    @property
    def scopes(self) -> Mapping[str, ScopeName]:
        """By scope id: the role and the policy file under which a proposal had it; the present one
        first.
        """
        scope_names = [ScopeName(role, file) for role in self.roles for file in self.files]
        return {scope_name.id: scope_name for scope_name in scope_names}

    def is_named(self, name: TargetName) -> bool:
        """Whether a name is one of the target: a role and a file that it has or had, or one of
        them with its id.
        """
        has_id = name.id == self.name.id
        has_role = name.role in self.roles
        has_file = name.file in self.files
        return [has_id, has_role, has_file].count(True) >= 2


class TargetHistory(Struct, frozen=True):
    """The history of a target, and its part that the store does not have yet."""

    history: History
    news: UsageHistory
    identity: TargetIdentity
    """The names of the target."""
    commands: tuple[CommentCommand, ...] = ()
    """Comment commands, the invalid ones with a reason."""
    failure: str = ""
    """Why no pull request may be published: the repository did not answer."""
    former_branches: tuple[str, ...] = ()
    """Further branches that its pull requests had."""
    taken_away: tuple[Permission, ...] = ()
    """Additions that a person took away from the branch of the open pull request."""


def with_targets_file(
    run: RunContext, file: TargetsFile, trusted: Configuration | None
) -> RunContext:
    """Returns the run of all targets of the file, with a session for each account that has a reader
    role.

    The config of the base branch, `trusted`, decides alone which roles are assumed: that of the
    file may be of a pull request. None: it is not known.
    """
    if file.configuration.of_organization:
        from leastpriv.config.targets_file import in_organization

        accounts = _accounts_of_organization(run, file)
        file = replace(file, configuration=in_organization(file.configuration, accounts))
        trusted = in_organization(trusted, accounts) if trusted else None
    entries = file.configuration.entries
    _check_repositories(file, trusted)
    named_targets = tuple(file.target(entry) for entry in entries if not entry.is_pattern)
    readers = file.configuration.readers
    if not readers or run.aws is None:
        return replace(run, targets=named_targets, file=file)
    from leastpriv.aws.assumed_role import AssumedSession

    known = trusted.readers if trusted else {}
    sessions = {
        account: AssumedSession(
            reader, run.aws, "" if known.get(account) == reader else _untrusted(reader, trusted)
        )
        for account, reader in readers.items()
    }
    return replace(run, targets=named_targets, file=file, sessions=sessions)


def _check_repositories(file: TargetsFile, trusted: Configuration | None) -> None:
    """Raises InputError for another repository that only a config outside the base branch names:
    its author may not read there.
    """
    repositories = [entry.repository for entry in trusted.entries] if trusted else []
    for entry in file.configuration.entries:
        if entry.repository and entry.repository not in repositories:
            raise InputError(
                f"{entry.where}: repository counts only in the config of the base branch: merge it"
                " first."
            )


def _accounts_of_organization(run: RunContext, file: TargetsFile) -> tuple[str, ...]:
    """Returns the accounts of the AWS organization; raises LeastprivError."""
    if run.aws is None or not run.settings.asks_aws:
        raise InputError(
            f"{file.configuration.path} has accounts: organization, and this run does not use AWS:"
            " list the accounts, or leave them out for those of the records."
        )
    from leastpriv.evidence.organization import organization_accounts

    return organization_accounts(run.aws.aws())


def _untrusted(reader: AssumedRole, trusted: Configuration | None) -> str:
    """Returns why a role that reads an account is not assumed: a pull request may name any."""
    if trusted is None:
        return (
            f"The role {reader.arn} is not assumed: assume-role counts only in the config of the"
            " base branch, which is not there, or not known without github-token."
        )
    return (
        f"The role {reader.arn} is not assumed: the config of the base branch does not name it with"
        f" these values for the account {reader.account}. It counts once it is merged."
    )
