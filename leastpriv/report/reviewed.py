"""What the review of a person's edit speaks about."""

from __future__ import annotations

from dataclasses import dataclass

from leastpriv.evidence.usage import Evidence
from leastpriv.policy.location import Location
from leastpriv.proposal.findings import Review


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
