"""All judges of one proposal, in order: the free ones, and where somebody asked for them those that AWS charges."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from leastpriv.aws.session import Aws
from leastpriv.aws_checks.custom_checks import paid_checks, run_checks
from leastpriv.aws_checks.simulate import simulate
from leastpriv.aws_checks.trust_policies import TrustPolicy, trust_policies
from leastpriv.aws_checks.validate_policy import validate
from leastpriv.policy.document import Document
from leastpriv.proposal.models import CheckResult, Proposal
from leastpriv.proposal.proof import Proof

_log = logging.getLogger(__name__)


def run_free_checks(
    aws: Aws,
    proposal: Proposal,
    proof: Proof,
    files: Mapping[str, Document],
    attached: Sequence[Document],
    principal: str,
    named: Sequence[TrustPolicy] = (),
) -> tuple[CheckResult, ...]:
    """What ValidatePolicy and SimulateCustomPolicy say; `files` are the proposed documents by name.

    `named` are trust policies of the role that stand elsewhere in the repository.

    Never raises AwsError: a judge that could not be asked says why.
    """
    _log.info("Asking AWS about the proposal: ValidatePolicy and SimulateCustomPolicy, both free")
    found = (
        validate(aws, files, proposal.committed, _trusts(files, named)),
        simulate(aws, [*files.values(), *attached], proof.need_decisions, principal, next(iter(files), "")),
    )
    for judgement in found:
        if judgement.failure:
            _log.info(f"{judgement.operation} is left out: {judgement.failure}")
    return found


def run_paid_checks(
    aws: Aws,
    proposal: Proposal,
    files: Mapping[str, Document],
    never_add: Sequence[str],
    named: Sequence[TrustPolicy] = (),
) -> tuple[CheckResult, ...]:
    """What Access Analyzer's custom policy checks say; the price is said before the first of them."""
    checks, skipped = paid_checks(proposal, files, never_add, _trusts(files, named))
    return run_checks(aws, checks, skipped)


def _trusts(files: Mapping[str, Document], named: Sequence[TrustPolicy]) -> list[TrustPolicy]:
    """Those in the policies' own templates and those that are named, each once."""
    found = [trust for file, document in files.items() for trust in trust_policies(document, file)]
    texts = {trust.rendered.text for trust in found if trust.rendered}
    return [*found, *(trust for trust in named if trust.rendered is None or trust.rendered.text not in texts)]
