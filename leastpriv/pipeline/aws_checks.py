"""What AWS adds to a proposal in a run that has opened its door to AWS anyway: needs that types declare, judgements.

A run that reads files alone asks AWS nothing, and sends it nothing (docs: decision 17).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from leastpriv.config.settings import Settings
from leastpriv.errors import InputError, LeastprivError
from leastpriv.evidence.aws_findings.models import Declared
from leastpriv.evidence.models import Evidence
from leastpriv.models import Principal
from leastpriv.pipeline.context import Workplace, read_other, stack_values
from leastpriv.pipeline.sources import Reach
from leastpriv.policy.source import Location
from leastpriv.proposal.models import CheckResult
from leastpriv.report.context import ReportContext

if TYPE_CHECKING:
    from leastpriv.aws_checks.trust_policies import TrustPolicy

_log = logging.getLogger(__name__)


def types_of(templates: Sequence[Path]) -> tuple[str, ...]:
    """The resource types of some CloudFormation templates, sorted; reads files alone.

    Raises:
        InputError: a template cannot be read.
    """
    if not templates:
        return ()
    from leastpriv.evidence.aws_findings.cloudformation_types import types_in_template

    found: set[str] = set()
    for path in templates:
        try:
            found |= set(types_in_template(path.read_bytes(), path.as_posix()))
        except OSError as error:
            raise InputError(f"The template {path.as_posix()} cannot be read: {error.strerror}.") from error
    return tuple(sorted(found))


def with_declared(evidence: Evidence, reach: Reach | None, types: Sequence[str], principal: Principal) -> Evidence:
    """The evidence with what the resource types of the role's own stacks, and some `types` of templates, need.

    A template's type is reason enough to open the door; stacks are asked for where it is open. Another account than the
    principal's is not asked: its stacks are others. AWS's failures are told in the answer.
    """
    if reach is None or not (types or reach.opened):
        return evidence
    from leastpriv.evidence.aws_findings.cloudformation_types import declared_of, stacks_in

    stacks = stacks_in(evidence)
    if not (types or stacks):
        return evidence
    try:
        aws = reach.aws()
        account = aws.account()
        if account == principal.account:
            declared = declared_of(aws, stacks, types)
        else:
            declared = Declared(failure=f"The AWS credentials are those of account {account}, not of the role's.")
    except LeastprivError as error:
        declared = Declared(failure=str(error))
    return replace(evidence, aws_findings=replace(evidence.aws_findings, declared=declared))


def named_trusts(settings: Settings, workplace: Workplace, base: str) -> tuple[TrustPolicy, ...]:
    """The trust policy that the settings name, in the commit `base` or on disk; reads files alone.

    Raises:
        InputError: it cannot be read, or is none.
    """
    if not settings.trust_policy:
        return ()
    from leastpriv.aws_checks.trust_policies import read_trust_policy

    raw = read_other(workplace, base, Location.of(settings.trust_policy).path, "trust-policy")
    return (read_trust_policy(raw, settings.trust_policy, stack_values(settings.principal)),)


def judgements(
    subject: ReportContext, settings: Settings, reach: Reach | None, trusts: Sequence[TrustPolicy] = ()
) -> tuple[CheckResult, ...]:
    """What the judges say: the free ones, and those that AWS charges where the settings ask for them.

    None where nothing changes, or where the run has not opened the door and no setting is reason to.
    """
    paid = settings.custom_policy_checks
    if reach is None or not subject.proposal.changes or not (paid or reach.opened):
        if trusts:
            _log.info("The trust policy is not judged: this run proposes no change, or asks AWS nothing")
        return ()
    from leastpriv.aws_checks.run import CheckedProposal, run_free_checks, run_paid_checks

    proposal, beside = subject.proposal, subject.attached_documents
    files = dict(zip((subject.policy_file, *subject.further), proposal.documents, strict=True))
    checked = CheckedProposal(proposal, files, trusts)
    try:
        aws = reach.aws()
        found = run_free_checks(aws, checked, subject.proof, beside, subject.principal)
        return (*found, *(run_paid_checks(aws, checked, settings.options.never_add) if paid else ()))
    except LeastprivError as error:
        # No region is known, which a role's evidence in files does not need; or no credentials, where a setting asks.
        _log.info(f"The proposal is not judged by AWS: {error}")
        return (CheckResult("AWS", 0, failure=str(error)),) if paid else ()
