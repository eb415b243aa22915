"""Runs AWS's checks of one proposal: the free ones, and on request those that AWS charges for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leastpriv.aws.session import Aws
from leastpriv.aws_checks.custom_checks import paid_checks, run_checks
from leastpriv.aws_checks.rendered_policy import TrustPolicy, trust_policies
from leastpriv.aws_checks.simulate import simulate
from leastpriv.aws_checks.validate_policy import validate
from leastpriv.policy.document import Document
from leastpriv.proposal.models import CheckResult, Proposal
from leastpriv.proposal.proof import Proof

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckedProposal:
    """A proposal with everything that AWS is asked to check."""

    proposal: Proposal
    files: Mapping[str, Document]
    """File name -> proposed document."""
    named_trust_policies: Sequence[TrustPolicy] = ()
    """Trust policies that an input names."""

    def trust_policies(self) -> list[TrustPolicy]:
        """Returns the trust policies of the proposed documents' templates and the named ones, without duplicates."""
        found = [trust for file, document in self.files.items() for trust in trust_policies(document, file)]
        texts = {trust.rendered.text for trust in found if trust.rendered}
        named = self.named_trust_policies
        return [*found, *(trust for trust in named if trust.rendered is None or trust.rendered.text not in texts)]


def run_free_checks(
    aws: Aws, checked: CheckedProposal, proof: Proof, attached: Sequence[Document], principal: str
) -> tuple[CheckResult, ...]:
    """Runs ValidatePolicy and SimulateCustomPolicy; an AwsError becomes the failure of its result.

    `attached` are the principal's other policies, which the simulation evaluates together with the proposed ones.
    """
    _log.info("Asking AWS about the proposal: ValidatePolicy and SimulateCustomPolicy, both free")
    files = checked.files
    results = (
        validate(aws, files, checked.proposal.committed, checked.trust_policies()),
        simulate(aws, [*files.values(), *attached], proof.need_decisions, principal, next(iter(files), "")),
    )
    for result in results:
        if result.failure:
            _log.info(f"{result.operation} is left out: {result.failure}")
    return results


def run_paid_checks(aws: Aws, checked: CheckedProposal, never_add: Sequence[str]) -> tuple[CheckResult, ...]:
    """Runs Access Analyzer's custom policy checks; logs their price first."""
    checks, skipped = paid_checks(checked.proposal, checked.files, never_add, checked.trust_policies())
    return run_checks(aws, checks, skipped)
