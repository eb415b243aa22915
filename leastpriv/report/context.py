"""What a report speaks about: one proposal with its proof and the evidence it rests on.

What the review of a person's edit speaks about.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from leastpriv.diff.compare import Difference
from leastpriv.diff.live_role_drift import Drift
from leastpriv.evidence.live_role import LiveRole
from leastpriv.evidence.models import Evidence
from leastpriv.models import ChangeKind
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.models import Change, Draft, History, Judgement
from leastpriv.proposal.proof import Proof
from leastpriv.proposal.review_models import Review
from leastpriv.proposal.suggestions import Offer, OfferedCondition
from leastpriv.report.role_chain import Chained


@dataclass(frozen=True, slots=True)
class Subject:
    """All that the reports need; nothing in it is escaped yet."""

    principal: str
    policy_file: str
    """With the pointer to the policy, if it stands in a larger file."""
    draft: Draft
    difference: Difference
    proof: Proof
    evidence: Evidence
    fingerprint: str
    attached: tuple[str, ...]
    """Names of the other policies that were taken into account."""
    files: int
    records: int
    assumed: tuple[str, ...] = ()
    """Those of the attached that nobody named: their own names say that the policy file continues in them."""
    further: tuple[str, ...] = ()
    """Names of the new files that the policy was split into, beside the policy file."""
    run_url: str = ""
    """Template of a workflow run's page with `{run}`, or empty."""
    history: History = field(default_factory=History)
    attached_documents: tuple[Document, ...] = ()
    """The other policies themselves."""
    judgements: tuple[Judgement, ...] = ()
    """What AWS says of the proposal; empty where nobody asked."""
    offers: tuple[Offer, ...] = ()
    """What a later run may need and no policy grants."""
    kept_siblings: tuple[Offer, ...] = ()
    """Lifecycle counterparts that stay though unused, and what they go with."""
    offered_conditions: tuple[OfferedCondition, ...] = ()
    """Conditions that every recorded call would have met."""

    chained: Chained | None = None
    """The roles that it leads to; None where nobody looked."""
    live: LiveRole | None = None
    """The role in the account; None where nobody asked."""
    drift: Drift | None = None
    """How it differs from the policy file."""

    @property
    def policy_path(self) -> str:
        """The file itself."""
        return Location.of(self.policy_file).path

    @property
    def contents(self) -> dict[str, bytes]:
        """The proposed files by path, the policy file first."""
        return {self.policy_path: self.draft.content} | {
            path: document.to_bytes() for path, document in zip(self.further, self.draft.documents[1:], strict=True)
        }

    @property
    def role(self) -> str:
        """The principal's name without its path."""
        return self.principal.rpartition("/")[2]

    @property
    def gravest_first(self) -> tuple[Change, ...]:
        """The changes: those for a security reviewer first, then additions, narrowings and removals."""
        order = (ChangeKind.ADD, ChangeKind.NARROW, ChangeKind.REMOVE)
        return tuple(sorted(self.draft.changes, key=lambda each: (not each.security, order.index(each.kind))))

    def changes(self, kind: ChangeKind) -> tuple[Change, ...]:
        """The changes of one kind, in the order of the file."""
        return tuple(change for change in self.draft.changes if change.kind is kind)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """All that the comment needs; nothing in it is escaped yet."""

    principal: str
    policy_file: str
    """With the pointer to the policy, if it stands in a larger file."""
    review: Review
    evidence: Evidence
    attached: tuple[str, ...]
    """Names of the other policies that were taken into account."""
    records: int
    run_url: str = ""
    """Template of a workflow run's page with `{run}`, or empty."""

    @property
    def policy_path(self) -> str:
        """The file itself."""
        return Location.of(self.policy_file).path

    @property
    def role(self) -> str:
        """The principal's name without its path."""
        return self.principal.rpartition("/")[2]
