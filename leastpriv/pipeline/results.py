"""What a run found and did: for each target the text of its pull request, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from leastpriv.config.settings import Mode
from leastpriv.errors import LeastprivError
from leastpriv.evidence.role_chain import RoleChain
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.history import TargetHistory
from leastpriv.pull_request.models import PublishResult
from leastpriv.report.context import ReportContext
from leastpriv.report.drift import context_findings
from leastpriv.report.role_chain import RoleChainPolicies

DRIFT_EXIT_CODE = 3
"""Exit code of the mode `check` when the policy differs from what the evidence requires, or from the account."""
_BY_WEIGHT = (1, 2, DRIFT_EXIT_CODE)
"""Exit codes: work not done weighs more than bad input, and that more than drift."""


@dataclass(frozen=True, slots=True)
class PullRequestContent:
    """A proposal with its report, before it is published."""

    context: ReportContext
    title: str
    body: str
    """In Markdown, without the controls of a pull request."""
    base: str
    """Commit that the policy was read in; empty where it was read on disk."""
    changes: tuple[str, ...]
    """Ids of the changes that closing the pull request declines."""
    history: TargetHistory
    """Earlier pull requests, comments and runs."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How one target ended."""

    target: Target
    content: PullRequestContent | None = None
    """None: there is no proposal."""
    failure: LeastprivError | None = None
    """Why there is no proposal, in a run of several targets."""
    published: PublishResult | None = None
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
    def lacks_calls(self) -> bool:
        """Whether the evidence has no call of the principal, and that fails the run."""
        return bool(self.context and self.context.missing_calls and self.target.settings.fails_without_calls)

    @property
    def exit_code(self) -> int:
        """0, the code of the failure, 1 if publishing failed or there is no call, or 3 for drift in the mode check."""
        if self.failure or self.context is None:
            return self.failure.exit_code if self.failure else 1
        if self.published and self.published.failure:
            return 1
        if self.lacks_calls:
            return 1
        is_check = self.target.settings.mode is Mode.CHECK
        return DRIFT_EXIT_CODE if is_check and context_findings(self.context) else 0


@dataclass(frozen=True, slots=True)
class FirstFiles:
    """First policy files for roles without one, and the targets file that names them."""

    drafts: tuple[TargetResult, ...]
    files: dict[str, bytes]
    """By path in the repository; without the targets file where a person has to change that."""
    by_hand: tuple[tuple[str, str], ...] = ()
    """(Role ARN, policy file) of entries that a person has to write."""
    published: PublishResult | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended."""

    targets: tuple[TargetResult, ...]
    chain: RoleChainPolicies = field(default_factory=lambda: RoleChainPolicies(RoleChain(())))
    """The role chain of several targets."""
    notes: tuple[str, ...] = ()
    """Sentences about the whole run."""
    first_files: FirstFiles | None = None
    """None: they are not asked for."""
    has_targets_file: bool = True

    @property
    def contexts(self) -> list[ReportContext]:
        """The proposals of all targets that have one, with what they rest on."""
        return [each.context for each in self.targets if each.context]

    @property
    def single(self) -> TargetResult | None:
        """The one target of a run without a targets file."""
        return None if self.has_targets_file else self.targets[0]


def heaviest(codes: list[int]) -> int:
    """Returns the exit code of all targets: 1 (not done) before 2 (bad input) before 3 (drift) before 0."""
    return next((code for code in _BY_WEIGHT if code in codes), max(codes, default=0))
