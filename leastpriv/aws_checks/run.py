"""All judges of one proposal, in order: the free ones, and where somebody asked for them those that AWS charges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from leastpriv.aws.session import Aws
from leastpriv.aws_checks.custom_checks import paid_checks, run_checks
from leastpriv.aws_checks.simulate import simulate
from leastpriv.aws_checks.trust_policies import TrustPolicy, trust_policies
from leastpriv.aws_checks.validate_policy import validate
from leastpriv.policy.document import Document
from leastpriv.proposal.models import Draft, Judgement
from leastpriv.proposal.proof import Proof

Say = Callable[[str], None]


def free_judgements(
    aws: Aws,
    draft: Draft,
    proof: Proof,
    files: Mapping[str, Document],
    attached: Sequence[Document],
    principal: str,
    say: Say,
    named: Sequence[TrustPolicy] = (),
) -> tuple[Judgement, ...]:
    """What ValidatePolicy and SimulateCustomPolicy say; `files` are the proposed documents by name.

    `named` are trust policies of the role that stand elsewhere in the repository.

    Never raises AwsError: a judge that could not be asked says why.
    """
    say("Asking AWS about the proposal: ValidatePolicy and SimulateCustomPolicy, both free")
    found = (
        validate(aws, files, draft.committed, _trusts(files, named)),
        simulate(aws, [*files.values(), *attached], proof.allowances, principal, next(iter(files), "")),
    )
    for judgement in found:
        if judgement.failure:
            say(f"{judgement.judge} is left out: {judgement.failure}")
    return found


def paid_judgements(
    aws: Aws,
    draft: Draft,
    files: Mapping[str, Document],
    never_add: Sequence[str],
    say: Say,
    named: Sequence[TrustPolicy] = (),
) -> tuple[Judgement, ...]:
    """What Access Analyzer's custom policy checks say; the price is said before the first of them."""
    checks, unasked = paid_checks(draft, files, never_add, _trusts(files, named))
    return run_checks(aws, checks, say, unasked)


def _trusts(files: Mapping[str, Document], named: Sequence[TrustPolicy]) -> list[TrustPolicy]:
    """Those in the policies' own templates and those that are named, each once."""
    found = [trust for file, document in files.items() for trust in trust_policies(document, file)]
    texts = {trust.sent.text for trust in found if trust.sent}
    return [*found, *(trust for trust in named if trust.sent is None or trust.sent.text not in texts)]
