"""Contexts of the reports: one proposal with its proof and evidence, or one review of a policy
edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from leastpriv.diff.compare import Difference, Drift
from leastpriv.evidence.live_role import LiveRole
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.boundary import Boundary, LostNeed
from leastpriv.proposal.chance import Chance
from leastpriv.proposal.escalation_paths import Escalation
from leastpriv.proposal.ledger import Ledger
from leastpriv.proposal.models import Change, CheckResult, History, Proposal
from leastpriv.proposal.proof import Proof
from leastpriv.proposal.suggestions import SuggestedAction, SuggestedCondition
from leastpriv.proposal.verdict import MergeVerdict
from leastpriv.report.guide import LATEST
from leastpriv.report.role_chain import RoleChainPolicies

if TYPE_CHECKING:
    from leastpriv.proposal.preflight import Preflight
    from leastpriv.proposal.review_models import Review


_SHORT_DRAFT = 12
"""Additions that a body lists one by one."""


class ReportContext(Struct, frozen=True):
    """Inputs of the reports on a proposal; nothing in it is escaped yet."""

    principal: str
    policy_file: str
    """With the pointer to the policy, if it is part of a larger file."""
    proposal: Proposal
    difference: Difference
    proof: Proof
    ledger: Ledger
    chance: Chance
    verdict: MergeVerdict
    evidence: Evidence
    fingerprint: str
    attached: tuple[str, ...]
    """Names of the other policies that were taken into account."""
    files: int
    records: int
    missing_calls: str = ""
    """Why the evidence has no call, in sentences; empty where it has calls or denials."""
    shown_account: str = ""
    """The account that is part of the role's name, where the targets of the run are in several
    accounts.
    """
    replaced: tuple[str, ...] = ()
    """Attached policies over all services, which the policy file is made to replace."""
    assumed: tuple[str, ...] = ()
    """Attached policies that the settings do not name: their file names continue the policy file's.
    """
    further: tuple[str, ...] = ()
    """Names of the additional files that the policy was split into."""
    run_url: str = ""
    """Template of a workflow run's page with `{run}`, or empty."""
    other_repository: str = ""
    """`OWNER/NAME` of the repository of the policy file, where it is not that of the run; else
    empty.
    """
    file_url: str = ""
    """Page of the policy file on the base branch, or empty."""
    guide: str = LATEST
    """Folder of the guide's pages, at the version that runs."""
    is_pull_request: bool = True
    """Whether a pull request offers the change; a report only shows it."""
    title_prefix: str = ""
    """What titles begin with instead of `iam(role)`; `{role}` is the role's name."""
    page_file: str = ""
    """Where the HTML page is written, or empty."""
    history: History = field(default_factory=History)
    attached_documents: tuple[Document, ...] = ()
    """The other policies."""
    check_results: tuple[CheckResult, ...] = ()
    """Results of AWS's checks of the proposal; empty if none ran."""
    suggested_actions: tuple[SuggestedAction, ...] = ()
    """Actions that a later run may need and no policy grants."""
    kept_counterparts: tuple[SuggestedAction, ...] = ()
    """Unused lifecycle counterparts that remain granted, with the actions that they belong to."""
    suggested_conditions: tuple[SuggestedCondition, ...] = ()
    """Conditions that every recorded call met."""
    chained: RoleChainPolicies | None = None
    """Roles that this one leads to; None if they were not collected."""
    live: LiveRole | None = None
    """The role in the account; None if it was not read."""
    drift: Drift | None = None
    """Differences between the account and the policy file."""
    escalation: Escalation = field(default_factory=Escalation)
    """Paths on which an attacker gains more permissions than the policies grant."""
    boundary: Boundary | None = None
    """The permissions boundary of the roles that this one creates; None if it creates none without
    a boundary.
    """

    @property
    def policy_path(self) -> str:
        """The path of the file."""
        return Location.of(self.policy_file).path

    @property
    def documents(self) -> tuple[Document, ...]:
        """The proposed policies and the attached ones."""
        return (*self.proposal.documents, *self.attached_documents)

    @property
    def contents(self) -> dict[str, bytes]:
        """The proposed files by path, the policy file first and the draft of a boundary last."""
        further = zip(self.further, self.proposal.documents[1:], strict=True)
        files = {self.policy_path: self.proposal.content} | {
            path: document.to_bytes() for path, document in further
        }
        return files | (
            {self.boundary.path: self.boundary.content}
            if self.boundary and self.boundary.content
            else {}
        )

    @property
    def is_long_draft(self) -> bool:
        """Whether a first draft adds more than a reader reads line by line."""
        return self.proposal.committed is None and len(self.proposal.changes) > _SHORT_DRAFT

    @property
    def role(self) -> str:
        """The principal's name without its path, and the account where the run has several."""
        return f"{self.principal.rpartition('/')[2]}{self.in_account}"

    @property
    def in_account(self) -> str:
        """The account in brackets, as it follows the role's name; empty where the run has one
        account.
        """
        return f" ({self.shown_account})" if self.shown_account else ""

    @property
    def gravest_first(self) -> tuple[Change, ...]:
        """The changes: those for a security reviewer first, then additions, narrowings and
        removals.

        Among the narrowings, and among the removals, those come first that close paths to
        administrator.
        """
        order = (ChangeKind.ADD, ChangeKind.NARROW, ChangeKind.REMOVE)
        return tuple(
            sorted(
                self.proposal.changes,
                key=lambda each: (not each.security, order.index(each.kind), -len(each.closes)),
            )
        )

    def changes(self, kind: ChangeKind) -> tuple[Change, ...]:
        """The changes of one kind, in the order of the file."""
        return tuple(change for change in self.proposal.changes if change.kind is kind)


class ReviewContext(Struct, frozen=True):
    """Inputs of the comment on a policy edit; nothing in it is escaped yet."""

    principal: str
    policy_file: str
    """With the pointer to the policy, if it is part of a larger file."""
    review: Review
    evidence: Evidence
    attached: tuple[str, ...]
    """Names of the other policies that were taken into account."""
    records: int
    run_url: str = ""
    """Template of a workflow run's page with `{run}`, or empty."""
    file_url: str = ""
    """Page of the policy file on the base branch, or empty."""
    guide: str = LATEST
    """Folder of the guide's pages, at the version that runs."""
    missing_calls: str = ""
    """Why the evidence has no call, in sentences; empty where it has calls."""
    fails_without_calls: bool = True
    preflight: Preflight | None = None
    """What the change of the infrastructure needs; None where it needs nothing, or nothing declares
    it.
    """
    declared_in: tuple[str, ...] = ()
    """The templates and plans that were given."""
    beyond_boundary: tuple[LostNeed, ...] = ()
    """What policies of created roles grant since the change, and their boundary does not allow."""
    boundary_file: str = ""
    escalation: Escalation = Escalation()
    """The paths to more permissions before and after the edit; none where the policy is not
    edited.
    """

    @property
    def policy_path(self) -> str:
        """The path of the file."""
        return Location.of(self.policy_file).path

    @property
    def role(self) -> str:
        """The principal's name without its path."""
        return self.principal.rpartition("/")[2]
