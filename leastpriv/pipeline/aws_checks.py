"""Asks AWS about a proposal in a run that uses AWS: checks of the policy.

A run that reads files alone sends nothing to AWS (docs: decision 17).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leastpriv.aws.session import Aws, AwsSession
from leastpriv.config.settings import Settings
from leastpriv.errors import LeastprivError
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.load_policies import read_other, stack_values
from leastpriv.policy.document import Document
from leastpriv.policy.source import Location
from leastpriv.proposal.models import CheckResult, Proposal
from leastpriv.proposal.proof import Proof
from leastpriv.report.context import ReportContext

if TYPE_CHECKING:
    from leastpriv.aws_checks.rendered_policy import TrustPolicy
    from leastpriv.aws_checks.simulate import SimulatedPolicies

_log = logging.getLogger(__name__)


def named_trust_policies(target: Target, base: str) -> tuple[TrustPolicy, ...]:
    """Reads the trust policy that the settings name, in the commit `base` or on disk.

    Raises:
        InputError: it cannot be read, or is no trust policy.
    """
    settings = target.settings
    if not settings.trust_policy:
        return ()
    from leastpriv.aws_checks.rendered_policy import read_trust_policy

    raw = read_other(target, base, Location.of(settings.trust_policy).path, "trust-policy")
    return (read_trust_policy(raw, settings.trust_policy, stack_values(settings.principal)),)


def check_proposal(
    context: ReportContext, settings: Settings, session: AwsSession | None, trusts: Sequence[TrustPolicy] = ()
) -> tuple[CheckResult, ...]:
    """Runs the free checks of AWS, and the paid ones where the settings ask for them.

    No check runs without a change, or in a run that does not use AWS and pays for no check.
    """
    paid = settings.custom_policy_checks
    if session is None or not context.proposal.changes or not (paid or session.opened):
        if trusts:
            _log.info("The trust policy is not checked: this run proposes no change, or does not call AWS")
        return ()

    from leastpriv.aws_checks.outer_policies import read_outer_policies
    from leastpriv.aws_checks.simulate import SimulatedPolicies

    proposal, attached = context.proposal, context.attached_documents
    files = dict(zip((context.policy_file, *context.further), proposal.documents, strict=True))
    checked = CheckedProposal(proposal, files, trusts)
    try:
        aws = session.aws()
        boundary = context.live.boundary if context.live else ""
        outer = read_outer_policies(aws, settings.principal, boundary, scps=settings.organization_policies)
        policies = SimulatedPolicies([*files.values(), *attached], context.policy_file, outer)
        found = run_free_checks(aws, checked, context.proof, policies, context.principal)
        return (*found, *(run_paid_checks(aws, checked, settings.options.never_add) if paid else ()))
    except LeastprivError as error:
        # No region is known, which a role's evidence in files does not need; or no credentials, where a setting asks.
        _log.info(f"AWS did not check the proposal: {error}")
        return (CheckResult("AWS", 0, failure=str(error)),) if paid else ()


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
        from leastpriv.aws_checks.rendered_policy import trust_policies

        found = [trust for file, document in self.files.items() for trust in trust_policies(document, file)]
        texts = {trust.rendered.text for trust in found if trust.rendered}
        named = self.named_trust_policies
        return [*found, *(trust for trust in named if trust.rendered is None or trust.rendered.text not in texts)]


def run_free_checks(
    aws: Aws, checked: CheckedProposal, proof: Proof, policies: SimulatedPolicies, principal: str
) -> tuple[CheckResult, ...]:
    """Runs ValidatePolicy and SimulateCustomPolicy; an AwsError becomes the failure of its result.

    `policies` are all that the simulation evaluates: the proposed ones, others of the principal, and those around them.
    """
    from leastpriv.aws_checks.simulate import simulate
    from leastpriv.aws_checks.validate_policy import validate

    _log.info("AWS checks the proposal: ValidatePolicy and SimulateCustomPolicy, both free")
    files = checked.files
    results = (
        validate(aws, files, checked.proposal.committed, checked.trust_policies()),
        simulate(aws, policies, proof.need_decisions, principal),
    )
    for result in results:
        if result.failure:
            _log.info(f"{result.operation} is skipped: {result.failure}")
    return results


def run_paid_checks(aws: Aws, checked: CheckedProposal, never_add: Sequence[str]) -> tuple[CheckResult, ...]:
    """Runs Access Analyzer's custom policy checks; logs their price first."""
    from leastpriv.aws_checks.custom_checks import paid_checks, run_checks

    checks, skipped = paid_checks(checked.proposal, checked.files, never_add, checked.trust_policies())
    return run_checks(aws, checks, skipped)
