"""What a report speaks about: one proposal with its proof and the evidence it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from leastpriv.diff.compare import Difference
from leastpriv.evidence.usage import Evidence
from leastpriv.model import ChangeKind
from leastpriv.policy.location import Location
from leastpriv.policy.quotas import name_of
from leastpriv.proposal.proof import Proof
from leastpriv.proposal.situation import Change, Draft, History


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
    run_url: str = ""
    """Template of a workflow run's page with `{run}`, or empty."""
    history: History = field(default_factory=History)

    @property
    def policy_path(self) -> str:
        """The file itself."""
        return Location.of(self.policy_file).path

    @property
    def further(self) -> tuple[str, ...]:
        """Names of the files that the policy was split into, beside the policy file."""
        path = self.policy_path
        first = next(number for number in count(2) if name_of(path, number) not in self.attached)
        return tuple(name_of(path, first + place) for place in range(len(self.draft.documents) - 1))

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

    def changes(self, kind: ChangeKind) -> tuple[Change, ...]:
        """The changes of one kind, in the order of the file."""
        return tuple(change for change in self.draft.changes if change.kind is kind)
