"""What a report speaks about: one proposal with its proof and the evidence it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field

from leastpriv.diff.compare import Difference
from leastpriv.evidence.usage import Evidence
from leastpriv.model import ChangeKind
from leastpriv.proposal.proof import Proof
from leastpriv.proposal.situation import Change, Draft, History


@dataclass(frozen=True, slots=True)
class Subject:
    """All that the reports need; nothing in it is escaped yet."""

    principal: str
    policy_file: str
    draft: Draft
    difference: Difference
    proof: Proof
    evidence: Evidence
    fingerprint: str
    attached: tuple[str, ...]
    """Names of the other policies that were taken into account."""
    files: int
    records: int
    run_url: str = ""
    """Template of a workflow run's page with `{run}`, or empty."""
    history: History = field(default_factory=History)

    @property
    def role(self) -> str:
        """The principal's name without its path."""
        return self.principal.rpartition("/")[2]

    def changes(self, kind: ChangeKind) -> tuple[Change, ...]:
        """The changes of one kind, in the order of the file."""
        return tuple(change for change in self.draft.changes if change.kind is kind)
