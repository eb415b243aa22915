"""What AWS adds to a proposal in a run that has opened its door to AWS anyway: needs that types declare, judgements.

A run that reads files alone asks AWS nothing, and sends it nothing (docs: decision 17).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from leastpriv.proposal.models import Judgement
from leastpriv.report.context import Subject

if TYPE_CHECKING:
    from leastpriv.aws_checks.trust_policies import TrustPolicy


Say = Callable[[str], None]


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


def with_declared(
    evidence: Evidence, reach: Reach | None, types: Sequence[str], principal: Principal, say: Say
) -> Evidence:
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
            declared = declared_of(aws, stacks, types, say)
        else:
            declared = Declared(failure=f"The AWS credentials are those of account {account}, not of the role's.")
    except LeastprivError as error:
        declared = Declared(failure=str(error))
    return replace(evidence, hints=replace(evidence.hints, declared=declared))


def named_trusts(settings: Settings, workplace: Workplace, base: str) -> tuple[TrustPolicy, ...]:
    """The trust policy that the settings name, in the commit `base` or on disk; reads files alone.

    Raises:
        InputError: it cannot be read, or is none.
    """
    if not settings.trust_policy:
        return ()
    from leastpriv.aws_checks.trust_policies import named_trust

    raw = read_other(workplace, base, Location.of(settings.trust_policy).path, "trust-policy")
    return (named_trust(raw, settings.trust_policy, stack_values(settings.principal)),)


def judgements(
    subject: Subject, settings: Settings, reach: Reach | None, say: Say, trusts: Sequence[TrustPolicy] = ()
) -> tuple[Judgement, ...]:
    """What the judges say: the free ones, and those that AWS charges where the settings ask for them.

    None where nothing changes, or where the run has not opened the door and no setting is reason to.
    """
    paid = settings.custom_policy_checks
    if reach is None or not subject.draft.changes or not (paid or reach.opened):
        if trusts:
            say("The trust policy is not judged: this run proposes no change, or asks AWS nothing")
        return ()
    from leastpriv.aws_checks.run import free_judgements, paid_judgements

    draft, beside = subject.draft, subject.attached_documents
    files = dict(zip((subject.policy_file, *subject.further), draft.documents, strict=True))
    try:
        aws = reach.aws()
        found = free_judgements(aws, draft, subject.proof, files, beside, subject.principal, say, trusts)
        return (*found, *(paid_judgements(aws, draft, files, settings.options.never_add, say, trusts) if paid else ()))
    except LeastprivError as error:
        # No region is known, which a role's evidence in files does not need; or no credentials, where a setting asks.
        say(f"The proposal is not judged by AWS: {error}")
        return (Judgement("AWS", 0, failure=str(error)),) if paid else ()
