"""Asks AWS about a proposal in a run that uses AWS: checks of the policy.

A run that reads files alone sends nothing to AWS (docs: decision 17).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leastpriv.aws.session import AwsSession
from leastpriv.config.settings import Settings
from leastpriv.errors import LeastprivError
from leastpriv.pipeline.context import Target
from leastpriv.pipeline.load_policies import read_other, stack_values
from leastpriv.policy.source import Location
from leastpriv.proposal.models import CheckResult
from leastpriv.report.context import ReportContext

if TYPE_CHECKING:
    from leastpriv.aws_checks.rendered_policy import TrustPolicy

_log = logging.getLogger(__name__)


def named_trust_policies(target: Target, base: str) -> tuple[TrustPolicy, ...]:
    """Reads the trust policy that the settings name, in the commit `base` or on disk; raises InputError."""
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

    from leastpriv.aws_checks.policy_checks import paid_checks, run_checks, validate
    from leastpriv.aws_checks.rendered_policy import trust_policies
    from leastpriv.aws_checks.simulate import SimulatedPolicies, read_outer_policies, simulate

    proposal, attached = context.proposal, context.attached_documents
    files = dict(zip((context.policy_file, *context.further), proposal.documents, strict=True))
    trust = trust_policies(files, trusts)
    try:
        aws = session.aws()
        boundary = context.live.boundary if context.live else ""
        outer = read_outer_policies(aws, settings.principal, boundary, scps=settings.organization_policies)
        policies = SimulatedPolicies([*files.values(), *attached], context.policy_file, outer)
        _log.info("AWS checks the proposal: ValidatePolicy and SimulateCustomPolicy, both free")
        validated = validate(aws, files, proposal.committed, trust)
        simulated = simulate(aws, policies, context.proof.need_decisions, context.principal)
        for result in (validated, simulated):
            if result.failure:
                _log.info(f"{result.operation} is skipped: {result.failure}")
        found = run_checks(aws, *paid_checks(proposal, files, settings.options.never_add, trust)) if paid else ()
        return (validated, simulated, *found)
    except LeastprivError as error:
        # No region is known, which a role's evidence in files does not need; or no credentials, where a setting asks.
        _log.info(f"AWS did not check the proposal: {error}")
        return (CheckResult("AWS", 0, failure=str(error)),) if paid else ()
